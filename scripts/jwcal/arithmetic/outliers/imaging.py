"""Outliers of dithered images: each is compared with the median of all, as it looks on the image's own pixels."""

import logging

import numpy as np

from ...kernels.outliers.blot import blot
from ...kernels.outliers.thresholds import beside, beyond, reach
from ...model.exposure import Pixels
from ...vocabulary.errors import InputError, Skip
from ..resample.drizzle_images import limits, shifted, unusable, weight_map, window_of
from ..resample.inputs import Inputs, check_image
from ..resample.pixel_map import pixel_map
from .marks import KEPT, mark
from .stack import Stack, without_light

log = logging.getLogger(__name__)


def flag(members, options):
    """Flag the outliers of several images of one sky.

    Those that were taken at once are drizzled onto one grid, their pixels of little weight are left out, and the median of these
    images is interpolated at each image's pixels. What differs from it by more than noise and sampling allow is an outlier.

    Parameters
    ----------
    members : exposure.Members, or iterable of Exposure
        2-D images with a celestial WCS; changed in place. One at a time is in memory.
    options : options.Options

    Returns
    -------
    members, or with `save_intermediate_results` a list: members, the drizzled images, the median and the blotted ones

    Raises
    ------
    Skip
        There are fewer than two images.
    InputError
        A keyword or WCS is missing, or the images can't be combined.
    """
    inputs = Inputs(members)
    if len(inputs) < 2:
        raise Skip("one image can't be compared with others")
    asides = []
    if options.resample_data:
        grid = inputs.grid()
        with Stack(grid.shape, options.in_memory) as stack:
            for number, window, image in _drizzled(inputs, grid, options):
                stack.append(image, window)
                if options.save_intermediate_results:
                    asides.append(_aside(inputs.shells[number], "outlier_i2d", _whole(image, window, grid.shape), grid.wcs))
            median = stack.median()
    else:
        grid = None
        median = _plain_median(inputs, options)
    if options.save_intermediate_results:
        asides.append(_aside(inputs.shells[0], "median", median, grid.wcs if grid else inputs.shells[0].wcs))
    for exposure in inputs.each(keep=KEPT):
        if grid is None:
            found = beyond(exposure.sci, exposure.err, median, np.zeros_like(median), 0.0, options.snr[0], 0.0)
        else:
            model = blot(median, pixel_map(exposure.wcs, grid.wcs, exposure.sci.shape, options.pixmap_stepsize, options.pixmap_order))
            found = compare(exposure.sci, exposure.err, model, _level(exposure.header) or options.backg, options)
            if options.save_intermediate_results:
                asides.append(_aside(exposure.shell(), "blot", model, exposure.wcs))
        mark(exposure, found)
        log.info("%s: %d outliers", exposure.name, np.count_nonzero(found))
    return [members, *asides] if options.save_intermediate_results else members


def compare(sci, err, model, level, options):
    """Outliers of an image, in two passes: sure ones, and likely ones beside these.

    A pixel is one where |SCI - model - level| > snr ERR + scale slope + peak height. The slope is the largest difference of the model
    from one of its four neighbours: it covers errors of the interpolation. The height is how far a pixel of the model stands out above
    the nine around it, weighted like the hat that drizzle and interpolation smear a star with: it tells how much of a sharp star's core
    they took from the model. Both count beyond 1 ERR only, which noise of the median reaches. `peak` of 0 leaves height and
    that limit out.

    Parameters
    ----------
    sci, err, model : (row, col) float32
    level : float
    options : options.Options

    Returns
    -------
    (row, col) bool
    """
    passes = []
    for snr, scale, peak in zip(options.snr, options.scale, options.peak, strict=True):
        passes.append(beyond(sci, err, model, reach(model, err, scale, peak, 1.0 if any(options.peak) else 0.0), level, snr, 1.0))
    return beside(*passes)


# --- the median ------------------------------------------------------------------------------------------------------


