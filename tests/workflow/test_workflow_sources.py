"""Exposures of several slits in the workflow: from raw files to the products of each source, whose number no one knows before."""

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from stdatamodels.jwst import datamodels
from test_workflow import snakemake

import readers
from jwcal.products import stored
from jwcal.simulate import nirspec
from jwcal.simulate.nirspec.program import STAR

pytestmark = pytest.mark.full
SLITS = {"s200a1": 1, "s200a2": 12, "s400a1": 13, "s1600a1": 14}  # as the target's slit and the others are numbered
NAME = "jw01234-o001_t001-s{:09d}_nirspec_clear-prism-{}-allslits"
PRODUCTS = {f"{NAME.format(number, slit)}_{suffix}.fits" for slit, number in SLITS.items() for suffix in ("cal", "crf", "s2d", "x1d")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    nirspec.expose_slits(folder, subarray="ALLSLITS", nods=(-0.75, 0.75), ngroups=3, cosmic_rays=0.0)
    return folder


@pytest.fixture(scope="module")
def first(folder):
    config = {"data": "data", "results": "results", "references": {"crds_path": "crds"}}
    return snakemake(folder, config=config)


def again(folder, *arguments):
    return snakemake(folder, "--configfile", "mine.yaml", *arguments)


def made(folder):
    return {path.name for path in (folder / "results/stage3").glob("*.fits")}


def test_each_source_has_its_products(folder, first):
    assert first.status == 0, first.text
    assert made(folder) == PRODUCTS
    for name in PRODUCTS:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with datamodels.open(folder / "results/stage3" / name) as model:
                model.validate()
        if name.endswith(("s2d.fits", "x1d.fits")):
            readers.check(folder / "results/stage3" / name)
    (spectrum,) = stored.read(folder / "results/stage3" / f"{NAME.format(1, 's200a1')}_x1d.fits").spectra
    wavelength, flux = (np.asarray(spectrum.table[name], float) for name in ("WAVELENGTH", "FLUX"))
    good = np.isfinite(flux) & (wavelength > 1) & (wavelength < 5)
    assert abs(np.median(flux[good] / STAR.spectrum(wavelength[good])) - 1) < 0.01


def test_a_second_run_makes_nothing(folder, first):
    done = again(folder)
    assert done.status == 0 and done.before == done.after, done.text


def test_a_lost_source_is_made_again(folder, first):
    lost = folder / "results/stage3" / f"{NAME.format(12, 's200a2')}_x1d.fits"
    before = lost.read_bytes()
    lost.unlink()
    done = again(folder)
    assert done.status == 0 and lost.read_bytes() == before, done.text
    assert {path for path in done.after if "stage3" not in str(path)} == {path for path in done.before if "stage3" not in str(path)}


def test_a_parameter_of_stage_3_leaves_stages_1_and_2_alone(folder, first):
    done = again(folder, "--config", "steps={outlier_detection: {maskpt: 0.6}}")
    assert done.status == 0, done.text
    changed = {path.parent.name for path in done.after if done.after[path] != done.before.get(path)}
    assert changed == {"stage3"}


# --- three nods along a slit


CONFIG = {"data": "data", "results": "results", "references": {"crds_path": "crds"}}
NOD = "jw01234001001_02101_0000{}_nrs1"


@pytest.fixture(scope="module")
def nods(tmp_path_factory):
    """Three nods, calibrated by two jobs at a time."""
    folder = tmp_path_factory.mktemp("nods")
    nirspec.expose_slits(folder, subarray="SUBS200A1", ngroups=3, cosmic_rays=0.0)
    done = snakemake(folder, config=CONFIG)
    assert done.status == 0, done.text
    return folder


def test_jobs_beside_each_other_make_the_same_bytes(nods):
    done = snakemake(nods, config={**CONFIG, "results": "alone"}, cores=1)
    assert done.status == 0, done.text
    together, alone = (
        {path.relative_to(nods / results): path.read_bytes() for path in (nods / results).glob("stage?/*.fits")}
        for results in ("results", "alone")
    )
    assert len(together) == 3 * 2 + 3 * 3 + 4 and together == alone


def test_a_nod_that_never_came(nods, tmp_path):
    """The archive's associations name it; the others are calibrated with each other, and combined."""
    (tmp_path / "data").mkdir()
    for path in (nods / "data").glob("*_uncal.fits"):
        if "_00002_" not in path.name:
            shutil.copy(path, tmp_path / "data")
    for path in (nods / "results/associations").glob("*.json"):
        named = json.loads(path.read_text())
        for member in named["products"][0]["members"]:
            member["expname"] = Path(member["expname"]).name
        (tmp_path / "data" / path.name).write_text(json.dumps(named))
    done = snakemake(tmp_path, config={**CONFIG, "references": {"crds_path": str(nods / "crds")}})
    assert done.status == 0, done.text
    gone = f"without {NOD.format(2)}, which is in the association and neither among the data nor made"
    assert f"note: {NOD.format(1)}, {NOD.format(3)}: {gone}" in done.summary
    for number in (1, 3):
        header = stored.header(tmp_path / "results/stage2" / f"{NOD.format(number)}_cal.fits")
        assert header["S_BKDSUB"] == "COMPLETE" and gone in " ".join(header["HISTORY"])
        log = next((tmp_path / "results/logs").glob(f"{NOD.format(number)}.spec2_*.log")).read_text()
        assert gone in log
    (spectrum,) = (tmp_path / "results/stage3").glob("*_x1d.fits")
    wavelength, flux = (np.asarray(stored.read(spectrum).spectra[0].table[name], float) for name in ("WAVELENGTH", "FLUX"))
    good = np.isfinite(flux) & (wavelength > 1) & (wavelength < 5)
    assert abs(np.median(flux[good] / STAR.spectrum(wavelength[good])) - 1) < 0.02
