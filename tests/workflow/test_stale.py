"""What is found stale, in which words, and how Snakemake is told. The events of a whole program are in test_events.py."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest

from jwcal.files import fingerprint
from jwcal.provenance import records
from jwcal.provenance.codebase import Code
from jwcal.vocabulary.errors import ConfigError, InputError
from jwcal.workflow import jobs, plan, stale

SCHEMA = Path(records.__file__).with_name("schema.json")


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory):
    """A small program that was run: its configuration."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "data").mkdir()
    (folder / "data" / tiny.image.name).write_bytes(tiny.image.read_bytes())
    config = {
        "data": str(folder / "data"),
        "results": str(folder / "results"),
        "references": {"crds_path": str(tiny.crds)},
        "until": "stage2",
    }
    run(plan.make(config))
    return config


@pytest.fixture
def program(made, tmp_path):
    """The same, to be spoiled."""
    subprocess.run(["cp", "-a", Path(made["results"]).parent, tmp_path / "copy"], check=True)
    return {**made, "data": str(tmp_path / "copy/data"), "results": str(tmp_path / "copy/results")}


def run(planned):
    for job in planned.jobs:
        if job.why or job.after:
            assert jobs.run(job.recipe, Path(planned.results, "logs", f"{job.rule}.log")) == 0


def why(config, **changes):
    return {job.pipeline: job.why + [f"after {name}" for name in job.after] for job in plan.make({**config, **changes}).jobs}


def rate(config):
    return next(Path(config["results"], "stage1").glob("*_rate.fits"))


# --- records ---


def test_a_record_says_what_a_product_was_made_from(made):
    product = rate(made)
    record = json.loads(records.record_path(product).read_text())
    jsonschema.validate(record, json.loads(SCHEMA.read_text()))
    assert record["product"]["digest"] == fingerprint.digest(product)
    (source,) = record["inputs"]
    assert source["exptype"] == "science" and source["digest"] == fingerprint.digest(next(Path(made["data"]).iterdir()))
    assert record["made_from"]["parameters"]["jump"]["rejection_threshold"] == 5.0  # of the pars- reference
    assert record["made_from"]["parameters"].get("ipc") is None  # switched off
    assert record["made_from"]["references"]["gain"].startswith("crds://jwst_nircam_gain_")
    assert {"steps/jump", "kernels/jumps/twopoint_jump", "products/stored"} <= set(record["made_from"]["code"])
    assert "numpy" in record["made_from"]["libraries"]
    assert record["run"]["steps"]["jump"]["status"] == "COMPLETE" and record["run"]["peak_mb"] > 50


def test_the_header_names_the_record(made):
    from astropy.io import fits

    for product in Path(made["results"]).glob("stage*/*.fits"):
        named = fits.getval(product, records.KEYWORD)
        assert product.with_name(named).exists() and named == records.record_path(product).name


# --- what is stale ---


def test_nothing_is_stale_after_a_run(made):
    assert why(made) == {"detector1": [], "image2": []}


def test_what_is_remembered_is_what_was_found(program, monkeypatch):
    """Of a job that comes after a stale one; a change of either is noticed all the same."""
    looked_at, look = [], stale._reasons
    monkeypatch.setattr(stale, "_reasons", lambda job, *of: looked_at.append(job.pipeline) or look(job, *of))
    changed = {"steps": {"jump": {"rejection_threshold": 7.0}}}
    found = {"detector1": ["jump.rejection_threshold 5.0 -> 7.0"], "image2": [f"after {rate(program).name}"]}
    assert why(program, **changed) == found
    assert why(program, **changed) == found  # the first time recipes were written
    looked_at.clear()
    assert why(program, **changed) == found
    assert looked_at == ["detector1"]
    assert why(program) == {"detector1": [], "image2": []}
    next(Path(program["results"], "stage2").glob("*_cal.fits")).unlink()
    again = why(program, **changed)
    assert again["detector1"] == found["detector1"] and again["image2"][-1] == found["image2"][0] and len(again["image2"]) == 2


def touch(path):
    os.utime(path)


def change(path):
    """Another value in the last pixel, with the size and even the time that it had."""
    path, at = Path(path), path.stat()
    content = bytearray(path.read_bytes())
    content[-3000] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(at.st_atime_ns, at.st_mtime_ns + 1))


AFTER = ["after {root}_rate.fits"]


