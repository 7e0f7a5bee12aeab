"""Flag what a jump spoils beside the group after it: its neighbours, and the groups that follow."""

import numpy as np
from numba import njit, prange


@njit(cache=True, nogil=True, error_model="numpy")
def _join(above, below, row, near):
    """The bits of the pixels above, below, left and right."""
    last = row.size - 1
    for x in range(1, last):
        near[x] = above[x] | below[x] | row[x - 1] | row[x + 1]
    near[0] = above[0] | below[0] | (row[1] if last else 0)
    if last:
        near[last] = above[last] | below[last] | row[last - 1]


@njit(cache=True, nogil=True, error_model="numpy")
def _flag_neighbours(groupdq, seeds, y, bad, jump):
    """Flag the groups of a row whose pixel above, below, left or right is a seed."""
    ny, nwords, nx = seeds.shape
    ndiffs = groupdq.shape[1] - 1
    near, none = np.zeros(-(-nx // 8) * 8, np.uint8), np.zeros(nx, np.uint8)
    eights = near.view(np.uint64)  # eight pixels at once: there are few seeds
    for w in range(nwords):
        _join(seeds[y - 1, w] if y > 0 else none, seeds[y + 1, w] if y < ny - 1 else none, seeds[y, w], near[:nx])
        for eight in range(eights.size):
            if eights[eight] == 0:
                continue
            for x in range(8 * eight, min(8 * eight + 8, nx)):
                for b in range(8 if near[x] else 0):
                    if near[x] >> b & 1:
                        i, g = (8 * w + b) // ndiffs, (8 * w + b) % ndiffs + 1
                        if not groupdq[i, g, y, x] & bad:
                            groupdq[i, g, y, x] |= jump


@njit(cache=True, nogil=True, error_model="numpy")
def _flag_transients(groupdq, large, very_large, lengths, y, bad, jump):
    """Flag the groups of a row that come after large jumps."""
    nints, ngroups, _, nx = groupdq.shape
    jumped = np.empty(nx, np.uint8)
    for i in range(nints):
        jumped[:] = 0
        for g in range(1, ngroups):
            jumped |= groupdq[i, g, y]
        for x in range(nx):
            if not jumped[x] & jump:
                continue
            until = 0
            for g in range(1, ngroups):
                k = i * (ngroups - 1) + g - 1
                if groupdq[i, g, y, x] & jump:
                    if large[y, k // 8, x] >> (k % 8) & 1:
                        until = max(until, g + lengths[0])
                    if very_large[y, k // 8, x] >> (k % 8) & 1:
                        until = max(until, g + lengths[1])
                if g <= until and not groupdq[i, g, y, x] & bad:
                    groupdq[i, g, y, x] |= jump


@njit(cache=True, nogil=True, error_model="numpy")
def spread_row(groupdq, y, earlier, seeds, large, very_large, lengths, bad, jump):
    """`spread_jumps` in one row, when those above and below have been searched for jumps; `earlier` is the row's."""
    if seeds.size:
        _flag_neighbours(groupdq, seeds, y, bad, jump)
    if large.size:
        _flag_transients(groupdq, large, very_large, lengths, y, bad, jump)
    for i in range(groupdq.shape[0] if earlier else 0):
        for g in range(groupdq.shape[1]):
            flags = groupdq[i, g, y]
            for x in range(flags.size):
                flags[x] &= ~jump if flags[x] & bad else np.uint8(255)


@njit(parallel=True, cache=True, nogil=True, error_model="numpy")
def spread_jumps(groupdq, earlier, seeds, large, very_large, lengths, bad, jump):
    """Flag the four neighbours of jumps and the groups after large ones; drop an earlier flag where the group is bad anyway.

    Parameters
    ----------
    groupdq : ndarray of uint8, (int, group, row, col)
        Changed.
    earlier : ndarray of bool, (row,)
        Whether a group may have had the flag before jumps were looked for; who looks for them flags no bad group.
    seeds, large, very_large : ndarray of uint8, (row, word, col)
        As `twopoint_jump.detect_jumps` left them.
    lengths : tuple of int
        Groups to flag after a jump that is (large, very large).
    bad, jump : uint8
    """
    for row in prange(groupdq.shape[2]):
        y = np.intp(row)  # prange counts unsigned inside: as it is, all that is called would be compiled a second time
        spread_row(groupdq, y, earlier[y], seeds, large, very_large, lengths, bad, jump)
