"""Slitless spectra of single objects: the truth of simulated series, bad pixels, bad input, the parts of the fit against plain numpy."""

import asdf
import numpy as np
import pytest
from astropy.io import fits
from scipy.integrate import quad

import soss
from jwcal.arithmetic.soss import forward, overlap, references, regularized, traces, wavelength_grid
from jwcal.arithmetic.soss.resolution import Resolution
from jwcal.kernels.soss import column_sums, fill_in_time
from jwcal.kernels.soss.pixel_integrals import pixel_integrals
from jwcal.model.exposure import Members
from jwcal.model.references import Reference
from jwcal.products import stored
from jwcal.steps import bkg_subtract, extract_1d, photom
from jwcal.vocabulary import dq as bits
from jwcal.vocabulary.errors import InputError, ReferenceError, Skip

COARSE = {"soss_n_os": 1, "soss_rtol": 1e-2}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return soss.references(tmp_path_factory.mktemp("soss"))


@pytest.fixture(scope="module")
def broad(tmp_path_factory):
    return soss.references(tmp_path_factory.mktemp("soss"), soss.BROAD)


def tables(exposure):
    return {spectrum.header["SPORDER"]: spectrum.table for spectrum in exposure.spectra}


def off(made, order, table, low, high):
    """Flux over the truth in the box, less 1: (median, robust scatter), in a range of wavelengths, without the reference pixels."""
    wave = np.atleast_2d(table["WAVELENGTH"])[0]
    (found,) = (one for one in references.find_orders(made.refs, made.exposure.header, *shape(made), (order,), 40.0, modelled=False))
    truth = made.light[order][: wave.size] * (found.box * found.profile).sum(axis=0)[: wave.size] * made.grey[:, None]
    inside = (wave > low) & (wave < high) & (np.arange(wave.size) > 8)
    ratio = (np.atleast_2d(table["FLUX"]) / truth - 1)[:, inside]
    ratio = ratio[np.isfinite(ratio)]
    return np.median(ratio), 1.48 * np.median(np.abs(ratio - np.median(ratio)))


def shape(made):
    rows = made.exposure.sci.shape[-2]
    return max(made.exposure.header["SUBSTRT2"] - 1, soss.FIRST), (min(rows, 256), soss.COLUMNS)


def test_orders_are_told_apart(broad):
    """Three orders, kernels of the width at which the peer diverges: order 1 within 0.3 %, order 2 within 0.5 % to 1.2 micron."""
    made = soss.simulate(broad, grey=[1.0, 0.99, 1.0])
    (ours,) = extract_1d.apply(made.exposure, made.refs, mode="soss", **COARSE)
    found = tables(ours)
    assert list(found) == [1, 2, 3] and [found[n]["FLUX"].shape[1] for n in found] == list(soss.CUTOFFS.values())
    for order, low, high, limit in (
        (1, 0.85, 2.05, 1e-3),
        (1, 2.05, 2.83, 3e-3),
        (2, 0.6, 1.0, 2e-3),
        (2, 1.0, 1.2, 5e-3),
        (3, 0.62, 0.8, 5e-3),
    ):
        assert abs(off(made, order, found[order], low, high)[0]) < limit, (order, low)
    (boxes,) = extract_1d.apply(made.exposure, made.refs, mode="soss", soss_atoca=False)
    # where order 1 lies in the box of order 2 it is several times as bright, and is taken out all the same
    assert off(made, 2, tables(boxes)[2], 1.36, 1.41)[0] > 3 and abs(off(made, 2, found[2], 1.36, 1.41)[0]) < 0.02
    # a transit of 1 %, order by order: within the photons' scatter, of which the columns' depths tell 1.1 times at most
    for order, table in found.items():
        good = np.isfinite(table["FLUX"]).all(axis=0) & (table["WAVELENGTH"][0] < (1.2 if order == 2 else 2.8 if order == 1 else 0.8))
        flux, noise = table["FLUX"][:, good], table["FLUX_ERROR"][:, good]
        total = flux.sum(axis=1)
        assert abs(total[1] / total[[0, 2]].mean() - 0.99) < 4 * np.sqrt((noise[0] ** 2).sum()) / total[0], order
        outside = flux[[0, 2]].mean(axis=0)
        photons = np.sqrt(noise[1] ** 2 + (noise[[0, 2]] ** 2).sum(axis=0) / 4) / outside
        pulls = (flux[1] / outside - 0.99) / photons
        assert 0.9 < 1.48 * np.median(np.abs(pulls - np.median(pulls))) < 1.1, order
    assert ours.header["TIKFACTR"] > 0 and ours.header["SOSSWDTH"] == 40


