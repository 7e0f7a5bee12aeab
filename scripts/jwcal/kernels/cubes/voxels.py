"""From the sums of voxels to their values, errors and flags."""

import numpy as np
from numba import njit, prange

from .drizzle import COUNT, FLUX, VARIANCE, WEIGHT


@njit(cache=True, nogil=True)
def _beside(flags, outside, j, i):
    """Whether a neighbour is outside; neighbours in the first row or column are not asked, as in the archive's cubes."""
    rows, columns = flags.shape
    if j == 0 or i == 0 or j == rows - 1 or i == columns - 1:
        return True
    for dj, di in ((0, -1), (0, 1), (-1, 0), (1, 0)):
        y, x = j + dj, i + di
        if 0 < x < columns and 0 < y < rows and flags[y, x] & outside == outside:
            return True
    return False


@njit(cache=True, nogil=True, parallel=True, error_model="numpy")
def _finish(sums, covered, hole, outside, sci, err, number, flags):
    planes, rows, columns = flags.shape
    for z in prange(planes):
        for j in range(rows):
            for i in range(columns):
                voxel = sums[z, j, i]
                number[z, j, i] = voxel[COUNT]
                if voxel[WEIGHT] > 0:
                    flags[z, j, i] = 0
                    sci[z, j, i] = voxel[FLUX] / voxel[WEIGHT]
                    err[z, j, i] = np.sqrt(voxel[VARIANCE]) / voxel[WEIGHT]
                else:
                    flags[z, j, i] = hole if covered.size and covered[z, j, i] else hole | outside
                    sci[z, j, i] = err[z, j, i] = np.nan
        if covered.size:
            for j in range(rows):
                for i in range(columns):
                    if flags[z, j, i] == hole and _beside(flags[z], outside, j, i):
                        flags[z, j, i] = hole | outside


def finished(sums, covered, hole, outside):
    """Values of the voxels.

    Parameters
    ----------
    sums : float64 (plane, row, col, 4)
        As `drizzle` makes them.
    covered : bool (plane, row, col) or None
        Where slices were looking; without it a voxel that no pixel reached is outside. What is beside the outside is no hole.
    hole, outside : int
        Bits: a hole has the first, what is outside both.

    Returns
    -------
    sci, err, number : float32 (plane, row, col)
        Weighted means and their errors, NaN without a pixel, and how many pixels were counted.
    flags : uint32
    """
    sci, err, number = (np.empty(sums.shape[:3], np.float32) for _ in range(3))
    flags = np.empty(sums.shape[:3], np.uint32)
    covered = np.empty((0, 0, 0), bool) if covered is None else covered
    _finish(sums, covered, np.uint32(hole), np.uint32(outside), sci, err, number, flags)
    return sci, err, number, flags
