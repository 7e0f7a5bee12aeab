"""Flat-field slits: each by the flat that is put together at its pixels' wavelengths."""

import logging

import numpy as np

from ...kernels.images import flat_field as kernel
from ...model import named_files
from ...model.exposure import Pixels
from ...vocabulary import dq as bits
from ...vocabulary.errors import ConfigError, Skip
from . import nirspec_flat
from .nirspec_flat import Flat, Window
from .wavelengths import uncorrected, wavelengths

log = logging.getLogger(__name__)

POINT = "POINT"


def correct(exposure, refs, *, kind, keep_both, user_supplied_flat, save, inverse):
    """Flat-field all slits of an exposure; arguments are those of `steps.flat_field`, `save` is its save_interpolated_flat.

    The flat of a point source is that at its corrected wavelengths. Of shutters tables have one row for all.

    Returns
    -------
    list of Pixels, or None where nothing is to be saved

    Raises
    ------
    Skip
        There is no flat.
    """
    slits = list(exposure.slits())
    flats = _of_user(user_supplied_flat, slits) if user_supplied_flat else _made(refs, slits, kind == "shutters", keep_both)
    for slit, (flat, both) in zip(slits, flats, strict=True):
        divide(slit, flat, inverse)
        slit.extra.update(both)
    return [_shown(slit, flat) for slit, (flat, _) in zip(slits, flats, strict=True)] if save else None


def divide(slit, flat, inverse):
    """Divide one grid of pixels by a flat, or multiply it."""
    for name, plane in slit.pixels[0].planes():
        setattr(slit, name, np.ascontiguousarray(plane))
    slit.var_flat = kernel.correct(
        *(slit.sci, slit.err, slit.var_poisson, slit.var_rnoise, slit.dq),
        *(flat.value, flat.error, flat.flags, inverse, bits.NO_FLAT_FIELD, bits.DO_NOT_USE),
    )


def needs_some(refs):
    """Raise `Skip` where none of the three references is there."""
    if not any(kind in refs for kind in nirspec_flat.TYPES):
        raise Skip("there is no flat reference: neither fflat, sflat nor dflat")


def _made(refs, slits, shutters, keep_both):
    """(flat, what is kept of it) of each slit, before anything is changed."""
    needs_some(refs)
    return [_made_for(refs, slit, shutters, keep_both) for slit in slits]


def _made_for(refs, slit, shutters, keep_both):
    window = window_of(slit, shutters)
    flat = nirspec_flat.make(refs, wavelengths(slit), window)
    if not (keep_both and slit.header.get("SRCTYPE") == POINT):
        return flat, {}
    uniform = nirspec_flat.make(refs, uncorrected(slit), window)
    return flat, {"FLATFIELD_PS": flat.value, "FLATFIELD_UN": uniform.value}


def window_of(slit, shutters):
    """The `Window` of a slit."""
    first = [int(slit.header[f"SLTSTRT{axis}"]) - 1 for axis in (2, 1)]
    rows, columns = (slice(start, start + size) for start, size in zip(first, slit.sci.shape[-2:], strict=True))
    if shutters:
        return Window(rows, columns, shutter=nirspec_flat.shutter_of(slit))
    return Window(rows, columns, name=str(slit.header["SLTNAME"]))


def _of_user(path, slits):
    """The flats in a file that save_interpolated_flat left, a slit after the other."""
    images = named_files.images(path, "user_supplied_flat", ("SCI", "ERR", "DQ"))
    if len(images) != len(slits):
        what = f"user_supplied_flat has {len(images)} flats, the exposure {len(slits)} slits"
        raise ConfigError(what, path, "Give the interpolatedflat of an exposure with the same slits")
    return [(as_flat(found, slit.sci.shape[-2:], path), {}) for found, slit in zip(images, slits, strict=True)]


def as_flat(found, shape, path):
    """A `Flat` of the images of a file."""
    value = found["SCI"]
    if value.shape != shape:
        what = f"a flat of user_supplied_flat has the shape {value.shape}, its slit {shape}"
        raise ConfigError(what, path, "Give the interpolatedflat of an exposure with the same slits")
    error, flags = found.get("ERR", np.zeros(shape)), found.get("DQ", np.zeros(shape))
    return Flat(value.astype(np.float32), error.astype(np.float32), flags.astype(np.uint32))


def _shown(slit, flat):
    """The flat of one slit as a product has it."""
    found = np.nan_to_num(slit.extra.get("WAVELENGTH", np.zeros(flat.value.shape, np.float32)), nan=0.0)
    header = slit.header.sci.copy()
    header.remove("BUNIT", ignore_missing=True)
    return Pixels(
        sci=flat.value, err=flat.error, dq=flat.flags, extra={"WAVELENGTH": found}, header=header, wcs=slit.wcs, about=dict(slit.about)
    )
