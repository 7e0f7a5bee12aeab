"""Count rates by maximum likelihood, with a search for jumps: Brandt 2024, PASP 136, 045004 (I: the fit) and 045005 (II: jumps).

The data are the differences of neighbouring groups over their time, d, whose covariance matrix has a diagonal, alpha, and one
diagonal beside it, beta; both have a part from photons, which grows with the count rate, and a part from reads. Names are the papers'.
All in double precision; rates in DN/s.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from . import likely_plain
from .likely_plain import TILE
from .ols_ramp import Bits, Planes, Ramps  # noqa: F401 - what `fit_ramps` is given

ONE_OMIT, TWO_OMIT = 20.25, 23.8  # gain in chi squared that leaving out one difference, or two in a row, must bring
CHECKED_EVERY = 10  # differences: so often the sign of a determinant is looked at
FEW = 24  # differences: so many are best sorted one by one


class Covariance(NamedTuple):
    """Of differences, for a count rate and a read noise of one (I, equations 28 and 29)."""

    time: np.ndarray  # s, between the middles of neighbouring groups
    alpha_photons: np.ndarray
    alpha_reads: np.ndarray
    beta_photons: np.ndarray
    beta_reads: np.ndarray
    averaged: np.ndarray  # whether the group between two differences has several reads: a hit in it spoils both


class Work(NamedTuple):
    """Arrays that one pixel after the other is worked on in."""

    d: np.ndarray
    use: np.ndarray  # 1.0 or 0.0
    alpha: np.ndarray
    beta: np.ndarray
    link: np.ndarray
    dC: np.ndarray
    dB: np.ndarray
    q: np.ndarray  # diagonal of the inverse
    one: np.ndarray  # chi squared without one difference
    rate_one: np.ndarray
    flags: np.ndarray


def covariance(read_times):
    """Covariance of differences from when each group was read.

    Parameters
    ----------
    read_times : list of array_like
        Times of the reads that are averaged to each group, s.

    Returns
    -------
    Covariance
    """
    n = np.array([len(times) for times in read_times], float)
    mean = np.array([np.mean(times) for times in read_times])
    # time weighted with what a photon at that time adds to the variance (I, equation 11)
    tau = np.array([np.sum((2 * len(t) + 1 - 2 * np.arange(1, len(t) + 1)) * np.asarray(t)) / len(t) ** 2 for t in read_times])
    time = np.diff(mean)
    return Covariance(
        time=time,
        alpha_photons=(tau[:-1] + tau[1:] - 2 * mean[:-1]) / time**2,
        alpha_reads=(1 / n[:-1] + 1 / n[1:]) / time**2,
        beta_photons=(mean[1:-1] - tau[1:-1]) / (time[1:] * time[:-1]),
        beta_reads=-1 / (n[1:-1] * time[1:] * time[:-1]),
        averaged=n[1:-1] > 1,
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _set_covariance(rate, gain, noise2, covariance, w):
    """Fill alpha and beta; all NaN where a gain below zero makes a determinant negative, which no covariance has."""
    n = w.d.size
    photons = rate / gain
    for i in range(n):
        w.alpha[i] = photons * covariance.alpha_photons[i] + noise2 * covariance.alpha_reads[i]
    for i in range(n - 1):
        w.beta[i] = photons * covariance.beta_photons[i] + noise2 * covariance.beta_reads[i]
    if not gain > 0.0:
        pivot, determinant = w.alpha[0], w.alpha[0]
        for i in range(1, n):
            pivot = w.alpha[i] - w.beta[i - 1] ** 2 / pivot
            determinant *= pivot
            if (i + 1) % CHECKED_EVERY == 0 or i == n - 1:
                if determinant < 0.0:
                    w.alpha[:] = np.nan
                determinant = 1.0
    for i in range(n - 1):
        w.beta[i] *= w.use[i] * w.use[i + 1]


@njit(cache=True, nogil=True, error_model="numpy")
def _solve(w):
    """The sums A, B, C of the fit (I, equations 61 to 63), and their parts dC and dB (II), from the differences in use.

    By elimination, covariance = L D L' with `link` beside L's diagonal and 1 / `pivot` in D: unlike determinants, pivots keep
    their size however long the ramp is.
    """
    n = w.d.size
    A, B, C = 0.0, 0.0, 0.0
    link, y, z = 0.0, 0.0, 0.0
    for i in range(n):
        left_over = w.alpha[i] - link * w.beta[i - 1] if i else w.alpha[0]
        pivot = 1.0 / left_over
        y, z = w.d[i] * w.use[i] - link * y, w.use[i] - link * z
        A += y * y * pivot
        B += y * z * pivot
        C += z * z * pivot
        w.dB[i], w.dC[i], w.q[i] = y * pivot, z * pivot, pivot
        if i < n - 1:
            link = w.beta[i] * pivot
            w.link[i] = link
    for i in range(n - 2, -1, -1):
        link = w.link[i]
        w.dB[i] -= link * w.dB[i + 1]
        w.dC[i] -= link * w.dC[i + 1]
        w.q[i] += link * link * w.q[i + 1]
    return A, B, C


@njit(cache=True, nogil=True, error_model="numpy")
def _without_one(i, A, B, C, w):
    """Chi squared and count rate where difference i is left out (II, section 3.1)."""
    q, dC, dB = w.q[i], w.dC[i], w.dB[i]
    a = (q * B - dB * dC) / (C * q - dC * dC)
    b = (dB - a * dC) / q
    return A + a * a * C - 2.0 * a * B + b * b * q - 2.0 * b * dB + 2.0 * a * b * dC, a


@njit(cache=True, nogil=True, error_model="numpy")
def _without_two(i, A, B, C, w):
    """The same where differences i and i + 1 are left out (II, section 3.2)."""
    q1, q2, q12 = w.q[i], w.q[i + 1], -w.link[i] * w.q[i + 1]
    dC1, dC2, dB1, dB2 = w.dC[i], w.dC[i + 1], w.dB[i], w.dB[i + 1]
    f1, f2, g = dC1 * dC1 - C * q1, dC2 * dC2 - C * q2, dC1 * dC2 - C * q12
    h1, h2 = B * dC1 - dB1 * C, B * dC2 - dB2 * C
    c = (h1 * g - h2 * f1) / (g * g - f2 * f1)
    b = (h1 - c * g) / f1
    a = (B - b * dC1 - c * dC2) / C
    chi2 = A + a * a * C + b * b * q1 + c * c * q2
    chi2 -= 2.0 * a * B + 2.0 * b * dB1 + 2.0 * c * dB2
    return chi2 + 2.0 * a * b * dC1 + 2.0 * a * c * dC2 + 2.0 * b * c * q12, a


@njit(cache=True, nogil=True, error_model="numpy")
def _drop_worst(A, B, C, covariance, w):
    """Leave out the difference, or the two in a row, that chi squared gains most from; returns the count rate without, or NaN for none.

    At least two must remain: one difference fits any rate, so which ones are left out would be chance.
    """
    chi2, rate = A - B * B / C, B / C
    n, left = w.d.size, w.use.sum()
    if left < 3:
        return np.nan
    best_one, best_two, at_one, at_two, rate_two = -np.inf, -np.inf, -1, -1, np.nan
    for i in range(n):
        w.one[i], w.rate_one[i] = _without_one(i, A, B, C, w) if w.use[i] else (chi2, rate)
        gained = chi2 - w.one[i]
        if not gained == gained:
            return np.nan
        if gained > best_one:
            best_one, at_one = gained, i
    for i in range(n - 1):
        if left < 4 or not covariance.averaged[i]:
            continue
        if w.use[i] and w.use[i + 1]:
            two, a = _without_two(i, A, B, C, w)
        else:
            k = i if w.use[i] else i + 1
            two, a = w.one[k], w.rate_one[k]
        gained = chi2 - two
        if not gained == gained:
            return np.nan
        if gained > best_two:
            best_two, at_two, rate_two = gained, i, a
    if best_one - ONE_OMIT > max(best_two, 0.0) - TWO_OMIT:
        if best_one > ONE_OMIT:
            w.use[at_one] = 0.0
            return w.rate_one[at_one]
    elif best_two > TWO_OMIT:
        w.use[at_two] = w.use[at_two + 1] = 0.0
        return rate_two
    return np.nan


@njit(cache=True, nogil=True, error_model="numpy")
def _median(values, ordered):
    """The median of a few values; `ordered` is overwritten."""
    n = values.size
    if n > FEW:
        return np.median(values)
    for i in range(n):
        k, value = i, values[i]
        while k > 0 and ordered[k - 1] > value:
            ordered[k] = ordered[k - 1]
            k -= 1
        ordered[k] = value
    return 0.5 * (ordered[(n - 1) // 2] + ordered[n // 2])


@njit(cache=True, nogil=True, error_model="numpy")
def _search_jumps(gain, noise2, covariance, w):
    """Leave out differences with jumps, one or two at a time; returns the count rate that the noise is then taken from."""
    guess = max(_median(w.d, w.one), 0.0)
    rate = np.nan
    for turn in range(w.d.size):
        _set_covariance(guess, gain, noise2, covariance, w)
        A, B, C = _solve(w)
        if turn == 0:
            rate = B / C
        if gain > 0.0 and not A - B * B / C > ONE_OMIT:  # there is no more to gain than all of it
            break
        without = _drop_worst(A, B, C, covariance, w)
        if not without == without:
            break
        rate = without
        if w.use.sum() <= 3:
            break
    return rate


@njit(cache=True, nogil=True, error_model="numpy")
def _fit(rate, gain, noise2, covariance, w):
    """The fit, with the noise of a given count rate: count rate, its error, its variances from photons and from reads, chi squared."""
    n = w.d.size
    _set_covariance(rate, gain, noise2, covariance, w)
    A, B, C = _solve(w)
    photons, reads = 0.0, 0.0
    for i in range(n):
        weight = w.dC[i] / C
        photons += weight * weight * covariance.alpha_photons[i]
        reads += weight * weight * covariance.alpha_reads[i]
        if i:
            both = 2.0 * weight * w.dC[i - 1] / C
            photons += both * covariance.beta_photons[i - 1]
            reads += both * covariance.beta_reads[i - 1]
    return B / C, math.sqrt(1.0 / C), photons * rate / gain, reads * noise2, A - B * B / C


@njit(cache=True, nogil=True, error_model="numpy")
def _take(ramps, i, y, x, nframes, covariance, w):
    """Fill d and use of one ramp. A zero frame is a group of its own, of one read, that the first group does not have any more."""
    ngroups, extra = ramps.sci.shape[1], 1 if ramps.zeroframe.size else 0
    last, bad = np.float32(0), True
    for g in range(ngroups + extra):
        flag = ramps.groupdq[i, max(g - extra, 0), y, x]
        w.flags[g] = flag
        value = ramps.sci[i, max(g - extra, 0), y, x]
        if extra and g < 2:
            zero = ramps.zeroframe[i, y, x]
            flag = flag if zero != 0.0 else np.uint8(1)
            value = zero if g == 0 else (value * np.float32(nframes) - zero) / np.float32(nframes - 1)
        if g:
            d = float(value - last) / covariance.time[g - 1]
            usable = d == d and not flag and not bad
            w.use[g - 1] = 1.0 if usable else 0.0
            w.d[g - 1] = d if d == d else 0.0
        last, bad = value, flag != 0


@njit(cache=True, nogil=True, error_model="numpy")
def _quality(w, bits):
    """What the flags of a ramp's groups say about its rate."""
    invalid = bits.do_not_use | bits.saturated
    any_flag, unusable = np.uint8(0), True
    for flag in w.flags:
        any_flag |= flag
        unusable &= (flag & invalid) != 0
    return (any_flag & (bits.saturated | bits.jump)) | (bits.do_not_use if unusable else np.uint8(0))


