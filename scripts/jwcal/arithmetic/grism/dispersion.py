"""Where a grism sends light: the trace of a source by wavelength, and the wavelength of a pixel on it.

A source at (x0, y0) of the undispersed image has its light of wavelength lambda(t) at (x0 + dx(t), y0 + dy(t)), 0 <= t <= 1. All three
are polynomials of t whose coefficients may be polynomials of (x0, y0) (Pirzkal & Ryan 2017, WFC3 ISR 2017-01). What a filter wheel is
turned by turns (dx, dy).
"""

from dataclasses import dataclass

import numpy as np
from numpy.polynomial.polynomial import polyval2d

from ...vocabulary.errors import InputError, ReferenceError

VELOCITY = "velocity_correction"  # name of the factor to the barycentre's wavelengths in a gWCS
NEWTON = 20  # steps at most
SMALL = 1e-13  # of t


@dataclass
class Polynomial:
    """A polynomial of t, x0 and y0.

    Attributes
    ----------
    coefficients : ndarray (power of t, power of x0, power of y0)
    """

    coefficients: np.ndarray

    @property
    def is_uniform(self):
        """Whether it is the same in the whole field."""
        return self.coefficients.shape[1:] == (1, 1)

    def at(self, x0, y0):
        """Its coefficients by power of t, at places of the field: (power, ...)."""
        return np.stack([polyval2d(x0, y0, c) for c in self.coefficients])

    def __call__(self, t, x0=0.0, y0=0.0):
        """Values; t, x0 and y0 are broadcast."""
        return horner(self.at(x0, y0), t)


def horner(coefficients, t):
    """The value of a polynomial of t, of coefficients (power, ...)."""
    value = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        value = value * t + coefficient
    return value + np.zeros_like(t)


def polynomial(model, what="", path=""):
    """A reference's model, or list of models by power of t, as a `Polynomial`; None where it has none.

    Raises
    ------
    ReferenceError
        It is no polynomial.
    """
    if model is None or (isinstance(model, (list, tuple)) and len(model) == 0):
        return None
    if getattr(model, "n_inputs", None) is None:
        models = list(model)
        if len(models) == 1 and models[0].n_inputs == 1:
            return polynomial(models[0], what, path)
    elif model.n_inputs == 1:
        return Polynomial(_of_one(model, what, path).reshape(-1, 1, 1))
    else:
        models = [model]
    matrices = [_of_two(one, what, path) for one in models]
    size = max(len(matrix) for matrix in matrices)
    return Polynomial(np.stack([np.pad(matrix, (0, size - len(matrix))) for matrix in matrices]))


def _of_one(model, what, path):
    names = [f"c{power}" for power in range(len(getattr(model, "param_names", ())))]
    if not names or tuple(names) != tuple(model.param_names) or not _is_plain(model, "domain", "window"):
        raise _no_polynomial(what, path)
    return np.asarray(model.parameters, float)


def _of_two(model, what, path):
    names = getattr(model, "param_names", ())
    if getattr(model, "n_inputs", 0) != 2 or not names or not _is_plain(model, "x_domain", "x_window", "y_domain", "y_window"):
        raise _no_polynomial(what, path)
    try:
        powers = [tuple(int(power) for power in name[1:].split("_")) for name in names]
    except ValueError:
        raise _no_polynomial(what, path) from None
    matrix = np.zeros((model.degree + 1,) * 2)
    for (i, j), value in zip(powers, model.parameters, strict=True):
        matrix[i, j] = value
    return matrix


def _is_plain(model, *names):
    """Whether a polynomial is of its argument itself, not of one that is scaled."""
    return all(getattr(model, name, None) in (None, (-1, 1), (-1.0, 1.0)) for name in names)


def _no_polynomial(what, path):
    return ReferenceError(
        f"{what or 'a model'} of the specwcs reference is no polynomial of t, or of x and y", path, "Give another specwcs"
    )


@dataclass
class Order:
    """One spectral order: `x`, `y` [pixel] and `wavelength` [micron] by t, and, where the reference has them, their inverses."""

    x: Polynomial
    y: Polynomial
    wavelength: Polynomial
    t_of_wavelength: Polynomial | None = None
    t_of_x: Polynomial | None = None
    t_of_y: Polynomial | None = None


