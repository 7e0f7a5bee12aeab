"""extract_1d: what was put in comes out, with its errors; bad pixels take no light; the peer's numbers."""

import copy
import json
import logging

import asdf
import numba
import numpy as np
import pytest
from astropy.io import fits

import make
import sky
import spectra as made
from jwcal.arithmetic.spectra import apertures, source_place
from jwcal.arithmetic.spectra.aperture_correction import aperture_correction
from jwcal.model.exposure import Exposure, Members
from jwcal.model.references import References
from jwcal.products import stored
from jwcal.simulate import spectrograph
from jwcal.simulate.spectrograph import Source, Spectrum, simulate_lrs
from jwcal.steps import extract_1d, resample_spec
from jwcal.vocabulary import dq as bits
from jwcal.vocabulary.errors import InputError, ReferenceError
from peer import needs_peer, peer_python

CALINTS = sky.SHARED / "real/miri_lrs_slitless/ERS_NGTS10_2022_new_drift_041_calints.fits"
GROUND = sky.SHARED / "real/miri_lrs_slitless/jw00623026001_crfints_ground.fits"
needs_real = pytest.mark.skipif(not CALINTS.exists(), reason=f"no real data at {CALINTS.parent}")
JY = 1e-13 * 1e6


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("references")
    more = {"apcorr": made.lrs_apcorr(folder / "apcorr.fits"), "psf": made.psf(folder / "psf.fits")}
    return spectrograph.write_lrs_references(folder) | more


def only(result):
    """The table of the only spectrum."""
    (spectrum,) = (result[0] if isinstance(result, list) else result).spectra
    return spectrum.table


def trace(shape, at=14.3, sigma=1.5, flux=100.0):
    """A Gaussian across rows of constant flux."""
    return np.broadcast_to(flux * np.exp(-0.5 * ((np.arange(shape[-1]) - at) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi)), shape).copy()


# --- the box ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "low", "high"),
    [
        ({"xstart": 5, "xstop": 9}, 4.5, 9.5),
        ({"xstart": 5.25, "xstop": 8.5}, 4.75, 9.0),
        ({"xstart": 5, "xstop": 9, "extract_width": 3.5}, 5.25, 8.75),
        ({"src_coeff": [[4.2], [8.9]]}, 4.2, 8.9),
        ({"xstart": 7.2, "xstop": 6.8, "extract_width": 0.5}, 6.75, 7.25),
    ],
)
def test_parts_of_pixels_count(tmp_path, entry, low, high):
    values = np.random.default_rng(1).normal(10, 1, (6, 20)).astype(np.float32).astype(float)
    exposure = made.image(values)
    table = only(extract_1d.apply(exposure, made.references(tmp_path, exposure, **entry)))
    edges = np.arange(21) - 0.5
    inside = np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0, 1)
    np.testing.assert_allclose(table["FLUX"], JY * values @ inside, rtol=1e-12)
    np.testing.assert_allclose(table["NPIXELS"], high - low)
    np.testing.assert_allclose(table["SURF_BRIGHT"], values @ inside / (high - low), rtol=1e-12)
    np.testing.assert_allclose(table["FLUX_ERROR"], JY * np.sqrt((inside**2).sum()))
    assert (table["DQ"] == 0).all()


def test_limits_that_run_along_the_spectrum_and_two_regions(tmp_path):
    exposure = made.image(np.ones((30, 40)))
    coefficients = [[4.0, 0.1], [8.5, 0.1], [20.0], [22.25]]
    table = only(extract_1d.apply(exposure, made.references(tmp_path, exposure, src_coeff=coefficients, ystart=3, ystop=20)))
    assert len(table) == 18
    np.testing.assert_allclose(table["NPIXELS"], 4.5 + 2.25)
    of_wavelength = [[4.0 - 5 * 10, 10.0], [8.5 - 5 * 10, 10.0], *coefficients[2:]]
    entry = {"src_coeff": of_wavelength, "independent_var": "wavelength", "ystart": 3, "ystop": 20}
    again = only(extract_1d.apply(exposure, made.references(tmp_path, exposure, **entry)))
    np.testing.assert_allclose(again["FLUX"], table["FLUX"])


def test_the_other_axis(tmp_path):
    values = np.random.default_rng(2).normal(10, 1, (3, 25, 20))
    regions = {"bkg_coeff": [[0.5], [3.5], [14.5], [18.5]], "bkg_order": 1}
    one, other = made.image(values), made.image(values.swapaxes(1, 2), vertical=False)
    tables = [
        only(extract_1d.apply(one, made.references(tmp_path, one, xstart=5.5, xstop=9, ystart=2, **regions))),
        only(extract_1d.apply(other, made.references(tmp_path, other, ystart=5.5, ystop=9, xstart=2, **regions))),
    ]
    for name in tables[0].dtype.names:
        np.testing.assert_array_equal(tables[0][name], tables[1][name])


