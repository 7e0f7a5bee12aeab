"""clean_flicker_noise: statistics against astropy's, injected noise against the truth, ramps in pieces, and the peer."""

import numba
import numpy as np
import pytest
from astropy.io import fits
from astropy.stats import sigma_clipped_stats
from test_ramp_walk import Samples

import make
from jwcal.kernels.columns import clipped_statistics
from jwcal.kernels.noise import background, flicker_noise, flicker_settings, nsclean, soss_trace
from jwcal.model import ramp
from jwcal.run import loop
from jwcal.settings.chains import Step
from jwcal.settings.recipe import Recipe
from jwcal.steps import clean_flicker_noise
from jwcal.vocabulary.dq import DO_NOT_USE, JUMP_DET, NON_SCIENCE
from jwcal.vocabulary.errors import ConfigError, InputError, ReferenceError, Skip
from peer import needs_peer, peer_python

READ, STRIPE = 6.0, 3.0  # DN, of a group: white noise, and that of a line
FREQUENCIES = (1061, 1211, 49943, 49957)
SUBARRAY = {"SUBARRAY": "SUB160", "EXP_TYPE": "NRC_IMAGE"}
NRS1 = {"INSTRUME": "NIRSPEC", "DETECTOR": "NRS1", "FASTAXIS": 2, "SLOWAXIS": 1, "EXP_TYPE": "NRS_BRIGHTOBJ", "SUBARRAY": "SUB512"}
NRS2 = {**NRS1, "DETECTOR": "NRS2", "FASTAXIS": -2, "SLOWAXIS": -1}
MIRI = {"INSTRUME": "MIRI", "DETECTOR": "MIRIMAGE", "FASTAXIS": 1, "SLOWAXIS": 2, "EXP_TYPE": "MIR_IMAGE", "SUBARRAY": "SUB256"}


def stars(rng, ny, nx, n=12):
    """A rate (DN/s): background and stars; and the stars' positions."""
    y, x = np.mgrid[:ny, :nx]
    places = np.column_stack((rng.uniform(12, ny - 12, n), rng.uniform(12, nx - 12, n)))
    fluxes = 10 ** rng.uniform(1, 2.5, n)
    light = [f * np.exp(-((y - a) ** 2 + (x - b) ** 2) / 8) for (a, b), f in zip(places, fluxes, strict=True)]
    return 2.0 + np.sum(light, axis=0), places


def ramp_of(rng, shape, rate, stripes=2):
    """Ramps (DN) with photon and read noise, and with stripes where the slow axis is 1 (columns) or 2 (rows); 0: without."""
    sci = np.cumsum(rng.poisson(np.broadcast_to(rate * 10.73677, shape)), axis=1) + rng.normal(1000, READ, shape)
    if stripes:
        sci += rng.normal(0, STRIPE, (*shape[:3], 1) if stripes == 2 else (*shape[:2], 1, shape[3]))
    return sci.astype(np.float32)


def about_mean(images):
    """Without each image's mean: that of the noise can't be told from a background and stays."""
    return images - images.mean(axis=(-2, -1), keepdims=True)


def exposure_of(sci, rng=None, **keywords):
    """A ramp, with flags of jumps, of bad groups and of bad pixels if there is a random generator."""
    exposure = make.ramp_exposure(sci, **{**SUBARRAY, **keywords})
    if rng:
        exposure.groupdq[rng.random(exposure.sci.shape) < 0.01] |= JUMP_DET
        exposure.groupdq[rng.random(exposure.sci.shape) < 0.005] |= DO_NOT_USE
        bad = rng.random(exposure.sci.shape[-2:]) < 0.01
        exposure.groupdq[..., bad] |= DO_NOT_USE
        exposure.pixeldq[bad] |= DO_NOT_USE
        exposure.sci[..., rng.random(bad.shape) < 0.003] = np.nan
    return exposure


def references(tmp_path, exposure, **more):
    shape, where = exposure.sci.shape[-2:], {"SUBSTRT2": exposure.header["SUBSTRT2"]}
    noise = {kind: {"SCI": np.full(shape, value, np.float32), **where} for kind, value in (("gain", 1.8), ("readnoise", 9))}
    return make.references(tmp_path, exposure, **noise, **more)


def clean(tmp_path, exposure, arguments=None, references_of=None, **parameters):
    refs = references(tmp_path, exposure, **(references_of or {}))
    return clean_flicker_noise.apply(exposure, refs, **(arguments or {}), **parameters)


