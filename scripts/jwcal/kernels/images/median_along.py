"""Running median of an image along its columns or rows, NaN left out; at the edges of the pixels that are there."""

import numpy as np
from numba import njit, prange


@njit(cache=True, nogil=True)
def _middle(values, count):
    """Median of the first `count` values, which are put in order."""
    if count == 0:
        return np.float32(np.nan)
    for i in range(1, count):  # they are few
        value, place = values[i], i
        while place and values[place - 1] > value:
            values[place] = values[place - 1]
            place -= 1
        values[place] = value
    return np.float32(0.5) * (values[(count - 1) // 2] + values[count // 2])


@njit(cache=True, nogil=True, parallel=True)
def _along(lines, half, out):
    for line in prange(lines.shape[0]):
        values = np.empty(2 * half + 1, np.float32)
        for x in range(lines.shape[1]):
            count = 0
            for near in range(max(0, x - half), min(lines.shape[1], x + half + 1)):
                if not np.isnan(lines[line, near]):
                    values[count] = lines[line, near]
                    count += 1
            out[line, x] = _middle(values, count)


def median_along(image, size, *, along_columns):
    """Running median.

    Parameters
    ----------
    image : float32 (row, col)
    size : int
        Pixels in the window, odd.
    along_columns : bool
        Along the columns, else along the rows.

    Returns
    -------
    float32 (row, col)
        NaN where no pixel of the window has a value.
    """
    lines = np.ascontiguousarray(image.T if along_columns else image)
    out = np.empty_like(lines)
    _along(lines, size // 2, out)
    return np.ascontiguousarray(out.T) if along_columns else out
