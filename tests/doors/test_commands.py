"""The commands beside the pipelines: plan, status, init, schema, parameters, and one step by itself."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import numpy as np
import pytest
import yaml

import jwcal
from conftest import PROGRAM
from jwcal.__main__ import COMMANDS, main
from jwcal.commands import described, modes, words
from jwcal.commands.schema import schema
from jwcal.products import stored
from jwcal.provenance import records
from jwcal.report import graph, outlook
from jwcal.settings import config, facts, pars
from jwcal.settings.tables import table
from jwcal.simulate.modes import MODES
from jwcal.simulate.program import make_program
from jwcal.vocabulary.errors import ConfigError
from jwcal.workflow import alone, plan
from jwcal.workflow.jobs import run

pytestmark = pytest.mark.usefixtures("no_crds")
ROOT = Path(__file__).resolve().parents[2]


# --- words ---


def test_parameters_as_options():
    given = ["F", "--jump.rejection_threshold=5", "--steps.jump.skip=true", "--jump.sat_expand", "3", "--out", "o", "--", "--a.b=1"]
    told = [
        "F",
        "--set",
        "jump.rejection_threshold=5",
        "--set",
        "jump.skip=true",
        "--set",
        "jump.sat_expand=3",
        "--out",
        "o",
        "--",
        "--a.b=1",
    ]
    assert words.spelled_out(given) == told
    with pytest.raises(ConfigError, match="it has no value"):
        words.spelled_out(["--jump.skip"])


@pytest.mark.parametrize(
    ("word", "near"), [("jmup", "The nearest is jump"), ("detector", "The nearest is detector1"), ("stauts", "The nearest is status")]
)
def test_a_word_that_is_none(capsys, word, near):
    assert main([word, "x.fits"]) == 1
    assert near in capsys.readouterr().err


def test_each_command_tells_more(capsys):
    for name in COMMANDS:
        with pytest.raises(SystemExit) as end:
            main([name, "--help"])
        assert end.value.code == 0 and f"usage: jwcal {name}" in capsys.readouterr().out


def test_help_of_a_pipeline_has_all_its_steps_and_parameters(capsys):
    with pytest.raises(SystemExit):
        main(["detector1", "--help"])
    said = capsys.readouterr().out
    for step in ("dq_init", "emicorr", "jump", "ramp_fit"):
        assert f"\n{step}: " in said
    assert "--jump.rejection_threshold=4.0\n        Sigma beyond which a difference is a jump (a number of at least 0)" in said


def test_version(capsys):
    assert main(["--version"]) == 0 and capsys.readouterr().out.startswith("jwcal ")


def test_how_much_is_said(tiny, tmp_path, capsys):
    """Details with -v, nothing with -q, and in a file where that is asked for."""
    given = ["dq_init", str(tiny.image), "--crds-path", str(tiny.crds), "--out", str(tmp_path)]
    assert main([*given, "-q"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main([*given, "--log-file", str(tmp_path / "log.txt")]) == 0
    assert "COMPLETE" not in capsys.readouterr().err and "dq_init COMPLETE" in (tmp_path / "log.txt").read_text()


@pytest.mark.parametrize(("level", "said"), [("info", True), ("warning", False)])
def test_how_much_by_name(tiny, tmp_path, capsys, level, said):
    assert main(["dq_init", str(tiny.image), "--crds-path", str(tiny.crds), "--out", str(tmp_path), "--log-level", level]) == 0
    assert ("dq_init COMPLETE" in capsys.readouterr().err) == said


def test_the_profile_of_a_run(tmp_path, monkeypatch, capsys):
    """The workflow's own by its name, a folder of one's own by its path; it says how many cores, unless --cores does."""
    called = []
    monkeypatch.setattr(subprocess, "run", lambda command: called.append(command) or SimpleNamespace(returncode=0))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/config.yaml").write_text("jobs: 5\n")
    monkeypatch.chdir(tmp_path)
    for name, folder in (("slurm", ROOT / "profiles/slurm"), ("mine", tmp_path / "mine")):
        assert main(["run", "data", "results", "--profile", name, "-n"]) == 0
        command = called.pop()
        assert command[command.index("--workflow-profile") + 1] == str(folder) and "--cores" not in command and "--dry-run" in command
    assert main(["run", "data", "results", "--profile", "slurm", "--cores", "3"]) == 0 and called[0][called[0].index("--cores") + 1] == "3"
    assert main(["run", "data", "results", "--profile", "slrm"]) == 1 and "The nearest is slurm" in capsys.readouterr().err


# --- what is made from the code ---


def test_the_page_of_parameters_is_up_to_date():
    assert (ROOT / "docs/parameters.md").read_text() == described.page(), "jwcal parameters --markdown > docs/parameters.md"


def test_the_pages_of_modes_are_up_to_date():
    wanted = modes.pages()
    assert {path.name: path.read_text() for path in (ROOT / "docs/modes").glob("*.md")} == wanted, "jwcal modes -o docs/modes"
    assert {f"{name}.md" for name, mode in modes.MODES.items() if mode.last not in modes.PLAIN} < set(wanted)


def test_modes(tmp_path, monkeypatch, capsys):
    """Those of an instrument, the page of one; nothing is written unless a folder is given."""
    monkeypatch.chdir(tmp_path)
    assert main(["modes", "niriss"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert 5 < len(lines) == sum(name.startswith("nis_") for name in MODES) and all(line.startswith("nis_") for line in lines)
    assert main(["modes", "NIS_AMI"]) == 0 and capsys.readouterr().out.startswith("# nis_ami\n")
    assert main(["modes", "nis_amy"]) == 1 and "The nearest is nis_ami" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_pipelines_of_a_mode_are_those_that_its_example_ends_with():
    assert all(modes.stages(mode)[-1] == mode.last for mode in modes.MODES.values())


def test_parameters_that_matter_are_some():
    for step, names in described.matters().items():
        assert set(names) <= set(facts.about(step).parameters), step
    image, prism = {"INSTRUME": "NIRCAM", "EXP_TYPE": "NRC_IMAGE"}, {"INSTRUME": "MIRI", "EXP_TYPE": "MIR_LRS-FIXEDSLIT"}
    of_image, of_both = described.matters([image]), described.matters([image, prism])
    assert "odd_even_columns" in of_image["refpix"] and "odd_even_rows" not in of_image["refpix"]
    assert {"odd_even_columns", "odd_even_rows"} <= set(of_both["refpix"])
    assert "user_slit_loc" not in of_image["pathloss"] and "kernel_size" not in of_both["outlier_detection"]


def test_parameters(capsys):
    assert main(["parameters", "jump", "guider"]) == 0
    said = capsys.readouterr().out
    assert "--jump.detection=two-point" in said and "guider_cds: " in said
    assert main(["parameters", "jmp"]) == 1 and "The nearest is jump" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": {"jump": {"rejection_threshold": "high"}}},
        {"steps": {"jump": {"rejection_threshold": -1}}},
        {"steps": {"jump": {"rejection": 5}}},
        {"exp_types": {"NRC_IMGE": {}}},
        {"exp_types": {"NRC_IMAGE": {"resample": {"kernel": "round"}}}},
        {"save": ["rmp"]},
        {"until": "stage4"},
    ],
    ids=str,
)
def test_schema(wrong):
    """What the configuration refuses the schema refuses, and the defaults and the demo's it takes."""
    checked = jsonschema.Draft202012Validator(schema())
    jsonschema.Draft202012Validator.check_schema(schema())
    for good in (table("config"), table("demo"), {"steps": {"jump": {"rejection_threshold": 5, "skip": True}, "my_own": {"x": 1}}}):
        checked.validate(good)
    with pytest.raises(jsonschema.ValidationError):
        checked.validate(wrong)
    with pytest.raises(ConfigError):
        config.load(wrong)


