"""The workflow on a cluster: a real Slurm of one node, which is this machine (tests marked `slurm`), and what can be told without one."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from rows import SHORT

from conftest import PROGRAM
from jwcal.simulate.program import make_program
from jwcal.simulate.tour import make_tour
from jwcal.workflow import plan
from slurm import cluster as slurm

ROOT = Path(__file__).resolve().parents[2]
PROFILE = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
# No accounting here, and nobody wants to wait: what a cluster's user may set too.
QUICK = ("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "5", "--latency-wait", "10")
RULES = ("detector1_rate_rateints", "image2_cal_i2d")  # of an image


# --- without Slurm ---


def test_profile_has_what_the_default_one_has():
    """Snakemake reads one workflow profile, not two."""
    default = yaml.safe_load((ROOT / "profiles/default/config.yaml").read_text())
    assert default.items() <= PROFILE.items()


def test_every_rule_of_an_exposure_is_in_the_group(tiny, tmp_path):
    """Stages 1 and 2; what takes many exposures waits for all of them, in a job of its own."""
    for path in ROOT.iterdir():
        if path.is_dir() and not path.name.startswith("."):
            (tmp_path / path.name).symlink_to(path)
    told = "\natexit.register(lambda: print('GROUPS', json.dumps({rule.name: rule.group for rule in workflow.rules})))\n"
    (tmp_path / "Snakefile").write_text("import json\n" + (ROOT / "Snakefile").read_text() + told)
    call = command(
        tmp_path, "results", "-n", "--cores", "1", "--jobs", "2", until="stage3", data=str(tiny.image.parent), crds_path=str(tiny.crds)
    )
    call[call.index("-s") + 1] = tmp_path / "Snakefile"
    done = subprocess.run(call, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    groups = json.loads(re.search("^GROUPS (.*)", done.stdout, re.M)[1])
    alone = {"all", "everything", "refuse"} | {name for name in groups if re.match("image3_|tso3_", name)}
    assert {"detector1_rate_rateints", "image2_cal_i2d", "tso1_rate_rateints", "tso_image2_calints"} < groups.keys() and len(alone) == 5
    assert groups == {name: None if name in alone else "exposures" for name in groups}
    assert PROFILE["group-components"] == ["exposures=1"]


def test_a_job_knows_the_rules_of_the_run(tiny, tmp_path, no_crds):
    """Snakemake starts again on the node, and reads the plan that the head node left: its rules have the same names."""
    settings = {"data": str(tiny.image.parent), "results": str(tmp_path), "references": {"crds_path": str(tiny.crds)}}
    made = plan.make(settings)
    rules = {job.rule for job in made.jobs}
    assert any(job.stage == "stage3" for job in made.jobs) and rules == {job.rule for job in plan.load(settings).jobs}


READS_ONLY = """
import os, sys
cache, recipe, log = sys.argv[1:]
WRITES = {"os.mkdir", "os.remove", "os.rename", "os.link", "os.symlink", "os.truncate", "os.utime", "os.chmod", "shutil.copyfile"}

