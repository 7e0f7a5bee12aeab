"""The configuration: what it may hold, and the parameters of each step with where each came from."""

import logging
import os
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

from ..crds.session import environment_of
from ..vocabulary import keywords, parameters
from ..vocabulary.errors import ConfigError
from ..vocabulary.nearest import nearest, suggestion
from . import chains, facts, own_steps
from .pars import PLUMBING, pars_type
from .tables import matches, table

log = logging.getLogger(__name__)

# Reference types whose name in a product's header the data models do not define.
MORE_REFERENCES = ("abvegaoffset", "apcorr", "drizpars", "pictureframe", "sossbkg", "tsophot", "wfssbkg")
# What else a pars- reference says that is not about the calibration.
IGNORED = PLUMBING | {"maximum_cores", "save_calibrated_ramp"}
DEFAULT, PIPELINE, PARS = "default", "pipeline", "pars reference"


@dataclass(frozen=True)
class References:
    """Where references come from. `overrides` is a tuple of (match, {type: path}); the first that fits wins."""

    crds_path: str = None
    crds_context: str = None
    crds_server_url: str = None
    overrides: tuple = ()


@dataclass(frozen=True)
class Archive:
    """What of a program is to be fetched from the archive; the folder, absolute, is the configuration's `data`."""

    program: int
    folder: Path
    observations: tuple = ()  # of int; none means all
    modes: tuple = ()  # as the archive calls them; none means all


@dataclass(frozen=True)
class Config:
    """A configuration that has been checked."""

    data: tuple = ()  # of Path, absolute
    archive: Archive | None = None
    results: Path = Path("results")
    until: str = "stage3"
    associations: object = "generate"  # or a tuple of Path, absolute
    links: tuple = ()  # of dict: which observation belongs to which
    references: References = References()
    steps: dict = field(default_factory=dict)  # step -> {parameter: value}
    exp_types: dict = field(default_factory=dict)  # EXP_TYPE -> step -> {parameter: value}
    save: tuple = ()
    insert: dict = field(default_factory=dict)  # pipeline -> tuple of own_steps.Insert
    known: dict = field(default_factory=dict, repr=False, compare=False)  # what was found with it for one kind of exposures

    @cached_property
    def crds(self):
        """Settings of CRDS as `references.resolve` takes them."""
        r = self.references
        return {"context": r.crds_context, "environment": environment_of(r.crds_path, r.crds_server_url)}

    def overrides(self, header):
        """The overrides that hold for an exposure: {type: path or "N/A"}."""
        chosen = {}
        for match, files in self.references.overrides:
            if matches(match, header):
                chosen = {**files, **chosen}
        return chosen

    def override(self, kind, header):
        """The file to take for a reference type: a path, "N/A", or None where there is no override."""
        return self.overrides(header).get(kind)

    def chain(self, pipeline, header):
        """The chain of a pipeline for the exposure with this header, with the steps of the user's own."""
        found, inserts = chains.chain(pipeline, header), self.insert.get(pipeline)
        if not inserts:
            return found
        if ("chain", id(found)) not in self.known:
            self.known["chain", id(found)] = found, own_steps.put_in(found, inserts)
        return self.known["chain", id(found)][1]

    def chain_parameters(self, chain, exp_type, pars):
        """The parameters of all steps of a chain, and where each came from: two dicts by step; see `step_parameters`."""
        steps = [step.name for step in chain.steps]
        found = {step: self.step_parameters(step, exp_type, pars.get(step), chain.defaults.get(step)) for step in steps}
        return {step: values for step, (values, _) in found.items()}, {step: origins for step, (_, origins) in found.items()}

    def step_parameters(self, step, exp_type, pars=None, defaults=None):
        """The parameters of a step for an exposure, `skip` included, and where each came from.

        The step's own default < the pipeline's < the pars- reference < `steps` < `exp_types`.

        Parameters
        ----------
        step, exp_type : str
        pars : dict, optional
            What the exposure's pars- reference says about this step. What the step does not know or can't take is logged
            and left out: a new file in CRDS does not stop a run.
        defaults : dict, optional
            Defaults of the pipeline for this step, from `config/pipelines.yaml`.

        Returns
        -------
        (dict, dict)
            parameter -> value; parameter -> "default", "pipeline", "pars reference" or the configuration's key.
        """
        known = facts.about(step).parameters
        values = {name: parameter.default for name, parameter in known.items()}
        sources = dict.fromkeys(known, DEFAULT)
        layers = [
            (defaults or {}, PIPELINE),
            (_usable(step, known, pars or {}), PARS),
            (self.steps.get(step, {}), f"steps.{step}"),
            (self.exp_types.get(exp_type, {}).get(step, {}), f"exp_types.{exp_type}.{step}"),
        ]
        for given, source in layers:
            values.update(given)
            sources.update({name: source if source in (PIPELINE, PARS) else f"{source}.{name}" for name in given})
        return values, sources


