"""What a run would make from what, as plain data: jobs with their references and parameters, and what is missing or can't be used."""

import os
import textwrap

from ..settings import facts
from ..settings.chains import LIST, root_and_suffix
from ..vocabulary import phrases
from . import words

TO_BE_MADE, DEPENDS, CURRENT = "to be made", "made again if its input changes", "up to date"


def outlook(plan):
    """The plan of a run for people and programs, plain data.

    Parameters
    ----------
    plan : plan.Plan
        As it was just made: with its recipes.

    Returns
    -------
    dict
        `jobs`: list of dict, in the order of the data; `unusable`: {exposures, problems}; `left_out`, `notes`, `remarks`: messages;
        `stops`: where -> number of exposures; `waits`: stage -> {what its associations wait for: their number};
        `associations`: stage -> number.
    """
    return {
        "results": plan.results,
        "jobs": [_job(plan, job) for job in plan.jobs],
        "unusable": {"exposures": plan.unusable, "problems": plan.problems},
        "left_out": plan.left_out,
        "stops": plan.stops,
        "waits": plan.waits,
        "associations": plan.associations,
        "notes": plan.notes,
        "remarks": plan.remarks,
    }


def _job(plan, job):
    recipe = plan.recipes[job.recipe]
    return {
        "exposure": job.exposure,
        "kind": plan.kinds.get(job.exposure) or plan.kinds.get(root_and_suffix(job.input)[0], ""),
        "stage": job.stage,
        "pipeline": job.pipeline,
        "rule": job.rule,
        "state": TO_BE_MADE if job.why else DEPENDS if job.after else CURRENT,
        "why": job.why,
        "input": job.input,
        "members": [dict(member) for member in recipe.members],
        "association": recipe.association.get("table", ""),
        "products": job.outputs,
        "listed": _listed(recipe) if LIST in job.outputs else [],
        "steps": [step.name for step in recipe.steps if not recipe.parameters[step.name]["skip"]],
        "references": dict(sorted(recipe.names.items())),
        "parameters": _parameters(recipe),
        "memory_mb": job.mem_mb,
    }


def _listed(recipe):
    """Suffixes of the products whose number is known only after the job, which its list names."""
    running = {step.name for step in recipe.steps if not recipe.parameters[step.name]["skip"]}
    saves = [save for save in recipe.saves if save.name and set(save.makers) <= running]
    suffixes = [suffix for save in saves for suffix in save.suffixes.values() if not save.optional or suffix in recipe.save]
    return list(dict.fromkeys(suffixes))


def products_of(job):
    """The products of a job in words: "i2d, cat, segm, a list of crf"."""
    return ", ".join(f"a list of {', '.join(job['listed'])}" if suffix == LIST else suffix for suffix in job["products"])


def _parameters(recipe):
    """Those that are not the step's default: "jump.rejection_threshold" -> {value, from}."""
    found = {}
    for step, origins in recipe.origins.items():
        known = facts.about(step).parameters
        for name, origin in origins.items():
            if recipe.parameters[step][name] != known[name].default:
                found[f"{step}.{name}"] = {"value": recipe.parameters[step][name], "from": origin}
    return found


# --- as text ---

INDENTED = {"initial_indent": " " * 6, "subsequent_indent": " " * 10, "break_long_words": False, "break_on_hyphens": False}
SHOWN, MESSAGES = 4, 8  # exposures of a group, and messages of a kind, that are shown


def text(found, whole=False):
    """The same as a page of text: jobs that are alike together; all of them if `whole`."""
    jobs = found["jobs"]
    counts = {state: sum(job["state"] == state for job in jobs) for state in (TO_BE_MADE, DEPENDS, CURRENT)}
    products = sum(len(job["products"]) for job in jobs)
    said = ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "nothing to be made"
    lines = [
        f"{phrases.count(len(jobs), 'job')} make{'s' * (len(jobs) == 1)} {phrases.count(products, 'product')} in {found['results']}: {said}"
    ]
    for stage in sorted({job["stage"] for job in jobs}):
        lines += ["", stage.replace("stage", "stage ")]
        for group in grouped(job for job in jobs if job["stage"] == stage):
            lines += _group(group, whole)
    return "\n".join([*lines, *_troubles(found, whole)])


def grouped(jobs):
    """Lists of the jobs that are alike: the same pipeline, products, state and kind of exposure."""
    groups = {}
    for job in jobs:
        groups.setdefault((job["rule"], job["state"], job["kind"], tuple(job["parameters"])), []).append(job)
    return list(groups.values())


def _group(jobs, whole):
    first = jobs[0]
    what = f"{len(jobs)} of {first['kind']}" if first["kind"] else f"{len(jobs)}"
    lines = [f"  {first['pipeline']}: {what} -> {products_of(first)} ({first['state']})"]
    reasons = list(dict.fromkeys(why for job in jobs for why in job["why"]))
    if reasons != ["not made yet"]:
        lines += [f"      because {why}" for why in reasons[:SHOWN]]
    shown = jobs if whole else jobs[:SHOWN]
    for job in shown:
        lines.append(f"      {job['exposure']} from {_from(job, whole)}")
    if len(jobs) > len(shown):
        lines.append(f"      and {len(jobs) - len(shown)} more (-v names all)")
    references = {}
    for job in jobs:
        for kind, name in job["references"].items():
            references.setdefault(kind, {})[name.removeprefix("crds://")] = True
    absent = [kind for kind, names in references.items() if list(names) == ["N/A"]]
    named = [f"{kind} {_several(list(names), whole)}" for kind, names in references.items() if kind not in absent]
    lines += textwrap.wrap(f"references: {', '.join(named)}", 120, **INDENTED) if named else []
    lines += textwrap.wrap(f"not applicable (N/A): {', '.join(absent)}", 120, **INDENTED) if absent and whole else []
    parameters = [f"{name} = {value['value']!r} ({value['from']})" for name, value in first["parameters"].items()]
    lines += textwrap.wrap(f"parameters that are not the defaults: {', '.join(parameters)}", 120, **INDENTED) if parameters else []
    return lines


def _from(job, whole):
    by_type = {}
    for member in job["members"]:
        by_type.setdefault(member["exptype"], []).append(os.path.basename(member["path"]))
    own = os.path.basename(job["input"])
    more = [f"{', '.join(names) if whole or len(names) == 1 else f'{len(names)} more'} ({kind})" for kind, names in by_type.items()]
    return " + ".join([own, *more])


def _several(names, whole):
    return ", ".join(names) if whole or len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _troubles(found, whole):
    """Lines about what is missing, can't be used or is left out."""
    rows = [("can't be used", found["unusable"]["problems"]), ("left out", found["left_out"])]
    rows += [("association inferred", found["notes"]), ("note", found["remarks"])]
    lines = []
    for word, messages in rows:
        shown = messages if whole else messages[:MESSAGES]
        lines += [f"  {word}: {message}" for message in shown]
        lines += [f"  {word}: {len(messages) - len(shown)} more (-v names all)"] * (len(messages) > len(shown))
    lines += [f"  {line}" for line in (*words.stopping(found["stops"]), *words.waiting(found["waits"]))]
    return ["", "missing, or not as asked", *lines] if lines else []
