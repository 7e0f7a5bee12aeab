"""Put images onto one undistorted grid of the sky, weighted and added."""

import logging
from collections import Counter
from typing import Annotated, Literal

from ..arithmetic.align.groups import moments_of
from ..arithmetic.resample.blend import describe_sum
from ..arithmetic.resample.drizzle_images import Mosaic, area_factor, fill_value
from ..arithmetic.resample.inputs import Inputs, check_image
from ..arithmetic.resample.output_wcs import joint_region, set_wcs_keywords
from ..arithmetic.resample.pixel_map import pixel_map
from ..model.exposure import Exposure, Pixels
from ..vocabulary.errors import ConfigError
from ..vocabulary.parameters import Range

log = logging.getLogger(__name__)


def apply(
    exposure,
    refs=None,
    integrations: bool = False,
    *,
    pixfrac: Annotated[float, Range(min=0, max=1)] = 1.0,
    kernel: Literal["square", "gaussian", "point", "turbo", "lanczos2", "lanczos3"] = "square",
    fillval: str = "NAN",
    weight_type: Literal["ivm", "exptime"] | None = "ivm",
    weight_box: Annotated[int, Range(min=0)] = 0,
    output_shape: list | None = None,
    crpix: list | None = None,
    crval: list | None = None,
    rotation: float | None = None,
    pixel_scale_ratio: float = 1.0,
    pixel_scale: float | None = None,
    output_wcs: str = "",
    single: bool = False,
    blendheaders: bool = True,
    in_memory: bool = True,
    enable_ctx: bool = True,
    enable_err: bool = True,
    report_var: bool = True,
    error_of: Literal["pixel", "area"] = "pixel",
    propagate_dq: bool = False,
    pixmap_stepsize: Annotated[float, Range(min=1)] = 1.0,
    pixmap_order: Literal[1, 3] = 1,
):
    """Resample one image, or several into one.

    Surface brightness is kept. The images are averaged with their weights, and their variances with the squares of these: each pixel of
    the result is a weighted mean of pixels, and ERR is what it scatters by. As pixels share what fell between them, their noise is
    correlated: that of the sum of a large area is ERRAREA (a keyword) times what ERR says. With `error_of="area"` each image's standard
    deviations are drizzled as its values are, and their squares added as variances of a weighted mean: ERR is then right for sums over
    large areas, and larger than what a pixel scatters by.

    Parameters
    ----------
    exposure : Exposure, exposure.Members or iterable of Exposure
        2-D images with a celestial gWCS and S_REGION. Members are opened one at a time, twice: for the grid and for the pixels.
        They are left as they are.
    refs
        None are needed.
    integrations : bool
        Each integration of a cube is an image; a matter of the pipeline, not of the user.
    pixfrac : float
        Side of the drop that a pixel is shrunk to, in pixels.
    kernel : str
        Shape of the drop. gaussian and lanczos do not conserve flux.
    fillval : str
        Value of pixels that no image covers.
    weight_type : {"ivm", "exptime", None}
        Inverse variance of the read noise, measurement time, or the same for all.
    weight_box : int
        Side in pixels of the boxes that the read noise's median is taken in for its weights; 0: each pixel's own. A star's saturated
        core has fewer groups and less weight in one image than in the next, which can change its flux.
    output_shape : [int, int]
        Columns and rows.
    crpix : [float, float]
        Reference pixel, counted from 0.
    crval : [float, float]
        Its right ascension and declination, degrees.
    rotation : float
        Position angle of the y axis, degrees; None: the first image's orientation.
    pixel_scale_ratio : float
        Pixel scale in units of the first image's.
    pixel_scale : float
        Pixel scale, arcsec; pixel_scale_ratio is ignored then.
    output_wcs : str
        ASDF file with a gWCS under `wcs`, in place of all the above about the grid.
    single : bool
        One result for each group of inputs that were taken at once; ERR is then drizzled as SCI is, without variances.
    blendheaders : bool
        Blend the keywords of several inputs and list them in HDRTAB. One Exposure alone keeps its own.
    in_memory : bool
        Without effect: one input is in memory at a time anyway, where they come from files.
    enable_ctx, enable_err, report_var : bool
        Whether CON, ERR and the variances are made.
    error_of : {"pixel", "area"}
        What the variances and ERR are for: the scatter of a pixel, or sums over areas (see above).
    propagate_dq : bool
        Give each pixel the OR of the flags of those that went into it.
    pixmap_stepsize, pixmap_order : float, int
        Above 1, pixel positions are splines of this order between exact ones at this many pixels.

    Returns
    -------
    Exposure, or list of Exposure with `single`

    Raises
    ------
    Skip
        The data are no 2-D images.
    InputError
        A keyword is missing, or the grid would be empty or too large; names the image that lies far from the others.
    ConfigError
        A parameter has not two values, output_wcs can't be used, or the grid that was asked for is too large.
    """
    blend = blendheaders and not isinstance(exposure, Exposure)
    options = {"crpix": _pair("crpix", crpix), "crval": _pair("crval", crval), "rotation": rotation}
    options |= {"output_shape": _pair("output_shape", output_shape), "ratio": pixel_scale_ratio, "scale": pixel_scale}
    errors = "drizzled" if single else f"of {error_of}s" if enable_err else None
    drizzle = {"kernel": kernel, "pixfrac": pixfrac, "fillval": fill_value(fillval, "resample"), "weight_type": weight_type}
    drizzle |= {"weight_box": weight_box, "errors": errors}
    inputs = Inputs(exposure, integrations)
    grid = inputs.grid(output_wcs, **options)
    drizzle |= {"pixel_scale_ratio": grid.pixel_scale_ratio, "context": enable_ctx, "flags": propagate_dq}
    order = inputs.in_groups() if single else range(len(inputs))
    groups = [inputs.groups[number] if single else None for number in order]
    keywords = {"RESWHT": weight_type, "PIXFRAC": pixfrac, "PXSCLRT": grid.pixel_scale_ratio}
    if errors == "of pixels":
        keywords["ERRAREA"] = area_factor(kernel, pixfrac, grid.pixel_scale_ratio)
    results = []
    for group, mosaic in _mosaics(inputs.each(order), groups, grid, drizzle, (pixmap_stepsize, pixmap_order), integrations):
        among = [inputs.shells[number] for number, its in zip(order, groups, strict=True) if its == group]
        result = among[0].derive([mosaic.finish(report_var)], "i2d")
        _stamp(result, among, grid, blend, **keywords)
        results.append(result)
    return results if single else results[0]


