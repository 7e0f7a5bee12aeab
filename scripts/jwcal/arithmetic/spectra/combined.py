"""Several spectra as one: common wavelengths, and weighted means."""

import logging
from dataclasses import dataclass

import numpy as np

from ...kernels.spectra.common_wavelengths import common_wavelengths
from ...vocabulary import dq as bits
from ...vocabulary.errors import InputError
from . import tables

log = logging.getLogger(__name__)

VALUES = {"FLUX": "FLUX", "ERROR": "FLUX_ERROR", "SURF_BRIGHT": "SURF_BRIGHT", "SB_ERROR": "SB_ERROR"}  # in the new table, in the old ones


@dataclass
class Single:
    """One of the spectra."""

    columns: dict  # name -> (along,)
    weight: float
    units: tuple  # of flux and surface brightness
    about: object  # the header it had

    @property
    def wavelength(self):
        return self.columns["WAVELENGTH"]


def single_spectra(spectrum, weight):
    """The spectra in a table: one, or one a row of a series. Those without a finite flux, or with wavelengths that go up and down, are left
    out, which is logged."""
    units = tables.column_unit(spectrum, "FLUX"), tables.column_unit(spectrum, "SURF_BRIGHT")
    names = ("WAVELENGTH", "DQ", *VALUES.values())
    if spectrum.table["WAVELENGTH"].ndim == 1:
        every = [{name: spectrum.table[name] for name in names}]
    else:
        every = [{name: row[name][: int(row["N_ALONGDISP"])] for name in names} for row in spectrum.table]
    kept = []
    for columns in every:
        steps = np.diff(columns["WAVELENGTH"])
        if not np.isfinite(columns["FLUX"]).any():
            log.warning("A spectrum without any flux is left out")
        elif steps.size and not ((steps > 0).all() or (steps < 0).all()):
            log.warning("A spectrum whose wavelengths neither rise nor fall throughout is left out")
        else:
            kept.append(Single(columns, weight, units, spectrum.header))
    return kept


def combine(spectra, sigma_clip=None):
    """The mean spectrum.

    Each value goes to the nearest of the common wavelengths. Weights are those of the spectra.

    Parameters
    ----------
    spectra : list of Single
        Those with one wavelength do not count.
    sigma_clip : float, optional
        Values farther than this times the median absolute deviation of all from the median of their wavelength are left out.

    Returns
    -------
    structured ndarray
        See `tables.COMBINED`.

    Raises
    ------
    InputError
        No two wavelengths.
    """
    long = [s for s in spectra if s.wavelength.size > 1]
    if not long:
        raise InputError("no spectrum has two wavelengths", do="Look at the x1d products")
    for s in long:
        if s.units != long[0].units:
            raise InputError(f"spectra in {s.units[0]} and in {long[0].units[0]} can't be combined", do="Calibrate all of them alike")
    grid = common_wavelengths([np.asarray(s.wavelength, float) for s in long])
    stack = {name: np.zeros((len(long), grid.size)) for name in VALUES}
    weight, count = np.zeros((len(long), grid.size)), np.zeros((len(long), grid.size))
    dq = np.zeros(grid.size, np.uint32)
    for s, one in enumerate(long):
        place = _places(np.asarray(one.wavelength, float), grid)
        good = np.isfinite(place) & (one.columns["DQ"] & bits.DO_NOT_USE == 0) & np.isfinite(one.columns["FLUX"])
        at = np.rint(place[good]).astype(int)
        for name, old in VALUES.items():
            stack[name][s, at] = one.columns[old][good]
        np.bitwise_or.at(dq, at, one.columns["DQ"][good])
        weight[s, at], count[s, at] = one.weight, 1
    if sigma_clip is not None:
        _clip(stack, weight, count, sigma_clip)
    total = weight.sum(axis=0)
    divisor = np.where(total > 0, total, 1)
    columns = {"WAVELENGTH": grid, "DQ": dq, "WEIGHT": total, "N_INPUT": count.sum(axis=0)}
    for name, values in stack.items():
        weighted = np.where(weight > 0, values, 0) * weight
        if name.endswith("ERROR"):
            columns[name] = np.sqrt(np.nansum(weighted**2, axis=0)) / divisor
        else:
            columns[name] = np.nansum(weighted, axis=0) / divisor
    kept = columns["N_INPUT"] > 0
    if not kept.all():
        log.warning("%d of %d wavelengths have no value: they are left out", int((~kept).sum()), kept.size)
    return tables.combined_table({name: values[kept] for name, values in columns.items()})


def _places(wavelength, grid):
    """Fractional numbers in the grid; NaN outside it."""
    if grid.size < 2:
        return np.where(np.isclose(wavelength, grid[0]), 0.0, np.nan)
    return np.interp(wavelength, grid, np.arange(grid.size), left=np.nan, right=np.nan)


def _clip(stack, weight, count, limit):
    """Leave out what is far from the median of its wavelength, in units of the median of all absolute deviations."""
    flux = np.where((count > 0) & (stack["FLUX"] != 0), stack["FLUX"], np.nan)
    known = np.isfinite(flux).any(axis=0)
    if not known.any():
        return
    middle = np.full(flux.shape[1], np.nan)
    middle[known] = np.nanmedian(flux[:, known], axis=0)
    away = np.abs(stack["FLUX"] - middle)
    spread = np.nanmedian(np.where(np.isfinite(flux), away, np.nan))
    clipped = (count > 0) & (away > limit * spread)
    weight[clipped] = count[clipped] = 0
    log.info("%d values are left out as outliers", int(clipped.sum()))


def combine_exposures(exposures, weight_keyword=None, sigma_clip=None):
    """The mean spectra of exposures' spectra, one a spectral order.

    Parameters
    ----------
    exposures : iterable of Exposure
        With `spectra`.
    weight_keyword : str, optional
        Of the exposures: EFFEXPTM, EFFINTTM. Without one all weigh the same.
    sigma_clip : float, optional

    Returns
    -------
    dict
        Spectral order -> (table, Single): see `combine`, and the first of the spectra.
    """
    by_order = {}
    for exposure in exposures:
        weight = 1.0 if weight_keyword is None else float(exposure.header[weight_keyword])
        for spectrum in exposure.spectra:
            by_order.setdefault(int(spectrum.header.get("SPORDER", 1)), []).extend(single_spectra(spectrum, weight))
    return {order: (combine(spectra, sigma_clip), spectra[0]) for order, spectra in by_order.items() if spectra}
