"""What is said of a run while it goes: counts, and the time that is left."""

import logging
import re
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jwcal.provenance import records
from jwcal.report import progress
from jwcal.report.progress import Follower, Progress, time_left


def test_nothing_is_foretold_before_a_job_is_timed():
    assert time_left({"a": 5}, {}, [("a", 3.0)], {}, 3.0) is None


def test_time_left_of_equal_jobs():
    """Two at once: 10 jobs of 6 s took 30 s, so will the other 10."""
    assert time_left({"a": 10}, {"a": 10}, [], {"a": 6.0}, 30.0) == pytest.approx(30.0)


def test_jobs_that_run_count_by_their_age():
    """4 of 8 jobs of 10 s are done, 2 are half through: 50 s of work in 25 s, 30 s of work to go."""
    assert time_left({"a": 4}, {"a": 4}, [("a", 5.0), ("a", 5.0)], {"a": 10.0}, 25.0) == pytest.approx(15.0)


def test_a_rule_without_a_time_is_taken_at_the_median():
    seconds = {"a": 2.0, "b": 4.0, "c": 30.0}
    assert time_left({"new": 5}, {"a": 1, "b": 1, "c": 1}, [], seconds, 36.0) == pytest.approx(20.0)


@given(
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 50)),
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 50)),
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1e5)), max_size=5),
    st.dictionaries(st.sampled_from("abc"), st.floats(0, 1e4)),
    st.floats(0, 1e6),
)
def test_time_left_is_never_negative(to_do, finished, running, seconds, elapsed):
    left = time_left(to_do, finished, running, seconds, elapsed)
    assert left is None or left >= 0


def of_forty():
    """A run of 40 exposures; stage 1 of four of them is up to date."""
    return Progress(
        {"stage 1": {"detector1": 40}, "stage 2": {"image2": 30, "tso_image2": 10}}, Counter(detector1=36, image2=30, tso_image2=10)
    )


def test_the_line_counts_what_is_up_to_date_and_what_failed():
    run = of_forty()
    assert run.line(0.0, 0.0) == "stage 1: 4/40 exposures, stage 2: 0/40"
    for job in range(10):
        run.start(job, "detector1", None, now=0.0)
        if job == 9:
            run.fail(job, "detector1")
        else:
            run.finish(job, now=20.0)
    run.start(50, "image2", None, now=20.0)
    run.finish(50, now=30.0)
    # left: 26 x 20 s and 29 x 10 s and 10 x 15 s (the median of the two) = 960 s of work; done: 190 s of work in 190 s
    assert run.line(190.0, 190.0) == "stage 1: 13/40 exposures, stage 2: 1/40, 1 failed, about 16 min left"


def test_a_job_that_is_tried_again_has_not_failed():
    run = of_forty()
    run.start(1, "detector1", None, now=0.0)
    run.fail(1, "detector1")
    assert "1 failed" in run.line(1.0, 1.0)
    run.start(1, "detector1", None, now=1.0)
    assert "failed" not in run.line(2.0, 2.0)
    run.finish(1, now=3.0)
    assert run.line(3.0, 3.0).startswith("stage 1: 5/40 exposures, stage 2: 0/40, about")


def test_the_time_of_a_job_is_that_of_its_record(tmp_path):
    product = tmp_path / "a_rate.fits"
    product.write_bytes(b"")
    records.write([product], {}, [], {"seconds": 4.5})
    run = of_forty()
    run.start(1, "detector1", str(product), now=0.0)
    run.finish(1, now=1000.0)  # most of which it waited in a queue
    run.start(2, "detector1", str(tmp_path / "b_rate.fits"), now=0.0)
    run.finish(2, now=7.0)
    run.start(3, "detector1", str(product), now=10.0)
    run.finish(3, now=11.0)  # it was found to be up to date: the record is of an earlier run
    assert run.seconds["detector1"] == [4.5, 7.0, 1.0]


class Clock:
    """Time that goes on when it is told to, and the timers that wait for it."""

    def __init__(self):
        self.now, self.waiting = 100.0, []

    def monotonic(self):
        return self.now

    def Timer(self, wait, call):  # noqa: N802 - in place of threading.Timer
        return SimpleNamespace(start=lambda: self.waiting.append((self.now + wait, call)), cancel=lambda: self.waiting.clear())

    def pass_by(self, seconds):
        self.now += seconds
        due = [call for time, call in self.waiting if time <= self.now]
        self.waiting = [(time, call) for time, call in self.waiting if time > self.now]
        for call in due:
            call()


