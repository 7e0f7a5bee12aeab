"""Kernels are compiled before anyone waits for them: those that a run needs, each once; and no job waits for the compiler."""

import ast
import inspect
import json
import os
import pkgutil
import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from jwcal import kernels, warm_up
from jwcal.kernels import ahead, keep, signatures
from jwcal.workflow import kernels as needs

# Kernels of options that are seldom switched on, or take long to compile.
OF_OPTIONS = {
    "cubes/shepard",  # cube_build.weighting: emsm, msm
    "detector/emi_sequential",  # emicorr.algorithm: sequential
    "detector/persistence",
    "images/coadd_variance",  # resample.error_of: area
    "jumps/likelihood_jump",  # jump.detection: likelihood
    "ramps/likely_ramp",  # ramp_fit.algorithm: LIKELY, and stripes that are read several times a frame
    "ramps/ramp_segments",  # ramp_fit.save_opt
    "spectra/background_fit",  # extract_1d.smoothing_length
}
TABLE = signatures.table()
# What is compiled for exposures of the modes' own sizes: [kernel...]
COMPILED = """
    import json, tempfile
    from pathlib import Path
    from jwcal.kernels.numba_private import COMPILE, Listener, register
    import small_exposures

    EXPOSURES = [
        {"exp_type": "NRC_IMAGE", "detector": "NRCA1", "subarray": "FULL", "ngroups": 2, "zeroframe": True},
        {"exp_type": "NRC_TSIMAGE", "detector": "NRCB1", "subarray": "SUB160P", "ngroups": 4, "nints": 4},
        {"exp_type": "NRC_DARK", "detector": "NRCALONG", "subarray": "SUB64P"},
        {"exp_type": "NIS_SOSS", "ngroups": 3, "nints": 3},
        {"exp_type": "NRS_IFU", "detector": "NRS1", "subarray": small_exposures.LINES, "readpatt": "NRSIRS2", "ngroups": 3, "nints": 2},
        {"exp_type": "NRS_BRIGHTOBJ", "detector": "NRS2", "ngroups": 3},
        {"exp_type": "MIR_IMAGE", "subarray": "FULL", "ngroups": 5, "nints": 2},
        {"exp_type": "MIR_DARKMRS", "detector": "MIRIFUSHORT", "ngroups": 5},
        {"exp_type": "FGS_IMAGE", "detector": "GUIDER1", "subarray": small_exposures.OUTPUTS},
        {"exp_type": "FGS_ID-STACK", "detector": "GUIDER2"},
    ]
    compiled = []

    class Compiler(Listener):
        def on_start(self, event):
            compiled.append(event.data["dispatcher"].py_func.__module__ + "." + event.data["dispatcher"].py_func.__name__)

        def on_end(self, event):
            pass

    with tempfile.TemporaryDirectory() as folder:
        exposures = small_exposures.simulate(Path(folder), [(options, [{}]) for options in EXPOSURES])
        register(COMPILE, Compiler())
        small_exposures.calibrate(exposures, str(Path(folder, "crds")))
    print(json.dumps(compiled))
"""


def python(code, **environment):
    """What code prints last, in a process of its own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CRDS_")}
    clean["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [clean.get("PYTHONPATH")])])
    arguments = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(arguments, env=clean | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def modules_with_kernels():
    prefix = f"{kernels.__name__}."
    found = (item.name.removeprefix(prefix).replace(".", "/") for item in pkgutil.walk_packages(kernels.__path__, prefix) if not item.ispkg)
    return [module for module in found if "/" in module and signatures.kernels(module)]


def test_the_table_has_every_kernel_that_is_called_from_python():
    """But for what belongs to options. `make signatures` brings it up to date."""
    found = {module: signatures.kernels(module) for module in modules_with_kernels()}
    called = {name for of in found.values() for kernel in of.values() for name in kernel.py_func.__code__.co_names}
    lacking = {module for module, of in found.items() for name in of if name not in called and name not in TABLE.get(module, ())}
    assert lacking == OF_OPTIONS


def test_the_table_has_the_arguments_that_the_kernels_take():
    """`make signatures` brings it up to date."""
    for module, of in TABLE.items():
        for name, texts in of.items():
            kernel = signatures.kernels(module)[name]
            for text in texts:
                inspect.signature(kernel.py_func).bind(*signatures.types_of(text))


def test_types_are_read_as_they_were_written():
    for of in TABLE.values():
        for texts in of.values():
            for text in texts:
                assert ", ".join(map(signatures.text_of, signatures.types_of(text))) == text


def test_what_an_exposure_needs():
    """And not what other pipelines, ways and steps that are switched off do."""
    images, spectra = (set(needs.needed(warm_up.recipes([kind]))) for kind in ("NRC_IMAGE", "NRS_IFU"))
    assert {"ramps/ols_ramp", "jumps/twopoint_jump", "images/flat_field"} <= images <= set(TABLE)
    assert not {"detector/irs2", "detector/emi_joint", "detector/guider_cds", "noise/flicker_noise", "jumps/showers"} & images
    assert "images/photom" not in spectra


def test_what_has_no_background_does_without_its_kernel():
    """As it does without those of steps that are off; the demo has neither."""
    recipes = warm_up.recipes(["NRC_IMAGE"])
    of_backgrounds = [replace(recipe, members=[{"path": "b_rate.fits", "exptype": "background"}]) for recipe in recipes]
    demo, alone, together = (set(needs.needed(some)) for some in (warm_up.wanted([]), recipes, of_backgrounds))
    assert together - alone == set(needs.OF_MEMBERS) <= set(TABLE)
    assert alone - demo == {"detector/ipc"}


SMALL = ["images/coadd_variance", "files/byte_order"]
COUNT = """
    import json
    from jwcal.kernels.numba_private import COMPILE, Listener, register
    from jwcal.kernels import ahead, signatures

    compiled = []
    class Compiler(Listener):
        def on_start(self, event):
            compiled.append(event.data["dispatcher"].py_func.__name__)
        def on_end(self, event):
            pass

    register(COMPILE, Compiler())
    for module in %r:
        for name, texts in signatures.table()[module].items():
            for text in texts:
                signatures.compile_for(module, name, text)
    print(json.dumps([compiled, ahead.missing(%r)]))
