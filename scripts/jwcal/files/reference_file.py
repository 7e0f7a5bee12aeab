"""Reference files as they are, FITS, ASDF or JSON: arrays, tables and trees, read when they are asked for."""

import json
import math
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from astropy.io import fits

from ..vocabulary import limits
from ..vocabulary.errors import InputError, ReferenceError
from .fitsheaders import AGAIN, is_compressed, read_extensions
from .fitsio import native, open_fits, plain_row, read_side_by_side, stored


def another(kind):
    """What to do about a reference that is of no use."""
    return f"Give another {kind} reference under references: overrides, or take the one from CRDS"


@contextmanager
def understood(kind, path):
    """Where the content of a reference is taken apart: what goes wrong there is an error of the file."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, fits.VerifyError) as error:
        what = f"the {kind} reference is not made as such references are ({type(error).__name__}: {error})"
        raise ReferenceError(what, path, another(kind)) from error


class Keywords(dict):
    """A reference's keywords; one that can't be right (`limits`) is an error when it is asked for."""

    def __init__(self, values, file):
        super().__init__(values)
        self._file = file

    def get(self, keyword, default=None):
        return self[keyword] if keyword in self else default

    def __getitem__(self, keyword):
        value, file = super().__getitem__(keyword), self._file
        wrong = limits.fault(keyword, value)
        if wrong:
            raise ReferenceError(f"the {file.kind} reference's {wrong}", file.path, f"Correct the keyword. {another(file.kind)}")
        return value


class ReferenceFile:
    """A reference file, FITS, ASDF or JSON; arrays and tables are read when they are asked for."""

    def __init__(self, path, kind):
        self.path, self.kind = str(path), kind
        self._tree = None
        self._extensions = {}
        self.header = Keywords({}, self)
        if not self.path.endswith((".asdf", ".json")):
            with self._errors():
                primary, *extensions = read_extensions(self.path)
            # the first of a name counts
            self._extensions = {str(e.header.get("EXTNAME", "")).upper(): e for e in reversed(extensions)}
            self._extensions |= {f"{e.header.get('EXTNAME', '')},{e.header.get('EXTVER', 1)}".upper(): e for e in reversed(extensions)}
            science = self._extensions.get("SCI")
            self.header = Keywords({**(science.header if science else {}), **primary.header}, self)

    @contextmanager
    def _errors(self):
        try:
            yield
        except InputError as error:
            raise ReferenceError(f"the {self.kind} reference can't be read: {error.what}", self.path, AGAIN) from None

    @contextmanager
    def _open(self):
        with self._errors(), open_fits(self.path) as hdus:
            yield hdus

    def __contains__(self, extname):
        return extname in self._extensions

    def shape(self, extname):
        return _image_shape(self._extensions[extname]) if extname in self else None

    def keywords(self, extname, version=None):
        """The keywords of one extension; of several with one name that of an EXTVER."""
        self._need(extname)
        return Keywords(self._extensions[f"{extname},{version}" if version else extname].header, self)

    def _need(self, extname):
        if extname not in self:
            raise ReferenceError(
                f"the {self.kind} reference has no extension {extname}",
                self.path,
                f"Give a {self.kind} reference that has one",
            )

    def _need_table(self, extname):
        self._need(extname)
        header = self._extensions[extname].header
        if header.get("XTENSION") not in ("BINTABLE", "TABLE") or header.get("ZIMAGE"):
            raise ReferenceError(f"the {self.kind} reference's {extname} is no table", self.path, another(self.kind))

    def array(self, extname, planes=None):
        self._need(extname)
        extension = self._extensions[extname]
        place = stored(extension.header, extension.offset, extension.shape, self.path)
        first, shape = (0, place.shape) if place and planes is None else _run(place, planes)
        if shape is None:
            name, _, version = extname.partition(",")
            with self._open() as hdus:
                hdu = hdus[name, int(version)] if version else hdus[name]
                return native(hdu.data if planes is None else hdu.section[planes])
        array = np.empty(shape, place.kind)
        try:
            place.read(array, first)
        except OSError as error:
            raise ReferenceError(f"the {self.kind} reference can't be read: {error}", self.path, AGAIN) from None
        return array

    def table(self, extname):
        self._need_table(extname)
        with understood(self.kind, self.path):
            if self._row(extname):
                return _rows_of_bytes(next(self._rows_in_file(extname)), self._row(extname).unsigned)
            with self._open() as hdus:
                return _rows_of_astropy(hdus[extname])

    def rows(self, extname, size):
        self._need_table(extname)
        row = self._row(extname)
        if row and not row.unsigned:
            yield from self._rows_in_file(extname, size)
        else:
            table = self.table(extname)
            yield from (table[first : first + size] for first in range(0, len(table), size))

    def _row(self, extname):
        """How a table's rows are stored, where they can be read as they are."""
        with understood(self.kind, self.path):
            return None if is_compressed(self.path) else plain_row(self._extensions[extname].header)

    def _rows_in_file(self, extname, size=None):
        """The rows of a table as they are in the file, `size` of them at a time or all at once."""
        extension = self._extensions[extname]
        kind, count = self._row(extname).kind, extension.header["NAXIS2"]
        try:
            with open(self.path, "rb", buffering=0) as file:
                for first in range(0, count, size) if size else (0,):
                    part = np.empty(min(size or count, count - first), kind)
                    read_side_by_side(file, part, extension.offset + first * kind.itemsize)
                    yield part
        except OSError as error:
            raise ReferenceError(f"the {self.kind} reference can't be read: {error}", self.path, AGAIN) from None

    @property
    def tree(self):
        if self._tree is None and self.path.endswith(".json"):
            self._tree = self._json()
        if self._tree is None:
            import asdf

            try:
                with asdf.open(self.path, lazy_load=False, memmap=False) as file:
                    self._tree = dict(file.tree)
            except Exception as error:  # asdf has no common base for what a broken file raises
                raise ReferenceError(f"the {self.kind} reference can't be read ({error})", self.path, AGAIN) from None
        return self._tree

    def _json(self):
        try:
            tree = json.loads(Path(self.path).read_text())
        except (OSError, ValueError) as error:
            raise ReferenceError(f"the {self.kind} reference can't be read ({error})", self.path, AGAIN) from None
        if not isinstance(tree, dict):
            raise ReferenceError(f"the {self.kind} reference is no object of keys and values", self.path, another(self.kind))
        return tree

    def versions(self, extname):
        """EXTVER of the extensions of one name, in the order of the file."""
        return sorted(int(key.rpartition(",")[2]) for key in self._extensions if key.rpartition(",")[0] == extname)


