"""Subtract the drifts that the reference pixels show: of each output, of odd and even columns, and along the slow axis.

Three layouts, by the detector and its readout:

====================  ======================================================================================================
near-IR, 4 outputs    each amplifier's odd and even columns by its first and last 4 rows, then each row by a running
                      median of the first and last 4 columns
near-IR, 1 output     odd and even columns by all reference pixels of the subarray
MIRI, full frame      each of the 4 interleaved outputs' odd and even rows by the reference columns on the left and right,
                      in what was gained since the integration's first group
====================  ======================================================================================================

Rows and columns are those of the detector: columns along the fast readout direction (FASTAXIS), rows along the slow one.
"""

import logging
from typing import Annotated, Literal, NamedTuple

import numpy as np

from ..dq import DO_NOT_USE, REFERENCE_PIXEL
from ..errors import ConfigError, InputError, Skip
from ..kernels.reference_pixels import clipped_means, running_medians, subtract_from_growth, subtract_signals
from ..parameters import Range

log = logging.getLogger(__name__)

REFERENCES = ()
OPTIONAL = ("refpix", "sirskernel")  # for IRS2 readout, and for the algorithm "sirs"

SIZE = 2048  # pixels of a near-IR detector's side
BORDER = 4  # reference pixels on each side
OUTPUTS = 4
MIRI_SHAPE = (1024, 1032)

# NIRSpec subarrays that reach no edge: the first and last 4 columns of the image lie outside the slits and serve as reference pixels.
EDGELESS = {("NIRSPEC", "SUB512"), ("NIRSPEC", "SUB512S"), ("NIRSPEC", "SUB32")}


class Options(NamedTuple):
    """The parameters of the near-IR algorithms."""

    odd_even_columns: bool
    use_side_ref_pixels: bool
    side_smoothing_length: int
    side_gain: float
    siglimit: float


def apply(
    exposure,
    refs,
    *,
    odd_even_columns: bool = True,
    use_side_ref_pixels: bool = True,
    side_smoothing_length: Annotated[int, Range(min=1, max=SIZE - 1)] = 11,
    side_gain: float = 1.0,
    odd_even_rows: bool = True,
    ovr_corr_mitigation_ftr: float = 3.0,
    preserve_irs2_refpix: bool = False,
    irs2_mean_subtraction: bool = False,
    refpix_algorithm: Literal["median", "sirs"] = "median",
    sigreject: float = 4.0,
    gaussmooth: float = 1.0,
    halfwidth: int = 30,
    siglimit: Annotated[float, Range(min=1.0)] = 3.0,
):
    """Subtract the reference pixel signal from every group, and from the zero frame.

    Parameters
    ----------
    exposure : Exposure
        Ramp in DN. `pixeldq` must have the reference pixels flagged (dq_init); DO_NOT_USE ones are left out.
    refs : References
        "refpix" for IRS2, "sirskernel" for the algorithm "sirs".
    odd_even_columns : bool
        Near-IR: separate values for odd and even columns.
    use_side_ref_pixels : bool
        Near-IR, 4 outputs: correct along the slow axis too.
    side_smoothing_length : int
        Rows of the running median; an even number is made odd by adding 1.
    side_gain : float
        The running median is multiplied by it.
    odd_even_rows : bool
        MIRI: separate values for odd and even rows.
    siglimit : float
        Clipping limit of the means, in standard deviations.
    refpix_algorithm : str
        Along the slow axis of a near-IR full frame: running median, or the optimal filter of SIRS.
    sigreject, gaussmooth, halfwidth : float, float, int
        Of "sirs".
    ovr_corr_mitigation_ftr, preserve_irs2_refpix, irs2_mean_subtraction : float, bool, bool
        Of IRS2 readout.

    Raises
    ------
    Skip
        MIRI subarray; no usable reference pixel; a subarray that does not lie on the detector.
    ConfigError
        IRS2 or multi-stripe readout, or "sirs": not available yet.
    """
    exposure.sci = np.ascontiguousarray(exposure.sci)
    if exposure.header["INSTRUME"] == "MIRI":
        correct_miri(exposure, odd_even_rows, siglimit)
        return exposure
    options = Options(odd_even_columns, use_side_ref_pixels, side_smoothing_length, side_gain, siglimit)
    correction = _near_infrared(exposure, refs, refpix_algorithm, options)
    frames = exposure.sci.reshape(-1, *exposure.sci.shape[-2:])
    correction(frames)
    zeroframe = exposure.extra.get("ZEROFRAME")
    if zeroframe is not None:
        unknown = zeroframe == 0  # there is no zero frame: nothing to correct, and no reference either
        zeroframe[unknown] = np.nan
        correction(zeroframe)
        zeroframe[unknown] = 0
    return exposure


