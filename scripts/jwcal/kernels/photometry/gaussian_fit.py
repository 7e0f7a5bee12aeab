"""Fit Gaussians of known position, integrated over pixels, to small images: flux and widths by least squares (Levenberg, Marquardt)."""

import math

import numpy as np
from numba import njit, prange

STEPS = 200
ENOUGH = 1e-10  # relative change of the sum of squares that ends the fit
NARROWEST = 0.05  # pixels
ROOT2 = math.sqrt(2.0)
TWO_OVER_ROOT_PI = 2.0 / math.sqrt(math.pi)


@njit(cache=True, nogil=True)
def _profile(first, count, middle, width, value, slope):
    """Integrals of a normal distribution over pixels, and their derivative by its width."""
    scale = 1.0 / (ROOT2 * width)
    for i in range(count):
        high, low = (first + i - middle + 0.5) * scale, (first + i - middle - 0.5) * scale
        value[i] = 0.5 * (math.erf(high) - math.erf(low))
        slope[i] = -0.5 * TWO_OVER_ROOT_PI * (high * math.exp(-high * high) - low * math.exp(-low * low)) / width


@njit(cache=True, nogil=True)
def _normal(image, profile, flux, matrix, vector):
    """Sum of squared residuals; with it the normal equations."""
    px, sx, py, sy = profile
    matrix[:] = 0
    vector[:] = 0
    total = 0.0
    d = np.empty(3)
    for row in range(image.shape[0]):
        for col in range(image.shape[1]):
            value = image[row, col]
            if np.isnan(value):
                continue
            d[0] = px[col] * py[row]
            d[1] = flux * sx[col] * py[row]
            d[2] = flux * px[col] * sy[row]
            rest = value - flux * d[0]
            total += rest * rest
            for i in range(3):
                vector[i] += d[i] * rest
                for j in range(i + 1):
                    matrix[i, j] += d[i] * d[j]
    for i in range(3):
        for j in range(i):
            matrix[j, i] = matrix[i, j]
    return total


@njit(cache=True, nogil=True)
def _solve(a, b):
    """Three equations, by Cramer's rule; NaN where they are singular."""
    c0 = a[1, 1] * a[2, 2] - a[1, 2] * a[2, 1]
    c1 = a[1, 2] * a[2, 0] - a[1, 0] * a[2, 2]
    c2 = a[1, 0] * a[2, 1] - a[1, 1] * a[2, 0]
    whole = a[0, 0] * c0 + a[0, 1] * c1 + a[0, 2] * c2
    if whole == 0:
        return np.nan, np.nan, np.nan
    x = b[0] * c0 + a[0, 1] * (a[1, 2] * b[2] - b[1] * a[2, 2]) + a[0, 2] * (b[1] * a[2, 1] - a[1, 1] * b[2])
    y = a[0, 0] * (b[1] * a[2, 2] - a[1, 2] * b[2]) + b[0] * c1 + a[0, 2] * (a[1, 0] * b[2] - b[1] * a[2, 0])
    z = a[0, 0] * (a[1, 1] * b[2] - b[1] * a[2, 1]) + a[0, 1] * (b[1] * a[2, 0] - a[1, 0] * b[2]) + b[0] * c2
    return x / whole, y / whole, z / whole


@njit(cache=True, nogil=True)
def _near(wanted, width, widest):
    """A new width, not too far from the old one: far below a pixel nothing depends on it any more, and the fit would stay there."""
    return min(widest, width * 1.5, max(NARROWEST, width / 1.5, wanted))


@njit(cache=True, nogil=True)
def _fit(image, x0, y0, x, y, widest):
    """Flux and widths; NaN where there is no minimum."""
    nrow, ncol = image.shape
    profile, trial = np.empty((4, max(nrow, ncol))), np.empty((4, max(nrow, ncol)))
    matrix, vector, damped = np.empty((3, 3)), np.empty(3), np.empty((3, 3))
    new_matrix, new_vector = np.empty((3, 3)), np.empty(3)
    flux, count = 0.0, 0
    for row in range(nrow):
        for col in range(ncol):
            if not np.isnan(image[row, col]):
                flux += image[row, col]
                count += 1
    if count < 4 or not flux > 0:
        return np.nan, np.nan, np.nan
    wide = high = 0.5 * widest
    _profile(x0, ncol, x, wide, profile[0], profile[1])
    _profile(y0, nrow, y, high, profile[2], profile[3])
    total = _normal(image, (profile[0], profile[1], profile[2], profile[3]), flux, matrix, vector)
    damping = 1e-3
    for _ in range(STEPS):
        damped[:] = matrix
        for i in range(3):
            damped[i, i] *= 1 + damping
        df, dw, dh = _solve(damped, vector)
        new_flux = max(0.0, flux + df)
        new_wide, new_high = _near(wide + dw, wide, widest), _near(high + dh, high, widest)
        _profile(x0, ncol, x, new_wide, trial[0], trial[1])
        _profile(y0, nrow, y, new_high, trial[2], trial[3])
        new_total = _normal(image, (trial[0], trial[1], trial[2], trial[3]), new_flux, new_matrix, new_vector)
        if new_total <= total:
            done = total - new_total <= ENOUGH * total and damping <= 1e-3
            flux, wide, high, total = new_flux, new_wide, new_high, new_total
            matrix[:] = new_matrix
            vector[:] = new_vector
            damping *= 0.1
            if done:
                return flux, wide, high
        else:
            damping *= 10
            if not damping < 1e12:  # no better place is near: this is the minimum
                return flux, wide, high
    return flux, wide, high


@njit(cache=True, nogil=True, parallel=True)
def _fits(cube, x, y, box, widest, result):
    nrow, ncol = cube.shape[1:]
    half = box // 2
    for k in prange(x.size):
        if np.isnan(x[k]) or np.isnan(y[k]):
            result[:, k] = np.nan
            continue
        left, low = int(math.ceil(x[k] - 0.5)) - half, int(math.ceil(y[k] - 0.5)) - half
        right, high = min(ncol, left + box), min(nrow, low + box)
        left, low = max(0, left), max(0, low)
        if right <= left or high <= low:
            result[:, k] = np.nan
            continue
        result[0, k], result[1, k], result[2, k] = _fit(cube[k, low:high, left:right], left, low, x[k], y[k], widest)


def fit_gaussians(cube, x, y, box, widest):
    """Fit one Gaussian to each image, without weights.

    Parameters
    ----------
    cube : float (image, row, col)
        Without its background; NaN does not count.
    x, y : float (image,)
        Where the Gaussian is, pixels from 0; NaN: no fit.
    box : int
        Side of the square about it that is fitted, pixels; odd.
    widest : float
        Largest width, pixels; half of it is tried first.

    Returns
    -------
    flux, x_width, y_width : float64 (image,)
        Widths are standard deviations. NaN where the box has no light.
    """
    result = np.empty((3, cube.shape[0]))
    x, y = np.ascontiguousarray(x, np.float64), np.ascontiguousarray(y, np.float64)
    _fits(cube, x, y, int(box), float(widest), result)
    return result
