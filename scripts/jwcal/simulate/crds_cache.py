"""A small CRDS cache around simulated reference files, so that the demo and the tests choose references as production does.

It is real: the mappings select by the same keywords as the archive's (in the contexts around jwst_0541, and for newer types
as in the templates that crds brings along; photom also by EXP_TYPE, as modes have had files of their own since then), and crds
reads them without a server. Building it again changes nothing.
"""

import filecmp
import hashlib
import io
import itertools
import json
import os
import pprint
import re
import shutil
from pathlib import Path
from typing import NamedTuple

from ..crds import choose, session
from ..files import storage
from ..files.reference_file import open_reference
from ..vocabulary.errors import ConfigError, ReferenceError
from .references import MAKERS

INSTRUMENTS = ("FGS", "MIRI", "NIRCAM", "NIRISS", "NIRSPEC")
MADE_BY = "jwcal.simulate.crds_cache"
FIRST_LIGHT = "2021-12-25T00:00:00"  # USEAFTER of what does not say

# Reference type -> instruments -> keywords that it is selected by. A type that leaves an instrument out does not apply to it.
SELECTED_BY = {
    "abvegaoffset": {"NIRCAM NIRISS MIRI FGS": ""},
    "apcorr": {"NIRCAM NIRISS": "EXP_TYPE", "NIRSPEC": "EXP_TYPE OPMODE LAMP", "MIRI": "EXP_TYPE CHANNEL", "FGS": "DETECTOR"},
    "area": {
        "NIRCAM NIRISS": "DETECTOR FILTER PUPIL EXP_TYPE",
        "NIRSPEC": "EXP_TYPE DETECTOR FILTER GRATING",
        "MIRI": "DETECTOR FILTER EXP_TYPE",
        "FGS": "DETECTOR",
    },
    "barshadow": {"NIRSPEC": "EXP_TYPE"},
    "bkg": {"NIRCAM NIRISS": "EXP_TYPE DETECTOR FILTER PUPIL", "MIRI": "EXP_TYPE"},
    "camera": {"NIRSPEC": "EXP_TYPE"},
    "chromcorr": {"NIRSPEC": "EXP_TYPE FILTER"},
    "collimator": {"NIRSPEC": "EXP_TYPE"},
    "cubepar": {"NIRSPEC MIRI": "EXP_TYPE"},
    "dark": {
        "NIRCAM": "EXP_TYPE DETECTOR SUBARRAY",
        "NIRISS MIRI FGS": "DETECTOR READPATT SUBARRAY",
        "NIRSPEC": "DETECTOR READPATT SUBARRAY SUBSTRT1 SUBSTRT2 SUBSIZE1 SUBSIZE2",
    },
    "dflat": {"NIRSPEC": "DETECTOR EXP_TYPE"},
    "disperser": {"NIRSPEC": "GRATING EXP_TYPE"},
    "distortion": {
        "NIRCAM": "EXP_TYPE DETECTOR CHANNEL PUPIL FILTER",
        "NIRISS": "EXP_TYPE",
        "MIRI": "DETECTOR CHANNEL BAND EXP_TYPE",
        "FGS": "EXP_TYPE DETECTOR",
    },
    "emicorr": {"MIRI": ""},
    "extract1d": {"NIRCAM": "EXP_TYPE FILTER SUBARRAY", "NIRISS NIRSPEC MIRI": "EXP_TYPE"},
    "fflat": {"NIRSPEC": "FILTER EXP_TYPE"},
    "filteroffset": {"NIRCAM": "CHANNEL MODULE", "NIRISS": "EXP_TYPE", "MIRI": "DETECTOR EXP_TYPE"},
    "flat": {
        "NIRCAM NIRISS": "DETECTOR FILTER PUPIL",
        "NIRSPEC": "DETECTOR FILTER GRATING EXP_TYPE",
        "MIRI": "DETECTOR FILTER BAND READPATT SUBARRAY",
        "FGS": "DETECTOR EXP_TYPE",
    },
    "fore": {"NIRSPEC": "EXP_TYPE FILTER"},
    "fpa": {"NIRSPEC": "EXP_TYPE"},
    "fringe": {"MIRI": "DETECTOR BAND"},
    "fringefreq": {"MIRI": "DETECTOR"},
    "gain": {"NIRCAM NIRISS NIRSPEC MIRI FGS": "DETECTOR SUBARRAY"},
    "ifufore": {"NIRSPEC": "EXP_TYPE"},
    "ifupost": {"NIRSPEC": "EXP_TYPE"},
    "ifuslicer": {"NIRSPEC": "EXP_TYPE"},
    "ipc": {"NIRCAM NIRISS NIRSPEC MIRI FGS": "DETECTOR"},
    "linearity": {"NIRCAM NIRISS NIRSPEC FGS": "DETECTOR SUBARRAY", "MIRI": "DETECTOR SUBARRAY BAND FILTER"},
    "mask": {"NIRCAM NIRISS MIRI": "DETECTOR SUBARRAY", "NIRSPEC": "DETECTOR SUBARRAY READPATT", "FGS": "DETECTOR SUBARRAY EXP_TYPE"},
    "mrsptcorr": {"MIRI": "EXP_TYPE"},
    "mrsxartcorr": {"MIRI": "EXP_TYPE"},
    "msa": {"NIRSPEC": "EXP_TYPE"},
    "msaoper": {"NIRSPEC": "EXP_TYPE"},
    "nrm": {"NIRISS": "EXP_TYPE"},
    "ote": {"NIRSPEC": "EXP_TYPE"},
    "pastasoss": {"NIRISS": "DETECTOR FILTER EXP_TYPE"},
    "pathloss": {"NIRISS NIRSPEC MIRI": "EXP_TYPE"},
    "persat": {"NIRCAM NIRISS NIRSPEC MIRI FGS": "DETECTOR"},
    "photom": {"NIRCAM NIRISS": "DETECTOR EXP_TYPE", "NIRSPEC": "EXP_TYPE", "MIRI": "DETECTOR BAND EXP_TYPE", "FGS": "DETECTOR"},
    "pictureframe": {"NIRSPEC": "DETECTOR"},
    "psf": {"NIRSPEC": "GRATING EXP_TYPE", "MIRI": "DETECTOR FILTER EXP_TYPE"},
    "psfmask": {"NIRCAM MIRI": "EXP_TYPE FILTER CORONMSK SUBARRAY"},
    "readnoise": {"NIRCAM NIRISS NIRSPEC MIRI FGS": "DETECTOR READPATT SUBARRAY"},
    "refpix": {"NIRSPEC": "DETECTOR READPATT"},
    "regions": {
        "NIRCAM": "EXP_TYPE SUBARRAY DETECTOR",
        "NIRSPEC": "DETECTOR GRATING FILTER EXP_TYPE",
        "MIRI": "DETECTOR CHANNEL BAND EXP_TYPE",
    },
    "reset": {"MIRI": "DETECTOR SUBARRAY READPATT"},
    "rscd": {"MIRI": "DETECTOR"},
    "saturation": {"NIRCAM NIRISS MIRI FGS": "DETECTOR", "NIRSPEC": "DETECTOR SUBARRAY"},
    "sflat": {"NIRSPEC": "DETECTOR FILTER GRATING EXP_TYPE"},
    "sirskernel": {"NIRCAM NIRISS NIRSPEC": ""},
    "speckernel": {"NIRISS": "EXP_TYPE"},
    "specprofile": {"NIRISS": "EXP_TYPE SUBARRAY FILTER"},
    "specwcs": {
        "NIRCAM": "PUPIL MODULE EXP_TYPE",
        "NIRISS": "EXP_TYPE FILTER PUPIL",
        "MIRI": "DETECTOR CHANNEL BAND SUBARRAY EXP_TYPE",
    },
    "superbias": {
        "NIRCAM NIRISS FGS": "DETECTOR READPATT SUBARRAY",
        "NIRSPEC": "DETECTOR READPATT SUBARRAY SUBSTRT1 SUBSTRT2 SUBSIZE1 SUBSIZE2",
    },
    "throughput": {"NIRISS": "FILTER"},
    "tsophot": {"NIRCAM MIRI": "EXP_TYPE TSOVISIT"},
    "trapdensity": {"NIRCAM NIRISS NIRSPEC MIRI FGS": "DETECTOR"},
    "trappars": {"NIRCAM NIRISS NIRSPEC MIRI FGS": "DETECTOR"},
    "wavecorr": {"NIRSPEC": "EXP_TYPE"},
    "wavelengthrange": {"NIRCAM NIRISS NIRSPEC MIRI": "EXP_TYPE"},
    "wfssbkg": {"NIRCAM NIRISS": "EXP_TYPE DETECTOR FILTER PUPIL"},
    "pars-backgroundstep": {"NIRCAM NIRISS MIRI": "EXP_TYPE"},
    "pars-chargemigrationstep": {"NIRISS": "EXP_TYPE FILTER PUPIL"},
    "pars-cleanflickernoisestep": {"NIRISS": "EXP_TYPE", "NIRSPEC": "EXP_TYPE SUBARRAY"},
    "pars-cubebuildstep": {"NIRSPEC": "EXP_TYPE FILTER GRATING", "MIRI": "EXP_TYPE"},
    "pars-darkcurrentstep": {"NIRCAM": "DETECTOR", "NIRISS": "", "NIRSPEC": "DETECTOR READPATT SUBARRAY", "MIRI": "EXP_TYPE"},
    "pars-darkpipeline": {"NIRCAM NIRISS NIRSPEC MIRI FGS": ""},
    "pars-detector1pipeline": {
        "NIRCAM NIRSPEC FGS": "TSOVISIT",
        "NIRISS": "EXP_TYPE SUBARRAY TSOVISIT",
        "MIRI": "DETECTOR TSOVISIT",
    },
    "pars-image2pipeline": {"NIRCAM NIRISS NIRSPEC MIRI FGS": "EXP_TYPE VISITYPE TSOVISIT"},
    "pars-jumpstep": {"NIRCAM NIRSPEC": "", "NIRISS": "FILTER PUPIL", "MIRI": "DETECTOR FILTER SUBARRAY TSOVISIT"},
    "pars-outlierdetectionstep": {
        "NIRCAM NIRISS": "EXP_TYPE FILTER PUPIL TSOVISIT",
        "NIRSPEC MIRI": "EXP_TYPE FILTER SUBARRAY TSOVISIT",
        "FGS": "EXP_TYPE DETECTOR",
    },
    "pars-rampfitstep": {"NIRCAM NIRISS NIRSPEC MIRI FGS": ""},
    "pars-refpixstep": {"NIRSPEC": "READPATT SUBARRAY", "MIRI": "EXP_TYPE"},
    "pars-resamplespecstep": {"NIRSPEC MIRI": ""},
    "pars-resamplestep": {"NIRCAM NIRISS MIRI": ""},
    "pars-sourcecatalogstep": {"NIRCAM NIRISS": "EXP_TYPE FILTER PUPIL", "MIRI": "EXP_TYPE FILTER", "FGS": "EXP_TYPE DETECTOR"},
    "pars-spec2pipeline": {
        "NIRCAM NIRISS": "EXP_TYPE CROWDFLD TSOVISIT",
        "NIRSPEC": "EXP_TYPE OPMODE LAMP TSOVISIT",
        "MIRI": "EXP_TYPE TSOVISIT",
        "FGS": "TSOVISIT",
    },
    "pars-tsophotometrystep": {"NIRCAM": "EXP_TYPE TSOVISIT PUPIL", "MIRI": "EXP_TYPE FILTER TSOVISIT"},
    "pars-tweakregstep": {"NIRCAM NIRISS": "EXP_TYPE FILTER PUPIL", "MIRI": "EXP_TYPE", "FGS": "EXP_TYPE DETECTOR"},
    "pars-whitelightstep": {"NIRCAM": "EXP_TYPE FILTER PUPIL", "NIRISS": "", "NIRSPEC MIRI": "EXP_TYPE"},
}
IF_GIVEN = ("tsophot",)  # the peer's steps have no use for it any more: mappings name it only where there is one
OTHER_PARS = "EXP_TYPE"  # what a pars- type that is not listed is selected by

