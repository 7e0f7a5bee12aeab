"""The plan: which job makes what from what.

REQUIRED INPUTS: the configuration, and the folder that it calls `data`.
OUTPUTS: PLAN; below the results folder one small recipe a job, which the rules take as input.

Only the main process reads headers and asks CRDS. The jobs of a cluster read the Snakefile too, and find the plan that it left.
"""

import gc
import logging
import os
import sys
import time
from collections import Counter
from contextlib import suppress
from functools import partial

from snakemake.logging import logger
from snakemake.settings.enums import Quietness

STARTED = time.time()
SCRIPTS = os.path.join(workflow.basedir, "scripts")
# In a checkout its package, whatever else is installed; a wheel has put it where Python looks.
OWN = os.path.isdir(os.path.join(SCRIPTS, "jwcal"))
if OWN:
    sys.path.insert(0, SCRIPTS)
# for the jobs: the same package, and this Python, unless conda has one for them
for variable, folder in [("PYTHONPATH", SCRIPTS)] * OWN + [("PATH", os.path.dirname(sys.executable))]:
    os.environ[variable] = os.pathsep.join(filter(None, [folder, os.environ.get(variable)]))
JOB = "python -m jwcal.jobs {input.recipe:q} --log {log:q} --threads {threads} --scratch {resources.tmpdir:q}"

from jwcal.machine.garbage import SELDOM
from jwcal.report import progress, screen
from jwcal.report.summary import forecast, summary
from jwcal.vocabulary.errors import JwcalError
from jwcal.workflow import jobs, kernels, plan, warm

# a line that --quiet and --quiet progress keep silent
say = partial(logger.info, extra={"quietness": Quietness.PROGRESS})
if is_main_process():
    gc.disable()  # what the DAG is made of is kept: a tenth of the time would go into searching it for garbage. See `collect_garbage`
try:
    fetch = not (asks_for_dry_run() or is_lint())
    PLAN = plan.make(config, alone=True, fetch=fetch, say=say) if is_main_process() else plan.load(config)
except JwcalError as error:
    if not is_lint():
        sys.exit(f"ERROR: {error}")  # an exception would be told with a place in this file, as a defect of it
    PLAN = plan.Plan(config["results"])  # only lint does not check: it looks at the rules, and needs no data
except KeyboardInterrupt:
    sys.exit("It was interrupted before any job was run. Run again to go on.")


def jobs_to_do():
    """Lines about what this run does."""
    wanted = {(rule, wildcards.get("exposure")) for rule, wildcards, must in jobs_of_the_run() if must}
    chosen = [job for job in PLAN.jobs if (job.rule, job.exposure) in wanted]
    counts = Counter(job.pipeline for job in chosen)
    return screen.to_do(chosen, {pipeline: counts[pipeline] for _, group in plan.ORDER for pipeline in group if counts[pipeline]})


os.environ.pop(jobs.TOLD, None)
if is_main_process() and screen_handler():
    os.environ[jobs.TOLD] = "1"  # a failure is said once
    screen.take_over(screen_handler(), logger, jobs_to_do, PLAN.failure)


def to_be_made(wildcards):
    """The products that are not up to date. Snakemake need not look at the others, unless an option makes it run or count jobs that are."""
    return PLAN.targets(whole=looks_at_everything())


def job_input(rule, field):
    """An input: the file, or the files, that the plan names for an exposure. Only of our own products and recipes the time counts.

    A function; or, as Snakemake is faster with it, one pattern for all exposures where there is one.
    """
    own = lambda path: path if field == "recipe" or PLAN.makes(path) else ancient(PLAN.foreign(path))
    if is_main_process():
        pattern, foreign = PLAN.input_pattern(rule, field)
        if pattern is not None:
            return ancient(pattern) if foreign else pattern

    def paths(wildcards):
        if not is_main_process():
            keep_going()  # of several exposures that share a job of a cluster: Snakemake's process there has its settings only now
        found = getattr(PLAN.job(rule, wildcards.exposure), field)
        return own(found) if isinstance(found, str) else [own(path) for path in found]

    return paths


def job_reason(rule):
    """A parameter function: in words, why the job has to run."""
    return lambda wildcards: PLAN.reason(rule, wildcards.exposure)


def job_resource(rule, field):
    """A resource function: computed from the shape of the data, more of it on each retry."""
    return lambda wildcards, attempt: attempt * getattr(PLAN.job(rule, wildcards.exposure), field)


def collect_garbage():
    """Look for garbage from now on, but not in what is there: the plan and the DAG stay to the end."""
    gc.freeze()
    gc.set_threshold(*SELDOM)
    gc.enable()


def compile_kernels():
    """Compile what the jobs of this run need and this machine has not kept yet."""
    wanted = {(rule, wildcards.get("exposure")) for rule, wildcards, must in jobs_of_the_run() if must}
    recipes = [PLAN.recipes[job.recipe] for job in PLAN.jobs if (job.rule, job.exposure) in wanted]
    kernels.compile_missing(recipes, say, cores())


def at_exit():
    """Say what the run did, or would do. Where nothing was run or tried (lint, a drawing of the DAG) there is nothing to say."""
    if does_something():
        foretell() if is_dry_run() else print_summary()


def foretell():
    """Say what a dry run is silent about, and end with an error where the run would: Snakemake's own status only tells that there is a DAG."""
    text = forecast(PLAN)
    if text:
        print(text, flush=True)
    if any(name == "refuse" for name, _, _ in jobs_of_the_run()):
        sys.stderr.flush()
        logging.shutdown()
        os._exit(1)  # what is called at the exit can't change the status otherwise


def print_summary():
    """Say what the run did, and leave it in summary.txt."""
    PLAN.remember()
    text = summary(PLAN, STARTED)
    print(text)
    with suppress(OSError):  # a full disk must not hide what went wrong
        with open(os.path.join(PLAN.results, "summary.txt"), "w", encoding="utf-8") as file:
            file.write(text.lstrip("\n") + "\n")


def say_progress():
    """Say now and then how far the run is; `--quiet` and `--quiet progress` keep it silent."""
    known = jobs_of_the_run()
    wanted = {(rule, wildcards.get("exposure")) for rule, wildcards, _ in known}
    current = {(job.rule, job.exposure) for job in PLAN.jobs if job.is_current}
    progress.follow(
        {stage.replace("stage", "stage "): PLAN.rules(stage) for stage in plan.STAGES},
        Counter(rule for rule, _ in wanted | current),
        Counter(rule for rule, _, must in known if must),
        logger,
        say=say,
    )
