"""Sums in circular apertures and rings; every pixel counts with the part of its area that is inside."""

import math

import numpy as np
from numba import njit, prange


@njit(cache=True, nogil=True)
def _corner(x, y, radius):
    """Area of a circle about the origin in the rectangle from the origin to (x, y), with the sign of x y."""
    sign = 1.0
    if x < 0:
        x, sign = -x, -sign
    if y < 0:
        y, sign = -y, -sign
    x, y = min(x, radius), min(y, radius)
    square = radius * radius
    if x * x + y * y <= square:
        return sign * x * y
    # y up to where the circle comes down to it, then the circle: integral of sqrt(r^2 - t^2)
    bend = math.sqrt(square - y * y)
    under = _under(x, radius) - _under(bend, radius)
    return sign * (y * bend + under)


@njit(cache=True, nogil=True)
def _under(t, radius):
    return 0.5 * (t * math.sqrt(max(0.0, radius * radius - t * t)) + radius * radius * math.asin(min(1.0, t / radius)))


@njit(cache=True, nogil=True)
def _overlap(x, y, radius):
    """Area of the pixel about (x, y) inside a circle about the origin."""
    if radius <= 0:
        return 0.0
    away = math.hypot(x, y)
    if away >= radius + 0.7072:
        return 0.0
    if away <= radius - 0.7072:
        return 1.0
    left, right, low, high = x - 0.5, x + 0.5, y - 0.5, y + 0.5
    area = _corner(right, high, radius) - _corner(left, high, radius) - _corner(right, low, radius) + _corner(left, low, radius)
    return min(1.0, max(0.0, area))


@njit(cache=True, nogil=True, parallel=True)
def _sums(data, err, which, x, y, inner, outer, result):
    nrow, ncol = data.shape[1:]
    for k in prange(x.size):
        total = variance = area = lost = 0.0
        if np.isfinite(x[k]) and np.isfinite(y[k]):
            image = which[k]
            first, last = max(0, int(math.floor(y[k] - outer))), min(nrow - 1, int(math.ceil(y[k] + outer)))
            left, right = max(0, int(math.floor(x[k] - outer))), min(ncol - 1, int(math.ceil(x[k] + outer)))
            for row in range(first, last + 1):
                for col in range(left, right + 1):
                    dx, dy = col - x[k], row - y[k]
                    weight = _overlap(dx, dy, outer) - _overlap(dx, dy, inner)
                    if weight > 0:
                        value = data[image, row, col]
                        if np.isfinite(value):
                            total += weight * value
                            variance += weight * np.float64(err[image, row, col]) ** 2
                            area += weight
                        else:
                            lost += 1
        if area == 0:
            total = variance = np.nan
        result[0, k], result[1, k], result[2, k], result[3, k] = total, math.sqrt(variance), area, lost


def aperture_sums(data, err, which, x, y, outer, inner=0.0):
    """Sums over circles, or over rings.

    Parameters
    ----------
    data, err : float32 (image, row, col)
        Pixels that are not finite do not count.
    which : int (n,)
        The image of each aperture.
    x, y : float (n,)
        Its middle, pixels from 0. Where NaN, so are the sums.
    outer, inner : float
        Radii, pixels.

    Returns
    -------
    total, error : float64 (n,)
        The sum, and the root of the squared errors' sum; NaN without a good pixel.
    area : float64 (n,)
        Of the good pixels.
    lost : float64 (n,)
        Number of pixels, touched by the aperture, that do not count.
    """
    x, y = np.ascontiguousarray(x, np.float64), np.ascontiguousarray(y, np.float64)
    result = np.empty((4, x.size))
    _sums(data, err, np.ascontiguousarray(which, np.int64), x, y, float(inner), float(outer), result)
    return result
