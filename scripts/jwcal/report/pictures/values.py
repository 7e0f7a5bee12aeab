"""Numbers that pictures are made of: levels, means, planes of cubes."""

import warnings

import numpy as np

from ...files import fitsio


def sky(good, rounds=3):
    """Median and scatter of the pixels without sources."""
    for _ in range(rounds):
        middle, scatter = np.median(good), np.std(good, dtype=np.float64)
        kept = good[np.abs(good - middle) <= 3 * scatter]
        if kept.size in (0, good.size):
            break
        good = kept
    return float(np.median(good)), float(np.std(good, dtype=np.float64)) or 1e-6


def smaller(values, longest):
    """Means of blocks of pixels, so that neither axis is longer than this."""
    for axis in (0, 1):
        n = -(-values.shape[axis] // longest)
        if n > 1:
            fill = -values.shape[axis] % n
            values = np.pad(values, [(0, fill if axis == a else 0) for a in (0, 1)], constant_values=np.nan)
            shape = (-1, n, values.shape[1]) if axis == 0 else (values.shape[0], -1, n)
            values = quietly(np.nanmean, values.reshape(shape), axis=1 if axis == 0 else 2)
    return values.astype(np.float32)


def quietly(average, values, axis=0):
    """A mean or median that is NaN where nothing has a value, without a warning of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return average(values, axis=axis)


def plane(hdu, number):
    """One plane of a cube, read alone: a time series may not fit in memory."""
    return fitsio.native(hdu.section[number])


def unit_of(hdus):
    return hdus["SCI"].header.get("BUNIT", "")
