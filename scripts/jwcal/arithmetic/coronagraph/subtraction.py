"""Karhunen-Loeve image projection (Soummer, Pueyo & Larkin 2012, ApJ 755, L28): a star as the best sum of its references' principal images.

The references are never held in double precision as a whole: what is needed of them are their products with each other and with the
images, which are summed over blocks of pixels.
"""

from dataclasses import dataclass

import numpy as np

BLOCK = 32 * 2**20  # bytes of a block of all references' pixels, in double precision
NOTHING = 1e-12  # of the largest eigenvalue: below, a principal image is rounding noise
RIDGE = 1e-10  # of the largest eigenvalue, so that references that are equal do no harm


@dataclass(frozen=True)
class Zone:
    """A part of the image with principal images of its own.

    Attributes
    ----------
    fit : slice or int array
        Pixels of the flattened image in which the star is fitted.
    subtract : slice or int array
        Pixels in which the fit is subtracted.
    most : int
        Principal images, at most.
    """

    fit: object
    subtract: object
    most: int


def zones(shape, star, truncate, inner=0.0, outer=None, width=0.0, modes=None):
    """The parts of an image.

    Parameters
    ----------
    shape : (int, int)
    star : (float, float)
        x and y of the star, pixels from 0.
    truncate : int
        Principal images, at most.
    inner, outer : float
        Distances from the star [pixels] between which it is fitted.
    width : float
        Of rings that each have principal images of their own, pixels; 0: one set for the whole image.
    modes : list of int, optional
        Principal images of each ring, at most, from the inside outwards; the last is for all further ones.

    Returns
    -------
    list of Zone
    """
    whole = slice(0, shape[0] * shape[1])
    if not width and inner <= 0 and outer is None:
        return [Zone(whole, whole, truncate)]
    rows, columns = np.indices(shape)
    away = np.hypot(columns - star[0], rows - star[1]).ravel()
    wanted = (away >= inner) & (away <= (np.inf if outer is None else outer))
    if not width:
        return [Zone(np.flatnonzero(wanted), whole, truncate)]
    ring, made = (away // width).astype(int), []
    for number in range(ring.max() + 1):
        pixels = np.flatnonzero(ring == number)
        if not pixels.size:
            continue
        fit = pixels[wanted[pixels]]
        most = min(truncate, modes[min(number, len(modes) - 1)]) if modes else truncate
        made.append(Zone(fit if fit.size > 1 else pixels, pixels, most))
    return made


def _blocks(pixels, count):
    """Pieces of some pixels, so that `count` images of a piece fit into a block."""
    size = max(1, BLOCK // (8 * max(1, count)))
    if isinstance(pixels, slice):
        return [slice(start, min(start + size, pixels.stop)) for start in range(pixels.start, pixels.stop, size)]
    return [pixels[start : start + size] for start in range(0, pixels.size, size)]


def _number(pixels):
    return pixels.stop - pixels.start if isinstance(pixels, slice) else pixels.size


class _Part:
    """The principal images of one zone.

    Attributes
    ----------
    count : int
        How many of them are used.
    """

    def __init__(self, references, zone):
        self._references, self.zone = references, zone
        number = len(references)
        sums, pixels = np.zeros(number), _number(zone.fit)
        for block in _blocks(zone.fit, number):
            sums += references[:, block].sum(axis=1, dtype=float)
        self.means = sums / max(pixels, 1)
        products = np.zeros((number, number))
        for block in _blocks(zone.fit, number):
            images = self.images(block)
            products += images @ images.T
        values, vectors = np.linalg.eigh(products)
        values, vectors = values[::-1], vectors[:, ::-1]
        rank = int(np.sum(values > NOTHING * max(values[0], 0.0))) if values[0] > 0 else 0
        self.rank, self.count = rank, min(zone.most, rank)
        used = vectors[:, : self.count]
        self._to_weights = (used / values[: self.count]) @ used.T
        if self.count < rank:
            self._to_rest = np.eye(number) - used @ used.T
        elif rank:
            inverse = (vectors / (np.maximum(values, 0) + RIDGE * values[0])) @ vectors.T
            self._to_rest = inverse / np.diag(inverse)[:, None]
        else:
            self._to_rest = np.eye(number)

    def images(self, block):
        """The references' pixels of a block without their means: (reference, pixel) float64."""
        return self._references[:, block].astype(float) - self.means[:, None]

    def weights(self, images):
        """Weights of the references whose sum is the fit, (reference, image), and the images' means.

        Parameters
        ----------
        images : (image, pixel) float32
        """
        sums, number = np.zeros(len(images)), len(self._references) + len(images)
        for block in _blocks(self.zone.fit, number):
            sums += images[:, block].sum(axis=1, dtype=float)
        means, products = sums / max(_number(self.zone.fit), 1), np.zeros((len(self._references), len(images)))
        for block in _blocks(self.zone.fit, number):
            products += self.images(block) @ (images[:, block].astype(float) - means[:, None]).T
        return self._to_weights @ products, means

    def scatter(self, block):
        """Standard deviation of what is left of the references in a block."""
        return np.std(self._to_rest @ self.images(block), axis=0)


class Subtraction:
    """What subtracts a star by its references.

    Parameters
    ----------
    references : (reference, row, col) float32
        Aligned, without NaN; may lie in a file.
    parts : list of Zone
    """

    def __init__(self, references, parts):
        self.shape = references.shape[1:]
        flat = references.reshape(len(references), -1)
        self.number = len(references)
        self.parts = [_Part(flat, zone) for zone in parts]

    @property
    def counts(self):
        """Principal images of each zone."""
        return [part.count for part in self.parts]

    def subtract(self, images):
        """Take the star out.

        Parameters
        ----------
        images : (image, row, col) float32
            Without NaN; changed in place.
        """
        flat = images.reshape(len(images), -1)
        fits = [part.weights(flat) for part in self.parts]
        for part, (weights, means) in zip(self.parts, fits, strict=True):
            for block in _blocks(part.zone.subtract, self.number + len(images)):
                flat[:, block] = flat[:, block] - means[:, None] - weights.T @ part.images(block)

    def error(self):
        """Standard deviation of what is left of the references: (row, col) float32; None for a single one.

        Where all principal images are used nothing is left of the references themselves: then it is of each as the others fit it.
        """
        if self.number < 2:
            return None
        out = np.empty(self.shape[0] * self.shape[1], np.float32)
        for part in self.parts:
            for block in _blocks(part.zone.subtract, 2 * self.number):
                out[block] = part.scatter(block)
        return out.reshape(self.shape)

    def left_of(self, pixels, values):
        """What is left of a small source that is added to the image: the subtraction is linear in it.

        Parameters
        ----------
        pixels : int array
            Of the flattened image, in ascending order; 0 elsewhere.
        values : float array

        Returns
        -------
        float array
            In the same pixels.
        """
        left = np.array(values, float)
        for part in self.parts:
            inside, there = (_among(pixels, which) for which in (part.zone.fit, part.zone.subtract))
            mean = values[inside].sum() / max(_number(part.zone.fit), 1)
            weights = part._to_weights @ (part.images(pixels[inside]) @ values[inside])
            left[there] -= mean + weights @ part.images(pixels[there])
        return left


def _among(pixels, which):
    """Which of some pixels are among others, both in ascending order: bool."""
    if isinstance(which, slice):
        return (pixels >= which.start) & (pixels < which.stop)
    if not which.size:
        return np.zeros(pixels.shape, bool)
    place = np.minimum(np.searchsorted(which, pixels), which.size - 1)
    return which[place] == pixels
