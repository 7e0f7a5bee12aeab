"""IRS2 readout: its layout against a clocking of it, the correction against its definition, noise whose source is known, the peer."""

import numba
import numpy as np
import pytest
from scipy.ndimage import binary_dilation, convolve1d

import make
from irs2_definition import clocked, defined
from jwcal.arithmetic.detector.irs2 import bad_references, correction
from jwcal.kernels.detector import irs2 as kernel
from jwcal.kernels.detector import irs2_spectra as spectra
from jwcal.model import irs2_layout, ramp
from jwcal.model.references import References
from jwcal.run import loop
from jwcal.settings.chains import Step
from jwcal.settings.recipe import Recipe
from jwcal.simulate import irs2 as simulated
from jwcal.steps import dq_init, ipc, linearity, refpix, saturation, superbias
from jwcal.vocabulary import dq
from jwcal.vocabulary.errors import InputError, ReferenceError
from peer import needs_peer

LINES = 192
DETECTORS = ("NRS1", "NRS2")


@pytest.mark.parametrize("detector", DETECTORS)
def test_layout_is_that_of_the_readout(detector):
    reads, frame = clocked(detector == "NRS2", LINES)
    found = irs2_layout.layout_of(make.header(3200, LINES, DETECTOR=detector))
    assert frame == irs2_layout.TICKS * LINES == 712 * LINES
    times = np.empty((3200, LINES), int)
    line = np.arange(LINES)[::-1] if found.backwards else np.arange(LINES)
    for output in range(5):
        times[found.order[output]] = line * irs2_layout.TICKS + irs2_layout.SAMPLE_TICKS[:, None]
    np.testing.assert_array_equal(times[reads[:, 1], reads[:, 2]], reads[:, 3])
    science = np.unique(reads[(reads[:, 0] > 0) & (reads[:, 4] == 0), 1])
    np.testing.assert_array_equal(found.science, science)
    assert found.references.sum() == 3200 - 2048 == 3200 - science.size
    assert set(np.unique(reads[reads[:, 4] == 1, 1])) == set(np.flatnonzero(bad_references.SAMPLED))


def exposure_of(sci, detector="NRS1", **keywords):
    axes = {"NRS1": (2, 1), "NRS2": (-2, -1)}.get(detector, (2, 1))
    about = {"INSTRUME": "NIRSPEC", "DETECTOR": detector, "FASTAXIS": axes[0], "SLOWAXIS": axes[1], "SUBSIZE2": 2048, "NOUTPUTS": 5}
    return make.ramp_exposure(sci, **about, SUBARRAY="FULL", READPATT="NRSIRS2RAPID", **{"NRS_NORM": 16, "NRS_REF": 4, **keywords})


def random_table(rng, lines=LINES):
    """Weights without any symmetry, in the form of the reference."""
    table = np.zeros(2 * 712 * lines, [(f"{kind}_{k}", "f4") for kind in ("alpha", "beta") for k in range(4)])
    for name in table.dtype.names:
        table[name] = rng.normal(0, 0.1, len(table)) + np.where(np.arange(len(table)) % 2, 0, 0.6)
    return table


def noisy(rng, nints=1, ngroups=3, lines=LINES):
    """Raw counts with drifts of the outputs; integers, so that some equal their mean."""
    data = rng.normal(1000, 8, (nints, ngroups, 3200, lines)) + rng.uniform(0, 3000, (3200, lines))
    return np.rint(data + rng.normal(0, 20, (nints, ngroups, 5)).repeat(640, axis=-1)[..., None]).astype(np.float32)


# --- the correction ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("preserve", [False, True])
def test_correction_is_its_definition(tmp_path, detector, preserve):
    rng = np.random.default_rng(1)
    exposure = exposure_of(noisy(rng), detector)
    exposure.sci[0, :, [700, 2000]] = 0  # reference or not: no samples
    table = random_table(rng)
    refs = make.references(tmp_path, exposure, refpix={"IRS2": table})
    found = irs2_layout.layout_of(exposure.header)
    expected = defined(exposure.sci[0], found, table, preserve)
    before = exposure.sci[0] if preserve else exposure.sci[0][:, found.science]
    assert np.abs(expected - before).std() > 5
    corrected = exposure.sci[0].copy()
    correction.correct(corrected, found, correction.filters_of(refs["refpix"], LINES), preserve)
    corrected = corrected if preserve else corrected[:, found.science]
    np.testing.assert_allclose(corrected, expected, rtol=2e-7, atol=2e-4)