@pytest.mark.parametrize("fit", [{"bkg_fit": "poly", "bkg_order": 1}, {"bkg_fit": "mean"}, {"bkg_fit": "median"}])
def test_background(tmp_path, fit):
    """A slope is a matter of a line; on both sides alike it has the mean in the middle."""
    shape = (40, 30)
    slope = 5 + 0.2 * np.arange(30) + 0.1 * np.arange(40)[:, None]
    exposure = made.image(trace(shape, 14.5) + slope)
    exposure.sci[7, 3] = np.nan
    exposure.dq[8, 4] = bits.DO_NOT_USE
    regions = {"bkg_coeff": [[1.5], [6.5], [22.5], [27.5]]}
    table = only(extract_1d.apply(exposure, made.references(tmp_path, exposure, xstart=9, xstop=20, **regions), **fit))
    exact = fit.get("bkg_order") == 1
    rows = slice(None) if exact else np.r_[:7, 9:40]
    np.testing.assert_allclose(table["FLUX"][rows], JY * 100, rtol=3e-4)
    np.testing.assert_allclose(table["BACKGROUND"][rows], slope[rows, 14:16].mean(axis=1), rtol=1e-5)
    # the noise of a line, a mean, a median through 10 pixels, for 12 in the aperture
    n, more = (10 if exact else 10), 1.2**2 if fit["bkg_fit"] == "median" else 1
    np.testing.assert_allclose(table["FLUX_VAR_POISSON"][0], JY**2 * (12 + more * 12**2 / n), rtol=1e-6)
    np.testing.assert_allclose(table["BKGD_VAR_POISSON"][0], more / n, rtol=1e-6)


def test_background_that_is_smoothed(tmp_path):
    values = np.random.default_rng(3).normal(5, 1, (40, 30)).astype(np.float32)
    exposure = made.image(values)
    refs = made.references(tmp_path, exposure, xstart=9, xstop=20, bkg_coeff=[[1.5], [6.5]])
    table = only(extract_1d.apply(exposure, refs, smoothing_length=6))  # odd: 5
    padded = np.pad(values[:, 2:7].mean(axis=1, dtype=float), 2, mode="edge")
    smooth = np.convolve(padded, np.full(5, 0.2), mode="valid")
    np.testing.assert_allclose(table["BACKGROUND"], smooth, rtol=1e-6)


def test_background_is_off_by_the_user_and_moves_or_stays(tmp_path):
    exposure = made.image(trace((20, 40), 20.0) + np.linspace(0, 39, 40))
    refs = made.references(tmp_path, exposure, xstart=10, xstop=20, bkg_coeff=[[1.5], [4.5]])
    assert (only(extract_1d.apply(exposure, refs, subtract_background=False))["BACKGROUND"] == 0).all()
    moved = only(extract_1d.apply(exposure, refs, position_offset=5.0))
    stays = only(extract_1d.apply(exposure, refs, position_offset=5.0, move_background=False))
    np.testing.assert_allclose(moved["BACKGROUND"], 8, rtol=1e-6)
    np.testing.assert_allclose(stays["BACKGROUND"], 3, rtol=1e-6)


# --- errors ----------------------------------------------------------------------------------------------------------------------


def test_errors_are_the_scatter(tmp_path):
    """200 realisations, as integrations; some pixels bad, a line taken off."""
    rng = np.random.default_rng(4)
    shape = (200, 60, 30)
    light = trace(shape[1:], flux=2000.0) + 20
    exposure = made.image(rng.normal(light, np.sqrt(light), shape))
    exposure.var_poisson[:] = light
    exposure.dq[:, 20, 14] = bits.DO_NOT_USE  # always
    exposure.dq[:, 30:40, 13] = bits.DO_NOT_USE * (rng.random((200, 10)) < 0.5)  # at times
    refs = made.references(tmp_path, exposure, xstart=9.5, xstop=19, bkg_coeff=[[0.5], [6.5], [22.5], [28.5]], bkg_order=1)
    table = only(extract_1d.apply(exposure, refs))
    ratio = table["FLUX"].std(axis=0) / np.sqrt((table["FLUX_ERROR"] ** 2).mean(axis=0))
    plain = np.r_[:20, 21:30, 40:60]
    assert abs(ratio[plain].mean() - 1) < 0.03
    assert abs(ratio[30:40].mean() - 1) < 0.08
    assert np.abs(ratio - 1).max() < 0.25  # a standard deviation of 200 is good to 5 %
    np.testing.assert_allclose(table["FLUX"].mean(axis=0), JY * 2000, rtol=0.012)
    np.testing.assert_allclose(
        table["FLUX_ERROR"] ** 2, sum(table[f"FLUX_VAR_{kind}"] for kind in ("POISSON", "RNOISE", "FLAT")), rtol=1e-12
    )


def test_a_variance_without_values_is_left_out(tmp_path, caplog):
    exposure = made.image(np.ones((10, 20)))
    exposure.var_flat[:] = np.nan
    table = only(extract_1d.apply(exposure, made.references(tmp_path, exposure, xstart=5, xstop=8)))
    np.testing.assert_allclose(table["FLUX_ERROR"], JY * 2)
    assert "VAR_FLAT has no value" in caplog.text


# --- bad pixels ------------------------------------------------------------------------------------------------------------------


def test_a_bad_pixel_takes_no_light(tmp_path):
    """The brightest pixel of some wavelengths: the peer loses a quarter of their light there."""
    exposure = made.image(trace((60, 30), flux=100.0))
    exposure.sci[10:50:10, 14] = np.nan
    exposure.sci[33:36, 13:16] = np.nan
    bad = [10, 20, 30, 33, 34, 35, 40]
    refs = made.references(tmp_path, exposure, xstart=9, xstop=19)
    table = only(extract_1d.apply(exposure, refs))
    np.testing.assert_allclose(table["FLUX"], JY * 100, rtol=2e-3)
    assert np.flatnonzero(table["DQ"] == bits.FLUX_ESTIMATED).tolist() == bad
    assert (table["NPIXELS"][[10, 34, 0]] == [10, 8, 11]).all()
    assert (table["FLUX_ERROR"][bad] > table["FLUX_ERROR"][0]).all()
    peers = only(extract_1d.apply(exposure, refs, bad_pixels="omit"))
    assert (peers["FLUX"][bad] < 0.8 * JY * 100).all()
    assert (peers["DQ"] == 0).all()


