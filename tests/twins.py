"""The same exposures through ours and through the peer: simulate, run both, compare what they wrote."""

import textwrap
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy.io import fits
from scipy import ndimage

import jwcal
from jwcal.simulate import crds_cache
from jwcal.simulate.detector import make_detector
from jwcal.simulate.exposures import simulate_exposure
from jwcal.simulate.headers import Identity
from jwcal.simulate.instruments import Subarray, setup
from jwcal.simulate.references import types_for, write_references
from jwcal.vocabulary.dq import DO_NOT_USE, REFERENCE_PIXEL
from peer import PIPELINE, PIPELINES, peer_python

CORNER = Subarray("GENERIC", 1, 1, 64, 64)  # of each detector, with reference pixels at the left and below
LATER = ("photom", "area", "distortion", "filteroffset")  # references of stage 2


@dataclass
class Case:
    """One exposure, as the simulator makes it, and the runs of a pipeline on it: name -> {step: {parameter: value}}."""

    options: dict
    runs: dict
    pipeline: str = "detector1"
    brightness: tuple = (-1.0, 4.5)  # dex of e- a frame: from no light to beyond saturation
    references: dict = field(default_factory=dict)  # what write_references takes
    change: object = None  # function(raw samples, setup) -> samples
    rewrite: object = None  # function(path) that changes the raw file


def simulate(folder, case, number=1, subarray=CORNER):
    """Raw exposure of a case, and its setup."""
    options = {"subarray": subarray, **case.options}
    options = {name: value for name, value in options.items() if value is not None}
    segment = options.pop("segment", None)
    chosen = setup(**{k: v for k, v in options.items() if k not in ("zeroframe", "header")})
    sensor = make_detector(chosen.instrument, chosen.detector, chosen.subarray)
    rng = np.random.default_rng(number)
    readout = chosen.readout
    light = 10 ** rng.uniform(*case.brightness, chosen.subarray.shape) / readout.tframe
    # not beside reference pixels: a saturated pixel spoils its neighbours' zero frames, for the peer in another way (docs/differences.md)
    light = light * chosen.illuminated * ~ndimage.binary_dilation(sensor.reference_pixels, iterations=2)
    made = simulate_exposure(
        folder / "data",
        sensor=sensor,
        light=light,
        cosmic_rays=0.03 / readout.effinttm,
        identity=Identity(exposure=number, segment=segment),
        seed=number,
        **options,
    )
    if case.change:
        with fits.open(made.uncal, mode="update") as hdus:
            hdus["SCI"].data = np.clip(np.rint(case.change(hdus["SCI"].data.astype(float), chosen)), 0, 65535).astype(np.uint16)
    if case.rewrite:
        case.rewrite(made.uncal)
    return made, chosen


def run_both(folder, cases, subarray=CORNER):
    """Simulate the cases with one CRDS cache of the references of their detectors, and run all of it, the peer in one process.

    Returns
    -------
    dict
        (case, run) -> (our folder, the peer's), where the products are.
    """
    files, runs, done = {}, [], {}
    for number, (name, case) in enumerate(cases.items(), start=1):
        made, chosen = simulate(folder, case, number, subarray)
        if chosen.detector not in files:
            types = [kind for kind in types_for(chosen) if kind not in LATER]
            given = dict(setup=chosen, types=types, number=number, dark_groups=30) | case.references
            files[chosen.detector] = write_references(folder / "references", made.detector, **given)
        runs += [(name, run, case.pipeline, made.uncal, steps) for run, steps in case.runs.items()]
    crds_cache.build(folder / "crds", [path for one in files.values() for path in one.values()])
    for name, run, pipeline, uncal, steps in runs:
        ours, theirs = (folder / side / name / run for side in ("ours", "peer"))
        theirs.mkdir(parents=True)
        save = ["ramp"] if pipeline in ("detector1", "tso1") else []
        jwcal.run_pipeline(pipeline, uncal, steps=steps, save=save, out=ours, crds_path=str(folder / "crds"))
        done[name, run] = (ours, theirs)
    peer_pipelines(folder / "crds", [(pipeline, uncal, done[name, run][1], steps) for name, run, pipeline, uncal, steps in runs])
    return done


def peer_pipelines(cache, runs):
    """The peer's pipelines one after the other in one process, calibrated ramps saved: (pipeline, uncal, folder, steps).

    Where one fails, its folder holds the message.
    """
    code = [f"cache = {str(cache)!r}", "from pathlib import Path", "import traceback"]
    for pipeline, uncal, folder, steps in runs:
        settings = [f"{step}|{name}|{value!r}" for step, values in steps.items() for name, value in values.items()]
        pipeline = "detector1" if pipeline == "tso1" else pipeline
        code += [f"pipeline, source, folder = {PIPELINES[pipeline]!r}, {str(uncal)!r}, {str(folder)!r}"]
        code += [f"settings, ramp, before = {settings!r}, {pipeline == 'detector1'}, ''", "try:", textwrap.indent(PIPELINE, "    ")]
        code += ["except Exception:", '    Path(folder, "failed.txt").write_text(traceback.format_exc())']
    peer_python("\n".join(code))


