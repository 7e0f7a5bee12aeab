"""The configuration: what it refuses and in which words, what it takes, and where each parameter came from."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Literal

import numpy as np
import pytest
import yaml

from jwcal.crds.session import environment_of
from jwcal.files.home import home
from jwcal.settings import config, facts, step_modules
from jwcal.settings.config import load
from jwcal.settings.tables import table
from jwcal.vocabulary.errors import ConfigError
from jwcal.vocabulary.parameters import Parameter, Range


def jump(
    exposure,
    refs,
    internal=None,
    *,
    rejection_threshold: Annotated[float, Range(min=0)] = 4.0,
    fraction: Annotated[float, Range(0, 1)] | None = None,
    minimum_groups: int = 3,
    flag_4_neighbors: bool = True,
    algorithm: Literal["OLS_C", "LIKELY"] = "OLS_C",
    degree: Literal[None, 1, 2] = None,
    fillval: str = "NAN",
    crpix: list[float] | None = None,
    output_shape: list | None = None,
):
    return exposure


STEPS = {
    "jump": SimpleNamespace(apply=jump, REFERENCES=("gain", "readnoise"), OPTIONAL=("wobble",)),
    "ipc": SimpleNamespace(apply=lambda exposure, refs: exposure, SKIP=True),
    "resample": SimpleNamespace(apply=lambda exposure, refs: exposure),
}
PIPELINES = {
    "detector1": {
        "crds": "detector1pipeline",
        "steps": ["ipc", "jump", {"save": {"uncal": "ramp"}, "optional": True}, "ramp_fit", {"save": ["rate", "rateints"]}],
    },
    "image2": {
        "crds": "image2pipeline",
        "steps": [{"save": {"rate": "cal"}}],
        "variants": [{"when": {}, "steps": [{"step": "resample", "when": {}}, {"save": "i2d"}]}],
    },
}


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    """Steps and chains of the test's own, so that it does not hang on what others do: ramp_fit is in a chain and not built."""
    caches = (config._entries, config._reference_types, config._warn_once, step_modules.parameters_of)
    monkeypatch.setattr(step_modules, "step_module", STEPS.get)
    monkeypatch.setattr(facts, "about", facts.read)
    monkeypatch.setattr(config, "table", lambda name: PIPELINES if name == "pipelines" else table(name))
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def test_defaults(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load({}) == load(yaml.safe_load((home() / "config" / "config.yaml").read_text())) == load(None)
    found = load({})
    assert found.data == (tmp_path / "data",) and found.results == Path("results") and found.until == "stage3"
    assert found.crds == {"context": None, "environment": environment_of(None, None)}
    assert found.overrides({}) == {} and found.save == () and found.associations == "generate"


def test_every_key_has_a_comment_and_a_place_in_the_schema():
    lines = (home() / "config" / "config.yaml").read_text().splitlines()
    keys = [i for i, line in enumerate(lines) if line and not line.startswith(("#", " "))]
    assert all(lines[i - 1].startswith("#") or lines[i] == "references:" for i in keys)
    names = {lines[i].split(":")[0] for i in keys}
    assert names == set(table("schema")["properties"])
    assert names == {"data", "results", "until", "associations", "links", "references", "steps", "exp_types", "save", "insert"}
    assert set(table("config")["references"]) == {"crds_path", "crds_context", "crds_server_url", "overrides"}


def override(kind, **more):
    return {"references": {"overrides": {kind: "N/A"}, **more}}


def override_list(**entry):
    return {"references": {"overrides": [{"files": {"flat": "N/A"}}, entry]}}


WRONG = [
    # typos
    ({"dat": "x"}, "dat: there is no such key. The nearest is data"),
    ({"references": {"crds_contxt": "x"}}, "references.crds_contxt: there is no such key. The nearest is crds_context"),
    ({"until": "stage4"}, "until must be stage1, stage2 or stage3, not 'stage4'. The nearest is stage"),
    ({"steps": {"jmp": {"skip": True}}}, "steps.jmp: there is no step 'jmp'. The nearest is jump"),
    ({"steps": {"jump": {"rejection": 3}}}, "parameter of jump called 'rejection'. The nearest is rejection_threshold"),
    ({"steps": {"jump": {"internal": 3}}}, "steps.jump.internal: there is no parameter of jump called 'internal'"),
    (
        {"steps": {"jump": {"algorithm": "LIKLY"}}},
        "steps.jump.algorithm must be one of 'OLS_C', 'LIKELY', not 'LIKLY'. The nearest is LIKELY",
    ),
    ({"exp_types": {"NRC_IMAG": {}}}, "exp_types.NRC_IMAG: there is no EXP_TYPE 'NRC_IMAG'. The nearest is NRC_IMAGE"),
    ({"exp_types": {"NRC_IMAGE": {"jmp": {}}}}, "exp_types.NRC_IMAGE.jmp: there is no step 'jmp'. The nearest is jump"),
    ({"exp_types": {"NRC_IMAGE": {"jump": {"skp": True}}}}, "exp_types.NRC_IMAGE.jump.skp: .* The nearest is skip"),
    (override("flt"), "references.overrides.flt: there is no reference type 'flt'. The nearest is flat"),
    (override_list(match={"DETECTR": "x"}, files={"flat": "N/A"}), r"overrides\[1\].match.DETECTR: .* The nearest is DETECTOR"),
    (override_list(match={"detector": "x"}, files={"flat": "N/A"}), r"overrides\[1\].match: 'detector' is not the name of a FITS keyword"),
    (override_list(mach={}, files={"flat": "N/A"}), r"overrides\[1\].mach: there is no such key. The nearest is match"),
    (override_list(match={}), r"overrides\[1\]: files is missing"),
    (override_list(files={"flt": "N/A"}), r"overrides\[1\].files.flt: .* The nearest is flat"),
    ({"save": ["rmp"]}, r"save\[0\]: there is no product suffix 'rmp'. The nearest is ramp"),
    ({"save": ["ramp", "xyzzy"]}, r"save\[1\]: there is no product suffix 'xyzzy'. There are cal, i2d, ramp"),
    # types
    ([1], r"the configuration must be a mapping of the keys in config/config.yaml, not \[1\]"),
    (
        {"data": 1234},
        r"data must be a folder, a file, a list of them, or {program: 1234}, not 1234. Write ./1234 .* {program: 1234} for the archive",
    ),
    ({"data": []}, r"data must be a folder, a file, a list of them, or {program: 1234}, not \[\]"),
    ({"data": ""}, "data must be a folder"),
    ({"data": ["a", 3]}, r"data\[1\] must be a path, not 3"),
    ({"data": {"programme": 1}}, "data.programme: there is no such key. The nearest is program"),
    ({"data": {"observation": 1}}, "data: program is missing. Write {program: 1234}"),
    ({"data": {"program": "NGC 1"}}, "data.program must be the number of a program, not 'NGC 1'"),
    ({"data": {"program": 123456}}, "data.program must be the number of a program, not 123456"),
    ({"data": {"program": True}}, "data.program must be the number of a program, not True"),
    ({"data": {"program": 1, "observation": [1, "b"]}}, r"data.observation\[1\] must be the number of an observation, not 'b'"),
    ({"data": {"program": 1, "observation": 0}}, "data.observation must be the number of an observation"),
    ({"data": {"program": 1, "mode": 3}}, "data.mode must be a mode as the archive calls it"),
    ({"data": None}, "data must be a folder, a file, a list of them, or {program: 1234}, not None"),
    ({"results": 5}, "results must be a path, not 5"),
    ({"associations": True}, "associations must be generate, or a file"),
    ({"references": "x"}, "references must be a mapping"),
    ({"references": {"crds_path": 3}}, "references.crds_path must be a folder, not 3"),
    ({"references": {"overrides": "x"}}, "references.overrides must be {type: path}, or a list"),
    ({"references": {"overrides": {"flat": 3}}}, "references.overrides.flat must be a path, or N/A, not 3"),
    ({"references": {"overrides": ["x"]}}, r"references.overrides\[0\] must be {match"),
    ({"steps": ["jump"]}, "steps must be {step: {parameter: value}}"),
    ({"steps": {"jump": 3}}, "steps.jump must be {parameter: value}, not 3"),
    ({"steps": {"jump": {"skip": "yes"}}}, "steps.jump.skip must be true or false, not 'yes'"),
    ({"steps": {"jump": {"rejection_threshold": "high"}}}, "rejection_threshold must be a number of at least 0, not 'high'"),
    ({"steps": {"jump": {"rejection_threshold": None}}}, "rejection_threshold must be a number of at least 0, not None"),
    ({"steps": {"jump": {"rejection_threshold": True}}}, "rejection_threshold must be a number of at least 0, not True"),
    ({"steps": {"jump": {"rejection_threshold": -1}}}, "rejection_threshold must be a number of at least 0, not -1"),
    ({"steps": {"jump": {"rejection_threshold": float("nan")}}}, "rejection_threshold must be a number of at least 0, not nan"),
    ({"steps": {"jump": {"fraction": 1.5}}}, "fraction must be a number from 0 to 1 or null, not 1.5"),
    ({"steps": {"jump": {"minimum_groups": 2.5}}}, "minimum_groups must be a whole number, not 2.5"),
    ({"steps": {"jump": {"degree": 3}}}, "degree must be one of 1, 2 or null, not 3"),
    ({"steps": {"jump": {"crpix": [1, "a"]}}}, r"crpix must be a list or null, not \[1, 'a'\]"),
    ({"steps": {"jump": {"crpix": 3}}}, "crpix must be a list or null, not 3"),
    ({"steps": {"jump": {"fillval": [3]}}}, r"fillval must be text, not \[3\]"),
    ({"exp_types": {"NRC_IMAGE": 3}}, "exp_types.NRC_IMAGE must be {step: {parameter: value}}, not 3"),
    ({"save": 3}, "save must be a list of suffixes"),
    ({"save": [3]}, r"save\[0\] must be the suffix of a product"),
    # what is not there
    ({"steps": {"ramp_fit": {}}}, "steps.ramp_fit: the step ramp_fit is not available in this version"),
    ({"references": {"overrides": {"flat": "no.fits"}}}, "references.overrides.flat: there is no file /.*/no.fits"),
    (override_list(files={"flat": "no.fits"}), r"references.overrides\[1\].files.flat: there is no file"),
]


@pytest.mark.parametrize("given, message", WRONG, ids=[str(given) for given, _ in WRONG])
def test_wrong(given, message):
    with pytest.raises(ConfigError, match=message):
        load(given)


def test_the_first_of_several_errors_is_told():
    with pytest.raises(ConfigError):
        load({"dat": 1, "until": 3, "steps": {"x": 1}})


def test_right(tmp_path, monkeypatch):
    """Every key with all that it may hold, from paths and numpy's numbers too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CACHE_OF_A_TEST", str(tmp_path / "crds"))
    (tmp_path / "flat.fits").write_text("")
    found = load(
        {
            "data": ["a", Path("b_uncal.fits"), "/c"],
            "results": "out",
            "until": "stage1",
            "associations": ["x_asn.json"],
            "references": {
                "crds_path": "$CACHE_OF_A_TEST",
                "crds_context": "jwst_1.pmap",
                "overrides": {"flat": "flat.fits", "wobble": "N/A"},
            },
            "steps": {"jump": {"rejection_threshold": np.float32(5), "skip": False}, "ipc": None},
            "exp_types": {"NRC_IMAGE": {"jump": {"crpix": (1, 2)}}},
            "save": "ramp",
        }
    )
    assert found.data == (tmp_path / "a", tmp_path / "b_uncal.fits", Path("/c"))
    assert found.results == Path("out") and found.until == "stage1" and found.save == ("ramp",)
    assert found.associations == (tmp_path / "x_asn.json",)
    assert found.crds == {"context": "jwst_1.pmap", "environment": environment_of(str(tmp_path / "crds"), None)}
    assert found.steps == {"jump": {"rejection_threshold": 5.0, "skip": False}, "ipc": {}}
    assert found.exp_types == {"NRC_IMAGE": {"jump": {"crpix": [1.0, 2.0]}}}
    assert found.override("flat", {}) == str(tmp_path / "flat.fits") and found.override("wobble", {}) == "N/A"
    assert found.override("dark", {}) is None
    with pytest.raises(AttributeError):
        found.until = "stage2"


def test_empty_sections():
    """Sections whose lines are all commented out are None in YAML."""
    assert load(dict.fromkeys(["references", "steps", "exp_types", "save"])) == load({})
    assert load({"references": {"overrides": None}}) == load({})


@pytest.mark.parametrize("name", ["1e-5", "1E3", 7, 7.0, np.int64(7), "0.5"])
def test_numbers_that_yaml_reads_as_text(name):
    found = load({"steps": {"jump": {"rejection_threshold": name}}}).steps["jump"]["rejection_threshold"]
    assert found == float(name) and type(found) is float


def test_whole_numbers():
    found = load({"steps": {"jump": {"minimum_groups": 4.0, "degree": 2, "fillval": 0}}}).steps["jump"]
    assert found == {"minimum_groups": 4, "degree": 2, "fillval": "0"} and type(found["minimum_groups"]) is int
    assert load({"steps": {"jump": {"degree": None}}}).steps["jump"] == {"degree": None}


def test_overrides_for_some_exposures(tmp_path):
    """Of the entries that fit, the first one that names the type."""
    for name in "abc":
        (tmp_path / name).write_text("")
    a, b, c = (str(tmp_path / name) for name in "abc")
    found = load(
        {
            "references": {
                "overrides": [
                    {"match": {"DETECTOR": "NRCA1", "FILTER": ["F2*", "F070W"]}, "files": {"flat": a}},
                    {"match": {"DETECTOR": "NRCA1"}, "files": {"flat": b, "dark": b}},
                    {"files": {"gain": c, "dark": "N/A", "area": "crds://jwst_area_1.fits"}},
                ]
            }
        }
    )
    everywhere = {"gain": c, "area": "crds://jwst_area_1.fits"}
    assert found.overrides({"DETECTOR": "NRCA1", "FILTER": "F200W"}) == {"flat": a, "dark": b, **everywhere}
    assert found.overrides({"DETECTOR": "NRCA1", "FILTER": "F115W"}) == {"flat": b, "dark": b, **everywhere}
    assert found.overrides({"DETECTOR": "NRCA2"}) == {"dark": "N/A", **everywhere}
    assert found.override("flat", {"DETECTOR": "NRCA2"}) is None
    assert load(override("pars-jumpstep")).override("pars-jumpstep", {}) == "N/A"
    assert load(override("pars-detector1pipeline")).override("pars-detector1pipeline", {}) == "N/A"


def test_layers():
    """Step < pipeline < pars reference < steps < exp_types, and each value tells which."""
    found = load(
        {
            "steps": {"jump": {"rejection_threshold": 6, "minimum_groups": 5}},
            "exp_types": {"NRC_IMAGE": {"jump": {"rejection_threshold": 7}}, "NRC_WFSS": {"ipc": {"skip": False}}},
        }
    )
    pars = {"rejection_threshold": 5.0, "minimum_groups": 4, "fraction": 0.5, "algorithm": "LIKELY"}
    values, sources = found.step_parameters("jump", "NRC_IMAGE", pars, {"fraction": 0.1, "degree": 1})
    expected = {
        "rejection_threshold": (7.0, "exp_types.NRC_IMAGE.jump.rejection_threshold"),
        "minimum_groups": (5, "steps.jump.minimum_groups"),
        "fraction": (0.5, "pars reference"),
        "algorithm": ("LIKELY", "pars reference"),
        "degree": (1, "pipeline"),
        "fillval": ("NAN", "default"),
        "skip": (False, "default"),
    }
    assert {name: (values[name], sources[name]) for name in expected} == expected
    assert set(values) == set(sources) == set(step_modules.parameters_of("jump"))
    assert found.step_parameters("jump", "MIR_IMAGE")[0]["rejection_threshold"] == 6.0
    assert found.step_parameters("ipc", "NRC_IMAGE") == ({"skip": True}, {"skip": "default"})
    assert found.step_parameters("ipc", "NRC_WFSS") == ({"skip": False}, {"skip": "exp_types.NRC_WFSS.ipc.skip"})


@pytest.mark.parametrize(
    "name, written, meant",
    [
        ("rejection_threshold", "5.5", 5.5),
        ("rejection_threshold", 5, 5.0),
        ("fraction", "None", None),
        ("fraction", "0.25", 0.25),
        ("minimum_groups", 3.0, 3),
        ("minimum_groups", "4", 4),
        ("flag_4_neighbors", "False", False),
        ("flag_4_neighbors", True, True),
        ("degree", "None", None),
        ("degree", "2", 2),
        ("fillval", "None", "None"),
        ("crpix", "1.5, 2", [1.5, 2.0]),
        ("crpix", "[1.5 2]", [1.5, 2.0]),
        ("crpix", "none", None),
        ("crpix", [1, 2], [1.0, 2.0]),
        ("output_shape", [10, 20], [10, 20]),
        ("skip", "true", True),
    ],
)
def test_values_of_pars_references(name, written, meant):
    values, sources = load({}).step_parameters("jump", "NRC_IMAGE", {name: written})
    assert values[name] == meant and type(values[name]) is type(meant)
    assert sources[name] == "pars reference"


def test_pars_that_can_not_be_used(caplog):
    """What a new reference says about things that this version does not have is told once and left out."""
    pars = {"new_option": 3, "algorithm": "NEWEST", "rejection_threshold": -4, "minimum_groups": 5}
    plumbing = {"pre_hooks": [], "post_hooks": [], "output_dir": "", "output_ext": ".fits", "save_results": True, "maximum_cores": "none"}
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            values, sources = load({}).step_parameters("jump", "NRC_IMAGE", {**pars, **plumbing})
    assert values["minimum_groups"] == 5
    assert (values["algorithm"], values["rejection_threshold"]) == ("OLS_C", 4.0)
    assert sources["algorithm"] == "default"
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 3
    assert "new_option" in messages[0] and "'NEWEST'" in messages[1] and "-4" in messages[2]


# --- parameters ---


def test_parameters_from_a_signature():
    found = step_modules.parameters_of("jump")
    assert list(found)[:3] == ["skip", "rejection_threshold", "fraction"] and "internal" not in found
    none = type(None)
    assert found["rejection_threshold"] == Parameter("rejection_threshold", 4.0, (float, int), limits=Range(min=0))
    assert found["fraction"] == Parameter("fraction", None, (none, float, int), limits=Range(0, 1))
    assert found["degree"] == Parameter("degree", None, (none, int), (None, 1, 2))
    assert found["crpix"] == Parameter("crpix", None, (none, list), items=float)
    assert found["flag_4_neighbors"] == Parameter("flag_4_neighbors", True, (bool,))
    assert step_modules.parameters_of("ipc")["skip"].default is True
