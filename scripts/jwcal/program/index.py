"""The exposures in a folder: an index made from headers, remembered so that an unchanged file is not opened again."""

import json
import logging
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

from ..files import arrays, fitsheaders, storage
from ..settings import chains
from ..settings.selector import STAGES, select_for
from ..vocabulary import limits
from ..vocabulary.errors import InputError, ProductError

log = logging.getLogger(__name__)

# Suffixes that an exposure can start from; the first group of which there is a file is taken.
LEVELS = (("uncal",), ("rate", "rateints"), ("cal", "calints"))
SUFFIXES = tuple(suffix for level in LEVELS for suffix in level)
ASSOCIATION = "_asn.json"
# Some write the end of it in capitals, or compress the file.
FILE_NAME = re.compile(rf"(.*)_({'|'.join(sorted(SUFFIXES, key=len, reverse=True))})\.fits(?:\.gz)?", re.IGNORECASE | re.DOTALL)
# Spectra: members of associations (backgrounds) that no exposure starts from, so that only those beside an exposure's files are of use.
SPECTRA_NAME = re.compile(r"(.*)_(x1d|x1dints)\.fits(?:\.gz)?", re.DOTALL)
# Files that a keyword of exposures names: which shutters were open.
NAMED_NAME = re.compile(r"(.*)_(msa)\.fits(?:\.gz)?", re.DOTALL)

# <pppppooovvv>_<visit group><parallel sequence><activity>_<exposure>[-segNNN]_<detector>; activities count in base 36
SCIENCE_NAME = re.compile(
    r"jw(?P<program>\d{5})(?P<observation>\d{3})(?P<visit>\d{3})_(?P<visit_group>\w\w)(?P<sequence>\w)(?P<activity>\w\w)"
    r"_(?P<exposure>\d{5})(?:-seg(?P<segment>\d{3}))?_(?P<detector>[a-z0-9]+)"
)
GUIDE_NAME = re.compile(
    r"jw(?P<program>\d{5})(?P<observation>\d{3})(?P<visit>\d{3})_gs-(?P<function>[a-z0-9]+)_(?P<time>\w+?)(?:-seg(?P<segment>\d{3}))?"
)

# Without these nothing can be planned (any level) or calibrated (uncal).
NEEDED = ("EXP_TYPE", "INSTRUME", "DETECTOR", "NINTS", "DATE-OBS", "TIME-OBS")
NEEDED_RAW = (
    *("NGROUPS", "NFRAMES", "GROUPGAP", "TFRAME", "TGROUP", "READPATT"),
    *("SUBARRAY", "SUBSTRT1", "SUBSTRT2", "SUBSIZE1", "SUBSIZE2", "FASTAXIS", "SLOWAXIS"),
)
IRS2_ROWS = 3200  # 2048 of the detector and the reference pixels read in between

CACHE_FORMAT = 3
LONGEST = 180  # bytes of a root: names of products, logs and records have more at their end, and file systems take 255
READERS = 8  # threads: on a network file system opening a file is waiting


class Problem(NamedTuple):
    """A file or folder, and what is the matter with it."""

    path: str
    message: str


@dataclass(frozen=True)
class Exposure:
    """One exposure of the program, by its files' headers; of a segmented series one segment."""

    root: str  # jw..._nrca1: the names of its products begin with it
    level: str  # "uncal", "rate" or "cal": what it starts from
    path: str  # the file that `header` and `shape` are of
    files: dict  # suffix -> path, of all its files that were found, spectra among them
    header: dict  # keywords of the primary header and of SCI (the primary ones win), plain values
    shape: tuple  # of SCI
    dtype: str
    size: int  # bytes
    mtime: float

    @cached_property
    def chain(self):
        """Its pipelines: `selector.Pipelines`."""
        return select_for(self.header, self.path)


@dataclass(frozen=True)
class Program:
    """What was found."""

    exposures: list = field(default_factory=list)  # of Exposure, by root
    problems: list = field(default_factory=list)  # of Problem: exposures that can't be used
    left_out: list = field(default_factory=list)  # of Problem: duplicates, files of other telescopes
    associations: list = field(default_factory=list)  # paths of *_asn.json files
    named: dict = field(default_factory=dict)  # root of the name -> {suffix: path} of files that a keyword of exposures names


