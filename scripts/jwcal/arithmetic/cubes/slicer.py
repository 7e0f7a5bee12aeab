"""NIRSpec's slicer: which pixels each slice has, and where on the slicer these are."""

import numpy as np

from ...vocabulary.errors import InputError
from ..wcs.pixel_coordinates import around_slices, labels_on_pixels


class Slicer:
    """The slices of an exposure: the pixels of each, and where on the slicer these are.

    Parameters
    ----------
    wcs : gwcs.WCS
        To the sky, or of a lamp to the plane of the shutters.
    labels : int (row, col), optional
        As `looks` takes them.

    Attributes
    ----------
    pixels : dict
        Number of the slice, from 1 -> flat indices of its pixels.
    micron : float
        What its wavelengths are multiplied with to be in micron: those of the sky are in metres, those of lamps are not.
    """

    def __init__(self, wcs, labels=None):
        self._before, slices, self._after = around_slices(wcs)
        if slices is None:
            raise InputError("the WCS has no slices", do="Run assign_wcs, without nrs_ifu_slice_wcs")
        self._optics = slices.selector
        self.micron = 1e6 if wcs.output_frame.name == "world" else 1.0
        self.labels = labels_on_pixels(wcs) if labels is None else labels
        flat = np.flatnonzero(self.labels)
        flat = flat[np.argsort(self.labels.ravel()[flat], kind="stable")]
        numbers, starts = np.unique(self.labels.ravel()[flat], return_index=True)
        parts = zip(numbers.tolist(), np.split(flat, starts[1:]), strict=False)
        self.pixels = {number: part for number, part in parts if number in self._optics}

    def at(self, number, right=0.0, up=0.0):
        """Across [m], along [m] and wavelength of the pixels of a slice, or of places so many pixels beside their middles."""
        y, x = (values.astype(float) for values in np.divmod(self.pixels[number], self.labels.shape[1]))
        values = x + right, y + up
        for step in self._before:
            values = step(*values)
        return tuple(np.broadcast_to(value, x.shape) for value in self._optics[number](*values))

    def onward(self, across, along, metres):
        """From the slicer to the last frame: (3, n)."""
        values = across, along, metres
        for step in self._after:
            values = step(*values)
        return np.asarray(values)

    def middle(self):
        """The median wavelength of the first slice."""
        return float(np.nanmedian(self.at(next(iter(self.pixels)))[2]))