@pytest.mark.full
def test_default_grid_and_subarrays(files):
    """The default grid; the small subarray; a single image of the full frame, as its strip."""
    made = soss.simulate(files, nints=2)
    (ours,) = extract_1d.apply(made.exposure, made.refs, mode="soss")
    whole = tables(ours)
    assert abs(off(made, 1, whole[1], 2.05, 2.83)[0]) < 3e-3 and abs(off(made, 2, whole[2], 1.0, 1.2)[0]) < 5e-3
    full = soss.simulate(files, nints=0, subarray="FULL")
    (image,) = extract_1d.apply(full.exposure, full.refs, mode="soss", **COARSE)
    assert image.suffix == "x1d" and tables(image)[1]["FLUX"].shape == (2048,)
    assert abs(off(full, 1, tables(image)[1], 0.9, 2.8)[0]) < 2e-3
    small = soss.simulate(files, nints=2, subarray="SUBSTRIP96")
    (ours,) = extract_1d.apply(small.exposure, small.refs, mode="soss", **COARSE)
    assert list(tables(ours)) == [1, 2] and abs(off(small, 1, tables(ours)[1], 0.9, 2.8)[0]) < 2e-3


@pytest.mark.full
@pytest.mark.parametrize(
    ("subarray", "sigma"), [("SUBSTRIP256", soss.NARROW), ("SUBSTRIP256", soss.BROAD), ("SUBSTRIP96", soss.BROAD), ("FULL", soss.BROAD)]
)
def test_truth_on_traces_as_they_are(tmp_path, subarray, sigma):
    """The default grid; traces, dispersions and throughputs with the real ones' figures: order 1 within 0.3 %, order 2 within 0.5 %.

    Order 2 leaves the small subarray below 0.85 micron. Of the full frame a single image.
    """
    made = soss.as_flown(tmp_path, subarray, sigma, nints=0 if subarray == "FULL" else 2)
    (ours,) = extract_1d.apply(made.exposure, made.refs, mode="soss")
    found = tables(ours)
    assert list(found) == ([1, 2] if subarray == "SUBSTRIP96" else [1, 2, 3])
    ranges = [(1, 0.85, 2.05, 3e-3), (1, 2.05, 2.83, 3e-3), (2, 0.86, 1.0, 5e-3), (2, 1.0, 1.1, 5e-3), (2, 1.1, 1.2, 5e-3)]
    ranges += [] if subarray == "SUBSTRIP96" else [(2, 0.6, 0.86, 5e-3), (3, 0.65, 0.8, 5e-3)]
    for order, low, high, limit in ranges:
        assert abs(off(made, order, found[order], low, high)[0]) < limit, (order, low)


