"""Simulated spectra: what was put in comes out with the arithmetic of a simple extraction."""

import numpy as np
import pytest

import lrs
from jwcal.products import stored
from jwcal.simulate import mrs, spectrograph
from jwcal.simulate.spectrograph import Dip, PathOfLight, Source, Spectrum, simulate_lrs
from peer import needs_peer, peer_python

BOTH = pytest.mark.parametrize("slitless", [False, True], ids=["slit", "slitless"])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return spectrograph.write_lrs_references(tmp_path_factory.mktemp("references"))


def flux(image, rows):
    """Jy of rows of a calibrated image: all of their light."""
    return image[..., rows, :].sum(axis=-1) * spectrograph.PIXAR_SR * 1e6


def rows_and_wavelengths(made, low=5.6, high=12.0):
    wavelength = np.fmax.reduce(made.truth.wavelength, axis=1)  # one a row
    rows = np.flatnonzero((wavelength > low) & (wavelength < high))
    return rows, wavelength[rows]


def test_light_is_neither_lost_nor_made():
    along = np.linspace(-20, 119, 5000)
    path = PathOfLight(3 + 0.1 * along, along, 20 + 0.03 * along, np.zeros(5000))
    image = np.zeros((100, 60))
    total = spectrograph.paint(image, path, lambda w: w**2, spread=lambda w: 0.5 * w, fwhm=lambda w: 0.2 * w)
    inside = slice(25, 75)  # from the ends the blur takes
    y = np.arange(100)[inside]
    np.testing.assert_allclose(total[inside], (3 + 0.1 * y) ** 2 + 0.01 * (1 / 12 + (0.5 * (3 + 0.1 * y) / 2.3548) ** 2), rtol=3e-3)
    np.testing.assert_allclose(image.sum(axis=1)[inside], total[inside], rtol=1e-3)  # the halo's wings
    centroid = (image * np.arange(60)).sum(axis=1) / image.sum(axis=1)
    np.testing.assert_allclose(centroid[inside], 20 + 0.03 * y, atol=0.02)
    turned = np.zeros((60, 100))
    spectrograph.paint(turned, path, lambda w: w**2, spread=lambda w: 0.5 * w, fwhm=lambda w: 0.2 * w, vertical=False)
    np.testing.assert_array_equal(turned.T, image)


def test_a_line_is_as_wide_as_the_line_spread_function():
    along = np.linspace(0, 99, 9901)
    path = PathOfLight(along / 10, along, np.full(9901, 10.0), np.zeros(9901))
    total = spectrograph.paint(
        np.zeros((100, 21)),
        path,
        lambda w: np.where(np.abs(w - 5.0) < 0.0065, 1.0, 0.0),
        spread=lambda w: 4 + 0 * w,
        fwhm=lambda w: 2 + 0 * w,
    )
    y = np.arange(100)
    middle = (y * total).sum() / total.sum()
    sigma = np.sqrt(((y - middle) ** 2 * total).sum() / total.sum())
    assert middle == pytest.approx(50, abs=0.07)
    assert sigma == pytest.approx(np.sqrt((4 / 2.3548) ** 2 + 1 / 12), rel=0.01)


def test_what_a_slit_lets_through():
    assert spectrograph.passed(0.3, np.inf, 0.5) == pytest.approx(1)
    x = np.linspace(-12, 12, 240001)
    sigma = 0.4 / 2.3548
    profile = 0.85 * np.exp(-0.5 * (x / sigma) ** 2) / sigma + 0.15 * np.exp(-0.5 * (x / 3 / sigma) ** 2) / 3 / sigma
    through = profile[np.abs(x + 0.1) < 0.255].sum() / profile.sum()
    assert spectrograph.passed(0.1, 0.51, 0.4) == pytest.approx(through, abs=2e-4)
    fwhm = np.array([0.2, 0.4])
    assert (np.diff(spectrograph.passed(0.0, 0.51, fwhm)) < 0).all()


