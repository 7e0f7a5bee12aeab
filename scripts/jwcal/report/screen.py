"""What a run says on the screen: what there is to do and why, a line a job, two lines a failure. `--verbose` gives Snakemake's own.

Handlers of Snakemake's log, as `progress` is one. Its records name the event; what is no event of a job, and no bustle, it says itself.
"""

import logging
from collections import Counter

from ..machine import process

OURS = {"run_info", "job_info", "job_error"}  # events that are said in our words
SILENT = {"workflow_started", "job_started", "job_finished", "progress", "shellcmd", "resources_info", "group_info"}
BUSTLE = (
    "Assuming unrestricted shared",
    "Building DAG of jobs",
    "Complete log",
    "Conda environments: ignored",
    "Execute ",
    "Elapsed time",
    "Provided ",
    "Reasons:",
    "Rules claiming more threads",
    "Select jobs",
    "Shutting down, this might take",
    "Singularity containers:",
    "Trying to restart job",
    "Using shell:",
    "host: ",
)
# Errors that say of a job that it has failed, in Snakemake's words.
TOLD_BY_THE_JOB = (
    "RuleException:\nCalledProcessError in file",
    "Exiting because a job execution failed",
    "WorkflowError:\nAt least one job did not complete",
)
FEW, MOST = 3, 8  # jobs with one reason that are not counted; reasons that are shown


def take_over(handler, logger, to_do, failure):
    """Say what concerns jobs in place of Snakemake's handler for the screen, which says the rest.

    Parameters
    ----------
    handler : logging.StreamHandler
        Snakemake's; what its filters drop (--quiet) stays dropped.
    logger : logging.Logger
        Snakemake's.
    to_do : callable
        Gives lines about what there is to do, once the jobs are known.
    failure : callable
        What went wrong with the job of a log, in a line: failure(log); "" where it is not known.
    """
    own = Screen(handler.stream, to_do, failure)
    own.filters = list(handler.filters)
    handler.addFilter(is_its_own)
    logger.addHandler(own)


def is_its_own(record):
    """Whether a record is left to Snakemake's handler."""
    event = getattr(record, "event", None)
    if event in OURS or event in SILENT:
        return False
    if event not in (None, "error") or record.levelno in (logging.WARNING, logging.CRITICAL):
        return True
    return not str(record.msg).strip().startswith(TOLD_BY_THE_JOB if record.levelno > logging.INFO else BUSTLE)


class Screen(logging.StreamHandler):
    """Writes a line for each job that starts, and two for each that fails."""

    def __init__(self, stream, to_do, failure):
        super().__init__(stream)
        self.to_do, self.failure, self.told = to_do, failure, False
        self.names = {}  # number of a job -> its rule and exposure

    def emit(self, record):
        """Say what a record means; one that is not what we know of Snakemake must not end the run."""
        try:
            lines = self.lines(record)
        except (AttributeError, KeyError, TypeError, ValueError, IndexError):
            lines = [str(record.msg)] if getattr(record, "event", None) in OURS else []
        if lines:
            try:
                self.stream.write("\n".join(lines) + "\n")
                self.flush()
            except BrokenPipeError:  # who reads has read enough: the run goes on
                process.say_no_more(self.stream)

    def lines(self, record):
        """What to say of a record."""
        event = getattr(record, "event", None)
        if event == "run_info" and not self.told:
            self.told = True
            return self.to_do()
        if event == "job_info":
            if record.rule_msg:
                self.names[record.jobid] = record.rule_msg.partition(": ")[0]
            return [record.rule_msg] if record.rule_msg else []
        if event == "job_error":
            return failed(self.names.get(record.jobid, record.rule_name), list(record.log), self.failure)
        return []


def failed(name, logs, failure):
    """Two lines about a job that has failed: what, and why; where its log is."""
    log = str(logs[0]) if logs else ""
    said = failure(log)
    return [f"failed: {name}{f': {said}' if said else ''}", *([f"    its log is {log}"] if log else [])]


def to_do(jobs, numbers):
    """Lines about what a run has to do: how many jobs of which kind, and reasons that many of them have in common.

    Parameters
    ----------
    jobs : list of plan.Job
        Those that have to run.
    numbers : dict
        Pipeline -> number of its jobs, in the order of the stages; those of the jobs that are up to date are not among them.
    """
    if not jobs:
        return []
    kinds = ", ".join(f"{count} {pipeline}" for pipeline, count in numbers.items())
    lines = [f"To do: {len(jobs)} {'job' if len(jobs) == 1 else 'jobs'} ({kinds})"]
    reasons = Counter(reason for job in jobs for reason in (job.why or ["an input is made again"]))
    places = {reason: {job.stage for job in jobs if reason in (job.why or ["an input is made again"])} for reason in reasons}
    many = [(reason, count) for reason, count in reasons.most_common() if count > FEW]
    for reason, count in many[:MOST]:
        lines.append(f"  {reason}: {count} {'exposures' if len(places[reason]) == 1 and 'stage3' not in places[reason] else 'jobs'}")
    return [*lines, f"  and {len(many) - MOST} reasons more"] if len(many) > MOST else lines
