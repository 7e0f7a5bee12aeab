"""Threads for what numpy and the system do without Python's lock: copies, conversions, files. As many as kernels may use.

No kernel with threads of its own may be called in them: two at once are more than numba's threads can bear.
"""

import os
import threading
from concurrent.futures import ThreadPoolExecutor, wait

ROWS = 256  # of an image, at a time

_pools = {}  # number of threads -> those that wait for work: to start one takes longer than many a piece of it
_place = threading.local()
os.register_at_fork(after_in_child=_pools.clear)  # threads do not survive a fork


def side_by_side(work, tasks):
    """What work(task) returns for each of some tasks, as a list; with one thread there is no other one.

    Each thread has its share from the beginning, every so-manieth task: the tasks are alike, and to hand them out one by one takes
    longer than many a task.

    Parameters
    ----------
    work : callable
    tasks : iterable
    """
    tasks, number = list(tasks), 1
    if len(tasks) > 1 and not getattr(_place, "inside", False):
        import numba  # it takes longer than many a small job of ours, and who has many tasks needs it anyway

        number = min(numba.get_num_threads(), len(tasks))
    if number == 1:
        return [work(task) for task in tasks]

    def share(turn):
        _place.inside = True
        try:
            return [work(task) for task in tasks[turn::number]]
        finally:
            _place.inside = False

    if number not in _pools:
        _pools[number] = ThreadPoolExecutor(number - 1)
    others = [_pools[number].submit(share, turn) for turn in range(1, number)]
    results = [None] * len(tasks)
    try:
        results[::number] = share(0)
    finally:
        wait(others)  # what they work on may go when this ends
    for turn, other in enumerate(others, start=1):
        results[turn::number] = other.result()
    return results


def by_rows(work, image):
    """Let work(rows) go through all rows (slices) of an image (row, ...): for numpy's passes over whole images. Returns its results."""
    return side_by_side(work, parts(0, len(image), ROWS))


def parts(first, last, step):
    """Slices of up to `step` that make up a range, for `side_by_side`: fewer of them than threads gain nothing."""
    return [slice(here, min(here + step, last)) for here in range(first, last, step)]
