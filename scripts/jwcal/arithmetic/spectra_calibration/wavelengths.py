"""The wavelength of every pixel of a spectrum."""

import numpy as np

from ...vocabulary.errors import InputError
from ..wcs.pixel_coordinates import wavelength_and_sky

EXTENSION = "WAVELENGTH"
SLIT, CORRECTED = "slit_frame", "wavecorr_frame"  # frames of a slit's WCS


def wavelengths(exposure):
    """Wavelengths [micron] of the only pixel grid of an exposure, or of a slit that it lends; float32 (row, col), NaN beside the spectrum.

    The image WAVELENGTH that assign_wcs left, where it is there, else those of the WCS.

    Raises
    ------
    InputError
        There is neither, or no pixel has one.
    """
    (pixels,) = exposure.pixels
    found = pixels.extra.get(EXTENSION)
    if found is None or not np.any(found):  # an image of zeros is one that nobody filled
        if pixels.wcs is None:
            raise InputError("it has neither a gWCS nor an image of wavelengths", exposure.name, "Run assign_wcs first")
        found = wavelength_and_sky(pixels.wcs, pixels.shape)[2].astype(np.float32)
    if not np.isfinite(found).any():
        raise InputError("no pixel has a wavelength", exposure.name, "Look at its pointing and at the specwcs reference")
    return found


def uncorrected(slit):
    """Wavelengths [micron] of a slit as those of light that fills it: without what wavecorr has done for a source beside the middle.

    Returns
    -------
    float (row, col)
        Those that are stored, where wavecorr has done nothing.
    """
    wcs = slit.wcs
    if wcs is None or CORRECTED not in wcs.available_frames:
        return wavelengths(slit)
    y, x = np.indices(slit.sci.shape[-2:], dtype=float)
    in_slit = wcs.get_transform(wcs.available_frames[0], SLIT)(x, y)
    return wcs.get_transform(CORRECTED, wcs.output_frame.name)(*in_slit)[2]


def rising(wavelength, *columns):
    """A table's columns in the order of rising wavelength: (wavelength, column...). Rows without one are left out, and repeated ones."""
    wavelength = np.asarray(wavelength)
    good = np.flatnonzero(np.isfinite(wavelength))
    order = good[np.unique(wavelength[good], return_index=True)[1]]
    return tuple(np.ascontiguousarray(np.asarray(column)[order], dtype=np.float64) for column in (wavelength, *columns))
