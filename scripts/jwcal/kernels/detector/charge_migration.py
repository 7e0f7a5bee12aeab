"""Flag groups whose charge spills over to the pixels beside them."""

import numpy as np
from numba import njit, prange


@njit(cache=True, nogil=True)
def _first_bright(sci, groupdq, threshold, do_not_use, y, x):
    """First group of a pixel above the threshold whose flag is not exactly `do_not_use`; the number of groups where there is none."""
    for g in range(sci.shape[0]):
        if sci[g, y, x] > threshold and groupdq[g, y, x] != do_not_use:
            return g
    return sci.shape[0]


@njit(cache=True, nogil=True, parallel=True)
def flag_charge_migration(sci, groupdq, threshold, do_not_use, flags):
    """Flag a pixel and its 4 neighbours from the first group on in which the pixel is above the threshold, in place.

    Parameters
    ----------
    sci : (int, group, row, col) float32
    groupdq : (int, group, row, col) uint8
    threshold : float
    do_not_use, flags : int
        A group with exactly the first flag doesn't count; the bits that are added.

    Returns
    -------
    int
        Pixels above the threshold, in all integrations.
    """
    nints, ngroups, ny, nx = sci.shape
    threshold, do_not_use, flags = np.float32(threshold), np.uint8(do_not_use), np.uint8(flags)
    first = np.empty((nints, ny, nx), np.uint16)
    found = np.zeros(nints * ny, np.int64)
    for line in prange(nints * ny):
        i, y = line // ny, line % ny
        for x in range(nx):
            first[i, y, x] = _first_bright(sci[i], groupdq[i], threshold, do_not_use, y, x)
            found[line] += first[i, y, x] < ngroups
    for line in prange(nints * ny):
        i, y = line // ny, line % ny
        for x in range(nx):
            start = first[i, y, x]
            start = min(start, first[i, y, x - 1]) if x > 0 else start
            start = min(start, first[i, y, x + 1]) if x < nx - 1 else start
            start = min(start, first[i, y - 1, x]) if y > 0 else start
            start = min(start, first[i, y + 1, x]) if y < ny - 1 else start
            for g in range(start, ngroups):
                groupdq[i, g, y, x] |= flags
    return found.sum()
