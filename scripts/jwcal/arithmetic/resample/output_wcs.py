"""The grid on the sky that images are combined on: a tangent plane about the middle of them all."""

import logging
import re
from dataclasses import dataclass

import numpy as np

from ...model import named_files
from ...vocabulary.errors import ConfigError, InputError
from ..wcs import sip
from .union import clipped, union

log = logging.getLogger(__name__)

# Keywords of the inputs' own geometry, which a resampled image does not have.
POINTING = ("V2_REF", "V3_REF", "RA_REF", "DEC_REF", "ROLL_REF", "V3I_YANG", "VPARITY")
FITTED = re.compile(r"WCSAXES|RADESYS|(CTYPE|CUNIT|CRPIX|CRVAL|CDELT)[12]|(CD|PC)[12]_[12]")
ARCSEC = 3600.0
UNLIKE = 1e-3  # of an area: more is worth a warning


@dataclass
class Grid:
    """A grid of pixels on the sky.

    Parameters
    ----------
    wcs : gwcs.WCS
    shape : (int, int)
        Rows and columns.
    pixel_scale : float
        Side of a pixel, arcsec.
    pixel_scale_ratio : float
        The same in units of the first input's pixel.
    pixel_area : float
        Mean area of a pixel, arcsec^2, from the WCS itself.
    """

    wcs: object
    shape: tuple
    pixel_scale: float
    pixel_scale_ratio: float
    pixel_area: float


# --- making one ------------------------------------------------------------------------------------------------------


def tangent_grid(regions, header, wcs, shape, *, output_shape=None, crpix=None, crval=None, rotation=None, ratio=1.0, scale=None):
    """The grid that holds all inputs.

    Parameters
    ----------
    regions : list of str
        S_REGION of each input.
    header : mapping
        The first input's keywords: RA_REF, DEC_REF, ROLL_REF, V3I_YANG, VPARITY.
    wcs, shape : gwcs.WCS, (int, int)
        The first input's.
    output_shape : (int, int), optional
        Columns and rows, in place of the smallest that hold the inputs.
    crpix : (float, float), optional
        Pixel of the reference point, counted from 0, in place of the one that puts the lowest corner at 0.
    crval : (float, float), optional
        Reference point, degrees, in place of the inputs' middle.
    rotation : float, optional
        Position angle of the y axis, degrees east of north, in place of the first input's.
    ratio : float
        Pixel scale in units of the first input's at its reference point.
    scale : float, optional
        Pixel scale in arcsec; `ratio` is ignored then.

    Raises
    ------
    InputError
        The grid would have fewer than two rows or columns.
    """
    polygons = [polygon for region in regions for polygon in sky_polygons(region)]
    if scale is None:
        scale = pixel_scale_at(wcs, header["RA_REF"], header["DEC_REF"]) * ratio
    else:
        ratio = scale / (ARCSEC * np.rad2deg(np.sqrt(mean_pixel_area(wcs, shape))))
    crval = middle(np.vstack(polygons)) if crval is None else tuple(float(v) for v in crval)
    pc = axes(header, rotation)
    flat = _tangent_plane((0.0, 0.0), crval, pc, scale / ARCSEC)
    corners = np.hstack([flat.inverse(*polygon.T) for polygon in polygons])
    crpix = -corners.min(axis=1) if crpix is None else np.array(crpix, float)
    lowest, highest = corners.min(axis=1) + crpix, corners.max(axis=1) + crpix
    if output_shape is None:
        nx, ny = (int(v + 0.5) for v in highest)
        box = ((-0.5, nx - 0.5), (-0.5, ny - 0.5))
    else:
        nx, ny = output_shape
        box = tuple(
            (max(0, int(low + 0.5)) - 0.5, min(int(high + 0.5), n) - 0.5) for low, high, n in zip(lowest, highest, (nx, ny), strict=True)
        )
    if min(nx, ny) < 2:
        raise InputError(
            f"the resampled image would be {nx} x {ny} pixels", do="Check crpix, crval, output_shape and pixel_scale of resample"
        )
    grid = _gwcs(_tangent_plane(crpix, crval, pc, scale / ARCSEC), wcs)
    grid.bounding_box = box
    grid.pixel_shape = (nx, ny)
    return Grid(grid, (ny, nx), float(scale), float(ratio), float(scale) ** 2)


