"""A first rate of an exposure whose ramps are still being corrected: it shows where the sources are."""

from ...model.exposure import Pixels
from ...steps import ramp_fit


def draft(exposure, refs):
    """Fit the ramps as they are, with the default parameters.

    Parameters
    ----------
    exposure : Exposure
        Ramps (int, group, row, col), not changed; all integrations of an exposure, or of a strip of it.
    refs : References
        gain, readnoise.

    Returns
    -------
    list of Exposure
        Suffixes "rate" and "rateints", DN/s: `sci` and `dq`.
    """
    rates = ramp_fit.apply(exposure, refs)
    for rate in rates:
        rate.pixels = [Pixels(sci=rate.sci, dq=rate.dq, header=rate.header.sci)]
    return rates
