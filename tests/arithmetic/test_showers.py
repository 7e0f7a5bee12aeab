"""Showers: the kernels against numpy and astropy, the step against injected showers, flags bit for bit against the peer."""

import numpy as np
import pytest
from astropy.convolution import Ring2DKernel, convolve

import make
from jwcal.arithmetic.jumps import showers
from jwcal.kernels.jumps import showers as kernels
from jwcal.steps import jump
from jwcal.vocabulary.dq import DO_NOT_USE, JUMP_DET, NO_GAIN_VALUE, REFERENCE_PIXEL, SATURATED
from peer import needs_peer

GAIN, READNOISE = 3.1, 6.0  # electrons/DN; DN of a difference of two frames
SECONDS = 2.775  # a group
NOISE = np.hypot(np.sqrt(40 * GAIN), READNOISE * GAIN) / GAIN  # DN, of a difference


def cloud(shape, x, y, width, height):
    """An elliptical cloud, 1 inside."""
    rows, columns = np.indices(shape)
    return (((columns - x) / width) ** 2 + ((rows - y) / height) ** 2 < 1).astype(float)


def ramps(rng, shape, clouds=(), hits=0.001):
    """Ramps (DN); clouds: (integration, group, image in DN)."""
    steps = rng.poisson(40 * GAIN, shape) / GAIN
    steps += (rng.random(shape) < hits) * 10 ** rng.uniform(2, 4, shape)
    for integration, group, image in clouds:
        steps[integration, group] += image
    return (1000 + np.cumsum(steps, axis=1) + rng.normal(0, READNOISE / np.sqrt(2), shape)).astype(np.float32)


def exposure_of(folder, sci, groupdq=None, pixeldq=None):
    exposure = make.ramp_exposure(sci, INSTRUME="MIRI", DETECTOR="MIRIMAGE", TFRAME=SECONDS)
    if groupdq is not None:
        exposure.groupdq = groupdq.copy()
    if pixeldq is not None:
        exposure.pixeldq = pixeldq.copy()
    maps = {kind: np.full(sci.shape[2:], value, np.float32) for kind, value in (("gain", GAIN), ("readnoise", READNOISE))}
    folder.mkdir(exist_ok=True)
    return exposure, make.references(folder, exposure, **maps)


def flag(folder, *given, **parameters):
    """Run the step with showers on."""
    return jump.apply(*exposure_of(folder, *given), **{"find_showers": True, **parameters})


# --- kernels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("inner", "width"), [(1.0, 2.6), (2.0, 3.0), (0.0, 1.5), (3.5, 0.5)])
def test_the_ring_is_astropys(inner, width):
    kernel = Ring2DKernel(inner, width).array
    middle = len(kernel) // 2
    mine = np.zeros(kernel.shape, bool)
    for row, first, last in showers.ring_runs(inner, width) + middle:
        assert not mine[row, first:last].any()
        mine[row, first:last] = True
    np.testing.assert_array_equal(mine, kernel > 0)


def test_smoothing_is_astropys():
    rng = np.random.default_rng(1)
    values = rng.normal(1, 1, (40, 30)).astype(np.float32)
    values[rng.random(values.shape) < 0.1] = np.nan
    values[10:20, 5:12] = np.nan
    ring = Ring2DKernel(1, 2.6)
    expected = convolve(values.astype(float), ring, boundary="fill", fill_value=0, preserve_nan=True)
    for threshold in (0.7, 1.0, 1.3):
        got = kernels.stands_out(values, showers.ring_runs(1, 2.6), threshold)
        np.testing.assert_array_equal(got, expected > threshold)
        assert 0 < got.sum() < got.size / 2 or threshold < 1


