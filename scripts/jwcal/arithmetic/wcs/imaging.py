"""The WCS of an image: detector -> v2v3 -> v2v3vacorr -> world."""

import logging

from astropy.modeling.models import Shift
from gwcs import WCS

from ...vocabulary.errors import ReferenceError
from .telescope import detector_frame, field_frame, field_to_sky, sky_frame, subarray_to_full, whole_pixels, without_aberration

log = logging.getLogger(__name__)


def imaging_wcs(header, shape, distortion, filteroffset=None):
    """The gWCS of an exposure through an imager, whatever the instrument.

    Parameters
    ----------
    header : exposure.Header
        Pointing, subarray, filter and pupil.
    shape : tuple
        Of the pixels, (..., row, col).
    distortion : Reference
        Its tree has `model`: full-frame pixels, counted from 0, to V2, V3 [arcsec].
    filteroffset : Reference, optional
        Its tree has `filters`: by how many pixels each optical element moves the image.

    Returns
    -------
    gwcs.WCS
        Pixels of the subarray to ICRS [deg], with a bounding box.

    Raises
    ------
    InputError
        A pointing keyword is missing.
    ReferenceError
        The reference files do not hold what they should.
    """
    try:
        to_field = distortion.tree["model"].copy()  # a bounding box is bound to it below: the reference's stays as it is
    except KeyError:
        raise ReferenceError("the distortion reference has no model", distortion.path, "Give a distortion reference that has one") from None
    box = model_box(to_field)
    offset = filter_offset(header, filteroffset)
    if offset is not None:
        to_field = Shift(offset[0]) & Shift(offset[1]) | to_field
    to_full = subarray_to_full(header)
    if to_full is not None:
        to_field = to_full | to_field
        box = None  # the reference's is in full-frame pixels
    wcs = WCS(
        [
            (detector_frame(), to_field),
            (field_frame("v2v3"), without_aberration(header)),
            (field_frame("v2v3vacorr"), field_to_sky(header)),
            (sky_frame(), None),
        ]
    )
    wcs.bounding_box = box or whole_pixels(shape)
    return wcs


def model_box(model):
    """The bounding box ((x0, x1), (y0, y1)) that a reference's model carries, or None."""
    try:
        return model.bounding_box.bounding_box(order="F")
    except NotImplementedError:
        return None


def filter_offset(header, filteroffset):
    """The shift (x, y) [pixel] of the exposure's filter and pupil; None where the reference has none.

    Raises
    ------
    ReferenceError
        Several entries are for the same elements.
    """
    if filteroffset is None:
        return None
    found = [row for row in filteroffset.tree["filters"] if _is_for(row, header)]
    if len(found) > 1:
        raise ReferenceError(
            f"{len(found)} filter offsets for {_elements(header)} where one is expected", filteroffset.path, "Correct the reference"
        )
    if not found or "column_offset" not in found[0] or "row_offset" not in found[0]:
        log.info("No filter offset for %s", _elements(header))
        return None
    offset = float(found[0]["column_offset"]), float(found[0]["row_offset"])
    log.info("Filter offset for %s: %.4f, %.4f pixel", _elements(header), *offset)
    return offset


def _is_for(row, header):
    """An entry is for the elements that it names; older files of MIRI say `name` for the filter."""
    wanted = {"FILTER": row.get("filter", row.get("name")), "PUPIL": row.get("pupil")}
    return wanted["FILTER"] is not None and all(value in (None, "N/A", header.get(key)) for key, value in wanted.items())


def _elements(header):
    return " ".join(str(header.get(key)) for key in ("FILTER", "PUPIL") if header.get(key))