def _drizzled(inputs, grid, options):
    """The images of each moment on the grid.

    Yields
    ------
    (number of the first input, window, (row, col) float32), NaN where there is too little weight
    """
    order = inputs.in_groups()
    image, group = None, None
    for number, exposure in zip(order, inputs.each(order), strict=True):
        check_image(exposure)
        if image is not None and inputs.groups[number] != group:
            yield image.first, image.window, image.finish(options.maskpt)
            image = None
        if image is None:
            image, group = _Moment(grid, options, number), inputs.groups[number]
        image.add(exposure)
        del exposure
    yield image.first, image.window, image.finish(options.maskpt)


class _Moment:
    """What the detectors saw at one moment, on the part of the grid that they cover."""

    def __init__(self, grid, options, first):
        self.grid, self.options, self.first = grid, options, first
        self.window = (slice(0, 0), slice(0, 0))
        self._image, self._weight = (np.empty((0, 0), np.float32) for _ in range(2))

    def add(self, exposure):
        from drizzle.resample import Drizzle

        pixels, options, header = exposure.pixels[0], self.options, exposure.header
        places = pixel_map(exposure.wcs, self.grid.wcs, pixels.shape, options.pixmap_stepsize, options.pixmap_order)
        self._grow(window_of(places, self.grid.shape))
        if not self._image.size:
            return
        weight = weight_map(pixels, unusable(pixels, options.bad_bits), options.weight_type, _time(header, options))
        box = None if exposure.wcs.bounding_box is None else exposure.wcs.bounding_box.bounding_box(order="F")
        level = _level(header)
        sci = pixels.sci - np.float32(level) if level else pixels.sci
        drizzle = Drizzle(kernel=options.kernel, fillval="INDEF", out_img=self._image, out_wht=self._weight, exptime=1.0, disable_ctx=True)
        drizzle.add_image(
            *(sci, 1.0, shifted(places, self.window)),
            **{"weight_map": weight, "pixfrac": options.pixfrac, "in_units": "cps", **limits(pixels.shape, box)},
        )
        self._image, self._weight = drizzle.out_img, drizzle.out_wht

    def _grow(self, window):
        """Make room for a further window."""
        old = self.window
        if self._image.size:
            window = tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(old, window, strict=True))
        if window == old:
            return
        inside = tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(old, window, strict=True))
        shape = tuple(max(0, part.stop - part.start) for part in window)
        image, weight = np.full(shape, np.nan, np.float32), np.zeros(shape, np.float32)
        if self._image.size:
            image[inside], weight[inside] = self._image, self._weight
        self.window, self._image, self._weight = window, image, weight

    def finish(self, maskpt):
        return without_light(self._image, self._weight, maskpt)


def _plain_median(inputs, options):
    """The median of the images as they are."""
    shape = None
    with Stack((0, 0), options.in_memory) as stack:
        for exposure in inputs.each():
            check_image(exposure)
            pixels = exposure.pixels[0]
            shape = shape or pixels.shape
            if pixels.shape != shape:
                raise InputError(
                    f"{pixels.shape[1]} x {pixels.shape[0]} pixels, others have {shape[1]} x {shape[0]}: there is no median of them",
                    *(exposure.name, "Set resample_data of outlier_detection to true"),
                )
            stack.shape = shape
            weight = weight_map(pixels, unusable(pixels, options.bad_bits), options.weight_type, _time(exposure.header, options))
            stack.append(without_light(pixels.sci.copy(), weight, options.maskpt), (slice(0, shape[0]), slice(0, shape[1])))
        return stack.median()


def _time(header, options):
    return 1.0 if options.weight_type != "exptime" else header.get("TMEASURE") or header["EFFEXPTM"]


def _level(header):
    """The sky's level that skymatch found and did not subtract."""
    return 0.0 if header.get("BKGSUB", False) else header.get("BKGLEVEL", 0.0)


# --- what is shown ---------------------------------------------------------------------------------------------------


def _aside(shell, suffix, sci, wcs):
    shown = shell.derive([Pixels(sci=sci, wcs=wcs)], suffix)
    shown.tables = {}
    return shown


def _whole(image, window, shape):
    out = np.full(shape, np.nan, np.float32)
    out[window] = image
    return out
