"""What tells of the version says the same; the files for those who join in are as their readers want them."""

import re
import tomllib
from pathlib import Path

import yaml

from jwcal.version import VERSION

ROOT = Path(__file__).resolve().parents[2]


def test_version_changelog_and_citation():
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M).group(1)
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert VERSION == newest == str(cited["version"])
    assert {"cff-version", "message", "title", "authors"} <= set(cited)


def test_each_version_says_what_its_products_differ_in():
    for entry in re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)[1:]:
        assert "### Products" in entry or int(entry.split()[0].split(".")[2]) > 0


def test_public_checks_run_the_two_commands_on_all_that_is_promised():
    job = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["commands"]
    run = [step["run"].split(" PYTHON")[0] for step in job["steps"] if "run" in step]
    assert run == ["make demo", "make test"]
    promised = [line.split(" :: ")[-1] for line in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"].get("classifiers", ())]
    assert job["strategy"]["matrix"]["python"] == [version for version in promised if re.fullmatch(r"3\.\d+", version)]


def test_paths_that_are_named_are_there():
    for name in ("CONTRIBUTING.md", "CHANGELOG.md"):
        text = (ROOT / name).read_text()
        for path in re.findall(r"`((?:scripts|config|tests|benchmarks|docs)/[\w./-]+\.\w+)`", text) + re.findall(
            r"\]\(([\w./-]+?)[)#]", text
        ):
            assert (ROOT / path).exists(), (name, path)
