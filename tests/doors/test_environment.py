"""The checkout itself: pins, the direction of imports, the style of the rules."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

import jwcal
from jwcal.settings.tables import table
from jwcal.vocabulary import dq

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "scripts/jwcal"
BIN = Path(sys.executable).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))


def test_this_checkout_is_tested():
    assert Path(jwcal.__file__).resolve().parent == PACKAGE


def test_conda_has_the_pins_of_pip():
    pins = [line for line in (ROOT / "envs/requirements.txt").read_text().splitlines() if line and not line.startswith("#")]
    conda = yaml.safe_load((ROOT / "envs/jwcal.yaml").read_text())
    (of_pip,) = (item["pip"] for item in conda["dependencies"] if isinstance(item, dict))
    assert of_pip == pins
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)


WITH_OTHERS = {"llvmlite", "markupsafe", "specutils"}  # numba and jinja2 bring them; specutils is only for those who have it


def test_what_is_imported_is_declared_loosely():
    """Each package by the oldest series, without an upper end; pins are in envs/, tools of the tests an extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert all(re.fullmatch(r"[\w.-]+>=[\d.]+", one) for one in project["dependencies"])
    declared = {one.partition(">=")[0].replace("-", "_").lower() for one in project["dependencies"]}
    names = packages_distributions()
    others = {name for path in SOURCES for name in imported(path)} - set(sys.stdlib_module_names) - WITH_OTHERS
    missing = {name for name in others if not declared & {one.replace("-", "_").lower() for one in names.get(name, [name])}}
    assert "numpy" in others and not missing - {"jwcal"}
    assert not declared & {"pytest", "hypothesis", "ruff", "snakefmt"}


def test_data_quality_bits_are_the_missions():
    from stdatamodels.jwst.datamodels.dqflags import pixel

    assert dict(pixel) == dq.BY_NAME


def imported(path):
    """Top-level names of the packages that a module imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.partition(".")[0]


def test_the_peer_is_never_imported():
    found = {(path.name, name) for path in SOURCES for name in imported(path)}
    assert ("fitsio.py", "astropy") in found, "the scan sees nothing"
    assert not [(module, name) for module, name in found if name in ("jwst", "stcal", "stpipe")]


def test_no_exp_type_outside_the_tables():
    """EXP_TYPE decides in config/, never in a step or a kernel."""
    names = "|".join(sorted(table("exp_types")["exp_types"], key=len, reverse=True))
    literal = re.compile(rf"\b({names})\b|EXP_TYPE")
    places = [path for folder in ("steps", "kernels") for path in sorted((PACKAGE / folder).glob("*.py"))]
    assert len(places) > 20
    found = [
        (path.name, node.value)
        for path in places
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and literal.search(node.value) and not _is_docstring(node, path)
    ]
    assert not found


def _is_docstring(constant, path):
    """Whether a text is the documentation of something."""
    documented = (ast.Module, ast.FunctionDef, ast.ClassDef)
    nodes = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, documented))
    return any(ast.get_docstring(node, clean=False) == constant.value for node in nodes)


# --- rules ---

RULE_FILES = sorted((ROOT / "rules").glob("*.smk"))
DIRECTIVES = ("output", "log", "conda", "threads", "resources")


def rules(path):
    """Name and text of each rule in a file."""
    parts = re.split(r"^ *rule *(\w*):\n", path.read_text(), flags=re.MULTILINE)
    return list(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("path", [ROOT / "Snakefile", *RULE_FILES], ids=lambda path: path.name)
def test_rule_files_tell_what_they_are_for(path):
    opening = ast.get_docstring(ast.parse(path.read_text().split('"""\n')[0] + '"""\n'))
    assert opening, "no docstring at the top"
    if path in RULE_FILES:
        assert "REQUIRED INPUTS:" in opening and "OUTPUTS:" in opening
    for name, text in rules(path):
        assert text.lstrip().startswith('"""'), f"{name} has no docstring"


@pytest.mark.parametrize("path", RULE_FILES, ids=lambda path: path.name)
def test_rules_have_all_directives_and_named_files(path):
    for name, text in rules(path):
        given = re.findall(r"^ +(\w+):(?: |$)", text, flags=re.MULTILINE)
        missing = [directive for directive in DIRECTIVES if directive not in given]
        if path.name != "refuse.smk":  # which only ever fails
            missing += [directive for directive in ("input", "shell") if directive not in given]
        assert not missing, f"{name or path.name}: no {missing}"
        for directive in {"input", "output"} & set(given):
            items = re.search(rf"^( +){directive}:\n((?:\1 +.*\n)+)", text, flags=re.MULTILINE).group(2).splitlines()
            assert all(re.match(r" *(\w+=|\*\*)", item) for item in items), f"{name}: {directive} without a name"


def test_snakefmt():
    done = subprocess.run([BIN / "snakefmt", "--check", "Snakefile", "rules"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_lint(tiny, tmp_path):
    """With data of both stages, so that their rules are there."""
    settings = [f"data={tiny.image.parent}", f"results={tmp_path}", f"references={{crds_path: {tiny.crds}}}"]
    command = [BIN / "snakemake", "--lint", "-s", ROOT / "Snakefile", "--config", *settings]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "in a good condition" in done.stdout + done.stderr, done.stdout + done.stderr
