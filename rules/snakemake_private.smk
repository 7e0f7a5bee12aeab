"""What Snakemake has no public way to tell or to set: all private names of it that the workflow uses, each in one function.

REQUIRED INPUTS: none.
OUTPUTS: none. tests/workflow/test_snakemake_private.py calls each of them with the version of envs/requirements.txt.
"""

import threading

from snakemake.logging import logger
from snakemake.settings.types import RerunTrigger


def is_main_process():
    """Whether this process schedules the jobs; a job of a cluster reads the Snakefile too."""
    return workflow.is_main_process


def is_lint():
    """Whether the rules are only looked at, without data."""
    return not workflow.check_envvars


def is_dry_run():
    return workflow.dryrun


def asks_for_dry_run():
    """The same while the Snakefile is read, when Snakemake does not know yet how it will execute."""
    return workflow.output_settings.dryrun


def does_something():
    """Whether jobs are run, or would be: not for a drawing of the DAG, a summary, lint."""
    return workflow.executor_plugin is not None


def runs_here():
    """Whether the jobs run on this machine, as processes of this one."""
    return workflow.local_exec


def sends_jobs():
    """Whether jobs are sent to a cluster: --jobs is given, as in profiles/slurm."""
    return workflow.resource_settings.nodes is not None


def cores():
    """How many cores the jobs may take together, or None."""
    return workflow.resource_settings.cores


def looks_at_everything():
    """Whether an option makes it run or count jobs that are up to date."""
    options = workflow.dag_settings
    return bool(options.forceall or options.forcerun or options.batch or options.rerun_triggers != {RerunTrigger.MTIME})


def keep_going():
    """After a job that fails go on with the others, as --keep-going does."""
    workflow.execution_settings.keep_going = True


def jobs_of_the_run():
    """(rule, wildcards, whether it has to run) of all jobs of the DAG."""
    return [(job.rule.name, job.wildcards_dict, workflow.dag.needrun(job)) for job in workflow.dag.jobs]


def screen_handler():
    """What writes Snakemake's own messages to the screen; None where it is told to say all, or where a plugin writes them."""
    handlers = [handler for handler in logger.handlers if handler.name == "DefaultStreamHandler"]
    return None if workflow.output_settings.verbose or not handlers else handlers[0]


def end_timers():
    """End the timers by which Snakemake counts jobs a second: its process would wait for the last one."""
    for timer in threading.enumerate():
        if isinstance(timer, threading.Timer) and timer.function.__module__.startswith("snakemake."):
            timer.cancel()
