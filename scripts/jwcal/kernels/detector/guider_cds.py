"""Count rates of guide star readouts: correlated double sampling."""

import numpy as np
from numba import njit, prange


@njit(parallel=True, cache=True, nogil=True)
def read_difference(ramp, n):
    """The mean of the last n reads minus the mean of the first n.

    Parameters
    ----------
    ramp : ndarray of float32, (int, group, row, col), DN
    n : int

    Returns
    -------
    ndarray of float32, (int, row, col), DN
    """
    nints, ngroups, ny, nx = ramp.shape
    out = np.empty((nints, ny, nx), np.float32)
    count = np.float32(n)
    for i in prange(nints):
        for y in range(ny):
            for x in range(nx):
                early, late = np.float32(0), np.float32(0)
                for g in range(n):
                    early += ramp[i, g, y, x]
                    late += ramp[i, ngroups - n + g, y, x]
                out[i, y, x] = late / count - early / count
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _error(difference, read_noise, gain, time):
    """sqrt(2 (read noise / time)^2 + max(difference / (gain time), 0)), float32."""
    noise = read_noise / time
    poisson = difference / (gain * time)
    return np.sqrt(np.float32(2) * (noise * noise) + (np.float32(0) if poisson < 0 else poisson))


@njit(parallel=True, cache=True, nogil=True, error_model="numpy")
def rate_and_error(difference, read_noise, gain, time):
    """Count rates and their errors.

    Parameters
    ----------
    difference : ndarray of float32, (int, row, col), DN
        Changed: divided by the time, DN/s.
    read_noise : ndarray of float32, (row, col), DN
    gain : ndarray of float32, (row, col), electrons/DN
    time : float32, s

    Returns
    -------
    ndarray of float32, (int, row, col)
        The errors.
    """
    nints, ny, nx = difference.shape
    err = np.empty_like(difference)
    for i in prange(nints):
        for y in range(ny):
            for x in range(nx):
                err[i, y, x] = _error(difference[i, y, x], read_noise[y, x], gain[y, x], time)
                difference[i, y, x] /= time
    return err
