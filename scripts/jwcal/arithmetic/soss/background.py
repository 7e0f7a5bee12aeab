"""The sky below slitless spectra: a template with a step in it, scaled on both sides, and what is left in each column."""

import logging
from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter

from ...files.reference_file import another
from ...kernels.outliers.median_image import median_image
from ...vocabulary import dq as bits
from ...vocabulary.errors import ConfigError, ReferenceError, Skip

log = logging.getLogger(__name__)

STEP = slice(685, 725)  # columns among which the sky's step lies
LAST = 950  # column, up to which the right side is fitted: sources are in what is beyond
SMOOTHING = 3  # pixels
PERCENTILES = (25.0, 50.0)  # of the ratios that count
UNSEEN = bits.DO_NOT_USE | bits.REFERENCE_PIXEL
MOST = 51  # integrations whose median is looked at
ROWS, LOW, OFFSET = 256, 96, 10  # of the templates, of the small subarray, and where that begins in them
WIDTH = 40  # pixels of an order, across
CLIP = 3.0  # standard deviations
BESIDE = 12  # columns on both sides of the step that tell no scale: it may lie elsewhere
FURTHEST = 8.0  # columns that the step may be away from the template's
STRIDE = 0.25  # columns between the places that are tried
SURE = 25.0  # by how much a step elsewhere has to make chi2 less
KNOWN = 0.2  # of a pixel's surroundings that have to have a value


class Sky(NamedTuple):
    """A template that was fitted."""

    residual: float  # sum of both sides' rms
    scales: tuple  # left and right of the step
    number: int  # of the template, from 1
    light: np.ndarray  # (row, col), DN/s
    moved: float = 0.0  # columns from the template's step to the exposure's


def subtract(exposure, refs, options):
    """Subtract the template of the sky that fits best, scaled on both sides of its step.

    With `soss_fit` "surroundings" the median of the integrations is compared with each template. On each side those pixels count whose
    surroundings are among the darkest, as parts of the template. A pixel's own value is not among its surroundings, so that pixels
    are not chosen by their noise. The scale is the median of their ratios to the template; the template with the least residuals of
    both sides is taken. Then the step is looked for within 8 columns of the template's.
    With "pixels" the darkest pixels of all integrations and of both sides together count, and the step is where the template has it.

    Parameters
    ----------
    exposure : Exposure
        (row, col) or (int, row, col); changed in place.
    refs : References
        bkg: SCI (template, row, col).
    options : dict
        The step's soss_fit, soss_source_percentile, and soss_bkg_percentile: two percentiles, or None.

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
    sky = FITS[options["soss_fit"]](exposure, templates, source_percentile, percentiles)
    if not np.isfinite(sky.residual):
        raise Skip("no template of the sky fits: both sides of its step need dark pixels")
    exposure.sci -= sky.light.astype(np.float32)
    log.info("Subtracted template %d of %d, times %.4g and %.4g", sky.number, len(templates), *sky.scales)
    if sky.moved:
        log.info("The sky's step is %.2f columns from the template's", sky.moved)
    return exposure


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
    """Pixels right of the step, bool (row, col)."""
    return np.arange(template.shape[1]) >= _step_column(template)[:, None]


def _step_column(template):
    """The column of the step in each row: where the smoothed template rises most."""
    return np.gradient(gaussian_filter(template, SMOOTHING), axis=1)[:, STEP].argmax(axis=1) + STEP.start


# --- by each pixel's surroundings --------------------------------------------------------------------------------------------


def _by_surroundings(exposure, templates, source_percentile, percentiles):
    """The best template by the median of a sample of the integrations: `Sky`."""
    image = _usual(exposure)
    if not np.isfinite(image).any():
        raise Skip("no pixel can be used")
    parts = np.array([*percentiles, 100.0]) * source_percentile / 100
    fits = (_compared(image, template, parts, number) for number, template in enumerate(templates, start=1))
    best = min(fits, key=lambda sky: sky.residual)
    return _with_step(image, best, templates[best.number - 1]) if np.isfinite(best.residual) else best


def _usual(exposure):
    """The median of a sample of the integrations, float32 (row, col); NaN where no pixel can be used."""
    cube = exposure.sci if exposure.sci.ndim == 3 else exposure.sci[None]
    some = np.unique(np.linspace(0, len(cube) - 1, min(MOST, len(cube))).round().astype(int))
    flags = np.broadcast_to(exposure.dq, cube.shape)[some]
    image = np.empty(cube.shape[1:], np.float32)
    median_image(np.where(flags & np.uint32(UNSEEN), np.float32(np.nan), cube[some]), image)
    image[np.isinf(image)] = np.nan
    return image


def _compared(image, template, parts, number):
    """A template, scaled; `parts`: percentiles of the pixels' surroundings, of which the first two limit what tells the scale."""
    seen = np.isfinite(image) & np.isfinite(template)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio, level = image / template, _surroundings(image, seen) / _surroundings(template, seen)
    columns, step = np.arange(template.shape[1]), _step_column(template)[:, None]
    scales, residuals = [np.nan, np.nan], [np.inf, np.inf]
    for side, within in enumerate((columns < step - BESIDE, (columns >= step + BESIDE) & (columns <= LAST))):
        usable = within & np.isfinite(ratio) & np.isfinite(level)
        if not usable.any():
            continue
        low, high, dark = np.percentile(level[usable], parts)
        scales[side] = np.median(ratio[usable & (level >= low) & (level <= high)])
        dark = usable & (level <= dark)
        residuals[side] = np.sqrt(np.mean(np.square(image[dark] - scales[side] * template[dark])))
    return Sky(sum(residuals), tuple(scales), number, template * np.where(columns < step, *scales))


