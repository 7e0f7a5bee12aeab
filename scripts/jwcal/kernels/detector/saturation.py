"""Which groups of a ramp are saturated.

Charge only grows during an integration, so that a pixel is saturated from one group on, and all that follows can be told from
the index of that group, a small image: growing the flags by n pixels is the minimum of the index over a box of 2n + 1 pixels,
and the group before it is the only one that can hold frames both below and above saturation.
"""

import numpy as np
from numba import njit, prange

NONE = np.uint16(65535)  # no such group


@njit(parallel=True, cache=True, nogil=True)
def usable_thresholds(threshold, flags, rows, unknown, above, pixeldq, unchecked):
    """Thresholds that every pixel can be compared with, and the flags of those that should not be.

    Parameters
    ----------
    threshold : ndarray of float32, (row, col), DN
    flags : ndarray of uint32, (row, col)
        Of the thresholds.
    rows : ndarray of int, (row,)
        The rows of `pixeldq` that these are.
    unknown : uint32
        The flag of a threshold that is not known; it is set where it is NaN.
    above : float32
        Stands for it: higher than any value.
    pixeldq : ndarray of uint32, (row, col)
        Takes the flags over.
    unchecked : ndarray of bool, (row, col)
        Filled: where the threshold is not known.

    Returns
    -------
    ndarray of float32, (row, col)
    """
    usable = np.empty(threshold.shape, np.float32)
    for y in prange(rows.size):
        for x in range(threshold.shape[1]):
            found = flags[y, x] | (unknown if np.isnan(threshold[y, x]) else np.uint32(0))
            unchecked[y, x] = (found & unknown) != 0
            usable[y, x] = above if unchecked[y, x] else threshold[y, x]
            pixeldq[rows[y], x] |= found
    return usable


@njit(parallel=True, cache=True, nogil=True)
def first_saturated(groups, rows, threshold, low, groupdq, first):
    """Find the first group at or above the threshold, and flag values that the converter could not tell from nothing.

    Parameters
    ----------
    groups : ndarray of float32, (group, row, col), DN
        One integration.
    rows : ndarray of int, (row,)
        The rows of `groups` and `groupdq` that are looked at; other images have only these.
    threshold : ndarray of float32, (row, col), DN
    low : uint8
        Bits for values <= 0, of that group alone.
    groupdq : ndarray of uint8, (group, row, col)
        Changed.
    first : ndarray of uint16, (row, col)
        Filled: index of the group, NONE where there is none.
    """
    ngroups, _, nx = groups.shape
    for y in prange(rows.size):
        limit, index = threshold[y], first[y]
        index[:] = NONE
        for g in range(ngroups):
            here = np.uint16(g)
            values, flags = groups[g, rows[y]], groupdq[g, rows[y]]
            for x in range(nx):
                index[x] = min(index[x], here if values[x] >= limit[x] else NONE)
                flags[x] |= low if values[x] <= 0 else np.uint8(0)


@njit(parallel=True, cache=True, nogil=True)
def box_minimum(image, n, scratch, out):
    """The minimum of an image over boxes of 2n + 1 pixels a side, which end at its edges.

    Parameters
    ----------
    image, scratch, out : ndarray of uint16, (row, col)
        `out` is filled, `scratch` is overwritten.
    n : int
    """
    ny, nx = image.shape
    for y in prange(ny):
        row, source = scratch[y], image[y]
        row[:] = source
        for d in range(1, min(n, nx - 1) + 1):
            for x in range(nx - d):
                row[x] = min(row[x], source[x + d])
            for x in range(d, nx):
                row[x] = min(row[x], source[x - d])
    for y in prange(ny):
        row = out[y]
        row[:] = NONE
        for z in range(max(0, y - n), min(ny, y + n + 1)):
            source = scratch[z]
            for x in range(nx):
                row[x] = min(row[x], source[x])


@njit(parallel=True, cache=True, nogil=True)
def flag_from(first, rows, bit, groupdq):
    """Set a bit from a group on.

    Parameters
    ----------
    first : ndarray of uint16, (row, col)
        Index of the group; NONE for never.
    rows : ndarray of int, (row,)
        The rows of `groupdq` that they stand for.
    bit : uint8
    groupdq : ndarray of uint8, (group, row, col)
        Changed.

    Returns
    -------
    int
        Number of pixels that have one.
    """
    ngroups, _, nx = groupdq.shape
    count = np.zeros(rows.size, np.int64)
    for y in prange(rows.size):
        index = first[y]
        for x in range(nx):
            count[y] += index[x] != NONE
        if count[y]:
            for g in range(ngroups):
                here, flags = np.uint16(g), groupdq[g, rows[y]]
                for x in range(nx):
                    flags[x] |= bit if index[x] <= here else np.uint8(0)
    return count.sum()


