"""A pool from the headers of exposures, and from what headers do not hold: which observation belongs to which."""

import logging
from collections import defaultdict

from ..program.index import parse_name
from ..vocabulary.errors import ConfigError, InputError
from ..vocabulary.nearest import suggestion
from .model import Link
from .pool import SAFE_NAME, Pool, make_items
from .rules import member_type

log = logging.getLogger(__name__)

# Columns that are keywords.
NAMES = (
    *("visit", "visit_id", "visitgrp", "seq_id", "act_id", "exposure", "obs_id", "visitype", "template", "nints", "exp_type"),
    *("instrume", "detector", "channel", "module", "filter", "pupil", "grating", "fxd_slit", "band", "subarray", "opmode", "lamp"),
    *("patttype", "patt_num", "numdthpt", "subpxpts", "msastate", "msametfl", "is_psf", "is_imprt", "bkgdtarg", "targname", "targprop"),
    *("targtype", "dms_note", "exposerr", "expcount", "nexposur", "apername"),
)
COLUMNS = {name: name.upper() for name in NAMES}
MARKED_AS = {"background": "bkgdtarg", "psf": "is_psf"}
LINKS = ("background", "psf", "direct_image", "mosaic", "group")
ALONE = ("mosaic", "group")  # links that are among the observations themselves
FIRST_LINK = 1000
PURE_PARALLEL = "parallel_pure"  # whose exposures have no target


def from_exposures(exposures, links=()):
    """The pool of a program.

    What headers do not hold is taken from `links`, else inferred where that is safe, and said in `Pool.notes`: a background or a
    PSF reference without a link is taken to be that of all other observations with its instrument and exposure type if it is the only
    background, and each PSF reference in any case (the rules still ask for the same optics). Targets are numbered in the order of the
    observations; exposures of one activity are one exposure specification; the tile of a mosaic is 1. What was given and what was
    inferred is in `Pool.links`: `linked` says later what came of it.

    Parameters
    ----------
    exposures : list of program.Exposure
    links : list of dict
        {observation: 4, is: background, of: 3}; `is` is background, psf, direct_image, or, without `of`, mosaic or group.
        Observations are numbers or lists of them; `program` where there are several.

    Returns
    -------
    Pool
        Its items are in the order of the exposures, those of guide stars left out, and those that have no program and observation.

    Raises
    ------
    ConfigError
        A link that means nothing here.
    """
    rows, notes = _rows(exposures)
    _number_targets(rows)
    _number_specifications(rows)
    remarks = []
    candidates, said = _given(rows, links, remarks)
    candidates += _inferred(rows, candidates, notes, said)
    own = {number: [(f"o{int(row['obs_num']):03d}", "observation")] for number, row in enumerate(rows)}
    for count, (kind, members) in enumerate(candidates):
        for number in members:
            own[number].append((_candidate_id(count), kind))
    for number, row in enumerate(rows):
        row["asn_candidate"] = str(own[number])
    for note in notes:
        log.info("%s", note)
    return Pool(make_items(rows), "headers", notes, remarks, said)


def _rows(exposures):
    """The rows of a pool, and notes about the exposures that can't be in one."""
    rows, notes = [], []
    for exposure in exposures:
        if exposure.chain.stage1 == "guider":
            continue
        try:
            rows.append(_row(exposure))
        except InputError as error:
            notes.append(f"{error.file}: {error.what}: the exposure is in no association")
    return rows, notes


