"""What goes wrong from outside while several pipelines are at work, those of stage 3 among them: products are the same by any route.

A part of the tour: a mosaic, nods along a slit, a time series, and a star behind a mask with its reference stars.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from test_faults import ROOT, mounted, snakemake, start, wait_for  # noqa: F401 (a fixture)

from jwcal.simulate.tour import make_tour

pytestmark = pytest.mark.full
MODES = ("mir_lrs-fixedslit", "nrc_image", "nrc_coron", "nrc_tsimage")
PIPELINES = {"detector1", "tso1", "image2", "tso-image2", "spec2", "image3", "coron3", "spec3", "tso3"}
KINDS = (".fits", ".ecsv", ".csv")


@pytest.fixture(scope="module")
def tour(tmp_path_factory):
    return make_tour(tmp_path_factory.mktemp("tour"), only=MODES, processes=2)


def make_folder(tour, folder, results="results"):
    """The raw files, and the configuration to run them."""
    shutil.copytree(tour.data, folder / "data")
    settings = yaml.safe_load(tour.config.read_text())
    (folder / "mine.yaml").write_text(
        yaml.safe_dump({**settings, "data": "data", "results": results, "references": {"crds_path": str(tour.crds)}})
    )
    return folder


@pytest.fixture
def folder(tour, tmp_path):
    return make_folder(tour, tmp_path / "program")


def products(results):
    """Name -> bytes, of those that stand under their names."""
    found = [path for path in results.glob("stage*/*") if path.suffix in KINDS and not path.name.startswith(".")]
    return {path.relative_to(results): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def undisturbed(tour, tmp_path_factory):
    """The products of a run that nothing disturbs, and how long it takes."""
    folder = make_folder(tour, tmp_path_factory.mktemp("undisturbed") / "program")
    began = time.monotonic()
    status, said = snakemake(folder)
    assert status == 0, said
    logs = {path.name.split(".")[-2].split("_")[0] for path in (folder / "results/logs").glob("*.log")}
    assert {name.partition("-")[0] for name in PIPELINES} <= {name.partition("-")[0] for name in logs} | {"tso"}
    return products(folder / "results"), time.monotonic() - began


def test_twenty_kills(undisturbed, folder):
    """All processes of a run, or only the first, whose jobs go on as orphans; one that is done before it is killed begins anew."""
    wanted, seconds = undisturbed
    choose, results = random.Random(20), folder / "results"
    killed = 0
    while killed < 20:
        process = start(folder)
        time.sleep(choose.uniform(0.05, 0.8) * seconds)
        if process.poll() is not None:
            assert process.returncode == 0, (folder / "said.txt").read_text()
            assert products(results) == wanted
            shutil.rmtree(results)
            continue
        (os.killpg if killed % 3 else os.kill)(process.pid, signal.SIGKILL)
        process.wait()
        killed += 1
        found = products(results)
        assert all(found[name] == wanted[name] for name in found)  # whatever has a product's name is one
    status, said = snakemake(folder)
    assert status == 0, said
    assert products(results) == wanted
    assert "Nothing to be done" in snakemake(folder)[1]
    assert not list(results.rglob("*.tmp"))


@pytest.mark.parametrize("pipeline", ["image3", "coron3"])
def test_a_killed_job_of_stage_3(undisturbed, folder, pipeline):
    """It is told, the others are done, and a plain run makes the rest."""
    wanted, _ = undisturbed
    process = start(folder)
    os.kill(wait_for(lambda: job_of(folder, pipeline), process), signal.SIGKILL)
    assert process.wait() != 0
    said = (folder / "said.txt").read_text()
    assert f"{pipeline}: it was stopped before its end" in said
    found = products(folder / "results")
    lost = {name for name in wanted if name not in found}
    assert all(found[name] == wanted[name] for name in found)
    (product,) = {path.name.rpartition(f"_{pipeline}_list")[0] for path in wanted if path.name.endswith(f"_{pipeline}_list.csv")}
    assert lost and all(name.name.startswith(product) or re.search(r"_[oc]\d+_", name.name) for name in lost)
    status, said = snakemake(folder)
    assert status == 0, said
    assert products(folder / "results") == wanted


def job_of(folder, pipeline):
    """The process of a pipeline's job, from the moment it has begun its log."""
    for log in (folder / "results/logs").glob(f"*.{pipeline}_*.log"):
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if str(log) in {os.readlink(link) for link in (process / "fd").iterdir()}:
                    return int(process.name)
            except OSError:
                continue
    return None


def test_a_full_disk(undisturbed, tour, mounted):  # noqa: F811
    """What is there is whole, and with room the rest is made."""
    wanted, _ = undisturbed
    folder = make_folder(tour, mounted.parent / "program", results=str(mounted / "results"))
    room = int(0.8 * sum(map(len, wanted.values())))
    subprocess.run(["mount", "-o", f"remount,size={room}", mounted], check=True)
    status, said = snakemake(folder)
    assert status != 0 and "No space left on device" in said and "Make room or choose another results folder" in said
    found = products(mounted / "results")
    assert 0 < len(found) < len(wanted) and all(wanted[name] == content for name, content in found.items())
    subprocess.run(["mount", "-o", "remount,size=1g", mounted], check=True)
    status, said = snakemake(folder)
    assert status == 0, said
    assert products(mounted / "results") == wanted


def test_a_broken_member_of_each_among_good_ones(undisturbed, folder):
    """Its file is named, the products of the others alone are as ever, and whole again it gives all of them."""
    wanted, _ = undisturbed
    broken = [next(iter(sorted((folder / "data").glob(pattern)))) for pattern in ("*_00002_nrcb1*", "*_00002_mirimage*", "*seg002*")]
    broken += [sorted((folder / "data").glob("*nrcalong*"))[-1]]
    whole = {path: path.read_bytes() for path in broken}
    for number, (path, content) in enumerate(whole.items()):
        path.write_bytes(content[: len(content) // (number + 2)])
    status, said = snakemake(folder)
    assert status != 0 and all(path.name in said for path in broken), said
    found, names = products(folder / "results"), [path.name.removesuffix("_uncal.fits") for path in broken]
    assert not any(name in str(path) for path in found for name in names)
    good = [path for path in wanted if path.parent.name == "stage1" and not any(name in path.name for name in names)]
    assert good and all(found[path] == wanted[path] for path in good)
    for path, content in whole.items():
        path.write_bytes(content)
    status, said = snakemake(folder)
    assert status == 0, said
    assert products(folder / "results") == wanted
