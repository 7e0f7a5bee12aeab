"""What the steps say about themselves, remembered: to import their modules, and numba with them, takes longer than to plan a program."""

from functools import cache
from typing import NamedTuple

from ..files import home, storage
from ..provenance import codebase
from ..vocabulary import limits, parameters
from . import contract, step_modules

TYPES = {kind.__name__: kind for kind in contract.TYPES}
CACHE = home.notes() / "facts.json"


class Facts(NamedTuple):
    """What a step takes."""

    parameters: dict  # name -> parameters.Parameter
    required: tuple  # reference types
    optional: tuple  # reference types that it can do without
    members: tuple  # types of the members of an association that it reads


@cache
def about(step):
    """The facts about a step, as its module and all that it imports are now; None where there is no step of that name."""
    code, root = _code(), _root(step)
    if not step.isidentifier() or not code.has(root):
        return read(step)
    key, known = code.digest([root, "vocabulary/parameters"]), storage.noted(CACHE)
    code.remember()
    try:
        remembered_key, plain = known[step]
        if remembered_key == key:
            return _from_plain(plain)
    except (KeyError, TypeError, ValueError):  # whatever the file holds that is none of ours
        pass
    found = read(step)
    plain = _plain(found)
    if _from_plain(plain) == found:
        storage.note(CACHE, {**known, step: [key, plain]})
    return found


def take_in(own):
    """Make steps of the user's own known, as their modules are now.

    Parameters
    ----------
    own : dict
        Step -> absolute path of its module.
    """
    if own:
        step_modules.OWN.update(own)
        for remembered in (about, _code, _keywords, step_modules.own_module, step_modules.parameters_of):
            remembered.cache_clear()


def _root(step):
    """The module of a step as `codebase` calls it."""
    return step_modules.OWN.get(step, f"steps/{step}")


def read(step):
    """The same from the module itself."""
    module = step_modules.step_module(step)
    if module is None:
        return None
    if step in step_modules.OWN:
        contract.check(step, module)
    types = (tuple(getattr(module, name, ())) for name in ("REFERENCES", "OPTIONAL", "MEMBERS"))
    return Facts(step_modules.parameters_of(step), *types)


def keywords(step, arguments):
    """Keywords with limits that a step reads, called with the arguments of a chain, beside those that are always looked at."""
    return _keywords(step, tuple(sorted((name, str(value)) for name, value in arguments.items())))


@cache
def _keywords(step, arguments):
    """Those whose names stand in the code of the step, of its parts that the arguments choose, or of what these import."""
    roots = _code().of_step(step, dict(arguments), step_modules.OWN.get(step, ""))
    found = _code().words(roots)
    return tuple(keyword for keyword in limits.KNOWN if keyword in found and keyword not in limits.ALWAYS)


@cache
def _code():
    return codebase.Code()


def _plain(facts):
    by_name = {
        name: [p.default, [kind.__name__ for kind in p.types], p.choices, vars(p.limits), p.items and p.items.__name__]
        for name, p in facts.parameters.items()
    }
    return [by_name, *facts[1:]]


def _from_plain(plain):
    by_name, *types = plain
    found = {
        name: parameters.Parameter(
            name, default, tuple(TYPES[kind] for kind in kinds), tuple(choices), parameters.Range(**limits), items and TYPES[items]
        )
        for name, (default, kinds, choices, limits, items) in by_name.items()
    }
    return Facts(found, *map(tuple, types))
