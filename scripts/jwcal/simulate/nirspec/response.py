"""What the instrument does to light, in closed form: the references hold these functions, and the simulated light goes through them.

Wavelengths are in micron. A point source is a Gaussian core with a halo, both of the diffraction's width; an opening in the plane of the
shutters lets through what falls in it, and nothing beside it. Bars between open shutters throw blurred shadows on even light.
"""

import numpy as np
from scipy.special import erf

from ..scene import CORE, HALO_SCALE, SIGMA
from ..spectrograph import DIFFRACTION
from .elements import OPEN, PITCH
from .optics import SLITS

LIMITS = (0.5, 5.7)  # of all tables [micron]
PARTS = ((CORE, 1.0), (1 - CORE, HALO_SCALE))  # part of a point source's light, and how much wider it is than the core
PHOTMJ = 2e-11  # MJy for a DN/s
PIXEL = 0.105  # arcsec along the slit
SQUARE_ARCSEC = (np.pi / 180 / 3600) ** 2  # sr
SCREEN = tuple(o / p for o, p in zip(OPEN, PITCH, strict=True))  # part of a shutter's pitch that is open, across and along
BLUR = 0.06  # of a shadow as pixels see it, in pitches; wider with the wavelength
FAILED = ((4, 330, 85),)  # quadrant, column, row of a shutter that never closes


def conversion(wavelength):
    """MJy for a DN/s: what photom multiplies with."""
    return PHOTMJ * relative_response(wavelength)


def relative_response(wavelength):
    return 1 + 0.04 * (np.asarray(wavelength, float) - 2.5) ** 2


def fore_optics(wavelength, which=0):
    """Of the fore optics, through a slit or a quadrant (by its number)."""
    return 0.95 + 0.02 * np.sin(1.3 * np.asarray(wavelength, float) + 0.7 * which)


def shutter_response(wavelength, quadrant, column, row):
    """Of one shutter beside the others; linear in the wavelength."""
    tilt = 0.004 * (np.asarray(wavelength, float) - 3)
    return 1 + 0.02 * np.sin(np.asarray(column) / 31 + np.asarray(row) / 23 + quadrant) + tilt * np.cos(np.asarray(column) / 47)


def spectrograph(wavelength):
    """Of the spectrograph; its map of the detector is `spectrograph_map`."""
    return 1.02 + 0.015 * np.cos(1.7 * np.asarray(wavelength, float))


def detector(wavelength):
    """Of the detector; its maps are `detector_map`."""
    return 0.97 + 0.01 * np.sin(0.9 * np.asarray(wavelength, float))


def spectrograph_map(x, y):
    """By pixel of the full frame, from 0."""
    return 1 + 0.03 * np.sin(np.asarray(x) / 97.0) * np.cos(np.asarray(y) / 61.0)


def detector_map(wavelength, x, y):
    """By pixel, and linear in the wavelength; no two neighbours alike."""
    x, y = np.asarray(x, np.int64), np.asarray(y, np.int64)
    grain = ((x * 73856093) ^ (y * 19349663)) % 1009 / 1009.0 - 0.5
    return 1 + 0.03 * grain + 0.004 * (np.asarray(wavelength, float) - 3) * np.cos(x / 150.0)


def shutter_map(wavelength, x, y):
    """As `spectrograph_map`, of the shutters' spectrograph flat: linear in the wavelength."""
    return spectrograph_map(x, y) + 0.003 * (np.asarray(wavelength, float) - 3)


def even_loss(wavelength):
    """The part of even light that is not lost on the way."""
    return 0.96 - 0.012 * (np.asarray(wavelength, float) - 2.5)


def point_loss(wavelength):
    """The part of a point source's light that is not lost on the way through the slicer."""
    return 0.98 - 0.005 * np.asarray(wavelength, float)


def point_part(across, along, wavelength, opening, windows=((-0.5, 0.5),), unit=None):
    """The part of a point source's light that an opening lets through.

    Parameters
    ----------
    across, along : float or ndarray
        Of the source from the opening's middle, in `unit`.
    wavelength : ndarray
    opening : (float, float)
        Width and length [arcsec].
    windows : sequence of (float, float)
        What is open along, in `unit`.
    unit : (float, float), optional
        arcsec of a unit of place; by default the opening's width and length.
    """
    unit = unit or opening
    half = 0.5 * opening[0] / unit[0]
    total = 0.0
    for part, scale in PARTS:
        size = blur(wavelength) * scale
        through = between(-half - across, half - across, size / unit[0])
        caught = sum(between(low - along, high - along, size / unit[1]) for low, high in windows)
        total = total + part * through * caught
    return total


def blur(wavelength):
    """sqrt(2) sigma of the PSF's core [arcsec]."""
    return np.sqrt(2) * SIGMA * DIFFRACTION * np.asarray(wavelength, float)


def between(low, high, size):
    """The part of a Gaussian between two limits; `size` is sqrt(2) sigma."""
    return (erf(np.asarray(high) / size) - erf(np.asarray(low) / size)) / 2


def middle_of_light(across, wavelength, opening, unit=None):
    """Where the middle of the light that an opening lets through is across it, for a source at `across`; in the unit of place."""
    unit = unit or opening
    half = 0.5 * opening[0] / unit[0]
    through = moved = 0.0
    for part, scale in PARTS:
        size = blur(wavelength) * scale / unit[0]
        low, high = (-half - across) / size, (half - across) / size
        part_through = (erf(high) - erf(low)) / 2
        through = through + part * part_through
        moved = moved + part * (across * part_through + size / (2 * np.sqrt(np.pi)) * (np.exp(-(low**2)) - np.exp(-(high**2))))
    return moved / through


def bars(wavelength, along, first=0, last=0):
    """The part of even light that is left at a place along open shutters: the bars' shadows, and the dark beyond the last of them.

    Parameters
    ----------
    wavelength, along : ndarray
        micron; pitches from the middle of shutter 0.
    first, last : int
        The open shutters.
    """
    size = BLUR * (1 + 0.5 * np.asarray(wavelength, float))
    half = SCREEN[1] / 2
    return sum((erf((along - k + half) / size) - erf((along - k - half) / size)) / 2 for k in range(first, last + 1))


def windows(first=0, last=0):
    """What is open along shutters first..last, in pitches from the middle of shutter 0."""
    return tuple((k - SCREEN[1] / 2, k + SCREEN[1] / 2) for k in range(first, last + 1))


def flat(mode, wavelength, x, y, which=0, shutter=None):
    """All three flats at pixels.

    Parameters
    ----------
    mode : str
        fs, bots, mos, ifu.
    wavelength, x, y : ndarray
        micron; pixels of the full frame from 0.
    which : int
        The slit's number, the quadrant's; 0 for the image slicer.
    shutter : (int, int), optional
        Column and row.
    """
    fore = fore_optics(wavelength, which)
    if mode == "mos":
        fore = fore * shutter_response(wavelength, which, *shutter)
    place = shutter_map(wavelength, x, y) if mode == "mos" else spectrograph_map(x, y)
    return fore * spectrograph(wavelength) * place * detector(wavelength) * detector_map(wavelength, x, y)


def area(opening):
    """arcsec2 that a pixel sees through an opening of this width [arcsec]."""
    return opening * PIXEL


def number(name):
    """The number that the response of a slit goes by."""
    return SLITS.index(name)
