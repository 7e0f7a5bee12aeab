"""What a run left in its results folder: jobs and their state, times, records of provenance. The only module that knows where it lies."""

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..files import fingerprint, storage
from ..provenance import records
from ..settings.chains import LIST, root_and_suffix
from ..settings.selector import ORDER
from ..vocabulary.errors import InputError
from ..workflow import plan, stale
from ..workflow.jobs import STOPPED, failure_file
from ..workflow.stale import STATE

DONE, OLD, FAILED, WAITING = "done", "out of date", "failed", "waiting"
PRODUCTS = ("fits", "asdf", "ecsv")  # endings of their files
LOG_LINES = 30  # of a failed job's log


@dataclass
class Product:
    """One product of a job."""

    path: Path
    suffix: str
    exists: bool
    record: dict = field(default_factory=dict)  # see provenance.py; {} where there is none


@dataclass
class Job:
    """One job of the plan and what became of it."""

    exposure: str
    stage: str
    pipeline: str
    products: list  # of Product
    log: Path
    inputs: list = field(default_factory=list)  # paths of what it reads
    origins: dict = field(default_factory=dict)  # step -> {parameter that is not the default: where its value came from}
    why: list = field(default_factory=list)  # in words: why its products are not those of the last plan
    message: str = ""  # why it failed
    log_end: str = ""
    seconds: float | None = None
    peak_mb: float | None = None
    asked_mb: int = 0  # by the plan

    @property
    def state(self):
        """DONE if all its products are there, OLD if they are to be made again; FAILED if it left a message."""
        if self.message:
            return FAILED
        if not all(product.exists for product in self.products):
            return WAITING
        return OLD if self.why else DONE


@dataclass
class Results:
    """A results folder."""

    folder: Path
    jobs: list
    problems: list  # messages: files that can't be used
    unusable: list  # their exposures
    left_out: list
    stops: dict  # where -> number of exposures
    notes: list  # messages about what was inferred
    remarks: list  # messages about requests that do nothing
    waits: dict  # stage -> {what its associations wait for: their number}
    others: list = field(default_factory=list)  # products that are in no job's list: of earlier runs

    @property
    def products(self):
        """(job, product) of all products that exist."""
        return [(job, product) for job in self.jobs for product in job.products if product.exists]


def read(folder):
    """What is in a results folder.

    Raises
    ------
    InputError
        No run of the workflow has used it.
    """
    folder = Path(folder)
    try:
        planned = plan.load({"results": folder})
    except FileNotFoundError:
        raise InputError("no run has left its plan there", folder, "Give the folder that the configuration calls `results`") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"its plan can't be read ({error})", folder, "Run the workflow again, or `snakemake -n`") from None
    at_work = stale.at_work(folder)
    recipes = [storage.noted(_recipe(folder, job)) for job in planned.jobs]
    jobs = [_job(folder, job, recipe, at_work) for job, recipe in zip(planned.jobs, recipes, strict=True)]
    _judge(folder, zip(jobs, recipes, strict=True))
    others = sorted(path for paths in leftovers(folder, planned).values() for path in paths)
    p = planned
    return Results(folder, jobs, p.problems, p.unusable, p.left_out, p.stops, p.notes, p.remarks, p.waits, others)


def leftovers(folder, planned):
    """Products in a results folder that are in no job's list.

    Returns
    -------
    dict
        "unasked", "unusable" and "gone" -> paths: of exposures that have other products, that can't be used, and that the run has not.
    """
    known = {(job.stage, os.path.basename(path)) for job in planned.jobs for path in job.outputs.values()}
    known |= {path.parts[-2:] for job in planned.jobs for path, _ in _listed(folder, job)}
    exposures, unusable = {job.exposure for job in planned.jobs}, set(planned.unusable)
    exposures |= {root for job in planned.jobs for root in _members_of(job)}
    unlisted = {f"{root}_{_identifier(job)}" for job in planned.jobs if _lacks_list(folder, job) for root in _members_of(job)}
    found = {"unasked": [], "unusable": [], "gone": []}
    for stage in plan.STAGES:
        with suppress(OSError):
            for name in sorted(os.listdir(folder / stage)):
                stem, dot, kind = name.rpartition(".")
                if kind in PRODUCTS and stem and (stage, name) not in known:
                    root = stem.rpartition("_")[0]
                    if root in unlisted:  # of a job that is not finished, which makes it again
                        continue
                    roots = {root, root.rpartition("_")[0]}  # an association's identifier may stand between
                    why = "unusable" if roots & unusable else "unasked" if roots & exposures else "gone"
                    found[why].append(folder / stage / name)
    return found


def _members_of(planned):
    """The exposures that a job reads."""
    return [root_and_suffix(path)[0] for path in (planned.input, *planned.members)]


