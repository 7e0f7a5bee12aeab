"""The grid that spectra of a slit are put on: the place along the slit on one axis, a table of wavelengths on the other."""

import logging
from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.coordinates import ICRS
from astropy.modeling.models import Const1D, Linear1D, Mapping, Pix2Sky_TAN, RotateNative2Celestial, Tabular1D
from gwcs import WCS
from gwcs.coordinate_frames import CelestialFrame, CompositeFrame, Frame2D, SpectralFrame

from ...model import named_files
from ...vocabulary.errors import ConfigError, InputError
from .output_wcs import ARCSEC

log = logging.getLogger(__name__)

SLIT = "slit_frame"  # the frame of a WCS that says where in the slit a pixel looks; a resampled one has it too
CLOSE = 0.1  # wavelengths nearer to each other than this part of the smallest step become one
ENOUGH = 100  # good pixels that tell where a source is
SIGMA = 100.0  # clipping of the light that tells it


@dataclass
class SlitGrid:
    """A rectified slit.

    Attributes
    ----------
    wcs : gwcs.WCS
    shape : (int, int)
        Rows and columns.
    ratio : float
        Scale along the slit of the inputs in units of this grid's: above 1, the grid is finer.
    wavelength : (row, col) float32
        micron.
    sky : ((row, col), (row, col)) float64 or None
        ICRS [deg]; None for lamps.
    """

    wcs: object
    shape: tuple
    ratio: float
    wavelength: np.ndarray
    sky: tuple | None


@dataclass
class Seen:
    """What the pixels of one input look at.

    Attributes
    ----------
    wcs : gwcs.WCS
    box : ((float, float), (float, float)), limits of x and y
    x, y : (row, col) the pixels inside
    a, b, wavelength : (row, col) right ascension and declination [deg], for lamps places in the slit plane; micron
    """

    wcs: object
    box: tuple
    x: np.ndarray
    y: np.ndarray
    a: np.ndarray
    b: np.ndarray
    wavelength: np.ndarray


def seen(wcs):
    """Evaluate a WCS at all pixels in its bounding box, once."""
    box = wcs.bounding_box.bounding_box(order="F")
    x, y = (np.arange(np.floor(low + 0.5), np.ceil(high - 0.5) + 1) for low, high in box)
    x, y = np.meshgrid(x, y)
    return Seen(wcs, box, x, y, *np.asarray(wcs(x, y)))


def places(wcs, target, shape):
    """Where the pixels of a slit fall on a grid.

    Parameters
    ----------
    wcs, target : gwcs.WCS
        Of the slit, whose bounding box is looked at, and of the grid.
    shape : (int, int)
        Of the slit's image.

    Returns
    -------
    window : (slice, slice)
        Rows and columns of the image that the bounding box leaves, with one more on each side where the image has them: the drizzle
        takes the corners of a pixel from its neighbours, and leaves out those that have one without a place.
    pixel_map : (row, col, 2) float64
        x and y of the pixels in the window; NaN outside the bounding box.
    """
    one = seen(wcs)
    window, inside, here = [], [], []
    for axis, size in ((one.y[:, 0], shape[0]), (one.x[0], shape[1])):
        low, high = np.searchsorted(axis, [0, size])
        start, stop = (int(axis[low]), int(axis[high - 1]) + 1) if high > low else (0, 0)
        inside.append(slice(low, high))
        window.append(slice(max(0, start - 1), min(size, stop + 1)))
        here.append(slice(start - window[-1].start, stop - window[-1].start))
    placed = np.full((*(part.stop - part.start for part in window), 2), np.nan)
    world = [plane[tuple(inside)] for plane in (one.a, one.b, one.wavelength)]
    placed[tuple(here)] = np.stack(target.invert(*world, with_bounding_box=False), axis=-1)
    return tuple(window), placed


def on_sky(wcs):
    """Whether a WCS leads to the sky, and not only to the slit plane as a lamp's does."""
    frame = wcs.output_frame
    return any(isinstance(part, CelestialFrame) for part in getattr(frame, "frames", [frame]))


