"""Variances of weighted means, summed image by image."""

import numpy as np
from numba import njit, prange


@njit(cache=True, nogil=True, parallel=True)
def add_variance(error, weight_error, constant, total, weights):
    """Add one image's variance to the sums of w^2 v and of w.

    Parameters
    ----------
    error : (row, col) float32
        Standard deviation on the common grid; NaN where the image has no pixel.
    weight_error : (row, col) float32 or (0, 0)
        Standard deviation whose inverse square is the weight w; empty: w = constant.
    constant : float
    total, weights : (row, col) float32
        Sums, changed in place. `total` starts as NaN, which stays where nothing is added.
    """
    rows, columns = error.shape
    uniform = weight_error.size == 0
    for row in prange(rows):
        for column in range(columns):
            variance = error[row, column] * error[row, column]
            weight = constant
            if not uniform:
                noise = weight_error[row, column] * weight_error[row, column]
                weight = float(np.float32(1.0) / noise) if noise > 0 and noise < np.inf else 0.0
            if not (variance >= 0 and variance < np.inf and weight > 0):
                continue
            before = total[row, column]
            total[row, column] = (0.0 if np.isnan(before) else before) + variance * weight * weight
            weights[row, column] += weight


@njit(cache=True, nogil=True, parallel=True)
def variance_of_mean(total, weights, scale):
    """sum(w^2 v) / (sum w)^2 x scale, into `total`; two divisions, because (sum w)^2 may overflow float32."""
    rows, columns = total.shape
    scale = np.float32(scale)
    for row in prange(rows):
        for column in range(columns):
            if weights[row, column] > 0:
                total[row, column] = total[row, column] * scale / weights[row, column] / weights[row, column]
            else:
                total[row, column] = np.nan


@njit(cache=True, nogil=True, parallel=True)
def error_of_sum(a, b, c):
    """Square root of the sum of three variances, those that are NaN left out; NaN where all are."""
    error = np.empty_like(a)
    rows, columns = a.shape
    for row in prange(rows):
        for column in range(columns):
            total, found = np.float32(0.0), False
            for variance in (a[row, column], b[row, column], c[row, column]):
                if not np.isnan(variance):
                    total, found = total + variance, True
            error[row, column] = np.sqrt(total) if found else np.nan
    return error