def custom_grid(path, header, wcs, shape, output_shape=None):
    """The grid that a file describes.

    Parameters
    ----------
    path : path
        ASDF with `wcs` (gwcs.WCS) and optionally `pixel_scale` (arcsec), `pixel_area` (arcsec^2), `array_shape`, `pixel_shape`.
    header, wcs, shape
        The first input's, to tell the ratio of the pixel scales.
    output_shape : (int, int), optional
        Columns and rows; without it the WCS's own shape, the file's, or the end of the bounding box.

    Raises
    ------
    ConfigError
        There is no WCS in the file, it is not celestial, or nothing tells the shape.
    """
    tree = named_files.tree(path, "output_wcs")
    made = tree.get("wcs")
    if getattr(getattr(made, "output_frame", None), "naxes", None) != 2:
        raise ConfigError("there is no celestial gWCS under the key wcs", path, "Make the file of resample: output_wcs again")
    nx, ny = output_shape or _shape_of(made, tree, path)
    made.array_shape = (ny, nx)
    own = (ARCSEC * np.rad2deg(1)) ** 2 * mean_pixel_area(made, (ny, nx))
    scale = tree.get("pixel_scale")
    if scale is None:
        scale = np.sqrt(tree["pixel_area"] if tree.get("pixel_area") is not None else own)
    if abs(scale**2 / own - 1) > UNLIKE:
        log.warning("%s says that a pixel is %.6g arcsec wide, by its WCS it is %.6g, which is taken", path, scale, own**0.5)
        scale = np.sqrt(own)
    area = header.get("PIXAR_SR") or mean_pixel_area(wcs, shape)
    return Grid(made, (ny, nx), float(scale), float(scale / (ARCSEC * np.rad2deg(np.sqrt(area)))), float(own))


def _shape_of(wcs, tree, path):
    """Columns and rows of a custom grid."""
    if wcs.array_shape is not None:
        return wcs.array_shape[::-1]
    if tree.get("array_shape") is not None:
        return tuple(tree["array_shape"])[::-1]
    if tree.get("pixel_shape") is not None:
        return tuple(tree["pixel_shape"])
    if wcs.bounding_box is not None:
        return tuple(int(high + 0.5) for _, high in wcs.bounding_box.bounding_box(order="F"))
    raise ConfigError("the WCS has neither a shape nor a bounding box", path, "Set output_shape of resample")


def _tangent_plane(crpix, crval, pc, degrees):
    """Pixels from 0 -> tangent plane -> sky, as FITS says it (Calabretta & Greisen 2002, A&A 395, 1077)."""
    from astropy.modeling.models import Pix2Sky_TAN
    from gwcs import FITSImagingWCSTransform

    crpix, crval = (tuple(float(v) for v in pair) for pair in (crpix, crval))
    return FITSImagingWCSTransform(Pix2Sky_TAN(), crpix=crpix, crval=crval, cdelt=[degrees, degrees], pc=pc)


def _gwcs(transform, like):
    import gwcs

    return gwcs.WCS([gwcs.Step(like.input_frame, transform), gwcs.Step(like.output_frame, None)])


def axes(header, rotation=None):
    """The PC matrix of an image whose y axis lies as the detector's does, or at a position angle in degrees."""
    parity, angle = header["VPARITY"], header["V3I_YANG"]
    turn = np.deg2rad(header["ROLL_REF"] - parity * angle if rotation is None else rotation)
    return np.array([[parity * np.cos(turn), np.sin(turn)], [-parity * np.sin(turn), np.cos(turn)]])


# --- on the sphere ---------------------------------------------------------------------------------------------------


def sky_polygons(region):
    """The polygons of an S_REGION, each (vertex, 2) in degrees."""
    parts = [part.replace("ICRS", " ").split() for part in region.upper().split("POLYGON") if part.strip()]
    return [np.array(part, float).reshape(-1, 2) for part in parts]


