"""Near-IR detectors: 4 outputs, 1 output, stripes.

Rows and columns are those of the detector: columns along the fast readout direction (FASTAXIS), rows along the slow one.
"""

import logging
from typing import NamedTuple

import numpy as np

from ....kernels.detector.reference_pixels import running_medians, subtract_signals
from ....model import stripes
from ....vocabulary.dq import DO_NOT_USE, REFERENCE_PIXEL
from ....vocabulary.errors import InputError, Skip
from ....vocabulary.limits import SIDE
from .optimal import subtract_prediction
from .sets import BORDER, either, means_of, offsets_of, sets

log = logging.getLogger(__name__)

OUTPUTS = 4

# NIRSpec subarrays that reach no edge: the first and last 4 columns of the image lie outside the slits and serve as reference pixels.
EDGELESS = {("NIRSPEC", "SUB512"), ("NIRSPEC", "SUB512S"), ("NIRSPEC", "SUB32")}


class Options(NamedTuple):
    """The parameters of the near-IR algorithms."""

    odd_even_columns: bool
    use_side_ref_pixels: bool
    side_smoothing_length: int
    side_gain: float
    siglimit: float
    sirs: object = None  # kernels.sirs.Filter: takes the place of the running median


class Readout(NamedTuple):
    """How an exposure's array lies on its detector."""

    fast: int  # FASTAXIS
    slow: int  # SLOWAXIS
    column: int  # detector column and row, from 0, of the array's first one in the detector's orientation
    row: int

    def to_detector(self, array):
        """A view of (..., y, x) as (..., row, column)."""
        y, x = (self.slow, self.fast) if abs(self.fast) == 1 else (self.fast, self.slow)
        array = array[..., :: np.sign(y), :: np.sign(x)]
        return array if abs(self.fast) == 1 else array.swapaxes(-2, -1)

    def subtract(self, frames, columns, rows):
        """Subtract (frame, column) and then (frame, row) from frames (frame, y, x), in place."""
        columns, rows = columns[:, :: np.sign(self.fast)], rows[:, :: np.sign(self.slow)]
        upright = abs(self.fast) == 1
        along_x, along_y = (columns, rows) if upright else (rows, columns)
        subtract_signals(frames, np.ascontiguousarray(along_x), np.ascontiguousarray(along_y), upright)


def readout_of(header):
    """The `Readout` of an exposure on a near-IR detector.

    Raises
    ------
    InputError
        FASTAXIS and SLOWAXIS are not the two axes.
    Skip
        The subarray does not lie on the detector.
    """
    fast, slow = int(header["FASTAXIS"]), int(header["SLOWAXIS"])
    if {abs(fast), abs(slow)} != {1, 2}:
        raise InputError(f"FASTAXIS = {fast} and SLOWAXIS = {slow}: one must be 1 or -1, the other 2 or -2", file=header.name)
    first = {}
    for axis in (fast, slow):
        start, size = int(header[f"SUBSTRT{abs(axis)}"]) - 1, int(header[f"SUBSIZE{abs(axis)}"])
        if start < 0 or start + size > SIDE:
            raise Skip("the subarray does not lie on the detector")
        first[axis] = start if axis > 0 else SIDE - start - size
    return Readout(fast, slow, first[fast], first[slow])


def correction(exposure, options):
    """Choose the algorithm: a function that corrects frames (frame, y, x) in place."""
    header = exposure.header
    if stripes.is_striped(header):
        return striped(stripes.stripes_of(header), stripes.first_column(header), exposure.pixeldq, options)
    readout = readout_of(header)
    if is_full(exposure) or header.get("NOUTPUTS") == OUTPUTS:
        return four_outputs(readout, exposure.pixeldq, options)
    edgeless = (header["INSTRUME"], header.get("SUBARRAY")) in EDGELESS
    return one_output(readout, exposure.pixeldq, options, edgeless)


def is_full(exposure):
    return min(exposure.sci.shape[-2:]) == SIDE


