"""Mean, median and standard deviation of an image's pixels after iterated clipping about the median.

All values are float32, all sums are in double precision. Medians are exact: the pixels are counted in 65536 bins, which are the upper
halves of their bit patterns (put in the order of the numbers), then the bin that holds the median is counted by the lower halves.
The counts outlive a round of clipping, so that a round costs one pass over the pixels.
"""

import math

import numpy as np
from numba import njit

BINS = 1 << 16
SIGN, ALL = np.uint32(0x80000000), np.uint32(0xFFFFFFFF)
HALF = np.uint32(16)
LOW = np.uint32(0xFFFF)


@njit(cache=True, nogil=True, inline="always")
def _ordered(bits):
    """The bit pattern of a float32 as an integer in the order of the numbers."""
    return bits ^ (ALL if bits & SIGN else SIGN)


@njit(cache=True, nogil=True)
def _number(ordered):
    """The float32 of an ordered bit pattern."""
    bits = np.empty(1, np.uint32)
    bits[0] = ordered ^ (SIGN if ordered & SIGN else ALL)
    return bits.view(np.float32)[0]


@njit(cache=True, nogil=True)
def _bin_of(rank, counts):
    """The bin that holds the value of this rank, and how many values lie in lower ones."""
    below = 0
    for b in range(counts.size):
        if below + counts[b] > rank:
            return b, below
        below += counts[b]
    return counts.size - 1, below


@njit(cache=True, nogil=True)
def _ranked(rank, bits, n, counts, fine, current):
    """The value of this rank among the first `n`; `fine` holds the counts within the bin `current` (-1: of none yet)."""
    b, below = _bin_of(rank, counts)
    if b != current:
        fine[:] = 0
        for i in range(n):
            ordered = _ordered(bits[i])
            if np.int64(ordered >> HALF) == b:
                fine[np.int64(ordered & LOW)] += 1
    low, _ = _bin_of(rank - below, fine)
    return np.float64(_number(np.uint32((b << 16) | low))), b


@njit(cache=True, nogil=True)
def _median(bits, n, counts, fine, current):
    """Median of the first `n` values, and the bin that `fine` is of then."""
    low, current = _ranked((n - 1) // 2, bits, n, counts, fine, current)
    if n % 2:
        return low, current
    high, current = _ranked(n // 2, bits, n, counts, fine, current)
    return (low + high) / 2.0, current


@njit(cache=True, nogil=True)
def _keep(source, n, low, high, pivot, kept, counts):
    """Move the values within the limits to the start of `kept`; returns their number and the sums of (v - pivot) and its square."""
    m, first, second = 0, 0.0, 0.0
    source_bits = source.view(np.uint32)
    for i in range(n):
        v = source[i]
        d = np.float64(v) - pivot
        if low <= v and v <= high:
            kept[m] = v
            m += 1
            first += d
            second += d * d
        else:
            counts[np.int64(_ordered(source_bits[i]) >> HALF)] -= 1
    return m, first, second


@njit(cache=True, nogil=True)
def clipped(values, kept, sigma, rounds):
    """Mean, median and standard deviation of what stays after clipping at median -+ sigma standard deviations, up to `rounds` times.

    Parameters
    ----------
    values : ndarray of float32, (n,)
        Finite.
    kept : ndarray of float32, (n,)
        Room to work in; may be `values` itself, which is lost then.
    sigma : float
    rounds : int

    Returns
    -------
    (float, float, float)
        NaN where there are no values.
    """
    n = values.size
    if n == 0:
        return np.nan, np.nan, np.nan
    counts, fine = np.zeros(BINS, np.int64), np.zeros(BINS, np.int64)
    bits = values.view(np.uint32)
    for i in range(n):
        counts[np.int64(_ordered(bits[i]) >> HALF)] += 1
    median, current = _median(bits, n, counts, fine, -1)
    pivot = median
    first = second = 0.0
    for i in range(n):
        d = np.float64(values[i]) - pivot
        first += d
        second += d * d
    source = values
    for _ in range(rounds):
        mean = first / n
        spread = math.sqrt(max(second / n - mean * mean, 0.0))
        m, first, second = _keep(source, n, median - sigma * spread, median + sigma * spread, pivot, kept, counts)
        source = kept
        if m == n or m == 0:
            n = m
            break
        n = m
        median, current = _median(kept.view(np.uint32), n, counts, fine, current)
    if n == 0:
        return np.nan, np.nan, np.nan
    mean = first / n
    return pivot + mean, median, math.sqrt(max(second / n - mean * mean, 0.0))


@njit(cache=True, nogil=True, error_model="numpy")
def mirrored_spread(values, centre, below, sigma, rounds):
    """Standard deviation about `centre` of the values not above it, clipped at sigma standard deviations up to `rounds` times.

    That of a symmetric distribution whose lower half they are: light only ever adds to the background, so its upper half is not to be trusted.

    Parameters
    ----------
    values : ndarray of float32, (n,)
        Finite.
    centre : float
    below : ndarray of float32, (n,)
        Room to work in; not `values` itself.
    sigma : float
    rounds : int

    Returns
    -------
    float
        NaN where no value is below the centre.
    """
    n, total = 0, 0.0
    for i in range(values.size):
        v = values[i]
        d = np.float64(v) - centre
        below[n] = v
        low = d <= 0.0
        n += low
        total += d * d if low else 0.0
    for _ in range(rounds):
        limit, m = -sigma * math.sqrt(total / n), 0
        total = 0.0
        for i in range(n):
            v = below[i]
            d = np.float64(v) - centre
            if d >= limit:
                below[m] = v
                m += 1
                total += d * d
        if m == n:
            break
        n = m
    return math.sqrt(total / n)


@njit(cache=True, nogil=True)
def gather(image, mask, values):
    """Copy the finite pixels where the mask is true into `values`; returns how many they are."""
    n = 0
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            v = image[y, x]
            values[n] = v
            n += mask[y, x] and v - v == 0
    return n


@njit(cache=True, nogil=True)
def mask_beyond(image, mask, low, high):
    """Take the pixels below `low` and above `high` out of the mask, in place."""
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            v = np.float64(image[y, x])
            mask[y, x] &= not (v < low or v > high)
