"""The five fixed slits, by the names that keywords give them."""

from stdatamodels.jwst.transforms.models import Slit

from ....vocabulary.errors import InputError

NUMBERS = {"S200A1": 1, "S200A2": 2, "S400A1": 3, "S1600A1": 4, "S200B1": 5}
BRIGHT = "S1600A1"  # the slit of time series
OF_SUBARRAY = {  # subarrays that hold one slit; all others may see each
    "SUBS200A1": "S200A1",
    "SUBS200A2": "S200A2",
    "SUBS400A1": "S400A1",
    "SUBS200B1": "S200B1",
    **dict.fromkeys(("SUB2048", "SUB1024A", "SUB1024B", "SUB512", "SUB512S"), BRIGHT),
}
QUADRANT = 5  # which the micro-shutters do not have


def slit_id(name):
    """The number by which transforms know a fixed slit."""
    return -100 - NUMBERS[name]


def of_exposure(header, y_range):
    """The slits that an exposure may see.

    The source of the slit that was pointed at (FXD_SLIT) is number 1, those of the others are 10 * number of the former + own number.

    Parameters
    ----------
    header : exposure.Header
        SUBARRAY, FXD_SLIT.
    y_range : (float, float)
        How far a slit's light reaches along it; -0.5 and 0.5 are its ends.

    Returns
    -------
    list of Slit

    Raises
    ------
    InputError
        FXD_SLIT is no slit.
    """
    primary = str(header.get("FXD_SLIT", "NONE")).upper()
    if primary not in (*NUMBERS, "NONE", "N/A"):
        known = ", ".join(NUMBERS)
        raise InputError(f"FXD_SLIT is {primary}: one of {known} or NONE is expected", header.name, "Correct the keyword")
    one = OF_SUBARRAY.get(str(header["SUBARRAY"]).upper())
    return [fixed_slit(name, y_range, _source_id(name, primary)) for name in ([one] if one else NUMBERS)]


def bright(y_range):
    """The slit of a time series."""
    return [fixed_slit(BRIGHT, y_range, 1)]


def fixed_slit(name, y_range, source_id, dither=0, **about):
    """One of NUMBERS."""
    return Slit(name, NUMBERS[name] - 1, dither, 0, 0, *y_range, QUADRANT, source_id, slit_id=slit_id(name), **about)


def _source_id(name, primary):
    return 1 if name == primary else 10 * NUMBERS.get(primary, 0) + NUMBERS[name]
