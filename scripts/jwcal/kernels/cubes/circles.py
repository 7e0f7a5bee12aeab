"""Sums of a cube's planes in circles and rings whose radii change with wavelength, and over whole planes."""

import math

import numpy as np
from numba import njit, prange

from ..photometry.aperture_sums import _overlap as exact_part

EXACT, SUBPIXEL, CENTRE = range(3)  # how much of a spaxel is inside: its area, so many of its parts' middles, or its middle
SUM, VARIANCE, AREA, BACK, BACK_VARIANCE, BACK_AREA, RING, WHOLE = range(8)
MOST_CLIPS = 5


@njit(cache=True, nogil=True)
def part_inside(x, y, radius, way, parts):
    """The part of a spaxel about (x, y) that is inside a circle about the origin."""
    if radius <= 0.0:
        return 0.0
    if way == EXACT:
        return exact_part(x, y, radius)
    if way == CENTRE:
        return 1.0 if x * x + y * y < radius * radius else 0.0
    away = math.hypot(x, y)
    if away >= radius + 0.7072:
        return 0.0
    if away <= radius - 0.7072:
        return 1.0
    inside = 0
    for j in range(parts):
        v = y - 0.5 + (j + 0.5) / parts
        for i in range(parts):
            u = x - 0.5 + (i + 0.5) / parts
            inside += u * u + v * v < radius * radius
    return inside / (parts * parts)


@njit(cache=True, nogil=True)
def clip_limits(values, sigma):
    """What is left of some sorted values within sigma standard deviations of their median, five times over: limits about their mean."""
    first, end = 0, values.size
    for _ in range(MOST_CLIPS):
        count = end - first
        middle = 0.5 * (values[first + (count - 1) // 2] + values[first + count // 2])
        spread = sigma * np.std(values[first:end])
        low, high = middle - spread, middle + spread
        before = count
        while first < end and values[first] < low:
            first += 1
        while end > first and values[end - 1] > high:
            end -= 1
        if end - first == before or end == first:
            break
    mean, spread = np.mean(values[first:end]), sigma * np.std(values[first:end])
    return mean - spread, mean + spread


@njit(cache=True, nogil=True, parallel=True)
def _circles(sci, err, number, x0, y0, radius, inner, outer, sigma, way, parts, sums):
    planes, rows, columns = sci.shape
    for z in prange(planes):
        ring = 0.0 < inner[z] < outer[z]
        low = high = 0.0
        if ring:
            values = np.empty(rows * columns)
            count = 0
            for j in range(rows):
                for i in range(columns):
                    if number[z, j, i] > 0:
                        values[count] = sci[z, j, i]
                        count += 1
            if count:
                low, high = clip_limits(np.sort(values[:count]), sigma)
        for j in range(rows):
            for i in range(columns):
                x, y = i - x0, j - y0
                inside = part_inside(x, y, radius[z], way, parts)
                sums[WHOLE, z] += inside
                around = part_inside(x, y, outer[z], way, parts) - part_inside(x, y, inner[z], way, parts) if ring else 0.0
                if number[z, j, i] <= 0:
                    continue
                value, variance = np.float64(sci[z, j, i]), np.float64(err[z, j, i]) ** 2
                if inside > 0:
                    sums[SUM, z] += inside * value
                    sums[VARIANCE, z] += inside * variance
                    sums[AREA, z] += inside
                if around > 0:
                    sums[RING, z] += around
                    if low <= value <= high:
                        sums[BACK, z] += around * value
                        sums[BACK_AREA, z] += around
                    sums[BACK_VARIANCE, z] += around * variance


def circles(sci, err, number, place, radius, inner, outer, sigma, way, parts):
    """Sums in a circle and in a ring about one place, plane by plane.

    Parameters
    ----------
    sci, err : float32 (plane, row, col)
    number : float32 (plane, row, col)
        Voxels count where it is above 0.
    place : (float, float)
        Column and row, from 0.
    radius, inner, outer : float64 (plane,)
        Of the circle and of the ring, spaxels. There is no ring where not 0 < inner < outer.
    sigma : float
        The ring leaves out voxels so many standard deviations from the mean of the clipped plane.
    way : int
        EXACT, SUBPIXEL or CENTRE.
    parts : int
        Of a spaxel's side, for SUBPIXEL.

    Returns
    -------
    float64 (8, plane)
        SUM, VARIANCE and AREA in the circle; BACK and BACK_AREA of what was not clipped in the ring; BACK_VARIANCE and RING, the area, of
        all of the ring; WHOLE, the area of the circle with the voxels that do not count.
    """
    sums = np.zeros((8, len(sci)))
    radius, inner, outer = (np.ascontiguousarray(values, np.float64) for values in (radius, inner, outer))
    _circles(sci, err, number, float(place[0]), float(place[1]), radius, inner, outer, float(sigma), int(way), int(parts), sums)
    return sums


@njit(cache=True, nogil=True, parallel=True)
def _planes(sci, err, number, sigma, sums):
    planes, rows, columns = sci.shape
    for z in prange(planes):
        values = np.empty(rows * columns)
        count = 0
        for j in range(rows):
            for i in range(columns):
                if number[z, j, i] > 0:
                    values[count] = sci[z, j, i]
                    count += 1
                    sums[SUM, z] += np.float64(sci[z, j, i])
                    sums[VARIANCE, z] += np.float64(err[z, j, i]) ** 2
        sums[AREA, z] = sums[WHOLE, z] = count
        if not count:
            continue
        low, high = clip_limits(np.sort(values[:count]), sigma)
        for j in range(rows):
            for i in range(columns):
                value = np.float64(sci[z, j, i])
                if number[z, j, i] > 0 and low <= value <= high:
                    sums[BACK, z] += value
                    sums[BACK_VARIANCE, z] += np.float64(err[z, j, i]) ** 2
                    sums[BACK_AREA, z] += 1
        sums[RING, z] = sums[BACK_AREA, z]


def planes(sci, err, number, sigma):
    """Sums over whole planes; the background is what is left of them when they are clipped. Arguments and sums as for `circles`."""
    sums = np.zeros((8, len(sci)))
    _planes(sci, err, number, float(sigma), sums)
    return sums
