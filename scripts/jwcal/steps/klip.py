"""Subtract the star by its PSF references, and tell how faint a planet could be seen."""

import logging
from typing import Annotated

import numpy as np

from ..arithmetic.coronagraph import contrast as curves
from ..arithmetic.coronagraph import star
from ..arithmetic.coronagraph.cubes import as_cube, check_shape, filled
from ..arithmetic.coronagraph.subtraction import Subtraction, zones
from ..vocabulary import dq
from ..vocabulary.errors import ConfigError, InputError, Skip
from ..vocabulary.parameters import Range

log = logging.getLogger(__name__)

TAKES = "members"
OPTIONAL = ("psfmask",)
MEMBERS = ("psf",)
USUAL_BOX = 3  # pixels: where align_refs has not filled the bad ones


def apply(
    members,
    refs,
    *,
    truncate: Annotated[int, Range(min=0)] = 50,
    fit_inner: Annotated[float, Range(min=0)] = 0.0,
    fit_outer: float | None = None,
    annulus_width: Annotated[float, Range(min=0)] = 0.0,
    annulus_modes: list | None = None,
    contrast: bool = True,
    fwhm: float | None = None,
    star_flux: float | None = None,
):
    """Subtract the star from each integration (Soummer, Pueyo & Larkin 2012, ApJ 755, L28).

    The star's image is the projection of the integration on the first principal images of the aligned references, each without its mean.
    ERR becomes the standard deviation of what is left of the references when they are treated alike; if all principal images are used
    (so that nothing would be left) of each reference as the others fit it. Bad pixels are filled and keep their flags.

    Parameters
    ----------
    members : exposure.Members
        After align_refs, or if that was skipped after stack_refs.
    refs : References
        psfmask: SCI, the transmission of the mask; optional, for the contrast curve.
    truncate : int
        Principal images that are used, at most.
    fit_inner, fit_outer : float
        Distances from the star between which it is fitted, pixels; what lies beyond is subtracted but has no say.
    annulus_width : float
        Width of rings about the star that have principal images of their own, pixels; 0: one set for all.
    annulus_modes : list of int
        With rings: principal images of each, at most, from the inside outwards; the last is for all further ones.
    contrast : bool
        Make the contrast curve; see `arithmetic.coronagraph.contrast.curve`.
    fwhm : float
        Of a planet's image, pixels; None: 1.03 wavelengths over 6.5 m, by FILTER.
    star_flux : float
        Jy, of the star as if there were no mask; None: limits are told as fluxes alone.

    Returns
    -------
    list
        The members, with SCI and ERR changed; with `contrast` also a table, suffix "contrast".

    Raises
    ------
    Skip
        There are no PSF references, or none has a good pixel.
    InputError
        A member has other pixels than the references.
    ConfigError
        annulus_modes can't be used.
    """
    found, stack = members.prepared.get("align_refs"), members.prepared.get("stack_refs")
    if stack is None:
        raise Skip("there are no PSF references: no star is subtracted")
    modes = _modes(annulus_modes, annulus_width)
    shared = None if found else _unaligned(members, stack)
    if not (len(found.usable) if found else len(shared)):
        raise Skip("none of the PSF references has a good pixel: no star is subtracted")
    box, bits = (found.box, found.bits) if found else (USUAL_BOX, dq.DO_NOT_USE)
    views = []
    for number, exposure in enumerate(members.each("science", keep=("sci", "err"))):
        as_cube(exposure)
        check_shape(exposure.sci.shape, stack.sci.shape, exposure.name)
        at = found.stars[number] if found else star.planned(exposure)
        references = shared if shared is not None else _usable(members, found, number)
        parts = zones(exposure.sci.shape[1:], at, truncate, fit_inner, fit_outer, annulus_width, modes)
        if any(not (part.fit.stop if isinstance(part.fit, slice) else part.fit.size) for part in parts):
            raise ConfigError("no pixel lies between fit_inner and fit_outer of klip", do="Give distances from the star in pixels")
        subtraction = Subtraction(references, parts)
        there = _subtract(exposure, subtraction, box, bits)
        _tell(exposure, subtraction, there, truncate)
        if contrast and there.any():
            views.append(_view(exposure, at, subtraction, there))
    if not contrast:
        return members
    shell = members.shells("science")[0]
    table = shell.aside("contrast")
    table.catalogue = curves.curve(views, shell.header, _transmission(refs, stack.sci.shape[1:]), fwhm, star_flux)
    return [members, table]


