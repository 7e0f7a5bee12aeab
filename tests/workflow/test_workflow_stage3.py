"""Stage 3 of images in the workflow: one small program from uncal to its last products, and what may come between."""

import json
import os
import shutil
import signal
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable
from stdatamodels.jwst import datamodels
from test_faults import start, wait_for
from test_workflow import snakemake

from jwcal.products import stored
from jwcal.report import remains
from jwcal.simulate.program import make_program
from jwcal.workflow import plan

# Four dithers of a field, a time series in two segments, and a pair for wavefront sensing, as deep as full frames.
DEEP = {"subarray": "SUB64P", "tframe": 10.0}
PROGRAM = {
    "program": 1234,
    "target": [53.1625, -27.7914],
    "start": "2023-10-02T04:05:06.789",
    "seed": 7,
    "stage3": True,
    "aim": "NRCB1_SUB64P",
    "pointing_error": {"rms": 0.03},
    "sky_steps": [0.0, 0.1, 0.05, 0.2],
    "sky": {"radius": 1.6, "stars": 90, "galaxies": 0, "faintest": 2e-6, "brightest": 2e-5, "separation": 0.3},
    "detectors": ["NRCB1"],
    "exposures": [
        {
            **DEEP,
            "exp_type": "NRC_IMAGE",
            "filter": "F200W",
            "ngroups": 5,
            "dithers": [[0.0, 0.0], [0.21, 0.11], [-0.15, 0.26], [0.1, -0.2]],
        },
        {
            **DEEP,
            **{"exp_type": "NRC_TSIMAGE", "filter": "F200W", "ngroups": 4, "nints": 8, "segments": 4, "observation": 2},
            **{"star": 3e-5, "series": {"jitter": 0.02}},
        },
        {
            **DEEP,
            **{
                "exp_type": "NRC_IMAGE",
                "filter": "F212N",
                "pupil": "WLP8",
                "ngroups": 5,
                "observation": 3,
                "dithers": [[0.0, 0.0], [0.3, 0.15]],
            },
            **{"wfs": [2, -1], "star": 1e-4, "sky": {"stars": 0, "galaxies": 0}},
        },
    ],
}
IMAGES = [f"jw01234001001_02101_{n:05}_nrcb1" for n in (1, 2, 3, 4)]
SERIES = [f"jw01234002001_02102_00001-seg{n:03}_nrcb1" for n in (1, 2)]
PAIR = [f"jw01234003001_02103_{n:05}_nrcb1" for n in (1, 2)]
MOSAIC = "jw01234-o001_t001_nircam_clear-f200w-sub64p"
CURVE = "jw01234-o002_t001_nircam_clear-f200w-sub64p"
COMBINED = "jw01234-o003_t001_nircam_f212n-wlp8-sub64p-nrcb1_wfscmb-03.fits"
LISTED = [f"{root}_o001_crf.fits" for root in IMAGES] + [f"{root}_o002_crfints.fits" for root in SERIES]
TABLES = {f"{MOSAIC}_cat.ecsv", f"{CURVE}_phot.ecsv"}
LISTS = {f"{MOSAIC}_image3_list.csv", f"{CURVE}_tso3_list.csv"}
STAGE3 = {f"{MOSAIC}_i2d.fits", f"{MOSAIC}_segm.fits", COMBINED} | TABLES | LISTS
FEW = {"tweakreg": {"minobj": 4, "searchrad": 0.3, "tolerance": 0.1, "separation": 0.2}}  # stars, in two arcsec


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stage3")
    make_program(folder, PROGRAM)
    return folder


def settings(folder, **others):
    return {"data": "data", "results": "results", "references": {"crds_path": str(folder / "crds")}, "steps": FEW} | others


@pytest.fixture(scope="module")
def first(folder):
    return snakemake(folder, config=settings(folder))


@pytest.fixture
def program(first, folder, tmp_path):
    """A copy for something to happen to."""
    copy = tmp_path / "program"
    subprocess.run(["cp", "-a", folder, copy], check=True)
    return copy


def content(results, stages="23"):
    """Name -> bytes of the products of some stages."""
    found = [path for path in results.glob(f"stage[{stages}]/*") if path.suffix in (".fits", ".ecsv", ".csv")]
    return {path.name: path.read_bytes() for path in found}


