"""From rates to raw exposures: what any instrument sees, as archive-format files with the references of the detectors and a CRDS cache.

    from jwcal.simulate.from_rates import Shot, expose

    trace = Shot("NRC_TSGRISM", rate, {"filter": "F322W2", "ngroups": 5}, truth={"SPECTRUM": table}, each=10)
    made = expose("folder", [trace], references=[specwcs, wavelengthrange, photom], noise=False)
    made.exposures[0].uncal, made.references, made.crds

A mode's own module paints the rates and writes the mode's own references; all that the detectors do is done here, and undone by the
references written here.
"""

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.io import fits

from ..vocabulary.errors import InputError
from . import crds_cache, instruments, ramps
from . import irs2 as irs2_readout
from .detector import make_detector
from .exposures import Simulated, segments, simulate_exposure
from .headers import Identity
from .references import IMAGING, MIRI, NEAR_INFRARED, scope, write_references

log = logging.getLogger(__name__)
FIRST = 9001  # number of the first detector's references


@dataclass(frozen=True)
class Shot:
    """An exposure of one detector, and the light on it.

    Attributes
    ----------
    exp_type : str
    rate : ndarray, (row, col) or (int, row, col)
        DN/s, as stage 1 and the flat field shall find it: without dark current. An image that is the same in all integrations, or one for
        each of them.
    options : dict
        What `exposures.simulate_exposure` and `instruments.setup` take: detector, filter, subarray, ngroups, dither, identity, header...
    truth : dict
        Further extensions of the file of truth: name -> array, (array, unit), Table or structured array.
    each : int, optional
        Integrations in a file: the exposure is cut into segments.
    """

    exp_type: str
    rate: np.ndarray
    options: dict = field(default_factory=dict)
    truth: dict = field(default_factory=dict)
    each: int | None = None

    def setup(self):
        """What the exposure is taken with, all integrations together."""
        known = {k: v for k, v in self.options.items() if k not in NOT_SETUP}
        if np.ndim(self.rate) == 3:
            known = {"nints": len(self.rate), **known}
        return instruments.setup(self.exp_type, **known)


# What simulate_exposure takes itself; the rest are options of the setup.
NOT_SETUP = ("target", "roll", "dither", "aim", "start", "identity", "cosmic_rays", "zeroframe", "noise", "seed", "header")
NOT_SETUP += ("pointing_error", "moving", "ruined", "truth")


class Exposed(NamedTuple):
    """What was written."""

    exposures: list[Simulated]  # one for each file
    references: list[Path]
    crds: Path

    @property
    def uncals(self):
        """Paths of the raw exposures."""
        return [one.uncal for one in self.exposures]


def expose(
    out,
    shots,
    references=(),
    *,
    sensors=None,
    flat=True,
    noise=True,
    cosmic_rays=ramps.COSMIC_RAYS,
    seed=1,
    pars=None,
    cache=True,
    irs2=None,
    **detector,
):
    """Expose detectors to rates: raw files in `<out>/data`, truth in `truth`, references in `references`, a CRDS cache in `crds`.

    Parameters
    ----------
    out : path
    shots : sequence of Shot
        A detector is read with one subarray in all of them: few references are chosen by the subarray.
    references : iterable of paths
        The mode's own: they go into the CRDS cache too, and say themselves what they are for. They come before those of the detector.
    sensors : dict, optional
        Name of a detector -> detector.Detector, in place of the usual one.
    flat : bool
        Whether the detectors' response differs from pixel to pixel, and references of type flat undo that. False where the mode's own
        references hold what the flat field does.
    noise, cosmic_rays : bool, float
        As `exposures.simulate_exposure` takes them.
    seed : int
        Of the first file; each further one has its own.
    pars : list of crds_cache.Parameters, optional
        By default those of `crds_cache.operations`.
    cache : bool
        False: no CRDS cache.
    irs2 : str, optional
        NRSIRS2RAPID or NRSIRS2: NIRSpec's full frames are read so, whatever READPATT a shot has.
    **detector
        Attributes of `detector.Detector` to set, for instance flicker=0.0.

    Returns
    -------
    Exposed

    Raises
    ------
    InputError
        An exposure that no instrument can take, rates of another shape than the subarray, or a detector with two subarrays or frame times.
    """
    out, setups = Path(out), [shot.setup() for shot in shots]
    sensors = _sensors(setups, sensors or {}, flat, detector)
    exposures = []
    for shot, setup in zip(shots, setups, strict=True):
        sensor = sensors[setup.detector]
        light = _light(shot, setup, sensor)
        for part, share in parts(shot.options.get("identity") or Identity(), setup.readout.nints, shot.each, light):
            known = {"seed": seed + 1000 * len(exposures), "noise": noise, "cosmic_rays": cosmic_rays, "truth": out / "truth"}
            given = {**known, **shot.options, **part}
            known = {"exp_type": shot.exp_type, "light": share, "sensor": sensor, "also": shot.truth}
            made = _by_irs2(out / "data", irs2, known | given) if irs2 else simulate_exposure(out / "data", **known, **given)
            log.info("%s", made.uncal.name)
            exposures.append(made)
    own = [Path(path) for path in references]
    files = own + _references(out / "references", setups, sensors, flat, crds_cache.general_kinds(own), irs2)
    if cache:
        crds_cache.build(out / "crds", files, pars=crds_cache.operations() if pars is None else pars, absent=(*IMAGING, "flat"))
    return Exposed(exposures, files, out / "crds")