def test_the_step_leaves_the_detectors_pixels(tmp_path):
    rng = np.random.default_rng(2)
    exposure = exposure_of(noisy(rng, nints=2), "NRS2")
    exposure.pixeldq[:] = np.arange(3200)[:, None]
    exposure.groupdq[:] = (np.arange(3200) % 251).astype(np.uint8)[:, None]
    exposure.extra["MAP"] = np.tile(np.arange(3200.0)[:, None], LINES)
    refs = make.references(tmp_path, exposure, refpix={"IRS2": random_table(rng)})
    rows = irs2_layout.science_rows(exposure)
    refpix.apply(exposure, refs)
    assert exposure.sci.shape == exposure.groupdq.shape == (2, 3, 2048, LINES)
    np.testing.assert_array_equal(exposure.pixeldq, np.tile(rows[:, None], LINES))
    np.testing.assert_array_equal(exposure.extra["MAP"], exposure.pixeldq)
    np.testing.assert_array_equal(exposure.groupdq[1, 2, :, 5], rows % 251)


@pytest.mark.parametrize("size", [1000, 10**6])
def test_a_table_in_parts_is_the_table(tmp_path, size):
    refs = make.references(tmp_path, exposure_of((1, 1, 3200, 8)), refpix={"IRS2": random_table(np.random.default_rng(19), 8)})
    parts = list(refs["refpix"].rows("IRS2", size))
    assert len(parts) == -(-2 * 712 * 8 // size)
    np.testing.assert_array_equal(np.concatenate(parts), refs["refpix"].table("IRS2"))


def test_threads_and_blocks_give_the_same_bytes(tmp_path):
    rng = np.random.default_rng(3)
    data = noisy(rng, nints=2)
    table = random_table(rng)
    results = []
    before = numba.get_num_threads()
    try:
        for threads in (1, before):
            numba.set_num_threads(threads)
            exposure = exposure_of(data)
            results.append(refpix.apply(exposure, make.references(tmp_path, exposure, refpix={"IRS2": table})).sci.tobytes())
    finally:
        numba.set_num_threads(before)
    assert results[0] == results[-1]
    assert before > 1 or len(results) == 2


def test_one_group_stays_as_it_is(tmp_path):
    """Its deviation from the mean of the groups is nothing."""
    rng = np.random.default_rng(4)
    data = noisy(rng, ngroups=1)
    exposure = exposure_of(data)
    refpix.apply(exposure, make.references(tmp_path, exposure, refpix={"IRS2": random_table(rng)}))
    np.testing.assert_array_equal(exposure.sci, data[:, :, irs2_layout.layout_of(exposure.header).science])


@pytest.mark.parametrize("detector", DETECTORS)
def test_noise_made_in_the_order_of_reading_is_removed(tmp_path, detector):
    """1/f noise of 6 DN in all outputs and 3 DN in each amplifier; read noise of 4 DN in the reference samples, none in the pixels."""
    rng = np.random.default_rng(5)
    found = irs2_layout.layout_of(make.header(3200, LINES, DETECTOR=detector))
    truth = rng.integers(2000, 20000, (1, 8, 2048, LINES)).astype(np.uint16)
    exposure = exposure_of(simulated.interleave(truth, found, rng, (6.0, 3.0, 4.0)), detector)
    before = exposure.sci[:, :, found.science] - truth
    refs = References({"refpix": simulated.write_refpix(tmp_path / "refpix.fits", detector, lines=LINES)}, exposure.header)
    after = refpix.apply(exposure, refs).sci - truth
    left = [np.std((noise - noise.mean(axis=1, keepdims=True))[..., 8:-8]) for noise in (before, after)]  # between the groups
    assert left[0] == pytest.approx(np.sqrt(7 / 8 * (36 + 9)), rel=0.15)
    assert left[1] < 0.62 * left[0]  # what is faster than the reference's weights follow, and the reference samples' own noise


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize(("slowest", "fastest", "own", "part"), [(700, 2300, 0, 0.05), (5, 250, 0.5, 0.03)])
def test_noise_within_the_bands_of_the_weights_goes(tmp_path, detector, slowest, fastest, own, part):
    """Fast noise that the reference output shares; slow noise of each amplifier, which its own reference pixels tell."""
    rng = np.random.default_rng(15)
    found = irs2_layout.layout_of(make.header(3200, LINES, DETECTOR=detector))
    frequency = np.fft.rfftfreq(712 * LINES, 1 / (712 * LINES))

    def band():
        series = np.fft.rfft(rng.normal(size=712 * LINES))
        series[(frequency < slowest) | (frequency > fastest)] = 0
        return 5 * np.fft.irfft(series) / np.fft.irfft(series).std()

    noise = []
    for _ in range(3):
        shared = band()
        noise.append(simulated.in_rows(found, [shared, *(shared + own * band() for _ in range(4))]))
    truth = rng.uniform(2000, 20000, (3200, LINES))
    exposure = exposure_of(truth + np.array(noise)[None], detector)
    refs = References({"refpix": simulated.write_refpix(tmp_path / "refpix.fits", detector, lines=LINES)}, exposure.header)
    left = refpix.apply(exposure, refs).sci[0] - truth[found.science]
    before = np.array(noise)[:, found.science]
    spread = [(n - n.mean(axis=0)).std() for n in (before, left)]
    assert spread[0] > 4 and spread[1] < part * spread[0]


# --- bad reference pixels ----------------------------------------------------------------------------------------------


def test_bad_reference_pixels_are_found_and_replaced():
    rng = np.random.default_rng(6)
    data = rng.normal(100, 8, (2, 3, 3200, LINES)).astype(np.float32)
    offset, unstable, apart = 640 * 2 + 8 + 40, 640 * 3 + 8 + 62, 640 * 4 + 8 + 160
    data[:, :, [offset, offset + 1]] += 300  # a mean of its own
    data[1, :, [unstable, unstable + 1]] += rng.normal(0, 60, (2, 3, LINES))  # noise in the second integration alone
    data[:, :, apart] -= 40  # two reads that disagree
    exposure = exposure_of(data)
    found = irs2_layout.layout_of(exposure.header)
    exposure.pixeldq[8, 3] |= dq.BAD_REF_PIXEL  # known, in the reference output
    exposure.pixeldq[640 + 3, 2] |= dq.BAD_REF_PIXEL  # in a row of pixels: not a reference sample's
    bad_references.flag(exposure, found, 3.0)
    flagged = bad_references.flagged(exposure.pixeldq, found)
    assert {8, offset, offset + 1, unstable, unstable + 1, apart, apart + 1} <= set(np.flatnonzero(flagged))
    assert flagged.sum() < 20
    assert ((exposure.pixeldq[flagged] & dq.DO_NOT_USE) != 0).all() and (exposure.pixeldq[643] != 0).sum() == 1
    before = exposure.sci.copy()
    bad_references.replace(exposure.sci, np.flatnonzero(flagged), flagged)
    np.testing.assert_array_equal(exposure.sci[:, :, ~flagged], before[:, :, ~flagged])
    np.testing.assert_array_equal(exposure.sci[:, :, offset], (before[:, :, offset - 20] + before[:, :, offset + 20]) / 2)
    np.testing.assert_array_equal(exposure.sci[:, :, 8], before[:, :, 28])  # the first of its output


def test_what_replaces_a_reference_pixel_without_good_ones_around():
    sci = np.arange(3200, dtype=np.float32)[None, None, :, None].repeat(2, axis=-1)
    bad = np.zeros(3200, bool)
    bad[[668, 648, 688]] = True
    bad_references.replace(sci, [668], bad)
    assert (sci[0, 0, 668] == 670).all()  # the other pixel of the visit
    bad[670] = True
    bad_references.replace(sci, [668], bad)
    assert (sci[0, 0, 668] == 0).all()


@pytest.mark.parametrize("detector", DETECTORS)
def test_table_of_bad_reference_pixels(detector):
    """Bits count the visits along the detector's columns; even outputs are read the other way, so that their first pixel lies second."""
    table = np.array([(1, 1, 1 << 31), (2, 1, 0b101), (4, 2, 1)], [("OUTPUT", "u2"), ("ODD_EVEN", "u2"), ("MASK", "u4")])
    entries = bad_references.of_table(table, irs2_layout.layout_of(make.header(3200, 4, DETECTOR=detector)))
    columns = [[640 + 8 + 620, 640 + 9 + 620], [1280 + 10, 1280 + 11, 1280 + 50, 1280 + 51], [2560 + 8, 2560 + 9]]
    expected = columns if detector == "NRS1" else [sorted(3199 - c for c in entry) for entry in columns]
    assert [sorted(entry.tolist()) for entry in entries] == expected


def test_reference_pixels_of_the_table_are_not_used(tmp_path):
    rng = np.random.default_rng(7)
    data = rng.normal(100, 8, (1, 3, 3200, LINES)).astype(np.float32)
    spoilt = data.copy()
    spoilt[:, :, 640 + 8 + 100 : 640 + 8 + 102] *= rng.normal(1, 0.02, (1, 3, 1, LINES))  # not so bad that the statistics tell
    bad = np.array([(1, 1, 1 << 5)], [("OUTPUT", "u2"), ("ODD_EVEN", "u2"), ("MASK", "u4")])
    table = random_table(rng)
    results = []
    for samples in (data, spoilt):
        exposure = exposure_of(samples)
        refs = make.references(tmp_path, exposure, refpix={"IRS2": table, "DQ": bad})
        results.append(refpix.apply(exposure, refs).sci)
    np.testing.assert_array_equal(*results)
    refs = make.references(tmp_path, exposure, refpix={"IRS2": table})
    assert not np.array_equal(refpix.apply(exposure_of(spoilt), refs).sci, results[0])


# --- kernels -----------------------------------------------------------------------------------------------------------


def test_pair_statistics_are_numpys():
    groups = np.random.default_rng(8).normal(50, 3, (4, 20, 30)).astype(np.float32)
    wide = groups.astype(float)
    expected = [[np.abs(wide[:, r] - wide[:, r + 1]).mean(), wide[:, r : r + 2].mean(), wide[:, r : r + 2].std()] for r in (3, 11)]
    np.testing.assert_allclose(kernel.pair_statistics(groups, np.array([3, 11])), expected, rtol=1e-12)


def test_gaps_are_filled_by_scipys_convolution():
    rng = np.random.default_rng(9)
    ticks = np.setdiff1d(np.arange(40), [7, 19, 20, 39])
    samples = rng.normal(0, 1, (ticks.size, 16)).astype(np.float32)
    samples[rng.random(samples.shape) < 0.3] = 0
    samples[5:34, 7] = 0  # nothing within reach in the middle
    series = np.zeros((40, 16), np.float32)
    series[ticks] = samples
    flat = series.T.ravel().astype(float)  # in the order of time
    window = correction.WINDOW[8:-8]
    weights = convolve1d((flat != 0).astype(float), window, mode="wrap")
    filled = np.divide(convolve1d(flat, window, mode="wrap"), weights, out=np.zeros_like(flat), where=weights > 0)
    expected = np.where(flat == 0, filled, flat).reshape(16, 40).T
    result = kernel.fill_gaps(samples, ticks, 40, window)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=2e-7)
    assert (result[5:36, 7] == 0).any() and (result[series != 0] == series[series != 0]).all()


