"""Find the sources of an image: as segments, or as stars."""

import warnings
from dataclasses import dataclass

import numpy as np
from astropy.stats import gaussian_fwhm_to_sigma
from astropy.utils.exceptions import AstropyUserWarning

from ...kernels.photometry.peaks import parted_segments

COLUMNS = ("x", "y", "flux", "flux_err", "area", "semimajor", "semiminor", "ellipticity", "orientation", "left", "right", "low", "high")


@dataclass
class Sources:
    """What was found: float64 (n,) each but for the label.

    Positions in pixels from 0; flux and its error in the image's unit; area in pixels; axes as standard deviations, pixels;
    orientation from x to y, degrees; the edges of the segment's box, pixels.
    """

    label: np.ndarray  # int32
    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    flux_err: np.ndarray
    area: np.ndarray
    semimajor: np.ndarray
    semiminor: np.ndarray
    ellipticity: np.ndarray
    orientation: np.ndarray
    left: np.ndarray
    right: np.ndarray
    low: np.ndarray
    high: np.ndarray
    segments: np.ndarray  # int32 (row, col), 0 outside the sources

    def __len__(self):
        return len(self.label)


def _sources(shape, label=(), segments=None, **columns):
    """Sources of what is known of them; the rest is NaN."""
    label = np.asarray(label, np.int32)
    given = {name: np.asarray(columns.get(name, np.full(label.size, np.nan)), float) for name in COLUMNS}
    return Sources(label, segments=np.zeros(shape, np.int32) if segments is None else segments, **given)


def background(image, outside, box):
    """Background and its noise, both float (row, col): clipped medians of boxes, interpolated; None where no pixel is left.

    Parameters
    ----------
    image : float (row, col)
    outside : bool (row, col)
        Pixels that no exposure covers.
    box : int
        Side of the boxes; where too many pixels are missing in all of them, the whole image is one.
    """
    from astropy.stats import SigmaClip
    from photutils.background import Background2D, MedianBackground

    how = {"filter_size": (3, 3), "coverage_mask": outside, "sigma_clip": SigmaClip(sigma=3.0), "bkg_estimator": MedianBackground()}
    if not (np.isfinite(image) & ~outside).any():
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyUserWarning)
        try:
            found = Background2D(image, box, **how)
        except ValueError:
            found = Background2D(image, image.shape, exclude_percentile=100.0, **how)
        return found.background, found.background_rms


def find_segments(image, error, outside, threshold, fwhm, finder, measures):
    """Connected pixels above a threshold, those of neighbours divided.

    Parameters
    ----------
    image, error : float (row, col)
        Without background; the error may be None.
    outside : bool (row, col)
    threshold : float (row, col)
        For the image convolved with a Gaussian.
    fwhm : float
        Of that, pixels; 0: none.
    finder : dict
        n_pixels, connectivity, and n_levels, contrast, mode of photutils' deblend_sources; deblend: whether it is called.
    measures : dict
        Arguments of photutils' SourceCatalog.

    Returns
    -------
    Sources
    """
    from astropy.convolution import Gaussian2DKernel, convolve
    from photutils.segmentation import SourceCatalog
    from photutils.utils import NoDetectionsWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyUserWarning)
        warnings.simplefilter("ignore", NoDetectionsWarning)
        smooth = convolve(image, Gaussian2DKernel(fwhm * gaussian_fwhm_to_sigma), mask=outside) if fwhm > 0 else image
        found = _segments(smooth, threshold, outside, **finder)
        if found is None:
            return _sources(image.shape)
        catalogue = SourceCatalog(image, found, convolved_data=smooth, error=error, mask=outside, **measures)
        box = {"left": catalogue.bbox_xmin - 0.5, "right": catalogue.bbox_xmax + 0.5}
        box |= {"low": catalogue.bbox_ymin - 0.5, "high": catalogue.bbox_ymax + 0.5}
        return _sources(
            *(image.shape, catalogue.label, found.data.astype(np.int32)),
            x=catalogue.x_centroid,
            y=catalogue.y_centroid,
            flux=catalogue.segment_flux,
            flux_err=catalogue.segment_flux_err,
            area=catalogue.area.value,
            semimajor=catalogue.semimajor_axis.value,
            semiminor=catalogue.semiminor_axis.value,
            ellipticity=catalogue.ellipticity.value,
            orientation=catalogue.orientation.value,
            **box,
        )


def _segments(smooth, threshold, outside, n_pixels, connectivity, deblend, **levels):
    """Connected pixels; those that have two peaks are divided, which takes long: the others are left out."""
    from photutils.segmentation import deblend_sources, detect_sources

    found = detect_sources(smooth, threshold, n_pixels, connectivity=connectivity, mask=outside)
    if found is None or not deblend:
        return found
    doubtful = parted_segments(np.asarray(smooth), found.data.astype(np.int32), n_pixels, connectivity == 8)
    if doubtful.size == 0:
        return found
    return deblend_sources(smooth, found, n_pixels, labels=doubtful, connectivity=connectivity, progress_bar=False, **levels)


def find_stars(image, outside, threshold, fwhm, method, finder):
    """Stars that are like a Gaussian.

    Parameters
    ----------
    image : float (row, col)
        Without background.
    outside : bool (row, col)
    threshold : float
    fwhm : float
        Pixels.
    method : {"dao", "iraf"}
    finder : dict
        More arguments of photutils' DAOStarFinder or IRAFStarFinder.

    Returns
    -------
    Sources
    """
    from photutils import use_future_column_names
    from photutils.detection import DAOStarFinder, IRAFStarFinder
    from photutils.utils import NoDetectionsWarning

    with warnings.catch_warnings(), use_future_column_names():
        warnings.simplefilter("ignore", NoDetectionsWarning)
        found = (DAOStarFinder if method == "dao" else IRAFStarFinder)(threshold, fwhm, **finder)(image, mask=outside)
    if not found:
        return _sources(image.shape)
    area = next((found[name] for name in ("n_pixels", "npix") if name in found.colnames), np.full(len(found), np.nan))
    turned = next((found[name] for name in ("orientation", "pa") if name in found.colnames), np.full(len(found), np.nan))
    turned = getattr(turned, "value", turned)
    return _sources(
        image.shape, found["id"], x=found["x_centroid"], y=found["y_centroid"], flux=found["flux"], area=area, orientation=turned
    )