def find(data, cache=None, skip=(), until=STAGES[-1]):
    """Find the exposures in folders and files.

    Folders are searched through, links followed; hidden ones are not looked into. Of an exposure with uncal files only those
    are read, else its rate or rateints files, else its cal or calints files.

    Parameters
    ----------
    data : path or list of paths
    cache : path, optional
        JSON file that remembers what was read: a file with the same path, size and time is not opened again.
    skip : list of paths
        Folders not to look into: our own results, when they are inside the data.
    until : str
        The last stage that the exposures go through: keywords that only later ones read may be anything.

    Returns
    -------
    Program

    Raises
    ------
    InputError
        A path does not exist or can't be read, or there is no exposure at all.
    """
    data = [data] if isinstance(data, (str, os.PathLike)) else list(data)
    files, problems, left_out = _find(data, {os.path.realpath(path) for path in skip})
    associations = [path for path in files.values() if path.endswith(ASSOCIATION)]
    names, twice, unusable = _by_name(path for path in files.values() if FILE_NAME.fullmatch(os.path.basename(path)))
    left_out += twice
    problems += unusable
    _add_spectra(names, files.values())
    named = [(NAMED_NAME.fullmatch(os.path.basename(path)), path) for path in files.values()]
    named = {found[1]: {found[2]: path} for found, path in named if found}
    wanted = [path for found in names.values() for path in _start(found).values()]
    read = _read(wanted, Path(cache) if cache else None)
    exposures = []
    for root, found in sorted(names.items()):
        try:
            exposure = _exposure(root, found, read, until)
        except NotOurs as error:
            left_out.append(Problem(path=str(error.file), message=f"{error.what}: left out."))
        except InputError as error:
            problems.append(_problem(error))
        else:
            exposures.append(exposure)
    if not exposures and not problems:
        others = f"; {len(left_out)} files are left out: {left_out[0].path}: {left_out[0].message.rstrip('.')}" if left_out else ""
        raise InputError(
            f"no exposure found: there is no {', '.join(f'*_{suffix}.fits' for suffix in SUFFIXES)}{others}",
            ", ".join(str(path) for path in data),
            "Set `data` to the folder that has them",
        )
    for path, message in left_out:
        log.warning("%s: %s", path, message)
    return Program(exposures, problems, left_out, associations, named)


class Name(NamedTuple):
    """The parts of an archive name; those that it does not have are empty."""

    program: str
    observation: str
    visit: str
    visit_group: str = ""
    sequence: str = ""
    activity: str = ""
    exposure: str = ""
    segment: str = ""
    detector: str = ""
    function: str = ""  # of a guide star file: id, acq1, acq2, track, fg
    time: str = ""  # of a guide star file; of an identification the attempt and "image" or "stacked"


def parse_name(root):
    """The parts of an exposure's archive name: `Name`; None where it is not named so."""
    found = SCIENCE_NAME.fullmatch(root) or GUIDE_NAME.fullmatch(root)
    return Name(**{part: text or "" for part, text in found.groupdict().items()}) if found else None


def check(path):
    """Make sure that one file is what its name says it is.

    Returns
    -------
    dict or None
        Its keywords; None for a file that is not named like an exposure's, which is not looked at.

    Raises
    ------
    InputError
    """
    named = FILE_NAME.fullmatch(os.path.basename(path))
    if not named:
        return None
    wrong = _unusable(named.group(1), os.fspath(path))
    if wrong:
        raise InputError(wrong, path, "Rename it")
    record = _read_file(path)
    if isinstance(record, InputError):
        raise record
    _check(path, named.group(2).lower(), record)
    return record.header


# --- files ---


class NotOurs(InputError):
    """A file that has nothing to do here."""


def _problem(error):
    return Problem(str(error.file), f"{error.what}. {error.do}." if error.do else f"{error.what}.")


def _find(data, skip):
    """All files named like an exposure's or an association's, as real path -> path; problems; files that are left out."""
    files, problems, left_out = {}, [], []
    real_folder = cache(os.path.realpath)
    for path in map(os.fspath, data):
        if os.path.isdir(path):
            found, unreadable = _walk(path, skip)
            problems += [Problem(e.filename, f"can't be read ({e.strerror}). Make it readable or leave it out.") for e in unreadable]
            for file in found:
                folder, name = os.path.split(file)
                real = os.path.realpath(file) if os.path.islink(file) else os.path.join(real_folder(folder), name)
                files.setdefault(real, file)
        elif not os.path.exists(path):
            raise InputError("there is no such file or folder", path, "Correct `data`")
        elif _is_ours(os.path.basename(path)):
            files.setdefault(os.path.realpath(path), os.path.abspath(path))
        else:
            left_out.append(
                Problem(path, f"its name does not end in {', '.join(f'_{s}.fits' for s in SUFFIXES)} or {ASSOCIATION}: left out.")
            )
    return files, problems, left_out


