"""The slices of an integral field unit on the detector: which pixels they have, and the wavelength of each."""

import numpy as np

from ...vocabulary.errors import InputError
from ..wcs.pixel_coordinates import labels_of, wavelength_and_sky


def slice_map(exposure):
    """Number of the slice of every pixel, int (row, col), 0 between them, and its wavelength [micron], float64, NaN there.

    Raises
    ------
    InputError
        There is no WCS with slices, or no pixel has a wavelength.
    """
    if exposure.wcs is None:
        raise InputError("there is no gWCS in it", exposure.name, "Run assign_wcs first")
    labels = labels_of(exposure.wcs)
    if labels is None:
        raise InputError("its gWCS has no slices", exposure.name, "Run assign_wcs on it")
    wavelength = wavelength_and_sky(exposure.wcs, exposure.sci.shape)[2]
    if not np.isfinite(wavelength).any():
        raise InputError("no pixel has a wavelength", exposure.name, "Look at its pointing and at the references of assign_wcs")
    return labels, wavelength


def each_slice(exposure):
    """Go through the slices: ((rows, columns) that hold one, its wavelengths there, NaN for what is not its own)."""
    labels, wavelength = slice_map(exposure)
    every = np.where(np.isfinite(wavelength), labels, 0)
    for number in np.unique(every[every != 0]):
        own = every == number
        rows, columns = (np.flatnonzero(own.any(axis=axis)) for axis in (1, 0))
        window = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
        yield window, np.where(own[window], wavelength[window], np.nan)
