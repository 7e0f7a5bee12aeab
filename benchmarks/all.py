"""All pipelines side by side with the peer: one command, one table, which the README has.

    python benchmarks/all.py [CASE ...] [--small] [--table]

Each case is measured by stage1.py, imaging.py or spectra.py, in processes of one thread, from start to end; both sides start from the same
files and references. What was measured is kept in benchmarks/measured.json with the machine that it was measured on, a case that is
measured again in its place, and the table in README.md is written anew from it. `--small` takes less data where there is less; `--table`
only writes the table. Compared are the processors' times, as other things may run beside: ratios of them differ less.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from stage1 import ROOT

from spectra import CASES as SPECTRA

MEASURED = ROOT / "benchmarks/measured.json"
README = ROOT / "README.md"
HEAD = "| pipelines | case | jwst 3.0.0 | jwcal | times less | memory | apart |\n|---|---|---|---|---|---|---|\n"


@dataclass(frozen=True)
class Case:
    """A row of the table: who measures it, and what it is."""

    script: str
    arguments: tuple
    pipelines: str
    what: str
    small: tuple = ()  # further arguments with --small
    what_small: str = ""


STAGE1 = ("--threads", "1", "--repeat", "1")
IMAGES = ("--members", "4", "--side", "1024")
CASES = {
    "nrc": Case("stage1", ("nrc", *STAGE1), "detector1", "NIRCam 2048 x 2048, 10 groups"),
    "irs2": Case("stage1", ("irs2", *STAGE1), "detector1", "NIRSpec IRS2, 20 groups"),
    "miri": Case("stage1", ("miri", *STAGE1), "detector1", "MIRI full, 40 groups, 4 integrations"),
    "tso": Case("stage1", ("soss", *STAGE1), "tso1", "NIRISS SOSS, 8 groups, 60 integrations"),
    "dark": Case("stage1", ("dark", *STAGE1), "dark", "NIRCam 2048 x 2048, 10 groups"),
    "guider": Case("stage1", ("guider", *STAGE1), "guider", "fine guiding"),
    "image2": Case("imaging", ("image2",), "image2", "8 exposures of 2048 x 2048", IMAGES, "4 exposures of 1024 x 1024"),
    "image3": Case("imaging", ("image3",), "image3", "8 dithers of 2048 x 2048", IMAGES, "4 dithers of 1024 x 1024"),
    "tso-images": Case("imaging", ("tso3",), "tso3", "NIRCam, 2 segments of 120 integrations, 160 x 160"),
    **{
        name: Case("spectra", (name,), ", ".join(case.stages), case.words(), ("--small",), case.words(small=True))
        for name, case in SPECTRA.items()
    },
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"default: all of {', '.join(CASES)}")
    parser.add_argument("--small", action="store_true", help="less data")
    parser.add_argument("--table", action="store_true", help="only write the table")
    options = parser.parse_args()
    unknown = set(options.cases) - set(CASES)
    if unknown:
        parser.error(f"there is no case {', '.join(sorted(unknown))}: choose from {', '.join(CASES)}")
    for name in () if options.table else options.cases or CASES:
        keep(name, row(CASES[name], options.small))
        write()
    write()


def row(case, small):
    """Measure a case: what a row of the table says."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "measured.json")
        command = [sys.executable, ROOT / "benchmarks" / f"{case.script}.py", *case.arguments, *(case.small if small else ())]
        subprocess.run([*map(str, command), "--json", str(out)], check=True)
        return from_file(case, out, small)


def from_file(case, path, small):
    """A row from what a script has left."""
    (runs,) = [found for key, found in json.loads(path.read_text()).items() if key != "case"]
    ours, peer = runs.get("ours") or runs["ours, 1 thread"], runs["peer"]
    found = {"peer": round(peer["cpu"], 2), "ours": round(ours["cpu"], 2), "memory": round(ours["peak"] / peer["peak"], 3)}
    found |= {"apart": runs.get("apart"), "small": bool(small and case.small)}
    return found | {"day": time.strftime("%Y-%m-%d", time.gmtime()), "machine": machine()}


def machine():
    """The processor."""
    with open("/proc/cpuinfo") as file:
        names = {line.partition(":")[2].strip() for line in file if line.startswith("model name")}
    return f"{', '.join(sorted(names)) or platform.machine()}, {os.cpu_count()} cores"


def measured():
    return json.loads(MEASURED.read_text()) if MEASURED.exists() else {}


def keep(name, found):
    """Put a row in its place."""
    rows = measured() | {name: found}
    MEASURED.write_text(json.dumps({key: rows[key] for key in CASES if key in rows}, indent=1) + os.linesep)


def lines():
    """The rows of the table."""
    for name, found in measured().items():
        case = CASES[name]
        what = case.what_small if found["small"] else case.what
        apart = "" if found["apart"] is None else f"{found['apart']:.0e}"
        seconds = " | ".join(f"{found[side]:.3g} s" for side in ("peer", "ours"))
        ratio = found["peer"] / found["ours"]
        yield f"| {case.pipelines} | `{name}`: {what} | {seconds} | {ratio:.1f} | {found['memory']:.2f} | {apart} |\n"


def write():
    """Put the table in the place of the README's."""
    before, _, after = README.read_text().partition(HEAD)
    rest = after.splitlines(keepends=True)
    while rest and rest[0].startswith("|"):
        rest.pop(0)
    README.write_text(before + HEAD + "".join(lines()) + "".join(rest))


if __name__ == "__main__":
    main()
