"""The flat field of NIRSpec's spectra, put together at each pixel's wavelength: F * S * D.

F is of the fore optics, S of the spectrograph, D of the detector. Each is a table over wavelength (the fast variation: what an aperture
lets through, a grating's efficiency), times images at one or several wavelengths for S and D, times a spectrum a shutter for F of the
shutter array. A table is averaged over the wavelengths of a pixel, images and spectra are linear between theirs.
"""

from typing import NamedTuple

import numpy as np

from ...kernels.spectra.mean_over_pixel import mean_over_pixel
from ...kernels.spectra.planes_at_wavelength import planes_at_wavelength
from ...vocabulary import dq as bits
from ...vocabulary.errors import InputError, ReferenceError

TYPES = ("fflat", "sflat", "dflat")
TABLE, PLANES = "FAST_VARIATION", "WAVELENGTH"
ANY = "ANY"
METRES = 1e-4  # a table whose wavelengths are below is in metres
NONE = np.uint32(bits.NO_FLAT_FIELD | bits.DO_NOT_USE)
BAD = np.uint32(NONE | bits.UNRELIABLE_FLAT)  # of a pixel that has no flat in the end


class Flat(NamedTuple):
    """A flat field on the pixels of a slit, (row, col): 1 and flagged where it has no value; the error is one standard deviation."""

    value: np.ndarray  # float32
    error: np.ndarray  # float32
    flags: np.ndarray  # uint32


class Window(NamedTuple):
    """Which pixels of the subarray a slit has, and where the light comes through."""

    rows: slice
    columns: slice
    name: str | None = None  # of the slit, where tables have a row for each
    shutter: tuple | None = None  # quadrant, column and row of a shutter, counted from 1


def make(refs, wavelength, window):
    """The flat field of one slit or slice.

    Parameters
    ----------
    refs : References
        Some of fflat, sflat, dflat.
    wavelength : float (row, col)
        micron; NaN or 0 where there is none.
    window : Window

    Returns
    -------
    Flat

    Raises
    ------
    ReferenceError
        A reference does not have the slit or quadrant, or does not cover the pixels.
    """
    wavelength = np.nan_to_num(wavelength, nan=0.0)
    step = pixel_widths(wavelength)
    value, relative = np.ones(wavelength.shape), np.zeros(wavelength.shape)
    flags = np.zeros(wavelength.shape, np.uint32)
    for kind in TYPES:
        if kind in refs:
            one, error, its_flags = (_fore_optics if kind == "fflat" else _on_detector)(refs[kind], wavelength, step, window)
            value *= one
            flags |= its_flags
            with np.errstate(invalid="ignore"):
                relative += (error / np.where(one == 0, 1, one)) ** 2
    flags[flags & bits.NO_FLAT_FIELD != 0] |= bits.DO_NOT_USE
    flags[flags & bits.DO_NOT_USE != 0] |= BAD
    with np.errstate(over="ignore", invalid="ignore"):
        error = (value * np.sqrt(relative)).astype(np.float32)
    value[flags & bits.DO_NOT_USE != 0] = 1
    none = (value <= 0) | np.isinf(value)
    flags[none] |= BAD
    value[none] = np.nan
    return Flat(value.astype(np.float32), error, flags)


def pixel_widths(wavelength):
    """How much of the spectrum each pixel covers: the difference to the next one along the row.

    A pixel without a wavelength has for this the mean of its column's, beside the spectrum those of the nearest column.

    Parameters
    ----------
    wavelength : float (row, col)
        0 where there is none.
    """
    filled = np.where(wavelength > 0, wavelength, np.nan)
    lit = np.flatnonzero(np.isfinite(filled).any(axis=0))
    if not lit.size or wavelength.shape[1] < 2:
        return np.zeros(wavelength.shape)
    inside = filled[:, lit]
    filled[:, lit] = np.where(np.isfinite(inside), inside, np.nanmean(inside, axis=0))
    filled[:, : lit[0]] = filled[:, lit[:1]]
    filled[:, lit[-1] + 1 :] = filled[:, lit[-1:]]
    step = np.empty(wavelength.shape)
    step[:, :-1] = np.diff(filled, axis=1)
    step[:, -1] = step[:, -2]
    return step


