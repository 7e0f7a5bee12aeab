"""A sum of sines through points: the strongest frequency, and a fit by Levenberg and Marquardt.

A sine is a cos(2 pi f x) + b sin(2 pi f x); its parameters are f, a, b. Steps and limits of the iteration are those of the fitter that the
peer uses: its results are not quite at the minimum, and a comparison sees the difference.
"""

import numpy as np
from numba import njit, prange

TOLERANCE = 1e-4  # of chi squared, or of its part where that is above 1
STEP = 0.5  # part of a step to the minimum of the parabola
MOST = 1000  # steps a parameter


@njit(cache=True, nogil=True, parallel=True)
def strongest(x, y, frequencies):
    """Power of each frequency: what a sine with a constant takes of the variance (Zechmeister & Kuerster 2009, A&A 496, 577).

    Parameters
    ----------
    x, y : (n,) float64
    frequencies : (m,) float64

    Returns
    -------
    (m,) float64
    """
    count, mean = x.size, y.mean()
    out = np.empty(frequencies.size)
    for k in prange(frequencies.size):
        c = s = cc = cs = yc = ys = 0.0
        turn = 2 * np.pi * frequencies[k]
        for i in range(count):
            cos, sin, value = np.cos(turn * x[i]), np.sin(turn * x[i]), y[i] - mean
            c += cos
            s += sin
            cc += cos * cos
            cs += cos * sin
            yc += value * cos
            ys += value * sin
        ss = count - cc
        cc, ss, cs = cc - c * c / count, ss - s * s / count, cs - c * s / count
        determinant = cc * ss - cs * cs
        out[k] = (ss * yc * yc + cc * ys * ys - 2 * cs * yc * ys) / determinant if determinant > 0 else 0.0
    return out


@njit(cache=True, nogil=True)
def sines(x, parameters):
    """The sum at x: (n,)."""
    out = np.zeros(x.size)
    for k in range(0, parameters.size, 3):
        for i in range(x.size):
            phase = 2 * np.pi * x[i] * parameters[k]
            out[i] += parameters[k + 1] * np.cos(phase) + parameters[k + 2] * np.sin(phase)
    return out


@njit(cache=True, nogil=True)
def _chi_squared(x, y, weights, parameters):
    model, total = sines(x, parameters), 0.0
    for i in range(x.size):
        total += weights[i] * (y[i] - model[i]) ** 2
    return total


@njit(cache=True, nogil=True)
def design(x, parameters, free):
    """Derivatives by the free parameters: (parameter, n)."""
    out = np.empty((free.size, x.size))
    for row in range(free.size):
        which, k = free[row] % 3, free[row] - free[row] % 3
        for i in range(x.size):
            turn = 2 * np.pi * x[i]
            cos, sin = np.cos(turn * parameters[k]), np.sin(turn * parameters[k])
            if which == 0:
                out[row, i] = turn * (parameters[k + 2] * cos - parameters[k + 1] * sin)
            else:
                out[row, i] = cos if which == 1 else sin
    return out


@njit(cache=True, nogil=True)
def fit(x, y, weights, parameters, free):
    """Fit some of the parameters.

    Parameters
    ----------
    x, y, weights : (n,) float64
    parameters : (3 sine,) float64
        Where it begins; changed in place to where it ends.
    free : (m,) int64
        Which of them are fitted.

    Returns
    -------
    chi squared, curvature (m, m) of the last step, and whether it came to an end
    """
    damping, turn = 1e-3, 0
    last = _chi_squared(x, y, weights, parameters) + 1
    curvature = np.zeros((free.size, free.size))
    while turn < MOST * parameters.size:
        slopes = design(x, parameters, free)
        weighted = slopes * weights
        curvature = weighted @ slopes.T
        vector = weighted @ (y - sines(x, parameters))
        better = False
        while turn < MOST * parameters.size:
            for k in range(free.size):
                curvature[k, k] *= 1 + damping
            step = np.linalg.solve(curvature, vector)
            tried = parameters.copy()
            for k in range(free.size):
                tried[free[k]] += STEP * step[k]
            chi = _chi_squared(x, y, weights, tried)
            turn += 1
            if chi <= last:
                better = True
                break
            if damping < 1e20:
                damping *= 10
        if not better:
            break
        parameters[:] = tried
        if abs(last - chi) < (TOLERANCE if last < 1 else TOLERANCE * last):
            return chi, curvature, True
        last = chi
        if damping > 1e-100:
            damping *= 0.1
    return last, curvature, False
