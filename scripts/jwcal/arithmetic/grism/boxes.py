"""Where the spectra of a field's sources lie on the detector: a box for each source and order."""

from dataclasses import dataclass

import numpy as np


@dataclass
class Boxes:
    """Boxes of one order, inclusive whole pixels, which may reach beyond the detector.

    Attributes
    ----------
    x, y : (2, n) int
        First and last column, first and last row.
    on : (n,) bool
        Whether the detector sees a part of it that is worth the name.
    """

    x: np.ndarray
    y: np.ndarray
    on: np.ndarray


def image_places(wcs, ra, dec):
    """Pixels of a sky position [deg] in the image without the grism: x, y."""
    one = np.ones(np.shape(ra))
    x, y, *_ = wcs.get_transform("world", "detector")(ra, dec, one, one)
    return np.asarray(x), np.asarray(y)


def spectrum_boxes(dispersion, order, limits, centre, corners, extended, shape, half_height):
    """The boxes of one order.

    Parameters
    ----------
    dispersion : Dispersion
    order : int
    limits : (float, float)
        Shortest and longest wavelength [micron].
    centre : ndarray (2, n)
        x, y of the sources without the grism.
    corners : ndarray (2, n, 4)
        x, y of the corners of their segments' boxes.
    extended : (n,) bool
    shape : (int, int)
        Rows and columns of the detector.
    half_height : int or None
        Rows on each side of a point source's trace; None: of its segment's box.
    """
    ends = [dispersion.disperse(order, wavelength, corners[0], corners[1]) for wavelength in limits]
    low, high = np.nanmin(ends, axis=(0, 3)), np.nanmax(ends, axis=(0, 3))  # (x or y, n)
    if half_height is not None:
        across = 0 if dispersion.vertical else 1
        middle = dispersion.disperse(order, (limits[0] + limits[1]) / 2, centre[0], centre[1])[across]
        low[across] = np.where(extended, low[across], middle - half_height)
        high[across] = np.where(extended, high[across], middle + half_height)
    known = np.isfinite(low).all(axis=0) & np.isfinite(high).all(axis=0)
    first, last = (np.floor(np.clip(np.where(known, end, 0), -1e9, 1e9) + 0.5).astype(np.int64) for end in (low, high))
    along = 1 if dispersion.vertical else 0
    size = np.array([shape[1], shape[0]])[:, None]
    more = np.array([[int(axis == along)] for axis in (0, 1)])  # two pixels along the spectrum, one across it
    on = known & (last >= more).all(axis=0) & (size - 1 - first >= more).all(axis=0)
    return Boxes(np.stack([first[0], last[0]]), np.stack([first[1], last[1]]), on)


def seen_part(box, size):
    """The part of a box's side (first, last) that is on a detector of so many pixels: a slice, None of one pixel that is cut off."""
    first, last = (min(max(int(end), 0), size) for end in box)
    return None if last <= first else slice(first, min(last + 1, size))
