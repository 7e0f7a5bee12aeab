"""The modules of the steps, by the steps' names."""

import importlib.util
from functools import cache

from .. import steps
from ..vocabulary import parameters


@cache
def step_module(step):
    """The module of a step, or None where there is none of that name."""
    if not step.isidentifier():
        return None
    name = f"{steps.__name__}.{step}"
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
    return parameters.declared_by(module)
