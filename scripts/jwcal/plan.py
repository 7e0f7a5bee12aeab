"""Exposures, chains, parameters and references -> one small recipe a job. Only the main process plans; jobs read recipes."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from . import chains, fitsio, pars, program, references
from . import config as configuration
from .errors import ConfigError, JwcalError
from .run import Recipe

STAGES = ("stage1", "stage2", "stage3")
START = {"uncal": 0, "rate": 1, "cal": 2}  # level of an exposure's files -> the first of these stages that it still needs
STATE = ".jwcal"  # in the results folder: index, recipes, what failed


@dataclass(frozen=True)
class Job:
    """One pipeline on one exposure."""

    exposure: str  # root of the file names: jw..._nrca1
    stage: str
    pipeline: str
    input: str
    outputs: dict  # suffix -> path
    recipe: str  # path of the recipe
    mem_mb: int
    runtime: int  # minutes

    @property
    def rule(self):
        """The rule that runs it: one for each pipeline and set of products."""
        return "_".join([self.pipeline.replace("-", "_"), *self.outputs])


@dataclass
class Plan:
    """What a run will do."""

    results: str
    jobs: list = field(default_factory=list)
    problems: list = field(default_factory=list)  # messages about files that can't be used: the run ends with an error
    left_out: list = field(default_factory=list)  # messages about files that are none of ours
    stops: dict = field(default_factory=dict)  # "stage 1: spec2 is not available" -> number of exposures that stop there

    def __post_init__(self):
        self._jobs = {(job.rule, job.exposure): job for job in self.jobs}

    @property
    def refused_pattern(self):
        return str(Path(self.results, STATE, "refused", "{problem}"))

    @property
    def refused_log(self):
        return str(Path(self.results, "logs", "refused", "{problem}.log"))

    def log_pattern(self, rule):
        """The log of a rule's jobs, with the exposure as a wildcard."""
        return str(Path(self.results, "logs", f"{{exposure}}.{rule}.log"))

    def benchmark_pattern(self, rule):
        """The table of a rule's time and memory, with the exposure as a wildcard."""
        return str(Path(self.results, "benchmarks", f"{{exposure}}.{rule}.tsv"))

    def rules(self, stage):
        """Names of the rules of a stage."""
        return sorted({job.rule for job in self.jobs if job.stage == stage})

    def exposures(self, rule):
        """Exposures that a rule is for."""
        return [job.exposure for job in self.jobs if job.rule == rule]

    def job(self, rule, exposure):
        """The job of a rule for an exposure."""
        if len(self._jobs) != len(self.jobs):
            self.__post_init__()
        return self._jobs[rule, exposure]

    def output_patterns(self, rule):
        """The products of a rule, by suffix, with the exposure as a wildcard."""
        job = next(job for job in self.jobs if job.rule == rule)
        return {s: str(Path(p).with_name(Path(p).name.replace(job.exposure, "{exposure}", 1))) for s, p in job.outputs.items()}

    def stop(self, stage, why):
        """Note that an exposure goes no further than this stage."""
        where = f"stage {stage}: {why}"
        self.stops[where] = self.stops.get(where, 0) + 1

    def problem(self, number):
        """The message of one problem."""
        return self.problems[int(number)]

    def targets(self):
        """All products, and the refusals of the files that can't be used."""
        products = [path for job in self.jobs for path in job.outputs.values()]
        return products + [self.refused_pattern.format(problem=i) for i in range(len(self.problems))]

    def save(self):
        """Leave the plan for the jobs of a cluster, which read the Snakefile again."""
        write_if_changed(Path(self.results, STATE, "plan.json"), {k: v for k, v in asdict(self).items()})


def load(settings):
    """The plan that the main process left.

    Parameters
    ----------
    settings : dict
        The configuration.
    """
    plain = json.loads(Path(settings["results"], STATE, "plan.json").read_text())
    return Plan(**{**plain, "jobs": [Job(**job) for job in plain["jobs"]]})


def make(settings):
    """Plan a run and write its recipes.

    Parameters
    ----------
    settings : dict
        The configuration, not validated yet.

    Returns
    -------
    Plan

    Raises
    ------
    JwcalError
        The configuration is wrong, or nothing can be run at all.
    """
    config = configuration.load(settings)
    found = program.index(config.data, cache=Path(config.results, STATE, "index.json"), skip=[config.results])
    plan = Plan(
        str(config.results),
        problems=[f"{path}: {message}" for path, message in found.problems],
        left_out=[f"{path}: {message}" for path, message in found.left_out],
    )
    if config.associations != "generate":
        files = ", ".join(str(path) for path in config.associations)
        plan.left_out.append(f"associations: {files}: no pipeline of stage 3 is available in this version")
    for exposure in found.exposures:
        try:
            _plan_exposure(plan, exposure, config)
        except JwcalError as error:
            plan.problems.append(str(error))
    plan.save()
    return plan


def _plan_exposure(plan, exposure, config):
    """Add the jobs of one exposure: each stage starts from what the one before makes, or from what the archive has."""
    header = exposure.header
    pipelines = exposure.chain
    files = dict(exposure.files)  # suffix -> path, as found in the data folder
    for number, stage in enumerate(STAGES[: STAGES.index(config.until) + 1]):
        pipeline = getattr(pipelines, stage)
        if pipeline is None or number < START[exposure.level]:
            continue
        if not chains.is_built(pipeline):
            return plan.stop(number, f"{pipeline} is not available")
        chain = chains.chain(pipeline, header)
        reads = next((suffix for suffix in chain.reads if suffix in files), None)
        if reads is None:
            return plan.stop(number, f"there is no {' or '.join(chain.reads)} for {pipeline} to start from")
        job = _job(exposure, stage, chain, reads, files[reads], config)
        plan.jobs.append(job)
        files.update(job.outputs)