def _vectors(ra, dec):
    """Unit vectors, (..., 3)."""
    ra, dec = np.deg2rad(ra), np.deg2rad(dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def middle(points):
    """(RA, Dec) in degrees of the middle of the box around the points' unit vectors; points (n, 2) in degrees."""
    vectors = _vectors(*np.asarray(points).T)
    x, y, z = 0.5 * (vectors.min(axis=0) + vectors.max(axis=0))
    return float(np.rad2deg(np.arctan2(y, x)) % 360.0), float(np.rad2deg(np.arctan2(z, np.hypot(x, y))))


def farthest(regions):
    """The region that lies farthest from the middle one of all.

    Parameters
    ----------
    regions : list of str
        S_REGION of each image.

    Returns
    -------
    number : int
    away : float
        Degrees from the median of their centres.
    """
    centres = np.array([_vectors(*np.vstack(sky_polygons(region)).T).mean(axis=0) for region in regions])
    centres /= np.linalg.norm(centres, axis=1)[:, None]
    middle_one = np.median(centres, axis=0)
    # the sine of half the angle: exact for small ones
    away = np.linalg.norm(centres - middle_one / np.linalg.norm(middle_one), axis=1)
    number = int(np.argmax(away))
    return number, float(np.rad2deg(2 * np.arcsin(min(1.0, 0.5 * away[number]))))


def pixel_scale_at(wcs, ra, dec):
    """Side of a pixel at a point of the sky, arcsec: the geometric mean of a step in x and one in y."""
    x, y = wcs.invert(ra, dec, with_bounding_box=False)
    here, right, up = np.transpose(wcs(np.array([x, x + 1, x]), np.array([y, y, y + 1]), with_bounding_box=False))
    return float(ARCSEC * np.rad2deg(np.sqrt(_separation(here, right) * _separation(here, up))))


def _separation(a, b):
    """Angle in radians between two points in degrees that are near each other (the haversine formula)."""
    (ra1, dec1), (ra2, dec2) = np.deg2rad(a), np.deg2rad(b)
    return 2 * np.arcsin(np.sqrt(np.sin(0.5 * (dec2 - dec1)) ** 2 + np.cos(dec1) * np.cos(dec2) * np.sin(0.5 * (ra2 - ra1)) ** 2))


def mean_pixel_area(wcs, shape, points=129):
    """Mean area of the pixels in a WCS's bounding box, sr: the solid angle inside their outline.

    The outline's area is the sum of the triangles that it makes with its middle (Van Oosterom & Strackee 1983, IEEE TBE 30, 125).

    Parameters
    ----------
    wcs : gwcs.WCS
    shape : (int, int)
    points : int
        Points on each side of the outline.
    """
    whole = [(-0.5, n - 0.5) for n in shape[::-1]]
    (x1, x2), (y1, y2) = whole if wcs.bounding_box is None else wcs.bounding_box.bounding_box(order="F")
    x1, x2 = max(0, int(x1 + 0.5)), min(shape[1] - 1, int(x2 - 0.5))
    y1, y2 = max(0, int(y1 + 0.5)), min(shape[0] - 1, int(y2 - 0.5))
    side = np.linspace(0.0, 1.0, points, endpoint=False)
    x = np.concatenate([x1 + (x2 - x1) * side, np.full(points, x2), x2 - (x2 - x1) * side, np.full(points, x1)])
    y = np.concatenate([np.full(points, y1), y1 + (y2 - y1) * side, np.full(points, y2), y2 - (y2 - y1) * side])
    edge = _vectors(*wcs(x.astype(float), y.astype(float), with_bounding_box=False))
    centre = _vectors(*wcs(0.5 * (x1 + x2), 0.5 * (y1 + y2), with_bounding_box=False))
    following = np.roll(edge, -1, axis=0)
    volume = np.cross(edge, following) @ centre
    angles = 2.0 * np.arctan2(volume, 1.0 + edge @ centre + following @ centre + np.sum(edge * following, axis=1))
    return abs(angles.sum()) / ((x2 - x1) * (y2 - y1))


def joint_region(regions, wcs):
    """S_REGION of what the inputs cover together inside the output's footprint.

    Great circles are straight lines in a tangent plane, so that polygons can be put together there. Holes are covered.

    Parameters
    ----------
    regions : list of str
        S_REGION of each input.
    wcs : gwcs.WCS
        The output's.
    """
    corners = np.column_stack(wcs.invert(*wcs.footprint().T, with_bounding_box=False))
    low, high = corners.min(axis=0), corners.max(axis=0)
    inputs = [points for region in regions for points in sky_polygons(region)]
    planes = [np.column_stack(wcs.invert(*points.T, with_bounding_box=False)) for points in inputs]
    found = union([clipped(points, low, high) for points in planes if np.isfinite(points).all()])
    found = [np.column_stack(wcs(*points.T, with_bounding_box=False)) for points in found]
    found = [_in_order(_without_needless(points, wcs), wcs) for points in found if len(points) > 2]
    return "  ".join("POLYGON ICRS  " + " ".join(f"{ra % 360.0:.9f} {dec:.9f}" for ra, dec in points) for points in found)


def _without_needless(points, wcs, near=0.05, straight=1e-6):
    """Leave out vertices that repeat the one before (within `near` pixels) or lie on a straight edge (to `straight` radians)."""
    x, y = wcs.invert(*points.T, with_bounding_box=False)
    steps = np.diff(np.column_stack([x, y]), axis=0, prepend=[[x[-1], y[-1]]])
    points, steps = points[np.abs(steps).max(axis=1) >= near], steps[np.abs(steps).max(axis=1) >= near]
    after = np.roll(steps, -1, axis=0)
    turns = np.arctan2(steps[:, 0] * after[:, 1] - steps[:, 1] * after[:, 0], np.sum(steps * after, axis=1))
    return points[np.abs(turns) > straight]


def _in_order(points, wcs):
    """The vertices from the image's lower left on, the way round that a single image has them: the union begins anywhere."""
    x, y = wcs.invert(*points.T, with_bounding_box=False)
    if np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) > 0:
        points, x, y = points[::-1], x[::-1], y[::-1]
    return np.roll(points, -np.argmin(x + y), axis=0)


