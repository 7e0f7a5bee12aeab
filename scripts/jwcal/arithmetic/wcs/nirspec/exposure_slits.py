"""The open slits of one exposure: where each is on the detector, its wavelengths, its WCS."""

import logging
from math import ceil, floor
from typing import NamedTuple

import numpy as np
from astropy.modeling.bounding_box import CompoundBoundingBox
from astropy.modeling.models import Const1D, Identity, Mapping, Scale, Shift, Tabular1D
from gwcs import WCS
from stdatamodels.jwst.transforms.models import Gwa2Slit, Logical, Slit, Slit2Msa

from ....files.reference_file import understood
from ....vocabulary.errors import InputError
from ...slits import lit
from ..plain_functions import as_function
from .fixed_slits import QUADRANT
from .frames import detector_frame, frame, grating_frame
from .optics import named

log = logging.getLogger(__name__)

ALONG = 1000  # points along a slit where its directions at the disperser are worked out
STEP = 1e-10  # m, of the wavelengths at which the edges of a slit are looked at
COARSE = 256  # of these steps at once, at first
MARGIN_X, MARGIN_Y = 10, 2  # pixels around the image of a slit
LEAST_COLUMNS, LEAST_ROWS = 2, 1  # of an image that is worth a cut-out


class Box(NamedTuple):
    """Columns x0 to x1 and rows y0 to y1 of the subarray, counted from 0, the ends left out."""

    x0: int
    x1: int
    y0: int
    y1: int

    @classmethod
    def of_cut_out(cls, bounds):
        """The pixels that a bounding box touches by half, as those of a slit are cut out."""
        return cls(*(floor(edge + 0.5) for pair in bounds for edge in pair))

    @classmethod
    def of_centres(cls, bounds):
        """The pixels whose centres lie in a bounding box."""
        (x0, x1), (y0, y1) = bounds
        return cls(ceil(x0), floor(x1) + 1, ceil(y0), floor(y1) + 1)

    @property
    def slices(self):
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    @property
    def shape(self):
        return self.y1 - self.y0, self.x1 - self.x0


