"""The sky below slitless spectra: a template with a step in it, scaled on both sides, and what is left in each column."""

import logging

import numpy as np
from scipy.ndimage import gaussian_filter

from ...files.reference_file import another
from ...vocabulary import dq as bits
from ...vocabulary.errors import ConfigError, ReferenceError, Skip

log = logging.getLogger(__name__)

STEP = slice(685, 725)  # columns among which the sky's step lies
LAST = 950  # column, up to which the right side is fitted: sources are in what is beyond
SMOOTHING = 3  # pixels
PERCENTILES = (25.0, 50.0)  # of the ratios that count
UNSEEN = bits.DO_NOT_USE | bits.REFERENCE_PIXEL
ROWS, LOW, OFFSET = 256, 96, 10  # of the templates, of the small subarray, and where that begins in them
WIDTH = 40  # pixels of an order, across
CLIP = 3.0  # standard deviations


def subtract(exposure, refs, options):
    """Subtract the template of the sky that fits best, scaled on both sides of its step.

    Dark pixels are compared: those below a percentile of all. The scale of a side is the median of their ratios to the template, of
    those between two percentiles; the template with the least residuals of both sides is taken.

    Parameters
    ----------
    exposure : Exposure
        (row, col) or (int, row, col); changed in place.
    refs : References
        bkg: SCI (template, row, col).
    options : dict
        The step's soss_source_percentile, and soss_bkg_percentile: two percentiles, or None.

    Returns
    -------
    Exposure

    Raises
    ------
    Skip
        There is no reference, or no template fits.
    ReferenceError
        The templates hold no number.
    ConfigError
        The percentiles are none.
    """
    source_percentile, percentiles = options["soss_source_percentile"], options["soss_bkg_percentile"] or PERCENTILES
    if len(percentiles) != 2 or not 0 <= percentiles[0] < percentiles[1] <= 100:
        what = f"soss_bkg_percentile of bkg_subtract is {percentiles}, two percentiles were expected, the lower one first"
        raise ConfigError(what, do="Correct it")
    if "bkg" not in refs:
        raise Skip("its bkg reference is N/A")
    templates = _templates(refs["bkg"], exposure.sci.shape[-2:])
    cube = exposure.sci if exposure.sci.ndim == 3 else exposure.sci[None]
    seen = np.isfinite(cube) & (exposure.dq & UNSEEN == 0)
    if not seen.any():
        raise Skip("no pixel can be used")
    dark = seen & (cube < np.percentile(cube[seen], source_percentile))
    best = min((_fitted(cube, dark, template, percentiles) for template in templates), key=lambda fit: fit[0])
    residual, scales, template, right = best
    if not np.isfinite(residual):
        raise Skip("no template of the sky fits: both sides of its step need dark pixels")
    cube -= (template * np.where(right, scales[1], scales[0])).astype(np.float32)
    log.info("Subtracted template %d of %d, times %.4g and %.4g", _number(templates, template), len(templates), *scales)
    return exposure


def _number(templates, one):
    return next(k for k, template in enumerate(templates, start=1) if template is one)


def _templates(reference, shape):
    templates = np.asarray(reference.uncut("SCI"), np.float32)
    templates = templates[None] if templates.ndim == 2 else templates
    if templates.shape[-2:] == (ROWS, shape[1]) and shape[0] == LOW:
        templates = templates[:, OFFSET : OFFSET + LOW]
    if templates.shape[-2:] != shape:
        raise Skip(f"the bkg reference has templates of {templates.shape[-2:]} pixels, the image has {shape}")
    if not np.isfinite(templates).any():
        raise ReferenceError("the bkg reference has no finite value", reference.path, another("bkg"))
    return list(templates)


def step_of(template):
    """Pixels right of the step, bool (row, col): in each row it is where the smoothed template rises most."""
    rise = np.gradient(gaussian_filter(template, SMOOTHING), axis=1)[:, STEP].argmax(axis=1) + STEP.start
    return np.arange(template.shape[1]) >= rise[:, None]


def _fitted(cube, dark, template, percentiles):
    """Sum of both sides' rms residuals, their scales, the template, and which pixels are right of the step."""
    right = step_of(template)
    fitted = right & (np.arange(template.shape[1]) <= LAST)
    scales, residuals = [np.nan, np.nan], [np.inf, np.inf]
    for side, mask in enumerate((~right, fitted)):
        used = dark & mask
        values, sky = cube[used], np.broadcast_to(template, cube.shape)[used]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = values / sky
        finite = np.isfinite(ratio)
        if not finite.any():
            continue
        low, high = np.percentile(ratio[finite], percentiles)
        counts = finite & (ratio > low) & (ratio < high)
        if counts.any():
            scales[side] = np.median(ratio[counts])
            residuals[side] = np.sqrt(np.mean(np.square(values[finite] - sky[finite] * scales[side])))
    return sum(residuals), scales, template, right


def column_background(image, bad):
    """The mean of each column's dark pixels: without the brightest, and without outliers.

    Parameters
    ----------
    image : (row, col)
    bad : bool (row, col)

    Returns
    -------
    level : float64 (col,)
        0 where there are none.
    count : int (col,)
    """
    rows = len(image)
    orders = 1 if rows == LOW else 2
    bright = np.percentile(image[np.isfinite(image)], 100 * (1 - orders * WIDTH / rows))
    with np.errstate(invalid="ignore"):
        used = ~bad & np.isfinite(image) & (image <= bright)
    while True:
        count = used.sum(axis=0)
        values = np.where(used, image, 0).astype(float)
        level = values.sum(axis=0) / np.maximum(count, 1)
        spread = np.sqrt((np.where(used, image - level, 0).astype(float) ** 2).sum(axis=0) / np.maximum(count, 1))
        keep = used & (np.abs(np.where(used, image, 0) - level) <= CLIP * spread)
        if (keep == used).all():
            return np.where(count > 0, level, 0.0), count
        used = keep
