"""guider_cds: each readout against numpy, against a known star, against the peer for all guide star functions."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import make
from jwcal.settings.step_modules import parameters_of
from jwcal.steps import guider_cds
from jwcal.vocabulary.errors import InputError, ReferenceError
from peer import needs_peer

NY, NX = 12, 14
FLIGHT = Path(__file__).resolve().parents[3] / "shared/real/guider/jw01019001001_gs-acq1_2022117003102_uncal.fits"

# EXP_TYPE, readout, integrations, groups, TGROUP as in flight headers
FUNCTIONS = [
    ("FGS_ID-STACK", "identification", 2, 2, 0.3406),
    ("FGS_ID-IMAGE", "identification", 2, 2, 0.3406),
    ("FGS_ACQ1", "pair", 6, 2, 0.364),
    ("FGS_ACQ2", "pair", 5, 2, 0.05016),
    ("FGS_TRACK", "pair", 20, 2, 0.02508),
    ("FGS_FINEGUIDE", "fineguide", 30, 8, 0.05418),
]


def case(folder, exp_type="FGS_ACQ1", nints=3, ngroups=2, time=0.364, shape=(NY, NX), **keywords):
    """Noise of both signs in counts of 16 bits; a gain with 0 and NaN, a read noise with NaN."""
    rng = np.random.default_rng(nints)
    data = rng.integers(900, 1200, (nints, ngroups, NY, NX)) + rng.integers(0, 3000, (1, 1, NY, NX)) * np.arange(ngroups)[:, None, None]
    exposure = make.guider_exposure(data, EXP_TYPE=exp_type, TGROUP=time, BUNIT="DN", **keywords)
    exposure.dq[3, 4] = 1
    gain, noise = rng.normal(1.8, 0.1, shape).astype(np.float32), rng.normal(15, 2, shape).astype(np.float32)
    gain[2, 2], gain[3, 3], noise[4, 4] = 0, np.nan, np.nan
    folder.mkdir(exist_ok=True)
    return exposure, make.references(folder, exposure, gain=gain, readnoise=noise), gain, noise


@pytest.mark.parametrize(("exp_type", "readout", "nints", "ngroups", "time"), FUNCTIONS)
def test_rates_and_errors(tmp_path, exp_type, readout, nints, ngroups, time):
    exposure, refs, gain, noise = case(tmp_path, exp_type, nints, ngroups, time)
    reads = exposure.sci.astype(float)
    if readout == "fineguide":
        counts = reads[:, 4:].mean(1) - reads[:, :4].mean(1)
    else:
        counts = reads[:, 1] - reads[:, 0]
    if readout == "identification":
        counts = counts.min(0, keepdims=True)
    with np.errstate(all="ignore"):
        poisson = counts / (gain * time)
        err = np.sqrt(2 * (noise / time) ** 2 + np.where(poisson < 0, 0, poisson))
    result = guider_cds.apply(exposure, refs, readout)
    assert result.sci.dtype == result.err.dtype == np.float32
    assert np.allclose(result.sci, counts / time, rtol=1e-6)
    assert np.allclose(result.err, err, rtol=1e-6, equal_nan=True)
    assert result.dq.shape == (NY, NX) and result.dq[3, 4] == 1
    assert result.suffix == "cal" and result.header["BUNIT"] == "DN/s" and exposure.header["BUNIT"] == "DN"
    assert not np.isfinite(result.err[0, 4, 4])


def test_a_star_is_measured_and_a_cosmic_ray_is_none(tmp_path):
    rate = np.zeros((NY, NX))
    rate[5, 5] = 4000.0
    ramp = 1000 + rate * 0.5 * np.arange(1, 3)[:, None, None] * np.ones((2, 1, 1, 1))
    ramp[1, 1, 8, 8] += 30000  # in one integration of the two
    exposure = make.guider_exposure(ramp, TGROUP=0.5)
    refs = make.references(tmp_path, exposure, gain=np.ones((NY, NX)), readnoise=np.full((NY, NX), 10.0))
    result = guider_cds.apply(exposure, refs, "identification")
    assert np.allclose(result.sci, rate[None])
    assert guider_cds.apply(exposure, refs, "pair").sci[1, 8, 8] == 60000


def test_errors_are_the_scatter_where_reads_are_noisy_only(tmp_path):
    rng = np.random.default_rng(5)
    ramp = 1000 + rng.normal(0, 12, (400, 2, NY, NX))
    exposure = make.guider_exposure(ramp, TGROUP=0.364)
    refs = make.references(tmp_path, exposure, gain=np.full((NY, NX), 1e9), readnoise=np.full((NY, NX), 12.0))
    result = guider_cds.apply(exposure, refs)
    assert np.std(result.sci) == pytest.approx(np.median(result.err), rel=0.02)


def test_a_stack_larger_than_the_detector_takes_mean_noise(tmp_path):
    exposure, _, _, _ = case(tmp_path, nints=2)
    gain, noise = np.full((NY, NX - 4), 2.0), np.full((NY, NX - 4), 10.0)
    gain[0, 0], noise[1, :2] = np.nan, (4, 16)
    refs = make.references(tmp_path, exposure, gain=gain, readnoise=noise)
    result = guider_cds.apply(exposure, refs, "identification")
    counts = (exposure.sci[:, 1] - exposure.sci[:, 0]).min(0)
    assert np.allclose(result.err[0], np.sqrt(2 * (10 / 0.364) ** 2 + np.maximum(counts / (2 * 0.364), 0)), rtol=1e-6)
    with pytest.raises(ReferenceError, match="cover"):
        guider_cds.apply(exposure, refs, "pair")
    with pytest.raises(ReferenceError, match="gain reference's SCI has the shape"):
        guider_cds.apply(exposure, make.references(tmp_path, exposure, gain=gain[0], readnoise=noise), "identification")


@pytest.mark.parametrize(("readout", "shape"), [("pair", (3, 1)), ("identification", (1, 2)), ("fineguide", (3, 7))])
def test_too_few_reads(tmp_path, readout, shape):
    exposure, refs, _, _ = case(tmp_path, nints=shape[0], ngroups=shape[1])
    with pytest.raises(InputError, match=f"{shape[0]} integrations of {shape[1]} groups"):
        guider_cds.apply(exposure, refs, readout)


@pytest.mark.parametrize("time", [None, 0.0])
def test_no_group_time(tmp_path, time):
    exposure, refs, _, _ = case(tmp_path)
    del exposure.header["TGROUP"]
    if time is not None:
        exposure.header["TGROUP"] = time
    with pytest.raises(InputError, match="TGROUP"):
        guider_cds.apply(exposure, refs)


def test_the_readout_is_no_parameter_of_the_users():
    assert set(parameters_of("guider_cds")) == {"skip"}


PEER = """
from jwst.guider_cds.guider_cds import guider_cds
result = guider_cds(model, datamodels.GainModel(refs["gain"]), datamodels.ReadnoiseModel(refs["readnoise"]))
"""


@pytest.mark.parity
@needs_peer
def test_same_values_as_the_peer(tmp_path):
    cases = [case(tmp_path / f, f, nints, ngroups, time)[:2] + ({},) for f, _, nints, ngroups, time in FUNCTIONS]
    subarray = case(tmp_path / "cut", "FGS_ACQ1", shape=(NY + 9, NX + 9), SUBSTRT1=4, SUBSTRT2=6)
    cases.append((*subarray[:2], {}))
    stack, _, _, _ = case(tmp_path / "stack", "FGS_ID-STACK", 2)
    small = np.random.default_rng(1).normal(9, 1, (NY, NX - 4)).astype(np.float32)
    cases.append((stack, make.references(tmp_path / "stack", stack, gain=small, readnoise=small), {}))
    readouts = [f[1] for f in FUNCTIONS] + ["pair", "identification"]
    peer = make.by_peer(tmp_path, PEER, cases, "GuiderRawModel")
    for readout, (exposure, refs, _), theirs in zip(readouts, cases, peer, strict=True):
        result = guider_cds.apply(exposure, refs, readout)
        assert np.array_equal(result.sci, theirs["data"])
        assert np.allclose(result.err, theirs["err"], rtol=2e-7, equal_nan=True)
        assert np.array_equal(result.dq, theirs["dq"])


@pytest.mark.parity
@needs_peer
@pytest.mark.skipif(not FLIGHT.exists(), reason="no flight data at ../shared/real")
def test_flight_acquisition_as_by_the_peer(tmp_path):
    with fits.open(FLIGHT) as hdus:
        keywords = {k: hdus[0].header.get(k, hdus[1].header.get(k)) for k in ("EXP_TYPE", "DETECTOR", "TGROUP", "SUBSTRT1", "SUBSTRT2")}
        exposure = make.guider_exposure(hdus["SCI"].data, **keywords)
    rng = np.random.default_rng(2)
    full = {"gain": rng.normal(1.8, 0.1, (2048, 2048)), "readnoise": rng.normal(15, 2, (2048, 2048))}
    refs = make.references(tmp_path, exposure, **{kind: array.astype(np.float32) for kind, array in full.items()})
    result = guider_cds.apply(exposure, refs)
    (theirs,) = make.by_peer(tmp_path, PEER, [(exposure, refs, {})], "GuiderRawModel")
    assert result.sci.shape == (6, 128, 128) and result.sci.max() > 1000
    assert np.array_equal(result.sci, theirs["data"])
    assert np.allclose(result.err, theirs["err"], rtol=2e-7)