@pytest.fixture
def said(monkeypatch):
    """A logger with a follower that speaks at most every 10 s; the clock; what was said."""
    clock, lines, logger = Clock(), [], logging.Logger("a run")
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setattr(progress, "threading", clock)
    logger.addHandler(Follower(of_forty(), lines.append, every=10))
    return logger, clock, lines


def end_of_job(logger, number):
    logger.info("", extra={"event": "job_info", "jobid": number, "rule_name": "detector1", "output": []})
    logger.info("", extra={"event": "job_finished", "job_id": number})


def test_it_speaks_only_of_changes_and_not_too_often(said):
    logger, clock, lines = said
    logger.info("something else")
    logger.info("", extra={"event": "job_started", "jobs": [1]})
    clock.pass_by(60)
    assert lines == []
    end_of_job(logger, 0)
    clock.pass_by(0)
    assert len(lines) == 1  # at once, for it has been silent for long
    for number in range(1, 30):
        end_of_job(logger, number)
        clock.pass_by(0.3)
    assert len(lines) == 1
    clock.pass_by(10)
    assert len(lines) == 2
    assert lines[-1].startswith("stage 1: 34/40 exposures, stage 2: 0/40")  # the last change is said, if later
    clock.pass_by(60)
    assert len(lines) == 2


def test_it_says_what_it_waits_for_ever_more_seldom(said):
    logger, clock, lines = said
    logger.info("", extra={"event": "job_info", "jobid": 1, "rule_name": "image2", "output": []})
    told = []
    for _ in range(200):
        clock.pass_by(1)
        if len(lines) > len(told):
            told.append(clock.now - 100)
    assert told == [10, 30, 70, 150]
    assert lines[1].startswith("stage 1: 4/40 exposures, stage 2: 0/40") and lines[1].endswith(", image2 since 30 s")
    logger.info("", extra={"event": "job_finished", "job_id": 1})
    clock.pass_by(0)
    assert "stage 2: 1/40" in lines[-1] and "since" not in lines[-1]
    clock.pass_by(600)
    assert len(lines) == 5  # nothing runs


def test_a_short_run_says_nothing(said):
    logger, clock, lines = said
    end_of_job(logger, 1)
    clock.pass_by(9)
    (follower,) = logger.handlers
    follower.close()
    clock.pass_by(60)
    assert lines == []


def test_a_record_that_it_does_not_understand_breaks_nothing(said):
    logger, clock, lines = said
    logger.info("", extra={"event": "job_info"})
    logger.info("", extra={"event": "job_error", "jobid": [], "rule_name": None})
    end_of_job(logger, 1)
    clock.pass_by(60)
    assert lines[-1].startswith("stage 1: 5/40")


RUN = """
    from collections import Counter
    from functools import partial
    from snakemake.logging import logger
    from snakemake.settings.enums import Quietness
    from jwcal.report import progress

    progress.EVERY = progress.EVERY_IN_A_FILE = 0.1
    onstart:
        progress.follow(
            {"stage 1": ["detector1"], "stage 2": ["image2"]},
            Counter(j.rule.name for j in workflow.dag.jobs),
            Counter(j.rule.name for j in workflow.dag.needrun_jobs()),
            logger,
            say=partial(logger.info, extra={"quietness": Quietness.PROGRESS}),
        )

    rule all:
        input: [f"{n}.out" for n in range(4)]

    rule detector1:
        output: "{n}.out"
        shell: "sleep 0.5; test {wildcards.n} -ne 3 && touch {output}"
"""


def test_in_a_run_of_snakemake(tmp_path):
    """The names of its events are Snakemake's own; nothing is said in dry runs or when it is told to be quiet."""
    (tmp_path / "Snakefile").write_text(textwrap.dedent(RUN))
    (tmp_path / "0.out").touch()

    def run(*arguments):
        command = [Path(sys.executable).parent / "snakemake", "--cores", "1", "--keep-going", "--directory", tmp_path, *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        return done.stdout + done.stderr

    assert "exposures" not in run("-n")
    text = run()
    assert re.search("^stage 1: [23]/4 exposures", text, flags=re.MULTILINE)
    assert ", 1 failed" in text
    (tmp_path / "1.out").unlink()
    assert "exposures" not in run("--quiet", "progress")
