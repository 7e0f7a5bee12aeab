"""Cubes of some exposures: planned, summed up exposure by exposure, finished."""

import logging
import os
from dataclasses import dataclass

import numpy as np

from ...kernels.cubes.drizzle import COUNT, FLUX, WEIGHT, drizzle
from ...kernels.cubes.shepard import shepard
from ...kernels.cubes.voxels import finished
from ...model.exposure import Pixels
from ...vocabulary import dq as bits
from ...vocabulary.errors import ConfigError, InputError
from ..resample.blend import blended, header_table, science_keywords
from ..resample.output_wcs import sky_polygons
from . import grid as grids
from . import offsets
from .pixels import usable
from .settings import settings_of
from .slicer_cube import slicer_cube
from .which import Exposures, groups, nearest, side_by_side

log = logging.getLogger(__name__)

TORN = 0.75  # of the voxels that planes usually have: one with fewer lacks slices
USUAL = 3  # percentile of the planes' voxels that is what they usually have
NO_SPAXEL = (-1, -1, -1)
UNSEEN = bits.DO_NOT_USE | bits.NON_SCIENCE


@dataclass
class Cube:
    """One cube on its way.

    Attributes
    ----------
    bands : list of (str, str)
    numbers : dict
        Band -> numbers of the exposures.
    settings : settings.Settings
    grid : grid.Grid
    sums : float64 (plane, row, col, 4)
        While it is summed up.
    """

    bands: list
    numbers: dict
    settings: object
    grid: object
    sums: np.ndarray = None

    @property
    def exposures(self):
        """Numbers of its exposures, those of the first band first."""
        return list(dict.fromkeys(number for band in self.bands for number in self.numbers[band]))


def cubes(members, cubepar, optics, options):
    """The cubes of some exposures; arguments and errors are those of `steps.cube_build`.

    Parameters
    ----------
    members : Exposure, exposure.Members or iterable of Exposure
    cubepar : Reference
    optics : module
        `mrs` or `nirspec`.
    options : Options

    Returns
    -------
    list of Exposure
    """
    if options.coord_system == "internal_cal" and not optics.INTERNAL:
        raise ConfigError("cube_build: there are no cubes in the coordinates of this instrument's slicer", do="Take coord_system ifualign")
    if options.cube_pa is not None and options.coord_system != "skyalign":
        raise ConfigError(f"cube_build: cube_pa with coord_system {options.coord_system}, which has its own", do="Give one of the two")
    spaxel = _spaxel(options.debug_spaxel)
    exposures = Exposures(members, optics)
    if options.coord_system == "internal_cal":
        return [slicer_cube(exposures, cubepar, optics, options)]
    shifts = offsets.read(options.offset_file, exposures.shells) if options.offset_file else None
    planned = [_planned(bands, exposures, cubepar, optics, options, shifts) for bands in groups(exposures.bands, optics, options)]
    made = {}
    for together in side_by_side(planned, lambda cube: cube.exposures):
        for cube in together:
            cube.sums = np.zeros((*cube.grid.shape, 4))
        order = list(dict.fromkeys(number for cube in together for number in cube.exposures))
        for number, exposure in zip(order, exposures.each(order), strict=True):
            for cube in together:
                before = cube.sums[spaxel].copy() if spaxel else None
                _add(cube, exposure, number, optics, options, shifts)
                if spaxel:
                    _tell(exposure.name, cube.sums[spaxel] - before, spaxel)
        for cube in together:
            made[id(cube)] = _finish(cube, exposures, optics, options)
    results = [made[id(cube)] for cube in planned]
    _name(results, planned, exposures, optics)
    return results


def _spaxel(text):
    """Plane, row and column that "x y z" says; None where it says none."""
    try:
        x, y, z = (int(part) for part in str(text).split())
    except ValueError:
        raise ConfigError(f"debug_spaxel of cube_build is {text!r}", do="Give column, row and plane, from 0: '12 20 300'") from None
    return None if (x, y, z) == NO_SPAXEL else (z, y, x)


