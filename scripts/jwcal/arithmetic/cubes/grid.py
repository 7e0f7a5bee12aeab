"""The grid of a cube: spaxels in a tangent plane, planes of wavelengths."""

import logging
import os
from dataclasses import dataclass

import numpy as np

from ...vocabulary.errors import InputError
from ..wcs.footprint import polygon
from .pixels import unwrapped

log = logging.getLogger(__name__)

ARCSEC = 3600.0
BYTES = 48  # of a voxel: its sums, and the planes that are made of them
GAP = 3  # times the step before: there the wavelengths have a gap
OLD = ("V2_REF", "V3_REF", "RA_REF", "DEC_REF", "ROLL_REF", "V3I_YANG", "VPARITY")  # of the exposures' own geometry


@dataclass
class Grid:
    """A cube's voxels.

    Attributes
    ----------
    centre : (float, float)
        Right ascension and declination [deg] of the middle spaxel's middle.
    scale : float
        Side of a spaxel, arcsec.
    half : (int, int)
        Columns and rows on each side of the middle one.
    turn : float
        Position angle of the second axis, degrees from north over east.
    wavelengths : float64 (plane,)
        Of the planes' middles, micron.
    step : float or None
        Between them, where it is always the same.
    """

    centre: tuple
    scale: float
    half: tuple
    turn: float
    wavelengths: np.ndarray
    step: float | None

    @property
    def shape(self):
        return len(self.wavelengths), 2 * self.half[1] + 1, 2 * self.half[0] + 1

    @property
    def steps(self):
        """Widths of the planes, micron: to the next one. The last, and one before a gap, is as wide as the one before."""
        between = np.diff(self.wavelengths)
        if not between.size:
            return np.array([self.step])
        widths, gaps = np.append(between, between[-1]), np.flatnonzero(between[1:] > GAP * between[:-1]) + 1
        widths[gaps] = between[gaps - 1]
        return widths

    @property
    def axes(self):
        """Middles of columns and rows, arcsec from the centre; of planes, micron."""
        x, y = ((np.arange(2 * n + 1) - n) * self.scale for n in self.half)
        return x, y, self.wavelengths

    def plane(self, ra, dec):
        """Places in the tangent plane, arcsec along the columns and rows: those of points on the sky [deg]."""
        xi, eta = tangent(self.centre, ra, dec)
        return turned(-xi, eta, self.turn)

    def spaxels(self, ra, dec):
        """The same in spaxels: column i reaches from i to i + 1."""
        return tuple(place / self.scale + (n + 0.5) for place, n in zip(self.plane(ra, dec), self.half, strict=True))


def tangent(centre, ra, dec):
    """Standard coordinates [arcsec], east and north, of points on the sky [deg] (Calabretta & Greisen 2002, A&A 395, 1077)."""
    ra0, dec0 = np.deg2rad(centre)
    away, dec = np.deg2rad(ra) - ra0, np.deg2rad(dec)
    sin, cos = np.sin(dec), np.cos(dec)
    cosine = np.cos(away)
    below = sin * np.sin(dec0) + cos * np.cos(dec0) * cosine
    east = cos * np.sin(away) / below
    north = (sin * np.cos(dec0) - cos * np.sin(dec0) * cosine) / below
    return np.rad2deg(east) * ARCSEC, np.rad2deg(north) * ARCSEC


def turned(x, y, angle):
    """Coordinates in axes that are turned by an angle [deg]."""
    if not angle:
        return x, y
    sin, cos = np.sin(np.deg2rad(angle)), np.cos(np.deg2rad(angle))
    return x * cos + y * sin, y * cos - x * sin


