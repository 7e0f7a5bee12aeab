"""Bring files from the archive: what is there is left alone, what was cut off is resumed, what comes is checked before it has its name."""

import base64
import fcntl
import hashlib
import http.client
import logging
import os
import re
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from ..vocabulary.errors import InputError
from ..vocabulary.phrases import count
from . import mast

log = logging.getLogger(__name__)
PART = ".part"  # of the name of what is not whole yet
CHUNK = 2**20
TRIES, PAUSE = 5, 2.0  # s, longer from try to try
TIMEOUT = 120.0  # s
RECORD = 2880  # bytes, that FITS files are made of
EVERY = 10.0  # s between two signs of life of one file


def missing(files, folder):
    """Those that are not in a folder with the size that the archive tells."""
    return [one for one in files if not _is_there(Path(folder, one.name), one)]


def _is_there(path, one):
    return path.is_file() and path.stat().st_size == one.size


def left(files, folder):
    """Bytes of them that have still to come: what was cut off counts."""
    return sum(one.size - min(_size(Path(folder, one.name + PART)), one.size) for one in files)


def overview(program, files, folder):
    """Lines about the files of a program: how many and how large they are, of which modes, and what is still to come into a folder."""
    wanted = missing(files, folder)
    lines = [f"program {program}: {count(len(files), 'file')}, {amount(sum(one.size for one in files))}"]
    for mode in sorted({one.mode for one in files}):
        lines.append(f"  {mode or 'shutters'}: {sum(one.mode == mode for one in files)}")
    return [*lines, f"{len(files) - len(wanted)} are in {folder}; {len(wanted)} are to come, {amount(left(wanted, folder))}"]


def amount(size):
    """Bytes in words."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.3g} {unit}" if unit != "B" else f"{size} B"
        size /= 1000


def _size(path):
    return path.stat().st_size if path.is_file() else 0


def fetch(files, folder, address=None, tell=log.info):
    """Download files into a folder, one after the other.

    Parameters
    ----------
    files : list of mast.File
    folder : path
    address : str, optional
    tell : callable
        Told of each file that has come, and now and then how far one is.

    Returns
    -------
    list of Path

    Raises
    ------
    InputError
        The disk has no room for them; a file does not come, after some tries, or is not what the archive says. Those before it stay.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the folder for the files can't be made ({error.strerror})", folder, "Give another one") from None
    address, wanted = address or mast.server(), missing(files, folder)
    needed, free = left(wanted, folder), shutil.disk_usage(folder).free
    if needed > free:
        come = f"{count(len(wanted), 'file')}, {amount(needed)}, are to come"
        raise InputError(f"{come}, and {amount(free)} are free", folder, "Make room, or give another folder")
    with _alone(folder, tell) if wanted else nullcontext():
        for number, one in enumerate(wanted, start=1):
            if _is_there(folder / one.name, one):  # another process has fetched it meanwhile
                continue
            name = f"{number}/{len(wanted)} {one.name}"
            _one(one, folder, address, lambda have, name=name, size=one.size: tell(f"{name}: {amount(have)} of {amount(size)}"))
            tell(name)
    return [folder / one.name for one in files]


@contextmanager
def _alone(folder, tell):
    """One process at a time fetches into a folder: two would write to the same parts."""
    place = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            try:
                fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                tell(f"waiting: another process fetches into {folder}")
                fcntl.flock(place, fcntl.LOCK_EX)
        yield
    finally:
        os.close(place)


def _one(one, folder, address, tell):
    url = f"{address}/api/v0.1/Download/file?{urllib.parse.urlencode({'uri': one.uri})}"
    part = folder / (one.name + PART)
    for turn in range(TRIES):
        try:
            told = _receive(url, part, one, tell)
            break
        except urllib.error.HTTPError as error:
            if error.code in (401, 403):
                what = "is not public yet" if not one.public else "is not given to you"
                raise InputError(
                    f"the file {what}", one.name, "Set MAST_API_TOKEN to a token of yours (https://auth.mast.stsci.edu)"
                ) from None
            if error.code == 404:
                raise InputError("the archive has no such file", one.name, "List the program again") from None
            failed = error
        except (OSError, http.client.HTTPException) as error:
            failed = error
        if turn == TRIES - 1:
            raise InputError(f"the file does not come ({failed})", one.name, f"{mast.NETWORK}. It goes on where it was cut off") from None
        time.sleep(PAUSE * turn)
    _check(part, one, told)
    os.replace(part, folder / one.name)


def _receive(url, part, one, tell):
    """Append what is missing of a file; returns the checksum that the archive tells, (algorithm, hex digits), or None."""
    have = _size(part)
    if have > one.size:
        part.unlink()
        have = 0
    if have == one.size:
        return None
    headers = {"Range": f"bytes={have}-"} if have else {}
    with urllib.request.urlopen(mast.opened(url, **headers), timeout=TIMEOUT) as answer:
        resumed = answer.status == 206 and str(answer.headers.get("Content-Range", "")).startswith(f"bytes {have}-")
        with part.open("ab" if resumed else "wb") as file:
            said = time.monotonic()
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                if time.monotonic() - said >= EVERY:
                    said = time.monotonic()
                    tell(file.tell())
            file.flush()
            os.fsync(file.fileno())
        told = _told(answer.headers)
    if _size(part) < one.size:
        raise ConnectionError(f"it was cut off after {_size(part)} of {one.size} bytes")
    return told


def _told(headers):
    """The checksum of the whole file, as servers tell it."""
    digest = re.search(
        r"(?:^|,\s*)(md5|sha-256)=:?([A-Za-z0-9+/=]+?):?(?:,|$)", headers.get("Repr-Digest") or headers.get("Digest") or "", re.I
    )
    if digest:
        return digest[1].lower().replace("-", ""), base64.b64decode(digest[2]).hex()
    tag = re.fullmatch(r'"?([0-9a-f]{32})"?', headers.get("ETag") or "")  # of a store of files it is the MD5
    return ("md5", tag[1]) if tag else None


def _check(part, one, told):
    """Size, checksum and form; what is wrong is thrown away."""
    wrong = None
    if part.stat().st_size != one.size:
        wrong = f"it has {part.stat().st_size} bytes, the archive says {one.size}"
    elif told and _digest(part, told[0]) != told[1]:
        wrong = f"its {told[0]} is not the one that the archive tells"
    elif not _is_fits(part):
        wrong = "it is no whole FITS file"
    if wrong:
        part.unlink()
        raise InputError(wrong, one.name, "Fetch it again")


def _digest(path, algorithm):
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _is_fits(path):
    with path.open("rb") as file:
        return file.read(9) == b"SIMPLE  =" and path.stat().st_size % RECORD == 0
