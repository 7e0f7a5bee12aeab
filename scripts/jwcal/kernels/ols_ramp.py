"""Count rates by weighted least squares: Robberto 2008 (JWST-STScI-0001490, SM-12), weights of Fixsen et al. 2000 (PASP 112, 1350).

A ramp is cut at flagged groups into segments; a group after a jump starts one. Each segment gets a line, with weights |(g - mid)/mid|^p
where p grows with the segment's signal to noise. Segments, and integrations, are combined by their read noise variance alone.
All in double precision; rates in DN/s.
"""

import math
from functools import cache
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from .sort_columns import median_of_sorted, sort_columns, tile

POWERS = (0.0, 0.4, 1.0, 3.0, 6.0, 10.0)
TOO_LARGE = 1e6  # (DN/s)^2: a variance that stands for none
TILE = 128  # columns that are worked on together
WHOLE, LONE_FIRST, ZERO_FRAME = range(3)  # what an integration's ramp is
NAN32, INF32 = np.float32(np.nan), np.float32(np.inf)


class Ramps(NamedTuple):
    """What is fitted.

    sci: float32, (int, group, row, col), DN. groupdq: uint8, the same shape.
    zeroframe: float32, (int, row, col), DN: the first frame of each integration, 0 where there is none; empty: there are none.
    gain: float32, (row, col), electrons/DN. readnoise: float32, (row, col), DN: of the difference of two frames.
    dark: float32, (row, col), electrons/s: average dark current, for its noise; empty: there is none.
    """

    sci: np.ndarray
    groupdq: np.ndarray
    zeroframe: np.ndarray
    gain: np.ndarray
    readnoise: np.ndarray
    dark: np.ndarray


class Options(NamedTuple):
    """How it is fitted."""

    nframes: float  # averaged to a group
    first: int  # group to use
    last: int  # group not to use any more
    suppress: bool  # give up ramps with one good group only
    cut: bool  # there were groups before the first one: a jump in it is none


class Times(NamedTuple):
    """Seconds: from group to group, of a frame, and from the reset to the middle of the first group."""

    group: float
    frame: float
    first: float


class Bits(NamedTuple):
    """Data quality bits of groups."""

    do_not_use: np.uint8
    saturated: np.uint8
    jump: np.uint8
    persistence: np.uint8
    chargeloss: np.uint8


class Planes(NamedTuple):
    """A product's arrays: DN/s and (DN/s)^2, (row, col) or (int, row, col)."""

    sci: np.ndarray
    err: np.ndarray
    dq: np.ndarray
    var_poisson: np.ndarray
    var_rnoise: np.ndarray


class Sums(NamedTuple):
    """What the columns of a tile have gathered over integrations."""

    slope: np.ndarray  # of slope / var_r
    inverse_r: np.ndarray
    inverse_p: np.ndarray
    restored: np.ndarray  # of 1 / var_r, CHARGELOSS groups included
    loss: np.ndarray  # whether there were any
    unusable: np.ndarray  # integrations that are
    saturated: np.ndarray
    flags: np.ndarray  # of all groups


@cache
def slope_weights(ngroups):
    """What each sample of a segment counts for in its slope per group.

    The slope of a weighted fit is linear in the samples: sum w (g - c) y / sum w (g - c)^2, where c = sum w g / sum w.

    Returns
    -------
    ndarray, (power, length of the segment, sample in the segment)
    """
    table = np.zeros((len(POWERS), ngroups + 1, ngroups))
    for length in range(2, ngroups + 1):
        g = np.arange(length)
        distance = np.abs(2 * g / (length - 1) - 1)
        for p, power in enumerate(POWERS):
            w = distance**power
            arm = w * (g - (w * g).sum() / w.sum())
            table[p, length, :length] = arm / (arm * g).sum()
    return table


@njit(cache=True, nogil=True, error_model="numpy")
def _power(snr):
    """Place in POWERS of a segment's signal to noise ratio."""
    p = 0
    for limit in (5.0, 10.0, 20.0, 50.0, 100.0):
        if not snr < limit:
            p += 1
    return p


