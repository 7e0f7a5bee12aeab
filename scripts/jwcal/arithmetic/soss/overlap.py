"""ATOCA: the light of each order in each column, where orders overlap (Darveau-Bernier et al. 2022, PASP 134, 094502).

One spectrum makes orders 1 and 2. It is sought on a fine grid of wavelengths, by regularized least squares over the pixels of both boxes.
What is bluer in order 2, and order 3, is sought apart, each with a spectrum of its own, on what the joint model leaves.

All pixels of a column have the same wavelength, so that the model of a pixel is its share P of the light m in its column. Sums along the
columns of P P' / error^2 make the equations, those of P data / error^2 their right sides, and the answers are numbers a column.
"""

import logging
from dataclasses import dataclass, field

import numpy as np
from scipy.interpolate import PchipInterpolator

from ...kernels.soss.column_sums import column_sums
from ...kernels.soss.misfit import cauchy_loss
from .forward import column_matrix, inside, span_of
from .regularized import Equations, best_factor
from .traces import Trace, pixel_limits
from .wavelength_grid import divided, joint_grid, pixel_edges

log = logging.getLogger(__name__)

JOINT = (1, 2)  # orders that one spectrum makes
FEWEST = 25  # pixels of an order, without which it can't be modelled
ALONE = 1e-4  # share of another order below which a pixel tells the first guess
CONTAMINATED = 1e-3
FIRST_DECADES = (-4, 4)  # of factors that are tried about the guess
LATER_DECADES = (-2, 8)  # about that of the joint fit
PARTS = 3  # of a pixel, in the grid of an order by itself


@dataclass
class Order:
    """One order on the image.

    Attributes
    ----------
    trace : Trace
    box : float64 (row, col)
        What is summed.
    profile : float64 (row, col)
        Each pixel's share of the light in its column.
    resolution : resolution.Resolution, or None
    """

    trace: Trace
    box: np.ndarray
    profile: np.ndarray | None = None
    resolution: object = None
    low: np.ndarray = field(init=False)
    high: np.ndarray = field(init=False)

    def __post_init__(self):
        self.low, self.high = pixel_limits(self.trace.columns)

    @property
    def number(self):
        return self.trace.order


@dataclass
class Sample:
    """A typical image of the series.

    Attributes
    ----------
    image : float64 (row, col)
    error : float64 (row, col)
        The usual error.
    bad : bool (row, col)
        Pixels that no integration can use.
    blind : bool (row, col)
        Reference pixels, which no order reaches.
    """

    image: np.ndarray
    error: np.ndarray
    bad: np.ndarray
    blind: np.ndarray


@dataclass
class Fit:
    """Equations for a spectrum, made once, and how its light is projected.

    Attributes
    ----------
    orders : list of int
    grid : float64 (point,)
    matrices : list of sparse (col, point)
        Of each order: the spectrum's light in the columns that are fitted.
    models : list of sparse (col, point)
        The same, in the columns that have a model.
    covered : list of bool (col,)
        These.
    weights : float64 (order, row, col)
        P / error^2 of the pixels that are fitted.
    equations : Equations
    factor : float
    blurs : list of sparse or None
        For what the spectrum looks like in each order.
    """

    orders: list
    grid: np.ndarray
    matrices: list
    models: list
    covered: list
    weights: np.ndarray
    equations: Equations
    factor: float = np.nan

    def right(self, sums):
        """Right sides, (point, n), of sums of weights * image along the columns, (n, order, col)."""
        return sum(matrix.T @ sums[:, k].T for k, matrix in enumerate(self.matrices))

    def light(self, spectra):
        """Light of each order in each column, (n, order, col), of spectra (point, n); NaN where there is no model."""
        unseen = ~self.equations.seen
        if unseen.any():  # no pixel sees these points
            seen = ~unseen
            filled = [np.interp(self.grid[unseen], self.grid[seen], one[seen]) for one in spectra.T]
            spectra = spectra.copy()
            spectra[unseen] = np.transpose(filled)
        found = np.stack([(matrix @ spectra).T for matrix in self.models], axis=1)
        found[:, ~np.array(self.covered)] = np.nan
        return found

    def solve(self, sums):
        """The same, of sums."""
        return self.light(self.equations.solve(self.factor, self.right(sums)))


