"""refpix: kernels against numpy and scipy, injected drifts against what remains, and the peer."""

import numba
import numpy as np
import pytest
from scipy.stats import sigmaclip

import make
from jwcal.kernels.columns.pairwise_sum import pairwise_sum
from jwcal.kernels.detector.reference_pixels import clipped_means, running_medians, subtract_from_growth, subtract_signals
from jwcal.model.references import References
from jwcal.steps import refpix
from jwcal.vocabulary import dq
from jwcal.vocabulary.errors import InputError, Skip
from peer import needs_peer, peer_python

ORIENTATIONS = [(-1, 2), (1, -2), (1, 2), (-1, -2), (2, 1), (-2, -1), (2, -1), (-2, 1)]


def run(exposure, **parameters):
    readout = "miri" if exposure.header["INSTRUME"] == "MIRI" else ""
    return refpix.apply(exposure, References({}, exposure.header), readout, **parameters)


# --- kernels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_sums_are_those_of_numpy(kind):
    """Bit by bit: single and double precision, below and above the lengths at which numpy goes another way."""
    rng = np.random.default_rng(0)
    values = [rng.normal(300, 1000, n).astype(kind) for n in [*range(280), 1000, 1024, 2047, 16384]]
    assert [kind(pairwise_sum(x)) for x in values] == [x.sum() for x in values]
    assert any(x.sum() != kind(x.astype(np.longdouble).sum()) for x in values)  # it is not just the right sum


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_clipped_means_are_those_of_scipy(kind):
    rng = np.random.default_rng(1)
    samples = rng.normal(100, 5, (3, 500)).astype(kind)
    samples[:, ::17] += 300
    starts = np.array([0, 300, 300, 500])
    expected = np.array([[sigmaclip(f[a:b], 3, 3)[0].mean() for a, b in ((0, 300), (300, 500))] for f in samples])
    means = clipped_means(samples, starts, 3.0)
    assert means.dtype == expected.dtype == kind
    np.testing.assert_array_equal(means[:, [0, 2]], expected)
    assert np.isnan(means[:, 1]).all()  # an empty set
    assert abs(means[:, 0].mean() - samples[:, :300].mean()) > 5  # clipping matters here


def test_clipped_means_of_equal_values_and_of_nan():
    samples = np.array([[7.1, 7.1, 7.1, np.nan, 1.0, 3.0]], np.float32)
    np.testing.assert_array_equal(clipped_means(samples, np.array([0, 3, 6]), 3.0), [[np.float32(7.1), 2.0]])


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize(("first", "rows"), [(0, 64), (20, 30)])
def test_running_medians_are_those_of_numpy(first, rows, kind):
    rng = np.random.default_rng(2)
    values, good = rng.normal(size=(2, 64, 4)).astype(kind), rng.random((64, 4)) > 0.3
    good[30:45] = False  # windows without a good pixel
    inside = (np.arange(64) >= first) & (np.arange(64) < first + rows)
    values = np.where(good & inside[:, None], values, kind(np.nan))
    reflected = np.pad(values, ((0, 0), (5, 5), (0, 0)), "reflect")
    windows = [reflected[:, r : r + 11].reshape(2, -1) for r in range(64)]
    expected = np.array([[np.median(w[~np.isnan(w)]) if (~np.isnan(w)).any() else np.nan for w in both] for both in windows]).T
    part = slice(first, first + rows)
    result = running_medians(np.nan_to_num(values[:, part]).copy(), good[part].copy(), first, 64, 11)
    np.testing.assert_array_equal(result, expected[:, part])
    assert np.isnan(result).any()


