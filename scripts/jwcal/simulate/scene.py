"""What there is to see: a sky with stars and galaxies of known flux, and the image that a detector gets of it."""

from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from numba import njit
from scipy.signal import fftconvolve
from scipy.special import erf, gammaincinv

from .pointing import ARCSEC

# The PSF is two round Gaussians, whose integral over a pixel is exact: a core of the filter's FWHM with most of the light, and a halo.
# It has the right width and enclosed energy to about 5 %, and no spikes.
CORE, HALO_SCALE = 0.85, 3.0
SIGMA = 1 / np.sqrt(8 * np.log(2))
REACH = 6  # of the halo's sigma: where the PSF is cut off


@dataclass(frozen=True)
class Scene:
    """A part of the sky.

    Attributes
    ----------
    sky : MJy/sr, uniform
    sources : Table with id, kind ("star" or "galaxy"), ra, dec [deg], flux [Jy], and for galaxies
        radius [arcsec, of half the light along the major axis], sersic (index), axis_ratio, pa [deg, east of north]
    """

    sky: float
    sources: Table


COLUMNS = ("id", "kind", "ra", "dec", "flux", "radius", "sersic", "axis_ratio", "pa")


def make_scene(ra, dec, *, radius=40.0, stars=200, galaxies=40, sky=0.25, faintest=2e-8, brightest=3e-5, seed=1):
    """Make up a field of stars and galaxies.

    Parameters
    ----------
    ra, dec : float
        Centre [deg].
    radius : float
        Half the side of the square that is filled [arcsec].
    stars, galaxies : int
    sky : float
        Uniform surface brightness [MJy/sr].
    faintest, brightest : float
        Fluxes [Jy] between which stars are spread, three times as many for each ten times fainter; galaxies reach ten times less far up.
    seed : int

    Returns
    -------
    Scene
    """
    rng = np.random.default_rng([seed, 7919])
    number = stars + galaxies
    dx, dy = rng.uniform(-radius, radius, (2, number))
    galaxy = np.arange(number) >= stars
    span = np.where(galaxy, brightest / 10, brightest) / faintest
    flux = faintest * (1 - rng.random(number) * (1 - span**-0.5)) ** -2.0
    sources = Table(
        {
            "id": np.arange(1, number + 1),
            "kind": np.where(galaxy, "galaxy", "star"),
            "ra": (ra + dx / 3600 / np.cos(np.radians(dec))) % 360,
            "dec": dec + dy / 3600,
            "flux": np.where(galaxy, 4, 1) * flux,
            "radius": np.where(galaxy, rng.lognormal(np.log(0.25), 0.5, number), 0.0),
            "sersic": np.where(galaxy, rng.choice([1.0, 1.5, 2.5, 4.0], number), 0.0),
            "axis_ratio": np.where(galaxy, rng.uniform(0.3, 1.0, number), 1.0),
            "pa": np.where(galaxy, rng.uniform(0, 180, number), 0.0),
        }
    )
    for name, unit in (("ra", "deg"), ("dec", "deg"), ("flux", "Jy"), ("radius", "arcsec"), ("pa", "deg")):
        sources[name].unit = unit
    return Scene(sky, sources)


def render(scene, pointing, gain):
    """The rate that the scene gives in each pixel of a detector with an even response.

    Uniform light gives the same rate in every pixel: the flat field holds what differs, pixel areas included. A source then gives less
    where pixels are large, and its flux comes back when calibrated surface brightness is multiplied with each pixel's own area.

    Parameters
    ----------
    scene : Scene
    pointing : pointing.Pointing
    gain : float
        e-/DN.

    Returns
    -------
    rate : ndarray, (row, col) float64
        e-/s.
    catalogue : Table
        The sources that fall on the detector, with their pixel (x, y from 0) and their rate in all [e-/s].
    """
    photmjsr, fwhm = pointing.setup.optics
    relative, nominal = pointing.area()
    per_jansky = gain * 1e-6 / (nominal * ARCSEC**2) / photmjsr
    image = np.zeros(relative.shape)
    catalogue = scene.sources.copy()
    catalogue["x"], catalogue["y"], angles = _places(catalogue, pointing)
    catalogue["rate"] = catalogue["flux"].value * per_jansky
    catalogue["rate"].unit = "ct / s"  # FITS has no unit for electrons
    margin = 3 * fwhm + 20
    ny, nx = image.shape
    x, y = catalogue["x"], catalogue["y"]
    seen = (x > -margin) & (x < nx + margin) & (y > -margin) & (y < ny + margin)
    scale = np.sqrt(pointing.xscale * pointing.yscale)
    for source, angle in zip(catalogue[seen], angles[seen], strict=True):
        if source["kind"] == "star":
            add_star(image, source["x"], source["y"], source["rate"], fwhm * SIGMA)
        else:
            _add_galaxy(image, source, angle, fwhm * SIGMA, scale)
    inside = (x > -0.5) & (x < nx - 0.5) & (y > -0.5) & (y < ny - 0.5)
    return image / relative + scene.sky / photmjsr * gain, catalogue[inside]


