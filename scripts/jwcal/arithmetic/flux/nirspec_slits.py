"""Slits of NIRSpec to flux, where the source is a point, or else to surface brightness."""

import logging

import numpy as np

from ...vocabulary.errors import ReferenceError, Skip
from ..spectra_calibration.apply_map import multiply
from ..spectra_calibration.nirspec_flat import shutter_of
from ..spectra_calibration.wavelengths import uncorrected, wavelengths
from . import reference

log = logging.getLogger(__name__)

POINT = "POINT"


def convert(exposure, photom, area, *, kind, keep_both, inverse, timed, source_type):
    """Convert the pixels of every slit and set its keywords; arguments are those of `steps.photom`.

    The reference has the flux of 1 DN/s in a pixel. That of a source that is no point is divided by the area of a pixel, which the area
    reference has for each slit or shutter.
    """
    planned = []
    for slit in exposure.slits():  # before anything is changed
        steradian = _area(area, slit, kind)
        try:
            row = reference.find_row(photom, slit.header, leave_out=("slit",) if kind == "shutters" else ())
        except Skip as why:
            log.warning("slit %s: it stays in DN/s: %s", slit.header.get("SLTNAME", ""), why)
            planned.append((slit, steradian, None))
            continue
        planned.append((slit, steradian, _conversion(slit, photom, row, steradian, keep_both, timed, source_type)))
    if all(conversion is None for *_, conversion in planned):
        raise Skip("the photom reference has no row for its optical elements and slits")
    for slit, steradian, conversion in planned:
        if steradian is not None:
            slit.header.sci["PIXAR_SR"] = (steradian, "[sr] nominal pixel area")
            slit.header.sci["PIXAR_A2"] = (steradian / reference.SQUARE_ARCSEC, "[arcsec2] nominal pixel area")
        if conversion is None:
            continue
        factor, scalar, unit, kept = conversion
        multiply(slit, factor, divide=inverse)
        slit.extra.update(kept)
        reference.set_conversion(slit.header.sci, scalar, "DN/s" if inverse else unit)
        log.info("slit %s: 1 DN/s is %.6g %s times the relative response", slit.header.get("SLTNAME", ""), scalar, unit)


def _conversion(slit, photom, row, steradian, keep_both, timed, source_type):
    """(its map, the scalar in it, the unit that it gives, what is kept of it) of one slit."""
    if not reference.is_spectral(photom, row):
        raise ReferenceError("the photom reference is for images, and this is a spectrum", photom.path, "Give one with wavelengths")
    flux = reference.conversion_of(photom, row, "photmj")
    if flux is None:
        raise ReferenceError("the photom reference has no PHOTMJ", photom.path, "Give the one of this mode")
    if timed:
        flux = reference.at_its_time(flux, photom, row, slit.header)
    is_point = str(source_type or slit.header.get("SRCTYPE", "")).upper() == POINT
    if steradian is None and not is_point:
        log.warning("slit %s: no pixel area is known: it stays a flux", slit.header.get("SLTNAME", ""))
    brightness = flux if steradian is None else flux / np.float32(steradian)
    scalar, unit = (flux, "MJy") if is_point or steradian is None else (brightness, "MJy/sr")
    at, relative = reference.response(photom, row)

    def on(wavelength, by):
        factor = float(by) * np.interp(wavelength, at, relative, left=np.nan, right=np.nan)
        factor[~(factor > 0)] = np.nan
        return factor

    factor = on(wavelengths(slit), scalar)
    if not np.isfinite(factor).any():
        what = f"the photom reference is for {at[0]:.3f} to {at[-1]:.3f} micron, where the slit {slit.header.get('SLTNAME')} has no pixel"
        raise ReferenceError(what, photom.path, "Give the photom reference of its mode")
    kept = {}
    if keep_both and is_point:
        kept = {"PHOTOM_PS": _shown(factor), "PHOTOM_UN": _shown(on(uncorrected(slit), brightness))}
    return factor, scalar, unit, kept


def _shown(factor):
    """A conversion as it is kept: 0 where there is none."""
    return np.nan_to_num(factor, nan=0.0).astype(np.float32)


def _area(area, slit, kind):
    """The area of a pixel of one slit [sr]; None where it is not known, which is told."""
    if area is None:
        return None
    rows = area.table("AREA")
    columns = {name.lower(): rows[name] for name in rows.dtype.names}
    if kind == "shutters":
        wanted = dict(zip(("quadrant", "shutter_x", "shutter_y"), shutter_of(slit), strict=True))
    else:
        wanted = {"slit_id": str(slit.header["SLTNAME"])}
    missing = [name for name in (*wanted, "pixarea") if name not in columns]
    if missing:
        what = f"the area reference's table has no column {' and no '.join(missing)}"
        raise ReferenceError(what, area.path, "Give the area reference of this mode")
    same = np.ones(len(rows), bool)
    for name, value in wanted.items():
        column = columns[name]
        same &= np.char.strip(column.astype(str)) == value if isinstance(value, str) else column == value
    found = np.flatnonzero(same)
    if found.size != 1 and (kind == "shutters" or not found.size):
        where = ", ".join(f"{name} {value}" for name, value in wanted.items())
        log.warning("the area reference has %d rows for %s: the area of its pixels is not known", found.size, where)
        return None
    return float(columns["pixarea"][found[0]]) * reference.SQUARE_ARCSEC
