"""Where the orders lie, and the wavelength of each column (PASTASOSS; Baines et al. 2023, STScI technical report JWST-STScI-008571)."""

import logging
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline, make_interp_spline

from ...files.reference_file import another, understood
from ...kernels.noise.soss_trace import trace_on_grid
from ...vocabulary.errors import InputError, ReferenceError

log = logging.getLogger(__name__)

ORDERS = (1, 2, 3)


@dataclass
class Trace:
    """One order on the image.

    Attributes
    ----------
    order : int
    y : float64 (column,)
        Its middle, rows of the image from 0, at columns 0, 1...; up to the reference's `cutoff`.
    wavelength : float64 (column,)
        micron, at the same columns: what tables have.
    columns : float64 (col,)
        micron, of all columns of the image; NaN where the reference's wavelengths end.
    efficiency : tuple of float64
        Wavelengths [micron] and throughput.
    """

    order: int
    y: np.ndarray
    wavelength: np.ndarray
    columns: np.ndarray
    efficiency: tuple

    def throughput(self, wavelength):
        """A cubic spline through the table, level at both ends, where it is 0; constant beyond."""
        at, value = self.efficiency
        value = value.copy()
        value[[0, -1]] = 0
        return make_interp_spline(at, value, k=3, bc_type=("clamped", "clamped"))(np.clip(wavelength, at[0], at[-1]))


def find_traces(reference, header, first_row, width, orders=ORDERS):
    """The traces of the orders at the exposure's position of the pupil wheel.

    Parameters
    ----------
    reference : Reference
        pastasoss.
    header : exposure.Header
        PWCPOS [degrees].
    first_row : int
        Detector row, from 0, that the image begins with.
    width : int
        Columns of the image.
    orders : sequence of int
        Those that are wanted; one that the reference does not have is left out, with a warning.

    Returns
    -------
    list of Trace

    Raises
    ------
    InputError
        The wheel was where the reference is not for.
    ReferenceError
        It has none of the orders, or is not made as such references are.
    """
    position = float(header["PWCPOS"])
    with understood("pastasoss", reference.path):
        tree = reference.tree
        meta = tree["meta"]
        low, high = (float(limit) for limit in meta["pwcpos_bounds"])
        numbers = [int(trace["spectral_order"]) for trace in tree["traces"]]
        shift = int(meta["subarray_ymin"]) - first_row
    if not low <= position <= high:
        what = f"PWCPOS is {position}: the pastasoss reference is for {low} to {high} degrees of the pupil wheel"
        raise InputError(what, header.name, "Look whether the wheel was where it should be; give another pastasoss reference if it was")
    wanted = [order for order in orders if order in numbers]
    if not wanted:
        what = f"the pastasoss reference has none of the orders {', '.join(map(str, orders))}, but {', '.join(map(str, numbers))}"
        raise ReferenceError(what, reference.path, another("pastasoss"))
    for order in set(orders) - set(wanted):
        log.warning("The pastasoss reference does not have order %d: it is not extracted", order)
    found = []
    for order in wanted:
        k = numbers.index(order)
        with understood("pastasoss", reference.path):
            line = trace_on_grid(tree["traces"][k], tree["wavecal_models"][k], meta, position)
            if line is None:
                log.warning("Order %d lies beyond the subarray at a PWCPOS of %s: it is not extracted", order, position)
                continue
            efficiency = tuple(np.asarray(tree["throughputs"][k][name], float) for name in ("wavelength", "throughput"))
            rising = np.argsort(efficiency[0])
            cutoff = min(int(tree["traces"][k].get("cutoff", width)), width)
            found.append(_trace(order, *line, shift, cutoff, width, tuple(values[rising] for values in efficiency)))
    if not found:
        raise InputError(f"no order is on the image at a PWCPOS of {position}", header.name, "Look at PWCPOS and at the subarray")
    return found


def _trace(order, wavelength, x, y, shift, cutoff, width, efficiency):
    rising = np.argsort(x, kind="stable")
    x, y, wavelength = x[rising], y[rising] + shift, wavelength[rising]
    at = np.arange(cutoff)
    columns = np.interp(np.arange(width), x, wavelength, left=np.nan, right=np.nan)
    return Trace(order, CubicSpline(x, y)(at), CubicSpline(x, wavelength)(at), columns, efficiency)


def box_weights(trace, width, shape):
    """The part of each pixel that is within half a width of a trace, along the columns.

    Parameters
    ----------
    trace : Trace
    width : float
        Pixels.
    shape : (int, int)

    Returns
    -------
    float64 (row, col)
    """
    rows = np.arange(shape[0])[:, None]
    weights = np.zeros(shape)
    low, high = trace.y - width / 2, trace.y + width / 2
    weights[:, : trace.y.size] = np.clip(np.minimum(rows + 0.5, high) - np.maximum(rows - 0.5, low), 0, 1)
    return weights


def pixel_limits(wavelength):
    """Shortest and longest wavelength of each pixel along a spectrum: half way to its neighbours; NaN where it has none itself.

    Parameters
    ----------
    wavelength : float64 (col,)
        Rising or falling.

    Returns
    -------
    low, high : float64 (col,)
    """
    known = np.isfinite(wavelength)
    low, high = np.full(wavelength.size, np.nan), np.full(wavelength.size, np.nan)
    values = wavelength[known]
    if values.size < 2:
        return low, high
    half = np.diff(values) / 2
    left = values - np.concatenate([half[:1], half])
    right = values + np.concatenate([half, half[-1:]])
    low[known], high[known] = np.minimum(left, right), np.maximum(left, right)
    return low, high
