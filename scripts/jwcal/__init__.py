"""JWST calibration as a Snakemake workflow. Start at `docs/architecture.md`.

In a notebook: `exposures = jwcal.run_pipeline("detector1", "jw..._uncal.fits")`.
"""

from .machine.garbage import seldom_collected

__version__ = "0.1.0"


def run_pipeline(pipeline, source, steps=None, overrides=None, **settings):
    """Run one pipeline by hand; see `jwcal.api.run_pipeline`."""
    with seldom_collected():
        from .api import run_pipeline

        return run_pipeline(pipeline, source, steps, overrides, **settings)


def select(exp_type, tsovisit=False, nints=1, visitype="", **header):
    """The chain of an exposure; see `jwcal.settings.selector.select`."""
    from .settings.selector import select

    return select(exp_type, tsovisit, nints, visitype, **header)
