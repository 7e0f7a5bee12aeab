"""skymatch: levels put in are found, pixels stay as they are unless asked, and the peer's levels come out."""

import copy
import logging
from functools import cache

import numpy as np
import pytest

import starfields
from jwcal.arithmetic.sky import convex
from jwcal.arithmetic.sky.levels import matched_levels
from jwcal.arithmetic.sky.overlaps import Footprint, pixels_inside
from jwcal.arithmetic.sky.statistics import SkyStatistics
from jwcal.kernels.sky.polygon_fill import fill
from jwcal.model.exposure import Members
from jwcal.products import stored
from jwcal.steps import skymatch
from jwcal.vocabulary.errors import ConfigError, InputError, Skip
from peer import needs_peer, peer_python

OFFSETS = 0.0, 1.0, 2.0, 3.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("references")


@cache
def pointed(folder, overlap):
    """2 x 2 images side by side, along the detector's axes, which are turned by the roll."""
    step, angle = 300 * 0.0307 * (1 - overlap), np.radians(starfields.sky.POINTING["ROLL_REF"])
    cos, sin = step * np.cos(angle), step * np.sin(angle)
    places = ((0, 0), (1, 0), (0, 1), (1, 1))
    return [starfields.exposure(folder, n, (x * cos + y * sin, -x * sin + y * cos, 0.0)) for n, (x, y) in enumerate(places)]


def tiles(folder, offsets=OFFSETS, overlap=0.15, noise=0.0, gradient=1.0):
    """2 x 2 tiles of a nebula that brightens across the field, each with a level of its own."""
    made = []
    for number, (offset, image) in enumerate(zip(offsets, pointed(folder, overlap), strict=True)):
        image = copy.deepcopy(image)
        y, x = np.indices(image.sci.shape, dtype=float)
        ra, dec = image.wcs(x, y)
        away = np.hypot((ra - starfields.RA) * np.cos(np.radians(dec)), dec - starfields.DEC) * 3600
        nebula = 5 + gradient * np.exp(-((away / 6) ** 2))
        random = np.random.default_rng(number)
        image.sci = (nebula + offset + random.normal(0, noise, nebula.shape)).astype("f4") if noise else (nebula + offset).astype("f4")
        made.append(image)
    return made


def levels(images):
    return np.array([image.header["BKGLEVEL"] for image in images])


# --- truth -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grouped", [True, False])
def test_steps_between_tiles_on_a_nebula_are_found(folder, grouped):
    """A user's trouble: tiles on extended emission kept their steps."""
    images = tiles(folder)
    before = [image.sci.copy() for image in images]
    skymatch.apply(starfields.members(images), skystat="median", nclip=0, grouped=grouped)
    np.testing.assert_allclose(levels(images), OFFSETS, atol=0.01)
    for image, was in zip(images, before, strict=True):
        np.testing.assert_array_equal(image.sci, was)
        assert image.header["BKGSUB"] is False and image.header["BKGMETH"] == "match"


def test_the_mode_of_few_pixels_is_good_to_the_noise_of_one(folder):
    """The default; from the 14,000 pixels of such an overlap a median is twenty times better where the sky is not flat."""
    images = tiles(folder, noise=0.05)
    skymatch.apply(starfields.members(images))
    np.testing.assert_allclose(levels(images), OFFSETS, atol=0.05)
    again = tiles(folder, noise=0.05)
    skymatch.apply(starfields.members(again), skystat="median")
    np.testing.assert_allclose(levels(again), OFFSETS, atol=0.005)


