"""Divide pixels by a flat field and carry its uncertainty along, in one pass over memory.

float32 in the peer's order of operations, so that both give the same bits.
"""

import numpy as np
from numba import njit, prange


@njit(cache=True, nogil=True)
def _usable(flat, bits, no_flat, do_not_use):
    """A pixel of the flat as it is applied: 1 and flagged where it has no usable value."""
    if not 0 < flat < np.inf:  # NaN too
        bits |= no_flat
    if bits & no_flat:
        bits |= do_not_use
    if bits & do_not_use:
        flat = np.float32(1)
    return flat, bits


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
def _correct(sci, err, var_poisson, var_rnoise, var_flat, dq, flat, flat_err, flat_dq, inverse, no_flat, do_not_use):
    nint, nrow, ncol = sci.shape
    nan = np.float32(np.nan)
    for line in prange(nint * nrow):
        i, y = line // nrow, line % nrow
        for x in range(ncol):
            f, bits = _usable(flat[y, x], flat_dq[y, x], no_flat, do_not_use)
            if inverse:
                s, vp, vr, vf, e = _multiply(sci[i, y, x], var_poisson[i, y, x], var_rnoise[i, y, x], f)
            else:
                s, vp, vr, vf, e = _divide(sci[i, y, x], var_poisson[i, y, x], var_rnoise[i, y, x], f, flat_err[y, x])
            bits |= dq[i, y, x]
            if bits & do_not_use or np.isnan(s) or np.isnan(e) or np.isnan(vp) or np.isnan(vr) or np.isnan(vf):
                bits |= do_not_use
                s = vp = vr = vf = e = nan
            sci[i, y, x], err[i, y, x], dq[i, y, x] = s, e, bits
            var_poisson[i, y, x], var_rnoise[i, y, x], var_flat[i, y, x] = vp, vr, vf


def correct(sci, err, var_poisson, var_rnoise, dq, flat, flat_err, flat_dq, inverse, no_flat, do_not_use):
    """Flat-field images in place.

    Parameters
    ----------
    sci, err, var_poisson, var_rnoise : float32 (row, col) or (int, row, col)
        Changed in place; unusable pixels (NaN in one of them, or DO_NOT_USE) become NaN in all.
    dq : uint32, same shape
        Changed in place: the flat's bits, and DO_NOT_USE where a pixel is not finite.
    flat, flat_err : float32 (row, col)
    flat_dq : uint32 (row, col)
        Where it has `no_flat` or `do_not_use`, or the flat is no number above 0, nothing is divided.
    inverse : bool
        Multiply, to take a flat field out again.
    no_flat, do_not_use : int
        The bits.

    Returns
    -------
    float32, shape of sci
        The flat field's variance; zeros for the inverse.
    """
    var_flat = np.empty_like(sci)
    planes = [plane[None] if plane.ndim == 2 else plane for plane in (sci, err, var_poisson, var_rnoise, var_flat, dq)]
    _correct(*planes, flat, flat_err, flat_dq, bool(inverse), np.uint32(no_flat), np.uint32(do_not_use))
    return var_flat


@njit(cache=True, nogil=True)
def _usable_image(flat, flat_dq, no_flat, do_not_use):
    value, bits = np.empty_like(flat), np.empty_like(flat_dq)
    for y in range(flat.shape[0]):
        for x in range(flat.shape[1]):
            value[y, x], bits[y, x] = _usable(flat[y, x], flat_dq[y, x], no_flat, do_not_use)
    return value, bits


def usable(flat, flat_dq, no_flat, do_not_use):
    """A flat as it is applied: 1 where it has no usable value, and flagged there; arguments as for `correct`.

    Returns
    -------
    value : float32 (row, col)
    bits : uint32 (row, col)
    """
    return _usable_image(flat, flat_dq, np.uint32(no_flat), np.uint32(do_not_use))