@njit(cache=True, nogil=True, error_model="numpy")
def _slope(v, x, start, length, gain, noise, weights):
    """Slope per group of the samples v[start : start + length, x]."""
    if length == 2:
        return float(v[start + 1, x]) - float(v[start, x])
    signal = (float(v[start + length - 1, x]) - float(v[start, x])) * gain
    variance = noise * noise + signal
    snr = 0.0 if variance <= 0.0 or gain == 0.0 else signal / math.sqrt(variance)
    w = weights[_power(snr), length]
    slope = 0.0
    for j in range(length):
        sample = float(v[start + j, x])
        if sample == sample:
            slope += w[j] * sample
    return slope


@njit(cache=True, nogil=True, error_model="numpy")
def _read_variance(length, time, gain, noise):
    """Read noise variance of a segment's rate; a single group counts as a pair."""
    if not gain > 0.0:
        return 0.0
    n = max(length, 2)
    return 12.0 * (noise / time) ** 2 / ((n * n * n - n) * gain * gain)


@njit(cache=True, nogil=True, error_model="numpy")
def _next_segment(q, x, g, bits):
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
def _lone_time(kind, times):
    """Time that a single sample was collected in."""
    if kind == LONE_FIRST:
        return times.first
    return times.frame if kind == ZERO_FRAME else times.group


@njit(cache=True, nogil=True, error_model="numpy")
def _fit(v, q, x, kind, gain, noise, photons, times, weights, bits):
    """Fit one ramp: sums over its segments of slope/var_r, 1/var_r, 1/var_p, 1/(var_r + var_p), and their number.

    A segment of one group counts only where there is no longer one, and then the first.
    """
    total, inverse_r, inverse_p, inverse_e, count = 0.0, 0.0, 0.0, 0.0, 0
    lone, g, ngroups = -1, 0, q.shape[0]
    while True:
        start, g = _next_segment(q, x, g, bits)
        length, time = g - start, times.group
        if length == 1:
            lone = start if lone < 0 else lone
            continue
        if length == 0:
            if count or lone < 0:
                break
            length, time = 1, _lone_time(kind, times)
            slope = float(v[lone, x]) / time
            g = ngroups
        else:
            slope = _slope(v, x, start, length, gain, noise, weights) / time
        variance_p = photons / (time * gain * max(length - 1, 1))
        variance_r = _read_variance(length, time, gain, noise)
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
def _restored_read_precision(flags, q, x, kind, gain, noise, times, bits):
    """1/var_r of a ramp whose CHARGELOSS groups count as good ones: their reads were left out for their bias, not for their noise."""
    for g in range(q.shape[0]):
        q[g, x] = flags[g] & ~(bits.chargeloss | bits.do_not_use) if flags[g] & bits.chargeloss else flags[g]
    total, count, lone, g = 0.0, 0, -1, 0
    while True:
        start, g = _next_segment(q, x, g, bits)
        if g == start:
            break
        if g - start == 1:
            lone = start
            continue
        variance = _read_variance(g - start, times.group, gain, noise)
        count += 1
        total += 1.0 / variance if variance > 0.0 else 0.0
    if not count and lone >= 0:
        variance = _read_variance(1, _lone_time(kind, times), gain, noise)
        total = 1.0 / variance if variance > 0.0 else 0.0
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _copy(values, v):
    """The samples of one group. As the other short loops, a function of its own: only so does the compiler use vectors."""
    for x in range(v.size):
        v[x] = values[x]


@njit(cache=True, nogil=True, error_model="numpy")
def _copy_flags(given, without, q, flags):
    """The flags of one group, those left out that it is `without`, and those of the whole ramp."""
    for x in range(q.size):
        flag = given[x] & ~without
        q[x] = flag
        flags[x] |= flag


