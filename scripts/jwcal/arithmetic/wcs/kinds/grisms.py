"""Fields and time series behind grisms."""

from .. import footprint, grism, grism_stripes
from .told import ALONG_ROWS, approximate, dispersed, set_region


def _series(exposure, refs, *, grism_source, **_):
    wcs = grism.series_wcs(exposure.header, exposure.sci.shape, refs, source=grism_source)
    dispersed(exposure, wcs, ALONG_ROWS)


def _stripes(exposure, refs, *, grism_source, **_):
    dispersed(exposure, grism_stripes.stripes_wcs(exposure.header, exposure.sci.shape, refs, source=grism_source), ALONG_ROWS)


def _field(optics):
    """What makes the WCS of a field without slits, by the instrument's optics."""

    def make(exposure, refs, *, sip, **_):
        wcs, image, axis = grism.wfss_wcs(exposure.header, exposure.sci.shape, refs, grism.OPTICS[optics])
        dispersed(exposure, wcs, axis)
        if "S_REGION" not in exposure.header:
            set_region(exposure, footprint.s_region(image), "a corner of the image has no place on the sky")
        if sip is not None:
            approximate(exposure, image, **sip)

    return make


NEEDED = ("distortion", "specwcs")
KINDS = {
    "nircam_series": (_series, NEEDED),
    "nircam_stripes": (_stripes, NEEDED),
    **{f"{optics}_wfss": (_field(optics), NEEDED) for optics in ("nircam", "niriss", "miri")},
}