# --- the parameters --------------------------------------------------------------------------------------------------


def _pair(name, values):
    """Two numbers, or None."""
    if values is None or all(value is None for value in values):
        return None
    if len(values) != 2 or None in values:
        raise ConfigError(f"{name} of resample has to be two numbers, it is {list(values)}", do="Give both or neither")
    return values


def _box(wcs):
    """((x1, x2), (y1, y2)) or None."""
    return None if wcs.bounding_box is None else wcs.bounding_box.bounding_box(order="F")


# --- the result ------------------------------------------------------------------------------------------------------


def _mosaics(exposures, groups, grid, drizzle, steps, integrations):
    """Add the exposures to the images of their groups.

    Yields
    ------
    (group, Mosaic), each as soon as its last exposure was added
    """
    counts, started = Counter(groups), {}
    for exposure, group in zip(exposures, groups, strict=True):
        check_image(exposure, integrations)
        if group not in started:
            started[group] = Mosaic(grid.shape, counts[group], **drizzle)
        header = exposure.header
        if drizzle["weight_type"] == "ivm" and exposure.var_rnoise is None:
            log.warning("%s: there is no VAR_RNOISE, which weights are made of: all pixels have the same", exposure.name)
        level = 0.0 if header.get("BKGSUB", False) else header.get("BKGLEVEL", 0.0)
        placed = pixel_map(exposure.wcs, grid.wcs, exposure.sci.shape[-2:], *steps)
        time = 1.0 if drizzle["weight_type"] != "exptime" else header.get("TMEASURE") or header["EFFEXPTM"]
        for image in _images(exposure.pixels[0]):
            started[group].add(image, placed, _box(exposure.wcs), time, level)
        del placed, exposure
        counts[group] -= 1
        if not counts[group]:
            yield group, started.pop(group)


def _images(pixels):
    """The image, or each integration of a cube."""
    if pixels.sci.ndim == 2:
        yield pixels
        return
    for number in range(len(pixels.sci)):
        yield Pixels(**{name: plane[number] for name, plane in pixels.planes() if plane.ndim == 3})


def _stamp(result, among, grid, blend, **keywords):
    """Write what the result is into its header."""
    headers = [shell.header for shell in among]
    moments = moments_of(headers)
    result.wcs = grid.wcs
    describe_sum(result, headers, moments, blend, **keywords)
    set_wcs_keywords(result.header, grid)
    result.header.sci["S_REGION"] = joint_region([h["S_REGION"] for h in headers], grid.wcs)
    ny, nx = grid.shape
    log.info("%d images of %d pointings onto %d x %d pixels of %.5f arcsec", len(headers), len(moments), nx, ny, grid.pixel_scale)
