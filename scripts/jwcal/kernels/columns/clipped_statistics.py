"""Mean, median and standard deviation of values after iterated clipping about the median.

The values come sorted: then clipping only moves the two ends of a slice, its median is read off, and its sums are those of blocks,
which are made once, and of the odd ends. All sums are in double precision.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

BLOCK = 256
LANES = 8  # sums that run side by side


class Sorted(NamedTuple):
    """Sorted values, and the sums of (v - pivot) and of its square over blocks of them."""

    values: np.ndarray  # float32, (n,)
    blocks: np.ndarray  # float64, (n // BLOCK, 2)
    pivot: float


@njit(cache=True, nogil=True)
def _block_sums(values, pivot):
    blocks = np.empty((values.size // BLOCK, 2))
    first, second = np.empty(LANES), np.empty(LANES)
    for b in range(blocks.shape[0]):
        first[:] = 0.0
        second[:] = 0.0
        for i in range(b * BLOCK, (b + 1) * BLOCK, LANES):
            for k in range(LANES):
                d = np.float64(values[i + k]) - pivot
                first[k] += d
                second[k] += d * d
        blocks[b, 0], blocks[b, 1] = first.sum(), second.sum()
    return blocks


def sort(values):
    """Sort values in place and prepare them for the functions below.

    Parameters
    ----------
    values : ndarray of float32, (n,)
        Finite.

    Returns
    -------
    Sorted
    """
    values.sort()
    pivot = float(values[values.size // 2]) if values.size else 0.0
    return Sorted(values, _block_sums(values, pivot), pivot)


@njit(cache=True, nogil=True)
def _sums(values, blocks, pivot, first, last):
    """Sums of (v - pivot) and of its square over [first, last)."""
    one, two = 0.0, 0.0
    i = first
    while i < last:
        if i % BLOCK == 0 and i + BLOCK <= last:
            one += blocks[i // BLOCK, 0]
            two += blocks[i // BLOCK, 1]
            i += BLOCK
        else:
            d = np.float64(values[i]) - pivot
            one += d
            two += d * d
            i += 1
    return one, two


@njit(cache=True, nogil=True)
def _position(values, limit, after):
    """How many values are below the limit, or (`after`) not above it."""
    low, high = 0, values.size
    while low < high:
        middle = (low + high) // 2
        v = np.float64(values[middle])
        if v < limit or (after and v == limit):
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def _median(values, first, last):
    middle = (first + last) // 2
    high = np.float64(values[middle])
    return high if (last - first) % 2 else (np.float64(values[middle - 1]) + high) / 2.0


@njit(cache=True, nogil=True)
def _clipped(values, blocks, pivot, sigma, rounds):
    first, last = 0, values.size
    for _ in range(rounds):
        one, two = _sums(values, blocks, pivot, first, last)
        mean, median = one / (last - first), _median(values, first, last)
        reach = sigma * math.sqrt(max(two / (last - first) - mean * mean, 0.0))
        low, high = max(_position(values, median - reach, False), first), min(_position(values, median + reach, True), last)
        if low == first and high == last or low >= high:
            break
        first, last = low, high
    one, two = _sums(values, blocks, pivot, first, last)
    mean = one / (last - first)
    return pivot + mean, _median(values, first, last), math.sqrt(max(two / (last - first) - mean * mean, 0.0))


def clipped(found, sigma, rounds):
    """Mean, median and standard deviation of what lies within `sigma` standard deviations of the median, after up to `rounds` rounds.

    Parameters
    ----------
    found : Sorted
        One value at least.
    sigma : float
    rounds : int

    Returns
    -------
    (float, float, float)
    """
    return _clipped(*found, float(sigma), rounds)


@njit(cache=True, nogil=True)
def _mirrored_spread(values, blocks, pivot, centre, sigma, rounds):
    first, last, offset = 0, _position(values, centre, True), centre - pivot
    for step in range(rounds + 1):
        one, two = _sums(values, blocks, pivot, first, last)
        spread = math.sqrt(max(two - 2.0 * offset * one + (last - first) * offset * offset, 0.0) / (last - first))
        low = max(_position(values, centre - sigma * spread, False), first)
        if step == rounds or low == first:
            break
        first = low
    return spread


def mirrored_spread(found, centre, sigma, rounds):
    """Standard deviation of the distribution whose lower half are the values not above `centre`, clipped likewise.

    Light adds to the background and never takes from it, so only the lower half of the pixels tells the noise.

    Parameters
    ----------
    found : Sorted
    centre : float
        Not below the lowest value.
    sigma : float
    rounds : int

    Returns
    -------
    float
    """
    return _mirrored_spread(*found, float(centre), float(sigma), rounds)


@njit(cache=True, nogil=True)
def _gather(image, mask, values):
    n = 0
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            v = image[y, x]
            values[n] = v
            n += mask[y, x] and v - v == 0
    return n


def gather(image, mask):
    """The finite pixels where the mask is true, sorted.

    Parameters
    ----------
    image : ndarray of float32, (row, col)
    mask : ndarray of bool, (row, col)

    Returns
    -------
    Sorted
    """
    values = np.empty(image.size, np.float32)
    return sort(values[: _gather(image, mask, values)])


def within(found, low, high):
    """The values from `low` to `high`: a view of (n,) float32, sorted."""
    return found.values[_position(found.values, float(low), False) : _position(found.values, float(high), True)]


@njit(cache=True, nogil=True)
def mask_beyond(image, mask, low, high):
    """Take the pixels below `low` and above `high` (double precision) out of the mask (row, col), in place."""
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            v = np.float64(image[y, x])
            mask[y, x] &= not (v < low or v > high)
