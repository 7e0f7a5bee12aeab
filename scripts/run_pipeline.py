"""Job: run one pipeline on one exposure. Only the lines below know Snakemake."""

import sys

from jwcal import jobs

sys.exit(
    jobs.run(
        recipe=snakemake.input.recipe,  # noqa: F821
        outputs=dict(snakemake.output.items()),  # noqa: F821
        log=snakemake.log[0],  # noqa: F821
        threads=snakemake.threads,  # noqa: F821
        scratch=snakemake.resources.get("tmpdir"),  # noqa: F821
    )
)
