"""MIRI's prism, behind its slit and without one."""

import logging

from .. import footprint, miri_lrs
from ..pixel_coordinates import wavelength_and_sky
from .told import ALONG_COLUMNS, dispersed, set_region

log = logging.getLogger(__name__)


def _lrs_slit(exposure, refs, **_):
    _lrs(exposure, refs, slitless=False)
    region = miri_lrs.slit_region(exposure.wcs, refs["specwcs"])
    set_region(exposure, region, "the specwcs reference does not tell the slit's corners")
    pointed = miri_lrs.pointed_at(exposure.header, exposure.wcs)
    if pointed is None:
        log.warning("No XOFFSET, YOFFSET: where the dither points is not known")
    else:
        exposure.header.primary["DITH_RA"] = (pointed[0], "RA of dithered pointing location")
        exposure.header.primary["DITH_DEC"] = (pointed[1], "Dec of dithered pointing location")


def _lrs_slitless(exposure, refs, **_):
    _lrs(exposure, refs, slitless=True)
    set_region(exposure, footprint.s_region(exposure.wcs), "the corners of the subarray are beyond the spectrum")


def _lrs(exposure, refs, *, slitless):
    wcs = miri_lrs.lrs_wcs(exposure.header, refs["distortion"], refs["specwcs"], slitless=slitless)
    dispersed(exposure, wcs, ALONG_COLUMNS)
    *_, wavelength = wavelength_and_sky(exposure.wcs, exposure.sci.shape)
    exposure.pixels[0].extra["WAVELENGTH"] = wavelength.astype("float32")
    for kind, of in (("STRT", "start"), ("SIZE", "size")):  # its only slit is the whole subarray
        for axis, name in ((1, "x"), (2, "y")):
            exposure.header.sci[f"SLT{kind}{axis}"] = (exposure.header[f"SUB{kind}{axis}"], f"Slit {of} in {name}")


NEEDED = ("distortion", "specwcs")
KINDS = {"lrs_slit": (_lrs_slit, NEEDED), "lrs_slitless": (_lrs_slitless, NEEDED)}
