"""Flag what sees light through micro-shutters that do not close."""

import logging

import numpy as np

from ..arithmetic.slits.failed_open import failed_open
from ..arithmetic.wcs.nirspec.msa import open_shutters
from ..vocabulary.dq import DO_NOT_USE, MSA_FAILED_OPEN

log = logging.getLogger(__name__)

REFERENCES = ("msaoper", "msa", "disperser", "wavelengthrange", "fpa", "camera", "collimator")
FROM_MEMORY = {"assign_wcs": {}}  # a slitlet's own shutters


def apply(exposure, refs, *, exclude: bool = False):
    """Flag the pixels that light of a shutter that failed open reaches as MSA_FAILED_OPEN.

    The flag alone changes nothing of what later steps do: most of that light is faint, and a spectrum with a hole has none.

    Parameters
    ----------
    exposure : Exposure
        (row, col) or (int, row, col), of NIRSpec with a disperser.
    refs : References
        msaoper: the shutters that do not obey; the others: the path of their light to the detector.
    exclude : bool
        Make these pixels DO_NOT_USE too, so that no later step takes them. Light of the open shutters of a slitlet stays.

    Raises
    ------
    InputError
        A keyword is missing.
    ReferenceError
        A reference does not hold what it should.
    """
    seen, number = failed_open(exposure, refs)
    exposure.dq |= np.where(seen, np.uint32(MSA_FAILED_OPEN), np.uint32(0))
    log.info("%d shutters failed open, their light is on %d pixels", number, np.count_nonzero(seen))
    if exclude:
        own = open_shutters(getattr(exposure.about.get("slits"), "slits", ()))
        stray, number = failed_open(exposure, refs, own)
        exposure.dq |= np.where(stray, np.uint32(DO_NOT_USE), np.uint32(0))
        log.info("%d pixels are excluded, by %d shutters that are no slitlet's", np.count_nonzero(stray), number)
    return exposure
