"""What only the owner of a process may set: a job, the command line. A notebook that imports the package stays as it is."""

import atexit
import gc
import os

from .memory import keep_freed


def say_no_more(stream):
    """Let go of a stream whose reader has ended: what is written to it from now on goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def own():
    """Set this process up for calibration; to be called before numba is imported."""
    # A thread that has nothing to do sleeps: by default OpenMP's wait busily for the next kernel, and scipy's find no free processor.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # No search for garbage at the end: through all that numba holds it takes a tenth of the time.
    atexit.register(gc.freeze)
    keep_freed()
