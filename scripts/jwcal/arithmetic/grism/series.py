"""The spectrum of a time series with NIRCam's grism: of one source, in the rows that the telescope puts it on."""

import logging

import numpy as np
from astropy.modeling.models import Mapping, Shift
from gwcs import WCS

from ...vocabulary.errors import InputError
from ..wcs.grism import fixed
from ..wcs.telescope import whole_pixels
from .cutouts import PLANES
from .dispersion import dispersion_of
from .ranges import wavelength_ranges

log = logging.getLogger(__name__)

ROW = 34  # of the source, from 0
HEIGHT = 64


def extract(exposure, refs, options):
    """Cut out the rows of the spectrum, with all columns; arguments as `steps.extract_2d` has them.

    As many rows as the usual ones, or more, begin at the subarray's first, fewer are about the source.
    """
    header = exposure.header
    if exposure.wcs is None:
        raise InputError("there is no gWCS in it", exposure.name, "Run assign_wcs")
    reference = reference_of(refs, exposure)
    orders = list(wavelength_ranges(reference, header[options["passband"]], options["extract_orders"]))
    if len(orders) != 1:
        raise InputError(f"orders {orders} of a time series: one is extracted at a time", exposure.name, "Ask for one in extract_orders")
    (order,) = orders
    height = min(options["tsgrism_extract_height"] or HEIGHT, exposure.sci.shape[-2])
    first = 0 if height >= HEIGHT else min(max(0, ROW - height // 2), exposure.sci.shape[-2] - height)
    rows = slice(first, first + height)
    base = exposure.wcs
    x0, _, *_ = base.get_transform("grism_detector", "direct_image")(0.0, 0.0, order)
    pixels = exposure.only
    for name in PLANES:
        plane = getattr(pixels, name)
        if plane is not None and rows != slice(0, plane.shape[-2]):
            setattr(pixels, name, np.ascontiguousarray(plane[..., rows, :]))
    exposure.wcs = cut_wcs(base, order, 0, first, pixels.sci.shape)
    exposure.extra["WAVELENGTH"] = series_wavelengths(base, order, pixels.sci.shape, first)
    _describe(exposure, order, rows, float(np.ravel(x0)[0]))
    log.info("Rows %d to %d of order %d, source at column %.2f", rows.start, rows.stop - 1, order, float(np.ravel(x0)[0]))
    return exposure


def reference_of(refs, exposure):
    if "wavelengthrange" not in refs:
        raise InputError("there is no wavelengthrange reference for it", exposure.name, "Give one under references: overrides")
    return refs["wavelengthrange"]


def cut_wcs(base, order, column, row, shape):
    """The WCS of a part of an exposure's pixels, of one order: x, y alone."""
    steps = [(step.frame, step.transform) for step in base.pipeline]
    steps[0] = (steps[0][0], cut_out_transform(order, column, row) | steps[0][1])
    wcs = WCS(steps)
    wcs.bounding_box = whole_pixels(shape)
    return wcs


def cut_out_transform(order, column, row):
    """From x, y of a cut-out to x, y of the exposure and the order."""
    return Mapping((0, 1, 0)) | Shift(column) & Shift(row) & fixed(order)


def series_wavelengths(base, order, shape, row=0):
    """Wavelengths [micron] of a cut-out's pixels, float32 (row, col): the same in all rows."""
    x0, y0, *_ = (float(np.ravel(value)[0]) for value in base.get_transform("grism_detector", "direct_image")(0.0, 0.0, order))
    along = dispersion_of(base, vertical=False).wavelengths(order, np.arange(shape[-1]), x0, y0)
    return np.broadcast_to(along, shape[-2:]).astype(np.float32)


def _describe(exposure, order, rows, x0):
    header, sci = exposure.header, exposure.header.sci
    columns = exposure.sci.shape[-1]
    for key, value, comment in (
        ("SLTNAME", "1", "Slit name"),
        ("SLTSTRT1", 1, "Starting pixel in axis 1 direction"),
        ("SLTSIZE1", columns, "Number of pixels in axis 1 direction"),
        ("SLTSTRT2", rows.start + 1, "Starting pixel in axis 2 direction"),
        ("SLTSIZE2", rows.stop - rows.start, "Number of pixels in axis 2 direction"),
        ("SOURCEID", 1, "Source ID number"),
        ("SRCNAME", header.get("TARGNAME", ""), "Source name"),
        ("SRCALIAS", header.get("TARGPROP", ""), "Source alias"),
        ("SRCXPOS", x0, "Source position in slit (x-axis)"),
        ("SRCYPOS", float(ROW - rows.start), "Source position in slit (y-axis)"),
        ("SPORDER", order, "Spectral order number"),
    ):
        sci[key] = (value, comment)
