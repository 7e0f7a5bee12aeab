"""Spectrometers of slices in the workflow: dithers from raw files to cubes and spectra, against what was put in."""

import warnings
from itertools import product

import numpy as np
import pytest
from astropy.io import fits
from scipy.optimize import curve_fit
from stdatamodels.jwst import datamodels
from test_workflow import snakemake

import readers
from jwcal.simulate import integral_field, mrs, nirspec
from jwcal.simulate.nirspec.program import ACROSS, STAR
from jwcal.simulate.spectrograph import Spectrum
from nirspec import REAL

pytestmark = pytest.mark.full  # minutes


def run(folder, **steps):
    done = snakemake(folder, config={"data": "data", "results": "results", "references": {"crds_path": "crds"}, "steps": steps})
    assert done.status == 0, done.text
    return done


def table(path):
    return fits.getdata(path, "EXTRACT1D")


# --- NIRSpec ---------------------------------------------------------------------------------------------------------

LEAK, SKY = 300.0, 20.0  # MJy/sr
DITHERS, IMPRINTS = ([f"jw01234001001_0210{n}_0000{k}_nrs1" for k in (1, 2)] for n in (1, 2))
CUBE = "jw01234-o001_t001_nirspec_prism-clear"
REPLACED = {"pixel_replace": {"skip": False}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two dithers of the prism, and what leaks through a failed shutter by itself."""
    folder = tmp_path_factory.mktemp("slices")
    known = {"dithers": ACROSS[:2], "imprints": True, "leak": LEAK, "sky": SKY, "noise": False, "cosmic_rays": 0.0}
    nirspec.expose_slicer(folder, real=REAL if REAL.exists() else None, **known)
    return folder


@pytest.fixture(scope="module")
def first(folder):
    return run(folder, **REPLACED)


def off(path):
    """By what part a spectrum is off the star's."""
    rows = table(path)
    wavelength, flux = (np.asarray(rows[name], float) for name in ("WAVELENGTH", "FLUX"))
    inside = (wavelength > 0.8) & (wavelength < 5.2)
    assert inside.sum() > 800 and np.isfinite(flux[inside]).all()
    return flux[inside] / STAR.spectrum(wavelength[inside]) - 1


def test_all_products_of_dithers_and_imprints(first, folder):
    stage2 = {f"{root}_{suffix}.fits" for root in DITHERS + IMPRINTS for suffix in ("cal", "s3d", "x1d")}
    stage3 = {f"{root}_o001_crf.fits" for root in DITHERS} | {f"{CUBE}_{suffix}.fits" for suffix in ("s3d", "x1d")}
    rates = {f"{root}_{suffix}.fits" for root in DITHERS + IMPRINTS for suffix in ("rate", "rateints")}
    assert first.made == rates | stage2 | stage3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*(asdf-astropy|extension URI|CRDS).*")
        for path in (path for path in first.after if path.name in stage2 | stage3):
            with datamodels.open(path) as model:
                model.validate()


def test_each_imprint_is_taken_off_its_dither(first, folder):
    for science, imprint in zip(DITHERS, IMPRINTS, strict=True):
        log = (folder / f"results/logs/{science}.spec2_cal_s3d_x1d_list.log").read_text()
        assert log.count("subtracted the imprint") == 1 and f"subtracted the imprint results/stage1/{imprint}_rate.fits" in log
    light = fits.getdata(folder / f"results/stage1/{IMPRINTS[0]}_rate.fits")
    assert np.nanmax(light) > 1  # DN/s: the sky gives a quarter


def test_flux_of_a_star_by_dither_and_together(first, folder):
    """Within 0.5 %; what is the same in all dithers, no bad pixel, is the same in their cube to 0.2 %."""
    each = [off(folder / f"results/stage2/{root}_x1d.fits") for root in DITHERS]
    both = off(folder / f"results/stage3/{CUBE}_x1d.fits")
    for away in each:
        assert abs(np.median(away)) < 1e-3 and np.percentile(np.abs(away), 95) < 6e-3  # slices sample it coarsely
    assert abs(np.median(both)) < 1e-3 and np.abs(both).max() < 5e-3
    assert abs(np.median(both - np.mean(each, axis=0))) < 1e-3


def test_sky_beside_the_star(first, folder):
    rows = table(folder / f"results/stage3/{CUBE}_x1d.fits")
    inner = (rows["WAVELENGTH"] > 0.8) & (rows["WAVELENGTH"] < 5.2)
    assert np.median(rows["BACKGROUND"][inner]) == pytest.approx(SKY, rel=5e-3)


def test_a_second_run_makes_nothing(first, folder):
    assert run(folder, **REPLACED).made == set()


def test_holes_in_the_trace(first, folder):
    """Without pixel_replace a cube's voxel takes the place of a bad pixel from fainter ones beside it; with it there is no such spike."""
    replaced = off(folder / f"results/stage2/{DITHERS[0]}_x1d.fits")
    run(folder, pixel_replace={"skip": True})
    spoilt = off(folder / f"results/stage2/{DITHERS[0]}_x1d.fits")
    assert np.abs(spoilt).max() > 0.1 and np.abs(replaced).max() < 0.02


# --- MIRI ------------------------------------------------------------------------------------------------------------

SHOWERS = [integral_field.Showers(300, 250, 3.0), integral_field.Showers(700, 800, 2.0)]


def check(path, channel, spectrum, background=None):
    """Flux within 0.5 % of the truth, its line within a tenth of a spectral element; at the ends of a band the sky as in its middle."""
    rows = table(path)
    wavelength, flux = np.asarray(rows["WAVELENGTH"]), np.asarray(rows["FLUX"])
    low, high = mrs.RANGES["SHORT"][channel]
    at, height, width = spectrum.lines[channel - 1]
    here = (wavelength > low + 0.05) & (wavelength < high - 0.05) & np.isfinite(flux)
    line = here & (np.abs(wavelength - at) < 4 * width)
    assert here.sum() > 200
    assert np.median(flux[here & ~line] / spectrum(wavelength[here & ~line])) == pytest.approx(1, abs=0.005)
    continuum = Spectrum(spectrum.flux, spectrum.at, spectrum.slope)(wavelength[line])
    places = wavelength[line] - at
    (_, found, _), _ = curve_fit(
        lambda x, top, middle, wide: top * np.exp(-(((x - middle) / wide) ** 2)), places, flux[line] / continuum - 1, (height, 0, width)
    )
    assert abs(found) < 0.1 * at / mrs.RESOLUTION
    if background is not None:
        lit = np.flatnonzero(rows["NPIXELS"] > 0)
        for part in (lit[:40], lit[len(lit) // 2 - 20 :][:40], lit[-40:]):
            assert np.median(rows["BACKGROUND"][part] / background(wavelength[part])) == pytest.approx(1, abs=0.05)


def test_all_channels_of_the_mid_infrared(tmp_path):
    made = integral_field.expose(tmp_path, showers=SHOWERS, leftover=0.02)
    steps = {"straylight": {"clean_showers": True}, "residual_fringe": {"skip": False}}
    done = run(tmp_path, **steps)
    assert len(done.jobs) == 15  # six exposures through two stages; the target without and with its background, and that alone
    stage2, stage3 = tmp_path / "results/stage2", tmp_path / "results/stage3"
    for path in made.exposures.uncals:
        for suffix in ("cal", "s3d", "x1d"):
            assert (stage2 / path.name.replace("uncal", suffix)).exists()
    truth = made.sources[0].spectrum
    for channel in (1, 2, 3, 4):
        for root in ("jw01234-o001_t001", "jw01234-c1000_t001", "jw01234-o002_t002"):
            for suffix in ("s3d", "x1d"):
                readers.check(stage3 / f"{root}_miri_ch{channel}-short_{suffix}.fits")
        for root in ("o001", "c1000"):
            # the other one has its background subtracted
            seen = made.background if root == "o001" else None
            check(stage3 / f"jw01234-{root}_t001_miri_ch{channel}-short_x1d.fits", channel, truth, seen)
        path = stage3 / f"jw01234-o002_t002_miri_ch{channel}-short_x1d.fits"
        assert fits.getval(path, "SRCTYPE", "EXTRACT1D") == "EXTENDED"
        assert np.nanmedian(table(path)["SURF_BRIGHT"] / made.background(table(path)["WAVELENGTH"])) == pytest.approx(1, abs=0.02)
    for number, channel in product((1, 2), (1, 2, 3, 4)):
        detector = "short" if channel < 3 else "long"
        check(stage2 / f"jw01234001001_02101_0000{number}_mirifu{detector}_x1d.fits", channel, truth)
    assert run(tmp_path, **steps).made == set()
