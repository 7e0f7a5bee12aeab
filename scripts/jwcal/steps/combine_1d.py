"""Put the spectra of a source together."""

import logging

from ..arithmetic.grism.combined import combine_sources
from ..arithmetic.spectra import combined, tables
from ..model.exposure import Exposure, Members
from ..model.spectra import Spectrum
from ..vocabulary.errors import Skip

log = logging.getLogger(__name__)

WEIGHTS = {"exposure_time": "EFFEXPTM", "integration_time": "EFFINTTM", "unit_weight": None}
# what else the parameter may be called
BEGINNINGS = {"exposure": "exposure_time", "effexptm": "exposure_time", "integration": "integration_time", "effinttm": "integration_time"}
KEPT = {"SOURCEID": "Source ID", "SRCTYPE": "Source type used for calibration", "SLTNAME": "Slit name"}


def apply(exposure, refs=None, *, exptime_key: str = "exposure_time", sigma_clip: float | None = None):
    """Combine spectra, of one exposure or of several, to one for each spectral order; of a field of sources to one for each of them too.

    Parameters
    ----------
    exposure : Exposure, Members, or iterable of Exposure
        With `spectra`: "x1d", or "x1dints", of which every integration is a spectrum.
    refs
        None are needed.
    exptime_key : str
        Weights: "exposure_time" (EFFEXPTM), "integration_time" (EFFINTTM), or "unit_weight".
    sigma_clip : float, optional
        Leave out what is farther from the median of its wavelength than so many median absolute deviations (of all values).

    Returns
    -------
    Exposure
        "c1d", with tables COMBINE1D.

    Raises
    ------
    Skip
        There is no spectrum with a flux.
    """
    one = isinstance(exposure, Exposure)
    every = [exposure] if one else list(exposure.each() if isinstance(exposure, Members) else exposure)
    if any("SOURCE_ID" in spectrum.table.dtype.names for spectrum in every[0].spectra):
        return _of_sources(every, WEIGHTS[_weight(exptime_key)], sigma_clip)
    found = combined.combine_exposures(every, WEIGHTS[_weight(exptime_key)], sigma_clip)
    if not found:
        raise Skip("there is no spectrum with a flux")
    new = every[0].derive([], "c1d")
    new.tables = {}
    for order, (table, first) in found.items():
        header = tables.units_header(table, *first.units)
        header["SPORDER"] = (order, "Spectral order number")
        for key, comment in KEPT.items():
            if first.about.get(key) is not None:
                header[key] = (first.about[key], comment)
        new.spectra.append(Spectrum(table, header, "COMBINE1D"))
        log.info("Order %d: %d wavelengths, of up to %d spectra", order, len(table), table["N_INPUT"].max())
    return new


def _of_sources(every, keyword, sigma_clip):
    """A row for each source of a field."""

    def weight(spectrum):
        if keyword is None:
            return 1.0
        value = spectrum.header.get(keyword)
        return float(every[0].header[keyword] if value is None else value)

    spectra = combine_sources([spectrum for one in every for spectrum in one.spectra], weight, sigma_clip)
    if not spectra:
        raise Skip("there is no spectrum with a flux")
    new = every[0].derive([], "c1d")
    new.tables, new.spectra = {}, spectra
    return new


def _weight(key):
    key = key.strip().lower().replace(" ", "_")
    found = next((name for start, name in BEGINNINGS.items() if key.startswith(start)), key)
    if found not in WEIGHTS:
        log.warning("exptime_key %r is none of %s: all weigh the same", key, ", ".join(WEIGHTS))
        return "unit_weight"
    return found