# --- statistics --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 10, 1001, 50_000])
@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.parametrize("whole_numbers", [False, True])
def test_clipped_statistics(n, offset, whole_numbers):
    rng = np.random.default_rng(n)
    values = rng.normal(offset, 10, n).astype(np.float32)
    values[: n // 50] += rng.exponential(3000, n // 50).astype(np.float32)
    values = np.round(values) if whole_numbers else values
    image, mask = rng.permutation(values)[None], np.ones((1, n), bool)
    found = clipped_statistics.gather(image, mask)
    mean, median, spread = clipped_statistics.clipped(found, 3.0, 5)
    expected = sigma_clipped_stats(values.astype(np.float64), sigma=3)
    assert median == expected[1]
    assert np.allclose((mean, spread), (expected[0], expected[2]), rtol=1e-12)

    lower = values.astype(np.float64)[values <= median]
    mirrored = np.concatenate((lower - median, median - lower)) + median
    assert np.isclose(clipped_statistics.mirrored_spread(found, median, 3.0, 5), sigma_clipped_stats(mirrored, sigma=3)[2], rtol=1e-12)


def test_gather_leaves_out_what_is_not_finite_or_masked():
    image = np.array([[3, np.nan, 1], [np.inf, 2, 7]], np.float32)
    mask = np.array([[True, True, True], [True, True, False]])
    assert np.array_equal(clipped_statistics.gather(image, mask).values, [1, 2, 3])


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("channels", [1, 4])
def test_stripes_are_medians_of_lines(axis, channels):
    rng = np.random.default_rng(1)
    image, mask = rng.normal(0, 10, (64, 96)).astype(np.float32), rng.random((64, 96)) > 0.3
    mask[5], mask[:, 7], mask[8, :95] = False, False, False
    image[~mask & (rng.random(mask.shape) < 0.1)] = np.nan
    found = flicker_noise.stripes(image, mask, axis, channels)
    expected = np.empty_like(image)
    for part in np.array_split(np.arange(image.shape[axis]), channels):
        part = np.s_[:, part] if axis else np.s_[part]
        medians = np.ma.median(np.ma.array(image[part], mask=~mask[part]), axis=axis, keepdims=True)
        expected[part] = np.ma.filled(medians, 0)
    assert found.dtype == np.float32
    assert np.array_equal(found, expected)


def test_differences_and_back():
    sci = np.random.default_rng(1).integers(0, 60000, (2, 4, 8, 9)).astype(np.float32)  # whole numbers: exact
    differences = sci.copy()
    flicker_noise.to_differences(differences)
    assert np.array_equal(differences[:, 0], sci[:, 0]) and np.array_equal(differences[:, 1:], np.diff(sci, axis=1))
    flicker_noise.to_ramp(differences)
    assert np.array_equal(differences, sci)


def test_background_limits_follow_the_lower_half():
    """Sources that overlap the background's distribution do not widen it."""
    rng = np.random.default_rng(1)
    image = rng.normal(50, 4, (200, 200)).astype(np.float32)
    faint = rng.random(image.shape) < 0.3
    image[faint] += rng.exponential(8, faint.sum())
    found = clipped_statistics.gather(image, np.ones(image.shape, bool))
    wide, narrow = (background.limits(found, 1, 1, lower_half=half) for half in (False, True))
    assert abs(narrow[1] - narrow[0] - 8) < 0.5 * abs(wide[1] - wide[0] - 8)
    fitted = background.limits(found, 1, 1, histogram=True)
    assert abs(np.mean(fitted) - 50) < abs(np.mean(wide) - 50)


# --- injected noise ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slow", [1, 2])
@pytest.mark.parametrize("method", ["median", "model", None])
def test_stripes_are_removed_and_stars_stay(tmp_path, slow, method):
    """What is left of the stripes is the error of a median; fluxes are those of the ramp without stripes to that error."""
    shape = (1, 4, 128, 160)
    rate, places = stars(np.random.default_rng(2), *shape[2:])
    rate = rate if method else rate - 2.0
    striped, plain = (ramp_of(np.random.default_rng(3), shape, rate, stripes) for stripes in (slow, 0))
    keywords = {"FASTAXIS": 2, "SLOWAXIS": 1} if slow == 1 else {}
    exposure = clean(tmp_path, exposure_of(striped, **keywords), background_method=method)
    assert np.array_equal(exposure.sci[:, 0], striped[:, 0])
    before, after = (about_mean(np.diff(sci - plain, axis=1)) for sci in (striped, exposure.sci))
    error = 1.2533 * np.sqrt(2 * READ**2 + 25) / np.sqrt(shape[4 - slow] * 0.85)  # of the median of a line's background
    assert before.std() > 3.5
    assert after.std() < 1.3 * error
    for y, x in places.astype(int):
        part = np.s_[..., y - 5 : y + 6, x - 5 : x + 6]
        assert abs(after.sum(axis=1)[part].sum()) < 5 * error * 11 * np.sqrt(11) * np.sqrt(3)


def test_amplifiers_have_stripes_of_their_own(tmp_path):
    shape = (1, 3, 16, 2048)
    rng = np.random.default_rng(1)
    plain = ramp_of(rng, shape, 2.0, 0)
    own = rng.normal(0, STRIPE, (1, 3, 16, 4)).repeat(512, axis=-1)
    left = {}
    for by_channel in (False, True):
        exposure = exposure_of(plain + own, SUBARRAY="FULL")
        clean(tmp_path, exposure, fit_by_channel=by_channel)
        parts = np.diff(exposure.sci - plain, axis=1).reshape(2, 16, 4, 512)
        left[by_channel] = (parts - parts.mean(axis=(1, 3), keepdims=True)).std()
    assert left[True] < 1.1 < 3 < left[False]


def flicker(rng, ny, nx, rms):
    """1/f noise in the order of the readout, with the time between lines."""
    n = ny * (nx + nsclean.OVERHEAD)
    frequency = np.fft.rfftfreq(n)
    frequency[0] = np.inf
    noise = np.fft.irfft(np.fft.rfft(rng.normal(size=n)) / np.sqrt(frequency), n).reshape(ny, -1)[:, :nx]
    return noise * rms / noise.std()


def spectra_mask(ny, nx):
    """Background between spectra that run across all lines; a few bad pixels."""
    mask = np.random.default_rng(4).random((ny, nx)) > 0.05
    mask[:, nx // 8 : nx // 4] = mask[:, nx // 2 : nx // 2 + nx // 16] = False
    return mask


@pytest.mark.parametrize("keywords", [NRS1, NRS2], ids=["NRS1", "NRS2"])
def test_fft_removes_flicker_of_a_subarray(tmp_path, keywords):
    """In the order in which the detector is read: in the opposite one within the lines there is more left."""
    rng = np.random.default_rng(1)
    time_order, mask = flicker(rng, 96, 64, 10.0), spectra_mask(96, 64)
    turn = (lambda a: a.T) if keywords is NRS1 else (lambda a: a[::-1, ::-1].T)  # from the detector's orientation
    noise = np.ascontiguousarray(turn(time_order))
    white = rng.normal(0, 3, noise.shape)
    path = tmp_path / "mask.fits"
    fits.ImageHDU(turn(mask).astype(np.uint8)).writeto(path)
    left = []
    for fast in (keywords["FASTAXIS"], -keywords["FASTAXIS"]):
        sci = np.zeros((1, 2, *noise.shape))
        sci[0, 1] = noise + white + 20
        exposure = exposure_of(sci, **{**keywords, "FASTAXIS": fast})
        clean(tmp_path, exposure, {"frequencies": FREQUENCIES}, fit_method="fft", user_mask=str(path), n_sigma=0.0)
        left.append((exposure.sci[0, 1] - white - 20)[turn(mask)].std())
    assert left[0] < 0.7 * noise.std()
    assert left[0] < 0.985 * left[1]


def test_fft_removes_flicker_of_a_full_frame(monkeypatch):
    """Better than with kernels that are off by one line and pixel."""
    rng = np.random.default_rng(1)
    noise, mask = flicker(rng, 256, 256, 5.0), spectra_mask(256, 256)
    image = (noise + rng.normal(0, 3, noise.shape)).astype(np.float32)
    inner = np.zeros_like(mask)
    inner[8:-8] = mask[8:-8]
    left = {}
    for shift in (0, 1):
        monkeypatch.setattr(nsclean, "SHIFT", shift)
        left[shift] = (noise - nsclean.full_frame(image, mask))[inner].std()
    assert left[0] < 0.85 * noise[inner].std()
    assert left[0] < 0.98 * left[1]


def test_fft_of_a_line_without_neighbour():
    """A line whose neighbours have no background, and one with less background than there are frequencies, get a sensible fit."""
    rng = np.random.default_rng(1)
    mask = np.zeros((32, 256), bool)
    mask[10, ::3], mask[20, :2] = True, True
    found = nsclean.full_frame(rng.normal(100, 1, mask.shape).astype(np.float32), mask)
    assert np.isfinite(found).all()
    assert found.max() < 120
    assert found[10].mean() == pytest.approx(100 / (1.5 * np.sqrt(2 * np.pi)), rel=0.02)


def test_subarray_without_background():
    image = np.ones((8, 16), np.float32)
    assert not nsclean.subarray(image, np.zeros(image.shape, bool), FREQUENCIES).any()


# --- what is asked for -------------------------------------------------------------------------------------------------


def test_flagged_pixels_do_not_count(tmp_path):
    """Jumps and bad pixels bias no stripe; a group without any background keeps its difference, and the ramp goes on."""
    rng = np.random.default_rng(1)
    sci = ramp_of(rng, (1, 4, 32, 64), 2.0)
    exposure, marked = exposure_of(sci), exposure_of(sci)
    marked.sci[0, 2:, :, :20] += 500
    marked.groupdq[0, 2, :, :20] |= JUMP_DET
    for each in (exposure, marked):
        clean(tmp_path, each, n_sigma=0.0)
    difference = np.diff(marked.sci[..., 20:] - exposure.sci[..., 20:], axis=1)
    assert abs(difference[0, 1].mean()) < 0.7 and np.array_equal(difference[0, 0], np.zeros_like(difference[0, 0]))
    dead = exposure_of(sci)
    dead.groupdq[:, 2] |= DO_NOT_USE
    clean(tmp_path, dead)
    assert np.allclose(np.diff(dead.sci, axis=1)[:, 1], np.diff(sci, axis=1)[:, 1], atol=1e-3)
    assert not np.allclose(np.diff(dead.sci, axis=1)[:, 2], np.diff(sci, axis=1)[:, 2], atol=1)


def test_user_mask(tmp_path):
    """Only where the mask is set there is background, for each integration if it has a plane for each."""
    rng = np.random.default_rng(1)
    sci = ramp_of(rng, (2, 3, 32, 64), 2.0)
    sci[1, 1:, :, :40] += 1000
    mask = np.ones((2, 32, 64), np.uint8)
    mask[1, :, :40] = 0
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(mask, name="SCI")]).writeto(tmp_path / "mask.fits")
    found = clean(tmp_path, exposure_of(sci), user_mask=str(tmp_path / "mask.fits"), n_sigma=0.0, background_method=None)
    assert abs(np.diff(found.sci[1, :, :, :40], axis=0)[0].mean() - 1000) < 3
    assert abs(np.diff(found.sci[0], axis=0).mean()) < 1
    fits.PrimaryHDU(mask[:, :30]).writeto(tmp_path / "small.fits")
    fits.PrimaryHDU(mask[:1]).writeto(tmp_path / "one.fits")
    for name in ("small.fits", "one.fits", "absent.fits"):
        with pytest.raises(ReferenceError, match=name):
            clean(tmp_path, exposure_of(sci), user_mask=str(tmp_path / name))


