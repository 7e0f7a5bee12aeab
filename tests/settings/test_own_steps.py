"""A step of a user's own: the example of the documentation through the workflow, what is stale after what, and each mistake in words."""

import logging
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.io import fits

import jwcal
from jwcal.__main__ import main
from jwcal.model.exposure import Members
from jwcal.products import stored
from jwcal.provenance import records
from jwcal.run import loop
from jwcal.settings import config, facts, own_steps, step_modules
from jwcal.settings.chains import Save, Step, chain
from jwcal.settings.recipe import Recipe
from jwcal.vocabulary.errors import ConfigError, JwcalError, ReferenceError
from jwcal.workflow import jobs as one_job
from jwcal.workflow import plan

pytestmark = pytest.mark.usefixtures("no_crds")
ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs/own_steps.md").read_text()
(WISPS,) = [text for text in re.findall(r"```python\n(.*?)```", DOCUMENT, flags=re.DOTALL) if "def apply" in text]
(EXAMPLE,) = map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", DOCUMENT, flags=re.DOTALL))
MINIMAL = "def apply(exposure, refs, *, strength: float = 1.0):\n    return exposure\n"


@pytest.fixture(autouse=True)
def forgotten():
    """What one test makes known the next one does not know."""
    yield
    for step in list(step_modules.OWN):
        del step_modules.OWN[step]
    for remembered in (facts.about, step_modules.own_module, step_modules.parameters_of):
        remembered.cache_clear()


@pytest.fixture
def write(tmp_path):
    """Write a module, its path is returned."""

    def write(text, name="mine.py"):
        path = tmp_path / "my_steps" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


def inserted(path, pipeline="image2", **place):
    return {"insert": {pipeline: [{**(place or {"after": "flat_field"}), "step": str(path)}]}}


# --- in the workflow ---


def snakemake(folder, settings, *arguments):
    (folder / "mine.yaml").write_text(yaml.safe_dump(settings))
    command = [Path(sys.executable).parent / "snakemake", "-s", ROOT / "Snakefile", "--cores", "1", "--configfile", "mine.yaml", *arguments]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    jobs = re.findall(r"^([a-z]+\d?)\w* (jw\S+): (.*)$", done.stdout, flags=re.MULTILINE)
    return done, {(pipeline, exposure): why for pipeline, exposure, why in jobs}


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory):
    """The documentation's configuration on two images and a series, run once; wisps of 100 times the template are in the first rate."""
    folder = tmp_path_factory.mktemp("own")
    for name in ("data", "my_steps"):
        (folder / name).mkdir()
    rate = folder / "first"
    jwcal.run_pipeline("detector1", tiny.image, out=rate, crds_path=str(tiny.crds))
    (rate,) = rate.glob("*_rate.fits")
    template = wisp_template(folder / EXAMPLE["references"]["overrides"]["wisp"], rate)
    with fits.open(rate) as hdus:
        hdus["SCI"].data += 100 * template
        hdus.writeto(folder / "data" / rate.name)
    second = rate.name.replace("_00001_nrcb1", "_00009_nrcb1")
    shutil.copy(rate, folder / "data" / second)
    with fits.open(folder / "data" / second, mode="update") as hdus:
        hdus[0].header.update({"EXPOSURE": "00009", "FILENAME": second})
    shutil.copy(tiny.series, folder / "data")
    (folder / "my_steps/wisps.py").write_text(WISPS)
    references = {**EXAMPLE["references"], "crds_path": str(tiny.crds)}
    settings = {**EXAMPLE, "data": "data", "results": "results", "until": "stage2", "references": references}
    done, jobs = snakemake(folder, settings)
    assert done.returncode == 0, done.stdout
    assert sorted(pipeline for pipeline, _ in jobs) == ["image2", "image2", "tso", "tso1"]
    return folder, settings, rate.name.replace("_rate.fits", ""), second.replace("_rate.fits", "")


