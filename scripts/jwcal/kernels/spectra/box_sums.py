"""Sums across a spectrum: each pixel counts with the part of it that is in the aperture."""

import numpy as np
from numba import njit, prange

from .good_pixels import NONE

FLUX, POISSON, RNOISE, FLAT, LEVEL, LEVEL_POISSON, LEVEL_RNOISE, LEVEL_FLAT, PIXELS, AREA, REPLACED = range(11)
LEAST_SHARE = 0.1  # of a profile's squares that good pixels must see for it to say what a bad one has


@njit(cache=True, nogil=True)
def polynomial(coefficients, z):
    value = 0.0
    for j in range(coefficients.size - 1, -1, -1):
        value = value * z + coefficients[j]
    return value


@njit(cache=True, nogil=True)
def variance_at(plane, i, r, c):
    value = np.float64(plane[i, r, c])
    return value if np.isfinite(value) else 0.0


@njit(cache=True, nogil=True, parallel=True)
def _mean(sci, good, weights, level, z, mean):
    nint, nalong, nacross = sci.shape
    for r in prange(nalong):
        total = np.zeros(nacross)
        count = np.zeros(nacross)
        for i in range(nint):
            for c in range(nacross):
                if weights[r, c] > 0 and good[i, r, c]:
                    value = np.float64(sci[i, r, c])
                    if level.size:
                        value -= polynomial(level[i, r], z[c])
                    if np.isfinite(value):
                        total[c] += value
                        count[c] += 1
        for c in range(nacross):
            mean[r, c] = total[c] / count[c] if count[c] else np.nan


def mean_of_integrations(sci, good, weights, level, z):
    """The mean over the integrations, less the background, of the aperture's good pixels; NaN elsewhere.

    Parameters
    ----------
    sci, good, weights, level, z
        As `box_sums` takes them.

    Returns
    -------
    float64 (along, across)
    """
    mean = np.empty(weights.shape)
    _mean(sci, good, weights, NONE if level is None else level, z, mean)
    return mean


@njit(cache=True, nogil=True)
def _fill_from_neighbours(mean, weights, count, reach, filled):
    nalong, nacross = mean.shape
    template = np.empty(nacross)
    needed = np.empty(nacross, np.bool_)
    for r in range(nalong):
        bad = 0
        for c in range(nacross):
            needed[c] = weights[r, c] > 0
            if needed[c] and not np.isfinite(mean[r, c]):
                needed[c] = False
                for at in range(max(0, r - reach), min(nalong, r + reach + 1)):
                    needed[c] = needed[c] or np.isfinite(mean[at, c])
                bad += needed[c]
        if bad == 0:
            continue
        template[:] = 0.0
        for side in (-1, 1):
            found = 0
            for step in range(1, reach + 1):
                at = r + side * step
                if not 0 <= at < nalong or found == count:
                    break
                whole = True
                for c in range(nacross):
                    whole = whole and (not needed[c] or np.isfinite(mean[at, c]))
                if whole:
                    found += 1
                    for c in range(nacross):
                        if needed[c]:
                            template[c] += mean[at, c]
        both = square = good_square = 0.0
        for c in range(nacross):
            if needed[c]:
                square += template[c] ** 2
                if np.isfinite(mean[r, c]):
                    both += mean[r, c] * template[c]
                    good_square += template[c] ** 2
        known = square > 0 and good_square >= LEAST_SHARE * square
        for c in range(nacross):
            if needed[c] and not np.isfinite(mean[r, c]):
                filled[r, c] = template[c] * both / good_square if known else np.inf


def filled_from_neighbours(mean, weights, count=3, reach=12):
    """Give pixels that are bad at all times what the nearest wavelengths have there, scaled to their own wavelength's light.

    Parameters
    ----------
    mean : float64 (along, across)
        NaN where bad.
    weights : float64 (along, across)
        The aperture's.
    count, reach : int
        So many wavelengths to each side, and how far away at most.

    Returns
    -------
    float64 (along, across)
        Infinite where a wavelength has too little light in good pixels. NaN where no pixel within reach is good either: beyond the
        slit's end.
    """
    filled = mean.copy()
    _fill_from_neighbours(mean, weights, count, reach, filled)
    return filled


