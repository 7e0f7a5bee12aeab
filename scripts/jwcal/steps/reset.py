"""Subtract the transient that follows MIRI's detector reset from the first groups of each integration."""

import logging

import numpy as np

from ..kernels.detector.average_frames import subtract_frame
from ..machine.threads import side_by_side
from ..model import aligned
from ..vocabulary.errors import ReferenceError

log = logging.getLogger(__name__)

REFERENCES = ("reset",)


def apply(exposure, refs):
    """Subtract the reset reference; groups beyond its last stay as they are, integrations beyond its last get the last one's planes.

    Parameters
    ----------
    exposure : Exposure
        MIRI ramp in DN, before linearity.
    refs : References
        "reset": SCI (int, group, row, col) in DN, where NaN counts as 0; DQ.

    Raises
    ------
    ReferenceError
        SCI has other axes.
    """
    reset = refs["reset"]
    shape = reset.shape("SCI")
    if shape is None or len(shape) != 4:
        raise ReferenceError(f"SCI has the shape {shape}: planes by integration and group are needed", file=reset.path)
    exposure.sci = np.ascontiguousarray(exposure.sci)
    groups = min(exposure.sci.shape[1], shape[1])
    planes = np.minimum(exposure.first_integration + np.arange(len(exposure.sci)), shape[0] - 1)
    for plane in np.unique(planes):
        sharing = np.flatnonzero(planes == plane)
        _subtract(exposure.sci[sharing[0] : sharing[-1] + 1], reset, plane, groups)
    if reset.has("DQ"):
        exposure.flag(aligned.bits(reset, exposure))
    log.info("first %d groups", groups)
    return exposure


def _subtract(sci, reset, plane, groups):
    """Subtract an integration plane of the reference from the first groups of integrations (int, group, row, col)."""

    def subtract(group):
        at = (slice(plane, plane + 1), slice(group, group + 1))
        subtract_frame(sci, group, np.ascontiguousarray(reset.array("SCI", planes=at)[0, 0], np.float32), 1)

    side_by_side(subtract, range(groups))
