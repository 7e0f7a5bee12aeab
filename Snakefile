"""JWST exposures from uncal to calibrated products. Start at README.md; the code is in scripts/jwcal, the tables in config/."""

from snakemake.utils import min_version

min_version("9.0")


configfile: workflow.basedir + "/config/config.yaml"


include: "rules/common.smk"
include: "rules/refuse.smk"
include: "rules/stage1.smk"
include: "rules/stage2.smk"


rule all:
    """Every product of every exposure that was found."""
    default_target: True
    input:
        PLAN.targets(),


onsuccess:
    print(summary(PLAN, STARTED))


onerror:
    print(summary(PLAN, STARTED))