def test_schema_to_a_file(tmp_path):
    assert main(["schema", "-o", str(tmp_path / "s.json")]) == 0
    assert json.loads((tmp_path / "s.json").read_text()) == schema()


def test_init(tiny, tmp_path, capsys):
    """It can be read as it is, and with all that is commented out; it is not written over."""
    out = tmp_path / "mine.yaml"
    assert main(["init", str(tiny.image.parent), "-o", str(out)]) == 0
    text = out.read_text()
    assert "1 x NRC_IMAGE F200W, from uncal: detector1 -> image2 -> image3" in text and "tso1 -> tso-image2 -> tso3" in text
    assert config.load(yaml.safe_load(text)).data == (tiny.image.parent,)
    head, steps = text.split("# steps:\n")
    whole = yaml.safe_load("steps:\n" + "\n".join(line[2:] for line in steps.partition("\n\n")[0].splitlines()))
    assert {"jump", "resample", "tweakreg", "tso_photometry"} <= set(whole["steps"])
    config.load(whole)
    assert main(["init", str(tiny.image.parent), "-o", str(out)]) == 1
    assert "it is there already" in capsys.readouterr().err


def test_references_are_fetched_beforehand(tiny, tmp_path, capsys):
    """Of all jobs of a program, each once; what can't be used is told, and is the exit status."""
    given = ["fetch-references", str(tiny.image.parent), "--crds-path", str(tiny.crds), "--until", "stage2"]
    assert main(given) == 0
    jobs, files = map(int, re.match(r"(\d+) jobs take (\d+) reference files", capsys.readouterr().out).groups())
    assert jobs == 4 and 5 < files <= len(list(tiny.crds.glob("references/jwst/*/*")))
    assert main([*given, "--override", "flat=nowhere.fits"]) == 1 and "nowhere.fits" in capsys.readouterr().err
    (tmp_path / "broken_uncal.fits").write_bytes(tiny.image.read_bytes()[:5000])
    assert main([*given[:1], str(tmp_path), *given[2:]]) == 1 and "broken_uncal.fits" in capsys.readouterr().out


