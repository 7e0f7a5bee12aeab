"""What the slitlets on empty sky see, calibrated and extracted; and a background as the detector sees it in each slitlet."""

import logging

import numpy as np

from ...model.exposure import Pixels
from ...vocabulary import dq as bits
from ...vocabulary.errors import Skip
from ..flux import nirspec_slits
from ..resample.drizzle_images import fill_value
from ..resample.spectral_drizzle import add_slit, slit_mosaic
from ..resample.spectral_inputs import SlitInputs
from ..resample.spectral_keywords import describe
from ..spectra import combined, slits
from ..spectra.options import Options
from . import background_spectrum, bar_shadow, flat_slits, pathloss_nirspec

log = logging.getLogger(__name__)

EMPTY = ("BKG", "BACKGROUND")  # in the name (SRCNAME) of what is no source
WEIGHT = "EFFEXPTM"
UNIFORM = "EXTENDED"
LEAST_LIGHT = 0.2  # of bar shadows
RESAMPLING = {"pixfrac": 1.0, "kernel": "square", "weight_type": "ivm"}


def spectra(exposure, refs):
    """The spectra of the slitlets on empty sky: an Exposure, "bkgx1d"; Skip where there are none, or nothing else."""
    empty = [any(word in str(slit.header.get("SRCNAME", "")).upper() for word in EMPTY) for slit in exposure.slits()]
    if not any(empty) or all(empty):
        raise Skip(f"of {len(empty)} slitlets {sum(empty)} are on empty sky")
    sky = exposure.derive([_copied(pixels) for pixels, is_sky in zip(exposure.pixels, empty, strict=True) if is_sky], exposure.suffix)
    _through(sky, refs)
    sky = _rectified(sky)
    found, _ = slits.extract(sky, refs, "slit", _options(exposure))
    new = exposure.derive([], "bkgx1d")
    new.tables, new.spectra = {}, found
    return new


def mean(found, sigma_clip):
    """The combined spectrum, a table: see `spectra.tables.COMBINED`."""
    by_order = combined.combine_exposures([found], WEIGHT, sigma_clip)
    if not by_order:
        raise Skip("no slitlet on empty sky has a spectrum")
    table, _ = next(iter(by_order.values()))
    return table


def as_seen(exposure, refs, background):
    """A background on the pixels of each slitlet, DN/s, with the flags of its calibration: an Exposure, "masterbg2d"."""
    every = []
    for slit in exposure.slits():
        values, outside, _ = background_spectrum.on_pixels(slit, background)
        zeros = {name: np.zeros_like(values) for name in ("err", "var_poisson", "var_rnoise")}
        flags = np.where(outside, np.uint32(bits.DO_NOT_USE), np.uint32(0))
        found = Pixels(sci=values, dq=flags, **zeros, extra=dict(slit.extra), header=slit.header.sci.copy(), wcs=slit.wcs, about=slit.about)
        every.append(found)
    seen = exposure.derive(every, "masterbg2d")
    seen.tables = {}
    _through(seen, refs, inverse=True)
    return seen


def _copied(pixels):
    """A slit of its own; its WCS is shared."""
    extra = {name: array.copy() for name, array in pixels.extra.items()}
    planes = {name: plane.copy() for name, plane in pixels.planes()}
    return Pixels(**planes, extra=extra, header=pixels.header.copy(), wcs=pixels.wcs, about=dict(pixels.about))


def _through(exposure, refs, inverse=False):
    """Calibrate slitlets as uniformly lit, or go back to what the detector saw. What the chain leaves out is left out here."""
    steps = {"flat_field": _flat, "pathloss": _pathloss, "barshadow": _shadow, "photom": _photom}
    for name, step in list(steps.items())[:: -1 if inverse else 1]:
        given = _given(exposure, name)
        if given.get("skip"):
            continue
        try:
            step(exposure, refs, inverse, given)
        except Skip as why:
            log.info("The background is not calibrated by %s: %s", name, why)


def _flat(exposure, refs, inverse, given):
    user = given.get("user_supplied_flat")
    flat_slits.correct(exposure, refs, kind="shutters", keep_both=False, user_supplied_flat=user, save=False, inverse=inverse)


def _pathloss(exposure, refs, inverse, given):
    if "pathloss" in refs:
        pathloss_nirspec.correct(exposure, refs["pathloss"], kind="shutters", inverse=inverse, source_type=UNIFORM)


def _shadow(exposure, refs, inverse, given):
    """Where little of the background is a source may be: on the way back nothing is lost."""
    if "barshadow" not in refs:
        return
    shadow = bar_shadow.read(refs["barshadow"])
    for slit in exposure.slits():
        bar_shadow.correct(slit, shadow, inverse, UNIFORM, 0.0 if inverse else given.get("least_light", LEAST_LIGHT))


def _photom(exposure, refs, inverse, given):
    if "photom" in refs:
        options = {"timed": given.get("apply_time_correction", True), "source_type": UNIFORM, "inverse": inverse}
        nirspec_slits.convert(exposure, refs["photom"], refs.get("area"), kind="shutters", keep_both=False, **options)


def _given(exposure, step):
    """What the chain gives a step."""
    return exposure.recipe.parameters.get(step, {}) if exposure.recipe else {}


def _rectified(exposure):
    """The slitlets on grids of their own, as resample_spec makes them."""
    given = _given(exposure, "resample_spec")
    drizzle = {name: given.get(name, default) for name, default in RESAMPLING.items()}
    drizzle |= {"fillval": fill_value(given.get("fillval", "NAN"), "resample_spec"), "flags": False}
    drizzle |= {"weight_box": 0, "context": True, "errors": f"of {given.get('error_of', 'pixel')}s"}
    inputs = SlitInputs(exposure)
    inputs.make_grids(ratio=given.get("pixel_scale_ratio", 1.0), scale=given.get("pixel_scale"))
    result = exposure.derive([], "s2d")
    for slit, source in zip(exposure.slits(), inputs.sources, strict=True):
        mosaic = slit_mosaic(source.grid, 1, **drizzle)
        add_slit(mosaic, slit, source.grid)
        pixels = mosaic.finish()
        pixels.wcs, pixels.extra["WAVELENGTH"] = source.grid.wcs, source.grid.wavelength
        header = source.shells[0].header.copy()
        pixels.header = header.sci
        describe(header, source)
        result.pixels.append(pixels)
    return result


def _options(exposure):
    """Of the extraction: the chain's, without what it is to show."""
    given = _given(exposure, "extract_1d")
    names = [name for name in Options.__dataclass_fields__ if name in given and not name.startswith("save_")]
    return Options(**{name: given[name] for name in names})
