"""tweakreg: pointing errors put in are found, wrong fits are not applied, and the peer's fits come out."""

import copy
import json
import logging

import numpy as np
import pytest
from astropy.table import Table
from astropy.wcs import WCS
from scipy.special import j1

import starfields
from jwcal.arithmetic.align import catalogues, fits, sources
from jwcal.model.exposure import Members
from jwcal.products import stored
from jwcal.steps import tweakreg
from jwcal.vocabulary import dq
from jwcal.vocabulary.errors import ConfigError, InputError, Skip
from peer import needs_peer, peer_python

STEPS = (0.0, 0.0, 0.0), (0.5, -0.3, 0.0), (-0.4, 0.6, 0.0), (0.2, 0.7, 0.0)
TRUTH = (0.0, 0.0, 0.0), (0.6, -0.3, 0.01), (-0.45, 0.57, -0.02), (0.21, 0.74, 0.0)
FEW = {"minobj": 5, "abs_minobj": 5}
CLOSE = {"separation": 0.4, "tolerance": 0.2, "abs_separation": 0.4, "abs_tolerance": 0.2}
MAS = 3.6e6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("references")


@pytest.fixture(scope="module")
def pointed(folder):
    """Four dithers with errors of their pointing of 0.05 to 0.1 arcsec and up to 0.02 deg."""
    return starfields.images(folder, STEPS, TRUTH)


@pytest.fixture(scope="module")
def exact(folder):
    """Four dithers whose headers are right."""
    return starfields.images(folder, STEPS, places=starfields.stars(10, apart=1.2))


@pytest.fixture
def refcat(tmp_path):
    path = tmp_path / "stars.ecsv"
    Table(dict(zip(("RA", "DEC"), starfields.stars(), strict=True))).write(path)
    return str(path)


def copied(images):
    return copy.deepcopy(list(images))


def errors(images, against=None):
    """WCS less truth on a grid of pixels, mas east and north: (image, 2, point). `against`: less this image's error."""
    y, x = np.mgrid[15:285:6j, 15:285:6j]
    found = []
    for image in images:
        ra, dec = image.truth(x, y)
        away = np.array([(np.array(image.wcs(x, y)[0]) - ra) * np.cos(np.radians(dec)), image.wcs(x, y)[1] - dec]) * MAS
        found.append(away.reshape(2, -1))
    found = np.array(found)
    return found if against is None else found - found[against].mean(axis=1)[None, :, None]


def catalogued(folder, steps, seed, scatter, places, truth=None):
    """Images without pixels, and catalogues of their stars with noisy places."""
    random, made, listed = np.random.default_rng(seed), [], []
    for number, step in enumerate(steps):
        image = starfields.exposure(folder, number, step)
        image.truth = image.wcs if truth is None else starfields.exposure(folder, number, truth[number]).wcs
        x, y = image.truth.invert(*places, with_bounding_box=False)
        path = folder / f"places_{number}.ecsv"
        Table({"x": x + random.normal(0, scatter, x.size), "y": y + random.normal(0, scatter, x.size)}).write(path, overwrite=True)
        listed.append(f"{image.name} {path.name}")
        made.append(image)
    (folder / "catalogues.txt").write_text("# image catalogue\n" + "\n".join(listed) + "\n")
    return made, {"use_custom_catalogs": True, "catfile": str(folder / "catalogues.txt"), "sip_approx": False}


# --- truth -------------------------------------------------------------------------------------------------------------


def test_relative_alignment_is_right_to_a_milliarcsecond(pointed):
    before = errors(pointed)
    assert np.sqrt(np.mean(before**2)) > 30
    images = copied(pointed)
    tweakreg.apply(starfields.members(images), sip_approx=False, **CLOSE)
    after = errors(images, against=0)
    assert np.sqrt(np.mean(after**2)) < 0.3  # asked for: 2
    for image in images[1:]:
        assert "v2v3corr" in image.wcs.available_frames
    assert "v2v3corr" not in images[0].wcs.available_frames


