"""The slitlets of an exposure through the micro-shutters: what their metadata file says of it.

A slitlet is a row of open shutters, or a fixed slit that a source was put into. The shutter with the source is its middle; a slitlet of
background alone has the middle one of its shutters for that. Places within a slitlet count in open heights of a shutter.
"""

import logging

import numpy as np
from stdatamodels.jwst.transforms.models import Slit

from ....files.reference_file import understood
from ....model import named_files
from ....vocabulary.errors import InputError
from .fixed_slits import NUMBERS, QUADRANT, fixed_slit

log = logging.getLogger(__name__)

LONG = 365  # shutters of a quadrant along x
QUADRANTS = (1, 2, 3, 4)
MARGIN = 0.5  # that the light of a slitlet is looked for beyond its ends
PITCH = 1.15  # of the shutters along a slitlet
SCALES = (1.35, 1.15)  # pitch over opening, where the msa reference tells none
MIDDLE = 0.5  # of a shutter, as the metadata file counts
TABLES = {
    "SHUTTER_INFO": (
        *("slitlet_id", "msa_metadata_id", "dither_point_index", "shutter_quadrant", "shutter_row", "shutter_column", "source_id"),
        *("background", "primary_source", "estimated_source_in_shutter_x", "estimated_source_in_shutter_y"),
    ),
    "SOURCE_INFO": ("source_id", "source_name", "alias", "stellarity", "ra", "dec"),
}
OTHER = "Put the metadata file of this exposure beside it, or correct MSAMETFL"
VIRTUAL = ("VRT", 0.0, 0.0, 0.0)  # of a source that is not in the file: name, stellarity, ra, dec


def slitlets(header, path, y_range, scales):
    """The slitlets that were open.

    Parameters
    ----------
    header : exposure.Header
        MSAMETID, PATT_NUM, PROGRAM.
    path : path
        Of the metadata file.
    y_range : (float, float)
        How far beyond the middle of its ends a shutter's light reaches; -0.5 and 0.5 are its ends.
    scales : dict
        Quadrant -> pitch over opening of its shutters (x, y): see `pitch_scales`.

    Returns
    -------
    list of Slit
        As the file has them.

    Raises
    ------
    InputError
        The file can't be read, does not know the exposure's configuration and dither, or says what can't be.
    """
    shutters, sources = (_table(path, name) for name in TABLES)
    configuration, dither = int(header["MSAMETID"]), int(header["PATT_NUM"])
    mine = shutters["msa_metadata_id"] == configuration
    if not mine.any():
        known = ", ".join(map(str, sorted({int(number) for number in shutters["msa_metadata_id"]})))
        raise InputError(f"it has no configuration {configuration} (MSAMETID of {header.name}); it has {known}", path, OTHER)
    rows = shutters[mine & (shutters["dither_point_index"] == dither)]
    if not rows.size:
        known = ", ".join(map(str, sorted({int(number) for number in shutters["dither_point_index"][mine]})))
        what = f"its configuration {configuration} has no dither {dither} (PATT_NUM of {header.name}); it has {known}"
        raise InputError(what, path, OTHER)
    named = _fixed_names(rows)
    found = {}
    for number, (slitlet, name) in enumerate(zip(rows["slitlet_id"].tolist(), named, strict=True)):
        found.setdefault(name or slitlet, []).append(number)
    program = str(header.get("PROGRAM", "")).lstrip("0")
    made, wrong = [], []
    for slitlet, numbers in found.items():
        fixed = {bool(named[number]) for number in numbers}
        primary = [number for number in numbers if _is(rows, number, "primary_source", "Y")]
        where = f"slitlet {slitlet} of configuration {configuration}, dither {dither}"
        if fixed == {True, False} or (fixed == {True} and len(numbers) > 1):
            raise InputError(f"{where} is made of a fixed slit and others", path, OTHER)
        if len(primary) > 1:
            wrong.append(f"{where} has {len(primary)} shutters with a primary source")
            log.warning("%s: it is left out", wrong[-1])
            continue
        if fixed == {True}:
            if not primary:
                log.info("The fixed slit %s has no primary source: it is left out", slitlet)
                continue
            made.append(_fixed(slitlet, rows[primary[0]], sources, program, dither, y_range))
        else:
            made.append(_of_shutters(slitlet, rows[numbers], primary and rows[primary[0]], sources, program, dither, y_range, scales))
    if wrong and not made:
        raise InputError(f"{wrong[0]}, and no slitlet is without fault", path, OTHER)
    _tell(made)
    return made


def pitch_scales(msa):
    """Quadrant -> pitch over opening of its shutters (x, y), by the msa reference."""
    scales = {}
    with understood("msa", msa.path):
        for quadrant in QUADRANTS:
            data = msa.tree[f"Q{quadrant}"]["data"]
            x, y = data["XC"], data["YC"]
            scales[quadrant] = float((x[1] - x[0]) / data["SIZEX"][0]), float(y[LONG] / data["SIZEY"][0])
    return scales


