"""Footprints of images on the sky, where two of them overlap, and which pixels lie there."""

import numpy as np

from ...kernels.polygon_fill import fill


class Footprint:
    """The outline of an image: great circles between points on its edge.

    Parameters
    ----------
    wcs : gwcs.WCS
        Celestial.
    shape : (int, int)
        Rows and columns.
    stepsize : int, optional
        Largest distance of two vertices in pixels; None: the four corners.
    """

    def __init__(self, wcs, shape, stepsize=None):
        from spherical_geometry.polygon import SphericalPolygon

        ny, nx = shape
        across, along = (2 if stepsize is None else max(2, int(np.ceil((n + 1) / stepsize))) for n in (nx, ny))
        right, up = np.linspace(-0.5, nx - 0.5, across), np.linspace(-0.5, ny - 0.5, along)[1:-1]
        x = np.concatenate([right, np.full(up.size, nx - 0.5), right[::-1], np.full(up.size, -0.5), [-0.5]])
        y = np.concatenate([np.full(right.size, -0.5), up, np.full(right.size, ny - 0.5), up[::-1], [-0.5]])
        ra, dec = (np.asarray(angles, float) for angles in wcs(x, y, with_bounding_box=False))
        ra[-1], dec[-1] = ra[0], dec[0]
        self.polygon = SphericalPolygon.from_radec(ra, dec)
        self._vectors = np.stack([np.cos(a := np.radians(ra)) * np.cos(d := np.radians(dec)), np.sin(a) * np.cos(d), np.sin(d)], axis=1)
        self._middle = self._vectors[:-1].mean(axis=0)
        self._middle /= np.linalg.norm(self._middle)
        self._reach = np.arccos(np.clip(self._vectors @ self._middle, -1, 1).min())

    def may_overlap(self, other):
        """Whether the circles around both touch: a quick no."""
        return np.arccos(np.clip(self._middle @ other._middle, -1, 1)) <= self._reach + other._reach

    def overlap(self, other):
        """Where two footprints overlap: outlines (ra, dec) [deg], closed; none where they don't."""
        from spherical_geometry.polygon import MalformedPolygonError

        if not self.may_overlap(other):
            return []
        try:
            common = self.polygon.intersection(other.polygon)
        except MalformedPolygonError:  # outlines that are nearly the same (spherical_geometry issue 168)
            common = self.polygon
        if abs(common.area()) == 0:
            return []
        return [(np.asarray(ra), np.asarray(dec)) for ra, dec in common.to_radec() if len(ra) > 3]


def pixels_inside(outlines, wcs, shape):
    """The pixels of an image inside outlines on the sky.

    Parameters
    ----------
    outlines : list of (ra, dec) [deg], closed
    wcs : gwcs.WCS
    shape : (int, int)
        Rows and columns.

    Returns
    -------
    bool (row, col)
    """
    inside = np.zeros(shape, bool)
    for ra, dec in outlines:
        x, y = wcs.invert(ra, dec, with_bounding_box=False)
        if np.isfinite(x).all() and np.isfinite(y).all():
            fill(x, y, inside)
    return inside
