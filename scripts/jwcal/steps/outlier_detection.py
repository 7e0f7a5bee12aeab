"""Flag what one exposure or integration has and the others have not: cosmic rays, bad pixels that nobody knew."""

from typing import Annotated, Literal

from ..arithmetic.outliers.options import Options, bad_bits, numbers
from ..machine.parts import part
from ..vocabulary.parameters import Range

TAKES = "members"
NEEDS = ("err",)

PARTS = {
    "mode": {
        "imaging": "arithmetic/outliers/imaging",
        "spec": "arithmetic/outliers/spec",
        "tso": "arithmetic/outliers/tso",
        "coron": "arithmetic/outliers/coron",
        "ifu": "arithmetic/outliers/ifu",
    }
}


def apply(
    members,
    refs=None,
    mode: str = "imaging",
    *,
    weight_type: Literal["ivm", "exptime"] = "ivm",
    pixfrac: Annotated[float, Range(min=0, max=1)] = 1.0,
    kernel: Literal["square", "point", "turbo"] = "square",
    fillval: str = "NAN",
    maskpt: float = 0.7,
    snr: str = "5.0 4.0",
    scale: str = "1.2 0.7",
    peak: str = "3.0 1.0",
    backg: float = 0.0,
    kernel_size: str = "7 7",
    threshold_percent: float = 99.8,
    rolling_window_width: int = 25,
    jitter: bool = True,
    by_wavelength: bool = True,
    ifu_second_check: bool = False,
    ifu_method: Literal["dithers", "neighbours"] = "dithers",
    save_intermediate_results: bool = False,
    resample_data: bool = True,
    good_bits: str = "~DO_NOT_USE",
    in_memory: bool = True,
    pixmap_stepsize: Annotated[float, Range(min=1)] = 1.0,
    pixmap_order: Literal[1, 3] = 1,
):
    """Flag outliers.

    They get OUTLIER and DO_NOT_USE; all pixels that can't be used are NaN in SCI, ERR and the variances afterwards.

    Parameters
    ----------
    members : exposure.Members, iterable of Exposure, or Exposure
        Images of one sky for "imaging", slits for "spec", opened one at a time; a series of integrations for "tso": one, or
        several that are taken one after the other; integrations behind a coronagraph's mask for "coron", of the science and of
        its PSF references; images of slices for "ifu".
    refs
        None are needed.
    mode : str
        What is compared with what; a matter of the pipeline, not of the user.
    weight_type : {"ivm", "exptime"}
        Imaging, spectra: weights of the drizzle, the inverse variance of the read noise or the measurement time.
    pixfrac : float
        Imaging, spectra: side of the drop, in pixels.
    kernel : str
        Imaging, spectra: shape of the drop.
    fillval : str
        Without effect: what has no weight never counts.
    maskpt : float
        Imaging, spectra: pixels with less than this times the mean weight are left out of the median.
    snr : str
        Standard deviations for an outlier: in the first pass, and beside one that was found then.
    scale : str
        Imaging, spectra, slices: how much the model's slope adds to the threshold, in both passes.
    peak : str
        Imaging: how much is added where the model has a sharp peak, in both passes; keeps the cores of undersampled stars. "0 0": as jwst.
    backg : float
        Imaging, spectra: a level that is added to the model of an image without one from skymatch.
    kernel_size : str
        Slices: rows and columns of the surroundings that a pixel is compared with, odd numbers.
    threshold_percent : float
        Slices: so many percent of the pixels can't be found by their neighbours in all exposures; with "neighbours" all others are.
    ifu_second_check : bool
        Slices: flag pixels too that have no neighbour with a value in any exposure.
    ifu_method : {"dithers", "neighbours"}
        Slices: compare with the other dithers, by place on the sky and wavelength, and look for pixels that stand out in all exposures; or
        take a fixed part of the pixels that differ most from their neighbours in all exposures, as jwst.
    rolling_window_width : int
        Time series: integrations in the running median; below 2, or more than there are: all.
    jitter : bool
        Time series: take into account that the image moves. False: as jwst.
    by_wavelength : bool
        Spectra of slits: compare weights with those of the same wavelength, and where only two exposures see a place, each with
        its neighbours along the spectrum. False: as jwst.
    save_intermediate_results : bool
        Return the drizzled images, the median and the blotted images too.
    resample_data : bool
        Imaging, spectra: whether the images are drizzled onto the sky; without it they are compared pixel by pixel, with `snr` alone.
    good_bits : str
        Data quality bits of pixels that may be used.
    in_memory : bool
        Imaging: keep the drizzled images in memory, as long as they are not more than 768 MiB.
    pixmap_stepsize, pixmap_order : float, int
        Imaging: above 1, pixel positions are splines of this order between exact ones at this many pixels.

    Returns
    -------
    members, or with `save_intermediate_results` a list of them and what is saved

    Raises
    ------
    Skip
        There is nothing to compare.
    InputError
        The members can't be compared.
    ConfigError
        A parameter can't be read.
    """
    options = Options(
        weight_type=weight_type,
        pixfrac=pixfrac,
        kernel=kernel,
        fillval=fillval,
        maskpt=maskpt,
        snr=numbers("snr", snr),
        scale=numbers("scale", scale),
        peak=numbers("peak", peak),
        backg=backg,
        kernel_size=numbers("kernel_size", kernel_size, kind=int),
        threshold_percent=threshold_percent,
        rolling_window_width=rolling_window_width,
        jitter=jitter,
        by_wavelength=by_wavelength,
        ifu_second_check=ifu_second_check,
        ifu_method=ifu_method,
        save_intermediate_results=save_intermediate_results,
        resample_data=resample_data,
        bad_bits=bad_bits(good_bits),
        in_memory=in_memory,
        pixmap_stepsize=pixmap_stepsize,
        pixmap_order=pixmap_order,
    )
    return part(PARTS["mode"], mode).flag(members, options)
