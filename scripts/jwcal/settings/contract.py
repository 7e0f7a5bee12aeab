"""What a module has to be so that it is a step: asked of users' own ones, whose mistakes are said in words."""

import inspect
import typing

from ..vocabulary import parameters
from ..vocabulary.errors import ConfigError

NAMES = ("REFERENCES", "OPTIONAL", "MEMBERS", "NEEDS")
TYPES = (type(None), bool, int, float, str, list)  # of parameters
DO = "Write `def apply(exposure, refs, *, strength: float = 1.0)`; see docs/own_steps.md"


def check(step, module):
    """Make sure that a user's module is a step.

    Raises
    ------
    ConfigError
        It has no `apply`, or one that can't be called as a step's; it names its references in another way.
    """
    path = module.__file__
    apply = getattr(module, "apply", None)
    if not inspect.isfunction(apply):
        raise ConfigError(f"the step {step} has no function `apply`", path, DO)
    for name in NAMES:
        value = getattr(module, name, ())
        if not isinstance(value, (tuple, list)) or not all(isinstance(kind, str) for kind in value):
            raise ConfigError(f"{name} is {value!r}, not a tuple of names", path, f'Write {name} = ("name",), with the comma')
    arguments = list(inspect.signature(apply).parameters.values())
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    data, others = arguments[:2], arguments[2:]
    if len(data) < 2 or any(argument.kind not in positional for argument in data):
        raise ConfigError(f"`apply` of the step {step} does not take an exposure and its references", path, DO)
    hints = _hints(apply, path)
    for argument in others:
        if argument.kind in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD):
            raise ConfigError(f"`apply` of the step {step} takes {str(argument)}: its parameters have no names", path, DO)
        if argument.kind is not argument.KEYWORD_ONLY:
            raise ConfigError(
                f"`apply` of the step {step} has the positional parameter {argument.name}", path, f"{DO}: a * stands before it"
            )
        if argument.name not in hints or argument.default is argument.empty:
            raise ConfigError(f"the parameter {argument.name} of the step {step} has no type or no default", path, DO)
    for parameter in parameters.declared_by(module).values():
        strange = [kind for kind in parameter.types if kind not in TYPES]
        if strange:
            raise ConfigError(f"the parameter {parameter.name} of the step {step} has a type that is not for a configuration", path, DO)
        try:
            parameters.checked(parameter, parameter.default)
        except ValueError as problem:
            raise ConfigError(f"the default of the parameter {parameter.name} of the step {step} {problem}", path, "Correct it") from None


def _hints(apply, path):
    try:
        return typing.get_type_hints(apply, include_extras=True)
    except Exception as error:  # a name in an annotation that is not there
        raise ConfigError(f"the types of `apply` can't be read ({type(error).__name__}: {error})", path, DO) from None
