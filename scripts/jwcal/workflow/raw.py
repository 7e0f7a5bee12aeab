"""Raw files that the configuration asks of the archive: they come into the data folder before a run is planned.

What the archive has listed is kept beside the files, so that a run whose files are there goes on where there is no network.
"""

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from ..archive import download, mast
from ..vocabulary.errors import InputError, JwcalError
from .stale import STATE, write


def bring(asked, say):
    """Fetch what is not there yet.

    Parameters
    ----------
    asked : config.Archive
    say : callable
        Takes a line: how much it is, before it comes, and how far it is.

    Raises
    ------
    InputError
        The archive has no such program, observation or mode, or a file does not come; those before it stay.
    """
    files = _listed(asked, say)
    for line in download.overview(asked.program, files, asked.folder):
        say(line)
    download.fetch(files, asked.folder, tell=say)


def foretell(asked):
    """What a run would fetch first, in words, for one that only looks: "" where all is there.

    Raises
    ------
    InputError
        None of the files is there, so that nothing can be planned; or as `bring`.
    """
    notes = []
    files = _listed(asked, notes.append, keep=False)
    wanted = download.missing(files, asked.folder)
    if wanted:
        size = download.amount(download.left(wanted, asked.folder))
        are = f"{len(wanted)} of {len(files)} files, {size}, are not in {asked.folder} yet"
        notes.append(f"program {asked.program}: {are}: a run fetches them first")
    if files and len(wanted) == len(files):
        raise InputError(notes[-1], do="Run it, or fetch them with jwcal fetch, to see what would be made of them")
    return "; ".join(notes)


def _listed(asked, say, keep=True):
    """The files, as the archive lists them or, where it does not answer, as it did the last time."""
    request = {"program": asked.program, "observations": sorted(asked.observations), "modes": sorted(asked.modes)}
    name = "-".join([f"{asked.program:05d}", *(f"o{number:03d}" for number in request["observations"]), *request["modes"]])
    note = Path(asked.folder, STATE, "".join(c if c.isalnum() or c == "-" else "_" for c in name) + ".json")
    try:
        files = mast.files(**request)
    except mast.Unreachable as error:
        try:
            known = json.loads(note.read_text())
        except (OSError, ValueError):
            raise error from None
        say(f"{error.what}: the program's files are those that it told the last time")
        return [mast.File(**one) for one in known["files"]]
    if keep:
        with suppress(OSError, JwcalError):  # a folder that is only for reading, and has all files
            write(note, {"request": request, "files": [asdict(one) for one in files]})
    return files
