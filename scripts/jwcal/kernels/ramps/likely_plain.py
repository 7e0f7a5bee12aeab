"""The fit of `likely_ramp` for ramps that no jump can be in, many side by side in the machine's vectors; names and equations are its own.

A jump is left out where chi squared gains enough from it, and it cannot gain more than all of it. So most ramps are settled by their
chi squared alone. The compiler uses vectors where it sees that arrays don't overlap: quantities lie TILE apart in one flat array.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from ..columns.sort_columns import sort_columns

TILE = 64  # ramps that are worked on together


class Tile(NamedTuple):
    """Ramps that are worked on together."""

    d: np.ndarray  # (difference, ramp), DN/s; after the fit 0 where it is not used
    use: np.ndarray  # (difference, ramp), 1.0 or 0.0
    factor: np.ndarray  # (difference, 2 * ramp): what its elimination leaves for the way back
    ordered: np.ndarray  # (difference, ramp)
    state: np.ndarray  # quantities of a ramp, in the order of the names below


GAIN, NOISE2, RATE, PHOTONS, PIVOT, BETA, Y, Z, A, B, C, WEIGHT, LINK, VAR_P, VAR_R = range(0, 15 * TILE, TILE)


@njit(cache=True, nogil=True)
def tile_of(n):
    """An empty tile of n differences."""
    shape = n, TILE
    return Tile(np.empty(shape), np.empty(shape), np.empty((n, 2 * TILE)), np.empty(shape), np.empty(15 * TILE))


@njit(cache=True, nogil=True)
def row(t, quantity):
    """A quantity of the ramps of a tile."""
    return t.state[quantity : quantity + TILE]


@njit(cache=True, nogil=True, error_model="numpy")
def _difference(now, before, time, out):
    for x in range(now.size):
        d = float(now[x] - before[x]) / time
        out[x] = d if d == d else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _in_use(now, before, q, q_before, out):
    for x in range(now.size):
        d = now[x] - before[x]
        out[x] = 1.0 if (d == d) & ((q[x] | q_before[x]) == 0) else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _gather(q, invalid, any_flag, usable):
    for x in range(q.size):
        any_flag[x] |= q[x]
        usable[x] |= np.uint8((q[x] & invalid) == 0)


@njit(cache=True, nogil=True, error_model="numpy")
def load(ramps, i, y, x0, width, covariance, invalid, t, any_flag, usable):
    """Fill d and use of a tile of one integration, the flags of each ramp, and whether any of its groups has no `invalid` flag.

    `width` ramps are loaded; what the tile has beyond them is of no account, but finite.
    """
    part = slice(x0, x0 + width)
    any_flag[:], usable[:] = 0, 0
    if width < TILE:
        t.d[:], t.use[:], t.state[:] = 0.0, 0.0, 1.0
    for g in range(ramps.sci.shape[1]):
        now, q = ramps.sci[i, g, y, part], ramps.groupdq[i, g, y, part]
        _gather(q, invalid, any_flag, usable)
        if g:
            before, q_before = ramps.sci[i, g - 1, y, part], ramps.groupdq[i, g - 1, y, part]
            _difference(now, before, covariance.time[g - 1], t.d[g - 1])
            _in_use(now, before, q, q_before, t.use[g - 1])
    for x in range(width):
        t.state[GAIN + x] = ramps.gain[y, x0 + x]
        t.state[NOISE2 + x] = (ramps.readnoise[y, x0 + x] / np.sqrt(2.0)) ** 2


@njit(cache=True, nogil=True, error_model="numpy")
def _product(a, b, out):
    for x in range(out.size):
        out[x] = a[x] * b[x]


@njit(cache=True, nogil=True, error_model="numpy")
def _eliminate(d, use, use_next, alpha_photons, alpha_reads, beta_photons, beta_reads, s, factor):
    """One difference of `likely_ramp._solve`, forwards."""
    for x in range(TILE):
        photons, noise2, beta = s[PHOTONS + x], s[NOISE2 + x], s[BETA + x]
        link = beta * s[PIVOT + x]
        pivot = 1.0 / (photons * alpha_photons + noise2 * alpha_reads - link * beta)
        y, z = d[x] - link * s[Y + x], use[x] - link * s[Z + x]
        s[A + x] += y * y * pivot
        s[B + x] += y * z * pivot
        s[C + x] += z * z * pivot
        s[PIVOT + x], s[Y + x], s[Z + x] = pivot, y, z
        s[BETA + x] = (photons * beta_photons + noise2 * beta_reads) * use[x] * use_next[x]
        factor[x], factor[TILE + x] = link, z * pivot


@njit(cache=True, nogil=True, error_model="numpy")
def _add_variance(alpha_photons, alpha_reads, beta_photons, beta_reads, s, factor):
    """One difference, backwards: its weight (dC), and what that adds to the variances."""
    for x in range(TILE):
        after = s[WEIGHT + x]
        weight = factor[TILE + x] - s[LINK + x] * after
        s[VAR_P + x] += weight * (weight * alpha_photons + 2.0 * after * beta_photons)
        s[VAR_R + x] += weight * (weight * alpha_reads + 2.0 * after * beta_reads)
        s[WEIGHT + x], s[LINK + x] = weight, factor[x]


@njit(cache=True, nogil=True, error_model="numpy")
def _solve(covariance, t):
    """The sums A, B, C with the noise of the rates in row RATE."""
    n, s = t.d.shape[0], t.state
    for x in range(TILE):
        s[PHOTONS + x] = s[RATE + x] / s[GAIN + x]
    s[PIVOT : C + TILE] = 0.0
    for i in range(n):
        k = min(i, n - 2)
        beta = (covariance.beta_photons[k], covariance.beta_reads[k]) if i == k else (0.0, 0.0)
        alpha = covariance.alpha_photons[i], covariance.alpha_reads[i]
        _eliminate(t.d[i], t.use[i], t.use[k + 1], alpha[0], alpha[1], beta[0], beta[1], s, t.factor[i])


@njit(cache=True, nogil=True, error_model="numpy")
def _variances(covariance, t):
    """Fill the rows VAR_P and VAR_R after `_solve`."""
    n, s = t.d.shape[0], t.state
    s[WEIGHT : VAR_R + TILE] = 0.0
    for i in range(n - 1, -1, -1):
        k = min(i, n - 2)  # of the last difference's weight, which no other follows, beta takes nothing
        alpha = covariance.alpha_photons[i], covariance.alpha_reads[i]
        _add_variance(alpha[0], alpha[1], covariance.beta_photons[k], covariance.beta_reads[k], s, t.factor[i])
    for x in range(TILE):
        s[VAR_P + x] *= s[PHOTONS + x] / (s[C + x] * s[C + x])
        s[VAR_R + x] *= s[NOISE2 + x] / (s[C + x] * s[C + x])


@njit(cache=True, nogil=True, error_model="numpy")
def fit(covariance, dark, most, t, settled, slope, err, misfit):
    """Fit the ramps of a tile.

    Parameters
    ----------
    covariance : likely_ramp.Covariance
    dark : ndarray, (ramp,)
        DN/s that is added to the count rate that the noise is taken from.
    most : float
        Chi squared above which there may be a jump.
    t : Tile
        d (also those not in use), use, the rows GAIN and NOISE2 are given; its rows VAR_P and VAR_R are filled: variances.
    settled : ndarray of uint8, (ramp,)
        Filled: 1 where there is no jump, and what is told of the ramp is right, if its gain is above 0.
    slope, err, misfit : ndarray, (ramp,)
        Filled: count rate, its error, chi squared.
    """
    n, s = t.d.shape[0], t.state
    t.ordered[:] = t.d
    sort_columns(t.ordered, n)
    low, high = t.ordered[(n - 1) // 2], t.ordered[n // 2]
    for x in range(TILE):
        s[RATE + x] = max(0.5 * (low[x] + high[x]), 0.0)
    for i in range(n):
        _product(t.d[i], t.use[i], t.d[i])
    _solve(covariance, t)
    for x in range(TILE):
        settled[x] = not s[A + x] - s[B + x] * s[B + x] / s[C + x] > most
        s[RATE + x] = max(s[B + x] / s[C + x], 0.0) + dark[x]
    _solve(covariance, t)
    _variances(covariance, t)
    for x in range(TILE):
        slope[x] = s[B + x] / s[C + x]
        err[x] = np.sqrt(1.0 / s[C + x])
        misfit[x] = s[A + x] - s[B + x] * slope[x]
