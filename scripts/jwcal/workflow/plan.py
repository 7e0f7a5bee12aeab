"""Exposures, chains, parameters and references -> one small recipe a job. Only the main process plans; jobs read recipes."""

import json
import logging
import os
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path

from ..associations import chosen, members
from ..associations.rules import rules
from ..crds import choose
from ..files import fingerprint
from ..program import index
from ..provenance import codebase, records
from ..settings import chains, forms, pars
from ..settings import config as configuration
from ..settings.recipe import Recipe
from ..settings.selector import ORDER, STAGES, select_for
from ..settings.tables import Like
from ..vocabulary.errors import ConfigError, JwcalError
from ..vocabulary.phrases import some
from ..vocabulary.reference_types import as_for
from . import raw, requests, stale
from .jobs import failure_file
from .patterns import apart
from .resources import mosaic_pixels, resources
from .stale import STATE
from .verdicts import Verdicts

log = logging.getLogger(__name__)
ALONE = {"table": "singleton", "pool": "singleton"}  # of an exposure without an association
REASONS = 4  # that are shown of a job
OPTICS = ("EXP_TYPE", "FILTER", "PUPIL", "GRATING", "CHANNEL", "BAND")  # what tells kinds of exposures apart
START = {"uncal": 0, "rate": 1, "cal": 2}  # level of an exposure's files -> the first of these stages that it still needs


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
    members: list = field(default_factory=list)  # paths of other files of its association that the steps read
    pair: str = ""  # what comes after the suffix in the names of its products
    why: list = field(default_factory=list)  # in words: why it has to run
    after: list = field(default_factory=list)  # names of its inputs that are made again: it has to run unless they come out the same

    @property
    def rule(self):
        """The rule that runs it: one for each pipeline and set of products."""
        return "_".join([self.pipeline.replace("-", "_"), *self.outputs]) + self.pair.replace("-", "_")

    @property
    def is_current(self):
        """Whether its products are up to date, and those that they are made from too."""
        return not self.why and not self.after