def test_bad_pixels(files):
    """Bad always, or hit once: the flux is that of a clean series, an integration without anything has none, the rest is unchanged."""
    clean, spoilt = (soss.simulate(files, nints=4, bad=b, hits=b, noise=False) for b in (0.0, 0.004))
    spoilt.exposure.dq[2] |= bits.DO_NOT_USE
    spoilt.exposure.sci[2] = np.nan
    results = [tables(extract_1d.apply(one.exposure, one.refs, mode="soss", soss_atoca=False)[0]) for one in (clean, spoilt)]
    omitted = tables(extract_1d.apply(spoilt.exposure, spoilt.refs, mode="soss", soss_atoca=False, bad_pixels="omit")[0])
    whole, mended = (result[1]["FLUX"][0, 4:-4] for result in results)
    assert np.abs(mended / whole - 1).max() < 0.05 < np.abs(omitted[1]["FLUX"][0, 4:-4] / whole - 1).max()
    table = results[1][1]
    assert np.isnan(table["FLUX"][2]).all() and (table["DQ"][2] & bits.DO_NOT_USE).all() and np.isfinite(table["FLUX"][3, 4:-4]).all()
    assert (table["DQ"][0] & bits.FLUX_ESTIMATED).any() and not results[0][1]["DQ"][0, 4:-4].any()


@pytest.mark.full
def test_integrations_that_are_badly_flagged(files, caplog):
    """One lacks nine tenths of order 2, one is all saturated: these have no flux, and a warning; the rest is as it was."""
    clean, spoilt = (soss.simulate(files, nints=5) for _ in range(2))
    (order,) = references.find_orders(spoilt.refs, spoilt.exposure.header, *shape(spoilt), (2,), 40.0, modelled=False)
    spoilt.exposure.dq[1][(order.box > 0) & (np.random.default_rng(3).random(order.box.shape) < 0.9)] |= bits.DO_NOT_USE
    spoilt.exposure.dq[3] |= bits.SATURATED | bits.DO_NOT_USE
    usual, found = (tables(extract_1d.apply(one.exposure, one.refs, mode="soss", **COARSE)[0]) for one in (clean, spoilt))
    assert np.isnan(found[2]["FLUX"][1, 4:-4]).mean() > 0.99 and "order 2 has no flux at" in caplog.text
    for number in (1, 2, 3):
        assert np.isnan(found[number]["FLUX"][3]).all()
        for i in (0, 2, 4):
            change = (found[number]["FLUX"][i] - usual[number]["FLUX"][i]) / usual[number]["FLUX_ERROR"][i]
            assert np.nanmedian(np.abs(change)) < 0.1 and np.isfinite(change[4:-4]).all()
    alone = usual[1]["WAVELENGTH"][0] < 1.4  # where order 2 is not beside it
    assert np.nanmedian(np.abs(found[1]["FLUX"][1, alone] / usual[1]["FLUX"][1, alone] - 1)) < 1e-3


@pytest.mark.full
def test_segments_have_one_scene(files):
    """A series in two segments is told apart as one: the factor is that of the whole."""
    made = soss.simulate(files, nints=4)
    parts = []
    for number, part in enumerate((slice(0, 2), slice(2, 4)), start=1):
        planes = {name: plane[part].copy() for name, plane in made.exposure.pixels[0].planes()}
        one = made.exposure.derive([type(made.exposure.pixels[0])(**planes)], "calints")
        one.header["INTSTART"], one.header["INTEND"], one.header["EXSEGNUM"] = part.start + 1, part.stop, number
        one.tables = {"INT_TIMES": made.exposure.tables["INT_TIMES"][part]}
        parts.append(one)
    (whole,) = extract_1d.apply(made.exposure, made.refs, mode="soss", **COARSE)
    (joined,) = extract_1d.apply(Members([(part, "science") for part in parts]), made.refs, mode="soss", **COARSE)
    assert [s.header["SPORDER"] for s in joined.spectra] == [1, 2, 3, 1, 2, 3]
    for order in (1, 2, 3):
        own = np.concatenate([s.table for s in joined.spectra if s.header["SPORDER"] == order])
        np.testing.assert_allclose(own["FLUX"], tables(whole)[order]["FLUX"], rtol=1e-9)
        np.testing.assert_array_equal(own["INT_NUM"], [1, 2, 3, 4])
    assert len(joined.tables["INT_TIMES"]) == 4


