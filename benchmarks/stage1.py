"""Stage 1 of ours and of the peer on the same simulated exposure and references: per step and in total, as ratios.

    python benchmarks/stage1.py [nrc | soss | miri | irs2 | events | likely | dark | guider | workflow]
        [--repeat 3] [--threads 1 2] [--cold] [--json FILE]

Each run is a process of its own, start-up and the choice of references included; the table shows the fastest of the runs. Both sides
do the same steps (ipc, which operations leave out, is off). The kernels are compiled before; --cold measures a run that compiles them too.
"Warm" is what a process takes that has done it once before: a job of a workflow starts from one that has everything imported and loaded.
"At once" are as many warm processes as threads: what this machine's processors give beside each other, and so the most that threads can.
The floor is a process that does nothing but read the files that go in and write as many bytes as come out.
`workflow` compares Snakemake on one core, with a program of four NIRCam frames, with four runs of the peer's process.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OURS, PEERS = ROOT / ".venv/bin/python", ROOT / ".venv-peer/bin/python"

NIRCAM = {"exp_type": "NRC_IMAGE", "detector": "NRCA1", "subarray": "FULL", "ngroups": 10, "nints": 1}
CASES = {
    "nrc": {"exposure": NIRCAM},
    "soss": {"exposure": {"exp_type": "NIS_SOSS", "detector": "NIS", "subarray": "SUBSTRIP256", "ngroups": 8, "nints": 60}},
    "miri": {"exposure": {"exp_type": "MIR_IMAGE", "detector": "MIRIMAGE", "subarray": "FULL", "ngroups": 40, "nints": 4}},
    "irs2": {"exposure": {"exp_type": "NRS_IFU", "detector": "NRS1", "readpatt": "NRSIRS2RAPID", "ngroups": 20, "nints": 1}},
    "events": {"exposure": NIRCAM, "steps": {"clean_flicker_noise": {"skip": False}, "jump": {"expand_large_events": True}}},
    "likely": {"exposure": NIRCAM, "steps": {"ramp_fit": {"algorithm": "LIKELY"}}},
    "dark": {"exposure": NIRCAM | {"exp_type": "NRC_DARK"}, "pipeline": "dark"},
    "guider": {"exposure": {"exp_type": "FGS_FINEGUIDE"}, "pipeline": "guider"},
}
PIPELINES = {"detector1": "Detector1Pipeline", "dark": "DarkPipeline", "guider": "GuiderPipeline"}
OPERATIONS = {"ipc": {"skip": True}}  # both sides do without it
WARM = 4  # runs in a warm process: the first one is left out, of the others the fastest counts
PROGRAM = {
    "program": 1234,
    "target": [53.1625, -27.7914],
    "detectors": ["NRCA1"],
    "exposures": [{"exp_type": "NRC_IMAGE", "filter": "F200W", "subarray": "FULL", "ngroups": 10}],
    "dithers": [[0.0, 0.0], [2.9, 0.7], [-2.7, 1.6], [0.4, -1.9]],
}

# Both sides begin with this: it adds up the time of each step in `seconds`.
TIME_OURS = """
import json, sys, time
from jwcal.machine import process
process.own()  # as a job does
import jwcal
from jwcal.run import loop, walk
seconds, apply = {}, loop.apply
def timed(step, *arguments):
    began = time.perf_counter()
    try:
        return apply(step, *arguments)
    finally:
        seconds[step.name] = seconds.get(step.name, 0.0) + time.perf_counter() - began
loop.apply = walk.apply = timed
"""
TIME_PEERS = """
import json, os, sys, time
os.environ.update(CRDS_PATH=sys.argv[3], CRDS_SERVER_URL="https://crds-serverless-mode.stsci.edu", CRDS_MODE="local")
import jwst.pipeline
from stpipe import Step
seconds, run = {}, Step.run
def timed(self, *arguments):
    began = time.perf_counter()
    try:
        return run(self, *arguments)
    finally:
        seconds[self.name] = seconds.get(self.name, 0.0) + time.perf_counter() - began
