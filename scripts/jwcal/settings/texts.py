"""What the documentation of the steps says: a line on each, a line on each parameter. Read from the source, which is not imported."""

import ast
import importlib.util
import inspect
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from .. import steps
from . import step_modules

SECTION = re.compile(r"^Parameters\n-{3,}\n(.*?)(?=^\w[\w ]*\n-{3,}\n|\Z)", re.MULTILINE | re.DOTALL)
ENTRY = re.compile(r"^(\w[\w, .]*?)(?: : (.*))?$")


class Text(NamedTuple):
    """The documentation of a step."""

    line: str  # what it does, in one sentence
    parameters: dict  # name -> text, whole


@cache
def of_step(step):
    """The documentation of a step, by name; empty texts where there is none.

    The parameters are those of a numpydoc section `Parameters` in the docstring of `apply`. Some may share an entry: "a, b : float", or
    "a ... z" for all from a to z in the order of the signature.
    """
    path = _file(step)
    tree = ast.parse(Path(path).read_text()) if path else ast.Module([], [])
    apply = next((node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "apply"), None)
    line = (ast.get_docstring(tree) or "").partition("\n\n")[0].replace("\n", " ").strip()
    if apply is None:
        return Text(line, {})
    names = [argument.arg for argument in apply.args.kwonlyargs]
    found = SECTION.search((ast.get_docstring(apply) or "") + "\n")
    return Text(line, _entries(found[1], names) if found else {})


def _file(step):
    if step in step_modules.OWN:
        return step_modules.OWN[step]
    spec = importlib.util.find_spec(f"{steps.__name__}.{step}") if step.isidentifier() else None
    return spec.origin if spec else None


def _entries(section, names):
    """name -> text of the entries of a section, but for those that are no parameters of the user's."""
    found, mine, body = {}, [], []
    for line in [*section.splitlines(), "end"]:
        if line.startswith((" ", "\t")) or not line.strip():
            body.append(line)
            continue
        text = " ".join(inspect.cleandoc("\n".join(body)).split())
        found.update(dict.fromkeys(mine, text))
        entry, body = ENTRY.match(line), []
        mine = _named(entry[1], names) if entry else []
    return {name: text for name, text in found.items() if name in names}


def _named(text, names):
    """The names in the head of an entry."""
    first, dots, last = text.partition(" ... ")
    if dots and first in names and last in names:
        return names[names.index(first) : names.index(last) + 1]
    return [name.strip() for name in text.split(",")]


def first_sentence(text):
    """The first sentence of a text: up to a full stop that ends one."""
    found = re.match(r"(.*?[.;:])(?: (?=[A-Z]|None:|True:|False:|0:|1:)|$)", text)
    return (found[1] if found else text).rstrip(".;:")
