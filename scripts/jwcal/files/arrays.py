"""Which arrays and tables go with an exposure's SCI: their shapes and types, checked by the headers before anything is read.

Steps and kernels rely on it: an array that is smaller than SCI would be read beyond its end. What has another type and a clear
meaning is cast, and said; what has none is an error. Sources: stdatamodels' schemas; "Science products", JWST pipeline documentation.
"""

import re
from collections import Counter
from numbers import Real
from typing import NamedTuple

from ..vocabulary.errors import InputError
from .fitsheaders import dtype_of

CORRECT = "Correct the extension, or take the file from the archive again"

# Extensions with numbers like SCI's, of its shape, and with flags.
PLANES = ("ERR", "VAR_POISSON", "VAR_RNOISE", "VAR_FLAT", "WMAP")
FLAGS = {"DQ": "uint32", "PIXELDQ": "uint32", "GROUPDQ": "uint8"}
# Maps of the pixels: one image, or one of the shape of SCI. Those of CLASSES are not numbers.
MAPS = (
    *("AREA", "WAVELENGTH", "WHT", "BARSHADOW", "TRACEMODEL", "AVDRKCUR"),
    *("PATHLOSS_PS", "PATHLOSS_UN", "FLATFIELD_PS", "FLATFIELD_UN", "PHOTOM_PS", "PHOTOM_UN"),
)
CLASSES = ("REGIONS", "MASK", "CON")
WEIGHTS = ("WHT", "WMAP")  # resampled images have them, and need no flags
VALUES = (*PLANES, *MAPS)
# Axes by name: i(ntegration), g(roup), r(ow), c(olumn); *: any number (a quarter of the columns).
OF_RAMPS = {"ERR": "igrc", "GROUPDQ": "igrc", "PIXELDQ": "rc", "DQ": "rc", "ZEROFRAME": "irc", "REFOUT": "igr*", "AVDRKCUR": "rc"}
RAMP = "igrc"
TIMES = "INT_TIMES"
SPECTRA = ("EXTRACT1D", "COMBINE1D")  # tables of files that have no images
COLUMNS = {  # that a table must have, and what they hold
    TIMES: (
        "integration_number",
        *(f"int_{part}_{scale}" for scale in ("MJD_UTC", "BJD_TDB") for part in ("start", "mid", "end")),
    ),
    "ASDF": ("ASDF_METADATA",),
    **dict.fromkeys(SPECTRA, ("WAVELENGTH", "FLUX")),
}
NUMBER = re.compile(r"1?[BIJKED] *")  # TFORM of a column with one number a row
NUMBERS = re.compile(r"\d*[BIJKED] *")  # and of one with any count of them


class Extension(NamedTuple):
    """What the header of an extension says of its data."""

    name: str
    number: int  # EXTVER
    shape: tuple  # of the image, () where there is none; (rows,) of a table
    kind: str  # numpy's name of the type of an image's values; "" for a table
    columns: dict = {}  # name -> TFORM, of the tables in COLUMNS

    @property
    def is_table(self):
        return not self.kind

    def __str__(self):
        return self.name if self.number == 1 else f"{self.name} (EXTVER {self.number})"


def described(header):
    """An `Extension` from its keywords, as they are in the file or as astropy has them (mapping)."""
    name, number = str(header.get("EXTNAME", "")).strip().upper(), header.get("EXTVER", 1)
    if str(header.get("XTENSION", "")).strip() == "BINTABLE":
        fields = header.get("TFIELDS", 0) if name in COLUMNS else 0
        numbers = range(1, fields + 1) if isinstance(fields, int) else ()
        columns = {header.get(f"TTYPE{n}"): str(header.get(f"TFORM{n}")) for n in numbers}
        return Extension(name, number, (header.get("NAXIS2", 0),), "", columns)
    shape = tuple(header.get(f"NAXIS{n}", 0) for n in range(header.get("NAXIS", 0), 0, -1))
    kind, zero = dtype_of(header), header.get("BZERO", 0)
    scaled = header.get("BSCALE", 1) != 1 or (zero != 0 and not kind.startswith("u"))
    return Extension(name, number, shape, "float64" if scaled else kind)


# --- what is wrong ---------------------------------------------------------------------------------------------------