def load(given):
    """Check a configuration.

    Parameters
    ----------
    given : dict
        As in config/config.yaml, whose values stand in for keys that are not there.

    Returns
    -------
    Config

    Raises
    ------
    ConfigError
        A key, step, parameter, EXP_TYPE, reference type or product that does not exist, or a value of a wrong type;
        names the key and the nearest that is known.
    """
    given = _plain(given or {})
    _check_schema(given)
    merged = {**table("config"), **{k: v for k, v in given.items() if v is not None}}
    references = {**(table("config")["references"] or {}), **(given.get("references") or {})}
    exp_types = merged["exp_types"] or {}
    for exp_type in exp_types:
        _known(exp_type, table("exp_types")["exp_types"], f"exp_types.{exp_type}", "EXP_TYPE")
    insert = own_steps.read(merged["insert"])
    own = {item.step for inserts in insert.values() for item in inserts}
    save = [merged["save"]] if isinstance(merged["save"], str) else merged["save"] or []
    for number, suffix in enumerate(save):
        _known(suffix, product_suffixes(), f"save[{number}]", "product suffix")
    archive = _archive(merged["data"]) if isinstance(merged["data"], dict) else None
    return Config(
        data=(archive.folder,) if archive else _paths(merged["data"]),
        archive=archive,
        results=_path(merged["results"]),
        until=merged["until"],
        links=tuple(merged["links"] or ()),
        associations="generate" if merged["associations"] == "generate" else _paths(merged["associations"]),
        references=References(
            crds_path=references["crds_path"] and str(_path(references["crds_path"]).absolute()),
            crds_context=references["crds_context"],
            crds_server_url=references["crds_server_url"],
            overrides=_overrides(references["overrides"], own),
        ),
        steps=_steps(merged["steps"], "steps", own),
        exp_types={name: _steps(steps, f"exp_types.{name}", own) for name, steps in exp_types.items()},
        save=tuple(save),
        insert=insert,
    )


# --- the schema ---


def _check_schema(given):
    """Raise ConfigError for the first thing that config/schema.yaml does not allow."""
    from jsonschema import Draft202012Validator

    errors = sorted(Draft202012Validator(table("schema")).iter_errors(given), key=lambda e: [str(part) for part in e.absolute_path])
    if errors:
        error = errors[0]
        raise _in_words(_deepest(error), _dotted(error.absolute_path))


OF_MAPPINGS = ("additionalProperties", "required")


def _deepest(error):
    """Of a value that may be one of several things, the error in the thing that it nearly is: an item of a list, a key of a mapping."""
    inner = [e for e in error.context or () if len(e.absolute_path) > len(error.absolute_path) or e.validator in OF_MAPPINGS]
    return _deepest(inner[0]) if inner else error


def _in_words(error, key):
    key = _dotted(error.absolute_path) or key
    if error.validator == "additionalProperties":
        known = error.schema["properties"]
        wrong = next(name for name in error.instance if name not in known)
        return ConfigError(f"{_joined(key, wrong)}: there is no such key", do=suggestion(wrong, known))
    if error.validator == "propertyNames" or "propertyNames" in error.schema_path:
        return ConfigError(f"{key}: {error.instance!r} is not the name of a FITS keyword in capitals", do="Write it as in the header")
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        return ConfigError(f"{key}: {missing} is missing", do=f"Write {error.schema['title']}")
    title = error.schema.get("title") or f"of type {error.validator_value}"
    do = suggestion(error.instance, error.validator_value) if error.validator == "enum" else None
    if isinstance(error.instance, (int, float)) and error.schema.get("title", "").startswith(("a path", "a folder")):
        do = f'Write ./{error.instance} or "{error.instance}" if that is its name'
        do += f", {{program: {error.instance}}} for the archive's" if key == "data" else ""
    return ConfigError(f"{key or 'the configuration'} must be {title}, not {error.instance!r}", do=do)


def _dotted(path):
    key = ""
    for part in path:
        key = f"{key}[{part}]" if isinstance(part, int) else _joined(key, part)
    return key


def _joined(key, name):
    return f"{key}.{name}" if key else str(name)


def _known(name, names, key, what):
    if name not in names:
        raise ConfigError(f"{key}: there is no {what} {name!r}", do=suggestion(name, names))


