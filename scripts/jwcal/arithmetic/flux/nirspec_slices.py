"""The slices of NIRSpec's integral field unit to surface brightness: each has pixels of its own area."""

import logging

import numpy as np

from ...vocabulary import dq as bits
from ...vocabulary.errors import ReferenceError
from ..spectra_calibration.apply_map import multiply
from ..spectra_calibration.slices import slice_map
from . import reference

log = logging.getLogger(__name__)


def convert(exposure, photom, area, *, inverse, timed, **_):
    """Convert the pixels of an exposure, a point source's too, and set its keywords; arguments are those of `steps.photom`.

    Beyond the table's wavelengths the response is that at its ends. Pixels between the slices are NON_SCIENCE.

    Raises
    ------
    ReferenceError
        There is no area reference, or it lacks a slice.
    """
    row = reference.find_row(photom, exposure.header)
    flux = reference.conversion_of(photom, row, "photmj")
    if flux is None or not reference.is_spectral(photom, row):
        raise ReferenceError("the photom reference has no PHOTMJ by wavelength", photom.path, "Give the one of this mode")
    if timed:
        flux = reference.at_its_time(flux, photom, row, exposure.header)
    if area is None:
        raise ReferenceError("there is no area reference", photom.path, "Give the area of the slices under references: overrides: area")
    number, areas = _areas(area)
    labels, wavelength = slice_map(exposure)
    inside = np.isfinite(wavelength) & (labels > 0)
    of_slice = np.full(max(int(labels.max()), int(number.max()) + 1) + 1, np.nan)
    of_slice[number + 1] = areas  # slices are counted from 0 there, on the detector from 1
    pixel = of_slice[np.where(inside, labels, 0).astype(int)]
    if np.isnan(pixel[inside]).any():
        what = f"the area reference lacks slices, {', '.join(map(str, np.unique(labels[inside & np.isnan(pixel)]) - 1))}"
        raise ReferenceError(what, area.path, "Give the area reference of the integral field unit")
    at, relative = reference.response(photom, row)
    factor = np.ones(wavelength.shape)
    factor[inside] = float(flux) * np.interp(wavelength[inside], at, relative) / (pixel[inside] * reference.SQUARE_ARCSEC)
    factor[~(factor > 0)] = np.nan
    exposure.dq |= np.where(inside, 0, bits.NON_SCIENCE).astype(np.uint32)
    multiply(exposure, factor, divide=inverse)
    mean = float(np.nanmean(areas))
    exposure.header.sci["PIXAR_SR"] = (mean * reference.SQUARE_ARCSEC, "[sr] nominal pixel area")
    exposure.header.sci["PIXAR_A2"] = (mean, "[arcsec2] nominal pixel area")
    scalar = flux / np.float32(mean * reference.SQUARE_ARCSEC)
    reference.set_conversion(exposure.header.sci, scalar, "DN/s" if inverse else "MJy/sr")
    log.info("1 DN/s is %.6g MJy/sr times the relative response, where a pixel has the mean area of the slices", scalar)


def _areas(area):
    """Numbers of the slices, from 0, and the area of a pixel of each [arcsec2]."""
    rows = area.table("AREA")
    columns = {name.lower(): name for name in rows.dtype.names}
    missing = [name for name in ("slice_id", "pixarea") if name not in columns]
    if missing:
        what = f"the area reference's table has no column {' and no '.join(missing)}"
        raise ReferenceError(what, area.path, "Give the area reference of the integral field unit")
    return rows[columns["slice_id"]].astype(int), rows[columns["pixarea"]].astype(float)
