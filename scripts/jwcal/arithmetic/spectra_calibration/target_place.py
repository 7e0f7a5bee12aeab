"""Where a target is on the detector, measured in an image without dispersion that was taken before."""

import logging
import warnings

import numpy as np
from astropy.utils.exceptions import AstropyUserWarning

from ...vocabulary.errors import InputError, Skip
from ..wcs import imaging
from ..wcs.pixel_coordinates import wavelength_and_sky

log = logging.getLogger(__name__)

SIDE = 20  # pixels of the cut-out in which the target is looked for
FEWEST = 10  # of them with a value


def centroid(image, x, y):
    """The target's place near where it is expected, both in pixels from 0: the centre of a Gaussian with a constant.

    Raises
    ------
    Skip
        Too few pixels have a value there, or the fit does not end within the cut-out.
    """
    from photutils.centroids import centroid_2dg

    if not (np.isfinite(x) and np.isfinite(y)):
        raise Skip("where the target should be is not within the confirmation image")
    left, low = (max(0, int(np.round(middle)) - SIDE // 2) for middle in (x, y))
    cut = image[low : max(0, int(np.round(y)) + SIDE // 2), left : max(0, int(np.round(x)) + SIDE // 2)]
    bad = ~np.isfinite(cut)
    if cut.size - bad.sum() < FEWEST:
        raise Skip(f"the confirmation image has {cut.size - bad.sum()} pixels with a value where the target should be, {x:.1f}, {y:.1f}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyUserWarning)
        try:
            found = centroid_2dg(cut, mask=bad)
        except ValueError as error:
            raise Skip(f"no Gaussian fits the target in the confirmation image ({error})") from None
    if not all(-0.5 <= place < size - 0.5 for place, size in zip(found, cut.shape[::-1], strict=True)):
        raise Skip("the confirmation image shows no target within 10 pixels of where it should be")
    return float(found[0]) + left, float(found[1]) + low


def image_wcs(exposure, refs):
    """The gWCS of an image: its own, or made with the references distortion and filteroffset."""
    if exposure.wcs is not None:
        return exposure.wcs
    if "distortion" not in refs:
        raise Skip("the confirmation image has no gWCS, and there is no distortion reference to make one")
    return imaging.imaging_wcs(exposure.header, exposure.sci.shape, refs["distortion"], refs.get("filteroffset"))


def dithered(header, wcs, wavelength=None):
    """Where the dither XOFFSET, YOFFSET [arcsec, ideal frame] points, and how far that is from the reference point.

    Returns
    -------
    (x, y), (dx, dy) : pixels from 0
    """
    offset = header["XOFFSET"] * header["VPARITY"], header["YOFFSET"]
    angle = np.radians(header["V3I_YANG"])
    v2 = header["V2_REF"] + offset[0] * np.cos(angle) + offset[1] * np.sin(angle)
    v3 = header["V3_REF"] - offset[0] * np.sin(angle) + offset[1] * np.cos(angle)
    to_sky, to_pixel = wcs.get_transform("v2v3", "world"), wcs.get_transform("world", "detector")
    more = [] if wavelength is None else [wavelength]
    ra, dec, *_ = to_sky(v2, v3, *more)
    x, y = to_pixel(ra, dec, *more)[:2]
    at_x, at_y = to_pixel(header["RA_REF"], header["DEC_REF"], *more)[:2]
    return (float(x), float(y)), (float(x - at_x), float(y - at_y))


def middle_wavelength(exposure):
    """A wavelength in the middle of the spectrum [micron]."""
    if exposure.wcs is None:
        raise InputError("there is no gWCS in it", exposure.name, "Run assign_wcs first")
    *_, wavelength = wavelength_and_sky(exposure.wcs, exposure.sci.shape)
    found = wavelength[np.isfinite(wavelength)]
    if not found.size:
        raise InputError("no pixel has a wavelength", exposure.name, "Look at its pointing and at the specwcs reference")
    return float(np.median(found))
