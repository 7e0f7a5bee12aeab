"""The fringes of an image: a linear model of its pixels, fitted by least squares.

Greenbaum et al. 2015, ApJ 798, 68: behind a mask of holes the image of a point source is the envelope of one hole times a sum of fringes,
one for each pair of holes. With the place of the image known all that a source can change is the strength of each fringe's cosine and sine.
"""

from dataclasses import dataclass

import numpy as np

from ...kernels.ami import fringes as kernel


@dataclass
class Optics:
    """What the model of an image depends on beside its place.

    Attributes
    ----------
    mask : mask.Mask
    bandpass : bandpass.Bandpass
    affine : affine.Affine
    pixel : float
        rad.
    over : int
        Samples a pixel, along each axis.
    whole_pixels : bool
        Whether what a pixel's area does to a fringe is computed exactly, and not by its samples alone: three of them see a fringe of three
        pixels by 2 % too strong.
    """

    mask: object
    bandpass: object
    affine: object
    pixel: float
    over: int
    whole_pixels: bool = False


def model(optics, shape, offset):
    """The images that the model is made of.

    Parameters
    ----------
    optics : Optics
    shape : (rows, columns)
    offset : (rows, columns)
        Pixels from the middle of the array to that of the star's image.

    Returns
    -------
    (row, col, 2 + holes (holes - 1)) float64
        What all fringes lie on, each pair's cosine and sine, and a constant.
    """
    over, holes = optics.over, optics.mask.holes
    matrix = optics.affine.of_image
    centre = [(n * over - 1) / 2 + move * over for n, move in zip(shape, offset, strict=True)]
    frequency = optics.pixel / over / optics.bandpass.wavelengths  # 1/m in a sample
    placed = holes @ matrix  # metres along rows and columns of the image
    tables = []
    for axis in (0, 1):
        at = np.arange(shape[axis] * over) - centre[axis]
        tables.append(np.exp(2j * np.pi * frequency[:, None, None] * at[:, None] * placed[:, axis]))
    scaled = matrix * (optics.mask.width * frequency)[:, None, None]
    lines = np.concatenate([scaled, np.broadcast_to(np.array(centre), scaled.shape)], axis=2)
    weights = optics.bandpass.weights.astype(float)
    response = _response(optics, placed) if optics.whole_pixels else np.ones((len(weights), len(optics.mask.pairs)))
    images = kernel.fringes(*tables, weights, response, np.ascontiguousarray(lines), over)
    images[..., 0] *= len(holes)
    constant = np.full((*shape, 1), weights.sum() * over**2)
    return np.concatenate([images, constant], axis=2)


def _response(optics, placed):
    """How much of a fringe a pixel's area leaves over what its samples do, (wavelength, pair)."""
    first, second = optics.mask.pairs.T
    cycles = (optics.pixel / optics.bandpass.wavelengths)[:, None, None] * (placed[first] - placed[second])  # in a pixel
    # sin(pi f) / (pi f) of the area over sin(pi f) / (n sin(pi f / n)) of n points
    return np.sinc(cycles / optics.over).prod(axis=2)


def point_source(optics, shape, offset):
    """The image of a point source, (row, col) float64."""
    images = model(optics, shape, offset)
    return images[..., 0] + images[..., 1:-1:2].sum(axis=2)


@dataclass
class Fit:
    """What was found in one image.

    Attributes
    ----------
    coefficients : (terms,) float64, over the first
    covariance : (terms, terms) float64, of these, by the scatter of what the fit leaves
    flux : float, the first coefficient
    image : (row, col), the fitted model
    """

    coefficients: np.ndarray
    covariance: np.ndarray
    flux: float
    image: np.ndarray


def fitted(image, images, bad):
    """Fit a model to an image, all good pixels alike.

    Parameters
    ----------
    image : (row, col) float
    images : (row, col, terms) float64
    bad : (row, col) bool

    Returns
    -------
    Fit, or None where the good pixels are too few or do not hold the fringes apart.
    """
    good = ~bad
    design, values = images[good], np.asarray(image, float)[good]
    terms = design.shape[1]
    if len(values) <= terms:
        return None
    size = np.sqrt((design**2).sum(axis=0))
    try:
        inverse = np.linalg.inv((design.T @ design) / np.outer(size, size)) / np.outer(size, size)
    except np.linalg.LinAlgError:
        return None
    found = inverse @ (design.T @ values)
    if not np.isfinite(found).all() or found[0] <= 0:
        return None
    left = values - design @ found
    covariance = inverse * (left @ left / (len(values) - terms)) / found[0] ** 2
    return Fit(found / found[0], covariance, float(found[0]), images @ found)