def scale_along(wcs, dispaxis):
    """Side of a pixel along the slit, in the middle of the bounding box: arcsec, NaN where there is no sky."""
    if not on_sky(wcs):
        return np.nan
    x, y = (0.5 * (low + high) for low, high in wcs.bounding_box.bounding_box(order="F"))
    along = (1, 0) if dispaxis == 2 else (0, 1)
    ra, dec, _ = wcs(np.array([x, x + along[0]]), np.array([y, y + along[1]]), with_bounding_box=False)
    return float(ARCSEC * _apart(ra, dec))


def _apart(ra, dec):
    """Degrees between two points (the haversine formula)."""
    ra, dec = np.deg2rad(ra), np.deg2rad(dec)
    half = np.sin(0.5 * np.diff(dec)) ** 2 + np.cos(dec[0]) * np.cos(dec[1]) * np.sin(0.5 * np.diff(ra)) ** 2
    return np.rad2deg(2 * np.arcsin(np.sqrt(half)))[0]


# --- making one ------------------------------------------------------------------------------------------------------


def slit_grid(all_wcs, dispaxis, image=None, *, ratio=1.0, scale=None, path="", output_shape=None):
    """The grid that holds all inputs.

    Parameters
    ----------
    all_wcs : list of gwcs.WCS
        The one with the most telling image first: the sampling along the slit is its.
    dispaxis : int
        1: a spectrum runs along the rows, 2: along the columns.
    image : (row, col), optional
        That of the first, 0 or NaN where it is not good; with a `slit_frame` its light tells where in the slit the source is.
    ratio : float
        Scale of the first input along the slit in units of the grid's.
    scale : float, optional
        Of the grid along the slit, arcsec; `ratio` is ignored then.
    path : path
        ASDF file with a `wcs`, in place of all this.
    output_shape : (int, int), optional
        Columns and rows; for `path` only.

    Raises
    ------
    InputError
        There are no wavelengths to make a grid of.
    ConfigError
        The file can't be used.
    """
    if path:
        return _custom(path, all_wcs[0], dispaxis, output_shape)
    if output_shape is not None:
        log.warning("output_shape of resample_spec is for output_wcs, and ignored without it")
    if scale is not None:
        if ratio != 1.0:
            log.warning("pixel_scale of resample_spec is given: pixel_scale_ratio is ignored")
        own = scale_along(all_wcs[0], dispaxis)
        ratio = own / scale if np.isfinite(own) else 1.0
    inputs = [seen(wcs) for wcs in all_wcs]
    if not on_sky(all_wcs[0]):
        made, shape = _lamp(inputs[0], dispaxis, ratio)
    elif SLIT in all_wcs[0].available_frames:
        made, shape = _tilted(inputs, image, ratio)
    else:
        made, shape = _straight(inputs, dispaxis, ratio)
    made.array_shape = shape
    made.bounding_box = ((-0.5, shape[1] - 0.5), (-0.5, shape[0] - 0.5))
    return _finished(made, shape, ratio)


def _finished(made, shape, ratio):
    y, x = np.indices(shape, dtype=float)
    a, b, wavelength = made(x, y, with_bounding_box=False)
    return SlitGrid(made, tuple(shape), float(ratio), wavelength.astype(np.float32), (a, b) if on_sky(made) else None)


