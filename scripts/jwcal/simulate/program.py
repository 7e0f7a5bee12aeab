"""A whole program: what a description in YAML asks for, as a folder of raw exposures with their references and a CRDS cache around them."""

import hashlib
import logging
from pathlib import Path

import yaml
from astropy.time import Time, TimeDelta

from ..vocabulary.errors import ConfigError, InputError
from . import instruments
from .detector import make_detector
from .exposures import simulate_exposure
from .headers import Identity
from .references import types_for, write_references
from .scene import make_scene

log = logging.getLogger(__name__)
DEMO = Path(__file__).resolve().parents[3] / "config/demo_program.yaml"
NEEDED = ("program", "target", "exposures")
KNOWN = (*NEEDED, "start", "seed", "roll", "aim", "shift", "sky", "detectors", "dithers")
SETTLING = 90.0  # s, between two dither positions


def make_program(out, description=DEMO):
    """Simulate a program: raw exposures in `<out>/data`, truth in `truth`, references in `references`, a CRDS cache around them in `crds`.

    What is there already, made from the same description, is left alone.

    Parameters
    ----------
    out : path
    description : path or dict
        See config/demo_program.yaml.

    Returns
    -------
    dict
        `data`, `references`: lists of paths; `crds`: its folder.

    Raises
    ------
    ConfigError
        A description that lacks something or has a key that means nothing.
    InputError
        An exposure that no instrument can take.
    """
    out, described = Path(out), _read(description)
    digest = hashlib.sha256(yaml.safe_dump(described, sort_keys=True).encode()).hexdigest()
    note = out / "program.yaml"
    done = _done(note, digest)
    if done:
        log.info("%s is already there: %d exposures", out, len(done["data"]))
        return done
    data, references = _exposures(out, described)
    crds = _cache(out / "crds", references)
    made = {"data": [str(p.relative_to(out)) for p in data], "references": [str(p.relative_to(out)) for p in references]}
    note.write_text(yaml.safe_dump({"digest": digest, "description": described} | made, sort_keys=False))
    log.info("%s: %d exposures, %d references", out, len(data), len(references))
    return {"data": data, "references": references, "crds": crds}


def _read(description):
    if isinstance(description, dict):
        described, name = description, None
    else:
        name = Path(description)
        try:
            described = yaml.safe_load(name.read_text())
        except (OSError, yaml.YAMLError) as error:
            raise ConfigError(
                f"the program's description can't be read ({error})", name, "Write it like config/demo_program.yaml"
            ) from None
    if not isinstance(described, dict):
        raise ConfigError("the program's description is not a list of keys", name, "Write it like config/demo_program.yaml")
    for key in NEEDED:
        if key not in described:
            raise ConfigError(f"the program's description lacks {key}", name, "Write it like config/demo_program.yaml")
    unknown = sorted(set(described) - set(KNOWN))
    if unknown:
        raise ConfigError(f"the program's description has {unknown[0]}, which means nothing", name, f"The keys are {', '.join(KNOWN)}")
    return described


def _done(note, digest):
    """What an earlier run made of the same description, if all of it is still there."""
    if not note.exists():
        return None
    made = yaml.safe_load(note.read_text())
    if made.get("digest") != digest:
        return None
    found = {kind: [note.parent / name for name in made[kind]] for kind in ("data", "references")}
    crds = note.parent / "crds"
    whole = all(p.exists() for p in found["data"] + found["references"]) and (crds / "config/jwst/server_config").exists()
    return found | {"crds": crds} if whole else None


def _exposures(out, described):
    planned = [_plan(described, exposure) for exposure in described["exposures"]]
    sensors, references = _sensors(out, [setup for _, setups in planned for setup in setups])
    target, seed, shift = tuple(described["target"]), described.get("seed", 1), described.get("shift", [0.0, 0.0])
    sky = dict(described.get("sky", {}))
    field = make_scene(*target, sky=sky.pop("level", 0.25), seed=seed, **sky)
    dithers = described.get("dithers", [[0.0, 0.0]])
    start = Time(described.get("start", "2023-10-02T00:00:00"), scale="utc", precision=3)
    data = []
    for activity, (options, setups) in enumerate(planned, start=1):
        for position, offset in enumerate(dithers, start=1):
            for setup in setups:
                made = simulate_exposure(
                    out / "data",
                    **(options | {"detector": setup.detector}),
                    target=target,
                    roll=described.get("roll", 0.0),
                    aim=described.get("aim"),
                    dither={"x": shift[0] + offset[0], "y": shift[1] + offset[1], "number": position, "total": len(dithers)},
                    start=start.isot,
                    identity=Identity(program=described["program"], activity=f"{activity:02d}", exposure=position),
                    field=field,
                    sensor=sensors[setup.detector, setup.subarray],
                    seed=seed + 1000 * (len(data) + 1),
                )
                log.info("%s", made.uncal.name)
                data.append(made.uncal)
            start = start + TimeDelta(setups[0].readout.duration + SETTLING, format="sec")
    return data, references


def _plan(described, exposure):
    """An exposure's options, and its setup on each detector."""
    options = dict(exposure)
    detectors = options.pop("detectors", described.get("detectors")) or [None]
    return options, [instruments.setup(**(options | {"detector": options.get("detector") or name})) for name in detectors]


def _sensors(out, setups):
    """The detectors of the program, and their references: a dark is read as the exposures are, where they are all read alike."""
    sensors, references, offsets = {}, [], set()
    for setup in setups:
        key = (setup.detector, setup.subarray)
        if key in sensors:
            continue
        sensors[key] = make_detector(setup.instrument, setup.detector, setup.subarray)
        same = [s for s in setups if (s.detector, s.subarray) == key]
        longest = max(same, key=lambda s: s.readout.frames)
        patterns = {(s.readout.nframes, s.readout.groupgap) for s in same}
        optics = (
            setup.instrument,
            setup.keywords.get("MODULE"),
            setup.keywords.get("CHANNEL"),
        )  # filter offsets are of these, not of a detector
        types = [kind for kind in types_for(setup) if kind != "filteroffset" or optics not in offsets]
        offsets.add(optics)
        pattern = patterns.pop() if len(patterns) == 1 else None
        number = 9000 + len(sensors)
        references += write_references(
            out / "references", sensors[key], setup=longest, types=types, number=number, dark_pattern=pattern
        ).values()
    return sensors, references


def _cache(folder, references):
    from . import crds_cache

    crds_cache.build(folder, references, pars=crds_cache.operations())
    return folder


def parse_options(items):
    """`name=value` pairs of the command line, values read as YAML."""
    options = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals:
            raise InputError(f"{item!r} is not name=value", do="Write for instance subarray=SUB160")
        options[name] = yaml.safe_load(value)
    return options
