"""combine_1d: weights, wavelengths, what is left out; the peer's numbers."""

import json

import numpy as np
import pytest
from astropy.io import fits

import make
from jwcal.arithmetic.spectra import tables
from jwcal.kernels.spectra.common_wavelengths import common_wavelengths
from jwcal.model.exposure import Exposure, Header, Members
from jwcal.model.spectra import Spectrum
from jwcal.steps import combine_1d
from jwcal.vocabulary import dq as bits
from jwcal.vocabulary.errors import InputError, Skip
from peer import needs_peer, peer_python


def columns(wavelength, flux, error=0.1):
    values = {name: np.zeros(len(wavelength)) for name in tables.VECTORS}
    values |= {"WAVELENGTH": wavelength, "FLUX": flux, "FLUX_ERROR": np.full(len(wavelength), error), "SURF_BRIGHT": 2 * flux}
    return values | {"SB_ERROR": np.full(len(wavelength), 2 * error)}


def exposure(*spectra, order=1, exptime=100.0, unit="Jy"):
    """An x1d exposure with these spectra: (wavelength, flux[, error])."""
    head = make.header(10, 10, EFFEXPTM=exptime, EFFINTTM=exptime / 4, NINTS=1, NGROUPS=5)
    new = Exposure(Header(head.primary, head.sci, "made_x1d.fits"), suffix="x1d")
    for spectrum in spectra:
        table = tables.spectrum_table(columns(*spectrum))
        header = tables.units_header(table, unit, "MJy/sr")
        header["SPORDER"], header["SOURCEID"], header["SRCTYPE"] = order, 7, "POINT"
        new.spectra.append(Spectrum(table, header))
    return new


def series(wavelength, fluxes):
    values = columns(wavelength, fluxes[0])
    values = {name: np.broadcast_to(value, fluxes.shape) for name, value in values.items()} | {"FLUX": fluxes}
    table = tables.series_table(values, np.arange(len(fluxes)), 1, {name: np.arange(len(fluxes)) for name in tables.TIMES})
    new = exposure()
    new.spectra = [Spectrum(table, tables.units_header(table, "Jy", "MJy/sr"))]
    return new


WAVE = np.linspace(5, 6, 50)


def test_weights_are_exposure_times():
    short, long = exposure((WAVE, np.full(50, 1.0)), exptime=100), exposure((WAVE, np.full(50, 4.0)), exptime=200)
    new = combine_1d.apply([short, long])
    (spectrum,) = new.spectra
    assert spectrum.name == "COMBINE1D"
    assert new.suffix == "c1d"
    assert spectrum.table.dtype.names == tables.COMBINED
    np.testing.assert_allclose(spectrum.table["WAVELENGTH"], WAVE)
    np.testing.assert_allclose(spectrum.table["FLUX"], 3)
    np.testing.assert_allclose(spectrum.table["SURF_BRIGHT"], 6)
    np.testing.assert_allclose(spectrum.table["ERROR"], 0.1 * np.sqrt(5) / 3)
    assert (spectrum.table["WEIGHT"] == 300).all()
    assert (spectrum.table["N_INPUT"] == 2).all()
    assert [spectrum.header[f"TUNIT{n}"] for n in range(1, 6)] == ["um", "Jy", "Jy", "MJy/sr", "MJy/sr"]
    assert (spectrum.header["SOURCEID"], spectrum.header["SRCTYPE"], spectrum.header["SPORDER"]) == (7, "POINT", 1)
    alike = combine_1d.apply([short, long], exptime_key="unit weight").spectra[0].table
    np.testing.assert_allclose(alike["FLUX"], 2.5)
    np.testing.assert_allclose(combine_1d.apply([short, long], exptime_key="effinttm").spectra[0].table["WEIGHT"], 75)
    np.testing.assert_allclose(combine_1d.apply([short, long], exptime_key="nonsense").spectra[0].table["WEIGHT"], 2)
    members = combine_1d.apply(Members([(short, "science"), (long, "science")])).spectra[0].table
    np.testing.assert_array_equal(members, spectrum.table)


