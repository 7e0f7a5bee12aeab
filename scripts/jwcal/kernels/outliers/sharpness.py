"""How far a pixel stands out from the four beside it."""

import numpy as np
from numba import njit, prange

from .box_median import box_values
from .median_image import middle

BESIDE = ((-1, 0), (1, 0), (0, -1), (0, 1))


@njit(cache=True, nogil=True, parallel=True)
def sharpness(sci, err, height, width, snr):
    """The least step to the pixels above, below and beside, of those that all go the same way.

    Parameters
    ----------
    sci, err : (row, col) float32
        NaN where a pixel can't be used.
    height, width : int
        Rows and columns of a pixel's surroundings, odd.
    snr : float
        Steps of fewer standard deviations are not looked at further.

    Returns
    -------
    in_noise, in_height : (row, col) float32
        The step in units of the error, and of the height above the median of the surroundings. NaN without a value or with fewer than two
        neighbours; 0 where the steps go both ways; `in_height` also where the step is below the noise.
    """
    rows, columns = sci.shape
    in_noise, in_height = np.zeros((rows, columns), np.float32), np.zeros((rows, columns), np.float32)
    for y in prange(rows):
        values = np.empty(height * width)
        for x in range(columns):
            low, high, count = np.inf, -np.inf, 0
            for down, right in BESIDE:
                j, i = y + down, x + right
                if 0 <= j < rows and 0 <= i < columns and not np.isnan(sci[j, i]):
                    step = sci[y, x] - sci[j, i]
                    low, high, count = min(low, step), max(high, step), count + 1
            if np.isnan(sci[y, x]) or count < 2:
                in_noise[y, x] = in_height[y, x] = np.nan
                continue
            least = low if low > 0 else (-high if high < 0 else 0.0)
            in_noise[y, x] = least / err[y, x] if err[y, x] > 0 else 0.0
            if in_noise[y, x] > snr:
                above = abs(sci[y, x] - middle(values, box_values(sci, y, x, height // 2, width // 2, False, values)))
                in_height[y, x] = least / above if above > 0 else 0.0
    return in_noise, in_height