def estimated_flux(orders, sample):
    """A first guess of the spectrum, from pixels that see one order alone: order 1's, and order 2's where that is bluer.

    No equation is solved, so that it is bounded by the data: in each column the light of the order, over its width, wavelength and
    throughput. In between it is interpolated monotonically, beyond the ends it is constant.

    Returns
    -------
    callable
        micron -> DN/s a micron for a throughput and wavelength of 1. None where no pixel sees one order alone.
    """
    at, flux = np.empty(0), np.empty(0)
    for order in (o for o in orders if o.number in JOINT):
        others = [o for o in orders if o is not order and o.number in JOINT]
        used = (order.box > 0) & ~sample.bad & ~sample.blind
        for other in others:
            used &= other.profile < ALONE
        weights = np.divide(order.profile, sample.error**2, out=np.zeros(used.shape), where=used)
        image = np.where(used, sample.image, 0).astype(np.float32)
        seen, light = column_sums(image[None], weights[None])[0, 0], (weights * order.profile).sum(axis=0)
        wave = order.trace.columns
        with np.errstate(invalid="ignore", divide="ignore"):
            response = wave * order.trace.throughput(np.nan_to_num(wave)) * (order.high - order.low)
            value = seen / light / response
        whole = (np.where(used, order.profile, 0)).sum(axis=0) > 0.5
        good = np.isfinite(value) & whole & (response > 1e-3 * np.nanmax(response))
        if at.size:
            good &= wave < at.min()
        at, flux = np.append(at, wave[good]), np.append(flux, value[good])
    if at.size < 2:
        return None
    rising = np.argsort(at)
    at, flux = at[rising], flux[rising]
    return held(at, flux)


def held(at, flux):
    spline = PchipInterpolator(at, flux)
    return lambda wavelength: spline(np.clip(wavelength, at[0], at[-1]))


def joint_fit(orders, sample, cutoff, estimate, options, grid=None):
    """The fit of orders 1 and 2.

    Parameters
    ----------
    orders : list of Order
        Those of JOINT.
    sample : Sample
    cutoff : float
        micron; what is bluer is not in it.
    estimate : callable, or None
    options : SossOptions
    grid : float64 (point,), optional

    Returns
    -------
    Fit or None
        None where an order has too few pixels, which is logged.
    """
    first, second = orders
    if grid is None:
        edges = [pixel_edges(*_of_trace(order), options.soss_n_os) for order in (second, first)]
        grid = joint_grid(*edges, cutoff, estimate, options.soss_rtol, options.soss_max_grid_size)
        log.info("%d wavelengths from %.3f to %.3f micron", grid.size, grid[0], grid[-1])
    boxes = [(order.box > 0) & ~sample.blind for order in orders]
    within = [inside(grid, order.low, order.high) for order in orders]
    used = _used(orders, boxes, within, sample.bad, options.soss_threshold)
    for order, columns in zip(orders, within, strict=True):
        if (used & columns).sum() < FEWEST:
            log.warning("Order %d has fewer than %d good pixels: orders 1 and 2 are not told apart", order.number, FEWEST)
            return None
    spans = [
        span_of(grid, order.trace.columns, order.low, order.high, (used & columns).any(axis=0))
        for order, columns in zip(orders, within, strict=True)
    ]
    used = _used(orders, boxes, [span.columns for span in spans], sample.bad, options.soss_threshold)
    blurs = [order.resolution.matrix(grid, span.first, span.count) for order, span in zip(orders, spans, strict=True)]
    matrices, models, covered = [], [], []
    any_box = np.any(boxes, axis=0)
    for order, span, blur in zip(orders, spans, blurs, strict=True):
        matrices.append(column_matrix(grid, span, order.low, order.high, order.trace.throughput, blur))
        model = _model_span(grid, span, order, any_box)
        rows = blur[model.first - span.first : model.first - span.first + model.count]
        models.append(column_matrix(grid, model, order.low, order.high, order.trace.throughput, rows))
        covered.append(model.columns)
    return _fit(orders, sample, grid, matrices, models, covered, used, options.soss_tikfac, estimate)


