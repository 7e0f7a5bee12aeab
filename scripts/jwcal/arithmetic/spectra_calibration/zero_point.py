"""The wavelength of a point source beside the middle of its slit."""

import logging

import numpy as np
from astropy import units as u
from astropy.modeling.models import Identity, Tabular1D
from gwcs import coordinate_frames

from ...vocabulary.errors import InputError, ReferenceError
from .wavelengths import CORRECTED, EXTENSION, SLIT

log = logging.getLogger(__name__)

METRES = 1e-6  # in a micron: the wavelengths of the slit's frame are in metres
POINT = "POINT"


def correct(slit, reference, aperture=""):
    """Correct one slit; arguments are those of `steps.wavecorr`.

    Returns
    -------
    bool
        False where the source is no point, or the reference has nothing for the slit: that is logged.
    """
    name = str(slit.header.get("SLTNAME", ""))
    if str(slit.header.get("SRCTYPE", "")).upper() != POINT:
        return False
    if slit.wcs is None or SLIT not in slit.wcs.available_frames:
        raise InputError(f"{name or 'it'} has no gWCS of a slit", slit.name, "Run assign_wcs and extract_2d first")
    offset = _offset(reference, aperture or name)
    if offset is None:
        log.warning("slit %s: the wavecorr reference has no aperture %s", name, aperture or name)
        return False
    wavelength, correction = _by_wavelength(slit, offset)
    if np.any(np.diff(correction) <= 0):
        log.warning("slit %s: the corrected wavelengths would not rise, they stay as they are", name)
        return False
    _insert(slit.wcs, wavelength, correction)
    slit.extra[EXTENSION] = _wavelengths(slit).astype(np.float32)
    moved = (correction - wavelength) / METRES
    log.info("slit %s: wavelengths moved by %.3g to %.3g micron", name, moved.min(), moved.max())
    return True


def _offset(reference, aperture):
    """The model of one aperture: wavelength [m] and place in the slit -> offset [pixels], extrapolated linearly; None if there is none."""
    apertures = reference.tree.get("apertures")
    if not isinstance(apertures, list):
        raise ReferenceError("the wavecorr reference has no list `apertures`", reference.path, "Give another wavecorr reference")
    for entry in apertures:
        if entry.get("aperture_name") == aperture:
            model = entry["zero_point_offset"].copy()
            model.bounds_error, model.fill_value = False, None
            return model
    return None


def _by_wavelength(slit, offset):
    """Means of the columns: wavelengths [m] as they are, and as they are for the source."""
    wavelength = _means(np.asarray(slit.extra[EXTENSION], float) * METRES)
    dispersion = _means((_at(slit, 0.5) - _at(slit, -0.5)) * METRES)
    good = np.isfinite(wavelength) & np.isfinite(dispersion)
    wavelength, dispersion = wavelength[good], dispersion[good]
    return wavelength, wavelength + offset(wavelength, float(slit.header.get("SRCXPOS", 0.0))) * dispersion


def _means(image):
    """Of the columns, without what is not finite."""
    lit = np.isfinite(image)
    with np.errstate(invalid="ignore"):
        return np.where(lit, image, 0).sum(axis=0) / lit.sum(axis=0)


def _at(slit, away):
    """Wavelengths [micron] so many pixels from the middle of each, along the row."""
    y, x = np.indices(slit.sci.shape[-2:], dtype=float)
    return slit.wcs(x + away, y)[2]


def _wavelengths(slit):
    y, x = np.indices(slit.sci.shape[-2:], dtype=float)
    return slit.wcs(x, y)[2]


def _insert(wcs, wavelength, correction):
    """Put the frame with corrected wavelengths after that of the slit."""
    table = Tabular1D(points=wavelength, lookup_table=correction, bounds_error=False, fill_value=None, name="wave2wavecorr")
    places = coordinate_frames.Frame2D(name="slit_spatial", axes_order=(0, 1), unit=("", ""), axes_names=("x_slit", "y_slit"))
    spectral = coordinate_frames.SpectralFrame(name="spectral", axes_order=(2,), unit=(u.micron,), axes_names=("wavelength",))
    wcs.insert_frame(SLIT, Identity(2) & table, coordinate_frames.CompositeFrame([places, spectral], name=CORRECTED))