class OnePath:
    """The way of light through one slit, on arrays.

    Within a slit all light is taken to pass its middle line, x = 0; the direction across the dispersion tells how far along the slit.

    Parameters
    ----------
    optics : optics.Optics
    to_plane : function
        Place in the slit (x, y) and wavelength [m] -> place in the plane of the slits (x, y) [m].
    y_range : (float, float)
        How far along the slit its light reaches.
    """

    def __init__(self, optics, to_plane, y_range):
        self.optics, self.y_range, self._to_plane = optics, y_range, to_plane
        self.y = np.linspace(*y_range, ALONG)
        self.alpha_in, self.beta_in = self._directions(self.y, optics.middle)
        rising = slice(None, None, -1) if self.beta_in[0] > self.beta_in[-1] else slice(None)
        self._beta, self._y, self._alpha = self.beta_in[rising], self.y[rising], self.alpha_in[rising]

    def _directions(self, y, wavelength):
        return self.optics.from_slit_plane(*self._to_plane(np.zeros_like(y), y, wavelength))

    def place(self, x, y):
        """How far along the slit light is seen at pixels of the subarray; NaN outside the slit."""
        return self._at(self._y, self.optics.at_grating(x, y)[1])

    def wavelength(self, x, y):
        """The wavelength [micron] at pixels of the subarray; NaN outside the slit."""
        alpha_out, beta_out = self.optics.at_grating(x, y)
        return self.optics.wavelength(self._at(self._alpha, beta_out), -beta_out, alpha_out)

    def _at(self, values, beta_out):
        return np.interp(-beta_out, self._beta, values, left=np.nan, right=np.nan)

    def pixels(self, y, wavelength):
        """Pixels (x, y) of the subarray of light of a wavelength [m] at a place along the slit."""
        return self.optics.to_pixels(wavelength, *self._directions(np.array([float(y)]), wavelength))

    def bounds(self, shape):
        """The bounding box ((x0, x1), (y0, y1)) around the slit's image, within an image of that shape, pixels counted from 0.

        The edges of the slit are followed through all wavelengths. A margin is left of MARGIN_X columns and MARGIN_Y rows; then the
        rows are cut to those in which light of the slit is seen, and the margin is left once more.
        """
        edges = [self._extent(y) for y in self.y_range]
        low, high = np.min([edge[0] for edge in edges], axis=0), np.max([edge[1] for edge in edges], axis=0)
        x, y = _span(low[0], high[0], MARGIN_X, shape[1]), _span(low[1], high[1], MARGIN_Y, shape[0])
        inside = Box.of_centres((x, y))
        if min(inside.shape) > 0:
            rows, columns = np.mgrid[inside.slices].astype(float)
            seen = np.flatnonzero(np.isfinite(self.wavelength(columns, rows)).any(axis=1))
            if seen.size:
                y = _span(rows[seen[0], 0], rows[seen[-1], 0], MARGIN_Y, shape[0])
        return x, y

    def is_seen(self, bounds, shape):
        """Whether enough of a bounding box sees the slit; only one at an edge, or hardly wider than its margins, need be looked at."""
        (x0, x1), (y0, y1) = bounds
        if y0 > -0.5 and y1 < shape[0] - 0.5 and x1 - x0 > 2 * MARGIN_X + lit.LEAST:
            return True
        y, x = np.mgrid[Box.of_centres(bounds).slices].astype(float)
        return lit.is_lit(self.wavelength(x, y))

    def _extent(self, y):
        """The least and the largest (x, y) of one end of the slit over all wavelengths: between coarse steps where they are, fine ones."""
        low, high = self.optics.range[1:]
        number = int((high - low) / STEP)
        grid = np.linspace(low, high, number)
        coarse = np.unique(np.append(np.arange(0, number, COARSE), number - 1))
        at = np.array([pick(axis) for pick in (np.argmin, np.argmax) for axis in self.pixels(y, grid[coarse])])
        first, last = coarse[np.maximum(at - 1, 0)], coarse[np.minimum(at + 1, len(coarse) - 1)]
        near = np.unique(np.concatenate([np.arange(*ends) for ends in zip(first, last + 1, strict=True)]))
        values = np.stack(self.pixels(y, grid[near]))
        return values.min(axis=1), values.max(axis=1)


def _span(low, high, margin, size):
    """From the edge of the first pixel to that of the last, with a margin, within an image; one wider below, as the archive has it."""
    return max(0.0, low - 1 - margin) - 0.5, min(size - 1.0, high - 1 + margin) + 0.5


