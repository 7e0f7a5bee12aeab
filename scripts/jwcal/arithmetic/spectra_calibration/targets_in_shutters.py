"""The types of the sources in the shutter array: from the stellarity that the catalogue of the observer gives."""

import logging

from .one_target import EXTENDED, POINT

log = logging.getLogger(__name__)

STAR = 0.75  # sources with a larger stellarity are points; a negative one is not known


def set_types(exposure, asked, unknown, pattern, always_series):
    """Set SRCTYPE of each slitlet. Arguments are those of `steps.srctype`, of which only the user's choice counts."""
    exposure.header.primary.remove("SRCTYPE", ignore_missing=True)
    points = 0
    for slit in exposure.slits():
        kind = asked or _by_stellarity(slit)
        slit.header.sci["SRCTYPE"] = (kind, "Source type used for calibration")
        points += kind == POINT
    log.info("%d of %d slitlets have point sources", points, len(exposure.pixels))


def _by_stellarity(slit):
    stellarity = slit.header.get("STLARITY")
    if stellarity is None:
        log.warning("%s: slitlet %s has no STLARITY, its source is taken to be extended", slit.name, slit.header.get("SLITID", ""))
        return EXTENDED
    return EXTENDED if 0 <= stellarity <= STAR else POINT
