"""Which values a keyword can have. What is read from an exposure or a reference is such a value, or an error that names the file."""

import math
import re
from datetime import datetime
from functools import lru_cache
from numbers import Integral, Real

CORRECT = "Correct the keyword, or take the file from the archive again"
MANY = 10**9  # what is larger was never measured, and does not fit everywhere
FIELD = 1800  # arcsec: the focal plane reaches a quarter of a degree from its centre
INSTRUMENTS = ("FGS", "MIRI", "NIRCAM", "NIRISS", "NIRSPEC")


def _each(limit, *keywords):
    return dict.fromkeys(keywords, limit)


# Planning and every pipeline read these, or write them to their products: they are looked at in each exposure.
WORDS = (
    *("EXP_TYPE", "DETECTOR", "SUBARRAY", "READPATT", "PPS_APER"),
    *("FILTER", "PUPIL", "GRATING", "BAND", "CHANNEL", "MODULE", "CORONMSK", "OPMODE", "LAMP", "VISITYPE", "FXD_SLIT"),
)
CHOICES = {"INSTRUME": INSTRUMENTS}
DATES = {  # ISO 8601, in the years of the telescope
    "DATE-OBS": ("a date of the form 20YY-MM-DD", r"20\d\d-\d\d-\d\d", "{}T00:00:00"),
    "TIME-OBS": ("a time of the form HH:MM:SS.sss", r"\d\d:\d\d:\d\d(\.\d+)?", "2000-01-01T{}"),
    **_each(("a date of the form 20YY-MM-DDTHH:MM:SS.sss", r"20\d\d-\d\d-\d\d([T ]\d\d:\d\d:\d\d(\.\d+)?)?", "{}"), "DATE-BEG", "DATE-END"),
}
WHOLE = {  # keyword -> least and most
    **_each((1, MANY), "NINTS", "NGROUPS", "INTSTART", "INTEND", "EXSEGTOT", "NSAMPLES", "NOUTPUTS", "FRMDIVSR"),
    **_each((1, MANY), "SUBSTRT1", "SUBSTRT2", "SUBSIZE1", "SUBSIZE2"),
    **_each((-2, 2), "FASTAXIS", "SLOWAXIS"),
    "NFRAMES": (1, 1000),
    **_each((0, 1000), "GROUPGAP", "DRPFRMS1"),
    **_each((0, MANY), "MSTR_RD1", "MSTR_RD2", "MSTR_SK1", "MSTR_SK2", "MSTR_RPT", "MSTR_ILV", "SSTR_NST", "SSTR_STP"),
}
NUMBERS = {
    **_each((1e-9, MANY), "TFRAME", "TGROUP", "GAINFACT"),
    **_each((0, MANY), "EFFINTTM", "EFFEXPTM", "XPOSURE", "TMEASURE", "DURATION", "TELAPSE"),
    **_each((-MANY, MANY), "EXPSTART", "EXPMID", "EXPEND", "MJD-BEG", "MJD-AVG", "MJD-END", "TDB-BEG", "TDB-MID", "TDB-END"),
    **_each((-MANY, MANY), "FWCPOS", "PWCPOS", "FWPOSOFF", "PWPOSOFF", "AVDRKCUR"),
}
ALWAYS = (*WORDS, *CHOICES, *DATES, *WHOLE, *NUMBERS)

