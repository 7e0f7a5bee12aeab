"""coron3: bad integrations do no harm, planets come out with their flux at their place, and as the peer has it in double precision."""

import copy
import json

import numpy as np
import pytest
from astropy.io import fits
from scipy.stats import norm, t

import coronagraphs
import jwcal
import make
import sky
from jwcal.arithmetic.coronagraph import contrast, star
from jwcal.arithmetic.coronagraph.cubes import as_cube, bits_of, filled
from jwcal.arithmetic.coronagraph.registration import Reference, moved
from jwcal.arithmetic.coronagraph.subtraction import Subtraction, zones
from jwcal.kernels.coronagraph.fill_bad import fill_bad
from jwcal.kernels.photometry.aperture_sums import aperture_sums
from jwcal.model.exposure import Members
from jwcal.model.references import References
from jwcal.products import catalogues, stored
from jwcal.simulate import calibrated, instruments, occulters
from jwcal.simulate.coronagraph import Coronagraph, setup_of
from jwcal.steps import align_refs, bkg_subtract, klip, outlier_detection, resample, stack_refs
from jwcal.vocabulary import dq
from jwcal.vocabulary.errors import ConfigError, InputError, ReferenceError, Skip
from peer import needs_peer, peer_pipeline, peer_python

REAL = sky.SHARED / "real/references/psfmask"
PLANET = 1.3, 60.0, 3e-5  # arcsec, degrees, of the star


@pytest.fixture(scope="module")
def empty():
    """Two rolls of a star without planets, and two exposures of a reference star."""
    return coronagraphs.program(nints=2, reference_nints=2)


@pytest.fixture
def two_rolls(empty):
    """The same, to be changed."""
    return copy.deepcopy(empty)


def images(shape=(50, 60), count=4, seed=3):
    """Speckles, each moved by a part of a pixel and of another brightness: a sum of smooth bumps."""
    random = np.random.default_rng(seed)
    y, x = np.indices(shape, float)
    places = random.uniform(10, 40, (30, 2)), random.uniform(0.5, 3, 30)
    moves = random.uniform(-0.7, 0.7, (count, 2))
    scales = random.uniform(0.7, 1.4, count)

    def painted(dx, dy):
        return sum(h * np.exp(-((x - px - dx) ** 2 + (y - py - dy) ** 2) / 4.5) for (px, py), h in zip(*places, strict=True))

    return painted(0, 0), np.array([s * painted(*m) for s, m in zip(scales, moves, strict=True)]), moves, scales


def sky_place(exposure, x, y, target):
    """Separation and position angle of a pixel from the target, arcsec and degrees."""
    ra, dec = exposure.wcs(x, y)
    east, north = (ra - target[0]) * 3600 * np.cos(np.radians(target[1])), (dec - target[1]) * 3600
    return float(np.hypot(east, north)), float(np.degrees(np.arctan2(east, north)) % 360)


def brightest(image, x, y, reach=6, width=1.5):
    """Centre of the brightest spot near a pixel: that of a Gaussian window that is moved onto it (SExtractor's XWIN)."""
    row, column = int(y) - reach, int(x) - reach
    part = np.nan_to_num(image[row : row + 2 * reach + 1, column : column + 2 * reach + 1]).astype(float)
    rows, columns = np.indices(part.shape)
    at = np.array(np.unravel_index(part.argmax(), part.shape), float)[::-1]
    for _ in range(50):
        weight = part * np.exp(-((columns - at[0]) ** 2 + (rows - at[1]) ** 2) / (2 * width**2))
        at += 2 * np.array([(weight * (columns - at[0])).sum(), (weight * (rows - at[1])).sum()]) / weight.sum()
    return column + at[0], row + at[1]


# --- bad pixels ------------------------------------------------------------------------------------------------------


