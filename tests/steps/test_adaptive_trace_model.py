"""adaptive_trace_model: the model is the star, finer pixels keep its light and its place; and as the peer has it."""

import copy

import numpy as np
import pytest

from jwcal.arithmetic.spectra.trace_model import OPTICS, clipped, compact_source, finer, fit_spline
from jwcal.model.exposure import Members
from jwcal.products import stored
from jwcal.simulate import spectrograph
from jwcal.simulate.spectrograph import Source, Spectrum, simulate_lrs
from jwcal.steps import adaptive_trace_model, pixel_replace, resample_spec
from jwcal.vocabulary import dq
from jwcal.vocabulary.errors import ConfigError, InputError, Skip
from peer import needs_peer, peer_python

STAR = Source(Spectrum(flux=0.02))
ROWS = slice(60, 330)
WHERE = np.s_[ROWS, 304:346]


@pytest.fixture(scope="module")
def references(tmp_path_factory):
    return spectrograph.write_lrs_references(tmp_path_factory.mktemp("references"))


@pytest.fixture(scope="module")
def made(references):
    one = simulate_lrs(references, sources=[STAR], calibrated=True, background=lambda wavelength: 20 + 0 * wavelength, seed=3)
    one.exposure.header.name = "jw01234001001_02101_00001_mirimage_cal.fits"
    return one


def fresh(made):
    return copy.deepcopy(made.exposure)


def brightest(image):
    """Columns about the star."""
    peak = int(np.nanargmax(np.nanmedian(image[ROWS], axis=0)))
    return np.s_[ROWS, peak - 2 : peak + 3]


# --- truth -----------------------------------------------------------------------------------------------------------


def test_the_model_is_the_star(made):
    exposure = adaptive_trace_model.apply(fresh(made))
    model = exposure.extra["TRACEMODEL"]
    assert model.shape == exposure.sci.shape and model.dtype == np.float32
    near = brightest(made.truth.image)
    assert np.isfinite(model[near]).all()
    assert np.median(np.abs(model[near] / made.truth.image[near] - 1)) < 0.02
    np.testing.assert_array_equal(exposure.sci, made.exposure.sci)
    assert np.isnan(model[500:]).all()


def test_lost_pixels_are_restored_by_the_model(made):
    exposure = fresh(made)
    lost = np.zeros(exposure.sci.shape, bool)
    near = brightest(made.truth.image)
    lost[near] = np.random.default_rng(1).random(lost[near].shape) < 0.1
    exposure.sci[lost], exposure.dq[lost] = np.nan, dq.DO_NOT_USE
    pixel_replace.apply(exposure, algorithm="trace_model")
    assert (exposure.dq[lost] == dq.FLUX_ESTIMATED).all()
    assert np.median(np.abs(exposure.sci[lost] / made.truth.image[lost] - 1)) < 0.05


@pytest.mark.parametrize("factor", [2.0, 3.0])
def test_finer_pixels_keep_the_light_and_its_place(made, factor):
    exposure = adaptive_trace_model.apply(fresh(made), oversample=factor)
    assert exposure.sci.shape == (1024, int(1032 * factor))
    assert exposure.header["PIXAR_SR"] == pytest.approx(spectrograph.PIXAR_SR / factor)
    before, after = np.nansum(made.exposure.sci[WHERE]), np.nansum(exposure.sci[ROWS, int(304 * factor) : int(346 * factor)])
    assert after / factor == pytest.approx(before, rel=5e-3)
    x = np.arange(exposure.sci.shape[1])
    centre = np.nansum(exposure.sci[ROWS] * x, axis=1) / np.nansum(exposure.sci[ROWS], axis=1)
    was = np.nansum(made.exposure.sci[ROWS] * np.arange(1032), axis=1) / np.nansum(made.exposure.sci[ROWS], axis=1)
    assert np.abs((centre + 0.5) / factor - 0.5 - was).max() < 0.3
    here = exposure.wcs(factor * 320 + (factor - 1) / 2, 200.0)
    np.testing.assert_allclose(here, made.exposure.wcs(320.0, 200.0), rtol=1e-12)
    np.testing.assert_allclose(exposure.extra["WAVELENGTH"][200, int(factor * 320)], made.truth.wavelength[200, 320], atol=1e-6)
    together = resample_spec.apply(exposure)
    assert np.nansum(together.sci[100:300]) * together.header["PIXAR_SR"] == pytest.approx(
        np.nansum(made.exposure.sci[107:307]) * spectrograph.PIXAR_SR, rel=1e-2
    )


