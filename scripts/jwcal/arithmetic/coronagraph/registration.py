"""How far an image is moved against another one, in hundredths of a pixel, seen through the weights of a mask.

Images are moved by the Fourier shift theorem. The motion and the brightness are those that minimise the squared, weighted differences:
Gauss and Newton's method with the derivatives of the moved image, from the best whole pixel on.
"""

from dataclasses import dataclass

import numpy as np
from scipy import fft

SEARCH = 3  # pixels: how far the whole-pixel start is looked for
TURNS = 30
CLOSE = 1e-5  # pixels: a step below this is the last; the next would be some ten times smaller


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
    """The Fourier shift theorem's factors along an axis, and their derivatives by the shift.

    At the highest frequency they are the real part, which keeps the image real.
    """
    frequencies = fft.rfftfreq(size) if half else fft.fftfreq(size)
    waves = np.exp(-2j * np.pi * frequencies * shift)
    slopes = -2j * np.pi * frequencies * waves
    if size % 2 == 0:
        waves[size // 2], slopes[size // 2] = np.cos(np.pi * shift), -np.pi * np.sin(np.pi * shift)
    return waves, slopes


def _factors(shape, dx, dy, slopes=True):
    """Factors of half an image's spectrum that move it, and with `slopes` their derivatives by dx and by dy."""
    rows, columns = shape
    (wave_y, slope_y), (wave_x, slope_x) = _waves(rows, dy), _waves(columns, dx, half=True)
    pairs = [(wave_y, wave_x), (wave_y, slope_x), (slope_y, wave_x)][: 3 if slopes else 1]
    factors = [np.outer(*pair) for pair in pairs]
    if rows % 2 == 0 and columns % 2 == 0:
        # the real part of the product of both axes' factors
        slope = -np.pi * np.sin(np.pi * (dx + dy))
        for factor, value in zip(factors, (np.cos(np.pi * (dx + dy)), slope, slope), strict=False):
            factor[rows // 2, columns // 2] = value
    return factors


def moved(image, dx, dy):
    """An image moved by (dx, dy) pixels: (row, col) float64. What leaves it at one side comes in at the other."""
    (factor,) = _factors(image.shape, dx, dy, slopes=False)
    return fft.irfft2(fft.rfft2(np.asarray(image, float)) * factor, image.shape)


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
        best, squares, damping = self._start(image), np.inf, 0.0
        place = best
        for _ in range(TURNS):
            model, along_x, along_y = self._at(*place[:2])
            residual = target - place[2] * model
            found = residual @ residual
            if found <= squares:
                best, squares, damping = place, found, 0.0 if damping < 1e-2 else damping / 10
                design = np.stack([best[2] * along_x, best[2] * along_y, model])
                normal, right = design @ design.T, design @ residual
            else:
                damping = max(10 * damping, 1e-2)
            try:
                step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), right)
            except np.linalg.LinAlgError:
                break
            step[:2] = np.clip(step[:2], -1, 1)
            place = tuple(b + s for b, s in zip(best, step, strict=True))
            if np.abs(step[:2]).max() < CLOSE:
                best = place
                break
        power = target @ target - target.sum() ** 2 / target.size
        return Motion(*map(float, best), float(np.sqrt(squares / power)) if power > 0 else np.nan)

    def _at(self, dx, dy):
        """The moved image and its derivatives by dx and by dy, weighted and flat."""
        return [(fft.irfft2(self._spectrum * factor, self.shape) * self._mask).ravel() for factor in _factors(self.shape, dx, dy)]
