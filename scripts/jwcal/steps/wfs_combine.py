"""Combine two dithered images of wavefront sensing."""

import logging
from typing import Annotated, Literal

from ..arithmetic.wfs.combine import mean_of_pair, unusable
from ..arithmetic.wfs.offsets import pointing_offset, refined_offset
from ..model.exposure import Pixels
from ..vocabulary.errors import InputError
from ..vocabulary.parameters import Range

log = logging.getLogger(__name__)

TAKES = "members"
NEEDS = ("err",)


def apply(
    members,
    refs=None,
    *,
    do_refine: bool = False,
    flip_dithers: bool = True,
    psf_size: Annotated[int, Range(min=1)] = 100,
    blur_size: Annotated[int, Range(min=1)] = 10,
    n_size: Annotated[int, Range(min=1)] = 2,
    error: Literal["mean", "quadrature"] = "mean",
    outside: Literal["halved", "first"] = "halved",
):
    """Shift one image by whole pixels onto the other and take their mean.

    Only DO_NOT_USE, or NaN, makes a pixel bad. The result has the keywords and the WCS of the image that was not shifted.

    Parameters
    ----------
    members : exposure.Members
        Two science images, (row, col), with a gWCS. They are left as they are.
    refs
        None are needed.
    do_refine : bool
        Look for the shift that the pointings do not tell, by cross-correlation.
    flip_dithers : bool
        Shift that image in which the star has the larger x (with equal x: the larger y), whatever the order of the members;
        else the second one.
    psf_size : int
        Half width of the box that is compared, pixels.
    blur_size : int
        Half width of the kernel by which the first image is blurred to find its star, pixels.
    n_size : int
        Half width of the box from which bad pixels are filled before the comparison, pixels.
    error : {"mean", "quadrature"}
        ERR where both are good: the mean of their errors, or the error of the mean, half the root of the squares' sum.
    outside : {"halved", "first"}
        Where the shifted image has no pixel: half the other one's value and error, or the other one's value and error.

    Returns
    -------
    Exposure
        SCI, ERR, DQ; suffix "wfscmb".

    Raises
    ------
    InputError
        There are not two images, they have different shapes or no WCS, they don't overlap, or no shift makes them alike.
    ConfigError
        `blur_size` is too large for the images.
    """
    first, second = _pair(members)
    offset = pointing_offset(first.wcs, second.wcs, first.sci.shape)
    if flip_dithers and _whole(offset) < (0, 0):
        first, second = second, first
        offset = pointing_offset(first.wcs, second.wcs, first.sci.shape)
    whole, exact = _whole(offset), offset
    _check_overlap(whole, first, second)
    if do_refine:
        bad = unusable(first.pixels[0]), unusable(second.pixels[0])
        more = refined_offset(first.sci, second.sci, bad, whole, psf_size, blur_size, n_size)
        exact = whole[0] + more[0], whole[1] + more[1]
        whole = whole[0] + round(more[0]), whole[1] + round(more[1])
        _check_overlap(whole, first, second)
    sci, err, dq = mean_of_pair(first.pixels[0], second.pixels[0], whole, error, outside)
    result = first.derive([Pixels(sci=sci, err=err, dq=dq, wcs=first.wcs)], "wfscmb")
    result.tables = {}
    applied, measured = (f"({-x:{form}}, {-y:{form}})" for (x, y), form in ((whole, "d"), (exact, ".2f")))
    result.header.primary.add_history(f"wfs_combine: second image shifted by {applied} pixels")
    result.header.primary.add_history(f"wfs_combine: the {'images' if do_refine else 'pointings'} say {measured}")
    log.info("%s shifted by %s pixels (measured: %s) onto %s", second.name, applied, measured, first.name)
    return result


def _pair(members):
    """The two images in the association's order."""
    count = len(members.of("science"))
    if count != 2:
        there = f"the association has {count} science member{'s' * (count != 1)}, two dithered images are combined"
        raise InputError(there, members.table or members.name, "Correct its list of members")
    first, second = pair = list(members.each())
    for exposure in pair:
        if exposure.sci.ndim != 2:
            raise InputError(f"the data have {exposure.sci.ndim} dimensions, an image was expected", exposure.name, "Give cal files")
        if exposure.err is None or exposure.dq is None:
            raise InputError("it has no ERR or no DQ", exposure.name, "Give cal files")
        if exposure.wcs is None:
            raise InputError("there is no gWCS in it", exposure.name, "Run assign_wcs")
    if first.sci.shape != second.sci.shape:
        shapes = " and ".join(" x ".join(map(str, exposure.sci.shape[::-1])) for exposure in pair)
        raise InputError(f"the two images have {shapes} pixels", second.name, "Give two of the same subarray")
    return pair


def _whole(offset):
    return round(offset[0]), round(offset[1])


def _check_overlap(offset, first, second):
    if any(abs(shift) >= size for shift, size in zip(offset[::-1], first.sci.shape, strict=True)):
        raise InputError(f"it is {offset[0]}, {offset[1]} pixels away from {first.name}: they don't overlap", second.name, "Give a pair")