# --- one step ---


def test_steps_one_after_the_other_make_what_the_pipeline_makes(tiny, tiny_rate, tmp_path):
    """Each from the file that the one before has left."""
    known = config.load({"references": {"crds_path": str(tiny.crds)}})
    pipeline, chain, _ = alone.chain_of("jump", stored.header(tiny.image))
    assert pipeline == "detector1"
    recipe = plan.recipe_for("detector1", stored.header(tiny.image), known, str(tiny.image))
    file = tiny.image
    for step in chain.steps:
        if not recipe.parameters[step.name]["skip"]:
            made = alone.run(step.name, file, known, tmp_path)
            file = next(path for path in made if path.name.endswith((f"_{step.name}.fits", "_rate.fits")))
    (of_pipeline, of_steps) = stored.read(tiny_rate), stored.read(file)
    for plane in ("sci", "err", "dq", "var_poisson", "var_rnoise"):
        np.testing.assert_array_equal(getattr(of_steps, plane), getattr(of_pipeline, plane), err_msg=plane)
    assert of_steps.header["S_JUMP"] == "COMPLETE"


def test_a_step_of_stage_2(tiny, tiny_rate, tmp_path, capsys):
    given = ["--crds-path", str(tiny.crds), "--out", str(tmp_path)]
    assert main(["assign_wcs", str(tiny_rate), *given]) == 0
    root = tiny_rate.name.removesuffix("_rate.fits")
    assert main(["flat_field", str(tmp_path / f"{root}_assign_wcs.fits"), "--flat_field.inverse=true", *given]) == 0
    made, before = stored.read(tmp_path / f"{root}_flat_field.fits"), stored.read(tiny_rate)
    assert made.wcs is not None and made.header["S_FLAT"] == "COMPLETE" and made.header["S_WCS"] == "COMPLETE"
    assert not np.array_equal(made.sci, before.sci, equal_nan=True)
    assert main(["tweakreg", str(tiny_rate), *given]) == 1
    assert main(["extract_1d", str(tiny_rate), *given]) == 1
    said = capsys.readouterr().err
    assert "tweakreg looks at several exposures together. Run image3 on their association" in said
    assert "no pipeline of this exposure has the step extract_1d" in said


