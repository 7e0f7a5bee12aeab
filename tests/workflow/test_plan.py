"""The plan: from headers to jobs and recipes, in the main process, without touching a pixel."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from astropy.io import fits

from jwcal.report.summary import summary
from jwcal.settings import chains
from jwcal.settings.chains import Save, Step
from jwcal.settings.recipe import Recipe
from jwcal.settings.tables import table
from jwcal.vocabulary.errors import ConfigError
from jwcal.workflow import plan
from jwcal.workflow import resources as resources_module
from jwcal.workflow.resources import resources

pytestmark = pytest.mark.usefixtures("no_crds")


@pytest.fixture
def planned(tiny, tmp_path):
    """Make the plan of some files; other keys of the configuration by name."""

    def make(*files, **others):
        references = {"crds_path": str(tiny.crds), **others.pop("references", {})}
        data = [str(file) for file in files] or str(tiny.image)
        until = others.pop("until", "stage2")  # stage 3 has tests of its own
        return plan.make({"data": data, "results": str(tmp_path / "results"), "until": until, "references": references, **others})

    return make


def like(source, folder, root=None, suffix="uncal", **keywords):
    """A copy of an exposure under another name, with other keywords."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{root or source.name.rpartition('_')[0]}_{suffix}.fits"
    shutil.copy(source, path)
    with fits.open(path, mode="update") as hdus:
        hdus[0].header.update(keywords)
    return path


def jobs(made):
    return [(job.stage, job.pipeline, list(job.outputs)) for job in made.jobs]


IMAGE = [("stage1", "detector1", ["rate", "rateints"]), ("stage2", "image2", ["cal", "i2d"])]
MOSAIC = ("stage3", "image3", ["i2d", "cat", "segm", "list"])
SERIES = [("stage1", "tso1", ["rate", "rateints"]), ("stage2", "tso-image2", ["calints"])]


# --- routing ---


def test_image_and_series(tiny, planned):
    made = planned(tiny.image, tiny.series)
    assert jobs(made) == IMAGE + SERIES
    assert made.stops == {}
    assert not made.problems and not made.left_out


@pytest.mark.parametrize(
    ("keywords", "wanted", "stops"),
    [
        ({"EXP_TYPE": "NRC_TACQ"}, [IMAGE[0], ("stage2", "image2", ["cal"])], []),
        ({"EXP_TYPE": "NRC_LED"}, IMAGE[:1], []),
        ({"EXP_TYPE": "NRC_IMAGE", "VISITYPE": "PRIME_WFSC_SENSING_CONTROL"}, [IMAGE[0], ("stage2", "wfs-image2", ["cal"])], None),
        # one integration is no series; and only images are resampled
        ({"EXP_TYPE": "NRC_TSIMAGE"}, [IMAGE[0], ("stage2", "image2", ["cal"])], None),
    ],
)
def test_routing(tiny, planned, tmp_path, keywords, wanted, stops):
    made = planned(like(tiny.image, tmp_path / "data", **keywords))
    assert jobs(made) == wanted and not made.problems
    assert stops is None or list(made.stops) == stops


def test_half_of_a_pair(tiny, planned, tmp_path):
    """Once it vanished after stage 2, without a word."""
    keywords = {"VISITYPE": "PRIME_WFSC_ROUTINE", "PATTTYPE": "WFSC"}
    first = like(tiny.image, tmp_path / "data", **keywords)
    root = first.name.replace("_uncal.fits", "")
    alone = planned(first, until="stage3")
    assert alone.stops == {f"stage 2: wfs-image3 combines two exposures, and the other one of {root} is not there": 1}
    assert any(line.startswith("  1 exposure stops after stage 2: wfs-image3 combines two") for line in summary(alone, 0).splitlines())
    second = root.replace("_00001_", "_00002_")
    both = planned(first, like(tiny.image, tmp_path / "data", second, **keywords, EXPOSURE="00002"), until="stage3")
    assert both.stops == {} and [job.pipeline for job in both.jobs if job.stage == "stage3"] == ["wfs-image3"]


GRISMS = [f"jw01234001001_0410{n}_00001_nrcb1" for n in range(3)]


