"""What is done to a pixel that was found to be an outlier."""

import numpy as np

from ...model.exposure import PLANES
from ...vocabulary import dq

VALUES = tuple(name for name in PLANES if name not in ("dq", "groupdq"))
KEPT = (*VALUES, "dq")  # what is changed


def mark(exposure, found):
    """Flag the pixels that were found; make all that can't be used NaN in every plane, and DO_NOT_USE.

    Parameters
    ----------
    exposure : Exposure
        Changed in place.
    found : ndarray of bool
        Of its shape.
    """
    if exposure.dq is None:
        exposure.dq = np.zeros(exposure.sci.shape, np.uint32)
    exposure.dq[found] |= np.uint32(dq.OUTLIER | dq.DO_NOT_USE)
    bad = (exposure.dq & np.uint32(dq.DO_NOT_USE)) != 0
    planes = [plane for plane in (getattr(exposure, name) for name in VALUES) if plane is not None and plane.shape == bad.shape]
    for plane in planes:
        bad |= np.isnan(plane)
    for plane in planes:
        plane[bad] = np.nan
    exposure.dq[bad] |= np.uint32(dq.DO_NOT_USE)


def unusable(exposure, bits):
    """Pixels with one of these bits: bool, of the shape of SCI."""
    if exposure.dq is None or not bits:
        return np.zeros(exposure.sci.shape, bool)
    return (exposure.dq & np.uint32(bits)) != 0
