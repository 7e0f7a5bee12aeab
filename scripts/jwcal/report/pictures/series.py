"""Light curves: sums of pixels, and tables of a time series, against time."""

import numpy as np

from ...files import fitsio
from ...vocabulary.dq import DO_NOT_USE
from .shapes import Curves
from .values import plane, sky, unit_of

SERIES = 5  # integrations that make a light curve


def mean_and_curve(hdus):
    """The mean of the integrations, and the sum of those pixels that are good in all of them against time."""
    sci, count = hdus["SCI"], hdus["SCI"].shape[0]
    total, seen = np.zeros(sci.shape[1:]), np.zeros(sci.shape[1:], np.int32)
    good = np.ones(sci.shape[1:], bool)
    for number in range(count):
        values = plane(sci, number)
        has_value = np.isfinite(values)
        good &= has_value & _usable(hdus, number)
        total += np.where(has_value, values, 0)
        seen += has_value
    mean = np.divide(total, seen, out=np.full(total.shape, np.nan), where=seen > 0).astype(np.float32)
    sums = np.array([np.sum(plane(sci, number), where=good, dtype=np.float64) for number in range(count)])
    return mean, _light_curve(hdus, sums, f"sum of the {np.count_nonzero(good)} pixels that are good in all integrations")


def _usable(hdus, number):
    if "DQ" not in hdus:
        return True
    dq = hdus["DQ"]
    return (plane(dq, number) if len(dq.shape) == 3 else fitsio.native(dq.data)) & DO_NOT_USE == 0


def _light_curve(hdus, sums, caption):
    middle, scatter = sky(sums)
    times, label = _times(hdus, len(sums))
    relative = middle > 3 * scatter  # else it is noise about nothing
    y_label = "relative flux" if relative else f"sum ({unit_of(hdus)})"
    return Curves([times], [sums / middle if relative else sums], label, y_label, caption, points=True)


def _times(hdus, count):
    """Mid-times of the integrations as minutes since the first, else their numbers."""
    if "INT_TIMES" in hdus and len(hdus["INT_TIMES"].data) == count:
        table = hdus["INT_TIMES"].data
        for column in ("int_mid_BJD_TDB", "int_mid_MJD_UTC"):
            if column in table.names and np.ptp(table[column]) > 0:
                return fitsio.native((table[column] - table[column][0]) * 1440), "minutes since the first integration"
    return np.arange(1, count + 1, dtype=float), "integration"