# --- near-IR detectors -----------------------------------------------------------------------------------------------


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
        """Subtract (frame, column) and (frame, row) from frames (frame, y, x), in place."""
        columns, rows = columns[:, :: np.sign(self.fast)], rows[:, :: np.sign(self.slow)]
        along_x, along_y = (columns, rows) if abs(self.fast) == 1 else (rows, columns)
        subtract_signals(frames, np.ascontiguousarray(along_x), np.ascontiguousarray(along_y))


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
        if start < 0 or start + size > SIZE:
            raise Skip("the subarray does not lie on the detector")
        first[axis] = start if axis > 0 else SIZE - start - size
    return Readout(fast, slow, first[fast], first[slow])


def _near_infrared(exposure, refs, algorithm, options):
    """Choose the algorithm: a function that corrects frames (frame, y, x) in place."""
    header, shape = exposure.header, exposure.sci.shape[-2:]
    if header.get("MSTR_RD1") is not None:
        raise _not_yet("multi-stripe readout", exposure)
    if max(shape) > SIZE:
        if "refpix" not in refs:
            raise Skip("IRS2 readout needs a refpix reference")
        raise _not_yet("IRS2 readout", exposure)
    full = min(shape) == SIZE
    if algorithm == "sirs":
        if full and "sirskernel" in refs:
            raise _not_yet("the algorithm sirs", exposure, "Set refpix: refpix_algorithm: median")
        log.info("sirs needs a full frame and a sirskernel reference: the running median takes its place")
    readout = readout_of(header)
    if full or header.get("NOUTPUTS") == OUTPUTS:
        return four_outputs(readout, exposure.pixeldq, options)
    edgeless = (header["INSTRUME"], header.get("SUBARRAY")) in EDGELESS
    return one_output(readout, exposure.pixeldq, options, edgeless)


def _not_yet(what, exposure, do="Switch the step off (refpix: skip: true) to go on without it"):
    return ConfigError(f"refpix can't correct {what} yet", file=exposure.name, do=do)


def four_outputs(readout, pixeldq, options):
    """Prepare the correction of a detector read by 4 amplifiers of 512 columns each.

    Parameters
    ----------
    readout : Readout
    pixeldq : (y, x) uint32
    options : Options

    Returns
    -------
    callable
        Corrects frames (frame, y, x) in place.
    """
    good = readout.to_detector(pixeldq & DO_NOT_USE) == 0
    rows, columns = readout.row + np.arange(good.shape[0]), readout.column + np.arange(good.shape[1])
    parities = 2 if options.odd_even_columns else 1
    output = columns // (SIZE // OUTPUTS) * parities + columns % parities
    labels = np.full(good.shape, -1, np.int8)
    labels[rows < BORDER] = output
    labels[rows >= SIZE - BORDER] = OUTPUTS * parities + output
    pixels, starts = _sets(np.where(good, labels, -1), 2 * OUTPUTS * parities)
    if not pixels[0].size and not (options.use_side_ref_pixels and good[:, _is_side(columns)].any()):
        raise Skip("no usable reference pixel")
    log.info("4 outputs: %d reference pixels in the first and last rows", pixels[0].size)

    def correct(frames):
        view = readout.to_detector(frames)
        means = clipped_means(view[:, *pixels], starts, options.siglimit).reshape(-1, 2, OUTPUTS, parities)
        means = _either(means[:, 0], means[:, 1])
        means[np.isnan(means).any(axis=-1)] = 0  # one parity alone would make stripes
        offsets = means.reshape(len(means), -1)[:, output]
        side = np.zeros(view.shape[:2])
        if options.use_side_ref_pixels:
            side = options.side_gain * _side_signal(view, offsets, good, columns, readout.row, options.side_smoothing_length)
        readout.subtract(frames, offsets, side)

    return correct


