"""Slitless spectra and those of MIRI's prism as raw exposures: archive-format files whose truth independent arithmetic finds again."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from scipy.special import erf
from stdatamodels.jwst import datamodels

import readers
from jwcal.products import stored
from jwcal.simulate import grism, prism, scene, soss
from jwcal.simulate.from_rates import Shot, expose
from jwcal.simulate.instruments import Subarray
from jwcal.simulate.spectrograph import Spectrum
from jwcal.vocabulary.errors import InputError
from jwcal.workflow import plan
from small_exposures import run_jobs

CORNER = Subarray("GENERIC", 1, 1, 40, 32)


def spectrum(path, extension="EXTRACT1D"):
    with fits.open(path) as hdus:
        return np.array(hdus[extension].data)


def found(folder, pattern):
    """The one product that a pattern fits."""
    (path,) = sorted((folder / "results").rglob(pattern))
    return path


def calibrate(folder, last):
    """Run all jobs; skip where the chains of this version do not go as far as products of that suffix."""
    config = {"data": str(folder / "data"), "results": str(folder / "results"), "references": {"crds_path": str(folder / "crds")}}
    if not any(last in job.outputs for job in plan.make(config).jobs):
        pytest.skip(f"{last} is not made in this version")
    run_jobs(folder)


def opens(paths):
    """All files open in stdatamodels without a complaint; returns the names of their classes."""
    kinds = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*(asdf-astropy|extension URI|CRDS).*")
        for path in paths:
            if path.suffix != ".json":
                with datamodels.open(path) as model:
                    model.validate()
                    kinds.append(type(model).__name__)
    return kinds


# --- from rates to counts -----------------------------------------------------------------------------------------------------


def ramps(exposed, number=0):
    """Counts without noise less the bias and the dark, made linear, in DN a second: (int, row, col), by arithmetic of this test."""
    one = exposed.exposures[number]
    sensor, times = one.detector, one.setup.readout.group_times()
    counts = fits.getdata(one.uncal, "SCI").astype(float)
    above = counts - sensor.bias
    linear = sum(c * above**k for k, c in enumerate(sensor.correction().astype(float)))
    rate = (linear[:, -1] - linear[:, 0]) / (times[-1] - times[0])
    return (rate - sensor.dark / sensor.gain) / sensor.flat


@pytest.mark.parametrize(("exp_type", "detector"), [("NRC_TSGRISM", "NRCALONG"), ("NIS_SOSS", "NIS"), ("NRS_BRIGHTOBJ", "NRS1")])
def test_rates_come_back_from_raw_files(tmp_path, exp_type, detector):
    rate = np.linspace(20, 600, 3 * CORNER.xsize * CORNER.ysize).reshape(3, *CORNER.shape)
    shot = Shot(
        exp_type, rate, {"detector": detector, "subarray": CORNER, "ngroups": 4, "tframe": 5.0}, {"SPECTRUM": Table({"flux": [1.0]})}, 2
    )
    made = expose(tmp_path, [shot], noise=False, cosmic_rays=0.0)
    assert [path.name.split("_")[2] for path in made.uncals] == ["00001-seg001", "00001-seg002"]
    got = np.concatenate([ramps(made, n) for n in (0, 1)])
    sensor = made.exposures[0].detector
    usual = (sensor.dq == 0) & ~sensor.reference_pixels
    np.testing.assert_allclose(got[:, usual], rate[:, usual], atol=0.2, rtol=1e-3)  # whole counts over 15 s
    assert usual.mean() > 0.6
    with fits.open(made.exposures[1].truth) as hdus:
        assert hdus["SPECTRUM"].data["flux"] == [1.0]
    assert (made.crds / "config/jwst/server_config").exists()
    with datamodels.open(made.uncals[0]) as model:
        assert type(model).__name__ == "Level1bModel" and model.data.shape == (2, 4, *CORNER.shape)


def test_a_detector_without_a_flat(tmp_path):
    shot = Shot("NRS_BRIGHTOBJ", np.full(CORNER.shape, 100.0), {"subarray": CORNER, "nints": 1})
    made = expose(tmp_path, [shot], flat=False, noise=False, cache=False)
    assert (made.exposures[0].detector.flat == 1).all() and not any("flat" in path.name for path in made.references)


def test_same_rates_same_bytes(tmp_path):
    shot = Shot("NIS_SOSS", np.full(CORNER.shape, 100.0), {"subarray": CORNER, "nints": 2})
    first, second = (expose(tmp_path / name, [shot]) for name in "ab")
    for one, two in zip([*first.uncals, *first.references], [*second.uncals, *second.references], strict=True):
        assert one.read_bytes() == two.read_bytes()


def test_rates_that_do_not_fit(tmp_path):
    known = {"subarray": CORNER, "nints": 2}
    with pytest.raises(InputError, match="shape"):
        expose(tmp_path, [Shot("NIS_SOSS", np.zeros((5, 5)), known)])
    with pytest.raises(InputError, match="integrations"):
        expose(tmp_path, [Shot("NIS_SOSS", np.zeros((3, *CORNER.shape)), known)])
    with pytest.raises(InputError, match="subarray"):
        expose(tmp_path, [Shot("NIS_SOSS", np.zeros(CORNER.shape), known), Shot("NIS_SOSS", np.zeros((96, 2048)))])


# --- MIRI's prism -------------------------------------------------------------------------------------------------------------


def test_nods_from_raw_files_to_a_spectrum(tmp_path):
    made = prism.expose_nods(tmp_path)
    calibrate(tmp_path, "x1d")
    for path in made.exposures.uncals:  # each nod is the other's background
        assert found(tmp_path, path.name.replace("uncal", "x1d")).exists()
    with fits.open(found(tmp_path, made.exposures.uncals[0].name.replace("uncal", "cal"))) as hdus:
        assert hdus[0].header["S_BKDSUB"] == "COMPLETE"
    for path in sorted((tmp_path / "results").rglob("*_[sx][12]d.fits")):
        readers.check(path)
    table = spectrum(found(tmp_path, "*t001*_x1d.fits"))
    good = (table["WAVELENGTH"] > 5.6) & (table["WAVELENGTH"] < 11) & (table["NPIXELS"] > 0)
    ratio = table["FLUX"][good] / made.spectrum(table["WAVELENGTH"][good])
    assert good.sum() > 150
    assert np.nanmedian(ratio) == pytest.approx(1, abs=5e-3)


def test_a_series_from_raw_files_to_a_light_curve(tmp_path):
    made = prism.expose_series(tmp_path, noise=False, cosmic_rays=0.0)
    calibrate(tmp_path, "whtlt")
    assert len(made.exposures.uncals) == 2
    curve = np.asarray(Table.read(found(tmp_path, "*_whtlt.ecsv"))["whitelight_flux"])
    np.testing.assert_allclose(curve / curve[0], 1 - 0.01 * made.dip.shape, atol=5e-4)
    assert len(readers.check(found(tmp_path, "*t001*_x1dints.fits"))) == 8
    table = spectrum(found(tmp_path, "*t001*_x1dints.fits"))
    wavelength, flux = table["WAVELENGTH"][0], table["FLUX"][0]
    good = (wavelength > 5.6) & (wavelength < 11)
    assert np.nanmedian(flux[good] / made.spectrum(wavelength[good])) == pytest.approx(1, abs=5e-3)


# --- NIRCam's time series behind a grism -----------------------------------------------------------------------------------------

LINE = Spectrum(flux=0.01, at=3.2, slope=-1.2, lines=((3.4, 0.5, 0.004),))
CONTINUUM = Spectrum(flux=0.01, at=3.2, slope=-1.2)


@pytest.fixture(scope="module")
def transit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("transit")
    return folder, grism.expose_series(folder, spectrum=LINE, sky=0.0, noise=False, cosmic_rays=0.0)


def psf(places, middle, fwhm):
    """The part of a point source's light on each pixel, along one axis."""
    sigma, edges = fwhm / np.sqrt(8 * np.log(2)) * np.sqrt(2), np.append(places - 0.5, places[-1] + 0.5)
    return sum(part / 2 * np.diff(erf((edges - middle) / (width * sigma))) for part, width in ((0.85, 1), (0.15, 3)))


