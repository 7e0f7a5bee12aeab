"""The workflow as its users run it: `snakemake` on folders of files. Few runs, each looked at from many sides."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from astropy.io import fits

from jwcal.products import stored
from jwcal.simulate.detector import make_detector
from jwcal.simulate.instruments import Subarray
from jwcal.simulate.references import write_references

ROOT = Path(__file__).resolve().parents[2]
REAL_GUIDER = ROOT.parent / "shared/real/guider/jw01019001001_gs-acq1_2022117003102_uncal.fits"
needs_guider = pytest.mark.skipif(not REAL_GUIDER.exists(), reason=f"the flight file {REAL_GUIDER.name} is not there")


class Run(NamedTuple):
    """A run of Snakemake: its exit status, all it said, and the products before and after, path -> time of writing."""

    status: int
    text: str
    before: dict
    after: dict

    @property
    def jobs(self):
        """Names of the rules that were run, the target left out."""
        return sorted(re.findall(r"^(\w+) jw\S+: ", self.text, flags=re.MULTILINE))

    @property
    def made(self):
        """Names of the products that were written."""
        return {path.name for path, time in self.after.items() if self.before.get(path) != time}

    @property
    def summary(self):
        """Lines of the summary, which ends the run."""
        _, found, last = self.text.rpartition("\njwcal: ")
        return ["jwcal: " + last.splitlines()[0], *map(str.strip, last.splitlines()[1:])] if found else []


def snakemake(folder, *arguments, config=None, cores=2):
    """Run the workflow in a folder, from the checkout's Snakefile."""
    if config is not None:
        (folder / "mine.yaml").write_text(yaml.safe_dump(config, allow_unicode=True))
        arguments = ("--configfile", "mine.yaml", *arguments)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CRDS_") and name != "PYTHONPATH"}
    command = [Path(sys.executable).parent / "snakemake", "-s", ROOT / "Snakefile", "--cores", str(cores), *map(str, arguments)]
    before = written(folder)
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return Run(done.returncode, done.stdout, before, written(folder))


def written(folder):
    """Products below a folder and when they were written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("stage*/*.fits")}


def copy(source, path, removed=(), **keywords):
    """A copy of an exposure under another name, with other keywords and without some."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, path)
    with fits.open(path, mode="update") as hdus:
        hdus[0].header.update(keywords)
        for keyword in removed:
            hdus["SCI"].header.remove(keyword)
    return path


def root(number):
    return f"jw01234001001_{number:05}_00001_nrcb1"


IMAGE, SERIES, GRISM, LATER = root(2101), root(2102), root(4101), root(5101)
GUIDER = REAL_GUIDER.name.removesuffix("_uncal.fits")
SUFFIXES = {
    IMAGE: {"ramp", "rate", "rateints", "cal", "i2d"},
    SERIES: {"ramp", "rate", "rateints", "calints"},
    GRISM: {"ramp", "rate", "rateints"},
    LATER: {"cal", "i2d"},
    **({GUIDER: {"cal"}} if REAL_GUIDER.exists() else {}),
}


def names(*roots):
    return {f"{name}_{suffix}.fits" for name in roots for suffix in SUFFIXES[name]}


@pytest.fixture(scope="module")
def folder(tiny, tiny_rate, tmp_path_factory):
    """A program of many kinds, below names with spaces and letters of other alphabets."""
    folder = tmp_path_factory.mktemp("workflow") / "mein prógramm ☆"
    for source in (tiny.image, tiny.series):
        copy(source, folder / "die daten" / "1. besuch" / source.name)
    copy(tiny.image, folder / "die daten" / f"{GRISM}_uncal.fits", EXP_TYPE="NRC_GRISM")
    copy(tiny_rate, folder / "die daten" / "später" / f"{LATER}_rate.fits")
    shutil.copytree(tiny.crds, folder / "crds")
    return folder


@pytest.fixture(scope="module")
def config(folder):
    """The configuration, all paths relative; the flight file of a guide star, with references of its own, if it is there."""
    overrides, data = [], ["die daten"]
    if REAL_GUIDER.exists():
        sensor = make_detector("FGS", "GUIDER2", Subarray("128X128", 887, 1022, 128, 128))
        made = write_references(folder / "leitstern", sensor, types=["mask", "gain", "readnoise", "flat"])
        files = {kind: str(path.relative_to(folder)) for kind, path in made.items()}
        overrides, data = [{"match": {"INSTRUME": "FGS"}, "files": files}], [*data, str(REAL_GUIDER)]
    return {
        "data": data,
        "results": "die produkte",
        "until": "stage2",
        "save": ["ramp"],
        "references": {"crds_path": "crds", "overrides": overrides},
    }


