"""Which segments of an image have two peaks that a level could part: the others need not be looked at level by level."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _root(parent, pixel):
    while parent[pixel] != pixel:
        parent[pixel] = parent[parent[pixel]]
        pixel = parent[pixel]
    return pixel


@njit(cache=True, nogil=True)
def _parted(labels, order, count, smallest, diagonal):
    """Pixels come in falling brightness; islands grow and meet."""
    nrow, ncol = labels.shape
    parent = np.full(labels.size, -1, np.int64)
    size = np.zeros(labels.size, np.int64)
    found = np.zeros(count + 1, np.bool_)
    flat = labels.ravel()
    for pixel in order:
        label = flat[pixel]
        parent[pixel], size[pixel] = pixel, 1
        if found[label]:
            continue
        y, x = pixel // ncol, pixel % ncol
        for dy in range(-1, 2):
            for dx in range(-1, 2):
                if (dy == 0 and dx == 0) or (not diagonal and dy != 0 and dx != 0):
                    continue
                if not (0 <= y + dy < nrow and 0 <= x + dx < ncol):
                    continue
                other = pixel + dy * ncol + dx
                if flat[other] != label or parent[other] < 0:
                    continue
                here, there = _root(parent, pixel), _root(parent, other)
                if here != there:
                    if size[here] >= smallest and size[there] >= smallest:
                        found[label] = True
                    if size[here] < size[there]:
                        here, there = there, here
                    parent[there] = here
                    size[here] += size[there]
    return found


def parted_segments(image, labels, smallest, diagonal):
    """Find segments that are two islands, both large enough, above some level.

    Parameters
    ----------
    image : float (row, col)
        Not NaN inside the segments.
    labels : int32 (row, col)
        0 outside the segments.
    smallest : int
        Pixels of an island.
    diagonal : bool
        Whether pixels that touch at a corner are neighbours.

    Returns
    -------
    int (n,)
        Labels, rising. Where pixels are equally bright a segment may be among them that is not: none is missing.
    """
    inside = np.flatnonzero(labels)
    order = inside[np.argsort(-image.ravel()[inside], kind="stable")]
    return np.flatnonzero(_parted(np.ascontiguousarray(labels), order, int(labels.max()), int(smallest), bool(diagonal)))