# These are looked at where a step of the exposure's chain reads them (`facts`).
CHOICES |= {
    "VPARITY": (-1, 1),
    "TARGTYPE": ("FIXED", "MOVING", "GENERIC"),
    **_each(("POINT", "EXTENDED", "UNKNOWN"), "SRCTYPE", "SRCTYAPT"),
}
LOGICAL = ("BKGSUB", "BKGDTARG", "TSOVISIT")
WHOLE |= {
    **_each((1, MANY), "NRS_NORM", "NRS_REF"),
    **_each((0, MANY), "PATT_NUM", "NUMDTHPT", "SUBPXPTS", "MSACONID"),
    **_each((-MANY, MANY), "MSAMETID", "SOURCEID"),
    "SPORDER": (-10, 10),
    **_each((-MANY, MANY), "SLTSTRT1", "SLTSTRT2"),  # of a cut-out
    "MSAQUAD": (1, 5),
    "SLITID": (-MANY, MANY),
    "DISPAXIS": (0, 3),
}
NUMBERS |= {
    # pointing
    **_each((-360, 360), "RA_REF", "ROLL_REF", "V3I_YANG", "RA_V1", "PA_V3", "PA_APER", "GS_V3_PA"),
    **_each((-90, 90), "DEC_REF", "DEC_V1"),
    **_each((-FIELD, FIELD), "V2_REF", "V3_REF"),
    "VA_SCALE": (0.99, 1.01),  # the telescope goes round the Sun at 1e-4 of the speed of light
    **_each((-MANY, MANY), "XOFFSET", "YOFFSET", "XREF_SCI", "YREF_SCI", "VELOSYS"),
    **_each((-MANY, MANY), *(f"{name}{axis}" for name in ("CRPIX", "CRVAL", "CDELT") for axis in (1, 2, 3))),
    **_each((-MANY, MANY), *(f"{name}{i}_{j}" for name in ("PC", "CD") for i in (1, 2, 3) for j in (1, 2, 3))),
    # the target, and one that moves
    **_each((-360, 360), "TARG_RA", "MT_RA", "MT_AVRA", "DITH_RA"),
    **_each((-90, 90), "TARG_DEC", "MT_DEC", "MT_AVDEC", "DITH_DEC"),
    **_each((-MANY, MANY), "MU_RA", "MU_DEC", "TARGURA", "TARGUDEC"),
    **_each((-MANY, MANY), "SRCXPOS", "SRCYPOS", "TA_XPOS", "TA_YPOS"),
    # spectrographs: the tilts of the grating wheel, wavelengths
    **_each((-MANY, MANY), "GWA_XTIL", "GWA_YTIL", "GWA_TILT", "GWA_PXAV", "GWA_PYAV"),
    **_each((0, MANY), "WAVSTART", "WAVEND"),
    **_each((-MANY, MANY), "SRCXPOS", "SRCYPOS"),
    # slits: the pitch of shutters in their openings, how much a source is like a star
    "SLTYSCL": (0.1, 10),
    "STLARITY": (-MANY, MANY),
    # the holes of an interferometer's mask, m
    **_each((1e-3, 100), "F2F", "PUPL_CRC"),
    **_each((-100, 100), *(f"NRM_{axis}_A{hole}" for axis in "XY" for hole in range(1, 8))),
    # photometry, background, events
    **_each((0, MANY), "PIXFRAC", "PXSCLRT"),
    **_each((0, MANY), "PIXAR_SR", "PIXAR_A2", "PRIMECRS", "EXTNCRS"),
    **_each((-MANY, MANY), "PHOTMJSR", "PHOTUJA2", "BKGLEVEL"),
}
KNOWN = tuple(dict.fromkeys((*ALWAYS, *CHOICES, *LOGICAL, *WHOLE, *NUMBERS)))

SIDE = 2048  # columns and rows of a near-infrared detector
MIRI_SIZE = (1032, 1024)  # columns and rows


def fault(keyword, value):
    """What is wrong with a keyword's value: a sentence without its full stop; None where nothing is known against it."""
    if keyword in NUMBERS:
        expected = _unlike_number(value, *NUMBERS[keyword])
    elif keyword in WHOLE:
        expected = _unlike_number(value, *WHOLE[keyword], whole=True)
    elif keyword in CHOICES:
        # True is 1 to Python
        expected = None if value in CHOICES[keyword] and not isinstance(value, bool) else _either(CHOICES[keyword])
    elif keyword in DATES:
        expected = None if isinstance(value, str) and _is_moment(keyword, value) else DATES[keyword][0]
    elif keyword in LOGICAL:
        # numpy's too, which planning does not import
        expected = None if type(value).__name__ in ("bool", "bool_") else "T or F"
    else:
        expected = "text" if keyword in WORDS and not isinstance(value, str) else None
    return expected and f"{keyword} is {value!r}, {expected} was expected"


def first_fault(header, keywords):
    """`fault` of the first of some keywords of a header (dict) that has one; None where none has."""
    for keyword in keywords:
        if keyword in header:
            wrong = fault(keyword, header[keyword])
            if wrong:
                return wrong
    return None


def _unlike_number(value, least, most, whole=False):
    """What was expected in the place of a value; None where it is such a number."""
    kind = f"a {'whole ' * whole}number"
    if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value):
        return kind
    if least <= value <= most and (not whole or isinstance(value, Integral) or value == int(value)):
        return None
    if most < MANY:
        return f"{kind} from {least} to {most}"
    return f"{kind} of at least {least}" if whole or least == 0 else f"{kind} above 0" if least > 0 else kind


def _either(choices):
    return f"{', '.join(map(str, choices[:-1]))} or {choices[-1]}"


@lru_cache(maxsize=65536)
def _is_moment(keyword, text):
    """Whether a date or time is of its form, and in the calendar."""
    _, form, whole = DATES[keyword]
    if not re.fullmatch(form, text, flags=re.ASCII):
        return False
    seconds, _, _ = whole.format(text.replace(" ", "T")).partition(".")
    try:
        datetime.fromisoformat(re.sub(":60$", ":59", seconds))  # a leap second
    except ValueError:
        return False
    return True


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
