"""MIRI's own chain, and the dark pipeline: their order, their products, and whole runs against the truth and the peer."""

from typing import NamedTuple

import numpy as np
import pytest
from astropy.io import fits
from stdatamodels.jwst import datamodels

import jwcal
from jwcal.model import ramp
from jwcal.products import stored
from jwcal.settings import chains
from jwcal.simulate import crds_cache, headers, instruments
from jwcal.simulate.emicorr import WAVES, add_waves, write_emicorr
from jwcal.simulate.exposures import simulate_exposure
from jwcal.simulate.references import types_for, write_references
from jwcal.vocabulary import keywords
from jwcal.vocabulary.dq import DO_NOT_USE, JUMP_DET, SATURATED
from peer import needs_peer, peer_pipeline

OFF = {"ipc": {"skip": True}}  # the peer's default is on where there is a reference
ON = {
    "emicorr": {"skip": False},
    "ipc": {"skip": False},
    "firstframe": {"skip": False},
    "charge_migration": {"skip": False, "signal_threshold": 20000.0},
    "persistence": {"skip": False, "persistence_time": 1, "dn_threshold": 30000.0},
}


STEPS = "dq_init emicorr saturation ipc firstframe lastframe reset linearity rscd refpix charge_migration persistence".split()


def status(exposure, step):
    """What a product says about a step."""
    return exposure.header.get(keywords.status(step)[0])


class Made(NamedTuple):
    uncal: object
    truth: object  # as simulate_exposure gives it
    crds: str


def made(folder, segment=None, **options):
    """An exposure of pixels that saturate in all groups, or never, hit by many cosmic rays, with interference; and its references."""
    setup = instruments.setup(**options)
    total = setup.readout.effinttm
    light = 10 ** np.random.default_rng(5).uniform(1, 6.2, setup.subarray.shape) / total if setup.illuminated else None
    identity = headers.Identity(segment=segment) if segment else None
    truth = simulate_exposure(folder / "data", light=light, cosmic_rays=0.02 / total, identity=identity, **options)
    kinds = dict.fromkeys([*types_for(setup), "ipc"])
    files = list(write_references(folder / "references", truth.detector, setup=truth.setup, types=list(kinds)).values())
    if setup.instrument == "MIRI":
        with fits.open(truth.uncal, mode="update") as hdus:
            seen = add_waves(hdus["SCI"].data, setup, dict.fromkeys(WAVES, 2.0), dict.fromkeys(WAVES, 0.3))
            hdus["SCI"].data = np.clip(np.rint(seen), 0, 65535).astype(np.uint16)
        files.append(write_emicorr(folder / "references/jwst_miri_emicorr_9001.asdf"))
    crds_cache.build(folder / "crds", files)
    return Made(truth.uncal, truth, str(folder / "crds"))


def steps_of(pipeline, **header):
    return " ".join(step.name for step in chains.chain(pipeline, header).steps)


# --- what runs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pipeline", ["detector1", "tso1", "dark"])
def test_order_of_the_steps(pipeline):
    miri, near = (steps_of(pipeline, INSTRUME=name) for name in ("MIRI", "NIRISS"))
    assert miri.startswith("group_scale dq_init emicorr saturation ipc firstframe lastframe reset linearity rscd")
    assert near.startswith("group_scale dq_init saturation ipc superbias refpix linearity")
    if pipeline == "dark":
        assert miri.endswith("rscd") and near.endswith("linearity")
    else:
        assert "rscd dark_current refpix charge_migration jump" in miri and "linearity dark_current charge_migration jump" in near
        assert miri.endswith("persistence ramp_fit gain_scale") and near.endswith("persistence ramp_fit gain_scale")


def test_dark_product(tmp_path):
    exposure = made(tmp_path, exp_type="MIR_DARKIMG", subarray="SUB64", ngroups=5, nints=2)
    jwcal.run_pipeline("dark", exposure.uncal, out=tmp_path / "out", crds_path=exposure.crds)
    (path,) = (tmp_path / "out").glob("*.fits")
    assert path.name.endswith("_mirimage_dark.fits")
    with datamodels.open(path) as model:
        assert isinstance(model, datamodels.RampModel) and model.data.shape == (2, 5, 64, 72)
        assert model.meta.cal_step.rscd == model.meta.cal_step.reset == "COMPLETE" and model.meta.cal_step.emicorr == "SKIPPED"
        assert (model.groupdq[:, [0, -1]] & DO_NOT_USE).all()
        assert model.meta.ref_file.reset.name.startswith("crds://")


def test_rates_are_those_put_in(tmp_path):
    """Without interference the linear ramps give the photons' rate within their errors; with it, only emicorr does."""
    exposure = made(tmp_path, exp_type="MIR_IMAGE", subarray="SUB64", ngroups=14, nints=2)
    pulls = {}
    for name, steps in (("with", {"emicorr": {"skip": False}}), ("without", {})):
        rate = jwcal.run_pipeline("detector1", exposure.uncal, steps=steps, crds_path=exposure.crds)
        gain, dark = exposure.truth.detector.gain, exposure.truth.detector.dark
        truth = (exposure.truth.ramp.rate - dark) / gain
        good = ((rate.dq & (DO_NOT_USE | SATURATED | JUMP_DET)) == 0) & (rate.err > 0) & ~exposure.truth.detector.reference_pixels
        pulls[name] = ((rate.sci - truth) / rate.err)[good & (truth < 200)]
    assert pulls["with"].size > 300
    spread = {name: 1.4826 * np.median(np.abs(p)) for name, p in pulls.items()}
    assert abs(np.median(pulls["with"])) < 0.15 and 0.8 < spread["with"] < 1.2 and spread["without"] > spread["with"] + 0.1


