"""tso_photometry: a star's light curve is as good as its photons, also where pixels are bad; and as the peer has it."""

import json

import numpy as np
import pytest
from astropy import units
from astropy.table import QTable
from scipy.special import erf

import dithers
import make
from jwcal.kernels.photometry.aperture_sums import aperture_sums
from jwcal.kernels.photometry.gaussian_fit import fit_gaussians
from jwcal.model.exposure import Members, Pixels
from jwcal.products import stored
from jwcal.steps import tso_photometry
from jwcal.vocabulary.errors import InputError, ReferenceError
from peer import needs_peer, peer_python

SHAPE = 64, 72
PLANNED = 36.0, 32.0  # pixels from 0
STAR = 37.3, 30.9
SIGMA = 1.1
FLUX, SKY = 4e5, 20.0  # electrons in an integration; of one pixel
AREA = 1e-13  # sr
BRIGHT = 1e-3  # MJy/sr of an electron
NAMES = "aperture_sum aperture_sum_err annulus_sum annulus_sum_err annulus_mean annulus_mean_err aperture_bkg aperture_bkg_err "
NAMES += "net_aperture_sum net_aperture_sum_err aperture_x aperture_y aperture_ra_icrs aperture_dec_icrs"
FIT = ["centroid_x", "centroid_y", "psf_width_x", "psf_width_y", "psf_flux"]
PEERS = ["MJD", "BJD_TDB", *NAMES.split(), *FIT]


def star(x, y, wide=SIGMA, high=SIGMA, shape=SHAPE):
    """A Gaussian of flux 1, integrated over the pixels."""

    def along(count, middle, width):
        edges = (np.arange(count + 1) - 0.5 - middle) / (np.sqrt(2) * width)
        return np.diff(erf(edges)) / 2

    return np.outer(along(shape[0], y, high), along(shape[1], x, wide))


def series(folder, count=40, first=1, jitter=0.0, noise=True, flux=None, seed=5, start=1, **keywords):
    """Integrations number `first`... of 100 of a star with noise of photons."""
    exposure = dithers.image(
        folder, shape=SHAPE, noise=False, **{"EXP_TYPE": "NRC_TSIMAGE", "SUBARRAY": "SUB64", "TARGNAME": "STAR", **keywords}
    )
    random = np.random.default_rng((seed, first))
    flux = np.ones(count) if flux is None else flux
    places = np.add(STAR, jitter * random.normal(size=(count, 2)))
    mean = np.array([FLUX * f * star(*place) for f, place in zip(flux, places, strict=True)]) + SKY
    counts = random.poisson(mean) if noise else mean
    sci, err = (counts * BRIGHT).astype("f4"), (np.sqrt(mean) * BRIGHT).astype("f4")
    exposure.pixels = [Pixels(sci=sci, err=err, dq=np.zeros(sci.shape, "u4"), wcs=exposure.wcs, header=exposure.header.sci)]
    header = exposure.header
    header.name = f"made-seg{first:03d}_calints.fits"
    header["INTSTART"], header["INTEND"], header["NINTS"], header["EFFINTTM"] = first, first + count - 1, count, 10.0
    for keyword, value in {"XREF_SCI": PLANNED[0] + 1, "YREF_SCI": PLANNED[1] + 1, "PIXAR_SR": AREA}.items():
        header.sci[keyword] = value
    numbers = np.arange(start, 101, dtype="i4")
    kinds = [("integration_number", "i4"), *((f"int_{w}_MJD_UTC", "f8") for w in ("start", "mid", "end"))]
    table = np.zeros(numbers.size, [*kinds, *((f"int_{w}_BJD_TDB", "f8") for w in ("start", "mid", "end"))])
    table["integration_number"] = numbers
    for name in table.dtype.names[1:]:
        table[name] = 59800 + numbers * 1e-3 + (0.002 if "BJD" in name else 0) + (4e-4 if "mid" in name else 0)
    exposure.tables = {"INT_TIMES": table}
    exposure.suffix = "calints"
    return exposure


def measure(*exposures, refs=None, **options):
    return tso_photometry.apply(Members([(e, "science") for e in exposures], name="star"), refs or {}, **options)


def curve(table):
    flux = table["net_aperture_sum"].value
    return flux / np.median(flux)


JY = FLUX * BRIGHT * 1e6 * AREA  # of the star


# --- truth -----------------------------------------------------------------------------------------------------------