def test_a_grism_series_holds_the_spectrum_that_was_put_in(transit):
    _, made = transit
    rate, sensor = np.concatenate([ramps(made.exposures, n) for n in (0, 1)]), made.exposures.exposures[0].detector
    header = stored.header(made.exposures.uncals[0])
    x0, y0 = header["XREF_SCI"] - 1, header["YREF_SCI"] - 1
    columns, rows = np.arange(2048.0), np.arange(64)
    at_detector = 2.4 + 2.6 * (columns - x0 + 1530.88) / 2589.64
    assert np.interp(3.937, at_detector, columns) == pytest.approx(x0, abs=0.5)  # this wavelength is not deflected
    wavelength = at_detector / (1 + header["VELOSYS"] / 299792458)
    good = (sensor.dq == 0) & (np.abs(rows - y0) < 8)[:, None]
    seen = np.where(good, psf(rows, y0, 1.83)[:, None], 0).sum(axis=0)
    light = np.where(good, rate, 0).sum(axis=1) / np.maximum(seen, 1e-9)
    to_rate = 1e-6 / 9.30137e-14 / (0.061 * (1 + 0.5 * ((at_detector - 3.22) / 0.8) ** 2)) * 2.6 / 2589.64
    whole = (good.sum(axis=0) > 12) & (wavelength > 2.5) & (wavelength < 3.9)
    smooth = whole & (np.abs(wavelength - 3.4) > 0.02)
    ratio = light[0, smooth] / (to_rate * LINE(wavelength))[smooth]
    assert smooth.sum() > 900
    assert np.median(ratio) == pytest.approx(1, abs=1e-3) and np.std(ratio) < 0.02
    near = whole & (np.abs(wavelength - 3.4) < 0.015)
    excess = (light[0] - to_rate * CONTINUUM(wavelength))[near]
    assert np.average(wavelength[near], weights=excess) == pytest.approx(3.4, abs=1e-4)  # a tenth of a pixel
    curve = light[:, smooth].sum(axis=1)
    np.testing.assert_allclose(curve / curve[0], 1 - 0.01 * made.dip.shape, atol=3e-5)


