"""Which pixels can be used."""

import numpy as np
from numba import njit, prange

NONE = np.empty((0, 0, 0), np.float32)
NO_FLAGS = np.empty((0, 0, 0), np.uint32)


@njit(cache=True, nogil=True, parallel=True)
def _good(sci, err, poisson, rnoise, flat, dq, bad, good):
    nint, nalong, nacross = sci.shape
    for k in prange(nint * nalong):
        i, r = k // nalong, k % nalong
        for c in range(nacross):
            fine = np.isfinite(sci[i, r, c])
            if err.size:
                fine = fine and not np.isnan(err[i, r, c])
            if poisson.size:
                fine = fine and not np.isnan(poisson[i, r, c])
            if rnoise.size:
                fine = fine and not np.isnan(rnoise[i, r, c])
            if flat.size:
                fine = fine and not np.isnan(flat[i, r, c])
            if dq.size:
                fine = fine and dq[i, r, c] & bad == 0
            good[i, r, c] = fine


def good_pixels(sci, err, variances, dq, bad):
    """Pixels with a finite value, an error and variances, and without a flag.

    Parameters
    ----------
    sci : float32 (int, along, across)
    err : the same, or None
    variances : three of the same, each None where there is none
    dq : uint32 of the same shape, or None
    bad : int
        The flags that count.

    Returns
    -------
    bool (int, along, across)
    """
    good = np.empty(sci.shape, np.bool_)
    planes = [NONE if plane is None else plane for plane in (err, *variances)]
    _good(sci, *planes, NO_FLAGS if dq is None else dq, np.uint32(bad), good)
    return good
