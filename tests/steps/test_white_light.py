"""white_light: a transit in a simulated series, times, orders, ranges; the peer's table."""

import copy
import json

import asdf
import numpy as np
import pytest
from astropy import units
from astropy.io import fits
from astropy.table import QTable

import make
import readers
import spectra as made
from jwcal.arithmetic.spectra import tables
from jwcal.model.exposure import Exposure, Header
from jwcal.model.references import References
from jwcal.model.spectra import Spectrum
from jwcal.products import stored
from jwcal.simulate import spectrograph
from jwcal.simulate.spectrograph import Dip, Source, simulate_lrs
from jwcal.steps import extract_1d, white_light
from jwcal.vocabulary import dq as bits
from jwcal.vocabulary.errors import InputError, ReferenceError
from peer import needs_peer, peer_python

WAVE = np.linspace(5, 12, 40)


def series(flux, first=1, order=1, detector="MIRIMAGE", times=True, wavelength=WAVE, unit="Jy"):
    """A table of x1dints; flux (int, along)."""
    flux = np.asarray(flux, float)
    numbers = first + np.arange(len(flux))
    columns = {name: np.zeros(flux.shape) for name in tables.VECTORS} | {"WAVELENGTH": wavelength, "FLUX": flux}
    at = {name: 60000 + numbers / 100 + k / 1e4 if times else np.full(len(flux), np.nan) for k, name in enumerate(tables.TIMES)}
    table = tables.series_table(columns, numbers, 1, at)
    header = tables.units_header(table, unit, "MJy/sr")
    header["SPORDER"], header["DETECTOR"] = order, detector
    return Spectrum(table, header)


def exposure(*spectra, **keywords):
    given = {"EXP_TYPE": "MIR_LRS-SLITLESS", "INSTRUME": "MIRI", "SUBARRAY": "SLITLESSPRISM", "FILTER": "P750L", "TARGNAME": "a star"}
    head = make.header(10, 10, **{**given, "NINTS": 5, "NGROUPS": 5, **keywords})
    new = Exposure(Header(head.primary, head.sci, "made_x1dints.fits"), suffix="x1dints")
    new.spectra = list(spectra)
    return new


def test_a_transit(tmp_path):
    """1 % deep: found, with the photons' scatter."""
    files = spectrograph.write_lrs_references(tmp_path)
    shape = np.clip(1.5 - np.abs(np.linspace(-4, 4, 160)), 0, 1)
    one = simulate_lrs(files, slitless=True, sources=[Source(spectrograph.Spectrum(flux=0.05))], calibrated=True, dip=Dip(shape, 0.01))
    one.exposure.header.sci["SRCTYPE"] = "POINT"
    one.exposure.dq[np.random.default_rng(1).random(one.exposure.sci.shape) < 0.01] = bits.DO_NOT_USE
    refs = made.references(tmp_path, one.exposure, xstart=28, xstop=48)
    (spectra,) = extract_1d.apply(one.exposure, refs)
    curve = white_light.apply(spectra, min_wavelength=5.5, max_wavelength=12.0).catalogue["whitelight_flux"].to_value("Jy")
    table = spectra.spectra[0].table
    inside = (table["WAVELENGTH"][0] >= 5.5) & (table["WAVELENGTH"][0] <= 12.0)
    limit = np.sqrt((table["FLUX_VAR_POISSON"] + table["FLUX_VAR_RNOISE"])[:, inside].sum(axis=1)).mean()
    out, full = shape == 0, shape == 1
    depth = 1 - curve[full].mean() / curve[out].mean()
    assert abs(depth - 0.01) < 4 * limit / curve[out].mean() / np.sqrt(full.sum())
    scatter = (curve - curve[out].mean() * (1 - 0.01 * shape)).std()
    assert scatter / limit == pytest.approx(1, abs=0.12)  # 160 integrations tell it to 6 %
    cut = extract_1d.apply(one.exposure, refs, bad_pixels="omit")[0]
    cut = white_light.apply(cut, min_wavelength=5.5, max_wavelength=12.0).catalogue["whitelight_flux"].to_value("Jy")
    assert (cut - cut[out].mean() * (1 - 0.01 * shape)).std() > 1.5 * limit


