"""Subtract the background that other exposures saw."""

import logging
from typing import Annotated, Literal, NamedTuple

import numpy as np

from ..machine.parts import part
from ..vocabulary import dq
from ..vocabulary.errors import ConfigError, InputError, Skip
from ..vocabulary.parameters import Range

log = logging.getLogger(__name__)

OPTIONAL = ("bkg", "wavelengthrange")  # of slitless spectra, which have a sky of their own
MEMBERS = ("background", "sourcecat")
PARTS = {"template": {"wfss": "arithmetic/grism/background", "soss": "arithmetic/soss/background"}}
TILT = ("GWA_XTIL", "GWA_YTIL")  # of the grating wheel, which never comes to rest at quite the same angle
SAME_TILT = 1e-8
CLOSE = 0.375  # arcsec: the wings of a nod that is nearer fall on the source


class Average(NamedTuple):
    """What the backgrounds see together, on the pixels of an exposure."""

    sci: np.ndarray  # NaN where none has a value
    err: np.ndarray
    dq: np.ndarray
    covered: np.ndarray  # bool: pixels that some background looks at


def apply(
    exposure,
    refs=None,
    template: str = "",
    passband: str = "FILTER",
    *,
    save_combined_background: bool = False,
    sigma: Annotated[float, Range(min=0)] = 3.0,
    maxiters: Annotated[int, Range(min=1)] | None = None,
    soss_fit: Literal["surroundings", "pixels"] = "surroundings",
    soss_source_percentile: Annotated[float, Range(min=0, max=100)] = 35.0,
    soss_bkg_percentile: list[float] | None = None,
    wfss_mmag_extract: float | None = None,
    wfss_mask: str | None = None,
    wfss_maxiter: Annotated[int, Range(min=0)] = 5,
    wfss_rms_stop: Annotated[float, Range(min=0)] = 0.0,
    wfss_outlier_percent: Annotated[float, Range(min=0, max=100)] = 1.0,
    wfss_weights: Literal["expected", "data"] = "expected",
):
    """Subtract the mean of the background exposures of the association, pixel by pixel and without outliers.

    Integrations of a background are averaged first, in the same way. A pixel that is flagged in a background is flagged. Errors and
    variances stay those of the exposure. A background may be of a larger or smaller subarray: pixels that none looks at become
    DO_NOT_USE.

    Parameters
    ----------
    exposure : Exposure
        A rate image or rateints cube, DN/s, with backgrounds among its members; with a catalogue of its sources (sourcecat) where the
        background is a template.
    refs : References
        Of templates: bkg, SCI and DQ; wavelengthrange.
    template : {"", "wfss", "soss"}
        Slitless spectra see a sky that only a reference knows: it is scaled to where no source is; given by the table of chains.
    passband : str
        Keyword of the element that limits a grism's wavelengths; given by the table of chains.
    save_combined_background : bool
        Also return the mean, a product of its own, with its standard error.
    sigma : float
        Values beyond so many standard deviations from the median of the backgrounds are left out. No value of fewer than eight is
        ever 3 away, whatever it is.
    maxiters : int
        How often at most to look for them; None: until there are none.
    soss_fit : {"surroundings", "pixels"}
        Templates of SOSS: dark pixels are chosen by what is around them, on each side of the sky's step, which is looked for; or by
        their own values on both sides together, with the step where the template has it, as jwst.
    soss_source_percentile : float
        Templates of SOSS: pixels above it see a source.
    soss_bkg_percentile : (float, float), optional
        Ratios to the template between these count; 25 and 50 by default.
    wfss_mmag_extract : float, optional
        Template of a grism: sources that are fainter are not masked.
    wfss_mask : str, optional
        File of an image that is not 0 where the background is to be seen; in place of the catalogue.
    wfss_maxiter : int
        How often at most outliers are left out.
    wfss_rms_stop : float
        No more of it when the rms of the residuals falls by less than this part.
    wfss_outlier_percent : float
        Of the pixels, at each end, are outliers each time.
    wfss_weights : {"expected", "data"}
        Photon noise that a pixel's weight is by: of the sky; or of the pixel's own value, which makes the sky too faint.

    Returns
    -------
    Exposure, or [Exposure, Exposure] with the combined background

    Raises
    ------
    Skip
        There are no backgrounds, none looks at the pixels of the exposure, or the grating wheel of one was turned otherwise.
    InputError
        A background is of another detector, in other units, or no image.
    ConfigError
        A parameter of slitless spectra is set.
    """
    if template:
        options = {name: value for name, value in locals().items() if name not in ("exposure", "refs", "template")}
        return part(PARTS["template"], template).subtract(exposure, refs, options)
    spectral = {
        "soss_fit": soss_fit != "surroundings",
        "soss_source_percentile": soss_source_percentile != 35.0,
        "soss_bkg_percentile": soss_bkg_percentile is not None,
        "wfss_mmag_extract": wfss_mmag_extract is not None,
        "wfss_mask": wfss_mask is not None,
        "wfss_maxiter": wfss_maxiter != 5,
        "wfss_rms_stop": wfss_rms_stop != 0,
        "wfss_outlier_percent": wfss_outlier_percent != 1,
        "wfss_weights": wfss_weights != "expected",
    }
    paths = exposure.members.paths("background")
    if not paths:
        raise Skip("the association has no background")
    if any(spectral.values()):
        first = next(name for name, is_set in spectral.items() if is_set)
        raise ConfigError(f"{first} of bkg_subtract is for slitless spectra, which this exposure is not", do="Leave it out")
    average = _average(exposure, sigma, -1 if maxiters is None else maxiters, save_combined_background)
    combined = exposure.aside("combinedbackground", sci=average.sci, err=average.err, dq=average.dq)
    exposure.sci -= np.where(np.isnan(average.sci), np.float32(0), average.sci)
    exposure.dq |= average.dq | np.where(average.covered, 0, dq.DO_NOT_USE).astype(np.uint32)
    return [exposure, combined] if save_combined_background else exposure


