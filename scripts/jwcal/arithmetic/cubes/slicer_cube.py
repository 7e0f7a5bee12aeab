"""A cube in the coordinates of the slicer: a column a slice, and the pixels of one exposure laid onto rows and wavelengths."""

import logging

import numpy as np

from ...kernels.cubes.drizzle import drizzle
from ...kernels.cubes.voxels import finished
from ...model.exposure import Pixels
from ...vocabulary import dq as bits
from ...vocabulary.errors import ConfigError, InputError
from . import grid as grids
from .pixels import usable
from .settings import settings_of
from .slicer import Slicer
from .which import groups

log = logging.getLogger(__name__)

SLICES = 30
HALF = 0.5  # of a pixel
ARCSEC = 3600.0
DROPPED = ("S_REGION", "PIXAR_A2", "PIXAR_SR")  # keywords of the exposure that the cube has not


def slicer_cube(exposures, cubepar, optics, options):
    """The cube of one exposure.

    A pixel counts in a voxel of its slice with the part of it that lies there, in the plane of place along the slice and wavelength.

    Parameters
    ----------
    exposures : which.Exposures
        Of one exposure: of the sky, or of a lamp.
    cubepar : Reference
    optics : module
        `nirspec`.
    options : Options
        linear_wave, nspax_x and the like have no effect.

    Returns
    -------
    Exposure
        Suffix "s3d", (plane, row, col): wavelengths, half a slice's width along, slices across. In the unit of the exposure.

    Raises
    ------
    ConfigError
        There are several exposures.
    InputError
        No pixel of the exposure is in a slice.
    """
    if len(exposures.shells) != 1:
        raise ConfigError(
            f"cube_build: a cube in the coordinates of the slicer is of one exposure, there are {len(exposures.shells)}",
            do="Take coord_system ifualign, or one exposure",
        )
    bands = groups(exposures.bands, optics, options)[0]
    options.linear_wave, options.weighting = True, "drizzle"
    settings = settings_of(cubepar, optics, bands, 1, options)
    (exposure,) = exposures.each([0])
    pixels = exposure.pixels[0]
    slicer = Slicer(exposure.wcs, pixels.extra.get("REGIONS"))
    axes = _Axes(slicer, settings, exposure.name)
    sums = np.zeros((SLICES, axes.wavelength.size, axes.along.size, 4))
    good = usable(pixels)
    for number in slicer.pixels:
        _lay(slicer, number, pixels, good, axes, options.slicer_corners == "own", sums)
    sums = np.ascontiguousarray(np.moveaxis(sums, 0, 2))
    sci, err, count, flags = finished(sums, bits.DO_NOT_USE | bits.NON_SCIENCE)
    made = exposure.derive([Pixels(sci=sci, err=err, dq=flags, extra={"WMAP": count})], "s3d")
    made.wcs = axes.wcs()
    made.tables = {"WCS-TABLE": grids.wavelength_table(axes)}
    _describe(made.header, axes, _solid_angle(slicer, axes, exposure))
    if not exposures.alone:
        made.product = f"{optics.plain(exposures.product)}_{optics.name(bands)}_internal"
    log.info("%d slices in %d rows of %.4g m, %d planes", SLICES, axes.along.size, axes.step, axes.wavelength.size)
    return made


class _Axes:
    """The cube's axes.

    Attributes
    ----------
    across, along : float64 (SLICES,), (row,)
        Middles of columns and rows on the slicer [m].
    wavelength, wavelengths : float64 (plane,)
        micron.
    pitch, step, plane : float
        Of columns and rows [m], and of planes [micron].
    """

    def __init__(self, slicer, settings, name):
        across, reach = {}, 0.0
        for number in slicer.pixels:
            there, along, _ = slicer.at(number)
            if np.isfinite(along).any():
                across[column(number)] = float(np.nanmean(there))
                reach = max(reach, float(np.nanmax(np.abs(along))))
        if len(across) < 2:
            raise InputError("no pixel is in a slice", name, "Run assign_wcs")
        columns, places = np.array(sorted(across)), np.array([across[k] for k in sorted(across)])
        self.pitch, first = (float(value) for value in np.polyfit(columns, places, 1))
        self.across = first + self.pitch * np.arange(SLICES)
        self.step = abs(np.ptp(places) / SLICES / 2)  # as the archive's cubes have it: a little less than half of the slices' width
        half = int(np.ceil(reach / self.step))
        self.along = self.step * np.arange(-half, half + 1)
        low, high = settings.wavelengths
        self.plane = float(settings.step)
        planes = int(np.ceil((high - low) / self.plane))
        self.wavelength = (low + high) / 2 + (np.arange(planes) - (planes - 1) / 2) * self.plane
        self.wavelengths = self.wavelength

    def wcs(self):
        """Pixels, from 0, to the place on the slicer [m] and the wavelength [micron]."""
        import gwcs
        from astropy import units as u
        from astropy.modeling.models import Scale, Shift
        from gwcs.coordinate_frames import CoordinateFrame

        kinds = ("SPATIAL", "SPATIAL", "SPECTRAL")
        given = {"naxes": 3, "axes_type": kinds, "axes_order": (0, 1, 2)}
        pixels = CoordinateFrame(unit=(u.pix,) * 3, axes_names=("x", "y", "z"), name="detector", **given)
        slicer = CoordinateFrame(unit=(u.m, u.m, u.micron), axes_names=("x_slice", "y_slice", "lam"), name="slicer", **given)
        axes = ((self.pitch, self.across), (self.step, self.along), (self.plane, self.wavelength))
        x, y, z = (Scale(step) | Shift(float(values[0])) for step, values in axes)
        made = gwcs.WCS([(pixels, x & y & z), (slicer, None)])
        made.bounding_box = tuple((0.0, values.size - 1.0) for _, values in axes)
        return made