def by_element(values):
    """Values (tick, k) as the transforms of a block take them."""
    out = np.empty((712, spectra.WIDTH), np.float32)
    out[spectra.ELEMENT_OF_TICK] = spectra.in_blocks(values)[0]
    return out.reshape(8, 89, spectra.WIDTH)


def complex_of(block):
    return block[..., : spectra.HALF] + 1j * block[..., spectra.HALF :]


def test_transform_along_the_ticks_is_numpys():
    rng = np.random.default_rng(17)
    values = rng.normal(size=(712, spectra.HALF)) + 1j * rng.normal(size=(712, spectra.HALF))
    found = np.empty((8, 89, spectra.WIDTH), np.float32)
    spectra.transform(by_element(values), found, np.empty((spectra.WORK, spectra.WIDTH), np.float32))
    expected = np.fft.fft(values, axis=0)[spectra.FREQUENCY_OF].reshape(8, 89, -1)
    assert np.abs(complex_of(found) - expected).max() < 2e-6 * np.abs(expected).std()


@pytest.mark.parametrize("reach", [0, 18, 200])
def test_lowpass_is_numpys(reach):
    """Few frequencies pass, none but the mean and the fastest, and more than half of them."""
    rng = np.random.default_rng(18)
    values = rng.normal(size=(712, spectra.HALF)) + 1j * rng.normal(size=(712, spectra.HALF))
    m = np.arange(712) % 356
    weight = np.where((m <= reach) | (m >= 356 - reach), 1, 0)[:, None] * rng.uniform(0.5, 1, (712, spectra.HALF))
    low, swapped = spectra.lowpass(weight), np.empty((8, 89, spectra.WIDTH), np.float32)
    assert (low.counts < 44).all() == (reach < 100)
    spectra.smooth(by_element(values), swapped, low.weight[0], low, np.empty((spectra.WORK, spectra.WIDTH), np.float32))
    found = 1j * complex_of(swapped).reshape(712, -1)[spectra.ELEMENT_OF_TICK].conj()
    expected = np.fft.ifft(np.fft.fft(values, axis=0) * weight, axis=0)
    assert np.abs(found - expected).max() < 4e-6 * expected.std()


