"""What runs again after what: one program, a table of events, and for each the exact list of jobs that Snakemake would run, and why.

A pipeline that comes later adds its exposures to PROGRAM and its jobs to the rows.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from astropy.io import fits

from jwcal.simulate import crds_cache
from jwcal.simulate.program import make_program

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = {
    "program": 1234,
    "target": [53.1625, -27.7914],
    "start": "2023-10-02T04:05:06.789",
    "seed": 7,
    "sky": {"radius": 4.0, "stars": 8, "galaxies": 2, "faintest": 1e-7, "brightest": 1e-5},
    "exposures": [
        {"exp_type": "NRC_IMAGE", "detectors": ["NRCB1"], "filter": "F200W", "subarray": "SUB64P", "ngroups": 4},
        {"exp_type": "NRC_IMAGE", "detectors": ["NRCB1"], "filter": "F200W", "subarray": "SUB64P", "ngroups": 4},
        {
            **{"exp_type": "NRC_TSIMAGE", "detectors": ["NRCB1"], "filter": "F200W", "subarray": "SUB64P", "ngroups": 4, "nints": 4},
            **{"observation": 3, "dithers": [[0.0, 0.0]], "star": 3e-5, "segments": 2},
        },
        {"exp_type": "MIR_IMAGE", "subarray": "SUB64", "ngroups": 5},
        {"exp_type": "FGS_ACQ1"},
    ],
    "dithers": [[0.0, 0.0], [0.3, 0.1], [0.1, 0.3]],
}
NUMBERS = (1, 2, 3)
# The second set of NIRCam exposures becomes observation 2, the background of observation 1.
SCIENCE = [f"jw01234001001_02101_{n:05}_nrcb1" for n in NUMBERS]
BACKGROUND = [f"jw01234002001_02102_{n:05}_nrcb1" for n in NUMBERS]
SERIES = [f"jw01234003001_02103_00001-seg{n:03}_nrcb1" for n in (1, 2)]
MIRI = [f"jw01234001001_02104_{n:05}_mirimage" for n in NUMBERS]
OWN_FLAT = "my_flat.fits"  # of MIRI
# What becomes of the exposures together.
MOSAIC, SKY_MOSAIC = (f"jw01234-o00{n}_t001_nircam_clear-f200w-sub64p" for n in (1, 2))
MIRI_MOSAIC = "jw01234-o001_t001_miri_f770w-sub64"
MOSAICS = [MOSAIC, SKY_MOSAIC, MIRI_MOSAIC]
CURVE = "jw01234-o003_t001_nircam_clear-f200w-sub64p"


class Program(NamedTuple):
    """A program that was run, in a folder of its own."""

    folder: Path
    project: Path  # the checkout that runs it
    config: dict
    environment: dict

    def uncal(self, root):
        return self.folder / "data" / f"{root}_uncal.fits"

    def product(self, root, suffix):
        return next(self.folder.glob(f"results/stage*/{root}_{suffix}.fits"))


class Run(NamedTuple):
    """What Snakemake said."""

    status: int
    text: str

    @property
    def jobs(self):
        """(pipeline, exposure) -> why."""
        found = re.findall(r"^((?:tso_)?[a-z]+\d?)\w* (jw\S+): (.*)$", self.text, flags=re.MULTILINE)
        return {(pipeline.replace("_", "-"), exposure): why for pipeline, exposure, why in found}


def snakemake(program, *arguments):
    """Run the workflow on a program, with its configuration."""
    (program.folder / "mine.yaml").write_text(yaml.safe_dump(program.config))
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("CRDS_") and k != "PYTHONPATH"}
    command = [
        Path(sys.executable).with_name("snakemake"),
        "-s",
        program.project / "Snakefile",
        "--cores",
        "2",
        "--configfile",
        "mine.yaml",
    ]
    done = subprocess.run(
        [*command, *arguments],
        cwd=program.folder,
        env=inherited | program.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return Run(done.returncode, done.stdout)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The program, run once."""
    folder = tmp_path_factory.mktemp("events")
    references = make_program(folder, PROGRAM)["references"]
    for path in sorted(folder.glob("data/*_02102_*")):
        become_observation(path, "002")
    flat = next(path for path in references if "miri_flat" in path.name)
    shutil.copy(flat, folder / OWN_FLAT)
    config = {
        "data": "data",
        "results": "results",
        "links": [{"observation": 2, "is": "background", "of": 1}],
        "references": {"crds_path": "crds", "overrides": [{"match": {"DETECTOR": "MIRIMAGE"}, "files": {"flat": OWN_FLAT}}]},
    }
    program = Program(folder, ROOT, config, {})
    run = snakemake(program)
    assert run.status == 0, run.text
    return program