def test_all_products_are_there_under_the_archive_s_names(first, folder):
    assert first.status == 0, first.text
    stage2 = {path.name for path in folder.glob("results/stage2/*.fits")}
    cal = {f"{root}_{suffix}.fits" for root in IMAGES for suffix in ("cal", "i2d")} | {f"{root}_cal.fits" for root in PAIR}
    assert stage2 == cal | {f"{root}_calints.fits" for root in SERIES} | set(LISTED)
    assert {path.name for path in folder.glob("results/stage3/*") if path.suffix != ".json"} == STAGE3
    for name, suffix, count in ((f"{MOSAIC}_image3_list.csv", "crf", 4), (f"{CURVE}_tso3_list.csv", "crfints", 2)):
        rows = [line.split(",") for line in (folder / "results/stage3" / name).read_text().splitlines()]
        assert rows[0] == ["file", "suffix", "size", "digest"] and len(rows) == count + 1
        for file, its, size, _ in rows[1:]:
            assert its == suffix and (folder / "results/stage3" / file).stat().st_size == int(size)


def test_stdatamodels_opens_all_of_them(first, folder):
    models = {"cal": "ImageModel", "crf": "ImageModel", "calints": "CubeModel", "crfints": "CubeModel", "i2d": "ImageModel"}
    models |= {"segm": "SegmentationMapModel", "wfscmb": "ImageModel", "wfscmb-03": "ImageModel"}
    for path in sorted(folder.glob("results/stage[23]/*.fits")):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with datamodels.open(path) as model:
                assert type(model).__name__ == models[path.stem.rpartition("_")[2]], path.name
                assert model.meta.filename == path.name
                model.validate()
    for name in TABLES:
        assert len(QTable.read(folder / "results/stage3" / name)) > 0


def test_what_the_products_say(first, folder):
    """Their associations, and that the steps were done to each."""
    crf = stored.header(folder / "results/stage2" / LISTED[0])
    assert crf["ASNTABLE"] == f"{MOSAIC}_image3_asn.json" and crf["PROVFILE"] == f"{MOSAIC}_image3_list.json"
    assert [crf[f"S_{step}"] for step in ("TWKREG", "SKYMAT", "OUTLIR")] == ["COMPLETE"] * 3
    assert "S_RESAMP" not in crf
    i2d = stored.read(folder / "results/stage3" / f"{MOSAIC}_i2d.fits")
    assert i2d.header["NDRIZ"] == 4 and i2d.header["S_RESAMP"] == "COMPLETE" and i2d.header["ASNTABLE"] == f"{MOSAIC}_image3_asn.json"
    assert i2d.tables["HDRTAB"].shape == (4,)
    assert stored.header(folder / "results/stage3" / COMBINED)["S_WFSCOM"] == "COMPLETE"
    table = QTable.read(folder / "results/stage3" / f"{CURVE}_phot.ecsv")
    assert len(table) == 8 and np.all(np.diff(table["MJD"]) > 0) and np.all(table["net_aperture_sum"].value > 0)


def test_exposures_are_where_they_belong(first, folder):
    """The pointing errors were 30 mas; the truth of each exposure tells them."""
    errors, moved = [], []
    for root in IMAGES:
        truth = fits.getheader(folder / "truth" / f"{root}_truth.fits")
        before, after = (stored.read(folder / "results/stage2" / f"{root}_{end}.fits").wcs(32.0, 32.0) for end in ("cal", "o001_crf"))
        errors.append((truth["ERREAST"], truth["ERRNORTH"]))
        moved.append([(after[0] - before[0]) * np.cos(np.radians(after[1])) * 3600, (after[1] - before[1]) * 3600])
    left = np.array(errors) - moved
    assert np.std(left, axis=0).max() < 0.006 < 0.015 < np.std(errors, axis=0).max()


def test_books(first, folder):
    """The summary and the report count what lists name, and take it for nothing old."""
    assert first.summary[0].startswith("jwcal: 41 products made, 0 up to date, 0 not made")
    assert not any("old products" in line for line in first.summary)
    results = remains.read(folder / "results")
    assert not results.others and set(LISTED) <= {product.path.name for _, product in results.products if product.record}


def test_a_second_run_makes_nothing(first, folder):
    again = snakemake(folder, config=settings(folder))
    assert again.status == 0 and again.made == set() and again.jobs == []
    assert again.summary[0].startswith("jwcal: 0 products made, 41 up to date, 0 not made")


def test_from_an_archive_s_cal_files_with_one_core(first, folder, tmp_path):
    """Cal files with their association, as they are fetched: the same bytes as from the start, on two cores."""
    wanted = content(folder / "results")
    shutil.copytree(folder / "results/associations", tmp_path / "data", ignore=shutil.ignore_patterns("*image2*"))
    for name in (*IMAGES, *PAIR):
        shutil.copy(folder / "results/stage2" / f"{name}_cal.fits", tmp_path / "data")
    for name in SERIES:
        shutil.copy(folder / "results/stage2" / f"{name}_calints.fits", tmp_path / "data")
    run = snakemake(tmp_path, config=settings(folder), cores=1)
    assert run.status == 0, run.text
    made = content(tmp_path / "results")
    assert made.keys() == STAGE3 | set(LISTED)
    assert [name for name in made if made[name] != wanted[name]] == []