# --- the other steps ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("grow", "pattern"), [(1, True), (0, True), (2, False)])
@pytest.mark.parametrize("detector", DETECTORS)
def test_saturation_by_its_definition(tmp_path, detector, grow, pattern):
    rng = np.random.default_rng(10)
    shape = (2, 5, 3200, 24)
    data = np.cumsum(rng.choice([100, 100, 100, 9000], shape, p=[0.45, 0.3, 0.2, 0.05]), axis=1).astype(np.float32) + 1000
    data[rng.random(shape) < 0.002] = 0
    exposure = exposure_of(data, detector, NFRAMES=5, SUBSIZE1=24)
    threshold = rng.uniform(8000, 20000, (2048, 24)).astype(np.float32)
    threshold[5, 5] = np.nan
    bias = rng.uniform(900, 1100, (3200, 24)).astype(np.float32)
    refs = make.references(tmp_path, exposure, saturation=threshold, superbias={"SCI": bias, "SUBSIZE2": 2048})
    rows = irs2_layout.layout_of(exposure.header).science
    limit, box = np.where(np.isnan(threshold), 65536, threshold), np.ones((2 * grow + 1,) * 2)
    expected = np.zeros(shape, np.uint8)
    events = 0
    for i in range(2):
        groups, flags = data[i][:, rows], np.zeros((5, 2048, 24), np.uint8)
        over = groups >= limit
        if pattern:
            slow = (groups[0] - bias[rows]) / 3.0 * 15 + bias[rows] < limit
            late = slow & (groups[1] - groups[0] > (limit - groups[0]) / 5) & over[2]
            events += np.count_nonzero(late & ~over[1])
            over[1] |= late
        for g in range(5):
            flags[g:] |= np.where(binary_dilation(over[g], box), dq.SATURATED, 0).astype(np.uint8)
            flags[g] |= np.where(groups[g] <= 0, dq.AD_FLOOR | dq.DO_NOT_USE, 0).astype(np.uint8)
        expected[i][:, rows] = flags
    assert events > 20 or not pattern
    saturation.apply(exposure, refs, n_pix_grow_sat=grow, use_readpatt=pattern)
    np.testing.assert_array_equal(exposure.groupdq, expected)
    assert np.flatnonzero(exposure.pixeldq.any(axis=1)).tolist() == [rows[5]]
    assert exposure.pixeldq[rows[5], 5] == dq.NO_SAT_CHECK


