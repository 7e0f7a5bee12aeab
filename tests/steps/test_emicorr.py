"""emicorr: its fits against their rules written out, against injected waves, block by block, and against the peer."""

import asdf
import numpy as np
import pytest
from astropy.stats import sigma_clipped_stats
from scipy.interpolate import interp1d

import make
from jwcal.kernels.detector import emi_joint, emi_sequential
from jwcal.model.exposure import Pixels
from jwcal.model.references import References
from jwcal.products import stored
from jwcal.simulate import emicorr as simulated
from jwcal.simulate import instruments
from jwcal.steps import emicorr
from jwcal.vocabulary.errors import ConfigError, InputError, ReferenceError, Skip
from peer import needs_peer

AMPLITUDES = {"Hz390": 1.0, "Hz218a": 2.0, "Hz10": 1.5}
STARTS = {"Hz390": 0.3, "Hz218a": 0.71, "Hz10": 0.1}
NOISE = 4.0  # DN


def observed(subarray="SUB64", readpatt="FASTR1", nints=3, ngroups=6, amplitudes=AMPLITUDES, starts=STARTS, noise=NOISE, **keywords):
    """An exposure with interference, and its counts without."""
    setup = instruments.setup("MIR_IMAGE", subarray=subarray, readpatt=readpatt, ngroups=ngroups, nints=nints)
    sub = setup.subarray
    rng = np.random.default_rng(1)
    rate = rng.gamma(2, 20, sub.shape)
    clean = (
        8000 + rng.normal(0, 300, sub.shape) + rate * np.arange(ngroups)[:, None, None] + rng.normal(0, noise, (nints, ngroups, *sub.shape))
    )
    clean = np.rint(clean).astype(np.float32)
    seen = np.rint(simulated.add_waves(clean, setup, amplitudes, starts)).astype(np.float32)
    return exposed(seen, setup, **keywords), clean


def exposed(seen, setup, **keywords):
    sub = setup.subarray
    about = {"INSTRUME": "MIRI", "DETECTOR": "MIRIMAGE", "SUBARRAY": sub.name, "READPATT": setup.readout.readpatt, "EXP_TYPE": "MIR_IMAGE"}
    about |= {"NSAMPLES": setup.readout.nsamples, "SUBSTRT1": sub.xstart, "SUBSTRT2": sub.ystart, "FASTAXIS": 1, "DATE-OBS": "2023-01-01"}
    exposure = make.ramp_exposure(seen, **{**about, **keywords})
    exposure.pixeldq[3, 5] = 1
    return exposure


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return simulated.write_emicorr(tmp_path_factory.mktemp("emicorr") / "emicorr.asdf")


def refs_of(exposure, path=None):
    return References({"emicorr": path} if path else {}, exposure.header)


def bend(ramps):
    """What straight lines leave of ramps (int, group, row, col): what the interference does to a rate's noise."""
    g = np.arange(ramps.shape[1]) - (ramps.shape[1] - 1) / 2
    slope = np.tensordot(g, ramps, (0, 1))[:, None] / (g**2).sum()
    return ramps - ramps.mean(axis=1, keepdims=True) - slope * g[:, None, None]


def left(exposure, clean):
    """rms of what is left of the interference, bias and slope apart [DN]."""
    return bend(exposure.sci - clean.astype(float)).std()


# --- kernels ---------------------------------------------------------------------------------------------------------


def test_a_wave_is_a_cubic_spline_through_its_samples():
    form = np.random.default_rng(2).normal(size=17)
    spline = interp1d((np.arange(19) - 0.5) / 17, [form[-1], *form, form[0]], kind="cubic")
    cubics = emicorr._interpolated(form)
    for phase in [0.0, 0.5 / 17, 0.3, 0.999999, np.nextafter(1, 0)]:
        assert emi_joint.wave_at(cubics, phase) == pytest.approx(float(spline(phase)), abs=1e-13)


def test_scatter_is_numpys_in_single_precision():
    sci = np.random.default_rng(3).normal(9000, 40, (2, 7, 5, 12)).astype(np.float32)
    out = np.empty((2, 5, 12), np.float32)
    emi_joint.scatter(sci, out)
    np.testing.assert_array_equal(out, np.std(sci, axis=1))


