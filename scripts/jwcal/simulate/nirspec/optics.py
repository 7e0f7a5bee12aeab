"""From a place in the focal plane to a pixel, and to the sky: the simulator's own way through the instrument's parametric model.

After Dorner et al. 2016, A&A 592, A113, and Lutzgendorf et al. 2022, Proc. SPIE 12180: light that passes the plane of the micro-shutters at
a place [m] leaves the collimator in a direction, is turned into the frame of the grating wheel's element, is diffracted (grating equation)
or refracted (Snell's law), is turned back, and falls through the camera on the detectors. A slice of the image slicer reaches the
collimator as if it came from a place in the shutters' plane of its own. The calibration's own transforms are written elsewhere and share
nothing with these.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path

import asdf
import numpy as np

PIXELS = 2048
GLASS_LIMIT = 20  # K from its reference temperature within which the glass's index is taken as measured
STEPS = 4  # towards the place of a pixel, or of the sky: each leaves a hundredth of what was missing, or less
MICRON = 1e-6


@dataclass(frozen=True)
class Aperture:
    """An opening in the plane of the shutters: a slit, a shutter, or a slice of the image slicer.

    Attributes
    ----------
    name : str or int
    quadrant : int
        1-4 shutters, 5 fixed slits, 0 a slice.
    x, y : float
        Its middle in the quadrant's (slicer's) own frame [m].
    width, length : float
        [m]; a place in the opening is counted in these, from its middle.
    """

    name: object
    quadrant: int
    x: float
    y: float
    width: float
    length: float

    def at(self, across, along):
        """In the quadrant's frame [m]."""
        return np.broadcast_arrays(self.x + self.width * np.asarray(across, float), self.y + self.length * np.asarray(along, float))