def fault(extensions, header):
    """What is wrong with the arrays and tables of a file.

    Parameters
    ----------
    extensions : list of Extension
        All but the primary one.
    header : mapping
        The exposure's keywords: NINTS, INTSTART, INTEND, DATAMODL.

    Returns
    -------
    str
        A sentence without its full stop; "" where nothing is wrong, or there is neither SCI to compare with nor a spectrum.
    """
    science = {e.number: e for e in extensions if e.name == "SCI"}
    if not science or not next(iter(science.values())).shape:
        return _fault_of_spectra(extensions)
    wrong = _doubled(extensions) or _fault_of_science(list(science.values()))
    for extension in extensions:
        wrong = wrong or _fault_of(extension, science, header)
    return wrong


def _doubled(extensions):
    known = {"SCI", *PLANES, *FLAGS, *MAPS, *CLASSES, *OF_RAMPS, *COLUMNS}
    counts = Counter((e.name, e.number) for e in extensions if e.name in known)
    name, number = next((one for one, n in counts.items() if n > 1), ("", 0))
    return name and f"it has {counts[name, number]} extensions {name} with EXTVER {number}, one was expected"


def _fault_of_spectra(extensions):
    """What is wrong with the spectra of a file without images: tables with a column of wavelengths, all as long as its others."""
    if not any(e.name in SPECTRA for e in extensions):
        return ""
    wrong = _doubled(extensions)
    for table in (e for e in extensions if e.name in COLUMNS):
        wrong = wrong or _fault_of_columns(table)
        if table.name in SPECTRA and not wrong:
            length, longer = table.columns["WAVELENGTH"], table.columns["FLUX"]
            odd = [name for name in COLUMNS[table.name] if not NUMBERS.fullmatch(table.columns[name])]
            if odd:
                wrong = f"the column {odd[0]} of {table} is {table.columns[odd[0]]}, numbers were expected"
            elif _length(length) != _length(longer):
                wrong = f"the columns WAVELENGTH and FLUX of {table} are {length} and {longer}, the same length was expected"
    return wrong


def _length(form):
    """Numbers in a row of a column, by its TFORM."""
    return int(re.match(r"\d*", form)[0] or 1)


def _fault_of_science(science):
    """Several SCI are those of slits or sources: images or cubes, all of them with data."""
    first = science[0]
    if len(science) > 1 and len(first.shape) == len(RAMP):
        return f"it has {len(science)} extensions SCI, a ramp has one"
    for one in science:
        if one.is_table:
            return f"{one} is a table, an image was expected"
        if len(one.shape) != len(first.shape) or not 2 <= len(one.shape) <= len(RAMP) or 0 in one.shape:
            axes = "2 to 4 axes" if one is first else f"{len(first.shape)} axes, like those of the first SCI,"
            return f"{one} has the shape {one.shape}, {axes} were expected"
    return ""


def _fault_of(extension, science, header):
    """What is wrong with one extension beside its SCI."""
    if extension.name in COLUMNS:
        return _fault_of_table(extension, next(iter(science.values())), header)
    known = _shapes(extension.name, next(iter(science.values())).shape, header)
    if not known or (not extension.shape and not extension.is_table):  # a header alone: it is missing
        return ""
    # the peer writes a map that it has not as one without a pixel
    if extension.name in MAPS and not extension.is_table and not any(extension.shape):
        return ""
    if extension.number not in science:
        return f"{extension.name} has EXTVER {extension.number}, and there is no SCI with it"
    if extension.is_table:
        return f"{extension} is a table, an image was expected"
    shape = science[extension.number].shape
    wanted = _shapes(extension.name, shape, header)
    if any(_same(extension.shape, one) for one in wanted):
        return ""
    expected = " or ".join(str(one).replace("None", "any") for one in wanted)
    return f"{extension} has the shape {extension.shape}, {expected} was expected beside SCI's {shape}"


def _shapes(name, shape, header):
    """The shapes that an extension can have beside a SCI of this shape, None for any number; None where nothing is known of it."""
    pixels = shape[-2:]
    if len(shape) == len(RAMP):
        lengths = dict(zip(RAMP, shape, strict=True))
        return [tuple(lengths.get(axis) for axis in OF_RAMPS[name])] if name in OF_RAMPS else None
    if name == "DQ" and header.get("DATAMODL") == "GuiderCalModel":
        return [shape, pixels]  # guide stars: flags of the detector
    if name in PLANES or name == "DQ":
        return [shape]
    if name == "CON":
        return [pixels, (None, *pixels)]
    if name in MAPS or name in CLASSES:
        return list(dict.fromkeys([pixels, shape]))
    return None


