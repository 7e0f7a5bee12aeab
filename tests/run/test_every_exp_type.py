"""Every EXP_TYPE of the table, simulated small, to its stage 1 product: planned in one run, and each job made as its rule makes it."""

import logging
import os
import warnings
from collections import Counter
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from astropy.io import fits
from stdatamodels.jwst import datamodels

from jwcal.settings import chains
from jwcal.settings.selector import select_for
from jwcal.settings.tables import table
from jwcal.simulate import crds_cache, headers, references
from jwcal.simulate.detector import make_detector
from jwcal.simulate.exposures import simulate_exposure
from jwcal.simulate.instruments import Subarray, exp_types, setup
from jwcal.vocabulary import dq, keywords
from jwcal.workflow import jobs, plan

ROWS = table("exp_types")["exp_types"]
# Types that the simulator does not know are taken like another one of their instrument.
TAKEN_LIKE = {
    "MIR_DARKALL": "MIR_DARKIMG",
    "MIR_TACONFIRM": "MIR_TACQ",
    "MIR_WFSS": "MIR_IMAGE",
    "NRC_WFSC": "NRC_IMAGE",
    "NRS_TACQ": "NRS_WATA",
    "NRS_TASLIT": "NRS_WATA",
    "NRS_VERIFY": "NRS_IMAGE",
}
# A corner of each detector, with reference pixels: all its exposures are of these pixels, whatever their subarray is called, so that
# one set of references serves them. Guide star functions look at parts of it of the flight's size, as far as that fits.
CORNER = Subarray("GENERIC", 1, 1, 64, 48)
PARTS = {"8X8": (8, 8), "32X32": (32, 32)}
GUIDER = "GUIDER2"
TFRAME = 2.0  # s
LIGHT = 400.0  # e-/s
DARK_SLIT = 4  # columns at the left and right without light: NIRSpec's SUB32 has no reference pixels, and takes these instead
# What image2 alone takes, and the simulator does not make for every EXP_TYPE.
WITHOUT = {kind: "N/A" for kind in references.IMAGING}


class Taken(NamedTuple):
    """An exposure, what was put into it, and what the table and the plan make of it."""

    made: object  # exposures.Simulated
    pipelines: object  # selector.Pipelines
    job: plan.Job


class Run(NamedTuple):
    """The plan of one run, and its exposures by EXP_TYPE."""

    plan: plan.Plan
    exposures: dict


def take(folder, exp_type, number, sensors):
    """Simulate an exposure of one EXP_TYPE; its detector is made up with the first one of it."""
    like = TAKEN_LIKE.get(exp_type, exp_type)
    usual = setup(like)
    detector = GUIDER if usual.guider else usual.detector
    if detector not in sensors:  # without drifts of its levels, which the few reference pixels of a corner can't tell
        sensors[detector] = make_detector(usual.instrument, detector, CORNER, flicker=0.0, offsets=0.0)
    columns, rows = PARTS.get(usual.subarray.name, (CORNER.xsize, CORNER.ysize))
    place = Subarray(usual.subarray.name, CORNER.xstart, CORNER.ystart, columns, rows, usual.subarray.noutputs)
    light = np.zeros(place.shape)
    light[:, DARK_SLIT:-DARK_SLIT] = LIGHT * usual.illuminated
    return simulate_exposure(
        folder / "data",
        exp_type=like,
        detector=detector,
        subarray=place,
        sensor=sensors[detector].cut(place),
        tframe=None if usual.guider else TFRAME,
        nints=min(usual.readout.nints, 2),
        light=None if usual.guider else light,  # a guide star
        identity=headers.Identity(exposure=number),
        header={"EXP_TYPE": exp_type},
        seed=number,
    )


def build_cache(folder, taken, sensors):
    """A CRDS cache with one set of references for each detector."""
    files = []
    for number, (name, sensor) in enumerate(sensors.items(), start=1):
        setups = [made.setup for made in taken if made.setup.detector == name]
        usual = replace(setups[0], subarray=CORNER)
        types = [kind for kind in references.types_for(usual) if kind not in WITHOUT]
        made = references.write_references(folder / "references", sensor, setup=usual, types=types, number=number)
        if "rscd" in made:
            name_subarrays(made["rscd"], sorted({setup.subarray.name for setup in setups}))
        files += made.values()
    crds_cache.build(folder / "crds", files)


def name_subarrays(path, subarrays):
    """Give an RSCD reference the same numbers for each of these subarrays."""
    with fits.open(path, mode="update") as hdus:
        skip = hdus["RSCD_GROUP_SKIP"]
        rows = np.repeat(skip.data[:1], len(subarrays))
        rows["subarray"] = subarrays
        skip.data = rows


@pytest.fixture(scope="module")
def every(tmp_path_factory):
    """The plan of one run with an exposure of every EXP_TYPE."""
    folder = tmp_path_factory.mktemp("every")
    sensors = {}
    taken = {exp_type: take(folder, exp_type, number, sensors) for number, exp_type in enumerate(ROWS, start=1)}
    build_cache(folder, taken.values(), sensors)
    config = {"data": str(folder / "data"), "results": str(folder / "results"), "until": "stage2"}
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith("CRDS_")]:
            environment.delenv(name)
        made = plan.make(config | {"references": {"crds_path": str(folder / "crds"), "overrides": WITHOUT}})
    first = {job.input: job for job in made.jobs if job.stage == "stage1"}
    return Run(
        made,
        {exp_type: Taken(one, select_for(fits.getheader(one.uncal)), first[str(one.uncal)]) for exp_type, one in taken.items()},
    )


