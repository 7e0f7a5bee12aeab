"""Spectra out of the cubes of MIRI's spectrometer: the aperture in units of the PSF's width, columns for residual fringes."""

import logging

import numpy as np

from ..fringes.spectrum import correct_spectrum
from . import cubes

log = logging.getLogger(__name__)

WIDTHS = 2.0  # FWHMs of the PSF that the reference's radii are
CHANNELS, RANGES = ("1", "2", "3", "4"), ("short", "medium", "long")
CORRECTED = {"RF_FLUX": "FLUX", "RF_SURF_BRIGHT": "SURF_BRIGHT", "RF_BACKGROUND": "BACKGROUND"}


def extract(exposure, refs, place, options):
    """The spectrum of a cube; see `cubes.extract`."""
    return cubes.extract(exposure, refs, place, options, cubes.Instrument("mrs", _radius_scale, _correct))


def _radius_scale(options):
    return 1.0 if options.ifu_rscale is None else options.ifu_rscale / WIDTHS


def _correct(exposure, columns, options):
    """Add the columns without residual fringes; they are NaN where that is switched off, or the cube is of several bands."""
    wavelength = columns["WAVELENGTH"]
    for name in CORRECTED:
        columns[name] = np.full(wavelength.shape, np.nan)
    if not options.ifu_rfcorr:
        return
    header = exposure.header
    channel = str(header.get("CHANNEL"))
    if channel not in CHANNELS or str(header.get("BAND")).lower() not in RANGES:
        log.info("No residual fringes are taken out: the cube is of several bands")
        return
    per_sum = 1e6 * float(header["PIXAR_SR"])  # Jy
    for name, of in CORRECTED.items():
        # limits of the fits are numbers: as sums of surface brightness, fluxes are far from them
        unit = per_sum if of == "FLUX" else 1.0
        columns[name] = unit * correct_spectrum(columns[of] / unit, wavelength, int(channel))
