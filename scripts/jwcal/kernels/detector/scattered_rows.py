"""Light that each pixel of a row throws onto the others of its row: a sum over pixels, with a profile of the row's own."""

import numpy as np
from numba import njit, prange


@njit(cache=True, nogil=True, error_model="numpy")
def _profile(into, shape):
    """A Lorentzian and two pairs of Gaussians, the outer one twice as far away and as wide, at the distances 0, 1, 2..."""
    lorentz_width, lorentz, width, shift, inner, outer = shape
    gamma, square = lorentz_width / 2, 2 * (width / (2 * np.sqrt(2 * np.log(2)))) ** 2
    for distance in range(into.size):
        value = lorentz * gamma * gamma / (gamma * gamma + distance * distance)
        for side in (-1.0, 1.0):
            value += inner * np.exp(-((distance + side * shift) ** 2) / square)
            value += outer * np.exp(-((distance + 2 * side * shift) ** 2) / (4 * square))
        into[distance] = value


@njit(cache=True, nogil=True, parallel=True, error_model="numpy")
def _scatter(image, out, first, end, shapes):
    rows, columns = image.shape
    for y in prange(rows):
        half = np.empty(columns)
        _profile(half, (shapes[y, 0], shapes[y, 1], shapes[y, 2], shapes[y, 3], shapes[y, 4], shapes[y, 5]))
        profile = np.empty(2 * columns - 1)  # at the distances 1 - columns .. columns - 1
        for distance in range(columns):
            profile[columns - 1 + distance] = profile[columns - 1 - distance] = half[distance]
        line = np.zeros(columns)
        for source in range(first, end):
            light = np.float64(image[y, source])
            if light > 0:
                seen = profile[columns - 1 - source : 2 * columns - 1 - source]
                for x in range(columns):
                    line[x] += light * seen[x]
        for x in range(columns):
            out[y, x] += line[x]


def scatter(image, out, columns, profiles):
    """Add to `out` what the pixels of some columns throw onto all of their row.

    Parameters
    ----------
    image : float32 (row, col)
        Pixels that are not above 0 throw nothing.
    out : float64 (row, col)
        Changed in place.
    columns : slice
        Of the pixels that throw light.
    profiles : sequence of six float64 (row,)
        FWHM and peak of the Lorentzian; FWHM and distance of the inner Gaussians, from which the outer ones differ by a factor of two
        in both; peaks of the inner and of the outer ones. In pixels, and for a light of 1.
    """
    _scatter(image, out, columns.start, columns.stop, np.stack(profiles, axis=1))
