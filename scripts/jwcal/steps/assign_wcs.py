"""Say where every pixel looks: a gWCS, its approximation by FITS keywords, and the footprint."""

import logging
from typing import Annotated, Literal

from ..vocabulary.errors import Skip
from ..vocabulary.parameters import Range

log = logging.getLogger(__name__)

# which of these an exposure needs depends on its kind: see KINDS
OPTIONAL = (
    *("distortion", "filteroffset", "specwcs", "regions", "wavelengthrange"),
    *("disperser", "fpa", "camera", "collimator", "fore", "ote", "msa", "ifupost", "ifuslicer", "ifufore", "chromcorr"),  # NIRSpec's
)

MEMBERS = ("msametadata",)  # what micro-shutters were open

Degree = Literal[None, 1, 2, 3, 4, 5, 6]

ALONG_ROWS, ALONG_COLUMNS = 1, 2  # DISPAXIS: how a spectrum lies


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
        regions, wavelengthrange. "nrs...": see `NIRSPEC`. Grisms: distortion, specwcs, filteroffset.
    kind : str
        How the light came to the detector, one of KINDS; given by the table of chains, no parameter of the user's.
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
    make, needed = KINDS[kind]
    _needs(refs, needed)
    more = {"y_range": (slit_y_low, slit_y_high), "slice_wcs": nrs_ifu_slice_wcs, "grism_source": grism_source}
    make(exposure, refs, sip=sip if sip_approx else None, **more)
    return exposure


def _needs(refs, kinds):
    for kind in kinds:
        if kind not in refs:
            raise Skip(f"its {kind} reference is N/A")


def _imaging(exposure, refs, *, sip, **_):
    from ..arithmetic.wcs import footprint, imaging

    exposure.wcs = imaging.imaging_wcs(exposure.header, exposure.sci.shape, refs["distortion"], refs.get("filteroffset"))
    _set_region(exposure, footprint.s_region(exposure.wcs), "a corner of the image has no place on the sky")
    if sip is not None:
        _approximate(exposure, exposure.wcs, **sip)


def _lrs_slit(exposure, refs, **_):
    from ..arithmetic.wcs import miri_lrs

    _lrs(exposure, refs, slitless=False)
    region = miri_lrs.slit_region(exposure.wcs, refs["specwcs"])
    _set_region(exposure, region, "the specwcs reference does not tell the slit's corners")
    pointed = miri_lrs.pointed_at(exposure.header, exposure.wcs)
    if pointed is None:
        log.warning("No XOFFSET, YOFFSET: where the dither points is not known")
    else:
        exposure.header.primary["DITH_RA"] = (pointed[0], "RA of dithered pointing location")
        exposure.header.primary["DITH_DEC"] = (pointed[1], "Dec of dithered pointing location")


def _lrs_slitless(exposure, refs, **_):
    from ..arithmetic.wcs import footprint

    _lrs(exposure, refs, slitless=True)
    _set_region(exposure, footprint.s_region(exposure.wcs), "the corners of the subarray are beyond the spectrum")


def _lrs(exposure, refs, *, slitless):
    from ..arithmetic.wcs import miri_lrs
    from ..arithmetic.wcs.pixel_coordinates import wavelength_and_sky

    wcs = miri_lrs.lrs_wcs(exposure.header, refs["distortion"], refs["specwcs"], slitless=slitless)
    _dispersed(exposure, wcs, ALONG_COLUMNS)
    *_, wavelength = wavelength_and_sky(exposure.wcs, exposure.sci.shape)
    exposure.pixels[0].extra["WAVELENGTH"] = wavelength.astype("float32")
    for kind, of in (("STRT", "start"), ("SIZE", "size")):  # its only slit is the whole subarray
        for axis, name in ((1, "x"), (2, "y")):
            exposure.header.sci[f"SLT{kind}{axis}"] = (exposure.header[f"SUB{kind}{axis}"], f"Slit {of} in {name}")


def _mrs(exposure, refs, **_):
    from ..arithmetic.wcs import miri_mrs
    from ..arithmetic.wcs.pixel_coordinates import extent

    _dispersed(exposure, miri_mrs.mrs_wcs(exposure.header, exposure.sci.shape, *(refs[kind] for kind in MRS)), ALONG_COLUMNS)
    region, (blue, red) = extent(exposure.wcs, exposure.sci.shape)
    _set_region(exposure, region, "no pixel is in a slice")
    log.info("Wavelengths from %.4f to %.4f micron", blue, red)


def _series(exposure, refs, *, grism_source, **_):
    from ..arithmetic.wcs import grism

    wcs = grism.series_wcs(exposure.header, exposure.sci.shape, refs, source=grism_source)
    _dispersed(exposure, wcs, ALONG_ROWS)


def _field(optics):
    """What makes the WCS of a field without slits, by the instrument's optics."""

    def make(exposure, refs, *, sip, **_):
        from ..arithmetic.wcs import footprint, grism

        wcs, image, axis = grism.wfss_wcs(exposure.header, exposure.sci.shape, refs, grism.OPTICS[optics])
        _dispersed(exposure, wcs, axis)
        if "S_REGION" not in exposure.header:
            _set_region(exposure, footprint.s_region(image), "a corner of the image has no place on the sky")
        if sip is not None:
            _approximate(exposure, image, **sip)

    return make


