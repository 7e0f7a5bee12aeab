"""Subtract the background of the shutter array: what its slitlets on empty sky see, in the units of the detector."""

import logging
from typing import Annotated

import numpy as np

from ..arithmetic.spectra import tables
from ..arithmetic.spectra_calibration import background_spectrum, shutter_background
from ..arithmetic.spectra_calibration.background_spectrum import Background
from ..model.references import Reference
from ..model.spectra import Spectrum
from ..vocabulary import dq as bits
from ..vocabulary import keywords
from ..vocabulary.errors import InputError, Skip
from ..vocabulary.parameters import Range

log = logging.getLogger(__name__)

OPTIONAL = ("fflat", "sflat", "dflat", "pathloss", "barshadow", "photom", "area", "extract1d", "apcorr", "psf")
NEEDS = ("err", "var_poisson", "var_rnoise")  # planes of an image
BEFORE = ("bkg_subtract", "master_background")  # either has subtracted the background already
TABLES = ("EXTRACT1D", "COMBINE1D")  # with a spectrum


def apply(
    exposure,
    refs,
    *,
    sigma_clip: float | None = 3.0,
    median_kernel: Annotated[int, Range(min=1)] = 1,
    force_subtract: bool = False,
    save_background: bool = False,
    user_background: str | None = None,
    inverse: bool = False,
):
    """Make a background of the slitlets on empty sky, and subtract it from all slitlets as the detector saw it.

    These slitlets are calibrated as uniformly lit, extracted and combined. At the wavelengths of each slitlet the background goes back
    through flux calibration, bar shadows, path losses and flat field. Pixels for which it is not known are DO_NOT_USE. Errors stay.

    Parameters
    ----------
    exposure : Exposure
        Of slitlets, DN/s, with SRCNAME and SRCTYPE.
    refs : References
        Those of the calibration that comes later; its steps' parameters count here too.
    sigma_clip : float, optional
        Values farther from the median of the slitlets than so many median deviations are left out.
    median_kernel : int
        Wavelengths in a running median of the background; an even number is taken one smaller.
    force_subtract : bool
        Subtract it although a background was subtracted before.
    save_background : bool
        Also return the background by wavelength (masterbg1d), on the pixels (masterbg2d), and the spectra that it is made of (bkgx1d).
    user_background : str, optional
        File with a spectrum (x1d, c1d), whose SURF_BRIGHT is subtracted.
    inverse : bool
        Add it.

    Returns
    -------
    Exposure, or list of Exposure with `save_background`

    Raises
    ------
    Skip
        A background was subtracted already, or no slitlet is on empty sky, or none on a source.
    InputError
        The user's background has no spectrum.
    """
    if not force_subtract and any(_is_complete(exposure, step) for step in BEFORE):
        raise Skip("the background was subtracted already (force_subtract overrides this)")
    if user_background:
        background, table, spectra = _of_user(user_background, exposure.header), None, None
    else:
        spectra = shutter_background.spectra(exposure, refs)
        table = shutter_background.mean(spectra, sigma_clip)
        background = Background(table["WAVELENGTH"], table["SURF_BRIGHT"])
        background = background_spectrum.smoothed(background, median_kernel - (median_kernel % 2 == 0))
    seen = shutter_background.as_seen(exposure, refs, background)
    for slit, its in zip(exposure.slits(), seen.pixels, strict=True):
        known = np.isfinite(its.sci)
        light = np.where(known, its.sci, np.float32(0))
        slit.sci += light if inverse else -light
        slit.dq |= its.dq | np.where(known, 0, bits.DO_NOT_USE).astype(np.uint32)
    log.info("%s a background of %.4g MJy/sr (median)", "Added" if inverse else "Subtracted", np.nanmedian(background.brightness))
    if not save_background:
        return exposure
    shown = [seen] if table is None else [_by_wavelength(exposure, table, background), seen, spectra]
    return [exposure, *shown]


def _is_complete(exposure, step):
    status, _ = exposure.steps.get(step, ("", ""))
    return "COMPLETE" in (status, exposure.header.get(keywords.status(step)[0]))


def _of_user(path, header):
    """The background of a file."""
    file = Reference("user_background", path, header)
    name = next((name for name in TABLES if file.has(name)), None)
    if name is None:
        raise InputError(f"it has no table {' or '.join(TABLES)}", path, "Give an x1d or c1d file as user_background")
    return background_spectrum.from_table(file.table(name), path)


def _by_wavelength(exposure, table, background):
    """The background as a product: a combined spectrum."""
    new = exposure.derive([], "masterbg1d")
    new.tables = {}
    table = table.copy()
    table["SURF_BRIGHT"] = background.brightness
    header = tables.units_header(table, "Jy", "MJy/sr")
    new.spectra = [Spectrum(table, header, "COMBINE1D")]
    return new
