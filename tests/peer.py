"""Run the peer (jwst 3.0.0) in its own environment, `.venv-peer`. Nothing else imports it.

A run is a pure function of its code, the arrays, the files that it is given, and the pinned peer: what one gave back is kept in a folder
outside the checkout (JWCAL_PEER, else `jwcal/peer` in the user's cache folder; JWCAL_PEER= keeps nothing), and the same run returns it.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
PYTHON = ROOT / ".venv-peer/bin/python"
FORGET = 60 * 86400  # s: a run that nobody has asked for since is forgotten

needs_peer = pytest.mark.skipif(not PYTHON.exists(), reason="the peer is not installed: make peer")

# Before the code of a run: its arrays, and a look at the files that it opens.
BEFORE = """
import sys
_opened = set()
sys.addaudithook(lambda event, given: event == "open" and not isinstance(given[0], int) and _opened.add(given[0]))
import json, os
import numpy as np
with np.load({given!r}) as _given:
    globals().update({{k: v[()] if v.ndim == 0 else v for k, v in _given.items()}})
out = {{}}
"""
AFTER = """
np.savez({back!r}, **out)
with open({opened!r}, "w") as _file:
    json.dump(sorted(os.path.realpath(os.fsdecode(path)) for path in list(_opened)), _file)
"""


def peer_python(code, **arrays):
    """Run Python code in the peer's environment.

    Parameters
    ----------
    code : str
        Finds the arrays as variables, and puts what it wants to give back into the dict `out`.
    **arrays : array_like
        Given to the code. A text that is a path tells which files the run reads or writes: the file, all beside it, or all in the folder.

    Returns
    -------
    dict of ndarray
    """
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    places = _places(code, arrays)
    top = _kept(places)
    kept = top / _key(code, arrays, places) if top else None
    if kept and (kept / "files.json").exists():
        os.utime(kept)
        return _restored(kept, places)
    before = _states(places) if kept else {}
    with tempfile.TemporaryDirectory() as folder:
        given, back, opened = (Path(folder, name) for name in ("in.npz", "out.npz", "opened.json"))
        np.savez(given, **arrays)
        names = {"given": str(given), "back": str(back), "opened": str(opened)}
        script = Path(folder, "program.py")
        script.write_text(f"{BEFORE.format(**names)}{code}\n{AFTER.format(**names)}")
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        done = subprocess.run([PYTHON, script], capture_output=True, text=True, env=environment)
        if done.returncode:
            raise RuntimeError(f"the peer failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        if kept and not _others(json.loads(opened.read_text()), places, folder):
            _keep(kept, back, places, before)
        with np.load(back) as result:
            return dict(result)


def _kept(places):
    """The folder of the runs that are kept; None where this one is not: its places hold more than a test's own files."""
    if any(len(folder.parts) < 4 or folder in (ROOT, *ROOT.parents) for _, folder in places):
        return None
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "jwcal", "peer")
    asked = os.environ.get("JWCAL_PEER", str(user))
    return Path(asked) if asked else None


def _places(code, arrays):
    """The files and folders that a run is given, in order: (path, the folder whose files it may read or write)."""
    texts = [text for name in sorted(arrays) if arrays[name].dtype.kind == "U" for text in arrays[name].ravel().tolist()]
    quoted = [path for text in (code, *texts) for path in re.findall(r"""["'](/[^"'\n]+)["']""", text)]
    paths = [Path(text) for text in dict.fromkeys([*texts, *quoted]) if text.startswith("/") and len(text) < 4096 and "\n" not in text]
    return [(path, path if path.is_dir() else path.parent) for path in paths if path.is_dir() or path.parent.is_dir()]


def _files(places):
    """{(number of the place, name in its folder): path} of the files in all places, each once."""
    found = {}
    for number, (path, folder) in enumerate(places):
        inside = folder.rglob("*") if folder == path else folder.iterdir()
        found.update({(number, str(file.relative_to(folder))): file for file in inside if file.is_file()})
    return found


def _key(code, arrays, places):
    """A digest of all that a run depends on; of paths only the last name counts, and what is there."""
    digest = hashlib.sha256((ROOT / "envs/peer.txt").read_bytes())
    names = {str(path): f"<{number}/{path.name if folder != path else ''}>" for number, (path, folder) in enumerate(places)}

    def plain(text):
        for path in sorted(names, key=len, reverse=True):
            text = text.replace(path, names[path])
        return text

    crds = sorted((name, value) for name, value in os.environ.items() if name.startswith(("CRDS_", "STPIPE")))
    digest.update(plain(repr((code, crds, BEFORE))).encode())
    for name, array in sorted(arrays.items()):
        text = array.dtype.kind == "U"
        content = plain(repr(array.tolist())).encode() if text else np.ascontiguousarray(array).tobytes()
        digest.update(repr((name, "U" if text else array.dtype.str, array.shape)).encode() + content)
    for place, file in sorted(_files(places).items()):
        digest.update(repr(place).encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:32]


def _states(places):
    return {place: (file.stat().st_size, file.stat().st_mtime_ns) for place, file in _files(places).items()}


def _others(opened, places, scratch):
    """The files that a run has opened beside those that its key knows, Python's and the system's."""
    base = subprocess.run([PYTHON, "-c", "import sys; print(sys.base_prefix)"], capture_output=True, text=True, check=True).stdout.strip()
    system = (base, PYTHON.parents[1], "/usr", "/etc", "/proc", "/sys", "/dev", "/lib", "/lib64")
    own = [Path.home() / name for name in (".astropy", ".cache", ".config")]
    known = [os.path.realpath(path) for path in (*system, *own, scratch, *(folder for _, folder in places))]
    return [path for path in opened if not any(path == folder or path.startswith(folder + os.sep) for folder in known)]


def _keep(kept, back, places, before):
    """Keep what a run gave back, and the files that it left."""
    after, files = _states(places), _files(places)
    left = sorted(place for place, state in after.items() if before.get(place) != state)
    kept.parent.mkdir(parents=True, exist_ok=True)
    for old in kept.parent.iterdir():
        if old.stat().st_mtime < time.time() - FORGET:
            shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as temporary:
        folder = Path(temporary, "run")
        folder.mkdir()
        shutil.copy(back, folder / "out.npz")
        for number, place in enumerate(left):
            shutil.copy(files[place], folder / str(number))
        (folder / "files.json").write_text(json.dumps(left))
        try:
            folder.rename(kept)
        except OSError:
            return  # another process was faster


def _restored(kept, places):
    """What a kept run gave back; the files that it left are put in their places."""
    for number, (place, name) in enumerate(json.loads((kept / "files.json").read_text())):
        file = places[place][1] / name
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(kept / str(number), file)
    with np.load(kept / "out.npz") as result:
        return dict(result)


PIPELINES = {
    "detector1": "Detector1Pipeline",
    "dark": "DarkPipeline",
    "guider": "GuiderPipeline",
    "image2": "Image2Pipeline",
    "image3": "Image3Pipeline",
    "coron3": "Coron3Pipeline",
    "spec2": "Spec2Pipeline",
    "spec3": "Spec3Pipeline",
    "tso3": "Tso3Pipeline",
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
