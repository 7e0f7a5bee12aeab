"""The type of source of an exposure that has one target, in all of its slits alike."""

import logging

log = logging.getLogger(__name__)

POINT, EXTENDED = "POINT", "EXTENDED"
POINT_PATTERNS = ("NOD", "POINT-SOURCE")  # dithers that are only made for point sources


def set_types(exposure, asked, unknown, pattern, always_series):
    """Set SRCTYPE of the exposure and of each slit. Arguments are those of `steps.srctype`."""
    header = exposure.header
    found, why = decide(header, asked, unknown, pattern, always_series)
    header.primary.remove("SRCTYPE", ignore_missing=True)  # that of the slit counts
    for slit in exposure.slits():
        slit.header.sci["SRCTYPE"] = (found, "Source type used for calibration")
    header.sci["SRCTYPE"] = (found, "Source type used for calibration")
    log.info("The source is %s: %s", found, why)


def decide(header, asked, unknown, pattern, always_series):
    """(type, why) of the one target of an exposure; SRCTYAPT is set where only SRCTYPE was. Arguments are those of `steps.srctype`."""
    planned = header.get("SRCTYAPT") or header.get("SRCTYPE")
    if planned and not header.get("SRCTYAPT"):
        header["SRCTYAPT"] = planned
    return _decide(header, asked, planned, unknown, str(header.get(pattern, "")).upper(), always_series)


def _decide(header, asked, planned, unknown, dithers, always_series):
    """(type, why): the first of these that is known."""
    if asked:
        return asked, "as asked for"
    if header.get("BKGDTARG"):
        return EXTENDED, "the target is a background"
    if (always_series or header.get("TSOVISIT")) and header.get("NINTS", 2) > 1:
        return POINT, "it is a time series"
    if planned in (POINT, EXTENDED):
        return planned, "as the observation was planned"
    if any(name in dithers for name in POINT_PATTERNS):
        return POINT, f"it is dithered as point sources are ({dithers})"
    return unknown, "nothing tells, and most are"