def make_grid(corners, settings, options, turn=0.0):
    """The grid that holds what the exposures see: symmetric about its middle spaxel.

    Parameters
    ----------
    corners : (float64 (n,), float64 (n,))
        Right ascension and declination [deg] of points that bound it.
    settings : Settings
    options : Options
        ra_center, dec_center, nspax_x, nspax_y.
    turn : float

    Raises
    ------
    InputError
        It would be larger than memory: says its size.
    """
    ra, dec = np.asarray(corners[0], float), np.asarray(corners[1], float)
    away = unwrapped(ra)
    middle = (0.5 * (away.min() + away.max())) % 360, 0.5 * (dec.min() + dec.max())
    centre = tuple(
        found if given is None else float(given) for given, found in zip((options.ra_center, options.dec_center), middle, strict=True)
    )
    grid = Grid(centre, float(settings.spaxel), (0, 0), turn, np.empty(0), None)
    reach = [float(np.abs(place).max()) for place in grid.plane(ra, dec)]
    asked = options.nspax_x, options.nspax_y
    grid.half = tuple(int(np.ceil(far / grid.scale)) + 1 if n is None else int(n) // 2 for far, n in zip(reach, asked, strict=True))
    if settings.table is not None:
        grid.wavelengths = settings.table
    else:
        low, high = settings.wavelengths
        grid.step = float(settings.step)
        planes = int(np.ceil((high - low) / grid.step))
        _check_memory((planes, *grid.shape[1:]))
        grid.wavelengths = low + grid.step / 2 + np.arange(planes) * grid.step
    _check_memory(grid.shape)
    return grid


def _check_memory(shape):
    needed = float(np.prod(shape, dtype=float)) * BYTES
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > there:
        planes, rows, columns = shape
        raise InputError(
            f"the cube would be {columns} x {rows} spaxels in {planes} planes, which takes {needed / 2**30:.0f} GiB of {there / 2**30:.0f}",
            do="Check scalexy, scalew, wavemin, wavemax, nspax_x and nspax_y of cube_build, and whether the exposures belong together",
        )


# --- what the file says of it ----------------------------------------------------------------------------------------


def gwcs_of(grid):
    """Pixels, from 0, to ICRS [deg] and wavelength [micron]."""
    import gwcs
    from astropy import units as u
    from astropy.modeling.models import Pix2Sky_TAN, Scale, Shift, Tabular1D
    from gwcs.coordinate_frames import CoordinateFrame

    from ..wcs.spectral import sky_frame

    if grid.step is None:
        spectral = Tabular1D(lookup_table=grid.wavelengths.astype(np.float32))
    else:
        spectral = Scale(grid.step) | Shift(float(grid.wavelengths[0]))
    scale = grid.scale / ARCSEC
    sky = gwcs.FITSImagingWCSTransform(
        Pix2Sky_TAN(), crpix=tuple(map(float, grid.half)), crval=grid.centre, cdelt=[scale, scale], pc=_matrix(grid)
    )
    kinds = ("SPATIAL", "SPATIAL", "SPECTRAL")
    pixels = CoordinateFrame(naxes=3, axes_type=kinds, axes_order=(0, 1, 2), unit=(u.pix,) * 3, axes_names=("x", "y", "z"), name="detector")
    made = gwcs.WCS([(pixels, sky & spectral), (sky_frame(), None)])
    made.bounding_box = tuple((0.0, n - 1.0) for n in grid.shape[::-1])
    return made


def _matrix(grid):
    sin, cos = np.sin(np.deg2rad(grid.turn)), np.cos(np.deg2rad(grid.turn))
    return np.array([[-cos, sin], [sin, cos]])


def set_keywords(header, grid):
    """Replace an exposure's geometry by the cube's.

    Parameters
    ----------
    header : exposure.Header
        Changed in place.
    grid : Grid
    """
    for keyword in (*OLD, "SPORDER", "CDELT3", "PS3_0", "PS3_1"):
        del header[keyword]
    matrix = _matrix(grid)
    values = {"WCSAXES": 3, "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CTYPE3": "WAVE" if grid.step else "WAVE-TAB"}
    values |= {"CUNIT1": "deg", "CUNIT2": "deg", "CUNIT3": "um", "RADESYS": "ICRS"}
    values |= {"CRPIX1": grid.half[0] + 1.0, "CRPIX2": grid.half[1] + 1.0, "CRPIX3": 1.0}
    values |= {"CRVAL1": grid.centre[0], "CRVAL2": grid.centre[1], "CRVAL3": float(grid.wavelengths[0]) if grid.step else 1.0}
    values |= {"CDELT1": grid.scale / ARCSEC, "CDELT2": grid.scale / ARCSEC}
    values |= {"CDELT3": grid.step} if grid.step else {"PS3_0": "WCS-TABLE", "PS3_1": "wavelength"}
    pc = np.eye(3)
    pc[:2, :2] = matrix
    values |= {f"PC{i + 1}_{j + 1}": float(pc[i, j]) for i in range(3) for j in range(3)}
    values |= {"PIXAR_A2": grid.scale**2, "PIXAR_SR": np.deg2rad(grid.scale / ARCSEC) ** 2}
    for keyword, value in values.items():
        header.sci[keyword] = value
        header.primary.remove(keyword, ignore_missing=True)


def region_of(wcs, grid):
    """S_REGION: the middles of the corner spaxels."""
    _, rows, columns = grid.shape
    x, y = np.array([columns - 1, columns - 1, 0.0, 0.0]), np.array([0.0, rows - 1, rows - 1, 0.0])
    ra, dec, _ = wcs(x, y, np.zeros(4), with_bounding_box=False)
    return polygon(np.column_stack([ra, dec]))


def wavelength_table(grid):
    """The extension WCS-TABLE: all wavelengths in one cell."""
    table = np.zeros(1, [("wavelength", np.float32, (len(grid.wavelengths), 1))])
    table["wavelength"][0, :, 0] = grid.wavelengths
    return table
