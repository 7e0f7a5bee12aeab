"""Reference pixels: their clipped means and running medians, and the subtraction of the signal that they show.

All work in the precision of what they are given, in the order of numpy: in float32 the last digit of a mean is the peer's then, and with it
that of all the samples that the mean is subtracted from.
"""

import numpy as np
from numba import njit, prange

from ..columns.pairwise_sum import pairwise_sum

PIECE = 128  # rows that a thread takes at a time


@njit(cache=True, nogil=True)
def _mean(x):
    return x.dtype.type(pairwise_sum(x) / x.size)


@njit(cache=True, nogil=True)
def _clipped_mean(x, limit):
    """Mean of the values x (n,), which are reordered, after clipping until nothing lies beyond `limit` standard deviations."""
    if (x == x[0]).all():
        return x[0]  # and not what rounding makes of it
    while True:
        mean = _mean(x)
        away = x - mean
        reach = x.dtype.type(limit) * np.sqrt(_mean(away * away))
        kept = 0
        for i in range(x.size):
            if mean - reach <= x[i] <= mean + reach:
                x[kept] = x[i]
                kept += 1
        if kept == x.size or kept == 0:
            return mean
        x = x[:kept]


@njit(cache=True, nogil=True, parallel=True)
def clipped_means(samples, starts, limit):
    """Clipped mean of each set of reference pixels in each frame.

    The clipping is that of `scipy.stats.sigmaclip`: standard deviation of the population, limits included, until nothing more is lost.

    Parameters
    ----------
    samples : (frame, sample) float32 or float64
        Pixel values, the sets one after the other; those that are not finite are left out.
    starts : (set + 1,) int
        Where in a frame's samples each set begins, and the end of the last one.
    limit : float
        In standard deviations, at least 1.

    Returns
    -------
    (frame, set) as samples, NaN for a set without samples
    """
    frames, sets = samples.shape[0], starts.size - 1
    means = np.full((frames, sets), np.nan, samples.dtype)
    for f in prange(frames):
        for s in range(sets):
            x = samples[f, starts[s] : starts[s + 1]]
            x = x[np.isfinite(x)]
            if x.size:
                means[f, s] = _clipped_mean(x, limit)
    return means


@njit(cache=True, nogil=True)
def _window(values, good, centre, first, size, half, x):
    """Collect into x the good values within `half` detector rows of row `centre`; their number."""
    n = 0
    for k in range(centre - half, centre + half + 1):
        row = (abs(k) if k < size else 2 * (size - 1) - k) - first
        if 0 <= row < values.shape[0]:
            for c in range(values.shape[1]):
                if good[row, c] and np.isfinite(values[row, c]):
                    x[n] = values[row, c]
                    n += 1
    return n


@njit(cache=True, nogil=True)
def _median(x):
    """Median of x (n,), which is reordered: Hoare's selection. numpy's own takes the compiler ten times as long."""
    middle, low, high = x.size // 2, 0, x.size - 1
    while low < high:
        pivot, i, j = x[middle], low, high
        while i <= j:
            while x[i] < pivot:
                i += 1
            while pivot < x[j]:
                j -= 1
            if i <= j:
                x[i], x[j] = x[j], x[i]
                i += 1
                j -= 1
        if j < middle:
            low = i
        if middle < i:
            high = j
    if x.size % 2:
        return np.float64(x[middle])
    below = x[0]
    for i in range(1, middle):
        below = max(below, x[i])
    return np.float64(below + x[middle]) / 2


@njit(cache=True, nogil=True, parallel=True)
def running_medians(values, good, first, size, length):
    """Median of a few columns of reference pixels in a window of rows around each row.

    Parameters
    ----------
    values : (frame, row, column) float32 or float64
    good : (row, column) bool
    first : int
        Detector row of the first row.
    size : int
        Rows of the detector: the window is reflected at the detector's ends (not at those of a subarray).
    length : int
        Height of the window, odd.

    Returns
    -------
    (frame, row) float64, NaN where the window holds no good value; the mean of two middle values is rounded as these are
    """
    frames, rows, columns = values.shape
    medians = np.empty((frames, rows))
    pieces = -(-rows // PIECE)
    for piece in prange(frames * pieces):
        p = np.intp(piece)  # prange counts unsigned inside
        f, start = p // pieces, p % pieces * PIECE
        x = np.empty(length * columns, values.dtype)
        for r in range(start, min(start + PIECE, rows)):
            n = _window(values[f], good, first + r, first, size, length // 2, x)
            medians[f, r] = _median(x[:n]) if n else np.nan
    return medians


@njit(cache=True, nogil=True, parallel=True)
def subtract_signals(frames, along_x, along_y, x_first):
    """Subtract from each pixel a value of its column and a value of its row, in place.

    Parameters
    ----------
    frames : (frame, y, x) float32
    along_x : (frame, x) float32 or float64
    along_y : (frame, y) float32 or float64
    x_first : bool
        Whether to begin with `along_x`. If what comes first is float32, this difference is rounded, too.
    """
    n, ny, nx = frames.shape
    for line in prange(n * ny):
        f, y = line // ny, line % ny
        level = along_y[f, y]
        for x in range(nx):
            if x_first:
                frames[f, y, x] = np.float32((frames[f, y, x] - along_x[f, x]) - level)
            else:
                frames[f, y, x] = np.float32((frames[f, y, x] - level) - along_x[f, x])


@njit(cache=True, nogil=True, parallel=True)
def subtract_from_growth(sci, signals):
    """Subtract signals from what each group has gained since the first one, in place; the first group stays as it is.

    Each of the three operations is rounded to float32.

    Parameters
    ----------
    sci : (int, group, row, col) float32
    signals : (int, group, 2, col) float32
        For the first, third... and for the second, fourth... row.
    """
    nints, ngroups, ny, nx = sci.shape
    for line in prange(nints * ny):
        i, y = line // ny, line % ny
        for g in range(1, ngroups):
            for x in range(nx):
                growth = sci[i, g, y, x] - sci[i, 0, y, x]
                sci[i, g, y, x] = (growth - signals[i, g, y % 2, x]) + sci[i, 0, y, x]