PARKEYS = {keyword: parkey for parkey, keyword in choose.KEYWORDS.items() if keyword}
# A reference that holds for several values says so beside its own one: keyword -> (FITS keyword, attribute in ASDF).
PATTERNS = {
    "BAND": ("P_BAND", "p_band"),
    "CHANNEL": ("P_CHANNE", "p_channel"),
    "CORONMSK": ("P_CORONM", "p_coronagraph"),
    "DETECTOR": ("P_DETECT", "p_detector"),
    "EXP_TYPE": ("P_EXP_TY", "p_exptype"),
    "FILTER": ("P_FILTER", "p_filter"),
    "GRATING": ("P_GRATIN", "p_grating"),
    "MODULE": ("P_MODULE", "p_module"),
    "PUPIL": ("P_PUPIL", "p_pupil"),
    "READPATT": ("P_READPA", "p_readpatt"),
    "SUBARRAY": ("P_SUBARR", "p_subarray"),
}


class Parameters(NamedTuple):
    """A pars- reference that is to be made."""

    instrument: str
    classname: str  # of the peer: jwst.jump.jump_step.JumpStep -> pars-jumpstep
    name: str  # of the step or pipeline
    parameters: dict = {}  # parameter -> value
    steps: dict = {}  # a pipeline's: step -> {parameter: value}
    match: dict = {}  # KEYWORD -> value; a keyword that is not there does not matter

    @property
    def kind(self):
        return f"pars-{self.classname.rpartition('.')[2].lower()}"


