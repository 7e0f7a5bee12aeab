"""Least squares with a smooth answer (Tikhonov): equations that are solved as a band, and how smooth the answer has to be."""

import logging

import numpy as np
from scipy.interpolate import Akima1DInterpolator
from scipy.linalg import LinAlgError, cho_solve_banded, cholesky_banded
from scipy.sparse import coo_matrix, csr_matrix, diags_array
from scipy.sparse.csgraph import reverse_cuthill_mckee

log = logging.getLogger(__name__)

STEPS = 10  # factors that are tried first
REFINED = 3  # times that two more are tried
SLOPE = 1e-3  # of the loss, by decade of the factor: from there on an answer is too smooth
FINE = 10000  # points between the first and the last factor
SURE = 1e-12  # least square of a pivot of equations with a diagonal of 1: below it is rounding
NOTHING = 1e-16  # of such equations: what is smaller changes no answer, and would make the band as broad as the kernels' tables


class Equations:
    """(B'B + a^2 D'D) f = b, for any a.

    D is the derivative of f between the grid's points. The unknowns are put in an order in which those that have to do with each other
    are near each other, so that the matrix is a band. Its diagonal is scaled to 1.

    Parameters
    ----------
    squares : sparse (point, point)
        B'B.
    grid : float64 (point,)
    """

    def __init__(self, squares, grid):
        self.squares = _without_dust(csr_matrix(squares))
        self.seen = np.asarray(self.squares.diagonal()) > 0  # elsewhere nothing is known, and nothing asked
        step = np.where(self.seen[1:] & self.seen[:-1], 1 / np.diff(grid), 0.0)
        self.derivative = csr_matrix(diags_array([-step, step], offsets=[0, 1], shape=(grid.size - 1, grid.size)))
        self.roughness = csr_matrix(self.derivative.T @ self.derivative)
        self._solved = {}
        pattern = csr_matrix(abs(self.squares) + abs(self.roughness))
        pattern = pattern[self.seen][:, self.seen]
        self._order = reverse_cuthill_mckee(csr_matrix(pattern), symmetric_mode=True)
        self._bands = [self._band(matrix) for matrix in (self.squares, self.roughness)]
        width = max(len(band) for band in self._bands)
        self._bands = [np.pad(band, ((0, width - len(band)), (0, 0))) for band in self._bands]

    @property
    def width(self):
        """Diagonals of the band's lower half."""
        return len(self._bands[0])

    def _band(self, matrix):
        """The lower half of a matrix of the seen unknowns in their order, as `cholesky_banded` takes it."""
        coo = coo_matrix(matrix[self.seen][:, self.seen][self._order][:, self._order])
        lower = coo.row >= coo.col
        row, column, value = coo.row[lower], coo.col[lower], coo.data[lower]
        band = np.zeros((int((row - column).max(initial=0)) + 1, self._order.size))
        band[row - column, column] = value
        return band

    def factorized(self, factor):
        """What `solve` needs for a factor; None where the equations tell no answer in double precision."""
        if factor not in self._solved:
            self._solved = {factor: self._factorize(factor)}  # the last one
        return self._solved[factor]

    def _factorize(self, factor):
        band = self._bands[0] + factor**2 * self._bands[1]
        scale = 1 / np.sqrt(band[0])
        for k in range(len(band)):
            band[k, : band.shape[1] - k] *= scale[k:] * scale[: band.shape[1] - k]
        try:
            lower = cholesky_banded(band, lower=True, overwrite_ab=True, check_finite=False)
        except LinAlgError:
            return None
        return (lower, scale) if lower[0].min() ** 2 > SURE else None

    def solve(self, factor, right):
        """The answers for right sides (point, n) or (point,); NaN where nothing is seen.

        Raises
        ------
        ArithmeticError
            The factor is so small that the equations tell no answer in double precision.
        """
        made = self.factorized(factor)
        if made is None:
            raise ArithmeticError(factor)
        lower, scale = made
        given = right[self.seen][self._order]
        scale = scale if given.ndim == 1 else scale[:, None]
        answer = np.full(right.shape, np.nan)
        inside = np.empty_like(given)
        inside[self._order] = scale * cho_solve_banded((lower, True), scale * given, check_finite=False)
        answer[self.seen] = inside
        return answer


def _without_dust(matrix):
    """A symmetric matrix without what is nothing beside its diagonal."""
    coo, scale = coo_matrix(matrix), np.sqrt(matrix.diagonal())
    kept = np.abs(coo.data) > NOTHING * scale[coo.row] * scale[coo.col]
    return csr_matrix((coo.data[kept], (coo.row[kept], coo.col[kept])), shape=matrix.shape)


def best_factor(equations, right, loss, guess, decades):
    """The largest factor that does not make the answer too smooth.

    Ten factors are tried, then six more: twice a geometric mean with the neighbours of the best one. Factors for which the equations
    tell no answer are left out.

    Parameters
    ----------
    equations : Equations
    right : float64 (point,)
    loss : callable
        The answer (point,) -> how badly it fits.
    guess : float
    decades : (float, float)
        Smallest and largest factor that is tried first: powers of ten of the guess.

    Returns
    -------
    float

    Raises
    ------
    ArithmeticError
        No factor gives an answer.
    """
    losses = {}

    def attempt(factors):
        for factor in factors:
            try:
                losses[factor] = loss(equations.solve(factor, right))
            except ArithmeticError:
                log.debug("A factor of %.3g is too small to be solved", factor)

    attempt(guess * np.logspace(*decades, STEPS))
    if not losses:
        raise ArithmeticError(guess)
    for _ in range(REFINED):
        factors = np.sort(list(losses))
        if factors.size < 2:
            break
        best = _steepening(factors, [losses[f] for f in factors])
        k = int(np.argmin(np.abs(np.log(factors / best))))
        last = factors.size - 1
        below = np.sqrt(factors[k] * factors[k - 1]) if k else factors[0] ** 2 / factors[1]
        above = np.sqrt(factors[k] * factors[k + 1]) if k < last else factors[last] ** 2 / factors[last - 1]
        attempt((below, above))
    factors = np.sort(list(losses))
    best = _steepening(factors, [losses[f] for f in factors]) if factors.size > 1 else factors[0]
    log.info("Regularization factor %.3g, of %d that were tried", best, factors.size)
    return float(best)


def _steepening(factors, losses):
    """The smallest factor from which on the loss rises; the largest one where it never does."""
    at, losses = np.log10(factors), np.asarray(losses)
    fine = np.linspace(at[0], at[-1], FINE)
    if at.size > 2:
        slope = Akima1DInterpolator(at, losses, method="makima").derivative()(fine)
    else:
        slope = np.full(FINE, np.diff(losses)[0] / np.diff(at)[0])
    steep = slope > SLOPE
    return 10 ** fine[np.argmax(steep)] if steep.any() else factors[-1]
