"""From a spectrum to the light of an order in each column, as sparse matrices."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix, diags_array, identity

from ...kernels.soss.pixel_integrals import pixel_integrals


@dataclass
class Span:
    """The part of a grid that an order's columns tell about.

    Attributes
    ----------
    first, count : int
        Points of the grid between the middles of the order's first and last column.
    columns : bool (col,)
        Columns that lie between these points with their whole width.
    """

    first: int
    count: int
    columns: np.ndarray


def inside(grid, low, high):
    """Columns that lie on a grid with their whole width: bool (col,)."""
    with np.errstate(invalid="ignore"):
        return (low >= grid[0]) & (high <= grid[-1])


def span_of(grid, wavelength, low, high, seen):
    """The span of an order.

    Parameters
    ----------
    grid : float64 (point,)
    wavelength, low, high : float64 (col,)
        Middle and limits of the columns; NaN where an order has none.
    seen : bool (col,)
        Columns with pixels that are used.

    Returns
    -------
    Span or None
        None where no column is seen.
    """
    seen = seen & np.isfinite(wavelength)
    if not seen.any():
        return None
    first = int(np.searchsorted(grid, wavelength[seen].min()))
    last = int(np.searchsorted(grid, wavelength[seen].max(), side="right"))
    if last - first < 2:
        return None
    return Span(first, last - first, inside(grid[first:last], low, high))


def column_matrix(grid, span, low, high, throughput=None, blur=None):
    """The light of an order in each column, of a spectrum on a grid.

    A column's light is the integral over its width of wavelength * throughput * (the blurred spectrum), DN/s for a spectrum that is
    DN/s a micron when it is multiplied with the first two (equation 8 of Darveau-Bernier et al. 2022).

    Parameters
    ----------
    grid : float64 (point,)
        micron.
    span : Span
    low, high : float64 (col,)
    throughput : callable, optional
        Of wavelengths; 1 without.
    blur : csr_matrix (span.count, point), optional
        The spectrum is not blurred without.

    Returns
    -------
    csr_matrix (col, point)
    """
    part = grid[span.first : span.first + span.count]
    edges = (np.where(span.columns, limit, np.nan) for limit in (low, high))
    starts, columns, weights = pixel_integrals(part, *edges)
    integrals = csr_matrix((weights, columns, starts), shape=(low.size, span.count))
    factor = part if throughput is None else part * throughput(part)
    if blur is None:
        blur = identity(grid.size, format="csr")[span.first : span.first + span.count]
    return csr_matrix(integrals @ (diags_array(factor) @ blur))