@njit(cache=True, nogil=True, error_model="numpy")
def _load(ramps, i, y, x0, options, bits, v, q, flags, kind):
    """Copy a tile of one integration to v and q; note the flags of each ramp and what it is."""
    width = v.shape[1]
    part = slice(x0, x0 + width)
    flags[:], kind[:] = 0, WHOLE
    for g in range(v.shape[0]):
        _copy(ramps.sci[i, options.first + g, y, part], v[g])
        without = bits.jump if options.cut and g == 0 else np.uint8(0)
        _copy_flags(ramps.groupdq[i, options.first + g, y, part], without, q[g], flags)
    for x in range(width):
        if not flags[x] and v.shape[0] > 1:
            continue
        good, clean = 0, 0
        for g in range(v.shape[0]):
            good += not q[g, x] & ~bits.persistence
            clean += not q[g, x]
        if options.suppress:
            if good == 1:
                flags[x] |= bits.do_not_use
                for g in range(v.shape[0]):
                    q[g, x] |= bits.do_not_use
        elif clean == 1 and not q[0, x]:
            kind[x] = LONE_FIRST
        elif clean == 0 and ramps.zeroframe.size and ramps.zeroframe[i, y, x0 + x] != 0.0:
            kind[x] = ZERO_FRAME
            v[0, x], q[0, x] = ramps.zeroframe[i, y, x0 + x], 0
            if v.shape[0] == 1:
                flags[x] &= ~bits.saturated


@njit(cache=True, nogil=True, error_model="numpy")
def _differences(now, before, q, q_before, bad, jump, out):
    """Differences of two groups of each ramp; infinity where one is bad, or there is a jump between them."""
    for x in range(out.size):
        difference = now[x] - before[x]
        usable = ((q[x] & (bad | jump)) | (q_before[x] & bad)) == 0
        out[x] = difference if usable & (difference == difference) else INF32


@njit(cache=True, nogil=True, error_model="numpy")
def _add_full_medians(below, above, time, rate):
    """Add the medians of complete ramps, from the sorted differences in the middle."""
    for x in range(rate.size):
        rate[x] += (float(below[x]) + float(above[x])) / 2.0 / time