def test_files_of_a_grism_series_are_the_archives(transit):
    _, made = transit
    kinds = opens([*made.exposures.uncals, *made.exposures.references])
    assert kinds[:2] == ["Level1bModel"] * 2 and {"NIRCAMGrismModel", "NrcWfssPhotomModel", "DistortionModel"} <= set(kinds)


@pytest.mark.full
def test_a_grism_series_from_raw_files_to_a_light_curve(transit):
    folder, made = transit
    calibrate(folder, "whtlt")
    table = spectrum(found(folder, "*t001*_x1dints.fits"))
    wavelength, flux = table["WAVELENGTH"][0], table["FLUX"][0]
    good = (wavelength > 2.5) & (wavelength < 3.9)
    assert np.nanmedian(flux[good] / made.spectrum(wavelength[good])) == pytest.approx(1, abs=2e-3)
    curve = np.asarray(Table.read(found(folder, "*_whtlt.ecsv"))["whitelight_flux"])
    np.testing.assert_allclose(curve / curve[0], 1 - 0.01 * made.dip.shape, atol=5e-4)


# --- wide fields ----------------------------------------------------------------------------------------------------------------

STAR = Spectrum(flux=1e-4, at=1.5, slope=-1.0)
SMALL = {
    "sources": [grism.Target(270, 240, STAR), grism.Target(290, 285, Spectrum(flux=1.5e-4, at=1.5), 0.15, 1.0, 0.6, 40.0)],
    **{"shape": (320, 320), "noise": False, "cosmic_rays": 0.0, "sky": 0.0},
}


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    folder = tmp_path_factory.mktemp("field")
    return folder, grism.expose_field(folder, grism.NIRISS, cache=False, **SMALL)


def test_a_field_is_direct_images_and_two_grisms(field):
    _, made = field
    headers = [stored.header(path) for path in made.exposures.uncals]
    assert [(h["EXP_TYPE"], h["FILTER"], h["PUPIL"]) for h in headers[::2]] == [
        ("NIS_IMAGE", "CLEAR", "F150W"),
        ("NIS_WFSS", "GR150C", "F150W"),
        ("NIS_WFSS", "GR150R", "F150W"),
    ]
    assert {h["FWCPOS"] for h in headers[2:]} == {226.0}
    moved = made.places[1] - made.places[0]
    assert np.ptp(moved, axis=0).max() < 0.05 and 6 < np.hypot(*moved[0]) < 9  # 0.5 arcsec of 0.0655
    np.testing.assert_allclose(made.places[0], made.places[2], atol=1e-9)
    kinds = opens([*made.exposures.uncals, *made.exposures.references])
    assert kinds[:6] == ["Level1bModel"] * 6 and {"NIRISSGrismModel", "NisWfssPhotomModel", "WfssBkgModel", "NisImgPhotomModel"} <= set(
        kinds
    )


