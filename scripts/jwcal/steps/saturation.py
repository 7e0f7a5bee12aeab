"""Flag groups that are saturated, or too low for the converter."""

import logging
from typing import Annotated

import numpy as np

from ..kernels.detector import saturation as kernel
from ..model import aligned, irs2_layout
from ..vocabulary.dq import AD_FLOOR, DO_NOT_USE, NO_SAT_CHECK, SATURATED
from ..vocabulary.parameters import Range

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
        Where a group is the mean of several frames, mark it DO_NOT_USE if its last frames may have been saturated.
        It is the group before the first saturated one if that is high enough, and group 2 if an event late in it saturated group 3
        (for this the superbias is wanted; without it the bias counts as 0). In IRS2 readout only the latter is done, the group
        is SATURATED then, and so are its neighbours; the reference samples are not looked at.

    Raises
    ------
    ReferenceError
        A reference does not fit the exposure.
    """
    rows = irs2_layout.science_rows(exposure)
    threshold, unchecked = _thresholds(exposure, refs["saturation"], rows)
    bias = _bias(exposure, refs, rows) if use_readpatt else None
    nframes = int(exposure.header["NFRAMES"]) if use_readpatt else None
    irs2 = irs2_layout.is_irs2(exposure.sci.shape)
    planes = [np.empty(threshold.shape, np.uint16) for _ in range(3)]
    saturated = 0
    for ramp, groupdq in zip(exposure.sci, exposure.groupdq, strict=True):
        kernel.first_saturated(ramp, rows, threshold, np.uint8(AD_FLOOR | DO_NOT_USE), groupdq, planes[0])
        if use_readpatt and irs2 and len(ramp) > 2:
            kernel.second_group_first(ramp, rows, threshold, bias, nframes, planes[0])
        first = _grown(planes, n_pix_grow_sat)
        saturated += kernel.flag_from(first, rows, np.uint8(SATURATED), groupdq)
        if use_readpatt and not irs2:
            _flag_hidden(ramp, groupdq, first, planes[0], threshold, unchecked, bias, nframes, n_pix_grow_sat)
    zero_frames = exposure.extra.get("ZEROFRAME")
    for frame in zero_frames if zero_frames is not None else ():
        low = np.zeros((1, *frame.shape), np.uint8)
        kernel.first_saturated(frame[None], rows, threshold, np.uint8(AD_FLOOR | DO_NOT_USE), low, planes[0])
        unusable = low[0] != 0
        unusable[rows] |= _grown(planes, n_pix_grow_sat) == 0
        frame[unusable] = 0
    log.info("%d saturated ramps in %d integrations", saturated, len(exposure.sci))
    return exposure


def _thresholds(exposure, reference, rows):
    """Thresholds, and where they are not known; the exposure takes the reference's flags over, with NO_SAT_CHECK there."""
    pixels = (rows.size, exposure.sci.shape[-1])
    threshold, flags = aligned.image(reference, exposure, pixels=pixels), aligned.bits(reference, exposure, pixels=pixels)
    unchecked = np.empty(pixels, bool)
    unknown = np.uint32(NO_SAT_CHECK)
    return kernel.usable_thresholds(threshold, flags, rows, unknown, ABOVE_CONVERTER, exposure.pixeldq, unchecked), unchecked


def _bias(exposure, refs, rows):
    if "superbias" not in refs:
        return np.zeros((rows.size, exposure.sci.shape[-1]), np.float32)
    bias = aligned.image(refs["superbias"], exposure)
    return bias if len(bias) == rows.size else bias[rows]


def _grown(planes, n):
    """The first saturated group of a pixel or of those around it, in one of the scratch planes."""
    first, scratch, grown = planes
    kernel.box_minimum(first, n, scratch, grown)
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
