"""The rates of all integrations together, side by side; short loops over few arrays, as in `ols_plain`."""

import math

import numpy as np
from numba import njit

from ..columns.pick_columns import columns_where
from .ols_plain import inverse_bounded
from .ols_segments import TOO_LARGE, bounded


@njit(cache=True, nogil=True, error_model="numpy")
def _quality(sums, nints, bits, dq, valid):
    """Quality of the rates of a tile; which of them are any."""
    for x in range(dq.size):
        quality = dq[x] | (sums.flags[x] & (bits.jump | bits.persistence))
        quality |= bits.do_not_use if sums.unusable[x] == nints else 0
        quality |= bits.saturated if sums.saturated[x] == nints else 0
        valid[x] = (quality & (bits.do_not_use | bits.saturated)) == 0
        dq[x] = quality | (sums.flags[x] & bits.saturated)


@njit(cache=True, nogil=True, error_model="numpy")
def _read_variances(precision, out):
    for x in range(out.size):
        variance = 1.0 / precision[x] if precision[x] > 0.0 else precision[x]
        out[x] = 0.0 if variance >= TOO_LARGE else variance


@njit(cache=True, nogil=True, error_model="numpy")
def _rates(total, variance, valid, out):
    for x in range(out.size):
        out[x] = total[x] * variance[x] if valid[x] else np.nan


@njit(cache=True, nogil=True, error_model="numpy")
def _errors(variance_p, variance_r, out):
    for x in range(out.size):
        out[x] = math.sqrt(variance_p[x] + variance_r[x])


@njit(cache=True, nogil=True, error_model="numpy")
def _variances(variance, valid, out):
    """Drop the variances of what is no rate."""
    for x in range(out.size):
        variance[x] = variance[x] if valid[x] else 0.0
        out[x] = variance[x]


@njit(cache=True, nogil=True, error_model="numpy")
def combine(y, part, nints, bits, rate, sums):
    """The rates of a tile from the sums over integrations.

    Parameters
    ----------
    y, part : int, slice
        The tile: row and columns.
    nints : int
    bits : Bits
    rate : Planes
        Changed.
    sums : Sums
    """
    width = sums.slope.size
    valid, variance_p, variance_r = np.empty(width, np.uint8), np.empty(width), np.empty(width)
    _quality(sums, nints, bits, rate.dq[y, part], valid)
    inverse_bounded(sums.inverse_p, variance_p)
    _read_variances(sums.inverse_r, variance_r)
    _rates(sums.slope, variance_r, valid, rate.sci[y, part])
    _variances(variance_p, valid, rate.var_poisson[y, part])
    _variances(variance_r, valid, rate.var_rnoise[y, part])
    _errors(variance_p, variance_r, rate.err[y, part])
    for x in columns_where(sums.loss, True):
        if sums.restored[x] > 0.0:
            rate.var_rnoise[y, part.start + x] = bounded(1.0 / sums.restored[x])
