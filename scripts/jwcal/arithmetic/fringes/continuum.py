"""The continuum of a spectrum with fringes: a spline with a knot a period, its lines found and left out."""

import math
import warnings

import numpy as np
from scipy.interpolate import LSQUnivariateSpline, pchip

LIGHT = 1e-5  # weight below which a point does not count
NOTHING = 1e-8  # stands for 0 in weights and fluxes
DOMAIN, TOLERANCE, ROUNDS = 10.0, 1e-4, 1000  # of the fit without outliers
LEAST_PERIODS = 5
STEEP = 1.5  # 1 / cm: periods above have a parabola between knots, fitted without outliers; those below lines


def envelopes(signal, two=False, size=None):
    """The lower and the upper envelope: monotonic curves through the minima and through the maxima.

    Parameters
    ----------
    signal : (n,)
    two : bool
        Extremes are lower (higher) than two neighbours on each side, not one.
    size : int, optional
        Points of the envelopes, where they go on beyond the signal; its last value stands at the last of them.

    Returns
    -------
    lower, upper : (n,)
    """
    at, reach = np.arange(size or signal.size), 2 if two else 1
    middle = signal[reach : signal.size - reach]
    beside = [signal[reach + step : signal.size - reach + step] for step in range(-reach, reach + 1) if step]
    out = []
    for extreme in (np.all([middle < other for other in beside], axis=0), np.all([middle > other for other in beside], axis=0)):
        inner = np.flatnonzero(extreme) + reach
        values = np.concatenate([signal[:1], signal[inner], signal[-1:]])
        out.append(pchip(np.concatenate([at[:1], inner, at[-1:]]), values)(at))
    return out


def line_weights(signal, largest):
    """0 in lines, 1 elsewhere: between the minima beside each maximum that is above a limit.

    Parameters
    ----------
    signal : (n,)
        How far the spectrum is above its lower envelope, relative to it.
    largest : (n,)
        Limits.
    """
    inner, left, right = signal[1:-1], signal[:-2], signal[2:]
    dark = (np.abs(inner) <= NOTHING) & (np.abs(left) <= NOTHING) & (np.abs(right) <= NOTHING)
    peaks = np.flatnonzero((inner > left) & (inner > right) & ~dark) + 1
    troughs = np.flatnonzero((inner < left) & (inner < right) & ~dark) + 1
    rest, weights = signal.copy(), np.ones(signal.size)
    for peak in peaks[signal[peaks] > largest[peaks]]:
        for place in (peak - 1, peak, peak + 1):
            nearest = troughs[np.argsort(np.abs(troughs - place))[:2]]
            if nearest.size == 2:
                rest[nearest.min() : nearest.max()] = weights[nearest.min() : nearest.max()] = 0
    weights[rest > 2 * largest] = 0
    return weights


def without_runaways(fringes, largest):
    """Fringes set to 0 in each beat in which they are larger than a limit; in place."""
    lower, upper = envelopes(fringes)
    inner = upper[1:-1]
    nodes = np.concatenate([[0], np.flatnonzero((inner < upper[:-2]) & (inner < upper[2:])) + 1, [fringes.size - 1]])
    for place in np.flatnonzero(np.abs(lower) + np.abs(upper) > largest):
        node = np.searchsorted(nodes, place)
        fringes[nodes[node - 1] : nodes[node]] = 0
    return fringes


def continuum(flux, weights, wavenumber, period, falling=True):
    """A spline through a spectrum, with about one knot a period.

    Parameters
    ----------
    flux, weights, wavenumber : (n,) float64
    period : float
        1 / cm.
    falling : bool
        Whether the wavenumber falls from point to point; it rises else.

    Returns
    -------
    (n,) float64, or None where there are too few periods
    """
    periods = (wavenumber.max() - wavenumber.min()) / period
    if periods // 1 < LEAST_PERIODS:
        return None
    x = wavenumber / wavenumber.min()
    knots = x[_knots(flux, int(periods), weights)]
    order = slice(None, None, -1 if falling else 1)
    given = (x[order], flux[order], weights[order], knots[order][1:-1])
    made = (_without_outliers(*given) if period > STEEP else LSQUnivariateSpline(given[0], given[1], given[3], w=given[2], k=1))(x)
    made *= np.where(weights > 1e-7, 1, NOTHING)
    known = weights >= LIGHT
    if known.any():
        made[~known] = np.interp(np.flatnonzero(~known), np.flatnonzero(known), made[known])
    return made


def _without_outliers(x, y, weights, knots):
    """A quadratic spline, with biweights from the residuals of the last one until chi squared stays."""

    def fitted(weights):
        spline = LSQUnivariateSpline(x, y, knots, w=weights, k=2)
        residuals = y - spline(x)
        return spline, residuals, np.nansum(residuals**2 * weights)

    spline, residuals, chi = fitted(weights)
    parameters = len(knots) + 6
    freedom = np.sum(weights) - parameters
    for _ in range(ROUNDS * parameters):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            away = residuals / (np.sqrt(chi / freedom) * DOMAIN)
            kept = np.where(away**2 <= 1, 1 - away**2, 0.0) ** 2 * weights
        spline, residuals, after = fitted(kept)
        if np.abs(chi - after) < (TOLERANCE if after < 1 else TOLERANCE * after):
            return spline
        chi = after
    raise ValueError("the fit of the continuum did not come to an end")


def _knots(flux, count, weights):
    """Places of knots: evenly spaced, and where points that count end."""
    flux = np.nan_to_num(flux, posinf=NOTHING, neginf=NOTHING)
    weights = np.maximum(np.nan_to_num(weights, posinf=NOTHING, neginf=NOTHING), 0) * (flux > 1e-3)
    size, step = flux.size, flux.size / count
    last = size - 1 - round((count - 1) * step)
    places = np.concatenate([[0], np.arange(count) * step + last / 2, [size - 1]])
    before, after = weights[:-1], weights[1:]
    larger, steps = np.maximum(before, after), np.abs(after - before)
    edge = (larger > 1e-3) & (np.abs(larger - steps) <= 0.1 * np.maximum(larger, steps))
    edges = np.flatnonzero(edge) + (after > before)[edge]
    edges = [place for place in edges.tolist() if place - 1 not in places and place + 1 not in places]
    return np.unique(np.concatenate([places, edges]).astype(int))


def filled(wavenumber):
    """Wavenumbers, with a cubic through those that are known where they are not: these points do not count, but need a value."""
    good = np.isfinite(wavenumber) & (wavenumber != 0)
    if good.all():
        return wavenumber
    at = np.arange(wavenumber.size)
    fit = np.polynomial.polynomial.polyfit(at[good], wavenumber[good], 3)
    return np.where(good, wavenumber, np.polynomial.polynomial.polyval(at, fit))


def spectral_noise(flux):
    """Noise of a spectrum from its second differences (Stoehr et al. 2008, ADASS XVII, 505)."""
    size = flux.size
    steps = 2.0 * flux[2 : size - 2] - flux[: size - 4] - flux[4:]
    return 1.482602 / math.sqrt(6) * np.nanmedian(np.abs(steps)) if size > 4 else 0.0