def test_miri_stripes_are_columns_and_flagged_pixels_no_background(tmp_path):
    rng = np.random.default_rng(1)
    sci = ramp_of(rng, (1, 4, 64, 64), 2.0, stripes=1)
    sci[..., :30, :] += np.cumsum(rng.normal(300, 100, (1, 4, 1, 64)), axis=1)  # emission beside the field
    plain = exposure_of(sci, **MIRI)
    plain.pixeldq[:30] |= NON_SCIENCE
    table = {"noise": "columns", "science": "flagged"}
    flat = {"SCI": np.ones((64, 64), np.float32), "DQ": np.zeros((64, 64), np.uint32)}
    clean(tmp_path, plain, table, {"flat": flat}, mask_science_regions=True, n_sigma=0.0, background_method=None)
    assert np.abs(np.median(np.diff(plain.sci[0, :, 30:], axis=0), axis=1)).max() < 1e-3
    by_flat = exposure_of(sci, **MIRI)
    flat["DQ"][:30] = NON_SCIENCE
    clean(tmp_path, by_flat, table, {"flat": flat}, mask_science_regions=True, n_sigma=0.0, background_method=None)
    assert np.array_equal(plain.sci, by_flat.sci)


def test_flat_field(tmp_path):
    """Steps of the flat field do not look like noise; holes of the flat do no harm."""
    flat = np.ones((64, 96), np.float32)
    flat[:, :40] = 0.7
    flat[3, 3], flat[5, 60] = 0, np.nan
    light = np.broadcast_to(40.0 * np.nan_to_num(flat, nan=1.0), flat.shape)
    plain, striped = (ramp_of(np.random.default_rng(1), (1, 3, 64, 96), light, stripes) for stripes in (0, 2))
    left = {}
    for use in (False, True):
        exposure = clean(tmp_path, exposure_of(striped), None, {"flat": flat}, apply_flat_field=use)
        assert np.isfinite(exposure.sci).all()
        left[use] = np.diff(exposure.sci - plain, axis=1).mean(axis=-1).std()
    assert left[True] < left[False]