# --- keywords --------------------------------------------------------------------------------------------------------


def set_wcs_keywords(header, grid):
    """Replace an input's geometry by the grid's.

    Parameters
    ----------
    header : exposure.Header
        Changed in place.
    grid : Grid
    """
    for keyword in [*POINTING, *filter(sip.OLD.match, header.sci)]:
        del header[keyword]
    for keyword, value in _linear_keywords(grid).items():
        header.sci[keyword] = value
    header.sci["PIXAR_SR"] = grid.pixel_area / np.rad2deg(ARCSEC) ** 2
    header.sci["PIXAR_A2"] = grid.pixel_area


def _linear_keywords(grid):
    from gwcs import FITSImagingWCSTransform

    transform = grid.wcs.forward_transform
    if not isinstance(transform, FITSImagingWCSTransform):
        return _fitted_keywords(grid)
    (x, y), (ra, dec), (dx, dy) = ([float(v) for v in pair] for pair in (transform.crpix, transform.crval, transform.cdelt))
    pc = np.asarray(transform.pc, float).reshape(2, 2)
    code = transform.projection.prjprm.code
    return {
        "WCSAXES": 2,
        "CTYPE1": f"RA---{code}",
        "CTYPE2": f"DEC--{code}",
        "CUNIT1": "deg",
        "CUNIT2": "deg",
        "CRPIX1": x + 1,
        "CRPIX2": y + 1,
        "CRVAL1": ra,
        "CRVAL2": dec,
        "CDELT1": dx,
        "CDELT2": dy,
        "PC1_1": float(pc[0, 0]),
        "PC1_2": float(pc[0, 1]),
        "PC2_1": float(pc[1, 0]),
        "PC2_2": float(pc[1, 1]),
        "RADESYS": "ICRS",
    }


def _fitted_keywords(grid):
    """The linear FITS WCS next to a custom one that is none."""
    from astropy.modeling.projections import Projection

    log.warning("output_wcs is not a plain FITS projection: the header's WCS keywords are a linear fit to it, the gWCS is exact")
    box = None
    if grid.wcs.bounding_box is None:
        ny, nx = grid.shape
        box = ((-0.5, nx - 0.5), (-0.5, ny - 0.5))
    projections = [part.prjprm.code for part in grid.wcs.forward_transform.traverse_postorder() if isinstance(part, Projection)]
    if not projections:
        raise ConfigError("the custom output WCS has no projection of the sky in it", do="Give resample: output_wcs an imaging gWCS")
    options = {"max_inv_pix_error": None, "degree": 1, "inv_degree": 0, "npoints": 12}
    made = grid.wcs.to_fits_sip(bounding_box=box, projection=projections[0], **options)
    return {k: v for k, v in made.items() if FITTED.fullmatch(k)}
