"""One product, looked at: its keywords, the fractions of its pixels that are flagged, its pictures. Remembered until it changes."""

import json
from pathlib import Path

import numpy as np

from ..files import fitsio, storage
from ..files.fingerprint import state
from ..files.fitsheaders import read_headers
from ..vocabulary import dq
from ..vocabulary.errors import JwcalError, ProductError

FORMAT = 4  # of what is remembered
ALWAYS = ("DO_NOT_USE", "SATURATED", "JUMP_DET")
KEYWORDS = {
    **dict.fromkeys(
        ("PROGRAM", "OBSERVTN", "VISIT", "TARGNAME", "INSTRUME", "DETECTOR", "CHANNEL", "BAND", "FILTER", "PUPIL", "GRATING"), ""
    ),
    **dict.fromkeys(("EXP_TYPE", "SUBARRAY", "READPATT", "DATE-OBS", "TIME-OBS", "NINTS", "NGROUPS", "EFFEXPTM", "BUNIT"), ""),
    **dict.fromkeys(("CRDS_CTX", "CAL_VER", "ASNTABLE"), ""),
}


def measured(path, cache=None, draw=True):
    """What the report says and shows of a product.

    Parameters
    ----------
    path : path
    cache : path, optional
        Folder for what was found: a product with the same size and time is not opened again.
    draw : bool
        Whether to draw it.

    Returns
    -------
    dict
        `keywords`, `flags` (name: fraction of the pixels), `shape`, `pictures` (see `drawing.web`; None if not drawn);
        `problem` is the message of a product that can't be read.
    """
    path = Path(path)
    remembered = Path(cache, f"{path.name}.json") if cache else None
    try:
        now = [FORMAT, *state(path.stat())]
        found = storage.load_json(remembered)
        if found["state"] == now and (found["pictures"] is not None or not draw):
            return found
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    try:
        found = {"state": now, **_look(path, draw), "problem": ""}
    except (JwcalError, OSError) as error:
        return {"state": [], "keywords": dict(KEYWORDS), "flags": {}, "shape": [], "pictures": [], "problem": str(error)}
    if remembered:
        _remember(remembered, found)
    return found


def joined(paths, cache=None):
    """The picture of spectra of several bands together, as `drawing.web` has it: a list of one, or none. Remembered like the others."""
    first = Path(paths[0])
    remembered = Path(cache, f"{first.name}.joined.json") if cache else None
    try:
        now = [FORMAT, *([Path(path).name, *state(Path(path).stat())] for path in paths)]
        found = storage.load_json(remembered)
        if found["state"] == now:
            return found["pictures"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    from . import drawing
    from .pictures import spectra

    try:
        found = {"state": now, "pictures": [drawing.web(picture) for picture in spectra.joined(paths)]}
    except (JwcalError, OSError, KeyError):
        return []  # the page tells what is wrong with the product itself
    if remembered:
        _remember(remembered, found)
    return found["pictures"]


def _look(path, draw):
    from . import drawing, pictures  # and matplotlib with them: what is remembered need not be drawn

    is_fits = path.suffix == ".fits"
    found = pictures.pictures(path) if draw else None
    return {
        "keywords": keywords(path) if is_fits else dict(KEYWORDS),
        "shape": list(read_headers(path).shape) if is_fits else [],
        "flags": flags(path) if is_fits else {},
        "pictures": None if found is None else [drawing.web(picture) for picture in found],
    }


def _remember(path, found):
    try:
        with storage.replaced(path) as temporary:
            temporary.write_text(json.dumps(found))
    except ProductError:
        pass  # it is only a help: results may be read-only


def keywords(path):
    """The keywords that tell products apart; empty strings for those that are not there."""
    headers = read_headers(path)
    both = {**headers.sci, **headers.primary}
    return {name: both.get(name, none) for name, none in KEYWORDS.items()}


def flags(path):
    """Fractions of the pixels with each data quality flag, and without a value (NO_VALUE); a cube's over all its planes."""
    with fitsio.open_fits(path) as hdus:
        found = {}
        if "DQ" in hdus or "PIXELDQ" in hdus:
            found = _fractions(_planes(hdus["DQ"]) if "DQ" in hdus else _ramp_planes(hdus))
        if "SCI" in hdus and len(hdus["SCI"].shape) in (2, 3):
            sci = hdus["SCI"]
            found["NO_VALUE"] = sum(int(np.count_nonzero(~np.isfinite(values))) for values in _planes(sci)) / int(np.prod(sci.shape))
        return found


def _fractions(planes):
    """Fractions of the pixels with each of the flags that any pixel has; the best known flags are said in any case."""
    counts, pixels = dict.fromkeys(ALWAYS, 0), 0
    for values in planes:
        values = fitsio.native(values).astype(np.uint32, copy=False)
        pixels += values.size
        present = int(np.bitwise_or.reduce(values, axis=None))
        for name, bit in dq.BY_NAME.items():
            if present & bit:
                counts[name] = counts.get(name, 0) + int(np.count_nonzero(values & np.uint32(bit)))
    return {name: count / max(pixels, 1) for name, count in counts.items()}


def _planes(hdu):
    """The planes of an image or cube, read one at a time."""
    if len(hdu.shape) == 2:
        yield hdu.data
    else:
        for number in range(hdu.shape[0]):
            yield hdu.section[number]


def _ramp_planes(hdus):
    """Flags of a ramp, one plane an integration: those of the pixel and of any of its groups."""
    pixels = fitsio.native(hdus["PIXELDQ"].data)
    if "GROUPDQ" not in hdus:
        yield pixels
        return
    groups = hdus["GROUPDQ"]
    for number in range(groups.shape[0]):
        yield pixels | np.bitwise_or.reduce(groups.section[number], axis=0)
