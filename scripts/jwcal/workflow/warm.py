"""A process that has everything imported and forks for each job: to start afresh takes longer than many a job.

Of the local jobs of one run: here it is started, and asked. What it does is in `warm_process`. Where there is none, or it can't be
reached, a job runs by itself: the products are the same.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

VARIABLE = "JWCAL_WARM"  # in the jobs' environment: the socket, and the Python that listens there
ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),  # of linear algebra, as in a job by itself
    "NUMBA_THREADING_LAYER": "workqueue",  # the one whose threads survive a fork
}


# --- in the run ---


def start():
    """Start the process and name it in the environment; it ends with this one. None where that is not possible: jobs do without."""
    folder = None
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            folder = tempfile.mkdtemp(prefix="jwcal-")
            listener.bind(os.path.join(folder, "socket"))
            listener.listen(os.cpu_count() * 4)
            process = subprocess.Popen(
                [sys.executable, "-m", "jwcal.workflow.warm_process", str(listener.fileno()), folder],
                stdin=subprocess.PIPE,  # closed when this process ends, however it does
                stdout=subprocess.DEVNULL,  # who waits for the end of what this process says need not wait for that one
                stderr=subprocess.DEVNULL,
                pass_fds=[listener.fileno()],
                start_new_session=True,  # an interrupt is for the jobs
                env={**os.environ, **ENVIRONMENT},
            )
        except OSError:  # a full disk, a name that is too long for a socket, too many processes
            if folder:
                shutil.rmtree(folder, ignore_errors=True)
            return None
    os.environ[VARIABLE] = f"{folder}/socket:{sys.prefix}"
    return process


# --- in a job's own process ---


def ask(arguments):
    """Have a job run there; its exit status, or None if nobody listens.

    Parameters
    ----------
    arguments : list of str
        Of `jwcal.jobs.main`.
    """
    path, _, prefix = os.environ.get(VARIABLE, "").rpartition(":")
    if not path or prefix != sys.prefix:  # an environment of its own
        return None
    request = json.dumps({"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}).encode()
    with socket.socket(socket.AF_UNIX) as there:
        try:
            there.connect(path)
            socket.send_fds(there, [len(request).to_bytes(8, "big")], [1, 2])
            there.sendall(request)
            begun = there.recv(1)
        except OSError:
            return None
        status = there.recv(1) if begun else None
    return None if status is None else status[0] if status else 128 + signal.SIGKILL
