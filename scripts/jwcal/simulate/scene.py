"""What there is to see: a sky with stars and galaxies of known flux, and the image that a detector gets of it."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from astropy.table import Table
from numba import njit
from scipy.signal import fftconvolve
from scipy.special import erf, gammaincinv

from ..files import storage
from .pointing import ARCSEC

# The PSF is two round Gaussians, whose integral over a pixel is exact: a core of the filter's FWHM with most of the light, and a halo.
# It has the right width and enclosed energy to about 5 %, and no spikes.
CORE, HALO_SCALE = 0.85, 3.0
SIGMA = 1 / np.sqrt(8 * np.log(2))
REACH = 6  # of the halo's sigma: where the PSF is cut off


@dataclass(frozen=True)
class Psf:
    """How a point source is spread: a round core and a halo, whose integrals over a pixel are exact, and sum up to 1 within `reach`.

    Attributes
    ----------
    fwhm : pixels, of the core; None is the filter's
    core : part of the light that is in the core; with 1 the PSF is one Gaussian
    """

    fwhm: float | None = None
    core: float = CORE

    def parts(self, sigma):
        """(part of the light, sigma [pixels]) of core and halo."""
        return tuple((part, width) for part, width in ((self.core, sigma), (1 - self.core, HALO_SCALE * sigma)) if part > 0)

    def reach(self, sigma):
        """Radius [pixels] within which all of the light is (but for 1e-7)."""
        return REACH * (HALO_SCALE if self.core < 1 else 1) * sigma + 1

    def enclosed(self, radius, sigma):
        """Part of the light that an aperture about the star catches, in the mean over the star's places within a pixel.

        Parameters
        ----------
        radius : float or array
            Of a circle; pixels on its edge count as far as they lie inside [pixels].
        sigma : float
            Of the core [pixels].
        """
        return np.interp(radius, *_growth(self, sigma))

    def radius(self, part, sigma):
        """Radius [pixels] of the aperture that catches a part of the light."""
        radii, caught = _growth(self, sigma)
        return np.interp(part, caught, radii)


@lru_cache(maxsize=64)
def _growth(psf, sigma, points=500):
    """Radii, and the light within them: the PSF convolved twice with a pixel, once because pixels collect it, once because they are cut.

    4 int_0^(pi/2) f(r sin t) F(r cos t) r cos t dt, with the density f along an axis and its integral F from the star, for each part.
    """
    radii = (psf.reach(sigma) + 2) * np.linspace(0, 1, points) ** 2
    nodes, weights = np.polynomial.legendre.leggauss(300)
    angle = np.pi / 4 * (nodes + 1)
    across, along = radii[:, None] * np.sin(angle), radii[:, None] * np.cos(angle)
    caught = 0
    for part, width in psf.parts(sigma):
        light = _smoothed(across, width, _density) * (_smoothed(along, width, _distribution) - 0.5)
        caught = caught + part * np.pi * (light * along) @ weights
    return radii, np.maximum.accumulate(caught / caught[-1])


def _smoothed(x, sigma, twice):
    """A Gaussian's density or distribution convolved with two pixels (of width 1): second difference of its second antiderivative."""
    return twice((x + 1) / sigma, sigma) - 2 * twice(x / sigma, sigma) + twice((x - 1) / sigma, sigma)


def _density(u, sigma):
    bell, below = np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi), (1 + erf(u / np.sqrt(2))) / 2
    return sigma * (u * below + bell)


def _distribution(u, sigma):
    bell, below = np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi), (1 + erf(u / np.sqrt(2))) / 2
    return sigma**2 * ((u**2 + 1) * below + u * bell) / 2


@dataclass(frozen=True)
class Scene:
    """A part of the sky.

    Attributes
    ----------
    sky : MJy/sr, uniform
    sources : Table with id, kind ("star" or "galaxy"), ra, dec [deg], flux [Jy], and for galaxies
        radius [arcsec, of half the light along the major axis], sersic (index), axis_ratio, pa [deg, east of north]
    psf : Psf
    """

    sky: float
    sources: Table
    psf: Psf = Psf()


COLUMNS = ("id", "kind", "ra", "dec", "flux", "radius", "sersic", "axis_ratio", "pa")