@pytest.mark.parametrize(
    ("spoil", "detector1", "image2"),
    [
        (lambda c: touch(next(Path(c["data"]).iterdir())), [], []),
        (lambda c: change(next(Path(c["data"]).iterdir())), ["{root}_uncal.fits: its content"], AFTER),
        (lambda c: touch(rate(c)), [], []),
        (lambda c: change(rate(c)), ["{root}_rate.fits is not what was made"], AFTER),
        (lambda c: rate(c).unlink(), ["there is no {root}_rate.fits"], AFTER),
        (lambda c: records.record_path(rate(c)).unlink(), ["there is no record of how {root}_rate.fits was made"], AFTER),
        (lambda c: records.record_path(rate(c)).write_text("{"), ["there is no record of how {root}_rate.fits was made"], AFTER),
        (lambda c: [p.unlink() for p in rate(c).parent.glob("*.fits")], ["not made yet"], AFTER),
    ],
    ids=["touched", "other content", "product touched", "product changed", "product gone", "record gone", "record broken", "all gone"],
)
def test_files(program, spoil, detector1, image2):
    root = rate(program).name.removesuffix("_rate.fits")
    spoil(program)
    found = why(program)
    assert found == {"detector1": [w.format(root=root) for w in detector1], "image2": [w.format(root=root) for w in image2]}


@pytest.mark.parametrize(
    ("changes", "detector1", "image2"),
    [
        ({"steps": {"jump": {"rejection_threshold": 6.0}}}, ["jump.rejection_threshold 5.0 -> 6.0"], AFTER),
        ({"steps": {"jump": {"rejection_threshold": 5.0}}}, [], []),  # what the pars- reference says anyway
        ({"steps": {"ipc": {"skip": False}}}, ["step ipc put in"], AFTER),
        ({"steps": {"jump": {"skip": True}}}, ["step jump left out"], AFTER),
        ({"steps": {"photom": {"skip": True}}}, [], ["step photom left out"]),
        ({"steps": {"clean_flicker_noise": {"fit_method": "fft"}}}, [], []),  # a step that is off
        ({"exp_types": {"NRC_IMAGE": {"resample": {"pixfrac": 0.5}}}}, [], ["resample.pixfrac 1.0 -> 0.5"]),
        ({"references": {"overrides": {"flat": "N/A"}}}, [], ["flat {flat} -> N/A"]),
        ({"until": "stage1"}, [], None),
    ],
)
def test_configuration(made, changes, detector1, image2):
    flat = records.read(next(Path(made["results"], "stage2").glob("*_cal.fits")))["made_from"]["references"]["flat"]
    root = rate(made).name.removesuffix("_rate.fits")
    references = {**made["references"], **changes.get("references", {})}
    found = why(made, **{**changes, "references": references})
    in_words = {"root": root, "flat": flat.removeprefix("crds://")}
    assert found["detector1"] == [w.format(**in_words) for w in detector1]
    assert found.get("image2") == (image2 if image2 is None else [w.format(**in_words) for w in image2])


def test_code(made, monkeypatch):
    real = Code.parsed
    edited = {"kernels/jumps/twopoint_jump", "arithmetic/resample/blend", "products/stored"}
    monkeypatch.setattr(Code, "parsed", lambda self, name: {**real(self, name), "digest": "edited"} if name in edited else real(self, name))
    found = why(made)
    assert found["detector1"] == ["step code: jump (kernels/jumps/twopoint_jump)", "code: products/stored"]
    assert found["image2"][:-1] == ["step code: resample (arithmetic/resample/blend)", "code: products/stored"]


def test_a_file_of_the_users_own_may_change_under_its_name(tiny, program, tmp_path):
    flat = tmp_path / "my flat.fits"
    flat.write_bytes(tiny.references["flat"].read_bytes())
    program["references"] = {**program["references"], "overrides": {"flat": str(flat)}}
    (words,) = why(program)["image2"]
    assert words.endswith("-> my flat.fits")
    run(plan.make(program))
    assert why(program)["image2"] == []
    touch(flat)
    assert why(program)["image2"] == []
    change(flat)
    assert why(program)["image2"] == ["flat my flat.fits: its content"]


