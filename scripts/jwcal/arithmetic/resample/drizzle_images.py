"""Images of one sky, drizzled onto one grid (Fruchter & Hook 2002, PASP 114, 144; Casertano et al. 2000, AJ 120, 2747)."""

import numpy as np

from ...kernels.images.coadd_variance import add_variance, error_of_sum, variance_of_mean
from ...model.exposure import Pixels
from ...vocabulary import dq as dqbits
from ...vocabulary.errors import ConfigError

# The read noise is the first: its drizzled values are the weights of all three.
VARIANCES = ("var_rnoise", "var_flat", "var_poisson")
UNUSABLE = dqbits.DO_NOT_USE | dqbits.NON_SCIENCE
CONTEXT_BITS = 32  # images a plane of the context


def unusable(pixels, bits=UNUSABLE):
    """Pixels that have one of these flags (DO_NOT_USE or NON_SCIENCE), or are NaN in any plane: bool (row, col)."""
    bad = np.isnan(pixels.sci)
    for name in ("err", *VARIANCES):
        plane = getattr(pixels, name)
        if plane is not None and plane.shape == bad.shape:
            bad |= np.isnan(plane)
    if pixels.dq is not None:
        bad |= (pixels.dq & np.uint32(bits)) != 0
    return bad


def fill_value(text, step):
    """The parameter fillval as the drizzle takes it.

    Raises
    ------
    ConfigError
        It is neither a number nor a word for none; names the step.
    """
    if text.strip().upper() in ("NAN", "INDEF", "NONE", ""):
        return "NAN"
    try:
        return str(float(text))
    except ValueError:
        raise ConfigError(f"fillval of {step} has to be a number or NAN, it is {text!r}") from None


def window_of(pixel_map, shape, ratio=1.0):
    """The part of an image that another one can fall on.

    Parameters
    ----------
    pixel_map : (row, col, 2) float64
    shape : (int, int)
        Of the image.
    ratio : float
        Side of its pixels in units of the other's.

    Returns
    -------
    (slice, slice)
        Rows and columns; empty where it falls beside the image.
    """
    margin = 2 + int(np.ceil(4.0 / ratio))  # a lanczos drop reaches three pixels to each side
    found = []
    for axis, size in ((1, shape[0]), (0, shape[1])):
        low, high = np.nanmin(pixel_map[..., axis], initial=np.inf), np.nanmax(pixel_map[..., axis], initial=-np.inf)
        start = int(np.clip(low - margin, 0, size))
        found.append(slice(start, int(np.clip(high + margin + 1, start, size))))
    return tuple(found)


def shifted(pixel_map, window):
    """The same map, counted from the first pixel of a window."""
    return pixel_map - np.array([window[1].start, window[0].start], float)


def area_factor(kernel, pixfrac, ratio):
    """How much larger the noise of a large area is, per pixel, than the scatter of its pixels: drizzling spreads noise over neighbours.

    Casertano et al. 2000, equation A19, for a square drop at random places.

    Parameters
    ----------
    kernel : str
    pixfrac, ratio : float
        Side of the drop, and of a pixel of the result, in pixels of the images.

    Returns
    -------
    float, or None for kernels that have no such formula
    """
    if kernel == "point" or (pixfrac == 0 and kernel in ("square", "turbo")):
        return 1.0
    if kernel not in ("square", "turbo"):
        return None
    drop = pixfrac / ratio
    return drop / (1.0 - 1.0 / (3.0 * drop)) if drop > 1 else 1.0 / (1.0 - drop / 3.0)


def weight_map(pixels, bad, weight_type, time=1.0, box=0):
    """Weight of every pixel of an image.

    Parameters
    ----------
    pixels : Pixels
    bad : (row, col) bool
        Pixels of weight 0.
    weight_type : {"ivm", "exptime", None}
        The inverse of the read noise's variance (1 where there is no such plane), the time, or 1.
    time : float
        Seconds.
    box : int
        Take the median of the variances in boxes of so many pixels, interpolated between them; 0: each pixel's own.

    Returns
    -------
    (row, col) float32
    """
    if weight_type == "ivm" and pixels.var_rnoise is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            weight = np.reciprocal(smoothed(pixels.var_rnoise, bad, box) if box else pixels.var_rnoise, dtype=np.float32)
        weight[~np.isfinite(weight)] = 0
    else:
        weight = np.full(pixels.sci.shape, time if weight_type == "exptime" else 1.0, np.float32)
    weight[bad] = 0
    return weight