# --- steps and parameters ---


@cache
def _entries():
    """All entries of all chains."""
    rows = [part for row in table("pipelines").values() for part in (row, *row.get("variants", ()))]
    return [entry for row in rows for entry in row.get("steps", ())]


def step_names():
    """All steps that a chain names."""
    return {entry if isinstance(entry, str) else entry["step"] for entry in _entries() if isinstance(entry, str) or "step" in entry}


def product_suffixes():
    """The suffixes of all products."""
    saved = [entry["save"] for entry in _entries() if isinstance(entry, dict) and "save" in entry]
    as_lists = [[s] if isinstance(s, str) else [new or old for old, new in s.items()] if isinstance(s, dict) else s for s in saved]
    return {suffix for suffixes in as_lists for suffix in suffixes}


def _steps(given, key, own):
    """{step: {parameter: value}} with the values as the steps take them."""
    checked = {}
    for step, values in (given or {}).items():
        _known(step, step_names() | own, f"{key}.{step}", "step")
        about = facts.about(step)
        if about is None:
            raise ConfigError(f"{key}.{step}: the step {step} is not available in this version", do="Leave it out of the configuration")
        known = about.parameters
        checked[step] = {}
        for name, value in (values or {}).items():
            where = f"{key}.{step}.{name}"
            _known(name, known, where, f"parameter of {step} called")
            try:
                checked[step][name] = parameters.checked(known[name], value)
            except ValueError as problem:
                near = nearest(value, known[name].choices)
                raise ConfigError(f"{where} {problem}", do=near and f"The nearest is {near}") from None
    return checked


def _usable(step, known, pars):
    """What of a pars- reference the step can take."""
    usable = {}
    for name, value in pars.items():
        if name not in known:
            if name not in IGNORED and not name.startswith("output_"):
                _warn_once(f"the pars- reference of {step} sets {name}, which this version of the step does not have: left out")
            continue
        try:
            usable[name] = parameters.from_archive(known[name], value)
        except ValueError as problem:
            _warn_once(f"the pars- reference of {step}: {name} {problem}: left out")
    return usable


@cache
def _warn_once(text):
    log.warning(text)


# --- references ---


@cache
def _reference_types():
    """Names that an override may have."""
    in_headers = {path.split(".")[2] for path in keywords.core() if path.startswith("meta.ref_file.") and path.endswith(".name")}
    built = filter(None, map(facts.about, step_names()))
    of_steps = {kind for about in built for kind in (*about.required, *about.optional)}
    pars = {pars_type(step) for step in step_names()} | {f"pars-{row['crds']}" for row in table("pipelines").values()}
    return in_headers | of_steps | pars | set(MORE_REFERENCES)


@cache
def _header_keywords():
    return {keyword for keyword, *_ in keywords.core().values()} | {"DMS_NOTE"}


def _overrides(given, own):
    key = "references.overrides"
    kinds = _reference_types() | {kind for step in own for kind in (*facts.about(step).required, *facts.about(step).optional)}
    if not isinstance(given, list):
        return (({}, _files(given, key, kinds)),) if given else ()
    checked = []
    for number, entry in enumerate(given):
        match = entry.get("match") or {}
        for keyword in match:
            _known(keyword, _header_keywords(), f"{key}[{number}].match.{keyword}", "keyword")
        checked.append((match, _files(entry["files"], f"{key}[{number}].files", kinds)))
    return tuple(checked)


def _files(given, key, kinds):
    files = {}
    for kind, value in given.items():
        _known(kind, kinds, f"{key}.{kind}", "reference type")
        if value != "N/A" and not value.startswith("crds://"):
            path = _path(value).absolute()
            if not path.is_file():
                raise ConfigError(f"{key}.{kind}: there is no file {path}", do="Correct the path, or write N/A to do without")
            value = str(path)
        files[kind] = value
    return files


# --- values ---


def _plain(value):
    """Paths and numpy's numbers as the types that YAML knows."""
    if isinstance(value, dict):
        return {_plain(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.item() if hasattr(value, "item") else value


def _path(text):
    return Path(os.path.expandvars(text)).expanduser()


def _archive(given):
    """What `data` asks of the archive."""
    listed = {key: given.get(key, []) if isinstance(given.get(key, []), list) else [given[key]] for key in ("observation", "mode")}
    observations = tuple(sorted({int(number) for number in listed["observation"]}))
    return Archive(int(given["program"]), _path(given.get("folder", "data")).absolute(), observations, tuple(listed["mode"]))


def _paths(given):
    return tuple(_path(item).absolute() for item in ([given] if isinstance(given, str) else given))
