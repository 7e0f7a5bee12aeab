"""Masks of the coronagraphs: what a mask passes, where it stands, and the resolution that it is measured by.

NIRCam's round and bar-shaped ones (Krist et al. 2009, SPIE 7440, 74400W), four-quadrant phase masks (Rouan et al. 2000, PASP 112,
1479), a disc.
"""

import numpy as np
from scipy.special import j1

from . import pointing

MIRROR = 6.5  # m
# What is in the beam, by CORONMSK: kind of mask, and its half width at half maximum or its radius [arcsec].
MASKS = {
    "MASKA210R": ("round", 0.40),
    "MASKA335R": ("round", 0.63),
    "MASKA430R": ("round", 0.81),
    "MASKASWB": ("bar", 0.26),
    "MASKALWB": ("bar", 0.45),
    "4QPM_1065": ("phase", 0.0),
    "4QPM_1140": ("phase", 0.0),
    "4QPM_1550": ("phase", 0.0),
    "LYOT_2300": ("disc", 2.16),
}


def _sombrero(x):
    """1 - (2 J1(x) / x)^2, the amplitude that a round mask passes."""
    small = np.abs(x) < 1e-6
    return 1 - np.where(small, 1.0, 2 * j1(np.where(small, 1.0, x)) / np.where(small, 1.0, x)) ** 2


def _half(profile, guess):
    """Where an amplitude's square is one half."""
    low, high = 1e-3, guess
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if profile(middle) ** 2 < 0.5 else (low, middle)
    return (low + high) / 2


def mask_amplitude(name, x, y):
    """The amplitude that a mask passes.

    Parameters
    ----------
    name : str
        CORONMSK.
    x, y : float array
        arcsec from the mask's centre; a bar lies along x.
    """
    kind, size = MASKS[name]
    if kind == "round":
        return _sombrero(np.hypot(x, y) * _half(_sombrero, 3.0) / size)
    if kind == "bar":
        return 1 - np.sinc(y * _half(lambda v: 1 - np.sinc(v) ** 2, 1.0) / size) ** 2
    if kind == "phase":
        return np.sign(np.where(x == 0, 1, x)) * np.sign(np.where(y == 0, 1, y))
    return (np.hypot(x, y) > size).astype(float)


def transmission(setup):
    """What psfmask references have: the part of the light that the mask passes at each pixel; 0 beside a phase mask's edges.

    Parameters
    ----------
    setup : instruments.Setup

    Returns
    -------
    (row, col) float64
    """
    name, (x0, y0), arcsec = setup.keywords["CORONMSK"], centre(setup), scale(setup)
    rows, columns = np.indices(setup.subarray.shape, float)
    x, y = (columns - x0) * arcsec, (rows - y0) * arcsec
    if MASKS[name][0] == "phase":
        edge = 0.5 * resolution(setup)
        return ((np.abs(x) > edge) & (np.abs(y) > edge)).astype(float)
    return mask_amplitude(name, x, y) ** 2


def centre(setup):
    """x and y of the mask's centre, pixels from 0: the aperture's reference point."""
    x, y = pointing.reference_pixel(setup)
    return x - 1, y - 1


def scale(setup):
    """arcsec a pixel."""
    return float(np.sqrt(pointing.nominal_area(setup)))


def wavelength(setup):
    """m, by the filter's name."""
    return float("".join(c for c in setup.filter if c.isdigit())) * 1e-8


def resolution(setup):
    """Wavelength over diameter, arcsec."""
    return wavelength(setup) / MIRROR * 206264.806
