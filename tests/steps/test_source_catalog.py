"""source_catalog: stars are where they were put, as bright as they were made, also in total; and as the peer has it."""

import copy
import json

import asdf
import numpy as np
import pytest
from astropy.stats import SigmaClip
from astropy.table import QTable, Table
from photutils.aperture import CircularAnnulus
from photutils.segmentation import SourceFinder, deblend_sources, detect_sources
from scipy.ndimage import gaussian_filter

import dithers
import make
from jwcal.arithmetic.photometry.growth import excess_light, good_stars, measured_spread, spread_growth
from jwcal.kernels.photometry.peaks import parted_segments
from jwcal.kernels.photometry.ring_medians import ring_medians
from jwcal.model.references import References
from jwcal.products import stored
from jwcal.steps import resample, source_catalog
from jwcal.vocabulary.errors import ConfigError, InputError, ReferenceError, Skip
from peer import needs_peer, peer_python

SQUARE_ARCSEC = (np.pi / (180 * 3600)) ** 2
SIGMA = 0.034  # arcsec: a FWHM of 2.6 detector pixels
PIXEL = np.sqrt(2.29e-14 / SQUARE_ARCSEC)  # arcsec
VEGA = 1.7
SKY = dithers.SKY


def sky_of_stars(seed=4, step=0.55):
    """East and north in arcsec, flux in Jy, of stars on a disturbed grid."""
    random = np.random.default_rng(seed)
    grid = [(east, north) for east in np.arange(-2.2, 2.3, step) for north in np.arange(-1.9, 2.0, step)]
    east, north = np.transpose(grid) + random.uniform(-0.05, 0.05, (2, len(grid)))
    return east, north, 10 ** random.uniform(-6.2, -4.6, len(grid))


def mosaic(folder, stars, shape=(180, 190), **options):
    """Three dithers of stars as one image; where the stars are in it."""
    east, north, flux = stars
    peaks = flux / (2 * np.pi * SIGMA**2 * SQUARE_ARCSEC * 1e6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dithers, "STARS", tuple(zip(east, north, peaks, strict=True)))
        patch.setattr(dithers, "SIGMA", SIGMA)
        result = resample.apply(dithers.images(folder, shape=shape), **options)
        return result, result.wcs.invert(*dithers.star_positions())


def references(folder, exposure, rows=None):
    """apcorr of the Gaussian, and abvegaoffset."""
    percent = np.array([30, 50, 70, 80])
    radius = SIGMA / PIXEL * np.sqrt(-2 * np.log(1 - percent / 100))
    kinds = [("filter", "S8"), ("pupil", "S8"), *((name, "f4") for name in ("eefraction", "radius", "apcorr", "skyin", "skyout"))]
    table = [("F200W", "CLEAR", e / 100, r, 100 / e, 9.0, 13.0) for e, r in zip(percent, radius, strict=True)]
    table += [("F444W", "CLEAR", e / 100, 2 * r, 100 / e, 9.0, 13.0) for e, r in zip(percent, radius, strict=True)]
    table = np.array(table if rows is None else rows(table), kinds)
    content = {"APCORR": table, "INSTRUME": "NIRCAM", "DATAMODL": "NrcImgApcorrModel"}
    files = {"apcorr": make.reference_file(folder / "apcorr.fits", "apcorr", content), "abvegaoffset": folder / "abvega.asdf"}
    offsets = Table({"filter": ["F200W", "F444W"], "pupil": ["CLEAR", "CLEAR"], "abvega_offset": [VEGA, 3.1]})
    about = {"telescope": "JWST", "reftype": "abvegaoffset", "author": "t", "pedigree": "DUMMY", "description": "t"}
    about |= {"useafter": "2022-01-01T00:00:00", "instrument": {"name": "NIRCAM"}}
    asdf.AsdfFile({"abvega_offset": offsets, "meta": about}).write_to(files["abvegaoffset"])
    return References(files, exposure.header)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("catalogue")


@pytest.fixture(scope="module")
def stars():
    return sky_of_stars()


@pytest.fixture(scope="module")
def field(folder, stars):
    return mosaic(folder, stars)


@pytest.fixture(scope="module")
def refs(folder, field):
    return references(folder, field[0])


@pytest.fixture(scope="module")
def made(field, refs):
    return source_catalog.apply(field[0], refs)