def _walk(top, skip):
    """Files below a folder, in the order of their paths, and the errors of folders that can't be read."""
    found, errors, seen = [], [], set()
    for folder, folders, names in os.walk(os.path.abspath(top), followlinks=True, onerror=errors.append):
        state = os.stat(folder)
        if (state.st_dev, state.st_ino) in seen:  # a link back
            folders.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        folders[:] = sorted(f for f in folders if not f.startswith(".") and os.path.realpath(os.path.join(folder, f)) not in skip)
        found += [os.path.join(folder, name) for name in sorted(names) if name[0] != "." and _is_ours(name)]
    if errors and os.path.abspath(errors[0].filename) == os.path.abspath(top):
        raise InputError(f"can't be read ({errors[0].strerror})", top, "Make the folder readable or correct `data`")
    return found, errors


def _is_ours(name):
    return any(pattern.fullmatch(name) for pattern in (FILE_NAME, SPECTRA_NAME, NAMED_NAME)) or name.endswith(ASSOCIATION)


def _by_name(paths):
    """Root -> {suffix: path}, the second and further files of the same name, and files whose names can't be used."""
    names, twice, unusable = {}, [], []
    for path in paths:
        root, suffix = FILE_NAME.fullmatch(os.path.basename(path)).groups()
        suffix, wrong = suffix.lower(), _unusable(root, path)
        if wrong:
            unusable.append(Problem(path.encode("utf-8", "backslashreplace").decode(), f"{wrong}. Rename it."))
            continue
        first = names.setdefault(root, {}).setdefault(suffix, path)
        if first != path:
            twice.append(Problem(path, f"the same exposure as {first}: left out."))
    return names, twice, unusable


def _add_spectra(names, paths):
    """Add the spectra of exposures to their files; what reads them makes sure that they are such."""
    for path in paths:
        found = SPECTRA_NAME.fullmatch(os.path.basename(path))
        if found and found[1] in names:
            names[found[1]].setdefault(found[2], path)


def _unusable(root, path):
    """Why the products of an exposure can't be named after it, or it can't be named in messages; None where nothing is against it."""
    try:
        size = len(root.encode())
        path.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    if not root:
        return "its name has nothing before the suffix, so its products would have no name"
    if size > LONGEST:
        return f"its name is too long ({size} bytes before the suffix, {LONGEST} at most)"
    if set("{}") & set(root):
        return "its name has braces, which stand for what differs in names of products"
    return "its name has control characters" if not path.isprintable() else None


def _start(found):
    """The files of the level that an exposure starts from."""
    level = next(level for level in LEVELS if any(suffix in found for suffix in level))
    return {suffix: found[suffix] for suffix in level if suffix in found}


# --- headers ---


class Record(NamedTuple):
    """What is remembered of a file."""

    size: int
    mtime_ns: int
    header: dict
    shape: tuple
    dtype: str
    wrong: str  # what is the matter with its arrays, "" if nothing: `arrays.fault`


def _read(paths, cache):
    """Path -> Record, or the InputError that reading it raised."""
    remembered = _remembered(cache)
    records, changed = {}, []
    for path in paths:
        record = remembered.get(path)
        try:
            state = os.stat(path)
        except OSError:
            record = None  # a dead link: reading it tells
        if record and (record.size, record.mtime_ns) == (state.st_size, state.st_mtime_ns):
            records[path] = record
        else:
            changed.append(path)
    with ThreadPoolExecutor(READERS) as pool:
        records.update(zip(changed, pool.map(_read_file, changed), strict=True))
    if cache and (changed or len(records) != len(remembered)):
        _remember(cache, records)
    return records


def _read_file(path):
    try:
        state = os.stat(path)  # before reading: what changes meanwhile is read again
        headers = fitsheaders.read_headers(path)
    except OSError:
        return InputError("there is no such file, or a link to nowhere", path, "Fetch it again or remove it")
    except InputError as error:
        return error
    keywords = {**headers.sci, **headers.primary}
    wrong = arrays.fault([arrays.described(one.header) for one in headers.others], keywords)
    return Record(state.st_size, state.st_mtime_ns, keywords, headers.shape, headers.dtype, wrong)


