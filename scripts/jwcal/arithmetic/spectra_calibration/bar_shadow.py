"""How much light the pixels of a slitlet get that is uniformly lit: less where a bar between shutters is in the way."""

import logging
from typing import NamedTuple

import numpy as np
from scipy.ndimage import map_coordinates

from ...vocabulary.dq import DO_NOT_USE
from ...vocabulary.errors import InputError, ReferenceError
from .apply_map import multiply
from .wavelengths import SLIT

log = logging.getLogger(__name__)

POINT = "POINT"
CLOSED, SOURCE = "0", "x"  # letters of SHUTSTA
PITCH = 1.15  # from shutter to shutter, in heights of an opening: where the slit does not say it


class Shadow(NamedTuple):
    """The two images of the reference, (place across the bars, wavelength), and what their axes are."""

    alone: np.ndarray  # from one pitch below an open shutter to one above, its neighbours closed
    between: np.ndarray  # the same, its neighbours open
    pitch: int  # rows
    wavelength: float  # of the first column, m
    step: float  # from column to column, m


def read(reference):
    """The bar shadow reference; ReferenceError where its images are not what they should be."""
    alone, between = (reference.uncut(name).astype(np.float64) for name in ("DATA1X1", "DATA1X3"))
    keywords = reference.keywords("DATA1X1")
    wavelength, step, row = (keywords.get(name) for name in ("CRVAL1", "CDELT1", "CDELT2"))
    if None in (wavelength, step, row) or not step or not row:
        what = "the barshadow reference does not say where its axes are (CRVAL1, CDELT1, CDELT2 of DATA1X1)"
        raise ReferenceError(what, reference.path, "Give another barshadow reference")
    pitch = round(1 / row)
    for name, image in (("DATA1X1", alone), ("DATA1X3", between)):
        if image.ndim != 2 or image.shape != (2 * pitch + 1, alone.shape[1]):
            size = " x ".join(map(str, image.shape))
            what = f"{name} of the barshadow reference has {size} pixels; two pitches of {pitch} rows and one more were expected"
            raise ReferenceError(what, reference.path, "Give a barshadow reference whose images begin and end one shutter from the middle")
    return Shadow(alone, between, pitch, float(wavelength), float(step))


def correct(slit, shadow, inverse, source_type, least_light):
    """Correct one slitlet; arguments are those of `steps.barshadow`.

    Returns
    -------
    bool
        Whether it was corrected: a point source's is not.
    """
    kind = str(source_type or slit.header.get("SRCTYPE", "")).upper()
    state = str(slit.header.get("SHUTSTA", ""))
    corrected = kind != POINT and bool(state)
    slit.header.sci["BARSHDW"] = (corrected, "Barshadow corrected (T/F)")
    if not corrected:
        slit.extra["BARSHADOW"] = np.ones(slit.sci.shape[-2:], np.float32)
        return False
    light = on_pixels(slit, shadow, state)
    dark = ~(light >= least_light)
    multiply(slit, np.where(dark, np.nan, light) if least_light > 0 else light, divide=not inverse)
    slit.dq[..., dark] |= DO_NOT_USE
    slit.extra["BARSHADOW"] = light.astype(np.float32)
    return True


def on_pixels(slit, shadow, state):
    """The part of the light that each pixel of a slitlet gets, float64 (row, col); NaN where it has no place or wavelength."""
    if slit.wcs is None or SLIT not in slit.wcs.available_frames:
        raise InputError(f"slitlet {slit.header.get('SLITID', '')} has no gWCS of a slit", slit.name, "Run assign_wcs and extract_2d first")
    y, x = np.indices(slit.sci.shape[-2:], dtype=float)
    _, place, wavelength = slit.wcs.get_transform(slit.wcs.available_frames[0], SLIT)(x, y)
    pitch = slit.header.get("SLTYSCL")
    if pitch is None:
        log.warning("%s: SLTYSCL is missing, a pitch of %.2f openings is taken", slit.name, PITCH)
        pitch = PITCH
    image = whole(shadow, state)
    source = (state.find(SOURCE) + 1) * shadow.pitch  # the row of its shutter's middle
    rows, columns = source + place / pitch * shadow.pitch, (wavelength - shadow.wavelength) / shadow.step
    known = np.isfinite(rows) & np.isfinite(columns)
    light = np.full(x.shape, np.nan)
    light[known] = map_coordinates(image, [rows[known], columns[known]], order=1, mode="nearest")
    return light


def whole(shadow, state):
    """The image of a slitlet: half shutters put together, from one pitch below its first shutter to one above its last.

    Parameters
    ----------
    shadow : Shadow
    state : str
        A letter a shutter from below: "0" closed, others open.
    """
    pitch, alone = shadow.pitch, shadow.alone
    below, above = alone[: pitch + 1], alone[pitch:]
    parts = {
        (True, True): shadow.between[: pitch + 1],
        (True, False): above,
        (False, True): below,
        (False, False): np.full_like(below, np.nanmin(alone)),
    }
    halves, last = [below], True  # the first one is taken to be open, as the peer does
    for letter in state[1:]:
        halves.append(parts[last, letter != CLOSED])
        last = letter != CLOSED
    halves.append(alone[pitch + 1 :])
    image = np.concatenate([halves[0], *(half[1:] for half in halves[1:])])
    at = pitch
    for half in halves[1:]:  # where two meet their mean counts
        image[at] = 0.5 * (image[at] + half[0])
        at += len(half) - 1
    return image
