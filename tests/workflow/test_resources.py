"""Memory that jobs ask for, against what they take: never less, with what Snakemake takes beside them on a cluster, and not much more."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from jwcal.simulate.modes import MODES
from jwcal.workflow import plan, resources

# Each job is a process of its own, which tells its peak: a child's usage as its parent sees it is never below the parent's own.
JOB = """
import sys
from jwcal.workflow import jobs
status = jobs.run(*sys.argv[1:])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
sys.exit(status)
"""
NRC = {"exp_type": "NRC_IMAGE", "detector": "NRCA1", "ngroups": 10, "nints": 1}
SUB640 = {**NRC, "subarray": "SUB640"}
FULL = {**NRC, "subarray": "FULL"}
MIRI = {"exp_type": "MIR_IMAGE", "detector": "MIRIMAGE", "subarray": "FULL"}
LIKELY, CLEAN = {"ramp_fit": {"algorithm": "LIKELY"}}, {"clean_flicker_noise": {"skip": False}}
full = pytest.mark.full
CASES = {  # exposure, steps
    "subarray": (SUB640, {}),
    "likely": (SUB640, LIKELY),
    "flicker noise": (SUB640, CLEAN),
    "dark": ({**SUB640, "exp_type": "NRC_DARK", "nints": 2}, {}),
    "integrations": pytest.param({**SUB640, "nints": 20}, {}, marks=full),
    "walked": pytest.param({**SUB640, "nints": 60}, {}, marks=full),
    "full frame": pytest.param(FULL, {}, marks=full),
    "full frame, 3 groups": pytest.param({**FULL, "ngroups": 3}, {}, marks=full),
    "full frame, integrations": pytest.param({**FULL, "ngroups": 5, "nints": 4}, {}, marks=full),
    "full frame, walked": pytest.param({**FULL, "ngroups": 9, "nints": 6}, {}, marks=full),
    "full frame, likely": pytest.param(FULL, LIKELY, marks=full),
    "full frame, flicker noise": pytest.param(FULL, CLEAN, marks=full),
    "IRS2": pytest.param({"exp_type": "NRS_IFU", "detector": "NRS1", "readpatt": "NRSIRS2RAPID", "ngroups": 5}, {}, marks=full),
    "MIRI": pytest.param({**MIRI, "ngroups": 20, "nints": 1}, {}, marks=full),
    "MIRI, integrations": pytest.param({**MIRI, "ngroups": 40, "nints": 4}, {}, marks=full),
    "SOSS": pytest.param({"exp_type": "NIS_SOSS", "detector": "NIS", "subarray": "SUBSTRIP256", "ngroups": 8, "nints": 60}, {}, marks=full),
}


def simulate(folder, options):
    """One exposure, its references, and a CRDS cache of them."""
    from jwcal.simulate import crds_cache, exposures, irs2, references

    interleaved = options.get("readpatt", "").startswith("NRSIRS2")
    take = irs2.simulate_irs2 if interleaved else exposures.simulate_exposure
    made = take(folder / "data", seed=1, **options)
    kept = references.write_references(folder / "references", made.detector, setup=made.setup)
    if interleaved:
        kept = irs2.write_references(kept)
    crds_cache.build(folder / "crds", list(kept.values()))


def check(folder, data, crds, steps):
    """Run the jobs of the data one after the other; returns what is wrong."""
    return check_jobs(folder, {"data": str(data), "steps": steps, "references": {"crds_path": str(crds)}})


def check_jobs(folder, settings):
    """Run the jobs of a configuration one after the other; returns what is wrong."""
    made = plan.make({**settings, "results": str(folder / "results")})
    assert made.jobs and not made.problems
    wrong = []
    for job in sorted(made.jobs, key=lambda job: job.stage):
        for path in job.outputs.values():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-c", JOB, job.recipe, str(folder / "log")]
        for _ in range(2):  # the first run compiles the kernels that no one has called before
            done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "NUMBA_NUM_THREADS": "1"})
        assert done.returncode == 0, done.stderr
        peak = int(done.stdout.split()[-1]) / 1024
        print(f"{job.pipeline}: asks for {job.mem_mb} MB, takes {peak:.0f} MB")
        if not peak + resources.SNAKEMAKE_MB <= job.mem_mb <= 2 * peak + 300:
            wrong.append(f"{job.pipeline} asks for {job.mem_mb} MB and takes {peak:.0f} MB, and Snakemake {resources.SNAKEMAKE_MB} MB")
    return wrong


def test_smallest(tiny, tmp_path, no_crds):
    """An image and a time series of 64 x 64 pixels: all is start-up."""
    assert check(tmp_path, tiny.image, tiny.crds, {}) == []
    assert check(tmp_path, tiny.series, tiny.crds, {}) == []


@pytest.mark.parametrize(("options", "steps"), CASES.values(), ids=CASES)
def test_request(options, steps, tmp_path, no_crds):
    child = multiprocessing.get_context("spawn").Process(target=simulate, args=(tmp_path, options))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert check(tmp_path, tmp_path / "data", tmp_path / "crds", steps) == []


def members(folder, number=200):
    """Calibrated dithers of one small image, for a mosaic."""
    from jwcal.simulate import calibrated, scene
    from jwcal.simulate.exposures import TARGET

    dithers = [(0.4 * (n % 20) - 4, 0.4 * (n // 20) - 2) for n in range(number)]
    field = scene.make_scene(*TARGET, radius=9.0, stars=400, galaxies=0, faintest=5e-7, separation=0.3)
    made = calibrated.simulate_mosaic(detectors=["NRCB1"], subarray="SUB160P", dithers=dithers, errors=0.02, field=field)
    calibrated.write_program(folder, made)


@full
def test_a_mosaic_of_two_hundred(tmp_path):
    child = multiprocessing.get_context("spawn").Process(target=members, args=(tmp_path,))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert check(tmp_path, tmp_path / "data", tmp_path / "crds", {}) == []


LARGE = {  # mode: options that make it as large as it is in the archive, or nearly so
    "mir_lrs-slitless_series": {"nints": 400, "each": 50, "ngroups": 3},
}


@full
@pytest.mark.parametrize("name", LARGE)
def test_large_spectra(name, tmp_path):
    child = multiprocessing.get_context("spawn").Process(target=MODES[name].make, args=(tmp_path,), kwargs={"noise": False, **LARGE[name]})
    child.start()
    child.join()
    assert child.exitcode == 0
    assert check_jobs(tmp_path, yaml.safe_load((tmp_path / "config.yaml").read_text())) == []
