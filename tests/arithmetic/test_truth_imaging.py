"""The imaging pipelines of stage 3 against what the simulator put in: pointing errors, steps of the sky, cosmic rays, a transit."""

import copy

import numpy as np
import pytest
from astropy.table import Table
from photutils.aperture import ApertureStats, CircularAnnulus, CircularAperture

import mosaics
from jwcal.simulate import calibrated, scene
from jwcal.simulate.exposures import TARGET
from jwcal.simulate.series import Series, Transit
from jwcal.vocabulary import dq as bits

STEPS = [0.0, 0.1, 0.05, 0.2]  # MJy/sr
RADIUS = 12.0  # pixels: all of a star's light but for 1e-3


@pytest.fixture(scope="module")
def pointed():
    """Four dithers of a field with 60 stars that knows nothing of its pointing errors of 50 mas."""
    stars = scene.make_scene(*TARGET, radius=6.0, stars=150, galaxies=0, faintest=1e-6, brightest=2e-5, separation=0.75)
    return calibrated.simulate_mosaic(subarray="SUB320", errors=0.05, sky_steps=STEPS, cosmic_rays=150, field=stars, target=TARGET)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("truth")


@pytest.fixture(scope="module")
def crds(pointed, folder):
    return mosaics.cache(folder, pointed)


@pytest.fixture(scope="module")
def catalogue(pointed, folder):
    return scene.write_catalogue(pointed[0].truth.field, folder / "stars.ecsv")


@pytest.fixture(scope="module")
def made(pointed, crds, catalogue):
    """The chain, aligned to the catalogue: exposures as they are after it, and the products."""
    after = copy.deepcopy(pointed)
    products, members = mosaics.run("image3", after, crds, {"tweakreg": {"abs_refcat": str(catalogue)}})
    assert [members.steps[step][0] for step in ("tweakreg", "skymatch", "outlier_detection")] == ["COMPLETE"] * 3
    return after, products


def placed(made):
    """Misses of each exposure in the mean of its stars [mas], and of all stars about that."""
    found = mosaics.errors(made)
    means = np.array([miss.mean(1) for miss in found])
    return means, np.sqrt(np.mean(np.concatenate([miss - mean[:, None] for miss, mean in zip(found, means, strict=True)], axis=1) ** 2))


def test_exposures_lie_on_each_other(pointed, crds):
    after = copy.deepcopy(pointed)
    before, _ = placed(after)
    mosaics.run("image3", after, crds, {"outlier_detection": {"skip": True}, "source_catalog": {"skip": True}})
    means, scatter = placed(after)
    assert np.sqrt(np.mean((before - before.mean(0)) ** 2)) > 40
    assert np.sqrt(np.mean((means - means.mean(0)) ** 2)) < 2 and scatter < 2


def test_exposures_lie_where_the_catalogue_says(made):
    after, _ = made
    means, scatter = placed(after)
    assert np.abs(means.mean(0)).max() < 0.5 and np.abs(means).max() < 5 and scatter < 2


def test_levels_of_the_sky(made):
    after, _ = made
    noise = np.nanmedian(after[0].exposure.err)
    levels = np.array([one.exposure.header["BKGLEVEL"] for one in after])
    print("sky", (levels - STEPS) / noise)
    assert np.abs(levels - STEPS).max() < 0.15 * noise and not any(one.exposure.header["BKGSUB"] for one in after)


def covered(made, product):
    """How many images see each pixel of the first, of others; edges and bad pixels of those count too."""
    counts = []
    for one in made:
        ny, nx = one.exposure.sci.shape
        y, x = np.mgrid[:ny, :nx]
        seen = 0
        for other in made:
            xx, yy = other.exposure.wcs.invert(*one.exposure.wcs(x, y), with_bounding_box=False)
            seen = seen + ((xx > 1) & (xx < nx - 2) & (yy > 1) & (yy < ny - 2))
        counts.append(seen)
    return counts


def counted(after, products):
    """Of all pixels of all exposures: the sum of the hits (sigma), whether it is flagged, how many images see it."""
    hits, flags = [], []
    for one, crf in zip(after, products["crf"], strict=True):
        sigma = np.zeros(crf.dq.shape)
        np.add.at(sigma, (one.truth.cosmic_rays["row"], one.truth.cosmic_rays["col"]), one.truth.cosmic_rays["sigma"])
        hits, flags = [*hits, sigma], [*flags, crf.dq & bits.OUTLIER != 0]
    return np.array(hits), np.array(flags), np.array(covered(after, products))


