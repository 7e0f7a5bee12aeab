"""A model of a spectrum's trace: splines across it, fitted to the columns around each column; and the image sampled more finely by it.

All images here have the wavelength along their rows, so that a column is a cut across the spectrum. `alpha` is a pixel's place along
the slit, in any unit, rising or falling with the row; NaN outside the slit.
"""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import make_lsq_spline
from scipy.signal import find_peaks

DEGREE = 3
TRIED = 3  # knots fewer in a second attempt
KEPT = 0.8  # part of the points that outliers have to leave
NEGATIVE = -5.0  # signal to noise from which on a slit has a negative trace, of a nod that was subtracted
QUIET = 5.0  # signal to noise below which a noisy edge is one
TELLING = 50  # steep points from which on a slit has a compact source
HIGH = 0.2  # of the highest bin: how many steep points a place has to have
GOOD = 3  # pixels above which a column is sampled more finely


@dataclass(frozen=True)
class Optics:
    """What suits the spectra of one spectrograph.

    Attributes
    ----------
    reach : columns on each side that are fitted together
    spacing : largest step between points in units of the knots' for a fit
    clip : standard deviations
    rounds : fits, with outliers left out in between
    knots : number of intervals; a float: of those in a pixel across the spectrum
    good : pixels above which a column is fitted; a float: the part of those across the spectrum
    pad : pixels around a compact source that belong to it
    trim : whether the ends of a finer spline are left out
    backwards : whether columns are fitted from the last one on
    inwards : whether they are from both ends to the middle
    counted : whether there is always the same number of knots; else a range of numbers, whose last one may be there or not by rounding: the
        peer has that in all modes, and only where coordinates are equal to the last bit is it the same knot
    """

    reach: int
    spacing: float
    clip: float
    rounds: int
    knots: int | float
    good: int | float
    pad: int
    trim: bool
    backwards: bool
    inwards: bool = False
    counted: bool = False


OPTICS = {
    "lrs_slit": Optics(5, 1.2, 3.0, 3, 40, 8, 3, False, True),
    "lrs_slitless": Optics(5, 1.2, 3.0, 2, 60, 8, 3, False, True),
    "mrs": Optics(50, 1.2, 2.5, 3, 36, 8, 3, False, False, True, True),
    "ifu": Optics(50, 1.6, 2.5, 3, 2.0, 0.5, 2, True, False),
    "ifu_backwards": Optics(50, 1.6, 2.5, 3, 2.0, 0.5, 2, True, True),
    "ifu_prism": Optics(10, 1.6, 2.5, 3, 1.0, 0.25, 2, True, False),
    "ifu_prism_backwards": Optics(10, 1.6, 2.5, 3, 1.0, 0.25, 2, True, True),
    "slit": Optics(50, 1.6, 2.5, 3, 2.0, 0.5, 1, True, False),
    "slit_backwards": Optics(50, 1.6, 2.5, 3, 2.0, 0.5, 1, True, True),
    "prism": Optics(10, 1.6, 2.5, 3, 1.0, 0.25, 1, True, False),
    "prism_backwards": Optics(10, 1.6, 2.5, 3, 1.0, 0.25, 1, True, True),
}


@dataclass(frozen=True)
class Cut:
    """The model of one column: `scale` times a spline of alpha, between two bounds."""

    spline: object
    scale: float
    low: float
    high: float

    def inside(self, alpha):
        with np.errstate(invalid="ignore"):
            return (alpha >= self.low) & (alpha <= self.high)


# --- the fit ---------------------------------------------------------------------------------------------------------


def fit_trace(flux, error, alpha, optics, threshold, peak=None):
    """Fit the trace of one slit.

    Parameters
    ----------
    flux, error : (row, col) float32
    alpha : (row, col) float64
    optics : Optics
    threshold : float or None
        Signal to noise that the median along the spectrum has to reach somewhere across it; None: none.
    peak : float, optional
        Flux that it has to reach in place of that.

    Returns
    -------
    dict
        Column -> Cut, for columns that could be fitted.
    """
    lit = np.isfinite(alpha)
    flux, error = (np.where(lit, image, np.float32(np.nan)) for image in (flux, error))
    for trimmed in (False, True):
        places, medians, errors, signal = _profile(flux, error, alpha)
        if not (_reaches(signal, threshold) if peak is None else _reaches(medians, peak)):
            return {}
        if places is None or trimmed:
            break
        _without_noisy_edges(flux, alpha, places, errors, signal)
    with np.errstate(invalid="ignore"):
        if signal is not None and np.nanmin(signal) < NEGATIVE:
            total = np.sum(flux, where=flux > 0, axis=0)
        else:
            total = np.nansum(flux, axis=0)
    return _fit_columns(flux, alpha, total, optics)


