"""Where the WCS says that a point source's light falls."""

import logging
from dataclasses import dataclass

import numpy as np

from ..wcs.pixel_coordinates import wavelength_and_sky

log = logging.getLogger(__name__)

POINTED = ("DITH_RA", "DITH_DEC")
IN_SLIT = ("SRCXPOS", "SRCYPOS")


@dataclass
class Middle:
    """The middle of a spectrum: pixels along and across it, and the wavelength there [the WCS's unit]."""

    along: float
    across: float
    wavelength: float

    @property
    def row(self):
        return int(np.round(self.along))


@dataclass
class SourcePlace:
    """Where the source is: across the spectrum in its middle, and at each pixel along it (NaN outside the bounding box)."""

    middle: Middle
    across: float
    trace: np.ndarray


def box_of(wcs, shape):
    """The bounding box, ((low, high) along, (low, high) across); of the whole image, (row, col), where the WCS has none."""
    if wcs.bounding_box is None:
        return (-0.5, shape[1] - 0.5), (-0.5, shape[0] - 0.5)
    return wcs.bounding_box.bounding_box(order="F")


def oriented_box(wcs, shape, vertical):
    """Limits along and across the spectrum."""
    x, y = box_of(wcs, shape)
    return (y, x) if vertical else (x, y)


def middle_of_spectrum(wcs, shape, vertical):
    """The middle of the bounding box along the spectrum, the mean wavelength there, and where across the spectrum that is."""
    (low, high), (_, last) = oriented_box(wcs, shape, vertical)
    along = (low + high) / 2
    across = np.arange(max(1, round(last)), dtype=float)
    here = np.full_like(across, along)
    found = np.asarray((wcs(across, here) if vertical else wcs(here, across))[2], float)
    good = np.isfinite(found)
    if not good.any():
        return Middle(along, float(across.mean()), np.nan)
    mean = found[good].mean()
    if np.allclose(found, mean):
        return Middle(along, float(across.mean()), float(mean))
    order = np.argsort(found[good])
    return Middle(along, float(np.interp(mean, found[good][order], across[good][order])), float(mean))


def find_source(slit, wcs, shape, vertical, place):
    """Where the source's light falls.

    Parameters
    ----------
    slit : Exposure
        For its keywords.
    wcs : gwcs.WCS
    shape : (int, int)
        Rows and columns.
    vertical : bool
    place : {"pointing", "slit"}
        "pointing": where the dither points at, DITH_RA and DITH_DEC; "slit": at SRCXPOS, SRCYPOS in the slit.

    Returns
    -------
    SourcePlace or None
        None where it is not known, which is logged.
    """
    keywords = POINTED if place == "pointing" else IN_SLIT
    position = [slit.header.get(key) for key in keywords]
    if None in position:
        log.warning("The aperture is not centred on the source: the header has no %s", " and ".join(keywords))
        return None
    middle = middle_of_spectrum(wcs, shape, vertical)
    back = sky_to_pixels(wcs, *position) if place == "pointing" else slit_to_pixels(wcs, *position)
    across = float(np.ravel(back(np.array([middle.wavelength]))[0 if vertical else 1])[0])
    low, high = oriented_box(wcs, shape, vertical)[1]
    if not np.isfinite(across):
        log.warning("The aperture is not centred on the source: the WCS has no place for it")
        return None
    if not low <= across <= high:
        log.warning(
            "The aperture is not centred on the source: the WCS puts it at pixel %.2f across, outside its box from %.1f to %.1f",
            *(across, low, high),
        )
        return None
    return SourcePlace(middle, across, trace_of(wcs, shape, vertical, back))


def sky_to_pixels(wcs, ra, dec):
    """A function of the wavelength: x, y of a place on the sky [deg]."""
    return lambda w: wcs.invert(np.full_like(w, ra), np.full_like(w, dec), w, with_bounding_box=False)


def slit_to_pixels(wcs, x, y):
    """The same of a place in the slit. Detector images have the wavelength in metres there."""
    to_detector = wcs.get_transform("slit_frame", "detector")
    unit = 1e-6 if "gwa" in wcs.available_frames else 1.0
    return lambda w: to_detector(np.full_like(w, x), np.full_like(w, y), w * unit)


