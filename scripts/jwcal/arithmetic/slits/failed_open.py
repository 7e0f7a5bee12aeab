"""Where on the detector the light of micro-shutters falls that do not close."""

import numpy as np
from stdatamodels.jwst.transforms.models import Slit

from ...files.reference_file import understood
from ..wcs.nirspec.exposure_slits import ExposureSlits
from ..wcs.nirspec.msa import LONG, QUADRANTS
from ..wcs.nirspec.optics import Optics

STATES = ("Internal state", "TA state", "state")  # of a shutter, in the reference
ENDS = (-0.5, 0.5)  # of a shutter


def failed_open(exposure, refs, own=()):
    """Which pixels see a shutter that failed open.

    Parameters
    ----------
    exposure : Exposure
    refs : References
        msaoper: `msaoper`, a list of shutters with Q, x, y and STATES; msa and those of `Optics`.
    own : collection of (int, int, int)
        Quadrant, x and y of shutters that are not looked at: they were to be open.

    Returns
    -------
    seen : ndarray of bool, (row, col)
    number : int
        Of such shutters.
    """
    shutters = []
    with understood("msaoper", refs["msaoper"].path):
        for shutter in refs["msaoper"].tree["msaoper"]:
            quadrant, x, y = (int(shutter[name]) for name in ("Q", "x", "y"))
            if quadrant not in QUADRANTS or not 1 <= x <= LONG or y < 1:
                raise ValueError(f"there is no shutter Q = {quadrant}, x = {x}, y = {y}")
            if any(shutter[state] == "open" for state in STATES) and (quadrant, x, y) not in own:
                shutters.append(Slit(len(shutters) + 1, x + (y - 1) * LONG, 0, x, y, *ENDS, quadrant, 0, "x"))
    if not shutters:
        return np.zeros(exposure.shape[-2:], bool), 0
    found = ExposureSlits(Optics(exposure.header, refs), refs["msa"], shutters, exposure.shape, may_miss=True)
    return found.mask(), len(shutters)
