"""resample: the sky comes out as it went in, at the right place, with the right noise; and as the peer has it."""

import copy

import asdf
import gwcs
import numba
import numpy as np
import pytest
from astropy.io import fits
from astropy.modeling.models import Pix2Sky_TAN, RotateNative2Celestial, Scale, Shift
from astropy.wcs import WCS

import dithers
from jwcal.arithmetic.resample import drizzle_images, output_wcs
from jwcal.arithmetic.resample.pixel_map import TOLERANCE, pixel_map
from jwcal.arithmetic.resample.union import area, clipped, union
from jwcal.kernels.images.coadd_variance import add_variance, error_of_sum, variance_of_mean
from jwcal.model.exposure import Exposure, Members
from jwcal.products import stored
from jwcal.steps import resample
from jwcal.vocabulary.errors import ConfigError, InputError, Skip
from peer import needs_peer, peer_python

PIXEL = 0.0312  # arcsec
MAIN = ("sci", "err", "var_poisson", "var_rnoise", "var_flat")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("references")


@pytest.fixture(scope="module")
def clean(folder):
    """Three dithers without noise or bad pixels."""
    return dithers.images(folder, noise=False)


@pytest.fixture(scope="module")
def noisy(folder):
    """Three dithers with noise and bad pixels, the third taken at the moment of the second by another detector."""
    images = dithers.images(folder)
    images[2].header["EXPOSURE"], images[2].header["DETECTOR"] = images[1].header["EXPOSURE"], "NRCA3"
    images[1].header["BKGLEVEL"], images[1].header["BKGSUB"] = 0.11, False
    images[2].header["BKGLEVEL"], images[2].header["BKGSUB"] = 0.22, True
    images[1].wcs.bounding_box = (3.5, 165.5), (1.5, 147.5)
    return images


# --- truth -----------------------------------------------------------------------------------------------------------


def test_surface_brightness_is_kept(clean):
    flat = [copy.deepcopy(exposure) for exposure in clean]
    for exposure in flat:
        exposure.sci[:] = 7.5
    for ratio in (1.0, 0.6):
        sci = resample.apply(flat, pixel_scale_ratio=ratio).sci
        np.testing.assert_allclose(sci[np.isfinite(sci)], 7.5, rtol=1e-6)


def test_flux_is_conserved(clean):
    result = resample.apply(clean, weight_type="exptime")
    away = _pixels_from(result, *np.transpose(dithers.star_positions())[0])
    flux = np.sum(result.sci[away < 10] - dithers.SKY) * result.header["PIXAR_A2"]
    assert flux == pytest.approx(2 * np.pi * dithers.SIGMA**2 * dithers.STARS[0][2], rel=1e-3)


@pytest.mark.parametrize("options", [{}, {"rotation": 0.0, "pixel_scale": 0.02}, {"crpix": [70.0, 60.0], "output_shape": [180, 160]}])
def test_a_star_is_where_its_coordinates_say(clean, options):
    """By the gWCS and by the FITS keywords alike."""
    result = resample.apply(clean, **options)
    by_keywords = WCS(stored.hdus(result, "made_i2d.fits")["SCI"].header)
    for ra, dec in np.transpose(dithers.star_positions()):
        x, y = result.wcs.invert(ra, dec)
        away = _pixels_from(result, ra, dec)
        near = away < 0.2 / (3600 * by_keywords.proj_plane_pixel_scales()[0].value)
        weight = np.where(near, result.sci - dithers.SKY, 0)
        rows, columns = np.indices(weight.shape)
        found = np.sum(columns * weight) / weight.sum(), np.sum(rows * weight) / weight.sum()
        np.testing.assert_allclose(found, (x, y), atol=0.02)
        np.testing.assert_allclose(by_keywords.all_world2pix(ra, dec, 0), (x, y), atol=1e-6)


def _pixels_from(result, ra, dec):
    rows, columns = np.indices(result.sci.shape)
    x, y = result.wcs.invert(ra, dec)
    return np.hypot(columns - x, rows - y)


