"""The trace model of a slit as it lies on the detector, and the slit on finer pixels."""

import warnings
from dataclasses import dataclass

import gwcs
import numpy as np
from astropy.modeling.models import Identity, Scale, Shift
from gwcs.coordinate_frames import Frame2D

from ...model.exposure import Pixels
from ...vocabulary import dq
from ...vocabulary.errors import InputError
from ..resample.spectral_grid import seen
from ..resample.spectral_inputs import dispersion
from ..resample.spectral_keywords import is_flux_density
from . import trace_model

ERRORS = ("err", "var_rnoise", "var_poisson", "var_flat")
FRAMES = {"alpha_beta": (0, 1), "slit_frame": (1, -1)}  # of the slit: which coordinate lies along it, and its sign
# Sums of finer pixels keep their signal to noise where errors are raised by so much a pixel, and by the rest once (measured for jwst).
RAISED = 0.23
# Planes that finer pixels do not have
DROPPED = ("AREA", "BARSHADOW", "FLATFIELD_PS", "FLATFIELD_UN", "PATHLOSS_PS", "PATHLOSS_UN", "PHOTOM_PS", "PHOTOM_UN", "ZEROFRAME")


@dataclass
class SlitModel:
    """The model of one slit, as the detector has it: (row, col); with finer pixels also what replaces the slit's own planes.

    Attributes
    ----------
    used, whole : of compact sources, and of all
    linear, residual : of finer pixels: the image interpolated, and what the model left
    planes, wavelength, wcs : of finer pixels
    factor : how many for one
    regions : slices of the finer pixels, of an image of slices
    """

    used: np.ndarray
    whole: np.ndarray
    linear: np.ndarray = None
    residual: np.ndarray = None
    planes: dict = None
    wavelength: np.ndarray = None
    wcs: object = None
    factor: float = 1.0
    regions: np.ndarray = None

    def put(self, slit):
        """Give it to its slit, an Exposure of one grid."""
        pixels = slit.pixels[0]
        pixels.extra["TRACEMODEL"] = self.used
        if self.planes is None:
            return
        for name, plane in self.planes.items():
            setattr(pixels, name, plane)
        pixels.wcs, pixels.extra["WAVELENGTH"] = self.wcs, self.wavelength
        if self.regions is not None:
            pixels.extra["REGIONS"] = self.regions
        for name in DROPPED:
            pixels.extra.pop(name, None)
        for keyword in ("PIXAR_SR", "PIXAR_A2"):
            if slit.header.get(keyword) is not None:
                slit.header[keyword] = slit.header[keyword] / self.factor


def model_slit(slit, optics, threshold, factor, slope_limit, optimal):
    """Model the trace of a slit; nothing of it is changed.

    Parameters
    ----------
    slit : Exposure
        Of one grid, (row, col) or (int, row, col).
    optics : trace_model.Optics
    threshold, slope_limit, factor, optimal
        See `trace_model`.

    Returns
    -------
    SlitModel
    """
    pixels = slit.pixels[0]
    vertical = dispersion(slit) == 2
    flux, error = pixels.sci, pixels.err
    if flux.ndim == 3:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            flux, error = np.nanmedian(flux, axis=0), np.nanmedian(error, axis=0)
    alpha = _alpha(slit.wcs, flux.shape)
    flux, error, alpha = (_turned(image, vertical) for image in (flux, error, alpha))
    level = trace_model.clipped(flux[np.isfinite(alpha)])[0]
    level = np.float32(min(0.0, level) if np.isfinite(level) else 0.0)  # splines of negative light go astray
    cuts = trace_model.fit_trace(flux - level, error, alpha, optics, threshold)
    if factor == 1:
        used, whole = trace_model.trace_image(cuts, alpha, optics, slope_limit)
        return SlitModel(*(_back(image + level, vertical) for image in (used, whole)))
    return _finer(slit, flux, alpha, cuts, optics, factor, slope_limit, optimal, level, vertical)


def _finer(slit, flux, alpha, cuts, optics, factor, slope_limit, optimal, level, vertical):
    x, y = fine_places(flux.shape, factor, vertical)
    fine_alpha = _along(slit.wcs, x, y)
    *_, wavelength = slit.wcs(x, y)
    made = trace_model.oversample(flux - level, alpha, cuts, factor, fine_alpha, optics, slope_limit, optimal)
    return finer_planes(slit, made, [np.isfinite(alpha)], wavelength, factor, level, vertical)


def fine_places(shape, factor, vertical):
    """Where the finer pixels of an image, turned, are on the detector: x, y."""
    rows, columns = shape
    _, old = trace_model.finer(0, rows - 1, factor)
    down, right = np.broadcast_arrays(old[:, None], np.arange(columns, dtype=float))
    return (rows - 1 - down, right) if vertical else (right, down)


