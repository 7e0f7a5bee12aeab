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
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from stage1 import OURS, PEERS, PRINT_PEERS, ROOT, TIME_OURS, TIME_PEERS, fastest, limited, measure

sys.path.insert(0, str(ROOT / "scripts"))
WORK = ROOT / "benchmarks/work"
PIPELINES = {"image2": "Image2Pipeline", "image3": "Image3Pipeline", "tso3": "Tso3Pipeline"}
DITHER = 2.1  # arcsec

# Arguments are the pipeline, the association, the CRDS cache and the folder for the products.
RUN_OURS = (
    TIME_OURS
    + """
jwcal.run_pipeline(sys.argv[1], sys.argv[2], out=sys.argv[4], crds_path=sys.argv[3])
print(json.dumps({"steps": seconds}))
"""
)
RUN_PEER = (
    TIME_PEERS
    + """
getattr(jwst.pipeline, sys.argv[1]).call(sys.argv[2], save_results=True, output_dir=sys.argv[4])
"""
    + PRINT_PEERS
)


def make(case, members, side):
    """The input of a case, made once: (file that the pipelines take, CRDS cache)."""
    from jwcal.simulate import calibrated
    from jwcal.simulate.instruments import Subarray
    from jwcal.simulate.series import Series, Transit

    folder = WORK / f"{case}-{members}-{side}"
    subarray = "FULL" if side == 2048 else Subarray(f"SUB{side}", 1, 1, side, side)
    if not (folder / "crds").exists():
        if case == "tso3":
            series = Series(Transit(depth=0.01))
            made = calibrated.simulate_segments(series, exp_type="NRC_TSIMAGE", subarray="SUB160P", detector="NRCB1", nints=240, each=120)
        else:
            dithers = [(DITHER * (n % 4), DITHER * (n // 4)) for n in range(members)]
            made = calibrated.simulate_mosaic(filters=["F200W"], detectors=["NRCA1"], subarray=subarray, dithers=dithers, errors=0.02)
        calibrated.write_program(folder, made)
    (association,) = (folder / "data").glob("*_asn.json")
    return association, folder / "crds"


def run(case, association, crds, side):
    """One run of one side."""
    out = WORK / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    try:
        if side == "ours":
            return measure([OURS, "-c", RUN_OURS, case, association, crds, out], limited() | {"PYTHONPATH": str(ROOT / "scripts")})
        return measure([PEERS, "-c", RUN_PEER, PIPELINES[case], association, crds, out], limited() | {"PYTHONPATH": ""})
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
            with ProcessPoolExecutor(1) as pool:  # a process counts the memory that its parent had as its own
                association, crds = pool.submit(make, pipeline, members, options.side).result()
            sides = ("ours",) if options.ours or case == "growth" else ("ours", "peer")
            best = {side: fastest(run(pipeline, association, crds, side) for _ in range(options.repeat)) for side in sides}
            found[f"{case} {members}"] = best
            print(f"{case}, {members} members\n{'':20} {'peer':>11} {'jwcal':>11} {'times':>8}")
            print("\n".join(table(best["ours"], best.get("peer"))), flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1, default=float) + os.linesep)


if __name__ == "__main__":
    main()
