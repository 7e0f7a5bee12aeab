"""Correct uniform light for the shadows of the bars between the shutters."""

import logging
from typing import Annotated

from ..arithmetic.spectra_calibration import bar_shadow
from ..vocabulary.errors import Skip
from ..vocabulary.parameters import Range

log = logging.getLogger(__name__)

OPTIONAL = ("barshadow",)
NEEDS = ("err",)  # planes of an image


def apply(
    exposure,
    refs,
    *,
    inverse: bool = False,
    source_type: str | None = None,
    least_light: Annotated[float, Range(min=0, max=1)] = 0.2,
):
    """Divide each slitlet whose source is no point by the part of the light of an open shutter that its pixels get.

    It is kept as BARSHADOW, 1 for point sources; BARSHDW tells whether a slitlet was corrected. At the ends of a slitlet the light goes to
    zero within a pixel or two, and with it what a pixel tells: those that get too little are DO_NOT_USE.

    Parameters
    ----------
    exposure : Exposure
        Of slitlets, each with its gWCS, SHUTSTA, SLTYSCL and SRCTYPE.
    refs : References
        barshadow: DATA1X1 and DATA1X3, the light beside one open shutter and between open shutters.
    inverse : bool
        Multiply: takes the correction out again.
    source_type : str, optional
        "POINT" or "EXTENDED", in place of each slitlet's SRCTYPE.
    least_light : float
        Pixels that get less than this part are DO_NOT_USE. With 0 all are divided, by 0.02 and less, as in jwst.

    Raises
    ------
    Skip
        There is no reference.
    ReferenceError
        Its images are not of the expected size.
    InputError
        A slitlet has no WCS.
    """
    reference = refs.get("barshadow")
    if reference is None:
        raise Skip("there is no barshadow reference")
    shadow = bar_shadow.read(reference)
    corrected = [bar_shadow.correct(slit, shadow, inverse, source_type, least_light) for slit in exposure.slits()]
    log.info("Corrected %d of %d slitlets; the others have point sources", sum(corrected), len(corrected))
    return exposure
