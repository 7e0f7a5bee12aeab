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

from ..columns.pick_columns import any_of, columns_where, copy, picked
from ..columns.sort_columns import median_of_sorted, sort_columns, tile
from .ols_combine import combine
from .ols_plain import add_median_rates, find_plain, find_rates, fit_plain, know, read_variances
from .ols_segments import (
    LONE_FIRST,
    POWERS,
    TOO_LARGE,
    WHOLE,
    ZERO_FRAME,
    bounded,
    fit_segments,
    integration_quality,
    lone_time,
    restored_read_precision,
)

TILE = 128  # columns that are worked on together, of the ramps that are not plain
NEAR, NEAREST = 2**16, 2**13  # numbers that stay in the second and in the first of the caches
INF32 = np.float32(np.inf)


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


class Work(NamedTuple):
    """Buffers."""

    samples: np.ndarray
    flags: np.ndarray
    ordered: np.ndarray
    width: int  # columns of what is sorted


class Seen(NamedTuple):
    """What is found out about the ramps of a tile."""

    start: np.ndarray  # (int,): the first group that is not bad in all of the tile
    plain: np.ndarray  # (int, column): which ramps have no flags beside
    total: np.ndarray  # (int, column): their slope / var_r


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
    unusable: np.ndarray  # how many integrations are
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
def load(ramps, i, y, x0, columns, options, bits, v, q, flags, kind):
    """Copy some ramps of an integration to v and q, (group, column); note their flags and what they are. `columns` are counted from x0."""
    flags[:], kind[:] = 0, WHOLE
    for g in range(v.shape[0]):
        values, given = ramps.sci[i, options.first + g, y, x0:], ramps.groupdq[i, options.first + g, y, x0:]
        without = bits.jump if options.cut and g == 0 else np.uint8(0)
        for x in range(columns.size):
            v[g, x] = values[columns[x]]
            q[g, x] = given[columns[x]] & ~without
            flags[x] |= q[g, x]
    for x in range(columns.size):
        if not flags[x] and v.shape[0] > 1 and not options.cut:
            continue
        # one good group is looked for before groups are cut off, so that a jump in the first one still counts
        good, clean = -int(options.cut and ramps.groupdq[i, options.first, y, x0 + columns[x]] & ~bits.persistence == bits.jump), 0
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
        elif clean == 0 and ramps.zeroframe.size and ramps.zeroframe[i, y, x0 + columns[x]] != 0.0:
            kind[x] = ZERO_FRAME
            v[0, x], q[0, x] = ramps.zeroframe[i, y, x0 + columns[x]], 0
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
def _add_median_rate(v, q, kind, times, bits, s, rate):
    """Add to `rate` the median difference of each ramp; its first sample where there is no difference, 0 where there is nothing."""
    ngroups, width = v.shape
    bad = bits.do_not_use | bits.saturated
    for g in range(1, ngroups):
        _differences(v[g], v[g - 1], q[g], q[g - 1], bad, bits.jump, s[g - 1])
    if ngroups > 1:
        sort_columns(s, ngroups - 1)
    for x in range(width):
        n = ngroups - 1
        while n > 0 and s[n - 1, x] == INF32:
            n -= 1
        if ngroups > 1 and kind[x] == WHOLE and n:
            rate[x] += median_of_sorted(s, x, 0, n) / times.group
        elif ngroups == 1:
            rate[x] += np.nan if q[0, x] & bits.saturated else float(v[0, x]) / times.first
        elif not q[0, x] & bad and v[0, x] == v[0, x]:
            rate[x] += float(v[0, x]) / lone_time(kind[x], times)


