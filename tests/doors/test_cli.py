"""One pipeline by hand: `python -m jwcal` with each of its options, and `jwcal.run_pipeline` in Python."""

import io
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import asdf
import numpy as np
import pytest
import yaml
from astropy.io import fits

import jwcal
from jwcal.__main__ import COMMANDS, main
from jwcal.model.exposure import Exposure
from jwcal.products import stored
from jwcal.provenance import records
from jwcal.vocabulary.errors import ConfigError, InputError

pytestmark = pytest.mark.usefixtures("no_crds")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def cli(tiny, tmp_path):
    """Run the command line in this process: its exit status."""

    def run(*arguments, crds=tiny.crds):
        return main([str(a) for a in (*arguments, "--out", tmp_path / "out", "--crds-path", crds)])

    return run


@pytest.fixture
def product(tiny, tmp_path):
    """Path of a product of the image."""
    return lambda suffix="rate": tmp_path / "out" / tiny.image.name.replace("_uncal", f"_{suffix}")


def made_with(path):
    """What a product says about its making: status of each step, parameters of each step."""
    with fits.open(path) as hdus:
        block = np.asarray(hdus["ASDF"].data["ASDF_METADATA"][0]).tobytes()
    with asdf.open(io.BytesIO(block)) as file:
        steps = file.tree["jwcal"]["steps"]
        return {s["name"]: s["status"] for s in steps}, {s["name"]: dict(s["parameters"]) for s in steps}


# --- the command line ---


def test_products_of_a_pipeline(tiny, tmp_path, cli, product, capsys):
    assert cli("detector1", tiny.image) == 0
    assert sorted((tmp_path / "out").glob("*.fits")) == [product("rate"), product("rateints")]
    assert records.read(product("rate"))["inputs"][0]["name"] == tiny.image.name
    assert f"{tiny.image}: rate, rateints written to {tmp_path / 'out'}" in capsys.readouterr().out
    assert cli("image2", product("rate")) == 0
    assert product("cal").exists() and product("i2d").exists()


@pytest.mark.parametrize("name", ["calwebb_image2", "calwebb_image2.cfg", "Image2Pipeline", "jwst.pipeline.Image2Pipeline", "IMAGE2"])
def test_old_names(cli, tiny_rate, product, name):
    assert cli(name, tiny_rate, "--skip", "resample") == 0
    assert product("cal").exists() and not product("i2d").exists()


def test_set(tiny, cli, product):
    assert cli("detector1", tiny.image, "--set", "jump.rejection_threshold=6.5", "--set", "dark_current.skip=true") == 0
    status, parameters = made_with(product())
    assert parameters["jump"]["rejection_threshold"] == 6.5
    assert status["dark_current"] == "SKIPPED" and parameters["dark_current"]["skip"] is True


def test_skip_and_run(tiny, cli, product):
    """A step off that is on, and one on that CRDS's parameters switch off."""
    assert cli("detector1", tiny.image, "--skip", "linearity", "--skip", "jump", "--run", "ipc") == 0
    status, _ = made_with(product())
    assert [status[step] for step in ("linearity", "jump", "ipc")] == ["SKIPPED", "SKIPPED", "COMPLETE"]
    header = fits.getheader(product())
    assert (header["S_LINEAR"], header["S_JUMP"], header["S_IPC"]) == ("SKIPPED", "SKIPPED", "COMPLETE")


def test_override(tiny, tmp_path, cli, product):
    """A gain twice as large gives the same rate with other Poisson variance; N/A leaves a step out."""
    assert cli("detector1", tiny.image) == 0
    before = stored.read(product())
    with fits.open(tiny.references["gain"], memmap=False) as hdus:
        hdus["SCI"].data *= 2
        hdus.writeto(tmp_path / "my_gain.fits")
    assert cli("detector1", tiny.image, "--override", f"gain={tmp_path / 'my_gain.fits'}", "--override", "superbias=N/A") == 0
    after = stored.read(product())
    assert after.header["R_GAIN"] == "my_gain.fits" and after.header["S_SUPERB"] == "SKIPPED"
    seen = (before.dq == 0) & (after.dq == 0) & (before.var_poisson > 0) & (after.var_poisson > 0)
    assert np.median(before.var_poisson[seen] / after.var_poisson[seen]) == pytest.approx(2, rel=0.05)


