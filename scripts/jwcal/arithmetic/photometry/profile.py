"""Sharpness and roundness of stars, as DAOFIND defines them (Stetson 1987, PASP 99, 191)."""

import numpy as np
from astropy.stats import gaussian_fwhm_to_sigma
from scipy.ndimage import convolve


def sharpness_and_roundness(image, x, y, fwhm):
    """Compare each star with a Gaussian.

    Parameters
    ----------
    image : float32 (row, col)
    x, y : float (n,)
        Pixels from 0.
    fwhm : float
        Of the Gaussian, pixels.

    Returns
    -------
    sharpness : float64 (n,)
        The middle pixel's height above its neighbours, in that of the Gaussian which fits best.
    roundness : float64 (n,)
        How much of the Gaussian's fit has twofold symmetry: 0 for what is round.
        Both are NaN where the star is outside the image.
    """
    sigma = fwhm * gaussian_fwhm_to_sigma
    reach = max(2.0, 1.5 * sigma)
    half = int(reach)
    rows, columns = np.mgrid[-half : half + 1, -half : half + 1]
    inside = np.hypot(columns, rows) <= reach
    kernel = np.where(inside, np.exp(-(columns**2 + rows**2) / (2 * sigma**2)), 0)
    mean, count = kernel.sum() / inside.sum(), inside.sum()
    kernel = np.where(inside, (kernel - mean) / (np.sum(kernel**2) - kernel.sum() * mean), 0)
    fitted = convolve(image, kernel, mode="constant")
    seen = np.isfinite(x) & np.isfinite(y)
    corner = [np.ceil(np.where(seen, place, -1e6) - (half + 0.5)).astype(int) for place in (y, x)]
    seen &= np.logical_and.reduce([(c + 2 * half >= 0) & (c < size) for c, size in zip(corner, image.shape, strict=True)])
    stamps, fits = (_stamps(plane, corner, 2 * half + 1, seen) for plane in (image, fitted))
    peak, fit = stamps[:, half, half], fits[:, half, half].copy()
    around = (np.sum(stamps * inside, axis=(1, 2)) - peak) / (count - 1)
    fits[:, half, half] = 0
    # quadrants that go over into each other by a quarter turn, each with one half axis
    right, up = fits[:, : half + 1, half + 1 :], fits[:, :half, : half + 1]
    left, down = fits[:, half:, :half], fits[:, half + 1 :, half:]
    twofold = sum(sign * part.sum(axis=(1, 2)) for part, sign in ((right, -1), (up, 1), (left, -1), (down, 1)))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(seen, (peak - around) / fit, np.nan), np.where(seen, 2 * twofold / np.abs(fits).sum(axis=(1, 2)), np.nan)


def _stamps(image, corner, size, seen):
    """Squares of the image, (n, size, size); zeros beyond its edges."""
    padded = np.pad(image.astype(float), size)
    row, col = (np.where(seen, c, 0) + size for c in corner)
    steps = np.arange(size)
    return padded[row[:, None, None] + steps[:, None], col[:, None, None] + steps]
