"""What the fringes tell: visibilities, closure phases and amplitudes of each integration, their means, and their errors.

Phases are averaged on the circle, so that none is torn at 180 degrees. The error of a mean is the scatter of the complex values, along and
across their mean direction, over the square root of their number; of a single integration it is that of its fit.
"""

from dataclasses import dataclass

import numpy as np
from astropy.stats import sigma_clip

KINDS = ("vis", "t3", "q4")
CLIP = 3.0
ROUNDS = 5


@dataclass
class Observables:
    """Of integrations: each array is (int, ...); of their mean: without the first axis. Phases are in rad.

    Attributes
    ----------
    amp, phase, amp_err, phase_err : dict of arrays
        By kind: "vis" of pairs, "t3" of triples, "q4" of quadruples (closure amplitudes and their phases).
    vis2, vis2_err : of pairs
    pistons, pistons_err : of holes, rad
    """

    amp: dict
    phase: dict
    amp_err: dict
    phase_err: dict
    vis2: np.ndarray
    vis2_err: np.ndarray
    pistons: np.ndarray
    pistons_err: np.ndarray


@dataclass
class Combinations:
    """How the phases and the logarithms of amplitudes of pairs add up to those of triples and quadruples, and to the holes' pistons."""

    phases: dict  # kind -> (which, pair)
    amplitudes: dict
    pistons: np.ndarray  # (hole, pair)


def combinations(mask):
    """The matrices for a mask.

    Triples (i, j, k) close over ij, jk, ki. Quadruples have |ij| |kl| / (|ik| |jl|) and ij - kl - ik - jl, where a pair's phase changes its
    sign with the order of its holes.
    """
    number = {tuple(pair): n for n, pair in enumerate(mask.pairs)}
    size = len(number)

    def matrix(rows, signed):
        out = np.zeros((len(rows), size))
        for row, terms in zip(out, rows, strict=True):
            for sign, i, j in terms:
                row[number[min(i, j), max(i, j)]] += sign * (np.sign(j - i) if signed else 1)
        return out

    triples = [[(1, i, j), (1, j, k), (1, k, i)] for i, j, k in mask.triples]
    quadruples = [[(1, i, j), (1, m, k), (-1, i, k), (-1, j, m)] for i, j, k, m in mask.quadruples]
    pairs = np.eye(size)
    differences = np.zeros((size, len(mask.holes)))
    differences[np.arange(size), mask.pairs[:, 0]], differences[np.arange(size), mask.pairs[:, 1]] = -1, 1
    return Combinations(
        {"vis": pairs, "t3": matrix(triples, True), "q4": matrix(quadruples, True)},
        {"vis": pairs, "t3": matrix(triples, False), "q4": matrix(quadruples, False)},
        np.linalg.pinv(differences),
    )


def of_fits(fits, mask):
    """The observables of each integration, with the errors of its fit.

    Parameters
    ----------
    fits : list of fit.Fit, or None for integrations without one, which become NaN
    mask : mask.Mask
    """
    how, pairs = combinations(mask), len(mask.pairs)
    amplitude, phase = (np.full((len(fits), pairs), np.nan) for _ in range(2))
    spread = np.full((len(fits), 2, pairs, pairs), np.nan)  # of the logarithms of amplitudes, and of phases
    for number, one in enumerate(fits):
        if one is None:
            continue
        a, b = one.coefficients[1:-1].reshape(pairs, 2).T
        amplitude[number], phase[number] = np.hypot(a, b), np.arctan2(b, a)
        own = one.covariance[1:-1, 1:-1].reshape(pairs, 2, pairs, 2)
        along = np.stack([a, b]) / amplitude[number] ** 2
        across = np.stack([-b, a]) / amplitude[number] ** 2
        for which, to in enumerate((along, across)):
            spread[number, which] = np.einsum("cp,pcqd,dq->pq", to, own, to)
    amp, turned, amp_err, phase_err = {}, {}, {}, {}
    for kind in KINDS:
        amp[kind] = np.exp(np.log(amplitude) @ how.amplitudes[kind].T)
        turned[kind] = wrapped(phase @ how.phases[kind].T)
        amp_err[kind] = amp[kind] * _errors(how.amplitudes[kind], spread[:, 0])
        phase_err[kind] = _errors(how.phases[kind], spread[:, 1])
    vis2, vis2_err = amplitude**2, 2 * amplitude * amp_err["vis"]
    return Observables(amp, turned, amp_err, phase_err, vis2, vis2_err, phase @ how.pistons.T, _errors(how.pistons, spread[:, 1]))


def _errors(matrix, covariance):
    return np.sqrt(np.maximum(np.einsum("ap,npq,aq->na", matrix, covariance, matrix), 0))


def wrapped(phase):
    """Phases between -pi and pi."""
    return (np.asarray(phase) + np.pi) % (2 * np.pi) - np.pi


