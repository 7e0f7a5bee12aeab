"""Slits and sources: an image or a cube each, with keywords, maps and a WCS of its own.

An extension of slit n has EXTVER n. What FITS keywords do not tell stands in the ASDF extension: in `slits`, one entry a slit, of a
MultiSlitModel, in `exposures`, one a slit of a source, of a MultiExposureModel, and beside `meta` of a SlitModel, which has one slit.
The slits of a source are of several exposures: the keywords of each one's exposure, of which the primary header has only one, stand in its
entry too, by the names of the data models.
"""

from ..files import fitsio
from ..vocabulary import keywords
from . import stored

ABOUT = ("is_extended", "xcen", "ycen", "slit_ymin", "slit_ymax")  # what stdatamodels knows of a slit without a keyword

SLIT = {"model_type": "SlitModel"}  # what each of several is
SEVERAL = {"MultiSlitModel": "slits", "MultiExposureModel": "exposures"}  # models that hold any number of slits -> where


def fill(exposure, hdus):
    """Give the slits of an exposure their WCS and `about`, from the ASDF extension of its file.

    Parameters
    ----------
    exposure : Exposure
        Its pixels are those of the SCI extensions, in their order.
    hdus : HDUList
    """
    entries = fitsio.asdf_tree(hdus, exposure.name, _entries)
    numbers = [hdu.ver for hdu in hdus if hdu.name == "SCI"]
    for pixels, number in zip(exposure.pixels, numbers, strict=True):
        if number <= len(entries):
            pixels.wcs, pixels.about = entries[number - 1]


def _entries(tree):
    """(WCS, about) of each slit in a tree."""
    slits = next((tree[among] for among in SEVERAL.values() if among in tree), [tree])
    return [(slit.get("meta", {}).get("wcs"), {name: slit[name] for name in ABOUT if name in slit}) for slit in slits]


def hdus(exposure, filename):
    """The HDU list of an exposure's slits; see `stored.hdus`."""
    if len(exposure.pixels) == 1 and exposure.only.header is not None:
        exposure.header.sci = exposure.only.header  # which a step may have replaced
    among = SEVERAL.get(stored.model(exposure))
    if among is None:
        return stored.hdus(exposure, filename, _entry(exposure.only))
    of_exposures = among == SEVERAL["MultiExposureModel"]
    slits = [_entry(pixels, (_of_exposure(pixels.header) if of_exposures else {}) | SLIT) for pixels in exposure.pixels]
    return stored.hdus(exposure, filename, {"meta": {}, among: slits} if any(slits) else {})


def _of_exposure(header):
    """The keywords of an exposure as data models name them: {"instrument": {"name": "NIRSPEC"...}...}."""
    tree = {}
    for path, (keyword, extension, _) in keywords.core().items():
        if extension != "PRIMARY" or keyword not in header or not path.startswith("meta."):
            continue
        _, *among, name = path.split(".")
        place = tree
        for part in among:
            place = place.setdefault(part, {})
        place[name] = header[keyword]
    return tree


def _entry(pixels, meta=None):
    """What the ASDF extension says of one slit."""
    about = {name: value for name, value in pixels.about.items() if name in ABOUT}
    meta = {**(meta or {}), **({} if pixels.wcs is None else {"wcs": pixels.wcs})}
    return {"meta": meta, **about} if meta else about
