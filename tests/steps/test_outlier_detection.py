"""outlier_detection: cosmic rays are found, stars stay whole, a moving star too; and as the peer has it, with its settings."""

import copy
import json

import numba
import numpy as np
import pytest
from scipy import ndimage
from scipy.special import erf

import dithers
import make
import soss
from jwcal.arithmetic.outliers import tso
from jwcal.arithmetic.outliers.options import bad_bits, numbers
from jwcal.arithmetic.outliers.stack import Stack
from jwcal.kernels.outliers.blot import blot
from jwcal.kernels.outliers.jitter import fit_modes
from jwcal.kernels.outliers.median_image import median_image
from jwcal.kernels.outliers.rolling_median import rolling_median
from jwcal.kernels.outliers.thresholds import beside, beyond, reach
from jwcal.model.exposure import Exposure, Members, Pixels
from jwcal.products import stored
from jwcal.simulate import spectrograph
from jwcal.steps import outlier_detection, resample
from jwcal.vocabulary import dq
from jwcal.vocabulary.errors import ConfigError, InputError, Skip
from peer import needs_peer, peer_python

PLANES = ("sci", "err", "var_poisson", "var_rnoise", "var_flat")
MARK = dq.OUTLIER | dq.DO_NOT_USE
AS_PEER = {"imaging": {"peak": "0 0"}, "tso": {"jitter": False}, "spec": {"by_wavelength": False}}
PIXEL = 0.0312  # arcsec
# four points of sub-pixel phases, a few pixels apart
DITHERS = ((0.0, 0.0, 0.0), (2.25 * PIXEL, 1.5 * PIXEL, 0.0), (-1.5 * PIXEL, 2.75 * PIXEL, 0.0), (1.75 * PIXEL, -2.0 * PIXEL, 0.0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("references")


@pytest.fixture(scope="module")
def empty(folder):
    """Four dithers to be filled."""
    return [dithers.image(folder, number, step, noise=False) for number, step in enumerate(DITHERS)]


def stars(shape, spacing=15.0, seed=3):
    """Places in the first image, and fluxes in units of the sky's noise variance."""
    random = np.random.default_rng(seed)
    y, x = (v.ravel() for v in np.mgrid[12.0 : shape[0] - 10 : spacing, 12.0 : shape[1] - 10 : spacing])
    return x + random.uniform(-1, 1, x.size), y + random.uniform(-1, 1, y.size), 10 ** random.uniform(2.0, 5.0, x.size)


def integrated(size, centre, sigma):
    """A Gaussian over whole pixels."""
    at = np.arange(size) - centre
    return 0.5 * (erf((at + 0.5) / (sigma * np.sqrt(2))) - erf((at - 0.5) / (sigma * np.sqrt(2))))


def field(empty, fwhm, rays=150, seed=1, noise=True, background=2.0):
    """Stars of a width in pixels on four dithers, and cosmic rays.

    Returns
    -------
    exposures, rays : lists; the rays are images of what was added
    """
    x, y, flux = stars(dithers.SHAPE)
    ra, dec = empty[0].wcs(x, y)
    exposures, hits = [], []
    for number, blank in enumerate(empty):
        random = np.random.default_rng((seed, number))
        exposure = copy.copy(blank)
        exposure.header, exposure.pixels = blank.header.copy(), [copy.deepcopy(blank.pixels[0])]
        exposure.pixels[0].header = exposure.header.sci
        truth = np.full(dithers.SHAPE, background)
        for at_x, at_y, f in zip(*blank.wcs.invert(ra, dec, with_bounding_box=False), flux, strict=True):
            truth += f * np.outer(*(integrated(n, c, fwhm / 2.3548) for n, c in zip(dithers.SHAPE, (at_y, at_x), strict=True)))
        pixels = exposure.pixels[0]
        pixels.var_rnoise, pixels.var_poisson = np.ones(truth.shape, "f4"), truth.astype("f4")
        pixels.var_flat = np.zeros(truth.shape, "f4")
        pixels.err = np.sqrt(1 + truth).astype("f4")
        hit = np.zeros(truth.shape)
        for row, column, length in zip(*(random.integers(0, n, rays) for n in truth.shape), random.integers(1, 4, rays), strict=True):
            hit[row, column : column + length] += 10 ** random.uniform(0.7, 2.5) * pixels.err[row, column]
        pixels.sci = (truth + noise * random.normal(size=truth.shape) * pixels.err + hit).astype("f4")
        exposures.append(exposure)
        hits.append(hit)
    return exposures, hits


def flags(exposures):
    return [(exposure.dq & dq.OUTLIER) > 0 for exposure in exposures]


# --- images: truth ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fwhm", "peer_loses"), [(1.0, 0.03), (1.25, 0.01), (1.5, 0.002)])
def test_cores_of_undersampled_stars_stay(empty, fwhm, peer_loses):
    """Flux of stars in the mosaic with and without the step; cosmic rays are found as well as with the peer's thresholds."""
    found, lost, recall, wrong = {}, {}, {}, {}
    for name, settings in {"ours": {}, "theirs": AS_PEER["imaging"]}.items():
        exposures, hits = field(empty, fwhm)
        noise = [exposure.err.copy() for exposure in exposures]
        whole, _ = field(empty, fwhm, rays=0)
        outlier_detection.apply(exposures, **settings)
        found[name] = flags(exposures)
        hit = np.array([h / n for h, n in zip(hits, noise, strict=True)])
        clean = np.array([~ndimage.maximum_filter(h > 0, 3) for h in hits])
        recall[name] = np.mean(np.array(found[name])[hit > 5])
        wrong[name] = np.sum(np.array(found[name])[clean])
        lost[name] = _lost(whole, found[name], clean)
    assert abs(lost["ours"]) < 0.003
    assert lost["theirs"] > peer_loses
    assert recall["ours"] >= recall["theirs"] > 0.8
    assert wrong["ours"] <= wrong["theirs"]


def _lost(exposures, found, clean):
    """Share of the stars' flux that is lost by the flags which are no cosmic rays'."""
    before = resample.apply(exposures, enable_err=False)
    for exposure, flagged, good in zip(exposures, found, clean, strict=True):
        exposure.dq[flagged & good] |= np.uint32(MARK)
    after = resample.apply(exposures, enable_err=False)
    x, y, flux = stars(dithers.SHAPE)
    x, y = after.wcs.invert(*exposures[0].wcs(x, y))
    rows, columns = np.indices(after.sci.shape)
    sums = []
    for at_x, at_y in zip(x[flux > 300], y[flux > 300], strict=True):
        near = np.hypot(columns - at_x, rows - at_y) < 4
        if np.isfinite(before.sci[near]).all() and np.isfinite(after.sci[near]).all():
            sums.append([np.sum(before.sci[near] - 2.0), np.sum(after.sci[near] - 2.0)])
    assert len(sums) > 20
    return np.mean([1 - b / a for a, b in sums])


def test_a_hit_on_a_clean_core(empty):
    """Users' trouble 1: of four images of a sharp star and one cosmic ray only the ray is flagged."""
    exposures, _ = field(empty, 1.2, rays=0)
    exposures[2].sci[70, 81] += 2000
    outlier_detection.apply(exposures)
    assert [np.count_nonzero(f) for f in flags(exposures)] == [0, 0, 1, 0]
    assert exposures[2].dq[70, 81] == MARK
    assert all(np.isnan(getattr(exposures[2], name)[70, 81]) for name in PLANES)


def test_a_flat_sky_has_no_outliers(folder):
    """Users' trouble 6: a constant, with errors of a five-hundredth of it, over a whole distorted detector's corner."""
    exposures = [dithers.image(folder, number, step, noise=False, SUBSTRT1=1, SUBSTRT2=1) for number, step in enumerate(dithers.STEPS)]
    for exposure in exposures:
        exposure.sci[:], exposure.err[:] = 918.0, 2.0
    outlier_detection.apply(exposures)
    assert not np.any(flags(exposures))
    assert all(np.all(exposure.dq == 0) for exposure in exposures)


def test_a_level_that_was_not_subtracted(empty):
    """Each image has a sky of its own, which skymatch only wrote down."""
    exposures, hits = field(empty, 2.0)
    outlier_detection.apply(exposures)
    levels, _ = field(empty, 2.0)
    for level, exposure in zip((0.0, 100.0, -30.0, 55.0), levels, strict=True):
        exposure.sci += level
        exposure.header["BKGLEVEL"], exposure.header["BKGSUB"] = level, False
    outlier_detection.apply(levels)
    differ = np.mean(np.array(flags(exposures)) != np.array(flags(levels)))
    assert differ < 1e-4


# --- images: contract ------------------------------------------------------------------------------------------------


def _from_files(exposures, kept):
    files = {f"{number}.fits": exposure for number, exposure in enumerate(exposures)}
    opened = []

    def read(path):
        opened.append(path)
        return copy.deepcopy(files[path])

    return Members([*((path, "science") for path in files), ("psf.fits", "psf")], read, scratch=kept), opened


def test_members_are_opened_one_at_a_time(empty, tmp_path):
    exposures, _ = field(empty, 1.5)
    members, opened = _from_files(exposures, tmp_path)
    assert outlier_detection.apply(members) is members
    assert opened == 3 * [f"{n}.fits" for n in range(4)]  # for the grid, the median, and the comparison
    outlier_detection.apply(exposures)
    for ours, member in zip(exposures, members.each(), strict=True):
        for name in (*PLANES, "dq"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(member, name))
    members.shells()
    assert np.any(flags(exposures))


@pytest.mark.parametrize("in_memory", [True, False])
def test_the_same_flags_by_blocks_from_files(empty, in_memory, monkeypatch):
    exposures, _ = field(empty, 1.5)
    outlier_detection.apply(exposures)
    again, _ = field(empty, 1.5)
    monkeypatch.setattr("jwcal.arithmetic.outliers.stack.BLOCK", 4 * 4 * 200 * 7)  # rows of four images
    monkeypatch.setattr("jwcal.arithmetic.outliers.stack.MOST", 200_000)  # bytes: the first image
    outlier_detection.apply(again, in_memory=in_memory)
    np.testing.assert_array_equal(flags(exposures), flags(again))


@pytest.mark.parametrize("mode", ["imaging", "tso"])
def test_the_same_bytes_for_any_number_of_threads(empty, mode):
    threads, found = numba.get_num_threads(), []
    try:
        for count in (1, threads):
            numba.set_num_threads(count)
            exposures = field(empty, 1.25)[0] if mode == "imaging" else [series(count=60)[0]]
            outlier_detection.apply(exposures, mode=mode)
            found.append(b"".join(exposure.dq.tobytes() + exposure.sci.tobytes() for exposure in exposures))
    finally:
        numba.set_num_threads(threads)
    assert found[0] == found[1]


def test_stack(tmp_path):
    """Windows of a grid, in memory and in files."""
    random = np.random.default_rng(2)
    whole = np.full((5, 60, 50), np.nan, "f4")
    with Stack((60, 50), in_memory=False, scratch=tmp_path) as stack:
        for number in range(5):
            rows, columns = slice(3 * number, 30 + 6 * number), slice(number, 50 - 2 * number)
            image = random.normal(size=(rows.stop - rows.start, columns.stop - columns.start)).astype("f4")
            image[random.random(image.shape) < 0.1] = np.nan
            whole[number, rows, columns] = image
            stack.append(image, (rows, columns))
        with np.errstate(all="ignore"), pytest.warns(RuntimeWarning, match="All-NaN"):
            np.testing.assert_array_equal(stack.median(), np.nanmedian(whole, axis=0))
        assert any(tmp_path.iterdir())
    assert not any(tmp_path.iterdir())


def test_detectors_of_one_moment_are_one_image(empty):
    """Two detectors' images that fall side by side: with each its own, three images would make the median of four."""
    exposures, _ = field(empty, 2.0)
    pieces = []
    for exposure in exposures:
        for number, half in enumerate((np.s_[:, :85], np.s_[:, 85:])):
            piece = copy.deepcopy(exposure)
            piece.dq[:] |= np.uint32(dq.DO_NOT_USE)
            piece.dq[half] = 0
            piece.header["DETECTOR"] = f"NRCA{number + 1}"
            pieces.append(piece)
    order = pieces[::2] + pieces[1::2]  # by detector: a moment's images do not follow each other
    outlier_detection.apply(exposures)
    outlier_detection.apply(order)
    left = np.arange(170) < 85
    together = np.array(flags(pieces[::2])) & left | np.array(flags(pieces[1::2])) & ~left
    assert np.mean(together != np.array(flags(exposures))) < 2e-4


def test_as_they_are(empty):
    """resample_data off: pixel by pixel."""
    exposures = [copy.deepcopy(empty[0]) for _ in range(5)]
    random = np.random.default_rng(4)
    for exposure in exposures:
        exposure.err[:] = 0.1
        exposure.sci[:] = random.normal(0, 0.07, exposure.sci.shape)
    exposures[1].sci[20, 30], exposures[3].sci[40, 50], exposures[4].sci[60, 60] = 1.0, -1.0, 0.3
    exposures[0].dq[20, 30] = dq.DO_NOT_USE
    outlier_detection.apply(exposures, resample_data=False)
    found = [np.argwhere(f).tolist() for f in flags(exposures)]
    assert found[1] == [[20, 30]] and found[3] == [[40, 50]] and sum(map(len, found)) == 2
    exposures[2].pixels[0].sci = exposures[2].sci[:100]
    with pytest.raises(InputError, match="170 x 100 pixels"):
        outlier_detection.apply(exposures, resample_data=False)


def test_bad_pixels(empty):
    """NaN without a flag gets one, in all planes; pixels that may not be used do not make the median."""
    exposures, _ = field(empty, 2.0, rays=0)
    exposures[0].sci[50, 60] = np.nan
    exposures[1].dq[40:44, 30:34], exposures[1].sci[40:44, 30:34] = dq.DO_NOT_USE | dq.HOT, 1e5
    exposures[2].var_flat[70, 80] = np.nan
    exposures[3].dq[90, 100] = dq.JUMP_DET
    outlier_detection.apply(exposures)
    assert exposures[0].dq[50, 60] == dq.DO_NOT_USE and np.isnan(exposures[0].err[50, 60])
    assert np.isnan(exposures[1].sci[40:44, 30:34]).all()
    assert exposures[2].dq[70, 80] == dq.DO_NOT_USE and np.isnan(exposures[2].sci[70, 80])
    assert exposures[3].dq[90, 100] == dq.JUMP_DET
    # the hot pixels were not in the median: nothing is flagged where the others see them
    assert sum(np.count_nonzero(f) for number, f in enumerate(flags(exposures)) if number != 1) == 0


def test_one_image_and_images_that_do_not_overlap(folder, empty):
    exposures, _ = field(empty, 2.0)
    before = exposures[0].dq.copy()
    with pytest.raises(Skip, match="one image"):
        outlier_detection.apply(exposures[:1])
    np.testing.assert_array_equal(exposures[0].dq, before)
    apart = [dithers.image(folder, number, (8.0 * number, 0, 0)) for number in range(2)]
    outlier_detection.apply(apart)
    assert not np.any(flags(apart))


def test_a_member_without_a_value(empty):
    exposures, _ = field(empty, 2.0)
    exposures[1].sci[:] = np.nan
    outlier_detection.apply(exposures)
    assert np.all(exposures[1].dq & dq.DO_NOT_USE)
    assert np.any(flags(exposures)[0]) and not np.any(flags(exposures)[1])


def test_a_stray_member(empty):
    exposures, _ = field(empty, 2.0)
    stray = exposures[2]
    stray.header["S_REGION"] = "POLYGON ICRS  275.0 28.0 275.0 28.001 275.001 28.001 275.001 28.0"
    with pytest.raises(InputError, match="00003_nrca1_cal.fits: it lies 25.* pixels"):
        outlier_detection.apply(exposures)


def test_what_is_saved(empty):
    exposures, _ = field(empty, 1.5)
    result = outlier_detection.apply(exposures, save_intermediate_results=True)
    assert result[0] is exposures
    assert [aside.suffix for aside in result[1:]] == 4 * ["outlier_i2d"] + ["median"] + 4 * ["blot"]
    drizzled = np.array([aside.sci for aside in result[1:5]])
    with np.errstate(all="ignore"), pytest.warns(RuntimeWarning, match="All-NaN"):
        np.testing.assert_array_equal(result[5].sci, np.nanmedian(drizzled, axis=0))
    assert result[6].sci.shape == dithers.SHAPE and result[6].header.name == exposures[0].header.name
    assert np.nanmedian(np.abs(result[6].sci - exposures[0].sci) / exposures[0].err) < 1.5


def test_parameters_that_can_not_be_read(empty):
    with pytest.raises(ConfigError, match="snr"):
        outlier_detection.apply(empty, snr="5")
    with pytest.raises(ConfigError, match="scale"):
        outlier_detection.apply(empty, scale="a b")
    with pytest.raises(ConfigError, match="good_bits"):
        outlier_detection.apply(empty, good_bits="NO_SUCH_BIT")
    with pytest.raises(InputError, match="no exposures|gWCS"):
        bare = [copy.deepcopy(exposure) for exposure in empty]
        bare[1].wcs = None
        outlier_detection.apply(bare)


def test_reading_parameters():
    assert numbers("snr", "5.0 4.0") == (5.0, 4.0)
    assert numbers("kernel_size", "7, 7", kind=int) == (7, 7)
    every = 0xFFFFFFFF
    assert bad_bits("~DO_NOT_USE") == 1
    assert bad_bits("~DO_NOT_USE+NON_SCIENCE") == 1 + 512
    assert bad_bits("4,16") == every - 20 == bad_bits("JUMP_DET, OUTLIER")
    assert bad_bits("0") == every and bad_bits("None") == 0


# --- time series -----------------------------------------------------------------------------------------------------

SNR = 800  # of a star's flux in one integration
DEPTH = 0.005


def series(jitter=0.02, seed=0, sigma=0.95, rays=800, count=160, size=40, excursion=0.0):
    """A transit, observed by a telescope that moves by `jitter` pixels; 0.15 pixels for three integrations if asked for."""
    random = np.random.default_rng(seed)
    x, y = 19.3 + random.normal(0, jitter, count), 20.1 + random.normal(0, jitter, count)
    x[70:73] += excursion
    light = 1 - DEPTH * np.clip((30 - np.abs(np.arange(count) - count / 2)) / 6 + 0.5, 0, 1)
    star = np.array([f * np.outer(integrated(size, b, sigma), integrated(size, a, sigma)) for f, a, b in zip(light, x, y, strict=True)])
    truth = SNR**2 * star + 4
    err = np.sqrt(truth + 9).astype("f4")
    hit = np.zeros(truth.shape)
    where = tuple(random.integers(0, n, rays) for n in truth.shape)
    hit[where] = 10 ** random.uniform(0.8, 2.5, rays) * err[where]
    core = random.integers(0, count, rays // 20), random.integers(18, 23, rays // 20), random.integers(17, 22, rays // 20)
    hit[core] = 10 ** random.uniform(1.3, 2.5, rays // 20) * err[core]
    clean = truth + random.normal(size=truth.shape) * err
    pixels = Pixels(sci=(clean + hit).astype("f4"), err=err, dq=np.zeros(truth.shape, "u4"))
    pixels.var_poisson, pixels.var_rnoise = truth.astype("f4"), np.full(truth.shape, 9, "f4")
    exposure = Exposure(make.header(size, size), [pixels], suffix="calints")
    return exposure, {"clean": clean, "hit": hit / err, "light": light}


def _judge(exposure, truth):
    """False flags, recall above 8 and of hits above 20 on the core, and the scatter of the star's flux if false flags are taken from it."""
    found = (exposure.dq & dq.OUTLIER) > 0
    wrong = found & (truth["hit"] == 0)
    rows, columns = np.indices(found.shape[1:])
    away = np.hypot(columns - 19.3, rows - 20.1)
    flux = np.sum(np.where(wrong, 0, truth["clean"] - 4)[:, away < 6], axis=1) / truth["light"]
    core = (truth["hit"] > 20) & (away < 3)
    return np.count_nonzero(wrong), found[truth["hit"] > 8].mean(), found[core].mean() if core.any() else 1.0, np.std(flux) / np.mean(flux)


@pytest.mark.parametrize("options", [{}, {"excursion": 0.15}, {"sigma": 0.5}])
def test_a_moving_star_keeps_its_core(options):
    exposure, truth = series(**options)
    outlier_detection.apply(exposure, mode="tso")
    wrong, recall, on_core, scatter = _judge(exposure, truth)
    assert wrong <= 2 and recall > 0.99 and on_core > 0.93
    assert scatter < 1.1 / SNR
    exposure, truth = series(**options)
    outlier_detection.apply(exposure, mode="tso", **AS_PEER["tso"])
    wrong, _, _, scatter = _judge(exposure, truth)
    assert wrong > 500 and scatter > 0.1  # the peer's rule


def test_a_still_star():
    """Where nothing moves the two rules find the same."""
    found = []
    for options in ({}, AS_PEER["tso"]):
        exposure, truth = series(jitter=0.0)
        outlier_detection.apply(exposure, mode="tso", **options)
        wrong, recall, on_core, scatter = _judge(exposure, truth)
        assert wrong <= 1 and recall == 1 and on_core == 1 and scatter < 1.1 / SNR
        found.append(exposure.dq)
    assert np.mean(found[0] != found[1]) < 1e-4


def test_no_star_and_few_integrations():
    exposure, truth = series(count=20, rays=60)  # fewer than the window
    outlier_detection.apply(exposure, mode="tso")
    wrong, recall, _, _ = _judge(exposure, truth)
    assert wrong <= 2 and recall > 0.95
    exposure, truth = series(count=40, rays=60)
    exposure.sci -= truth["clean"].astype("f4")
    exposure.err[:] = 3
    exposure.sci += np.random.default_rng(1).normal(0, 3, exposure.sci.shape)
    exposure.sci[7, 5, 5] = 100
    outlier_detection.apply(exposure, mode="tso")
    assert exposure.dq[7, 5, 5] == MARK


def test_a_bad_pixel_in_the_window():
    """One NaN does not hide what is around it, as it does with the peer's rule."""
    for options, expected in (({}, MARK), (AS_PEER["tso"], 0)):
        exposure, _ = series(jitter=0.0, rays=0)
        exposure.dq[50, 3, 4] = dq.DO_NOT_USE
        exposure.sci[53, 3, 4] += 500
        outlier_detection.apply(exposure, mode="tso", **options)
        assert exposure.dq[53, 3, 4] == expected
        assert np.isnan(exposure.sci[50, 3, 4]) and exposure.dq[50, 3, 4] == dq.DO_NOT_USE


def test_series_by_strips(monkeypatch):
    whole, _ = series()
    outlier_detection.apply(whole, mode="tso")
    strips, _ = series()
    monkeypatch.setattr("jwcal.arithmetic.outliers.tso.STRIP", 160 * 40 * 4 * 7)
    result = outlier_detection.apply(strips, mode="tso", save_intermediate_results=True)
    assert result[0] is strips and result[1].suffix == "median" and result[1].sci.shape == strips.sci.shape
    np.testing.assert_array_equal(whole.dq, strips.dq)


def test_series_in_files(tmp_path):
    pair = [series(seed=seed, count=40, rays=100)[0] for seed in (1, 2)]
    members, opened = _from_files(pair, tmp_path)
    outlier_detection.apply(members, mode="tso")
    assert opened == ["0.fits", "1.fits"]
    for exposure, member in zip(pair, members.each(), strict=True):
        outlier_detection.apply(exposure, mode="tso")
        np.testing.assert_array_equal(exposure.dq, member.dq)
        np.testing.assert_array_equal(exposure.sci, member.sci)


def test_an_image_is_no_series(empty):
    """Alone it is skipped; beside a series it is left as it is."""
    exposure, before = series(count=30)[0], empty[0].dq.copy()
    outlier_detection.apply([copy.deepcopy(empty[0]), exposure], mode="tso")
    assert np.any(exposure.dq & dq.OUTLIER) and np.array_equal(empty[0].dq, before)
    with pytest.raises(Skip, match="integrations"):
        outlier_detection.apply(copy.deepcopy(empty[0]), mode="tso")


# --- slits -----------------------------------------------------------------------------------------------------------


STAR = spectrograph.Spectrum(flux=0.002, lines=[(9.0, 0.5, 0.05)])  # with an emission line as narrow as the spectrograph sees
NODS = {2: (-0.95, 0.93), 3: (-1.0, 0.03, 0.91), 4: (-1.2, -0.43, 0.37, 1.18)}  # arcsec along the slit


@pytest.fixture(scope="module")
def slit_references(folder):
    return spectrograph.write_lrs_references(folder / "lrs")


def test_a_deep_transit_of_a_spectrum(slit_references):
    """Users' trouble 13: 4 % of a star's light go for a third of the time, and are no outliers; the peer's rule flags the trace."""
    shape = np.repeat([0.0, 1.0, 0.0], 4)
    star = spectrograph.Source(spectrograph.Spectrum(flux=0.02, slope=-1.0))
    dip = spectrograph.Dip(shape, 0.04)
    one = spectrograph.simulate_lrs(slit_references, slitless=True, sources=[star], dip=dip, calibrated=True, seed=5).exposure
    one.sci[5, 200, 30] += 50 * one.err[5, 200, 30]
    counts = []
    for options in ({}, AS_PEER["tso"]):
        exposure = one.derive([Pixels(**{name: plane.copy() for name, plane in one.pixels[0].planes()})], "calints")
        outlier_detection.apply(exposure, mode="tso", **options)
        found = (exposure.dq & dq.OUTLIER) > 0
        assert found[5, 200, 30]
        counts.append(found.sum(axis=(1, 2)))
    assert counts[0].sum() <= 3, counts[0]
    assert (counts[1][shape == 1] > 500).all() and (counts[1][shape == 0] < 10).all()


def moving_traces(count, jitter, depth, hits):
    """A transit that is observed on two slitless orders by a telescope that moves by `jitter` pixels: exposure, shape, clean, hits."""
    random, part = np.random.default_rng(9), (slice(20, 150), slice(800, 960))
    star = sum(soss.profile(order)[part] * soss.column_light(order, soss.NARROW)[part[1]] for order in (1, 2, 3))
    shape = (np.abs(np.arange(count) - count / 2) < count / 6).astype(float)
    spline, moves = ndimage.spline_filter(star), random.normal(0, jitter, (count, 2))
    truth = np.array([ndimage.shift(spline, move, mode="nearest", prefilter=False) for move in moves])
    truth *= (1 - depth * shape)[:, None, None]
    err = np.sqrt(np.maximum(truth, 0) / 160 + 0.3**2).astype("f4")
    clean = (truth + random.normal(size=truth.shape) * err).astype("f4")
    hit = np.zeros(truth.shape, bool)
    hit[tuple(random.integers(0, n, hits) for n in truth.shape)] = True
    pixels = Pixels(sci=clean + np.where(hit, 30 * err, 0), err=err, dq=np.zeros(truth.shape, "u4"))
    pixels.var_poisson, pixels.var_rnoise = err**2 - np.float32(0.09), np.full(truth.shape, 0.09, "f4")
    return Exposure(make.header(*star.shape), [pixels], suffix="calints"), shape, clean, hit


def test_a_deep_transit_on_traces_that_move():
    """Users, slitless 9: 4 % deep, 0.1 pixel of motion, 20 hits: these are found, the transit is not; the peer's rule eats the traces."""
    wrong = {}
    for way, options in {"ours": {}, "peer": AS_PEER["tso"]}.items():
        exposure, shape, clean, hit = moving_traces(60, 0.1, 0.04, 20)
        outlier_detection.apply(exposure, mode="tso", **options)
        found = (exposure.dq & dq.OUTLIER) > 0
        assert found[hit].all()
        wrong[way] = np.count_nonzero(found & ~hit)
        kept = np.where(np.isnan(exposure.sci) & ~hit, 0, clean).sum(axis=(1, 2)) / clean.sum(axis=(1, 2))
        assert (kept > 0.9995).all() == (way == "ours")
    # of 1.2 million, of which noise takes 16 beyond 4.2 sigma; the five that are found are among them
    assert wrong["ours"] <= 8 and wrong["peer"] > 10000, wrong


def test_neighbours_of_bad_pixels_dim_as_all_others():
    """A pixel's share of a transit is its own; its derivatives beside a pixel without a value are those of the other side."""
    y, x = np.mgrid[:9, :9]
    image = (3.0 + 2 * x - y).astype(np.float32)
    exposure = make.image_exposure(np.repeat(image[None], 5, axis=0))
    bad = np.zeros((5, 9, 9), bool)
    bad[:, 4, 4] = bad[:, 4, 6] = bad[:, 2, 4] = True
    modes, _ = tso._derivatives(exposure, bad)
    lost = bad[0]
    assert (modes[:, lost] == 0).all()
    np.testing.assert_allclose(modes[3][~lost], image[~lost])
    inner = np.zeros(lost.shape, bool)
    inner[1:-1, 1:-1] = True
    between = np.zeros(lost.shape, bool)
    between[4, 5] = between[3, 4] = True  # both neighbours along an axis are bad: nothing is known of the slope
    np.testing.assert_allclose(modes[0][inner & ~lost & ~between], 2)
    np.testing.assert_allclose(modes[1][inner & ~lost & ~between], -1)
    assert modes[0, 4, 5] == 0 and modes[1, 4, 5] == -1 and modes[1, 3, 4] == 0
    np.testing.assert_allclose(modes[2][inner & ~lost], 0, atol=1e-5)


def nods(references, count, rays=60):
    """Exposures of a star with a sky and some hits each, within ten pixels of the star: there another nod looks too."""
    made, hits = [], []
    random = np.random.default_rng(4)
    for number, x in enumerate(NODS[count]):
        options = {"sources": [spectrograph.Source(STAR)], "background": lambda wavelength: 20 + 0 * wavelength}
        one = spectrograph.simulate_lrs(references, calibrated=True, dither={"x": x, "y": 0.0}, seed=number, **options)
        exposure, light = one.exposure, one.truth.image
        exposure.header["EXPOSURE"] = str(number + 1)
        exposure.header.name = f"jw01234001001_02101_0000{number + 1}_mirimage_cal.fits"
        where, star = np.zeros(light.shape, bool), int(np.argmax(light[200]))
        where[random.integers(30, 350, rays), star + random.integers(-10, 11, rays)] = True
        steepest = np.max([np.abs(np.diff(light, axis=axis, prepend=0)) for axis in (0, 1)], axis=0)
        exposure.sci += np.where(where, 50 * exposure.err + 4 * steepest, 0).astype(np.float32)
        made.append(exposure)
        hits.append(where)
    return made, hits


@pytest.mark.parametrize(("count", "peer_misses"), [(2, 0.5), (3, 0.2), (4, 0.2)])
def test_hits_on_slits_are_found_and_the_trace_stays(slit_references, count, peer_misses):
    """The median of two lies half way between them, where both or none look like outliers; and the weights vary along the spectrum."""
    missed = {}
    for by_wavelength in (True, False):
        made, hits = nods(slit_references, count)
        clean = [exposure.sci.copy() for exposure in made]
        outlier_detection.apply(Members([(exposure, "science") for exposure in made]), mode="spec", by_wavelength=by_wavelength)
        found = [(exposure.dq & dq.OUTLIER) > 0 for exposure in made]
        missed[by_wavelength] = np.mean([np.mean(~there[where]) for there, where in zip(found, hits, strict=True)])
        if by_wavelength:
            wrong = sum(np.count_nonzero(there & ~where) for there, where in zip(found, hits, strict=True))
            assert wrong <= count  # of 14000 pixels each
            for exposure, there, before in zip(made, found, clean, strict=True):
                assert np.isnan(exposure.sci[there]).all() and np.isnan(exposure.err[there]).all()
                np.testing.assert_array_equal(exposure.sci[~there], before[~there])
    assert missed[True] < 0.1 and missed[False] > peer_misses, missed


# --- kernels ---------------------------------------------------------------------------------------------------------


def some(shape, seed=0, missing=0.1):
    random = np.random.default_rng(seed)
    image = random.normal(size=shape).astype("f4")
    image[random.random(shape) < missing] = np.nan
    return image


@pytest.mark.parametrize("images", [1, 4, 7, 45])
@pytest.mark.filterwarnings("ignore:All-NaN")
def test_median_kernel(images):
    stack = some((images, 12, 15), images, 0.4)
    out = np.empty((12, 15), "f4")
    median_image(stack, out)
    np.testing.assert_allclose(out, np.nanmedian(stack, axis=0), rtol=1e-6)


def test_blot_kernel():
    image = some((20, 30), missing=0.0)
    random = np.random.default_rng(1)
    places = np.stack([random.uniform(-1, 31, (25, 25)), random.uniform(-1, 21, (25, 25))], axis=-1)
    places[3, 4] = np.nan
    found = blot(image, places)
    inside = (places[..., 0] >= 0) & (places[..., 0] < 30) & (places[..., 1] >= 0) & (places[..., 1] < 20)
    np.testing.assert_array_equal(np.isfinite(found), inside)
    expected = ndimage.map_coordinates(image.astype(float), [places[inside, 1], places[inside, 0]], order=1, mode="nearest")
    np.testing.assert_allclose(found[inside], expected, atol=1e-5)
    image[5, 6] = np.nan
    lost = np.isnan(blot(image, places)) & inside
    np.testing.assert_array_equal(lost, inside & (np.abs(places[..., 0] - 6) < 1) & (np.abs(places[..., 1] - 5) < 1))


def test_reach_kernel():
    image, err = some((12, 15)), np.abs(some((12, 15), 5))
    wide = np.pad(image, 1, constant_values=np.nan)
    around = [wide[1:-1, :-2], wide[1:-1, 2:], wide[:-2, 1:-1], wide[2:, 1:-1]]
    slope = np.nanmax([np.zeros_like(image), *(np.abs(image - other) for other in around)], axis=0)
    hat = np.outer([1, 2, 1], [1, 2, 1])
    there = np.isfinite(image)
    filtered = [ndimage.convolve(v.astype(float), hat, mode="constant") for v in (np.where(there, image, 0), there)]
    with np.errstate(invalid="ignore", divide="ignore"):
        height = image - filtered[0] / filtered[1]
    least = np.nan_to_num(err)
    expected = np.where(there, 1.2 * np.maximum(slope - least, 0) + 3 * np.maximum(height - least, 0), np.nan)
    np.testing.assert_allclose(reach(image, err, 1.2, 3.0, 1.0), expected, atol=1e-5)
    np.testing.assert_allclose(reach(image, err, 0.7, 0.0, 0.0), np.where(there, 0.7 * slope, np.nan), atol=1e-6)


def test_beyond_and_beside_kernels():
    sci, err, model, more = (some((12, 15), seed) for seed in range(4))
    more = np.abs(more)
    with np.errstate(invalid="ignore"):
        expected = np.abs(sci - model - 0.1) > 0.5 * more + 0.3 * np.nan_to_num(err)
    np.testing.assert_array_equal(beyond(sci, err, model, more, 0.1, 0.3, 0.5), expected)
    first, second = (np.random.default_rng(seed).random((12, 15)) < limit for seed, limit in ((5, 0.05), (6, 0.5)))
    np.testing.assert_array_equal(beside(first, second), ndimage.maximum_filter(first, 3) & second)


@pytest.mark.parametrize("width", [2, 3, 6, 25])
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.filterwarnings("ignore:All-NaN", "ignore:invalid value")
def test_rolling_median_kernel(width, whole):
    cube = some((40, 3, 4), width, 0.05)
    how = np.median if whole else np.nanmedian
    found = rolling_median(cube, width, whole)
    for number in range(40):
        start = min(max(number - width // 2, 0), 40 - width)
        np.testing.assert_allclose(found[number], how(cube[start : start + width], axis=0), rtol=1e-6)
    for all_of_them in (1, 0, 40, 41):
        np.testing.assert_allclose(rolling_median(cube, all_of_them, whole)[7], np.nanmedian(cube, axis=0), rtol=1e-6)


def test_fit_kernel():
    """Amplitudes come out whatever a tenth of the pixels do."""
    random = np.random.default_rng(0)
    modes, amplitudes = random.normal(0, 20, (4, 60)).astype("f4"), random.normal(0, 1, (30, 4)).astype("f4")
    values = amplitudes @ modes + random.normal(size=(30, 60)).astype("f4")
    values[random.random(values.shape) < 0.1] += 500
    values[3, :50] = np.nan
    values[4, 10:20] = np.nan
    found = fit_modes(values, modes)
    assert np.all(found[3] == 0)  # too few pixels
    others = np.arange(30) != 3
    assert np.abs(found - amplitudes)[others].max() < 6 / 20 / np.sqrt(45)


# --- the peer --------------------------------------------------------------------------------------------------------

CASES = {
    "default": {},
    "exptime": {"weight_type": "exptime", "maskpt": 0.9, "snr": "4.0 3.0", "scale": "1.0 0.5"},
    "plain": {"resample_data": False},
}
PEER = """
import json, os
os.environ.update(CRDS_PATH=str(folder), CRDS_SERVER_URL="https://127.0.0.1:9", STPIPE_DISABLE_CRDS_STEPPARS="true")
from jwst.outlier_detection import OutlierDetectionStep
from stdatamodels.jwst import datamodels

names = {"sci": "data", "err": "err", "dq": "dq", "var_rnoise": "var_rnoise"}
for case, options in json.loads(str(cases)).items():
    step = OutlierDetectionStep(**options)
    step.mode = "imaging"
    library = step.run([str(f) for f in files])
    with library:
        for number, model in enumerate(library):
            for ours, theirs in names.items():
                out[f"{case} {number} {ours}"] = np.array(getattr(model, theirs))
            library.shelve(model, number, modify=False)
for window in windows:
    cube = datamodels.CubeModel(data=sci.copy(), err=err.copy(), dq=flags.copy())
    cube.meta.exposure.type = "NRC_TSIMAGE"
    cube.meta.visit.tsovisit = True
    cube.meta.filename = "made_calints.fits"
    step = OutlierDetectionStep(rolling_window_width=int(window))
    step.mode = "tso"
    result = step.run(cube)
    for ours in ("sci", "dq"):
        out[f"tso {window} {ours}"] = np.array(getattr(result, names[ours]))
"""
WINDOWS = (25, 10, 200)


def _peer_series():
    exposure, _ = series(rays=300, size=30, count=60)
    exposure.dq[12, 5, 6] = dq.DO_NOT_USE
    exposure.sci[20, 7, 8] = exposure.err[20, 7, 8] = np.nan
    exposure.dq[30, 3, 3] = dq.JUMP_DET
    return exposure


def _peer_field(empty):
    exposures, _ = field(empty, 1.5, rays=60)
    for number, exposure in enumerate(exposures):
        random = np.random.default_rng((7, number))
        exposure.dq[random.random(dithers.SHAPE) < 0.005] = dq.DO_NOT_USE
        exposure.sci[random.random(dithers.SHAPE) < 0.002] = np.nan
        exposure.sci[np.isnan(exposure.sci)] = np.nan
        exposure.dq[np.isnan(exposure.sci)] = dq.DO_NOT_USE
        exposure.header["BKGLEVEL"], exposure.header["BKGSUB"] = 0.1 * number, False
        exposure.sci += np.float32(0.1 * number)
    exposures[3].header["EXPOSURE"] = exposures[2].header["EXPOSURE"]  # one moment
    return exposures


@pytest.fixture(scope="module")
def theirs(empty, tmp_path_factory):
    folder = tmp_path_factory.mktemp("peer")
    files = [stored.write(exposure, folder / exposure.header.name) for exposure in _peer_field(empty)]
    cube = _peer_series()
    arrays = {"sci": cube.sci, "err": cube.err, "flags": cube.dq, "windows": WINDOWS}
    return peer_python(PEER, folder=str(folder), files=[str(f) for f in files], cases=json.dumps(CASES), **arrays), files


@needs_peer
@pytest.mark.parity
@pytest.mark.parametrize("case", CASES)
def test_images_as_the_peer(theirs, case):
    found, files = theirs
    exposures = [stored.read(path) for path in files]
    outlier_detection.apply(exposures, **AS_PEER["imaging"], **CASES[case])
    outliers = 0
    for number, exposure in enumerate(exposures):
        flagged = found[f"{case} {number} dq"]
        outliers += np.count_nonzero(flagged & dq.OUTLIER)
        assert np.mean(exposure.dq != flagged) < 1e-4
        same = exposure.dq == flagged
        for name in ("sci", "err", "var_rnoise"):
            np.testing.assert_array_equal(getattr(exposure, name)[same], found[f"{case} {number} {name}"][same])
    assert outliers > 100


@needs_peer
@pytest.mark.parity
@pytest.mark.parametrize("window", WINDOWS)
def test_series_as_the_peer(theirs, window):
    exposure = _peer_series()
    outlier_detection.apply(exposure, mode="tso", rolling_window_width=window, **AS_PEER["tso"])
    flagged = theirs[0][f"tso {window} dq"]
    assert np.count_nonzero(flagged & dq.OUTLIER) > 200
    np.testing.assert_array_equal(exposure.dq, flagged)
    np.testing.assert_array_equal(exposure.sci, theirs[0][f"tso {window} sci"])


SPEC_CASES = {"slits": {}, "exptime": {"weight_type": "exptime", "maskpt": 0.5, "snr": "4.0 3.0"}, "plain": {"resample_data": False}}
PEER_SPEC = """
import json, os
os.environ.update(CRDS_PATH=str(folder), CRDS_SERVER_URL="https://127.0.0.1:9", STPIPE_DISABLE_CRDS_STEPPARS="true")
from jwst.datamodels import ModelContainer
from jwst.outlier_detection import OutlierDetectionStep
from stdatamodels.jwst import datamodels

names = {"sci": "data", "err": "err", "dq": "dq", "var_rnoise": "var_rnoise"}
for case, options in json.loads(str(cases)).items():
    step = OutlierDetectionStep(**options)
    step.mode = "spec"
    models = step.run(ModelContainer([datamodels.SlitModel(str(f)) for f in files]))
    for number, model in enumerate(models):
        for ours, theirs in names.items():
            out[f"{case} {number} {ours}"] = np.array(getattr(model, theirs))
"""


@needs_peer
@pytest.mark.parity
def test_slits_as_the_peer(slit_references, tmp_path):
    made, _ = nods(slit_references, 3)
    random = np.random.default_rng(9)
    for exposure in made:
        bad = random.random(exposure.sci.shape) < 0.01
        exposure.dq[bad] = dq.DO_NOT_USE
    files = [stored.write(exposure, tmp_path / exposure.name) for exposure in made]
    found = peer_python(PEER_SPEC, folder=str(tmp_path), files=[str(f) for f in files], cases=json.dumps(SPEC_CASES))
    for case, options in SPEC_CASES.items():
        exposures = [stored.read(path) for path in files]
        outlier_detection.apply(exposures, mode="spec", **AS_PEER["spec"], **options)
        outliers = 0
        for number, exposure in enumerate(exposures):
            flagged = found[f"{case} {number} dq"]
            outliers += np.count_nonzero(flagged & dq.OUTLIER)
            differ = np.count_nonzero(exposure.dq != flagged)
            assert differ <= 2, (case, number, differ)
            same = exposure.dq == flagged
            for name in ("sci", "err", "var_rnoise"):
                np.testing.assert_array_equal(getattr(exposure, name)[same], found[f"{case} {number} {name}"][same])
        assert outliers > 20, case
