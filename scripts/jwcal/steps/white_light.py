"""The light curve of a spectroscopic time series: the flux of all wavelengths."""

import logging
from typing import Literal

import numpy as np

from ..arithmetic.spectra.white import ABOUT, flux_of_each
from ..files.reference_file import another, understood
from ..vocabulary.errors import InputError, ReferenceError

log = logging.getLogger(__name__)

OPTIONAL = ("wavelengthrange",)

NAMED = ("NRS1", "NRS2")  # detectors that are in the columns' names though there is but one


def apply(
    exposure,
    refs=None,
    ranges: bool = False,
    *,
    min_wavelength: float | None = None,
    max_wavelength: float | None = None,
    bad_fluxes: Literal["replace", "omit"] = "replace",
):
    """Sum the flux over the wavelengths, for each integration, order and detector.

    Parameters
    ----------
    exposure : Exposure
        "x1dints": tables with a row an integration, of one segment or of several.
    refs : References
        wavelengthrange: rows of order, filter, shortest and longest wavelength [micron].
    ranges : bool
        Whether each order has a range of its own in the reference; given by the table of chains.
    min_wavelength, max_wavelength : float, optional
        micron. All wavelengths, or those of the reference, by default.
    bad_fluxes : {"replace", "omit"}
        A flux that is not known is the mean spectrum's, scaled to the integration's other fluxes; or it is missing from the sum.

    Returns
    -------
    Exposure
        Its `catalogue` is the light curve; suffix "whtlt". Integrations without a time, or with that of another one, are left out;
        if none has a time, all are there and their times are NaN.

    Raises
    ------
    InputError
        There are no spectra.
    ReferenceError
        The reference has no range for an order, or several.
    """
    if not exposure.spectra:
        raise InputError("there are no spectra in it", exposure.name, "Run extract_1d")
    if any(spectrum.table["FLUX"].ndim != 2 for spectrum in exposure.spectra):
        raise InputError("its tables do not have a row an integration", exposure.name, "Give x1dints products")
    table = refs["wavelengthrange"] if ranges and refs is not None and "wavelengthrange" in refs else None
    curves = {}
    for key, spectra in _by_detector_and_order(exposure.spectra).items():
        low, high = (-np.inf, np.inf) if table is None else _range(table, key[1], exposure.header["FILTER"])
        low, high = (own if user is None else user for own, user in ((low, min_wavelength), (high, max_wavelength)))
        curves[key] = _curve(spectra, low, high, bad_fluxes == "replace")
    new = exposure.aside("whtlt")
    new.spectra = []
    new.catalogue = _table(curves, exposure)
    log.info("%d integrations", len(new.catalogue))
    return new


def _by_detector_and_order(spectra):
    groups = {}
    for spectrum in spectra:
        key = spectrum.header.get("DETECTOR"), int(spectrum.header.get("SPORDER", 1))
        groups.setdefault(key, []).append(spectrum)
    return groups


def _range(reference, order, optics):
    with understood("wavelengthrange", reference.path):
        found = [row[2:4] for row in reference.tree["wavelengthrange"] if int(row[0]) == order and row[1] == optics]
    if len(found) != 1:
        what = f"the wavelengthrange reference has {len(found)} ranges for order {order} with {optics}, one is needed"
        raise ReferenceError(what, reference.path, another("wavelengthrange"))
    return found[0]


def _curve(spectra, low, high, replace):
    """Times and flux of all segments, in the order of time: MJD, BJD, flux, each (int,)."""
    flux = np.concatenate(flux_of_each([spectrum.table for spectrum in spectra], low, high, replace))
    mjd, bjd, number = (
        np.concatenate([np.asarray(spectrum.table[name], float) for spectrum in spectra]) for name in ("MJD-AVG", "TDB-MID", "INT_NUM")
    )
    known = np.isfinite(mjd)
    if not known.any():
        log.warning("No integration has a time: the light curve is in the order of the integrations, with times of NaN")
        order = np.argsort(number, kind="stable")
        return mjd[order], bjd[order], flux[order]
    times, first = np.unique(mjd[known], return_index=True)
    if times.size < mjd.size:
        log.warning("%d of %d integrations have no time, or that of another one: they are left out", mjd.size - times.size, mjd.size)
    kept = np.flatnonzero(known)[first]
    return times, bjd[kept], flux[kept]


def _table(curves, exposure):
    from astropy.table import QTable
    from astropy.units import Quantity, Unit

    from ..arithmetic.spectra.tables import column_unit

    unit = column_unit(exposure.spectra[0], "FLUX")
    table = QTable(meta={name: exposure.header.get(key) for name, key in ABOUT.items()})
    detectors, orders = (list(dict.fromkeys(key[n] for key in curves)) for n in (0, 1))
    times = {detector: _times([curve for key, curve in curves.items() if key[0] == detector]) for detector in detectors}
    length = max(len(mjd) for mjd, _ in times.values())
    for detector in detectors:
        mjd, bjd = times[detector]
        name = f"_{detector}" if len(detectors) > 1 or str(detector).upper() in NAMED else ""
        table[f"MJD_UTC{name}"], table[f"BJD_TDB{name}"] = _padded(mjd, length), _padded(bjd, length)
        for order in orders:
            flux = np.full(length, np.nan)
            if (detector, order) in curves:
                own, _, values = curves[detector, order]
                flux[np.searchsorted(mjd, own) if np.isfinite(own).all() else slice(len(own))] = values
            column = f"whitelight_flux{f'_order_{order}' if len(orders) > 1 else ''}{name}"
            table[column] = flux if unit is None else Quantity(flux, Unit(unit))
    table.meta["number_of_integrations"] = length
    return table


def _times(curves):
    """The times of one detector: of all its orders."""
    mjd, first = np.unique(np.concatenate([curve[0] for curve in curves]), return_index=True, equal_nan=False)
    if not np.isfinite(mjd).any():  # of none
        return max((curve[:2] for curve in curves), key=lambda pair: len(pair[0]))
    return mjd, np.concatenate([curve[1] for curve in curves])[first]


def _padded(values, length):
    return np.concatenate([values, np.full(length - len(values), np.nan)])
