"""What the sources of a direct image look like through the grism."""

import logging
from dataclasses import dataclass, field

import numpy as np

from ...kernels.grism.disperse import disperse
from .boxes import image_places

log = logging.getLogger(__name__)

LARGE = 8 * 2**20  # values of images that are made at once
FEWEST = 3  # wavelengths: an order 0 has hardly any dispersion


@dataclass
class DirectPixels:
    """The pixels of a direct image that belong to sources, those of a source together.

    Attributes
    ----------
    labels : (source,) int
    starts : (source + 1,) int64
        Where each source's pixels begin.
    x, y : (pixel,)
        Where they are on the detector without the grism.
    flux : (pixel,)
        MJy/sr.
    side : float
        Of such a pixel, in pixels of the detector.
    """

    labels: np.ndarray
    starts: np.ndarray
    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    side: float

    def chosen(self, labels):
        """Those of some sources."""
        numbers = np.flatnonzero(np.isin(self.labels, labels))
        sizes = np.diff(self.starts)[numbers]
        pixels = np.concatenate([np.arange(self.starts[n], self.starts[n + 1]) for n in numbers]) if len(numbers) else np.array([], int)
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        return DirectPixels(self.labels[numbers], starts, self.x[pixels], self.y[pixels], self.flux[pixels], self.side)


@dataclass
class Dispersed:
    """The image of one source and order on the detector, and what polynomials of the wavelength would make of it.

    Attributes
    ----------
    rows, columns : slice
        Of the detector.
    basis : float32 (term, row, col)
        Of a flat spectrum, and of the Legendre polynomials from the first on.
    image : float32 (row, col)
        As it is thought to be now.
    detector : (int, int), optional
        Rows and columns of the detector. A part of it lacks then as many rows and columns at its end as there are before the first with
        light, where the light ends on the detector: the peer's way.
    """

    rows: slice
    columns: slice
    basis: np.ndarray
    image: np.ndarray = field(default=None)
    detector: tuple | None = None

    def __post_init__(self):
        if self.image is None:
            self.image = self.basis[0]

    def part(self, rows, columns, image):
        """What of an image of its own is on a part of the detector: (row, col), 0 beside it."""
        out = np.zeros((rows.stop - rows.start, columns.stop - columns.start), image.dtype)
        low, left = max(rows.start, self.rows.start), max(columns.start, self.columns.start)
        top, right = min(rows.stop, self.rows.stop), min(columns.stop, self.columns.stop)
        if low < top and left < right:
            own = image[low - self.rows.start : top - self.rows.start, left - self.columns.start : right - self.columns.start]
            out[low - rows.start : top - rows.start, left - columns.start : right - columns.start] = own
        if self.detector:
            for axis, (_, size) in enumerate(self._extents()):
                out[(slice(None),) * axis + (slice(size, None),)] = 0
        return out

    def is_lost(self, rows, columns):
        """Whether, where it is cut short, nothing of it is left in a part of the detector."""
        starts = rows.start, columns.start
        return self.detector is not None and any(
            first - start >= size for start, (first, size) in zip(starts, self._extents(), strict=True)
        )

    def _extents(self):
        """First row and number of rows with light, then the same of columns; so many as the detector has where the light goes beyond it."""
        for start, axis, size in ((self.rows.start, 1, self.detector[0]), (self.columns.start, 0, self.detector[1])):
            lit = np.flatnonzero(self.basis[0].any(axis=axis))
            first, end = (start + lit[0], start + lit[-1] + 1) if lit.size else (start, start)
            yield first, end - first if end < size else size


def direct_pixels(wcs, image_wcs, image, segments, side):
    """The pixels of the sources of a direct image.

    Parameters
    ----------
    wcs : gwcs.WCS
        Of the grism exposure.
    image_wcs : gwcs.WCS
        Of the direct image.
    image : (row, col)
        MJy/sr, without a background.
    segments : int (row, col)
        Labels of the sources, 0 beside them.
    side : float
        See `DirectPixels`.
    """
    at = np.flatnonzero(segments)
    at = at[np.argsort(segments.ravel()[at], kind="stable")]
    labels, first = np.unique(segments.ravel()[at], return_index=True)
    rows, columns = np.divmod(at, segments.shape[1])
    ra, dec = image_wcs(columns.astype(float), rows.astype(float), with_bounding_box=False)
    x, y = image_places(wcs, ra, dec)
    flux = np.nan_to_num(image.ravel()[at].astype(float), posinf=0.0, neginf=0.0)
    flux[~(np.isfinite(x) & np.isfinite(y))] = 0
    return DirectPixels(
        labels, np.append(first, at.size).astype(np.int64), np.nan_to_num(x, nan=-1e6), np.nan_to_num(y, nan=-1e6), flux, side
    )


