"""Give the pixels of a spectrum that can't be used the value that their neighbours suggest."""

import logging
from typing import Annotated, Literal

import numpy as np

from ..arithmetic.spectra import finer_slices, finer_slit, replace_pixels, trace_model
from ..arithmetic.wcs.pixel_coordinates import labels_of
from ..model.exposure import Members
from ..vocabulary import dq
from ..vocabulary.errors import InputError, Skip
from ..vocabulary.parameters import Range

log = logging.getLogger(__name__)

NEEDS = ("err",)
SKIP = True
KEPT = ("sci", "err", "dq", "var_poisson", "var_rnoise", "var_flat")
THRESHOLD, SLOPE = 10.0, 0.1  # of a trace model that is made here: those that adaptive_trace_model has by default

SLICES = ("mrs", "ifu", "ifu_backwards", "ifu_prism", "ifu_prism_backwards")  # kinds that are images of slices


def apply(
    exposure,
    refs=None,
    kind="lrs_slit",
    *,
    algorithm: Literal["fit_profile", "mingrad", "trace_model"] = "mingrad",
    n_adjacent_cols: Annotated[int, Range(min=1)] = 3,
):
    """Replace pixels.

    Pixels that got a value lose DO_NOT_USE and get FLUX_ESTIMATED; NON_SCIENCE pixels stay unusable. Errors and variances are made as
    the values are: those of the pixels they come from.

    Parameters
    ----------
    exposure : Exposure, or exposure.Members
        Spectra (row, col), or integrations of one (int, row, col), in one or several slits. Members are each done by itself.
    refs
        None are needed.
    kind : str
        Which optics a trace model is made for, of `trace_model.OPTICS`; given by the table of chains, no parameter of the user's.
    algorithm : {"fit_profile", "mingrad", "trace_model"}
        From the profile across the spectrum that the neighbouring rows have; from the two neighbours on the line along which these
        differ least; or from the trace model that adaptive_trace_model made, or would make, and the rest as "mingrad".
    n_adjacent_cols : int
        "fit_profile": rows (columns) on each side that the profile is made of.

    Raises
    ------
    Skip
        There is no data quality.
    InputError
        DISPAXIS does not say how the spectrum lies.
    """
    if isinstance(exposure, Members):
        for one in exposure.each(keep=KEPT):
            apply(one, refs, kind, algorithm=algorithm, n_adjacent_cols=n_adjacent_cols)
        return exposure
    for pixels in exposure.pixels:
        if pixels.dq is None:
            raise Skip("there is no data quality")
    for slit in exposure.slits():
        pixels = slit.pixels[0]
        model = _model(slit, kind) if algorithm == "trace_model" else None
        vertical = algorithm == "mingrad" or _is_vertical(slit)
        before = np.count_nonzero(pixels.dq & np.uint32(dq.FLUX_ESTIMATED))
        for image in _images(pixels):
            if algorithm == "fit_profile" and kind in SLICES:
                _by_profile_of_slices(image, _labels(slit), vertical, n_adjacent_cols)
            elif algorithm == "fit_profile":
                replace_pixels.by_profile(image, vertical, n_adjacent_cols)
            elif algorithm == "trace_model":
                replace_pixels.by_model(image, model, vertical)
            else:
                replace_pixels.by_gradient(image)
        log.info("%d pixels replaced", np.count_nonzero(pixels.dq & np.uint32(dq.FLUX_ESTIMATED)) - before)
    return exposure


def _model(slit, kind):
    """The trace model of a slit."""
    there = slit.pixels[0].extra.get("TRACEMODEL")
    if there is not None:
        return there
    if slit.wcs is None:
        raise InputError("there is neither a trace model nor a gWCS to make one", slit.name, "Run assign_wcs")
    log.info("There is no trace model yet: one is made")
    model = finer_slices.model_slices if kind in SLICES else finer_slit.model_slit
    return model(slit, trace_model.OPTICS[kind], THRESHOLD, 1, SLOPE, False).used


def _labels(slit):
    """The slice of every pixel, 0 between them."""
    labels = slit.pixels[0].extra.get("REGIONS")
    labels = labels_of(slit.wcs) if labels is None and slit.wcs is not None else labels
    if labels is None:
        raise InputError("neither its WCS nor an extension REGIONS tells its slices", slit.name, "Run assign_wcs")
    return labels


def _by_profile_of_slices(image, labels, vertical, adjacent):
    """Each slice by itself: for its profile the others do not exist."""
    for number in np.unique(labels[labels > 0]).tolist():
        there = labels == number
        lines = np.flatnonzero(there.any(axis=0 if vertical else 1))
        part = np.s_[:, lines[0] : lines[-1] + 1] if vertical else np.s_[lines[0] : lines[-1] + 1]
        inside = there[part]
        its = {name: np.ascontiguousarray(plane[part]) for name, plane in image.items() if plane is not None}
        its["dq"] = its["dq"] | np.where(inside, 0, dq.DO_NOT_USE | dq.NON_SCIENCE).astype(np.uint32)
        replace_pixels.by_profile(its, vertical, adjacent)
        for name, plane in its.items():
            image[name][part][inside] = plane[inside]


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
