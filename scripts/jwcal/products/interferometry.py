"""OIFITS 2: tables of fringes, which name their array of holes, instrument and date, and tell their units.

Duvert, Young & Hummel 2017, A&A 597, A8. Logical columns and rows of one wavelength each, so that other readers take them.
"""

from ..arithmetic.ami.tables import name_of
from . import stored

ARRAY, REVISION = "jwst_ami", 2
UNITS = {
    **dict.fromkeys(("VISPHI", "VISPHIERR", "T3PHI", "T3PHIERR", "Q4PHI", "Q4PHIERR", "RAEP0", "DECEP0", "RA_ERR", "DEC_ERR"), "deg"),
    **dict.fromkeys(("PISTONS", "PIST_ERR", "PISTON_T", "PISTON_C"), "deg"),
    **dict.fromkeys(("PMRA", "PMDEC", "PMRA_ERR", "PMDEC_ERR"), "deg/yr"),
    **dict.fromkeys(("PARALLAX", "PARA_ERR"), "deg"),
    **dict.fromkeys(("DIAMETER", "STAXYZ", "CTRS_EQT", "EFF_WAVE", "EFF_BAND", "UCOORD", "VCOORD"), "m"),
    **dict.fromkeys((f"{axis}{k}COORD" for axis in "UV" for k in (1, 2, 3, 4)), "m"),
    **dict.fromkeys(("TIME", "INT_TIME"), "s"),
    "MJD": "d",
    "EQUINOX": "yr",
    "FOV": "arcsec",
    "SYSVEL": "m/s",
}


def hdus(exposure, filename):
    """The HDU list of an exposure's tables of fringes; see `stored.hdus`."""
    header = exposure.header
    values = {
        "CONTENT": ("OIFITS2", "Identifier for oifits content"),
        "OBJECT": (name_of(header), "Object identifier"),
        "OBSERVER": (str(header.get("PI_NAME") or "UNKNOWN"), "Who acquired the data"),
        "INSMODE": (str(header.get("PUPIL") or "NRM"), "Instrument mode"),
        "ORIGIN": ("STScI", "Organization responsible for creating file"),
        # what was told beside the image is told here: there is none
        **{key: (header.get(key), "") for key in ("ROLL_REF", "V3I_YANG", "VPARITY") if header.get(key) is not None},
    }
    made = stored.put_together(exposure, filename, [], {})
    for keyword, card in values.items():
        made[0].header[keyword] = card
    for hdu in made[1:]:
        if hdu.name in exposure.tables:
            _tell(hdu, header)
    return made


def _tell(hdu, header):
    """Give a table its units, and the keywords that the standard wants."""
    name = hdu.name
    for number, column in enumerate(hdu.columns.names, start=1):
        if column in UNITS:
            hdu.header.set(f"TUNIT{number}", UNITS[column], after=f"TFORM{number}")
    about = {"OI_REVN": (REVISION, "Revision number")}
    if name == "OI_ARRAY":
        about |= {"ARRNAME": (ARRAY, "Array name"), "FRAME": ("SKY", "Coordinate frame")}
        about |= {f"ARRAY{axis}": (0.0, f"[m] Array center {axis.lower()}") for axis in "XYZ"}
    elif name == "OI_WAVELENGTH":
        about["INSNAME"] = (header.instrument, "Instrument name")
    elif name != "OI_TARGET":
        about["DATE-OBS"] = (str(header["DATE-OBS"]), "UTC date at start of exposure")
        about |= {"ARRNAME": (ARRAY, "Array name"), "INSNAME": (header.instrument, "Instrument name")}
    if name == "OI_VIS":
        about |= {
            "AMPTYP": ("absolute", "Amplitudes are of the fringes themselves"),
            "PHITYP": ("absolute", "Phases are those of the image"),
        }
    for keyword, card in about.items():
        hdu.header[keyword] = card
