"""Move data quality bits from where a file has them to where they belong."""

import numpy as np
from numba import njit, prange

PIECE = 2**16  # pixels that a thread takes at a time


@njit(parallel=True, cache=True, nogil=True)
def move_bits(bits, same, given, standard):
    """Give flags their standard bits, in place; those that are not named are left out.

    Parameters
    ----------
    bits : ndarray of uint32, (pixel,)
        Changed.
    same : uint32
        Bits that stay where they are.
    given, standard : ndarray of uint32, (bit,)
        Bits that move, from where to where.
    """
    moving = np.uint32(0)
    for bit in given:
        moving |= bit
    for piece in prange(-(-bits.size // PIECE)):
        for k in range(piece * PIECE, min((piece + 1) * PIECE, bits.size)):
            found = bits[k]
            value = found & same
            if found & moving:  # few pixels have such flags
                for n in range(given.size):
                    if found & given[n]:
                        value |= standard[n]
            bits[k] = value
