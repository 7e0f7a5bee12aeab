"""Cosmic ray hits: differences of neighbouring groups that stick out (Anderson & Gordon 2011, PASP 123, 1237: the two-point difference).

Works on electrons, e = gain x DN, made on the fly in single precision; all else is in double precision.
Facts about differences (one bit each) go from here to `spread_jumps` packed by eight in planes (row, word, col):
the difference from group g to g + 1 of integration i is number k = i (ngroups - 1) + g, bit k % 8 of word k // 8.
"""

import math

import numpy as np
from numba import njit, prange

from .quiet_ramps import find_quiet
from .sort_columns import median_of_sorted, sort_columns, tile

ONE_PASS, ITERATIVE, CLIP_INTEGRATIONS, CLIP_ALL = range(4)
CLIP_ROUNDS = 5
TILE = 128  # columns that are sorted together
NEAR, NEAREST = 2**19, 2**14  # differences that stay in the second and in the first of the caches
NAN32, INF32 = np.float32(np.nan), np.float32(np.inf)


@njit(cache=True, nogil=True, error_model="numpy")
def _next_differences(values, flags, gain, bad, jump, last, before, out):
    """Differences, in electrons, of the groups of many pixels from the `last` ones; note in `before` who has jumps already."""
    for x in range(out.size):
        electrons = values[x] * gain[x]
        electrons = NAN32 if flags[x] & bad else electrons
        out[x] = electrons - last[x]
        last[x] = electrons
    for x in range(out.size):
        before[x] |= flags[x] & jump


@njit(cache=True, nogil=True, error_model="numpy")
def _differences(sci, groupdq, gain, y, x0, bad, jump, d, before):
    """Fill d[k, x] with the differences of a tile, NaN where a group is missing; note in `before` who has jumps already."""
    nints, ngroups = sci.shape[:2]
    last = np.empty(before.size, np.float32)
    part = slice(x0, x0 + before.size)
    before[:] = 0
    for i in range(nints):
        for g in range(ngroups):
            k = i * (ngroups - 1) + max(g - 1, 0)  # the first group's are written over
            _next_differences(sci[i, g, y, part], groupdq[i, g, y, part], gain[y, part], bad, jump, last, before, d[k])