def test_ten_stars_give_shift_and_turn(folder):
    truth = (STEPS[0], (0.6, -0.3, 0.01), *STEPS[2:])
    images = starfields.images(folder, STEPS, truth, places=starfields.stars(10, apart=1.2))
    _, report = tweakreg.apply(starfields.members(images), save_report=True, **FEW)
    table = report.catalogue
    assert list(table["status"]) == ["reference", "aligned", "aligned", "aligned"]
    assert list(table["pairs"]) == [0, 10, 10, 10]
    assert np.hypot(table["dx"][1], table["dy"][1]) == pytest.approx(0.1, abs=1e-3)
    assert abs(table["rotation"][1]) == pytest.approx(0.01, abs=2e-3)
    np.testing.assert_allclose(errors(images), 0, atol=1.0)


def test_nothing_moves_where_nothing_is_wrong(exact):
    images = copied(exact)
    tweakreg.apply(starfields.members(images), sip_approx=False, **FEW)
    np.testing.assert_allclose(errors(images), 0, atol=0.7)


@pytest.mark.parametrize("fwhm", [1.2, 1.8, 2.5, 3.5])
def test_all_clean_stars_are_found_and_their_phase_in_the_pixel_does_not_matter(folder, fwhm):
    """The default finder's own places are off by 0.03 to 0.06 pixel, in step with where in its pixel a star lies."""
    [image] = starfields.images(folder, STEPS[:1], places=starfields.stars(60), fwhm=fwhm, flux=200.0)
    x, y = image.wcs.invert(*starfields.stars(60), with_bounding_box=False)
    inside = (x > 6) & (x < 293) & (y > 6) & (y < 293)
    scatter = {}
    for centroids in ("finder", "fitted"):
        settings = finder(kernel_fwhm=fwhm, centroids=centroids, roundhi=0.6 if fwhm < 1.5 else 0.2)
        found = sources.find(image.sci, image.err, image.dq, settings)
        nearest = np.argmin(np.hypot(found[0][:, None] - x, found[1][:, None] - y), axis=0)
        dx, dy = found[0][nearest] - x, found[1][nearest] - y
        seen = inside & (np.hypot(dx, dy) < 1)
        assert seen.sum() == inside.sum()
        scatter[centroids] = np.sqrt(np.mean(np.concatenate([dx[seen], dy[seen]]) ** 2))
        if centroids == "fitted":
            phase = x[seen] - np.round(x[seen])
            assert abs(np.polyfit(phase, dx[seen], 1)[0]) < 2e-3
    assert scatter["fitted"] < 2e-3  # the noise
    assert scatter["finder"] > 5 * scatter["fitted"]


def test_blank_parts_are_no_quiet_sky(folder):
    """More than half of an image is blank: its other part has the same stars, and no more. For the peer the noise is then 0."""
    [image] = starfields.images(folder, STEPS[:1], places=starfields.stars(60), flux=200.0)
    whole = sources.find(image.sci, image.err, image.dq, finder())
    image.dq[:, :170] |= dq.DO_NOT_USE | dq.NON_SCIENCE
    image.sci[:, :170] = np.nan
    part = sources.find(image.sci, image.err, image.dq, finder())
    assert part.shape[1] == np.sum(whole[0] > 172) > 10


def test_flagged_pixels_are_no_stars(pointed):
    """Users' trouble 2: ten times as many hot pixels as stars, brighter than these, flagged."""
    images = copied(pointed)
    for number, image in enumerate(images):
        hot = np.random.default_rng((7, number)).random(image.sci.shape) < 400 / image.sci.size
        image.sci[hot], image.dq[hot] = 300.0, dq.DO_NOT_USE | dq.HOT
    found = sources.find(images[0].sci, images[0].err, images[0].dq, finder())
    assert not (images[0].dq[tuple(np.rint(found[1::-1]).astype(int))] & dq.HOT).any()
    tweakreg.apply(starfields.members(images), sip_approx=False, **CLOSE)
    assert np.sqrt(np.mean(errors(images, against=0) ** 2)) < 0.5


