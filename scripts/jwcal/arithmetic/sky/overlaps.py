"""Footprints of images on the sky, where two of them overlap, and which pixels lie there."""

import numpy as np

from ...kernels.sky.polygon_fill import fill
from . import convex


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
        ny, nx = shape
        across, along = (2 if stepsize is None else max(2, int(np.ceil((n + 1) / stepsize))) for n in (nx, ny))
        right, up = np.linspace(-0.5, nx - 0.5, across), np.linspace(-0.5, ny - 0.5, along)[1:-1]
        x = np.concatenate([right, np.full(up.size, nx - 0.5), right[::-1], np.full(up.size, -0.5)])
        y = np.concatenate([np.full(right.size, -0.5), up, np.full(right.size, ny - 0.5), up[::-1]])
        self.corners = convex.vectors(*(np.asarray(angles, float) for angles in wcs(x, y, with_bounding_box=False)))
        self._middle, self._reach = convex.circle(self.corners)
        self._simple = len(self.corners) == 4

    def overlap(self, other):
        """Where two footprints overlap: outlines (ra, dec) [deg], closed; none where they don't."""
        if not np.arccos(np.clip(self._middle @ other._middle, -1, 1)) <= self._reach + other._reach:
            return []
        if self._simple and other._simple:
            corners = convex.common(self.corners, other.corners)
            outlines = [convex.angles(corners)] if convex.area(corners) > 0 else []
            return [(np.append(ra, ra[0]), np.append(dec, dec[0])) for ra, dec in outlines]
        return self._of_many_corners(other)

    def _of_many_corners(self, other):
        """The same for outlines that distortion may make hollow."""
        from spherical_geometry.polygon import MalformedPolygonError, SphericalPolygon

        mine, its = (SphericalPolygon.from_radec(*(np.append(a, a[0]) for a in convex.angles(one.corners))) for one in (self, other))
        try:
            both = mine.intersection(its)
        except MalformedPolygonError:  # outlines that are nearly the same (spherical_geometry issue 168)
            both = mine
        if abs(both.area()) == 0:
            return []
        return [(np.asarray(ra), np.asarray(dec)) for ra, dec in both.to_radec() if len(ra) > 3]


def pixels_inside(areas, wcs, shape):
    """The pixels of an image inside each of some areas on the sky; one call of its WCS, which takes long, serves them all.

    Parameters
    ----------
    areas : list of lists of (ra, dec) [deg], closed
        The outlines of each.
    wcs : gwcs.WCS
    shape : (int, int)
        Rows and columns.

    Yields
    ------
    bool (row, col)
    """
    outlines = [np.stack(outline) for area in areas for outline in area]
    if not outlines:
        yield from (np.zeros(shape, bool) for _ in areas)
        return
    placed = np.stack(wcs.invert(*np.concatenate(outlines, axis=1), with_bounding_box=False))
    corners = iter(np.split(placed, np.cumsum([outline.shape[1] for outline in outlines])[:-1], axis=1))
    for area in areas:
        inside = np.zeros(shape, bool)
        for _ in area:
            x, y = next(corners)
            if np.isfinite(x).all() and np.isfinite(y).all():
                fill(x, y, inside)
        yield inside
