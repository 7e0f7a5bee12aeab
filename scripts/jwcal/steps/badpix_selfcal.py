"""Flag pixels that stand out in all exposures of a detector: bad or warm ones that the references do not know yet."""

import logging
from typing import Annotated

import numpy as np

from ..vocabulary.dq import DO_NOT_USE, OTHER_BAD_PIXEL
from ..vocabulary.errors import ConfigError, InputError, Skip
from ..vocabulary.parameters import Range

log = logging.getLogger(__name__)

MEMBERS = ("background", "selfcal")
SKIP = True
PLANES = ("sci", "err", "var_poisson", "var_rnoise", "var_flat")
ALONG_ROWS, ALONG_COLUMNS = 1, 2  # DISPAXIS


def apply(
    exposure,
    refs=None,
    pedestal: list | None = None,
    *,
    flagfrac_lower: Annotated[float, Range(min=0, max=0.5)] = 0.001,
    flagfrac_upper: Annotated[float, Range(min=0, max=0.5)] = 0.001,
    kernel_size: Annotated[int, Range(min=1)] = 15,
    force_single: bool = False,
    save_flagged_bkg: bool = False,
):
    """Flag what is far from its surroundings along the spectrum in every exposure: in the lowest value that any of them has.

    The lowest image less its running median along the dispersion is looked at; the pixels below and above the given fractions become
    DO_NOT_USE and OTHER_BAD_PIXEL, and NaN, in the exposure and in its backgrounds. At an edge the median is that of the pixels that
    are there.

    Parameters
    ----------
    exposure : Exposure
        A rate image with DISPAXIS, DN/s, with exposures of other fields among its members, "background" or "selfcal".
    refs
        None are needed.
    pedestal : [first row, end, first column, end], optional
        Pixels without light, whose median is subtracted from each exposure first; given by the table of chains.
    flagfrac_lower, flagfrac_upper : float
        Fractions of the pixels to flag on the low and on the high side.
    kernel_size : int
        Pixels in the running median, an odd number.
    force_single : bool
        Without other exposures, look for them in the exposure alone.
    save_flagged_bkg : bool
        Also return the flagged backgrounds, a cube with one after the other.

    Returns
    -------
    Exposure, or [Exposure, Exposure]

    Raises
    ------
    Skip
        There are no other exposures.
    InputError
        The exposure is no image, has no DISPAXIS, or another one is not of its size.
    ConfigError
        `kernel_size` is even.
    """
    count = sum(len(exposure.members.of(kind)) for kind in MEMBERS)
    if not count and not force_single:
        raise Skip("the association has no background and no selfcal exposure to compare with")
    if kernel_size % 2 == 0:
        raise ConfigError(f"kernel_size of badpix_selfcal is {kernel_size}, an odd number was expected", do="Take one that is")
    if exposure.sci.ndim != 2:
        raise InputError(f"bad pixels are looked for in an image, this has the shape {exposure.sci.shape}", exposure.name, "Skip the step")
    lowest = _without_pedestal(exposure.sci, pedestal)
    for kind in MEMBERS:
        for other in exposure.members.each(kind):
            _check(exposure, other)
            lowest = np.fmin(lowest, _without_pedestal(other.sci, pedestal))
    bad = _outstanding(lowest, exposure.header["DISPAXIS"], kernel_size, flagfrac_lower, flagfrac_upper)
    _flag(exposure, bad)
    kept = []
    for background in exposure.members.each("background", keep=(*PLANES, "dq")):
        _flag(background, bad)
        if save_flagged_bkg:
            kept.append({name: getattr(background, name).copy() for name in ("sci", "err", "dq") if getattr(background, name) is not None})
    log.info("%d pixels stand out in all of %d exposures", bad.sum(), 1 + count)
    if not kept:
        return exposure
    planes = {name: np.stack([one[name] for one in kept]) for name in kept[0]}
    return [exposure, exposure.aside("badpix_selfcal_bkg", **planes)]


def _without_pedestal(sci, pedestal):
    if pedestal is None:
        return sci
    first, end, left, right = pedestal
    return sci - np.nanmedian(sci[first:end, left:right])


def _check(exposure, other):
    if other.sci.shape != exposure.sci.shape:
        raise InputError(
            f"bad pixels of {exposure.name} ({exposure.sci.shape}) can't be looked for in it: it has the shape {other.sci.shape}",
            other.name,
            "Take it out of the association",
        )


def _outstanding(image, axis, size, lower, upper):
    """Pixels far from the running median along the spectrum, bool (row, col)."""
    from ..kernels.images.median_along import median_along

    image = np.ascontiguousarray(image, np.float32)
    smooth = median_along(image, size, along_columns=axis == ALONG_COLUMNS)
    rest = image - smooth
    if not np.isfinite(rest).any():
        return np.zeros(image.shape, bool)
    low, high = np.nanpercentile(rest, [100 * lower, 100 * (1 - upper)])
    return (rest > high) | (rest < low)


def _flag(exposure, bad):
    exposure.dq[bad] |= DO_NOT_USE | OTHER_BAD_PIXEL
    for name in PLANES:
        plane = getattr(exposure, name)
        if plane is not None:
            plane[bad] = np.nan