def _fore_optics(reference, wavelength, step, window):
    """(value, error, flags) of F; NaN where it is not known: it holds a part of the flux calibration, so that 1 is no way out."""
    if window.shutter and not reference.has(f"{TABLE},2"):
        window = window._replace(shutter=None)  # that of a lamp, which is the same for all quadrants
    at, values, errors = _table(reference, window)
    error = None
    if window.shutter:
        quadrant, x, y = window.shutter
        plane_at = _plane_wavelengths(reference, f",{quadrant}")
        spectrum, its_error = (_of_shutter(reference, f"{name},{quadrant}", x, y, plane_at) for name in ("SCI", "ERR"))
        values = values * np.interp(at, plane_at, spectrum, 1.0, 1.0)
        error = np.interp(wavelength, plane_at, its_error, 0.0, 0.0)
    flags = np.zeros(wavelength.shape, np.uint32)
    value, error = _times_table(wavelength, step, (at, values, errors), 1.0, error, flags)
    flags[np.isnan(value) | (value == 0)] |= NONE
    value[flags & bits.DO_NOT_USE != 0] = np.nan
    return value, error, flags


def _on_detector(reference, wavelength, step, window):
    """(value, error, flags) of S or D: images times a table."""
    table = _table(reference, window._replace(shutter=None))
    image, error, flags = _images(reference, wavelength, window)
    flags[np.isnan(image) | (image == 0)] |= NONE
    image[flags & bits.DO_NOT_USE != 0] = 1
    return *_times_table(wavelength, step, table, image, error, flags), flags


def _times_table(wavelength, step, table, image, error, flags):
    """An image times a table at the pixels' wavelengths, with its error; pixels that the table does not reach are flagged."""
    values, its_error = mean_over_pixel(wavelength, step, *table)
    dark = wavelength <= 0
    missing = np.isnan(values) & ~dark
    flags[missing] |= NONE
    values[dark | missing], its_error[dark | missing] = 1, 0
    with np.errstate(over="ignore", invalid="ignore"):
        variance = np.nan_to_num((its_error * image) ** 2, posinf=np.inf)
        if error is not None:
            variance = variance + np.nan_to_num((error * values) ** 2, posinf=np.inf)
    return image * values, np.sqrt(variance)


def _table(reference, window):
    """Wavelengths [micron], values and errors of the fast variation of a slit."""
    quadrant = f",{window.shutter[0]}" if window.shutter else ""
    if window.shutter and not reference.has(TABLE + quadrant):
        what = f"the {reference.type} reference has no quadrant {window.shutter[0]}"
        raise ReferenceError(what, reference.path, "Give the one for the shutter array")
    rows = reference.table(TABLE + quadrant)
    columns = {name.lower(): rows[name] for name in rows.dtype.names}
    missing = [name for name in ("wavelength", "data") if name not in columns]
    if missing or not len(rows):
        what = f"the {reference.type} reference's {TABLE} has no {' and no '.join(missing) or 'rows'}"
        raise ReferenceError(what, reference.path, "Give another one")
    row = _row(reference, columns, window.name)
    vectors = columns["wavelength"].ndim > 1

    def column(name):
        if name not in columns:
            return np.zeros_like(column("wavelength"))  # old references have no errors
        return columns[name][row] if vectors else columns[name]

    count = int(columns["nelem"][row]) if "nelem" in columns else None
    at, values, errors = (column(name).astype(np.float64)[:count] for name in ("wavelength", "data", "error"))
    good = np.isfinite(at) & np.isfinite(values) & (at > 0) & (values != 0)
    at, values, errors = at[good], values[good], errors[good]
    if at.size and at[-1] < METRES:
        at = at * 1e6
    if np.any(np.diff(at) <= 0):
        what = f"the wavelengths of the {reference.type} reference's {TABLE} do not rise"
        raise ReferenceError(what, reference.path, "Correct the reference, or give another one")
    return at, values, errors