def test_noise_is_the_formula():
    rng = np.random.default_rng(2)
    sci = ramps(rng, (2, 7, 20, 70))
    flags = rng.choice(np.array([0, JUMP_DET, DO_NOT_USE, SATURATED, 64], np.uint8), sci.shape, p=[0.8, 0.05, 0.05, 0.05, 0.05])
    flags[:, :, 3, 3] = DO_NOT_USE
    gain, readnoise = (rng.uniform(2, 4, (20, 70)).astype(np.float32) for _ in range(2))
    median, sigma = kernels.difference_noise(sci, flags, gain, readnoise, 4, showers.BAD)
    electrons = np.where(flags & showers.BAD == 0, sci * gain, np.nan)
    with pytest.warns(RuntimeWarning, match="All-NaN"):
        expected = np.nanmedian(np.diff(electrons, axis=1), axis=(0, 1)).astype(np.float32)
    np.testing.assert_array_equal(median, expected)
    np.testing.assert_allclose(sigma, np.sqrt(np.abs(expected) + (readnoise * gain) ** 2 / 4), rtol=1e-6)
    assert np.isnan(median[3, 3]) and np.isfinite(median).sum() == median.size - 1


def test_flags_that_move_the_rate_too_far_are_taken_back():
    sci = np.broadcast_to(np.arange(6, dtype=np.float32)[:, None, None] * 10, (6, 1, 4)).copy()
    sci[3:, 0, 0] += 30  # mean difference 16 instead of 10
    sci[3:, 0, 1] += 3
    before = np.zeros(sci.shape, np.uint8)
    after = before.copy()
    after[3] = JUMP_DET
    after[:, 0, 2] = JUMP_DET  # no rate any more
    fixed = np.array([[False, False, False, True]])
    gain, limits = np.full((1, 4), 2, np.float32), np.full((1, 4), 3, np.float32)
    kernels.restore(sci, before, after, gain, limits, fixed, showers.BAD)
    np.testing.assert_array_equal((after != before).any(axis=0)[0], [False, True, False, False])


# --- against injected showers ------------------------------------------------------------------------------------------


def test_a_shower_too_faint_for_jumps_is_found(tmp_path):
    image = 1.9 * NOISE * cloud((96, 96), 50, 40, 14, 9)
    sci = ramps(np.random.default_rng(3), (1, 30, 96, 96), [(0, 12, image)], hits=0)
    plain = flag(tmp_path, sci, find_showers=False).groupdq
    found = flag(tmp_path, sci, time_masked_after_shower=3 * SECONDS + 0.1)
    inside = image > 0
    assert (plain[0, 12][inside] == 0).mean() > 0.9, "it is no shower if it is all jumps"
    for g in (12, 13, 14, 15):
        assert (found.groupdq[0, g][inside] & JUMP_DET != 0).mean() > 0.95
    more = found.groupdq != plain
    assert not more[0, :12].any() and not more[0, 16:].any()
    assert not more[:, :, cloud((96, 96), 50, 40, 24, 18) == 0].any()
    assert found.header["EXTNCRS"] == pytest.approx(1e6 / (29 * SECONDS * 96 * 96))


def test_noise_alone_is_no_shower(tmp_path):
    sci = ramps(np.random.default_rng(4), (2, 20, 96, 96), hits=0.002)
    found = flag(tmp_path, sci)
    np.testing.assert_array_equal(found.groupdq, flag(tmp_path, sci, find_showers=False).groupdq)
    assert found.header["EXTNCRS"] == 0


def test_too_few_differences(tmp_path, caplog):
    sci = ramps(np.random.default_rng(5), (1, 10, 64, 64), [(0, 4, 2 * NOISE * cloud((64, 64), 30, 30, 10, 10))], hits=0)
    found = flag(tmp_path, sci)
    np.testing.assert_array_equal(found.groupdq, flag(tmp_path, sci, find_showers=False).groupdq)
    assert "no search for showers" in caplog.text


def test_max_shower_amplitude_counts_if_it_is_to(tmp_path):
    """With few groups a real shower moves the rate by more than the peer's fixed 6 electrons/s, and would stay in."""
    size = 3.2 * NOISE
    image = size * cloud((96, 96), 50, 40, 14, 9)
    sci = ramps(np.random.default_rng(6), (4, 4, 96, 96), [(1, 2, image)], hits=0)
    shift = size / 3  # of the mean difference, DN
    assert showers.LARGEST_RATE * SECONDS / GAIN < shift < 4 * SECONDS
    inside = image > 0
    found = [flag(tmp_path, sci, obey_max_shower_amplitude=obey).groupdq[1, 2][inside] for obey in (False, True)]
    share = [(flags & JUMP_DET != 0).mean() for flags in found]
    assert share[0] < 0.6 and share[1] > 0.8, share
    small = flag(tmp_path, sci, obey_max_shower_amplitude=True, max_shower_amplitude=0.01).groupdq
    assert (small[1, 2][inside] & JUMP_DET != 0).mean() < 0.3


