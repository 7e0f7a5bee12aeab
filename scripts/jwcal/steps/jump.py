"""Flag the groups that a cosmic ray hit comes before."""

import logging
from types import SimpleNamespace
from typing import Annotated, Literal

import numba
import numpy as np

from ..arithmetic.jumps import events
from ..kernels.jumps.spread_jumps import spread_jumps
from ..kernels.jumps.twopoint_jump import CLIP_ALL, CLIP_INTEGRATIONS, ITERATIVE, ONE_PASS, detect_jumps
from ..machine.parts import part
from ..model import aligned
from ..vocabulary.dq import DO_NOT_USE, JUMP_DET, SATURATED
from ..vocabulary.errors import Skip
from ..vocabulary.parameters import Range

log = logging.getLogger(__name__)

REFERENCES = ("gain", "readnoise")
PARTS = {"expand_large_events": {"True": "arithmetic/jumps/snowballs"}, "find_showers": {"True": "arithmetic/jumps/showers"}}
WALKS = "rows"
ROWS = 64  # that a thread searches at a time, at most
HALO = 1  # a jump is also flagged in the pixels above and below

BAD, JUMP = np.uint8(DO_NOT_USE | SATURATED), np.uint8(JUMP_DET)
METHODS = {
    ONE_PASS: "two-point difference, all jumps of a pixel at once",
    ITERATIVE: "two-point difference, one jump of a pixel after the other",
    CLIP_INTEGRATIONS: "sigma clipping of each group across the integrations",
    CLIP_ALL: "sigma clipping of all groups",
}