@dataclass
class Plan:
    """What a run will do."""

    results: str
    jobs: list = field(default_factory=list)
    problems: list = field(default_factory=list)  # messages about files that can't be used: the run ends with an error
    unusable: list = field(default_factory=list)  # names of those files' exposures; one cause may be that of many
    left_out: list = field(default_factory=list)  # messages about files that are none of ours
    stops: dict = field(default_factory=dict)  # "stage 1: spec2 is not available" -> number of exposures that stop there
    notes: list = field(default_factory=list)  # messages about what was inferred: which observation is whose background
    remarks: list = field(default_factory=list)  # messages about requests that do nothing, or not what they say
    associations: dict = field(default_factory=dict)  # "stage2", "stage3" -> number of associations
    waits: dict = field(default_factory=dict)  # "stage 3" -> {what its associations wait for: their number}
    kinds: dict = field(default_factory=dict)  # exposure -> what it is, in words: "NRC_IMAGE F200W"
    recipes: dict = field(default_factory=dict)  # path -> Recipe; this and the lock only the main process has
    lock: object = None  # an open file

    def __post_init__(self):
        self._members = {}  # (pipeline, id of the association, exposure) -> the association's product
        self.index()

    def index(self):
        """Look the jobs over after they have changed."""
        self._jobs = {(job.rule, job.exposure): job for job in self.jobs}
        self._products = {path for job in self.jobs for path in job.outputs.values()}

    @property
    def refused(self):
        """What the job would make that refuses the files that can't be used; it never does."""
        return str(Path(self.results, STATE, "refused"))

    @property
    def refused_log(self):
        return str(Path(self.results, "logs", "refused.log"))

    def log_pattern(self, rule):
        """The log of a rule's jobs, with the exposure as a wildcard."""
        return str(Path(self.results, "logs", f"{{exposure}}.{rule}.log"))

    def rules(self, stage):
        """Names of the rules of a stage."""
        return sorted({job.rule for job in self.jobs if job.stage == stage})

    def exposures(self, rule):
        """A regular expression for the exposures that a rule is for.

        It is short, for Snakemake goes through it for each file; what the plan's other products would give in the place of the exposure it
        does not match.
        """
        mine = {job.exposure for job in self.jobs if job.rule == rule}
        alike = set()
        for pattern in self.output_patterns(rule).values():
            start, _, end = pattern.partition("{exposure}")
            alike.update(path[len(start) : -len(end)] for path in self._products if path.endswith(end) and path.startswith(start))
        return apart(mine, alike - mine)

    def job(self, rule, exposure):
        """The job of a rule for an exposure."""
        return self._jobs[rule, exposure]

    def output_patterns(self, rule):
        """The products of a rule, by suffix, with the exposure as a wildcard."""
        job = next(job for job in self.jobs if job.rule == rule)
        return {suffix: _pattern(path, job.exposure) for suffix, path in job.outputs.items()}

    def input_pattern(self, rule, field):
        """The inputs of a rule's jobs with the exposure as a wildcard, and whether they are foreign; (None, False) if no pattern fits."""
        found = {job.exposure: getattr(job, field) for job in self.jobs if job.rule == rule}
        if not any(found.values()):
            return [], False
        if not all(isinstance(path, str) and not set("{}") & set(path) for path in found.values()):
            return None, False
        patterns = {(_pattern(path, name), field != "recipe" and not self.makes(path)) for name, path in found.items()}
        pattern, foreign = patterns.pop()
        if patterns or "{exposure}" not in pattern or (foreign and any(self.foreign(path) != path for path in found.values())):
            return None, False
        return pattern, foreign

    def stop(self, stage, why):
        """Note that an exposure goes no further than this stage."""
        where = f"stage {stage}: {why}"
        self.stops[where] = self.stops.get(where, 0) + 1

    def refuse(self, refusals):
        """Note what can't be used, and say a cause that several have in common once.

        Parameters
        ----------
        refusals : list of (str, JwcalError)
            Name of an exposure, and what is the matter.
        """
        causes = {}
        for name, error in refusals:
            causes.setdefault((error.what, error.do), []).append((name, error))
        for found in causes.values():
            names, first = list(dict.fromkeys(name for name, _ in found)), found[0][1]
            if len(names) > 1:
                text = type(first)(first.what, do=first.do)
                self.problems.append(f"{len(names)} exposures: {text} They are {some(names)}.")
            else:
                self.problems += dict.fromkeys(str(error) for _, error in found)
            self.unusable += names

    def taken(self, association, names, chain):
        """The product of another association that names what it makes of one of these exposures in the same way; "" where none does."""
        if not any("{member}" in save.name for save in chain.saves):
            return ""
        keys = [(association.pipeline, association.asn_id, name) for name in names]
        other = next((self._members[key] for key in keys if key in self._members), "")
        if not other:
            self._members.update(dict.fromkeys(keys, association.product))
        return other

    def wait(self, association, for_what, with_image=False):
        """Note that nothing makes this association's product yet, perhaps for want of the mosaic of a direct image too."""
        for_what += ", and for the mosaic of a direct image" if with_image else ""
        counts = self.waits.setdefault(f"stage {association.stage}", {})
        counts[for_what] = counts.get(for_what, 0) + 1

    def makes(self, path):
        """Whether a file is a product of this run's jobs."""
        return path in self._products

    def foreign(self, path):
        """A file that is no product of this run, as a rule's input; see `stale.as_input`."""
        return stale.as_input(path, self.results)

    def reason(self, rule, exposure):
        """In words, why a job has to run."""
        job = self.job(rule, exposure)
        own = f"{job.exposure}_"
        after = [f"its {name.removeprefix(own)}" if name.startswith(own) else name for name in job.after]
        words = job.why or [f"{name} is made again; if it comes out the same, nothing is computed" for name in after]
        return "; ".join(words[:REASONS] + [f"and {len(words) - REASONS} more"] * (len(words) > REASONS)) or "asked for"

    def targets(self, whole=True):
        """The products, and the refusal of the files that can't be used; never nothing.

        All products, or one of each job that is to be made and that no other such job needs: Snakemake adds the others.
        """
        if whole:
            products = [path for job in self.jobs for path in job.outputs.values()]
        else:
            wanted = [job for job in self.jobs if not job.is_current]
            needed = {path for job in wanted for path in (job.input, *job.members)}
            products = [next(iter(job.outputs.values())) for job in wanted if needed.isdisjoint(job.outputs.values())]
        return products + [self.refused] * bool(self.problems) or [str(self.file)]

    def keep(self):
        """Keep the products that may turn out to be up to date; see `stale.keep`."""
        stale.keep(self.jobs)

    def failure(self, log):
        """What went wrong with the job of a log, in one line; "" if it has not said it."""
        if log == self.refused_log:
            return f"{len(self.unusable)} {'file' if len(self.unusable) == 1 else 'files'} can't be used"
        for job in self.jobs:
            if self.log_pattern(job.rule).format(exposure=job.exposure) == log and failure_file(job.recipe).exists():
                return " ".join(failure_file(job.recipe).read_text(errors="replace").split())
        return ""

    def remember(self):
        """Keep what the run has made known; see `stale.remember`."""
        stale.remember(self.jobs, self.results)

    @property
    def file(self):
        """Where it is saved."""
        return Path(self.results, STATE, "plan.json")

    def save(self):
        """Leave the plan for the jobs of a cluster, which read the Snakefile again."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("jobs", "recipes", "lock")}
        # the products in their order, which is in the rules' names
        stale.write(self.file, {**plain, "jobs": [{**vars(job), "outputs": list(job.outputs.items())} for job in self.jobs]})


def _pattern(path, exposure):
    """A path with the exposure in the file's name as a wildcard."""
    folder, name = os.path.split(path)
    return os.path.join(folder, name.replace(exposure, "{exposure}", 1))


