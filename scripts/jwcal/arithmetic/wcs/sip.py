"""FITS WCS keywords with SIP polynomials that approximate an image's gWCS (Shupe et al. 2005, ASPC 347, 491)."""

import logging
import re
import warnings

from numpy.linalg import LinAlgError

log = logging.getLogger(__name__)

DEGREES = range(1, 7)  # tried when no degree is asked for, the lowest that is good enough wins; MIRI's inverse needs 6
OLD = re.compile(r"(CDELT[12]|PC[12]_[12]|CD[12]_[12]|[AB]P?_ORDER|[AB]P?_\d_\d|SIP(MX|IV)ERR)$")
NOT_OURS = re.compile(r"NAXIS\d?|WCSNAME|LONPOLE|LATPOLE|MJDREF.?|DATE.*|TIMESYS|EQUINOX")


def approximate(wcs, crpix=None, *, max_error=0.01, degree=None, max_inverse_error=0.01, inverse_degree=None, npoints=12):
    """Fit a tangent plane and SIP polynomials to an image's WCS.

    Parameters
    ----------
    wcs : gwcs.WCS
        With two pixel axes and a bounding box, inside which the fit is made.
    crpix : pair of float, optional
        Reference pixel, counted from 1; the middle of the box if None.
    max_error, max_inverse_error : float
        Pixels within which the lowest sufficient degree must be right.
    degree, inverse_degree : int, optional
        Take this one and not the lowest sufficient.
    npoints : int
        The fit is made on npoints x npoints pixels and checked on twice as many along each axis.

    Returns
    -------
    astropy.io.fits.Header
        Besides the coordinates SIPMXERR and SIPIVERR: the largest errors [pixel] found.

    Raises
    ------
    ValueError
        The fit is impossible.
    """
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            header = wcs.to_fits_sip(
                max_pix_error=max_error,
                degree=degree or DEGREES,
                max_inv_pix_error=max_inverse_error,
                inv_degree=inverse_degree or DEGREES,
                npoints=npoints,
                crpix=crpix,
                projection="TAN",
            )
        except (LinAlgError, RuntimeError) as error:
            raise ValueError(str(error)) from None
    for warning in said:
        log.warning("SIP: %s", warning.message)
    return header


def write(header, fitted):
    """Put a fit in place of the linear WCS (and an earlier fit) of a FITS header."""
    for key in [key for key in header if OLD.match(key)]:
        del header[key]
    for card in fitted.cards:
        if not NOT_OURS.fullmatch(card.keyword):
            header[card.keyword] = (card.value, card.comment)
