"""Extracted spectra, as an exposure holds them: `exposure.spectra` is a list of these."""

from dataclasses import dataclass, field

import numpy as np
from astropy.io import fits

from ..vocabulary import dq


@dataclass
class Spectrum:
    """The spectra of one source, slit or spectral order: one table extension of a product.

    Attributes
    ----------
    table : structured ndarray
        A row a wavelength (WAVELENGTH, FLUX, FLUX_ERROR... as in the archive), or, where a table holds many spectra, a row a
        spectrum with vectors in the columns. `empty_table` makes one.
    header : fits.Header
        Its own keywords: SLTNAME, SRCTYPE, SOURCEID, SPORDER, EXTRXSTR... and the units of the columns, TUNITn (`set_units`).
    name : str
        Of the extension: "EXTRACT1D", or "COMBINE1D" of combined spectra.
    wcs : gwcs.WCS
        Of the spectrum, if it has one.
    """

    table: np.ndarray
    header: fits.Header = field(default_factory=fits.Header)
    name: str = "EXTRACT1D"
    wcs: object = None

    def set_units(self, units):
        """Set the units of columns: {name: unit}; names that the table does not have are left out."""
        for number, name in enumerate(self.table.dtype.names, start=1):
            if name in units:
                self.header[f"TUNIT{number}"] = units[name]


# Columns in the order of stdatamodels' schemas (spectable, mrs_spectable, tso_spectable, wfss_spectable, combinedspectable,
# wfss_combinedspectable); those of ONE_A_ROW have one value where the others are vectors.
FLUXES = tuple(f"{name}{of}" for name in ("FLUX", "SB", "BKGD") for of in ("_ERROR", "_VAR_POISSON", "_VAR_RNOISE", "_VAR_FLAT"))
MEASURED = ("WAVELENGTH", "FLUX", *FLUXES[:4], "SURF_BRIGHT", *FLUXES[4:8], "DQ", "BACKGROUND", *FLUXES[8:], "NPIXELS")
COMBINED = ("WAVELENGTH", "FLUX", "ERROR", "SURF_BRIGHT", "SB_ERROR", "DQ", "WEIGHT", "N_INPUT")
PLACE = ("SOURCE_TYPE", "SOURCE_XPOS", "SOURCE_YPOS", "SOURCE_RA", "SOURCE_DEC")
CUT = tuple(f"EXTRACT2D_{axis}{end}" for end in ("START", "STOP") for axis in "XY")
TIMES = ("MJD-BEG", "MJD-AVG", "MJD-END", "TDB-BEG", "TDB-MID", "TDB-END")
COLUMNS = {
    "": MEASURED,
    "mrs": (*MEASURED, "RF_FLUX", "RF_SURF_BRIGHT", "RF_BACKGROUND"),
    "tso": ("INT_NUM", *MEASURED, "N_ALONGDISP", "SEGMENT", *TIMES),
    "wfss": ("SOURCE_ID", *MEASURED, "N_ALONGDISP", *PLACE, *CUT),
    "combined": COMBINED,
    "wfss_combined": ("SOURCE_ID", *COMBINED, "N_ALONGDISP", "SOURCE_TYPE", "SOURCE_RA", "SOURCE_DEC"),
}
ONE_A_ROW = {"INT_NUM", "SOURCE_ID", "N_ALONGDISP", "SEGMENT", *TIMES, *PLACE, *CUT}
KINDS = {"DQ": np.uint32, "SOURCE_TYPE": "S20", **dict.fromkeys(("INT_NUM", "SOURCE_ID", "SEGMENT"), np.int32)}
KINDS |= dict.fromkeys(("N_ALONGDISP", *CUT), np.uint32)
EMPTY = {"DQ": dq.DO_NOT_USE, "SOURCE_ID": -999, "NPIXELS": 0}  # others are NaN, 0 or ""


def empty_table(kind, rows, wavelengths=None):
    """A table of spectra with nothing in it yet: numbers are NaN, counts 0, data quality is DO_NOT_USE.

    Parameters
    ----------
    kind : str
        Key of COLUMNS: "" (a row a wavelength), "mrs", "combined"; "tso" (a row an integration), "wfss", "wfss_combined" (a row a source).
    rows : int
    wavelengths : int, optional
        Length of the vectors, of the kinds that have them.

    Returns
    -------
    structured ndarray
        NPIXELS is NaN in "wfss" tables, as nothing was looked at there.
    """
    vector = () if wavelengths is None else (wavelengths,)
    table = np.empty(rows, [(name, KINDS.get(name, np.float64), () if name in ONE_A_ROW else vector) for name in COLUMNS[kind]])
    for name in table.dtype.names:
        nothing = np.nan if table.dtype[name].base.kind == "f" else b"" if table.dtype[name].kind == "S" else 0
        table[name] = nothing if kind == "wfss" and name == "NPIXELS" else EMPTY.get(name, nothing)
    return table