def test_flags_in_a_series_leave_its_light_curve(tmp_path):
    """2 % of the pixels are flagged at random in each integration: the white light curve keeps its scatter."""
    rng = np.random.default_rng(5)
    shape = (60, 80, 30)
    light = np.broadcast_to(trace(shape[1:], flux=1e5) + 50.0, shape) * (1 - 0.01 * (np.abs(np.arange(60) - 30) < 10))[:, None, None]
    exposure = made.image(rng.normal(light, np.sqrt(light)))
    exposure.var_poisson[:] = light
    refs = made.references(tmp_path, exposure, xstart=9, xstop=19)
    before = only(extract_1d.apply(exposure, refs))["FLUX"].sum(axis=1)
    exposure.dq[rng.random(shape) < 0.02] = bits.DO_NOT_USE
    after, cut = (only(extract_1d.apply(exposure, refs, bad_pixels=way))["FLUX"].sum(axis=1) for way in ("replace", "omit"))
    noise = 1 / np.sqrt(80 * 1e5)
    assert np.std(after / before) < 0.35 * noise  # the share of 2 % of the light
    assert abs((after / before).mean() - 1) < 0.1 * noise
    assert np.std(cut / before) > 4 * noise
    assert (cut / before).mean() < 0.99


def test_what_is_beyond_the_slit_is_no_bad_pixel(tmp_path):
    exposure = made.image(trace((60, 30), 25.0))
    exposure.sci[:, 27:] = np.nan
    exposure.sci[20, 25] = np.nan
    refs = made.references(tmp_path, exposure, xstart=20, xstop=29)
    table = only(extract_1d.apply(exposure, refs))
    peers = only(extract_1d.apply(exposure, refs, bad_pixels="omit"))
    np.testing.assert_allclose(table["FLUX"], peers["FLUX"][0], rtol=2e-6)
    assert np.flatnonzero(table["DQ"]).tolist() == [20]
    assert table["NPIXELS"][0] == 7


def test_too_little_is_left_for_an_estimate(tmp_path):
    exposure = made.image(trace((30, 30)))
    exposure.sci[10, 12:17] = np.nan
    exposure.sci[20] = np.nan
    table = only(extract_1d.apply(exposure, made.references(tmp_path, exposure, xstart=11, xstop=18)))
    dark = np.isnan(table["FLUX"])
    assert np.flatnonzero(dark).tolist() == [10, 20]
    assert (table["DQ"][dark] == bits.DO_NOT_USE).all()
    assert np.isnan(table["FLUX_ERROR"][dark]).all()
    assert np.isnan(table["SURF_BRIGHT"][dark]).all()


def test_any_number_of_threads(tmp_path):
    rng = np.random.default_rng(7)
    exposure = made.image(rng.normal(10, 1, (20, 50, 30)))
    exposure.dq[rng.random(exposure.sci.shape) < 0.05] = bits.DO_NOT_USE
    refs = made.references(tmp_path, exposure, xstart=9.5, xstop=19, bkg_coeff=[[0.5], [6.5]], bkg_order=1)
    tables = []
    before = numba.get_num_threads()
    for count in (1, before):
        numba.set_num_threads(count)
        tables.append(only(extract_1d.apply(exposure, refs)).tobytes())
    assert tables[0] == tables[1]


# --- units -----------------------------------------------------------------------------------------------------------------------


def test_units(tmp_path):
    exposure = made.image(trace((10, 30)), BUNIT="DN/s")
    refs = made.references(tmp_path, exposure, xstart=5, xstop=24)
    counts = extract_1d.apply(exposure, refs)[0].spectra[0]
    np.testing.assert_allclose(counts.table["FLUX"], 100, rtol=1e-5)
    assert (counts.header["TUNIT2"], counts.header["TUNIT4"]) == ("DN/s", "DN^2 / s^2")
    exposure.header.sci["BUNIT"] = "MJy"
    per_pixel = extract_1d.apply(exposure, refs)[0].spectra[0].table
    np.testing.assert_allclose(per_pixel["FLUX"], 1e8, rtol=1e-5)
    assert (per_pixel["SURF_BRIGHT"] == 0).all()
    assert (per_pixel["SB_ERROR"] == 0).all()
    exposure.header.sci["BUNIT"] = "MJy/sr"
    exposure.header.primary.remove("PIXAR_SR")
    with pytest.raises(InputError, match="PIXAR_SR is missing"):
        extract_1d.apply(exposure, refs)


def test_keywords(tmp_path):
    exposure = made.image(trace((10, 30)), SOURCEID=3, PA_APER=12.5)
    header = extract_1d.apply(exposure, made.references(tmp_path, exposure, xstart=5.5, xstop=24, ystart=2))[0].spectra[0].header
    expected = {"SLTNAME": "MIR_LRS-SLITLESS", "SRCTYPE": "POINT", "DISPAXIS": 2, "SPORDER": 1, "DETECTOR": "MIRIMAGE", "SOURCEID": 3}
    expected |= {"EXTRXSTR": 6.5, "EXTRXSTP": 25, "EXTRYSTR": 3, "EXTRYSTP": 10, "PA_APER": 12.5, "SLIT_DEC": 0.0}
    assert {key: header[key] for key in expected} == expected


# --- apertures of point sources --------------------------------------------------------------------------------------------------


