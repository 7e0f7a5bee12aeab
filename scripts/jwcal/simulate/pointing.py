"""Where the pixels look: aperture, distortion, attitude and velocity aberration, from the SIAF.

The chain is the telescope's own (JWST-STScI-001550): science pixel -> ideal [arcsec] by the SIAF's polynomials -> V2, V3 by a rotation
in the plane -> the aberrated V2, V3, a scaling about the reference point -> RA, Dec by the attitude matrix.
The inverse is by Newton's method on the forward polynomials: the SIAF's own inverse ones are good to a few thousandths of a pixel.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from . import instruments

ARCSEC = np.pi / 180 / 3600


@dataclass(frozen=True)
class Error:
    """By how much the telescope misses what it was told and the header says.

    What is seen at a pixel lies `east`, `north` [arcsec] of where the header's WCS puts it, and is turned by `roll` [deg, east of north]
    about the target. It is of the whole telescope: all detectors of an exposure share it.
    """

    east: float = 0.0
    north: float = 0.0
    roll: float = 0.0

    def __bool__(self):
        return bool(self.east or self.north or self.roll)


@dataclass(frozen=True)
class Pointing:
    """The sky as one detector sees it at one moment.

    Attributes
    ----------
    v2_ref, v3_ref : arcsec, reference point of the exposure's aperture
    v3i_yang : deg, from V3 to the aperture's ideal y axis
    ra_ref, dec_ref, roll_ref : deg, of the reference point; roll is that of V3, east of north
    va_scale : velocity aberration
    xref, yref : the aperture's reference pixel in the subarray, from 1
    """

    setup: instruments.Setup
    v2_ref: float
    v3_ref: float
    vparity: int
    v3i_yang: float
    ra_ref: float
    dec_ref: float
    roll_ref: float
    va_scale: float
    xref: float
    yref: float
    xscale: float  # arcsec
    yscale: float

    @property
    def attitude(self):
        """Matrix from V2, V3 to the sky."""
        return rotations().attitude(self.v2_ref, self.v3_ref, self.ra_ref, self.dec_ref, self.roll_ref)

    @property
    def pa_aper(self):
        return (self.roll_ref - self.vparity * self.v3i_yang) % 360

    def pixel_to_v2v3(self, x, y):
        """V2, V3 [arcsec] of pixels of the subarray (from 0)."""
        return self.setup.geometry.sci_to_tel(*self._full(x, y))

    def pixel_to_sky(self, x, y):
        """RA, Dec [deg] of pixels of the subarray; the centre of the first one is (0, 0)."""
        v2, v3 = self.pixel_to_v2v3(x, y)
        s = self.va_scale
        return rotations().pointing(self.attitude, s * v2 + (1 - s) * self.v2_ref, s * v3 + (1 - s) * self.v3_ref)

    def sky_to_pixel(self, ra, dec):
        """Pixels of the subarray (from 0) of positions on the sky [deg]; NaN where the other side of the sky is."""
        v2, v3 = rotations().getv2v3(self.attitude, np.atleast_1d(ra), np.atleast_1d(dec))
        s = self.va_scale
        v2, v3 = (v2 - (1 - s) * self.v2_ref) / s, (v3 - (1 - s) * self.v3_ref) / s
        full = self.setup.geometry
        x, y = _invert(full, *full.tel_to_idl(v2, v3))
        sub = self.setup.subarray
        return x - sub.xstart, y - sub.ystart

    def area(self):
        """Area of each pixel over the nominal one (`nominal_area`), (row, col), not to be changed, and the nominal one [arcsec^2]."""
        nominal = nominal_area(self.setup)
        return _areas(self.setup.instrument, self.setup.geometry.AperName, self.setup.subarray) / nominal, nominal

    def corners(self):
        """RA, Dec [deg] of the four outer corners, counter-clockwise on the detector from the lower left."""
        sub = self.setup.subarray
        x = np.array([0, sub.xsize, sub.xsize, 0]) - 0.5
        y = np.array([0, 0, sub.ysize, sub.ysize]) - 0.5
        if self.setup.imaging:
            return self.pixel_to_sky(x, y)
        aperture = instruments.siaf(self.setup.instrument)[self.setup.aperture]
        return rotations().pointing(self.attitude, *aperture.corners("tel", rederive=False))

    def _full(self, x, y):
        sub = self.setup.subarray
        return np.asarray(x, float) + sub.xstart, np.asarray(y, float) + sub.ystart


def point(setup, target, *, roll=0.0, dither=(0.0, 0.0), aim=None, va_scale=1.0, error=None):
    """Point the telescope.

    Parameters
    ----------
    setup : instruments.Setup
    target : (RA, Dec) [deg]
    roll : float
        V3 angle at the target, east of north [deg].
    dither : (x, y)
        Where in the aim's ideal frame the target falls [arcsec].
    aim : str, optional
        The aperture in which the target is put; by default the exposure's own. Several detectors that observe together have the same one.
    va_scale : float
    error : Error, optional
        What the telescope does beside: the result is where it really looks.

    Returns
    -------
    Pointing
    """
    if error:
        target, roll = moved(target, error.east, error.north), roll + error.roll
    apertures = instruments.siaf(setup.instrument)
    own, aimed = apertures[setup.aperture], apertures[aim or setup.aperture]
    turn = rotations()
    v2, v3 = aimed.idl_to_tel(*(float(d) for d in dither))
    attitude = turn.attitude(v2, v3, *target, roll)
    # a target in the middle of the aim: the first look gives the attitude, its own reference point the keywords
    ra, dec = turn.pointing(attitude, own.V2Ref, own.V3Ref)
    xref, yref = reference_pixel(setup, own)
    return Pointing(
        setup,
        own.V2Ref,
        own.V3Ref,
        int(own.VIdlParity),
        own.V3IdlYAngle,
        float(ra),
        float(dec),
        float(turn.posangle(attitude, own.V2Ref, own.V3Ref)) % 360,
        va_scale,
        xref,
        yref,
        *(_scales(setup, own)),
    )


@lru_cache(maxsize=4)
def _areas(instrument, aperture, sub):
    """Area of each pixel of a subarray [arcsec^2], (row, col)."""
    full = instruments.siaf(instrument)[aperture]
    x, y = np.meshgrid(np.arange(sub.xsize, dtype=float) + sub.xstart, np.arange(sub.ysize, dtype=float) + sub.ystart)
    dx = np.subtract(full.sci_to_idl(x + 0.5, y), full.sci_to_idl(x - 0.5, y))
    dy = np.subtract(full.sci_to_idl(x, y + 0.5), full.sci_to_idl(x, y - 0.5))
    return np.abs(dx[0] * dy[1] - dx[1] * dy[0])


def moved(place, east, north):
    """A position [deg] moved by some arcsec."""
    ra, dec = place
    return (ra + east / 3600 / np.cos(np.radians(dec))) % 360, dec + north / 3600


def draw_errors(number, rms, roll=0.0, seed=1):
    """Pointing errors of that many exposures.

    Parameters
    ----------
    number : int
    rms : float
        Of each coordinate [arcsec].
    roll : float
        deg.

    Returns
    -------
    list of Error
    """
    rng = np.random.default_rng([seed, 577])
    return [Error(*(rms * rng.standard_normal(2)).tolist(), roll * rng.standard_normal()) for _ in range(number)]


def error_of_pixels(look, dx, dy, place):
    """The pointing error that puts what is at a place on the sky (RA, Dec) dx, dy pixels from where the header's WCS has it."""
    x, y = (float(c[0]) for c in look.sky_to_pixel(*place))
    ra, dec = look.pixel_to_sky(x + dx, y + dy)
    return Error(float((place[0] - ra + 180) % 360 - 180) * 3600 * np.cos(np.radians(place[1])), float(place[1] - dec) * 3600)


