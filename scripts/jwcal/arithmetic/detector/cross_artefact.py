"""The cross artefact of the mid-infrared spectrometer: light that is scattered inside the detector along its rows, and its pedestal.

Gaspar et al. 2021, PASP 133, 014504 tell where it comes from; Argyriou et al. 2023, A&A 675, A111 how it looks in spectra.
"""

import logging

import numpy as np
from astropy.stats import sigma_clipped_stats

from ...files.reference_file import another, understood
from ...kernels.detector.scattered_rows import scatter
from ...vocabulary import dq
from ...vocabulary.errors import InputError, ReferenceError

log = logging.getLogger(__name__)

CHANNELS = {"12": ("1", "2"), "34": ("4", "3")}  # which is on the left, which on the right
HALVES = slice(0, 516), slice(516, 1024)
BANDS = {"SHORT": "A", "MEDIUM": "B", "LONG": "C"}
GAP = {"12": (503, 516), "34": (474, 507)}  # columns between the channels, where no light falls
EDGE = 50  # rows at the lower and the upper end that are left out of the gap
REFERENCE = 4  # columns of reference pixels on each side, which see nothing
UNUSABLE = dq.DO_NOT_USE | dq.NON_SCIENCE | dq.DEAD | dq.HOT
COLUMNS = ("LOR_FWHM", "LOR_SCALE", "GAU_FWHM", "GAU_XOFF", "GAU_SCALE1", "GAU_SCALE2")
NOISE = 3.0  # standard deviations of the gap below which a pixel's light is noise


def subtract(exposure, reference, bad_gap_pixels=False):
    """Subtract the cross artefact, and then the pedestal that is left between the channels.

    Parameters
    ----------
    exposure : Exposure
        (row, col), DN/s; SCI is changed.
    reference : Reference
        mrsxartcorr: a table a channel and band, with a row a row of the detector.
    bad_gap_pixels : bool
        Pixels between the channels that can't be used count too, as 0 where they have no value.

    Returns
    -------
    model : ndarray, (row, col) float64
        The artefact that was subtracted.
    pedestal : float
    """
    header, image = exposure.header, exposure.sci
    channels = str(header["CHANNEL"])
    if channels not in CHANNELS:
        raise InputError(f"CHANNEL is {channels}: 12 or 34 is expected", exposure.name, "Correct the keyword")
    gap = slice(EDGE, image.shape[0] - EDGE), slice(*GAP[channels])
    bad = ~np.isfinite(image)
    light = np.where(bad, np.float32(0), image)
    in_gap = np.ones(light[gap].shape, bool)
    if not bad_gap_pixels:
        in_gap = ~(bad[gap] | ((exposure.dq[gap] & np.uint32(dq.DO_NOT_USE | dq.HOT | dq.DEAD)) != 0))
        in_gap |= not in_gap.any()
    level, _, spread = sigma_clipped_stats(light[gap][in_gap])
    level, spread = np.float32(level), np.float32(spread)
    bad |= (exposure.dq & np.uint32(UNUSABLE)) != 0
    bad |= light < level + NOISE * spread
    source = np.where(bad, np.float32(0), light - level)
    model = np.zeros(image.shape)
    for channel, half in zip(CHANNELS[channels], HALVES, strict=True):
        profiles = _profiles(reference, channel, header["BAND"], image.shape[0])
        if profiles is not None:
            scatter(source, model, half, profiles)
    seeing = slice(REFERENCE, image.shape[1] - REFERENCE)
    model[:, : seeing.start] = model[:, seeing.stop :] = 0
    _, pedestal, _ = sigma_clipped_stats((light - model)[gap][in_gap])
    image[:] = image - model
    image[:, seeing] -= np.float32(pedestal)
    return model, float(pedestal)


def _profiles(reference, channel, band, rows):
    """The profiles of a half of the detector, a row each; None where the reference has none."""
    name = f"CH{channel}{BANDS.get(band, '')}"
    if band not in BANDS or not reference.has(name):
        log.warning("The mrsxartcorr reference has no table for channel %s, band %s: no artefact is subtracted there", channel, band)
        return None
    table = reference.table(name)
    if len(table) != rows:
        what = f"its table {name} has {len(table)} rows, the exposure has {rows}"
        raise ReferenceError(what, reference.path, another(reference.type))
    columns = {column.upper(): column for column in table.dtype.names}
    with understood(reference.type, reference.path):
        return [np.asarray(table[columns[column]], float) for column in COLUMNS]
