"""Flat-field the slices of an integral field unit: one image, each slice with its own wavelengths."""

import logging

import numpy as np

from ...model import named_files
from ...model.exposure import Pixels
from ...vocabulary import dq as bits
from ...vocabulary.errors import ConfigError
from . import nirspec_flat
from .flat_slits import as_flat, divide, needs_some
from .nirspec_flat import Flat, Window
from .slices import each_slice

log = logging.getLogger(__name__)


def correct(exposure, refs, *, user_supplied_flat, save, inverse, **_):
    """Flat-field an exposure; see `flat_slits.correct`.

    Pixels between the slices are DO_NOT_USE.
    """
    flat = _of_user(user_supplied_flat, exposure) if user_supplied_flat else _made(refs, exposure)
    divide(exposure, flat, inverse)
    if not save:
        return None
    dark = flat.flags & bits.DO_NOT_USE != 0
    value, error = (np.where(dark, np.float32(np.nan), plane) for plane in (flat.value, flat.error))
    return [Pixels(sci=value, err=error, dq=flat.flags)]


def _made(refs, exposure):
    needs_some(refs)
    shape = exposure.sci.shape[-2:]
    whole = Flat(np.ones(shape, np.float32), np.zeros(shape, np.float32), np.full(shape, bits.DO_NOT_USE, np.uint32))
    for window, wavelength in each_slice(exposure):
        lit = np.isfinite(wavelength)
        for plane, part in zip(whole, nirspec_flat.make(refs, wavelength, Window(*window)), strict=True):
            plane[window][lit] = part[lit]
    return whole


def _of_user(path, exposure):
    images = named_files.images(path, "user_supplied_flat", ("SCI", "ERR", "DQ"))
    if len(images) != 1:
        raise ConfigError(f"user_supplied_flat has {len(images)} flats, one was expected", path, "Give the interpolatedflat of an exposure")
    return as_flat(images[0], exposure.sci.shape[-2:], path)
