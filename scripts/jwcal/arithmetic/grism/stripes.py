"""The spectra of one source that are read in stripes: each is cut out whole, with its wavelengths."""

import logging

import numpy as np
from gwcs import WCS

from ...vocabulary.errors import InputError
from ..wcs.grism_stripes import X0, Y0
from ..wcs.telescope import whole_pixels
from .cutouts import cut, describe
from .dispersion import dispersion_of, leaves
from .ranges import wavelength_ranges
from .series import cut_out_transform, reference_of

log = logging.getLogger(__name__)

SOURCE = 1  # all stripes are of one
NAMES = (("SRCNAME", "TARGNAME", "Source name"), ("SRCALIAS", "TARGPROP", "Source alias"))


def extract(exposure, refs, options):
    """Cut out every stripe, all rows and columns that its number is on; arguments as `steps.extract_2d` has them.

    Returns
    -------
    Exposure
        A slit for each stripe and order, named after the stripe.
    """
    header = exposure.header
    mapper = None if exposure.wcs is None else getattr(exposure.wcs.pipeline[0].transform, "label_mapper", None)
    if mapper is None:
        raise InputError("there is no gWCS of stripes in it", exposure.name, "Run assign_wcs")
    labels, transforms = np.asarray(mapper.mapper), exposure.wcs.pipeline[0].transform.selector
    point = str(header.get("PPS_APER", ""))
    orders = list(wavelength_ranges(reference_of(refs, exposure), header[options["passband"]], options["extract_orders"], point))
    slits = []
    for number in sorted(transforms):
        y, x = np.nonzero(labels == number)
        rows, columns = slice(int(y.min()), int(y.max()) + 1), slice(int(x.min()), int(x.max()) + 1)
        for order in orders:
            slit = cut(exposure.only, rows, columns)
            about = {"name": str(number), "order": order, "axis": header["DISPAXIS"], "rows": rows, "columns": columns}
            describe(slit.header, **about, source=SOURCE, place=None, unit=header.get("BUNIT"))
            for key, of, comment in NAMES:
                slit.header[key] = (header.get(of, ""), comment)
            slit.wcs = _cut_wcs(exposure.wcs, transforms[number], order, columns.start, rows.start, slit.shape)
            slit.extra["WAVELENGTH"] = wavelengths(slit.wcs, order, columns, slit.shape, int(header["SUBSTRT1"]) - 1)
            slits.append(slit)
    new = exposure.derive(slits, exposure.suffix)
    new.product = exposure.product
    log.info("%d stripes: %s", len(transforms), ", ".join(str(number) for number in sorted(transforms)))
    return new


def _cut_wcs(base, transform, order, column, row, shape):
    """The WCS of a stripe: x, y alone."""
    steps = [(step.frame, step.transform) for step in base.pipeline]
    steps[0] = (steps[0][0], cut_out_transform(order, column, row) | transform)
    wcs = WCS(steps)
    wcs.bounding_box = whole_pixels(shape)
    return wcs


def wavelengths(wcs, order, columns, shape, corner):
    """Wavelengths [micron] of a stripe's pixels, float32 (row, col): the same in all rows.

    Parameters
    ----------
    wcs : gwcs.WCS
        Of the cut-out.
    order : int
    columns : slice
        Of the image.
    shape : tuple
    corner : int
        The image's first column on the detector.
    """
    put_in = {leaf.name: float(leaf.amplitude.value) for leaf in leaves(wcs.pipeline[0].transform) if leaf.name in (X0, Y0)}
    along = dispersion_of(wcs, vertical=False).wavelengths(order, corner + np.arange(columns.start, columns.stop), put_in[X0], put_in[Y0])
    return np.broadcast_to(along, shape[-2:]).astype(np.float32)
