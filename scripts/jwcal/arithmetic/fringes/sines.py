"""How many sines there are in a spectrum, and which."""

import math

import numpy as np

from ...kernels.fringes import sines as kernel

DOMAIN = 10.0  # standard deviations beyond which a point does not count
TOLERANCE, ROUNDS = 1e-4, 1000
STRONG = 1.0  # log10 of the odds that one sine more needs (Kass & Raftery 1995, J. Am. Stat. Assoc. 90, 773)
COUNTS = 1e-5  # weight of points in which frequencies are looked for


def fit_sines(residuals, weights, wavenumber, frequency, width, most, resolution, limits, *, usable=None, robust=True):
    """Fit sines to the residuals of a spectrum, as many as have strong evidence.

    Parameters
    ----------
    residuals, weights, wavenumber : (n,) float64
        Relative residuals; what each counts; 1 / cm.
    frequency, width : float
        Periods between `frequency` - `width` and `frequency` + `width` are looked for, 1 / cm.
    most : int
        Sines at most.
    resolution : float
        Step between periods that are tried, 1 / cm.
    limits : ((low, high), (low, high))
        Of the parameters and of the noise, for the evidence.
    usable : (n,) of 0 and 1, optional
        Multiplied into `weights`, in place.
    robust : bool
        Weigh points down that are far from the fit.

    Returns
    -------
    (n,) float64 or None
        The sum of the sines; None where none has strong evidence.
    """
    scale = wavenumber.min()
    x = wavenumber / scale
    periods = np.linspace((frequency - width) / scale, (frequency + width) / scale, int(np.around(2 * width / resolution)))
    y = np.nan_to_num(residuals, posinf=0, neginf=0)
    left, evidence, best, fixed = y, _evidence_of_none(y, weights, limits), None, []
    for _ in range(most):
        if usable is not None:
            weights *= usable
        counts = weights > COUNTS
        power = kernel.strongest(x[counts][::-1].copy(), left[counts][::-1].copy(), 1 / periods)
        fixed.append(1.0 / periods[np.argmax(power)])
        found = _fit(x, y, weights, fixed, limits, robust)
        if found is None or found[0] - evidence <= STRONG:
            break
        evidence, parameters = found
        best = kernel.sines(x, parameters)
        left = y - best
    return best


def _fit(x, y, weights, periods, limits, robust):
    """(evidence, parameters) of sines, whose frequencies are fitted after their amplitudes; None where that fails."""
    parameters = np.ones(3 * len(periods))
    parameters[::3] = periods
    every = np.arange(parameters.size)
    try:
        for free in (every[every % 3 != 0], every):
            chi, curvature, counted = _robust(x, y, weights, parameters, free) if robust else _plain(x, y, weights, parameters, free)
        return _evidence(chi, curvature, counted, limits), parameters
    except (ValueError, ArithmeticError, np.linalg.LinAlgError):
        return None


def _plain(x, y, weights, parameters, free):
    chi, curvature, whole = kernel.fit(x, y, weights, parameters, free)
    if not whole or chi <= 0:
        raise ArithmeticError("the fit did not come to an end")
    return chi, curvature, weights.sum()


def _robust(x, y, weights, parameters, free):
    """A fit with biweights (Tukey), from the noise of the last one, until chi squared stays."""
    chi, _, counted = _plain(x, y, weights, parameters, free)
    for _ in range(ROUNDS * parameters.size):
        away = (y - kernel.sines(x, parameters)) / (_noise(chi, counted, free.size) * DOMAIN)
        kept = np.where(away * away <= 1, 1 - away * away, 0.0) ** 2 * weights
        after, _, counted = _plain(x, y, kept, parameters, free)
        same = abs(chi - after) < (TOLERANCE if after < 1 else TOLERANCE * after)
        chi = after
        if same:
            break
    slopes = kernel.design(x, parameters, np.arange(parameters.size))
    return chi, (slopes * kept) @ slopes.T, counted


def _noise(chi, counted, parameters):
    if counted <= parameters:
        raise ArithmeticError("more parameters than points")
    return math.sqrt(chi / (counted - parameters))


def _evidence(chi, curvature, counted, limits):
    """log10 of the evidence of a model, its posterior taken as Gaussian (Kester 2004, AIP 735, 379, eq. 18)."""
    (low, high), noise_limits = limits
    count, reach = len(curvature), math.log(noise_limits[1]) - math.log(noise_limits[0])
    variance = _noise(chi, counted, count) ** 2
    occam = 0.5 * math.log(math.pi * (counted - count)) - reach - math.log(reach) - count * math.log(high - low)
    occam += 0.5 * (count * math.log(2 * math.pi * variance) - math.log(np.linalg.det(curvature)))
    return (occam - 0.5 * (counted * math.log(2 * math.pi * variance) + chi / variance)) / math.log(10)


def _evidence_of_none(y, weights, limits):
    """The same of a constant 1, which residuals never are: the first sine has nearly always strong evidence, as in the peer."""
    _, noise_limits = limits
    counted, chi = weights.sum(), np.sum((y - 1) ** 2)
    variance = chi / counted
    occam = 0.5 * math.log(math.pi * counted) - (math.log(noise_limits[1]) - math.log(noise_limits[0]))
    return (occam - 0.5 * (counted * math.log(2 * math.pi * variance) + chi / variance)) / math.log(10)