@njit(cache=True, nogil=True, parallel=True)
def _sums(sci, poisson, rnoise, flat, good, weights, region, level, level_weights, z, template, result):
    nint, nalong, nacross = sci.shape
    fit = level.size > 0
    fill = template.size > 0
    for k in prange(nint * nalong):
        i, r = k // nalong, k % nalong
        total = under = area = pixels = replaced = 0.0
        both = square = all_square = missing = 0.0
        known = True
        for c in range(nacross):
            w = weights[r, c]
            if w <= 0:
                continue
            area += w
            below = polynomial(level[i, r], z[c]) if fit else 0.0
            value = np.float64(sci[i, r, c]) - below
            usable = good[i, r, c] and np.isfinite(value)
            if usable:
                total += w * value
                under += w * below
                pixels += w
            if fill:
                shape = template[r, c]
                if np.isfinite(shape):
                    all_square += shape * shape
                    if usable:
                        both += shape * value
                        square += shape * shape
                    else:
                        missing += w * shape
                        replaced += 1
                        under += w * below
                elif not usable:
                    known = known and np.isnan(shape)
                    area -= w
        share = 0.0  # how much more a good pixel counts, for a unit of the template
        if fill and replaced > 0:
            known = known and np.isfinite(under) and square > 0 and square >= LEAST_SHARE * all_square
            if known:
                share = missing / square
                total += share * both
        p = n = f = lp = ln = lf = 0.0
        for c in range(nacross):
            w = weights[r, c]
            if w > 0 and good[i, r, c]:
                if share != 0.0 and np.isfinite(template[r, c]):
                    w += share * template[r, c]
                if poisson.size:
                    p += w * w * variance_at(poisson, i, r, c)
                if rnoise.size:
                    n += w * w * variance_at(rnoise, i, r, c)
                if flat.size:
                    f += w * w * variance_at(flat, i, r, c)
            if fit and region[r, c] and good[i, r, c]:
                g = polynomial(level_weights[i, r], z[c])
                g *= g
                if poisson.size:
                    lp += g * variance_at(poisson, i, r, c)
                if rnoise.size:
                    ln += g * variance_at(rnoise, i, r, c)
                if flat.size:
                    lf += g * variance_at(flat, i, r, c)
        if not fill:
            area = pixels
        if pixels <= 1e-8 or not known:
            total = np.nan
            if not known:
                area = pixels
        out = result[:, i, r]
        out[FLUX], out[POISSON], out[RNOISE], out[FLAT] = total, p + lp, n + ln, f + lf
        out[LEVEL] = under if np.isfinite(under) else 0.0
        out[LEVEL_POISSON], out[LEVEL_RNOISE], out[LEVEL_FLAT] = lp, ln, lf
        out[PIXELS], out[AREA], out[REPLACED] = pixels, area, replaced


NO_LEVEL = np.empty((0, 0, 0))
NO_TEMPLATE = np.empty((0, 0))


def box_sums(sci, variances, good, weights, region=None, level=None, level_weights=None, z=None, template=None):
    """Sum the light in an aperture at each wavelength of each integration.

    Without a template a bad pixel is missing from the sum. With one it has what the template has there, scaled to the light that
    the good pixels of the aperture see (least squares, all pixels alike); the noise of these is then that much more in the sum's.

    Parameters
    ----------
    sci : float32 (int, along, across)
    variances : three of the same shape (Poisson, read noise, flat), each None where there is none
    good : bool, the same shape
    weights : float64 (along, across)
        The part of each pixel that is in the aperture.
    region : bool (along, across), optional
    level, level_weights : float64 (int, along, n), optional
        Coefficients of the background: see `background_fit`.
    z : float64 (across,)
    template : float64 (along, across), optional
        The source's light, less the background. NaN where there is no pixel to speak of, infinite where it is not known.

    Returns
    -------
    float64 (11, int, along)
        FLUX, its variances POISSON, RNOISE, FLAT; the background's sum LEVEL and its variances, which are in the former too; PIXELS that
        were used, AREA that the sum is for, and how many pixels were REPLACED. FLUX is NaN where it is not known.
    """
    result = np.empty((11, *sci.shape[:2]))
    planes = [NONE if plane is None else plane for plane in variances]
    fit = level is not None
    _sums(
        sci,
        *planes,
        good,
        weights,
        region if fit else np.zeros((0, 0), np.bool_),
        level if fit else NO_LEVEL,
        level_weights if fit else NO_LEVEL,
        np.zeros(sci.shape[2]) if z is None else z,
        NO_TEMPLATE if template is None else template,
        result,
    )
    return result
