"""Where the star is behind its mask, and which way north is there."""

import copy

import numpy as np
from scipy.ndimage import uniform_filter

from ..align.keywords import follow

STEP = 1.0 / 3600  # degrees: of the differences that give the directions
NEAR = 10.0  # pixels: a star within is under its mask, or what is seen is the light that the mask lets through
OPEN = 0.5  # transmission of what is not under the mask
OUTSHINES = 5.0  # times what lies opposite: the speckles of a masked star are about as bright on both sides of it
ACROSS = 3  # pixels about the opposite place


def planned(exposure):
    """x and y of the star, pixels from 0: the aperture's reference pixel, onto which the telescope puts it."""
    return exposure.header["CRPIX1"] - 1, exposure.header["CRPIX2"] - 1


def beside(image, place, transmission):
    """How far from its mask a star is that is not under it.

    Parameters
    ----------
    image : (row, col)
        Without NaN.
    place : (float, float)
        Where the star was to be, x and y, pixels from 0.
    transmission : (row, col)
        Of the mask.

    Returns
    -------
    float or None
        Pixels from the place to the brightest spot, outside the mask, if it outshines what lies opposite; else None.
    """
    spots = uniform_filter(np.asarray(image, float) - np.median(image), 3)
    row, column = np.unravel_index(np.argmax(spots), spots.shape)
    away = float(np.hypot(column - place[0], row - place[1]))
    if away < NEAR or transmission[row, column] < OPEN:
        return None
    opposite = (int(np.clip(round(2 * p - at), 0, n - 1)) for p, at, n in zip(place[::-1], (row, column), spots.shape, strict=True))
    there = tuple(slice(max(at - ACROSS, 0), at + ACROSS + 1) for at in opposite)
    return away if spots[row, column] > OUTSHINES * spots[there].max() else None


def directions(wcs, star):
    """Pixels for an arcsecond to the east and to the north at the star: (2, 2), columns are x and y."""
    ra, dec = wcs(*star, with_bounding_box=False)
    ras = np.array([ra, ra + STEP / np.cos(np.radians(dec)), ra])
    decs = np.array([dec, dec, dec + STEP])
    x, y = wcs.invert(ras, decs, with_bounding_box=False)
    return np.array([[x[1] - x[0], y[1] - y[0]], [x[2] - x[0], y[2] - y[0]]]) / (STEP * 3600)


def put_on(exposure, star, sky):
    """Move an exposure's WCS by a whole so that the star's pixel is at a place on the sky; CRPIX and S_REGION follow.

    Parameters
    ----------
    exposure : Exposure
        Or a shell of one.
    star : (float, float)
        x and y, pixels from 0.
    sky : (float, float)
        Right ascension and declination, degrees.

    Returns
    -------
    (float, float)
        By how many pixels the WCS was moved, x and y.
    """
    from astropy.modeling.models import Shift

    x, y = (float(value) for value in exposure.wcs.invert(*sky, with_bounding_box=False))
    off = x - star[0], y - star[1]
    wcs = copy.deepcopy(exposure.wcs)
    box = wcs.bounding_box
    wcs.insert_transform(wcs.input_frame.name, Shift(off[0]) & Shift(off[1]), after=True)
    wcs.bounding_box = box
    exposure.wcs = wcs
    for keyword, by in zip(("CRPIX1", "CRPIX2"), off, strict=True):
        exposure.header[keyword] = exposure.header[keyword] - by
    follow(exposure)
    return -off[0], -off[1]
