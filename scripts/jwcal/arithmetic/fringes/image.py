"""Residual fringes of images of slices: each column of a slice is a spectrum."""

import logging

import numpy as np

from ...files.reference_file import understood
from ...vocabulary import dq
from ..wcs.miri_mrs import slice_map
from ..wcs.pixel_coordinates import wavelength_and_sky
from .continuum import NOTHING, continuum, envelopes, filled, line_weights, spectral_noise, without_runaways
from .sines import fit_sines

log = logging.getLogger(__name__)

LEAST = 50  # pixels of a column in its slice
CERTAIN = 10  # signal to noise of pixels that are fitted
SMOOTH = 7  # pixels that the fringes of the dichroics are averaged over, to find lines
WITH_DICHROIC = (3, 4)
WEAK = 0.003  # weight below which a point does not count
LIMITS = (-3, 10), (0.001, 10)
STEEP = 1.5  # 1 / cm: fringes of shorter periods are fitted to all points alike


def correct_image(exposure, frequencies, regions, ignored=()):
    """Divide the columns of every slice by their residual fringes.

    Parameters
    ----------
    exposure : Exposure
        (row, col) with its WCS and BAND; SCI is changed.
    frequencies : Reference
        fringefreq: RFC_FREQ_SHORT..., by slice and kind of fringe, and MAX_AMP, by wavelength.
    regions : Reference
        The slices.
    ignored : sequence of (low, high)
        Wavelengths [micron] that are left out of the fits.

    Returns
    -------
    factors : (row, col) float32
        What SCI was multiplied with; 1 where nothing was done.
    count : int
        Columns that were corrected.
    """
    image = exposure.sci
    unusable = ((exposure.dq & np.uint32(dq.DO_NOT_USE)) != 0) | ~np.isfinite(image)
    *_, micron = wavelength_and_sky(exposure.wcs, image.shape)
    labels = slice_map(regions, image.shape)
    weights = _weights(image)
    for low, high in ignored:
        weights[(micron > low) & (micron < high)] = 0
    with np.errstate(invalid="ignore", divide="ignore"):
        certain = (image / exposure.err > CERTAIN).astype(float)
        scale = np.median(image[image > 0]) if (image > 0).any() else np.float32(1)
    relative = np.where(unusable, np.float32(0), image) / scale
    with understood(frequencies.type, frequencies.path):
        table, largest = frequencies.table(f"RFC_FREQ_{_band(exposure)}"), frequencies.table("MAX_AMP")
        rows = {int(number): row for row, number in enumerate(table[_named(table, "slice")])}
        at, amplitude = (np.asarray(largest[_named(largest, name)], float) for name in ("wavelength", "amplitude"))
        kinds = {
            name: np.atleast_2d(table[_named(table, name)].T).T for name in ("ffreq", "dffreq", "max_nfringes", "min_snr", "pgram_res")
        }
    factors, count = np.ones(image.shape, np.float32), 0
    for number in sorted(set(np.unique(labels).tolist()) & set(rows)):
        inside = labels == number
        settings = {name: values[rows[number]] for name, values in kinds.items()}
        for column in np.flatnonzero(inside.any(axis=0)):
            own = inside[:, column]
            given = (np.where(own, plane[:, column], 0).astype(float) for plane in (relative, micron, weights))
            try:
                made = _correct_column(*given, certain[:, column], at, amplitude, settings, number // 100)
            except (ValueError, IndexError) as why:
                log.debug("column %d of slice %d: %s", column, number, why)
                continue
            if made is not None:
                factors[own, column] = made[own]
                count += 1
    good = factors != 1
    image[good] = (relative[good] * factors[good]) * scale
    image[unusable] = np.nan
    return factors, count


def _band(exposure):
    band = str(exposure.header["BAND"])
    return band if band in ("SHORT", "MEDIUM") else "LONG"


def _named(table, name):
    return next(its for its in table.dtype.names if its.lower() == name)


def _weights(image):
    """The flux in units of the mean of its column; 0 without a value."""
    columns = image.T.copy()
    with np.errstate(invalid="ignore", divide="ignore"):
        known = np.isfinite(columns)
        means = [np.mean(column[good]) if good.any() else np.nan for column, good in zip(columns, known, strict=True)]
        weights = (columns / np.array(means, np.float32)[:, None]).T.astype(float)
    weights[np.isnan(weights) | np.isposinf(weights)] = 0
    return weights


def _correct_column(flux, micron, weights, certain, at, amplitude, settings, channel):
    """Factors of one column, 1 beside the slice; None where nothing is done."""
    valid = micron > 0
    if np.count_nonzero(valid) <= LEAST:
        return None
    test = np.where(flux[valid] < 0, NOTHING, flux[valid])
    noise = spectral_noise(test)
    snr = test.mean() / noise if noise else 0.0
    if not snr >= settings["min_snr"][0]:
        return None
    with np.errstate(divide="ignore"):
        wavenumber = filled(np.where(valid, 10000.0 / micron, np.nan))
    largest = 2 * np.interp(micron, at, amplitude)
    lit = flux > 0
    flux, weights = np.where(lit, flux, NOTHING), np.where(weights > 0, weights, NOTHING)
    counts = weights * line_weights((np.abs(flux / envelopes(flux)[0]) - 1) * certain, largest)
    if channel in WITH_DICHROIC:
        total = np.cumsum(np.insert(flux, 0, 0))
        smooth = (total[SMOOTH:] - total[:-SMOOTH]) / SMOOTH
        counts *= line_weights(np.abs(flux / envelopes(smooth, size=flux.size)[0]) - 1, largest)
    counts[counts <= WEAK] = NOTHING
    data, factors, done = flux.copy(), np.ones(flux.size), False
    for kind, period in enumerate(settings["ffreq"]):
        if period <= 1e-3 or snr <= settings["min_snr"][kind]:
            continue
        smooth = continuum(data, counts, wavenumber, period, falling=channel not in WITH_DICHROIC)
        if smooth is None:
            return None
        residuals = np.divide(data, smooth, out=np.zeros_like(data), where=smooth != 0)
        residuals[residuals != 0] -= 1
        residuals *= np.where(weights > 1e-7, 1, NOTHING)
        width, most, resolution = (settings[name][kind] for name in ("dffreq", "max_nfringes", "pgram_res"))
        fitted = fit_sines(
            *(residuals, counts, wavenumber, period, width, int(most), resolution, LIMITS), usable=certain, robust=period > STEEP
        )
        if fitted is None:
            return None
        factor = 1 / (without_runaways(fitted, largest) * (weights > 1e-5) + 1)
        data *= factor
        factors *= factor
        data = np.nan_to_num(data, posinf=NOTHING, neginf=NOTHING)
        data[data < 0] = NOTHING
        done = True
    return np.where(lit, factors, 1) if done else None