def _tell(name, more, spaxel):
    mean = more[FLUX] / more[WEIGHT] if more[WEIGHT] else np.nan
    log.info("%s: %d pixels in plane %d, row %d, column %d, mean %.6g", name, int(more[COUNT]), *spaxel, mean)


def _planned(bands, exposures, cubepar, optics, options, shifts):
    """A cube's settings and grid."""
    numbers = {band: exposures.bands[band] for band in bands}
    settings = settings_of(cubepar, optics, bands, sum(map(len, numbers.values())), options)
    corners = []
    for band in bands:
        for number in numbers[band]:
            found = _corners(exposures.shells[number], band, bands, optics, options)
            if found is None:
                log.warning("%s: no pixel looks at the sky in %s", exposures.shells[number].name, "-".join(band))
            else:
                corners.append(found if shifts is None else offsets.shifted(*found, shifts[number]))
    if not corners:
        raise InputError("no pixel looks at the sky", exposures.shells[0].name, "Look at its WCS")
    turn = options.cube_pa or 0.0
    if options.coord_system == "ifualign":
        turn = optics.turn(exposures.shells[numbers[bands[0]][0]].wcs, bands[0])
    grid = grids.make_grid(np.concatenate(corners, axis=1), settings, options, turn)
    if not 0 <= np.ptp(np.concatenate(corners, axis=1)[1]) < 5:
        raise InputError("the exposures lie degrees apart", exposures.shells[0].name, "Leave those out that are not of this target")
    planes, rows, columns = grid.shape
    log.info("%s: %d x %d spaxels of %.4g arcsec, %d planes", optics.name(bands), columns, rows, grid.scale, planes)
    return Cube(bands, numbers, settings, grid)


def _corners(shell, band, bands, optics, options):
    """Points that bound what an exposure sees: its S_REGION where that is the cube's field, or else those of its pixels."""
    region = shell.header.get("S_REGION")
    upright = options.coord_system == "skyalign" and options.cube_pa is None
    if upright and region and optics.whole_field(bands, options.output_type) and shell.header.get("TARGTYPE") != "MOVING":
        return tuple(sky_polygons(region)[0].T)
    return optics.corners(shell.wcs, band)


def _add(cube, exposure, number, optics, options, shifts):
    """Add what an exposure has in the cube's bands."""
    pixels, grid = exposure.pixels[0], cube.grid
    good = None
    for band in (band for band in cube.bands if number in cube.numbers[band]):
        by_area = options.weighting == "drizzle"
        seen = optics.looks(exposure.wcs, band, by_area, pixels.extra.get("REGIONS"))
        good = usable(pixels) if good is None else good
        seen = seen.take(good[seen.index])
        if grid.step is None:
            low, high = (grid.wavelengths[end] + sign * grid.steps[end] for end, sign in ((0, -1), (-1, 1)))
            reach = 0.0 if by_area else float(np.max(cube.settings.reach))
            seen = seen.take((seen.wavelength >= low - reach) & (seen.wavelength <= high + reach))
        if not seen.index.size:
            log.warning("%s: no pixel has a value at the cube's wavelengths in %s", exposure.name, "-".join(band))
            continue
        if shifts is not None:
            seen.ra, seen.dec = offsets.shifted(seen.ra, seen.dec, shifts[number])
            if by_area:
                seen.corners = offsets.shifted(*seen.corners, shifts[number])
        flux, error = pixels.sci.ravel()[seen.index], pixels.err.ravel()[seen.index]
        if by_area:
            _drizzle(cube, seen, flux, error)
        else:
            _weigh(cube, seen, flux, error, options.weighting == "emsm")


def _drizzle(cube, seen, flux, error):
    u, v = (np.ascontiguousarray(places.T) for places in cube.grid.spaxels(*seen.corners))
    limits = np.column_stack([seen.wavelength - seen.width / 2, seen.wavelength + seen.width / 2])
    half = cube.grid.steps / 2
    drizzle(u, v, limits, flux, error, cube.grid.wavelengths - half, cube.grid.wavelengths + half, cube.sums)


