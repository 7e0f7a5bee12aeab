"""Spectra out of the cubes of MIRI's spectrometer: the aperture in units of the PSF's width, columns for residual fringes."""

import logging

import numpy as np

from . import cubes

log = logging.getLogger(__name__)

WIDTHS = 2.0  # FWHMs of the PSF that the reference's radii are
CORRECTED = {"RF_FLUX": "FLUX", "RF_SURF_BRIGHT": "SURF_BRIGHT", "RF_BACKGROUND": "BACKGROUND"}


def extract(exposure, refs, place, options):
    """The spectrum of a cube; see `cubes.extract`."""
    return cubes.extract(exposure, refs, place, options, cubes.Instrument("mrs", _radius_scale, _correct))


def _radius_scale(options):
    return 1.0 if options.ifu_rscale is None else options.ifu_rscale / WIDTHS


def _correct(exposure, columns, options):
    """Add the columns without residual fringes; they are NaN where that is switched off, or the cube is of several bands."""
    for name in CORRECTED:
        columns[name] = np.full(columns["WAVELENGTH"].shape, np.nan)
    if not options.ifu_rfcorr:
        return
    header = exposure.header
    if len(str(header.get("CHANNEL"))) != 1 or str(header.get("BAND")).lower() not in ("short", "medium", "long"):
        log.info("No residual fringes are taken out: the cube is of several bands")
