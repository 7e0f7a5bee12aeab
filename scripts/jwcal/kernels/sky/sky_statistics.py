"""Clipped moments and histograms of pixel values: what sky levels are made of.

float32 where the peer's library (stsci.imagestats) works in float32: the mode of a histogram moves by a part of a bin with its limits.
"""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def moments(values, low, high):
    """Number, mean, standard deviation and range of the values within limits.

    The range begins with the first value, drawn to within the limits, so that it reaches a limit where that value is beyond.

    Parameters
    ----------
    values : float32 (n,), n > 0
    low, high : float32
        Both included.

    Returns
    -------
    count : int
    mean, deviation : float
        Rounded to float32; deviation with n - 1.
    smallest, largest : float32
    """
    count, total = 0, 0.0
    smallest, largest = max(values[0], low), min(values[0], high)
    for value in values:
        if low <= value <= high:
            count += 1
            total += value
            smallest, largest = min(smallest, value), max(largest, value)
    if count == 0:
        return 0, np.nan, np.nan, smallest, largest
    mean, squares = np.float32(total / count), 0.0
    for value in values:
        if smallest <= value <= largest:
            away = np.float32(value - mean)
            squares += np.float32(away * away)
    deviation = np.float32(np.sqrt(squares / (count - 1))) if count > 1 else np.float32(np.nan)
    return count, float(mean), float(deviation), smallest, largest


@njit(cache=True, nogil=True)
def histogram(values, start, width, bins):
    """Counts of values in bins of equal width.

    Parameters
    ----------
    values : float32 (n,)
    start, width : float32
    bins : int

    Returns
    -------
    int64 (bins,)
    """
    counts = np.zeros(bins, np.int64)
    end = np.float32(start + width * np.float32(bins))
    for value in values:
        if start <= value < end:
            number = int(np.float32(np.float32(value - start) / width))
            if number < bins:
                counts[number] += 1
    return counts


@njit(cache=True, nogil=True)
def chosen(image, good, inside):
    """The values of pixels that are good and inside, row by row.

    Parameters
    ----------
    image : float32 (row, col)
    good, inside : bool (row, col)

    Returns
    -------
    float32 (n,)
    """
    count = 0
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            count += good[y, x] and inside[y, x]
    values = np.empty(count, np.float32)
    count = 0
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            if good[y, x] and inside[y, x]:
                values[count] = image[y, x]
                count += 1
    return values