@njit(cache=True, nogil=True, error_model="numpy")
def _fit_ramps(v, q, kind, flags, i, y, x0, columns, gain, noise, photons, times, weights, bits, ints, sums):
    """Fit some ramps of an integration, one by one. gain, noise, photons and sums are those of the tile."""
    invalid = bits.do_not_use | bits.saturated
    for x in range(columns.size):
        c, column = columns[x], x0 + columns[x]
        dq = integration_quality(q, x, flags[x], ints.dq[i, y, column], bits)
        sums.saturated[c] += (dq & bits.saturated) != 0
        sums.flags[c] |= flags[x]
        slope, err, variance_p, variance_r, count = np.nan, 0.0, 0.0, 0.0, 0
        if not dq & invalid:
            noises = gain[c], noise[c], photons[c]
            total, inverse_r, inverse_p, inverse_e, count = fit_segments(v, q, x, kind[x], *noises, times, weights, bits)
            if count:
                variance_p = bounded(1.0 / inverse_p) if inverse_p > 0.0 else 0.0
                variance_r = bounded(1.0 / inverse_r)
                variance = 1.0 / inverse_e
                err = 0.0 if variance > TOO_LARGE else math.sqrt(variance)
                slope = total * variance_r
                sums.slope[c] += total
                sums.inverse_r[c] += inverse_r
                sums.inverse_p[c] += inverse_p
        if not count:
            dq |= bits.do_not_use if not dq & bits.saturated else 0
        sums.unusable[c] += (dq & bits.do_not_use) != 0
        if variance_r > 0.0 and not flags[x] & bits.chargeloss:
            sums.restored[c] += 1.0 / variance_r
        ints.dq[i, y, column] = dq | (flags[x] & bits.saturated)
        ints.sci[i, y, column], ints.err[i, y, column] = slope, err
        ints.var_poisson[i, y, column], ints.var_rnoise[i, y, column] = variance_p, variance_r


@njit(cache=True, nogil=True, error_model="numpy")
def _restore_chargeloss(ramps, i, y, x0, columns, options, q, kind, flags, gain, noise, times, bits, ints, sums):
    """Give the ramps that have CHARGELOSS groups the read noise that they have with them."""
    for x in range(columns.size):
        if not flags[x] & bits.chargeloss:
            continue
        c, column = columns[x], x0 + columns[x]
        given = ramps.groupdq[i, options.first : options.last, y, column]
        precision = restored_read_precision(given, q, x, kind[x], gain[c], noise[c], times, bits)
        sums.loss[c] = 1
        sums.restored[c] += precision
        ints.var_rnoise[i, y, column] = bounded(1.0 / precision)


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
def _noises(gain, readnoise, root, noise):
    """Read noise of a group, electrons; single precision."""
    for x in range(noise.size):
        noise[x] = np.float32(float(readnoise[x]) * (gain[x] / root))


@njit(cache=True, nogil=True, error_model="numpy")
def _mean_rates(nints, photons):
    for x in range(photons.size):
        mean = photons[x] / nints
        photons[x] = mean if mean > 0.0 else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def first_look(ramps, y, part, options, times, weights, bits, work, seen):
    """Gain, read noise of a group (electrons) and rate (DN/s, with the dark current) of a tile, from all its integrations; fills `seen`."""
    nints, width = seen.plain.shape
    gain, noise, photons, read_variance = np.empty(width), np.empty(width), np.zeros(width), np.empty(width)
    length = -1
    copy(ramps.gain[y, part], gain)
    _noises(gain, ramps.readnoise[y, part], math.sqrt(2.0 * options.nframes), noise)
    for i in range(nints):
        sci, groupdq, plain = ramps.sci[i, options.first : options.last], ramps.groupdq[i, options.first : options.last], seen.plain[i]
        start = seen.start[i] = find_plain(groupdq, y, part, bits.do_not_use, plain)
        if length != sci.shape[0] - start:
            length = sci.shape[0] - start
            read_variances(length, times.group, gain, noise, read_variance)
        for first in range(0, width if any_of(plain) else 0, work.width):
            near = slice(first, min(first + work.width, width))
            columns, s = slice(part.start + near.start, part.start + near.stop), tile(work.ordered, length - 1, near.stop - near.start)
            add_median_rates(sci[start:], y, columns, times.group, s, plain[near], photons[near])
            rest = weights, read_variance[near], seen.total[i, near]
            find_rates(sci[start:], y, columns, gain[near], noise[near], times.group, *rest)
        others = columns_where(plain, False)
        for first in range(0, others.size, TILE):
            some = others[first : first + TILE]
            v, q, flags, kind = _other_ramps(ramps, i, y, part.start, some, options, bits, work)
            rate = picked(photons, some)
            _add_median_rate(v, q, kind, times, bits, tile(work.ordered, max(v.shape[0] - 1, 1), some.size), rate)
            for x in range(some.size):
                photons[some[x]] = rate[x]
    _mean_rates(nints, photons)
    if ramps.dark.size:
        dark = ramps.dark[y, part]
        for x in range(width):
            photons[x] += dark[x]
    return gain, noise, photons