@pytest.mark.parametrize("fwhm, worst", [(1.0, 0.01), (1.4, 0.02), (2.1, 0.003)])
def test_stars_that_are_no_gaussians(fwhm, worst):
    """Airy patterns, whose cores are under-sampled: a telescope's stars are nearer to these."""
    random, size, fine = np.random.default_rng(0), 25, 8
    for _ in range(8):
        centre = size // 2 + random.uniform(-0.5, 0.5, 2)
        places = (np.arange(size * fine) + 0.5) / fine - 0.5
        radius = np.hypot(places[None, :] - centre[0], places[:, None] - centre[1]) * np.pi * 1.03 / fwhm + 1e-9
        image = (1000 * ((2 * j1(radius) / radius) ** 2).reshape(size, fine, size, fine).mean(axis=(1, 3))).astype("f4")
        begin = centre + random.normal(0, 0.05, 2)
        x, y = sources.refined(image, np.ones(image.shape, bool), begin[:1], begin[1:], fwhm)
        np.testing.assert_allclose([x[0], y[0]], centre, atol=worst)
        spoiled = np.ones(image.shape, bool)
        spoiled[int(centre[1] + 0.5), int(centre[0] + 0.5)] = False  # saturated: the place stays that of the finder
        x, y = sources.refined(image, spoiled, begin[:1], begin[1:], fwhm)
        assert (x[0], y[0]) == tuple(begin)


def test_pairs_of_stars_nearer_than_the_tolerance(folder):
    places = np.array(starfields.stars(30, apart=0.9))
    places = np.concatenate([places, places[:, :4] + np.array([[0.0], [0.1 / 3600]])], axis=1)
    images, options = catalogued(folder, STEPS[:3], 0, 0.005, places, TRUTH)
    tweakreg.apply(starfields.members(images), minobj=8, **options)
    assert np.sqrt(np.mean(errors(images, against=0) ** 2)) < 0.5


def test_absolute_alignment_is_unbiased(folder, refcat):
    """Four exposures of the same stars. The peer keeps the lowest of four noisy detections: it is off by 1.0 sigma of one."""
    scatter, pixel, mean = 0.06, 31.0, {}
    for average in (True, False):
        offsets = []
        for seed in range(2):
            images, options = catalogued(folder, STEPS, seed, scatter, starfields.stars())
            options |= {"abs_refcat": refcat, "abs_average": average, "rematch": average, **CLOSE}
            tweakreg.apply(starfields.members(images), **options)
            offsets.append(errors(images).mean(axis=(0, 2)))
        mean[average] = np.mean(offsets, axis=0)
    assert np.abs(mean[True]).max() < 0.3
    assert np.hypot(*mean[False]) == pytest.approx(scatter * pixel, rel=0.4)


def test_absolute_alignment_of_images(pointed, refcat):
    images = copied(pointed)
    tweakreg.apply(starfields.members(images), abs_refcat=refcat, **CLOSE)
    off = errors(images)
    assert np.sqrt(np.mean(off**2)) < 0.5  # asked for: 5
    assert np.abs(off.mean(axis=(0, 2))).max() < 0.2  # asked for: 0.5
    assert all(image.wcs.name == "FIT-LVL3-stars.ecsv" for image in images)


def test_neighbours_that_are_matched_by_mistake_do_not_count(folder):
    """A crowded field, of which each image sees other stars: some pairs are neighbours within the tolerance, which clipping keeps."""
    random, off = np.random.default_rng(2), {}
    for rematch in (True, False):
        images, options = catalogued(folder, STEPS[:2], 0, 0.005, starfields.stars(50, field=4.0, seed=3, apart=0.3), TRUTH)
        for number in range(2):
            table = Table.read(folder / f"places_{number}.ecsv")
            table[np.sort(random.permutation(len(table))[:40])].write(folder / f"places_{number}.ecsv", overwrite=True)
        tweakreg.apply(starfields.members(images), rematch=rematch, minobj=8, **options)
        off[rematch] = np.sqrt(np.mean(errors(images) ** 2))
    assert off[True] < 0.3
    assert off[False] > 10 * off[True]


def test_one_exposure_alone_is_aligned_to_the_catalogue(folder, refcat):
    images = starfields.images(folder, STEPS[:1], [(0.2, 0.1, 0.0)])
    with pytest.raises(Skip, match="abs_refcat"):
        tweakreg.apply(starfields.members(images))
    tweakreg.apply(starfields.members(images), abs_refcat=refcat, sip_approx=False)
    np.testing.assert_allclose(errors(images), 0, atol=1.0)


