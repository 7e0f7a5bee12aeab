"""The fit of `likely_ramp` for ramps that no jump can be in, many side by side in the machine's vectors; names and equations are its own.

A jump is left out where chi squared gains enough from it, and it cannot gain more than all of it. So most ramps are settled by their
chi squared alone. Arrays are (difference, ramp); one short loop is one function, because only so does the compiler use vectors.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from .sort_columns import sort_columns


class Tile(NamedTuple):
    """Ramps that are worked on together, and what comes out of it."""

    d: np.ndarray  # (difference, ramp), DN/s; 0 where it is not used
    use: np.ndarray  # (difference, ramp), 1.0 or 0.0
    alpha: np.ndarray
    beta: np.ndarray
    theta: np.ndarray
    phi: np.ndarray
    dC: np.ndarray
    row: np.ndarray  # (quantity, ramp): sums and results, in the order of the names below


PHOTONS, NOISE2, SCALE, INVERSE, SUM, SUM_D, A, B, C, RATE, VAR_P, VAR_R, GAIN, ONE = range(14)


@njit(cache=True, nogil=True)
def tile_of(n, width):
    """An empty tile of n differences."""
    shape = n, width
    work = np.empty((5, n + 1, width))
    row = np.empty((14, width))
    row[ONE] = 1.0
    return Tile(np.empty(shape), np.empty(shape), work[0], work[1], work[2], work[3], work[4], row)


@njit(cache=True, nogil=True, error_model="numpy")
def _difference(now, before, time, out):
    for x in range(out.size):
        d = float(now[x] - before[x]) / time
        out[x] = d if d == d else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _in_use(now, before, q, q_before, out):
    for x in range(out.size):
        d = now[x] - before[x]
        out[x] = 1.0 if (d == d) & ((q[x] | q_before[x]) == 0) else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _gather(q, invalid, any_flag, usable):
    for x in range(q.size):
        any_flag[x] |= q[x]
        usable[x] |= np.uint8((q[x] & invalid) == 0)


@njit(cache=True, nogil=True, error_model="numpy")
def load(ramps, i, y, x0, covariance, invalid, t, any_flag, usable):
    """Fill d and use of a tile of one integration, the flags of each ramp, and whether any of its groups has no `invalid` flag."""
    width = t.d.shape[1]
    part = slice(x0, x0 + width)
    any_flag[:], usable[:] = 0, 0
    for g in range(ramps.sci.shape[1]):
        now, q = ramps.sci[i, g, y, part], ramps.groupdq[i, g, y, part]
        _gather(q, invalid, any_flag, usable)
        if g:
            before, q_before = ramps.sci[i, g - 1, y, part], ramps.groupdq[i, g - 1, y, part]
            _difference(now, before, covariance.time[g - 1], t.d[g - 1])
            _in_use(now, before, q, q_before, t.use[g - 1])
    for x in range(width):
        t.row[GAIN, x] = ramps.gain[y, x0 + x]
        t.row[NOISE2, x] = (ramps.readnoise[y, x0 + x] / np.sqrt(2.0)) ** 2


@njit(cache=True, nogil=True, error_model="numpy")
def _mixed(photons, noise2, a, b, out):
    for x in range(out.size):
        out[x] = photons[x] * a + noise2[x] * b


@njit(cache=True, nogil=True, error_model="numpy")
def _half(alpha, scale):
    for x in range(scale.size):
        scale[x] = 0.5 * alpha[x]


@njit(cache=True, nogil=True, error_model="numpy")
def _scaled(scale, out):
    for x in range(out.size):
        out[x] *= 1.0 / scale[x]


@njit(cache=True, nogil=True, error_model="numpy")
def _scaled_pair(scale, use, use_next, out):
    for x in range(out.size):
        out[x] *= use[x] * use_next[x] * (1.0 / scale[x])


@njit(cache=True, nogil=True, error_model="numpy")
def _minor(alpha, one, beta, two, out):
    """The next minor of the determinant, from the last one and the last but one."""
    for x in range(out.size):
        out[x] = alpha[x] * one[x] - beta[x] * beta[x] * two[x]


@njit(cache=True, nogil=True, error_model="numpy")
def _inverse(theta, out):
    for x in range(out.size):
        out[x] = 1.0 / theta[x]


@njit(cache=True, nogil=True, error_model="numpy")
def _back(beta, sign, phi, total):
    for x in range(total.size):
        total[x] = total[x] * beta[x] + sign * beta[x] * phi[x]


@njit(cache=True, nogil=True, error_model="numpy")
def _product(a, b, out):
    for x in range(out.size):
        out[x] = a[x] * b[x]


@njit(cache=True, nogil=True, error_model="numpy")
def _chi2_term(sign, b, sum_d, d, theta, phi, inverse, out):
    for x in range(out.size):
        out[x] += (2.0 * sign * b[x] * sum_d[x] + d[x] * theta[x]) * d[x] * phi[x] * inverse[x]


@njit(cache=True, nogil=True, error_model="numpy")
def _forth(b, sign, theta, total):
    for x in range(total.size):
        total[x] = total[x] * b[x] + sign * theta[x]


@njit(cache=True, nogil=True, error_model="numpy")
def _forth_d(b, sign, d, theta, total):
    for x in range(total.size):
        total[x] = total[x] * b[x] + sign * d[x] * theta[x]


@njit(cache=True, nogil=True, error_model="numpy")
def _weight(sign, inverse, phi, total, use, out):
    for x in range(out.size):
        out[x] = sign * inverse[x] * (phi[x] * total[x] + out[x]) * use[x]


@njit(cache=True, nogil=True, error_model="numpy")
def _add_product(a, b, total):
    for x in range(total.size):
        total[x] += a[x] * b[x]


@njit(cache=True, nogil=True, error_model="numpy")
def _add(a, total):
    for x in range(total.size):
        total[x] += a[x]


@njit(cache=True, nogil=True, error_model="numpy")
def _set_covariance(covariance, t):
    """Fill alpha and beta for the rates row[RATE]."""
    n, row = t.d.shape[0], t.row
    row[PHOTONS] = row[RATE] / row[GAIN]
    for i in range(n):
        _mixed(row[PHOTONS], row[NOISE2], covariance.alpha_photons[i], covariance.alpha_reads[i], t.alpha[i])
    _half(t.alpha[0], row[SCALE])
    for i in range(n):
        _scaled(row[SCALE], t.alpha[i])
    for i in range(n - 1):
        _mixed(row[PHOTONS], row[NOISE2], covariance.beta_photons[i], covariance.beta_reads[i], t.beta[i])
        _scaled_pair(row[SCALE], t.use[i], t.use[i + 1], t.beta[i])


@njit(cache=True, nogil=True, error_model="numpy")
def _solve(t):
    """The sums A, B, C and dC."""
    n, row, theta, phi, beta = t.d.shape[0], t.row, t.theta, t.phi, t.beta
    theta[0], theta[1] = 1.0, t.alpha[0]
    for i in range(2, n + 1):
        _minor(t.alpha[i - 1], theta[i - 1], beta[i - 2], theta[i - 2], theta[i])
    phi[n], phi[n - 1] = 1.0, t.alpha[n - 1]
    for i in range(n - 2, -1, -1):
        _minor(t.alpha[i], phi[i + 1], beta[i], phi[i + 2], phi[i])
    _inverse(theta[n], row[INVERSE])

    row[SUM] = 0.0
    t.dC[n - 1] = 0.0
    for i in range(n - 2, -1, -1):
        _back(beta[i], 1.0 if i % 2 == 0 else -1.0, phi[i + 2], row[SUM])
        _product(theta[i], row[SUM], t.dC[i])

    row[SUM], row[SUM_D], row[A], row[B], row[C] = 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(n):
        sign, b = -1.0 if i % 2 == 0 else 1.0, beta[i - 1] if i else row[ONE]
        _chi2_term(sign, b, row[SUM_D], t.d[i], theta[i], phi[i + 1], row[INVERSE], row[A])
        _forth(b, sign, theta[i], row[SUM])
        _forth_d(b, sign, t.d[i], theta[i], row[SUM_D])
        _weight(sign, row[INVERSE], phi[i + 1], row[SUM], t.use[i], t.dC[i])
        _add_product(t.d[i], t.dC[i], row[B])
        _add(t.dC[i], row[C])


@njit(cache=True, nogil=True, error_model="numpy")
def _add_variance(dC, before, C, alpha, beta, total):
    for x in range(total.size):
        weight = dC[x] / C[x]
        total[x] += weight * weight * alpha + 2.0 * weight * before[x] / C[x] * beta


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
        d (also those not in use), use, row[GAIN] and row[NOISE2] are given; its row[VAR_P] and row[VAR_R] are filled: variances.
    settled : ndarray of uint8, (ramp,)
        Filled: 1 where there is no jump, and what is told of the ramp is right, if its gain is above 0.
    slope, err, misfit : ndarray, (ramp,)
        Filled: count rate, its error, chi squared.
    """
    n, width = t.d.shape
    row = t.row
    t.alpha[:n] = t.d
    sort_columns(t.alpha, n)
    row[RATE] = np.maximum(0.5 * (t.alpha[(n - 1) // 2] + t.alpha[n // 2]), 0.0)
    for i in range(n):
        _product(t.d[i], t.use[i], t.d[i])
    _set_covariance(covariance, t)
    _solve(t)
    for x in range(width):
        chi2 = (row[A, x] - row[B, x] * row[B, x] / row[C, x]) / row[SCALE, x]
        settled[x] = chi2 <= most
        row[RATE, x] = max(row[B, x] / row[C, x], 0.0) + dark[x]
    _set_covariance(covariance, t)
    _solve(t)
    row[VAR_P], row[VAR_R], row[SUM] = 0.0, 0.0, 0.0
    for i in range(n):
        before, beside = t.dC[i - 1] if i else row[SUM], max(i - 1, 0)
        beta_photons, beta_reads = (covariance.beta_photons[beside], covariance.beta_reads[beside]) if i else (0.0, 0.0)
        _add_variance(t.dC[i], before, row[C], covariance.alpha_photons[i], beta_photons, row[VAR_P])
        _add_variance(t.dC[i], before, row[C], covariance.alpha_reads[i], beta_reads, row[VAR_R])
    row[VAR_P] *= row[RATE] / row[GAIN]
    row[VAR_R] *= row[NOISE2]
    slope[:] = row[B] / row[C]
    err[:] = np.sqrt(row[SCALE] / row[C])
    misfit[:] = (row[A] - row[B] * row[B] / row[C]) / row[SCALE]
