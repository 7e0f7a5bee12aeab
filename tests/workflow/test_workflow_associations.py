"""Associations in the workflow: which exposures a run puts together, what it makes of them, and what it says."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from test_associations import exposure
from test_workflow import copy, snakemake

from jwcal.associations import chosen
from jwcal.products import stored
from jwcal.program import index
from jwcal.settings import chains
from jwcal.settings.config import Config, load
from jwcal.vocabulary.errors import ConfigError
from jwcal.workflow import plan

FIRST, SECOND, SKY, SLITLESS = (f"jw0123400{o}001_02101_{n:05d}_nrcb1" for o, n in ((1, 1), (1, 2), (2, 1), (3, 1)))
SOURCE = {"OBSERVTN": "001", "TARGPROP": "M31", "BKGDTARG": False}
EMPTY = {"OBSERVTN": "002", "TARGPROP": "SKY", "BKGDTARG": True}


def fill(tiny_rate, folder, *others):
    """Two dithers and a background, as rate files; and more."""
    copy(tiny_rate, folder / f"{FIRST}_rate.fits", EXPOSURE="1", **SOURCE)
    copy(tiny_rate, folder / f"{SECOND}_rate.fits", EXPOSURE="2", **SOURCE)
    copy(tiny_rate, folder / f"{SKY}_rate.fits", EXPOSURE="1", **EMPTY)
    for name, keywords in others:
        copy(tiny_rate, folder / f"{name}_rate.fits", **keywords)
    return folder


def write(path, *products, asn_type="image2", **more):
    """An association file: products are (name, {exptype: names of members})."""
    made = [
        {"name": name, "members": [{"expname": m, "exptype": kind} for kind, of in members.items() for m in of]}
        for name, members in products
    ]
    document = {
        "asn_type": asn_type,
        "asn_rule": "Asn_Mine",
        "asn_id": "c1234",
        "asn_pool": "mine.csv",
        "program": "01234",
        "products": made,
    }
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document | more))
    return path


def rate(*names):
    return [f"{name}_rate.fits" for name in names]


# --- a run


@pytest.fixture(scope="module")
def folder(tiny, tiny_rate, tmp_path_factory):
    """Two exposures of the target, one of them raw, and one of the sky."""
    folder = tmp_path_factory.mktemp("program")
    copy(tiny.image, folder / "data" / f"{FIRST}_uncal.fits", EXPOSURE="1", **SOURCE)
    copy(tiny_rate, folder / "data" / f"{SECOND}_rate.fits", EXPOSURE="2", **SOURCE)
    copy(tiny.image, folder / "data" / f"{SKY}_uncal.fits", EXPOSURE="1", **EMPTY)
    return folder


@pytest.fixture(scope="module")
def config(tiny):
    combined = {"bkg_subtract": {"save_combined_background": True}}
    return {"data": "data", "results": "results", "references": {"crds_path": str(tiny.crds)}, "steps": combined}


@pytest.fixture(scope="module")
def first(folder, config):
    return snakemake(folder, config=config)


def test_backgrounds_are_subtracted_from_the_science_alone(first, folder):
    assert first.status == 0, first.text
    stage2 = folder / "results/stage2"
    for name in (FIRST, SECOND):
        header = stored.header(stage2 / f"{name}_cal.fits")
        assert header["S_BKDSUB"] == "COMPLETE" and header["ASNPOOL"] == "headers"
        used = json.loads((folder / "results/associations" / header["ASNTABLE"]).read_text())
        (product,) = used["products"]
        assert product["name"] == name
        assert all((folder / "results/associations" / member["expname"]).is_file() for member in product["members"])
        assert [(Path(m["expname"]).name, m["exptype"]) for m in product["members"]] == [
            (f"{name}_rate.fits", "science"),
            (f"{SKY}_rate.fits", "background"),
        ]
        cal, science, sky, combined = (
            stored.read(folder / "results" / path)
            for path in (
                f"stage2/{name}_cal.fits",
                f"stage1/{FIRST}_rate.fits",
                f"stage1/{SKY}_rate.fits",
                f"stage2/{name}_combinedbackground.fits",
            )
        )
        known = np.isfinite(sky.sci)
        assert np.array_equal(combined.sci[known], sky.sci[known]) and np.all(cal.dq & sky.dq == sky.dq)
        assert np.all(cal.sci[known & np.isfinite(cal.sci)] == 0) and science.sci.any()  # it is the same picture in each
    assert stored.header(stage2 / f"{SKY}_cal.fits")["S_BKDSUB"] == "SKIPPED"
    assert not (stage2 / f"{SKY}_combinedbackground.fits").exists()


def test_what_was_inferred_is_said(first, folder):
    assert "associations: 3 of stage 2 and 2 of stage 3. They are in results/associations" in first.summary
    assert (
        "association inferred: background of observation 2 (NRC_IMAGE): taken for observation 1. If that is wrong, say it in `links`"
        in first.summary
    )
    assert len(list((folder / "results/associations").iterdir())) == 5


def test_a_second_run_and_a_background_that_changes(first, folder, config, tiny):
    """Nothing is made again, no association is written again; what depends on a new background is."""
    times = {path: path.stat().st_mtime_ns for path in (folder / "results/associations").iterdir()}
    again = snakemake(folder, config=config)
    assert again.status == 0 and again.made == set()
    assert {path: path.stat().st_mtime_ns for path in (folder / "results/associations").iterdir()} == times
    with fits.open(folder / "data" / f"{SKY}_uncal.fits", mode="update") as hdus:
        hdus["SCI"].data[:, 3:, 20:30, 20:30] += 500
    changed = snakemake(folder, config=config)
    assert changed.status == 0, changed.text
    assert {f"{name}_cal.fits" for name in (FIRST, SECOND, SKY)} <= changed.made
    assert f"{FIRST}_rate.fits" not in changed.made


# --- the plan


@pytest.fixture
def planned(tiny, tiny_rate, tmp_path, no_crds):
    """Plan the small program with other keys of the configuration: {product: (names of members, name of its association)}, and the plan."""
    fill(tiny_rate, tmp_path / "data")

    def make(**others):
        settings = {"data": str(tmp_path / "data"), "results": str(tmp_path / "results"), "references": {"crds_path": str(tiny.crds)}}
        made = plan.make(settings | others)
        jobs = [job for job in made.jobs if job.stage != "stage3"]
        recipes = {job.exposure: json.loads(Path(job.recipe).read_text()) for job in jobs}
        for job in jobs:
            assert [m["path"] for m in recipes[job.exposure]["members"]] == job.members
            assert all(m["exptype"] == "background" for m in recipes[job.exposure]["members"])
        return {j.exposure: ([Path(m).name for m in j.members], recipes[j.exposure]["association"]["table"]) for j in jobs}, made

    return make


def test_members_are_inputs(planned, tmp_path):
    found, made = planned()
    assert found == {
        FIRST: (rate(SKY), f"{FIRST}_image2_asn.json"),
        SECOND: (rate(SKY), f"{SECOND}_image2_asn.json"),
        SKY: ([], f"{SKY}_image2_asn.json"),
    }
    assert all(Path(job.members[0]) == tmp_path / "data" / f"{SKY}_rate.fits" for job in made.jobs[:2])
    assert plan.load({"results": str(tmp_path / "results")}).jobs[0].members == made.jobs[0].members


def test_what_waits_is_said(planned, tiny_rate, tmp_path, monkeypatch):
    """A grism spectrum of which this version knew no more than that it has a direct image."""
    built = chains.is_built
    monkeypatch.setattr(chains, "is_built", lambda pipeline, header=None: "spec" not in pipeline or (header is None and built(pipeline)))
    grism = FIRST.replace("_00001_", "_00003_")
    copy(
        tiny_rate,
        tmp_path / "data" / f"{grism}_rate.fits",
        **SOURCE | {"EXP_TYPE": "NRC_WFSS", "PUPIL": "GRISMR", "EXPOSURE": "3"},
    )
    _, made = planned()
    assert made.waits == {
        "stage 2": {"spec2 for NRC_WFSS, and for the mosaic of a direct image": 1},
        "stage 3": {"spec3 for NRC_WFSS": 1},
    }
    members = json.loads((tmp_path / f"results/associations/{grism}_spec2_asn.json").read_text())["products"][0]["members"]
    assert [m["exptype"] for m in members] == ["science", "direct_image", "sourcecat", "segmap"]


def test_links_say_otherwise(planned):
    found, made = planned(links=[{"observation": 1, "is": "background", "of": 2}])
    assert found[SKY][0] == [] and found[FIRST][0] == []  # both are backgrounds now: of none
    found, made = planned(links=[{"observation": 2, "is": "background", "of": 1}])
    assert found[FIRST][0] == rate(SKY) and made.notes == []
    with pytest.raises(ConfigError, match="there is no observation 7 of program 1234. There are 1, 2"):
        planned(links=[{"observation": 7, "is": "background", "of": 1}])


def test_two_backgrounds_of_one_observation(planned, tiny_rate, tmp_path):
    other = SKY.replace("34002", "34003")
    copy(tiny_rate, tmp_path / "data" / f"{other}_rate.fits", **EMPTY | {"OBSERVTN": "003"})
    found, made = planned()
    assert found[FIRST][0] == [] and any("there are several" in note for note in made.notes)
    found, made = planned(links=[{"observation": n, "is": "background", "of": 1} for n in (2, 3)])
    assert found[FIRST][0] == rate(SKY, other) and made.notes == []


def test_a_background_that_is_not_subtracted_is_no_input(planned):
    found, made = planned(steps={"bkg_subtract": {"skip": True}})
    assert all(members == [] for members, _ in found.values())
    found, made = planned(save=["combinedbackground", "bsub"])
    assert [list(job.outputs) for job in made.jobs if job.stage == "stage2"] == 2 * [["combinedbackground", "bsub", "cal", "i2d"]] + [
        ["cal", "i2d"]
    ]


@pytest.mark.parametrize("among_the_data", [True, False])
def test_a_person_s_association_wins(planned, tmp_path, among_the_data):
    """For its product; the others are those of the rules. What is in the results is what was used."""
    path = write(
        tmp_path / ("data" if among_the_data else "asn") / "mine_asn.json", (FIRST, {"science": rate(FIRST), "background": rate(SECOND)})
    )
    found, made = planned(**({} if among_the_data else {"associations": str(path)}))
    assert found[FIRST] == (rate(SECOND), "mine_asn.json") and found[SECOND] == (rate(SKY), f"{SECOND}_image2_asn.json")
    folder = tmp_path / "results/associations"
    used, asked = (json.loads(one.read_text()) for one in (folder / "mine_asn.json", path))
    names = [[Path(member["expname"]).name for member in one["products"][0]["members"]] for one in (used, asked)]
    assert used | {"products": 0} == asked | {"products": 0} and names[0] == names[1] and not (folder / f"{FIRST}_image2_asn.json").exists()
    path.unlink()
    found, _ = planned()
    assert found[FIRST] == (rate(SKY), f"{FIRST}_image2_asn.json") and not (folder / "mine_asn.json").exists()


def test_a_product_of_another_name(planned, tmp_path):
    path = write(tmp_path / "asn" / "mine_asn.json", ("m31_east", {"science": rate(FIRST)}))
    found, made = planned(associations=str(path))
    assert found["m31_east"] == ([], "mine_asn.json") and found[FIRST][0] == rate(SKY)
    (job,) = [job for job in made.jobs if job.exposure == "m31_east"]
    assert Path(job.outputs["cal"]).name == "m31_east_cal.fits" and Path(job.input).name == f"{FIRST}_rate.fits"


def test_of_several_files_for_a_product_one_is_taken(planned, tmp_path):
    """The configuration's before the data's, then the larger one."""
    science = {"science": rate(FIRST)}
    write(tmp_path / "data/a_asn.json", (FIRST, science | {"background": rate(SKY, SECOND)}))
    write(tmp_path / "data/b_asn.json", (FIRST, science | {"background": rate(SKY)}))
    found, made = planned()
    assert found[FIRST] == (rate(SKY, SECOND), "a_asn.json")
    assert [message for message in made.left_out if "b_asn.json" in message and "a_asn.json is taken" in message]
    found, _ = planned(associations=str(write(tmp_path / "asn/c_asn.json", (FIRST, science))))
    assert found[FIRST] == ([], "c_asn.json")


def test_a_member_that_is_not_there_costs_its_product_alone(planned, tmp_path):
    path = write(
        tmp_path / "asn" / "mine_asn.json", (FIRST, {"science": rate(FIRST), "background": rate(SKY, "jw09999001001_02101_00001_nrcb1")})
    )
    found, made = planned(associations=str(path))
    assert set(found) == {SECOND, SKY}
    (problem,) = made.problems
    assert problem.startswith(
        f"{path}: there is no jw09999001001_02101_00001_nrcb1_rate.fits, the background of {FIRST}, and nothing makes it."
    )
    shutil.copy(tmp_path / "data" / f"{SKY}_rate.fits", tmp_path / "asn/jw09999001001_02101_00001_nrcb1_rate.fits")  # beside it is enough
    found, made = planned(associations=str(path))
    assert len(found[FIRST][0]) == 2 and not made.problems


@pytest.mark.parametrize("how", ["never came", "truncated"])
def test_a_lost_nod_costs_the_others_no_more_than_itself(planned, tmp_path, tiny_rate, how):
    """They are calibrated with the nods that are there; the summary, once, their jobs and so their products say what they are without."""
    gone = FIRST.replace("_00001_", "_00003_")
    for name, other in ((FIRST, SECOND), (SECOND, FIRST)):
        write(tmp_path / "data" / f"{name}_asn.json", (name, {"science": rate(name), "background": rate(other, gone)}))
    if how == "truncated":
        (tmp_path / "data" / f"{gone}_rate.fits").write_bytes(tiny_rate.read_bytes()[:9000])
    found, made = planned()
    assert found[FIRST] == (rate(SECOND), f"{FIRST}_asn.json") and found[SECOND] == (rate(FIRST), f"{SECOND}_asn.json")
    words = f"without {gone}, which is in the association and neither among the data nor made"
    assert [remark for remark in made.remarks if "without" in remark and "stage 3" not in remark][0] == f"{FIRST}, {SECOND}: {words}"
    assert [recipe.association["lacks"] for recipe in made.recipes.values() if recipe.pipeline == "image2" and recipe.members] == [
        words
    ] * 2
    assert len(made.problems) == (how == "truncated")
    write(tmp_path / "data" / f"{FIRST}_asn.json", (FIRST, {"science": rate(FIRST), "background": rate(gone)}))
    found, made = planned()
    assert found[FIRST][0] == [] and f"{FIRST}: {words}: no background is left" in made.remarks


def test_a_member_whose_exposure_is_calibrated_already(planned, tmp_path):
    """There is only its cal file: what the association wants of it nothing makes."""
    os.rename(tmp_path / "data" / f"{SKY}_rate.fits", tmp_path / "data" / f"{SKY}_cal.fits")
    found, made = planned()
    assert found == {} and len(made.problems) == 2 and all(f"there is no {SKY}_rate.fits" in problem for problem in made.problems)


@pytest.mark.parametrize(
    ("product", "more", "message"),
    [
        ((FIRST, {"science": rate(FIRST, SECOND)}), {}, "has one science member, this one has 2"),
        ((FIRST, {"background": rate(SKY)}), {}, "has no science member"),
        (("m31_{source_id}", {"science": rate(FIRST)}), {}, "no placeholders in its name"),
        ((FIRST, {"science": ["/" + rate(FIRST)[0]]}), {}, "is not given by its name"),
        (
            (FIRST, {"science": rate("jw09999001001_02101_00001_nrcb1")}),
            {},
            "there is no exposure jw09999001001_02101_00001_nrcb1_rate.fits",
        ),
        ((FIRST, {"science": rate(FIRST)}), {"asn_type": "image9"}, "asn_type is 'image9'"),
    ],
)
def test_bad_associations_stop_nothing_else(planned, tmp_path, product, more, message):
    path = write(tmp_path / "asn" / "mine_asn.json", product, **more)
    found, made = planned(associations=str(path))
    assert set(found) == {FIRST, SECOND, SKY} and found[FIRST][0] == rate(SKY)
    (problem,) = made.problems
    assert message in problem and str(path) in problem


def test_backgrounds_that_nothing_subtracts_are_said(planned, tiny, tmp_path):
    name = tiny.series.name.removesuffix("_uncal.fits")
    shutil.copy(tiny.series, tmp_path / "data")
    path = write(
        tmp_path / "data/a_asn.json", (name, {"science": [f"{name}_rateints.fits"], "background": rate(SKY)}), asn_type="tso-image2"
    )
    found, made = planned()
    assert found[name] == ([], "a_asn.json") and made.left_out == [f"{path}: {name}: tso-image2 subtracts no background"]


def test_associations_that_are_not_there(planned, tmp_path):
    for where, message in (("nowhere_asn.json", "no such file or folder"), ("data", r"no \*_asn.json in this folder")):
        with pytest.raises(ConfigError, match=message):
            planned(associations=str(tmp_path / where))


def test_an_archive_s_associations_of_exposures_that_were_not_fetched(planned, tmp_path):
    """They lie among the data, as the archive gives them: left out, and said; nothing fails."""
    write(tmp_path / "data/a_asn.json", ("x", {"science": rate("jw09999001001_02101_00001_nrcb1")}))
    write(tmp_path / "data/b_asn.json", ("mosaic", {"science": ["jw09999001001_02101_00001_nrcb1_cal.fits"]}), asn_type="image3")
    found, made = planned()
    assert set(found) == {FIRST, SECOND, SKY} and not made.problems and len(made.left_out) == 2


def test_an_archive_s_association_that_lacks_a_member(planned, tmp_path):
    """The rules make its product of what is there: the summary, the job and so the product say what is missing."""
    gone = FIRST.replace("_00001_", "_00007_")
    members = {"science": [f"{FIRST}_cal.fits", f"{gone}_cal.fits"]}
    write(tmp_path / "data/b_asn.json", ("mosaic", members), asn_type="image3", asn_id="o001")
    _, made = planned()
    (job,) = [job for job in made.jobs if job.stage == "stage3" and FIRST in job.input]
    words = f"without {gone}, which is in b_asn.json and not among the data"
    assert f"{job.exposure}: {words}" in made.remarks
    assert [recipe.association["lacks"] for recipe in made.recipes.values() if "lacks" in recipe.association] == [words]
    write(tmp_path / "data/c_asn.json", (gone, {"science": rate(gone)}))  # how it would be calibrated: that makes no cal of it
    assert f"{job.exposure}: {words}" in planned()[1].remarks
    write(tmp_path / "data/b_asn.json", ("mosaic", members), asn_type="image3", asn_id="c1000")  # of more than one observation
    assert not any("without" in remark for remark in planned()[1].remarks)


def test_only_what_is_asked_for(planned, tmp_path):
    _, made = planned(until="stage2")
    assert made.associations == {"stage2": 3} and made.waits == {}
    _, made = planned(until="stage1")
    assert made.associations == {} and list((tmp_path / "results/associations").glob("*")) == []
    _, made = planned()
    assert made.associations == {"stage2": 3, "stage3": 2} and made.waits == {}
    assert [job.pipeline for job in made.jobs if job.stage == "stage3"] == ["image3"] * 2


def test_a_new_exposure_leaves_the_others_alone(planned, tiny_rate, tmp_path):
    """Their associations keep their names, so that nothing of them is made again."""
    before, _ = planned()
    copy(tiny_rate, tmp_path / "data" / "jw01234001001_02101_00000_nrcb1_rate.fits", EXPOSURE="0", **SOURCE)
    after, _ = planned()
    assert {name: after[name] for name in before} == before and len(after) == 4


# --- special cases


def test_an_exposure_of_two_candidates_is_calibrated_once_and_that_is_said():
    exposures = [exposure(o, TARGPROP=f"T{o}") for o in (1, 2, 3, 4)]
    links = ({"observation": 2, "is": "background", "of": 1}, {"observation": 3, "is": "background", "of": [1, 4]})
    found = chosen.choose(exposures, Config(links=links))
    (association,) = found.of_exposure(exposures[0].root)
    assert [member.expname for member in association.of_type("background")] == [f"{exposures[2].root}_rate.fits"]
    assert found.notes == [f"{exposures[0].root}: it is in the candidates c1000 and c1001: c1001 is taken"]


def of(folder, **settings):
    found = index.find(folder)
    return chosen.choose(found.exposures, load({"data": str(folder), **settings}), found.associations)


def test_the_mission_s_table_wins_over_the_rules(tiny_rate, tmp_path):
    """Wavefront sensing with NIRSpec ends with stage 2; one integration is no time series."""
    mimf = {"EXP_TYPE": "NRS_MIMF", "INSTRUME": "NIRSPEC", "DETECTOR": "NRS1", "GRATING": "MIRROR", "FILTER": "F110W", "PUPIL": None}
    copy(tiny_rate, tmp_path / f"{FIRST}_rate.fits", **SOURCE | mimf)
    assert [(a.asn_type, a.stage) for a in of(tmp_path).associations] == [("image2", 2)]
    copy(tiny_rate, tmp_path / f"{FIRST}_rate.fits", **SOURCE | {"EXP_TYPE": "NRC_TSIMAGE", "NINTS": 1})
    assert of(tmp_path).associations == []


def test_a_full_frame_behind_an_occulter_has_two_products(tiny, tiny_rate, tmp_path, no_crds):
    """Its integrations, and their mean."""
    optics = {"EXP_TYPE": "NRC_CORON", "PUPIL": "MASKRND", "DETECTOR": "NRCA2", "SUBARRAY": "FULL", "CHANNEL": "SHORT", "MODULE": "A"}
    copy(tiny_rate, tmp_path / "data" / f"{FIRST}_rate.fits", **SOURCE | optics)
    path = copy(tiny_rate, tmp_path / "data" / f"{FIRST}_rateints.fits", **SOURCE | optics)
    with fits.open(path, mode="update") as hdus:
        for name in ("SCI", "ERR", "DQ", "VAR_POISSON", "VAR_RNOISE"):
            hdus[name].data = hdus[name].data[None]
    found = of(tmp_path / "data").of_exposure(FIRST)
    assert sorted((a.science.expname, a.table) for a in found) == [
        (f"{FIRST}_rate.fits", f"{FIRST}_image2-2_asn.json"),
        (f"{FIRST}_rateints.fits", f"{FIRST}_image2_asn.json"),
    ]
    everything = {kind: "N/A" for kind in ("distortion", "filteroffset", "flat", "photom", "area")}
    made = plan.make(
        {
            "data": str(tmp_path / "data"),
            "results": str(tmp_path / "results"),
            "references": {"crds_path": str(tiny.crds), "overrides": everything},
        }
    )
    assert sorted((job.rule, Path(job.input).name) for job in made.jobs if job.stage == "stage2") == [
        ("image2_cal", f"{FIRST}_rate.fits"),
        ("image2_calints", f"{FIRST}_rateints.fits"),
    ]
    assert len({job.recipe for job in made.jobs if job.stage == "stage2"}) == 2 and not made.problems


def test_names_with_placeholders_are_files(tiny_rate, tmp_path):
    """{source_id} stays in the product's name, which is for the pipeline, and out of the file's."""
    shutters = {
        "EXP_TYPE": "NRS_MSASPEC",
        "INSTRUME": "NIRSPEC",
        "DETECTOR": "NRS1",
        "GRATING": "PRISM",
        "FILTER": "CLEAR",
        "MSAMETFL": "a_msa.fits",
    }
    copy(tiny_rate, tmp_path / "data" / f"{FIRST}_rate.fits", **SOURCE | shutters)
    (association,) = of(tmp_path / "data").of_stage(3)
    assert (
        "{source_id}" in association.product
        and association.table == f"{association.product.replace('{', '').replace('}', '')}_spec3_asn.json"
    )
    chosen.save([association], tmp_path / "out", {})
    assert json.loads((tmp_path / "out" / association.table).read_text())["products"][0]["name"] == association.product


def test_an_exposure_without_a_program_is_in_none(tiny_rate, tmp_path):
    copy(tiny_rate, tmp_path / "my_image_rate.fits", PROGRAM="", OBSERVTN="")
    copy(tiny_rate, tmp_path / "my image_rate.fits", **SOURCE)
    found = of(tmp_path)
    assert found.associations == [] and len(found.notes) == 2 and all("in no association" in note for note in found.notes)
    assert chosen.choose([], Config()).associations == []


def test_two_products_of_one_id_do_not_share_files(planned, tmp_path):
    """A crf has the name of its exposure and the id of the association: of two that would write the same file the second is left out."""
    for name in "ab":
        members = {"science": [f"{FIRST}_cal.fits"]}
        write(tmp_path / f"data/{name}_asn.json", (f"my_mosaic_{name}", members), asn_type="image3", asn_id="o001")
    _, made = planned()
    assert [job.exposure for job in made.jobs if job.stage == "stage3" and job.exposure.startswith("my_mosaic")] == ["my_mosaic_a"]
    assert [text for text in made.left_out if text.startswith("my_mosaic_b: it shares an exposure with my_mosaic_a")]