def _straight(inputs, dispaxis, ratio):
    """All pixels of a row (column) have one wavelength: the wavelengths of the inputs are those of the grid.

    Those of the first one are taken, and of the others what lies beyond. They rise or fall as on the detector.
    """
    along = dispaxis - 1  # the number, x 0 and y 1, of the axis of the wavelength
    wavelengths = [_medians(one, along) for one in inputs]
    first, found = inputs[0], wavelengths[0]
    for more in wavelengths[1:]:
        found = np.concatenate([found, more[more < found.min()], more[more > found.max()]])
    table = np.unique(found)
    if wavelengths[0][0] > wavelengths[0][-1]:
        table = table[::-1]

    low, high = first.box[along]
    middle = int((high - low) / 2)
    ra, dec = (_line(plane, along, middle) for plane in (first.a, first.b))
    centre = np.nanmean(_together(ra, ra)), np.nanmean(dec)
    slopes = _slopes(_plane(centre).inverse(ra, dec), ratio)
    if len(inputs) > 1:
        every_ra = _together(np.concatenate([one.a.ravel() for one in inputs]), ra)
        every_dec = np.concatenate([one.b.ravel() for one in inputs])
        centre = tuple(0.5 * (np.nanmin(values) + np.nanmax(values)) for values in (every_ra, every_dec))
    plane = _plane(centre)
    extent = _extent(inputs, plane)
    longer = int(np.abs(slopes[0]) < np.abs(slopes[1]))  # tangent plane axis that the slit lies along
    size = int(np.ceil((extent[longer][1] - extent[longer][0]) / np.abs(slopes[longer])))
    to_plane = [Linear1D(slope, -0.5 * (size - 1) * slope) for slope in slopes]
    to_wavelength = _table(np.arange(table.size, dtype=float), table, "pix2wavelength")
    to_world = _axes(along, longer) | (to_plane[0] & to_plane[1] | plane) & to_wavelength
    shape = (size, table.size) if along == 0 else (table.size, size)
    return WCS([(Frame2D(name="detector", axes_order=(0, 1)), to_world), (_world(), None)]), shape


