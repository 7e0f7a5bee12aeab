"""Job: say why files can't be used, and fail. Only the lines below know Snakemake."""

import sys

problems = snakemake.params.problems  # noqa: F821
with open(snakemake.log[0], "w") as log:  # noqa: F821
    log.writelines(f"ERROR: {problem}\n" for problem in problems)
sys.exit(f"ERROR: {len(problems)} {'file' if len(problems) == 1 else 'files'} can't be used: see {snakemake.log[0]}")  # noqa: F821