@dataclass
class Optics:
    """The models of the reference files.

    Attributes
    ----------
    trees : dict
        type -> tree of camera, collimator, disperser, fore, fpa, msa, ote, and of the slicer's ifufore, ifupost, ifuslicer.
    tilts : (float, float)
        Readings of the grating wheel's sensors, GWA_XTIL, GWA_YTIL; NaN: the model's own.
    temperature : float
        K, of the grating wheel.
    order : int
        Of the grating.
    recession : float
        m/s, VELOSYS: a wavelength from the sky falls where 1 + recession / c of it would fall.
    """

    trees: dict = field(repr=False)
    tilts: tuple = (np.nan, np.nan)
    temperature: float = 38.0
    order: int = -1
    recession: float = 0.0

    @classmethod
    def of(cls, files, **others):
        """From reference files, type -> path."""
        return cls({kind: tree_of(path) for kind, path in files.items() if str(path).endswith(".asdf") and kind in TYPES}, **others)

    def seen(self, **others):
        """The same optics with other tilts, temperature or velocity."""
        return replace(self, **others)

    # --- openings ---

    def slit(self, name):
        """A fixed slit."""
        return self._aperture(name, 5, SLITS.index(name))

    def shutter(self, quadrant, column, row):
        """A shutter; columns (1-365) run along the dispersion, rows (1-171) across it."""
        return self._aperture((quadrant, column, row), quadrant, column - 1 + COLUMNS * (row - 1))

    def slice(self, number):
        """A slice of the image slicer, 0-29."""
        return self._aperture(number, 0, number)

    def _aperture(self, name, quadrant, number):
        data = self.trees["msa"][f"Q{quadrant}"]["data"] if quadrant else self.trees["ifuslicer"]["data"]
        row = np.asarray(data)[number]
        x, y, width, length = (float(row[key]) for key in ("XC", "YC", "SIZEX", "SIZEY"))
        return Aperture(name, quadrant, x, y, width, length)

    def in_focal_plane(self, aperture, across, along, wavelength):
        """Where a place of an opening is in the plane of the shutters, for the telescope and for the spectrograph.

        Returns
        -------
        entrance, leaving : pair of (x, y) [m]
            The same, but for a slice.
        """
        x, y = aperture.at(across, along)
        if aperture.quadrant:
            place = self.trees["msa"][f"Q{aperture.quadrant}"]["model"](x, y)
            return place, place
        x, y = self.trees["ifuslicer"]["model"](x, y)
        x, y, metres = (np.array(a) for a in np.broadcast_arrays(x, y, MICRON * np.asarray(wavelength, float)))
        return self.trees["ifufore"]["model"](x, y, metres), self._behind_slicer(aperture.name, x, y, metres)

    def _behind_slicer(self, number, x, y, metres):
        models = self.trees["ifupost"][f"slice_{number}"]
        x, y = models["linear"](x, y)
        return tuple(models[f"{axis}poly"](x, y) + metres * models[f"{axis}poly_distortion"](x, y) for axis in "xy")

    # --- the spectrograph ---

    @cached_property
    def turn(self):
        """Matrix from the collimator's frame into the dispersing element's, the wheel's tilt sensors heard."""
        element = self.trees["disperser"]
        angles = [float(element[key]) for key in ("theta_x", "theta_y", "theta_z", "tilt_y")]
        for axis, sensor, reading in ((1, "gwa_tiltx", self.tilts[0]), (0, "gwa_tilty", self.tilts[1])):
            if np.isfinite(reading):
                tilt = element[sensor]
                angles[axis] += float(tilt["tilt_model"](reading) - tilt["tilt_model"](tilt["zeroreadings"][0])) / 2 / 3600
        matrix = np.eye(3)
        for axis, angle in zip("xyzy", angles, strict=True):
            matrix = _turned_about(axis, angle) @ matrix
        return matrix

    def to_pixel(self, aperture, across, along, wavelength, detector):
        """The pixel of the full frame that light falls on, counted from 0, in the frame of the archive's files.

        Parameters
        ----------
        across, along : float or ndarray
            Place in the opening.
        wavelength : float or ndarray
            micron.
        detector : str

        Returns
        -------
        x, y : ndarray
        """
        _, (x, y) = self.in_focal_plane(aperture, across, along, wavelength)
        return self.from_shutters(x, y, wavelength, detector)

    def from_shutters(self, x, y, wavelength, detector):
        """As `to_pixel`, from the plane of the shutters [m]."""
        x, y, metres = (np.array(a) for a in np.broadcast_arrays(x, y, MICRON * np.asarray(wavelength, float)))
        metres = metres * (1 + self.recession / LIGHT)
        incoming = np.einsum("ij,j...->i...", self.turn, _direction(*self.trees["collimator"]["model"].inverse(x, y)))
        leaving = np.einsum("ji,j...->i...", self.turn, self.dispersed(incoming, metres))
        place = self.trees["camera"]["model"].inverse(leaving[0] / leaving[2], leaving[1] / leaving[2])
        x, y = self.trees["fpa"][f"{detector.lower()}_model"].inverse(*place)
        return (x, y) if detector == "NRS1" else (PIXELS - 1 - x, PIXELS - 1 - y)

    def dispersed(self, incoming, metres):
        """Directions of light that leaves the grating or the prism, in its own frame; wavelengths in m, as they are at the telescope."""
        element = self.trees["disperser"]
        if element.get("angle") is None:
            across = -incoming[0] - self.order * float(element["groovedensity"]) * metres
            return _unit(across, -incoming[1])
        index = refractive_index(element, MICRON**-1 * metres, self.temperature)
        inside = _unit(incoming[0] / index, incoming[1] / index)
        wedge = _turned_about("y", float(element["angle"]))
        there = np.einsum("ij,j...->i...", wedge, inside)
        back = np.einsum("ji,j...->i...", wedge, _unit(-there[0], -there[1]))
        return _unit(index * back[0], index * back[1])

    def from_pixel(self, aperture, x, y, detector, band, across=0.0):
        """Wavelength and place along the opening of pixels: the inverse of `to_pixel`, with the slopes of the first guess.

        Parameters
        ----------
        x, y : ndarray
            Pixels of the full frame from 0.
        band : (float, float)
            micron; where the search begins.
        across : float
            Place in the opening across it.

        Returns
        -------
        wavelength, along : ndarray
            micron; NaN where light of no wavelength near the band falls.
        """
        some = np.linspace(band[0] - 0.1 * (band[1] - band[0]), band[1] + 0.1 * (band[1] - band[0]), 800)
        some = some[some > 0.3]
        trace, height = self.to_pixel(aperture, across, 0.0, some, detector)
        order = np.argsort(trace)
        order = order[np.isfinite(trace[order])]
        if order.size < 2:
            return np.full(np.shape(x), np.nan), np.full(np.shape(x), np.nan)
        wavelength = np.interp(x, trace[order], some[order])
        _, upper = self.to_pixel(aperture, across, 0.5, some, detector)
        along = (y - np.interp(x, trace[order], height[order])) / np.interp(x, trace[order], 2 * (upper - height)[order])
        step = 1e-4 * (band[1] - band[0])
        by_wave, by_place, _ = self._slopes(aperture, across, along, wavelength, detector, step)
        determinant = by_wave[0] * by_place[1] - by_wave[1] * by_place[0]
        for _ in range(STEPS):
            here = self.to_pixel(aperture, across, along, wavelength, detector)
            off = x - here[0], y - here[1]
            wavelength = np.clip(wavelength + (off[0] * by_place[1] - off[1] * by_place[0]) / determinant, some[0], some[-1])
            along = along + (by_wave[0] * off[1] - by_wave[1] * off[0]) / determinant
        lost = (wavelength <= some[0]) | (wavelength >= some[-1])
        return np.where(lost, np.nan, wavelength), np.where(lost, np.nan, along)

    def _slopes(self, aperture, across, along, wavelength, detector, step=1e-4, side=0.01):
        """Pixels by which x and y change with the wavelength [micron], the place along and the place across."""
        here = self.to_pixel(aperture, across, along, wavelength, detector)
        moved = (
            (self.to_pixel(aperture, across, along, wavelength + step, detector), step),
            (self.to_pixel(aperture, across, along + side, wavelength, detector), side),
            (self.to_pixel(aperture, across + side, along, wavelength, detector), side),
        )
        return [np.subtract(there, here) / by for there, by in moved]

    def slant(self, aperture, along, wavelength, detector):
        """micron by which the wavelength of a pixel changes over the width of an opening, at places along its middle."""
        by_wave, by_place, by_side = self._slopes(aperture, 0.0, along, wavelength, detector)
        determinant = by_wave[0] * by_place[1] - by_wave[1] * by_place[0]
        return -(by_side[0] * by_place[1] - by_side[1] * by_place[0]) / determinant

    # --- the telescope ---

    def to_field(self, aperture, across=0.0, along=0.0, wavelength=2.0):
        """V2, V3 [arcsec] of a place in an opening."""
        (x, y), _ = self.in_focal_plane(aperture, across, along, wavelength)
        return self.sky_of(x, y, wavelength)

    def sky_of(self, x, y, wavelength):
        """V2, V3 [arcsec] of a place in the plane of the shutters [m]."""
        x, y, metres = (np.array(a) for a in np.broadcast_arrays(x, y, MICRON * np.asarray(wavelength, float)))
        return self.trees["ote"]["model"](*self.trees["fore"]["model"](x, y, metres))

    def from_field(self, v2, v3, wavelength=2.0):
        """The place in the plane of the shutters [m] that V2, V3 [arcsec] fall on."""
        x, y = self.trees["ote"]["model"].inverse(np.asarray(v2, float), np.asarray(v3, float))
        x, y, metres = (np.array(a) for a in np.broadcast_arrays(x, y, MICRON * np.asarray(wavelength, float)))
        return self.trees["fore"]["model"].inverse(x, y, metres)[:2]

    def place_of(self, aperture, v2, v3, wavelength=2.0):
        """across, along of V2, V3 [arcsec], in an opening's own units, at one or more wavelengths."""
        matrix = np.linalg.inv(self.scale(aperture, float(np.median(wavelength))))
        across = along = np.zeros(np.broadcast_shapes(np.shape(v2), np.shape(wavelength)))
        for _ in range(STEPS):
            here = self.to_field(aperture, across, along, wavelength)
            across, along = np.stack([across, along]) + np.einsum("ij,j...->i...", matrix, np.stack([v2 - here[0], v3 - here[1]]))
        return across, along

    def scale(self, aperture, wavelength=2.0):
        """d(V2, V3) / d(across, along) in the middle of an opening [arcsec], (2, 2)."""
        sides = [np.subtract(self.to_field(aperture, *d, wavelength), self.to_field(aperture, *-d, wavelength)) for d in np.eye(2) / 2]
        return np.stack(sides, axis=1)

    def size(self, aperture, wavelength=2.0):
        """Width and length of an opening on the sky [arcsec]."""
        return tuple(float(side) for side in np.hypot(*self.scale(aperture, wavelength)))


