"""Move the PSF references onto the star of each science exposure, and the science exposures onto each other."""

import logging
import os
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np

from ..arithmetic.coronagraph import star
from ..arithmetic.coronagraph.cubes import as_cube, bits_of, check_shape, filled
from ..arithmetic.coronagraph.registration import Reference, moved
from ..model.exposure import Pixels
from ..vocabulary import dq
from ..vocabulary.errors import ReferenceError, Skip
from ..vocabulary.parameters import Range

log = logging.getLogger(__name__)

TAKES = "members"
REFERENCES = ("psfmask",)
MEMBERS = ("psf",)
MOTIONS = np.dtype([("integration", "i4"), ("dx", "f8"), ("dy", "f8"), ("scale", "f8"), ("left", "f8")])
DOUBTFUL = 0.9  # of the image is left: it does not look like the other one


@dataclass
class Aligned:
    """What the steps after this one need: `members.prepared["align_refs"]`.

    Attributes
    ----------
    box, bits : as in `cubes.filled`
    references : list of Exposure, for each science exposure
    usable : numbers of the integrations that have pixels
    stars : x and y of the star in each science exposure, pixels from 0
    """

    box: int
    bits: int
    references: list = field(default_factory=list)
    usable: np.ndarray = None
    stars: list = field(default_factory=list)


def apply(
    members,
    refs,
    *,
    median_box_length: Annotated[int, Range(min=0)] = 3,
    bad_bits: str = "DO_NOT_USE",
    align_rolls: bool = True,
):
    """Align the PSF references.

    Each integration of the stack is compared with the first integration of a science exposure that has pixels, weighted by the mask's
    transmission: the motion and the brightness for which the squared differences are least (`registration`, in double precision). It
    is moved back by the Fourier shift theorem, its ERR too. Bad pixels are filled before, so that none spreads over the image.
    A star that is beside its mask, or not where it should be behind it, of the science or of a reference, is told in the log.

    Parameters
    ----------
    members : exposure.Members
        After stack_refs.
    refs : References
        psfmask: SCI, the transmission of the mask (row, col).
    median_box_length : int
        Side of the square about a bad pixel whose good pixels' median it gets, pixels; where there is none it grows.
    bad_bits : str
        Data quality bits of bad pixels.
    align_rolls : bool
        Find the star in each science exposure by where its references are in it and in the first one, and move the WCS so that all
        have it at one place on the sky: a planet is then where it should be in the sum of several rolls. False: as jwst, the WCS are
        trusted.

    Returns
    -------
    list
        The members, and for each science exposure the aligned stack: SCI and ERR (int, row, col), suffix "psfalign"; its table MOTIONS has
        what each integration was moved by (pixels), its brightness over the science's and how much of it the fit leaves.

    Raises
    ------
    Skip
        There is no stack.
    ReferenceError
        The psfmask is of other pixels.
    """
    stack = members.prepared.get("stack_refs")
    if stack is None:
        raise Skip("there is no stack of PSF references")
    mask = _mask(refs["psfmask"], stack.sci.shape[1:])
    found = Aligned(median_box_length, bits_of(bad_bits))
    planes, errors = _filled_stack(members, stack, found)
    first = None
    for number, exposure in enumerate(members.each("science")):
        as_cube(exposure)
        check_shape(exposure.sci.shape, stack.sci.shape, exposure.name)
        image, flags = _first_image(exposure, found)
        if image is None:
            log.warning("%s: no integration has a good pixel: its PSF references stay where they are", exposure.name)
        else:
            if number == 0:
                _warn_of_references(exposure, planes, stack.dq, found.usable, mask)
            _warn_of_science(exposure, image, flags, mask)
        aligned = _align(members, number, exposure, stack, (planes, errors), image, mask, found.usable)
        found.references.append(aligned)
        place = star.planned(exposure)
        motions = aligned.tables["MOTIONS"][found.usable]
        if image is not None and align_rolls and first is not None:
            place = _align_roll(exposure, motions, first)
        elif image is not None and first is None:
            first = motions, place, exposure.wcs and exposure.wcs(*place, with_bounding_box=False)
        found.stars.append(place)
    members.prepared["align_refs"] = found
    return [members, *found.references]


def _mask(reference, shape):
    """The weights; the file's subarray keywords matter only where it is larger than the images."""
    mask = reference.uncut("SCI") if reference.shape("SCI") == shape else reference.array("SCI")
    if mask.shape != shape or not np.isfinite(mask).all():
        raise ReferenceError(
            f"the psfmask is an image of the shape {mask.shape}, finite weights of the shape {shape} were expected",
            reference.path,
            "Give one for this mask and subarray under references: overrides",
        )
    return mask