def _sensors(setups, given, flat, changes):
    """Name of a detector -> detector.Detector."""
    sensors, places, frames = dict(given), {}, {}
    for setup in setups:
        place = places.setdefault(setup.detector, setup.subarray)
        if place != setup.subarray:
            raise InputError(
                f"{setup.detector} is read with subarray {setup.subarray.name} and with {place.name}",
                do="Make a program of each: few references are chosen by the subarray",
            )
        if frames.setdefault(setup.detector, setup.readout.tframe) != setup.readout.tframe:
            raise InputError(
                f"{setup.detector} is read every {frames[setup.detector]} s and every {setup.readout.tframe} s",
                do="Choose readout patterns of one frame time: the dark is a ramp of single frames",
            )
        if setup.detector not in sensors:
            sensor = make_detector(setup.instrument, setup.detector, setup.subarray, **changes)
            sensors[setup.detector] = sensor if flat else _even(sensor)
    return sensors


def _even(sensor):
    """The same detector with the same response in all pixels."""
    from ..vocabulary import dq

    return replace(sensor, flat=np.ones_like(sensor.flat), dq=sensor.dq & ~np.uint32(dq.LOW_QE))


def _light(shot, setup, sensor):
    """Electrons a second that fall on each pixel, so that the flat-fielded rate is the shot's [DN/s]."""
    rate = np.asarray(shot.rate, float)
    if rate.shape[-2:] != setup.subarray.shape or rate.ndim not in (2, 3):
        raise InputError(
            f"rates of shape {rate.shape} do not fit {setup.subarray.name} of {setup.detector}", do=f"Its shape is {setup.subarray.shape}"
        )
    if rate.ndim == 3 and len(rate) != setup.readout.nints:
        raise InputError(f"rates of {len(rate)} integrations for an exposure of {setup.readout.nints}", do="Give one for each")
    return np.maximum(rate, 0) * sensor.gain


def parts(identity, total, each, light):
    """Of each file of an exposure of `total` integrations, `each` in a file: its options, and its light."""
    if not each:
        return [({"identity": identity, "nints": total}, light)]
    found = []
    for one in segments(identity, total, each):
        _, _, first, last, _ = one.segment
        found.append(({"identity": one, "nints": last - first + 1}, light[first - 1 : last] if light.ndim == 3 else light))
    return found


def _by_irs2(out, readpatt, options):
    """An exposure of a full frame, in IRS2 readout: its READPATT and its times are that one's."""
    return irs2_readout.simulate_irs2(
        out, readpatt=readpatt, **{k: v for k, v in options.items() if k not in ("readpatt", "nframes", "tframe")}
    )


def _references(out, setups, sensors, flat, own, irs2=None):
    """Write what undoes the detectors; for images also what tells where they look. A dark is read as the exposures are, if they are all
    read alike."""
    files, there = [], set()
    for number, (name, sensor) in enumerate(sensors.items(), start=FIRST):
        same = [setup for setup in setups if setup.detector == name]
        patterns = {(setup.readout.nframes, setup.readout.groupgap) for setup in same}
        options = {"dark_pattern": patterns.pop()} if len(patterns) == 1 else {}
        images = [setup for setup in same if setup.exp_type.endswith("IMAGE") and setup.instrument != "NIRSPEC"]
        longest = max(same, key=lambda setup: setup.readout.frames)
        kinds = MIRI if longest.instrument == "MIRI" else NEAR_INFRARED
        for setup, types in [(longest, kinds)] + [(image, IMAGING) for image in images[:1]]:
            wanted = [kind for kind in types if (flat or kind != "flat") and kind not in own and scope(kind, setup) not in there]
            there.update(scope(kind, setup) for kind in wanted)
            made = write_references(out, sensor, setup=setup, types=wanted, number=number, setups=same, **options)
            if "photom" in made and len(images) < len(same):
                fits.setval(made["photom"], "EXP_TYPE", value=setup.exp_type)  # spectra have their own
            if irs2 and "mask" in made:
                made = irs2_readout.write_references(made, name)
            files += made.values()
    return files