def _row(reference, columns, name):
    """The row of a slit; the only one where slits are not told apart."""
    if name is None or "slit_name" not in columns:
        return 0
    names = [str(text).strip().upper() for text in columns["slit_name"].astype(str)]
    for row, text in enumerate(names):
        if text in (ANY, name.upper()):
            return row
    what = f"the {reference.type} reference's {TABLE} has no row for the slit {name}, only {', '.join(names)}"
    raise ReferenceError(what, reference.path, f"Give a {reference.type} reference that has the slit")


def _images(reference, wavelength, window):
    """(image float64, error float64, flags) of the pixels of a window."""
    shape = reference.shape("SCI")
    image, error = (_cut(reference, name, window) for name in ("SCI", "ERR"))
    flags = reference.dq()[..., window.rows, window.columns]
    if image.shape[-2:] != wavelength.shape:
        what = f"the {reference.type} reference has {shape} pixels, the slit reaches beyond them"
        raise ReferenceError(what, reference.path, f"Give a {reference.type} reference of the whole detector")
    if image.ndim == 3 and len(image) > 1:
        return _between_planes(reference, wavelength, image, error, flags)
    image, error, flags = (plane[0] if plane.ndim == 3 else plane for plane in (image, error, flags))
    return image.astype(np.float64), error.astype(np.float64), flags.copy()


def _between_planes(reference, wavelength, cube, error, flags):
    at = _plane_wavelengths(reference)
    if at.size != len(cube):
        what = f"the {reference.type} reference has {len(cube)} images and {at.size} wavelengths"
        raise ReferenceError(what, reference.path, "Correct the reference, or give another one")
    image, weight, below = planes_at_wavelength(wavelength, at, cube)
    if error.ndim == 3:
        error = planes_at_wavelength(wavelength, at, error)[0]
    if flags.ndim == 3:
        low, high = (np.take_along_axis(flags, number[None], axis=0)[0] for number in (below, below + 1))
        flags = np.where(weight == 0, low, low | high)
    else:
        flags = flags.copy()
    flags[(wavelength < at[0]) | (wavelength > at[-1])] |= bits.DO_NOT_USE
    image[flags & bits.DO_NOT_USE != 0] = 1
    return image, error.astype(np.float64), flags


def _cut(reference, extname, window):
    if extname == "ERR" and not reference.has(extname):
        return np.zeros((window.rows.stop - window.rows.start, window.columns.stop - window.columns.start), np.float32)
    return np.ascontiguousarray(reference.array(extname)[..., window.rows, window.columns])


def _plane_wavelengths(reference, version=""):
    """Of the images of a reference [micron], rising."""
    rows = reference.table(PLANES + version)
    at = np.ravel(rows[rows.dtype.names[0]]).astype(np.float64)
    at = at[np.isfinite(at) & (at > 0)]
    if np.any(np.diff(at) <= 0) or not at.size:
        raise ReferenceError(f"the wavelengths of the {reference.type} reference's images do not rise", reference.path, "Give another one")
    return at * 1e6 if at[-1] < METRES else at


def _of_shutter(reference, extname, x, y, at):
    """The spectrum of one shutter, column x and row y of its quadrant from 1 on."""
    cube = reference.uncut(extname)
    if cube.ndim != 3 or not (1 <= y <= cube.shape[1] and 1 <= x <= cube.shape[2]) or len(cube) < at.size:
        what = f"the {reference.type} reference's {extname} has the shape {cube.shape}: the shutter {x}, {y} is not in it"
        raise ReferenceError(what, reference.path, "Give the one for the shutter array")
    return cube[: at.size, y - 1, x - 1].astype(np.float64)


def shutter_of(slit):
    """(quadrant, column, row) of the shutter with the source of a slitlet.

    Raises
    ------
    InputError
        The slit does not say it.
    """
    found = slit.header.get("MSAQUAD"), slit.about.get("xcen"), slit.about.get("ycen")
    if None in found:
        what = f"{slit.header.get('SLTNAME', 'a slit')} does not say which shutter it is (MSAQUAD, xcen, ycen)"
        raise InputError(what, slit.name, "Run extract_2d on an exposure with its MSA metadata file")
    return tuple(int(number) for number in found)
