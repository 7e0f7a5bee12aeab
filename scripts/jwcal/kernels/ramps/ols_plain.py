"""Ramps of a single segment, side by side: without any flag, but for groups at the start that are bad in all of a tile.

They are nearly all there are. They get the same bytes as from `ols_segments`. What is written for other ramps is written again.
Short loops over few arrays are functions of their own: only so does the compiler use vectors.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from ..columns.pick_columns import columns_where, copy
from ..columns.sort_columns import sort_columns
from .ols_segments import POWERS, RISES, TOO_LARGE, read_variance

SHORTEST = 3  # groups: a pair has another formula
INF32 = np.float32(np.inf)


class Known(NamedTuple):
    """What there is to know of the ramps of a tile before their samples, (column,)."""

    read_variance: np.ndarray  # as it enters the sums
    photon_variance: np.ndarray
    inverse_r: np.ndarray
    inverse_p: np.ndarray
    restored: np.ndarray  # 1 / var_r again
    variance_r: np.ndarray  # as they go into the product
    variance_p: np.ndarray
    err: np.ndarray


@njit(cache=True, nogil=True, error_model="numpy")
def _all_have(flags, bit):
    for x in range(flags.size):
        if not flags[x] & bit:
            return False
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def _gather_flags(given, flags):
    for x in range(flags.size):
        flags[x] |= given[x]


@njit(cache=True, nogil=True, error_model="numpy")
def find_plain(groupdq, y, part, do_not_use, plain):
    """Tell which ramps of an integration are plain, and from which group on.

    Parameters
    ----------
    groupdq : ndarray of uint8, (group, row, col)
    y : int
    part : slice
        The tile: row and columns.
    do_not_use : uint8
    plain : ndarray of uint8, (column,)
        Filled.

    Returns
    -------
    int
        The first group that is not bad in all of the tile.
    """
    ngroups, start = groupdq.shape[0], 0
    bad, flags = np.zeros(plain.size, np.uint8), np.zeros(plain.size, np.uint8)
    while start < ngroups and _all_have(groupdq[start, y, part], do_not_use):
        _gather_flags(groupdq[start, y, part], bad)
        start += 1
    for g in range(start, ngroups):
        _gather_flags(groupdq[g, y, part], flags)
    for x in range(plain.size):
        plain[x] = (flags[x] == 0) & ((bad[x] == do_not_use) | (start == 0)) & (ngroups - start >= SHORTEST)
    return start


# --- the median rate ----------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True, error_model="numpy")
def _subtract(now, before, out):
    """Differences of two groups; infinity where there is none."""
    for x in range(out.size):
        difference = now[x] - before[x]
        out[x] = difference if difference == difference else INF32


@njit(cache=True, nogil=True, error_model="numpy")
def _add_middle(below, above, time, plain, rate):
    for x in range(rate.size):
        median = (float(below[x]) + float(above[x])) / 2.0 / time
        rate[x] += median if plain[x] else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def add_median_rates(sci, y, part, time, s, plain, rate):
    """Add to `rate` the median difference of each plain ramp; ramps with a sample that is not finite are taken out of `plain`.

    Parameters
    ----------
    sci : ndarray of float32, (group, row, col)
    y : int
    part : slice
        The tile.
    time : float
        From group to group.
    s : ndarray of float32, (group - 1, column)
        Overwritten.
    plain : ndarray of uint8, (column,)
    rate : ndarray of float64, (column,)
        Changed.
    """
    n = s.shape[0]
    for g in range(n):
        _subtract(sci[g + 1, y, part], sci[g, y, part], s[g])
    sort_columns(s, n)
    largest = s[n - 1]
    for x in range(plain.size):
        plain[x] &= largest[x] < INF32
    _add_middle(s[(n - 1) // 2], s[n // 2], time, plain, rate)


# --- what does not depend on the samples ----------------------------------------------------------------------------------


@njit(cache=True, nogil=True, error_model="numpy")
def read_variances(length, time, gain, noise, out):
    for x in range(out.size):
        out[x] = read_variance(length, time, gain[x], noise[x])


@njit(cache=True, nogil=True, error_model="numpy")
def _photon_variances(length, time, gain, photons, out):
    for x in range(out.size):
        out[x] = photons[x] / (time * gain[x] * (length - 1))


@njit(cache=True, nogil=True, error_model="numpy")
def _inverse(variance, out):
    """1 / variance, 0 where there is none."""
    for x in range(out.size):
        out[x] = 1.0 / variance[x] if variance[x] > 0.0 else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def inverse_bounded(precision, out):
    """The variance of a precision; 0 where there is none, and where it is too large."""
    for x in range(out.size):
        variance = 1.0 / precision[x] if precision[x] > 0.0 else 0.0
        out[x] = 0.0 if variance >= TOO_LARGE else variance


@njit(cache=True, nogil=True, error_model="numpy")
def _errors(read, photon, out):
    for x in range(out.size):
        variance = 1.0 / (1.0 / (read[x] + photon[x]))
        out[x] = 0.0 if variance > TOO_LARGE else math.sqrt(variance)


@njit(cache=True, nogil=True, error_model="numpy")
def _read_precisions(variance, out):
    for x in range(out.size):
        out[x] = 1.0 / variance[x]


@njit(cache=True, nogil=True, error_model="numpy")
def _read_products(inverse_r, out):
    for x in range(out.size):
        variance = 1.0 / inverse_r[x]
        out[x] = 0.0 if variance >= TOO_LARGE else variance


@njit(cache=True, nogil=True, error_model="numpy")
def know(length, time, gain, noise, photons):
    """What there is to know of plain ramps of `length` groups.

    Parameters
    ----------
    length : int
    time : float
        From group to group, s.
    gain, noise, photons : ndarray of float64, (column,)
        Electrons/DN; electrons; DN/s.

    Returns
    -------
    Known
    """
    a = np.empty((8, gain.size))
    known = Known(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7])
    read_variances(length, time, gain, noise, known.read_variance)
    _photon_variances(length, time, gain, photons, known.photon_variance)
    _read_precisions(known.read_variance, known.inverse_r)
    _inverse(known.photon_variance, known.inverse_p)
    _read_products(known.inverse_r, known.variance_r)
    inverse_bounded(known.inverse_p, known.variance_p)
    _inverse(known.variance_r, known.restored)
    _errors(known.read_variance, known.photon_variance, known.err)
    return known


# --- the fit --------------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True, error_model="numpy")
def _places(first, last, gain, noise, place):
    """Place in POWERS of each ramp, as `ols_segments.place_of_power`."""
    for x in range(place.size):
        signal = (float(last[x]) - float(first[x])) * gain[x]
        variance = noise[x] * noise[x] + signal
        snr = 0.0 if (variance <= 0.0) | (gain[x] == 0.0) else signal / math.sqrt(variance)
        place[x] = 0
        for limit in RISES:
            place[x] += np.int32(not snr < limit)


@njit(cache=True, nogil=True, error_model="numpy")
def _add_weighted(v0, v1, v2, v3, w, total):
    """Add four samples of each ramp to its slope, one after the other."""
    w0, w1, w2, w3 = w[0], w[1], w[2], w[3]
    for x in range(total.size):
        total[x] = (((total[x] + w0 * float(v0[x])) + w1 * float(v1[x])) + w2 * float(v2[x])) + w3 * float(v3[x])


@njit(cache=True, nogil=True, error_model="numpy")
def _add_weighted_sample(v, w, total):
    for x in range(total.size):
        total[x] += w * float(v[x])


@njit(cache=True, nogil=True, error_model="numpy")
def _weighted_sums(sci, y, part, weights, total):
    """Slopes of all ramps with the same weights."""
    length, g = sci.shape[0], 0
    total[:] = 0.0
    while g + 4 <= length:
        _add_weighted(sci[g, y, part], sci[g + 1, y, part], sci[g + 2, y, part], sci[g + 3, y, part], weights[g : g + 4], total)
        g += 4
    while g < length:
        _add_weighted_sample(sci[g, y, part], weights[g], total)
        g += 1


@njit(cache=True, nogil=True, error_model="numpy")
def _take(value, place, p, out):
    for x in range(out.size):
        out[x] = value[x] if place[x] == p else out[x]


@njit(cache=True, nogil=True, error_model="numpy")
def _slopes(sci, y, part, gain, noise, weights, out):
    """Slopes per group: for each power that some ramp has, of all of them, since to pick weights takes longer than to multiply."""
    length, width = sci.shape[0], gain.size
    place, total, some = np.empty(width, np.int32), np.empty(width), np.zeros(len(POWERS), np.uint8)
    _places(sci[0, y, part], sci[length - 1, y, part], gain, noise, place)
    for x in range(width):
        some[place[x]] = 1
    for p in columns_where(some, True):
        _weighted_sums(sci, y, part, weights[p, length], total)
        _take(total, place, p, out)


@njit(cache=True, nogil=True, error_model="numpy")
def _rates(slope, variance, time, out):
    """What plain ramps add to the sum of slope / var_r."""
    for x in range(out.size):
        out[x] = 0.0 + slope[x] / time / variance[x]


@njit(cache=True, nogil=True, error_model="numpy")
def _add_used(value, plain, total):
    for x in range(total.size):
        total[x] += value[x] if plain[x] else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _multiply(a, b, out):
    for x in range(out.size):
        out[x] = a[x] * b[x]


@njit(cache=True, nogil=True, error_model="numpy")
def find_rates(sci, y, part, gain, noise, time, weights, read_variance, total):
    """Find what plain ramps of a tile add to the sum of slope / var_r.

    Parameters
    ----------
    sci : ndarray of float32, (group, row, col)
        The groups that are good.
    y, part : int, slice
        The tile.
    gain, noise : ndarray of float64, (column,)
    time : float
    weights : ndarray
    read_variance : ndarray of float64, (column,)
    total : ndarray of float64, (column,)
        Filled, also where ramps are not plain.
    """
    slope = np.empty(gain.size)
    _slopes(sci, y, part, gain, noise, weights, slope)
    _rates(slope, read_variance, time, total)


@njit(cache=True, nogil=True, error_model="numpy")
def fit_plain(total, plain, known, i, y, part, ints, sums):
    """The rates of the plain ramps of a tile in one integration.

    Parameters
    ----------
    total : ndarray of float64, (column,)
        From `find_rates`.
    plain : ndarray of uint8, (column,)
    known : Known
        For as many groups.
    i, y, part : int, int, slice
        Integration and tile.
    ints : Planes
        Changed: rates of the integrations.
    sums : Sums
        Changed.
    """
    _add_used(total, plain, sums.slope)
    _add_used(known.inverse_r, plain, sums.inverse_r)
    _add_used(known.inverse_p, plain, sums.inverse_p)
    _add_used(known.restored, plain, sums.restored)
    _multiply(total, known.variance_r, ints.sci[i, y, part])
    copy(known.err, ints.err[i, y, part])
    copy(known.variance_p, ints.var_poisson[i, y, part])
    copy(known.variance_r, ints.var_rnoise[i, y, part])
