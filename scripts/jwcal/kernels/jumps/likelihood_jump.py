"""Cosmic ray hits: differences without which a ramp's likelihood gains (Brandt 2024, II: PASP 136, 045005; I, the fit: 045004).

The model of a pixel is one count rate, not negative, for all its integrations. A hit frees one difference of neighbouring groups from it,
or two in a row if it came within a group of several reads. What chi squared gains is a quadratic form of what the fit leaves over, so all
places are tried from one solution of the tridiagonal covariance. The likeliest hit is taken out, the count rate, and with it
the noise, is taken anew, and so on. Names are the papers'. All in double precision; rates in DN over the unit of time of the covariance.
"""

from typing import NamedTuple

import numpy as np
from numba import njit, prange

from ..columns.sort_columns import sort_columns

# A hit counts if chi squared gains what a hit of `threshold` times the noise of one difference would bring, within these times threshold^2:
LEAST = 8 / 9  # a short ramp measures a hit worse than one difference would: this is what ten groups with photon noise reach
MOST = 1.5  # long ramps without much photon noise, and many ramps, measure it better: what is as significant as this is one anyway
TWO_MORE = 3.55  # gained by chance from one more free number: 23.8 is as unlikely with two as 20.25 with one
NEGATIVE = 2.25  # times the gain that a step down must bring: no cosmic ray makes one, but a glitch of the electronics does
TOGETHER = 0.5  # part of the largest gain from which other integrations' hits go too: the largest hit causes no such gain there
TILE = 64  # columns whose ramps are gathered together
INF32 = np.float32(np.inf)


class Work(NamedTuple):
    """One pixel. (int, difference), but the covariance, (difference,)."""

    d: np.ndarray
    use: np.ndarray
    alpha: np.ndarray  # diagonal of the covariance
    beta: np.ndarray  # beside it
    front: np.ndarray  # 1 / pivots of the elimination from the front
    inverse: np.ndarray  # diagonal of the inverse
    beside: np.ndarray  # and beside it
    dB: np.ndarray  # inverse covariance times d
    dC: np.ndarray  # inverse covariance times ones
    best: np.ndarray  # (int,): gain of the likeliest hit
    first: np.ndarray  # (int,): the difference that it is in,
    count: np.ndarray  # (int,): and whether also in the next one


@njit(cache=True, nogil=True, error_model="numpy")
def _set_covariance(rate, gain, noise2, covariance, w):
    """Fill alpha and beta (I, equations 28 and 29)."""
    photons = rate / gain
    n = w.alpha.size
    for k in range(n):
        w.alpha[k] = photons * covariance.alpha_photons[k] + noise2 * covariance.alpha_reads[k]
    for k in range(n - 1):
        w.beta[k] = photons * covariance.beta_photons[k] + noise2 * covariance.beta_reads[k]


@njit(cache=True, nogil=True, error_model="numpy")
def _solve(i, w):
    """Solve for the differences in use of one integration; returns its part of the sums B = 1'Vd and C = 1'V1, V the inverse."""
    d, use, dB, dC, n = w.d[i], w.use[i], w.dB[i], w.dC[i], w.alpha.size
    front, alpha, beta = w.front, w.alpha, w.beta
    for k in range(n):
        pivot, dB[k], dC[k] = alpha[k], d[k], 1.0
        if k and use[k] and use[k - 1]:
            f = beta[k - 1] * front[k - 1]
            pivot -= f * beta[k - 1]
            dB[k] -= f * dB[k - 1]
            dC[k] -= f * dC[k - 1]
        front[k] = 1.0 / pivot
    B, C, f = 0.0, 0.0, 0.0
    for k in range(n - 1, -1, -1):
        if not use[k]:
            continue
        back = alpha[k]
        if k < n - 1 and use[k + 1]:
            f *= beta[k]
            back -= beta[k] * f
            dB[k] -= beta[k] * dB[k + 1]
            dC[k] -= beta[k] * dC[k + 1]
        dB[k] *= front[k]
        dC[k] *= front[k]
        w.inverse[i, k] = front[k] / (1.0 + front[k] * (back - alpha[k]))
        w.beside[i, k] = -f * w.inverse[i, k]
        f = 1.0 / back
        B += dB[k]
        C += dC[k]
    return B, C


@njit(cache=True, nogil=True, error_model="numpy")
def _one_hit(i, k, B, C, left_over, information, w):
    """What chi squared gains from a hit in difference k (II, section 3.1).

    A step down must gain NEGATIVE times as much. With a step up the rate, with and without it, is not negative.
    """
    hit = left_over / information
    gain = left_over * hit
    if hit <= 0.0:
        return gain / NEGATIVE
    if B < w.dC[i, k] * hit:
        gain = max(w.dB[i, k], 0.0) ** 2 / w.inverse[i, k] - max(B, 0.0) ** 2 / C
    elif B < 0.0:
        gain += B * B / C
    return gain