class Without(NamedTuple):
    """Exposures that a reference type is not for, though others of their instrument have one."""

    instrument: str
    kind: str
    match: dict  # KEYWORD -> value
    useafter: str = FIRST_LIGHT


class _Entry(NamedTuple):
    """One row of a mapping; without a path it says N/A."""

    instrument: str
    kind: str
    values: tuple  # of the keywords that it is selected by
    useafter: str
    path: Path | None


def operations(instruments=INSTRUMENTS):
    """pars- references in the manner of operations: no IPC correction, and jumps at 5 sigma (the step's default is 4, so that it shows)."""
    made = []
    for instrument in instruments:
        pipeline = "jwst.pipeline.calwebb_detector1.Detector1Pipeline"
        made.append(Parameters(instrument, pipeline, "Detector1Pipeline", steps={"ipc": {"skip": True}}))
        if instrument != "FGS":  # operations have none for it
            made.append(Parameters(instrument, "jwst.jump.jump_step.JumpStep", "jump", {"rejection_threshold": 5.0}))
    return made


def off_in_operations():
    """The steps that `operations` switch off."""
    return {step for item in operations() for step, parameters in item.steps.items() if parameters.get("skip")}


def build(folder, files, *, context="jwst_0001.pmap", pars=(), absent=(), without=()):
    """Make a CRDS cache of reference files.

    Parameters
    ----------
    folder : path
        Becomes CRDS_PATH. Files already named as in the archive keep their names, the others get one;
        they are hard links where the file system allows it.
    files : iterable of paths, or dict
        FITS, ASDF or JSON reference files that name their type in REFTYPE; or type -> path or list of paths.
        INSTRUME, USEAFTER and the keywords of `SELECTED_BY` say what they are for. A keyword that is not there does not matter;
        "ANY", "N/A", alternatives ("F200W|F210M", also in P_FILTER and the like) and SUBARRAY = "GENERIC" mean what they do in the archive.
    context : str
    pars : iterable of Parameters
        pars- references to make, for instance `operations()`.
    absent : collection of str
        Types that `references` could make and that may do without a file: they are N/A then. The others would be missing.
    without : iterable of Without
        Exposures that are told N/A by a type which has files.

    Returns
    -------
    str
        The context.

    Raises
    ------
    ConfigError
        The folder holds a CRDS cache that was not made here.
    ReferenceError
        A file does not say what it is for, or two of them are for the same.
    """
    folder = Path(folder)
    _refuse_foreign(folder)
    if not re.fullmatch(r"jwst_\d{4}\.pmap", context):
        raise ConfigError(f"{context!r} is not the name of a context", do="Write it as jwst_NNNN.pmap")
    entries = [_describe(Path(path), kind) for kind, path in _pairs(files)]
    entries += [_write_parameters(folder, item) for item in pars]
    there = {(entry.instrument, entry.kind) for entry in entries}
    entries += [
        _entry(one.instrument, one.kind, one.match.get, one.useafter, None) for one in without if (one.instrument, one.kind) in there
    ]
    for name, text in _mappings(folder, sorted(entries, key=_order), context, absent).items():
        _write(folder / "mappings/jwst" / name, text)
    _write(folder / "config/jwst/server_config", pprint.pformat(_server_config(context)) + "\n")
    _write(folder / "config/jwst/ref_cache_subdir_mode", "instrument")
    session.forget()
    return context


