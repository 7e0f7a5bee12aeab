"""Copy columns of a tile, and pick some of them.

numpy's functions and `a[...] = b` do the same, but numba makes more code of them, which each process has to load.
"""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def copy(values, out):
    """The values (column,) into `out`, as its type."""
    for x in range(out.size):
        out[x] = values[x]


@njit(cache=True, nogil=True, error_model="numpy")
def any_of(flags):
    """Whether one of the uint8 flags is not 0; without a branch, and so faster than numpy's."""
    some = np.uint8(0)
    for x in range(flags.size):
        some |= flags[x]
    return some != 0


@njit(cache=True, nogil=True, error_model="numpy")
def columns_where(flags, wanted):
    """The columns whose uint8 flag is not 0 (`wanted`), or is; in order, (n,) int64."""
    columns, n = np.empty(flags.size, np.int64), 0
    for x in range(flags.size):
        columns[n] = x
        n += (flags[x] != 0) == wanted
    return columns[:n]


@njit(cache=True, nogil=True, error_model="numpy")
def picked(values, columns):
    """The values (column,) of some columns, side by side."""
    out = np.empty(columns.size, values.dtype)
    for x in range(columns.size):
        out[x] = values[columns[x]]
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def pick(table, columns, out):
    """Put some columns of a table (sample, column) side by side in `out`."""
    first, last = columns[0], columns[-1] + 1
    for k in range(out.shape[0]):
        if last - first == columns.size:
            copy(table[k, first:last], out[k])
        else:
            for x in range(columns.size):
                out[k, x] = table[k, columns[x]]
