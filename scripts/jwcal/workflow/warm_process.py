"""The process that forks for each job of a run: see `warm`, which starts it.

It begins with what every job needs; what a job had to import or to load beside that, it loads for those that follow.
"""

import fcntl
import importlib
import json
import os
import select
import shutil
import signal
import socket
import sys
from contextlib import suppress

from ..machine import process
from . import jobs

BEGIN_WITH = ("jwcal.provenance.records", "jwcal.products.stored", "jwcal.run.loop", "jwcal.kernels")


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
    """What this process has compiled or loaded of the kernels: see `kernels.signatures.loaded`."""
    from ..kernels import signatures

    return signatures.loaded()


def _load(needed):
    """Import and load what a job needed, for the next one."""
    for name in needed["modules"]:
        with suppress(Exception):  # then the next job tries it by itself
            importlib.import_module(name)
    if needed["kernels"]:
        from ..kernels import signatures
    for module, kernels in needed["kernels"].items():
        for name, texts in kernels.items():
            with suppress(Exception):
                for text in set(texts) - set(signatures.texts(signatures.kernels(module)[name])):
                    signatures.compile_for(module, name, text)  # the job has compiled it: here it is but loaded


if __name__ == "__main__":
    number, folder = sys.argv[1:]
    process.own()
    try:
        serve(socket.socket(fileno=int(number)), jobs.by_itself)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
