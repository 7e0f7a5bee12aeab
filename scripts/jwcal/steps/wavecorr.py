"""Correct the wavelengths of a point source that is beside the middle of its slit: its spectrum is moved along the dispersion."""

import logging

from ..arithmetic.spectra_calibration import zero_point
from ..vocabulary.errors import Skip

log = logging.getLogger(__name__)

OPTIONAL = ("wavecorr",)


def apply(exposure, refs, aperture: str = ""):
    """Put the correction into the WCS of each slit with a point source, and its wavelengths into WAVELENGTH.

    The reference has the offset in pixels as a function of the wavelength and of the source's place across the slit (SRCXPOS); times the
    dispersion there it is one in wavelength. The WCS has a frame more, `wavecorr_frame`, after `slit_frame`. WAVECOR tells of each
    slit whether it was corrected.

    Parameters
    ----------
    exposure : Exposure
        Of slits, each with its gWCS, SRCTYPE and SRCXPOS.
    refs : References
        wavecorr: the list `apertures`.
    aperture : str
        What all slits are called in the reference, where it is not by their own name; given by the table of chains.

    Raises
    ------
    Skip
        There is no reference, or no slit is corrected.
    InputError
        A slit has no WCS.
    ReferenceError
        The reference has no list of apertures.
    """
    reference = refs.get("wavecorr")
    if reference is None:
        raise Skip("there is no wavecorr reference")
    corrected = []
    for slit in exposure.slits():
        corrected.append(zero_point.correct(slit, reference, aperture))
        slit.header.sci["WAVECOR"] = (corrected[-1], "Wavelength corrected (T/F)")
    if not any(corrected):
        raise Skip("no slit has a point source and a correction in the reference")
    return exposure
