"""Light behind a grism: the spectra of a source, painted on an image."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.signal import fftconvolve

from ..headers import LIGHT
from ..spectrograph import PathOfLight, paint
from .optics import Grism, Order

SAMPLES = 8  # a pixel along the spectrum


def disperse(image, grism, x0, y0, spectrum, *, fwhm, velocity=0.0, turned=0.0, orders=None, corner=(0, 0), kernel=None):
    """Add the spectra of a source to an image.

    Parameters
    ----------
    image : ndarray, (row, col) float64
        DN/s; changed in place.
    grism : Grism
    x0, y0 : float
        Its direct image [pixels of the image].
    spectrum : callable
        wavelength at the barycentre [micron] -> Jy.
    fwhm : float
        Of the PSF's core [pixels].
    velocity : float
        VELOSYS [m/s].
    turned : float
        Position of the filter wheel less the reference's [deg].
    orders : collection of int, optional
        By default all.
    corner : (x, y)
        The image's first pixel in the full frame, from 0.
    kernel : ndarray, optional
        Shape of a galaxy, of sum 1.

    Returns
    -------
    dict
        Order -> PathOfLight, whose wavelengths are those at the barycentre.
    """
    stretched = 1 + velocity / (1e3 * LIGHT)
    paths, light = {}, np.zeros_like(image)
    for order in grism.orders:
        if orders is not None and order.number not in orders:
            continue
        span = abs(order.along[1]) * (grism.band[1] - grism.band[0]) / (order.wavelengths[1] - order.wavelengths[0])
        wavelength = np.linspace(*grism.band, int(SAMPLES * span) + 9)
        x, y = grism.place(order, x0 + corner[0], y0 + corner[1], wavelength, turned)
        x, y = x - corner[0], y - corner[1]
        along, across = (y, x) if grism.vertical else (x, y)
        step = np.abs(np.gradient(wavelength, along))  # micron a pixel
        sort = np.argsort(along, kind="stable")
        path = PathOfLight(wavelength[sort], along[sort], across[sort], np.zeros(sort.size))
        density = _Density(grism, order, spectrum, stretched, wavelength, step)
        paint(light, path, density, spread=_Width(fwhm), fwhm=_Width(fwhm), vertical=grism.vertical)
        path.wavelength = path.wavelength / stretched
        paths[order.number] = path
    image += light if kernel is None else fftconvolve(light, kernel, mode="same")
    return paths


@dataclass(frozen=True)
class _Width:
    value: float

    def __call__(self, wavelength):
        return np.full(np.shape(wavelength), self.value)


@dataclass(frozen=True)
class _Density:
    """DN/s that fall on a pixel's length of the spectrum."""

    grism: Grism
    order: Order
    spectrum: Callable
    stretched: float
    wavelength: np.ndarray
    step: np.ndarray

    def __call__(self, wavelength):
        rate = self.grism.rate(self.spectrum(wavelength / self.stretched), wavelength, self.order)
        return rate * np.interp(wavelength, self.wavelength, self.step)
