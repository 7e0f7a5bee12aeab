"""Files that can't be used.

REQUIRED INPUTS: none; PLAN knows what is wrong with them.
OUTPUTS: none, ever: this job fails with the messages in its log, so that the run does not end as if all were well.
"""


rule refuse:
    """Say what is wrong with the files that can't be used."""
    output:
        refused=touch(PLAN.refused),
    log:
        PLAN.refused_log,
    localrule: True
    conda:
        "../envs/jwcal.yaml"
    threads: 1
    resources:
        mem_mb=200,
        runtime=1,
    params:
        unusable=lambda wildcards: PLAN.unusable,
        problems=lambda wildcards: PLAN.problems,  # a function: Snakemake would take braces in a list for wildcards
    script:
        "../scripts/refuse.py"
