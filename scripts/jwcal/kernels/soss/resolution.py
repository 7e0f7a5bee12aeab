"""How a spectrograph blurs a spectrum: weights of the wavelengths from which the light at each one comes."""

import numpy as np
from numba import njit, prange

CUBIC = 4  # coefficients that count at one place


@njit(cache=True, nogil=True)
def _span(knots, x):
    """Number of the first of the cubic B-splines that are not 0 at x, counted with their knots at both ends."""
    last = knots.size - CUBIC - 1
    k = np.searchsorted(knots, x, side="right") - 1
    return min(max(k, CUBIC - 1), last)


@njit(cache=True, nogil=True)
def _basis(knots, k, x, values):
    """The four cubic B-splines that are not 0 between knots k and k + 1 (Cox and de Boor's recursion)."""
    values[0] = 1.0
    for degree in range(1, CUBIC):
        carried = 0.0
        for n in range(degree):
            right, left = knots[k + n + 1], knots[k + 1 - degree + n]
            part = values[n] / (right - left)
            values[n] = carried + (right - x) * part
            carried = (x - left) * part
        values[degree] = carried


@njit(cache=True, nogil=True, parallel=True)
def blur_weights(grid, first, count, reach, scale, zero, halfwidth, least, pixel_knots, wave_knots, coefficients, weights):
    """Weights of the points around each point.

    Parameters
    ----------
    grid : float64 (point,)
        Wavelengths, rising.
    first, count : int
        The points where the blurred spectrum is wanted: the first, and how many.
    reach : int
        Points on each side that may count.
    scale, zero : float64 (count,)
        Of each such point: a wavelength's distance in pixels is (wavelength - zero) / scale.
    halfwidth : float
        Pixels, beyond which no light comes.
    least : float
        A kernel is not below.
    pixel_knots, wave_knots, coefficients : float64
        Of the kernel's bicubic spline in pixels and wavelength.
    weights : float64 (count, 2 reach + 1)
        Filled: trapezoids times the kernel, their sum is 1.
    """
    pixels_n, waves_n = pixel_knots.size - CUBIC, wave_knots.size - CUBIC
    for c in prange(count):
        at = first + c
        across, along = np.empty(CUBIC), np.empty(CUBIC)
        wave = min(max(grid[at], wave_knots[0]), wave_knots[-1])
        k = _span(wave_knots, wave)
        _basis(wave_knots, k, wave, across)
        line = np.zeros(pixels_n)
        for p in range(pixels_n):
            for n in range(CUBIC):
                line[p] += across[n] * coefficients[p * waves_n + k - CUBIC + 1 + n]
        total = 0.0
        for h in range(-reach, reach + 1):
            weights[c, reach + h] = 0.0
            point = at + h
            if point < 0 or point >= grid.size:
                continue
            pixel = (grid[point] - zero[c]) / scale[c]
            if abs(pixel) > halfwidth:
                continue
            pixel = min(max(pixel, pixel_knots[0]), pixel_knots[-1])
            k = _span(pixel_knots, pixel)
            _basis(pixel_knots, k, pixel, along)
            value = 0.0
            for n in range(CUBIC):
                value += along[n] * line[k - CUBIC + 1 + n]
            width = 0.0
            if h > -reach and point > 0:
                width += grid[point] - grid[point - 1]
            if h < reach and point < grid.size - 1:
                width += grid[point + 1] - grid[point]
            weights[c, reach + h] = max(value, least) * 0.5 * width
            total += weights[c, reach + h]
        for h in range(2 * reach + 1):
            weights[c, h] /= total
