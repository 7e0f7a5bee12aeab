"""Which ramps surely have no jump, told without their median.

The median of n differences lies between two values if no more than (n - 1) // 2 of them are below the one, and no more above the other.
What was seen of the differences while they were made tells about where the median is, and one look at them makes sure of it; where
neither the largest nor the smallest difference could stick out, wherever in between the median is, nobody has to sort.
"""

import numpy as np
from numba import njit

from .differences import NAN32

# What the guess is wrong by, in sigma: from chance; since the mean of magnitudes is above their median; since that leaves out the largest.
CHANCE, FOLDED, LARGEST = 2.2, 0.13, 1.2
SURE = 1 - 1e-6  # of a threshold: more than what rounding does


@njit(cache=True, nogil=True, error_model="numpy")
def _guess(n, total, noise2, magnitude, lower, upper):
    """Two values that the median should be between."""
    offset, lost = (FOLDED, LARGEST) if magnitude else (0.0, 0.0)
    for x in range(n.size):
        mean = total[x] / np.float32(n[x])
        sigma = np.sqrt(abs(mean) + np.float32(noise2[x]))
        chance = np.float32(CHANCE) / np.sqrt(np.float32(n[x]))
        upper[x] = mean + chance * sigma
        lower[x] = mean - (chance + np.float32(offset) + np.float32(lost) / np.float32(n[x])) * sigma


@njit(cache=True, nogil=True, error_model="numpy")
def _count(a, b, c, magnitude, lower, upper, high, below, above, top):
    """Count what is outside in three rows, and what is as large as the largest."""
    for x in range(below.size):
        u, v, w = a[x], b[x], c[x]
        if magnitude:
            u, v, w = abs(u), abs(v), abs(w)
            top[x] += np.int32(u == high[x]) + np.int32(v == high[x]) + np.int32(w == high[x])
        below[x] += np.int32(u < lower[x]) + np.int32(v < lower[x]) + np.int32(w < lower[x])
        above[x] += np.int32(u > upper[x]) + np.int32(v > upper[x]) + np.int32(w > upper[x])


@njit(cache=True, nogil=True, error_model="numpy")
def _decide(n, low, high, noise2, limit, size, lower, upper, below, above, top, quiet):
    """Whether nothing sticks out; without square roots and without branches."""
    for x in range(n.size):
        middle = (n[x] - top[x] - 1) // 2
        between = (lower[x] <= upper[x]) & (below[x] <= middle) & (above[x] - top[x] <= middle)
        a, b = float(lower[x]), float(upper[x])
        least = max(max(a, -b), 0.0)  # the smallest magnitude that the median may have
        reach = max(high[x] - a, b - low[x])
        small = max(high[x], -low[x]) < size  # then the median is, too
        quiet[x] = (n[x] == 0) | ((n[x] >= 4) & between & small & (reach * reach <= limit * (least + noise2[x])))


@njit(cache=True, nogil=True, error_model="numpy")
def find_quiet(d, seen, noise2, threshold, size, magnitude, quiet):
    """Tell which columns surely have no difference beyond `threshold`.

    Parameters
    ----------
    d : ndarray of float32, (difference, column), electrons
        NaN where there is none.
    seen : differences.Seen
        Of them, or of their magnitudes.
    noise2 : ndarray of float64, (column,), electrons^2
        Variance of a difference without photons.
    threshold : float
        In sigma; sigma^2 = |median| + noise2.
    size : float, electrons
        A difference that is larger than the median by as much would not be quiet either.
    magnitude : bool
        The magnitudes of the differences are looked at, and the median is that of those below the largest.
    quiet : ndarray of uint8, (column,)
        Filled: whether a column has none. 0 means that it may have.
    """
    nk, width = d.shape
    n, total, low, high = seen
    below, above, top = np.zeros(width, np.int32), np.zeros(width, np.int32), np.zeros(width, np.int32)
    lower, upper = np.empty(width, np.float32), np.empty(width, np.float32)
    none = np.full(width, NAN32)
    _guess(n, total, noise2, magnitude, lower, upper)
    for k in range(0, nk, 3):
        b, c = d[k + 1] if k + 1 < nk else none, d[k + 2] if k + 2 < nk else none
        _count(d[k], b, c, magnitude, lower, upper, high, below, above, top)
    _decide(n, low, high, noise2, threshold * threshold * SURE, size / 2 * SURE, lower, upper, below, above, top, quiet)
