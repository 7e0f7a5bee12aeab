"""spectral_leak: the same whatever other bands there are; skipped where a partner is missing; as the peer has it."""

import numpy as np
import pytest

import make
from jwcal.model.exposure import Exposure
from jwcal.model.spectra import Spectrum, empty_table
from jwcal.steps import spectral_leak
from jwcal.vocabulary.errors import ReferenceError, Skip
from peer import needs_peer, peer_python

RANGES = {("1", "SHORT"): (4.9, 5.74), ("1", "MEDIUM"): (5.66, 6.63), ("1", "LONG"): (6.53, 7.65), ("3", "SHORT"): (11.55, 13.47)}


def law(wavelength):
    return 0.5 * (6 / wavelength) ** 2 * (1 + 0.5 * np.exp(-0.5 * ((wavelength - 6.2) / 0.01) ** 2))


def part(wavelength):
    return 0.04 * np.exp(-0.5 * ((wavelength - 12.2) / 0.1) ** 2)


def spectrum(channel, band, ranges=None, source="POINT"):
    low, high = ranges or RANGES[channel, band]
    table = empty_table("mrs", int((high - low) / 0.001))
    table["WAVELENGTH"] = np.linspace(low, high, len(table))
    table["FLUX"] = law(table["WAVELENGTH"])
    if (channel, band) == ("3", "SHORT"):
        table["FLUX"] += part(table["WAVELENGTH"]) * law(table["WAVELENGTH"] / 2)
    table["RF_FLUX"] = 1.01 * table["FLUX"]
    exposure = Exposure(make.header(1, 1, CHANNEL=channel, BAND=band, INSTRUME="MIRI"), suffix="x1d")
    exposure.spectra = [Spectrum(table, make.fits.Header({"SRCTYPE": source}))]
    return exposure


def references(folder):
    at = np.linspace(11.5, 13.5, 500)
    table = np.zeros(500, [(name, "f4") for name in ("wavelength", "frac_leak", "err_leak")])
    table["wavelength"], table["frac_leak"] = at, part(at)
    return make.references(folder, spectrum("1", "SHORT"), mrsptcorr={"LEAKCOR": table})


@pytest.mark.parametrize("bands", [("MEDIUM",), ("SHORT", "MEDIUM"), ("SHORT", "MEDIUM", "LONG")])
def test_the_leak_goes_whatever_other_bands_there_are(tmp_path, bands):
    """Down to 1 % of itself, in both columns."""
    spectra = [spectrum("1", band) for band in bands] + [spectrum("3", "SHORT")]
    spectral_leak.apply(spectra, references(tmp_path))
    table = spectra[-1].spectra[0].table
    inside = table["WAVELENGTH"] < 13.2  # the source has no more
    leaked = (part(table["WAVELENGTH"]) * law(table["WAVELENGTH"] / 2))[inside]
    for name, factor in (("FLUX", 1), ("RF_FLUX", 1.01)):
        left = table[name][inside] / factor - law(table["WAVELENGTH"][inside])
        assert np.abs(left).max() < 0.01 * leaked.max()
    np.testing.assert_array_equal(spectra[0].spectra[0].table["FLUX"], spectrum("1", bands[0]).spectra[0].table["FLUX"])


def test_spectra_of_all_bands_of_a_channel(tmp_path):
    spectra = [spectrum("1", "MULTIPLE", (4.9, 7.65)), spectrum("3", "SHORT")]
    spectral_leak.apply(spectra, references(tmp_path))
    table = spectra[1].spectra[0].table
    assert np.abs(table["FLUX"] - law(table["WAVELENGTH"])).max() < 0.01 * part(12.2) * law(6.1)


@pytest.mark.parametrize(
    ("spectra", "why"),
    [
        ([("1", "SHORT"), ("3", "SHORT")], "no spectrum of channel 1, band MEDIUM"),
        ([("1", "MEDIUM")], "no spectrum of channel 3, band SHORT"),
        ([("1", "MEDIUM"), ("3", "SHORT", None, "EXTENDED")], "extended"),
    ],
)
def test_skipped(tmp_path, spectra, why):
    with pytest.raises(Skip, match=why):
        spectral_leak.apply([spectrum(*one) for one in spectra], references(tmp_path))


def test_a_reference_without_the_table(tmp_path):
    refs = make.references(tmp_path, spectrum("1", "SHORT"), mrsptcorr={"LEAK": np.zeros(3, [("wavelength", "f4")])})
    with pytest.raises(ReferenceError):
        spectral_leak.apply([spectrum("1", "MEDIUM"), spectrum("3", "SHORT")], refs)


PEER = """
from stdatamodels.jwst import datamodels
from jwst.spectral_leak.spectral_leak import do_correction
models = []
for wavelength, flux, rf in ((w1, f1, r1), (w3, f3, r3)):
    model = datamodels.MRSMultiSpecModel()
    model.spec.append(datamodels.MRSSpecModel())
    table = np.zeros(len(wavelength), model.spec[0].get_dtype("spec_table") if hasattr(model.spec[0], "get_dtype") else None)
    table["WAVELENGTH"], table["FLUX"], table["RF_FLUX"] = wavelength, flux, rf
    model.spec[0].spec_table = table
    models.append(model)
out["flux"], out["rf"] = do_correction(str(reference), *models)
"""


@pytest.mark.parity
@needs_peer
def test_as_the_peer(tmp_path):
    spectra, refs = [spectrum("1", "MEDIUM"), spectrum("3", "SHORT")], references(tmp_path)
    given = {}
    for number, one in zip("13", spectra, strict=True):
        for letter, name in (("w", "WAVELENGTH"), ("f", "FLUX"), ("r", "RF_FLUX")):
            given[letter + number] = one.spectra[0].table[name].copy()
    peers = peer_python(PEER, reference=str(refs["mrsptcorr"].path), **given)
    spectral_leak.apply(spectra, refs)
    np.testing.assert_allclose(spectra[1].spectra[0].table["FLUX"], peers["flux"], rtol=1e-9)
    np.testing.assert_allclose(spectra[1].spectra[0].table["RF_FLUX"], peers["rf"], rtol=1e-9)
