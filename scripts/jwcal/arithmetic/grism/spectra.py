"""The spectra of the sources of a field: a table for each exposure and order, with a row a source."""

import numpy as np

from ...model.exposure import Header
from ...model.spectra import CUT, Spectrum, empty_table
from ..spectra import slits
from .footprint import united

OF_GROUP = ("OBSERVTN", "VISIT", "VISITGRP", "SEQ_ID", "ACT_ID", "EXPOSURE")
PLACES = {"SOURCE_XPOS": "SRCXPOS", "SOURCE_YPOS": "SRCYPOS", "SOURCE_RA": "SRCRA", "SOURCE_DEC": "SRCDEC"}


def extract(exposure, refs, place, options):
    """As `spectra.slits.extract`; all pixels of a cut-out are summed, whatever an extract1d reference says."""
    given = {kind: refs[kind] for kind in ("apcorr", "psf") if kind in refs}
    found, shown = slits.extract(exposure, given, place, options, on_sky=False)
    by_name = {(str(p.header["SLTNAME"]), int(p.header["SPORDER"])): p.header for p in exposure.pixels}
    orders = {}
    for spectrum in found:
        order = int(spectrum.header["SPORDER"])
        orders.setdefault(order, []).append((by_name[str(spectrum.header["SLTNAME"]), order], spectrum))
    return joined([_table(exposure.header, order, rows) for order, rows in orders.items()]), shown


def _table(header, order, rows):
    """The spectra of one order, by the number of their source."""
    rows = sorted(rows, key=lambda row: row[0]["SOURCEID"])
    table = empty_table("wfss", len(rows), max(len(spectrum.table) for _, spectrum in rows))
    for line, (slit, spectrum) in zip(table, rows, strict=True):
        count = len(spectrum.table)
        for name in spectrum.table.dtype.names:
            line[name][:count] = spectrum.table[name]
        line["SOURCE_ID"], line["N_ALONGDISP"] = slit["SOURCEID"], count
        line["SOURCE_TYPE"] = slit.get("SRCTYPE", "")
        for name, keyword in PLACES.items():
            line[name] = slit[keyword]
        starts = [slit["SLTSTRT1"], slit["SLTSTRT2"]]
        for name, value in zip(CUT, (*starts, starts[0] + slit["SLTSIZE1"], starts[1] + slit["SLTSIZE2"]), strict=True):
            line[name] = value
    first = rows[0][1]
    new = Spectrum(table)
    new.set_units(_units(first))
    new.header["SPORDER"] = (order, "Spectral order number")
    new.header["DISPAXIS"] = (first.header["DISPAXIS"], "Dispersion direction")
    new.header["EXPGRPID"] = (group_of(header, order), "Exposure group identifier")
    new.header["EFFEXPTM"] = (header.get("EFFEXPTM", np.nan), "[s] Effective exposure time")
    new.header["EFFINTTM"] = (header.get("EFFINTTM", np.nan), "[s] Effective integration time")
    new.header["FILENAME"] = (str(header.name).rsplit("/", 1)[-1], "Name of the exposure's file")
    for key in ("EFFEXPTM", "EFFINTTM"):
        if not np.isfinite(new.header[key] if new.header[key] is not None else np.nan):
            del new.header[key]
    return new


def _units(spectrum):
    names = spectrum.table.dtype.names
    units = {name: spectrum.header.get(f"TUNIT{number}") for number, name in enumerate(names, start=1)}
    return {**{name: unit for name, unit in units.items() if unit}, "SOURCE_RA": "deg", "SOURCE_DEC": "deg"}


def group_of(header: Header, order):
    """The name of an exposure and order."""
    number = [str(header.get(key, "")) for key in OF_GROUP]
    program = str(header.get("PROGRAM", "")).zfill(5)
    return f"jw{program}{number[0].zfill(3)}{number[1].zfill(3)}_{number[2].zfill(2)}{number[3]}{number[4]}_{number[5].zfill(5)}_{order}"


def joined(spectra):
    """The tables of several exposures and orders, each with a row for every source of all of them; S_REGION is that of all exposures."""
    regions = [spectrum.header["S_REGION"] for spectrum in spectra if spectrum.header.get("S_REGION")]
    if len(regions) > 1:
        spectra[0].header["S_REGION"] = (united(regions), "Spatial footprint of the observation")
    labels = np.unique(np.concatenate([spectrum.table["SOURCE_ID"] for spectrum in spectra]))
    for spectrum in spectra:
        old = spectrum.table
        if len(old) < len(labels):
            new = empty_table("wfss", len(labels), old["WAVELENGTH"].shape[1])
            new["SOURCE_ID"] = labels
            new[np.searchsorted(labels, old["SOURCE_ID"])] = old
            spectrum.table = new
    return spectra
