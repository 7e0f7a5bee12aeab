"""MIRI's full frame."""

import logging

import numpy as np

from ....kernels.detector.reference_pixels import clipped_means, subtract_from_growth
from ....vocabulary.dq import DO_NOT_USE
from ....vocabulary.errors import Skip
from .sets import BORDER, either, sets

log = logging.getLogger(__name__)

SHAPE = (1024, 1032)
OUTPUTS = 4


def correct(exposure, odd_even_rows, siglimit):
    """Correct MIRI's 4 interleaved outputs (column modulo 4) by the 4 reference columns on each side, in place.

    Raises
    ------
    Skip
        A subarray; an output without a usable reference pixel.
    """
    sci, shape = exposure.sci, exposure.sci.shape[-2:]
    if shape[0] < SHAPE[0] or shape[1] < SHAPE[1]:
        raise Skip("MIRI subarrays are not corrected")
    good = (exposure.pixeldq & DO_NOT_USE) == 0
    parities = 2 if odd_even_rows else 1
    labels = np.full(shape, -1, np.int8)
    output = np.arange(OUTPUTS) * parities + (np.arange(shape[0]) % parities)[:, None]
    labels[:, :BORDER] = output
    labels[:, -BORDER:] = OUTPUTS * parities + output
    (rows, columns), starts = sets(np.where(good, labels, -1), 2 * OUTPUTS * parities)
    if not (np.diff(starts).reshape(2, -1).sum(axis=0) > 0).all():
        raise Skip("an output has no usable reference pixel")
    samples = sci[:, :, rows, columns]
    samples = np.ascontiguousarray((samples - samples[:, :1]).reshape(-1, rows.size))
    means = clipped_means(samples, starts, siglimit).reshape(*sci.shape[:2], 2, OUTPUTS, parities)
    means = np.broadcast_to(either(means[:, :, 0], means[:, :, 1]), (*sci.shape[:2], OUTPUTS, 2)).swapaxes(-2, -1)
    subtract_from_growth(sci, means[..., np.arange(shape[1]) % OUTPUTS])
    log.info("MIRI: %d reference pixels", rows.size)
