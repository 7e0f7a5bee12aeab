"""Requests that do nothing, or not what they say: each is said, with the reason."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from test_associations import exposure
from test_workflow import copy

import jwcal
from jwcal.__main__ import COMMANDS, main
from jwcal.associations import chosen
from jwcal.commands.described import all_steps
from jwcal.commands.words import spelled_out
from jwcal.products import stored
from jwcal.report.summary import summary
from jwcal.settings import selector
from jwcal.settings.config import Config
from jwcal.workflow import jobs, plan, requests

SMALL = {"SUBARRAY": "SUB160", "SUBSTRT1": 901, "SUBSTRT2": 901, "SUBSIZE1": 160, "SUBSIZE2": 160}
FULL = {"SUBARRAY": "FULL", "SUBSTRT1": 1, "SUBSTRT2": 1, "SUBSIZE1": 2048, "SUBSIZE2": 2048}
WITHOUT_TIME = "false, but persistence does nothing without persistence_time: set it too"
IS_OFF = "does nothing: persistence is skipped unless steps.persistence.skip is false"
ONE = "jw04321001001_02101_00001_nrca1"


def choose(exposures, *links, until="stage3"):
    return chosen.choose(exposures, Config(links=links, until=until))


def backgrounds(found, name=ONE):
    (association,) = found.of_exposure(name)
    return [member.expname for member in association.of_type("background")]


# --- links


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"FILTER": "F150W"}, "FILTER is F200W, that of the background F150W"),
        ({"detector": "NRCA3"}, "DETECTOR is NRCA1, that of the background NRCA3"),
        ({"SUBARRAY": "SUB160P"}, "SUBARRAY is SUB160, that of the background SUB160P"),
        (
            {"PUPIL": "F162M", "FILTER": "F150W2"},
            "FILTER is F200W, that of the background F150W2, PUPIL is CLEAR, that of the background F162M",
        ),
        ({"EXP_TYPE": "NRC_TSIMAGE"}, "EXP_TYPE is NRC_IMAGE, that of the background NRC_TSIMAGE"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_a_background_that_the_rules_leave_out_is_said(other, reason):
    shifted = {**SMALL, "SUBSTRT1": 1}  # of another subarray it looks elsewhere
    found = choose([exposure(1, **SMALL), exposure(2, **{**shifted, **other})], {"observation": 2, "is": "background", "of": 1})
    assert found.remarks == [f"links: {{observation: 2, is: background, of: 1}}: not used for 1 exposure ({ONE}): {reason}"]
    assert backgrounds(found) == []


def test_an_observation_is_not_its_own_background():
    """It stays what it is: science, with the background of another link."""
    links = [{"observation": 1, "is": "background", "of": 1}, {"observation": 2, "is": "background", "of": 1}]
    found = choose([exposure(1), exposure(2)], *links)
    assert found.remarks == ["links: {observation: 1, is: background, of: 1}: observation 1 can't be its own background: left out"]
    assert backgrounds(found) == ["jw04321002001_02101_00001_nrca1_rate.fits"]


def test_a_part_of_a_link_that_does_nothing_is_said():
    exposures = [exposure(1), exposure(1, 2), exposure(2, FILTER="F150W"), exposure(3, detector="NRCA3"), exposure(4)]
    found = choose(exposures, {"observation": [3, 4], "is": "background", "of": [1, 2]})
    assert found.remarks == [
        "links: {observation: [3, 4], is: background, of: [1, 2]}: not used for 1 exposure (jw04321002001_02101_00001_nrca1): "
        "FILTER is F150W, that of the background F200W",
        "links: {observation: [3, 4], is: background, of: [1, 2]}: 1 exposure of the background "
        "(jw04321003001_02101_00001_nrca3) suits none of them",
    ]


def test_what_works_is_not_remarked_on():
    assert choose([exposure(1), exposure(2)], {"observation": 2, "is": "background", "of": 1}).remarks == []
    mosaic = choose([exposure(1), exposure(2, TARGPROP="M33")], {"observation": [1, 2], "is": "mosaic"})
    assert mosaic.remarks == []
    ami = {"EXP_TYPE": "NIS_AMI", "INSTRUME": "NIRISS", "FILTER": "F430M", "PUPIL": "NRM", "SUBARRAY": "SUB80", "detector": "NIS"}
    assert choose([exposure(1, **ami), exposure(2, **ami)], {"observation": 2, "is": "psf", "of": 1}).remarks == []


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        ({"observation": 2, "is": "psf", "of": 1}, "no rule takes a PSF reference for NRC_IMAGE"),
        ({"observation": 2, "is": "direct_image", "of": 1}, "no rule takes a direct image for NRC_IMAGE"),
        ({"observation": [1, 3], "is": "mosaic"}, "no rule combines them, they differ in FILTER"),
        ({"observation": 1, "is": "group"}, "it takes two observations"),
    ],
    ids=lambda value: value["is"] if isinstance(value, dict) else "",
)
def test_other_links(link, reason):
    (remark,) = choose([exposure(1), exposure(2), exposure(3, FILTER="F150W")], link).remarks
    assert reason in remark and f"is: {link['is']}" in remark


def test_two_backgrounds_of_each_other():
    links = [{"observation": 1, "is": "background", "of": 2}, {"observation": 2, "is": "background", "of": 1}]
    remarks = choose([exposure(1), exposure(2)], *links).remarks
    assert len(remarks) == 2 and all("it is itself a background" in remark for remark in remarks)


def test_target_acquisitions_and_what_another_link_serves_are_not_remarked_on():
    acquisition = {"EXP_TYPE": "NRC_TACQ", "ACT_ID": "02"}
    exposures = [exposure(1), exposure(1, **acquisition), exposure(2), exposure(2, **acquisition), exposure(3), exposure(4)]
    links = [{"observation": 2, "is": "background", "of": 1}, {"observation": 3, "is": "background", "of": [1, 4]}]
    found = choose(exposures, *links)
    assert found.remarks == [] and any("c1001 is taken" in note for note in found.notes)


def test_an_inferred_background_that_suits_nothing_is_said():
    found = choose([exposure(1, **SMALL), exposure(2, BKGDTARG=True, TARGPROP="SKY", **FULL)])
    assert found.remarks == [
        f"background of observation 2: not used for 1 exposure ({ONE}): SUBARRAY is SUB160, that of the background FULL. "
        "Say it in `links`: then a larger one is cut"
    ]


def test_a_full_frame_serves_a_subarray_but_not_the_other_way_round():
    whole = choose([exposure(1, **SMALL), exposure(2, **FULL)], {"observation": 2, "is": "background", "of": 1})
    assert whole.remarks == ["links: {observation: 2, is: background, of: 1}: its FULL is cut to SUB160 for 1 exposure"]
    assert backgrounds(whole) == ["jw04321002001_02101_00001_nrca1_rate.fits"]
    assert whole.of_exposure(ONE)[0].acid == ("c1000", "background")
    part = choose([exposure(1, **FULL), exposure(2, **SMALL)], {"observation": 2, "is": "background", "of": 1})
    assert backgrounds(part) == [] and "SUBARRAY is FULL, that of the background SUB160" in part.remarks[0]
    other = choose([exposure(1, **SMALL), exposure(2, **FULL, FILTER="F150W")], {"observation": 2, "is": "background", "of": 1})
    assert backgrounds(other) == []


def test_a_larger_background_is_cut_and_subtracted(tiny, tiny_rate, tmp_path):
    """In a run, with numbers: each pixel of the subarray loses what the larger frame has at its place on the detector."""
    science = copy(tiny_rate, tmp_path / "data/jw01234001001_02101_00001_nrcb1_rate.fits", OBSERVTN="001")
    larger = tmp_path / "data/jw01234002001_02101_00001_nrcb1_rate.fits"
    with fits.open(tiny_rate) as hdus:
        first = hdus["SCI"].header if "SUBSTRT1" in hdus["SCI"].header else hdus[0].header
        start = [first["SUBSTRT1"] - 20, first["SUBSTRT2"] - 10]
        values = np.arange(100 * 110, dtype=np.float32).reshape(100, 110) / 1000
        for hdu in hdus[1:]:
            if isinstance(hdu, fits.ImageHDU):
                hdu.data = values if hdu.name == "SCI" else np.zeros(values.shape, hdu.data.dtype)
        keywords = {"OBSERVTN": "002", "SUBARRAY": "FULL", "SUBSTRT1": start[0], "SUBSTRT2": start[1], "SUBSIZE1": 110, "SUBSIZE2": 100}
        hdus[0].header.update(keywords)
        hdus.writeto(larger)
    links = [{"observation": 2, "is": "background", "of": 1}]
    made = planned(tiny, tmp_path, tmp_path / "data", links=links, save=["bsub"])
    (job,) = [job for job in made.jobs if job.input == str(science)]
    assert job.members == [str(larger)]
    assert jobs.run(job.recipe, tmp_path / "log") == 0
    before, after = stored.read(tiny_rate), stored.read(job.outputs["bsub"])
    good = np.isfinite(before.sci)
    np.testing.assert_allclose(after.sci[good], (before.sci - values[10:74, 20:84])[good], rtol=1e-6, atol=1e-6)
    assert np.array_equal(after.dq, before.dq)


# --- the configuration


def planned(tiny, folder, *data, references=None, **settings):
    return plan.make(
        {
            "data": [str(path) for path in data or (tiny.image, tiny.series)],
            "results": str(folder / "results"),
            "references": {"crds_path": str(tiny.crds), **(references or {})},
            **settings,
        }
    )


@pytest.mark.parametrize(
    ("settings", "remarks"),
    [
        (
            {"steps": {"persistence": {"skip": False}}},
            [f"steps.persistence.skip: {WITHOUT_TIME} (2 exposures)"],
        ),
        ({"steps": {"persistence": {"skip": False, "persistence_time": 3600}}}, []),
        (
            {"exp_types": {"NRC_TSIMAGE": {"persistence": {"skip": False, "persistence_time": 0}}}},
            [f"exp_types.NRC_TSIMAGE.persistence.skip: {WITHOUT_TIME} (1 exposure)"],
        ),
        (
            {"steps": {"persistence": {"persistence_time": 3600}}},
            [f"steps.persistence.persistence_time {IS_OFF} (2 exposures)"],
        ),
        ({"steps": {"jump": {"skip": True, "rejection_threshold": 5.0}}}, []),
        ({"steps": {"emicorr": {"skip": True}}}, ["steps.emicorr: no exposure of this run goes through emicorr"]),
        ({"steps": {"resample": {"pixfrac": 0.8}}}, []),  # of the image alone
        ({"steps": {"resample": {"pixfrac": 0.8}}, "until": "stage1"}, ["steps.resample: no exposure of this run goes through resample"]),
        ({"exp_types": {"MIR_IMAGE": {"jump": {"skip": True}}}}, ["exp_types.MIR_IMAGE: no exposure is one"]),
        (
            {"exp_types": {"NRC_TSIMAGE": {"resample": {"pixfrac": 0.8}}}},
            ["exp_types.NRC_TSIMAGE.resample: no such exposure goes through resample"],
        ),
        ({"save": ["ramp"]}, []),
        ({"save": ["emi_ref_waves"]}, ["save: no exposure of this run makes emi_ref_waves"]),
    ],
    ids=str,
)
def test_what_does_nothing_is_in_the_summary(tiny, tmp_path, settings, remarks):
    made = planned(tiny, tmp_path, **settings)
    assert made.remarks == remarks
    lines = summary(made, started=0).splitlines()
    assert [line for line in lines if line.startswith("  note: ")] == [f"  note: {remark}" for remark in remarks]


def test_overrides_that_do_nothing(tiny, tmp_path):
    gain, flat = str(tiny.references["gain"]), str(tiny.references["flat"])
    assert planned(tiny, tmp_path, references={"overrides": {"gain": gain, "flat": flat, "dark": "N/A"}}).remarks == []
    made = planned(tiny, tmp_path, until="stage1", references={"overrides": {"area": gain, "flat": flat, "pars-jumpstep": "N/A"}})
    assert made.remarks == [
        "references.overrides.area: no exposure of this run takes it",
        "references.overrides.flat: the steps that take it are skipped",  # clean_flicker_noise is off
    ]
    another = shutil.copy(gain, tmp_path / "another.fits")
    entries = [
        {"match": {"DETECTOR": "NRCA1"}, "files": {"gain": gain}},
        {"files": {"gain": gain}},
        {"match": {"DETECTOR": "NRCB1"}, "files": {"gain": str(another)}},
    ]
    assert planned(tiny, tmp_path, references={"overrides": entries}).remarks == [
        "references.overrides[0]: no exposure has DETECTOR NRCA1",
        "references.overrides[2].gain: another override wins wherever it fits",
    ]


def test_nothing_is_said_of_all_exposures_where_some_can_not_be_planned(tiny, tmp_path):
    made = planned(tiny, tmp_path, steps={"jump": {"skip": True}}, references={"crds_context": "jwst_0077.pmap"})
    assert made.remarks == [] and len(made.unusable) == 2


# --- references of the user's own


def of(tmp_path, source, **keywords):
    path = Path(shutil.copy(source, tmp_path / "own.fits"))
    with fits.open(path, mode="update") as hdus:
        hdus[0].header.update(keywords)
    return str(path)


def test_an_override_that_contradicts_the_exposure(tiny, tmp_path):
    """It is used, and said in the summary and in the log of each job."""
    gain = of(tmp_path, tiny.references["gain"], FILTER="F150W", DETECTOR="NRCA1")
    made = planned(tiny, tmp_path, until="stage1", references={"overrides": {"gain": gain}})
    words = f"the gain reference {gain} is for DETECTOR NRCA1, the exposure has NRCB1; FILTER F150W, the exposure has F200W"
    assert made.remarks == [f"{words} (2 exposures)"]
    job = made.jobs[0]
    jobs.run(job.recipe, tmp_path / "log")
    assert f"WARNING jwcal.run.loop: {words}" in (tmp_path / "log").read_text()


def test_another_file_of_the_cache_that_contradicts_the_exposure(tiny, tmp_path):
    """It is overridden too, though CRDS has the file."""
    crds = shutil.copytree(tiny.crds, tmp_path / "crds")
    (gain,) = crds.rglob(tiny.references["gain"].name)
    another = gain.with_name(gain.name.replace("_9001", "_9002"))
    shutil.copy(of(tmp_path, gain, DETECTOR="NRCA1"), another)
    made = planned(tiny, tmp_path, references={"crds_path": str(crds), "overrides": {"gain": f"crds://{another.name}"}})
    assert made.remarks == [f"the gain reference {another} is for DETECTOR NRCA1, the exposure has NRCB1 (2 exposures)"]


@pytest.mark.parametrize(
    ("keywords", "mine", "suits"),
    [
        ({"DETECTOR": "NRCA1"}, {"DETECTOR": "NRCB1"}, False),
        ({"DETECTOR": "ANY"}, {"DETECTOR": "NRCB1"}, True),
        ({"DETECTOR": "NRCB1", "P_DETECT": "NRCA1|NRCB1|"}, {"DETECTOR": "NRCB1"}, True),
        ({"FILTER": "F200W", "P_FILTER": "F150W|F115W"}, {"FILTER": "F200W"}, False),
        ({"PUPIL": "CLEAR"}, {"PUPIL": "F162M"}, False),
        ({"GRATING": "G140H"}, {"GRATING": "PRISM"}, False),
        ({"GRATING": "N/A"}, {"GRATING": "PRISM"}, True),
        ({"CHANNEL": "LONG"}, {"CHANNEL": "SHORT"}, False),
        ({"CHANNEL": "1234"}, {"CHANNEL": "34"}, True),
        ({"CHANNEL": "12"}, {"CHANNEL": "34"}, False),
        ({"SUBARRAY": "FULL"}, {"SUBARRAY": "SUB64P"}, True),  # it is cut
        ({"SUBARRAY": "GENERIC"}, {"SUBARRAY": "SUB64P"}, True),
        ({"SUBARRAY": "SUB160"}, {"SUBARRAY": "FULL"}, False),
        ({"FILTER": "F200W"}, {}, True),
    ],
    ids=str,
)
def test_which_references_suit(tmp_path, keywords, mine, suits):
    path = tmp_path / "own.fits"
    fits.PrimaryHDU(header=fits.Header(keywords)).writeto(path)
    assert (requests.contradictions({"flat": str(path)}, mine) == []) is suits


def test_an_asdf_reference(tmp_path):
    import asdf

    asdf.AsdfFile({"meta": {"instrument": {"detector": "NRCA1", "p_filter": "F200W|F150W|"}}}).write_to(tmp_path / "own.asdf")
    (found,) = requests.contradictions({"distortion": str(tmp_path / "own.asdf")}, {"DETECTOR": "NRCB1", "FILTER": "F150W"})
    assert found.endswith("is for DETECTOR NRCA1, the exposure has NRCB1")
    assert requests.contradictions({"distortion": str(tmp_path / "no.asdf"), "flat": "N/A"}, {"DETECTOR": "NRCA1"}) == []


# --- by hand


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--skip", "flat_field"], "--skip flat_field: detector1 has no step flat_field"),
        (["--run", "resample"], "--run resample: detector1 has no step resample"),
        (["--set", "photom.skip=true"], "--set photom.skip=true: detector1 has no step photom"),
        (["--override", "photom=N/A"], "--override photom=N/A: no step of detector1 takes a photom reference"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_can_only_be_a_mistake_is_an_error(tiny, tmp_path, capsys, arguments, message):
    assert (
        main(["detector1", str(tiny.image), str(tiny.series), "--crds-path", str(tiny.crds), "--out", str(tmp_path / "out"), *arguments])
        == 1
    )
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ERROR: ")]
    assert len(errors) == 1 and message in errors[0]
    assert not (tmp_path / "out").exists()


def test_what_does_nothing_by_hand_is_warned_of(tiny, tmp_path, caplog):
    """A file of parameters may hold those of other pipelines, and a step may be that of another instrument: the products are made."""
    rate = jwcal.run_pipeline(
        "detector1",
        tiny.image,
        steps={"flat_field": {"skip": True}, "emicorr": {"skip": True}, "persistence": {"skip": False}},
        overrides={"flat": str(tiny.references["flat"]), "gain": str(tiny.references["gain"])},
        save=["bsub"],
        crds_path=str(tiny.crds),
    )
    assert rate.suffix == "rate"
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING" and record.name == "jwcal.api"]
    assert warned == [
        "detector1 has no step flat_field for this exposure: what is set for it does nothing",
        "detector1 has no step emicorr for this exposure: what is set for it does nothing",
        "what takes the flat reference is skipped (clean_flicker_noise): the override does nothing",
        "steps.persistence.skip: false, but persistence does nothing without persistence_time: set it too",
        "detector1 made no bsub: no step of it does, or it was skipped",
    ]


def test_the_examples_of_the_readme_are_no_mistakes():
    """Each command by hand in README.md names steps that its pipeline has, and references that it takes."""
    text = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    lines = [line.partition("#")[0].split() for code in text.split("```")[1::2] for line in code.splitlines() if line.startswith("jwcal ")]
    checked = 0
    for _, pipeline, *given in lines:
        if pipeline in COMMANDS or pipeline in all_steps():
            continue
        words = spelled_out(given)
        pairs = list(zip(words, words[1:], strict=False))
        steps = {value.partition(".")[0]: value for option, value in pairs if option in ("--skip", "--run", "--set")}
        overrides = {value.partition("=")[0]: value for option, value in pairs if option == "--override"}
        pipeline = selector.pipeline_name(pipeline)
        requests.check(pipeline, steps, overrides)
        assert overrides.keys() <= requests.takes(pipeline, [s for s in requests.steps_of(pipeline) if s != "clean_flicker_noise"])
        checked += len(steps) + len(overrides)
    assert checked >= 4
