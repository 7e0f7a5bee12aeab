"""The images that a fringe model is made of: the envelope of one hexagonal hole, and its products with the fringes of each pair."""

import math

import numpy as np
from numba import njit, prange

SMALL = 1e-6  # where the envelope's quotient would be 0/0; it is even there, so that its error is of the order of the square


@njit(cache=True, nogil=True)
def _sinc(x):
    return 1.0 if x == 0 else math.sin(math.pi * x) / (math.pi * x)


@njit(cache=True, nogil=True)
def _hexagon(xi, eta):
    """Fourier transform of a hexagon of unit width, from flat to flat, with two corners on the second axis.

    The transform of a half hexagon and that of its mirror image (Sabatke et al. 2005, Appl. Opt. 44, 1360) in one real expression.
    """
    if abs(eta) < SMALL:
        eta = SMALL
    root = math.sqrt(3.0)
    one = math.sin(0.5 * math.pi * (root * eta - xi)) * _sinc((eta + root * xi) / (2 * root))
    other = math.sin(0.5 * math.pi * (root * eta + xi)) * _sinc((eta - root * xi) / (2 * root))
    return (one + other) / (2 * math.pi * eta)


@njit(cache=True, nogil=True, parallel=True)
def fringes(rows, columns, weights, response, hexagons, over):
    """Sum the envelope times each fringe over the samples of a pixel and over wavelengths.

    Parameters
    ----------
    rows, columns : (wavelength, sample, hole) complex128
        Phasors of the holes along the two axes: that of hole h at a sample is their product.
    weights : (wavelength,) float64
    response : (wavelength, pair) float64
        What the fringes of each pair are multiplied with.
    hexagons : (wavelength, 2, 2 + 2) float64
        For each wavelength two lines [a, b, c, d]: the hexagon's coordinate is a (row - c) + b (column - d), of samples.
    over : int
        Samples a pixel.

    Returns
    -------
    (row, col, 1 + holes (holes - 1)) float64
        The envelope, then for each pair (0, 1), (0, 2)... twice its cosine and twice its sine times the envelope.
    """
    holes = rows.shape[2]
    height, width = rows.shape[1] // over, columns.shape[1] // over
    out = np.zeros((height, width, 1 + holes * (holes - 1)))
    for row in prange(height):
        phasors = np.empty(holes, np.complex128)
        for wave in range(len(weights)):
            first, second = hexagons[wave, 0], hexagons[wave, 1]
            for y in range(row * over, (row + 1) * over):
                for x in range(width * over):
                    xi = first[0] * (y - first[2]) + first[1] * (x - first[3])
                    eta = second[0] * (y - second[2]) + second[1] * (x - second[3])
                    amplitude = _hexagon(xi, eta)
                    envelope = weights[wave] * amplitude * amplitude
                    for hole in range(holes):
                        phasors[hole] = rows[wave, y, hole] * columns[wave, x, hole]
                    here = out[row, x // over]
                    here[0] += envelope
                    number, pair = 1, 0
                    for hole in range(holes - 1):
                        re, im = 2 * envelope * phasors[hole].real, 2 * envelope * phasors[hole].imag
                        for other in range(hole + 1, holes):
                            a, b = phasors[other].real, phasors[other].imag
                            passed = response[wave, pair]
                            here[number] += passed * (re * a + im * b)
                            here[number + 1] += passed * (im * a - re * b)
                            number += 2
                            pair += 1
    return out
