"""Files: FITS and ASDF in, FITS out. The only module that opens them."""

import io
import math
import os
import re
import warnings
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import yaml
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from .errors import InputError, ReferenceError
from .threads import parts, side_by_side

AGAIN = "Fetch the file again"


@contextmanager
def open_fits(path):
    """Open a FITS file and make sure that it is whole.

    Raises
    ------
    InputError
        It is absent, unreadable, not FITS, or shorter than its headers say.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)  # truncation is looked for below
            hdus = fits.open(path, memmap=False, lazy_load_hdus=False)
    except FileNotFoundError:
        raise InputError("there is no such file", file=path) from None
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"not a readable FITS file ({error})", file=path, do=AGAIN) from None
    try:
        if not str(path).endswith(".gz"):
            size, wanted = os.path.getsize(path), _end_of_data(hdus)
            if size < wanted:
                raise InputError(f"the file is truncated: {size} bytes, {wanted} by its headers", file=path, do=AGAIN)
            if size > wanted and _has_header_at(path, wanted):  # which astropy passes over in silence
                raise InputError(f"the file is truncated: {size} bytes, in the middle of a header", file=path, do=AGAIN)
        yield hdus
    finally:
        hdus.close()


def _end_of_data(hdus):
    info = hdus[-1].fileinfo()
    return info["datLoc"] + info["datSpan"]


def _has_header_at(path, position):
    with open(path, "rb") as file:
        file.seek(position)
        return file.read(9) == b"XTENSION="


class Headers(NamedTuple):
    """What the headers of a file say, as plain Python values."""

    primary: dict
    sci: dict  # of the first SCI extension; empty where there is none
    shape: tuple  # of its array; () where there is none
    dtype: str  # "uint16", "float32"...; "" where there is none


CARD = re.compile(r"([A-Z0-9_-]+) *= +(?:'((?:[^']|'')*)'|([TF])|([+-]?\d+)|([+-]?[\d.]+(?:[ED][+-]?\d+)?))? *(?:/.*)?")
STRUCTURE = re.compile(r"SIMPLE|XTENSION|EXTEND|BITPIX|NAXIS\d*|[PG]COUNT|BSCALE|BZERO|EXTNAME|EXTVER|INHERIT")
BLOCK = 2880


def read_headers(path):
    """The primary and the science header of a FITS file, and whether the file is whole; ten times faster than opening it.

    Keywords of the file's structure are left out, those without a value too. A file ending in the middle of a header or of
    the data that its headers announce is truncated.

    Raises
    ------
    InputError
        It is absent, unreadable, not FITS or truncated.
    """
    primary, sci, shape, dtype = None, {}, (), ""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            position = 0
            while position < size:
                cards, position = _header_at(file, position, size, path)
                if cards is None:  # fill after the last extension
                    break
                header = _values(cards)
                span, axes = _data_span(header, path)
                if primary is None:
                    primary = header
                elif header.get("EXTNAME") == "SCI" and not shape:
                    sci, shape, dtype = header, axes, _dtype(header)
                position += -(-span // BLOCK) * BLOCK
                if position > size:
                    raise InputError(f"the file is truncated: {size} bytes, {position} by its headers", path, AGAIN)
    except FileNotFoundError:
        raise InputError("there is no such file", path) from None
    except OSError as error:
        raise InputError(f"can't be read ({error.strerror or error})", path, "Make it readable or leave it out") from None
    if primary is None:
        raise InputError("the file is empty", path, AGAIN)
    return Headers(*({k: v for k, v in h.items() if not STRUCTURE.fullmatch(k)} for h in (primary, sci)), shape, dtype)


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
        block = [text[i : i + 80].decode("latin-1") for i in range(0, len(text), 80)]
        position += len(text)
        for card in block:
            if card.rstrip() == "END":
                return cards, position
            cards.append(card)
        text = file.read(BLOCK)
        if len(text) < BLOCK:
            raise InputError(f"the file is truncated: {size} bytes, in the middle of a header", path, AGAIN)


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
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            parsed = fits.Card.fromstring(card)
            value = parsed.value
    except fits.VerifyError:
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


def _dtype(header):
    """numpy's name of the type that the array has once it is scaled."""
    kind = {8: "uint8", 16: "int16", 32: "int32", 64: "int64", -32: "float32", -64: "float64"}.get(header["BITPIX"], "")
    if header.get("BSCALE", 1) == 1 and header["BITPIX"] > 8 and header.get("BZERO", 0) == 2 ** (header["BITPIX"] - 1):
        return "u" + kind
    return kind


