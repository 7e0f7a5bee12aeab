"""The segments that `ols_ramp` cuts ramps into, one by one: for who wants to see how a rate came about."""

import math
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from ..columns.sort_columns import tile
from .ols_ramp import TILE, first_look, load, nothing_seen, work_space
from .ols_segments import POWERS, lone_time, next_segment, place_of_power, read_variance, slope_of


class Segments(NamedTuple):
    """What is told of each segment, float32, (int, segment, row, col); zeros where there is none.

    slope, var_poisson, var_rnoise: its rate (DN/s) and its variances. weights: 1/var_rnoise.
    yint: where its line meets group 0 of the ramp (DN).
    sigslope, sigyint: errors of the line by read noise (electrons) and weights alone, per group.
    crmag: (int, jump, row, col), DN: the differences before the groups with a jump.
    pedestal: (int, row, col), DN: the first sample less the rate times its place in the ramp.
    """

    slope: np.ndarray
    sigslope: np.ndarray
    var_poisson: np.ndarray
    var_rnoise: np.ndarray
    yint: np.ndarray
    sigyint: np.ndarray
    pedestal: np.ndarray
    weights: np.ndarray
    crmag: np.ndarray


@njit(cache=True, nogil=True, error_model="numpy")
def _count_segments(q, x, bits):
    """Segments of more than one group; those of one group where there is no other."""
    long, lone, g = 0, 0, 0
    if q[0, x] & bits.saturated:
        return 0, 0
    while True:
        start, g = next_segment(q, x, g, bits)
        if g == start:
            return long, lone
        long += g - start > 1
        lone += g - start == 1


@njit(parallel=True, cache=True, nogil=True, error_model="numpy")
def largest_counts(ramps, options, bits):
    """The most segments and the most jumps that an integration of a pixel has.

    Parameters
    ----------
    ramps : Ramps
    options : Options
    bits : Bits

    Returns
    -------
    int, int
    """
    nints, _, ny, nx = ramps.sci.shape
    most = np.zeros((ny, 2), np.int64)
    for row in prange(ny):
        y = np.intp(row)  # as in ols_ramp
        v, q = np.empty((options.last - options.first, nx), np.float32), np.empty((options.last - options.first, nx), np.uint8)
        flags, kind = np.empty(nx, np.uint8), np.empty(nx, np.uint8)
        for i in range(nints):
            load(ramps, i, y, 0, np.arange(nx), options, bits, v, q, flags, kind)
            for x in range(nx):
                long, lone = _count_segments(q, x, bits)
                jumps = 0
                for g in range(options.first + 1, options.last):
                    jumps += ramps.groupdq[i, g, y, x] & bits.jump != 0
                most[y, 0], most[y, 1] = max(most[y, 0], long or lone), max(most[y, 1], jumps)
    return most[:, 0].max(), most[:, 1].max()


@njit(cache=True, nogil=True, error_model="numpy")
def _line(v, x, start, length, gain, noise, errors):
    """Intercept of a segment's weighted line at group 0 of the ramp, and the errors of slope and intercept, into `errors`."""
    if length == 2:
        errors[:] = math.sqrt(2.0) * noise
        return float(v[start + 1, x]) * -start + float(v[start, x]) * (start + 1)
    signal = (float(v[start + length - 1, x]) - float(v[start, x])) * gain
    variance = noise * noise + signal
    power = POWERS[place_of_power(0.0 if variance <= 0.0 or gain == 0.0 else signal / math.sqrt(variance))]
    w0 = wx = wxx = wy = wxy = 0.0
    for j in range(length):
        g, sample = float(start + j), float(v[start + j, x])
        w = abs(2.0 * j / (length - 1) - 1.0) ** power / (noise * noise)
        sample = sample if sample == sample else 0.0
        w0 += w
        wx += w * g
        wxx += w * g * g
        wy += w * sample
        wxy += w * g * sample
    determinant = w0 * wxx - wx * wx
    errors[0], errors[1] = math.sqrt(w0 / determinant), math.sqrt(wxx / determinant)
    return (wxx * wy - wx * wxy) / determinant