def test_subtractions_are_those_of_numpy():
    rng = np.random.default_rng(3)
    frames = rng.normal(1000, 50, (3, 8, 12)).astype(np.float32)
    for kind in (np.float32, np.float64):
        a, b = rng.normal(size=(3, 12)), rng.normal(size=(3, 8))
        for x_first, x, y in ((True, a.astype(kind), b), (False, a, b.astype(kind))):
            column, row = x[:, None], y[:, :, None]
            expected = (frames - column - row if x_first else frames - row - column).astype(np.float32)
            result = frames.copy()
            subtract_signals(result, x, y, x_first)
            np.testing.assert_array_equal(result, expected)
    sci, signals = rng.normal(1000, 50, (2, 4, 8, 12)).astype(np.float32), rng.normal(size=(2, 4, 2, 12)).astype(np.float32)
    expected = (sci - sci[:, :1] - np.tile(signals, (1, 1, 4, 1))) + sci[:, :1]
    expected[:, 0] = sci[:, 0]
    subtract_from_growth(sci, signals)
    np.testing.assert_array_equal(sci, expected)


# --- truth -----------------------------------------------------------------------------------------------------------


def to_image(array, fast, slow):
    """(..., detector row, detector column) as (..., y, x): written out, to check the step's own views."""
    if fast < 0:
        array = np.flip(array, -1)
    if slow < 0:
        array = np.flip(array, -2)
    return np.moveaxis(array, -1, -2) if abs(fast) == 2 else array