def test_a_flat_without_a_value_is_a_clear_error(tmp_path):
    exposure = make.ramp_exposure((1, 3, 16, 16), **SUBARRAY)
    with pytest.raises(ReferenceError, match="flat.fits: the flat has no value"):
        clean(tmp_path, exposure, None, {"flat": np.full((16, 16), np.nan)}, apply_flat_field=True)


def test_median_image_follows_each_integration(tmp_path):
    """What is common to the integrations is taken out, so that the first group can be cleaned, too."""
    shape = (15, 3, 32, 256)
    rate, _ = stars(np.random.default_rng(2), *shape[2:])
    plain, striped = (ramp_of(np.random.default_rng(3), shape, rate, stripes) - 1000 for stripes in (0, 2))
    exposure = clean(tmp_path, exposure_of(striped), background_method="median_image")
    before, after = (about_mean(sci - plain).std(axis=(0, 2, 3)) for sci in (striped, exposure.sci))
    assert (after < 0.6 * before).all()
    with pytest.raises(Skip, match="integration"):
        clean(tmp_path, exposure_of(striped[:1]), background_method="median_image")
    with pytest.raises(ConfigError, match="median_image"):
        clean(tmp_path, exposure_of(striped), {"brightness": "source"}, background_method="median_image")


@pytest.mark.parametrize("shape", [(64, 96), (2, 64, 96)])
def test_rates_are_cleaned_themselves(tmp_path, shape):
    rng = np.random.default_rng(1)
    plain = rng.normal(2, 0.5, shape)
    exposure = make.image_exposure(plain + rng.normal(0, 0.2, (*shape[:-1], 1)), **SUBARRAY)
    clean(tmp_path, exposure)
    assert about_mean(exposure.sci - plain).std() < 0.08


SHOWN = {"save_mask": True, "save_background": True, "save_noise": True}