@BOTH
def test_flux_comes_out(files, slitless):
    star = Source(Spectrum(flux=0.02, slope=-1.5))
    made = simulate_lrs(files, slitless=slitless, sources=[star], calibrated=True, noise=False, nints=2)
    assert made.exposure.suffix == ("calints" if slitless else "cal")
    rows, wavelength = rows_and_wavelengths(made)
    expected = star.spectrum(wavelength)
    if not slitless:
        offset = np.median(made.truth.paths[0].offset)
        assert abs(offset) < 0.02  # the slit is where the SIAF has it
        expected = expected * spectrograph.passed(offset, 0.51, spectrograph.DIFFRACTION * wavelength)
        part = expected / star.spectrum(wavelength)
        assert (np.diff(part) > 0).all() and 0.75 < part[0] < 0.85 and 0.92 < part[-1] < 0.98  # the more, the bluer
    got = flux(made.exposure.sci, rows)
    np.testing.assert_allclose(got, np.broadcast_to(expected, got.shape), rtol=3e-3)


@BOTH
def test_a_rate_is_what_photom_makes_the_calibrated_image_of(files, slitless):
    star = Source(Spectrum(flux=0.02))
    kinds = [simulate_lrs(files, slitless=slitless, sources=[star], calibrated=c, noise=False, nints=1) for c in (False, True)]
    rate, cal = (np.atleast_3d(k.exposure.sci.astype(float).squeeze())[..., 0] for k in kinds)
    assert kinds[0].exposure.suffix == ("rateints" if slitless else "rate") and kinds[0].exposure.wcs is None
    rows, wavelength = rows_and_wavelengths(kinds[0])
    np.testing.assert_allclose(rate[rows].sum(axis=1) * spectrograph.lrs_response(wavelength), cal[rows].sum(axis=1), rtol=3e-3)
    assert kinds[0].exposure.header["BUNIT"] == "DN/s" and kinds[1].exposure.header["BUNIT"] == "MJy/sr"


def test_a_line_is_where_it_should_be(files):
    line = 9.0
    pair = [
        simulate_lrs(files, slitless=True, sources=[Source(Spectrum(flux=0.02, lines=lines))], calibrated=True, noise=False, nints=1)
        for lines in ((), [(line, 0.5, 0.08)])
    ]
    rows, wavelength = rows_and_wavelengths(pair[0], 8.7, 9.3)
    excess = flux(pair[1].exposure.sci[0], rows) - flux(pair[0].exposure.sci[0], rows)
    assert (wavelength * excess).sum() / excess.sum() == pytest.approx(line, abs=0.003)
    width = np.abs(np.gradient(wavelength))
    assert (excess * width).sum() == pytest.approx(0.02 * 0.5 * 0.08 / 2.3548 * np.sqrt(2 * np.pi), rel=0.01)


def test_two_sources_and_a_background(files):
    near = Source(Spectrum(flux=0.01), along=-1.0)
    far = Source(Spectrum(flux=0.003), along=1.2)
    made = simulate_lrs(files, sources=[near, far], background=lambda w: 30 + 0 * w, calibrated=True, noise=False)
    rows, wavelength = rows_and_wavelengths(made, 6.0, 7.0)
    lit = np.isfinite(made.truth.wavelength[rows])
    assert made.exposure.sci[rows][lit].min() == pytest.approx(30, abs=0.3)
    columns = [np.median(path.at(rows, "across")) for path in made.truth.paths]
    assert abs(columns[1] - columns[0]) == pytest.approx(2.2 / 0.11, rel=0.02)
    profile = made.exposure.sci[rows].mean(axis=0)
    assert abs(np.argmax(profile) - columns[0]) < 1
    for column, source in zip(columns, (near, far), strict=True):
        middle = int(round(column))
        part = (made.exposure.sci[rows, middle - 9 : middle + 10] - 30).sum(axis=1) * spectrograph.PIXAR_SR * 1e6
        through = spectrograph.passed(np.median(made.truth.paths[0].offset), 0.51, spectrograph.DIFFRACTION * wavelength)
        np.testing.assert_allclose(part, source.spectrum(wavelength) * through, rtol=0.03)