def four_outputs(readout, pixeldq, options):
    """Prepare the correction of a detector read by 4 amplifiers of 512 columns each.

    With the side pixels' correction all is in double precision, but for an exposure's first frame: that is where the peer changes over.

    Parameters
    ----------
    readout : Readout
    pixeldq : (y, x) uint32
    options : Options

    Returns
    -------
    callable
        Corrects frames (frame, y, x) in place, given how many of them are the exposure's first.
    """
    flags = readout.to_detector(pixeldq)
    rows, columns = readout.row + np.arange(flags.shape[0]), readout.column + np.arange(flags.shape[1])
    sides = [_Side(which, (flags[:, which] & DO_NOT_USE) == 0) for which in (columns < BORDER, columns >= SIDE - BORDER)]
    parities = 2 if options.odd_even_columns else 1
    output = columns // (SIDE // OUTPUTS) * parities + columns % parities
    ends = np.flatnonzero((rows < BORDER) | (rows >= SIDE - BORDER))
    end = np.where(rows[ends] < BORDER, 0, OUTPUTS * parities)
    labels = np.where(flags[ends] & DO_NOT_USE, -1, end[:, None] + output)
    (row, column), starts = sets(labels, 2 * OUTPUTS * parities)
    pixels = ends[row], column
    if not row.size and not (options.use_side_ref_pixels and any(side.good.any() for side in sides)):
        raise Skip("no usable reference pixel")
    log.info("4 outputs: %d reference pixels in the first and last rows", row.size)

    def correct_in(kind, frames):
        view = readout.to_detector(frames)
        offsets = offsets_of(view, pixels, starts, parities, options.siglimit, kind)[:, output]
        if options.use_side_ref_pixels and options.sirs:
            return subtract_prediction(view, offsets, options.sirs)
        side = np.zeros(view.shape[:2])
        if options.use_side_ref_pixels:
            side = options.side_gain * _side_signal(view, offsets, sides, readout.row, options.side_smoothing_length)
        readout.subtract(frames, offsets, side)

    def correct(frames, first):
        single = first if options.use_side_ref_pixels else len(frames)
        for part, kind in ((frames[:single], np.float32), (frames[single:], np.float64)):
            if len(part):
                correct_in(kind, part)

    return correct


class _Side(NamedTuple):
    """The reference pixels at the left or right side of a detector."""

    columns: np.ndarray  # (column,) bool: which of the image's they are
    good: np.ndarray  # (row, those columns) bool


def _side_signal(view, offsets, sides, first, length):
    """Mean of the running medians of the left and right reference pixels, (frame, row); the one of them that is there, or else 0."""
    medians = []
    for columns, good in sides:
        values = view[:, :, columns] - offsets[:, None, columns]
        medians.append(running_medians(np.ascontiguousarray(values), np.ascontiguousarray(good), first, SIDE, length // 2 * 2 + 1))
    return np.nan_to_num(either(*medians))


def one_output(readout, pixeldq, options, edgeless=False):
    """Prepare the correction of a subarray that one amplifier reads; parameters and result as `four_outputs`.

    `edgeless` takes the first and last 4 columns of the image for reference pixels.
    """
    reference = (pixeldq & REFERENCE_PIXEL) != 0
    if edgeless:
        reference[:, :BORDER] = reference[:, -BORDER:] = True
    reference &= (pixeldq & DO_NOT_USE) == 0
    if not reference.any():
        raise Skip("no usable reference pixel")
    reference = readout.to_detector(reference)
    parities = 2 if options.odd_even_columns else 1
    parity = (readout.column + np.arange(reference.shape[1])) % parities
    pixels, starts = sets(np.where(reference, parity, -1), parities)
    log.info("1 output: %d reference pixels", pixels[0].size)

    def correct(frames, first):
        means = means_of(readout.to_detector(frames), pixels, starts, options.siglimit)
        means = np.where(np.isnan(means), means[:, ::-1], means)  # a parity without reference pixels takes the other one's
        readout.subtract(frames, np.nan_to_num(means)[:, parity], np.zeros((len(frames), reference.shape[0])))

    return correct


def striped(place, first, pixeldq, options):
    """Prepare the correction of striped readout: each amplifier's odd and even columns by all reference pixels that it reads in a frame.

    Parameters
    ----------
    place : stripes.Stripes
    first : int
        Detector column of the images' first one.
    pixeldq, options, result
        As those of `four_outputs`.
    """
    flags = place.to_detector(pixeldq)
    good = ((flags & REFERENCE_PIXEL) != 0) & ((flags & DO_NOT_USE) == 0)
    if not good.any():
        raise Skip("no usable reference pixel")
    columns = first + np.arange(flags.shape[1])
    parities = 2 if options.odd_even_columns else 1
    output = columns // (SIDE // OUTPUTS) * parities + columns % parities
    pixels, starts = sets(np.where(good, output, -1), OUTPUTS * parities)
    readout = Readout(place.fast, place.slow, first, 0)
    log.info("stripes: %d reference pixels", pixels[0].size)

    def correct(frames, first):
        means = means_of(place.to_detector(frames), pixels, starts, options.siglimit).reshape(len(frames), -1, parities)
        means[np.isnan(means).any(axis=-1)] = 0  # one parity alone would make stripes
        readout.subtract(frames, means.reshape(len(frames), -1)[:, output], np.zeros((len(frames), flags.shape[0])))

    return correct
