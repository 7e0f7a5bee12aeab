"""Integrals over pixels of a function that is given at points, linear in between."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _fill(grid, low, high, starts, columns, weights, counting):
    total = 0
    for pixel in range(low.size):
        starts[pixel] = total
        a, b = low[pixel], high[pixel]
        if not a < b:
            continue
        k = min(max(np.searchsorted(grid, a, side="right") - 1, 0), grid.size - 2)
        last = min(max(np.searchsorted(grid, b, side="left") - 1, 0), grid.size - 2)
        count = last - k + 2
        if not counting:
            for n in range(count):
                columns[total + n] = k + n
                weights[total + n] = 0.0
            for n in range(count - 1):
                left, right = grid[k + n], grid[k + n + 1]
                u, v = max(a, left), min(b, right)
                middle = 0.5 * (u + v)  # of a line the mean is at the middle
                share = (middle - left) / (right - left)
                weights[total + n] += (1 - share) * (v - u)
                weights[total + n + 1] += share * (v - u)
        total += count
    starts[low.size] = total
    return total


def pixel_integrals(grid, low, high):
    """The weights of the points in each pixel's integral: trapezoids, cut at the pixel's limits.

    Parameters
    ----------
    grid : float64 (point,)
        Rising.
    low, high : float64 (pixel,)
        Limits, inside the grid; a pixel with a NaN has no weights.

    Returns
    -------
    starts : int64 (pixel + 1,)
    columns : int64 (n,)
    weights : float64 (n,)
        Rows of a sparse matrix (pixel, point), as scipy's csr_matrix takes them.
    """
    starts = np.empty(low.size + 1, np.int64)
    nothing, none = np.empty(0, np.int64), np.empty(0)
    total = _fill(grid, low, high, starts, nothing, none, True)
    columns, weights = np.empty(total, np.int64), np.empty(total)
    _fill(grid, low, high, starts, columns, weights, False)
    return starts, columns, weights