def load(settings):
    """The plan that the main process left.

    Parameters
    ----------
    settings : dict
        The configuration.
    """
    plain = json.loads(Plan(settings["results"]).file.read_text())
    return Plan(**{**plain, "jobs": [Job(**{**job, "outputs": dict(job["outputs"])}) for job in plain["jobs"]]})


def make(settings, alone=False, fetch=False, say=log.info):
    """Plan a run and write its recipes.

    Parameters
    ----------
    settings : dict
        The configuration, not validated yet.
    alone : bool
        Keep other runs out of the results folder until this process ends.
    fetch : bool
        Bring the raw files that the configuration asks of the archive first; without it what is there is planned.
    say : callable
        Told how far that is.

    Returns
    -------
    Plan

    Raises
    ------
    JwcalError
        The configuration is wrong, or nothing can be run at all.
    """
    config = configuration.load(settings)
    if set("{}") & set(str(config.results)):
        raise ConfigError(
            "results: the folder's name has braces, which the workflow takes for placeholders", config.results, "Choose another"
        )
    lock = stale.lock(config.results) if alone else None
    stale.tidy(config.results)
    to_come = ""
    if config.archive and fetch:
        raw.bring(config.archive, say)
    elif config.archive:
        to_come = raw.foretell(config.archive)
    found = index.find(config.data, cache=Path(config.results, STATE, "index.json"), skip=[config.results], until=config.until)
    plan = Plan(
        str(config.results),
        lock=lock,
        problems=[f"{path}: {message}" for path, message in found.problems],
        left_out=[f"{path}: {message}" for path, message in found.left_out],
        unusable=[chains.root_and_suffix(path)[0] for path, _ in found.problems],
        kinds={exposure.root: kind_of(exposure.header) for exposure in found.exposures},
        remarks=[to_come] if to_come else [],
    )
    headers = {exposure.root: exposure.header for exposure in found.exposures}
    associations = _associate(plan, found, headers, config)
    asked, refusals = requests.Asked(config, found.exposures), []
    files = {exposure.root: dict(exposure.files) for exposure in found.exposures} | found.named  # suffix -> path, as found among the data
    files = {root: {} for root in plan.unusable} | files
    going = {exposure.root: exposure for exposure in found.exposures}
    for stage, group in ORDER:
        beyond = STAGES.index(stage) > STAGES.index(config.until)
        if stage == "stage3":  # until stage 2 there are only those that stage 2 needs
            for association in associations.of_stage(3):
                if association.pipeline in group and not _missing(association, headers):
                    _plan_association(plan, association, going, files, config, asked, refusals)
        if beyond:
            continue
        if stage == "stage3":
            _tell_singles(plan, associations, going, group)
            for exposure in going.values():
                if exposure.chain.stage3 in group and not chains.is_built(exposure.chain.stage3, exposure.header):
                    plan.stop(STAGES.index(stage), chains.absence(exposure.chain.stage3, exposure.header))
            continue
        for exposure in [exposure for exposure in going.values() if getattr(exposure.chain, stage) in group]:
            if not _plan_stage(plan, exposure, stage, files, associations, config, asked, refusals):
                del going[exposure.root]
    chosen.save(associations.associations, Path(config.results, "associations"), files)
    plan.remarks += _lost_nods(plan) + _incomplete(plan, associations)
    plan.remarks += _lost_segments(associations.of_stage(3), headers, plan.unusable)
    plan.refuse(refusals)
    plan.remarks += asked.remarks(whole=not refusals)
    place = {exposure.root: number for number, exposure in enumerate(found.exposures)}
    plan.jobs.sort(key=lambda job: (place.get(job.exposure, -1 if job.stage != "stage3" else len(place)), job.stage))
    _judge(plan)
    plan.unusable = sorted(set(plan.unusable))
    plan.index()
    plan.save()
    return plan


