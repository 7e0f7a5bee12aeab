"""Weigh pixels of slices by their distance from voxels, within a region of interest about each pixel (Shepard 1968, ACM '68, 517)."""

import numpy as np
from numba import njit, prange

from .drizzle import BLOCK, COUNT, FLUX, VARIANCE, WEIGHT, blocks


@njit(cache=True, nogil=True)
def _near(places, centre, radius):
    """First and one after the last of the rising places that are within a radius of a centre; one more at each end, for rounding."""
    first = np.searchsorted(places, centre - radius) - 1
    end = np.searchsorted(places, centre + radius) + 1
    return max(first, 0), min(end, places.size)


@njit(cache=True, nogil=True)
def _squares(x, y, scale, px, py, radius, columns, rows, buffer):
    """Squares of the distances of spaxels from a pixel, in spaxels; -1 beyond the radius."""
    n = 0
    for j in range(rows[0], rows[1]):
        dy = abs(y[j] - py)
        for i in range(columns[0], columns[1]):
            dx = abs(x[i] - px)
            within = np.sqrt(dx * dx + dy * dy) <= radius
            buffer[n] = (dx / scale[0]) ** 2 + (dy / scale[1]) ** 2 if within else -1.0
            n += 1


@njit(cache=True, nogil=True)
def _weight(square, along, power, softness):
    distance = square + along
    if power != 2.0:
        distance = np.sqrt(distance) ** power
    return 1.0 / max(distance, softness)


@njit(cache=True, nogil=True, parallel=True, error_model="numpy")
def _shepard(axes, scale, steps, places, flux, error, region, power, softness, exponential, first, last, starts, size, sums):
    x, y, z = axes
    for block in prange(starts.shape[0]):
        buffer = np.empty(size)
        bottom, top = block * BLOCK, min((block + 1) * BLOCK, sums.shape[0])
        for k in range(starts[block, 0], starts[block, 1]):
            if last[k] < bottom:
                continue
            columns, rows = _near(x, places[k, 0], region[k, 0]), _near(y, places[k, 1], region[k, 0])
            _squares(x, y, scale, places[k, 0], places[k, 1], region[k, 0], columns, rows, buffer)
            if exponential:  # the exponential of a sum is a product: one for each spaxel, one for each plane
                for n in range((rows[1] - rows[0]) * (columns[1] - columns[0])):
                    if buffer[n] >= 0.0:
                        buffer[n] = np.exp(-buffer[n] / softness[k])
            value, variance = np.float64(flux[k]), np.float64(error[k]) * np.float64(error[k])
            for plane in range(max(first[k], bottom), min(last[k] + 1, top)):
                if abs(z[plane] - places[k, 2]) > region[k, 1]:
                    continue
                along = ((places[k, 2] - z[plane]) / steps[plane]) ** 2
                factor = np.exp(-along / softness[k]) if exponential else 0.0
                n = -1
                for j in range(rows[0], rows[1]):
                    for i in range(columns[0], columns[1]):
                        n += 1
                        if buffer[n] < 0.0:
                            continue
                        weight = factor * buffer[n] if exponential else _weight(buffer[n], along, power[k], softness[k])
                        voxel = sums[plane, j, i]
                        voxel[FLUX] += weight * value
                        voxel[WEIGHT] += weight
                        voxel[VARIANCE] += weight * weight * variance
                        voxel[COUNT] += 1.0


def shepard(axes, scale, steps, places, flux, error, region, power, softness, exponential, sums):
    """Add pixels to the sums of a cube, each block of planes in the order of the pixels.

    The distance d is measured in voxels. A pixel's weight is 1 / max(d^power, softness), or exp(-d^2 / softness).

    Parameters
    ----------
    axes : (float64 (col,), float64 (row,), float64 (plane,))
        Centres of the voxels, rising.
    scale : (float, float)
        Sides of a spaxel.
    steps : float64 (plane,)
        Widths of the planes.
    places : float64 (pixel, 3)
        Two coordinates on the sky and the wavelength.
    flux, error : float (pixel,)
    region : float64 (pixel, 2)
        Radius on the sky, and greatest difference in wavelength.
    power, softness : float64 (pixel,)
    exponential : bool
    sums : float64 (plane, row, col, 4)
        As `drizzle` has them; changed in place.
    """
    x, y, z = axes
    first = np.maximum(np.searchsorted(z, places[:, 2] - region[:, 1]) - 1, 0)
    last = np.minimum(np.searchsorted(z, places[:, 2] + region[:, 1]), len(z) - 1)
    order = np.argsort(first, kind="stable")
    order = order[(last >= first)[order]]
    if not order.size:
        return
    first, last, region = first[order], last[order], region[order]
    widest = region[:, 0].max()
    size = int(min(2 * widest / scale[0] + 5, x.size)) * int(min(2 * widest / scale[1] + 5, y.size))
    given = (places[order], flux[order], error[order], region, power[order], softness[order], bool(exponential))
    _shepard((x, y, z), scale, steps, *given, first, last, blocks(first, last, len(z)), size, sums)
