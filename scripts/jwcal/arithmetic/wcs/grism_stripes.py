"""The WCS of spectra that are read in stripes, NIRCam's Dispersed Hartmann Sensor: one source, several spectra of it.

The sensor's prisms send the light of parts of the mirror to rows of their own on the short-wave detectors: each spectrum has a model
in the specwcs reference, by the number that the regions reference gives its pixels. The long-wave detector meanwhile reads the
spectrum of its grism as often as there are stripes, and its reference has one model for all of them.

grism_detector -> direct_image -> v2v3 -> v2v3vacorr -> world, as a series behind a grism has it, with the stripe's number as one more
coordinate: (x, y, order) to right ascension and declination [deg], wavelength [micron], order, stripe.
"""

import numpy as np
from astropy import units as u
from astropy.modeling.models import Const1D, Identity, Mapping, Shift
from gwcs import WCS
from gwcs.coordinate_frames import Frame2D
from gwcs.selector import LabelMapper, LabelMapperArray, RegionsSelector

from ...files.reference_file import another, understood
from ...model import stripes
from ...vocabulary.errors import InputError, ReferenceError, Skip
from ...vocabulary.limits import SIDE
from .grism import ALONG_ROWS, NIRCAM, disperser, fixed, grism_models, source_pixel, with_wavelength_and_order
from .imaging import imaging_wcs
from .telescope import subarray_to_full

INPUTS, OUTPUTS = ("x", "y", "order"), ("x0", "y0", "lam", "order", "stripe")
X0, Y0 = "x0", "y0"  # names of the models that put the source in


def stripes_wcs(header, shape, references, *, source="target"):
    """The gWCS of an exposure in stripes.

    Parameters
    ----------
    header : exposure.Header
        As `grism.series_wcs` has it; PPS_APER tells which models of the reference are for this pointing.
    shape : tuple
        (..., row, col).
    references : mapping
        distortion, specwcs; filteroffset, optional; regions, where the specwcs reference has a model for each stripe.
    source : {"target", "reference pixel"}
        See `grism.series_wcs`: a target that was asked to be elsewhere (XOFFSET, YOFFSET) moves its spectra, or does not.

    Returns
    -------
    gwcs.WCS

    Raises
    ------
    InputError
        A keyword is missing, or the stripes make no frame.
    ReferenceError
        The references have no stripe in common.
    Skip
        There is no regions reference.
    """
    image = imaging_wcs(header, shape, references["distortion"], references.get("filteroffset"))
    nominal = header["XREF_SCI"] - 1, header["YREF_SCI"] - 1
    pixel = np.array(source_pixel(header, image) if source == "target" else nominal)
    models = _models(references["specwcs"], header)
    if models is None:
        labels, place = numbered(header, shape), pixel + (int(header["SUBSTRT1"]) - 1, 0)
        models = dict.fromkeys(np.unique(labels[labels > 0]).tolist(), grism_models(references["specwcs"]))
    else:
        labels, place = regions(references, header, shape), pixel - nominal  # these models count columns from the detector's first one
        models = {number: model for number, model in models.items() if (labels == number).any()}
    if not models:
        known = np.unique(labels[labels > 0]).astype(int).tolist()
        what = f"the specwcs reference has no model of the stripes {known} that the regions reference says are on the detector"
        raise ReferenceError(what, references["specwcs"].path, another("specwcs"))
    to_full = subarray_to_full(header)
    to_field = image.pipeline[0].transform if to_full is None else to_full.inverse | image.pipeline[0].transform
    on_sky = to_field.inverse(header["V2_REF"], header["V3_REF"]) + pixel - nominal  # pixels of the full frame
    known = {"header": header, "specwcs": references["specwcs"], "place": place, "on_sky": on_sky}
    transforms = {number: _to_source(number, model, _shift(header, labels == number), **known) for number, model in models.items()}
    mapper = LabelMapperArray(np.where(np.isin(labels, list(models)), labels, 0).astype(int), Mapping((0, 1), n_inputs=3), inputs=INPUTS)
    mapper.inverse = LabelMapper(OUTPUTS, Identity(1), inputs_mapping=Mapping((4,)))
    selector = RegionsSelector(INPUTS, OUTPUTS, label_mapper=mapper, selector=transforms)
    frame = Frame2D(name="grism_detector", axes_order=(0, 1), unit=(u.pix, u.pix))
    steps = with_wavelength_and_order(image, 3, "direct_image")
    steps[0] = (steps[0][0], to_field & Identity(3))
    return WCS([(frame, selector), *steps])