def _same(shape, wanted):
    return len(shape) == len(wanted) and all(w in (None, n) for n, w in zip(shape, wanted, strict=True))


def _fault_of_columns(table):
    if not table.is_table:
        return f"{table} is an image, a table was expected" if table.shape or table.name in SPECTRA else ""
    missing = [name for name in COLUMNS[table.name] if name not in table.columns]
    if missing:
        return f"the table {table} has no column {missing[0]}"
    if table.name != TIMES:
        return "" if table.shape[0] or table.name in SPECTRA else f"the table {table} has no rows, one was expected"
    odd = [name for name in COLUMNS[TIMES] if not NUMBER.fullmatch(table.columns[name])]
    return f"the column {odd[0]} of {table} is {table.columns[odd[0]]}, one number a row was expected" if odd else ""


def _fault_of_table(table, science, header):
    wrong = _fault_of_columns(table)
    if wrong or table.name != TIMES or not table.is_table:
        return wrong
    rows, nints = table.shape[0], science.shape[0]
    if len(science.shape) < 3 or rows in (0, nints) or rows == _of_whole(header, nints):
        return ""
    return f"{table} has {rows} rows, {nints} were expected: one for each integration of SCI"


def _of_whole(header, nints):
    """Integrations of the exposure of which the file, with so many of them, is a segment; None where it is not one."""
    first, last, whole = (header.get(keyword) for keyword in ("INTSTART", "INTEND", "NINTS"))
    known = all(isinstance(number, Real) for number in (first, last, whole))
    return whole if known and last - first + 1 == nints and last <= whole else None


# --- what is taken for something else --------------------------------------------------------------------------------


def notes(extensions):
    """What is read otherwise than it is in the file, or assumed: list of sentences."""
    said, science = [], [e for e in extensions if e.name == "SCI"]
    if not science or not science[0].shape:
        return said
    is_ramp = len(science[0].shape) == len(RAMP)
    for e in extensions:
        if e.name in FLAGS:
            usual = (FLAGS[e.name],)
        elif e.name in VALUES or e.name in OF_RAMPS or (e.name == "SCI" and not is_labels(extensions)):
            usual = ("float32", "uint16") if is_ramp else ("float32",)
        else:
            continue
        if e.shape and e.kind not in usual:
            said.append(f"{e} is {e.kind}: read as {usual[0]}")
    return said + [f"there is no DQ beside {s}: no pixel is flagged" for s in science if lacks_flags(extensions, s.number)]


def is_labels(extensions):
    """Whether SCI are whole numbers that measure nothing: those of a segmentation map."""
    science = next(e for e in extensions if e.name == "SCI")
    return (
        science.kind[:1] in ("i", "u")
        and len(science.shape) < len(RAMP)
        and not any(e.shape and e.name in (*PLANES, *FLAGS) for e in extensions)
    )


def lacks_flags(extensions, number):
    """Whether an image or cube, that of this EXTVER, should have DQ and has none."""
    beside = {e.name for e in extensions if e.number == number and e.shape}
    shape = next(e.shape for e in extensions if e.name == "SCI")
    return len(shape) < len(RAMP) and not beside & {"DQ", *WEIGHTS} and not is_labels(extensions)


def own_rows(table, header, nints, path):
    """INT_TIMES with the rows of the file's own integrations: a segment's may hold those of the whole exposure.

    The archive's segments have their own rows, those of some simulators (Mirage) all of them.

    Parameters
    ----------
    table : structured ndarray
    header : mapping
    nints : int
        Integrations of SCI.
    """
    if len(table) in (0, nints):
        return table
    first, numbers = header["INTSTART"], table["integration_number"]
    own = table[(numbers >= first) & (numbers < first + nints)]
    if len(own) != nints:
        what = f"{TIMES} has {len(own)} rows for the integrations {first} to {first + nints - 1}, {nints} were expected"
        raise InputError(what, path, CORRECT)
    return own
