"""Pixels without a value, from the two neighbours on the line along which these differ least."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def minimum_gradient(image, first, last):
    """Where to take each missing pixel from.

    Parameters
    ----------
    image : (row, col) float32
        NaN or infinite where there is no value.
    first, last : int
        Rows and columns at the lower and at the upper side that are left as they are; at least 1.

    Returns
    -------
    rows, columns : (n,) int64
        Missing pixels that have two neighbours with values, beside them or above and below.
    vertical : (n,) bool
        Whether these are above and below. Of two lines that differ equally the horizontal one is taken.
    """
    height, width = image.shape
    size = 0
    for row in range(first, height - last):
        for column in range(first, width - last):
            if not np.isfinite(image[row, column]):
                size += 1
    rows, columns = np.empty(size, np.int64), np.empty(size, np.int64)
    vertical = np.empty(size, np.bool_)
    count = 0
    for row in range(first, height - last):
        for column in range(first, width - last):
            if np.isfinite(image[row, column]):
                continue
            beside = np.abs(image[row, column - 1] - image[row, column + 1])
            above = np.abs(image[row - 1, column] - image[row + 1, column])
            if np.isfinite(beside) or np.isfinite(above):
                rows[count], columns[count] = row, column
                vertical[count] = not np.isfinite(beside) or (np.isfinite(above) and above < beside)
                count += 1
    return rows[:count], columns[:count], vertical[:count]