def test_aperture_correction(tmp_path):
    wavelength, sizes = np.linspace(4, 8, 5), np.array([2, 4, 8])
    table = 1 + 0.1 * wavelength[:, None] + 1.0 / sizes
    exposure = made.image(np.ones((10, 30)))
    for unit, scale in (("pixels", 1), ("arcsec", made.ARCSEC)):
        path = made.apcorr(tmp_path / "apcorr.fits", sizes * scale, wavelength[::-1], table[::-1], unit=unit)
        refs = made.references(tmp_path, exposure, {"apcorr": path}, xstart=5, xstop=10)
        plain, corrected = (only(extract_1d.apply(exposure, refs, apply_apcorr=on)) for on in (False, True))
        factor = 1 + 0.1 * plain["WAVELENGTH"] + (1 / 4 + 1 / 8) / 2
        for name, power in (
            ("FLUX", 1),
            ("FLUX_ERROR", 1),
            ("SURF_BRIGHT", 1),
            ("SB_VAR_POISSON", 2),
            ("FLUX_VAR_POISSON", 2),
            ("NPIXELS", 0),
        ):
            np.testing.assert_allclose(corrected[name], plain[name] * factor**power, rtol=1e-6)
    exposure.header.primary["SRCTYPE"] = "EXTENDED"
    np.testing.assert_array_equal(only(extract_1d.apply(exposure, refs))["FLUX"], plain["FLUX"])
    exposure.header.primary["SRCTYPE"] = "POINT"
    exposure.header.primary["SUBARRAY"] = "SUB64"
    with pytest.raises(ReferenceError, match="0 rows for subarray SUB64"):
        extract_1d.apply(exposure, refs)


def test_aperture_correction_with_phases(tmp_path):
    kinds = [("filter", "S12"), ("grating", "S15"), ("slit", "S15"), ("pixphase", ">f4", (3,)), ("wavelength", ">f4", (4,))]
    kinds += [("size", ">f4", (2, 4)), ("apcorr", ">f4", (2, 4, 3))]
    w, phase = np.array([1.0, 2, 3, 4]), np.array([0.0, 0.4, 0.8])
    size = np.array([2 * w, 4 * w])
    table = 1 + 0.1 * w[:, None] + np.array([0.5, 0.25])[:, None, None] + phase
    rows = np.array([("F", "G", "S200A1", phase, w, size, table), ("F", "G", "S200A2", phase, w, size, table + 1)], kinds)
    path = make.reference_file(tmp_path / "apcorr.fits", "apcorr", {"APCORR": rows}, SIZEUNIT="pixels")
    header = make.header(10, 10, FILTER="F", GRATING="G")
    reference = References({"apcorr": path}, header)["apcorr"]
    at, pixels = np.array([0.5, 1.5, 2.0, 4.5]), np.array([3.0, 4.5, 7.0, 8.0])
    found = aperture_correction(reference, header, "S200A1", at, pixels, None)
    np.testing.assert_allclose(found, [1, 1 + 0.15 + 0.375 + 0.5, 1 + 0.2 + 0.3125 + 0.5, 1], rtol=1e-6)


LRS = {"xstart": 30, "xstop": 43, "extract_width": 12}


def check_flux(table, spectrum, limit=0.005):
    good = (table["WAVELENGTH"] > 5.3) & (table["WAVELENGTH"] < 12.5)
    assert good.sum() > 150
    ratio = table["FLUX"][good] / spectrum(table["WAVELENGTH"][good])
    assert abs(np.median(ratio) - 1) < limit / 2, np.median(ratio)
    assert np.percentile(np.abs(ratio - 1), 95) < limit


def test_truth_slitless(tmp_path, files):
    """200 realisations of the simulated prism: flux and its error."""
    spectrum = Spectrum(flux=0.05, slope=-1.0)
    one = simulate_lrs(files, slitless=True, sources=[Source(spectrum)], calibrated=True, nints=200, background=lambda w: 20 + 0 * w)
    one.exposure.header.sci["SRCTYPE"] = "POINT"
    refs = made.references(tmp_path, one.exposure, {"apcorr": files["apcorr"]}, **LRS, bkg_coeff=[[8.5], [20.5], [54.5], [66.5]])
    table = only(extract_1d.apply(one.exposure, refs))
    mean = table[:1].copy()
    mean["FLUX"] = table["FLUX"].mean(axis=0)
    check_flux({name: mean[name][0] for name in ("WAVELENGTH", "FLUX")}, spectrum)
    good = (table["WAVELENGTH"][0] > 5.3) & (table["WAVELENGTH"][0] < 12.5)
    ratio = (table["FLUX"].std(axis=0) / table["FLUX_ERROR"].mean(axis=0))[good]
    assert abs(np.median(ratio) - 1) < 0.03
    assert (np.abs(ratio - 1) < 0.1).mean() > 0.9
    assert table["INT_NUM"].tolist() == list(range(1, 201))


FIXED = {"name": "MIR_LRS-FIXEDSLIT", "xstart": 305, "xstop": 345, "extract_width": 12}


@pytest.fixture(scope="module")
def nods(files):
    """Two nods of a source, without noise."""
    spectrum = Spectrum(flux=0.02, slope=-1.0)
    made_of = []
    for x in (-1.9, 1.9):
        one = simulate_lrs(
            files, sources=[Source(spectrum)], calibrated=True, noise=False, dither={"x": x}, background=lambda w: 10 + 0 * w
        )
        one.exposure.header.sci["SRCTYPE"] = "POINT"
        made_of.append(one.exposure)
    return made_of, spectrum


def slit_loss(wavelength):
    return spectrograph.passed(0.0, spectrograph.SLIT, spectrograph.DIFFRACTION * wavelength)


