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


PIPELINES = {
    "detector1": "Detector1Pipeline",
    "dark": "DarkPipeline",
    "guider": "GuiderPipeline",
    "image2": "Image2Pipeline",
    "image3": "Image3Pipeline",
    "coron3": "Coron3Pipeline",
}
PIPELINE = """
import os, time
os.environ.update(CRDS_PATH=str(cache), CRDS_SERVER_URL="https://crds-serverless-mode.stsci.edu", CRDS_MODE="local")
import jwst.pipeline
exec(str(before))
steps = {}
for item in settings:
    step, parameter, value = str(item).split("|")
    try:
        value = __import__("ast").literal_eval(value)
    except (ValueError, SyntaxError):
        pass
    steps.setdefault(step, {})[parameter] = value
extra = {"save_calibrated_ramp": True} if ramp else {}
getattr(jwst.pipeline, str(pipeline)).call(str(source), save_results=True, output_dir=str(folder), steps=steps, **extra)
"""


def peer_pipeline(pipeline, source, folder, cache, steps=None, ramp=False, before=""):
    """Run one of the peer's pipelines as its users do, with the references of a CRDS cache.

    Parameters
    ----------
    pipeline : str
    source : path
        An exposure, or an association.
    folder : path
        For the products.
    cache : path
        CRDS cache folder.
    steps : dict
        step -> {parameter: value}.
    ramp : bool
        Also save the calibrated ramp.
    before : str
        Code that changes the peer before it runs.
    """
    settings = [f"{step}|{name}|{value!r}" for step, values in (steps or {}).items() for name, value in values.items()]
    peer_python(
        PIPELINE,
        pipeline=PIPELINES[pipeline],
        source=str(source),
        folder=str(folder),
        cache=str(cache),
        settings=settings,
        ramp=ramp,
        before=before,
    )