def test_parameter_files(tiny, tmp_path, cli, product):
    """YAML, or the archive's form of a step or of a pipeline; --set, --skip and --run win over them."""
    wanted = tmp_path / "mine.yaml"
    wanted.write_text(yaml.safe_dump({"jump": {"rejection_threshold": 7.0, "four_group_rejection_threshold": 8.0}, "ipc": {"skip": False}}))
    assert cli("detector1", tiny.image, "--params", wanted, "--set", "jump.rejection_threshold=9", "--skip", "ipc") == 0
    status, parameters = made_with(product())
    assert parameters["jump"]["rejection_threshold"] == 9 and parameters["jump"]["four_group_rejection_threshold"] == 8
    assert status["ipc"] == "SKIPPED"
    step = {"class": "jwst.jump.jump_step.JumpStep", "name": "jump", "parameters": {"rejection_threshold": 11.0, "save_results": True}}
    asdf.AsdfFile(step).write_to(tmp_path / "step.asdf")
    assert cli("detector1", tiny.image, "--params", tmp_path / "step.asdf") == 0
    assert made_with(product())[1]["jump"]["rejection_threshold"] == 11
    pipeline = {"class": "jwst.pipeline.Detector1Pipeline", "name": "Detector1Pipeline", "parameters": {}, "steps": [step]}
    asdf.AsdfFile(pipeline).write_to(tmp_path / "pipeline.asdf")
    assert cli("detector1", tiny.image, "--params", tmp_path / "pipeline.asdf", "--run", "ipc") == 0
    status, parameters = made_with(product())
    assert parameters["jump"]["rejection_threshold"] == 11 and status["ipc"] == "COMPLETE"


def test_parameters_of_crds_are_used_without_any_option(tiny, cli, product):
    """The simulated operations look for jumps at 5 sigma and leave out ipc; the steps' own defaults are other ones."""
    assert cli("detector1", tiny.image) == 0
    status, parameters = made_with(product())
    assert parameters["jump"]["rejection_threshold"] == 5 and status["ipc"] == "SKIPPED"


def test_save_an_optional_product(tiny, cli, product):
    assert cli("detector1", tiny.image, "--save", "ramp") == 0
    ramp = stored.read(product("ramp"))
    assert ramp.sci.shape == (1, 5, 64, 64) and ramp.groupdq.dtype == np.uint8
    assert "S_RAMP" not in ramp.header and ramp.header["S_JUMP"] == "COMPLETE"


def test_context(tiny, cli, product, capsys):
    assert cli("detector1", tiny.image, "--crds-context", "jwst_0001.pmap") == 0
    assert fits.getheader(product())["CRDS_CTX"] == "jwst_0001.pmap"
    assert cli("detector1", tiny.image, "--crds-context", "jwst_0002.pmap") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("ERROR: ") and "jwst_0002.pmap" in error


def test_files_after_a_bad_one_are_done(tiny, tmp_path, cli, product, capsys):
    bad = tmp_path / tiny.image.name.replace("02101", "03101")
    bad.write_bytes(tiny.image.read_bytes()[:9000])
    assert cli("detector1", bad, tiny.image) == 1
    assert product().exists() and len(list((tmp_path / "out").glob("*.fits"))) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ERROR: ")]
    assert len(errors) == 1 and errors[0].startswith(f"ERROR: {bad}: the file is truncated")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["detektor1"], "there is no command, pipeline or step 'detektor1'. The nearest is detector1"),
        (
            ["nrslamp-spec2"],
            "nrslamp-spec2 is no pipeline of NRC_IMAGE, which goes through detector1 -> image2 -> image3. Choose one of its own",
        ),
        (["detector1", "--set", "jump.rejection=5"], "steps.jump.rejection: there is no parameter of jump called 'rejection'"),
        (["detector1", "--set", "jumb.skip=true"], "steps.jumb: there is no step 'jumb'. The nearest is jump"),
        (["detector1", "--set", "jump=5"], "--set jump=5: STEP.PARAMETER=VALUE is wanted"),
        (["detector1", "--set", "jump.skip"], "--set jump.skip: NAME=VALUE is wanted"),
        (["detector1", "--set", "jump.rejection_threshold=high"], "steps.jump.rejection_threshold must be a number"),
        (["detector1", "--skip", "refpics"], "steps.refpics: there is no step 'refpics'. The nearest is refpix"),
        (["detector1", "--override", "flat"], "--override flat: NAME=VALUE is wanted"),
        (["detector1", "--override", "flatt=N/A"], "references.overrides.flatt: there is no reference type 'flatt'. The nearest is flat"),
        (["detector1", "--override", "gain=nowhere.fits"], "references.overrides.gain: there is no file"),
        (["detector1", "--params", "nowhere.yaml"], "nowhere.yaml: there is no such parameter file"),
        (["detector1", "--save", "rmp"], "save[0]: there is no product suffix 'rmp'. The nearest is ramp"),
        (["detector1", "--skip", "ramp_fit"], "detector1 made no product: the step that makes it was skipped"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes(tiny, tmp_path, cli, capsys, monkeypatch, arguments, message):
    """Told with the nearest right name, before anything is written."""
    monkeypatch.chdir(tmp_path)
    assert cli(arguments[0], tiny.image, *arguments[1:]) == 1
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ERROR: ")]
    assert message in error
    assert not (tmp_path / "out").exists()


def test_select(tiny, tmp_path, capsys):
    """The chain of each file, and why; without references and without a folder for products."""
    bad = tmp_path / "notes.fits"
    bad.write_text("no FITS")
    assert main(["select", str(tiny.image), str(tiny.series), str(bad)]) == 1
    said = capsys.readouterr()
    assert f"{tiny.image}: detector1 -> image2 -> image3\n" in said.out
    assert f"{tiny.series}: tso1 -> tso-image2 -> tso3\n" in said.out
    assert "row NRC_TSIMAGE" in said.out
    assert "ERROR:" in said.err and "notes.fits" in said.err
    assert os.listdir(tmp_path) == ["notes.fits"]


def test_as_a_program(tiny, tmp_path):
    """With the relative paths and the environment that a person has: `cd` into the data, CRDS_PATH set."""
    folder = tmp_path / "with space"
    folder.mkdir()
    shutil.copy(tiny.image, folder)
    environment = {**os.environ, "CRDS_PATH": str(tiny.crds), "PYTHONPATH": str(ROOT / "scripts")}
    command = [sys.executable, "-m", "jwcal", "detector1", tiny.image.name]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in folder.glob("*.fits")} == {tiny.image.name.replace("uncal", s) for s in ("uncal", "rate", "rateints")}
    assert "jwcal.run.one_step: jump COMPLETE" in done.stderr
    helped = subprocess.run([*command[:4], "--help"], env=environment, capture_output=True, text=True)
    assert helped.returncode == 0
    assert all(f"--{name}" in helped.stdout for name in ("out", "set", "skip", "run", "override", "params", "save", "crds-path"))


