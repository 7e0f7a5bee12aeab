"""Undo the nonlinearity of the detector's response."""

import logging

import numpy as np

from ..kernels.detector.linearity import linearize, linearize_reads
from ..model import aligned
from ..vocabulary.dq import NO_LIN_CORR, SATURATED
from ..vocabulary.errors import ReferenceError

log = logging.getLogger(__name__)

REFERENCES = ("linearity",)


def apply(exposure, refs):
    """Replace each unsaturated group's signal by the polynomial of it, c0 + c1 s + c2 s^2 + ..., pixel by pixel.

    Pixels whose coefficients can't be used stay as they are and get NO_LIN_CORR. Where the reference also has the inverse
    polynomials (INV_COEFFS) and a group is the mean of several reads, it is the reads that are corrected.
    The zero frame is a single read and gets the polynomial.

    Parameters
    ----------
    exposure : Exposure
        Ramp in DN, above the bias (near-IR) or raw (MIRI), as the coefficients are.
    refs : References
        "linearity": COEFFS (term, row, col), DQ; INV_COEFFS.

    Raises
    ------
    ReferenceError
        Fewer than 2 terms, or another size than the exposure's.
    """
    exposure.sci = np.ascontiguousarray(exposure.sci)
    nints, ngroups, ny, nx = exposure.sci.shape
    linearity = refs["linearity"]
    coefficients = _coefficients(linearity, "COEFFS", (ny, nx))
    bits = aligned.bits(linearity, exposure)
    flags = (SATURATED, NO_LIN_CORR)
    reads = int(exposure.header["NFRAMES"])
    if linearity.has("INV_COEFFS") and reads > 1 and ngroups > 1 and exposure.read_times is None:
        inverse = _coefficients(linearity, "INV_COEFFS", (ny, nx))
        interval = reads + int(exposure.header.get("GROUPGAP", 0))
        linearize_reads(exposure.sci, exposure.groupdq, coefficients, inverse, bits, exposure.pixeldq, reads, interval, *flags)
        log.info("polynomials of %d terms on the %d reads of each group", len(coefficients), reads)
    else:
        linearize(exposure.sci, exposure.groupdq, coefficients, bits, exposure.pixeldq, *flags)
        log.info("polynomials of %d terms", len(coefficients))
    zeroframe = exposure.extra.get("ZEROFRAME")
    if zeroframe is not None:
        unknown = np.where(zeroframe == 0, np.uint8(SATURATED), np.uint8(0))  # 0: there is no zero frame, and c0 must not make one
        linearize(zeroframe[:, None], unknown[:, None], coefficients, bits, exposure.pixeldq, *flags)
    return exposure


def _coefficients(reference, extension, shape):
    """Polynomial coefficients, (term, row, col)."""
    coefficients = reference.array(extension)
    if coefficients.ndim != 3 or len(coefficients) < 2 or coefficients.shape[1:] != shape:
        raise ReferenceError(
            f"{extension} has the shape {coefficients.shape}; 2 or more planes of {shape[0]} x {shape[1]} pixels are needed",
            file=reference.path,
            do="Give a linearity reference for this detector and subarray",
        )
    return np.ascontiguousarray(coefficients, np.float32)
