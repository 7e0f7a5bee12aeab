"""Slices of the mid-infrared spectrometer to surface brightness: a factor a pixel, which the years change by channel and wavelength."""

import logging

import numpy as np

from ...files.reference_file import another
from ...model import aligned
from ...vocabulary.errors import InputError, ReferenceError
from ..spectra_calibration.apply_map import multiply
from ..spectra_calibration.wavelengths import rising, wavelengths
from ..wcs.pixel_coordinates import labels_of
from . import reference

log = logging.getLogger(__name__)

LAW = "TIMECOEFF_POWERLAW_CH{}"


def convert(exposure, photom, area, *, inverse, timed, **_):
    """Convert the pixels and set the keywords; arguments are those of `steps.photom`.

    The reference is an image of MJy/sr for a DN/s. It is divided by the sensitivity at mid-exposure relative to that of the reference
    epoch, a power law of the time (Law et al. 2025, AJ 169, 67), linear between the wavelengths that the reference has it for, and
    never above 1.
    """
    factor = aligned.image(photom, exposure).astype(np.float64)
    if timed and any(photom.has(LAW.format(channel)) for channel in "1234"):
        factor /= _sensitivity(exposure, photom)
    elif timed:
        log.info("The photom reference does not tell how the sensitivity changes with time")
    exposure.dq |= aligned.bits(photom, exposure)
    multiply(exposure, factor, divide=inverse)
    reference.set_areas(exposure.header.sci, photom, area)
    conversion = photom.header.get("PHOTMJSR")
    if conversion is None:
        log.warning("No PHOTMJSR in the photom reference")
        exposure.header.sci["BUNIT"] = ("DN/s" if inverse else "MJy/sr", "physical units of the array values")
    else:
        reference.set_conversion(exposure.header.sci, conversion, "DN/s" if inverse else "MJy/sr")
    good = factor[np.isfinite(factor)]
    log.info("1 DN/s is %.6g MJy/sr (median)", np.median(good) if good.size else np.nan)


def _sensitivity(exposure, photom):
    """Sensitivity at mid-exposure relative to that of the reference epoch: float64 (row, col), 1 beside the slices."""
    labels = labels_of(exposure.wcs) if exposure.wcs is not None else None
    if labels is None:
        raise InputError("its WCS has no slices, by which its sensitivity changes", exposure.name, "Run assign_wcs")
    wavelength, channels = wavelengths(exposure).astype(float), labels // 100
    out = np.ones(wavelength.shape)
    for channel in np.unique(channels[channels > 0]).tolist():
        name = LAW.format(channel)
        if not photom.has(name):
            raise ReferenceError(f"it has no table {name}", photom.path, another(photom.type))
        here = (channels == channel) & np.isfinite(wavelength)
        out[here] = _at(wavelength[here], *_law(photom, name, exposure.header["EXPMID"]))
    good = out[channels > 0]
    log.info("Relative sensitivity at mid-exposure: %.4f to %.4f", good.min(initial=1), good.max(initial=0))
    return out


def _law(photom, name, mjd):
    """Wavelengths, rising, and the relative sensitivity at each."""
    table = photom.table(name)
    columns = {column.lower(): column for column in table.dtype.names}
    relative, parameters = reference.LAWS["POWERLAW"]
    with np.errstate(invalid="ignore"):
        values = np.minimum(relative(mjd, *(table[columns[parameter]] for parameter in parameters)), 1)
    wavelength, values = rising(table[columns["binwave"]], values)
    if wavelength.size < 2 or not (values > 0).all():
        what = f"its table {name} has no two wavelengths with a sensitivity at MJD {mjd}"
        raise ReferenceError(what, photom.path, "Take a photom reference that covers the exposure's date")
    return wavelength, values


def _at(wavelength, known, values):
    """Linear interpolation, and beyond the ends with the slope of the last two."""
    right = np.clip(np.searchsorted(known, wavelength), 1, known.size - 1)
    part = (wavelength - known[right - 1]) / (known[right] - known[right - 1])
    return values[right - 1] + part * (values[right] - values[right - 1])
