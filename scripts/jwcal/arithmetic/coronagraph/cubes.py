"""The integrations of an exposure: made a cube, compared with the others, filled where they are bad."""

import logging

import numpy as np

from ...kernels.coronagraph.fill_bad import fill_bad
from ...model.exposure import PLANES
from ...vocabulary import dq
from ...vocabulary.errors import ConfigError, InputError

log = logging.getLogger(__name__)

ALIKE = ("DETECTOR", "FILTER", "PUPIL", "CORONMSK", "SUBARRAY")


def as_cube(exposure):
    """Make an image a cube of one integration, in place; returns the exposure.

    Raises
    ------
    InputError
        It is neither, or has no ERR.
    """
    if exposure.sci.ndim not in (2, 3):
        raise InputError(f"the data have {exposure.sci.ndim} dimensions, integrations were expected", exposure.name, "Give calints files")
    if exposure.err is None:
        raise InputError("it has no ERR", exposure.name, "Give calints files")
    if exposure.sci.ndim == 2:
        log.info("%s is one image: it is taken as one integration", exposure.name)
    for name in PLANES:
        plane = getattr(exposure, name)
        if plane is not None and plane.ndim == 2:
            setattr(exposure, name, plane[None])
    return exposure


def check_alike(exposure, first, what):
    """Raise InputError where an exposure was not taken with the optics and the subarray of another one.

    Parameters
    ----------
    exposure, first : Exposure
        Or shells of them.
    what : str
        What the exposure is, for the message.
    """
    for keyword in ALIKE:
        its, wanted = (e.header.get(keyword) for e in (exposure, first))
        if its != wanted:
            raise InputError(
                f"its {keyword} is {its}, that of {first.name} is {wanted}: {what} of other optics or pixels is of no use",
                exposure.name,
                "Take it out of the association",
            )


def check_shape(shape, wanted, name):
    """Raise InputError where images have other rows or columns than they should."""
    if tuple(shape[-2:]) != tuple(wanted[-2:]):
        sizes = ["{} x {}".format(*s[:-3:-1]) for s in (shape, wanted)]
        raise InputError(
            f"its images have {sizes[0]} pixels, those of the first exposure {sizes[1]}", name, "Take it out of the association"
        )


def bits_of(bad_bits):
    """Data quality bits from their names or numbers, joined by "," or "+"; "~" before them: all others; "None" or "": none.

    Raises
    ------
    ConfigError
        It can't be read.
    """
    from astropy.nddata.bitmask import extend_bit_flag_map, interpret_bit_flags

    names = extend_bit_flag_map("JWST", **{name: bit for name, bit in dq.BY_NAME.items() if bit})
    try:
        found = interpret_bit_flags(str(bad_bits).strip(), flag_name_map=names)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"bad_bits of align_refs can't be read: {error}", do="Write it like 'DO_NOT_USE' or '1,16'") from error
    return 0 if found is None else found & 0xFFFFFFFF


def filled(values, flags, bits, box):
    """One integration with its bad pixels replaced by the median of their neighbours; those that see no sky are 0.

    Parameters
    ----------
    values : (row, col) float32
    flags : (row, col) uint32 or None
    bits : int
        Flags of bad pixels; one that is not finite is bad too.
    box : int
        Side of the square of neighbours.

    Returns
    -------
    (row, col) float32, or None if there is no good pixel
    """
    bad = ~np.isfinite(values)
    if flags is not None:
        bad |= (flags & np.uint32(bits)) != 0
        blind = bad & ((flags & np.uint32(dq.NON_SCIENCE)) != 0)
        if blind.any():
            bad &= ~blind
            values = np.where(blind, np.float32(0), values)
            if not (~bad & ~blind).any():
                return None
    if bad.all():
        return None
    return fill_bad(values, bad, box) if bad.any() else np.array(values, np.float32)
