"""The optimal filter of the side reference pixels (SIRS) as the sirskernel reference tells it."""

import logging

import numpy as np

from ....kernels.detector import sirs
from ....vocabulary.errors import ReferenceError
from .sets import BORDER

log = logging.getLogger(__name__)

OUTPUTS = 4


def filter_of(exposure, refs, full, sigreject, gaussmooth, halfwidth):
    """The SIRS filter of a full frame's detector; None, with the reason in the log, where there is none."""
    why = None if full else "is for full frames"
    if why is None and "sirskernel" not in refs:
        why = "needs a sirskernel reference"
    if why is None:
        reference, detector = refs["sirskernel"], exposure.header["DETECTOR"]
        of = {name.lower(): entry for name, entry in reference.tree.items()}.get(detector.lower())
        if of is not None:
            return _filter(of, reference.path, sigreject, gaussmooth, halfwidth)
        why = f"has no kernel for {detector} in its reference"
    log.info("the algorithm sirs %s: the running median takes its place", why)
    return None


def _filter(entry, path, sigreject, gaussmooth, halfwidth):
    """The SIRS filter from a detector's entry in the reference."""
    try:
        sides = [np.asarray(entry[name]) for name in ("gamma", "zeta")]
        if any(side.ndim != 2 or len(side) != OUTPUTS or side.shape[1] <= halfwidth for side in sides):
            raise ValueError(f"their shapes are {sides[0].shape} and {sides[1].shape}")
    except (KeyError, TypeError, ValueError) as error:
        raise ReferenceError(
            f"gamma and zeta of {OUTPUTS} outputs, with more than {halfwidth} coefficients each, are needed ({error})",
            file=path,
            do="Give another sirskernel reference, or a smaller refpix: halfwidth",
        ) from None
    return sirs.Filter(*(sirs.taps(side, gaussmooth, halfwidth) for side in sides), sigreject)


def subtract_prediction(view, offsets, optimal):
    """Subtract offsets (frame, column), and from each output what its SIRS filter makes of the side reference pixels then.

    The frames, view (frame, row, column), are changed in place.
    """
    for frame, offset in zip(view, offsets, strict=True):
        left, right = ((frame[:, side] - offset[side]).astype(float) for side in (np.s_[:BORDER], np.s_[-BORDER:]))
        noise = sirs.predict(left, right, optimal)
        for k, (output, own) in enumerate(zip(np.split(frame, OUTPUTS, axis=1), np.split(offset, OUTPUTS), strict=True)):
            output[...] = (output - own) - noise[:, k, None]
