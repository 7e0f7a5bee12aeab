"""Put back the signal that the capacitance between pixels moved to their neighbours."""

import logging

import numpy as np

from ..files.reference_file import another
from ..kernels.detector.ipc import convolve
from ..model import aligned, irs2_layout
from ..vocabulary import limits
from ..vocabulary.errors import InputError, ReferenceError, Skip

log = logging.getLogger(__name__)

OPTIONAL = ("ipc",)  # operations switch the step off with a parameter reference: it correlates the noise of neighbours

BORDER = 4  # reference pixels along an edge of the detector


def apply(exposure, refs, border: str = ""):
    """Convolve every group with the deconvolution kernel of the reference.

    The kernel is one for all pixels, (row, col), or one for each, (row, col, detector row, detector column).
    Reference pixels are left as they are, and lend nothing to their neighbours.

    Parameters
    ----------
    exposure : Exposure
    refs : References
    border : {"", "columns"}
        The table's: reference pixels are at all edges of the detector, or at the ends of its rows only.

    Raises
    ------
    ReferenceError
        The reference is no kernel, or does not cover the exposure.
    InputError
        The subarray does not lie on the detector.
    """
    reference = refs.get("ipc")
    if reference is None:
        raise Skip("there is no ipc reference")
    rows = irs2_layout.science_rows(exposure)
    shape = (rows.size, exposure.sci.shape[-1])
    kernel, active = _kernel(reference, exposure, shape), _active(exposure, shape, border)
    if irs2_layout.is_irs2(exposure.sci.shape):  # neighbours on the detector are not neighbours in the raw image
        for place in np.ndindex(*exposure.sci.shape[:2]):
            science = exposure.sci[place][rows]
            convolve(science[None, None], kernel, *active)
            exposure.sci[place][rows] = science
    else:
        convolve(exposure.sci, kernel, *active)
    log.info("%d groups convolved with a kernel of %d x %d pixels", np.prod(exposure.sci.shape[:2]), *kernel.shape[1::-1])
    return exposure


def _kernel(reference, exposure, pixels):
    """The kernel as (row, col, y, x); the last two are 1 where it is the same for all pixels."""
    shape = reference.shape("SCI") or ()
    if len(shape) not in (2, 4) or max(shape[:2]) > min(pixels):
        raise ReferenceError(
            f"the ipc reference's SCI has the shape {shape}: a kernel of 2 dimensions, or 4 with one for each pixel, was expected",
            file=reference.path,
            do=another("ipc"),
        )
    if len(shape) == 2:
        return reference.uncut().astype(np.float32)[:, :, None, None]
    aligned.check(reference.array().shape[-2:], reference, exposure, "SCI", pixels)
    return reference.array().astype(np.float32, copy=False)


def _active(exposure, pixels, border):
    """The pixels that see light: first row and row after the last, first column and column after the last."""
    wrong = limits.off_detector(exposure.header)
    if wrong:
        raise InputError(wrong, exposure.name, limits.CORRECT)
    first_column, first_row = (int(exposure.header[k]) - 1 for k in ("SUBSTRT1", "SUBSTRT2"))
    ny, nx = pixels
    columns, rows = limits.detector_size(exposure.header.instrument)
    across = _inside(first_column, nx, columns)
    return (0, ny, *across) if border == "columns" else (*_inside(first_row, ny, rows), *across)


def _inside(start, size, full):
    """Ends of the part of `size` pixels from `start` that is not in the border of a detector of `full` pixels."""
    return max(0, BORDER - start), size - max(0, start + size - (full - BORDER))
