"""Threads for what numpy and the system do without Python's lock: copies, conversions, files. As many as kernels may use.

No kernel with threads of its own may be called in them: two at once are more than numba's threads can bear.
"""

from concurrent.futures import ThreadPoolExecutor


def side_by_side(work, tasks):
    """What work(task) returns for each of some tasks, as a list; with one thread there is no other one.

    Parameters
    ----------
    work : callable
    tasks : iterable
    """
    import numba  # it takes longer than many a small job of ours, and who uses this needs it anyway

    tasks = list(tasks)
    number = min(numba.get_num_threads(), len(tasks))
    if number < 2:
        return [work(task) for task in tasks]
    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(work, tasks))


def parts(size, step):
    """Slices of up to `step` that make up a range of this size, for `side_by_side`: fewer of them than threads gain nothing."""
    return [slice(first, min(first + step, size)) for first in range(0, size, step)]