@njit(cache=True, nogil=True, error_model="numpy")
def _put(i, y, x, slope, err, photons, reads, misfit, quality, bits, ints, chi2):
    """Write what was found of a ramp."""
    ints.sci[i, y, x], ints.err[i, y, x] = slope, err
    ints.var_poisson[i, y, x], ints.var_rnoise[i, y, x] = photons, reads
    dq = ints.dq[i, y, x] | quality
    ints.dq[i, y, x] = dq if slope == slope else dq | bits.do_not_use
    if chi2.size:
        chi2[y, x] += misfit


@njit(cache=True, nogil=True, error_model="numpy")
def _one_ramp(ramps, i, y, x, nframes, covariance, bits, ints, chi2, w):
    """Fit one ramp."""
    gain = float(ramps.gain[y, x])
    noise2 = (ramps.readnoise[y, x] / math.sqrt(2.0)) ** 2
    _take(ramps, i, y, x, nframes, covariance, w)
    before = w.use.copy()
    rate = _search_jumps(gain, noise2, covariance, w)
    for k in range(before.size):
        if before[k] != w.use[k]:
            w.flags[k + 1] |= bits.jump
    rate = max(rate, 0.0) + (ramps.dark[y, x] if ramps.dark.size else 0.0)
    slope, err, photons, reads, misfit = _fit(rate, gain, noise2, covariance, w)
    _put(i, y, x, slope, err, photons, reads, misfit, _quality(w, bits), bits, ints, chi2)


