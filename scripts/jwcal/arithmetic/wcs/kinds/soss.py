"""NIRISS's time series through its grism."""

from .. import niriss_soss
from .told import ALONG_ROWS, dispersed


def _soss(exposure, refs, **_):
    dispersed(exposure, niriss_soss.soss_wcs(exposure.header, exposure.sci.shape, refs["specwcs"]), ALONG_ROWS)


KINDS = {"soss": (_soss, ("specwcs",))}
