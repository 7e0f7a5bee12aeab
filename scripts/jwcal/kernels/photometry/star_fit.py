"""Fit round Gaussians, integrated over the pixels, to stars.

The integral is exact, so that where in a pixel a star lies does not move its place, down to stars much narrower than a pixel.
"""

import math

import numpy as np
from numba import njit

ROUNDS, ENOUGH = 40, 1e-6  # pixels: the fit ends when the place moves less
NARROWEST = 0.1  # sigma in pixels: below, all light is in one pixel or two
ROOT = math.sqrt(0.5)
DENSITY = 1 / math.sqrt(2 * math.pi)


@njit(cache=True, nogil=True)
def _slice(first, count, centre, sigma, share, by_centre, by_sigma):
    """The part of a line Gaussian in each of `count` pixels, and its derivatives."""
    below = (first - 0.5 - centre) / sigma
    area, density = math.erf(below * ROOT), DENSITY * math.exp(-0.5 * below * below)
    for i in range(count):
        above = (first + i + 0.5 - centre) / sigma
        area_above, density_above = math.erf(above * ROOT), DENSITY * math.exp(-0.5 * above * above)
        share[i] = 0.5 * (area_above - area)
        by_centre[i] = (density - density_above) / sigma
        by_sigma[i] = (below * density - above * density_above) / sigma
        below, area, density = above, area_above, density_above


@njit(cache=True, nogil=True)
def _solve(matrix, right):
    """Solve a symmetric positive definite system in place (Cholesky); False where it is none."""
    n = right.size
    for i in range(n):
        for j in range(i + 1):
            total = matrix[i, j]
            for k in range(j):
                total -= matrix[i, k] * matrix[j, k]
            if i == j:
                if not total > 0:
                    return False
                matrix[i, i] = math.sqrt(total)
            else:
                matrix[i, j] = total / matrix[j, j]
    for i in range(n):
        for k in range(i):
            right[i] -= matrix[i, k] * right[k]
        right[i] /= matrix[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            right[i] -= matrix[k, i] * right[k]
        right[i] /= matrix[i, i]
    return True


@njit(cache=True, nogil=True)
def _normal(image, good, x0, y0, size, radius, p, matrix, right, lines):
    """Normal equations of p = flux, x, y, sigma, sky on the good pixels within `radius` of the middle; chi square and their number."""
    matrix[:], right[:] = 0.0, 0.0
    _slice(x0, size, p[1], p[3], lines[0], lines[1], lines[2])
    _slice(y0, size, p[2], p[3], lines[3], lines[4], lines[5])
    slope, chi, count, middle = np.empty(5), 0.0, 0, (size - 1) / 2
    for j in range(size):
        for i in range(size):
            if (i - middle) ** 2 + (j - middle) ** 2 > radius * radius or not good[y0 + j, x0 + i]:
                continue
            slope[0] = lines[0, i] * lines[3, j]
            slope[1] = p[0] * lines[1, i] * lines[3, j]
            slope[2] = p[0] * lines[0, i] * lines[4, j]
            slope[3] = p[0] * (lines[2, i] * lines[3, j] + lines[0, i] * lines[5, j])
            slope[4] = 1.0
            away = image[y0 + j, x0 + i] - (p[0] * slope[0] + p[4])
            chi += away * away
            count += 1
            for a in range(5):
                right[a] += slope[a] * away
                for b in range(a + 1):
                    matrix[a, b] += slope[a] * slope[b]
    return chi, count


@njit(cache=True, nogil=True)
def _fit_one(image, good, x, y, sigma, radius):
    """flux, x, y, sigma, sky of one star; NaN where the fit fails."""
    failed = np.full(5, np.nan)
    size = 2 * int(math.ceil(radius)) + 1
    x0, y0 = int(round(x)) - size // 2, int(round(y)) - size // 2
    if x0 < 0 or y0 < 0 or x0 + size > image.shape[1] or y0 + size > image.shape[0]:
        return failed
    for j in range(-1, 2):
        for i in range(-1, 2):
            if not good[y0 + size // 2 + j, x0 + size // 2 + i]:  # saturated, or hit: its middle is not known
                return failed
    peak, least = image[y0 + size // 2, x0 + size // 2], image[y0 + size // 2, x0 + size // 2]
    for j in range(size):
        for i in range(size):
            if good[y0 + j, x0 + i]:
                least = min(least, image[y0 + j, x0 + i])
    p = np.array([(peak - least) * 2 * np.pi * max(sigma, 0.5) ** 2, x, y, sigma, least])
    matrix, right, lines = np.empty((5, 5)), np.empty(5), np.empty((6, size))
    trial_matrix, trial_right = np.empty((5, 5)), np.empty(5)
    chi, count = _normal(image, good, x0, y0, size, radius, p, matrix, right, lines)
    if count < 8:
        return failed
    damping = 1e-3
    for _ in range(ROUNDS):
        trial_matrix[:], trial_right[:] = matrix, right
        for a in range(5):
            trial_matrix[a, a] *= 1 + damping
        if not _solve(trial_matrix, trial_right):
            return failed
        moved, trial = max(abs(trial_right[1]), abs(trial_right[2])), p + trial_right
        trial[3] = max(trial[3], NARROWEST)
        far = abs(trial[1] - x) > radius or abs(trial[2] - y) > radius
        if not far:
            trial_chi, _ = _normal(image, good, x0, y0, size, radius, trial, trial_matrix, trial_right, lines)
        if not far and trial_chi <= chi:
            p, chi, damping = trial, trial_chi, damping / 10
            matrix, trial_matrix, right, trial_right = trial_matrix, matrix, trial_right, right
            if moved < ENOUGH:
                return p
        else:
            damping *= 10
            if moved < ENOUGH:
                return p
            if damping > 1e12:
                return failed
    return failed


@njit(cache=True, nogil=True)
def fit(image, good, x, y, sigma, radius):
    """Fit stars by Levenberg and Marquardt's method: flux, place, width and a constant sky.

    Parameters
    ----------
    image : float32 (row, col)
    good : bool (row, col)
        Pixels that count. The nine in the middle of a star have to be good.
    x, y : float64 (n,)
        Where to begin, in pixels counted from 0.
    sigma : float
        Width to begin with, pixels.
    radius : float
        Pixels so near to the beginning are fitted.

    Returns
    -------
    float64 (n, 5)
        flux, x, y, sigma, sky; NaN where the fit fails.
    """
    found = np.empty((x.size, 5))
    for star in range(x.size):
        found[star] = _fit_one(image, good, x[star], y[star], sigma, radius)
    return found