@njit(parallel=True, cache=True, nogil=True)
def partly_saturated(groups, first, threshold, unchecked, dilution, bits, groupdq, part):
    """Find groups whose last frames may have saturated though their mean is below the threshold.

    A source that brings a pixel to the threshold with the last frame of a group has a group mean of `dilution` times the threshold.
    So the group before the first saturated one is suspect if its value is at least that.

    Parameters
    ----------
    groups : ndarray of float32, (group, row, col), DN
        One integration.
    first : ndarray of uint16, (row, col)
        The first saturated group, after growing.
    threshold : ndarray of float32, (row, col), DN
    unchecked : ndarray of bool, (row, col)
        Pixels without a known threshold: their dilution is 1.
    dilution : ndarray of float64, (group,)
        Mean frame number of the group over that of its last frame.
    bits : uint8
        Groups that have any of them are no suspects.
    groupdq : ndarray of uint8, (group, row, col)
    part : ndarray of uint16, (row, col)
        Filled: index of the group, NONE where there is none.
    """
    ny, nx = first.shape
    for y in prange(ny):
        for x in range(nx):
            part[y, x] = NONE
            if first[y, x] == NONE or first[y, x] == 0:
                continue
            g = first[y, x] - 1
            factor = 1.0 if unchecked[y, x] else dilution[g]
            if not groupdq[g, y, x] & bits and np.float64(groups[g, y, x]) >= np.float64(threshold[y, x]) * factor:
                part[y, x] = g


@njit(parallel=True, cache=True, nogil=True)
def flag_around(part, n, bit, groupdq):
    """Set a bit in one group of each pixel of a box around it.

    Parameters
    ----------
    part : ndarray of uint16, (row, col)
        Index of the group; NONE for no group.
    n : int
        The box is 2n + 1 pixels a side.
    bit : uint8
    groupdq : ndarray of uint8, (group, row, col)
        Changed.
    """
    ny, nx = part.shape
    some = np.zeros(ny, np.bool_)
    for y in prange(ny):
        for x in range(nx):
            some[y] |= part[y, x] != NONE
    for y in prange(ny):  # each row gathers, so that no two threads write to one
        for z in range(max(0, y - n), min(ny, y + n + 1)):
            if some[z]:
                for x in range(nx):
                    if part[z, x] != NONE:
                        for w in range(max(0, x - n), min(nx, x + n + 1)):
                            groupdq[part[z, x], y, w] |= bit


@njit(inline="always")
def _late_in_second(one, two, bias, threshold, mean_frame, last_frame, nframes):
    """Whether the jump from group 1 to 2 could be a saturating event in the last frame of group 2.

    One frame of `nframes` can lift the mean by no more than its share of the room below the threshold, so a larger step is not one
    frame's doing. The extrapolated slope of group 1 stays below the threshold, so it is not the source's own doing.
    """
    expected = np.float64(np.float32(one - bias)) / mean_frame * last_frame + np.float64(bias)
    return expected < np.float64(threshold) and np.float32(two - one) > np.float32(threshold - one) / np.float32(nframes)


@njit(parallel=True, cache=True, nogil=True)
def flag_second_group(groups, first, threshold, bias, nframes, bit, groupdq):
    """Flag group 2 where an event in it saturated group 3, but its own mean does not show it.

    Parameters
    ----------
    groups : ndarray of float32, (group, row, col), DN
        One integration of 3 groups or more.
    first : ndarray of uint16, (row, col)
        The first saturated group, after growing.
    threshold, bias : ndarray of float32, (row, col), DN
    nframes : int
        Frames averaged in a group.
    bit : uint8
    groupdq : ndarray of uint8, (group, row, col)
        Changed.
    """
    ny, nx = first.shape
    mean_frame, last_frame = (nframes + 1) / 2, 3 * nframes
    for y in prange(ny):
        for x in range(nx):
            if first[y, x] == 2 and _late_in_second(
                groups[0, y, x], groups[1, y, x], bias[y, x], threshold[y, x], mean_frame, last_frame, nframes
            ):
                groupdq[1, y, x] |= bit


@njit(parallel=True, cache=True, nogil=True)
def second_group_first(groups, rows, threshold, bias, nframes, first):
    """Count group 2 as saturated where an event in it saturated group 3, but its own mean does not show it.

    Parameters
    ----------
    groups : ndarray of float32, (group, row, col), DN
        One integration of 3 groups or more.
    rows : ndarray of int, (row,)
        As for `first_saturated`.
    threshold, bias : ndarray of float32, (row, col), DN
    nframes : int
        Frames averaged in a group.
    first : ndarray of uint16, (row, col)
        The first saturated group, before growing. Changed.
    """
    nx = first.shape[1]
    mean_frame, last_frame = (nframes + 1) / 2, 3 * nframes
    for y in prange(rows.size):
        one, two, three = groups[0, rows[y]], groups[1, rows[y]], groups[2, rows[y]]
        for x in range(nx):
            if three[x] >= threshold[y, x] and _late_in_second(
                one[x], two[x], bias[y, x], threshold[y, x], mean_frame, last_frame, nframes
            ):
                first[y, x] = min(first[y, x], np.uint16(1))
