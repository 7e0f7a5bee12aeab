"""Pools: tables of exposures, as the archive has them. Their values are told apart without regard to case."""

import ast
import csv
import logging
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from ..settings.tables import table
from ..vocabulary.errors import InputError
from ..vocabulary.nearest import nearest
from .macros import expand
from .model import Item
from .rules import member_type, names_of

log = logging.getLogger(__name__)

NEEDED = ("filename", "program", "exp_type", "instrume", "obs_num", "pntgtype", "targetid", "asn_candidate")
SAFE_NAME = re.compile(r"\w[\w.+-]*")
IDS = re.compile(r"[a-z]\d{3,5}")


@dataclass
class Pool:
    """Exposures that associations are made of."""

    items: list  # of Item
    name: str = "none"
    notes: list = field(default_factory=list)  # what was inferred, in words
    remarks: list = field(default_factory=list)  # what was asked for and is left out
    links: list = field(default_factory=list)  # of model.Link: which exposures belong together beside the candidates of the pool


def read(path):
    """Read a pool of the archive: a table with "|" between its columns.

    Parameters
    ----------
    path : path

    Returns
    -------
    Pool

    Raises
    ------
    InputError
        There is no such file, it is empty, a column is missing, a row has too few or too many fields, two rows are of the same file,
        an EXP_TYPE, a candidate or a file name can't be right.
    """
    columns, rows = _table(path)
    repeated = sorted({column for column in columns if columns.count(column) > 1})
    if repeated:
        raise InputError(f"the column {repeated[0]} is there twice", path, "Remove one of them")
    missing = [column for column in NEEDED if column not in columns]
    if missing:
        one = len(missing) == 1
        what = f"the column{'s' * (not one)} {', '.join(missing)} {'is' if one else 'are'} missing: this is no association pool"
        raise InputError(what, path, f"The first line names the columns, with | between them; add {'it' if one else 'them'}")
    cells = [(line, dict(zip(columns, row, strict=True))) for line, row in rows]
    cells = [(line, values) for line, values in cells if values["exp_type"] != "exp_type"]  # headings that are repeated in the table
    if not cells:
        raise InputError("it has no exposures", path, "Give a pool with a row for each exposure")
    return Pool(make_items([values for _, values in cells], path, [line for line, _ in cells]), Path(path).name)


def make_items(rows, path=None, lines=None):
    """The exposures of a table.

    Parameters
    ----------
    rows : list of dict
        Column -> text in lower case.
    path : path, optional
        For messages; `lines` are its lines.
    lines : list of int, optional

    Returns
    -------
    list of Item

    Raises
    ------
    InputError
    """
    empty, together = frozenset(table("associations")["undefined"]), table("associations")["slits_together"]
    items, seen = [], {}
    for index, row in enumerate(rows):
        where = f"line {lines[index]}" if lines else row["filename"]
        values = {column: value for column, value in row.items() if value not in empty}
        filename = values.get("filename", "")
        if not SAFE_NAME.fullmatch(filename):
            raise InputError(f"{where}: {filename!r} is no file name", path, "It is a name without folders; correct it")
        for column in ("program", "exp_type", "instrume"):
            if column not in values:
                raise InputError(f"{where} ({filename}): {column} is empty", path, "Fill it in, or remove the row")
        _check_exp_type(values["exp_type"], f"{where} ({filename})", path)
        values["member_type"] = member_type(values)
        if values.get("fxd_slit") not in (None, *together):
            values["slit"] = values["fxd_slit"]
        if "targetid" in values:
            values["target"] = values["targetid"]
        item = Item(index, filename, values, _candidates(values, where, path))
        _check_once(item, seen.setdefault(filename, []), where, path)
        items.append(item)
    return items


def _table(path):
    """The names of the columns, and (line, values) of each row, all in lower case."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            lines = [(number, text.rstrip("\r\n")) for number, text in enumerate(file, 1)]
    except FileNotFoundError:
        raise InputError("there is no such file", path) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"not a readable pool ({error})", path, "Give a text table with | between its columns") from None
    lines = [(number, text) for number, text in lines if text.strip() and not text.lstrip().startswith("#")]
    if not lines:
        raise InputError("it is empty", path, "Give a pool with a line of column names and a line for each exposure")
    records = [
        [cell.strip().lower() for cell in row] for row in csv.reader((text for _, text in lines), delimiter="|", skipinitialspace=True)
    ]
    if len(records) != len(lines):
        raise InputError("a quotation mark is not closed", path, "Correct the table")
    columns, rows = records[0], list(zip((number for number, _ in lines[1:]), records[1:], strict=True))
    for number, row in rows:
        if len(row) != len(columns):
            raise InputError(f"line {number} has {len(row)} fields, the first line has {len(columns)} columns", path, "Correct the line")
    try:
        return columns, [(number, row) for (number, _), row in zip(rows, expand(row for _, row in rows), strict=True)]
    except ValueError as error:
        raise InputError(str(error), path, "Write the value itself") from None


def _check_once(item, others, where, path):
    """An exposure is there once; rows of one file that have no candidate in common never meet."""
    for its, other in others:
        if set(item.candidates) & set(other.candidates) or not (item.candidates and other.candidates):
            raise InputError(f"{where} is of the same exposure as {its}, {item.filename}", path, "Remove one of them")
        log.warning("%s: %s and %s are of one file, %s, and have no candidate in common", path, its, where, item.filename)
    others.append((where, item))


def _check_exp_type(exp_type, where, path):
    known = table("exp_types")["exp_types"]
    if exp_type.upper() not in known and exp_type not in table("associations")["retired"] and exp_type not in _named():
        near = nearest(exp_type.upper(), known)
        do = f"The nearest is {near}" if near else "Correct it or remove the row"
        raise InputError(f"{where}: {exp_type.upper()} is no EXP_TYPE of JWST", path, do)


def _named():
    """EXP_TYPEs that rules name though the mission has no row for them."""
    return frozenset().union(*map(names_of, table("associations")["lists"]))


def _candidates(values, where, path):
    """(id, type) of each candidate that an exposure is of."""
    text = values.get("asn_candidate")
    found = () if text is None else _listed(text)
    if found is None:
        what = f"{where}: ASN_CANDIDATE is {text!r}"
        raise InputError(what, path, "It is a list such as [('o001', 'observation'), ('c1000', 'background')]")
    return found


@lru_cache(maxsize=4096)
def _listed(text):
    """The same from the text, which the exposures of an observation share; None where it is no such list."""
    try:
        found = tuple((str(name), str(kind)) for name, kind in ast.literal_eval(text))
    except (ValueError, SyntaxError, TypeError):
        return None
    return found if all(IDS.fullmatch(name) for name, _ in found) else None