def nominal_area(setup):
    """Product of the pixel's two sizes at the detector's reference point [arcsec^2]."""
    full = setup.geometry
    return (full.XSciScale or 0.1) * (full.YSciScale or 0.1)


def _scales(setup, own):
    full = setup.geometry
    return (own.XSciScale or full.XSciScale or 0.1), (own.YSciScale or full.YSciScale or 0.1)


def reference_pixel(setup, own=None):
    """The aperture's reference point, in pixels of the subarray from 1; by default that of the setup's own aperture."""
    own = own or instruments.siaf(setup.instrument)[setup.aperture]
    if own.XSciRef is None:
        return 0.0, 0.0
    full = setup.geometry
    if setup.guider or own.XDetRef is None:
        return own.XSciRef, own.YSciRef
    x, y = full.det_to_sci(own.XDetRef, own.YDetRef)
    sub = setup.subarray
    return round(float(x - sub.xstart + 1), 6), round(float(y - sub.ystart + 1), 6)


def _invert(aperture, xidl, yidl, iterations=5):
    """Science pixels (from 1) of ideal coordinates, by Newton's method; far outside the detector, where it fails, NaN."""
    x, y = (np.asarray(c, float) for c in aperture.idl_to_sci(xidl, yidl))
    inside = (np.abs(x) < 8000) & (np.abs(y) < 8000)
    x, y = np.where(inside, x, np.nan), np.where(inside, y, np.nan)
    models = aperture.distortion_transform("sci", "idl")  # once, not at each look

    def ideal(x, y):
        return tuple(model(x - aperture.XSciRef, y - aperture.YSciRef) for model in models)

    for _ in range(iterations):
        fx, fy = ideal(x, y)
        (ax, ay), (bx, by) = ideal(x + 0.5, y), ideal(x, y + 0.5)
        (cx, cy), (dx, dy) = ideal(x - 0.5, y), ideal(x, y - 0.5)
        xx, yx, xy, yy = ax - cx, ay - cy, bx - dx, by - dy
        det = xx * yy - xy * yx
        rx, ry = xidl - fx, yidl - fy
        x, y = x + (yy * rx - xy * ry) / det, y + (xx * ry - yx * rx) / det
    return x, y


def rotations():
    """pysiaf's module of attitude matrices."""
    instruments.siaf("NIRCAM")  # imports pysiaf without its question to the server
    from pysiaf.utils import rotations

    return rotations
