"""photom of spectra: factors by wavelength, slit by slit, of points and of what is extended; injected truth."""

import logging

import numpy as np
import pytest

import make
from jwcal.model.exposure import Pixels
from jwcal.simulate import spectrograph
from jwcal.simulate.spectrograph import Source, Spectrum, simulate_lrs
from jwcal.steps import assign_wcs, photom, srctype
from jwcal.vocabulary import dq
from jwcal.vocabulary.errors import InputError, ReferenceError, Skip

AREA = {"PIXAR_SR": 2e-13, "PIXAR_A2": 8.5e-3}
GRID = np.linspace(5, 12, 36)
ABOUT = {"INSTRUME": "MIRI", "FILTER": "P750L", "SUBARRAY": "FULL", "EXPMID": 59913.76}


def response(wavelength):
    return 1 + 0.1 * (wavelength - 8)  # linear, so that a table is as good as the law


def table(*rows, column="photmjsr", wavelength=GRID, relative=None, nelem=None, **keys):
    """A PHOTOM table; each row is what its columns say beside the conversion and the response."""
    keys = keys or {"filter": "S12", "subarray": "S15"}
    kinds = [*keys.items(), (column, ">f4"), ("nelem", ">i2")]
    kinds += [("wavelength", ">f4", wavelength.shape), ("relresponse", ">f4", wavelength.shape)]
    relative = response(wavelength) if relative is None else relative
    return np.array([(*row, nelem or wavelength.size, wavelength, relative) for row in rows or [("P750L", "GENERIC", 2.0)]], kinds)


def spectrum(shape=(3, 20, 8), wavelength=None, **keywords):
    exposure = make.image_exposure(np.full(shape, 10.0), suffix="rateints", **{**ABOUT, **keywords})
    exposure.header.sci["BUNIT"] = "DN/s"
    exposure.var_flat = np.ones(shape, np.float32)
    rows = np.linspace(11.6, 5.4, shape[-2]) if wavelength is None else wavelength
    exposure.pixels[0].extra["WAVELENGTH"] = np.repeat(rows[:, None], shape[-1], axis=1).astype(np.float32)
    return exposure


def test_factor_at_each_wavelength(tmp_path):
    exposure = spectrum()
    exposure.dq[0, 2, 3] = dq.DO_NOT_USE
    refs = make.references(tmp_path, exposure, photom={"PHOTOM": table(), **AREA})
    photom.apply(exposure, refs, "spectra")
    factor = np.broadcast_to(2 * response(exposure.extra["WAVELENGTH"].astype(float)), (3, 20, 8))
    good = np.ones((3, 20, 8), bool)
    good[0, 2, 3] = False
    np.testing.assert_allclose(exposure.sci[good], 10 * factor[good], rtol=3e-7)
    np.testing.assert_allclose(exposure.err[good], factor[good], rtol=3e-7)
    for plane in (exposure.var_poisson, exposure.var_rnoise, exposure.var_flat):
        np.testing.assert_allclose(plane[good], factor[good] ** 2, rtol=5e-7)
    assert np.isnan(exposure.sci[~good]).all() and np.isnan(exposure.var_flat[~good]).all()
    header = exposure.header
    assert (header["PHOTMJSR"], header["BUNIT"], header["PIXAR_SR"], header["PIXAR_A2"]) == (2, "MJy/sr", 2e-13, 8.5e-3)
    photom.apply(exposure, refs, "spectra", inverse=True)
    np.testing.assert_allclose(exposure.sci[good], 10, rtol=3e-7)
    assert header["BUNIT"] == "DN/s"


