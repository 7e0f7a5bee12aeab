"""Leave out the last group of MIRI's ramps, which the reset of the neighbouring rows disturbs."""

from ..vocabulary.dq import DO_NOT_USE
from ..vocabulary.errors import Skip


def apply(exposure, refs):
    """Add DO_NOT_USE to the last group of each integration.

    Raises
    ------
    Skip
        Fewer than 3 groups.
    """
    if exposure.groupdq.shape[1] < 3:
        raise Skip("fewer than 3 groups")
    exposure.groupdq[:, -1] |= DO_NOT_USE
    return exposure