@pytest.mark.full
def test_one_set_of_equations_serves_all_integrations(files, monkeypatch):
    """Users, slitless 8: the factor is sought once, however long the series; spectra are those of an integration by itself."""
    made, searches, sizes = soss.simulate(files, nints=30, subarray="SUBSTRIP96"), [], []
    best = overlap.best_factor
    monkeypatch.setattr(overlap, "best_factor", lambda *given: searches.append(1) or best(*given))
    (whole,) = extract_1d.apply(made.exposure, made.refs, mode="soss", **COARSE)
    sizes.append(len(searches))
    for number in (0, 17):
        planes = {name: plane[number : number + 1].copy() for name, plane in made.exposure.pixels[0].planes()}
        one = made.exposure.derive([type(made.exposure.pixels[0])(**planes)], "calints")
        one.tables = {"INT_TIMES": made.exposure.tables["INT_TIMES"][number : number + 1]}
        (alone,) = extract_1d.apply(one, made.refs, mode="soss", **COARSE)
        for order, table in tables(alone).items():
            off = (table["FLUX"][0] - tables(whole)[order]["FLUX"][number]) / table["FLUX_ERROR"][0]
            assert np.nanpercentile(np.abs(off), 95) < 0.3, order
    assert sizes[0] == 1 and len(searches) == 3


def test_models_are_shown(files):
    made = soss.simulate(files, nints=1)
    settings = {"soss_modelname": "models", "soss_wave_grid_out": "grid", "soss_bad_pix": "model", **COARSE}
    spectra, models, fitted, grid = extract_1d.apply(made.exposure, made.refs, mode="soss", **settings)
    assert [one.suffix for one in (models, fitted, grid)] == ["sossextractmodel", "atocaspectra", "sosswavegrid"]
    left = made.exposure.sci - sum(models.extra[f"ORDER{n}"] for n in (1, 2, 3))
    box = (models.extra["APER1"] > 0) & np.isfinite(left)
    box[..., :10] = False
    residual = left[box] / made.exposure.err[box]
    assert 0.9 < 1.48 * np.median(np.abs(residual - np.median(residual))) < 1.1
    assert [s.header["SPORDER"] for s in fitted.spectra] == [1, 2, 2, 3] and np.all(np.diff(grid.extra["WAVEGRID"]) > 0)
    assert len(spectra.spectra) == 3