def general_kinds(files):
    """The types of those reference files that are for all EXP_TYPEs."""
    found = [(_keywords(Path(path), "simulated"), path) for path in files]
    return {str(_need(get, "REFTYPE", path)).lower() for get, path in found if _text(get("EXP_TYPE")) in ("N/A", "ANY")}


def _pairs(files):
    if not hasattr(files, "items"):
        return [(None, path) for path in files]
    return [(kind, path) for kind, paths in files.items() for path in ([paths] if isinstance(paths, (str, os.PathLike)) else paths)]


def _refuse_foreign(folder):
    config = folder / "config/jwst/server_config"
    if config.exists() and MADE_BY not in config.read_text():
        raise ConfigError("there is a CRDS cache that was not simulated", folder, "Choose another folder for the simulated one")


def _server_config(context):
    """What crds would have from the server."""
    return {
        "observatory": "jwst",
        "status": "cache",
        "connected": False,
        "latest_context": context,
        "operational_context": context,
        "edit_context": context,
        "bad_files": "",
        "bad_files_list": [],
        "force_remote_mode": False,
        "crds_version": {"str": "14.0.0"},
        "last_synced": "never",
        "made_by": MADE_BY,
    }


# --- what a file is for ---


def _describe(path, kind):
    get = _keywords(path, kind or "simulated")
    kind = str(kind or _need(get, "REFTYPE", path)).lower()
    instrument = str(_need(get, "INSTRUME", path)).upper()
    return _entry(instrument, kind, get, get("USEAFTER") or FIRST_LIGHT, path)


