"""Reference pixels: their clipped means and running medians, and the subtraction of the signal that they show.

Sums are kept in double precision; only what is put back into the ramp is rounded to float32.
"""

import numpy as np
from numba import njit, prange


@njit(cache=True, nogil=True)
def _clipped_mean(x, n, limit):
    """Mean of the first n values of x, which is reordered, after clipping until nothing lies beyond `limit` standard deviations."""
    while True:
        total = 0.0
        for i in range(n):
            total += x[i]
        mean = total / n
        squares = 0.0
        for i in range(n):
            squares += (x[i] - mean) ** 2
        reach = limit * np.sqrt(squares / n)
        kept = 0
        for i in range(n):
            if mean - reach <= x[i] <= mean + reach:
                x[kept] = x[i]
                kept += 1
        if kept == n or kept == 0:
            return mean
        n = kept


@njit(cache=True, nogil=True, parallel=True)
def clipped_means(samples, starts, limit):
    """Clipped mean of each set of reference pixels in each frame.

    The clipping is that of `scipy.stats.sigmaclip`: standard deviation of the population, limits included, until nothing more is lost.

    Parameters
    ----------
    samples : (frame, sample) float32
        Pixel values, the sets one after the other; those that are not finite are left out.
    starts : (set + 1,) int
        Where in a frame's samples each set begins, and the end of the last one.
    limit : float
        In standard deviations, at least 1.

    Returns
    -------
    (frame, set) float64, NaN for a set without samples
    """
    frames, sets = samples.shape[0], starts.size - 1
    means = np.empty((frames, sets))
    for f in prange(frames):
        x = np.empty(samples.shape[1])
        for s in range(sets):
            n = 0
            for i in range(starts[s], starts[s + 1]):
                if np.isfinite(samples[f, i]):
                    x[n] = samples[f, i]
                    n += 1
            means[f, s] = _clipped_mean(x, n, limit) if n else np.nan
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


@njit(cache=True, nogil=True, parallel=True)
def running_medians(values, good, first, size, length):
    """Median of a few columns of reference pixels in a window of rows around each row.

    Parameters
    ----------
    values : (frame, row, column) float
    good : (row, column) bool
    first : int
        Detector row of the first row.
    size : int
        Rows of the detector: the window is reflected at the detector's ends (not at those of a subarray).
    length : int
        Height of the window, odd.

    Returns
    -------
    (frame, row) float64, NaN where the window holds no good value
    """
    frames, rows, columns = values.shape
    medians = np.empty((frames, rows))
    for f in prange(frames):
        x = np.empty(length * columns)
        for r in range(rows):
            n = _window(values[f], good, first + r, first, size, length // 2, x)
            medians[f, r] = np.median(x[:n]) if n else np.nan
    return medians


@njit(cache=True, nogil=True, parallel=True)
def subtract_signals(frames, along_x, along_y):
    """Subtract from each pixel a value of its column and a value of its row, in place.

    Parameters
    ----------
    frames : (frame, y, x) float32
    along_x : (frame, x) float64
    along_y : (frame, y) float64
    """
    n, ny, nx = frames.shape
    for line in prange(n * ny):
        f, y = line // ny, line % ny
        level = along_y[f, y]
        for x in range(nx):
            frames[f, y, x] = np.float32(frames[f, y, x] - along_x[f, x] - level)


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