def smoothed(variance, bad, box):
    """Medians of a variance in boxes, interpolated between their centres.

    Parameters
    ----------
    variance : (row, col) float32
        Values that are not positive or not finite do not count.
    bad : (row, col) bool
        These neither.
    box : int
        Side of a box, pixels.

    Returns
    -------
    (row, col) float32
        NaN if nothing counts.
    """
    from scipy.ndimage import map_coordinates

    rows, columns = variance.shape
    down, across = -(-rows // box), -(-columns // box)
    good = ~bad & (variance > 0) & np.isfinite(variance)
    if not good.any():
        return np.full_like(variance, np.nan)
    boxes = np.full((down * box, across * box), np.nan, np.float32)
    boxes[:rows, :columns] = np.where(good, variance, np.nan)
    boxes = np.sort(boxes.reshape(down, box, across, box).swapaxes(1, 2).reshape(down, across, box * box), axis=-1)  # NaN come last
    count = np.isfinite(boxes).sum(axis=-1)[..., None]
    low, high = (np.take_along_axis(boxes, np.maximum(place, 0), axis=-1)[..., 0] for place in ((count - 1) // 2, count // 2))
    medians = np.where(count[..., 0] > 0, 0.5 * (low + high), np.median(variance[good]))
    places = [(np.arange(size) + 0.5) / box - 0.5 for size in (rows, columns)]
    return map_coordinates(medians, np.meshgrid(*places, indexing="ij"), order=1, mode="nearest").astype(np.float32)


class Mosaic:
    """One resampled image in the making: `add` the images in turn, then `finish`.

    Parameters
    ----------
    shape : (int, int)
    count : int
        Number of images to come.
    kernel, pixfrac, fillval
        As in `drizzle.resample.Drizzle`.
    pixel_scale_ratio : float
        Side of a pixel of this image in units of the inputs'.
    weight_type, weight_box
        As in `weight_map`.
    context : bool
        Keep which images a pixel was made from.
    errors : {"of pixels", "of areas", "drizzled", None}
        The variance of each pixel; one whose sum is the variance of a large area's sum; ERR drizzled as SCI is; none.
    flags : bool
        Keep the OR of the inputs' data quality.
    area_ratio : float, optional
        Area of a pixel of this image in units of the inputs', where that is not the square of the sides' ratio.
    """

    def __init__(
        self, shape, count, *, kernel, pixfrac, fillval, pixel_scale_ratio, weight_type, weight_box, context, errors, flags, area_ratio=None
    ):
        self.shape, self.ratio, self.weight_type, self._box = shape, pixel_scale_ratio, weight_type, weight_box
        self._area = pixel_scale_ratio**2 if area_ratio is None else area_ratio
        self._kernel, self._pixfrac, self._errors, self._flags = kernel, pixfrac, errors, flags
        squares = {"out_img2": [None] * len(VARIANCES), "fillval2": "NaN"} if errors == "of pixels" else {}
        self._image = self._drizzle(fillval=fillval, disable_ctx=not context, max_ctx_id=count - 1, **squares)
        self._error = self._drizzle(fillval=fillval) if errors == "drizzled" else None
        self._known = set()  # variances that some image has
        self._unit = None  # of the weights: the squares of large ones are beyond float32, and so are those of faint light's (MJy)
        self._sums = {}
        if errors == "of areas":
            self._sums = {name: (np.full(shape, np.nan, np.float32), np.zeros(shape, np.float32)) for name in VARIANCES}

    def _drizzle(self, shape=None, fillval="NaN", disable_ctx=True, **options):
        from drizzle.resample import Drizzle

        return Drizzle(kernel=self._kernel, out_shape=shape or self.shape, fillval=fillval, disable_ctx=disable_ctx, **options)

    def add(self, pixels, pixel_map, bounding_box=None, time=1.0, background=0.0, scale=1.0):
        """Drizzle one image.

        Parameters
        ----------
        pixels : Pixels
            Left as they are.
        pixel_map : (row, col, 2) float64
            Where its pixels fall.
        bounding_box : ((float, float), (float, float)), optional
            x and y between which they are used.
        time : float
            Seconds; a weight for `weight_type="exptime"`.
        background : float
            Taken from the image first.
        scale : float
            Then multiplied with: what a pixel's unit becomes in this image.
        """
        bad = unusable(pixels)
        weight = weight_map(pixels, bad, self.weight_type, time, self._box)
        if self._unit is None:
            self._unit = _power_of_two(weight)
        if self._unit is not None:
            weight /= self._unit
        common = {"pixmap": pixel_map, "weight_map": weight, "pixfrac": self._pixfrac, "pixel_scale_ratio": self.ratio}
        common |= {"exptime": 1.0, "in_units": "cps", "iscale": scale, **limits(pixels.sci.shape, bounding_box)}
        flags = (pixels.dq | np.where(bad, np.uint32(dqbits.DO_NOT_USE), np.uint32(0))) if self._flags else None
        squares = [_variance(pixels, name) for name in VARIANCES] if self._errors == "of pixels" else None
        self._known |= {name for name in VARIANCES if _variance(pixels, name) is not None}
        sci = pixels.sci - np.float32(background) if background else pixels.sci
        self._image.add_image(sci, data2=squares, dq=flags, **common)
        if self._error is not None:
            self._error.add_image(pixels.err, **common)
        if self._sums:
            self._add_variances(pixels, common, time)

    def _add_variances(self, pixels, common, time):
        """Add to the sums of w^2 v and w, with the drizzled read noise's inverse as w; one variance in memory at a time."""
        window = window_of(common["pixmap"], self.shape, self.ratio)
        shape = tuple(part.stop - part.start for part in window)
        if min(shape) < 1:
            return
        common = {**common, "pixmap": shifted(common["pixmap"], window)}
        constant = float(time) if self.weight_type == "exptime" else 1.0
        noise = np.empty((0, 0), np.float32)
        for name in VARIANCES:
            variance = _variance(pixels, name)
            if variance is None:
                continue
            drizzled = self._drizzle(shape)
            with np.errstate(invalid="ignore"):
                drizzled.add_image(np.sqrt(variance), **common)
            if name == "var_rnoise" and self.weight_type == "ivm":
                noise = drizzled.out_img
            add_variance(drizzled.out_img, noise, constant, *(plane[window] for plane in self._sums[name]))

    def finish(self, report_variances=True):
        """The image, once all are added.

        Returns
        -------
        Pixels
            sci and extra WHT; as asked for: err, dq, the variances, extra CON.
        """
        weight = self._image.out_wht
        if self._unit is not None:
            weight *= self._unit
        pixels = Pixels(sci=self._image.out_img, extra={"WHT": weight})
        if self._image.out_ctx is not None:
            pixels.extra = {"CON": self._image.out_ctx, **pixels.extra}
        if self._flags:
            pixels.dq = self._image.out_dq
        if self._error is not None:
            pixels.err = self._error.out_img / np.float32(np.sqrt(self._area))
        for total, weights in self._sums.values():
            variance_of_mean(total, weights, 1 / self._area)
        variances = [total for total, _ in self._sums.values()] if self._sums else self._image.out_img2
        if variances:
            for name, variance in zip(VARIANCES, variances, strict=True):
                if name not in self._known:
                    variance[:] = np.nan  # the drizzle made it 0
            pixels.err = error_of_sum(*variances)
            if report_variances:
                for name, variance in zip(VARIANCES, variances, strict=True):
                    setattr(pixels, name, variance)
        return pixels


def _power_of_two(weight):
    """What weights are to be divided by to be of order one; of a power of two no digit is lost: float32."""
    some = weight[weight > 0]
    return np.float32(2.0 ** np.round(np.log2(np.median(some)))) if some.size else None


def _variance(pixels, name):
    """One of the variances, where there is one for each pixel."""
    variance = getattr(pixels, name)
    return None if variance is None or variance.shape != pixels.sci.shape else variance


def limits(shape, box):
    """First and last column and row to use."""
    if box is None:
        return {"xmin": 0, "xmax": shape[1] - 1, "ymin": 0, "ymax": shape[0] - 1}
    (x1, x2), (y1, y2) = box
    xmin, ymin = max(0, int(x1 + 0.5)), max(0, int(y1 + 0.5))
    xmax, ymax = max(xmin, min(shape[1] - 1, int(x2 + 0.5))), max(ymin, min(shape[0] - 1, int(y2 + 0.5)))
    return {"xmin": xmin, "xmax": xmax, "ymin": ymin, "ymax": ymax}
