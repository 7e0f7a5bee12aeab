"""Stack the integrations of all PSF references into one cube."""

import logging

import numpy as np

from ..arithmetic.coronagraph.cubes import as_cube, check_alike, check_shape
from ..model.exposure import Pixels
from ..vocabulary.errors import InputError, Skip

log = logging.getLogger(__name__)

TAKES = "members"
MEMBERS = ("psf",)


def apply(members, refs=None):
    """Stack the PSF references, in the order of the association.

    They are opened one at a time; a large stack lies in scratch files.

    Parameters
    ----------
    members : exposure.Members
        Integrations (int, row, col); an image is one. Those of the kind "psf" are stacked.
    refs
        None are needed.

    Returns
    -------
    list
        The members, and the stack: Exposure with SCI, ERR and DQ (int, row, col), suffix "psfstack". `members.prepared["stack_refs"]`
        is the stack too.

    Raises
    ------
    Skip
        There is no PSF reference.
    InputError
        There is no science; one has other optics or pixels than the first science exposure.
    """
    science, shells = members.shells("science"), members.shells("psf")
    if not science:
        raise InputError("the association has no science members", members.table or members.name, "Correct its list of members")
    if not shells:
        log.warning("%s has no PSF reference: no star is subtracted, the images are only put together", members.name or "The association")
        raise Skip("the association has no PSF reference")
    for shell in science[1:]:
        check_alike(shell, science[0], "a science exposure")
    for shell in shells:
        check_alike(shell, science[0], "a PSF reference")
    counts = _counts(members)
    shape = (sum(counts), *_shape(members))
    sci, err = (members.room(f"psfstack.{name}", shape) for name in ("sci", "err"))
    flags = members.room("psfstack.dq", shape, np.uint32)
    last = 0
    for exposure in members.each("psf"):
        as_cube(exposure)
        first, last = last, last + len(exposure.sci)
        sci[first:last], err[first:last] = exposure.sci, exposure.err
        if exposure.dq is not None:
            flags[first:last] = exposure.dq
    stack = shells[0].derive([Pixels(sci=sci, err=err, dq=flags)], "psfstack")
    stack.tables = {}
    members.prepared["stack_refs"] = stack
    log.info("%d integrations of %d PSF references", len(sci), len(shells))
    return [members, stack]


def _shape(members):
    """Rows and columns of the science."""
    return next(iter(members.each(order=[0]))).sci.shape[-2:]


def _counts(members):
    """Integrations of each PSF reference; raises InputError where one has other rows or columns than the science."""
    wanted, counts = _shape(members), []
    for exposure in members.each("psf"):
        check_shape(exposure.sci.shape, wanted, exposure.name)
        counts.append(len(exposure.sci) if exposure.sci.ndim == 3 else 1)
    return counts