def test_saved_chi2_is_that_of_least_squares():
    """One amplitude for all pixels, and a line for each, fitted by lstsq with and without the wave."""
    nints, ngroups, places, step, offsets = 2, 5, 8, 0.37, np.array([0.0, 0.24])
    rng = np.random.default_rng(4)
    values, numbers = rng.normal(size=(nints, ngroups, places)), np.ones((nints, places))
    form = emicorr._interpolated(np.sin(2 * np.pi * np.arange(places) / places) + 0.3 * np.arange(places))
    trials = np.arange(50) / 50
    a, b = np.empty((2, trials.size, nints))
    emi_joint.trial_fits(values, numbers, form, step, trials, a, b)
    chi2, amplitudes = emi_joint.saved_chi2(a, b, trials, offsets, trials)
    group = np.arange(ngroups)
    line = np.column_stack([np.ones(ngroups), group])
    project = np.eye(ngroups) - line @ np.linalg.pinv(line)
    for t in (0, 7, 33):
        waves = np.array([[[emi_joint.wave_at(form, ((p + 0.5) / places + g * step + trials[t] + q) % 1) for p in range(places)] for g in group] for q in offsets])  # fmt: skip # noqa: E501
        w, y = (np.einsum("gh,ihp->igp", project, v).ravel() for v in (waves, values))
        c = np.linalg.lstsq(w[:, None], y, rcond=None)[0][0]
        assert amplitudes[t] == pytest.approx(c, rel=1e-9)
        assert chi2[t] == pytest.approx(((y - c * w) ** 2).sum() - (y**2).sum(), rel=1e-9)


def test_folding_and_clipping_as_astropy():
    rng = np.random.default_rng(5)
    frames = rng.normal(0, 3, (2, 3, 16, 9)).astype(np.float32)
    frames[rng.random(frames.shape) < 0.05] *= 20
    clock, period, bins = emi_sequential.Clock(1.0, 28.0, 7000.0, 30000.0, 3.0), 47.3, 10
    time = (np.arange(2) * 30000.0)[:, None, None, None] + (np.arange(3) * 7000.0)[:, None, None] + (np.arange(16) * 28.0)[:, None]
    time = time + np.where(np.arange(9) == 8, 3.0, 0.0) + np.arange(9)
    phase = time / period % 1
    means = emi_sequential.clipped_means(*emi_sequential.folded(frames, 0, clock, period, bins), *emicorr.CLIP)
    expected = [sigma_clipped_stats(frames[(phase > k / bins) & (phase <= (k + 1) / bins)].astype(float))[0] for k in range(bins)]
    np.testing.assert_allclose(means, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("centre", [0.4, 0.0, 0.0007, 0.9991])
def test_the_best_phase_is_found_across_the_end(centre):
    trials = np.arange(500) / 500
    assert (emicorr.best_phase(-np.cos(2 * np.pi * (trials - centre))) - centre + 0.5) % 1 == pytest.approx(0.5, abs=1e-6)
    assert emicorr.best_phase(np.full(500, np.nan)) == 0


# --- against what was put in -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "parameters"), [(dict(readpatt="FASTR1"), {}), (dict(readpatt="FAST"), {"fit_ints_separately": True}), (dict(ngroups=3), {})]
)
def test_joint_takes_the_waves_out(reference, how, parameters):
    exposure, clean = observed(**how)
    before = left(exposure, clean)
    emicorr.apply(exposure, refs_of(exposure, reference), **parameters)
    assert before > 2.5 and left(exposure, clean) < 0.12 * before


def test_amplitude_and_phase_are_those_put_in(reference):
    exposure, _ = observed(amplitudes={"Hz390": 2.0}, starts={"Hz390": 0.3}, noise=1.0)
    options = emicorr._options(exposure.header, refs_of(exposure, reference))
    found = emicorr._find(options.waves[0], lambda: [exposure], exposure.sci.shape, exposure.pixeldq, options)
    assert found.amplitudes == pytest.approx(2.0, rel=0.01)
    assert found.starts[0] == pytest.approx(0.3, abs=0.003)  # trial phases of the other integrations are a 500th apart


@pytest.mark.parametrize("parameters", [{"algorithm": "sequential"}, {"onthefly_corr_freq": [390.625]}])
def test_sequential_takes_a_wave_out(reference, parameters):
    exposure, clean = observed(ngroups=14, amplitudes={"Hz390": 2.0}, starts=STARTS)
    before = left(exposure, clean)
    emicorr.apply(exposure, refs_of(exposure, simulated.write_emicorr(reference.with_name("one.asdf"), names=["Hz390"])), **parameters)
    assert before > 3 and left(exposure, clean) < 0.15 * before


def test_no_waves_no_harm(reference):
    exposure, clean = observed(amplitudes={"Hz390": 0.0}, starts=STARTS)
    emicorr.apply(exposure, refs_of(exposure, reference))
    assert left(exposure, clean) < 0.25


def test_the_last_reference_pixels_are_late(reference):
    """With 218 Hz, whose period no power of two is a multiple of: 2**32 samples more would put them anywhere."""
    exposure, clean = at_the_right_edge()
    emicorr.apply(exposure, refs_of(exposure), onthefly_corr_freq=[218.520470])
    gone = bend(exposure.sci - clean.astype(float))
    assert gone[..., -4:].std() < 1.5 * gone[..., 16:-4].std() < 1.0