def _weigh(cube, seen, flux, error, exponential):
    settings, grid = cube.settings, cube.grid
    given = settings.radius, settings.reach, settings.power, settings.softness
    if grid.step is None:
        at = nearest(grid.wavelengths, seen.wavelength)
        radius, reach, power, softness = (values[at] for values in given)
    else:
        radius, reach, power, softness = (np.full(seen.index.size, float(value)) for value in given)
    places = np.column_stack([*grid.plane(seen.ra, seen.dec), seen.wavelength])
    if exponential:
        softness = softness / grid.scale
    region = np.column_stack([radius, reach])
    shepard(grid.axes, (grid.scale, grid.scale), grid.steps, places, flux, error, region, power, softness, exponential, cube.sums)


def _finish(cube, exposures, optics, options):
    """A cube as an exposure."""
    sci, err, number, flags = finished(cube.sums, UNSEEN)
    cube.sums = None
    if optics.TORN:
        _mend(sci, err, number, flags)
    among = [exposures.shells[number] for number in cube.exposures]
    made = among[0].derive([Pixels(sci=sci, err=err, dq=flags, extra={"WMAP": number})], "s3d")
    made.wcs = grids.gwcs_of(cube.grid)
    made.tables = {"WCS-TABLE": grids.wavelength_table(cube.grid)}
    _describe(made, among, len(exposures.shells) > 1, cube, optics, options)
    log.info("%s: %.1f %% of the voxels have a value", optics.name(cube.bands), 100 * float(np.mean(flags == 0)))
    return made


def _mend(sci, err, number, flags):
    """Take out planes at the ends of bands that have far fewer voxels than planes usually have: some slices do not reach them."""
    counts = np.count_nonzero(flags == 0, axis=(1, 2))
    if not counts.any():
        return
    torn = np.flatnonzero((counts > 0) & (counts < TORN * np.percentile(counts[counts > 0], USUAL)))
    sci[torn], err[torn], number[torn], flags[torn] = np.nan, np.nan, 0, UNSEEN
    if torn.size:
        log.info("%d planes at the ends of bands are left out: not all slices reach them", torn.size)


def _describe(made, among, blend, cube, optics, options):
    """Keywords of a cube."""
    header = made.header
    if blend:
        headers = [shell.header for shell in among]
        made.tables["HDRTAB"] = header_table(headers)
        for keyword, value in blended(headers).items():
            if value is None:
                del header[keyword]
            elif keyword in science_keywords() and keyword not in header:
                header.sci[keyword] = value
            else:
                header[keyword] = value
    for moving, target in (("MT_AVRA", "TARG_RA"), ("MT_AVDEC", "TARG_DEC")):  # the cube is in the frame of the mean place
        if header.get(moving) is not None and header.get("TARGTYPE") == "MOVING":
            header[target] = header[moving]
    grids.set_keywords(header, cube.grid)
    region = grids.region_of(made.wcs, cube.grid)
    if region:
        header.sci["S_REGION"] = (region, "spatial extent of the observation")
    by_area = options.weighting == "drizzle"
    header.primary["WTYPE"] = (options.weighting, "Weighting type")
    header.primary["WPOWER"] = (0.0 if by_area else float(np.mean(cube.settings.power)), "Weighting power")
    header.primary["ROIS"] = (0.0 if by_area else float(np.mean(cube.settings.radius)), "[arcsec] Size of ROI in spatial dimension")
    header.primary["ROIW"] = (0.0 if by_area else float(np.mean(cube.settings.reach)), "[um] Size of ROI in wavelength dimension")
    for keyword, value in optics.keywords(cube.bands).items():
        header[keyword] = value


def _name(results, planned, exposures, optics):
    """The cubes of an association have the bands in their names; of one exposure all but the first."""
    root = exposures.product or os.path.basename(exposures.shells[0].name).rpartition("_")[0]
    root = optics.plain(root) if hasattr(optics, "plain") else root
    for number, (result, cube) in enumerate(zip(results, planned, strict=True)):
        if number or not exposures.alone:
            result.product = f"{root}_{optics.name(cube.bands)}"