def curve_of(one, refs):
    """The light curve [Jy] of 5.5 to 12 micron, and what the variances in the table say of its scatter."""
    (spectra,) = extract_1d.apply(one, refs)
    curve = white_light.apply(spectra, min_wavelength=5.5, max_wavelength=12.0).catalogue["whitelight_flux"].to_value("Jy")
    table = spectra.spectra[0].table
    inside = (table["WAVELENGTH"][0] >= 5.5) & (table["WAVELENGTH"][0] <= 12.0)
    return curve, np.sqrt(np.nanmean(np.nansum((table["FLUX_VAR_POISSON"] + table["FLUX_VAR_RNOISE"])[:, inside], axis=1)))


@pytest.mark.full
def test_the_scatter_is_the_photons(tmp_path):
    """800 integrations, which tell it to 2.5 %: within 10 % of photons and read noise (1.5 % of it), with flagged pixels too."""
    shape = np.clip(1.5 - np.abs(np.linspace(-4, 4, 800)), 0, 1)
    files = spectrograph.write_lrs_references(tmp_path)
    one = simulate_lrs(files, slitless=True, sources=[Source(spectrograph.Spectrum(flux=0.05))], calibrated=True, dip=Dip(shape, 0.01))
    one.exposure.header.sci["SRCTYPE"] = "POINT"
    refs = made.references(tmp_path, one.exposure, xstart=28, xstop=48)
    hits = np.random.default_rng(1)
    curves, limit = {}, None
    for share in (0.0, 0.01, 0.02):
        again = one.exposure.derive([copy.copy(one.exposure.pixels[0])], "calints")
        again.dq = np.where(hits.random(again.sci.shape) < share, bits.DO_NOT_USE, 0).astype(np.uint32)
        curves[share], found = curve_of(again, refs)
        limit = limit or found
    for share, curve in curves.items():
        scatter = (curve / curve[shape == 0].mean() / (1 - 0.01 * shape)).std() * curve.mean()
        assert scatter / limit == pytest.approx(1, abs=0.1), share
        # a pixel's own noise, and that of the others by which it is replaced
        assert (curve - curves[0.0]).std() <= 1.3 * np.sqrt(share) * limit and abs((curve - curves[0.0]).mean()) < 0.02 * limit


def test_the_table():
    flux = np.arange(1, 6)[:, None] * np.ones(40)
    new = white_light.apply(exposure(series(flux)))
    table = new.catalogue
    assert new.suffix == "whtlt"
    assert table.colnames == ["MJD_UTC", "BJD_TDB", "whitelight_flux"]
    assert table["whitelight_flux"].unit == units.Jy
    np.testing.assert_allclose(table["whitelight_flux"].value, 40 * np.arange(1, 6))
    np.testing.assert_allclose(table["MJD_UTC"], 60000.0001 + np.arange(1, 6) / 100)
    np.testing.assert_allclose(table["BJD_TDB"], 60000.0004 + np.arange(1, 6) / 100)
    expected = {"instrument": "MIRI", "exp_type": "MIR_LRS-SLITLESS", "subarray": "SLITLESSPRISM", "filter": "P750L", "pupil": None}
    assert dict(table.meta) == {**expected, "target_name": "a star", "number_of_integrations": 5}
    narrow = white_light.apply(exposure(series(flux)), min_wavelength=WAVE[3], max_wavelength=WAVE[12]).catalogue
    np.testing.assert_allclose(narrow["whitelight_flux"].value, 10 * np.arange(1, 6))
    counts = white_light.apply(exposure(series(flux, unit="DN/s"))).catalogue
    assert counts["whitelight_flux"].unit == units.Unit("DN/s")


def test_a_missing_flux_is_no_dip():
    flux = np.linspace(1, 3, 40) * np.array([1.0, 1.01, 0.99, 1.02, 0.98])[:, None]
    holes = flux.copy()
    holes[1, 30:] = holes[3, 4] = np.nan
    holes[:, 20] = np.nan
    holes[4] = np.nan
    whole = np.delete(flux, 20, axis=1).sum(axis=1)
    curve = white_light.apply(exposure(series(holes))).catalogue["whitelight_flux"].value
    np.testing.assert_allclose(curve[:4], whole[:4], rtol=3e-3)  # the mean spectrum of unlike integrations
    assert np.isnan(curve[4])
    omitted = white_light.apply(exposure(series(holes)), bad_fluxes="omit").catalogue["whitelight_flux"].value
    assert omitted[1] < 0.7 * whole[1]


