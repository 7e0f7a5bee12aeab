"""From light to raw counts: how a ramp comes to be, integration by integration, frame by frame."""

from dataclasses import dataclass, field

import numpy as np
from numba import njit, prange

from ..vocabulary import dq as dqbits
from .detector import CEILING, to_readout

COSMIC_RAYS = 1.6e-5  # hits a second and pixel: 5 a second and cm^2 on pixels of 18 um (Rigby et al. 2023, PASP 135, 048001, section 4.7)
ROW_OVERHEAD = 12  # pixel times between rows
HIT = np.dtype([("integration", "i2"), ("group", "i2"), ("row", "i2"), ("col", "i2"), ("electrons", "f4")])


@dataclass
class Ramp:
    """Raw counts, and the truth about them.

    Attributes
    ----------
    sci : (int, group, row, col) uint16, DN
    zeroframe : (int, row, col) uint16 or None
    rate : (row, col), e-/s that the pixel collects: light and dark current
    cosmic_rays : table of HIT: electrons that a pixel gained before a group was read for the first time, all from 0
    saturated : (int, row, col) int16, first group whose counts reach the threshold of the saturation reference; ngroups where none does
    """

    sci: np.ndarray
    zeroframe: np.ndarray | None
    rate: np.ndarray
    cosmic_rays: np.ndarray
    saturated: np.ndarray
    keywords: dict = field(default_factory=dict)


def make_ramp(detector, light, readout, *, seed=1, cosmic_rays=COSMIC_RAYS, zeroframe=False, noise=True):
    """Expose a detector.

    Parameters
    ----------
    detector : Detector
    light : ndarray, (row, col) or (int, row, col)
        e-/s, before the detector's own response.
    readout : instruments.Readout
    seed : int
    cosmic_rays : float
        Hits a second and pixel.
    zeroframe : bool
        Keep the first frame of each integration.
    noise : bool
        False leaves photon noise and all noise of the electronics out: the counts are what the rate implies, rounded.

    Returns
    -------
    Ramp
    """
    ny, nx = detector.shape
    sci = np.empty((readout.nints, readout.ngroups, ny, nx), np.uint16)
    zero = np.empty((readout.nints, ny, nx), np.uint16) if zeroframe else None
    saturated = np.full((readout.nints, ny, nx), readout.ngroups, np.int16)
    hits = []
    for i in range(readout.nints):
        rng = np.random.default_rng([seed, i])
        rate = collected(detector, light[i] if light.ndim == 3 else light)
        struck = _cosmic_rays(rng, detector, readout, i, cosmic_rays)
        hits.append(struck)
        _integration(rng, detector, readout, rate, struck, sci[i], zero[i] if zeroframe else None, saturated[i], noise)
    mean = collected(detector, light.mean(axis=0) if light.ndim == 3 else light)
    return Ramp(sci, zero, mean.astype(np.float32), np.concatenate(hits), saturated)


def collected(detector, light):
    """Electrons a second that the pixels collect of the light, their dark current included, (row, col)."""
    dark_only = (detector.dq & (dqbits.DEAD | dqbits.REFERENCE_PIXEL | dqbits.NON_SCIENCE)) != 0
    response = np.where((detector.dq & dqbits.LOW_QE) != 0, 0.6, 1.0) * detector.flat
    return np.where(dark_only, 0.0, light * response) + detector.dark


def _integration(rng, detector, readout, rate, hits, sci, zero, saturated, noise):
    """One integration, into `sci`, `zero` and `saturated`."""
    charge = np.zeros(detector.shape)
    level = detector.bias + (detector.ktc * rng.standard_normal(detector.shape) if noise else 0)
    blind = detector.reference_pixels
    read_noise = detector.readnoise / np.sqrt(2)
    for group in range(readout.ngroups):
        counts = np.zeros(detector.shape)
        struck = hits[hits["group"] == group]
        drift = _drift(rng, detector, 1 / np.sqrt(readout.nframes)) if noise else 0.0
        for frame in range(readout.nframes):
            dropped = (readout.drpfrms1 if group == 0 else readout.groupgap) if frame == 0 else 0
            expected = rate * (readout.tframe * (1 + dropped))
            charge += rng.poisson(expected) if noise else expected
            if frame == 0:
                np.add.at(charge, (struck["row"], struck["col"]), struck["electrons"])
            above = _measured(detector, charge, blind)
            if noise:
                above = above + read_noise * rng.standard_normal(detector.shape, dtype=np.float32)
            counts += above
            if zero is not None and group == 0 and frame == 0:
                zero[:] = _digitise(above + level + drift)
        raw = _digitise((counts + readout.nframes * (level + drift)) / readout.divisor)
        sci[group] = raw
        reached = (raw >= detector.saturation * (readout.nframes / readout.divisor)) & ~blind
        saturated[reached & (saturated == readout.ngroups)] = group


