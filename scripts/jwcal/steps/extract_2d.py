"""Cut out the spectrum of each slit or source."""

from typing import Annotated

from ..machine.parts import part
from ..vocabulary.parameters import Range

NEEDS = ("err", "var_poisson", "var_rnoise")  # planes of an image
PARTS = {"mode": {"slits": "arithmetic/slits/cut_outs"}}


def apply(
    exposure,
    refs,
    mode: str,
    *,
    slit_names: list | None = None,
    source_ids: list | None = None,
    source_ra: list[float] | None = None,
    source_dec: list[float] | None = None,
    source_max_sep: Annotated[float, Range(min=0)] = 2.0,
    extract_orders: list[int] | None = None,
    grism_objects: list | None = None,
    tsgrism_extract_height: Annotated[int, Range(min=2)] | None = None,
    wfss_extract_half_height: Annotated[int, Range(min=0)] | None = 5,
    wfss_mmag_extract: float | None = None,
    wfss_nbright: Annotated[int, Range(min=1)] | None = 1000,
):
    """Cut the spectra out of an exposure, each with its wavelengths and its WCS.

    Parameters
    ----------
    exposure : Exposure
        With the WCS of its mode.
    refs : References
    mode : str
        What the spectra are of, one of PARTS; given by the table of chains.
    slit_names : list, optional
        Slits to be cut out, by name. All by default.
    source_ids : list, optional
        Sources, by their number; a slit is cut out that is named in one of the two lists.
    source_ra, source_dec, source_max_sep, extract_orders, grism_objects, tsgrism_extract_height, wfss_extract_half_height
        For grisms.
    wfss_mmag_extract, wfss_nbright
        For grisms.

    Returns
    -------
    Exposure
        A slit for each spectrum; one image, of a time series.

    Raises
    ------
    InputError
        There is nothing to cut out, or the exposure does not say where.
    """
    options = {name: value for name, value in locals().items() if name not in ("exposure", "refs", "mode")}
    return part(PARTS["mode"], mode).extract(exposure, refs, options)