def test_errors_are_the_scatter():
    rng = np.random.default_rng(1)
    found = []
    for _ in range(300):
        pair = [exposure((WAVE, rng.normal(1, s, 50), s), exptime=t) for s, t in ((0.1, 100), (0.05, 300), (0.2, 50))]
        found.append(combine_1d.apply(pair).spectra[0].table)
    found = np.array(found)
    assert found["FLUX"].std() / found["ERROR"].mean() == pytest.approx(1, abs=0.02)


def test_what_is_bad_is_left_out():
    flux = np.full(50, 1.0)
    one, other = exposure((WAVE, flux)), exposure((WAVE, 3 * flux))
    one.spectra[0].table["FLUX"][4] = np.nan
    one.spectra[0].table["DQ"][6] = bits.DO_NOT_USE
    other.spectra[0].table["DQ"][7] = bits.FLUX_ESTIMATED
    table = combine_1d.apply([one, other]).spectra[0].table
    np.testing.assert_allclose(table["FLUX"][[4, 6]], 3)
    assert table["N_INPUT"][[4, 6]].tolist() == [1, 1]
    assert np.flatnonzero(table["DQ"]).tolist() == [7]
    one.spectra[0].table["FLUX"][10] = other.spectra[0].table["FLUX"][10] = np.nan
    assert len(combine_1d.apply([one, other]).spectra[0].table) == 49


def test_outliers_whatever_the_exposure_times():
    rng = np.random.default_rng(2)
    every = [exposure((WAVE, rng.normal(10, 0.1, 50)), exptime=t) for t in (100, 100, 100, 400)]
    every[1].spectra[0].table["FLUX"][20] = 1000
    table = combine_1d.apply(every, sigma_clip=8).spectra[0].table
    np.testing.assert_allclose(table["FLUX"], 10, atol=0.3)
    assert table["N_INPUT"].sum() == 199  # the peer compares fluxes times weights: it loses the long exposure
    assert combine_1d.apply(every).spectra[0].table["FLUX"][20] > 100


def test_orders_and_integrations():
    new = combine_1d.apply([exposure((WAVE, WAVE), order=1), exposure((WAVE + 3, WAVE), order=2), exposure((WAVE, WAVE), order=1)])
    assert [spectrum.header["SPORDER"] for spectrum in new.spectra] == [1, 2]
    table = combine_1d.apply(series(WAVE, np.array([WAVE, 2 * WAVE, 3 * WAVE]))).spectra[0].table
    np.testing.assert_allclose(table["FLUX"], 2 * WAVE)


def test_common_wavelengths():
    np.testing.assert_allclose(common_wavelengths([WAVE, WAVE[::-1].copy()]), WAVE)
    near = common_wavelengths([WAVE, WAVE + 1e-4, WAVE - 1e-4])
    np.testing.assert_allclose(near, WAVE, atol=1e-9)
    apart = common_wavelengths([WAVE, WAVE + 3])  # a gap between them stays one
    np.testing.assert_allclose(apart, np.concatenate([WAVE, WAVE + 3]))


def test_bad_input(caplog):
    dark, tangled = exposure((WAVE, np.full(50, np.nan))), exposure((WAVE[np.r_[0:20, 18:48]], WAVE))
    with pytest.raises(Skip, match="no spectrum with a flux"):
        combine_1d.apply([dark, tangled])
    assert "without any flux" in caplog.text
    assert "neither rise nor fall" in caplog.text
    table = combine_1d.apply([dark, tangled, exposure((WAVE, WAVE))]).spectra[0].table
    np.testing.assert_allclose(table["FLUX"], WAVE)
    with pytest.raises(InputError, match="can't be combined"):
        combine_1d.apply([exposure((WAVE, WAVE)), exposure((WAVE, WAVE), unit="DN/s")])
    with pytest.raises(InputError, match="two wavelengths"):
        combine_1d.apply(exposure((WAVE[:1], WAVE[:1])))
    without = exposure((WAVE, WAVE))
    del without.header["EFFEXPTM"]
    with pytest.raises(InputError, match="EFFEXPTM is missing"):
        combine_1d.apply(without)


