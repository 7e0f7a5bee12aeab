"""What the kernels are called with: a table of argument types, from which they can be compiled before anyone calls them.

`signatures.json` has {module: {kernel: [types of the arguments...]}}, written as numba writes them, but for a named tuple: its module and
name with the types of its fields. `make signatures` brings the table up to date. A kernel that is not in it belongs to an option; it is
compiled by the job that calls it first.
"""

import ast
import importlib
import json
import re
import sys
from functools import cache
from pathlib import Path

from numba import types

from .numba_private import Dispatcher

TABLE = Path(__file__).with_suffix(".json")


@cache
def table():
    """The table: {"ramps/ols_ramp": {"fit_ramps": [text...]}}."""
    return json.loads(TABLE.read_text())


def imported(module):
    """A module of kernels: "ramps/ols_ramp"."""
    return importlib.import_module(f"{__package__}.{module.replace('/', '.')}")


def kernels(module):
    """The kernels that a module has, not those that it imports: {name: Dispatcher}."""
    found = imported(module)
    return {name: item for name, item in vars(found).items() if isinstance(item, Dispatcher) and item.py_func.__module__ == found.__name__}


def loaded():
    """The kernels that this process has compiled or loaded, as the table has them: but for those that only others of their module call."""
    prefix = f"{__package__}."
    modules = sorted(name.removeprefix(prefix).replace(".", "/") for name in sys.modules if name.startswith(prefix) and name != __name__)
    found = {module: {name: texts(kernel) for name, kernel in _met(kernels(module)).items() if kernel.signatures} for module in modules}
    return {module: of for module, of in found.items() if of}


def _met(found):
    """Those of a module's kernels that are called from outside."""
    inner = {name for kernel in found.values() for name in kernel.py_func.__code__.co_names if name.startswith("_")}
    return {name: kernel for name, kernel in found.items() if name not in inner}


def texts(kernel):
    """What a kernel is compiled for, in order."""
    return sorted(", ".join(map(text_of, signature)) for signature in kernel.signatures)


def compile_for(module, name, text):
    """Compile a kernel, or load it where it is kept.

    Raises
    ------
    Exception
        The table is not of this kernel: numba's own, or KeyError where it is gone.
    """
    kernels(module)[name].compile(types_of(text))


def types_of(text):
    """numba's types of the arguments that a text of the table names."""
    return _value(ast.parse(f"({text},)", mode="eval").body, _Names()) if text else ()


def _value(node, names):
    """What a text of the table stands for: words, calls, tuples, whole numbers and the axes of arrays, and nothing else."""
    if isinstance(node, ast.Name):
        return names[node.id]
    if isinstance(node, ast.Attribute):
        return getattr(_value(node.value, names), node.attr)
    if isinstance(node, ast.Call):
        named = {one.arg: _value(one.value, names) for one in node.keywords}
        return _value(node.func, names)(*(_value(one, names) for one in node.args), **named)
    if isinstance(node, ast.Tuple):
        return tuple(_value(one, names) for one in node.elts)
    if isinstance(node, ast.Subscript):
        return _value(node.value, names)[_value(node.slice, names)]
    if isinstance(node, ast.Slice):
        return slice(*(None if end is None else _value(end, names) for end in (node.lower, node.upper, node.step)))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand, names)
    if isinstance(node, ast.Constant):
        return node.value
    raise KeyError(f"{ast.unparse(node)} means nothing in the table")


def text_of(kind):
    """A type as the table has it."""
    if isinstance(kind, (types.NamedTuple, types.NamedUniTuple)):
        of = kind.instance_class
        return f"{of.__module__.removeprefix(f'{__package__}.')}.{of.__name__}({', '.join(map(text_of, kind.types))})"
    if kind == types.slice2_type:
        return "slice2_type"
    if isinstance(kind, types.UniTuple):
        return f"UniTuple({text_of(kind.dtype)}, {kind.count})"
    if isinstance(kind, types.BaseTuple):
        return f"Tuple(({', '.join(map(text_of, kind.types))},))"
    if isinstance(kind, types.Array) and kind.layout in "AC" and kind.mutable and kind.aligned:
        axes = [":"] * kind.ndim
        if kind.layout == "C":
            axes[-1] = "::1"
        return f"{text_of(kind.dtype)}[{','.join(axes)}]" if kind.ndim else repr(kind)
    return re.sub(r"^Literal\[\w+\]\((.*)\)$", r"literal(\1)", repr(kind))


class _Names(dict):
    """What the words of the table mean: numba's types, or the subject of a module that has a named tuple."""

    def __missing__(self, word):
        return getattr(types, word, None) or _Named(word)


class _Named:
    """A named tuple of a module of kernels, "ramps.ols_ramp.Bits"; called with types of its fields it is a type."""

    def __init__(self, *parts):
        self._parts = parts

    def __getattr__(self, part):
        return _Named(*self._parts, part)

    def __call__(self, *fields):
        *module, name = self._parts
        return types.BaseTuple.from_types(fields, getattr(imported("/".join(module)), name))
