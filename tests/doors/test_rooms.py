"""The house is what docs/architecture.md says: which room imports from which, what no step names, who knows what. By syntax tree."""

import ast
from functools import cache
from pathlib import Path

import pytest

from jwcal.settings.tables import table

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "scripts/jwcal"
# A room imports only from itself and from those before it, anywhere in its code.
ROOMS = (
    "version",
    "vocabulary",
    "machine",
    "kernels",
    "files",
    "model",
    "arithmetic",
    "steps",
    "crds",
    "provenance",
    "settings",
    "products",
    "program",
    "archive",
    "associations",
    "run",
    "workflow",
    "simulate",
    "report",
    "notebook",
    "api",
    "commands",
)
DOORS = ("__init__", "__main__", "jobs", "warm_up")  # they come after all rooms
MODULES = sorted(PACKAGE.rglob("*.py"))
NAMES = [path.relative_to(PACKAGE).with_suffix("").as_posix() for path in MODULES]


@cache
def tree(name):
    return ast.parse((PACKAGE / f"{name}.py").read_text())


def is_module(parts):
    path = PACKAGE.joinpath(*parts)
    return path.with_suffix(".py").is_file() or path.is_dir()


def imported(name):
    """(line, module) of what a module imports of the package, wherever in it: "kernels/ramps/ols_ramp"."""
    here = name.split("/")[:-1]
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            for parts in (alias.name.split(".") for alias in node.names):
                if parts[0] == "jwcal":
                    yield node.lineno, "/".join(parts[1:])
        elif isinstance(node, ast.ImportFrom):
            inside = (node.module or "").split(".") if node.module else []
            if node.level:
                inside = here[: len(here) - node.level + 1] + inside
            elif inside[0] == "jwcal":
                inside = inside[1:]
            else:
                continue
            for alias in node.names:
                parts = [*inside, alias.name]
                yield node.lineno, "/".join(parts if is_module(parts) else inside)


def libraries(name):
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def room(module):
    return module.split("/")[0]


def in_rooms(*rooms):
    return [name for name in NAMES if room(name) in rooms]


def test_every_module_is_in_a_room():
    assert {room(name) for name in NAMES} == {*ROOMS, *DOORS}


@pytest.mark.parametrize("one", ROOMS)
def test_rooms_import_from_those_before_them(one):
    before = ROOMS[: ROOMS.index(one) + 1]
    wrong = [f"{n}:{line} {module}" for n in in_rooms(one) for line, module in imported(n) if room(module) not in before]
    assert not wrong


def test_kernels_import_only_kernels():
    assert not [f"{n}:{line} {module}" for n in in_rooms("kernels") for line, module in imported(n) if room(module) != "kernels"]


def test_no_step_imports_a_step():
    assert not [f"{n}:{line} {module}" for n in in_rooms("steps") for line, module in imported(n) if room(module) == "steps"]


def test_parts_are_arithmetic():
    """What a step imports by the table's argument is a room before it too."""
    for name in in_rooms("steps"):
        for node in tree(name).body:
            if isinstance(node, ast.Assign) and [getattr(target, "id", "") for target in node.targets] == ["PARTS"]:
                for module in (m for ways in ast.literal_eval(node.value).values() for m in ways.values()):
                    assert room(module) == "arithmetic" and module in NAMES, (name, module)


# --- who opens files ---

OPENERS = ("astropy.io", "asdf", "fitsio", "h5py", "tempfile", "shutil")
NO_OPENERS = ("astropy.io.fits.Header", "astropy.io.fits.card")
WORDS = {"another", "understood"}  # of files.reference_file: what is wrong with what a reference holds, in words
CALLS = {"open", "read_text", "read_bytes", "write_text", "write_bytes", "loadtxt", "genfromtxt", "fromfile", "tofile", "memmap", "writeto"}

OF_KERNELS = {"kernels/__init__", "kernels/keep", "kernels/ahead", "kernels/signatures"}  # the table, and where what is compiled is kept


@pytest.mark.parametrize("name", [n for n in in_rooms("steps", "arithmetic", "kernels") if n not in OF_KERNELS])
def test_steps_and_arithmetic_open_no_file(name):
    """They have `refs` and `members`, `model.named_files` for what a parameter names, and `machine.scratch`."""
    of_files = {module for _, module in imported(name) if room(module) == "files"}
    assert of_files <= {"files/reference_file"}
    wrong = [f"{line} {m}" for line, m in libraries(name) if m.startswith(OPENERS) and not m.startswith(NO_OPENERS)]
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").endswith("reference_file"):
            wrong += [f"{node.lineno} {alias.name}" for alias in node.names if alias.name not in WORDS]
        elif isinstance(node, ast.Call):
            called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            of_table = called == "read" and getattr(getattr(node.func, "value", None), "id", "").endswith("Table") and node.args
            in_memory = of_table and "StringIO" in ast.dump(node.args[0])
            of_members = called == "open" and getattr(getattr(node.func, "value", None), "id", "") == "members"
            wrong += [] if of_members else [f"{node.lineno} {called}()"] if called in CALLS or (of_table and not in_memory) else []
    assert not wrong


# --- what steps do not name ---

INSTRUMENTS = {"NIRCAM", "NIRISS", "NIRSPEC", "MIRI", "FGS", "GUIDER"}


@pytest.mark.parametrize("name", in_rooms("steps", "kernels"))
def test_steps_name_no_instrument_and_no_exp_type(name):
    """Which of them does what, the tables of config/ say."""
    forbidden = INSTRUMENTS | set(table("exp_types")["exp_types"]) | {"EXP_TYPE", "INSTRUME"}
    texts = [(n.lineno, n.value) for n in ast.walk(tree(name)) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    assert not [f"{line} {text!r}" for line, text in texts if text.strip() in forbidden]


# --- who knows Snakemake ---


@pytest.mark.parametrize("name", [n for n in NAMES if room(n) != "workflow"])
def test_only_workflow_and_rules_know_snakemake(name):
    assert not [f"{line} {module}" for line, module in libraries(name) if module.split(".")[0].startswith("snakemake")]


# --- the doors' texts ---


@pytest.mark.parametrize("one", [r for r in ROOMS if (PACKAGE / r).is_dir()])
def test_each_room_says_what_it_is(one):
    """Two lines: what it knows; what it does not know, or who else does it."""
    text = ast.get_docstring(tree(f"{one}/__init__")) or ""
    lines = [line for line in text.splitlines() if line.strip()]
    assert len(lines) >= 2 and text.endswith("."), text


@pytest.mark.parametrize("one", sorted(p.relative_to(PACKAGE).as_posix() for p in PACKAGE.glob("*/*/") if (p / "__init__.py").exists()))
def test_each_subject_says_what_it_is(one):
    assert ast.get_docstring(tree(f"{one}/__init__")), one
