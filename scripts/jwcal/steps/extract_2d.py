"""Cut out the spectrum of each slit or source."""

from typing import Annotated

from ..machine.parts import part
from ..vocabulary.parameters import Range

OPTIONAL = ("wavelengthrange",)  # of grisms
MEMBERS = ("sourcecat",)
FROM_MEMORY = {"assign_wcs": {"mode": "slits"}}  # which slits are open is in no file
NEEDS = ("err", "var_poisson", "var_rnoise")  # planes of an image
PARTS = {
    "mode": {
        "slits": "arithmetic/slits/cut_outs",
        "series": "arithmetic/grism/series",
        "stripes": "arithmetic/grism/stripes",
        "wfss": "arithmetic/grism/field",
    }
}


def apply(
    exposure,
    refs,
    mode: str,
    passband: str = "FILTER",
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
        wavelengthrange: the orders of each filter, and their shortest and longest wavelength; of grisms.
    mode : str
        What the spectra are of, one of PARTS; given by the table of chains.
    passband : str
        Keyword of the element that limits a grism's wavelengths; given by the table of chains.
    slit_names : list, optional
        Slits to be cut out, by name. All by default.
    source_ids : list, optional
        Sources, by their number, of a field without slits that of the catalogue. A slit is cut out that is named in one of the two lists.
    source_ra, source_dec : list of float, optional
        Right ascension and declination [deg] of sources: each time the nearest of the catalogue, beside those of `source_ids`.
    source_max_sep : float
        No farther than this [arcsec].
    extract_orders : list of int, optional
        Orders. Those of the reference by default.
    grism_objects : list, optional
        Not supported: boxes by hand.
    tsgrism_extract_height : int, optional
        Rows of a time series' spectrum; None: 64.
    wfss_extract_half_height : int, optional
        Rows on each side of a point source's trace; None: as many as its image has.
    wfss_mmag_extract : float, optional
        AB magnitude from which on sources are too faint.
    wfss_nbright : int, optional
        Only so many of the brightest.

    Returns
    -------
    Exposure
        A slit for each spectrum, of a source in stripes for each stripe; one image, of another time series.

    Raises
    ------
    InputError
        There is nothing to cut out, or the exposure does not say where.
    ReferenceError
        The reference does not have an order or the filter.
    """
    options = {name: value for name, value in locals().items() if name not in ("exposure", "refs", "mode")}
    return part(PARTS["mode"], mode).extract(exposure, refs, options)