def test_ipc_couples_neighbours_on_the_detector(tmp_path):
    """The same as of an image without the reference samples, which stay as they are."""
    rng = np.random.default_rng(16)
    data = rng.normal(100, 30, (1, 2, 3200, 24)).astype(np.float32)
    exposure = exposure_of(data, "NRS2", SUBSIZE1=24)
    rows = irs2_layout.science_rows(exposure)
    usual = make.ramp_exposure(data[:, :, rows], INSTRUME="NIRSPEC", DETECTOR="NRS2")
    refs = make.references(tmp_path, exposure, ipc=rng.normal(0, 0.02, (3, 3)).astype(np.float32))
    ipc.apply(exposure, refs), ipc.apply(usual, refs)
    np.testing.assert_array_equal(exposure.sci[:, :, rows], usual.sci)
    others = np.setdiff1d(np.arange(3200), rows)
    np.testing.assert_array_equal(exposure.sci[:, :, others], data[:, :, others])
    assert not np.array_equal(exposure.sci[:, :, rows], data[:, :, rows])


def chain_references(folder, exposure, rng):
    lines = exposure.sci.shape[-1] if exposure.raw is None else exposure.raw.shape[-1]
    high, wide = {"SUBSIZE1": lines, "SUBSIZE2": 2048}, (3200, lines)
    flags = np.where(rng.random(wide) < 0.01, dq.DO_NOT_USE, 0).astype(np.uint32)
    coefficients = np.array([0, 1, 1e-6])[:, None, None] * np.ones((1, 2048, lines))
    return make.references(
        folder,
        exposure,
        mask={"DQ": flags, **high},
        saturation=np.full((2048, lines), 3600.0),
        superbias={"SCI": rng.normal(900, 10, wide), "DQ": (flags << 1) & 2, **high},
        refpix={"IRS2": random_table(rng, lines)},
        linearity={"COEFFS": coefficients, "DQ": np.zeros((2048, lines), np.uint32)},
        gain=np.ones((2048, lines)),
        readnoise=np.full((2048, lines), 10.0),
    )


