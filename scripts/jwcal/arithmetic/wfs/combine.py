"""The mean of two images of which one is shifted by whole pixels."""

import numpy as np

from ...vocabulary import dq as bits


def shifted(image, offset):
    """The image moved so that pixel (x + dx, y + dy) comes to (x, y); zeros where there is nothing."""
    moved = np.zeros_like(image)
    to, of = zip(*(_slices(shift, size) for shift, size in zip(offset[::-1], image.shape, strict=True)), strict=True)
    moved[to] = image[of]
    return moved


def _slices(shift, size):
    return slice(max(0, -shift), min(size, size - shift)), slice(max(0, shift), min(size, size + shift))


def unusable(pixels):
    """Pixels that are DO_NOT_USE, or have no value."""
    return ((pixels.dq & bits.DO_NOT_USE) != 0) | np.isnan(pixels.sci)


def mean_of_pair(first, second, offset, error, outside):
    """The mean where both are good, the good one where only one is, 0 and DO_NOT_USE where none is.

    Parameters
    ----------
    first, second : exposure.Pixels
        sci, err, dq. They are left as they are.
    offset : (int, int)
        x and y of the second minus the first, pixels.
    error : {"mean", "quadrature"}
        The mean of the two errors, or the error of the mean of two independent values.
    outside : {"halved", "first"}
        Where the second image has no pixel: its value counts as 0 +- 0, or not at all.

    Returns
    -------
    sci, err : float32 (row, col)
    dq : uint32 (row, col)
        The first image's where that is good, the second's where only that is.
    """
    bad1 = unusable(first)
    bad2 = shifted(unusable(second), offset)
    if outside == "first":
        bad2 |= ~shifted(np.ones(bad2.shape, bool), offset)
    flags = shifted(second.dq, offset)
    sci = _mean(np.where(bad1, 0, first.sci), shifted(np.where(unusable(second), 0, second.sci), offset), bad1, bad2)
    if error == "mean":
        err = _mean(first.err, shifted(second.err, offset), bad1, bad2)
    else:
        err = _mean(first.err, shifted(second.err, offset), bad1, bad2, lambda a, b: 0.5 * np.hypot(a, b))
    dq = np.where(bad1 & ~bad2, flags, first.dq)
    dq[bad1 & bad2] |= bits.DO_NOT_USE
    return sci, err, dq


def _mean(a, b, bad1, bad2, both=lambda a, b: (a + b) * 0.5):
    """The sum of two float32 is halved exactly: its rounding is the only one."""
    value = both(a, b)
    value = np.where(bad2, a, value)
    value = np.where(bad1, b, value)
    value[bad1 & bad2] = 0
    return value.astype(np.float32)
