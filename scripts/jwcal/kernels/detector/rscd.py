"""Leave out the first groups of an integration, fewer of them where a pixel saturates soon."""

import numpy as np
from numba import njit, prange


@njit(cache=True, nogil=True)
def groups_to_skip(flags, skip, saturated):
    """Groups of one ramp that can be left out with two good ones after them.

    Parameters
    ----------
    flags : (group,) uint8
    skip : int
        As many as should be left out, at most the number of groups - 2.
    saturated : int
        Bit. A ramp that is saturated from its first group on is lost anyway: `skip` stays.

    Returns
    -------
    int
    """
    if flags[0] & saturated:
        return skip
    while skip > 0 and flags[skip + 1] & saturated:
        skip -= 1
    return skip


@njit(cache=True, nogil=True, parallel=True)
def flag_first_groups(groupdq, pixeldq, skip, saturated, do_not_use, estimated):
    """Flag the first groups of each ramp, in place.

    Parameters
    ----------
    groupdq : (int, group, row, col) uint8
        `do_not_use` is added to the first groups.
    pixeldq : (row, col) uint32
        `estimated` is added where saturation left fewer than `skip` groups to flag.
    skip : int
    saturated, do_not_use, estimated : int
        Bits.

    Returns
    -------
    int
        Pixels where fewer were flagged in any integration.
    """
    nints, _, ny, nx = groupdq.shape
    saturated, do_not_use, estimated = np.uint8(saturated), np.uint8(do_not_use), np.uint32(estimated)
    lowered = np.zeros(ny, np.int64)
    for y in prange(ny):
        for x in range(nx):
            fewer = False
            for i in range(nints):
                n = groups_to_skip(groupdq[i, :, y, x], skip, saturated)
                fewer |= n < skip
                for g in range(n):
                    groupdq[i, g, y, x] |= do_not_use
            if fewer:
                pixeldq[y, x] |= estimated
                lowered[y] += 1
    return lowered.sum()