class Samples:
    """A ramp in memory that is read like a file."""

    def __init__(self, sci):
        self.sci, self.shape = sci, sci.shape

    def read(self, ints, empty=None):
        return self.sci[ints].copy(), np.zeros(self.sci[ints].shape, np.uint8)


def test_walked_in_blocks_it_is_the_same(tmp_path, monkeypatch):
    """Reference pixels that are bad in the last integration are replaced in the first; rows go, with their flags and zero frames."""
    rng = np.random.default_rng(11)
    data = noisy(rng, nints=3)
    data[2, :, 640 * 2 + 8 + 40] += 500
    steps = [Step(name) for name in ("dq_init", "saturation", "superbias", "refpix", "linearity", "ramp_fit")]
    results = []
    for large in (ramp.LARGE, 1024):
        monkeypatch.setattr(ramp, "LARGE", large)
        exposure = exposure_of(data, zeroframe=data[:, 0], TGROUP=14.6)
        refs = chain_references(tmp_path, exposure, np.random.default_rng(12))
        exposure.raw, exposure.sci, exposure.groupdq = Samples(data), None, None
        recipe = Recipe("toy", steps, references={kind: str(ref.path) for kind, ref in refs._refs.items()})
        results.append((loop.run(recipe, exposure, scratch=tmp_path), exposure))
    (whole, _), (pieces, source) = results
    assert source.sci is None, "the ramp was not walked in pieces"
    assert source.pixeldq.shape == (2048, LINES) and source.extra["ZEROFRAME"].shape == (3, 2048, LINES)
    for one, other in zip(whole, pieces, strict=True):
        assert one.sci.shape[-2:] == (2048, LINES)
        for name, plane in one.pixels[0].planes():
            np.testing.assert_array_equal(getattr(other, name), plane, err_msg=f"{one.suffix} {name}")
        assert one.steps == other.steps


