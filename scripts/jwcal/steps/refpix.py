"""Subtract the drifts that the reference pixels show: of each output, of odd and even columns, and along the slow axis.

Five layouts, by the detector and its readout:

====================  ======================================================================================================
near-IR, 4 outputs    each amplifier's odd and even columns by its first and last 4 rows, then each row by a running
                      median of the first and last 4 columns, or by their optimal filter (SIRS)
near-IR, 1 output     odd and even columns by all reference pixels of the subarray
near-IR, stripes      each amplifier's odd and even columns by all reference pixels of the frame
MIRI, full frame      each of the 4 interleaved outputs' odd and even rows by the reference columns on the left and right,
                      in what was gained since the integration's first group
NIRSpec, IRS2         each amplifier's series of samples by that of the reference output and of the reference pixels that are
                      read in between (package `irs2`); they are no longer in the images afterwards
====================  ======================================================================================================

Rows and columns are those of the detector: columns along the fast readout direction (FASTAXIS), rows along the slow one.
"""

import logging
from typing import Annotated, Literal

import numpy as np

from ..arithmetic.detector.reference_pixels import near_infrared, optimal
from ..arithmetic.detector.reference_pixels.near_infrared import Options
from ..arithmetic.detector.reference_pixels.sets import correct_frames
from ..machine.parts import part
from ..model import irs2_layout
from ..vocabulary.limits import SIDE
from ..vocabulary.parameters import Range

log = logging.getLogger(__name__)

REFERENCES = ()
OPTIONAL = ("refpix", "sirskernel")  # for IRS2 readout, and for the algorithm "sirs"
PARTS = {
    "readout": {
        "": "arithmetic/detector/reference_pixels/near_infrared",
        "miri": "arithmetic/detector/reference_pixels/miri",
        "irs2": "arithmetic/detector/irs2/subtraction",
    }
}


def walks_itself(exposure, _):
    """Whether all integrations must have been looked at before one is changed: in IRS2 readout."""
    return irs2_layout.is_irs2(exposure.shape)


def prepare(exposure, refs, *, ovr_corr_mitigation_ftr, **_):
    """Flag the bad reference pixels of IRS2 readout: they are bad in all integrations once they are so in one."""
    if "refpix" in refs:
        part(PARTS["readout"], "irs2").flag_bad_references(exposure, ovr_corr_mitigation_ftr)


def apply(
    exposure,
    refs,
    readout: str = "",
    *,
    odd_even_columns: bool = True,
    use_side_ref_pixels: bool = True,
    side_smoothing_length: Annotated[int, Range(min=1, max=SIDE - 1)] = 11,
    side_gain: float = 1.0,
    odd_even_rows: bool = True,
    ovr_corr_mitigation_ftr: float = 3.0,
    preserve_irs2_refpix: bool = False,
    irs2_mean_subtraction: bool = False,
    refpix_algorithm: Literal["median", "sirs"] = "median",
    sigreject: Annotated[float, Range(min=0.0)] = 4.0,
    gaussmooth: Annotated[float, Range(min=0.001)] = 1.0,
    halfwidth: Annotated[int, Range(min=0, max=SIDE // 2 - 1)] = 30,
    siglimit: Annotated[float, Range(min=1.0)] = 3.0,
):
    """Subtract the reference pixel signal from every group, and from the zero frame.

    Parameters
    ----------
    exposure : Exposure
        Ramp in DN. `pixeldq` must have the reference pixels flagged (dq_init); DO_NOT_USE ones are left out.
    refs : References
        "refpix" for IRS2, "sirskernel" for the algorithm "sirs".
    readout : {"", "irs2", "miri"}
        The table's; "" is that of the near-infrared detectors, unless the shape of the samples says IRS2.
    odd_even_columns : bool
        Near-IR: separate values for odd and even columns.
    use_side_ref_pixels : bool
        Near-IR, 4 outputs: correct along the slow axis too.
    side_smoothing_length : int
        Rows of the running median; an even number is made odd by adding 1.
    side_gain : float
        The running median is multiplied by it.
    odd_even_rows : bool
        MIRI: separate values for odd and even rows.
    siglimit : float
        Clipping limit of the means, in standard deviations.
    refpix_algorithm : str
        Along the slow axis of a near-IR full frame: running median, or the optimal filter of SIRS.
    sigreject : float
        Of "sirs": reference pixels this far from their median are left out, in robust standard deviations.
    gaussmooth : float
        Of "sirs": standard deviation of the Gaussian that smooths the filter, in rows.
    halfwidth : int
        Of "sirs": rows that the filter reaches to either side; it is not longer than the detector.
    ovr_corr_mitigation_ftr : float
        IRS2: reference pixels that stand out by this many standard deviations from those of their output are replaced.
    preserve_irs2_refpix : bool
        IRS2: correct the reference pixels too, and keep them in the images. Later steps can't use these.
    irs2_mean_subtraction : bool
        IRS2: first subtract from each output's odd and even samples the mean of their first and last 4 lines.

    Raises
    ------
    Skip
        MIRI subarray; no usable reference pixel; a subarray that does not lie on the detector; IRS2 without a refpix reference.
    InputError, ReferenceError
        IRS2 readout of another detector or rhythm; a reference that is not what it should be.
    """
    exposure.sci = np.ascontiguousarray(exposure.sci)
    options = Options(odd_even_columns, use_side_ref_pixels, side_smoothing_length, side_gain, siglimit)
    if irs2_layout.is_irs2(exposure.sci.shape):
        readout = "irs2"
    if refpix_algorithm == "sirs" and readout:
        log.info("the algorithm sirs is not for %s readout: without effect", readout.upper())
    if readout == "irs2":
        part(PARTS["readout"], readout).correct_exposure(
            exposure, refs, ovr_corr_mitigation_ftr, preserve_irs2_refpix, options if irs2_mean_subtraction else None
        )
    elif readout == "miri":
        part(PARTS["readout"], readout).correct(exposure, odd_even_rows, siglimit)
    else:
        if refpix_algorithm == "sirs":
            full = near_infrared.is_full(exposure)
            options = options._replace(sirs=optimal.filter_of(exposure, refs, full, sigreject, gaussmooth, halfwidth))
        correct_frames(exposure, near_infrared.correction(exposure, options))
    return exposure
