"""Simple Improved Reference Subtraction: the best linear prediction of 1/f noise from the side reference pixels.

Source: Rauscher 2024, PASP 136, 015001: for each output a filter for the left and one for the right reference columns, given by their
Fourier coefficients along the slow axis. Here it is cut to a short convolution, which can do without the reference pixels that are bad.
"""

from typing import NamedTuple

import numpy as np

TO_SIGMA = 1.48  # standard deviations in a median absolute deviation of normal noise


class Filter(NamedTuple):
    """Convolution kernels (output, tap) for the left and the right reference columns, and the limit for good pixels in robust sigma."""

    left: np.ndarray
    right: np.ndarray
    limit: float


def taps(coefficients, width, halfwidth):
    """Convolution kernels from Fourier coefficients.

    Parameters
    ----------
    coefficients : (output, frequency) complex
        From 0 to the Nyquist frequency.
    width : float
        Standard deviation of the Gaussian that smooths them, in rows.
    halfwidth : int
        Rows that a kernel reaches to either side; at most the number of frequencies - 1.

    Returns
    -------
    (output, 2 halfwidth + 1) float64
    """
    middle = coefficients.shape[1] - 1
    full = np.fft.fftshift(np.fft.irfft(coefficients, axis=1), axes=1)
    gauss = np.exp(-(np.arange(-halfwidth, halfwidth + 1) ** 2) / (2 * width**2))
    gauss /= gauss.sum()
    return np.array([np.convolve(kernel[middle - halfwidth : middle + halfwidth + 1], gauss, mode="same") for kernel in full])


def predict(left, right, optimal):
    """The noise of each output in each row.

    Parameters
    ----------
    left, right : (row, column) float
        The reference pixels of both sides; those that are not finite are left out.
    optimal : Filter

    Returns
    -------
    (row, output) float64
    """
    noise = 0.0
    for values, kernels in ((left, optimal.left), (right, optimal.right)):
        centre = np.nanmedian(values)
        sigma = TO_SIGMA * np.nanmedian(np.abs(values - centre))
        good = np.abs(values - centre) <= optimal.limit * sigma
        level = np.where(good, values, 0).sum(axis=1)
        noise = noise + np.stack([_weighted(level, good.sum(axis=1), kernel) for kernel in kernels], axis=1)
    return noise


def _weighted(total, count, kernel):
    """Convolution of the row's mean with a kernel, whose weight goes to the good pixels; 0 where it reaches none."""
    weight = np.convolve(np.ones(count.size), kernel, mode="same")
    found = np.convolve(count, kernel, mode="same")
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(found == 0, 0.0, np.convolve(total, kernel, mode="same") * weight / found)
