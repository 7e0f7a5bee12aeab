"""Between FITS, the most significant byte first, and the machine's order.

FITS stores unsigned integers as signed ones, less half of their range: that turns their first bit around.
"""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def swap_2_bytes(values, flip, out):
    """Turn the order of the bytes around, then the bits of `flip`.

    Parameters
    ----------
    values : ndarray of uint16, (n,)
    flip : uint16
    out : ndarray of uint16 or float32, (n,)
        Filled; it may be `values`.
    """
    for i in range(values.size):
        v = values[i]
        out[i] = np.uint16(v >> 8 | v << 8) ^ flip


@njit(cache=True, nogil=True)
def swap_4_bytes(values, flip, out):
    """As `swap_2_bytes`, for uint32."""
    for i in range(values.size):
        v = values[i]
        out[i] = np.uint32(v >> 24 | v >> 8 & 0xFF00 | v << 8 & 0xFF0000 | v << 24) ^ flip
