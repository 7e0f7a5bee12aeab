"""Job: say why files can't be used, and fail. Only the lines below know Snakemake."""

import os
import sys

problems, unusable = snakemake.params.problems, snakemake.params.unusable  # noqa: F821
with open(snakemake.log[0], "w") as log:  # noqa: F821
    log.writelines(f"ERROR: {problem}\n" for problem in problems)
    log.writelines(f"{name}: can't be used\n" for name in unusable)
if os.environ.get("JWCAL_TOLD"):  # the run says it: `jobs.TOLD`
    sys.exit(1)
sys.exit(f"ERROR: {len(unusable)} {'file' if len(unusable) == 1 else 'files'} can't be used: see {snakemake.log[0]}")  # noqa: F821
