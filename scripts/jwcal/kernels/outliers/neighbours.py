"""What a pixel's neighbours along the spectrum are like."""

import numpy as np
from numba import njit, prange


@njit(cache=True, nogil=True, parallel=True)
def neighbours_median(image, reach, vertical):
    """Median of the pixels before and after each pixel along the spectrum, without itself.

    Parameters
    ----------
    image : (row, col) float32
        NaN do not count.
    reach : int
        So many on each side.
    vertical : bool
        Whether the spectrum runs along the columns.

    Returns
    -------
    (row, col) float32
        NaN where no neighbour has a value.
    """
    rows, columns = image.shape
    out = np.empty_like(image)
    for row in prange(rows):
        values = np.empty(2 * reach, np.float32)
        for column in range(columns):
            here, size = (row, rows) if vertical else (column, columns)
            count = 0
            for place in range(max(0, here - reach), min(size, here + reach + 1)):
                if place == here:
                    continue
                value = image[place, column] if vertical else image[row, place]
                if not np.isnan(value):
                    at = count
                    while at and values[at - 1] > value:
                        values[at] = values[at - 1]
                        at -= 1
                    values[at] = value
                    count += 1
            out[row, column] = np.float32(0.5) * (values[(count - 1) // 2] + values[count // 2]) if count else np.nan
    return out