def _rows_of_bytes(rows, unsigned):
    """Rows of a table as the file has them, some of whose columns stand for unsigned integers, in memory."""
    return _in_memory(rows, {name: _unsigned(rows[name]) for name in unsigned})


def _rows_of_astropy(hdu):
    """A table's rows with the values that they stand for, of which astropy knows those of scaled columns."""
    return _in_memory(np.asarray(hdu.data), {c.name: hdu.data[c.name] for c in hdu.columns if c.bzero})


def _in_memory(rows, other):
    """Rows in the machine's byte order, with other values in some columns: name -> array."""
    kinds = {name: other[name].dtype if name in other else rows.dtype[name].base for name in rows.dtype.names}
    out = np.empty(rows.shape, [(name, kind.newbyteorder("="), rows.dtype[name].shape) for name, kind in kinds.items()])
    for name in kinds:
        out[name] = other.get(name, rows[name])
    return out


def _unsigned(stored):
    """Unsigned integers that FITS stores with a sign, less half of their range."""
    size = stored.dtype.itemsize
    return stored.astype(f"i{size}").view(f"u{size}") ^ np.dtype(f"u{size}").type(1 << (8 * size - 1))


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


def _image_shape(extension):
    """The shape of an extension's image, compressed or not; None where it holds none."""
    header, shape = extension.header, extension.shape
    if header.get("ZIMAGE"):
        return tuple(header[f"ZNAXIS{n}"] for n in range(header["ZNAXIS"], 0, -1))
    return shape if shape and header.get("XTENSION") == "IMAGE" else None


def open_reference(path, kind):
    """Open a reference file.

    Raises
    ------
    ReferenceError
        It is absent, truncated or not what it should be.
    """
    return ReferenceFile(path, kind)
