"""Undo the nonlinearity of the detector's response with a polynomial per pixel.

    linear = c0 + c1 s + c2 s^2 + ...        (Hilbert 2008, WFC3-ISR 2008-39)

by Horner's rule in float32, the precision of the coefficients. Groups that average several reads are unfolded to their reads first
where the inverse polynomial is known: the mean of a nonlinear function is not the function of the mean.
"""

import numpy as np
from numba import njit, prange

CHUNK = 256  # pixels that are worked on together: their reads and coefficients stay in the processor's cache


@njit(cache=True, nogil=True)
def _polynomial(signal, coefficients):
    """Horner's rule in the precision of the operands; `coefficients` from c0 up."""
    value = coefficients[-1] * signal
    for k in range(coefficients.size - 2, 0, -1):
        value = (value + coefficients[k]) * signal
    return value + coefficients[0]


# Short loops are functions of their own because only so they become vector instructions.


@njit(cache=True, nogil=True)
def _add_scaled(a, factor, b, out):
    """a + factor b for many pixels."""
    for x in range(out.size):
        out[x] = a[x] + factor * b[x]


@njit(cache=True, nogil=True)
def _next_term(value, coefficient, signal):
    """One turn of Horner's rule for many pixels."""
    for x in range(value.size):
        value[x] = (value[x] + coefficient[x]) * signal[x]


@njit(cache=True, nogil=True)
def _polynomials(signal, coefficients, value):
    """Horner's rule for many pixels: signal (pixel,), coefficients (term, pixel) -> value (pixel,)."""
    value[:] = 0
    for k in range(coefficients.shape[0] - 1, 0, -1):
        _next_term(value, coefficients[k], signal)
    value += coefficients[0]


@njit(cache=True, nogil=True)
def _copy_known(coefficient, row, known):
    """Copy one coefficient of many pixels, and note where it is NaN."""
    for x in range(row.size):
        value = coefficient[x]
        row[x] = value
        known[x] &= value == value


@njit(cache=True, nogil=True)
def _prepare(coefficients, reference_dq, pixeldq, no_correction, row):
    """Copy one row of pixels' coefficients, with the identity for those that can't be used, which are flagged: NaN, no linear term."""
    known = np.ones(pixeldq.size, np.uint8)
    for k in range(coefficients.shape[0]):
        _copy_known(coefficients[k], row[k], known)
    for x in range(pixeldq.size):
        pixeldq[x] |= reference_dq[x]
        usable = known[x] and row[1, x] != 0
        if not usable or reference_dq[x] & no_correction:
            row[:, x] = 0
            row[1, x] = 1
        if not usable:
            pixeldq[x] |= no_correction


@njit(cache=True, nogil=True, parallel=True)
def linearize(sci, groupdq, coefficients, reference_dq, pixeldq, saturated, no_correction):
    """Apply the polynomial to every group that is not saturated, in place.

    Parameters
    ----------
    sci : (int, group, row, col) float32
        In the units that the coefficients are for; corrected in place.
    groupdq : (int, group, row, col) uint8
    coefficients : (term, row, col) float32
        At least 2 terms, from c0 up. A pixel with a NaN or without a linear term stays as it is.
    reference_dq : (row, col) uint32
        The coefficients' flags: added to `pixeldq`. A pixel with `no_correction` stays as it is.
    pixeldq : (row, col) uint32
        `no_correction` is added to pixels whose coefficients can't be used.
    saturated, no_correction : int
        Bits.
    """
    nints, ngroups, ny, nx = sci.shape
    terms = coefficients.shape[0]
    saturated, no_correction = np.uint8(saturated), np.uint32(no_correction)
    for y in prange(ny):
        c = np.empty((terms, nx), np.float32)
        value = np.empty(nx, np.float32)
        _prepare(coefficients[:, y], reference_dq[y], pixeldq[y], no_correction, c)
        for i in range(nints):
            for g in range(ngroups):
                signal = sci[i, g, y]
                _polynomials(signal, c, value)
                for x in range(nx):
                    signal[x] = signal[x] if groupdq[i, g, y, x] & saturated else value[x]


@njit(cache=True, nogil=True)
def _mean_rates(ramp, flags, c, interval, saturated, low, rate):
    """Linearized first group, and counts a read from it to the last but one unsaturated group (the second one at least)."""
    for x in range(ramp.shape[1]):
        unsaturated = 0
        for g in range(ramp.shape[0]):
            unsaturated += (flags[g, x] & saturated) == 0
        last = max(unsaturated - 1, 2) - 1
        start = ramp[0, x] if flags[0, x] & saturated else _polynomial(ramp[0, x], c[:, x])
        end = ramp[last, x] if flags[last, x] & saturated else _polynomial(ramp[last, x], c[:, x])
        low[x], rate[x] = start, np.float64(end - start) / (last * interval)


@njit(cache=True, nogil=True)
def _linearize_pixels(ramp, flags, c, inverse, reads, interval, saturated):
    """Linearize ramps (group, pixel) read by read, in place."""
    n = ramp.shape[1]
    low, rate, signal, total = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    read = np.empty((reads, n))
    curve, back = c.astype(np.float64), inverse.astype(np.float64)
    _mean_rates(ramp, flags, c, interval, saturated, low, rate)
    for g in range(ramp.shape[0]):
        total[:] = 0
        for k in range(reads):
            time = g * interval + k - (reads - 1) / 2  # in reads since the middle of the first group
            _add_scaled(low, time, rate, signal)
            _polynomials(signal, back, read[k])
            _add_scaled(total, 1.0, read[k], total)
        offset = ramp[g] - total / reads
        total[:] = 0
        for k in range(reads):
            _add_scaled(read[k], 1.0, offset, signal)
            _polynomials(signal, curve, read[k])
            _add_scaled(total, 1.0, read[k], total)
        for x in range(n):
            ramp[g, x] = ramp[g, x] if flags[g, x] & saturated else total[x] / reads


@njit(cache=True, nogil=True, parallel=True)
def linearize_reads(sci, groupdq, coefficients, inverse, reference_dq, pixeldq, reads, interval, saturated, no_correction):
    """Apply the polynomial to the reads that each group is the mean of, in place.

    The reads are not known: they are placed on the line through the first and the last but one unsaturated group (the last one may
    be saturated in part), made nonlinear by the inverse polynomial, shifted together until their mean is the group's value,
    corrected, and averaged.

    Parameters
    ----------
    sci, groupdq, coefficients, reference_dq, pixeldq, saturated, no_correction
        As for `linearize`; at least 2 groups.
    inverse : (term, row, col) float32
        Polynomial from linear to measured signal; rules for unusable pixels as for `coefficients`.
    reads : int
        Reads averaged into a group (NFRAMES).
    interval : int
        Reads from the start of a group to the start of the next.
    """
    nints, ngroups, ny, nx = sci.shape
    saturated, no_correction = np.uint8(saturated), np.uint32(no_correction)
    for y in prange(ny):
        c = np.empty((coefficients.shape[0], nx), np.float32)
        b = np.empty((inverse.shape[0], nx), np.float32)
        _prepare(coefficients[:, y], reference_dq[y], pixeldq[y], no_correction, c)
        _prepare(inverse[:, y], reference_dq[y], pixeldq[y], no_correction, b)
        for i in range(nints):
            for first in range(0, nx, CHUNK):
                part = slice(first, min(first + CHUNK, nx))
                _linearize_pixels(sci[i, :, y, part], groupdq[i, :, y, part], c[:, part], b[:, part], reads, interval, saturated)
