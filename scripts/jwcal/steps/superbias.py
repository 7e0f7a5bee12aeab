"""Subtract the detector's bias structure from every group."""

import logging

from ..kernels.detector.subtract_reference import subtract_reference, subtract_reference_from_samples
from ..model import aligned

log = logging.getLogger(__name__)

REFERENCES = ("superbias",)


def apply(exposure, refs):
    """Subtract the superbias image (DN) from all groups and from the zero frames, and take over its flags.

    A bias that is NaN counts as 0: its pixel keeps its level and should be flagged in the reference's DQ.
    In a zero frame 0 stands for "no sample" and stays.

    Raises
    ------
    ReferenceError
        The superbias does not fit the exposure.
    """
    reference = refs["superbias"]
    bias, flags = aligned.image(reference, exposure), aligned.bits(reference, exposure)
    subtract_reference(exposure.sci, bias)
    zero_frames = exposure.extra.get("ZEROFRAME")
    if zero_frames is not None:
        subtract_reference_from_samples(zero_frames, bias)
    exposure.flag(flags)
    log.info("superbias subtracted from %d groups", exposure.sci.shape[0] * exposure.sci.shape[1])
    return exposure
