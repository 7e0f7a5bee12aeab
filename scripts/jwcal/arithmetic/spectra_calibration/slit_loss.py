"""How much of a source's light a slit lets through: tables by wavelength and by the source's place in the slit."""

from math import floor

import numpy as np

from ...vocabulary.errors import ReferenceError
from .wavelengths import rising


def at_place(cube, keywords, x, y, path):
    """The spectrum of a cube at a place, linear between the four around it.

    Parameters
    ----------
    cube : ndarray, (wavelength, row, col)
    keywords : mapping
        CRPIX, CRVAL, CDELT of the axes 1 (col) and 2 (row), in the unit of the place.
    x, y : float
    path : path
        Of the reference, for messages.

    Returns
    -------
    ndarray, (wavelength,), or None where the place is outside the cube or not known

    Raises
    ------
    ReferenceError
        The keywords are not there, or the cube has not three axes.
    """
    if cube.ndim != 3:
        raise ReferenceError(f"its losses have the shape {cube.shape}, a cube was expected", path, "Give another pathloss reference")
    column, row = (_index(keywords, axis, value, path) for axis, value in ((1, x), (2, y)))
    rows, columns = cube.shape[1:]
    if not (0 <= column < columns - 1 and 0 <= row < rows - 1):  # NaN too
        return None
    i, j = floor(row), floor(column)
    v, u = row - i, column - j
    lower = (1 - u) * cube[:, i, j] + u * cube[:, i, j + 1]
    upper = (1 - u) * cube[:, i + 1, j] + u * cube[:, i + 1, j + 1]
    return (1 - v) * lower + v * upper


def _index(keywords, axis, value, path):
    """A place on an axis, counted in pixels from 0."""
    given = [keywords.get(f"{name}{axis}") for name in ("CRPIX", "CRVAL", "CDELT")]
    if None in given or not given[2]:
        what = f"the pathloss reference does not say where its axis {axis} is (CRPIX{axis}, CRVAL{axis}, CDELT{axis})"
        raise ReferenceError(what, path, "Give another pathloss reference")
    pixel, there, step = given
    return pixel + (value - there) / step - 1


def on_pixels(wavelength, at, loss):
    """A table's values at the wavelengths of pixels, linear in between.

    Parameters
    ----------
    wavelength : ndarray
        Of the pixels.
    at, loss : ndarray, (n,)
        The table, in any order.

    Returns
    -------
    float64 ndarray, shape of `wavelength`
        NaN outside the table.
    """
    at, loss = rising(at, loss)
    return np.interp(wavelength, at, loss, left=np.nan, right=np.nan)
