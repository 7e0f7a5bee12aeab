"""The grating wheel: gratings, and the prism at its temperature, turned by the tilts that its sensors have read."""

import logging
from functools import cached_property
from typing import NamedTuple

import numpy as np
from astropy.modeling.models import Identity, Mapping, Scale, Tabular1D
from gwcs.spectroscopy import AnglesFromGratingEquation3D, WavelengthFromGratingEquation
from stdatamodels.jwst.transforms.models import RefractionIndexFromPrism, Rotation3DToGWA, Snell

from ....files.reference_file import another, understood
from ....vocabulary.errors import InputError, ReferenceError

log = logging.getLogger(__name__)

AXES = "xyzy"  # the turns from the collimator's frame to that of the disperser: theta_x, theta_y, theta_z, tilt_y
PRISM_WAVELENGTHS = np.arange(0.3, 8.005, 0.005) * 1e-6  # m, of the table from index of refraction to wavelength
FULL_RANGE = (-1, (0.6e-6, 5.3e-6))  # spectral order and wavelengths [m] of a disperser that the wavelengthrange reference does not know


class Range(NamedTuple):
    """Spectral order and wavelengths [m] of an exposure."""

    order: int
    low: float
    high: float


def is_lamp(header):
    """Whether the light is a lamp's: no sky behind the slits."""
    return str(header.get("FILTER", "")) == "OPAQUE"


def spectral_range(header, wavelengthrange):
    """Spectral order and wavelengths of an exposure by filter, or lamp, and grating.

    Of a combination that the reference does not have, those of the first one with the same grating; without such a one, the first order
    from 0.6 to 5.3 micron.
    """
    grating = str(header["GRATING"])
    wanted = f"{header['LAMP' if is_lamp(header) else 'FILTER']}_{grating}"
    with understood("wavelengthrange", wavelengthrange.path):
        tree = wavelengthrange.tree
        names = list(tree["waverange_selector"])
        same = [name for name in names if name.split("_")[1] == grating]
        taken = wanted if wanted in names else same[0] if same else None
        order, (low, high) = (tree["order"][names.index(taken)], tree["wavelengthrange"][names.index(taken)]) if taken else FULL_RANGE
    if taken != wanted:
        log.warning(
            "No wavelength range for %s in %s: %s to %s micron are taken%s",
            wanted, wavelengthrange.path, float(low) * 1e6, float(high) * 1e6, f", those of {taken}" if taken else "",
        )  # fmt: skip
    return Range(int(order), float(low), float(high))