def _is_side(columns):
    return (columns < BORDER) | (columns >= SIZE - BORDER)


def _side_signal(view, offsets, good, columns, first, length):
    """Mean of the running medians of the left and right reference pixels, (frame, row); the one of them that is there, or else 0."""
    sides = []
    for side in (columns < BORDER, columns >= SIZE - BORDER):
        values = view[:, :, side] - offsets[:, None, side]
        sides.append(running_medians(np.ascontiguousarray(values), np.ascontiguousarray(good[:, side]), first, SIZE, length // 2 * 2 + 1))
    return np.nan_to_num(_either(*sides))


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
    pixels, starts = _sets(np.where(reference, parity, -1), parities)
    log.info("1 output: %d reference pixels", pixels[0].size)

    def correct(frames):
        means = clipped_means(readout.to_detector(frames)[:, *pixels], starts, options.siglimit)
        means = np.where(np.isnan(means), means[:, ::-1], means)  # a parity without reference pixels takes the other one's
        readout.subtract(frames, np.nan_to_num(means)[:, parity], np.zeros((len(frames), reference.shape[0])))

    return correct


def _sets(labels, count):
    """Pixels with a label from 0 on, ordered by it.

    Returns
    -------
    (rows, columns), starts
        Indices of the pixels, and where in them each label's begin, with the end.
    """
    rows, columns = np.nonzero(labels >= 0)
    found = labels[rows, columns]
    order = np.argsort(found, kind="stable")
    return (rows[order], columns[order]), np.searchsorted(found[order], np.arange(count + 1))


def _either(a, b):
    """Mean of the two; the other one where one is NaN."""
    return np.where(np.isnan(a), b, np.where(np.isnan(b), a, 0.5 * (a + b)))


# --- MIRI ------------------------------------------------------------------------------------------------------------


def correct_miri(exposure, odd_even_rows, siglimit):
    """Correct MIRI's 4 interleaved outputs (column modulo 4) by the 4 reference columns on each side, in place.

    Raises
    ------
    Skip
        A subarray; an output without a usable reference pixel.
    """
    sci, shape = exposure.sci, exposure.sci.shape[-2:]
    if shape[0] < MIRI_SHAPE[0] or shape[1] < MIRI_SHAPE[1]:
        raise Skip("MIRI subarrays are not corrected")
    good = (exposure.pixeldq & DO_NOT_USE) == 0
    parities = 2 if odd_even_rows else 1
    labels = np.full(shape, -1, np.int8)
    output = np.arange(OUTPUTS) * parities + (np.arange(shape[0]) % parities)[:, None]
    labels[:, :BORDER] = output
    labels[:, -BORDER:] = OUTPUTS * parities + output
    (rows, columns), starts = _sets(np.where(good, labels, -1), 2 * OUTPUTS * parities)
    if not (np.diff(starts).reshape(2, -1).sum(axis=0) > 0).all():
        raise Skip("an output has no usable reference pixel")
    samples = sci[:, :, rows, columns]
    samples = (samples - samples[:, :1]).reshape(-1, rows.size)
    means = clipped_means(samples, starts, siglimit).reshape(*sci.shape[:2], 2, OUTPUTS, parities)
    means = np.broadcast_to(_either(means[:, :, 0], means[:, :, 1]), (*sci.shape[:2], OUTPUTS, 2)).swapaxes(-2, -1)
    subtract_from_growth(sci, means[..., np.arange(shape[1]) % OUTPUTS].astype(np.float32))
    log.info("MIRI: %d reference pixels", rows.size)
