"""Model the trace of a spectrum, and sample it more finely than the detector does."""

import logging
from typing import Annotated

import numpy as np

from ..arithmetic.spectra import finer_slices, finer_slit, trace_model
from ..model.exposure import Members
from ..vocabulary.errors import ConfigError, InputError, Skip
from ..vocabulary.parameters import Range

log = logging.getLogger(__name__)

NEEDS = ("err",)
SKIP = True
KEPT = ("sci", "err", "dq", "var_poisson", "var_rnoise", "var_flat", "TRACEMODEL", "WAVELENGTH", "REGIONS")

SLICES = ("mrs", "ifu", "ifu_backwards", "ifu_prism", "ifu_prism_backwards")  # kinds that are images of slices


def apply(
    exposure,
    refs=None,
    kind="lrs_slit",
    *,
    fit_threshold: float = 10.0,
    oversample: Annotated[float, Range(min=1)] = 1.0,
    slope_limit: float = 0.1,
    psf_optimal: bool = False,
    save_intermediate_results: bool = False,
    maximum_cores: str = "none",
):
    """Fit splines across the spectrum at each wavelength, to the pixels around it, which see it at many phases.

    The model of compact sources becomes the extra plane TRACEMODEL. With `oversample` the image has more pixels across the spectrum:
    compact sources have the model and what it left, interpolated; all else is interpolated. ERR and the variances are interpolated and
    raised, by a factor that keeps the signal to noise of a sum; WCS, WAVELENGTH, DQ and the pixels' area become those of the finer pixels.

    Parameters
    ----------
    exposure : Exposure, or exposure.Members
        Spectra (row, col), or integrations of one (int, row, col), whose median is fitted; in one or several slits, with a WCS that has a
        frame of the slit. Members are each done by itself.
    refs
        None are needed.
    kind : str
        Which optics: of `trace_model.OPTICS`; given by the table of chains, no parameter of the user's.
    fit_threshold : float
        Signal to noise that the median along the spectrum has to reach for a fit, of a slice standard deviations above its channel; 0 or
        less: all are fitted.
    oversample : float
        Pixels across the spectrum in place of one. 1: none more.
    slope_limit : float
        A source is compact where the normalised model changes from pixel to pixel by more than this; 0 or less: everywhere.
    psf_optimal : bool
        For isolated point sources: both limits are 0, and what the model left is left out.
    save_intermediate_results : bool
        Return the models and what they were made of too.
    maximum_cores : str
        Without effect.

    Returns
    -------
    exposure, or with `save_intermediate_results` a list of it and what is saved

    Raises
    ------
    Skip
        No trace could be fitted.
    InputError
        There is no WCS with a frame of the slit.
    ConfigError
        A series can't be sampled more finely.
    """
    options = {"fit_threshold": fit_threshold, "oversample": oversample, "slope_limit": slope_limit, "psf_optimal": psf_optimal}
    if isinstance(exposure, Members):
        return _each(exposure, kind, save_intermediate_results, options)
    if psf_optimal:
        fit_threshold = slope_limit = 0.0
    optics = trace_model.OPTICS[kind]
    if oversample != 1 and any(pixels.sci.ndim == 3 for pixels in exposure.pixels):
        raise ConfigError("integrations can't be sampled more finely", exposure.name, "Set oversample of adaptive_trace_model to 1")
    made = []
    for slit in exposure.slits():
        if slit.wcs is None:
            raise InputError("there is no gWCS in it", exposure.name, "Run assign_wcs")
        model = finer_slices.model_slices if kind in SLICES else finer_slit.model_slit
        made.append(model(slit, optics, fit_threshold if fit_threshold > 0 else None, oversample, slope_limit, psf_optimal))
    if not any(np.isfinite(model.used).any() for model in made) and oversample == 1:
        raise Skip("there is no trace that is bright and compact enough")
    for slit, model in zip(exposure.slits(), made, strict=True):
        model.put(slit)
        log.info("The model has %d pixels", np.count_nonzero(np.isfinite(model.used)))
    if not save_intermediate_results:
        return exposure
    asides = []
    for suffix, name in (("spline_full", "whole"), ("spline_used", "used"), ("linear_interp", "linear"), ("spline_residual", "residual")):
        images = [getattr(model, name) for model in made]
        if all(image is not None for image in images):
            asides.append(finer_slit.aside(exposure, suffix, images))
    return [exposure, *asides]


def _each(members, kind, save, options):
    """Model each member; those without a trace stay as they are."""
    asides, why, done = [], None, 0
    for exposure in members.each(keep=KEPT):
        try:
            made = apply(exposure, None, kind, save_intermediate_results=save, **options)
        except Skip as skip:
            log.warning("%s: %s", exposure.name, skip)
            why = skip
            continue
        done += 1
        asides += made[1:] if save else []
    if not done and why is not None:
        raise why
    return [members, *asides] if save else members
