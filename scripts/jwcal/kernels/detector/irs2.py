"""IRS2 readout: samples by the time of their reading, as deviations from their mean over the groups, and the way back.

A line's samples come in the order of time; `line` is the index of the line in time. In memory an image is (row, col), where rows are
samples of a line and columns are lines, the last one first if `backwards`.
A deviation of exactly 0 stands for "no sample" here, as it does for the peer.
"""

import numpy as np
from numba import njit, prange

from ..columns.pick_columns import copy

PIECE = 1024  # columns that a thread moves
EDGE = 4  # lines of reference pixels at the beginning and at the end of a frame


@njit(cache=True, nogil=True, parallel=True)
def group_means(groups, means):
    """Mean of the groups, pixel by pixel.

    Parameters
    ----------
    groups : (group, row, col) float32
    means : (row, col) float64
        Filled.
    """
    ngroups, ny, nx = groups.shape
    for y in prange(ny):
        total = means[y]
        total[:] = 0
        for g in range(ngroups):
            for x in range(nx):
                total[x] += groups[g, y, x]
        for x in range(nx):
            total[x] /= ngroups


@njit(cache=True, nogil=True, parallel=True)
def pair_statistics(groups, rows):
    """What tells a bad reference pixel: it is read twice, so that each pair of rows should agree, and be like the others.

    Parameters
    ----------
    groups : (group, row, col) float32
    rows : (pair,) int
        The first row of each pair; the second is the next one.

    Returns
    -------
    (pair, 3) float64
        Mean absolute difference, mean, standard deviation.
    """
    ngroups, _, nx = groups.shape
    out = np.empty((rows.size, 3))
    for p in prange(rows.size):
        first, second = rows[p], rows[p] + 1
        total = apart = squares = 0.0
        for g in range(ngroups):
            for x in range(nx):
                a, b = np.float64(groups[g, first, x]), np.float64(groups[g, second, x])
                total += a + b
                apart += abs(a - b)
        mean = total / (2 * ngroups * nx)
        for g in range(ngroups):
            for x in range(nx):
                squares += (groups[g, first, x] - mean) ** 2 + (groups[g, second, x] - mean) ** 2
        out[p] = apart / (ngroups * nx), mean, np.sqrt(squares / (2 * ngroups * nx))
    return out


@njit(inline="always")
def _time(line, tick, ticks, lines):
    """Time of a sample from the middle of the frame, in ticks; a whole or half number that float32 holds exactly."""
    return np.float32(line * ticks + tick - 0.5 * (lines * ticks - 1))


@njit(cache=True, nogil=True, parallel=True)
def drift_lines(group, means, order, sample_ticks, ticks, backwards):
    """The straight line in time through the deviations of the reference pixels at the beginning and at the end of a frame.

    Parameters
    ----------
    group : (row, col) float32
    means : (row, col) float64
    order : (output, sample) int
        Rows in the order of reading.
    sample_ticks : (sample,) int
        Tick of each sample within a line.
    ticks : int
        Ticks of a line.
    backwards : bool

    Returns
    -------
    (output, 2) float32
        Value in the middle of the frame, and slope a tick; zeros where there is no sample.
    """
    outputs, samples = order.shape
    lines = group.shape[1]
    fits = np.zeros((outputs, 2), np.float32)
    for k in prange(outputs):
        n = 0
        sum_t = sum_v = sum_tt = sum_tv = 0.0
        for edge in range(2 * EDGE):
            line = edge if edge < EDGE else lines - 2 * EDGE + edge
            x = lines - 1 - line if backwards else line
            for s in range(samples):
                value = np.float64(np.float32(group[order[k, s], x] - means[order[k, s], x]))
                if value != 0:
                    t = np.float64(_time(line, sample_ticks[s], ticks, lines))
                    n += 1
                    sum_t += t
                    sum_v += value
                    sum_tt += t * t
                    sum_tv += t * value
        spread = sum_tt - sum_t * sum_t / n if n else 0.0
        if spread > 0:
            slope = (sum_tv - sum_t * sum_v / n) / spread
            fits[k] = np.float32((sum_v - slope * sum_t) / n), np.float32(slope)
    return fits


@njit(inline="always")
def _deviation(value, mean, fit, t):
    """A sample's deviation from its mean over the groups and from the frame's drift."""
    away = np.float32(value - mean)
    if away != 0:
        away -= fit[0] + t * fit[1]
    return away


