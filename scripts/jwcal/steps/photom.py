"""From DN/s to MJy/sr: the flux conversion of the exposure's optical elements."""

import logging
import math

import numpy as np

from ..vocabulary import dq as bits
from ..vocabulary.errors import ReferenceError, Skip

log = logging.getLogger(__name__)

REFERENCES = ("photom",)
OPTIONAL = ("area",)
NEEDS = ("err",)  # planes of an image

SQUARE_ARCSEC = (math.pi / (180 * 3600)) ** 2  # in steradian
UJY_ARCSEC2 = 1e12 * SQUARE_ARCSEC  # microjansky per square arcsec in one MJy/sr

COLUMNS = {"filter": "FILTER", "pupil": "PUPIL", "subarray": "SUBARRAY"}  # a row is found by those that its table has


def apply(
    exposure, refs, integrations: str = "", *, inverse: bool = False, source_type: str | None = None, apply_time_correction: bool = True
):
    """Convert an image or integrations to surface brightness.

    Sets PHOTMJSR (MJy/sr for 1 DN/s) and PHOTUJA2 (the same in uJy/arcsec2), PIXAR_SR and PIXAR_A2 (the nominal pixel's area) and
    BUNIT in the science header, and attaches the map of relative pixel areas as the extension AREA; the map is not applied.

    Parameters
    ----------
    exposure : Exposure
        (row, col) or (int, row, col).
    refs : References
        photom: table PHOTOM, and TIMECOEFF_* where the sensitivity changes with time. area: SCI, optional.
    integrations : {"", "uncalibrated"}
        The table's: whether single integrations are calibrated.
    inverse : bool
        Divide: back to DN/s.
    source_type : str, optional
        For spectra: "POINT" or "EXTENDED". Images are surface brightness.
    apply_time_correction : bool
        Divide the conversion by the sensitivity at mid-exposure relative to that of the reference epoch.

    Raises
    ------
    Skip
        The reference has no row for the exposure; integrations that are not calibrated.
    ReferenceError
        It has several, one without a conversion, or its tables do not belong together.
    """
    from ..kernels.images import photom as kernel

    if integrations == "uncalibrated" and exposure.sci.ndim == 3:
        raise Skip("integrations of NIRISS are compared with each other in DN/s: they have no flux calibration")
    photom, area = refs["photom"], refs.get("area")
    row = find_row(photom, exposure.header)
    conversion = flux_conversion(photom, row)
    if apply_time_correction:
        sensitivity = relative_sensitivity(photom, row, exposure.header)
        if sensitivity != 1:
            conversion = conversion / sensitivity
            log.info("Relative sensitivity at mid-exposure: %.6g", sensitivity)
    if area is not None:
        exposure.extra["AREA"] = area.array("SCI")
    variances = [plane for plane in (exposure.var_poisson, exposure.var_rnoise, exposure.var_flat) if plane is not None]
    kernel.scale([exposure.sci, exposure.err], variances, exposure.dq, conversion, conversion * conversion, inverse, bits.DO_NOT_USE)
    _keywords(exposure.header.sci, conversion, photom, area, inverse)
    log.info("1 DN/s is %.6g MJy/sr", conversion)
    return exposure


def find_row(photom, header):
    """Where the table has the exposure's optical elements.

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
    wanted = {name: str(header[COLUMNS[name.lower()]]).upper() for name in table.dtype.names if name.lower() in COLUMNS}
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


def flux_conversion(photom, row):
    """PHOTMJSR of a row, float32.

    Raises
    ------
    Skip
        It is for spectra.
    ReferenceError
        It is no positive number.
    """
    columns = {name.lower(): name for name in photom.table("PHOTOM").dtype.names}
    line = photom.table("PHOTOM")[row]
    if "photmjsr" not in columns or ("wavelength" in columns and line[columns.get("nelem", columns["wavelength"])].any()):
        raise Skip("the photom reference is for spectra, whose flux calibration is not available yet")
    conversion = np.float32(line[columns["photmjsr"]])
    if not 0 < conversion < np.inf:
        what = f"PHOTMJSR in row {row + 1} of the photom reference is {conversion}, a number above 0 was expected"
        raise ReferenceError(what, photom.path, "Correct the reference, or give another photom reference under references: overrides")
    return conversion


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


def _keywords(sci, conversion, photom, area, inverse):
    sci["PHOTMJSR"] = (float(conversion), "[MJy/sr] surface brightness that gives 1 DN/s")
    sci["PHOTUJA2"] = (float(conversion * UJY_ARCSEC2), "[uJy/arcsec2] for 1 DN/s")
    for key, unit in (("PIXAR_SR", "sr"), ("PIXAR_A2", "arcsec2")):
        values = [ref.header.get(key) for ref in (area, photom) if ref is not None]  # that of the area reference wins
        value = next((float(value) for value in values if value is not None), None)
        if value is None:
            log.warning("No %s in the photom or area reference", key)
        else:
            sci[key] = (value, f"[{unit}] nominal pixel area")
    sci["BUNIT"] = ("DN/s" if inverse else "MJy/sr", "physical units of the array values")
