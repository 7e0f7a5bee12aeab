"""Images of dispersed sources: each pixel of the direct image is a square that lies at another place for each wavelength."""

import math

import numpy as np
from numba import njit, prange

STEPS = 12  # of Newton's iteration, at most
SMALL = 1e-12


@njit(cache=True, nogil=True)
def _value(coefficients, t):
    """A polynomial of t, the constant term first."""
    total = coefficients[-1]
    for power in range(coefficients.size - 2, -1, -1):
        total = total * t + coefficients[power]
    return total


@njit(cache=True, nogil=True)
def _slope(coefficients, t):
    total = 0.0
    for power in range(coefficients.size - 1, 0, -1):
        total = total * t + power * coefficients[power]
    return total


@njit(cache=True, nogil=True)
def _solve(coefficients, value):
    """t in [0, 1] at which a polynomial that rises or falls throughout has a value."""
    low, high = coefficients[0], coefficients.sum()
    t = min(max((value - low) / (high - low), 0.0), 1.0)
    if coefficients.size > 2:
        for _ in range(STEPS):
            slope = _slope(coefficients, t)
            if slope == 0:
                break
            step = (_value(coefficients, t) - value) / slope
            t = min(max(t - step, 0.0), 1.0)
            if abs(step) < SMALL:
                break
    return t


@njit(cache=True, nogil=True)
def _add_square(image, x, y, half, weights, k):
    """Add a square's light to the pixels that it covers, (basis, row, col); x, y count from the image's corner."""
    first, last = math.floor(x - half + 0.5), math.floor(x + half + 0.5)
    bottom, top = math.floor(y - half + 0.5), math.floor(y + half + 0.5)
    for row in range(max(bottom, 0), min(top, image.shape[1] - 1) + 1):
        tall = min(y + half, row + 0.5) - max(y - half, row - 0.5)
        if tall <= 0:
            continue
        for column in range(max(first, 0), min(last, image.shape[2] - 1) + 1):
            part = tall * (min(x + half, column + 0.5) - max(x - half, column - 0.5))
            if part > 0:
                for basis in range(image.shape[0]):
                    image[basis, row, column] += part * weights[basis, k]


@njit(cache=True, nogil=True)
def _disperse_pixel(image, x0, y0, flux, trace, wavelength, t, wavelengths, weights, turn, half, scaled):
    """Add the light of one pixel of the direct image; `scaled` is room for its weights."""
    for basis in range(weights.shape[0]):
        for k in range(weights.shape[1]):
            scaled[basis, k] = flux * weights[basis, k]
    for k in range(wavelengths.size):
        at = t[k] if wavelength.size == 0 else _solve(wavelength, wavelengths[k])
        dx, dy = _value(trace[0], at), _value(trace[1], at)
        _add_square(image, x0 + dx * turn[0] - dy * turn[1], y0 + dx * turn[1] + dy * turn[0], half, scaled, k)


@njit(cache=True, parallel=True)
def disperse(buffer, places, boxes, starts, x0, y0, flux, trace, wavelength, t, wavelengths, weights, turn, half):
    """Add the dispersed light of sources to their images.

    Parameters
    ----------
    buffer : float64 (n,)
        The images of all sources one after the other, each (basis, row, col). Changed.
    places : int64 (source + 1,)
        Where each source's images begin in the buffer.
    boxes : int64 (source, 4)
        First column, first row, columns and rows of each source's image on the detector.
    starts : int64 (source + 1,)
        Where each source's pixels begin among all.
    x0, y0, flux : float64 (pixel,)
        Of the direct image: place on the detector without the grism, and brightness.
    trace : float64 (pixel, 2, power)
        Polynomials of t: how far the light falls from there, in x and y.
    wavelength : float64 (pixel, power)
        Polynomials of t; of no power where t holds everywhere.
    t, wavelengths : float64 (wavelength,)
    weights : float64 (basis, wavelength)
        What a brightness of 1 gives at each wavelength.
    turn : (float, float)
        Cosine and sine of the angle by which traces are turned.
    half : float
        Half the side of a pixel of the direct image, in pixels of the detector.
    """
    for source in prange(boxes.shape[0]):
        count = weights.shape[0]
        columns, rows = boxes[source, 2], boxes[source, 3]
        image = buffer[places[source] : places[source + 1]].reshape(count, rows, columns)
        scaled = np.empty(weights.shape)
        for p in range(starts[source], starts[source + 1]):
            x, y = x0[p] - boxes[source, 0], y0[p] - boxes[source, 1]
            _disperse_pixel(image, x, y, flux[p], trace[p], wavelength[p], t, wavelengths, weights, turn, half, scaled)
