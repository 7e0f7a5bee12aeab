"""JWST exposures from uncal to calibrated products. Start at README.md; the code is in scripts/jwcal, the tables in config/."""

import atexit
import gc

from snakemake.utils import min_version

min_version("9.27")  # the version that is tested: rules/snakemake_private.smk


configfile: f"{workflow.basedir}/config/config.yaml"


include: "rules/snakemake_private.smk"
include: "rules/common.smk"
include: "rules/refuse.smk"
include: "rules/pipelines.smk"


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
    if runs_here():
        warm.start()
    compile_kernels()
    say_progress()


onsuccess:
    end_timers()


onerror:
    end_timers()


# Not with onsuccess and onerror: they are not called when there is nothing to be done.
if is_main_process():
    atexit.register(gc.freeze)  # no last search for garbage through the plan and the DAG
    atexit.register(at_exit)
