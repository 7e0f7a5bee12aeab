"""What tells one content of a file from another: a digest, remembered with the file's size and time so that it is read once."""

import os
import sys
from pathlib import Path

import xxhash

from ..machine.threads import parts, side_by_side
from ..vocabulary.errors import InputError
from . import storage

BLOCK = 2**22
PART = 2**24  # bytes of a file that one thread digests


def digest(path):
    """The digest of a file's content: XXH3 with 128 bits, as fast as memory is; of a large file that of the digests of its parts.

    Raises
    ------
    InputError
        The file can't be read, or it changed meanwhile.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            before = state(os.fstat(file.fileno()))
            found = _each(lambda part: _digest(file, part), parts(0, before[0], PART)) or [_digest(file, slice(0, 0))]
        after = state(os.stat(path))
    except OSError as error:
        raise InputError(f"can't be read ({error.strerror or error})", path, "Make it readable, or leave it out") from None
    if before != after:
        raise InputError("it changed while it was read", path, "Run again when it is whole")
    return found[0] if len(found) == 1 else of_text(*found)


def _each(work, tasks):
    """What work(task) returns for each task: with threads in a job; planning need not import numba, which takes longer, to have them."""
    return side_by_side(work, tasks) if "numba" in sys.modules else [work(task) for task in tasks]


def _digest(file, part):
    """The digest of a part of a file."""
    total, buffer = xxhash.xxh3_128(), memoryview(bytearray(min(BLOCK, part.stop - part.start)))
    here = part.start
    while n := os.preadv(file.fileno(), [buffer[: part.stop - here]], here):
        total.update(buffer[:n])
        here += n
    return total.hexdigest()


def of_text(*texts):
    """The digest of some text."""
    return xxhash.xxh3_128_hexdigest("\n".join(texts).encode())


def state(stat):
    """What tells that a file may have changed, without reading it: size and time (ns)."""
    return [stat.st_size, stat.st_mtime_ns]


class Digests:
    """Digests of files, remembered from run to run.

    Parameters
    ----------
    cache : path, optional
        JSON file: path -> [size, time, digest].
    """

    def __init__(self, cache=None):
        self._cache, self._changed = cache and Path(cache), False
        self._known = storage.noted(self._cache) if self._cache else {}

    def of(self, path, size=None, mtime_ns=None, known=None):
        """The digest of a file's content.

        Parameters
        ----------
        path : path
        size, mtime_ns, known : optional
            Its digest when it had this size and time.

        Raises
        ------
        InputError
        """
        path = str(path)
        try:
            now = state(os.stat(path))
        except OSError as error:
            raise InputError(f"can't be read ({error.strerror})", path, "Put it back, or leave it out") from None
        if [size, mtime_ns] == now:
            return known
        if self._known.get(path, [])[:2] != now:
            self._known[path] = [*now, digest(path)]
            self._changed = True
        return self._known[path][2]

    def learn(self, path, digest):
        """Take the digest of a file as it is now from somebody who knows it."""
        self._known[str(path)] = [*state(os.stat(path)), digest]
        self._changed = True

    def remember(self):
        """Keep what was found for the next run."""
        if self._changed and self._cache:
            storage.note(self._cache, {path: found for path, found in self._known.items() if os.path.exists(path)})
