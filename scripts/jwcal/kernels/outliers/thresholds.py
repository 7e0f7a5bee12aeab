"""Pixels of an image that do not look like the median of all images."""

import numpy as np
from numba import njit, prange


@njit(cache=True, nogil=True)
def _distance(a, b):
    difference = np.abs(a - b)
    return np.float32(0.0) if np.isnan(difference) else difference


@njit(cache=True, nogil=True)
def _slope(image, row, column):
    """Largest difference of a pixel from one of its four neighbours; 0 without a neighbour that has a value."""
    rows, columns = image.shape
    here, most = image[row, column], np.float32(0.0)
    if row > 0:
        most = max(most, _distance(here, image[row - 1, column]))
    if row < rows - 1:
        most = max(most, _distance(here, image[row + 1, column]))
    if column > 0:
        most = max(most, _distance(here, image[row, column - 1]))
    if column < columns - 1:
        most = max(most, _distance(here, image[row, column + 1]))
    return most


@njit(cache=True, nogil=True)
def _height(image, row, column):
    """How far a pixel stands out above the nine around it, weighted 1 2 1 in both directions; those without a value do not count."""
    rows, columns = image.shape
    total, weights = np.float32(0.0), np.float32(0.0)
    for y in range(max(row - 1, 0), min(row + 2, rows)):
        for x in range(max(column - 1, 0), min(column + 2, columns)):
            value = image[y, x]
            if not np.isnan(value):
                weight = np.float32((2 - abs(y - row)) * (2 - abs(x - column)))
                total += weight * value
                weights += weight
    return image[row, column] - total / weights if weights > 0 else np.float32(0.0)


@njit(cache=True, nogil=True, parallel=True)
def reach(image, err, scale, peak, floor):
    """How far an image's sampling may lead away from it.

    Parameters
    ----------
    image, err : (row, col) float32
        NaN errors count as 0.
    scale, peak : float
        Factors of slope (`_slope`) and height (`_height`).
    floor : float
        Both count from so many errors on.

    Returns
    -------
    (row, col) float32
        NaN where the image is.
    """
    rows, columns = image.shape
    out = np.empty_like(image)
    scale, peak, floor = np.float32(scale), np.float32(peak), np.float32(floor)
    zero = np.float32(0.0)
    for row in prange(rows):
        for column in range(columns):
            if np.isnan(image[row, column]):
                out[row, column] = np.nan
                continue
            least = floor * err[row, column]
            if np.isnan(least):
                least = zero
            total = scale * max(_slope(image, row, column) - least, zero)
            if peak > zero:
                total += peak * max(_height(image, row, column) - least, zero)
            out[row, column] = total
    return out


@njit(cache=True, nogil=True, parallel=True)
def beyond(sci, err, model, reach, level, snr, scale):
    """Where |sci - model - level| > scale reach + snr err.

    Parameters
    ----------
    sci, err, model, reach : (row, col) float32
        A NaN error counts as 0; a NaN elsewhere is never beyond.
    level, snr, scale : float

    Returns
    -------
    (row, col) bool
    """
    rows, columns = sci.shape
    out = np.empty((rows, columns), np.bool_)
    level, snr, scale = np.float32(level), np.float32(snr), np.float32(scale)
    for row in prange(rows):
        for column in range(columns):
            error = err[row, column]
            if np.isnan(error):
                error = np.float32(0.0)
            distance = np.abs(sci[row, column] - model[row, column] - level)
            out[row, column] = distance > scale * reach[row, column] + snr * error
    return out


@njit(cache=True, nogil=True, parallel=True)
def beside(first, second):
    """Where `second` holds and `first` does in one of the nine pixels around."""
    rows, columns = first.shape
    out = np.zeros((rows, columns), np.bool_)
    for row in prange(rows):
        for column in range(columns):
            if second[row, column]:
                for y in range(max(row - 1, 0), min(row + 2, rows)):
                    for x in range(max(column - 1, 0), min(column + 2, columns)):
                        if first[y, x]:
                            out[row, column] = True
    return out
