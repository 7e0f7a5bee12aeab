"""What a step's keyword arguments say about its parameters: names, types, limits, defaults."""

import inspect
import math
import re
import types
import typing
from dataclasses import dataclass


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
    items: type = None  # of a list's elements, where it says


def declared_by(module):
    """The parameters that a step's module declares, by name, `skip` included."""
    found = {"skip": Parameter("skip", getattr(module, "SKIP", False), (bool,))}
    hints = typing.get_type_hints(module.apply, include_extras=True)
    for argument in inspect.signature(module.apply).parameters.values():
        if argument.kind is argument.KEYWORD_ONLY:
            found[argument.name] = _parameter(argument.name, argument.default, hints[argument.name])
    return found


def _parameter(name, default, hint):
    allowed, choices, limits, items = _read_hint(hint)
    if float in allowed:
        allowed.add(int)
    return Parameter(name, default, tuple(sorted(allowed, key=lambda t: t.__name__)), choices, limits, items)


def _read_hint(hint):
    """Types, choices, limits and type of list elements that an annotation allows."""
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        parts = [_read_hint(part) for part in inside]
        allowed, choices = set().union(*(part[0] for part in parts)), sum((part[1] for part in parts), ())
        return allowed, choices, next((p[2] for p in parts if p[2] != Range()), Range()), next((p[3] for p in parts if p[3]), None)
    if origin is typing.Annotated:
        allowed, choices, limits, items = _read_hint(inside[0])
        return allowed, choices, next((part for part in inside[1:] if isinstance(part, Range)), limits), items
    if origin is typing.Literal:
        return {type(choice) for choice in inside}, inside, Range(), None
    if origin in (list, tuple):
        return {list}, (), Range(), inside[0] if isinstance(inside[0], type) else None
    return {list if hint is tuple else hint}, (), Range(), None


def checked(parameter, value):
    """The value as the step takes it: a whole number for a float parameter becomes a float, "1e-5" too.

    Parameters
    ----------
    parameter : Parameter
    value
        None, bool, int, float, str or list.

    Raises
    ------
    ValueError
        It can't be one; says what would be: "must be a number of at least 0, not 'high'".
    """
    for kind in (type(None), bool, float, int, str, list):
        if kind not in parameter.types:
            continue
        try:
            found = _CONVERTERS[kind](value)
            if kind is list and parameter.items is not None:
                found = [_CONVERTERS[parameter.items](item) for item in found]
        except (ValueError, TypeError, OverflowError):
            continue
        if _is_choice(parameter, found, kind) and _in_limits(parameter.limits, found):
            return found
    raise ValueError(f"must be {described(parameter)}, not {value!r}")


def from_archive(parameter, value):
    """The same for a value of a pars- reference, where None, logicals and lists may be written as text."""
    if isinstance(value, str):
        text = value.strip()
        special = {"none": None, "null": None, "true": True, "false": False}
        if text.lower() in special and not (str in parameter.types and text in parameter.choices):
            wanted = special[text.lower()]
            if type(wanted) in parameter.types:
                value = wanted
        elif list in parameter.types and str not in parameter.types:
            value = [part for part in re.split(r"[,\s]+", text.strip("[]()")) if part]
    return checked(parameter, value)


def described(parameter):
    """What a parameter may be, in words."""
    limits = Range(
        *(None if end is None else int(end) if float(end).is_integer() else end for end in (parameter.limits.min, parameter.limits.max))
    )
    if limits.min is not None and limits.max is not None:
        within = f" from {limits.min} to {limits.max}"
    else:
        within = f" of at least {limits.min}" if limits.min is not None else f" of at most {limits.max}" if limits.max is not None else ""
    if parameter.choices:
        named = [repr(choice) for choice in parameter.choices if choice is not None]
        kinds = [f"one of {', '.join(named)}" if len(named) > 1 else named[0]]
        names = {kind: name for kind, name in _WORDS.items() if kind not in {type(choice) for choice in parameter.choices}}
    else:
        kinds, names = [], _WORDS
    kinds += [name + within * (kind in (int, float)) for kind, name in names.items() if kind in parameter.types]
    if float in parameter.types:
        kinds = [name for name in kinds if not name.startswith("a whole number")]
    return " or ".join(kinds + ["null"] * (type(None) in parameter.types))


_WORDS = {bool: "true or false", float: "a number", int: "a whole number", str: "text", list: "a list"}


def _is_choice(parameter, value, kind):
    """Whether a value is among the choices, if there are any for values of its type."""
    same = [choice for choice in parameter.choices if type(choice) is kind]
    return value in same if same else True


def _in_limits(limits, value):
    if limits == Range() or not isinstance(value, (int, float)):
        return True
    low, high = limits.min, limits.max
    return (low is None or value >= low) and (high is None or value <= high)


def _none(value):
    if value is not None:
        raise ValueError
    return None


def _bool(value):
    if not isinstance(value, bool):
        raise ValueError
    return value


def _float(value):
    if isinstance(value, bool):
        raise ValueError
    return float(value)


def _int(value):
    number = _float(value)
    if not math.isfinite(number) or number != int(number):
        raise ValueError
    return int(number) if not isinstance(value, int) else value


def _str(value):
    """Numbers become text: a fill value may be given as 0."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError
    return str(value)


def _list(value):
    if not isinstance(value, (list, tuple)):
        raise ValueError
    return list(value)


_CONVERTERS = {type(None): _none, bool: _bool, float: _float, int: _int, str: _str, list: _list}
