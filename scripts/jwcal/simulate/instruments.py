"""What an exposure is taken with: the instrument's table, the subarray, the readout and its times."""

from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources

import numpy as np
import yaml

from ..vocabulary.errors import InputError

PREFIXES = {"NRC": "NIRCAM", "NIS": "NIRISS", "NRS": "NIRSPEC", "MIR": "MIRI", "FGS": "FGS"}
CLOCK = 1e-5  # s a pixel
NUMBERS = ("ngroups", "nints", "nframes", "nresets")  # from 1
# What `setup` takes by name, beside keywords in capitals.
OPTIONS = ("detector", "filter", "pupil", "aperture", "readpatt", "subarray", "place", *NUMBERS, "groupgap", "frmdivsr", "drpfrms1")
OPTIONS += ("drpfrms3", "tframe", "uniform")


@cache
def table():
    """The instruments' table, `instruments.yaml`."""
    return yaml.safe_load(resources.files(__package__).joinpath("instruments.yaml").read_text())


def exp_types():
    """Every EXP_TYPE that can be simulated, with its instrument."""
    return {exp_type: name for name, instrument in table().items() for exp_type in instrument["exp_types"]}


@dataclass(frozen=True)
class Subarray:
    """A rectangle of the detector in the archive's orientation; `xstart` and `ystart` count from 1."""

    name: str
    xstart: int
    ystart: int
    xsize: int
    ysize: int
    noutputs: int = 1

    @property
    def shape(self):
        return self.ysize, self.xsize

    def window(self):
        """Slices (rows, columns) of the full frame."""
        return slice(self.ystart - 1, self.ystart - 1 + self.ysize), slice(self.xstart - 1, self.xstart - 1 + self.xsize)


@dataclass(frozen=True)
class Readout:
    """How the detector is read, and what follows from it.

    A group is the average of `nframes` frames; `groupgap` frames between groups are not kept, nor are
    `drpfrms1` ones at the start of an integration and `drpfrms3` ones at its end.
    """

    readpatt: str
    nints: int
    ngroups: int
    nframes: int
    groupgap: int
    tframe: float  # s
    drpfrms1: int = 0
    drpfrms3: int = 0
    nresets: int = 1
    nsamples: int = 1
    frmdivsr: int | None = None

    @property
    def tgroup(self):
        return self.tframe * (self.nframes + self.groupgap)

    @property
    def frames(self):
        """Frames of an integration up to the last one that is kept."""
        return self.drpfrms1 + self.ngroups * self.nframes + (self.ngroups - 1) * self.groupgap

    @property
    def divisor(self):
        """What the sum of a group's frames is divided by on board."""
        return self.frmdivsr or self.nframes

    @property
    def effinttm(self):
        return self.tframe * self.frames

    @property
    def effexptm(self):
        return self.effinttm * self.nints

    @property
    def period(self):
        """Time from the start of an integration to that of the next [s]."""
        return self.tframe * (self.frames + self.drpfrms3 + self.nresets)

    @property
    def duration(self):
        return self.period * (self.nints - 1) + self.effinttm

    def group_times(self):
        """Mean time of each group's frames since the integration began [s], (ngroups,)."""
        first = self.drpfrms1 + np.arange(self.ngroups) * (self.nframes + self.groupgap) + 1
        return self.tframe * (first + (self.nframes - 1) / 2)