Step.run = timed
"""
PRINT_PEERS = """
print(json.dumps({"steps": {name: value for name, value in seconds.items() if not name.endswith("Pipeline")}}))
"""

# What the processes run: arguments are the raw file, the folder for the products, the CRDS cache and the steps' parameters; for ours
# also how many times; and the pipeline.
RUN_OURS = (
    TIME_OURS
    + """
made, again = None, []
for turn in range(int(sys.argv[5])):
    seconds.clear()
    made, began, out = None, time.perf_counter(), f"{sys.argv[2]}/{turn}"
    made = jwcal.run_pipeline(sys.argv[6], sys.argv[1], json.loads(sys.argv[4]), out=out, every=True, crds_path=sys.argv[3])
    again += [{"wall": time.perf_counter() - began, "cpu": None, "steps": dict(seconds)}] if turn else []
first = next(iter(made.values()))
fastest = min(again, key=lambda run: run["wall"], default={"steps": seconds})
print(json.dumps({"references": list(first.recipe.references.values()), **fastest}))
"""
)
RUN_PEER = (
    TIME_PEERS
    + """
pipeline = getattr(jwst.pipeline, sys.argv[5])
steps = {step: values for step, values in json.loads(sys.argv[4]).items() if step in pipeline.step_defs}
pipeline.call(sys.argv[1], save_results=True, output_dir=sys.argv[2], steps=steps)
"""
    + PRINT_PEERS
)
RUN_FLOOR = """
import os, sys
buffer = bytearray(2**20)
for path in sys.argv[2:-1]:
    with open(path, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
with open(sys.argv[1], "wb", buffering=0) as file:
    for _ in range(int(sys.argv[-1]) // len(buffer)):
        file.write(buffer)
os.remove(sys.argv[1])
"""


def measure(command, environment=None, folder=None):
    """Run a command in a process of its own.

    Returns
    -------
    dict
        wall and cpu in s, peak in MB (the largest of its processes), and what the last line that it printed holds.
    """
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        settings = {**os.environ, **(environment or {})}
        process = subprocess.Popen(list(map(str, command)), stdout=out, stderr=err, env=settings, cwd=folder)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        if process.returncode:
            sys.exit(err.read()[-3000:])
        printed = (out.read().strip().splitlines() or [""])[-1]
    found = {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "peak": usage.ru_maxrss / 1024}
    return found | (json.loads(printed) if printed.startswith("{") else {})


def fastest(runs):
    """The run of least wall time, with the most memory that any took."""
    runs = list(runs)
    return {**min(runs, key=lambda run: run["wall"]), "peak": max(run["peak"] for run in runs)}


def limited(threads=1):
    """Settings for this many threads."""
    return dict.fromkeys(("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))


# --- one exposure ----------------------------------------------------------------------------------------------------


def run_case(options):
    """Measure a case; returns name of the run -> what was measured."""
    case = CASES[options.case]
    changed = {k: v for k, v in vars(options).items() if k in ("ngroups", "nints") and v}
    uncal, cache = exposure_and_cache(options.work, case["exposure"] | changed)
    pipeline = case.get("pipeline", "detector1")
    steps = json.dumps(case.get("steps", {}) if pipeline == "guider" else OPERATIONS | case.get("steps", {}))
    out = options.work / "out" / options.case

    def ours(settings, times=1, folder="ours"):
        empty(out / folder, times)  # to replace a file takes longer than to make one
        return measure([OURS, "-c", RUN_OURS, uncal, out / folder, cache, steps, times, pipeline], settings)

    def at_once(number):
        """Warm processes with one thread each, all at the same time: no number of threads can be faster than they are together."""
        with ThreadPoolExecutor(number) as pool:
            runs = list(pool.map(lambda n: ours(limited(), WARM, f"ours{n}"), range(number)))
        return {**max(runs, key=lambda run: run["wall"]), "processes": number}

    found = {}
    if not options.no_peer:
        empty(out / "peer")
        found["peer"] = measure([PEERS, "-c", RUN_PEER, uncal, out / "peer", cache, steps, PIPELINES[pipeline]], limited())
    if options.cold:
        with tempfile.TemporaryDirectory() as folder:
            found["ours, cold"] = ours(limited() | {"NUMBA_CACHE_DIR": folder})
    first = ours(limited(max(options.threads)))  # compiles what is not compiled yet
    for kind, times in ("ours", 1), ("warm", WARM):
        for threads in options.threads:
            name = f"{kind}, {threads} thread{'s' * (threads > 1)}"
            found[name] = fastest(ours(limited(threads), times) for _ in range(options.repeat))
    if max(options.threads) > 1:
        found[f"warm, {max(options.threads)} at once"] = fastest(at_once(max(options.threads)) for _ in range(options.repeat))
    files = [uncal, *(path for path in first["references"] if path != "N/A")]
    products = {path.name: path.stat().st_size for path in (out / "ours/0").glob("*.fits")}
    floor = [OURS, "-c", RUN_FLOOR, out / "floor", *files, sum(products.values())]
    found["floor"] = fastest(measure(floor) for _ in range(options.repeat))
    print(f"{uncal.name}: {case['exposure'] | changed}")
    shutil.rmtree(out)  # gigabytes
    print("products, MB: " + ", ".join(f"{name} {size / 2**20:.0f}" for name, size in products.items()))
    return found


def empty(folder, parts=0):
    """An empty folder, and as many empty ones in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for part in range(parts):
        (folder / str(part)).mkdir()


def exposure_and_cache(folder, exposure):
    """An exposure and a CRDS cache with its references, made once for each case."""
    folder = folder / "_".join(str(value) for value in exposure.values())
    if not (folder / "done").exists():
        # in a process of its own: a child's peak memory is never below what its parent held when it was born
        child = multiprocessing.get_context("spawn").Process(target=simulate, args=(folder, exposure))
        child.start()
        child.join()
        if child.exitcode:
            sys.exit("the exposure could not be simulated")
    return next((folder / "data").glob("*_uncal.fits")), folder / "crds"


def simulate(folder, exposure):
    """Simulate one exposure, its references, and a CRDS cache of them."""
    from jwcal.simulate import crds_cache, exposures, irs2, references

    is_irs2 = exposure.get("readpatt", "").startswith("NRSIRS2")
    made = (irs2.simulate_irs2 if is_irs2 else exposures.simulate_exposure)(folder / "data", seed=1, **exposure)
    types = {"types": ("mask", "saturation", "superbias", "linearity", "dark", "gain", "readnoise")} if is_irs2 else {}
    kept = references.write_references(folder / "references", made.detector, setup=made.setup, **types)
    if is_irs2:
        kept = irs2.write_references(kept, exposure["detector"])
    crds_cache.build(folder / "crds", list(kept.values()))
    (folder / "done").touch()


# --- a program through the workflow ----------------------------------------------------------------------------------


def run_workflow(options):
    """Measure four frames through Snakemake on one core, and through four processes of the peer."""
    folder = options.work / "program"
    child = multiprocessing.get_context("spawn").Process(target=simulate_program, args=(folder,))
    child.start()
    child.join()
    if child.exitcode:
        sys.exit("the program could not be simulated")
    uncals, cache, results = sorted((folder / "data").glob("*_uncal.fits")), folder / "crds", folder / "results"
    settings = folder / "settings.yaml"
    settings.write_text(
        json.dumps({"data": str(folder / "data"), "results": str(results), "until": "stage1", "references": {"crds_path": str(cache)}})
    )
    command = [OURS, "-m", "snakemake", "-s", ROOT / "Snakefile", "--cores", "1", "--configfile", settings]

    def run():
        """The jobs are no children of Snakemake: their memory is in the products' records, their CPU time is not known."""
        shutil.rmtree(results, ignore_errors=True)
        measured = measure(command, limited(), folder)
        records = [json.loads(path.read_bytes()) for path in (results / "stage1").glob("*.json")]
        return {"wall": measured["wall"], "cpu": None, "peak": max(record["run"]["peak_mb"] for record in records)}

    run()  # compiles what is not compiled yet
    found = {}
    if not options.no_peer:
        (folder / "peer").mkdir(exist_ok=True)
        runs = [
            measure([PEERS, "-c", RUN_PEER, uncal, folder / "peer", cache, json.dumps(OPERATIONS), "Detector1Pipeline"], limited())
            for uncal in uncals
        ]
        found["peer"] = {key: sum(r[key] for r in runs) for key in ("wall", "cpu")} | {"peak": max(r["peak"] for r in runs)}
    found["ours, 1 core"] = fastest(run() for _ in range(options.repeat))
    print(f"{len(uncals)} frames of 2048 x 2048, 10 groups")
    return found


def simulate_program(folder):
    """Simulate the program, its references and a CRDS cache of them; nothing where they are there."""
    from jwcal.simulate.program import make_program

    make_program(folder, PROGRAM)


# --- the table -------------------------------------------------------------------------------------------------------


def report(found):
    """Print what was measured, and each run's ratio to the peer and to the floor."""
    peer, floor = found.get("peer"), found.get("floor")
    print(f"{'':16}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}")
    for name, run in found.items():
        cpu = "" if run["cpu"] is None else f"{run['cpu']:.2f}"
        line = f"{name:16}{run['wall']:9.2f}{cpu:>9}{run['peak']:9.0f}"
        kind, _, threads = name.partition(", ")
        if peer and kind == "ours":
            line += f"   {peer['wall'] / run['wall']:.1f}x faster, {run['peak'] / peer['peak']:.2f} of the peer's memory"
        if floor and kind == "ours":
            line += f", {run['wall'] / floor['wall']:.1f} times the floor"
        if threads not in ("", "1 thread", "cold") and f"{kind}, 1 thread" in found:
            speed = run.get("processes", 1) * found[f"{kind}, 1 thread"]["wall"] / run["wall"]
            line += f", {speed:.2f}x of one thread's speed" + (", all of them" if "processes" in run else "")
        print(line)
    steps = {name: run["steps"] for name, run in found.items() if "steps" in run and not name.endswith(("cold", "at once"))}
    if not steps:
        return
    print(f"\n{'s in step':22}" + "".join(f"{name:>16}" for name in steps))
    for step in dict.fromkeys(step for run in steps.values() for step in run):
        times = {name: run.get(step, 0.0) for name, run in steps.items()}
        if max(times.values()) >= 0.01:
            ratios = [f"{times['peer'] / s:.1f}x" for name, s in times.items() if peer and name.endswith(", 1 thread") and s > 0.0]
            print(f"{step:22}" + "".join(f"{seconds:16.3f}" for seconds in times.values()) + "   " + ", ".join(ratios))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", nargs="?", choices=[*CASES, "workflow"], default="nrc")
    parser.add_argument("--ngroups", type=int, help="instead of the case's own")
    parser.add_argument("--nints", type=int, help="instead of the case's own")
    parser.add_argument("--repeat", type=int, default=3, help="runs of ours; the peer runs once")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--cold", action="store_true", help="also a run that compiles the kernels")
    parser.add_argument("--no-peer", action="store_true", help="ours alone")
    parser.add_argument("--json", type=Path, help="file for what was measured")
    parser.add_argument("--work", type=Path, default=ROOT / "benchmarks/work", help="folder for the simulated files and the products")
    options = parser.parse_args()
    options.work = options.work.resolve()
    found = (run_workflow if options.case == "workflow" else run_case)(options)
    report(found)
    if options.json:
        options.json.write_text(json.dumps({"case": options.case, "runs": found}, indent=1))


if __name__ == "__main__":
    sys.exit(main())
