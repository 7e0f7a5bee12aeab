"""What goes wrong from outside while the workflow runs. After each: a clear message, the rest done, and a plain run completes it."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from astropy.io import fits

from jwcal.run import loop as running
from jwcal.workflow import jobs, plan

ROOT = Path(__file__).resolve().parents[2]
NAMES = [f"jw01234001001_02101_{n:05}_nrcb1" for n in (1, 2, 3)]


def command(*arguments):
    return [Path(sys.executable).with_name("snakemake"), "-s", ROOT / "Snakefile", "--cores", "2", "--configfile", "mine.yaml", *arguments]


def environment():
    return {k: v for k, v in os.environ.items() if not k.startswith("CRDS_") and k != "PYTHONPATH"}


def start(folder, *arguments):
    """Start the workflow in a process group of its own."""
    with open(folder / "said.txt", "w") as said:
        return subprocess.Popen(command(*arguments), cwd=folder, env=environment(), stdout=said, stderr=said, start_new_session=True)


def snakemake(folder, *arguments):
    """Run the workflow to its end: exit status, and what it said."""
    process = start(folder, *arguments)
    return process.wait(), (folder / "said.txt").read_text()


def products(folder):
    return {path.relative_to(folder / "results"): path.read_bytes() for path in (folder / "results").glob("stage*/*.fits")}


def make_folder(tiny, folder, **config):
    """Three exposures, and the configuration to run them."""
    (folder / "data").mkdir(parents=True)
    for number, name in enumerate(NAMES):
        path = folder / "data" / f"{name}_uncal.fits"
        shutil.copy(tiny.image, path)
        with fits.open(path, mode="update") as hdus:
            hdus["SCI"].data[..., 20, 20:30] += number
            hdus[0].header["EXPOSURE"] = f"{number + 1:05}"
    settings = {"data": "data", "results": "results", "until": "stage2", "references": {"crds_path": str(tiny.crds)}, **config}
    (folder / "mine.yaml").write_text(yaml.safe_dump(settings))
    return folder


@pytest.fixture
def folder(tiny, tmp_path):
    return make_folder(tiny, tmp_path / "program")


@pytest.fixture(scope="module")
def undisturbed(tiny, tmp_path_factory):
    """The products of a run that nothing disturbs, and how long it takes."""
    folder = make_folder(tiny, tmp_path_factory.mktemp("undisturbed") / "program")
    began = time.monotonic()
    status, said = snakemake(folder)
    assert status == 0, said
    found = products(folder)
    assert len(found) == 4 * len(NAMES)
    return found, time.monotonic() - began


@pytest.fixture
def planned(tiny, folder):
    """The plan of the first exposure, for faults that fall between planning and running."""
    return plan.make(
        {
            "data": str(folder / "data" / f"{NAMES[0]}_uncal.fits"),
            "results": str(folder / "results"),
            "references": {"crds_path": str(tiny.crds)},
            "until": "stage1",
        }
    )


# --- killed ---


@pytest.mark.parametrize("moments", [3, pytest.param(20, marks=pytest.mark.full)])
def test_a_killed_run_is_completed_by_a_plain_one(undisturbed, folder, moments):
    """All of its processes, or only the first, whose jobs then go on as orphans; again and again on the same folder."""
    wanted, seconds = undisturbed
    choose = random.Random(moments)
    for number in range(moments):
        process = start(folder)
        time.sleep(choose.uniform(0.1, 1.0) * seconds)
        (os.killpg if number % 3 else os.kill)(process.pid, signal.SIGKILL)
        process.wait()
        found = products(folder)
        assert all(found[name] == wanted[name] for name in found)  # whatever has a product's name is one
    status, said = snakemake(folder)
    assert status == 0, said
    assert products(folder) == wanted
    assert "Nothing to be done" in snakemake(folder)[1]
    assert not list((folder / "results").rglob("*.tmp"))


def test_a_killed_job_is_told_and_the_others_are_done(undisturbed, folder):
    """As by the kernel when memory runs out."""
    wanted, _ = undisturbed
    process = start(folder)
    victim = wait_for(lambda: job_of(folder, NAMES[1]), process)
    os.kill(victim, signal.SIGKILL)
    assert process.wait() != 0
    said = (folder / "said.txt").read_text()
    assert f"failed: {NAMES[1]} detector1: it was stopped before its end" in said
    assert products(folder) == {name: content for name, content in wanted.items() if NAMES[1] not in name.name}
    status, said = snakemake(folder)
    assert status == 0, said
    assert products(folder) == wanted


def wait_for(found, process):
    while process.poll() is None:
        something = found()
        if something:
            return something
        time.sleep(0.01)
    raise AssertionError("the run ended before")


def job_of(folder, exposure):
    """The process of a stage 1 job, from the moment it has begun its log."""
    log = folder / f"results/logs/{exposure}.detector1_rate_rateints.log"
    if not log.exists():
        return None
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(log) in {os.readlink(link) for link in (process / "fd").iterdir()}:
                return int(process.name)
        except OSError:
            continue
    return None


def test_two_runs_at_once(undisturbed, folder):
    """The second one says who is at work, and leaves it alone."""
    wanted, _ = undisturbed
    first = start(folder)
    wait_for(lambda: (folder / "results/.jwcal/plan.json").exists(), first)
    second = subprocess.run(command(), cwd=folder, env=environment(), capture_output=True, text=True)
    assert second.returncode != 0 and f"another run is at work there (process {first.pid} on " in second.stdout + second.stderr
    assert first.wait() == 0, (folder / "said.txt").read_text()
    assert products(folder) == wanted


# --- files that change meanwhile ---


def run_job(planned):
    (job,) = planned.jobs
    return jobs.run(job.recipe, Path(planned.results, "log")), jobs.failure_file(job.recipe).read_text()


@pytest.mark.parametrize("cut", [0, 5000], ids=["gone", "truncated"])
def test_a_reference_that_is_lost_after_planning(planned, tmp_path, cut):
    recipe = planned.recipes[planned.jobs[0].recipe]
    path = Path(recipe.references["superbias"])
    content = path.read_bytes()
    path.unlink()
    try:
        if cut:
            path.write_bytes(content[:cut])
        status, message = run_job(planned)
    finally:
        path.unlink(missing_ok=True)
        path.write_bytes(content)
    assert status == 1 and str(path) in message and "superbias reference" in message
    assert not list(Path(planned.results).glob("stage1/*.fits"))


def test_an_uncal_that_is_replaced_while_it_is_read(planned, monkeypatch):
    source = Path(planned.jobs[0].input)
    real = running.run

    def replacing(recipe, path, *arguments):
        made = real(recipe, path, *arguments)
        content = source.read_bytes()
        source.unlink()
        source.write_bytes(content)
        return made

    monkeypatch.setattr(running, "run", replacing)
    status, message = run_job(planned)
    assert status == 1 and message == f"{source}: it was replaced while it was read. Run again when it is whole.\n"


def test_an_own_reference_that_changes_after_planning(tiny, folder, tmp_path):
    gain = tmp_path / "gain.fits"
    shutil.copy(tiny.references["gain"], gain)
    references = {"crds_path": str(tiny.crds), "overrides": {"gain": str(gain)}}
    data = str(folder / "data" / f"{NAMES[0]}_uncal.fits")
    made = plan.make({"data": data, "results": str(folder / "results"), "references": references, "until": "stage1"})
    with fits.open(gain, mode="update") as hdus:
        hdus["SCI"].data += 1
    status, message = run_job(made)
    assert status == 1 and message == f"{gain}: the gain reference changed after the run was planned. Run again.\n"


# --- places ---


@pytest.fixture
def mounted(tmp_path):
    """A small file system of its own."""
    place = tmp_path / "mounted"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", place], capture_output=True).returncode:
        pytest.skip("no right to mount a file system")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_results_that_can_not_be_written(undisturbed, tiny, mounted):
    wanted, _ = undisturbed
    folder = make_folder(tiny, mounted.parent / "program", results=str(mounted / "results"))
    subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
    status, said = snakemake(folder)
    assert status != 0 and f"{mounted}/results/.jwcal" in said and "Read-only file system" in said and "Traceback" not in said
    subprocess.run(["mount", "-o", "remount,rw", mounted], check=True)
    assert snakemake(folder)[0] == 0
    made = {path.relative_to(mounted / "results"): path.read_bytes() for path in mounted.glob("results/stage*/*.fits")}
    assert made == wanted


def test_a_full_disk(undisturbed, tiny, mounted):
    """Some of the products do not fit: those that are there are whole, and with room the rest is made."""
    wanted, _ = undisturbed
    folder = make_folder(tiny, mounted.parent / "program", results=str(mounted / "results"))
    filler = mounted / "filler"
    filler.write_bytes(bytes(64 * 2**20 - 600_000))
    status, said = snakemake(folder)
    assert status != 0 and "No space left on device" in said and "Make room or choose another results folder" in said
    made = {path.relative_to(mounted / "results"): path.read_bytes() for path in mounted.glob("results/stage*/*.fits")}
    assert all(wanted[name] == content for name, content in made.items())
    filler.unlink()
    status, said = snakemake(folder)
    assert status == 0, said
    made = {path.relative_to(mounted / "results"): path.read_bytes() for path in mounted.glob("results/stage*/*.fits")}
    assert made == wanted


def test_a_thousand_broken_files_among_good_ones(undisturbed, folder):
    wanted, _ = undisturbed
    whole = (folder / "data" / f"{NAMES[0]}_uncal.fits").read_bytes()
    for number in range(1000):
        (folder / "data" / f"jw01234001001_09101_{number:05}_nrcb1_uncal.fits").write_bytes(whole[: 40 * number])
    status, said = snakemake(folder)
    assert status != 0 and products(folder) == wanted
    assert "1000 files can't be used" in said
    refused = (folder / "results/logs/refused.log").read_text()
    assert all(f"jw01234001001_09101_{number:05}_nrcb1_uncal.fits" in refused for number in range(1000))
    for path in (folder / "data").glob("*_09101_*"):
        path.unlink()
    status, said = snakemake(folder)
    assert status == 0 and "Nothing to be done" in said