def _filled_stack(members, stack, found):
    """The stack without bad pixels, SCI and ERR; which of its integrations have pixels is noted."""
    planes, errors = (members.room(f"filled.{name}", stack.sci.shape) for name in ("sci", "err"))
    usable = []
    for number, flags in enumerate(stack.dq):
        plane = filled(stack.sci[number], flags, found.bits, found.box)
        if plane is None:
            log.warning("Integration %d of the PSF references has no good pixel: it is left out", number + 1)
            planes[number] = errors[number] = np.nan
            continue
        usable.append(number)
        planes[number] = plane
        error = filled(stack.err[number], flags, found.bits, found.box)
        errors[number] = 0 if error is None else error
    found.usable = np.array(usable, int)
    return planes, errors


def _first_image(exposure, found):
    """The first integration that has pixels, filled, and its flags."""
    for number, plane in enumerate(exposure.sci):
        flags = None if exposure.dq is None else exposure.dq[number]
        image = filled(plane, flags, found.bits, found.box)
        if image is not None:
            return image, flags
    return None, None


BESIDE = "a star outshines all else, %.0f pixels from the mask: it was not put under it, or is a bright neighbour"
ASTRAY = "its light comes through the mask on one side, %.0f pixels from the star's place: the star was not put there"


def _astray(exposure, image, flags, mask):
    saturated = None if flags is None else (flags & np.uint32(dq.SATURATED)) != 0
    return star.astray(image, star.planned(exposure), mask, star.resolution(exposure.header), saturated)


def _warn_of_science(exposure, image, flags, mask):
    found = _astray(exposure, image, flags, mask)
    if found is not None:
        away, outside = found
        log.warning(f"%s: {BESIDE if outside else ASTRAY}", exposure.name, away)


def _warn_of_references(exposure, planes, flags, usable, mask):
    """All of them are looked at from the place where the telescope puts a star, which is one for all."""
    seen = {int(number) + 1: _astray(exposure, planes[number], flags[number], mask) for number in usable}
    for text, where in ((BESIDE, True), (ASTRAY, False)):
        away = {number: found[0] for number, found in seen.items() if found is not None and found[1] == where}
        if away:
            which = ", ".join(map(str, away))
            log.warning(f"PSF references, integration %s: {text}. Leave them out of the association", which, max(away.values()))


def _align(members, number, exposure, stack, filled_stack, image, mask, usable):
    """The stack on the star of one science exposure."""
    planes, errors = filled_stack
    sci, err = (members.room(f"psfalign{number}.{name}", planes.shape) for name in ("sci", "err"))
    motions = np.zeros(len(planes), MOTIONS)
    motions["integration"] = np.arange(len(planes)) + 1
    reference = None if image is None else Reference(image, mask)
    sci[...], err[...] = planes, errors
    for plane in usable if reference is not None else ():
        motion = reference.motion_of(planes[plane])
        motions[plane] = plane + 1, motion.dx, motion.dy, motion.scale, motion.left
        sci[plane], err[plane] = (moved(array[plane], -motion.dx, -motion.dy) for array in (planes, errors))
    aligned = stack.derive([Pixels(sci=sci, err=err, dq=np.zeros(sci.shape, np.uint32))], "psfalign")
    aligned.tables = {"MOTIONS": motions}
    aligned.product = os.path.basename(exposure.name).rpartition("_")[0]
    if len(usable) and reference is not None:
        told = motions[usable]
        log.info("%s: %d references were off by up to %.3f pixel", exposure.name, len(usable), np.hypot(told["dx"], told["dy"]).max())
        if (told["left"] > DOUBTFUL).any():
            log.warning("%s: %d references do not look like it", exposure.name, (told["left"] > DOUBTFUL).sum())
    return aligned


def _align_roll(exposure, motions, first):
    """Find the star in an exposure, and move its WCS so that it is where the first exposure has it; returns x and y.

    The references were found relative to the star in both exposures: the mean of the differences tells how far apart the stars are.
    """
    others, place, sky = first
    good = (motions["left"] < DOUBTFUL) & (others["left"] < DOUBTFUL)
    if not good.any():
        log.warning("%s: the star was not found by its references: the WCS stays as it is", exposure.name)
        return star.planned(exposure)
    at = tuple(float(p + np.median((others[axis] - motions[axis])[good])) for p, axis in zip(place, ("dx", "dy"), strict=True))
    if sky is None or exposure.wcs is None:
        return at
    by = star.put_on(exposure, at, sky)
    log.info("%s: the star is at x = %.3f, y = %.3f, its WCS was moved by %.3f, %.3f pixel", exposure.name, *at, *by)
    return at
