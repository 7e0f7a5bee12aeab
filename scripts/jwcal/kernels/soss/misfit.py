"""How far a model of overlapping orders is from an image."""

import numpy as np
from numba import njit, prange


@njit(cache=True, nogil=True, parallel=True)
def _loss(image, error, used, profiles, models, total, count):
    for row in prange(image.shape[0]):
        own, number = 0.0, 0
        for column in range(image.shape[1]):
            if not used[row, column]:
                continue
            residual = np.float64(image[row, column])
            for order in range(len(profiles)):
                residual -= profiles[order, row, column] * models[order, column]
            residual /= error[row, column]
            own += np.log1p(residual * residual)
            number += 1
        total[row], count[row] = own, number


def cauchy_loss(image, error, used, profiles, models):
    """Mean of ln(1 + r^2) over the pixels, where r is the residual in units of the error.

    Parameters
    ----------
    image, error : float32 or float64 (row, col)
    used : bool (row, col)
    profiles : float64 (order, row, col)
        Share of an order's light in a column that falls on each of its pixels.
    models : float64 (order, col)
        The light of each order in a column.
    """
    total, count = np.empty(len(image)), np.empty(len(image), np.int64)
    _loss(image, error, used, profiles, models, total, count)
    return float(total.sum() / max(count.sum(), 1))