def _models(specwcs, header):
    """Number of a stripe -> its models, of those that are for the exposure's field point; None where one model is for all."""
    tree = specwcs.tree
    if tree.get("stripes") is None:
        return None
    with understood("specwcs", specwcs.path):
        numbers, orders = [int(number) for number in tree["stripes"]], [int(order) for order in tree["orders"]]
        points = tree.get("fieldpoints") or [""] * len(numbers)
        each = {name: list(tree[name]) for name in ("displ", "dispx", "dispy")}
        here = [k for k, point in enumerate(points) if str(point) in str(header.get("PPS_APER", ""))]
        none = {"orders": orders, "invdispl": None, "invdispx": None, "invdispy": None}
        found = {numbers[k]: {name: list(models[k]) for name, models in each.items()} | none for k in here}
    if not found:
        what = f"the specwcs reference has models for {', '.join(sorted(set(points)))}, the aperture is {header.get('PPS_APER')}"
        raise ReferenceError(what, specwcs.path, another("specwcs"))
    return found


def regions(references, header, shape):
    """The stripes' numbers, (row, col), as the regions reference has them; 0 where there is none."""
    reference = references.get("regions")
    if reference is None:
        raise Skip("its regions reference is N/A")
    with understood("regions", reference.path):
        labels = np.asarray(reference.tree["regions"])
    return labels if labels.shape == tuple(shape[-2:]) else stripes.cut(labels, header, (1, 1), 0, reference.path, "regions")


def numbered(header, shape):
    """The stripes' numbers, (row, col), from 1 in the order of the readout; 0 where rows are read for their reference pixels."""
    layout = stripes.stripes_of(header)
    labels = np.zeros((layout.size, layout.width), int)
    for number, run in enumerate(layout.science, start=1):
        labels[run.frame] = number
    labels = layout.to_archive(labels)
    if labels.shape != tuple(shape[-2:]):
        what = f"images of {shape[-1]} x {shape[-2]} pixels, and stripes of {labels.shape[1]} x {labels.shape[0]}"
        raise InputError(what, header.name, "Correct the keywords of the subarray")
    return labels


def _shift(header, here):
    """By how many pixels (x, y) a stripe lies elsewhere on the detector than in the image; `here`: bool (row, col)."""
    layout = stripes.stripes_of(header)
    if abs(layout.slow) != 2:
        raise InputError(f"SLOWAXIS is {layout.slow}: NIRCam's stripes are rows", header.name, "Correct the keyword")
    row = int(np.flatnonzero(here.any(axis=1))[0])
    for run in layout.runs:
        first, there = run.frame.start, run.detector.start
        if layout.slow < 0:
            first, there = layout.size - run.frame.stop, SIDE - run.detector.stop
        if first <= row < first + run.frame.stop - run.frame.start:
            break
    return int(header["SUBSTRT1"]) - 1, there - first


def _to_source(number, models, shift, *, header, specwcs, place, on_sky):
    """(x, y, order) of the image to (x0, y0, wavelength, order, stripe)."""
    grism = disperser(header, specwcs, NIRCAM, ALONG_ROWS, models)
    source = _put_in(place[0], X0) & _put_in(place[1], Y0)
    moved = Shift(shift[0]) & Shift(shift[1]) & Identity(1)
    dispersed = Mapping((0, 1, 0, 1, 2, 2)) | Identity(2) & source & Identity(2) | grism & fixed(number)
    return moved | dispersed | _instead(on_sky[0], place[0]) & _instead(on_sky[1], place[1]) & Identity(3)


def _put_in(value, name):
    model = fixed(value)
    model.name = name
    return model


def _instead(value, backwards):
    """One value in place of a coordinate, another on the way back."""
    model = Const1D(float(value))
    model.inverse = Const1D(float(backwards))
    return model
