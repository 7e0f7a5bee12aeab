"""How far a run is, said now and then: "stage 1: 12/40 exposures, stage 2: 8/40, 2 failed, about 12 min left".

A handler of Snakemake's log, whose records name each job that starts, ends or fails: nothing is polled, and it is the same on a cluster.
While no job ends it says which one it waits for, ever more seldom.
"""

import logging
import math
import statistics
import sys
import threading
import time
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field

from ..provenance import records
from .words import duration, roughly

EVERY, EVERY_IN_A_FILE = 10, 60  # seconds between two lines, on a terminal and elsewhere
SELDOM = 600  # s between two lines while nothing changes, at most


def follow(stages, wanted, to_do, logger, say):
    """Say now and then how far a run is, until its log is closed.

    Parameters
    ----------
    stages : dict
        Stage -> its rules.
    wanted, to_do : Counter
        Rule -> number of jobs: all that lead to what was asked for, and those that this run has to do.
    logger : logging.Logger
        Snakemake's.
    say : callable
        Takes a line.
    """
    jobs = {stage: {rule: wanted[rule] for rule in rules} for stage, rules in stages.items() if any(wanted[rule] for rule in rules)}
    known = {rule for rules in jobs.values() for rule in rules}
    progress = Progress(jobs, Counter({rule: number for rule, number in to_do.items() if rule in known}))
    logger.addHandler(Follower(progress, say, EVERY if sys.stderr.isatty() else EVERY_IN_A_FILE))


@dataclass
class Progress:
    """Jobs of a run, by rule.

    Parameters
    ----------
    stages : dict
        Stage -> {rule: number of its jobs}, the up-to-date ones among them.
    to_do : dict
        Rule -> number of jobs that this run has to do.
    """

    stages: dict
    to_do: Counter
    finished: Counter = field(default_factory=Counter)
    failed: set = field(default_factory=set)  # of (job number, rule)
    seconds: dict = field(default_factory=lambda: defaultdict(list))  # rule -> times of its jobs
    running: dict = field(default_factory=dict)  # job number -> (rule, when it started, one of its products)

    def start(self, job, rule, product, now):
        """A job starts, or is tried again."""
        self.failed.discard((job, rule))
        self.running[job] = rule, now, product

    def finish(self, job, now):
        """A job is done; its time is what its product's record says, which knows nothing of a cluster's queue."""
        if job in self.running:
            rule, began, product = self.running.pop(job)
            record = records.read(product) if product else None
            self.finished[rule] += 1
            self.seconds[rule].append(min(record["run"]["seconds"] if record else math.inf, now - began))

    def fail(self, job, rule):
        """A job has failed."""
        self.running.pop(job, None)
        self.failed.add((job, rule))

    def waits_for(self, now):
        """The job that has run for longest, if any does."""
        rule, began, _ = min(self.running.values(), key=lambda job: job[1], default=(None, now, None))
        return f", {rule} since {duration(now - began)}" if rule else ""

    def line(self, elapsed, now):
        """What to say."""
        parts = []
        for stage, rules in self.stages.items():
            done = sum(jobs - self.to_do[rule] + self.finished[rule] for rule, jobs in rules.items())
            parts.append(f"{stage}: {done}/{sum(rules.values())}{' exposures' if not parts else ''}")
        if self.failed:
            parts.append(f"{len(self.failed)} failed")
        ages = [(rule, now - began) for rule, began, _ in self.running.values()]
        seconds = {rule: statistics.median(times) for rule, times in self.seconds.items()}
        lost = Counter(rule for _, rule in self.failed)
        left = time_left(self.to_do - self.finished - lost, self.finished, ages, seconds, elapsed)
        if left is not None:
            parts.append(f"{roughly(left)} left")
        return ", ".join(parts)


def time_left(to_do, finished, running, seconds, elapsed):
    """Seconds until the end, at the pace so far.

    Work is counted in seconds of jobs: that of a rule without a measured time is the median of the measured ones.

    Parameters
    ----------
    to_do, finished : dict
        Rule -> number of jobs; those that run are among `to_do`.
    running : list of (str, float)
        Rule and age (s) of the jobs that run.
    seconds : dict
        Rule -> time of one job (s).
    elapsed : float
        Since the run began (s).

    Returns
    -------
    float or None
        None while no job has been timed.
    """
    if not seconds or elapsed <= 0:
        return None
    typical = statistics.median(seconds.values())
    begun = sum(min(age, seconds.get(rule, typical)) for rule, age in running)
    done = begun + sum(jobs * seconds.get(rule, typical) for rule, jobs in finished.items())
    left = sum(jobs * seconds.get(rule, typical) for rule, jobs in to_do.items()) - begun
    return max(0.0, left) * elapsed / done if done > 0 else None


class Follower(logging.Handler):
    """Keeps the count, and says it when it changed, or when jobs have run for long, but not more often than `every` seconds.

    Parameters
    ----------
    progress : Progress
    say : callable
    every : float
    """

    def __init__(self, progress, say, every):
        super().__init__()
        self.progress, self.say, self.every = progress, say, every
        self.began = self.told = time.monotonic()
        self.pause, self.changed, self.timer = every, False, None

    def emit(self, record):
        """Take note of a record; a count that goes wrong must not break the run."""
        with suppress(AttributeError, KeyError, TypeError, ValueError):
            now = time.monotonic()
            if self._changes(record, now) and not self.changed:
                self.changed, self.pause = True, self.every
                self._wait(max(0.0, self.told + self.every - now))
            elif self.progress.running and self.timer is None:
                self._wait(self.pause)

    def _changes(self, record, now):
        """Take note of what happened to a job; whether it has ended."""
        event = getattr(record, "event", None)
        if event == "job_info":
            self.progress.start(record.jobid, record.rule_name, next(iter(record.output), None), now)
        elif event == "job_finished":
            self.progress.finish(record.job_id, now)
        elif event == "job_error":
            self.progress.fail(record.jobid, record.rule_name)
        return event in ("job_finished", "job_error")

    def _wait(self, seconds):
        """Speak in some seconds, and not when it was meant to before."""
        if self.timer:
            self.timer.cancel()
        self.timer = threading.Timer(seconds, self._tell)
        self.timer.daemon = True
        self.timer.start()

    def _tell(self):
        with self.lock:
            self.timer, self.told = None, time.monotonic()
            line = self.progress.line(self.told - self.began, self.told)
            if not self.changed:
                line += self.progress.waits_for(self.told)
                self.pause = min(2 * self.pause, SELDOM)
            self.changed = False
            if self.progress.running:
                self._wait(self.pause)
        self.say(line)

    def close(self):
        """The run is over: nothing more is said."""
        with self.lock:
            self.progress.running.clear()
            if self.timer:
                self.timer.cancel()
        super().close()
