"""After `python -m jwcal.warm_up` no job waits for the compiler."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

# Kernels of options that are seldom switched on, or take long to compile.
OF_OPTIONS = {
    "emi_sequential",  # emicorr.algorithm: sequential
    "likelihood_jump",  # jump.detection: likelihood
    "likely_ramp",  # ramp_fit.algorithm: LIKELY, and stripes that are read several times a frame
    "persistence",
    "ramp_segments",  # ramp_fit.save_opt
}
# Those that are called from Python, and are not loaded after warm_up: {module: [kernel...]}. Those that only kernels call come with them.
UNUSED = """
    import collections, importlib, json, pkgutil
    from numba.core.dispatcher import Dispatcher
    from jwcal import kernels, warm_up

    warm_up.main()
    modules = [importlib.import_module(f"jwcal.kernels.{found.name}") for found in pkgutil.iter_modules(kernels.__path__)]
    every = [k for m in modules for k in vars(m).values() if isinstance(k, Dispatcher) and k.py_func.__module__ == m.__name__]
    called = {name for kernel in every for name in kernel.py_func.__code__.co_names}
    unused = collections.defaultdict(list)
    for kernel in every:
        if kernel.py_func.__name__ not in called and not kernel.signatures:
            unused[kernel.py_func.__module__.rpartition(".")[2]].append(kernel.py_func.__name__)
    print(json.dumps(unused))
"""
# What is compiled for exposures of the modes' own sizes: [kernel...]
COMPILED = """
    import json, tempfile
    from pathlib import Path
    from numba.core import event
    from jwcal import warm_up

    EXPOSURES = [
        {"exp_type": "NRC_IMAGE", "detector": "NRCA1", "subarray": "FULL", "ngroups": 2, "zeroframe": True},
        {"exp_type": "NRC_TSIMAGE", "detector": "NRCB1", "subarray": "SUB160P", "ngroups": 4, "nints": 4},
        {"exp_type": "NRC_DARK", "detector": "NRCALONG", "subarray": "SUB64P"},
        {"exp_type": "NIS_SOSS", "ngroups": 3, "nints": 3},
        {"exp_type": "NRS_IFU", "detector": "NRS1", "subarray": warm_up.LINES, "readpatt": "NRSIRS2", "ngroups": 3, "nints": 2},
        {"exp_type": "NRS_BRIGHTOBJ", "detector": "NRS2", "ngroups": 3},
        {"exp_type": "MIR_IMAGE", "subarray": "FULL", "ngroups": 5, "nints": 2},
        {"exp_type": "MIR_DARKMRS", "detector": "MIRIFUSHORT", "ngroups": 5},
        {"exp_type": "FGS_IMAGE", "detector": "GUIDER1", "subarray": warm_up.OUTPUTS},
        {"exp_type": "FGS_ID-STACK", "detector": "GUIDER2"},
    ]
    compiled = []

    class Compiler(event.Listener):
        def on_start(self, event):
            compiled.append(event.data["dispatcher"].py_func.__module__ + "." + event.data["dispatcher"].py_func.__name__)

        def on_end(self, event):
            pass

    with tempfile.TemporaryDirectory() as folder:
        exposures = warm_up.simulate(Path(folder), [(options, [{}]) for options in EXPOSURES])
        event.register("numba:compile", Compiler())
        warm_up.calibrate(exposures, str(Path(folder, "crds")))
    print(json.dumps(compiled))
"""


def python(code, **environment):
    """What code prints last, in a process of its own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CRDS_")}
    arguments = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(arguments, env=clean | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_every_kernel_is_reached():
    """All that a step calls, but for what belongs to options. Slow only where the tests' own kernels are not compiled."""
    assert set(python(UNUSED)) == OF_OPTIONS


@pytest.mark.full
def test_nothing_is_compiled_afterwards(tmp_path):
    fresh = {"NUMBA_CACHE_DIR": str(tmp_path / "numba")}
    python("import json\nfrom jwcal import warm_up\nwarm_up.main()\nprint(json.dumps(None))", **fresh)
    assert python(COMPILED, **fresh) == []
