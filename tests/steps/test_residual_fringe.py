"""residual_fringe: injected fringes go down to a tenth, in images and in spectra, lines keep their flux; and as the peer has it."""

import numpy as np
import pytest

import make
import mrs as made_up
from jwcal.arithmetic.fringes.spectrum import correct_spectrum
from jwcal.kernels.fringes import sines
from jwcal.model.references import References
from jwcal.simulate import mrs
from jwcal.steps import assign_wcs, residual_fringe
from jwcal.vocabulary.errors import ConfigError, Skip
from peer import needs_peer, peer_python

SLICES = {"12": (105, 208), "34": (305, 407)}
COLUMNS = 3  # of each slice


def frequencies(path, slices, period=(2.8, 0.4), most=(10, 15)):
    """Fringes of two kinds for some slices; the second kind has a place alone in channels 1 and 2."""
    kinds = [("slice", "f8"), *((name, kind, 2) for name, kind in (("ffreq", "f8"), ("dffreq", "f8")))]
    kinds += [("min_nfringes", "i8", 2), ("max_nfringes", "i8", 2), ("min_snr", "f8", 2), ("pgram_res", "f8", 2)]
    table = np.zeros(len(slices), kinds)
    table["slice"] = slices
    table["ffreq"] = period
    table["ffreq"][table["slice"] < 300, 1] = 0
    table["dffreq"], table["max_nfringes"], table["min_snr"], table["pgram_res"] = (1.0, 0.15), most, (10, 10), (0.01, 0.0005)
    amplitude = np.zeros(5, [("Wavelength", "f8"), ("Amplitude", "f8")])
    amplitude["Wavelength"], amplitude["Amplitude"] = np.linspace(4.5, 30, 5), 0.2
    content = {f"RFC_FREQ_{band}": table for band in ("SHORT", "MEDIUM", "LONG")} | {"MAX_AMP": amplitude}
    return make.reference_file(path, "fringefreq", {**content, "INSTRUME": "MIRI"})


def scene(folder, channels, amplitude=0.03, noise=0.003, seed=1):
    """Some columns of some slices, with a smooth continuum and fringes: exposure, references, truth, fringes."""
    files = mrs.write_references(folder, channels=channels)
    detector = {"12": "MIRIFUSHORT", "34": "MIRIFULONG"}[channels]
    exposure = made_up.pointed(made_up._Aperture(made_up.sky.aperture("MIRI", "MIRIFU_CHANNEL1A")), mrs.SHAPE, INSTRUME="MIRI")
    exposure.header["DETECTOR"], exposure.header["CHANNEL"], exposure.header["BAND"] = detector, channels, "SHORT"
    refs = References(files, exposure.header)
    labels = np.asarray(refs["regions"].tree["regions"])[7].copy()
    keep = np.zeros(mrs.SHAPE, bool)
    for number in SLICES[channels]:
        columns = np.flatnonzero((labels == number).any(axis=0))
        keep[:, columns[10 : 10 + COLUMNS]] = True
    labels[~keep | ~np.isin(labels, SLICES[channels])] = 0
    regions = folder / "regions.asdf"
    made_up.write(regions, "regions", {"regions": np.stack([labels] * 9)})
    files |= {"regions": regions, "fringefreq": frequencies(folder / "fringefreq.fits", SLICES[channels])}
    refs = References(files, exposure.header)
    assign_wcs.apply(exposure, refs, "mrs")
    from jwcal.arithmetic.wcs.pixel_coordinates import wavelength_and_sky

    *_, micron = wavelength_and_sky(exposure.wcs, mrs.SHAPE)
    lit = np.isfinite(micron) & (labels > 0)
    rng = np.random.default_rng(seed)
    truth = np.where(lit, 100 * (1 + 0.1 * np.sin(np.nan_to_num(micron))), 0)
    wavenumber = np.where(lit, 1e4 / micron, 0)
    fringes = amplitude * np.sin(2 * np.pi * wavenumber / 2.75) + 0.3 * amplitude * np.cos(2 * np.pi * wavenumber / 2.95)
    if channels == "34":
        fringes = fringes + 0.3 * amplitude * np.sin(2 * np.pi * wavenumber / 0.42)
    pixels = exposure.pixels[0]
    pixels.sci = (truth * (1 + fringes) * (1 + noise * rng.normal(size=mrs.SHAPE))).astype("f4")
    pixels.err = (noise * np.maximum(truth, 1)).astype("f4")
    pixels.dq = np.zeros(mrs.SHAPE, np.uint32)
    exposure.header["S_FRINGE"] = "COMPLETE"
    return exposure, refs, truth, lit


