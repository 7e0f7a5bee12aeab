"""Light on the detector: even light and point sources through an opening, as rates [DN/s], by the optics and the response.

A pixel has the wavelength and the place along the opening of its middle; what of a point source falls on it lies between the places of its
lower and upper edge. So what all pixels of a column have is what the opening lets through, whatever the slant of the spectrum.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy.interpolate import RectBivariateSpline

from . import response
from .optics import PIXELS, Aperture

MARGIN = 3  # pixels about a spectrum
STRIDE, NODES = 6, 8  # pixels from one that is solved to the next, and how many there are at least


@dataclass
class Footprint:
    """The pixels that an opening lights.

    Attributes
    ----------
    aperture : optics.Aperture
    rows, columns : (n, 1) and (m,) int
        Of the full frame, from 0.
    wavelength : (n, m)
        micron; NaN outside the band.
    along : (n, m)
        Place along the opening of a pixel's middle, in its lengths.
    edges : (n + 1, m)
        The same of the pixels' lower edges, and the upper ones of the last row.
    by_across : (n, m)
        micron by which the wavelength of a pixel changes over the opening's width.
    opening : (float, float)
        arcsec.
    """

    aperture: Aperture
    rows: np.ndarray
    columns: np.ndarray
    wavelength: np.ndarray
    along: np.ndarray
    edges: np.ndarray
    by_across: np.ndarray
    opening: tuple
    sources: list = field(default_factory=list)  # (across, along) of the point sources in it


def footprint(optics, aperture, band, detector, subarray, ends=(-0.5, 0.5)):
    """The pixels of a subarray that an opening lights, or None if there are none.

    Parameters
    ----------
    optics : optics.Optics
    aperture : optics.Aperture
    band : (float, float)
        micron.
    detector : str
    subarray : instruments.Subarray
    ends : (float, float)
        Of what is open along, in the opening's lengths.
    """
    waves, sides = np.meshgrid(np.linspace(*band, 60), np.linspace(*ends, 5))
    x, y = optics.to_pixel(aperture, 0.0, sides, waves, detector)
    left, right = (np.nanmin(x) - MARGIN, np.nanmax(x) + MARGIN)
    low, high = (np.nanmin(y) - MARGIN, np.nanmax(y) + MARGIN)
    columns = np.arange(max(int(left), subarray.xstart - 1), min(int(right) + 1, subarray.xstart - 1 + subarray.xsize, PIXELS))
    rows = np.arange(max(int(low), subarray.ystart - 1), min(int(high) + 1, subarray.ystart - 1 + subarray.ysize, PIXELS))
    if columns.size < 2 or rows.size < 2:
        return None
    wavelength, along, slant = _solved(optics, aperture, columns, rows, detector, band)
    wavelength = np.where((wavelength >= band[0]) & (wavelength <= band[1]), wavelength, np.nan)
    between = (along[1:] + along[:-1]) / 2
    edges = np.concatenate([2 * along[:1] - between[:1], between, 2 * along[-1:] - between[-1:]])
    return Footprint(aperture, rows[:, None], columns, wavelength, along, edges, slant, optics.size(aperture))


def _solved(optics, aperture, columns, rows, detector, band):
    """Wavelength, place along and slant of pixels: solved at every sixth or so and interpolated between, for they are smooth."""
    x, y = (np.linspace(a[0], a[-1], max(NODES, a.size // STRIDE)) for a in (columns, rows))
    known = optics.from_pixel(aperture, *np.broadcast_arrays(x, y[:, None]), detector, band)
    if not np.isfinite(known[0]).all():
        known = optics.from_pixel(aperture, *np.broadcast_arrays(columns.astype(float), rows[:, None].astype(float)), detector, band)
        return *known, optics.slant(aperture, known[1], known[0], detector)
    known = *known, optics.slant(aperture, known[1], known[0], detector)
    return tuple(RectBivariateSpline(y, x, values, kx=5, ky=5)(rows, columns) for values in known)


def even_light(spot, brightness, mode, which=0, shutters=None, shutter=None, loss=response.even_loss):
    """Rates of light that fills an opening.

    Parameters
    ----------
    spot : Footprint
    brightness : callable
        wavelength -> MJy/sr.
    mode, which, shutter
        As `response.flat` takes them.
    shutters : (int, int), optional
        First and last open shutter, counted from the one that the footprint is of.
    loss : callable
        wavelength -> the part that is not lost on the way.

    Returns
    -------
    ndarray, (n, m)
        DN/s.
    """
    seen = spot.wavelength
    part = response.bars(seen, spot.along * response.SCREEN[1], *shutters) if shutters else covered(spot, ((-0.5, 0.5),)) / thickness(spot)
    sr = response.area(spot.opening[0]) * response.SQUARE_ARCSEC
    rate = brightness(seen) * sr / response.conversion(seen) * loss(seen) * part
    return np.nan_to_num(rate * response.flat(mode, seen, spot.columns, spot.rows, which, shutter))


def thickness(spot):
    """Of a pixel along the opening, in the opening's lengths."""
    return np.abs(np.diff(spot.edges, axis=0))


