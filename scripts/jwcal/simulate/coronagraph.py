"""A star behind a coronagraph's mask, with its speckles and planets, by the optics themselves: pupil, mask, Lyot stop, detector.

    from jwcal.simulate import calibrated
    from jwcal.simulate.coronagraph import Coronagraph, simulate_coronagraphy

    star = Coronagraph(star=1.0, planets=((1.2, 60.0, 3e-6),))              # arcsec, degrees east of north, flux over the star's
    made = simulate_coronagraphy(star, rolls=(0.0, 10.0), references=3)       # [(Calibrated, "science" or "psf"), ...]
    one = calibrated.simulate_cal(exp_type="NRC_CORON", nints=4, series=star) # it stands in the place of a series

The light goes through three Fourier transforms (Lyot coronagraph: Soummer et al. 2007, Optics Express 15, 15935): the pupil, with the
wavefront's errors, is imaged onto the mask; what passes is imaged back onto the Lyot stop, and from there onto the detector, on a grid of
half pixels that are then summed. A planet is a point source beside the mask's centre and takes the same way, so that the mask dims and
bends it as it should. Speckles are what the wavefront's errors make; they change from exposure to exposure as these drift.

Left out: segments, spiders, the colour within a filter, ghosts, the turn of MIRI's masks.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from astropy.table import Table
from astropy.time import Time, TimeDelta
from scipy import fft

from . import exposures, instruments, occulters, pointing
from .headers import Identity

OBSCURED = 0.13  # of the diameter: the secondary mirror's shadow
FINE = 2  # samples a pixel
CORRUGATIONS = 80  # waves that a wavefront's errors are made of
SETTLING = 300.0  # s
# Inner and outer edge of the Lyot stop, of the pupil's radius.
STOPS = {"round": (0.30, 0.75), "bar": (0.30, 0.75), "phase": (0.20, 0.90), "disc": (0.30, 0.85)}


@dataclass(frozen=True)
class Coronagraph:
    """A star, its planets, and how well the telescope sees them.

    Attributes
    ----------
    star : Jy, as if there were no mask
    planets : of (separation [arcsec], position angle [deg, east of north], flux over the star's)
    errors : nm, rms of the wavefront
    drift : nm, rms of what is added to it in each epoch
    epoch : number of the exposure: wavefronts of two epochs differ
    offset : (x, y) arcsec, of the star from the mask's centre; speckles move with it, the header does not know
    jitter : arcsec, rms of each coordinate in each integration
    seed : of the wavefront
    """

    star: float = 1.0
    planets: tuple = ()
    errors: float = 60.0
    drift: float = 3.0
    epoch: int = 0
    offset: tuple = (0.0, 0.0)
    jitter: float = 0.001
    seed: int = 1

    def render(self, field, plan, gain):
        """The light (int, row, col) [e-/s], what is in it, and nothing that changes; see `exposures.light_on`.

        Parameters
        ----------
        field : scene.Scene
            Its even sky alone is seen.
        plan : exposures.Taken
        gain : float
            e-/DN.
        """
        setup, look = plan.setup, plan.seen
        photmjsr = setup.optics[0]
        rate = gain * 1e-6 / (pointing.nominal_area(setup) * pointing.ARCSEC**2) / photmjsr  # e-/s of a jansky
        bench = Bench(setup, self.seed, self.epoch, self.errors, self.drift)
        middle = occulters.centre(setup)
        scale = occulters.scale(setup)
        sources = self._sources(plan)
        at = [look.sky_to_pixel(row["ra"], row["dec"]) for row in sources]
        sources["x"], sources["y"] = (np.array([float(p[k][0]) for p in at]) + self.offset[k] / scale for k in (0, 1))
        away = [((row["x"] - middle[0]) * scale, (row["y"] - middle[1]) * scale) for row in sources]
        planets = sum((row["flux"] * bench.image(*place) for row, place in zip(sources[1:], away[1:], strict=True)), np.zeros(bench.shape))
        shaken = self.jitter * np.random.default_rng([self.seed, self.epoch, 13]).standard_normal((setup.readout.nints, 2))
        light = np.empty((setup.readout.nints, *setup.subarray.shape))
        for number, (x, y) in enumerate(shaken):
            light[number] = sources["flux"][0] * bench.image(away[0][0] + x, away[0][1] + y) + planets
        return rate * light + field.sky / photmjsr * gain, sources, None

    def _sources(self, plan):
        """The star and its planets on the sky."""
        ra, dec = plan.target
        rows = [(1, "star", ra, dec, self.star)]
        for number, (away, angle, ratio) in enumerate(self.planets, start=2):
            east, north = away * np.sin(np.radians(angle)), away * np.cos(np.radians(angle))
            rows.append((number, "planet", *(float(c) for c in pointing.moved((ra, dec), east, north)), self.star * ratio))
        return Table(rows=rows, names=("id", "kind", "ra", "dec", "flux"))


@lru_cache(maxsize=32)
def _wavefront(size, diameter, seed, errors):
    """Errors over the pupil [nm]: waves of 1 to 20 a diameter, weaker the finer they are, with a given rms; not to be changed.

    They have no tilt: target acquisition puts the star where it should be.
    """
    rng = np.random.default_rng([seed, 7])
    u = (np.arange(size) - size // 2) / diameter
    total = np.zeros((size, size))
    for _ in range(CORRUGATIONS):
        number, angle, phase = 20 ** rng.random(), rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
        x, y = 2 * np.pi * number * np.cos(angle) * u, 2 * np.pi * number * np.sin(angle) * u
        wave = np.outer(np.exp(1j * y), np.exp(1j * (x + phase))).real
        total += wave / number
    inside = np.hypot(u[:, None], u[None]) < 0.5
    rows, columns = np.nonzero(inside)
    plane = np.stack([np.ones(rows.size), u[rows], u[columns]])
    level = np.linalg.solve(plane @ plane.T, plane @ total[inside])
    total -= level[0] + level[1] * u[:, None] + level[2] * u[None]
    total *= errors / total[inside].std()
    total.flags.writeable = False
    return total


class Bench:
    """The optics from the pupil to the detector, for one wavefront.

    Parameters
    ----------
    setup : instruments.Setup
        Its CORONMSK tells the mask.
    """

    def __init__(self, setup, seed, epoch, errors, drift):
        self.shape = setup.subarray.shape
        self._name, self._resolution, scale = setup.keywords["CORONMSK"], occulters.resolution(setup), occulters.scale(setup)
        self._size = FINE * fft.next_fast_len(max(self.shape))
        diameter = self._size / FINE * scale / self._resolution
        self._u = (np.arange(self._size) - self._size // 2) / diameter
        radius = 2 * np.hypot(self._u[:, None], self._u[None])
        wavefront = _wavefront(self._size, diameter, seed, errors)
        if drift:
            wavefront = wavefront + _wavefront(self._size, diameter, seed + 1000 + epoch, drift)
        self._pupil = np.where((radius < 1) & (radius > OBSCURED), np.exp(2j * np.pi * wavefront * 1e-9 / occulters.wavelength(setup)), 0)
        inner, outer = STOPS[occulters.MASKS[self._name][0]]
        self._stop = ((radius < outer) & (radius > inner)).astype(float)
        self._whole = np.sum(np.abs(self._pupil * self._stop) ** 2) / self._size**2
        x = (np.arange(self._size) - self._size // 2) * scale / FINE
        self._mask = occulters.mask_amplitude(self._name, *np.meshgrid(x, x))
        place = [FINE * c + (FINE - 1) / 2 - self._size // 2 for c in occulters.centre(setup)]
        self._to_centre = self._tilt(*(p * scale / FINE for p in place))

    def _tilt(self, x, y):
        """What a source at (x, y) [arcsec] does to the pupil's phase."""
        across, along = (np.exp(-2j * np.pi * self._u * c / self._resolution) for c in (x, y))
        return np.outer(along, across)

    def image(self, x, y, masked=True):
        """A point source of flux 1 at (x, y) arcsec from the mask's centre: (row, col), the light in each pixel.

        Parameters
        ----------
        x, y : float
        masked : bool
            False: the mask is taken out, the Lyot stop stays.
        """
        field = self._pupil * self._tilt(x, y)
        if masked:
            focus = fft.fftshift(fft.ifft2(fft.ifftshift(field)))
            field = fft.fftshift(fft.fft2(fft.ifftshift(focus * self._mask)))
        fine = np.abs(fft.fftshift(fft.ifft2(fft.ifftshift(field * self._stop * self._to_centre)))) ** 2 / self._whole
        rows, columns = self.shape
        return fine[: FINE * rows, : FINE * columns].reshape(rows, FINE, columns, FINE).sum(axis=(1, 3))


# --- a program -------------------------------------------------------------------------------------------------------


def setup_of(size=96, *, detector="NRCALONG", filter="F335M", aperture="NRCA5_FULL_MASK335R", mask="MASKA335R", name="SUB320A335R"):
    """What `simulate_cal` takes for a small subarray about the mask's centre."""
    exp_type = "NRC_CORON" if detector.startswith("NRC") else "MIR_LYOT"
    whole = instruments.setup(exp_type, detector=detector, filter=filter, aperture=aperture)
    x, y = pointing.reference_pixel(replace(whole, subarray=instruments.Subarray("FULL", 1, 1, 2048, 2048)))
    rows, columns = (size, size) if np.isscalar(size) else size
    where = instruments.Subarray(name, int(x) - columns // 2, int(y) - rows // 2, columns, rows)
    return {"detector": detector, "filter": filter, "aperture": aperture, "subarray": where, "CORONMSK": mask}


def simulate_coronagraphy(
    coronagraph=Coronagraph(),
    *,
    rolls=(0.0, 10.0),
    references=2,
    nints=4,
    reference_nints=4,
    exp_type="NRC_CORON",
    steps=0.02,
    brighter=1.0,
    offsets=None,
    target=exposures.TARGET,
    start=exposures.START,
    seed=1,
    **others,
):
    """Make calints exposures of a star at several rolls, and of a reference star without planets.

    Parameters
    ----------
    coronagraph : Coronagraph
    rolls : sequence of float
        V3 angle of each science exposure, deg.
    references : int
        Exposures of the reference star; each is some mas beside the mask's centre, as with small-grid dithers.
    nints, reference_nints : int
    steps : float
        arcsec of these dithers.
    brighter : float
        The reference star's flux over the star's.
    offsets : sequence of (x, y), optional
        arcsec, of the star from the mask's centre in each science exposure; the headers do not know.
    **others
        As `calibrated.simulate_cal` takes them; see `setup_of`.

    Returns
    -------
    list of (Calibrated, str)
        Kinds are "science" and "psf".
    """
    from . import calibrated, scene  # which loads the steps

    empty = scene.make_scene(*target, stars=0, galaxies=0, sky=others.pop("sky", 0.3))
    begins, made = Time(start, format="isot", scale="utc", precision=3), []
    common = {"exp_type": exp_type, "field": empty, "ngroups": 8, "tframe": 10.7} | (setup_of() if exp_type == "NRC_CORON" else {}) | others
    angles = np.linspace(0, 2 * np.pi, max(references, 1), endpoint=False)
    shots = [("science", roll, (offsets or [(0.0, 0.0)] * len(rolls))[k]) for k, roll in enumerate(rolls)]
    shots += [("psf", rolls[0], (steps * np.cos(a), steps * np.sin(a))) for a in angles[:references]]
    for number, (kind, roll, offset) in enumerate(shots):
        light = replace(coronagraph, epoch=coronagraph.epoch + number, offset=tuple(float(o) for o in offset))
        place = target
        if kind == "psf":
            light, place = replace(light, planets=(), star=brighter * light.star), pointing.moved(target, 600.0, 0.0)
        one = calibrated.simulate_cal(
            **common,
            nints=nints if kind == "science" else reference_nints,
            series=light,
            target=tuple(float(c) for c in place),
            roll=roll,
            start=begins.isot,
            identity=Identity(observation=number + 1),
            seed=seed + 100 * number,
            header={"IS_PSF": kind == "psf", "TARGPROP": "STAR" if kind == "science" else "CALIBRATOR", **(others.get("header") or {})},
        )
        made.append((one, kind))
        begins = begins + TimeDelta(one.setup.readout.duration + SETTLING, format="sec")
    return made
