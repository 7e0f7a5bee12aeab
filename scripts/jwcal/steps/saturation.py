"""Flag groups that are saturated, or too low for the converter."""

import logging
from typing import Annotated

import numpy as np

from .. import aligned
from ..dq import AD_FLOOR, DO_NOT_USE, NO_SAT_CHECK, SATURATED
from ..kernels import saturation as kernel
from ..parameters import Range

log = logging.getLogger(__name__)

REFERENCES = ("saturation",)
OPTIONAL = ("superbias",)

ABOVE_CONVERTER = np.float32(65536)  # one more than the highest value of its 16 bits


def apply(exposure, refs, *, n_pix_grow_sat: Annotated[int, Range(min=0)] = 1, use_readpatt: bool = True):
    """Flag SATURATED from the first group at or above the threshold (DN) on, and the neighbours with it.

    A group with a value <= 0 is AD_FLOOR and DO_NOT_USE. Zero frames that are saturated or too low become 0, "no sample".
    A pixel whose threshold is NaN or NO_SAT_CHECK is not checked, and flagged NO_SAT_CHECK.

    Parameters
    ----------
    n_pix_grow_sat : int
        Charge spills over: flag the pixels this far around saturated ones too.
    use_readpatt : bool
        Where a group is the mean of several frames, mark it DO_NOT_USE if its last frames may have been saturated:
        the group before the first saturated one if it is high enough, and group 2 if an event late in it saturated group 3
        (for this the superbias is wanted; without it the bias counts as 0).

    Raises
    ------
    ReferenceError
        A reference does not fit the exposure.
    """
    threshold, unchecked, flags = _thresholds(exposure, refs["saturation"])
    bias = aligned.image(refs["superbias"], exposure) if "superbias" in refs else np.zeros_like(threshold)
    nframes = int(exposure.header["NFRAMES"]) if use_readpatt else None
    planes = [np.empty(threshold.shape, np.uint16) for _ in range(3)]
    saturated = 0
    for ramp, groupdq in zip(exposure.sci, exposure.groupdq, strict=True):
        first = _flag_ramp(ramp, groupdq, threshold, n_pix_grow_sat, planes)
        saturated += kernel.flag_from(first, np.uint8(SATURATED), groupdq)
        if use_readpatt:
            _flag_hidden(ramp, groupdq, first, planes[0], threshold, unchecked, bias, nframes, n_pix_grow_sat)
    zero_frames = exposure.extra.get("ZEROFRAME")
    for frame in zero_frames if zero_frames is not None else ():
        low = np.zeros((1, *frame.shape), np.uint8)
        first = _flag_ramp(frame[None], low, threshold, n_pix_grow_sat, planes)
        frame[(first == 0) | (low[0] != 0)] = 0
    exposure.pixeldq |= flags
    log.info("%d saturated ramps in %d integrations", saturated, len(exposure.sci))
    return exposure


def _thresholds(exposure, reference):
    """Thresholds, where they are not known, and the reference's flags with NO_SAT_CHECK there."""
    threshold, flags = aligned.image(reference, exposure), aligned.bits(reference, exposure)
    unknown = np.isnan(threshold)
    flags = flags | np.where(unknown, np.uint32(NO_SAT_CHECK), np.uint32(0))
    unchecked = (flags & NO_SAT_CHECK) != 0
    return np.where(unchecked, ABOVE_CONVERTER, threshold), unchecked, flags


def _flag_ramp(groups, groupdq, threshold, grow, planes):
    """Flag the A/D floor; returns the first saturated group of each pixel, grown (one of the scratch planes)."""
    first, scratch, grown = planes
    kernel.first_saturated(groups, threshold, np.uint8(AD_FLOOR | DO_NOT_USE), groupdq, first)
    kernel.box_minimum(first, grow, scratch, grown)
    return grown


def _flag_hidden(ramp, groupdq, first, part, threshold, unchecked, bias, nframes, grow):
    """DO_NOT_USE where the averaging of frames hides saturation."""
    bit = np.uint8(DO_NOT_USE)
    if nframes > 1:
        # Frames are numbered as if none were dropped between groups, so that the ratio tends to 1 with the group's number.
        groups = np.arange(len(ramp))
        dilution = (groups * nframes + (nframes + 1) / 2) / ((groups + 1) * nframes)
        kernel.partly_saturated(ramp, first, threshold, unchecked, dilution, np.uint8(SATURATED | DO_NOT_USE), groupdq, part)
        kernel.flag_around(part, grow, bit, groupdq)
    if len(ramp) > 2:
        kernel.flag_second_group(ramp, first, threshold, bias, nframes, bit, groupdq)