def test_detectors_of_one_moment_have_one_level_or_each_its_own(folder):
    images = tiles(folder, offsets=(0.0, 1.0, 2.0, 2.0), noise=0.05, gradient=0.0)
    images[3].header["EXPOSURE"] = images[2].header["EXPOSURE"]
    skymatch.apply(starfields.members(images))
    np.testing.assert_allclose(levels(images), [0, 1, 2, 2], atol=0.02)
    images = tiles(folder, noise=0.05, gradient=0.0)
    images[3].header["EXPOSURE"] = images[2].header["EXPOSURE"]
    skymatch.apply(starfields.members(images))
    assert levels(images)[2] == levels(images)[3]
    images = tiles(folder, noise=0.05, gradient=0.0)
    images[3].header["EXPOSURE"] = images[2].header["EXPOSURE"]
    skymatch.apply(starfields.members(images), grouped=False)
    np.testing.assert_allclose(levels(images), OFFSETS, atol=0.02)


@pytest.mark.parametrize("subtract", [False, True])
@pytest.mark.parametrize("method", ["local", "global", "match", "global+match", "user"])
def test_every_method_says_what_it_did(folder, tmp_path, method, subtract):
    """Pixels change only where asked to, and the level is in the header in every mode."""
    images = tiles(folder, offsets=(100.0, 101.0, 102.0, 103.0), noise=0.05, gradient=0.0)
    before = [image.sci.copy() for image in images]
    listed = tmp_path / "sky.txt"
    listed.write_text("# image level\n" + "".join(f"{image.name} {105.0 + n}\n" for n, image in enumerate(images)))
    skymatch.apply(starfields.members(images), skymethod=method, subtract=subtract, skylist=str(listed))
    sky = np.array([105.0, 106.0, 107.0, 108.0])
    wanted = {"local": sky, "global": np.full(4, 105.0), "match": sky - 105, "global+match": sky, "user": sky}[method]
    np.testing.assert_allclose(levels(images), wanted, atol=0.02)
    for image, was in zip(images, before, strict=True):
        assert image.header["BKGMETH"] == method and image.header["BKGSUB"] is subtract
        left = was - np.float32(image.header["BKGLEVEL"]) if subtract else was
        np.testing.assert_array_equal(image.sci, left)


def test_matching_up(folder):
    images = tiles(folder, noise=0.05, gradient=0.0)
    skymatch.apply(starfields.members(images), match_down=False)
    np.testing.assert_allclose(levels(images), np.array(OFFSETS) - 3, atol=0.02)


def test_a_second_run_finds_nothing_left(folder):
    images = tiles(folder, noise=0.05, gradient=0.0)
    skymatch.apply(starfields.members(images), subtract=True)
    first = levels(images)
    skymatch.apply(starfields.members(images), subtract=True)
    np.testing.assert_allclose(levels(images), first, atol=2e-3)
    with pytest.raises(InputError, match="subtracted already"):
        skymatch.apply(starfields.members(images), subtract=False)


def test_images_without_overlap_or_good_pixels_are_left(folder, caplog):
    images = tiles(folder, noise=0.05, gradient=0.0)
    images[1].sci[:] = np.nan
    images.append(starfields.exposure(folder, 7, (90.0, 0.0, 0.0)))
    with caplog.at_level(logging.WARNING):
        skymatch.apply(starfields.members(images))
    assert "BKGLEVEL" not in images[1].header and "BKGLEVEL" not in images[4].header
    assert images[4].name in caplog.text and "overlaps no other image" in caplog.text
    np.testing.assert_allclose([images[n].header["BKGLEVEL"] for n in (0, 2, 3)], [0, 2, 3], atol=0.05)


def test_flagged_pixels_do_not_count(folder):
    images = tiles(folder, noise=0.05, gradient=0.0)
    for image in images:
        image.sci[::2], image.dq[::2] = 1e4, 1
    skymatch.apply(starfields.members(images))
    np.testing.assert_allclose(levels(images), OFFSETS, atol=0.05)
    images = tiles(folder, noise=0.05, gradient=0.0)
    images[0].sci[:, ::3], images[0].dq[:, ::3] = 7.0, 4
    skymatch.apply(starfields.members(images), dqbits="~JUMP_DET", skystat="median")
    np.testing.assert_allclose(levels(images), OFFSETS, atol=0.05)


