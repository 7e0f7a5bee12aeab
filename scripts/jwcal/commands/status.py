"""What a run has done, what is out of date, what failed and why, and what waits."""

import json
from collections import Counter
from pathlib import Path

from ..report import remains
from ..report.words import duration, stopping, waiting
from ..vocabulary.errors import JwcalError
from ..vocabulary.phrases import count, some
from ..workflow import stale
from . import words

SHOWN, REASONS, LINES = 20, 4, 5  # jobs of one state that are named; reasons of a job; lines of a failed job's log


def main(arguments):
    """Print the state of a results folder; the exit status is 1 where something failed."""
    parser = words.parser("status", __doc__)
    parser.add_argument("results", type=Path, metavar="RESULTS", help="what the configuration calls `results`")
    parser.add_argument("--json", action="store_true", help="all jobs as JSON")
    parser.add_argument("--lines", type=int, default=LINES, metavar="N", help=f"of the log of a job that failed (default: {LINES})")
    parser.add_argument("-v", "--verbose", action="store_true", help="name all jobs, those that are done too")
    options = parser.parse_args(arguments)
    try:
        found = _found(options.results)
    except JwcalError as error:
        return words.fail(error)
    print(json.dumps(found, indent=1) if options.json else _text(found, options))
    return 1 if any(job["state"] == remains.FAILED for job in found["jobs"]) else 0


def _found(folder):
    """The state of a results folder, plain data."""
    results = remains.read(folder)
    late = {str(product.path): job for job in results.jobs if job.state != remains.DONE for product in job.products}
    names = {Path(path).name: job for path, job in late.items()}
    return {
        "results": str(folder),
        "a run is at work": stale.at_work(folder),
        "jobs": [_job(job, names) for job in results.jobs],
        "unusable": results.problems,
        "stops": results.stops,
        "waits": results.waits,
    }


def _job(job, late):
    names = [Path(path).name for path in job.inputs] if job.state == remains.WAITING else []
    before = {other.log: other for other in (late[name] for name in names if name in late)}.values()
    return {
        "exposure": job.exposure,
        "stage": job.stage,
        "pipeline": job.pipeline,
        "state": job.state,
        "seconds": job.seconds,
        "products": [str(product.path) for product in job.products if product.exists],
        "why": job.why,
        "message": job.message,
        "log": str(job.log),
        "log_end": job.log_end,
        "waits_for": [{"exposure": other.exposure, "pipeline": other.pipeline, "state": other.state} for other in before],
    }


def _text(found, options):
    jobs = found["jobs"]
    lines = [f"{found['results']}: {'a run is at work' if found['a run is at work'] else 'no run is at work'}"]
    for stage in sorted({job["stage"] for job in jobs}):
        states = Counter(job["state"] for job in jobs if job["stage"] == stage)
        seconds = sum(job["seconds"] or 0 for job in jobs if job["stage"] == stage)
        parts = [f"{states[state]} {state}" for state in _STATES if states[state]]
        lines.append(
            f"  {stage.replace('stage', 'stage ')}: {', '.join(parts)} of {count(states.total(), 'job')} ({duration(seconds)} of work)"
        )
    for state in _STATES if options.verbose else _STATES[1:]:
        mine = [job for job in jobs if job["state"] == state]
        lines += [f"{state}:"] * bool(mine)
        shown = mine if options.verbose else mine[:SHOWN]
        for job in shown:
            lines += _lines(job, options.lines)
        lines += [f"  and {len(mine) - len(shown)} more (-v names all)"] * (len(mine) > len(shown))
    lines += [f"can't be used: {message}" for message in found["unusable"]]
    return "\n".join([*lines, *stopping(found["stops"]), *waiting(found["waits"])])


_STATES = (remains.DONE, remains.OLD, remains.FAILED, remains.WAITING)


def _lines(job, number):
    name = f"  {job['pipeline']} {job['exposure']}"
    if job["state"] == remains.FAILED:
        end = job["log_end"].splitlines()[-number:] if number > 0 else []
        return [f"{name}: {job['message']}", f"    log: {job['log']}", *(f"    | {line}" for line in end)]
    if job["state"] == remains.DONE:
        return [f"{name} ({duration(job['seconds'])})"]
    if job["state"] == remains.OLD:
        why = job["why"][:REASONS] + [f"and {len(job['why']) - REASONS} more"] * (len(job["why"]) > REASONS)
        return [f"{name}: {'; '.join(why)}"]
    waits = [f"{other['pipeline']} {other['exposure']} ({other['state']})" for other in job["waits_for"]]
    return [f"{name}: {f'for {some(waits)}' if waits else 'not begun'}"]
