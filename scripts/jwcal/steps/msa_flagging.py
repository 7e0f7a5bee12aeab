"""Flag what sees light through micro-shutters that do not close."""

import logging

import numpy as np

from ..arithmetic.slits.failed_open import failed_open
from ..vocabulary.dq import MSA_FAILED_OPEN

log = logging.getLogger(__name__)

REFERENCES = ("msaoper", "msa", "disperser", "wavelengthrange", "fpa", "camera", "collimator")


def apply(exposure, refs):
    """Flag the pixels that light of a shutter that failed open reaches as MSA_FAILED_OPEN.

    Parameters
    ----------
    exposure : Exposure
        (row, col) or (int, row, col), of NIRSpec with a disperser.
    refs : References
        msaoper: the shutters that do not obey; the others: the path of their light to the detector.

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
    return exposure
