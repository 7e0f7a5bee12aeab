"""The path of light between the plane of the slits and the detector, on arrays; and the parts of it that all slits share, as models."""

from functools import cached_property

import numpy as np
from astropy.modeling.models import Identity, Mapping, Scale, Shift
from stdatamodels.jwst.transforms.models import Unitless2DirCos

from ....files.reference_file import another, understood
from ....vocabulary.errors import InputError, ReferenceError
from ....vocabulary.limits import SIDE
from ..plain_functions import as_function
from ..spectral import to_barycentre
from ..telescope import field_to_sky, without_aberration
from .disperser import Disperser, is_lamp, spectral_range

DETECTORS = ("NRS1", "NRS2")
BETWEEN = ("disperser", "wavelengthrange", "fpa", "camera", "collimator")  # references: between slits and detector
BEFORE = ("fore", "ote")  # between sky and slits
MICRON = 1e6  # in a metre


class Optics:
    """NIRSpec as it was when an exposure was taken.

    Parameters
    ----------
    header : exposure.Header
        DETECTOR, FILTER, GRATING, LAMP, the readings of the grating wheel, the subarray, VELOSYS.
    refs : References
        BETWEEN, and BEFORE for all but lamps.

    Attributes
    ----------
    range : disperser.Range
    disperser : disperser.Disperser
    lamp : bool
        The path ends at the slits, and wavelengths there are micron.

    Raises
    ------
    InputError
        A keyword is missing or unknown.
    ReferenceError
        A reference does not hold what it should.
    """

    def __init__(self, header, refs):
        self.header, self.refs = header, refs
        self.detector = str(header["DETECTOR"]).upper()
        if self.detector not in DETECTORS:
            raise InputError(f"DETECTOR is {self.detector}: NRS1 or NRS2 is expected", header.name, "Correct the keyword")
        self.corner = int(header.get("SUBSTRT1", 1)) - 1, int(header.get("SUBSTRT2", 1)) - 1
        self.lamp = is_lamp(header)
        self.range = spectral_range(header, refs["wavelengthrange"])
        self.disperser = Disperser(header, refs["disperser"], self.range.order)
        self.fpa = self.model("fpa", f"{self.detector.lower()}_model")
        self.camera, self.collimator = self.model("camera"), self.model("collimator")
        self._to_grating = as_function(self.fpa | self.camera)
        self._to_pixels = as_function(self.camera.inverse | self.fpa.inverse)
        self._from_plane = as_function(self.collimator.inverse)

    def model(self, kind, name="model"):
        """A model of a reference, with its inverse."""
        reference = self.refs[kind]
        with understood(kind, reference.path):
            model = reference.tree[name]
            if not model.has_inverse():
                raise ReferenceError(f"the {kind} reference's {name} has no inverse", reference.path, another(kind))
            return model

    @property
    def middle(self):
        """The middle of the wavelengths [m]."""
        return 0.5 * (self.range.high - self.range.low) + self.range.low

    @cached_property
    def velocity(self):
        """From the wavelength as observed to the barycentre's, a model; None where there is no VELOSYS."""
        return to_barycentre(self.header)

    @cached_property
    def ratio(self):
        """The wavelength at the barycentre over that observed."""
        return 1.0 if self.velocity is None else float(self.velocity(1.0))

    # --- on arrays -----------------------------------------------------------------------------------------------------

    def at_grating(self, x, y):
        """Direction cosines (alpha, beta) at the disperser, of light that goes from there to pixels of the subarray, counted from 0."""
        x, y = x + self.corner[0], y + self.corner[1]
        if self.detector == "NRS2":
            x, y = (SIDE - 1) - x, (SIDE - 1) - y
        return self._turned(*self._to_grating(x, y))[:2]

    def from_slit_plane(self, x, y):
        """Direction cosines (alpha, beta) at the disperser, of light that comes from a place in the plane of the slits [m]."""
        return self._turned(*self._from_plane(x, y))[:2]

    def to_pixels(self, wavelength, alpha_in, beta_in):
        """Pixels (x, y) of the subarray that light of a wavelength [m], at the barycentre, reaches from there."""
        alpha, beta = self.disperser.out(wavelength / self.ratio, alpha_in, beta_in)
        gamma = np.sqrt(1 - alpha**2 - beta**2)
        u, v, w = np.tensordot(self.disperser.to_grating.T, np.stack([alpha, beta, gamma]), 1)
        x, y = self._to_pixels(u / w, v / w)
        if self.detector == "NRS2":
            x, y = (SIDE - 1) - x, (SIDE - 1) - y
        return x - self.corner[0], y - self.corner[1]

    def wavelength(self, alpha_in, beta_in, alpha_out):
        """The wavelength [micron], at the barycentre, by the directions before and behind the disperser."""
        return self.disperser.wavelength(alpha_in, beta_in, alpha_out) * (self.ratio * MICRON)

    def _turned(self, u, v):
        """The direction of (u, v, 1) in the disperser's frame."""
        return np.tensordot(self.disperser.to_grating, np.stack([u, v, np.ones_like(u)]) / np.sqrt(1 + u**2 + v**2), 1)

    # --- as models -----------------------------------------------------------------------------------------------------

    def from_pixels(self, corner=(0, 0)):
        """Pixels of a cut-out, whose first is `corner` of the subarray, to those of the detector as it is read."""
        to_full = Shift(self.corner[0] + corner[0]) & Shift(self.corner[1] + corner[1])
        if self.detector == "NRS2":
            to_full |= Shift(1 - SIDE) & Shift(1 - SIDE) | Scale(-1) & Scale(-1)
        return named(to_full, "dms2sca", ("x", "y"), ("x", "y"))

    @cached_property
    def from_camera(self):
        """Pixels of the detector to directions (alpha, beta, gamma) at the disperser."""
        to_grating = self.fpa | self.camera | Unitless2DirCos(name="unitless2directional_cosines") | self.disperser.rotation()
        return named(to_grating, "det2gwa", ("x", "y"), ("angle1", "angle2", "angle3"))

    @cached_property
    def from_collimator(self):
        """The plane of the slits [m] to directions (alpha, beta, gamma) at the disperser."""
        return self.collimator.inverse | Unitless2DirCos(name="unitless2directional_cosines") | self.disperser.rotation()

    @cached_property
    def wavelength_model(self):
        """(alpha_in, beta_in, alpha_out) -> wavelength [m; micron of a lamp]."""
        model = self.disperser.wavelength_model()
        model = model if self.velocity is None else model | self.velocity
        return model | Scale(MICRON) if self.lamp else model

    @cached_property
    def out_model(self):
        """(wavelength, alpha_in, beta_in, gamma_in) -> (alpha, beta, gamma) behind the disperser: the inverse of the former."""
        model = self.disperser.out_model()
        if self.velocity is not None:
            model = self.velocity.inverse & Identity(3) | model
        return Scale(1 / MICRON) & Identity(3) | model if self.lamp else model

    def to_sky(self):
        """(frame, transform) from the plane of the slits to the sky, without the last frame: names and models, as `frames` names them."""
        fore, ote = self.model("fore"), self.model("ote")
        plane = Mapping((0, 1, 2, 2)) | fore & Identity(1)
        plane.inverse = Mapping((0, 1, 2, 2)) | fore.inverse & Identity(1)
        to_field = Identity(3) | ote & Scale(MICRON)
        to_field.inverse = ote.inverse & Scale(1 / MICRON)
        names = {"msa_frame": "msa2oteip", "oteip": "oteip2v23", "v2v3": "va_corr", "v2v3vacorr": "v2v3_to_sky"}
        axes = [("x_msa", "y_msa", "lam"), ("x_ote", "y_ote", "lam"), ("v2", "v3", "lam"), ("v2", "v3", "lam"), ("ra", "dec", "lam")]
        models = [plane, to_field, without_aberration(self.header) & Identity(1), field_to_sky(self.header) & Identity(1)]
        steps = zip(names.items(), models, axes[:-1], axes[1:], strict=True)
        return [(frame, named(model, name, before, after)) for (frame, name), model, before, after in steps]


def named(model, name, inputs, outputs):
    """A model with its name and those of its axes."""
    model.name, model.inputs, model.outputs = name, inputs, outputs
    return model