def test_the_aperture_is_where_the_source_is(tmp_path, files, nods):
    exposures, spectrum = nods
    starts = []
    for exposure in exposures:
        refs = made.references(tmp_path, exposure, {"apcorr": files["apcorr"]}, **FIXED, bkg_coeff=[[308.5], [314.5], [336.5], [341.5]])
        (new,) = extract_1d.apply(exposure, refs, place="pointing", subtract_background=False)
        table = only(new)
        table["FLUX"] -= (
            10 * table["NPIXELS"] * spectrograph.PIXAR_SR * 1e6 * table["FLUX"] / (table["SURF_BRIGHT"] * 12 * 2.83487535541642e-7)
        )
        check_flux(table, lambda w: spectrum(w) * slit_loss(w))
        starts.append(new.spectra[0].header["EXTRXSTR"])
        away = only(extract_1d.apply(exposure, refs, place="pointing", subtract_background=False, use_source_posn=False))
        assert np.median(away["FLUX"]) < 0.7 * np.median(table["FLUX"])
    assert abs(abs(starts[1] - starts[0]) - 2 * 1.9 / 0.11) < 0.5


@pytest.mark.parametrize("sky", [0.0, 10.0])
def test_an_aperture_is_as_wide_in_a_finer_grid(tmp_path, files, sky):
    """Users' trouble 9: the reference's sizes are of the detector's pixels, whatever the scale of the s2d; cal and s2d within 0.5 %."""
    spectrum = Spectrum(flux=0.02, slope=-1.0)
    one = simulate_lrs(
        files, sources=[Source(spectrum)], calibrated=True, noise=False, dither={"x": 1.3, "y": 0.0}, background=lambda w: sky + 0 * w
    ).exposure
    one.header.sci["SRCTYPE"] = "POINT"
    found, levels, at = [], [], np.linspace(5.5, 12, 50)
    for options in ({}, {"pixel_scale_ratio": 0.5}, {"pixel_scale_ratio": 2.0}, {"pixel_scale": 0.055}):
        s2d = resample_spec.apply(one.derive([copy.copy(one.pixels[0])], "cal"), **options)
        entry = FIXED | ({"bkg_coeff": [[1.0], [5.0]]} if sky else {})
        (new,) = extract_1d.apply(s2d, made.references(tmp_path, s2d, {"apcorr": files["apcorr"]}, **entry), place="pointing")
        table = np.sort(only(new), order="WAVELENGTH")
        found.append(np.interp(at, table["WAVELENGTH"], table["FLUX"]))
        assert np.median(table["NPIXELS"]) == pytest.approx(12 * s2d.header["PXSCLRT"], rel=0.01)
        levels.append(np.median(table["BACKGROUND"]))
    np.testing.assert_allclose(levels, levels[0], rtol=0.02)
    assert sky <= levels[0] <= 1.2 * sky  # with the star's wings
    for flux in found[1:]:
        np.testing.assert_allclose(flux, found[0], rtol=5e-3)
    if not sky:
        refs = made.references(tmp_path, one, {"apcorr": files["apcorr"]}, **FIXED)
        table = np.sort(only(extract_1d.apply(one, refs, place="pointing")), order="WAVELENGTH")
        np.testing.assert_allclose(found[0], np.interp(at, table["WAVELENGTH"], table["FLUX"]), rtol=5e-3)


def test_limits_in_a_finer_grid():
    """By hand: edges of pixels stay where they are, and what only the image's size tells is not changed."""
    aperture = apertures.Aperture([0, 9], [2, 4], width=3.0, source=[[1.5], [4.5, 0.1]], background=[[-0.5], [1.0]])
    aperture.refine(2.0, True, True)
    assert aperture.across == [4, 9] and aperture.width == 6 and aperture.along == [0, 9]
    assert aperture.source == [[3.5], [9.5, 0.2]] and aperture.background == [[-0.5], [2.5]]
    aperture.refine(0.5, True, False)
    assert aperture.across == [2, 9]


def test_the_place_in_the_slit(tmp_path):
    """Along the rows; the trace is tilted."""
    shape, place = (31, 80), 15 + 3.5 + 0.01 * np.arange(80)
    light = 100 * np.exp(-0.5 * ((np.arange(31)[:, None] - place) / 0.8) ** 2) / (0.8 * np.sqrt(2 * np.pi))
    exposure = made.image(light, vertical=False, SRCXPOS=0.0, SRCYPOS=0.35)
    exposure.wcs = made.slit_wcs()
    refs = made.references(tmp_path, exposure, extract_width=6, ystart=12, ystop=18)
    (new,) = extract_1d.apply(exposure, refs, place="slit")
    np.testing.assert_allclose(only(new)["FLUX"], JY * 100, rtol=5e-4)
    assert new.spectra[0].header["EXTRYSTR"] == pytest.approx(1 + place.mean() - 2.5, abs=1e-6)
    assert new.spectra[0].header["SRCYPOS"] == 0.35
    middle = source_place.middle_of_spectrum(exposure.wcs, shape, False)
    negative = source_place.negative_source(exposure, exposure.wcs, middle, False, "slit")
    assert negative == pytest.approx(15 - 3.5 + 0.01 * middle.along)
    wide = made.references(tmp_path, exposure, xstart=0, ystart=12, ystop=18)
    assert (only(extract_1d.apply(exposure, wide, place="slit", use_source_posn=False))["FLUX"] < 0.9 * JY * 100).all()