def matched(table, places, flux):
    """For each source: the star's flux and its offset in pixels; sources without a star are left out."""
    away = np.hypot(table["xcentroid"][:, None] - places[0], table["ycentroid"][:, None] - places[1])
    found = away.min(axis=1) < 1.5
    return found, flux[away.argmin(axis=1)][found], away.min(axis=1)[found]


# --- truth -----------------------------------------------------------------------------------------------------------


def test_stars_are_found(made, field, stars):
    table = made[1].catalogue
    found, flux, away = matched(table, field[1], stars[2])
    assert found.all() and len(table) == len(stars[0])
    assert np.median(away) < 0.05
    bright = flux > 3e-6
    np.testing.assert_allclose(table["isophotal_flux"].value[bright], flux[bright], rtol=0.03)
    np.testing.assert_allclose(table["aper_bkg_flux"].value / (1e6 * field[0].header["PIXAR_SR"]), SKY, rtol=0.02)
    near = table["sky_centroid"].separation(table["sky_centroid"][0])
    assert near.arcsec.max() > 3


def test_totals(made, field, refs, stars):
    """Within 1 % of the truth; with the reference's correction alone, as the peer does it, they are 9 % low."""
    for options, expected, within in (({}, 1.0, 0.01), ({"total_correction": "reference"}, 0.907, 0.01)):
        table = source_catalog.apply(field[0], refs, **options)[1].catalogue if options else made[1].catalogue
        _, flux, _ = matched(table, field[1], stars[2])
        assert np.median(table["aper_total_flux"].value / flux) == pytest.approx(expected, abs=within)
    assert made[1].catalogue.meta["total_correction"]["stars"] > 30


@pytest.mark.parametrize("options, within", [({"pixel_scale_ratio": 0.6}, 0.01), ({"pixfrac": 0.6, "pixel_scale_ratio": 0.8}, 0.02)])
def test_totals_on_other_grids(folder, refs, stars, options, within):
    """Three dithers are few for small drops: 2 % there."""
    result, places = mosaic(folder, stars, **options)
    table = source_catalog.apply(result, refs)[1].catalogue
    _, flux, _ = matched(table, places, stars[2])
    assert np.median(table["aper_total_flux"].value / flux) == pytest.approx(1, abs=within)


def test_errors_are_those_of_the_noise(made, field, stars):
    """Jy from surface brightness: 1e-6 Jy are 23.9 mag; the errors hold."""
    table = made[1].catalogue
    flux, error = table["aper70_flux"].value, table["aper70_flux_err"].value
    np.testing.assert_allclose(table["aper70_abmag"], -2.5 * np.log10(flux / 1e-6) + 23.9, atol=1e-6)
    np.testing.assert_allclose(table["aper70_vegamag"], table["aper70_abmag"] - VEGA)
    np.testing.assert_allclose(table["aper70_abmag_err"], 2.5 * np.log10(1 + error / flux), rtol=1e-6)
    radius = table.meta["aperture_params"]["aperture_radii"][2]
    x, y = table["xcentroid"][5], table["ycentroid"][5]
    rows, columns = np.indices(field[0].sci.shape)
    near = np.hypot(columns - x, rows - y) < radius
    variance = np.sum(field[0].err[near].astype(float) ** 2) * np.pi * radius**2 / near.sum()
    assert error[5] == pytest.approx(np.sqrt(variance) * 1e6 * field[0].header["PIXAR_SR"], rel=0.1)


def test_products(made, field, tmp_path):
    exposure, catalogue, segments = made
    assert exposure is field[0] and [e.suffix for e in made] == ["i2d", "cat", "segm"]
    assert segments.sci.dtype == np.uint32 and segments.sci.shape == exposure.sci.shape
    assert "BUNIT" not in segments.header and "BUNIT" in exposure.header and segments.wcs is exposure.wcs
    table = catalogue.catalogue
    x, y = (np.rint(table[name]).astype(int) for name in ("xcentroid", "ycentroid"))
    np.testing.assert_array_equal(segments.sci[y, x], table["label"])
    np.testing.assert_array_equal(np.bincount(segments.sci.ravel())[1:], table["isophotal_area"].value)
    table.write(tmp_path / "cat.ecsv")
    again = QTable.read(tmp_path / "cat.ecsv")
    assert again.colnames == table.colnames and again["nn_dist"].unit == "pix"
    assert "date" not in table.meta
    again.write(tmp_path / "again.ecsv")