def test_columns_and_units(tmp_path):
    result = measure(series(tmp_path))[0]
    table = result.catalogue
    assert result.suffix == "phot" and not result.pixels
    assert table.colnames == [*PEERS, "aperture_bad_pixels", "annulus_bad_pixels"]
    fluxes = [name for name in PEERS if ("sum" in name or "flux" in name or "annulus" in name or "bkg" in name)]
    assert {str(table[name].unit) for name in fluxes} == {"Jy"}
    assert table["aperture_x"].unit == table["psf_width_y"].unit == units.pix and table["aperture_ra_icrs"].unit == units.deg
    np.testing.assert_allclose(table["MJD"], 59800.0004 + np.arange(1, 41) * 1e-3)
    assert table.meta["target_name"] == "STAR" and table.meta["number_of_integrations"] == 40
    table.write(tmp_path / "phot.ecsv")
    assert isinstance(QTable.read(tmp_path / "phot.ecsv")["psf_flux"], units.Quantity)


def test_star_is_found_and_measured(tmp_path):
    """Flux, place and width of a star 1.7 pixels from where it was planned; a wide aperture takes nearly all of it."""
    table = measure(series(tmp_path), radius=6.0, radius_inner=8.0, radius_outer=12.0)[0].catalogue
    assert np.mean(table["net_aperture_sum"].value) == pytest.approx(JY, rel=1e-3)
    assert np.mean(table["psf_flux"].value) == pytest.approx(JY, rel=2e-3)
    np.testing.assert_allclose(table["centroid_x"].value, STAR[0], atol=0.05)
    np.testing.assert_allclose(table["centroid_y"].value, STAR[1], atol=0.05)
    np.testing.assert_allclose(table["psf_width_x"].value, SIGMA, rtol=0.02)
    there = [np.mean(table[name].value) for name in ("aperture_ra_icrs", "aperture_dec_icrs")]
    exposure = series(tmp_path)
    np.testing.assert_allclose(exposure.wcs.invert(*there), STAR, atol=0.02)


@pytest.mark.parametrize("jitter", [0.0, 0.02])
def test_transit_at_the_photon_limit(tmp_path, jitter):
    """0.5 %, with a scatter within 10 % of the photons', also with jitter; the quoted error is right."""
    flux = np.ones(100)
    flux[40:70] = 0.995
    table = measure(series(tmp_path, 100, jitter=jitter, flux=flux))[0].catalogue
    light = curve(table)
    depth = 1 - np.mean(light[40:70]) / np.mean(np.r_[light[:40], light[70:]])
    limit = np.median(table["net_aperture_sum_err"].value / table["net_aperture_sum"].value)
    assert limit == pytest.approx(1 / np.sqrt(FLUX), rel=0.2)
    assert depth == pytest.approx(0.005, abs=3 * limit / np.sqrt(20))
    scatter = np.std(light / flux)
    assert scatter < 1.1 * limit * (1 + 1.5 / np.sqrt(200))  # 10 %, and what the scatter of 100 values is known to


@pytest.mark.parametrize("bad", ["nan", "flag", "hits"])
def test_bad_pixels(tmp_path, bad):
    """Bad pixels in the star's core and hits in the ring do not show: neither in the scatter nor in the mean."""
    good, exposure = series(tmp_path), series(tmp_path)
    random = np.random.default_rng(3)
    rows, columns = np.indices(SHAPE)
    away = np.hypot(columns - STAR[0], rows - STAR[1])
    where = random.random(exposure.sci.shape) < (0.01 if bad == "hits" else 0.05)
    if bad == "hits":
        where &= (away > 4) & (away < 5)
        exposure.sci[where] += 3000 * BRIGHT
    elif bad == "nan":
        exposure.sci[where] = exposure.err[where] = np.nan
    else:
        exposure.dq[where] = 1
        exposure.sci[where] = 1e4
    clean, table = measure(good)[0].catalogue, measure(exposure)[0].catalogue
    assert np.mean(table["net_aperture_sum"]).value == pytest.approx(np.mean(clean["net_aperture_sum"]).value, rel=1e-3)
    assert np.std(curve(table)) < 1.15 * np.std(curve(clean))
    assert np.all(np.isfinite(table["net_aperture_sum"])) and np.all(clean["aperture_bad_pixels"] == 0)
    inside = where & (away < 2.2)  # touched by the aperture for certain
    assert np.all(table["aperture_bad_pixels"] >= inside.sum(axis=(1, 2)))
    ring = table["annulus_bad_pixels" if bad == "hits" else "aperture_bad_pixels"]
    assert ring.sum() >= 10
    omitted = measure(exposure, bad_pixels="omit")[0].catalogue  # as the peer does it
    assert np.std(curve(omitted)) > 1.5 * np.std(curve(clean))


