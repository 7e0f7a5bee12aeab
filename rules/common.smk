"""The plan: which job makes what from what.

REQUIRED INPUTS: the configuration, and the folder that it calls `data`.
OUTPUTS: PLAN; below the results folder one small recipe a job, which the rules take as input.

Only the main process reads headers and asks CRDS. The jobs of a cluster read the Snakefile too, and find the plan that it left.
"""

import os
import re
import sys
import time

from snakemake.exceptions import WorkflowError

STARTED = time.time()
SCRIPTS = os.path.join(workflow.basedir, "scripts")
sys.path.insert(0, SCRIPTS)
# for the jobs' scripts: this checkout's package, whatever else is installed
os.environ.update(PYTHONPATH=os.pathsep.join(filter(None, [SCRIPTS, os.environ.get("PYTHONPATH")])))

from jwcal import plan
from jwcal.errors import JwcalError
from jwcal.report.summary import summary

try:
    PLAN = plan.make(config) if workflow.is_main_process else plan.load(config)
except JwcalError as error:
    if workflow.check_envvars:
        raise WorkflowError(str(error))
    PLAN = plan.Plan(config["results"])  # only lint does not check: it looks at the rules, and needs no data


def job_input(rule, field):
    """An input function: what the plan says of the exposure of this rule."""
    return lambda wildcards: getattr(PLAN.job(rule, wildcards.exposure), field)


def job_resource(rule, field):
    """A resource function: computed from the shape of the data, more of it on each retry."""
    return lambda wildcards, attempt: attempt * getattr(PLAN.job(rule, wildcards.exposure), field)


def print_summary():
    """Say what the run did. Where nothing was run (a dry run, lint, a drawing of the DAG) there is nothing to say."""
    if workflow.executor_plugin and not workflow.dryrun:
        print(summary(PLAN, STARTED))


def exposures(rule):
    """The closed set of exposures that a rule is for."""
    return "|".join(map(re.escape, PLAN.exposures(rule)))
