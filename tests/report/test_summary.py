"""The books of a run: what is counted, what a dry run says, causes that are said once, interrupts, products of earlier runs."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_faults import NAMES, make_folder, snakemake, start

from jwcal.report import remains, tables
from jwcal.report.page import look
from jwcal.report.summary import forecast, summary
from jwcal.workflow import jobs, plan

WITHOUT = {"crds_context": "jwst_0077.pmap"}  # a context that is in no cache


@pytest.fixture
def folder(tiny, tmp_path):
    return make_folder(tiny, tmp_path / "program")


def planned(tiny, folder, references=None, **settings):
    crds = {"crds_path": str(tiny.crds), **(references or {})}
    return plan.make({"data": str(folder / "data"), "results": str(folder / "results"), "until": "stage2", "references": crds, **settings})


def lay(made, *suffixes):
    """Files in the place of products."""
    for job in made.jobs:
        for suffix, path in job.outputs.items():
            if not suffixes or suffix in suffixes:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                Path(path).write_text("")


def cut(folder, name, size):
    path = folder / "data" / f"{name}_uncal.fits"
    path.write_bytes((folder / "data" / f"{NAMES[0]}_uncal.fits").read_bytes()[:size])
    return path


# --- what failed


def test_jobs_that_failed_for_one_reason_are_counted(tiny, folder):
    """And of very many that are not made the first ones are named."""
    for number in range(4, 26):
        copy = NAMES[0].replace("_00001_", f"_{number:05}_")
        shutil.copy(folder / "data" / f"{NAMES[0]}_uncal.fits", folder / "data" / f"{copy}_uncal.fits")
    made = planned(tiny, folder)
    first = [job for job in made.jobs if job.stage == "stage1"]
    for number, job in enumerate(first):
        path = jobs.failure_file(job.recipe)
        path.parent.mkdir(exist_ok=True)
        path.write_text("gain.fits: it is small. Give another.\n" if number else "the disk is full. Make room.\n")
    lines = summary(made, time.time()).splitlines()
    assert [line for line in lines if line.startswith("  failed: ")] == [
        f"  failed: {NAMES[0]} detector1: the disk is full. Make room.",
        f"  failed: 24 of detector1: gain.fits: it is small. Give another. They are {NAMES[1]}, {NAMES[2]}, "
        f"{NAMES[0].replace('_00001_', '_00004_')} and 21 more; jwcal status -v names all",
    ]
    (waiting,) = [line for line in lines if line.startswith("  not made because of that")]
    assert waiting.endswith(" and 5 more") and waiting.count(" image2") == 20


def test_a_nod_that_failed_holds_up_the_others(tiny, folder):
    """They wait for it; the summary says once which, and that without its file they are made with the nods that are there."""
    for name in NAMES:
        (folder / "data" / f"{name}_asn.json").write_text(json.dumps(nods(name)))
    made = planned(tiny, folder)
    lay(made, "rate", "rateints")
    (bad,) = [job for job in made.jobs if job.stage == "stage1" and job.exposure == NAMES[1]]
    for path in bad.outputs.values():
        Path(path).unlink()
    jobs.failure_file(bad.recipe).parent.mkdir(exist_ok=True)
    jobs.failure_file(bad.recipe).write_text("gain.fits: it is small. Give another.\n")
    lines = summary(made, started=0).splitlines()
    others = f"{NAMES[0]}, {NAMES[2]}: if it can't be repaired, take its file away, and they are made without it"
    assert [line for line in lines if "is a background of" in line] == [f"  {NAMES[1]} is a background of {others}"]
    (folder / "data" / f"{NAMES[1]}_uncal.fits").unlink()
    made = planned(tiny, folder)
    rates = [{Path(member).name for member in job.members} for job in made.jobs if job.stage == "stage2"]
    assert rates == [{f"{NAMES[2]}_rate.fits"}, {f"{NAMES[0]}_rate.fits"}]


def nods(name):
    """The association of an exposure that has the others of its observation as backgrounds, in the archive's form."""
    members = [{"expname": f"{other}_rate.fits", "exptype": "science" if other == name else "background"} for other in NAMES]
    return {
        "asn_type": "image2",
        "asn_rule": "",
        "asn_id": "o001",
        "asn_pool": "",
        "program": "01234",
        "products": [{"name": name, "members": members}],
    }


# --- what can't be used


def test_one_cause_is_said_once_with_the_number_of_exposures(tiny, folder):
    made = planned(tiny, folder, references=WITHOUT)
    (problem,) = made.problems
    assert problem.startswith("3 exposures: the context jwst_0077.pmap is not complete in the CRDS cache ")
    assert problem.count("jwst_0077.pmap is not complete") == 1 and all(name in problem for name in NAMES)
    assert made.unusable == NAMES and made.jobs == []


def test_of_many_exposures_some_are_named(tiny, folder):
    for number in range(4, 9):
        copy = NAMES[0].replace("_00001_", f"_{number:05}_")
        (folder / "data" / f"{copy}_uncal.fits").write_bytes((folder / "data" / f"{NAMES[0]}_uncal.fits").read_bytes())
    made = planned(tiny, folder, references=WITHOUT)
    (problem,) = made.problems
    assert problem.startswith("8 exposures: ") and problem.endswith(f"They are {', '.join(NAMES)} and 5 more.")
    assert len(made.unusable) == 8


