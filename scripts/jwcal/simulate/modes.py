"""Every mode of the mission as a small program: raw exposures with their partners, references, a CRDS cache and the truth.

    from jwcal.simulate.modes import MODES

    made = MODES["nis_soss_series"].make("folder", nints=8)
    made.data, made.crds, made.truth.spectrum, made.truth.depth
    made.config                        # for snakemake --configfile

`observation` and `start` put a mode among others of the same program. The table is `modes.yaml`. Settings are small: a mode goes from its
raw files to its last product in seconds, or some tens of them.
"""

import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import numpy as np
import yaml
from astropy.io import fits
from astropy.table import Table, vstack

from ..vocabulary import nearest
from ..vocabulary.errors import InputError
from . import crds_cache, exposures, grism, instruments, integral_field, nirspec, prism, references, soss
from .from_rates import Shot, expose
from .headers import Identity
from .nirspec import program as nirspec_program
from .program import make_program, write_config
from .spectrograph import Spectrum

log = logging.getLogger(__name__)
PROGRAM = {"program": 1234, "target": list(exposures.TARGET), "stage3": True}
DITHERS = [[0.0, 0.0], [0.6, 0.4], [-0.5, 0.3], [0.2, -0.6]]  # arcsec
EMPTY = {"stars": 0, "galaxies": 0}
CORNER = [1, 1, 64, 48]  # of a detector, with reference pixels: for what is the same everywhere
TFRAME = 2.0  # s, there
OF_PROGRAM = ("noise", "cosmic_rays", "seed", "roll", "pointing_error", "start")
COUNTS = ("ngroups", "nints", "each", "segments", "seed", "observation")


@dataclass(frozen=True)
class Truth:
    """What was put in, as far as a number or two tell it; what the mode does not have is None.

    Attributes
    ----------
    spectrum : callable, wavelength [micron] -> Jy of the target, DN/s of a lamp
    stars : Table of ra, dec [deg] and flux [Jy]
    depth : part of the target's light that is lost in the middle of the transit
    companion : (separation [arcsec], position angle [deg], flux over the star's)
    rate : DN/s that fill the detector, or come from the target
    files : paths of the files of truth, one for each raw exposure
    """

    spectrum: Callable | None = None
    stars: Table | None = None
    depth: float | None = None
    companion: tuple | None = None
    rate: float | None = None
    files: tuple = field(default=(), repr=False)


@dataclass(frozen=True)
class Made:
    """What was written: folders of raw exposures and of the CRDS cache, the truth, and parameters that a field so small needs."""

    data: Path
    crds: Path
    truth: Truth
    steps: dict
    config: Path

    @property
    def uncals(self):
        """Paths of the raw exposures."""
        return sorted(self.data.glob("*_uncal.fits"))


@dataclass(frozen=True)
class Mode:
    """A mode: a line of `modes.yaml`."""

    name: str
    what: str
    exp_type: str
    last: str
    by: str
    series: bool | None = None
    options: dict = field(default_factory=dict)
    fixed: tuple = ()
    choices: dict = field(default_factory=dict)
    steps: dict = field(default_factory=dict)
    keywords: dict = field(default_factory=dict)

    @property
    def instrument(self):
        return instruments.PREFIXES[self.exp_type[:3]]

    def make(self, folder, **options):
        """Simulate the mode: `data`, `truth`, `references`, `crds` and `config.yaml` in a folder.

        Parameters
        ----------
        folder : path
        **options
            What the mode is taken with, in place of what its line says: ngroups, nints, filter, readpatt... noise, cosmic_rays, seed;
            start (UTC), and observation, the number of its first one.

        Returns
        -------
        Made

        Raises
        ------
        InputError
            An option or a value that the mode can't have; the error names those that it can.
        """
        folder = Path(folder)
        self._check(options)
        truth = MAKERS[self.by](folder, self.exp_type, **(self.options | _identified(self.by, options)))
        truth = Truth(**truth, files=tuple(sorted((folder / "truth").glob("*_truth.fits"))))
        path = write_config(folder, steps=self.steps)
        return Made(folder / "data", folder / "crds", truth, self.steps, path)

    def _check(self, options):
        for name, value in options.items():
            if name in self.fixed:
                raise InputError(f"{self.name}: {name} can't be chosen", do="Its references are for one alone; leave it out")
            valid = self.choices.get(name)
            given = value if isinstance(value, (list, tuple)) else [value]
            if valid and not set(given) <= set(valid):
                raise InputError(f"{self.name}: {name} is {value}", do=f"Choose from {', '.join(map(str, valid))}")
            if name in COUNTS and value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise InputError(f"{self.name}: {name} is {value!r}", do="Give a number from 1")
        known = set(inspect.signature(MAKERS[self.by]).parameters) | set(self.options)
        known |= {name for name, p in inspect.signature(instruments.setup).parameters.items() if p.kind == p.POSITIONAL_OR_KEYWORD}
        known |= {*instruments.OPTIONS, *OF_PROGRAM, "observation", *ALSO.get(self.by, ())}
        for name in options:
            if name not in known and not name.isupper():
                raise InputError(
                    f"{self.name} has no option {name}", do=f"Its options are {', '.join(sorted(known - set(self.fixed) - HIDDEN))}"
                )


