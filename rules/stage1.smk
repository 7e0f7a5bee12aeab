"""Stage 1: detector-level corrections.

REQUIRED INPUTS: the uncal file of an exposure, and its recipe (chain, parameters, references).
OUTPUTS: rate and rateints (detector1, tso1), dark, or the guider's cal. See config/pipelines.yaml.
"""

# One rule for each pipeline and set of products that the plan has: detector1_rate_rateints, image2_cal_i2d, image2_cal...
for name in PLAN.rules("stage1"):

    rule:
        """Run a stage 1 pipeline: raw ramps to count rates."""
        name:
            name
        input:
            exposure=job_input(name, "input"),
            recipe=job_input(name, "recipe"),
        output:
            **PLAN.output_patterns(name),
        log:
            PLAN.log_pattern(name),
        wildcard_constraints:
            exposure=PLAN.exposures(name),
        conda:
            "../envs/jwcal.yaml"
        threads: 1
        resources:
            **job_tmpdir(),
            mem_mb=job_resource(name, "mem_mb"),
            runtime=job_resource(name, "runtime"),
        params:
            why=job_reason(name),
        message:
            "{rule} {wildcards.exposure}: {params.why}"
        shell:
            JOB
