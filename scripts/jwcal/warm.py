"""A process that has everything imported and forks for each job: to start afresh takes longer than many a job.

Of the local jobs of one run. It begins with what every job needs; what a job had to import or to load beside that, it loads for those
that follow. Where there is none, or it can't be reached, a job runs by itself: the products are the same.
"""

import fcntl
import importlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress

VARIABLE = "JWCAL_WARM"  # in the jobs' environment: the socket, and the Python that listens there
ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),  # of linear algebra, as in a job by itself
    "NUMBA_THREADING_LAYER": "workqueue",  # the one whose threads survive a fork
}
BEGIN_WITH = ("jwcal.provenance", "jwcal.products", "jwcal.run", "jwcal.kernels")


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
                [sys.executable, "-m", "jwcal.warm", str(listener.fileno()), folder],
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


# --- in the process itself ---


def serve(listener, job):
    """Fork for each request until standard input is closed.

    Parameters
    ----------
    listener : socket
    job : callable
        Takes the arguments of a request, returns an exit status.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for module in BEGIN_WITH:
        importlib.import_module(module)
    while True:
        ready, _, _ = select.select([sys.stdin, listener, ours], [], [])
        if sys.stdin in ready:
            return
        if listener in ready:
            connection, _ = listener.accept()
            with connection:
                if os.fork() == 0:
                    _answer(connection, job, theirs)
        elif ours in ready:
            _load(json.loads(ours.recv(2**20)))


def _answer(connection, job, report):
    """The forked process: run one job, tell what it needed, and end."""
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        before = set(sys.modules)
        request = _receive(connection)
        os.chdir(request["folder"])
        os.environ.update({name: value for name, value in request["environment"].items() if not name.startswith("NUMBA_")})
        _end_with(connection)
        connection.sendall(b"b")  # begun
        with suppress(SystemExit):  # a usage error
            status = 2
            status = job(request["arguments"])
        _end_with(connection, False)
        sys.stdout.flush()
        sys.stderr.flush()
        connection.sendall(bytes([status]))
        with suppress(OSError):  # it was too much to tell
            report.send(json.dumps({"modules": [name for name in sys.modules if name not in before], "kernels": _loaded()}).encode())
    finally:
        os._exit(status)


def _receive(connection):
    """The request; standard output and error become those of the process that asks."""
    length, standard, _, _ = socket.recv_fds(connection, 8, 2)
    for number, file in enumerate(standard, start=1):
        os.dup2(file, number)
        os.close(file)
    with connection.makefile("rb") as request:
        return json.loads(request.read(int.from_bytes(length, "big")))


def _end_with(connection, on=True):
    """Whether to end this process at once if the one that asks is killed, and the connection breaks: the kernel then sends SIGIO."""
    fcntl.fcntl(connection, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(connection, fcntl.F_SETFL, os.O_ASYNC * on)
    if on and select.select([connection], [], [], 0)[0]:  # it was before
        os._exit(1)


def _loaded():
    """What is compiled of the kernels that are imported: list of (module, name, signatures)."""
    return [
        (module, name, [str(types) for types in kernel.signatures])
        for module in list(sys.modules)
        if module.startswith("jwcal.kernels.")
        for name, kernel in vars(sys.modules[module]).items()
        if getattr(kernel, "signatures", ()) and kernel.py_func.__module__ == module
    ]


def _load(needed):
    """Import and load what a job needed, for the next one."""
    for name in needed["modules"]:
        with suppress(Exception):  # then the next job tries it by itself
            importlib.import_module(name)
    for module, name, signatures in needed["kernels"]:
        with suppress(Exception):
            kernel = getattr(importlib.import_module(module), name)
            missing = set(signatures) - {str(types) for types in kernel.signatures}
            for types, *_ in kernel._cache._cache_file._load_index() if missing else ():  # numba has no public way to ask what it keeps
                if str(types) in missing:
                    kernel.compile(types)


if __name__ == "__main__":
    from jwcal import jobs

    number, folder = sys.argv[1:]
    try:
        serve(socket.socket(fileno=int(number)), jobs.by_itself)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
