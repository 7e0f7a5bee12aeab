"""Which code and which libraries belong to a product, and which edits count."""

import pytest

from jwcal.provenance.codebase import Code
from jwcal.settings import chains

MODULES = {
    "__init__": "__version__ = '1'\n",
    "run/__init__": "",
    "run/loop": "from ..products import stored\n",
    "products/__init__": "",
    "products/stored": "import astropy.io.fits as fits\nfrom ..dq import BITS\n",
    "dq": "BITS = 4\n",
    "vocabulary/errors": "class Wrong(Exception): ...\n",
    "steps/__init__": "",
    "steps/jump": "from ..vocabulary.errors import Wrong\nfrom ..kernels.twopoint import find\n\n\n"
    "def apply(x):\n    'Find jumps.'\n    return find(x)\n",
    "steps/resample": "def apply(x):\n    from ..wide.grid import grid\n\n    import drizzle\n    return grid(x), drizzle\n",
    "kernels/__init__": "",
    "kernels/twopoint": "import math\nimport numpy as np\n\n\ndef find(x):\n    return np.diff(x) > math.pi\n",
    "wide/__init__": "from . import grid\n",
    "wide/grid": "def grid(x):\n    return x\n",
}

BOTH = {"jump": ["steps/jump"], "resample": ["steps/resample"]}


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "jwcal"
    for name, text in MODULES.items():
        (folder / f"{name}.py").parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.py").write_text(text)
    return folder


def changed(package, module, text, roots=("steps/jump",)):
    """Modules whose digest an edit changes."""
    before = Code(package).modules(roots)
    (package / f"{module}.py").write_text(text)
    after = Code(package).modules(roots)
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def test_a_step_is_made_of_what_it_imports(package):
    """What it imports inside its functions too; what only speaks to people not."""
    code = Code(package)
    shared = {"run/loop", "products/stored", "dq"}
    assert set(code.modules(["steps/jump"])) == shared | {"steps/jump", "kernels/twopoint"}
    assert set(code.modules(["steps/resample"])) == shared | {"steps/resample", "wide/grid"}
    assert code.steps_with("kernels/twopoint", BOTH) == ["jump"]
    assert code.steps_with("dq", BOTH) == []


def test_libraries_are_those_that_are_imported(package):
    libraries = Code(package).libraries(["steps/jump"])
    assert set(libraries) == {"astropy", "numpy"} and all(version[0].isdigit() for version in libraries.values())
    assert set(Code(package).libraries(["steps/resample"])) == {"astropy", "drizzle"}


@pytest.mark.parametrize(
    ("module", "old", "new", "counts"),
    [
        ("kernels/twopoint", "np.diff(x) > math.pi", "np.diff(x) > math.tau", True),
        ("kernels/twopoint", "\n\n\ndef find", "  # a library\n\n\n\n# as in the paper\ndef find", False),
        ("kernels/twopoint", "np.diff(x) > math.pi", "(\n        np.diff(x)\n        > math.pi\n    )", False),
        ("steps/jump", "'Find jumps.'", "'''Find the jumps of a ramp.'''", False),
        ("steps/jump", "    'Find jumps.'\n", "", False),
        ("steps/jump", "return find(x)", "return find(x), 'Find jumps.'", True),
        ("dq", "4", "8", True),
        ("wide/grid", "return x", "return -x", False),  # not this chain's
        ("vocabulary/errors", "Exception", "ValueError", False),
    ],
)
def test_which_edits_count(package, module, old, new, counts):
    assert old in MODULES[module]
    assert changed(package, module, MODULES[module].replace(old, new)) == ({module} if counts else set())


def test_unchanged_files_are_not_parsed_again(package, monkeypatch):
    code = Code(package)
    first = code.modules(["steps/jump"])
    code.remember()
    monkeypatch.setattr(Code, "_parse", lambda self, name, text: pytest.fail(f"{name} is parsed again"))
    assert Code(package).modules(["steps/jump"]) == first


def test_the_real_steps():
    """An edit of a kernel makes stale what it belongs to and nothing else."""
    code = Code()
    assert "kernels/jumps/twopoint_jump" in code.modules(["steps/jump"])
    assert not {"kernels/jumps/twopoint_jump", "steps/jump"} & set(code.modules(["steps/flat_field", "steps/resample", "steps/assign_wcs"]))
    assert not {"workflow/plan", "settings/config", "program/index", "crds/choose", "simulate/program"} & set(
        code.modules(["steps/jump", "steps/resample"])
    )
    assert {"numpy", "numba", "astropy"} <= set(code.libraries(["steps/jump"]))
    assert "drizzle" in code.libraries(["steps/resample"]) and "drizzle" not in code.libraries(["steps/jump"])


def test_a_step_with_several_ways_is_made_of_the_one_that_it_takes(package):
    """The table chooses: an edit of one way is none of the others' products'."""
    step = package / "steps/outliers.py"
    step.write_text('PARTS = {"mode": {"": "wide/grid", "tso": "kernels/twopoint"}}\n\n\ndef apply(x, mode):\n    return x\n')
    code = Code(package)
    assert code.of_step("outliers") == ["steps/outliers", "wide/grid"]
    assert code.of_step("outliers", {"mode": "tso"}) == ["steps/outliers", "kernels/twopoint"]
    assert "wide/grid" not in code.modules(code.of_step("outliers", {"mode": "tso"}))


def test_a_parameter_chooses_too():
    code = Code()
    usual, showers = (set(code.modules(code.of_step("jump", {"find_showers": asked}))) for asked in (False, True))
    assert showers - usual >= {"arithmetic/jumps/showers", "kernels/jumps/showers"}
    assert "arithmetic/jumps/snowballs" not in showers


def test_a_kernel_of_irs2_is_none_of_the_others():
    code = Code()
    usual, irs2 = (set(code.modules(code.of_step("refpix", arguments))) for arguments in ({}, {"readout": "irs2"}))
    assert {"kernels/detector/irs2", "kernels/detector/irs2_spectra"} <= irs2
    assert not [module for module in usual if "irs2" in module and module != "model/irs2_layout"]


def test_a_users_own_step_is_a_file_of_its_own(package, tmp_path):
    own = tmp_path / "wisps.py"
    own.write_text("def apply(x):\n    return x\n")
    code = Code(package)
    before = code.modules(code.of_step("wisps", own=own))
    own.write_text("def apply(x):\n    return 2 * x\n")
    code = Code(package)
    after = code.modules(code.of_step("wisps", own=own))
    assert {name for name in before if before[name] != after[name]} == {"own/wisps"}
    assert code.steps_with("own/wisps", {"wisps": code.of_step("wisps", own=own)}) == ["wisps"]


def test_what_a_rate_of_miri_does_not_depend_on():
    """A kernel of IRS2, a writer of spectra, a step of imaging or of stage 3: an edit of them leaves MIRI's rates alone."""
    code = Code()
    chain = chains.chain("detector1", {"EXP_TYPE": "MIR_IMAGE", "INSTRUME": "MIRI", "READPATT": "FASTR1"})
    made_of = code.modules([module for step in chain.steps for module in code.of_step(step.name, step.arguments)])
    others = {"kernels/detector/irs2", "kernels/detector/irs2_spectra", "products/spectra", "products/slits", "products/catalogues"}
    others |= {"steps/resample", "steps/tweakreg", "arithmetic/outliers/tso", "arithmetic/wcs/imaging"}
    assert all(code.has(name) for name in others)
    assert not others & set(made_of)
    assert {"arithmetic/detector/reference_pixels/miri", "kernels/ramps/ols_ramp", "run/loop", "products/stored"} <= set(made_of)
