"""The thermal "picture frame" of NIRSpec's detectors: a pattern that differs between the detector's rim and its centre."""

import numpy as np

from ..columns.clipped_statistics import gather
from .background import median

# pixels from the detector's edge: reference pixels end, rim ends, centre begins; at the start and at the end of each axis
RIM = (4, 75), (5, 63)
CENTRE = 76, 64


def regions(background):
    """Background pixels of the centre and of the rim.

    Parameters
    ----------
    background : ndarray of bool, (row, col)

    Returns
    -------
    centre, rim : ndarray of bool, (row, col)
        Either may be empty.
    """
    ny, nx = background.shape
    (start, start_end), (stop, stop_begin) = RIM
    centre, rim, middle = (np.zeros(background.shape, bool) for _ in range(3))
    centre[CENTRE[0] : ny - CENTRE[1], CENTRE[0] : nx - CENTRE[1]] = True
    rim[start : ny - stop, start : nx - stop] = True
    middle[start_end : ny - stop_begin, start_end : nx - stop_begin] = True
    return centre & background, rim & ~middle & background


def levels(image, centre, rim):
    """Medians of an image's centre and rim; NaN where all pixels are."""
    return tuple(
        median(found.values) if found.values.size else np.float32(np.nan) for found in (gather(image, part) for part in (centre, rim))
    )


def pattern(frame, centre, rim, image):
    """What to subtract from an image so that the picture frame is gone.

    Parameters
    ----------
    frame : ndarray of float32, (row, col)
        The reference's pattern.
    centre, rim : ndarray of bool, (row, col)
    image : ndarray of float32, (row, col)

    Returns
    -------
    ndarray of float32, (row, col)
        The reference, scaled to the image's difference between centre and rim, with the image's level of the rim.
    """
    frame_centre, frame_rim = levels(frame, centre, rim)
    image_centre, image_rim = levels(image, centre, rim)
    scale = (image_centre - image_rim) / (frame_centre - frame_rim)
    return scale * (frame - frame_rim) + image_rim