HIDDEN = {"folder", "exp_type", "options", "like"}
ALSO = {  # what the simulators of the modes take beside what an exposure is taken with
    "prism_nods": ("nods", "sky"),
    "prism_series": ("depth", "sky"),
    "mrs": ("background", "dedicated", "fringes", "leak"),
    "grism_field": ("dithers", "sky", "shape", "turned"),
    "grism_series": ("depth", "sky"),
    "soss": ("depth", "sky", "kernel", "orders", "offset"),
    **{f"nirspec_{name}": ("grating", "sky", "irs2") for name in ("slits", "series", "slitlets", "slicer", "lamp", "image")},
}


def for_row(exp_type, series=None):
    """The mode that is the example of a row of the mission's table.

    Parameters
    ----------
    exp_type : str
    series : bool, optional
        For a type that has a row of time series and one of others.

    Raises
    ------
    InputError
        There is none.
    """
    found = [mode for mode in MODES.values() if mode.exp_type == exp_type and (series is None or bool(mode.series) == series)]
    if not found:
        raise InputError(f"no mode of EXP_TYPE {exp_type} is simulated", do=suggestion(exp_type))
    return found[0]


def find(name):
    """A mode by its name or EXP_TYPE, in capitals or not; raises InputError where there is none."""
    mode = MODES.get(name.lower()) or next((m for m in MODES.values() if m.exp_type == name.upper()), None)
    if mode is None:
        raise InputError(f"no mode {name} is simulated", do=suggestion(name))
    return mode


def suggestion(name):
    """The mode that was probably meant, as a sentence; there are too many to name all."""
    near = nearest.nearest(name.lower(), MODES)
    return f"The nearest is {near}; `jwcal simulate --list` names all" if near else "`jwcal simulate --list` names all"


# --- those who make them: each returns the truth ---------------------------------------------------------------------------------


def image(folder, exp_type, *, field=None, dithers=1, star=None, transit=None, like=None, **options):
    """A field of stars, or one star, perhaps with a transit, dithered."""
    own, options = _apart(options)
    shot = {"exp_type": like or exp_type, **options}
    shot |= {"star": star} if star else {}
    shot |= {"series": {"transit": {"depth": transit}}} if transit else {}
    shot |= {"EXP_TYPE": exp_type} if like else {}
    positions = _dithers(dithers)
    sky = {"galaxies": 0, "faintest": 3e-6, "brightest": 5e-5, "separation": 0.3, **field} if field else EMPTY
    return _program(folder, {"sky": sky, "dithers": positions, "exposures": [shot], **own}) | {"depth": transit}


def coronagraph(folder, exp_type, *, separation=1.3, contrast=1e-3, star=1.0, rolls=(0.0, 15.0), observation=1, **options):
    """A star with a planet in some rolls, and two reference stars."""
    own, options = _apart(options)
    shot, planet = {"exp_type": exp_type, **options}, [separation, 60.0, contrast]
    shots = [
        {**shot, "observation": observation + n, "roll": 30.0 + roll, "coronagraph": {"star": star, "planets": [planet]}}
        for n, roll in enumerate(rolls)
    ]
    shots += [
        {
            **shot,
            "observation": observation + len(rolls) + n,
            "IS_PSF": True,
            "TARGPROP": "CALIBRATOR",
            "coronagraph": {"star": 2 * star, "offset": at},
        }
        for n, at in enumerate(([0.01, 0.0], [0.0, 0.01]))
    ]
    return _program(folder, {"sky": EMPTY, "exposures": shots, **own}) | {"companion": tuple(planet)}


