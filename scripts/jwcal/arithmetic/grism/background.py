"""The sky that a grism sees: the reference's, scaled to what the exposure has where no source is."""

import logging
import warnings
from dataclasses import dataclass

import numpy as np

from ...model.references import Reference
from ...vocabulary import dq as bits
from ...vocabulary.errors import InputError, Skip
from . import catalogue
from .dispersion import dispersion_of
from .field import ALONG_COLUMNS, field_boxes
from .ranges import wavelength_ranges

log = logging.getLogger(__name__)

ENOUGH = 0.05  # part of the pixels
MASK = "MASK"


@dataclass
class Rejection:
    """How outliers are left out of the fit."""

    percent: float  # at each end, each time
    iterations: int
    stop: float  # part by which the residuals' rms has to fall to go on


def subtract(exposure, refs, options):
    """Subtract the scaled sky; arguments as `steps.bkg_subtract` has them.

    The scale is that of least squares with the errors' weights, sum(d b / v) / sum(b b / v), of the pixels between the extremes of the
    residuals, found again and again. The mask of these pixels before that is the extension MASK; BKGD_SCL is the scale.
    """
    reference = refs.get("bkg")
    if reference is None:
        raise Skip("there is no bkg reference")
    sky = np.asarray(reference.array("SCI"), np.float32)
    if sky.ndim != 2:
        raise InputError(f"the bkg reference has {sky.ndim} axes, an image was expected", reference.path)
    usable = (exposure.dq & np.uint32(bits.DO_NOT_USE) == 0) & (sky != 0)
    with_value = np.isfinite(exposure.sci) & np.isfinite(exposure.err) & (exposure.err != 0) & np.isfinite(sky)
    mask, least = _mask(exposure, refs, options)
    if np.count_nonzero(mask & usable) <= least:
        if options["wfss_mask"]:
            raise Skip("the mask that was given leaves no pixel for the background")
        log.warning(
            "The sources' spectra leave only %.1f%% of the pixels for the background: all pixels are taken, and outliers left out",
            *(100 * np.count_nonzero(mask & usable) / mask.size,),
        )
        mask = np.ones_like(mask)
        with_value &= usable & _quiet(exposure.sci, usable & with_value)
    rejection = Rejection(options["wfss_outlier_percent"], options["wfss_maxiter"], options["wfss_rms_stop"])
    variance = exposure.err.astype(np.float32) ** 2
    if options["wfss_weights"] == "expected":
        variance = _expected_variance(exposure, sky, variance, mask & with_value & usable)
    scale = scale_of(exposure.sci, sky, variance, mask & with_value, rejection, exposure.header["DISPAXIS"])
    if not np.isfinite(scale):
        raise Skip("the sky's brightness can't be told: no pixel is left")
    exposure.sci -= scale * sky.astype(float)
    exposure.dq |= reference.dq()
    exposure.extra[MASK] = mask.astype(np.uint32)
    exposure.header["BKGD_SCL"] = (float(scale), "Background scale factor")
    log.info("The sky is %.6g of the reference's, from %.1f%% of the pixels", scale, 100 * np.count_nonzero(mask & with_value) / mask.size)
    return exposure


def _mask(exposure, refs, options):
    """Pixels without sources, bool (row, col), and how many are needed at least."""
    shape = exposure.sci.shape
    if options["wfss_mask"]:
        image = Reference("mask", options["wfss_mask"], exposure.header)
        given = image.array(MASK if image.has(MASK) else "SCI")
        if given.shape != shape:
            raise InputError(f"the mask is no image of {shape[0]} x {shape[1]} pixels", options["wfss_mask"], "Give one like the exposure")
        return given.astype(bool), 0
    mask = np.ones(shape, bool)
    if not exposure.members.of("sourcecat"):
        log.warning("There is no source catalogue: all pixels are taken for the background, and outliers left out")
        return mask, ENOUGH * mask.size
    found = catalogue.of_exposure(exposure)
    limit = options["wfss_mmag_extract"]
    found = found if limit is None else found[~(found.magnitude >= limit)]
    if "wavelengthrange" not in refs:
        raise InputError("there is no wavelengthrange reference for it", exposure.name, "Give one under references: overrides")
    ranges = wavelength_ranges(refs["wavelengthrange"], exposure.header[options["passband"]])
    dispersion = dispersion_of(exposure.wcs, exposure.header["DISPAXIS"] == ALONG_COLUMNS)
    boxes, _ = field_boxes(exposure, dispersion, ranges, found, None)
    for box in boxes.values():
        for n in np.flatnonzero(box.on):
            rows, columns = (slice(max(int(side[0, n]), 0), max(int(side[1, n]) + 1, 0)) for side in (box.y, box.x))
            mask[rows, columns] = False
    return mask, ENOUGH * mask.size


def _quiet(sci, good):
    """Pixels that are not far above the median of their line, bool: where all of the field is full of spectra."""
    values = np.where(good, sci, np.nan)
    level = np.nanmedian(values)
    spread = 1.4826 * np.nanmedian(np.abs(values - level))
    below = values[values < level] - level  # the faint side has no sources
    spread = min(spread, float(np.sqrt(np.mean(below**2)))) if below.size else spread
    return np.abs(values - level) < 3 * spread


def _expected_variance(exposure, sky, variance, good):
    """Variances in which the photons' part is that of the sky: where noise has made a pixel faint it has made its own variance small too,
    and a mean that is weighted by that is too low.
    """
    photons = exposure.var_poisson
    if photons is None or not good.any():
        return variance
    others = np.maximum(variance - photons, 0)
    level = np.nanmedian(photons[good] / sky[good])
    expected = others + np.float32(max(level, 0)) * np.abs(sky)
    return np.where(expected > 0, expected, variance)


def scale_of(sci, sky, variance, good, rejection, axis):
    """How often the reference's sky the exposure has.

    Parameters
    ----------
    sci, sky, variance : ndarray (row, col)
    good : bool (row, col)
    rejection : Rejection
    axis : int
        DISPAXIS: the rms is that of the medians along it.

    Returns
    -------
    float
        NaN where no pixel is good.
    """
    at = np.flatnonzero(good)
    data, model, variance = (np.ravel(image)[at] for image in (sci, sky, variance))
    model = model.astype(np.float32)
    last = np.inf
    for _ in range(rejection.iterations):
        if not data.size:
            return np.nan
        residual = data - np.float32(_ratio(data, model, variance)) * model
        if rejection.stop > 0:
            rms = _rms_of_profile(residual, at, sci.shape, axis)
            if (last - rms) / last < rejection.stop:
                break
            last = rms
        low, high = np.percentile(residual, (rejection.percent, 100 - rejection.percent))
        kept = (residual >= low) & (residual <= high)
        data, model, variance, at = data[kept], model[kept], variance[kept], at[kept]
    return _ratio(data, model, variance) if data.size else np.nan


def _ratio(data, model, variance):
    below = np.sum(model * model / variance, dtype=float)
    return np.sum(data * model / variance, dtype=float) / below if below > 0 else np.nan


def _rms_of_profile(residual, at, shape, axis):
    image = np.full(shape, np.nan, np.float32)
    image.ravel()[at] = residual
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # lines without a pixel
        return float(np.sqrt(np.nanmean(np.nanmedian(image, axis=int(axis) - 1) ** 2, dtype=float)))
