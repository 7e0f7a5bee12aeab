"""Where the samples of IRS2 readout lie: in the 3200 rows of a raw image, and in time."""

from typing import NamedTuple

import numpy as np

from ..vocabulary.errors import InputError

NORMAL, REFERENCE = 16, 4  # samples of pixels, and of reference pixels, in turn: NRS_NORM and NRS_REF
PERIOD = NORMAL + REFERENCE
OUTPUTS = 5  # the reference output and 4 amplifiers
SAMPLES = 640  # of one output in a line: half a run of pixels, 32 times reference pixels and pixels, the last run cut in half
ROWS = OUTPUTS * SAMPLES
JUMP, LINE_END = 1, 8  # times of a sample that pass when stepping out to the reference pixels or back, and at the end of a line
TICKS = SAMPLES // PERIOD * (PERIOD + 2 * JUMP) + LINE_END  # of a line: 712 times of a sample, 10 microseconds each

_PLACE = np.arange(SAMPLES) % PERIOD
IS_REFERENCE = (_PLACE >= NORMAL // 2) & (_PLACE < NORMAL // 2 + REFERENCE)  # (sample,)
SAMPLE_TICKS = np.arange(SAMPLES) + 2 * JUMP * (np.arange(SAMPLES) // PERIOD)
SAMPLE_TICKS = SAMPLE_TICKS + JUMP * (_PLACE >= NORMAL // 2) + JUMP * (_PLACE >= NORMAL // 2 + REFERENCE)  # (sample,)


class Layout(NamedTuple):
    """How the raw images of one detector lie, in the archive's orientation: lines are columns, samples of a line are rows.

    Attributes
    ----------
    order : ndarray of int, (output, sample)
        Row of each sample in the order of reading; output 0 is the reference output.
    backwards : bool
        Whether the last column is read first.
    """

    order: np.ndarray
    backwards: bool

    @property
    def science(self):
        """Rows of the detector's own pixels, from the first to the last, (2048,) int."""
        return np.sort(self.order[1:, ~IS_REFERENCE].ravel())

    @property
    def references(self):
        """Which rows are reference samples: the whole reference output and the interleaved ones, bool (row,)."""
        marked = np.ones(ROWS, bool)
        marked[self.science] = False
        return marked


def is_irs2(shape):
    """Whether images of this shape, (..., row, col), hold the samples of IRS2 readout."""
    return shape[-2] == ROWS


def layout_of(header):
    """The `Layout` of an exposure.

    Parameters
    ----------
    header : exposure.Header

    Raises
    ------
    InputError
        Not one of NIRSpec's detectors, or another rhythm than 16 pixels, 4 reference pixels.
    """
    rhythm = (header.get("NRS_NORM", NORMAL), header.get("NRS_REF", REFERENCE))
    if rhythm != (NORMAL, REFERENCE):
        what = f"NRS_NORM, NRS_REF = {rhythm}: IRS2 readout is known with {NORMAL}, {REFERENCE} only"
        raise InputError(what, header.name, "Correct the keywords, or take the file from the archive again")
    detector = header["DETECTOR"]
    if detector not in ("NRS1", "NRS2"):
        what = f"IRS2 readout ({ROWS} rows) of DETECTOR {detector}: only NRS1 and NRS2 have it"
        raise InputError(what, header.name, "Correct the keyword")
    order = np.arange(ROWS).reshape(OUTPUTS, SAMPLES)
    order[::2] = order[::2, ::-1]  # every other output is read the other way
    backwards = detector == "NRS2"
    return Layout(ROWS - 1 - order if backwards else order, backwards)


def science_rows(exposure):
    """The rows of an exposure's images that are pixels of the detector, (row,) int: all of them in any other readout.

    Raises
    ------
    InputError
        As `layout_of`.
    """
    shape = exposure.sci.shape
    return layout_of(exposure.header).science if is_irs2(shape) else np.arange(shape[-2])


def keep_science_rows(exposure):
    """Leave only the detector's own pixels in an exposure: its samples and flags, and all maps of its pixels.

    Samples and group flags are not copied: what is kept moves to the front of their memory, and the rest is given back.
    """
    from ..kernels.detector.irs2 import move_rows  # here: numba is slow to import, and most who import this module need it not

    rows = science_rows(exposure)
    for name in ("sci", "groupdq"):
        array = np.ascontiguousarray(getattr(exposure, name))
        setattr(exposure, name, None)
        move_rows(array.reshape(-1, array.shape[3]), array.shape[2], rows)
        shape = (*array.shape[:2], rows.size, array.shape[3])
        try:
            array.resize(shape)
        except ValueError:  # someone else looks at this memory, too
            array = array.reshape(-1)[: np.prod(shape)].reshape(shape)
        setattr(exposure, name, array)
    exposure.pixeldq = exposure.pixeldq[rows]
    for name, array in exposure.extra.items():
        if array.ndim > 1 and is_irs2(array.shape):
            exposure.extra[name] = array[..., rows, :]
