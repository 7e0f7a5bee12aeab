"""The spectra of all sources of a field: cut out where the catalogue of the direct image says that they are."""

import logging

import numpy as np
from astropy.modeling.models import Mapping, Shift
from gwcs import WCS
from gwcs.coordinate_frames import Frame2D

from ...vocabulary.errors import InputError
from ..wcs.grism import fixed
from ..wcs.telescope import whole_pixels
from . import catalogue
from .boxes import image_places, seen_part, spectrum_boxes
from .cutouts import cut, describe
from .dispersion import dispersion_of
from .ranges import wavelength_ranges

log = logging.getLogger(__name__)

ALONG_COLUMNS = 2  # DISPAXIS


def extract(exposure, refs, options):
    """Cut out every order of every source; arguments as `steps.extract_2d` has them.

    Returns
    -------
    Exposure
        A slit for each, the brightest source's first. SLTNAME and SOURCEID are the label of the source.
    """
    header = exposure.header
    if options["grism_objects"]:
        raise InputError("grism_objects of extract_2d is not supported", exposure.name, "Give a catalogue with these sources")
    if exposure.wcs is None:
        raise InputError("there is no gWCS in it", exposure.name, "Run assign_wcs")
    if "wavelengthrange" not in refs:
        raise InputError("there is no wavelengthrange reference for it", exposure.name, "Give one under references: overrides")
    every = catalogue.of_exposure(exposure)
    ids = options["source_ids"]
    asked = catalogue.asked_for(every, ids, options["source_ra"], options["source_dec"], options["source_max_sep"], exposure.name)
    limit = options["wfss_mmag_extract"]
    found = every[asked if limit is None else asked & ~(every.magnitude >= limit)]
    axis = header["DISPAXIS"]
    dispersion = dispersion_of(exposure.wcs, axis == ALONG_COLUMNS)
    ranges = wavelength_ranges(refs["wavelengthrange"], header[options["passband"]], options["extract_orders"])
    boxes, centre = field_boxes(exposure, dispersion, ranges, found, options["wfss_extract_half_height"])
    seen = np.any([box.on for box in boxes.values()], axis=0)
    if not seen.any():
        what = f"no spectrum of the {len(found)} sources falls on the detector"
        raise InputError(what, exposure.name, "Look at the pointing: the catalogue may be of another field; or at wfss_mmag_extract")
    if not asked.all() and not seen.all():
        log.warning("Asked for, but off the detector: %s", ", ".join(map(str, found.label[~seen])))
    order = np.flatnonzero(seen)[np.argsort(found.magnitude[seen], kind="stable")][: options["wfss_nbright"]]
    slits, empty = [], 0
    make_wcs = _Cutter(exposure.wcs)
    for n in order:
        for number, box in boxes.items():
            if not box.on[n]:
                continue
            rows, columns = (seen_part(side[:, n], size) for side, size in zip((box.y, box.x), exposure.sci.shape, strict=True))
            if rows is None or columns is None:
                continue
            if not np.isfinite(exposure.sci[rows, columns]).any():
                empty += 1
                continue
            slit = cut(exposure.only, rows, columns)
            x0, y0 = float(centre[0][n]), float(centre[1][n])
            unit = header.get("BUNIT")
            about = {"name": str(found.label[n]), "order": number, "axis": axis, "rows": rows, "columns": columns, "unit": unit}
            describe(slit.header, **about, source=found.label[n], place=(x0, y0))
            slit.header["SRCRA"] = (float(found.ra[n]), "Right Ascension of the source")
            slit.header["SRCDEC"] = (float(found.dec[n]), "Declination of the source")
            slit.about = {"is_extended": bool(found.extended[n])}
            slit.wcs = make_wcs(columns.start, rows.start, x0, y0, number, slit.shape)
            slit.extra["WAVELENGTH"] = _wavelengths(dispersion, number, rows, columns, x0, y0)
            slits.append(slit)
    if not slits:
        what = "none of the spectra has a pixel with a value" if empty else "no spectrum has two rows and columns on the detector"
        raise InputError(what, exposure.name, "Look at the flat field, and at the pointing")
    if empty:
        log.warning("%d spectra are left out: they have no pixel with a value", empty)
    region = header.get("S_REGION")
    if region:
        slits[0].header["S_REGION"] = (region, "spatial extent of the observation")
    new = exposure.derive(slits, exposure.suffix)
    new.product, new.catalogue = exposure.product, exposure.catalogue
    log.info("%d spectra of %d of %d sources in orders %s", len(slits), len(order), len(every), ", ".join(map(str, ranges)))
    return new


def field_boxes(exposure, dispersion, ranges, found, half_height):
    """Where the spectra of sources are.

    Returns
    -------
    boxes : dict
        Order -> Boxes.
    centre : ndarray (2, n)
        The sources without the grism: x, y.
    """
    centre = np.stack(image_places(exposure.wcs, found.ra, found.dec))
    corners = np.stack(image_places(exposure.wcs, *found.corners))
    given = centre, corners, found.extended, exposure.sci.shape[-2:], half_height
    return {order: spectrum_boxes(dispersion, order, limits, *given) for order, limits in ranges.items()}, centre


class _Cutter:
    """Makes the WCS of cut-outs: the exposure's, behind a step of their own. All share the exposure's transforms."""

    def __init__(self, base):
        self.steps = [(step.frame, step.transform) for step in base.pipeline]
        first = self.steps[0][0]
        self.frame = Frame2D(name="grism_slit", axes_order=first.axes_order, axes_names=first.axes_names, unit=first.unit)

    def __call__(self, column, row, x0, y0, order, shape):
        shift = Mapping((0, 1, 0, 0, 0)) | Shift(float(column)) & Shift(float(row)) & fixed(x0) & fixed(y0) & fixed(order)
        wcs = WCS([(self.frame, shift), *self.steps])
        wcs.bounding_box = whole_pixels(shape)
        return wcs


def _wavelengths(dispersion, order, rows, columns, x0, y0):
    """Of the pixels of a cut-out, float32 (row, col): the same across the spectrum."""
    along = rows if dispersion.vertical else columns
    values = dispersion.wavelengths(order, np.arange(along.start, along.stop), x0, y0).astype(np.float32)
    shape = rows.stop - rows.start, columns.stop - columns.start
    return np.repeat(values[:, None], shape[1], axis=1) if dispersion.vertical else np.repeat(values[None], shape[0], axis=0)
