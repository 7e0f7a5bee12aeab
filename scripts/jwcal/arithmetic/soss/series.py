"""A series of integrations: a typical image of it, and blocks of it without gaps."""

import numpy as np

from ...kernels.outliers.median_image import median_image
from ...kernels.soss.fill_in_time import fill_in_time
from ...vocabulary import dq as bits
from .overlap import Sample

MOST = 51  # integrations of a sample
WINDOW = 9  # integrations whose median fills a gap
INFLATE = 10.0  # error of what was filled, in usual ones
BLOCK = 32 * 2**20  # bytes of a plane of a block
BAD = bits.DO_NOT_USE
SEED = 42


class Planes:
    """SCI, ERR and DQ of some rows, (int, row, col); an image is one integration."""

    def __init__(self, exposure, rows):
        planes = (exposure.sci, exposure.err, exposure.dq)
        sci, err, dq = ((plane if plane.ndim == 3 else plane[None])[:, rows] for plane in planes)
        self.sci, self.err, self.dq = sci, err, np.broadcast_to(dq, sci.shape)

    def __len__(self):
        return len(self.sci)

    def some(self, most):
        """Up to so many integrations, evenly spread."""
        part = object.__new__(Planes)
        chosen = np.unique(np.linspace(0, len(self) - 1, min(most, len(self))).round().astype(int))
        part.sci, part.err, part.dq = (plane[chosen] for plane in (self.sci, self.err, self.dq))
        return part


def together(parts):
    """Integrations of several exposures as one."""
    if len(parts) == 1:
        return parts[0]
    whole = object.__new__(Planes)
    whole.sci, whole.err, whole.dq = (np.concatenate([getattr(part, name) for part in parts]) for name in ("sci", "err", "dq"))
    return whole


class Usual:
    """What pixels usually have.

    Attributes
    ----------
    sci, err : float32 (row, col)
        Medians of the integrations that can be used; NaN where none can.
    bad, blind : bool (row, col)
        Pixels that none can use, and reference pixels, which are bad too.
    """

    def __init__(self, planes):
        with np.errstate(invalid="ignore"):
            good = np.isfinite(planes.sci) & np.isfinite(planes.err) & (planes.err > 0) & (planes.dq & BAD == 0)
        self.sci, self.err = (np.empty(good.shape[1:], np.float32) for _ in range(2))
        median_image(np.where(good, planes.sci, np.float32(np.nan)), self.sci)
        median_image(np.where(good, planes.err, np.float32(np.nan)), self.err)
        self.blind = planes.dq[0] & bits.REFERENCE_PIXEL != 0
        self.bad = ~good.any(axis=0) | self.blind


def blocks(planes, usual, wanted):
    """Go through a series: (slice, sci, err, absent) of blocks, (block, row, col) float32, gaps filled and where they were.

    Parameters
    ----------
    planes : Planes
    usual : Usual
    wanted : bool (row, col)
        Pixels that are looked at.
    """
    count, *shape = planes.sci.shape
    size = max(1, BLOCK // (4 * shape[0] * shape[1]))
    for first in range(0, count, size):
        made = [np.empty((min(size, count - first), *shape), np.float32) for _ in range(3)]
        given = planes.sci, planes.err, planes.dq, np.uint32(BAD), wanted, usual.sci, usual.err
        fill_in_time(*given, first, min(count, WINDOW), np.float32(INFLATE), *made)
        yield slice(first, first + len(made[0])), *made


def typical(planes, usual):
    """The mean image, with the noise of a single one: the choice of a factor asks how far the residuals are from that.

    Parameters
    ----------
    planes : Planes
    usual : Usual

    Returns
    -------
    Sample
    """
    total = np.zeros(usual.sci.shape)
    wanted = ~usual.bad
    for _, sci, _, _ in blocks(planes, usual, wanted):
        total += sci.sum(axis=0, dtype=float)
    count = len(planes)
    error = np.where(usual.bad, 1.0, usual.err).astype(float)
    noise = np.random.default_rng(SEED).standard_normal(error.shape) * error * np.sqrt((count - 1) / count)
    return Sample(np.where(usual.bad, 0, total / count + noise), error, usual.bad, usual.blind)
