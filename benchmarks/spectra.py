"""Spectroscopy, coronagraphy and interferometry of ours and of the peer from the same simulated rates, with the same references.

    python benchmarks/spectra.py [CASE ...] [--small] [--repeat 1] [--ours] [--json FILE]

A run is a process with one thread that takes all exposures of a case through stage 2 and their association through stage 3, start-up
included; the fastest of the runs counts. `--small` is a quick try, of less data. `growth` is ours alone: series of MIRI's prism of more
and more segments, which take time, but no more memory. The last line of a case says how well the products of both agree.
"""

import argparse
import json
import os
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from imaging import table
from stage1 import OURS, PEERS, PRINT_PEERS, ROOT, TIME_OURS, TIME_PEERS, fastest, limited, measure

sys.path.insert(0, str(ROOT / "scripts"))
WORK = ROOT / "benchmarks/work/spectra"
PIPELINES = {"image2": "Image2Pipeline", "spec2": "Spec2Pipeline", "tso-spec2": "Spec2Pipeline", "spec3": "Spec3Pipeline"}
PIPELINES |= {"tso3": "Tso3Pipeline", "coron3": "Coron3Pipeline", "ami3": "Ami3Pipeline"}
BEFORE = ("detector1", "tso1", "image2", "image3")  # what makes the inputs, where it is not what is measured
INTEGRATIONS = ("tso-spec2", "coron3", "ami3")  # pipelines that begin with rateints, or whose stage 2 does


@dataclass(frozen=True)
class Case:
    """How the inputs are made, and what is done with them.

    Attributes
    ----------
    what : in words, with the options in braces
    expose : of `jwcal.simulate`, "module.function", or a mode; given the folder, `options`, and with --small `small`
    stages : the pipelines of stage 2 and stage 3
    steps : parameters of steps, for both sides; `quick` with --small
    ours : those of ours that follow a convention of the peer's, so that spectra can be compared
    """

    what: str
    expose: str
    options: dict = field(default_factory=dict)
    small: dict = field(default_factory=dict)
    stages: tuple = ("spec2", "spec3")
    steps: dict = field(default_factory=dict)
    quick: dict = field(default_factory=dict)
    ours: dict = field(default_factory=dict)

    def words(self, small=False):
        """What it is, with or without --small."""
        return (
            self.what.format(**self.options | (self.small if small else {})).replace("('12', '34')", "1 to 4").replace("('12',)", "1 and 2")
        )


SERIES = ("tso-spec2", "tso3")
COARSE = {"extract_1d": {"soss_rtol": 1e-2, "soss_n_os": 1}}
CONTAMINATION = {"wfss_contam": {"skip": False}}
PEERS_WAVES = {"assign_wcs": {"grism_source": "reference pixel"}}
PEERS_SKY = {"bkg_subtract": {"wfss_weights": "data"}}
CASES = {
    "lrs-series": Case(
        "MIRI's prism, 416 x 72, {nints} integrations in segments of {each}",
        *("prism.expose_series", {"nints": 2000, "each": 500, "ngroups": 3}, {"nints": 200, "each": 50}, SERIES),
    ),
    "lrs-slit": Case("MIRI's prism, two nods along the slit", "prism.expose_nods"),
    "fixed-slits": Case(
        "NIRSpec's fixed slits, {subarray}, three nods",
        *("nirspec.expose_slits", {"subarray": "ALLSLITS", "ngroups": 3}, {"subarray": "SUBS200A1"}),
    ),
    "shutters": Case("NIRSpec's shutters, slitlets of all kinds, three nods", "nirspec.expose_slitlets"),
    "bright-object": Case(
        "NIRSpec's wide slit, {nints} integrations in segments of {each}",
        *("nirspec.expose_series", {"nints": 400, "each": 100, "ngroups": 3}, {"nints": 40, "each": 10}, SERIES),
    ),
    "mrs": Case(
        "MIRI's spectrometer, SHORT, channels {channels}, {dithers} dithers",
        *(
            "integral_field.expose",
            {"channels": ("12", "34"), "dithers": 4, "ngroups": 3},
            {"channels": ("12",), "dithers": 2, "dedicated": False},
        ),
    ),
    "ifu": Case("NIRSpec's slicer, dithers of a star", "nirspec.expose_slicer", {}, {"dithers": ((0.0, 0.0), (0.15, 0.25))}),
    "soss": Case(
        "NIRISS SOSS, 2048 x 256, {nints} integrations in segments of {each}",
        *("soss.expose_series", {"nints": 20, "each": 10}, {"nints": 2, "each": 1}, SERIES),
        quick=COARSE,
    ),
    "tsgrism": Case(
        "NIRCam's grism, {nints} integrations in segments of {each}",
        *("grism.expose_series", {"nints": 400, "each": 100, "ngroups": 3}, {"nints": 40, "each": 10}, SERIES),
        ours=PEERS_WAVES,
    ),
    "wfss": Case(
        "NIRISS, two grisms, two dithers of {shape[0]} x {shape[1]}, contamination modelled",
        *("grism.expose_field", {"grisms": "NIRISS", "shape": (1024, 1024)}, {"shape": (450, 450)}),
        steps=CONTAMINATION,
        ours=PEERS_SKY,
    ),
    "coron": Case(
        "NIRCam behind a round mask, {place[2]} x {place[3]}, {nints} integrations in two rolls and of two reference stars",
        *("nrc_coron", {"place": (448, 1484, 320, 320), "nints": 10}, {"place": (608, 1644, 64, 64), "nints": 2}, ("image2", "coron3")),
    ),
    "ami": Case(
        "NIRISS behind seven holes, {nints} integrations of a star and of a reference star",
        *("nis_ami", {"nints": 40}, {"nints": 4}, ("image2", "ami3")),
    ),
}
GROWTH = (1, 2, 4)  # segments

