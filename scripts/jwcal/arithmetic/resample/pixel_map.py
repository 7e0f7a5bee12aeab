"""Where the pixels of one image fall on the grid of another."""

import logging
from math import ceil, floor

import numpy as np

from ...kernels.images.chebyshev import evaluate_pair

log = logging.getLogger(__name__)

# A map through optics and projections is analytic: its Chebyshev coefficients fall geometrically and the rounding of a right ascension
# in degrees (1e-9 to 6e-9 of a JWST pixel) is reached by degree 16. The interpolant has to agree to TOLERANCE, in pixels, with the exact
# map at three times as many points as it was made from; a map with a kink fails that at any degree and is evaluated at every pixel.
DEGREES = (16, 32)
TOLERANCE = 1e-7
ROWS = 64  # rows evaluated at once: large enough for numpy, small enough for the cache


def pixel_map(source, target, shape, stepsize=1.0, order=1):
    """Pixel coordinates in `target` of every pixel of `source`.

    Parameters
    ----------
    source, target : gwcs.WCS
        Celestial, with the same frame on the sky. Pixels outside `source`'s bounding box are NaN; `target`'s is not looked at.
    shape : (int, int)
        Rows and columns of `source`.
    stepsize : float
        1: the map at every pixel. More: a spline through the map at every `stepsize` pixels, which is less exact.
    order : int
        Of that spline, 1 or 3.

    Returns
    -------
    (row, col, 2) float64: x and y, 0 at the centre of the first pixel
    """

    def exact(x, y):
        return target.invert(*source(x, y, with_bounding_box=False), with_bounding_box=False)

    rows, columns = _inside(source, shape)
    out = np.full((*shape, 2), np.nan)
    size = max(rows.stop - rows.start, columns.stop - columns.start)
    if size <= 0:
        return out
    part = out[rows, columns]
    if stepsize > 1 and size > 10:
        done = _spline(exact, rows, columns, stepsize, order, part)
    else:
        done = size > 2 * max(DEGREES) and _chebyshev(exact, rows, columns, part)
    if not done:
        _everywhere(exact, rows, columns, part)
    return out


def _inside(wcs, shape):
    """Rows and columns whose pixel centres lie in the WCS's bounding box."""
    box = getattr(wcs, "bounding_box", None)
    if box is None:
        return slice(0, shape[0]), slice(0, shape[1])
    (x1, x2), (y1, y2) = box.bounding_box(order="F") if hasattr(box, "bounding_box") else box
    rows = slice(max(0, ceil(y1)), min(shape[0] - 1, floor(y2)) + 1)
    return rows, slice(max(0, ceil(x1)), min(shape[1] - 1, floor(x2)) + 1)


def _everywhere(exact, rows, columns, out):
    x = np.arange(columns.start, columns.stop, dtype=float)
    for start in range(rows.start, rows.stop, ROWS):
        y = np.arange(start, min(start + ROWS, rows.stop), dtype=float)
        part = slice(start - rows.start, start - rows.start + y.size)
        out[part, :, 0], out[part, :, 1] = exact(*np.meshgrid(x, y))


def _chebyshev(exact, rows, columns, out):
    """Fill the map from Chebyshev interpolants of it (Trefethen 2013, Approximation Theory and Practice, ch. 2-4, 8).

    The points of degree n are cos(pi k / n), which are every other one of degree 2n: those in between are the test.

    Returns
    -------
    bool : whether the interpolants are good enough; `out` is filled only then
    """
    for degree in DEGREES:
        nodes = np.cos(np.pi * np.arange(2 * degree + 1) / (2 * degree))
        x, y = np.meshgrid(_from_unit(nodes, columns), _from_unit(nodes, rows))
        finer = np.array(exact(x, y))
        if not np.all(np.isfinite(finer)):
            return False
        some = np.linalg.inv(_polynomials(nodes[::2], degree))  # (polynomial, node) matrices: values -> coefficients
        coefficients = some.T @ finer[:, ::2, ::2] @ some
        every = _polynomials(nodes, degree)
        error = np.abs(every.T @ coefficients @ every - finer).max()
        if error < TOLERANCE:
            log.debug("pixel map: Chebyshev series of degree %d, within %.1e pixels of the exact one", degree, error)
            along, across = (_polynomials(_to_unit(part), degree) for part in (rows, columns))
            evaluate_pair(coefficients[0], coefficients[1], across, along, out)
            return True
    log.info("pixel map: not smooth enough for a series, evaluated at every pixel")
    return False


def _polynomials(u, degree):
    """T_0 ... T_degree at u, (degree + 1, u.size)."""
    return np.ascontiguousarray(np.polynomial.chebyshev.chebvander(u, degree).T)


def _from_unit(u, part):
    return 0.5 * (part.start + part.stop - 1) + 0.5 * (part.stop - 1 - part.start) * u


def _to_unit(part):
    """Pixel numbers of a slice on the interval -1...1."""
    return np.linspace(-1.0, 1.0, part.stop - part.start)


def _spline(exact, rows, columns, stepsize, order, out):
    from scipy.interpolate import RectBivariateSpline

    def coarse(part):
        size = part.stop - part.start
        return np.linspace(part.start, part.stop - 1, max(ceil(size / stepsize), min(10, size)))

    x, y = coarse(columns), coarse(rows)
    values = np.array(exact(*np.meshgrid(x, y)))
    if not np.all(np.isfinite(values)):
        return False
    for axis in (0, 1):
        spline = RectBivariateSpline(y, x, values[axis], kx=order, ky=order)
        out[..., axis] = spline(np.arange(rows.start, rows.stop), np.arange(columns.start, columns.stop))
    return True
