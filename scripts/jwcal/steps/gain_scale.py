"""Bring count rates taken with a detector gain other than the standard one to the standard one."""

import logging

from ..vocabulary.errors import Skip

log = logging.getLogger(__name__)

OPTIONAL = ("gain",)


def apply(exposure, refs):
    """Multiply rates and errors by GAINFACT, variances by its square.

    The factor is the exposure's own GAINFACT, else that of the gain reference; it is written to the exposure's header.
    Applies to a rate image and to a rateints cube (DN/s).

    Raises
    ------
    Skip
        There is no factor.
    """
    factor = exposure.header.get("GAINFACT")
    if factor is None and "gain" in refs:
        factor = refs["gain"].header.get("GAINFACT")
    if factor is None:
        raise Skip("there is no GAINFACT in the exposure or its gain reference")
    for pixels in exposure.pixels:
        pixels.sci *= factor
        pixels.err *= factor
        for variance in (pixels.var_poisson, pixels.var_rnoise):
            if variance is not None:
                variance *= factor**2
    exposure.header["GAINFACT"] = factor
    log.info("count rates multiplied by GAINFACT = %g", factor)
    return exposure