def kind_of(header):
    """What an exposure is, in words: "NRC_IMAGE F200W", "NRS_FIXEDSLIT F170LP G235H"."""
    words = {keyword: str(header.get(keyword) or "").strip() for keyword in OPTICS}
    if not words["CHANNEL"].isdecimal():  # of NIRCam, whose detectors tell it
        words["CHANNEL"] = ""
    return " ".join(word for word in words.values() if word not in ("", "N/A", "CLEAR", "None"))


def _judge(plan):
    """Find out which jobs have to run; those whose input turns out to be unreadable are none."""
    state = Path(plan.results, STATE)
    code, digests = codebase.Code(), fingerprint.Digests(state / "digests.json")
    common, plain, contents = {}, {}, {}
    for job in plan.jobs:
        recipe = plan.recipes[job.recipe]
        kind = id(recipe.parameters), id(recipe.references)  # which exposures that are alike share
        if kind not in common:
            nobodys = replace(recipe, members=[], association={}, product="", doubts=[])
            alike = {**nobodys.to_dict(), "made_from": records.ingredients(nobodys, code, digests)}
            common[kind] = alike, json.dumps(alike, sort_keys=True)
        alike, text = common[kind]
        own = {"input": job.input, "outputs": job.outputs}
        own |= {"members": recipe.members, "association": recipe.association, "doubts": recipe.doubts, "product": recipe.product}
        plain[job.recipe] = {**alike, **own, "made_from": {**alike["made_from"], "association": recipe.association}}
        contents[job.recipe] = fingerprint.of_text(text, repr(own))
    turn = {pipeline: number for number, (_, group) in enumerate(ORDER) for pipeline in group}
    jobs = sorted(plan.jobs, key=lambda job: turn[job.pipeline])
    bad = stale.judge(jobs, plain, contents, code, digests, Verdicts(state / "verdicts.json"))
    plan.problems += filter(None, bad.values())
    plan.unusable += [job.exposure for job in plan.jobs if job.recipe in bad]
    plan.jobs = [job for job in plan.jobs if job.recipe not in bad]


def _associate(plan, found, headers, config):
    """The associations of the run, counted."""
    associations = chosen.choose(found.exposures, config, found.associations)
    plan.notes += associations.notes
    plan.remarks += associations.remarks
    plan.problems += associations.problems
    plan.unusable += [message.partition(": ")[0] for message in associations.problems]
    plan.left_out += associations.left_out
    for association in associations.associations:
        stage = f"stage{association.stage}"
        plan.associations[stage] = plan.associations.get(stage, 0) + 1
        missing = _missing(association, headers)
        if missing:
            plan.wait(association, missing, with_image=bool(association.waits_for))
    return associations


def _missing(association, headers):
    """The pipeline that this version does not have for an association, "spec2 for NRS_MSASPEC"; empty where it has it."""
    science = association.of_type("science")
    header = headers.get(chains.root_and_suffix(science[0].expname)[0]) if science else None
    if chains.is_built(association.pipeline, header):
        return ""
    known = header is not None and chains.is_built(association.pipeline)
    return f"{association.pipeline} for {header.get('EXP_TYPE')}" if known else association.pipeline


