"""Small images of spectra with a plain WCS, and references of extract_1d made by hand."""

import json

import numpy as np
from astropy import coordinates, units
from astropy.io import fits
from astropy.modeling.models import Const1D, Identity, Linear1D, Mapping, Polynomial2D
from gwcs import WCS, coordinate_frames
from scipy.special import erf

import make
from jwcal.model.exposure import Exposure, Pixels
from jwcal.model.references import References
from jwcal.simulate import spectrograph
from jwcal.simulate.scene import CORE, HALO_SCALE, SIGMA

ARCSEC = 0.1  # a pixel of the plain WCS


def plain_wcs(vertical=True, reverse=False):
    """Along the slit in right ascension; a wavelength a row from 5 micron on."""
    detector = coordinate_frames.Frame2D(name="detector", axes_order=(0, 1), unit=(units.pix, units.pix))
    sky = coordinate_frames.CelestialFrame(name="sky", axes_order=(0, 1), reference_frame=coordinates.ICRS())
    spectral = coordinate_frames.SpectralFrame(name="spectral", axes_order=(2,), unit=(units.micron,))
    model = Linear1D(ARCSEC / 3600, 0.0) & Const1D(0.0) & Linear1D(-0.01 if reverse else 0.01, 9.0 if reverse else 5.0)
    order = (0, 0, 1) if vertical else (1, 1, 0)
    world = coordinate_frames.CompositeFrame([sky, spectral], name="world")
    return WCS([(detector, Mapping(order, n_inputs=2) | model), (world, None)])


def slit_wcs(middle=15.0):
    """Spectra along the rows, with a slit frame: 0.1 of the slit a pixel, tilted by a pixel in 100."""
    detector = coordinate_frames.Frame2D(name="detector", axes_order=(0, 1), unit=(units.pix, units.pix))
    names = {"axes_names": ("x_slit", "y_slit", "lam"), "unit": (units.one, units.one, units.micron)}
    slit = coordinate_frames.CoordinateFrame(3, ("SPATIAL", "SPATIAL", "SPECTRAL"), (0, 1, 2), name="slit_frame", **names)
    sky = coordinate_frames.CelestialFrame(name="sky", axes_order=(0, 1), reference_frame=coordinates.ICRS())
    spectral = coordinate_frames.SpectralFrame(name="spectral", axes_order=(2,), unit=(units.micron,))
    world = coordinate_frames.CompositeFrame([sky, spectral], name="world")
    to_slit = Mapping((0, 0, 1, 0)) | Const1D(0.0) & Polynomial2D(1, c0_0=-middle / 10, c1_0=-0.001, c0_1=0.1) & Linear1D(0.01, 5.0)
    to_slit.inverse = Mapping((2, 1, 2), n_inputs=3) | Linear1D(100.0, -500.0) & Polynomial2D(1, c0_0=middle - 5, c1_0=10, c0_1=1.0)
    to_sky = Linear1D(1 / 3600) & Linear1D(1 / 3600) & Identity(1)
    return WCS([(detector, to_slit), (slit, to_sky), (world, None)])


def image(sci, vertical=True, reverse=False, **keywords):
    """A calibrated image or series, (..., row, col); errors of 1."""
    sci = np.array(sci, np.float32)
    about = {"EXP_TYPE": "MIR_LRS-SLITLESS", "INSTRUME": "MIRI", "FILTER": "P750L", "SUBARRAY": "SLITLESSPRISM", "SRCTYPE": "POINT"}
    about |= {"DETECTOR": "MIRIMAGE", "DISPAXIS": 2 if vertical else 1, "BUNIT": "MJy/sr", "PIXAR_SR": 1e-13, **keywords}
    head = make.header(*sci.shape[-2:], **{"NINTS": len(sci) if sci.ndim == 3 else 1, "NGROUPS": 5, **about})
    planes = {name: np.ones_like(sci) for name in ("err", "var_poisson")}
    zeros = {name: np.zeros_like(sci) for name in ("var_rnoise", "var_flat")}
    pixels = Pixels(sci=sci, dq=np.zeros(sci.shape, np.uint32), **planes, **zeros, wcs=plain_wcs(vertical, reverse))
    return Exposure(head, [pixels], suffix="calints" if sci.ndim == 3 else "cal")