# Arguments are the pipelines of stage 2 and 3, the CRDS cache, the folder of the inputs, that of the products, and the steps' parameters.
BOTH = """
import os, shutil
from pathlib import Path
stage2, stage3, crds, inputs, out, steps = sys.argv[1:]
steps = json.loads(steps)
sources = json.loads(Path(inputs, "sources.json").read_text())
os.chdir(inputs)  # the peer looks for what a header names where it runs
for name in sources["stage2"]:
    calibrate(stage2, name)
os.chdir(out)
for name in sources["stage3"]:
    shutil.copy(Path(inputs, name), name)
    calibrate(stage3, name)
"""
RUN_OURS = (
    TIME_OURS
    + """
import logging
logging.disable(logging.WARNING)
def calibrate(pipeline, source):
    jwcal.run_pipeline(pipeline, source, steps, out=out, every=True, crds_path=crds)
"""
    + BOTH
    + """
print(json.dumps({"steps": seconds}))
"""
)
RUN_PEER = (
    TIME_PEERS
    + """
def calibrate(name, source):
    pipeline = getattr(jwst.pipeline, name)
    pipeline.call(source, save_results=True, output_dir=out, steps={k: v for k, v in steps.items() if k in pipeline.step_defs})
"""
    + BOTH
    + PRINT_PEERS
)