def test_segments_in_the_order_of_time():
    one, other = np.full((3, 40), 2.0), np.full((2, 40), 1.0)
    table = white_light.apply(exposure(series(one, first=3), series(other))).catalogue
    np.testing.assert_allclose(table["whitelight_flux"].value, [40, 40, 80, 80, 80])
    assert (np.diff(table["MJD_UTC"]) > 0).all()


def test_times_that_are_missing_or_there_twice(caplog):
    flux = np.arange(1, 6)[:, None] * np.ones(40)
    spectrum = series(flux)
    spectrum.table["MJD-AVG"][1] = np.nan
    spectrum.table["MJD-AVG"][3] = spectrum.table["MJD-AVG"][2]
    table = white_light.apply(exposure(spectrum)).catalogue
    np.testing.assert_allclose(table["whitelight_flux"].value, [40, 120, 200])
    assert "2 of 5 integrations have no time" in caplog.text
    table = white_light.apply(exposure(series(flux, times=False))).catalogue
    np.testing.assert_allclose(table["whitelight_flux"].value, 40 * np.arange(1, 6))
    assert np.isnan(table["MJD_UTC"]).all()


def wavelengthrange(path, rows):
    asdf.AsdfFile({"wavelengthrange": rows, "meta": {"reftype": "wavelengthrange"}}).write_to(path)
    return path


def test_each_order_has_its_range(tmp_path):
    """The peer keeps the first order's for all."""
    made_of = exposure(series(np.ones((3, 40))), series(np.ones((3, 40)), order=2), FILTER="CLEAR")
    path = wavelengthrange(
        tmp_path / "range.asdf", [[1, "CLEAR", WAVE[10], WAVE[39]], [2, "CLEAR", WAVE[0], WAVE[4]], [1, "F277W", 1.0, 2.0]]
    )
    refs = References({"wavelengthrange": path}, made_of.header)
    table = white_light.apply(made_of, refs, ranges=True).catalogue
    assert table.colnames == ["MJD_UTC", "BJD_TDB", "whitelight_flux_order_1", "whitelight_flux_order_2"]
    np.testing.assert_allclose(table["whitelight_flux_order_1"].value, 30)
    np.testing.assert_allclose(table["whitelight_flux_order_2"].value, 5)
    table = white_light.apply(made_of, refs, ranges=True, min_wavelength=WAVE[3]).catalogue
    np.testing.assert_allclose(table["whitelight_flux_order_2"].value, 2)
    made_of.spectra.append(series(np.ones((3, 40)), order=3))
    with pytest.raises(ReferenceError, match="0 ranges for order 3 with CLEAR"):
        white_light.apply(made_of, refs, ranges=True)


def test_detectors_have_columns_of_their_own():
    early, late = series(np.ones((3, 40)), detector="NRS1"), series(2 * np.ones((4, 40)), detector="NRS2")
    table = white_light.apply(exposure(early, late)).catalogue
    names = ["MJD_UTC_NRS1", "BJD_TDB_NRS1", "whitelight_flux_NRS1", "MJD_UTC_NRS2", "BJD_TDB_NRS2", "whitelight_flux_NRS2"]
    assert table.colnames == names
    np.testing.assert_allclose(table["whitelight_flux_NRS1"].value, [40, 40, 40, np.nan])
    assert white_light.apply(exposure(early)).catalogue.colnames == names[:3]


def test_no_spectra():
    with pytest.raises(InputError, match="no spectra"):
        white_light.apply(exposure())
    single = series(np.ones((1, 40)))
    single.table = tables.spectrum_table({name: single.table[name][0] for name in tables.VECTORS})
    with pytest.raises(InputError, match="a row an integration"):
        white_light.apply(exposure(single))


PEER = """
import json
from astropy.io import fits
from jwst.white_light.white_light import white_light
from stdatamodels.jwst import datamodels
for name, case in json.loads(str(cases)).items():
    model = datamodels.TSOMultiSpecModel()
    model.meta.instrument.name, model.meta.exposure.type, model.meta.subarray.name = "MIRI", "MIR_LRS-SLITLESS", "SLITLESSPRISM"
    model.meta.instrument.filter, model.meta.target.catalog_name = "P750L", "a star"
    for hdu in fits.open(case["file"])[1:]:
        spec = datamodels.TSOSpecModel(spec_table=np.array(hdu.data))
        spec.spec_table.columns["FLUX"].unit = "Jy"
        spec.spectral_order, spec.detector = hdu.header["SPORDER"], hdu.header["DETECTOR"]
        model.spec.append(spec)
    white_light(model, **case["given"]).write(case["out"], format="ascii.ecsv", overwrite=True)
"""


