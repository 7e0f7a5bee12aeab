"""Images of the sky."""

from .. import footprint, imaging
from .told import approximate, set_region


def _imaging(exposure, refs, *, sip, **_):
    exposure.wcs = imaging.imaging_wcs(exposure.header, exposure.sci.shape, refs["distortion"], refs.get("filteroffset"))
    set_region(exposure, footprint.s_region(exposure.wcs), "a corner of the image has no place on the sky")
    if sip is not None:
        approximate(exposure, exposure.wcs, **sip)


KINDS = {"imaging": (_imaging, ("distortion",))}
