"""Undo the division by a power of 2 that the on-board averaging made of a number of frames that is none."""

import logging

from ..vocabulary.errors import Skip

log = logging.getLogger(__name__)


def apply(exposure, refs):
    """Multiply every group by FRMDIVSR / NFRAMES.

    The electronics average the NFRAMES frames of a group by adding them and shifting bits, that is dividing by FRMDIVSR.
    The zero frame is a single frame and was not divided.

    Raises
    ------
    Skip
        The two are equal, or the header does not tell that they differ.
    """
    nframes, divisor = exposure.header.get("NFRAMES"), exposure.header.get("FRMDIVSR")
    if not nframes:
        raise Skip("NFRAMES is missing")
    if divisor is None:
        if nframes & (nframes - 1):
            raise Skip(f"NFRAMES is {nframes}, no power of 2, and FRMDIVSR is missing: the groups may be scaled wrongly")
        raise Skip(f"NFRAMES is {nframes}, a power of 2")
    if divisor == nframes:
        raise Skip("FRMDIVSR equals NFRAMES")
    exposure.sci *= divisor / nframes
    log.info("groups multiplied by FRMDIVSR / NFRAMES = %g / %g", divisor, nframes)
    return exposure