def make_scene(ra, dec, *, radius=40.0, stars=200, galaxies=40, sky=0.25, faintest=2e-8, brightest=3e-5, seed=1, psf=Psf(), separation=0.0):
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
    psf : Psf
    separation : float
        A source that is nearer to an earlier one [arcsec] is left out.

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
    if separation:
        sources = sources[_isolated(dx, dy, separation)]
    return Scene(sky, sources, psf)


def with_star(scene, ra, dec, flux):
    """A scene with one more star."""
    sources = scene.sources.copy()
    row = {"id": int(np.max(sources["id"], initial=0)) + 1, "kind": "star", "ra": ra, "dec": dec, "flux": flux}
    sources.add_row(row | {"radius": 0.0, "sersic": 0.0, "axis_ratio": 1.0, "pa": 0.0})
    return replace(scene, sources=sources)


def write_catalogue(scene, path, faintest=0.0):
    """Write where the stars truly are: RA, DEC [deg] and flux [Jy], as ECSV, for tweakreg's `abs_refcat`.

    Parameters
    ----------
    scene : Scene
    path : path
    faintest : float
        Jy.
    """
    stars = scene.sources[(scene.sources["kind"] == "star") & (scene.sources["flux"] >= faintest)]
    table = Table({"id": stars["id"], "RA": stars["ra"], "DEC": stars["dec"], "flux": stars["flux"]})
    with storage.replaced(path) as temporary:
        table.write(temporary, format="ascii.ecsv", overwrite=True)
    return path


def _isolated(x, y, separation):
    kept = []
    for k in range(len(x)):
        if all(np.hypot(x[k] - x[j], y[k] - y[j]) >= separation for j in kept):
            kept.append(k)
    return kept


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
    placed = place(scene, pointing, gain)
    return placed.image(), placed.catalogue()


@dataclass(frozen=True)
class Placed:
    """A scene on a detector.

    Attributes
    ----------
    sources : the scene's, with their pixels and their rates
    angles : rad, of their major axes from the detector's x axis
    relative : area of each pixel over the nominal one
    even : e-/s of the sky in each pixel
    """

    scene: Scene
    sources: Table
    angles: np.ndarray
    relative: np.ndarray
    even: float
    fwhm: float
    scale: float

    def image(self, shift=(0.0, 0.0), factors=1.0, every=True):
        """The rate in each pixel, (row, col) [e-/s].

        Parameters
        ----------
        shift : (x, y)
            By how many pixels everything is moved: the pointing's jitter.
        factors : float or ndarray, (source,)
            What the sources' rates are multiplied with.
        every : bool or ndarray of bool, (source,)
            Which sources to paint.
        """
        image = np.zeros(self.relative.shape)
        margin, sigma, psf = 3 * self.fwhm + 20, self.fwhm * SIGMA, self.scene.psf
        ny, nx = image.shape
        x, y = self.sources["x"], self.sources["y"]
        seen = (x > -margin) & (x < nx + margin) & (y > -margin) & (y < ny + margin) & every
        factors = np.broadcast_to(factors, len(self.sources))
        for source, angle, factor in zip(self.sources[seen], self.angles[seen], factors[seen], strict=True):
            x, y, rate = source["x"] + shift[0], source["y"] + shift[1], source["rate"] * factor
            if source["kind"] == "star":
                add_star(image, x, y, rate, sigma, psf)
            else:
                _add_galaxy(image, source, x, y, rate, angle, sigma, self.scale, psf)
        return image / self.relative + self.even

    def catalogue(self):
        """The sources that fall on the detector."""
        ny, nx = self.relative.shape
        x, y = self.sources["x"], self.sources["y"]
        return self.sources[(x > -0.5) & (x < nx - 0.5) & (y > -0.5) & (y < ny - 0.5)]


def place(scene, pointing, gain):
    """Find the pixels of a scene's sources, and their rates; see `render`."""
    photmjsr, fwhm = pointing.setup.optics
    relative, nominal = pointing.area()
    sources = scene.sources.copy()
    sources["x"], sources["y"], angles = _places(sources, pointing)
    sources["rate"] = sources["flux"].value * (gain * 1e-6 / (nominal * ARCSEC**2) / photmjsr)
    sources["rate"].unit = "ct / s"  # FITS has no unit for electrons
    scale = np.sqrt(pointing.xscale * pointing.yscale)
    return Placed(scene, sources, angles, relative, scene.sky / photmjsr * gain, scene.psf.fwhm or fwhm, scale)