def _plan_stage(plan, exposure, stage, files, associations, config, asked, refusals):
    """Add the jobs of one exposure in one stage; whether it goes on to the next one. What can't be planned is added to the refusals.

    Each stage starts from what the one before makes, or from what the archive has; stage 2 from what the exposure's association says.
    """
    pipeline, number = getattr(exposure.chain, stage), STAGES.index(stage)
    if pipeline is None or number < START[exposure.level]:
        return True
    if not chains.is_built(pipeline, exposure.header):
        return plan.stop(number, chains.absence(pipeline, exposure.header))
    chain = config.chain(pipeline, exposure.header)
    mine = files[exposure.root]
    made = {}
    for association in (associations.of_exposure(exposure.root) if stage == "stage2" else ()) or (None,):
        try:
            wanted = _starts(chain, association)
            reads = next((suffix for suffix in wanted if suffix in mine), None)
            if reads is None:
                plan.stop(number, f"there is no {' or '.join(wanted)} for {pipeline} to start from")
                continue
            job, recipe = _job(exposure, stage, chain, reads, mine[reads], config, association, files)
        except JwcalError as error:
            refusals.append((exposure.root, error))
            continue
        asked.see(recipe, exposure, job.outputs)
        plan.jobs.append(job)
        plan.recipes[job.recipe] = recipe
        plan.left_out += members.unread(association, chain)
        made.update(job.outputs)
    mine.update(made)
    return bool(made)


def _plan_association(plan, association, going, files, config, asked, refusals):
    """Add the job that makes the product of an association of stage 3, unless its members stop before."""
    science = [chains.root_and_suffix(member.expname) for member in association.of_type("science")]
    first = going.get(science[0][0])
    if first is None or any(root not in going or suffix not in files[root] for root, suffix in science):
        plan.wait(association, "products that are not made")
        return
    chain = config.chain(association.pipeline, first.header)
    root, reads = science[0]
    other = plan.taken(association, [name for name, _ in science], chain)
    if other:
        plan.left_out.append(
            f"{association.product}: it shares an exposure with {other}, which is of {association.asn_id} too, so that files of the two "
            "would have the same names. Give one of them another id."
        )
        return
    try:
        combined = [going[name] for name, _ in science]
        size = mosaic_pixels([exposure.header for exposure in combined], first.shape[-2:])
        job, recipe = _job(first, "stage3", chain, reads, files[root][reads], config, association, files, size, combined)
    except JwcalError as error:
        refusals.append((association.product, error))
        return
    asked.see(recipe, first, job.outputs)
    plan.jobs.append(job)
    plan.recipes[job.recipe] = recipe
    files.setdefault(association.product, {}).update(job.outputs)


def _tell_singles(plan, associations, going, group):
    """Note exposures whose pipeline combines several of them, and that are alone: one half of a pair."""
    several = {rule.pipeline for rule in rules() if rule.stage == 3 and rule.at_least > 1}
    paired = {chains.root_and_suffix(member.expname)[0] for association in associations.of_stage(3) for member in association.members}
    for exposure in going.values():
        pipeline = exposure.chain.stage3
        if pipeline in several and pipeline in group and exposure.root not in paired:
            plan.stop(STAGES.index("stage3"), f"{pipeline} combines two exposures, and the other one of {exposure.root} is not there")


def _incomplete(plan, associations):
    """What is said of products that lack an exposure. The product's job knows it too: its log and the product say it.

    An exposure of the same observation can't be used, or a file of the archive names one that is not there: the rules saw neither.
    """
    refused, said = {}, []
    for name in sorted(set(plan.unusable)):
        for place in _places([name]):
            refused.setdefault(place, []).append(name)
    for association in associations.of_stage(3) if refused or associations.lacking else ():
        if association.given:  # it names all its members
            continue
        science = {chains.root_and_suffix(member.expname)[0] for member in association.of_type("science")}
        unusable = [name for place in _places(science) for name in refused.get(place, ())]
        lacks = [members.lack(unusable, "of the same observation and can't be used")] * bool(unusable)
        for given in associations.lacking:
            names = [chains.root_and_suffix(member.expname)[0] for member in given.of_type("science")]
            absent = [name for name in names if name not in {*science, *unusable}]
            same = given.pipeline == association.pipeline and given.asn_id == association.asn_id and not science.isdisjoint(names)
            if same and absent:
                lacks.append(members.lack(absent, f"in {given.given.name} and not among the data"))
        if lacks:
            words = "; ".join(lacks)
            said.append(f"{association.product}: {words}")
            for recipe in plan.recipes.values():
                if recipe.product == association.product and recipe.pipeline == association.pipeline:
                    recipe.association["lacks"] = words
    return said


def _lost_nods(plan):
    """What is said of exposures that are calibrated without some of their nods: once of those that lack the same."""
    without = {}
    for job in plan.jobs:
        lacks = job.stage == "stage2" and plan.recipes[job.recipe].association.get("lacks")
        if lacks:
            without.setdefault(lacks, []).append(job.exposure)
    return [f"{some(names)}: {lacks}" for lacks, names in without.items()]


