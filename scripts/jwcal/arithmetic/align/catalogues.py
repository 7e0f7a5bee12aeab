"""Catalogues that users give, and catalogues of stars on the sky."""

import io
import logging
import os
from pathlib import Path

import numpy as np

from ...model import named_files
from ...vocabulary.errors import ConfigError

log = logging.getLogger(__name__)

ONLINE = "GAIAREFCAT", "GAIADR3", "GAIADR2", "GAIADR1"
SERVICE = "ASTROMETRIC_CATALOG_URL", "https://gsss.stsci.edu/webservices"
TIMEOUT = 30.0  # s
MAS = 1 / 3.6e6  # degrees


class NotReachable(Exception):
    """A catalogue on the network that can't be had."""


# --- of an image -------------------------------------------------------------------------------------------------------


def listed(path):
    """Which catalogue each image has, from a text file of two columns.

    Returns
    -------
    dict
        Image's file name -> path of its catalogue, or None for an image that is named alone. Paths are relative to the list's folder.

    Raises
    ------
    ConfigError
        It can't be read, or a line has three words.
    """
    path, found = Path(path), {}
    for line in named_files.lines(path, "catfile of tweakreg", "Give a text file of images and catalogues"):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) > 2:
            raise ConfigError(f"{line.strip()!r} has more than two columns", path, "Write an image and its catalogue in each line")
        found[words[0]] = path.parent / words[1] if len(words) == 2 else None
    return found


def of_image(path):
    """Pixel positions from a catalogue: columns x and y, or xcentroid, x_centroid...; flux if it is there.

    Returns
    -------
    x, y, flux : float64 (n,)
    """
    table = named_files.table(path, "the catalogue")
    columns = []
    for axis in ("x", "y"):
        names = [name for name in (axis, f"{axis}centroid", f"{axis}_centroid") if name in table.colnames]
        if not names:
            raise ConfigError(f"the catalogue has no column {axis}, {axis}centroid or {axis}_centroid", path, "Add it")
        columns.append(_numbers(table, names[0]))
    flux = _numbers(table, "flux") if "flux" in table.colnames else np.full(len(table), np.nan)
    known = np.isfinite(columns[0]) & np.isfinite(columns[1])
    return np.array([*columns, flux])[:, known]


def _numbers(table, name):
    """A column as float64, NaN where it is masked; angles in degrees."""
    column = table[name]
    if getattr(column, "unit", None) is not None and column.unit.is_equivalent("deg") and str(column.unit) != "deg":
        column = column.to("deg") if hasattr(column, "to") else column.quantity.to("deg")
    values = getattr(column, "value", column)
    return np.ma.filled(np.ma.asarray(values, dtype=float), np.nan)


# --- of the sky --------------------------------------------------------------------------------------------------------


def of_sky(path, epoch, motions="apply", without="drop"):
    """Stars with right ascension and declination at an epoch.

    Parameters
    ----------
    path : path
        A table with RA and DEC [deg], in small letters or large, or sky_centroid. Where it has pmra (with the cosine of the declination)
        and pmdec [mas/yr], and ref_epoch or epoch [yr], the stars are moved.
    epoch : float
        Julian year.
    motions : {"apply", "ignore"}
    without : {"drop", "keep"}
        What is done with stars that have no proper motion where others have one.

    Returns
    -------
    ra, dec : float64 (n,), degrees

    Raises
    ------
    ConfigError
        The table can't be read, or has not these columns.
    """
    table = named_files.table(path, "the catalogue")
    lower = {}
    for name in table.colnames:
        lower.setdefault(name.lower(), []).append(name)
    for wanted in ("ra", "dec", "sky_centroid"):
        if len(lower.get(wanted, ())) > 1:
            raise ConfigError(f"it has several columns {', '.join(lower[wanted])}", path, "Leave one of them")
    if "ra" in lower and "dec" in lower:
        ra, dec = (_numbers(table, lower[axis][0]) for axis in ("ra", "dec"))
    elif "sky_centroid" in lower:
        places = table[lower["sky_centroid"][0]].icrs
        ra, dec = np.asarray(places.ra.deg, float), np.asarray(places.dec.deg, float)
    else:
        raise ConfigError("the catalogue has neither RA and DEC nor sky_centroid", path, "Add columns RA and DEC in degrees")
    at = next((lower[name][0] for name in ("ref_epoch", "epoch") if name in lower), None)
    if motions == "apply" and at and "pmra" in lower and "pmdec" in lower:
        motion = [_numbers(table, lower[name][0]) for name in ("pmra", "pmdec")]
        ra, dec = _moved(ra, dec, *motion, epoch - _numbers(table, at), without, path)
    known = np.isfinite(ra) & np.isfinite(dec)
    return ra[known], dec[known]


def _moved(ra, dec, pmra, pmdec, years, without, path):
    """Places after so many years; those without a motion stay or are dropped."""
    known = np.isfinite(pmra) & np.isfinite(pmdec) & np.isfinite(years)
    if not known.any():
        return ra, dec
    log.info(
        "%s: %d stars moved by %.1f years, %d without a proper motion are %s",
        *(path, known.sum(), np.median(years[known]), (~known).sum(), "dropped" if without == "drop" else "kept"),
    )
    moved_ra = ra + np.where(known, pmra * years, 0) * MAS / np.cos(np.radians(dec))
    moved_dec = dec + np.where(known, pmdec * years, 0) * MAS
    return (moved_ra[known], moved_dec[known]) if without == "drop" else (moved_ra, moved_dec)


def online(name, ra, dec, radius, epoch):
    """Stars of a catalogue on the network, at an epoch; those without a proper motion are left out.

    Parameters
    ----------
    name : str
        One of ONLINE.
    ra, dec, radius : float
        Of the field, degrees.
    epoch : float
        Julian year.

    Returns
    -------
    ra, dec : float64 (n,), degrees

    Raises
    ------
    NotReachable
    """
    import urllib.error
    import urllib.request

    from astropy.table import Table

    base = os.environ.get(*SERVICE)
    query = f"{base}/vo/CatalogSearch.aspx?RA={ra!r}&DEC={dec!r}&EPOCH={epoch!r}&SR={radius!r}&FORMAT=CSV&CAT={name}"
    try:
        with urllib.request.urlopen(query, timeout=TIMEOUT) as answer:
            text = answer.read().decode()
        table = None if text.startswith("No data") else Table.read(io.StringIO(text), format="csv", comment="#")
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise NotReachable(f"{name} can't be had from {base} ({getattr(error, 'reason', error)})") from None
    if table is None or not len(table):
        return np.empty(0), np.empty(0)
    try:
        places = [_numbers(table, column) for column in ("ra", "dec")]
        known = np.isfinite(places[0]) & np.isfinite(places[1])
        for column in ("pmra", "pmdec"):
            known &= np.isfinite(_numbers(table, column)) if column in table.colnames else True
    except (KeyError, ValueError) as error:
        raise NotReachable(f"what {base} answers for {name} is no catalogue ({error})") from None
    return places[0][known], places[1][known]
