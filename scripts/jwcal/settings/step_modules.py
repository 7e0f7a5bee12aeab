"""The modules of the steps, by the steps' names: ours, and those of the user's own."""

import hashlib
import importlib.util
import os
import sys
import traceback
import types
from functools import cache

from .. import steps
from ..vocabulary import parameters
from ..vocabulary.errors import ConfigError

OWN = {}  # step -> path of the user's module; see `facts.take_in`


def step_module(step):
    """The module of a step, or None where there is none of that name.

    Raises
    ------
    ConfigError
        The user's module can't be imported.
    """
    return own_module(step, OWN[step]) if step in OWN else _module(step)


@cache
def _module(step):
    if not step.isidentifier():
        return None
    name = f"{steps.__name__}.{step}"
    return importlib.import_module(name) if importlib.util.find_spec(name) else None


@cache
def own_module(step, path):
    """The user's module, in a package of its own that has the files beside it: `from .tools import f` finds tools.py there."""
    folder = os.path.dirname(path)
    package = f"own_{hashlib.sha256(folder.encode()).hexdigest()[:8]}"
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]  # files beside it may have changed
    sys.modules[package] = types.ModuleType(package)
    sys.modules[package].__path__ = [folder]
    importlib.invalidate_caches()
    try:
        return importlib.import_module(f"{package}.{step}")
    except Exception as error:  # whatever the user's code does
        raise ConfigError(f"the step {step} can't be imported: {in_words(error, path)}", path, "Correct it") from error


def in_words(error, path):
    """What a user's module raised, and in which of its lines."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    lines = [error.lineno] if isinstance(error, SyntaxError) and error.filename == path else lines
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {text}" + (f" (line {lines[-1]})" if lines else "")


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
