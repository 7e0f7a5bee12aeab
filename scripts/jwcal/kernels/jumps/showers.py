"""Faint extended events: how far the differences of groups stick out, averaged over a ring; and what flagging them does to the rate."""

import math

import numpy as np
from numba import njit, prange

from ..columns.sort_columns import median_of_sorted, sort_columns, tile

TILE = 64  # columns that are worked on together
NAN32, INF32 = np.float32(np.nan), np.float32(np.inf)


@njit(cache=True, nogil=True)
def _electrons(value, flags, gain, bad):
    return NAN32 if flags & bad else value * gain


@njit(cache=True, nogil=True, error_model="numpy")
def _sorted_differences(sci, groupdq, gain, y, x0, bad, s, n):
    """Sort the differences of a tile in electrons into s, (difference, column), and count them in n."""
    nints, ngroups = sci.shape[:2]
    width, k = n.size, 0
    last = np.empty(width, np.float32)
    n[:] = 0
    for i in range(nints):
        for g in range(ngroups):
            values, flags, gains = sci[i, g, y, x0 : x0 + width], groupdq[i, g, y, x0 : x0 + width], gain[y, x0 : x0 + width]
            for x in range(width):
                value = _electrons(values[x], flags[x], gains[x], bad)
                if g > 0:
                    difference = value - last[x]
                    usable = difference == difference
                    n[x] += usable
                    s[k, x] = difference if usable else INF32
                last[x] = value
            k += g > 0
    sort_columns(s, s.shape[0])


@njit(parallel=True, cache=True, nogil=True, error_model="numpy")
def difference_noise(sci, groupdq, gain, readnoise, nframes, bad):
    """Median difference of each pixel over all integrations, and the noise of its differences.

    Parameters
    ----------
    sci : ndarray of float32, (int, group, row, col), DN
    groupdq : ndarray of uint8, the same shape
    gain : ndarray of float32, (row, col), electrons/DN
    readnoise : ndarray of float32, (row, col), DN
        Of the difference of two frames.
    nframes : int
        Frames averaged to a group.
    bad : uint8
        Bits of groups that do not count.

    Returns
    -------
    median, sigma : ndarray of float32, (row, col), electrons
        sigma^2 = |median| + (gain x readnoise)^2 / nframes.
    """
    nints, ngroups, ny, nx = sci.shape
    median, sigma = np.full((ny, nx), NAN32), np.full((ny, nx), NAN32)
    frames = np.float32(nframes)
    for row in prange(ny):
        y = np.intp(row)  # as in ols_ramp
        ordered, counts = np.empty(nints * (ngroups - 1) * TILE, np.float32), np.empty(TILE, np.int64)
        for x0 in range(0, nx, TILE):
            width = min(TILE, nx - x0)
            s, n = tile(ordered, nints * (ngroups - 1), width), counts[:width]
            _sorted_differences(sci, groupdq, gain, y, x0, bad, s, n)
            for x in range(width):
                if n[x]:
                    noise = readnoise[y, x0 + x] * gain[y, x0 + x]
                    middle = np.float32(median_of_sorted(s, x, 0, n[x]))
                    median[y, x0 + x] = middle
                    sigma[y, x0 + x] = math.sqrt(abs(middle) + noise * noise / frames)
    return median, sigma


@njit(parallel=True, cache=True, nogil=True, error_model="numpy")
def deviations(sci, groupdq, g, gain, median, sigma, hidden, bad):
    """How far the difference before group g of one integration is from its median, in sigma.

    Parameters
    ----------
    sci : ndarray of float32, (group, row, col), DN
    groupdq : ndarray of uint8, the same shape
    g : int
    gain, median, sigma : ndarray, (row, col)
    hidden : ndarray of bool, (row, col)
        Pixels that are not looked at.
    bad : uint8
        Bits of groups that do not count.

    Returns
    -------
    ndarray of float32, (row, col)
        NaN where there is none.
    """
    ny, nx = median.shape
    out = np.empty((ny, nx), median.dtype)
    for row in prange(ny):
        y = np.intp(row)
        for x in range(nx):
            now = _electrons(sci[g, y, x], groupdq[g, y, x], gain[y, x], bad)
            last = _electrons(sci[g - 1, y, x], groupdq[g - 1, y, x], gain[y, x], bad)
            out[y, x] = np.nan if hidden[y, x] else abs(now - last - median[y, x]) / sigma[y, x]
    return out


