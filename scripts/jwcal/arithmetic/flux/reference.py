"""What a photom reference says of an exposure: its row, how the sensitivity has changed, the area of a pixel."""

import logging
import math

import numpy as np

from ...vocabulary.errors import ReferenceError, Skip
from ..spectra_calibration.wavelengths import rising

log = logging.getLogger(__name__)

SQUARE_ARCSEC = (math.pi / (180 * 3600)) ** 2  # in steradian
METRES = 1e-4  # a table whose wavelengths are below is in metres
UJY_ARCSEC2 = 1e12 * SQUARE_ARCSEC  # microjansky per square arcsec in one MJy/sr

# a row is found by those that its table has
COLUMNS = {"filter": "FILTER", "pupil": "PUPIL", "grating": "GRATING", "slit": "SLTNAME", "order": "SPORDER", "subarray": "SUBARRAY"}


def find_row(photom, header, leave_out=()):
    """Where the table has the exposure's optical elements.

    Parameters
    ----------
    photom : Reference
    header : exposure.Header
    leave_out : tuple of str
        Of COLUMNS, those that do not count.

    Returns
    -------
    int

    Raises
    ------
    Skip
        No row is for them.
    ReferenceError
        Several are.
    """
    table = photom.table("PHOTOM")
    looked_at = [name for name in table.dtype.names if name.lower() in COLUMNS and name.lower() not in leave_out]
    wanted = {name: str(header[COLUMNS[name.lower()]]).upper() for name in looked_at}
    if not wanted:
        return 0  # an instrument with nothing to choose
    found = _rows(table, wanted)
    if found.size == 0:  # older tables have one row for all subarrays
        found = _rows(table, {name: "GENERIC" if name.lower() == "subarray" else value for name, value in wanted.items()})
    elements = ", ".join(f"{name} {value}" for name, value in wanted.items())
    if found.size == 0:
        raise Skip(f"the photom reference has no row for {elements}")
    if found.size > 1:
        raise ReferenceError(f"{found.size} rows for {elements} where one is expected", photom.path, "Correct the reference")
    return int(found[0])


def _rows(table, wanted):
    same = np.ones(len(table), bool)
    for name, value in wanted.items():
        same &= np.char.upper(np.char.strip(table[name].astype(str))) == value
    return np.flatnonzero(same)


def relative_sensitivity(photom, row, header):
    """Sensitivity at mid-exposure over that of the reference epoch: the product of the reference's laws of time.

    Raises
    ------
    ReferenceError
        A table of coefficients does not have the rows of the table PHOTOM, or has no value for the date.
    """
    product = np.float64(1)
    for law, (relative, names) in LAWS.items():
        if not photom.has(f"TIMECOEFF_{law}"):
            continue
        table = photom.table(f"TIMECOEFF_{law}")
        if len(table) != len(photom.table("PHOTOM")):
            raise ReferenceError(f"TIMECOEFF_{law} and PHOTOM differ in length", photom.path, "Correct the reference")
        columns = {name.lower(): name for name in table.dtype.names}
        with np.errstate(invalid="ignore"):  # other rows may have laws that do not reach this exposure
            product *= relative(header["EXPMID"], *(table[columns[name]] for name in names))[row]
    if not 0 < product < math.inf:
        why = f"the relative sensitivity at MJD {header['EXPMID']} comes out as {product}"
        raise ReferenceError(why, photom.path, "Take a photom reference that covers the exposure's date")
    return product


def at_its_time(conversion, photom, row, header):
    """A conversion divided by the relative sensitivity."""
    sensitivity = relative_sensitivity(photom, row, header)
    if sensitivity == 1:
        return conversion
    log.info("Relative sensitivity at mid-exposure: %.6g", sensitivity)
    return conversion / sensitivity


def _linear(mjd, t0, loss):
    return 1.0 - loss * (mjd - t0) / 365.0


def _exponential(mjd, t0, amplitude, tau, constant):
    return amplitude * np.exp(-(mjd - t0) / tau) + constant


def _power(mjd, t0, year1, soft, alpha):
    """Normalised to `year1` a year after t0."""
    return (mjd - t0 + soft) ** alpha / ((365.0 + soft) ** alpha / year1)


LAWS = {  # times are days, and coefficients stay in the table's float32
    "LINEAR": (_linear, ("t0", "lossperyear")),
    "EXPONENTIAL": (_exponential, ("t0", "amplitude", "tau", "const")),
    "POWERLAW": (_power, ("t0", "year1value", "tsoft", "alpha")),
}


def is_spectral(photom, row):
    """Whether a row has a response by wavelength."""
    columns = _columns(photom)
    return "wavelength" in columns and bool(np.any(photom.table("PHOTOM")[row][columns.get("nelem", columns["wavelength"])]))


def conversion_of(photom, row, column="photmjsr"):
    """PHOTMJSR or PHOTMJ of a row, float32; None where the table has no such column.

    Raises
    ------
    ReferenceError
        It is no positive number.
    """
    columns = _columns(photom)
    if column not in columns:
        return None
    conversion = np.float32(photom.table("PHOTOM")[row][columns[column]])
    if not 0 < conversion < np.inf:
        what = f"{column.upper()} in row {row + 1} of the photom reference is {conversion}, a number above 0 was expected"
        raise ReferenceError(what, photom.path, "Correct the reference, or give another photom reference under references: overrides")
    return conversion


def response(photom, row):
    """The relative response of a row: wavelengths [micron], rising, and the response at each; float64.

    Raises
    ------
    ReferenceError
        It has fewer than two wavelengths.
    """
    columns, line = _columns(photom), photom.table("PHOTOM")[row]
    count = int(line[columns["nelem"]]) if "nelem" in columns else None
    wavelength, relative = rising(line[columns["wavelength"]][:count], line[columns["relresponse"]][:count])
    if wavelength.size < 2:
        what = f"row {row + 1} of the photom reference has {wavelength.size} wavelengths, two or more were expected"
        raise ReferenceError(what, photom.path, "Correct the reference, or give another photom reference under references: overrides")
    return wavelength * 1e6 if 0 < wavelength[-1] < METRES else wavelength, relative


def _columns(photom):
    return {name.lower(): name for name in photom.table("PHOTOM").dtype.names}


def set_areas(sci, photom, area):
    """PIXAR_SR and PIXAR_A2 of a science header, as the references say; that of the area reference wins. What they don't say stays."""
    for key, unit in (("PIXAR_SR", "sr"), ("PIXAR_A2", "arcsec2")):
        values = [ref.header.get(key) for ref in (area, photom) if ref is not None]
        value = next((float(value) for value in values if value is not None), None)
        if value is not None:
            sci[key] = (value, f"[{unit}] nominal pixel area")
        elif key not in sci:
            log.warning("No %s in the photom or area reference", key)


def set_conversion(sci, conversion, unit):
    """PHOTMJSR, PHOTUJA2 and BUNIT of a science header."""
    sci["PHOTMJSR"] = (float(conversion), "[MJy/sr] surface brightness that gives 1 DN/s")
    sci["PHOTUJA2"] = (float(conversion * UJY_ARCSEC2), "[uJy/arcsec2] for 1 DN/s")
    sci["BUNIT"] = (unit, "physical units of the array values")
