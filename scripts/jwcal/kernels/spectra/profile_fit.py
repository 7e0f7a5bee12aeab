"""Optimal extraction: at each wavelength the brightness of known profiles across the spectrum, with a polynomial below them.

Least squares with the same weight for all good pixels (Horne 1986 without the variances, which would bias faint spectra).
"""

import numpy as np
from numba import njit, prange

from .background_fit import solve
from .box_sums import AREA, FLAT, FLUX, LEVEL, LEVEL_FLAT, LEVEL_POISSON, LEVEL_RNOISE, PIXELS, POISSON, REPLACED, RNOISE, variance_at
from .good_pixels import NONE

NO_MODEL = np.empty((0, 0, 0))


@njit(cache=True, nogil=True, parallel=True)
def _fit(sci, poisson, rnoise, flat, good, profiles, region, order, z, result, model):
    nint, nalong, nacross = sci.shape
    nprofile = profiles.shape[0]
    size = order + 1 + nprofile
    first = order + 1
    for k in prange(nint * nalong):
        i, r = k // nalong, k % nalong
        terms = np.empty((size, nacross))
        used = np.zeros(nacross, np.bool_)
        for c in range(nacross):
            for j in range(order + 1):
                terms[j, c] = 1.0 if j == 0 else terms[j - 1, c] * z[c]
            wanted = order >= 0 and region.size > 0 and region[r, c]
            for j in range(nprofile):
                terms[first + j, c] = profiles[j, r, c]
                wanted = wanted or profiles[j, r, c] != 0
            used[c] = wanted and good[i, r, c]
        norm = np.zeros(size)
        for j in range(size):
            for c in range(nacross):
                if used[c]:
                    norm[j] += terms[j, c] ** 2
            norm[j] = np.sqrt(norm[j]) if norm[j] > 0 else 1.0
        matrix = np.zeros((size, size))
        right = np.zeros((size, 2))
        for c in range(nacross):
            if used[c]:
                for j in range(size):
                    right[j, 0] += terms[j, c] / norm[j] * sci[i, r, c]
                    for m in range(size):
                        matrix[j, m] += terms[j, c] * terms[m, c] / (norm[j] * norm[m])
        right[first, 1] = 1.0
        known = solve(matrix, right, size, 2)
        square = np.float64(0.0)
        seen = np.float64(0.0)
        good_square = np.float64(0.0)
        for c in range(nacross):
            p = profiles[0, r, c]
            square += p * p
            if good[i, r, c]:
                seen += p
                good_square += p * p
        out = result[:, i, r]
        out[:] = 0.0
        out[PIXELS] = seen / square if square > 0 else 0.0
        out[AREA] = out[PIXELS]
        for c in range(nacross):
            if profiles[0, r, c] != 0 and not good[i, r, c]:
                out[REPLACED] += 1
        if not known or not abs(out[PIXELS]) > 1e-8:
            out[FLUX] = np.nan
            if model.size:
                for c in range(nacross):
                    model[i, r, c] = 0.0
            continue
        out[FLUX] = right[first, 0] / norm[first]
        vp = vn = vf = level = 0.0
        plain_p = plain_n = plain_f = 0.0
        for c in range(nacross):
            weight = 0.0
            if used[c]:
                for j in range(size):
                    weight += right[j, 1] * terms[j, c] / norm[j]
                weight /= norm[first]
            plain = profiles[0, r, c] / good_square if good[i, r, c] else 0.0  # its weight if there were no background
            w2, n2 = weight * weight, plain * plain
            if good[i, r, c]:
                if poisson.size:
                    vp += w2 * variance_at(poisson, i, r, c)
                    plain_p += n2 * variance_at(poisson, i, r, c)
                if rnoise.size:
                    vn += w2 * variance_at(rnoise, i, r, c)
                    plain_n += n2 * variance_at(rnoise, i, r, c)
                if flat.size:
                    vf += w2 * variance_at(flat, i, r, c)
                    plain_f += n2 * variance_at(flat, i, r, c)
            below = 0.0
            for j in range(order + 1):
                below += right[j, 0] / norm[j] * terms[j, c]
            level += plain * below
            if model.size:
                for j in range(nprofile):
                    below += right[first + j, 0] / norm[first + j] * terms[first + j, c]
                model[i, r, c] = below
        out[POISSON], out[RNOISE], out[FLAT] = vp, vn, vf
        if order >= 0:
            out[LEVEL] = level
            out[LEVEL_POISSON] = max(vp - plain_p, 0.0)
            out[LEVEL_RNOISE] = max(vn - plain_n, 0.0)
            out[LEVEL_FLAT] = max(vf - plain_f, 0.0)


def fit_profiles(sci, variances, good, profiles, region=None, order=-1, z=None, want_model=False):
    """Fit the first profile's brightness at each wavelength of each integration, together with those of the others.

    Parameters
    ----------
    sci : float32 (int, along, across)
    variances : three of the same shape, each None where there is none
    good : bool, the same shape
    profiles : float64 (profile, along, across)
        Each sums to 1 across the spectrum; a negative one for what was subtracted.
    region : bool (along, across), optional
        Further pixels that see the background.
    order : int
        Of the polynomial of z below; -1 for none.
    z : float64 (across,)
    want_model : bool

    Returns
    -------
    result : float64 (11, int, along)
        As of `box_sums.box_sums`; PIXELS is the number of pixels that count in effect.
    model : float64 (int, along, across) or None
    """
    result = np.empty((11, *sci.shape[:2]))
    model = np.zeros(sci.shape) if want_model else NO_MODEL
    planes = [NONE if plane is None else plane for plane in variances]
    region = np.zeros((0, 0), np.bool_) if region is None else region
    z = np.zeros(sci.shape[2]) if z is None else z
    _fit(sci, *planes, good, np.ascontiguousarray(profiles, float), region, order, z, result, model)
    return result, model if want_model else None
