"""The trace models of the slices of an image, and the image on finer pixels; see `finer_slit`."""

import numpy as np
from gwcs.selector import RegionsSelector

from ...vocabulary.errors import InputError
from ..resample.spectral_inputs import dispersion
from ..wcs.pixel_coordinates import labels_of, wavelength_and_sky
from . import finer_slit, trace_model

CHANNEL = 100  # labels are channel * 100 + slice


def model_slices(exposure, optics, threshold, factor, slope_limit, optimal):
    """Model the traces of all slices; nothing of the exposure is changed.

    Parameters
    ----------
    exposure : Exposure
        Of one grid, (row, col), whose WCS has a map of slices.
    optics : trace_model.Optics
    threshold : float or None
        Standard deviations by which the median along a slice has to be above the mean of its channel somewhere; None: none.
    factor, slope_limit, optimal
        See `trace_model`.

    Returns
    -------
    finer_slit.SlitModel

    Raises
    ------
    InputError
        The WCS has no map of slices.
    """
    labels = labels_of(exposure.wcs)
    if labels is None:
        raise InputError("its WCS has no slices", exposure.name, "Run assign_wcs; a trace model is made of an image once")
    pixels, vertical = exposure.pixels[0], dispersion(exposure) == 2
    *_, wavelength = wavelength_and_sky(exposure.wcs, pixels.shape)
    labels = np.where(np.isfinite(wavelength), labels, 0)
    y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]].astype(float)
    alpha = _along_slices(exposure.wcs, labels, x, y)
    flux, error, alpha, labels = (_turned(image, vertical) for image in (pixels.sci, pixels.err, alpha, labels))
    level = trace_model.clipped(flux[labels > 0])[0]
    level = np.float32(min(0.0, level) if np.isfinite(level) else 0.0)
    flux = flux - level
    peaks = {} if threshold is None else _peaks(flux, labels, threshold)
    used, whole = (np.full(flux.shape, np.nan, np.float32) for _ in range(2))
    cuts, rows = {}, {}
    for number in np.unique(labels[labels > 0]).tolist():
        lit = labels == number
        lines = np.flatnonzero(lit.any(axis=1))
        rows[number] = part = slice(lines[0], lines[-1] + 1)
        its = np.where(lit[part], alpha[part], np.nan)
        cuts[number] = trace_model.fit_trace(flux[part], error[part], its, optics, None, peaks.get(number))
        if factor == 1:
            made = trace_model.trace_image(cuts[number], its, optics, slope_limit)
            for image, found in zip((used, whole), made, strict=True):
                image[part][lit[part]] = found[lit[part]]
    if factor == 1:
        return finer_slit.SlitModel(*(_back(image + level, vertical) for image in (used, whole)))
    return _finer(exposure, flux, alpha, labels, (cuts, rows), optics, factor, slope_limit, optimal, level, vertical)


def _peaks(flux, labels, threshold):
    """What each slice has to reach: the mean of its channel and `threshold` standard deviations."""
    found = {}
    for channel in np.unique(labels[labels > 0] // CHANNEL).tolist():
        mean, spread = trace_model.clipped(flux[labels // CHANNEL == channel])
        found |= dict.fromkeys(np.unique(labels[labels // CHANNEL == channel]).tolist(), mean + threshold * spread)
    return found


def _finer(exposure, flux, alpha, labels, fits, optics, factor, slope_limit, optimal, level, vertical):
    cuts, rows = fits
    x, y = finer_slit.fine_places(flux.shape, factor, vertical)
    fine_labels = labels[finer_slit.near_rows(len(flux), factor)]
    fine_alpha = _along_slices(exposure.wcs, fine_labels, x, y)
    *_, wavelength = exposure.wcs(x, y)
    planes = {name: np.full(x.shape, np.nan) for name in ("flux", "used", "whole", "linear", "residual")}
    for number, part in rows.items():
        if not float(factor).is_integer():
            part = slice(0, len(flux))
        fine = slice(int(part.start * factor), int(np.ceil(part.stop * factor)))
        its, its_fine = np.where(labels[part] == number, alpha[part], np.nan), fine_labels[fine] == number
        made = trace_model.oversample(
            *(flux[part], its, cuts[number], factor, np.where(its_fine, fine_alpha[fine], np.nan), optics, slope_limit, optimal)
        )
        for name, plane in planes.items():
            found = getattr(made, name)
            there = np.isfinite(found)
            plane[fine][there] = found[there]
    lit = [labels == number for number in rows]
    model = finer_slit.finer_planes(exposure, trace_model.Finer(**planes), lit, wavelength, factor, level, vertical)
    model.regions = _back(fine_labels, vertical).astype(np.int32)
    return model


def _along_slices(wcs, labels, x, y):
    """Place along its slice of every pixel, NaN between them; each slice's optics see their own pixels only."""
    out, (optics, axis, sign) = np.full(labels.shape, np.nan), _optics(wcs)
    for number in np.unique(labels[labels > 0]).tolist():
        there = labels == number
        out[there] = sign * optics[number](x[there], y[there])[axis]
    return out


def _optics(wcs):
    """The optics of the slices, and which of their outputs is the place along a slice, with the sign that has it rise with the row."""
    first = wcs.pipeline[0].transform
    if isinstance(first, RegionsSelector):
        return first.selector, 0, 1
    return wcs.pipeline[1].transform.selector, 1, -1


def _turned(image, vertical):
    return np.rot90(image) if vertical else image


def _back(image, vertical):
    return np.ascontiguousarray(np.rot90(image, k=-1) if vertical else image)
