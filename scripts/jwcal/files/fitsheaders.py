"""FITS headers as plain Python values, ten times faster than astropy opens the file: planning reads thousands of them, a job those of
its references.
"""

import gzip
import math
import os
import re
import warnings
import zlib
from contextlib import contextmanager
from typing import NamedTuple

from ..vocabulary.errors import InputError

AGAIN = "Fetch the file again"
A_FILE = "Give a file of it; jwcal run takes folders"


class Extension(NamedTuple):
    """A header of a file and where its data lie."""

    header: dict  # keyword -> plain Python value; a keyword without one is left out
    start: int  # of the header in the file
    offset: int  # of the data
    stop: int  # where the next header is
    shape: tuple  # of the array; () where there is none


class Headers(NamedTuple):
    """What the headers of a file say, as plain Python values."""

    primary: dict
    sci: dict  # of the first SCI extension; empty where there is none
    shape: tuple  # of its array; () where there is none
    dtype: str  # "uint16", "float32"...; "" where there is none
    others: tuple = ()  # Extension of all but the primary header


CARD = re.compile(r"([A-Z0-9_-]+) *= +(?:'((?:[^']|'')*)'|([TF])|([+-]?\d+)|([+-]?(?:\d+\.?\d*|\.\d+)(?:[ED][+-]?\d+)?))? *(?:/.*)?")
STRUCTURE = re.compile(r"SIMPLE|XTENSION|EXTEND|BITPIX|NAXIS\d*|[PG]COUNT|BSCALE|BZERO|EXTNAME|EXTVER|INHERIT")
BLOCK = 2880
GZIP = b"\x1f\x8b"


def read_headers(path):
    """The primary and the science header of a FITS file, and whether the file is whole.

    Keywords of the file's structure are left out, those without a value too. A file ending in the middle of a header or of
    the data that its headers announce is truncated.

    Raises
    ------
    InputError
        It is absent, unreadable, not FITS or truncated, or its images are compressed.
    """
    primary, *others = read_extensions(path)
    refuse_compressed([e.header.get("EXTNAME", "") for e in others if e.header.get("ZIMAGE") is True], path)
    science = next((e for e in others if str(e.header.get("EXTNAME", "")).upper() == "SCI" and e.shape), None)
    sci, shape, dtype = (science.header, science.shape, dtype_of(science.header)) if science else ({}, (), "")
    plain = ({k: v for k, v in h.items() if not STRUCTURE.fullmatch(k)} for h in (primary.header, sci))
    return Headers(*plain, shape, dtype, tuple(others))


def read_extensions(path):
    """The headers of a FITS file (.gz too), the primary one first: list of Extension. Raises as `read_headers` does."""
    found = []
    try:
        with opened(path) as file:
            size = file.seek(0, os.SEEK_END)
            position = 0
            while position < size:
                start = position
                cards, offset = _header_at(file, start, size, path)
                if cards is None:  # fill after the last extension
                    break
                header = _values(cards)
                span, axes = _data_span(header, path)
                position = offset - (-span // BLOCK) * BLOCK
                found.append(Extension(header, start, offset, position, axes))
                if position > size:
                    raise InputError(f"the file is truncated: {size} bytes, {position} by its headers", path, AGAIN)
    except FileNotFoundError:
        raise InputError("there is no such file", path) from None
    except IsADirectoryError:
        raise InputError("it is a folder", path, A_FILE) from None
    except OSError as error:
        raise InputError(f"can't be read ({error.strerror or error})", path, "Make it readable or leave it out") from None
    if not found:
        raise InputError("the file is empty", path, AGAIN)
    return found


def is_compressed(path):
    """Whether a file is gzipped: its first bytes tell, its name may be wrong."""
    with open(path, "rb") as file:
        return file.read(len(GZIP)) == GZIP


@contextmanager
def opened(path):
    """The bytes of a file as they were before it was gzipped, if it was.

    Raises
    ------
    OSError
    InputError
        Its compressed data are damaged, or end too soon.
    """
    if not is_compressed(path):
        with open(path, "rb") as file:
            yield file
        return
    try:
        with gzip.open(path) as file:
            yield file
    except EOFError:
        raise InputError("the file is truncated: its compressed data end too soon", path, AGAIN) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"its compressed data are damaged ({error})", path, AGAIN) from None