def _places(sources, pointing):
    """Pixels of the sources, and the angle of their major axes from the detector's x axis [rad]."""
    step = 0.1 / 3600
    ra, dec, pa = (np.asarray(sources[name], float) for name in ("ra", "dec", "pa"))
    east = step * np.sin(np.radians(pa)) / np.cos(np.radians(dec))
    x, y = pointing.sky_to_pixel(np.concatenate([ra, ra + east]), np.concatenate([dec, dec + step * np.cos(np.radians(pa))]))
    (x, tip_x), (y, tip_y) = np.split(x, 2), np.split(y, 2)
    return x, y, np.arctan2(tip_y - y, tip_x - x)


def add_star(image, x, y, rate, sigma, psf=Psf()):
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
    psf : Psf
    """
    reach = psf.reach(sigma)
    for part, width in psf.parts(sigma):
        rows, columns = _span(y, reach, image.shape[0]), _span(x, reach, image.shape[1])
        image[rows, columns] += rate * part * np.outer(_pixel_integral(rows, y, width), _pixel_integral(columns, x, width))


def _span(centre, reach, size):
    return slice(max(0, int(centre - reach)), max(0, min(size, int(centre + reach) + 1)))


def _pixel_integral(span, centre, sigma):
    edges = (np.arange(span.start, span.stop + 1) - 0.5 - centre) / (np.sqrt(2) * sigma)
    return np.diff(erf(edges)) / 2


def _add_galaxy(image, source, x, y, rate, angle, sigma, scale, shape):
    """Add a galaxy: its Sersic profile to six half-light radii on a grid finer than the pixels, convolved with the PSF, and summed.

    Sersic profile: Graham & Driver 2005, PASA 22, 118, eq. 1; b_n from the half-light condition.
    """
    radius, n, q = source["radius"] / scale, source["sersic"], source["axis_ratio"]
    fine = 5 if radius < 5 else 3
    half = int(min(6 * radius + REACH * HALO_SCALE * sigma, 150)) + 2
    x0, y0 = int(round(x)), int(round(y))
    offset = (np.arange((2 * half + 1) * fine) + 0.5) / fine - half - 0.5
    dx, dy = np.meshgrid(offset - (x - x0), offset - (y - y0))
    major, minor = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
    profile = _sersic(np.hypot(major, minor / q), radius, n, 1 / fine)
    reach = np.arange(-int(REACH * sigma * HALO_SCALE * fine), int(REACH * sigma * HALO_SCALE * fine) + 1) / fine
    squared = reach[:, None] ** 2 + reach[None, :] ** 2
    psf = sum(part / w**2 * np.exp(-squared / (2 * w**2)) for part, w in shape.parts(sigma))
    blurred = np.maximum(fftconvolve(profile, psf / psf.sum(), mode="same"), 0)
    stamp = blurred.reshape(2 * half + 1, fine, 2 * half + 1, fine).sum(axis=(1, 3))
    _paste(image, stamp * rate / profile.sum(), y0 - half, x0 - half)


def shape_of_galaxy(radius, sersic, axis_ratio, angle, fine=5):
    """A galaxy's light in pixels about its middle, without PSF: of sum 1, out to six half-light radii, its middle that of the pixel.

    Parameters
    ----------
    radius : float
        Of half the light along the major axis [pixels].
    sersic, axis_ratio : float
    angle : float
        Of the major axis from the x axis [rad].
    fine : int
        Samples a pixel.

    Returns
    -------
    ndarray, (row, col)
    """
    half = int(min(6 * radius, 150)) + 1
    offset = (np.arange((2 * half + 1) * fine) + 0.5) / fine - half - 0.5
    dx, dy = np.meshgrid(offset, offset)
    major, minor = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
    profile = _sersic(np.hypot(major, minor / axis_ratio), radius, sersic, 1 / fine)
    stamp = profile.reshape(2 * half + 1, fine, 2 * half + 1, fine).sum(axis=(1, 3))
    return stamp / stamp.sum()


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
