"""Where the star is behind its mask, and which way north is there."""

import copy

import numpy as np
from scipy.ndimage import gaussian_filter, label, median_filter

from ..align.keywords import follow
from . import contrast

STEP = 1.0 / 3600  # degrees: of the differences that give the directions
NEAR = 2.0  # wavelengths over the diameter: a star within is in its place, or what is seen is the light that the mask lets through
USUAL = 3.0  # pixels of a wavelength over the diameter
OPEN = 0.5  # transmission of what is not under the mask
OUTSHINES = 5.0  # times what lies opposite: the speckles of a masked star are about as bright on both sides of it
FLAT = 0.99  # of the brightest value: still the top of a spot
ACROSS = 3  # pixels about the opposite place


def planned(exposure):
    """x and y of the star, pixels from 0: the aperture's reference pixel, onto which the telescope puts it."""
    return exposure.header["CRPIX1"] - 1, exposure.header["CRPIX2"] - 1


def resolution(header):
    """Wavelength over the telescope's diameter [pixels], by FILTER's name and PIXAR_A2; USUAL where the header lacks one of them."""
    area = header.get("PIXAR_A2")
    found = contrast.resolution(header, float(np.sqrt(area))) if area and area > 0 else None
    return found or USUAL


def astray(image, place, transmission, resolution, saturated=None):
    """How far from its place behind the mask a star is that was not put there.

    A star in its place leaves speckles that are about as bright on both sides of it. One that is not is a spot that outshines what lies
    opposite, whatever the mask: round or bar, a disc, or a phase mask, that dims only what is on the edges between its quadrants.

    Parameters
    ----------
    image : (row, col)
        Without NaN.
    place : (float, float)
        Where the star was to be, x and y, pixels from 0.
    transmission : (row, col)
        Of the mask.
    resolution : float
        Wavelength over diameter, pixels.
    saturated : (row, col) bool, optional
        Pixels that are brighter than they look.

    Returns
    -------
    (float, bool) or None
        Pixels from the place to the brightest spot, and whether the mask is not over it; None where the star is in its place.
    """
    image = np.array(image, float) - np.median(image)
    if saturated is not None and saturated.any():
        image[saturated] = max(image.max(), 0.0)
    spots = gaussian_filter(median_filter(image, 3), 0.5 * resolution)  # no single pixel makes one
    row, column = _summit(spots)
    away = float(np.hypot(column - place[0], row - place[1]))
    if away < NEAR * resolution:
        return None
    opposite = (int(np.clip(round(2 * p - at), 0, n - 1)) for p, at, n in zip(place[::-1], (row, column), spots.shape, strict=True))
    there = tuple(slice(max(at - ACROSS, 0), at + ACROSS + 1) for at in opposite)
    if spots[row, column] <= OUTSHINES * spots[there].max():
        return None
    return away, bool(transmission[row, column] >= OPEN)


def _summit(spots):
    """Row and column of the brightest spot: the middle of its top, which is flat where pixels are saturated."""
    tops, _ = label(spots >= FLAT * spots.max())
    return np.round(np.mean(np.nonzero(tops == tops.flat[np.argmax(spots)]), axis=1)).astype(int)


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
