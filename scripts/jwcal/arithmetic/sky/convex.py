"""Convex outlines on the sky: where they overlap. Sides are great circles."""

import numpy as np


def vectors(ra, dec):
    """Unit vectors of directions in degrees, (n, 3)."""
    ra, dec = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(ra) * np.cos(dec), np.sin(ra) * np.cos(dec), np.sin(dec)], axis=1)


def angles(directions):
    """The reverse: right ascension and declination, degrees."""
    x, y, z = np.transpose(directions)
    return np.degrees(np.arctan2(y, x)) % 360, np.degrees(np.arctan2(z, np.hypot(x, y)))


def common(one, other):
    """The overlap of two convex outlines: Sutherland and Hodgman's clipping (1974, CACM 17, 32) with planes through the sphere's centre.

    Parameters
    ----------
    one, other : (n, 3) float
        Corners in order, either way round, not closed; each outline lies within a hemisphere.

    Returns
    -------
    (m, 3) float
        Corners of the overlap, those of the outlines unchanged; m < 3 where there is none.
    """
    inside = other.mean(axis=0)
    left = list(one)
    for k in range(len(other)):
        normal = np.cross(other[k - 1], other[k])
        if normal @ inside < 0:
            normal = -normal
        heights = [float(normal @ corner) for corner in left]
        kept = []
        for i, (corner, height) in enumerate(zip(left, heights, strict=True)):
            before, low = left[i - 1], heights[i - 1]
            if (height >= 0) != (low >= 0):
                crossing = before * height - corner * low if height > low else corner * low - before * height
                kept.append(crossing / np.linalg.norm(crossing))
            if height >= 0:
                kept.append(corner)
        left = kept
        if len(left) < 3:
            break
    return np.array(left).reshape(-1, 3)


def area(corners):
    """Of a small convex outline, in steradians: that of its chords' plane polygon."""
    if len(corners) < 3:
        return 0.0
    return float(np.linalg.norm(np.cross(corners[1:-1] - corners[0], corners[2:] - corners[0]).sum(axis=0)) / 2)


def circle(corners):
    """A circle around an outline: its middle and its radius in radians."""
    middle = corners.mean(axis=0)
    middle = middle / np.linalg.norm(middle)
    return middle, float(np.arccos(np.clip(corners @ middle, -1, 1).min()))