def apply(
    exposure,
    refs,
    *,
    rejection_threshold: Annotated[float, Range(min=0)] = 4.0,
    three_group_rejection_threshold: Annotated[float, Range(min=0)] = 6.0,
    four_group_rejection_threshold: Annotated[float, Range(min=0)] = 5.0,
    maximum_cores: str = "1",
    flag_4_neighbors: bool = True,
    max_jump_to_flag_neighbors: float = 1000.0,
    min_jump_to_flag_neighbors: float = 10.0,
    after_jump_flag_dn1: float = 0.0,
    after_jump_flag_time1: float = 0.0,
    after_jump_flag_dn2: float = 0.0,
    after_jump_flag_time2: float = 0.0,
    expand_large_events: bool = False,
    min_sat_area: float = 1.0,
    min_jump_area: float = 5.0,
    expand_factor: float = 2.0,
    use_ellipses: bool = False,
    sat_required_snowball: bool = True,
    min_sat_radius_extend: float = 2.5,
    sat_expand: int = 2,
    edge_size: int = 25,
    mask_snowball_core_next_int: bool = True,
    snowball_time_masked_next_int: int = 4000,
    find_showers: bool = False,
    max_shower_amplitude: float = 4.0,
    obey_max_shower_amplitude: bool = False,
    extend_snr_threshold: float = 1.2,
    extend_min_area: int = 90,
    extend_inner_radius: float = 1.0,
    extend_outer_radius: float = 2.6,
    extend_ellipse_expand_ratio: float = 1.1,
    time_masked_after_shower: float = 15.0,
    min_diffs_single_pass: int = 10,
    max_extended_radius: int = 200,
    minimum_groups: int = 3,
    minimum_sigclip_groups: int = 100,
    only_use_ints: bool = True,
    detection: Literal["two-point", "likelihood"] = "two-point",
    likelihood_threshold: Annotated[float, Range(min=0)] = 3.95,
):
    """Compare the differences of neighbouring groups of a pixel with their median, and set JUMP_DET after those that stick out.

    With `min_diffs_single_pass` usable differences an integration or more, all differences beyond `rejection_threshold` (sigma) are
    flagged at once; with fewer the largest one is, again and again: beyond `rejection_threshold` where four differences or more remain
    in all integrations together, `four_group_rejection_threshold` where three, `three_group_rejection_threshold` where two.
    With `minimum_sigclip_groups` integrations (`only_use_ints`) or groups in all, sigma clipping takes the place of the noise model.
    With `detection` = "likelihood" none of these: the differences without which the likelihood of a constant rate gains as much as it
    would from a hit of `likelihood_threshold` times the noise of one difference are flagged (`kernels.jumps.likelihood_jump`).
    Then the four neighbours of jumps of `min_jump_to_flag_neighbors` to `max_jump_to_flag_neighbors` sigma are flagged in the same group,
    and the groups within `after_jump_flag_time1` (s) of a jump of more than `after_jump_flag_dn1` (DN; likewise 2) in the same pixel.
    Pixels without a gain get NO_GAIN_VALUE and DO_NOT_USE.

    `expand_large_events`: large groups of jumps (`min_jump_area` pixels) around newly saturated pixels (`min_sat_area`, now or in the
    next group) are snowballs, and so are all large ones less than `edge_size` pixels from an edge of the frame. They become ellipses
    of the same second moments, with the minor axis `expand_factor` times as long and the major one longer by as much.
    Saturation wider than `min_sat_radius_extend` grows by `sat_expand` pixels on all sides for the rest of the integration; where it
    was, jumps are flagged in the next integration for `snowball_time_masked_next_int` (s, `mask_snowball_core_next_int`).
    Without `sat_required_snowball` all large groups of jumps grow, and no saturation. No ellipse reaches beyond `max_extended_radius`.

    `find_showers`: where the mean deviation of a difference over a ring of pixels (from `extend_inner_radius`, `extend_outer_radius`
    wider) is beyond `extend_snr_threshold` sigma in `extend_min_area` pixels together, the ellipse of these pixels, its minor axis
    `extend_ellipse_expand_ratio` longer, is flagged for `time_masked_after_shower` (s). The flags are taken back in pixels whose rate they
    change by more than 6 electrons/s, or with `obey_max_shower_amplitude` by more than `max_shower_amplitude` (DN/s).

    `maximum_cores` and `use_ellipses` are not used: the number of threads is the run's, and all outlines are ellipses.
    Sources: Anderson & Gordon 2011, PASP 123, 1237; Brandt 2024, PASP 136, 045005; Regan 2023, JWST-STScI-008545.

    Parameters
    ----------
    exposure : Exposure
        A ramp (int, group, row, col), DN.
    refs : References
        gain and readnoise.
    rejection_threshold : float
        Sigma beyond which a difference is a jump.
    three_group_rejection_threshold : float
        The same where a pixel has two usable differences.
    four_group_rejection_threshold : float
        The same where a pixel has three usable differences.
    maximum_cores : str
        Without effect: the number of threads is the run's.
    flag_4_neighbors : bool
        Flag the pixels above, below, to the left and right of a jump too.
    max_jump_to_flag_neighbors, min_jump_to_flag_neighbors : float
        Sigma from which, and up to which, a jump's neighbours are flagged.
    after_jump_flag_dn1, after_jump_flag_dn2 : float
        DN beyond which a jump flags the groups after it in its pixel; two sizes of jumps.
    after_jump_flag_time1, after_jump_flag_time2 : float
        For how long they are flagged, s.
    expand_large_events : bool
        Look for snowballs, and let them grow.
    min_sat_area : float
        Newly saturated pixels that make a group of jumps a snowball.
    min_jump_area : float
        Pixels from which a group of jumps is large.
    expand_factor : float
        How much longer the minor axis of a snowball's ellipse becomes.
    use_ellipses : bool
        Without effect: all outlines are ellipses.
    sat_required_snowball : bool
        A snowball has saturated pixels; off: all large groups of jumps grow.
    min_sat_radius_extend : float
        Radius from which a saturated core grows, pixels.
    sat_expand : int
        By how much it grows on all sides, pixels.
    edge_size : int
        Less than so many pixels from an edge a large group of jumps is a snowball without saturation.
    mask_snowball_core_next_int : bool
        Flag the place of a saturated core in the next integration.
    snowball_time_masked_next_int : int
        For how long it is flagged there, s.
    find_showers : bool
        Look for showers.
    max_shower_amplitude : float
        DN/s by which a shower's flags may change a rate, with `obey_max_shower_amplitude`.
    obey_max_shower_amplitude : bool
        Take back the flags of showers that change a rate by more than `max_shower_amplitude`; off: by more than 6 electrons/s.
    extend_snr_threshold : float
        Sigma of the mean over a ring beyond which a pixel may be of a shower.
    extend_min_area : int
        Such pixels together that make a shower.
    extend_inner_radius, extend_outer_radius : float
        Of that ring, pixels.
    extend_ellipse_expand_ratio : float
        How much longer the minor axis of a shower's ellipse becomes.
    time_masked_after_shower : float
        For how long a shower is flagged, s.
    min_diffs_single_pass : int
        Usable differences an integration from which all jumps of a pixel are flagged at once.
    max_extended_radius : int
        No ellipse reaches farther, pixels.
    minimum_groups : int
        Fewer usable groups are not searched.
    minimum_sigclip_groups : int
        Integrations, or groups in all, from which sigma clipping takes the place of the noise model.
    only_use_ints : bool
        Count and clip across the integrations; off: all groups together.
    detection : {"two-point", "likelihood"}
        Which search: differences against their median, or the gain in likelihood.
    likelihood_threshold : float
        For "likelihood": times the noise of one difference.

    Raises
    ------
    Skip
        Fewer than three groups, or fewer than `minimum_groups` that are not DO_NOT_USE everywhere.
    ReferenceError
        The gain or the read noise does not fit the exposure.
    """
    given = {name: value for name, value in locals().items() if name not in ("exposure", "refs")}
    if maximum_cores not in ("1", "none"):
        log.info("maximum_cores = %s has no effect: the number of threads is the run's", maximum_cores)
    found, how = _search(exposure, refs, SimpleNamespace(**given))
    log.info("%d jumps found by %s", found, how)
    _record_rate(exposure, found)
    if exposure.rows == slice(0, None):
        finish(exposure, refs, **given)
    return exposure


