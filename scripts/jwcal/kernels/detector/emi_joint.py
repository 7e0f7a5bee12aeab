"""Fit a periodic wave of known form to ramps, together with a straight line in every pixel.

A pixel's group g is y_g = a + b g + c w(p + g d + q): a line, and the wave w (period 1) with the amplitude c and the phase q that all
pixels share; p is the phase at which the pixel is read in the first group, d what a group adds. For a given q everything is linear.
With the line taken out of the wave in each pixel, w -> w', the chi squared that the wave saves is

    A c^2 + B c,  A = sum_pixels sum_g w w',  B = -2 sum_pixels sum_g w' y      at best  c = -B / 2A

Pixels of the same p have the same w', so that their samples are summed first. Phases are in units of the period, times in samples (10 us).
"""

import numpy as np
from numba import njit, prange

OUTPUTS = 4  # amplifiers, which read neighbouring columns at the same time


@njit(cache=True, nogil=True)
def wave_at(wave, phase):
    """A wave's value: cubics (4, sample + 1) from the highest power down, each from one sample's place to the next; phase from 0 to 1."""
    size = wave.shape[1] - 1
    first = -0.5 / size
    k = min(int((phase - first) * size), size)
    x = phase - (k - 0.5) / size
    return ((wave[0, k] * x + wave[1, k]) * x + wave[2, k]) * x + wave[3, k]


@njit(cache=True, nogil=True, parallel=True)
def scatter(sci, out):
    """Standard deviation of each pixel's groups, in single precision: (int, group, row, col) -> (int, row, col) float32."""
    nints, ngroups, ny, nx = sci.shape
    n = np.float32(ngroups)
    for y in prange(ny):
        mean, square = np.empty(nx, np.float32), np.empty(nx, np.float32)
        for i in range(nints):
            mean[:] = 0
            square[:] = 0
            for g in range(ngroups):
                for x in range(nx):
                    mean[x] += sci[i, g, y, x]
            for x in range(nx):
                mean[x] /= n
            for g in range(ngroups):
                for x in range(nx):
                    off = sci[i, g, y, x] - mean[x]
                    square[x] += off * off
            for x in range(nx):
                out[i, y, x] = np.sqrt(square[x] / n)


@njit(cache=True, nogil=True, parallel=True)
def sum_by_phase(sci, good, place, sums, numbers):
    """Add up the samples of good pixels that are read at the same phase.

    Parameters
    ----------
    sci : (int, group, row, col) float32
    good : (int, row, col) bool
    place : (row, col // 4) int
        Which sum a pixel belongs to; negative: none.
    sums : (int, group, place) float64
        Zeros; filled.
    numbers : (int, place) float64
        Zeros; pixels in each sum.
    """
    nints, ngroups, ny, nx = sci.shape
    for task in prange(nints * ngroups):
        i, g = task // ngroups, task % ngroups
        for y in range(ny):
            for x in range(nx):
                p = place[y, x // OUTPUTS]
                if p >= 0 and good[i, y, x]:
                    sums[i, g, p] += np.float64(sci[i, g, y, x])
                    if g == 0:
                        numbers[i, p] += 1


@njit(cache=True, nogil=True)
def _without_line(values, out):
    """Take the straight line through equidistant values out of them."""
    n = values.size
    middle, mean, slope, norm = (n - 1) / 2, values.mean(), 0.0, 0.0
    for g in range(n):
        slope += (g - middle) * values[g]
        norm += (g - middle) ** 2
    slope /= norm
    for g in range(n):
        out[g] = values[g] - mean - slope * (g - middle)


@njit(cache=True, nogil=True, parallel=True)
def trial_fits(sums, numbers, wave, step, trials, a, b):
    """A and B of each trial phase in each integration, as if the integration began at phase 0.

    Parameters
    ----------
    sums, numbers
        From `sum_by_phase`; the place k of n is the phase (k + 1/2) / n.
    wave : (4, sample + 1) float64
        See `wave_at`.
    step : float
        Phase that a group adds.
    trials : (trial,) float64
    a, b : (trial, int) float64
        Filled.
    """
    nints, ngroups, places = sums.shape
    for t in prange(trials.size):
        w, rest = np.empty(ngroups), np.empty(ngroups)
        a[t] = 0
        b[t] = 0
        for p in range(places):
            first = (p + 0.5) / places
            for g in range(ngroups):
                w[g] = wave_at(wave, ((first + g * step) % 1 + trials[t]) % 1)
            _without_line(w, rest)
            power = (w * rest).sum()
            for i in range(nints):
                if numbers[i, p] > 0:
                    a[t, i] += numbers[i, p] * power
                    for g in range(ngroups):
                        b[t, i] -= 2 * rest[g] * sums[i, g, p]


@njit(cache=True, nogil=True)
def _trial_after(trials, phase, offset):
    """The trial phase that is the next one at or after phase + offset, among equidistant ones from 0."""
    n = trials.size
    near = int(((phase + offset) % 1) * n)
    best, least = 0, 2.0
    for k in range(near - 2, near + 3):
        distance = (trials[k % n] - phase - offset) % 1
        if distance < least:
            best, least = k % n, distance
    return best


@njit(cache=True, nogil=True)
def saved_chi2(a, b, trials, offsets, phases):
    """Chi squared that the wave saves, and its amplitude, at some phases of the first integration.

    Parameters
    ----------
    a, b : (trial, int) float64
        From `trial_fits`.
    trials : (trial,) float64
    offsets : (int,) float64
        Phase between the starts of the first and each integration.
    phases : (n,) float64

    Returns
    -------
    chi2, amplitudes : (n,) float64
        NaN and 0 where nothing tells.
    """
    chi2, amplitudes = np.full(phases.size, np.nan), np.zeros(phases.size)
    for n in range(phases.size):
        total_a, total_b = 0.0, 0.0
        for i in range(offsets.size):
            t = _trial_after(trials, phases[n], offsets[i])
            total_a += a[t, i]
            total_b += b[t, i]
        if abs(total_a) > 1e-8 and np.isfinite(total_a) and np.isfinite(total_b):
            c = -total_b / (2 * total_a)
            chi2[n], amplitudes[n] = (total_a * c + total_b) * c, c
    return chi2, amplitudes


@njit(cache=True, nogil=True, parallel=True)
def subtract_wave(sci, wave, phase, step, starts, amplitudes):
    """Subtract the wave from every sample, in place.

    Parameters
    ----------
    sci : (int, group, row, col) float32
    wave : (4, sample + 1) float64
    phase : (row, col // 4) float64
        When a pixel is read in the first group.
    step : float
        Phase that a group adds.
    starts, amplitudes : (int,) float64
        Phase at the start of each integration; DN.
    """
    nints, ngroups, ny, nx = sci.shape
    for y in prange(ny):
        for i in range(nints):
            for g in range(ngroups):
                for k in range(nx // OUTPUTS):
                    noise = amplitudes[i] * wave_at(wave, (phase[y, k] + step * g + starts[i]) % 1)
                    for x in range(OUTPUTS * k, OUTPUTS * (k + 1)):
                        sci[i, g, y, x] = np.float64(sci[i, g, y, x]) - noise