def test_finer_pixels_have_less_ripple(references):
    """The trace moves over the pixels that it is hardly wider than, and a narrow aperture sees it come and go."""
    star = simulate_lrs(references, sources=[STAR], calibrated=True, noise=False).exposure
    ripple = {}
    for factor in (1.0, 2.0):
        given = copy.deepcopy(star)
        sci = np.nan_to_num(resample_spec.apply(adaptive_trace_model.apply(given, oversample=factor)).sci[150:340])
        x = np.arange(sci.shape[1])
        centre = np.average(x, weights=sci.sum(axis=0))
        covered = np.clip(np.minimum(centre + 1.5 * factor, x + 0.5) - np.maximum(centre - 1.5 * factor, x - 0.5), 0, 1)
        light, row = sci @ covered, np.linspace(-1, 1, len(sci))
        ripple[factor] = np.std(light / np.polyval(np.polyfit(row, light, 6), row))
    assert ripple[1.0] < 3e-3 and ripple[2.0] < 0.6 * ripple[1.0]


def test_the_finer_wcs_outlives_a_file(made, tmp_path):
    exposure = adaptive_trace_model.apply(fresh(made), oversample=2.0)
    again = stored.read(stored.write(exposure, tmp_path / "made_cal.fits"))
    np.testing.assert_array_equal(again.wcs(640.0, 200.0), exposure.wcs(640.0, 200.0))


def test_flux_density_is_shared_out(made):
    exposure = fresh(made)
    exposure.header["BUNIT"] = "MJy"
    shared = adaptive_trace_model.apply(exposure, oversample=2.0)
    bright = adaptive_trace_model.apply(fresh(made), oversample=2.0)
    for name, power in (("sci", 1), ("err", 1), ("var_rnoise", 2)):
        np.testing.assert_allclose(getattr(shared, name) * 2**power, getattr(bright, name), rtol=1e-5)


def test_a_series_has_the_model_of_its_median(references):
    series = simulate_lrs(references, slitless=True, sources=[STAR], calibrated=True, nints=3).exposure
    adaptive_trace_model.apply(series, kind="lrs_slitless")
    assert series.extra["TRACEMODEL"].shape == series.sci.shape[1:]
    near = brightest(np.median(series.sci, axis=0))
    assert np.isfinite(series.extra["TRACEMODEL"][near]).mean() > 0.9
    with pytest.raises(ConfigError, match="integrations"):
        adaptive_trace_model.apply(series, oversample=2.0)


def test_an_empty_slit_is_skipped(references):
    empty = simulate_lrs(references, sources=[], calibrated=True).exposure
    with pytest.raises(Skip, match="no trace"):
        adaptive_trace_model.apply(empty)
    assert "TRACEMODEL" not in empty.extra
    empty.sci[:] = np.nan
    with pytest.raises(Skip, match="no trace"):
        adaptive_trace_model.apply(empty)


def test_members_keep_their_models(made, references, tmp_path):
    """From files, through both steps; one without a trace stays as it is."""
    exposure, empty = fresh(made), simulate_lrs(references, sources=[], calibrated=True).exposure
    near = brightest(made.truth.image)
    lost = near[0].start + 7, near[1].start + 2
    exposure.sci[lost], exposure.dq[lost] = np.nan, dq.DO_NOT_USE
    files = [stored.write(one, tmp_path / f"{name}_cal.fits") for one, name in ((exposure, "star"), (empty, "empty"))]
    members = Members([(path, "science") for path in files], stored.read)
    assert adaptive_trace_model.apply(members) is members
    pixel_replace.apply(members, algorithm="trace_model")
    first, second = members.each()
    assert first.sci[lost] == first.extra["TRACEMODEL"][lost] and first.dq[lost] == dq.FLUX_ESTIMATED
    assert "TRACEMODEL" not in second.extra
    with pytest.raises(Skip, match="no trace"):
        adaptive_trace_model.apply(Members([(files[1], "science")], stored.read))


def test_without_a_wcs(made):
    exposure = fresh(made)
    exposure.wcs = None
    with pytest.raises(InputError, match="gWCS"):
        adaptive_trace_model.apply(exposure)


