"""The type of each source of a field, as its catalogue has it."""

import logging

log = logging.getLogger(__name__)


def set_types(exposure, asked, *_):
    """Set SRCTYPE of each slit: what is asked for, else EXTENDED where the catalogue says so, else POINT."""
    types = []
    for pixels in exposure.pixels:
        types.append(asked or ("EXTENDED" if pixels.about.get("is_extended") else "POINT"))
        pixels.header["SRCTYPE"] = (types[-1], "Source type used for calibration")
    exposure.header.primary.remove("SRCTYPE", ignore_missing=True)
    log.info("%d point sources, %d extended", types.count("POINT"), types.count("EXTENDED"))
