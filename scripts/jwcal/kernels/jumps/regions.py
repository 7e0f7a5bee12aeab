"""Connected pixels, by runs: rows of most masks are empty, so the work goes with the number of flagged pixels and not with the frame.

Pixels that touch at a side or at a corner belong together. Labels by union-find over the runs of flagged pixels in each row
(He, Chao & Suzuki 2008, IEEE Trans. Image Processing 17, 749).
"""

from typing import NamedTuple

import numpy as np
from numba import njit

CHUNK = 16  # columns that are skipped together where there is nothing


class Regions(NamedTuple):
    """Connected regions, in the order of their first pixels.

    box: int64, (region, 4): first row, first column, last row + 1, last column + 1.
    sums: int64, (region, 6): of 1, row, column, row^2, column^2, row x column over its pixels, counted from the corner of the box.
    label: int64: the run that a region begins with.
    runs: int64, (run, 4): row, first column, last column + 1, label.
    """

    box: np.ndarray
    sums: np.ndarray
    label: np.ndarray
    runs: np.ndarray


@njit(cache=True, nogil=True)
def _any(now, bit):
    """Whether a pixel has the bit; without branches, for the machine's vectors."""
    found = np.uint8(0)
    for x in range(now.size):
        found |= now[x] & bit
    return found != 0


@njit(cache=True, nogil=True)
def _find_runs(now, before, bit, veto):
    """Runs (row, first column, last column + 1, own number) of pixels with `bit` now and without `veto` before."""
    ny, nx = now.shape
    runs = np.empty((1024, 4), np.int64)
    count = 0
    for y in range(ny):
        row, earlier, inside = now[y], before[y], False
        for x0 in range(0, nx, CHUNK):
            x1 = min(x0 + CHUNK, nx)
            if not inside and not _any(row[x0:x1], bit):
                continue
            for x in range(x0, x1):
                if ((row[x] & bit) != 0 and (earlier[x] & veto) == 0) != inside:
                    inside = not inside
                    if inside:
                        runs = _grown(runs, count)
                        runs[count, 0], runs[count, 1], runs[count, 3] = y, x, count
                    else:
                        runs[count, 2] = x
                        count += 1
        if inside:
            runs[count, 2] = nx
            count += 1
    return runs[:count]


@njit(cache=True, nogil=True)
def _grown(table, count):
    """The table, or a larger copy where there is no room for another row."""
    if count < len(table):
        return table
    more = np.empty((2 * count, table.shape[1]), table.dtype)
    more[:count] = table
    return more


@njit(cache=True, nogil=True)
def _root(runs, k):
    """The first run of the region that run k is known to belong to; shortens the way there."""
    while runs[k, 3] != k:
        runs[k, 3] = runs[runs[k, 3], 3]
        k = runs[k, 3]
    return k


@njit(cache=True, nogil=True)
def _join(runs):
    """Give all runs of a region the number of its first one."""
    upper = 0
    for k in range(len(runs)):
        while runs[upper, 0] < runs[k, 0] - 1 or (runs[upper, 0] == runs[k, 0] - 1 and runs[upper, 2] < runs[k, 1]):
            upper += 1
        other = upper
        while runs[other, 0] == runs[k, 0] - 1 and runs[other, 1] <= runs[k, 2]:
            a, b = _root(runs, k), _root(runs, other)
            runs[max(a, b), 3] = min(a, b)
            other += 1
    for k in range(len(runs)):
        runs[k, 3] = _root(runs, k)


@njit(cache=True, nogil=True)
def _squares(n):
    """0 + 1 + 4 + ... + n^2."""
    return n * (n + 1) * (2 * n + 1) // 6


@njit(cache=True, nogil=True)
def _measure(runs):
    """Boxes, sums and labels of all regions."""
    place = np.full(len(runs), -1, np.int64)
    count = 0
    for k in range(len(runs)):
        if runs[k, 3] == k:
            place[k] = count
            count += 1
    box, sums, label = np.zeros((count, 4), np.int64), np.zeros((count, 6), np.int64), np.empty(count, np.int64)
    for k in range(len(runs)):
        y, x0, x1, first = runs[k]
        b = box[place[first]]
        if first == k:
            b[0], b[1], b[3], label[place[k]] = y, x0, x1, k
        b[1], b[2], b[3] = min(b[1], x0), y + 1, max(b[3], x1)
    for k in range(len(runs)):
        b, s = box[place[runs[k, 3]]], sums[place[runs[k, 3]]]
        y, x0, x1 = runs[k, 0] - b[0], runs[k, 1] - b[1], runs[k, 2] - b[1]
        n, sx = x1 - x0, (x0 + x1 - 1) * (x1 - x0) // 2
        s[0] += n
        s[1] += n * y
        s[2] += sx
        s[3] += n * y * y
        s[4] += _squares(x1 - 1) - _squares(x0 - 1)
        s[5] += sx * y
    return box, sums, label


@njit(cache=True, nogil=True)
def _paint(image, runs, label, box):
    """Set the pixels of one region in an image of its box."""
    for k in range(label, len(runs)):
        if runs[k, 0] >= box[2]:
            break
        if runs[k, 3] == label:
            image[runs[k, 0] - box[0], runs[k, 1] - box[1] : runs[k, 2] - box[1]] = 1


@njit(cache=True, nogil=True)
def _holes(runs, label, box):
    """Pixels that a region closes in at sides and corners."""
    height, width = box[2] - box[0], box[3] - box[1]
    image = np.zeros((height + 2, width + 2), np.uint8)
    _paint(image[1:-1, 1:-1], runs, label, box)
    todo = np.empty((image.size, 2), np.int64)
    todo[0], n, outside = (0, 0), 1, 1
    image[0, 0] = 1
    while n:
        n -= 1
        row, column = todo[n]
        for y in range(max(row - 1, 0), min(row + 2, height + 2)):
            for x in range(max(column - 1, 0), min(column + 2, width + 2)):
                if not image[y, x]:
                    image[y, x] = 1
                    todo[n] = y, x
                    n += 1
                    outside += 1
    return image.size - image.sum()


@njit(cache=True, nogil=True)
def _is_large(size, runs, label, box, least):
    """Whether a region has `least` pixels, holes included. The smallest hole takes a ring of 8."""
    if size >= least:
        return True
    return size >= 8 and (box[2] - box[0]) * (box[3] - box[1]) >= least and size + _holes(runs, label, box) >= least


@njit(cache=True, nogil=True)
def find_regions(now, before, bit, veto, least):
    """Regions of at least `least` pixels, holes included, that have `bit` now and did not have `veto` before.

    Parameters
    ----------
    now, before : ndarray of uint8, (row, col)
    bit, veto : uint8
    least : float

    Returns
    -------
    box, sums, label, runs
        The fields of `Regions`.
    """
    runs = _find_runs(now, before, bit, veto)
    _join(runs)
    box, sums, label = _measure(runs)
    large = np.zeros(len(label), np.bool_)
    for k in range(len(label)):
        large[k] = _is_large(sums[k, 0], runs, label[k], box[k], least)
    return box[large], sums[large], label[large], runs


@njit(cache=True, nogil=True)
def region_image(runs, label, box):
    """One region as an image of its box, (row, col) of 0 and 1, float64."""
    image = np.zeros((box[2] - box[0], box[3] - box[1]))
    _paint(image, runs, label, box)
    return image
