"""Convolve a window of every plane of a ramp with a small kernel, in place."""

import numpy as np
from numba import njit, prange


@njit(cache=True, nogil=True)
def _add_term(out, source, weights):
    """out += weights * source; one weight may serve all."""
    if len(weights) == 1:
        weight = weights[0]
        for x in range(len(out)):
            out[x] += weight * source[x]
    else:
        for x in range(len(out)):
            out[x] += weights[x] * source[x]


@njit(cache=True, nogil=True)
def _convolve_row(rows, newest, kernel, y, x0, x1, out):
    """One row of the convolution.

    `rows` is a ring of as many rows as the kernel has, padded at both ends; `newest` is where the last one stands.
    """
    nky, nkx = kernel.shape[:2]
    uniform = kernel.shape[2] == 1
    if uniform:
        y, x0, x1 = 0, 0, 1
    out[:] = 0
    for j in range(nky):
        for i in range(nkx):
            if j != nky // 2 or i != nkx // 2:
                _add_term(out, rows[(newest - j) % nky, nkx - 1 - i :], kernel[j, i, y, x0:x1])
    # the largest term last: the small ones are not rounded away one by one
    j, i = nky // 2, nkx // 2
    _add_term(out, rows[(newest - j) % nky, nkx - 1 - i :], kernel[j, i, y, x0:x1])


@njit(parallel=True, cache=True, nogil=True)
def convolve(planes, kernel, y0, y1, x0, x1):
    """Convolve a window of each plane with a kernel that may differ from pixel to pixel; outside of it there is nothing (0).

    out[y, x] = sum over j, i of kernel[j, i, y, x] * in[y + nky//2 - j, x + nkx//2 - i]     (nky, nkx odd)

    Parameters
    ----------
    planes : ndarray of float32, (int, group, row, col)
        Changed in the window.
    kernel : ndarray of float32, (nky, nkx, row, col), or (nky, nkx, 1, 1) where it is the same for all pixels
    y0, y1, x0, x1 : int
        The window: rows from y0 to y1 (not included), columns from x0 to x1.
    """
    nints, ngroups = planes.shape[:2]
    nky, nkx = kernel.shape[:2]
    ahead = nky - 1 - nky // 2  # rows above the present one that the kernel reaches
    left, nx = nkx // 2, x1 - x0
    for plane in prange(nints * ngroups):
        image = planes[plane // ngroups, plane % ngroups]
        rows = np.zeros((nky, nx + nkx - 1), np.float32)
        for y in range(y0 - ahead, y1):
            newest = (y + ahead - y0) % nky
            if y + ahead < y1:
                rows[newest, left : left + nx] = image[y + ahead, x0:x1]
            else:
                rows[newest] = 0
            if y >= y0:
                _convolve_row(rows, newest, kernel, y, x0, x1, image[y, x0:x1])
