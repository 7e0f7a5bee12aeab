"""What the cubepar reference says of a cube: spaxels, wavelengths, regions of interest."""

from dataclasses import dataclass

import numpy as np

from ...files.reference_file import another, understood
from ...vocabulary.errors import ConfigError, ReferenceError

FEW = 4  # exposures; with fewer the region of interest is wider
WIDER = 1.5
SHEPARD = {  # columns of the two ways to weigh: radius, wavelengths, power, softness
    "msm": ("ROISPATIAL", "ROISPECTRAL", "POWER", "SOFTRAD"),
    "emsm": ("ROISPATIAL", "ROISPECTRAL", None, "SCALERAD"),
}


@dataclass
class Settings:
    """Of one cube.

    Attributes
    ----------
    spaxel : float
        Side, arcsec.
    step : float
        Of the wavelengths, micron.
    wavelengths : (float, float)
        Lowest and highest, micron.
    table : float64 (plane,) or None
        Wavelengths of the planes, where they are not at equal steps.
    radius, reach, power, softness : float, or float64 (plane,) with a table
        Region of interest [arcsec], [micron], and the weight in it; for msm and emsm.
    """

    spaxel: float
    step: float
    wavelengths: tuple
    table: np.ndarray | None = None
    radius: object = 0.0
    reach: object = 0.0
    power: object = 2.0
    softness: object = 0.0


def settings_of(cubepar, optics, bands, files, options):
    """The settings of a cube.

    Parameters
    ----------
    cubepar : Reference
        Table CUBEPAR, for msm and emsm also CUBEPAR_MSM or _EMSM, and with tables of wavelengths those of `optics.table_of`.
    optics : module
        `mrs` or `nirspec`.
    bands : list of (str, str)
    files : int
        Exposures in the cube, counted in each band.
    options : Options

    Raises
    ------
    ReferenceError
        The reference has no row for a band, or not what is needed.
    """
    rows = [_row(cubepar, "CUBEPAR", optics, band) for band in bands]
    sizes, steps, low, high = (
        np.array([row[name] for row in rows], float) for name in ("SPAXELSIZE", "SPECTRALSTEP", "WAVEMIN", "WAVEMAX")
    )
    wanted = [given if given is not None else found for given, found in ((options.wavemin, low.min()), (options.wavemax, high.max()))]
    if not wanted[0] < wanted[1]:
        what = f"cube_build: wavelengths from {wanted[0]:g} to {wanted[1]:g} micron"
        raise ConfigError(what, do="Give wavemin and wavemax in micron, the lower one first")
    found = Settings(options.scalexy or sizes.min(), options.scalew or steps.min(), tuple(map(float, wanted)))
    if not (found.spaxel > 0 and found.step > 0):
        raise ReferenceError("the cubepar reference has no sizes of voxels for these bands", cubepar.path, another("cubepar"))
    if options.linear_wave:
        if options.weighting in SHEPARD:
            _shepard(found, cubepar, optics, bands, int(np.argmin(sizes)), files, options)
    else:
        _table(found, cubepar, optics.table_of(bands, options.weighting), files, options)
    return found


def _row(cubepar, extension, optics, band):
    table = _named(cubepar, extension)
    same = np.ones(len(table), bool)
    for column, value in zip(optics.COLUMNS, band, strict=True):
        same &= np.char.lower(np.char.strip(table[column].astype(str))) == value
    if same.sum() != 1:
        what = f"the cubepar reference has {same.sum()} rows for {' '.join(band)} in {extension}, one is needed"
        raise ReferenceError(what, cubepar.path, another("cubepar"))
    return {name: table[name][same][0] for name in table.dtype.names}


def _named(cubepar, extension):
    """A table whose columns are in capitals."""
    table = cubepar.table(extension)
    with understood("cubepar", cubepar.path):
        return table.view([(name.upper(), kind[0]) for name, kind in table.dtype.fields.items()])


def _shepard(found, cubepar, optics, bands, finest, files, options):
    names = SHEPARD[options.weighting]
    rows = [_row(cubepar, f"CUBEPAR_{options.weighting.upper()}", optics, band) for band in bands]
    with understood("cubepar", cubepar.path):
        radius, reach, power, softness = ([float(row[name]) for row in rows] if name else [2.0] for name in names)
    found.radius = options.rois or radius[finest] * (WIDER if files < FEW and options.weighting == "msm" else 1)
    found.reach = options.roiw or (min(reach) if options.scalew else reach[0])
    found.power = options.weight_power or (min(power) if options.scalew else power[0])
    found.softness = min(softness) if options.scalew else softness[0]
    if not np.isfinite([found.radius, found.reach, found.power, found.softness]).all():
        raise ReferenceError("the cubepar reference has no region of interest for these bands", cubepar.path, another("cubepar"))


def _table(found, cubepar, extension, files, options):
    """Wavelengths of the reference's table, those just beyond the limits included."""
    table = _named(cubepar, extension)
    with understood("cubepar", cubepar.path):
        at = table["WAVELENGTH"].astype(float)
        first, last = (int(np.argmin(np.abs(at - limit))) for limit in found.wavelengths)
        first -= first > 1 and at[first] > found.wavelengths[0]
        last += last < at.size - 1 and found.wavelengths[1] > at[last]
        found.table = at[first : last + 1]
        if found.table.size < 2 or not (np.diff(found.table) > 0).all():
            raise ValueError("its wavelengths do not rise, or there are fewer than two")
        if options.weighting in SHEPARD:
            columns = [
                table[name][first : last + 1].astype(float) if name else np.full(found.table.size, 2.0)
                for name in SHEPARD[options.weighting]
            ]
            found.radius, found.reach, found.power, found.softness = columns
            found.radius = found.radius * (WIDER if files < FEW else 1)
    if options.weighting in SHEPARD:
        found.radius = np.full(found.table.size, options.rois) if options.rois else found.radius
        found.reach = np.full(found.table.size, options.roiw) if options.roiw else found.reach
        if not np.isfinite([found.radius, found.reach, found.power, found.softness]).all():
            raise ReferenceError("the cubepar reference has no region of interest for these wavelengths", cubepar.path, another("cubepar"))
