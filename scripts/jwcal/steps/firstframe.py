"""Leave out the first group of MIRI's ramps. rscd does it today; off by default."""

import logging

import numpy as np

from ..vocabulary.dq import DO_NOT_USE, FLUX_ESTIMATED, SATURATED
from ..vocabulary.errors import Skip

log = logging.getLogger(__name__)

SKIP = True


def apply(exposure, refs, *, bright_use_group1: bool = True):
    """Add DO_NOT_USE to the first group of each integration.

    Parameters
    ----------
    exposure : Exposure
        MIRI ramp, with saturation flagged.
    bright_use_group1 : bool
        Keep the first group of pixels that saturate by the third: the transient is small beside their signal. They get FLUX_ESTIMATED.

    Raises
    ------
    Skip
        Fewer than 4 groups.
    """
    if exposure.groupdq.shape[1] < 4:
        raise Skip("fewer than 4 groups")
    if not bright_use_group1:
        exposure.groupdq[:, 0] |= DO_NOT_USE
        return exposure
    bright = (exposure.groupdq[:, 2] & SATURATED) != 0
    exposure.groupdq[:, 0] |= np.where(bright, 0, DO_NOT_USE).astype(np.uint8)
    exposure.pixeldq[bright.any(axis=0)] |= FLUX_ESTIMATED
    log.info("first group kept in %d bright ramps", np.count_nonzero(bright))
    return exposure