class ExposureSlits:
    """The open slits of an exposure.

    Parameters
    ----------
    optics : optics.Optics
    msa : Reference
        `Q1`... `Q5`: `model`, quadrant to plane of the slits [m]; `data`: XC, YC, SIZEX, SIZEY of its shutters or slits [m].
    slits : list of Slit
    shape : (int, int)
        Rows and columns of the exposure.
    of_shutters : bool
        Whether the metadata file of the micro-shutters tells of them.
    may_miss : bool
        That all of them miss the detector is no error.

    Attributes
    ----------
    slits : list of Slit
        Those that are seen on the detector, by quadrant.
    boxes : list of Box
        What is cut out.
    bounds : list of ((x0, x1), (y0, y1))
        Their bounding boxes.

    Raises
    ------
    InputError
        No slit is seen on the detector.
    """

    def __init__(self, optics, msa, slits, shape, of_shutters=False, may_miss=False):
        self.optics, self.shape, self.of_shutters = optics, tuple(shape[-2:]), of_shutters
        self.slits, self.boxes, self.bounds, self.paths, self._places = [], [], [], [], []
        missed = []
        for slit, place, quadrant in _located(msa, slits):
            path = OnePath(optics, _to_plane(place, quadrant), (slit.ymin, slit.ymax))
            bounds = path.bounds(self.shape)
            box = Box.of_cut_out(bounds)
            if box.x1 - box.x0 < LEAST_COLUMNS or box.y1 - box.y0 < LEAST_ROWS or not path.is_seen(bounds, self.shape):
                missed.append(str(slit.name))
                continue
            of_it = {"slits": slit, "boxes": box, "bounds": bounds, "paths": path, "_places": (place, quadrant)}
            for name, value in of_it.items():
                getattr(self, name).append(value)
        if may_miss:
            return
        if missed:
            log.info("Not on %s: %s", optics.detector, ", ".join(missed))
        if not self.slits:
            what = f"no light of its {len(slits)} open slits falls on {optics.detector}" if slits else "it has no open slit"
            raise InputError(what, optics.header.name, "Leave the exposure out")
        log.info("%d slits on %s: %s", len(self.slits), optics.detector, ", ".join(str(slit.name) for slit in self.slits))

    def wavelengths(self, number):
        """Wavelengths [micron] of the box of one slit, float32 (row, col); NaN outside the slit."""
        box = self.boxes[number]
        y, x = np.mgrid[box.slices].astype(float)
        return self.paths[number].wavelength(x, y).astype(np.float32)

    def mask(self):
        """Which pixels of the exposure see a slit, bool (row, col)."""
        seen = np.zeros(self.shape, bool)
        for path, bounds in zip(self.paths, self.bounds, strict=True):
            inside = Box.of_centres(bounds)
            y, x = np.mgrid[inside.slices].astype(float)
            seen[inside.slices] |= np.isfinite(path.wavelength(x, y))
        return seen

    # --- as models -----------------------------------------------------------------------------------------------------

    def wcs(self, number):
        """The gWCS of the cut-out of one slit: detector, sca, gwa, slit_frame, msa_frame, oteip, v2v3, v2v3vacorr, world.

        That of a lamp ends at msa_frame.
        """
        box = self.boxes[number]
        first = self.optics.from_pixels((box.x0, box.y0))
        to_slit, to_plane = self._models(number)
        named(to_slit, "gwa2slit", ("angle1", "angle2", "angle3"), ("x_slit", "y_slit", "lam"))
        plane = named(to_plane & Identity(1), "slit2msa", ("x_slit", "y_slit", "lam"), ("x_msa", "y_msa", "lam"))
        wcs = self._pipeline(first, self.optics.from_camera, to_slit, plane, self._sky())
        height, width = box.shape
        wcs.bounding_box = ((-0.5, width - 0.5), (-0.5, height - 0.5))
        return wcs

    def whole_wcs(self):
        """The gWCS of the exposure: that of all its slits, of which one more input, its number, tells one."""
        one = Identity(1)
        slits = [tuple(_plain(slit)) for slit in self.slits]
        models = [self._models(number) for number in range(len(self.slits))]
        first, camera = by_number(self.optics)
        to_slit = Gwa2Slit(slits, [model for model, _ in models])
        to_slit.name = "gwa2slit"
        order = Mapping((0, 1, 3, 2))
        order.inverse = Mapping((0, 1, 3, 2))
        to_plane = Slit2Msa(slits, [model for _, model in models]) & one | order
        named(to_plane, "slit2msa", ("name", "x_slit", "y_slit", "lam"), ("x_msa", "y_msa", "lam", "name"))
        steps = [(name, named(model & one, model.name, (*model.inputs, "name"), (*model.outputs, "name"))) for name, model in self._sky()]
        wcs = self._pipeline(first, camera, to_slit, to_plane, steps)
        boxes = {slit.slit_id: bounds for slit, bounds in zip(self.slits, self.bounds, strict=True)}
        return with_boxes(wcs, boxes)

    def _pipeline(self, first, camera, to_slit, to_plane, sky):
        steps = [(detector_frame(), first), (detector_frame("sca"), camera), (grating_frame(), to_slit), (frame("slit_frame"), to_plane)]
        steps += [(frame(name), model) for name, model in sky]
        return WCS([*steps, (frame("msa_frame" if self.optics.lamp else "world"), None)])

    def _sky(self):
        return [] if self.optics.lamp else self.optics.to_sky()

    def _models(self, number):
        """Directions at the disperser to a place in the slit and a wavelength; the former to the plane of the slits."""
        (place, quadrant), path, slit = self._places[number], self.paths[number], self.slits[number]
        to_plane = place_model(place) | quadrant
        return slit_model(self.optics, to_plane, path, (slit.ymin, slit.ymax)), to_plane


