"""A star and a companion seen through the mask of seven holes: the sum of what the holes let through, wavelength by wavelength.

    from jwcal.simulate import calibrated
    from jwcal.simulate.interferogram import Interferogram, simulate_interferometry

    binary = Interferogram(companion=(0.15, 60.0, 0.02), pistons=20.0)     # arcsec, degrees east of north, flux over the star's; nm
    made = simulate_interferometry(binary, nints=5)                         # [(Calibrated, "science" or "psf"), ...]

The amplitude behind each hole is the transform of its outline, a hexagon, by the integral along its edges (Sabatke et al. 2005, Appl. Opt.
44, 1360); holes are moved, and the pupil stretched, by the phases of points. Nothing of the fit's model is used. Left out: aberrations
within a hole, charge that moves to neighbours, the detector's pixels that do not respond evenly.
"""

from dataclasses import dataclass, replace

import numpy as np
from astropy.table import Table
from astropy.time import Time, TimeDelta

from . import aperture_mask, exposures, pointing
from .headers import Identity

FINE = 4  # samples a pixel, at the places and with the weights of Gauss's quadrature: fringes of two pixels come out to 1e-5
SETTLING = 300.0  # s
COMMISSIONING = ((0.992820, 0.00618605), (-0.00727008, 0.998540))


def _hexagon(k, affine):
    """The transform of a hole at angular frequencies k (2, ...) [1/m]: its area at 0."""
    angles = np.radians(np.arange(6) * 60 + 90)  # corners on the columns' axis
    corners = affine @ (aperture_mask.WIDTH / np.sqrt(3) * np.stack([np.cos(angles), np.sin(angles)]))
    edges, middles = np.roll(corners, -1, axis=1) - corners, (np.roll(corners, -1, axis=1) + corners) / 2
    square = np.maximum((k**2).sum(axis=0), 1e-12)
    total = np.zeros(k.shape[1:])
    for edge, middle in list(zip(edges.T, middles.T, strict=True))[:3]:  # each with the one that lies opposite
        along, across = np.tensordot(edge, k, 1), k[0] * edge[1] - k[1] * edge[0]
        total += 2 * across * np.sinc(along / (2 * np.pi)) * np.sin(np.tensordot(middle, k, 1))
    area = abs(np.linalg.det(affine)) * aperture_mask.WIDTH**2 * np.sqrt(3) / 2
    return np.where(square <= 1e-12, area, total / square)


def _samples(setup, place, scale):
    """Angles of the samples along rows and columns from a place, rad."""
    nodes = np.polynomial.legendre.leggauss(FINE)[0] / 2
    return [
        ((np.arange(count)[:, None] + nodes).ravel() - at) * scale * pointing.ARCSEC
        for count, at in zip(setup.subarray.shape, place, strict=True)
    ]