def become_observation(path, number):
    with fits.open(path, mode="update") as hdus:
        header = hdus[0].header
        visit = header["PROGRAM"] + number + header["VISIT"]
        header.update({"OBSERVTN": number, "VISIT_ID": visit, "OBS_ID": visit + header["OBS_ID"][len(visit) :]})
        name = f"jw{visit}{path.name[2 + len(visit) :]}"
        header["FILENAME"] = name
    path.rename(path.with_name(name))


@pytest.fixture
def program(made, tmp_path):
    """A copy of the program and its products, for an event to happen to."""
    folder = tmp_path / "program"
    subprocess.run(["cp", "-a", made.folder, folder], check=True)
    return made._replace(folder=folder, config=yaml.safe_load(yaml.safe_dump(made.config)), environment={})


# --- what happens ---


def rewrite(path):
    """The same bytes, written again."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)


def alter(path, extension=1):
    """Other values, the same size."""
    with fits.open(path, mode="update") as hdus:
        hdus[extension].data[..., 30, 30] += 1


def configured(**changes):
    return lambda program: program.config.update(changes)


def new_context(changed=None):
    """A CRDS context with the same references, or with another file for one of them."""

    def happen(program):
        references = sorted((program.folder / "references").iterdir())
        if changed:
            (old,) = [path for path in references if changed in path.name]
            new = old.with_name(re.sub(r"_\d{4}\.", "_9999.", old.name))
            shutil.copy(old, new)
            alter(new)
            references[references.index(old)] = new
        crds_cache.build(program.folder / "crds", references, context="jwst_0002.pmap", pars=crds_cache.operations())

    return happen


def edited(module, old, new):
    """An edit in a copy of the checkout."""

    def happen(program):
        project = program.folder / "project"
        for name in ("Snakefile", "rules", "scripts", "config", "profiles", "envs"):
            source = ROOT / name
            shutil.copytree(source, project / name) if source.is_dir() else (project.mkdir(exist_ok=True), shutil.copy(source, project))
        path = project / "scripts/jwcal" / module
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
        return program._replace(project=project)

    return happen


def bumped(library):
    """A newer version of a library, as far as its metadata say."""

    def happen(program):
        metadata = program.folder / "site" / f"{library}-99.0.dist-info/METADATA"
        metadata.parent.mkdir(parents=True)
        metadata.write_text(f"Metadata-Version: 2.1\nName: {library}\nVersion: 99.0\n")
        return program._replace(environment={"PYTHONPATH": str(program.folder / "site")})

    return happen


def ahead(program):
    """A node's clock was an hour ahead when stage 1 of MIRI was made, and another's when an exposure was written."""
    for path in [*program.folder.glob("results/stage1/*mirimage*.fits"), program.uncal(SCIENCE[0])]:
        os.utime(path, (time.time() + 3600,) * 2)


def delete(root, suffix):
    return lambda program: program.product(root, suffix).unlink()


def add(program):
    """One more dither."""
    new = program.uncal(SCIENCE[0].replace("_00001_", "_00004_"))
    shutil.copy(program.uncal(SCIENCE[0]), new)
    with fits.open(new, mode="update") as hdus:
        hdus[0].header.update({"EXPOSURE": "00004", "FILENAME": new.name})


def associate(program):
    """A person's association takes two of the three dithers."""
    members = [{"expname": f"{root}_cal.fits", "exptype": "science"} for root in SCIENCE[:2]]
    content = {"asn_type": "image3", "asn_rule": "mine", "asn_id": "o001", "asn_pool": "none", "program": "01234"}
    path = program.folder / "data/mine_image3_asn.json"
    path.write_text(json.dumps({**content, "products": [{"name": MOSAIC, "members": members}]}))


# --- what has to run ---

ADDED = SCIENCE[0].replace("_00001_", "_00004_")
IMAGES = [*SCIENCE, *BACKGROUND, *MIRI]
STAGE1 = {("detector1", root): "" for root in IMAGES} | {("tso1", root): "" for root in SERIES}
STAGE2 = {("image2", root): "" for root in IMAGES} | {("tso-image2", root): "" for root in SERIES}
STAGE3 = {("image3", name): "" for name in MOSAICS} | {("tso3", CURVE): ""}


