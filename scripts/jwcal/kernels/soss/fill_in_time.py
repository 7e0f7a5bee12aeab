"""Fill in what pixels lack in single integrations, from the integrations around."""

import numpy as np
from numba import njit, prange


@njit(cache=True, nogil=True)
def _usable(sci, err, dq, bad):
    return np.isfinite(sci) and np.isfinite(err) and err > 0 and dq & bad == 0


@njit(cache=True, nogil=True)
def _mirrored(i, count):
    """The integration that stands for one before the first or after the last: a series is continued by its mirror image."""
    while i < 0 or i >= count:
        i = -1 - i if i < 0 else 2 * count - 1 - i
    return i


@njit(cache=True, nogil=True, parallel=True)
def fill_in_time(sci, err, dq, bad, wanted, usual, usual_error, first, width, inflate, filled, errors, absent):
    """A block of integrations without gaps.

    Parameters
    ----------
    sci, err : float32 (int, row, col)
        Of all integrations.
    dq : uint32, the same shape
    bad : uint32
        Flags of pixels that can't be used.
    wanted : bool (row, col)
        Pixels that are looked at; the others become 0.
    usual, usual_error : float32 (row, col)
        What a pixel usually has: medians of the series. NaN where it never has anything.
    first : int
        The block's first integration.
    width : int
        A gap is filled with the median of so many integrations, gaps among them taken as usual. Of an even number it is the upper
        one of the two in the middle.
    inflate : float
        Error of what was filled, in units of the usual one.
    filled, errors : float32 (block, row, col)
        Filled.
    absent : float32 (block, row, col)
        Filled: 1 where there was a gap.
    """
    count = len(sci)
    for row in prange(sci.shape[1]):
        window = np.empty(width, np.float32)
        for n in range(len(filled)):
            i = first + n
            for column in range(sci.shape[2]):
                filled[n, row, column] = 0
                errors[n, row, column] = 0
                absent[n, row, column] = 0
                if not wanted[row, column]:
                    continue
                if _usable(sci[i, row, column], err[i, row, column], dq[i, row, column], bad):
                    filled[n, row, column] = sci[i, row, column]
                    errors[n, row, column] = err[i, row, column]
                    continue
                for k in range(width):
                    j = _mirrored(i - width // 2 + k, count)
                    there = _usable(sci[j, row, column], err[j, row, column], dq[j, row, column], bad)
                    window[k] = sci[j, row, column] if there else usual[row, column]
                window.sort()
                filled[n, row, column] = window[width // 2]
                errors[n, row, column] = inflate * usual_error[row, column]
                absent[n, row, column] = 1
