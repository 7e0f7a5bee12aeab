"""Files: FITS and ASDF in, FITS out. The only module that opens them."""

import io
import os
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from .errors import InputError, ProductError, ReferenceError

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
        yield hdus
    finally:
        hdus.close()


def _end_of_data(hdus):
    info = hdus[-1].fileinfo()
    return info["datLoc"] + info["datSpan"]


def native(array):
    """The same values in the machine's byte order, C-contiguous."""
    array = np.asarray(array)
    return np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False))


class ReferenceFile:
    """A reference file, FITS or ASDF; arrays and tables are read when they are asked for."""

    def __init__(self, path, kind):
        self.path, self.kind = str(path), kind
        self._tree = None
        self._hdus = {}
        self.header = {}
        if not self.path.endswith(".asdf"):
            with self._open() as hdus:
                sci = hdus["SCI"].header if "SCI" in hdus else {}
                self.header = _FirstOf(hdus[0].header.copy(), sci)
                self._hdus = {h.name: (getattr(h, "shape", None) or None) for h in hdus[1:]}

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
        with self._open() as hdus:
            return native(hdus[extname].data if planes is None else hdus[extname].section[planes])

    def table(self, extname):
        self._need(extname)
        with self._open() as hdus:
            return native(np.asarray(hdus[extname].data))

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


@contextmanager
def replaced(path):
    """A temporary name beside `path` that takes its place when the block ends well, and is removed when it does not."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise ProductError(f"can't be written ({error.strerror or error})", path, "Make room or choose another results folder") from None
    finally:
        temporary.unlink(missing_ok=True)


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
        self._sci = hdus["SCI"]
        self._groupdq = hdus["GROUPDQ"] if "GROUPDQ" in hdus else None
        self.path, self.flags, self.shape = path, flags, self._sci.shape

    def read(self, ints):
        """Some integrations: sci (int, group, row, col) float32, groupdq uint8 or None.

        Raises
        ------
        InputError
            The samples can't be read.
        """
        try:
            sci = self._sci.section[ints].astype(np.float32)
            if not self.flags:
                return sci, None
            groupdq = np.zeros(sci.shape, np.uint8) if self._groupdq is None else native(self._groupdq.section[ints])
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"its samples can't be read ({error})", self.path, AGAIN) from None
        return sci, groupdq


def asdf_block(tree):
    """A tree as the bytes of an ASDF file."""
    import asdf

    buffer = io.BytesIO()
    asdf.AsdfFile(tree).write_to(buffer)
    return buffer.getvalue()


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
