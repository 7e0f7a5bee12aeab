"""The parameters of the real steps, against the tables of the chains."""

import pytest

from jwcal import config, parameters
from jwcal.tables import table

BUILT = [step for step in sorted(config._chain_steps()) if parameters.step_module(step)]


@pytest.mark.parametrize("name", ["nothing", "a.b", "../x", ""])
def test_no_step_of_this_name(name):
    with pytest.raises(KeyError):
        parameters.parameters_of(name)


@pytest.mark.parametrize("step", BUILT)
def test_defaults_are_allowed(step):
    """Every parameter has a default that is among what it allows, and words for what it may be."""
    for name, parameter in parameters.parameters_of(step).items():
        assert parameters.checked(parameter, parameter.default) == parameter.default, name
        assert parameters.described(parameter), name


def test_defaults_of_the_pipelines():
    for row in table("pipelines").values():
        for step, values in row.get("defaults", {}).items():
            config.load({"steps": {step: values}})


def test_chains_are_known_to_the_configuration():
    assert {"dq_init", "saturation", "guider_cds", "resample"} <= set(BUILT)
    assert {"ramp", "rate", "cal", "i2d"} <= config._suffixes()
    assert {"flat", "apcorr", "pars-jumpstep", "pars-detector1pipeline"} <= config._reference_types()
