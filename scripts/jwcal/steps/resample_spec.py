"""Put the spectra of a slit onto one rectified grid: the place along the slit on one axis, the wavelength on the other."""

import logging
from typing import Annotated, Literal

from ..arithmetic.align.groups import moments_of
from ..arithmetic.resample.blend import describe_sum
from ..arithmetic.resample.drizzle_images import fill_value
from ..arithmetic.resample.spectral_drizzle import add_slit, slit_mosaic
from ..arithmetic.resample.spectral_inputs import SlitInputs, check_slits
from ..arithmetic.resample.spectral_keywords import describe
from ..model.exposure import Exposure
from ..vocabulary.errors import ConfigError
from ..vocabulary.parameters import Range

log = logging.getLogger(__name__)


def apply(
    exposure,
    refs=None,
    *,
    pixfrac: Annotated[float, Range(min=0, max=1)] = 1.0,
    kernel: Literal["square", "point"] = "square",
    fillval: str = "NAN",
    weight_type: Literal["ivm", "exptime"] | None = "ivm",
    output_shape: list | None = None,
    pixel_scale_ratio: float = 1.0,
    pixel_scale: float | None = None,
    output_wcs: str = "",
    single: bool = False,
    blendheaders: bool = True,
    in_memory: bool = True,
    error_of: Literal["pixel", "area"] = "pixel",
    propagate_dq: bool = False,
):
    """Rectify the slits of one exposure, or combine those of several.

    The rows (or columns) of the result are wavelengths as the detector has them, its columns (rows) places along the slit. Surface
    brightness is kept; where the unit is that of all light of a pixel, its sum is. Values are averaged with their weights, and their
    variances with the squares of these; for `error_of` see `resample`.

    Parameters
    ----------
    exposure : Exposure, exposure.Members or iterable of Exposure
        2-D images of slits, with a gWCS to the sky and wavelength and DISPAXIS. Members are opened one at a time. They are left as they
        are. Slits of several exposures belong together by SOURCEID.
    refs
        None are needed.
    pixfrac : float
        Side of the drop that a pixel is shrunk to, in pixels.
    kernel : str
        Shape of the drop.
    fillval : str
        Value of pixels that no image covers.
    weight_type : {"ivm", "exptime", None}
        Inverse variance of the read noise, measurement time, or the same for all.
    output_shape : [int, int]
        Columns and rows; for output_wcs only.
    pixel_scale_ratio : float
        Scale along the slit of the first input in units of the result's: above 1, the result is finer.
    pixel_scale : float
        Scale of the result along the slit, arcsec; pixel_scale_ratio is ignored then.
    output_wcs : str
        ASDF file with a gWCS under `wcs`, in place of all the above about the grid.
    single : bool
        One result for each group of exposures that were taken at once; ERR is then drizzled as SCI is, without variances.
    blendheaders : bool
        Blend the keywords of several inputs and list them in HDRTAB. One Exposure alone keeps its own.
    in_memory : bool
        Without effect: one input is in memory at a time anyway, where they come from files.
    error_of : {"pixel", "area"}
        What the variances and ERR are for: the scatter of a pixel, or sums over areas.
    propagate_dq : bool
        Give each pixel the OR of the flags of those that went into it.

    Returns
    -------
    Exposure, or list of Exposure with `single`
        A grid a source, with extra planes WAVELENGTH [micron], WHT, CON.

    Raises
    ------
    Skip
        The data are no 2-D images.
    InputError
        A keyword or WCS is missing.
    ConfigError
        A parameter can't be used.
    """
    if not pixel_scale_ratio > 0 or (pixel_scale is not None and not pixel_scale > 0):
        raise ConfigError("pixel_scale and pixel_scale_ratio of resample_spec have to be above 0", do="Correct them")
    blend = blendheaders and not isinstance(exposure, Exposure)
    inputs = SlitInputs(exposure)
    inputs.make_grids(ratio=pixel_scale_ratio, scale=pixel_scale, path=output_wcs, output_shape=_pair(output_shape))
    drizzle = {
        "kernel": kernel,
        "pixfrac": pixfrac,
        "fillval": fill_value(fillval, "resample_spec"),
        "weight_type": weight_type,
        "flags": propagate_dq,
    }
    drizzle |= {"weight_box": 0, "context": True, "errors": "drizzled" if single else f"of {error_of}s"}
    numbers = range(len(inputs))
    groups = list(dict.fromkeys(inputs.groups)) if single else [None]
    results = []
    for group in groups:
        among = [number for number in numbers if group is None or inputs.groups[number] == group]
        sources = [source for source in inputs.sources if any(number in among for number, _ in source.places)]
        mosaics = _add(inputs, among, sources, drizzle)
        result = inputs.shells[among[0]].derive([], "s2d")
        for source, mosaic in zip(sources, mosaics, strict=True):
            result.pixels.append(_finish(result, source, mosaic, alone=len(sources) == 1))
        headers = [inputs.shells[number].header for number in among]
        keywords = {"RESWHT": weight_type, "PIXFRAC": pixfrac, "PXSCLRT": sources[0].grid.ratio}
        describe_sum(result, headers, moments_of(headers), blend, **keywords)
        results.append(result)
    return results if single else results[0]


def _pair(shape):
    if shape is None or all(value is None for value in shape):
        return None
    if len(shape) != 2 or not all(isinstance(value, int) and value > 0 for value in shape):
        raise ConfigError(f"output_shape of resample_spec is {list(shape)}", do="Give columns and rows, both above 0")
    return tuple(shape)


def _add(inputs, among, sources, drizzle):
    """Drizzle the slits of some exposures onto the grids of their sources: a Mosaic a source."""
    mosaics, wanted = [], {}
    for which, source in enumerate(sources):
        here = [place for place in source.places if place[0] in among]
        mosaics.append(slit_mosaic(source.grid, len(here), **drizzle))
        for number, slit in here:
            wanted.setdefault(number, []).append((which, slit))
    for number, exposure in zip(among, inputs.each(among), strict=True):
        check_slits(exposure)
        slits = list(exposure.slits())
        for which, slit in wanted.get(number, ()):
            add_slit(mosaics[which], slits[slit], sources[which].grid)
    return mosaics


def _finish(result, source, mosaic, alone):
    """The pixels of a source with their header."""
    pixels = mosaic.finish()
    pixels.wcs, pixels.extra["WAVELENGTH"] = source.grid.wcs, source.grid.wavelength
    header = result.header if alone else source.shells[0].header.copy()
    pixels.header = header.sci
    describe(header, source)
    ny, nx = source.grid.shape
    log.info("%d spectra onto %d x %d pixels, %.4g of the inputs' along the slit", len(source.places), nx, ny, 1 / source.grid.ratio)
    return pixels