@njit(cache=True, nogil=True, error_model="numpy")
def _add_median_rate(v, q, kind, times, bits, s, rate):
    """Add to `rate` the median difference of each ramp; its first sample where there is no difference, 0 where there is nothing."""
    ngroups, width = v.shape
    bad = bits.do_not_use | bits.saturated
    for g in range(1, ngroups):
        _differences(v[g], v[g - 1], q[g], q[g - 1], bad, bits.jump, s[g - 1])
    if ngroups > 1:
        sort_columns(s, ngroups - 1)
        if s[ngroups - 2].max() < INF32 and (kind == WHOLE).all():
            _add_full_medians(s[(ngroups - 2) // 2], s[(ngroups - 1) // 2], times.group, rate)
            return
    for x in range(width):
        n = ngroups - 1
        while n > 0 and s[n - 1, x] == INF32:
            n -= 1
        if ngroups > 1 and kind[x] == WHOLE and n:
            rate[x] += median_of_sorted(s, x, 0, n) / times.group
        elif ngroups == 1:
            rate[x] += np.nan if q[0, x] & bits.saturated else float(v[0, x]) / times.first
        elif not q[0, x] & bad and v[0, x] == v[0, x]:
            rate[x] += float(v[0, x]) / _lone_time(kind[x], times)


@njit(cache=True, nogil=True, error_model="numpy")
def _bounded(variance):
    return 0.0 if variance >= TOO_LARGE else variance


@njit(cache=True, nogil=True, error_model="numpy")
def _integration_quality(q, x, flags, dq, bits):
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


class Plain(NamedTuple):
    """Ramps of a tile without any flag: one segment of all groups. What does not depend on the samples is worked out once."""

    weights: np.ndarray  # (sample, power)
    power: np.ndarray  # place in POWERS
    slope: np.ndarray  # per group
    use: np.ndarray  # 1 for a plain ramp, 0 for another one
    total: np.ndarray  # slope / var_r
    read_variance: np.ndarray  # as it enters the sums
    inverse_r: np.ndarray
    inverse_p: np.ndarray
    restored: np.ndarray
    variance_r: np.ndarray  # as they go into the product
    variance_p: np.ndarray
    err: np.ndarray


@njit(cache=True, nogil=True, error_model="numpy")
def _plain_ramps(ngroups, gain, noise, photons, times, weights):
    """What there is to know of plain ramps beforehand."""
    width = gain.size
    by_sample = np.ascontiguousarray(weights[:, ngroups].T)
    a = np.empty((9, width))
    power, use = np.empty(width, np.uint64), np.empty(width, np.uint8)
    plain = Plain(by_sample, power, a[0], use, a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8])
    for x in range(width):
        photon_variance = photons[x] / (times.group * gain[x] * max(ngroups - 1, 1))
        variance = _read_variance(ngroups, times.group, gain[x], noise[x])
        plain.read_variance[x], plain.inverse_r[x] = variance, 1.0 / variance
        plain.inverse_p[x] = 1.0 / photon_variance if photon_variance > 0.0 else 0.0
        plain.variance_p[x] = _bounded(1.0 / plain.inverse_p[x]) if plain.inverse_p[x] > 0.0 else 0.0
        plain.variance_r[x] = _bounded(1.0 / plain.inverse_r[x])
        plain.restored[x] = 1.0 / plain.variance_r[x] if plain.variance_r[x] > 0.0 else 0.0
        variance = 1.0 / (1.0 / (variance + photon_variance))
        plain.err[x] = 0.0 if variance > TOO_LARGE else math.sqrt(variance)
    return plain


@njit(cache=True, nogil=True, error_model="numpy")
def _powers(first, last, gain, noise, power):
    """Place in POWERS of each plain ramp."""
    for x in range(power.size):
        signal = (float(last[x]) - float(first[x])) * gain[x]
        variance = noise[x] * noise[x] + signal
        snr = 0.0 if variance <= 0.0 or gain[x] == 0.0 else signal / math.sqrt(variance)
        power[x] = np.uint64(_power(snr))


@njit(cache=True, nogil=True, error_model="numpy")
def _add_weighted(sample, weight, power, slope):
    """Add one sample of each plain ramp to its slope."""
    for x in range(slope.size):
        value = float(sample[x])
        term = weight[power[x]] * value
        slope[x] += term if value == value else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _add_used(value, use, total):
    """Add the values of plain ramps."""
    for x in range(total.size):
        term = value[x]
        total[x] += term if use[x] else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _rates(slope, variance, time, total):
    """What plain ramps add to the sum of slope / var_r."""
    for x in range(total.size):
        total[x] = 0.0 + slope[x] / time / variance[x]


@njit(cache=True, nogil=True, error_model="numpy")
def _fit_plain(v, gain, noise, times, plain, i, y, x0, ints, sums):
    """Fit the ramps of a tile in one integration as if all were plain, side by side; what is written for others is written again."""
    width = gain.size
    part = slice(x0, x0 + width)
    _powers(v[0], v[-1], gain, noise, plain.power)
    plain.slope[:] = 0.0
    for g in range(v.shape[0]):
        _add_weighted(v[g], plain.weights[g], plain.power, plain.slope)
    _rates(plain.slope, plain.read_variance, times.group, plain.total)
    _add_used(plain.total, plain.use, sums.slope)
    _add_used(plain.inverse_r, plain.use, sums.inverse_r)
    _add_used(plain.inverse_p, plain.use, sums.inverse_p)
    _add_used(plain.restored, plain.use, sums.restored)
    ints.sci[i, y, part] = plain.total * plain.variance_r
    ints.err[i, y, part] = plain.err
    ints.var_poisson[i, y, part] = plain.variance_p
    ints.var_rnoise[i, y, part] = plain.variance_r


@njit(cache=True, nogil=True, error_model="numpy")
def _fit_integration(v, q, kind, flags, i, y, x0, gain, noise, photons, times, weights, plain, bits, ints, sums):
    """Fit the ramps of a tile in one integration."""
    invalid = bits.do_not_use | bits.saturated
    for x in range(v.shape[1]):
        plain.use[x] = v.shape[0] > 2 and not flags[x] and not ints.dq[i, y, x0 + x] & invalid
    if v.shape[0] > 2:
        _fit_plain(v, gain, noise, times, plain, i, y, x0, ints, sums)
    for x in range(v.shape[1]):
        if plain.use[x]:
            continue
        column = x0 + x
        dq = _integration_quality(q, x, flags[x], ints.dq[i, y, column], bits)
        sums.saturated[x] += (dq & bits.saturated) != 0
        sums.flags[x] |= flags[x]
        slope, err, variance_p, variance_r, count = np.nan, 0.0, 0.0, 0.0, 0
        if not dq & invalid:
            total, inverse_r, inverse_p, inverse_e, count = _fit(v, q, x, kind[x], gain[x], noise[x], photons[x], times, weights, bits)
            if count:
                variance_p = _bounded(1.0 / inverse_p) if inverse_p > 0.0 else 0.0
                variance_r = _bounded(1.0 / inverse_r)
                variance = 1.0 / inverse_e
                err = 0.0 if variance > TOO_LARGE else math.sqrt(variance)
                slope = total * variance_r
                sums.slope[x] += total
                sums.inverse_r[x] += inverse_r
                sums.inverse_p[x] += inverse_p
        if not count:
            dq |= bits.do_not_use if not dq & bits.saturated else 0
        sums.unusable[x] += (dq & bits.do_not_use) != 0
        if variance_r > 0.0 and not flags[x] & bits.chargeloss:
            sums.restored[x] += 1.0 / variance_r
        ints.dq[i, y, column] = dq | (flags[x] & bits.saturated)
        ints.sci[i, y, column], ints.err[i, y, column] = slope, err
        ints.var_poisson[i, y, column], ints.var_rnoise[i, y, column] = variance_p, variance_r


@njit(cache=True, nogil=True, error_model="numpy")
def _restore_chargeloss(ramps, i, y, x0, options, q, kind, flags, gain, noise, times, bits, ints, sums):
    """Give the ramps of a tile that have CHARGELOSS groups the read noise that they have with them."""
    for x in range(q.shape[1]):
        if not flags[x] & bits.chargeloss:
            continue
        column = x0 + x
        given = ramps.groupdq[i, options.first : options.last, y, column]
        precision = _restored_read_precision(given, q, x, kind[x], gain[x], noise[x], times, bits)
        sums.loss[x] = 1
        sums.restored[x] += precision
        ints.var_rnoise[i, y, column] = _bounded(1.0 / precision)


@njit(cache=True, nogil=True, error_model="numpy")
def _combine(y, x0, nints, bits, rate, sums):
    """The rates of a tile from the sums over integrations."""
    invalid = bits.do_not_use | bits.saturated
    for x in range(sums.slope.size):
        column = x0 + x
        dq = rate.dq[y, column] | (sums.flags[x] & (bits.jump | bits.persistence))
        dq |= bits.do_not_use if sums.unusable[x] == nints else 0
        dq |= bits.saturated if sums.saturated[x] == nints else 0
        slope, variance_p, variance_r = np.nan, 0.0, 0.0
        if not dq & invalid:
            variance_p = _bounded(1.0 / sums.inverse_p[x]) if sums.inverse_p[x] > 0.0 else 0.0
            variance_r = sums.inverse_r[x]
            variance_r = _bounded(1.0 / variance_r if variance_r > 0.0 else variance_r)
            slope = sums.slope[x] * variance_r
        err = math.sqrt(variance_p + variance_r)
        if sums.loss[x] and sums.restored[x] > 0.0:
            variance_r = _bounded(1.0 / sums.restored[x])
        rate.dq[y, column] = dq | (sums.flags[x] & bits.saturated)
        rate.sci[y, column], rate.err[y, column] = slope, err
        rate.var_poisson[y, column], rate.var_rnoise[y, column] = variance_p, variance_r


@njit(cache=True, nogil=True, error_model="numpy")
def _empty_sums(width):
    return Sums(
        np.zeros(width),
        np.zeros(width),
        np.zeros(width),
        np.zeros(width),
        np.zeros(width, np.uint8),
        np.zeros(width, np.int64),
        np.zeros(width, np.int64),
        np.zeros(width, np.uint8),
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _noise_sources(ramps, y, x0, options, times, bits, v, q, s, flags, kind):
    """Gain, read noise of a group (electrons) and rate (DN/s, with the dark current) of a tile, from all its integrations."""
    nints, width = ramps.sci.shape[0], v.shape[1]
    gain, noise, photons = np.empty(width), np.empty(width), np.zeros(width)
    for x in range(width):
        gain[x] = ramps.gain[y, x0 + x]
        noise[x] = np.float32(float(ramps.readnoise[y, x0 + x]) * (gain[x] / math.sqrt(2.0 * options.nframes)))
    for i in range(nints):
        _load(ramps, i, y, x0, options, bits, v, q, flags, kind)
        _add_median_rate(v, q, kind, times, bits, s, photons)
    for x in range(width):
        mean = photons[x] / nints
        photons[x] = (mean if mean > 0.0 else 0.0) + (ramps.dark[y, x0 + x] if ramps.dark.size else 0.0)
    return gain, noise, photons


@njit(cache=True, nogil=True, error_model="numpy")
def _tile(ramps, y, x0, options, times, weights, bits, v, q, s, rate, ints):
    """Fit the ramps of a tile: first their median rates in all integrations, which give the photon noise, then their slopes."""
    nints, width = ramps.sci.shape[0], v.shape[1]
    flags, kind, sums = np.empty(width, np.uint8), np.empty(width, np.uint8), _empty_sums(width)
    gain, noise, photons = _noise_sources(ramps, y, x0, options, times, bits, v, q, s, flags, kind)
    plain = _plain_ramps(v.shape[0], gain, noise, photons, times, weights)
    for i in range(nints):
        if nints > 1:
            _load(ramps, i, y, x0, options, bits, v, q, flags, kind)
        _fit_integration(v, q, kind, flags, i, y, x0, gain, noise, photons, times, weights, plain, bits, ints, sums)
        _restore_chargeloss(ramps, i, y, x0, options, q, kind, flags, gain, noise, times, bits, ints, sums)
    _combine(y, x0, nints, bits, rate, sums)


@njit(parallel=True, cache=True, nogil=True, error_model="numpy")
def fit_ramps(ramps, options, times, weights, bits, rate, ints):
    """Count rates of all ramps, integration by integration and together.

    Parameters
    ----------
    ramps : Ramps
    options : Options
    times : Times
    weights : ndarray
        `slope_weights` of the number of groups used.
    bits : Bits
    rate, ints : Planes
        Changed: the products, (row, col) and (int, row, col). Their dq holds the quality of the pixels.
    """
    ngroups, nx = options.last - options.first, ramps.sci.shape[3]
    for row in prange(ramps.sci.shape[2]):
        y = np.intp(row)  # prange counts unsigned inside: as it is, all that is called would be compiled a second time
        samples, flags = np.empty(ngroups * TILE, np.float32), np.empty(ngroups * TILE, np.uint8)
        ordered = np.empty(max(ngroups - 1, 1) * TILE, np.float32)
        for x0 in range(0, nx, TILE):
            width = min(TILE, nx - x0)
            v, q, s = tile(samples, ngroups, width), tile(flags, ngroups, width), tile(ordered, max(ngroups - 1, 1), width)
            _tile(ramps, y, x0, options, times, weights, bits, v, q, s, rate, ints)
