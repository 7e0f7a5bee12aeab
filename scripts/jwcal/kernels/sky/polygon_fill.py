"""Fill polygons with whole pixels, line by line (scan conversion with a table of edges; Foley et al. 1990, Computer Graphics, 3.6)."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _crossings(y, row, vertices, left, found):
    """Columns, sorted, where the edges that are active in `row` meet the line at y; returns how many."""
    count = 0
    for e in range(vertices.shape[0] - 1):
        x1, y1, x2, y2 = vertices[e, 0], vertices[e, 1], vertices[e + 1, 0], vertices[e + 1, 1]
        if min(y1, y2) <= row < max(y1, y2):
            along = (y - y1) / (y2 - y1)
            found[count] = np.int64(np.ceil(along * (x2 - x1) + x1)) + left
            count += 1
    found[:count].sort()
    return count


@njit(cache=True, nogil=True)
def _fill(vertices, left, bottom, inside):
    rows, columns = inside.shape
    low, high = vertices[:, 1].min(), vertices[:, 1].max()
    if low == high or vertices[:, 0].min() == vertices[:, 0].max():
        return
    found = np.empty(vertices.shape[0], np.int64)
    for y in range(max(low, -bottom), min(high, rows - 1 - bottom) + 1):
        count = _crossings(y, min(y, high - 1), vertices, left, found)  # the topmost line has the edges of the one below
        for pair in range(count // 2):
            for x in range(max(0, found[2 * pair]), min(found[2 * pair + 1], columns - 1) + 1):
                inside[y + bottom, x] = True


def fill(x, y, inside):
    """Mark the pixels of a polygon.

    Vertices are rounded to the nearest pixel, a line of pixels reaches from one crossing of it with the outline to the next, both
    rounded up and included: which pixels of the outline are in is `gwcs.region.Polygon.scan`'s choice, as jwst's sky matching makes it.

    Parameters
    ----------
    x, y : array_like
        Vertices in pixels, counted from 0; the last is the first. They may lie outside the image.
    inside : bool (row, col)
        Set in place where the polygon is.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    left, bottom = min(0.0, x.min()), min(0.0, y.min())
    vertices = np.stack([np.rint(x - left), np.rint(y - bottom)], axis=1).astype(np.int64)
    _fill(vertices, int(np.rint(left)), int(np.rint(bottom)), inside)