def test_grisms_without_a_direct_image(tiny, planned, tmp_path):
    """One message for all of them, and the others go on."""
    made = planned(*(like(tiny.image, tmp_path / "data", name, EXP_TYPE="NRC_WFSS") for name in GRISMS), tiny.series)
    (problem,) = made.problems
    assert problem.startswith("3 exposures: there is no catalogue of the sources") and "is: direct_image" in problem
    assert jobs(made) == [*SERIES, *IMAGE[:1] * 3]


def test_stops_are_counted_by_pipeline(tiny, planned, tmp_path, monkeypatch):
    built = chains.is_built
    monkeypatch.setattr(chains, "is_built", lambda pipeline, header=None: pipeline != "spec2" or (header is None and built(pipeline)))
    made = planned(*(like(tiny.image, tmp_path / "data", name, EXP_TYPE="NRC_WFSS") for name in GRISMS))
    assert made.stops == {"stage 1: spec2 is not available for NRC_WFSS": 3}
    assert "  3 exposures stop after stage 1: spec2 is not available for NRC_WFSS" in summary(made, 0).splitlines()


@pytest.mark.parametrize(("until", "wanted"), [("stage1", IMAGE[:1]), ("stage2", IMAGE), ("stage3", [*IMAGE, MOSAIC])])
def test_until(planned, until, wanted):
    """What was not asked for is not reported as lacking."""
    made = planned(until=until)
    assert jobs(made) == wanted
    assert not made.stops


def test_an_association_that_is_none_is_told_and_the_rest_is_made(planned, tmp_path):
    (tmp_path / "mosaic_asn.json").write_text("{}")
    made = planned(associations=str(tmp_path / "mosaic_asn.json"))
    (problem,) = made.problems
    assert problem.startswith(f"{tmp_path / 'mosaic_asn.json'}: asn_type is None")
    assert jobs(made) == IMAGE


@pytest.mark.parametrize(("there", "total", "lost"), [((1, 3), 3, (2,)), ((2, 4), 6, (1, 3, 5, 6)), ((1, 2), 2, ()), ((1, 2), None, ())])
def test_a_segment_of_a_series_that_was_not_fetched(tiny, planned, tmp_path, there, total, lost):
    """It is named, and the rest of the series is put together."""
    begin, end = "jw01234001001_02101_00001-seg", "_nrcb1"
    paths = [like(tiny.series, tmp_path / "data", f"{begin}{n:03}{end}", EXSEGNUM=n, EXSEGTOT=total) for n in there]
    made = planned(*paths, until="stage3")
    (last,) = [job for job in made.jobs if job.stage == "stage3"]
    assert last.pipeline == "tso3" and len(last.members) == len(there) - 1 and not made.problems
    said = [remark for remark in made.remarks if "not among the data" in remark]
    assert len(said) == bool(lost)
    for text in said:
        assert text.startswith(last.exposure) and text.endswith(f"the series has {total} segments")
        assert all(f"{begin}{n:03}{end}" in text for n in lost[:3]) and ("and 1 more" in text) == (len(lost) > 3)


def test_optional_products_and_skipped_steps(planned):
    assert jobs(planned(save=["ramp"]))[0] == ("stage1", "detector1", ["ramp", "rate", "rateints"])
    assert jobs(planned(steps={"resample": {"skip": True}}))[1] == ("stage2", "image2", ["cal"])
    assert jobs(planned(exp_types={"NRC_TSIMAGE": {"resample": {"skip": True}}})) == IMAGE


def test_chain_whose_product_is_skipped(tiny, planned):
    """Told, not dropped: without ramp_fit there is no rate, unless the ramp itself is wanted."""
    made = planned(steps={"ramp_fit": {"skip": True}})
    assert jobs(made) == []
    assert made.problems == [f"{tiny.image}: detector1 makes no product: the step that makes it is skipped. Set `until` or `save`."]
    made = planned(steps={"ramp_fit": {"skip": True}}, save=["ramp"])
    assert jobs(made) == [("stage1", "detector1", ["ramp"])] and not made.problems
    assert made.stops == {"stage 1: there is no rate for image2 to start from": 1}


# --- where an exposure starts ---


def test_from_rate(tiny_rate, planned, tmp_path):
    """Stage 1 is not made again; stage 2 reads the archive's file where it lies."""
    path = like(tiny_rate, tmp_path / "data", suffix="rate")
    made = planned(path)
    assert jobs(made) == IMAGE[1:] and made.jobs[0].input == str(path)