@pytest.mark.parametrize("grouped", [True, False])
def test_detectors_of_one_moment_move_together_or_not(folder, refcat, grouped):
    """Two detectors with errors of their own; the keywords say that they were read at once."""
    images = starfields.images(folder, (STEPS[0], STEPS[1], STEPS[1]), (STEPS[0], (0.55, -0.3, 0.0), (0.45, -0.3, 0.0)))
    images[2].header["EXPOSURE"] = images[1].header["EXPOSURE"]
    tweakreg.apply(starfields.members(images), abs_refcat=refcat, grouped=grouped, sip_approx=False, **CLOSE)
    off = errors(images).mean(axis=2)
    if grouped:
        moved = [np.array(image.wcs(150.0, 150.0)) for image in images[1:]]
        np.testing.assert_allclose(moved[0], moved[1], atol=1e-9)
        assert np.abs(off[1:]).max() > 20
    else:
        assert np.abs(off).max() < 0.5


def test_a_second_run_finds_nothing_left(pointed):
    images = copied(pointed)
    tweakreg.apply(starfields.members(images), sip_approx=False, **CLOSE)
    first = errors(images)
    _, report = tweakreg.apply(starfields.members(images), sip_approx=False, save_report=True, **CLOSE)
    assert np.abs(report.catalogue["dx"]).max() < 1e-6 and np.abs(report.catalogue["dy"]).max() < 1e-6
    np.testing.assert_allclose(errors(images), first, atol=1e-2)


def test_a_catalogue_that_is_much_denser_than_the_stars(folder, tmp_path):
    """Most pairs within the tolerance are neighbours: their scatter is that of unrelated stars, and the fit is right nevertheless."""
    places = np.array(starfields.stars(500, field=3.6, seed=6, apart=0.12))
    truth = (STEPS[0], (0.52, -0.33, 0.0))
    images, options = catalogued(folder, STEPS[:2], 0, 0.02, places[:, :80], truth)
    Table({"RA": places[0], "DEC": places[1]}).write(tmp_path / "dense.ecsv")
    options |= {"abs_refcat": str(tmp_path / "dense.ecsv"), "tolerance": 0.1, "separation": 0.2}
    far = copied(images)
    tweakreg.apply(starfields.members(images), **options)
    assert all(image.wcs.name == "FIT-LVL3-dense.ecsv" for image in images)
    assert np.sqrt(np.mean(errors(images) ** 2)) < 0.3
    tweakreg.apply(starfields.members(far), **options, rematch=False, check_fits=False)  # as the peer
    assert np.sqrt(np.mean(errors(far) ** 2)) > 5
    places[1] += 0.3 / 3600 * np.random.default_rng(3).choice([-1, 1], places.shape[1])  # other stars, as dense
    Table({"RA": places[0], "DEC": places[1]}).write(tmp_path / "other.ecsv")
    images, _ = catalogued(folder, STEPS[:2], 0, 0.02, starfields.stars(80, field=3.6, seed=8, apart=0.12), truth)
    tweakreg.apply(starfields.members(images), **options | {"abs_refcat": str(tmp_path / "other.ecsv")})
    assert not any(str(image.wcs.name).startswith("FIT") for image in images)


# --- fits that are not applied -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share, accepted", [(0.8, True), (1.6, False)])
def test_shifts_as_far_as_is_searched_are_accepted(folder, share, accepted):
    truth = STEPS[0], (STEPS[1][0] + share * 2.0, STEPS[1][1], 0.0)
    images, options = catalogued(folder, STEPS[:2], 3, 0.01, starfields.stars(60, field=2.0, apart=0.3), truth)
    options |= {"separation": 0.2, "tolerance": 0.1, "searchrad": 2.0}
    if accepted:
        tweakreg.apply(starfields.members(images), **options)
        np.testing.assert_allclose(errors(images), 0, atol=2.0)
    else:
        with pytest.raises(Skip):
            tweakreg.apply(starfields.members(images), **options)
        assert "v2v3corr" not in images[1].wcs.available_frames


