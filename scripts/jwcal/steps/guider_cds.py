"""Turn the reads of a guide star exposure into count rates."""

import logging
from typing import Literal

import numpy as np

from ..kernels.detector.guider_cds import rate_and_error, read_difference
from ..model import aligned
from ..model.exposure import Pixels
from ..vocabulary.errors import InputError

log = logging.getLogger(__name__)

REFERENCES = ("gain", "readnoise")

FINE_READS = 4  # reads averaged at each end of a fine guide integration


def apply(exposure, refs, readout: Literal["pair", "fineguide", "identification"] = "pair"):
    """Difference the reads and divide by the group time; one image an integration, or one in all.

    ERR^2 = 2 (read noise / TGROUP)^2 + max(S / (gain TGROUP), 0), S in DN and not in DN/s, as the archive's products have it
    (the Poisson variance of a rate would be S / (gain TGROUP^2)).

    Parameters
    ----------
    readout : str
        How the guider was read; given by the table of chains, no parameter of the user's.
        "pair" (acquisition, track): second read minus first.
        "fineguide": mean of the last 4 reads minus mean of the first 4.
        "identification": second read minus first in the first two integrations, of which the smaller is taken, so that a
        cosmic ray hit in one of them does not pass for a star: one plane. The image may be a stack of overlapping strips, larger
        than the detector; the mean of gain and read noise is taken for it.

    Returns
    -------
    Exposure
        "cal": sci and err (int, row, col), DN/s; dq (row, col).

    Raises
    ------
    InputError
        There are fewer reads or integrations than the readout takes.
    ReferenceError
        A reference does not fit the exposure.
    """
    _check(exposure, readout)
    gain, read_noise = (_image(refs[kind], exposure, readout) for kind in REFERENCES)
    time = np.float32(exposure.header["TGROUP"])
    if not time > 0:
        raise InputError(f"TGROUP is {time} s, a positive time was expected", file=exposure.name, do="Correct the keyword")
    if readout == "fineguide":
        sci = read_difference(exposure.sci, FINE_READS)
    else:
        sci = read_difference(exposure.sci[:, :2], 1)
    if readout == "identification":
        sci = np.minimum(sci[:1], sci[1:2])
    err = rate_and_error(sci, read_noise, gain, time)
    result = exposure.derive([Pixels(sci=sci, err=err, dq=exposure.pixeldq)], "cal")
    result.header.sci["BUNIT"] = "DN/s"
    log.info("%d count rate images from %d integrations (%s)", len(sci), len(exposure.sci), readout)
    return result


def _check(exposure, readout):
    nints, ngroups = exposure.sci.shape[:2]
    reads = 2 * FINE_READS if readout == "fineguide" else 2
    integrations = 2 if readout == "identification" else 1
    if ngroups < reads or nints < integrations:
        raise InputError(
            f"it has {nints} integrations of {ngroups} groups; its readout ({readout}) takes {integrations} of {reads} at least",
            file=exposure.name,
            do="Take the file from the archive again",
        )


def _image(reference, exposure, readout):
    """A reference's values for the pixels of the exposure."""
    ny, nx = exposure.sci.shape[-2:]
    full = reference.shape("SCI") or (ny, nx)
    if readout == "identification" and len(full) > 1 and (ny > full[-2] or nx > full[-1]):
        return np.full((ny, nx), np.nanmean(reference.uncut(), dtype=np.float64), np.float32)
    return aligned.image(reference, exposure)