def test_from_cal(tiny_rate, planned, tmp_path):
    made = planned(like(tiny_rate, tmp_path / "data", suffix="cal"))
    assert jobs(made) == [] and made.stops == {}


def test_uncal_wins_over_what_was_made_of_it(tiny, tiny_rate, planned, tmp_path):
    made = planned(like(tiny.image, tmp_path / "data"), like(tiny_rate, tmp_path / "data", suffix="rate"))
    assert jobs(made) == IMAGE
    assert made.jobs[1].input == made.jobs[0].outputs["rate"]


def test_series_that_is_there_only_as_rate(tiny_rate, planned, tmp_path):
    """A time series can't go on from the mean of its integrations: that is told."""
    made = planned(like(tiny_rate, tmp_path / "data", suffix="rate", EXP_TYPE="NRC_TSIMAGE", NINTS=2, TSOVISIT=True))
    assert jobs(made) == [] and made.stops == {"stage 1: there is no rateints for tso-image2 to start from": 1}


# --- jobs ---


def test_each_job_reads_what_another_makes(tiny, planned):
    made = planned(tiny.image, tiny.series)
    outputs = {path for job in made.jobs for path in job.outputs.values()}
    assert [job.input in outputs for job in made.jobs] == [False, True, False, True]
    assert set(made.targets()) == outputs and len(outputs) == len(made.targets())
    for job in made.jobs:
        pattern = made.output_patterns(job.rule)
        assert {s: p.format(exposure=job.exposure) for s, p in pattern.items()} == job.outputs
        assert made.job(job.rule, job.exposure) == job and re.fullmatch(made.exposures(job.rule), job.exposure)


def test_a_rule_has_one_set_of_products(tiny, planned, tmp_path):
    """image2 with and without i2d are two rules, so that no job is to make what it can't."""
    made = planned(tiny.image, like(tiny.image, tmp_path / "data", "jw01234001001_04101_00001_nrcb1", EXP_TYPE="NRC_TACQ"))
    assert made.rules("stage1") == ["detector1_rate_rateints"]
    assert made.rules("stage2") == ["image2_cal", "image2_cal_i2d"]
    assert made.rules("stage3") == []


def test_resources_grow_with_the_data():
    full = (2048, 2048)
    memory, minutes = resources("stage1", (1, 10, *full))
    assert resources("stage1", (1, 5, 64, 64))[0] < memory < 4000
    assert resources("stage1", (1, 50, *full)) > (memory, minutes)
    assert resources("stage1", (100, 10, *full))[1] > 10 * minutes
    assert resources("stage2", full)[0] > plan.resources("stage2", (64, 64))[0]
    for row in table("resources"):  # which says of what more is taken, and by how much
        header = row["when"]
        assert header["EXP_TYPE"] in table("exp_types")["exp_types"] and row.keys() <= {"when", "mb", "pixel", "minutes"}
        assert resources("stage2", full, header=header) > resources("stage2", full, header={"EXP_TYPE": "NRC_IMAGE"})
        assert resources("stage1", (1, 10, *full), header=header) == (memory, minutes)
    assert resources("stage2", (50, *full))[0] > plan.resources("stage2", full)[0]


def test_memory_does_not_grow_with_integrations_unless_the_ramp_is_kept():
    """A long ramp is walked in pieces: then only its products grow with the integrations."""
    shapes = [(n, 20, 512, 512) for n in (100, 1000)]
    few, many = (resources("stage1", shape)[0] for shape in shapes)
    samples = 4 * 900 * 20 * 512 * 512 / 2**20
    assert 0 < many - few < samples / 2
    few, many = (resources("stage1", shape, whole=True)[0] for shape in shapes)
    assert many - few > samples


def test_wanting_the_ramp_asks_for_its_memory(tiny, planned, monkeypatch):
    monkeypatch.setattr(resources_module, "LARGEST_RAMP", 2**10)
    monkeypatch.setattr(resources_module, "SAMPLE", 2**12)
    assert planned(tiny.series, save=["ramp"]).jobs[0].mem_mb > planned(tiny.series).jobs[0].mem_mb


# --- recipes ---