def _profile(flux, error, alpha):
    """Medians along the spectrum in bins of half a pixel across it: place, flux, error, signal to noise; None without any good pixel."""
    with np.errstate(invalid="ignore"):
        good = np.isfinite(flux) & np.isfinite(error) & np.isfinite(alpha) & (error > 0)
    if not good.any():
        return None, None, None, None
    step = pixel_across(alpha) / 2
    places = np.arange(np.nanmin(alpha), np.nanmax(alpha), step)
    medians, errors, signal = (np.full_like(places, np.nan) for _ in range(3))
    order = np.argsort(alpha[good], kind="stable")
    sorted_alpha, sorted_flux, sorted_error = (image[good][order] for image in (alpha, flux, error))
    starts, stops = (np.searchsorted(sorted_alpha, places + half, side="left") for half in (-step / 2, step / 2))
    for number, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        if stop > start:
            medians[number] = np.median(sorted_flux[start:stop])
            errors[number] = np.median(sorted_error[start:stop])
            signal[number] = np.median(sorted_flux[start:stop] / sorted_error[start:stop])
    return places, medians, errors, signal


def _reaches(signal, threshold):
    return threshold is None or (signal is not None and np.nanmax(signal) > threshold)


def _without_noisy_edges(flux, alpha, places, errors, signal):
    """Leave out what lies beyond places with little signal and large errors, on both sides of alpha = 0."""
    good = np.isfinite(signal)
    if not good.any():
        return
    mean, spread = clipped(errors[good])
    with np.errstate(invalid="ignore"):
        bad = (np.abs(signal) < QUIET) & (errors > mean + 5 * spread)
    if not bad.any() or bad.all():
        return
    places = places[bad]
    with np.errstate(invalid="ignore"):
        if (places < 0).any():
            flux[alpha <= places[places < 0].max()] = np.nan
        if (places > 0).any():
            flux[alpha >= places[places > 0].min()] = np.nan


