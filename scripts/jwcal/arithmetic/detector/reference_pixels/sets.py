"""Sets of reference pixels, and their means; the frames that they are of."""

import numpy as np

from ....kernels.detector.reference_pixels import clipped_means

BORDER = 4  # reference pixels on each side of a detector


def sets(labels, count):
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


def either(a, b):
    """Mean of the two; the other one where one is NaN."""
    return np.where(np.isnan(a), b, np.where(np.isnan(b), a, 0.5 * (a + b)))


def means_of(frames, pixels, starts, siglimit, kind=np.float32):
    """Clipped means of sets of pixels, worked out in the precision `kind`: (frame, set)."""
    return clipped_means(np.ascontiguousarray(frames[:, *pixels], kind), starts, siglimit)


def offsets_of(frames, pixels, starts, parities, siglimit, kind=np.float32):
    """Clipped means of the reference pixels of each output and parity, both ends averaged, (frame, output x parity) of the type `kind`."""
    means = means_of(frames, pixels, starts, siglimit, kind).reshape(len(frames), 2, -1, parities)
    means = either(means[:, 0], means[:, 1])
    means[np.isnan(means).any(axis=-1)] = 0  # one parity alone would make stripes
    return means.reshape(len(frames), -1)


def correct_frames(exposure, correction):
    """Apply a function that corrects frames (frame, y, x) in place to the groups and the zero frames.

    It is told how many of the frames are the exposure's first.
    """
    correction(exposure.sci.reshape(-1, *exposure.sci.shape[-2:]), int(exposure.integrations.start == 0))
    zeroframe = exposure.extra.get("ZEROFRAME")
    if zeroframe is not None:
        unknown = zeroframe == 0  # there is no zero frame: nothing to correct, and no reference either
        zeroframe[unknown] = np.nan
        correction(zeroframe, 0)
        zeroframe[unknown] = 0
