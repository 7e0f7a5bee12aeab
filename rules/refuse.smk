"""Files that can't be used.

REQUIRED INPUTS: none; PLAN knows what is wrong with them.
OUTPUTS: none, ever: each of these jobs fails with its message, so that the run does not end as if all were well.
"""


rule refuse:
    """Say what is wrong with a file."""
    output:
        refused=touch(PLAN.refused_pattern),
    log:
        PLAN.refused_log,
    conda:
        "../envs/jwcal.yaml"
    threads: 1
    resources:
        mem_mb=200,
        runtime=1,
    params:
        message=lambda wildcards: PLAN.problem(wildcards.problem),
    script:
        "../scripts/refuse.py"