PEER = """
import json
from astropy.io import fits
from jwst.combine_1d.combine1d import combine_1d_spectra
from jwst.datamodels import ModelContainer
from jwst.extract_1d.spec_wcs import create_spectral_wcs
from stdatamodels.jwst import datamodels
for name, case in json.loads(str(cases)).items():
    every = []
    for file, weight in case["files"]:
        model = datamodels.MultiSpecModel()
        model.meta.exposure.exposure_time = weight
        for hdu in fits.open(file)[1:]:
            table = np.zeros(len(hdu.data), datamodels.SpecModel().get_dtype("spec_table"))
            for column in table.dtype.names:
                table[column] = hdu.data[column]
            spec = datamodels.SpecModel(spec_table=table)
            spec.spec_table.columns["flux"].unit, spec.spec_table.columns["surf_bright"].unit = "Jy", "MJy/sr"
            spec.meta.wcs = create_spectral_wcs(0.0, 0.0, spec.spec_table["WAVELENGTH"])
            spec.spectral_order = hdu.header["SPORDER"]
            model.spec.append(spec)
        every.append(model)
    result = combine_1d_spectra(ModelContainer(every), "exposure_time", **case["given"])
    for number, spec in enumerate(result.spec):
        for column in spec.spec_table.names:
            out[f"{name}|{number}|{column}"] = np.array(spec.spec_table[column])
"""


@needs_peer
@pytest.mark.parity
def test_parity(tmp_path):
    rng = np.random.default_rng(3)
    base = np.cumsum(rng.uniform(0.01, 0.02, 120)) + 5

    def noisy(shift=0.0, stretch=1.0, exptime=100.0, order=1, part=slice(None)):
        wave = ((base - 5) * stretch + 5 + shift)[part]
        made = exposure((wave, rng.normal(10, 0.2, wave.size)), exptime=exptime, order=order)
        made.spectra[0].table["DQ"][5] = bits.DO_NOT_USE
        made.spectra[0].table["FLUX"][9] = np.nan
        made.spectra[0].table["DQ"][11] = 4
        return made

    cases = {
        "same": ([noisy(), noisy(), noisy(exptime=300)], {}),
        "shifted": ([noisy(), noisy(0.004), noisy(-0.003, 1.002), noisy(0.0071, 0.999)], {}),
        "falling": ([noisy(part=slice(None, None, -1)), noisy(0.001, part=slice(30, None))], {}),
        "clipped": ([noisy(), noisy(0.002), noisy(), noisy(-0.002)], {"sigma_clip": 2.5}),
        "orders": ([noisy(order=2), noisy(order=1), noisy(0.002, order=2)], {}),
    }
    told, ours = {}, {}
    for name, (every, given) in cases.items():
        files = []
        for number, one in enumerate(every):
            file = tmp_path / f"{name}{number}.fits"
            hdus = [fits.BinTableHDU(s.table, fits.Header({"SPORDER": s.header["SPORDER"]}), name="EXTRACT1D") for s in one.spectra]
            fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(file)
            files.append((str(file), one.header["EFFEXPTM"]))
        told[name] = {"files": files, "given": given}
        ours[name] = combine_1d.apply(every, **given).spectra
    peers = peer_python(PEER, cases=json.dumps(told))
    for name, spectra in ours.items():
        for number, spectrum in enumerate(spectra):
            for column in tables.COMBINED:
                theirs = peers[f"{name}|{number}|{column}"]
                np.testing.assert_allclose(spectrum.table[column], theirs, rtol=1e-10, err_msg=f"{name} {column}")
