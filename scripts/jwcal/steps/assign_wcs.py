"""Say where every pixel looks: a gWCS, its approximation by FITS keywords, and the footprint."""

import logging
from typing import Annotated, Literal

from ..vocabulary.parameters import Range

log = logging.getLogger(__name__)

REFERENCES = ("distortion",)
OPTIONAL = ("filteroffset",)

Degree = Literal[None, 1, 2, 3, 4, 5, 6]


def apply(
    exposure,
    refs,
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
):
    """Give an image its WCS.

    Sets `exposure.wcs` (pixels of the subarray to ICRS degrees) and in the science header S_REGION and, with `sip_approx`,
    the FITS WCS keywords: a tangent plane with SIP polynomials in place of the linear WCS that came with the exposure.

    Parameters
    ----------
    exposure : Exposure
        Images (row, col) or integrations (int, row, col).
    refs : References
        distortion, and filteroffset where the instrument has one.
    sip_max_pix_error, sip_max_inv_pix_error : float
        Largest error [pixel] of the approximation to the sky and back; the lowest degree up to 6 that reaches it is taken.
    sip_degree, sip_inv_degree : int, optional
        Take this degree whatever its error.
    sip_npoints : int
        The polynomials are fitted on a grid of so many pixels along each axis.
    slit_y_low, slit_y_high, nrs_ifu_slice_wcs
        For the spectra of NIRSpec; images have no use for them.

    Raises
    ------
    InputError
        A pointing keyword is missing.
    ReferenceError
        A reference does not hold what it should.
    """
    from ..arithmetic.wcs import footprint, imaging

    wcs = imaging.imaging_wcs(exposure.header, exposure.sci.shape, refs["distortion"], refs.get("filteroffset"))
    exposure.wcs = wcs
    region = footprint.s_region(wcs)
    if region is None:
        log.warning("A corner of the image has no place on the sky: S_REGION stays as it was")
    else:
        exposure.header.sci["S_REGION"] = (region, "spatial extent of the observation")
    if sip_approx:
        _approximate(exposure, sip_max_pix_error, sip_degree, sip_max_inv_pix_error, sip_inv_degree, sip_npoints)
    return exposure


def _approximate(exposure, max_error, degree, max_inverse_error, inverse_degree, npoints):
    """FITS keywords in place of the exposure's; the reference pixel stays where it is."""
    from ..arithmetic.wcs import sip

    crpix = [exposure.header.get(key) for key in ("CRPIX1", "CRPIX2")]
    try:
        fitted = sip.approximate(
            exposure.wcs,
            None if None in crpix else crpix,
            max_error=max_error,
            degree=degree,
            max_inverse_error=max_inverse_error,
            inverse_degree=inverse_degree,
            npoints=npoints,
        )
    except ValueError as error:  # the gWCS is there and right: the keywords are for display
        log.warning("No SIP approximation (%s): the FITS WCS keywords stay as they were", error)
        return
    sip.write(exposure.header.sci, fitted)
    log.info("SIP of degree %s, largest error %.4f pixel", fitted.get("A_ORDER", 1), fitted["SIPMXERR"])
