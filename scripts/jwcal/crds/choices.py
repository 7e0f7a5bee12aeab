"""What CRDS has chosen before, on disk: to import crds and load its mappings takes longer than many a step."""

import hashlib
import os
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from ..files import storage
from ..files.fingerprint import state
from ..files.home import cache_folder


def recall(environment):
    """What was kept for the same settings of CRDS and the same version of it, as long as no file that it came from has changed.

    Parameters
    ----------
    environment : tuple of (name, value)
        The settings.

    Returns
    -------
    answers : dict
        question -> answer; of text, numbers, dicts and tuples.
    sources : dict
        Path -> size and time of the files that they came from.
    """
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):  # whatever a file holds that is none of ours
        kept = storage.noted(_file(environment))
        if kept["sources"] == states(kept["sources"]):
            return {_tuples(question): _tuples(answer) for question, answer in kept["answers"]}, kept["sources"]
    return {}, {}


def keep(environment, answers, sources):
    """Keep answers and the files that they came from, for `recall`; nothing where that is not possible."""
    storage.note(_file(environment), {"answers": list(answers.items()), "sources": sources})


def _tuples(value):
    """JSON knows no tuples, only lists."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def states(paths):
    """Path -> size and time; raises OSError where one is gone."""
    return {str(path): state(os.stat(path)) for path in paths}


def _file(environment):
    return Path(cache_folder(), "crds", f"{hashlib.sha256(repr((version('crds'), environment)).encode()).hexdigest()[:32]}.json")
