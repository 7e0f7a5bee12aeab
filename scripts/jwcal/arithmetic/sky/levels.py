"""Levels that make the sky of overlapping images the same: least squares over the pairs."""

import logging

import numpy as np

log = logging.getLogger(__name__)


def matched_levels(levels, counts, down=True):
    """The level of each image above the lowest one, so that overlaps agree.

    For images i and j that overlap, s_i - s_j is the difference of what each sees in the overlap. The equations are weighted with
    the mean number of pixels of a pair and solved by the pseudoinverse, so that images that are joined by no chain of overlaps
    have a level each by themselves.

    Parameters
    ----------
    levels : (n, n) float
        levels[i, j] is what image i sees where j overlaps it; NaN where it does not.
    counts : (n, n) float
        From how many pixels.
    down : bool
        Whether the lowest image stays as it is; else the highest, and the levels are negative.

    Returns
    -------
    (n,) float
        NaN for images that overlap no other.
    """
    n = len(levels)
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n) if counts[i, j] > 0 and counts[j, i] > 0]
    result = np.full(n, np.nan)
    if not pairs:
        return result
    matrix, right = np.zeros((len(pairs), n)), np.zeros(len(pairs))
    for row, (i, j) in enumerate(pairs):
        weight = 0.5 * (counts[i, j] + counts[j, i])
        matrix[row, i], matrix[row, j] = weight, -weight
        right[row] = weight * (levels[i, j] - levels[j, i])
    joined = sorted({image for pair in pairs for image in pair})
    if np.linalg.matrix_rank(matrix, 1e-12) < len(joined) - 1:
        log.warning("The images are several sets that do not overlap each other: the sky is matched within each set only")
    result[joined] = (np.linalg.pinv(matrix, rcond=1e-12) @ right)[joined]
    return result - (np.nanmin(result) if down else np.nanmax(result))