def _average(exposure, sigma, iterations, with_error):
    """The mean of the backgrounds: `Average`."""
    from ..kernels.columns.clipped_mean import clipped_mean

    shape = exposure.sci.shape[-2:]
    count = len(exposure.members.paths("background"))
    stack = np.full((count, *shape), np.nan, np.float32)
    variance = np.full((count if with_error else 0, *shape), np.nan, np.float32)
    flags, covered = np.zeros(shape, np.uint32), np.zeros(shape, bool)
    for number, background in enumerate(exposure.members.each("background")):
        _check(exposure, background, with_error)
        _tell_if_close(exposure.header, background.header)
        inside, there = _overlap(exposure, background)
        if inside is None:
            log.warning("%s looks at other pixels of the detector", background.name)
            continue
        sci = background.sci[..., *there]
        err = background.err[..., *there] if with_error else sci[:0]
        if sci.ndim == 3:
            sci, err, _ = clipped_mean(sci, err**2, sigma, iterations)
        stack[number, *inside] = sci
        if with_error:
            variance[number, *inside] = err**2
        bits = background.dq[..., *there]
        flags[inside] |= np.bitwise_or.reduce(bits, axis=0) if bits.ndim == 3 else bits
        covered[inside] = True
    if not covered.any():
        raise Skip("no background looks at the pixels of the exposure")
    mean, error, clipped = clipped_mean(stack, variance, sigma, iterations)
    log.info("subtracted the mean of %d backgrounds, %.2g%% of their values clipped", count, 100 * clipped / stack.size)
    return Average(mean, error, flags, covered)


def _check(exposure, background, with_error):
    """Raise where a background can't be subtracted from the exposure."""
    mine, its = exposure.header, background.header
    for keyword in ("DETECTOR", "BUNIT"):
        if mine.get(keyword) != its.get(keyword):
            raise InputError(
                f"as a background of {mine.name} it can't have {keyword} {its.get(keyword)}: there it is {mine.get(keyword)}",
                background.name,
                "Take it out of the association",
            )
    if background.sci.ndim not in (2, 3):
        raise InputError(f"a background is a rate or a rateints file, this one has {background.sci.ndim} axes", background.name)
    if with_error and background.err is None:
        raise InputError("it has no ERR, which the combined background needs", background.name, "Take the file from the archive again")
    if TILT[0] in mine and any(abs(mine[keyword] - its[keyword]) > SAME_TILT for keyword in TILT):
        raise Skip(f"the grating wheel ({', '.join(TILT)}) was turned otherwise for {its.name}: master_background does not mind")


def _tell_if_close(mine, its):
    """Say that a background has the source itself beside where it is in the exposure: it is a nod of the same target, and a short one."""
    offsets = [[header.get(key) for key in ("XOFFSET", "YOFFSET")] for header in (mine, its)]
    if its.get("BKGDTARG") is not False or mine.get("BKGDTARG") is not False or None in (*offsets[0], *offsets[1]):
        return
    apart = float(np.hypot(*np.subtract(*offsets)))
    if apart < CLOSE:
        log.warning("%s is a nod by %.3f arcsec: it takes away light of the source", its.name, apart)


def _overlap(exposure, background):
    """The pixels that both look at, as slices of each; (None, None) where there are none."""
    inside, there = [], []
    for axis, keyword in ((-2, "SUBSTRT2"), (-1, "SUBSTRT1")):
        mine, its = exposure.header[keyword], background.header[keyword]
        first = max(mine, its)
        last = min(mine + exposure.sci.shape[axis], its + background.sci.shape[axis])
        if first >= last:
            return None, None
        inside.append(slice(first - mine, last - mine))
        there.append(slice(first - its, last - its))
    return tuple(inside), tuple(there)