def test_peaks_of_noise_are_not_aligned(folder):
    """Three peaks an image, as many as are asked for: the peer turned an image by 37 degrees."""
    for seed in range(6):
        random = np.random.default_rng(seed)
        images, options = catalogued(folder, STEPS[:2], seed, 0.0, starfields.stars(3))
        for number in range(2):
            x, y = random.uniform(10, 290, (2, 3))
            Table({"x": x, "y": y}).write(folder / f"places_{number}.ecsv", overwrite=True)
        try:
            tweakreg.apply(starfields.members(images), minobj=3, **options)
        except Skip as why:
            assert "match" in str(why) or "corner" in str(why) or "scatter" in str(why)
        assert np.abs(errors(images)).max() < 1e-6


def test_a_fit_worse_than_none_is_not_applied(folder, caplog):
    """Twelve stars have companions 1 arcsec north in the second image; told to begin there, the fit finds them and not the twenty."""
    places = np.array(starfields.stars(20, field=2.5, apart=0.6))
    images, options = catalogued(folder, (STEPS[0], STEPS[0]), 0, 0.001, places)
    twins = places[:, :12] + np.array([[0.0], [1.0 / 3600]])
    x, y = images[1].wcs.invert(*np.concatenate([places, twins], axis=1), with_bounding_box=False)
    Table({"x": x, "y": y}).write(folder / "places_1.ecsv", overwrite=True)
    plane = tweakreg._groups(starfields.members(images), [[0], [1]], [np.array([[150.0], [150.0], [1.0]])] * 2)[0].images[0].corrector
    here, there = (np.array(plane.world_to_tanp(*place)) for place in (places[:, 0], twins[:, 0]))
    offset = dict(zip(("xoffset", "yoffset"), there - here, strict=True))
    options |= {"use2dhist": False, "separation": 0.2, "tolerance": 0.1, "minobj": 8, **offset}
    with pytest.raises(Skip, match="would coincide"):
        tweakreg.apply(starfields.members(images), **options)
    assert np.abs(errors(images)).max() < 1e-6
    tweakreg.apply(starfields.members(images), check_fits=False, **options)
    assert np.abs(errors(images)).max() > 900


def test_images_without_stars_go_on_unchanged(pointed, caplog):
    images = copied(pointed)
    images[0].sci[:] = np.nan
    images[2].sci[:] = np.random.default_rng(1).normal(0.3, 0.02, images[2].sci.shape)
    with caplog.at_level(logging.WARNING):
        tweakreg.apply(starfields.members(images), sip_approx=False, **CLOSE)
    assert f"{images[0].name}: no relative alignment" in caplog.text and "no stars" in caplog.text
    assert ["v2v3corr" in image.wcs.available_frames for image in images] == [False, False, False, True]
    off = errors(images, against=1)
    assert np.sqrt(np.mean(off[3] ** 2)) < 1


def test_a_field_without_stars_is_said(pointed):
    images = copied(pointed)
    for number, image in enumerate(images):
        image.sci[:] = np.random.default_rng(number).normal(0.3, 0.02, image.sci.shape)
    with pytest.raises(Skip, match="no stars"):
        tweakreg.apply(starfields.members(images))


def test_a_group_that_can_not_be_aligned_to_the_others_is_aligned_to_the_catalogue(folder, refcat):
    """The third image is too far for the relative search, not for the absolute one."""
    truth = STEPS[0], STEPS[1], (STEPS[2][0] + 1.5, STEPS[2][1], 0.0)
    images, options = catalogued(folder, STEPS[:3], 1, 0.005, starfields.stars(), truth)
    tweakreg.apply(starfields.members(images), abs_refcat=refcat, searchrad=0.5, **options, **CLOSE)
    np.testing.assert_allclose(errors(images), 0, atol=1.0)


# --- keywords, catalogues ------------------------------------------------------------------------------------------------


