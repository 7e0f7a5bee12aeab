"""Fit a count rate to every ramp: by least squares, or by likelihood."""

import logging

import numpy as np

from ...kernels.ramps import ols_ramp
from ...kernels.ramps.ols_ramp import Bits, Planes, Ramps
from ...machine.threads import by_rows
from ...model import aligned
from ...model.exposure import Pixels
from ...vocabulary.dq import CHARGELOSS, DO_NOT_USE, JUMP_DET, PERSISTENCE, SATURATED
from ...vocabulary.errors import InputError

log = logging.getLogger(__name__)

NO_CUBE, NO_PLANE = np.zeros((0, 0, 0), np.float32), np.zeros((0, 0), np.float32)
LIKELY_NEEDS = 4  # groups
TIMES = ("INT_TIMES", "INT_TIMES_STRIPE")  # tables of the integrations
BITS = Bits(*(np.uint8(bit) for bit in (DO_NOT_USE, SATURATED, JUMP_DET, PERSISTENCE, CHARGELOSS)))


def fit(exposure, refs, algorithm="OLS_C", save_opt=False, suppress_one_group=True, firstgroup=None, lastgroup=None):
    """The rate and the rates of the integrations; parameters and results are those of the step `ramp_fit`.

    Parameters
    ----------
    exposure : Exposure
        Ramps, DN, (int, group, row, col).
    refs : References
        gain, readnoise.

    Returns
    -------
    list of Exposure
    """
    readnoise, gain = (aligned.image(refs[kind], exposure) for kind in ("readnoise", "gain"))
    dead = _leave_out(exposure, firstgroup, lastgroup)
    rate, ints = _products(exposure, gain)
    products = [(rate, "rate"), (ints, "rateints")]
    if exposure.read_times is not None and algorithm != "LIKELY":
        log.warning("its groups do not follow each other evenly: fitted by LIKELY")
        algorithm = "LIKELY"
    if algorithm == "LIKELY" and exposure.sci.shape[1] >= LIKELY_NEEDS:
        chi2 = np.zeros_like(rate.sci) if save_opt else NO_PLANE
        _likelihood(exposure, gain, readnoise, rate, ints, chi2)
        products += [(chi2, "likely_chisq")] if save_opt else []
    else:
        if algorithm == "LIKELY":
            log.info("LIKELY needs %d groups: fitted by least squares", LIKELY_NEEDS)
        segments = _least_squares(exposure, dead, gain, readnoise, suppress_one_group, rate, ints, save_opt)
        products += [(segments, "fitopt")] if save_opt else []
    factor = refs["gain"].header.get("GAINFACT")
    return [_exposure(exposure, planes, suffix, factor) for planes, suffix in products]


def _leave_out(exposure, firstgroup, lastgroup):
    """Flag the groups that are not wanted; returns which groups are bad everywhere, (int, group)."""
    dead = exposure.dead_groups.copy()
    ngroups = dead.shape[1]
    if firstgroup is None and lastgroup is None:
        return dead
    first = max(firstgroup or 0, 0)
    if first >= ngroups:
        what = f"firstgroup is {firstgroup}, beyond the last of the exposure's {ngroups} groups, which count from 0"
        raise InputError(what, do="Correct the parameter firstgroup of ramp_fit")
    last = ngroups - 1 if lastgroup is None else lastgroup
    if first >= last:
        log.warning("firstgroup = %s and lastgroup = %s leave no ramp: both are ignored", firstgroup, lastgroup)
        return dead
    for unwanted in (slice(0, first), slice(last + 1, None)):
        exposure.groupdq[:, unwanted] |= np.uint8(DO_NOT_USE)
        dead[:, unwanted] = True
    return dead


def _products(exposure, gain):
    """Empty planes for the rate and the rates of the integrations, with the quality of the pixels in them."""
    nints, _, ny, nx = exposure.sci.shape
    products = []
    for shape in ((ny, nx), (nints, ny, nx)):
        products.append(Planes(**{name: np.empty(shape, np.uint32 if name == "dq" else np.float32) for name in Planes._fields}))

    def fill(rows):
        quality = exposure.pixeldq[rows] | aligned.no_gain(gain[rows])
        for planes in products:
            planes.dq[..., rows, :] = quality

    by_rows(fill, gain)
    return products


def _zero_frames(exposure):
    """The zero frames (int, row, col), laid out as in a whole exposure so that a strip needs no kernel of its own; empty where none."""
    return np.ascontiguousarray(exposure.extra.get("ZEROFRAME", NO_CUBE))


