"""Which pixels of an image see the background alone, and how bright it is."""

import logging

import numpy as np

from ..columns.clipped_statistics import clipped, gather, mask_beyond, mirrored_spread, within

log = logging.getLogger(__name__)

SIGMA, ROUNDS = 3.0, 5  # clipping for the statistics
BOX = 32  # pixels: largest side of the background model's boxes
HISTOGRAM_BINS, HISTOGRAM_REACH = 2000, 4.0  # reach in standard deviations


def limits(found, lower=3.0, upper=2.0, lower_half=False, histogram=False):
    """Values between which pixels are background.

    Parameters
    ----------
    found : clipped_statistics.Sorted
        The pixels' values, one at least.
    lower, upper : float
        How far below and above the centre, in standard deviations.
    lower_half : bool
        Take the standard deviation from the pixels below the median.
    histogram : bool
        Take centre and width from a Gaussian that is fitted to the histogram of the values.

    Returns
    -------
    (float, float)
    """
    mean, centre, spread = clipped(found, SIGMA, ROUNDS)
    if lower_half:
        spread = mirrored_spread(found, centre, SIGMA, ROUNDS)
    if histogram:
        centre, spread = _histogram_peak(found.values, mean, spread)
    return centre - lower * spread, centre + upper * spread


def _histogram_peak(values, centre, spread):
    """Centre and width of the Gaussian that fits the histogram; what came in where none does."""
    from scipy.optimize import curve_fit

    reach = HISTOGRAM_REACH * spread
    counts, edges = np.histogram(values.astype(np.float64), HISTOGRAM_BINS, (centre - reach, centre + reach))
    middles = (edges[1:] + edges[:-1]) / 2
    top = np.argmax(counts)
    bounds = [(0, middles[0], 0), (np.inf, middles[-1], middles[-1] - middles[0])]
    try:
        (_, centre, spread), _ = curve_fit(_gaussian, middles, counts, p0=(counts[top], middles[top], spread), bounds=bounds)
    except (RuntimeError, ValueError) as error:
        log.warning("No Gaussian fits the histogram (%s): its clipped mean and standard deviation are used", error)
    return centre, spread


def _gaussian(x, height, centre, width):
    return height * np.exp(-0.5 * ((x - centre) / width) ** 2)


def clip(image, mask, **options):
    """Take what is no background out of the mask, in place; options as of `limits`.

    Parameters
    ----------
    image : ndarray of float32, (row, col)
    mask : ndarray of bool, (row, col)
    """
    found = gather(image, mask)
    if found.values.size:
        mask_beyond(image, mask, *limits(found, **options))


def level(image, mask, model=False, box=None):
    """The background's brightness.

    Parameters
    ----------
    image : ndarray of float32, (row, col)
    mask : ndarray of bool, (row, col)
        Pixels that may be background, one finite one at least; outliers are taken out, in place.
    model : bool
        Follow the background over the image, at low resolution; otherwise take its median.
    box : (int, int), optional
        Size (row, col) of the model's boxes; by default the largest up to 32 that the image is a multiple of.

    Returns
    -------
    background : float32, or ndarray of float32, (row, col)
    values : ndarray of float32, (n,)
        Those of the pixels that stay in the mask, sorted.
    """
    found = gather(image, mask)
    low, high = limits(found, SIGMA, SIGMA, lower_half=True)
    mask_beyond(image, mask, low, high)
    values = within(found, low, high)
    background = _model(image, mask, box) if model else None
    return (median(values) if background is None else background), values


def median(values):
    """Median of sorted float32 values, in single precision."""
    return (values[(values.size - 1) // 2] + values[values.size // 2]) / np.float32(2)


def _model(image, mask, box):
    """Medians of boxes, smoothed by a median of 5 x 5 of them, interpolated by splines; None where there are too few pixels."""
    from astropy.stats import SigmaClip
    from photutils.background import Background2D, MedianBackground

    box = [int(n) for n in box] if box else [max(n for n in range(1, BOX + 1) if size % n == 0) for size in image.shape]
    if any(size % n for size, n in zip(image.shape, box, strict=True)):
        log.warning("background_box_size = %s does not divide the image of %s pixels", box, image.shape)
    clipping = SigmaClip(sigma=SIGMA, maxiters=ROUNDS)
    try:
        found = Background2D(image, box, filter_size=(5, 5), mask=~mask, sigma_clip=clipping, bkg_estimator=MedianBackground())
    except ValueError as error:
        log.warning("No background model (%s): its median is used", error)
        return None
    return found.background


def without_holes(image):
    """An image whose zeros and values that are not finite are replaced by the smoothed values around them.

    Parameters
    ----------
    image : ndarray of float32, (row, col)

    Returns
    -------
    ndarray of float32, (row, col)
        A copy if there are any.
    """
    bad = ~np.isfinite(image) | (image == 0)
    if not bad.any():
        return image
    smooth, _ = level(image, ~bad, model=True)
    return np.where(bad, smooth, image)
