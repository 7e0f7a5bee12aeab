"""Which values a keyword can have. What is read from an exposure or a reference is such a value, or an error that names the file."""

import math
from numbers import Integral, Real

CORRECT = "Correct the keyword, or take the file from the archive again"
WORDS = ("INSTRUME", "DETECTOR", "EXP_TYPE", "SUBARRAY", "READPATT")
MANY = 10**9  # what is larger was never measured, and does not fit everywhere
# keyword -> least and most
WHOLE = {
    **dict.fromkeys(("NINTS", "NGROUPS", "INTSTART", "INTEND", "NSAMPLES", "NOUTPUTS", "FRMDIVSR"), (1, MANY)),
    **dict.fromkeys(("SUBSTRT1", "SUBSTRT2", "SUBSIZE1", "SUBSIZE2"), (1, MANY)),
    **dict.fromkeys(("FASTAXIS", "SLOWAXIS"), (-2, 2)),
    "NFRAMES": (1, 1000),
    "GROUPGAP": (0, 1000),
    "DRPFRMS1": (0, 1000),
    **dict.fromkeys(("MSTR_RD1", "MSTR_RD2", "MSTR_SK1", "MSTR_SK2", "MSTR_RPT", "MSTR_ILV", "SSTR_NST", "SSTR_STP"), (0, MANY)),
}
NUMBERS = {
    **dict.fromkeys(("TFRAME", "TGROUP", "GAINFACT"), (1e-9, MANY)),
    "EFFINTTM": (0, MANY),
    **dict.fromkeys(("EXPSTART", "PWCPOS", "AVDRKCUR"), (-MANY, MANY)),
}
KNOWN = (*WORDS, *WHOLE, *NUMBERS)

SIDE = 2048  # columns and rows of a near-infrared detector
MIRI_SIZE = (1032, 1024)  # columns and rows


def fault(keyword, value):
    """What is wrong with a keyword's value: a sentence without its full stop; None where nothing is known against it."""
    if keyword in WORDS:
        return None if isinstance(value, str) else f"{keyword} is {value!r}, text was expected"
    whole = keyword in WHOLE
    if not whole and keyword not in NUMBERS:
        return None
    least, most = (WHOLE if whole else NUMBERS)[keyword]
    is_number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if is_number and least <= value <= most and (not whole or isinstance(value, Integral) or value == int(value)):
        return None
    bounds = f" from {least} to {most}" if most < MANY else f" of at least {least}" if whole else " above 0" if least > 0 else ""
    return f"{keyword} is {value!r}, a {'whole ' * whole}number{bounds} was expected"


def detector_size(instrument):
    """Columns and rows of an instrument's detectors."""
    return MIRI_SIZE if instrument == "MIRI" else (SIDE, SIDE)


def off_detector(header):
    """What is wrong with a subarray that reaches beyond its detector; None where it does not.

    Parameters
    ----------
    header : mapping
        INSTRUME, SUBSTRT1, SUBSTRT2, SUBSIZE1, SUBSIZE2.
    """
    for axis, full in enumerate(detector_size(header["INSTRUME"]), start=1):
        start, size = int(header[f"SUBSTRT{axis}"]), int(header[f"SUBSIZE{axis}"])
        if start < 1 or size < 1 or start - 1 + size > full:
            lines = ("columns", "rows")[axis - 1]
            return f"SUBSTRT{axis} is {start} and SUBSIZE{axis} {size}, which is not within the detector's {full} {lines}"
    return None