@njit(cache=True, nogil=True, error_model="numpy")
def _tell(v, q, x, kind, gain, noise, photons, times, weights, bits, i, y, column, out):
    """Describe the segments of one ramp."""
    long, lone = _count_segments(q, x, bits)
    errors, g = np.zeros(2), 0
    for k in range(long or min(lone, 1)):
        start, g = next_segment(q, x, g, bits)
        while long and g - start == 1:
            start, g = next_segment(q, x, g, bits)
        length, time, intercept = g - start, times.group, 0.0
        if length == 1:
            time = lone_time(kind, times)
            slope = float(v[start, x]) / time
        else:
            slope = slope_of(v, x, start, length, gain, noise, weights) / time
            intercept = _line(v, x, start, length, gain, noise, errors)
        variance = read_variance(length, time, gain, noise)
        out.slope[i, k, y, column] = slope
        out.sigslope[i, k, y, column], out.sigyint[i, k, y, column] = errors
        out.yint[i, k, y, column] = intercept
        out.var_poisson[i, k, y, column] = photons / (time * gain * max(length - 1, 1))
        out.var_rnoise[i, k, y, column], out.weights[i, k, y, column] = variance, 1.0 / variance


@njit(cache=True, nogil=True, error_model="numpy")
def _tell_jumps(ramps, i, y, x, options, bits, out):
    """Note the differences before the groups with a jump, NaN where a group is saturated."""
    k = 0
    for g in range(options.first + 1, options.last):
        if ramps.groupdq[i, g, y, x] & bits.jump:
            full = (ramps.groupdq[i, g, y, x] | ramps.groupdq[i, g - 1, y, x]) & bits.saturated
            out.crmag[i, k, y, x] = np.nan if full else ramps.sci[i, g, y, x] - ramps.sci[i, g - 1, y, x]
            k += 1


@njit(cache=True, nogil=True, error_model="numpy")
def _tell_pedestal(first, rate, place, i, y, x, out):
    """Note the level that a ramp starts from; 0 where there is no rate."""
    pedestal = float(first) - rate * place
    out.pedestal[i, y, x] = pedestal if pedestal == pedestal else 0.0


@njit(parallel=True, cache=True, nogil=True, error_model="numpy")
def tell_segments(ramps, options, times, weights, bits, rates, place, out):
    """Describe the segments of all ramps.

    Parameters
    ----------
    ramps, options, times, weights, bits
        As in `ols_ramp.fit_ramps`.
    rates : ndarray of float32, (int, row, col)
        What it has found for the integrations.
    place : float
        What the pedestal multiplies the rate with.
    out : Segments
        Changed; zeros before.
    """
    ngroups, nx = options.last - options.first, ramps.sci.shape[3]
    for row in prange(ramps.sci.shape[2]):
        y = np.intp(row)  # as in ols_ramp
        work = work_space(ngroups)
        for x0 in range(0, nx, TILE):
            part = slice(x0, min(x0 + TILE, nx))
            columns = np.arange(part.stop - x0)
            v, q = tile(work.samples, ngroups, columns.size), tile(work.flags, ngroups, columns.size)
            flags, kind = np.empty(columns.size, np.uint8), np.empty(columns.size, np.uint8)
            seen = nothing_seen(ramps.sci.shape[0], columns.size)
            gain, noise, photons = first_look(ramps, y, part, options, times, weights, bits, work, seen)
            for i in range(ramps.sci.shape[0]):
                load(ramps, i, y, x0, columns, options, bits, v, q, flags, kind)
                for x in columns:
                    _tell(v, q, x, kind[x], gain[x], noise[x], photons[x], times, weights, bits, i, y, x0 + x, out)
                    _tell_jumps(ramps, i, y, x0 + x, options, bits, out)
                    _tell_pedestal(v[0, x], rates[i, y, x0 + x], place, i, y, x0 + x, out)