@pytest.mark.parametrize("method", ["median", "model", "median_image", None])
def test_what_is_shown_beside(tmp_path, method):
    """The mask is where the stars are not; noise and cleaned ramp are the raw one; the background is that of the scene."""
    rng = np.random.default_rng(3)
    rate, places = stars(rng, 64, 64)
    exposure = exposure_of(ramp_of(rng, (3, 4, 64, 64), rate))
    raw = exposure.sci.copy()
    cleaned, mask, background, noise = clean(tmp_path, exposure, background_method=method, **SHOWN)
    assert [e.suffix for e in (mask, background, noise)] == ["mask", "flicker_bkg", "flicker_noise"]
    assert mask.sci.shape == ((3, 64, 64) if method == "median_image" else (64, 64)) and 0.3 < mask.sci.mean() < 0.98
    assert not mask.sci[..., *np.rint(places).astype(int).T].any()
    np.testing.assert_array_equal(cleaned.sci, exposure.sci)
    np.testing.assert_array_equal(raw + noise.sci, np.float32(raw + (exposure.sci - raw)))
    assert 1 < about_mean(noise.sci[:, 1:]).std() < 10
    if method == "median_image":
        np.testing.assert_allclose(np.median(background.sci, axis=(0, 2, 3)), np.median(raw, axis=(0, 2, 3)), rtol=0.02)
    else:
        assert not background.sci[:, 0].any()
        assert np.median(background.sci[:, 1:]) == pytest.approx(0 if method is None else 2 * 10.73677, abs=4)


def test_what_does_not_apply_is_skipped(tmp_path):
    sci = np.zeros((1, 3, 8, 8))
    with pytest.raises(ReferenceError, match="references disperser, .*, msa are needed"):
        clean(tmp_path, exposure_of(sci), {"science": "slits"}, mask_science_regions=True)
    with pytest.raises(ConfigError, match="background_box_size"):
        clean(tmp_path, exposure_of(sci), background_box_size=[8])
    with pytest.raises(Skip, match="frequency"):
        clean(tmp_path, exposure_of(sci), fit_method="fft")
    with pytest.raises(Skip, match="noise"):
        clean(tmp_path, exposure_of(sci), {"noise": "none"})
    with pytest.raises(Skip, match="one group"):
        clean(tmp_path, exposure_of(sci[:, :1]))


# --- autoparam ---------------------------------------------------------------------------------------------------------


