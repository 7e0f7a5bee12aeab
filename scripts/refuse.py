"""Job: say why a file can't be used, and fail. Only the lines below know Snakemake."""

import sys

message = snakemake.params.message  # noqa: F821
print(f"ERROR: {message}", file=sys.stderr)
with open(snakemake.log[0], "w") as log:  # noqa: F821
    log.write(f"ERROR: {message}\n")
sys.exit(1)
