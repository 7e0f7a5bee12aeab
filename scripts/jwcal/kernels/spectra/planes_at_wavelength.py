"""Images at several wavelengths, each pixel at its own: linear between the two that are beside it."""

import numpy as np
from numba import njit, prange


@njit(cache=True, nogil=True, parallel=True)
def _at(wavelength, at, cube, weight_of_next, below):
    nrow, ncol = wavelength.shape
    out = np.empty((nrow, ncol))
    last = at.size - 1
    for y in prange(nrow):
        k = 0
        for x in range(ncol):
            w = np.float64(wavelength[y, x])
            if w <= at[0]:
                k = 0
            elif w >= at[last]:
                k = last - 1
            else:
                while k > 0 and at[k] > w:
                    k -= 1
                while k < last - 1 and at[k + 1] <= w:
                    k += 1
            p = (w - at[k]) / (at[k + 1] - at[k])
            out[y, x] = (1 - p) * cube[k, y, x] + p * cube[k + 1, y, x]
            weight_of_next[y, x], below[y, x] = p, k
    return out


def planes_at_wavelength(wavelength, at, cube):
    """Interpolate a cube along its first axis.

    Parameters
    ----------
    wavelength : float (row, col)
    at : float (n,), rising
        Of the planes, two or more.
    cube : float32 (n, row, col)

    Returns
    -------
    value : float64 (row, col)
        Beyond the first and the last plane extrapolated.
    weight : float64 (row, col)
        Of the upper one of the two planes.
    below : int64 (row, col)
        Number of the lower one.
    """
    weight, below = np.empty(wavelength.shape), np.empty(wavelength.shape, np.int64)
    wavelength, at = (np.ascontiguousarray(array, np.float64) for array in (wavelength, at))
    value = _at(wavelength, at, np.ascontiguousarray(cube), weight, below)
    return value, weight, below