def finer_planes(slit, made, lit, wavelength, factor, level, vertical):
    """What replaces the planes of a slit, or of an image of slices, on finer pixels.

    Parameters
    ----------
    slit : Exposure
        Of one grid.
    made : trace_model.Finer
    lit : list of (row, col) bool
        Pixels of each slit or slice. Images are turned, with the wavelength along their rows.
    wavelength : (finer row, col)
    factor, level : float
        Finer rows a row; what was subtracted before the fit.
    vertical : bool
        Whether they were turned.

    Returns
    -------
    SlitModel
    """
    pixels = slit.pixels[0]
    rows, columns = lit[0].shape
    shape = (int(np.ceil(rows * factor)), columns)
    near = near_rows(rows, factor)
    flags = _turned(pixels.dq, vertical)[near].copy()
    estimated = ~np.isnan(made.flux) & ((flags & np.uint32(dq.DO_NOT_USE)) != 0)
    flags[estimated] ^= np.uint32(dq.DO_NOT_USE)
    flags[estimated] |= np.uint32(dq.FLUX_ESTIMATED)
    unit = 1 / factor if is_flux_density(slit.header.get("BUNIT")) else 1.0
    planes = {"sci": (made.flux + level) * unit}
    for name in ERRORS:
        plane = getattr(pixels, name)
        if plane is None:
            continue
        plane = _turned(plane, vertical)
        with np.errstate(invalid="ignore"):
            plane = np.sqrt(plane) if name.startswith("var") else plane
        fine = trace_model.oversample_linearly(plane, lit[0], factor)
        for its in lit[1:]:
            more = trace_model.oversample_linearly(plane, its, factor)
            fine = np.where(np.isnan(more), fine, more)
        fine[~np.isfinite(plane[near]) & ~estimated] = np.nan
        fine *= np.float32(unit * (RAISED * factor + 1 - RAISED))
        planes[name] = fine**2 if name.startswith("var") else fine
    bad = (flags & np.uint32(dq.DO_NOT_USE)) != 0
    for plane in planes.values():
        bad |= np.isnan(plane)
    for plane in planes.values():
        plane[bad] = np.nan
    flags[bad] |= np.uint32(dq.DO_NOT_USE)
    planes = {name: _back(plane, vertical).astype(np.float32) for name, plane in planes.items()} | {"dq": _back(flags, vertical)}
    images = (made.used + level, made.whole + level, made.linear, made.residual)
    images = [_back(image * unit, vertical).astype(np.float32) for image in images]
    assert planes["sci"].shape == (shape[::-1] if vertical else shape)
    return SlitModel(*images, planes, _back(wavelength, vertical).astype(np.float32), _finer_wcs(slit.wcs, factor, vertical), factor)


def near_rows(rows, factor):
    """The row that each finer row is nearest to."""
    return np.rint(trace_model.finer(0, rows - 1, factor)[1]).astype(int)


def _finer_wcs(wcs, factor, vertical):
    """The WCS of finer pixels: they are placed on the detector's first."""
    to_detector = Scale(1 / factor) | Shift(-(factor - 1) / (2 * factor))
    to_detector = to_detector & Identity(1) if vertical else Identity(1) & to_detector
    to_detector.inputs = to_detector.outputs = ("x", "y")
    further = wcs.pipeline[1:] if wcs.available_frames[0] == "coordinates" else wcs.pipeline  # its first step does nothing
    made = gwcs.WCS([(Frame2D(name="coordinates", axes_order=(0, 1)), to_detector), *further])
    if wcs.bounding_box is not None:
        (x1, x2), (y1, y2) = wcs.bounding_box.bounding_box(order="F")
        (x1, y1), (x2, y2) = to_detector.inverse(x1, y1), to_detector.inverse(x2, y2)
        made.bounding_box = ((float(x1), float(x2)), (float(y1), float(y2)))
    return made


def _alpha(wcs, shape):
    """Place along the slit of every pixel in the bounding box; NaN elsewhere."""
    one = seen(wcs)
    inside = (one.x >= 0) & (one.y >= 0) & (one.x < shape[1]) & (one.y < shape[0])
    out = np.full(shape, np.nan)
    x, y = one.x[inside], one.y[inside]
    (x1, x2), (y1, y2) = one.box
    within = (x >= x1) & (x <= x2) & (y >= y1) & (y <= y2)
    out[y.astype(int), x.astype(int)] = np.where(within, _along(wcs, x, y), np.nan)
    return out


def _along(wcs, x, y):
    for name, (which, sign) in FRAMES.items():
        if name in wcs.available_frames:
            return sign * np.asarray(wcs.get_transform(wcs.available_frames[0], name)(x, y)[which])
    raise InputError("its WCS has no frame of the slit", do="Run assign_wcs")


def _turned(image, vertical):
    """With the wavelength along the rows."""
    return np.rot90(image) if vertical else image


def _back(image, vertical):
    return np.ascontiguousarray(np.rot90(image, k=-1) if vertical else image)


def aside(exposure, suffix, images):
    """What is saved beside the exposure: an image a slit."""
    new = exposure.derive([Pixels(sci=image, wcs=pixels.wcs) for image, pixels in zip(images, exposure.pixels, strict=True)], suffix)
    new.tables = {}
    return new
