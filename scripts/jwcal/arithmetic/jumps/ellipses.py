"""Ellipses that stand for regions of pixels: those with the same second moments.

Points of the pixel grid often lie exactly on a circle of whole radius, and there the last bit of the angle decides. So moments are
numpy's Einstein sums, and sines numpy's, as they are in scikit-image: the same bits, on processors of any kind.
"""

import math
from typing import NamedTuple

import numpy as np

from ...kernels.jumps.regions import Regions, find_regions, region_image


class Ellipse(NamedTuple):
    """Centre (pixels), full axes (pixels, one less than the moments say), angle of the major axis from the columns' direction (degrees)."""

    x: float
    y: float
    minor: float
    major: float
    angle: float


def regions(now, bit, least, before=None, veto=0):
    """Regions of at least `least` pixels, holes included, with `bit` now and without `veto` before: `kernels.regions.Regions`."""
    return Regions(*find_regions(now, now if before is None else before, np.uint8(bit), np.uint8(veto), float(least)))


def centres(found):
    """Centres of regions: x, y."""
    n = found.sums[:, 0]
    y, x = ((found.sums[:, 1 + k] + n * found.box[:, k]) / n for k in (0, 1))
    return x, y


def fit(found, k):
    """The ellipse of region k."""
    image = region_image(found.runs, found.label[k], found.box[k])
    n, sums = found.sums[k, 0], found.sums[k, 1:3]
    rows, columns = ((np.arange(size) - total / n)[:, None] ** np.arange(4.0) for size, total in zip(image.shape, sums, strict=True))
    moments = np.einsum("ij,ik->kj", image, rows, optimize="greedy")
    moments = np.einsum("kj,jl->kl", moments, columns, optimize="greedy")
    total = moments[2, 0] + moments[0, 2]
    a, b, c = (total - moments[2, 0]) / n, -moments[1, 1] / n, (total - moments[0, 2]) / n
    low, high = np.clip(np.linalg.eigvalsh([[a, b], [b, c]]), 0, None)
    angle = 0.5 * math.atan2(-2 * b, c - a) if a != c else math.copysign(math.pi / 4, -1 if b >= 0 else 1)
    y, x = (sums + n * found.box[k, :2]) / n
    return Ellipse(float(x), float(y), 4 * math.sqrt(low) - 1, 4 * math.sqrt(high) - 1, float(np.degrees(angle)))


def fits(found):
    """The ellipses of all regions."""
    return [fit(found, k) for k in range(len(found.label))]


def contains(ellipse, x, y):
    """Whether points lie inside an ellipse. Mirrored at the diagonal, as the peer has it: a core in the middle is inside all the same."""
    turn = np.radians(180 - ellipse.angle)
    dx, dy = x - ellipse.x, y - ellipse.y
    along, across = dx * np.cos(turn) - dy * np.sin(turn), dx * np.sin(turn) + dy * np.cos(turn)
    low, high = sorted((ellipse.minor * 0.5, ellipse.major * 0.5))
    with np.errstate(divide="ignore", invalid="ignore"):
        return along**2 / np.float64(high) ** 2 + across**2 / np.float64(low) ** 2 <= 1


def grown(ellipse, ratio, longest):
    """Axes (minor, major) of a larger ellipse: the minor one times a ratio, the major one by as many pixels; none longer than `longest`."""
    more = (ratio - 1.0) * ellipse.minor
    return min(ellipse.minor * ratio, longest), min(ellipse.major + more, longest)


def footprint(ellipse, minor, major, shape):
    """The pixels of an ellipse with other axes.

    Parameters
    ----------
    ellipse : Ellipse
        Its centre is rounded to a pixel.
    minor, major : float
        Full axes; half of them is rounded to whole pixels. Below zero, as the minor axis of a line of pixels is, next to nothing is left.
    shape : (row, col)
        Of the frame.

    Returns
    -------
    (slice, slice), ndarray of bool
        Rows and columns, and which pixels of them.
    """
    across, along = round(minor / 2), round(major / 2)
    if not across or not along:
        return (slice(0, 0), slice(0, 0)), np.zeros((0, 0), bool)
    turn = np.radians(ellipse.angle) % np.pi
    sin, cos = np.sin(turn), np.cos(turn)
    reaches = abs(along * cos) + across * sin, along * sin + abs(across * cos)
    box, offsets = [], []
    for middle, reach, size in zip((round(ellipse.y), round(ellipse.x)), reaches, shape, strict=True):
        first = max(math.ceil(middle - reach), 0)
        box.append(slice(first, max(first, min(math.floor(middle + reach) + 1, size))))
        offsets.append(np.arange(box[-1].start, box[-1].stop) - middle)
    r, c = offsets[0][:, None], offsets[1][None, :]
    return tuple(box), ((r * cos + c * sin) / along) ** 2 + ((r * sin - c * cos) / across) ** 2 < 1