def _surroundings(image, seen):
    """The weighted mean of what is about each pixel, without the pixel itself; NaN where too little of it is seen."""
    offsets = np.arange(-4 * SMOOTHING, 4 * SMOOTHING + 1)
    own = 1 / np.exp(-0.5 * (offsets / SMOOTHING) ** 2).sum() ** 2  # the filter's weight of the pixel itself

    def without_itself(plane):
        return gaussian_filter(plane, SMOOTHING, mode="constant") - own * plane

    weight = without_itself(seen.astype(float))
    total = without_itself(np.where(seen, image, 0).astype(float))
    return np.divide(total, weight, out=np.full(image.shape, np.nan), where=weight > KNOWN)


def _with_step(image, sky, template):
    """The sky with its step where the image has it, to a part of a column; where nothing tells, as the template has it."""
    window = slice(int(STEP.start - FURTHEST), int(STEP.stop + FURTHEST))
    seen = np.isfinite(image[:, window]) & np.isfinite(sky.light[:, window])
    away = np.abs(np.arange(template.shape[1]) - _step_column(template)[:, None]) > BESIDE
    left = (image - sky.light)[:, window][seen & away[:, window]]
    if left.size < 2:
        return sky
    dark = left[left <= np.median(left)]  # sources are in the brighter half
    spread = 1.4826 * np.median(np.median(left) - dark)
    if not spread > 0:
        return sky
    places = np.arange(-FURTHEST, FURTHEST + STRIDE / 2, STRIDE)
    chi2 = np.array([_chi2((image - _moved(sky.light, place))[:, window][seen] / spread) for place in places])
    best, here = int(chi2.argmin()), int(np.abs(places).argmin())
    if chi2[here] - chi2[best] < SURE:
        return sky
    if best in (0, len(places) - 1):
        log.warning("The sky's step is more than %g columns from the template's, where it is left", FURTHEST)
        return sky
    before, at, after = chi2[best - 1 : best + 2]
    place = places[best] + 0.5 * STRIDE * (before - after) / (before - 2 * at + after)
    return sky._replace(light=_moved(sky.light, place), moved=float(place))


def _chi2(pulls):
    """Sources, which are no part of the sky, count the same wherever its step is."""
    return np.minimum(np.square(pulls), CLIP**2).sum()


def _moved(light, place):
    """The sky whose step is so many columns further right, beside which it is as it was."""
    window = np.arange(int(STEP.start - FURTHEST), int(STEP.stop + FURTHEST))
    first = int(np.floor(-place))
    part = -place - first
    moved = light.copy()
    moved[:, window] = (1 - part) * light[:, window + first] + part * light[:, window + first + 1]
    return moved


# --- by the pixels themselves, as jwst ---------------------------------------------------------------------------------------


def _by_pixels(exposure, templates, source_percentile, percentiles):
    """The best template by the pixels of all integrations: `Sky`."""
    cube = exposure.sci if exposure.sci.ndim == 3 else exposure.sci[None]
    seen = np.isfinite(cube) & (exposure.dq & UNSEEN == 0)
    if not seen.any():
        raise Skip("no pixel can be used")
    dark = seen & (cube < np.percentile(cube[seen], source_percentile))
    return min(
        (_fitted(cube, dark, template, percentiles, k) for k, template in enumerate(templates, start=1)), key=lambda sky: sky.residual
    )


def _fitted(cube, dark, template, percentiles, number):
    """A template, scaled by the dark pixels."""
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
    return Sky(sum(residuals), tuple(scales), number, template * np.where(right, scales[1], scales[0]))


FITS = {"surroundings": _by_surroundings, "pixels": _by_pixels}


# --- what is left ------------------------------------------------------------------------------------------------------------


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