# --- in Python ---


def test_who_reads_may_stop():
    """`jwcal parameters | head -1`: no traceback, and nothing more."""
    command = f"set -o pipefail; '{sys.executable}' -m jwcal parameters | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == 128 + signal.SIGPIPE and done.stderr == "" and len(done.stdout.splitlines()) == 1


def test_run_pipeline_returns_the_exposure(tiny, tmp_path, monkeypatch):
    """The first product, in memory; nothing is written."""
    monkeypatch.chdir(tmp_path)
    rate = jwcal.run_pipeline("detector1", tiny.image, crds_path=tiny.crds)
    assert isinstance(rate, Exposure) and rate.suffix == "rate" and rate.sci.shape == (64, 64)
    assert rate.header["EXP_TYPE"] == "NRC_IMAGE" and rate.steps["jump"][0] == "COMPLETE"
    cal = jwcal.run_pipeline("image2", rate, crds_path=tiny.crds)
    assert cal.suffix == "cal" and cal.wcs is not None and cal.header["BUNIT"] == "MJy/sr"
    assert os.listdir(tmp_path) == []


def test_run_pipeline_takes_an_exposure(tiny, tiny_rate):
    """An exposure in memory gives what its file gives."""
    of_file = jwcal.run_pipeline("image2", tiny_rate, crds_path=tiny.crds)
    of_memory = jwcal.run_pipeline("image2", jwcal.run_pipeline("detector1", tiny.image, crds_path=tiny.crds), crds_path=tiny.crds)
    for name, array in of_file.pixels[0].planes():
        np.testing.assert_array_equal(getattr(of_memory, name), array)
    ramp = stored.read(tiny.image)
    assert ramp.sci.shape == (1, 5, 64, 64)
    rate = jwcal.run_pipeline("detector1", ramp, crds_path=tiny.crds)
    np.testing.assert_array_equal(rate.sci, stored.read(tiny_rate).sci)


def test_run_pipeline_with_steps_and_overrides(tiny):
    made = jwcal.run_pipeline(
        "calwebb_detector1",
        str(tiny.image),
        steps={"jump": {"skip": True}, "ipc": {"skip": False}},
        overrides={"dark": "N/A"},
        every=True,
        save=["ramp"],
        crds_path=str(tiny.crds),
    )
    assert set(made) == {"ramp", "rate", "rateints"}
    status = {step: state for step, (state, _) in made["rate"].steps.items()}
    assert (status["jump"], status["ipc"], status["dark_current"]) == ("SKIPPED", "COMPLETE", "SKIPPED")
    assert made["rate"].references["dark"] == "N/A"


def test_run_pipeline_says_what_is_wrong(tiny):
    with pytest.raises(ConfigError, match="there is no pipeline 'detector'. The nearest is detector1"):
        jwcal.run_pipeline("detector", tiny.image)
    with pytest.raises(ConfigError, match="steps.jump.rejection"):
        jwcal.run_pipeline("detector1", tiny.image, steps={"jump": {"rejection": 5}}, crds_path=tiny.crds)
    with pytest.raises(InputError, match="nowhere_uncal.fits: there is no such file"):
        jwcal.run_pipeline("detector1", "nowhere_uncal.fits", crds_path=tiny.crds)


def test_select_in_python():
    assert list(jwcal.select("NRC_IMAGE")) == ["detector1", "image2", "image3"]
    assert jwcal.select("NRC_TSIMAGE", tsovisit=True, nints=20).stage3 == "tso3"


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_all_doors_are_named(arguments, capsys):
    assert main(arguments) == (0 if arguments else 2)
    said = capsys.readouterr().out
    for door in ("snakemake", *(f"jwcal {name}" for name in COMMANDS), "jwcal.jobs", "run_pipeline"):
        assert door in said
    assert all(pipeline in said.replace("\n", " ") for pipeline in ("detector1", "wfs-image3", "tso3"))
