"""Images of parts of one grid, and their median, without all of them in memory."""

import numpy as np

from ...kernels.columns.clipped_statistics import clipped, gather
from ...kernels.outliers.median_image import median_image
from ...machine.scratch import Scratch, part_of

BLOCK = 64 * 2**20  # bytes of the images' rows that are in memory at once
MOST = 768 * 2**20  # bytes of images that are kept in memory, if they may be
CLIP, ROUNDS = 3.0, 5  # of the mean weight


class Stack:
    """Images on a common grid, each on a window of it; beyond a size they lie in scratch files.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the grid.
    in_memory : bool
        Keep them in memory as long as they are not more than `MOST`.
    scratch : path, optional
        Folder for scratch files; by default the system's.
    """

    def __init__(self, shape, in_memory=True, scratch=None):
        self.shape, self._in_memory, self._scratch = shape, in_memory, Scratch("jwcal-outliers-", scratch)
        self._images, self._bytes = [], 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._images.clear()
        self._scratch.close()

    def append(self, image, window):
        """Add an image, float32, on its (rows, columns): slices of the grid."""
        self._bytes += image.nbytes
        image = np.ascontiguousarray(image, np.float32)
        if not self._in_memory or self._bytes > MOST:
            image = self._scratch.put(f"{len(self._images)}.bin", image)
        self._images.append((window, image))

    def median(self):
        """The median of each pixel, NaN left out: (row, col) float32. It is made by blocks of rows."""
        out = np.full(self.shape, np.nan, np.float32)
        rows, columns = self.shape
        step = max(1, BLOCK // (4 * columns * max(1, len(self._images))))
        for start in range(0, rows, step):
            stop = min(start + step, rows)
            there = [(window, image) for window, image in self._images if window[0].start < stop and window[0].stop > start]
            if not there:
                continue
            block = np.full((len(there), stop - start, columns), np.nan, np.float32)
            for layer, (window, image) in zip(block, there, strict=True):
                first, last = max(start, window[0].start), min(stop, window[0].stop)
                layer[first - start : last - start, window[1]] = _rows(image, window, first, last)
            median_image(block, out[start:stop])
        return out


def _rows(image, window, first, last):
    """Some rows of an image, by their numbers in the grid."""
    above, width = window[0].start, window[1].stop - window[1].start
    if isinstance(image, np.ndarray):
        return image[first - above : last - above]
    return part_of(image, np.float32, (first - above) * width, (last - first) * width).reshape(-1, width)


def without_light(image, weight, maskpt):
    """The image, NaN where the weight is below `maskpt` times its clipped mean, or 0."""
    weights = gather(weight, weight != 0)
    least = clipped(weights, CLIP, ROUNDS)[0] * maskpt if weights.values.size else np.inf
    image[(weight < least) | (weight == 0)] = np.nan
    return image
