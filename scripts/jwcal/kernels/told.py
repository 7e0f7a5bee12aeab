"""A line in the log for each kernel that numba compiles while somebody waits: one of an option, or with arguments that the table lacks."""

import logging
import threading
import time

from .numba_private import COMPILE, Listener, install_listener

log = logging.getLogger(__name__)


def say_what_is_compiled():
    """A context: as long as it lasts the log says what is compiled."""
    return install_listener(COMPILE, _Compiler())


class _Compiler(Listener):
    """Hears numba begin and end; what a kernel calls is compiled in between, and not told."""

    def __init__(self):
        self._own = threading.local()

    def on_start(self, event):
        self._own.begun = [*getattr(self._own, "begun", ()), time.perf_counter()]

    def on_end(self, event):
        *self._own.begun, began = self._own.begun
        if not self._own.begun:
            kernel = event.data["dispatcher"].py_func
            took = time.perf_counter() - began
            log.info("numba compiled %s.%s in %.1f s, as nobody had called it like this before", kernel.__module__, kernel.__name__, took)
