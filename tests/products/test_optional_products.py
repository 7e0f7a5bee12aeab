"""What steps show beside the exposure: planned, made and written as products of the job, whether a parameter or `save` asks for it."""

import asdf
import numpy as np
import pytest
from astropy.io import fits
from stdatamodels.jwst import datamodels

import jwcal
from jwcal.products import stored
from jwcal.settings import chains
from jwcal.settings.step_modules import parameters_of
from jwcal.workflow import jobs, plan
from jwcal.workflow.jobs import failure_file

FLICKER = {"save_mask": "mask", "save_background": "flicker_bkg", "save_noise": "flicker_noise"}
ON = {"clean_flicker_noise": {"skip": False}, "persistence": {"skip": False, "persistence_time": 100}}
MODELS = {
    "mask": "ImageModel",
    "flicker_bkg": "RampModel",
    "flicker_noise": "RampModel",
    "avgdark": "DarkModel",
    "fitopt": "RampFitOutputModel",
    "likely_chisq": "ImageModel",
}


def planned(tiny, folder, exposure, **given):
    """The stage 1 job of an exposure."""
    config = {"data": str(exposure), "results": str(folder), "until": "stage1", "references": {"crds_path": str(tiny.crds)}}
    made = plan.make(config | given)
    assert not made.problems
    (job,) = made.jobs
    return job


def asking():
    """Each optional product: its suffix, the parameters that ask for it, the steps that must be on."""
    yield from (("clean_flicker_noise", {name: True}, suffix) for name, suffix in FLICKER.items())
    yield "dark_current", {"dark_output": "any_name"}, "avgdark"
    yield "persistence", {"save_persistence": "any_name"}, "persistence"
    yield "ramp_fit", {"save_opt": True}, "fitopt"
    yield "ramp_fit", {"save_opt": True, "algorithm": "LIKELY"}, "likely_chisq"


@pytest.mark.parametrize(("step", "parameters", "suffix"), list(asking()))
def test_either_way_of_asking_makes_the_product(tiny, tmp_path, step, parameters, suffix):
    by_parameter = planned(tiny, tmp_path / "parameter", tiny.image, steps=ON | {step: ON.get(step, {}) | parameters})
    on = {"algorithm": parameters["algorithm"]} if "algorithm" in parameters else {}
    by_save = planned(tiny, tmp_path / "save", tiny.image, steps=ON | {step: ON.get(step, {}) | on}, save=[suffix])
    for job in (by_parameter, by_save):
        assert list(job.outputs) == [suffix, "rate", "rateints"] and suffix in job.rule
        assert jobs.run(job.recipe, tmp_path / "log") == 0, failure_file(job.recipe).read_text()
    path = by_save.outputs[suffix]
    if suffix == "persistence":
        assert path.endswith("_persistence.asdf")
        with asdf.open(path) as file:
            assert set(file["NRCB1"]) == {"filename", "rows", "cols", "vals", "pers_time"}
        return
    with datamodels.open(path) as model:
        assert type(model).__name__ == MODELS[suffix]


def test_nothing_is_planned_that_nobody_asks_for(tiny, tmp_path):
    """Nor what a step that is off, or an algorithm that is not used, would make."""
    assert list(planned(tiny, tmp_path, tiny.image, steps=ON).outputs) == ["rate", "rateints"]
    assert list(planned(tiny, tmp_path, tiny.image, save=["mask", "persistence", "likely_chisq"]).outputs) == ["rate", "rateints"]


def test_a_step_that_is_skipped_leaves_a_product_that_says_so(tiny, tmp_path):
    """Snakemake waits for what was planned, and the data alone tell that the step does not apply."""
    steps = {"clean_flicker_noise": {"skip": False, "fit_method": "fft"}, "persistence": {"skip": False}}
    job = planned(tiny, tmp_path, tiny.image, steps=steps, save=["mask", "persistence"])
    assert jobs.run(job.recipe, tmp_path / "log") == 0
    with fits.open(job.outputs["mask"]) as hdus:
        assert "SCI" not in hdus and hdus[0].header["S_CLNFNS"] == "SKIPPED"
        assert "for spectra of NIRSpec only" in " ".join(hdus[0].header["HISTORY"])
    with asdf.open(job.outputs["persistence"]) as file:
        assert file["status"] == "SKIPPED" and "persistence_time" in file["why"]


def test_by_hand(tiny, tmp_path):
    made = jwcal.run_pipeline("detector1", tiny.image, steps=ON, save=["persistence"], out=tmp_path, crds_path=str(tiny.crds), every=True)
    assert list(made) == ["persistence", "rate", "rateints"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".json") == sorted(
        chains.root_and_suffix(tiny.image)[0] + ending for ending in ("_persistence.asdf", "_rate.fits", "_rateints.fits")
    )


def test_every_asked_parameter_is_one_of_its_step():
    for save in chains.chain("detector1", {"INSTRUME": "MIRI"}).saves + chains.chain("detector1", {"INSTRUME": "NIRISS"}).saves:
        step, _, name = save.asked.partition(".")
        if name:
            assert {name, *save.given} <= set(parameters_of(step)) and save.by == step and save.last


def test_a_ramp_keeps_what_only_ramps_have(tiny, tmp_path):
    """MIRI's reference output and the groups' times: no step looks at them, so only a ramp that is a product has them."""
    raw = tmp_path / tiny.image.name
    with fits.open(tiny.image) as hdus:
        level = np.arange(np.prod(hdus["SCI"].shape) // 4, dtype=np.uint16).reshape(*hdus["SCI"].shape[:3], -1)
        hdus.append(fits.ImageHDU(level, name="REFOUT"))
        hdus.writeto(raw)
    made = jwcal.run_pipeline("detector1", raw, save=["ramp"], every=True, out=tmp_path, crds_path=tiny.crds)
    assert "REFOUT" not in made["rate"].extra and "GROUP" not in made["rateints"].tables and "INT_TIMES" in made["rateints"].tables
    with fits.open(tmp_path / raw.name.replace("uncal", "ramp")) as hdus:
        np.testing.assert_array_equal(hdus["REFOUT"].data, level)
        assert len(hdus["GROUP"].data) == level.shape[0] * level.shape[1]
    with stored.opened(raw, of_ramps=False) as exposure:
        assert "REFOUT" not in exposure.extra and set(exposure.tables) == {"INT_TIMES"}
