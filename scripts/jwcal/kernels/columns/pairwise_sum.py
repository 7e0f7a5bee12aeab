"""The sum of values in the order of numpy, so that single precision gives the same bits as there.

Source: Higham 1993, SIAM J. Sci. Comput. 14, 783: the error of pairwise summation grows with the logarithm of the number only.
"""

from numba import njit

LANES = 8  # sums that run side by side
BLOCK = 128  # values that are not halved any more


@njit(cache=True, nogil=True)
def pairwise_sum(x):
    """Sum of an array (n,), in its own precision."""
    n = x.size
    if n > BLOCK:
        half = n // 2 - n // 2 % LANES
        return pairwise_sum(x[:half]) + pairwise_sum(x[half:])
    total = x.dtype.type(0)
    whole = n - n % LANES
    if whole:
        r0, r1, r2, r3, r4, r5, r6, r7 = x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]
        for i in range(LANES, whole, LANES):
            r0 += x[i]
            r1 += x[i + 1]
            r2 += x[i + 2]
            r3 += x[i + 3]
            r4 += x[i + 4]
            r5 += x[i + 5]
            r6 += x[i + 6]
            r7 += x[i + 7]
        total = ((r0 + r1) + (r2 + r3)) + ((r4 + r5) + (r6 + r7))
    for i in range(whole, n):
        total += x[i]
    return total