@njit(cache=True, nogil=True, error_model="numpy")
def _noise2(gain, readnoise, nframes):
    """Read noise of a difference, electrons^2."""
    out = np.empty(gain.size)
    for x in range(gain.size):
        noise = readnoise[x] * gain[x]
        out[x] = float(noise * noise) / nframes
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _sorted_copy(d, s, n, magnitude):
    """Sort the usable differences, or their magnitudes, into the top of `s`; count them in `n`."""
    width = d.shape[1]
    n[:] = 0
    for k in range(d.shape[0]):
        from_row, to_row = d[k], s[k]
        for x in range(width):
            v = from_row[x]
            usable = v == v
            n[x] += usable
            v = abs(v) if magnitude else v
            to_row[x] = v if usable else INF32
    sort_columns(s, d.shape[0])


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
            variance += (mean - s[k, x]) ** 2
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
    """Flag the group that difference k ends in."""
    ndiffs = groupdq.shape[1] - 1
    groupdq[k // ndiffs, k % ndiffs + 1, y, x] |= jump


@njit(cache=True, nogil=True, error_model="numpy")
def _detect_iterating(groupdq, d, s, n, y, columns, noise2, thresholds, jump, hit):
    """Flag what is outside of the magnitudes that stay."""
    for x in range(d.shape[1]):
        first, last = _keep_iterating(s, x, n[x], noise2[x], thresholds)
        if first == 0 and last == n[x]:
            continue
        hit[x] = 1
        low = s[first, x] if last > first else INF32
        high = s[last - 1, x] if last > first else -INF32
        for k in range(d.shape[0]):
            if abs(d[k, x]) < low or abs(d[k, x]) > high:
                _flag(groupdq, y, columns[x], k, jump)


@njit(cache=True, nogil=True, error_model="numpy")
def _detect_at_once(groupdq, d, s, n, y, columns, noise2, threshold, jump, hit):
    """Flag what is further from the median of all differences than the threshold; `s` is sorted with its signs."""
    for x in range(d.shape[1]):
        if n[x] == 0:
            continue
        median = median_of_sorted(s, x, 0, n[x])
        sigma = _sigma(median, noise2[x])
        if not (abs(s[0, x] - median) / sigma > threshold or abs(s[n[x] - 1, x] - median) / sigma > threshold):
            continue
        hit[x] = 1
        for k in range(d.shape[0]):
            if abs(d[k, x] - median) / sigma > threshold:
                _flag(groupdq, y, columns[x], k, jump)


@njit(cache=True, nogil=True, error_model="numpy")
def _detect_clipping(groupdq, d, s, n, y, columns, threshold, jump, hit, stride):
    """Flag what sigma clipping leaves out among every stride-th difference: ngroups - 1 compares integrations, 1 compares all."""
    count = d.shape[0] // stride
    for g in range(stride):
        _sorted_copy(d[g::stride], s[:count], n, False)
        for x in range(d.shape[1]):
            low, high = _keep_clipping(s, x, n[x], threshold)
            for k in range(g, d.shape[0], stride):
                if d[k, x] < low or d[k, x] > high:
                    hit[x] = 1
                    _flag(groupdq, y, columns[x], k, jump)


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
def _characterize(groupdq, d, s, n, y, columns, noise2, jump, hit, neighbours, sizes, seeds, large, very_large):
    """Note which jumps reach to the neighbours, and which differences are large; `s` is sorted with its signs."""
    ndiffs = groupdq.shape[1] - 1
    medians = np.full(columns.size, np.nan)
    for x in range(columns.size):
        if n[x] == 0:
            continue
        medians[x] = median_of_sorted(s, x, 0, n[x])
        sigma = _sigma(medians[x], noise2[x])
        if seeds.size and hit[x]:
            for k in range(d.shape[0]):
                ratio = abs(d[k, x] - medians[x]) / sigma
                if neighbours[0] < ratio < neighbours[1] and groupdq[k // ndiffs, k % ndiffs + 1, y, columns[x]] & jump:
                    seeds[y, k // 8, columns[x]] |= np.uint8(1 << (k % 8))
    if large.size:
        _note_large(d, medians, sizes[0], y, columns, large)
        _note_large(d, medians, sizes[1], y, columns, very_large)


@njit(cache=True, nogil=True, error_model="numpy")
def _gather(d, columns, out):
    """Put some columns side by side."""
    first, last = columns[0], columns[-1] + 1
    for k in range(out.shape[0]):
        if last - first == columns.size:
            out[k] = d[k, first:last]
        else:
            for x in range(columns.size):
                out[k, x] = d[k, columns[x]]


@njit(cache=True, nogil=True, error_model="numpy")
def _search(groupdq, d, s, y, columns, noise2, method, thresholds, jump, hit, neighbours, sizes, seeds, large, very_large):
    """Flag the jumps of some pixels; all that is given is theirs, in the order of `columns`."""
    n = np.empty(columns.size, np.int64)
    if method == ITERATIVE:
        _sorted_copy(d, s, n, True)
        _detect_iterating(groupdq, d, s, n, y, columns, noise2, thresholds, jump, hit)
    elif method == ONE_PASS:
        _sorted_copy(d, s, n, False)
        _detect_at_once(groupdq, d, s, n, y, columns, noise2, thresholds[0], jump, hit)
    else:
        stride = groupdq.shape[1] - 1 if method == CLIP_INTEGRATIONS else 1
        _detect_clipping(groupdq, d, s, n, y, columns, thresholds[0], jump, hit, stride)
    if large.size or (seeds.size and hit.any()):
        if method != ONE_PASS:
            _sorted_copy(d, s, n, False)
        _characterize(groupdq, d, s, n, y, columns, noise2, jump, hit, neighbours, sizes, seeds, large, very_large)


@njit(cache=True, nogil=True, error_model="numpy")
def _row(sci, groupdq, gain, readnoise, nframes, y, method, thresholds, bad, jump, neighbours, sizes, seeds, large, very_large):
    """One row of pixels, a tile of columns at a time. Those that may have a jump are picked out of it."""
    nints, ngroups, _, nx = sci.shape
    nk = nints * (ngroups - 1)
    wide, few = max(16, min(nx, NEAR // nk)), max(16, min(TILE, NEAREST // nk) // 16 * 16)
    differences = np.empty(nk * wide, np.float32)
    picked, ordered = np.empty(nk * few, np.float32), np.empty(nk * few, np.float32)
    for x0 in range(0, nx, wide):
        part = slice(x0, min(x0 + wide, nx))
        noise2 = _noise2(gain[y, part], readnoise[y, part], nframes)
        before, quiet = np.empty(noise2.size, np.uint8), np.zeros(noise2.size, np.uint8)
        all_of = tile(differences, nk, noise2.size)
        _differences(sci, groupdq, gain, y, x0, bad, jump, all_of, before)
        if method in (ONE_PASS, ITERATIVE):
            find_quiet(all_of, noise2, thresholds[0], min(sizes) if large.size else np.inf, method == ITERATIVE, quiet)
        loud = np.flatnonzero((quiet == 0) | (before != 0))
        for first in range(0, loud.size, few):
            some = loud[first : first + few]
            d, s = tile(picked, nk, some.size), tile(ordered, nk, some.size)
            _gather(all_of, some, d)
            noted = jump, before[some], neighbours, sizes, seeds, large, very_large
            _search(groupdq, d, s, y, x0 + some, noise2[some], method, thresholds, *noted)


@njit(parallel=True, cache=True, nogil=True, error_model="numpy")
def detect_jumps(sci, groupdq, gain, readnoise, nframes, method, thresholds, bad, jump, neighbours, sizes, seeds, large, very_large):
    """Flag the groups that a jump comes before.

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
    """
    for row in prange(sci.shape[2]):
        y = np.intp(row)  # prange counts unsigned inside: as it is, all that is called would be compiled a second time
        _row(sci, groupdq, gain, readnoise, nframes, y, method, thresholds, bad, jump, neighbours, sizes, seeds, large, very_large)
