"""Start the data quality from the detector's bad pixel mask."""

import logging

import numpy as np

from ..machine.threads import by_rows, side_by_side
from ..model import aligned, named_files
from ..vocabulary.dq import DO_NOT_USE
from ..vocabulary.errors import ReferenceError

log = logging.getLogger(__name__)

REFERENCES = ("mask",)


def apply(exposure, refs, *, user_supplied_dq: str | None = None):
    """OR the mask's flags into the pixel data quality, and its DO_NOT_USE into that of every group.

    An exposure without group flags (the guider's) has the pixel flags alone.

    Parameters
    ----------
    user_supplied_dq : str, optional
        A FITS file whose first image holds flags of this exposure's pixels (row, col), with the standard bits, to be added.

    Raises
    ------
    ReferenceError
        The mask or the user's flags do not fit the exposure.
    """
    mask = refs["mask"]
    if not mask.has("DQ"):
        raise ReferenceError("the mask reference has no extension DQ", mask.path, "Give a mask reference that has one")
    flags = aligned.bits(mask, exposure)
    if user_supplied_dq is not None:
        flags = flags | _users_flags(user_supplied_dq, exposure)
    exposure.flag(flags)
    unusable = np.empty(flags.shape, np.uint8)

    def find_unusable(rows):
        unusable[rows] = flags[rows] & np.uint32(DO_NOT_USE)
        return np.count_nonzero(flags[rows])

    flagged = sum(by_rows(find_unusable, flags))
    if exposure.groupdq is not None:
        groups = [group for ramp in exposure.groupdq for group in ramp]
        side_by_side(lambda group: np.bitwise_or(group, unusable, out=group), groups)
    log.info("mask flags %d pixels, %d of them DO_NOT_USE", flagged, np.count_nonzero(unusable))
    return exposure


def _users_flags(path, exposure):
    """The first image of a FITS file as flags of the exposure's pixels."""
    image = named_files.first_image(path, "user_supplied_dq")
    shape = exposure.sci.shape[-2:]
    if image is None or image.shape[-2:] != shape or image.ndim != 2 or image.dtype.kind not in "iu":
        found = "no image" if image is None else f"{image.shape} {image.dtype.name}"
        raise ReferenceError(
            f"user_supplied_dq holds {found}, integers of the shape {shape} were expected",
            path,
            "Give a file whose first image holds the flags of this exposure's pixels",
        )
    return image.astype(np.uint32)
