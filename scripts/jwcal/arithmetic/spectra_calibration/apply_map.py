"""Multiply a slit by a map of factors, with its errors and flags."""

import numpy as np

from ...kernels.images import scale_map as kernel
from ...vocabulary.dq import DO_NOT_USE


def multiply(exposure, factor, square=None, *, divide=False):
    """Multiply the only pixel grid of an exposure, all integrations alike; what has no factor is NaN and DO_NOT_USE afterwards.

    Parameters
    ----------
    exposure : Exposure
        (row, col) or (int, row, col). SCI and ERR are multiplied, the variances by the square.
    factor : ndarray, (row, col)
    square : ndarray, optional
        Of the factor, where it is not to be rounded once more.
    divide : bool
        Divide: takes the correction out.
    """
    factor = np.ascontiguousarray(factor, np.float64)
    square = factor * factor if square is None else np.ascontiguousarray(square, np.float64)
    for name, plane in exposure.pixels[0].planes():
        setattr(exposure, name, np.ascontiguousarray(plane))  # as the kernel needs them: what is a view of another array becomes its own
    variances = [plane for plane in (exposure.var_poisson, exposure.var_rnoise, exposure.var_flat) if plane is not None]
    kernel.scale([exposure.sci, exposure.err], variances, exposure.dq, factor, square, divide, DO_NOT_USE)
