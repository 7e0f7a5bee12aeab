"""Reference arrays as the steps see them: native byte order, standard DQ bits, cut to the subarray here and nowhere else."""

import logging
from functools import cached_property

import numpy as np

from ..files.reference_file import another, open_reference
from ..vocabulary import dq as dqbits
from ..vocabulary import reference_types
from ..vocabulary.errors import ReferenceError
from . import stripes
from .irs2_layout import is_irs2

log = logging.getLogger(__name__)
SMALL = 2**24  # bytes
SUBARRAY = ("SUBSTRT1", "SUBSTRT2", "SUBSIZE1", "SUBSIZE2")


class Reference:
    """One reference file, read when it is asked for.

    Parameters
    ----------
    kind : str
        Reference type: "flat", "gain"...
    path : path
    header : exposure.Header
        Of the science exposure: where its subarray is.
    name : str
        How the product's header calls it: crds://jwst_... or the file's name.
    """

    def __init__(self, kind, path, header, name=None):
        self.type, self.path = kind, path
        self.name = name or str(path)
        self._science = header
        self._arrays = {}
        self._rows = slice(None)
        self._position = 0  # of the stripes, in superstripe readout

    @cached_property
    def _file(self):
        return open_reference(self.path, self.type)

    @property
    def header(self):
        """Keywords: the primary header, then SCI's."""
        return self._file.header

    @property
    def tree(self):
        """The tree of an ASDF or JSON reference."""
        return self._file.tree

    def versions(self, extname):
        """EXTVER of the extensions of one name, of which "NAME,2" is one."""
        return self._file.versions(extname)

    def keywords(self, extname, version=None):
        """The keywords of one extension: units, what the axes of an image or of a table's cubes are."""
        return self._file.keywords(extname, version)

    def has(self, extname):
        return extname in self._file

    def array(self, extname="SCI", planes=None):
        """An image extension, cut to the science subarray.

        Parameters
        ----------
        extname : str
        planes : slice or tuple of slices, optional
            Part of the first axes of a cube; read each time it is asked for.

        Returns
        -------
        ndarray, (..., row, col)
        """
        if planes is not None:
            return self._cut(self._file.array(extname, planes), extname)[..., self._rows, :]
        if extname not in self._arrays:
            self._arrays[extname] = np.ascontiguousarray(self._cut(self._file.array(extname), extname))
        return self._arrays[extname][..., self._rows, :]

    def uncut(self, extname="SCI"):
        """An image extension as the file has it, for what is no map of the exposure's pixels (a convolution kernel)."""
        return self._file.array(extname)

    def shape(self, extname="SCI"):
        """Shape of the extension in the file, before any cut; None where there is no such extension."""
        return self._file.shape(extname)

    def dq(self, extname="DQ"):
        """Data quality with the standard bits, (..., row, col) uint32; zeros where the file has none."""
        if not self.has(extname):
            return np.zeros((int(self._science["SUBSIZE2"]), int(self._science["SUBSIZE1"])), np.uint32)[self._rows]
        key = f"{extname} renamed"
        if key not in self._arrays:
            bits = np.ascontiguousarray(self._cut(self._file.array(extname), extname), np.uint32)
            definitions = self._file.table("DQ_DEF") if "DQ_DEF" in self._file else None
            self._arrays[key] = standard_bits(bits, definitions, self.path)
        return self._arrays[key][..., self._rows, :]

    def table(self, extname):
        """A table extension as a structured array, kept if it is small: it is looked at for every slit. Do not write into it."""
        key = f"{extname} table"
        if key in self._arrays:
            return self._arrays[key]
        table = self._file.table(extname)
        if table.nbytes < SMALL:
            self._arrays[key] = table
        return table

    def rows(self, extname, size):
        """A table extension in structured arrays of up to `size` rows, in either byte order: for one that need not be held as a whole."""
        return self._file.rows(extname, size)

    def derived(self, name, make):
        """What `make()` makes of this reference, kept until its arrays are dropped."""
        key = f"{name} derived"
        if key not in self._arrays:
            self._arrays[key] = make()
        return self._arrays[key]

    def drop(self):
        """Forget the arrays that were read."""
        self._arrays.clear()

    def strip(self, rows):
        """The same reference, for a strip of the subarray's rows."""
        part = object.__new__(Reference)
        part.__dict__ = {**self.__dict__, "_rows": rows, "_whole": self}
        part.__dict__["_file"] = self._file
        return part

    def stripe(self, position):
        """The same reference, for one position of the stripes of superstripe readout."""
        part = object.__new__(Reference)
        part.__dict__ = {**self.__dict__, "_arrays": {}, "_position": position, "_file": self._file}
        return part

    def _cut(self, array, extname):
        """The science subarray's part of the last two axes."""
        if array.ndim < 2:
            raise ReferenceError(
                f"the {self.type} reference's {extname} has the shape {array.shape}, an image was expected",
                file=self.path,
                do=another(self.type),
            )
        ny, nx = array.shape[-2:]
        start1, start2, size1, size2 = (int(self.header.get(k, d)) for k, d in zip(SUBARRAY, (1, 1, nx, ny), strict=True))
        s1, s2, n1, n2 = (int(self._science[k]) for k in SUBARRAY)
        same = (s1, s2, n1, n2) == (start1, start2, size1, size2) and not stripes.positions(self._science)
        if same and nx == n1 and (ny == n2 or is_irs2(array.shape)):  # IRS2 images have more rows than SUBSIZE2 tells
            return array
        if stripes.is_striped(self._science):
            return stripes.cut(array, self._science, (start1, start2), self._position, self.path, self.type)
        x, y = s1 - start1, s2 - start2
        if x < 0 or y < 0 or x + n1 > nx or y + n2 > ny:
            raise ReferenceError(
                f"the {self.type} reference's {extname} is {nx} x {ny} pixels from ({start1}, {start2}), which does not cover "
                f"the exposure's subarray of {n1} x {n2} from ({s1}, {s2})",
                file=self.path,
                do=f"Give a {self.type} reference for this subarray under references: overrides, or take the one from CRDS",
            )
        return array[..., y : y + n2, x : x + n1]