def test_recipe_there_and_back(tiny, planned):
    """What a job reads is what was planned, through JSON."""
    recipe = Recipe(
        "detector1",
        [Step("jump"), Step("guider_cds", {"readout": "fineguide"}), Save({"rate": "cal"}, optional=True, model="M", by="jump")],
        parameters={"jump": {"rejection_threshold": 5.0, "skip": False, "mask": None}},
        references={"gain": "/a/gain.fits", "dark": "N/A"},
        names={"gain": "crds://gain.fits"},
        context="jwst_0001.pmap",
        save=["ramp"],
        group_flags=False,
        reads=["uncal"],
    )
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    for job in planned(tiny.image, tiny.series).jobs:
        plain = json.loads(Path(job.recipe).read_text())
        assert plain.pop("input") == job.input and plain.pop("outputs") == job.outputs
        assert plain.pop("made_from")["pipeline"] == job.pipeline
        assert plain.pop("stale")["why"] == job.why == ["not made yet"]
        again = Recipe.from_dict(plain)
        assert again.pipeline == job.pipeline and json.loads(json.dumps(again.to_dict())) == plain
        assert all(Path(path).is_file() for path in again.references.values() if path != "N/A")


def test_jobs_of_a_cluster_find_the_plan(tiny, planned, tmp_path):
    """They read it from the results folder, and ask neither headers nor CRDS."""
    bad = tmp_path / "bad_uncal.fits"
    bad.write_bytes(b"")
    made = planned(tiny.image, tiny.series, bad)
    again = plan.load({"results": str(tmp_path / "results")})
    assert again.problems == made.problems and again.jobs == made.jobs
    assert again.job(made.jobs[0].rule, made.jobs[0].exposure) == made.jobs[0]


def test_wrong_configuration_stops_before_anything_is_written(planned, tmp_path):
    with pytest.raises(ConfigError, match="steps.jump.rejection: there is no parameter"):
        planned(steps={"jump": {"rejection": 5}})
    assert not (tmp_path / "results").exists()


# --- summary ---


def test_summary(tiny, planned, tmp_path):
    """Made, up to date, out of date, failed and why, not reached, unusable, left out, and where exposures stop."""
    bad, other = tmp_path / "bad_uncal.fits", tmp_path / "hst_uncal.fits"
    bad.write_bytes(b"")
    like(tiny.image, tmp_path, "hst", TELESCOP="HST")
    made = planned(tiny.image, tiny.series, bad, other)
    first, second = made.jobs[0], made.jobs[2]
    for path, age in zip(first.outputs.values(), (100, 300), strict=True):
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_text("")
        os.utime(path, (age, age))
    failure = run_failure(second)
    old = "jwcal: 1 products made, 0 up to date, 5 not made, 1 out of date; 1 file can't be used. They are in"
    assert old in summary(made, started=200)  # one has to be made again, and was not
    first.why.clear()
    text = summary(made, started=200)
    lines = [line.strip() for line in text.splitlines()]
    assert f"jwcal: 1 products made, 1 up to date, 5 not made; 1 file can't be used. They are in {tmp_path / 'results'}" in lines
    assert f"failed: {second.exposure} tso1: {failure}" in lines
    (waiting,) = [line for line in lines if line.startswith("not made because of that, or not reached: ")]
    assert (
        f"{first.exposure} image2" in waiting and f"{second.exposure} tso-image2" in waiting and "tso1" not in waiting.replace("tso-", "")
    )
    assert f"can't be used: {bad}: the file is empty. Fetch the file again." in lines
    assert f"left out: {other}: not a JWST file (TELESCOP is not JWST): left out." in lines


def run_failure(job):
    from jwcal.workflow.jobs import failure_file

    path = failure_file(job.recipe)
    path.parent.mkdir(exist_ok=True)
    path.write_text("x_uncal.fits: the file is truncated. Fetch the file again.\n")
    return path.read_text().strip()


def test_what_starts_each_run_is_light():
    """A run that has nothing to do, and each job of a cluster, need neither numpy nor astropy to find that out."""
    imports = "from jwcal.report import progress, screen, summary; from jwcal.workflow import kernels, plan, warm"
    loaded = subprocess.run(
        [sys.executable, "-c", f"import sys; {imports}; print(*sys.modules)"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert {"jwcal.workflow.plan", "jwcal.report.screen"} <= set(loaded)
    assert not {"numpy", "astropy", "numba", "asdf"} & set(loaded)
