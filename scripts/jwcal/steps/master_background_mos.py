"""Subtract the background of the shutter array: what its slitlets on empty sky see, in the units of the detector."""

import logging
from typing import Annotated

import numpy as np

from ..arithmetic.spectra import combined, tables
from ..arithmetic.spectra_calibration import background_spectrum
from ..arithmetic.spectra_calibration.background_spectrum import Background
from ..model.exposure import Pixels
from ..model.references import Reference
from ..model.spectra import Spectrum
from ..vocabulary import dq as bits
from ..vocabulary import keywords
from ..vocabulary.errors import InputError, Skip
from ..vocabulary.parameters import Range
from . import barshadow, extract_1d, flat_field, pathloss, photom, resample_spec

log = logging.getLogger(__name__)

OPTIONAL = ("fflat", "sflat", "dflat", "pathloss", "barshadow", "photom", "area", "extract1d", "apcorr", "psf")
NEEDS = ("err", "var_poisson", "var_rnoise")  # planes of an image
BEFORE = ("bkg_subtract", "master_background")  # either has subtracted the background already
EMPTY = ("BKG", "BACKGROUND")  # in the name (SRCNAME) of what is no source
TABLES = ("EXTRACT1D", "COMBINE1D")  # with a spectrum
WEIGHT = "EFFEXPTM"
SHUTTERS, UNIFORM = {"kind": "shutters"}, {"source_type": "EXTENDED"}
CALIBRATION = {  # step -> its module, its arguments here
    "flat_field": (flat_field, SHUTTERS),
    "pathloss": (pathloss, {**SHUTTERS, **UNIFORM}),
    "barshadow": (barshadow, UNIFORM),
    "photom": (photom, {**SHUTTERS, **UNIFORM}),
}
OWN = ("skip", "inverse", "source_type", "save_interpolated_flat")  # parameters of these steps that do not count here


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
        spectra = _spectra(exposure, refs)
        table = _mean(spectra, sigma_clip)
        background = Background(table["WAVELENGTH"], table["SURF_BRIGHT"])
        background = background_spectrum.smoothed(background, median_kernel - (median_kernel % 2 == 0))
    seen = _as_seen(exposure, refs, background)
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


def _spectra(exposure, refs):
    """The spectra of the slitlets on empty sky."""
    empty = [any(word in str(slit.header.get("SRCNAME", "")).upper() for word in EMPTY) for slit in exposure.slits()]
    if not any(empty) or all(empty):
        raise Skip(f"of {len(empty)} slitlets {sum(empty)} are on empty sky")
    sky = exposure.derive([_copied(pixels) for pixels, is_sky in zip(exposure.pixels, empty, strict=True) if is_sky], exposure.suffix)
    _through(sky, refs)
    sky = resample_spec.apply(sky, refs, **_parameters(exposure, "resample_spec"))
    spectra, *_ = extract_1d.apply(sky, refs, place="slit", **_parameters(exposure, "extract_1d"))
    spectra.suffix = "bkgx1d"
    return spectra


def _copied(pixels):
    """A slit of its own; its WCS is shared."""
    extra = {name: array.copy() for name, array in pixels.extra.items()}
    planes = {name: plane.copy() for name, plane in pixels.planes()}
    return Pixels(**planes, extra=extra, header=pixels.header.copy(), wcs=pixels.wcs, about=dict(pixels.about))


def _mean(spectra, sigma_clip):
    """The combined spectrum: see `tables.COMBINED`."""
    found = combined.combine_exposures([spectra], WEIGHT, sigma_clip)
    if not found:
        raise Skip("no slitlet on empty sky has a spectrum")
    table, _ = next(iter(found.values()))
    return table


def _as_seen(exposure, refs, background):
    """The background on the pixels of each slitlet, DN/s, with the flags of its calibration."""
    slits = []
    for slit in exposure.slits():
        values, outside = background_spectrum.on_pixels(slit, background)
        zeros = {name: np.zeros_like(values) for name in ("err", "var_poisson", "var_rnoise")}
        flags = np.where(outside, np.uint32(bits.DO_NOT_USE), np.uint32(0))
        found = Pixels(sci=values, dq=flags, **zeros, extra=dict(slit.extra), wcs=slit.wcs, about=slit.about)
        found.header = slit.header.sci.copy()
        slits.append(found)
    seen = exposure.derive(slits, "masterbg2d")
    seen.tables = {}
    _through(seen, refs, inverse=True)
    return seen


def _through(exposure, refs, inverse=False):
    """Calibrate slitlets as uniformly lit, or go back to what the detector saw. What the chain leaves out is left out here."""
    given = exposure.recipe.parameters if exposure.recipe else {}
    for name, (module, arguments) in list(CALIBRATION.items())[:: -1 if inverse else 1]:
        if given.get(name, {}).get("skip") or any(kind not in refs for kind in getattr(module, "REFERENCES", ())):
            continue
        parameters = _parameters(exposure, name)
        if inverse and name == "barshadow":
            parameters["least_light"] = 0.0  # a source may be where little of the background is
        try:
            module.apply(exposure, refs, **arguments, **parameters, inverse=inverse)
        except Skip as why:
            log.info("The background is not calibrated by %s: %s", name, why)


def _parameters(exposure, step):
    """What the chain gives a step, as far as it counts for the background."""
    given = exposure.recipe.parameters.get(step, {}) if exposure.recipe else {}
    return {name: value for name, value in given.items() if name not in OWN and not name.startswith("save_")}


def _by_wavelength(exposure, table, background):
    """The background as a product: a combined spectrum."""
    new = exposure.derive([], "masterbg1d")
    new.tables = {}
    table = table.copy()
    table["SURF_BRIGHT"] = background.brightness
    header = tables.units_header(table, "Jy", "MJy/sr")
    new.spectra = [Spectrum(table, header, "COMBINE1D")]
    return new
