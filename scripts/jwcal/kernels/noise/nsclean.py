"""1/f noise fitted in frequency space to the pixels that see background alone (NSClean; Rauscher 2024, PASP 136, 015001).

Images are in the detector's orientation: a line (row) is read along the fast axis, one line after the other. The background samples d of a
line, or of a section of lines, at the times m are fitted by sum_k c_k exp(2 pi i m k / n) over the low frequencies k >= 0, weighted by the
reciprocal of the local density of samples. The normal equations of such a fit consist of the Fourier transforms of the squared weights and
of their product with the samples; they are solved in double precision.
"""

import logging
from functools import lru_cache

import numpy as np
from scipy import fft, ndimage

from .flicker_noise import medians

log = logging.getLogger(__name__)

# Pixels by which a full frame's kernels are off, along both axes. The reference code centres them one too far, so that a line's noise is
# mostly that of the line before; tests set 1 to show that nothing else differs.
SHIFT = 0
TICKS_LATE = 1  # the same slip in a subarray's weights, where it makes no difference worth having: kept

RIDGE = 1e-6  # of the diagonal is added to it: what gaps leave undetermined stays small
TO_SIGMA = 1.4826  # standard deviation over median absolute deviation, of a Gaussian

# full frames
BORDER = 4  # lines of reference pixels at either end
CUTOFF = 1 / 256  # cycles/pixel: half power of the low-pass filter
ROLLOFF = CUTOFF / 4  # its width
LINE_CLIP = 3.0  # sigma
LINE_DENSITY = 32.0  # pixels: width of the kernel that samples are counted with
LINE_SMOOTHING = 1.5  # lines: standard deviation of the smoothing across lines
CHUNK = 256  # lines that are worked on together

# subarrays
OVERHEAD = 12  # pixels between two lines
DWELL = float(np.float32(1e-5))  # s, of a pixel
CLIP, CLIP_TO_SIGMA = 4.0, 1.4825
SECTION = 512  # background pixels that are fitted together
LEAST = 0.05  # share of a section's pixels that must be background


def _solve(power, product, k):
    """Coefficients c_k from the transforms (..., frequency) of the squared weights and of their product with the samples."""
    difference = k[:, None] - k[None, :]
    matrix = power[..., np.abs(difference)]
    matrix = np.where(difference < 0, matrix.conj(), matrix)
    matrix[..., range(k.size), range(k.size)] *= 1 + RIDGE
    return np.linalg.solve(matrix, product[..., k, None])[..., 0]


def _low_pass(n):
    """Gain of the full frames' filter at the frequencies of `rfft` of n samples."""
    frequency = fft.rfftfreq(n)
    gain = (1 - np.sin(np.pi * (frequency - CUTOFF) / ROLLOFF)) / 2
    gain[frequency <= CUTOFF - ROLLOFF / 2] = 1
    gain[frequency > CUTOFF + ROLLOFF / 2] = 0
    return gain


def _gaussian(n, width):
    """Transform of a Gaussian of unit sum that is centred on the first of n samples."""
    x = np.arange(n, dtype=np.float64)
    x = np.minimum(x, n - x)
    return fft.rfft(np.exp(-0.5 * (x / width) ** 2) / width / np.sqrt(2 * np.pi)).real


def full_frame(image, mask):
    """The noise of a full frame, line by line.

    Parameters
    ----------
    image : ndarray of float32, (line, pixel)
        Background-subtracted; finite where the mask is true.
    mask : ndarray of bool, (line, pixel)

    Returns
    -------
    ndarray of float32, (line, pixel)
        Smoothed across neighbouring lines. Lines without background, and the first and last four, have no noise of their own.
    """
    ny, nx = image.shape
    gain = _low_pass(nx)
    k = np.flatnonzero(gain)
    kernel = _gaussian(nx, LINE_DENSITY)
    noise = np.zeros(image.shape, np.float32)
    for first in range(BORDER, ny - BORDER, CHUNK):
        lines = slice(first, min(first + CHUNK, ny - BORDER))
        good = mask[lines]
        values = _without_outliers(image[lines], good)
        counted = np.roll(mask[first - SHIFT : lines.stop - SHIFT], SHIFT, axis=1).astype(np.float64)
        density = fft.irfft(fft.rfft(counted, axis=1) * kernel, nx, axis=1)
        weights = np.where(good & (density > 0), 1 / np.maximum(density, 1e-6) ** 2, 0.0)
        some = good.any(axis=1)
        power, product = (fft.rfft(a[some], axis=1)[:, : k.size] for a in (weights, weights * values))
        spectrum = np.zeros((some.sum(), nx // 2 + 1), np.complex128)
        spectrum[:, k] = _solve(power, product, k) * gain[k] * nx
        noise[lines][some] = fft.irfft(spectrum, nx, axis=1)
    return _across_lines(noise)


def _without_outliers(lines, mask):
    """Lines whose outliers are replaced by the line's median, and zero outside the mask."""
    values = np.where(mask, lines, np.float32(np.nan))
    counts = mask.sum(axis=1)
    centre = medians(values.copy(), counts)
    spread = np.float32(TO_SIGMA) * medians(np.abs(values - centre), counts)
    reach = np.float32(LINE_CLIP) * spread
    keep = (centre - reach <= values) & (values <= centre + reach)
    return np.where(mask, np.where(keep, values, centre), np.float32(0))


def _across_lines(noise):
    """Smooth along the slow axis, the last line being next to the first."""
    reach = int(8 * LINE_SMOOTHING)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / LINE_SMOOTHING) ** 2) / LINE_SMOOTHING / np.sqrt(2 * np.pi)
    return np.roll(ndimage.convolve1d(noise, kernel, axis=0, mode="wrap"), (SHIFT, SHIFT), (0, 1))


