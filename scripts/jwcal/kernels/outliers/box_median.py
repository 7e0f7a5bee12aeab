"""Median of the pixels in a box around each pixel, NaN left out."""

import numpy as np
from numba import njit, prange

from .median_image import middle


@njit(cache=True, nogil=True)
def box_values(image, y, x, up, left, padded, values):
    """Put the values of a box around a pixel into `values`; returns how many there are."""
    rows, columns = image.shape
    count = 0
    for j in range(y - up, y + up + 1):
        for i in range(x - left, x + left + 1):
            if 0 <= j < rows and 0 <= i < columns:
                value = np.float64(image[j, i])
            elif padded:
                value = 0.0
            else:
                continue
            if not np.isnan(value):
                values[count] = value
                count += 1
    return count


@njit(cache=True, nogil=True, parallel=True)
def box_median(image, height, width, padded):
    """Median of a box.

    Parameters
    ----------
    image : (row, col) float64
    height, width : int
        Rows and columns of the box, odd.
    padded : bool
        Beyond the image's edges all is 0, as the peer has it; else there is nothing.

    Returns
    -------
    (row, col) float64
        NaN where no pixel of the box has a value.
    """
    rows, columns = image.shape
    out = np.empty((rows, columns))
    for y in prange(rows):
        values = np.empty(height * width)
        for x in range(columns):
            out[y, x] = middle(values, box_values(image, y, x, height // 2, width // 2, padded, values))
    return out
