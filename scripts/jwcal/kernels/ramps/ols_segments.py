"""The fit of one ramp that is cut into segments: the core of `ols_ramp`."""

import math

import numpy as np
from numba import njit

POWERS = (0.0, 0.4, 1.0, 3.0, 6.0, 10.0)  # of the weights of a segment's samples
RISES = (5.0, 10.0, 20.0, 50.0, 100.0)  # signal to noise ratios from which on the next power is taken
TOO_LARGE = 1e6  # (DN/s)^2: a variance that stands for none
WHOLE, LONE_FIRST, ZERO_FRAME = range(3)  # what an integration's ramp is


@njit(cache=True, nogil=True, error_model="numpy")
def place_of_power(snr):
    """Place in POWERS of a segment's signal to noise ratio."""
    p = 0
    for limit in RISES:
        if not snr < limit:
            p += 1
    return p


@njit(cache=True, nogil=True, error_model="numpy")
def slope_of(v, x, start, length, gain, noise, weights):
    """Slope per group of the samples v[start : start + length, x]."""
    if length == 2:
        return float(v[start + 1, x]) - float(v[start, x])
    signal = (float(v[start + length - 1, x]) - float(v[start, x])) * gain
    variance = noise * noise + signal
    snr = 0.0 if variance <= 0.0 or gain == 0.0 else signal / math.sqrt(variance)
    w = weights[place_of_power(snr), length]
    slope = 0.0
    for j in range(length):
        sample = float(v[start + j, x])
        if sample == sample:
            slope += w[j] * sample
    return slope


@njit(cache=True, nogil=True, error_model="numpy")
def read_variance(length, time, gain, noise):
    """Read noise variance of a segment's rate; a single group counts as a pair. Without a gain 0, but not for so short ones."""
    if length > 2 and not gain > 0.0:
        return 0.0
    n = max(length, 2)
    return 12.0 * (noise / time) ** 2 / ((n * n * n - n) * gain * gain)


@njit(cache=True, nogil=True, error_model="numpy")
def next_segment(q, x, g, bits):
    """The next run of good groups at g or later, with the jump that it comes after: (start, end), start = end at the end of the ramp."""
    ngroups = q.shape[0]
    while g < ngroups and q[g, x] & ~bits.persistence:
        g += 1
    start = g
    if 0 < g < ngroups and q[g - 1, x] & ~bits.persistence == bits.jump:
        start -= 1
    while g < ngroups and not q[g, x] & ~bits.persistence:
        g += 1
    return start, g


@njit(cache=True, nogil=True, error_model="numpy")
def lone_time(kind, times):
    """Time that a single sample was collected in."""
    if kind == LONE_FIRST:
        return times.first
    return times.frame if kind == ZERO_FRAME else times.group


@njit(cache=True, nogil=True, error_model="numpy")
def bounded(variance):
    """A variance, or 0 where it is so large that there is none."""
    return 0.0 if variance >= TOO_LARGE else variance


@njit(cache=True, nogil=True, error_model="numpy")
def fit_segments(v, q, x, kind, gain, noise, photons, times, weights, bits):
    """Fit one ramp: sums over its segments of slope/var_r, 1/var_r, 1/var_p, 1/(var_r + var_p), and their number.

    A segment of one group counts only where there is no longer one, and then the first.
    """
    total, inverse_r, inverse_p, inverse_e, count = 0.0, 0.0, 0.0, 0.0, 0
    lone, g, ngroups = -1, 0, q.shape[0]
    while True:
        start, g = next_segment(q, x, g, bits)
        length, time = g - start, times.group
        if length == 1:
            lone = start if lone < 0 else lone
            continue
        if length == 0:
            if count or lone < 0:
                break
            length, time = 1, lone_time(kind, times)
            slope = float(v[lone, x]) / time
            g = ngroups
        else:
            slope = slope_of(v, x, start, length, gain, noise, weights) / time
        variance_p = photons / (time * gain * max(length - 1, 1))
        variance_r = read_variance(length, time, gain, noise)
        total += slope / variance_r
        inverse_r += 1.0 / variance_r
        inverse_e += 1.0 / (variance_r + variance_p)
        if variance_p > 0.0:
            inverse_p += 1.0 / variance_p
        count += 1
        if length == 1:
            break
    return total, inverse_r, inverse_p, inverse_e, count


@njit(cache=True, nogil=True, error_model="numpy")
def restored_read_precision(flags, q, x, kind, gain, noise, times, bits):
    """1/var_r of a ramp whose CHARGELOSS groups count as good ones: their reads were left out for their bias, not for their noise."""
    for g in range(q.shape[0]):
        q[g, x] = flags[g] & ~(bits.chargeloss | bits.do_not_use) if flags[g] & bits.chargeloss else flags[g]
    total, count, lone, g = 0.0, 0, -1, 0
    while True:
        start, g = next_segment(q, x, g, bits)
        if g == start:
            break
        if g - start == 1:
            lone = start
            continue
        variance = read_variance(g - start, times.group, gain, noise)
        count += 1
        total += 1.0 / variance if variance > 0.0 else 0.0
    if not count and lone >= 0:
        variance = read_variance(1, lone_time(kind, times), gain, noise)
        total = 1.0 / variance if variance > 0.0 else 0.0
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def integration_quality(q, x, flags, dq, bits):
    """Quality of an integration before its fit: DO_NOT_USE where all its groups are unusable, SATURATED where all, or the first, are."""
    dq |= flags & (bits.jump | bits.persistence)
    if q[0, x] & bits.saturated:
        dq |= bits.do_not_use | bits.saturated
    if flags & (bits.do_not_use | bits.saturated):
        unusable, full = True, True
        for g in range(q.shape[0]):
            unusable &= (q[g, x] & (bits.do_not_use | bits.saturated)) != 0
            full &= (q[g, x] & bits.saturated) != 0
        if unusable:
            dq |= bits.do_not_use
        if full:
            dq |= bits.saturated
    return np.uint32(dq)
