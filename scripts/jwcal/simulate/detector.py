"""The truth of one detector: what every pixel does to the light that falls on it."""

from dataclasses import dataclass, fields, replace
from zlib import crc32

import numpy as np

from ..vocabulary import dq as dqbits
from . import instruments

# Counts above the bias m make linear counts m (1 + sum_k NONLINEARITY[k] (m/well)^(k+1)): 5 % of loss at the well, as HAWAII-2RG have it
NONLINEARITY = (0.020, 0.012, 0.020)
CEILING = 1.06  # of the well: no more charge is held


@dataclass(frozen=True)
class Detector:
    """One detector at one subarray, in the archive's orientation.

    All images are (row, col). `dq` has the standard bits; a pixel flagged DEAD counts nothing, one flagged HOT has a high dark rate.

    Attributes
    ----------
    gain : e-/DN
    readnoise : DN, of the difference of two reads, as the reference files have it: one read has 1/sqrt(2) of it
    bias : DN
    dark : e-/s
    well : DN above the bias; where the saturation reference puts its threshold
    flat : relative response to uniform light
    dq : uint32
    ipc : (3, 3), the part of a pixel's signal that appears in each neighbour; None for none
    flicker : DN, rms of the 1/f noise of one read
    offsets : DN, rms of the drift of an amplifier's (and column parity's) level from group to group
    ktc : DN, rms of the level that a reset leaves behind
    """

    instrument: str
    name: str
    subarray: instruments.Subarray
    axes: tuple
    gain: np.ndarray
    readnoise: np.ndarray
    bias: np.ndarray
    dark: np.ndarray
    well: np.ndarray
    flat: np.ndarray
    dq: np.ndarray
    nonlinearity: tuple = NONLINEARITY
    ipc: np.ndarray | None = None
    flicker: float = 1.5
    offsets: float = 4.0
    ktc: float = 6.0

    @property
    def shape(self):
        return self.subarray.shape

    @property
    def reference_pixels(self):
        """Where the pixels see no light, bool (row, col)."""
        return (self.dq & dqbits.REFERENCE_PIXEL) != 0

    @property
    def saturation(self):
        """Threshold on the raw counts [DN], bias included, (row, col)."""
        return self.bias + self.well

    def correction(self):
        """Coefficients of the polynomial from counts above the bias to linear counts, (5, row, col) float32."""
        powers = [np.zeros_like(self.well), np.ones_like(self.well)]
        powers += [np.float32(a) / self.well ** (k + 1) for k, a in enumerate(self.nonlinearity)]
        return np.stack(powers).astype(np.float32)

    def inverse_correction(self, degree=6):
        """Coefficients of the polynomial the other way round: least squares up to the well, (degree + 1, row, col) float32."""
        u = np.linspace(0, 1, 400)
        linear = u * (1 + sum(a * u ** (k + 1) for k, a in enumerate(self.nonlinearity)))
        # through the origin with slope 1: faint counts keep their value
        terms = np.stack([linear**k for k in range(2, degree + 1)], axis=-1)
        fitted = np.linalg.lstsq(terms, u - linear, rcond=None)[0]
        coefficients = [0.0, 1.0, *fitted]
        return np.stack([np.float32(c) / self.well ** max(k - 1, 0) for k, c in enumerate(coefficients)]).astype(np.float32)

    def cut(self, subarray):
        """The same detector at a subarray inside this one."""
        y, x = subarray.ystart - self.subarray.ystart, subarray.xstart - self.subarray.xstart
        window = (slice(y, y + subarray.ysize), slice(x, x + subarray.xsize))
        images = {f.name: getattr(self, f.name) for f in fields(self)}
        images = {k: v[window].copy() for k, v in images.items() if isinstance(v, np.ndarray) and v.shape == self.shape and k != "ipc"}
        return replace(self, subarray=subarray, **images)


