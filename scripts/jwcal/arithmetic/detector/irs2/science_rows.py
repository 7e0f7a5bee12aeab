"""Leave the samples of reference pixels out of an exposure in IRS2 readout."""

import numpy as np

from ....kernels.detector.irs2 import move_rows
from ....model.irs2_layout import is_irs2, science_rows


def keep_science_rows(exposure):
    """Leave only the detector's own pixels in an exposure: its samples and flags, and all maps of its pixels.

    Samples and group flags are not copied: what is kept moves to the front of their memory, and the rest is given back.
    """
    rows = science_rows(exposure)
    for name in ("sci", "groupdq"):
        array = np.ascontiguousarray(getattr(exposure, name))
        setattr(exposure, name, None)
        move_rows(array.reshape(-1, array.shape[3]), array.shape[2], rows)
        shape = (*array.shape[:2], rows.size, array.shape[3])
        try:
            array.resize(shape)
        except ValueError:  # someone else looks at this memory, too
            array = array.reshape(-1)[: np.prod(shape)].reshape(shape)
        setattr(exposure, name, array)
    exposure.pixeldq = exposure.pixeldq[rows]
    for name, array in exposure.extra.items():
        if array.ndim > 1 and is_irs2(array.shape):
            exposure.extra[name] = array[..., rows, :]
