"""Flag the groups in which a bright pixel's charge moves to its neighbours. Off by default."""

import logging

import numpy as np

from ..kernels.detector.charge_migration import flag_charge_migration
from ..vocabulary.dq import CHARGELOSS, DO_NOT_USE
from ..vocabulary.errors import Skip

log = logging.getLogger(__name__)

SKIP = True


def apply(exposure, refs, *, signal_threshold: float = 25000.0):
    """Add CHARGELOSS and DO_NOT_USE from the group on in which a pixel exceeds the threshold, to the pixel and its 4 neighbours.

    Parameters
    ----------
    exposure : Exposure
        Ramp in DN, linear and dark-subtracted. A group that is flagged DO_NOT_USE and nothing else starts no flagging.
    signal_threshold : float
        In DN.

    Raises
    ------
    Skip
        Fewer than 3 groups.
    """
    if exposure.sci.shape[1] < 3:
        raise Skip("fewer than 3 groups")
    exposure.groupdq = np.ascontiguousarray(exposure.groupdq)
    bright = flag_charge_migration(exposure.sci, exposure.groupdq, signal_threshold, DO_NOT_USE, CHARGELOSS | DO_NOT_USE)
    log.info("%d pixels above %g DN", bright, signal_threshold)
    return exposure
