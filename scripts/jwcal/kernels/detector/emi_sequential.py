"""Fold what is left of ramps without their slope and bias at a period, and subtract a wave by the phase of each sample.

Times are in samples (10 us) from the exposure's first one, phases in units of the period.
"""

from typing import NamedTuple

import numpy as np
from numba import njit, prange

OUTPUTS = 4  # amplifiers, which read neighbouring columns at the same time


class Clock(NamedTuple):
    """When a sample is taken: samples from one to the next."""

    column: float  # of the four outputs
    row: float
    group: float
    integration: float
    last_column: float  # what the last column is late by


@njit(cache=True, nogil=True)
def _phase(clock, columns, period, i, g, y, k):
    """Phase of one sample of the four outputs."""
    late = clock.last_column if k == columns - 1 else 0.0
    turns = (i * clock.integration + g * clock.group + y * clock.row + k * clock.column + late) / period
    return turns - np.floor(turns)


@njit(cache=True, nogil=True)
def _slope(ramp):
    """Least-squares slope of a pixel's groups but the first and the last."""
    n = ramp.size - 2
    sx, sy, sxx, sxy = 0.0, 0.0, 0.0, 0.0
    for g in range(n):
        value = np.float64(ramp[g + 1])
        sx += g
        sy += value
        sxx += g * g
        sxy += g * value
    return (n * sxy - sx * sy) / (n * sxx - sx * sx)


@njit(cache=True, nogil=True)
def _level(values):
    """Median of a pixel's groups but the first and the last; the lower one of two."""
    middle = np.sort(values[1:-1])
    n = middle.size
    if n <= 2:
        return middle[0]
    return middle[n // 2] if n % 2 else (middle[n // 2 - 1] + middle[n // 2]) / np.float32(2)


@njit(cache=True, nogil=True, parallel=True)
def residual_frames(sci, out):
    """What a line and a bias leave of one integration, averaged over the four outputs.

    Parameters
    ----------
    sci : (group, row, col) float32
        At least 4 groups.
    out : (group, row, col // 4) float32
        Filled. The columns 1 and 2, which reference pixels disturb, get the mean of 0 and 3.
    """
    ngroups, ny, nx = sci.shape
    for y in prange(ny):
        ramp = np.empty(ngroups, np.float32)
        for k in range(nx // OUTPUTS):
            out[:, y, k] = 0
            for x in range(OUTPUTS * k, OUTPUTS * (k + 1)):
                slope = _slope(sci[:, y, x])
                for g in range(ngroups):
                    ramp[g] = np.float64(sci[g, y, x]) - slope * g
                level = _level(ramp)
                for g in range(ngroups):
                    out[g, y, k] += ramp[g] - level
            for g in range(ngroups):
                out[g, y, k] /= np.float32(OUTPUTS)
        for g in range(ngroups):
            out[g, y, 1] = out[g, y, 2] = (out[g, y, 0] + out[g, y, 3]) / np.float32(2)


@njit(cache=True, nogil=True)
def _bin(phase, bins):
    """Bin k of n holds the phases above k/n up to (k + 1)/n; -1: none, the phase is 0."""
    k = int(np.ceil(phase * bins)) - 1
    if k >= 0 and phase <= k / bins:
        k -= 1
    elif phase > (k + 1) / bins:
        k += 1
    return k


@njit(cache=True, nogil=True)
def folded(frames, first, clock, period, bins):
    """Sort samples by the phase at which they were taken.

    Parameters
    ----------
    frames : (int, group, row, col // 4) float32
    first : int
        Number of their first integration in the exposure.
    clock : Clock
    period : float
    bins : int

    Returns
    -------
    values : (sample,) float32
    starts : (bins + 1,) int64
        Where each bin starts in `values`.
    """
    nints, ngroups, ny, columns = frames.shape
    place = np.empty(frames.shape, np.int32)
    starts = np.zeros(bins + 2, np.int64)
    for i, g, y, k in np.ndindex(frames.shape):
        p = _bin(_phase(clock, columns, period, first + i, g, y, k), bins)
        place[i, g, y, k] = p
        starts[p + 2] += p >= 0
    starts = np.cumsum(starts)
    values = np.empty(starts[-1], np.float32)
    for i, g, y, k in np.ndindex(frames.shape):
        p = place[i, g, y, k]
        if p >= 0:
            values[starts[p + 1]] = frames[i, g, y, k]
            starts[p + 1] += 1
    return values, starts[:-1]


@njit(cache=True, nogil=True)
def _within(values, low, high):
    """Mean and standard deviation of the values within limits, and how many they are; `values` are sorted."""
    a, b = np.searchsorted(values, low), np.searchsorted(values, high, side="right")
    if b <= a:
        return a, b, np.nan, np.nan
    mean, square = 0.0, 0.0
    for v in values[a:b]:
        mean += v
    mean /= b - a
    for v in values[a:b]:
        square += (v - mean) ** 2
    return a, b, mean, np.sqrt(square / (b - a))


@njit(cache=True, nogil=True, parallel=True)
def clipped_means(values, starts, limit, turns):
    """Mean of each bin's values that are within some standard deviations of their median, found in turns; NaN for an empty bin.

    Parameters
    ----------
    values : (sample,) float32
    starts : (bins + 1,) int64
    limit : float
        Standard deviations.
    turns : int
        At most.

    Returns
    -------
    (bins,) float64
    """
    means = np.full(starts.size - 1, np.nan)
    for p in prange(means.size):
        part = np.sort(values[starts[p] : starts[p + 1]]).astype(np.float64)
        kept, low, high = part, -np.inf, np.inf
        for _ in range(turns):
            n = kept.size
            if n == 0:
                break
            _, _, _, spread = _within(kept, -np.inf, np.inf)
            median = kept[n // 2] if n % 2 else 0.5 * (kept[n // 2 - 1] + kept[n // 2])
            low, high = median - limit * spread, median + limit * spread
            a, b, _, _ = _within(kept, low, high)
            kept = kept[a:b]
            if kept.size == n:
                break
        means[p] = _within(part, low, high)[2]
    return means


@njit(cache=True, nogil=True, parallel=True)
def subtract_table(sci, first, clock, period, table):
    """Subtract from every sample what a table says for the whole number of sample times since the wave's start, in place.

    Parameters
    ----------
    sci : (int, group, row, col) float32
    first : int
        Number of the first integration in the exposure.
    clock : Clock
    period : float
    table : (ceil(period),) float64
    """
    nints, ngroups, ny, nx = sci.shape
    columns = nx // OUTPUTS
    for y in prange(ny):
        for i in range(nints):
            for g in range(ngroups):
                for k in range(columns):
                    at = int(_phase(clock, columns, period, first + i, g, y, k) * period)
                    noise = table[min(at, table.size - 1)]
                    for x in range(OUTPUTS * k, OUTPUTS * (k + 1)):
                        sci[i, g, y, x] = np.float64(sci[i, g, y, x]) - noise
