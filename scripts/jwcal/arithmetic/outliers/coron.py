"""Outliers behind a coronagraph: each integration of an exposure is compared with the median of all of them."""

import logging

import numpy as np

from ...kernels.outliers.median_image import median_image
from ...kernels.outliers.thresholds import beyond
from ...model.exposure import Exposure, Members
from ...vocabulary.errors import Skip
from ..coronagraph.cubes import as_cube
from .marks import KEPT, mark, unusable

log = logging.getLogger(__name__)

STRIP = 64 * 2**20  # bytes of a strip of rows of all integrations
KINDS = ("science", "psf")


def flag(exposures, options):
    """Flag the outliers of each exposure, science and PSF references: |SCI - median of its integrations| > snr ERR.

    Parameters
    ----------
    exposures : Exposure, exposure.Members or iterable of Exposure
        (int, row, col); changed in place. An image is taken as one integration. One exposure is in memory at a time.
    options : options.Options

    Returns
    -------
    exposures, or with `save_intermediate_results` a list: exposures, the median of each

    Raises
    ------
    Skip
        There are no exposures.
    """
    asides, count = [], 0
    for exposure in _each(exposures):
        count += 1
        as_cube(exposure)
        median = _median(exposure, unusable(exposure, options.bad_bits))
        found, nothing = np.zeros(exposure.sci.shape, bool), np.zeros_like(median)
        for number, (sci, err) in enumerate(zip(exposure.sci, exposure.err, strict=True)):
            found[number] = beyond(sci, err, median, nothing, 0.0, options.snr[0], 0.0)
        mark(exposure, found)
        log.info("%s: %d outliers in %d integrations", exposure.name, np.count_nonzero(found), len(found))
        if options.save_intermediate_results:
            asides.append(exposure.aside("median", sci=median))
    if not count:
        raise Skip("there are no exposures")
    return [exposures, *asides] if options.save_intermediate_results else exposures


def _each(exposures):
    if isinstance(exposures, Exposure):
        yield exposures
    elif isinstance(exposures, Members):
        for kind in KINDS:
            yield from exposures.each(kind, keep=KEPT)
    else:
        yield from exposures


def _median(exposure, bad):
    """The median of the integrations, bad pixels left out: (row, col) float32."""
    count, rows, columns = exposure.sci.shape
    out, step = np.empty((rows, columns), np.float32), max(1, STRIP // (4 * count * columns))
    for start in range(0, rows, step):
        strip = exposure.sci[:, start : start + step].copy()
        strip[bad[:, start : start + step]] = np.nan
        median_image(strip, out[start : start + step])
    return out