def test_box_is_around_the_segment(made):
    """Its upper corners are at the segment's edge; photutils, and with it the peer, has them a pixel further."""
    exposure, catalogue, segments = made
    rows, columns = np.nonzero(segments.sci == 7)
    for name, x, y in (("ll", columns.min() - 0.5, rows.min() - 0.5), ("ur", columns.max() + 0.5, rows.max() + 0.5)):
        corner = catalogue.catalogue[f"sky_bbox_{name}"][6]
        np.testing.assert_allclose(exposure.wcs.invert(corner.ra.deg, corner.dec.deg, with_bounding_box=False), (x, y), atol=1e-3)


def test_position_angle(field, refs):
    """An ellipse towards north-east has 45 degrees."""
    exposure = copy.deepcopy(field[0])
    rows, columns = np.indices(exposure.sci.shape)
    ra, dec = exposure.wcs(columns.astype(float), rows.astype(float), with_bounding_box=False)
    east, north = (ra - exposure.header["CRVAL1"]) * np.cos(np.radians(dec)) * 3600, (dec - exposure.header["CRVAL2"]) * 3600
    along, across = (east + north) / np.sqrt(2), (north - east) / np.sqrt(2)
    exposure.sci[:] = 50 * np.exp(-(along**2) / (2 * 0.15**2) - across**2 / (2 * 0.06**2))
    exposure.sci += np.random.default_rng(1).normal(size=exposure.sci.shape) * 0.05
    table = source_catalog.apply(exposure, refs)[1].catalogue
    main = table[np.argmax(table["isophotal_flux"])]
    assert main["sky_orientation"].value % 180 == pytest.approx(45, abs=1)
    assert main["ellipticity"].value == pytest.approx(1 - 0.06 / 0.15, abs=0.05)


def test_extended_sources(folder, field, refs, stars):
    """Galaxies among the stars are told apart, and don't disturb the stars' totals."""
    exposure, places = copy.deepcopy(field[0]), field[1]
    rows, columns = np.indices(exposure.sci.shape)
    for x, y in np.transpose(places)[:10]:
        away = np.hypot(columns - x, rows - y)
        exposure.sci[away < 8] = (SKY + 40 * np.exp(-((away / 5) ** 2)))[away < 8]
    table = source_catalog.apply(exposure, refs, ci1_star_threshold=1.75, ci2_star_threshold=1.55)[1].catalogue
    away = np.hypot(table["xcentroid"][:, None] - places[0], table["ycentroid"][:, None] - places[1])
    galaxy = away.argmin(axis=1) < 10
    assert galaxy.sum() >= 8 and np.mean(table["is_extended"][galaxy]) > 0.9 and np.mean(table["is_extended"][~galaxy]) < 0.2
    star = ~galaxy & (away.min(axis=1) < 1)
    truth = stars[2][away.argmin(axis=1)]
    assert np.median(table["aper_total_flux"].value[star] / truth[star]) == pytest.approx(1, abs=0.012)


def test_neighbours_that_nobody_found_are_told_by_their_light():
    """Half of the stars have some, which make them look wider; stars without are what is measured."""
    random, growth = np.random.default_rng(2), (np.array([1.0, 2.0, 3.0, 4.5]), np.array([0.3, 0.5, 0.7, 0.85]))
    fluxes = np.tile(spread_growth(growth, growth[0][:3], 0.2), (200, 1)) * random.normal(1, 0.01, (200, 3))
    light = np.where(np.arange(200) < 100, 0.0, random.exponential(0.3, 200))
    fluxes *= 1 + 0.1 * light[:, None] * np.array([0.1, 0.3, 1.0])
    light += random.normal(0.2, 0.02, 200)
    light[3] = np.nan
    excess = excess_light(light)
    assert np.isnan(excess[3]) and abs(np.nanmedian(excess[:100])) < 0.02 and np.isnan(excess[light > 0.8]).all()
    spread = [measured_spread(fluxes, growth[0][:3], growth, 0.2, *given) for given in ((), (excess,))]
    assert abs(spread[1] - 0.2) < 0.01 < spread[0] - 0.2
    assert not excess_light(np.array([0.2, 9.0, np.nan])).any() and not excess_light(random.normal(0.2, 0.02, 200)).any()