@pytest.mark.full
def test_parameters_of_the_model(files, tmp_path, caplog):
    """A grid, an estimate, a factor, a width that are given, and limits of the grid: each does what it says."""
    made = soss.simulate(files, nints=1, subarray="SUBSTRIP96")

    def run(**settings):
        return extract_1d.apply(made.exposure, made.refs, mode="soss", **COARSE | settings)

    usual, grid = run(soss_wave_grid_out="grid", soss_tikfac=1e-9)
    assert usual.header["TIKFACTR"] == 1e-9
    wavegrid = grid.extra["WAVEGRID"]
    path = stored.write(grid, tmp_path / "some_sosswavegrid.fits")
    again, same = run(soss_wave_grid_in=str(path), soss_wave_grid_out="grid", soss_tikfac=1e-9)
    np.testing.assert_array_equal(same.extra["WAVEGRID"], wavegrid)
    for order, table in tables(again).items():
        np.testing.assert_array_equal(table["FLUX"], tables(usual)[order]["FLUX"])
    # every other wavelength: another model, that tells the orders apart nearly as well
    grid.pixels[0].extra["WAVEGRID"] = wavegrid[::2]
    (coarser,) = run(soss_wave_grid_in=str(stored.write(grid, tmp_path / "half_sosswavegrid.fits")), soss_tikfac=1e-9)
    change = tables(coarser)[1]["FLUX"] / tables(usual)[1]["FLUX"] - 1
    assert 0 < np.nanmedian(np.abs(change)) < 1e-3
    # the spectrum itself as an estimate; where it is rougher there are more wavelengths, and the factor that is tried first is smaller
    wave = np.linspace(0.5, 3.0, 6000)
    found = []
    for name, flux in (("smooth", soss.flux(wave)), ("rough", soss.flux(wave) * (1 + 0.3 * np.sin(wave / 1e-3)))):
        columns = [fits.Column(key, "D", array=values) for key, values in (("WAVELENGTH", wave), ("FLUX", flux))]
        fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns, name="EXTRACT1D")]).writeto(tmp_path / f"{name}.fits")
        spectra, grid = run(soss_estimate=str(tmp_path / f"{name}.fits"), soss_wave_grid_out="grid", soss_rtol=1e-3)
        assert abs(off(made, 1, tables(spectra)[1], 0.9, 2.8)[0]) < 2e-3
        found.append(grid.extra["WAVEGRID"].size)
    assert found[1] > 1.2 * found[0]
    sizes = [
        run(soss_wave_grid_out="grid", soss_tikfac=1e-9, **more)[1].extra["WAVEGRID"].size
        for more in ({"soss_n_os": 2}, {"soss_rtol": 1e-4})
    ]
    assert sizes[0] == pytest.approx(2 * wavegrid.size, rel=0.05) and sizes[1] > wavegrid.size
    _, grid = run(soss_wave_grid_out="grid", soss_tikfac=1e-9, soss_rtol=1e-4, soss_max_grid_size=wavegrid.size + 100)
    assert grid.extra["WAVEGRID"].size <= wavegrid.size + 100 and "look at soss_max_grid_size" in caplog.text
    (narrow,) = run(soss_width=30.0, soss_tikfac=1e-9, soss_order_3=False)
    assert np.nanmax(tables(narrow)[1]["NPIXELS"]) == pytest.approx(30) and list(tables(narrow)) == [1, 2]
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros(3), name="SCI")]).writeto(tmp_path / "other.fits")
    for name, lacking in (("soss_wave_grid_in", "WAVEGRID"), ("soss_estimate", "EXTRACT1D")):
        with pytest.raises(ReferenceError, match=f"other.fits: the {name} reference has no extension {lacking}"):
            run(**{name: str(tmp_path / "other.fits")})


def test_flux(files):
    """Each order by its own response; wavelengths that the table does not have have no flux."""
    made = soss.simulate(files, nints=1, noise=False)
    (ours,) = extract_1d.apply(made.exposure, made.refs, mode="soss", soss_atoca=False)
    before = {order: table["FLUX"].copy() for order, table in tables(ours).items()}
    photom.apply(ours, made.refs, kind="extracted")
    for order, table in tables(ours).items():
        wave = table["WAVELENGTH"][0]
        known = wave > 0.56
        expected = before[order][0] * 2e-5 / soss.throughput(order, wave) / wave
        np.testing.assert_allclose(table["FLUX"][0, known], expected[known], rtol=0.02)
    photom.apply(ours, made.refs, kind="extracted", inverse=True)
    np.testing.assert_allclose(tables(ours)[1]["FLUX"], before[1], rtol=1e-9)


def test_a_filter_that_lets_one_order_through(files):
    made = soss.simulate(files, nints=1, FILTER="F277W")
    (ours,) = extract_1d.apply(made.exposure, made.refs, mode="soss", place="first")
    assert list(tables(ours)) == [1] and "TIKFACTR" not in ours.header
    with pytest.raises(Skip, match="no row for|none of the orders"):
        photom.apply(ours, made.refs, kind="extracted")


