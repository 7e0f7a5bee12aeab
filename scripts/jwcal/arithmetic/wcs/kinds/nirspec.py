"""NIRSpec: slits, shutters, slices, images; lamps do without the sky."""

import logging

from ...slits.open_slits import open_slits
from .. import footprint
from ..nirspec.imaging import imaging_wcs
from ..nirspec.optics import Optics
from .told import ALONG_ROWS, approximate, dispersed, needs, set_region

log = logging.getLogger(__name__)

NEEDED = ("disperser", "wavelengthrange", "fpa", "camera", "collimator")
FROM_SKY = ("fore", "ote")  # which lamps do without


def _nrs_slits(exposure, refs, *, y_range, kind="slits", **_):
    needs(refs, () if exposure.header.get("FILTER") == "OPAQUE" else FROM_SKY)
    slits = open_slits(exposure, refs, kind, y_range)
    dispersed(exposure, slits.whole_wcs(), ALONG_ROWS)
    exposure.about["slits"] = slits  # for the steps that follow
    _nirspec_range(exposure, slits.optics)


def _nrs_bright(*arguments, **more):
    _nrs_slits(*arguments, kind="bright slit", **more)


def _nrs_shutters(*arguments, **more):
    _nrs_slits(*arguments, kind="shutters", **more)


def _nrs_slices(exposure, refs, *, y_range, slice_wcs, **_):
    needs(refs, () if exposure.header.get("FILTER") == "OPAQUE" else (*FROM_SKY, "chromcorr"))
    slices = open_slits(exposure, refs, "slices", y_range)
    wcs = slices.wcs()
    dispersed(exposure, slices.slice_wcs() if slice_wcs else wcs, ALONG_ROWS)
    exposure.about["slits"] = slices
    exposure.only.extra["REGIONS"] = slices.labels
    _nirspec_range(exposure, slices.optics)
    if not slices.optics.lamp:
        region, (blue, red) = slices.extent(wcs)
        set_region(exposure, region, "no pixel is in a slice")
        log.info("Wavelengths from %.4f to %.4f micron", blue, red)


def _nrs_imaging(exposure, refs, *, sip, **_):
    optics = Optics(exposure.header, refs)
    needs(refs, () if optics.lamp else FROM_SKY)
    exposure.wcs = imaging_wcs(optics, exposure.sci.shape)
    _nirspec_range(exposure, optics)
    if not optics.lamp:
        set_region(exposure, footprint.s_region(exposure.wcs), "a corner of the image has no place on the sky")
        if sip is not None:
            approximate(exposure, exposure.wcs, **sip)


def _nirspec_range(exposure, optics):
    """Keywords of the wavelengths that were looked for; a lamp is no place on the sky."""
    order, low, high = optics.range
    exposure.header.sci["WAVSTART"] = (low, "[m] lower bound of the default wavelength range")
    exposure.header.sci["WAVEND"] = (high, "[m] upper bound of the default wavelength range")
    exposure.header.sci["SPORDER"] = (order, "default spectral order")
    if optics.lamp:
        exposure.header.sci.remove("S_REGION", ignore_missing=True)


KINDS = {
    "nrs_slits": (_nrs_slits, (*NEEDED, "msa")),
    "nrs_bright": (_nrs_bright, (*NEEDED, "msa")),
    "nrs_shutters": (_nrs_shutters, (*NEEDED, "msa")),
    "nrs_slices": (_nrs_slices, (*NEEDED, "ifupost", "ifuslicer", "ifufore")),
    "nrs_imaging": (_nrs_imaging, NEEDED),
}
