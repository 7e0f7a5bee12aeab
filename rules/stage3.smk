"""Stage 3: exposures that are combined.

REQUIRED INPUTS: the calibrated exposures of an association (from stage 2, or as the archive has them), and the job's recipe.
OUTPUTS: mosaics, catalogues, combined spectra... named after the association's product. Products whose number is known only after
the job (a crf for each member) are in its list, `..._image3_list.csv`; Snakemake does not know them. See config/pipelines.yaml.
"""

for name in PLAN.rules("stage3"):

    rule:
        """Run a stage 3 pipeline: calibrated exposures to what they show together."""
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