def test_blend_is_divided(folder, refs):
    """Two stars 9 pixels apart, and with deblend off one source."""
    exposure, places = mosaic(folder, ([0.0, 0.28, 1.2], [0.0, 0.0, 1.0], np.array([5e-5, 4e-5, 3e-6])), shape=(120, 120))
    assert len(source_catalog.apply(exposure, refs, deblend=False)[1].catalogue) == 2
    table = source_catalog.apply(exposure, refs)[1].catalogue
    assert len(table) == 3
    pair = np.argsort(table["nn_dist"])[:2]
    np.testing.assert_array_equal(table["nn_label"][pair], table["label"][pair[::-1]])
    assert table["nn_dist"][pair[0]].value == pytest.approx(0.28 / PIXEL, abs=0.3)


# --- little to find --------------------------------------------------------------------------------------------------


def test_blank_image(folder, field, refs, made):
    """No sources, or no pixels: a table without rows, with all columns."""
    for value in (SKY, np.nan):
        exposure = copy.deepcopy(field[0])
        exposure.sci[:] = value
        result = source_catalog.apply(exposure, refs)
        assert len(result[1].catalogue) == 0 and result[1].catalogue.colnames == made[1].catalogue.colnames
        assert not result[2].sci.any()
        result[1].catalogue.write(folder / "blank.ecsv", overwrite=True)
        read = QTable.read(folder / "blank.ecsv")
        assert len(read) == 0 and {"aper_total_flux", "sky_centroid"} <= set(read.colnames)


def test_single_star(folder, refs):
    flux = 2e-5
    exposure, places = mosaic(folder, ([0.5], [0.4], np.array([flux])), shape=(100, 100))
    table = source_catalog.apply(exposure, refs)[1].catalogue
    assert len(table) == 1 and table["nn_label"][0] == -1 and np.isnan(table["nn_dist"][0])
    assert table["aper_total_flux"][0].value == pytest.approx(flux, rel=0.06)  # what its place in its pixel makes


def test_mostly_nan(field, refs, stars):
    exposure = copy.deepcopy(field[0])
    gone = np.zeros(exposure.sci.shape, bool)
    gone[:, : int(0.6 * gone.shape[1])] = True
    exposure.sci[gone] = exposure.err[gone] = np.nan
    exposure.pixels[0].extra["WHT"][gone] = 0
    table = source_catalog.apply(exposure, refs)[1].catalogue
    inside = table["xcentroid"] > 0.6 * gone.shape[1] + 6
    found, flux, _ = matched(table[inside], field[1], stars[2])
    assert found.sum() > 10 and np.median(table["aper_total_flux"].value[inside][found] / flux) == pytest.approx(1, abs=0.015)
    cut = np.abs(table["xcentroid"] - 0.6 * gone.shape[1]) < 1
    assert np.all(np.isnan(table["aper70_flux"][cut]))


def test_without_errors(field, refs, made):
    exposure = copy.deepcopy(field[0])
    exposure.err = None
    table = source_catalog.apply(exposure, refs)[1].catalogue
    np.testing.assert_allclose(table["aper70_flux"].value, made[1].catalogue["aper70_flux"].value)
    assert np.all(np.isnan(table["aper70_flux_err"])) and np.all(np.isnan(table["isophotal_flux_err"]))


@pytest.mark.parametrize("finder", ["dao", "iraf"])
def test_star_finders(field, refs, stars, made, finder):
    table = source_catalog.apply(field[0], refs, starfinder=finder, kernel_fwhm=2.7, sharplo=0.2, roundlo=-1.0, roundhi=1.0)[1].catalogue
    found, flux, away = matched(table, field[1], stars[2])
    assert found.sum() > 0.9 * len(stars[0]) and np.median(away) < 0.2
    assert table.colnames == made[1].catalogue.colnames and np.all(np.isnan(table["semimajor_sigma"]))
    assert np.median(table["aper_total_flux"].value[found] / flux) == pytest.approx(1, abs=0.05)  # their centroids are worse


def test_without_references(field, made):
    table = source_catalog.apply(field[0], References({}, field[0].header))[1].catalogue
    assert "aper3_flux" in table.colnames and table.meta["abvega_offset"] == 0
    np.testing.assert_array_equal(table["aper_total_flux"], table["aper3_flux"])


# --- bad input -------------------------------------------------------------------------------------------------------


