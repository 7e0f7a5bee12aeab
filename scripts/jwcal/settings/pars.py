"""Parameters of the steps that CRDS holds: pars-<step> and pars-<pipeline> references, and parameter files of a user's."""

import logging
import os
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import yaml

from ..crds import choose, session
from ..files import storage
from ..vocabulary import parameters
from ..vocabulary.errors import ConfigError, ReferenceError
from . import facts
from .tables import table

log = logging.getLogger(__name__)

# Steps whose pars- reference is not called after the step's own name.
PARS_NAMES = {
    "bkg_subtract": "background",
    "imprint_subtract": "imprint",
    "msa_flagging": "msaflagopen",
    "srctype": "sourcetype",
}
# What a pars- reference says about files, not about the calibration: here the configuration decides that.
PLUMBING = {
    "class",
    "config_file",
    "input_dir",
    "name",
    "output_dir",
    "output_ext",
    "output_file",
    "output_use_index",
    "output_use_model",
    "post_hooks",
    "pre_hooks",
    "save_results",
    "search_output_file",
    "suffix",
}


def pars_type(step):
    """The reference type that holds a step's parameters: jump -> pars-jumpstep."""
    return f"pars-{PARS_NAMES.get(step, step.replace('_', ''))}step"


def parameter_references(header, pipeline, steps, **where):
    """The pars- references of an exposure, as `resolve` gives them: those of the steps, then the pipeline's.

    A context without such a type gives "N/A". A file that is chosen but missing is an error: the data would come out differently.
    `where` is for `resolve`; "N/A" among its overrides turns a reference off.
    """
    return choose.resolve(header, (), optional=_types(pipeline, tuple(steps)), **where)


@cache
def _types(pipeline, steps):
    return *map(pars_type, steps), *_pipeline_types(pipeline)


def _pipeline_types(pipeline):
    name = table("pipelines").get(pipeline, {}).get("crds")
    return [f"pars-{name}"] if name else []


def step_parameters(header, pipeline, steps, **where):
    """Parameters that CRDS gives for an exposure, `skip` included.

    A step's own reference first, then what the pipeline's says about the step: the pipeline's wins, as in operations.

    Parameters
    ----------
    header : mapping with get()
    pipeline : str
        As in config/pipelines.yaml.
    steps : iterable of str
    **where
        context, crds_path, server_url, overrides, file: see `resolve`.

    Returns
    -------
    dict
        step -> {parameter: value}; only steps about which something is said.

    Raises
    ------
    ReferenceError
        A reference is missing or not what it should be.
    """
    return parameters_in(parameter_references(header, pipeline, steps, **where).files, pipeline, steps)


def parameters_in(files, pipeline, steps):
    """The same from the files: type -> path or "N/A"."""
    files = {kind: path for kind, path in files.items() if path != choose.NOT_APPLICABLE}
    found = {step: dict(_parameters(files[pars_type(step)]).own) for step in steps if pars_type(step) in files}
    for kind in _pipeline_types(pipeline):
        if kind in files:
            for step, values in _parameters(files[kind]).steps.items():
                if step in steps:
                    found.setdefault(step, {}).update(values)
    return found


def read_parameters(path):
    """Read parameters from a pars- reference (ASDF) or a YAML file of {step: {parameter: value}}.

    The file may be one that the peer has exported, with all parameters of its steps: those that ours have not are named in a warning.

    Returns
    -------
    dict
        step -> {parameter: value}

    Raises
    ------
    ConfigError
        The YAML file is not readable or not of this form.
    ReferenceError
        The ASDF file is not.
    """
    if str(path).endswith(".asdf"):
        read = _parameters(str(path))
        steps, others = read.steps or {read.step: read.own}, read.own if read.steps else {}
        taken, left_out = _taken(steps)
        left_out += [f"{name} = {value!r}" for name, value in others.items() if name != "skip" and value not in (None, False, "")]
        if left_out:
            log.warning("%s: left out, because this version has no such parameters: %s", path, "; ".join(left_out))
        return {step: values for step, values in taken.items() if values}
    do = "Write it as YAML, {step: {parameter: value}}"
    try:
        content = yaml.safe_load(Path(path).read_text())
    except FileNotFoundError:
        raise ConfigError("there is no such parameter file", file=path, do="Correct the path") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"not a readable parameter file ({session.sentence(error)})", file=path, do=do) from None
    content = {} if content is None else content
    if not isinstance(content, dict) or not all(isinstance(v, dict) for v in content.values()):
        raise ConfigError("a parameter file holds the parameters of each step under the step's name", file=path, do=do)
    return content


def _taken(steps):
    """What our steps take of the peer's parameters, as they take it; and in words what they have not."""
    taken, left_out = {}, []
    for step, values in steps.items():
        about = facts.about(step)
        known = about.parameters if about else {}
        taken[step] = {}
        for name, value in values.items():
            if name in known:
                with suppress(ValueError):  # the configuration says what is wrong with it
                    value = parameters.from_archive(known[name], value)
                taken[step][name] = value
            elif about or value not in (None, False, True, ""):
                left_out.append(f"{step}.{name} = {value!r}")
    return taken, left_out


class _Parameters(NamedTuple):
    step: str  # its name, if the reference is a step's
    own: dict  # parameter -> value
    steps: dict  # step -> {parameter: value}, if it is a pipeline's


def _parameters(path):
    return _read_parameters(path, os.stat(path).st_mtime_ns if os.path.exists(path) else 0)


@lru_cache(maxsize=1024)
def _read_parameters(path, _mtime):
    """The archive's form: class, name, parameters, steps (a list of the same); or all of it inside `parameters`, as before 2020."""
    tree = storage.plain_tree(path) or _tree(path)
    try:
        own = dict(tree["parameters"])
        nested = tree.get("steps") or own.pop("steps", None) or []
        if isinstance(nested, dict):
            nested = [{"name": step, "parameters": values} for step, values in nested.items()]
        steps = {part["name"]: _calibration(part["parameters"], path) for part in nested}
        for step, values in (tree.get("jwcal") or {}).items():  # what only our steps have: see `saved`
            (steps.setdefault(step, {}) if "steps" in tree else own).update(_calibration(values, path))
        classname = tree.get("class") or own.get("class") or ""
        name = tree.get("name") or own.get("name") or ""
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ReferenceError(f"not a parameter reference ({error!r})", path, "Give one with class, name and parameters") from None
    return _Parameters(_step_name(classname, name), _calibration(own, path), steps)


def _tree(path):
    from ..files.reference_file import open_reference  # and astropy with it: nearly all files are plain

    return open_reference(path, "parameter").tree


def _step_name(classname, name):
    """jwst.ramp_fitting.ramp_fit_step.RampFitStep -> ramp_fit; the file's own name for a class that is not known."""
    kind = f"pars-{classname.rpartition('.')[2].lower()}"
    return next((step for step in _known_steps() if pars_type(step) == kind), name)


@cache
def _known_steps():
    import pkgutil

    from .. import steps

    return [*PARS_NAMES, *(module.name for module in pkgutil.iter_modules(steps.__path__))]


def _calibration(parameters, path):
    """The parameters that say how data are calibrated, as plain Python values."""
    kept = {}
    for name, value in parameters.items():
        if name.startswith("override_"):
            if value not in (None, "", "None"):
                raise ConfigError(f"{name} stands among the parameters", path, f"Set references: overrides: {name[9:]} instead")
        elif name not in PLUMBING:
            kept[name] = _plain(value)
    return kept


def _plain(value):
    if hasattr(value, "items"):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value.item() if hasattr(value, "item") else value