def extract1d(path, *more, name="MIR_LRS-SLITLESS", **entry):
    """An extract1d reference with one aperture, and more."""
    path.write_text(json.dumps({"reftype": "EXTRACT1D", "apertures": [{"id": name, "region_type": "target", **entry}, *more]}))
    return path


def references(folder, exposure, more=None, **entry):
    """References with one aperture, and what else there is: type -> path."""
    return References({"extract1d": extract1d(folder / "extract1d.json", **entry), **(more or {})}, exposure.header)


def apcorr(path, sizes, wavelength, correction, subarrays=("FULL", "SLITLESSPRISM"), unit="pixels"):
    """An apcorr reference of the prism: correction (wavelength, size)."""
    kinds = [("subarray", "S15"), ("wavelength", ">f4", (len(wavelength),)), ("nelem_wl", ">i2"), ("size", ">f4", (len(sizes),))]
    kinds += [("nelem_size", ">i2"), ("apcorr", ">f4", np.shape(correction)), ("apcorr_err", ">f4", np.shape(correction))]
    if unit == "pixels":
        kinds[3] = ("size", "u1", (len(sizes),))
    rows = [(name, wavelength, len(wavelength), sizes, len(sizes), correction, np.zeros_like(correction)) for name in subarrays]
    table = fits.BinTableHDU(np.array(rows, kinds), fits.Header({"SIZEUNIT": unit}), name="APCORR")
    about = {"TELESCOP": "JWST", "INSTRUME": "MIRI", "REFTYPE": "APCORR", "DATAMODL": "MirLrsApcorrModel"}
    about |= {"AUTHOR": "tests", "PEDIGREE": "DUMMY", "DESCRIP": "test", "USEAFTER": "2022-01-01T00:00:00", "EXP_TYPE": "MIR_LRS-SLITLESS"}
    fits.HDUList([fits.PrimaryHDU(header=fits.Header(about)), table]).writeto(path, overwrite=True)
    return path


def width(wavelength):
    """sqrt(2) sigma of the simulated PSF's core [pixels]."""
    return np.sqrt(2) * SIGMA * spectrograph.DIFFRACTION * np.asarray(wavelength, float) / spectrograph.SCALE


def inside(low, high, wavelength):
    """The part of the simulated PSF between two places [pixels from the source]."""
    parts = [erf(high / (s * width(wavelength))) - erf(low / (s * width(wavelength))) for s in (1, HALO_SCALE)]
    return CORE / 2 * parts[0] + (1 - CORE) / 2 * parts[1]


def lrs_apcorr(path, sizes=(6, 8, 10, 12, 16)):
    """The aperture correction of the simulated PSF."""
    wavelength = np.linspace(3, 15, 61)
    table = 1 / np.array([[inside(-s / 2, s / 2, w) for s in sizes] for w in wavelength])
    return apcorr(path, sizes, wavelength, table)


def psf(path, samples=4, reach=24):
    """A psf reference: the simulated PSF by wavelength, red to blue as the detector has it."""
    wavelength = np.linspace(14.5, 3.5, 300)
    across = np.arange(-reach * samples, reach * samples + 1) / samples
    image = np.array([inside(across - 0.5, across + 0.5, w) for w in wavelength])
    about = {"TELESCOP": "JWST", "INSTRUME": "MIRI", "REFTYPE": "PSF", "DATAMODL": "SpecPsfModel", "FILTER": "P750L"}
    about |= {"AUTHOR": "tests", "PEDIGREE": "DUMMY", "DESCRIP": "test", "USEAFTER": "2022-01-01T00:00:00", "EXP_TYPE": "MIR_LRS-FIXEDSLIT"}
    own = fits.Header({"APERTURE": "ANY", "SUBPIX": samples, "CENTCOL": reach * samples, "CENTROW": 0})
    hdus = [fits.PrimaryHDU(header=fits.Header(about)), fits.ImageHDU(image, own, name="PSF"), fits.ImageHDU(wavelength, name="WAVE")]
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path