@pytest.mark.parametrize("number", [2, 5], ids=["GR150C", "GR150R"])
def test_a_field_holds_the_spectra_that_were_put_in(field, number):
    """Light of the first order, its wavelengths and place by this test's own arithmetic from the figures in the reference."""
    _, made = field
    rate, sensor = ramps(made.exposures, number)[0], made.exposures.exposures[number].detector
    header = stored.header(made.exposures.uncals[number])
    rate, good = (a.T if number == 5 else a for a in (rate, sensor.dq == 0))
    (x0, y0) = made.places[number][0]
    factor = 1 + 0.002 * (x0 - 1023.5) / 1023.5 - 0.001 * (y0 - 1023.5) / 1023.5
    along0, across0 = (y0, x0) if number == 5 else (x0, y0)
    t = np.linspace(0.35, 0.6, 4000)
    along = along0 + factor * (-30 - 319 * t - 2 * t**2)
    columns = np.arange(round(along.min()) + 6, round(along.max()) - 6)
    t = np.interp(columns, along[::-1], t[::-1])
    at_detector = 0.8 + 1.5 * t
    inside = (at_detector > 1.345) & (at_detector < 1.655)
    columns, t, at_detector = columns[inside], t[inside], at_detector[inside]
    micron = 1.5 / factor / (319 + 4 * t)
    middle = across0 + factor * (3 + 1.5 * t)
    rows = np.arange(rate.shape[0])
    light = []
    for column, place in zip(columns, middle, strict=True):
        usable = good[:, column] & (np.abs(rows - place) < 8)
        light.append(rate[usable, column].sum() / psf(rows, place, 1.48)[usable].sum())
    conversion = 0.108 * (1 + 0.5 * ((at_detector - 1.5) / 0.17) ** 2)
    expected = 1e-6 / 1.010539e-13 * STAR(at_detector / (1 + header["VELOSYS"] / 299792458)) / conversion * micron
    assert columns.size > 60
    ratio = np.array(light) / expected
    assert np.median(ratio) == pytest.approx(1, abs=3e-3) and np.percentile(np.abs(ratio - 1), 80) < 0.02


def test_no_light_of_a_field_is_lost():
    (pupil,) = {one.pupil for one in grism.NIRISS}
    flat = Spectrum(flux=1e-3)
    image, galaxy = np.zeros((60, 400)), np.zeros((60, 400))
    first = grism.NIRISS[0]
    known = {"fwhm": 1.5, "orders": [1]}
    paths = grism.disperse(image, first, 350.0, 30.0, flat, **known)
    grism.disperse(galaxy, first, 350.0, 30.0, flat, kernel=scene.shape_of_galaxy(2.5, 1.0, 0.5, 0.3), **known)
    wavelength = np.linspace(*first.band, 10001)
    all_of_it = np.trapezoid(first.rate(1e-3, wavelength, first.orders[0]), wavelength)
    assert image.sum() == pytest.approx(all_of_it, rel=2e-3) and galaxy.sum() == pytest.approx(all_of_it, rel=2e-3)
    assert pupil == "F150W" and sorted(paths) == [1]
    turned = grism.disperse(np.zeros((60, 400)), first, 350.0, 30.0, flat, turned=1.0, **known)[1]
    lean = np.polyfit(turned.along, turned.across, 1)[0] - np.polyfit(paths[1].along, paths[1].across, 1)[0]
    assert lean == pytest.approx(np.tan(np.radians(-1.0)), rel=0.02)  # clockwise: by FWCPOS less the reference's


def test_older_references_of_nircam_are_in_t_alone(tmp_path):
    import asdf

    for field, form in ((0.0, "Polynomial1D"), (0.002, "list")):
        path, *_ = grism.write_references(tmp_path, [replace(grism.NIRCAM[0], field=field)])
        with asdf.open(path) as file:
            assert (form in type(file["dispx"][0]).__name__ or form == "list" and len(file["dispx"][0]) == 1) and (
                "invdispx" in file.tree
            ) == (field == 0)


