"""What pixels of slices look at: on the sky, in wavelength, and how far."""

from dataclasses import dataclass

import numpy as np

from ...vocabulary import dq as bits

UNUSABLE = bits.DO_NOT_USE | bits.NON_SCIENCE
PLANES = ("sci", "err", "var_poisson", "var_rnoise", "var_flat")


@dataclass
class Seen:
    """Where the pixels of the slices of one band look.

    Attributes
    ----------
    index : int (n,)
        Of the pixels, in the flat image.
    number : int (n,)
        Of their slices.
    ra, dec : float64 (n,)
        Middle of the pixel, ICRS [deg].
    wavelength : float64 (n,)
        micron.
    width : float64 (n,) or None
        Range of wavelengths, micron.
    corners : (float64 (4, n), float64 (4, n)) or None
        Right ascension and declination, one after the other around the pixel's part of its slice.
    """

    index: np.ndarray
    number: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    wavelength: np.ndarray
    width: np.ndarray | None = None
    corners: tuple | None = None

    def take(self, which):
        """Those of some pixels."""
        corners = None if self.corners is None else tuple(values[:, which] for values in self.corners)
        width = None if self.width is None else self.width[which]
        return Seen(self.index[which], self.number[which], self.ra[which], self.dec[which], self.wavelength[which], width, corners)


def usable(pixels):
    """Which pixels have a value, an error, variances and no flag against them: bool (row * col,)."""
    good = pixels.dq.ravel() & UNUSABLE == 0
    for name in PLANES:
        plane = getattr(pixels, name)
        if plane is not None:
            good &= np.isfinite(plane).ravel() if name == "sci" else ~np.isnan(plane).ravel()
    return good


def unwrapped(ra):
    """Right ascensions [deg] on one side of the zero meridian."""
    return ra[0] + (ra - ra[0] + 180) % 360 - 180 if ra.size else ra


def extremes(ra, dec):
    """The four points of some that lie farthest west, east, south and north: (4,), (4,)."""
    away = unwrapped(ra)
    which = [int(np.argmin(away)), int(np.argmax(away)), int(np.argmin(dec)), int(np.argmax(dec))]
    return ra[which], dec[which]


def image_shape(wcs):
    """Rows and columns of the image that a WCS is for, by its bounding box."""
    box = wcs.bounding_box.bounding_box(order="F")
    return tuple(round(high + 0.5) for _, high in box[::-1])