def make(name, options):
    """The inputs of a case, made once: (folder with rates and associations, CRDS cache)."""
    from importlib import import_module

    from jwcal.simulate import grism, modes
    from jwcal.workflow import jobs, plan

    module, _, function = CASES[name].expose.partition(".")
    options = {key: value for key, value in options.items() if value is not None}
    folder = WORK / "-".join([name, *(str(value) for value in options.values() if isinstance(value, int | str))])
    inputs = folder / "inputs"
    if not (inputs / "sources.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        grisms = {"grisms": getattr(grism, options["grisms"])} if "grisms" in options else {}
        expose = getattr(import_module(f"jwcal.simulate.{module}"), function) if function else modes.MODES[module].make
        expose(folder, **options | grisms)
        config = {"data": str(folder / "data"), "results": str(folder / "results"), "references": {"crds_path": str(folder / "crds")}}
        for job in sorted(plan.make(config).jobs, key=lambda job: job.stage):
            if job.pipeline in BEFORE and job.pipeline not in CASES[name].stages:
                for path in job.outputs.values():
                    Path(path).parent.mkdir(parents=True, exist_ok=True)
                if jobs.run(job.recipe, folder / "log.txt"):
                    sys.exit(f"{job.exposure} could not be made: see {folder / 'log.txt'}")
        collect(folder, inputs, CASES[name].stages)
        for made in ("data", "truth", "results"):
            shutil.rmtree(folder / made, ignore_errors=True)
    return inputs, folder / "crds"


def collect(folder, inputs, stages):
    """Put all that both sides read into one folder, and say in it what stage 2 and stage 3 begin with."""
    results = folder / "results"
    inputs.mkdir(parents=True, exist_ok=True)
    rates = "rateints" if not set(INTEGRATIONS).isdisjoint(stages) else "rate"
    kind = "image2" if stages[0] == "image2" else "spec2"
    found = [
        *results.glob(f"stage1/*_{rates}.fits"),
        *results.glob("stage3/*"),
        *results.glob("associations/*.json"),
        *folder.glob("data/*_msa.fits"),
    ]
    for path in found:
        shutil.copy(path, inputs)
    for path in inputs.glob("*_asn.json"):  # whose members lie beside them now
        association = json.loads(path.read_text())
        for member in (member for product in association["products"] for member in product["members"]):
            member["expname"] = Path(member["expname"]).name
        path.write_text(json.dumps(association))
    second = sorted(path.name for path in inputs.glob(f"*{kind}_*asn.json")) or sorted(path.name for path in inputs.glob(f"*_{rates}.fits"))
    third = {path.name: len(json.loads(path.read_text())["products"][0]["members"]) for path in inputs.glob(f"*_{stages[1]}_asn.json")}
    most = sorted(name for name, members in third.items() if members == max(third.values()))  # candidates are parts of each other
    (inputs / "sources.json").write_text(json.dumps({"stage2": second, "stage3": most}))


def run(case, inputs, crds, side, steps, out):
    """One run of one side."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    stages = case.stages if side == "ours" else [PIPELINES[stage] for stage in case.stages]
    python, code, path = (OURS, RUN_OURS, str(ROOT / "scripts")) if side == "ours" else (PEERS, RUN_PEER, "")
    return measure([python, "-c", code, *stages, crds, inputs, out, json.dumps(steps)], limited() | {"PYTHONPATH": path})


KINDS = {  # products that are compared: their suffixes, extension and column
    "spectra": ("*_x1d*.fits", "EXTRACT1D", "FLUX"),
    "images": ("*_i2d.fits", "SCI", None),
    "visibilities": ("*_aminorm-oi.fits", "OI_VIS2", "VIS2DATA"),
}


def agreement(mine, theirs):
    """How many products of both there are, of which kind, and the median of their difference [of the value]; None where there are none."""
    import numpy as np
    from astropy.io import fits

    for kind, (pattern, extension, column) in KINDS.items():
        apart, names = [], {path.name for path in mine.glob(pattern)} & {path.name for path in theirs.glob(pattern)}
        for name in sorted(names):
            with fits.open(mine / name) as one, fits.open(theirs / name) as other:
                for hdu in one:
                    if hdu.name == extension:
                        value, its = (_values(h[hdu.name, hdu.ver], column) for h in (one, other))
                        if value.shape == its.shape:
                            good = np.isfinite(value * its) & (its != 0)
                            apart.append(np.abs(value[good] / its[good] - 1))
        if apart:
            return len(apart), kind, float(np.median(np.concatenate(apart)))
    return None


def _in_words(both):
    if both is None:
        return "no product of both has the same shape"
    number, kind, apart = both
    return f"{number} {kind} of both: the median of their difference is {apart:.1e}"


def _values(hdu, column):
    import numpy as np

    return np.ravel(hdu.data[column] if column else hdu.data).astype(float)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=[*CASES], choices=[*CASES, "growth"])
    parser.add_argument("--small", action="store_true", help="less data")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--ours", action="store_true", help="without the peer")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = {}
    for name in options.cases:
        case = CASES["lrs-series" if name == "growth" else name]
        data = case.options | (case.small if options.small else {})
        sizes = [{"nints": number * data["each"]} for number in GROWTH] if name == "growth" else [{}]
        sides = ("ours",) if options.ours or name == "growth" else ("ours", "peer")
        for size in sizes:
            with ProcessPoolExecutor(1) as pool:  # a process counts the memory that its parent had as its own
                inputs, crds = pool.submit(make, "lrs-series" if name == "growth" else name, data | size).result()
            steps = case.steps | (case.quick if options.small else {})
            outs = {side: WORK / f"out-{name}-{side}" for side in sides}
            given = {"ours": {name: steps.get(name, {}) | case.ours.get(name, {}) for name in steps | case.ours}, "peer": steps}
            best = {side: fastest(run(case, inputs, crds, side, given[side], outs[side]) for _ in range(options.repeat)) for side in sides}
            title = f"{name}{', small' if options.small else ''}{''.join(f', {k} {v}' for k, v in size.items())}"
            found[title] = best
            print(f"{title}\n{'':20} {'peer':>11} {'jwcal':>11} {'times':>8}")
            print("\n".join(table(best["ours"], best.get("peer"))), flush=True)
            if len(sides) == 2:
                with ProcessPoolExecutor(1) as pool:
                    both = pool.submit(agreement, *outs.values()).result()
                print(_in_words(both), flush=True)
                best["apart"] = both and both[-1]
            for out in outs.values():
                shutil.rmtree(out, ignore_errors=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1, default=float) + os.linesep)


if __name__ == "__main__":
    main()
