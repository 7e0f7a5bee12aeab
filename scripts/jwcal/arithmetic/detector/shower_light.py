"""What showers of cosmic rays leave in an image of slices: faint and wide, so that the pixels between the slices tell it."""

import numpy as np
from astropy.convolution import Gaussian2DKernel, convolve_fft

from ...files.reference_file import another, understood
from ...vocabulary import dq
from ...vocabulary.errors import InputError, ReferenceError


def between_slices(exposure, regions, plane, width, low, high):
    """The light between the slices, smoothed over them.

    Parameters
    ----------
    exposure : Exposure
        (row, col).
    regions : Reference
        Maps of the slices for rising throughput, int (level, row, col).
    plane : int
        Which of them.
    width : (float, float)
        Standard deviations along x and y of the Gaussian that it is smoothed with, pixels.
    low, high : float
        Percentiles of the pixels between the slices beyond which they are left out.

    Returns
    -------
    float64 (row, col)

    Raises
    ------
    ReferenceError
        The maps are not those of the exposure, or there is none of this number.
    InputError
        No pixel between the slices can be used.
    """
    with understood(regions.type, regions.path):
        maps = np.atleast_3d(np.asarray(regions.tree["regions"]))
    if maps.shape[1:] != exposure.sci.shape or not 0 <= plane < len(maps):
        what = f"its map of slices {plane} for {exposure.sci.shape} pixels is not there: its shape is {maps.shape}"
        raise ReferenceError(what, regions.path, another(regions.type))
    light = exposure.sci.astype(np.float64)
    light[(maps[plane] != 0) | ((exposure.dq & np.uint32(dq.DO_NOT_USE | dq.REFERENCE_PIXEL)) != 0)] = np.nan
    if not np.isfinite(light).any():
        raise InputError("no pixel between the slices can be used to look for showers", exposure.name, "Leave out clean_showers")
    least, most = np.nanpercentile(light, [low, high])
    with np.errstate(invalid="ignore"):
        light[(light < least) | (light > most)] = np.nan
    x, y = width
    return convolve_fft(light, Gaussian2DKernel(x_stddev=x, y_stddev=y))
