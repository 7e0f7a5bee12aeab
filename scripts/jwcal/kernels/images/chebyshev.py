"""Chebyshev series in two variables, evaluated on a grid of pixels."""

import numpy as np
from numba import njit, prange


@njit(cache=True, nogil=True, parallel=True)
def evaluate_pair(a, b, across, along, out):
    """Write two series to every pixel of a grid.

    f(x, y) = sum_ij c_ij T_i(y) T_j(x), with the polynomials tabulated by row and by column: a product of three small matrices,
    so that the cost of a pixel is one sum over j. Each row is a sum in a fixed order: the same bytes for any number of threads.

    Parameters
    ----------
    a, b : (n, n) float64
        Coefficients c_ij of the two functions.
    across : (n, columns) float64
        T_j at each column.
    along : (n, rows) float64
        T_i at each row.
    out : (rows, columns, 2) float64
        Filled in place.
    """
    n, columns = across.shape
    for row in prange(along.shape[1]):
        x, y = np.zeros(columns), np.zeros(columns)
        for j in range(n):
            ca, cb = 0.0, 0.0
            for i in range(n):
                ca += along[i, row] * a[i, j]
                cb += along[i, row] * b[i, j]
            for column in range(columns):
                x[column] += ca * across[j, column]
                y[column] += cb * across[j, column]
        for column in range(columns):
            out[row, column, 0] = x[column]
            out[row, column, 1] = y[column]