@njit(cache=True, nogil=True, error_model="numpy")
def _two_hits(i, k, B, C, w):
    """The same for differences k and k + 1 (section 3.2)."""
    b1, b2, c1, c2, q1, q2 = w.dB[i, k], w.dB[i, k + 1], w.dC[i, k], w.dC[i, k + 1], w.inverse[i, k], w.inverse[i, k + 1]
    beside = w.beside[i, k]
    s1, s2, s12 = q1 - c1 * c1 / C, q2 - c2 * c2 / C, beside - c1 * c2 / C
    u1, u2 = b1 - B / C * c1, b2 - B / C * c2
    determinant = s1 * s2 - s12 * s12
    hit1, hit2 = (s2 * u1 - s12 * u2) / determinant, (s1 * u2 - s12 * u1) / determinant
    gain = u1 * hit1 + u2 * hit2
    if hit1 + hit2 <= 0.0:
        return gain / NEGATIVE
    if B < c1 * hit1 + c2 * hit2:
        determinant = q1 * q2 - beside * beside
        hit1, hit2 = (q2 * b1 - beside * b2) / determinant, (q1 * b2 - beside * b1) / determinant
        gain = (b1 * hit1 + b2 * hit2 if hit1 + hit2 > 0.0 else 0.0) - max(B, 0.0) ** 2 / C
    elif B < 0.0:
        gain += B * B / C
    return gain


@njit(cache=True, nogil=True, error_model="numpy")
def _find_best(i, B, C, left, threshold2, averaged, w):
    """Note the likeliest hit of an integration: its gain, in which difference, in how many. None (0) if its gain is too small."""
    best, needed, rate = 0.0, np.inf, B / C
    promising = LEAST * threshold2 - min(B, 0.0) ** 2 / C  # what the gain must be if the count rate could be negative
    before = 0.0  # what a hit in the difference before needs
    for k in range(w.alpha.size):
        if not w.use[i, k]:
            continue
        left_over, information = w.dB[i, k] - rate * w.dC[i, k], w.inverse[i, k] - w.dC[i, k] ** 2 / C
        need = threshold2 * min(max(w.alpha[k] * information, LEAST), MOST)
        if left_over * left_over > promising * information:
            gain = _one_hit(i, k, B, C, left_over, information, w)
            if gain > best:
                best, needed, w.first[i], w.count[i] = gain, need, k, 1
        if k and w.use[i, k - 1] and averaged[k - 1] and left > 2:
            gain = _two_hits(i, k - 1, B, C, w) - TWO_MORE
            if gain > best:
                best, needed, w.first[i], w.count[i] = gain, max(need, before), k - 1, 2
        before = need
    w.best[i] = best if best > needed else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _take_out(w):
    """Take out the likeliest hit of all, and those of other integrations that come near; returns how many differences go."""
    limit, gone = TOGETHER * w.best.max(), 0
    for i in range(w.best.size):
        if w.best[i] > 0.0 and w.best[i] >= limit:
            for k in range(w.first[i], w.first[i] + w.count[i]):
                w.use[i, k] = False
            gone += w.count[i]
    return gone


@njit(cache=True, nogil=True, error_model="numpy")
def _solve_all(w):
    """The sums B and C of all integrations: their differences share the count rate, and no noise."""
    B, C = 0.0, 0.0
    for i in range(w.d.shape[0]):
        b, c = _solve(i, w)
        B, C = B + b, C + c
    return B, C


@njit(cache=True, nogil=True, error_model="numpy")
def _search(rate, left, gain, noise2, covariance, threshold2, w):
    """Take hits out of `use`, which has `left` differences; from a guess of the count rate to the one without hits."""
    while left > 1:
        _set_covariance(max(rate, 0.0), gain, noise2, covariance, w)
        B, C = _solve_all(w)
        for i in range(w.d.shape[0]):
            _find_best(i, B, C, left, threshold2, covariance.averaged, w)
        gone = _take_out(w)
        if not gone:
            break
        left -= gone
        B, C = _solve_all(w)
        rate = B / C
    return rate


@njit(cache=True, nogil=True, error_model="numpy")
def _gather(sci, groupdq, time, y, x0, bad, jump, d, use, ordered, left):
    """Fill d and use, (col, int, difference), of a tile; sort the usable ones to the top of `ordered`, (difference, col), and count them.

    A difference that ends in a jump that is known already is not used.
    """
    nints, ngroups = sci.shape[:2]
    left[:] = 0
    for i in range(nints):
        for g in range(1, ngroups):
            values, last = sci[i, g, y, x0 : x0 + left.size], sci[i, g - 1, y, x0 : x0 + left.size]
            flags, before = groupdq[i, g, y, x0 : x0 + left.size], groupdq[i, g - 1, y, x0 : x0 + left.size]
            row = ordered[i * (ngroups - 1) + g - 1]
            for x in range(left.size):
                value = (float(values[x]) - float(last[x])) / time[g - 1]
                usable = value == value and not flags[x] & (bad | jump) and not before[x] & bad
                d[x, i, g - 1], use[x, i, g - 1] = value, usable
                row[x] = np.float32(value) if usable else INF32
                left[x] += usable
    sort_columns(ordered, ordered.shape[0])