def subarray(image, mask, frequencies):
    """The noise of a subarray, in sections of lines that overlap by half.

    Parameters
    ----------
    image : ndarray of float32, (line, pixel)
        Background-subtracted; finite where the mask is true.
    mask : ndarray of bool, (line, pixel)
    frequencies : tuple of 4 float
        Hz. Up to the first all is fitted, up to the second less and less, nothing from there to the third, then more and more
        up to the fourth and all beyond: the noise that alternates between columns.

    Returns
    -------
    ndarray of float64, (line, pixel)
        Zero where there is too little background.
    """
    mask = _without_bright(image, mask)
    noise, weight = np.zeros(image.shape), np.zeros((image.shape[0], 1))
    bare = 0
    for first, last in _sections(np.count_nonzero(mask, axis=1)):
        part = slice(first, last)
        share = 1.001 - np.abs(np.linspace(-1, 1, last - first))[:, None]
        weight[part] += share
        if mask[part].mean() > LEAST:
            noise[part] += share * _section(image[part], mask[part], tuple(frequencies))
        else:
            bare += 1
    if bare:
        log.warning("%d sections of lines have too little background: no noise fitted there", bare)
    return noise / np.where(weight > 0, weight, 1)


def _without_bright(image, mask):
    """The mask without outliers and their four neighbours."""
    values = image[mask]
    if not values.size:
        return mask
    centre = np.median(values)
    spread = CLIP_TO_SIGMA * np.median(np.abs(values - centre))
    with np.errstate(invalid="ignore"):
        outliers = mask & (np.abs(image - centre) > CLIP * spread)
    return mask & ~ndimage.binary_dilation(outliers)


def _sections(counts):
    """Ranges of lines with `SECTION` background pixels or a little more, the next one beginning in the middle of the one before."""
    filled = np.flatnonzero(counts)
    if not filled.size:
        return
    before = np.concatenate(([0], np.cumsum(counts)))  # pixels in the lines before each
    first, end = int(filled[0]), int(filled[-1]) + 1
    while first < end:
        last = end
        if before[-1] - before[first] > 1.5 * SECTION:
            last = min(end, int(np.searchsorted(before, before[first] + SECTION, side="right")))
        yield first, last
        if last == end:
            return
        first += max(round((last - first) / 2), 1)


@lru_cache(maxsize=64)
def _clock(n, frequencies):
    """Of n ticks: the frequencies to fit, the gain at those, and the transform of the kernel that samples are counted with."""
    low, low_end, high, high_end = (np.float32(f) for f in frequencies)
    f = fft.rfftfreq(n, DWELL).astype(np.float32)
    gain = np.zeros(f.size)
    gain[(f < low) | (f >= high_end)] = 1
    falls, rises = (f >= low) & (f < low_end), (f >= high) & (f < high_end)
    gain[falls] = (1 + np.cos(np.pi * (f[falls] - low) / (low_end - low))) / 2
    gain[rises] = (1 - np.cos(np.pi * (f[rises] - high) / (high_end - high))) / 2
    width = 1 / (8 * DWELL * (frequencies[0] + frequencies[1]) / 2)
    k = np.flatnonzero(gain > 0)
    return k, gain[k], _gaussian(n, width)


def _section(image, mask, frequencies):
    """The noise of some lines, which are one stretch of time."""
    ny, nx = image.shape
    n = ny * (nx + OVERHEAD)
    k, gain, kernel = _clock(n, frequencies)
    sampled, values = np.zeros((ny, nx + OVERHEAD)), np.zeros((ny, nx + OVERHEAD))
    sampled[:, :nx], values[:, :nx] = mask, np.where(mask, image, 0)
    sampled, values = sampled.ravel(), values.ravel()
    density = np.roll(fft.irfft(fft.rfft(sampled) * kernel, n), TICKS_LATE)
    weights = sampled / np.where(sampled > 0, density, 1) ** 2
    power, product = fft.rfft(np.stack((weights, weights * values)))
    spectrum = np.zeros(n // 2 + 1, np.complex128)
    spectrum[k] = _solve(power, product, k) * gain * n
    return fft.irfft(spectrum, n).reshape(ny, -1)[:, :nx]
