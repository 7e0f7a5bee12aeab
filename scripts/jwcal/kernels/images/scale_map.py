"""Multiply pixels and their uncertainties by a map, the same for every integration, in one pass over memory."""

import numpy as np
from numba import njit, prange


@njit(cache=True, nogil=True, parallel=True, error_model="numpy")
def _scale(planes, squared, dq, factor, square, divide, do_not_use):
    nint, nrow, ncol = dq.shape
    for line in prange(nint * nrow):
        i, y = line // nrow, line % nrow
        for x in range(ncol):
            unusable = dq[i, y, x] & do_not_use != 0 or np.isnan(factor[y, x])
            for k in range(len(planes)):
                by = square[y, x] if squared[k] else factor[y, x]
                value = np.float64(planes[k][i, y, x])  # rounded once
                value = value / by if divide else value * by
                planes[k][i, y, x] = value
                unusable |= np.isnan(value)
            if unusable:
                dq[i, y, x] |= do_not_use
                for k in range(len(planes)):
                    planes[k][i, y, x] = np.nan


def scale(values, variances, dq, factor, square, divide, do_not_use):
    """Multiply in place.

    Parameters
    ----------
    values, variances : list of float32 arrays, (row, col) or (int, row, col)
        Changed in place; unusable pixels (NaN in one of them or in the map, or DO_NOT_USE) become NaN in all.
    dq : uint32, same shape
        Changed in place: DO_NOT_USE where a pixel is not usable.
    factor, square : float64 (row, col)
        For the values and for the variances.
    divide : bool
        Divide by them.
    do_not_use : int
        The bit.
    """
    planes = tuple(plane[None] if plane.ndim == 2 else plane for plane in (*values, *variances))
    squared = np.array([False] * len(values) + [True] * len(variances))
    _scale(planes, squared, dq[None] if dq.ndim == 2 else dq, factor, square, bool(divide), np.uint32(do_not_use))