def test_pieces_equal_the_whole(tmp_path, monkeypatch):
    exposure = made(tmp_path, exp_type="MIR_IMAGE", subarray="SUB64", ngroups=6, nints=5)
    whole, pieces = (tmp_path / name for name in ("whole", "pieces"))
    on = {name: ON[name] for name in ("emicorr", "firstframe", "persistence")}
    jwcal.run_pipeline("detector1", exposure.uncal, steps=on, out=whole, crds_path=exposure.crds)
    monkeypatch.setattr(ramp, "LARGE", 2 * 4 * 6 * 64 * 72)  # two integrations
    jwcal.run_pipeline("detector1", exposure.uncal, steps=on, out=pieces, crds_path=exposure.crds)
    for path in whole.glob("*.fits"):
        a, b = (stored.read(folder / path.name) for folder in (whole, pieces))
        for (name, one), (_, other) in zip(a.pixels[0].planes(), b.pixels[0].planes(), strict=True):
            np.testing.assert_array_equal(one, other, err_msg=name)
        assert {status(e, step) for e in (a, b) for step in on} == {"COMPLETE"}


# --- against the peer ------------------------------------------------------------------------------------------------


def both(pipeline, exposure, folder, steps):
    """Products of ours and of the peer: pairs."""
    jwcal.run_pipeline(pipeline, exposure.uncal, steps=steps, out=folder / "ours", crds_path=exposure.crds)
    (folder / "peer").mkdir()
    peer_pipeline("dark" if pipeline == "dark" else "detector1", exposure.uncal, folder / "peer", exposure.crds, steps)
    pairs = []
    for ours in sorted((folder / "ours").glob("*.fits")):
        theirs = folder / "peer" / ours.name.replace("_dark.", "_darkpipeline.")  # what it calls its product when it is run by hand
        pairs.append((stored.read(ours), stored.read(theirs)))
    return pairs


def assert_same(ours, theirs, rounding):
    """All planes of two products; what is nearer to 0 than `rounding` is what float32 leaves of larger samples.

    An integration of jumps and unusable groups alone, NaN for us, is 0 for the peer: see docs/differences.md.
    """
    if ours.suffix != "dark":
        lost = np.isnan(ours.sci) & (theirs.sci == 0) & ((theirs.dq & JUMP_DET) != 0)
        assert lost.sum() < 10 and (ours.dq[lost] & DO_NOT_USE).all()
        theirs.sci[lost], theirs.dq[lost] = np.nan, theirs.dq[lost] | DO_NOT_USE
    for (name, mine), (_, peers) in zip(ours.pixels[0].planes(), theirs.pixels[0].planes(), strict=True):
        if mine.dtype.kind == "u":
            np.testing.assert_array_equal(mine, peers, err_msg=name)
            continue
        np.testing.assert_allclose(mine, peers, rtol=1e-5, atol=rounding, err_msg=name)
        mine, peers = (plane[np.isfinite(peers) & (np.abs(peers) > rounding)].astype(float) for plane in (mine, peers))
        assert np.median(np.abs(mine / peers - 1)) <= 1e-7, name
    for step in STEPS:
        assert status(ours, step) == status(theirs, step), step


CASES = {
    "all steps on": (dict(exp_type="MIR_IMAGE", subarray="SUB64", ngroups=8, nints=2), ON),
    "series, its second segment": (dict(exp_type="MIR_LRS-SLITLESS", ngroups=4, nints=3, segment=(2, 2, 4, 6, 6)), OFF),
    "one pass of jump": (dict(exp_type="MIR_IMAGE", subarray="SUB64", ngroups=14, nints=2), OFF),
    "two groups": (dict(exp_type="MIR_IMAGE", subarray="SUB64", ngroups=2, nints=2), OFF),
    "three groups": (dict(exp_type="MIR_IMAGE", subarray="SUB64", ngroups=3, nints=2), OFF),
}


@needs_peer
@pytest.mark.parity
@pytest.mark.parametrize("case", CASES)
def test_detector1_as_the_peer(tmp_path, case):
    options, steps = CASES[case]
    exposure = made(tmp_path, **options)
    pipeline = "tso1" if "series" in case else "detector1"
    pairs = both(pipeline, exposure, tmp_path, steps)
    assert [ours.suffix for ours, _ in pairs] == ["rate", "rateints"]
    for ours, theirs in pairs:
        assert_same(ours, theirs, 1e-9)


@needs_peer
@pytest.mark.parity
@pytest.mark.full
def test_full_frame_as_the_peer(tmp_path):
    """refpix runs on full frames only."""
    exposure = made(tmp_path, exp_type="MIR_IMAGE", ngroups=5, nints=2)
    steps = {**OFF, "emicorr": {"skip": False}}
    for ours, theirs in both("detector1", exposure, tmp_path, steps):
        assert_same(ours, theirs, 1e-6)


@needs_peer
@pytest.mark.parity
@pytest.mark.parametrize(
    ("options", "rounding"),
    [
        (dict(exp_type="MIR_DARKIMG", subarray="SUB64", ngroups=5, nints=2), 1e-9),
        (dict(exp_type="NRC_DARK", detector="NRCA1", subarray="SUB160", ngroups=4, nints=2), 0.005),
    ],
)
def test_dark_as_the_peer(tmp_path, options, rounding):
    exposure = made(tmp_path, **options)
    ((ours, theirs),) = both("dark", exposure, tmp_path, OFF)
    assert ours.suffix == "dark" and ours.raw is None
    assert_same(ours, theirs, rounding)