def _least_squares(exposure, dead, gain, readnoise, suppress_one_group, rate, ints, tell=False):
    """Fill the products by least squares; returns what there is to tell of the segments, if asked."""
    head = exposure.header
    ngroups = exposure.sci.shape[1]
    nframes, frame = float(head["NFRAMES"]), float(head["TFRAME"])
    first, last = _used_groups(exposure, dead)
    ramps = Ramps(
        exposure.sci,
        exposure.groupdq,
        _zero_frames(exposure),
        gain,
        readnoise,
        exposure.extra.get("AVDRKCUR", NO_PLANE),
    )
    options = ols_ramp.Options(nframes, first, last, suppress=bool(suppress_one_group and ngroups > 1), cut=first > 0)
    times = ols_ramp.Times(group=float(head["TGROUP"]), frame=frame, first=(nframes + 1) * frame / 2)
    weights = ols_ramp.slope_weights(last - first)
    ols_ramp.fit_ramps(ramps, options, times, weights, BITS, rate, ints)
    log.info("%d ramps of %d groups fitted by least squares", ints.sci.size, last - first)
    if not tell:
        return None
    from ...kernels.ramps import ramp_segments  # kernels that are seldom wanted are loaded where they are

    place = ((nframes + 1) / 2 + float(head.get("DRPFRMS1", 0))) / (nframes + float(head["GROUPGAP"]))
    segments = _empty_segments(ramp_segments.Segments, ints.sci.shape, ramp_segments.largest_counts(ramps, options, BITS))
    ramp_segments.tell_segments(ramps, options, times, weights, BITS, ints.sci, place, segments)
    return segments


def _empty_segments(Segments, shape, most):
    """Zeros for the most segments and jumps that there are in the ramps of integrations of this shape, (int, row, col)."""
    sizes = {"pedestal": (), "crmag": (most[1],)}
    return Segments(*(np.zeros((shape[0], *sizes.get(name, (most[0],)), *shape[1:]), np.float32) for name in Segments._fields))


def _likelihood(exposure, gain, readnoise, rate, ints, chi2):
    """Fill the products by maximum likelihood. With more than one frame a group, a zero frame counts as a group of its own."""
    from ...kernels.ramps import likely_ramp

    head = exposure.header
    nframes, gap, frame = int(head["NFRAMES"]), int(head["GROUPGAP"]), float(head["TFRAME"])
    even = [(np.arange(1, nframes + 1) + g * (nframes + gap)) * frame for g in range(exposure.sci.shape[1])]
    reads = list(exposure.read_times or even)
    zeroframe = _zero_frames(exposure) if nframes > 1 else NO_CUBE
    if zeroframe.size:
        reads[:1] = [reads[0][:1], reads[0][1:]]
    dark = exposure.extra.get("AVDRKCUR", NO_PLANE)
    ramps = Ramps(exposure.sci, exposure.groupdq, zeroframe, gain, readnoise, dark)
    likely_ramp.fit_ramps(ramps, nframes, likely_ramp.covariance(reads), BITS, rate, ints, chi2)
    log.info("%d ramps of %d differences fitted by their likelihood", ints.sci.size, len(reads) - 1)


def _used_groups(exposure, dead):
    """First group to use and the one after the last. MIRI's leading groups and last group that are bad everywhere are cut off."""
    ngroups = dead.shape[1]
    if exposure.header["INSTRUME"] != "MIRI" or ngroups == 1:
        return 0, ngroups
    everywhere = dead.all(axis=0)
    first = int(np.argmin(everywhere)) if not everywhere.all() else ngroups
    last = ngroups - int(everywhere[-1])
    if last - first < 2:
        raise InputError(
            f"{max(last - first, 0)} of its {ngroups} groups are usable, 2 are needed to fit a ramp",
            file=exposure.name,
            do="Switch off the steps that flag first and last groups (firstframe, lastframe, rscd), or leave this exposure out",
        )
    return first, last


def _exposure(ramp, planes, suffix, factor):
    """One product."""
    if suffix == "likely_chisq":
        pixels = Pixels(sci=planes)
    elif suffix == "fitopt":
        pixels = Pixels(extra={name.upper(): array for name, array in planes._asdict().items()})
    else:
        pixels = Pixels(**planes._asdict())
    product = ramp.derive([pixels], suffix)
    product.tables = {name: table for name, table in ramp.tables.items() if suffix == "rateints" and name in TIMES}
    product.header.sci["BUNIT"] = "DN/s"
    if factor is not None:
        product.header["GAINFACT"] = factor
    return product