def test_what_is_saved(made):
    _, *shown = adaptive_trace_model.apply(fresh(made), save_intermediate_results=True)
    assert [one.suffix for one in shown] == ["spline_full", "spline_used"]
    _, *shown = adaptive_trace_model.apply(fresh(made), oversample=2.0, psf_optimal=True, save_intermediate_results=True)
    assert [one.suffix for one in shown] == ["spline_full", "spline_used", "linear_interp", "spline_residual"]
    assert all(one.sci.shape == (1024, 2064) for one in shown)


# --- its parts -------------------------------------------------------------------------------------------------------


def test_rows_of_the_finer_image():
    new, old = finer(1, 2, 2.0)
    np.testing.assert_array_equal(new, [2, 3, 4, 5])
    np.testing.assert_allclose(old, [0.75, 1.25, 1.75, 2.25])
    np.testing.assert_allclose(finer(0, 0, 3)[1], [-1 / 3, 0, 1 / 3])


def test_a_spline_leaves_outliers_out():
    x = np.linspace(-2, 2, 400)
    y = np.exp(-(x**2))
    y[[100, 200]] += 5
    spline = fit_spline(x, y, 40, OPTICS["lrs_slit"])
    np.testing.assert_allclose(spline(x), np.exp(-(x**2)), atol=1e-4)
    assert fit_spline(x[::10], y[::10], 60, OPTICS["lrs_slit"]) is None  # fewer points than knots


def test_clipping():
    mean, spread = clipped(np.array([1.0, 2.0, 3.0] * 20 + [1e3, np.nan]))
    assert mean == pytest.approx(2.0) and spread == pytest.approx(np.sqrt(2 / 3))
    assert np.isnan(clipped(np.array([np.nan]))).all()


def test_compact_source_is_where_many_columns_are_steep():
    alpha = np.broadcast_to(np.linspace(-2, 2, 41)[:, None], (41, 10))
    found = compact_source(alpha, [np.full(60, 0.5), np.full(5, -1.0)], 0.1, 40, 3)
    assert found[25].all() and not found[5].any()
    assert not compact_source(alpha, [np.full(20, 0.5)], 0.1, 40, 3).any()


# --- the peer --------------------------------------------------------------------------------------------------------


PEER = """
from jwst.adaptive_trace_model.trace_model import fit_and_oversample
from stdatamodels.jwst import datamodels
for factor in (1.0, 2.0):
    model = datamodels.SlitModel(str(path))
    result = fit_and_oversample(model, oversample_factor=factor)
    names = {"sci": "data", "err": "err", "dq": "dq", "var_rnoise": "var_rnoise", "TRACEMODEL": "trace_model", "WAVELENGTH": "wavelength"}
    for ours, theirs in names.items():
        out[f"{factor} {ours}"] = np.array(getattr(result, theirs))
    out[f"{factor} world"] = np.array(result.meta.wcs(factor * 320.0, 200.0))
"""


@needs_peer
@pytest.mark.parity
def test_as_the_peer(made, tmp_path):
    given = fresh(made)
    lost = np.random.default_rng(1).random(given.sci.shape) < 0.02
    given.sci[lost], given.dq[lost] = np.nan, dq.DO_NOT_USE
    for name in ("err", "var_poisson", "var_rnoise"):
        getattr(given, name)[lost] = np.nan
    path = stored.write(given, tmp_path / given.name)
    found = peer_python(PEER, path=str(path))
    for factor in (1.0, 2.0):
        ours = adaptive_trace_model.apply(stored.read(path), oversample=factor)
        planes = dict(ours.pixels[0].planes()) | ours.pixels[0].extra
        for name in ("TRACEMODEL", "WAVELENGTH", "sci", "err", "var_rnoise", "dq"):
            mine, theirs = planes[name], found[f"{factor} {name}"]
            assert mine.shape == theirs.shape
            if name == "dq":
                assert np.mean(mine != theirs) < 1e-5
                continue
            assert np.mean(np.isnan(mine) != np.isnan(theirs)) < 1e-5, (factor, name)
            both = np.isfinite(mine) & np.isfinite(theirs)
            difference = np.abs(mine[both] / theirs[both] - 1)
            assert np.quantile(difference, 0.999) < 1e-4, (factor, name, np.quantile(difference, [0.5, 0.9, 0.999]))
        np.testing.assert_allclose(ours.wcs(factor * 320.0, 200.0), found[f"{factor} world"], rtol=1e-12)