SLIT = {"INSTRUME": "NIRSPEC", "EXP_TYPE": "NRS_FIXEDSLIT", "NINTS": 1, "FILTER": "CLEAR", "GRATING": "PRISM", "DETECTOR": "NRS1"}


def test_a_step_of_slits_that_are_not_cut_out():
    """They are in no file until they are: what comes before runs again; what comes after asks for it."""
    for step in ("srctype", "resample_spec"):
        _, chain, _ = alone.chain_of(step, SLIT)
        with pytest.raises(ConfigError, match=f"{step} works on the spectra that extract_2d cuts out.*Run extract_2d on it first"):
            alone.check(step, chain, SLIT | {"DATAMODL": "ImageModel"}, "x_rate.fits")
        alone.check(step, chain, SLIT | {"DATAMODL": "MultiSlitModel"}, "x_extract_2d.fits")
    for step, before in (("extract_2d", ["assign_wcs"]), ("msa_flagging", ["assign_wcs"]), ("photom", [])):
        header = SLIT | ({"EXP_TYPE": "NRS_MSASPEC"} if step == "msa_flagging" else {})
        _, chain, entry = alone.chain_of(step, header)
        assert [known.name for known in alone.from_memory(entry, chain)] == before


@pytest.mark.full
def test_steps_of_slits_one_after_the_other(tmp_path):
    made = MODES["nrs_fixedslit"].make(tmp_path)
    crds = {"crds_path": str(made.crds)}
    known = config.load({"references": crds})
    out = tmp_path / "out"
    jwcal.run_pipeline("detector1", made.uncals[0], out=out, **crds)
    (rate,) = out.glob("*_rate.fits")
    cal = jwcal.run_pipeline("spec2", rate, **crds)
    file = rate
    for step in ("assign_wcs", "extract_2d", "srctype", "wavecorr", "flat_field", "pathloss", "photom"):
        (file,) = alone.run(step, file, known, out)
    of_steps = jwcal.open(file)
    assert len(of_steps.pixels) == len(cal.pixels) > 0
    for ours, wanted in zip(of_steps.pixels, cal.pixels, strict=True):
        for plane in ("sci", "err", "dq"):
            np.testing.assert_array_equal(getattr(ours, plane), getattr(wanted, plane), err_msg=plane)


def test_a_step_leaves_the_records_of_what_it_does_not_write(tiny, tiny_rate, tmp_path):
    """A step where products lie: theirs stay, so that no run takes them for stale."""
    for path in (tiny_rate, tiny_rate.with_suffix(".json")):
        shutil.copy(path, tmp_path)
    before = records.read(tmp_path / tiny_rate.name)
    assert before and main(["dq_init", str(tiny.image), "--crds-path", str(tiny.crds), "--out", str(tmp_path), "-q"]) == 0
    assert records.read(tmp_path / tiny_rate.name) == before
    assert records.read(next(tmp_path.glob("*_dq_init.fits")))["product"]["name"].endswith("_dq_init.fits")


def test_a_step_on_what_it_can_t_take(tiny, tiny_rate, tmp_path, capsys):
    """One clear line each: a rate for a step of ramps, a ramp for one of rates, an association, a folder, text."""
    (tmp_path / "x_asn.json").write_text("{}")
    (tmp_path / "x_rate.fits").write_text("no image\n" * 600)
    for step, file, message in (
        ("jump", tiny_rate, "jump works on a ramp, and this is none any more. Give it the uncal file"),
        ("flat_field", tiny.image, "flat_field is a step of image2, which starts from rate, and this is a ramp still"),
        ("flat_field", tmp_path / "x_asn.json", "flat_field by itself takes an exposure, not an association"),
        ("flat_field", tmp_path, "it is a folder. Give a file of it"),
        ("flat_field", tmp_path / "x_rate.fits", "not a FITS file"),
        ("flat_field", tmp_path / "nowhere_rate.fits", "there is no such file"),
    ):
        assert main([step, str(file), "--crds-path", str(tiny.crds), "--out", str(tmp_path)]) == 1
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ERROR: ")]
        assert str(file) in line and message in line


