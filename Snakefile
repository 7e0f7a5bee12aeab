"""JWST exposures from uncal to calibrated products. Start at README.md; the code is in scripts/jwcal, the tables in config/."""

import atexit

from snakemake.utils import min_version

min_version("9.0")


configfile: f"{workflow.basedir}/config/config.yaml"


include: "rules/common.smk"
include: "rules/refuse.smk"
include: "rules/stage1.smk"
include: "rules/stage2.smk"


rule all:
    """Every product of every exposure that was found, in so far as it is not up to date."""
    default_target: True
    input:
        to_be_made,


rule everything:
    """The same, with the jobs that are up to date: for --dag, --summary, --delete-all-output."""
    input:
        PLAN.targets(),


# Not in dry runs: before the first job starts, which is when Snakemake begins to remove what is made again.
onstart:
    collect_garbage()
    PLAN.keep()
    if workflow.local_exec:
        warm.start()
    say_progress()


onsuccess:
    end_timers()


onerror:
    end_timers()


# Not with onsuccess and onerror: they are not called when there is nothing to be done.
if workflow.is_main_process:
    atexit.register(at_exit)