def test_a_dither_moves_the_target_along_the_slit(files):
    columns = []
    for x in (-1.0, 1.0):
        made = simulate_lrs(files, dither={"x": x, "y": 0.0}, calibrated=True, noise=False)
        columns.append(np.median(made.truth.paths[0].across))
        corners = np.array(made.exposure.header["S_REGION"].split()[2:], float).reshape(4, 2)
        sides = np.hypot(*((np.roll(corners, 1, axis=0) - corners) * [np.cos(np.radians(corners[0, 1])), 1]).T) * 3600
        np.testing.assert_allclose(np.sort(sides), [0.51, 0.51, 4.7, 4.7], rtol=0.05)
        pointed = made.exposure.header["DITH_RA"], made.exposure.header["DITH_DEC"]
        np.testing.assert_allclose(pointed, spectrograph.exposures.TARGET, atol=0.05 / 3600)
    assert abs(columns[1] - columns[0]) == pytest.approx(2 / 0.11, rel=0.02)


def test_a_transit_takes_what_it_should(files):
    shape = np.array([0.0, 0.5, 1.0, 0.0])
    dip = Dip(shape, depth=lambda w: np.where(w < 8, 0.01, 0.02))
    made = simulate_lrs(files, slitless=True, sources=[Source(Spectrum(flux=0.1))], dip=dip, calibrated=True, noise=False, nints=4)
    assert made.exposure.sci.shape[0] == 4
    for low, high, depth in [(6, 7.5, 0.01), (8.5, 11, 0.02)]:
        rows, _ = rows_and_wavelengths(made, low, high)
        curve = made.truth.image[:, rows].sum(axis=(1, 2))
        np.testing.assert_allclose(1 - curve / curve[0], depth * shape, atol=1e-12)


def test_without_a_slit_a_source_off_the_place_falls_on_other_rows(files):
    line = Spectrum(flux=0.02, lines=[(9.0, 5.0, 0.08)])
    peaks = []
    for across in (0.0, 0.55):
        made = simulate_lrs(files, slitless=True, sources=[Source(line, across=across)], calibrated=True, noise=False, nints=1)
        rows, _ = rows_and_wavelengths(made, 8, 10)
        peaks.append(rows[np.argmax(flux(made.exposure.sci[0], rows))])
    assert abs(peaks[1] - peaks[0]) == 5


def test_noise_is_as_large_as_the_errors_say(files):
    arguments = {"slitless": True, "sources": [Source(Spectrum(flux=0.05))], "background": lambda w: 20 + 0 * w, "nints": 6, "seed": 4}
    for calibrated in (False, True):
        noisy = simulate_lrs(files, calibrated=calibrated, **arguments).exposure
        clean = simulate_lrs(files, calibrated=calibrated, noise=False, **arguments).exposure
        pull = (noisy.sci - clean.sci) / noisy.err
        assert pull.std() == pytest.approx(1, abs=0.01) and abs(pull.mean()) < 0.01
        np.testing.assert_allclose(noisy.err**2, noisy.var_poisson + noisy.var_rnoise, rtol=1e-5)
        again = simulate_lrs(files, calibrated=calibrated, **arguments).exposure
        np.testing.assert_array_equal(noisy.sci, again.sci)
    other = simulate_lrs(files, **{**arguments, "seed": 5}).exposure
    assert not np.array_equal(other.sci, simulate_lrs(files, **arguments).exposure.sci)


@pytest.mark.skipif(not lrs.DISTORTION.exists(), reason="the real reference files (../shared/real) are not here")
@BOTH
def test_flux_comes_out_with_real_references(slitless):
    table = lrs.SLITLESS / "jwst_miri_specwcs_0003.fits" if slitless else lrs.REAL / "jwst_miri_specwcs_0005.fits"
    files = {"distortion": lrs.DISTORTION, "specwcs": table}
    # an older distortion than the SIAF's: the target is not in the middle
    beside = np.median(simulate_lrs(files, slitless=slitless, calibrated=True, noise=False, nints=1).truth.paths[0].offset)
    star = Source(Spectrum(flux=0.02, slope=-1.0), across=-beside)
    made = simulate_lrs(files, slitless=slitless, sources=[star], calibrated=True, noise=False, nints=1)
    assert abs(np.median(made.truth.paths[0].offset)) < 1e-3 < abs(beside) < 0.6
    rows, wavelength = rows_and_wavelengths(made)
    width = np.inf if slitless else 0.51
    through = spectrograph.passed(np.median(made.truth.paths[0].offset), width, spectrograph.DIFFRACTION * wavelength)
    got = flux(made.exposure.sci, rows)
    np.testing.assert_allclose(got, np.broadcast_to(star.spectrum(wavelength) * through, got.shape), rtol=5e-3)