def test_members_from_files_are_opened_one_at_a_time_and_keep_the_level(folder, tmp_path):
    images = tiles(folder, noise=0.05, gradient=0.0)
    paths = []
    for image in images:
        paths.append(tmp_path / image.name)
        stored.write(image, paths[-1])
    members = Members([(path, "science") for path in paths], stored.read)
    skymatch.apply(members, subtract=True)
    for number, exposure in enumerate(members.each()):
        assert exposure.header["BKGLEVEL"] == pytest.approx(OFFSETS[number], abs=0.02)
        np.testing.assert_array_equal(exposure.sci, images[number].sci - np.float32(exposure.header["BKGLEVEL"]))


# --- the parts ---------------------------------------------------------------------------------------------------------


def test_levels_of_pairs():
    truth = np.array([3.0, 1.0, 2.0, 5.0])
    seen = np.tile(truth[:, None], (1, 4)) + np.arange(4)[None] * 0  # what an image sees is its own level, plus a sky of 0
    counts = np.ones((4, 4))
    np.testing.assert_allclose(matched_levels(seen, counts), truth - 1, atol=1e-12)
    counts[3] = counts[:, 3] = 0
    np.testing.assert_allclose(matched_levels(seen, counts), [2, 0, 1, np.nan], atol=1e-12)


def test_statistics_by_five_lines():
    values = np.random.default_rng(3).normal(10, 2, 200_000).astype("f4")
    values[:500] = 1000
    for skystat in ("mean", "median", "midpt", "mode"):
        level, count = SkyStatistics(skystat).level(values)
        assert level == pytest.approx(10, abs={"mean": 0.02, "median": 0.02, "midpt": 0.15, "mode": 0.3}[skystat])
        assert 199_400 < count <= 199_500
    clipped = values[values < 500]
    assert SkyStatistics("mean", upper=500.0, nclip=0).level(values)[0] == pytest.approx(clipped.mean(dtype="f8"), rel=1e-6)
    assert SkyStatistics("mean").level(np.empty(0, "f4")) == (None, 0)
    assert SkyStatistics("mean", lower=5000.0).level(values) == (None, 0)
    assert SkyStatistics("mode").level(np.full(9, 2.5, "f4"))[0] == 2.5


def test_polygons_have_the_pixels_that_gwcs_gives_them():
    from gwcs.region import Polygon

    random = np.random.default_rng(0)
    for _ in range(50):
        number = random.integers(3, 7)
        x, y = random.uniform(-1.4, 60, number), random.uniform(-20, 60, number)
        x, y = np.append(x, x[0]), np.append(y, y[0])
        mine = np.zeros((40, 50), bool)
        fill(x, y, mine)
        its = Polygon(True, list(zip(x, y, strict=True))).scan(np.zeros((40, 50), bool))
        np.testing.assert_array_equal(mine, its)


def test_overlaps_by_another_library():
    from spherical_geometry.polygon import SphericalPolygon

    random = np.random.default_rng(0)
    for _ in range(20):
        outlines = []
        for _ in range(2):
            turn, (ra, dec) = random.uniform(0, 6) + np.arange(4) * np.pi / 2, random.uniform(-0.015, 0.015, 2)
            outlines.append((150 + ra + 0.02 * np.cos(turn) / np.cos(np.radians(60)), 60 + dec + 0.02 * np.sin(turn)))
        mine = convex.area(convex.common(*(convex.vectors(*outline) for outline in outlines)))
        closed = [SphericalPolygon.from_radec(*(np.append(angle, angle[0]) for angle in outline)) for outline in outlines]
        assert mine == pytest.approx(abs(closed[0].intersection(closed[1]).area()), rel=1e-4, abs=1e-16)


def test_an_image_overlaps_itself(folder):
    image = starfields.exposure(folder)
    whole = Footprint(image.wcs, image.sci.shape, 50)
    (inside,) = pixels_inside([whole.overlap(Footprint(image.wcs, image.sci.shape))], image.wcs, image.sci.shape)
    assert inside.mean() > 0.98