def _tilted(inputs, image, ratio):
    """Wavelengths change along the rows, and a little across: the grid has the medians of the columns, of all inputs together.

    Its WCS knows the places in the slit too (y as in the middle of the first input, x 0), by which a source is found.
    """
    first = inputs[0]
    to_slit = first.wcs.get_transform(first.wcs.available_frames[0], SLIT)
    to_sky = first.wcs.get_transform(SLIT, first.wcs.output_frame.name)
    _, in_slit, slit_wavelength = (np.asarray(values) for values in to_slit(first.x, first.y))
    ra, dec, _ = to_sky(0.0, _light_at(in_slit, slit_wavelength, first, image), np.nanmean(slit_wavelength))
    plane = _plane((float(ra), float(dec)))

    middle = _across(first.a, int(0.5 * sum(first.box[0])))
    slopes = _slopes(plane.inverse(_line(first.a, 0, middle), _line(first.b, 0, middle)), ratio)
    longer = int(np.abs(slopes[0]) < np.abs(slopes[1]))
    table = joint_wavelengths([np.sort(_medians(one, 0)) for one in inputs])
    extent = _extent(inputs, plane)
    size = int(np.ceil((extent[longer][1] - extent[longer][0]) / np.abs(slopes[longer]))) + 1
    to_plane = []
    for slope, (low, high) in zip(slopes, extent, strict=True):
        room = 0.5 * (size * np.abs(slope) - (high - low))  # on each side
        to_plane.append(Linear1D(slope, low - room if slope > 0 else high + room if slope < 0 else low))
    pixels = np.concatenate([[-0.5], np.arange(table.size), [table.size - 0.5]])
    ends = table[0] - 0.5 * (table[1] - table[0]), table[-1] + 0.5 * (table[-1] - table[-2])
    to_wavelength = _table(pixels, np.concatenate([ends[:1], table, ends[1:]]), extrapolate=False)
    to_world = _axes(0, longer) | (to_plane[0] & to_plane[1] | plane) & to_wavelength

    rows = np.arange(size, dtype=float)
    from_sky = first.wcs.get_transform(first.wcs.output_frame.name, SLIT)
    _, at_rows, _ = from_sky(*to_world(np.full(size, table.size // 2, float), rows))
    zero = Const1D(0.0)
    zero.inverse = zero
    turn, back = Mapping((0, 1, 0)), Mapping((2, 1), n_inputs=3)
    turn.inverse, back.inverse = back, turn
    detector_to_slit = turn | zero & _table(rows, np.asarray(at_rows)) & to_wavelength
    places = Frame2D(name="slit_spatial", axes_order=(0, 1), unit=("", ""), axes_names=("x_slit", "y_slit"))
    slit = CompositeFrame([places, _spectral()], name=SLIT)
    steps = [(Frame2D(name="detector", axes_order=(0, 1)), detector_to_slit), (slit, detector_to_slit.inverse | to_world), (_world(), None)]
    return WCS(steps), (size, table.size)


def _lamp(first, dispaxis, ratio):
    """A lamp's light has no place on the sky: the grid has the places in the plane of the slits."""
    along = dispaxis - 1
    table = _medians(first, along)
    low, high = first.box[along]
    lines = [_line(plane, along, int((high - low) / 2)) for plane in (first.a, first.b)]
    lines = [line[np.isfinite(line)] for line in lines]
    fits = [np.polyfit(np.arange(line.size) * ratio, line, 1) for line in lines]
    to_plane = [Linear1D(*fit) for fit in fits]
    longer = int(np.abs(fits[0][0]) < np.abs(fits[1][0]))
    to_wavelength = _table(np.arange(table.size, dtype=float), table, "pix2wavelength")
    to_world = _axes(along, longer) | to_plane[0] & to_plane[1] & to_wavelength
    size = int(np.ceil(lines[0].size * ratio))
    places = Frame2D(name=f"resampled_{first.wcs.output_frame.name}", axes_order=(0, 1))
    world = CompositeFrame([places, _spectral()], name="world")
    shape = (size, table.size) if along == 0 else (table.size, size)
    return WCS([(Frame2D(name="detector", axes_order=(0, 1)), to_world), (world, None)]), shape


def _custom(path, wcs, dispaxis, output_shape):
    tree = named_files.tree(path, "output_wcs")
    made = tree.get("wcs")
    if getattr(getattr(made, "output_frame", None), "naxes", None) != 3:
        raise ConfigError("there is no gWCS with a wavelength under the key wcs", path, "Make the file of resample_spec: output_wcs again")
    if output_shape is not None:
        made.array_shape = tuple(output_shape)[::-1]
    elif made.array_shape is None:
        if tree.get("array_shape") is not None:
            made.array_shape = tuple(tree["array_shape"])
        elif tree.get("pixel_shape") is not None:
            made.array_shape = tuple(tree["pixel_shape"])[::-1]
        elif made.bounding_box is not None:
            made.array_shape = tuple(int(high + 0.5) for _, high in made.bounding_box.bounding_box(order="C"))
        else:
            raise ConfigError("the WCS has neither a shape nor a bounding box", path, "Set output_shape of resample_spec")
    if made.bounding_box is None:
        rows, columns = made.array_shape
        made.bounding_box = ((-0.5, columns - 0.5), (-0.5, rows - 0.5))
    ratio = scale_along(wcs, dispaxis) / scale_along(made, dispaxis)
    return _finished(made, made.array_shape, ratio if np.isfinite(ratio) else 1.0)


# --- its parts -------------------------------------------------------------------------------------------------------


def joint_wavelengths(tables):
    """One rising table of several: of each the part that lies beyond those before, the one that overlaps most with them next.

    Of two wavelengths that are too close to each other the first is left out.
    """
    joint, rest = tables[0], list(tables[1:])
    least = np.abs(np.diff(joint)).min(initial=np.inf)
    while rest:
        overlaps = [min(joint[-1], one[-1]) - max(joint[0], one[0]) for one in rest]
        one = rest.pop(int(np.argmax(overlaps)))
        joint = np.concatenate([one[one < joint[0]], joint, one[one > joint[-1]]])
    close = np.diff(joint) < max(CLOSE * least, 1e2 * np.finfo(float).eps)
    joint = np.delete(joint, np.flatnonzero(close))
    if joint.size < 2:
        raise InputError("it has fewer than two wavelengths, of which no grid can be made", do="Take it out of the association")
    return joint


def _medians(one, along):
    """Wavelength of each row or column of an input; those without any are left out."""
    wavelength = one.wavelength if along == 0 else one.wavelength.T  # the table's axis last
    lit = np.isfinite(wavelength).any(axis=0)
    if lit.sum() < 2:
        raise InputError("its WCS has fewer than two wavelengths", do="Take it out of the association, or look at its WCS")
    return np.nanmedian(wavelength[:, lit], axis=0)


def _across(plane, middle):
    """The column nearest to the middle that has two pixels across the spectrum, or else the middle: of a slit at an edge some have none."""
    crossed = np.flatnonzero(np.isfinite(plane).sum(axis=0) > 1)
    return crossed[np.argmin(np.abs(crossed - middle))] if crossed.size else middle


def _line(plane, along, number):
    """The pixels across the spectrum, at one place along it."""
    return plane[:, number] if along == 0 else plane[number]


def _together(ra, like):
    """Right ascensions on the same side of the zero meridian as the median of some."""
    middle = np.nanmedian(like)
    return middle + (ra - middle + 180) % 360 - 180


def _plane(centre):
    """Tangent plane [deg] -> sky."""
    return Pix2Sky_TAN() | RotateNative2Celestial(*(float(angle) for angle in centre), 180.0)


def _slopes(places, ratio):
    """Degrees a pixel of the grid, along both axes of the tangent plane: straight lines through the places of the pixels across."""
    slopes = []
    for place in places:
        place = place[np.isfinite(place)]
        if place.size < 2:
            raise InputError(
                "its WCS has no slit: fewer than two pixels in the middle of the spectrum", do="Take it out of the association"
            )
        slopes.append(float(np.polyfit(np.arange(place.size) * ratio, place, 1)[0]))
    return slopes


def _extent(inputs, plane):
    """((least, most), (least, most)) of the inputs in the tangent plane."""
    found = np.full((2, 2), [np.inf, -np.inf])
    for one in inputs:
        good = np.isfinite(one.a) & np.isfinite(one.b)
        for limits, place in zip(found, plane.inverse(one.a[good], one.b[good]), strict=True):
            limits[:] = min(limits[0], place.min()), max(limits[1], place.max())
    return found


def _table(pixels, values, name=None, extrapolate=True):
    """Linear interpolation in a table that rises or falls, and back."""
    options = {"bounds_error": False, "fill_value": None if extrapolate else np.nan}
    model = Tabular1D(points=pixels, lookup_table=values, name=name, **options)
    order = slice(None) if values[0] < values[-1] else slice(None, None, -1)
    back = None if name is None else "wavelength2pix"
    model.inverse = Tabular1D(points=values[order], lookup_table=pixels[order], name=back, **options)
    return model


def _axes(along, longer):
    """(x, y) -> the place along the slit twice, and that along the spectrum; back by the tangent plane's axis that the slit lies along."""
    across = 1 - along
    mapping = Mapping((across, across, along))
    mapping.inverse = Mapping((longer, 2) if across == 0 else (2, longer), n_inputs=3)
    return mapping


def _light_at(in_slit, wavelength, first, image):
    """Where along the slit the light is: the mean place, weighted with the image."""
    if image is None:
        return float(np.nanmean(in_slit))
    from astropy.stats import sigma_clip

    rows, columns = (slice(int(axis.flat[0]), int(axis.flat[-1]) + 1) for axis in (first.y, first.x))
    light = np.array(image[rows, columns], float)
    light -= np.nanmin(light, initial=np.inf)
    good = np.isfinite(in_slit) & np.isfinite(wavelength) & np.isfinite(light)
    weights = np.ma.filled(sigma_clip(np.ma.masked_array(light, ~good), sigma=SIGMA), 0.0)
    if not weights[good].any():
        return float(np.nanmean(in_slit))
    return float(np.average(in_slit[good], weights=weights[good]))


def _spectral():
    return SpectralFrame(name="spectral", axes_order=(2,), unit=(u.micron,), axes_names=("wavelength",))


def _world():
    return CompositeFrame([CelestialFrame(name="sky", axes_order=(0, 1), reference_frame=ICRS()), _spectral()], name="world")
