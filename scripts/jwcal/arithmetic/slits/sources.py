"""Which slits of which exposures show one source, and what its products are called."""

import copy
import logging

import numpy as np

from ...vocabulary.errors import InputError
from .lit import is_lit

log = logging.getLogger(__name__)

BACKGROUND = "BKG"  # in the name of a slitlet that was opened on empty sky


def by_source(exposure, room):
    """Take an exposure apart: each slit as an exposure of its own whose arrays are copies.

    One of which hardly any light is on the detector is left out, as others' files have it.

    Parameters
    ----------
    exposure : Exposure
        Of slits.
    room : callable
        room((n,), dtype) gives an array; it is asked once for each type, for all slits.

    Yields
    ------
    (key, Exposure)
        What slits of one source have in common, and the slit.

    Raises
    ------
    InputError
        A slit does not say which source it is of.
    """
    held = [_arrays(pixels) for pixels in exposure.pixels]
    sizes = {}
    for arrays in held:
        for _, array in arrays:
            sizes[array.dtype] = sizes.get(array.dtype, 0) + array.size
    rooms = {kind: (room((size,), kind), [0]) for kind, size in sizes.items()}
    for slit, arrays in zip(exposure.slits(), held, strict=True):
        key = _key(slit)
        wavelength = slit.extra.get("WAVELENGTH")
        if wavelength is not None and not is_lit(wavelength):
            log.warning("%s: slit %s is hardly on the detector: it is left out", exposure.name, slit.header.sci.get("SLTNAME", ""))
            continue
        alone = slit.derive([copy.copy(slit.only)], slit.suffix)
        for name, array in arrays:
            whole, used = rooms[array.dtype]
            place = whole[used[0] : used[0] + array.size].reshape(array.shape)
            place[...] = array
            used[0] += array.size
            alone.only.put(name, place)
        yield key, alone


def _arrays(pixels):
    """(name, array) of all planes and maps of a slit."""
    maps = [(name, array) for name, array in pixels.extra.items() if isinstance(array, np.ndarray) and array.dtype.names is None]
    return [*pixels.planes(), *maps]


def _key(slit):
    name = str(slit.header.sci.get("SRCNAME") or "").strip()
    number = slit.header.sci.get("SOURCEID")
    if not name and number is None:
        what = f"the slit {slit.header.sci.get('SLTNAME', '')} has no SOURCEID"
        raise InputError(what, slit.name, "Make the cal file again")
    return name or int(number)


def sort_key(slit):
    """Sources come in the order of their numbers."""
    return int(slit.header.sci.get("SOURCEID") or 0), str(slit.header.sci.get("SRCNAME") or "")


def name_of(slits, pattern):
    """The name of a source's products, as the archive's.

    Parameters
    ----------
    slits : list of Exposure
        Of one source.
    pattern : str
        With {source_id} and {slit_name}; a name without is followed by the slits and the source.

    Returns
    -------
    str
        The source's number has nine digits after "s", after "b" for a slitlet on empty sky, after "v" for a place without a source
        in the catalogue, whose number is negative.
    """
    header = slits[0].header.sci
    number, name = int(header.get("SOURCEID") or 0), str(header.get("SRCNAME") or "")
    letter = "b" if BACKGROUND in name else "v" if number < 0 else "s"
    source = f"{letter}{abs(number):09d}"
    slit = "-".join(dict.fromkeys(str(s.header.sci.get("SLTNAME", "")).strip().lower() for s in slits))
    if "{" not in pattern:
        return f"{pattern}_{slit}_{source}"
    return pattern.replace("{source_id}", source).replace("{slit_name}", slit)