def _table(path, name):
    rows = named_files.fits_table(path, name, "the MSA metadata file", OTHER)
    missing = [column for column in TABLES[name] if column not in rows.dtype.names]
    if missing:
        raise InputError(f"the MSA metadata file's {name} has no column {', '.join(missing)}", path, OTHER)
    return rows


def _fixed_names(rows):
    """The fixed slit that each row is about; "" where it is about a shutter. Older files have shutters only."""
    if "fixed_slit" not in rows.dtype.names:
        return [""] * rows.size
    return [name if name in NUMBERS else "" for name in (_text(value) for value in rows["fixed_slit"])]


def _text(value):
    return (value.decode() if isinstance(value, bytes) else str(value)).strip()


def _is(rows, number, column, value):
    return _text(rows[column][number]) == value


def _fixed(name, row, sources, program, dither, y_range):
    """A source in a fixed slit."""
    source_id = int(row["source_id"])
    about = _source(source_id, sources, program, name)
    x, y = _in_shutter(row)
    return fixed_slit(
        *(name, y_range, source_id, dither),
        shutter_state="x", source_xpos=x, source_ypos=y, slit_xscale=SCALES[0], slit_yscale=SCALES[1], **about,
    )  # fmt: skip


def _of_shutters(slitlet, rows, primary, sources, program, dither, y_range, scales):
    columns = rows["shutter_column"].astype(int)
    low, high = int(columns.min()), int(columns.max())
    if not primary:
        middle, column, quadrant = rows[0], low + (high - low) // 2, int(rows["shutter_quadrant"][0])
        source_id, (x, y) = int(slitlet), (0.0, 0.0)
        about = {"source_name": f"{program}_BKG{slitlet}", "source_alias": f"BKG{slitlet}"}
    else:
        sky = [number for number in range(rows.size) if _is(rows, number, "background", "N")]
        middle = rows[sky[0]] if sky else primary
        column, quadrant, source_id = int(middle["shutter_column"]), int(middle["shutter_quadrant"]), int(primary["source_id"])
        x, y = _in_shutter(middle)
        about = _source(source_id, sources, program, slitlet)
    row = int(middle["shutter_row"])
    xscale, yscale = scales.get(quadrant, SCALES)
    return Slit(
        name=int(slitlet), shutter_id=row + (column - 1) * LONG, dither_position=dither, xcen=row, ycen=column,
        ymin=y_range[0] - MARGIN + (low - column) * PITCH, ymax=y_range[1] + MARGIN + (high - column) * PITCH,
        quadrant=quadrant, source_id=source_id, shutter_state=_state(columns, column), source_xpos=x, source_ypos=y,
        slit_xscale=xscale, slit_yscale=yscale, slit_id=int(slitlet), **about,
    )  # fmt: skip


def _in_shutter(row):
    """Where a source is in its shutter, from its middle; in the middle where the file does not tell."""
    places = [row[f"estimated_source_in_shutter_{axis}"] for axis in "xy"]
    return tuple(float((MIDDLE if np.isnan(place) else place) - MIDDLE) for place in places)


def _source(source_id, sources, program, slitlet):
    """What the file knows of a source."""
    found = np.flatnonzero(sources["source_id"] == source_id)
    if not found.size:
        alias, stellarity, ra, dec = f"{VIRTUAL[0]}{slitlet}", *VIRTUAL[1:]
        return {"source_name": f"{program}_{alias}", "source_alias": alias, "stellarity": stellarity, "source_ra": ra, "source_dec": dec}
    row = sources[found[0]]
    texts = {"source_name": _text(row["source_name"]), "source_alias": _text(row["alias"])}
    return texts | {"stellarity": float(row["stellarity"]), "source_ra": float(row["ra"]), "source_dec": float(row["dec"])}


def _state(open_columns, middle):
    """The shutters of a slitlet one after the other: "x" the one with the source, "1" open, "0" closed."""
    first, last = min(open_columns.min(), middle), max(open_columns.max(), middle)
    return "".join("x" if column == middle else str(int(column in open_columns)) for column in range(first, last + 1))


def open_shutters(slits):
    """The (quadrant, row, column) of all shutters that make some slitlets; fixed slits have none."""
    found = set()
    for slit in slits:
        first = int(slit.ycen) - slit.shutter_state.find("x")
        states = enumerate(slit.shutter_state if slit.quadrant != QUADRANT else "")
        found.update((int(slit.quadrant), int(slit.xcen), first + number) for number, state in states if state != "0")
    return found


def _tell(made):
    background = [slit for slit in made if "_BKG" in slit.source_name]
    virtual = [slit for slit in made if slit.source_id < 0 or "_VRT" in slit.source_name]
    log.info("%d slitlets: %d with background alone, %d with a virtual source", len(made), len(background), len(virtual))
    for slit in made:
        if slit.quadrant != QUADRANT and max(abs(slit.source_xpos), abs(slit.source_ypos)) > MIDDLE:
            log.warning("Source %s lies outside its shutter in slitlet %s", slit.source_id, slit.name)
