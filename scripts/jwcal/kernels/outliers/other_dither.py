"""What another exposure of the same slices sees where a pixel looks at, and whether the pixel is unlike it."""

import numpy as np
from numba import njit, prange

SYSTEMATIC = 0.05  # of the light: fringes and flat fields that two places on the detector do not share
NOISE_RANGE = 3.0  # between the largest and the least of eight values that differ by noise alone, in standard deviations (2.85)
LEAST = 0.5  # weight that pixels with a value need in a slice
LITTLE = 0.1  # share of a slice that it can do without
BEYOND = 1.05  # of the range that a slice's polynomials were fitted in


@njit(cache=True, nogil=True)
def _polynomial(terms, a, w):
    """A polynomial in two variables, terms (i, j) of a^i w^j, by Horner's rule."""
    total = 0.0
    for i in range(terms.shape[0] - 1, -1, -1):
        line = 0.0
        for j in range(terms.shape[1] - 1, -1, -1):
            line = line * w + terms[i, j]
        total = total * a + line
    return total


@njit(cache=True, nogil=True)
def _slice_value(sci, err, labels, number, x, y):
    """Bilinear in a slice: weight, weighted sum, its squared error; least, largest, sum of errors, number of its pixels."""
    rows, columns = sci.shape
    x0, y0 = int(np.floor(x)), int(np.floor(y))
    weight = total = square = errors = 0.0
    low, high, count = np.inf, -np.inf, 0
    for j in range(y0, y0 + 2):
        for i in range(x0, x0 + 2):
            if j < 0 or i < 0 or j >= rows or i >= columns or labels[j, i] != number:
                continue
            value, error = sci[j, i], err[j, i]
            if np.isnan(value) or np.isnan(error):
                continue
            part = (1 - abs(x - i)) * (1 - abs(y - j))
            weight += part
            total += part * value
            square += part * part * error * error
            errors += error
            low, high, count = min(low, value), max(high, value), count + 1
    return weight, total, square, low, high, errors, count


@njit(cache=True, nogil=True, parallel=True)
def compare(sci, err, labels, u, v, wavelength, other_sci, other_err, frame, first, numbers, centres, limits, to_x, to_y, rules, counts):
    """Compare the pixels of an exposure with what another one sees there.

    Parameters
    ----------
    sci, err : (row, col) float32
        NaN where a pixel can't be used.
    labels : (row, col) int
        The slice of a pixel, channel * 100 + slice; 0 between them. The same in both exposures.
    u, v, wavelength : (row, col) float32
        Where the pixel looks, in a plane that both share, and at which wavelength.
    other_sci, other_err : (row, col) float32
    frame : (channel, 2, 2) float64
        u, v -> place along and across the other one's slices.
    first : (channel + 1,) int
        Number of the first slice of each channel in the next ones.
    numbers : (slice,) int
        Their labels, in each channel in the order of `centres`.
    centres : (slice,) float64
        Their places across.
    limits : (slice, 4) float64
        Middle and half range of the place along, and of the wavelength.
    to_x, to_y : (slice, i, j) float64
        Pixel by the place along and the wavelength in units of `limits`.
    rules : (n, 2) float64
        Standard deviations, and how much the other one's differences between neighbours add.
    counts : (1 + n, row, col) uint8
        Changed in place: how many others see a pixel, and from how many it differs by each rule.
    """
    rows, columns = sci.shape
    for y in prange(rows):
        for x in range(columns):
            label = labels[y, x]
            if label <= 0 or np.isnan(sci[y, x]) or np.isnan(err[y, x]) or np.isnan(wavelength[y, x]):
                continue
            turn = frame[label // 100]
            along = turn[0, 0] * u[y, x] + turn[0, 1] * v[y, x]
            across = turn[1, 0] * u[y, x] + turn[1, 1] * v[y, x]
            start, stop = first[label // 100], first[label // 100 + 1]
            if stop - start < 2:
                continue
            right = start + np.searchsorted(centres[start:stop], across)
            if right == start or right == stop:  # what lies beyond the middle of the last slice is not told by its neighbours
                continue
            share = (across - centres[right - 1]) / (centres[right] - centres[right - 1])
            weight = total = square = errors = 0.0
            low, high, count = np.inf, -np.inf, 0
            whole = True
            for which, part in ((right - 1, 1 - share), (right, share)):
                a = (along - limits[which, 0]) / limits[which, 1]
                w = (wavelength[y, x] - limits[which, 2]) / limits[which, 3]
                if abs(a) > BEYOND or abs(w) > BEYOND:
                    whole &= part < LITTLE
                    continue
                there = _polynomial(to_x[which], a, w), _polynomial(to_y[which], a, w)
                s, t, q, lo, hi, e, n = _slice_value(other_sci, other_err, labels, numbers[which], there[0], there[1])
                whole &= s > LEAST or part < LITTLE
                weight += part * s
                total += part * t
                square += part * part * q
                errors += e
                low, high, count = min(low, lo), max(high, hi), count + n
            if not whole or weight < LEAST:
                continue
            model = total / weight
            reach = max(0.0, high - low - NOISE_RANGE * errors / count)
            noise = np.sqrt(err[y, x] ** 2 + square / weight**2)
            counts[0, y, x] += 1
            for turn in range(len(rules)):
                if abs(sci[y, x] - model) > rules[turn, 0] * noise + rules[turn, 1] * reach + SYSTEMATIC * abs(model):
                    counts[1 + turn, y, x] += 1
