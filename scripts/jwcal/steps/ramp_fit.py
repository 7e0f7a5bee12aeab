"""Fit a count rate to every ramp."""

import logging
from typing import Literal

from ..arithmetic.ramps.fit import fit

log = logging.getLogger(__name__)

REFERENCES = ("readnoise", "gain")
WALKS = "rows"


def apply(
    exposure,
    refs,
    *,
    algorithm: Literal["OLS_C", "LIKELY"] = "OLS_C",
    int_name: str = "",
    save_opt: bool = False,
    opt_name: str = "",
    suppress_one_group: bool = True,
    firstgroup: int | None = None,
    lastgroup: int | None = None,
    maximum_cores: str = "1",
):
    """Fit the ramps (DN) of each integration and of all together.

    OLS_C: least squares with weights that follow the signal to noise, segment by segment (`kernels.ramps.ols_ramp`).
    LIKELY: the likelihood of the group differences with their covariance, and a search for jumps of its own (`kernels.ramps.likely_ramp`);
    with fewer than four groups OLS_C. It is taken too where groups do not follow each other evenly (stripes read several times a frame).

    OLS_C gives up ramps with one good group only (`suppress_one_group`, unless NGROUPS is 1); otherwise their one sample is divided by
    the time that it took to collect, and ramps without any good group use the zero frame.
    Groups before `firstgroup` and after `lastgroup` (counted from 0) are left out.
    GAINFACT of the gain reference goes to the header, for gain_scale.
    `save_opt` gives an account of the segments too (`kernels.ramps.ramp_segments`), or the chi squared of the likelihood.

    Parameters
    ----------
    exposure : Exposure
        A ramp (int, group, row, col), DN.
    refs : References
        readnoise and gain.
    algorithm : {"OLS_C", "LIKELY"}
        Least squares, or the likelihood of the groups' differences.
    save_opt : bool
        Give an account of the segments too, or the chi squared of the likelihood.
    suppress_one_group : bool
        Give up ramps with one good group only, unless NGROUPS is 1.
    firstgroup, lastgroup : int, optional
        Leave out the groups before, and those after, counted from 0.
    int_name, opt_name, maximum_cores : str
        Without effect: names and threads are the run's.

    Returns
    -------
    list of Exposure
        The rate (row, col) and the rates of the integrations (int, row, col), suffixes "rate" and "rateints": DN/s, with ERR, DQ,
        VAR_POISSON and VAR_RNOISE. With `save_opt` also "fitopt": SLOPE, SIGSLOPE... in `extra`; or "likely_chisq" (row, col): chi squared
        of all integrations.

    Raises
    ------
    InputError
        Fewer than two groups of a MIRI exposure are usable, or `firstgroup` is not among them.
    ReferenceError
        The gain or the read noise does not fit the exposure.
    """
    unused = {"int_name": int_name, "opt_name": opt_name, "maximum_cores": maximum_cores if maximum_cores not in ("1", "none") else ""}
    for name, value in unused.items():
        if value:
            log.info("%s = %s has no effect: names and threads are the run's", name, value)
    return fit(exposure, refs, algorithm, save_opt, suppress_one_group, firstgroup, lastgroup)
