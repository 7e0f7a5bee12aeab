"""Outliers of the spectra of a slit: each exposure is compared with the median of all, as it looks on the exposure's own pixels."""

import logging

import numpy as np

from ...kernels.outliers.blot import blot
from ...kernels.outliers.neighbours import neighbours_median
from ...kernels.outliers.thresholds import beside, beyond, reach
from ...model.exposure import Pixels
from ...vocabulary.errors import InputError, Skip
from ..resample.drizzle_images import unusable, weight_map
from ..resample.spectral_drizzle import add_slit, level, slit_mosaic
from ..resample.spectral_grid import places
from ..resample.spectral_inputs import SlitInputs, check_slits, dispersion
from .marks import KEPT, mark
from .stack import Stack, without_light

log = logging.getLogger(__name__)

FEW = 2  # values whose median can't tell which of them is the outlier
REACH = 4  # neighbours on each side along the spectrum


def flag(members, options):
    """Flag the outliers of several exposures of a slit, or of several slits.

    The exposures of each moment are drizzled onto the grid of all, pixels of little weight are left out, and the medians of these images
    and of their errors are interpolated at each exposure's pixels. What differs from the median by more than these errors and the
    sampling allow is an outlier.

    With `options.by_wavelength` a weight is little beside those of its own wavelength: calibration makes the noise, and with it the
    weights, vary along the spectrum. And where only two exposures see a place, the one that is more like its neighbours along the
    spectrum stands for the median, and an outlier has to be unlike its own: half way between the two, both would be outliers, or none.
    Where there are more a difference from the median that goes on along the spectrum is no outlier: on the grid of all a trace is sampled
    otherwise, so that the core of a sharp one differs at all wavelengths.

    Parameters
    ----------
    members : exposure.Members, or iterable of Exposure
        With a WCS to sky and wavelength; changed in place. One at a time is in memory.
    options : options.Options

    Returns
    -------
    members, or with `save_intermediate_results` a list: members, the drizzled images, the median and the blotted ones

    Raises
    ------
    Skip
        There are fewer than two exposures.
    InputError
        A keyword or WCS is missing, or the exposures can't be combined.
    """
    inputs = SlitInputs(members)
    if len(inputs) < 2:
        raise Skip("one exposure can't be compared with others")
    if options.resample_data:
        inputs.make_grids()
        models, asides = _medians(inputs, options)
    else:
        models, asides = _plain_medians(inputs, options), []
    of_slit = {place: number for number, source in enumerate(inputs.sources) for place in source.places}
    for number, exposure in enumerate(inputs.each(keep=KEPT)):
        blots, total = [], 0
        for count, slit in enumerate(exposure.slits()):
            which = of_slit[number, count]
            found, shown = _compare(slit, inputs.sources[which], models[which], options)
            mark(slit, found)
            total += np.count_nonzero(found)
            blots.append(shown)
        log.info("%s: %d outliers", exposure.name, total)
        if options.save_intermediate_results and options.resample_data:
            asides.append(_aside(inputs.shells[number], "blot", blots))
    return [members, *asides] if options.save_intermediate_results else members


# --- the median ------------------------------------------------------------------------------------------------------


def _medians(inputs, options):
    """Of each source (median, median error, how many images have a value), and what is saved."""
    drizzle = {"kernel": options.kernel, "pixfrac": options.pixfrac, "fillval": "NAN", "weight_type": options.weight_type}
    drizzle |= {"weight_box": 0, "context": False, "errors": "drizzled", "flags": False}
    sources, moments = inputs.sources, dict.fromkeys(inputs.groups)
    stacks = [[Stack(source.grid.shape, options.in_memory) for _ in range(2)] for source in sources]
    counts = [np.zeros(source.grid.shape, np.int16) for source in sources]
    likelies = [_Likelier(source.grid.shape, dispersion(source.shells[0]) == 2) for source in sources]
    asides = []
    for moment in moments:
        among = [number for number, its in enumerate(inputs.groups) if its == moment]
        mosaics = [slit_mosaic(source.grid, len(among), **drizzle) for source in sources]
        for number, exposure in zip(among, inputs.each(among), strict=True):
            check_slits(exposure)
            for slit, lent in enumerate(exposure.slits()):
                which = next(k for k, source in enumerate(sources) if (number, slit) in source.places)
                add_slit(mosaics[which], lent, sources[which].grid, options.bad_bits)
        drizzled = []
        for source, mosaic, (values, errors), count, likelier in zip(sources, mosaics, stacks, counts, likelies, strict=True):
            pixels = mosaic.finish()
            drizzled.append(Pixels(sci=pixels.sci.copy(), err=pixels.err.copy(), extra=pixels.extra, wcs=source.grid.wcs))
            everywhere = tuple(slice(0, size) for size in source.grid.shape)
            weight = pixels.extra["WHT"]
            if options.by_wavelength:
                weight = _beside_its_wavelength(weight, likelier.vertical)
            for stack, image in ((values, pixels.sci), (errors, pixels.err)):
                stack.append(without_light(image, weight, options.maskpt), everywhere)
            count += np.isfinite(pixels.sci)
            if options.by_wavelength:
                likelier.add(pixels.sci, pixels.err)
        if options.save_intermediate_results:
            asides.append(_aside(inputs.shells[among[0]], "outlier_s2d", drizzled))
    models = []
    for pair, count, likelier in zip(stacks, counts, likelies, strict=True):
        with pair[0] as values, pair[1] as errors:
            value, error = values.median(), errors.median()
        if options.by_wavelength:
            few = count == FEW
            value[few], error[few] = likelier.value[few], likelier.error[few]
        models.append((value, error, count))
    if options.save_intermediate_results:
        shown = [Pixels(sci=sci, err=err, wcs=source.grid.wcs) for (sci, err, _), source in zip(models, sources, strict=True)]
        asides.append(_aside(inputs.shells[0], "median", shown))
    return models, asides


