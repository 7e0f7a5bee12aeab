"""A whole program: what a description in YAML asks for, as a folder of raw exposures with their references and a CRDS cache around them."""

import hashlib
import logging
from pathlib import Path

import yaml
from astropy.time import Time, TimeDelta

from ..errors import ConfigError, InputError
from . import instruments
from .detector import make_detector
from .exposures import simulate_exposure
from .headers import Identity
from .references import write_references
from .scene import make_scene

log = logging.getLogger(__name__)
DEMO = Path(__file__).resolve().parents[3] / "config/demo_program.yaml"
NEEDED = ("program", "target", "exposures")
KNOWN = (*NEEDED, "start", "seed", "roll", "aim", "shift", "sky", "detectors", "dithers")
SETTLING = 90.0  # s, between two dither positions


def make_program(out, description=DEMO):
    """Simulate a program: raw exposures in `<out>/data`, references in `<out>/references`, truth in `<out>/truth`, a CRDS cache in `<out>/crds`.

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
    target, seed = tuple(described["target"]), described.get("seed", 1)
    sky = dict(described.get("sky", {}))
    field = make_scene(*target, sky=sky.pop("level", 0.25), seed=seed, **sky)
    dithers = described.get("dithers", [[0.0, 0.0]])
    shift = described.get("shift", [0.0, 0.0])
    start = Time(described.get("start", "2023-10-02T00:00:00"), scale="utc", precision=3)
    data, references, sensors = [], [], {}
    for activity, options in enumerate(described["exposures"], start=1):
        for position, offset in enumerate(dithers, start=1):
            dither = {"x": shift[0] + offset[0], "y": shift[1] + offset[1], "number": position, "total": len(dithers)}
            for detector in described.get("detectors", [options.get("detector")]):
                chosen = instruments.setup(**(options | {"detector": detector}))
                sensor = _sensor(sensors, references, chosen, out)
                made = simulate_exposure(
                    out / "data",
                    **(options | {"detector": chosen.detector}),
                    target=target,
                    roll=described.get("roll", 0.0),
                    aim=described.get("aim"),
                    dither=dither,
                    start=start.isot,
                    identity=Identity(program=described["program"], activity=f"{activity:02d}", exposure=position),
                    field=field,
                    sensor=sensor,
                    seed=seed + 1000 * len(data) + 1,
                )
                log.info("%s", made.uncal.name)
                data.append(made.uncal)
            start = start + TimeDelta(chosen.readout.duration + SETTLING, format="sec")
    return data, references


def _sensor(sensors, references, chosen, out):
    """The detector of an exposure; its references are written when it is first met."""
    key = (chosen.detector, chosen.subarray)
    if key not in sensors:
        sensors[key] = make_detector(chosen.instrument, chosen.detector, chosen.subarray)
        written = write_references(out / "references", sensors[key], setup=chosen, number=9000 + len(sensors))
        references.extend(written.values())
    return sensors[key]


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