def test_keywords_follow_the_wcs(pointed):
    images = copied(pointed)
    tweakreg.apply(starfields.members(images), **CLOSE)
    image = images[1]
    said = [float(word) for word in image.header["S_REGION"].split()[2:]]
    np.testing.assert_allclose(said[:2], image.wcs(-0.5, -0.5, with_bounding_box=False), atol=1e-9)
    by_keywords = WCS(stored.hdus(image, "made_cal.fits")["SCI"].header)
    y, x = np.mgrid[0:299:7j, 0:299:7j]
    there = np.array(by_keywords.all_pix2world(x.ravel(), y.ravel(), 0))
    away = (there - np.array(image.wcs(x.ravel(), y.ravel()))) * 3600 / 0.031
    assert np.abs(away).max() < 0.01
    assert image.header["SIPMXERR"] < 0.01


def test_a_sip_fit_that_is_not_good_enough_is_said(pointed, caplog):
    with caplog.at_level(logging.WARNING):
        tweakreg.apply(starfields.members(copied(pointed)), sip_degree=1, sip_inv_degree=1, sip_max_pix_error=1e-4, **CLOSE)
    assert "more than was asked for" in caplog.text


def test_members_from_files(pointed, tmp_path, refcat):
    for image in pointed:
        stored.write(image, tmp_path / image.name)
    members = Members([(tmp_path / image.name, "science") for image in pointed], stored.read)
    result = tweakreg.apply(members, abs_refcat=refcat, save_catalogs=True, save_abs_catalog=True, **CLOSE)
    assert result[0] is members
    assert [aside.suffix for aside in result[1:]] == ["cat"] * 4 + ["fit_stars_ref"]
    assert set(result[1].catalogue.colnames) == {"id", "xcentroid", "ycentroid", "flux"}
    for image, exposure in zip(pointed, members.each(), strict=True):
        exposure.truth = image.truth
        assert np.abs(errors([exposure])).max() < 2
        stored.write(exposure, tmp_path / "again_cal.fits")
        np.testing.assert_allclose(stored.read(tmp_path / "again_cal.fits").wcs(10.0, 20.0), exposure.wcs(10.0, 20.0), atol=1e-12)


@pytest.mark.parametrize("starfinder", ["dao", "segmentation"])
def test_other_finders(pointed, starfinder):
    images = copied(pointed)
    options = {"sharplo": 0.2, "sharphi": 1.0, "roundlo": -1.0, "roundhi": 1.0} if starfinder == "dao" else {"npixels": 5}
    tweakreg.apply(starfields.members(images), starfinder=starfinder, sip_approx=False, **options, **CLOSE)
    assert np.sqrt(np.mean(errors(images, against=0) ** 2)) < 0.5


def test_expanded_reference(folder):
    """A strip of images of which the last does not see the first: its stars are those that others have added."""
    steps = tuple((2.5 * number, 0.0, 0.0) for number in range(4))
    truth = tuple((2.5 * number + 0.05 * (-1) ** number, 0.02 * number, 0.0) for number in range(4))
    east, north = np.random.default_rng(4).uniform((-4, -4), (12, 4), (150, 2)).T
    places = starfields.RA + east / 3600 / np.cos(np.radians(starfields.DEC)), starfields.DEC + north / 3600
    images, options = catalogued(folder, steps, 1, 0.003, places, truth)
    options |= {"separation": 0.2, "tolerance": 0.1, "searchrad": 0.5}
    tweakreg.apply(starfields.members(images), expand_refcat=True, **options)
    off = errors(images).mean(axis=2)
    assert np.abs(off - off.mean(axis=0)).max() < 1


@pytest.mark.parametrize("motions, without, bias", [("apply", "drop", 0), ("ignore", "keep", 48), ("apply", "keep", 15)])
def test_proper_motions(folder, tmp_path, motions, without, bias):
    """All stars move by 8 mas a year; a third of the catalogue does not say so."""
    ra, dec = starfields.stars()
    years = 2000 + (59800.001 - 51544.5) / 365.25 - 2016
    table = Table({"RA": ra - 8 * years / MAS / np.cos(np.radians(dec)), "DEC": dec, "ref_epoch": np.full(ra.size, 2016.0)})
    table["pmra"], table["pmdec"] = np.ma.masked_array(np.full(ra.size, 8.0)), np.ma.masked_array(np.zeros(ra.size))
    table["pmra"].mask = table["pmdec"].mask = np.arange(ra.size) % 3 == 0
    table.write(tmp_path / "gaia.ecsv")
    images, options = catalogued(folder, STEPS[:1], 1, 0.002, (ra, dec))
    options |= {"abs_refcat": str(tmp_path / "gaia.ecsv"), "abs_proper_motions": motions, "abs_without_motion": without, **FEW, **CLOSE}
    tweakreg.apply(starfields.members(images), **options)
    off = errors(images).mean(axis=(0, 2))
    if bias:
        assert -off[0] > bias / 2  # two populations
    else:
        np.testing.assert_allclose(off, 0, atol=0.3)


