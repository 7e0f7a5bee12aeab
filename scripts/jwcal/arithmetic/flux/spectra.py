"""Spectra to surface brightness or flux: a factor that depends on the pixel's wavelength, slit by slit."""

import logging
from contextlib import nullcontext

import numpy as np

from ...machine import threads
from ...vocabulary.errors import ReferenceError, Skip
from ..spectra_calibration.apply_map import multiply
from ..spectra_calibration.wavelengths import wavelengths
from . import reference
from .dispersed import micron_per_pixel, to_microns

log = logging.getLogger(__name__)

POINT = "POINT"
ALONG_COLUMNS = 2  # DISPAXIS
GRISM = "grism"


def convert(exposure, photom, area, *, kind, inverse, timed, source_type, **_):
    """Convert the pixels of every slit and set its keywords; arguments are those of `steps.photom`.

    A pixel's factor is PHOTMJSR times the response at its wavelength, linear between the table's. A table with PHOTMJ is for point
    sources: those come out in MJy a pixel, and extended ones, by the pixel's area, in MJy/sr. A pixel whose wavelength is not in the
    table, or where the response is not above 0, is NaN and DO_NOT_USE. A grism's is by the light of a micron.
    """
    known = [(slit, row) for slit in exposure.slits() if (row := _row(photom, slit)) is not None]
    given = {"timed": timed, "source_type": source_type, "microns": to_microns(photom) if kind == GRISM else None}
    planned = [(slit, *_factor(slit, photom, area, row, **given)) for slit, row in known]  # before anything is changed
    dark = [one for one in planned if not np.isfinite(one[2]).any()]
    if dark and len(dark) == len(planned):
        at, _ = reference.response(photom, known[0][1])
        what = f"the photom reference is for {at[0]:.3f} to {at[-1]:.3f} micron, where this spectrum has no pixel"
        raise ReferenceError(what, photom.path, "Give the photom reference of its mode")
    for slit, *_ in dark:
        log.warning("%sno pixel has a wavelength of the photom reference", _name(slit))
    with threads.alone() if len(planned) > 1 else nullcontext():
        for slit, conversion, factor, unit in planned:
            multiply(slit, factor, divide=inverse)
            reference.set_areas(slit.header.sci, photom, area)
            reference.set_conversion(slit.header.sci, conversion, "DN/s" if inverse else unit)
            log.info("%s1 DN/s is %.6g %s times the relative response", _name(slit), conversion, unit)
    if area is not None and len(exposure.pixels) == 1:
        image = area.array("SCI")
        if image.shape == exposure.shape[-2:]:  # and no part that was cut out
            exposure.extra["AREA"] = image


def _row(photom, slit):
    try:
        return reference.find_row(photom, slit.header)
    except Skip as why:
        if not _name(slit):
            raise
        log.warning("%sit stays in DN/s: %s", _name(slit), why)
        return None


def _factor(slit, photom, area, row, *, timed, source_type, microns):
    """(conversion, its map, the unit that it gives) of one slit; `microns`: behind a grism, see `dispersed.to_microns`."""
    if not reference.is_spectral(photom, row):
        raise ReferenceError("the photom reference is for images, and this is a spectrum", photom.path, "Give one with wavelengths")
    conversion, unit = reference.conversion_of(photom, row), "MJy/sr"
    if conversion is None:
        conversion, unit = _of_flux(slit, photom, area, row, source_type)
    if timed:
        conversion = reference.at_its_time(conversion, photom, row, slit.header)
    at, relative = reference.response(photom, row)
    wavelength = wavelengths(slit)
    factor = float(conversion) * np.interp(wavelength, at, relative, left=np.nan, right=np.nan)
    if microns is not None:
        factor *= microns / micron_per_pixel(wavelength, slit.header["DISPAXIS"] == ALONG_COLUMNS)
    factor[~(factor > 0)] = np.nan
    return conversion, factor, unit


def _of_flux(slit, photom, area, row, source_type):
    """A conversion to flux, and its unit; that of an extended source is by the pixel's area."""
    conversion = reference.conversion_of(photom, row, "photmj")
    if conversion is None:
        raise ReferenceError("the photom reference has neither PHOTMJSR nor PHOTMJ", photom.path, "Give another one")
    if (source_type or str(slit.header.get("SRCTYPE", ""))).upper() == POINT:
        return conversion, "MJy"
    found = [ref.header.get("PIXAR_SR") for ref in (area, photom) if ref is not None] + [slit.header.get("PIXAR_SR")]
    pixel = next((float(value) for value in found if value is not None), None)
    if pixel is None:
        log.warning("%sno pixel area is known: it stays a flux", _name(slit))
        return conversion, "MJy"
    return conversion / np.float32(pixel), "MJy/sr"


def _name(slit):
    """Of one of several slits, for messages."""
    name = slit.header.sci.get("SLTNAME")
    return f"slit {name}: " if name else ""
