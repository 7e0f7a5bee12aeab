"""Curves of growth: how much of a star's light is inside a radius, on the detector and in a mosaic.

Aperture corrections are those of the detector's images. In a mosaic the light of a star is spread a little more: by the drops that
its pixels become, by the mosaic's own pixels, and by what the alignment leaves. That takes several per cent out of an aperture as
small as the radius of 70 % of the light. The spread is measured in bright stars that are alone, by how much narrower apertures lose more.
"""

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.optimize import minimize_scalar
from scipy.stats import ncx2

FRACTIONS = (np.arange(400) + 0.5) / 400  # of the light, inside the rings of equal light that the profile is made of
USUAL_WINGS = 0.5  # of a Moffat function with b = 3
SCATTER = 0.03  # of the narrower apertures' ratios from star to star, where they are too few to tell: where in its pixel each is
LEAST = 1e-3  # smaller ones are none, pixels^2
WIDEST = 1.5  # largest variance of the spread, pixels^2
MODEL = 0.004  # to what a fraction of a curve of growth is known between its points
FEW = 12  # stars whose surroundings can't be compared
MUCH, FAR = 2.0, 3.0  # halves of the interval that holds half of the stars: what is much light, and what is not looked at
SURE = 3.0  # standard deviations
DOUBT = 0.10  # of the spread that the drizzle is expected to make, pixels^2


def expected_spread(pixfrac, scale_ratio):
    """Variance per axis that drizzling adds to a curve of growth, in pixels^2 of the mosaic.

    Three boxes: the drop, the mosaic's pixel, and that pixel once more as a piece of the aperture.

    Parameters
    ----------
    pixfrac : float
        Side of a drop in detector pixels.
    scale_ratio : float
        Side of a mosaic's pixel in detector pixels.
    """
    return ((pixfrac / scale_ratio) ** 2 + 2) / 12


def spread_growth(growth, radii, spread):
    """The part of a star's light inside some radii after it was spread by a Gaussian.

    Parameters
    ----------
    growth : (float (n,), float (n,))
        Radii [pixels] and fractions of the light, points of the curve of growth before, rising.
    radii : float (m,)
        Pixels.
    spread : float
        Variance per axis, pixels^2.

    Returns
    -------
    float64 (m,)
        Light of radius R ends up inside r with the probability of a noncentral chi-square.
    """
    radii, squares = np.asarray(radii, float), np.r_[0.0, np.square(growth[0])]
    steep = -np.log1p(-np.r_[0.0, growth[1]])
    wings = _wings(steep[1:], squares[1:])
    model = np.expm1(wings * steep)  # the Moffat function's radii, squared: those of the points are nearly proportional
    slope = (squares[-1] - squares[-2]) / (model[-1] - model[-2])
    inner, outer = PchipInterpolator(model, squares), squares[-1] - slope * model[-1]
    if spread < LEAST:
        back = PchipInterpolator(squares, model)
        found = np.where(radii**2 <= squares[-1], back(np.minimum(radii**2, squares[-1])), (radii**2 - outer) / slope)
        return -np.expm1(-np.log1p(found) / wings)
    rings = np.expm1(-wings * np.log1p(-FRACTIONS))
    rings = np.where(rings <= model[-1], inner(np.minimum(rings, model[-1])), outer + slope * rings)
    return ncx2.cdf(radii[:, None] ** 2 / spread, 2, rings / spread).mean(axis=1)


def _wings(steep, squares):
    """Of a Moffat function (1 + r^2/a^2)^-b through the points: 1/(b - 1), small for a Gaussian."""
    if steep.size < 2:
        return USUAL_WINGS

    def misfit(logarithm):
        return np.std(np.log(squares) - np.log(np.expm1(np.exp(logarithm) * steep)))

    return float(np.exp(minimize_scalar(misfit, bounds=(np.log(1e-3), np.log(5)), method="bounded").x))