@pytest.mark.parametrize("two_nods", [False, True])
def test_optimal(tmp_path, files, nods, two_nods):
    """The profile finds the source, with a background beside, and with the negative of the other nod."""
    (one, other), spectrum = nods
    exposure = one.derive([type(one.pixels[0])(**vars(one.pixels[0]))], "cal")
    if two_nods:
        exposure.sci = one.sci - other.sci
        exposure.header.primary["PATTTYPE"] = "ALONG-SLIT-NOD"
        exposure.steps["bkg_subtract"] = ("COMPLETE", "")
    refs = made.references(tmp_path, exposure, {"psf": files["psf"]}, **FIXED)
    result = extract_1d.apply(
        exposure,
        refs,
        place="pointing",
        extraction_type="optimal",
        subtract_background=not two_nods,
        save_scene_model=True,
        save_profile=True,
        save_residual_image=True,
    )
    table = only(result)
    check_flux(table, lambda w: spectrum(w) * slit_loss(w))
    assert (table["SURF_BRIGHT"] == 0).all()
    assert [product.suffix for product in result] == ["x1d", "profile", "scene_model", "residual"]
    profile, model, residual = (product.sci for product in result[1:])
    lit = np.isfinite(exposure.pixels[0].extra["WAVELENGTH"]) & np.isfinite(residual)
    rows = slice(120, 330)
    assert np.abs(residual[rows][lit[rows]]).max() < 0.02 * np.abs(exposure.sci[rows]).max()
    assert profile.shape == model.shape == residual.shape == exposure.sci.shape


def test_scene_of_a_box(tmp_path):
    exposure = made.image(np.stack([trace((30, 30)) + 4, 2 * trace((30, 30)) + 4]))
    refs = made.references(tmp_path, exposure, xstart=9.5, xstop=19, bkg_coeff=[[0.5], [6.5]])
    new, profile, model, residual = extract_1d.apply(exposure, refs, save_profile=True, save_scene_model=True, save_residual_image=True)
    np.testing.assert_allclose(((model.sci - 4) * (profile.sci > 0)).sum(axis=2) * JY, only(new)["FLUX"], rtol=1e-5)
    np.testing.assert_allclose(model.sci + residual.sci, exposure.sci, rtol=1e-6)


# --- bad input -------------------------------------------------------------------------------------------------------------------


def test_target_outside(tmp_path, files, nods, caplog):
    exposure = nods[0][0].derive(nods[0][0].pixels, "cal")
    refs = made.references(tmp_path, exposure, **FIXED)
    nominal = only(extract_1d.apply(exposure, refs))
    exposure.header.primary["DITH_DEC"] += 0.01
    with caplog.at_level(logging.WARNING):
        table = only(extract_1d.apply(exposure, refs, place="pointing"))
    np.testing.assert_array_equal(table["FLUX"], nominal["FLUX"])
    assert "The aperture is not centred on the source" in caplog.text
    del exposure.header["DITH_RA"]
    extract_1d.apply(exposure, refs, place="pointing")
    assert "the header has no DITH_RA and DITH_DEC" in caplog.text


def test_no_spectrum(tmp_path):
    exposure = made.image(np.ones((10, 30)))
    refs = made.references(tmp_path, exposure, xstart=5, xstop=10)
    with pytest.raises(InputError, match="no spectrum could be extracted"):
        extract_1d.apply(exposure, refs, position_offset=1000.0)
    with pytest.raises(ReferenceError, match="no aperture for MIR_LRS-SLITLESS"):
        extract_1d.apply(exposure, made.references(tmp_path, exposure, name="S200A1"))
    with pytest.raises(ReferenceError, match="limits in turn"):
        extract_1d.apply(exposure, made.references(tmp_path, exposure, src_coeff=[[1.0]]))
    with pytest.raises(ReferenceError, match="are no numbers"):
        extract_1d.apply(exposure, made.references(tmp_path, exposure, xstart="left"))
    (tmp_path / "extract1d.json").write_text("{no json")
    with pytest.raises(ReferenceError, match="can't be read"):
        extract_1d.apply(exposure, References({"extract1d": tmp_path / "extract1d.json"}, exposure.header))
    (tmp_path / "extract1d.json").write_text(json.dumps({"reftype": "EXTRACT1D"}))
    with pytest.raises(ReferenceError, match="no list `apertures`"):
        extract_1d.apply(exposure, References({"extract1d": tmp_path / "extract1d.json"}, exposure.header))
    exposure.wcs = None
    with pytest.raises(InputError, match="no gWCS"):
        extract_1d.apply(exposure, refs)


def test_no_source_in_the_slit(tmp_path):
    """Noise stays noise where bad pixels are estimated from it."""
    rng = np.random.default_rng(8)
    exposure = made.image(rng.normal(0, 1, (400, 30)))
    exposure.dq[rng.random((400, 30)) < 0.05] = bits.DO_NOT_USE
    table = only(extract_1d.apply(exposure, made.references(tmp_path, exposure, xstart=9, xstop=19)))
    pull = table["FLUX"] / table["FLUX_ERROR"]
    pull = pull[np.isfinite(pull)]
    assert pull.size > 300
    assert abs(pull.mean()) < 0.2
    assert pull.std() == pytest.approx(1, abs=0.15)
    assert np.abs(pull).max() < 5


def test_no_reference_sums_all(tmp_path):
    exposure = made.image(np.ones((10, 30)))
    np.testing.assert_allclose(only(extract_1d.apply(exposure, References({}, exposure.header)))["NPIXELS"], 30)


def test_wavelengths_that_fall(tmp_path):
    values = trace((20, 30)) * np.linspace(1, 2, 20)[:, None]
    rising, falling = made.image(values), made.image(values, reverse=True)
    tables = [only(extract_1d.apply(e, made.references(tmp_path, e, xstart=9, xstop=19))) for e in (rising, falling)]
    np.testing.assert_array_equal(tables[0]["FLUX"], tables[1]["FLUX"])
    np.testing.assert_allclose(tables[1]["WAVELENGTH"], 9 - 0.01 * np.arange(20))