def trace_of(wcs, shape, vertical, back):
    """Pixels across the spectrum at each pixel along it.

    Parameters
    ----------
    back : callable
        wavelength -> x, y.

    Returns
    -------
    float64 (along,)
        NaN outside the bounding box.
    """
    size = shape[0] if vertical else shape[1]
    low, high = oriented_box(wcs, shape, vertical)[0]
    first, last = max(0, int(np.ceil(low))), min(size - 1, int(np.floor(high)))
    wavelength = wavelengths(wcs, shape)
    grid = np.linspace(np.nanmin(wavelength), np.nanmax(wavelength), max(2, last - first + 1))
    x, y = back(grid)
    along, across = (y, x) if vertical else (x, y)
    good = np.isfinite(along) & np.isfinite(across)
    along, across = along[good], across[good]
    order = np.argsort(along, kind="stable")
    trace = np.full(size, np.nan)
    if along.size < 2:
        return trace
    rows = np.arange(first, last + 1)
    trace[rows] = _linear(rows, along[order], across[order])
    return trace


def trace_through(wcs, shape, vertical, place, middle):
    """The trace of a source in the middle: curved as the WCS has it; straight where `place` is ""."""
    size = shape[0] if vertical else shape[1]
    x, y = (middle.across, middle.along) if vertical else (middle.along, middle.across)
    if place == "pointing":
        ra, dec, _ = wcs(x, y)
        return trace_of(wcs, shape, vertical, sky_to_pixels(wcs, ra, dec))
    if place == "slit":
        x, y, _ = wcs.get_transform("detector", "slit_frame")(x, y)
        return trace_of(wcs, shape, vertical, slit_to_pixels(wcs, x, y))
    return np.full(size, middle.across)


def wavelengths(wcs, shape):
    """Of every pixel, (row, col); NaN outside the bounding box."""
    if len(wcs.pipeline) > 2:
        return wavelength_and_sky(wcs, shape)[2]
    y, x = np.indices(shape[-2:], dtype=float)
    return np.asarray(wcs(x, y)[2], float)


def _linear(at, x, y):
    """Linear interpolation, and extrapolation by the last two points."""
    k = np.clip(np.searchsorted(x, at) - 1, 0, x.size - 2)
    step = np.where(x[k + 1] > x[k], x[k + 1] - x[k], 1.0)
    return y[k] + (at - x[k]) * (y[k + 1] - y[k]) / step


def negative_source(slit, wcs, middle, vertical, place):
    """Where the other nod's source is, which was subtracted: at the opposite offset. NaN where the WCS does not tell.

    Parameters
    ----------
    slit : Exposure
    wcs : gwcs.WCS
    middle : Middle
    vertical : bool
    place : {"pointing", "slit"}
    """
    w = np.array([middle.wavelength])
    try:
        if place == "slit":
            x, y = (slit.header.get(key) for key in IN_SLIT)
            found = slit_to_pixels(wcs, x, -y)(w)
        else:
            if "v2v3" not in wcs.available_frames:
                return np.nan
            x, y = slit.header["XOFFSET"], slit.header["YOFFSET"]
            x, y = (-x, y) if vertical else (x, -y)
            angle, x = np.radians(slit.header["V3I_YANG"]), x * slit.header["VPARITY"]
            v2 = slit.header["V2_REF"] + x * np.cos(angle) + y * np.sin(angle)
            v3 = slit.header["V3_REF"] - x * np.sin(angle) + y * np.cos(angle)
            ra, dec, _ = wcs.get_transform("v2v3", "world")(v2, v3, 0.0)
            found = sky_to_pixels(wcs, ra, dec)(w)
    except (TypeError, ValueError):
        return np.nan
    return float(np.ravel(found[0 if vertical else 1])[0])


def pixel_scale(wcs, x, y, vertical):
    """Arcsec from a pixel to the next one across the spectrum."""
    dx, dy = (1, 0) if vertical else (0, 1)
    ra, dec, *_ = wcs(np.array([x, x + dx]), np.array([y, y + dy]), with_bounding_box=False)
    ra, dec = np.radians(ra), np.radians(dec)
    half = np.sin(np.diff(dec) / 2) ** 2 + np.cos(dec[0]) * np.cos(dec[1]) * np.sin(np.diff(ra) / 2) ** 2
    return float(np.degrees(2 * np.arcsin(np.sqrt(half[0]))) * 3600)