def measured_spread(fluxes, radii, growth, expected, excess=None):
    """The spread that stars show, and what is expected, weighed by their errors.

    Parameters
    ----------
    fluxes : float (star, n)
        In the apertures.
    radii : float (n,)
        Theirs, rising, pixels.
    growth : (float (m,), float (m,))
        As for `spread_growth`.
    expected : float
        Variance per axis, pixels^2; the result where there are no stars.
    excess : float (star,), optional
        Light around them, as `excess_light` gives it: ratios are taken for stars that have none, by a straight line.

    Returns
    -------
    float
    """
    ratios = fluxes[:, :-1] / fluxes[:, -1:]
    excess = np.zeros(len(ratios)) if excess is None else excess
    good = np.isfinite(ratios).all(axis=1) & (ratios > 0).all(axis=1) & np.isfinite(excess)
    ratios, excess = ratios[good], excess[good]
    if len(ratios) == 0:
        return expected
    slope = np.zeros(ratios.shape[1])
    if excess.any():
        slope = np.minimum(0.0, np.linalg.lstsq(np.column_stack([np.ones(len(excess)), excess]), ratios)[0][1])  # light widens a star
    ratios = ratios - np.outer(excess, slope)
    mean = np.log(ratios.mean(axis=0))
    scatter = ratios.std(axis=0, ddof=1) / ratios.mean(axis=0) if len(ratios) > 4 else SCATTER
    error = np.hypot(scatter / np.sqrt(len(ratios)), MODEL)

    def misfit(spread):
        inside = spread_growth(growth, radii, spread)
        return np.sum(((np.log(inside[:-1] / inside[-1]) - mean) / error) ** 2) + ((spread - expected) / DOUBT) ** 2

    return float(minimize_scalar(misfit, bounds=(0, WIDEST), method="bounded", options={"xatol": 1e-5}).x)


def good_stars(fluxes, error, alone, clip=3.0):
    """Bright stars that are alone and look like each other.

    Parameters
    ----------
    fluxes : float (source, n)
        In the apertures, the widest last.
    error : float (source,)
        Of the last.
    alone : bool (source,)
        Not extended, complete, without near neighbours.

    Returns
    -------
    bool (source,)
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        shape = fluxes[:, -1] / fluxes[:, 0]
        good = alone & (fluxes[:, -1] > 30 * error) & np.isfinite(shape)
    for _ in range(5):
        if good.sum() < 3:
            break
        middle = np.median(shape[good])
        width = max(1.4826 * np.median(np.abs(shape[good] - middle)), 0.01 * middle)
        kept = good & (np.abs(shape - middle) <= clip * width)
        if kept.sum() == good.sum():
            break
        good = kept
    return good


def excess_light(light):
    """By how much stars have more light around them than those that nobody shines into.

    In a crowd most stars have neighbours that were not found, which widen what is taken for a star's light. They have more light around
    them, each another amount, and those without have about the same: the shortest interval that holds half of all is about theirs.

    Parameters
    ----------
    light : float (n,)
        In a ring around each star, in units of the star's; NaN where it is not known.

    Returns
    -------
    float (n,)
        NaN where it is far from that of the others, or not known. 0 for all where they are too few to tell, or where not clearly more
        stars have much light around them than have little.
    """
    values = np.sort(light[np.isfinite(light)])
    if values.size < FEW:
        return np.zeros(light.shape)
    half = (values.size + 1) // 2
    first = int(np.argmin(values[half - 1 :] - values[: values.size - half + 1]))
    some = values[first : first + half]
    excess, width = light - np.median(some), (some[-1] - some[0]) / 2
    above, below = (np.nansum(side > MUCH * width) for side in (excess, -excess))
    if above - below <= SURE * np.sqrt(above + below):
        return np.zeros(light.shape)
    with np.errstate(invalid="ignore"):
        return np.where(np.abs(excess) <= FAR * width, excess, np.nan)