RATE = ("SCI", "ERR", "DQ", "VAR_POISSON", "VAR_RNOISE")
RAMP = ("GROUPDQ", "PIXELDQ", "SCI")
SAMPLE = 500.0  # DN: what float32 leaves of the samples that a ramp is the difference of, as if it were of this value


def assert_same_products(ours, theirs, suffix, planes=RATE, likely=None, floor=None, most=1e-5):
    """One product of ours and of the peer, in two folders: flags equal, values to 1e-5 (median 1e-7), NaN in the same places.

    `likely` is where the likelihood fit may differ, see `few_differences`; `floor` is the scale of what is smaller, if not `scale`'s;
    `most` is what values may differ.
    """
    assert not Path(theirs, "failed.txt").exists(), Path(theirs, "failed.txt").read_text()
    (mine,), (peers,) = (list(Path(folder).glob(f"*_{suffix}.fits")) for folder in (ours, theirs))
    with fits.open(mine) as a, fits.open(peers) as b:
        x, y = ({hdu.name: hdu.data for hdu in hdus} for hdus in (a, b))
        forgive(x, y, likely)
        for name in planes:
            assert_same_plane(name, x[name], y[name], scale(name, y) if floor is None else floor, most)


def assert_same_plane(name, x, y, floor=0.0, most=1e-5):
    """One plane of them; `floor` is the scale of what is smaller."""
    assert x.shape == y.shape, f"{name}: {x.shape}, {y.shape}"
    if x.dtype.kind in "ui":
        assert np.array_equal(x, y), f"{name} differs in {np.sum(x != y)} of {x.size}: {first_difference(x, y)}"
        return
    assert np.array_equal(np.isnan(x), np.isnan(y)), f"{name} has NaN elsewhere: {first_difference(np.isnan(x), np.isnan(y))}"
    good = np.isfinite(y)
    off, size = np.abs(x.astype(float) - y)[good], np.maximum(np.abs(y), floor)[good]
    off = np.divide(off, size, out=np.where(off > 0, np.inf, 0.0), where=size > 0)
    assert off.max(initial=0) <= most and np.median(off) <= 1e-7, f"{name}: {off.max():.1e}, median {np.median(off):.1e}"


def scale(name, planes):
    """What a difference is compared with where the value is smaller: its noise, for what is near zero is the rounding of larger samples."""
    if "GROUPDQ" in planes or name in ("PEDESTAL", "CRMAG"):
        return SAMPLE if name in ("SCI", "PEDESTAL", "CRMAG") else 0.0
    if name.startswith("VAR"):
        return planes["VAR_POISSON"] + planes["VAR_RNOISE"]
    return planes.get({"SCI": "ERR", "SLOPE": "SIGSLOPE", "YINT": "SIGYINT"}.get(name), 0.0)


def forgive(ours, theirs, likely=None):
    """Take out what differs on purpose, as docs/differences.md says.

    An integration of jumps and unusable groups alone is NaN and DO_NOT_USE for us, 0 or NaN without a flag for the peer.
    """
    for planes in (ours, theirs):
        for name, array in planes.items():
            if likely is not None and name in (*RATE, "SCI"):
                array[likely if array.ndim == 3 else likely.any(axis=0)] = 0
            if likely is not None and name.startswith(("SCI", "ERR", "VAR")) and "DQ" in planes and array.shape == planes["DQ"].shape:
                array[(planes["DQ"] & REFERENCE_PIXEL) != 0] = 0  # no light falls there: the fit's rate is zero but for rounding
    if not {"ERR", "VAR_RNOISE"} <= set(theirs):
        return
    nothing = (theirs["SCI"] == 0) & (theirs["ERR"] == 0) | np.isnan(theirs["SCI"])
    lost = nothing & np.isnan(ours["SCI"]) & ((ours["DQ"] & DO_NOT_USE) != 0)
    assert (lost & ((theirs["DQ"] & DO_NOT_USE) == 0)).mean() < 0.01
    theirs["SCI"][lost] = np.nan
    theirs["DQ"][lost] |= DO_NOT_USE


def few_differences(folder):
    """Ramps with fewer than three usable differences, (int, row, col): of two, the peer's likelihood fit calls one a jump by chance."""
    (path,) = Path(folder).glob("*_ramp.fits")
    good = fits.getdata(path, "GROUPDQ") == 0
    return (good[:, 1:] & good[:, :-1]).sum(axis=1) < 3


def first_difference(x, y):
    place = tuple(int(k) for k in np.argwhere(x != y)[0])
    return f"{x[place]} and {y[place]} at {place}"
