"""From an exposure's integrations to images about the star: what is cut out, what is bad, and what becomes of that."""

import logging
from dataclasses import dataclass

import numpy as np

from ...vocabulary import dq
from ...vocabulary.errors import InputError
from . import bad_pixels, place

log = logging.getLogger(__name__)

BAD = np.uint32(dq.DO_NOT_USE | dq.JUMP_DET)
FULL_FRAME = slice(0, 80), slice(1044, 1124)  # rows and columns: the subarray SUB80
SIGMAS = 10.0  # of all integrations, above their median
USUAL_PIXEL = 65.6e-3  # arcsec


@dataclass
class Images:
    """Attributes
    ----------
    sci : (int, n, n) float64, finite
    bad : (int, n, n) bool: not to be fitted
    whole : (row, col) float64, the median of all pixels, finite
    """

    sci: np.ndarray
    bad: np.ndarray
    whole: np.ndarray


def cut_out(exposure, first=None):
    """The integrations of an exposure, (int, row, col) float64 and uint32: those that are wanted; an image is one.

    Raises
    ------
    InputError
        There is nothing in them.
    """
    sci = np.asarray(exposure.sci, float)
    flags = np.zeros(sci.shape, np.uint32) if exposure.dq is None else exposure.dq
    if sci.ndim == 2:
        sci, flags = sci[None], flags[None]
    flags = np.broadcast_to(flags, sci.shape)
    if str(exposure.header.get("SUBARRAY", "")).upper() == "FULL":
        sci, flags = sci[(slice(None), *FULL_FRAME)], flags[(slice(None), *FULL_FRAME)]
    sci, flags = sci[:first], flags[:first]
    if sci.ndim != 3 or min(sci.shape[1:]) <= 2 * place.EDGE or not np.isfinite(sci[:, place.EDGE :]).any():
        raise InputError("it has no image of a star behind a mask", exposure.name, "Leave it out of the association")
    return sci, flags


def pixel_size(header):
    """Side of a pixel, rad: the mean of rows and columns, by the WCS keywords."""
    matrix = [header.get(keyword) for keyword in ("CD1_1", "CD2_1", "CD1_2", "CD2_2")]
    steps = [header.get(keyword) for keyword in ("CDELT1", "CDELT2")]
    if all(value is not None for value in matrix):
        size = (np.hypot(*matrix[:2]) + np.hypot(*matrix[2:])) / 2
    elif all(value is not None for value in steps):
        size = np.mean(np.abs(steps))
    else:
        log.warning("%s: no keywords tell the size of a pixel, it is taken as %.4f arcsec", header.name, USUAL_PIXEL)
        size = USUAL_PIXEL / 3600
    return float(np.radians(size))


def prepared(sci, flags, dark, use_flags, name):
    """Images about the star without bad pixels.

    Parameters
    ----------
    sci, flags : (int, row, col)
    dark : callable
        Size (even) -> dark frequencies (`bad_pixels`); None where bad pixels are not corrected.
    use_flags : bool
        Whether bad pixels are left out of the fit.
    name : str
        Of the exposure, for the log.
    """
    trimmed, marks = sci[:, place.EDGE :], flags[:, place.EDGE :]
    missing = ~np.isfinite(trimmed)
    bad = missing | ((marks & BAD) != 0)
    with np.errstate(invalid="ignore"):
        if len(sci) > 1:  # what is far above all other integrations
            values = np.where(missing.all(axis=0), 0, trimmed)
            beyond = trimmed - np.nanmedian(values, axis=0) > SIGMAS * np.nanstd(values, axis=0)
            bad |= beyond
    middle = _median(trimmed, bad)
    rows, columns = place.window(middle)
    images, bad = trimmed[:, rows, columns], bad[:, rows, columns]
    size = images.shape[1]
    if size < 16:
        raise InputError(f"its brightest pixel is {size // 2} pixels from the edge: there is no image about it", name, "Leave it out")
    log.info(
        "%s: %d x %d pixels about row %d, column %d",
        name,
        size,
        size,
        (rows.start + rows.stop) // 2 + place.EDGE,
        (columns.start + columns.stop) // 2,
    )
    out, known = np.where(np.isfinite(images), images, 0.0), int(bad.sum())
    if dark is not None:
        frequencies, bad = dark(size // 2 * 2), bad.copy()
        for number, image in enumerate(images):
            if not bad[number].all():
                out[number], bad[number] = bad_pixels.found_and_corrected(image, bad[number], frequencies)
        log.info("%s: %d bad pixels were corrected, %d of them were not known", name, bad.sum(), bad.sum() - known)
    if not use_flags:
        # pixels without a value stay out, unless they got one
        bad = np.zeros_like(bad) if dark is not None else ~np.isfinite(images)
    return Images(out, bad, np.nan_to_num(_median(sci, ~np.isfinite(sci))))


def _median(cube, bad):
    """The median of the good values of each pixel; where there is none that of its neighbours."""
    values = np.where(bad, np.nan, cube)
    empty = np.isnan(values).all(axis=0)
    values[:, empty] = 0
    middle = np.nanmedian(values, axis=0)
    middle[empty] = np.nan
    out = middle.copy()
    for row, column in np.argwhere(empty):
        box = middle[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        out[row, column] = np.median(box[np.isfinite(box)]) if np.isfinite(box).any() else 0.0
    return out