def test_bad_pixels_get_the_median_of_the_good_ones_around():
    random = np.random.default_rng(1)
    image, bad = random.random((20, 24)).astype("f4"), random.random((20, 24)) < 0.1
    image[bad] = np.nan
    out = fill_bad(image, bad, 3)
    for row, column in np.argwhere(bad):
        box = image[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        assert out[row, column] == np.float32(np.nanmedian(box))
    assert np.array_equal(out[~bad], image[~bad])


def test_the_box_grows_over_a_block_of_bad_pixels():
    """Users' trouble 21: a block of 9 x 9, and one that is bad only by its flags."""
    values, flags = np.full((30, 30), 5, "f4"), np.zeros((30, 30), "u4")
    values[10:19, 10:19] = np.nan
    values[2, 2], flags[2, 2] = 1e6, dq.DO_NOT_USE
    assert np.array_equal(filled(values, flags, dq.DO_NOT_USE, 3), np.full((30, 30), 5))
    assert filled(values, flags, 0, 3)[2, 2] == 1e6
    assert filled(np.full((4, 4), np.nan, "f4"), None, 1, 3) is None


def test_what_sees_no_sky_is_zero():
    values, flags = np.full((8, 8), 5, "f4"), np.zeros((8, 8), "u4")
    values[:, :2] = np.nan
    flags[:, :2] = dq.NON_SCIENCE | dq.DO_NOT_USE
    out = filled(values, flags, dq.DO_NOT_USE, 3)
    assert (out[:, :2] == 0).all() and (out[:, 2:] == 5).all()
    flags[:] = dq.NON_SCIENCE | dq.DO_NOT_USE
    assert filled(values, flags, dq.DO_NOT_USE, 3) is None


def test_names_of_bits():
    assert bits_of("DO_NOT_USE") == 1 and bits_of("1,16") == 17 and bits_of("None") == 0
    with pytest.raises(ConfigError):
        bits_of("BROKEN")


# --- registration ----------------------------------------------------------------------------------------------------


def test_motions_are_found_through_a_mask():
    first, others, moves, scales = images()
    mask = np.ones(first.shape)
    mask[20:26, 20:26] = 0
    broken = others.copy()
    broken[:, 20:26, 20:26] += 1e4  # behind the mask
    reference = Reference(first, mask)
    for image, (dx, dy), scale in zip(broken, moves, scales, strict=True):
        motion = reference.motion_of(image)
        assert (motion.dx, motion.dy, motion.scale) == pytest.approx((dx, dy, scale), abs=2e-5)
        assert motion.left < 1e-4


def test_a_start_some_pixels_off():
    first, *_ = images()
    image = 2 * moved(first, 2.6, -1.9)
    motion = Reference(first, np.ones(first.shape)).motion_of(image)
    assert (motion.dx, motion.dy, motion.scale) == pytest.approx((2.6, -1.9, 2), abs=1e-4)


@pytest.mark.parametrize("shape", [(32, 40), (33, 41), (32, 41)])
def test_moving_there_and_back(shape):
    y, x = np.indices(shape)
    image = np.exp(-((x - 17) ** 2 + (y - 15) ** 2) / 12)
    there = moved(image, 1.3, -0.6)
    assert there == pytest.approx(np.exp(-((x - 18.3) ** 2 + (y - 14.4) ** 2) / 12), abs=2e-5)
    assert moved(there, -1.3, 0.6) == pytest.approx(image, abs=1e-9)


def test_registration_of_nothing():
    reference = Reference(np.zeros((16, 16)), np.ones((16, 16)))
    assert np.isfinite([reference.motion_of(np.zeros((16, 16))).dx, reference.motion_of(np.ones((16, 16))).dy]).all()


# --- subtraction -----------------------------------------------------------------------------------------------------


def by_hand(target, library, modes):
    """KLIP in the words of its paper, in numpy."""
    refs = library.reshape(len(library), -1).astype(float)
    refs -= refs.mean(axis=1, keepdims=True)
    values, vectors = np.linalg.eigh(refs @ refs.T)
    basis = vectors[:, ::-1].T @ refs
    basis = (basis / np.linalg.norm(basis, axis=1)[:, None])[:modes]
    flat = target.ravel().astype(float) - target.mean(dtype=float)
    left = refs - refs @ basis.T @ basis
    return (flat - basis.T @ (basis @ flat)).reshape(target.shape), np.std(left, axis=0).reshape(target.shape)


def library(count=6, shape=(20, 25), seed=2):
    random = np.random.default_rng(seed)
    modes = random.normal(size=(3, *shape))
    mix = random.normal(size=(count, 3))
    return (np.tensordot(mix, modes, 1) + 0.1 * random.normal(size=(count, *shape)) + 4).astype("f4")


@pytest.mark.parametrize("modes", [0, 1, 3, 5, 50])
def test_klip_is_that_of_the_paper(modes):
    refs, images = library(), library(2, seed=9)
    subtraction = Subtraction(refs, zones(images.shape[1:], (12, 10), modes))
    out = images.copy()
    subtraction.subtract(out)
    for before, after in zip(images, out, strict=True):
        expected, error = by_hand(before, refs, modes)
        assert after == pytest.approx(expected, abs=1e-5)
    assert subtraction.counts == [min(modes, 6)]
    if modes < 6:
        assert subtraction.error() == pytest.approx(error, abs=1e-5)


def test_error_when_all_principal_images_are_used_is_that_of_each_without_itself():
    """jwst's is rounding noise then."""
    refs = library()
    error = Subtraction(refs, zones(refs.shape[1:], (12, 10), 50)).error()
    left = [by_hand(refs[k], np.delete(refs, k, axis=0), 50)[0] for k in range(len(refs))]
    assert error == pytest.approx(np.std(left, axis=0), rel=1e-4, abs=1e-6)
    assert by_hand(refs[0], refs, 50)[1].max() < 1e-10


def test_equal_references_do_no_harm():
    refs = library(3)
    twice = np.concatenate([refs, refs[:1]])
    image = library(1, seed=5)
    out = [image.copy(), image.copy()]
    for which, array in zip((refs, twice), out, strict=True):
        Subtraction(which, zones(refs.shape[1:], (12, 10), 50)).subtract(array)
    assert out[0] == pytest.approx(out[1], abs=1e-4)


def test_blocks_change_nothing(monkeypatch):
    from jwcal.arithmetic.coronagraph import subtraction

    refs, image = library(), library(1, seed=9)
    out = []
    for size in (subtraction.BLOCK, 8 * 7 * 13):
        monkeypatch.setattr(subtraction, "BLOCK", size)
        array = image.copy()
        Subtraction(refs, zones(refs.shape[1:], (12, 10), 3, width=4.0)).subtract(array)
        out.append(array)
    assert out[0] == pytest.approx(out[1], abs=1e-6)


def test_rings_have_libraries_of_their_own():
    """What is far away has no say; each ring is the paper's in its own pixels, with as many principal images as it may have."""
    refs, image = library(), library(1, seed=9)
    parts = zones(refs.shape[1:], (12, 10), 50, width=5.0, modes=[1, 2])
    subtraction = Subtraction(refs, parts)
    out = image.copy()
    subtraction.subtract(out)
    assert subtraction.counts == [1, 2, 2, 2]
    rows, columns = np.indices(refs.shape[1:])
    ring = np.hypot(columns - 12, rows - 10) // 5 == 1
    expected, _ = by_hand(image[0][ring], refs[:, ring], 2)
    assert out[0][ring] == pytest.approx(expected, abs=1e-5)


def test_far_junk_has_no_say():
    """Users' trouble 28: what is beyond fit_outer changes nothing within; a planet of no flux changes nothing at all."""
    refs, image = library(), library(1, seed=9)
    parts = zones(refs.shape[1:], (12, 10), 2, outer=7.0)
    plain, junk = image.copy(), image.copy()
    rows, columns = np.indices(refs.shape[1:])
    far = np.hypot(columns - 12, rows - 10) > 7
    junk[0][far] += 1e4
    for array in (plain, junk):
        Subtraction(refs, parts).subtract(array)
    assert np.array_equal(plain[0][~far], junk[0][~far])
    again = image + np.float32(0)
    Subtraction(refs, parts).subtract(again)
    assert np.array_equal(again, plain)


def test_what_is_left_of_a_planet_is_the_difference_that_it_makes():
    refs, image = library(), library(1, seed=9)
    pixels = np.array([105, 106, 107, 130, 131, 132])
    values = np.array([1, 2, 1, 2, 4, 2.0])
    for parts in (zones(refs.shape[1:], (12, 10), 3), zones(refs.shape[1:], (12, 10), 3, inner=1, outer=8, width=3.0)):
        subtraction = Subtraction(refs, parts)
        without, having = image.copy(), image.copy()
        having.reshape(-1)[pixels] += values.astype("f4")
        subtraction.subtract(without)
        subtraction.subtract(having)
        assert subtraction.left_of(pixels, values) == pytest.approx((having - without).reshape(-1)[pixels], abs=2e-5)


# --- contrast --------------------------------------------------------------------------------------------------------


def plain_view(sigma=1.0, size=101, seed=4, planet=0.0):
    random = np.random.default_rng(seed)
    image = (sigma * random.normal(size=(size, size))).astype("f4")
    refs = np.ones((1, size, size), "f4")
    return contrast.View(image, 1, (50.0, 50.0), np.eye(2) / 0.06, Subtraction(refs, zones(refs.shape[1:], (50, 50), 0)))


def header(**keywords):
    exposure = make.image_exposure(np.zeros((8, 8)), FILTER="F335M", **keywords)
    exposure.header.sci["BUNIT"], exposure.header.sci["PIXAR_SR"] = "MJy/sr", 1e-13
    return exposure.header


def test_limits_of_white_noise():
    """The noise of an aperture's sum is known; few apertures cost what Student's distribution says."""
    table = contrast.curve([plain_view(seed=s) for s in (1, 2, 3, 4)], header(), fwhm=4.0, star_flux=2.0)
    area = np.pi * 2**2
    expected = np.sqrt(area / 4) * 1e-13 * 1e6  # four exposures
    wide = table["apertures"] > 20
    ratios = table["noise"][wide].value / expected
    assert ratios.mean() == pytest.approx(0.94, abs=0.08)  # pixels that are cut by the edge count with the square of their part
    number = table["apertures"][0]
    assert number == 6
    assert table["threshold"][0] == pytest.approx(t.isf(norm.sf(5), number - 2) * np.sqrt(1 + 1 / (number - 1)))
    assert table["threshold"][-1] == pytest.approx(5, abs=0.7) and (np.diff(table["threshold"]) < 0).all()
    share = table["mask_throughput"] * table["klip_throughput"] * table["encircled"]
    assert table["flux_limit"].value == pytest.approx(table["threshold"] * table["noise"].value / share)
    assert table["contrast"] == pytest.approx(table["flux_limit"].value / 2)
    assert table["encircled"][5] == pytest.approx(1 - 0.5, abs=0.02)  # of a Gaussian, within half its FWHM
    assert str(table["flux_limit"].unit) == "Jy"


def test_width_by_the_filters_name():
    assert contrast.width(header(), 0.063) == pytest.approx(1.03 * 3.35e-6 / 6.5 * 206264.806 / 0.063)
    with pytest.raises(InputError, match="tells no wavelength"):
        bad = header()
        bad["FILTER"] = "OPAQUE"
        contrast.width(bad, 0.063)


def test_directions_on_the_detector(empty):
    exposure = empty[1][0].exposure
    place = star.planned(exposure)
    east, north = star.directions(exposure.wcs, place)
    ra, dec = exposure.wcs(*place)
    x, y = exposure.wcs.invert(ra + 0.7 / 3600 / np.cos(np.radians(dec)), dec - 0.4 / 3600)
    assert (x, y) == pytest.approx(place + 0.7 * east - 0.4 * north, abs=0.01)


# --- the steps -------------------------------------------------------------------------------------------------------


def test_integrations_are_compared_with_their_median(two_rolls):
    exposure = two_rolls[2][0].exposure
    exposure = copy.deepcopy(exposure)
    exposure.pixels[0].sci = np.concatenate([exposure.sci] * 2)
    for name in ("err", "dq", "var_poisson", "var_rnoise", "var_flat"):
        setattr(exposure.pixels[0], name, np.concatenate([getattr(exposure, name)] * 2))
    row, column = np.argwhere(np.isfinite(exposure.sci).all(axis=0))[300]
    exposure.sci[1, row, column] += 50 * exposure.err[1, row, column]
    outlier_detection.apply(exposure, None, "coron")
    assert exposure.dq[1, row, column] & dq.OUTLIER and np.isnan(exposure.sci[1, row, column])
    assert not (exposure.dq[[0, 2, 3], row, column] & dq.OUTLIER).any()


def test_outliers_of_science_and_references_outlive_the_closing(two_rolls, tmp_path):
    files = [(stored.write(one.exposure, tmp_path / one.exposure.name), kind) for one, kind in two_rolls]
    all_of_them = Members(files, stored.read, scratch=tmp_path)
    outlier_detection.apply(all_of_them, None, "coron", snr="0.1 0.1")
    for kind in ("science", "psf"):
        assert all((exposure.dq & dq.OUTLIER).any() for exposure in all_of_them.each(kind))


def test_stack_has_all_integrations_in_order(two_rolls):
    all_of_them = coronagraphs.members(two_rolls)
    same, stack = stack_refs.apply(all_of_them)
    assert same is all_of_them and stack.suffix == "psfstack"
    for plane in ("sci", "err", "dq"):
        joined = np.concatenate([getattr(one.exposure, plane) for one, kind in two_rolls if kind == "psf"])
        assert np.array_equal(getattr(stack, plane), joined, equal_nan=plane != "dq")


def test_a_large_stack_lies_in_a_file(two_rolls, monkeypatch, tmp_path):
    from jwcal.model import exposure

    two_rolls[2][0].exposure.sci[0] = np.nan  # so that those that are usable are put together anew
    whole, table = coronagraphs.subtract(tmp_path, copy.deepcopy(two_rolls))
    monkeypatch.setattr(exposure, "LARGE", 1000)
    filed, same = coronagraphs.subtract(tmp_path, two_rolls)
    assert np.array_equal(table["klip_throughput"], same["klip_throughput"])
    assert isinstance(filed.prepared["stack_refs"].sci, np.memmap) and not isinstance(whole.prepared["stack_refs"].sci, np.memmap)
    for a, b in zip(whole.each(), filed.each(), strict=True):
        assert np.array_equal(a.sci, b.sci, equal_nan=True) and np.array_equal(a.err, b.err)
    stored.write(filed.prepared["stack_refs"], tmp_path / "x_psfstack.fits")
    assert np.array_equal(fits.getdata(tmp_path / "x_psfstack.fits", "SCI"), whole.prepared["stack_refs"].sci, equal_nan=True)


def test_references_are_moved_onto_the_star(tmp_path):
    """The dithers of the reference star are known; what is left of the speckles is what their drift leaves."""
    made = coronagraphs.program(Coronagraph(jitter=0.0, drift=1.0), nints=1, reference_nints=1, rolls=(0.0,), references=3, noise=False)
    all_of_them, refs = coronagraphs.members(made), coronagraphs.references(tmp_path, made)
    stack_refs.apply(all_of_them)
    _, aligned = align_refs.apply(all_of_them, refs)
    x, y = (np.array([one.truth.sources[axis][0] for one, _ in made]) for axis in "xy")
    found = aligned.tables["MOTIONS"]
    assert found["dx"] == pytest.approx(x[1:] - x[0], abs=0.05) and found["dy"] == pytest.approx(y[1:] - y[0], abs=0.05)
    image = filled(made[0][0].exposure.sci[0], made[0][0].exposure.dq[0], 1, 3)
    before = [
        np.std(filled(s, q, 1, 3) - image)
        for s, q in zip(all_of_them.prepared["stack_refs"].sci, all_of_them.prepared["stack_refs"].dq, strict=True)
    ]
    after = [np.std(plane - image) for plane in aligned.sci]
    assert np.mean(after) < 0.7 * np.mean(before)  # behind the mask a star that is elsewhere looks otherwise too
    assert aligned.suffix == "psfalign" and aligned.product == "jw01234001001_02101_00001_nrcalong" and np.isfinite(aligned.err).all()


def test_rolls_are_put_together_about_the_star(tmp_path):
    """Users' trouble 22: the header misses the star by a third of a pixel in one roll; the planet is seen once, where it is."""
    offsets = [(0.0, 0.0), (0.02, -0.012)]
    made = coronagraphs.program(
        Coronagraph(planets=(PLANET,)), nints=2, reference_nints=3, references=3, rolls=(0.0, 30.0), offsets=offsets, noise=False
    )
    all_of_them, _ = coronagraphs.subtract(tmp_path, made, contrast=False)
    x, y = all_of_them.prepared["align_refs"].stars[1]
    truth = made[1][0].truth.sources
    assert np.hypot(x - truth["x"][0], y - truth["y"][0]) < 0.05
    mosaic = coronagraphs.put_together(all_of_them, rotation=0.0)
    target = made[0][0].plan.target
    angle = np.radians(PLANET[1])
    ra = target[0] + PLANET[0] * np.sin(angle) / 3600 / np.cos(np.radians(target[1]))
    expected = mosaic.wcs.invert(ra, target[1] + PLANET[0] * np.cos(angle) / 3600)
    found = brightest(mosaic.sci, *expected)
    assert np.hypot(found[0] - expected[0], found[1] - expected[1]) < 0.1
    assert sky_place(mosaic, *found, target) == (pytest.approx(PLANET[0], abs=0.01), pytest.approx(PLANET[1], abs=0.4))
    rows, columns = np.indices(mosaic.sci.shape)
    others = np.hypot(columns - found[0], rows - found[1]) > 6
    assert np.nanmax(mosaic.sci[others]) < 0.5 * np.nanmax(mosaic.sci)
    assert mosaic.header["NDRIZ"] == 2 and len(mosaic.tables["HDRTAB"]) == 2
    assert mosaic.pixels[0].extra["CON"].max() == 0b1111


BAR = setup_of(72, aperture="NRCA5_FULL_MASKLWB_F335M", mask="MASKALWB", name="SUB320ALWB") | {"pupil": "MASKBAR"}
PHASE = {"exp_type": "MIR_4QPM", "filter": "F1065C", "aperture": "MIRIM_MASK1065", "CORONMSK": "4QPM_1065"}
PHASE |= {"detector": "MIRIMAGE", "subarray": instruments.Subarray("MASK1065", 86, 98, 72, 72)}


LYOT = {"exp_type": "MIR_LYOT", "filter": "F2300C", "aperture": "MIRIM_MASKLYOT", "CORONMSK": "LYOT_2300"}
LYOT |= {"detector": "MIRIMAGE", "subarray": instruments.Subarray("MASKLYOT", 97, 839, 96, 96)}


@pytest.mark.parametrize(
    ("mode", "away", "ratio"),  # far from the bar, from the edges of the quadrants, and from the disc's
    [(BAR, 1.4, 5e-5), (PHASE, 2.2, 5e-4), (LYOT, 3.6, 2e-3)],
    ids=["bar", "phase", "disc"],
)
def test_bars_phase_masks_and_discs(tmp_path, mode, away, ratio):
    """The reference pixel is not the middle of the image (users' trouble 22): a planet is where it should be in the sum of two rolls."""
    made = coronagraphs.program(
        Coronagraph(planets=((away, 145.0, ratio),)), rolls=(0.0, 25.0), nints=2, reference_nints=2, references=3, noise=False, **mode
    )
    before = np.nanstd(made[0][0].exposure.sci)
    all_of_them, table = coronagraphs.subtract(tmp_path, made, outliers=False)
    check_planet(coronagraphs.put_together(all_of_them), made, away)
    assert np.nanstd(made[0][0].exposure.sci) < before
    assert np.isfinite(table["flux_limit"][4:].value).all()


def check_planet(mosaic, made, away):
    """The planet at 145 degrees is within 0.1 pixel of its place; returns where."""
    target, angle = made[0][0].plan.target, np.radians(145.0)
    ra = target[0] + away * np.sin(angle) / 3600 / np.cos(np.radians(target[1]))
    expected = mosaic.wcs.invert(ra, target[1] + away * np.cos(angle) / 3600)
    found = brightest(mosaic.sci, *expected, reach=4)
    assert np.hypot(found[0] - expected[0], found[1] - expected[1]) < 0.1
    return expected


def test_dedicated_backgrounds_behind_a_phase_mask(tmp_path):
    """Stray light along an edge of the quadrants, brighter than the planet: the background's integrations take it off each integration."""
    away, ratio = 2.2, 5e-4
    made = coronagraphs.program(
        Coronagraph(planets=((away, 145.0, ratio),)), rolls=(0.0, 25.0), nints=2, reference_nints=2, references=3, noise=False, **PHASE
    )
    clean = copy.deepcopy(made)
    rows, columns = np.indices(made[0][0].exposure.sci.shape[1:])
    x, y = star.planned(made[0][0].exposure)
    glow = 400 * np.exp(-((rows - y) ** 2) / 18) * (1 + 0.5 * np.sin(columns / 7)) + 30
    random, empty = np.random.default_rng(3), {}
    for number in range(2):
        one = copy.deepcopy(made[-1][0].exposure)
        one.sci = (glow + random.normal(0, 0.5, one.sci.shape)).astype(np.float32)
        one.sci[0, 20, 30] += 1e4  # a cosmic ray, clipped among the integrations where there are enough of them
        one.dq[:] = 0
        one.dq[0, 20, 30] = dq.DO_NOT_USE
        one.header.name = f"background{number}_rateints.fits"
        empty[str(number)] = one
    for one, _ in made:
        one.exposure.sci += glow.astype(np.float32)
        one.exposure.members = Members([(name, "background") for name in empty], empty.get)
        bkg_subtract.apply(one.exposure)
    for (one, _), (same, _) in zip(made, clean, strict=True):
        off = one.exposure.sci - same.exposure.sci
        off = off[np.isfinite(off) & (one.exposure.dq == same.exposure.dq)]
        assert abs(off.mean()) < 0.05 and off.std() < 0.5  # what is left is the noise of a mean of four
    fluxes = []
    for which in (made, clean):
        all_of_them, _ = coronagraphs.subtract(tmp_path, which, outliers=False, contrast=False)
        mosaic = coronagraphs.put_together(all_of_them)
        x, y = check_planet(mosaic, which, away)
        image = np.nan_to_num(mosaic.sci)[None].astype("f4")
        fluxes.append(aperture_sums(image, np.zeros_like(image), np.zeros(1), np.array([x]), np.array([y]), 3.0)[0][0])
    assert fluxes[0] == pytest.approx(fluxes[1], rel=0.05)


def test_planets_at_the_limit_come_out_with_their_flux(tmp_path):
    """Planets of 5 sigma at several distances and angles: flux over throughput within 5 %, place within 0.1 pixel."""
    common = {"nints": 2, "reference_nints": 4, "references": 3, "size": 80}
    without = coronagraphs.program(**common)
    plain, table = coronagraphs.subtract(tmp_path, copy.deepcopy(without), outliers=False)
    fwhm = table.meta["fwhm"]
    for away in (0.8, 1.4):
        row = np.argmin(abs(table["separation"].value - away))
        limit = table["flux_limit"][row].value
        planets = tuple((away, angle, limit) for angle in (20.0, 140.0, 260.0))  # of a star of 1 Jy
        having = coronagraphs.program(Coronagraph(planets=planets), **common)
        bare = coronagraphs.program(
            Coronagraph(star=1e-30, planets=tuple((a, p, 1e30 * f) for a, p, f in planets)), **common, noise=False, sky=0.0
        )
        changed, _ = coronagraphs.subtract(tmp_path, having, outliers=False, contrast=False)
        recovered, expected, misses = [], [], []
        for number, (a, b) in enumerate(zip(changed.each(), plain.each(), strict=True)):
            truth = having[number][0].truth
            difference = np.nanmean(a.sci - b.sci, axis=0).astype("f4")
            x, y = (np.asarray(truth.sources[axis])[1:] for axis in "xy")
            alone = bare[number][0].truth.image[0]
            for image, sums in ((difference, recovered), (alone, expected)):
                sums.append(aperture_sums(image[None], np.zeros_like(image[None]), np.zeros(3), x, y, fwhm / 2)[0])
            misses += [np.hypot(*np.subtract(brightest(difference, *p, reach=4), p)) for p in zip(x, y, strict=True)]
        ratio = np.sum(recovered) / np.sum(expected) / table["klip_throughput"][row]
        assert ratio == pytest.approx(1, abs=0.05)
        assert np.median(misses) < 0.1


def test_the_mask_dims_what_is_near_it(tmp_path, empty):
    _, table = coronagraphs.subtract(tmp_path, copy.deepcopy(empty))
    near, far = table["mask_throughput"][2], table["mask_throughput"][10]
    assert near < 0.1 and far > 0.95
    assert table["flux_limit"][2] > 3 * table["flux_limit"][10]
    shell = empty[0][0].exposure.aside("contrast")
    shell.catalogue = table
    catalogues.write(shell, tmp_path / "x_contrast.ecsv")
    assert catalogues.read(tmp_path / "x_contrast.ecsv").meta["coronmsk"] == "MASKA335R"


def test_without_its_psfmask_align_refs_is_left_out(tmp_path, two_rolls):
    """klip goes on with the references as they are."""
    all_of_them = coronagraphs.members(two_rolls)
    stack_refs.apply(all_of_them)
    before = np.nanstd(two_rolls[0][0].exposure.sci)
    _, table = klip.apply(all_of_them, References({}, two_rolls[0][0].exposure.header))
    assert np.nanstd(two_rolls[0][0].exposure.sci) < 0.5 * before
    assert (table.catalogue["mask_throughput"] == 1).all()


# --- bad input -------------------------------------------------------------------------------------------------------


def test_without_a_reference_the_science_goes_on(tmp_path, two_rolls, caplog):
    all_of_them = coronagraphs.members(two_rolls[:2])
    for step in (stack_refs, align_refs, klip):
        with pytest.raises(Skip, match="PSF reference"):
            step.apply(all_of_them, coronagraphs.references(tmp_path, two_rolls))
    assert "has no PSF reference: no star is subtracted" in caplog.text
    assert np.isfinite(coronagraphs.put_together(all_of_them).sci).any()


@pytest.mark.parametrize("keyword", ["FILTER", "CORONMSK", "SUBARRAY", "PUPIL", "DETECTOR"])
def test_a_reference_of_other_optics(two_rolls, keyword):
    two_rolls[3][0].exposure.header[keyword] = "OTHER"
    with pytest.raises(InputError, match=f"its {keyword} is OTHER") as error:
        stack_refs.apply(coronagraphs.members(two_rolls))
    assert error.value.file == two_rolls[3][0].exposure.name and "association" in error.value.do


def test_a_reference_of_other_pixels(two_rolls):
    pixels = two_rolls[3][0].exposure.pixels[0]
    for name, plane in pixels.planes():
        setattr(pixels, name, plane[..., :-1])
    with pytest.raises(InputError, match="63 x 64 pixels, those of the first exposure 64 x 64"):
        stack_refs.apply(coronagraphs.members(two_rolls))


def test_a_science_exposure_of_other_optics(two_rolls):
    two_rolls[1][0].exposure.header["FILTER"] = "F444W"
    with pytest.raises(InputError, match="a science exposure of other optics"):
        stack_refs.apply(coronagraphs.members(two_rolls))


def test_no_science(two_rolls):
    with pytest.raises(InputError, match="no science members"):
        stack_refs.apply(coronagraphs.members(two_rolls[2:]))


def test_a_psfmask_of_other_pixels(tmp_path, two_rolls):
    all_of_them = coronagraphs.members(two_rolls)
    stack_refs.apply(all_of_them)
    with pytest.raises(ReferenceError):
        align_refs.apply(all_of_them, coronagraphs.references(tmp_path, two_rolls, mask=np.ones((20, 20))))
    with pytest.raises(ReferenceError, match="finite weights"):
        align_refs.apply(all_of_them, coronagraphs.references(tmp_path, two_rolls, mask=np.full((64, 64), np.nan)))


@pytest.mark.parametrize("which", ["none", "science", "psf"])
def test_a_star_beside_its_mask_is_said(tmp_path, which, caplog):
    """A missed acquisition, by about an arcsec: which exposure it is, and how far its star is away; all goes on."""
    missed = {"offsets": [(0.0, 0.0), (0.8, 0.5) if which == "science" else (0.0, 0.0)]}
    made = coronagraphs.program(nints=1, reference_nints=2, references=2, **missed)
    if which == "psf":
        made[3] = coronagraphs.program(nints=1, reference_nints=1, references=1, rolls=(0.0,), offsets=[(0.8, 0.5)])[0][0], "psf"
    all_of_them, refs = coronagraphs.members(made), coronagraphs.references(tmp_path, made)
    stack_refs.apply(all_of_them)
    with caplog.at_level("WARNING"):
        align_refs.apply(all_of_them, refs)
    said = [record.getMessage() for record in caplog.records if "outshines" in record.getMessage()]
    assert len(said) == (which != "none")
    if said:
        named = made[1][0].exposure.name if which == "science" else "PSF references, integration 3:"
        assert said[0].startswith(named) and abs(float(said[0].split(" pixels")[0].split()[-1]) - 0.94 / 0.063) < 2


@pytest.mark.parametrize(
    ("mode", "offset", "outside"),
    [
        (BAR, (0.0, 0.0), None),
        (BAR, (0.3, 0.9), True),  # across the bar
        (BAR, (1.0, 0.0), False),  # along it
        (LYOT, (0.0, 0.0), None),
        (LYOT, (1.8, -1.8), True),
        (LYOT, (1.0, 0.3), False),  # behind the disc, but not in its middle
        (PHASE, (0.0, 0.0), None),
        (PHASE, (0.7, 0.7), True),
        (PHASE, (1.2, 0.0), True),  # on an edge between quadrants, where the mask's transmission is 0 but the star is split in two
    ],
    ids=["bar", "across the bar", "along the bar", "disc", "beside the disc", "behind the disc", "phase", "in a quadrant", "on an edge"],
)
def test_a_star_astray_is_said_behind_every_mask(tmp_path, mode, offset, outside, caplog):
    """Bars, discs and phase masks as round ones: a missed acquisition is told, with the distance; a star in its place is not."""
    made = coronagraphs.program(nints=1, reference_nints=1, references=1, rolls=(0.0,), offsets=[offset], **mode)
    all_of_them, refs = coronagraphs.members(made), coronagraphs.references(tmp_path, made)
    stack_refs.apply(all_of_them)
    with caplog.at_level("WARNING"):
        align_refs.apply(all_of_them, refs)
    said = [m for m in (record.getMessage() for record in caplog.records) if "outshines" in m or "the star was not put there" in m]
    assert len(said) == (outside is not None)
    if said:
        scale = occulters.scale(made[0][0].setup)
        away = float(said[0].split(" pixels")[0].split()[-1])
        assert said[0].startswith(made[0][0].exposure.name) and ("outshines" in said[0]) == outside
        at, width = np.hypot(*offset) / scale, occulters.resolution(made[0][0].setup) / scale
        assert abs(away - at) < (2 + 0.5 * width if outside else 2 + width)  # behind a disc the light is seen at its edge


def test_a_spot_beside_the_mask():
    """By hand: one alone counts, one of several like it does not, nor a hot pixel; the mask may be over it; it may be saturated."""
    image, transmission = np.random.default_rng(1).normal(0, 1, (60, 60)), np.ones((60, 60))
    there, resolution = (30, 30), 3.0
    assert star.astray(image, there, transmission, resolution) is None
    hot = image.copy()
    hot[46, 31] += 1e5
    assert star.astray(hot, there, transmission, resolution) is None
    image[45:48, 30:33] += 100
    assert star.astray(image, there, transmission, resolution) == (pytest.approx(16, abs=1), True)
    assert star.astray(image, (30, 42), transmission, resolution) is None
    transmission[40:] = 0.1
    assert star.astray(image, there, transmission, resolution) == (pytest.approx(16, abs=1), False)
    image[10:13, 30:33] += 110
    assert star.astray(image, there, transmission, resolution) is None
    saturated = np.zeros(image.shape, bool)
    saturated[9:14, 29:34] = True
    image[8:15, 28:35], image[9:14, 29:34] = 90, 0
    assert star.astray(image, there, transmission, resolution, saturated) is None  # two of them
    image[45:48, 30:33] = 1
    assert star.astray(image, there, transmission, resolution, saturated) == (pytest.approx(19, abs=2), True)


def test_the_resolution_by_the_header():
    about = header(PIXAR_A2=0.0039)
    assert star.resolution(about) == pytest.approx(3.35e-6 / 6.5 * 206264.806 / np.sqrt(0.0039))
    about["FILTER"] = "OPAQUE"
    assert star.resolution(about) == star.USUAL


def test_blocks_of_nan_and_empty_integrations(tmp_path, two_rolls, caplog):
    """Users' troubles 21 and 29: none of them spreads, in SCI or in ERR; what is empty is left out."""
    good, _ = coronagraphs.subtract(tmp_path, copy.deepcopy(two_rolls), outliers=False)
    residual = [np.nanstd(exposure.sci) for exposure in good.each()]
    reference, science = two_rolls[2][0].exposure, two_rolls[0][0].exposure
    reference.sci[0, 40:49, 20:29] = np.nan
    reference.err[0, 5, 5] = np.nan
    reference.sci[1] = np.nan
    science.sci[0], science.err[0] = np.nan, np.nan
    science.sci[1, 10, 10] = np.nan
    all_of_them, table = coronagraphs.subtract(tmp_path, two_rolls, outliers=False)
    assert list(all_of_them.prepared["align_refs"].usable) == [0, 2, 3]
    aligned = all_of_them.prepared["align_refs"].references[0]
    assert np.isfinite(aligned.sci[[0, 2, 3]]).all() and np.isfinite(aligned.err[[0, 2, 3]]).all() and np.isnan(aligned.sci[1]).all()
    assert np.isnan(science.sci[0]).all() and np.isfinite(science.sci[1]).all() and np.isfinite(science.err[1]).all()
    assert np.nanstd(science.sci) < 1.5 * residual[0]
    assert "Integration 2 of the PSF references has no good pixel" in caplog.text and "1 of 2 integrations" in caplog.text
    assert np.isfinite(table["flux_limit"][3:].value).all()
    assert np.isfinite(coronagraphs.put_together(all_of_them).sci).any()


def test_all_references_are_empty(tmp_path, two_rolls):
    for one, kind in two_rolls:
        if kind == "psf":
            one.exposure.sci[:] = np.nan
    all_of_them, refs = coronagraphs.members(two_rolls), coronagraphs.references(tmp_path, two_rolls)
    stack_refs.apply(all_of_them)
    align_refs.apply(all_of_them, refs)
    with pytest.raises(Skip, match="none of the PSF references has a good pixel"):
        klip.apply(all_of_them, refs)


def test_single_images_are_cubes_of_one(tmp_path, two_rolls):
    """Users' trouble 27: cal files among calints."""
    for one, _ in (two_rolls[1], two_rolls[3]):
        pixels = one.exposure.pixels[0]
        for name, plane in pixels.planes():
            setattr(pixels, name, plane[0])
    all_of_them, _ = coronagraphs.subtract(tmp_path, two_rolls)
    assert len(all_of_them.prepared["stack_refs"].sci) == 3
    assert np.isfinite(coronagraphs.put_together(all_of_them).sci).any()
    with pytest.raises(InputError, match="4 dimensions"):
        as_cube(make.ramp_exposure((1, 2, 4, 4)))
    lacking = make.image_exposure(np.zeros((2, 4, 4)))
    lacking.err = None
    with pytest.raises(InputError, match="no ERR"):
        as_cube(lacking)


def test_parameters_of_klip_that_make_no_sense(tmp_path, two_rolls):
    for wrong in ({"annulus_modes": [3]}, {"annulus_width": 4.0, "annulus_modes": []}, {"annulus_width": 4.0, "annulus_modes": [1.5]}):
        with pytest.raises(ConfigError, match="annulus_modes"):
            coronagraphs.subtract(tmp_path, copy.deepcopy(two_rolls), **wrong)
    with pytest.raises(ConfigError, match="fit_inner"):
        coronagraphs.subtract(tmp_path, copy.deepcopy(two_rolls), fit_inner=500.0)


def test_integrations_are_images_only_where_the_table_says_so(two_rolls):
    with pytest.raises(Skip, match="3 dimensions"):
        resample.apply([one.exposure for one, _ in two_rolls])


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no {REAL}")
@pytest.mark.parametrize("name", ["jwst_nircam_psfmask_0019.fits", "jwst_nircam_psfmask_0003.fits", "jwst_miri_psfmask_0009.fits"])
def test_real_masks_weigh_images_of_their_size(name):
    """Their subarrays' corners are those of an older plan than the images': the size tells."""
    shape = fits.getdata(REAL / name).shape
    exposure = make.image_exposure(np.zeros((1, *shape)), SUBSTRT1=500, SUBSTRT2=1400)
    mask = align_refs._mask(References({"psfmask": REAL / name}, exposure.header)["psfmask"], shape)
    assert mask.shape == shape and 0 <= mask.min() < 0.01 and mask.max() == pytest.approx(1, abs=0.01)


# --- the chain and the peer ------------------------------------------------------------------------------------------

# jwst registers in the images' single precision, in which the derivatives of its fit are rounding noise: references stay where they are.
DOUBLE = """
from jwst.coron import imageregistration
align, move = imageregistration.align_array, imageregistration.fourier_imshift
imageregistration.align_array = lambda a, b, mask=None, return_aligned=True: align(
    a.astype(float), b.astype(float), mask.astype(float), return_aligned
)
imageregistration.fourier_imshift = lambda image, shift: move(image.astype(float), shift)
"""


def on_disk(folder, **options):
    """A program with references, associations and a CRDS cache; returns the association, and the cache."""
    made = coronagraphs.program(
        Coronagraph(planets=(PLANET,)), cosmic_rays=4, **{"references": 3, "nints": 3, "reference_nints": 2} | options
    )
    _spare_the_edges(made)
    there = calibrated.write_program(folder, [one for one, _ in made])
    return next(path for path in there["associations"] if "coron3" in path.name), there["crds"]


def _spare_the_edges(made):
    """jwst gives bad pixels of the first row and column 0: here no pixel at an edge is bad, or hit by a cosmic ray."""
    for one, _ in made:
        edge = np.ones(one.exposure.sci.shape[1:], bool)
        edge[1:-1, 1:-1] = False
        for name in ("sci", "err", "var_poisson", "var_rnoise", "var_flat"):
            array = getattr(one.exposure, name)
            array[:, edge] = np.nanmedian(array)
        one.exposure.dq[:, edge] = 0


def test_the_chain_makes_its_products(tmp_path):
    association, crds = on_disk(tmp_path)
    made = jwcal.run_pipeline("coron3", association, out=tmp_path / "out", crds_path=str(crds), every=True)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    product = "jw01234-c1000_t001_nircam_f335m-maskrnd-sub320a335r"
    assert {f"{product}_{suffix}" for suffix in ("psfstack.fits", "contrast.ecsv", "i2d.fits")} <= names
    science = [f"jw0123400{k}001_02101_00001_nrcalong_c1000" for k in (1, 2)]
    assert {f"{root}_{suffix}.fits" for root in science for suffix in ("crfints", "psfalign", "psfsub")} <= names
    assert {f"jw0123400{k}001_02101_00001_nrcalong_c1000_crfints.fits" for k in (3, 4, 5)} <= names
    with fits.open(tmp_path / f"out/{science[1]}_psfsub.fits") as hdus:
        assert hdus[0].header["S_KLIP"] == hdus[0].header["S_PSFALI"] == hdus[0].header["S_PSFSTK"] == "COMPLETE"
        assert hdus["SCI"].shape == (3, 64, 64) and hdus[0].header["R_PSFMAS"].endswith("psfmask_9001.fits")
    assert set(made) >= {"psfstack", "contrast", "i2d"}


def test_the_chain_without_references(tmp_path):
    association, crds = on_disk(tmp_path)
    table = json.loads(association.read_text())
    table["products"][0]["members"] = [m for m in table["products"][0]["members"] if m["exptype"] == "science"]
    association.write_text(json.dumps(table))
    jwcal.run_pipeline("coron3", association, out=tmp_path / "out", crds_path=str(crds))
    names = {path.name.rpartition("_")[2] for path in (tmp_path / "out").glob("*.fits")}
    assert names == {"crfints.fits", "i2d.fits"}
    header = fits.getheader(next((tmp_path / "out").glob("*_i2d.fits")))
    assert header["S_KLIP"] == "SKIPPED" and "no star is subtracted" in str(header["HISTORY"]).replace("\n", " ")


AS_PEER = {"align_refs": {"align_rolls": False}, "resample": {"error_of": "area"}}


def compare(ours, theirs, scale, tolerance, extension="SCI"):
    """Whether 99.9 % of the pixels agree within a part of a scale; NaN in both alike."""
    a, b = (np.asarray(fits.getdata(path, extension), float) for path in (ours, theirs))
    assert a.shape == b.shape and np.array_equal(np.isnan(a), np.isnan(b))
    off = np.abs(a - b)[np.isfinite(a)]
    assert np.mean(off <= tolerance * scale) >= 0.999, f"{ours.name} {extension}: {off.max() / scale}"


def check_against_the_peer(folder, options, klip):
    association, crds = on_disk(folder, **options)
    mine, theirs = folder / "mine", folder / "theirs"
    theirs.mkdir()
    jwcal.run_pipeline("coron3", association, out=mine, crds_path=str(crds), steps={**AS_PEER, "klip": klip})
    peer_pipeline("coron3", association, theirs, crds, steps={"klip": klip}, before=DOUBLE)
    found = sorted(path.name for path in theirs.glob("*.fits"))
    assert {name.rpartition("_")[2] for name in found} == {f"{s}.fits" for s in ("crfints", "psfstack", "psfalign", "psfsub", "i2d")}
    for name in found:
        suffix = name.rpartition("_")[2].removesuffix(".fits")
        files = mine / name, theirs / name
        if suffix in ("crfints", "psfstack"):
            for extension in ("SCI", "ERR", "DQ"):
                compare(*files, 1, 0, extension)
        elif suffix == "psfalign":
            compare(*files, np.nanmax(fits.getdata(files[1])), 1e-4)
        elif suffix == "psfsub":
            noise = np.nanmedian(fits.getdata(mine / name.replace("psfsub", "crfints"), "ERR"))
            compare(*files, noise, 1e-3)
            compare(*files, 1, 0, "DQ")
            if klip["truncate"] < 6:
                compare(*files, noise, 1e-2, "ERR")
        else:
            # a pixel's noise is about a hundredth of the brightest speckle
            compare(*files, np.nanmax(fits.getdata(files[1])), 1e-4)
            compare(*files, 1, 0, "CON")
            compare(*files, np.nanmax(fits.getdata(files[1], "ERR")), 1e-4, "ERR")
    with fits.open(mine / found[0]) as a, fits.open(theirs / found[0]) as b:
        for keyword in ("NDRIZ", "EFFEXPTM", "CRPIX1", "CRVAL2", "PXSCLRT", "EXPSTART", "EXPEND"):
            pair = [hdus[0].header.get(keyword, hdus["SCI"].header.get(keyword)) for hdus in (a, b)]
            assert pair[0] == pytest.approx(pair[1]) if not isinstance(pair[0], str) else pair[0] == pair[1], keyword


@pytest.mark.parity
@needs_peer
def test_as_the_peer(tmp_path):
    check_against_the_peer(tmp_path, {}, {"truncate": 4})


@pytest.mark.parity
@pytest.mark.full
@needs_peer
@pytest.mark.parametrize("truncate", [1, 50])
def test_as_the_peer_with_other_libraries(tmp_path, truncate):
    check_against_the_peer(tmp_path, {"size": 81, "references": 4, "rolls": (0.0, 15.0, 40.0)}, {"truncate": truncate})


@pytest.mark.parity
@pytest.mark.full
@needs_peer
def test_peer_leaves_the_references_where_they_are():
    """In single precision its fit does not move; ours finds the motions."""
    first, others, moves, _ = images((64, 64))
    out = peer_python(
        "from jwst.coron import imageregistration as r\nout['found'] = r.align_array(first, others, mask, return_aligned=False)",
        first=(100 * first).astype("f4"),
        others=(100 * others).astype("f4"),
        mask=np.ones(first.shape, "f4"),
    )
    reference = Reference((100 * first).astype("f4"), np.ones(first.shape))
    ours = np.array([(m.dx, m.dy) for m in map(reference.motion_of, (100 * others).astype("f4"))])
    assert ours == pytest.approx(moves, abs=1e-4)
    assert np.abs(out["found"][:, :2] - moves).max() > 0.1