def _of_trace(order):
    """Limits of the columns along the trace, where it is valid."""
    return pixel_limits(order.trace.wavelength)


def _model_span(grid, span, order, any_box):
    """The part of a span that has a model: as it comes from the fit, seen by all pixels of the boxes."""
    part = grid[span.first : span.first + span.count]
    seen = any_box.any(axis=0) & inside(part, order.low, order.high)
    found = span_of(part, order.trace.columns, order.low, order.high, seen)
    found.first += span.first
    return found


def _used(orders, boxes, within, bad, threshold):
    """Pixels that are fitted: in a box of an order that the grid has there, and not in two of which the grid lacks one."""
    used = np.any([box & columns for box, columns in zip(boxes, within, strict=True)], axis=0) & ~bad
    if len(orders) > 1:
        used &= ~(np.all([order.profile > threshold for order in orders], axis=0) & ~np.all(within, axis=0))
    return used


def _fit(orders, sample, grid, matrices, models, covered, used, factor, estimate, guess=None):
    inverse = np.divide(1, sample.error**2, out=np.zeros(used.shape), where=used)
    weights = np.array([order.profile * inverse for order in orders])
    squares = 0
    for k, one in enumerate(matrices):
        for other_k, other in enumerate(matrices):
            shares = (weights[k] * orders[other_k].profile).sum(axis=0)
            squares = squares + one.T @ (other.multiply(shares[:, None])).tocsr()
    equations = Equations(squares, grid)
    fit = Fit([order.number for order in orders], grid, matrices, models, covered, weights, equations)
    if factor is None:
        right = fit.right(column_sums(np.where(used, sample.image, 0).astype(np.float32)[None], weights))[:, 0]
        profiles = np.array([order.profile for order in orders])

        def loss(spectrum):
            light = np.array([matrix @ np.nan_to_num(spectrum) for matrix in matrices])  # NaN are points that count nowhere
            return cauchy_loss(sample.image, sample.error, used, profiles, light)

        if guess is None:
            rough = equations.derivative @ estimate(grid)
            factor = best_factor(equations, right, loss, np.sqrt(used.sum() / (rough**2).sum()), FIRST_DECADES)
        else:
            factor = best_factor(equations, right, loss, guess, LATER_DECADES)
    fit.factor = factor
    return fit


def single_fit(order, sample, longest, any_box, guess, factor=None):
    """The fit of an order by itself, up to a wavelength [micron] or None; the sample's image is what others leave.

    Returns
    -------
    Fit or None
        None where it has too few pixels, which is logged.
    """
    wave = np.sort(order.trace.wavelength)
    wave = wave if longest is None else wave[wave < longest]
    if wave.size < 4:
        return None
    grid = divided(wave, PARTS)
    box = (order.box > 0) & ~sample.blind
    within = inside(grid, order.low, order.high)
    used = _used([order], [box], [within], sample.bad, CONTAMINATED)
    span = span_of(grid, order.trace.columns, order.low, order.high, used.any(axis=0)) if used.sum() >= FEWEST else None
    if span is None:
        log.warning("Order %d has fewer than %d good pixels by itself: it has no model there", order.number, FEWEST)
        return None
    used = _used([order], [box], [span.columns], sample.bad, CONTAMINATED)
    matrix = column_matrix(grid, span, order.low, order.high)
    seen = any_box.any(axis=0) & within
    model = span_of(grid, order.trace.columns, order.low, order.high, seen)
    covered = model.columns & span.columns  # beyond these no pixel tells the spectrum
    models = column_matrix(grid, model, order.low, order.high)
    return _fit([order], sample, grid, [matrix], [models], [covered], used, factor, None, guess)
