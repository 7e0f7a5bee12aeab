"""The parameters of the real steps, against the tables of the chains."""

import pytest

from jwcal.settings import config, step_modules
from jwcal.settings.tables import table
from jwcal.vocabulary import parameters
from jwcal.vocabulary.errors import ConfigError

BUILT = [step for step in sorted(config.step_names()) if step_modules.step_module(step)]


@pytest.mark.parametrize("name", ["nothing", "a.b", "../x", ""])
def test_no_step_of_this_name(name):
    with pytest.raises(KeyError):
        step_modules.parameters_of(name)


@pytest.mark.parametrize("step", BUILT)
def test_defaults_are_allowed(step):
    """Every parameter has a default that is among what it allows, and words for what it may be."""
    for name, parameter in step_modules.parameters_of(step).items():
        assert parameters.checked(parameter, parameter.default) == parameter.default, name
        assert parameters.described(parameter), name


def refused(rows):
    """Defaults of pipelines that the configuration would not take."""
    wrong = []
    for pipeline, row in rows.items():
        for step, values in row.get("defaults", {}).items():
            try:
                config.load({"steps": {step: values}})
            except ConfigError as error:
                wrong.append((pipeline, step, str(error)))
    return wrong


def test_defaults_of_the_pipelines():
    assert refused(table("pipelines")) == []
    row = {"defaults": {"jump": {"rejection_threshold": "high"}, "ipc": {"skip": True}}}
    assert [(pipeline, step) for pipeline, step, _ in refused({"toy": row})] == [("toy", "jump")]


def test_chains_are_known_to_the_configuration():
    assert {"dq_init", "saturation", "guider_cds", "resample"} <= set(BUILT)
    assert {"ramp", "rate", "cal", "i2d"} <= config.product_suffixes()
    assert {"flat", "apcorr", "pars-jumpstep", "pars-detector1pipeline"} <= config._reference_types()