class _Likelier:
    """Of several images at each place the value that is most like its neighbours along the spectrum, in units of its error."""

    def __init__(self, shape, vertical):
        self.vertical = vertical
        self.value, self.error = (np.full(shape, np.nan, np.float32) for _ in range(2))
        self._least = np.full(shape, np.inf, np.float32)

    def add(self, image, error):
        with np.errstate(invalid="ignore", divide="ignore"):
            unlike = np.abs(image - neighbours_median(image, REACH, self.vertical)) / error
        unlike[np.isnan(unlike) & np.isfinite(image)] = np.finfo(np.float32).max  # without neighbours or error
        better = unlike < self._least
        self.value[better], self.error[better], self._least[better] = image[better], error[better], unlike[better]


def _beside_its_wavelength(weight, vertical):
    """Weights in units of the mean of those of the same wavelength that are not 0."""
    axis = 1 if vertical else 0
    some = np.maximum((weight > 0).sum(axis=axis, keepdims=True), 1)
    mean = weight.sum(axis=axis, keepdims=True, dtype=float) / some
    return (weight / np.where(mean > 0, mean, 1)).astype(np.float32)


def _plain_medians(inputs, options):
    """The same of the images as they are."""
    models = []
    for source in inputs.sources:
        stacks, count, shape = [Stack((0, 0), options.in_memory) for _ in range(2)], 0, None
        for number, slit in source.places:
            exposure = next(iter(inputs.each([number])))
            check_slits(exposure)
            lent = list(exposure.slits())[slit]
            shape = shape or lent.sci.shape
            if lent.sci.shape != shape:
                raise InputError(
                    f"{lent.sci.shape[1]} x {lent.sci.shape[0]} pixels, others have {shape[1]} x {shape[0]}: there is no median of them",
                    *(exposure.name, "Set resample_data of outlier_detection to true"),
                )
            header = lent.header
            time = 1.0 if options.weight_type != "exptime" else header.get("TMEASURE") or header["EFFEXPTM"]
            weight = weight_map(lent.pixels[0], unusable(lent.pixels[0], options.bad_bits), options.weight_type, time)
            for stack, image in zip(stacks, (lent.sci, lent.err), strict=True):
                stack.shape = shape
                stack.append(without_light(image.copy(), weight, options.maskpt), tuple(slice(0, size) for size in shape))
            count = count + np.isfinite(lent.sci)
        with stacks[0] as values, stacks[1] as errors:
            models.append((values.median(), errors.median(), count))
    return models


# --- the comparison --------------------------------------------------------------------------------------------------


def _compare(slit, source, model, options):
    """Outliers of a slit, and the median as it looks there."""
    median, error, count = model
    sci = slit.sci
    if not options.resample_data:
        found = beyond(sci, error, median, np.zeros_like(median), 0.0, options.snr[0], 0.0)
        few, shown = count <= FEW, None
    else:
        window, placed = places(slit.wcs, source.grid.wcs, sci.shape)
        part = np.ascontiguousarray(sci[window])
        values, errors = blot(median, placed), blot(error, placed)
        background = level(slit.header) or options.backg
        limits = [reach(values, errors, scale, 0.0, 0.0) for scale in options.scale]

        def differs(image):
            return beside(
                *(beyond(image, errors, values, limit, background, snr, 1.0) for snr, limit in zip(options.snr, limits, strict=True))
            )

        found, few, shown = np.zeros(sci.shape, bool), np.zeros(sci.shape, bool), np.full(sci.shape, np.nan, np.float32)
        found[window], few[window] = differs(part), _at(count, placed) <= FEW
        if options.by_wavelength:
            systematic = neighbours_median(part - values, REACH, dispersion(slit) == 2)
            found[window] &= few[window] | differs(part - np.nan_to_num(systematic))
        shown[window] = values
    if options.by_wavelength:
        alike = neighbours_median(np.ascontiguousarray(sci), REACH, dispersion(slit) == 2)
        with np.errstate(invalid="ignore"):
            found &= ~few | ~(np.abs(sci - alike) <= options.snr[1] * slit.err)
    return found, Pixels(sci=shown, wcs=slit.wcs)


def _at(image, placed):
    """An image at the nearest pixels; 0 outside it."""
    near = np.rint(np.nan_to_num(placed, nan=-9)).astype(int)
    x, y = near[..., 0], near[..., 1]
    inside = (x >= 0) & (y >= 0) & (x < image.shape[1]) & (y < image.shape[0])
    return np.where(inside, image[np.where(inside, y, 0), np.where(inside, x, 0)], 0)


def _aside(shell, suffix, pixels):
    shown = shell.derive(pixels, suffix)
    shown.tables = {}
    return shown