def at_the_right_edge(**keywords):
    narrow = instruments.Subarray("SUB64", 961, 1, 72, 64, 4)
    setup = instruments.setup("MIR_IMAGE", subarray=narrow, readpatt="FASTR1", ngroups=14, nints=2)
    clean = np.rint(np.random.default_rng(6).normal(8000, NOISE, (2, 14, 64, 72))).astype(np.float32)
    seen = simulated.add_waves(clean, setup, {"Hz218a": 3.0}, STARTS).astype(np.float32)
    return exposed(seen, setup, **keywords), clean


# --- in blocks, as a reference, and where it does not apply ---------------------------------------------------------


class InBlocks:
    """An exposure whose integrations are lent out two at a time, as copies: what `prepare` gets."""

    def __init__(self, exposure):
        self.whole, self.shape = exposure, exposure.sci.shape
        self.header, self.pixeldq = exposure.header, exposure.pixeldq

    def blocks(self):
        for first in range(0, self.shape[0], 2):
            ints = slice(first, first + 2)
            pixels = Pixels(sci=self.whole.sci[ints].copy(), dq=self.pixeldq)
            yield self.whole.block(pixels, integrations=ints)


@pytest.mark.parametrize(
    "parameters",
    [{}, {"fit_ints_separately": True}, {"algorithm": "sequential", "nints_to_phase": 3}, {"onthefly_corr_freq": [390.625, 10.039216]}],
)
def test_blocks_give_what_the_whole_gives(reference, parameters):
    exposure, _ = observed(nints=5)
    refs = refs_of(exposure, reference)
    found = emicorr.prepare(InBlocks(exposure), refs, **parameters)
    blocks = list(InBlocks(exposure).blocks())
    emicorr.apply(exposure, refs, **parameters)
    for block in blocks:
        block.prepared = {"emicorr": found}
        emicorr.apply(block, refs, **parameters)
    np.testing.assert_array_equal(np.concatenate([block.sci for block in blocks]), exposure.sci)


def test_the_folded_waves_can_be_used_as_a_reference(reference, tmp_path):
    exposure, clean = observed(ngroups=14, amplitudes={"Hz390": 2.0}, starts=STARTS)
    again, _ = observed(ngroups=14, amplitudes={"Hz390": 2.0}, starts={"Hz390": 0.8})
    corrected, waves = emicorr.apply(exposure, refs_of(exposure), onthefly_corr_freq=[390.625], save_intermediate_results=True)
    assert corrected is exposure and waves.suffix == "emi_ref_waves"
    stored.write(waves, tmp_path / "made_emi_ref_waves.asdf")
    emicorr.apply(again, refs_of(again, tmp_path / "made_emi_ref_waves.asdf"))
    assert left(again, clean) < 0.6
    third, _ = observed(ngroups=14, amplitudes={"Hz390": 2.0}, starts={"Hz390": 0.8})
    emicorr.apply(third, refs_of(third), user_supplied_reffile=str(tmp_path / "made_emi_ref_waves.asdf"))
    np.testing.assert_array_equal(third.sci, again.sci)


@pytest.mark.parametrize(
    ("keywords", "parameters", "error", "message"),
    [
        ({"READPATT": "FASTR100"}, {}, Skip, "FASTR100 is not one of"),
        ({"NGROUPS": 2}, {}, Skip, "fewer than 3 groups"),
        ({"NGROUPS": 3}, {"algorithm": "sequential"}, Skip, "fewer than 4 groups"),
        ({"SUBARRAY": "SUB12"}, {}, Skip, "no frequencies for SUBARRAY SUB12"),
        ({"SUBARRAY": "SUB12"}, {"onthefly_corr_freq": [390.0]}, Skip, "SUB12 are not known"),
        ({"SUBSIZE1": 74}, {}, InputError, "74 columns"),
        ({}, {"onthefly_corr_freq": [390.0, -1.0]}, ConfigError, "-1.0 is no frequency"),
        ({}, {"save_intermediate_results": True}, ConfigError, "the waves are the reference's"),
    ],
)
def test_where_it_does_not_apply(reference, keywords, parameters, error, message):
    exposure, _ = observed(nints=1, ngroups=4, **keywords)
    before = exposure.sci.copy()
    with pytest.raises(error, match=message):
        emicorr.apply(exposure, refs_of(exposure, reference), **parameters)
    np.testing.assert_array_equal(exposure.sci, before)


