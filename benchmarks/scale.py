"""Large programs: how long the workflow takes to find out what there is to do, against bare Snakemake with as many trivial jobs.

    python benchmarks/scale.py [--exposures 500 1000 2000 4000] [--modes] [--repeat 3] [--plot FILE.png] [--work DIR]

The exposures are copies of one tiny image with other names and numbers, eight of them an association that is combined, and the jobs are
empty: their products hold a few bytes. With `--modes` they are copies of those of ten modes, with their associations of stage 2 and 3:
as many programs as it takes, each of one target. Timed are
a dry run in which all is to be made (the DAG), and a run in which all is up to date (no-op), each in processes of their own; of the
repeats the fastest. Snakemake alone gets a Snakefile of two rules, which make one file of one file; and for the DAG another one, whose
rules have as many files and functions as ours (alike).
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[1]
SNAKEMAKE = Path(sys.executable).parent / "snakemake"
PROGRAM = {
    "program": 1234,
    "target": [53.1625, -27.7914],
    "sky": {"radius": 1.0, "stars": 1, "galaxies": 0},
    "detectors": ["NRCB1"],
    "exposures": [{"exp_type": "NRC_IMAGE", "filter": "F200W", "subarray": "SUB64P", "ngroups": 2}],
}
ALIKE = """
EXPOSURES = [str(i) for i in range({exposures})]
MEMORY = dict.fromkeys(EXPOSURES, 500)
rule all:
    input: expand("stage2/{{e}}_{{s}}", e=EXPOSURES, s=["a", "b"])
for stage, source in ("stage1", "data/{{}}"), ("stage2", "stage1/{{}}_a"):
    rule:
        name: stage
        input:
            exposure=lambda w, source=source: source.format(w.e),
            members=lambda w: [],
            recipe=lambda w: ancient(f"data/{{w.e}}"),
        output: f"{{stage}}/{{{{e}}}}_a", f"{{stage}}/{{{{e}}}}_b"
        log: f"logs/{{{{e}}}}.{{stage}}.log"
        wildcard_constraints: e="[0-9]+"
        resources: mem_mb=lambda w, attempt: attempt * MEMORY[w.e], runtime=lambda w, attempt: attempt
        params: why=lambda w: "not made yet"
        message: "{{rule}} {{wildcards.e}}: {{params.why}}"
        shell: "touch {{output}}"
"""
DITHERS = 8  # exposures of an observation
MODES = (  # with --modes; small ones, all of which end with stage 3
    *("fgs_image", "mir_image", "mir_image_series", "mir_lyot", "mir_lrs-slitless_series", "nrc_image", "nrc_tsimage", "nis_image"),
    *("nis_ami", "nrs_brightobj"),
)
FIRST = 1234  # program
BARE = """
EXPOSURES = [str(i) for i in range({exposures})]
rule all:
    input: expand("stage2/{{e}}", e=EXPOSURES)
rule first:
    input: "data/{{e}}"
    output: "stage1/{{e}}"
    shell: "touch {{output}}"
rule second:
    input: "stage1/{{e}}"
    output: "stage2/{{e}}"
    shell: "touch {{output}}"
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exposures", type=int, nargs="+", default=[500, 1000, 2000, 4000])
    parser.add_argument("--modes", action="store_true", help="copies of ten modes' exposures")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--plot", type=Path, help="draw the times to this file")
    parser.add_argument("--work", type=Path, default=ROOT / "benchmarks/work/scale")
    options = parser.parse_args()
    print("exposures   jobs   first plan       DAG    bare  ratio   alike  ratio     no-op    bare  ratio   opened")
    rows = []
    for number in options.exposures:
        rows.append(measure(options.work / str(number), number, options.repeat, make_modes if options.modes else make_exposures))
        row = SimpleNamespace(**rows[-1])
        dag = f"{row.dag:5.1f} s {row.bare_dag:5.1f} s {row.dag / row.bare_dag:6.2f} {row.alike:5.1f} s {row.dag / row.alike:6.2f}"
        noop = f"{row.noop:5.1f} s {row.bare_noop:5.1f} s {row.noop / row.bare_noop:6.2f}"
        print(f"{number:9} {row.jobs:6}   {row.first:8.1f} s   {dag}   {noop}   {row.opened:6}", flush=True)
    if options.plot:
        draw(rows, options.plot)


