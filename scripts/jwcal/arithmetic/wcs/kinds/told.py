"""What keywords say of a WCS."""

import logging

from ....vocabulary.errors import Skip
from .. import sip as approximation

log = logging.getLogger(__name__)

ALONG_ROWS, ALONG_COLUMNS = 1, 2  # DISPAXIS: how a spectrum lies


def needs(refs, kinds):
    """Raise Skip where one of some references is not there."""
    for kind in kinds:
        if kind not in refs:
            raise Skip(f"its {kind} reference is N/A")


def dispersed(exposure, wcs, axis):
    """The WCS of a spectrum, and what its keywords say of it."""
    exposure.wcs = wcs
    exposure.header.sci["DISPAXIS"] = (axis, "Dispersion direction")
    exposure.header.sci["SPECSYS"] = ("BARYCENT", "Spectral reference frame")


def set_region(exposure, region, why):
    if region is None:
        log.warning("S_REGION stays as it was: %s", why)
    else:
        exposure.header.sci["S_REGION"] = (region, "spatial extent of the observation")


def approximate(exposure, wcs, **settings):
    """FITS keywords in place of the exposure's; the reference pixel stays where it is."""
    crpix = [exposure.header.get(key) for key in ("CRPIX1", "CRPIX2")]
    try:
        fitted = approximation.approximate(wcs, None if None in crpix else crpix, **settings)
    except ValueError as error:  # the gWCS is there and right: the keywords are for display
        log.warning("No SIP approximation (%s): the FITS WCS keywords stay as they were", error)
        return
    approximation.write(exposure.header.sci, fitted)
    log.info("SIP of degree %s, largest error %.4f pixel", fitted.get("A_ORDER", 1), fitted["SIPMXERR"])