def wisp_template(path, rate):
    """Two bright bands, where the exposure's subarray lies."""
    header = fits.getheader(rate)
    y, x = np.indices((64, 64))
    template = sum(np.exp(-((y - 0.5 * x - at) ** 2) / 40) for at in (10, 40)).astype(np.float32)
    primary = fits.PrimaryHDU()
    for keyword in ("SUBSTRT1", "SUBSTRT2", "SUBSIZE1", "SUBSIZE2"):
        primary.header[keyword] = header[keyword]
    fits.HDUList([primary, fits.ImageHDU(template, name="SCI")]).writeto(path)
    return template


@pytest.fixture
def program(made, tmp_path):
    folder, settings, *roots = made
    subprocess.run(["cp", "-a", folder, tmp_path / "program"], check=True)
    return tmp_path / "program", yaml.safe_load(yaml.safe_dump(settings)), *roots


def test_the_wisps_of_the_documentation_are_subtracted(made, tiny, tmp_path):
    folder, _, root, other = made
    (log,) = folder.glob(f"results/logs/{root}.image2*.log")
    (factor,) = re.findall(r"wisps: ([\d.]+) times the template", log.read_text())
    assert "wisps COMPLETE" in log.read_text()
    assert abs(float(factor) - 100) < 5  # the noise, and stars in the same place
    clean = jwcal.run_pipeline("image2", folder / "first" / f"{root}_rate.fits", crds_path=str(tiny.crds))
    product = stored.read(folder / f"results/stage2/{root}_cal.fits")
    light = jwcal.run_pipeline("image2", folder / "data" / f"{root}_rate.fits", crds_path=str(tiny.crds)).sci - clean.sci
    left = product.sci - clean.sci
    good = np.isfinite(left) & (product.dq & 1 == 0)
    assert np.median(np.abs(light[good])) > 15 * np.median(np.abs(left[good])) > 0


def test_it_is_in_the_records_and_in_the_product(made):
    folder, _, root, _ = made
    record = records.read(folder / f"results/stage2/{root}_cal.fits")
    names = [step for step, _ in record["made_from"]["chain"]]
    assert names[names.index("flat_field") + 1] == "wisps"
    assert record["made_from"]["parameters"]["wisps"] == {"skip": False, "factor": None, "nsigma": 3.0, "steps": 10}
    assert "own/wisps" in record["made_from"]["code"]
    assert record["made_from"]["references"]["wisp"].startswith("wisp_nrcb1_f200w.fits ")
    assert record["run"]["steps"]["wisps"]["status"] == "COMPLETE"
    series = records.read(next(folder.glob("results/stage2/*_calints.fits")))
    assert "own/wisps" not in series["made_from"]["code"], "tso-image2 has no such step"


def planned(folder, settings, monkeypatch):
    """What a run would do, and why."""
    monkeypatch.chdir(folder)
    return {(job.pipeline, job.exposure): "; ".join(job.why) for job in plan.make(settings).jobs if not job.is_current}


def both(why):
    return lambda root, other: {("image2", root): why, ("image2", other): why}


def edit(old, new, name="wisps.py"):
    def happen(folder, settings):
        path = folder / "my_steps" / name
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return happen


def beside(folder, settings):
    """The step takes its fit from a file beside it."""
    head, fit = WISPS.split("def fitted(")
    (folder / "my_steps/wisps.py").write_text(head.replace("import logging", "import logging", 1) + "from .fits_of_wisps import fitted\n")
    (folder / "my_steps/fits_of_wisps.py").write_text("import numpy as np\n\n\ndef fitted(" + fit)


def new_template(folder, settings):
    with fits.open(folder / "my_steps/wisp_nrcb1_f200w.fits", mode="update") as hdus:
        hdus["SCI"].data[3, 4] += 1


EVENTS = {
    "nothing": (lambda folder, settings: None, lambda *_: {}),
    "its code": (edit("1.4826", "1.5"), both("^step code: wisps \\(own/wisps\\)$")),
    "a comment and a docstring": (edit('"""Subtract the template.', '# new\n    """Subtract it.'), lambda *_: {}),
    "a parameter": (lambda _, settings: settings["steps"]["wisps"].update(nsigma=4.0), both("^wisps.nsigma 3.0 -> 4.0$")),
    "a parameter of the other EXP_TYPE": (
        lambda _, settings: settings.update(exp_types={"MIR_IMAGE": {"wisps": {"nsigma": 4.0}}}),
        lambda *_: {},
    ),
    "skipped": (lambda _, settings: settings["steps"]["wisps"].update(skip=True), both("step wisps left out")),
    "its reference": (new_template, both("^wisp wisp_nrcb1_f200w.fits: its content$")),
    "taken out": (lambda _, settings: settings.update(insert={}, steps={}, references=without_wisp(settings)), both("step wisps left out")),
    "a file beside it": (beside, both("step code: wisps")),
    "another place": (lambda _, settings: settings["insert"]["image2"][0].update(after="photom"), both("^the chain of image2$")),
}