def by_number(optics):
    """Pixels to those of the detector as it is read, and on to directions at the disperser, both passing a slit's number on."""
    pixel = ("x", "y", "name")
    first = named(optics.from_pixels() & Identity(1), "dms2sca", pixel, pixel)
    last_to_first = Mapping((3, 0, 1, 2))
    last_to_first.inverse = Mapping((1, 2, 3, 0))
    return first, named(optics.from_camera & Identity(1) | last_to_first, "det2gwa", pixel, ("name", "angle1", "angle2", "angle3"))


def with_boxes(wcs, boxes):
    """A WCS by number with a bounding box for each: number -> ((x0, x1), (y0, y1))."""
    forward = wcs.forward_transform
    forward.inputs = ("x", "y", "name")
    wcs.bounding_box = CompoundBoundingBox.validate(forward, boxes, selector_args=[("name", True)], order="F")
    return wcs


def slit_model(optics, to_plane, path, y_range):
    """(alpha, beta, gamma) behind the disperser -> (0, y in the slit, wavelength), with its inverse.

    Parameters
    ----------
    optics : optics.Optics
    to_plane : Model
        Place in the slit to the plane of the slits.
    path : OnePath
    y_range : (float, float)
        Outside it y and the wavelength are NaN.
    """
    table = Tabular1D(points=(path.beta_in,), lookup_table=path.y, bounds_error=False, name="tabular")
    into = to_plane | optics.from_collimator
    model = (
        Mapping((0, 1, 0, 1), n_inputs=3)
        | Const1D(0) * Identity(1) & Const1D(-1) * Identity(1) & Identity(2)
        | Identity(1) & table & Identity(2)
        | Mapping((0, 1, 0, 1, 2, 3))
        | Identity(2) & into & Identity(2)
        | Mapping((0, 1, 2, 3, 5), n_inputs=7)
        | Identity(2) & optics.wavelength_model
        | _within(*y_range)
    )
    model.inverse = into & Identity(1) | Mapping((3, 0, 1, 2)) | optics.out_model
    return model


def _within(low, high):
    """(x, y, wavelength), the last two NaN where y is not in the slit."""
    nothing = Logical(condition="GT", compareto=high, value=np.nan) | Logical(condition="LT", compareto=low, value=np.nan) | Scale(0)
    added = Mapping((0,), n_inputs=2) + Mapping((1,))
    model = Mapping((0, 1, 2, 1)) | Identity(3) & nothing | Mapping((0, 1, 3, 2, 3)) | Identity(1) & added & added
    model.inverse = Identity(3)
    return model


def place_model(place):
    """Place in a slit, its sides 1, to place in its quadrant [m]."""
    x, y, width, height = place
    return Scale(width) & Scale(height) | Shift(x) & Shift(y)


def _to_plane(place, quadrant):
    x0, y0, width, height = place
    quadrant = as_function(quadrant)
    return lambda x, y, wavelength: quadrant(x0 + width * x, y0 + height * y)


def _located(msa, slits):
    """(slit, its (x, y, width, height) in its quadrant [m], the quadrant's model), by quadrant."""
    found = []
    with understood("msa", msa.path):
        for quadrant in sorted({int(slit.quadrant) for slit in slits}):
            part = msa.tree[f"Q{quadrant}"]
            rows = np.asarray(part["data"])
            for slit in slits:
                if int(slit.quadrant) == quadrant:
                    row = rows[int(slit.shutter_id) - (quadrant != QUADRANT)]  # fixed slits count from 0
                    found.append((slit, tuple(float(value) for value in row.tolist()[1:5]), part["model"]))
    return found


def _plain(slit):
    """The values of a slit as a YAML file takes them."""
    return Slit(*(value.item() if isinstance(value, np.generic) else value for value in slit))