def test_they_are_counted_in_the_summary_and_the_report(tiny, folder):
    """Products of before are counted too: nothing of 3 exposures can be planned, and all that they had lies there."""
    before = planned(tiny, folder)
    lay(before)
    made = planned(tiny, folder, references=WITHOUT)
    lines = [line.strip() for line in summary(made, started=0).splitlines()]
    results = folder / "results"
    assert f"jwcal: 0 products made, 0 up to date, 0 not made; 3 files can't be used. They are in {results}" in lines
    assert f"old products lie in {results}, and stay there: 12 of exposures that can't be used now" in lines
    state = tables.state(remains.read(results))
    assert (state["exposures"], state["finished"], state["failed"], state["unusable"]) == (3, 0, 0, 3)


def test_the_report_counts_exposures_that_can_not_be_used(tiny, folder):
    bad = cut(folder, NAMES[0].replace("_02101_", "_03101_"), 9000)
    lay(planned(tiny, folder))
    results = remains.read(folder / "results")
    state = tables.state(results)
    assert (state["exposures"], state["finished"], state["unusable"], state["failed"]) == (4, 3, 1, 0)
    assert len(results.problems) == 1 and str(bad) in results.problems[0]
    assert look([], folder, 0, 1) == {}


def test_a_run_without_trouble_says_nothing_of_it(tiny, folder):
    made = planned(tiny, folder)
    assert forecast(made) == ""
    text = summary(made, started=0)
    assert "can't be used" not in text and "old products" not in text and "note:" not in text


def test_a_run_that_was_stopped_between_two_jobs(tiny, folder):
    """Nothing has failed: the others were only not reached."""
    made = planned(tiny, folder)
    lay(made, "rate", "rateints")
    line = next(line for line in summary(made, started=0).splitlines() if "reached" in line)
    assert line.startswith("  not reached: ") and f"{NAMES[0]} image2" in line and line.endswith(". Run again to go on")
    assert f"{NAMES[0]} detector1" not in line


def test_a_product_without_what_can_not_be_used_says_so(tiny, folder):
    """The rules do not see an exposure that is refused: its mosaic is made of the others. Guide stars and parallels are not missed."""
    lacking = NAMES[0].replace("_00001_", "_00009_")
    cut(folder, lacking, 9000)
    cut(folder, lacking.replace("nrcb1", "nis"), 9000)
    made = planned(tiny, folder, until="stage3")
    (product,) = [job.exposure for job in made.jobs if job.stage == "stage3"]
    note = f"{product}: without {lacking}, which is of the same observation and can't be used"
    assert [remark for remark in made.remarks if "without" in remark] == [note]
    assert f"  note: {note}" in summary(made, started=0).splitlines()
    (recipe,) = [recipe for recipe in made.recipes.values() if recipe.product == product]
    assert f"{product}: {recipe.association['lacks']}" == note, "its job does not know"
    cut(folder, lacking, 10**9)
    assert not any("without" in remark for remark in planned(tiny, folder, until="stage3").remarks)


def test_the_report_of_a_run_of_stage_3_alone(tiny, folder):
    """It starts from cal files: once it told of 0 exposures."""
    made = planned(tiny, folder, until="stage3")
    made.jobs = [job for job in made.jobs if job.stage == "stage3"]
    made.index()
    made.save()
    assert [tables.state(remains.read(folder / "results"))[key] for key in ("exposures", "finished")] == [3, 0]
    lay(made)
    assert [tables.state(remains.read(folder / "results"))[key] for key in ("exposures", "finished")] == [3, 3]


def test_products_of_members_whose_job_is_not_finished(tiny, folder):
    """They are to be made again: nothing old. Once the job has listed its own, what is left is."""
    made = planned(tiny, folder, until="stage3")
    calibrated = [job for job in made.jobs if job.stage != "stage3"]
    made.jobs = [job for job in made.jobs if job.stage == "stage3"]  # as for an archive's cal files
    made.index()
    path = folder / "results/stage2" / f"{calibrated[0].exposure}_o001_crf.fits"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    assert remains.leftovers(folder / "results", made) == {"unasked": [], "unusable": [], "gone": []}
    (job,) = made.jobs
    lay(made, "list")
    assert Path(job.outputs["list"]).exists()
    assert remains.leftovers(folder / "results", made) == {"unasked": [path], "unusable": [], "gone": []}


# --- dry runs