def make_detector(instrument, detector, subarray="FULL", seed=1, blanked=False, **changes):
    """Make up a detector.

    The same name, subarray and seed give the same detector in any program.

    Parameters
    ----------
    instrument, detector : str
        As in INSTRUME and DETECTOR.
    subarray : str or instruments.Subarray
    seed : int
    blanked : bool
        The columns of a full frame on which the field does not fall see nothing, and are NON_SCIENCE and DO_NOT_USE.
    **changes
        Attributes of `Detector` to set, for instance `flicker=0.0`.

    Returns
    -------
    Detector
    """
    sub = subarray if isinstance(subarray, instruments.Subarray) else instruments.subarray(instrument, detector, subarray)
    table = instruments.table()[instrument]
    entry = table["detectors"][detector]
    truth = table["electronics"] | {k: v for k, v in entry.items() if k in table["electronics"]}
    rng = np.random.default_rng([seed, crc32(f"{detector} {sub}".encode())])
    reference = _reference_pixels(table, sub)
    dq = _bad_pixels(rng, sub.shape) * ~reference
    dark = truth["dark"] * rng.lognormal(0, 0.3, sub.shape)
    hot = (dq & (dqbits.HOT | dqbits.WARM)) != 0
    dark[hot] = rng.uniform(2, 60, hot.sum())
    dark[reference] = 0
    if blanked and sub.name == "FULL" and "sees" in entry:
        outside = np.ones(sub.shape, bool)
        outside[:, entry["sees"][0] - sub.xstart : entry["sees"][1] - sub.xstart + 1] = False
        dq[outside & ~reference] |= dqbits.NON_SCIENCE | dqbits.DO_NOT_USE
    made = Detector(
        instrument,
        detector,
        sub,
        tuple(entry["axes"]),
        gain=_field(rng, sub, truth["gain"], 0.003),
        readnoise=_field(rng, sub, truth["readnoise"], 0.05),
        bias=_bias(rng, sub, entry["axes"], truth["bias"]),
        dark=dark.astype(np.float32),
        well=_field(rng, sub, truth["well"], 0.02),
        flat=np.where(reference, 1, _field(rng, sub, 1.0, 0.008, slope=0.05)).astype(np.float32),
        dq=dq | np.where(reference, dqbits.REFERENCE_PIXEL, 0).astype(np.uint32),
    )
    return replace(made, **({k: truth[k] for k in ("offsets", "flicker", "ktc") if k in truth} | changes))


def _reference_pixels(table, sub):
    left, right, bottom, top = table["border"]
    ny, nx = table["shape"]
    x, y = np.arange(sub.xsize) + sub.xstart - 1, np.arange(sub.ysize) + sub.ystart - 1
    columns = (x < left) | (x >= nx - right)
    rows = (y < bottom) | (y >= ny - top)
    return rows[:, None] | columns[None, :]


def _bad_pixels(rng, shape):
    """0.5 % of defects: dead, hot, warm and unstable pixels, and a few small clusters of dead ones."""
    draw = rng.random(shape)
    dq = np.zeros(shape, np.uint32)
    dq[draw < 0.0015] = dqbits.DEAD | dqbits.DO_NOT_USE
    dq[(draw >= 0.0015) & (draw < 0.0025)] = dqbits.HOT | dqbits.DO_NOT_USE
    dq[(draw >= 0.0025) & (draw < 0.0040)] = dqbits.WARM
    dq[(draw >= 0.0040) & (draw < 0.0045)] = dqbits.RC | dqbits.DO_NOT_USE
    dq[(draw >= 0.0045) & (draw < 0.0050)] = dqbits.LOW_QE
    for _ in range(draw.size // 40000):
        y, x = rng.integers(0, shape[0]), rng.integers(0, shape[1])
        dq[y : y + 3, x : x + 3] = dqbits.DEAD | dqbits.DO_NOT_USE
    return dq


def _field(rng, sub, level, scatter, slope=0.01):
    """A smooth slope across the subarray and a scatter from pixel to pixel, float32."""
    y, x = np.mgrid[-0.5 : 0.5 : sub.ysize * 1j, -0.5 : 0.5 : sub.xsize * 1j]
    tilt = rng.uniform(-slope, slope, 2)
    return (level * (1 + tilt[0] * x + tilt[1] * y + scatter * rng.standard_normal(sub.shape))).astype(np.float32)


def _bias(rng, sub, axes, level):
    """Levels of amplifiers and columns, and a scatter from pixel to pixel."""
    bias = level + 25 * rng.standard_normal(sub.shape)
    readout = to_readout(bias, axes)  # a view: what is added here is added there
    readout += 60 * rng.standard_normal(readout.shape[1])
    amplifier = np.arange(readout.shape[1]) * sub.noutputs // readout.shape[1]
    readout += rng.uniform(-400, 400, sub.noutputs)[amplifier]
    return bias.astype(np.float32)


def to_readout(image, axes):
    """A view of an image as it is read: (..., slow, fast), both from the first pixel read to the last.

    Parameters
    ----------
    image : ndarray, (..., row, col)
    axes : FASTAXIS and SLOWAXIS: 1 is along the columns, 2 along the rows, negative is backwards
    """
    fast, slow = axes
    if abs(fast) == 2:
        image = np.swapaxes(image, -1, -2)
    return image[..., :: 1 if slow > 0 else -1, :: 1 if fast > 0 else -1]