def _row(exposure):
    """Column -> text of one exposure."""
    header, name = exposure.header, parse_name(exposure.root)
    if not SAFE_NAME.fullmatch(exposure.root):
        raise InputError("its name can't stand in an association", exposure.path, "Rename it")
    row = {column: _text(header.get(keyword)) for column, keyword in COLUMNS.items()}
    row["program"] = _number(header.get("PROGRAM") or (name and name.program), "PROGRAM", exposure.path)
    row["obs_num"] = _number(header.get("OBSERVTN") or (name and name.observation), "OBSERVTN", exposure.path)
    row["filename"] = f"{exposure.root}_uncal.fits"
    row["fxd_slit"] = "" if row["fxd_slit"] == "none" else row["fxd_slit"]  # what shutters' exposures say
    row["tsovisit"] = "t" if _is_series(exposure) else "f"
    row["pntgtype"] = "science"
    row["dithptin"] = row["patt_num"] if row["patt_num"] not in ("", "0") else row["exposure"]
    row["mostilno"] = _text(header.get("MOSTILNO")) or "1"
    return row


def _number(value, keyword, path):
    """A number without the zeros that it begins with."""
    text = str(value or "").strip()
    if not text.isdecimal():
        raise InputError(
            f"{keyword} is {text or 'empty'}, it is a number", path, "Correct the keyword, or take the file from the archive again"
        )
    return str(int(text))


def _is_series(exposure):
    """Whether the exposure's pipelines treat it as a time series: its members are then those with all integrations."""
    return exposure.chain.stage1 == "tso1"


def _text(value):
    if isinstance(value, str):
        return value.strip().lower()
    if value is None:
        return ""
    if isinstance(value, bool):
        return "t" if value else "f"
    return str(value).strip().lower()


def _number_targets(rows):
    """Targets of a program in the order of its observations; a name is one target though its coordinates change."""
    known = defaultdict(dict)
    for row in sorted(rows, key=lambda row: (row["program"], int(row["obs_num"]), row["filename"])):
        name = row["targprop"] or row["targname"]
        if not name and row["visitype"] == PURE_PARALLEL:
            row["targetid"] = ""
            continue
        name = name or f"observation {row['obs_num']}"
        row["targetid"] = str(known[row["program"]].setdefault(name, len(known[row["program"]]) + 1))


def _number_specifications(rows):
    """Exposure specifications of an observation, in the order in which they were taken: activities stand for them."""
    found = defaultdict(set)
    for row in rows:
        found[row["program"], row["obs_num"]].add(_activity(row))
    ranks = {observation: {activity: rank for rank, activity in enumerate(sorted(its), 1)} for observation, its in found.items()}
    for row in rows:
        row["expspcin"] = str(ranks[row["program"], row["obs_num"]][_activity(row)])


def _activity(row):
    """Activities count in base 36."""
    return tuple(_base36(row[column]) for column in ("visit", "visitgrp", "seq_id", "act_id"))


def _base36(text):
    try:
        return int(text, 36)
    except ValueError:
        return 0


# --- which observation belongs to which


def _candidate_id(count):
    return f"c{FIRST_LINK + count}"


def _given(rows, links, remarks):
    """What the links of the configuration say: candidates, those of one kind to the same observations together, and a `Link` for each.

    A candidate is (type, numbers of its rows). Marks the rows. An observation is nothing to itself: that is noted, and it stays as it is.
    """
    observations = defaultdict(list)
    for number, row in enumerate(rows):
        observations[row["program"], row["obs_num"]].append(number)
    found, said = {}, []
    for link in links or ():
        kind, program = _checked(link, rows)
        these = _members(link["observation"], program, observations, link)
        of = [] if kind in ALONE else _members(link["of"], program, observations, link)
        words = f"links: {{{', '.join(f'{key}: {value}' for key, value in link.items())}}}"
        itself = set(these) & set(of)
        if itself:
            remarks.append(f"{words}: observation {_observations(rows, itself)} can't be its own {kind.replace('_', ' ')}: left out")
            of = [number for number in of if number not in itself]
            if not of:
                continue
        _mark(rows, these, kind)
        key = (kind, *sorted(of or these))
        found.setdefault(key, set()).update(these, of)
        said.append(Link(words, kind, these, of, _candidate_id(list(found).index(key))))
    return [(key[0], sorted(members)) for key, members in found.items()], said