@pytest.mark.parametrize(
    "content",
    [
        table(wavelength=GRID[::-1]),  # red to blue
        table(wavelength=GRID * 1e-6, relative=response(GRID)),  # in metres
        table(wavelength=np.append(GRID, [0, 0]), relative=np.append(response(GRID), [0, 0]), nelem=36),  # filled up
    ],
    ids=["reversed", "metres", "filled up"],
)
def test_wavelengths_as_a_table_may_have_them(tmp_path, content):
    exposure = spectrum()
    photom.apply(exposure, make.references(tmp_path, exposure, photom={"PHOTOM": content, **AREA}), "spectra")
    np.testing.assert_allclose(exposure.sci[0], 20 * response(exposure.extra["WAVELENGTH"].astype(float)), rtol=1e-6)


def test_reversed_wavelengths_of_an_exposure(tmp_path):
    """A spectrum that runs the other way is the same one, turned."""
    pair = [spectrum(wavelength=rows) for rows in (np.linspace(11.6, 5.4, 20), np.linspace(5.4, 11.6, 20))]
    for exposure in pair:
        photom.apply(exposure, make.references(tmp_path, exposure, photom={"PHOTOM": table(), **AREA}), "spectra")
    np.testing.assert_allclose(pair[0].sci, pair[1].sci[:, ::-1], rtol=1e-6)


def test_no_sensitivity_is_no_value(tmp_path):
    """Outside the table, where it is 0 and beside the spectrum: NaN and DO_NOT_USE in every array, not a count rate."""
    rows = np.linspace(13.0, 4.0, 20)
    rows[3] = np.nan
    exposure = spectrum(wavelength=rows)
    relative = np.where(GRID < 6, 0, response(GRID))
    photom.apply(exposure, make.references(tmp_path, exposure, photom={"PHOTOM": table(relative=relative), **AREA}), "spectra")
    known = (rows > 5.81) & (rows < 12)
    assert known.sum() == 12
    for name in ("sci", "err", "var_poisson", "var_rnoise", "var_flat"):
        np.testing.assert_array_equal(np.isfinite(getattr(exposure, name)), np.broadcast_to(known[:, None], (3, 20, 8)))
    np.testing.assert_array_equal(exposure.dq, np.where(known[:, None], 0, dq.DO_NOT_USE) * np.ones((3, 1, 8), int))


def test_sensitivity_that_declines(tmp_path):
    law = np.array([("P750L", "GENERIC", 59548.76, 0.1)], [("filter", "S12"), ("subarray", "S15"), ("t0", "f8"), ("lossperyear", "f4")])
    for timed, expected in ((True, 20 / 0.9), (False, 20)):
        exposure = spectrum(wavelength=np.full(20, 8.0))
        refs = make.references(tmp_path, exposure, photom={"PHOTOM": table(), "TIMECOEFF_LINEAR": law, **AREA})
        photom.apply(exposure, refs, "spectra", apply_time_correction=timed)
        np.testing.assert_allclose(exposure.sci, expected, rtol=1e-6)


def slits(*names):
    """An exposure of slits with a wavelength a column, each with its own header."""
    exposure = spectrum((10, 12), **{"GRATING": "G140M", "FILTER": "F100LP"})
    proto, head = exposure.pixels[0], exposure.header.sci
    exposure.pixels = []
    for number, (name, kind) in enumerate(names):
        own = head.copy()
        own.update({"SLTNAME": name, "SRCTYPE": kind, "PIXAR_SR": 1e-12 * (number + 1)})
        planes = {plane: array.copy() for plane, array in proto.planes()}
        exposure.pixels.append(Pixels(**planes, extra={"WAVELENGTH": np.full((10, 12), 7.0 + number, np.float32)}, header=own))
    return exposure