def without_wisp(settings):
    return {"crds_path": settings["references"]["crds_path"]}


@pytest.mark.parametrize("event", EVENTS)
def test_exactly_what_is_stale_runs(program, event, monkeypatch):
    folder, settings, *roots = program
    happen, wanted = EVENTS[event]
    happen(folder, settings)
    jobs = planned(folder, settings, monkeypatch)
    assert jobs.keys() == wanted(*roots).keys()
    assert not {job: why for job, why in jobs.items() if not re.search(wanted(*roots)[job], why)}


def test_the_file_beside_it_counts(program, monkeypatch):
    """It is found, and an edit of it makes stale what the step is in."""
    folder, settings, *roots = program
    beside(folder, settings)
    done, _ = snakemake(folder, settings)
    assert done.returncode == 0, done.stdout
    assert planned(folder, settings, monkeypatch) == {}
    edit("1.4826", "1.5", "fits_of_wisps.py")(folder, settings)
    jobs = planned(folder, settings, monkeypatch)
    assert jobs == {("image2", root): "step code: wisps (own/fits_of_wisps)" for root in roots}


def test_an_entry_that_does_nothing_is_said(program, monkeypatch):
    folder, settings, *_ = program
    monkeypatch.chdir(folder)
    shutil.copy("my_steps/wisps.py", "my_steps/others.py")
    settings["insert"]["guider"] = [{"before": "flat_field", "step": "my_steps/others.py"}]
    made = plan.make(settings)
    assert made.remarks == ["insert.guider: no exposure of this run goes through others"] and all(job.is_current for job in made.jobs)


def test_where_it_raises_the_others_go_on(program):
    folder, settings, root, other = program
    broken = 'if exposure.header["EXPOSURE"] == "00009":\n        return 1 // (exposure.sci.ndim - 2)\n    if factor is None:'
    edit("if factor is None:", broken)(folder, settings)
    done, jobs = snakemake(folder, settings, "--keep-going")
    assert done.returncode != 0 and len(jobs) == 2
    assert not list(folder.glob(f"results/stage2/{other}*.fits"))
    assert records.read(folder / f"results/stage2/{root}_cal.fits")["run"]["steps"]["wisps"]["status"] == "COMPLETE"
    (log,) = folder.glob(f"results/logs/{other}.image2*.log")
    path = folder / "my_steps/wisps.py"
    line = path.read_text()[: path.read_text().index("return 1 //")].count("\n") + 1
    assert f'File "{path}", line {line}, in apply\n    return 1 // (exposure.sci.ndim - 2)' in log.read_text()
    said = f"the step wisps raised ZeroDivisionError: integer division or modulo by zero (line {line}) in {path}"
    assert said in log.read_text() and said in done.stdout and "defect of jwcal" not in done.stdout


def test_edited_while_the_run_is_under_way(program, monkeypatch):
    """The job says so, and makes nothing that its record would not be true of."""
    folder, settings, root, _ = program
    settings["steps"]["wisps"]["nsigma"] = 5.0
    assert len(planned(folder, settings, monkeypatch)) == 2
    edit("1.4826", "1.5")(folder, settings)
    recipe = folder / f"results/.jwcal/recipes/{root}.image2.json"
    with caught_logging():
        assert one_job.run(recipe, folder / "job.log") == 1
        assert "the step wisps changed after the run was planned. Run again." in (folder / "job.log").read_text()
        (folder / "my_steps/wisps.py").unlink()
        assert one_job.run(recipe, folder / "job.log") == 1
        assert "the file of the step wisps is not there" in (folder / "job.log").read_text()