def test_a_file_that_a_parameter_names_may_change_under_its_name(tmp_path):
    """A catalogue, and a list with the catalogues that it lists: what they say counts, not when they were written."""
    catalogue, listed, other = tmp_path / "stars.ecsv", tmp_path / "catalogues.txt", tmp_path / "other.csv"
    for path, text in ((catalogue, "RA DEC\n"), (other, "x y\n"), (listed, "# image catalogue\njw1_cal.fits other.csv\njw2_cal.fits\n")):
        path.write_text(text)

    def values():
        return [records._value(str(path), fingerprint.Digests()) for path in (catalogue, listed)]

    first = values()
    assert [value.split()[0] for value in first] == [str(catalogue), str(listed)] and [len(value.split()) for value in first] == [2, 3]
    for path, changed in ((catalogue, [True, False]), (other, [False, True]), (listed, [False, True])):
        before = values()
        touch(path)
        assert values() == before
        path.write_text(path.read_text() + "3 4\n")
        assert [a != b for a, b in zip(values(), before, strict=True)] == changed
    assert records._parameter_changes("tweakreg", {"catfile": before[1]}, {"catfile": values()[1]}) == [
        f"tweakreg.catfile {listed}: its content"
    ]
    other.unlink()
    assert len(values()[1].split()) == 2
    assert records._value("median", fingerprint.Digests()) == "median" and records._value(str(tmp_path), fingerprint.Digests()) == str(
        tmp_path
    )


def test_an_input_that_can_not_be_read_is_a_problem_of_its_exposure(program, monkeypatch):
    uncal = next(Path(program["data"]).iterdir())
    touch(uncal)
    monkeypatch.setattr(fingerprint, "digest", lambda path: (_ for _ in ()).throw(InputError("can't be read", path, "Make it readable")))
    planned = plan.make(program)
    assert [job.pipeline for job in planned.jobs] == [] and any(str(uncal) in problem for problem in planned.problems)


# --- what Snakemake sees ---


def times(paths):
    return [os.stat(path).st_mtime for path in paths]


def test_recipes_tell_by_their_time(program):
    """Older than the products where all is up to date, younger where not, even if a clock is ahead; with a new content each time."""
    for job in plan.make(program).jobs:
        assert os.stat(job.recipe).st_mtime < min(times(job.outputs.values()))
    ahead = time.time() + 3600
    for product in Path(program["results"]).glob("stage1/*.fits"):
        os.utime(product, (ahead, ahead))
    steps = {"jump": {"rejection_threshold": 7.0}}
    contents = []
    for _ in range(2):
        job = plan.make({**program, "steps": steps}).jobs[0]
        assert max(times(job.outputs.values())) < os.stat(job.recipe).st_mtime <= time.time()
        contents.append(Path(job.recipe).read_text())
    assert contents[0] != contents[1]
    for job in plan.make(program).jobs:
        assert not job.why and os.stat(job.recipe).st_mtime < min(times(job.outputs.values()))


@pytest.mark.parametrize("hours", [-0.01, 1])
def test_products_are_put_in_order(program, hours):
    """A copy of the results in which everything is as young as it was copied, or made where the clock is ahead."""
    moment = time.time() + 3600 * hours
    for product in Path(program["results"]).glob("stage2/*.fits"):
        os.utime(product, (moment - 5, moment - 5))
    os.utime(rate(program), (moment, moment))
    job = plan.make(program).jobs[1]
    assert not job.why and times([rate(program)])[0] <= min(times(job.outputs.values())) <= time.time()
    assert why(program)["image2"] == []


def test_inputs_from_the_future(tmp_path):
    file = tmp_path / "a_uncal.fits"
    file.touch()
    assert stale.as_input(file, tmp_path / "results") == str(file)
    os.utime(file, (time.time() + 3600,) * 2)
    link = stale.as_input(file, tmp_path / "results")
    assert os.lstat(link).st_mtime <= time.time() and os.path.samefile(link, file)
    assert stale.as_input(file, tmp_path / "results") == link


# --- kept products ---


def test_products_stay_if_the_input_comes_out_the_same(program):
    before = {path: path.read_bytes() for path in Path(program["results"]).glob("stage2/*.fits")}
    nodes = {path: path.stat().st_ino for path in before}
    rate(program).unlink()
    planned = plan.make(program)
    stale.keep(planned.jobs)
    for path in before:
        path.unlink()  # as Snakemake does
    run(planned)
    assert {path: path.read_bytes() for path in before} == before and {path: path.stat().st_ino for path in before} == nodes
    assert "came out the same" in Path(program["results"], "logs/image2_cal_i2d.log").read_text()
    assert why(program) == {"detector1": [], "image2": []}


def test_what_was_just_made_is_not_read_again(program, monkeypatch):
    """Snakemake touches products when their job has ended: then their records have other times."""
    rate(program).unlink()
    planned = plan.make(program)
    run(planned)
    for product in Path(program["results"]).glob("stage*/*.fits"):
        os.utime(product)
    planned.remember()
    monkeypatch.setattr(fingerprint, "digest", lambda path: pytest.fail(f"{path} is read again"))
    assert why(program) == {"detector1": [], "image2": []}


