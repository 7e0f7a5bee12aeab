"""Tables of spectra as the archive has them: columns, types, order and units."""

import numpy as np
from astropy.io.fits import Header

VECTORS = (
    *("WAVELENGTH", "FLUX", "FLUX_ERROR", "FLUX_VAR_POISSON", "FLUX_VAR_RNOISE", "FLUX_VAR_FLAT"),
    *("SURF_BRIGHT", "SB_ERROR", "SB_VAR_POISSON", "SB_VAR_RNOISE", "SB_VAR_FLAT", "DQ"),
    *("BACKGROUND", "BKGD_ERROR", "BKGD_VAR_POISSON", "BKGD_VAR_RNOISE", "BKGD_VAR_FLAT", "NPIXELS"),
)
TIMES = ("MJD-BEG", "MJD-AVG", "MJD-END", "TDB-BEG", "TDB-MID", "TDB-END")
# INT_TIMES has the same in this order
OF_INT_TIMES = (
    *("int_start_MJD_UTC", "int_mid_MJD_UTC", "int_end_MJD_UTC"),
    *("int_start_BJD_TDB", "int_mid_BJD_TDB", "int_end_BJD_TDB"),
)
COMBINED = ("WAVELENGTH", "FLUX", "ERROR", "SURF_BRIGHT", "SB_ERROR", "DQ", "WEIGHT", "N_INPUT")
SQUARE = {"Jy": "Jy^2", "MJy": "MJy^2", "MJy/sr": "MJy^2 / sr^2", "DN/s": "DN^2 / s^2"}


def spectrum_table(columns):
    """One spectrum: a row a wavelength.

    Parameters
    ----------
    columns : dict
        Name -> (along,), all of VECTORS.
    """
    table = np.empty(columns["WAVELENGTH"].shape, [(name, _kind(name)) for name in VECTORS])
    for name in VECTORS:
        table[name] = columns[name]
    return table


def series_table(columns, numbers, segment, times):
    """The spectra of all integrations: a row an integration.

    Parameters
    ----------
    columns : dict
        Name -> (int, along), all of VECTORS; WAVELENGTH may be (along,).
    numbers : (int,)
        Of the integrations.
    segment : int
    times : dict
        Of TIMES -> (int,) [days].
    """
    shape = columns["FLUX"].shape
    kinds = [("INT_NUM", np.int32), *((name, _kind(name), (shape[1],)) for name in VECTORS)]
    kinds += [("N_ALONGDISP", np.uint32), ("SEGMENT", np.int32), *((name, float) for name in TIMES)]
    table = np.empty(shape[0], kinds)
    for name in VECTORS:
        table[name] = columns[name]
    table["INT_NUM"], table["N_ALONGDISP"], table["SEGMENT"] = numbers, shape[1], segment
    for name in TIMES:
        table[name] = times[name]
    return table


def combined_table(columns):
    """Several spectra put together: a row a wavelength; name -> (along,), all of COMBINED."""
    table = np.empty(columns["WAVELENGTH"].shape, [(name, _kind(name)) for name in COMBINED])
    for name in COMBINED:
        table[name] = columns[name]
    return table


def _kind(name):
    return np.uint32 if name == "DQ" else float


def units_header(table, flux, brightness):
    """TUNITn of the columns of any of these tables, in units of flux and of surface brightness."""
    header = Header()
    for number, name in enumerate(table.dtype.names, start=1):
        unit = _unit(name, flux, brightness)
        if unit:
            header[f"TUNIT{number}"] = unit
    return header


def _unit(name, flux, brightness):
    if name == "WAVELENGTH":
        return "um"
    if name in TIMES:
        return "d"
    unit = flux if name.startswith(("FLUX", "ERROR")) else brightness if name.startswith(("SURF", "SB_", "BKGD", "BACKGROUND")) else None
    return SQUARE.get(unit, f"({unit})^2") if unit and "_VAR_" in name else unit


def column_unit(spectrum, name):
    """The unit of a spectrum's column; None where it has none."""
    return spectrum.header.get(f"TUNIT{spectrum.table.dtype.names.index(name) + 1}")
