"""Find the level of the sky in each exposure, or the levels that make the sky of all of them the same."""

import logging
import re
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from ..arithmetic.align.groups import by_moment
from ..model import named_files
from ..vocabulary.errors import ConfigError, InputError, Skip
from ..vocabulary.parameters import Range

log = logging.getLogger(__name__)

TAKES = "members"

SUFFIX = re.compile(r"_(uncal|rate|rateints|cal|calints|crf|crfints|i2d|tweakreg|assign_mtwcs|skymatch)$")


def apply(
    members,
    refs=None,
    *,
    skymethod: Literal["local", "global", "match", "global+match", "user"] = "match",
    match_down: bool = True,
    subtract: bool = False,
    skylist: str | None = None,
    stepsize: Annotated[int, Range(min=1)] | None = None,
    skystat: Literal["median", "midpt", "mean", "mode"] = "mode",
    dqbits: str | None = "~DO_NOT_USE+NON_SCIENCE",
    lower: float | None = None,
    upper: float | None = None,
    nclip: Annotated[int, Range(min=0)] = 5,
    lsigma: Annotated[float, Range(min=0)] = 4.0,
    usigma: Annotated[float, Range(min=0)] = 4.0,
    binwidth: Annotated[float, Range(min=0)] = 0.1,
    in_memory: bool = True,
    grouped: bool = True,
):
    """Write the level of each exposure's sky into its header, and subtract it if asked to.

    BKGLEVEL is the level, BKGMETH how it was found, BKGSUB whether it is subtracted from the pixels. With `subtract` off the pixels stay as
    they are; resample and outlier_detection take the level off what they drizzle. Each exposure is opened for its
    outline, for its pixels, and to subtract.

    Parameters
    ----------
    members : Members
        2-D images of surface brightness with a celestial gWCS.
    refs
        None are needed.
    skymethod : str
        Which levels are found. As named: local, of each image by itself; global, the lowest of these for all; match, levels above
        the lowest image's that make the sky the same where images overlap. global+match: these, and what is then left of the sky.
        user: levels from a file.
    match_down : bool
        Whether matching leaves the lowest image as it is; else the highest.
    subtract : bool
        Subtract the levels from the pixels.
    skylist : str, optional
        For skymethod user: a text file with the name of an image and its level in each line.
    stepsize : int, optional
        Largest distance, in pixels, of two vertices of an image's outline; None: its corners.
    skystat : str
        What of the pixels' distribution is the level.
    dqbits : str, optional
        Flags that a good pixel may have, or after ~ those that it may not; None: all.
    lower, upper : float, optional
        Range of pixel values that count.
    nclip : int
        Rounds of clipping at `lsigma` below and `usigma` above the mean.
    lsigma, usigma : float
        Standard deviations below and above the mean beyond which values are clipped.
    binwidth : float
        Of the histogram for mode and midpt, in standard deviations.
    in_memory : bool
        Without effect: one exposure is in memory at a time, where they come from files.
    grouped : bool
        Whether detectors that were read at once have one level together. Off: each has its own.

    Raises
    ------
    InputError
        An exposure has no gWCS, or was matched before with another `subtract`.
    ConfigError
        The list is missing or does not fit the exposures; dqbits names no flags.
    Skip
        There are no 2-D images.
    """
    if skymethod == "user":
        levels = _listed(members, skylist)
    else:
        from ..arithmetic.sky.statistics import SkyStatistics

        if not (lsigma > 0 and usigma > 0 and binwidth > 0):
            raise ConfigError("lsigma, usigma and binwidth of skymatch have to be above 0", do="Correct them, or set nclip to 0")
        statistics = SkyStatistics(skystat, lower, upper, nclip, lsigma, usigma, binwidth)
        levels = _found(members, skymethod, match_down, subtract, _ignored(dqbits), statistics, stepsize, grouped)
    _write(members, levels, skymethod, subtract)
    return members


def _write(members, levels, method, subtract):
    """Put the levels into the headers; subtract them where asked to. What was subtracted before counts to the level."""
    before = [shell.header.get("BKGLEVEL", 0.0) if subtract else 0.0 for shell in members.shells()]
    if subtract:
        for exposure, level in zip(members.each(keep=("sci",)), levels, strict=True):
            if level is not None:
                exposure.sci -= np.float32(level)
    for shell, level, old in zip(members.shells(), levels, before, strict=True):
        if level is None:
            log.warning("%s: no level of the sky could be found, it is left as it is", shell.name)
            continue
        header = shell.header
        header["BKGMETH"], header["BKGLEVEL"], header["BKGSUB"] = method, float(old + level), bool(subtract)
        log.info("%s: the sky is %.6g%s", shell.name, old + level, ", subtracted" if subtract else "")


# --- levels from the pixels --------------------------------------------------------------------------------------------


def _found(members, method, down, subtract, ignored, statistics, stepsize, grouped):
    """The level of each member, None where there is none."""
    from ..arithmetic.sky.levels import matched_levels

    footprints = _footprints(members, subtract, stepsize)
    groups = by_moment([shell.header for shell in members.shells()], grouped)
    match, whole = "match" in method, method != "match"
    seen, counts, alone = _survey(members, footprints, groups, ignored, statistics, match, whole)
    number = len(groups)
    levels = np.zeros(number)
    if match:
        pairs = _of_groups(seen, counts, groups)
        levels = matched_levels(*pairs, down)
        for group in np.flatnonzero(np.isnan(levels)):
            names = ", ".join(members.shells()[i].name for i in groups[group])
            log.warning("%s: overlaps no other image with good pixels, its sky is not matched", names)
    if whole:
        lowest = np.array([min((alone[i] for i in group if alone[i] is not None), default=np.nan) for group in groups])
        if "global" in method:
            left = lowest - np.nan_to_num(levels)
            known = np.isfinite(left)
            lowest = np.full(number, left[known].min() if known.any() else np.nan)
            levels = np.nan_to_num(levels)
        levels = levels + lowest
    result = [None] * len(footprints)
    for group, level in zip(groups, levels, strict=True):
        for i in group:
            result[i] = float(level) if np.isfinite(level) else None
    return result


