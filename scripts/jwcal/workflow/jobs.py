"""One job: a recipe, its products, a log. What went wrong is left in one small file for the summary at the end of the run.

python -m jwcal.jobs RECIPE --log FILE [--threads N] [--scratch FOLDER]
"""

import argparse
import json
import logging
import os
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path

from ..machine import process
from ..machine.garbage import seldom_collected
from ..vocabulary.errors import ConfigError, JwcalError, ReferenceError
from . import warm

STOPPED = "it was stopped before its end: killed, or out of memory. Run again, with more memory (mem_mb) if that was it."
INTERRUPTED = "it was interrupted. Run again to go on."
TOLD = "JWCAL_TOLD"  # in a job's environment where the run says on the screen what went wrong with it
ENDED = "it was ended from outside: cancelled, or out of time. Run again, with more time (runtime) if that was it."


def main():
    """What a rule calls: the job in the run's warm process if there is one, else by itself."""
    signal.signal(signal.SIGTERM, _end)
    process.own()
    try:
        status = warm.ask(sys.argv[1:])
        return by_itself(sys.argv[1:]) if status is None else status
    except KeyboardInterrupt:
        return _stopped_by(signal.SIGINT, INTERRUPTED)
    except Ended:
        return _stopped_by(signal.SIGTERM, ENDED)


class Ended(BaseException):
    """The process was asked to end; like KeyboardInterrupt no error that a step may catch."""


def _end(*_):
    raise Ended


def _stopped_by(number, message):
    """Leave a message in the place of the one that a job leaves when it begins; returns the exit status that a signal gives."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with suppress(OSError, IndexError):
        failure = failure_file(sys.argv[1])
        if failure.read_text().strip() == STOPPED:  # else it has ended meanwhile, or it never began
            _leave(failure, message)
    _say(message)
    return 128 + number


def by_itself(arguments):
    """Run the job that a command line names; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m jwcal.jobs", description=run.__doc__.partition("\n")[0])
    parser.add_argument("recipe", help="a file of <results>/.jwcal/recipes")
    parser.add_argument("--log", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--scratch", help="folder for ramps that are too large for memory")
    return run(**vars(parser.parse_args(arguments)))


def run(recipe, log, threads=1, scratch=None):
    """Make the products of one recipe.

    Parameters
    ----------
    recipe : path
        JSON, as `plan.py` wrote it.
    log : path
    threads : int
    scratch : path, optional

    Returns
    -------
    int
        Exit status: 0, or 1 after an error, which is in the log, in the failure file and, if no run says it, on standard error.
    """
    _set_threads(threads)
    failure = failure_file(recipe)
    start_logging(log)
    _leave(failure, STOPPED)
    try:
        with seldom_collected():
            _make(json.loads(Path(recipe).read_text()), scratch)
    except JwcalError as error:
        return _failed(failure, str(error), log)
    except Exception as error:  # a defect of ours: the traceback belongs in the log, a sentence on the screen
        logging.getLogger(__name__).error("%s", traceback.format_exc())
        return _failed(failure, f"{recipe}: {type(error).__name__}: {error}. This is a defect of jwcal: the log has the details.", log)
    failure.unlink(missing_ok=True)
    return 0


def _set_threads(threads):
    """How many threads numba may use: what the environment says when it is imported is the most that it can be told later."""
    if "numba" in sys.modules:
        import numba

        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    else:
        os.environ["NUMBA_NUM_THREADS"] = str(threads)


def _make(plain, scratch):
    from ..kernels import told
    from ..provenance import records
    from ..settings.recipe import Recipe
    from . import stale, work

    made_from, inputs = plain.pop("made_from"), stale.inputs_of(plain)
    source, outputs = plain.pop("input"), plain.pop("outputs")
    plain.pop("stale", None)
    if stale.take_back(outputs.values(), made_from, records.measured(inputs)):
        logging.getLogger(__name__).info("the inputs came out the same as before: the products stay as they are")
        return
    _check_references(plain["references"], made_from["references"])
    recipe = Recipe.from_dict(plain)
    _check_own(recipe.own, made_from["code"])
    with told.say_what_is_compiled():
        work.make(recipe, made_from, source, inputs, work.Shelf(outputs), scratch)


def _check_references(paths, named):
    """Raise ReferenceError where a reference of the user's own is not what it was when the run was planned."""
    from ..files import fingerprint

    for kind, name in named.items():
        own, _, planned = name.rpartition(" ")
        if own and fingerprint.digest(paths[kind]) != planned:
            raise ReferenceError(f"the {kind} reference changed after the run was planned", paths[kind], "Run again")


def _check_own(own, planned):
    """Raise ConfigError where a step of the user's own is not what it was when the run was planned."""
    from ..provenance.codebase import Code

    for step, path in own.items():
        if not Path(path).is_file():
            raise ConfigError(f"the file of the step {step} is not there", path, "Put it where this machine finds it too")
        if not Code().own(path).items() <= planned.items():
            raise ConfigError(f"the step {step} changed after the run was planned", path, "Run again")


def failure_file(recipe):
    """Where a job of this recipe says what went wrong."""
    recipe = Path(recipe)
    return recipe.parents[1] / "failed" / f"{recipe.stem}.txt"


def _failed(failure, message, log):
    logging.getLogger(__name__).error("%s", message)
    _say(message)
    _leave(failure, message)
    return 1


def _say(message):
    if not os.environ.get(TOLD):
        print(f"ERROR: {message}", file=sys.stderr)


def _leave(failure, message):
    with suppress(OSError):  # a full disk must not hide the first error
        failure.parent.mkdir(parents=True, exist_ok=True)
        part = failure.with_suffix(".part")  # an interrupt must not leave half a sentence; `storage` would cost each job its imports
        part.write_text(message + "\n")
        os.replace(part, failure)


def start_logging(path=None, level=logging.INFO):
    """Log to a file, or to standard error; there too if the disk is full."""
    logging.raiseExceptions = False  # a line that can't be logged must not drown the error that is shown
    handler = logging.StreamHandler()
    if path:
        with suppress(OSError):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            handler = logging.FileHandler(path, mode="w")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    logging.getLogger("tweakwcs").setLevel(logging.WARNING)  # the step says what came of it