"""


def test_each_is_compiled_once(tmp_path):
    own = {"JWCAL_KERNELS": str(tmp_path)}
    command = [sys.executable, "-m", "jwcal.warm_up", "--processes", "2", "--modules", *SMALL]
    done = subprocess.run(command, env=os.environ | own, capture_output=True, text=True)
    said = [line for line in done.stdout.splitlines() if not line.startswith("  compiling ")]  # which a slow machine says while it waits
    assert done.returncode == 0 and said[0].startswith("2 of 2 modules") and said[1].startswith("1 of 2: ") and len(said) == 3, done.stderr
    assert python(COUNT % (SMALL, SMALL), **own) == [[], []]
    assert subprocess.run(command, env=os.environ | own, capture_output=True, text=True).stdout.startswith("0 of 2 modules")


def test_a_kernel_whose_table_is_wrong_is_left_to_the_job(tmp_path, monkeypatch):
    monkeypatch.setattr(keep, "folder", lambda: tmp_path)
    monkeypatch.setattr(signatures, "table", lambda: {"files/byte_order": {"swap_4_bytes": ["float32"]}})
    assert ahead.missing(["files/byte_order", "no/such"]) == ["files/byte_order"]
    assert "Signature mismatch" in ahead.compile_one("files/byte_order")[1]
    assert ahead.missing(["files/byte_order"]) == ["files/byte_order"]


def test_a_run_says_what_it_compiles(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(needs, "needed", lambda recipes: SMALL)
    monkeypatch.setattr(keep, "folder", lambda: tmp_path)
    monkeypatch.setenv("JWCAL_KERNELS", str(tmp_path))
    needs.compile_missing([], said.append, 1)
    first, *between, last = said
    assert (
        first.startswith("Compiling 2 of 2 modules") and str(tmp_path) in first and last.startswith("Compiled in") and last.endswith(" s.")
    )
    assert all(line.startswith("  kernels: ") for line in between)  # on a slow machine
    needs.compile_missing([], said.append, 1)
    assert len(said) == 2 + len(between)


TOLD = """
    import json, logging
    from numba import njit
    from jwcal.kernels import told

    said = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logging.getLogger("jwcal").addHandler(handler)
    logging.getLogger("jwcal").setLevel(logging.INFO)
    inner = njit(lambda x: x + 1)
    outer = njit(lambda x: inner(x))
    with told.say_what_is_compiled():
        outer(1), outer(2)
    outer(1.0)
    print(json.dumps(said))
"""


def test_what_a_job_compiles_is_a_line_in_its_log():
    (line,) = python(TOLD)
    assert line.startswith("numba compiled __main__.<lambda> in ")


@pytest.mark.full
def test_nothing_is_compiled_afterwards(tmp_path):
    own = {"JWCAL_KERNELS": str(tmp_path)}
    subprocess.run([sys.executable, "-m", "jwcal.warm_up", "--all", "--quiet"], env=os.environ | own, check=True)
    assert python(COMPILED, **own) == []


def imported_by_syntax(file):
    """The files of the package that a source file imports."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = file.parents[node.level - 1].joinpath(*filter(None, (node.module or "").split(".")))
            yield from (path for path in [base.with_suffix(".py"), *(base / f"{alias.name}.py" for alias in node.names)] if path.is_file())


def test_a_kernel_s_key_is_of_all_that_it_imports():
    for module in modules_with_kernels():
        found = [keep.PACKAGE / "kernels" / f"{module}.py"]
        for file in found:
            found += [path for path in imported_by_syntax(file) if path not in found]
        assert keep.imported(module) == {str(file.relative_to(keep.PACKAGE / "kernels").with_suffix("")) for file in found[1:]}, module


def test_an_edit_compiles_again_just_what_it_concerns(tmp_path, monkeypatch):
    """And another checkout of the same code has the same keys."""
    ours = {module: keep.place(module).name for module in TABLE}
    shutil.copytree(keep.PACKAGE / "kernels", tmp_path / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(keep, "PACKAGE", tmp_path)

    def theirs():
        keep.digest.cache_clear(), keep._read.cache_clear()
        return {module: keep.place(module).name for module in TABLE}

    try:
        assert theirs() == ours
        with (tmp_path / "kernels/ramps/ols_segments.py").open("a") as file:
            file.write("ADDED = 1\n")
        changed = {module for module, name in theirs().items() if name != ours[module]}
        assert "ramps/ols_ramp" in changed
        assert changed == {module for module in TABLE if "ramps/ols_segments" in {module, *keep.imported(module)}}
    finally:
        keep.digest.cache_clear(), keep._read.cache_clear()
