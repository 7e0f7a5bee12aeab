"""The same with one thread of kernels and with all that there are."""

import numba


def each_number(make):
    """What `make()` gives with one thread, and with all that numba may use (NUMBA_NUM_THREADS, else the machine's)."""
    before = numba.get_num_threads()
    made = []
    try:
        for threads in (1, numba.config.NUMBA_NUM_THREADS):
            numba.set_num_threads(threads)
            made.append(make())
    finally:
        numba.set_num_threads(before)
    return made