@njit(cache=True, nogil=True)
def _running_sums(values, margin, total, count):
    """Sums of the finite values of a line before each column, and how many there are; beyond its ends there are `margin` zeros."""
    nx = values.size
    sum_, n = 0.0, 0
    for x in range(margin + 1):
        total[x], count[x] = 0.0, x
    for x in range(nx):
        good = np.isfinite(values[x])
        sum_ += float(values[x]) if good else 0.0
        n += good
        total[margin + 1 + x], count[margin + 1 + x] = sum_, margin + n
    for x in range(margin):
        total[margin + 1 + nx + x], count[margin + 1 + nx + x] = sum_, margin + n + x + 1


@njit(parallel=True, cache=True, nogil=True)
def _all_running_sums(values, margin):
    """`_running_sums` of all rows, (row, column + 2 margins + 1)."""
    ny, nx = values.shape
    total, count = np.empty((ny, nx + 2 * margin + 1)), np.empty((ny, nx + 2 * margin + 1), np.int32)
    for row in prange(ny):
        y = np.intp(row)
        _running_sums(values[y], margin, total[y], count[y])
    return total, count


@njit(cache=True, nogil=True, error_model="numpy")
def _add_difference(to, after, before):
    for x in range(to.size):
        to[x] += after[x] - before[x]


@njit(cache=True, nogil=True, error_model="numpy")
def _ring_sums(total, count, ring, y, margin, mean, n):
    """Sum of the values in the ring around each pixel of a row, and how many there are."""
    mean[:], n[:] = 0.0, 0
    for k in range(len(ring)):
        dy, first, last = ring[k]
        if y + dy < 0 or y + dy >= len(total):
            n += np.int32(last - first)
            continue
        _add_difference(mean, total[y + dy, margin + last :], total[y + dy, margin + first :])
        _add_difference(n, count[y + dy, margin + last :], count[y + dy, margin + first :])


@njit(parallel=True, cache=True, nogil=True, error_model="numpy")
def stands_out(values, ring, threshold):
    """Where the mean of the finite values in a ring around a pixel is above a threshold.

    Beyond the edges of the frame there are zeros.

    Parameters
    ----------
    values : ndarray, (row, col)
    ring : ndarray of int64, (run, 3)
        The ring's rows by runs of columns: row, first column, last column + 1, counted from the middle.
    threshold : float

    Returns
    -------
    ndarray of uint8, (row, col)
        0 or 1; 0 where the value itself is not finite.
    """
    ny, nx = values.shape
    margin = ring[:, 2].max()
    total, count = _all_running_sums(values, margin)
    out = np.zeros((ny, nx), np.uint8)
    for row in prange(ny):
        y = np.intp(row)
        mean, n = np.empty(nx), np.empty(nx, np.int32)
        _ring_sums(total, count, ring, y, margin, mean, n)
        for x in range(nx):
            out[y, x] = np.isfinite(values[y, x]) and n[x] > 0 and mean[x] > threshold * n[x]
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _mean_difference(sci, flags, y, x, gain, bad):
    """Mean difference of a pixel without the groups that have a bad flag, electrons, in single precision; NaN where there is none."""
    total, n, last = np.float32(0), 0, NAN32
    for g in range(sci.shape[0]):
        value = _electrons(sci[g, y, x], flags[g, y, x], gain, bad)
        if g > 0 and value - last == value - last:
            total += value - last
            n += 1
        last = value
    return np.float32(total / n) if n else NAN32


@njit(parallel=True, cache=True, nogil=True, error_model="numpy")
def restore(sci, before, after, gain, limits, fixed, bad):
    """Take back the new flags of pixels whose rate they move too far, or leave without a rate.

    Parameters
    ----------
    sci : ndarray of float32, (group, row, col), DN
    before, after : ndarray of uint8, the same shape
        Flags; `after` is changed.
    gain : ndarray of float32, (row, col), electrons/DN
    limits : ndarray of float32, (row, col), electrons
        For the change of the mean difference.
    fixed : ndarray of bool, (row, col)
        Pixels that keep their flags.
    bad : uint8
        Bits of groups that do not count.
    """
    ngroups, ny, nx = sci.shape
    for row in prange(ny):
        y = np.intp(row)
        changed = np.zeros(nx, np.uint8)
        for g in range(ngroups):
            changed |= before[g, y] ^ after[g, y]
        for x in np.flatnonzero(changed):
            change = _mean_difference(sci, after, y, x, gain[y, x], bad) - _mean_difference(sci, before, y, x, gain[y, x], bad)
            if fixed[y, x] or not abs(change) <= limits[y, x]:
                for g in range(ngroups):
                    after[g, y, x] = before[g, y, x]
