"""The areas that a quadrilateral shares with the squares of a grid."""

import numpy as np
from numba import njit

LEAST = 1e-12  # of a square: what is less is rounding


@njit(cache=True, nogil=True)
def _mean_inside(a, b):
    """The mean of a line from a to b, as far as it is between 0 and 1: below it is 0, above it is 1."""
    low, high = min(a, b), max(a, b)
    if high <= 0.0:
        return 0.0
    if low >= 1.0:
        return 1.0
    if low < 0.0:
        return (high * high / 2 if high < 1.0 else high - 0.5) / (high - low)
    if high > 1.0:
        return 1.0 - (1.0 - low) * (1.0 - low) / 2 / (high - low)
    return 0.5 * (a + b)


@njit(cache=True, nogil=True)
def areas(u, v, column, row, ncolumns, nrows, found):
    """Add up the signed areas below the four edges, square by square (Green's theorem).

    Parameters
    ----------
    u, v : float64 (4,)
        Corners, one after the other around it, in units of the squares' sides; square (j, i) reaches from i to i + 1 and j to j + 1.
    column, row, ncolumns, nrows : int
        The squares to look at: those that hold all corners.
    found : float64 (at least nrows * ncolumns,)
        Filled with the areas, row by row; 0 where the two do not touch.
    """
    count = nrows * ncolumns
    found[:count] = 0.0
    turn = 0.0
    for k in range(4):
        n = (k + 1) % 4
        u1, v1, u2, v2 = u[k] - column, v[k] - row, u[n] - column, v[n] - row
        turn += u1 * v2 - u2 * v1
        if u1 == u2:
            continue
        sign = 1.0
        if u1 > u2:
            u1, v1, u2, v2, sign = u2, v2, u1, v1, -1.0
        slope = (v2 - v1) / (u2 - u1)
        for i in range(max(int(np.floor(u1)), 0), min(int(np.floor(u2)), ncolumns - 1) + 1):
            left, right = max(u1, np.float64(i)), min(u2, np.float64(i + 1))
            if right <= left:
                continue
            a = v1 if left == u1 else v1 + slope * (left - u1)
            b = v2 if right == u2 else v1 + slope * (right - u1)
            width = sign * (right - left)
            for j in range(min(int(np.floor(max(a, b))), nrows - 1) + 1):
                found[j * ncolumns + i] += width * _mean_inside(a - j, b - j)
    sign = -1.0 if turn > 0 else 1.0  # turned left, the lower edges run to the right
    for k in range(count):
        area = sign * found[k]
        found[k] = area if area > LEAST else 0.0