def _modes(given, width):
    if given is None:
        return None
    if not width:
        raise ConfigError("annulus_modes of klip is given without annulus_width", do="Give the rings' width in pixels, or none of both")
    if not given or any(isinstance(m, bool) or int(m) != m or m < 0 for m in given):
        raise ConfigError(f"annulus_modes of klip has to be numbers of principal images, it is {given}", do="Write it like [5, 10, 20]")
    return [int(m) for m in given]


def _unaligned(members, stack):
    """The stack without bad pixels as it is, for where align_refs was skipped."""
    kept = [number for number, plane in enumerate(stack.sci) if np.isfinite(plane).any()]
    out, last = members.room("filled.sci", (len(kept), *stack.sci.shape[1:])), 0
    for number in kept:
        plane = filled(stack.sci[number], stack.dq[number], dq.DO_NOT_USE, USUAL_BOX)
        if plane is not None:
            out[last] = plane
            last += 1
    return out[:last]


def _usable(members, found, number):
    """The aligned references of a science exposure that have pixels."""
    sci = found.references[number].sci
    if len(found.usable) == len(sci):
        return sci
    out = members.room("usable", (len(found.usable), *sci.shape[1:]))
    for place, which in enumerate(found.usable):
        out[place] = sci[which]
    return out


def _subtract(exposure, subtraction, box, bits):
    """Subtract the star from all integrations; returns which of them have pixels, bool."""
    there = np.zeros(len(exposure.sci), bool)
    exposure.sci = np.array(exposure.sci, np.float32)  # its own, in one piece
    for number, plane in enumerate(exposure.sci):
        image = filled(plane, None if exposure.dq is None else exposure.dq[number], bits, box)
        there[number] = image is not None
        if image is not None:
            exposure.sci[number] = image
    if there.all():
        subtraction.subtract(exposure.sci)
    elif there.any():
        good = exposure.sci[there]
        subtraction.subtract(good)
        exposure.sci[there] = good
    error = subtraction.error()
    if error is not None:
        exposure.err = np.array(np.broadcast_to(error, exposure.sci.shape))
    exposure.sci[~there], exposure.err[~there] = np.nan, np.nan
    return there


def _tell(exposure, subtraction, there, truncate):
    if not there.all():
        log.warning("%s: %d of %d integrations have no good pixel: they are left out", exposure.name, np.sum(~there), there.size)
    if subtraction.number < truncate:
        log.info("%s: %d references, so no more than %d principal images", exposure.name, subtraction.number, max(subtraction.counts))
    log.info("%s: the star was subtracted by up to %d principal images", exposure.name, max(subtraction.counts))


def _view(exposure, at, subtraction, there):
    """What the contrast curve needs of an exposure: the mean of its integrations, good pixels alone."""
    bad = ~np.isfinite(exposure.sci)
    if exposure.dq is not None:
        bad |= (exposure.dq & np.uint32(dq.DO_NOT_USE)) != 0
    count = np.sum(~bad, axis=0)
    total = np.sum(np.where(bad, 0, exposure.sci), axis=0, dtype=float)
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)
    if exposure.wcs is None:
        raise InputError("there is no gWCS in it", exposure.name, "Run assign_wcs, or switch the contrast of klip off")
    return curves.View(mean, int(there.sum()), at, star.directions(exposure.wcs, at), subtraction)


def _transmission(refs, shape):
    reference = refs.get("psfmask") if refs else None
    if reference is None:
        return None
    mask = reference.uncut("SCI") if reference.shape("SCI") == shape else reference.array("SCI")
    return mask if mask.shape == shape else None
