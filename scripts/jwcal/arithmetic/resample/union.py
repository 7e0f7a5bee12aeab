"""The outline of what several polygons cover together, in a plane."""

import numpy as np

SNAP = 6  # decimals of a pixel: points that agree so far are one
BESIDE = 1e-4  # pixels from an edge: a point that is surely on one side of it


def clipped(polygon, low, high):
    """The part of a polygon inside a rectangle (Sutherland & Hodgman 1974, CACM 17, 32).

    Parameters
    ----------
    polygon : (vertex, 2)
    low, high : (2,)
        Corners of the rectangle.

    Returns
    -------
    (vertex, 2), of no vertices if nothing is inside
    """
    for axis in (0, 1):
        for limit, sign in ((low[axis], 1.0), (high[axis], -1.0)):
            depth = sign * (polygon[:, axis] - limit)
            found = []
            for here, there, a, b in zip(polygon, np.roll(polygon, -1, axis=0), depth, np.roll(depth, -1), strict=True):
                if a >= 0:
                    found.append(here)
                if (a > 0 > b) or (a < 0 < b):
                    found.append(here + (there - here) * (a / (a - b)))
            polygon = np.array(found).reshape(-1, 2)
    return polygon


def area(polygon):
    """Area, positive if the vertices go round to the left."""
    x, y = polygon.T
    return 0.5 * np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))


def union(polygons):
    """Outlines of what polygons cover together, without the holes in it.

    Every edge is cut where another one crosses it or ends on it. A piece belongs to the outline if what lies just right of it is in none
    of the polygons, which go round to the left.

    Parameters
    ----------
    polygons : list of (vertex, 2)
        None crosses itself.

    Returns
    -------
    list of (vertex, 2), in the order of their smallest corners
    """
    polygons = [p if area(p) > 0 else p[::-1] for p in (np.round(p, SNAP) for p in polygons) if len(p) > 2 and area(p) != 0]
    if not polygons:
        return []
    starts, ends = np.vstack(polygons), np.vstack([np.roll(p, -1, axis=0) for p in polygons])
    pieces = sorted({piece for start, end in zip(starts, ends, strict=True) for piece in _cut(start, end, starts, ends)})
    first, last = (np.array([piece[i] for piece in pieces]) for i in (0, 1))
    along = last - first
    right = 0.5 * (first + last) + BESIDE * np.column_stack([along[:, 1], -along[:, 0]]) / np.hypot(*along.T)[:, None]
    outside = ~np.any([_inside(right, polygon) for polygon in polygons], axis=0)
    rings = _rings([piece for piece, is_edge in zip(pieces, outside, strict=True) if is_edge])
    return sorted((ring for ring in rings if area(ring) > BESIDE), key=lambda ring: tuple(ring.min(axis=0)))


def _cut(start, end, starts, ends):
    """The pieces of an edge between the points where others meet it: ((x, y), (x, y)) each."""
    way, ways, to = end - start, ends - starts, starts - start
    length = np.hypot(*way)
    if length == 0:
        return []
    cross = way[0] * ways[:, 1] - way[1] * ways[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        mine = (to[:, 0] * ways[:, 1] - to[:, 1] * ways[:, 0]) / cross
        its = (to[:, 0] * way[1] - to[:, 1] * way[0]) / cross
    near = 10.0**-SNAP
    meets = (np.abs(cross) > near * near) & (its >= -near) & (its <= 1 + near)
    # ends of other edges that lie on this one: all there is where two are parallel
    on = np.abs(way[0] * to[:, 1] - way[1] * to[:, 0]) / length < 2 * near
    places = np.concatenate([mine[meets], (to[on] @ way) / length**2])
    places = np.unique(places[(places > near / length) & (places < 1 - near / length)])
    points = [start, *np.round(start + places[:, None] * way, SNAP), end]
    points = [tuple(float(v) + 0.0 for v in point) for point in points]
    return [(a, b) for a, b in zip(points, points[1:], strict=False) if a != b]


def _inside(points, polygon):
    """Whether points lie inside a polygon: the number of its edges to their right is odd."""
    x, y = points.T[:, :, None]
    (x1, y1), (x2, y2) = polygon.T, np.roll(polygon, -1, axis=0).T
    spans = (y1 > y) != (y2 > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        crosses = x < x1 + (y - y1) * (x2 - x1) / (y2 - y1)
    return np.count_nonzero(spans & crosses, axis=1) % 2 == 1


def _rings(pieces):
    """Pieces that follow each other as closed lines; where several leave a point the one farthest to the right is taken."""
    leaving = {}
    for start, end in pieces:
        leaving.setdefault(start, []).append(end)
    rings = []
    while leaving:
        start = min(leaving)
        ring, here, came = [], start, None
        while here in leaving:
            ring.append(here)
            ends = leaving[here]
            end = ends[0] if came is None or len(ends) == 1 else min(ends, key=lambda e: _turn(came, here, e))  # noqa: B023
            ends.remove(end)
            if not ends:
                del leaving[here]
            came, here = here, end
            if here == start:
                break
        if here == start and len(ring) > 2:
            rings.append(np.array(ring))
    return rings


def _turn(came, here, end):
    """Angle of a change of direction, positive to the left."""
    a, b = np.subtract(here, came), np.subtract(end, here)
    return np.arctan2(a[0] * b[1] - a[1] * b[0], a @ b)