# --- bad input ---------------------------------------------------------------------------------------------------------


def test_lists_that_do_not_fit(folder, tmp_path):
    images = tiles(folder)
    listed = tmp_path / "sky.txt"
    for text, message in (
        ("a b c\n", "no name and level"),
        (f"{images[0].name} 1\n", "not in the list"),
        ("".join(f"{image.name} 1\n" for image in images) + "other_cal.fits 2\n", "5 levels for 4 images"),
        (f"{images[0].name} 1\n" * 2, "twice"),
    ):
        listed.write_text(text)
        with pytest.raises(ConfigError, match=message):
            skymatch.apply(starfields.members(images), skymethod="user", skylist=str(listed))
    listed.write_text("".join(f"{image.name} 1\n" for image in images))
    skymatch.apply(starfields.members(images), skymethod="user", skylist=str(listed), subtract=True)
    with pytest.raises(InputError, match="subtracted already"):
        skymatch.apply(starfields.members(images), skymethod="user", skylist=str(listed), subtract=True)
    with pytest.raises(ConfigError, match="no skylist"):
        skymatch.apply(starfields.members(images), skymethod="user")
    with pytest.raises(ConfigError, match="can't be read"):
        skymatch.apply(starfields.members(images), skymethod="user", skylist=str(tmp_path / "none.txt"))


def test_what_can_not_be_matched(folder):
    with pytest.raises(Skip):
        skymatch.apply(starfields.members([]))
    images = tiles(folder)
    with pytest.raises(ConfigError, match="no flags"):
        skymatch.apply(starfields.members(images), dqbits="~NOT_A_FLAG")
    images[0].header["BKGLEVEL"] = 1.0
    with pytest.raises(InputError, match="without the other"):
        skymatch.apply(starfields.members(images))
    del images[0].header["BKGLEVEL"]
    images[0].wcs = None
    with pytest.raises(InputError, match="gWCS"):
        skymatch.apply(starfields.members(images))


# --- the peer ----------------------------------------------------------------------------------------------------------

PEER = """
import os, glob
os.environ.update(CRDS_PATH="/nowhere", CRDS_SERVER_URL="https://crds-serverless-mode.stsci.edu", CRDS_MODE="local")
from jwst.skymatch import SkyMatchStep
for number, options in enumerate(settings):
    options = __import__("json").loads(str(options))
    step = SkyMatchStep(**options)
    library = step.process(sorted(glob.glob(str(folder) + "/*_cal.fits")))
    with library:
        levels = []
        for model in library:
            levels.append(np.nan if model.meta.background.level is None else model.meta.background.level)
            library.shelve(model, modify=False)
    out[f"levels{number}"] = np.array(levels)
"""
SETTINGS = (
    {},
    {"skymethod": "global+match", "skystat": "median", "subtract": True},
    {"skymethod": "local", "skystat": "midpt", "match_down": False},
    {"skymethod": "match", "skystat": "mean", "nclip": 2, "stepsize": 40, "match_down": False},
    {"skymethod": "global"},
)


@needs_peer
@pytest.mark.parity
def test_levels_are_the_peers(folder, tmp_path):
    import json

    noise = 0.05
    images = tiles(folder, noise=noise, overlap=0.3)
    images[3].header["EXPOSURE"] = images[2].header["EXPOSURE"]
    images[0].dq[:40, ::3] = 1
    images[1].sci[100:130] = np.nan
    for image in images:
        stored.write(image, tmp_path / image.name)
    peer = peer_python(PEER, folder=str(tmp_path), settings=[json.dumps(setting) for setting in SETTINGS])
    for number, setting in enumerate(SETTINGS):
        again = Members([(tmp_path / image.name, "science") for image in images], stored.read)
        skymatch.apply(again, **setting)
        np.testing.assert_allclose(levels(again.shells()), peer[f"levels{number}"], atol=1e-3 * noise)
