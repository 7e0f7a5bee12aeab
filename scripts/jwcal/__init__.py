"""JWST calibration as a Snakemake workflow. Start at `docs/architecture.md`."""

__version__ = "0.1.0"