@contextmanager
def caught_logging():
    """A job logs to its file; after it everything is as before."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.raiseExceptions
    yield
    root.handlers[:], logging.raiseExceptions = before[0], before[2]
    root.setLevel(before[1])
    logging.captureWarnings(False)


def test_a_mistake_stops_before_anything_runs(program):
    folder, settings, *_ = program
    settings["insert"]["image2"][0]["after"] = "flatfield"
    done, jobs = snakemake(folder, settings)
    assert done.returncode != 0 and not jobs
    assert "insert.image2[0].after: image2 has no step 'flatfield'. The nearest is flat_field." in done.stdout


# --- by hand ---


def test_on_the_command_line(made, tiny, tmp_path, monkeypatch, capsys):
    folder, settings, root, _ = made
    monkeypatch.chdir(folder)
    pars = tmp_path / "pars.yaml"
    pars.write_text(yaml.safe_dump({**EXAMPLE["steps"], "insert": EXAMPLE["insert"]}))
    options = ["--params", pars, "--override", f"wisp={EXAMPLE['references']['overrides']['wisp']}", "--set", "wisps.steps=10"]
    where = ["--out", tmp_path, "--crds-path", tiny.crds]
    assert main(["image2", *map(str, [f"data/{root}_rate.fits", *options, *where])]) == 0, capsys.readouterr().err
    mine, theirs = (fits.getdata(path / f"{root}_cal.fits") for path in (tmp_path, folder / "results/stage2"))
    assert mine.tobytes() == theirs.tobytes()
    assert main(["image2", *map(str, [f"data/{root}_rate.fits", *options, "--set", "wisps.step=1", *where])]) == 1
    assert "there is no parameter of wisps called 'step'. The nearest is steps." in capsys.readouterr().err


def test_edited_between_two_calls(tiny, tiny_rate, write):
    """As in a notebook."""
    path = write("def apply(exposure, refs):\n    exposure.sci = exposure.sci * 2\n    return exposure\n")

    def run(**more):
        return jwcal.run_pipeline("image2", tiny_rate, crds_path=str(tiny.crds), **more).sci

    plain = run()
    assert np.array_equal(run(**inserted(path)), plain * 2, equal_nan=True)
    path.write_text(path.read_text().replace("* 2", "* np.float32(4)").replace("def", "import numpy as np\n\n\ndef", 1))
    assert np.array_equal(run(**inserted(path, before="photom")), plain * 4, equal_nan=True)
    assert np.array_equal(run(), plain, equal_nan=True)


def test_replaced(tiny, tiny_rate, write):
    path = write("REFERENCES = ('flat',)\n\n\ndef apply(exposure, refs):\n    assert refs['flat'].array().any()\n    return exposure\n")
    made = jwcal.run_pipeline("image2", tiny_rate, crds_path=str(tiny.crds), **inserted(path, replace="flat_field"))
    without = jwcal.run_pipeline("image2", tiny_rate, {"flat_field": {"skip": True}}, crds_path=str(tiny.crds))
    assert np.array_equal(made.sci, without.sci, equal_nan=True)
    assert "flat_field" not in made.steps and made.steps["mine"] == ("COMPLETE", "")


def test_stage_1_in_pieces(tiny, write, monkeypatch):
    """A ramp that is walked in blocks gives the same."""
    from jwcal.model import ramp

    path = write("def apply(exposure, refs):\n    exposure.sci += 10 * exposure.sci.shape[1]\n    return exposure\n")

    def run(**more):
        return jwcal.run_pipeline("tso1", tiny.series, crds_path=str(tiny.crds), every=True, **more)["rateints"].sci

    whole = run(**inserted(path, "tso1", before="linearity"))
    assert not np.array_equal(whole, run(), equal_nan=True)
    monkeypatch.setattr(ramp, "LARGE", 1)
    assert np.array_equal(whole, run(**inserted(path, "tso1", before="linearity")), equal_nan=True)


def test_a_reference_that_nobody_gives(tiny, tiny_rate, write):
    """One that it needs is an error with the way out; without (N/A) the step is skipped; one that it can do without is not there."""
    path = write("REFERENCES = ('wisp',)\n\n\ndef apply(exposure, refs):\n    return exposure\n")
    with pytest.raises(ReferenceError, match="wisp.*references: overrides: {wisp: FILE}"):
        jwcal.run_pipeline("image2", tiny_rate, crds_path=str(tiny.crds), **inserted(path))
    made = jwcal.run_pipeline("image2", tiny_rate, overrides={"wisp": "N/A"}, crds_path=str(tiny.crds), **inserted(path))
    assert made.steps["mine"] == ("SKIPPED", "its wisp reference is N/A")
    path.write_text("OPTIONAL = ('wisp',)\n\n\ndef apply(exposure, refs):\n    assert 'wisp' not in refs\n    return exposure\n")
    made = jwcal.run_pipeline("image2", tiny_rate, crds_path=str(tiny.crds), **inserted(path))
    assert made.steps["mine"] == ("COMPLETE", "") and made.references["wisp"] == "N/A"
    with pytest.raises(ConfigError, match="there is no reference type 'wips'. The nearest is wisp"):
        config.load({**inserted(path), "references": {"overrides": {"wips": "N/A"}}})


def test_switched_off_and_skipped(tiny, tiny_rate, write):
    path = write(
        "from jwcal.vocabulary.errors import Skip\n\nSKIP = True\n\n\ndef apply(exposure, refs):\n    raise Skip('no wisps here')\n"
    )

    def status(**steps):
        return jwcal.run_pipeline("image2", tiny_rate, steps, crds_path=str(tiny.crds), **inserted(path)).steps["mine"]

    assert status() == ("SKIPPED", "switched off")
    assert status(mine={"skip": False}) == ("SKIPPED", "no wisps here")


def test_all_members_of_an_association(tiny_rate, write):
    """A step of stage 3 has what ours have."""
    path = write(
        "TAKES = 'members'\n\n\ndef apply(members, refs, *, by: float = 2.0):\n    for exposure in members.each('science'):\n"
        "        exposure.header['SCALED'] = by\n    return members\n"
    )
    insert = config.load(inserted(path, "image3", after="tweakreg")).insert["image3"]
    whole = own_steps.put_in(chain("image3", {"EXP_TYPE": "NRC_IMAGE"}), insert)
    assert [step.name for step in whole.steps][:3] == ["tweakreg", "mine", "skymatch"]
    mine = [entry for entry in whole.entries if getattr(entry, "own", "")]
    members = Members([(stored.read(tiny_rate), "science"), (stored.read(tiny_rate), "science")])
    (left,) = loop.run(Recipe("image3", mine, {"mine": {"skip": False, "by": 3.0}}, takes="members"), members)
    assert left is members and members.steps["mine"] == ("COMPLETE", "")
    assert [shell.header["SCALED"] for shell in members.shells()] == [3.0, 3.0]


def test_catalogues_and_labels_pass_it_by(tiny_rate, write, caplog):
    """After source_catalog it was called on the catalogue too. What it does after the last product is told."""
    gives = write(
        "import numpy as np\n\n\ndef apply(exposure, refs):\n    table = exposure.aside('cat')\n    table.catalogue = 'a table'\n"
        "    return [exposure, table, exposure.aside('segm', sci=np.ones((2, 2), np.uint32))]\n",
        "gives.py",
    )
    mine = write("def apply(exposure, refs):\n    exposure.sci = exposure.sci + 1\n    return exposure\n")
    facts.take_in({"gives": str(gives), "mine": str(mine)})
    entries = [Step("gives", own=str(gives)), Step("mine", own=str(mine)), Save({"rate": "rate"})]
    before = stored.read(tiny_rate)
    after, table, labels = loop.run(Recipe("image3", entries), stored.read(tiny_rate))
    np.testing.assert_array_equal(after.sci, before.sci + 1)
    assert ["mine" in one.steps for one in (after, table, labels)] == [True, False, False] and (labels.sci == 1).all()
    assert "is in no product" not in caplog.text
    loop.run(Recipe("image3", [*entries[:2], Save({"cat": "cat"})]), stored.read(tiny_rate))
    assert f"{tiny_rate}: what mine does to the rate is in no product: it is written before. Insert it earlier" in caplog.text


@pytest.mark.parametrize(("returned", "word"), [("None", "NoneType"), ("exposure.sci", "ndarray"), ("[]", "list")])
def test_something_else_comes_back(tiny, tiny_rate, write, returned, word):
    path = write(f"def apply(exposure, refs):\n    return {returned}\n")
    with pytest.raises(JwcalError, match=f"the step mine gave {word} back, not the exposure .*return exposure"):
        jwcal.run_pipeline("image2", tiny_rate, crds_path=str(tiny.crds), **inserted(path))


def test_it_raises_by_hand(tiny, tiny_rate, write, caplog):
    path = write("def apply(exposure, refs):\n    return exposure.header['NOTHING'] or {}['x']\n")
    with pytest.raises(JwcalError, match="NOTHING"):  # ours says the file by itself
        jwcal.run_pipeline("image2", tiny_rate, crds_path=str(tiny.crds), **inserted(path))
    path.write_text("def apply(exposure, refs):\n    return {}['x']\n")
    with caplog.at_level(logging.ERROR), pytest.raises(JwcalError, match=r"the step mine raised KeyError: 'x' \(line 2\) in .*mine.py"):
        jwcal.run_pipeline("image2", tiny_rate, crds_path=str(tiny.crds), **inserted(path))
    assert f'File "{path}", line 2, in apply' in caplog.text


# --- the chain ---


def test_places():
    image2 = chain("image2", {"EXP_TYPE": "NRC_IMAGE"})

    def names(*inserts):
        return [e.name if isinstance(e, Step) else dict(e.suffixes) for e in own_steps.put_in(image2, inserts).entries]

    def insert(place, at, step="mine"):
        return own_steps.Insert(place, at, step, f"/{step}.py")

    bsub = {"rate": "bsub", "rateints": "bsubints"}
    assert names(insert("after", "bkg_subtract"))[:4] == ["bkg_subtract", {"combinedbackground": "combinedbackground"}, bsub, "mine"]
    assert names(insert("before", "bkg_subtract"))[:2] == ["mine", "bkg_subtract"]
    assert names(insert("after", "resample"))[-3:] == ["resample", "mine", {"i2d": "i2d"}], "what it does is in the product"
    two = names(insert("after", "photom"), insert("before", "mine", "first"))
    assert two[two.index("photom") :][:3] == ["photom", "first", "mine"]
    assert names(insert("after", "no_such")) == names()


def test_products_of_a_step_that_is_replaced(write):
    """They are the other's; what the other has no parameter for only `save` asks for."""
    path = write("def apply(exposure, refs, *, save_mask: bool = False):\n    return exposure\n")
    given = config.load(inserted(path, "detector1", replace="clean_flicker_noise"))
    saves = {new: e for e in given.chain("detector1", {}).entries if isinstance(e, Save) for new in e.suffixes.values()}
    assert saves["mask"].asked == "mine.save_mask" and saves["flicker_noise"].asked == ""
    assert saves["mask"].by == saves["flicker_noise"].by == "mine"
    assert saves["fitopt"].asked == "ramp_fit.save_opt"
    assert chain("detector1", {}).steps != given.chain("detector1", {}).steps


