"""Files: FITS and ASDF in, FITS out. Headers alone are in `fitsheaders`, references in `reference_file`; no other module opens them."""

import io
import math
import os
import re
import warnings
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import numpy as np
import yaml
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from ..machine.threads import meanwhile, parts, side_by_side
from ..vocabulary.errors import InputError
from . import arrays, storage
from .fitsheaders import A_FILE, AGAIN, BLOCK, dtype_of, is_compressed, opened, size_of


@contextmanager
def open_fits(path):
    """Open a FITS file and make sure that it is whole.

    Raises
    ------
    InputError
        It is absent, unreadable, not FITS, or shorter than its headers say.
    """
    try:
        size = size_of(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)  # truncation is looked for below
            hdus = fits.open(path, memmap=False, lazy_load_hdus=False)
    except FileNotFoundError:
        raise InputError("there is no such file", file=path) from None
    except IsADirectoryError:
        raise InputError("it is a folder", file=path, do=A_FILE) from None
    except (OSError, ValueError, TypeError) as error:
        why = str(error).partition(". If ")[0]  # what astropy advises is for those who call it
        raise InputError(f"not a readable FITS file ({why})", file=path, do=AGAIN) from None
    try:
        wanted = _end_of_data(hdus)
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
    with opened(path) as file:
        file.seek(position)
        return file.read(9) == b"XTENSION="


def native(array):
    """The same values in the machine's byte order, C-contiguous."""
    array = np.asarray(array)
    return np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False))


def values(array):
    """An array's numbers as float32, C-contiguous."""
    return np.ascontiguousarray(array, np.float32)


def flags(array, name, path):
    """An array's numbers as the flags of an extension, C-contiguous: uint32, those of groups uint8.

    Raises
    ------
    InputError
        They are no flags: not whole, below 0, or of more bits.
    """
    array, kind = np.asarray(array), np.dtype(arrays.FLAGS[name])
    found = array.dtype.newbyteorder("=")
    if found == np.int32 and kind == np.uint32:  # some software leaves out the offset with which FITS stores unsigned ones
        return np.ascontiguousarray(array, np.int32).view(kind)
    if not (found.kind == "u" and found.itemsize <= kind.itemsize):
        with np.errstate(invalid="ignore"):
            good = (array >= 0) & (array <= np.iinfo(kind).max) & (array == np.floor(array))
        if not good.all():
            what = f"{name} is {found.name} with the value {array[~good][0]}, flags of {8 * kind.itemsize} bits were expected"
            raise InputError(what, path, arrays.CORRECT)
    return np.ascontiguousarray(array, kind)


# --- arrays ----------------------------------------------------------------------------------------------------------
#
# Images go from and to files through one small buffer: new memory costs more than the reading, and astropy's conversions
# hold a large array two or three times. Each thread has such a buffer.

