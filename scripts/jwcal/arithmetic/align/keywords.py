"""Keywords that follow the WCS of an image: its footprint, and the FITS approximation."""

import logging

from ..wcs import footprint, sip

log = logging.getLogger(__name__)


def follow(exposure, sip_options=None):
    """Make S_REGION, and with `sip_options` the SIP polynomials, those of the exposure's gWCS.

    Parameters
    ----------
    exposure : Exposure
        Or a shell of one.
    sip_options : dict, optional
        Arguments of `sip.approximate`. The reference pixel stays where it is.
    """
    header = exposure.header
    region = footprint.s_region(exposure.wcs)
    if region is None:
        log.warning("%s: a corner of the image has no place on the sky: S_REGION stays as it was", exposure.name)
    else:
        header.sci["S_REGION"] = (region, "spatial extent of the observation")
    if sip_options is None:
        return
    crpix = [header.get(key) for key in ("CRPIX1", "CRPIX2")]
    try:
        fitted = sip.approximate(exposure.wcs, None if None in crpix else crpix, **sip_options)
    except ValueError as error:
        log.warning("%s: no SIP approximation (%s): the FITS WCS keywords are those of before", exposure.name, error)
        return
    sip.write(header.sci, fitted)
    worst = fitted["SIPMXERR"], fitted.get("SIPIVERR", 0.0)
    if worst[0] > sip_options["max_error"] or worst[1] > sip_options["max_inverse_error"]:
        log.warning("%s: SIP is off by up to %.4f pixel, its inverse by %.4f: more than was asked for", exposure.name, *worst)
    else:
        log.info("%s: SIP of degree %s, largest error %.4f pixel", exposure.name, fitted.get("A_ORDER", 1), worst[0])