@njit(cache=True, nogil=True, error_model="numpy")
def _tile(ramps, i, y, x0, width, nframes, covariance, bits, ints, chi2, w, t):
    """Fit the ramps of a tile in one integration: together, and once more one by one where there may be a jump."""
    invalid = bits.do_not_use | bits.saturated
    any_flag, usable, settled = np.empty(TILE, np.uint8), np.empty(TILE, np.uint8), np.empty(TILE, np.uint8)
    slope, err, misfit, dark = np.empty(TILE), np.empty(TILE), np.empty(TILE), np.zeros(TILE)
    if ramps.dark.size:
        dark[:width] = ramps.dark[y, x0 : x0 + width]
    likely_plain.load(ramps, i, y, x0, width, covariance, invalid, t, any_flag, usable)
    likely_plain.fit(covariance, dark, ONE_OMIT, t, settled, slope, err, misfit)
    gain, photons, reads = (
        likely_plain.row(t, likely_plain.GAIN),
        likely_plain.row(t, likely_plain.VAR_P),
        likely_plain.row(t, likely_plain.VAR_R),
    )
    for x in range(width):
        if settled[x] and gain[x] > 0.0:
            quality = (any_flag[x] & (bits.saturated | bits.jump)) | (np.uint8(0) if usable[x] else bits.do_not_use)
            _put(i, y, x0 + x, slope[x], err[x], photons[x], reads[x], misfit[x], quality, bits, ints, chi2)
        else:
            _one_ramp(ramps, i, y, x0 + x, nframes, covariance, bits, ints, chi2, w)