def test_the_wheel_turns_all_orders_alike(files):
    """Lines move smoothly with the wheel, in every order; the trace turns about its pivot."""
    made = soss.simulate(files, nints=1, noise=False)
    reference, found = made.refs["pastasoss"], []
    for turn in (-0.1, 0.0, 0.1):
        made.exposure.header["PWCPOS"] = soss.WHEEL + turn
        found.append(traces.find_traces(reference, made.exposure.header, soss.FIRST, soss.COLUMNS))
    for before, middle, after in zip(*found, strict=True):
        np.testing.assert_allclose(after.wavelength - middle.wavelength, middle.wavelength - before.wavelength, atol=1e-5)
        assert abs((after.wavelength - middle.wavelength).mean()) > 1e-5
        assert np.sign(after.y[0] - middle.y[0]) != np.sign(after.y[-1] - middle.y[-1]) or middle.order == 3


def under_a_sky(files, scales, moved=0.0, **options):
    """A series under a sky whose step is so many columns from the template's: the exposure, and it without the sky."""
    made = soss.simulate(files, nints=2, **options)
    x = np.arange(soss.COLUMNS)
    template = np.stack([np.interp(x - moved, x, row) for row in soss.sky()])
    right = x >= 700 + moved + 0.02 * np.arange(soss.ROWS)[:, None]
    without = made.exposure.sci.copy()
    made.exposure.sci += (template * np.where(right, scales[1], scales[0])).astype(np.float32)
    return made, without


@pytest.mark.parametrize("moved", [0.0, 3.0, -2.5])
def test_sky_whose_step_is_elsewhere(files, moved):
    """Users, slitless 21: a side of 1.0 and one of 1.3 of the template, to 1 %, the step to a tenth of a column; the peer leaves it."""
    left = {}
    for way in ("surroundings", "pixels"):
        made, without = under_a_sky(files, (1.0, 1.3), moved)
        bkg_subtract.apply(made.exposure, made.refs, template="soss", soss_fit=way)
        left[way] = (made.exposure.sci - without)[0]
    template = soss.sky()
    off = left["surroundings"] / template
    assert abs(np.nanmedian(off[:, 10:680])) < 0.01 and abs(np.nanmedian(off[:, 720:2040])) < 0.013
    # 5 DN/s stand beside 2: a tenth of a column leaves a tenth of what the steepest columns differ by
    assert np.nanmax(np.abs(np.nanmean(left["surroundings"][:, 685:725], axis=0))) < 0.2
    assert abs(np.nanmedian(left["pixels"][:, 720:2040] / template[:, 720:2040])) > 0.05
    assert np.nanmax(np.abs(np.nanmean(left["pixels"][:, 685:725], axis=0))) > (1 if moved else 0.4)


@pytest.mark.parametrize("way", ["surroundings", "pixels"])
def test_sky_without_reference_pixels(files, way):
    """Users, slitless 21: whatever these have, and pixels without a value: what is taken off the others stays the same."""
    found = []
    for value in (1e3, -50.0, np.nan):
        made, _ = under_a_sky(files, (1.0, 1.1))
        exposure = made.exposure
        edges = exposure.dq & bits.REFERENCE_PIXEL > 0
        exposure.dq[edges] = bits.REFERENCE_PIXEL
        exposure.sci[edges] = value
        exposure.sci[:, 100:110, 300:310] = np.nan
        bkg_subtract.apply(exposure, made.refs, template="soss", soss_fit=way)
        found.append(exposure.sci[~edges])
    assert np.isnan(found[0]).sum() == 200
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_sky_that_can_not_be_told(files, caplog):
    """A step beyond reach is left where the template has it, with a warning; an exposure without a value is left alone."""
    made, without = under_a_sky(files, (1.0, 1.3), 12.0)
    bkg_subtract.apply(made.exposure, made.refs, template="soss")
    assert "more than 8 columns from the template's" in caplog.text
    left = (made.exposure.sci - without)[0] / soss.sky()
    assert abs(np.nanmedian(left[:, 10:660])) < 0.1 and abs(np.nanmedian(left[:, 740:2040])) < 0.1
    made.exposure.sci[:] = np.nan
    with pytest.raises(Skip, match="no pixel can be used"):
        bkg_subtract.apply(made.exposure, made.refs, template="soss")


