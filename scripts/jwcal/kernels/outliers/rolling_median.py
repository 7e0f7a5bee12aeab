"""Median over the integrations around each integration, pixel by pixel."""

import numpy as np
from numba import njit, prange

from .median_image import middle


@njit(cache=True, nogil=True)
def _insert(values, count, value):
    place = count
    while place and values[place - 1] > value:
        values[place] = values[place - 1]
        place -= 1
    values[place] = value
    return count + 1


@njit(cache=True, nogil=True)
def _take_out(values, count, value):
    low, high = 0, count
    while low < high:
        half = (low + high) // 2
        if values[half] < value:
            low = half + 1
        else:
            high = half
    for place in range(low, count - 1):
        values[place] = values[place + 1]
    return count - 1


@njit(cache=True, nogil=True)
def roll(series, width, whole, out):
    """Rolling median of one pixel's values.

    The window is moved by a value at a time, in a list that stays sorted. At both ends it stays where it was last whole.

    Parameters
    ----------
    series : (n,) float32
    width : int
        Values in the window, at most n.
    whole : bool
        A window with a NaN in it has the median NaN; else NaN are left out.
    out : (n,) float32
        Filled.
    """
    n, before = series.size, width // 2
    values, count, empty = np.empty(width + 1, np.float32), 0, 0
    for i in range(width):
        if np.isnan(series[i]):
            empty += 1
        else:
            count = _insert(values, count, series[i])
    for start in range(n - width + 1):
        if start:
            old, new = series[start - 1], series[start + width - 1]
            if np.isnan(old):
                empty -= 1
            else:
                count = _take_out(values, count, old)
            if np.isnan(new):
                empty += 1
            else:
                count = _insert(values, count, new)
        nothing = count == 0 or (whole and empty > 0)
        out[start + before] = np.nan if nothing else np.float32(0.5) * (values[(count - 1) // 2] + values[count // 2])
    out[:before] = out[before]
    out[n - width + before + 1 :] = out[n - width + before]


@njit(cache=True, nogil=True, parallel=True)
def rolling_median(cube, width, whole):
    """Rolling median of every pixel.

    Parameters
    ----------
    cube : (int, row, col) float32
    width : int
        Integrations in the window. The median of all is taken instead, NaN left out, where there are not more, or where it is below 2.
    whole : bool
        See `roll`.

    Returns
    -------
    (int, row, col) float32
    """
    n, rows, columns = cube.shape
    out = np.empty_like(cube)
    for row in prange(rows):
        # a pixel's values lie far apart: a row of all integrations is turned first, and turned back
        turned, found = np.empty((columns, n), np.float32), np.empty((columns, n), np.float32)
        values = np.empty(n, np.float32)
        for i in range(n):
            for column in range(columns):
                turned[column, i] = cube[i, row, column]
        for column in range(columns):
            if 1 < width < n:
                roll(turned[column], width, whole, found[column])
                continue
            count = 0
            for i in range(n):
                if not np.isnan(turned[column, i]):
                    values[count] = turned[column, i]
                    count += 1
            found[column] = middle(values, count)
        for i in range(n):
            for column in range(columns):
                out[i, row, column] = found[column, i]
    return out