def _nrs_slits(exposure, refs, *, y_range, kind="slits", **_):
    from ..arithmetic.slits.open_slits import open_slits

    _needs(refs, () if exposure.header.get("FILTER") == "OPAQUE" else FROM_SKY)
    slits = open_slits(exposure, refs, kind, y_range)
    _dispersed(exposure, slits.whole_wcs(), ALONG_ROWS)
    exposure.about["slits"] = slits  # for the steps that follow
    _nirspec_range(exposure, slits.optics)


def _nrs_bright(*arguments, **more):
    _nrs_slits(*arguments, kind="bright slit", **more)


def _nrs_shutters(*arguments, **more):
    _nrs_slits(*arguments, kind="shutters", **more)


def _nrs_slices(exposure, refs, *, y_range, slice_wcs, **_):
    from ..arithmetic.slits.open_slits import open_slits

    _needs(refs, () if exposure.header.get("FILTER") == "OPAQUE" else (*FROM_SKY, "chromcorr"))
    slices = open_slits(exposure, refs, "slices", y_range)
    wcs = slices.wcs()
    _dispersed(exposure, slices.slice_wcs() if slice_wcs else wcs, ALONG_ROWS)
    exposure.about["slits"] = slices
    exposure.only.extra["REGIONS"] = slices.labels
    _nirspec_range(exposure, slices.optics)
    if not slices.optics.lamp:
        region, (blue, red) = slices.extent(wcs)
        _set_region(exposure, region, "no pixel is in a slice")
        log.info("Wavelengths from %.4f to %.4f micron", blue, red)


def _nrs_imaging(exposure, refs, *, sip, **_):
    from ..arithmetic.wcs import footprint
    from ..arithmetic.wcs.nirspec.imaging import imaging_wcs
    from ..arithmetic.wcs.nirspec.optics import Optics

    optics = Optics(exposure.header, refs)
    _needs(refs, () if optics.lamp else FROM_SKY)
    exposure.wcs = imaging_wcs(optics, exposure.sci.shape)
    _nirspec_range(exposure, optics)
    if not optics.lamp:
        _set_region(exposure, footprint.s_region(exposure.wcs), "a corner of the image has no place on the sky")
        if sip is not None:
            _approximate(exposure, exposure.wcs, **sip)


def _nirspec_range(exposure, optics):
    """Keywords of the wavelengths that were looked for; a lamp is no place on the sky."""
    order, low, high = optics.range
    exposure.header.sci["WAVSTART"] = (low, "[m] lower bound of the default wavelength range")
    exposure.header.sci["WAVEND"] = (high, "[m] upper bound of the default wavelength range")
    exposure.header.sci["SPORDER"] = (order, "default spectral order")
    if optics.lamp:
        exposure.header.sci.remove("S_REGION", ignore_missing=True)


def _soss(exposure, refs, **_):
    from ..arithmetic.wcs import niriss_soss

    _dispersed(exposure, niriss_soss.soss_wcs(exposure.header, exposure.sci.shape, refs["specwcs"]), ALONG_ROWS)


MRS = ("distortion", "specwcs", "regions", "wavelengthrange")
NIRSPEC = ("disperser", "wavelengthrange", "fpa", "camera", "collimator")
FROM_SKY = ("fore", "ote")  # which lamps do without
GRISM = ("distortion", "specwcs")

# How the light came to the detector -> what makes its WCS, and the references without which it can't. The former takes the exposure, which
# gets `wcs` and keywords, the references, and `sip`: the settings of the approximation, or None.
KINDS = {
    "imaging": (_imaging, ("distortion",)),
    "lrs_slit": (_lrs_slit, ("distortion", "specwcs")),
    "lrs_slitless": (_lrs_slitless, ("distortion", "specwcs")),
    "mrs": (_mrs, MRS),
    "soss": (_soss, ("specwcs",)),
    "nircam_series": (_series, GRISM),
    "nircam_wfss": (_field("nircam"), GRISM),
    "niriss_wfss": (_field("niriss"), GRISM),
    "miri_wfss": (_field("miri"), GRISM),
    "nrs_slits": (_nrs_slits, (*NIRSPEC, "msa")),
    "nrs_shutters": (_nrs_shutters, (*NIRSPEC, "msa")),
    "nrs_slices": (_nrs_slices, (*NIRSPEC, "ifupost", "ifuslicer", "ifufore")),
    "nrs_imaging": (_nrs_imaging, NIRSPEC),
    "nrs_bright": (_nrs_bright, (*NIRSPEC, "msa")),
}


def _dispersed(exposure, wcs, axis):
    """The WCS of a spectrum, and what its keywords say of it."""
    exposure.wcs = wcs
    exposure.header.sci["DISPAXIS"] = (axis, "Dispersion direction")
    exposure.header.sci["SPECSYS"] = ("BARYCENT", "Spectral reference frame")


def _set_region(exposure, region, why):
    if region is None:
        log.warning("S_REGION stays as it was: %s", why)
    else:
        exposure.header.sci["S_REGION"] = (region, "spatial extent of the observation")


def _approximate(exposure, wcs, **settings):
    """FITS keywords in place of the exposure's; the reference pixel stays where it is."""
    from ..arithmetic.wcs import sip

    crpix = [exposure.header.get(key) for key in ("CRPIX1", "CRPIX2")]
    try:
        fitted = sip.approximate(wcs, None if None in crpix else crpix, **settings)
    except ValueError as error:  # the gWCS is there and right: the keywords are for display
        log.warning("No SIP approximation (%s): the FITS WCS keywords stay as they were", error)
        return
    sip.write(exposure.header.sci, fitted)
    log.info("SIP of degree %s, largest error %.4f pixel", fitted.get("A_ORDER", 1), fitted["SIPMXERR"])