def test_cosmic_rays(made):
    """Hits where at least three images tell what is right; their neighbours are flagged for a reason, as resampling spreads them."""
    sigma, flags, count = counted(*made)
    strong = (sigma > 10) & (count > 2)
    print("outliers", flags[strong].mean(), strong.sum(), np.sum(flags & (sigma == 0)), flags.size)
    assert flags[strong].mean() > 0.93 and strong.sum() > 100 and np.sum(flags & (sigma == 0)) < 3e-5 * flags.size


@pytest.mark.full
def test_cosmic_rays_in_a_crowd(folder):
    """600 stars in 6 arcsec, and 400 hits in each exposure: no fewer are found than with jwst's thresholds."""
    stars = scene.make_scene(*TARGET, radius=6.0, stars=600, galaxies=0, faintest=1e-7, brightest=2e-5, separation=0.15)
    crowd = calibrated.simulate_mosaic(subarray="SUB320", errors=0.05, sky_steps=STEPS, cosmic_rays=400, field=stars, target=TARGET)
    crds, truth = mosaics.cache(folder / "crowd", crowd), scene.write_catalogue(stars, folder / "crowd.ecsv")
    found = {}
    for name, settings in {"ours": {}, "theirs": {"peak": "0 0"}}.items():
        after = copy.deepcopy(crowd)
        steps = {"tweakreg": {"abs_refcat": str(truth)}, "outlier_detection": settings, "source_catalog": {"skip": True}}
        sigma, flags, count = counted(after, mosaics.run("image3", after, crds, steps)[0])
        some = [(sigma > low) & (sigma <= high) & (count > 2) for low, high in ((5, 10), (10, 30), (30, np.inf))]
        found[name] = [flags[bin].mean() for bin in some], np.sum(flags & (sigma == 0))
    print("crowd", found)
    assert np.all(np.subtract(found["ours"][0], found["theirs"][0]) >= 0) and found["ours"][1] <= found["theirs"][1]
    assert found["ours"][0][1] > 0.95 and found["ours"][0][2] > 0.99


@pytest.mark.full
@pytest.mark.parametrize("count, separation, brightest", [(600, 0.15, 2e-5), (1500, 0.1, 5e-5)])
def test_totals_in_a_crowd(folder, count, separation, brightest):
    """Of stars that have no neighbour within 9 pixels, among many that have; and the field is aligned to its dense catalogue."""
    stars = scene.make_scene(*TARGET, radius=6.0, stars=count, galaxies=0, faintest=1e-7, brightest=brightest, separation=separation)
    crowd = calibrated.simulate_mosaic(subarray="SUB320", errors=0.05, sky_steps=STEPS, cosmic_rays=100, field=stars, target=TARGET)
    crds, path = mosaics.cache(folder / f"crowd{count}", crowd), scene.write_catalogue(stars, folder / f"crowd{count}.ecsv")
    after = copy.deepcopy(crowd)
    products, members = mosaics.run("image3", after, crds, {"tweakreg": {"abs_refcat": str(path)}})
    means, _ = placed(after)
    (i2d,), table, truth = products["i2d"], products["cat"][0].catalogue, Table.read(path)
    places = np.column_stack(i2d.wcs.invert(truth["RA"], truth["DEC"], with_bounding_box=False))
    apart = np.array([np.sort(np.hypot(*(places - place).T))[1] for place in places])
    places = table["sky_centroid"].ra.deg, table["sky_centroid"].dec.deg
    number = mosaics.nearest(*places, truth["RA"], truth["DEC"], within=30)
    flux = np.asarray(truth["flux"])[number]
    good = (number >= 0) & (apart[number] > 9) & (flux > 1e-6)
    ratio = np.asarray(table["aper_total_flux"].value)[good] / flux[good]
    theirs = ratio * table.meta["aperture_params"]["aperture_corrections"][-1] / table.meta["total_correction"]["factor"]
    print(
        "crowd", count, good.sum(), "ours", np.nanmedian(ratio), np.nanmean(ratio), "jwst's", np.nanmedian(theirs), "aligned", means.mean(0)
    )
    assert good.sum() >= 20 and abs(np.nanmedian(ratio) - 1) < 0.01 and np.nanmedian(theirs) < 0.95
    assert np.abs(means.mean(0)).max() < 0.5 and np.abs(means).max() < 5


