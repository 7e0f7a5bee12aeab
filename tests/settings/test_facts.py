"""What is remembered of the steps against what their modules say."""

import subprocess
import sys

import pytest

from jwcal.model import ramp, sizes
from jwcal.provenance import codebase
from jwcal.settings import config, facts, step_modules

BUILT = [step for step in sorted(config.step_names()) if step_modules.step_module(step)]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A memory of the test's own."""
    monkeypatch.setattr(facts, "CACHE", tmp_path / "facts.json")
    facts.about.cache_clear()
    yield facts.CACHE
    facts.about.cache_clear()


@pytest.mark.parametrize("step", BUILT)
def test_remembered_as_the_module_says(step, cache, monkeypatch):
    assert facts.about(step) == facts.read(step)
    facts.about.cache_clear()
    monkeypatch.setattr(facts, "read", None)
    assert facts.about(step) == facts.Facts(step_modules.parameters_of(step), *facts.about(step)[1:]), "not remembered"


def test_read_again_when_the_code_changes(cache, monkeypatch):
    first = facts.about("jump")
    facts.about.cache_clear()
    monkeypatch.setattr(codebase.Code, "digest", lambda self, names: "other")
    monkeypatch.setattr(facts, "read", lambda step: first._replace(members=("background",)))
    assert facts.about("jump").members == ("background",)


@pytest.mark.parametrize("content", ["{", "[]", '{"jump": 1}', '{"jump": ["x"]}'])
def test_a_broken_memory_is_none(cache, content):
    cache.write_text(content)
    assert facts.about("jump") == facts.read("jump")


@pytest.mark.parametrize("step", ["nothing", "a.b", "../x", ""])
def test_no_step_of_this_name(step):
    assert facts.about(step) is None


def test_sizes():
    assert (ramp.LARGE, ramp.PIECE) == (sizes.LARGE, sizes.PIECE)


def test_planning_imports_nothing_heavy():
    code = "import sys; from jwcal.workflow import plan; assert not {'astropy', 'numba', 'scipy', 'crds', 'asdf'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