def _measured(detector, charge, blind):
    """Counts above the bias that a charge gives [DN], neighbours' coupling included."""
    above = bent(charge / detector.gain, detector.well, np.array(detector.nonlinearity), CEILING)
    above[blind] = 0
    if detector.ipc is not None:
        from scipy.ndimage import convolve

        above = convolve(above, detector.ipc, mode="nearest")
    return above


def _digitise(counts):
    return np.clip(np.rint(counts), 0, 65535).astype(np.uint16)


@njit(cache=True, parallel=True)
def bent(linear, well, coefficients, ceiling):
    """Counts that linear counts give: the inverse of the nonlinearity polynomial, by Newton's method.

    Solves u (1 + sum_k a_k u^(k+1)) = linear/well for u = counts/well.

    Parameters
    ----------
    linear, well : (row, col), DN
    coefficients : (n,)
    ceiling : float
        Largest u.

    Returns
    -------
    (row, col) float64, DN
    """
    out = np.empty(linear.shape)
    for y in prange(linear.shape[0]):
        for x in range(linear.shape[1]):
            wanted = linear[y, x] / well[y, x]
            u = min(wanted, ceiling)
            for _ in range(6):
                value, slope = u, 1.0
                power = u
                for k in range(coefficients.size):
                    slope += (k + 2) * coefficients[k] * power
                    power *= u
                    value += coefficients[k] * power
                u -= (value - wanted) / slope
            out[y, x] = min(u, ceiling) * well[y, x]
    return out


def _drift(rng, detector, scale):
    """What the readout adds to a group [DN]: levels of amplifiers and of odd and even columns, and 1/f noise in the order of the reads."""
    out = np.zeros(detector.shape, np.float32)
    readout = to_readout(out, detector.axes)
    outputs = detector.subarray.noutputs
    slow, fast = readout.shape
    width = fast // outputs
    shared = np.sqrt(0.5) if outputs > 1 else 0.0  # of the noise's amplitude: half its power is the same in all outputs
    common = shared * flicker(rng, slow, width) if shared else 0.0
    for k in range(outputs):
        part = readout[:, k * width : (k + 1) * width]
        part += detector.flicker * scale * (common + np.sqrt(1 - shared**2) * flicker(rng, slow, width))
        part += detector.offsets * rng.standard_normal()
        part[:, ::2] += detector.offsets / 4 * rng.standard_normal()
    return out


def flicker(rng, rows, columns):
    """Noise whose power falls as 1/f along the order of the reads, of unit rms, (rows, columns)."""
    line = columns + ROW_OVERHEAD
    white = np.fft.rfft(rng.standard_normal(rows * line))
    frequency = np.arange(white.size, dtype=float)
    white[0] = 0  # no offset
    frequency[0] = 1
    noise = np.fft.irfft(white / np.sqrt(frequency), rows * line)
    return (noise / noise.std()).reshape(rows, line)[:, :columns].astype(np.float32)


def _cosmic_rays(rng, detector, readout, integration, rate):
    """Tracks of particles, as a table of the pixels that they cross."""
    ny, nx = detector.shape
    expected = rate * ny * nx * readout.effinttm
    number = rng.poisson(expected)
    frames = np.sort(rng.integers(0, readout.frames, number))
    step = readout.nframes + readout.groupgap
    groups = np.clip(-(-(frames - readout.drpfrms1 - readout.nframes + 1) // step), 0, readout.ngroups - 1)
    x, y = rng.uniform(-0.5, nx - 0.5, number), rng.uniform(-0.5, ny - 0.5, number)
    length, angle = rng.exponential(1.5, number), rng.uniform(0, 2 * np.pi, number)
    energy = np.minimum(rng.lognormal(np.log(2500), 0.9, number), 1e5)
    electrons = {}
    for k in range(number):
        points = max(2, int(4 * length[k]))
        along = np.linspace(0, length[k], points)
        columns, rows = np.rint(x[k] + along * np.cos(angle[k])).astype(int), np.rint(y[k] + along * np.sin(angle[k])).astype(int)
        for row, column in zip(rows, columns, strict=True):
            if 0 <= row < ny and 0 <= column < nx:
                key = (integration, int(groups[k]), int(row), int(column))
                electrons[key] = electrons.get(key, 0.0) + energy[k] / points
    blind = detector.reference_pixels
    return np.array([(*key, value) for key, value in electrons.items() if not blind[key[2:]]], dtype=HIT)
