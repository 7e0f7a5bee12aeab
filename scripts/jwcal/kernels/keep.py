"""Where compiled kernels are kept: one folder a source file, named after its content and that of all that it imports from the package.

numba by itself looks only at the place and the time of the file that has the function. So every checkout compiled anew, and after an
edit in a file that a kernel calls into it returned yesterday's answer. Here all checkouts of a machine share what is compiled, an
edit compiles again just the kernels that it concerns, and numba's own key adds the processor.
"""

import hashlib
import os
import re
from functools import cache
from pathlib import Path

import numba

from .numba_private import LOCATORS, UserProvidedCacheLocator

PACKAGE = Path(__file__).resolve().parents[1]
IMPORTED = re.compile(rb"^\s*from (\.+)([\w.]*) import \(?([^#\n]*)", re.M)


def install():
    """Have numba keep this package's kernels in `folder`; a user's own NUMBA_CACHE_DIR or list of locators stays as it is."""
    if "NUMBA_CACHE_DIR" not in os.environ and not numba.config.CACHE_LOCATOR_CLASSES:
        numba.config.CACHE_LOCATOR_CLASSES = ",".join([f"{__name__}.Locator", *LOCATORS])


@cache
def folder():
    """Where kernels are kept: NUMBA_CACHE_DIR, JWCAL_KERNELS, or the user's cache folder, or the package's own if that can't be written."""
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "jwcal", "kernels")
    asked = os.environ.get("NUMBA_CACHE_DIR"), os.environ.get("JWCAL_KERNELS")
    for path in filter(None, (*asked, user, PACKAGE / "__pycache__" / "kernels")):
        try:
            os.makedirs(path, exist_ok=True)
        except OSError:
            continue
        if os.access(path, os.W_OK):
            return Path(path)
    raise OSError("no folder for compiled kernels can be written: set JWCAL_KERNELS to one")


@cache
def digest(path):
    """Digest of a source file and of all that it imports from the package, whatever the checkout's place."""
    parts = sorted((str(file.relative_to(PACKAGE)), _read(file)[0]) for file in _closure(Path(path).resolve()))
    return hashlib.sha256(repr((numba.__version__, parts)).encode()).hexdigest()[:20]


@cache
def _read(file):
    """Digest of one file, and the package's files that it imports."""
    text = file.read_bytes()
    imported = [_modules(file, *match) for match in IMPORTED.findall(text)]
    return hashlib.sha256(text).hexdigest(), [path for paths in imported for path in paths if PACKAGE in path.parents]


def _modules(file, dots, module, names):
    base = file.parents[len(dots) - 1].joinpath(*module.decode().split(".")) if module else file.parents[len(dots) - 1]
    if base.with_suffix(".py").is_file():
        return [base.with_suffix(".py")]
    inner = [base / f"{name.split()[0]}.py" for name in names.decode().split(",") if name.strip(" ()")]
    return [path for path in inner if path.is_file()]


def place(module):
    """The folder of one module's kernels: "ramps/ols_ramp"."""
    file = PACKAGE / "kernels" / f"{module}.py"
    return folder() / f"{file.stem}-{digest(file)}"


def imported(module):
    """The modules of kernels that one of them imports, and those that these import."""
    return {str(file.relative_to(PACKAGE / "kernels").with_suffix("")) for file in _closure(PACKAGE / "kernels" / f"{module}.py")[1:]}


def length(module):
    """Bytes of a module's source and of all that it imports: the more, the longer it takes to compile."""
    return sum(file.stat().st_size for file in _closure(PACKAGE / "kernels" / f"{module}.py"))


def _closure(file):
    """A source file, and the package's files that it imports, and that these import."""
    found = [file]
    for file in found:  # it grows
        found += [path for path in dict.fromkeys(_read(file)[1]) if path not in found]
    return found


class Locator(UserProvidedCacheLocator):
    """Tells numba where a kernel of this package is kept."""

    def __init__(self, py_func, py_file):
        super().__init__(py_func, py_file)
        self._digest = digest(py_file)
        self._cache_path = str(folder() / f"{Path(py_file).stem}-{self._digest}")

    @classmethod
    def from_function(cls, py_func, py_file):
        """The locator, or None for a function that is not of this package."""
        if PACKAGE not in Path(py_file).resolve().parents:
            return None
        locator = cls(py_func, py_file)
        locator.ensure_cache_path()
        return locator

    def get_source_stamp(self):
        return self._digest
