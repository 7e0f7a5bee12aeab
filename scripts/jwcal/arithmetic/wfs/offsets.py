"""By how many pixels the second image is shifted from the first: from the WCS, and from the star itself."""

import numpy as np
from scipy.ndimage import center_of_mass, convolve, gaussian_filter
from scipy.signal import fftconvolve

from ...vocabulary.errors import ConfigError, InputError

SMOOTHING = 5  # sigma in pixels of what is taken off before two images are compared
NEAR_PEAK = 3  # half width in pixels of the box whose centre of mass is the correlation's peak


def pointing_offset(first, second, shape):
    """Where the second image has what the first one has in its middle.

    Parameters
    ----------
    first, second : gwcs.WCS
    shape : (int, int)
        Rows and columns of both.

    Returns
    -------
    x, y : float
        Second minus first, pixels.
    """
    x, y = shape[1] // 2, shape[0] // 2
    there = second.backward_transform(*first.forward_transform(x, y))
    return float(there[0] - x), float(there[1] - y)


def refined_offset(first, second, bad, offset, psf_size, blur_size, n_size):
    """What remains between two images that were put together by their pointings.

    A box around the star of the first image is compared with the box of the second one that is `offset` away: the peak of their
    cross-correlation, without what is smooth, to a fraction of a pixel by the centre of mass around it.

    Parameters
    ----------
    first, second : float (row, col)
        Without NaN.
    bad : pair of bool (row, col)
        Pixels that are filled from good ones near them.
    offset : (int, int)
        x and y of the second minus the first.
    psf_size : int
        Half width of the box, pixels.
    blur_size : int
        Half width of the kernel that the first image is blurred by to find its star; its variance is half of that, pixels^2.
    n_size : int
        Half width of the box from which a bad pixel is filled.

    Returns
    -------
    x, y : float
        To be added to `offset`.

    Raises
    ------
    ConfigError
        The image is smaller than the kernel.
    InputError
        There is no peak.
    """
    x, y = find_star(first, bad[0], blur_size)
    here, there = _boxes((x, y), psf_size, offset, first.shape)
    ours, theirs = (_fill(image[box], flags[box], n_size) for image, flags, box in zip((first, second), bad, (here, there), strict=True))
    ours, theirs = (image - gaussian_filter(image, SMOOTHING) for image in (ours, theirs))
    correlation = fftconvolve(theirs, ours[::-1, ::-1])
    peak = np.unravel_index(np.argmax(correlation), correlation.shape)
    near = tuple(slice(p - NEAR_PEAK, p + NEAR_PEAK + 1) for p in peak)
    around = correlation[near] if min(peak) >= NEAR_PEAK else correlation[:0]
    middle = center_of_mass(around) if around.shape == (2 * NEAR_PEAK + 1,) * 2 else (np.nan, np.nan)
    found = [p - NEAR_PEAK + m - (n - 1) for p, m, n in zip(peak, middle, ours.shape, strict=True)]
    if not np.isfinite(found).all():
        raise InputError("no shift makes the two images alike", do="Set do_refine of wfs_combine to false, or look at the images")
    return float(found[1]), float(found[0])


def find_star(image, bad, blur_size):
    """The middle of the pixels above half of the blurred image's maximum: x, y."""
    if min(image.shape) < 2 * blur_size + 1:
        shape = " x ".join(map(str, image.shape[::-1]))
        raise ConfigError(f"blur_size of wfs_combine is {blur_size}, too large for images of {shape} pixels", do="Give a smaller one")
    if bad.all():
        raise InputError("all of its pixels are flagged DO_NOT_USE", do="Leave the pair out")
    y, x = np.mgrid[-blur_size : blur_size + 1, -blur_size : blur_size + 1]
    kernel = np.exp(-(x**2 + y**2) / blur_size)
    blurred = fftconvolve(np.where(bad, image[~bad].mean(), image), kernel / kernel.sum(), mode="valid")
    rows, columns = np.nonzero(blurred > 0.5 * blurred.max())
    return columns.mean() + blur_size, rows.mean() + blur_size


def _boxes(star, half, offset, shape):
    """A box around the star, and what it is in the other image; both inside their images."""
    here = []
    for place, shift, size in zip(star[::-1], offset[::-1], shape, strict=True):
        first, last = round(max(0, place - half)), round(min(size, place + half))
        first, last = max(first, -shift), min(last, size - shift)
        if last - first < 1:
            raise InputError("the star of the first image is not on the second", do="Set do_refine of wfs_combine to false")
        here.append((first, last))
    there = tuple(slice(a + shift, b + shift) for (a, b), shift in zip(here, offset[::-1], strict=True))
    return tuple(slice(a, b) for a, b in here), there


def _fill(image, bad, n_size):
    """Bad pixels become the mean of the good ones up to n_size away, weighted by 1/distance^2; the box's mean if there are none."""
    image = np.where(bad, 0, image).astype(float)
    if not bad.any() or bad.all():
        return image
    y, x = np.mgrid[-n_size : n_size + 1, -n_size : n_size + 1]
    kernel = 1 / np.maximum(x**2 + y**2, 1)
    weight = convolve((~bad).astype(float), kernel, mode="constant")
    total = convolve(image, kernel, mode="constant")
    mean = image[~bad].mean()
    filled = np.divide(total, weight, out=np.full_like(total, mean), where=weight > 0.1 * kernel[0, 0])
    return np.where(bad, filled, image)