def test_a_step_on_what_a_pipeline_of_stage_3_has_made(tiny, tmp_path, capsys):
    """source_catalog looks at one image, though its pipeline takes the members of an association."""
    made = make_program(tmp_path / "field", PROGRAM | {"stage3": True, "exposures": PROGRAM["exposures"][:1]})
    crds = {"crds_path": str(made["crds"])}
    rate = jwcal.run_pipeline("detector1", made["data"][0], **crds)
    jwcal.run_pipeline("image2", rate, out=tmp_path, **crds)
    (mosaic,) = tmp_path.glob("*_i2d.fits")
    assert main(["source_catalog", str(mosaic), "--crds-path", crds["crds_path"], "--out", str(tmp_path / "out")]) == 0
    assert list((tmp_path / "out").glob("*_cat.ecsv"))


@pytest.mark.parametrize("ending", ["yaml", "asdf"])
def test_save_parameters(tiny, tmp_path, ending):
    """Those that the exposure is calibrated with: CRDS's, and what is asked for on top."""
    out = tmp_path / f"p.{ending}"
    given = ["--crds-path", str(tiny.crds), "--out", str(tmp_path), "--save-parameters", str(out)]
    assert main(["detector1", *given, "--jump.sat_expand=3"]) == 0
    found = pars.read_parameters(str(out))
    assert found["jump"]["sat_expand"] == 3 and found["jump"]["rejection_threshold"] == 4.0 and "emicorr" in found
    assert main(["jump", str(tiny.image), *given, "--jump.sat_expand=3"]) == 0
    assert pars.read_parameters(str(out))["jump"]["rejection_threshold"] == 5.0


