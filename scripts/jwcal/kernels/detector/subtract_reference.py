"""Subtract one image from every plane of a ramp."""

import numpy as np
from numba import njit, prange

ZERO = np.float32(0)


@njit(parallel=True, cache=True, nogil=True)
def subtract_reference(ramp, reference):
    """Subtract an image from each group of each integration, in place.

    Parameters
    ----------
    ramp : ndarray of float32, (int, group, row, col), DN
        Changed.
    reference : ndarray of float32, (row, col), DN
        NaN counts as 0.
    """
    nints, ngroups, ny, nx = ramp.shape
    for y in prange(ny):
        offset = reference[y].copy()
        for x in range(nx):
            if np.isnan(offset[x]):
                offset[x] = ZERO
        for i in range(nints):
            for g in range(ngroups):
                row = ramp[i, g, y]
                for x in range(nx):
                    row[x] -= offset[x]


@njit(parallel=True, cache=True, nogil=True)
def subtract_reference_from_samples(planes, reference):
    """Subtract an image from planes in which 0 stands for "no sample", in place; those zeros stay.

    Parameters
    ----------
    planes : ndarray of float32, (int, row, col), DN
        Changed.
    reference : ndarray of float32, (row, col), DN
        NaN counts as 0.
    """
    nints, ny, nx = planes.shape
    for y in prange(ny):
        for i in range(nints):
            for x in range(nx):
                value, offset = planes[i, y, x], reference[y, x]
                if value != ZERO and not np.isnan(offset):
                    planes[i, y, x] = value - offset