def _entry(instrument, kind, get, useafter, path):
    useafter = str(useafter).strip().replace("T", " ")
    if not re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?", useafter):
        raise ReferenceError(f"USEAFTER is {useafter!r}", path, "Write it as YYYY-MM-DDTHH:MM:SS")
    return _Entry(instrument, kind, tuple(_text(get(k)) for k in _selected_by(kind, instrument, path)), useafter, path)


def _order(entry):
    return (*entry[:-1], str(entry.path or ""))


def _need(get, keyword, path):
    value = get(keyword)
    if not value:
        raise ReferenceError(f"the keyword {keyword} is missing", path, "Write it into the reference file")
    return value


def selected_by(kind, instrument):
    """The keywords that a type's files are selected by; none where the instrument has no such type."""
    return next((keywords.split() for users, keywords in SELECTED_BY.get(kind, {}).items() if instrument in users.split()), [])


def _selected_by(kind, instrument, path):
    if instrument not in INSTRUMENTS:
        raise ReferenceError(f"{instrument} is not an instrument of JWST", path, f"INSTRUME is one of {', '.join(INSTRUMENTS)}")
    for users, keywords in SELECTED_BY.get(kind, {}).items():
        if instrument in users.split():
            return keywords.split()
    if kind.startswith("pars-"):
        return OTHER_PARS.split()
    raise ReferenceError(f"{instrument} has no references of type {kind}", path, "Correct REFTYPE or INSTRUME")


