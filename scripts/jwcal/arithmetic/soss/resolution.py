"""How each order blurs the spectrum: kernels of the speckernel reference, as sparse matrices."""

import numpy as np
from scipy.interpolate import RectBivariateSpline
from scipy.sparse import csr_matrix

from ...files.reference_file import another, understood
from ...kernels.soss.resolution import blur_weights
from ...vocabulary.errors import ReferenceError


class Resolution:
    """The kernels of one order.

    A kernel is given in pixels from its middle, redder ones are positive, for some wavelengths. Each wavelength is moved to that of the
    nearest column; there a line is fitted to the wavelengths of the columns that the kernel reaches, which tells how long a pixel is.
    Between these wavelengths kernels (bicubic splines) and lines (linearly) are interpolated.

    Parameters
    ----------
    reference : Reference
        speckernel: WAVELENGTHS and KERNELS, (pixel, wavelength), and HALFWIDT.
    wavelength : float64 (col,)
        Of the order's columns.

    Raises
    ------
    ReferenceError
        The reference has fewer than four kernels for the order's wavelengths, or is not made as such references are.
    """

    def __init__(self, reference, wavelength):
        with understood("speckernel", reference.path):
            waves = np.asarray(reference.uncut("WAVELENGTHS"), float)
            kernels = np.asarray(reference.uncut("KERNELS"), float)
            self.halfwidth = int(reference.keywords("KERNELS")["HALFWIDT"])
            middle = waves[0]
            columns = np.sort(wavelength[np.isfinite(wavelength)])
            first, last = np.searchsorted(middle, columns[0]), np.searchsorted(middle, columns[-1]) - 1
        if last - first < 3:
            what = f"the speckernel reference has {max(last - first + 1, 0)} kernels from {columns[0]:.3f} to {columns[-1]:.3f} micron"
            raise ReferenceError(f"{what}, four or more were expected", reference.path, another("speckernel"))
        box = middle[max(first - 1, 0)], middle[min(last + 1, middle.size - 1)]
        kernels, middle = kernels[:, first : last + 1], middle[first : last + 1].copy()
        with understood("speckernel", reference.path):
            self.least = float(kernels[kernels > 0].min())
            near = np.clip(np.searchsorted(columns, middle), 1, columns.size - 1)
            near -= middle - columns[near - 1] <= columns[near] - middle
            self.middle = columns[near]
            self.scale, self.zero = np.array([_line(columns, k, self.halfwidth) for k in near]).T
            pixels = np.linspace(-self.halfwidth, self.halfwidth, len(kernels))
            box = min(box[0], self.middle[0]), max(box[1], self.middle[-1])
            spline = RectBivariateSpline(pixels, self.middle, kernels, bbox=[None, None, *box])
        self.knots, self.coefficients = spline.get_knots(), spline.get_coeffs()

    def matrix(self, grid, first, count):
        """Weights of the grid's points in the blurred spectrum at some of them; each row's sum is 1.

        Parameters
        ----------
        grid : float64 (point,)
            micron, rising.
        first, count : int
            Where the blurred spectrum is wanted.

        Returns
        -------
        csr_matrix (count, point)
        """
        at = grid[first : first + count]
        k = np.clip(np.searchsorted(self.middle, at) - 1, 0, self.middle.size - 2)
        part = (at - self.middle[k]) / (self.middle[k + 1] - self.middle[k])
        scale, zero = ((1 - part) * line[k] + part * line[k + 1] for line in (self.scale, self.zero))
        own = np.arange(first, first + count)
        reach = 1
        for side in (-1, 1):
            end = zero + side * self.halfwidth * scale
            reach = max(reach, int(np.abs(np.searchsorted(grid, end, side="right" if side > 0 else "left") - (side > 0) - own).max()))
        weights = np.empty((count, 2 * reach + 1))
        blur_weights(grid, first, count, reach, scale, zero, float(self.halfwidth), self.least, *self.knots, self.coefficients, weights)
        points = own[:, None] + np.arange(-reach, reach + 1)
        there = (points >= 0) & (points < grid.size) & (weights != 0)
        starts = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
        return csr_matrix((weights[there], points[there], starts), shape=(count, grid.size))


def _line(columns, k, halfwidth):
    """micron a pixel about a column, and the wavelength at its middle, of a line through the columns around."""
    offset = np.arange(-halfwidth, halfwidth + 1)
    there = (k + offset >= 0) & (k + offset < columns.size)
    slope, at_zero = np.polyfit(offset[there], columns[k + offset[there]], 1)
    return slope, at_zero
