"""From DN/s to MJy/sr: the flux conversion of the exposure's optical elements."""

from ..machine.parts import part
from ..vocabulary.errors import Skip

REFERENCES = ("photom",)
OPTIONAL = ("area",)
NEEDS = ("err",)  # planes of an image
PARTS = {
    "kind": {
        "": "arithmetic/flux/images",
        "spectra": "arithmetic/flux/spectra",
        "grism": "arithmetic/flux/spectra",
        "slices": "arithmetic/flux/slices",
        "slits": "arithmetic/flux/nirspec_slits",
        "shutters": "arithmetic/flux/nirspec_slits",
        "ifu": "arithmetic/flux/nirspec_slices",
        "extracted": "arithmetic/flux/extracted",
    }
}


def apply(
    exposure,
    refs,
    kind: str = "",
    integrations: str = "",
    keep_both: bool = False,
    *,
    inverse: bool = False,
    source_type: str | None = None,
    apply_time_correction: bool = True,
):
    """Convert an image, integrations or spectra to surface brightness; spectra of point sources to flux, where the reference is for it.

    Sets PHOTMJSR (MJy/sr for 1 DN/s) and PHOTUJA2 (the same in uJy/arcsec2), PIXAR_SR and PIXAR_A2 (the nominal pixel's area) and
    BUNIT in the science header, and attaches the map of relative pixel areas as the extension AREA; the map is not applied.

    Parameters
    ----------
    exposure : Exposure
        (row, col) or (int, row, col).
    refs : References
        photom: table PHOTOM, or for "slices" an image of factors, and TIMECOEFF_* where the sensitivity changes with time.
        area: SCI, optional.
    kind : str
        "" for images, "spectra" for what has a wavelength in every pixel, "grism" where the conversion is
        of the light of a micron and is divided by what of it a pixel has, "slices" for those of the mid-infrared spectrometer; for NIRSpec
        "slits", "shutters", or "ifu", whose pixels have areas of their own; "extracted" for tables of spectra. This and
        the next two are given by the table of chains.
    integrations : {"", "uncalibrated"}
        Whether single integrations are calibrated.
    keep_both : bool
        Keep the conversion of a point source beside that of uniform light in its slit, PHOTOM_PS and PHOTOM_UN.
    inverse : bool
        Divide: back to DN/s.
    source_type : str, optional
        For spectra: "POINT" or "EXTENDED", in place of each slit's SRCTYPE. Images are surface brightness.
    apply_time_correction : bool
        Divide the conversion by the sensitivity at mid-exposure relative to that of the reference epoch.

    Raises
    ------
    Skip
        The reference has no row for the exposure; integrations that are not calibrated, which get the pixel areas alone.
    ReferenceError
        It has several, one without a conversion, none at the wavelengths of the spectrum, or its tables do not belong together.
    InputError
        A spectrum has no wavelengths.
    """
    if integrations == "uncalibrated" and exposure.sci.ndim == 3:
        part(PARTS["kind"], kind).tell_areas(exposure, refs["photom"], refs.get("area"))
        why = "these integrations are compared with each other in DN/s: they have no flux calibration"
        raise Skip(why, used=(*REFERENCES, *OPTIONAL))
    given = {"kind": kind, "keep_both": keep_both, "inverse": inverse, "timed": apply_time_correction, "source_type": source_type}
    part(PARTS["kind"], kind).convert(exposure, refs["photom"], refs.get("area"), **given)
    return exposure
