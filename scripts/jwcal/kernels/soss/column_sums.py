"""Sums along the columns of images, with several sets of weights."""

import numpy as np
from numba import njit, prange


@njit(cache=True, nogil=True, parallel=True)
def _sums(images, weights, limits, squared, out):
    nint = images.shape[0]
    for i in prange(nint):
        for k in range(weights.shape[0]):
            for column in range(out.shape[2]):
                out[i, k, column] = 0.0
            for row in range(weights.shape[1]):
                for column in range(limits[k, row, 0], limits[k, row, 1]):
                    weight = weights[k, row, column]
                    if weight != 0:
                        value = np.float64(images[i, row, column])
                        out[i, k, column] += weight * (value * value if squared else value)


def lit(weights):
    """Where each row of weights, (..., row, column), begins and ends to be other than 0: int64 (..., row, 2)."""
    some = weights != 0
    first = some.argmax(axis=-1)
    last = weights.shape[-1] - some[..., ::-1].argmax(axis=-1)
    return np.where(some.any(axis=-1)[..., None], np.stack([first, last], axis=-1), 0)


def column_sums(images, weights, limits=None, *, squared=False):
    """Sum images times weights along the columns.

    Parameters
    ----------
    images : float32 (int, row, col)
    weights : float64 (set, row, col)
        A pixel with the weight 0 may be anything.
    limits : int64 (set, row, 2), optional
        What `lit` says of the weights.
    squared : bool
        Sum the images' squares.

    Returns
    -------
    float64 (int, set, col)
    """
    out = np.empty((len(images), len(weights), images.shape[2]))
    _sums(images, weights, lit(weights) if limits is None else limits, squared, out)
    return out
