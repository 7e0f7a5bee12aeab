"""From the sums of voxels to their values, errors and flags."""

import numpy as np
from numba import njit, prange

from .drizzle import COUNT, FLUX, VARIANCE, WEIGHT


@njit(cache=True, nogil=True, parallel=True, error_model="numpy")
def _finish(sums, unseen, sci, err, number, flags):
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
                    flags[z, j, i] = unseen
                    sci[z, j, i] = err[z, j, i] = np.nan


def finished(sums, unseen):
    """Values of the voxels.

    Parameters
    ----------
    sums : float64 (plane, row, col, 4)
        As `drizzle` makes them.
    unseen : int
        Bits of a voxel that no pixel reached.

    Returns
    -------
    sci, err, number : float32 (plane, row, col)
        Weighted means and their errors, NaN without a pixel, and how many pixels were counted.
    flags : uint32
    """
    sci, err, number = (np.empty(sums.shape[:3], np.float32) for _ in range(3))
    flags = np.empty(sums.shape[:3], np.uint32)
    _finish(sums, np.uint32(unseen), sci, err, number, flags)
    return sci, err, number, flags