def test_products_are_made_again_if_it_does_not(program):
    steps = {"jump": {"rejection_threshold": 3.0}}
    planned = plan.make({**program, "steps": steps})
    stale.keep(planned.jobs)
    run(planned)
    assert "came out the same" not in Path(program["results"], "logs/image2_cal_i2d.log").read_text()
    assert why(program, steps=steps) == {"detector1": [], "image2": []}


def test_what_a_killed_run_had_taken_away_is_put_back(program):
    rate(program).unlink()
    stale.keep(plan.make(program).jobs)
    cal = next(Path(program["results"]).glob("stage2/*_cal.fits"))
    content = cal.read_bytes()
    cal.unlink()
    stale.tidy(program["results"])
    assert cal.read_bytes() == content and not list(Path(program["results"], ".jwcal/kept").glob("*/*"))


# --- files ---


def test_digests_are_remembered_by_size_and_time(tmp_path, monkeypatch):
    file = tmp_path / "a.fits"
    file.write_bytes(b"one")
    digests = fingerprint.Digests(tmp_path / "digests.json")
    first = digests.of(file)
    digests.remember()
    with monkeypatch.context() as patch:
        patch.setattr(fingerprint, "digest", lambda path: pytest.fail("read again"))
        assert fingerprint.Digests(tmp_path / "digests.json").of(file) == first
    file.write_bytes(b"two")
    os.utime(file, ns=(5, 5))
    assert fingerprint.Digests(tmp_path / "digests.json").of(file) != first


def test_a_file_that_changes_while_it_is_read(tmp_path, monkeypatch):
    file = tmp_path / "a.fits"
    file.write_bytes(b"x" * 100)
    states = iter([[100, 1], [100, 2]])
    monkeypatch.setattr(fingerprint, "state", lambda stat: next(states))
    with pytest.raises(InputError, match="changed while it was read"):
        fingerprint.digest(file)


# --- one run at a time ---


def test_a_second_run_is_told_of_the_first(tmp_path):
    assert not stale.at_work(tmp_path)
    held = stale.lock(tmp_path)
    assert stale.at_work(tmp_path)
    with pytest.raises(ConfigError, match=rf"another run is at work there \(process {os.getpid()} on "):
        stale.lock(tmp_path)
    held.close()
    assert not stale.at_work(tmp_path)
    stale.lock(tmp_path).close()


def test_a_killed_run_leaves_no_lock(tmp_path):
    code = f"from jwcal.workflow import stale; import time; held = stale.lock({str(tmp_path)!r}); print('held', flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "held\n"
    with pytest.raises(ConfigError):
        stale.lock(tmp_path)
    other.kill()
    other.wait()
    stale.lock(tmp_path).close()


# --- what is remembered ---


def forget(path):
    """Other content of the same length, with the time that the file had."""
    at = path.stat()
    path.write_text(path.read_text().replace('"digest": "', '"digest": "x', 1)[:-1])
    assert path.stat().st_size == at.st_size
    os.utime(path, ns=(at.st_atime_ns, at.st_mtime_ns))


def test_verdicts_are_remembered(program, monkeypatch):
    why(program), why(program)  # the first run sees the products, which were copied
    monkeypatch.setattr(records, "read", lambda product: pytest.fail("a record is read"))
    assert why(program) == {"detector1": [], "image2": []}


@pytest.mark.parametrize("which", [rate, lambda c: next(Path(c["results"], "stage2").glob("*_cal.fits"))])
def test_a_record_that_only_looks_as_before_is_read(program, which):
    why(program), why(program)
    forget(records.record_path(which(program)))
    assert why(program) != {"detector1": [], "image2": []}


def test_a_changed_recipe_is_written_again(program):
    why(program), why(program)
    for recipe in Path(program["results"], stale.STATE, "recipes").iterdir():
        before = recipe.read_text()
        at = recipe.stat()
        recipe.write_text(before.replace("image2", "image3").replace("detector1", "detector2"))
        os.utime(recipe, ns=(at.st_atime_ns, at.st_mtime_ns))
        why(program)
        assert json.loads(recipe.read_text()) == json.loads(before)


def test_jobs_without_products_keep_their_recipes(program):
    """Planned twice before it is run: the recipes need not be written again; run, and the job is current."""
    for product in Path(program["results"]).glob("stage*/*"):
        product.unlink()
    planned = plan.make(program)
    before = {job.recipe: os.stat(job.recipe).st_mtime_ns for job in planned.jobs}
    again = plan.make(program)
    assert {job.recipe: os.stat(job.recipe).st_mtime_ns for job in again.jobs if job.why} == {
        job.recipe: before[job.recipe] for job in again.jobs if job.why
    }
    run(again)
    assert why(program) == {"detector1": [], "image2": []}
