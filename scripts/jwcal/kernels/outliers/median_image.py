"""Median of the images of a stack, pixel by pixel."""

import numpy as np
from numba import njit, prange

FEW = 30  # values that are sorted fastest by insertion


@njit(cache=True, nogil=True)
def middle(values, count):
    """Median of the first values, which are sorted in place; NaN where there are none."""
    if count == 0:
        return np.float32(np.nan)
    if count > FEW:
        values[:count].sort()
    else:
        for i in range(1, count):
            value, place = values[i], i
            while place and values[place - 1] > value:
                values[place] = values[place - 1]
                place -= 1
            values[place] = value
    return np.float32(0.5) * (values[(count - 1) // 2] + values[count // 2])


@njit(cache=True, nogil=True, parallel=True)
def median_image(stack, out):
    """Median of each pixel, NaN left out.

    Parameters
    ----------
    stack : (image, row, col) float32
    out : (row, col) float32
        Filled; NaN where no image has a value.
    """
    images, rows, columns = stack.shape
    for row in prange(rows):
        # the images' values of one pixel lie far apart: a row of all of them is turned first
        turned, values = np.empty((columns, images), np.float32), np.empty(images, np.float32)
        for image in range(images):
            for column in range(columns):
                turned[column, image] = stack[image, row, column]
        for column in range(columns):
            count = 0
            for image in range(images):
                value = turned[column, image]
                if not np.isnan(value):
                    values[count] = value
                    count += 1
            out[row, column] = middle(values, count)