@njit(cache=True, nogil=True, error_model="numpy")
def _other_ramps(ramps, i, y, x0, columns, options, bits, work):
    """Samples and flags of some ramps of an integration, the flags of each, and what it is."""
    shape = options.last - options.first, columns.size
    v, q = tile(work.samples, *shape), tile(work.flags, *shape)
    flags, kind = np.empty(columns.size, np.uint8), np.empty(columns.size, np.uint8)
    load(ramps, i, y, x0, columns, options, bits, v, q, flags, kind)
    return v, q, flags, kind


@njit(cache=True, nogil=True, error_model="numpy")
def _leave_out_invalid(dq, invalid, plain):
    for x in range(plain.size):
        plain[x] = plain[x] & ((dq[x] & invalid) == 0)


@njit(cache=True, nogil=True, error_model="numpy")
def _tile(ramps, y, part, options, times, weights, bits, work, rate, ints):
    """Fit the ramps of a tile: first their median rates in all integrations, which give the photon noise, then their slopes."""
    nints, width, x0 = ramps.sci.shape[0], part.stop - part.start, part.start
    seen, sums = nothing_seen(nints, width), _empty_sums(width)
    gain, noise, photons = first_look(ramps, y, part, options, times, weights, bits, work, seen)
    length = options.last - options.first - seen.start[0]
    known = know(length, times.group, gain, noise, photons)
    for i in range(nints):
        plain = seen.plain[i]
        _leave_out_invalid(ints.dq[i, y, part], bits.do_not_use | bits.saturated, plain)
        if any_of(plain):
            if length != options.last - options.first - seen.start[i]:
                length = options.last - options.first - seen.start[i]
                known = know(length, times.group, gain, noise, photons)
            fit_plain(seen.total[i], plain, known, i, y, part, ints, sums)
        others = columns_where(plain, False)
        for first in range(0, others.size, TILE):
            some = others[first : first + TILE]
            v, q, flags, kind = _other_ramps(ramps, i, y, x0, some, options, bits, work)
            _fit_ramps(v, q, kind, flags, i, y, x0, some, gain, noise, photons, times, weights, bits, ints, sums)
            _restore_chargeloss(ramps, i, y, x0, some, options, q, kind, flags, gain, noise, times, bits, ints, sums)
    combine(y, part, nints, bits, rate, sums)


@njit(cache=True, nogil=True, error_model="numpy")
def nothing_seen(nints, width):
    """What `first_look` fills."""
    return Seen(np.empty(nints, np.int64), np.empty((nints, width), np.uint8), np.empty((nints, width)))


@njit(cache=True, nogil=True, error_model="numpy")
def work_space(ngroups):
    """Buffers for tiles."""
    few, width = ngroups * TILE, max(TILE, min(512, NEAREST // ngroups // 16 * 16))
    return Work(np.empty(few, np.float32), np.empty(few, np.uint8), np.empty(ngroups * width, np.float32), width)


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
    width = max(TILE, NEAR // ramps.sci.shape[0])
    for row in prange(ramps.sci.shape[2]):
        y = np.intp(row)  # prange counts unsigned inside: as it is, all that is called would be compiled a second time
        work = work_space(ngroups)
        for x0 in range(0, nx, width):
            _tile(ramps, y, slice(x0, min(x0 + width, nx)), options, times, weights, bits, work, rate, ints)