def interferogram(folder, exp_type, *, star=0.02, separation=0.15, contrast=0.02, observation=1, **options):
    """A star with a companion, and a star alone for comparison."""
    own, options = _apart(options)
    shot, companion = {"exp_type": exp_type, **options}, [separation, 60.0, contrast]
    shots = [
        {**shot, "observation": observation, "interferogram": {"star": star, "companion": companion}},
        {**shot, "observation": observation + 1, "IS_PSF": True, "TARGPROP": "CALIBRATOR", "interferogram": {"star": star}},
    ]
    return _program(folder, {"sky": EMPTY, "exposures": shots, **own}) | {"companion": tuple(companion)}


def even(folder, exp_type, *, rate=100.0, like=None, place=None, tframe=TFRAME, **options):
    """Even light, or none, on a corner of the detector."""
    usual = instruments.setup(like or exp_type).subarray
    place = instruments.Subarray(usual.name, *(place or CORNER), usual.noutputs)
    options = {"subarray": place, "tframe": tframe, "header": {"EXP_TYPE": exp_type}} | options
    kept = {key: options.pop(key) for key in ("noise", "cosmic_rays", "seed") if key in options}
    light = np.full(place.shape, float(rate))
    expose(folder, [Shot(like or exp_type, light, options)], flicker=0.0, offsets=0.0, **kept)  # which few reference pixels can't tell
    return {"rate": float(rate)}


def guide_star(folder, exp_type, *, place=None, **options):
    """A guide star, as the guiders see it."""
    usual = instruments.setup(exp_type)
    if place:
        options["subarray"] = instruments.Subarray(usual.subarray.name, *place, usual.subarray.noutputs)
    made = exposures.simulate_exposure(folder / "data", exp_type=exp_type, **options)
    files = references.write_references(folder / "references", made.detector, setup=made.setup, types=references.types_for(made.setup))
    crds_cache.build(folder / "crds", files.values(), pars=crds_cache.operations(["FGS"]))
    return {"rate": exposures.GUIDE_STAR / float(made.detector.gain.mean())}


def prism_nods(folder, exp_type, **options):
    """MIRI's prism behind its slit."""
    return {"spectrum": prism.expose_nods(folder, **options).spectrum}


def prism_series(folder, exp_type, *, nints=8, depth=0.01, **options):
    """MIRI's prism without a slit."""
    made = prism.expose_series(folder, nints=nints, depth=depth, **_transit(nints), **options)
    return {"spectrum": made.spectrum, "depth": depth if nints > 1 else None}


def mrs(folder, exp_type, *, background=20.0, **options):
    """MIRI's spectrometer, with the sky beside the target."""
    made = integral_field.expose(folder, background=nirspec_program.Even(background), **options)
    return {"spectrum": made.sources[0].spectrum}


FIELDS = {  # small ones: two stars, in a corner of the detector
    "NIRISS": ((320, 320), ((270, 240, 1e-4, 1.5), (290, 285, 1.5e-4, 1.5))),
    "NIRCAM": ((320, 320), ((80, 90, 2e-4, 4.0), (160, 170, 3e-4, 4.0))),
    "MIRI": ((300, 500), ((60, 250, 2.4e-4, 8.0), (200, 260, 4e-4, 8.0))),
}
GRISMS = {"NIRISS": grism.NIRISS, "NIRCAM": grism.NIRCAM, "MIRI": grism.MIRI}


def grism_field(folder, exp_type, *, instrument, grisms=None, shape=None, **options):
    """A wide field behind grisms, with its direct images."""
    usual, stars = FIELDS[instrument]
    wanted = [grisms] if isinstance(grisms, str) else grisms
    behind = [one for one in GRISMS[instrument] if wanted is None or {one.filter, one.pupil} & set(wanted)]
    stars = [grism.Target(x, y, Spectrum(flux=flux, at=at, slope=-1.0)) for x, y, flux, at in stars]
    made = grism.expose_field(folder, behind, sources=stars, shape=shape or usual, **options)
    table = made.scene.sources["ra", "dec", "flux"]
    table["spectrum"] = [star.spectrum for star in stars]
    return {"spectrum": max(stars, key=lambda one: one.spectrum.flux).spectrum, "stars": table}


def grism_series(folder, exp_type, *, nints=8, depth=0.01, **options):
    """NIRCam's time series behind a grism."""
    made = grism.expose_series(folder, nints=nints, depth=depth, **options)
    return {"spectrum": made.spectrum, "depth": depth}


def single_object(folder, exp_type, *, nints=6, depth=0.01, **options):
    """NIRISS's slitless spectra of one object."""
    made = soss.expose_series(folder, nints=nints, depth=depth, **_transit(nints), **options)
    return {"spectrum": made.spectrum, "depth": depth if nints > 1 else None}