@pytest.mark.parametrize("error_of", ["pixel", "area"])
def test_images_add_up_with_their_weights(noisy, error_of):
    """The whole is the weighted mean of the parts: of the values with WHT, of the variances with it too or with the drizzled read noise."""
    together = resample.apply(noisy, error_of=error_of)
    ny, nx = together.sci.shape
    place = {"crval": [together.header["CRVAL1"], together.header["CRVAL2"]], "output_shape": [nx, ny], "error_of": error_of}
    place["crpix"] = [together.header["CRPIX1"] - 1, together.header["CRPIX2"] - 1]
    # each on the same grid: the first image, of no weight, sets its scale and orientation
    first = copy.deepcopy(noisy[0])
    first.dq[:] = 1
    alone = [resample.apply([first, exposure], **place).pixels[0] for exposure in noisy]
    weights = np.array([part.extra["WHT"] for part in alone], float)
    with np.errstate(invalid="ignore"):
        total = np.nansum(weights * [part.sci for part in alone], axis=0) / weights.sum(axis=0)
    np.testing.assert_allclose(together.sci, total, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(together.pixels[0].extra["WHT"], weights.sum(axis=0), rtol=1e-6)

    inverse = weights if error_of == "pixel" else np.array([1 / part.var_rnoise.astype(float) for part in alone])
    for name in MAIN[2:]:
        variance = np.array([getattr(part, name) for part in alone], float)
        used = np.isfinite(variance) & np.isfinite(inverse)
        w = np.where(used, inverse, 0)
        with np.errstate(invalid="ignore"):
            expected = np.where(used, w**2 * variance, 0).sum(axis=0) / w.sum(axis=0) ** 2
        np.testing.assert_allclose(getattr(together, name), expected, rtol=2e-5)
    summed = np.nansum([getattr(together, name).astype(float) for name in MAIN[2:]], axis=0)
    covered = np.isfinite(together.err)
    np.testing.assert_allclose(together.err[covered] ** 2, summed[covered], rtol=1e-5)


@pytest.mark.parametrize("ratio", [1.0, 0.7])
def test_error_is_the_scatter(folder, ratio):
    """The peer's ERR (`error_of="area"`) is ERRAREA times what pixels scatter by."""
    images = [dithers.image(folder, number, step, noise=False) for number, step in enumerate(dithers.STEPS)]
    random = np.random.default_rng(6)
    for exposure in images:
        exposure.var_rnoise[:], exposure.var_poisson[:], exposure.var_flat[:] = 0.03, 0.01, 0.0
        exposure.sci[:] = random.normal(0, 0.2, exposure.sci.shape)
    ours, theirs = (resample.apply(images, pixel_scale_ratio=ratio, error_of=kind) for kind in ("pixel", "area"))
    np.testing.assert_array_equal(ours.sci, theirs.sci)
    weight = ours.pixels[0].extra["WHT"]
    inside = weight > 0.9 * np.nanpercentile(weight, 90)
    assert np.std(ours.sci[inside] / ours.err[inside]) == pytest.approx(1.0, abs=0.03)
    assert np.std(ours.sci[inside] / theirs.err[inside]) < 0.8
    assert np.median(theirs.err[inside] / ours.err[inside]) == pytest.approx(ours.header["ERRAREA"], rel=0.06)


def test_the_error_of_an_area(folder):
    """The sum of 15 x 15 pixels scatters by ERRAREA times what ERR says: a part of that is lost at the area's edge."""
    image = dithers.image(folder, 0, (0.0, 0.0, 5.0), noise=False)
    image.var_rnoise[:], image.var_poisson[:], image.var_flat[:] = 0.04, 0.0, 0.0
    sums, said = [], []
    for seed in range(8):
        image.sci[:] = np.random.default_rng(seed).normal(0, 0.2, image.sci.shape)
        result = resample.apply(image)
        for y in range(20, 120, 15):
            for x in range(20, 140, 15):
                part = np.s_[y : y + 15, x : x + 15]
                sums.append(result.sci[part].sum())
                said.append(np.sqrt(np.sum(result.err[part] ** 2)))
    assert np.isfinite(sums).all()
    assert np.std(sums) / np.mean(said) == pytest.approx(result.header["ERRAREA"], rel=0.08)


def test_noise_is_the_quoted_one(folder):
    """Aligned images of equal noise with the drop of a point: nothing moves into the covariance, and ERR is the scatter."""
    images = [dithers.image(folder, number, noise=False) for number in range(3)]
    random = np.random.default_rng(5)
    for exposure in images:
        exposure.var_rnoise[:], exposure.var_poisson[:], exposure.var_flat[:] = 0.04, 0.0, 0.0
        exposure.sci[:] = random.normal(0, 0.2, exposure.sci.shape)
    result = resample.apply(images, kernel="point")
    inside = result.pixels[0].extra["WHT"] == np.median(result.pixels[0].extra["WHT"])
    assert inside.mean() > 0.8
    np.testing.assert_allclose(result.err[inside], 0.2 / np.sqrt(3), rtol=1e-5)
    assert np.std(result.sci[inside]) == pytest.approx(0.2 / np.sqrt(3), rel=0.02)


def test_the_context_says_which_images(noisy):
    result = resample.apply([noisy[0]] * 34, output_shape=[40, 40], crpix=[105, 20])
    context = result.pixels[0].extra["CON"]
    assert context.shape == (2, 40, 40) and context.dtype == np.int32
    covered = result.pixels[0].extra["WHT"] > 0
    assert covered.any() and not covered.all()
    np.testing.assert_array_equal(context[0], np.where(covered, -1, 0))
    np.testing.assert_array_equal(context[1], np.where(covered, 3, 0))


# --- users' troubles -------------------------------------------------------------------------------------------------


def _fluxes(result, ra, dec, radius=0.25):
    """Flux of each star on a sky of 0, in MJy: with the keyword that a user takes."""
    scale = result.header["PIXAR_A2"] ** 0.5
    return [result.header["PIXAR_SR"] * np.sum(result.sci[_pixels_from(result, *at) < radius / scale]) for at in zip(ra, dec, strict=True)]


@pytest.fixture(scope="module")
def corner(folder):
    """Stars all over a corner of the detector, where distortion is strongest: two dithers."""
    images = []
    for number, step in enumerate(((0.0, 0.0, 0.0), (0.21, -0.13, 0.0))):
        exposure = dithers.image(folder, number, step, (160, 180), noise=False, SUBSTRT1=1, SUBSTRT2=1)
        y, x = np.indices(exposure.sci.shape, dtype=float)
        ra, dec = exposure.wcs(x, y)
        if not images:
            stars = exposure.wcs(np.array([30.3, 150.2, 90.4, 31.0, 150.0]), np.array([30.1, 30.4, 80.7, 130.3, 130.0]))
        exposure.sci[:], exposure.var_rnoise[:] = 0, 1e-3
        for star in zip(*stars, strict=True):
            east, north = (ra - star[0]) * np.cos(np.radians(star[1])) * 3600, (dec - star[1]) * 3600
            exposure.sci += (100 * np.exp(-(east**2 + north**2) / (2 * dithers.SIGMA**2))).astype("f4")
        images.append(exposure)
    return images, stars


TRUE_FLUX = 100 * 2 * np.pi * np.radians(dithers.SIGMA / 3600) ** 2


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
def test_flux_is_the_same_anywhere(corner, ratio):
    """Trouble 5: sums times PIXAR_SR, for stars in the middle and the corners."""
    images, stars = corner
    np.testing.assert_allclose(_fluxes(resample.apply(images, pixel_scale_ratio=ratio, enable_err=False), *stars), TRUE_FLUX, rtol=1e-3)


def test_pixel_area_of_ones_own_grid(corner, folder, caplog):
    """Trouble 5: the keywords are by the WCS, whatever the file says."""
    images, stars = corner
    made = resample.apply(images, pixel_scale_ratio=0.8, enable_err=False)
    asdf.AsdfFile({"wcs": made.wcs, "pixel_scale": made.header["CDELT1"] * 3600 * 1.07}).write_to(folder / "wrong.asdf")
    result = resample.apply(images, output_wcs=str(folder / "wrong.asdf"), enable_err=False)
    assert "by its WCS" in caplog.text
    assert result.header["PIXAR_SR"] == pytest.approx(made.header["PIXAR_SR"], rel=1e-6)
    np.testing.assert_allclose(_fluxes(result, *stars), TRUE_FLUX, rtol=1e-3)


def test_holes_in_the_read_noise(corner):
    """Trouble 7: pixels with a hundredth of the read noise's variance; in boxes the weights are those of the time again."""
    images, stars = [copy.deepcopy(exposure) for exposure in corner[0]], corner[1]
    for number, exposure in enumerate(images):
        exposure.var_rnoise[:] = 1e-3
        exposure.var_rnoise[np.random.default_rng(number).random(exposure.sci.shape) < 0.02] *= 0.01
        exposure.var_poisson = 1e-2 * exposure.sci
    even = np.array(_fluxes(resample.apply(images, weight_type="exptime", enable_err=False), *stars))
    smooth = np.array(_fluxes(resample.apply(images, weight_box=32, enable_err=False), *stars))
    single = np.array(_fluxes(resample.apply(images, enable_err=False), *stars))
    assert np.abs(smooth / even - 1).max() < 1e-6 < np.abs(single / even - 1).max()


def test_boxes():
    """Medians of what counts, interpolated."""
    variance = np.tile(np.repeat([1.0, 3.0], 10), (20, 1)).astype("f4")
    variance[::3, ::3] = [[np.nan], [0], [np.inf], [1e6], [np.nan], [-1], [0]]
    bad = variance == np.float32(1e6)
    found = drizzle_images.smoothed(variance, bad, 10)
    np.testing.assert_allclose(found[:, :5], 1.0)
    np.testing.assert_allclose(found[:, 15:], 3.0)
    np.testing.assert_allclose(found[:, 4:16], np.broadcast_to(1 + 2 * (np.arange(4, 16) - 4.5).clip(0, 10) / 10, (20, 12)), atol=1e-5)
    assert np.isnan(drizzle_images.smoothed(variance, bad | True, 10)).all()


def test_times_of_many_detectors(clean):
    """Trouble 14: eight detectors, two exposures."""
    images = []
    for moment in range(2):
        for detector in range(8):
            exposure = copy.copy(clean[0])
            exposure.header = clean[0].header.copy()
            exposure.header["EXPOSURE"], exposure.header["DETECTOR"] = str(moment), f"NRC{detector}"
            exposure.header["EFFEXPTM"] = exposure.header["TMEASURE"] = exposure.header["DURATION"] = 100.0
            images.append(exposure)
    header = resample.apply(images, enable_err=False).header
    assert [header[keyword] for keyword in ("EFFEXPTM", "XPOSURE", "TMEASURE", "DURATION", "TELAPSE")] == 5 * [200.0]


def test_a_gap_is_nan(folder):
    """Trouble 15."""
    apart = [dithers.image(folder, number, (6.0 * number, 0, 0), noise=False) for number in range(2)]
    for options in ({}, {"fillval": "INDEF"}, {"fillval": "0"}):
        result = resample.apply(apart, **options)
        gap = result.pixels[0].extra["WHT"] == 0
        assert 0.1 < gap.mean() < 0.9
        assert np.all(result.sci[gap] == 0) if options.get("fillval") == "0" else np.isnan(result.sci[gap]).all()
        assert np.isnan(result.err[gap]).all() and np.isfinite(result.sci[~gap]).all()
    with pytest.raises(ConfigError, match="fillval"):
        resample.apply(apart, fillval="empty")


@pytest.mark.parametrize("away", [30.0, 100.0])
def test_a_stray_member_is_named(clean, away):
    """Trouble 16: before anything is allocated."""
    stray = copy.copy(clean[1])
    stray.header = clean[1].header.copy()
    ra, dec = stray.header["RA_REF"] + away / np.cos(np.radians(28.0)), 28.0
    stray.header["S_REGION"] = f"POLYGON ICRS  {ra} {dec} {ra} {dec + 0.001} {ra + 0.001} {dec + 0.001} {ra + 0.001} {dec}"
    with pytest.raises(
        InputError, match=r"00002_nrca1_cal.fits: it lies \d+(\.\d)? degrees from the other images, .* (pixels|degrees wide)"
    ):
        resample.apply([clean[0], stray, clean[2]])
    with pytest.raises(ConfigError, match="pixels"):
        resample.apply(clean, output_shape=[10**6, 10**6])
    with pytest.raises(ConfigError, match="pixels"):
        resample.apply(clean, pixel_scale=1e-6)


def test_one_image_of_many_is_in_memory(clean):
    """Trouble 16: as many as there are, one at a time."""
    import weakref

    alive = weakref.WeakSet()

    def read(path):
        assert len(alive) < 2
        like = clean[int(path) % 3]
        exposure = Exposure(like.header.copy(), [copy.copy(like.pixels[0])], suffix="cal")
        exposure.header["EXPOSURE"] = path
        alive.add(exposure)
        return exposure

    members = Members([(str(number), "science") for number in range(40)], read)
    result = resample.apply(members, enable_err=False, pixmap_stepsize=20.0)
    assert result.header["NDRIZ"] == 40 and result.pixels[0].extra["CON"].shape[0] == 2


@pytest.fixture(scope="module")
def fine(folder):
    """Nine points of sub-pixel phases on a star, and on a constant; and where the star is."""
    steps = [(PIXEL * (1 + i / 3), PIXEL * (2 + j / 3), 0.0) for i in range(3) for j in range(3)]
    on_star = [dithers.image(folder, 0, step, (50, 50), noise=False, EXPOSURE=str(number)) for number, step in enumerate(steps)]
    star, levels = on_star[0].wcs(25.3, 24.6), [copy.deepcopy(exposure) for exposure in on_star]
    y, x = np.indices((50, 50), dtype=float)
    for exposure, level in zip(on_star, levels, strict=True):
        ra, dec = exposure.wcs(x, y)
        east, north = (ra - star[0]) * 3600 * np.cos(np.radians(star[1])), (dec - star[1]) * 3600
        exposure.sci[:] = 100 * np.exp(-(east**2 + north**2) / (2 * 0.06**2))
        level.sci[:] = 3.25
    return on_star, levels, star


# a point falls into the pixel that its pixel's centre lies in
KERNELS = [
    ("square", 1.0, 1.0),
    ("square", 0.6, 0.7),
    ("turbo", 1.0, 0.7),
    ("point", 1.0, 1.0),
    ("gaussian", 1.0, 1.0),
    ("lanczos3", 1.0, 1.0),
]


@pytest.mark.filterwarnings("ignore:Kernel")
@pytest.mark.parametrize(("kernel", "pixfrac", "ratio"), KERNELS)
def test_kernels_keep_place_and_level(fine, kernel, pixfrac, ratio):
    """Trouble 31: a star's centroid to a hundredth of a pixel, and a constant, for what each kernel can cover."""
    on_star, levels, (ra, dec) = fine
    options = {"kernel": kernel, "pixfrac": pixfrac, "pixel_scale_ratio": ratio, "enable_err": False, "blendheaders": False}
    level = resample.apply(levels, **options)
    covered = level.pixels[0].extra["WHT"] > 0.05 * level.pixels[0].extra["WHT"].max()
    np.testing.assert_allclose(level.sci[covered], 3.25, rtol=1e-5)
    star = resample.apply(on_star, **options)
    value = np.where(_pixels_from(star, ra, dec) < 10 / ratio, np.nan_to_num(star.sci), 0)
    rows, columns = np.indices(value.shape)
    found = np.sum(columns * value) / value.sum(), np.sum(rows * value) / value.sum()
    np.testing.assert_allclose(found, star.wcs.invert(ra, dec), atol=0.17 if kernel == "point" else 0.012)


# --- contract --------------------------------------------------------------------------------------------------------


def test_inputs_stay_as_they_are(noisy):
    before = [{**{n: getattr(e, n).tobytes() for n in (*MAIN, "dq")}, "header": repr(e.header.sci) + repr(e.header.primary)} for e in noisy]
    resample.apply(noisy)
    resample.apply(noisy[0])
    after = [{**{n: getattr(e, n).tobytes() for n in (*MAIN, "dq")}, "header": repr(e.header.sci) + repr(e.header.primary)} for e in noisy]
    assert before == after


def test_members_are_opened_one_at_a_time(noisy):
    files = {f"{number}.fits": exposure for number, exposure in enumerate(noisy)}
    opened = []

    def read(path):
        opened.append(path)
        return files[path]

    members = Members([*((path, "science") for path in files), ("psf.fits", "psf")], read)
    result = resample.apply(members)
    assert opened == 2 * list(files)  # for the grid and for the pixels
    np.testing.assert_array_equal(result.sci, resample.apply(noisy).sci)
    np.testing.assert_array_equal(result.sci, resample.apply(iter(noisy)).sci)


def test_header_of_one_exposure(clean):
    result = resample.apply(clean[0])
    header = result.header
    assert result.suffix == "i2d" and not result.tables
    assert (header["NDRIZ"], header["RESWHT"], header["PIXFRAC"], header["PXSCLRT"]) == (1, "ivm", 1.0, 1.0)
    assert header["PIXAR_A2"] == pytest.approx((header["CDELT1"] * 3600) ** 2)
    assert header["PIXAR_SR"] == pytest.approx(np.radians(header["CDELT1"]) ** 2)
    gone = ["V2_REF", "V3_REF", "RA_REF", "DEC_REF", "ROLL_REF", "V3I_YANG", "VPARITY", "A_ORDER", "CD1_1", "SIPMXERR", "BKGSUB"]
    assert not [keyword for keyword in gone if keyword in header]
    assert clean[0].header["A_ORDER"]


def test_header_of_several(noisy):
    result = resample.apply(noisy)
    header = result.header
    assert header["NDRIZ"] == 2  # the second and third are of one moment
    assert header["EFFEXPTM"] == header["XPOSURE"] == 2 * 100.5
    assert header["TMEASURE"] == 2 * 95.25
    assert header["DURATION"] == header["TELAPSE"] == 2 * 107.0
    assert (header["EXPSTART"], header["EXPEND"]) == (59800.0, 59800.012)
    assert header["DETECTOR"] == "MULTIPLE"
    assert header["EXPMID"] == pytest.approx(59800.011)
    assert "BKGLEVEL" not in header
    assert len(result.tables["HDRTAB"]) == 3
    plain = resample.apply(noisy, blendheaders=False)
    assert plain.header["DETECTOR"] == "NRCA1" and not plain.tables and plain.header["NDRIZ"] == 2


def test_single_makes_one_image_a_moment(noisy):
    results = resample.apply(noisy, single=True)
    assert [result.header["NDRIZ"] for result in results] == [1, 1]
    assert [len(result.tables["HDRTAB"]) for result in results] == [1, 2]
    assert {result.sci.shape for result in results} == {resample.apply(noisy).sci.shape}
    assert results[0].var_rnoise is None and results[0].err is not None
    assert {int(v) for v in np.unique(results[1].pixels[0].extra["CON"])} == {0, 1, 2, 3}


def test_planes_that_are_not_wanted(noisy):
    result = resample.apply(noisy, enable_ctx=False, enable_err=False)
    assert result.err is None and result.var_flat is None and list(result.pixels[0].extra) == ["WHT"]
    result = resample.apply(noisy, report_var=False)
    assert result.err is not None and result.var_flat is None and result.dq is None
    with_flags = resample.apply(noisy, propagate_dq=True).dq
    assert with_flags.dtype == np.uint32 and np.all((with_flags == 0) | (with_flags == 4)) and (with_flags == 4).any()


def test_without_a_noise_plane(noisy):
    """Images of equal weight, and a variance that is 0 where nothing is known of it."""
    bare = copy.deepcopy(noisy[0])
    bare.var_rnoise = bare.var_flat = None
    result = resample.apply(bare)
    even = resample.apply(bare, weight_type=None)
    np.testing.assert_array_equal(result.pixels[0].extra["WHT"], even.pixels[0].extra["WHT"])
    assert "RESWHT" not in even.header
    assert np.isnan(result.var_rnoise).all()
    np.testing.assert_allclose(result.err**2, result.var_poisson, rtol=1e-6)


def test_fill_value(clean):
    result = resample.apply(clean[0], fillval="-99", output_shape=[200, 200])
    assert np.all(result.sci[result.pixels[0].extra["WHT"] == 0] == -99)


def test_what_can_not_be_resampled(clean):
    cube = copy.deepcopy(clean[0])
    cube.sci = cube.sci[None]
    with pytest.raises(Skip, match="3 dimensions"):
        resample.apply(cube)
    lost = copy.deepcopy(clean[0])
    del lost.header["S_REGION"]
    with pytest.raises(InputError, match="S_REGION"):
        resample.apply(lost)
    lost.wcs = None
    with pytest.raises(InputError, match="gWCS"):
        resample.apply(lost)
    with pytest.raises(InputError, match="no exposures"):
        resample.apply([])
    with pytest.raises(ConfigError, match="crpix"):
        resample.apply(clean, crpix=[1.0])
    with pytest.raises(ConfigError, match="output_shape"):
        resample.apply(clean, output_shape=[0, 10])
    with pytest.raises(InputError, match="resampled image would be"):
        resample.apply(clean, crpix=[-500.0, -500.0])


# --- geometry --------------------------------------------------------------------------------------------------------


def test_the_series_is_the_exact_map(folder):
    """Over a whole detector, at points that the series was not made from."""
    exposure = dithers.image(folder, shape=(2048, 2048), SUBSTRT1=1, SUBSTRT2=1, noise=False)
    grid = resample.apply(exposure, enable_err=False)
    found = pixel_map(exposure.wcs, grid.wcs, (2048, 2048))
    y, x = np.random.default_rng(2).integers(0, 2048, (2, 5000))
    exact = np.transpose(grid.wcs.invert(*exposure.wcs(x.astype(float), y.astype(float)), with_bounding_box=False))
    assert np.abs(found[y, x] - exact).max() < TOLERANCE


class Kinked:
    """A map that no series can follow."""

    bounding_box = ((4.5, 180.5), (-0.5, 149.5))

    def __call__(self, x, y, with_bounding_box=True):
        return x + 0.01 * np.abs(x - 77.3), y + 0.5

    def invert(self, x, y, with_bounding_box=True):
        return x, y


def test_a_map_with_a_kink_is_evaluated_everywhere():
    found = pixel_map(Kinked(), Kinked(), (160, 170))
    y, x = np.indices((160, 170), dtype=float)
    inside = (x > 4.5) & (y < 149.5)
    np.testing.assert_array_equal(found[inside], np.stack(Kinked()(x, y), axis=-1)[inside])
    assert np.isnan(found[~inside]).all()


def test_coarse_maps(clean):
    grid = resample.apply(clean, enable_err=False).wcs
    exact = pixel_map(clean[0].wcs, grid, dithers.SHAPE)
    errors = [np.abs(pixel_map(clean[0].wcs, grid, dithers.SHAPE, step, order) - exact).max() for step, order in ((30, 1), (5, 1), (10, 3))]
    assert errors[0] > errors[1] > errors[2]
    assert errors[1] < 1e-3 and errors[2] < 1e-6


def test_maps_are_the_same_bytes_for_any_number_of_threads(clean):
    grid = resample.apply(clean, enable_err=False).wcs
    threads = numba.get_num_threads()
    try:
        maps = []
        for count in (1, threads):
            numba.set_num_threads(count)
            maps.append(pixel_map(clean[0].wcs, grid, dithers.SHAPE).tobytes())
    finally:
        numba.set_num_threads(threads)
    assert maps[0] == maps[1]


def test_area_of_pixels():
    """A tangent plane: 1 + O(field^2) of the nominal area."""
    scale = 0.1 / 3600
    plane = Shift(-49.5) & Shift(-49.5) | Scale(scale) & Scale(scale) | Pix2Sky_TAN() | RotateNative2Celestial(10.0, 85.0, 180.0)
    area = output_wcs.mean_pixel_area(gwcs.WCS([("detector", plane), ("world", None)]), (100, 100))
    assert area == pytest.approx(np.radians(scale) ** 2, rel=1e-8)


def test_middle_and_polygons_across_zero_hours():
    region = "POLYGON ICRS  359.9 -1 0.1 -1 0.1 1 359.9 1"
    (polygon,) = output_wcs.sky_polygons(region)
    ra, dec = output_wcs.middle(polygon)
    assert min(ra, 360 - ra) < 1e-9 and dec == pytest.approx(0, abs=1e-9)
    assert len(output_wcs.sky_polygons(region + "  " + region)) == 2


def test_region_of_separate_images(folder):
    """Two fields that do not touch are two polygons; two that overlap are one, as large as both less what they share."""
    apart = [dithers.image(folder, number, (6.0 * number, 0, 0), noise=False) for number in range(2)]
    result = resample.apply(apart, enable_err=False)
    polygons = output_wcs.sky_polygons(result.header["S_REGION"])
    areas = [_shoelace(*result.wcs.invert(*polygon.T, with_bounding_box=False)) for polygon in polygons]
    np.testing.assert_allclose(areas, 2 * [np.prod(dithers.SHAPE)], rtol=0.02)
    near = [dithers.image(folder, number, (1.0 * number, 0, 0), noise=False) for number in range(2)]
    result = resample.apply(near, enable_err=False)
    (polygon,) = output_wcs.sky_polygons(result.header["S_REGION"])
    covered = np.mean(result.pixels[0].extra["WHT"] > 0) * result.sci.size
    assert _shoelace(*result.wcs.invert(*polygon.T, with_bounding_box=False)) == pytest.approx(covered, rel=0.03)


def _shoelace(x, y):
    return abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2


def _covered(polygons, points):
    """Whether points lie in one of the polygons, by the sum of the angles that the vertices are seen under."""
    found = np.zeros(len(points), bool)
    for polygon in polygons:
        to = polygon[None] - points[:, None]
        after = np.roll(to, -1, axis=1)
        angle = np.arctan2(to[..., 0] * after[..., 1] - to[..., 1] * after[..., 0], np.sum(to * after, axis=2))
        found |= np.abs(angle.sum(axis=1)) > np.pi
    return found


@pytest.mark.parametrize("seed", range(6))
def test_union_of_polygons(seed):
    """Random quadrilaterals, with copies and neighbours that share an edge or a corner: the same points are inside, or in a hole."""
    random = np.random.default_rng(seed)
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * 4.0
    polygons = []
    for _ in range(12):
        turn = random.uniform(0, 6) if seed % 2 else 0.0
        spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        polygons.append(square @ spin + (random.integers(0, 5, 2) * 2 if seed < 4 else random.uniform(0, 16, 2)))
    polygons += [polygons[0], polygons[1][::-1], polygons[2] + 1e-9]
    rings = union(polygons)
    points = random.uniform(-6, 22, (4000, 2))
    before, after = _covered(polygons, points), _covered(rings, points)
    assert np.all(after[before])
    assert np.mean(after & ~before) < 0.03  # holes
    assert 50 < before.sum() < 3950
    everything = union([polygon for polygon in polygons + [np.array([[-9, -9], [30, -9], [30, 30], [-9, 30.0]])]])
    assert len(everything) == 1 and np.array_equal(np.sort(everything[0], axis=0), [[-9, -9], [-9, -9], [30, 30], [30, 30]])


def test_clipped_polygons():
    triangle = np.array([[-1.0, 0], [3, 0], [1, 4]])
    assert area(clipped(triangle, (0, -1), (2, 1))) == pytest.approx(2.0)
    assert len(clipped(triangle, (5, 5), (6, 6))) == 0
    np.testing.assert_array_equal(clipped(triangle, (-9, -9), (9, 9)), triangle)
    assert union([]) == []


def test_region_of_many(clean):
    """A hundred images take no longer than the images themselves."""
    regions = [clean[number % 3].header["S_REGION"] for number in range(99)]
    grid = resample.apply(clean, enable_err=False)
    assert output_wcs.joint_region(regions, grid.wcs) == grid.header["S_REGION"]


def _compound(result):
    """The same plane with a little curvature, as a chain of models."""
    header = result.header
    turn = result.wcs.forward_transform
    from astropy.modeling.models import AffineTransformation2D

    return (
        Shift(-(header["CRPIX1"] - 1)) & Shift(-(header["CRPIX2"] - 1))
        | AffineTransformation2D(matrix=np.reshape(turn.pc, (2, 2)))
        | Scale(header["CDELT1"]) & Scale(header["CDELT2"])
        | Pix2Sky_TAN()
        | RotateNative2Celestial(header["CRVAL1"], header["CRVAL2"], 180.0)
    )


@pytest.fixture(scope="module")
def custom(clean, folder):
    """Files with a grid: one of FITS's own projections with a shape, and a chain of models with a scale."""
    result = resample.apply(clean, pixel_scale_ratio=0.8)
    plain = copy.deepcopy(result.wcs)
    chain = gwcs.WCS([gwcs.Step(plain.input_frame, _compound(result)), gwcs.Step(plain.output_frame, None)])
    chain.bounding_box = plain.bounding_box.bounding_box(order="F")
    asdf.AsdfFile({"wcs": plain}).write_to(folder / "plain.asdf")
    asdf.AsdfFile({"wcs": chain, "pixel_scale": result.header["CDELT1"] * 3600}).write_to(folder / "chain.asdf")
    asdf.AsdfFile({"nothing": 1}).write_to(folder / "nothing.asdf")
    return {"plain": folder / "plain.asdf", "chain": folder / "chain.asdf", "nothing": folder / "nothing.asdf", "like": result}


@pytest.mark.parametrize("kind", ["plain", "chain"])
def test_a_grid_of_ones_own(clean, custom, kind):
    result = resample.apply(clean, output_wcs=str(custom[kind]))
    np.testing.assert_allclose(result.sci, custom["like"].sci, rtol=1e-5)
    ra, dec = result.wcs(100.0, 50.0)
    by_keywords = WCS(stored.hdus(result, "made_i2d.fits")["SCI"].header)
    np.testing.assert_allclose(by_keywords.all_world2pix(ra, dec, 0), (100, 50), atol=1e-5)


def test_a_file_without_a_grid(clean, custom):
    with pytest.raises(ConfigError, match="nothing.asdf"):
        resample.apply(clean, output_wcs=str(custom["nothing"]))


# --- kernels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("constant", [None, 3.5])
def test_variance_kernels(constant):
    random = np.random.default_rng(3)
    errors = random.uniform(0.1, 2, (4, 20, 30)).astype("f4")
    noises = random.uniform(0.1, 2, (4, 20, 30)).astype("f4")
    errors[random.random(errors.shape) < 0.3] = np.nan
    noises[random.random(errors.shape) < 0.1] = np.nan
    noises[random.random(errors.shape) < 0.1] = 0
    total, weights = np.full((20, 30), np.nan, "f4"), np.zeros((20, 30), "f4")
    for error, noise in zip(errors, noises, strict=True):
        add_variance(error, noise if constant is None else np.empty((0, 0), "f4"), constant or 1.0, total, weights)
    variance_of_mean(total, weights, 0.25)

    with np.errstate(divide="ignore", invalid="ignore"):
        w = 1 / noises.astype(float) ** 2 if constant is None else np.full(errors.shape, constant)
        w = np.where(np.isfinite(w) & np.isfinite(errors), w, 0)
        expected = 0.25 * np.nansum(w**2 * errors.astype(float) ** 2, axis=0) / w.sum(axis=0) ** 2
    np.testing.assert_allclose(total, expected, rtol=1e-5)
    assert np.isnan(total).any()


def test_error_kernel():
    planes = np.random.default_rng(4).uniform(0, 1, (3, 20, 30)).astype("f4")
    planes[np.random.default_rng(5).random(planes.shape) < 0.5] = np.nan
    expected = np.where(np.isnan(planes).all(axis=0), np.nan, np.sqrt(np.nansum(planes, axis=0)))
    np.testing.assert_allclose(error_of_sum(*planes), expected, rtol=1e-6)


# --- the peer --------------------------------------------------------------------------------------------------------

CASES = {
    "default": {},
    "smaller": {"pixel_scale_ratio": 0.7, "pixfrac": 0.8},
    "placed": {"pixel_scale": 0.04, "rotation": 25.0, "crpix": [80.0, 70.0], "crval": [245.9819, 28.3841], "output_shape": [150, 140]},
    "point": {"kernel": "point", "weight_type": "exptime"},
    "turbo": {"kernel": "turbo", "fillval": "-1", "report_var": False},
    "gaussian": {"kernel": "gaussian", "pixel_scale_ratio": 1.3},
    "lanczos": {"kernel": "lanczos3", "enable_ctx": False},
    "flags": {"propagate_dq": True, "enable_err": False},
    "coarse": {"pixmap_stepsize": 12.0},
    "cubic": {"pixmap_stepsize": 7.0, "pixmap_order": 3},
    "shape": {"output_shape": [120, 110]},
    "plain": {"output_wcs": "plain"},
    "chain": {"output_wcs": "chain"},
    "single": {"single": True},
    "one": {},
}
PEER = """
import json, os
os.environ.update(CRDS_PATH=str(folder), CRDS_SERVER_URL="https://127.0.0.1:9", STPIPE_DISABLE_CRDS_STEPPARS="true")
from jwst.resample import ResampleStep
from stdatamodels.jwst import datamodels

planes = {"sci": "data", "err": "err", "dq": "dq", "var_poisson": "var_poisson", "var_rnoise": "var_rnoise", "var_flat": "var_flat"}
planes |= {"CON": "con", "WHT": "wht"}
files = [str(f) for f in files]
def keep(case, model, name):
    model.save(str(folder) + "/" + name + "_i2d.fits")
    for ours, theirs in planes.items():
        if model.hasattr(theirs) and getattr(model, theirs) is not None:
            out[name + " " + ours] = np.array(getattr(model, theirs))
for case, options in json.loads(str(cases)).items():
    given = datamodels.open(files[0]) if case == "one" else files
    result = ResampleStep.call(given, **options)
    if case == "single":
        with result:
            for number, model in enumerate(result):
                keep(case, model, f"{case}{number}")
                result.shelve(model, number, modify=False)
    else:
        keep(case, result, case)
"""


@pytest.fixture(scope="module")
def theirs(noisy, custom, tmp_path_factory):
    """What the peer makes of the same files: arrays by case and plane, and the folder with its products."""
    import json

    folder = tmp_path_factory.mktemp("peer")
    files = [stored.write(exposure, folder / exposure.header.name) for exposure in noisy]
    cases = {case: {**options, **_path(options, custom)} for case, options in CASES.items()}
    return peer_python(PEER, folder=str(folder), files=[str(f) for f in files], cases=json.dumps(cases)), folder, files


def _path(options, custom):
    return {"output_wcs": str(custom[options["output_wcs"]])} if "output_wcs" in options else {}


@needs_peer
@pytest.mark.parity
@pytest.mark.parametrize("case", CASES)
def test_as_the_peer(theirs, custom, case):
    found, folder, files = theirs
    exposures = [stored.read(path) for path in files]
    options = {"error_of": "area", **CASES[case], **_path(CASES[case], custom)}
    result = resample.apply(exposures[0] if case == "one" else exposures, **options)
    for number, ours in enumerate(result if case == "single" else [result]):
        name = f"{case}{number}" if case == "single" else case
        planes = {**dict(ours.pixels[0].planes()), **ours.pixels[0].extra}
        assert set(planes) == {key.split()[1] for key in found if key.split()[0] == name}
        # where an image only grazes a pixel, 1e-9 of a pixel decides on the tiny weight, and with it on the value
        weight = found[f"{name} WHT"]
        good = weight > 1e-2 * np.median(weight[weight > 0])
        for plane, array in planes.items():
            # the peer's mean pixel area is that of a polygon of few points: 2e-6 from ours of many
            rough = plane in MAIN[1:] and (case in ("placed", "plain"))
            # the drizzle looks a lanczos kernel up in a table, whose next entry may be the nearer one 1e-9 of a pixel away
            most = 0.99 if case == "lanczos" else 1.0
            _same(plane, array, found[f"{name} {plane}"], good, 5e-6 if rough else 2e-7, most)
        with fits.open(folder / f"{name}_i2d.fits") as product:
            _same_keywords(ours, product, case)


def _same(plane, ours, theirs, good, median, most):
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
    if ours.dtype.kind != "f":
        np.testing.assert_array_equal(ours, theirs, err_msg=plane)
        return
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs), err_msg=plane)
    mine, theirs = ours[good & np.isfinite(theirs)].astype(float), theirs[good & np.isfinite(theirs)]
    difference = np.abs(mine - theirs) / np.maximum(np.abs(theirs), 1e-30)
    assert np.median(difference) < median, plane
    assert np.quantile(difference, most) < 1e-5, plane