# --- what is wrong ---

WRONG = {
    "no such file": (None, {}, r"insert.image2\[0\].step: there is no file .*mine.py"),
    "no apply": ("x = 1\n", {}, "mine.py: the step mine has no function `apply`"),
    "positional": (
        "def apply(exposure, refs, strength=1.0):\n    return exposure\n",
        {},
        "the positional parameter strength.*a \\* stands before",
    ),
    "any keywords": ("def apply(exposure, refs, **given):\n    return exposure\n", {}, r"takes \*\*given"),
    "no references": ("def apply(exposure):\n    return exposure\n", {}, "does not take an exposure and its references"),
    "no type": (
        "def apply(exposure, refs, *, strength=1.0):\n    return exposure\n",
        {},
        "strength of the step mine has no type or no default",
    ),
    "no default": (
        "def apply(exposure, refs, *, strength: float):\n    return exposure\n",
        {},
        "strength of the step mine has no type or no",
    ),
    "strange type": ("def apply(exposure, refs, *, strength: dict = {}):\n    return exposure\n", {}, "has a type that is not for"),
    "unknown type": (
        "def apply(exposure, refs, *, s: 'Nothing' = 1):\n    return exposure\n",
        {},
        "types of `apply` can't be read.*Nothing",
    ),
    "wrong default": (
        "def apply(exposure, refs, *, s: int = 'a'):\n    return exposure\n",
        {},
        "default of the parameter s .* a whole number, not 'a'",
    ),
    "text for a tuple": ('REFERENCES = ("wisp")\n' + MINIMAL, {}, "REFERENCES is 'wisp', not a tuple of names.*with the comma"),
    "no Python": ("def apply(:\n", {}, r"not a readable Python file \(SyntaxError: .*\(line 1\)\)"),
    "no library": ("import no_such_library\n" + MINIMAL, {}, r"can't be imported: ModuleNotFoundError.*\(line 1\)"),
    "an error": ("\n1 / 0\n" + MINIMAL, {}, r"the step mine can't be imported: ZeroDivisionError: division by zero \(line 2\)"),
    "unknown step": (
        MINIMAL,
        {"after": "flat_feld"},
        r"insert.image2\[0\].after: image2 has no step 'flat_feld'. The nearest is flat_field",
    ),
    "step of another": (MINIMAL, {"before": "jump"}, r"insert.image2\[0\].before: image2 has no step 'jump'"),
    "no place": (MINIMAL, {"at": "x"}, r"insert.image2\[0\].at: there is no such key"),
    "two places": (MINIMAL, {"after": "photom", "before": "photom"}, "must have one of after, before, replace, not after and before"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_clear_error(write, tmp_path, case):
    text, place, said = WRONG[case]
    path = write(text) if text else tmp_path / "mine.py"
    with pytest.raises(ConfigError, match=said):
        config.load(inserted(path, **place))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("photom.py", "photom is the name of one of jwcal's steps. Call the file otherwise: my_photom.py"),
        ("jump.py", "jump is the name of one of jwcal's steps"),
        ("my-step.py", "can't be a step. Call the file like a variable"),
        ("mine.txt", "can't be a step. Call the file like a variable"),
    ],
)
def test_names_that_can_not_be(write, name, said):
    with pytest.raises(ConfigError, match=said):
        config.load(inserted(write(MINIMAL, name)))


