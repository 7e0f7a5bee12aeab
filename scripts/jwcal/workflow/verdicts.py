"""What was found of each job, remembered for as long as nothing that decides it changes: then no record has to be read."""

import os
import time

import orjson
import xxhash

from ..files import storage
from ..provenance import records


class Verdicts:
    """Why jobs have to run, remembered from run to run.

    Parameters
    ----------
    cache : path
        JSON file: path of a recipe -> [mark, why].
    """

    def __init__(self, cache):
        self._cache, self._before = cache, storage.noted(cache)
        self._now = {}

    def of(self, recipe, mark):
        """Why the job of a recipe has to run, in words, if its mark is what it was; None if it has to be found out."""
        known = self._before.get(recipe)
        if mark is None or not isinstance(known, list) or known[:1] != [mark]:
            return None
        self._now[recipe] = known
        return known[1]

    def learn(self, recipe, mark, why):
        """Take what was found, with the mark from before it was found."""
        if mark is not None:
            self._now[recipe] = [mark, list(why)]

    def remember(self):
        """Keep what was found for the next run; of jobs that are no more nothing is kept."""
        if self._now != self._before:
            storage.note(self._cache, self._now)


def mark(job, content, inputs, made_again):
    """A digest of all that decides whether a job has to run: its recipe's content, and the states of its files and of their records.

    Parameters
    ----------
    job : plan.Job
    content : str
        Digest of what the recipe would be now.
    inputs : list of (path, str)
    made_again : list of path
        Those of them that other jobs make in this run.

    Returns
    -------
    str or None
        None where a clock was ahead: times say nothing then.
    """
    files = [*job.outputs.values(), *(path for path, _ in inputs)]
    states = [_state(path) for path in (job.recipe, *files, *map(records.record_name, files))]
    now = time.time_ns()
    if any(state and state[1] > now for state in states):
        return None
    return xxhash.xxh3_128_hexdigest(orjson.dumps([content, files, states, made_again]))


def _state(path):
    """What changes with a file however it is changed; the time of the change can't be set as that of the content can."""
    try:
        state = os.stat(path)
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino
