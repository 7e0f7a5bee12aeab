"""An image as it looks on another grid of pixels."""

import numpy as np
from numba import njit, prange


@njit(cache=True, nogil=True, parallel=True)
def blot(image, places):
    """Bilinear interpolation of an image.

    Parameters
    ----------
    image : (row, col) float32
    places : (row, col, 2) float64
        x and y in the image of each pixel of the result, 0 at the centre of the first pixel. NaN: nowhere.

    Returns
    -------
    (row, col) float32
        NaN outside the image, and where one of the four pixels around is NaN. Beyond the centres of the last row and column the
        image goes on as it ends, for less than a pixel.
    """
    height, width = image.shape
    rows, columns = places.shape[:2]
    out = np.empty((rows, columns), np.float32)
    for row in prange(rows):
        for column in range(columns):
            x, y = places[row, column, 0], places[row, column, 1]
            if not (0.0 <= x < width and 0.0 <= y < height):
                out[row, column] = np.nan
                continue
            left, low = int(x), int(y)
            right, high = min(left + 1, width - 1), min(low + 1, height - 1)
            u, v = x - left, y - low
            below = (1.0 - u) * image[low, left] + u * image[low, right]
            above = (1.0 - u) * image[high, left] + u * image[high, right]
            out[row, column] = (1.0 - v) * below + v * above
    return out