def test_a_program_that_is_simulated_can_be_run(tmp_path, capsys, monkeypatch):
    """Its configuration is written, and the command said; a place with a space is one word of it."""
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(yaml.safe_dump(PROGRAM | {"exposures": PROGRAM["exposures"][:1]}))
    assert main(["simulate", "demo", "a field", "--program", "mine.yaml"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("jwcal run ")]
    _, name, *words = shlex.split(line, comments=True)
    assert name == "run" and words == ["--configfile", "a field/config.yaml"]
    assert main(["plan", *words, "--until", "stage2", "-q"]) == 0


def test_a_mode_that_is_simulated_says_where_it_is(tmp_path, monkeypatch):
    """Nothing of how: neither what the steps log that help, nor the insides of an object."""
    monkeypatch.chdir(tmp_path)
    done = subprocess.run([sys.executable, "-m", "jwcal", "simulate", "mir_lrs-slitless", "one"], capture_output=True, text=True)
    assert done.stderr.splitlines() == ["jw01234001001_02101_00001_mirimage_uncal.fits"]
    assert done.stdout.splitlines()[0] == "mir_lrs-slitless: 1 raw file in one/data, references in one/crds, the truth in one/truth"
    assert main(["simulate", "NRS_IMGE", "two"]) == 1 and not Path("two").exists()


# --- plan and status ---


@pytest.fixture(scope="module")
def data(tiny, tmp_path_factory):
    """An image, a series, and a file that is cut off."""
    folder = tmp_path_factory.mktemp("planned") / "data"
    folder.mkdir()
    for file in (tiny.image, tiny.series):
        (folder / file.name).symlink_to(file)
    (folder / "jw01234001001_09101_00001_nrcb1_uncal.fits").write_bytes(tiny.image.read_bytes()[:3000])
    return folder


def test_plan(tiny, data, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ["plan", str(data), "--crds-path", str(tiny.crds), "--until", "stage2", "--jump.sat_expand=3"]
    assert main([*given, "--picture", "p.html"]) == 1  # one can't be used
    said = capsys.readouterr().out
    assert "4 jobs make 7 products in results: 4 to be made" in said
    assert "detector1: 1 of NRC_IMAGE F200W -> rate, rateints (to be made)" in said
    assert "gain jwst_nircam_gain_9001.fits" in said and "jump.sat_expand = 3 (steps.jump.sat_expand)" in said
    assert "can't be used: " in said and "09101" in said
    page = Path("p.html").read_text()
    assert "<svg" in page and "image2: cal, i2d" in page and "09101" in page
    assert [path.name for path in tmp_path.iterdir()] == ["p.html"], "nothing else is left"
    assert main([*given, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    (job,) = [job for job in told["jobs"] if job["pipeline"] == "tso1"]
    assert job["parameters"]["jump.sat_expand"] == {"value": 3, "from": "steps.jump.sat_expand"}
    assert job["references"]["gain"].endswith("jwst_nircam_gain_9001.fits") and job["state"] == outlook.TO_BE_MADE
    assert told["unusable"]["exposures"] == ["jw01234001001_09101_00001_nrcb1"]


def test_a_reference_that_is_missing_is_named(tiny, data, tmp_path, capsys):
    given = ["plan", str(tiny.image), "--crds-path", str(tiny.crds), "--until", "stage1", "--crds-context", "jwst_0099.pmap"]
    assert main(given) == 1
    said = capsys.readouterr()
    assert "jwst_0099.pmap" in said.out + said.err


@pytest.mark.parametrize("ending", graph.FORMATS)
def test_pictures(tmp_path, ending):
    graph.write(made_up(), tmp_path / f"p.{ending}")
    assert (tmp_path / f"p.{ending}").stat().st_size > 1000


def test_a_picture_of_another_kind(tmp_path):
    with pytest.raises(ConfigError, match="Choose one of svg, png, pdf, html"):
        graph.write(made_up(), tmp_path / "p.jpg")


def made_up(exposures=30):
    """An outlook: many exposures of two filters, of one of them a background, two mosaics; and spectra after a mosaic."""

    def job(name, stage, pipeline, source, ends, kind, members=(), state=outlook.TO_BE_MADE):
        products = {end: f"r/{stage}/{name}_{end}.fits" for end in ends}
        rule = f"{pipeline}_{'_'.join(ends)}"
        return {"exposure": name, "kind": kind, "stage": stage, "pipeline": pipeline, "rule": rule, "state": state, "why": []} | {
            "input": source,
            "members": [{"path": path, "exptype": "science"} for path in members],
            "products": products,
            "listed": ["crf"] if "list" in ends else [],
            "parameters": {},
            "references": {},
        }

    jobs = []
    for kind in ("NIS_IMAGE F150W", "NIS_IMAGE F200W", "NIS_WFSS F150W GR150R"):
        names = [f"jw01_{kind[-5:]}_{n:02}" for n in range(exposures)]
        jobs += [job(name, "stage1", "detector1", f"d/{name}_uncal.fits", ["rate", "rateints"], kind) for name in names]
        if "WFSS" in kind:
            more = ["r/stage3/jw01_F150W_i2d.fits"]
            jobs += [job(name, "stage2", "spec2", f"r/stage1/{name}_rate.fits", ["cal", "x1d"], kind, more) for name in names]
            continue
        jobs += [job(name, "stage2", "image2", f"r/stage1/{name}_rate.fits", ["cal", "i2d"], kind) for name in names]
        first, *others = [f"r/stage2/{name}_cal.fits" for name in names]
        jobs.append(job(f"jw01_{kind[-5:]}", "stage3", "image3", first, ["i2d", "cat", "list"], kind, others, outlook.CURRENT))
    nothing = {"left_out": [], "notes": [], "remarks": [], "associations": {}}
    unusable = {"exposures": ["jw01_bad"], "problems": ["jw01_bad: truncated."]}
    return {"results": "r", "jobs": jobs, "unusable": unusable, "stops": {}, "waits": {"stage 3": {"spec3 for NIS_WFSS": 1}}, **nothing}


def test_jobs_that_are_alike_share_a_box():
    boxes = graph.boxes(made_up())
    assert len(boxes) == 3 + 3 + 3 + 2 + 2  # data, stage 1, 2, 3; what can't be used, what waits
    assert [box.lines[-1] for box in boxes if box.jobs and box.jobs[0]["stage"] == "stage3"] == ["image3: i2d, cat, a list of crf"] * 2
    (spectra,) = [box for box in boxes if box.jobs and box.jobs[0]["pipeline"] == "spec2"]
    assert {boxes[number].jobs[0]["pipeline"] for number in spectra.before} == {"detector1", "image3"}
    assert spectra.lines[0] == "30 exposures"


def test_status(tiny, data, tmp_path, capsys):
    """Before a job, after one that fails, and of what waits for it."""
    results = tmp_path / "results"
    references = {"crds_path": str(tiny.crds)}
    made = plan.make({"data": str(data), "results": str(results), "until": "stage2", "references": references})
    assert main(["status", str(results)]) == 0
    assert "stage 1: 2 waiting of 2 jobs" in capsys.readouterr().out
    first, other = [job for job in made.jobs if job.stage == "stage1"]
    assert run(first.recipe, results / "logs" / f"{first.exposure}.{first.rule}.log") == 0
    recipe = json.loads(Path(other.recipe).read_text())
    recipe["references"]["gain"] = "/nowhere/gain.fits"
    Path(other.recipe).write_text(json.dumps(recipe))
    assert run(other.recipe, results / "logs" / f"{other.exposure}.{other.rule}.log") == 1
    assert main(["status", str(results)]) == 1
    said = capsys.readouterr().out
    assert "no run is at work" in said and "stage 1: 1 done, 1 failed of 2 jobs" in said and "stage 2: 2 waiting of 2 jobs" in said
    assert "/nowhere/gain.fits" in said and f"    log: {results}/logs/{other.exposure}" in said and "    | " in said
    assert f"for tso1 {other.exposure} (failed)" in said
    assert main(["status", str(results), "--json"]) == 1
    states = {(job["pipeline"], job["state"]) for job in json.loads(capsys.readouterr().out)["jobs"]}
    assert states == {("detector1", "done"), ("tso1", "failed"), ("image2", "waiting"), ("tso-image2", "waiting")}
    assert main(["status", str(tmp_path)]) == 1 and "no run has left its plan there" in capsys.readouterr().err


def test_status_of_what_is_out_of_date(tiny, tmp_path, capsys):
    """Products that are there and not what was asked for: a parameter changed, the job before failed, its product came out anew."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / tiny.image.name).symlink_to(tiny.image)
    results = tmp_path / "results"
    settings = {"data": str(tmp_path / "data"), "results": str(results), "references": {"crds_path": str(tiny.crds)}, "until": "stage2"}

    def do(job):
        return run(job.recipe, results / "logs" / f"{job.exposure}.{job.rule}.log")

    def status():
        status = main(["status", str(results)])
        return status, capsys.readouterr().out

    first, second = plan.make(settings).jobs
    assert do(first) == do(second) == 0
    assert status()[1].count("1 done of 1 job (") == 2
    first, second = plan.make({**settings, "steps": {"jump": {"rejection_threshold": 6.0}}}).jobs
    told, said = status()
    assert told == 0 and said.count("1 out of date of 1 job (") == 2
    assert f"  detector1 {first.exposure}: jump.rejection_threshold 5.0 -> 6.0\n" in said
    assert f"  image2 {first.exposure}: detector1 {first.exposure} is out of date" in said
    recipe = Path(first.recipe).read_text()
    Path(first.recipe).write_text(recipe.replace("jwst_nircam_gain", "nowhere"))
    assert do(first) == 1
    told, said = status()
    assert told == 1 and f"  image2 {first.exposure}: detector1 {first.exposure} failed" in said
    Path(first.recipe).write_text(recipe)
    assert do(first) == 0
    told, said = status()
    assert (
        told == 0 and "stage 1: 1 done of 1 job (" in said and f"image2 {first.exposure}: {first.exposure}_rate.fits: its content" in said
    )
    assert do(second) == 0
    assert status()[1].count("1 done of 1 job (") == 2
    Path(second.recipe).write_text("")  # cut off: what it says is not known
    assert status()[0] == 0