def test_bad_input(files, tmp_path):
    made = soss.simulate(files, nints=1, noise=False, PWCPOS=250.0)
    with pytest.raises(InputError, match="PWCPOS is 250.0: the pastasoss reference is for 245.51 to 246.01"):
        extract_1d.apply(made.exposure, made.refs, mode="soss")
    two = soss.references(tmp_path, orders=(1, 2))
    made = soss.simulate(two, nints=1, noise=False)
    (ours,) = extract_1d.apply(made.exposure, made.refs, mode="soss", soss_atoca=False)
    assert list(tables(ours)) == [1, 2]
    with asdf.open(two.paths["pastasoss"]) as file:
        tree = dict(file.tree) | {"traces": file["traces"][1:]}
        asdf.AsdfFile(tree | {"wavecal_models": file["wavecal_models"][1:], "throughputs": file["throughputs"][1:]}).write_to(
            tmp_path / "p.asdf"
        )
    made.refs._refs["pastasoss"] = Reference("pastasoss", tmp_path / "p.asdf", made.exposure.header)
    (ours,) = extract_1d.apply(made.exposure, made.refs, mode="soss")  # order 2 alone: nothing to tell apart
    assert list(tables(ours)) == [2]
    only = soss.references(tmp_path)
    made = soss.simulate(only, nints=1, noise=False)
    with fits.open(only.paths["specprofile"], mode="update") as hdus:
        del hdus[2]
    with pytest.raises(ReferenceError, match="the specprofile reference does not have order 2"):
        extract_1d.apply(made.exposure, made.refs, mode="soss")
    del made.refs._refs["speckernel"]
    with pytest.raises(Skip, match="speckernel reference is N/A"):
        extract_1d.apply(made.exposure, made.refs, mode="soss")


# --- the parts, against plain numpy ------------------------------------------------------------------------------------------


def test_integrals_over_pixels():
    grid = np.cumsum(np.random.default_rng(1).uniform(0.5, 2, 30))
    low = np.array([grid[0], grid[3] + 0.1, grid[10], np.nan, grid[7] + 0.01])
    high = np.array([grid[1], grid[8] - 0.2, grid[12], np.nan, grid[7] + 0.02])
    starts, columns, weights = pixel_integrals(grid, low, high)
    values = np.random.default_rng(2).normal(size=30)
    for k in range(5):
        own = slice(starts[k], starts[k + 1])
        found = (weights[own] * values[columns[own]]).sum()
        points = grid[(grid > low[k]) & (grid < high[k])]
        expected = 0 if np.isnan(low[k]) else quad(lambda x: np.interp(x, grid, values), low[k], high[k], points=points, limit=200)[0]
        np.testing.assert_allclose(found, expected, atol=1e-10)


def test_resolution_keeps_a_line_where_it_is(files):
    made = soss.simulate(files, nints=1, noise=False)
    columns = soss.wavelength(1, np.arange(2048.0))
    resolution = Resolution(made.refs["speckernel"], columns)
    grid = np.linspace(1.0, 1.2, 800)
    matrix = resolution.matrix(grid, 50, 700)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    line = np.exp(-0.5 * ((grid - 1.1) / 0.004) ** 2)
    blurred = matrix @ line
    at = grid[50:750]
    width = np.sqrt(0.004**2 + (soss.NARROW * np.abs(np.diff(columns)).mean()) ** 2)
    np.testing.assert_allclose((blurred * at).sum() / blurred.sum(), 1.1, atol=1e-5)
    np.testing.assert_allclose(np.sqrt((blurred * (at - 1.1) ** 2).sum() / blurred.sum()), width, rtol=0.01)