def walks_itself(_, parameters):
    """Whether there is something to `finish`."""
    return parameters["expand_large_events"] or parameters["find_showers"]


def finish(exposure, refs, *, expand_large_events, find_showers, **given):
    """Look for what is larger than a pixel in whole frames, once `apply` has found the jumps of all pixels; called with its arguments."""
    if expand_large_events:
        part(PARTS["expand_large_events"], "True").flag_snowballs(exposure, **given)
    if find_showers:
        part(PARTS["find_showers"], "True").flag_showers(exposure, refs, **given)


def _search(exposure, refs, asked):
    """Flag jumps, their neighbours and what comes after them; returns how many were found, and how."""
    method = _method(exposure, asked)
    gain, readnoise = (aligned.image(refs[kind], exposure) for kind in REFERENCES)
    exposure.flag(gain, aligned.no_gain)

    group_time = float(exposure.header["TGROUP"])
    lengths = tuple(int(time // group_time) for time in (asked.after_jump_flag_time1, asked.after_jump_flag_time2))
    gains = refs.whole("gain").array("SCI")
    sizes = tuple(_electrons(size, gains) if max(lengths) > 0 else 0.0 for size in (asked.after_jump_flag_dn1, asked.after_jump_flag_dn2))
    seeds, large, very_large = (_bits(exposure, wanted) for wanted in (asked.flag_4_neighbors, max(lengths) > 0, max(lengths) > 0))
    neighbours = float(asked.min_jump_to_flag_neighbors), float(asked.max_jump_to_flag_neighbors)
    ramps, noted = (exposure.sci, exposure.groupdq, gain, readnoise), (neighbours, sizes, seeds, large, very_large)
    if asked.detection == "likelihood":
        from ..kernels.jumps import likelihood_jump
        from ..kernels.ramps.likely_ramp import covariance

        how, spread = "their likelihood", False
        likelihood_jump.find(*ramps, covariance(_read_times(exposure)), float(asked.likelihood_threshold), BAD, JUMP, *noted)
        found, earlier = _count(exposure.groupdq), np.ones(len(gain), bool)
    else:
        how, spread = METHODS[method], method in (ONE_PASS, ITERATIVE)
        thresholds = asked.rejection_threshold, asked.four_group_rejection_threshold, asked.three_group_rejection_threshold
        searched = float(exposure.header["NFRAMES"]), method, tuple(map(float, thresholds))
        rows = min(ROWS, -(-len(gain) // numba.get_num_threads()))
        found, earlier = detect_jumps(*ramps, *searched, BAD, JUMP, *noted, lengths, rows)
        if not spread:
            _restore_full_groups(exposure, seeds, found)
    if not spread:
        spread_jumps(exposure.groupdq, earlier, seeds, large, very_large, lengths, BAD, JUMP)
    return int(found[exposure.own].sum()), how


def _read_times(exposure):
    """When the reads of each group are, s."""
    head = exposure.header
    nframes, step = int(head["NFRAMES"]), int(head["NFRAMES"]) + int(head["GROUPGAP"])
    return [(np.arange(nframes) + g * step) * float(head["TFRAME"]) for g in range(exposure.sci.shape[1])]


def _method(exposure, asked):
    """How jumps are looked for, from how many groups are usable somewhere in the whole exposure."""
    dead = exposure.dead_groups
    nints, ngroups = dead.shape
    if ngroups <= 2:
        raise Skip(f"{ngroups} groups an integration are too few to find jumps")
    usable, total = ngroups - dead.sum(axis=1).max(), dead.size - dead.sum()
    if (nints if asked.only_use_ints else total) >= asked.minimum_sigclip_groups:
        return CLIP_INTEGRATIONS if asked.only_use_ints else CLIP_ALL
    if usable < asked.minimum_groups:
        raise Skip(f"{usable} usable groups an integration are fewer than minimum_groups = {asked.minimum_groups}")
    return ONE_PASS if usable - 1 >= asked.min_diffs_single_pass else ITERATIVE


def _electrons(size, gains):
    """A size in DN as electrons of the exposure's median gain; single precision, as differences are."""
    return float(np.float32(size) * np.nanmedian(gains))


def _bits(exposure, wanted):
    """One bit a difference and pixel, (row, word, col); empty where it is not wanted."""
    nints, ngroups, ny, nx = exposure.sci.shape
    return np.zeros((ny, -(-nints * (ngroups - 1) // 8), nx) if wanted else (0, 0, 0), np.uint8)


def _restore_full_groups(exposure, seeds, found):
    """Undo the flags of a group that clipping threw out of every pixel: that was no cosmic ray. Only a whole exposure can tell.

    Parameters
    ----------
    seeds : (row, word, col) uint8
        Changed, as for `spread_jumps`.
    found : (row,) int64
        Changed: how many groups have the flag.
    """
    if exposure.rows != slice(0, None):
        return
    nints, ngroups = exposure.groupdq.shape[:2]
    for i in range(nints):
        for g in range(1, ngroups):
            flags = exposure.groupdq[i, g]
            if (flags & (JUMP | np.uint8(DO_NOT_USE))).all():
                only = flags == JUMP
                flags[only] = 0
                found -= only.sum(axis=1)
                word, bit = divmod(i * (ngroups - 1) + g - 1, 8)
                if seeds.size:
                    seeds[:, word][only] &= ~np.uint8(1 << bit)


def _count(groupdq):
    """How many groups of each row have JUMP_DET, (row,)."""
    return sum(np.count_nonzero(plane & JUMP, axis=1) for ramp in groupdq for plane in ramp)


def _record_rate(exposure, found):
    """Put the jumps per thousand pixels and second into the header; strips of one exposure add up."""
    groups = events.usable_groups(exposure)
    if groups < 1:
        return
    pixels = exposure.header["SUBSIZE1"] * exposure.header["SUBSIZE2"]
    before = exposure.header["PRIMECRS"] if exposure.rows.start else 0.0
    exposure.header["PRIMECRS"] = before + 1000 * found / (float(exposure.header["TGROUP"]) * groups * pixels)
    exposure.header["EXTNCRS"] = 0.0