def nirspec_slits(folder, exp_type, **options):
    """NIRSpec's fixed slits."""
    nirspec.expose_slits(folder, **_graded(options))
    return {"spectrum": nirspec_program.STAR.spectrum}


def nirspec_series(folder, exp_type, *, depth=0.01, **options):
    """NIRSpec's wide slit, a time series."""
    nirspec.expose_series(folder, depth=depth, **_graded(options))
    return {"spectrum": nirspec_program.STAR.spectrum, "depth": depth}


def nirspec_slitlets(folder, exp_type, **options):
    """NIRSpec's micro-shutters."""
    nirspec.expose_slitlets(folder, **_graded(options))
    return {"spectrum": nirspec_program.STAR.spectrum}


def nirspec_slicer(folder, exp_type, **options):
    """NIRSpec's image slicer."""
    nirspec.expose_slicer(folder, **_graded(options))
    return {"spectrum": nirspec_program.STAR.spectrum}


def nirspec_lamp(folder, exp_type, **options):
    """NIRSpec's lamps."""
    nirspec.expose_lamp(folder, exp_type=exp_type, **options)
    return {"spectrum": nirspec.lines()}


def nirspec_image(folder, exp_type, *, like=None, **options):
    """NIRSpec with its mirror; types that the simulator does not know are taken as another one is."""
    made = nirspec.expose_image(folder, exp_type=like or exp_type, **options)
    for path in made.exposures.uncals if like else ():
        fits.setval(path, "EXP_TYPE", value=exp_type)
    return {"rate": nirspec_program.STARS[0].rate}


MAKERS = {
    one.__name__: one
    for one in (
        *(image, coronagraph, interferogram, even, guide_star, prism_nods, prism_series, mrs, grism_field, grism_series),
        *(nirspec_slits, nirspec_series, nirspec_slitlets, nirspec_slicer, nirspec_lamp, nirspec_image),
    )
} | {"soss": single_object}


OF_OBSERVATIONS = ("image", "coronagraph", "interferogram")  # whose exposures are numbered by their program


def _identified(by, options):
    """Options with the number of the first observation as those who make the mode take it."""
    if "observation" not in options or by in OF_OBSERVATIONS:
        return options
    others = {key: value for key, value in options.items() if key != "observation"}
    return others | {"identity": Identity(program=PROGRAM["program"], observation=options["observation"])}


def _apart(options):
    """What is said of a whole program, and what of an exposure."""
    return {k: v for k, v in options.items() if k in OF_PROGRAM}, {k: v for k, v in options.items() if k not in OF_PROGRAM}


def _dithers(given):
    """Offsets [arcsec]: the first ones of four, or those that are given."""
    if not isinstance(given, int):
        return given
    if not 1 <= given <= len(DITHERS):
        raise InputError(f"{given} dithers", do=f"Give 1 to {len(DITHERS)}, or a list of [x, y] in arcsec")
    return DITHERS[:given]


def _program(folder, description):
    """Simulate a program of images; the stars that are in it."""
    make_program(folder, PROGRAM | description)
    tables = []
    for path in sorted((folder / "truth").glob("*_truth.fits")):
        with fits.open(path) as hdus:
            if "CATALOG" in hdus:
                tables.append(Table(hdus["CATALOG"].data)["id", "ra", "dec", "flux"])
    stars = vstack(tables, metadata_conflicts="silent") if tables else None
    return {"stars": stars[np.unique(stars["id"], return_index=True)[1]] if stars else None}


def _transit(nints):
    return {} if nints > 1 else {"transit": None}


def _graded(options):
    """Check that a grating and a filter go together."""
    from .nirspec import elements
    from .nirspec.references import FILTERS

    grating = options.get("grating", "PRISM")
    names = [key for key in elements.RANGES if key.endswith(f"_{grating}") and key.split("_")[0] in (*FILTERS.values(), "F070LP")]
    if not names or grating == "MIRROR":
        raise InputError(f"grating is {grating}", do=f"Choose from {', '.join(FILTERS)}")
    valid = [key.split("_")[0] for key in names]
    if options.get("filter") not in (None, *valid):
        raise InputError(f"filter is {options['filter']} with {grating}", do=f"Choose from {', '.join(valid)}")
    return options


def _read():
    rows = yaml.safe_load(resources.files(__package__).joinpath("modes.yaml").read_text())
    return {name: Mode(name, **row) for name, row in rows.items()}


MODES = _read()