def stripe(fast, slow, noise=5.0, ngroups=3, rows=96, **keywords):
    """A 4-output subarray of the first detector rows, drifts in it, and its true values.

    Returns
    -------
    exposure, truth (group, row, column), drift (group, row, column); the last two in the detector's orientation
    """
    rng = np.random.default_rng(4)
    reference = np.ones((rows, 2048), bool)
    reference[4:, 4:-4] = False
    truth = np.where(reference, 0, rng.uniform(100, 5000, (ngroups, rows, 2048)))
    column = np.arange(2048)
    drift = rng.normal(0, 50, (ngroups, 1, 4, 2))[:, :, column // 512, column % 2]
    knots = rng.normal(0, 20, (ngroups, 4))
    walk = np.stack([np.interp(np.arange(rows), np.linspace(0, rows, 4), k) for k in knots])
    drift = drift + (walk - walk[:, :4].mean(axis=1, keepdims=True))[:, :, None]  # the amplifiers' values take up the first rows' mean
    data = truth + drift + rng.normal(0, noise, truth.shape)
    data[:, 2, 700] = 60000  # a hot reference pixel, to be clipped
    data[:, 50, 1] = 60000  # and one that the median ignores
    shape = (rows, 2048) if abs(fast) == 1 else (2048, rows)
    start = 1 if slow > 0 else 2048 - rows + 1
    position = {f"SUBSTRT{abs(slow)}": start, f"SUBSTRT{abs(fast)}": 1, "SUBSIZE1": shape[1], "SUBSIZE2": shape[0]}
    data = to_image(data[None], fast, slow)
    exposure = make.ramp_exposure(data, FASTAXIS=fast, SLOWAXIS=slow, NOUTPUTS=4, SUBARRAY="SUB96", **position, **keywords)
    exposure.pixeldq |= to_image(np.where(reference, dq.REFERENCE_PIXEL, 0).astype(np.uint32), fast, slow)
    return exposure, truth, drift


@pytest.mark.parametrize(("fast", "slow"), ORIENTATIONS)
def test_four_outputs_drifts_are_removed_in_every_orientation(fast, slow):
    exposure, truth, drift = stripe(fast, slow)
    assert drift.std() > 20
    run(exposure)
    error = exposure.sci[0] - to_image(truth, fast, slow)
    error = np.moveaxis(error, -1, -2) if abs(fast) == 2 else error
    science = error[:, 6:-6, 8:-8]
    # noise 5, 1/sqrt(1024) of it from the amplifiers, 1.25/sqrt(88) from the side pixels; the median smooths the walk's corners
    assert abs(science.mean()) < 0.3
    assert science.std() == pytest.approx(5 * np.sqrt(1 + 1 / 1024 + 1.57 / 88), rel=0.02)


def test_what_the_switches_leave():
    exposure, truth, drift = stripe(-1, 2, noise=0)
    run(exposure, use_side_ref_pixels=False)
    walk = np.median(exposure.sci[0] - to_image(truth, -1, 2), axis=-1)
    np.testing.assert_allclose(walk, drift[:, :, 900] - drift[:, :4, 900].mean(axis=1, keepdims=True), atol=0.01)
    exposure, truth, drift = stripe(-1, 2, noise=0)
    run(exposure, odd_even_columns=False, side_gain=0.0)
    left = to_image(exposure.sci[0] - to_image(truth, -1, 2), -1, 2)[:, 40, 600:610]
    np.testing.assert_allclose(np.diff(left), np.diff(drift[:, 40, 600:610]), atol=0.01)  # odd and even columns still differ
    exposure, *_ = stripe(-1, 2)
    same, *_ = stripe(-1, 2)
    np.testing.assert_array_equal(run(exposure, side_smoothing_length=10).sci, run(same, side_smoothing_length=11).sci)


def test_flagged_reference_pixels_are_left_out():
    exposure, truth, _ = stripe(1, 2)
    exposure.sci[..., :4, 4:700] = 1e6  # all of amplifier 1's bottom pixels beyond column 3, some of 2's
    exposure.pixeldq[:4, 4:700] |= dq.DO_NOT_USE
    exposure.sci[..., :4] = -1e6  # the whole left side
    exposure.pixeldq[:, :4] |= dq.DO_NOT_USE
    before = exposure.sci.copy()
    run(exposure)
    other = exposure.sci[0, :, 8:-8, 1024:-4] - truth[:, 8:-8, 1024:-4]
    assert other.std() < 5.3
    taken = (before - exposure.sci)[0, :, 4:]
    np.testing.assert_allclose(np.diff(taken[..., 10], axis=1), np.diff(taken[..., 1500], axis=1), atol=0.01)
    np.testing.assert_allclose(taken[..., 10], taken[..., 11], atol=0.01)  # no value for amplifier 1: only the side correction
    assert np.abs(taken[..., 1500] - taken[..., 1501]).min() > 1


def corner(ny=40, nx=36, start=(2013, 1), **keywords):
    """A 1-output subarray in a corner of the detector with drifts of odd and even detector columns."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[start[1] - 1 : start[1] - 1 + ny, start[0] - 1 : start[0] - 1 + nx]
    reference = (x < 4) | (x >= 2044) | (y < 4) | (y >= 2044)
    truth = np.where(reference, 0, rng.uniform(100, 5000, (2, 3, ny, nx)))
    drift = rng.normal(0, 50, (2, 3, 2))[..., (2047 - x) % 2]  # FASTAXIS -1
    data = truth + drift + rng.normal(0, 2, truth.shape)
    exposure = make.ramp_exposure(data, NOUTPUTS=1, SUBSTRT1=start[0], SUBSTRT2=start[1], SUBARRAY="SUB40", **keywords)
    exposure.pixeldq[reference] |= dq.REFERENCE_PIXEL
    exposure.pixeldq[:2, :20] |= dq.DO_NOT_USE
    exposure.sci[..., :2, :20] = 1e5
    return exposure, truth, reference


@pytest.mark.parametrize("start", [(2013, 1), (2012, 1)])
def test_one_output_drifts_are_removed(start):
    exposure, truth, reference = corner(start=start)
    run(exposure)
    error = (exposure.sci - truth)[..., ~reference]
    n = reference.sum() / 2
    assert np.abs(error.mean(axis=-1)).max() < 5 * 2 / np.sqrt(n)
    assert error.std() == pytest.approx(2, rel=0.05)


def test_one_output_without_odd_and_even_columns_is_one_mean():
    exposure, _, reference = corner()
    good = reference & (exposure.pixeldq & dq.DO_NOT_USE == 0)
    expected = (
        exposure.sci - np.array([[sigmaclip(g[good].astype(float), 3, 3)[0].mean() for g in i] for i in exposure.sci])[..., None, None]
    )
    np.testing.assert_allclose(run(exposure, odd_even_columns=False).sci, expected, atol=0.01)


def test_one_parity_without_reference_pixels_takes_the_other_ones_value():
    exposure, _, reference = corner()
    exposure.pixeldq[:, ::2] |= dq.DO_NOT_USE
    good = reference & (exposure.pixeldq & dq.DO_NOT_USE == 0)
    mean = sigmaclip(exposure.sci[0, 0][good].astype(float), 3, 3)[0].mean()
    before = exposure.sci[0, 0].copy()
    run(exposure)
    np.testing.assert_allclose(before - exposure.sci[0, 0], mean, atol=0.01)


def test_edgeless_subarrays_use_their_first_and_last_columns():
    rng = np.random.default_rng(6)
    about = {"INSTRUME": "NIRSPEC", "DETECTOR": "NRS1", "FASTAXIS": 2, "SLOWAXIS": 1, "SUBSTRT1": 800, "SUBSTRT2": 900, "NOUTPUTS": 1}
    data = rng.normal(0, 1, (1, 2, 32, 64)) + np.where(np.arange(32) % 2, 30, -20)[:, None]  # odd and even along y, the fast axis
    exposure = make.ramp_exposure(data, SUBARRAY="SUB512", **about)
    assert np.abs(run(exposure).sci.mean(axis=(0, 1, 3))).max() < 0.6
    assert not exposure.pixeldq.any()
    with pytest.raises(Skip, match="no usable reference pixel"):
        run(make.ramp_exposure(data, SUBARRAY="SUB2048", **about))


def miri(nints=2, ngroups=3, **keywords):
    rng = np.random.default_rng(7)
    truth = rng.uniform(5000, 9000, (nints, 1, 1024, 1032)) + np.arange(ngroups)[:, None, None] * 50.0
    signals = rng.normal(0, 30, (nints, ngroups, 2, 4))
    signals[:, 0] = 0  # drifts since the first group are what can be seen
    data = truth + signals[:, :, np.arange(1024) % 2][..., np.arange(1032) % 4]
    data[..., :4] -= np.arange(ngroups)[:, None, None] * 50
    data[..., -4:] -= np.arange(ngroups)[:, None, None] * 50
    data += rng.normal(0, 2, data.shape)
    data[:, 1, 500, 0] += 5000
    about = {"INSTRUME": "MIRI", "DETECTOR": "MIRIMAGE", "FASTAXIS": 1, "SLOWAXIS": 2, "NOUTPUTS": 4, "SUBARRAY": "FULL"}
    exposure = make.ramp_exposure(data, **{**about, **keywords})
    exposure.pixeldq[:, :4] |= dq.REFERENCE_PIXEL
    exposure.pixeldq[:, -4:] |= dq.REFERENCE_PIXEL
    exposure.pixeldq[100:140, 1029] |= dq.DO_NOT_USE
    return exposure, truth


def test_miri_drifts_since_the_first_group_are_removed():
    exposure, truth = miri()
    first = exposure.sci[:, 0].copy()
    run(exposure)
    np.testing.assert_array_equal(exposure.sci[:, 0], first)
    error = (exposure.sci - truth)[:, 1:, :, 4:-4]
    for y in range(2):
        for x in range(4):
            assert np.abs(error[:, :, y::2, x::4].mean(axis=(-2, -1))).max() < 5 * 2 * np.sqrt(2) / np.sqrt(1024)
    assert error.std() == pytest.approx(2, rel=0.02)


def test_miri_rows_together():
    exposure, _ = miri(nints=1, ngroups=2)
    before = exposure.sci.copy()
    run(exposure, odd_even_rows=False)
    taken = (before - exposure.sci)[0, 1]
    np.testing.assert_allclose(taken, np.tile(taken[0, 8:12], (1024, 258)), atol=0.01)
    assert np.abs(np.diff(taken[0, 8:12])).min() > 0.1


# --- what it does not do, and says so ------------------------------------------------------------------------------


def test_zero_frame_is_corrected_and_its_gaps_stay():
    exposure, *_ = corner()
    exposure.extra["ZEROFRAME"] = exposure.sci[:, 0].copy()
    exposure.extra["ZEROFRAME"][:, 20:25] = 0
    run(exposure)
    known = np.ones(exposure.sci.shape[-2:], bool)
    known[20:25] = False
    np.testing.assert_array_equal(exposure.extra["ZEROFRAME"][:, ~known], 0)
    without, *_ = corner()
    without.pixeldq[~known] |= dq.DO_NOT_USE  # a gap in a reference pixel is no value
    np.testing.assert_array_equal(exposure.extra["ZEROFRAME"][:, known], run(without).sci[:, 0, known])


def test_modes_that_are_skipped_or_refused():
    with pytest.raises(Skip, match="MIRI subarrays"):
        run(make.ramp_exposure((1, 2, 32, 32), INSTRUME="MIRI"))
    dead, _ = miri(nints=1, ngroups=2)
    dead.pixeldq[:, [1, 1029]] |= dq.DO_NOT_USE
    before = dead.sci.copy()
    with pytest.raises(Skip, match="no usable reference pixel"):
        run(dead)
    np.testing.assert_array_equal(dead.sci, before)
    with pytest.raises(Skip, match="does not lie on the detector"):
        run(make.ramp_exposure((1, 2, 32, 32), SUBSTRT1=2040, NOUTPUTS=1))
    with pytest.raises(InputError, match="FASTAXIS"):
        run(make.ramp_exposure((1, 2, 32, 32), FASTAXIS=1, SLOWAXIS=-1, NOUTPUTS=1))
    with pytest.raises(InputError, match="do not make a frame of 32 rows"):
        run(make.ramp_exposure((1, 2, 32, 32), MSTR_RD1=8))
    with pytest.raises(Skip, match="IRS2 readout needs a refpix reference"):
        run(make.ramp_exposure((1, 1, 3200, 8), INSTRUME="NIRSPEC", DETECTOR="NRS1"))
    with pytest.raises(InputError, match="IRS2 readout .* of DETECTOR NRCA1"):
        run(make.ramp_exposure((1, 1, 3200, 8)))


def test_sirs_falls_back_on_the_median_where_it_has_no_meaning():
    exposure, *_ = corner()
    same, *_ = corner()
    refs = References({"sirskernel": "kernel.asdf"}, exposure.header)
    np.testing.assert_array_equal(refpix.apply(exposure, refs, refpix_algorithm="sirs").sci, run(same).sci)


def test_blocks_and_threads_give_the_same_bytes():
    exposure, _, _ = corner()
    parts = [corner()[0] for _ in range(2)]
    for i, part in enumerate(parts):
        part.sci = part.sci[i : i + 1].copy()
        run(part)
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        run(exposure)
    finally:
        numba.set_num_threads(threads)
    assert np.concatenate([p.sci for p in parts]).tobytes() == exposure.sci.tobytes()


# --- the peer --------------------------------------------------------------------------------------------------------

PEER = """
from stdatamodels.jwst import datamodels
from jwst.refpix import reference_pixels
m = datamodels.RampModel(data=sci, pixeldq=pixeldq, groupdq=np.zeros(sci.shape, np.uint8))
m.meta.instrument.name, m.meta.instrument.detector = str(instrument), str(detector)
m.meta.subarray.name = str(subarray)
s, e = m.meta.subarray, m.meta.exposure
s.xstart, s.ystart, s.xsize, s.ysize, s.fastaxis, s.slowaxis = [int(v) for v in place]
e.noutputs = int(noutputs)
e.zero_frame = bool(zeroframe.size)
if zeroframe.size:
    m.zeroframe = zeroframe
kernel = {"refpix_algorithm": "median", "sirs_kernel_model": None, "sigreject": 4.0, "gaussmooth": 1.0, "halfwidth": 30}
out["status"] = reference_pixels.correct_model(m, bool(odd_even), bool(side), int(length), float(gain), bool(odd_even), kernel, 3.0)
out["sci"], out["pixeldq"] = m.data, m.pixeldq
out["zeroframe"] = m.zeroframe if zeroframe.size else zeroframe
"""


def against_peer(exposure, odd_even=True, side=True, length=11, gain=1.0):
    """Run both, whose samples have to be the same bits; our exposure and the peer's arrays."""
    h = exposure.header
    theirs = peer_python(
        PEER,
        sci=exposure.sci,
        pixeldq=exposure.pixeldq,
        zeroframe=exposure.extra.get("ZEROFRAME", np.zeros(0)),
        instrument=h["INSTRUME"],
        detector=h["DETECTOR"],
        subarray=h["SUBARRAY"],
        place=[h[k] for k in ("SUBSTRT1", "SUBSTRT2", "SUBSIZE1", "SUBSIZE2", "FASTAXIS", "SLOWAXIS")],
        noutputs=h["NOUTPUTS"],
        odd_even=odd_even,
        side=side,
        length=length,
        gain=gain,
    )
    assert theirs["status"] == 0
    switches = {"odd_even_columns": odd_even, "odd_even_rows": odd_even, "use_side_ref_pixels": side}
    run(exposure, **switches, side_smoothing_length=length, side_gain=gain)
    np.testing.assert_array_equal(exposure.pixeldq, theirs["pixeldq"])
    np.testing.assert_array_equal(exposure.sci, theirs["sci"])
    return exposure, theirs


@pytest.mark.parity
@needs_peer
@pytest.mark.parametrize(("orientation", "switches"), [((-2, -1), {}), ((-1, 2), {"side": False})])
def test_full_frames_and_their_zero_frames_are_the_peers(orientation, switches):
    rng = np.random.default_rng(8)
    data = rng.normal(200, 30, (1, 2, 2048, 2048)) + rng.normal(0, 40, (1, 2, 1, 4)).repeat(512, axis=-1)
    data += 10 ** rng.uniform(0, 4, (2048, 2048))
    about = {"INSTRUME": "NIRSPEC", "DETECTOR": "NRS2", "FASTAXIS": orientation[0], "SLOWAXIS": orientation[1]}
    exposure = make.ramp_exposure(data, 0.7 * data[:, 0], NOUTPUTS=4, SUBARRAY="FULL", **about)
    exposure.pixeldq[rng.random((2048, 2048)) < 0.01] = dq.DO_NOT_USE
    ours, theirs = against_peer(exposure, **switches)
    np.testing.assert_array_equal(ours.extra["ZEROFRAME"], theirs["zeroframe"])


@pytest.mark.parity
@needs_peer
@pytest.mark.parametrize(("orientation", "switches"), [((-1, 2), {}), ((2, 1), {"length": 7, "gain": 0.8}), ((1, -2), {"odd_even": False})])
def test_four_output_subarrays_are_the_peers(orientation, switches):
    exposure, *_ = stripe(*orientation, rows=64)
    exposure.pixeldq[np.random.default_rng(9).random(exposure.pixeldq.shape) < 0.02] |= dq.DO_NOT_USE
    against_peer(exposure, **switches)


@pytest.mark.parity
@needs_peer
@pytest.mark.parametrize("odd_even", [True, False])
def test_one_output_subarrays_and_zero_frames_are_the_peers(odd_even):
    exposure, *_ = corner(start=(2012, 1))
    zeroframe = exposure.sci[:, 0] * 0.7
    zeroframe[:, 15:18, :30] = 0
    exposure.extra["ZEROFRAME"] = zeroframe
    ours, theirs = against_peer(exposure, odd_even=odd_even)
    np.testing.assert_array_equal(ours.extra["ZEROFRAME"], theirs["zeroframe"])
    np.testing.assert_array_equal(ours.extra["ZEROFRAME"][:, 15:18, :30], 0)


@pytest.mark.parity
@needs_peer
def test_edgeless_subarray_is_the_peers():
    rng = np.random.default_rng(10)
    about = {"INSTRUME": "NIRSPEC", "DETECTOR": "NRS2", "FASTAXIS": -2, "SLOWAXIS": -1, "SUBSTRT1": 801, "SUBSTRT2": 900, "NOUTPUTS": 1}
    exposure = make.ramp_exposure(rng.normal(50, 9, (2, 2, 32, 64)), SUBARRAY="SUB512", **about)
    exposure.pixeldq[5:9, 2] = dq.DO_NOT_USE
    against_peer(exposure)


@pytest.mark.parity
@needs_peer
@pytest.mark.parametrize("odd_even", [True, False])
def test_miri_is_the_peers(odd_even):
    exposure, _ = miri(nints=1, ngroups=3)
    against_peer(exposure, odd_even=odd_even)
