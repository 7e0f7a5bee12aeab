"""Which of our modules, and which libraries, shape a product: a digest of what their code means, comments and layout aside."""

import ast
import hashlib
import os
import re
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..files import home, storage

PACKAGE = Path(__file__).resolve().parents[1]
SHARED = ("run/loop", "products/stored")  # what every product goes through, whatever its steps
# Modules that products are not made by: what they say to people, that they are found, or where memory comes from, is not in the pixels.
NOT_IN_PRODUCTS = {
    "vocabulary/errors",
    "vocabulary/nearest",
    "vocabulary/parameters",
    "settings/contract",
    "settings/facts",
    "settings/step_modules",
    "provenance/records",
    "files/fingerprint",
    "machine/memory",
}
FORMAT = 5  # of what is remembered of a module
LIMITS = "vocabulary/limits"  # the list of all keywords is no reading of one
WORD = re.compile(r"[A-Z][A-Z0-9_-]{1,7}")  # what may be the name of a keyword
NOT_IN_NUMBERS = {"yaml"}
DISTRIBUTIONS = {"spherical_geometry": "spherical-geometry"}  # where the name differs from what is imported


@cache
def _version(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


class Code:
    """The package's source files, as they are now.

    Parameters
    ----------
    package : path
        Digests are remembered (`home.notes`) by the content of the files: parsing all of them takes most of a second.
    """

    def __init__(self, package=PACKAGE):
        self.package = Path(package)
        self._cached = home.notes(self.package) / "codebase.json"
        self._remembered = storage.noted(self._cached)
        self._files, self._used, self._parsed = {}, {}, {}
        self._asked = {}  # thousands of exposures share a few chains

    def of_step(self, name, arguments=None, own=""):
        """The modules that a step is made of, before their imports are followed: its own, and the parts that its arguments choose.

        A step that has several ways says so in a literal, `PARTS = {"mode": {"tso": "arithmetic/outliers/tso"...}}`, and imports the
        one that it is called with: an edit of one way leaves the products of the others alone.

        Parameters
        ----------
        name : str
        arguments : dict, optional
            Those that `config/pipelines.yaml` gives the step, and its parameters.
        own : path, optional
            The user's own module.
        """
        module = str(own) or f"steps/{name}"
        ways = self.parsed(module)["parts"] if self.has(module) else {}
        chosen = (by_value.get(str((arguments or {}).get(argument, ""))) for argument, by_value in ways.items())
        return [module, *filter(None, chosen)]

    def modules(self, roots):
        """Some modules and all that they import, those of every product among them: {"steps/jump": digest...}."""
        return self._once(self._find_modules, tuple(roots))

    def _find_modules(self, roots):
        found = {}
        for name in sorted(self.closure([*SHARED, *roots])):
            label = _label(name)  # two folders of the user's may have files of one name
            found[label] = " ".join(filter(None, [found.get(label), self.parsed(name)["digest"]]))
        return found

    def libraries(self, roots):
        """The libraries that these modules import: {distribution: version}."""
        return self._once(self._find_libraries, tuple(roots))

    def _find_libraries(self, roots):
        named = set().union(*(self.parsed(name)["libraries"] for name in self.closure([*SHARED, *roots])))
        versions = {name: _version(name) for name in sorted({DISTRIBUTIONS.get(n, n) for n in named - NOT_IN_NUMBERS})}
        return {name: found for name, found in versions.items() if found}

    def steps_with(self, module, steps):
        """Those of the steps that a module belongs to; none where all products share it.

        Parameters
        ----------
        module : str
        steps : dict
            Step -> what `of_step` gives for it.
        """
        return self._once(self._find_steps, module, tuple((step, tuple(roots)) for step, roots in steps.items()))

    def _find_steps(self, module, steps):
        if module in map(_label, self.closure(SHARED)):
            return []
        return [step for step, roots in steps if module in map(_label, self.closure(roots))]

    def _once(self, find, *question):
        if (find.__name__, question) not in self._asked:
            self._asked[find.__name__, question] = find(*question)
        return self._asked[find.__name__, question]

    def own(self, path):
        """A module of the user's own, and those beside it that it imports, as a record calls them: {"own/wisps": digest...}."""
        return {name: digest for name, digest in self.modules([path]).items() if name.startswith("own/")}

    def has(self, name):
        """Whether there is such a module: "steps/jump"."""
        return self._file(name) is not None

    def digest(self, names):
        """One digest of some modules and all that they import."""
        found = sorted(self.closure(names) | set(names))
        return hashlib.sha256(" ".join(self.parsed(name)["digest"] for name in found).encode()).hexdigest()[:24]

    def closure(self, names):
        """Some modules and all that they import from the package."""
        found, waiting = set(), list(names)
        while waiting:
            name = waiting.pop()
            if name not in found and name not in NOT_IN_PRODUCTS and self._file(name):
                found.add(name)
                waiting += self.parsed(name)["modules"]
        return found

    def parsed(self, name):
        """What is in a module: its digest, the modules and the libraries that it imports, its parts, words that may be keywords."""
        if name not in self._parsed:
            with open(self._file(name), "rb") as file:
                text = file.read()
            key = f"{name} {FORMAT} {hashlib.sha256(text).hexdigest()[:24]}"
            self._parsed[name] = self._used[key] = self._remembered.get(key) or self._parse(name, text)
        return self._parsed[name]

    def words(self, names):
        """Words that stand in some modules and in all that they import: one of them may be the name of a keyword that is read."""
        return set().union(*(self.parsed(name)["words"] for name in self.closure(names) - {LIMITS}))

    def remember(self):
        """Keep the digests for the next time."""
        if not self._used.keys() <= self._remembered.keys():
            others = {key: found for key, found in self._remembered.items() if key.split()[0] not in self._parsed}
            self._remembered = self._used | others
            storage.note(self._cached, self._remembered)

    def _file(self, name):
        if name not in self._files:
            paths = (f"{self.package}/{name}.py", f"{self.package}/{name}/__init__.py")  # every job asks for dozens, so no Path
            paths = (name, f"{name}.py") if name.startswith("/") else paths  # of the user's own
            self._files[name] = next((path for path in paths if os.path.isfile(path)), None)
        return self._files[name]

    def _parse(self, name, text):
        tree = ast.parse(text)
        parts = {}
        for node in tree.body:
            if isinstance(node, ast.Assign) and [getattr(target, "id", "") for target in node.targets] == ["PARTS"]:
                parts = ast.literal_eval(node.value)
        here = name.split("/") if self._file(name).endswith("__init__.py") else name.split("/")[:-1]
        found, outside = set(), set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                within = self._within(node, here)
                if within is None:
                    outside.add(node.module.split(".")[0])
                else:
                    found |= self._modules_of(within, [alias.name for alias in node.names])
            elif isinstance(node, ast.Import):
                names = [alias.name.split(".") for alias in node.names]
                outside |= {first for first, *_ in names}
                found |= {"/".join(inner) for first, *inner in names if first == self.package.name and self._file("/".join(inner))}
        return {
            "digest": hashlib.sha256(_meaning(tree).encode()).hexdigest()[:16],
            "modules": sorted(found),
            "parts": parts,
            "words": sorted({node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and _is_word(node.value)}),
            "libraries": sorted(outside - set(sys.stdlib_module_names) - {self.package.name}),
        }

    def _within(self, node, here):
        """The part of the package that names are imported from, as a list of folders; None where it is a library."""
        if node.level:
            return here[: len(here) - node.level + 1] + (node.module.split(".") if node.module else [])
        parts = node.module.split(".")
        return parts[1:] if parts[0] == self.package.name else None

    def _modules_of(self, within, names):
        """Modules that `from within import names` loads: the names that are modules themselves, else the one that has them."""
        inner = {"/".join([*within, name]) for name in names}
        files = {name for name in inner if self._file(name)}
        return files if files == inner or not within else files | {"/".join(within)}


def _is_word(value):
    return isinstance(value, str) and WORD.fullmatch(value) is not None


def _label(name):
    """How a record calls a module: one of the user's own by its file alone."""
    return f"own/{os.path.basename(name).removesuffix('.py')}" if name.startswith("/") else name


def _meaning(tree):
    """A module's code without what does not change what it does: docstrings, and by `ast` comments and layout."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
                node.body = node.body[1:]
    return ast.dump(tree)
