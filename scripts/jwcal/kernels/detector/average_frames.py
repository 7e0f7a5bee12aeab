"""Average reference frames and subtract them from a group of a ramp; NaN counts as 0. Threads take groups, so there are none within."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def add_frame(total, frame):
    """Add a frame to a sum, in place.

    Parameters
    ----------
    total, frame : (row, col) float32
    """
    ny, nx = total.shape
    for y in range(ny):
        for x in range(nx):
            total[y, x] += np.float32(0) if np.isnan(frame[y, x]) else frame[y, x]


@njit(cache=True, nogil=True)
def subtract_frame(sci, group, total, count):
    """Subtract total / count from one group of every integration, in place.

    Parameters
    ----------
    sci : (int, group, row, col) float32
    group : int
    total : (row, col) float32
        Sum of `count` frames.
    count : int
    """
    nints, _, ny, nx = sci.shape
    count = np.float32(count)
    for i in range(nints):
        for y in range(ny):
            for x in range(nx):
                level = np.float32(0) if np.isnan(total[y, x]) else total[y, x] / count
                sci[i, group, y, x] -= level
