"""Medians of the pixels in rings around many places, without outliers."""

import math

import numpy as np
from numba import njit, prange

SIGMA, ITERATIONS = 3.0, 5  # of the clipping


@njit(cache=True, nogil=True)
def _gather(image, x, y, inner, outer, values):
    """The finite pixels whose middle is in the ring; their number."""
    nrow, ncol = image.shape
    count = 0
    for row in range(max(0, int(math.ceil(y - outer))), min(nrow - 1, int(math.floor(y + outer))) + 1):
        for col in range(max(0, int(math.ceil(x - outer))), min(ncol - 1, int(math.floor(x + outer))) + 1):
            square = (col - x) * (col - x) + (row - y) * (row - y)
            if inner * inner <= square < outer * outer and np.isfinite(image[row, col]):
                values[count] = image[row, col]
                count += 1
    return count


@njit(cache=True, nogil=True)
def _middle(values, count):
    """Median and standard deviation about the mean of the first values, which are sorted."""
    mean = square = 0.0
    for i in range(count):
        mean += values[i]
    mean /= count
    for i in range(count):
        square += (values[i] - mean) * (values[i] - mean)
    return 0.5 * (values[(count - 1) // 2] + values[count // 2]), math.sqrt(square / count)


@njit(cache=True, nogil=True)
def _clip(values, count):
    """Clip sorted values about their median; what is left stays sorted."""
    for _ in range(ITERATIONS):
        median, deviation = _middle(values, count)
        low, high = median - SIGMA * deviation, median + SIGMA * deviation
        kept = 0
        for i in range(count):
            if low <= values[i] <= high:
                values[kept] = values[i]
                kept += 1
        if kept in (0, count):
            break
        count = kept
    return count


@njit(cache=True, nogil=True, parallel=True)
def _medians(image, x, y, inner, outer, result):
    for k in prange(x.size):
        result[:, k] = np.nan
        if not (np.isfinite(x[k]) and np.isfinite(y[k])):
            continue
        values = np.empty(int((2 * outer + 2) ** 2))
        count = _gather(image, x[k], y[k], inner, outer, values)
        if count:
            values[:count].sort()
            count = _clip(values, count)
            result[0, k], deviation = _middle(values, count)
            result[1, k] = math.sqrt(math.pi / (2 * count)) * deviation


def ring_medians(image, x, y, inner, outer):
    """Sigma-clipped medians in rings, and their standard errors.

    Parameters
    ----------
    image : float (row, col)
        Pixels that are not finite do not count.
    x, y : float (n,)
        The rings' middles, pixels from 0.
    inner, outer : float
        Radii, pixels; a pixel counts if its middle is between them.

    Returns
    -------
    median, error : float64 (n,)
        The error is sqrt(pi/(2 N)) times the standard deviation. NaN where the ring is empty.
    """
    x, y = np.ascontiguousarray(x, np.float64), np.ascontiguousarray(y, np.float64)
    result = np.empty((2, x.size))
    _medians(image, x, y, float(inner), float(outer), result)
    return result