@njit(cache=True, nogil=True, parallel=True)
def deviations(group, means, rows, row_ticks, ticks, fit, backwards, out):
    """Deviations of some samples of each line, in the order of time.

    Parameters
    ----------
    group, means, ticks, backwards : as for `drift_lines`
    rows, row_ticks : (sample,) int
        Rows of the samples that are wanted, and their ticks within a line.
    fit : (2,) float32
        The line of their output.
    out : (sample, line) float32
        Filled.
    """
    lines = group.shape[1]
    for s in prange(rows.size):
        y = rows[s]
        for line in range(lines):
            x = lines - 1 - line if backwards else line
            out[s, line] = _deviation(group[y, x], means[y, x], fit, _time(line, row_ticks[s], ticks, lines))


@njit(inline="always")
def _add_known(values, weight, total, weights):
    """Add the values that are not 0, each times a weight, and their weights."""
    for i in range(values.size):
        total[i] += weight * values[i]
        weights[i] += weight if values[i] != 0 else np.float32(0)


@njit(inline="always")
def _any_missing(values):
    missing = False
    for i in range(values.size):
        missing |= values[i] == 0
    return missing


@njit(cache=True, nogil=True, parallel=True)
def fill_gaps(samples, sample_ticks, ticks, window):
    """Put a weighted mean of the samples around it where there is no sample.

    Parameters
    ----------
    samples : (sample, line) float32
        0 where there is none.
    sample_ticks : (sample,) int
        Their ticks.
    ticks : int
        Of a line. The last tick of a line is followed by the first of the next one, the end by the beginning.
    window : (2 n + 1,) float32
        Weights.

    Returns
    -------
    (tick, line) float32
    """
    lines, half = samples.shape[1], window.size // 2
    sample_at = np.full(ticks, -1)
    sample_at[sample_ticks] = np.arange(sample_ticks.size)
    out = np.zeros((ticks, lines), np.float32)
    for tick in prange(ticks):
        here = sample_at[tick]
        if here >= 0:
            copy(samples[here], out[tick])
            if not _any_missing(samples[here]):
                continue
        total, weights = np.zeros(lines, np.float32), np.zeros(lines, np.float32)
        for w in range(window.size):
            t = tick + w - half
            near = sample_at[t % ticks]
            if near < 0:
                continue
            if t < 0:
                _add_known(samples[near, :-1], window[w], total[1:], weights[1:])
                _add_known(samples[near, -1:], window[w], total[:1], weights[:1])
            elif t >= ticks:
                _add_known(samples[near, 1:], window[w], total[:-1], weights[:-1])
                _add_known(samples[near, :1], window[w], total[-1:], weights[-1:])
            else:
                _add_known(samples[near], window[w], total, weights)
        for line in range(lines):
            if out[tick, line] == 0 and weights[line] != 0:
                out[tick, line] = total[line] / weights[line]
    return out


@njit(cache=True, nogil=True, parallel=True)
def subtract_signal(group, means, rows, row_ticks, ticks, fit, backwards, signal, restore):
    """Take the drift and a signal from some samples of each line, in place.

    Parameters
    ----------
    group, means, rows, row_ticks, ticks, fit, backwards : as for `deviations`
    signal : (sample, line) float32
    restore : (sample,) bool
        Whether to put their mean over the groups back.
    """
    lines = group.shape[1]
    for s in prange(rows.size):
        y = rows[s]
        for line in range(lines):
            x = lines - 1 - line if backwards else line
            away = _deviation(group[y, x], means[y, x], fit, _time(line, row_ticks[s], ticks, lines))
            left = np.float32(away - signal[s, line])
            group[y, x] = np.float32(left + means[y, x]) if restore[s] else left


@njit(cache=True, nogil=True, parallel=True)
def move_rows(array, height, rows):
    """Move some rows of each frame to the front of an array, the frames one after the other.

    Parameters
    ----------
    array : (frame * height, col)
        Changed in place: its first frame * len(rows) rows are those wanted.
    height : int
        Rows of a frame.
    rows : (n,) int
        In ascending order, so that none is overwritten before it was moved.
    """
    nx = array.shape[1]
    for piece in prange(-(-nx // PIECE)):  # of each row: whole rows have to move in their order
        part = slice(piece * PIECE, min((piece + 1) * PIECE, nx))
        for frame in range(array.shape[0] // height):
            for i in range(rows.size):
                copy(array[frame * height + rows[i], part], array[frame * rows.size + i, part])