def test_equations():
    """As a dense solution, in whatever order the unknowns are put; nothing where rounding decides."""
    rng = np.random.default_rng(3)
    grid = np.sort(rng.uniform(1, 2, 60))
    light = np.zeros((40, 60))
    for row in range(40):
        light[row, row : row + 5] = 1
        light[row, 59 - row // 2] += 0.5
    equations = regularized.Equations(light.T @ light, grid)
    right = light.T @ rng.normal(size=40)
    d = np.diff(np.eye(60), axis=0) / np.diff(grid)[:, None]
    np.testing.assert_allclose(equations.solve(1e-2, right), np.linalg.solve(light.T @ light + 1e-4 * d.T @ d, right), rtol=1e-6, atol=1e-8)
    with pytest.raises(ArithmeticError):
        equations.solve(1e-12, right)
    near = light.T @ light
    near[np.abs(np.subtract.outer(np.arange(60), np.arange(60))) > 9] = 0
    near += 10 * np.diag(near.diagonal())
    wings = near + 1e-18 * near.max()  # of kernels whose tables are broad: no broader a band, and the same answer
    narrow, broad = (regularized.Equations(matrix, grid) for matrix in (near, wings))
    assert broad.width == narrow.width
    np.testing.assert_allclose(broad.solve(1e-2, right), np.linalg.solve(wings + 1e-4 * d.T @ d, right), rtol=1e-12, atol=1e-14)
    factor = regularized.best_factor(
        equations, right, lambda f: float(((light @ f) ** 2).mean() * 0 + np.log10(1 + (d @ f).std())), 1e-2, (-8, 2)
    )
    assert 1e-10 < factor


def test_grid():
    """Halved where the spectrum is curved, until the integral is good; not beyond the size that is given."""
    edges = np.linspace(1, 2, 101)

    def line(wave):
        return 1 + np.exp(-0.5 * ((wave - 1.5) / 0.01) ** 2)

    grid = wavelength_grid.joint_grid(edges[edges < 1.6], edges[edges > 1.3], 0.9, line, 1e-4, 5000)
    assert np.diff(grid)[(grid[1:] > 1.49) & (grid[1:] < 1.51)].max() < 0.003 and np.diff(grid).max() < 0.0101
    error, share = wavelength_grid._trapezoid_error(grid, line)
    assert ((share < 1e-4) | (error < 1e-6)).all()
    assert wavelength_grid.joint_grid(edges[edges < 1.6], edges[edges > 1.3], 0.9, line, 1e-8, 300).size <= 300
    span = forward.span_of(grid, np.array([1.2, 1.5]), np.array([1.1, 1.4]), np.array([1.3, 1.6]), np.array([True, True]))
    assert grid[span.first] >= 1.2 and not span.columns.any()


def test_sums_and_gaps():
    rng = np.random.default_rng(4)
    sci = rng.normal(10, 1, (12, 6, 5)).astype(np.float32)
    weights = rng.random((3, 6, 5)) * (rng.random((3, 6, 5)) > 0.4)
    np.testing.assert_allclose(column_sums.column_sums(sci, weights), np.einsum("krc,irc->ikc", weights, sci), rtol=1e-6)
    np.testing.assert_allclose(column_sums.column_sums(sci, weights, squared=True), np.einsum("krc,irc->ikc", weights, sci**2), rtol=1e-6)
    err, dq = np.ones_like(sci), np.zeros(sci.shape, np.uint32)
    dq[5, 2, 3] = 1
    usual = np.median(sci, axis=0)
    made = [np.empty((12, 6, 5), np.float32) for _ in range(3)]
    wanted = np.ones((6, 5), bool)
    fill_in_time.fill_in_time(sci, err, dq, np.uint32(1), wanted, usual, err[0], 0, 9, np.float32(10), *made)
    series = sci[1:10, 2, 3].copy()
    series[4] = usual[2, 3]
    assert made[0][5, 2, 3] == np.median(series) and made[1][5, 2, 3] == 10 and made[2].sum() == 1
    np.testing.assert_array_equal(np.delete(made[0].reshape(12, -1), 5, axis=0), np.delete(sci.reshape(12, -1), 5, axis=0))
