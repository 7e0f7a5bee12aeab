"""Compile kernels before anyone waits for them: several at a time, each once, those first that the longest ones call."""

import hashlib
import logging
import os
import platform
import time
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager, suppress
from multiprocessing import get_context

import llvmlite.binding
import numba

from . import keep, signatures

try:
    import fcntl
except ImportError:  # a system without: two runs may compile the same
    fcntl = None

log = logging.getLogger(__name__)

EVERY = 10  # s between two signs of life


def missing(modules):
    """Those of some modules ("ramps/ols_ramp") that have kernels in the table which are not compiled yet on this kind of processor."""
    return [module for module in sorted(set(modules) & signatures.table().keys()) if not _note(module).exists()]


def compile_all(modules, processes=None, tell=None, alive=None):
    """Compile the kernels of some modules.

    Parameters
    ----------
    modules : list of str
    processes : int, optional
        How many work side by side; by default one a processor.
    tell : callable, optional
        Called as tell(module, seconds) after each.
    alive : callable, optional
        Called as alive(modules) with those that are being compiled, where none has ended for `EVERY` seconds.

    Returns
    -------
    dict
        Module -> what went wrong. Who calls such a kernel compiles it then.
    """
    if not modules:
        return {}
    imported = {module: keep.imported(module) - {module} for module in modules}
    waiting = {module: imported[module] & set(modules) for module in modules}
    # of what can begin, first what the longest waits for
    longest = {module: max(keep.length(other) for other in modules if module == other or module in imported[other]) for module in modules}
    processes = min(processes or len(os.sched_getaffinity(0)), len(modules))
    running, wrong = {}, {}
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        while waiting or running:
            for module in sorted([module for module, needs in waiting.items() if not needs], key=longest.get, reverse=True):
                # what two of them call, and do not find compiled, both would compile
                alone = all(imported[module].isdisjoint(imported[other]) for other in running.values())
                if alone and len(running) < processes:
                    del waiting[module]
                    running[pool.submit(compile_one, module)] = module
            done, _ = wait(running, timeout=EVERY, return_when=FIRST_COMPLETED)
            if not done and alive:
                alive(list(running.values()))
            for future in done:
                module = running.pop(future)
                seconds, problem = future.result()
                if problem:
                    wrong[module] = problem
                if tell:
                    tell(module, seconds)
                for needs in waiting.values():
                    needs.discard(module)
    return wrong


def compile_one(module):
    """Compile the kernels of one module, unless another process has done it meanwhile; returns seconds, and what went wrong."""
    started, problem = time.perf_counter(), ""
    note = _note(module)
    note.parent.mkdir(parents=True, exist_ok=True)
    with _alone(note.parent / "lock"):
        if not note.exists():
            try:
                for name, kinds in signatures.table()[module].items():
                    for text in kinds:
                        signatures.compile_for(module, name, text)
            except Exception as error:  # whatever numba says of a table that is not of this kernel
                problem = f"{type(error).__name__}: {error}"
            else:
                note.touch()
    return time.perf_counter() - started, problem


@contextmanager
def _alone(path):
    with open(path, "w") as file:
        with suppress(OSError):  # a file system without locks
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _note(module):
    """The file that says that all kernels of a module are compiled: for this Python, numba, processor and table."""
    about = (signatures.table()[module], _machine())
    return keep.place(module) / f"compiled-{hashlib.sha256(repr(about).encode()).hexdigest()[:16]}"


def _machine():
    processor = llvmlite.binding.get_host_cpu_name(), llvmlite.binding.get_host_cpu_features().flatten()
    chosen = numba.config.CPU_NAME, numba.config.CPU_FEATURES, numba.config.CACHE_LOCATOR_CLASSES
    return numba.__version__, platform.python_version_tuple()[:2], processor, chosen