SLITS = ("S200A1", "S200A2", "S400A1", "S1600A1", "S200B1")
COLUMNS, ROWS = 365, 171  # shutters of a quadrant
LIGHT = 299792458.0
TYPES = ("camera", "collimator", "disperser", "fore", "fpa", "msa", "ote", "ifufore", "ifupost", "ifuslicer")


def tree_of(path):
    """The tree of an ASDF file."""
    return _kept(str(path), Path(path).stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _kept(path, _):
    """Reading a tree takes a tenth of a second: it is kept as long as the file is not changed."""
    with asdf.open(path, memmap=False, lazy_load=False) as file:
        return dict(file.tree)


def _direction(x, y):
    """Unit vector along (x, y, 1)."""
    norm = np.sqrt(1 + x**2 + y**2)
    return np.stack([x / norm, y / norm, 1 / norm])


def _unit(x, y):
    with np.errstate(invalid="ignore"):
        return np.stack([x, y, np.sqrt(1 - x**2 - y**2)])


def _turned_about(axis, degrees):
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return {
        "x": np.array([[1, 0, 0], [0, cos, sin], [0, -sin, cos]]),
        "y": np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]]),
        "z": np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]]),
    }[axis]


def refractive_index(glass, wavelength, temperature):
    """Of the prism's glass: Sellmeier's equation.

    Parameters
    ----------
    glass : dict
        `kcoef`, `lcoef`, `tref` [K].
    wavelength : ndarray
        micron.
    temperature : float
        K.

    Raises
    ------
    ValueError
        A temperature so far from the glass's own that its thermal terms would count: the simulator has none.
    """
    if temperature - float(glass["tref"]) >= GLASS_LIMIT:
        raise ValueError(f"the grating wheel is at {temperature} K, {GLASS_LIMIT} K or more above the glass's {glass['tref']} K")
    squared = np.asarray(wavelength, float) ** 2
    return np.sqrt(1 + sum(k * squared / (squared - c) for k, c in zip(glass["kcoef"], glass["lcoef"], strict=True)))