class References:
    """The references of one chain: `refs["flat"]`.

    Parameters
    ----------
    files : dict
        type -> path; a type that is absent or "N/A" is not there.
    header : exposure.Header
    names : dict, optional
        type -> name for the product's header.
    """

    def __init__(self, files, header, names=None):
        names = names or {}
        self._refs = {k: Reference(reference_types.plain(k), p, header, names.get(k)) for k, p in files.items() if p != "N/A"}
        self._wholes = self._refs

    def __contains__(self, kind):
        return kind in self._refs

    def __getitem__(self, kind):
        return self._refs[kind]

    def get(self, kind):
        return self._refs.get(kind)

    def chosen_for(self, exp_type):
        """Those that were chosen as for exposures of another type."""
        part, end = object.__new__(References), reference_types.as_for("", exp_type)
        part._refs = {kind.removesuffix(end): reference for kind, reference in self._refs.items() if kind.endswith(end)}
        part._wholes = {kind.removesuffix(end): reference for kind, reference in self._wholes.items() if kind.endswith(end)}
        return part

    def whole(self, kind):
        """The reference, not cut to the strip."""
        return self._wholes[kind]

    def stripe(self, position):
        """These references for one position of the stripes of superstripe readout."""
        part = object.__new__(References)
        part._refs = part._wholes = {k: r.stripe(position) for k, r in self._refs.items()}
        return part

    def strip(self, rows):
        """These references for a strip of rows."""
        if rows == slice(0, None):
            return self
        part = object.__new__(References)
        part._refs = {k: r.strip(rows) for k, r in self._refs.items()}
        part._wholes = self._wholes
        return part


def standard_bits(bits, definitions, path=""):
    """Move a file's own data quality bits to the standard ones, by name; in place.

    Parameters
    ----------
    bits : ndarray of uint32, C-contiguous
        Changed.
    definitions : structured array or None
        DQ_DEF table with VALUE and NAME; without one the bits are taken as they are.

    Returns
    -------
    ndarray of uint32
    """
    if definitions is None:
        return bits
    from ..kernels.files.standard_bits import move_bits  # kernels are for who has pixels

    same, moved = 0, []
    columns = {name.upper(): name for name in definitions.dtype.names}
    missing = {"VALUE", "NAME"} - set(columns)
    if missing:
        raise ReferenceError(f"DQ_DEF has no column {', '.join(sorted(missing))}", path, "Give a reference that says what its flags mean")
    values = definitions[columns["VALUE"]]
    if values.ndim != 1 or values.dtype.kind not in "iu" or (values.size and not 0 <= values.min() <= values.max() < 2**32):
        raise ReferenceError("the VALUEs of DQ_DEF are no flags of 32 bits", path, "Give a reference that says what its flags mean")
    for value, name in zip(values, definitions[columns["NAME"]], strict=True):
        name = name.decode() if isinstance(name, bytes) else str(name)
        standard = dqbits.BY_NAME.get(name.strip())
        if standard is None:
            log.warning("%s: DQ_DEF names %s, which is no standard flag: left out", path, name.strip())
            continue
        if int(value) == standard:
            same |= standard
        elif value:
            moved.append((int(value), standard))
    given, moved_to = np.array(moved, np.uint32).reshape(-1, 2).T.copy()
    move_bits(bits.reshape(-1), np.uint32(same), given, moved_to)
    return bits
