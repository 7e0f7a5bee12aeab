"""Spectra: flux against wavelength, and how they change in a series."""

import numpy as np

from ...files import fitsio
from .shapes import Curves, Image
from .values import quietly, sky

MOST_CURVES = 6
GAP = 20  # usual steps between wavelengths, from which on a line is broken


def spectra(hdus, path=None):
    """Extracted spectra: flux against wavelength."""
    found = _spectra(hdus)
    x, y, errors, unit, names = zip(*found[:MOST_CURVES], strict=True) if found else ((), (), (), ("",), ())
    caption = f"{len(found)} spectra" if len(found) > 1 else "1 spectrum"
    if len(found) > MOST_CURVES:
        caption += f", the first {MOST_CURVES} are drawn"
    names = list(names) if len(found) > 1 and all(names) else []
    return [Curves(list(x), list(y), "wavelength (um)", unit[0], caption, errors=list(errors), names=names)] if found else []


def joined(paths):
    """Spectra of one target in several bands, by wavelength: one picture."""
    found = []
    for path in paths:
        with fitsio.open_fits(path) as hdus:
            found += _spectra(hdus)
    found = sorted((one for one in found if np.isfinite(one[0]).any()), key=lambda one: np.nanmin(one[0]))
    if len({unit for _, _, _, unit, _ in found}) != 1:
        return []
    x, y, _, unit, _ = zip(*found, strict=True)
    caption = f"{len(found)} bands from {np.nanmin(x[0]):.2f} to {max(np.nanmax(one) for one in x):.2f} um"
    return [Curves(list(x), list(y), "wavelength (um)", unit[0], caption)]


def spectral_series(hdus, path=None):
    """Spectra of a time series: their median, and each of them divided by it, one row an integration."""
    found = _spectra(hdus)
    lengths = [len(x) for x, *_ in found]
    if not found or len(set(lengths)) > 1:
        return spectra(hdus)
    x, unit = found[0][0], found[0][3]
    flux = np.array([y for _, y, *_ in found])
    median = quietly(np.nanmedian, flux)
    curve = Curves([x], [median], "wavelength (um)", unit, f"median of {len(found)} integrations")
    with np.errstate(all="ignore"):
        relative = flux / median
    good = relative[np.isfinite(relative)]
    if good.size == 0:
        return [curve]
    _, scatter = sky(good)
    caption = f"{len(found)} integrations (upwards) of {len(x)} wavelengths, divided by their median"
    return [curve, Image(relative.astype(np.float32), 1 - 4 * scatter, 1 + 4 * scatter, "relative flux", caption)]


def _spectra(hdus):
    """(wavelength, flux, error, label, name) of all spectra: a table each, or a row each of tables with a vector in every cell."""
    found = []
    for hdu in hdus[1:]:
        if hdu.name not in ("EXTRACT1D", "COMBINE1D") or hdu.data is None or len(hdu.data) == 0:
            continue
        table = hdu.data
        names = {name.upper(): name for name in table.names}
        wavelength = np.atleast_1d(fitsio.native(table[names["WAVELENGTH"]]))
        flux, column = fitsio.native(table[names["FLUX"]]), names["FLUX"]
        if not np.any(np.isfinite(flux) & (flux != 0)) and "SURF_BRIGHT" in names:
            flux, column = fitsio.native(table[names["SURF_BRIGHT"]]), names["SURF_BRIGHT"]
        label = f"{column.lower().replace('surf_bright', 'surface brightness')} ({hdu.columns[column].unit or ''})".replace(" ()", "")
        error = names.get({"FLUX": "FLUX_ERROR", "SURF_BRIGHT": "SB_ERROR"}[column.upper()]) or names.get("ERROR")
        errors = fitsio.native(table[error]) if error else np.full(flux.shape, np.nan)
        slit, order = hdu.header.get("SLTNAME", ""), hdu.header.get("SPORDER")
        called = [str(number) for number in np.ravel(table["SOURCE_ID"])] if "SOURCE_ID" in names else []
        name = f"{slit} order {order}".strip() if order not in (None, 0, 1) else str(slit)
        if "NPIXELS" in names:
            flux = np.where(fitsio.native(table[names["NPIXELS"]]) > 0, flux, np.nan)  # 0 where there is nothing
        planes = (np.atleast_2d(array) for array in (wavelength, flux, errors))
        found += [(*_broken(x, y, e), label, called[k] if called else name) for k, (x, y, e) in enumerate(zip(*planes, strict=True))]
    return found


def _broken(x, y, error):
    """The same with an empty place in each gap between bands."""
    steps = np.abs(np.diff(x))
    if not np.isfinite(steps).any():
        return x, y, error
    gaps = np.flatnonzero(steps > GAP * np.nanmedian(steps)) + 1
    return tuple(np.insert(np.asarray(values, float), gaps, np.nan) for values in (x, y, error))