# --- slices --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def slices(tmp_path_factory):
    return mrs.write_references(tmp_path_factory.mktemp("slices"))


SR = (np.pi / 180 / 3600) ** 2


def spectra(made, channel):
    """Wavelength and Jy in rows of a channel, all slices together."""
    labels = mrs.labels_of(made.exposure.wcs) // 100 == channel
    _, width, scale, *_ = mrs.OPTICS[channel]
    jansky = np.where(labels, made.exposure.sci, 0).sum(axis=1) * 1e6 * scale * width * SR
    return np.fmax.reduce(np.where(labels, made.truth.wavelength, np.nan), axis=1), jansky


def test_made_up_slices_are_those_of_the_instrument(slices):
    made = mrs.simulate_mrs(slices, sources=[], noise=False)
    labels = mrs.labels_of(made.exposure.wcs)
    assert np.unique(labels).tolist() == [0, *range(101, 122), *range(201, 218)]
    for channel, (low, high) in mrs.RANGES["SHORT"].items():
        if channel < 3:
            seen = made.truth.wavelength[labels // 100 == channel]
            assert low < np.nanmin(seen) < low + 0.05 and high - 0.05 < np.nanmax(seen) < high + 0.05
            assert np.isfinite(seen).all()
    y, x = (axis[::991].astype(float) for axis in np.nonzero(labels))
    back = made.exposure.wcs.invert(*made.exposure.wcs(x, y), with_bounding_box=False)
    np.testing.assert_allclose(back, [x, y], atol=1e-6)


def test_flux_comes_out_of_the_slices(slices):
    star = Source(Spectrum(flux=0.05, at=6.0, slope=-1.0), along=0.2, across=-0.1)
    made = mrs.simulate_mrs(slices, sources=[star], background=lambda w: 3 * w, noise=False)
    empty = mrs.simulate_mrs(slices, sources=[], background=lambda w: 3 * w, noise=False)
    lit = mrs.labels_of(made.exposure.wcs) > 0
    np.testing.assert_allclose(empty.exposure.sci[lit], 3 * made.truth.wavelength[lit], rtol=1e-6)
    made.exposure.sci = made.exposure.sci.astype(float) - empty.exposure.sci
    for channel in (1, 2):
        wavelength, jansky = spectra(made, channel)
        np.testing.assert_allclose(jansky, star.spectrum(wavelength), rtol=2e-3)  # a row's wavelengths differ by a pixel


def test_a_source_is_where_it_was_put(slices):
    found = []
    for along, across in [(0.0, 0.0), (0.6, -0.35)]:
        made = mrs.simulate_mrs(slices, sources=[Source(Spectrum(flux=0.05), along=along, across=across)], noise=False)
        y, x = np.nonzero(mrs.labels_of(made.exposure.wcs) // 100 == 1)
        alpha, beta, _ = made.exposure.wcs.get_transform("detector", "alpha_beta")(x.astype(float), y.astype(float))
        found.append([np.average(axis, weights=made.truth.image[y, x]) for axis in (alpha, beta)])
    np.testing.assert_allclose(np.subtract(*found[::-1]), [0.6, -0.35], atol=0.02)  # the field cuts the halo off


def test_a_line_is_resolved_as_it_should_be(slices):
    sigma = spectrograph.SIGMA * 5.3 / mrs.RESOLUTION
    wavelength = np.linspace(5.29, 5.31, 4001)
    line = Spectrum(flux=0.05, lines=[(5.3, 1.0, 0.002)])
    broad = mrs.blurred(line, wavelength) - 0.05
    middle = np.average(wavelength, weights=broad)
    assert middle == pytest.approx(5.3, abs=1e-5)
    width = np.sqrt(np.average((wavelength - middle) ** 2, weights=broad))
    assert width == pytest.approx(np.hypot(sigma, spectrograph.SIGMA * 0.002), rel=2e-3)
    assert np.trapezoid(broad, wavelength) == pytest.approx(0.05 * spectrograph.SIGMA * 0.002 * np.sqrt(2 * np.pi), rel=1e-3)


def test_a_rate_of_slices(slices):
    star = Source(Spectrum(flux=0.05))
    cal, rate = (mrs.simulate_mrs(slices, sources=[star], calibrated=c, response=20.0, seed=3) for c in (True, False))
    assert (cal.exposure.suffix, rate.exposure.suffix) == ("cal", "rate") and rate.exposure.wcs is None
    np.testing.assert_allclose(rate.exposure.sci * 20, cal.exposure.sci, rtol=1e-4, atol=1e-3)
    pull = (cal.exposure.sci - cal.truth.image) / cal.exposure.err
    assert pull.std() == pytest.approx(1, abs=0.01)


PEER_SLICES = """
from jwst.assign_wcs.assign_wcs import load_wcs
from stdatamodels.jwst import datamodels
with datamodels.IFUImageModel(str(path)) as model:
    wcs = load_wcs(model, {k: str(v) for k, v in zip(kinds, files)}).meta.wcs
out["sky"] = np.array(wcs(x, y))
"""


@needs_peer
@pytest.mark.parity
@pytest.mark.full
def test_the_peer_reads_the_slices(slices, tmp_path):
    made = mrs.simulate_mrs(slices, calibrated=False)
    path = stored.write(made.exposure, tmp_path / "slices_rate.fits")
    wcs = mrs.simulate_mrs(slices).exposure.wcs
    y, x = (axis[::97].astype(float) for axis in np.nonzero(mrs.labels_of(wcs)))
    theirs = peer_python(PEER_SLICES, path=str(path), kinds=[*slices], files=[str(f) for f in slices.values()], x=x, y=y)["sky"]
    np.testing.assert_allclose(wcs(x, y), theirs, rtol=0, atol=1e-10)


PEER = """
from jwst.assign_wcs import AssignWcsStep
from jwst.photom import PhotomStep
for path, name in zip(paths, names):
    step = AssignWcsStep()
    for kind in AssignWcsStep.reference_file_types:
        setattr(step, f"override_{kind}", {"distortion": str(distortion), "specwcs": str(specwcs)}.get(kind, "N/A"))
    model = step.process(str(path))
    step = PhotomStep()
    step.override_photom, step.override_area = str(photom), "N/A"
    model = step.process(model)
    out[f"{name} status"] = np.array([model.meta.cal_step.assign_wcs, model.meta.cal_step.photom])
    out[f"{name} data"], out[f"{name} pixar"] = model.data, model.meta.photometry.pixelarea_steradians
    out[f"{name} wavelength"] = model.wavelength
"""


@needs_peer
@pytest.mark.parity
def test_the_peer_calibrates_it(files, tmp_path):
    star = Source(Spectrum(flux=0.02, slope=-1.0))
    made = {name: simulate_lrs(files, slitless=name == "slitless", sources=[star], noise=False, nints=2) for name in ("slit", "slitless")}
    paths = [stored.write(one.exposure, tmp_path / f"{name}_{one.exposure.suffix}.fits") for name, one in made.items()]
    peers = peer_python(PEER, paths=[str(p) for p in paths], names=[*made], **{kind: str(path) for kind, path in files.items()})
    for name, one in made.items():
        assert (peers[f"{name} status"] == "COMPLETE").all()
        rows, wavelength = rows_and_wavelengths(one)
        np.testing.assert_array_equal(peers[f"{name} wavelength"], one.truth.wavelength.astype(np.float32))
        got = np.nansum(peers[f"{name} data"], axis=-1)[..., rows] * peers[f"{name} pixar"] * 1e6
        width = np.inf if name == "slitless" else 0.51
        through = spectrograph.passed(np.median(one.truth.paths[0].offset), width, spectrograph.DIFFRACTION * wavelength)
        np.testing.assert_allclose(got, np.broadcast_to(star.spectrum(wavelength) * through, got.shape), rtol=5e-3)