def recipe_for(pipeline, header, config, name=""):
    """All that one pipeline needs to know for the exposure with this header.

    Parameters
    ----------
    pipeline : str
    header : mapping
        Keywords of the primary header and of SCI.
    config : config.Config
    name : str
        The exposure's file, for messages.

    Returns
    -------
    Recipe

    Raises
    ------
    JwcalError
        A parameter is wrong or a reference is missing.
    """
    chain = chains.chain(pipeline, header)
    where = {**config.crds, "overrides": config.overrides(header), "file": name}
    steps = [step.name for step in chain.steps]
    from_crds = pars.step_parameters(header, pipeline, steps, **where)
    exp_type = header.get("EXP_TYPE")
    parameters = {s: config.step_parameters(s, exp_type, from_crds.get(s), chain.defaults.get(s))[0] for s in steps}
    wanted = _wanted(chain, config.save, parameters)
    required, optional = chains.reference_types([step for step in steps if not parameters[step]["skip"]])
    found = references.resolve(header, required, optional=optional, **where)
    return Recipe(
        pipeline,
        list(chain.entries),
        parameters,
        found.files,
        found.names,
        found.context,
        wanted,
        chain.group_flags,
        list(chain.reads),
    )


def _wanted(chain, asked, parameters):
    """Suffixes of the optional products that are asked for, by `save` or by a step's parameter; the parameter is set in either case."""
    wanted = list(asked)
    for save in chain.saves:
        step, _, name = save.asked.partition(".")
        if name and not parameters[step]["skip"]:
            suffixes = save.suffixes.values()
            parameters[step][name] = bool(parameters[step][name] or set(suffixes) & set(wanted))
            wanted += [suffix for suffix in suffixes if parameters[step][name] and suffix not in wanted]
    return wanted


def _job(exposure, stage, chain, reads, source, config):
    """One job and its recipe."""
    results = Path(config.results)
    recipe = recipe_for(chain.pipeline, exposure.header, config, str(exposure.path))
    skipped = [step for step, parameters in recipe.parameters.items() if parameters["skip"]]
    outputs = {s: str(results / stage / f"{exposure.root}_{s}.fits") for s in chain.products(reads, recipe.save, skipped)}
    if not outputs:
        raise ConfigError(f"{chain.pipeline} makes no product: the step that makes it is skipped", exposure.path, "Set `until` or `save`")
    path = results / STATE / "recipes" / f"{exposure.root}.{chain.pipeline}.json"
    write_if_changed(path, {**recipe.to_dict(), "input": str(source), "local_references": _local_content(recipe)})
    mem_mb, runtime = resources(stage, exposure.shape, whole=not set(outputs) <= {"rate", "rateints"})
    return Job(exposure.root, stage, chain.pipeline, str(source), outputs, str(path), mem_mb, runtime)


def _local_content(recipe):
    """What tells one content of a reference that is not CRDS's from another."""
    found = {}
    for kind, name in recipe.names.items():
        if not name.startswith("crds://") and recipe.references.get(kind, "N/A") != "N/A":
            state = os.stat(recipe.references[kind])
            found[kind] = [state.st_size, state.st_mtime_ns]
    return found


def write_if_changed(path, content):
    """Write JSON, unless the file holds just that: its time then tells when the content changed."""
    text = json.dumps(content, indent=1, sort_keys=True, default=str)
    path = Path(path)
    if path.exists() and path.read_text() == text:
        return
    with fitsio.replaced(path) as temporary:
        temporary.write_text(text)


# Memory of the imports, and of compiling the kernels if that is still to do; beside it bytes of a pixel, of a sample of one
# integration, and of a pixel of the products of one integration.
IMPORTS_MB = 500
PIXEL, SAMPLE, PRODUCT = 90, 12, 20
LARGEST_RAMP = 2**28  # bytes of samples held at once, see ramp.LARGE
IMAGE2_PIXEL = 260


def resources(stage, shape, whole=False):
    """Memory (MB) and time (minutes) that a job asks for, from the shape of its data.

    Parameters
    ----------
    stage : str
    shape : tuple
        Of the SCI extension; (int, group, row, col) for a ramp.
    whole : bool
        The ramp is itself a product, so that it is not walked in pieces.

    Returns
    -------
    (int, int)
    """
    ny, nx = shape[-2:]
    nints = shape[0] if len(shape) > 2 else 1
    ngroups = shape[1] if len(shape) == 4 else 1
    pixels = ny * nx
    if stage == "stage1":
        samples = 4 * pixels * ngroups * nints
        ramp = samples if whole else max(4 * pixels * ngroups, min(samples, LARGEST_RAMP))
        size = PIXEL * pixels + SAMPLE / 4 * ramp + PRODUCT * pixels * nints
    else:
        size = IMAGE2_PIXEL * pixels * (1 if nints == 1 else nints / 4 + 1)
    runtime = 5 + int(pixels * ngroups * nints / 2e7)
    return IMPORTS_MB + int(size / 2**20), runtime