def _lost_segments(associations, headers, unusable):
    """What is said of series of which a segment was not fetched: EXSEGTOT tells how many there are."""
    said = []
    for association in associations:
        names = [chains.root_and_suffix(member.expname)[0] for member in association.of_type("science")]
        series = {}  # names of a series, but for the segment's number -> numbers
        for name in names if not association.given else ():  # those that are given name all their members
            parsed = index.parse_name(name)
            if parsed and parsed.segment:
                series.setdefault(tuple(name.split(f"-seg{parsed.segment}_")), []).append(int(parsed.segment))
        for (start, end), found in sorted(series.items()):
            totals = [headers.get(f"{start}-seg{number:03}_{end}", {}).get("EXSEGTOT") or 0 for number in found]
            total = max(*totals, *found)
            every = [f"{start}-seg{number:03}_{end}" for number in range(1, total + 1) if number not in found]
            lost = [name for name in every if name not in unusable]
            if lost:
                said.append(f"{association.product}: {members.lack(lost, f'not among the data: the series has {total} segments')}")
    return said


def _places(names):
    """Program, observation and instrument of exposures by their names, but for guide stars."""
    parsed = filter(None, map(index.parse_name, names))
    return sorted({(one.program, one.observation, one.detector[:3]) for one in parsed if not one.function})


def _starts(chain, association):
    """Suffixes of the files that a pipeline can start from: that of the association's science, if there is one."""
    return chain.reads if association is None else (chains.root_and_suffix(association.science.expname)[1],)


def recipe_for(pipeline, header, config, name="", chain=None, slits=lambda: True):
    """All that one pipeline needs to know for the exposure with this header.

    Parameters
    ----------
    pipeline : str
    header : mapping
        Keywords of the primary header and of SCI.
    config : config.Config
    name : str
        The exposure's file, for messages.
    chain : chains.Chain, optional
        In place of the pipeline's own: a part of it.
    slits : callable
        Whether there may be slits that have the references of another type of exposure: asked where steps have such ways for some.

    Returns
    -------
    Recipe

    Raises
    ------
    JwcalError
        A parameter is wrong or a reference is missing.
    """
    chain = chain or config.chain(pipeline, header)
    ours = [step.name for step in chain.steps if not step.own]  # CRDS knows no others
    where = {**config.crds, "overrides": config.overrides(header), "file": name, "known": config.known}
    from_crds = pars.parameter_references(header, pipeline, ours, **where)
    kind = id(chain), id(from_crds), header.get("EXP_TYPE")  # exposures that are alike share the objects; `known` keeps them
    if kind not in config.known:
        values = pars.parameters_in(from_crds.files, pipeline, ours)
        parameters, origins = config.chain_parameters(chain, header.get("EXP_TYPE"), values)
        origins = {step: {name: o for name, o in by_name.items() if o != configuration.DEFAULT} for step, by_name in origins.items()}
        wanted = _wanted(chain, config.save, parameters)
        running = [step for step in chain.steps if not parameters[step.name]["skip"]]
        types = chains.reference_types([step.name for step in running]), chains.other_reference_types(running)
        config.known[kind] = chain, from_crds, parameters, origins, wanted, types
    *_, parameters, origins, wanted, ((required, optional), others) = config.known[kind]
    found = choose.resolve(header, required, optional=optional, **where)
    if others and slits():
        found = _with_others(found, others, header, config, where)
    own = {kind: found.files[kind] for kind in where["overrides"] if kind in found.files}
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
        association={} if "uncal" in chain.reads else dict(ALONE),
        takes=chain.takes,
        forms=forms_of(chain, header),
        doubts=requests.contradictions(own, header, config.known),
        origins=origins,
    )


def _with_others(found, others, header, config, where):
    """The references of an exposure, and those of some of its slits, which are chosen as for exposures of another type."""
    more = []
    for exp_type, types in others.items():
        like = Like(header, EXP_TYPE=exp_type)
        more.append((exp_type, choose.resolve(like, (), optional=types, **{**where, "overrides": config.overrides(like)})))
    kind = "others", id(found), *(id(its) for _, its in more)
    if kind not in config.known:
        files, names = ({as_for(t, exp_type): value for exp_type, its in more for t, value in its[k].items()} for k in (0, 1))
        config.known[kind] = choose.Resolved(found.files | files, found.names | names, found.context), found, more
    return config.known[kind][0]


