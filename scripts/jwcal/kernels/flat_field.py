"""Divide pixels by a flat field and carry its uncertainty along, in one pass over memory.

float32 in the peer's order of operations, so that both give the same bits.
"""

import numpy as np
from numba import njit, prange


@njit(cache=True, nogil=True, error_model="numpy")
def _divide(value, var_poisson, var_rnoise, flat, flat_err):
    """s = S/f, V_P/f^2, V_R/f^2, V_F = (s/f)^2 sigma_f^2 (flux divided already), and the error: the root of the variances' sum."""
    square = flat * flat
    value = value / flat
    var_flat = value * value / square * (flat_err * flat_err)
    var_poisson, var_rnoise = var_poisson / square, var_rnoise / square
    return value, var_poisson, var_rnoise, var_flat, np.sqrt(var_poisson + var_rnoise + var_flat)


@njit(cache=True, nogil=True, error_model="numpy")
def _multiply(value, var_poisson, var_rnoise, flat):
    """The inverse, for which a flat field has no uncertainty."""
    square = flat * flat
    value, var_poisson, var_rnoise = value * flat, var_poisson * square, var_rnoise * square
    return value, var_poisson, var_rnoise, np.float32(0), np.sqrt(var_poisson + var_rnoise)


@njit(cache=True, nogil=True, parallel=True, error_model="numpy")
def _correct(sci, err, var_poisson, var_rnoise, var_flat, dq, flat, flat_err, flat_dq, inverse, do_not_use):
    nint, nrow, ncol = sci.shape
    nan = np.float32(np.nan)
    for line in prange(nint * nrow):
        i, y = line // nrow, line % nrow
        for x in range(ncol):
            f = flat[y, x]
            if inverse:
                s, vp, vr, vf, e = _multiply(sci[i, y, x], var_poisson[i, y, x], var_rnoise[i, y, x], f)
            else:
                s, vp, vr, vf, e = _divide(sci[i, y, x], var_poisson[i, y, x], var_rnoise[i, y, x], f, flat_err[y, x])
            bits = dq[i, y, x] | flat_dq[y, x]
            if bits & do_not_use or np.isnan(s) or np.isnan(e) or np.isnan(vp) or np.isnan(vr) or np.isnan(vf):
                bits |= do_not_use
                s = vp = vr = vf = e = nan
            sci[i, y, x], err[i, y, x], dq[i, y, x] = s, e, bits
            var_poisson[i, y, x], var_rnoise[i, y, x], var_flat[i, y, x] = vp, vr, vf


def correct(sci, err, var_poisson, var_rnoise, dq, flat, flat_err, flat_dq, inverse, do_not_use):
    """Flat-field images in place.

    Parameters
    ----------
    sci, err, var_poisson, var_rnoise : float32 (row, col) or (int, row, col)
        Changed in place; unusable pixels (NaN in one of them, or DO_NOT_USE) become NaN in all.
    dq : uint32, same shape
        Changed in place: the flat's bits, and DO_NOT_USE where a pixel is not finite.
    flat, flat_err : float32 (row, col)
    flat_dq : uint32 (row, col)
    inverse : bool
        Multiply, to take a flat field out again.
    do_not_use : int
        The bit.

    Returns
    -------
    float32, shape of sci
        The flat field's variance; zeros for the inverse.
    """
    var_flat = np.empty_like(sci)
    planes = [plane[None] if plane.ndim == 2 else plane for plane in (sci, err, var_poisson, var_rnoise, var_flat, dq)]
    _correct(*planes, flat, flat_err, flat_dq, bool(inverse), np.uint32(do_not_use))
    return var_flat