def detector_image(offset=0.0, slope=0.0, masked=0.02, scatter=0.0):
    """A full-frame rate (DN/s) whose amplifiers and gradient are known."""
    rng = np.random.default_rng(1)
    side = flicker_settings.SIDE
    image = rng.normal(0.5, 0.02, (side, side)).astype(np.float32)
    image += np.repeat([0, offset, 0, offset], side // 4).astype(np.float32)
    image += (slope * np.arange(side)).astype(np.float32)  # along the rows: across them the medians take it out
    image += rng.normal(0, scatter, side).astype(np.float32)
    image[: int(masked * side)] += 100
    return image


@pytest.mark.parametrize(
    "look, expected",
    [
        ({}, ("median", False)),
        ({"offset": 0.3}, ("median", True)),
        ({"slope": 3e-5}, ("model", False)),
        ({"slope": 2e-4, "masked": 0.3}, ("model", False)),
        ({"masked": 0.3}, ("median", False)),
    ],
)
def test_autoparam_sees_what_an_image_looks_like(look, expected):
    found = flicker_settings.choose(detector_image(**look), 1, "nircam")
    assert (found["background_method"], found["fit_by_channel"]) == expected


# --- ramps in pieces ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parameters", [{}, {"single_mask": False}, {"background_method": "median_image"}])
def test_pieces_and_threads_make_no_difference(tmp_path, monkeypatch, parameters):
    shape = (5, 4, 24, 40)
    rate, _ = stars(np.random.default_rng(2), *shape[2:], n=3)
    sci = ramp_of(np.random.default_rng(3), shape, rate)
    refs = references(tmp_path, exposure_of(sci))
    files = {kind: refs[kind].path for kind in ("gain", "readnoise")}
    recipe = Recipe(
        "detector1",
        [Step("clean_flicker_noise"), Step("ramp_fit")],
        {"clean_flicker_noise": {"skip": False, **parameters}, "ramp_fit": {"skip": False}},
        files,
    )
    results = []
    for large, threads in ((2**28, 1), (2**28, 2), (2 * 4 * 24 * 40 * 4, 2), (1, 1)):
        monkeypatch.setattr(ramp, "LARGE", large)
        exposure = exposure_of(sci)
        exposure.raw, exposure.sci, exposure.groupdq = Samples(sci), None, None
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        results.append(loop.run(recipe, exposure, scratch=tmp_path))
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    cleaned = clean(tmp_path, exposure_of(sci), **parameters)
    assert not np.array_equal(cleaned.sci, sci)
    for products in results:
        for product, expected in zip(products, results[0], strict=True):
            assert product.steps["clean_flicker_noise"] == ("COMPLETE", "")
            assert product.sci.tobytes() == expected.sci.tobytes()
            assert product.dq.tobytes() == expected.dq.tobytes()


def test_a_step_that_is_off_costs_no_walk(tmp_path, monkeypatch):
    sci = ramp_of(np.random.default_rng(3), (3, 4, 8, 8), 2.0)
    refs = references(tmp_path, exposure_of(sci))
    recipe = Recipe("detector1", [Step("clean_flicker_noise"), Step("ramp_fit")], {}, {k: refs[k].path for k in ("gain", "readnoise")})
    monkeypatch.setattr(ramp, "LARGE", 1)
    exposure = exposure_of(sci)
    exposure.raw, exposure.sci, exposure.groupdq = Samples(sci), None, None
    products = loop.run(recipe, exposure, scratch=tmp_path)
    assert products[0].steps["clean_flicker_noise"] == ("SKIPPED", "switched off")
    assert np.isfinite(products[1].sci).all()


# --- SOSS --------------------------------------------------------------------------------------------------------------


def pastasoss():
    """A reference with two orders."""
    x = np.arange(4.0, 2040.0, 8.0)
    traces, models = [], []
    for order, (height, bend) in enumerate(((75.0, 2e-5), (150.0, 5e-5)), 1):
        y = height + bend * (x - 1000) ** 2
        traces.append({"spectral_order": order, "pivot_x": 1850.0, "pivot_y": height, "trace": np.column_stack((x, y))})
        coefficients = np.array([2.8 / order, -1.9 / order, 0.02, -0.01, 0.003, 0.001])
        extents = np.array([[0.0, -0.3], [2048.0, 0.3]])
        models.append({"spectral_order": order, "coefficients": coefficients, "scale_extents": extents, "polynomial_degree": 2})
    meta = {"pwcpos_cmd": 245.76, "pwcpos_bounds": [245.5, 246.0], "subarray_ymin": 1792, "soss_xdim": 2048, "soss_ydim": 300}
    meta |= {"wavemap_wlmin": 0.5, "wavemap_wlmax": 5.5, "wavemap_nwl": 5001}
    return {"meta": meta, "traces": traces, "wavecal_models": models}


def test_soss_traces_turn_with_the_wheel():
    reference = pastasoss()
    straight, turned = (soss_trace.near_traces(reference, 245.76 + turn, 1792, (256, 2048), 16) for turn in (0, 0.2))
    x, y = reference["traces"][0]["trace"].T.round().astype(int)
    assert straight[y, x].all() and not straight[np.maximum(y - 20, 0), x].all()
    middle = [np.mean(np.flatnonzero(mask[:110, 200])) for mask in (straight, turned)]
    assert middle[1] - middle[0] == pytest.approx((200 - 1850) * np.sin(np.radians(0.2)), abs=1)
    low = soss_trace.near_traces(reference, 245.76, 1802, (96, 2048), 16)
    assert np.array_equal(low, straight[10:106])
    with pytest.raises(ValueError, match="between"):
        soss_trace.near_traces(reference, 247.0, 1792, (256, 2048), 16)


@pytest.mark.parametrize("left", [0, 1])
def test_an_order_beyond_the_subarray_masks_nothing(left):
    reference = pastasoss()
    reference["traces"][1]["trace"][left:, 1] += 300
    alone = {**reference, "traces": reference["traces"][:1], "wavecal_models": reference["wavecal_models"][:1]}
    both, first = (soss_trace.near_traces(some, 245.76, 1792, (256, 2048), 16) for some in (reference, alone))
    assert first.any() and np.array_equal(both, first)


class Tree:
    """References with a pastasoss that is not in a file."""

    def __init__(self, refs, tree):
        self.refs, self.tree, self.path = refs, tree, "pastasoss.asdf"

    def __contains__(self, kind):
        return kind == "pastasoss" or kind in self.refs

    def __getitem__(self, kind):
        return self if kind == "pastasoss" else self.refs[kind]

    def strip(self, rows):
        return self.refs.strip(rows)


def test_soss_traces_are_no_background(tmp_path):
    sci = ramp_of(np.random.default_rng(1), (1, 3, 96, 2048), 2.0, stripes=1)
    keywords = {"SUBARRAY": "SUBSTRIP96", "SUBSTRT2": 1803, "SLOWAXIS": -1, "FASTAXIS": -2, "EXP_TYPE": "NIS_SOSS", "PWCPOS": 245.8}
    traces = soss_trace.near_traces(pastasoss(), 245.8, 1802, (96, 2048), 16)
    sci[..., traces] += np.cumsum(np.full((1, 3, 1), 30.0), axis=1)
    exposure = exposure_of(sci, **keywords)
    refs = Tree(references(tmp_path, exposure), pastasoss())
    options = {"mask_science_regions": True, "n_sigma": 0.0, "background_method": None}
    clean_flicker_noise.apply(exposure, refs, science="traces", **options)
    medians = [np.median(image[:, x][~traces[:, x]]) for image in np.diff(exposure.sci[0], axis=0) for x in range(0, 2048, 50)]
    assert np.abs(medians).max() < 1e-3
    exposure = exposure_of(sci, **{**keywords, "PWCPOS": 100.0})
    with pytest.raises(InputError, match="PWCPOS"):
        clean_flicker_noise.apply(exposure, refs, science="traces", **options)
    with pytest.raises(ReferenceError, match="pastasoss"):
        clean_flicker_noise.apply(exposure, refs.refs, science="traces", **options)
    refs.tree = pastasoss() | {"traces": None}
    exposure = exposure_of(sci, **keywords)
    with pytest.raises(ReferenceError, match="pastasoss.asdf: the pastasoss reference is not made as such references are"):
        clean_flicker_noise.apply(exposure, refs, science="traces", **options)


# --- the peer ----------------------------------------------------------------------------------------------------------

PEER = """
from stpipe import crds_client
crds_client.get_context_used = lambda *a, **k: "jwst_0000.pmap"
from jwst.clean_flicker_noise import autoparam, clean_flicker_noise as cfn
from jwst.flatfield import flat_field
from jwst.ramp_fitting import RampFitStep

def make_rate(model, input_dir="", return_cube=False):
    step = RampFitStep()
    step.override_gain, step.override_readnoise = refs["gain"], refs["readnoise"]
    rate, ints = step.run(model)
    return ints if return_cube else rate

class Flat:
    def run(self, model):
        divided = model.copy()
        flat_field.do_flat_field(divided, datamodels.FlatModel(refs["flat"]))
        return divided

class NoWcs:
    def run(self, model):
        return model

cfn.make_rate, cfn.FlatFieldStep, cfn.AssignWcsStep = make_rate, Flat, NoWcs
if parameters.pop("apply_flat_field", False):
    parameters["flat_filename"] = refs["flat"]
result, *_, status = cfn.do_correction(model, **parameters)
assert status == "COMPLETE"
"""


def cases(tmp_path, keywords, parameters, stripes=2, flags=True, flat=None, shape=(2, 4, 96, 128)):
    """(exposure, references, parameters) for each set of parameters."""
    rate, _ = stars(np.random.default_rng(2), *shape[2:])
    sci = ramp_of(np.random.default_rng(3), shape, rate, stripes)
    found = []
    for number, given in enumerate(parameters):
        exposure = exposure_of(sci, np.random.default_rng(5) if flags else None, **keywords)
        folder = tmp_path / f"{keywords.get('EXP_TYPE', 'NRC_IMAGE')}{number}"
        folder.mkdir()
        found.append((exposure, references(folder, exposure, **({"flat": flat} if flat else {})), given))
    return found


def flat_of(rng, shape):
    value = rng.normal(1, 0.02, shape).astype(np.float32)
    value[rng.random(shape) < 0.01] = np.nan
    bits = np.zeros(shape, np.uint32)
    bits[:20] = NON_SCIENCE
    return {"SCI": value, "ERR": np.full(shape, 0.01, np.float32), "DQ": bits}


CHOICES = [
    {},
    {"single_mask": False},
    {"background_method": "model"},
    {"background_method": "model", "background_box_size": [16, 40]},
    {"background_method": None},
    {"n_sigma": 0.0},
    {"fit_histogram": True, "n_sigma": 3.5},
    {"background_method": "median_image"},
    {"apply_flat_field": True},
]


@needs_peer
@pytest.mark.parity
def test_equals_the_peer(tmp_path):
    """Bit for bit; to the samples' last bits where sums in single precision come in: the peer's fit by fft, a median image's brightness."""
    flat = flat_of(np.random.default_rng(7), (96, 128))
    spectral = [{"fit_method": "fft"}, {"fit_method": "fft", "background_method": "model"}]
    told = cases(tmp_path, {}, CHOICES, flat=flat)
    told += cases(tmp_path, NRS1, spectral, stripes=1)
    told += cases(tmp_path, {**NRS1, "EXP_TYPE": "NRS_FIXEDSLIT", "SUBARRAY": "ALLSLITS"}, spectral[:1], stripes=1)
    told += cases(tmp_path, MIRI, [{"mask_science_regions": True}], stripes=1, flat=flat)
    theirs = make.by_peer(tmp_path, PEER, told)
    for (exposure, refs, given), peers in zip(told, theirs, strict=True):
        before = exposure.sci.copy()
        narrow = exposure.header["SUBARRAY"] == "ALLSLITS"
        arguments = {"frequencies": (150, 200, 49943, 49957) if narrow else FREQUENCIES} if given.get("fit_method") == "fft" else {}
        if exposure.header["INSTRUME"] == "MIRI":
            arguments = {"noise": "columns", "science": "flagged"}
        clean_flicker_noise.apply(exposure, refs, **arguments, **given)
        assert np.array_equal(np.isnan(exposure.sci), np.isnan(peers["data"])), given
        assert np.nanstd(exposure.sci - before) > 1
        if arguments.get("frequencies") or given.get("background_method") == "median_image":
            difference = np.abs(exposure.sci - peers["data"])
            assert np.nanmax(difference / np.spacing(peers["data"])) <= 4 and np.nanmean(difference) < 1e-5 * READ, given
        else:
            assert np.array_equal(exposure.sci, peers["data"], equal_nan=True), given
        assert np.array_equal(exposure.groupdq, peers["groupdq"])


@needs_peer
@pytest.mark.parity
def test_rates_equal_the_peers(tmp_path):
    rng = np.random.default_rng(1)
    rate, _ = stars(rng, 64, 96)
    for shape, model in (((64, 96), "ImageModel"), ((3, 64, 96), "CubeModel")):
        sci = rate + rng.normal(0, 0.5, shape) + rng.normal(0, 1, (*shape[:-1], 1))
        told = []
        for given in ({}, {"single_mask": False}, {"background_method": "model"}):
            exposure = make.image_exposure(sci, **SUBARRAY)
            exposure.sci[..., 3, 4] = np.nan
            told.append((exposure, references(tmp_path, exposure), given))
        for (exposure, refs, given), peers in zip(told, make.by_peer(tmp_path, PEER, told, model=model), strict=True):
            clean_flicker_noise.apply(exposure, refs, **given)
            assert np.array_equal(exposure.sci, peers["data"], equal_nan=True), (shape, given)


FULL_FRAME = """
from jwst.clean_flicker_noise.nsclean import NSClean
for name, turn in (("NRS1", lambda a: a.T), ("NRS2", lambda a: a[::-1].T)):
    cleaned = NSClean(name, np.ascontiguousarray(turn(mask))).clean(np.ascontiguousarray(turn(image)))
    out[name] = image - (cleaned.T if name == "NRS1" else cleaned.T[::-1])
"""


@needs_peer
@pytest.mark.parity
def test_full_frame_fft_equals_the_peers_but_for_its_kernels(monkeypatch):
    """With the peer's slip of one pixel and line in the centres of its kernels, the same noise to 1e-5 of the white noise."""
    rng = np.random.default_rng(1)
    mask = spectra_mask(256, 256)
    image = (flicker(rng, 256, 256, 5.0) + rng.normal(0, READ, mask.shape)).astype(np.float32)
    theirs = peer_python(FULL_FRAME, image=image, mask=mask)
    ours = nsclean.full_frame(image, mask)
    assert np.abs(ours - theirs["NRS1"]).max() > 0.1
    monkeypatch.setattr(nsclean, "SHIFT", 1)
    ours = nsclean.full_frame(image, mask)
    for name in ("NRS1", "NRS2"):
        difference = np.abs(ours - theirs[name])
        assert difference.max() < 1e-5 * READ
        assert np.median(difference) < 1e-6 * READ


AUTOPARAM = """
from stdatamodels.jwst import datamodels
from jwst.clean_flicker_noise import autoparam
for number, (image, camera) in enumerate(zip(images, cameras)):
    model = datamodels.ImageModel(image)
    model.meta.subarray.slowaxis = 2 if camera == "nircam" else 1
    found = getattr(autoparam, f"{camera}_image_parameters")(model, None)
    out[str(number)] = [found["background_method"] == "model", found["fit_by_channel"]]
"""


@needs_peer
@pytest.mark.parity
@pytest.mark.full
def test_autoparam_chooses_as_the_peer():
    looks = [{}, {"offset": 0.3}, {"slope": 3e-5}, {"scatter": 0.05}]
    images = [(detector_image(**look), "nircam") for look in looks] + [(detector_image(**looks[1]).T.copy(), "niriss")]
    theirs = peer_python(AUTOPARAM, images=np.stack([image for image, _ in images]), cameras=[camera for _, camera in images])
    choices = set()
    for number, (image, camera) in enumerate(images):
        found = flicker_settings.choose(image, 1 if camera == "nircam" else 0, camera)
        ours = (found["background_method"] == "model", found["fit_by_channel"])
        assert ours == tuple(theirs[str(number)]), (number, camera)
        choices.add(ours)
    assert len(choices) > 2


SOSS = """
from stdatamodels.jwst import datamodels
from jwst.clean_flicker_noise import clean_flicker_noise as cfn
import asdf
model = datamodels.PastasossModel(asdf.open(str(path), lazy_load=False, memmap=False).tree)
for position in positions:
    for subarray, rows in (("SUBSTRIP256", 256), ("SUBSTRIP96", 96)):
        science = datamodels.ImageModel(np.zeros((rows, 2048), np.float32))
        science.meta.instrument.pupil_position, science.meta.subarray.name = float(position), subarray
        out[f"{position} {subarray}"] = ~cfn.mask_soss_traces(science, np.ones((rows, 2048), bool), soss_refmodel=model)
"""


@needs_peer
@pytest.mark.parity
def test_soss_traces_equal_the_peers(tmp_path):
    """In SUBSTRIP96 but for its edges: the peer turns the trace about a point that it has not moved with it."""
    asdf = pytest.importorskip("asdf")
    path, positions = tmp_path / "pastasoss.asdf", [245.76, 245.6, 245.93]
    asdf.AsdfFile(pastasoss()).write_to(path)
    theirs = peer_python(SOSS, path=str(path), positions=positions)
    for position in positions:
        for subarray, first, rows in (("SUBSTRIP256", 1792, 256), ("SUBSTRIP96", 1802, 96)):
            ours = soss_trace.near_traces(pastasoss(), position, first, (rows, 2048), 16)
            differ = ours != theirs[f"{position} {subarray}"]
            assert ours.any() and differ.sum() <= (0 if rows == 256 else 60)