def _order(columns, optics):
    if optics.inwards:
        return [*range(columns // 2 + 1), *range(columns - 1, columns // 2, -1)]
    return range(columns - 1, -1, -1) if optics.backwards else range(columns)


def _fit_columns(flux, alpha, total, optics):
    pixels = (np.nanmax(alpha) - np.nanmin(alpha)) / pixel_across(alpha)
    knots, least = (int(number * pixels) if isinstance(number, float) else number for number in (optics.knots, optics.good))
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = flux / total
    columns = flux.shape[1]
    found, last = {}, None
    for column in _order(columns, optics):
        own_flux, own_alpha = flux[:, column], alpha[:, column]
        if np.count_nonzero(np.isfinite(own_flux) & np.isfinite(own_alpha)) <= least:
            continue
        near = slice(max(0, column - optics.reach), min(columns, column + optics.reach))
        x, y = alpha[:, near], scaled[:, near]
        good = np.isfinite(x) & np.isfinite(y)
        x, y = x[good], y[good]
        order = np.argsort(x)
        x, y = x[order], y[order]
        try:
            spline = fit_spline(x, y, knots, optics)
            if spline is None and last is None and knots > TRIED:
                spline = fit_spline(x, y, knots - TRIED, optics)
            if spline is not None:
                last = spline, x[0], x[-1]
        except ValueError:  # too few points for the knots
            pass
        if last is None:
            continue
        cut = Cut(last[0], 1.0, last[1], last[2])
        inside = cut.inside(own_alpha)
        found[column] = Cut(last[0], _scale(own_flux[inside], last[0](own_alpha[inside])), last[1], last[2])
    return found


def fit_spline(x, y, knots, optics):
    """A cubic spline through points, with rounds of clipping; None where a gap is too wide for the knots or the fit fails.

    Parameters
    ----------
    x, y : (n,), x rising
    knots : int
        Intervals between evenly spaced knots.
    optics : Optics
    """
    steps = np.abs(np.diff(x, prepend=0))
    mean, spread = clipped(steps)
    good = steps <= mean + 5 * spread
    x, y = x[good], y[good]
    tenth = np.partition(steps, -10)[-10]
    if tenth > optics.spacing * (x[-1] - x[0]) / knots:
        return None
    count, spline = len(x), None
    for turn in range(optics.rounds):
        step = (x[-1] - x[0]) / knots
        counted = x[0] + step * (0.5 + np.arange(knots - 1))
        inner = counted if optics.counted else np.arange(x[0] + step / 2, x[-1] - step / 2, step)
        ends = np.repeat(x[[0, -1]], DEGREE + 1)
        try:
            fitted = make_lsq_spline(x, y, np.concatenate([ends[: DEGREE + 1], inner, ends[DEGREE + 1 :]]), k=DEGREE)
        except ValueError:
            return spline
        model = fitted(x)
        if np.isnan(model).any():
            return spline
        spline = fitted
        if turn == optics.rounds - 1:
            break
        residual = y - model
        keep = np.abs(residual) <= optics.clip * np.std(residual)
        if keep.all() or keep.sum() < KEPT * count:
            break
        x, y = x[keep], y[keep]
    return spline


def _scale(flux, model):
    """The mean ratio of a column to its spline, weighted with the spline; ratios unlike those of the five brightest pixels are left out."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = flux / model
        weight = np.where(np.isfinite(ratio) & (ratio >= 0) & (model >= 0), model, 0.0)
        brightest = (weight >= np.sort(weight)[-min(5, weight.size)]) & np.isfinite(ratio)
        mean, spread = clipped(ratio[brightest])
        weight[np.abs(mean - ratio) > 2 * spread] = 0
        return float(np.nansum(ratio * (weight / np.nansum(weight))))


def clipped(values, sigma=3.0, rounds=5):
    """Mean and standard deviation without what lies farther than `sigma` standard deviations from the median, in rounds."""
    values = values[np.isfinite(values)]
    for _ in range(rounds):
        if not values.size:
            break
        keep = np.abs(values - np.median(values)) <= sigma * np.std(values)
        if keep.all():
            break
        values = values[keep]
    return (float(np.mean(values, dtype=float)), float(np.std(values, dtype=float))) if values.size else (np.nan, np.nan)


def pixel_across(alpha):
    """The median step of alpha from pixel to pixel across the spectrum."""
    return float(np.abs(np.nanmedian(np.diff(alpha, axis=0))))


# --- the model -------------------------------------------------------------------------------------------------------


def trace_image(cuts, alpha, optics, slope_limit):
    """The model at all pixels.

    Parameters
    ----------
    cuts : dict of Cut
    alpha : (row, col)
    optics : Optics
    slope_limit : float
        A source is compact where the model changes from pixel to pixel by more than this part of all light; 0 or less: everywhere.

    Returns
    -------
    used, whole : (row, col) float32
        The model of compact sources alone, NaN elsewhere, and that of the whole slit.
    """
    alpha = alpha.astype(np.float32)
    whole = np.full(alpha.shape, np.nan, np.float32)
    steep, knots = [], None
    for column in sorted(cuts):
        cut = cuts[column]
        inside = cut.inside(alpha[:, column])
        if np.count_nonzero(inside) < 2:
            continue
        values = cut.spline(alpha[inside, column])
        values[[0, -1]] = np.nan  # the edges are not sure
        whole[inside, column] = cut.scale * values
        steep.append(_steep(alpha[inside, column], values, slope_limit, 1))
        knots = knots or _intervals(cut.spline)
    if slope_limit <= 0:
        return whole, whole
    compact = compact_source(alpha, steep, pixel_across(alpha), knots, optics.pad)
    return np.where(compact, whole, np.float32(np.nan)), whole


def _steep(alpha, values, limit, ends):
    """Where a column's model is steep."""
    slope = np.abs(np.diff(values, prepend=0))
    slope[:ends] = 0
    slope[-ends:] = 0
    return alpha[slope > limit]


def _intervals(spline):
    return len(np.unique(spline.t)) - 1


def compact_source(alpha, steep, pixel, knots, pad):
    """Pixels of compact sources: those around the places across the slit where the models of many columns are steep.

    Parameters
    ----------
    alpha : (row, col)
    steep : list of ndarray
        Places where the models are steep.
    pixel : float
        A pixel across the spectrum, in units of alpha.
    knots : int
    pad : int

    Returns
    -------
    (row, col) bool
    """
    out = np.zeros(alpha.shape, bool)
    steep = np.concatenate(steep) if steep else np.empty(0)
    if steep.size < TELLING or not knots:
        return out
    half = pixel * knots / 4
    counts, _ = np.histogram(steep, bins=knots, range=(-half, half))
    if not counts.any():
        return out
    peaks, _ = find_peaks(counts / counts.max(), height=HIGH)
    for place in np.arange(knots)[peaks] * pixel / 2 - half:
        with np.errstate(invalid="ignore"):
            out |= (alpha > place - pad * pixel) & (alpha <= place + pad * pixel)
    return out


# --- sampled more finely ---------------------------------------------------------------------------------------------


def finer(first, last, factor):
    """Rows of the finer image that some rows become, and where these are in the coarse one: with 2, row 0 is -0.25 and row 1 0.25."""
    new = np.arange(first * factor, (last + 1) * factor, dtype=np.int32)
    return new, new / factor - (factor - 1) / (2 * factor)


@dataclass
class Finer:
    """An image on rows `factor` times as many: all (row, col) float64, NaN where there is nothing."""

    flux: np.ndarray
    used: np.ndarray
    whole: np.ndarray
    linear: np.ndarray
    residual: np.ndarray


def oversample(flux, alpha, cuts, factor, fine_alpha, optics, slope_limit, optimal):
    """Sample an image more finely: compact sources by their model and what it left, interpolated; all else by interpolation.

    Parameters
    ----------
    flux, alpha : (row, col)
    cuts : dict of Cut
    factor : float
        Finer rows a row.
    fine_alpha : (finer row, col)
    optics : Optics
    slope_limit : float
        As in `trace_image`.
    optimal : bool
        Leave out what the model left.

    Returns
    -------
    Finer
    """
    lit = np.isfinite(alpha)
    data, alpha = (np.where(lit, image, np.nan).astype(np.float32) for image in (flux, alpha))
    shape = fine_alpha.shape
    linear, whole, residual, seen = (np.full(shape, np.nan) for _ in range(4))
    ends = int(factor)
    steep, knots = [], None
    for column in np.flatnonzero(np.isfinite(data).sum(axis=0) > GOOD):
        rows = np.flatnonzero(lit[:, column])
        new, old = finer(rows[0], rows[-1], factor)
        own = data[:, column]
        linear[new, column] = _between(rows, own[rows], old, ends)
        linear[new[~np.isfinite(own[np.rint(old).astype(int)])], column] = np.nan
        cut = cuts.get(int(column))
        if cut is None:
            continue
        knots = knots or _intervals(cut.spline)
        inside = np.flatnonzero(cut.inside(alpha[:, column]))
        model = cut.spline(alpha[inside, column])
        left = (own[inside] - model * cut.scale).astype(np.float32)
        residual[new, column] = _between(inside, left, old, ends)
        steep.append(_steep(alpha[inside, column], model, slope_limit, max(ends, 1)))
        there = new[cut.inside(fine_alpha[new, column])]
        seen[there, column] = fine_alpha[there, column]
        values = cut.spline(fine_alpha[there, column]) * cut.scale
        if optics.trim and ends:
            values[:ends] = values[-ends:] = np.nan
        whole[there, column] = values
    if slope_limit <= 0:
        used = whole
    else:
        used = np.where(compact_source(seen, steep, pixel_across(alpha), knots, optics.pad), whole, np.nan)
    made = np.where(np.isfinite(used), used, linear)
    if not optimal:
        both = np.isfinite(used) & np.isfinite(residual)
        made[both] += residual[both]
    return Finer(made, used, whole, linear, residual)


def oversample_linearly(image, lit, factor):
    """Errors sampled more finely by interpolation across the spectrum, over gaps too: (finer row, col) float32."""
    rows, columns = image.shape
    out = np.full((int(np.ceil(rows * factor)), columns), np.nan, np.float32)
    for column in np.flatnonzero((np.isfinite(image) & lit).sum(axis=0) > GOOD):
        there = np.flatnonzero(lit[:, column])
        new, old = finer(there[0], there[-1], factor)
        out[new, column] = _between(there, image[there, column], old, 0)
    return out


def _between(places, values, at, ends):
    """Linear interpolation between the values that are finite, NaN at so many ends."""
    good = np.isfinite(values)
    out = np.interp(at, places[good], values[good])
    if ends:
        out[:ends] = out[-ends:] = np.nan
    return out
