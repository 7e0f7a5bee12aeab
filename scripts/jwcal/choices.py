"""What CRDS has chosen before, on disk: to import crds and load its mappings takes longer than many a step."""

import hashlib
import os
import pickle
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from .fingerprint import state


def recall(environment):
    """What was kept for the same settings of CRDS and the same version of it, as long as no file that it came from has changed.

    Parameters
    ----------
    environment : tuple of (name, value)
        The settings.

    Returns
    -------
    answers : dict
        question -> answer.
    sources : dict
        Path -> size and time of the files that they came from.
    """
    try:
        answers, sources = pickle.loads(_file(environment).read_bytes())
        if sources == states(sources):
            return answers, sources
    except Exception:  # whatever a file holds that is none of ours, or half a one
        pass
    return {}, {}


def keep(environment, answers, sources):
    """Keep answers and the files that they came from, for `recall`; nothing where that is not possible."""
    path = _file(environment)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(pickle.dumps((answers, sources)))
        os.replace(temporary, path)


def states(paths):
    """Path -> size and time; raises OSError where one is gone."""
    return {str(path): state(os.stat(path)) for path in paths}


def _file(environment):
    folder = os.environ.get("JWCAL_CACHE") or Path.home() / ".cache/jwcal"
    return Path(folder, "crds", hashlib.sha256(repr((version("crds"), environment)).encode()).hexdigest()[:32])
