"""Find the stars of an image, and where exactly they are."""

import logging
import warnings
from dataclasses import dataclass

import numpy as np

from ...kernels.photometry import star_fit
from ...vocabulary import dq

log = logging.getLogger(__name__)

SIGMA = 1 / 2.3548200450309493  # of a Gaussian's full width at half maximum
WIDTHS = 0.3, 3.0  # of the expected sigma: what is fitted outside is no star, and stays where it was found


@dataclass(frozen=True)
class Finder:
    """How stars are found; the names are those of tweakreg's parameters."""

    starfinder: str
    snr_threshold: float
    kernel_fwhm: float
    bkg_boxsize: int
    minsep_fwhm: float
    sigma_radius: float
    sharplo: float
    sharphi: float
    roundlo: float
    roundhi: float
    brightest: int
    peakmax: float | None
    npixels: int
    connectivity: int
    nlevels: int
    contrast: float
    multithresh_mode: str
    localbkg_width: int
    apermask_method: str
    kron_params: list | None
    deblend: bool
    centroids: str


def find(sci, err, flags, finder):
    """The stars of an image.

    Parameters
    ----------
    sci, err : float32 (row, col)
    flags : uint32 (row, col)
        DO_NOT_USE and NON_SCIENCE pixels are left out.
    finder : Finder

    Returns
    -------
    x, y, flux : float64 (n,)
        Pixels counted from 0; what kind of flux depends on the finder.
    """
    from photutils.utils import NoDetectionsWarning

    bad = ((flags & (dq.DO_NOT_USE | dq.NON_SCIENCE)) != 0) | ~np.isfinite(sci)
    empty = np.empty((3, 0))
    if bad.all():
        return empty
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoDetectionsWarning)
        warnings.filterwarnings("ignore", message=".*(invalid values|NaN|non-finite|negative|clipped).*")
        background, noise = _background(sci, bad, finder.bkg_boxsize)
        data = sci - background
        del background
        if finder.starfinder == "segmentation":
            found = _segmented(data, err, finder.snr_threshold * noise, bad, finder)
        else:
            level = finder.snr_threshold * np.median(noise[~bad])  # where there is no background it is 0
            del noise
            found = _detected(data, level, bad, finder)
    if found is None or not len(found):
        return empty
    x, y, flux = (np.asarray(values, float) for values in found)
    keep = np.isfinite(x) & np.isfinite(y)
    x, y, flux = x[keep], y[keep], flux[keep]
    if finder.centroids == "fitted":
        x, y = refined(sci, ~bad, x, y, finder.kernel_fwhm)
    return np.array([x, y, flux])


def refined(sci, good, x, y, fwhm):
    """Places of stars by fitting Gaussians that are integrated over the pixels; a place stays where the fit is none of a star."""
    sigma = max(fwhm, 1.0) * SIGMA
    radius = max(2.0, 1.25 * fwhm)
    found = star_fit.fit(np.ascontiguousarray(sci, np.float32), good, x, y, sigma, radius)
    near = np.hypot(found[:, 1] - x, found[:, 2] - y) < max(1.0, fwhm / 2)
    star = near & (found[:, 0] > 0) & (found[:, 3] > WIDTHS[0] * sigma) & (found[:, 3] < WIDTHS[1] * sigma)
    return np.where(star, found[:, 1], x), np.where(star, found[:, 2], y)


def _background(sci, bad, size):
    """The sky and its noise, from clipped medians in boxes."""
    from astropy.stats import SigmaClip
    from photutils.background import Background2D, MedianBackground

    options = {"filter_size": (3, 3), "coverage_mask": bad, "sigma_clip": SigmaClip(sigma=3.0), "bkg_estimator": MedianBackground()}
    try:
        boxes = Background2D(sci, size, **options)
    except ValueError:  # no box has enough good pixels: all are one
        boxes = Background2D(sci, sci.shape, exclude_percentile=100.0, **options)
        log.info("The background is that of the whole image: no box of %d pixels has enough good ones", size)
    return boxes.background, boxes.background_rms


def _detected(data, threshold, bad, finder):
    """Local maxima that look like stars."""
    from photutils.detection import DAOStarFinder, IRAFStarFinder

    kind = {"dao": DAOStarFinder, "iraf": IRAFStarFinder}[finder.starfinder]
    table = kind(
        threshold,
        finder.kernel_fwhm,
        sigma_radius=finder.sigma_radius,
        min_separation=max(2, int(finder.minsep_fwhm * finder.kernel_fwhm + 0.5)),
        sharpness_range=(finder.sharplo, finder.sharphi),
        roundness_range=(finder.roundlo, finder.roundhi),
        peak_max=finder.peakmax,
        n_brightest=finder.brightest,
    )(data, mask=bad)
    return None if table is None else _columns(table, "flux")


def _segmented(data, err, threshold, bad, finder):
    """Connected pixels above the threshold, deblended."""
    from astropy.convolution import Gaussian2DKernel, convolve
    from photutils.segmentation import SourceCatalog, SourceFinder

    smooth = convolve(data, Gaussian2DKernel(finder.kernel_fwhm * SIGMA), mask=bad) if finder.kernel_fwhm > 0 else data
    segments = SourceFinder(
        finder.npixels,
        connectivity=finder.connectivity,
        deblend=finder.deblend,
        n_levels=finder.nlevels,
        contrast=finder.contrast,
        mode=finder.multithresh_mode,
        progress_bar=False,
    )(smooth, threshold, mask=bad)
    if segments is None:
        return None
    catalogue = SourceCatalog(
        data,
        segments,
        convolved_data=smooth,
        error=err,
        mask=bad,
        local_bkg_width=finder.localbkg_width,
        aperture_mask_method=finder.apermask_method,
        kron_params=tuple(finder.kron_params) if finder.kron_params else (2.5, 1.4, 0.0),
    )
    return catalogue.x_centroid, catalogue.y_centroid, catalogue.segment_flux


def _columns(table, flux):
    """photutils is changing the names of its columns."""
    names = [next(name for name in (f"{axis}_centroid", f"{axis}centroid") if name in table.colnames) for axis in "xy"]
    return table[names[0]], table[names[1]], table[flux]
