"""All that refpix does to an exposure in IRS2 readout."""

import logging

import numpy as np

from ....kernels.detector.reference_pixels import subtract_signals
from ....model import irs2_layout
from ....vocabulary.dq import DO_NOT_USE
from ....vocabulary.errors import Skip
from ..reference_pixels.sets import BORDER, correct_frames, offsets_of, sets
from . import bad_references

log = logging.getLogger(__name__)


def correct_exposure(exposure, refs, limit, preserve, means=None):
    """Correct IRS2 readout, and keep the detector's own pixels alone.

    Parameters
    ----------
    exposure : Exposure
    refs : References
        "refpix"
    limit : float
        For bad reference pixels; not looked at where the step's `prepare` has flagged them.
    preserve : bool
        Keep the reference pixels.
    means : reference_pixels.near_infrared.Options, optional
        Subtract the means of the first and last lines first.

    Raises
    ------
    Skip
        There is no refpix reference.
    InputError, ReferenceError
        Another detector or rhythm; a reference that is not what it should be.
    """
    from .correction import correct, filters_of  # it imports scipy.fft, which no other readout needs

    rows = irs2_layout.layout_of(exposure.header)
    if "refpix" not in refs:
        raise Skip("IRS2 readout needs a refpix reference")
    reference, lines = refs["refpix"], exposure.sci.shape[-1]
    filters = reference.derived("filters", lambda: filters_of(reference, lines))
    if "refpix" not in exposure.prepared:
        bad_references.flag(exposure, rows, limit)
    if means:
        correct_frames(exposure, five_outputs(exposure.pixeldq, means))
    bad = bad_references.flagged(exposure.pixeldq, rows)
    bad_references.replace(exposure.sci, np.flatnonzero(bad), bad)
    for entry in bad_references.of_table(reference.table("DQ"), rows, reference.path) if reference.has("DQ") else ():
        new = entry[~bad[entry]]
        bad[new] = True
        bad_references.replace(exposure.sci, new, bad)
    for i in range(len(exposure.sci)):
        correct(exposure.sci[i], rows, filters, preserve)
    if not preserve:
        irs2_layout.keep_science_rows(exposure)
    log.info("IRS2: %d groups, %d rows of bad reference pixels", np.prod(exposure.sci.shape[:2]), np.count_nonzero(bad))
    return exposure


def five_outputs(pixeldq, options):
    """Prepare the subtraction of the means of the first and last lines from each output of IRS2 readout, odd and even samples apart.

    Returns a function that corrects frames (frame, row, col) in place; which of them are the exposure's first makes no difference.
    """
    rows, columns = np.indices(pixeldq.shape, sparse=True)
    parities = 2 if options.odd_even_columns else 1
    rhythm = bad_references.SAMPLED[:, None]
    parity = np.where(rhythm, rows // 2, rows) % parities  # a reference pixel is read twice
    output = rows // irs2_layout.SAMPLES * parities + parity
    labels = np.where(columns < BORDER, output, np.where(columns >= pixeldq.shape[1] - BORDER, irs2_layout.OUTPUTS * parities + output, -1))
    pixels, starts = sets(np.where((pixeldq & DO_NOT_USE) == 0, labels, -1), 2 * irs2_layout.OUTPUTS * parities)

    def subtract(frames, first):
        offsets = offsets_of(frames, pixels, starts, parities, options.siglimit)[:, output[:, 0]]
        subtract_signals(frames, np.zeros((len(frames), frames.shape[2])), offsets, False)

    return subtract