def _places(sources, pointing):
    """Pixels of the sources, and the angle of their major axes from the detector's x axis [rad]."""
    step = 0.1 / 3600
    ra, dec, pa = (np.asarray(sources[name], float) for name in ("ra", "dec", "pa"))
    east = step * np.sin(np.radians(pa)) / np.cos(np.radians(dec))
    x, y = pointing.sky_to_pixel(np.concatenate([ra, ra + east]), np.concatenate([dec, dec + step * np.cos(np.radians(pa))]))
    (x, tip_x), (y, tip_y) = np.split(x, 2), np.split(y, 2)
    return x, y, np.arctan2(tip_y - y, tip_x - x)


def add_star(image, x, y, rate, sigma):
    """Add a point source: the PSF's integral over each pixel.

    Parameters
    ----------
    image : ndarray, (row, col) float64
        Changed in place.
    x, y : float
        Position, the centre of the first pixel being 0.
    rate : float
    sigma : float
        Of the PSF's core [pixels].
    """
    for part, width in ((CORE, sigma), (1 - CORE, HALO_SCALE * sigma)):
        reach = REACH * HALO_SCALE * sigma + 1
        rows, columns = _span(y, reach, image.shape[0]), _span(x, reach, image.shape[1])
        image[rows, columns] += rate * part * np.outer(_pixel_integral(rows, y, width), _pixel_integral(columns, x, width))


def _span(centre, reach, size):
    return slice(max(0, int(centre - reach)), max(0, min(size, int(centre + reach) + 1)))


def _pixel_integral(span, centre, sigma):
    edges = (np.arange(span.start, span.stop + 1) - 0.5 - centre) / (np.sqrt(2) * sigma)
    return np.diff(erf(edges)) / 2


def _add_galaxy(image, source, angle, sigma, scale):
    """Add a galaxy: its Sersic profile to six half-light radii on a grid finer than the pixels, convolved with the PSF, and summed.

    Sersic profile: Graham & Driver 2005, PASA 22, 118, eq. 1; b_n from the half-light condition.
    """
    radius, n, q = source["radius"] / scale, source["sersic"], source["axis_ratio"]
    fine = 5 if radius < 5 else 3
    half = int(min(6 * radius + REACH * HALO_SCALE * sigma, 150)) + 2
    x0, y0 = int(round(source["x"])), int(round(source["y"]))
    offset = (np.arange((2 * half + 1) * fine) + 0.5) / fine - half - 0.5
    dx, dy = np.meshgrid(offset - (source["x"] - x0), offset - (source["y"] - y0))
    major, minor = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
    profile = _sersic(np.hypot(major, minor / q), radius, n, 1 / fine)
    reach = np.arange(-int(REACH * sigma * HALO_SCALE * fine), int(REACH * sigma * HALO_SCALE * fine) + 1) / fine
    squared = reach[:, None] ** 2 + reach[None, :] ** 2
    psf = sum(part / w**2 * np.exp(-squared / (2 * w**2)) for part, w in ((CORE, sigma), (1 - CORE, HALO_SCALE * sigma)))
    blurred = np.maximum(fftconvolve(profile, psf / psf.sum(), mode="same"), 0)
    stamp = blurred.reshape(2 * half + 1, fine, 2 * half + 1, fine).sum(axis=(1, 3))
    _paste(image, stamp * source["rate"] / profile.sum(), y0 - half, x0 - half)


def _sersic(r, radius, n, softening):
    b = gammaincinv(2 * n, 0.5)
    return np.exp(-b * ((np.hypot(r, softening / 2) / radius) ** (1 / n) - 1))


@njit(cache=True)
def _paste(image, stamp, top, left):
    """Add a stamp whose lower left pixel falls on (top, left); what lies outside is left out."""
    for i in range(stamp.shape[0]):
        for j in range(stamp.shape[1]):
            y, x = top + i, left + j
            if 0 <= y < image.shape[0] and 0 <= x < image.shape[1]:
                image[y, x] += stamp[i, j]
