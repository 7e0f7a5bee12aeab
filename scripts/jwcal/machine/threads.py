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
        with _one_of_several():
            return [work(task) for task in tasks[turn::number]]

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
def _one_of_several():
    """What this thread hands out in the block it does itself: no thread waits for one that waits for it."""
    before = getattr(_place, "inside", False)
    _place.inside = True
    try:
        yield
    finally:
        _place.inside = before


@contextmanager
def meanwhile(work):
    """Let other threads work(task) while this one makes more tasks: gives a function that takes some. At the end of the block all are done.

    With one thread they are done when they are given. Of several errors that of the first tasks is raised.
    """
    groups, others, number = [], [], _number()

    def take(those):
        with _one_of_several():
            for group in those:
                for task in group:  # an iterator that the threads share: each task goes to one of them
                    work(task)

    def give(tasks):
        groups.append(iter(list(tasks)))
        if number == 1:
            take(groups)
        others.extend(_others(number).submit(take, groups[-1:]) for _ in range(number - 1))

    try:
        yield give
        take(groups[::-1])  # the others are at the first ones: two threads in one file wait for each other
    finally:
        for group in groups:
            deque(group, maxlen=0)  # after an error no more is begun
        wait(others)
        for other in others:
            other.result()


@contextmanager
def alone():
    """Kernels in the block have no thread beside the caller's: for many small arrays, which take less than it takes to wake another one."""
    import numba

    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        yield
    finally:
        numba.set_num_threads(before)


def by_rows(work, image):
    """Let work(rows) go through all rows (slices) of an image (row, ...): for numpy's passes over whole images. Returns its results."""
    return side_by_side(work, parts(0, len(image), ROWS))


def parts(first, last, step):
    """Slices of up to `step` that make up a range, for `side_by_side`: fewer of them than threads gain nothing."""
    return [slice(here, min(here + step, last)) for here in range(first, last, step)]
