"""Subtract the drifts that the reference pixels show: of each output, of odd and even columns, and along the slow axis.

Four layouts, by the detector and its readout:

====================  ======================================================================================================
near-IR, 4 outputs    each amplifier's odd and even columns by its first and last 4 rows, then each row by a running
                      median of the first and last 4 columns, or by their optimal filter (SIRS)
near-IR, 1 output     odd and even columns by all reference pixels of the subarray
MIRI, full frame      each of the 4 interleaved outputs' odd and even rows by the reference columns on the left and right,
                      in what was gained since the integration's first group
NIRSpec, IRS2         each amplifier's series of samples by that of the reference output and of the reference pixels that are
                      read in between (package `irs2`); they are no longer in the images afterwards
====================  ======================================================================================================

Rows and columns are those of the detector: columns along the fast readout direction (FASTAXIS), rows along the slow one.
"""

import logging
from typing import Annotated, Literal, NamedTuple

import numpy as np

from ..dq import DO_NOT_USE, REFERENCE_PIXEL
from ..errors import ConfigError, InputError, ReferenceError, Skip
from ..irs2 import bad_references, layout
from ..kernels import sirs
from ..kernels.reference_pixels import clipped_means, running_medians, subtract_from_growth, subtract_signals
from ..parameters import Range

log = logging.getLogger(__name__)

REFERENCES = ()
PREPARES = "integrations"
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
    sirs: object = None  # kernels.sirs.Filter: takes the place of the running median


def prepares(exposure):
    """Whether all integrations must have been looked at before one is changed: in IRS2 readout."""
    return layout.is_irs2(exposure.raw.shape if exposure.raw is not None else exposure.sci.shape)


