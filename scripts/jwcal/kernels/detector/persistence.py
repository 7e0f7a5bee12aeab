"""Follow through an exposure which pixels are still releasing charge after having been bright."""

import numpy as np
from numba import njit, prange


@njit(cache=True, nogil=True)
def _window(until, signal, count, end, threshold):
    """When the window of a pixel ends, after what it shows in one group; `count`: groups of this integration saturated so far."""
    if count == 1:  # the first saturated group, and as long as no second one follows
        until = end
    if signal > threshold and not until > 0:
        until = end
    return until if until <= end else 0.0  # a window that has not begun yet is none


@njit(cache=True, nogil=True, parallel=True)
def flag_persistence(sci, groupdq, until, times, duration, threshold, saturated, flag):
    """Flag the groups of a pixel from its first saturated or bright one on, for a time that goes on in the next integrations.

    Parameters
    ----------
    sci : (int, group, row, col) float32
        DN.
    groupdq : (int, group, row, col) uint8
        Changed in place.
    until : (row, col) float64
        Times at which pixels are free again [s]; 0: free. Changed in place.
    times : (int, group) float64
        When the groups end [s], on the same clock.
    duration : float
        s.
    threshold : float
        A pixel above it [DN] counts as bright; infinite to go by saturation alone.
    saturated, flag : int
        The bit that opens a window, and the bits that are set.
    """
    nints, ngroups, ny, nx = sci.shape
    saturated, flag = np.uint8(saturated), np.uint8(flag)
    for y in prange(ny):
        count = np.empty(nx, np.int32)
        for i in range(nints):
            count[:] = 0
            for g in range(ngroups):
                now, end = times[i, g], times[i, g] + duration
                for x in range(nx):
                    window = until[y, x] if until[y, x] >= now else 0.0  # over
                    count[x] += (groupdq[i, g, y, x] & saturated) != 0
                    window = _window(window, sci[i, g, y, x], count[x], end, threshold)
                    if window > 0:
                        groupdq[i, g, y, x] |= flag
                    until[y, x] = window
