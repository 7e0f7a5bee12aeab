"""Run the peer (jwst 3.0.0) in its own environment, `.venv-peer`. Nothing else imports it."""

import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
PYTHON = ROOT / ".venv-peer/bin/python"

needs_peer = pytest.mark.skipif(not PYTHON.exists(), reason="the peer is not installed: make peer")


def peer_python(code, **arrays):
    """Run Python code in the peer's environment.

    Parameters
    ----------
    code : str
        Finds the arrays as variables, and puts what it wants to give back into the dict `out`.
    **arrays : array_like
        Given to the code.

    Returns
    -------
    dict of ndarray
    """
    with tempfile.TemporaryDirectory() as folder:
        given, back = Path(folder, "in.npz"), Path(folder, "out.npz")
        np.savez(given, **{k: np.asarray(v) for k, v in arrays.items()})
        program = (
            "import numpy as np\n"
            f"globals().update({{k: v[()] if v.ndim == 0 else v for k, v in np.load({str(given)!r}).items()}})\n"
            f"out = {{}}\n{code}\nnp.savez({str(back)!r}, **out)\n"
        )
        script = Path(folder, "program.py")
        script.write_text(program)
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        done = subprocess.run([PYTHON, script], capture_output=True, text=True, env=environment)
        if done.returncode:
            raise RuntimeError(f"the peer failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        with np.load(back) as result:
            return dict(result)
