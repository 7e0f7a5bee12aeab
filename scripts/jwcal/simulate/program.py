"""A whole program: what a description in YAML asks for, as a folder of raw exposures with their references and a CRDS cache around them."""

import hashlib
import logging
from dataclasses import replace
from pathlib import Path

import yaml
from astropy.time import Time, TimeDelta

from ..files.home import home
from ..vocabulary.errors import ConfigError, InputError
from . import coronagraph, instruments, interferogram, pointing, scene, series
from .detector import make_detector
from .exposures import segments, simulate_exposure, take
from .headers import Identity
from .references import scope, stage3_types, types_for, write_references

log = logging.getLogger(__name__)
DEMO = home() / "config/demo_program.yaml"
NEEDED = ("program", "target", "exposures")
KNOWN = (
    *(*NEEDED, "start", "seed", "roll", "aim", "shift", "sky", "detectors", "dithers"),
    *("pointing_error", "sky_steps", "cosmic_rays", "noise", "stage3"),
)
GENERAL = {"dithers": [[0.0, 0.0]], "shift": [0.0, 0.0], "roll": 0.0, "aim": None, "target": None, "detectors": None, "sky": None}
OWN = ("observation", "star", "series", "coronagraph", "interferogram", "segments", "moving", "wfs", "ruined")
WFS = {"VISITYPE": "PRIME_WFSC_SENSING_CONTROL"}
CATALOGUE = "catalogue.ecsv"
SETTLING = 90.0  # s, between two dither positions


