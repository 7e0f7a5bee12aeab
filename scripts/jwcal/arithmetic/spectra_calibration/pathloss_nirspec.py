"""Slit losses of NIRSpec: how much of the light of a point source, and of uniform light, gets through a slit and the spectrograph.

The reference has, for each aperture, a cube for point sources (wavelength and place in the slit) and a spectrum for uniform light. Data are
divided by these.
"""

import logging

import numpy as np

from ...vocabulary.errors import ReferenceError, Skip
from .apply_map import multiply
from .slices import slice_map
from .slit_loss import at_place, on_pixels
from .wavelengths import EXTENSION, uncorrected, wavelengths

log = logging.getLogger(__name__)

MICRON = 1e6  # in a metre
POINT, UNIFORM = "POINT", "UNIFORM"
CUBE, SPECTRUM = "PS", "UNI"  # extensions
OPEN, SOURCE, CLOSED = "1", "x", "0"  # letters of SHUTSTA
ALONE, THREE = 1, 3  # shutters of the apertures in the reference


def correct(exposure, reference, *, kind, inverse, source_type, **_):
    """Correct all slits of an exposure, or the slices of an integral field unit; arguments are those of `steps.pathloss`.

    Raises
    ------
    Skip
        No slit has an aperture with its source in the reference.
    ReferenceError
        The reference has no apertures, or one has not what it needs.
    """
    if kind == "ifu":
        _correct_slices(exposure, reference, inverse, source_type)
        return
    find = _of_shutters if kind == "shutters" else _of_slit
    found = [_factors(slit, reference, find(slit, reference), source_type) for slit in exposure.slits()]  # before anything is changed
    if not any(found):
        raise Skip("no slit has an aperture in the pathloss reference with its source inside")
    for slit, factors in zip(exposure.slits(), found, strict=True):
        if factors is None:
            continue
        point, uniform, used = factors
        multiply(slit, (point if used == POINT else uniform).astype(np.float64), divide=not inverse)
        _keep(slit.extra, point, uniform)
        slit.header.sci["PTHLOSS"] = (used, "Type of pathloss correction applied")


def _keep(extra, point, uniform):
    extra["PATHLOSS_PS"], extra["PATHLOSS_UN"] = point, uniform


def _factors(slit, reference, aperture, source_type):
    """(for a point source, for uniform light, which of them counts) of the pixels of a slit, float32; None where it is left as it is."""
    name = slit.header.get("SLTNAME", "")
    if aperture is None:
        log.warning("slit %s: the pathloss reference has no aperture for it, it is not corrected", name)
        return None
    number, shift, uniform_of = aperture
    x, y = (float(slit.header.get(key, 0.0)) for key in ("SRCXPOS", "SRCYPOS"))
    at, loss = _of_point(reference, number, x, y + shift)
    if loss is None:
        log.warning("slit %s: the source at %.3f, %.3f is outside it, it is not corrected", name, x, y)
        return None
    point = str(source_type or slit.header.get("SRCTYPE", "")).upper() == POINT
    wavelength = wavelengths(slit)
    of_point = on_pixels(wavelength, at, loss)
    of_uniform = on_pixels(uncorrected(slit) if point else wavelength, *_of_uniform(reference, uniform_of))
    log.info("slit %s: a %s source at %.3f, %.3f", name, "point" if point else "uniform", x, y)
    return of_point.astype(np.float32), of_uniform.astype(np.float32), POINT if point else UNIFORM


def _of_slit(slit, reference):
    """(number of the aperture, shift along the slit, numbers whose mean is that of uniform light) of a slit; None if there is none."""
    name = str(slit.header.get("SLTNAME", ""))
    for number in _apertures(reference):
        if str(reference.keywords(CUBE, number).get("APERTURE", "")).strip() == name:
            return number, 0.0, (number,)
    return None


def _of_shutters(slit, reference):
    """The same of a slitlet of shutters.

    A source whose neighbours are both closed is in a shutter alone; others have light on one side or both. With one on one side only it is
    looked up where the table has that: in the shutter at the end of three.
    """
    state = str(slit.header.get("SHUTSTA", ""))
    at = state.find(SOURCE)
    below = at <= 0 or state[at - 1] == CLOSED
    above = at == len(state) - 1 or state[at + 1] == CLOSED
    by_size = {int(reference.keywords(CUBE, number).get("SHUTTERS", 0)): number for number in reversed(_apertures(reference))}
    number = by_size.get(ALONE if above and below else THREE)
    if number is None:
        return None
    shift = 0.0 if above == below else -1.0 if below else 1.0
    two = len(state) == 2 and ALONE in by_size and THREE in by_size
    return number, shift, (by_size[ALONE], by_size[THREE]) if two else (number,)


def _apertures(reference):
    """Numbers of the apertures."""
    numbers = reference.versions(CUBE)
    if not numbers:
        raise ReferenceError(f"the pathloss reference has no extension {CUBE}", reference.path, "Give the one of this mode")
    return numbers


def _of_point(reference, number, x, y):
    """(wavelength [micron], loss) for a source at a place; the loss is None outside the slit."""
    cube = reference.uncut(f"{CUBE},{number}")
    keywords = reference.keywords(CUBE, number)
    loss = at_place(cube, keywords, x, y, reference.path)
    return _axis(keywords, 3, len(cube), reference), loss


def _of_uniform(reference, numbers):
    """(wavelength [micron], loss) of uniform light: the mean of that of some apertures."""
    found = [reference.uncut(f"{SPECTRUM},{number}") for number in numbers]
    axes = [_axis(reference.keywords(SPECTRUM, number), 1, loss.size, reference) for number, loss in zip(numbers, found, strict=True)]
    if any(loss.ndim != 1 for loss in found):
        raise ReferenceError(f"{SPECTRUM} of the pathloss reference is no spectrum", reference.path, "Give another pathloss reference")
    same = np.array([np.interp(axes[0], at, loss) for at, loss in zip(axes, found, strict=True)])
    return axes[0], same.mean(axis=0) if len(found) > 1 else found[0]


def _axis(keywords, axis, size, reference):
    """Wavelengths of an axis [micron]."""
    pixel, value, step = (keywords.get(f"{name}{axis}") for name in ("CRPIX", "CRVAL", "CDELT"))
    if None in (pixel, value, step) or not step:
        what = f"the pathloss reference does not say where its axis {axis} is (CRPIX{axis}, CRVAL{axis}, CDELT{axis})"
        raise ReferenceError(what, reference.path, "Give another pathloss reference")
    return ((value + (np.arange(1, size + 1) - pixel) * step).astype(np.float32) * MICRON).astype(np.float64)


def _correct_slices(exposure, reference, inverse, source_type):
    """An integral field unit: the source is taken to be in the middle, and loses what it loses there in every slice."""
    number = _apertures(reference)[0]
    _, wavelength = slice_map(exposure)
    wavelength = wavelength.astype(np.float32)
    at, loss = _of_point(reference, number, 0.0, 0.0)
    if loss is None:
        raise ReferenceError("the pathloss reference does not cover the middle of the field", reference.path, "Give another one")
    point = on_pixels(wavelength, at, loss).astype(np.float32)
    uniform = on_pixels(wavelength, *_of_uniform(reference, (number,))).astype(np.float32)
    is_point = str(source_type or exposure.header.get("SRCTYPE", "")).upper() == POINT
    multiply(exposure, (point if is_point else uniform).astype(np.float64), divide=not inverse)
    _keep(exposure.extra, point, uniform)
    exposure.extra[EXTENSION] = wavelength
    log.info("Slit losses of a %s source", "point" if is_point else "uniform")