def test_pixel_bad_always(tmp_path):
    """It is in neither sum nor area: the background is that of the good pixels."""
    exposure = series(tmp_path, noise=False)
    exposure.sci[:, 31, 41] = np.nan  # in the ring
    table = measure(exposure, centroid_source=False)[0].catalogue
    assert np.all(table["annulus_bad_pixels"] == 1)
    whole = measure(series(tmp_path, noise=False), centroid_source=False)[0].catalogue
    np.testing.assert_allclose(table["aperture_sum"].value, whole["aperture_sum"].value, rtol=1e-6)
    assert np.all(table["annulus_sum"] < whole["annulus_sum"])


def test_moving_centroid(tmp_path):
    """A star that drifts out of a fixed aperture stays in one that follows it."""
    exposure = series(tmp_path, noise=False)
    drift = np.linspace(-1.5, 1.5, 40)
    exposure.sci[:] = [BRIGHT * (FLUX * star(STAR[0] + d, STAR[1]) + SKY) for d in drift]
    fixed, moving = (measure(exposure, moving_centroid=m, fit_box_width=15)[0].catalogue for m in (False, True))
    assert np.ptp(curve(moving)) < 0.01 < 0.05 < np.ptp(curve(fixed))
    np.testing.assert_allclose(moving["aperture_x"].value, STAR[0] + drift, atol=0.02)


def test_segments_are_one_table(tmp_path):
    """In the order of time, whatever that of the members; each alone if it is asked for."""
    segments = [series(tmp_path, 10, first) for first in (21, 1, 11)]
    results = measure(*segments, save_catalog=True)
    table = results[0].catalogue
    np.testing.assert_allclose(table["MJD"], 59800.0004 + np.arange(1, 31) * 1e-3)
    assert table.meta["number_of_integrations"] == 30 and len(results) == 4
    assert [r.name for r in results[1:]] == [s.name for s in segments]
    np.testing.assert_array_equal(results[1].catalogue["aperture_sum"], table["aperture_sum"][20:])


def test_int_times_of_the_segment_alone(tmp_path):
    table = measure(series(tmp_path, 10, 21, start=21))[0].catalogue
    np.testing.assert_allclose(table["MJD"], 59800.0004 + np.arange(21, 31) * 1e-3)


def test_electrons(tmp_path):
    exposure = series(tmp_path, noise=False)
    exposure.header.sci["BUNIT"] = "DN/s"
    exposure.sci /= BRIGHT * 10 * 2
    refs = make.references(tmp_path, exposure, gain={"SCI": np.full((2048, 2048), 2.0, "f4")})
    table = measure(exposure, refs=refs, radius=6.0, radius_inner=8.0, radius_outer=12.0)[0].catalogue
    assert table["aperture_sum"].unit == units.electron
    np.testing.assert_allclose(table["net_aperture_sum"].value, FLUX, rtol=1e-4)
    with pytest.raises(ReferenceError, match="no gain"):
        measure(exposure)


def test_star_that_fills_the_image(tmp_path):
    exposure = series(tmp_path, noise=False, PUPIL="WLP8", SUBARRAY="SUB64P")
    exposure.sci[3, 5, 5] = np.nan
    table = measure(exposure)[0].catalogue
    np.testing.assert_allclose(table["net_aperture_sum"].value, (FLUX + SKY * np.prod(SHAPE)) * BRIGHT * 1e6 * AREA, rtol=1e-6)
    assert np.all(np.isnan(table["annulus_mean"])) and table["annulus_mean"].unit is None
    assert table["aperture_bad_pixels"][3] == 1


def test_blank_series(tmp_path):
    """No star, or no pixels at all: a table with NaN, at the planned place."""
    exposure = series(tmp_path, 5)
    exposure.sci[:] = np.nan
    table = measure(exposure)[0].catalogue
    assert len(table) == 5 and np.all(np.isnan(table["net_aperture_sum"]))
    np.testing.assert_array_equal(table["aperture_x"].value, PLANNED[0])


# --- kernels ---------------------------------------------------------------------------------------------------------


def test_areas_are_exact():
    from photutils.aperture import CircularAnnulus, CircularAperture

    random = np.random.default_rng(1)
    data = random.normal(size=(1, 30, 30)).astype("f4")
    x, y = random.uniform(-2, 32, (2, 50))
    for radius, inner in ((0.3, 0.0), (2.7, 0.0), (6.0, 4.0)):
        total, error, area, _ = aperture_sums(data, np.ones_like(data), np.zeros(50, int), x, y, radius, inner)
        circles = CircularAnnulus(np.transpose([x, y]), inner, radius) if inner else CircularAperture(np.transpose([x, y]), radius)
        expected, _ = circles.do_photometry(data[0].astype(float))
        np.testing.assert_allclose(np.nan_to_num(total), np.nan_to_num(expected), atol=1e-9)
        np.testing.assert_allclose(np.nan_to_num(error) ** 2, area, atol=1e-9)