@pytest.fixture(params=["12", pytest.param("34", marks=pytest.mark.full)])
def channels(request):
    return request.param


def test_fringes_of_an_image(tmp_path, channels):
    """Of 10 % a tenth is left, at most 1 %."""
    exposure, refs, truth, lit = scene(tmp_path, channels, amplitude=0.1)
    before = (exposure.sci[lit] / truth[lit] - 1).std()
    made, shown = residual_fringe.apply(exposure, refs, save_intermediate_results=True)
    inner = lit & (np.arange(1024)[:, None] > 20) & (np.arange(1024)[:, None] < 1003)
    left = (made.sci[inner] / truth[inner] - 1).std()
    assert before > 0.07 and left < 0.01
    assert shown.suffix == "fit_results" and np.all(shown.sci[~lit] == 1)


def test_skipped_without_the_fringe_flat_and_wrong_regions(tmp_path):
    exposure, refs, *_ = scene(tmp_path, "12")
    with pytest.raises(ConfigError, match="1 wavelengths in ignore_region_min and 0"):
        residual_fringe.apply(exposure, refs, ignore_region_min=[5.0])
    exposure.header["S_FRINGE"] = "SKIPPED"
    with pytest.raises(Skip, match="the fringe flat was not applied"):
        residual_fringe.apply(exposure, refs)


def test_a_slice_without_a_value_stays_so(tmp_path):
    exposure, refs, truth, lit = scene(tmp_path, "12")
    labels = np.asarray(refs["regions"].tree["regions"])[7]
    exposure.sci[labels == 105] = np.nan
    residual_fringe.apply(exposure, refs)
    assert np.isnan(exposure.sci[labels == 105]).all()
    assert (exposure.sci[labels == 208] / truth[labels == 208]).std() < 0.01


def spectrum(lines=(), channel=1, amplitude=0.03):
    low, high, step = (4.9, 5.74, 8e-4) if channel == 1 else (11.55, 13.47, 2e-3)
    at = np.arange(low, high, step)
    truth = 0.1 * (at / low) ** -1.0
    for place, height in lines:
        truth = truth + 0.1 * height * np.exp(-0.5 * ((at - place) / (1.2 * step)) ** 2)
    return at, truth, truth * (1 + amplitude * np.sin(2 * np.pi * 1e4 / at / 2.8))


@pytest.mark.parametrize("lines", [(), ((5.2, 3.0),), ((5.2, 3.0), (5.5, 1.0))])
def test_fringes_of_a_spectrum_and_its_lines(lines):
    """Fringes of 3 % go down to a fifth; a line keeps its flux to 1 %."""
    at, truth, seen = spectrum(lines)
    made = correct_spectrum(seen, at, 1)
    away = np.ones(at.size, bool)
    for place, _ in lines:
        away &= np.abs(at - place) > 0.01
    assert np.std((made / truth)[away]) < 0.2 * np.std((seen / truth)[away])
    for place, _ in lines:
        near = np.abs(at - place) < 0.008
        smooth = np.interp(at[near], at[away], truth[away])
        assert abs(np.sum((made - truth)[near]) / np.sum(truth[near] - smooth)) < 0.01


def test_wavelengths_to_ignore_and_nothing_to_do(caplog):
    at, truth, seen = spectrum()
    hurt = seen * np.where((at > 5.3) & (at < 5.35), 1 + 0.1 * np.sin(2 * np.pi * 1e4 / at / 2.2), 1)
    away = (at < 5.25) | (at > 5.4)
    made = correct_spectrum(hurt, at, 1, ignore_regions=[(5.3, 5.35)])
    assert np.std((made / truth)[away]) < 0.25 * np.std((seen / truth)[away])
    np.testing.assert_array_equal(correct_spectrum(np.zeros(at.size), at), 0)
    np.testing.assert_array_equal(correct_spectrum(np.eye(1, at.size, 7)[0], at), np.eye(1, at.size, 7)[0])  # the sky's, of one point
    np.testing.assert_array_equal(correct_spectrum(seen[:12], at[:12]), seen[:12])
    with pytest.raises(ValueError, match="no fringes of dichroics"):
        correct_spectrum(seen, at, 1, dichroic_only=True)


