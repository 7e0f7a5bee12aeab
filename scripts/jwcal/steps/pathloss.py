"""Make up for the light of a source that does not get through the slit, or not to where it is extracted."""

from ..machine.parts import part

REFERENCES = ("pathloss",)
NEEDS = ("err",)  # planes of an image
PARTS = {"kind": {"lrs": "arithmetic/spectra_calibration/pathloss_lrs"}}


def apply(
    exposure,
    refs,
    kind: str = "lrs",
    *,
    inverse: bool = False,
    source_type: str | None = None,
    user_slit_loc: float | None = None,
):
    """Correct a spectrum for slit losses.

    SCI and ERR are multiplied by what a source loses at each pixel's wavelength, the variances by its square. The correction is also
    saved, PATHLOSS_PS. A pixel whose wavelength the reference does not have is NaN and DO_NOT_USE.

    Parameters
    ----------
    exposure : Exposure
        (row, col) or (int, row, col), with its WCS.
    refs : References
        pathloss: losses by wavelength and place in the slit.
    kind : str
        How the reference tells them, one of PARTS; given by the table of chains.
    inverse : bool
        Take the correction out again.
    source_type : str, optional
        "POINT" or "EXTENDED", in place of SRCTYPE.
    user_slit_loc : float, optional
        Prism: the target is so far from where it should be, across the slit [arcsec]; its edges are at -0.255 and 0.255.

    Raises
    ------
    Skip
        The source is of a type that has no correction.
    ReferenceError
        The reference does not hold what it should.
    InputError
        The exposure has no wavelengths, or does not say where the target is.
    """
    part(PARTS["kind"], kind).correct(exposure, refs["pathloss"], inverse=inverse, source_type=source_type, user_slit_loc=user_slit_loc)
    return exposure
