"""Shifts of single exposures on the sky that a file of the user's gives."""

import os

import numpy as np

from ...model import named_files
from ...vocabulary.errors import ConfigError

LISTS = ("filename", "raoffset", "decoffset")


def read(path, shells):
    """The shifts of exposures.

    Parameters
    ----------
    path : path
        ASDF: `filename`, `raoffset`, `decoffset`, lists of one length, and `units`, "arcsec".
    shells : list of Exposure
        A file of the list is one of theirs if its name is the same up to the last underscore.

    Returns
    -------
    list of (float, float)
        East and north, arcsec, of each exposure.

    Raises
    ------
    ConfigError
        The file has other keys, units or lengths, or lacks one of the exposures.
    """
    do = "Write an ASDF file with the lists filename, raoffset, decoffset, and units: arcsec"
    tree = named_files.tree(path, "offset_file of cube_build")
    if any(key not in tree for key in (*LISTS, "units")):
        raise ConfigError(f"offset_file of cube_build lacks {', '.join(key for key in (*LISTS, 'units') if key not in tree)}", path, do)
    if tree["units"] != "arcsec":
        raise ConfigError(f"the units of offset_file of cube_build are {tree['units']!r}", path, do)
    names, east, north = (list(tree[key]) for key in LISTS)
    if not len(names) == len(east) == len(north):
        raise ConfigError("the lists in offset_file of cube_build are of different lengths", path, do)
    known = {_root(name): (float(x), float(y)) for name, x, y in zip(names, east, north, strict=True)}
    lacking = [shell.name for shell in shells if _root(shell.name) not in known]
    if lacking:
        raise ConfigError(f"offset_file of cube_build has no offsets for {os.path.basename(lacking[0])}", path, "Add its name")
    return [known[_root(shell.name)] for shell in shells]


def _root(name):
    return os.path.basename(str(name)).rpartition("_")[0]


def shifted(ra, dec, offset):
    """Points on the sky [deg] that were moved east and north [arcsec], on the sphere."""
    from astropy import units as u
    from astropy.coordinates import SkyCoord

    good = np.isfinite(ra)
    moved = SkyCoord(ra[good], dec[good], unit="deg").spherical_offsets_by(*(value * u.arcsec for value in offset))
    ra, dec = np.array(ra), np.array(dec)
    ra[good], dec[good] = moved.ra.deg, moved.dec.deg
    return ra, dec