def jobs(pipeline, roots, why):
    return {(pipeline, root): why for root in roots}


def again(*roots):
    """Stage 2 because of stage 1."""
    return {(("tso-image2" if root in SERIES else "image2"), root): "is made again" for root in roots}


def together(*names):
    """Stage 3 because of stage 2."""
    return {(("tso3" if name == CURVE else "image3"), name): "is made again" for name in names}


NOTHING = {}
RESAMPLED = jobs("image2", IMAGES, "") | jobs("image3", MOSAICS, "")
SUPERBIAS = r"superbias jwst_nircam_superbias_\d+.fits -> jwst_nircam_superbias_9999.fits"
JUMP = r"jump.rejection_threshold 5.0 -> 6.0"
EVENTS = {
    "nothing changed": (lambda program: None, NOTHING),
    "touch of an uncal": (lambda program: program.uncal(SCIENCE[0]).touch(), NOTHING),
    "same bytes rewritten": (lambda program: rewrite(program.uncal(SCIENCE[0])), NOTHING),
    "clocks that are ahead": (ahead, NOTHING),
    "one uncal's content": (
        lambda program: alter(program.uncal(SCIENCE[0])),
        jobs("detector1", SCIENCE[:1], rf"^{SCIENCE[0]}_uncal.fits: its content$") | again(SCIENCE[0]) | together(MOSAIC),
    ),
    "a background's content": (
        lambda program: alter(program.uncal(BACKGROUND[1])),
        jobs("detector1", BACKGROUND[1:2], "_uncal.fits: its content") | again(*SCIENCE, BACKGROUND[1]) | together(MOSAIC, SKY_MOSAIC),
    ),
    "one parameter for all": (
        configured(steps={"jump": {"rejection_threshold": 6.0}}),
        {job: JUMP for job in STAGE1} | again(*IMAGES, *SERIES) | together(*MOSAICS, CURVE),
    ),
    "one parameter for one EXP_TYPE": (
        configured(exp_types={"MIR_IMAGE": {"jump": {"rejection_threshold": 6.0}}}),
        jobs("detector1", MIRI, JUMP) | again(*MIRI) | together(MIRI_MOSAIC),
    ),
    "a parameter of a step that no chain uses": (configured(steps={"picture_frame": {"n_sigma": 3.0}}), NOTHING),
    "content of a local reference": (
        lambda program: alter(program.folder / OWN_FLAT, "SCI"),
        jobs("image2", MIRI, f"^flat {OWN_FLAT}: its content$") | together(MIRI_MOSAIC),
    ),
    "new context, same references": (new_context(), NOTHING),
    "new context, one reference for one detector": (
        new_context("nircam_superbias"),
        jobs("detector1", SCIENCE + BACKGROUND, SUPERBIAS)
        | jobs("tso1", SERIES, SUPERBIAS)
        | again(*SCIENCE, *BACKGROUND, *SERIES)
        | together(MOSAIC, SKY_MOSAIC, CURVE),
    ),
    "code of jump": (
        edited("steps/jump.py", "\n\ndef apply(", "\n\nADDED = 1\n\n\ndef apply("),
        {job: "^step code: jump$" for job in STAGE1} | again(*IMAGES, *SERIES) | together(*MOSAICS, CURVE),
    ),
    "code of resample": (
        edited("arithmetic/resample/blend.py", "\n\ndef blended(", "\n\nADDED = 1\n\n\ndef blended("),
        {job: r"^step code: resample \(arithmetic/resample/blend\)$" for job in RESAMPLED},
    ),
    "a comment": (edited("steps/jump.py", "\n\ndef apply(", "\n\n# as in the paper\n\n\ndef apply("), NOTHING),
    "a library": (bumped("drizzle"), {job: r"^drizzle \S+ -> 99.0$" for job in RESAMPLED}),
    "a product deleted": (
        delete(MIRI[0], "i2d"),
        jobs("image2", MIRI[:1], f"^there is no {MIRI[0]}_i2d.fits$") | together(MIRI_MOSAIC),
    ),
    "an intermediate deleted": (
        delete(MIRI[0], "rate"),
        jobs("detector1", MIRI[:1], f"^there is no {MIRI[0]}_rate.fits$") | again(MIRI[0]) | together(MIRI_MOSAIC),
    ),
    "an exposure added": (
        add,
        jobs("detector1", [ADDED], "^not made yet$")
        | jobs("image2", [ADDED], "^not made yet$")
        | jobs("image3", [MOSAIC], f"^science {ADDED}_cal.fits is a new input$"),
    ),
    "an exposure removed": (
        lambda program: program.uncal(SCIENCE[0]).unlink(),
        jobs("image3", [MOSAIC], f"^science {SCIENCE[0]}_cal.fits is no input any more$"),
    ),
    "a background removed": (
        lambda program: program.uncal(BACKGROUND[0]).unlink(),
        jobs("image2", SCIENCE, f"^background {BACKGROUND[0]}_rate.fits is no input any more$")
        | together(MOSAIC)
        | jobs("image3", [SKY_MOSAIC], f"^science {BACKGROUND[0]}_cal.fits is no input any more$"),
    ),
    "until moved back": (configured(until="stage1"), NOTHING),
    "a member altered by hand": (
        lambda program: alter(program.product(SCIENCE[1], "cal")),
        jobs("image2", SCIENCE[1:2], f"^{SCIENCE[1]}_cal.fits is not what was made$") | together(MOSAIC),
    ),
    "a listed product deleted": (delete(SCIENCE[1], "o001_crf"), jobs("image3", [MOSAIC], f"^there is no {SCIENCE[1]}_o001_crf.fits$")),
    "a listed product altered": (
        lambda program: alter(program.product(SCIENCE[1], "o001_crf")),
        jobs("image3", [MOSAIC], f"^{SCIENCE[1]}_o001_crf.fits is not what was made$"),
    ),
    "a mosaic deleted": (delete(MOSAIC, "i2d"), jobs("image3", [MOSAIC], f"^there is no {MOSAIC}_i2d.fits$")),
    "a parameter of stage 3": (
        configured(steps={"source_catalog": {"snr_threshold": 4.0}}),
        jobs("image3", MOSAICS, r"^source_catalog.snr_threshold 3.0 -> 4.0$"),
    ),
    "a parameter of stage 3 for one EXP_TYPE": (
        configured(exp_types={"MIR_IMAGE": {"tweakreg": {"skip": True}}}),
        jobs("image3", [MIRI_MOSAIC], "^step tweakreg left out$"),
    ),
    "code of source_catalog": (
        edited("steps/source_catalog.py", "\n\ndef apply(", "\n\nADDED = 1\n\n\ndef apply("),
        jobs("image3", MOSAICS, "^step code: source_catalog$"),
    ),
    "a kernel of IRS2": (edited("kernels/detector/irs2.py", "\n\n@njit", "\n\nADDED = 1\n\n\n@njit"), NOTHING),
    "a writer of spectra": (edited("products/spectra.py", "\n\ndef ", "\n\nADDED = 1\n\n\ndef "), NOTHING),
    "code of a step of imaging": (
        edited("steps/photom.py", "\n\ndef apply(", "\n\nADDED = 1\n\n\ndef apply("),
        {job: r"^step code: photom$" for job in STAGE2} | together(*MOSAICS, CURVE),
    ),
    "code of another pipeline of stage 3": (edited("steps/wfs_combine.py", "\n\ndef apply(", "\n\nADDED = 1\n\n\ndef apply("), NOTHING),
    "a segment's content": (
        lambda program: alter(program.uncal(SERIES[1])),
        jobs("tso1", SERIES[1:], f"^{SERIES[1]}_uncal.fits: its content$") | again(SERIES[1]) | together(CURVE),
    ),
    "a segment removed": (
        lambda program: program.uncal(SERIES[1]).unlink(),
        jobs("tso3", [CURVE], f"^science {SERIES[1]}_calints.fits is no input any more$"),
    ),
    "one parameter for series": (
        configured(exp_types={"NRC_TSIMAGE": {"jump": {"rejection_threshold": 6.0}}}),
        jobs("tso1", SERIES, JUMP) | again(*SERIES) | together(CURVE),
    ),
    "rateints of a segment deleted": (
        delete(SERIES[0], "rateints"),
        jobs("tso1", SERIES[:1], f"^there is no {SERIES[0]}_rateints.fits$") | again(SERIES[0]) | together(CURVE),
    ),
    "rate of a segment altered": (
        lambda program: alter(program.product(SERIES[0], "rate")),
        jobs("tso1", SERIES[:1], f"^{SERIES[0]}_rate.fits is not what was made$") | again(SERIES[0]) | together(CURVE),
    ),
    "a light curve deleted": (
        lambda program: (program.folder / f"results/stage3/{CURVE}_phot.ecsv").unlink(),
        jobs("tso3", [CURVE], f"^there is no {CURVE}_phot.ecsv$"),
    ),
    "code of outliers in series": (
        edited("arithmetic/outliers/tso.py", "\n\ndef ", "\n\nADDED = 1\n\n\ndef "),
        jobs("tso3", [CURVE], r"^step code: outlier_detection \(arithmetic/outliers/tso\)$"),
    ),
    "an association changed": (
        associate,
        jobs("image3", [MOSAIC], f"^association mine_image3_asn.json; science {SCIENCE[2]}_cal.fits is no"),
    ),
}