def test_references_of_another_readout_are_refused(tmp_path):
    exposure = exposure_of((1, 2, 3200, 8))
    refs = make.references(tmp_path, exposure, superbias=np.zeros((2048, 8)), mask={"DQ": np.zeros((3200, 8), np.uint32), "SUBSIZE2": 2048})
    with pytest.raises(ReferenceError, match="superbias.*2048 rows.*3200 of IRS2 readout"):
        superbias.apply(exposure, refs)
    dq_init.apply(exposure, refs)
    usual = make.ramp_exposure((1, 2, 2048, 8), INSTRUME="NIRSPEC", DETECTOR="NRS1")
    with pytest.raises(ReferenceError, match="mask.*3200 rows of IRS2 readout, the exposure has 2048"):
        dq_init.apply(usual, refs)
    refs = make.references(tmp_path, exposure, linearity={"COEFFS": np.zeros((3, 2048, 8))})
    with pytest.raises(ReferenceError):
        linearity.apply(exposure, refs)
    refs = make.references(tmp_path, exposure, refpix={"IRS2": random_table(np.random.default_rng(0), 4)})
    with pytest.raises(ReferenceError, match="5696 rows .* 11392 rows"):
        refpix.apply(exposure, refs)
    with pytest.raises(ReferenceError, match="refpix.fits: DQ has no column MASK"):
        bad_references.of_table(np.array([(1, 2)], [("OUTPUT", "u2"), ("ODD_EVEN", "u2")]), None, "refpix.fits")


def test_another_rhythm_or_detector_is_refused():
    with pytest.raises(InputError, match="NRS_NORM, NRS_REF = \\(8, 2\\)"):
        irs2_layout.layout_of(exposure_of((1, 1, 3200, 8), NRS_NORM=8, NRS_REF=2).header)
    with pytest.raises(InputError, match="DETECTOR NRCA1"):
        irs2_layout.layout_of(exposure_of((1, 1, 3200, 8), "NRCA1").header)


# --- the peer ----------------------------------------------------------------------------------------------------------

PEER = """
    from jwst.refpix import irs2_subtract_reference as irs2, reference_pixels
    irs2.flag_bad_refpix(model, n_sigma=parameters.get("ovr_corr_mitigation_ftr", 3.0), flag_only=True)
    if parameters.get("irs2_mean_subtraction"):
        kernel = {"refpix_algorithm": "median", "sirs_kernel_model": None, "sigreject": 4.0, "gaussmooth": 1.0, "halfwidth": 30}
        reference_pixels.correct_model(model, parameters.get("odd_even_columns", True), False, 11, 1.0, True, kernel, 3.0)
    irs2.flag_bad_refpix(model, replace_only=True)
    preserve = parameters.get("preserve_irs2_refpix", False)
    result = irs2.correct_model(model, datamodels.IRS2Model(refs["refpix"]), preserve_refpix=preserve)
"""
CASES = {
    "NRS1": ("NRS1", 1, {}),
    "NRS2, two integrations, half as strict": ("NRS2", 2, {"ovr_corr_mitigation_ftr": 1.5}),
    "NRS2, reference pixels kept": ("NRS2", 1, {"preserve_irs2_refpix": True}),
    "NRS1, means first": ("NRS1", 1, {"irs2_mean_subtraction": True}),
    "NRS1, means of all columns first": ("NRS1", 1, {"irs2_mean_subtraction": True, "odd_even_columns": False}),
}


