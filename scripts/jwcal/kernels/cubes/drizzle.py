"""Drizzle pixels of slices onto voxels: a pixel counts in a voxel with the area that the two share on the sky times the wavelengths."""

import numpy as np
from numba import njit, prange

from .overlap import areas

FLUX, WEIGHT, VARIANCE, COUNT = range(4)  # the sums of a voxel
BLOCK = 16  # planes that are summed up by themselves, whatever the number of threads


@njit(cache=True, nogil=True)
def _add(u, v, flux, variance, wavelengths, low, high, planes, sums, buffer):
    """One pixel onto some planes."""
    nrows, ncolumns = sums.shape[1], sums.shape[2]
    column, last = max(int(np.floor(u.min())), 0), min(int(np.floor(u.max())), ncolumns - 1)
    row, top = max(int(np.floor(v.min())), 0), min(int(np.floor(v.max())), nrows - 1)
    if last < column or top < row:
        return
    wide, tall = last - column + 1, top - row + 1
    areas(u, v, column, row, wide, tall, buffer)
    for z in range(planes[0], planes[1]):
        shared = min(high[z], wavelengths[1]) - max(low[z], wavelengths[0])
        if shared <= 0.0:
            continue
        for j in range(tall):
            for i in range(wide):
                area = buffer[j * wide + i]
                if area > 0.0:
                    weight = area * shared
                    voxel = sums[z, row + j, column + i]
                    voxel[FLUX] += weight * flux
                    voxel[WEIGHT] += weight
                    voxel[VARIANCE] += weight * weight * variance
                    voxel[COUNT] += 1.0


@njit(cache=True, nogil=True, parallel=True)
def _drizzle(u, v, limits, flux, error, first, last, starts, low, high, size, sums):
    for block in prange(starts.shape[0]):
        buffer = np.empty(size)
        bottom, top = block * BLOCK, min((block + 1) * BLOCK, sums.shape[0])
        for k in range(starts[block, 0], starts[block, 1]):
            if last[k] < bottom:
                continue
            planes = (max(first[k], bottom), min(last[k] + 1, top))
            error_k = np.float64(error[k])
            _add(u[k], v[k], np.float64(flux[k]), error_k * error_k, limits[k], low, high, planes, sums, buffer)


def drizzle(u, v, limits, flux, error, low, high, sums):
    """Add pixels to the sums of a cube.

    Each block of planes is summed up in the order of the pixels, so that the sums are the same bytes for any number of threads.

    Parameters
    ----------
    u, v : float64 (pixel, 4)
        Corners, one after the other around it, in spaxels: spaxel (j, i) reaches from i to i + 1 and from j to j + 1.
    limits : float64 (pixel, 2)
        Lowest and highest wavelength.
    flux, error : float (pixel,)
    low, high : float64 (plane,)
        Limits of the planes.
    sums : float64 (plane, row, col, 4)
        FLUX, WEIGHT, VARIANCE (with the weights' squares) and COUNT of pixels; changed in place.
    """
    # a plane that is wider than those beside it may reach beyond them
    first = np.searchsorted(np.maximum.accumulate(high), limits[:, 0], side="right")
    last = np.searchsorted(np.minimum.accumulate(low[::-1])[::-1], limits[:, 1], side="left") - 1
    order = np.argsort(first, kind="stable")
    order = order[(last >= first)[order]]
    if not order.size:
        return
    first, last = first[order], last[order]
    u, v = np.ascontiguousarray(u[order]), np.ascontiguousarray(v[order])
    starts = blocks(first, last, len(sums))
    tall, wide = (int(np.ceil(np.ptp(c, axis=1).max())) + 2 for c in (v, u))
    size = min(tall, sums.shape[1]) * min(wide, sums.shape[2])
    _drizzle(u, v, limits[order], flux[order], error[order], first, last, starts, low, high, size, sums)


def blocks(first, last, planes):
    """Of each block of planes the pixels that may reach it: numbers of the first and of the one after the last, int (block, 2).

    Parameters
    ----------
    first, last : int (pixel,)
        First and last plane of each pixel, `first` rising.
    planes : int
    """
    reach = int((last - first).max())
    bottom = np.arange(0, planes, BLOCK)
    return np.column_stack([np.searchsorted(first, bottom - reach), np.searchsorted(first, bottom + BLOCK)])
