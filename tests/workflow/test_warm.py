"""The process that forks for each job of a run: the same products; jobs fail and are killed as if they were by themselves."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from jwcal.provenance import records
from jwcal.workflow import jobs, plan, stale, warm

JOB = [sys.executable, "-m", "jwcal.jobs"]


@pytest.fixture
def process(monkeypatch):
    """The process, and its name in the environment."""
    monkeypatch.setenv(warm.VARIABLE, "")
    process = warm.start()
    yield process
    process.stdin.close()
    assert process.wait(timeout=60) == 0


@pytest.fixture
def planned(tiny, tmp_path, no_crds):
    made = plan.make({"data": str(tiny.image), "results": str(tmp_path / "results"), "references": {"crds_path": str(tiny.crds)}})
    for job in made.jobs:
        Path(next(iter(job.outputs.values()))).parent.mkdir(parents=True, exist_ok=True)
    return made.jobs


def run(job, log, **options):
    return subprocess.run([*JOB, job.recipe, "--log", str(log)], capture_output=True, text=True, **options)


def facts(job):
    return records.read(next(iter(job.outputs.values())))["run"]


def test_the_same_products(planned, tmp_path, process):
    begun = os.getpid()
    for job in planned:
        assert run(job, tmp_path / "log").returncode == 0
    warm_ones = [Path(path).read_bytes() for job in planned for path in job.outputs.values()]
    for job in planned:
        assert run(job, tmp_path / "log", env={**os.environ, warm.VARIABLE: ""}).returncode == 0
    assert warm_ones == [Path(path).read_bytes() for job in planned for path in job.outputs.values()]
    assert begun == os.getpid()


def test_where_nobody_listens_a_job_runs_by_itself(planned, tmp_path, process):
    deaf = warm.socket.socket(warm.socket.AF_UNIX)
    deaf.bind(str(tmp_path / "deaf"))
    deaf.listen()
    threading.Timer(1.0, lambda: deaf.accept()[0].close()).start()
    for where in (f"{tmp_path}/none:{sys.prefix}", os.environ[warm.VARIABLE] + "/another", f"{tmp_path}/deaf:{sys.prefix}"):
        done = run(planned[0], tmp_path / "log", env={**os.environ, warm.VARIABLE: where})
        assert done.returncode == 0, done.stderr


def test_messages_status_and_threads_are_those_of_the_job(planned, tmp_path, process):
    job = planned[0]
    done = subprocess.run([*JOB, os.path.relpath(job.recipe, tmp_path), "--log", "log", "--threads", "1"], cwd=tmp_path)
    assert done.returncode == 0 and (tmp_path / "log").exists()
    assert facts(job)["threads"] == 1
    recipe = json.loads(Path(job.recipe).read_text())
    recipe["references"]["superbias"] = str(tmp_path / "superbias.fits")
    stale.write(job.recipe, recipe)
    done = run(job, tmp_path / "log")
    assert done.returncode == 1 and done.stdout == "" and done.stderr.startswith("ERROR: ") and "superbias" in done.stderr
    done = subprocess.run([*JOB, "--log"], capture_output=True, text=True)
    assert done.returncode == 2 and "usage: python -m jwcal.jobs" in done.stderr


SLOW = """
import sys, time
from jwcal.workflow import jobs
jobs._make = lambda plain, scratch: time.sleep(600)
from jwcal.workflow import warm_process
import socket
warm_process.serve(socket.socket(fileno=int(sys.argv[1])), jobs.by_itself)
"""


@pytest.mark.parametrize("victim", ["the job", "its fork"])
def test_killed(planned, tmp_path, monkeypatch, victim):
    """Whichever of the two is killed, the other ends with it."""
    listener = warm.socket.socket(warm.socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket"))
    listener.listen()
    server = subprocess.Popen([sys.executable, "-c", SLOW, str(listener.fileno())], stdin=subprocess.PIPE, pass_fds=[listener.fileno()])
    environment = {**os.environ, warm.VARIABLE: f"{tmp_path}/socket:{sys.prefix}"}
    asks = subprocess.Popen([*JOB, planned[0].recipe, "--log", str(tmp_path / "log")], env=environment)
    failure = jobs.failure_file(planned[0].recipe)
    wait_for(lambda: failure.exists() and forks_of(server.pid))
    (fork,) = forks_of(server.pid)
    os.kill(asks.pid if victim == "the job" else fork, signal.SIGKILL)
    assert asks.wait(timeout=20) != 0
    wait_for(lambda: not forks_of(server.pid))
    assert failure.read_text().strip() == jobs.STOPPED
    server.stdin.close()
    assert server.wait(timeout=20) == 0


def forks_of(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in children.read_text().split()]


def wait_for(happened):
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


TELLS = """
import json, sys
from jwcal.workflow import jobs, warm_process
jobs.by_itself(sys.argv[1:])
print(json.dumps(warm_process._loaded()))
"""
LOADS = """
import json, sys
from jwcal.workflow import warm_process
needed = json.loads(sys.argv[1])
warm_process._load(needed)
print(json.dumps({"modules": [name for name in needed["modules"] if name not in sys.modules], "kernels": warm_process._loaded()}))
"""


def test_it_loads_what_a_job_needed(planned, tmp_path):
    """So that the next one of its kind need not: told by a job's process, and loaded by another."""
    done = subprocess.run([sys.executable, "-c", TELLS, planned[0].recipe, "--log", "log"], cwd=tmp_path, capture_output=True, text=True)
    kernels = json.loads(done.stdout)
    assert {"detector/linearity", "ramps/ols_ramp"} <= kernels.keys()
    needed = {"modules": ["jwcal.steps.jump", "gwcs", "no.such.module"], "kernels": kernels}
    done = subprocess.run([sys.executable, "-c", LOADS, json.dumps(needed)], capture_output=True, text=True)
    loaded = json.loads(done.stdout)
    assert loaded["modules"] == ["no.such.module"]
    assert loaded["kernels"] == kernels


def test_where_it_can_not_be_started_there_is_none(monkeypatch, tmp_path):
    monkeypatch.delenv(warm.VARIABLE, raising=False)
    for folder in (tmp_path / "none", tmp_path / ("long" * 30)):
        monkeypatch.setattr(warm.tempfile, "tempdir", str(folder))
        assert warm.start() is None and warm.VARIABLE not in os.environ
        folder.mkdir(exist_ok=True)
    assert warm.start() is None and not list(folder.iterdir())