def _remembered(cache):
    if cache is None or not cache.exists():
        return {}
    try:
        content = storage.load_json(cache)
        if content["format"] != CACHE_FORMAT:
            return {}
        return {path: Record(*fields[:3], tuple(fields[3]), *fields[4:]) for path, fields in content["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        log.warning("%s can't be used: all headers are read again", cache)
        return {}


def _remember(cache, records):
    """Write the cache. An error is not remembered: its cause may go away without the file changing."""
    files = {path: record for path, record in records.items() if isinstance(record, Record)}
    try:
        with storage.replaced(cache) as temporary:
            temporary.write_text(json.dumps({"format": CACHE_FORMAT, "files": files}, separators=(",", ":")))
    except ProductError as error:
        log.warning("%s", error)


# --- exposures ---


def _exposure(root, found, read, until):
    """The exposure of one name; raises InputError where one of its files can't be used."""
    start = _start(found)
    for suffix, path in start.items():
        if isinstance(read[path], InputError):
            raise read[path]
        _check(path, suffix, read[path], until)
    suffix, path = next(iter(start.items()))
    record = read[path]
    level = suffix.removesuffix("ints")
    return Exposure(root, level, path, found, record.header, record.shape, record.dtype, record.size, record.mtime_ns / 1e9)


def _check(path, suffix, record, until=None):
    """Raise InputError where a file is not what its name says, or can't be taken through the stages up to `until`."""
    header = record.header
    if header.get("TELESCOP") != "JWST":
        raise NotOurs("not a JWST file (TELESCOP is not JWST)", path, "Leave it out")
    if not record.shape:
        raise InputError("it has no SCI extension with data", path, "Fetch the file again")
    missing = [k for k in NEEDED + NEEDED_RAW * (suffix == "uncal") if header.get(k) in (None, "")]
    if missing:
        one = len(missing) == 1
        what = f"the keyword{'s' * (not one)} {', '.join(missing)} {'is' if one else 'are'} missing"
        raise InputError(what, path, "Take the file from the archive again, or set " + ("it" if one else "them"))
    wrong = limits.first_fault(header, limits.ALWAYS)
    chain = None if wrong else select_for(header, path)
    if until and not wrong:
        wrong = limits.first_fault(header, _read_later(header, chain, suffix, until))
    if wrong:
        raise InputError(wrong, path, limits.CORRECT)
    if suffix == "uncal":
        _check_raw(path, record, guide_star=chain.stage1 == "guider")
    elif suffix in ("rate", "rateints"):
        _check_rate(path, suffix, record)
    if record.wrong:
        raise InputError(record.wrong, path, arrays.CORRECT)


def _read_later(header, pipelines, suffix, until):
    """Keywords that the steps of an exposure read, from the level of its file up to a stage."""
    first = next(number for number, level in enumerate(LEVELS) if suffix in level)
    stages = list(pipelines)[first : STAGES.index(until) + 1]
    return [keyword for name in stages if name and chains.is_built(name, header) for keyword in chains.chain(name, header).keywords]


def _check_raw(path, record, guide_star):
    """The ramp's shape against its keywords. Samples of any type are read: simulators and injection tests write floats."""
    header = record.header
    on_its_own = not guide_star and header.get("MSTR_RD1") is None  # stripes lie elsewhere than their rows tell
    wrong = limits.off_detector(header) if on_its_own else None
    if wrong:
        raise InputError(wrong, path, limits.CORRECT)
    size = _size(header)
    wanted = (_integrations(header), header["NGROUPS"], *size)
    sizes = {size, size[::-1]} if guide_star else {size}  # headers of guide stars have columns and rows either way
    if header.get("SSTR_NST"):
        sizes = {record.shape[-2:]}  # superstripes: SUBSIZE is that of the region they are put together to
    if len(record.shape) != 4 or record.shape[:2] != wanted[:2] or record.shape[2:] not in sizes:
        raise InputError(
            f"SCI has the shape {record.shape}, its keywords say {wanted} (integrations, groups, rows, columns)",
            path,
            "Take the file from the archive again",
        )


def _integrations(header):
    """Integrations in the file: of a segment from INTSTART to INTEND, NINTS being that of the whole exposure."""
    if "INTSTART" in header and "INTEND" in header:
        return header["INTEND"] - header["INTSTART"] + 1
    return header["NINTS"]


def _size(header):
    """Rows and columns of the samples."""
    rows, columns = header["SUBSIZE2"], header["SUBSIZE1"]
    return (IRS2_ROWS if "IRS2" in str(header["READPATT"]) else rows), columns


def _check_rate(path, suffix, record):
    """Number of axes and kind of values."""
    axes = 2 if suffix == "rate" else 3
    if len(record.shape) != axes or not record.dtype.startswith("float"):
        what = f"SCI is {record.dtype} with the shape {record.shape}; a {suffix} file has {axes} axes of floating point numbers"
        raise InputError(what, path, "Take the file from the archive again")
