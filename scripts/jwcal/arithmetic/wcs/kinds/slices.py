"""Slices of MIRI's spectrometer."""

import logging

from .. import miri_mrs
from ..pixel_coordinates import extent
from .told import ALONG_COLUMNS, dispersed, set_region

log = logging.getLogger(__name__)

NEEDED = ("distortion", "specwcs", "regions", "wavelengthrange")


def _mrs(exposure, refs, **_):
    dispersed(exposure, miri_mrs.mrs_wcs(exposure.header, exposure.sci.shape, *(refs[kind] for kind in NEEDED)), ALONG_COLUMNS)
    region, (blue, red) = extent(exposure.wcs, exposure.sci.shape)
    set_region(exposure, region, "no pixel is in a slice")
    log.info("Wavelengths from %.4f to %.4f micron", blue, red)


KINDS = {"mrs": (_mrs, NEEDED)}
