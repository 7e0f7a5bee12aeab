"""The open slits, slitlets or slices of an exposure, by what its light came through; and the pixels that see them."""

import numpy as np

from ...model import named_files
from ...vocabulary.dq import MSA_FAILED_OPEN
from ...vocabulary.errors import ReferenceError
from ..wcs.nirspec import fixed_slits, msa
from ..wcs.nirspec.exposure_slits import ExposureSlits
from ..wcs.nirspec.fixed_slits import QUADRANT
from ..wcs.nirspec.ifu import Slices
from ..wcs.nirspec.optics import Optics
from .failed_open import failed_open

KINDS = ("slits", "bright slit", "shutters", "slices")
Y_RANGE = (-0.55, 0.55)  # along a slit, whose ends are at -0.5 and 0.5
FIXED_ROWS = slice(922, 1116)  # of a full frame, where the fixed slits are seen, open as they always are
REFERENCES = ("disperser", "wavelengthrange", "fpa", "camera", "collimator")
OF_KIND = {"slices": ("ifupost", "ifuslicer")}  # and those of slits: "msa"


def needed(kind):
    """Types of the references that `open_slits` needs."""
    return *REFERENCES, *OF_KIND.get(kind, ("msa",))


def open_slits(exposure, refs, kind, y_range=Y_RANGE, may_miss=False):
    """The slits of an exposure.

    Parameters
    ----------
    exposure : Exposure
    refs : References
        Those that `needed` names.
    kind : str
        One of KINDS.
    y_range : (float, float)
        A slit's light is looked for so far along it.
    may_miss : bool
        That all of them miss the detector is no error.

    Returns
    -------
    ExposureSlits or Slices
    """
    optics, shape = Optics(exposure.header, refs), exposure.shape[-2:]
    if kind == "slices":
        return Slices(optics, refs, shape, y_range, may_miss)
    if kind == "shutters":
        path = named_files.named_by("MSAMETFL", exposure, "msametadata")
        found = msa.slitlets(exposure.header, path, y_range, msa.pitch_scales(refs["msa"]))
    else:
        found = fixed_slits.bright(y_range) if kind == "bright slit" else fixed_slits.of_exposure(exposure.header, y_range)
    return ExposureSlits(optics, refs["msa"], found, shape, kind == "shutters", may_miss)


def science_pixels(exposure, refs, kind):
    """Pixels that may see a spectrum, bool (row, col): those that noise is not to be measured in.

    The cut-outs of slits as a whole; the pixels of slices. With slices or shutters also the rows of the fixed slits of a full frame, where
    none of these is an own one, and light through shutters that failed open.

    Parameters
    ----------
    exposure : Exposure
        A ramp or rates.
    refs : References
        As for `open_slits`, and msaoper where there is one.
    kind : str
        One of KINDS.
    """
    missing = [reference for reference in needed(kind) if reference not in refs]
    if missing and "slits" not in exposure.about:
        what = f"to mask the spectra the references {', '.join(missing)} are needed"
        raise ReferenceError(what, exposure.name, "Give them, or set mask_science_regions to false")
    slits = exposure.about.get("slits") or open_slits(exposure, refs, kind, may_miss=True)
    if kind == "slices":
        seen = slits.mask()
    else:
        seen = np.zeros(exposure.shape[-2:], bool)
        for box in slits.boxes:
            seen[box.slices] = True
    if kind not in ("slices", "shutters"):
        return seen
    if kind == "slices" or not any(slit.quadrant == QUADRANT for slit in slits.slits):
        seen[FIXED_ROWS] = True
    flags = exposure.dq if exposure.dq.ndim == 2 else np.bitwise_or.reduce(exposure.dq, axis=0)
    seen |= (flags & np.uint32(MSA_FAILED_OPEN)) != 0
    if exposure.steps.get("msa_flagging", ("",))[0] != "COMPLETE" and "msaoper" in refs and "msa" in refs:
        seen |= failed_open(exposure, refs)[0]
    return seen
