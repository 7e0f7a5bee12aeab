"""Imaging of ours and of the peer on the same simulated exposures and references: per step and in total, as ratios.

    python benchmarks/imaging.py [image2 | image3 | tso3 | growth] [--members 8] [--side 2048] [--repeat 1] [--ours] [--json FILE]

Each run is a process of its own with one thread, start-up included; the fastest of the runs counts. `growth` is ours alone: from 8 to 32
members the time grows linearly, and memory stays flat but for the mosaic.
"""

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

from stage1 import OURS, PEERS, ROOT, measure

sys.path.insert(0, str(ROOT / "scripts"))
ONE_THREAD = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "scripts")}
WORK = ROOT / "benchmarks/work"
PIPELINES = {"image2": "Image2Pipeline", "image3": "Image3Pipeline", "tso3": "Tso3Pipeline"}
DITHER = 2.1  # arcsec

RUN_OURS = """
import json, sys, time
import jwcal
from jwcal.run import loop
seconds, apply = {}, loop.apply
def timed(step, *arguments):
    began = time.perf_counter()
    try:
        return apply(step, *arguments)
    finally:
        seconds[step.name] = seconds.get(step.name, 0.0) + time.perf_counter() - began
loop.apply = timed
jwcal.run_pipeline(sys.argv[1], sys.argv[2], out=sys.argv[3], crds_path=sys.argv[4])
print(json.dumps({"steps": seconds}))
"""
RUN_PEER = """
import json, os, sys, time
os.environ.update(CRDS_PATH=sys.argv[4], CRDS_SERVER_URL="https://crds-serverless-mode.stsci.edu", CRDS_MODE="local")
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
getattr(jwst.pipeline, sys.argv[1]).call(sys.argv[2], save_results=True, output_dir=sys.argv[3])
print(json.dumps({"steps": {name: value for name, value in seconds.items() if not name.endswith("Pipeline")}}))
"""


def make(case, members, side):
    """The input of a case, made once: (file that the pipelines take, CRDS cache)."""
    from jwcal.simulate import calibrated
    from jwcal.simulate.instruments import Subarray
    from jwcal.simulate.series import Series, Transit

    folder = WORK / f"{case}-{members}-{side}"
    subarray = "FULL" if side == 2048 else Subarray(f"SUB{side}", 1, 1, side, side)
    kind = {"detector": "NRCA1", "subarray": subarray, "filter": "F200W"}
    if not (folder / "crds").exists():
        if case == "tso3":
            series = Series(Transit(depth=0.01))
            made = calibrated.simulate_segments(series, exp_type="NRC_TSIMAGE", subarray="SUB160P", detector="NRCB1", nints=240, each=120)
        else:
            dithers = [(DITHER * (n % 4), DITHER * (n // 4)) for n in range(members)]
            made = calibrated.simulate_mosaic(filters=["F200W"], detectors=["NRCA1"], subarray=subarray, dithers=dithers, errors=0.02)
        calibrated.write_program(folder, made)
    (association,) = (folder / "data").glob("*_asn.json")
    return association, folder / "crds", kind


def run(case, association, crds, side):
    """One run of one side."""
    out = WORK / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    try:
        if side == "ours":
            return measure([OURS, "-c", RUN_OURS, case, association, out, crds], ONE_THREAD)
        return measure([PEERS, "-c", RUN_PEER, PIPELINES[case], association, out, crds], {**ONE_THREAD, "PYTHONPATH": ""})
    finally:
        shutil.rmtree(out, ignore_errors=True)


def table(ours, peers):
    """Lines of the comparison."""
    names = [*dict.fromkeys([*(peers or {"steps": {}})["steps"], *ours["steps"]])]
    rows = [(name, (peers or {"steps": {}})["steps"].get(name), ours["steps"].get(name)) for name in names]
    rows += [(what, peers and peers[what], ours[what]) for what in ("wall", "cpu", "peak")]
    for name, peer, mine in rows:
        unit = "MB" if name == "peak" else "s"
        ratio = f"{peer / mine:8.1f}" if peer and mine else " " * 8
        peer, mine = (f"{value:9.2f} {unit}" if value is not None else " " * 11 for value in (peer, mine))
        yield f"{name:20} {peer} {mine} {ratio}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=["image3", "tso3"], choices=[*PIPELINES, "growth"])
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--side", type=int, default=2048, help="pixels of a detector's side")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--ours", action="store_true", help="without the peer")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = {}
    for case in options.cases:
        sizes = (8, 16, 32) if case == "growth" else (options.members,)
        pipeline = "image3" if case == "growth" else case
        for members in sizes:
            association, crds, _ = make(pipeline, members, options.side)
            sides = ("ours",) if options.ours or case == "growth" else ("ours", "peer")
            fastest = {
                side: min((run(pipeline, association, crds, side) for _ in range(options.repeat)), key=lambda r: r["wall"])
                for side in sides
            }
            found[f"{case} {members}"] = fastest
            print(f"{case}, {members} members\n{'':20} {'peer':>11} {'jwcal':>11} {'times':>8}")
            print("\n".join(table(fastest["ours"], fastest.get("peer"))), flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1, default=float) + os.linesep)


if __name__ == "__main__":
    main()
