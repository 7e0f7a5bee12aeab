"""Cosmic ray hits: differences of neighbouring groups that stick out (Anderson & Gordon 2011, PASP 123, 1237: the two-point difference).

Works on electrons, e = gain x DN, made on the fly in single precision; all else is in double precision.
Facts about differences (one bit each) go from here to `spread_jumps` packed by eight in planes (row, word, col):
the difference from group g to g + 1 of integration i is number k = i (ngroups - 1) + g, bit k % 8 of word k // 8.
"""

import math

import numpy as np
from numba import njit, prange

from ..columns.pick_columns import any_of, columns_where, pick, picked
from ..columns.sort_columns import median_of_sorted, sort_columns, tile
from .differences import INF32, find_differences, nothing_seen
from .quiet_ramps import SURE, find_quiet
from .spread_jumps import spread_row

ONE_PASS, ITERATIVE, CLIP_INTEGRATIONS, CLIP_ALL = range(4)
CLIP_ROUNDS = 5
WORD = 32  # bits
TILE = 128  # columns that are sorted together
NEAR, NEAREST = 2**19, 2**14  # differences that stay in the second and in the first of the caches


@njit(cache=True, nogil=True, error_model="numpy")
def _noise2(gain, readnoise, nframes):
    """Read noise of a difference, electrons^2."""
    out = np.empty(gain.size)
    for x in range(gain.size):
        noise = readnoise[x] * gain[x]
        out[x] = float(noise * noise) / nframes
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _sorted_copy(d, first, stride, s, n, magnitude):
    """Sort every stride-th usable difference from the first one on, or their magnitudes, into the top of `s`; count them in `n`."""
    width = d.shape[1]
    n[:] = 0
    for row, k in enumerate(range(first, d.shape[0], stride)):
        from_row, to_row = d[k], s[row]
        for x in range(width):
            v = from_row[x]
            usable = v == v
            n[x] += usable
            v = abs(v) if magnitude else v
            to_row[x] = v if usable else INF32
    sort_columns(s, len(range(first, d.shape[0], stride)))


@njit(cache=True, nogil=True, error_model="numpy")
def _sigma(median, noise2):
    """Noise of a difference, electrons: photons and two reads; NaN for a noiseless pixel, which then has no jumps."""
    sigma = math.sqrt(abs(median) + noise2)
    return sigma if sigma > 0.0 else np.nan


@njit(cache=True, nogil=True, error_model="numpy")
def _deviation(v, median, sigma):
    """|v - median| / sigma; the numerator in single precision."""
    return float(abs(np.float32(float(v) - median))) / sigma


@njit(cache=True, nogil=True, error_model="numpy")
def _keep_iterating(s, x, n, noise2, thresholds):
    """Cast out the worst of the sorted magnitudes s[:n, x] until none is beyond its threshold; return the range [first, last) that stays.

    The median leaves out the largest magnitude where four or more remain, and is the smaller where two remain. The threshold depends
    on how many remain: (four or more, three, two). What is worst is at an end of the sorted column, so a round costs next to nothing.
    """
    first, last, rounds = 0, n, 0
    while last - first >= 2:
        count = last - first
        if count >= 4:
            top = last - 1
            while top > first and s[top - 1, x] == s[last - 1, x]:
                top -= 1
            if top == first:
                break
            median = median_of_sorted(s, x, first, top)
            threshold = thresholds[0]
        elif count == 3:
            median, threshold = float(s[first + 1, x]), thresholds[1]
        else:
            median, threshold = float(s[first, x]), thresholds[2]
        if rounds:
            median = float(np.float32(median))
        sigma = _sigma(median, noise2)
        low, high = _deviation(s[first, x], median, sigma), _deviation(s[last - 1, x], median, sigma)
        worst = high if high > low else low
        if not worst > threshold:
            break
        while last > first and _deviation(s[last - 1, x], median, sigma) == worst:
            last -= 1
        while last > first and _deviation(s[first, x], median, sigma) == worst:
            first += 1
        rounds += 1
    return first, last


@njit(cache=True, nogil=True, error_model="numpy")
def _keep_clipping(s, x, n, threshold):
    """Bounds median +- threshold x standard deviation of the sorted s[:n, x], clipped up to CLIP_ROUNDS times."""
    first, last = 0, n
    low = high = np.nan
    for _ in range(CLIP_ROUNDS):
        if last == first:
            break
        mean = 0.0
        for k in range(first, last):
            mean += s[k, x]
        mean /= last - first
        variance = 0.0
        for k in range(first, last):
            variance += (mean - s[k, x]) * (mean - s[k, x])
        reach = threshold * math.sqrt(variance / (last - first))
        median = median_of_sorted(s, x, first, last)
        low, high = median - reach, median + reach
        count = last - first
        while last > first and s[last - 1, x] > high:
            last -= 1
        while last > first and s[first, x] < low:
            first += 1
        if last - first == count:
            break
    return low, high