class Disperser:
    """The element of the grating wheel that an exposure was taken through.

    Parameters
    ----------
    header : exposure.Header
        GRATING, GWA_XTIL and GWA_YTIL (readings of the tilt sensors), and for the prism GWA_TILT [K], its temperature.
    reference : Reference
        disperser.
    order : int
        Spectral order.

    Raises
    ------
    InputError
        The prism's temperature is missing.
    ReferenceError
        The reference does not hold what it should, or is for another element.
    """

    def __init__(self, header, reference, order):
        self.order = order
        self.is_prism = str(header["GRATING"]).upper() == "PRISM"
        with understood("disperser", reference.path):
            tree = self._tree = reference.tree
            own = tree.get("meta", {}).get("instrument", {}).get("grating")
            if own not in (None, "N/A", "ANY", header["GRATING"]):
                what = f"the disperser reference is for {own}, the exposure was taken with {header['GRATING']}"
                raise ReferenceError(what, reference.path, another("disperser"))
            angles = {name: float(tree[name]) for name in ("theta_x", "theta_y", "theta_z", "tilt_y")}
            for keyword, sensor, turned in (("GWA_XTIL", "gwa_tiltx", "theta_y"), ("GWA_YTIL", "gwa_tilty", "theta_x")):
                reading = header.get(keyword)
                if reading is None:
                    log.warning("No %s: the grating wheel is taken to stand as when it was calibrated", keyword)
                    continue
                angles[turned] += _tilt(tree[sensor], float(reading))
            self.angles = list(angles.values())
            if self.is_prism:
                self._read_prism(header, tree)
            elif str(header["GRATING"]).upper() != "MIRROR":
                self.grooves = float(tree["groovedensity"])  # a metre

    def _read_prism(self, header, tree):
        temperature = header.get("GWA_TILT")
        if temperature is None:
            what = "the keyword GWA_TILT, the prism's temperature, is missing"
            raise InputError(what, header.name, "Take the file from the archive again, or set it [K]")
        coefficients = [np.array(tree[name], float) for name in ("kcoef", "lcoef", "tcoef")]
        tref, pref = float(tree["tref"]), float(tree["pref"])
        self._snell = (float(tree["angle"]), *coefficients, tref, pref, float(temperature), pref)
        self._glass = (float(temperature), tref, pref, pref, *coefficients)

    @cached_property
    def to_grating(self):
        """The matrix that turns directions at the collimator to those at the disperser, (3, 3)."""
        turn = np.eye(3)
        for angle, axis in zip(np.radians(self.angles), AXES, strict=True):
            turn = _turn(angle, axis) @ turn
        return turn

    @cached_property
    def indices(self):
        """Rising indices of refraction of the prism, and their wavelengths [m]."""
        return self.index(PRISM_WAVELENGTHS[::-1]), PRISM_WAVELENGTHS[::-1]

    def index(self, wavelength):
        """The prism's index of refraction at wavelengths [m], by the Sellmeier equation at its temperature."""
        temperature, tref, pref, pressure, *coefficients = self._glass
        return Snell.compute_refraction_index(wavelength, temperature, tref, pref, pressure, *coefficients)

    # --- on arrays -----------------------------------------------------------------------------------------------------

    def wavelength(self, alpha_in, beta_in, alpha_out):
        """The wavelength [m] of light that comes in and goes out at these direction cosines; NaN where the prism has none.

        The grating equation, or, for the prism, the index of refraction that turns alpha_in to alpha_out after a reflection at its back
        (Jakobsen et al. 2022, A&A 661, A80; Dorner et al. 2016, A&A 592, A113).
        """
        if not self.is_prism:
            return -(alpha_in + alpha_out) / (self.grooves * self.order)
        angle = np.radians(self._snell[0])
        sine, cosine = np.sin(angle), np.cos(angle)
        inside = (alpha_out + alpha_in * (1 - 2 * sine**2)) / (2 * sine * cosine)
        index = np.sqrt(inside**2 + alpha_in**2 + beta_in**2)
        return np.interp(index, *self.indices, left=np.nan, right=np.nan)

    def out(self, wavelength, alpha_in, beta_in):
        """Direction cosines (alpha, beta) of what goes out of the disperser; arguments as above."""
        if not self.is_prism:
            alpha = -alpha_in - self.grooves * self.order * wavelength
            return alpha, np.broadcast_to(-beta_in, alpha.shape)
        index, angle = self.index(wavelength), np.radians(self._snell[0])
        x, y = alpha_in / index, beta_in / index
        z = np.sqrt(1 - x**2 - y**2)
        x = -(x * np.cos(angle) - z * np.sin(angle))  # in the frame of the back, reflected there
        y = -y
        z = np.sqrt(1 - x**2 - y**2)
        x = x * np.cos(angle) + z * np.sin(angle)
        return x * index, y * index

    # --- as models -----------------------------------------------------------------------------------------------------

    def rotation(self):
        """Directions at the collimator or camera to those at the disperser; with its inverse."""
        return Rotation3DToGWA(self.angles, axes_order=AXES, name="rotation")

    def wavelength_model(self):
        """(alpha_in, beta_in, alpha_out) -> wavelength [m]."""
        if not self.is_prism:
            grating = WavelengthFromGratingEquation(self.grooves, self.order, name="lambda_from_gratingeq")
            return Mapping((0, 2), n_inputs=3) | grating | Scale(-1)
        index, wavelength = self.indices
        table = Tabular1D(points=(index,), lookup_table=wavelength, bounds_error=False)
        return RefractionIndexFromPrism(self._snell[0], name="n_prism") | table

    def out_model(self):
        """(wavelength [m], alpha_in, beta_in, gamma_in) -> (alpha, beta, gamma) going out."""
        if self.is_prism:
            return Snell(*self._snell, name="snell_law")
        grating = AnglesFromGratingEquation3D(self.grooves, self.order, name="alpha_from_greq")
        return Mapping((0, 1, 2), n_inputs=4) | Identity(1) & Scale(-1) & Identity(1) | grating


def _tilt(sensor, reading):
    """How far [deg] an element is turned against its calibration: half of what the light is, by the sensor's readings."""
    model = sensor["tilt_model"]
    return 0.5 * float(model(reading) - model(float(sensor["zeroreadings"][0]))) / 3600


def _turn(angle, axis):
    """The matrix that turns a direction's coordinates about an axis by an angle [rad]."""
    cos, sin = np.cos(angle), np.sin(angle)
    return {
        "x": np.array([[1, 0, 0], [0, cos, sin], [0, -sin, cos]]),
        "y": np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]]),
        "z": np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]]),
    }[axis]