def _identifier(planned):
    """That of the association in its product's name: jw01234-o001_t001_..."""
    return planned.exposure.partition("-")[2].partition("_")[0]


def _lacks_list(folder, planned):
    """Whether a job has products of its members, and has not listed them yet."""
    return LIST in planned.outputs and not Path(folder, planned.stage, Path(planned.outputs[LIST]).name).exists()


def _job(folder, planned, recipe, at_work):
    """A job of the plan; its paths are those of the folder, which may have been moved since."""
    products = [_product(Path(folder, planned.stage, Path(path).name), suffix) for suffix, path in planned.outputs.items()]
    record = next((product.record for product in products if product.suffix == LIST), {})
    products += [Product(path, row["suffix"], path.exists(), {**record, "product": row}) for path, row in _listed(folder, planned)]
    name = f"{planned.exposure}.{planned.rule}"
    job = Job(
        planned.exposure, planned.stage, planned.pipeline, products, folder / "logs" / f"{name}.log", [planned.input, *planned.members]
    )
    job.asked_mb = planned.mem_mb
    job.origins = recipe.get("origins", {})
    failed = failure_file(_recipe(folder, planned))
    message = failed.read_text(errors="replace").strip() if failed.exists() else ""
    if message and not (at_work and message == STOPPED):  # which a job leaves while it runs
        job.message, job.log_end = message, _end(job.log)
    run = next((product.record["run"] for product in products if product.record), None)
    if run:
        job.seconds, job.peak_mb = run["seconds"], run["peak_mb"]
    return job


def _recipe(folder, planned):
    return folder.joinpath(*Path(planned.recipe).parts[-3:])


def _judge(folder, pairs):
    """Find out which products are not those that the last plan asked for: their job did not run, or what it reads is made again."""
    turn = {pipeline: number for number, (_, group) in enumerate(ORDER) for pipeline in group}
    digests, makers = _Digests(folder / STATE / "digests.json"), {}
    for job, recipe in sorted(pairs, key=lambda pair: turn[pair[0].pipeline]):
        if job.state == DONE:
            before = {path.name: makers[path.name] for path in map(Path, job.inputs) if path.name in makers}
            late = [f"{maker.pipeline} {maker.exposure} {_STANDS[maker.state]}" for maker, _ in before.values() if maker.state != DONE]
            made = {str(product.path): product.record for _, product in before.values()}
            paths = {product.path.name: product.path for _, product in before.values()}
            inputs = [(str(paths.get(Path(path).name, path)), exptype) for path, exptype in stale.inputs_of(recipe)] if recipe else []
            job.why = _not_run(job, recipe) or list(dict.fromkeys(late)) or _changed(job, inputs, made, digests)
        makers.update({product.path.name: (job, product) for product in job.products})


class _Digests(fingerprint.Digests):
    """Those of raw files; a product is taken for what its record says, as a run at work remembers its digest only at its end."""

    def of(self, path, size=None, mtime_ns=None, known=None):
        return known if records.has_record(path) else super().of(path, size, mtime_ns, known)


_STANDS = {FAILED: "failed", OLD: "is out of date", WAITING: "is not done"}


def _not_run(job, recipe):
    """Why the last plan wanted a job to run, if it has not run since."""
    known = recipe.get("stale")
    made = [product.record["product"].get("mtime_ns", 0) for product in job.products if product.record]
    return known["why"] if known and made and min(made) < known["since"] else []


def _changed(job, inputs, made, digests):
    """Which inputs are not those that the products were made from, in words; a file that has gone since says nothing.

    `made` are the records of those that other jobs have made.
    """
    record = next((product.record for product in job.products if product.record), None)
    if record is None or not inputs:
        return []
    with suppress(InputError):
        return records.input_changes(record, inputs, digests, read=lambda path: made.get(path) or records.read(path))
    return []


def _listed(folder, planned):
    """The products of a job that its list names, and what the list says of each."""
    if LIST not in planned.outputs:
        return []
    path = Path(folder, planned.stage, Path(planned.outputs[LIST]).name)
    return [(Path(file), row) for file, row in records.listed(path, records.read(path))]


def _product(path, suffix):
    exists = path.exists()
    return Product(path, suffix, exists, (records.read(path) or {}) if exists else {})


def _end(log):
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
    except OSError:
        return ""


def members(folder):
    """Associations that the workflow made: file -> {product: [(exptype, member)]}."""
    found = {}
    for path in sorted(Path(folder).rglob("*_asn.json")):
        try:
            content = storage.load_json(path)
            found[path] = {p["name"]: [(m["exptype"], Path(m["expname"]).name) for m in p["members"]] for p in content["products"]}
        except (OSError, ValueError, KeyError, TypeError):
            continue  # the run itself says what is wrong with it
    return found
