"""Which jobs have to run, and why. The records beside the products decide it; Snakemake is told by the times of the recipes.

A recipe is a rule's input. That of a stale job is younger than its products, that of a job whose products are up to date is older:
so Snakemake runs just the stale ones, and what comes after them. Where a job comes after another that has to run, it may turn
out that its input comes out the same: then `take_back` puts the products that `keep` has kept in place, and nothing is computed.
"""

import contextlib
import fcntl
import functools
import json
import os
import time
from pathlib import Path

from ..files import fingerprint, storage
from ..provenance import records
from ..vocabulary.errors import ConfigError, InputError
from .verdicts import mark

STATE = ".jwcal"  # in the results folder
SECOND = 10**9  # ns
NO_BRACES = str.maketrans("{}", "()")


# --- one run at a time ---


def lock(results):
    """Keep other runs out of a results folder until this process ends, however it ends.

    Returns
    -------
    file
        To be kept open.

    Raises
    ------
    ConfigError
        Another run is at work there.
    """
    path = Path(results, STATE, "lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "a+")  # noqa: SIM115
    except OSError as error:
        raise ConfigError(f"can't be written ({error.strerror})", path.parent, "Choose another folder with `results`") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        other = file.read().strip()
        raise ConfigError(f"another run is at work there ({other})", results, "Wait until it has ended, or stop it") from None
    file.truncate(0)
    file.write(f"process {os.getpid()} on {os.uname().nodename}, started {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
    file.flush()
    return file


def at_work(results):
    """Whether a run is at work in a results folder."""
    try:
        with open(Path(results, STATE, "lock")) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


# --- what is stale ---


def judge(jobs, recipes, contents, code, digests, verdicts):
    """Find out for each job why it has to run, and tell Snakemake.

    Parameters
    ----------
    jobs : list of plan.Job
        In the order of the data; their `why` and `again` are set.
    recipes : dict
        Path of a recipe -> its content, plain data with `made_from`.
    contents : dict
        Path of a recipe -> a digest of that.
    code : codebase.Code
    digests : fingerprint.Digests
    verdicts : verdicts.Verdicts

    Returns
    -------
    dict
        Of the jobs whose input can't be read: path of the recipe -> message, empty where another job's message says it.
    """
    read = functools.cache(records.read)
    again, lost = set(), set()  # products that are made in this run, and that can't be made
    bad = {}
    for job in jobs:
        recipe = recipes[job.recipe]
        inputs = inputs_of(recipe)
        is_lost = not lost.isdisjoint(path for path, _ in inputs)
        made_again = [path for path, _ in inputs if path in again]
        job.after[:] = map(os.path.basename, made_again)
        before = None if is_lost else mark(job, contents[job.recipe], inputs, made_again)
        known = verdicts.of(job.recipe, before)
        if known is not None:
            job.why[:] = known
            again.update(job.outputs.values() if known or job.after else ())
            continue
        try:
            if not is_lost:
                job.why[:] = _reasons(job, recipe["made_from"], _own(recipe), inputs, again, code, digests, read)
            else:
                bad[job.recipe] = ""
        except InputError as error:
            bad[job.recipe] = str(error)
        if job.recipe in bad:
            lost.update(job.outputs.values())
            continue
        if job.why or job.after:
            again.update(job.outputs.values())
        if not _tell(job, recipe):
            verdicts.learn(job.recipe, before, job.why)
    for memory in (code, digests, verdicts):
        memory.remember()
    return bad


def inputs_of(recipe):
    """The files of a recipe: (path, what it is to the job)."""
    return [(recipe["input"], "science"), *((m["path"], m["exptype"]) for m in recipe.get("members", ()))]


def _own(recipe):
    """Step -> the user's own module, of a recipe."""
    return {entry["name"]: entry["own"] for entry in recipe["entries"] if entry.get("own")}


def _reasons(job, made_from, own, inputs, again, code, digests, read):
    """In words, why a job has to run whatever the jobs before it make; [] if that is not so."""
    missing = [Path(path).name for path in job.outputs.values() if not os.path.exists(path)]
    if len(missing) == len(job.outputs):
        return ["not made yet"]
    if missing:
        return [f"there is no {name}" for name in missing]
    words = {}
    for product in job.outputs.values():
        record = read(product)
        if record is None:
            return [f"there is no record of how {Path(product).name} was made"]
        made = record["product"]
        if digests.of(product, made["size"], made["mtime_ns"], made["digest"]) != made["digest"]:
            words[f"{Path(product).name} is not what was made"] = True
        for path, row in records.listed(product, record):
            if not os.path.exists(path):
                words[f"there is no {Path(path).name}"] = True
            elif digests.of(path, row["size"], row["mtime_ns"], row["digest"]) != row["digest"]:
                words[f"{Path(path).name} is not what was made"] = True
        words.update(dict.fromkeys(records.changes(record, made_from, code, own)))
        words.update(dict.fromkeys(records.input_changes(record, inputs, digests, again, read)))
    return list(words)


def _tell(job, recipe):
    """Write a job's recipe, with a time that tells Snakemake whether the job is stale; whether any file was changed for that."""
    path, known = job.recipe, storage.noted(job.recipe)
    same = {k: v for k, v in known.items() if k != "stale"} == recipe
    made = [file for file in job.outputs.values() if os.path.exists(file)]  # what Snakemake takes the job's age from
    if job.why and not made and same and known.get("stale", {}).get("why") == job.why:
        return False  # without any product the job runs whatever the times are
    if job.why:
        now = time.time_ns()
        for file in made:
            if _time(file) >= now:  # of a clock that was ahead
                _set_time(file, now - SECOND)
        # A new time makes the content new too: Snakemake takes a small file that only looks younger for unchanged.
        write(path, {**recipe, "stale": {"why": job.why, "since": now}})
        return True
    if not same:
        write(path, recipe)
    return (made and not job.after and _put_in_order(path, made, recipe)) or not same


def _put_in_order(path, made, recipe):
    """Make products that are up to date younger than what they are made from, if somebody has touched or copied something; whether so."""
    before = [_time(file) for file, _ in inputs_of(recipe) if records.has_record(file) and os.path.exists(file)]
    oldest, newest, now = min(map(_time, made)), max(map(_time, made)), time.time_ns()
    if changed := newest > now or max(before, default=0) >= oldest:
        for file in made:
            _set_time(file, now)
        oldest = now
    if _time(path) < oldest:
        return changed
    _set_time(path, oldest - SECOND)
    return True


def as_input(path, results):
    """A file that is not ours as the input of a rule: the file, or a link to it where Snakemake can't do with the file itself.

    It ends a job with an error if its input is younger than its output, as one is that a clock that was ahead has dated in the future;
    and it takes braces in a path for wildcards.
    """
    path = os.path.abspath(path)
    odd = "{" in path or "}" in path
    if not odd and (not os.path.exists(path) or os.path.getmtime(path) <= time.time()):
        return path
    folder, name = os.path.split(path)
    link = Path(results, STATE, "links", fingerprint.of_text(folder)[:12], name.translate(NO_BRACES))
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink() or os.readlink(link) != path:
        link.unlink(missing_ok=True)
        link.symlink_to(path)
    return str(link)


def write(path, content):
    """Write JSON for other processes: whole, or not at all."""
    with storage.replaced(path) as temporary:
        temporary.write_text(json.dumps(content, sort_keys=True))


def _time(path):
    return os.stat(path).st_mtime_ns


def _set_time(path, ns):
    """Set a file's time; if it is a product, in its record too."""
    if records.read(path):
        records.set_time(path, ns)
    else:
        os.utime(path, ns=(ns, ns))


def remember(jobs, results):
    """Keep the digests of products that were just made, with the times they have now: Snakemake touches them when their job has ended."""
    digests = fingerprint.Digests(Path(results, STATE, "digests.json"))
    for job in jobs:
        for product in job.outputs.values() if job.why or job.after else ():
            record = records.read(product)
            if record and os.path.exists(product) and os.stat(product).st_size == record["product"]["size"]:
                digests.learn(product, record["product"]["digest"])
                for path, row in records.listed(product, record):
                    if os.path.exists(path) and os.stat(path).st_size == row["size"]:
                        digests.learn(path, row["digest"])
    digests.remember()


# --- products that may stay as they are ---


def kept_path(product):
    """Where a product is kept while its job finds out whether it has to be made again."""
    product = Path(product)
    return product.parents[1] / STATE / "kept" / product.parent.name / product.name


def keep(jobs):
    """Keep the products of jobs that run only because a job before them does: Snakemake removes the products of each job it starts.

    A second name of the same file, so it costs no space. Where the file system knows no such names the jobs compute.
    """
    for job in jobs:
        if job.after and not job.why:
            for product in job.outputs.values():
                kept = kept_path(product)
                with contextlib.suppress(OSError):
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    kept.unlink(missing_ok=True)
                    os.link(product, kept)


def tidy(results):
    """Clear up after a run that was killed: products that it had taken away are put back, what it had half written is removed."""
    for temporary in Path(results).glob("stage*/.*.tmp"):
        with contextlib.suppress(OSError):
            temporary.unlink()
    folder = Path(results, STATE, "kept")
    for kept in folder.glob("*/*"):
        product = Path(results, kept.parent.name, kept.name)
        with contextlib.suppress(OSError):
            if product.exists() or records.read(product) is None:
                kept.unlink()
            else:
                os.replace(kept, product)


def take_back(outputs, made_from, inputs):
    """Put kept products in place again if what they were made from is what they would be made from now; else they are not kept any more.

    Parameters
    ----------
    outputs : iterable of path
    made_from : dict
        The job's `provenance.ingredients`.
    inputs : list of dict
        The job's inputs, as `provenance.measured` gives them.

    Returns
    -------
    bool
    """
    kept = {product: kept_path(product) for product in outputs}
    same = all(_is_same(product, path, made_from, inputs) for product, path in kept.items())
    same = same and all(_is_listed(path, row) for product in kept for path, row in records.listed(product, records.read(product)))
    for product, path in kept.items():
        if same:
            os.replace(path, product)
            records.set_time(product, time.time_ns(), inputs)
        else:
            path.unlink(missing_ok=True)
    return same


def _is_same(product, kept, made_from, inputs):
    """Whether a kept product is what its record says, and was made from just this."""
    record = records.read(product)
    if record is None or not kept.exists():
        return False
    made_alike = record["made_from"] == made_from and _contents(record["inputs"]) == _contents(inputs)
    return made_alike and fingerprint.digest(kept) == record["product"]["digest"]


def _is_listed(path, row):
    """Whether a file is what a list says."""
    return os.path.exists(path) and os.stat(path).st_size == row["size"] and fingerprint.digest(path) == row["digest"]


def _contents(inputs):
    return sorted((i["name"], i["exptype"], i["digest"]) for i in inputs)
