"""Every parameter of every step has its line in the documentation, and nothing else stands there."""

import inspect
import json
import re
import sys

import pytest

from jwcal.settings import config, facts, pars, saved, step_modules, texts
from peer import peer_python

BUILT = [step for step in sorted(config.step_names()) if step_modules.step_module(step)]


@pytest.mark.parametrize("step", BUILT)
def test_every_parameter_has_its_line(step):
    """In the section `Parameters` of the docstring of `apply`, "a : float" and the text below it."""
    found = texts.of_step(step)
    assert found.line.endswith(".") and len(found.line) > 10
    wanted = set(facts.about(step).parameters) - {"skip"}
    assert {name for name, text in found.parameters.items() if text} == wanted, f"no line: {sorted(wanted - set(found.parameters))}"
    assert all(len(texts.first_sentence(text)) < 240 for text in found.parameters.values())


@pytest.mark.parametrize("step", BUILT)
def test_nothing_is_described_that_is_not_there(step):
    apply = step_modules.step_module(step).apply
    section = texts.SECTION.search((inspect.getdoc(apply) or "") + "\n")
    heads = [line for line in section[1].splitlines() if line and not line[0].isspace()] if section else []
    described = {name for head in heads for name in re.split(r", | \.\.\. ", head.partition(" : ")[0])}
    assert described <= set(inspect.signature(apply).parameters)


def test_shared_entries():
    section = "a, b : float\n    Both. More.\nc ... e\n    Those.\nexposure : Exposure\n    None of the user's.\n"
    names = ["a", "b", "c", "d", "e"]
    assert texts._entries(section, names) == {"a": "Both. More.", "b": "Both. More.", "c": "Those.", "d": "Those.", "e": "Those."}
    assert texts.first_sentence("Of 1.5 pixels, e.g. of stars. More of it.") == "Of 1.5 pixels, e.g. of stars"


# --- parameters in files ---


@pytest.mark.parametrize("ending", ["yaml", "asdf"])
def test_saved_parameters_are_read_again(tmp_path, ending):
    steps = {step: {name: p.default for name, p in facts.about(step).parameters.items()} for step in ("jump", "ramp_fit", "exp_to_source")}
    steps["jump"] |= {"rejection_threshold": 7.5, "detection": "likelihood", "skip": True}
    saved.write(tmp_path / f"pars.{ending}", steps, "detector1")
    assert pars.read_parameters(str(tmp_path / f"pars.{ending}")) == steps
    saved.write(tmp_path / f"step.{ending}", {"jump": steps["jump"]})
    assert pars.read_parameters(str(tmp_path / f"step.{ending}")) == {"jump": steps["jump"]}


def test_all_our_own_parameters_are_named():
    """What stands apart in the archive's form is a parameter, and every step but our own has a class."""
    for step, names in saved.OWN.items():
        assert set(names) <= set(facts.about(step).parameters), step
    assert [step for step in BUILT if not saved._class_of(step)] == ["exp_to_source"]


PEER = """
from stpipe.config_parser import load_config_file
from stpipe.utilities import import_class
cases = json.loads(str(cases))
said = {}
for path, dotted in cases:
    step = import_class(dotted).from_config_file(path)
    jump = getattr(step, "jump", step)
    said[path] = [type(step).__name__, jump.rejection_threshold, bool(jump.skip)]
out["said"] = np.frombuffer(json.dumps(said).encode(), np.uint8)
"""


@pytest.mark.parity
def test_the_peer_reads_what_is_saved(tmp_path):
    """All parameters of a pipeline and of each step, in the archive's form: the peer makes its steps of them."""
    defaults = {step: {name: p.default for name, p in facts.about(step).parameters.items()} for step in BUILT}
    defaults["jump"]["rejection_threshold"] = 7.5
    whole = {step: defaults[step] for step in ("dq_init", "saturation", "superbias", "refpix", "jump", "ramp_fit", "gain_scale")}
    saved.write(tmp_path / "pipeline.asdf", whole, "detector1")
    saved.write(tmp_path / "jump.asdf", {"jump": defaults["jump"]})
    cases = [(str(tmp_path / "pipeline.asdf"), "jwst.pipeline.Detector1Pipeline"), (str(tmp_path / "jump.asdf"), "jwst.step.JumpStep")]
    said = json.loads(bytes(peer_python("import json\n" + PEER, cases=json.dumps(cases))["said"]))
    assert said == {cases[0][0]: ["Detector1Pipeline", 7.5, False], cases[1][0]: ["JumpStep", 7.5, False]}


def test_texts_need_no_step_imported():
    import subprocess

    code = "import sys; from jwcal.settings import texts; texts.of_step('jump'); assert not {'numba', 'astropy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
