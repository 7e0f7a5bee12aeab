"""Where the spectra of NIRISS SOSS lie, by the position of the pupil wheel (PASTASOSS; Baines et al. 2023).

A pastasoss reference has the trace of each order at the commanded position of the wheel, in pixels of the subarray SUBSTRIP256, and
the polynomial that gives wavelengths.
"""

import numpy as np

EDGE = 255.0  # last row of SUBSTRIP256: what a turned trace has beyond is not known


def near_traces(reference, position, first_row, shape, halfwidth):
    """Pixels within a distance of a trace, along the columns.

    Parameters
    ----------
    reference : mapping
        `meta`, `traces` and `wavecal_models` of a pastasoss reference.
    position : float
        Of the pupil wheel, degrees (PWCPOS).
    first_row : int
        Detector row, from 0, of the image's first one.
    shape : (int, int)
        Of the image.
    halfwidth : float
        Pixels.

    Returns
    -------
    ndarray of bool, (row, col)

    Raises
    ------
    ValueError
        The position is not one that the reference is for.
    """
    meta = reference["meta"]
    low, high = meta["pwcpos_bounds"]
    if not low <= position <= high:
        raise ValueError(f"{position} is not between {low} and {high}")
    rows, columns = np.arange(shape[0])[:, None], np.arange(shape[1])
    near = np.zeros(shape, bool)
    for trace, wavelengths in zip(reference["traces"], reference["wavecal_models"], strict=True):
        turned = trace_on_grid(trace, wavelengths, meta, position)
        if turned is None:
            continue
        _, x, y = turned
        order = np.argsort(x)
        centre = np.interp(columns, x[order], y[order]) + (meta["subarray_ymin"] - first_row)
        near |= (rows >= np.floor(centre - halfwidth)) & (rows <= np.ceil(centre + halfwidth))
    return near


def trace_on_grid(trace, wavelengths, meta, position):
    """The trace of an order at a position of the wheel, on the reference's grid of wavelengths.

    Parameters
    ----------
    trace, wavelengths, meta : mapping
        An entry of `traces`, that of `wavecal_models`, and `meta`, of a pastasoss reference.
    position : float
        PWCPOS, degrees.

    Returns
    -------
    wavelength, x, y : float64
        micron, and pixels of SUBSTRIP256 from 0; None where the trace lies beyond that.
    """
    x, y = _turned(*np.asarray(trace["trace"], float).T, position - meta["pwcpos_cmd"], (trace["pivot_x"], trace["pivot_y"]))
    if x.size < 2:
        return None
    known = _wavelengths(wavelengths, x, position - meta["pwcpos_cmd"])
    grid = np.linspace(meta["wavemap_wlmin"], meta["wavemap_wlmax"], meta["wavemap_nwl"])
    order = np.argsort(known)
    return grid, *(_along_line(grid, known[order], values[order]) for values in (x, y))


def _turned(x, y, degrees, pivot):
    """A trace turned about a point, at the same x as before."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    dx, dy = x - pivot[0], y - pivot[1]
    new_x, new_y = c * dx - s * dy + pivot[0], s * dx + c * dy + pivot[1]
    order = np.argsort(new_x)
    y = _along_line(x, new_x[order], new_y[order])
    return x[y <= EDGE], y[y <= EDGE]


def _along_line(at, x, y):
    """Linear interpolation, and extrapolation with the slope of the first and the last two points; x ascending."""
    value = np.interp(at, x, y)
    value = np.where(at < x[0], y[0] + (at - x[0]) * (y[1] - y[0]) / (x[1] - x[0]), value)
    return np.where(at > x[-1], y[-1] + (at - x[-1]) * (y[-1] - y[-2]) / (x[-1] - x[-2]), value)


def _wavelengths(model, x, turn):
    """The polynomial in x and the turn, both scaled to the range that it was fitted in; terms 1, x, t, xx, xt, tt, xxx..."""
    (x_low, turn_low), (x_high, turn_high) = model["scale_extents"]
    u, t = (x - x_low) / (x_high - x_low), (turn - turn_low) / (turn_high - turn_low)
    coefficients = np.asarray(model["coefficients"], float)
    powers = [(total - j, j) for total in range(coefficients.size) for j in range(total + 1)]
    return sum(c * u**i * t**j for c, (i, j) in zip(coefficients, powers, strict=False))
