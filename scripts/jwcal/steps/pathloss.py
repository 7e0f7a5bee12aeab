"""Make up for the light of a source that does not get through the slit, or not to where it is extracted."""

from ..machine.parts import part

REFERENCES = ("pathloss",)
NEEDS = ("err",)  # planes of an image
PARTS = {
    "kind": {
        "lrs": "arithmetic/spectra_calibration/pathloss_lrs",
        "slits": "arithmetic/spectra_calibration/pathloss_nirspec",
        "shutters": "arithmetic/spectra_calibration/pathloss_nirspec",
        "ifu": "arithmetic/spectra_calibration/pathloss_nirspec",
    }
}


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

    SCI and ERR are multiplied by what a source loses at each pixel's wavelength (MIRI), or divided by what it keeps (NIRSpec), the
    variances by its square. The correction is also saved, PATHLOSS_PS; that of uniform light, where the reference has it, PATHLOSS_UN. A
    pixel whose wavelength the reference does not have is NaN and DO_NOT_USE.

    Parameters
    ----------
    exposure : Exposure
        (row, col) or (int, row, col) a slit, with its WCS.
    refs : References
        pathloss: losses by wavelength and place in the slit.
    kind : str
        "lrs", or what the light of NIRSpec goes through: "slits" by their names, "shutters", or slices of the integral field unit, "ifu";
        given by the table of chains.
    inverse : bool
        Take the correction out again.
    source_type : str, optional
        "POINT" or "EXTENDED", in place of SRCTYPE.
    user_slit_loc : float, optional
        Prism: the target is so far from where it should be, across the slit [arcsec]; its edges are at -0.255 and 0.255.

    Raises
    ------
    Skip
        The source is of a type that has no correction, or no slit has one in the reference.
    ReferenceError
        The reference does not hold what it should.
    InputError
        The exposure has no wavelengths, or does not say where the target is.
    """
    given = {"kind": kind, "inverse": inverse, "source_type": source_type, "user_slit_loc": user_slit_loc}
    part(PARTS["kind"], kind).correct(exposure, refs["pathloss"], **given)
    return exposure