@dataclass(frozen=True)
class Interferogram:
    """What is seen behind the mask.

    Attributes
    ----------
    star : Jy
    companion : (separation [arcsec], position angle [deg, east of north], flux over the star's), or None
    pistons : nm, rms of each hole in each integration
    aberration : nm, rms of each hole, the same in all integrations
    affine : from places in the real pupil to those in the ideal one, along rows and columns, two by two
    jitter : arcsec, rms of each coordinate in each integration
    seed : of all these
    """

    star: float = 0.02
    companion: tuple | None = None
    pistons: float = 0.0
    aberration: float = 0.0
    affine: tuple = COMMISSIONING
    jitter: float = 0.0
    seed: int = 1

    def render(self, field, plan, gain):
        """The light (int, row, col) [e-/s], what is in it, and nothing that changes; see `exposures.light_on`."""
        setup, look = plan.setup, plan.seen
        photmjsr, area = setup.optics[0], pointing.nominal_area(setup)
        rate = gain * 1e-6 / (area * pointing.ARCSEC**2) / photmjsr  # e-/s of a jansky
        sources = self._sources(plan)
        at = [look.sky_to_pixel(row["ra"], row["dec"]) for row in sources]
        sources["x"], sources["y"] = (np.array([float(p[k][0]) for p in at]) for k in (0, 1))
        rng = np.random.default_rng([self.seed, 17])
        number, scale = setup.readout.nints, (look.xscale + look.yscale) / 2
        steady = self.aberration * rng.standard_normal(len(aperture_mask.HOLES))
        pistons = (steady + self.pistons * rng.standard_normal((number, len(aperture_mask.HOLES)))) * 1e-9
        moved = self.jitter / scale * rng.standard_normal((number, 2))
        light, beams = np.zeros((number, *setup.subarray.shape)), {}
        for k in range(number):
            for row in sources:
                place = row["y"] + moved[k, 0], row["x"] + moved[k, 1]
                if place not in beams:
                    beams[place] = self._beams(setup, place, scale)
                light[k] += row["flux"] * self._image(setup, place, pistons[k], scale, beams[place])
            if self.jitter:
                beams.clear()
        return rate * light + field.sky / photmjsr * gain, sources, None

    def _beams(self, setup, place, scale):
        """What one hole makes of it in each colour: (row, col) of the samples."""
        k = np.array(np.meshgrid(*_samples(setup, place, scale), indexing="ij"))
        return [_hexagon(2 * np.pi / wavelength * k, np.linalg.inv(self.affine)) for wavelength, _ in aperture_mask.colours(setup.filter)]

    def _image(self, setup, place, pistons, scale, beams):
        """A point source of flux 1 at (row, column): (row, col), the light in each pixel."""
        rows, columns = setup.subarray.shape
        affine = np.linalg.inv(self.affine)
        holes = affine @ np.stack([-aperture_mask.HOLES[:, 1], -aperture_mask.HOLES[:, 0]])
        weights = np.polynomial.legendre.leggauss(FINE)[1]
        y, x = _samples(setup, place, scale)
        total = np.zeros((rows, columns))
        for (wavelength, part), beam in zip(aperture_mask.colours(setup.filter), beams, strict=True):
            wave = 2 * np.pi / wavelength
            down = np.exp(1j * wave * (np.outer(y, holes[0]) + pistons))
            amplitude = np.abs(down @ np.exp(1j * wave * np.outer(holes[1], x))) ** 2 * beam**2
            # the light of the whole plane, by Parseval, and that of a sample
            whole = len(aperture_mask.HOLES) * abs(np.linalg.det(affine)) * aperture_mask.WIDTH**2 * np.sqrt(3) / 2
            step = (scale * pointing.ARCSEC / wavelength) ** 2
            mean = np.einsum("aibj,i,j->ab", amplitude.reshape(rows, FINE, columns, FINE), weights / 2, weights / 2)
            total += mean * step / whole * part
        return total

    def _sources(self, plan):
        ra, dec = plan.target
        rows = [(1, "star", ra, dec, self.star)]
        if self.companion:
            away, angle, ratio = self.companion
            east, north = away * np.sin(np.radians(angle)), away * np.cos(np.radians(angle))
            rows.append((2, "companion", *(float(c) for c in pointing.moved((ra, dec), east, north)), self.star * ratio))
        return Table(rows=rows, names=("id", "kind", "ra", "dec", "flux"))


def simulate_interferometry(
    interferogram=Interferogram(),
    *,
    references=1,
    nints=3,
    reference_nints=None,
    brighter=1.0,
    filter="F480M",
    roll=30.0,
    target=exposures.TARGET,
    start=exposures.START,
    seed=1,
    **others,
):
    """Make calints exposures of a star, and of reference stars without companions.

    Parameters
    ----------
    interferogram : Interferogram
    references : int
        Exposures of the reference star.
    nints, reference_nints : int
    brighter : float
        The reference star's flux over the star's.
    **others
        As `calibrated.simulate_cal` takes them.

    Returns
    -------
    list of (Calibrated, str)
        Kinds are "science" and "psf".
    """
    from . import calibrated, scene  # which loads the steps

    empty = scene.make_scene(*target, stars=0, galaxies=0, sky=others.pop("sky", 0.1))
    begins, made = Time(start, format="isot", scale="utc", precision=3), []
    for number, kind in enumerate(["science"] + ["psf"] * references):
        light, place = replace(interferogram, seed=interferogram.seed + number), target
        if kind == "psf":
            light = replace(light, companion=None, star=brighter * light.star)
            place = tuple(float(c) for c in pointing.moved(target, 600.0, 0.0))
        one = calibrated.simulate_cal(
            **{"exp_type": "NIS_AMI", "aperture": "NIS_AMI1", "field": empty, "ngroups": 8, "tframe": 1.0, "filter": filter, "roll": roll}
            | others,
            nints=nints if kind == "science" else reference_nints or nints,
            series=light,
            target=place,
            start=begins.isot,
            identity=Identity(observation=number + 1),
            seed=seed + 100 * number,
            header={"IS_PSF": kind == "psf", "TARGPROP": "STAR" if kind == "science" else "CALIBRATOR", **(others.get("header") or {})},
        )
        made.append((one, kind))
        begins = begins + TimeDelta(one.setup.readout.duration + SETTLING, format="sec")
    return made