def test_a_dry_run_ends_as_the_run_would(tiny, folder):
    bad = cut(folder, NAMES[0].replace("_02101_", "_03101_"), 9000)
    status, said = snakemake(folder, "-n")
    assert status == 1
    assert "jwcal: the run would end with an error: 1 file can't be used" in said
    assert f"can't be used: {bad}: the file is truncated: 9000 bytes" in said
    assert "This was a dry-run" in said and f"detector1_rate_rateints {NAMES[0]}: not made yet" in said
    assert not (folder / "results/stage1").exists() and not (folder / "results/summary.txt").exists()
    bad.unlink()
    status, said = snakemake(folder, "-n", "--config", "save=[ramp]")
    assert status == 0 and "jwcal: " not in said and "This was a dry-run" in said
    with open(folder / "mine.yaml", "a") as file:
        file.write("steps: {emicorr: {skip: true}}\n")
    status, said = snakemake(folder, "-n")
    assert status == 0 and "  note: steps.emicorr: no exposure of this run goes through emicorr" in said


# --- interrupts


def test_an_interrupted_run_says_so(folder):
    """Ctrl-C, which goes to all processes of the terminal: not "killed, or out of memory", and a plain run goes on."""
    process = start(folder)
    failed = [folder / f"results/.jwcal/failed/{name}.detector1.txt" for name in NAMES]
    end = time.monotonic() + 120
    while not any(path.exists() for path in failed):
        assert time.monotonic() < end and process.poll() is None, (folder / "said.txt").read_text()
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=60) != 0
    said = (folder / "said.txt").read_text()
    last = said[said.rindex("\njwcal: ") :]
    assert "  interrupted: " in last and "Run again to go on" in last
    assert "killed" not in last and "memory" not in last and "failed: " not in last
    assert {path.read_text().strip() for path in failed if path.exists()} == {jobs.INTERRUPTED}
    assert "  interrupted: " in (folder / "results/summary.txt").read_text()
    status, said = snakemake(folder)
    assert status == 0, said
    assert "12 products made" in said or "up to date" in said
    assert not any(path.exists() for path in failed)


SLOW = """
import sys, time
from jwcal.workflow import jobs
def wait(*_):
    print("begun", flush=True)
    time.sleep(600)
jobs._make = wait
sys.exit(jobs.main())
"""


SLEEPS = """
import pathlib, time
pathlib.Path(__file__).with_name("begun").touch()
time.sleep(100)

def apply(exposure, refs):
    return exposure
"""


def test_a_plan_that_is_interrupted_says_so(tiny, tmp_path):
    """In a line: a person stops the run before it knows what there is to do. Here it waits for a step of that person's."""
    insert = {"image2": [{"after": "flat_field", "step": "sleeps.py"}]}
    folder = make_folder(tiny, tmp_path / "program", insert=insert)
    (folder / "sleeps.py").write_text(SLEEPS)
    process = start(folder)
    end = time.monotonic() + 120
    while not (folder / "begun").exists():
        assert time.monotonic() < end and process.poll() is None, (folder / "said.txt").read_text()
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=60) != 0
    said = (folder / "said.txt").read_text()
    assert "It was interrupted before any job was run" in said and "Traceback" not in said


@pytest.mark.parametrize(
    ("number", "message"), [(signal.SIGINT, jobs.INTERRUPTED), (signal.SIGTERM, jobs.ENDED), (signal.SIGKILL, jobs.STOPPED)]
)
def test_what_a_job_that_is_stopped_leaves(tiny, folder, number, message):
    """By itself, as on a cluster: interrupted, cancelled or out of time, or killed."""
    job = planned(tiny, folder, until="stage1").jobs[0]
    command = [sys.executable, "-c", SLOW, job.recipe, "--log", str(folder / "log")]
    scripts = str(Path(jobs.__file__).parents[2])
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": scripts})
    assert process.stdout.readline() == "begun\n"
    os.kill(process.pid, number)
    assert process.wait(timeout=60) in (128 + number, -number)
    process.stdout.close()
    assert jobs.failure_file(job.recipe).read_text().strip() == message


# --- products of earlier runs


def test_old_products_are_counted_and_stay(tiny, folder):
    results = folder / "results"
    lay(planned(tiny, folder, save=["ramp", "persistence"], steps={"persistence": {"skip": False, "persistence_time": 100}}))
    (folder / "data" / f"{NAMES[2]}_uncal.fits").unlink()
    (results / "stage1" / f"{NAMES[0]}_rate.json").write_text("{}")  # a record is no product
    made = planned(tiny, folder)
    there = sorted(results.glob("stage*/*"))
    found = remains.leftovers(results, made)
    assert [path.name for path in found["unasked"]] == [
        f"{name}_{suffix}" for name in NAMES[:2] for suffix in ("persistence.asdf", "ramp.fits")
    ]
    assert len(found["gone"]) == 6 and all(NAMES[2] in path.name for path in found["gone"]) and found["unusable"] == []
    lines = [line.strip() for line in summary(made, started=0).splitlines()]
    old = f"old products lie in {results}, and stay there: 4 not asked for any more, 6 of exposures that are not in this run"
    assert old in lines
    assert sorted(results.glob("stage*/*")) == there
    assert len(remains.read(results).others) == 10


def test_products_of_a_later_stage_that_is_not_asked_for(tiny, folder):
    lay(planned(tiny, folder))
    made = planned(tiny, folder, until="stage1")
    assert sorted({path.parent.name for path in remains.leftovers(folder / "results", made)["unasked"]}) == ["stage2"]