def refuse_compressed(names, path):
    """Raise InputError where there are extensions, of these names, whose images are compressed inside the file (fpack)."""
    if names:
        one = len(names) == 1
        what = f"{', '.join(names)} {'is a' if one else 'are'} compressed image{'s' * (not one)}"
        raise InputError(what, path, "Unpack the file: funpack, or astropy's fits.open and writeto")


def size_of(path):
    """Bytes of a file as it was before it was gzipped, if it was; raises as `opened` does, for it is read to its end then."""
    with opened(path) as file:
        return file.seek(0, os.SEEK_END)


def _header_at(file, position, size, path):
    """The cards of the header that begins here and where its data begin; (None, position) where no header does."""
    file.seek(position)
    text = file.read(BLOCK)
    if not text.startswith(b"XTENSION=" if position else b"SIMPLE  ="):
        if position:
            return None, position
        raise InputError("not a FITS file", path, "Leave it out or fetch it again")
    cards = []
    while True:
        if len(text) < BLOCK:
            raise InputError(f"the file is truncated: {size} bytes, in the middle of a header", path, AGAIN)
        block = [text[i : i + 80].decode("latin-1") for i in range(0, len(text), 80)]
        position += len(text)
        for card in block:
            if card.rstrip() == "END":
                return cards, position
            cards.append(card)
        text = file.read(BLOCK)


def _values(cards):
    """Keyword -> value. Long strings are put together; the few cards of another form are left to astropy."""
    values, last = {}, None
    for card in cards:
        if card.startswith("CONTINUE") and last is not None and str(values[last]).endswith("&"):
            more = card[8:].strip()
            more = more[1 : more.rindex("'")] if more.startswith("'") and more.count("'") > 1 else ""
            values[last] = values[last][:-1] + more.replace("''", "'").rstrip()
            continue
        last = None
        if card[8:10] != "= " or card.startswith(("COMMENT", "HISTORY")):
            continue
        found = CARD.fullmatch(card.rstrip())
        if found:
            keyword, text, logical, whole, number = found.groups()
            if text is not None:
                value = text.replace("''", "'").rstrip()
            elif logical:
                value = logical == "T"
            else:
                value = int(whole) if whole else float(number.replace("D", "E")) if number else None
        else:
            keyword, value = _odd_card(card)
        if value is not None:
            values[keyword], last = value, keyword
    return values


def _odd_card(card):
    from astropy.io import fits  # there are few of them, and it takes long to import
    from astropy.utils.exceptions import AstropyWarning

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            parsed = fits.Card.fromstring(card)
            parsed.verify("silentfix")  # as when the file is read: a number that is none (NaN) becomes text
            value = parsed.value
    except (fits.VerifyError, ValueError):  # the latter of letters that are not ASCII
        return card[:8].strip(), None
    return parsed.keyword, value if isinstance(value, (str, bool, int, float)) else None


def _data_span(header, path):
    """Bytes of data after a header, without the fill, and the array's shape."""
    try:
        shape = tuple(header[f"NAXIS{n}"] for n in range(header["NAXIS"], 0, -1))
        items = math.prod(shape) if shape else 0
        return abs(header["BITPIX"]) // 8 * header.get("GCOUNT", 1) * (header.get("PCOUNT", 0) + items), shape
    except (KeyError, TypeError) as error:
        raise InputError(f"not a readable FITS file (a header without {error})", path, AGAIN) from None


def dtype_of(header):
    """numpy's name of the type that the array has once it is scaled."""
    kind = {8: "uint8", 16: "int16", 32: "int32", 64: "int64", -32: "float32", -64: "float64"}.get(header["BITPIX"], "")
    if header.get("BSCALE", 1) == 1 and header["BITPIX"] > 8 and header.get("BZERO", 0) == 2 ** (header["BITPIX"] - 1):
        return "u" + kind
    return kind
