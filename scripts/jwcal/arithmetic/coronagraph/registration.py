"""How far an image is moved against another one, in hundredths of a pixel, seen through the weights of a mask.

Images are moved by the Fourier shift theorem. The motion and the brightness are those that minimise the squared, weighted differences:
Gauss and Newton's method with the derivatives of the moved image, from the best whole pixel on.
"""

from dataclasses import dataclass

import numpy as np
from scipy import fft

SEARCH = 3  # pixels: how far the whole-pixel start is looked for
TURNS = 30
CLOSE = 1e-7  # pixels: a step below this is the last


@dataclass(frozen=True)
class Motion:
    """What was found: image = scale * reference moved by (dx, dy).

    Attributes
    ----------
    dx, dy : pixels
    scale : brightness over the reference's
    left : weighted rms of what is left over that of the image without its mean
    """

    dx: float
    dy: float
    scale: float
    left: float


def _waves(size, shift, half=False):
    """The Fourier shift theorem's factors along an axis; at the highest frequency what keeps the image real."""
    frequencies = fft.rfftfreq(size) if half else fft.fftfreq(size)
    waves = np.exp(-2j * np.pi * frequencies * shift)
    if size % 2 == 0:
        waves[size // 2] = np.cos(np.pi * shift)
    return waves


def _slopes(size, half=False):
    frequencies = fft.rfftfreq(size) if half else fft.fftfreq(size)
    slopes = -2j * np.pi * frequencies
    if size % 2 == 0:
        slopes[size // 2] = 0
    return slopes


def moved(image, dx, dy):
    """An image moved by (dx, dy) pixels: (row, col) float64. What leaves it at one side comes in at the other."""
    rows, columns = image.shape
    spectrum = fft.rfft2(np.asarray(image, float))
    spectrum *= _waves(rows, dy)[:, None] * _waves(columns, dx, half=True)
    return fft.irfft2(spectrum, image.shape)


class Reference:
    """The image that others are compared with.

    Parameters
    ----------
    image : (row, col)
        Without NaN.
    mask : (row, col)
        Weights of the differences, such as the mask's transmission.
    """

    def __init__(self, image, mask):
        image = np.asarray(image, float)
        self.shape = image.shape
        self._spectrum = fft.rfft2(image)
        self._mask = np.asarray(mask, float)
        self._weights = self._mask**2
        self._weights_spectrum = fft.rfft2(self._weights)
        self._squares = fft.rfft2(image**2)
        self._slope_x, self._slope_y = _slopes(image.shape[1], half=True), _slopes(image.shape[0])[:, None]

    def _start(self, image):
        """The whole pixel near which the squares are least: their sum is W t^2 - (W t * r)^2 / (W * r^2)."""
        weighted = self._weights * image
        product = fft.irfft2(fft.rfft2(weighted) * self._spectrum.conj(), self.shape)
        power = fft.irfft2(self._weights_spectrum * self._squares.conj(), self.shape)
        span = np.arange(-SEARCH, SEARCH + 1)
        product, power = (plane[np.ix_(span, span)] for plane in (product, power))
        gain = np.where((power > 0) & (product > 0), product**2 / np.maximum(power, 1e-300), -np.inf)
        row, column = np.unravel_index(np.argmax(gain), gain.shape)
        if not np.isfinite(gain[row, column]):
            return 0.0, 0.0, 1.0
        return float(span[column]), float(span[row]), float(product[row, column] / power[row, column])

    def motion_of(self, image):
        """How an image is moved against this one.

        Parameters
        ----------
        image : (row, col)
            Without NaN.

        Returns
        -------
        Motion
        """
        image = np.asarray(image, float)
        target = (self._mask * image).ravel()
        dx, dy, scale = self._start(image)
        best, squares, damping = (dx, dy, scale), np.inf, 0.0
        state = None
        for _ in range(TURNS):
            model, along_x, along_y = self._at(dx, dy)
            residual = target - scale * model
            found = residual @ residual
            if found <= squares:
                converged = squares - found <= 1e-15 * found
                best, squares, damping = (dx, dy, scale), found, damping / 10 if damping > 1e-6 else 0.0
                design = np.stack([scale * along_x, scale * along_y, model])
                state = design @ design.T, design @ residual
                if converged:
                    break
            else:
                damping = max(10 * damping, 1e-3)
            normal, right = state
            try:
                step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), right)
            except np.linalg.LinAlgError:
                break
            step[:2] = np.clip(step[:2], -1, 1)
            dx, dy, scale = (b + s for b, s in zip(best, step, strict=True))
            if np.abs(step[:2]).max() < CLOSE:
                best = dx, dy, scale
                break
        power = target @ target - target.sum() ** 2 / target.size
        return Motion(*map(float, best), float(np.sqrt(squares / power)) if power > 0 else np.nan)

    def _at(self, dx, dy):
        """The moved image and its derivatives by dx and by dy, weighted and flat."""
        rows, columns = self.shape
        spectrum = self._spectrum * (_waves(rows, dy)[:, None] * _waves(columns, dx, half=True))
        stacked = np.stack([spectrum, spectrum * self._slope_x, spectrum * self._slope_y])
        images = fft.irfft2(stacked, self.shape)
        images *= self._mask
        return images.reshape(3, -1)