def make_program(out, description=DEMO):
    """Simulate a program: raw exposures in `<out>/data`, truth in `truth`, references in `references`, a CRDS cache around them in `crds`.

    What is there already, made from the same description, is left alone.

    Parameters
    ----------
    out : path
    description : path or dict
        See config/demo_program.yaml. What is not in there:

        pointing_error : {rms: arcsec, roll: deg}; of every exposure, unknown to its header
        sky_steps : MJy/sr, added to the sky of one exposure after the other, from the start again after the last
        cosmic_rays : hits a second and pixel
        noise : false takes all of it away
        stage3 : true writes apcorr, abvegaoffset, tsophot and psfmask references and a catalogue of the stars, makes flats of counts,
            and leaves the columns of MIRI's imager dark that the field does not fall on
        sky : also `fwhm` [pixels] and `core` of the PSF, `separation` of the sources [arcsec]

        and of an exposure, beside what `instruments.setup` takes (keywords in capitals, as `BKGDTARG: true`, too):

        detectors, dithers, shift, aim, roll, target, sky : its own
        observation : number
        star : Jy, of a star on the target
        series : {transit: {depth: ..., ...}, jitter: pixels, drift: [x, y]}: see `series.Series`
        coronagraph : {star: Jy, planets: [[arcsec, deg, flux over the star's], ...], ...}: see `coronagraph.Coronagraph`; the epoch is the
            exposure's number
        interferogram : {star: Jy, companion: [arcsec, deg, flux over the star's], ...}: see `interferogram.Interferogram`; its seed is the
            exposure's number
        segments : integrations in each file
        moving : [east, north] arcsec an hour: the target, from where it is at the program's start
        wfs : [x, y] pixels by which the last dither misses, a pair for wavefront sensing
        ruined : numbers of the dithers, from 1, of which nothing is left

        A detector is read with one subarray in a program: few references are chosen by the subarray.

    Returns
    -------
    dict
        `data`, `references`: lists of paths; `crds`: its folder; with `stage3` also `catalogue`.

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
    field = _field(described)
    data, references = _exposures(out, described, field)
    crds = _cache(out / "crds", references)
    catalogue = {"catalogue": scene.write_catalogue(field, out / CATALOGUE)} if described.get("stage3") else {}
    made = {"data": [str(p.relative_to(out)) for p in data], "references": [str(p.relative_to(out)) for p in references]}
    note.write_text(yaml.safe_dump({"digest": digest, "description": described} | made, sort_keys=False))
    log.info("%s: %d exposures, %d references", out, len(data), len(references))
    return {"data": data, "references": references, "crds": crds} | catalogue


def write_config(folder, **parameters):
    """Write a configuration of the workflow for what was simulated into a folder, `config.yaml` in it; returns its path.

    Parameters
    ----------
    folder : path
    parameters : dict
        `steps` and `exp_types`, as in a configuration.
    """
    folder = Path(folder)
    config = {"data": str(folder / "data"), "results": str(folder / "results"), "references": {"crds_path": str(folder / "crds")}}
    path = folder / "config.yaml"
    config |= {key: value for key, value in parameters.items() if value}
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def _read(description):
    if isinstance(description, dict):
        described, name = description, None
    else:
        name = Path(description)
        try:
            described = yaml.safe_load(name.read_text())
        except (OSError, yaml.YAMLError) as error:
            why = getattr(error, "strerror", None) or " ".join(str(error).split())
            raise ConfigError(f"the program's description can't be read ({why})", name, "Write it like config/demo_program.yaml") from None
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
    catalogue = note.parent / CATALOGUE
    return found | {"crds": crds} | ({"catalogue": catalogue} if catalogue.exists() else {}) if whole else None


def _field(described):
    """What is in the sky."""
    sky = dict(described.get("sky", {}))
    psf = scene.Psf(**{key: sky.pop(key) for key in ("fwhm", "core") if key in sky})
    return scene.make_scene(*described["target"], sky=sky.pop("level", 0.25), seed=described.get("seed", 1), psf=psf, **sky)


def _exposures(out, described, field):
    planned = [(*_plan(described, exposure), _own(described, exposure)) for exposure in described["exposures"]]
    sensors, references = _sensors(out, [setup for _, setups, _ in planned for setup in setups], described.get("stage3", False), field.psf)
    seed = described.get("seed", 1)
    errors = _errors(described, sum(len(own["dithers"]) for *_, own in planned))
    steps = described.get("sky_steps") or [0.0]
    first = start = Time(described.get("start", "2023-10-02T00:00:00"), scale="utc", precision=3)
    light = {"noise": described.get("noise", True)}
    light |= {"cosmic_rays": float(described["cosmic_rays"])} if "cosmic_rays" in described else {}
    data, exposed = [], 0
    for activity, (options, setups, own) in enumerate(planned, start=1):
        for position, offset in enumerate(own["dithers"], start=1):
            target, sky = _at(
                own,
                _above(own["field"] or field, steps[exposed % len(steps)]),
                start + TimeDelta(setups[0].readout.duration / 2, format="sec") - first,
            )
            pointed = {
                "target": target,
                "roll": own["roll"],
                "aim": own["aim"],
                "start": start.isot,
                "dither": _dither(own, offset, position),
            }
            error = _missed(errors[exposed], own, position, options, setups[0], pointed)
            identity = Identity(
                program=described["program"], observation=own["observation"] or 1, activity=f"{activity:02d}", exposure=position
            )
            for setup in setups:
                for part in _parts(identity, setup, own["segments"]):
                    made = simulate_exposure(
                        out / "data",
                        **(options | {"detector": setup.detector} | part),
                        **pointed,
                        field=sky,
                        sensor=sensors[setup.detector, setup.subarray],
                        seed=seed + 1000 * (len(data) + 1),
                        pointing_error=error,
                        moving=bool(own["moving"]),
                        series=_behind_mask(own["coronagraph"], exposed)
                        or _behind_holes(own["interferogram"], exposed)
                        or _series(own["series"]),
                        ruined=position in (own["ruined"] or ()),
                        **light,
                    )
                    log.info("%s", made.uncal.name)
                    data.append(made.uncal)
            start = start + TimeDelta(setups[0].readout.duration + SETTLING, format="sec")
            exposed += 1
    return data, references


def _plan(described, exposure):
    """An exposure's options, and its setup on each detector."""
    options = {key: value for key, value in exposure.items() if key not in OWN and key not in GENERAL}
    if exposure.get("wfs"):
        options = WFS | options
    detectors = _own(described, exposure)["detectors"] or [None]
    return options, [instruments.setup(**(options | {"detector": options.get("detector") or name})) for name in detectors]


def _own(described, exposure):
    """What an exposure is told to this module: its own, or the program's, or the usual; and its own field, if it has one."""
    own = {key: exposure.get(key) for key in OWN}
    own |= {key: exposure.get(key, described.get(key, usual)) for key, usual in GENERAL.items()}
    special = {key: exposure[key] for key in ("sky", "target") if key in exposure}
    return own | {"field": _field(described | special) if "sky" in exposure else None}


