"""Threads for what numpy and the system do without Python's lock: copies, conversions, files. As many as kernels may use.

No kernel with threads of its own may be called in them: two at once are more than numba's threads can bear.
"""

import os
import threading
from concurrent.futures import ThreadPoolExecutor, wait

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
    import numba  # it takes longer than many a small job of ours, and who uses this needs it anyway

    tasks = list(tasks)
    number = 1 if getattr(_place, "inside", False) else min(numba.get_num_threads(), len(tasks))
    if number < 2:
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


def parts(size, step):
    """Slices of up to `step` that make up a range of this size, for `side_by_side`: fewer of them than threads gain nothing."""
    return [slice(first, min(first + step, size)) for first in range(0, size, step)]
