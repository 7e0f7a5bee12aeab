"""Residual fringes of extracted spectra."""

import logging

import numpy as np
from astropy.stats import sigma_clipped_stats

from .continuum import NOTHING, continuum, envelopes, filled, line_weights, without_runaways
from .sines import fit_sines

log = logging.getLogger(__name__)

# Of the detector and of the dichroics: period, how far from it others are looked for [1 / cm], and how many sines at most.
DETECTOR, DICHROIC = (2.9, 1.5, 10), (0.4, 0.15, 15)
WITH_DICHROIC = (3, 4)  # channels whose light comes through them
RESOLUTION = 0.001  # 1 / cm
FEWEST = 3  # points that an envelope goes through
LARGEST = 0.4  # amplitude of fringes
LINE = 0.05  # height of a line
UNCERTAIN = 27.6  # micron: beyond, the calibration is not good enough to find fringes
LIMITS = (-2, 1000), (0.001, 1)


def correct_spectrum(
    flux,
    wavelength,
    channel=1,
    *,
    dichroic_only=False,
    max_amp=None,
    clip_features=True,
    clip_sigma=5.0,
    max_line=None,
    ignore_regions=None,
):
    """Take residual fringes out of a spectrum.

    Parameters
    ----------
    flux, wavelength : (n,)
        In any unit; micron.
    channel : int
        Of the spectrometer, 1 to 4.
    dichroic_only : bool
        Only the fringes of the dichroics, of channels 3 and 4.
    max_amp : float, optional
        Beats in which fringes are larger, relative to the continuum, are left alone.
    clip_features : bool
        Lines are what is `clip_sigma` standard deviations above the others; else what is higher than `max_line`.
    clip_sigma, max_line : float
    ignore_regions : list of (low, high), optional
        Wavelengths that are left out of the fit.

    Returns
    -------
    (n,) float64
        As it was where no fringe is found; only points above 0 are changed.

    Raises
    ------
    ValueError
        Fringes of dichroics are asked for in channels 1 or 2.
    """
    if dichroic_only and channel not in WITH_DICHROIC:
        raise ValueError(f"channel {channel} has no fringes of dichroics")
    out = np.array(flux, float)
    used = np.flatnonzero(out > 0)
    mine, micron = out[used].copy(), np.asarray(wavelength, float)[used]
    weights = np.nan_to_num(mine / np.median(mine) if used.size else mine, posinf=0)
    counts = np.where(micron > UNCERTAIN, 0, weights)
    for low, high in ignore_regions or ():
        counts[(micron > low) & (micron < high)] = 0
    if np.count_nonzero(counts) < FEWEST:
        log.warning("No point of the spectrum can be used to find fringes")
        return out
    middle = np.mean(envelopes(mine, two=True), axis=0)
    height = np.abs((mine - middle) / middle)
    if clip_features:
        _, level, spread = sigma_clipped_stats(height, sigma_lower=np.inf, sigma_upper=clip_sigma)
        counts = counts * (height < level + clip_sigma * spread)
    else:
        counts = counts * line_weights(height, np.full(mine.shape, LINE if max_line is None else max_line))
    counts[counts <= 0] = NOTHING
    wavenumber = filled(10000.0 / micron)
    largest = np.full(mine.shape, LARGEST if max_amp is None else max_amp)
    fringes = [DICHROIC] if dichroic_only else [DETECTOR, DICHROIC] if channel in WITH_DICHROIC else [DETECTOR]
    for period, width, most in fringes:
        try:
            smooth = continuum(mine, counts, wavenumber, period)
        except ValueError as error:
            log.warning("No continuum could be fitted for fringes of %g / cm: %s", period, error)
            continue
        if smooth is None:
            log.info("Too few periods of %g / cm for a fit", period)
            continue
        residuals = np.divide(mine, smooth, out=np.full_like(mine, NOTHING), where=smooth != 0)
        residuals[residuals != 0] -= 1
        residuals *= np.where(weights > 1e-7, 1, NOTHING)
        fitted = fit_sines(residuals, counts, wavenumber, period, width, most, RESOLUTION, LIMITS)
        if fitted is None:
            log.info("No fringes of %g / cm", period)
            continue
        fitted = without_runaways(fitted, largest)
        mine *= 1 / (fitted * (weights > 1e-5) + 1)
        mine[~np.isfinite(mine)] = 0
    out[used] = mine
    return out