BUFFER = 2**19  # bytes: it stays in the processor's cache
SPAN = 2**21  # bytes that a thread reads or writes at a time
AT_ONCE = 512  # arrays in one call: Linux takes 1024


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
        out, size, flip = out.reshape(-1), self.kind.itemsize, _flip(self.kind)
        swap, to = _swap(self.kind, flip, out)

        def fill(span):
            buffer = np.empty(min(span.stop - span.start, BUFFER // size), flip.dtype)
            for part in parts(span.start, span.stop, buffer.size):
                values = buffer[: part.stop - part.start]
                read_at(file, values, self.offset + (first + part.start) * size)
                swap(values, flip, to[part])

        with open(self.path, "rb", buffering=0) as file:
            side_by_side(fill, parts(0, out.size, SPAN // size))


def read_at(file, array, offset):
    """Fill an array with the bytes of an open file from `offset` on; OSError where it ends too soon."""
    read_run(file, [array], offset)


def read_run(file, arrays, offset):
    """`read_at` for arrays whose bytes follow each other in the file."""
    _transfer(os.preadv, file, arrays, offset)


def read_side_by_side(file, array, offset):
    """`read_at`, with all threads."""
    flat = array.view(np.uint8)
    side_by_side(lambda span: read_at(file, flat[span], offset + span.start), parts(0, flat.size, SPAN))


def write_at(file, array, offset):
    """Write an array's bytes to an open file from `offset` on."""
    write_run(file, [array], offset)


def write_run(file, arrays, offset):
    """`write_at` for arrays whose bytes follow each other in the file."""
    _transfer(os.pwritev, file, arrays, offset)


def _transfer(call, file, arrays, offset):
    """Have the system read or write the bytes of arrays, one call for as many as it takes."""
    views = [memoryview(array.view(np.uint8)).cast("B") for array in arrays if array.size]
    while views:
        done = call(file.fileno(), views[:AT_ONCE], offset)
        if not done:
            raise OSError("the file ends too soon")
        offset += done
        while views and done >= len(views[0]):
            done -= len(views.pop(0))
        if done:
            views[0] = views[0][done:]


def _flip(kind):
    """The first bit of integers with a sign that FITS does not know, which it turns around: it stores them less half of their range."""
    foreign = kind.kind in "iu" and (kind.kind == "u") != (kind.itemsize == 1)
    return np.dtype(f"u{kind.itemsize}").type(foreign << (8 * kind.itemsize - 1))


def _swap(kind, flip, array):
    """How values of a type and an array's, of any numeric type, become each other.

    Returns
    -------
    callable
        swap(bits, flip, out) fills `out` with values whose bytes are put in the other order and the bits of `flip` then turned around.
        `bits`, the values as unsigned integers, and `out` are a part of what is to be read or written, and of the array below.
    ndarray
        The array as `swap` takes it.
    """
    same = array.dtype == kind
    if flip.itemsize in (2, 4) and (same or (kind == np.uint16 and array.dtype == np.float32)):
        from ..kernels.files.byte_order import swap_2_bytes, swap_4_bytes  # kernels are for who has pixels

        return swap_2_bytes if flip.itemsize == 2 else swap_4_bytes, array.view(flip.dtype) if same else array

    def swap(bits, flip, out):
        out[...] = (bits.byteswap() ^ flip).view(kind)

    return swap, array


def stored(header, offset, shape, path):
    """Where the image of an extension lies; None where only astropy can read it (compressed, scaled).

    Parameters
    ----------
    header : mapping
        The extension's keywords as they are in the file.
    offset : int
        Of its data in the file.
    shape : tuple
    path : path
    """
    kind = dtype_of(header) if header.get("XTENSION", "IMAGE").strip() == "IMAGE" else ""
    unsigned = kind.startswith("u") and kind != "uint8"
    scaled = header.get("BSCALE", 1) != 1 or (header.get("BZERO", 0) != 0 and not unsigned) or "BLANK" in header
    if not kind or scaled or not shape or is_compressed(path):
        return None
    return Stored(str(path), offset, np.dtype(kind), shape)


class Row(NamedTuple):
    """How a binary table stores its rows."""

    kind: np.dtype
    unsigned: tuple  # names of the columns whose integers are stored less half of their range


FORM = re.compile(r"(\d*)([ABIJKED]) *")
KINDS = {"B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}


def plain_row(header):
    """The `Row` of an extension's keywords; None where a column is not plain: astropy, which takes ten times as long, knows all of them.

    Source: FITS standard 4.0, section 7.3.
    """
    if header.get("XTENSION") != "BINTABLE" or header.get("ZIMAGE"):
        return None
    columns = [_plain_column(header, n) for n in range(1, header["TFIELDS"] + 1)]
    if not columns or None in columns or len({name for name, *_ in columns}) < len(columns):
        return None
    kind = np.dtype([column[:-1] for column in columns])
    unsigned = tuple(name for name, *_, half in columns if half)
    return Row(kind, unsigned) if kind.itemsize == header["NAXIS1"] else None


def _plain_column(header, n):
    """Name, type and shape of a column, and whether it is of unsigned integers; None where it is scaled, of variable length..."""
    form, name = FORM.fullmatch(str(header.get(f"TFORM{n}"))), header.get(f"TTYPE{n}")
    if not form or not isinstance(name, str):
        return None
    many, letter = int(form[1] or 1), form[2]
    kind = np.dtype(f"S{many}" if letter == "A" else KINDS[letter])
    shape = () if letter == "A" or many == 1 else (many,)
    half = 2 ** (8 * kind.itemsize - 1) if letter in "IJK" else 0
    zero = header.get(f"TZERO{n}", 0)
    as_it_is = header.get(f"TSCAL{n}", 1) == 1 and zero in (0, half) and header.get(f"TDIM{n}", f"({many})") == f"({many})"
    return (name, kind, shape, zero != 0) if many and as_it_is else None


def write_fits(lists):
    """Write HDU lists, the same bytes as astropy would; their images are left as they are.

    Other threads begin with a file while the next list is made: most of that is Python, which one thread at a time can do.

    Parameters
    ----------
    lists : iterable of (astropy.io.fits.HDUList, path, path)
        Where to write it, and what to call it where that is not possible.

    Raises
    ------
    ProductError
    """
    with ExitStack() as files, meanwhile(lambda span: _write_span(*span)) as give:
        for hdus, path, name in lists:
            give(_begin(hdus, files.enter_context(_created(path, name)), name))


@contextmanager
def _created(path, name):
    with storage.writing(name), open(path, "wb", buffering=0) as file:
        yield file


def _begin(hdus, file, name):
    """Write all but the images, and the fill after them; returns their spans, the arguments of `_write_span`."""
    hdus.update_extend()
    spans = []
    for hdu in hdus:
        _write_all(file, hdu.header.tostring().encode("ascii") if hdu.is_image else _table_bytes(hdu))
        if hdu.is_image and hdu.data is not None:
            flat, here = native(hdu.data).reshape(-1), file.tell()
            spans += [(file, name, flat, here, span) for span in parts(0, flat.size, SPAN // flat.itemsize)]
            file.seek(here + flat.nbytes)
            _write_all(file, bytes(-flat.nbytes % BLOCK))  # data are filled up to whole blocks
    return spans


def _table_bytes(hdu):
    """A table extension as it is in a file."""
    row = plain_row(hdu.header)
    if row and not row.unsigned:
        head, rows = hdu.header.tostring().encode("ascii"), np.asarray(hdu.data).astype(row.kind, copy=False).tobytes()
        return head + rows + bytes(-len(rows) % BLOCK)
    buffer = io.BytesIO()
    hdu.writeto(buffer)
    return memoryview(buffer.getbuffer())[BLOCK:]  # astropy puts a primary header of one block before it


def _write_span(file, name, flat, start, span):
    """Write part of an array that begins at `start`, as FITS stores it."""
    flip = _flip(flat.dtype)
    stored = np.empty(min(span.stop - span.start, BUFFER // flat.itemsize), flat.dtype)
    swap, to = _swap(flat.dtype, flip, stored)
    bits, flip = flat.view(flip.dtype), flip.byteswap()
    with storage.writing(name):
        for part in parts(span.start, span.stop, stored.size):
            size = part.stop - part.start
            swap(bits[part], flip, to[:size])
            write_at(file, stored[:size], start + part.start * flat.itemsize)


def _write_all(file, data):
    view = memoryview(data).cast("B")
    while view:
        view = view[file.write(view) :]


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
        sci = self._sci = hdus["SCI"]
        self._place = stored(sci.header, sci.fileinfo()["datLoc"], sci.shape, path)
        self._groupdq = hdus["GROUPDQ"] if "GROUPDQ" in hdus and hdus["GROUPDQ"].shape else None
        self._may_be_nan = arrays.described(sci.header).kind.startswith("float")
        self.path, self.flags, self.shape = path, flags, self._sci.shape

    def read(self, ints, empty=np.empty):
        """Some integrations: sci (int, group, row, col) float32, groupdq uint8 or None. `empty(shape, kind)` gives the memory.

        Raises
        ------
        InputError
            The samples can't be read, one is not finite, or the flags are none.
        """
        try:
            sci = empty((ints.stop - ints.start, *self.shape[1:]), np.float32)
            if self._place:
                self._place.read(sci, ints.start * math.prod(self.shape[1:]))
            else:
                sci[:] = self._sci.section[ints]
            if self._may_be_nan:
                self._check_finite(sci, ints.start)
            if not self.flags:
                return sci, None
            groupdq = empty(sci.shape, np.uint8)
            if self._groupdq is None:
                flat = groupdq.reshape(-1)
                side_by_side(lambda span: flat[span].fill(0), parts(0, flat.size, SPAN))
            else:
                groupdq[:] = flags(self._groupdq.section[ints], "GROUPDQ", self.path)
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"its samples can't be read ({error})", self.path, AGAIN) from None
        return sci, groupdq

    def _check_finite(self, sci, start):
        """Raise InputError where samples are not numbers: raw ones, which are whole, can't be so."""
        for number, integration in enumerate(sci, start=start + 1):
            finite = np.isfinite(integration)
            if not finite.all():
                group, row, column = (int(i[0]) + 1 for i in np.nonzero(~finite))
                what = f"SCI has samples that are no numbers, the first in integration {number}, group {group}, row {row}, column {column}"
                raise InputError(what, self.path, arrays.CORRECT)


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


def asdf_tree(hdus, path, pick):
    """What is picked from the tree in the ASDF extension of a product: pick(tree). References to FITS arrays are unresolved.

    Raises
    ------
    InputError
        The extension can't be read.
    """
    if "ASDF" not in hdus:
        return pick({})
    import asdf

    data = np.asarray(hdus["ASDF"].data["ASDF_METADATA"][0]).tobytes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # older library versions than the file's: what we need is read below or fails
            with asdf.open(io.BytesIO(data), lazy_tree=True, lazy_load=False) as file:
                return pick(file.tree)
    except Exception as error:  # asdf has no common base for what a broken block raises
        raise InputError(f"its ASDF extension can't be read ({error})", path, AGAIN) from None