@pytest.fixture(scope="module")
def first(folder, config):
    return snakemake(folder, config=config)


@pytest.fixture(scope="module")
def second(first, folder, config):
    return snakemake(folder, config=config)


@pytest.fixture(scope="module")
def changed(second, folder, config):
    """Other parameters: of a late step for images, of an early one for series."""
    exp_types = {"NRC_IMAGE": {"resample": {"pixfrac": 0.8}}, "NRC_TSIMAGE": {"jump": {"rejection_threshold": 7.0}}}
    return snakemake(folder, config={**config, "exp_types": exp_types})


# --- a first run ---


def test_products_of_every_exposure(first, folder):
    """Each exposure goes through its own chain, from what the archive has of it to what this version can make."""
    assert first.status == 0, first.text
    assert first.made == names(*SUFFIXES)
    stages = {path.name: path.parent.name for path in first.after}
    assert {stages[f"{IMAGE}_{suffix}.fits"] for suffix in ("ramp", "rate", "rateints")} == {"stage1"}
    assert {stages[f"{IMAGE}_{suffix}.fits"] for suffix in ("cal", "i2d")} == {"stage2"}
    assert all(path.parent.parent == folder / "die produkte" for path in first.after)


def test_products_are_what_they_are_called(first):
    shapes = {path.name: stored.read(path).sci.shape for path in first.after}
    assert shapes[f"{IMAGE}_ramp.fits"] == (1, 5, 64, 64)
    assert shapes[f"{IMAGE}_rate.fits"] == shapes[f"{LATER}_cal.fits"] == (64, 64)
    assert shapes[f"{SERIES}_rateints.fits"] == shapes[f"{SERIES}_calints.fits"] == (2, 64, 64)
    assert len(shapes[f"{IMAGE}_i2d.fits"]) == 2


@needs_guider
def test_flight_file_of_a_guide_star_among_them(first, folder):
    """Routed by its own row to calwebb_guider, with the references that are for its instrument."""
    header = stored.header(folder / "die produkte/stage1" / f"{GUIDER}_cal.fits")
    status = {keyword: header.get(keyword) for keyword in ("S_DQINIT", "S_GUICDS", "S_FLAT")}
    assert status == dict.fromkeys(status, "COMPLETE")
    assert (header["EXP_TYPE"], header["INSTRUME"]) == ("FGS_ACQ1", "FGS")
    assert header["R_FLAT"].startswith("jwst_fgs_flat_")


def test_summary_of_a_first_run(first):
    """What was made, where it is, and which exposures stop before their end, and why."""
    assert first.summary[0] == f"jwcal: {len(first.made)} products made, 0 up to date, 0 not made. They are in die produkte"
    assert set(first.summary[1:]) == {
        "associations: 3 of stage 2. They are in die produkte/associations",
    }


def test_log_of_every_job(first, folder):
    results = folder / "die produkte"
    logs = sorted(path.stem for path in (results / "logs").iterdir())
    assert len(first.jobs) == len(logs) == len(names(*SUFFIXES)) - sum(len(suffixes) - 1 for suffixes in _by_job())
    log = (results / "logs" / f"{IMAGE}.detector1_ramp_rate_rateints.log").read_text()
    assert "jump COMPLETE" in log and "ipc SKIPPED: switched off" in log and "Traceback" not in log


def _by_job():
    """Products that one job makes together."""
    stage1 = {"ramp", "rate", "rateints"}
    return [part for suffixes in SUFFIXES.values() for part in (suffixes & stage1, suffixes - stage1) if part]


def test_nothing_but_products_is_left(first, folder):
    """No temporary file, no trace of the run in the folder of the data."""
    assert not [path for path in folder.rglob("*") if path.name.endswith(".tmp")]
    assert {path.suffix for path in (folder / "die daten").rglob("*") if path.is_file()} == {".fits"}
    left = {path.name for path in (folder / "die produkte").iterdir()}
    assert left == {".jwcal", "associations", "logs", "stage1", "stage2", "summary.txt"}


