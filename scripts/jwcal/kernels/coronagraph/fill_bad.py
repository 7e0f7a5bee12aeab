"""Bad pixels replaced by the median of the good ones around them."""

import numpy as np
from numba import njit, prange


@njit(cache=True, nogil=True, parallel=True)
def _fill(image, bad, half, out):
    rows, columns = image.shape
    for row in prange(rows):
        for column in range(columns):
            if not bad[row, column]:
                out[row, column] = image[row, column]
                continue
            value, reach = np.float32(0.0), half
            while reach <= max(rows, columns):
                top, end = max(row - reach, 0), min(row + reach + 1, rows)
                left, right = max(column - reach, 0), min(column + reach + 1, columns)
                values, count = np.empty((end - top) * (right - left), np.float32), 0
                for y in range(top, end):
                    for x in range(left, right):
                        if not bad[y, x]:
                            values[count] = image[y, x]
                            count += 1
                if count:
                    values = np.sort(values[:count])
                    value = np.float32(0.5) * (values[(count - 1) // 2] + values[count // 2])
                    break
                reach = reach + 1
            out[row, column] = value


def fill_bad(image, bad, box):
    """An image without holes.

    Parameters
    ----------
    image : (row, col) float32
    bad : (row, col) bool
        Pixels to replace; all that are not finite have to be among them.
    box : int
        Side of the square about a bad pixel whose good pixels' median it gets; it grows until there is a good one.

    Returns
    -------
    (row, col) float32
        0 where the image has no good pixel at all.
    """
    out = np.empty(image.shape, np.float32)
    _fill(np.ascontiguousarray(image, np.float32), np.ascontiguousarray(bad), int(box) // 2, out)
    return out