@pytest.mark.parametrize("part", ["frequencies", "subarray_cases", "rowclocks"])
@pytest.mark.parametrize("value", [None, "abc", []])
def test_references_of_another_kind(reference, tmp_path, part, value):
    with asdf.open(reference, lazy_load=False, memmap=False) as file:
        tree = {name: file.tree[name] for name in ("frequencies", "subarray_cases")}
        exposure, _ = observed(nints=1, ngroups=4)
        (tree["subarray_cases"][exposure.header["SUBARRAY"]] if part == "rowclocks" else tree)[part] = value
        asdf.AsdfFile(tree).write_to(tmp_path / "other.asdf")
    with pytest.raises(ReferenceError, match="other.asdf: the emicorr reference is not made as such references are"):
        emicorr.apply(exposure, refs_of(exposure, tmp_path / "other.asdf"))


def test_references_that_are_none(tmp_path):
    exposure, _ = observed(nints=1, ngroups=4)
    with pytest.raises(Skip, match="N/A"):
        emicorr.apply(exposure, refs_of(exposure))
    path = simulated.write_emicorr(tmp_path / "short.asdf", samples=3)
    with pytest.raises(ReferenceError, match="short.asdf.*Hz390 has no frequency above 0 with a wave of 4 values"):
        emicorr.apply(exposure, refs_of(exposure, path))


# --- the peer --------------------------------------------------------------------------------------------------------

PEER = """
from jwst.emicorr import emicorr as peer
given = {"algorithm": "joint", **parameters}
result = peer.apply_emicorr(model, datamodels.EmiModel(refs["emicorr"]) if refs else None, **given)
"""
CASES = [
    ({}, {}),
    ({"readpatt": "FAST", "ngroups": 3}, {"fit_ints_separately": True}),
    ({"subarray": "SLITLESSPRISM", "readpatt": "SLOWR1", "nints": 2}, {}),
    ({"ngroups": 12}, {"algorithm": "sequential"}),
    ({"ngroups": 5, "readpatt": "FAST"}, {"algorithm": "sequential", "nbins": 60, "scale_reference": False, "nints_to_phase": 2}),
    ({"ngroups": 12}, {"onthefly_corr_freq": [10.039216, 390.625], "use_n_cycles": None}),
]


@needs_peer
@pytest.mark.parity
def test_as_the_peer(tmp_path, reference):
    cases = [(observed(**how)[0], parameters) for how, parameters in CASES]
    told = [(exposure, None if "onthefly_corr_freq" in p else refs_of(exposure, reference), p) for exposure, p in cases]
    # from group to group of this subarray, half a period: two phases, which differ by what is the same in all groups, fit equally well
    undecided, _ = observed(subarray="SUB128", nints=2)
    *theirs, peers = make.by_peer(tmp_path, PEER, [*told, (undecided, refs_of(undecided, reference), {})])
    emicorr.apply(undecided, refs_of(undecided, reference))
    np.testing.assert_allclose(bend(undecided.sci), bend(peers["data"]), atol=2e-3)
    for (exposure, refs, parameters), peers in zip(told, theirs, strict=True):
        emicorr.apply(exposure, refs or refs_of(exposure), **parameters)
        # the waves agree to a few parts in 1e9; one more or less in the last place of single precision where that rounds
        np.testing.assert_allclose(exposure.sci, peers["data"], rtol=1.2e-7)
        assert (exposure.sci == peers["data"]).mean() > 0.9995


@needs_peer
@pytest.mark.parity
def test_where_the_peer_is_wrong(tmp_path, reference):
    """A best phase at the ends of the trial phases, and reference pixels at the end of the rows: see docs/differences.md."""
    wrapped = {"amplitudes": {"Hz390": 2.0}, "starts": {"Hz390": 0.0}, "noise": 1.0, "nints": 1}
    one = simulated.write_emicorr(tmp_path / "one.asdf", names=["Hz390"])
    ours, clean = observed(**wrapped)
    edge, still = at_the_right_edge()
    seen_so_by_the_peer = at_the_right_edge(SUBSTRT1=241)[0]  # it takes subarrays of 72 columns that start here for those at the edge
    frequencies = {"onthefly_corr_freq": [218.520470]}
    theirs, theirs_edge = make.by_peer(tmp_path, PEER, [(ours, refs_of(ours, one), {}), (seen_so_by_the_peer, None, frequencies)])
    emicorr.apply(ours, refs_of(ours, one))
    emicorr.apply(edge, refs_of(edge), **frequencies)
    print("residual at phase 0:", left(ours, clean), bend(theirs["data"] - clean).std())
    assert left(ours, clean) < 0.3 and bend(theirs["data"] - clean).std() > 1
    gone = [bend(data - still) for data in (edge.sci, theirs_edge["data"])]
    last, others = ([g[..., part].std() for g in gone] for part in (slice(-4, None), slice(16, -4)))
    print("residual of the last reference pixels, and of the others (theirs goes into the folded wave):", last, others)
    assert last[0] < 1 and last[1] > 3 * last[0] and others[0] < others[1]
