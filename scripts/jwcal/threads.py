"""Threads for what numpy and the system do without Python's lock: copies, conversions, files. As many as kernels may use.

No kernel with threads of its own may be called in them: two at once are more than numba's threads can bear.
"""

import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager

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
    tasks = list(tasks)
    number = min(_number(), len(tasks)) if len(tasks) > 1 else 1
    if number == 1:
        return [work(task) for task in tasks]

    def share(turn):
        _place.inside = True
        try:
            return [work(task) for task in tasks[turn::number]]
        finally:
            _place.inside = False

    others = [_others(number).submit(share, turn) for turn in range(1, number)]
    results = [None] * len(tasks)
    try:
        results[::number] = share(0)
    finally:
        wait(others)  # what they work on may go when this ends
    for turn, other in enumerate(others, start=1):
        results[turn::number] = other.result()
    return results


def _number():
    """How many threads may work here."""
    if getattr(_place, "inside", False):
        return 1
    import numba  # it takes longer than many a small job of ours, and who has many tasks needs it anyway

    return numba.get_num_threads()


def _others(number):
    """The threads beside this one, if there are this many in all."""
    if number not in _pools:
        _pools[number] = ThreadPoolExecutor(number - 1)
    return _pools[number]


@contextmanager
def meanwhile(work):
    """Let other threads work(task) while this one makes more tasks: gives a function that takes some. At the end of the block all are done.

    With one thread they are all done at the end.
    """
    waiting, others, number = deque(), [], _number()

    def take(next_one):
        _place.inside = True
        try:
            while waiting:
                try:
                    task = next_one()
                except IndexError:  # another thread was faster
                    break
                work(task)
        finally:
            _place.inside = False

    def give(tasks):
        waiting.extend(tasks)
        others.extend(_others(number).submit(take, waiting.popleft) for _ in range(number - 1))

    try:
        yield give
        take(waiting.pop)  # from the other end: of another file, where there are several
    finally:
        waiting.clear()
        wait(others)
    for other in others:
        other.result()


def by_rows(work, image):
    """Let work(rows) go through all rows (slices) of an image (row, ...): for numpy's passes over whole images. Returns its results."""
    return side_by_side(work, parts(0, len(image), ROWS))


def parts(first, last, step):
    """Slices of up to `step` that make up a range, for `side_by_side`: fewer of them than threads gain nothing."""
    return [slice(here, min(here + step, last)) for here in range(first, last, step)]
