"""Ramps of known count rate with cosmic ray hits of known size, and what is found in them.

NIRCam-like: 10 groups of one frame, 10.7 s apart, read noise 8 DN (of a difference), 2 electrons/DN, 1 % of the groups hit.
The size of a hit is in sigma: the noise of a difference of two groups, from its photons and its two reads.
"""

from typing import NamedTuple

import numpy as np

import make
from jwcal.steps import jump, ramp_fit
from jwcal.vocabulary.dq import JUMP_DET

FLUXES = (0.02, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)  # electrons/s
NGROUPS, GAIN, READNOISE, TIME = 10, 2.0, 8.0, make.DEFAULTS["TFRAME"]
SHARE, SMALLEST, LARGEST = 0.01, 2.0, 300.0  # of hits: groups with one, sigma
BINS = ((2, 4), (4, 6), (6, 10), (10, 300))  # sigma


class Truth(NamedTuple):
    """Ramps of one flux."""

    flux: float  # electrons/s
    sci: np.ndarray  # (1, group, row, col), DN
    size: np.ndarray  # the same shape: of the hit before a group, sigma; 0 without one

    @property
    def untouched(self):
        """Pixels without a hit, (row, col)."""
        return ~(self.size > 0).any(axis=(0, 1))


class Found(NamedTuple):
    """How good a search for jumps is."""

    recall: tuple  # share of the hits of each bin
    false: float  # flags a million groups without a hit
    groups: int  # without a hit


class Chi2(NamedTuple):
    """Of the count rates of ramps without a hit, per degree of freedom; 1 if the errors are right."""

    ratio: float  # mean squared deviation over mean variance
    pulls: float  # mean of (deviation / error)^2
    bias: float  # mean deviation in terms of the deviation of one


def simulate(flux, npixels=100_000, seed=0):
    """Ramps of `flux` electrons/s."""
    rng = np.random.default_rng([seed, round(1000 * flux)])
    shape = (1, NGROUPS, npixels // 100, 100)
    size = np.where(rng.random(shape) < SHARE, SMALLEST * (LARGEST / SMALLEST) ** rng.random(shape), 0.0)
    size[:, 0] = 0.0
    electrons = rng.poisson(flux * TIME, shape) + size * np.sqrt(flux * TIME + (READNOISE * GAIN) ** 2)
    sci = np.cumsum(electrons, axis=1) / GAIN + rng.normal(0.0, READNOISE / np.sqrt(2), shape)
    return Truth(flux, sci.astype(np.float32), size)


def _inputs(folder, truth, groupdq=None):
    exposure = make.ramp_exposure(truth.sci)
    if groupdq is not None:
        exposure.groupdq = groupdq.copy()
    planes = {"gain": GAIN, "readnoise": READNOISE}
    planes = {name: np.full(truth.sci.shape[2:], value, np.float32) for name, value in planes.items()}
    return exposure, make.references(folder, exposure, **planes)


def search(folder, truth, **parameters):
    """The flags of the jump step, (1, group, row, col); of single pixels, without their neighbours."""
    return jump.apply(*_inputs(folder, truth), flag_4_neighbors=False, **parameters).groupdq


def fit(folder, truth, groupdq, **parameters):
    """The rate product of the ramp_fit step."""
    return ramp_fit.apply(*_inputs(folder, truth, groupdq), **parameters)[0]


def rate_search(truth, groupdq):
    """Compare flags with the hits."""
    flagged, hit = (groupdq[:, 1:] & JUMP_DET) > 0, truth.size[:, 1:] > 0
    size = truth.size[:, 1:]
    recall = tuple(float(flagged[(size > low) & (size <= high)].mean()) for low, high in BINS)
    return Found(recall, 1e6 * float(flagged[~hit].mean()), int((~hit).sum()))


def rate_fit(truth, rate):
    """Compare count rates with the flux."""
    good = truth.untouched
    deviation = rate.sci[good].astype(float) * GAIN - truth.flux
    error = rate.err[good].astype(float) * GAIN
    return Chi2(
        ratio=(deviation**2).mean() / (error**2).mean(),
        pulls=((deviation / error) ** 2).mean(),
        bias=deviation.mean() / deviation.std(),
    )


def best_chi2(truth):
    """Chi squared per degree of freedom of the fit with the true noise: off from 1 by chance alone, which other fits of the ramps share."""
    good = truth.untouched
    n = NGROUPS - 1
    photons, reads = truth.flux * TIME, (READNOISE * GAIN) ** 2 / 2
    covariance = np.diag(np.full(n, photons + 2 * reads)) - reads * (np.eye(n, k=1) + np.eye(n, k=-1))
    weights = np.linalg.solve(covariance, np.ones(n))
    differences = np.diff(truth.sci[0][:, good].astype(float) * GAIN, axis=0)
    deviation = weights @ differences / weights.sum() - photons
    return (deviation**2).mean() * weights.sum()
