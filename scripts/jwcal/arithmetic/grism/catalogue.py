"""The sources of a field, as the catalogue of its direct image has them."""

import logging
from dataclasses import dataclass

import numpy as np

from ...vocabulary.errors import InputError

log = logging.getLogger(__name__)

CORNERS = ("sky_bbox_ll", "sky_bbox_lr", "sky_bbox_ul", "sky_bbox_ur")
COLUMNS = ("label", "sky_centroid", "isophotal_abmag", *CORNERS)


@dataclass
class Sources:
    """Sources of a catalogue.

    Attributes
    ----------
    label : (n,) int
    ra, dec : (n,)
        Of the centroid, ICRS [deg].
    magnitude : (n,)
        AB; NaN where it is not known.
    extended : (n,) bool
    corners : (2, n, 4)
        Right ascension and declination [deg] of the corners of the segment's box.
    """

    label: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    magnitude: np.ndarray
    extended: np.ndarray
    corners: np.ndarray

    def __len__(self):
        return len(self.label)

    def __getitem__(self, which):
        return Sources(*(getattr(self, name)[which] for name in ("label", "ra", "dec", "magnitude", "extended")), self.corners[:, which])


def sources(table, path):
    """The sources of a catalogue, in its order.

    Parameters
    ----------
    table : astropy.table.Table
        Of source_catalog, ours or the peer's.
    path : path
        Its file, for messages.

    Raises
    ------
    InputError
        It lacks a column that is needed, or one holds something else, or it has no source.
    """
    if table is None:
        raise InputError("it is no catalogue of sources", path, "Give the table (_cat.ecsv) that source_catalog made of the direct image")
    missing = [name for name in COLUMNS if name not in table.colnames]
    if missing:
        raise InputError(
            f"the catalogue has no column {', '.join(missing)}", path, "Give the one that source_catalog made of the direct image"
        )
    if len(table) == 0:
        raise InputError("the catalogue has no source", path, "Lower snr_threshold of source_catalog, or give another catalogue")
    _check_columns(table, path)
    places = {name: table[name].icrs for name in ("sky_centroid", *CORNERS)}
    corners = np.array([[places[name].ra.deg for name in CORNERS], [places[name].dec.deg for name in CORNERS]]).transpose(0, 2, 1)
    extended = np.asarray(table["is_extended"], bool) if "is_extended" in table.colnames else np.zeros(len(table), bool)
    magnitude = table["isophotal_abmag"]
    magnitude = np.ma.filled(np.ma.asarray(getattr(magnitude, "value", magnitude), float), np.nan)
    centre = places["sky_centroid"]
    label = np.asarray(table["label"], int)
    if len(np.unique(label)) < len(label):
        raise InputError("labels of the catalogue occur more than once", path, "Correct the catalogue")
    return Sources(label, np.asarray(centre.ra.deg), np.asarray(centre.dec.deg), np.asarray(magnitude), extended, corners)


def _check_columns(table, path):
    """Raise InputError where a column holds something else than its name says."""
    expected = dict.fromkeys(("sky_centroid", *CORNERS), (lambda column: hasattr(column, "icrs"), "places on the sky were"))
    expected["label"] = _are_labels, "whole numbers above 0 were"
    expected["isophotal_abmag"] = lambda column: _values(column).dtype.kind in "iuf", "numbers were"
    expected["is_extended"] = lambda column: _values(column).dtype.kind == "b", "True or False was"
    for name, (is_right, what) in expected.items():
        if name in table.colnames and not is_right(table[name]):
            held = f"{_values(table[name]).dtype.name} " if not hasattr(table[name], "icrs") else ""
            raise InputError(
                f"the column {name} of the catalogue holds {held}values that can't be: {what} expected",
                path,
                "Give the one that source_catalog made of the direct image",
            )


def _values(column):
    return np.ma.asarray(getattr(column, "value", column))


def _are_labels(column):
    values = _values(column)
    whole = values.dtype.kind in "iu" or (values.dtype.kind == "f" and bool(np.all(values == np.floor(values))))
    return whole and not np.ma.is_masked(values) and bool(np.all(values > 0))


def of_exposure(exposure):
    """The sources of the catalogue in an exposure's association.

    Raises
    ------
    InputError
        There is none; or see `sources`.
    """
    for member in exposure.members.each("sourcecat"):
        return sources(member.catalogue, member.name)
    what = "its association has no source catalogue, so nobody knows where its spectra are"
    raise InputError(what, exposure.name, "Take a direct image of the field, or give a catalogue (exptype sourcecat) in an association")


def asked_for(found, ids, ra, dec, separation, path):
    """Which sources are asked for, by label or by place on the sky [deg], within a separation [arcsec]: bool (n,).

    Raises
    ------
    InputError
        Right ascensions and declinations do not belong together, or no source is there.
    """
    if not ids and not ra and not dec:
        return np.ones(len(found), bool)
    if len(ra or ()) != len(dec or ()):
        raise InputError(f"{len(ra or ())} of source_ra and {len(dec or ())} of source_dec", path, "Give as many of both")
    chosen = np.isin(found.label, np.asarray([int(label) for label in ids or ()], int))
    for label in ids or ():
        if int(label) not in found.label:
            log.warning("The catalogue has no source %s, which is asked for", label)
    for one_ra, one_dec in zip(ra or (), dec or (), strict=True):
        away = _separations(found.ra, found.dec, float(one_ra), float(one_dec))
        nearest = int(np.argmin(away))
        if away[nearest] > separation:
            log.warning(
                "No source is within %.2f arcsec of %s, %s: the nearest, %d, is %.2f away",
                separation,
                one_ra,
                one_dec,
                *(found.label[nearest], away[nearest]),
            )
        else:
            chosen[nearest] = True
    if not chosen.any():
        raise InputError("none of the sources that are asked for is in the catalogue", path, "Correct source_ids, source_ra, source_dec")
    return chosen


def _separations(ra, dec, one_ra, one_dec):
    """Angles on the sky [arcsec]: haversines."""
    ra, dec, one_ra, one_dec = np.radians(ra), np.radians(dec), np.radians(one_ra), np.radians(one_dec)
    half = np.sin((dec - one_dec) / 2) ** 2 + np.cos(dec) * np.cos(one_dec) * np.sin((ra - one_ra) / 2) ** 2
    return np.degrees(2 * np.arcsin(np.sqrt(half))) * 3600