def test_bad_input(folder, field, refs):
    cal = copy.deepcopy(field[0])
    del cal.pixels[0].extra["WHT"]
    with pytest.raises(InputError, match="no mosaic"):
        source_catalog.apply(cal, refs)
    rate = copy.deepcopy(field[0])
    rate.header["BUNIT"] = "DN/s"
    with pytest.raises(InputError, match="it is in DN/s"):
        source_catalog.apply(rate, refs)
    with pytest.raises(ConfigError, match="rise"):
        source_catalog.apply(field[0], refs, aperture_ee1=60)
    with pytest.raises(Skip, match="no row for 60 %"):
        source_catalog.apply(field[0], refs, aperture_ee2=60)
    other = copy.deepcopy(field[0])
    other.header["FILTER"] = "F115W"
    with pytest.raises(Skip, match="no row for filter F115W, pupil CLEAR"):
        source_catalog.apply(other, refs)


@pytest.mark.parametrize(
    "rows, message",
    [
        (lambda rows: rows[:4] + rows[:1], "2 rows for 30 %"),
        (lambda rows: [(*rows[0][:5], 3.0, 4.0), *rows[1:]], "different background rings"),
    ],
)
def test_bad_apcorr(tmp_path, field, rows, message):
    with pytest.raises(ReferenceError, match=message):
        source_catalog.apply(field[0], references(tmp_path, field[0], rows))


# --- arithmetic ------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Input data contains invalid values")
def test_medians_of_rings():
    random = np.random.default_rng(2)
    image = random.normal(size=(40, 50)).astype("f4")
    image[random.random(image.shape) < 0.05] = 100
    image[random.random(image.shape) < 0.05] = np.nan
    x, y = random.uniform(-3, 45, (2, 30))
    x[3] = np.nan
    found = ring_medians(image, x, y, 4.2, 8.7)
    for k in range(30):
        masks = CircularAnnulus((x[k], y[k]), 4.2, 8.7).to_mask(method="center") if k != 3 else None
        values = [] if masks is None or masks.get_values(image).size == 0 else SigmaClip(3.0)(masks.get_values(image), masked=False)
        if len(values) == 0:
            assert np.isnan(found[:, k]).all()
        else:
            expected = np.median(values), np.sqrt(np.pi / 2 / len(values)) * np.std(values, dtype=float)
            np.testing.assert_allclose(found[:, k], expected, rtol=1e-6)


@pytest.mark.parametrize("beta", [2.5, 4.0, None])
def test_light_is_spread(beta):
    """A Moffat function, or a Gaussian, known at three radii: photons that are moved at random."""
    random = np.random.default_rng(8)
    uniform = random.random(400_000)
    squares = -2 * np.log(uniform) if beta is None else uniform ** (1 / (1 - beta)) - 1
    fractions = np.array([0.3, 0.5, 0.7])
    radii = np.sqrt(-2 * np.log(1 - fractions) if beta is None else (1 - fractions) ** (1 / (1 - beta)) - 1)
    np.testing.assert_allclose(spread_growth((radii, fractions), radii, 0.0), fractions, atol=1e-6)
    places = np.sqrt(squares) * np.exp(2j * np.pi * random.random(squares.size))
    for spread in (0.02, 0.3):
        moved = np.abs(places + np.sqrt(spread) * (random.normal(size=squares.size) + 1j * random.normal(size=squares.size)))
        expected = [np.mean(moved < r) for r in radii]
        np.testing.assert_allclose(spread_growth((radii, fractions), radii, spread), expected, atol=0.003)


def test_spread_is_measured():
    radii, fractions = np.array([0.8, 1.2, 1.7]), np.array([0.3, 0.5, 0.7])
    random = np.random.default_rng(8)
    for spread in (0.0, 0.15, 0.4):
        inside = spread_growth((radii, fractions), radii, spread)
        fluxes = random.uniform(1, 9, (40, 1)) * inside * random.normal(1, [0.03, 0.02, 0.001], (40, 3))
        assert measured_spread(fluxes, radii, (radii, fractions), 0.25) == pytest.approx(spread, abs=0.05)
    assert measured_spread(fluxes[:0], radii, (radii, fractions), 0.25) == 0.25
    fluxes[:5, 0] *= 0.5  # galaxies
    good = good_stars(fluxes, np.full(40, 1e-3), np.arange(40) < 39)
    assert not good[:5].any() and good[5:39].mean() > 0.9 and not good[39]


