"""The tables of the report: plain lists and dicts, from what a run left."""

import json
import os
import statistics
from collections import Counter, defaultdict
from pathlib import Path

from ..settings.chains import root_and_suffix
from ..settings.step_modules import parameters_of
from . import measure, remains
from .words import percent

MOST_MEMBERS = 200  # products of associations that are listed
SHOWN_FLAGS = {"DO_NOT_USE": "do not use", "SATURATED": "saturated", "JUMP_DET": "jump", "NO_VALUE": "no value"}
STAGES = {"stage1": "Stage 1", "stage2": "Stage 2", "stage3": "Stage 3"}


def state(results):
    states = Counter(job.state for job in results.jobs)
    seconds = [job.seconds for job in results.jobs if job.seconds]
    exposures = defaultdict(set)
    for job in results.jobs:
        if job.stage != "stage3":
            exposures[job.exposure].add(job.state)
    combined = defaultdict(set)  # those that are calibrated already: what becomes of the products that they are in
    for job in results.jobs:
        for path in job.inputs if job.stage == "stage3" else ():
            combined[root_and_suffix(path)[0]].add(job.state)
    exposures = {**combined, **exposures}
    return {
        "exposures": len(exposures.keys() | set(results.unusable)),
        "finished": sum(states == {remains.DONE} and name not in results.unusable for name, states in exposures.items()),
        "products": len(results.products),
        "bytes": sum(product.path.stat().st_size for _, product in results.products),
        "old": states[remains.OLD],
        "failed": states[remains.FAILED],
        "unusable": len(results.unusable),
        "waiting": states[remains.WAITING],
        "seconds": sum(seconds),
        "peak_mb": max((job.peak_mb for job in results.jobs if job.peak_mb), default=None),
    }


def stages(results):
    """Jobs done, out of date, failed and waiting, by stage and pipeline."""
    counts = defaultdict(Counter)
    for job in results.jobs:
        counts[job.stage, job.pipeline][job.state] += 1
    return [
        {
            "stage": STAGES.get(stage, stage),
            "pipeline": pipeline,
            "all": sum(states.values()),
            "old": states[remains.OLD],
            **{s: states[s] for s in ("done", "failed", "waiting")},
        }
        for (stage, pipeline), states in sorted(counts.items())
    ]


def rows(results, found, base):
    """The products for the page's script, and a pool of what many of them share."""
    pool, index = defaultdict(list), {}

    def share(kind, value):
        key = kind, json.dumps(value, sort_keys=True, default=str)
        if key not in index:
            index[key] = len(pool[kind])
            pool[kind].append(value)
        return index[key]

    rows = []
    for job, product in results.products:
        entry, record = found[product.path], product.record
        keywords = entry["keywords"]
        made_from, run = record.get("made_from", {}), record.get("run", {})
        rows.append(
            {
                "id": f"{job.stage}-{product.path.stem}",
                "name": product.path.name,
                "href": link(product.path, base),
                "log": link(job.log, base) if job.log.exists() else "",
                "stage": STAGES.get(job.stage, job.stage),
                "pipeline": job.pipeline,
                "suffix": product.suffix,
                "keywords": share("keywords", keywords),
                "shape": " x ".join(map(str, entry["shape"][::-1])),
                "flags": {name: round(fraction, 7) for name, fraction in entry["flags"].items()},
                "seconds": job.seconds,
                "mb": job.peak_mb,
                "problem": entry["problem"],
                "inputs": [[i["name"], i["exptype"], i["digest"]] for i in record.get("inputs", [])],
                "digest": record.get("product", {}).get("digest", ""),
                "run": {key: run[key] for key in ("started", "host", "threads") if key in run},
                "steps": share("steps", [[step, fact["status"], fact["why"]] for step, fact in run.get("steps", {}).items()]),
                "step_seconds": [fact["seconds"] for fact in run.get("steps", {}).values()],
                "made_from": share(
                    "made_from", {k: made_from[k] for k in ("parameters", "references", "code", "libraries") if k in made_from}
                ),
                "context": record.get("context", ""),
                "pictures": len(entry["pictures"] or []),
            }
        )
    return rows, pool


def gallery(results, found, cache=None):
    """Pictures by kind of product: [{"title", "count", "drawn": [{"id", "name", "keywords", "pictures"}]}].

    A target's spectra in several bands come once more, together: {"bands": their number} and no product of their own.
    """
    kinds = defaultdict(list)
    for job, product in results.products:
        kinds[job.stage, product.suffix, found[product.path]["keywords"]["EXP_TYPE"]].append((job, product))
    groups = []
    for (stage, suffix, exp_type), members in sorted(kinds.items(), key=lambda kind: (-int(kind[0][0][-1]), kind[0][1:])):
        drawn = [
            {"id": f"{stage}-{product.path.stem}", "name": product.path.name, **found[product.path]}
            for _, product in members
            if found[product.path]["pictures"]
        ]
        if drawn:
            drawn = _bands(stage, members, found, cache) + drawn
            groups.append(
                {"stage": STAGES.get(stage, stage), "suffix": suffix, "exp_type": exp_type, "count": len(members), "drawn": drawn}
            )
    return groups


def _bands(stage, members, found, cache):
    """The spectra that a job made of several channels or bands, in one picture each."""
    jobs = defaultdict(dict)
    for job, product in members:
        about = found[product.path]
        band = about["keywords"].get("CHANNEL"), about["keywords"].get("BAND")
        if product.suffix == "x1d" and all(band) and about["pictures"]:
            jobs[job.exposure].setdefault(band, product.path)
    together = []
    for exposure, bands in jobs.items():
        pictures = measure.joined(list(bands.values()), cache) if len(bands) > 1 else []
        if pictures:
            about = {"keywords": found[next(iter(bands.values()))]["keywords"], "pictures": pictures, "bands": len(bands)}
            together.append({"id": f"{stage}-{exposure}-bands", "name": exposure, **about})
    return together


