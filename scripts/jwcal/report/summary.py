"""What a run made, what was up to date, and what failed and why: a page of text."""

import os
from pathlib import Path

from ..jobs import failure_file


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
    made, current, missing = [], [], []
    for job in plan.jobs:
        for path in job.outputs.values():
            if not os.path.exists(path):
                missing.append((job, path))
            else:
                (made if os.path.getmtime(path) >= started else current).append(path)
    lines = ["", f"jwcal: {len(made)} products made, {len(current)} up to date, {len(missing)} not made. They are in {plan.results}"]
    failures = {job.recipe: _why(job) for job, _ in missing}
    for job in plan.jobs:
        why = failures.get(job.recipe)
        if why:
            lines.append(f"  failed: {job.exposure} {job.pipeline}: {why}")
    waiting = [job for job in plan.jobs if failures.get(job.recipe, 0) is None]
    if waiting:
        lines.append(f"  not made because of that, or not reached: {', '.join(f'{job.exposure} {job.pipeline}' for job in waiting)}")
    lines += [f"  can't be used: {message}" for message in plan.problems]
    lines += [f"  left out: {message}" for message in plan.left_out]
    lines += [f"  {count} {_plural(count)} {where}" for where, count in sorted(plan.stops.items())]
    return "\n".join(lines)


def _why(job):
    """The message that a failed job left, or None."""
    path = failure_file(job.recipe)
    return Path(path).read_text().strip() if path.exists() else None


def _plural(count):
    return "exposure stops after" if count == 1 else "exposures stop after"