def sampled_wavelengths(dispersion, order, limits, place, oversample):
    """Wavelengths [micron] at which the light of an order is laid down: so many a pixel."""
    x0, y0 = place
    (x1, y1), (x2, y2) = (dispersion.disperse(order, wavelength, x0, y0) for wavelength in limits)
    length = abs(float((y2 - y1) - (x2 - x1)))
    count = max(int(np.ceil(length * oversample)), FEWEST)
    return np.linspace(*limits, count)


def dispersed_sources(pixels, dispersion, order, wavelengths, weights, shape, kept, total):
    """Lay down the light of an order.

    Parameters
    ----------
    pixels : DirectPixels
    dispersion : Dispersion
    order : int
    wavelengths : (n,)
    weights : (basis, n)
        DN/s that a MJy/sr of a direct image's pixel gives at each wavelength; the first of a flat spectrum.
    shape : (int, int)
        Rows and columns of the detector.
    kept : collection of int
        Labels of sources whose images are wanted.
    total : float64 (row, col)
        All sources' images are added to it.

    Returns
    -------
    dict
        Label -> Dispersed, of those in `kept` that fall on the detector.
    """
    boxes = _boxes(pixels, dispersion, order, wavelengths, shape)
    sizes = np.where((boxes[:, 2:] > 0).all(axis=1), boxes[:, 2] * boxes[:, 3], 0)
    found, kept = {}, set(int(label) for label in kept)
    first = 0
    while first < len(sizes):
        last = first + 1
        held = sizes[first] * len(weights)
        while last < len(sizes) and held + sizes[last] * len(weights) <= LARGE:
            held += sizes[last] * len(weights)
            last += 1
        numbers = first + np.flatnonzero(sizes[first:last])
        if numbers.size:
            for number, images in _laid_down(pixels, dispersion, order, wavelengths, weights, boxes, numbers):
                column, row, columns, rows = boxes[number]
                where = slice(row, row + rows), slice(column, column + columns)
                total[where] += images[0]
                label = int(pixels.labels[number])
                if label in kept:
                    found[label] = Dispersed(*where, images.astype(np.float32))
        first = last
    return found


def _boxes(pixels, dispersion, order, wavelengths, shape):
    """First column, first row, columns and rows of the part of the detector that each source's light falls on; none where it misses it."""
    ends = wavelengths[np.linspace(0, len(wavelengths) - 1, min(9, len(wavelengths))).astype(int)]
    x, y = dispersion.disperse(order, ends[:, None], pixels.x[None], pixels.y[None])
    boxes = np.empty((len(pixels.labels), 4), np.int64)
    for axis, places in ((0, x), (1, y)):
        low = np.minimum.reduceat(places.min(axis=0), pixels.starts[:-1]) - pixels.side / 2 - 1
        high = np.maximum.reduceat(places.max(axis=0), pixels.starts[:-1]) + pixels.side / 2 + 1
        size = shape[1 - axis]
        first = np.clip(np.floor(low), 0, size).astype(np.int64)
        last = np.clip(np.ceil(high) + 1, 0, size).astype(np.int64)
        boxes[:, axis], boxes[:, 2 + axis] = first, np.maximum(last - first, 0)
    return boxes


def _laid_down(pixels, dispersion, order, wavelengths, weights, boxes, numbers):
    """(number, images (basis, row, col)) of some sources."""
    some = pixels.chosen(pixels.labels[numbers])
    model = dispersion.order(order)
    trace = np.zeros((some.x.size, 2, max(len(model.x.coefficients), len(model.y.coefficients))))
    for axis, polynomial in enumerate((model.x, model.y)):
        trace[:, axis, : len(polynomial.coefficients)] = polynomial.at(some.x, some.y).T
    everywhere = model.t_of_wavelength is not None or model.wavelength.is_uniform
    t = dispersion.parameter(order, wavelengths, 0.0, 0.0) if everywhere else np.zeros(1)
    own = np.empty((some.x.size, 0)) if everywhere else np.ascontiguousarray(model.wavelength.at(some.x, some.y).T)
    places = np.concatenate([[0], np.cumsum(boxes[numbers, 2] * boxes[numbers, 3] * len(weights))]).astype(np.int64)
    buffer = np.zeros(places[-1])
    angle = np.radians(dispersion.turn)
    disperse(
        *(buffer, places, np.ascontiguousarray(boxes[numbers]), some.starts, some.x, some.y, some.flux, trace, own, t),
        *(wavelengths / dispersion.velocity, np.ascontiguousarray(weights), (float(np.cos(angle)), float(np.sin(angle))), some.side / 2),
    )
    for n, number in enumerate(numbers):
        yield number, buffer[places[n] : places[n + 1]].reshape(len(weights), boxes[number, 3], boxes[number, 2])
