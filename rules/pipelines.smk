"""The pipelines of all stages: stage 1, detector-level corrections; stage 2, from count rates to calibrated exposures; stage 3, exposures
that are combined.

REQUIRED INPUTS: the recipe of a job (chain, parameters, references), and
  stage 1: the uncal file of an exposure;
  stage 2: its rate or rateints (from stage 1, or as the archive has it), and the members of its association that the steps read (backgrounds);
  stage 3: the calibrated exposures of an association (from stage 2, or as the archive has them).
OUTPUTS:
  stage 1: rate and rateints (detector1, tso1), dark, or the guider's cal;
  stage 2: cal or calints, and i2d for images;
  stage 3: mosaics, catalogues, combined spectra... named after the association's product. Products whose number is known only after
  the job (a crf for each member) are in its list, `..._list.csv`; Snakemake does not know them. See config/pipelines.yaml.
"""

# One rule for each pipeline and set of products that the plan has: detector1_rate_rateints, image2_cal_i2d, image2_cal...
# Where jobs are sent to a cluster, one of them takes an exposure through stages 1 and 2; what takes many exposures waits for all of them.
for name, group in [
    (name, "exposures" if stage != "stage3" and sends_jobs() else None) for stage in plan.STAGES for name in PLAN.rules(stage)
]:

    rule:
        """Run a pipeline on an exposure, or on those of an association."""
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
        group:
            group
        conda:
            "../envs/jwcal.yaml"
        threads: 1
        resources:
            mem_mb=job_resource(name, "mem_mb"),
            runtime=job_resource(name, "runtime"),
        params:
            why=job_reason(name),
        message:
            "{rule} {wildcards.exposure}: {params.why}"
        shell:
            JOB