@pytest.fixture
def own_logging():
    """Undo what a job does to the logging of its process."""
    root, before = logging.getLogger(), logging.raiseExceptions
    handlers, level = root.handlers[:], root.level
    yield
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:], logging.raiseExceptions = handlers, before
    root.setLevel(level)
    logging.captureWarnings(False)


def steps_of(pipeline, instrument):
    """The steps that every exposure goes through."""
    if pipeline == "guider":
        return "dq_init guider_cds flat_field".split()
    first = "dq_init saturation reset linearity rscd" if instrument == "MIRI" else "dq_init saturation superbias refpix linearity"
    return first.split() + ([] if pipeline == "dark" else "dark_current jump ramp_fit".split())


def products_of(pipeline, exp_type=""):
    """Suffixes, and the classes that stdatamodels opens them with."""
    if exp_type in ("MIR_MRS", "NRS_IFU"):
        return {"rate": "IFUImageModel", "rateints": "CubeModel"}
    others = {"dark": {"dark": "RampModel"}, "guider": {"cal": "GuiderCalModel"}}
    return others.get(pipeline, {"rate": "ImageModel", "rateints": "CubeModel"})


def as_others_open_it(path):
    """The product in stdatamodels, which must neither warn nor find it invalid."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ResourceWarning)
        model = datamodels.open(str(path))
        model.validate()
    return model


def slope(model, readout):
    """Counts a second between the first and the last usable group of a ramp, and where no group between them is flagged."""
    usable = np.flatnonzero(((model.groupdq[0] & dq.DO_NOT_USE) == 0).mean(axis=(1, 2)) > 0.5)
    first, last = usable[0], usable[-1]
    time = readout.group_times()
    good = (model.pixeldq == 0) & (model.groupdq[0, first : last + 1] == 0).all(axis=0)
    return (model.data[0, last] - model.data[0, first]) / (time[last] - time[first]), good


def electrons(model, made):
    """The signal in a product [e-/s] as it was put in, and its good pixels, both (row, col)."""
    sensor, readout = made.detector, made.setup.readout
    if model.data.ndim == 4:
        signal, good = slope(model, readout)
        return signal * sensor.gain, good
    images, flags = (a if a.ndim == 3 else a[None] for a in (model.data, model.dq))
    good = (flags == 0).all(axis=0)
    assert np.isfinite(images[:, good]).all() and np.isfinite(model.err[..., good]).all()
    signal = images.mean(axis=0) * sensor.gain
    if not made.setup.guider:
        return signal + sensor.dark, good
    # reads are summed on board; of fine guide data the last four are compared with the first four, so four groups lie between them
    summed = readout.nframes // readout.divisor * (4 if readout.ngroups == 8 else 1)
    return signal * sensor.flat / summed, good


@pytest.mark.parametrize("exp_type", ROWS)
def test_stage_1(every, own_logging, tmp_path, exp_type):
    made, _, job = every.exposures[exp_type]
    expected = products_of(job.pipeline, exp_type)
    assert list(job.outputs) == list(expected)
    assert jobs.run(job.recipe, tmp_path / "log") == 0
    for suffix, path in job.outputs.items():
        header = fits.getheader(path)
        skipped = [step for step in steps_of(job.pipeline, made.setup.instrument) if header[keywords.status(step)[0]] != "COMPLETE"]
        assert not skipped
        with as_others_open_it(path) as model:
            assert type(model).__name__ == expected[suffix] and model.meta.exposure.type == exp_type
            signal, good = electrons(model, made)
        check_signal(signal, good, made)


def check_signal(signal, good, made):
    """What comes out is what was put in: where there is light to a few parts in a thousand (a guide star's, read twice, to a tenth)."""
    truth = made.ramp.rate
    lit = good & (truth > max(LIGHT, truth[good].max()) / 5)
    assert lit.any() == made.setup.illuminated
    if lit.any():
        assert signal[lit].sum() == pytest.approx(truth[lit].sum(), rel=0.1 if made.setup.guider else 0.005)
    if not made.setup.guider:
        dark = good & ~lit
        assert np.median(signal[dark]) == pytest.approx(np.median(truth[dark]), abs=1.5)
        assert dark.mean() > 0.05 and good.mean() > 0.8


def test_simulator_knows_the_mission_s_types():
    assert len(exp_types()) == 63 and set(exp_types()) | set(TAKEN_LIKE) == set(ROWS)


def test_stage_2_of_the_table(every):
    """Nothing is refused but spectra without references or direct image; what is not built stops before it, with the reason."""
    refused = set(every.plan.unusable)
    known = "the sourcecat of", "catalogue of the sources", "reference"
    assert not [problem for problem in every.plan.problems if not any(words in problem for words in known)]
    assert not every.plan.left_out and not any(every.exposures[kind].job.exposure in refused for kind in ("NRC_IMAGE", "NIS_AMI"))
    stops = Counter()
    for one in every.exposures.values():
        first, second, _ = one.pipelines
        header = fits.getheader(one.made.uncal)
        built = bool(second) and chains.is_built(second, header)
        if second and not built:
            stops[f"stage 1: {chains.absence(second, header)}"] += 1
        planned = [job.pipeline for job in every.plan.jobs if job.exposure == one.job.exposure]
        goes_on = built and one.job.exposure not in refused
        assert planned[0] == first and set(planned[1:]) == ({second} if goes_on else set())  # coronagraphs: of rate and of rateints
    assert every.plan.stops == stops