@pytest.mark.full
def test_a_field_from_raw_files_to_spectra(tmp_path):
    made = grism.expose_field(tmp_path, grism.NIRISS)
    calibrate(tmp_path, "c1d")
    flux = np.asarray(Table.read(found(tmp_path, "*_cat.ecsv"))["isophotal_flux"])
    np.testing.assert_allclose(flux, made.scene.sources["flux"], rtol=0.05)
    for product in sorted((tmp_path / "results").rglob("*niriss_f150w-gr150?_x1d.fits")):
        row = spectrum(product)[0]
        good = (row["WAVELENGTH"] > 1.36) & (row["WAVELENGTH"] < 1.64)
        truth = made.sources[0].spectrum(row["WAVELENGTH"][good])
        assert np.nanmedian(row["FLUX"][good] / truth) == pytest.approx(1, abs=0.02)


# --- NIRISS's slitless spectra of one star -------------------------------------------------------------------------------------

QUIET = {"noise": False, "cosmic_rays": 0.0, "ngroups": 3}


@pytest.fixture(scope="module")
def planet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planet")
    return folder, soss.expose_series(folder, nints=3, each=2, **QUIET)


def test_three_orders_are_on_the_strip(planet):
    _, made = planet
    assert [path.name.split("_")[2] for path in made.exposures.uncals] == ["00001-seg001", "00001-seg002"]
    rate = np.concatenate([ramps(made.exposures, n) for n in (0, 1)]) - made.sky
    sensor = made.exposures.exposures[0].detector
    good = (sensor.dq == 0) & ~sensor.reference_pixels
    rows = np.arange(256)[:, None]
    near = {n: np.abs(rows - one.trace) < 18 for n, one in made.orders.items()}
    for number, others in ((1, (2, 3)), (2, (1, 3)), (3, (1, 2))):
        one = made.orders[number]
        alone = near[number] & ~near[others[0]] & ~near[others[1]]
        part = (soss.profile_image(soss.ORDERS[number], "SUBSTRIP256") * (good & alone)).sum(axis=0)
        usable = (part > 0.5) & (one.light > 200)
        light = np.where(good & alone, rate[0], 0).sum(axis=0)[usable] / part[usable]
        assert usable.sum() > 300
        np.testing.assert_allclose(light, one.light[usable], rtol=0.01)
    overlap = near[1] & near[2]
    assert overlap.any(axis=0).sum() > 500  # columns in which two orders lie on each other
    curve = np.where(good, rate, 0).sum(axis=(1, 2))
    np.testing.assert_allclose(curve / curve[0], 1 - 0.01 * made.dip.shape, atol=2e-5)


def test_light_of_an_order_by_arithmetic():
    """The first order at 1.5 micron: telescope, throughput and gain; the photom reference turns it back."""
    star = Spectrum(flux=0.1, at=1.5, slope=0.0)
    light = soss.column_light(soss.ORDERS[1], star, 0.7)
    u = np.arange(2048) / 2047
    wavelength = np.polynomial.polynomial.polyval(u, (2.833612, -2.069683, 0.214127, -0.361409, 0.229882))
    column = np.argmin(np.abs(wavelength - 1.5))
    photons = 0.1e-26 / 6.62607015e-34 * np.log(wavelength[column - 1] / wavelength[column + 1]) / 2
    assert light[column] == pytest.approx(photons * 25.4 * 0.411 / 1.6, rel=2e-3)
    at, jansky = soss.conversion(soss.ORDERS[1])
    np.testing.assert_allclose(at, wavelength, atol=1e-12)
    np.testing.assert_allclose((light * jansky)[20:-20], 0.1, rtol=1e-3)


@pytest.mark.parametrize("sigma", [0.7, 2.0])
def test_a_line_is_as_broad_as_the_kernel(sigma):
    line = Spectrum(flux=0.1, at=1.5, lines=((1.6, 5.0, 1e-4),))
    light = soss.column_light(soss.ORDERS[1], line, sigma) - soss.column_light(soss.ORDERS[1], Spectrum(flux=0.1, at=1.5), sigma)
    x = np.arange(2048)
    middle = np.average(x, weights=light)
    wavelength = soss.conversion(soss.ORDERS[1])[0]
    assert np.interp(middle, x, wavelength) == pytest.approx(1.6, abs=2e-4)
    width = np.sqrt(np.average((x - middle) ** 2, weights=light))
    assert width == pytest.approx(np.sqrt(sigma**2 + 1 / 12 + (1e-4 / 2.3548 / 9.9e-4) ** 2), rel=0.02)