def forbid(event, values):
    below = [v for v in values[:2] if isinstance(v, (str, os.PathLike)) and os.path.abspath(v).startswith(cache)]
    opened = event == "open" and (set(values[1] or "") & set("wax+") or values[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    if below and (opened or event in WRITES):
        raise PermissionError(f"{event} {values}")

sys.addaudithook(forbid)
try:
    open(os.path.join(cache, "probe"), "w")
except PermissionError:
    from jwcal.workflow import jobs
    status = jobs.run(recipe, log)
    assert "crds" not in sys.modules, "a job asks CRDS"
    sys.exit(status)
sys.exit("the cache can be written")
"""


def test_jobs_only_read_the_cache(tiny, tmp_path, no_crds):
    """What CRDS chooses is fetched when the run is planned, on the head node; jobs find it named in their recipes."""
    made = plan.make({"data": str(tiny.image), "results": str(tmp_path), "references": {"crds_path": str(tiny.crds)}})
    for job in made.jobs:
        for path in job.outputs.values():
            Path(path).parent.mkdir(exist_ok=True)
        arguments = [str(tiny.crds), job.recipe, str(tmp_path / "log")]
        done = subprocess.run([sys.executable, "-c", READS_ONLY, *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr + (tmp_path / "log").read_text()
        assert all(map(os.path.exists, job.outputs.values()))


# --- with Slurm ---


class Run(NamedTuple):
    """What a run left: its exit status, all that it said, its products (path below the results -> bytes), and its jobs of Slurm."""

    status: int
    text: str
    products: dict
    jobs: list  # of (state, memory)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slurm")
    try:
        slurm.start(folder)
    except slurm.Unavailable as why:
        pytest.skip(str(why))
    yield folder
    slurm.stop(folder)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """Two dithers of an image and of a time series."""
    folder = tmp_path_factory.mktemp("program")
    make_program(folder, {**PROGRAM, "dithers": [[0.0, 0.0], [0.4, 0.3]]})
    return folder


@pytest.fixture(scope="module")
def local(program):
    """The products that a run on this machine makes."""
    run = snakemake(program, "local", "--cores", "2", until="stage3")
    assert run.status == 0, run.text
    assert len(run.products) == 22
    return run.products


def command(folder, results, *arguments, data="data", until="stage2", settings=None, **references):
    """A call of Snakemake, with a configuration of its own."""
    config = settings or {"data": data, "until": until, "references": {"crds_path": "crds", **references}}
    config = {**config, "results": results}
    (folder / f"{results}.yaml").write_text(yaml.safe_dump(config))
    return [Path(sys.executable).parent / "snakemake", "-s", ROOT / "Snakefile", "--configfile", f"{results}.yaml", *map(str, arguments)]


ON_CLUSTER = ("--workflow-profile", ROOT / "profiles/slurm", *QUICK)
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("CRDS_") and name != "PYTHONPATH"}


class Begun(NamedTuple):
    """A run at work."""

    process: subprocess.Popen
    results: Path
    said: Path
    cluster: Path | None
    known: set  # numbers of Slurm's jobs before


def begin(folder, results, *arguments, cluster=None, **config):
    """Start the workflow in a folder."""
    known = {number for number, *_ in listed(cluster)}
    said = folder / f"{results}.out"
    with open(said, "w") as out:
        call = command(folder, results, *arguments, **config)
        process = subprocess.Popen(call, cwd=folder, env=ENVIRONMENT, stdout=out, stderr=subprocess.STDOUT)
    return Begun(process, folder / results, said, cluster, known)


def end(begun):
    """What a run left, when it has ended."""
    try:
        begun.process.wait(timeout=600)
    finally:
        begun.process.kill()
    made = [path for path in begun.results.glob("stage*/*") if path.suffix in (".fits", ".ecsv")]
    products = {str(path.relative_to(begun.results)): path.read_bytes() for path in made}
    jobs = [(state, memory) for number, name, state, memory in listed(begun.cluster) if number not in begun.known]
    return Run(begun.process.returncode, begun.said.read_text(), products, jobs)


def snakemake(*arguments, **options):
    """Run the workflow in a folder."""
    return end(begin(*arguments, **options))


def listed(cluster):
    """Slurm's jobs, oldest first: number, name of the run, state, memory."""
    return [line.split() for line in slurm.squeue(cluster, "%A %j %T %m", "--states=all", "--sort=i")] if cluster else []


def of_exposure(products, number=""):
    """The products of stages 1 and 2, of one exposure or of all."""
    alone = {name: content for name, content in products.items() if not name.startswith("stage3/") and "_crf" not in name}
    return {name: content for name, content in alone.items() if f"_{number}" in name}


def snapshot(folder):
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


@pytest.mark.slurm
def test_products_are_those_of_a_local_run(cluster, program, local, tmp_path):
    """Byte for byte, with one job an exposure, and one an association; the cache is as it was; a second run has nothing to do."""
    before = snapshot(program / "crds")
    scratch = tmp_path / "scratch"
    arguments = (*ON_CLUSTER, "--default-resources", f"tmpdir='{scratch}'")
    run = snakemake(program, "cluster", *arguments, cluster=cluster, until="stage3")
    assert run.status == 0, run.text
    assert run.products == local
    assert [state for state, _ in run.jobs] == ["COMPLETED"] * 6
    assert scratch.is_dir(), "the jobs did not get the scratch folder"
    assert snapshot(program / "crds") == before
    again = snakemake(program, "cluster", *arguments, cluster=cluster, until="stage3")
    assert again.status == 0 and "Nothing to be done" in again.text and not again.jobs, again.text


@pytest.mark.slurm
def test_all_pipelines(cluster, tmp_path):
    """A mode of each: the jobs do with the memory that they ask for, and make the products of a local run byte for byte."""
    settings = yaml.safe_load(make_tour(tmp_path, only=SHORT).config.read_text())
    here = snakemake(tmp_path, "here", "--cores", "2", settings=settings)
    assert here.status == 0, here.text
    there = snakemake(tmp_path, "there", *ON_CLUSTER, cluster=cluster, settings=settings)
    assert there.status == 0, there.text
    assert {state for state, _ in there.jobs} == {"COMPLETED"}
    assert there.products == here.products


@pytest.fixture(scope="module")
def interrupted(cluster, program):
    """A run whose node went down in mid-job and came back. Slurm holds its jobs for two minutes then, in which other tests run."""
    begun = begin(program, "crash", *ON_CLUSTER, "--retries", "0", cluster=cluster)
    while not any((begun.results / "logs").glob("*.log")) and begun.process.poll() is None:
        time.sleep(0.1)
    slurm.crash(cluster)
    slurm.wait_for_node_down(cluster)
    slurm.start(cluster)
    yield begun
    begun.process.kill()


@pytest.mark.slurm
@pytest.mark.usefixtures("interrupted")
def test_job_over_its_memory_is_tried_with_more(cluster, program, local):
    little = [f"{rule}:mem_mb=attempt * attempt * 180" for rule in RULES]
    data = str(next((program / "data").glob("*_02101_00001_*")))
    run = snakemake(program, "little", *ON_CLUSTER, "--set-resources", *little, cluster=cluster, data=data)
    assert run.status == 0, run.text
    assert [memory for _, memory in run.jobs] == ["180M", "720M"]
    assert run.jobs[0][0] in ("FAILED", "OUT_OF_MEMORY") and run.jobs[1][0] == "COMPLETED"
    assert run.products == of_exposure(local, "02101_00001")


@pytest.mark.slurm
@pytest.mark.usefixtures("interrupted")
def test_exposures_that_share_a_job(cluster, program, local):
    """One that fails takes none of the others with it, and what it made before stays."""
    broken = program / "broken_flat.fits"
    broken.write_bytes(b"no flat")
    overrides = [{"match": {"EXP_TYPE": "NRC_IMAGE", "EXPOSURE": "1"}, "files": {"flat": broken.name}}]
    shared = ("--group-components", "exposures=4", "--retries", "0")
    run = snakemake(program, "shared", *ON_CLUSTER, *shared, cluster=cluster, overrides=overrides)
    assert run.status == 1
    assert len(run.jobs) == 1
    assert "broken_flat.fits: the flat reference can't be read" in run.text
    lost = {name for name in of_exposure(local) if name.startswith("stage2/") and "_02101_00001_" in name}
    assert lost and run.products == {name: content for name, content in of_exposure(local).items() if name not in lost}


@pytest.mark.slurm
def test_node_that_goes_down_costs_nothing_but_time(cluster, local, interrupted):
    """The same jobs start again when the node is back, none of them counted as a retry."""
    run = end(interrupted)
    assert run.status == 0, run.text
    assert run.products == of_exposure(local)
    assert "Requeuing" in (cluster / "slurmctld.log").read_text(), "no job was at work"
    (name,) = re.findall(r"SLURM run ID: (\S+)", run.text)
    mine = [state for _, run_name, state, _ in listed(cluster) if run_name == name]
    assert mine == ["COMPLETED"] * 4
