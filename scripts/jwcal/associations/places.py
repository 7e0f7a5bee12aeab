"""The name of a member and its place: what an association's file says of both, and where the member is.

A member is known by its name alone; its place is the folder in which it lies, seen from that of the association's file. So the file can
be used where it lies, and a copy of it beside its members is understood as well.
"""

import os
import re
from pathlib import Path, PurePosixPath

from ..settings.chains import root_and_suffix
from ..vocabulary.errors import InputError


def parted(expname, path):
    """(name, place) of what a file says of a member; the place is empty beside the file.

    Raises
    ------
    InputError
        The name is absolute: it would mean another file, or none, on another machine.
    """
    name = PurePosixPath(expname.replace("\\", "/"))
    if name.is_absolute() or re.match(r"[A-Za-z]:|~", expname) or "\0" in expname or name.name in ("", ".."):
        what = f"the member {expname!r} is not given by its name, or by a path that starts where the association lies"
        raise InputError(what, path, "Give the file's name alone, or a relative path")
    place = str(name.parent)
    return name.name, "" if place == "." else place


def of(association, member):
    """The path of a member of an association that was read from a file: in its place, else beside the file; None if it is in neither."""
    if not association.given:
        return None
    folder = association.given.parent
    found = (path for path in (Path(folder, member.place, member.expname), Path(folder, member.expname)) if path.exists())
    return next(map(_plain, found), None)


def _plain(path):
    """A path without .., where that is the same file: behind a link it may be another."""
    plain = Path(os.path.normpath(path))
    return plain if plain.exists() and plain.samefile(path) else path


def seen_from(folder, name, files, other=None):
    """How a file in `folder` names a member: by a relative path where it is known where the member is or will be, else by its name.

    Parameters
    ----------
    folder : path
    name : str
    files : dict
        Root -> {suffix: path}.
    other : path, optional
        Where it is if it is not among these.
    """
    root, suffix = root_and_suffix(name)
    path = files.get(root, {}).get(suffix) or other
    if path is None:
        return name
    return Path(os.path.relpath(Path(path).absolute(), Path(folder).absolute())).as_posix()
