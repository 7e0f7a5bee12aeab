"""Stripes along the slow axis of a readout: the median of each line's background pixels (image1overf; Willott 2022).

Ramps are cleaned as differences of neighbouring groups; these are made and undone in place.
"""

import numpy as np
from numba import njit, prange

INF = np.float32(np.inf)
TILE = 32  # columns that are copied together


@njit(cache=True, nogil=True, parallel=True)
def to_differences(ramp):
    """Turn groups into their differences from the group before, in place; the first group stays.

    Parameters
    ----------
    ramp : ndarray of float32, (int, group, row, col)
    """
    nints, ngroups, ny, nx = ramp.shape
    for k in prange(nints * ny):
        i, y = k // ny, k % ny
        for g in range(ngroups - 1, 0, -1):
            for x in range(nx):
                ramp[i, g, y, x] -= ramp[i, g - 1, y, x]


@njit(cache=True, nogil=True, parallel=True)
def to_ramp(ramp):
    """Undo `to_differences`, in place."""
    nints, ngroups, ny, nx = ramp.shape
    for k in prange(nints * ny):
        i, y = k // ny, k % ny
        for g in range(1, ngroups):
            for x in range(nx):
                ramp[i, g, y, x] += ramp[i, g - 1, y, x]


@njit(cache=True, nogil=True)
def usable(image, scene, flags, bad):
    """The scene mask without pixels that are not finite or have one of the `bad` flags.

    Parameters
    ----------
    image : ndarray of float32, (row, col)
    scene : ndarray of bool, (row, col)
    flags : ndarray of uint8, (row, col)
    bad : uint8

    Returns
    -------
    ndarray of bool, (row, col)
    """
    mask = np.empty(image.shape, np.bool_)
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            v = image[y, x]
            mask[y, x] = scene[y, x] and not flags[y, x] & bad and v - v == 0
    return mask


@njit(cache=True, nogil=True)
def _lines(image, mask, columns, counts):
    """The image with its lines (columns if asked, else rows) along the last axis and infinity outside the mask; counts the others."""
    ny, nx = image.shape
    parts = counts.shape[1]
    lines = np.empty((nx, ny) if columns else (ny, nx), np.float32)
    counts[:] = 0
    if columns:
        size = ny // parts
        for x0 in range(0, nx, TILE):
            for y in range(ny):
                for x in range(x0, min(x0 + TILE, nx)):
                    good = mask[y, x]
                    lines[x, y] = image[y, x] if good else INF
                    counts[x, y // size] += good
    else:
        size = nx // parts
        for y in range(ny):
            for x in range(nx):
                good = mask[y, x]
                lines[y, x] = image[y, x] if good else INF
                counts[y, x // size] += good
    return lines


def stripes(image, mask, axis, channels=1):
    """Median of the pixels of each line that are in the mask; 0 where there is none.

    Parameters
    ----------
    image : ndarray of float32, (row, col)
    mask : ndarray of bool, (row, col)
    axis : int
        Array axis that the lines run along: 0 for stripes that are columns, 1 for rows.
    channels : int
        A line is divided into so many parts of the same length, each with its own median.

    Returns
    -------
    ndarray of float32
        (row, col), to be subtracted from the image.
    """
    ny, nx = image.shape
    n, length = (nx, ny) if axis == 0 else (ny, nx)
    counts = np.empty((n, channels), np.int64)
    lines = _lines(image, mask, axis == 0, counts).reshape(n, channels, length // channels)
    whole = np.broadcast_to(medians(lines, counts), lines.shape).reshape(n, length)
    return whole.T if axis == 0 else whole


def medians(lines, counts):
    """Medians along the last axis, in single precision, which stays with the length 1; 0 where there is nothing.

    Parameters
    ----------
    lines : ndarray of float32, (..., pixel)
        Sorted in place; infinity or NaN beside the numbers that count.
    counts : ndarray of int, (...)
        How many these are.
    """
    lines.sort(axis=-1)
    middle = (np.maximum(counts - 1, 0) // 2, counts // 2 % lines.shape[-1])
    low, high = (np.take_along_axis(lines, k[..., None], -1) for k in middle)
    return np.where(counts[..., None] > 0, (low + high) / np.float32(2), np.float32(0))
