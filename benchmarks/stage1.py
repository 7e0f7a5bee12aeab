"""Stage 1 of ours and of the peer on the same exposure and references, in one run: wall and CPU time, peak memory, as ratios.

    python benchmarks/stage1.py [nrc | soss | miri] [--ngroups 10] [--nints 1] [--repeat 3] [--work DIR]

Each run is a process of its own, start-up included; the kernels are compiled before (the first line says how long that took).
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CASES = {
    "nrc": {"exp_type": "NRC_IMAGE", "detector": "NRCA1", "subarray": "FULL", "ngroups": 10, "nints": 1},
    "soss": {"exp_type": "NIS_SOSS", "detector": "NIS", "subarray": "SUBSTRIP256", "ngroups": 8, "nints": 60},
    "miri": {"exp_type": "MIR_IMAGE", "detector": "MIRIMAGE", "subarray": "FULL", "ngroups": 40, "nints": 4},
}
OURS = """
import json, sys
import jwcal
made = jwcal.run_pipeline("detector1", sys.argv[1], out=sys.argv[2], every=True, crds_path=sys.argv[3])
print(json.dumps(made["rate"].seconds))
"""
PEER = """
import os, sys
os.environ.update(CRDS_PATH=sys.argv[3], CRDS_SERVER_URL="https://crds-serverless-mode.stsci.edu", CRDS_MODE="local")
from jwst.pipeline import Detector1Pipeline
Detector1Pipeline.call(sys.argv[1], save_results=True, output_dir=sys.argv[2])
"""


def measure(python, code, arguments, environment=None):
    """Run code in a process of its own.

    Returns
    -------
    dict
        wall and cpu in s, peak in MB, the last line that it printed.
    """
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(
            [python, "-c", code, *map(str, arguments)], stdout=out, stderr=err, env={**os.environ, **(environment or {})}
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        if process.returncode:
            sys.exit(err.read()[-3000:])
        printed = out.read().strip().splitlines()
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "peak": usage.ru_maxrss / 1024, "printed": printed[-1] if printed else ""}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", nargs="?", choices=CASES, default="nrc")
    parser.add_argument("--ngroups", type=int, help="instead of the case's own")
    parser.add_argument("--nints", type=int, help="instead of the case's own")
    parser.add_argument("--repeat", type=int, default=3, help="runs of ours; the peer runs once")
    parser.add_argument("--work", type=Path, default=ROOT / "benchmarks/work")
    options = parser.parse_args()
    case = CASES[options.case] | {k: v for k, v in vars(options).items() if k in ("ngroups", "nints") and v}
    uncal, cache = exposure_and_cache(options.work, case)
    out = options.work / "out"
    one = {"NUMBA_NUM_THREADS": "1"}
    ours, peers = ROOT / ".venv/bin/python", ROOT / ".venv-peer/bin/python"
    first = measure(ours, OURS, [uncal, out / "ours", cache], one)
    print(f"first run of ours, which compiles the kernels unless that was done before: {first['wall']:.1f} s")
    runs = {
        "peer": [measure(peers, PEER, [uncal, out / "peer", cache], one)],
        "ours, 1 thread": [measure(ours, OURS, [uncal, out / "ours", cache], one) for _ in range(options.repeat)],
        "ours, 2 threads": [measure(ours, OURS, [uncal, out / "ours2", cache], {"NUMBA_NUM_THREADS": "2"}) for _ in range(options.repeat)],
    }
    report(runs, f"{uncal.name}: {case}")
    largest = max(path.stat().st_size for path in (options.work / "out/ours").glob(f"{uncal.name.removesuffix('_uncal.fits')}_*.fits"))
    print(f"largest product {largest / 2**20:.0f} MB")


def report(runs, title):
    """Print the table."""
    print(title)
    print(f"{'':18}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}   against the peer: wall, memory")
    base = None
    for name, measured in runs.items():
        wall, cpu, peak = (statistics.median(m[key] for m in measured) for key in ("wall", "cpu", "peak"))
        base = base or (wall, peak)
        print(f"{name:18}{wall:9.2f}{cpu:9.2f}{peak:9.0f}   {base[0] / wall:.1f}x faster, {peak / base[1]:.2f} of its memory")
    steps = json.loads(runs["ours, 1 thread"][-1]["printed"])
    print("ours by step, s: " + ", ".join(f"{step} {seconds:.2f}" for step, seconds in steps.items()))


def exposure_and_cache(folder, case):
    """An exposure and a CRDS cache with its references, made once for each case."""
    folder = folder / "_".join(str(value) for value in case.values())
    if not (folder / "done").exists():
        # in a process of its own: a child's peak memory is never below what its parent held when it was born
        child = multiprocessing.get_context("spawn").Process(target=simulate, args=(folder, case))
        child.start()
        child.join()
        if child.exitcode:
            sys.exit("the exposure could not be simulated")
    return next((folder / "data").glob("*_uncal.fits")), folder / "crds"


def simulate(folder, case):
    """Simulate one exposure, its references, and a CRDS cache of them."""
    from jwcal.simulate import crds_cache, exposures, references

    made = exposures.simulate_exposure(folder / "data", seed=1, **case)
    kept = references.write_references(folder / "references", made.detector, setup=made.setup)
    crds_cache.build(folder / "crds", list(kept.values()))
    (folder / "done").touch()


if __name__ == "__main__":
    sys.exit(main())