def forms_of(chain, header):
    """The forms of what a chain reads and writes, but for images: modules of `products`.

    A file that it reads has the form in which the exposure's other pipelines write it: a `cal` of slits, or of an image.
    """
    names = select_for(header) if header.get("EXP_TYPE") and header.get("NINTS") else ()
    others = [chains.chain(name, header) for name in names if name and name != chain.pipeline and chains.is_built(name, header)]
    made = {(suffix, save.model) for save in chain.saves for suffix in save.suffixes.values()}
    made |= {(suffix, save.model) for other in others for save in other.saves for suffix in save.suffixes.values() if suffix in chain.reads}
    made |= {(suffix, "") for suffix in chain.reads}
    made |= {(chains.LIST, "")} if any(save.name for save in chain.saves) else set()
    return sorted({forms.of_product(suffix, model) for suffix, model in made} - {""})


def _wanted(chain, asked, parameters):
    """Suffixes of the optional products that are asked for, by `save` or by a step's parameter; the parameter is set in either case."""
    wanted = list(asked)
    for save in chain.saves:
        step, _, name = save.asked.partition(".")
        if not name or step not in parameters or parameters[step]["skip"]:
            continue
        suffixes = set(save.suffixes.values())
        asked_for = parameters[step][name] or not suffixes.isdisjoint(wanted)
        wanted = [suffix for suffix in wanted if suffix not in suffixes]
        if asked_for and all(parameters[step][key] == value for key, value in save.given.items()):
            parameters[step][name] = parameters[step][name] or True
            wanted += suffixes
    return wanted


def _job(exposure, stage, chain, reads, source, config, association=None, files=(), mosaic=0, combined=()):
    """One job and its recipe. With an association its products have that one's name, and the steps read its members.

    `combined` are all exposures of a product of stage 3, of which `exposure` is the first.
    """
    results = str(config.results)
    members.check(chain, association, exposure.path)
    every = [(one.header, one.path) for one in combined or [exposure]]
    slits = partial(members.may_have_slits, every, files)
    recipe = recipe_for(chain.pipeline, exposure.header, config, str(exposure.path), slits=slits)
    name = exposure.root
    if association is not None:
        name = association.product
        members.add(recipe, association, files)
    members.add_named(recipe, exposure.header, exposure.path, files)
    folder, ends = os.path.join(results, stage), products_of(chain, reads, recipe, config.known)
    outputs = {suffix: os.path.join(folder, chains.placed(name, end)) for suffix, end in ends.items()}
    name, _, pair = name.partition("_{suffix}")  # of a pair of wavefront sensing: "-01"
    name = chains.plain(name)
    if not outputs:
        raise ConfigError(f"{chain.pipeline} makes no product: the step that makes it is skipped", exposure.path, "Set `until` or `save`")
    path = os.path.join(results, STATE, "recipes", f"{name}{pair}.{chain.pipeline}{'' if reads in chain.reads else f'.{reads}'}.json")
    shape = exposure.shape if reads == "uncal" else (*exposure.shape[: int(reads.endswith("ints"))], *exposure.shape[-2:])
    ramps = not set(outputs) <= {"rate", "rateints"}
    number = 1 + sum("of" not in member for member in recipe.members)
    mem_mb, runtime = resources(stage, shape, whole=ramps, members=number, mosaic=mosaic, header=exposure.header)
    job = Job(name, stage, chain.pipeline, str(source), outputs, path, mem_mb, runtime, [member["path"] for member in recipe.members], pair)
    return job, recipe


def products_of(chain, reads, recipe, known=None):
    """Suffix -> what comes after the name in the product's file name; found once for exposures that are alike."""
    known = {} if known is None else known
    absent = frozenset(kind for kind, path in recipe.references.items() if path == "N/A")
    kind = "products", reads, id(recipe.parameters), frozenset(member["exptype"] for member in recipe.members), absent
    if kind not in known:
        skipped = [step for step, parameters in recipe.parameters.items() if parameters["skip"]] + members.idle(recipe)
        skipped += [step for step in recipe.parameters if absent.intersection(chains.reference_types([step])[0])]
        known[kind] = {
            suffix: chains.file_name(chain.entries, "", suffix, chain.pipeline) for suffix in chain.products(reads, recipe.save, skipped)
        }
    return known[kind]