def test_more_clear_errors(write):
    path = write(MINIMAL)
    for insert, said in [
        ({"image9": []}, "there is no pipeline 'image9'"),
        ({"image2": [{"step": str(path)}]}, "insert.image2.0. must have one of after, before, replace, not none"),
        ({"image2": [{"after": "photom"}]}, "insert.image2.0.: step is missing"),
        ({"image2": {"after": "photom", "step": str(path)}}, "insert.image2 must be a list of"),
        ({"image2": [{"after": at, "step": str(path)} for at in ("photom", "mine")]}, "image2 has the step mine already"),
    ]:
        with pytest.raises(ConfigError, match=said):
            config.load({"insert": insert})
    with pytest.raises(ConfigError, match="steps.mine.strength must be a number, not 'much'"):
        config.load({**inserted(path), "steps": {"mine": {"strength": "much"}}})
    with pytest.raises(ConfigError, match="steps.mine: there is no step 'mine'"):
        config.load({"steps": {"mine": {"strength": 2.0}}})


def test_a_file_beside_it_as_a_library(write):
    write("x = 1\n", "tools.py")
    for line, do in (("import tools", "from . import tools"), ("from tools import x", "from .tools import")):
        with pytest.raises(ConfigError, match=f"it imports tools, a file beside it, as a library.*{do}"):
            config.load(inserted(write(f"{line}\n{MINIMAL}")))


def test_two_files_of_one_name(write, tmp_path):
    one = write(MINIMAL)
    other = tmp_path / "mine.py"
    other.write_text(MINIMAL)
    insert = {"image2": [{"after": "photom", "step": str(one)}], "tso-image2": [{"after": "photom", "step": str(other)}]}
    with pytest.raises(ConfigError, match="have one name"):
        config.load({"insert": insert})
    insert["tso-image2"][0]["step"] = str(one)
    assert set(config.load({"insert": insert}).insert) == {"image2", "tso-image2"}
