"""What a step's keyword arguments say about its parameters: names, types, limits, defaults."""

import importlib
import inspect
import types
import typing
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Range:
    """Limits of a number, both included: `Annotated[float, Range(min=0)]`."""

    min: float = None
    max: float = None


@dataclass(frozen=True)
class Parameter:
    """One parameter of a step."""

    name: str
    default: object
    types: tuple  # of Python types; NoneType among them where None is allowed
    choices: tuple = ()
    limits: Range = Range()


@cache
def step_module(step):
    """The module of a step, or None where there is none of that name."""
    name = f"{__package__}.steps.{step}"
    return importlib.import_module(name) if importlib.util.find_spec(name) else None


@cache
def parameters_of(step):
    """The parameters of a step, by name, `skip` included.

    Raises
    ------
    KeyError
        There is no step of this name.
    """
    module = step_module(step)
    if module is None:
        raise KeyError(step)
    found = {"skip": Parameter("skip", getattr(module, "SKIP", False), (bool,))}
    hints = typing.get_type_hints(module.apply, include_extras=True)
    for argument in inspect.signature(module.apply).parameters.values():
        if argument.kind is argument.KEYWORD_ONLY:
            found[argument.name] = _parameter(argument.name, argument.default, hints[argument.name])
    return found


def _parameter(name, default, hint):
    allowed, choices, limits = set(), (), Range()
    for part in typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,):
        if typing.get_origin(part) is typing.Annotated:
            part, limits = typing.get_args(part)[:2]
        if typing.get_origin(part) is typing.Literal:
            choices = typing.get_args(part)
            allowed.update(type(choice) for choice in choices)
        else:
            allowed.add(typing.get_origin(part) or part)
    if float in allowed:
        allowed.add(int)
    return Parameter(name, default, tuple(sorted(allowed, key=lambda t: t.__name__)), choices, limits)