def prepare(exposure, refs, *, ovr_corr_mitigation_ftr=3.0, **_):
    """Flag the bad reference pixels of IRS2 readout: they are bad in all integrations once they are so in one."""
    if "refpix" in refs:
        bad_references.flag(exposure, layout.layout_of(exposure.header), ovr_corr_mitigation_ftr)


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
    sigreject: Annotated[float, Range(min=0.0)] = 4.0,
    gaussmooth: Annotated[float, Range(min=0.001)] = 1.0,
    halfwidth: Annotated[int, Range(min=0, max=SIZE // 2)] = 30,
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
    sigreject : float
        Of "sirs": reference pixels this far from their median are left out, in robust standard deviations.
    gaussmooth : float
        Of "sirs": standard deviation of the Gaussian that smooths the filter, in rows.
    halfwidth : int
        Of "sirs": rows that the filter reaches to either side.
    ovr_corr_mitigation_ftr : float
        IRS2: reference pixels that stand out by this many standard deviations from those of their output are replaced.
    preserve_irs2_refpix : bool
        IRS2: correct the reference pixels too, and keep them in the images. Later steps can't use these.
    irs2_mean_subtraction : bool
        IRS2: first subtract from each output's odd and even samples the mean of their first and last 4 lines.

    Raises
    ------
    Skip
        MIRI subarray; no usable reference pixel; a subarray that does not lie on the detector; IRS2 without a refpix reference.
    InputError, ReferenceError
        IRS2 readout of another detector or rhythm; a reference that is not what it should be.
    ConfigError
        Multi-stripe readout: not available yet.
    """
    exposure.sci = np.ascontiguousarray(exposure.sci)
    if layout.is_irs2(exposure.sci.shape):
        means = Options(odd_even_columns, False, side_smoothing_length, side_gain, siglimit) if irs2_mean_subtraction else None
        return correct_irs2(exposure, refs, ovr_corr_mitigation_ftr, preserve_irs2_refpix, means)
    if exposure.header["INSTRUME"] == "MIRI":
        correct_miri(exposure, odd_even_rows, siglimit)
        return exposure
    optimal = _sirs(exposure, refs, sigreject, gaussmooth, halfwidth) if refpix_algorithm == "sirs" else None
    options = Options(odd_even_columns, use_side_ref_pixels, side_smoothing_length, side_gain, siglimit, optimal)
    _correct_frames(exposure, _near_infrared(exposure, options))
    return exposure


def _correct_frames(exposure, correction):
    """Apply a function that corrects frames (frame, y, x) in place to the groups and the zero frames."""
    correction(exposure.sci.reshape(-1, *exposure.sci.shape[-2:]))
    zeroframe = exposure.extra.get("ZEROFRAME")
    if zeroframe is not None:
        unknown = zeroframe == 0  # there is no zero frame: nothing to correct, and no reference either
        zeroframe[unknown] = np.nan
        correction(zeroframe)
        zeroframe[unknown] = 0


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


def _near_infrared(exposure, options):
    """Choose the algorithm: a function that corrects frames (frame, y, x) in place."""
    header = exposure.header
    if header.get("MSTR_RD1") is not None:
        what = "refpix can't correct multi-stripe readout yet"
        raise ConfigError(what, file=exposure.name, do="Switch the step off (refpix: skip: true) to go on without it")
    readout = readout_of(header)
    if _is_full(exposure) or header.get("NOUTPUTS") == OUTPUTS:
        return four_outputs(readout, exposure.pixeldq, options)
    edgeless = (header["INSTRUME"], header.get("SUBARRAY")) in EDGELESS
    return one_output(readout, exposure.pixeldq, options, edgeless)


def _is_full(exposure):
    return min(exposure.sci.shape[-2:]) == SIZE


def _sirs(exposure, refs, sigreject, gaussmooth, halfwidth):
    """The SIRS filter of a full frame's detector; None, with the reason in the log, where there is none."""
    why = None if _is_full(exposure) else "is for full frames"
    if why is None and "sirskernel" not in refs:
        why = "needs a sirskernel reference"
    if why is None:
        reference, detector = refs["sirskernel"], exposure.header["DETECTOR"]
        of = {name.lower(): entry for name, entry in reference.tree.items()}.get(detector.lower())
        if of is not None:
            return _filter(of, reference.path, sigreject, gaussmooth, halfwidth)
        why = f"has no kernel for {detector} in its reference"
    log.info("the algorithm sirs %s: the running median takes its place", why)
    return None


def _filter(entry, path, sigreject, gaussmooth, halfwidth):
    """The SIRS filter from a detector's entry in the reference."""
    try:
        sides = [np.asarray(entry[name]) for name in ("gamma", "zeta")]
        if any(side.ndim != 2 or len(side) != OUTPUTS or side.shape[1] <= halfwidth for side in sides):
            raise ValueError(f"their shapes are {sides[0].shape} and {sides[1].shape}")
    except (KeyError, TypeError, ValueError) as error:
        raise ReferenceError(
            f"gamma and zeta of {OUTPUTS} outputs, with more than {halfwidth} coefficients each, are needed ({error})",
            file=path,
            do="Give another sirskernel reference, or a smaller refpix: halfwidth",
        ) from None
    return sirs.Filter(*(sirs.taps(side, gaussmooth, halfwidth) for side in sides), sigreject)


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
        offsets = _offsets(view, pixels, starts, parities, options.siglimit)[:, output]
        side = np.zeros(view.shape[:2])
        if options.use_side_ref_pixels and not options.sirs:
            side = options.side_gain * _side_signal(view, offsets, good, columns, readout.row, options.side_smoothing_length)
        readout.subtract(frames, offsets, side)
        if options.use_side_ref_pixels and options.sirs:
            _subtract_prediction(view, options.sirs)

    return correct


def _offsets(frames, pixels, starts, parities, siglimit):
    """Clipped means of the reference pixels of each output and parity, both ends averaged, (frame, output x parity)."""
    means = clipped_means(frames[:, *pixels], starts, siglimit).reshape(len(frames), 2, -1, parities)
    means = _either(means[:, 0], means[:, 1])
    means[np.isnan(means).any(axis=-1)] = 0  # one parity alone would make stripes
    return means.reshape(len(frames), -1)


def _subtract_prediction(view, optimal):
    """Subtract from each output what its SIRS filter makes of the side reference pixels; view (frame, row, column), in place."""
    for frame in view:
        noise = sirs.predict(frame[:, :BORDER].astype(float), frame[:, -BORDER:].astype(float), optimal)
        for k, output in enumerate(np.split(frame, OUTPUTS, axis=1)):
            output -= noise[:, k, None]


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


# --- NIRSpec's IRS2 readout ------------------------------------------------------------------------------------------


def correct_irs2(exposure, refs, limit, preserve, means=None):
    """Correct IRS2 readout, and keep the detector's own pixels alone.

    Parameters
    ----------
    exposure : Exposure
    refs : References
        "refpix"
    limit : float
        For bad reference pixels; not looked at where `prepare` has flagged them.
    preserve : bool
        Keep the reference pixels.
    means : Options, optional
        Subtract the means of the first and last lines first.
    """
    from ..irs2.correction import correct, filters_of  # it imports scipy.fft, which no other readout needs

    rows = layout.layout_of(exposure.header)
    if "refpix" not in refs:
        raise Skip("IRS2 readout needs a refpix reference")
    reference, lines = refs["refpix"], exposure.sci.shape[-1]
    filters = reference.derived("filters", lambda: filters_of(reference, lines))
    if "refpix" not in exposure.prepared:
        bad_references.flag(exposure, rows, limit)
    if means:
        _correct_frames(exposure, five_outputs(exposure.pixeldq, means))
    bad = bad_references.flagged(exposure.pixeldq, rows)
    bad_references.replace(exposure.sci, np.flatnonzero(bad), bad)
    for entry in bad_references.of_table(reference.table("DQ"), rows) if reference.has("DQ") else ():
        new = entry[~bad[entry]]
        bad[new] = True
        bad_references.replace(exposure.sci, new, bad)
    for i in range(len(exposure.sci)):
        correct(exposure.sci[i], rows, filters, preserve)
    if not preserve:
        layout.keep_science_rows(exposure)
    log.info("IRS2: %d groups, %d rows of bad reference pixels", np.prod(exposure.sci.shape[:2]), np.count_nonzero(bad))
    return exposure


def five_outputs(pixeldq, options):
    """Prepare the subtraction of the means of the first and last lines from each output of IRS2 readout, odd and even samples apart.

    Result as that of `four_outputs`.
    """
    rows, columns = np.indices(pixeldq.shape, sparse=True)
    parities = 2 if options.odd_even_columns else 1
    rhythm = bad_references.SAMPLED[:, None]
    parity = np.where(rhythm, rows // 2, rows) % parities  # a reference pixel is read twice
    output = rows // layout.SAMPLES * parities + parity
    labels = np.where(columns < BORDER, output, np.where(columns >= pixeldq.shape[1] - BORDER, layout.OUTPUTS * parities + output, -1))
    pixels, starts = _sets(np.where((pixeldq & DO_NOT_USE) == 0, labels, -1), 2 * layout.OUTPUTS * parities)

    def subtract(frames):
        offsets = _offsets(frames, pixels, starts, parities, options.siglimit)[:, output[:, 0]]
        subtract_signals(frames, np.zeros((len(frames), frames.shape[2])), offsets)

    return subtract


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
