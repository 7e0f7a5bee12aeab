"""Striped readout: frames of stripes from anywhere along the slow axis of a near-IR detector, with rows of reference pixels between.

A frame is read from MSTR_RD1 rows at the subarray's start (reference pixels), then, MSTR_SK1 rows on, from MSTR_RD2 rows, the first
stripe. Until the frame is full, MSTR_SK2 rows are skipped from stripe to stripe; or, with MSTR_RPT, each stripe begins again at the
start, at the same rows or, with MSTR_ILV, at the next ones. In superstripe readout (SSTR_NST above 0) the integrations follow each other
in turns of SSTR_NST positions, SSTR_STP rows apart, and are put together to those of the whole region (`superstripes`).

Rows and columns here are those of the detector: rows along the slow axis (SLOWAXIS), counted from 0 in the order of reading.
"""

from typing import NamedTuple

import numpy as np

from ..vocabulary.errors import InputError, ReferenceError
from ..vocabulary.limits import SIDE

KEYWORDS = ("MSTR_RD1", "MSTR_SK1", "MSTR_RD2", "MSTR_SK2", "MSTR_RPT", "MSTR_ILV", "SSTR_STP", "SSTR_NST")


class Run(NamedTuple):
    """Rows that are read one after the other."""

    detector: slice  # which rows of the detector
    frame: slice  # which rows of the image they become
    reference: bool  # whether they are read for their reference pixels only


class Stripes(NamedTuple):
    """What one frame is made of."""

    runs: list
    fast: int  # FASTAXIS
    slow: int  # SLOWAXIS
    size: int  # rows of the image
    width: int  # its columns

    def to_detector(self, array):
        """A view of (..., y, x) as (..., row, column)."""
        if abs(self.fast) == 1:
            return array[..., :: np.sign(self.slow), :: np.sign(self.fast)]
        return array[..., :: np.sign(self.fast), :: np.sign(self.slow)].swapaxes(-2, -1)

    def to_archive(self, array):
        """A view of (..., row, column) as (..., y, x)."""
        if abs(self.fast) == 1:
            return array[..., :: np.sign(self.slow), :: np.sign(self.fast)]
        return array.swapaxes(-2, -1)[..., :: np.sign(self.fast), :: np.sign(self.slow)]

    @property
    def science(self):
        """The runs that are not for their reference pixels."""
        return [run for run in self.runs if not run.reference]


def is_striped(header):
    """Whether an exposure is read in stripes."""
    return header.get("MSTR_RD1") is not None


def positions(header):
    """In how many positions of the stripes a superstripe exposure is taken, one an integration; 0 for other exposures."""
    return int(header.get("SSTR_NST", 0)) if is_striped(header) else 0


def stripes_of(header, position=0):
    """What the frames at one position are made of.

    Parameters
    ----------
    header : exposure.Header
    position : int
        From 0, of a superstripe exposure.

    Returns
    -------
    Stripes

    Raises
    ------
    InputError
        The keywords make no frame of the subarray's size.
    """
    first, skip1, read2, skip2 = (int(header.get(f"MSTR_{name}", 0)) for name in ("RD1", "SK1", "RD2", "SK2"))
    step, again, next_rows = (int(header.get(name, 0)) for name in ("SSTR_STP", "MSTR_RPT", "MSTR_ILV"))
    fast, slow = int(header["FASTAXIS"]), int(header["SLOWAXIS"])
    size = int(header[f"SUBSIZE{abs(slow)}"])
    rows = read2 if read2 > 0 or not positions(header) else step
    start = _first_row(header, slow)
    runs, filled, row, skipped = [], 0, start, skip1
    while filled < size and rows > 0:
        if first > 0 and (not runs or again):
            runs.append(Run(slice(start, start + first), slice(filled, filled + first), True))
            filled += first
        if not any(not run.reference for run in runs):
            row = start + first + skip1 + step * position
        elif again and next_rows:
            skipped += skip2 + rows
            row = start + first + skipped
        elif again:
            row = start + first + skip1 + step * position
        else:
            row += skip2
        runs.append(Run(slice(row, row + rows), slice(filled, filled + rows), False))
        filled, row = filled + rows, row + rows
    if filled != size or max((run.detector.stop for run in runs), default=0) > SIDE:
        given = ", ".join(f"{name} = {header.get(name)}" for name in KEYWORDS)
        what = f"the stripes that its keywords tell ({given}) do not make a frame of {size} rows on the detector"
        raise InputError(what, header.name, "Take the file from the archive again, or correct the keywords")
    return Stripes(runs, fast, slow, size, int(header[f"SUBSIZE{abs(fast)}"]))


def _first_row(header, slow):
    """The detector row that is read first. SUBSTRT tells it in the archive's orientation, wrongly as 1 in early products."""
    start = int(header[f"SUBSTRT{abs(slow)}"])
    if "DHS" in str(header.get("SUBARRAY")).upper() or (slow < 0 and start == 1):
        return 0
    return SIDE - start if slow < 0 else start - 1


def first_column(header):
    """The detector column of a striped image's first one, in the order of reading."""
    axis = int(header["FASTAXIS"])
    return _offset(int(header[f"SUBSTRT{abs(axis)}"]), int(header[f"SUBSIZE{abs(axis)}"]), axis)


def cut(array, header, place, position, path, kind):
    """What the pixels of a striped image are in a map of the detector.

    Parameters
    ----------
    array : ndarray, (..., y, x)
        In the archive's orientation.
    header : exposure.Header
        Of the exposure.
    place : (int, int)
        SUBSTRT1 and SUBSTRT2 of the array.
    position : int
    path, kind : path, str
        Of the reference, for messages.

    Returns
    -------
    ndarray, (..., y, x)

    Raises
    ------
    ReferenceError
        The array does not cover the stripes.
    """
    stripes = stripes_of(header, position)
    here = stripes.to_detector(array)
    rows, columns = (_offset(place[abs(axis) - 1], n, axis) for axis, n in ((stripes.slow, here.shape[-2]), (stripes.fast, here.shape[-1])))
    first = first_column(header) - columns
    last = max(run.detector.stop for run in stripes.runs) - rows
    if first < 0 or first + stripes.width > here.shape[-1] or min(r.detector.start for r in stripes.runs) < rows or last > here.shape[-2]:
        raise ReferenceError(
            f"the {kind} reference's images of {array.shape[-1]} x {array.shape[-2]} pixels do not cover the stripes of the exposure",
            file=path,
            do=f"Give a {kind} reference of the whole detector under references: overrides, or take the one from CRDS",
        )
    out = np.empty((*here.shape[:-2], stripes.size, stripes.width), array.dtype)
    for run in stripes.runs:
        out[..., run.frame, :] = here[..., run.detector.start - rows : run.detector.stop - rows, first : first + stripes.width]
    return np.ascontiguousarray(stripes.to_archive(out))


def _offset(start, size, axis):
    """Detector row or column, from 0, that is first along an axis of what lies at `start` (from 1) in the archive's orientation."""
    return start - 1 if axis > 0 else SIDE - start - size + 1
