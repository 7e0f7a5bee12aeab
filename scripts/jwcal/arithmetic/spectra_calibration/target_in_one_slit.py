"""The types of source of an exposure through several fixed slits: the target is in one of them."""

import logging

from ...vocabulary.errors import InputError
from .one_target import EXTENDED, decide

log = logging.getLogger(__name__)

PLACE = ("SRCXPOS", "SRCYPOS")  # of the source in the slit


def set_types(exposure, asked, unknown, pattern, always_series):
    """Set SRCTYPE of each slit. Arguments are those of `steps.srctype`.

    What is extended has no place: SRCXPOS and SRCYPOS become 0.

    Raises
    ------
    InputError
        The header does not say which slit the target is in.
    """
    found, why = decide(exposure.header, asked, unknown, pattern, always_series)
    primary = exposure.header["FXD_SLIT"]
    slits = list(exposure.slits())
    names = [slit.header.sci.get("SLTNAME") for slit in slits]
    if primary not in names:
        log.warning("%s: the target is in %s, which is not among its slits: all are EXTENDED", exposure.name, primary)
    if None in names:
        raise InputError("a slit has no name (SLTNAME)", exposure.name, "Run extract_2d first")
    exposure.header.primary.remove("SRCTYPE", ignore_missing=True)  # that of the slit counts
    for slit, name in zip(slits, names, strict=True):
        kind = found if name == primary else EXTENDED
        slit.header.sci["SRCTYPE"] = (kind, "Source type used for calibration")
        if kind == EXTENDED and name == primary:
            slit.header.sci.update(dict.fromkeys(PLACE, 0.0))
    log.info("The source in %s is %s: %s", primary, found, why)
