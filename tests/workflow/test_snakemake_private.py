"""The private names of Snakemake that the workflow uses still mean what it takes them for: each is called in a small run."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PRIVATE = ROOT / "rules/snakemake_private.smk"
SNAKEFILE = f"""
import atexit, json, threading
include: "{PRIVATE}"

ASKED = asks_for_dry_run()

def tell(**facts):
    with open("said.json", "a") as file:
        file.write(json.dumps({{"main": is_main_process(), "lint": is_lint()}} | facts) + "\\n")

def source(wildcards):
    keep_going()
    return "there.txt"

rule all:
    input: "a.txt", "b.txt", "late.txt"
rule made:
    input: source
    output: "{{name}}.txt"
    wildcard_constraints: name="a|there|late"
    resources: tmpdir="."
    shell: "test {{wildcards.name}} != late && cp {{input}} {{output}}"
rule after:
    input: "there.txt"
    output: "b.txt"
    shell: "cp {{input}} {{output}}"

onstart:
    other = threading.Timer(600, print)
    other.daemon = True
    other.start()
    timer = threading.Timer(600, lambda: None)
    timer.function.__module__ = "snakemake.scheduling.job_scheduler"
    timer.start()
    end_timers()
    timer.join(10)
    tell(screen=screen_handler() is not None, ended=not timer.is_alive(), left=other.is_alive(), cores=cores(), here=runs_here())

def at_exit():
    if not does_something():
        return tell(does=False)
    jobs = [[rule, dict(wildcards).get("name"), must] for rule, wildcards, must in jobs_of_the_run()]
    tell(does=True, dry=is_dry_run(), asked=ASKED, everything=looks_at_everything(), jobs=sorted(jobs))

if is_main_process():
    atexit.register(at_exit)
"""


@pytest.fixture
def run(tmp_path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    (tmp_path / "there.txt").touch()

    def run(*arguments):
        said = tmp_path / "said.json"
        said.unlink(missing_ok=True)
        command = [Path(sys.executable).with_name("snakemake"), "--cores", "2", "--rerun-triggers", "mtime", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        return done, [json.loads(line) for line in said.read_text().splitlines()]

    return run


JOBS = [["after", None, True], ["all", None, True], ["made", "a", True], ["made", "late", True]]


def test_a_dry_run_and_options(run):
    (facts,) = run("--dry-run")[1]
    assert facts == {"main": True, "lint": False, "does": True, "dry": True, "asked": True, "everything": False, "jobs": JOBS}
    for option in (["--forceall"], ["--forcerun", "after"], ["--batch", "all=1/1"], ["--rerun-triggers", "mtime", "params"]):
        assert run("--dry-run", *option)[1][-1]["everything"], option


def test_a_run(run, tmp_path):
    done, (start, end) = run()
    assert (start["ended"], start["left"], start["cores"], start["here"], start["screen"]) == (True, True, 2, True, True), done.stderr
    assert (end["does"], end["dry"], end["asked"]) == (True, False, False)
    assert done.returncode == 1 and (tmp_path / "a.txt").exists() and (tmp_path / "b.txt").exists()  # though late.txt failed: keep_going


def test_snakemake_s_own_messages(run):
    done, (start, _) = run("--verbose")
    assert not start["screen"] and "Finished jobid" in done.stderr


def test_what_only_looks(run):
    assert run("--lint")[1][0]["lint"]
    assert not run("--dag", "dot")[1][-1]["does"]


def test_the_version_that_is_tested_is_the_least():
    pinned = re.search(r"^snakemake==(\d+\.\d+)", (ROOT / "envs/requirements.txt").read_text(), re.M).group(1)
    assert f'min_version("{pinned}")' in (ROOT / "Snakefile").read_text()


def test_private_names_stand_in_one_file():
    """Beside the public `workflow.basedir`."""
    for file in (ROOT / "Snakefile", *ROOT.glob("rules/*.smk")):
        if file != PRIVATE:
            assert set(re.findall(r"\bworkflow\.\w+", file.read_text())) <= {"workflow.basedir"}, file