def _text(value):
    """A keyword's value as mappings write it."""
    if value is None or str(value).strip() == "":
        return "N/A"
    if isinstance(value, bool):
        return "T" if value else "F"
    return "|".join(part.strip() for part in str(value).upper().split("|") if part.strip())


def _keywords(path, kind):
    """keyword -> value of a reference file, patterns first."""
    if path.suffix == ".asdf":
        meta = open_reference(path, kind).tree.get("meta", {})
        return lambda keyword: _attribute(meta, keyword)
    if path.suffix == ".json":
        header = {str(k).upper(): v for k, v in json.loads(path.read_text()).items()}
    else:
        header = open_reference(path, kind).header
    return lambda keyword: _first(header.get(PATTERNS[keyword][0]) if keyword in PATTERNS else None, header.get(keyword))


def _first(*values):
    return next((v for v in values if isinstance(v, (str, bool, int, float)) and v != ""), None)


def _attribute(meta, keyword):
    """The value of a keyword from an ASDF file's metadata, which call it by another name."""
    if keyword in ("REFTYPE", "USEAFTER"):
        return meta.get(keyword.lower())
    *branches, leaf = PARKEYS[keyword].lower().split(".")[1:]
    for branch in branches:
        meta = meta.get(branch) or {}
    return _first(meta.get(PATTERNS[keyword][1]) if keyword in PATTERNS else None, meta.get(leaf))


# --- files of the cache ---


def _place(folder, rows):
    """Put the files of one type into the cache: [(entry, name)]."""
    _refuse_twins(rows, lambda entry: (entry.values, entry.useafter), "for the same exposures")
    stem = f"jwst_{rows[0].instrument.lower()}_{rows[0].kind}"
    own = [entry for entry in rows if entry.path and re.fullmatch(rf"{re.escape(stem)}_\d{{4}}\.(fits|asdf|json)", entry.path.name)]
    _refuse_twins(own, lambda entry: entry.path.name, "of the same name")
    taken = {entry.path.stem for entry in own}
    free = (name for number in itertools.count(1) if (name := f"{stem}_{number:04d}") not in taken)
    named = []
    for entry in rows:
        if entry.path is None:
            named.append((entry, choose.NOT_APPLICABLE))
            continue
        name = entry.path.name if entry in own else next(free) + entry.path.suffix
        link(entry.path, folder / "references/jwst" / entry.instrument.lower() / name)
        named.append((entry, name))
    return named


def _refuse_twins(rows, key, how):
    seen = {}
    for entry in rows:
        twin = seen.setdefault(key(entry), entry)
        if twin is not entry:
            raise ReferenceError(
                f"{twin.path} is {how}: {entry.instrument} {entry.kind} for {', '.join(entry.values) or 'all'} after {entry.useafter}",
                entry.path,
                "Leave one of them out, or change its name or the keywords that say what it is for",
            )


def link(source, target):
    """Have a file under another name too: a hard link where the file system allows it; nothing where the same bytes are there."""
    if target.exists() and (os.path.samefile(source, target) or filecmp.cmp(source, target, shallow=False)):
        return
    with storage.replaced(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, temporary)


def _write(path, content):
    content = content.encode() if isinstance(content, str) else content
    if path.exists() and path.read_bytes() == content:
        return
    with storage.replaced(path) as temporary:
        temporary.write_bytes(content)


