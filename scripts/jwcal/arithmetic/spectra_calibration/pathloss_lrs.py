"""Slit losses of MIRI's prism: the reference has the factor by which a point source at a place in the slit has to be multiplied."""

import logging

import numpy as np

from ...vocabulary.errors import InputError, ReferenceError, Skip
from .apply_map import multiply
from .slit_loss import at_place, on_pixels
from .wavelengths import wavelengths

log = logging.getLogger(__name__)

TABLE = "PATHLOSS"
COLUMNS = ("WAVELENGTH", "PATHLOSS")
MIDDLE = (0.0, 0.0)
ARCSEC = 3600.0  # in a degree


def correct(exposure, reference, *, inverse, source_type, user_slit_loc, **_):
    """Correct an exposure with one slit; arguments are those of `steps.pathloss`.

    Raises
    ------
    Skip
        The source is extended.
    ReferenceError
        The table is not one of slit losses.
    InputError
        The exposure has no WCS of a slit.
    """
    kind = (source_type or str(exposure.header.get("SRCTYPE", ""))).upper()
    if kind != "POINT":
        raise Skip(f"the source is {kind or 'of no known type'}: only a point source loses light that its type does not account for")
    wavelength = wavelengths(exposure)
    at, cube = _table(reference)
    x, y = _target(exposure)
    if user_slit_loc is not None:
        y += user_slit_loc / _scale(exposure)
    loss = at_place(cube, reference.keywords(TABLE), x, y, reference.path)
    if loss is None:
        log.warning(
            "%s: the target, %.2f, %.2f pixels from the slit's middle, is outside it: corrected as in the middle", exposure.name, x, y
        )
        loss = at_place(cube, reference.keywords(TABLE), *MIDDLE, reference.path)
        if loss is None:
            raise ReferenceError("the pathloss reference does not cover the slit's middle", reference.path, "Give another one")
    factor = on_pixels(wavelength, at, loss).astype(np.float32)  # as it is saved
    multiply(exposure, factor, factor * factor, divide=inverse)
    exposure.pixels[0].extra["PATHLOSS_PS"] = factor
    log.info("Slit losses of a source at %.3f, %.3f pixels: factors of %.4f to %.4f", x, y, np.nanmin(factor), np.nanmax(factor))


def _table(reference):
    rows = reference.table(TABLE)
    names = {name.upper(): name for name in rows.dtype.names}
    missing = [name for name in COLUMNS if name not in names]
    if missing or not len(rows):
        what = f"the pathloss reference's table {TABLE} has no {' and no '.join(missing) or 'rows'}"
        raise ReferenceError(what, reference.path, "Give the one of the prism's slit")
    return tuple(rows[names[name]] for name in COLUMNS)


def _middle(exposure):
    """The pixel (x, y) from which the specwcs counts, counted from 0: it is in the first two shifts of the WCS."""
    if exposure.wcs is None:
        raise InputError("there is no gWCS in it", exposure.name, "Run assign_wcs first")
    model = exposure.wcs.get_transform("detector", "world")
    try:
        return -float(model.offset_1.value), -float(model.offset_2.value)
    except AttributeError:
        raise InputError("its gWCS is not that of a slit", exposure.name, "Run assign_wcs on it") from None


def _target(exposure):
    """Where the target is, in pixels along (x) and across (y) the slit from its middle: measured (SRCXPOS, SRCYPOS), or as planned."""
    middle = np.array(_middle(exposure))
    measured = [exposure.header.get(key) for key in ("SRCXPOS", "SRCYPOS")]
    if None not in measured:
        return tuple(np.array(measured, float) - middle)
    wcs = exposure.wcs
    *_, wavelength = wcs.get_transform("detector", "world")(*middle)
    place = wcs.get_transform("world", "detector")(exposure.header["TARG_RA"], exposure.header["TARG_DEC"], wavelength)
    return tuple(np.array(place[:2], float) - middle)


def _scale(exposure):
    """Arcsec of a pixel along the slit, at its middle."""
    x, y = _middle(exposure)
    ra, dec, _ = exposure.wcs(np.array([x, x + 1]), np.array([y, y]), with_bounding_box=False)
    ra, dec = np.radians(ra), np.radians(dec)
    half = np.sin((dec[1] - dec[0]) / 2) ** 2 + np.cos(dec[0]) * np.cos(dec[1]) * np.sin((ra[1] - ra[0]) / 2) ** 2
    return float(np.degrees(2 * np.arcsin(np.sqrt(half))) * ARCSEC)
