"""JWST calibration as a Snakemake workflow. Start at `docs/architecture.md`.

In a notebook: `exposures = jwcal.run_pipeline("detector1", "jw..._uncal.fits")`.
"""

from .machine.garbage import seldom_collected
from .version import VERSION
from .vocabulary.errors import JwcalError

__all__ = ["JwcalError", "open", "run_pipeline", "select"]
__version__ = VERSION


def run_pipeline(pipeline, source, steps=None, overrides=None, **settings):
    """Run one pipeline on one exposure, or on an association.

    Parameters
    ----------
    pipeline : str
        "detector1", "image2", "image3"...; calwebb_... is understood.
    source : path or Product
        An exposure in memory is changed. The path may be that of an association (*_asn.json) of one product.
    steps : dict, optional
        step -> {parameter: value}; {"jump": {"skip": True}} leaves one out. `jwcal PIPELINE --help` lists them.
    overrides : dict, optional
        Reference type -> path, or "N/A".
    **settings
        out : folder to write the products to; without one nothing is written.
        every : return all products, a dict by suffix, in place of the first.
        save : list of suffixes of optional products.
        insert : steps of your own, as in the configuration.
        crds_path, crds_context, crds_server_url : as in the configuration.

    Returns
    -------
    Product
        An exposure with `sci`, `err`, `dq`, `wcs`, `header`, `spectra`..., and `write`, `to_hdulist`, `to_spectra`, `to_tables`.

    Raises
    ------
    jwcal.JwcalError
        What is wrong with the input, a parameter or a reference, and what to do.
    """
    with seldom_collected():
        from .api import run_pipeline

        return run_pipeline(pipeline, source, steps, overrides, **settings)


def open(path):  # noqa: A001 - people write jwcal.open
    """Open a product of any kind: an image, a cube, spectra, a catalogue (.ecsv).

    Parameters
    ----------
    path : path

    Returns
    -------
    Product
        As `run_pipeline` returns it; nothing is changed in the file.

    Raises
    ------
    jwcal.vocabulary.errors.InputError
        There is no such file, or it is no product.
    """
    from .api import open

    return open(path)


def select(exp_type, tsovisit=False, nints=1, visitype="", **header):
    """The chain of an exposure; see `jwcal.settings.selector.select`."""
    from .settings.selector import select

    return select(exp_type, tsovisit, nints, visitype, **header)
