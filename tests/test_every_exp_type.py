"""Every EXP_TYPE of the table, simulated small, through the workflow to its stage 1 product: planned in one run, each job as its rule runs it."""

import logging
import warnings
from collections import Counter
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from astropy.io import fits
from stdatamodels.jwst import datamodels

from jwcal import chains, fitsio, jobs, keywords, plan
from jwcal.selector import select_for
from jwcal.simulate import crds_cache, headers, references
from jwcal.simulate.detector import make_detector
from jwcal.simulate.exposures import simulate_exposure
from jwcal.simulate.instruments import Subarray, setup
from jwcal.tables import table

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
LIGHT = 20.0  # DN/s
# What image2 alone takes, and the simulator does not make for every EXP_TYPE.
WITHOUT = {kind: "N/A" for kind in references.IMAGING}

# Product -> stdatamodels' class, and the steps that no exposure goes without.
MODELS = {"rate": "ImageModel", "rateints": "CubeModel", "dark": "RampModel", "cal": "GuiderCalModel"}
NEAR_INFRARED = "dq_init saturation superbias refpix linearity"
MIRI = "dq_init saturation reset linearity rscd"


class Taken(NamedTuple):
    """An exposure, what was put into it, and what the table and the plan make of it."""

    made: object  # exposures.Simulated
    sensor: object  # detector.Detector
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
    sensor = sensors.setdefault(detector, make_detector(usual.instrument, detector, CORNER))
    columns, rows = PARTS.get(usual.subarray.name, (CORNER.xsize, CORNER.ysize))
    place = Subarray(usual.subarray.name, CORNER.xstart, CORNER.ystart, columns, rows, usual.subarray.noutputs)
    return simulate_exposure(
        folder / "data",
        exp_type=like,
        detector=detector,
        subarray=place,
        sensor=sensor.cut(place),
        tframe=None if usual.guider else TFRAME,
        nints=min(usual.readout.nints, 2),
        uniform=usual.uniform or LIGHT * usual.illuminated,
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
        table = hdus["RSCD_GROUP_SKIP"]
        rows = np.repeat(table.data[:1], len(subarrays))
        rows["subarray"] = subarrays
        table.data = rows


@pytest.fixture(scope="module")
def every(tmp_path_factory):
    """The plan of one run with an exposure of every EXP_TYPE."""
    folder = tmp_path_factory.mktemp("every")
    sensors = {}
    taken = {exp_type: take(folder, exp_type, number, sensors) for number, exp_type in enumerate(ROWS, start=1)}
    build_cache(folder, taken.values(), sensors)
    config = {"crds_path": str(folder / "crds"), "overrides": WITHOUT}
    made = plan.make({"data": str(folder / "data"), "results": str(folder / "results"), "references": config})
    first = {job.input: job for job in made.jobs if job.stage == "stage1"}
    return Run(
        made,
        {
            exp_type: Taken(one, sensors[one.setup.detector], select_for(fits.getheader(one.uncal)), first[str(one.uncal)])
            for exp_type, one in taken.items()
        },
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


def steps(pipeline, instrument):
    """The steps that are done whatever the exposure."""
    if pipeline == "guider":
        return "dq_init guider_cds flat_field".split()
    both = MIRI if instrument == "MIRI" else NEAR_INFRARED
    return f"{both} {'' if pipeline == 'dark' else 'dark_current jump ramp_fit'}".split()


def electrons(suffix, model, one):
    """The signal that a product tells [e-/s], dark current included, and what was put in, both (row, col)."""
    sensor, readout = one.made.detector, one.made.setup.readout
    if suffix == "dark":
        time = readout.group_times()
        ramp = model.data[0].astype(float)
        return (ramp[-1] - ramp[0]) / (time[-1] - time[0]) * sensor.gain
    image = model.data if model.data.ndim == 2 else model.data.mean(axis=0)
    return image * sensor.gain * sensor.flat if suffix == "cal" else image * sensor.gain + sensor.dark


def open_as_others_do(path):
    """The product in stdatamodels, which neither warns nor finds it invalid."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ResourceWarning)
        model = datamodels.open(str(path))
        model.validate()
    return model


@pytest.mark.parametrize("exp_type", ROWS)
def test_stage_1(every, own_logging, tmp_path, exp_type):
    one = every.exposures[exp_type]
    assert jobs.run(one.job.recipe, one.job.outputs, tmp_path / "log") == 0
    for suffix, path in one.job.outputs.items():
        header = fits.getheader(path)
        print(exp_type, suffix, {s: header.get(keywords.status(s)[0]) for s in steps(one.job.pipeline, one.made.setup.instrument)})
        with open_as_others_do(path) as model:
            got = electrons(suffix, model, one)
            t = one.made.ramp.rate
            good = (model.dq if suffix in ("rate", "cal") else model.dq[0] if suffix == "rateints" else model.pixeldq | np.bitwise_or.reduce(model.groupdq, axis=(0, 1))) == 0
            print(type(model).__name__, model.data.shape, good.mean(), np.isfinite(model.data).mean(), np.median(got[good]), np.median(t[good]), np.std((got-t)[good]), got[good&(t>.2*t.max())].sum()/t[good&(t>.2*t.max())].sum())