def _write_parameters(folder, item):
    """Write a pars- reference in the archive's form, and say what it is for."""
    import asdf

    tree = {
        "class": item.classname,
        "name": item.name,
        "parameters": dict(item.parameters),
        "meta": {
            "author": MADE_BY,
            "description": f"Parameters of {item.name}",
            "instrument": {"name": item.instrument},
            "pedigree": "DUMMY",
            "reftype": item.kind,
            "telescope": "JWST",
            "useafter": FIRST_LIGHT,
        },
    }
    if item.steps:
        tree["steps"] = [{"class": "", "name": step, "parameters": dict(values)} for step, values in item.steps.items()]
    label = "-".join([item.kind, *(f"{k}-{_text(v)}".lower() for k, v in sorted(item.match.items()))])
    path = folder / "parameters" / f"{item.instrument.lower()}-{re.sub(r'[^a-z0-9-]+', '-', label)}.asdf"
    content = io.BytesIO()
    asdf.AsdfFile(tree).write_to(content)
    _write(path, content.getvalue())
    return _entry(item.instrument, item.kind, item.match.get, FIRST_LIGHT, path)


# --- mappings ---


def _mappings(folder, entries, context, absent=()):
    """Text of all mappings, by name; the files get their names and places."""
    serial = context.removeprefix("jwst_").removesuffix(".pmap")
    texts, imaps = {}, {}
    for instrument, of_instrument in itertools.groupby(entries, key=lambda entry: entry.instrument):
        # a type that the simulator does not make is N/A, as it would be missing otherwise: the peer asks for all that it knows
        without = [
            kind for kind in SELECTED_BY if kind not in IF_GIVEN and (kind in absent or not (kind in MAKERS and _applies(kind, instrument)))
        ]
        chosen = {kind.upper(): choose.NOT_APPLICABLE for kind in without}
        for kind, rows in itertools.groupby(of_instrument, key=lambda entry: entry.kind):
            chosen[kind.upper()] = name = f"jwst_{instrument.lower()}_{kind}_{serial}.rmap"
            texts[name] = _rmap(name, instrument, kind, _place(folder, list(rows)))
        imaps[instrument] = name = f"jwst_{instrument.lower()}_{serial}.imap"
        texts[name] = _mapping({"mapping": "INSTRUMENT", "name": name, "instrument": instrument, "parkey": ("REFTYPE",)}, chosen)
    texts[context] = _mapping({"mapping": "PIPELINE", "name": context, "parkey": ("META.INSTRUMENT.NAME",)}, imaps)
    return texts


def _applies(kind, instrument):
    return kind.startswith("pars-") or any(instrument in users.split() for users in SELECTED_BY[kind])


def _rmap(name, instrument, kind, named):
    keywords = _selected_by(kind, instrument, name)
    header = {
        "mapping": "REFERENCE",
        "name": name,
        "instrument": instrument,
        "filekind": kind.upper(),
        "classes": ("Match", "UseAfter"),
        "parkey": (tuple(PARKEYS[k] for k in keywords), choose.DATE),
    }
    if "SUBARRAY" in keywords:
        header["substitutions"] = {"META.SUBARRAY.NAME": {"GENERIC": "N/A"}}
    rows = {}
    for entry, file in named:
        rows.setdefault(entry.values[0] if len(entry.values) == 1 else entry.values, []).append((entry.useafter, file))
    lines = []
    for key, files in rows.items():
        lines += [f"    {key!r} : UseAfter({{", *(f"        {date!r} : {file!r}," for date, file in files), "    }),"]
    return _signed(header, "selector = Match({\n" + "\n".join(lines) + "\n})\n")


def _mapping(header, chosen):
    lines = [f"    {key!r} : {name!r}," for key, name in sorted(chosen.items())]
    return _signed(header, "selector = {\n" + "\n".join(lines) + "\n}\n")


def _signed(header, selector):
    """A mapping's text with its checksum: the SHA-1 of all other lines."""
    header = {**header, "observatory": "JWST", "derived_from": f"generated by {MADE_BY}"}
    lines = [f"    {key!r} : {value!r},\n" for key, value in sorted(header.items())]
    rest = "}\n\n" + selector
    digest = hashlib.sha1(("header = {\n" + "".join(lines) + rest).encode()).hexdigest()
    return "header = {\n" + "".join(lines) + f"    'sha1sum' : {digest!r},\n" + rest