def times(results):
    """Time and memory of the jobs, by pipeline."""
    jobs = defaultdict(list)
    for job in results.jobs:
        if job.seconds is not None:
            jobs[job.stage, job.pipeline].append(job)
    rows = []
    for (stage, pipeline), found in sorted(jobs.items()):
        seconds = [job.seconds for job in found]
        memory = [job.peak_mb for job in found if job.peak_mb]
        rows.append(
            {
                "stage": STAGES.get(stage, stage),
                "pipeline": pipeline,
                "jobs": len(found),
                "median": statistics.median(seconds),
                "longest": max(found, key=lambda job: job.seconds),
                "total": sum(seconds),
                "memory": statistics.median(memory) if memory else None,
                "most": max(memory, default=None),
            }
        )
    return rows


def steps(results):
    """Time of each step, by pipeline and in the order of the chain; a job's steps are counted once, whatever it makes."""
    seconds, status = defaultdict(list), defaultdict(Counter)
    for job in results.jobs:
        record = next((product.record for product in job.products if product.record), None)
        for step, fact in (record["run"]["steps"] if record else {}).items():
            seconds[job.pipeline, step].append(fact["seconds"])
            status[job.pipeline, step][fact["status"]] += 1
    totals = Counter()
    for (pipeline, _), values in seconds.items():
        totals[pipeline] += sum(values)
    rows = [
        {
            "pipeline": pipeline,
            "step": step,
            "complete": status[pipeline, step]["COMPLETE"],
            "skipped": status[pipeline, step]["SKIPPED"],
            "median": statistics.median(values),
            "longest": max(values),
            "share": sum(values) / totals[pipeline] if totals[pipeline] else 0,
        }
        for (pipeline, step), values in seconds.items()
    ]
    pipelines = list(dict.fromkeys(row["pipeline"] for row in rows))
    return [(pipeline, [row for row in rows if row["pipeline"] == pipeline]) for pipeline in pipelines]


def flags(results, found):
    """Median and range of the flagged fractions, by kind of product and detector."""
    kinds = defaultdict(list)
    for job, product in results.products:
        keywords = found[product.path]["keywords"]
        kinds[STAGES.get(job.stage, job.stage), product.suffix, keywords["EXP_TYPE"], keywords["DETECTOR"]].append(
            found[product.path]["flags"]
        )
    return [
        {"kind": kind, "count": len(flags), "values": {name: _spread([f[name] for f in flags if name in f]) for name in SHOWN_FLAGS}}
        for kind, flags in sorted(kinds.items())
        if any(flags)
    ]


def _spread(values):
    """The median, and the range where it is more than one number."""
    if not values:
        return percent(None), ""
    low, high = percent(min(values)), percent(max(values))
    return percent(statistics.median(values)), f"{low} – {high}" if low != high else ""


def parameters(results):
    """Parameters that are not their step's default: of which pipeline and step, value, default, where it came from, products."""
    counts = Counter()
    for job, product in results.products:
        for step, values in product.record.get("made_from", {}).get("parameters", {}).items():
            for name, value in values.items():
                origin = job.origins.get(step, {}).get(name, "")
                counts[job.pipeline, step, name, str(value), str(_default(step, name)), origin] += 1
    return [(*key, count) for key, count in sorted(counts.items()) if key[3] != key[4]]


def _default(step, name):
    try:
        return parameters_of(step)[name].default
    except KeyError:  # a product of another version
        return "–"


def references(results):
    """Reference files: (type, name, number of products)."""
    counts = Counter()
    for _, product in results.products:
        for kind, name in product.record.get("made_from", {}).get("references", {}).items():
            counts[kind, str(name).removeprefix("crds://").split(" ")[0]] += 1
    return [(*key, count) for key, count in sorted(counts.items())]


def software(results):
    """Versions, contexts and code that the products were made with; more than one of them is worth a look."""
    found = {"libraries": defaultdict(set), "contexts": set(), "hosts": set(), "code": defaultdict(set)}
    for _, product in results.products:
        made_from = product.record.get("made_from", {})
        for kind in ("libraries", "code"):
            for name, value in made_from.get(kind, {}).items():
                found[kind][name].add(value)
        found["contexts"] |= {product.record.get("context", "")} - {""}
        found["hosts"] |= {product.record.get("run", {}).get("host", "")} - {""}
    return {
        "libraries": sorted((name, sorted(versions)) for name, versions in found["libraries"].items()),
        "contexts": sorted(found["contexts"]),
        "hosts": sorted(found["hosts"]),
        "modules": len(found["code"]),
        "mixed": sorted(name for name, digests in found["code"].items() if len(digests) > 1),
        "unrecorded": sum(not product.record for _, product in results.products),
    }


def associations(results):
    """Products of several members: (product, file, [(exptype, member)])."""
    rows = []
    for path, products in remains.members(results.folder).items():
        rows += [(name, path.name, members) for name, members in products.items() if len(members) > 1]
    return {"rows": rows[:MOST_MEMBERS], "more": max(0, len(rows) - MOST_MEMBERS)}


def link(path, base):
    """The address of a file, from the folder of the page."""
    return Path(os.path.relpath(Path(path).absolute(), base)).as_posix()
