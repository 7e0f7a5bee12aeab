"""How a star's image moved, and what is left when that is taken into account."""

import numpy as np
from numba import njit, prange

from .median_image import middle

ROUNDS = 12  # of reweighting
BOUNDED = 6  # of these with weights that fall off slowly (Huber 1964); then with weights that end (Beaton & Tukey 1974)
HUBER, TUKEY = 1.345, 4.685  # standard deviations: 95 % of the least squares' efficiency for Gaussian noise
TO_SIGMA = 1.4826  # of the median absolute deviation of Gaussian noise


@njit(cache=True, nogil=True)
def _weights(distance, gentle, count, values, weights):
    """Weights of residuals in units of their errors; the scale is their own, but at least 1."""
    for i in range(count):
        values[i] = np.abs(distance[i])
    scale = max(np.float32(1.0), np.float32(TO_SIGMA) * middle(values, count))
    for i in range(count):
        away = np.abs(distance[i]) / scale
        if gentle:
            weights[i] = 1.0 if away < HUBER else HUBER / away
        else:
            weights[i] = (1.0 - (away / TUKEY) ** 2) ** 2 if away < TUKEY else 0.0


@njit(cache=True, nogil=True)
def _solve(matrix, vector):
    """Solution of a small symmetric system in place (Cholesky); what is not determined is 0."""
    n = vector.size
    for k in range(n):
        matrix[k, k] *= 1.0 + 1e-9
    for k in range(n):
        pivot = matrix[k, k]
        for j in range(k):
            pivot -= matrix[k, j] * matrix[k, j]
        matrix[k, k] = np.sqrt(pivot) if pivot > 0 else 0.0
        for i in range(k + 1, n):
            total = matrix[i, k]
            for j in range(k):
                total -= matrix[i, j] * matrix[k, j]
            matrix[i, k] = total / matrix[k, k] if matrix[k, k] > 0 else 0.0
    for k in range(n):
        for j in range(k):
            vector[k] -= matrix[k, j] * vector[j]
        vector[k] = vector[k] / matrix[k, k] if matrix[k, k] > 0 else 0.0
    for k in range(n - 1, -1, -1):
        for j in range(k + 1, n):
            vector[k] -= matrix[j, k] * vector[j]
        vector[k] = vector[k] / matrix[k, k] if matrix[k, k] > 0 else 0.0


@njit(cache=True, nogil=True, parallel=True)
def fit_modes(residuals, modes):
    """Amplitudes of modes in each integration, whatever a few pixels do: iteratively reweighted least squares.

    Parameters
    ----------
    residuals : (int, pixel) float32
        In units of their errors; NaN does not count.
    modes : (mode, pixel) float32
        In the same units.

    Returns
    -------
    (int, mode) float32
        0 where fewer than three pixels a mode are left.
    """
    integrations, pixels = residuals.shape
    number = modes.shape[0]
    out = np.zeros((integrations, number), np.float32)
    for integration in prange(integrations):
        which, distance = np.empty(pixels, np.int64), np.empty(pixels, np.float32)
        values, weights = np.empty(pixels, np.float32), np.empty(pixels, np.float32)
        matrix, vector = np.zeros((number, number)), np.zeros(number)
        count = 0
        for pixel in range(pixels):
            if np.isfinite(residuals[integration, pixel]):
                which[count] = pixel
                count += 1
        if count < 3 * number:
            continue
        for turn in range(ROUNDS):
            for i in range(count):
                left = residuals[integration, which[i]]
                for m in range(number):
                    left -= np.float32(vector[m]) * modes[m, which[i]]
                distance[i] = left
            _weights(distance, turn < BOUNDED, count, values, weights)
            matrix[:] = 0.0
            vector[:] = 0.0
            for i in range(count):
                pixel, weight = which[i], weights[i]
                for m in range(number):
                    part = weight * modes[m, pixel]
                    vector[m] += part * residuals[integration, pixel]
                    for k in range(m + 1):
                        matrix[m, k] += part * modes[k, pixel]
            _solve(matrix, vector)
        for m in range(number):
            out[integration, m] = vector[m]
    return out


@njit(cache=True, nogil=True, parallel=True)
def beyond_scatter(sci, err, model, moved, doubt, snr):
    """Where a pixel is further from the model than its noise allows.

    The noise is ERR, a share of what the motion changes, and what the pixel scatters more than ERR:
    sigma^2 = ERR^2 + (doubt moved)^2 + max(0, s^2 - E^2), where s is the scatter over the integrations (from the median absolute deviation)
    and E the median ERR, made larger by what s is uncertain by.

    Parameters
    ----------
    sci, err, model, moved : (int, row, col) float32
        A pixel is expected at model + moved. A NaN error counts as 0; a NaN elsewhere is never beyond.
    doubt, snr : float

    Returns
    -------
    (int, row, col) bool
    """
    n, rows, columns = sci.shape
    out = np.zeros((n, rows, columns), np.bool_)
    sure = np.float32((1.0 + 2.0 / np.sqrt(n)) ** 2)
    doubt, snr = np.float32(doubt), np.float32(snr)
    for row in prange(rows):
        left, errors = np.empty((columns, n), np.float32), np.empty((columns, n), np.float32)
        values = np.empty(n, np.float32)
        for i in range(n):
            for column in range(columns):
                left[column, i] = sci[i, row, column] - model[i, row, column] - moved[i, row, column]
                error = err[i, row, column]
                errors[column, i] = np.float32(0.0) if np.isnan(error) else error
        for column in range(columns):
            count = 0
            for i in range(n):
                if not np.isnan(left[column, i]):
                    values[count] = np.abs(left[column, i])
                    count += 1
            scatter = np.float32(TO_SIGMA) * middle(values, count)
            count = 0
            for i in range(n):
                if errors[column, i] > 0:
                    values[count] = errors[column, i]
                    count += 1
            usual = middle(values, count)
            more = scatter * scatter - sure * usual * usual
            if not more > 0:
                more = np.float32(0.0)
            for i in range(n):
                unsure = doubt * moved[i, row, column]
                sigma = np.sqrt(errors[column, i] * errors[column, i] + unsure * unsure + more)
                out[i, row, column] = np.abs(left[column, i]) > snr * sigma
    return out
