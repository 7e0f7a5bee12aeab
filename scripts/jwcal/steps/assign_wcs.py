"""Say where every pixel looks: a gWCS, its approximation by FITS keywords, and the footprint."""

from typing import Annotated, Literal

from ..machine.parts import part
from ..vocabulary.errors import Skip
from ..vocabulary.parameters import Range

# which of these an exposure needs depends on its kind: see its module of PARTS
OPTIONAL = (
    *("distortion", "filteroffset", "specwcs", "regions", "wavelengthrange"),
    *("disperser", "fpa", "camera", "collimator", "fore", "ote", "msa", "ifupost", "ifuslicer", "ifufore", "chromcorr"),  # NIRSpec's
)

MEMBERS = ("msametadata",)  # what micro-shutters were open

Degree = Literal[None, 1, 2, 3, 4, 5, 6]

PARTS = {
    "kind": {
        "": "arithmetic/wcs/kinds/images",
        "imaging": "arithmetic/wcs/kinds/images",
        "lrs_slit": "arithmetic/wcs/kinds/prism",
        "lrs_slitless": "arithmetic/wcs/kinds/prism",
        "mrs": "arithmetic/wcs/kinds/slices",
        "soss": "arithmetic/wcs/kinds/soss",
        "nircam_series": "arithmetic/wcs/kinds/grisms",
        "nircam_stripes": "arithmetic/wcs/kinds/grisms",
        "nircam_wfss": "arithmetic/wcs/kinds/grisms",
        "niriss_wfss": "arithmetic/wcs/kinds/grisms",
        "miri_wfss": "arithmetic/wcs/kinds/grisms",
        "nrs_slits": "arithmetic/wcs/kinds/nirspec",
        "nrs_bright": "arithmetic/wcs/kinds/nirspec",
        "nrs_shutters": "arithmetic/wcs/kinds/nirspec",
        "nrs_slices": "arithmetic/wcs/kinds/nirspec",
        "nrs_imaging": "arithmetic/wcs/kinds/nirspec",
    }
}


def apply(
    exposure,
    refs,
    kind="imaging",
    *,
    sip_approx: bool = True,
    sip_max_pix_error: Annotated[float, Range(min=0)] = 0.01,
    sip_degree: Degree = None,
    sip_max_inv_pix_error: Annotated[float, Range(min=0)] = 0.01,
    sip_inv_degree: Degree = None,
    sip_npoints: Annotated[int, Range(min=8)] = 12,
    slit_y_low: float = -0.55,
    slit_y_high: float = 0.55,
    nrs_ifu_slice_wcs: bool = False,
    grism_source: Literal["target", "reference pixel"] = "target",
):
    """Give an exposure its WCS.

    Sets `exposure.wcs`: pixels of the subarray to ICRS degrees and, in spectra, wavelength in micron. In the science header S_REGION
    is set. Images also get, with `sip_approx`, the FITS WCS keywords: a tangent plane with SIP polynomials in place of the linear WCS that
    came with the exposure. Spectra get DISPAXIS and SPECSYS; those of the prism also an image of wavelengths, WAVELENGTH, and with a
    slit the place on the sky that the dither points at, DITH_RA and DITH_DEC.

    Parameters
    ----------
    exposure : Exposure
        Images (row, col) or integrations (int, row, col).
    refs : References
        Images: distortion, and filteroffset where the instrument has one. "lrs...": distortion, specwcs. "mrs": distortion, specwcs,
        regions, wavelengthrange. "nrs...": see `arithmetic.wcs.kinds.nirspec`. Grisms: distortion, specwcs, filteroffset;
        in stripes also regions.
    kind : str
        How the light came to the detector, one of PARTS; given by the table of chains, no parameter of the user's.
    sip_approx : bool
        Images: write the FITS WCS keywords with SIP polynomials.
    sip_max_pix_error, sip_max_inv_pix_error : float
        Largest error [pixel] of the approximation to the sky and back; the lowest degree up to 6 that reaches it is taken.
    sip_degree, sip_inv_degree : int, optional
        Take this degree whatever its error.
    sip_npoints : int
        The polynomials are fitted on a grid of so many pixels along each axis.
    slit_y_low, slit_y_high : float
        NIRSpec: a slit's light is looked for so far along it; it ends at -0.5 and 0.5.
    nrs_ifu_slice_wcs : bool
        NIRSpec's IFU: a WCS by slice, whose number is one more input, in place of a map of slices.
    grism_source : {"target", "reference pixel"}
        Time series with a grism: the undispersed source is at the reference pixel (XREF_SCI, counted from 1) and the offset that was
        asked for; or, as the peer has it, at the column whose number from 0 is XREF_SCI, and any offset is left out.

    Raises
    ------
    InputError
        A pointing keyword is missing.
    ReferenceError
        A reference does not hold what it should.
    Skip
        There is none.
    """
    sip = {
        "max_error": sip_max_pix_error,
        "degree": sip_degree,
        "max_inverse_error": sip_max_inv_pix_error,
        "inverse_degree": sip_inv_degree,
        "npoints": sip_npoints,
    }
    make, needed = part(PARTS["kind"], kind).KINDS[kind]
    for reference in needed:
        if reference not in refs:
            raise Skip(f"its {reference} reference is N/A")
    more = {"y_range": (slit_y_low, slit_y_high), "slice_wcs": nrs_ifu_slice_wcs, "grism_source": grism_source}
    make(exposure, refs, sip=sip if sip_approx else None, **more)
    return exposure