def test_from_an_archive_s_rate_files(first, folder, tmp_path):
    """They go through stage 2 first; members that are rate files in the data are the products of that."""
    (tmp_path / "data").mkdir()
    for name in IMAGES:
        shutil.copy(folder / "results/stage1" / f"{name}_rate.fits", tmp_path / "data")
    shutil.copy(folder / "results/associations" / f"{MOSAIC}_image3_asn.json", tmp_path / "data")
    made = plan.make(settings(folder, data=str(tmp_path / "data"), results=str(tmp_path / "results")))
    assert not made.problems and [job.pipeline for job in made.jobs] == ["image2"] * 4 + ["image3"]
    last = made.jobs[-1]
    assert [Path(path).name for path in (last.input, *last.members)] == [f"{name}_cal.fits" for name in IMAGES]
    assert all(made.makes(path) for path in (last.input, *last.members))


def test_a_parameter_of_the_catalogue_leaves_the_other_pipelines_alone(program):
    changed = FEW | {"source_catalog": {"snr_threshold": 4.0}}
    run = snakemake(program, "-n", config=settings(program, steps=changed))
    assert run.jobs == ["image3_i2d_cat_segm_list"] and "source_catalog.snr_threshold 3.0 -> 4.0" in run.text


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        (f"stage2/{LISTED[1]}", "image3_i2d_cat_segm_list"),
        (f"stage2/{LISTED[-1]}", "tso3_phot_list"),
        (f"stage3/{MOSAIC}_cat.ecsv", "image3_i2d_cat_segm_list"),
        (f"stage3/{COMBINED}", "wfs_image3_wfscmb_03"),
    ],
)
def test_a_product_that_is_deleted(program, name, rule):
    (program / "results" / name).unlink()
    run = snakemake(program, "-n", config=settings(program))
    assert run.jobs == [rule] and (f"there is no {Path(name).name}" in run.text or "not made yet" in run.text)


def test_a_run_that_is_killed_amid_its_mosaic(program, folder):
    """All of its processes at once; what it had written of the exposures is completed by a plain run, with the same bytes."""
    results = program / "results"
    wanted = content(results)
    (results / "stage3" / f"{MOSAIC}_i2d.fits").unlink()
    (results / "stage2" / LISTED[2]).unlink()
    (program / "mine.yaml").write_text(json.dumps(settings(program)))
    log = results / "logs" / f"{MOSAIC}.image3_i2d_cat_segm_list.log"
    log.unlink()
    process = start(program)
    wait_for(lambda: log.exists() and "outlier_detection COMPLETE" in log.read_text(), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (results / "stage3" / f"{MOSAIC}_i2d.fits").exists()
    run = snakemake(program, config=settings(program))
    assert run.status == 0 and run.jobs == ["image3_i2d_cat_segm_list"], run.text
    assert content(results) == wanted
    assert not list(results.rglob("*.tmp"))


def test_a_lost_member(program):
    """A file of the association can't be read: the mosaic waits, and says why; the others are made."""
    bad = program / "data" / f"{IMAGES[1]}_uncal.fits"
    bad.write_bytes(bad.read_bytes()[:20000])
    run = snakemake(program, config=settings(program))
    assert run.status != 0
    said = "\n".join(run.summary)
    assert f"{IMAGES[1]}_uncal.fits" in said and "1 file can't be used" in said
    bad.unlink()
    run = snakemake(program, config=settings(program))
    assert run.status == 0
    assert stored.header(program / "results/stage3" / f"{MOSAIC}_i2d.fits")["NDRIZ"] == 3
    assert not (program / "results/stage2" / LISTED[1]).exists()  # it is of the mosaic that was


def test_a_member_that_was_not_fetched(program):
    """An archive's association names an exposure that is not there."""
    path = program / "results/associations" / f"{MOSAIC}_image3_asn.json"
    named = json.loads(path.read_text())
    named["products"][0]["members"].append({"expname": "jw01234001001_02101_00009_nrcb1_cal.fits", "exptype": "science"})
    (program / "asn").mkdir()
    (program / "asn/mine_image3_asn.json").write_text(json.dumps(named))
    made = plan.make(settings(program, data=str(program / "data"), results=str(program / "results"), associations=str(program / "asn")))
    assert "jw01234001001_02101_00009_nrcb1_cal.fits" in " ".join([*made.problems, *made.left_out])
