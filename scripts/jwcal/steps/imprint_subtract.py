"""Subtract the imprint: what comes through a closed shutter assembly, seen by an exposure that was taken for it."""

import logging

from ..vocabulary.errors import InputError, Skip

log = logging.getLogger(__name__)

MEMBERS = ("imprint", "background")
POSITION = ("OBSERVTN", "PATT_NUM")  # observation, and position in the dither pattern
PLANES = ("sci", "dq")


def apply(exposure, refs=None):
    """Subtract from an exposure, and from each of its backgrounds, the imprint that belongs to it.

    Of several it is the one of the same observation and dither position, among those of background targets for a background, of the
    others for a source; or the only one among them. A single imprint is that of all. One of another observation or position is
    subtracted with a warning: the shutters leak the same, but not the light before them. Flags add up; errors stay.

    Parameters
    ----------
    exposure : Exposure
        A rate image or integrations, DN/s, with imprints among its members.
    refs
        None are needed.

    Raises
    ------
    Skip
        There are no imprints, or none belongs to the exposure.
    InputError
        The imprint is of another size.
    """
    shells = exposure.members.shells("imprint")
    if not shells:
        raise Skip("the association has no imprint")
    mine = _own(exposure.header, shells)
    if mine is None:
        raise Skip("no imprint is of its observation and dither position")
    _subtract(exposure, exposure.members, mine)
    for background in exposure.members.each("background", keep=PLANES):
        its = _own(background.header, shells)
        if its is None:
            log.warning("%s: no imprint is of its observation and dither position", background.name)
        else:
            _subtract(background, exposure.members, its)
    return exposure


def _own(header, shells):
    """Number of the imprint that belongs to an exposure, or None."""
    if len(shells) == 1:
        return 0
    alike = [number for number, shell in enumerate(shells) if _is_background(shell.header) == _is_background(header)]
    there = [number for number in alike if _same_place(shells[number].header, header)]
    return there[0] if there else alike[0] if len(alike) == 1 else None


def _same_place(header, other):
    return all(header.get(key) == other.get(key) for key in POSITION)


def _is_background(header):
    return bool(header.get("BKGDTARG", False))


def _subtract(exposure, members, number):
    for imprint in members.each("imprint", order=[number]):
        if imprint.sci.shape[-2:] != exposure.sci.shape[-2:] or imprint.sci.ndim > exposure.sci.ndim:
            raise InputError(
                f"as an imprint of {exposure.name} it has the shape {imprint.sci.shape}, there it is {exposure.sci.shape}",
                imprint.name,
                "Take it out of the association",
            )
        if not _same_place(exposure.header, imprint.header):
            theirs, its = (", ".join(str(header.get(key)) for key in POSITION) for header in (exposure.header, imprint.header))
            log.warning(
                "%s: the only imprint that it has, %s, is of another observation or dither position (%s is %s, there %s)",
                *(exposure.name, imprint.name, ", ".join(POSITION), theirs, its),
            )
        exposure.sci -= imprint.sci
        exposure.dq |= imprint.dq
        log.info("%s: subtracted the imprint %s", exposure.name, imprint.name)