def test_traces_turn_with_the_pupil_wheel():
    order = soss.ORDERS[1]
    (x, rest, at), (_, turned, moved) = order.trace(), order.trace(0.1)
    pivot = np.argmin(np.abs(x - order.pivot[0]))
    lean = (turned - rest)[[40, -40]] / (x - order.pivot[0])[[40, -40]]
    np.testing.assert_allclose(lean, np.radians(0.1), rtol=0.1)
    assert abs(turned[pivot] - rest[pivot]) < 0.1
    np.testing.assert_allclose(moved - at, 0.0008, atol=1e-12)


def test_other_subarrays_and_filters(tmp_path):
    small = soss.expose_series(tmp_path / "a", subarray="SUBSTRIP96", nints=2, each=None, cache=False, **QUIET)
    large = soss.profile_image(soss.ORDERS[1], "SUBSTRIP256")
    np.testing.assert_allclose(soss.profile_image(soss.ORDERS[1], "SUBSTRIP96"), large[10:106], atol=1e-12)  # row 1803 and not 1793
    np.testing.assert_allclose(soss.profile_image(soss.ORDERS[1], "FULL")[1792:], large, atol=1e-12)
    header = stored.header(small.exposures.uncals[0])
    assert (header["SUBARRAY"], header["SUBSTRT2"], header["PWCPOS"]) == ("SUBSTRIP96", 1803, 245.76)
    red = soss.expose_series(tmp_path / "b", subarray="SUBSTRIP96", filter="F277W", nints=1, transit=None, **QUIET)
    assert sorted(red.orders) == [1] and stored.header(red.exposures.uncals[0])["TSOVISIT"] is False
    one = red.orders[1]
    assert one.light[one.wavelength < 2.3].max() < 1e-3 * one.light[one.wavelength > 2.5].min()


def test_files_of_the_strip_are_the_archives(planet):
    _, made = planet
    kinds = opens([*made.exposures.uncals, *(path for kind, path in made.files.items() if kind not in ("specwcs", "spectrace"))])
    assert kinds[:2] == ["Level1bModel"] * 2
    assert {"PastasossModel", "SpecProfileModel", "SpecKernelModel", "SossBkgModel", "NisSossPhotomModel"} <= set(kinds)


@pytest.mark.full
def test_a_planet_from_raw_files_to_a_light_curve(planet):
    folder, made = planet
    calibrate(folder, "whtlt")
    with fits.open(found(folder, "*t001*_x1dints.fits")) as hdus:
        tables = {hdu.header["SPORDER"]: np.array(hdu.data) for hdu in hdus if hdu.name == "EXTRACT1D"}
    for order, (low, high) in {1: (0.9, 2.0), 2: (0.6, 0.85)}.items():
        wavelength, flux = tables[order]["WAVELENGTH"][0], tables[order]["FLUX"][0]
        good = (wavelength > low) & (wavelength < high)
        assert np.nanmedian(flux[good] / made.spectrum(wavelength[good])) == pytest.approx(1, abs=2e-3)
    curve = np.asarray(Table.read(found(folder, "*_whtlt.ecsv"))["whitelight_flux_order_1"])
    np.testing.assert_allclose(curve / curve[0], 1 - 0.01 * made.dip.shape, atol=5e-4)


@pytest.mark.full
def test_a_star_in_the_first_order_alone_from_its_raw_file(tmp_path):
    """A single exposure through F277W, as it is taken beside each series, ends with a combined spectrum of order 1."""
    made = soss.expose_series(tmp_path, subarray="SUBSTRIP96", filter="F277W", nints=1, transit=None, **QUIET)
    calibrate(tmp_path, "c1d")
    table = spectrum(found(tmp_path, "*niriss_f277w-gr700xd-substrip96_c1d.fits"), "COMBINE1D")
    good = (table["WAVELENGTH"] > 2.5) & (table["WAVELENGTH"] < 2.8)
    ratio = table["FLUX"][good] / made.spectrum(table["WAVELENGTH"][good])
    assert good.sum() > 250 and np.median(ratio) == pytest.approx(1, abs=3e-3)