def test_kernels_are_their_definitions():
    rng = np.random.default_rng(2)
    x, parameters = np.linspace(0, 1, 200), np.array([7.0, 0.5, 0.2, 12.0, 0.1, -0.4])
    y = sum(p[1] * np.cos(2 * np.pi * p[0] * x) + p[2] * np.sin(2 * np.pi * p[0] * x) for p in parameters.reshape(2, 3))
    np.testing.assert_allclose(sines.sines(x, parameters), y, atol=1e-12)
    slopes = sines.design(x, parameters, np.arange(6))
    for k in range(6):
        step = np.zeros(6)
        step[k] = 1e-6
        near = (sines.sines(x, parameters + step) - sines.sines(x, parameters - step)) / 2e-6
        np.testing.assert_allclose(slopes[k], near, atol=1e-6)
    power = sines.strongest(x, y + 0.01 * rng.normal(size=200), np.arange(3.0, 20))
    assert np.argmax(power) == 4
    found = np.ones(6)
    found[::3] = 7.05, 11.97
    for free in (np.array([1, 2, 4, 5]), np.arange(6)):
        chi, _, whole = sines.fit(x, 100 * y, np.ones(200), found, free)
    assert whole and chi < 1
    np.testing.assert_allclose(
        found, parameters * [1, 100, 100] * 2 if False else np.where(np.arange(6) % 3, 100, 1) * parameters, rtol=1e-3
    )


PEER = """
from stdatamodels.jwst import datamodels
from jwst.assign_wcs.assign_wcs import load_wcs
from jwst.residual_fringe.residual_fringe import ResidualFringeCorrection
from jwst.residual_fringe.utils import fit_residual_fringes_1d
import json
case = json.loads(str(case))
if case.get("file"):
    model = load_wcs(datamodels.open(case["file"]), {key: case[key] for key in ("distortion", "specwcs", "regions", "wavelengthrange")})
    model.meta.cal_step.fringe = "COMPLETE"
    ignore = {"num": 1, "min": [case["ignore"][0]], "max": [case["ignore"][1]]}
    fitted = ResidualFringeCorrection(model, case["fringefreq"], case["regions"], ignore, False, make_output_path=lambda **_: "")
    out["image"] = fitted.do_correction().data
for name, settings in json.loads(str(spectra)).items():
    out[name] = fit_residual_fringes_1d(flux[int(name[0])].copy(), wavelength[int(name[0])].copy(), **settings)
"""


@pytest.mark.parity
@needs_peer
def test_as_the_peer(tmp_path, channels):
    """Images and spectra: 1e-4 of the values."""
    from jwcal.products import stored

    exposure, refs, _, lit = scene(tmp_path, channels, seed=3)
    exposure.suffix = "rate"
    path = stored.write(exposure, tmp_path / "jw01234001001_02101_00001_mirifushort_rate.fits")
    kinds = ("distortion", "specwcs", "wavelengthrange", "regions", "fringefreq")
    ignore = (5.2, 5.22) if channels == "12" else (12.0, 12.03)
    case = {"file": str(path), "ignore": ignore, **{kind: str(refs[kind].path) for kind in kinds}}
    channel = 1 if channels == "12" else 3
    spectra = [spectrum(lines, channel) for lines in ((), ((5.2 if channel == 1 else 12.4, 3.0),))]
    rng = np.random.default_rng(5)
    flux = np.stack([seen * (1 + 0.002 * rng.normal(size=seen.size)) for *_, seen in spectra])
    wavelength = np.stack([at for at, *_ in spectra])
    settings = {"0": {"channel": channel}, "1": {"channel": channel}, "1b": {"channel": channel, "clip_features": False, "max_amp": 0.1}}
    if channel == 3:
        settings["0c"] = {"channel": 3, "dichroic_only": True}
    import json

    peers = peer_python(PEER, case=json.dumps(case), spectra=json.dumps(settings), flux=flux, wavelength=wavelength)
    for name, given in settings.items():
        made = correct_spectrum(flux[int(name[0])], wavelength[int(name[0])], **given)
        np.testing.assert_allclose(made, peers[name], rtol=1e-4, err_msg=name)
    before = exposure.sci.copy()
    residual_fringe.apply(exposure, refs, ignore_region_min=[ignore[0]], ignore_region_max=[ignore[1]])
    assert np.abs(peers["image"][lit] / before[lit] - 1).std() > 0.01
    np.testing.assert_allclose(exposure.sci[lit], peers["image"][lit], rtol=1e-4)