@pytest.mark.parametrize("connectivity", [4, 8])
def test_segments_with_one_peak_stay_whole(connectivity):
    """What photutils divides is among those that are looked at, and it comes out as if all had been."""
    random = np.random.default_rng(6)
    image = gaussian_filter(random.normal(size=(200, 220)), 2.5) * 20
    level = np.full(image.shape, 0.8)
    found = detect_sources(image, level, 10, connectivity=connectivity)
    doubtful = parted_segments(image, found.data, 10, connectivity == 8)
    assert 10 < doubtful.size < 0.7 * found.n_labels
    options = {"n_pixels": 10, "connectivity": connectivity, "n_levels": 32, "contrast": 0.001, "mode": "exponential"}
    whole = SourceFinder(progress_bar=False, **options)(image, level)
    assert whole.n_labels > found.n_labels + 10
    some = deblend_sources(image, found, labels=doubtful, progress_bar=False, **options)
    np.testing.assert_array_equal(some.data, whole.data)


# --- the peer --------------------------------------------------------------------------------------------------------

CASES = {
    "plain": {},
    "other": {"snr_threshold": 5.0, "npixels": 10, "kernel_fwhm": 2.5, "bkg_boxsize": 60, "localbkg_width": 6, "aperture_ee3": 80},
    "dao": {"starfinder": "dao", "sharplo": 0.2, "roundlo": -1.0, "roundhi": 1.0, "brightest": 30},
}
_PEER = """
import json
from stdatamodels.jwst import datamodels
from jwst.source_catalog import SourceCatalogStep
class Step(SourceCatalogStep):
    def get_reference_file(self, model, kind):
        return json.loads(str(files))[kind]
for name, options in json.loads(str(cases)).items():
    with datamodels.ImageModel(str(source)) as model:
        table = Step(**{k: str(v) if k == "connectivity" else v for k, v in options.items()}).process(model)
    out[f"{name} columns"] = np.array(table.colnames)
    for column in table.colnames:
        values = table[column]
        if hasattr(values, "ra"):
            out[f"{name} {column}"] = np.array([values.ra.deg, values.dec.deg])
        else:
            out[f"{name} {column}"] = np.array(getattr(values, "value", values))
        out[f"{name} {column} unit"] = np.array(str(getattr(values, "unit", "") or ""))
        out[f"{name} {column} format"] = np.array(str(table[column].info.format))
"""
UPPER = ("sky_bbox_ul", "sky_bbox_lr", "sky_bbox_ur")


@needs_peer
@pytest.mark.parity
def test_as_the_peer(folder, field, refs):
    source = stored.write(field[0], folder / "jw01234-o001_t001_nircam_clear-f200w_i2d.fits")
    files = json.dumps({kind: str(refs[kind].path) for kind in ("apcorr", "abvegaoffset")})
    theirs = peer_python(_PEER, cases=json.dumps(CASES), source=str(source), files=files)
    for name, options in CASES.items():
        table = source_catalog.apply(stored.read(source), refs, total_correction="reference", **options)[1].catalogue
        assert table.colnames == list(theirs[f"{name} columns"])
        for column in table.colnames:
            expected, values = theirs[f"{name} {column}"], table[column]
            if name == "dao" and np.all(np.isnan(expected.astype(float))):
                continue  # a star finder gives no shapes: NaN without a unit
            if column.startswith("sky_") and column != "sky_orientation":
                pixel = PIXEL if column in UPPER else 0  # the peer's upper corners are a pixel off
                apart = np.hypot((values.ra.deg - expected[0]) * np.cos(np.radians(expected[1])), values.dec.deg - expected[1]) * 3600
                np.testing.assert_allclose(apart, pixel * (np.sqrt(2) if column == "sky_bbox_ur" else 1), rtol=0.01, atol=1e-6)
                continue
            if name != "dao" or "isophotal" not in column:
                assert str(getattr(values, "unit", "") or "") == theirs[f"{name} {column} unit"], column
            assert str(table[column].info.format) == theirs[f"{name} {column} format"], column
            values = np.asarray(getattr(values, "value", values), float)
            np.testing.assert_allclose(values, expected.astype(float), rtol=1e-5, atol=1e-5 if "round" in column else 0, err_msg=column)
