"""Showers: faint clouds of charge that cosmic rays leave in MIRI's detectors, too faint to be jumps pixel by pixel.

Source: Regan 2023, JWST-STScI-008545.
"""

import logging
import warnings

import numpy as np

from ...kernels.jumps import showers
from ...model import aligned
from ...model.exposure import Pixels
from ...model.ramp import put_together
from ...vocabulary.dq import DO_NOT_USE, JUMP_DET, REFERENCE_PIXEL, SATURATED
from . import ellipses, events

log = logging.getLogger(__name__)

JUMP, FULL, UNUSABLE = np.uint8(JUMP_DET), np.uint8(SATURATED), np.uint8(DO_NOT_USE)
BAD = JUMP | FULL | UNUSABLE
LEAST_DIFFERENCES = 10  # in all integrations
LARGEST_RATE = 6.0  # electrons/s that a shower may add
CLIP = 5.0  # sigma


def usual(exposure, refs, minimum_sigclip_groups):
    """The usual difference of each pixel of a strip, and its noise, from all integrations.

    Returns
    -------
    list of Exposure
        Suffix "differences": `sci`, the median, and `err`, electrons, (row, col); with `minimum_sigclip_groups` integrations or more
        those of each group, (difference, row, col). Empty where there are too few groups.
    """
    nints, ngroups = exposure.dead_groups.shape
    if nints * (ngroups - 1) - exposure.dead_groups.sum() < LEAST_DIFFERENCES:
        return []
    gain, readnoise = (aligned.image(refs[kind], exposure) for kind in ("gain", "readnoise"))
    if nints >= minimum_sigclip_groups:
        from astropy.stats import sigma_clipped_stats  # its import takes as long as a small job

        electrons = np.where(exposure.groupdq & BAD, np.float32(np.nan), exposure.sci * gain)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pixels without any group
            _, median, sigma = sigma_clipped_stats(np.diff(electrons, axis=1), sigma=CLIP, axis=0)
    else:
        nframes = int(exposure.header["NFRAMES"])
        median, sigma = showers.difference_noise(exposure.sci, exposure.groupdq, gain, readnoise, nframes, BAD)
    return [exposure.derive([Pixels(sci=median, err=sigma)], "differences")]


def flag_showers(
    exposure,
    refs,
    *,
    max_shower_amplitude,
    obey_max_shower_amplitude,
    extend_snr_threshold,
    extend_min_area,
    extend_inner_radius,
    extend_outer_radius,
    extend_ellipse_expand_ratio,
    time_masked_after_shower,
    max_extended_radius,
    minimum_sigclip_groups,
    **_,
):
    """Find the showers in whole integrations, and flag their pixels and for a while the groups after them.

    The parameters are those of the jump step.
    """
    found = put_together(exposure, exposure.strips(), lambda strip: usual(strip, refs.strip(strip.rows), minimum_sigclip_groups))
    if not found:
        log.warning("fewer than %d differences: no search for showers", LEAST_DIFFERENCES)
        return
    gain = aligned.image(refs["gain"], exposure)
    group_time = float(exposure.header["TGROUP"])
    largest = np.full(gain.shape, group_time * LARGEST_RATE, np.float32)
    if obey_max_shower_amplitude:
        largest = gain * np.float32(group_time * max_shower_amplitude)
    reference = exposure.pixeldq == REFERENCE_PIXEL
    hidden = reference | (exposure.pixeldq & BAD != 0)
    ring = ring_runs(extend_inner_radius, extend_outer_radius)
    total = 0
    for block in exposure.blocks(keep=True):
        count = 0
        for sci, flags in zip(block.sci, block.groupdq, strict=True):
            before = flags.copy()
            for g in range(_first_usable(flags, reference) + 1, len(flags)):
                median, sigma = (plane if plane.ndim == 2 else plane[g - 1] for plane in (found[0].sci, found[0].err))
                values = showers.deviations(sci, before, g, gain, median, sigma, hidden, BAD)
                clouds = ellipses.fits(ellipses.regions(showers.stands_out(values, ring, extend_snr_threshold), 1, extend_min_area))
                after = flags[g : g + 1 + int(time_masked_after_shower // group_time)]
                for cloud in clouds:
                    flag(after, cloud, extend_ellipse_expand_ratio, 2 * max_extended_radius)
                count += len(clouds)
            showers.restore(sci, before, flags, gain, largest, reference, BAD)
        events.record(block, count)
        total += count
    log.info("%d showers", total)


def ring_runs(inner, width):
    """The pixels whose centres lie in a ring, by runs: (row, first column, last column + 1) from the middle.

    Parameters
    ----------
    inner, width : float
        Radius of the hole, and how much wider the ring is, pixels.
    """
    reach = int(inner + width)
    line = np.arange(-reach, reach + 1)
    squares = line[:, None] ** 2 + line**2
    inside = (squares >= inner**2) & (squares <= (inner + width) ** 2)
    edges = np.diff(np.pad(inside, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, first = np.nonzero(edges == 1)
    _, last = np.nonzero(edges == -1)
    return np.stack([rows, first, last], axis=1) - reach


def _first_usable(flags, reference):
    """The first group that is not unusable in every pixel; 0 where all are."""
    usable = (not ((plane & UNUSABLE != 0) | reference).all() for plane in flags)
    return next((g for g, found in enumerate(usable) if found), 0)


def flag(flags, cloud, ratio, longest):
    """Flag the pixels of a shower in some groups, up to the first in which they are saturated.

    Parameters
    ----------
    flags : ndarray of uint8, (group, row, col)
        Changed.
    cloud : Ellipse
    ratio, longest : float
        As in `ellipses.grown`.
    """
    box, inside = ellipses.footprint(cloud, *ellipses.grown(cloud, ratio, longest), flags.shape[1:])
    for plane in flags:
        inside &= plane[box] & FULL == 0
        plane[box][inside] |= JUMP