@pytest.mark.parity
@needs_peer
@pytest.mark.parametrize("case", [name if name == "NRS1" else pytest.param(name, marks=pytest.mark.full) for name in CASES])
def test_refpix_is_the_peers(tmp_path, case):
    detector, nints, parameters = CASES[case]
    rng = np.random.default_rng(13)
    data = noisy(rng, nints, 2, 2048)
    data[:, :, 640 * 2 + 8 + 40] += 300
    data[-1, :, 640 * 3 + 8 + 62] += rng.normal(0, 60, (2, 2048))
    exposure = exposure_of(data, detector)
    exposure.pixeldq[640 * 4 + 29] = dq.BAD_REF_PIXEL
    exposure.pixeldq[rng.random((3200, 2048)) < 0.01] |= dq.DO_NOT_USE
    bad = np.array([(1, 1, 3), (2, 1, 3 << 30), (3, 2, 7 << 10), (4, 2, 1)], [("OUTPUT", "u2"), ("ODD_EVEN", "u2"), ("MASK", "u4")])
    refs = make.references(tmp_path, exposure, refpix={"IRS2": random_table(rng, 2048), "DQ": bad})
    (theirs,) = make.by_peer(tmp_path, PEER, [(exposure, refs, parameters)])
    before = np.abs(exposure.sci).max()
    refpix.apply(exposure, refs, **parameters)
    np.testing.assert_array_equal(exposure.pixeldq, theirs["pixeldq"])
    np.testing.assert_array_equal(exposure.groupdq, theirs["groupdq"])
    difference = np.abs(exposure.sci - theirs["data"])
    assert difference.max() < 1.3e-7 * before  # of float32 samples, not of their deviations
    assert np.median(difference) < 1e-8 * before


@pytest.mark.full
@pytest.mark.parity
@needs_peer
def test_both_are_equally_near_the_definition(tmp_path):
    """Both are off by single precision: 1e-6 DN, of noise of 8 DN and drifts of 20 DN. Levels are zero, or the samples would hide it."""
    rng = np.random.default_rng(20)
    data = rng.normal(0, 8, (1, 2, 3200, 2048)) + rng.normal(0, 20, (1, 2, 5)).repeat(640, axis=-1)[..., None]
    exposure = exposure_of(data.astype(np.float32))
    table, none = random_table(rng, 2048), np.array([(1, 1, 0)], [("OUTPUT", "u2"), ("ODD_EVEN", "u2"), ("MASK", "u4")])
    refs = make.references(tmp_path, exposure, refpix={"IRS2": table, "DQ": none})
    all_good = {"ovr_corr_mitigation_ftr": 100.0}
    (theirs,) = make.by_peer(tmp_path, PEER, [(exposure, refs, all_good)])
    truth = defined(exposure.sci[0], irs2_layout.layout_of(exposure.header), table)
    refpix.apply(exposure, refs, **all_good)
    ours, peers = (np.sqrt(np.mean((sci[0] - truth) ** 2)) for sci in (exposure.sci, theirs["data"]))
    print(f"from the definition: ours {ours:.2e} DN, the peer's {peers:.2e} DN")
    assert max(ours, peers) < 1.2e-6 and ours < 1.2 * peers
    assert np.abs(exposure.sci[0] - truth).max() < 1e-5


@pytest.mark.parity
@needs_peer
@pytest.mark.parametrize("pattern", [True, False])
def test_saturation_is_the_peers(tmp_path, pattern):
    rng = np.random.default_rng(14)
    data = np.cumsum(rng.choice([100, 100, 100, 9000], (1, 4, 3200, 2048), p=[0.45, 0.3, 0.2, 0.05]), axis=1).astype(np.float32) + 1000
    data[rng.random(data.shape, np.float32) < 0.001] = 0
    exposure = exposure_of(data, "NRS2", NFRAMES=5)
    threshold = rng.uniform(8000, 20000, (2048, 2048)).astype(np.float32)
    threshold[rng.random((2048, 2048)) < 0.001] = np.nan
    bias = rng.uniform(900, 1100, (3200, 2048)).astype(np.float32)
    refs = make.references(tmp_path, exposure, saturation=threshold, superbias={"SCI": bias, "SUBSIZE2": 2048})
    code = """
        from jwst.saturation.saturation import irs2_flag_saturation
        bias = datamodels.SuperBiasModel(refs["superbias"])
        result = irs2_flag_saturation(model, datamodels.SaturationModel(refs["saturation"]), bias_model=bias, **parameters)
    """
    parameters = {"n_pix_grow_sat": 1, "use_readpatt": pattern}
    (theirs,) = make.by_peer(tmp_path, code, [(exposure, refs, parameters)])
    saturation.apply(exposure, refs, **parameters)
    np.testing.assert_array_equal(exposure.groupdq, theirs["groupdq"])
    np.testing.assert_array_equal(exposure.pixeldq, theirs["pixeldq"])
