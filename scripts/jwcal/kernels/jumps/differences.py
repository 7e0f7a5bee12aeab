"""Differences of neighbouring groups, in electrons, and what can be told of them on the way: one pass over the samples is what takes time.

Three groups are taken at a time, so that what is kept of each pixel is fetched and put back a third as often.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

ZERO, NAN32, INF32 = np.float32(0), np.float32(np.nan), np.float32(np.inf)


class Seen(NamedTuple):
    """What was seen of the differences, or of their magnitudes, of each pixel of a tile.

    Attributes
    ----------
    n : ndarray of int32, (col,)
        How many there are.
    total, low, high : ndarray of float32, (col,)
        Their sum, the least and the most of them.
    """

    n: np.ndarray
    total: np.ndarray
    low: np.ndarray
    high: np.ndarray


@njit(cache=True, nogil=True, error_model="numpy")
def nothing_seen(width):
    """`Seen` of so many pixels, before any difference."""
    return Seen(np.zeros(width, np.int32), np.zeros(width, np.float32), np.full(width, INF32), np.full(width, -INF32))


@njit(cache=True, nogil=True, error_model="numpy")
def _first(values, flags, gain, bad, last):
    """Electrons of a group, NaN where it is missing."""
    for x in range(last.size):
        electrons = values[x] * gain[x]
        last[x] = NAN32 if flags[x] & bad else electrons


@njit(cache=True, nogil=True, error_model="numpy")
def _next(values, flags, gain, bad, last, magnitude, d, seen):
    """The difference of one more group from the `last` one, which it becomes: for what three at a time leave over.

    To go through `_next_three` with missing groups instead takes 15 % longer where one of 19 differences is left (IRS2's 20 groups).
    """
    n, total, low, high = seen
    for x in range(last.size):
        electrons = values[x] * gain[x]
        electrons = NAN32 if flags[x] & bad else electrons
        u = electrons - last[x]
        d[x], last[x] = u, electrons
        u = abs(u) if magnitude else u
        n[x] += np.int32(u == u)
        total[x] += u if u == u else ZERO
        low[x], high[x] = u if u < low[x] else low[x], u if u > high[x] else high[x]


@njit(cache=True, nogil=True, error_model="numpy")
def _next_three(va, vb, vc, fa, fb, fc, gain, bad, last, magnitude, da, db, dc, seen):
    """As `_next` for three groups: v are their values, f their flags."""
    n, total, low, high = seen
    for x in range(last.size):
        a, b, c = va[x] * gain[x], vb[x] * gain[x], vc[x] * gain[x]
        a, b, c = NAN32 if fa[x] & bad else a, NAN32 if fb[x] & bad else b, NAN32 if fc[x] & bad else c
        u, v, w = a - last[x], b - a, c - b
        da[x], db[x], dc[x], last[x] = u, v, w, c
        if magnitude:
            u, v, w = abs(u), abs(v), abs(w)
        n[x] += np.int32(u == u) + np.int32(v == v) + np.int32(w == w)
        total[x] += (u if u == u else ZERO) + (v if v == v else ZERO) + (w if w == w else ZERO)
        least, most = low[x], high[x]
        least, most = u if u < least else least, u if u > most else most
        least, most = v if v < least else least, v if v > most else most
        least, most = w if w < least else least, w if w > most else most
        low[x], high[x] = least, most


@njit(cache=True, nogil=True, error_model="numpy")
def _note(flags, jump, before):
    for x in range(before.size):
        before[x] |= flags[x] & jump


@njit(cache=True, nogil=True, error_model="numpy")
def find_differences(sci, groupdq, gain, y, part, bad, jump, magnitude, d, before, seen):
    """Differences of part of a row; electrons are gain x DN in single precision.

    Parameters
    ----------
    sci : ndarray of float32, (int, group, row, col), DN
    groupdq : ndarray of uint8, the same shape
    gain : ndarray of float32, (row, col), electrons/DN
    y : int
    part : slice
    bad, jump : uint8
        Bits of groups that are missing, and of those with a jump.
    magnitude : bool
        Whether `seen` is of the magnitudes.
    d : ndarray of float32, (difference, col)
        Filled, those of one integration after the other's; NaN where a group is missing.
    before : ndarray of uint8, (col,)
        Filled: not 0 where a group has a jump already.
    seen : Seen
        Changed.
    """
    nints, ngroups = sci.shape[:2]
    last, gains = np.empty(before.size, np.float32), gain[y, part]
    before[:] = 0
    for i in range(nints):
        for g in range(ngroups):
            _note(groupdq[i, g, y, part], jump, before)
        _first(sci[i, 0, y, part], groupdq[i, 0, y, part], gains, bad, last)
        g = 1
        while g < ngroups:
            k = i * (ngroups - 1) + g - 1
            va, fa = sci[i, g, y, part], groupdq[i, g, y, part]  # cut like this they are contiguous, which the machine's vectors need
            if g + 2 < ngroups:
                vb, vc = sci[i, g + 1, y, part], sci[i, g + 2, y, part]
                fb, fc = groupdq[i, g + 1, y, part], groupdq[i, g + 2, y, part]
                _next_three(va, vb, vc, fa, fb, fc, gains, bad, last, magnitude, d[k], d[k + 1], d[k + 2], seen)
                g += 3
            else:
                _next(va, fa, gains, bad, last, magnitude, d[k], seen)
                g += 1