def measure(folder, exposures, repeat, make):
    """All times (s) for so many exposures, and the number of raw files that an up-to-date run opens."""
    shutil.rmtree(folder, ignore_errors=True)
    ours, bare = folder / "ours", folder / "bare"
    cache = make(ours, exposures)
    make_bare(bare, exposures)
    (ours / "mine.yaml").write_text(f"data: data\nresults: results\nreferences: {{crds_path: {json.dumps(str(cache))}}}\n")
    workflow = ["-s", ROOT / "Snakefile", "--configfile", "mine.yaml"]
    found = {"exposures": exposures, "first": timed(ours, *workflow, "-n")}
    dags = [(timed(ours, *workflow, "-n"), timed(bare, "-n"), timed(bare, "-s", "alike", "-n")) for _ in range(repeat)]
    found["jobs"] = make_products(ours)
    for number in range(exposures):
        for stage in ("stage1", "stage2"):
            (bare / stage / str(number)).touch()
    timed(ours, *workflow, "-n", idle=True)  # the first run that sees the products takes note of them
    checks = [(timed(ours, *workflow, idle=True), timed(bare, idle=True)) for _ in range(repeat)]
    found["dag"], found["bare_dag"], found["alike"] = map(min, zip(*dags, strict=True))
    found["noop"], found["bare_noop"] = map(min, zip(*checks, strict=True))
    return {**found, "opened": count_opened(ours)}