def times(first, count):
    names = ("int_start_MJD_UTC", "int_mid_MJD_UTC", "int_end_MJD_UTC", "int_start_BJD_TDB", "int_mid_BJD_TDB", "int_end_BJD_TDB")
    table = np.zeros(count, [("integration_number", "i4"), *((name, "f8") for name in names)])
    table["integration_number"] = np.arange(first, first + count)
    for k, name in enumerate(names):
        table[name] = 60000 + table["integration_number"] + k / 10
    return table


def test_times_are_found_by_number(tmp_path, caplog):
    exposure = made.image(np.ones((3, 10, 30)), INTSTART=101, INTEND=103, EXSEGNUM=2)
    refs = made.references(tmp_path, exposure, xstart=5, xstop=10)
    for given in (None, times(1, 0), times(1, 50)):
        exposure.tables = {} if given is None else {"INT_TIMES": given}
        table = only(extract_1d.apply(exposure, refs))
        assert np.isnan(table["MJD-AVG"]).all()
        assert table["INT_NUM"].tolist() == [101, 102, 103]
    assert caplog.text.count("have no times") == 3
    exposure.tables = {"INT_TIMES": times(1, 150)}
    table = only(extract_1d.apply(exposure, refs))
    np.testing.assert_allclose(table["MJD-AVG"], 60000.1 + np.array([101, 102, 103]))
    np.testing.assert_allclose(table["TDB-END"], 60000.5 + np.array([101, 102, 103]))
    assert (table["SEGMENT"] == 2).all()


def test_members(tmp_path, caplog):
    """Segments, of which the second is of no use, in the wrong order and of unlike length."""
    segments = [made.image(np.full((n, 10, 30), n), INTSTART=start, INTEND=start + n - 1) for n, start in ((2, 4), (1, 3), (2, 1))]
    for exposure, first, count in zip(segments, (4, 3, 1), (2, 1, 2), strict=True):
        exposure.tables["INT_TIMES"] = times(first, count)
    segments[1].header.name = "middle_calints.fits"
    segments[1].pixels[0].extra["WAVELENGTH"] = np.full((10, 30), np.nan)
    segments[1].pixels[0].extra["WAVELENGTH"][0, 0] = 5
    refs = made.references(tmp_path, segments[0], xstart=5, xstop=10)
    (new,) = extract_1d.apply(Members([(exposure, "science") for exposure in segments]), refs)
    assert [spectrum.table["INT_NUM"].tolist() for spectrum in new.spectra] == [[1, 2], [4, 5]]
    assert new.tables["INT_TIMES"]["integration_number"].tolist() == [1, 2, 4, 5]
    assert new.suffix == "x1dints"
    assert (new.header["INTSTART"], new.header["INTEND"]) == (1, 5)
    assert new.tables["HDRTAB"]["INTSTART"].tolist() == [4, 1]
    assert "middle_calints.fits is left out: no spectrum could be extracted" in caplog.text


# --- the peer --------------------------------------------------------------------------------------------------------------------

PEER = """
import asdf, json
from jwst.extract_1d import extract
from stdatamodels.jwst import datamodels
for name, case in json.loads(str(cases)).items():
    model = getattr(datamodels, case["model"])(case["file"])
    if case["wcs"]:
        with asdf.open(case["wcs"], lazy_load=False, memmap=False) as file:
            model.meta.wcs = file["wcs"]
        model.source_type = "POINT"
    result, *shown = extract.run_extract1d(model, case["extract1d"], case["apcorr"], case["psf"], **case["given"])
    spec = result.spec[0]
    for column in spec.spec_table.names:
        out[f"{name}|{column}"] = np.array(spec.spec_table[column])
        out[f"{name}|unit {column}"] = np.array(str(spec.spec_table.columns[column].unit))
    out[f"{name}|columns"] = np.array(spec.spec_table.names)
    keys = "name extraction_xstart extraction_xstop extraction_ystart extraction_ystop slit_ra slit_dec spectral_order".split()
    out[f"{name}|about"] = np.array([str(getattr(spec, key)) for key in keys])
    for suffix, image in zip(("profile", "scene_model", "residual"), shown):
        if image is not None:
            out[f"{name}|shown {suffix}"] = np.array(image.data)
"""
ALL = {"save_profile": True, "save_scene_model": True, "save_residual_image": True}
REGIONS = {"bkg_coeff": [[10.5], [20.5], [52.0], [62.0]]}
CASES = {  # of real series: the aperture, the parameters
    "plain": (CALINTS, {"xstart": 30, "xstop": 41}, ALL),
    "line": (CALINTS, {"xstart": 30.3, "xstop": 41.8, **REGIONS, "bkg_order": 1}, ALL),
    "median": (GROUND, {"src_coeff": [[30.25, 0.004], [42.5, 0.004]], **REGIONS, "bkg_fit": "median"}, ALL),
    "smooth": (GROUND, {"xstart": 28, "xstop": 45, "extract_width": 9.5, **REGIONS, "smoothing_length": 7}, {"bkg_fit": "mean"}),
    "moved": (GROUND, {"xstart": 30, "xstop": 41, "ystart": 20, "ystop": 300.5, **REGIONS}, {"position_offset": 1.7, "bkg_order": 2}),
    "apcorr": (GROUND, {"xstart": 30.2, "xstop": 41, **REGIONS}, {}),
}
SLIT_CASES = {
    # without a width the trace, which the peer has some rows beside its place, does not count
    "slit": ({**FIXED, "xstart": 320.3, "xstop": 329, "extract_width": None}, {}),
    "traced": ({**FIXED, "extract_width": 8.5}, {}),  # with a box from the first row on, where the peer's trace is in its place
    "optimal": (FIXED, {"extraction_type": "optimal", "subtract_background": True, **ALL}),
    "extended": ({**FIXED, "bkg_coeff": [[308.5], [314.5]]}, {"use_source_posn": False, "apply_apcorr": False}),
}