def native(array):
    """The same values in the machine's byte order, C-contiguous."""
    array = np.asarray(array)
    return np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False))


def _physical(hdu):
    """A table's rows with the values that they stand for: FITS stores unsigned integers with an offset."""
    stored, offset = np.asarray(hdu.data), [c.name for c in hdu.columns if c.bzero]
    if not offset:
        return native(stored)
    kinds = [(n, hdu.data[n].dtype.newbyteorder("=")) if n in offset else (n, *_field(stored.dtype[n])) for n in stored.dtype.names]
    rows = np.empty(stored.shape, kinds)
    for name in stored.dtype.names:
        rows[name] = hdu.data[name] if name in offset else stored[name]
    return rows


def _field(kind):
    """A field's type in the machine's byte order, and its shape."""
    return kind.base.newbyteorder("="), kind.shape


# --- arrays ----------------------------------------------------------------------------------------------------------
#
# Images go from and to files through one small buffer: new memory costs more than the reading, and astropy's conversions
# hold a large array two or three times. Each thread has such a buffer.

BUFFER = 2**19  # bytes: it stays in the processor's cache
SPAN = 2**21  # bytes that a thread reads or writes at a time


class Stored(NamedTuple):
    """Where the image of an extension lies in its file, and how."""

    path: str
    offset: int
    kind: np.dtype  # of the values, in the machine's byte order
    shape: tuple

    def read(self, out, first=0):
        """Fill an array, of any numeric type, with the values from the first-th one on.

        Raises
        ------
        OSError
            The file can't be read, or is shorter than its headers say.
        """
        out, size = out.reshape(-1), self.kind.itemsize

        def fill(span):
            buffer = np.empty(min(span.stop - span.start, BUFFER // size), self.kind)
            for part in parts(span.start, span.stop, buffer.size):
                values = buffer[: part.stop - part.start]
                read_at(file, values, self.offset + (first + part.start) * size)
                _decode(values, out[part])

        with open(self.path, "rb", buffering=0) as file:
            side_by_side(fill, parts(0, out.size, SPAN // size))


def read_at(file, array, offset):
    """Fill an array with the bytes of an open file from `offset` on; OSError where it ends too soon."""
    view = memoryview(array.view(np.uint8)).cast("B")
    while view:
        done = os.preadv(file.fileno(), [view], offset)
        if not done:
            raise OSError("the file ends too soon")
        view, offset = view[done:], offset + done


def _read_side_by_side(file, array, offset):
    """`read_at`, with all threads."""
    flat = array.view(np.uint8)
    side_by_side(lambda span: read_at(file, flat[span], offset + span.start), parts(0, flat.size, SPAN))


def write_at(file, array, offset):
    """Write an array's bytes to an open file from `offset` on."""
    view = memoryview(array.view(np.uint8)).cast("B")
    while view:
        done = os.pwrite(file.fileno(), view, offset)
        view, offset = view[done:], offset + done


def _decode(values, out):
    """Fill an array, of any numeric type, with values that lie in memory as in a file."""
    _swap(values, _flip(values.dtype), out)


def _encode(values, out):
    """Fill an array of the same type with values as a file has them."""
    _swap(values, _flip(values.dtype).byteswap(), out)


def _flip(kind):
    """The first bit of integers with a sign that FITS does not know, which it turns around: it stores them less half of their range."""
    foreign = kind.kind in "iu" and (kind.kind == "u") != (kind.itemsize == 1)
    return np.dtype(f"u{kind.itemsize}").type(foreign << (8 * kind.itemsize - 1))


def _swap(values, flip, out):
    """Fill an array with values whose bytes are put in the other order, and the bits of `flip` then turned around."""
    bits, same = values.view(flip.dtype), out.dtype == values.dtype
    if bits.itemsize in (2, 4) and (same or (values.dtype == np.uint16 and out.dtype == np.float32)):
        from .kernels.byte_order import swap_2_bytes, swap_4_bytes  # kernels are for who has pixels

        (swap_2_bytes if bits.itemsize == 2 else swap_4_bytes)(bits, flip, out.view(bits.dtype) if same else out)
    else:
        out[...] = (bits.byteswap() ^ flip).view(values.dtype)


def stored(hdu, path):
    """Where the image of an HDU that was just opened lies; None where only astropy can read it (compressed, scaled)."""
    header, kind = hdu.header, _dtype(hdu.header) if hdu.is_image else ""
    plain = isinstance(hdu, (fits.PrimaryHDU, fits.ImageHDU)) and not str(path).endswith(".gz")
    unsigned = kind.startswith("u") and kind != "uint8"
    scaled = header.get("BSCALE", 1) != 1 or (header.get("BZERO", 0) != 0 and not unsigned) or "BLANK" in header
    if not plain or not kind or scaled or not hdu.shape:
        return None
    return Stored(str(path), hdu.fileinfo()["datLoc"], np.dtype(kind), hdu.shape)


def write_fits(hdus, path):
    """Write an HDU list, the same bytes as astropy would; its images are left as they are.

    Parameters
    ----------
    hdus : astropy.io.fits.HDUList
    path : path
    """
    hdus.verify("silentfix")
    hdus.update_extend()
    spans = []  # of all images: (array, where it begins in the file, part of it)
    with open(path, "wb", buffering=0) as file:
        for hdu in hdus:
            _write_all(file, hdu.header.tostring().encode("ascii") if hdu.is_image else _table_bytes(hdu))
            if hdu.is_image and hdu.data is not None:
                flat, here = native(hdu.data).reshape(-1), file.tell()
                spans += [(flat, here, span) for span in parts(0, flat.size, SPAN // flat.itemsize)]
                file.seek(here + flat.nbytes)
                _write_all(file, bytes(-flat.nbytes % BLOCK))  # data are filled up to whole blocks
        side_by_side(lambda span: _write_span(file, *span), spans)


def _table_bytes(hdu):
    """A table extension; astropy puts a primary header of one block before it."""
    buffer = io.BytesIO()
    hdu.writeto(buffer)
    return memoryview(buffer.getbuffer())[BLOCK:]


def _write_span(file, flat, start, span):
    """Write part of an array that begins at `start`, as FITS stores it."""
    buffer = np.empty(min(span.stop - span.start, BUFFER // flat.itemsize), flat.dtype)
    for part in parts(span.start, span.stop, buffer.size):
        values = buffer[: part.stop - part.start]
        _encode(flat[part], values)
        write_at(file, values, start + part.start * flat.itemsize)


def _write_all(file, data):
    view = memoryview(data).cast("B")
    while view:
        view = view[file.write(view) :]


class ReferenceFile:
    """A reference file, FITS or ASDF; arrays and tables are read when they are asked for."""

    def __init__(self, path, kind):
        self.path, self.kind = str(path), kind
        self._tree = None
        self._hdus, self._stored, self._definitions = {}, {}, None
        self.header = {}
        if not self.path.endswith(".asdf"):
            with self._open() as hdus:
                self._stored = {h.name: stored(h, self.path) for h in reversed(hdus[1:])}
                sci = hdus["SCI"].header if "SCI" in hdus else {}
                self.header = _FirstOf(hdus[0].header.copy(), sci)
                self._hdus = {h.name: (getattr(h, "shape", None) or None) for h in hdus[1:]}
                self._definitions = _physical(hdus["DQ_DEF"]) if "DQ_DEF" in hdus else None

    @contextmanager
    def _open(self):
        try:
            with open_fits(self.path) as hdus:
                yield hdus
        except InputError as error:
            raise ReferenceError(f"the {self.kind} reference can't be read: {error.what}", self.path, AGAIN) from None

    def __contains__(self, extname):
        return extname in self._hdus

    def shape(self, extname):
        return self._hdus.get(extname)

    def _need(self, extname):
        if extname not in self._hdus:
            raise ReferenceError(
                f"the {self.kind} reference has no extension {extname}",
                self.path,
                f"Give a {self.kind} reference that has one",
            )

    def array(self, extname, planes=None):
        self._need(extname)
        place = self._stored[extname]
        first, shape = (0, place.shape) if place and planes is None else _run(place, planes)
        if shape is None:
            with self._open() as hdus:
                return native(hdus[extname].data if planes is None else hdus[extname].section[planes])
        array = np.empty(shape, place.kind)
        try:
            place.read(array, first)
        except OSError as error:
            raise ReferenceError(f"the {self.kind} reference can't be read: {error}", self.path, AGAIN) from None
        return array

    def table(self, extname):
        self._need(extname)
        if extname == "DQ_DEF":
            return self._definitions
        with self._open() as hdus:
            return _physical(hdus[extname])

    def rows(self, extname, size):
        self._need(extname)
        with self._open() as hdus:
            hdu = hdus[extname]
            kind, offset, count = hdu.columns.dtype.newbyteorder(">"), hdu.fileinfo()["datLoc"], hdu.header["NAXIS2"]
            plain = kind.itemsize == hdu.header["NAXIS1"] and not any(c.bzero or c.bscale for c in hdu.columns)
        if not plain or self.path.endswith(".gz"):
            table = self.table(extname)
            yield from (table[first : first + size] for first in range(0, count, size))
            return
        with open(self.path, "rb", buffering=0) as file:
            for first in range(0, count, size):
                part = np.empty(min(size, count - first), kind)
                try:
                    _read_side_by_side(file, part, offset + first * kind.itemsize)
                except OSError as error:
                    raise ReferenceError(f"the {self.kind} reference can't be read: {error}", self.path, AGAIN) from None
                yield part

    @property
    def tree(self):
        if self._tree is None:
            import asdf

            try:
                with asdf.open(self.path, lazy_load=False, memmap=False) as file:
                    self._tree = dict(file.tree)
            except Exception as error:  # asdf has no common base for what a broken file raises
                raise ReferenceError(f"the {self.kind} reference can't be read ({error})", self.path, AGAIN) from None
        return self._tree


def _run(place, planes):
    """First value and shape of the planes (slices of the first axes), if they lie in one run in the file; (0, None) if not."""
    planes = planes if isinstance(planes, tuple) else (planes,)
    if place is None or len(planes) > len(place.shape) or not all(isinstance(p, slice) for p in planes):
        return 0, None
    ranges = [range(*p.indices(n)) for p, n in zip(planes, place.shape, strict=False)]
    if any(len(r) != 1 for r in ranges[:-1]) or ranges[-1].step != 1 or not len(ranges[-1]):
        return 0, None
    rest = place.shape[len(ranges) :]
    first = np.ravel_multi_index([r.start for r in ranges], place.shape[: len(ranges)])
    return int(first) * math.prod(rest), (*(len(r) for r in ranges), *rest)


class _FirstOf:
    """Keywords of two headers, the first one winning."""

    def __init__(self, *headers):
        self._headers = headers

    def get(self, keyword, default=None):
        for header in self._headers:
            if keyword in header:
                return header[keyword]
        return default

    def __contains__(self, keyword):
        return any(keyword in header for header in self._headers)


def open_reference(path, kind=""):
    """Open a reference file.

    Raises
    ------
    ReferenceError
        It is absent, truncated or not what it should be.
    """
    return ReferenceFile(path, kind)


class RampSamples:
    """The samples of a ramp in an open FITS file, read as float32 when they are asked for.

    Parameters
    ----------
    hdus : HDUList
        Kept open by the caller for as long as this is used.
    path : path
    flags : bool
        Whether to give group flags (those of GROUPDQ, zeros where the file has none).
    """

    def __init__(self, hdus, path, flags=True):
        self._sci, self._place = hdus["SCI"], stored(hdus["SCI"], path)
        self._groupdq = hdus["GROUPDQ"] if "GROUPDQ" in hdus else None
        self.path, self.flags, self.shape = path, flags, self._sci.shape

    def read(self, ints, empty=np.empty):
        """Some integrations: sci (int, group, row, col) float32, groupdq uint8 or None. `empty(shape, kind)` gives the memory.

        Raises
        ------
        InputError
            The samples can't be read.
        """
        try:
            sci = empty((ints.stop - ints.start, *self.shape[1:]), np.float32)
            if self._place:
                self._place.read(sci, ints.start * math.prod(self.shape[1:]))
            else:
                sci[:] = self._sci.section[ints]
            if not self.flags:
                return sci, None
            groupdq = empty(sci.shape, np.uint8)
            if self._groupdq is None:
                flat = groupdq.reshape(-1)
                side_by_side(lambda span: flat[span].fill(0), parts(0, flat.size, SPAN))
            else:
                groupdq[:] = self._groupdq.section[ints]
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"its samples can't be read ({error})", self.path, AGAIN) from None
        return sci, groupdq


PLAIN_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # written in C: five times faster
PLAIN_ASDF = "#ASDF 1.0.0\n#ASDF_STANDARD 1.5.0\n%YAML 1.1\n%TAG ! tag:stsci.edu:asdf/\n--- !core/asdf-1.1.0\n{}...\n"


def asdf_block(tree, plain=False):
    """A tree as the bytes of an ASDF file.

    Parameters
    ----------
    tree : dict
    plain : bool
        The tree holds only what YAML itself knows. Then the file is put together here
        (ASDF standard 1.5.0, "Low-level file layout"): the asdf library takes 1.7 s to load the extensions that it could need.
    """
    if plain:
        text = yaml.dump(tree, Dumper=PLAIN_DUMPER, default_flow_style=None, allow_unicode=True, sort_keys=False)
        return PLAIN_ASDF.format(text).encode()
    buffer = io.BytesIO()
    _asdf_file(tree).write_to(buffer)
    return buffer.getvalue()


def _asdf_file(tree):
    """An ASDF file that lists the extensions it needs in order: the library's own changes from run to run, and the file's bytes with it."""
    import asdf

    class Ordered(asdf.AsdfFile):
        def _update_extension_history(self, tree, context):
            super()._update_extension_history(tree, context)
            tree["history"]["extensions"].sort(key=lambda used: (used["extension_class"], used.get("extension_uri", "")))

    return Ordered(tree)


def asdf_tree(hdus, path):
    """The tree in the ASDF extension of a product, its references to FITS arrays unresolved; {} where it has none."""
    if "ASDF" not in hdus:
        return {}
    import asdf

    data = np.asarray(hdus["ASDF"].data["ASDF_METADATA"][0]).tobytes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # older library versions than the file's: what we need is read below or fails
            with asdf.open(io.BytesIO(data), lazy_tree=True, lazy_load=False) as file:
                meta = file.tree.get("meta", {})
                return {"wcs": meta.get("wcs") if hasattr(meta, "get") else None}
    except Exception as error:  # asdf has no common base for what a broken block raises
        raise InputError(f"its ASDF extension can't be read ({error})", path, AGAIN) from None