def test_gaussians_are_fitted():
    cube = np.array([5 * star(20.2, 15.7, 1.3, 2.1), star(20, 15, 0.8, 0.7), np.zeros(SHAPE)])
    flux, wide, high = fit_gaussians(cube, np.array([20.2, 20, 20]), np.array([15.7, 15, 15]), 11, 4.67)
    np.testing.assert_allclose([flux[:2], wide[:2], high[:2]], [[5, 1], [1.3, 0.8], [2.1, 0.7]], rtol=1e-6)
    assert np.isnan(flux[2])


# --- bad input -------------------------------------------------------------------------------------------------------


def test_bad_input(tmp_path):
    with pytest.raises(InputError, match="no science members"):
        measure()
    exposure = series(tmp_path, 5)
    del exposure.header["XREF_SCI"]
    with pytest.raises(InputError, match="XREF_SCI is missing"):
        measure(exposure)
    exposure = series(tmp_path, 5)
    exposure.tables = {}
    with pytest.raises(InputError, match="no INT_TIMES"):
        measure(exposure)
    with pytest.raises(InputError, match="not the times of the 5 integrations from number 98"):
        measure(series(tmp_path, 5, 98))
    exposure = series(tmp_path, 5)
    exposure.wcs = None
    with pytest.raises(InputError, match="Run assign_wcs"):
        measure(exposure)
    other = series(tmp_path, 5, 6)
    other.header.sci["BUNIT"] = "ct"
    with pytest.raises(InputError, match="its flux is in ct, that of the first segment in Jy"):
        measure(series(tmp_path, 5), other)


# --- the peer --------------------------------------------------------------------------------------------------------

CASES = {
    "plain": {},
    "moving": {"moving_centroid": True, "fit_box_width": 9, "search_box_width": 30},
    "electrons": {"radius": 4.0},
    "planned": {"centroid_source": False, "radius": 5.5, "radius_inner": 7.0, "radius_outer": 9.5},
}
_PEER = """
import json
from stdatamodels.jwst import datamodels
from jwst.tso_photometry import TSOPhotometryStep
from jwst.tso_photometry import tso_photometry_step as module
for name, options in json.loads(str(cases)).items():
    class Step(TSOPhotometryStep):
        def get_reference_file(self, *args):
            return str(gain)
    with datamodels.CubeModel(str(sources[int(name == "electrons")])) as model:
        table = Step(**options).process(model)
    out[f"{name} meta"] = np.array(sorted(map(str, table.meta)))
    out[f"{name} columns"] = np.array(table.colnames)
    for column in table.colnames:
        out[f"{name} {column}"] = np.array(getattr(table[column], "value", table[column]))
        out[f"{name} {column} unit"] = np.array(str(getattr(table[column], "unit", "") or ""))
"""


@needs_peer
@pytest.mark.parity
def test_as_the_peer(tmp_path):
    exposure = series(tmp_path, 12)
    exposure.tables["INT_TIMES"] = exposure.tables["INT_TIMES"][:12]
    refs = make.references(tmp_path, exposure, gain={"SCI": np.full((2048, 2048), 2.0, "f4")})
    files = [stored.write(exposure, tmp_path / "jw01234001001_02101_00001-seg001_nrca1_calints.fits")]
    exposure.header.sci["BUNIT"] = "DN/s"
    exposure.pixels[0].sci, exposure.pixels[0].err = exposure.sci / (BRIGHT * 20), exposure.err / (BRIGHT * 20)
    files += [stored.write(exposure, tmp_path / "jw01234001001_02101_00002-seg001_nrca1_calints.fits")]
    theirs = peer_python(_PEER, cases=json.dumps(CASES), sources=[str(f) for f in files], gain=str(refs["gain"].path))
    for name, options in CASES.items():
        table = measure(stored.read(files[name == "electrons"]), refs=refs, **options)[0].catalogue
        assert table.colnames[:-2] == list(theirs[f"{name} columns"])
        assert sorted(set(table.meta) - {"number_of_integrations"}) == list(theirs[f"{name} meta"])
        for column in table.colnames[:-2]:
            assert str(table[column].unit or "") == theirs[f"{name} {column} unit"], column
            values, expected = getattr(table[column], "value", table[column]), theirs[f"{name} {column}"]
            if "psf" in column and name != "electrons":
                # the peer's fit ends when its gradient is below 1e-8, whatever the unit: in Jy after a few steps
                truth = JY if "flux" in column else SIGMA
                np.testing.assert_allclose(values, truth, rtol=0.02)
                assert np.all(np.abs(expected / truth - 1) > 0.02)
            else:
                loose = 1e-4 if "psf" in column else 1e-5 if "centroid" in column or "aperture_x" in column else 1e-6
                np.testing.assert_allclose(values, expected, rtol=loose, err_msg=f"{name} {column}")