@njit(cache=True, nogil=True, error_model="numpy")
def _flag(groupdq, y, x, k, jump):
    """Flag the group that difference k ends in; returns 1 if it was not flagged before, 0 if it was."""
    ndiffs = groupdq.shape[1] - 1
    before = groupdq[k // ndiffs, k % ndiffs + 1, y, x]
    groupdq[k // ndiffs, k % ndiffs + 1, y, x] = before | jump
    return 1 if before & jump == 0 else 0


@njit(cache=True, nogil=True, error_model="numpy")
def _detect_iterating(groupdq, d, s, n, y, columns, noise2, thresholds, jump, hit):
    """Flag what is outside of the magnitudes that stay; returns how many groups got a flag."""
    found = 0
    for x in range(d.shape[1]):
        first, last = _keep_iterating(s, x, n[x], noise2[x], thresholds)
        if first == 0 and last == n[x]:
            continue
        hit[x] = 1
        low = s[first, x] if last > first else INF32
        high = s[last - 1, x] if last > first else -INF32
        for k in range(d.shape[0]):
            if abs(d[k, x]) < low or abs(d[k, x]) > high:
                found += _flag(groupdq, y, columns[x], k, jump)
    return found


@njit(cache=True, nogil=True, error_model="numpy")
def _medians(s, n, noise2, medians, sigmas):
    """Median of each pixel's differences, which are sorted with their signs, and their noise; NaN where there is none."""
    medians[:] = sigmas[:] = np.nan
    for x in range(n.size):
        if n[x]:
            medians[x] = median_of_sorted(s, x, 0, n[x])
            sigmas[x] = _sigma(medians[x], noise2[x])


@njit(cache=True, nogil=True, error_model="numpy")
def _mark_far(differences, medians, reach, bit, word):
    """Set a bit where a difference is further from the median than `reach`."""
    for x in range(word.size):
        word[x] |= bit if abs(differences[x] - medians[x]) > reach[x] else np.uint32(0)


@njit(cache=True, nogil=True, error_model="numpy")
def _far(d, first, medians, reach, words):
    """Which of the WORD differences from the first one on are further from the median than about `reach`: one bit each."""
    words[:] = 0
    for k in range(first, min(first + WORD, d.shape[0])):
        _mark_far(d[k], medians, reach, np.uint32(1) << np.uint32(k - first), words)


@njit(cache=True, nogil=True, error_model="numpy")
def _detect_at_once(groupdq, d, medians, sigmas, y, columns, threshold, jump, hit):
    """Flag what is further from the median of all differences than the threshold; returns how many groups got a flag."""
    found, words, reach = 0, np.empty(columns.size, np.uint32), np.empty(columns.size)
    for x in range(columns.size):
        reach[x] = sigmas[x] * (SURE * threshold)
    for first in range(0, d.shape[0], WORD):
        _far(d, first, medians, reach, words)
        for x in range(columns.size):
            word, k = words[x], first
            while word:
                if word & 1 and abs(d[k, x] - medians[x]) / sigmas[x] > threshold:
                    found += _flag(groupdq, y, columns[x], k, jump)
                    hit[x] = 1
                word, k = word >> np.uint32(1), k + 1
    return found


@njit(cache=True, nogil=True, error_model="numpy")
def _detect_clipping(groupdq, d, s, n, y, columns, threshold, jump, hit, stride):
    """Flag what sigma clipping leaves out among every stride-th difference: ngroups - 1 compares integrations, 1 compares all.

    Returns how many groups got a flag.
    """
    found = 0
    for g in range(stride):
        _sorted_copy(d, g, stride, s, n, False)
        for x in range(d.shape[1]):
            low, high = _keep_clipping(s, x, n[x], threshold)
            for k in range(g, d.shape[0], stride):
                if d[k, x] < low or d[k, x] > high:
                    hit[x] = 1
                    found += _flag(groupdq, y, columns[x], k, jump)
    return found


@njit(cache=True, nogil=True, error_model="numpy")
def _mark(differences, median, size, bit, word):
    """Set a bit where a difference is larger than the median by `size`."""
    for x in range(word.size):
        word[x] |= bit if differences[x] - median[x] >= size else np.uint8(0)


@njit(cache=True, nogil=True, error_model="numpy")
def _note_large(d, median, size, y, columns, large):
    """Note which differences are larger than the median by `size`."""
    word = np.empty(columns.size, np.uint8)
    for w in range(large.shape[1]):
        word[:] = 0
        for k in range(8 * w, min(8 * w + 8, d.shape[0])):
            _mark(d[k], median, size, np.uint8(1 << (k % 8)), word)
        for x in range(columns.size):
            large[y, w, columns[x]] |= word[x]


@njit(cache=True, nogil=True, error_model="numpy")
def _note_seeds(groupdq, d, medians, sigmas, y, columns, jump, hit, neighbours, seeds):
    """Note which jumps reach to the neighbours."""
    ndiffs, words = groupdq.shape[1] - 1, np.empty(columns.size, np.uint32)
    reach = np.empty(columns.size)
    for x in range(columns.size):
        reach[x] = sigmas[x] * (SURE * neighbours[0]) if hit[x] else np.inf
    for first in range(0, d.shape[0], WORD):
        _far(d, first, medians, reach, words)
        for x in range(columns.size):
            word, k = words[x], first
            while word:
                if word & 1 and neighbours[0] < abs(d[k, x] - medians[x]) / sigmas[x] < neighbours[1]:
                    if groupdq[k // ndiffs, k % ndiffs + 1, y, columns[x]] & jump:
                        seeds[y, k // 8, columns[x]] |= np.uint8(1 << (k % 8))
                word, k = word >> np.uint32(1), k + 1


@njit(cache=True, nogil=True, error_model="numpy")
def _search(groupdq, d, s, y, columns, noise2, method, thresholds, jump, hit, neighbours, sizes, seeds, large, very_large):
    """Flag the jumps of some pixels, and note what else is wanted; all that is given is theirs, in the order of `columns`.

    Returns how many groups got a flag.
    """
    n, medians, sigmas = np.empty(columns.size, np.int64), np.empty(columns.size), np.empty(columns.size)
    if method == ITERATIVE:
        _sorted_copy(d, 0, 1, s, n, True)
        found = _detect_iterating(groupdq, d, s, n, y, columns, noise2, thresholds, jump, hit)
    elif method == ONE_PASS:
        _sorted_copy(d, 0, 1, s, n, False)
        _medians(s, n, noise2, medians, sigmas)
        found = _detect_at_once(groupdq, d, medians, sigmas, y, columns, thresholds[0], jump, hit)
    else:
        stride = groupdq.shape[1] - 1 if method == CLIP_INTEGRATIONS else 1
        found = _detect_clipping(groupdq, d, s, n, y, columns, thresholds[0], jump, hit, stride)
    if large.size or (seeds.size and any_of(hit)):
        if method != ONE_PASS:
            _sorted_copy(d, 0, 1, s, n, False)
            _medians(s, n, noise2, medians, sigmas)
        if seeds.size:
            _note_seeds(groupdq, d, medians, sigmas, y, columns, jump, hit, neighbours, seeds)
        if large.size:
            _note_large(d, medians, sizes[0], y, columns, large)
            _note_large(d, medians, sizes[1], y, columns, very_large)
    return found


@njit(cache=True, nogil=True, error_model="numpy")
def _leave_out(before, quiet):
    for x in range(quiet.size):
        quiet[x] = quiet[x] & (before[x] == 0)


@njit(cache=True, nogil=True, error_model="numpy")
def _count(groupdq, y, part, jump):
    """Groups of part of a row that have the flag."""
    count = 0
    for i in range(groupdq.shape[0]):
        for g in range(groupdq.shape[1]):
            for flags in groupdq[i, g, y, part]:
                count += flags & jump != 0
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def _row(sci, groupdq, gain, readnoise, nframes, y, method, thresholds, bad, jump, neighbours, sizes, seeds, large, very_large):
    """One row of pixels, a tile of columns at a time. Those that may have a jump are picked out of it.

    Returns how many of its groups have the flag, and whether any of them had it before.
    """
    nints, ngroups, _, nx = sci.shape
    nk = nints * (ngroups - 1)
    wide, few = max(16, min(nx, NEAR // nk)), max(16, min(TILE, NEAREST // nk) // 16 * 16)
    differences = np.empty(nk * wide, np.float32)
    unsorted, ordered = np.empty(nk * few, np.float32), np.empty(nk * few, np.float32)
    found, earlier = 0, False
    for x0 in range(0, nx, wide):
        part = slice(x0, min(x0 + wide, nx))
        noise2 = _noise2(gain[y, part], readnoise[y, part], nframes)
        before, quiet = np.empty(noise2.size, np.uint8), np.zeros(noise2.size, np.uint8)
        all_of, seen, magnitude = tile(differences, nk, noise2.size), nothing_seen(noise2.size), method == ITERATIVE
        find_differences(sci, groupdq, gain, y, part, bad, jump, magnitude, all_of, before, seen)
        if any_of(before):
            earlier = True
            found += _count(groupdq, y, part, jump)
        if method in (ONE_PASS, ITERATIVE):
            find_quiet(all_of, seen, noise2, thresholds[0], min(sizes) if large.size else np.inf, magnitude, quiet)
        _leave_out(before, quiet)
        loud = columns_where(quiet, False)
        for first in range(0, loud.size, few):
            some = loud[first : first + few]
            d, s, hit = tile(unsorted, nk, some.size), tile(ordered, nk, some.size), picked(before, some)
            pick(all_of, some, d)
            noted = jump, hit, neighbours, sizes, seeds, large, very_large
            found += _search(groupdq, d, s, y, x0 + some, picked(noise2, some), method, thresholds, *noted)
    return found, earlier


@njit(cache=True, nogil=True)
def _at_edge(y, rows, ny):
    """Whether a row lies beside one of another thread's."""
    return (y > 0 and y % rows == 0) or (y < ny - 1 and y % rows == rows - 1)


@njit(parallel=True, cache=True, nogil=True, error_model="numpy")
def detect_jumps(
    sci, groupdq, gain, readnoise, nframes, method, thresholds, bad, jump, neighbours, sizes, seeds, large, very_large, lengths, rows
):
    """Flag the groups that a jump comes before, and, unless by clipping, those that it spoils as `spread_jumps` does.

    Noise of a difference: sigma^2 = |median difference| + (gain x readnoise)^2 / nframes, readnoise being that of two reads.

    Parameters
    ----------
    sci : ndarray of float32, (int, group, row, col), DN
    groupdq : ndarray of uint8, the same shape
        Changed: `jump` is set in the group after the jump.
    gain : ndarray of float32, (row, col), electrons/DN
    readnoise : ndarray of float32, (row, col), DN
        Of the difference of two frames.
    nframes : int
        Frames averaged to a group.
    method : int
        ITERATIVE: the worst first, again and again. ONE_PASS: all at once. CLIP_INTEGRATIONS, CLIP_ALL: sigma clipping, no noise model.
    thresholds : tuple of float
        In sigma: (four or more differences, three, two).
    bad : uint8
        Bits of groups that are not looked at.
    jump : uint8
        Bit to set.
    neighbours : tuple of float
        Jumps between these, in sigma, are noted in `seeds`.
    sizes : tuple of float, electrons
        Differences of at least these above the median are noted in `large` and `very_large`.
    seeds, large, very_large : ndarray of uint8, (row, word, col)
        Changed: bits of differences; empty where they are not wanted.
    lengths : tuple of int
        Groups to flag after a jump that is (large, very large).
    rows : int
        That a thread takes at a time; the result does not depend on it.

    Returns
    -------
    found : ndarray of int64, (row,)
        How many groups have the bit, those not counted that a jump spoils.
    earlier : ndarray of bool, (row,)
        Whether any of them had it before.
    """
    ny = sci.shape[2]
    found, earlier = np.zeros(ny, np.int64), np.zeros(ny, np.bool_)
    spread = method in (ONE_PASS, ITERATIVE)
    for piece in prange(-(-ny // rows)):
        first = np.intp(piece) * rows  # prange counts unsigned inside: as it is, all that is called would be compiled a second time
        last, noted = min(first + rows, ny), (neighbours, sizes, seeds, large, very_large)
        for y in range(first, last + 1):
            if y < last:
                found[y], earlier[y] = _row(sci, groupdq, gain, readnoise, nframes, y, method, thresholds, bad, jump, *noted)
            if spread and y > first and not _at_edge(y - 1, rows, ny):  # its flags are still in the caches
                spread_row(groupdq, y - 1, earlier[y - 1], seeds, large, very_large, lengths, bad, jump)
    for row in prange(ny):
        y = np.intp(row)
        if spread and _at_edge(y, rows, ny):
            spread_row(groupdq, y, earlier[y], seeds, large, very_large, lengths, bad, jump)
    return found, earlier