# --- further runs ---


def test_a_second_run_makes_nothing(second):
    assert second.status == 0 and second.jobs == [] and second.made == set()
    assert "Nothing to be done" in second.text


def test_summary_of_a_second_run(second, first):
    """There is one though Snakemake has nothing to do, and the exposures that stop early are told again."""
    assert second.summary[0] == f"jwcal: 0 products made, {len(first.made)} up to date, 0 not made. They are in die produkte"
    assert second.summary[1:] == first.summary[1:]


def test_what_is_up_to_date_can_be_asked_for_too(second, first, folder, config):
    """By an option, by its own target, or by the name of a product."""
    assert snakemake(folder, "--dry-run", "--forceall", config=config).jobs == first.jobs
    again = snakemake(folder, "--dry-run", "--forcerun", "image2_cal_i2d", config=config).jobs
    assert set(again) == {"image2_cal_i2d"} and len(again) == first.jobs.count("image2_cal_i2d")
    assert snakemake(folder, "--dag", "dot", "everything", config=config).text.count("detector1_ramp_rate_rateints") == 2
    one = snakemake(folder, "--dry-run", "--force", f"die produkte/stage2/{IMAGE}_cal.fits", config=config)
    assert one.jobs == ["image2_cal_i2d"] and "no job" not in one.text


def test_a_changed_parameter_remakes_what_depends_on_it(changed):
    """And nothing else: of images stage 2 alone, of the series both stages, of the others nothing."""
    assert changed.status == 0, changed.text
    assert changed.made == {f"{name}_{suffix}.fits" for name in (IMAGE, LATER) for suffix in ("cal", "i2d")} | names(SERIES)
    assert changed.jobs == ["image2_cal_i2d", "image2_cal_i2d", "tso1_ramp_rate_rateints", "tso_image2_calints"]
    others = len(changed.after) - len(changed.made)
    assert changed.summary[0] == f"jwcal: {len(changed.made)} products made, {others} up to date, 0 not made. They are in die produkte"


def test_one_core_and_two_give_the_same_bytes(changed, folder, config):
    """Also: a key on the command line wins over the file's, and `-s` from the data's own folder."""
    settings = yaml.safe_load((folder / "mine.yaml").read_text())
    again = snakemake(folder, "--config", "results=noch einmal", "data=die daten/1. besuch", config=settings, cores=1)
    assert again.status == 0 and again.made == names(IMAGE, SERIES)
    for path in folder.glob("noch einmal/stage*/*.fits"):
        twin = folder / "die produkte" / path.relative_to(folder / "noch einmal")
        assert path.read_bytes() == twin.read_bytes(), path.name


def test_everything_on_the_command_line(tiny, tmp_path):
    """Without a file, and only as far as asked; a dry run plans, makes nothing, and has nothing to sum up."""
    settings = [f"data={tiny.image}", "results=out", "until=stage1", f"references={{crds_path: {tiny.crds}}}"]
    run = snakemake(tmp_path, "--dry-run", "--config", *settings)
    assert run.status == 0 and set(run.jobs) == {"detector1_rate_rateints"}
    assert run.made == set() and run.summary == []


# --- when something is wrong ---


@pytest.fixture(scope="module")
def bad_folder(tiny, tiny_rate, tmp_path_factory):
    """One good exposure; two that can't be used; one that fails in stage 1, one in stage 2; one that is not ours."""
    folder = tmp_path_factory.mktemp("bad")
    copy(tiny.image, folder / "data" / tiny.image.name)
    (folder / "data" / f"{root(6101)}_uncal.fits").write_bytes(tiny.image.read_bytes()[:30000])
    copy(tiny.image, folder / "data" / f"{root(6102)}_uncal.fits", EXP_TYPE="NRC_IMAG")
    copy(tiny.image, folder / "data" / f"{root(6103)}_uncal.fits", OBSERVTN="002")
    copy(tiny_rate, folder / "data" / f"{root(6104)}_rate.fits", removed=["V2_REF"])
    copy(tiny.image, folder / "data" / f"{root(6105)}_uncal.fits", TELESCOP="HST")
    (folder / "gain.fits").write_bytes(tiny.references["gain"].read_bytes()[:10000])
    return folder