@dataclass
class Dispersion:
    """What a grism does.

    Attributes
    ----------
    orders : dict
        Number -> Order.
    vertical : bool
        Whether it disperses along the columns.
    samples : int
        Between so many values of t the trace is taken as straight where a pixel's t is looked up.
    beyond : bool
        Whether the first and the last of these stretches go on beyond the trace's ends; else there is no wavelength.
    turn : float
        Angle [deg] by which traces are turned about the source, counter-clockwise.
    velocity : float
        The barycentre's wavelengths over the telescope's.
    """

    orders: dict
    vertical: bool
    samples: int = 40
    beyond: bool = False
    turn: float = 0.0
    velocity: float = 1.0

    def order(self, number):
        """Raises InputError where there is no such order."""
        if number not in self.orders:
            known = ", ".join(str(order) for order in self.orders)
            raise InputError(f"the grism's WCS has no order {number}: it has {known}", do="Ask for other extract_orders")
        return self.orders[number]

    def parameter(self, number, wavelength, x0, y0):
        """t of wavelengths [micron, at the barycentre], for sources at (x0, y0); all are broadcast.

        Between 0 and 1 where it is solved for.
        """
        order = self.order(number)
        wavelength, x0, y0 = np.broadcast_arrays(np.asarray(wavelength, float) / self.velocity, x0, y0)
        if order.t_of_wavelength is not None:
            return order.t_of_wavelength(wavelength, x0, y0)
        return _solved(order.wavelength.at(x0, y0), wavelength)

    def offsets(self, number, t, x0, y0):
        """How far from the source the light of t falls: dx, dy [pixel]."""
        order = self.order(number)
        dx, dy = order.x(t, x0, y0), order.y(t, x0, y0)
        if self.turn:
            cos, sin = np.cos(np.radians(self.turn)), np.sin(np.radians(self.turn))
            dx, dy = dx * cos - dy * sin, dx * sin + dy * cos
        return dx, dy

    def disperse(self, number, wavelength, x0, y0):
        """Where light of a wavelength [micron] falls: x, y [pixel]; all are broadcast."""
        dx, dy = self.offsets(number, self.parameter(number, wavelength, x0, y0), np.asarray(x0, float), np.asarray(y0, float))
        return x0 + dx, y0 + dy

    def wavelengths(self, number, pixels, x0, y0):
        """The wavelengths [micron] of pixels along the trace of one source.

        Parameters
        ----------
        number : int
            Of the order.
        pixels : (n,)
            Columns, or rows where `vertical`.
        x0, y0 : float
            Of the source.

        Returns
        -------
        (n,) float64
            NaN beyond the ends of a trace that has no inverse and is not straight, but where `beyond`.
        """
        order = self.order(number)
        along = np.asarray(pixels, float) - (y0 if self.vertical else x0)
        trace, inverse = (order.y, order.t_of_y) if self.vertical else (order.x, order.t_of_x)
        if inverse is not None:
            t = inverse(along)
        elif trace.is_uniform and len(trace.coefficients) == 2 and not self.turn:
            t = (along - trace.coefficients[0, 0, 0]) / trace.coefficients[1, 0, 0]
        else:
            grid = np.linspace(0, 1, self.samples)
            t = _looked_up(along, self.offsets(number, grid, x0, y0)[int(self.vertical)], grid, self.beyond)
        return order.wavelength(t, x0, y0) * self.velocity


def _solved(coefficients, value):
    """t in [0, 1] at which polynomials (power, ...) have a value: Newton's steps from the straight line between their ends."""
    low, high = horner(coefficients, np.zeros_like(value)), horner(coefficients, np.ones_like(value))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.clip((value - low) / (high - low), 0, 1)
        if len(coefficients) > 2:
            slopes = coefficients[1:] * np.arange(1, len(coefficients)).reshape(-1, *([1] * (coefficients.ndim - 1)))
            for _ in range(NEWTON):
                step = (horner(coefficients, t) - value) / horner(slopes, t)
                t = np.clip(t - step, 0, 1)
                if not (np.abs(step) > SMALL).any():
                    break
    return t


def _looked_up(along, trace, grid, beyond):
    """t of places along a trace, linear between its samples."""
    order = np.argsort(trace)
    trace, grid = trace[order], grid[order]
    if beyond:
        k = np.clip(np.searchsorted(trace, along, side="right") - 1, 0, trace.size - 2)
        return grid[k] + (along - trace[k]) * (grid[k + 1] - grid[k]) / (trace[k + 1] - trace[k])
    return np.interp(along, trace, grid, left=np.nan, right=np.nan)


def dispersion_of(wcs, vertical):
    """The dispersion that a grism exposure's gWCS has.

    Parameters
    ----------
    wcs : gwcs.WCS
        With one of stdatamodels' grism transforms.
    vertical : bool
        Whether the grism disperses along the columns (DISPAXIS is 2).

    Raises
    ------
    InputError
        It has none.
    """
    every = [leaf for step in wcs.pipeline if step.transform is not None for leaf in leaves(step.transform)]
    found = next((leaf for leaf in every if hasattr(leaf, "xmodels") and hasattr(leaf, "orders")), None)
    if found is None:
        raise InputError("its WCS is not that of a grism", do="Run assign_wcs")
    ratio = next((float(leaf.amplitude.value) for leaf in every if leaf.name == VELOCITY), 1.0)
    return of_models(found, vertical, velocity=ratio)


def of_models(forward, vertical, *, velocity=1.0):
    """The dispersion of a grism transform of stdatamodels, whose `inverse` has the rest."""
    inverse = getattr(forward, "inverse", None)
    nircam = hasattr(forward, "inv_alongdisp_models")
    by_wavelength = inverse.inv_lmodels if nircam else inverse.lmodels

    def nth(models, n, what):
        return None if not models else polynomial(models[n], what)

    orders = {}
    for n, number in enumerate(forward.orders):
        orders[int(number)] = Order(
            *(
                nth(models, n, what)
                for models, what in ((forward.xmodels, "dispx"), (forward.ymodels, "dispy"), (forward.lmodels, "displ"))
            ),
            t_of_wavelength=nth(by_wavelength, n, "invdispl"),
            t_of_x=nth(forward.inv_xmodels, n, "invdispx"),
            t_of_y=nth(forward.inv_ymodels, n, "invdispy"),
        )
    turn = float(getattr(inverse, "theta", 0.0) or 0.0)
    return Dispersion(orders, vertical, forward.sampling, not nircam, turn, velocity)


def leaves(model):
    """The models that a compound one is made of."""
    if hasattr(model, "left") and hasattr(model, "right"):
        return [*leaves(model.left), *leaves(model.right)] if not isinstance(model.right, (tuple, dict)) else leaves(model.left)
    return [model]
