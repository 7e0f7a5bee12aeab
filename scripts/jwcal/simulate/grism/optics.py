"""Where grisms send light, and what of it arrives: the instruments' orders, made up with the real ones' figures."""

from dataclasses import dataclass, replace

import numpy as np

CENTRE = 1023.5  # of a detector, from which the coefficients change
AREAS = {"NRCALONG": 9.30137e-14, "NRCBLONG": 9.32934e-14, "NIS": 1.010539e-13, "MIRIMAGE": 2.891612e-13}  # sr a pixel, as area has it


@dataclass(frozen=True)
class Order:
    """A spectral order.

    Attributes
    ----------
    number : int
    wavelengths : micron where t is 0 and 1
    along, across : pixels by which light is moved along the dispersion and across it: coefficients of 1, t, t^2...
    strength : sensitivity in terms of the first order's
    """

    number: int
    wavelengths: tuple
    along: tuple
    across: tuple = (0.0,)
    strength: float = 1.0


@dataclass(frozen=True)
class Grism:
    """A grism behind a filter.

    Attributes
    ----------
    filter, pupil, detector : str
        As in the header of its exposures.
    vertical : bool
        Whether spectra run along the columns.
    orders : tuple of Order
    band : micron, that the filter passes
    photmjsr : (MJy/sr) micron for a DN/s, of the first order in the middle of the band
    bend : by how much the conversion rises towards the band's edges, in parts of it
    field : part by which the coefficients change from the detector's centre to its edge; 0: NIRCam's older references, in t alone
    angle : deg, the wheel's position that the reference is for (NIRISS)
    """

    exp_type: str
    filter: str
    pupil: str | None
    detector: str
    vertical: bool
    orders: tuple
    band: tuple
    photmjsr: float
    pixar_sr: float
    bend: float = 0.5
    field: float = 0.002
    angle: float | None = None
    fwhm: float | None = None  # pixels

    @property
    def instrument(self):
        return {"NRC": "NIRCAM", "NIS": "NIRISS", "MIR": "MIRI"}[self.exp_type[:3]]

    def factor(self, x0, y0):
        """What coefficients are multiplied with where direct images are at these pixels of the full frame."""
        return 1 + self.field * (x0 - CENTRE) / CENTRE - self.field / 2 * (y0 - CENTRE) / CENTRE

    def place(self, order, x0, y0, wavelength, turned=0.0):
        """Where light falls [pixels].

        Parameters
        ----------
        order : Order
        x0, y0 : float
            Of the direct image.
        wavelength : ndarray
            micron, at the telescope.
        turned : float
            Position of the filter wheel less the reference's [deg].
        """
        factor, t = self.factor(x0, y0), (wavelength - order.wavelengths[0]) / (order.wavelengths[1] - order.wavelengths[0])
        if self.instrument == "NIRCAM":
            t = t / factor
        along = np.polynomial.polynomial.polyval(t, order.along) * (1 if self.instrument == "NIRCAM" else factor)
        across = np.polynomial.polynomial.polyval(t, order.across) * factor
        dx, dy = (across, along) if self.vertical else (along, across)
        cos, sin = np.cos(np.radians(turned)), np.sin(np.radians(turned))
        return x0 + dx * cos + dy * sin, y0 - dx * sin + dy * cos

    def conversion(self, wavelength, order):
        """(MJy/sr) micron for a DN/s, (wavelength,)."""
        low, high = self.band
        off = (np.asarray(wavelength, float) - (low + high) / 2) / ((high - low) / 2)
        return self.photmjsr / order.strength * (1 + self.bend * off**2)

    def rate(self, flux, wavelength, order):
        """DN/s a micron of a source of that many Jy."""
        return 1e-6 / self.pixar_sr * flux / self.conversion(wavelength, order)


def _nircam(exp_type, name, vertical, module="A", band=(3.12, 3.99), filter="F356W"):
    """About 1 nm a pixel; 3.937 micron is not deflected; module B disperses to the other side."""
    side = 1 if module == "A" or vertical else -1
    first = Order(1, (2.4, 5.0), (-1530.88 * side, 2589.64 * side), (-0.6, 1.7, -0.5))
    second = Order(2, (2.4, 5.0), (859.56 * side, 5179.28 * side), (1.1, 0.8), 0.03)
    return Grism(exp_type, filter, name, f"NRC{module}LONG", vertical, (first, second), band, 0.061, AREAS[f"NRC{module}LONG"])


def _niriss(name, vertical, band=(1.33, 1.67), pupil="F150W"):
    """4.7 nm a pixel, falling; the orders 0 and 2 are beside the first."""
    orders = (
        Order(1, (0.8, 2.3), (-30.0, -319.0, -2.0), (3.0, 1.5)),
        Order(0, (0.8, 2.3), (195.0, -4.0), (1.0,), 0.05),
        Order(2, (0.8, 2.3), (-180.0, -640.0), (4.0, 2.0), 0.1),
    )
    return Grism("NIS_WFSS", name, pupil, "NIS", vertical, orders, band, 0.36 * 0.3, AREAS["NIS"], angle=226.0)


SERIES = replace(
    _nircam("NRC_TSGRISM", "GRISMR", False, band=(2.42, 4.02), filter="F322W2"), orders=(Order(1, (2.4, 5.0), (-1530.88, 2589.64)),)
)
NIRCAM = tuple(_nircam("NRC_WFSS", name, name == "GRISMC", band=(3.87, 4.31), filter="F410M") for name in ("GRISMR", "GRISMC"))
NIRISS = (_niriss("GR150C", False), _niriss("GR150R", True))
PRISM = Order(1, (5.0, 14.0), (150.0, -470.0, 70.0), (0.0, 2.0))
MIRI = (Grism("MIR_WFSS", "P750L", None, "MIRIMAGE", True, (PRISM,), (5.0, 11.5), 0.1, AREAS["MIRIMAGE"], fwhm=2.4),)
DIRECT = {"NIRCAM": ("NRC_IMAGE", None, "CLEAR"), "NIRISS": ("NIS_IMAGE", "CLEAR", None), "MIRI": ("MIR_IMAGE", "F770W", None)}
