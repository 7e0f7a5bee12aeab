"""Images of one sky, drizzled onto one grid (Fruchter & Hook 2002, PASP 114, 144; Casertano et al. 2000, AJ 120, 2747)."""

import numpy as np

from ...kernels.images.coadd_variance import add_variance, error_of_sum, variance_of_mean
from ...model.exposure import Pixels
from ...vocabulary import dq as dqbits

# The read noise is the first: its drizzled values are the weights of all three.
VARIANCES = ("var_rnoise", "var_flat", "var_poisson")
UNUSABLE = dqbits.DO_NOT_USE | dqbits.NON_SCIENCE
CONTEXT_BITS = 32  # images a plane of the context


def unusable(pixels):
    """Pixels that are flagged DO_NOT_USE or NON_SCIENCE, or NaN in any plane: bool (row, col)."""
    bad = np.isnan(pixels.sci)
    for name in ("err", *VARIANCES):
        plane = getattr(pixels, name)
        if plane is not None and plane.shape == bad.shape:
            bad |= np.isnan(plane)
    if pixels.dq is not None:
        bad |= (pixels.dq & np.uint32(UNUSABLE)) != 0
    return bad


def weight_map(pixels, bad, weight_type, time=1.0):
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

    Returns
    -------
    (row, col) float32
    """
    if weight_type == "ivm" and pixels.var_rnoise is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            weight = np.reciprocal(pixels.var_rnoise, dtype=np.float32)
        weight[~np.isfinite(weight)] = 0
    else:
        weight = np.full(pixels.sci.shape, time if weight_type == "exptime" else 1.0, np.float32)
    weight[bad] = 0
    return weight


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
    weight_type : {"ivm", "exptime", None}
        Decides the weights of the variances too.
    context : bool
        Keep which images a pixel was made from.
    errors : {"from variances", "drizzled", None}
    flags : bool
        Keep the OR of the inputs' data quality.
    """

    def __init__(self, shape, count, *, kernel, pixfrac, fillval, pixel_scale_ratio, weight_type, context, errors, flags):
        self.shape, self.ratio, self.weight_type = shape, pixel_scale_ratio, weight_type
        self._kernel, self._pixfrac, self._errors, self._flags = kernel, pixfrac, errors, flags
        self._image = self._drizzle(fillval=fillval, disable_ctx=not context, max_ctx_id=count - 1)
        self._error = self._drizzle(fillval=fillval) if errors == "drizzled" else None
        self._sums = {}
        if errors == "from variances":
            self._sums = {name: (np.full(shape, np.nan, np.float32), np.zeros(shape, np.float32)) for name in VARIANCES}

    def _drizzle(self, fillval="NaN", disable_ctx=True, **options):
        from drizzle.resample import Drizzle

        return Drizzle(kernel=self._kernel, out_shape=self.shape, fillval=fillval, disable_ctx=disable_ctx, **options)

    def add(self, pixels, pixel_map, bounding_box=None, time=1.0, background=0.0):
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
        """
        bad = unusable(pixels)
        weight = weight_map(pixels, bad, self.weight_type, time)
        common = {"pixmap": pixel_map, "weight_map": weight, "pixfrac": self._pixfrac, "pixel_scale_ratio": self.ratio}
        common |= {"exptime": 1.0, "in_units": "cps", **_limits(pixels.sci.shape, bounding_box)}
        flags = (pixels.dq | np.where(bad, np.uint32(dqbits.DO_NOT_USE), np.uint32(0))) if self._flags else None
        self._image.add_image(pixels.sci - np.float32(background) if background else pixels.sci, dq=flags, **common)
        if self._error is not None:
            self._error.add_image(pixels.err, **common)
        if self._sums:
            self._add_variances(pixels, common, time)

    def _add_variances(self, pixels, common, time):
        """Add to the sums of w^2 v and w, with the drizzled read noise's inverse as w; one variance in memory at a time."""
        constant = float(time) if self.weight_type == "exptime" else 1.0
        noise = np.empty((0, 0), np.float32)
        for name in VARIANCES:
            variance = getattr(pixels, name)
            if variance is None or variance.shape != pixels.sci.shape:
                continue
            drizzled = self._drizzle()
            with np.errstate(invalid="ignore"):
                drizzled.add_image(np.sqrt(variance), **common)
            if name == "var_rnoise" and self.weight_type == "ivm":
                noise = drizzled.out_img
            add_variance(drizzled.out_img, noise, constant, *self._sums[name])

    def finish(self, report_variances=True):
        """The image, once all are added.

        Returns
        -------
        Pixels
            sci and extra WHT; as asked for: err, dq, the variances, extra CON.
        """
        pixels = Pixels(sci=self._image.out_img, extra={"WHT": self._image.out_wht})
        if self._image.out_ctx is not None:
            pixels.extra = {"CON": self._image.out_ctx, **pixels.extra}
        if self._flags:
            pixels.dq = self._image.out_dq
        if self._error is not None:
            pixels.err = self._error.out_img / np.float32(self.ratio)
        if self._sums:
            for total, weights in self._sums.values():
                variance_of_mean(total, weights, self.ratio**-2)
            pixels.err = error_of_sum(*(self._sums[name][0] for name in VARIANCES))
            if report_variances:
                for name, (total, _) in self._sums.items():
                    setattr(pixels, name, total)
        return pixels


def _limits(shape, box):
    """First and last column and row to use."""
    if box is None:
        return {"xmin": 0, "xmax": shape[1] - 1, "ymin": 0, "ymax": shape[0] - 1}
    (x1, x2), (y1, y2) = box
    xmin, ymin = max(0, int(x1 + 0.5)), max(0, int(y1 + 0.5))
    xmax, ymax = max(xmin, min(shape[1] - 1, int(x2 + 0.5))), max(ymin, min(shape[0] - 1, int(y2 + 0.5)))
    return {"xmin": xmin, "xmax": xmax, "ymin": ymin, "ymax": ymax}
