"""The spectra of a field's sources, of all exposures, as one for each source and order."""

import logging

import numpy as np

from ...model.spectra import Spectrum, empty_table
from ...vocabulary.errors import InputError
from ..spectra import combined, tables

log = logging.getLogger(__name__)

NEEDED = ("WAVELENGTH", "DQ", *combined.VALUES.values())


def combine_sources(spectra, weight_of, sigma_clip):
    """Combine the spectra of each source.

    Parameters
    ----------
    spectra : list of Spectrum
        Tables with a row a source: one an exposure and order.
    weight_of : callable
        Spectrum -> weight of its exposure.
    sigma_clip : float or None
        See `spectra.combined.combine`.

    Returns
    -------
    list of Spectrum
        A table an order, with a row for each source that has a spectrum with a flux.
    """
    orders = {}
    for spectrum in spectra:
        orders.setdefault(int(spectrum.header["SPORDER"]), []).append(spectrum)
    return [made for order, those in orders.items() if (made := _of_order(order, those, weight_of, sigma_clip)) is not None]


def _of_order(order, spectra, weight_of, sigma_clip):
    sources = {}
    for spectrum in spectra:
        units = tables.column_unit(spectrum, "FLUX"), tables.column_unit(spectrum, "SURF_BRIGHT")
        weight = weight_of(spectrum)
        for row in spectrum.table:
            columns = {name: row[name][: int(row["N_ALONGDISP"])] for name in NEEDED}
            if np.isfinite(columns["FLUX"]).any():
                sources.setdefault(int(row["SOURCE_ID"]), []).append((combined.Single(columns, weight, units, spectrum.header), row))
    made = {}
    for label, found in sorted(sources.items()):
        try:
            made[label] = combined.combine([single for single, _ in found], sigma_clip), found[0][1]
        except InputError as error:
            log.warning("Source %d, order %d: %s", label, order, error.what)
    if not made:
        return None
    table = empty_table("wfss_combined", len(made), max(len(spectrum) for spectrum, _ in made.values()))
    for line, (label, (spectrum, row)) in zip(table, made.items(), strict=True):
        for name in spectrum.dtype.names:
            line[name][: len(spectrum)] = spectrum[name]
        line["SOURCE_ID"], line["N_ALONGDISP"] = label, len(spectrum)
        for name in ("SOURCE_TYPE", "SOURCE_RA", "SOURCE_DEC"):
            line[name] = row[name]
    units = next(iter(sources.values()))[0][0].units
    header = tables.units_header(table, *units)
    header["SPORDER"] = (order, "Spectral order number")
    header["DISPAXIS"] = (spectra[0].header["DISPAXIS"], "Dispersion direction")
    log.info("Order %d: %d sources of up to %d exposures", order, len(made), len(spectra))
    new = Spectrum(table, header, "COMBINE1D")
    new.set_units({"SOURCE_RA": "deg", "SOURCE_DEC": "deg"})
    return new
