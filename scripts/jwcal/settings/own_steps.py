"""Steps of a user's own: a module somewhere, checked like ours, and put into the chains where the configuration says."""

import ast
import os
from dataclasses import dataclass, replace
from pathlib import Path

from ..provenance import codebase
from ..vocabulary.errors import ConfigError
from ..vocabulary.nearest import suggestion
from . import chains, facts, step_modules
from .chains import Save, Step
from .selector import pipeline_name
from .tables import table

PLACES = ("after", "before", "replace")


@dataclass(frozen=True)
class Insert:
    """One step in one pipeline: `after`, `before` or in the place of (`replace`) the step `at`."""

    place: str
    at: str
    step: str
    path: str


def read(given):
    """What the configuration says under `insert`, checked; the steps are known from then on.

    Parameters
    ----------
    given : dict
        pipeline -> list of {"after", "before" or "replace": a step, "step": path of a module}, as the schema allows.

    Returns
    -------
    dict
        pipeline -> tuple of Insert

    Raises
    ------
    ConfigError
        A pipeline, step or file that is not there, or a module that is no step.
    """
    found, own = {}, {}
    for name, items in (given or {}).items():
        pipeline = pipeline_name(name)
        if not chains.is_built(pipeline):
            raise ConfigError(f"insert.{name}: the pipeline {pipeline} is not available in this version", do="Leave it out")
        steps = [*chains.steps_of(pipeline), *(insert.step for insert in found.get(pipeline, ()))]
        for number, item in enumerate(items or ()):
            insert = _insert(item, f"insert.{name}[{number}]", pipeline, steps)
            other = own.setdefault(insert.step, insert.path)
            if other != insert.path:
                raise ConfigError(f"insert: {other} and {insert.path} have one name", do="Give one of the files another name")
            found[pipeline] = (*found.get(pipeline, ()), insert)
    for path in own.values():
        _check_text(path)
    facts.take_in(own)
    for step in own:
        facts.about(step)
    return found


def _insert(item, key, pipeline, steps):
    """One entry; the steps of the pipeline are what they are with it."""
    places = [place for place in PLACES if place in item]
    if len(places) != 1:
        raise ConfigError(f"{key} must have one of {', '.join(PLACES)}, not {' and '.join(places) or 'none'}", do="Say where the step goes")
    (place,) = places
    at, path = item[place], os.path.normpath(Path(os.path.expandvars(item["step"])).expanduser().absolute())
    step = Path(path).stem
    if at not in steps:
        raise ConfigError(f"{key}.{place}: {pipeline} has no step {at!r}", do=suggestion(at, steps))
    if not os.path.isfile(path):
        raise ConfigError(f"{key}.step: there is no file {path}", do="Correct the path; a relative one starts where the command is given")
    if not path.endswith(".py") or not step.isidentifier():
        raise ConfigError(f"{key}.step: {path} can't be a step", do="Call the file like a variable, and .py: my_step.py")
    if codebase.Code().has(f"steps/{step}") or any(step in chains.steps_of(name) for name in table("pipelines")):
        raise ConfigError(f"{key}.step: {step} is the name of one of jwcal's steps", path, f"Call the file otherwise: my_{step}.py")
    if step in steps:
        raise ConfigError(f"{key}.step: {pipeline} has the step {step} already", path, "Give a copy of the file another name")
    if place == "replace":
        steps[steps.index(at)] = step
    else:
        steps.append(step)
    return Insert(place, at, step, path)


def put_in(chain, inserts):
    """A chain with the user's steps in it; where it has not the step that one goes by, it stays without that one.

    A step comes after what another one gives to be kept beside the exposure (a mask, a background). One that replaces another makes
    that one's products.
    """
    entries = list(chain.entries)
    for insert in inserts:
        at = next((n for n, entry in enumerate(entries) if isinstance(entry, Step) and entry.name == insert.at), None)
        if at is None:
            continue
        step = Step(insert.step, own=insert.path)
        if insert.place == "replace":
            entries[at] = step
            entries = [_made_by(step.name, entry, insert.at) if isinstance(entry, Save) else entry for entry in entries]
            continue
        if insert.place == "after":
            at += 1
            while at < len(entries) and isinstance(entries[at], Save) and insert.at in entries[at].makers and entries[at].optional:
                at += 1
        entries.insert(at, step)
    return replace(chain, entries=tuple(entries))


def _made_by(step, save, old):
    """A product of a step that is replaced as the other's; parameters that the other does not have can't ask for it."""
    known = facts.about(step).parameters
    asker, _, name = save.asked.partition(".")
    asked = save.asked if asker != old else f"{step}.{name}" if name in known else ""
    makers = [step if maker == old else maker for maker in save.makers]
    by = makers if len(makers) > 1 else "".join(makers)
    return replace(save, by=by, asked=asked, given=save.given if asked and set(save.given) <= set(known) else {})


def _check_text(path):
    """Raise ConfigError where a file is no Python, or imports files beside it in a way that only works by chance."""
    try:
        tree = ast.parse(Path(path).read_bytes(), path)
    except (OSError, SyntaxError, ValueError) as error:
        raise ConfigError(f"not a readable Python file ({step_modules.in_words(error, path)})", path, "Correct it") from None
    for name in (alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names):
        _check_library(name, path)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level:
            _check_library(node.module, path)


def _check_library(name, path):
    if Path(path).with_name(f"{name.partition('.')[0]}.py").is_file():
        raise ConfigError(
            f"it imports {name}, a file beside it, as a library", path, f"Write `from . import {name}` or `from .{name} import ...`"
        )
