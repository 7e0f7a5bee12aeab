"""What the header of a rectified slit says: its scale, where on the sky it is, where its source is."""

import logging

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord

from ..wcs.footprint import polygon
from .output_wcs import sky_polygons
from .spectral_grid import SLIT

log = logging.getLogger(__name__)


def is_flux_density(unit):
    """Whether a unit is that of all light of a pixel, as MJy, and not of its brightness, as MJy/sr."""
    try:
        return u.Unit(unit).is_equivalent(u.Jy)
    except (ValueError, TypeError):
        return False


def describe(header, source):
    """Put into a header of one slit what the grid gives it.

    Parameters
    ----------
    header : exposure.Header
        With the first input's keywords; changed in place.
    source : spectral_inputs.Source
    """
    grid, first = source.grid, source.shells[0]
    for keyword in ("PIXAR_SR", "PIXAR_A2"):
        area = first.header.get(keyword)
        if area is None:
            del header[keyword]
        else:
            header.sci[keyword] = area / grid.ratio  # the grid's scale is its own along the slit only
    region = _region(grid, first)
    if region is None:
        del header["S_REGION"]
    else:
        header.sci["S_REGION"] = region
    if SLIT not in first.wcs.available_frames:
        _move_source(header, first.wcs, grid.wcs)


def _region(grid, first):
    """S_REGION: the box that holds a tilted slit; a straight one from its first to its last pixel, as wide as the first input's."""
    if grid.sky is None:
        return None
    ra, dec = grid.sky
    if SLIT in first.wcs.available_frames:
        middle = ra.flat[0]
        away = (ra - middle + 180) % 360 - 180
        east, west = middle + np.nanmax(away), middle + np.nanmin(away)
        low, high = np.nanmin(dec), np.nanmax(dec)
        return polygon([(west, low), (east, low), (east, high), (west, high)])
    given = first.header.get("S_REGION")
    if given is None:
        log.warning("%s has no S_REGION: how wide the slit is is not known, and the result has none", first.name)
        return None
    corners = SkyCoord(sky_polygons(given)[0], unit="deg")
    half = 0.5 * np.min(corners.separation(np.roll(corners, -1)))
    one, other = SkyCoord([ra.flat[0], ra.flat[-1]], [dec.flat[0], dec.flat[-1]], unit="deg")
    across = one.position_angle(other) - 90 * u.deg
    ends = [(one, half), (other, half), (other, -half), (one, -half)]
    moved = [end.directional_offset_by(across, by) for end, by in ends]
    return polygon([(corner.ra.deg, corner.dec.deg) for corner in moved])


def _move_source(header, old, new):
    """The source's place, in pixels, on the new grid."""
    places = [header.get(keyword) for keyword in ("SRCXPOS", "SRCYPOS")]
    if None in places:
        return
    moved = new.invert(*old(*(float(place) for place in places), with_bounding_box=False), with_bounding_box=False)
    if not np.isfinite(moved).all():
        log.warning("the source at pixel %s is not on the rectified slit: SRCXPOS and SRCYPOS are left out", tuple(places))
        del header["SRCXPOS"], header["SRCYPOS"]
        return
    for keyword, place in zip(("SRCXPOS", "SRCYPOS"), moved, strict=True):
        header[keyword] = float(place)
