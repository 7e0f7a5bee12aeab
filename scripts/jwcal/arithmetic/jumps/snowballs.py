"""Snowballs: large round events, mostly of ions, that saturate in the middle. What is flagged of them is only a part of what they spoil.

Source: Regan 2023, JWST-STScI-008545 (detection and flagging of snowballs and showers); the outlines are ellipses of equal moments.
"""

import logging
from typing import NamedTuple

import numpy as np

from ...machine.threads import side_by_side
from ...vocabulary.dq import JUMP_DET, SATURATED
from . import ellipses, events

log = logging.getLogger(__name__)

JUMP, FULL = np.uint8(JUMP_DET), np.uint8(SATURATED)


class Options(NamedTuple):
    """How snowballs are found and how far they grow; lengths in pixels, areas in pixels."""

    core_area: float  # at least, for saturation to make a snowball
    jump_area: float  # at least, for jumps to be one
    growth: float  # of the minor axis of the jumps, a factor; the major axis grows by as much
    core_required: bool
    core_axis: float  # minor axis of saturation beyond which it grows
    core_growth: float  # of both axes of the saturation
    edge: float  # nearer to the frame's edge no core is required: it may lie beyond
    longest: float  # axis


def flag_snowballs(
    exposure,
    *,
    min_sat_area,
    min_jump_area,
    expand_factor,
    sat_required_snowball,
    min_sat_radius_extend,
    sat_expand,
    edge_size,
    mask_snowball_core_next_int,
    snowball_time_masked_next_int,
    max_extended_radius,
    **_,
):
    """Find the snowballs among the jumps of whole integrations, flag more around them, and their cores in the next integration.

    The parameters are those of the jump step.
    """
    options = Options(
        min_sat_area,
        min_jump_area,
        expand_factor,
        sat_required_snowball,
        min_sat_radius_extend,
        2 * sat_expand,
        edge_size,
        2 * max_extended_radius,
    )
    groups = int(snowball_time_masked_next_int // float(exposure.header["TGROUP"])) if mask_snowball_core_next_int else 0
    last, total = None, 0
    for block in exposure.blocks(keep=True):
        count = 0
        for flags in block.groupdq:
            found, cores = grow(flags, options)
            count += found
            if last is not None:
                flags[1:groups, last] |= JUMP
            last = cores
        events.record(block, count)
        total += count
    log.info("%d snowballs", total)


def grow(flags, options):
    """Flag more around the snowballs of an integration.

    Parameters
    ----------
    flags : ndarray of uint8, (group, row, col)
        Changed: JUMP_DET around the jumps, in the group of the snowball; SATURATED, and nothing else, around a core from then on.
    options : Options

    Returns
    -------
    int
        Snowballs found; one that shows in two groups counts twice.
    cores : ndarray of bool, (row, col)
        Saturated cores large enough to grow, as they were before.
    """
    shape, count = flags.shape[1:], 0
    cores = np.zeros(shape, bool)
    for g in range(1, len(flags)):
        now = flags[g]
        snowballs, saturated = _find(flags, g, options)
        for core in saturated:
            _grow_core(flags[g:], cores, core, options)
        count += len(snowballs)
        for ball in snowballs:
            box, inside = ellipses.footprint(ball, *ellipses.grown(ball, options.growth, options.longest), shape)
            now[box][inside & (now[box] & FULL == 0)] |= JUMP
    return count, cores


def _find(flags, g, options):
    """Ellipses of the snowballs that fall before group g, and of the saturation that begins in it and belongs to them."""
    wanted = [(flags[g], JUMP, options.jump_area)]
    if options.core_required:
        wanted += [(flags[k], FULL, options.core_area, flags[k - 1], FULL) for k in (g, g + 1) if k < len(flags)]
    jumps, *full = side_by_side(lambda of: ellipses.regions(*of), wanted)
    if not options.core_required:
        return ellipses.fits(jumps), []
    x, y = np.concatenate([ellipses.centres(found) for found in full], axis=1)
    at_edge = _at_edge(jumps, flags.shape[1:], options.edge)
    snowballs = []
    for k in np.flatnonzero(at_edge | _may_hold(jumps, x, y)):
        ellipse = ellipses.fit(jumps, k)
        if at_edge[k] or ellipses.contains(ellipse, x, y).any():
            snowballs.append(ellipse)
    return snowballs, ellipses.fits(full[0])


def _at_edge(jumps, shape, edge):
    """Whether regions are centred near an edge of the frame."""
    near = np.zeros(len(jumps.label), bool)
    for position, size in zip(ellipses.centres(jumps), shape[::-1], strict=True):
        near |= (position < edge) | (position > max(0, size - edge))
    return near


def _may_hold(jumps, x, y):
    """Whether points can lie inside the ellipses of regions at all: an ellipse reaches no further beyond its box than the box is long."""
    length = np.hypot(jumps.box[:, 2] - jumps.box[:, 0], jumps.box[:, 3] - jumps.box[:, 1])
    hold = np.zeros(len(length), bool)
    for px, py in zip(x, y, strict=True):
        top, left, bottom, right = jumps.box.T
        hold |= (py > top - length) & (py < bottom + length) & (px > left - length) & (px < right + length)
    return hold


def _grow_core(flags, cores, core, options):
    """Flag more around saturation in its group and the later ones, if it is large enough, and note where it was."""
    if not core.minor > options.core_axis:
        return
    axes = (min(axis + options.core_growth, options.longest) for axis in (core.minor, core.major))
    box, inside = ellipses.footprint(core, *axes, cores.shape)
    for plane in flags:
        plane[box][inside] = FULL
    box, inside = ellipses.footprint(core, core.minor, core.major, cores.shape)
    cores[box] |= inside