def test_mosaic_is_made_of_them(made, catalogue):
    """Sums in apertures, of isolated stars with all of their light."""
    (i2d,) = made[1]["i2d"]
    stars = Table.read(catalogue)
    x, y = i2d.wcs.invert(stars["RA"], stars["DEC"], with_bounding_box=False)
    ny, nx = i2d.sci.shape
    places = np.column_stack([x, y])
    apart = [np.sort(np.hypot(*(places - place).T))[1] for place in places]
    inside = (x > 24) & (y > 24) & (x < nx - 25) & (y < ny - 25) & (np.array(apart) > 2 * RADIUS - 2) & (stars["flux"] > 2e-6)
    places, flux = places[inside], np.asarray(stars["flux"])[inside]
    ring = ApertureStats(i2d.sci, CircularAnnulus(places, 14, 20)).median
    sums = ApertureStats(i2d.sci, CircularAperture(places, RADIUS), sum_method="exact")
    ratio = (sums.sum - ring * np.pi * RADIUS**2) * i2d.header["PIXAR_SR"] * 1e6 / flux
    bias = np.sum((ratio - 1) * flux) / np.sum(flux)
    print("apertures", bias, np.median(ratio) - 1, len(flux), np.std(ratio) / np.sqrt(len(flux)))
    assert np.isfinite(ratio).all() and len(flux) > 20 and abs(bias) < 0.003


def test_catalogue_is_right(made, catalogue):
    (cat,) = made[1]["cat"]
    table, stars = cat.catalogue, Table.read(catalogue)
    ra, dec = table["sky_centroid"].ra.deg, table["sky_centroid"].dec.deg
    number = mosaics.nearest(ra, dec, stars["RA"], stars["DEC"])
    flux = np.asarray(stars["flux"])[number]
    good = (number >= 0) & (flux > 2e-6)
    total = np.asarray(table["aper_total_flux"], float)
    ratio = total[good] / flux[good]
    print("totals", np.nanmedian(ratio), np.nanmean(ratio), np.nanstd(ratio) / np.sqrt(good.sum()), good.sum())
    assert abs(np.nanmedian(ratio) - 1) < 0.01
    miss = mosaics.away(ra[good], dec[good], np.asarray(stars["RA"])[number[good]], np.asarray(stars["DEC"])[number[good]])
    print("places", np.median(miss, axis=1), np.sqrt(np.mean(miss**2)))
    assert np.abs(np.median(miss, axis=1)).max() < 0.5


def test_noise_of_the_mosaic_is_its_error(made):
    (i2d,), (segm,) = made[1]["i2d"], made[1]["segm"]
    empty = (segm.sci == 0) & np.isfinite(i2d.sci) & (i2d.extra["WHT"] > np.nanmedian(i2d.extra["WHT"]) * 0.9)
    pull = (i2d.sci[empty] - np.median(i2d.sci[empty])) / i2d.err[empty]
    scatter = 1.4826 * np.median(np.abs(pull))
    print("noise", scatter)
    assert abs(scatter - 1) < 0.05


@pytest.mark.parametrize("jitter", [0.0, 0.02])
def test_transit(folder, jitter):
    series = Series(transit=Transit(depth=0.005), jitter=jitter)
    star = scene.with_star(scene.make_scene(*TARGET, stars=0, galaxies=0), *TARGET, 0.01)
    mode = {"exp_type": "NRC_TSIMAGE", "detector": "NRCB1", "subarray": "SUB64P", "aim": "NRCB1_SUB64P", "ngroups": 4, "tframe": 0.3}
    parts = calibrated.simulate_segments(series, nints=200, each=100, field=star, **mode)
    crds = mosaics.cache(folder / f"tso{jitter}", parts)
    products, _ = mosaics.run("tso3", parts, crds)
    table = products["phot"][0].catalogue
    curve = np.concatenate([part.truth.curve for part in parts])
    flux, error, factor = (np.asarray(v, float) for v in (table["net_aperture_sum"], table["net_aperture_sum_err"], curve["factor"]))
    dip = 1 - factor
    (depth, level), _, *_ = np.linalg.lstsq(np.column_stack([-dip / 0.005, np.ones(dip.size)]), flux, rcond=None)
    rest = flux - level * (1 - depth / level * dip / 0.005)
    scatter = np.std(rest) / np.median(error)
    print("transit", jitter, depth / level, np.median(error) / level, scatter)
    assert len(flux) == 200 and abs(depth / level - 0.005) < 3 * np.median(error) / level * np.sqrt(1 / 60 + 1 / 120)
    assert scatter < 1.1
