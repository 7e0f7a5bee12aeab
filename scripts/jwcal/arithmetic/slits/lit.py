"""Whether enough light of a slit is on the detector."""

import numpy as np

LEAST = 2  # rows and columns that see light: of fewer no spectrum can be made


def is_lit(wavelength):
    """Whether enough rows and columns of a cut-out have a pixel with a wavelength (row, col)."""
    lit = np.isfinite(wavelength)
    return min(np.count_nonzero(lit.any(axis=axis)) for axis in (0, 1)) >= LEAST
