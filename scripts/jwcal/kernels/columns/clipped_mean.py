"""Mean of the images of a stack, pixel by pixel, without outliers."""

import math

import numpy as np
from numba import njit, prange

FEW = 30  # values that are sorted fastest by insertion


@njit(cache=True, nogil=True)
def _sort(values, count):
    if count > FEW:
        values[:count].sort()
        return
    for i in range(1, count):
        value, place = values[i], i
        while place and values[place - 1] > value:
            values[place] = values[place - 1]
            place -= 1
        values[place] = value


@njit(cache=True, nogil=True)
def _limits(values, count, sigma, iterations):
    """Limits of sigma clipping: about the median, with the standard deviation about the mean. What is clipped is lost from `values`."""
    _sort(values, count)
    iteration = 0
    while True:
        mean = 0.0
        for i in range(count):
            mean += values[i]
        mean /= count
        square = 0.0
        for i in range(count):
            square += (mean - values[i]) * (mean - values[i])
        reach = sigma * math.sqrt(square / count)
        median = 0.5 * (values[(count - 1) // 2] + values[count // 2])
        low, high = median - reach, median + reach
        kept = 0
        for i in range(count):
            if low <= values[i] <= high:
                values[kept] = values[i]
                kept += 1
        iteration += 1
        if kept in (0, count) or iteration == iterations:
            return low, high
        count = kept


@njit(cache=True, parallel=True)
def clipped_mean(stack, variance, sigma, iterations):
    """Sigma-clipped mean of each pixel.

    Parameters
    ----------
    stack : ndarray of float32, (image, row, col)
        NaN and infinite values do not count.
    variance : ndarray of float32, (image, row, col)
        Of its values; or of shape (0, row, col), where the error of the mean is not asked for.
    sigma : float
        Clip beyond so many standard deviations from the median (as `astropy.stats.sigma_clip` does).
    iterations : int
        At most; -1: until nothing is clipped any more.

    Returns
    -------
    mean : ndarray of float32, (row, col)
        NaN where there is no value.
    error : ndarray of float32, (row, col)
        Its standard error, NaN where it is not known.
    clipped : int
        Number of values that were clipped.
    """
    n, ny, nx = stack.shape
    mean, error = np.full((ny, nx), np.nan, np.float32), np.full((ny, nx), np.nan, np.float32)
    clipped = np.zeros(ny, np.int64)
    for y in prange(ny):
        values = np.empty(n)
        for x in range(nx):
            count = 0
            for i in range(n):
                if math.isfinite(stack[i, y, x]):
                    values[count] = stack[i, y, x]
                    count += 1
            if count == 0:
                continue
            low, high = _limits(values, count, sigma, iterations)
            total, square, kept = 0.0, 0.0, 0
            for i in range(n):
                if low <= stack[i, y, x] <= high:
                    total += stack[i, y, x]
                    kept += 1
                    if variance.shape[0]:
                        square += variance[i, y, x]
            clipped[y] += count - kept
            if kept:
                mean[y, x] = total / kept
                if variance.shape[0]:
                    error[y, x] = math.sqrt(square) / kept
    return mean, error, clipped.sum()
