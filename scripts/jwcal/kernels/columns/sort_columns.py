"""Sort the columns of a small table, all of them at once."""

from numba import njit


@njit(cache=True, nogil=True)
def tile(buffer, length, width):
    """The beginning of a flat buffer as a table, (sample, column). Its rows lie side by side, which the machine's vectors need."""
    return buffer[: length * width].reshape(length, width)


@njit(cache=True, nogil=True, error_model="numpy")
def _exchange(low, high):
    """Put the smaller value of each pair into the first array. A function of its own: only so does the compiler use vectors."""
    for x in range(low.size):
        a, b = low[x], high[x]
        low[x] = min(a, b)
        high[x] = max(a, b)


@njit(cache=True, nogil=True, error_model="numpy")
def sort_columns(table, n):
    """Sort the first `n` values of every column, in place, ascending.

    Ramps are short and there are millions of them. A sorting network (Batcher's merge exchange; Knuth, TAOCP 3, 5.2.2, algorithm M)
    does the same comparisons whatever the values are, so neighbouring pixels go through it side by side in the machine's vectors.

    Parameters
    ----------
    table : ndarray, (sample, column)
        Contiguous, or it is ten times slower. Without NaN: put infinity where there is no sample.
    n : int
    """
    width, flat = table.shape[1], table.reshape(-1)
    top = 1
    while 2 * top < n:
        top *= 2
    p = top
    while p > 0:
        q, r, d = top, 0, p
        while True:
            for first in range(r, n - d, 2 * p):  # p rows are compared with as many that are d further down
                last = min(first + p, n - d)
                _exchange(flat[first * width : last * width], flat[(first + d) * width : (last + d) * width])
            if q == p:
                break
            d, q, r = q - p, q // 2, p
        p //= 2


@njit(cache=True, nogil=True, error_model="numpy")
def median_of_sorted(table, x, first, last):
    """Median of the values [first, last) of a sorted column, in double precision."""
    middle = (first + last) // 2
    if (last - first) % 2:
        return float(table[middle, x])
    return (float(table[middle - 1, x]) + float(table[middle, x])) / 2.0
