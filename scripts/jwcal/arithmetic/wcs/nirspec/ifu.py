"""The integral field unit: thirty slices, side by side on the detector, each with its own optics behind the slicer."""

import logging

import numpy as np
from astropy.modeling import bind_bounding_box
from astropy.modeling.models import Const1D, Identity, Mapping, Scale
from gwcs import WCS
from gwcs.selector import LabelMapperArray, LabelMapperDict, RegionsSelector
from stdatamodels.jwst.transforms.models import Gwa2Slit, Slit2Msa

from ....files.reference_file import understood
from ....vocabulary.errors import InputError
from ..pixel_coordinates import edge_pixels, sky_box
from ..plain_functions import as_function
from .exposure_slits import Box, OnePath, by_number, place_model, slit_model, with_boxes
from .frames import detector_frame, frame, grating_frame
from .optics import MICRON, named

log = logging.getLogger(__name__)

SLICES = 30
PLACES = 5  # decimals of the slicer's x [m] that tell a slice
TOLERANCE = 1e-4  # m, of that
INPUTS = ("x_slice", "y_slice", "lam")


class Slices:
    """The slices of an exposure.

    Parameters
    ----------
    optics : optics.Optics
    refs : References
        ifuslicer: `model` and `data` (XC, YC, SIZEX, SIZEY), the slices on the slicer; ifupost: from there to the plane of the slits, by
        slice; ifufore: from the slicer to the field's place in that plane; chromcorr: chromatic shift of the fore optics.
    shape : (int, int)
        Rows and columns of the exposure.
    y_range : (float, float)
        How far along a slice its light reaches; -0.5 and 0.5 are its ends.
    may_miss : bool
        That all of them miss the detector is no error.

    Attributes
    ----------
    labels : ndarray of int32, (row, col)
        Number of the slice, from 1, that a pixel sees; 0 where it sees none.
    boxes : list of exposure_slits.Box
        The pixels around each slice.

    Raises
    ------
    InputError
        No slice is seen on the detector.
    ReferenceError
        A reference does not hold what it should.
    """

    def __init__(self, optics, refs, shape, y_range, may_miss=False):
        self.optics, self.shape, self.y_range = optics, tuple(shape[-2:]), y_range
        self._refs = refs
        with understood("ifuslicer", refs["ifuslicer"].path):
            tree = refs["ifuslicer"].tree
            self._slicer = tree["model"]
            places = [tuple(float(value) for value in row.tolist()[1:5]) for row in np.asarray(tree["data"])[:SLICES]]
            self._places = [place_model(place) | self._slicer for place in places]
            if len(places) < SLICES:
                raise ValueError(f"it has {len(places)} slices, {SLICES} were expected")
        with understood("ifupost", refs["ifupost"].path):
            self._posts = [_Post(refs["ifupost"].tree[f"slice_{number}"]) for number in range(SLICES)]
        self.paths = [OnePath(optics, _to_plane(*both), y_range) for both in zip(self._places, self._posts, strict=True)]
        self.bounds = [path.bounds(self.shape) for path in self.paths]
        self.boxes = [Box.of_centres(bounds) for bounds in self.bounds]
        self.labels, self.seen = np.zeros(self.shape, np.int32), {}
        for number, (path, box) in enumerate(zip(self.paths, self.boxes, strict=True), start=1):
            if box.x1 <= box.x0 or box.y1 <= box.y0:
                continue
            y, x = np.mgrid[box.slices].astype(float)
            valid = np.isfinite(path.wavelength(x, y))
            if valid.any():
                self.labels[box.slices][valid] = number
                rows, columns = np.flatnonzero(valid.any(axis=1)) + box.y0, np.flatnonzero(valid.any(axis=0)) + box.x0
                self.seen[number] = (columns[0] - 0.5, columns[-1] + 0.5), (rows[0] - 0.5, rows[-1] + 0.5)
        if not self.seen and not may_miss:
            what = f"no light of the slices falls on {optics.detector} with {optics.header['GRATING']}"
            raise InputError(what, optics.header.name, "Leave the exposure out")
        log.info("%d slices on %s", len(self.seen), optics.detector)

    def mask(self):
        """Which pixels see a slice, bool (row, col)."""
        return self.labels > 0

    def wavelengths(self):
        """The wavelength [micron] of every pixel, float32 (row, col); NaN between the slices."""
        out = np.full(self.shape, np.nan, np.float32)
        for number in self.seen:
            box = self.boxes[number - 1]
            y, x = np.nonzero(self.labels[box.slices] == number)
            y, x = y + box.y0, x + box.x0
            out[y, x] = self.paths[number - 1].wavelength(x.astype(float), y.astype(float))
        return out

    def extent(self, wcs):
        """How far the slices reach, by their edge pixels: see `pixel_coordinates.extent`; `wcs` is that of `wcs()`."""
        edges = np.where(edge_pixels(self.labels), self.labels, 0)
        found = []
        for number in self.seen:
            path, box = self.paths[number - 1], self.boxes[number - 1]
            y, x = (axis.astype(float) for axis in np.nonzero(edges[box.slices] == number))
            x, y = x + box.x0, y + box.y0
            along = path.place(x, y)
            wavelength = path.wavelength(x, y)
            place = as_function(self._places[number - 1])(np.zeros_like(along), along)
            found.append((*place, wavelength / MICRON))
        values = tuple(np.concatenate(parts) for parts in zip(*found, strict=True))
        for step in wcs.pipeline[2:-1]:
            values = step.transform(*values)
        return sky_box(*values)

    # --- as models -----------------------------------------------------------------------------------------------------

    def wcs(self):
        """The gWCS: coordinates, detector, slicer, msa_frame, oteip, oteip_chromcorr, v2v3, v2v3vacorr, world; of a lamp to msa_frame.

        The slice that a pixel belongs to is looked up in the map of labels; backwards x on the slicer tells it.
        """
        models, by_place = {}, {}
        for number, box in self.seen.items():
            to_slit, to_slicer = self._models(number - 1)
            model = self.optics.from_pixels() | self.optics.from_camera | to_slit | to_slicer & Identity(1)
            bind_bounding_box(model, box, order="F")
            models[number] = model
            y = self.paths[number - 1].y
            x = float(np.mean(self._places[number - 1](np.zeros_like(y), y)[0]))
            by_place[round(x, PLACES)] = Mapping((0,), n_inputs=3) | Const1D(number)
        mapper = LabelMapperArray(self.labels)
        mapper.inverse = LabelMapperDict(INPUTS, by_place, inputs_mapping=Mapping((0,), n_inputs=3), atol=TOLERANCE)
        to_slicer = RegionsSelector(("x", "y"), INPUTS, label_mapper=mapper, selector=models, name="det2slicer")
        to_slicer.inputs, to_slicer.outputs = ("x", "y"), INPUTS
        nothing = named(Identity(2), "coord2det", ("x", "y"), ("x", "y"))  # a bounding box can be set here, apart from those of slices
        steps = [(detector_frame("coordinates"), nothing), (detector_frame(), to_slicer)]
        return WCS([*steps, *((frame(name), model) for name, model in self._from_slicer()), self._last()])

    def slice_wcs(self):
        """The gWCS of all slices, of which one more input, its number from 0, tells one; it passes gwa and slit_frame."""
        one = Identity(1)
        numbers = list(range(SLICES))
        models = [self._models(number) for number in numbers]
        first, camera = by_number(self.optics)
        to_slit = Gwa2Slit(numbers, [model for model, _ in models])
        to_slit.name = "gwa2slit"
        order = Mapping((0, 1, 3, 2))
        order.inverse = Mapping((0, 1, 3, 2))
        to_slicer = Slit2Msa(numbers, [model for _, model in models]) & one | order
        named(to_slicer, "slit2slicer", ("name", "x_slit", "y_slit", "lam"), (*INPUTS, "name"))
        steps = [(detector_frame(), first), (detector_frame("sca"), camera), (grating_frame(), to_slit), (frame("slit_frame"), to_slicer)]
        for name, model in self._from_slicer():
            steps.append((frame(name), named(model & one, model.name, (*model.inputs, "name"), (*model.outputs, "name"))))
        wcs = WCS([*steps, self._last()])
        return with_boxes(wcs, dict(enumerate(self.bounds)))

    def _last(self):
        return frame("msa_frame" if self.optics.lamp else "world"), None

    def _models(self, number):
        """Directions at the disperser to a place in the slice and a wavelength; the former to a place on the slicer."""
        to_slicer, post = self._places[number], self._posts[number]
        middle = to_slicer & Const1D(self.optics.middle) | post.model
        into = Mapping((0, 1, 1)) | middle
        model = slit_model(self.optics, into, self.paths[number], self.y_range)
        along = to_slicer & Identity(1) | post.model | self.optics.from_collimator
        metres = Identity(2) & Scale(1 / MICRON) | along if self.optics.lamp else along
        model.inverse = Mapping((0, 1, 2, 2)) | metres & Identity(1) | Mapping((3, 0, 1, 2)) | self.optics.out_model
        return named(model, "gwa2slit", ("angle1", "angle2", "angle3"), ("x_slit", "y_slit", "lam")), to_slicer

    def _from_slicer(self):
        """(name of the frame, model) from the slicer to the last but one frame."""
        with understood("ifufore", self._refs["ifufore"].path):
            fore = self._refs["ifufore"].tree["model"]
            plane = Mapping((0, 1, 2, 2)) | fore & Identity(1)
            plane.inverse = Mapping((0, 1, 2, 2)) | fore.inverse & Identity(1)
        steps = [("slicer", named(plane, "slicer2msa", INPUTS, ("x_msa", "y_msa", "lam")))]
        if self.optics.lamp:
            return steps
        sky = self.optics.to_sky()
        with understood("chromcorr", self._refs["chromcorr"].path):
            shift = self._refs["chromcorr"].tree["model"].copy()
            shift.inverse  # noqa: B018 - it has to have one
        axes = ("x_ote", "y_ote", "lam")
        to_plane, to_field, *rest = sky
        return [*steps, to_plane, ("oteip", named(shift, "chrom_corr", axes, axes)), ("oteip_chromcorr", to_field[1]), *rest]


class _Post:
    """From the slicer to the plane of the slits, for one slice: a linear map, then polynomials that are linear in wavelength."""

    def __init__(self, tree):
        self._x, self._y = ((tree[f"{axis}poly"], tree[f"{axis}poly_distortion"]) for axis in "xy")
        first, last = Mapping((0, 1), n_inputs=3), Mapping((2,)) | Identity(1)
        x, y = ((first | fixed) + (first | by_wavelength) * last for fixed, by_wavelength in (self._x, self._y))
        self.model = tree["linear"] & Identity(1) | Mapping((0, 1, 2, 0, 1, 2)) | x & y
        self._linear = as_function(tree["linear"])
        self._polynomials = [as_function(model) for model in (*self._x, *self._y)]

    def __call__(self, x, y, wavelength):
        x, y = self._linear(x, y)
        x, x_by_wavelength, y, y_by_wavelength = (function(x, y)[0] for function in self._polynomials)
        return x + x_by_wavelength * wavelength, y + y_by_wavelength * wavelength


def _to_plane(place, post):
    place = as_function(place)
    return lambda x, y, wavelength: post(*place(x, y), wavelength)
