"""Stage 2: from count rates to calibrated images.

REQUIRED INPUTS: rate or rateints of an exposure (from stage 1, or as the archive has it), the members of its association that
the steps read (backgrounds), and its recipe.
OUTPUTS: cal or calints, and i2d for images. See config/pipelines.yaml.
"""

# One rule for each pipeline and set of products that the plan has: detector1_rate_rateints, image2_cal_i2d, image2_cal...
for name in PLAN.rules("stage2"):

    rule:
        """Run a stage 2 pipeline: count rates to a calibrated exposure."""
        name:
            name
        input:
            exposure=job_input(name, "input"),
            members=job_input(name, "members"),
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