def _dither(own, offset, position):
    pattern = {"pattern": "WFSC"} if own["wfs"] else {}
    x, y = own["shift"][0] + offset[0], own["shift"][1] + offset[1]
    return {"x": x, "y": y, "number": position, "total": len(own["dithers"])} | pattern


def _above(field, step):
    return replace(field, sky=field.sky + step) if step else field


def _at(own, field, elapsed):
    """The target in the middle of an exposure, and the scene, with the star that is on the target."""
    target = tuple(own["target"])
    if own["moving"]:
        target = tuple(float(c) for c in pointing.moved(target, *(rate * elapsed.to_value("h") for rate in own["moving"])))
    return target, scene.with_star(field, *target, float(own["star"])) if own["star"] else field


def _errors(described, number):
    given = described.get("pointing_error") or {}
    if not given:
        return [None] * number
    return pointing.draw_errors(number, given.get("rms", 0.0), given.get("roll", 0.0), described.get("seed", 1))


def _missed(error, own, position, options, setup, pointed):
    """An exposure's pointing error; the last one of a pair for wavefront sensing misses by whole pixels."""
    if not own["wfs"] or position < len(own["dithers"]):
        return error
    look = take(**(options | {"detector": setup.detector}), **pointed).look
    missed, error = pointing.error_of_pixels(look, *own["wfs"], pointed["target"]), error or pointing.Error()
    return pointing.Error(missed.east + error.east, missed.north + error.north, error.roll)


def _parts(identity, setup, each):
    """What differs between the files of an exposure: its identity, and how many integrations are in each."""
    if not each:
        return [{"identity": identity}]
    parts = segments(identity, setup.readout.nints, each)
    return [{"identity": part, "nints": part.segment[3] - part.segment[2] + 1} for part in parts]


def _series(given):
    if not given:
        return None
    dip = given.get("transit")
    return series.Series(**(given | {"transit": series.Transit(**dip) if dip else None}))


def _behind_mask(given, epoch):
    """The star behind a coronagraph's mask."""
    if not given:
        return None
    given = given | {"planets": tuple(map(tuple, given.get("planets", ()))), "offset": tuple(given.get("offset", (0.0, 0.0)))}
    return coronagraph.Coronagraph(**{"epoch": epoch} | given)


def _behind_holes(given, number):
    """The star behind an interferometer's mask."""
    if not given:
        return None
    companion = given.get("companion")
    return interferogram.Interferogram(**{"seed": 1 + number} | given | {"companion": tuple(companion) if companion else None})


def _sensors(out, setups, stage3, psf):
    """The detectors of the program, and their references: a dark is read as the exposures are, where they are all read alike."""
    sensors, references, there = {}, [], set()

    def write(setup, types, number, **options):
        log.info("references of %s, %s", setup.detector, setup.subarray.name)
        types = [kind for kind in types if scope(kind, setup) not in there]
        there.update(scope(kind, setup) for kind in types)
        sensor = sensors[setup.detector, setup.subarray]
        references.extend(
            write_references(
                out / "references",
                sensor,
                setup=setup,
                types=types,
                number=number,
                psf=psf,
                counts_flat=stage3,
                setups=setups,
                **options,
            ).values()
        )

    for setup in setups:
        key = (setup.detector, setup.subarray)
        if key in sensors:
            continue
        sensors[key] = make_detector(setup.instrument, setup.detector, setup.subarray, blanked=stage3)
        same = [s for s in setups if (s.detector, s.subarray) == key]
        longest = max(same, key=lambda s: s.readout.frames)
        patterns = {(s.readout.nframes, s.readout.groupgap) for s in same}
        pattern = patterns.pop() if len(patterns) == 1 else None
        write(longest, types_for(setup), 9000 + len(sensors), dark_pattern=pattern)
    for setup in setups if stage3 else ():
        number = 9001 + list(sensors).index((setup.detector, setup.subarray))
        series_only = () if setup.keywords.get("TSOVISIT") else ("tsophot",)
        write(setup, [kind for kind in stage3_types(setup) if kind not in series_only], number)
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
