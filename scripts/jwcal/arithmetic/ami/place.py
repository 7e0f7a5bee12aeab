"""Where the star's image is: the pixels to take, its centre, and by how much the pupil is turned."""

import numpy as np
from scipy import fft

from . import affine, fit

EDGE = 4  # rows of reference pixels below the image
CLIP = 5.0


def window(image):
    """The largest square about the brightest pixel of an image (row, col): slices of rows and columns."""
    row, column = np.unravel_index(np.nanargmax(image), image.shape)
    reach = int(min(row, column, image.shape[0] - 1 - row, image.shape[1] - 1 - column))
    return slice(int(row) - reach, int(row) + reach + 1), slice(int(column) - reach, int(column) + reach + 1)


def centre(image):
    """Pixels along rows and columns from the middle of a square image to that of the star's image in it.

    The slope of the phase of the image's Fourier transform, by the differences of neighbours; those far from the ones of the lowest
    frequencies are left out: there is no light, or the phase jumps.

    Parameters
    ----------
    image : (n, n) float, n odd
    """
    phase = np.angle(fft.fftshift(fft.fft2(fft.ifftshift(np.asarray(image, float)))))
    size, middle = len(phase), len(phase) // 2
    found = []
    for turned in (phase, phase.T):
        padded = np.pad(turned, ((1, 1), (0, 0)))
        slope = (padded[:-2] - padded[2:]) / 2
        near = slope[middle - 1 : middle + 1, middle - 1 : middle + 1]
        kept = np.abs(slope - near.mean()) < CLIP * near.std()
        found.append((slope[kept] if kept.any() else near).mean() * size / (2 * np.pi))
    return tuple(float(f) for f in found)


def rotation(image, optics, angles, offset):
    """The turn of the pupil with which a point source looks most like an image: the top of a parabola through the correlations.

    Parameters
    ----------
    image : (row, col) float
        Finite.
    optics : fit.Optics
        Its affine is not looked at.
    angles : sequence of float
        deg.
    offset : (rows, columns)
        Of the model's image from the middle, pixels.

    Returns
    -------
    float
        deg; None where the correlations have no top.
    """
    seen, best = fft.fft2(image), []
    for angle in angles:
        turned = fit.Optics(optics.mask, optics.bandpass, affine.rotation(angle), optics.pixel, optics.over)
        expected = fit.point_source(turned, image.shape, offset)
        both = fft.ifft2(seen * np.conj(fft.fft2(expected))).real
        best.append(both.max() / np.sqrt((image**2).sum() * (expected**2).sum()))
    if len(angles) < 3:
        return float(angles[int(np.argmax(best))])
    bend, slope, _ = np.polyfit(angles, best, 2)
    return float(-slope / (2 * bend)) if bend < 0 else None