def _footprints(members, subtract, stepsize):
    """The outline of each image; checks that its keywords fit what is asked for."""
    from ..arithmetic.sky.overlaps import Footprint

    footprints = []
    for exposure in members.each():
        header = exposure.header
        if exposure.sci.ndim != 2:
            raise Skip(f"the data of {exposure.name} have {exposure.sci.ndim} dimensions, not 2")
        if exposure.wcs is None:
            raise InputError("there is no gWCS in it", exposure.name, "Run assign_wcs")
        done, level = header.get("BKGSUB"), header.get("BKGLEVEL")
        if (done is None) != (level is None):
            raise InputError("it has one of BKGSUB and BKGLEVEL without the other", exposure.name, "Take the file from the archive again")
        if done is not None and bool(done) != subtract:
            state = "subtracted already" if done else "known, but not subtracted"
            raise InputError(f"its sky is {state} (BKGSUB)", exposure.name, f"Set subtract of skymatch to {str(bool(done)).lower()}")
        footprints.append(Footprint(exposure.wcs, exposure.sci.shape, stepsize))
    if not footprints:
        raise Skip("there are no exposures")
    return footprints


def _survey(members, footprints, groups, ignored, statistics, match, whole):
    """What each image sees where each group overlaps it, and alone.

    Returns
    -------
    seen, counts : (image, group) float
    alone : list of float or None
    """
    from ..arithmetic.sky.overlaps import pixels_inside
    from ..kernels.sky.sky_statistics import chosen

    seen, counts = np.full((len(footprints), len(groups)), np.nan), np.zeros((len(footprints), len(groups)))
    alone = [None] * len(footprints)
    for i, exposure in enumerate(members.each()):
        sci = exposure.sci
        good = np.isfinite(sci)
        if ignored is not None and exposure.dq is not None:
            good &= (exposure.dq & ~ignored) == 0
        if whole:
            alone[i] = statistics.level(sci[good])[0]
        others = {g: group for g, group in enumerate(groups if match else ()) if i not in group}
        areas = {g: [outline for j in group for outline in footprints[i].overlap(footprints[j])] for g, group in others.items()}
        areas = {g: outlines for g, outlines in areas.items() if outlines}
        for g, inside in zip(areas, pixels_inside(list(areas.values()), exposure.wcs, sci.shape), strict=True):
            level, count = statistics.level(chosen(sci, good, inside))
            if level is not None:
                seen[i, g], counts[i, g] = level, count
        del exposure, sci, good
    return seen, counts, alone


def _of_groups(seen, counts, groups):
    """The same by groups: means of their images, weighted with the number of pixels."""
    total = np.array([counts[group].sum(axis=0) for group in groups])
    weighted = np.array([np.nansum(seen[group] * counts[group], axis=0) for group in groups])
    with np.errstate(invalid="ignore"):
        return weighted / total, total


def _ignored(dqbits):
    """Flags that do not matter; None: none does."""
    from astropy.nddata.bitmask import interpret_bit_flags

    from ..vocabulary import dq

    try:
        flags = interpret_bit_flags(dqbits, flag_name_map=dq.BY_NAME)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"dqbits of skymatch, {dqbits!r}, are no flags ({error})", do="Give names of DQ flags, as ~DO_NOT_USE") from None
    return None if flags is None else np.uint32(flags & 0xFFFFFFFF)


# --- levels from a list --------------------------------------------------------------------------------------------------


def _listed(members, path):
    """The level of each member from a text file of names and levels."""
    if not path:
        raise ConfigError("skymethod of skymatch is user, but no skylist is given", do="Give a file of names and levels")
    levels = {}
    for line in named_files.lines(path, "the skylist of skymatch", "Give a file of names and levels"):
        words = line.split("#")[0].split()
        if not words:
            continue
        try:
            name, level = _stem(words[0]), float(words[1])
        except (IndexError, ValueError):
            raise ConfigError(f"{line.strip()!r} is no name and level", path, "Write a name and a number in each line") from None
        if name in levels:
            raise ConfigError(f"{name} is in the list twice", path, "Leave one out")
        levels[name] = level
    for shell in members.shells():
        if shell.header.get("BKGSUB"):
            raise InputError("its sky is subtracted already (BKGSUB)", shell.name, "Start from the file before skymatch")
    names = [_stem(shell.name) for shell in members.shells()]
    missing = [name for name in names if name not in levels]
    if missing or len(names) != len(levels):
        what = f"{', '.join(missing)} is not in the list" if missing else f"the list has {len(levels)} levels for {len(names)} images"
        raise ConfigError(what, path, "List each image of the association once")
    return [levels[name] for name in names]


def _stem(name):
    """A file's name without its suffix: jw..._nrca1_cal.fits and jw..._nrca1_rate.fits are the same exposure."""
    return SUFFIX.sub("", Path(name).stem)