@pytest.fixture(scope="module")
def bad_config(tiny):
    overrides = [{"match": {"OBSERVTN": "002"}, "files": {"gain": "gain.fits"}}]
    return {"data": "data", "results": "results", "until": "stage2", "references": {"crds_path": str(tiny.crds), "overrides": overrides}}


@pytest.fixture(scope="module")
def failed(bad_folder, bad_config):
    return snakemake(bad_folder, config=bad_config)


def test_the_others_are_done(failed, bad_folder):
    """The exit status is that of a failure, and the good exposure has all its products; nothing is half done."""
    assert failed.status != 0
    assert failed.made == {f"{IMAGE}_{suffix}.fits" for suffix in ("rate", "rateints", "cal", "i2d")}
    assert not list(bad_folder.rglob("*.tmp"))


def test_summary_says_what_failed_and_why(failed, bad_folder):
    data = bad_folder / "data"
    assert failed.summary[0] == "jwcal: 4 products made, 0 up to date, 6 not made; 2 files can't be used. They are in results"
    rest = "\n".join(failed.summary[1:])
    for start, *parts in (
        (
            f"failed: {root(6103)} detector1: {bad_folder / 'gain.fits'}: ",
            "the gain reference can't be read: the file is truncated",
            "Fetch",
        ),
        (f"failed: {root(6104)} image2: {data / root(6104)}_rate.fits: ", "the keyword V2_REF is missing", "or set it"),
        ("not made because of that, or not reached: ", f"{root(6103)} image2"),
        (f"can't be used: {data / root(6101)}_uncal.fits: ", "the file is truncated: 30000 bytes", "Fetch the file again"),
        (f"can't be used: {data / root(6102)}_uncal.fits: ", "NRC_IMAG is no EXP_TYPE of JWST", "The nearest that is known is NRC_IMAGE"),
        (f"left out: {data / root(6105)}_uncal.fits: ", "not a JWST file"),
    ):
        (line,) = [line for line in failed.summary if line.startswith(start)]
        assert all(part in line for part in parts), line
    assert root(2101) not in rest and "Traceback" not in rest
    assert "KeyError" not in failed.text and "ValueError" not in failed.text


def test_a_failure_is_two_lines_on_the_screen(failed, bad_folder):
    """What failed and why, each once; where its log is. The summary says it again at the end."""
    screen = failed.text[: failed.text.index("\njwcal: ")].splitlines()
    name = root(6104)
    at = screen.index(next(line for line in screen if line.startswith(f"failed: image2_cal_i2d {name}: ")))
    assert "the keyword V2_REF is missing" in screen[at]
    assert screen[at + 1] == f"    its log is results/logs/{name}.image2_cal_i2d.log"
    assert sum("V2_REF" in line for line in screen) == 1 and sum(line.startswith("failed: ") for line in screen) == 3
    assert "failed: refuse: 2 files can't be used" in screen and not [line for line in screen if line.startswith("ERROR: ")]


def test_a_repaired_program_is_finished(failed, bad_folder, bad_config, tiny, tiny_rate):
    """With what was wrong put right the next run makes what is missing, and only that."""
    for number in (6101, 6102, 6105):
        (bad_folder / "data" / f"{root(number)}_uncal.fits").unlink()
    shutil.copy(tiny.references["gain"], bad_folder / "gain.fits")
    copy(tiny_rate, bad_folder / "data" / f"{root(6104)}_rate.fits")
    run = snakemake(bad_folder, config=bad_config)
    assert run.status == 0, run.text
    assert run.made == {f"{root(6103)}_{suffix}.fits" for suffix in ("rate", "rateints", "cal", "i2d")} | {
        f"{root(6104)}_{suffix}.fits" for suffix in ("cal", "i2d")
    }
    assert run.summary[0] == "jwcal: 6 products made, 4 up to date, 0 not made. They are in results"


def test_a_mistake_in_the_configuration_stops_before_anything_runs(tiny, tmp_path):
    run = snakemake(tmp_path, config={"data": str(tiny.image), "steps": {"jump": {"rejection_treshold": 5}}})
    assert run.status != 0 and run.jobs == []
    assert "steps.jump.rejection_treshold: there is no parameter of jump called 'rejection_treshold'" in run.text
    assert "The nearest is rejection_threshold." in run.text
    assert not (tmp_path / "results").exists()
