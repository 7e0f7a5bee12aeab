"""The background beside a spectrum: at each wavelength a polynomial across the spectrum, or a median."""

import numpy as np
from numba import njit, prange

MEDIAN_NOISE = 1.2  # of a median, in units of a mean's


@njit(cache=True, nogil=True)
def solve(matrix, right, size, nright):
    """Gaussian elimination with pivots in place: `right` (n, nright) becomes the solution. False where the matrix is singular."""
    for k in range(size):
        pivot = k
        for j in range(k + 1, size):
            if abs(matrix[j, k]) > abs(matrix[pivot, k]):
                pivot = j
        if not abs(matrix[pivot, k]) > 1e-10:
            return False
        if pivot != k:
            for j in range(size):
                matrix[k, j], matrix[pivot, j] = matrix[pivot, j], matrix[k, j]
            for j in range(nright):
                right[k, j], right[pivot, j] = right[pivot, j], right[k, j]
        for i in range(k + 1, size):
            factor = matrix[i, k] / matrix[k, k]
            for j in range(k, size):
                matrix[i, j] -= factor * matrix[k, j]
            for j in range(nright):
                right[i, j] -= factor * right[k, j]
    for k in range(size - 1, -1, -1):
        for j in range(nright):
            value = right[k, j]
            for i in range(k + 1, size):
                value -= matrix[k, i] * right[i, j]
            right[k, j] = value / matrix[k, k]
    return True


@njit(cache=True, nogil=True, parallel=True)
def _fit(values, good, region, profile, z, order, median, smooth, coefficients, weights):
    nint, nalong, nacross = values.shape
    size = order + 1
    for k in prange(nint * nalong):
        i, r = k // nalong, k % nalong
        if median:
            kept = np.empty(nacross)
            n = 0
            used = 0
            total = 0.0
            for c in range(nacross):
                if region[r, c] and (smooth or good[i, r, c]) and np.isfinite(values[i, r, c]):
                    kept[n] = values[i, r, c]
                    n += 1
                if region[r, c] and good[i, r, c]:
                    used += 1
                total += profile[r, c]
            coefficients[i, r, 0] = np.median(kept[:n]) if n else np.nan
            weights[i, r, 0] = MEDIAN_NOISE * total / used if used else 0.0
            continue
        matrix = np.zeros((size, size))
        right = np.zeros((size, 2))
        power = np.empty(size)
        n = 0
        for c in range(nacross):
            power[0] = 1.0
            for j in range(1, size):
                power[j] = power[j - 1] * z[c]
            if region[r, c] and good[i, r, c] and np.isfinite(values[i, r, c]):
                n += 1
                for j in range(size):
                    right[j, 0] += power[j] * values[i, r, c]
                    for m in range(size):
                        matrix[j, m] += power[j] * power[m]
            for j in range(size):
                right[j, 1] += power[j] * profile[r, c]
        for j in range(size):  # so that pivots do not depend on how many pixels there are
            for m in range(size):
                matrix[j, m] /= max(n, 1)
            right[j, 0] /= max(n, 1)
            right[j, 1] /= max(n, 1)
        known = n >= size and solve(matrix, right, size, 2)
        for j in range(size):
            coefficients[i, r, j] = right[j, 0] if known else 0.0
            weights[i, r, j] = right[j, 1] if known else 0.0


def fit_background(values, good, region, profile, z, order, median=False, smooth=False):
    """Fit the background of each integration at each wavelength.

    Parameters
    ----------
    values : float32 (int, along, across)
        What is fitted, smoothed along the spectrum or not.
    good : bool, the same shape
    region : bool (along, across)
        Where the background is seen.
    profile : float64 (along, across)
        The aperture's weights: what the background is needed for.
    z : float64 (across,)
        What the polynomial is of.
    order : int
        0 for a mean.
    median : bool
    smooth : bool
        The values are smoothed: a median may have those of bad pixels.

    Returns
    -------
    coefficients : float64 (int, along, order + 1)
        Of powers of z. Zeros where a polynomial has too few pixels, NaN for a median of none.
    weights : float64 (int, along, order + 1)
        The polynomial of z that tells how much of each pixel of the region goes into the background of the whole aperture: its square
        times a pixel's variance, summed, is the variance of that.
    """
    shape = (*values.shape[:2], order + 1)
    coefficients, weights = np.empty(shape), np.empty(shape)
    _fit(values, good, region, profile, np.asarray(z, float), order, median, smooth, coefficients, weights)
    return coefficients, weights


@njit(cache=True, nogil=True, parallel=True)
def _smooth(values, good, half, smooth):
    nint, nalong, nacross = values.shape
    for k in prange(nint * nalong):
        i, r = k // nalong, k % nalong
        for c in range(nacross):
            total = 0.0
            n = 0
            for at in range(r - half, r + half + 1):
                row = min(max(at, 0), nalong - 1)
                if good[i, row, c]:
                    total += values[i, row, c]
                    n += 1
            smooth[i, r, c] = total / n if n else np.nan


def smooth_along(values, good, length):
    """The running mean of `length` (odd) pixels along the spectrum; at the ends the last pixel stands for those beyond.

    Returns
    -------
    float32 (int, along, across)
        NaN where no pixel is good.
    """
    smooth = np.empty(values.shape, np.float32)
    _smooth(values, good, length // 2, smooth)
    return smooth
