"""Bad reference pixels of IRS2 readout: found by their statistics, and replaced by good ones nearby."""

import logging

import numpy as np

from ....files.reference_file import understood
from ....kernels.detector.irs2 import pair_statistics
from ....model.irs2_layout import NORMAL, OUTPUTS, PERIOD, REFERENCE, ROWS, SAMPLES
from ....vocabulary.dq import BAD_REF_PIXEL, DO_NOT_USE
from ....vocabulary.errors import ReferenceError

log = logging.getLogger(__name__)

# First rows of the pairs: each reference pixel is read twice. The pattern is the same from either end.
PAIRS = np.add.outer(np.arange(0, ROWS, PERIOD) + NORMAL // 2, np.arange(0, REFERENCE, 2)).reshape(OUTPUTS, -1)
SAMPLED = np.zeros(ROWS, bool)  # rows in which an output reads reference pixels (the reference output too keeps the rhythm)
SAMPLED[PAIRS] = SAMPLED[PAIRS + 1] = True


def find(sci, known, limit):
    """Find pairs that stand out from those of the same output in any integration.

    Parameters
    ----------
    sci : (int, group, row, col) float32
    known : (row,) bool
        Rows that are known to be bad: left out of the statistics.
    limit : float
        In standard deviations of the clipped mean absolute differences, means and standard deviations of the output's pairs.

    Returns
    -------
    (row,) bool
    """
    from astropy.stats import sigma_clipped_stats

    found = np.zeros(ROWS, bool)
    for integration in sci:
        for pairs in PAIRS:
            good = pairs[~(known[pairs] | known[pairs + 1])]
            for values in pair_statistics(integration, good).T if good.size else ():
                mean, _, deviation = sigma_clipped_stats(values, sigma=limit)
                high = good[values - mean > limit * deviation]
                found[high] = found[high + 1] = True
    return found


def flag(exposure, layout, limit):
    """Flag the reference samples that are bad, in all of their row: BAD_REF_PIXEL and DO_NOT_USE.

    Parameters
    ----------
    exposure : Exposure
    layout : layout.Layout
    limit : float
        See `find`.
    """
    bad = flagged(exposure.pixeldq, layout)
    bad |= find(exposure.sci, bad, limit)
    exposure.pixeldq[bad] |= BAD_REF_PIXEL | DO_NOT_USE
    log.info("%d rows of bad reference pixels", np.count_nonzero(bad))


def flagged(pixeldq, layout):
    """Rows of reference samples with a BAD_REF_PIXEL flag, bool (row,). One in a row of the detector's own pixels does not count."""
    return ((pixeldq & BAD_REF_PIXEL) != 0).any(axis=1) & layout.references


def replace(sci, rows, bad):
    """Replace rows by the mean of the nearest of the same kind before and after, or what there is of them that is good.

    If neither is, the other pixel of the same visit to the reference pixels takes its place; or else 0, "no sample".

    Parameters
    ----------
    sci : (int, group, row, col) float32
        Changed in place.
    rows : sequence of int
        Rows to replace.
    bad : (row,) bool
        Rows that must not be used; `rows` are among them.
    """
    for row in rows:
        output = row // SAMPLES
        near = [r for r in (row - PERIOD, row + PERIOD) if r // SAMPLES == output and not bad[r]]
        if not near:
            near = [r for r in (row - 2, row + 2) if r // SAMPLES == output and SAMPLED[r] and not bad[r]][:1]
        if len(near) == 2:
            sci[:, :, row] = (sci[:, :, near[0]] + sci[:, :, near[1]]) / np.float32(2)
        else:
            sci[:, :, row] = sci[:, :, near[0]] if near else 0


def of_table(table, layout, path=None):
    """Rows of the reference pixels that the refpix reference calls bad, entry by entry.

    Parameters
    ----------
    table : structured array
        OUTPUT (1 to 4), ODD_EVEN (1 or 2: which of the two pixels of a visit), MASK (a bit for each of the 32 visits to the reference
        pixels in a line, counted along the detector's columns).
    layout : layout.Layout
    path : path, optional
        Of the reference, for the message.

    Returns
    -------
    list of (row,) int

    Raises
    ------
    ReferenceError
        A column is missing.
    """
    columns = {name.upper(): name for name in table.dtype.names}
    missing = {"OUTPUT", "ODD_EVEN", "MASK"} - set(columns)
    if missing:
        raise ReferenceError(f"DQ has no column {', '.join(sorted(missing))}", path, "Take the refpix reference from CRDS again")
    entries = []
    for entry in table:
        with understood("refpix", path):
            output, which, mask = (int(entry[columns[name]]) for name in ("OUTPUT", "ODD_EVEN", "MASK"))
            if not 0 <= output < OUTPUTS:
                raise ValueError(f"OUTPUT {output} in DQ")
        second = (which == 2) != (output % 2 == 0)  # even outputs are read the other way
        visits = np.flatnonzero((mask >> np.arange(SAMPLES // PERIOD)) & 1)
        first = output * SAMPLES + NORMAL // 2 + visits * PERIOD + (2 if second else 0)
        rows = np.sort(np.concatenate([first, first + 1]))
        entries.append(ROWS - 1 - rows if layout.backwards else rows)
    return entries
