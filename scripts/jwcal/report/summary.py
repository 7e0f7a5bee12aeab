"""What a run made, what was up to date, and what failed and why: a page of text."""

import calendar
import os
import time
from pathlib import Path

from ..provenance import records
from ..vocabulary.phrases import some
from ..workflow.jobs import INTERRUPTED, failure_file
from . import remains, words

SHOWN = 20  # files that can't be used, and jobs that are not made, that the summary names
FEW = 3  # jobs that failed for one reason that are not counted
OLD = {
    "unasked": "not asked for any more",
    "unusable": "of exposures that can't be used now",
    "gone": "of exposures that are not in this run",
}


def summary(plan, started):
    """The text at the end of a run.

    Parameters
    ----------
    plan : plan.Plan
    started : float
        When the run began (seconds since the epoch): a product that is younger was made by it.

    Returns
    -------
    str
    """
    made, current, missing, same, old = [], [], [], [], []
    for job in plan.jobs:
        for path in job.outputs.values():
            if not os.path.exists(path):
                missing.append((job, path))
                continue
            listed = [file for file, _ in records.listed(path, records.read(path))] if path.endswith(records.LISTING) else []
            if os.path.getmtime(path) < started and not job.is_current:  # a job before it failed, or was not reached
                old += [(job, file) for file in (path, *listed)]
                continue
            (current if os.path.getmtime(path) < started else same if _is_older(path, started) else made).extend([path, *listed])
    kept = f" ({len(same)} of them found to come out the same)" if same else ""
    counts = f"{len(made)} products made, {len(current) + len(same)} up to date{kept}, {len(missing)} not made"
    counts += f", {len(old)} out of date" * bool(old)
    counts += f"; {_files(plan)} can't be used" * bool(plan.unusable)
    lines = ["", f"jwcal: {counts}. They are in {plan.results}"]
    failures = {job.recipe: _why(job) for job, _ in missing + old}
    lines += _failed([(job, failures[job.recipe]) for job in plan.jobs if failures.get(job.recipe) not in (None, "", INTERRUPTED)])
    interrupted = [job for job in plan.jobs if failures.get(job.recipe) == INTERRUPTED]
    if interrupted:
        lines.append(f"  interrupted: {_named(interrupted)}. Run again to go on")
    waiting = [job for job in plan.jobs if failures.get(job.recipe, 0) is None]
    if waiting:
        stopped = len(lines) > 2  # by what has failed or was interrupted; otherwise the run itself was, between two jobs
        why, then = ("not made because of that, or not reached", "") if stopped else ("not reached", ". Run again to go on")
        lines.append(f"  {why}: {_named(waiting)}{then}")
        lines += _held_up([job for job in plan.jobs if failures.get(job.recipe) not in (None, "", INTERRUPTED)], waiting)
    lines += unusable(plan)
    lines += [f"  left out: {message}" for message in plan.left_out]
    lines += remarks(plan)
    lines += _old(plan)
    lines += [f"  {line}" for line in words.stopping(plan.stops)]
    return "\n".join([*lines, *associations(plan)])


def _failed(failures):
    """A line for each job that failed; one for many that failed for one reason."""
    alike = {}
    for job, why in failures:
        alike.setdefault((job.pipeline, why), []).append(job)
    lines = []
    for (pipeline, why), jobs in alike.items():
        if len(jobs) > FEW:
            names = some([job.exposure for job in jobs], FEW)
            lines.append(f"  failed: {len(jobs)} of {pipeline}: {why} They are {names}; jwcal status -v names all")
        else:
            lines += [f"  failed: {job.exposure} {pipeline}: {why}" for job in jobs]
    return lines


def _held_up(failed, waiting):
    """A line for each exposure that failed and that others wait for: those that it is a nod, or another background, of."""
    wait_for = {}
    for job in waiting:
        for path in job.members if job.stage == "stage2" else ():
            wait_for.setdefault(path, []).append(job.exposure)
    lines = []
    for job in failed:
        held = [name for path in job.outputs.values() for name in wait_for.get(path, ()) if name != job.exposure]
        if held:
            which, them = (held[0], "it is") if len(held) == 1 else (some(held), "they are")
            lines.append(
                f"  {job.exposure} is a background of {which}: if it can't be repaired, take its file away, and {them} made without it"
            )
    return lines


def _named(jobs):
    """The first of some jobs, and how many more."""
    return some([f"{job.exposure} {job.pipeline}" for job in jobs], SHOWN)


def forecast(plan):
    """What a dry run says beside the jobs: what can't be used, and which requests do nothing; empty where there is neither."""
    lines = [*unusable(plan), *remarks(plan)]
    if plan.unusable:
        lines.insert(0, f"jwcal: the run would end with an error: {_files(plan)} can't be used")
    return "\n".join(["", *lines] if lines else [])


def unusable(plan):
    """Lines about what can't be used, and why."""
    lines = [f"  can't be used: {message}" for message in plan.problems[:SHOWN]]
    if len(plan.problems) > SHOWN:
        lines.insert(0, f"  {_files(plan)} can't be used; all of them are in {plan.refused_log}. The first {SHOWN}:")
    return lines


def remarks(plan):
    """Lines about requests that do nothing, or not what they say."""
    return [f"  note: {remark}" for remark in plan.remarks]


def _files(plan):
    return f"{len(plan.unusable)} {'file' if len(plan.unusable) == 1 else 'files'}"


def _old(plan):
    """A line about products that lie there and that this run neither makes nor removes."""
    counts = [f"{len(paths)} {OLD[kind]}" for kind, paths in remains.leftovers(Path(plan.results), plan).items() if paths]
    return [f"  old products lie in {plan.results}, and stay there: {', '.join(counts)}"] if counts else []


def associations(plan):
    """Lines about the associations: how many, what was inferred, and what nothing can make yet."""
    if not plan.associations:
        return []
    counts = " and ".join(f"{count} of stage {stage[-1]}" for stage, count in sorted(plan.associations.items()))
    lines = [f"  associations: {counts}. They are in {Path(plan.results, 'associations')}"]
    lines += [f"  association inferred: {note}" for note in plan.notes]
    return [*lines, *(f"  {line}" for line in words.waiting(plan.waits))]


def _is_older(product, started):
    """Whether a product was found to be up to date by its job, and kept, so that only its time is new."""
    record = records.read(product)
    return record is not None and calendar.timegm(time.strptime(record["run"]["started"], records.TIME)) < int(started)


def _why(job):
    """The message that a failed job left, or None."""
    path = failure_file(job.recipe)
    return Path(path).read_text().strip() if path.exists() else None