@needs_peer
@pytest.mark.parity
def test_parity(tmp_path):
    rng = np.random.default_rng(2)

    def noisy(count, **given):
        return series(rng.normal(1, 0.01, (count, 40)), **given)

    twice = noisy(6)
    twice.table["MJD-AVG"][2] = twice.table["MJD-AVG"][1]
    holes = noisy(5)
    holes.table["FLUX"][2, 5:9] = np.nan
    cases = {
        "plain": ([noisy(5)], {}),
        "segments": ([noisy(3), noisy(4, first=4)], {"min_wave": 6.0, "max_wave": 9.0}),
        "orders": ([noisy(4), noisy(4, order=2)], {}),
        "detectors": ([noisy(3, detector="NRS1"), noisy(3, detector="NRS2"), noisy(2, first=4, detector="NRS1")], {}),
        "twice": ([twice], {}),
        "holes": ([holes], {}),
    }
    told, ours = {}, {}
    for name, (every, given) in cases.items():
        hdus = [fits.BinTableHDU(s.table, fits.Header({k: s.header[k] for k in ("SPORDER", "DETECTOR")}), name="EXTRACT1D") for s in every]
        fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / f"{name}.fits")
        told[name] = {"file": str(tmp_path / f"{name}.fits"), "out": str(tmp_path / f"{name}.ecsv"), "given": given}
        mine = {key.replace("wave", "wavelength"): value for key, value in given.items()}
        ours[name] = white_light.apply(exposure(*every), bad_fluxes="omit", **mine).catalogue
    peer_python(PEER, cases=json.dumps(told))
    for name, table in ours.items():
        theirs = QTable.read(told[name]["out"], format="ascii.ecsv")
        assert table.colnames == theirs.colnames
        for column in table.colnames:
            assert table[column].unit == theirs[column].unit
            np.testing.assert_allclose(np.asarray(table[column]), np.asarray(theirs[column]), rtol=1e-12, err_msg=f"{name} {column}")
        assert {key: value for key, value in table.meta.items() if key != "number_of_integrations"} == dict(theirs.meta)


BOTH_SAVED = """
from jwst.extract_1d import extract
from stdatamodels.jwst import datamodels
model = datamodels.CubeModel(str(calints))
result, *_ = extract.run_extract1d(model, str(extract1d), "N/A", "N/A")
result.save(str(theirs))
"""


@needs_peer
@pytest.mark.parity
def test_specutils_reads_no_series_of_either(tmp_path):
    """It asks each row of a table of vectors for SOURCE_TYPE, which no series has, ours and the peer's alike; row by row both are read."""
    files = spectrograph.write_lrs_references(tmp_path)
    one = simulate_lrs(files, slitless=True, sources=[Source(spectrograph.Spectrum(flux=0.05))], calibrated=True, nints=2, noise=False)
    one.exposure.header.sci["SRCTYPE"] = "POINT"
    one.exposure.header["TSOVISIT"], one.exposure.header.primary["S_PHOTOM"] = True, "COMPLETE"
    file, mine, theirs = (
        tmp_path / f"jw01234001001_02101_00001_mirimage_{suffix}" for suffix in ("calints.fits", "x1dints.fits", "peer.fits")
    )
    stored.write(one.exposure, file)
    refs = made.references(tmp_path, one.exposure, xstart=28, xstop=48)
    stored.write(extract_1d.apply(one.exposure, refs)[0], mine)
    peer_python(BOTH_SAVED, calints=str(file), extract1d=str(tmp_path / "extract1d.json"), theirs=str(theirs))
    theirs = theirs.rename(tmp_path / "peer_x1dints.fits")
    ours, its = (readers.spectra(path) for path in (mine, theirs))  # each asserts that SpectrumList.read ends for want of SOURCE_TYPE
    assert len(ours) == len(its) == 2
    for one, other in zip(ours, its, strict=True):
        np.testing.assert_allclose(one.flux.value, other.flux.value, rtol=1e-5)
        assert one.flux.unit == other.flux.unit and one.spectral_axis.unit == other.spectral_axis.unit
