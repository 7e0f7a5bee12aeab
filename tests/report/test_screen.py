"""What a run says on the screen, of records as Snakemake's log has them."""

import io
import logging
from types import SimpleNamespace

import pytest

from jwcal.report import screen


@pytest.fixture
def said():
    """Log records, and give what stands on the screen then."""
    stream = io.StringIO()
    logger = logging.Logger("snakemake")
    theirs = logging.StreamHandler(stream)
    theirs.addFilter(lambda record: getattr(record, "event", "") != "job_info" or not getattr(record, "quiet", False))
    logger.addHandler(theirs)
    screen.take_over(theirs, logger, lambda: ["To do: 3 jobs"], lambda log: "it was killed" if log == "b.log" else "")

    def log(message="", level=logging.INFO, **more):
        logger.log(level, message, extra=more)
        return stream.getvalue().splitlines()

    return log


def test_a_line_a_job_and_two_a_failure(said):
    said("Job stats: ...", event="run_info")
    said("Select jobs to execute...")
    said(event="job_info", jobid=3, rule_name="image2_cal", rule_msg="image2_cal jw_nrca1: not made yet")
    said(event="job_info", jobid=4, rule_name="image2_cal", rule_msg="image2_cal jw_nrcb1: not made yet")
    said(event="job_info", jobid=0, rule_name="all", rule_msg=None)
    said("[...] Finished", event="job_finished", job_id=3)
    said("1 of 3 steps", event="progress")
    said("stage 1: 1/3 exposures")
    said(event="job_error", jobid=4, rule_name="image2_cal", log=["b.log"])
    said(event="job_error", jobid=3, rule_name="image2_cal", log=["a.log"])
    lines = said("Job stats: ...", event="run_info")
    assert lines == [
        "To do: 3 jobs",
        "image2_cal jw_nrca1: not made yet",
        "image2_cal jw_nrcb1: not made yet",
        "stage 1: 1/3 exposures",
        "failed: image2_cal jw_nrcb1: it was killed",
        "    its log is b.log",
        "failed: image2_cal jw_nrca1",
        "    its log is a.log",
    ]


def test_warnings_and_what_is_not_known_stay(said):
    said("Select jobs with care", level=logging.WARNING)
    said("RuleException:\nCalledProcessError in file x.smk, line 4:\nCommand ...", level=logging.ERROR, event="error")
    said("WorkflowError:\nAt least one job did not complete successfully.", level=logging.ERROR, event="error")
    said("Nothing to be done (all requested files are present and up to date).")
    assert said("news", event="an_event_of_a_later_version") == [
        "Select jobs with care",
        "Nothing to be done (all requested files are present and up to date).",
        "news",
    ]


def test_records_that_are_not_as_we_know_them(said):
    assert said("an error", event="job_error") == ["an error"]


def test_what_snakemake_is_told_to_be_quiet_about(said):
    assert said(event="job_info", quiet=True, jobid=1, rule_name="image2_cal", rule_msg="x") == []


def jobs(number, stage="stage1", why=("jump.rejection_threshold 5.0 -> 6.0",)):
    return [SimpleNamespace(stage=stage, why=list(why)) for _ in range(number)]


def test_equal_reasons_are_counted():
    many = jobs(8) + jobs(8, "stage2", ()) + jobs(1, "stage3", ()) + jobs(2, why=["there is no x"])
    assert screen.to_do(many, {"detector1": 10, "image2": 8, "image3": 1}) == [
        "To do: 19 jobs (10 detector1, 8 image2, 1 image3)",
        "  an input is made again: 9 jobs",
        "  jump.rejection_threshold 5.0 -> 6.0: 8 exposures",
    ]
    assert screen.to_do(jobs(2), {"detector1": 2}) == ["To do: 2 jobs (2 detector1)"]
    assert screen.to_do([], {}) == []
    assert screen.to_do(jobs(5, why=[f"code: {n}" for n in range(10)]), {"a": 5})[-1] == "  and 2 reasons more"