@dataclass(frozen=True)
class Setup:
    """Everything that is chosen before an exposure starts; `keywords` are what the mode adds to the header."""

    exp_type: str
    instrument: str
    detector: str
    filter: str | None
    pupil: str | None
    subarray: Subarray
    aperture: str
    readout: Readout
    guider: bool = False
    illuminated: bool = True
    uniform: float = 0.0  # DN/s, light of a lamp or of a spectrograph without optics
    product: str = ""
    keywords: dict = field(default_factory=dict)

    @property
    def instrument_table(self):
        return table()[self.instrument]

    @property
    def detector_table(self):
        return self.instrument_table["detectors"][self.detector]

    @property
    def axes(self):
        return tuple(self.detector_table["axes"])

    @property
    def imaging(self):
        """Whether the SIAF tells where each pixel looks."""
        return self.detector_table.get("imaging", self.instrument_table.get("imaging", True))

    @property
    def geometry(self):
        """The full-frame aperture of the SIAF that tells where each pixel looks.

        The exposure's own one if it is of the full frame (a coronagraph's wedge shifts the sky by half an arcminute), else the detector's.
        """
        apertures = siaf(self.instrument)
        own = apertures[self.aperture]
        return own if own.AperType == "FULLSCA" else apertures[self.detector_table["aperture"]]

    @property
    def optics(self):
        """photmjsr [(MJy/sr)/(DN/s)] and FWHM [pixels] of the filter in the beam; a middling one where it is not in the table."""
        filters = self.instrument_table["filters"]
        for name in (self.filter, self.pupil, "NA"):
            if name in filters:
                return tuple(filters[name])
        return tuple(list(filters.values())[len(filters) // 2])


def siaf(instrument):
    """The instrument's apertures.

    On import pysiaf asks a server whether a newer edition exists, without a time limit; a simulation must neither wait for it
    nor depend on it.
    """
    return _siaf(table()[instrument]["siaf"])


@cache
def _siaf(name):
    import logging
    from unittest.mock import patch

    logging.getLogger("pysiaf").setLevel(logging.ERROR)
    with patch("requests.get", side_effect=ConnectionError):
        import pysiaf
    return pysiaf.Siaf(name)


@cache
def subarray(instrument, detector, name):
    """Where a subarray lies, from the instruments' table or else the SIAF.

    Raises
    ------
    InputError
        Neither knows it.
    """
    t = table()[instrument]
    if name == "FULL":
        place = (1, 1, *reversed(t["shape"]))
    elif name in t.get("subarrays", {}):
        place = t["subarrays"][name]
    else:
        place = _siaf_place(instrument, detector, name)
    outputs = next((n for n, names in t["full_outputs"].items() if name in names), min(t["full_outputs"]))
    return Subarray(name, *place, outputs)


def _siaf_place(instrument, detector, name):
    apertures = siaf(instrument)
    full = apertures[table()[instrument]["detectors"][detector]["aperture"]]
    stem = full.AperName.rsplit("_", 1)[0]
    if f"{stem}_{name}" not in apertures.apernames:
        raise InputError(
            f"{detector} has no subarray {name}", do="Choose one of the SIAF's, or give a Subarray(name, xstart, ystart, xsize, ysize)"
        )
    part = apertures[f"{stem}_{name}"]
    x, y = full.det_to_sci(*part.sci_to_det(np.array([1.0, part.XSciSize]), np.array([1.0, part.YSciSize])))
    return int(round(min(x))), int(round(min(y))), int(part.XSciSize), int(part.YSciSize)


def frame_time(instrument, axes, sub):
    """Time to read the subarray once [s].

    Near-infrared detectors are read at 10 us a pixel, all outputs at the same time, with a few columns and rows of overhead
    (JWST User Documentation, "Detector Readout"); MIRI's times are a table.
    """
    rule = table()[instrument]["frame_time"]
    if "columns" not in rule:
        return rule.get(sub.name, rule["FULL"] * sub.xsize * sub.ysize / np.prod(table()[instrument]["shape"]))
    fast, slow = (sub.xsize, sub.ysize) if abs(axes[0]) == 1 else (sub.ysize, sub.xsize)
    pixels = (fast // sub.noutputs + rule["columns"]) * (slow + rule["rows"][sub.noutputs])
    return round(CLOCK * (pixels + (1 if sub.noutputs > 1 else 0)), 8)


def setup(exp_type, **chosen):
    """Choose what an exposure is taken with; what is not said is the mode's usual.

    Parameters
    ----------
    exp_type : str
    detector, filter, pupil, aperture, readpatt : str, optional
    subarray : str or Subarray, optional
    ngroups, nints : int, optional
    nframes, groupgap, frmdivsr, drpfrms1, drpfrms3, tframe, nresets : optional
        Instead of what READPATT and subarray imply.
    uniform : float, optional
        Even illumination [DN/s].
    **chosen
        Keywords of the header, in capitals.

    Raises
    ------
    InputError
        An EXP_TYPE, detector, READPATT or subarray that is not in the tables, or an option that nothing here understands.
    """
    instrument = PREFIXES.get(exp_type[:3], "")
    if exp_type not in table().get(instrument, {}).get("exp_types", {}):
        raise InputError(f"the simulator has no EXP_TYPE {exp_type}", do=f"Choose one of {', '.join(exp_types())}")
    t = table()[instrument]
    mode = t["defaults"] | t["exp_types"][exp_type] | {k: v for k, v in chosen.items() if v is not None}
    if mode["detector"] not in t["detectors"]:
        raise InputError(f"{instrument} has no detector {mode['detector']}", do=f"Choose one of {', '.join(t['detectors'])}")
    _check(instrument, chosen)
    sub = _place(mode, instrument)
    bare = Setup(
        exp_type=exp_type,
        instrument=instrument,
        detector=mode.pop("detector"),
        filter=mode.pop("filter", None),
        pupil=mode.pop("pupil", None),
        subarray=sub,
        aperture=mode.pop("aperture", None) or "",
        readout=None,
        guider=mode.pop("guider", False),
        illuminated=mode.pop("illuminated", True),
        uniform=mode.pop("uniform", 0.0),
        product=mode.pop("product", ""),
    )
    readout = _readout(mode, bare)
    unknown = [k for k in mode if not k.isupper()]
    if unknown:
        raise InputError(f"no option {', '.join(unknown)} of an exposure", do="See jwcal.simulate.instruments.setup")
    keywords = t["detectors"][bare.detector].get("keywords", {}) | mode
    aperture = bare.aperture or _aperture_name(instrument, bare.detector, sub)
    return replace(bare, readout=readout, keywords=keywords, aperture=aperture)


def _check(instrument, chosen):
    """Refuse wheel positions that there are not, and numbers that can't be."""
    for wheel, there in table()[instrument].get("wheels", {}).items():
        name = chosen.get(wheel)
        if name is not None and name not in there:
            other = next((w for w, names in table()[instrument]["wheels"].items() if name in names), None)
            also = f"; {name} is in the wheel of the {other}" if other else ""
            raise InputError(f"{instrument} has no {wheel} {name}", do=f"Choose one of {', '.join(there)}{also}")
    for name in NUMBERS:
        given = chosen.get(name)
        if given is not None and (isinstance(given, bool) or int(given) != given or given < 1):
            raise InputError(f"{name} is {given!r}", do="Give a whole number from 1")


def _place(mode, instrument):
    wanted, place = mode.pop("subarray"), mode.pop("place", None)
    if isinstance(wanted, Subarray):
        return wanted
    sub = subarray(instrument, mode["detector"], wanted)
    return Subarray(sub.name, *place, sub.noutputs) if place else sub


def _readout(mode, bare):
    t = bare.instrument_table
    readpatt = mode.pop("readpatt")
    frames = mode.pop("frames", None)
    if frames is None and readpatt not in t["readpatts"]:
        raise InputError(f"{bare.instrument} has no READPATT {readpatt}", do=f"Choose one of {', '.join(t['readpatts'])}")
    nframes, groupgap, drop1, drop3 = frames or (*t["readpatts"][readpatt], 0, 0)
    nsamples = t.get("nsamples", {}).get(readpatt, 1)
    tframe = mode.pop("tframe", None) or frame_time(bare.instrument, bare.axes, bare.subarray) * nsamples
    return Readout(
        readpatt,
        mode.pop("nints"),
        mode.pop("ngroups"),
        mode.pop("nframes", nframes),
        mode.pop("groupgap", groupgap),
        tframe,
        drpfrms1=mode.pop("drpfrms1", drop1),
        drpfrms3=mode.pop("drpfrms3", drop3),
        nresets=mode.pop("nresets", 1),
        nsamples=nsamples,
        frmdivsr=mode.pop("frmdivsr", 1 if frames else None),
    )


def _aperture_name(instrument, detector, sub):
    full = table()[instrument]["detectors"][detector]["aperture"]
    named = f"{full.rsplit('_', 1)[0]}_{sub.name}"
    return named if named in siaf(instrument).apernames else full
