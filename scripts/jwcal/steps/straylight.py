"""Take out light that the detector of the mid-infrared spectrometer scatters along its rows, and what showers of cosmic rays left."""

import logging
from typing import Annotated

from ..vocabulary.errors import InputError
from ..vocabulary.parameters import Range

log = logging.getLogger(__name__)

REFERENCES = ("mrsxartcorr",)
OPTIONAL = ("regions",)
PERCENT = Range(min=0, max=100)


def apply(
    exposure,
    refs,
    *,
    clean_showers: bool = False,
    shower_plane: Annotated[int, Range(min=0)] = 3,
    shower_x_stddev: Annotated[float, Range(min=0)] = 18.0,
    shower_y_stddev: Annotated[float, Range(min=0)] = 5.0,
    shower_low_reject: Annotated[float, PERCENT] = 0.1,
    shower_high_reject: Annotated[float, PERCENT] = 99.9,
    save_shower_model: bool = False,
    bad_gap_pixels: bool = False,
):
    """Subtract the cross artefact and the pedestal between the channels; on demand also showers.

    Of each pixel brighter than the noise a known part is seen in its whole row: a Lorentzian and two pairs of Gaussians beside it, whose
    shape the reference has for each row. The pedestal is the clipped median of what is left between the two channels. Errors stay.

    Parameters
    ----------
    exposure : Exposure
        Slices on one detector, (row, col), DN/s.
    refs : References
        mrsxartcorr: the artefact. regions: the slices, for `clean_showers` alone.
    clean_showers : bool
        Subtract the light between the slices, smoothed, too.
    shower_plane : int
        Which map of the regions tells what is between the slices.
    shower_x_stddev, shower_y_stddev : float
        Width of the Gaussian that the light is smoothed with, pixels.
    shower_low_reject, shower_high_reject : float
        Percentiles of the pixels between the slices beyond which they are left out.
    save_shower_model : bool
        Return what was subtracted as showers too.
    bad_gap_pixels : bool
        Pixels between the channels that are flagged, or have no value, count for the pedestal. True: as jwst.

    Raises
    ------
    InputError
        The exposure is no image, or CHANNEL can't be right; showers are looked for without regions.
    ReferenceError
        A reference does not fit the exposure.
    """
    from ..arithmetic.detector import cross_artefact

    if exposure.sci.ndim != 2:
        raise InputError(f"straylight is taken out of an image, this has the shape {exposure.sci.shape}", exposure.name, "Skip the step")
    if clean_showers and "regions" not in refs:
        raise InputError("showers are looked for between the slices, and its regions reference is N/A", exposure.name, "Set it off")
    model, pedestal = cross_artefact.subtract(exposure, refs["mrsxartcorr"], bad_gap_pixels)
    log.info("Subtracted a cross artefact of up to %.4g DN/s, and a pedestal of %.4g DN/s", model.max(), pedestal)
    if not clean_showers:
        return exposure
    from ..arithmetic.detector import shower_light

    width = shower_x_stddev, shower_y_stddev
    showers = shower_light.between_slices(exposure, refs["regions"], shower_plane, width, shower_low_reject, shower_high_reject)
    exposure.sci[:] = exposure.sci - showers
    log.info("Subtracted showers of %.4g to %.4g DN/s", showers.min(), showers.max())
    return [exposure, exposure.aside("shower_model", sci=showers.astype("float32"))] if save_shower_model else exposure
