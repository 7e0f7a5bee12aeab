"""What several exposures of a field see together."""

import numpy as np

from ..resample.output_wcs import middle, sky_polygons
from ..resample.union import union

UNIT = np.radians(0.1 / 3600)  # of the tangent plane: about a pixel, which `union` thinks in


def united(regions):
    """S_REGION of the union of some. Great circles are straight lines in a tangent plane; holes are covered.

    Parameters
    ----------
    regions : list of str
        S_REGION of each exposure.

    Returns
    -------
    str
    """
    polygons = [points for region in regions for points in sky_polygons(region)]
    ra0, dec0 = np.radians(middle(np.concatenate(polygons)))
    found = [np.degrees(_on_sky(points, ra0, dec0)) for points in union([_in_plane(np.radians(p), ra0, dec0) for p in polygons])]
    return "  ".join("POLYGON ICRS  " + " ".join(f"{ra % 360.0:.9f} {dec:.9f}" for ra, dec in points) for points in found)


def _in_plane(points, ra0, dec0):
    """Gnomonic projection of (vertex, 2) [rad]."""
    ra, dec = points.T[0] - ra0, points.T[1]
    below = np.sin(dec0) * np.sin(dec) + np.cos(dec0) * np.cos(dec) * np.cos(ra)
    x = np.cos(dec) * np.sin(ra) / below
    y = (np.cos(dec0) * np.sin(dec) - np.sin(dec0) * np.cos(dec) * np.cos(ra)) / below
    return np.stack([x, y], axis=-1) / UNIT


def _on_sky(points, ra0, dec0):
    """The same backwards."""
    x, y = points.T * UNIT
    ra = ra0 + np.arctan2(x, np.cos(dec0) - y * np.sin(dec0))
    dec = np.arctan2(np.cos(ra - ra0) * (np.sin(dec0) + y * np.cos(dec0)), np.cos(dec0) - y * np.sin(dec0))
    return np.stack([ra, dec], axis=-1)