def timed(folder, *arguments, idle=False):
    """Seconds that Snakemake takes; if `idle` it must find nothing to do."""
    command = [SNAKEMAKE, "--cores", "1", "--rerun-triggers", "mtime", "--quiet", "rules", *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CRDS_")}
    began = time.perf_counter()
    done = subprocess.run(list(map(str, command)), cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    seconds = time.perf_counter() - began
    if done.returncode or idle != ("Nothing to be done" in done.stdout):
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout[-3000:]}")
    return seconds


def make_exposures(folder, exposures):
    """A folder of raw exposures, copies of one; returns a CRDS cache with its references."""
    from jwcal.simulate.program import make_program

    made = make_program(folder / "simulated", PROGRAM)
    (template,) = made["data"]
    content = template.read_bytes()
    (folder / "data").mkdir()
    for number in range(exposures):
        observation, exposure = divmod(number, DITHERS)
        name = f"jw01234{observation + 1:03}001_02101_{exposure + 1:05}_nrcb1"
        if observation >= 999:
            name = f"jw0123{5 + observation // 999}{observation % 999 + 1:03}001_02101_{exposure + 1:05}_nrcb1"
        changes = {
            "FILENAME": f"{name}_uncal.fits",
            "PROGRAM": name[2:7],
            "OBSERVTN": name[7:10],
            "OBS_ID": f"V{name[2:13]}P0000000002101",
            "VISIT_ID": name[2:13],
            "EXPOSURE": str(exposure + 1),
        }
        (folder / "data" / f"{name}_uncal.fits").write_bytes(with_cards(content, changes))
    return made["crds"]


def make_modes(folder, exposures):
    """A folder of raw exposures of ten modes, one program after the other; returns a CRDS cache with their references."""
    from jwcal.simulate.tour import make_tour

    made = make_tour(folder.parent.parent / "modes", only=MODES)
    templates = [(path, path.read_bytes()) for path in sorted(made.data.glob("*_uncal.fits"))]
    (folder / "data").mkdir(parents=True)
    for number in range(exposures):
        program, which = divmod(number, len(templates))
        path, content = templates[which]
        name = f"jw{FIRST + program:05}{path.name[7:]}"
        visit = name[2:13]
        sequence = name.split("_")[1]
        changes = {"FILENAME": name, "PROGRAM": name[2:7], "OBS_ID": f"V{visit}P00000000{sequence}", "VISIT_ID": visit}
        (folder / "data" / name).write_bytes(with_cards(content, changes))
    return made.crds


def with_cards(content, changes):
    """The bytes of a FITS file with other values (str) of some keywords of its primary header."""
    content = bytearray(content)
    for keyword, value in changes.items():
        place = next(at for at in range(0, len(content), 80) if content[at : at + 10] == f"{keyword:8}= ".encode())
        content[place : place + 80] = f"{keyword:8}= '{value:8}'".ljust(80).encode()
    return bytes(content)


def make_bare(folder, exposures):
    """As many trivial jobs for Snakemake alone."""
    for name in ("data", "stage1", "stage2"):
        (folder / name).mkdir(parents=True)
    for number in range(exposures):
        (folder / "data" / str(number)).touch()
    (folder / "Snakefile").write_text(BARE.format(exposures=exposures))
    (folder / "alike").write_text(ALIKE.format(exposures=exposures))


def make_products(folder):
    """Run all jobs of the plan with pipelines that do nothing; returns how many there are."""
    from jwcal.products import stored
    from jwcal.run import loop
    from jwcal.settings.chains import LIST
    from jwcal.workflow import jobs, plan

    at_work = {}

    def nothing(recipe, source, write, scratch):
        job = at_work["job"]
        made = [(suffix, "") for suffix in set(job.outputs) - {LIST}]
        if LIST in job.outputs:  # of each member
            made += [("crf", f"../stage2/{Path(path).name.removesuffix('_cal.fits')}_combined") for path in (job.input, *job.members)]
        write([SimpleNamespace(suffix=suffix, product=name, steps={}, seconds={}, references={}) for suffix, name in made])

    loop.run, stored.write_all = nothing, lambda wanted: [Path(path).write_bytes(b"empty") for _, path in wanted]
    planned = plan.load({"results": str(folder / "results")}).jobs
    here = os.getcwd()
    os.chdir(folder)
    for job in sorted(planned, key=lambda job: job.stage):
        at_work["job"] = job
        for path in job.outputs.values():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        if jobs.run(job.recipe, f"results/logs/{job.exposure}.{job.rule}.log"):
            sys.exit("an empty job failed")
    os.chdir(here)
    return len(planned)


def count_opened(folder):
    """How many times a raw file is opened to plan a run in which all is up to date."""
    count = (
        "import sys, yaml\n"
        "opened = []\n"
        "sys.addaudithook(lambda event, values: event == 'open' and opened.append(str(values[0])))\n"
        "from jwcal.workflow import plan\n"
        "plan.make(yaml.safe_load(open('mine.yaml')))\n"
        "print(sum(path.endswith('_uncal.fits') for path in opened))\n"
    )
    done = subprocess.run([sys.executable, "-c", count], cwd=folder, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


def draw(rows, path):
    """Time against number of jobs, ours and bare."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
    jobs = [row["jobs"] for row in rows]
    for panel, key, title in zip(panels, ("dag", "noop"), ("All is to be made: dry run", "All is up to date"), strict=True):
        panel.plot(jobs, [row[key] for row in rows], "o-", label="jwcal")
        panel.plot(jobs, [row[f"bare_{key}"] for row in rows], "s--", color="0.5", label="bare Snakemake")
        if key == "dag":
            panel.plot(jobs, [row["alike"] for row in rows], "^--", color="0.7", label="bare, rules like ours")
        panel.set(title=title, xlabel="jobs", xlim=(0, None), ylim=(0, None))
    panels[0].set_ylabel("seconds")
    panels[0].legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