@pytest.mark.parametrize("event", EVENTS)
def test_exactly_what_is_stale_runs(program, event):
    happen, wanted = EVENTS[event]
    run = snakemake(happen(program) or program, "-n")
    assert run.status == 0, run.text
    assert sorted(run.jobs) == sorted(wanted)
    wrong = {job: why for job, why in run.jobs.items() if not re.search(wanted[job], why)}
    assert not wrong


def test_until_moved_on(made, tmp_path):
    """What was made stays; only what comes after is made."""
    program = made._replace(folder=tmp_path, config={**made.config, "until": "stage1"})
    subprocess.run(["cp", "-a", *made.folder.glob("[!r]*"), made.folder / "references", tmp_path], check=True)
    shutil.copytree(made.folder / "results/stage1", tmp_path / "results/stage1", copy_function=shutil.copy2)
    assert snakemake(program, "-n").jobs == {}
    assert set(snakemake(program._replace(config=made.config), "-n").jobs) == set(STAGE2 | STAGE3)


def test_an_incremental_run_gives_the_bytes_of_a_clean_one(program, tmp_path):
    """A change, the run that follows it, and the same from nothing; then the products that stay are the same files."""
    program.config.update(exp_types={"MIR_IMAGE": {"jump": {"rejection_threshold": 6.0}}})
    files = {path: path.stat().st_ino for path in program.folder.glob("results/stage*/*.fits")}
    run = snakemake(program)
    assert run.status == 0 and set(run.jobs) == set(jobs("detector1", MIRI, "") | again(*MIRI) | together(MIRI_MOSAIC))
    assert snakemake(program).jobs == {}
    clean = program._replace(
        config={**program.config, "results": "clean", "links": [], "data": [f"data/{root}_uncal.fits" for root in [*MIRI, *SERIES]]}
    )
    assert snakemake(clean).status == 0
    compared = sorted(program.folder.glob("clean/stage*/*.fits"))
    assert len(compared) == 3 * 4 + 3 + 2 + 2 * 4  # crf, the mosaic with its segments, and four of each segment of the series
    for path in compared:
        assert path.read_bytes() == (program.folder / "results" / path.parent.name / path.name).read_bytes(), path.name
    same = {path for path, node in files.items() if path.stat().st_ino == node}
    others = {path.name for path in files.keys() - same}  # what comes out the same stays
    assert {f"{root}_rate.fits" for root in MIRI} <= others <= {path.name for path in compared if not path.name.startswith(SERIES[0][:19])}