def test_without_a_network_the_relative_alignment_stands(pointed, monkeypatch, caplog):
    monkeypatch.setenv("ASTROMETRIC_CATALOG_URL", "http://127.0.0.1:9")
    images = copied(pointed)
    with caplog.at_level(logging.WARNING):
        tweakreg.apply(starfields.members(images), abs_refcat="GAIADR3", sip_approx=False, **CLOSE)
    assert caplog.text.count("No absolute alignment, the relative one stands") == 1
    assert np.sqrt(np.mean((errors(images) - errors(images).mean(axis=(0, 2))[None, :, None]) ** 2)) < 1


def test_a_catalogue_from_the_network(pointed, monkeypatch):
    asked = {}

    def answer(name, ra, dec, radius, epoch):
        asked.update(name=name, ra=ra, dec=dec, radius=radius, epoch=epoch)
        return starfields.stars()

    monkeypatch.setattr(catalogues, "online", answer)
    images = copied(pointed)
    tweakreg.apply(starfields.members(images), abs_refcat="gaiadr3", sip_approx=False, **CLOSE)
    assert asked["name"] == "GAIADR3" and asked["epoch"] == pytest.approx(2022.6, abs=0.01)
    assert np.hypot((asked["ra"] - starfields.RA), asked["dec"] - starfields.DEC) < 2 / 3600 and 6 / 3600 < asked["radius"] < 8 / 3600
    assert np.sqrt(np.mean(errors(images) ** 2)) < 0.5


def test_stars_with_two_partners():
    """On either side; of several pairs the first stays."""
    its, mine = np.array([0, 1, 2, 3, 3, 4]), np.array([5, 5, 6, 7, 8, 9])
    assert [list(found) for found in fits._once(its, mine)] == [[0, 2, 3, 4], [5, 6, 7, 9]]


def test_averages_of_detections(folder):
    """Detections that have gone astray do not stand beside the mean of the others."""
    image = starfields.exposure(folder)
    plane = tweakreg._groups(starfields.members([image]), [[0]], [np.array([[1.0], [1.0], [1.0]])])[0].images[0].corrector
    truth = np.array([[0.0, 0.0], [3.0, 1.0]])
    seen = np.concatenate([truth + [0.003, 0], truth - [0.003, 0], truth[:1] + [0.0, 0.3]])
    stars, counts = fits.averaged(plane, np.array(plane.tanp_to_world(*seen.T)), np.array([0, 0, 1, 1, 2]), 1.0)
    np.testing.assert_allclose(np.array(plane.world_to_tanp(*stars)).T, truth, atol=1e-6)
    assert list(counts) == [2, 2]


# --- bad input -----------------------------------------------------------------------------------------------------------


def finder(**changes):
    values = {name: parameter.default for name, parameter in parameters().items()}
    return sources.Finder(**{name: changes.get(name, values[name]) for name in sources.Finder.__dataclass_fields__})


def parameters():
    import inspect

    return {p.name: p for p in inspect.signature(tweakreg.apply).parameters.values() if p.kind is p.KEYWORD_ONLY}