@needs_peer
@needs_real
@pytest.mark.parity
def test_parity(tmp_path, files, nods):
    told, ours = {}, {}
    for name, (path, entry, given) in CASES.items():
        with_apcorr = {"apcorr": files["apcorr"]} if name == "apcorr" else {}
        reference = made.extract1d(tmp_path / f"{name.replace(' ', '_')}.json", **entry)
        about = {"file": str(path), "model": "CubeModel", "wcs": "", "extract1d": str(reference), "psf": "N/A"}
        if path == GROUND:
            about["file"] = str(without_times(path, tmp_path / "ground.fits"))
        told[name] = about | {"apcorr": str(with_apcorr.get("apcorr", "N/A")), "given": given}
        with stored.opened(about["file"]) as exposure:
            refs = References({"extract1d": reference, **with_apcorr}, exposure.header)
            ours[name] = extract_1d.apply(exposure, refs, bad_pixels="omit", **given)
    exposure = noisy(nods[0][1])
    file = make.write_exposure(tmp_path / "slit.fits", exposure)
    boxed = exposure.wcs.bounding_box.bounding_box(order="F")
    for name, (entry, given) in SLIT_CASES.items():
        exposure.wcs.bounding_box = (boxed[0], (-0.5, boxed[1][1])) if name == "traced" else boxed
        asdf.AsdfFile({"wcs": exposure.wcs}).write_to(tmp_path / f"{name}.asdf")
        reference = made.extract1d(tmp_path / f"{name}.json", **entry)
        with_apcorr = given.get("apply_apcorr", True)
        theirs = {key: value for key, value in given.items() if key != "apply_apcorr"}  # which is the step's there
        told[name] = {"file": str(file), "model": "SlitModel", "wcs": str(tmp_path / f"{name}.asdf"), "extract1d": str(reference)}
        told[name] |= {"apcorr": str(files["apcorr"]) if with_apcorr else "N/A", "psf": str(files["psf"]), "given": theirs}
        refs = References({"extract1d": reference, "apcorr": files["apcorr"], "psf": files["psf"]}, exposure.header)
        ours[name] = extract_1d.apply(exposure, refs, place="pointing", bad_pixels="omit", psf_total="inside", **given)
    exposure.wcs.bounding_box = boxed
    peers = peer_python(PEER, cases=json.dumps(told))
    for name, (new, *shown) in ours.items():
        compare(name, new.spectra[0], {key.split("|")[1]: value for key, value in peers.items() if key.startswith(f"{name}|")}, shown)


def without_times(path, out):
    """A copy of a file whose INT_TIMES does not fit it, which is refused, without that."""
    with fits.open(path) as hdus:
        hdus["INT_TIMES"].data = hdus["INT_TIMES"].data[:0]
        hdus.writeto(out, overwrite=True)
    return out


def noisy(exposure):
    """A copy with noise, and with bad pixels in the trace; its photometry said to be done."""
    rng = np.random.default_rng(6)
    new = Exposure(exposure.header.copy(), [type(exposure.pixels[0])(**vars(exposure.pixels[0]))], suffix="cal")
    new.sci = (exposure.sci + rng.normal(0, exposure.err)).astype(np.float32)
    new.dq = exposure.dq.copy()
    new.dq[100:300:7, 310:340:3] = bits.DO_NOT_USE
    new.header.primary["S_PHOTOM"] = "COMPLETE"
    return new


def compare(name, spectrum, peer, shown):
    table = spectrum.table
    assert list(table.dtype.names) == [str(column) for column in peer["columns"]]
    limit = 1e-3 if name == "optimal" else 1e-5
    for number, column in enumerate(table.dtype.names, start=1):
        assert spectrum.header.get(f"TUNIT{number}", "None") == str(peer[f"unit {column}"]), column
        if column in ("INT_NUM", "N_ALONGDISP", "SEGMENT") or column[:3] in ("MJD", "TDB"):
            continue  # where INT_TIMES does not fit the peer has numbers from 1
        mine, theirs = table[column].astype(float), peer[column].astype(float)
        if column == "DQ" or column == "NPIXELS":
            np.testing.assert_allclose(mine, theirs, rtol=1e-9 if name != "optimal" else 1e-3, err_msg=f"{name} {column}")
            continue
        # where a pixel is bad the peer does not know the error of the background that is fitted with a profile
        good = np.isfinite(table["FLUX"]) & (np.isfinite(theirs) | (name != "optimal"))
        assert good.mean() > 0.9 * np.isfinite(table["FLUX"]).mean()
        scale = np.abs(theirs[good]).max()
        away = np.abs(mine - theirs)[good]
        assert (away <= limit * np.maximum(np.abs(theirs[good]), 1e-3 * scale)).mean() >= 0.999, f"{name} {column} {away.max() / scale}"
    about = [spectrum.header.get(key) for key in ("EXTRXSTR", "EXTRXSTP", "EXTRYSTR", "EXTRYSTP", "SLIT_RA", "SLIT_DEC", "SPORDER")]
    assert spectrum.header["SLTNAME"] == peer["about"][0]
    if name != "optimal":  # whose limits are the bounding box's there
        np.testing.assert_allclose(np.array(about, float), peer["about"][1:].astype(float), rtol=1e-6)
    for image in shown:
        theirs = peer[f"shown {image.suffix}"]
        where = np.isfinite(image.sci) & np.isfinite(theirs)
        assert where.mean() > 0.3  # of the ground data's a half is beyond the spectrum
        np.testing.assert_allclose(
            image.sci[where], theirs[where], atol=(3e-3 if name == "optimal" else 1e-5) * np.abs(theirs[where]).max()
        )