def column(number):
    """The column of a slice, from 0: slices are numbered, from 1, from the middle of the field outwards, to both sides in turn."""
    half, odd = divmod(number - 1, 2)
    return SLICES // 2 - 1 - half if odd else SLICES // 2 + half


def _lay(slicer, number, pixels, good, axes, own, sums):
    """Add the pixels of a slice to its plane of sums; `own`: a pixel reaches half of it to each side of its middle."""
    sides = (-HALF, HALF) if own else (0.0, 2 * HALF)
    corners = [
        slicer.at(number, right, up)
        for right, up in ((sides[0], sides[0]), (sides[1], sides[0]), (sides[1], sides[1]), (sides[0], sides[1]))
    ]
    along = np.stack([place[1] for place in corners], axis=1)
    wavelength = np.stack([place[2] for place in corners], axis=1) * slicer.micron
    index = slicer.pixels[number]
    take = np.isfinite(along).all(axis=1) & np.isfinite(wavelength).all(axis=1) & np.isfinite(slicer.at(number)[1]) & good[index]
    u = (along[take] - axes.along[0]) / axes.step + HALF
    v = (wavelength[take] - axes.wavelength[0]) / axes.plane + HALF
    area = np.abs(np.sum(u * np.roll(v, -1, axis=1) - v * np.roll(u, -1, axis=1), axis=1))
    limits = np.column_stack([np.zeros(area.size), area.min(initial=np.inf, where=area > 0) / area])  # so that the part of a pixel counts
    k = column(number)
    values = (plane.ravel()[index[take]] for plane in (pixels.sci, pixels.err))
    drizzle(np.ascontiguousarray(u), np.ascontiguousarray(v), limits, *values, np.zeros(1), np.ones(1), sums[k : k + 1])


def _solid_angle(slicer, axes, exposure):
    """Of a voxel [arcsec2], by the optics in the middle of the field; None for a lamp."""
    if exposure.wcs.output_frame.name != "world":
        return None
    metres = np.full(3, slicer.middle())
    ra, dec, _ = slicer.onward(np.array([0.0, axes.pitch, 0.0]), np.array([0.0, 0.0, axes.step]), metres)
    x, y = grids.tangent((ra[0], dec[0]), ra[1:], dec[1:])
    return float(abs(x[0] * y[1] - x[1] * y[0]))


def _describe(header, axes, area):
    """Keywords of the cube."""
    for keyword in (*grids.OLD, *DROPPED, "SPORDER", "PS3_0", "PS3_1"):
        del header[keyword]
    values = {"WCSAXES": 3, "CTYPE1": "NRSSLICERX", "CTYPE2": "NRSSLICERY", "CTYPE3": "WAVE", "CUNIT1": "meter", "CUNIT2": "meter"}
    values |= {"CUNIT3": "um", "CRPIX1": 1.0, "CRPIX2": 1.0, "CRPIX3": 1.0}
    values |= {f"CRVAL{n}": float(v[0]) for n, v in enumerate((axes.across, axes.along, axes.wavelength), start=1)}
    values |= {"CDELT1": axes.pitch, "CDELT2": axes.step, "CDELT3": axes.plane}
    values |= {f"PC{i}_{j}": float(i == j) for i in (1, 2, 3) for j in (1, 2, 3)}
    if area is not None:
        values |= {"PIXAR_A2": area, "PIXAR_SR": area * np.deg2rad(1 / ARCSEC) ** 2}
    for keyword, value in values.items():
        header.sci[keyword] = value
        header.primary.remove(keyword, ignore_missing=True)
    header.primary["WTYPE"] = ("drizzle", "Weighting type")
    for keyword in ("WPOWER", "ROIS", "ROIW"):
        header.primary[keyword] = 0.0
