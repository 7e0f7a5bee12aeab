"""Images to surface brightness: one factor for all pixels."""

import logging

from ...kernels.images import photom as kernel
from ...vocabulary import dq as bits
from ...vocabulary.errors import Skip
from . import reference

log = logging.getLogger(__name__)


def convert(exposure, photom, area, *, inverse, timed, **_):
    """Convert the pixels and set the keywords; arguments are those of `steps.photom`."""
    row = reference.find_row(photom, exposure.header)
    conversion = None if reference.is_spectral(photom, row) else reference.conversion_of(photom, row)
    if conversion is None:
        raise Skip("the photom reference is for spectra, and this is an image")
    if timed:
        conversion = reference.at_its_time(conversion, photom, row, exposure.header)
    variances = [plane for plane in (exposure.var_poisson, exposure.var_rnoise, exposure.var_flat) if plane is not None]
    kernel.scale([exposure.sci, exposure.err], variances, exposure.dq, conversion, conversion * conversion, inverse, bits.DO_NOT_USE)
    tell_areas(exposure, photom, area)
    reference.set_conversion(exposure.header.sci, conversion, "DN/s" if inverse else "MJy/sr")
    log.info("1 DN/s is %.6g MJy/sr", conversion)


def tell_areas(exposure, photom, area):
    """Put down the nominal pixel area, and attach the map of relative ones."""
    if area is not None:
        exposure.extra["AREA"] = area.array("SCI")
    reference.set_areas(exposure.header.sci, photom, area)