def test_each_slit_by_its_row_and_type(tmp_path, caplog):
    """A table of fluxes: a point in MJy, an extended source by its slit's pixel area in MJy/sr; a slit without a row stays."""
    exposure = slits(("S200A1", "POINT"), ("S400A1", "EXTENDED"), ("S1600A1", "POINT"))
    rows = [("F100LP", "G140M", name, value) for name, value in (("S200A1", 3e-9), ("S400A1", 5e-9))]
    content = table(*rows, column="photmj", filter="S12", grating="S15", slit="S15")
    refs = make.references(tmp_path, exposure, photom={"PHOTOM": content})
    with caplog.at_level(logging.WARNING):
        photom.apply(exposure, refs, "spectra")
    point, extended, other = exposure.pixels
    np.testing.assert_allclose(point.sci, 10 * 3e-9 * response(7.0), rtol=1e-6)
    np.testing.assert_allclose(extended.sci, 10 * 5e-9 / 2e-12 * response(8.0), rtol=1e-6)
    assert [p.header["BUNIT"] for p in exposure.pixels] == ["MJy", "MJy/sr", "DN/s"]
    assert (other.sci == 10).all() and "slit S1600A1: it stays in DN/s: the photom reference has no row" in caplog.text


def test_type_of_the_user(tmp_path):
    exposure = slits(("S200A1", "POINT"))
    content = table(("F100LP", "G140M", "S200A1", 3e-9), column="photmj", filter="S12", grating="S15", slit="S15")
    photom.apply(exposure, make.references(tmp_path, exposure, photom={"PHOTOM": content}), "spectra", source_type="extended")
    np.testing.assert_allclose(exposure.sci, 10 * 3e-9 / 1e-12 * response(7.0), rtol=1e-6)
    assert exposure.pixels[0].header["BUNIT"] == "MJy/sr"


def test_bad_input(tmp_path):
    exposure = spectrum()

    def refused(error, message, content, given=exposure):
        before = given.sci.copy()
        with pytest.raises(error, match=message):
            photom.apply(given, make.references(tmp_path, given, photom={"PHOTOM": content, **AREA}), "spectra")
        np.testing.assert_array_equal(given.sci, before)

    refused(Skip, "no row for filter P750L, subarray FULL", table(("F560W", "GENERIC", 1.0)))
    refused(ReferenceError, "PHOTMJSR in row 1 .* is nan", table(("P750L", "GENERIC", np.nan)))
    refused(ReferenceError, "is for 15.000 to 22.000 micron, where this spectrum has no pixel", table(wavelength=GRID + 10))
    refused(ReferenceError, "has 1 wavelengths, two or more", table(nelem=1))
    image = np.array([("P750L", "GENERIC", 1.0)], [("filter", "S12"), ("subarray", "S15"), ("photmjsr", "f4")])
    refused(ReferenceError, "is for images, and this is a spectrum", image)
    blind = spectrum(wavelength=np.full(20, np.nan))
    refused(InputError, "no pixel has a wavelength", table(), blind)
    del blind.pixels[0].extra["WAVELENGTH"]
    refused(InputError, "neither a gWCS nor an image of wavelengths", table(), blind)


@pytest.mark.parametrize("slitless", [False, True], ids=["slit", "slitless"])
def test_a_simulated_star_has_its_flux(tmp_path, slitless):
    """Injected truth: within 0.5 % over the band, per integration."""
    files = spectrograph.write_lrs_references(tmp_path)
    star = Source(Spectrum(flux=0.02, slope=-1.5))
    made = simulate_lrs(files, slitless=slitless, sources=[star], noise=False, nints=2)
    exposure = made.exposure
    assign_wcs.apply(exposure, made.refs, "lrs_slitless" if slitless else "lrs_slit")
    srctype.apply(exposure)
    photom.apply(exposure, made.refs, "spectra")
    wavelength = np.fmax.reduce(made.truth.wavelength, axis=1)
    rows = np.flatnonzero((wavelength > 5.6) & (wavelength < 12))
    flux = np.nansum(exposure.sci[..., rows, :].astype(float), axis=-1) * exposure.header["PIXAR_SR"] * 1e6
    truth = star.spectrum(wavelength[rows])
    if not slitless:
        truth = truth * spectrograph.passed(
            np.median(made.truth.paths[0].offset), spectrograph.SLIT, spectrograph.DIFFRACTION * wavelength[rows]
        )
    np.testing.assert_allclose(flux, np.broadcast_to(truth, flux.shape), rtol=5e-3)
