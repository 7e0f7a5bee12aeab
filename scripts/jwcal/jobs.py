"""One job: a recipe, its products, a log. What went wrong is left in one small file for the summary at the end of the run."""

import json
import logging
import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path

from .errors import JwcalError


def run(recipe, outputs, log, threads=1, scratch=None):
    """Make the products of one recipe.

    Parameters
    ----------
    recipe : path
        JSON, as `plan.py` wrote it.
    outputs : dict
        Suffix -> path of the product.
    log : path
    threads : int
    scratch : path, optional

    Returns
    -------
    int
        Exit status: 0, or 1 after an error, which is in the log, on standard error and in the failure file.
    """
    _set_threads(threads)
    failure = failure_file(recipe)
    failure.unlink(missing_ok=True)
    start_logging(log)
    try:
        _make(json.loads(Path(recipe).read_text()), outputs, scratch)
    except JwcalError as error:
        return _failed(failure, str(error), log)
    except Exception as error:  # a defect of ours: the traceback belongs in the log, a sentence on the screen
        logging.getLogger(__name__).error("%s", traceback.format_exc())
        return _failed(failure, f"{recipe}: {type(error).__name__}: {error}. This is a defect of jwcal: the log has the details.", log)
    return 0


def _set_threads(threads):
    """How many threads numba may use: it reads the environment when it is imported, and never again."""
    if "numba" in sys.modules:
        import numba

        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    else:
        os.environ["NUMBA_NUM_THREADS"] = str(threads)


def _make(plain, outputs, scratch):
    from . import products, run
    from .errors import ProductError

    source = plain.pop("input")
    plain.pop("local_references", None)
    written = set()

    def write(exposure):
        if exposure.suffix in outputs:
            products.write(exposure, outputs[exposure.suffix])
            written.add(exposure.suffix)

    run.run(run.Recipe.from_dict(plain), source, write, scratch)
    missing = set(outputs) - written
    if missing:
        raise ProductError(f"{', '.join(sorted(missing))} not made: the steps that make it were skipped", source, "Look at the log for why")


def failure_file(recipe):
    """Where a job of this recipe says what went wrong."""
    recipe = Path(recipe)
    return recipe.parents[1] / "failed" / f"{recipe.stem}.txt"


def _failed(failure, message, log):
    logging.getLogger(__name__).error("%s", message)
    print(f"ERROR: {message}", file=sys.stderr)
    with suppress(OSError):  # a full disk must not hide the first error
        failure.parent.mkdir(parents=True, exist_ok=True)
        failure.write_text(message + "\n")
    return 1


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
