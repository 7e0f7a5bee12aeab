"""A tour: many modes as observations of one program, in one folder of data, with one CRDS cache that serves them all.

Each mode has a day of its own. Its references are in use from that day on, as references of detectors change with time: so a detector may
be read with several subarrays, and modes have references of the same kind that say something else.
"""

import hashlib
import logging
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import yaml
from astropy.io import fits
from astropy.time import Time, TimeDelta

from ..files.home import home
from ..vocabulary.errors import ConfigError, InputError
from . import crds_cache, integral_field, modes, references
from .program import write_config
from .references import USEAFTER

log = logging.getLogger(__name__)
TOUR = home() / "config/tour_program.yaml"
OBSERVATIONS = 5  # numbers that a mode has to itself
MAY_LACK = (*references.IMAGING, "flat")  # reference types that an instrument may do without
HOUR = 4 / 24  # days, of its first exposure


class Tour(NamedTuple):
    """What was written: folders of the raw exposures and of the CRDS cache, a configuration for snakemake, and the modes."""

    data: Path
    crds: Path
    config: Path
    modes: dict  # name -> modes.Made, as it was simulated by itself; its truth is None where it was there already


def make_tour(out, description=TOUR, *, only=(), processes=None):
    """Simulate the modes of a tour: raw exposures in `<out>/data`, truth in `truth`, references in `references`, a CRDS cache in `crds`.

    What is there already, made from the same description, is left alone.

    Parameters
    ----------
    out : path
    description : path or dict
        `start`: the first day; `modes`: name -> options of `modes.Mode.make`. See config/tour_program.yaml.
    only : sequence of str
        Names of modes: the others are left out. Each keeps the day and the numbers that it has among all.
    processes : int, optional
        Modes that are simulated at once; by default as many as there are processors.

    Returns
    -------
    Tour

    Raises
    ------
    ConfigError
        A description that lacks something.
    InputError
        A mode, or an option of it, that there is not; or two modes have a file of the same name, or need other parameters of a step.
    """
    out, described = Path(out), _read(description)
    days = {name: (number, options or {}) for number, (name, options) in enumerate(described["modes"].items())}
    for name in (*days, *only):
        if name not in modes.MODES or name not in days:
            do = "Put it into the program of the tour" if name in modes.MODES else modes.suggestion(name)
            raise InputError(f"the tour has no mode {name}", do=do)
    days = {name: days[name] for name in days if not only or name in only}
    tasks = [(name, _day(described["start"], number), 1 + OBSERVATIONS * number, options) for name, (number, options) in days.items()]
    with ProcessPoolExecutor(processes or os.cpu_count(), mp_context=get_context("spawn")) as pool:
        made = dict(zip(days, pool.map(partial(_simulate, out), tasks), strict=True))
    for kind, pattern in (("data", "*.fits"), ("truth", "*.fits")):
        _gather(out / kind, [path for one in made.values() for path in sorted((one.data.parent / kind).glob(pattern))])
    files, without = [], []
    for name, (number, _) in days.items():
        files += _dated(out / "references" / name, made[name].crds, _day(described["start"], number))
        without += _without(made[name], _day(described["start"], number))
    pars = list({str(one): one for one in (*crds_cache.operations(), *integral_field.operations())}.values())
    crds_cache.build(out / "crds", files, pars=pars, absent=MAY_LACK, without=without)
    return Tour(out / "data", out / "crds", write_config(out, exp_types=parameters_of(days)), made)


def _read(description):
    if isinstance(description, dict):
        return description
    described = yaml.safe_load(Path(description).read_text())
    if not isinstance(described, dict) or not {"start", "modes"} <= set(described):
        raise ConfigError("the tour's description lacks start or modes", description, "Write it like config/tour_program.yaml")
    return described


def parameters_of(names):
    """EXP_TYPE -> step -> the parameters that its modes need: fields of a few arcsec have few stars, near each other."""
    needed = {}
    for name in names:
        mode = modes.MODES[name]
        for step, parameters in mode.steps.items():
            if needed.setdefault(mode.exp_type, {}).setdefault(step, parameters) != parameters:
                what = f"{name} needs other parameters of {step} than another mode of {mode.exp_type}"
                raise InputError(what, do="Leave one of them out")
    return needed


def _day(start, number):
    """The day of a mode: its midnight."""
    return Time(str(start), format="iso", scale="utc", precision=0) + TimeDelta(number, format="jd")


def _simulate(out, task):
    """One mode in a folder of its own, once."""
    name, day, observation, options = task
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder = out / "simulated" / name
    digest = hashlib.sha256(yaml.safe_dump([name, day.isot, observation, options]).encode()).hexdigest()
    note = folder / "made.yaml"
    mode = modes.MODES[name]
    if note.exists():
        known = yaml.safe_load(note.read_text())
        if known["digest"] == digest and all((folder / path).exists() for path in known["files"]):
            return modes.Made(folder / "data", folder / "crds", None, mode.steps, folder / "config.yaml")
    shutil.rmtree(folder, ignore_errors=True)
    logging.getLogger("jwcal").setLevel(logging.WARNING)
    made = mode.make(folder, observation=observation, start=(day + TimeDelta(HOUR, format="jd")).isot, **options)
    log.info("%s: %s", name, mode.what)
    files = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file()]
    note.write_text(yaml.safe_dump({"digest": digest, "files": files}))
    return made


def _gather(folder, paths):
    """Link files into one folder, and take out of it what is not among them."""
    known = {}
    for path in paths:
        twin = known.setdefault(path.name, path)
        if twin is not path:
            raise InputError(f"{twin} has the same name", path, "Give the modes other numbers of observations")
        crds_cache.link(path, folder / path.name)
    for path in folder.glob("*"):
        if path.name not in known:
            path.unlink()


def _dated(folder, cache, day):
    """Copies of a mode's references that are in use from its day on."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    made = []
    for path in sorted(cache.glob("references/jwst/*/*")):
        if "_pars-" in path.name:
            continue
        content, new = path.read_bytes(), day.isot.encode()
        if USEAFTER.encode() not in content or len(new) != len(USEAFTER):
            raise InputError("a simulated reference without the usual USEAFTER", path, "Date it in its maker as the others are")
        # under a name that is none of the archive's: the cache gives one
        made.append(folder / path.name.replace("jwst_", "tour_", 1))
        made[-1].write_bytes(content.replace(USEAFTER.encode(), new, 1))
    return made


def _without(made, day):
    """What tells a mode's exposures that they need no reference of a type, where only other modes of the instrument have one."""
    there, found = {path.name.split("_")[2] for path in made.crds.glob("references/jwst/*/*")}, {}
    for path in made.uncals:
        header = fits.getheader(path, "PRIMARY")
        for kind in crds_cache.SELECTED_BY.keys() - there:
            match = {keyword: header.get(keyword) for keyword in crds_cache.selected_by(kind, header["INSTRUME"])}
            found[kind, *match.values()] = crds_cache.Without(header["INSTRUME"], kind, match, day.isot)
    return [found[key] for key in sorted(found, key=str)]
