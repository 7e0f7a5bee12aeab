"""Extracted spectra from DN/s to flux, order by order: for what is summed before it is calibrated."""

import logging

import numpy as np

from ...vocabulary import dq as bits
from ...vocabulary.errors import InputError, Skip
from ..spectra.tables import units_header
from . import reference

log = logging.getLogger(__name__)

DONE = "MJy"
FROM = "DN/s"
VALUES = ("FLUX", "FLUX_ERROR", "BACKGROUND", "BKGD_ERROR")
VARIANCES = tuple(f"{of}_VAR_{kind}" for of in ("FLUX", "BKGD") for kind in ("POISSON", "RNOISE", "FLAT"))


def convert(exposure, photom, area, *, inverse, timed, **_):
    """Convert all spectra; arguments are those of `steps.photom`.

    A wavelength's factor is PHOTMJ times the response there, linear between the table's. The unit is MJy, or Jy where
    that is the unit of the reference's column. Wavelengths that the table does not have have no flux, and are DO_NOT_USE.

    Raises
    ------
    InputError
        There are no spectra.
    Skip
        No order is in the reference.
    """
    if not exposure.spectra:
        raise InputError("there are no spectra in it", exposure.name, "Run extract_1d before")
    planned = []
    for spectrum in exposure.spectra:
        order = int(spectrum.header.get("SPORDER", 1))
        try:
            row = reference.find_row(photom, _Of(exposure.header, {"SPORDER": order}))
        except Skip as why:
            log.warning("Order %d stays in %s: %s", order, FROM, why)
            continue
        planned.append((spectrum, order, *_factor(spectrum, photom, row, exposure.header, timed)))
    if not planned:
        raise Skip("the photom reference has none of the orders")
    unit = _unit(photom)
    for spectrum, order, conversion, factor in planned:
        _multiply(spectrum.table, 1 / factor if inverse else factor)
        for keyword, value in units_header(spectrum.table, FROM if inverse else unit, FROM if inverse else unit).items():
            if not spectrum.table.dtype.names[int(keyword[5:]) - 1].startswith("S"):  # surface brightness: there is none
                spectrum.header[keyword] = value
        log.info("Order %d: 1 DN/s is %.6g %s times the relative response", order, conversion, unit)


class _Of:
    """The keywords of an exposure with some of one spectrum."""

    def __init__(self, header, own):
        self._header, self._own = header, own

    def __getitem__(self, keyword):
        return self._own[keyword] if keyword in self._own else self._header[keyword]


def _unit(photom):
    """MJy, or Jy where the column PHOTMJ has that unit."""
    about = photom.keywords("PHOTOM")
    number = next((key[5:] for key, value in about.items() if key.startswith("TTYPE") and str(value).lower() == "photmj"), "")
    return "Jy" if str(about.get(f"TUNIT{number}", "")).startswith("Jy") else DONE


def _factor(spectrum, photom, row, header, timed):
    conversion = reference.conversion_of(photom, row, "photmj")
    if conversion is None:
        conversion = reference.conversion_of(photom, row)
    if timed:
        conversion = reference.at_its_time(conversion, photom, row, header)
    at, relative = reference.response(photom, row)
    factor = float(conversion) * np.interp(spectrum.table["WAVELENGTH"], at, relative, left=np.nan, right=np.nan)
    factor[~(factor > 0)] = np.nan
    return conversion, factor


def _multiply(table, factor):
    for name in VALUES:
        table[name] *= factor
    for name in VARIANCES:
        table[name] *= factor**2
    table["DQ"] |= np.where(np.isfinite(factor), 0, bits.DO_NOT_USE).astype(table["DQ"].dtype)