def averaged(each, mask):
    """The means of the integrations, without those that stand out by more than 3 sigma, and their errors.

    The amplitudes of triples and quadruples are those of the mean amplitudes of their pairs.
    """
    good = np.isfinite(each.amp["vis"]).all(axis=1)
    if good.sum() < 2:
        number = int(np.argmax(good))
        return Observables(*(_taken(value, number) for value in vars(each).values()))
    how, count = combinations(mask), np.sqrt(good.sum())
    amp, phase, amp_err, phase_err = {}, {}, {}, {}
    for kind in KINDS:
        direction, values = _direction(each.phase[kind][good]), each.amp[kind][good]
        off = wrapped(each.phase[kind][good] - direction)
        phase[kind] = wrapped(direction + _clipped(off)[0])
        amp[kind] = _clipped(values)[0] if kind == "vis" else np.exp(np.log(amp["vis"]) @ how.amplitudes[kind].T)
        off = wrapped(each.phase[kind][good] - phase[kind])
        along, across = values * np.cos(off), values * np.sin(off)
        amp_err[kind] = along.std(axis=0, ddof=1) / count
        phase_err[kind] = across.std(axis=0, ddof=1) / count / np.mean(values, axis=0)
    vis2, scatter = _clipped(each.vis2[good])
    # a mean of few integrations: the scatter of the sample is that of all with n - 1
    vis2_err = scatter / np.sqrt(good.sum() - 1)
    middle = _direction(each.pistons[good])
    pistons, scatter = _clipped(wrapped(each.pistons[good] - middle))
    return Observables(amp, phase, amp_err, phase_err, vis2, vis2_err, middle + pistons, scatter / np.sqrt(good.sum() - 1))


def _taken(value, number):
    return {kind: array[number] for kind, array in value.items()} if isinstance(value, dict) else value[number]


def _direction(phase):
    return np.angle(np.exp(1j * phase).mean(axis=0))


def _clipped(values):
    """Mean and standard deviation of the integrations without outliers."""
    kept = sigma_clip(values, sigma=CLIP, maxiters=ROUNDS, cenfunc="median", axis=0, masked=True, copy=True)
    return np.ma.getdata(kept.mean(axis=0)), np.ma.getdata(kept.std(axis=0))


def calibrated(target, calibrator):
    """What is left of the target's mean observables when the calibrator's are taken off: it is a point source.

    Visibilities are divided, phases subtracted. Closure amplitudes become the logarithm of their ratio. Triple amplitudes and the phases of
    quadruples stay the target's.

    Returns
    -------
    Observables
    """
    amp, phase, amp_err, phase_err = (dict(part) for part in (target.amp, target.phase, target.amp_err, target.phase_err))
    ratio = target.amp["vis"] / calibrator.amp["vis"]
    amp["vis"], amp_err["vis"] = ratio, ratio * _relative(target, calibrator, "vis")
    amp["q4"], amp_err["q4"] = np.log(target.amp["q4"] / calibrator.amp["q4"]), _relative(target, calibrator, "q4")
    phase["t3"] = wrapped(target.phase["t3"] - calibrator.phase["t3"])
    phase_err["t3"] = np.hypot(target.phase_err["t3"], calibrator.phase_err["t3"])
    vis2 = target.vis2 / calibrator.vis2
    vis2_err = vis2 * np.hypot(target.vis2_err / target.vis2, calibrator.vis2_err / calibrator.vis2)
    errors = np.hypot(target.pistons_err, calibrator.pistons_err)
    return Observables(amp, phase, amp_err, phase_err, vis2, vis2_err, target.pistons, errors)


def _relative(target, calibrator, kind):
    return np.hypot(target.amp_err[kind] / target.amp[kind], calibrator.amp_err[kind] / calibrator.amp[kind])


def of_several(every):
    """The weighted mean of several exposures' means: one of all calibrators, by the errors of each.

    Parameters
    ----------
    every : list of Observables
    """
    if len(every) == 1:
        return every[0]

    def mean(values, errors):
        values, errors = np.array(values), np.array(errors)
        known = np.isfinite(errors) & (errors > 0)
        weights = np.where(known, 1 / np.where(known, errors, 1) ** 2, 0)
        weights = np.where(known.all(axis=0), weights, 1.0)  # without all errors all count alike
        total = weights.sum(axis=0)
        error = np.where(known.all(axis=0), 1 / np.sqrt(total), np.nan)
        return (weights * values).sum(axis=0) / total, error

    def phases(values, errors):
        middle = _direction(np.array(values))
        found, error = mean(wrapped(np.array(values) - middle), errors)
        return middle + found, error

    amp, phase, amp_err, phase_err = {}, {}, {}, {}
    for kind in KINDS:
        amp[kind], amp_err[kind] = mean([o.amp[kind] for o in every], [o.amp_err[kind] for o in every])
        phase[kind], phase_err[kind] = phases([o.phase[kind] for o in every], [o.phase_err[kind] for o in every])
    return Observables(
        *(amp, phase, amp_err, phase_err),
        *mean([o.vis2 for o in every], [o.vis2_err for o in every]),
        *phases([o.pistons for o in every], [o.pistons_err for o in every]),
    )