# --- against the peer ----------------------------------------------------------------------------------------------------

STEP = """
import logging
from jwst.jump import JumpStep
logging.disable(logging.INFO)
result = JumpStep(override_gain=refs["gain"], override_readnoise=refs["readnoise"], **parameters).process(model)
out[f"{number} events"] = np.array(result.meta.exposure.extended_emission_events)
"""
VARIATIONS = [
    {},
    {"max_shower_amplitude": 0.1},
    {"extend_snr_threshold": 1.5},
    {"extend_min_area": 200},
    {"extend_inner_radius": 0.0},
    {"extend_outer_radius": 4.0},
    {"extend_ellipse_expand_ratio": 1.6},
    {"time_masked_after_shower": 30.0},
    {"max_extended_radius": 5},
    {"expand_large_events": True, "edge_size": 5},
]


def scene(seed, shape=(2, 14, 112, 112), count=10):
    """A detector with clouds, hits, saturation and bad groups, its flags and the flags of its pixels."""
    rng = np.random.default_rng(seed)
    ny, nx = shape[2:]
    clouds = []
    for _ in range(count):
        image = cloud((ny, nx), rng.uniform(0, nx), rng.uniform(0, ny), rng.uniform(6, 25), rng.uniform(6, 12))
        size = rng.uniform(1, 4) * NOISE
        clouds.append((int(rng.integers(shape[0])), int(rng.integers(1, shape[1])), size * image))
    sci = ramps(rng, shape, clouds)
    groupdq = ((rng.random(shape) < 0.01) * (DO_NOT_USE | rng.choice([0, 64], shape))).astype(np.uint8)
    groupdq |= (rng.integers(0, 30 * shape[1], (shape[0], 1, ny, nx)) <= np.arange(shape[1])[:, None, None]) * np.uint8(SATURATED)
    groupdq[0, :2] |= DO_NOT_USE
    groupdq[:, -1] |= DO_NOT_USE
    pixeldq = np.zeros((ny, nx), np.uint32)
    pixeldq[:, :4] = REFERENCE_PIXEL
    pixeldq[:, -4:] = REFERENCE_PIXEL | DO_NOT_USE
    pixeldq[rng.random((ny, nx)) < 0.01] = NO_GAIN_VALUE | DO_NOT_USE
    groupdq[..., pixeldq & DO_NOT_USE != 0] |= DO_NOT_USE
    return sci, groupdq, pixeldq


def compare(folder, cases):
    """Run the peer's step and ours on (scene, parameters), and compare all flags and the number of events."""
    made = []
    for number, (given, more) in enumerate(cases):
        made.append((*exposure_of(folder / str(number), *given), {"find_showers": True, **more}))
    theirs = make.by_peer(folder, STEP, made)
    for (exposure, refs, parameters), peers in zip(made, theirs, strict=True):
        found = jump.apply(exposure, refs, **parameters)
        np.testing.assert_array_equal(found.groupdq, peers["groupdq"], err_msg=str(parameters))
        np.testing.assert_array_equal(found.pixeldq, peers["pixeldq"])
        assert found.header["EXTNCRS"] == pytest.approx(float(peers["events"]))
        assert peers["events"] > 0, parameters


@pytest.mark.parity
@needs_peer
def test_peer_with_every_parameter(tmp_path):
    given = scene(11)
    compare(tmp_path, [(given, more) for more in VARIATIONS])


@pytest.mark.parity
@needs_peer
def test_peer_with_other_scenes(tmp_path):
    shapes = [(1, 20, 100, 100), (5, 6, 80, 90), (3, 7, 90, 70)]
    compare(tmp_path, [(scene(20 + n, shape), {"minimum_sigclip_groups": 3} if n else {}) for n, shape in enumerate(shapes)])
