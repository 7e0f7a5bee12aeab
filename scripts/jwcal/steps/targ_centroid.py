"""Find where a target really is in its slit, from an image that was taken to confirm its acquisition."""

import logging

from ..model.exposure import Member
from ..vocabulary.errors import InputError, Skip

log = logging.getLogger(__name__)

OPTIONAL = ("distortion", "filteroffset")
MEMBERS = ("target_acquisition",)
SKIP = True


def apply(exposure, refs, *, ta_file: str | None = None):
    """Set the target's place on the detector in the header of a spectrum.

    The target is centred in the confirmation image near where it should be; from there the offsets between the two exposures lead to
    its place in this one: subarrays, dithers (XOFFSET, YOFFSET) and the filter's shift of the image. TA_XPOS, TA_YPOS are the
    place in the image, SRCXPOS, SRCYPOS that in the spectrum, where an undispersed image would be, in pixels of each subarray from 0.

    Parameters
    ----------
    exposure : Exposure
        A spectrum with its WCS, and a confirmation image among its members.
    refs : References
        distortion and filteroffset, for an image without a gWCS.
    ta_file : str, optional
        Path of the confirmation image, in place of that of the association.

    Raises
    ------
    Skip
        There is no confirmation image, or no target in it.
    InputError
        A file does not say how it was pointed, or the confirmation image is none.
    """
    from ..arithmetic.spectra_calibration import target_place

    members = exposure.members
    if ta_file is None and not members.of("target_acquisition"):
        raise Skip("the association has no confirmation image, and none is given (ta_file)")
    confirming = members.open(members.of("target_acquisition")[0] if ta_file is None else Member(ta_file, "target_acquisition"))
    _check(confirming)
    if exposure.header.get("SRCTYPE") != "POINT":
        log.warning("%s: a target that is not a point source is centred as if it were one", exposure.name)
    expected, moved = target_place.dithered(confirming.header, target_place.image_wcs(confirming, refs))
    x, y = target_place.centroid(confirming.sci, *expected)
    _, dither = target_place.dithered(exposure.header, exposure.wcs, target_place.middle_wavelength(exposure))
    shift = target_place.imaging.filter_offset(confirming.header, refs.get("filteroffset")) or (0.0, 0.0)
    starts = [[int(one.header[key]) for key in ("SUBSTRT1", "SUBSTRT2")] for one in (confirming, exposure)]
    place = [
        measured + start - own - there + here + by
        for measured, start, own, there, here, by in zip((x, y), *starts, moved, dither, shift, strict=True)
    ]
    sci = exposure.header.sci
    sci["TA_XPOS"], sci["TA_YPOS"] = (x, "Target in the confirmation image, x"), (y, "Target in the confirmation image, y")
    sci["SRCXPOS"], sci["SRCYPOS"] = (place[0], "Source position in slit, x"), (place[1], "Source position in slit, y")
    log.info("Target at %.3f, %.3f in %s, so at %.3f, %.3f here", x, y, confirming.name, *place)
    return exposure


def _check(confirming):
    if confirming.sci.ndim != 2:
        raise InputError(f"a confirmation image has two axes, this has the shape {confirming.sci.shape}", confirming.name, "Give the rate")
    if confirming.header.get("DISPAXIS") or (confirming.wcs is not None and confirming.wcs.output_frame.naxes != 2):
        raise InputError("a confirmation image is no spectrum, as this is", confirming.name, "Give the image of its target acquisition")