def covered(spot, windows):
    """Of a pixel, in the opening's lengths, what lies in windows along it."""
    low, high = np.minimum(spot.edges[1:], spot.edges[:-1]), np.maximum(spot.edges[1:], spot.edges[:-1])
    return sum(np.maximum(np.minimum(high, stop) - np.maximum(low, start), 0) for start, stop in windows)


def point_light(spot, spectrum, across, along, mode, which=0, shutters=None, shutter=None):
    """Rates of a point source in a slit or in shutters.

    Where the source is not in the middle across the opening its light's middle is beside that too, and its wavelengths lie beside those of
    even light.

    Parameters
    ----------
    spot : Footprint
    spectrum : callable
        wavelength -> Jy.
    across, along : float
        In the opening's width and length, from its middle.
    mode, which, shutters, shutter
        As `even_light` takes them.

    Returns
    -------
    ndarray, (n, m)
        DN/s.
    """
    seen = own_wavelength(spot, across)
    windows = (
        tuple((low / response.SCREEN[1], high / response.SCREEN[1]) for low, high in response.windows(*shutters))
        if shutters
        else ((-0.5, 0.5),)
    )
    rate = 1e-6 * spectrum(seen) / response.conversion(seen) * point_parts(spot, seen, across, along, windows)
    return np.nan_to_num(rate * response.flat(mode, seen, spot.columns, spot.rows, which, shutter))


def own_wavelength(spot, across):
    """Wavelength of a source's light at each pixel, that is off the middle of an opening."""
    return spot.wavelength + spot.by_across * response.middle_of_light(across, spot.wavelength, spot.opening)


def point_parts(spot, seen, across, along, windows):
    """The part of a point source's light on each pixel."""
    total = 0.0
    for part, scale in response.PARTS:
        size = response.blur(seen) * scale
        through = response.between(-0.5 - across, 0.5 - across, size / spot.opening[0])
        caught = 0.0
        for start, stop in windows:
            low, high = (np.clip(edges, start, stop) - along for edges in (spot.edges[:-1], spot.edges[1:]))
            caught = caught + np.abs(response.between(low, high, size / spot.opening[1]))
        total = total + part * through * caught
    return total


def slice_light(spot, spectrum, across, along, loss):
    """Rates of a point source in a slice: its light over the sky that a pixel sees, as brightness.

    Parameters
    ----------
    spot : Footprint
    spectrum : callable
        wavelength -> Jy.
    across, along : ndarray, (n, m)
        Of the source, in the slice's width and length; by wavelength.
    loss : callable

    Returns
    -------
    ndarray, (n, m)
        DN/s.
    """
    seen = spot.wavelength
    sky = thickness(spot) * spot.opening[0] * spot.opening[1] * response.SQUARE_ARCSEC
    brightness = 1e-6 * spectrum(seen) * point_parts(spot, seen, across, along, ((-0.5, 0.5),)) / sky
    sr = response.area(spot.opening[0]) * response.SQUARE_ARCSEC
    rate = brightness * sr / response.conversion(seen) * loss(seen)
    return np.nan_to_num(rate * response.flat("ifu", seen, spot.columns, spot.rows))


def add(image, spot, rate, subarray):
    """Add rates to the image of a subarray, in place."""
    image[spot.rows - (subarray.ystart - 1), spot.columns - (subarray.xstart - 1)] += rate