def _same_keywords(ours, product, case):
    made = stored.hdus(ours, "x_i2d.fits")
    mine, theirs = WCS(made["SCI"].header), WCS(product["SCI"].header)
    x, y = np.meshgrid([0, 80, 160], [0, 80, 160])
    fitted = case == "chain"
    np.testing.assert_allclose(mine.all_world2pix(*theirs.all_pix2world(x, y, 0), 0), (x, y), atol=1e-4 if fitted else 1e-6)
    other = {"DATE", "FILENAME", "CAL_VER", "CAL_VCS", "S_RESAMP", "COMMENT", "HISTORY", "", "S_REGION", "PXSCLRT", "NDRIZ", "PROVFILE"}
    if fitted:  # about the middle of the image; the peer fits about the reference pixel that the first input has
        other |= {"CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2", "CD1_1", "CD1_2", "CD2_1", "CD2_2"}
    for extension in (0, "SCI"):
        mine, theirs = made[extension].header, product[extension].header
        assert set(mine) - other == set(theirs) - other
        for keyword in set(mine) - other:
            if isinstance(mine[keyword], float):
                assert mine[keyword] == pytest.approx(theirs[keyword], rel=1e-7, abs=1e-9), keyword
            else:
                assert mine[keyword] == theirs[keyword], keyword
    assert made[0].header["PXSCLRT"] == pytest.approx(product[0].header["PXSCLRT"], rel=5e-6)
    _same_table(made, product)
    if case == "single":  # the peer counts on from one group to the next, and gives each the region of them all
        return
    assert made[0].header["NDRIZ"] == product[0].header["NDRIZ"]
    polygons = (np.vstack(output_wcs.sky_polygons(file["SCI"].header["S_REGION"])) for file in (made, product))
    mine, theirs = (polygon[np.argsort(polygon[:, 0])] for polygon in polygons)
    np.testing.assert_allclose(mine, theirs, atol=3e-9)


def _same_table(made, product):
    assert ("HDRTAB" in made) == ("HDRTAB" in product)
    if "HDRTAB" not in made:
        return
    mine, theirs = made["HDRTAB"], product["HDRTAB"]
    assert mine.columns.names == theirs.columns.names
    assert mine.columns.formats == theirs.columns.formats
    for name in mine.columns.names:
        np.testing.assert_array_equal(mine.data[name], theirs.data[name], err_msg=name)
