"""Take out what the fringe flat leaves of the fringes: a point source has others than extended light."""

import logging

from ..vocabulary import keywords
from ..vocabulary.errors import ConfigError, InputError, Skip

log = logging.getLogger(__name__)

REFERENCES = ("fringefreq", "regions")
NEEDS = ("err",)
SKIP = True


def apply(
    exposure,
    refs,
    *,
    save_intermediate_results: bool = False,
    ignore_region_min: list[float] | None = None,
    ignore_region_max: list[float] | None = None,
):
    """Divide each column of each slice by a sum of sines.

    They are fitted to the column over its continuum, one more as long as there is strong evidence for it. Columns without enough signal,
    and beats in which the sines are larger than fringes can be, are left alone. Errors stay.

    Parameters
    ----------
    exposure : Exposure
        Slices on one detector, (row, col), divided by the fringe flat.
    refs : References
        fringefreq: periods of fringes and their largest amplitude. regions: the slices.
    save_intermediate_results : bool
        Return what the image was multiplied with too (`fit_results`).
    ignore_region_min, ignore_region_max : list of float, optional
        Wavelengths [micron] between which nothing is fitted, as many of one as of the other.

    Raises
    ------
    Skip
        The fringe flat was not applied.
    ConfigError
        The regions to ignore have no end, or no beginning.
    InputError
        There is no WCS.
    """
    lows, highs = ignore_region_min or [], ignore_region_max or []
    if len(lows) != len(highs):
        what = f"residual_fringe has {len(lows)} wavelengths in ignore_region_min and {len(highs)} in ignore_region_max"
        raise ConfigError(what, do="Give as many of one as of the other")
    status, _ = exposure.steps.get("fringe", ("", ""))
    if "COMPLETE" not in (status, exposure.header.get(keywords.status("fringe")[0])):
        raise Skip("the fringe flat was not applied")
    if exposure.wcs is None:
        raise InputError("there is no gWCS in it", exposure.name, "Run assign_wcs")
    from ..arithmetic.fringes.image import correct_image

    factors, count = correct_image(exposure, refs["fringefreq"], refs["regions"], list(zip(lows, highs, strict=True)))
    log.info("Residual fringes were taken out of %d columns", count)
    return [exposure, exposure.aside("fit_results", sci=factors)] if save_intermediate_results else exposure
