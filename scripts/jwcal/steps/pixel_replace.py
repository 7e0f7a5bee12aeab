"""Give the pixels of a spectrum that can't be used the value that their neighbours suggest."""

import logging
from typing import Annotated, Literal

import numpy as np

from ..arithmetic.spectra import replace_pixels
from ..vocabulary import dq
from ..vocabulary.errors import InputError, Skip
from ..vocabulary.parameters import Range

log = logging.getLogger(__name__)

NEEDS = ("err",)


def apply(
    exposure,
    refs=None,
    *,
    algorithm: Literal["fit_profile", "mingrad", "trace_model"] = "mingrad",
    n_adjacent_cols: Annotated[int, Range(min=1)] = 3,
):
    """Replace pixels.

    Pixels that got a value lose DO_NOT_USE and get FLUX_ESTIMATED; NON_SCIENCE pixels stay unusable. Errors and variances are made as
    the values are: those of the pixels they come from.

    Parameters
    ----------
    exposure : Exposure
        Spectra (row, col), or integrations of one (int, row, col), in one or several slits.
    refs
        None are needed.
    algorithm : {"fit_profile", "mingrad", "trace_model"}
        From the profile across the spectrum that the neighbouring rows have; from the two neighbours on the line along which these
        differ least; or from the trace model that adaptive_trace_model made, and the rest as "mingrad".
    n_adjacent_cols : int
        "fit_profile": rows (columns) on each side that the profile is made of.

    Raises
    ------
    Skip
        There is no trace model for "trace_model", or no data quality.
    InputError
        DISPAXIS does not say how the spectrum lies.
    """
    for pixels in exposure.pixels:
        if pixels.dq is None:
            raise Skip("there is no data quality")
        if algorithm == "trace_model" and pixels.extra.get("TRACEMODEL") is None:
            raise Skip("there is no trace model: switch on adaptive_trace_model, or take another algorithm")
    for slit in exposure.slits():
        pixels = slit.pixels[0]
        vertical = algorithm == "mingrad" or _is_vertical(slit)
        before = np.count_nonzero(pixels.dq & np.uint32(dq.FLUX_ESTIMATED))
        for image in _images(pixels):
            if algorithm == "fit_profile":
                replace_pixels.by_profile(image, vertical, n_adjacent_cols)
            elif algorithm == "trace_model":
                replace_pixels.by_model(image, pixels.extra["TRACEMODEL"], vertical)
            else:
                replace_pixels.by_gradient(image)
        log.info("%d pixels replaced", np.count_nonzero(pixels.dq & np.uint32(dq.FLUX_ESTIMATED)) - before)
    return exposure


def _is_vertical(slit):
    axis = slit.header.get("DISPAXIS")
    if axis not in (1, 2):
        raise InputError(f"DISPAXIS is {axis}: it does not say how the spectrum lies", slit.name, "Run assign_wcs")
    return axis == 2


def _images(pixels):
    """The planes of each integration, as views."""
    planes = {name: plane for name, plane in pixels.planes() if plane.shape == pixels.sci.shape}
    if pixels.sci.ndim == 2:
        yield planes
    else:
        for number in range(len(pixels.sci)):
            yield {name: plane[number] for name, plane in planes.items()}
