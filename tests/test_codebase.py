"""Which code and which libraries belong to a product, and which edits count."""

import pytest

from jwcal.provenance.codebase import Code

MODULES = {
    "__init__": "__version__ = '1'\n",
    "run": "from . import products\n",
    "products": "import astropy.io.fits as fits\nfrom .dq import BITS\n",
    "dq": "BITS = 4\n",
    "errors": "class Wrong(Exception): ...\n",
    "steps/__init__": "",
    "steps/jump": "from ..errors import Wrong\nfrom ..kernels.twopoint import find\n\n\n"
    "def apply(x):\n    'Find jumps.'\n    return find(x)\n",
    "steps/resample": "def apply(x):\n    from ..wide.grid import grid\n\n    import drizzle\n    return grid(x), drizzle\n",
    "kernels/__init__": "",
    "kernels/twopoint": "import math\nimport numpy as np\n\n\ndef find(x):\n    return np.diff(x) > math.pi\n",
    "wide/__init__": "from . import grid\n",
    "wide/grid": "def grid(x):\n    return x\n",
}


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "jwcal"
    for name, text in MODULES.items():
        (folder / f"{name}.py").parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.py").write_text(text)
    return folder


def changed(package, module, text, steps=("jump",)):
    """Modules whose digest an edit changes."""
    before = Code(package).modules(steps)
    (package / f"{module}.py").write_text(text)
    after = Code(package).modules(steps)
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def test_a_step_is_made_of_what_it_imports(package):
    """What it imports inside its functions too; what only speaks to people not."""
    code = Code(package)
    shared = {"run", "products", "dq"}
    assert set(code.modules(["jump"])) == shared | {"steps/jump", "kernels/twopoint"}
    assert set(code.modules(["resample"])) == shared | {"steps/resample", "wide/grid"}
    assert code.steps_with("kernels/twopoint", ["jump", "resample"]) == ["jump"]
    assert code.steps_with("dq", ["jump", "resample"]) == []


def test_libraries_are_those_that_are_imported(package):
    libraries = Code(package).libraries(["jump"])
    assert set(libraries) == {"astropy", "numpy"} and all(version[0].isdigit() for version in libraries.values())
    assert set(Code(package).libraries(["resample"])) == {"astropy", "drizzle"}


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
        ("errors", "Exception", "ValueError", False),
    ],
)
def test_which_edits_count(package, module, old, new, counts):
    assert old in MODULES[module]
    assert changed(package, module, MODULES[module].replace(old, new)) == ({module} if counts else set())


def test_unchanged_files_are_not_parsed_again(package, monkeypatch):
    code = Code(package)
    first = code.modules(["jump"])
    code.remember()
    monkeypatch.setattr(Code, "_parse", lambda self, name, text: pytest.fail(f"{name} is parsed again"))
    assert Code(package).modules(["jump"]) == first


def test_the_real_steps():
    """An edit of a kernel makes stale what it belongs to and nothing else."""
    code = Code()
    assert "kernels/twopoint_jump" in code.modules(["jump"])
    assert not {"kernels/twopoint_jump", "steps/jump"} & set(code.modules(["flat_field", "resample", "assign_wcs"]))
    assert not {"plan", "config", "program", "references", "simulate/program"} & set(code.modules(["jump", "resample"]))
    assert {"numpy", "numba", "astropy"} <= set(code.libraries(["jump"]))
    assert "drizzle" in code.libraries(["resample"]) and "drizzle" not in code.libraries(["jump"])
