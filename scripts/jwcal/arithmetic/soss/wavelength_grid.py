"""The wavelengths at which the spectrum is sought: pixels' limits, divided where a spectrum is curved."""

import logging

import numpy as np

log = logging.getLogger(__name__)

ROUNDS = 30  # of dividing
SMALL = 1e-6  # an integral's error that is always small enough
SHORTEST = 1e-5  # micron, a hundredth of a pixel


def divided(grid, parts):
    """A grid whose intervals are divided into so many equal ones: an int, or one a former interval."""
    parts = np.broadcast_to(parts, grid.size - 1)
    steps = np.cumsum(np.repeat(1 / parts, parts))
    return np.unique(np.interp(np.concatenate([[0], steps]), np.arange(grid.size), grid))


def pixel_edges(low, high, parts):
    """The limits of all pixels of an order, rising, each pixel divided; from `traces.pixel_limits`."""
    low, high = np.sort(low[np.isfinite(low)]), np.sort(high[np.isfinite(high)])
    return divided(np.append(low, high[-1]), parts)


def joint_grid(second, first, shortest, estimate, rtol, most):
    """A grid for orders 1 and 2 together.

    Where both see a wavelength it is that of order 2, whose pixels are shorter; then that of order 1; then that of order 2 in the blue.

    Parameters
    ----------
    second, first : float64
        `pixel_edges` of orders 2 and 1.
    shortest : float
        micron; shorter ones only order 2 sees, apart from order 1.
    estimate : callable
        A spectrum: wavelengths [micron] to flux.
    rtol : float
        Intervals are halved while the trapezoid's integral of the estimate is off by more than this part (by Romberg's rule).
    most : int
        Points.

    Returns
    -------
    float64 (point,)
    """
    shared = second >= first.min()
    if shared.any():
        first = first[first > second[shared].min()]
    limits = shortest, first.max()
    parts = _trimmed([second[shared], first, second[~shared]], limits)
    sizes = [part.size for part in parts]
    done = []
    for k, (part, function) in enumerate(zip(parts, (estimate, estimate, np.ones_like), strict=True)):
        if not part.size:
            continue
        room = max(most - sum(p.size for p in done) - sum(sizes[k + 1 :]), part.size)
        grid, fine = _refined(part, function, room, rtol)
        if not fine:
            log.warning(
                "The grid of %d wavelengths from %.3f micron does not reach soss_rtol: look at soss_max_grid_size", grid.size, grid[0]
            )
        done.append(grid)
    return np.unique(np.concatenate(done))


def _trimmed(grids, limits):
    """Each grid without what is beyond the limits, or inside of those before; a point beyond is kept."""
    kept = []
    for grid in grids:
        if grid.size:
            low = max(np.searchsorted(grid, limits[0], side="right") - 1, 0)
            high = min(np.searchsorted(grid, limits[1], side="left"), grid.size - 1)
            grid = grid[low : high + 1]
        if kept and grid.size:
            before = np.concatenate(kept)
            below, above = np.flatnonzero(grid < before.min()), np.flatnonzero(grid > before.max())
            pieces = [grid[: below[-1] + 2]] if below.size else []
            pieces += [grid[max(above[0] - 1, 0) :]] if above.size else []
            grid = np.unique(np.concatenate(pieces)) if pieces else grid[:0]
        kept.append(grid)
    return kept


def _refined(grid, function, most, rtol):
    for _ in range(ROUNDS):
        error, share = _trapezoid_error(grid, function)
        fine = (share < rtol) | (error < SMALL)
        if fine.all() or grid.size >= most:
            break
        parts = np.where(fine, 1, 2)
        if parts.sum() + 1 > most:
            parts = np.ones(fine.size, int)
            parts[np.argsort(share, kind="stable")[fine.size - (most - grid.size) :]] = 2
        before = grid.size
        grid = _apart(divided(grid, parts))
        if grid.size == before:
            break
    return grid, bool(fine.all()) or grid.size < most


def _trapezoid_error(grid, function):
    """Error of each interval's trapezoid, and as a part of the integral: one interval against two, extrapolated."""
    values, middle = function(grid), function((grid[1:] + grid[:-1]) / 2)
    step = np.diff(grid)
    one = step * (values[1:] + values[:-1]) / 2
    two = one / 2 + step * middle / 2
    best = (4 * two - one) / 3
    error = np.abs(best - one)
    return error, np.divide(error, np.abs(best), out=np.full(error.shape, np.inf), where=best != 0)


def _apart(grid):
    """Without points that are too near to the one kept before."""
    if np.diff(grid).min() > SHORTEST:
        return grid
    kept = [grid[0]]
    for value in grid[1:]:
        if value - kept[-1] > SHORTEST:
            kept.append(value)
    return np.array(kept)
