"""Subtract the thermal pattern between the rim and the centre of NIRSpec's detectors. Off by default."""

import logging
from typing import Annotated

import numpy as np

from ..arithmetic.ramps.draft import draft
from ..kernels.noise import background
from ..kernels.noise.picture_frame import pattern, regions
from ..machine.parts import part
from ..machine.threads import side_by_side
from ..model import aligned
from ..model.ramp import put_together
from ..vocabulary.errors import Skip
from ..vocabulary.parameters import Range

log = logging.getLogger(__name__)

SKIP = True
PARTS = {
    "science": {
        "slits": "arithmetic/slits/open_slits",
        "bright slit": "arithmetic/slits/open_slits",
        "shutters": "arithmetic/slits/open_slits",
        "slices": "arithmetic/slits/open_slits",
    }
}
OPTIONAL = ("disperser", "wavelengthrange", "fpa", "camera", "collimator", "msa", "ifupost", "ifuslicer", "msaoper")  # of the spectra
MEMBERS = ("msametadata",)  # what micro-shutters were open
REFERENCES = ("pictureframe", "gain", "readnoise")  # the last two: of the draft rate


def prepare(exposure, refs, *_, **__):
    """The draft rate of all integrations, in a list."""

    def draft_rate(strip):
        return [rate for rate in draft(strip, refs.strip(strip.rows)) if rate.suffix == "rate"]

    return put_together(exposure, exposure.strips(), draft_rate)


def apply(
    exposure,
    refs,
    science="none",
    *,
    mask_science_regions: bool = True,
    n_sigma: Annotated[float, Range(min=0)] = 2.0,
    save_mask: bool = False,
    save_correction: bool = False,
):
    """Scale the reference pattern to what each group has gained since the first one, by the medians of centre and rim, and subtract it.

    Parameters
    ----------
    exposure : Exposure
        Full-frame ramp in DN, whose first groups stay as they are, or rates.
    refs : References
        pictureframe; gain and readnoise for a draft of the rate.
    science : str
        What `mask_science_regions` masks: "none"; "slits", "bright slit", "shutters" or "slices", the spectra of NIRSpec.
    mask_science_regions : bool
        Take no pixel for background that sees a spectrum, whatever its brightness.
    n_sigma : float
        Pixels that far above the background are sources; 0: none are.
    save_mask, save_correction : bool
        Return too, as exposures of their own: where there is background ("pctfrm_mask", 1 or 0), and what the step has added to the
        exposure ("pctfrm_correction").

    Returns
    -------
    Exposure, or list of it and of what is to be saved

    Raises
    ------
    Skip
        No full frame, one group only, or no background in the centre or at the rim.
    ReferenceError
        The spectra are to be masked, and a reference for that is missing.
    """
    if exposure.header["SUBARRAY"] != "FULL":
        raise Skip("the picture frame is known for full frames only")
    ramp = exposure.sci.ndim == 4
    if ramp and exposure.sci.shape[1] == 1:
        raise Skip("there is one group only, so nothing that is gained")
    scene = _background(exposure, refs, n_sigma, science if mask_science_regions else "none")
    centre, rim = regions(scene)
    if not centre.any() or not rim.any():
        raise Skip("there is no background in the centre, or none at the rim")
    frame = aligned.image(refs["pictureframe"], exposure)
    sci = exposure.sci = np.ascontiguousarray(exposure.sci)
    raw = sci.copy() if save_correction else None
    if ramp:
        tasks = [(group, integration[0]) for integration in sci for group in integration[1:]]
    else:
        tasks = [(image, None) for image in sci.reshape(-1, *sci.shape[-2:])]
    side_by_side(lambda task: _correct(*task, frame, centre, rim), tasks)
    log.info("picture frame subtracted from %d images, by %d pixels of the rim", len(tasks), np.count_nonzero(rim))
    shown = {"pctfrm_mask": scene.astype(np.float32) if save_mask else None, "pctfrm_correction": sci - raw if save_correction else None}
    beside = [exposure.aside(suffix, sci=array) for suffix, array in shown.items() if array is not None]
    return [exposure, *beside] if beside else exposure


def _background(exposure, refs, n_sigma, science):
    """Pixels without sources, (row, col)."""
    if exposure.sci.ndim == 4:
        found = exposure.prepared.get("picture_frame")
        rate = (prepare(exposure, refs) if found is None else found)[0].sci
    else:
        rate = exposure.sci
    known = True
    if science in PARTS["science"]:
        known = ~part(PARTS["science"], science).science_pixels(exposure, refs, science)
    masks = []
    for image in rate.reshape(-1, *rate.shape[-2:]):
        mask = known & ~np.isnan(image) & (image != 0)
        if n_sigma > 0:
            background.clip(image, mask, upper=n_sigma)
        masks.append(mask)
    return np.all(masks, axis=0)


def _correct(image, first, frame, centre, rim):
    """Correct one image in place: what it has gained since the first group, or all of it."""
    if first is None:
        image -= pattern(frame, centre, rim, image)
        return
    gained = image - first
    image[...] = gained + (first - pattern(frame, centre, rim, gained))