def test_parameters_that_do_not_fit(folder, pointed, tmp_path):
    images, options = catalogued(folder, STEPS[:2], 0, 0.01, starfields.stars())
    for changes, message in (
        ({"separation": 0.5}, "1.42 times tolerance"),
        ({"abs_refcat": "x.ecsv"}, "is no file"),
        ({"kron_params": [1.0]}, "kron_params"),
        ({"searchrad": 0.0}, "above 0"),
        ({"catfile": str(tmp_path / "none.txt")}, "can't be read"),
    ):
        with pytest.raises(ConfigError, match=message):
            tweakreg.apply(starfields.members(images), **{**options, **changes})
    with pytest.raises(Skip):
        tweakreg.apply(starfields.members([]))
    no_wcs = copied(pointed[:2])
    no_wcs[1].wcs = None
    with pytest.raises(InputError, match="gWCS"):
        tweakreg.apply(starfields.members(no_wcs))


def test_catalogues_that_do_not_fit(tmp_path):
    for columns, message in (({"a": [1.0]}, "no column x"), ({"x": [1.0]}, "no column y")):
        Table(columns).write(tmp_path / "c.ecsv", overwrite=True)
        with pytest.raises(ConfigError, match=message):
            catalogues.of_image(tmp_path / "c.ecsv")
    for columns, message in (({"a": [1.0]}, "neither RA"), ({"RA": [1.0], "ra": [1.0], "DEC": [2.0]}, "several columns")):
        Table(columns).write(tmp_path / "c.ecsv", overwrite=True)
        with pytest.raises(ConfigError, match=message):
            catalogues.of_sky(tmp_path / "c.ecsv", 2020.0)
    (tmp_path / "c.ecsv").write_text("nothing\n")
    with pytest.raises(ConfigError, match="can't be read"):
        catalogues.of_image(tmp_path / "c.ecsv")
    (tmp_path / "list.txt").write_text("a b c\n")
    with pytest.raises(ConfigError, match="two columns"):
        catalogues.listed(tmp_path / "list.txt")
    (tmp_path / "list.txt").write_text("# none\na_cal.fits c.ecsv\nb_cal.fits\n")
    assert catalogues.listed(tmp_path / "list.txt") == {"a_cal.fits": tmp_path / "c.ecsv", "b_cal.fits": None}


# --- the peer ------------------------------------------------------------------------------------------------------------

PEER = """
import os, glob
os.environ.update(CRDS_PATH="/nowhere", CRDS_SERVER_URL="https://crds-serverless-mode.stsci.edu", CRDS_MODE="local")
from jwst.tweakreg import TweakRegStep
y, x = np.mgrid[0:299:6j, 0:299:6j]
for number, options in enumerate(settings):
    step = TweakRegStep(**__import__("json").loads(str(options)))
    library = step.process(sorted(glob.glob(str(folder) + "/*_cal.fits")))
    with library:
        for image, model in enumerate(library):
            out[f"sky{number}_{image}"] = np.array(model.meta.wcs(x, y))
            out[f"region{number}_{image}"] = model.meta.wcsinfo.s_region
            library.shelve(model, modify=False)
"""
LIKE_PEER = {"centroids": "finder", "rematch": False, "check_fits": False, "abs_average": False}


@needs_peer
@pytest.mark.parity
def test_fits_are_the_peers(pointed, tmp_path, refcat):
    settings = [{**CLOSE}, {**CLOSE, "abs_refcat": refcat}, {**CLOSE, "expand_refcat": True, "fitgeometry": "general", "starfinder": "dao"}]
    settings[2] |= {"sharplo": 0.2, "sharphi": 1.0, "roundlo": -1.0, "roundhi": 1.0}
    for image in pointed:
        stored.write(image, tmp_path / image.name)
    peer = peer_python(PEER, folder=str(tmp_path), settings=[json.dumps(setting) for setting in settings])
    y, x = np.mgrid[0:299:6j, 0:299:6j]
    for number, setting in enumerate(settings):
        images = copied(pointed)
        tweakreg.apply(starfields.members(images), **setting, **LIKE_PEER)
        for n, image in enumerate(images):
            away = (np.array(image.wcs(x, y)) - peer[f"sky{number}_{n}"]) * MAS
            assert np.abs(away).max() < 1, (number, n)
            its = [float(word) for word in str(peer[f"region{number}_{n}"]).split()[2:]]
            np.testing.assert_allclose([float(word) for word in image.header["S_REGION"].split()[2:]], its, atol=1 / MAS)