def _checked(link, rows):
    """Type and program of a link."""
    shape = "A link is {observation: 4, is: background, of: 3}"
    if not isinstance(link, dict) or not {"observation", "is"} <= set(link) or not set(link) <= {"observation", "is", "of", "program"}:
        raise ConfigError(f"links: {link!r} is no link", do=shape)
    if link["is"] not in LINKS:
        raise ConfigError(f"links: {link['is']!r} is nothing that an observation can be", do=suggestion(link["is"], LINKS))
    if (link["is"] in ALONE) == ("of" in link):
        raise ConfigError(f"links: {link!r}: `of` is {'for other links' if 'of' in link else 'missing'}", do=shape)
    programs = sorted({row["program"] for row in rows}) or [""]
    program = str(link.get("program", programs[0])).lstrip("0")
    if len(programs) > 1 and "program" not in link:
        raise ConfigError(f"links: {link!r}: there are the programs {', '.join(programs)}", do="Add `program`")
    return link["is"], program


def _members(numbers, program, observations, link):
    found = []
    for number in numbers if isinstance(numbers, list) else [numbers]:
        observation = str(number).lstrip("0")
        if (program, observation) not in observations:
            known = ", ".join(sorted((o for p, o in observations if p == program), key=int)) or "none"
            raise ConfigError(f"links: {link!r}: there is no observation {number} of program {program}", do=f"There are {known}")
        found += observations[program, observation]
    return found


def _mark(rows, members, kind):
    if kind in MARKED_AS:
        for number in members:
            rows[number][MARKED_AS[kind]] = "t"


def _inferred(rows, given, notes, said):
    """Candidates for backgrounds and PSF references that no link names; adds what is taken for backgrounds to the links."""
    linked = {number for kind, members in given if kind in MARKED_AS for number in members}
    found = []
    for kind, column in MARKED_AS.items():
        marked, others = defaultdict(list), defaultdict(list)
        for number, row in enumerate(rows):
            if row["is_imprt"] == "t":
                continue
            mode = row["program"], row["instrume"], row["exp_type"]
            (marked if row[column] == "t" else others)[mode].append(number)
        for mode, members in marked.items():
            members = [number for number in members if number not in linked]
            if members:
                made = _candidates(kind, mode, members, others[mode], rows, notes)
                found += made
                if made and kind == "background":  # rules that need a PSF reference wait for one with their optics, and nothing is lost
                    said.append(Link(f"background of observation {_observations(rows, members)}", kind, members, others[mode], ""))
    return found


def _candidates(kind, mode, members, others, rows, notes):
    """One candidate for each target that the backgrounds or PSF references of a mode can be for."""
    observations = _observations(rows, members)
    name = {"background": "background", "psf": "PSF reference"}[kind]
    what = f"{name} of observation {observations} ({mode[2].upper()})"
    if not others:
        notes.append(f"{what}: no other observation has its mode, so it is reduced alone")
        return []
    if kind == "background" and len({rows[number]["obs_num"] for number in members}) > 1:
        notes.append(f"{what}: there are several, and headers do not say which is whose: none is used. Say it in `links`")
        return []
    targets = defaultdict(list)
    for number in others:
        targets[rows[number]["targetid"]].append(number)
    notes.append(f"{what}: taken for observation {_observations(rows, others)}. If that is wrong, say it in `links`")
    return [(kind, sorted({*its, *members, *_companions(rows, its + members)})) for its in targets.values()]


def _companions(rows, members):
    """Imprints and target acquisitions of the observations of other exposures."""
    observations = {(rows[number]["program"], rows[number]["obs_num"]) for number in members}
    return [
        number
        for number, row in enumerate(rows)
        if (row["program"], row["obs_num"]) in observations and (row["is_imprt"] == "t" or member_type(row) == "target_acquisition")
    ]


def _observations(rows, members):
    return ", ".join(sorted({rows[number]["obs_num"] for number in members}, key=int))