@njit(cache=True, nogil=True, error_model="numpy")
def _note(bits, y, k, x):
    bits[y, k // 8, x] |= np.uint8(1 << (k % 8))


@njit(cache=True, nogil=True, error_model="numpy")
def _flag(groupdq, gathered, rate, gain, time, y, x, jump, neighbours, sizes, seeds, large, very_large, w):
    """Flag the groups after the hits, and note which hits reach to the neighbours and which differences are large."""
    nints, n = w.d.shape
    for i in range(nints):
        for k in range(n):
            excess = w.d[i, k] - rate
            if gathered[i, k] and not w.use[i, k]:
                groupdq[i, k + 1, y, x] |= jump
                if seeds.size and neighbours[0] < abs(excess) / np.sqrt(w.alpha[k]) < neighbours[1]:
                    _note(seeds, y, i * n + k, x)
            if large.size:
                if excess * time[k] * gain >= sizes[0]:
                    _note(large, y, i * n + k, x)
                if excess * time[k] * gain >= sizes[1]:
                    _note(very_large, y, i * n + k, x)


@njit(cache=True, nogil=True, error_model="numpy")
def _work(nints, n):
    cube, line = (nints, n), np.empty((3, n))
    return Work(
        np.empty(cube),
        np.empty(cube, np.bool_),
        line[0],
        line[1],
        line[2],
        np.empty(cube),
        np.empty(cube),
        np.empty(cube),
        np.empty(cube),
        np.empty(nints),
        np.empty(nints, np.int64),
        np.empty(nints, np.int64),
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _row(sci, groupdq, gain, readnoise, covariance, y, threshold, bad, jump, neighbours, sizes, seeds, large, very_large):
    """One row of pixels, a tile of columns at a time."""
    nints, nx, n = sci.shape[0], sci.shape[3], covariance.time.size
    widest = max(8, min(TILE, 16384 // (nints * n)))
    gathered, usable, work = np.empty((widest, nints, n)), np.empty((widest, nints, n), np.bool_), _work(nints, n)
    for x0 in range(0, nx, widest):
        left = np.empty(min(widest, nx - x0), np.int64)
        ordered = np.empty((nints * n, left.size), np.float32)
        _gather(sci, groupdq, covariance.time, y, x0, bad, jump, gathered, usable, ordered, left)
        for j in range(left.size):
            x = x0 + j
            noise2 = 0.5 * float(readnoise[y, x]) ** 2
            if left[j] > 1 and gain[y, x] > 0.0 and noise2 >= 0.0:
                work.d[:], work.use[:] = gathered[j], usable[j]
                rate = float(ordered[(left[j] - 1) // 2, j])  # of the middle two the smaller: the better guess if there was a hit
                rate = _search(rate, left[j], float(gain[y, x]), noise2, covariance, threshold * threshold, work)
                _flag(groupdq, usable[j], rate, gain[y, x], covariance.time, y, x, jump, neighbours, sizes, seeds, large, very_large, work)


@njit(parallel=True, cache=True, nogil=True, error_model="numpy")
def find(sci, groupdq, gain, readnoise, covariance, threshold, bad, jump, neighbours, sizes, seeds, large, very_large):
    """Flag the groups that a hit comes before; after a hit within a group of several reads that group and the next.

    Parameters
    ----------
    sci : ndarray of float32, (int, group, row, col), DN
    groupdq : ndarray of uint8, the same shape
        Changed: `jump` is set in the group after the hit. Differences that end in a group with it are left out.
    gain : ndarray of float32, (row, col), electrons/DN
    readnoise : ndarray of float32, (row, col), DN
        Of the difference of two frames.
    covariance : likely_ramp.Covariance
        Of the differences.
    threshold : float
        Size of hits that are looked for, in terms of the noise of one difference. What chi squared must gain is what such a hit
        brings, but no less than 8/9 and no more than 4/3 of threshold^2.
    bad : uint8
        Bits of groups that are not looked at.
    jump : uint8
        Bit to set.
    neighbours : tuple of float
        Hits between these, in terms of the noise of one difference, are noted in `seeds`.
    sizes : tuple of float, electrons
        Differences of at least these above the count rate are noted in `large` and `very_large`.
    seeds, large, very_large : ndarray of uint8, (row, word, col)
        Changed: bits of differences as in `twopoint_jump`; empty where they are not wanted.
    """
    for y in prange(sci.shape[2]):
        _row(sci, groupdq, gain, readnoise, covariance, y, threshold, bad, jump, neighbours, sizes, seeds, large, very_large)
