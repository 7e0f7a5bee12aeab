"""Divide out the fringes of the mid-infrared spectrometer: light that is reflected in the detector interferes with itself."""

import logging

import numpy as np

from ..arithmetic.spectra_calibration.apply_map import multiply
from ..model import aligned

log = logging.getLogger(__name__)

REFERENCES = ("fringe",)
NEEDS = ("err",)


def apply(exposure, refs):
    """Divide by the fringes that extended light has.

    SCI and ERR are divided by the fringe flat, the variances by its square. Where the reference has no value, or 0, nothing is divided.
    Its flags tell of the flat and not of the pixels: they are not taken over.

    Parameters
    ----------
    exposure : Exposure
        Slices on one detector, (row, col).
    refs : References
        fringe: SCI.

    Raises
    ------
    ReferenceError
        The fringe flat does not cover the exposure.
    """
    flat = aligned.image(refs["fringe"], exposure)
    unusable = ~np.isfinite(flat) | (flat == 0)
    multiply(exposure, np.where(unusable, np.float32(1), flat), divide=True)
    log.info("Divided by the fringes %s", refs["fringe"].name)
    return exposure