@njit(cache=True, nogil=True, error_model="numpy")
def _combine(y, x, bits, rate, ints, photons, weight):
    """The mean over integrations, weighted by variances whose photon part is that of the mean; two rounds from the median."""
    nints = ints.sci.shape[0]
    dq, unusable, measured = np.uint32(0), True, 0
    for i in range(nints):
        dq |= ints.dq[i, y, x]
        unusable &= (ints.dq[i, y, x] & bits.do_not_use) != 0
        if ints.sci[i, y, x] == ints.sci[i, y, x]:
            weight[measured] = ints.sci[i, y, x]
            measured += 1
    rate.dq[y, x] = dq if unusable else dq & ~np.uint32(bits.do_not_use)
    if nints == 1 or not measured:
        rate.sci[y, x], rate.err[y, x] = ints.sci[0, y, x], ints.err[0, y, x]
        rate.var_poisson[y, x], rate.var_rnoise[y, x] = ints.var_poisson[0, y, x], ints.var_rnoise[0, y, x]
        return
    slope = np.median(weight[:measured])
    for _ in range(2):
        total, norm = 0.0, 0.0
        for i in range(nints):
            ratio = slope / float(ints.sci[i, y, x])
            photons[i] = ints.var_poisson[i, y, x] * (ratio if 0.0 <= ratio < np.inf else 0.0)
            weight[i] = 1.0 / (photons[i] + ints.var_rnoise[i, y, x])
            if weight[i] == weight[i]:
                norm += weight[i]
                total += weight[i] * ints.sci[i, y, x]
        slope = total / norm
    variance_p, variance_r = 0.0, 0.0
    for i in range(nints):
        if weight[i] == weight[i]:
            variance_p += photons[i] * (weight[i] / norm) ** 2
            variance_r += ints.var_rnoise[i, y, x] * (weight[i] / norm) ** 2
    rate.sci[y, x], rate.err[y, x] = slope, math.sqrt(variance_p + variance_r)
    rate.var_poisson[y, x], rate.var_rnoise[y, x] = variance_p, variance_r


@njit(cache=True, nogil=True, error_model="numpy")
def _work(n):
    return Work(
        np.empty(n),
        np.empty(n),
        np.empty(n),
        np.empty(n - 1),
        np.empty(n - 1),
        np.empty(n),
        np.empty(n),
        np.empty(n),
        np.empty(n),
        np.empty(n),
        np.empty(n + 1, np.uint8),
    )


@njit(parallel=True, cache=True, nogil=True, error_model="numpy")
def fit_ramps(ramps, nframes, covariance, bits, rate, ints, chi2):
    """Count rates of all ramps, integration by integration and together.

    Parameters
    ----------
    ramps : Ramps
        Four groups or more. The dark current is added to the count rate that the noise is taken from.
    nframes : int
        Frames averaged to a group; with zero frames at least two.
    covariance : Covariance
        Of the differences of the groups, or of the zero frame and the groups without it.
    bits : Bits
    rate, ints : Planes
        Changed: the products, (row, col) and (int, row, col). The dq of `ints` holds the quality of the pixels.
    chi2 : (row, col) float32
        Changed: chi squared of the integrations is added to it. Empty where that is not wanted.
    """
    nints, _, ny, nx = ramps.sci.shape
    n = covariance.time.size
    together = nx if not ramps.zeroframe.size else 0  # columns that are fitted in tiles
    for row in prange(ny):
        y = np.intp(row)  # as in ols_ramp
        w, t, photons, weight = _work(n), likely_plain.tile_of(n), np.empty(nints), np.empty(nints)
        for i in range(nints):
            for x0 in range(0, together, TILE):
                _tile(ramps, i, y, x0, min(TILE, nx - x0), nframes, covariance, bits, ints, chi2, w, t)
            for x in range(together, nx):
                _one_ramp(ramps, i, y, x, nframes, covariance, bits, ints, chi2, w)
        for x in range(nx):
            _combine(y, x, bits, rate, ints, photons, weight)