def test_a_clock_that_is_ahead_does_not_matter(program):
    """Stale products and an exposure from the future: everything is made, once."""
    ahead(program)
    program.config.update(exp_types={"MIR_IMAGE": {"jump": {"rejection_threshold": 6.0}}})
    program.product(SCIENCE[0], "rate").unlink()
    run = snakemake(program)
    assert run.status == 0, run.text
    assert set(run.jobs) == set(jobs("detector1", [*MIRI, SCIENCE[0]], "") | again(*MIRI, SCIENCE[0]) | together(MOSAIC, MIRI_MOSAIC))
    assert snakemake(program, "-n").jobs == {}


def test_what_comes_out_the_same_ends_there(program):
    """An intermediate is deleted: it is made again, its bytes are the same, and what lies below is not computed."""
    program.product(SCIENCE[0], "rate").unlink()
    below = {
        path: path.stat().st_ino for path in program.folder.glob("results/stage[23]/*.fits") if path.name.startswith((SCIENCE[0], MOSAIC))
    }
    run = snakemake(program)
    assert run.status == 0 and set(run.jobs) == set(jobs("detector1", SCIENCE[:1], "") | again(SCIENCE[0]) | together(MOSAIC))
    assert len(below) == 3 + 2 and {path: path.stat().st_ino for path in below} == below
    (log,) = program.folder.glob(f"results/logs/{SCIENCE[0]}.image2*.log")
    assert "came out the same" in log.read_text()
    assert snakemake(program).jobs == {}
