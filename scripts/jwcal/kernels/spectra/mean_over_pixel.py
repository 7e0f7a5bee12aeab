"""The mean of a table over the wavelengths of a pixel: three-point Gauss-Legendre quadrature between the pixel's limits."""

import math

import numpy as np
from numba import njit, prange

AWAY = math.sqrt(0.6) / 2  # of the outer two points from the middle, in pixels
OUTER, INNER = 5 / 18, 8 / 18  # weights (Abramowitz & Stegun 25.4.30, on an interval of length 1)


@njit(cache=True, nogil=True)
def _between(x, at, values, k):
    """Linear interpolation; NaN outside. `k`: where it was last, so that neighbours are found at once."""
    last = at.size - 1
    if not at[0] <= x <= at[last]:  # NaN too
        return np.nan, k
    while k > 0 and at[k] > x:
        k -= 1
    while k < last - 1 and at[k + 1] <= x:
        k += 1
    if at[k + 1] == x:  # the last one
        return values[k + 1], k
    return values[k] + (values[k + 1] - values[k]) / (at[k + 1] - at[k]) * (x - at[k]), k


@njit(cache=True, nogil=True, parallel=True)
def _mean(wavelength, step, at, values, errors, mean, error):
    nrow, ncol = wavelength.shape
    for y in prange(nrow):
        k = 0
        for x in range(ncol):
            w, d = np.float64(wavelength[y, x]), np.float64(step[y, x]) * AWAY
            low, k = _between(w - d, at, values, k)
            middle, k = _between(w, at, values, k)
            high, k = _between(w + d, at, values, k)
            mean[y, x] = OUTER * low + INNER * middle + OUTER * high
            error[y, x], k = _between(w, at, errors, k)


def mean_over_pixel(wavelength, step, at, values, errors):
    """Average a table over each pixel.

    Parameters
    ----------
    wavelength, step : float (row, col)
        Of the middle of a pixel, and how much of the spectrum it covers.
    at, values, errors : float (n,)
        The table, `at` rising; linear in between.

    Returns
    -------
    mean, error : float64 (row, col)
        NaN where a part of the pixel is outside the table; the error is that in the middle of the pixel.
    """
    mean, error = np.empty(wavelength.shape), np.empty(wavelength.shape)
    table = [np.ascontiguousarray(column, np.float64) for column in (at, values, errors)]
    if table[0].size < 2:
        mean[:], error[:] = np.nan, np.nan
        return mean, error
    _mean(np.ascontiguousarray(wavelength, np.float64), np.ascontiguousarray(step, np.float64), *table, mean, error)
    return mean, error
