"""Files that a parameter of a step names: images, trees, tables and lists of the user's. The steps' only door to them."""

from pathlib import Path

import numpy as np

from ..files import fitsio
from ..files.reference_file import open_reference
from ..vocabulary.errors import ConfigError, InputError, ReferenceError

NO_FILE = ("", "N/A", "NONE", "NULL")  # what keywords say where there is no file


def first_image(path, name):
    """The first image of a FITS file in native byte order, None where it has none.

    Raises
    ------
    ReferenceError
        It can't be read; `name` is the parameter that names it.
    """
    try:
        with fitsio.open_fits(path) as hdus:
            images = [hdu.data for hdu in hdus if hdu.is_image and hdu.data is not None]
            return fitsio.native(images[0]) if images else None
    except InputError as error:
        raise ReferenceError(f"{name} can't be read: {error.what}", path, error.do) from None


def images(path, name, extnames):
    """The images of some names of a FITS file in native byte order, {extname: array} of each EXTVER; those without the first are left out.

    Raises
    ------
    ReferenceError
        It can't be read, or has none; `name` is the parameter that names it.
    """
    found = {}
    try:
        with fitsio.open_fits(path) as hdus:
            for hdu in hdus:
                if hdu.name in extnames and hdu.is_image and hdu.data is not None:
                    found.setdefault(hdu.ver, {})[hdu.name] = fitsio.native(hdu.data)
    except InputError as error:
        raise ReferenceError(f"{name} can't be read: {error.what}", path, error.do) from None
    every = [planes for planes in found.values() if extnames[0] in planes]
    if not every:
        raise ReferenceError(f"{name} has no image {extnames[0]}", path, "Give another file")
    return every


def tree(path, kind):
    """The tree of an ASDF file; ReferenceError where it can't be read."""
    return open_reference(path, kind).tree


def lines(path, what, do):
    """The lines of a text file; ConfigError with what it is and what to do where it can't be read."""
    try:
        return Path(path).read_text().splitlines()
    except OSError as error:
        raise ConfigError(f"{what} can't be read ({error.strerror})", path, do) from None


def table(path, what):
    """A table in any form that astropy reads; ConfigError where it can't."""
    from astropy.table import Table

    try:
        return Table.read(path)
    except Exception as error:  # noqa: BLE001 - astropy's readers raise whatever the file makes them
        what = f"{what} can't be read ({str(error).splitlines()[0]})"
        raise ConfigError(what, path, "Give a table that astropy reads") from None


def fits_table(path, name, what, do):
    """A table extension of a FITS file as a structured array; InputError with what the file is and what to do where it is not there."""
    if not Path(path).exists():
        raise InputError(f"{what} is not there", path, do)
    with fitsio.open_fits(path) as hdus:
        if name not in hdus or getattr(hdus[name], "columns", None) is None:
            raise InputError(f"{what} has no table {name}", path, do)
        return np.array(hdus[name].data)


def named_by(keyword, exposure, kind):
    """The path of a file that a keyword names: the one that planning has found, or one beside the exposure.

    Parameters
    ----------
    keyword : str
    exposure : Exposure
    kind : str
        The type of member as which planning gives it to the step.

    Raises
    ------
    InputError
        The keyword is empty, or there is no such file.
    """
    planned = exposure.members.paths(kind)
    if planned:
        return planned[0]
    name = str(exposure.header[keyword]).strip()
    if name.upper() in NO_FILE:
        raise InputError(f"{keyword} names no file", exposure.name, "Take the file from the archive again, or set the keyword")
    folder = Path(exposure.name).parent
    path = Path(folder, Path(name).name)
    if not path.exists():
        what = f"the file {Path(name).name} that its {keyword} names is neither beside its raw data nor in {folder.resolve()}"
        raise InputError(what, exposure.name, "Put it there; the archive has it under that name")
    return path
