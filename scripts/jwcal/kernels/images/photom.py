"""Multiply pixels and their uncertainties by a flux conversion in one pass over memory."""

import numpy as np
from numba import njit, prange


@njit(cache=True, nogil=True, parallel=True, error_model="numpy")
def _scale(planes, factors, dq, divide, do_not_use):
    nint, nrow, ncol = dq.shape
    for line in prange(nint * nrow):
        i, y = line // nrow, line % nrow
        for x in range(ncol):
            unusable = dq[i, y, x] & do_not_use != 0
            for k in range(len(planes)):
                value = np.float64(planes[k][i, y, x])  # the product of two float32 is exact here and rounded once
                value = value / factors[k] if divide else value * factors[k]
                planes[k][i, y, x] = value
                unusable |= np.isnan(value)
            if unusable:
                dq[i, y, x] |= do_not_use
                for k in range(len(planes)):
                    planes[k][i, y, x] = np.nan


def scale(values, variances, dq, factor, square, divide, do_not_use):
    """Change units in place.

    Parameters
    ----------
    values, variances : list of float32 arrays, (row, col) or (int, row, col)
        Changed in place; unusable pixels (NaN in one of them, or DO_NOT_USE) become NaN in all.
    dq : uint32, same shape
        Changed in place: DO_NOT_USE where a pixel is not finite.
    factor, square : float
        For the values and for the variances.
    divide : bool
        Divide by them.
    do_not_use : int
        The bit.
    """
    planes = tuple(plane[None] if plane.ndim == 2 else plane for plane in (*values, *variances))
    factors = np.array([factor] * len(values) + [square] * len(variances), np.float64)
    _scale(planes, factors, dq[None] if dq.ndim == 2 else dq, bool(divide), np.uint32(do_not_use))
