"""Take out the noise that flickers while a detector is read: stripes along the fast axis (1/f noise), in MIRI images columns. Off by default."""

import logging
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Annotated, Literal, NamedTuple

import numba
import numpy as np

from .. import aligned, fitsio
from ..dq import DO_NOT_USE, JUMP_DET, NO_FLAT_FIELD, NON_SCIENCE
from ..draft import draft
from ..errors import ConfigError, InputError, ReferenceError, Skip
from ..exposure import Pixels
from ..kernels import background, flicker_noise, flicker_settings, nsclean
from ..kernels.clipped_statistics import gather, mask_beyond, sort
from ..kernels.flat_field import usable as usable_flat
from ..parameters import Range
from .refpix import readout_of

log = logging.getLogger(__name__)

SKIP = True
REFERENCES = ("gain", "readnoise")  # of the draft rates
OPTIONAL = ("flat", "pastasoss")

FULL_FRAME = (2048, 2048)
CHANNELS = 4
BAD = np.uint8(DO_NOT_USE | JUMP_DET)


class Cleaner(NamedTuple):
    """What is done to each image."""

    noise: object  # function: background-subtracted image, mask -> noise
    method: str | None  # of the background
    box: list | None  # of its model
    n_sigma: float
    flat: np.ndarray | None


def prepare(
    exposure, refs, noise="slow axis", science="none", frequencies=None, automatic=None, brightness="image", *,
    autoparam=False, background_method="median", single_mask=True, user_mask=None, **_,
):  # fmt: skip
    """What `apply` has to know of all integrations; called with its arguments, for all of the exposure or for each strip of its rows.

    Returns
    -------
    list of Exposure
        Those that are needed of "rate" and "rateints", drafts in DN/s, and "median", the ramp's median over the integrations (group, row, col).
    """
    chosen = autoparam and automatic
    median_image = background_method == "median_image" and not chosen
    if exposure.sci.ndim == 4 and (exposure.sci.shape[1] > 1 or median_image):
        wanted = {"rate"} if chosen else set()
        if user_mask is None or median_image:
            wanted.add("rateints" if median_image or not single_mask else "rate")
        found = [rate for rate in draft(exposure, refs) if rate.suffix in wanted] if wanted else []
    else:
        found = [] if exposure.sci.ndim == 4 else [exposure.derive([Pixels(sci=exposure.sci.copy(), dq=exposure.dq)], exposure.suffix)]
    if median_image and exposure.sci.ndim > 2:
        groups = exposure.sci.swapaxes(0, 1) if exposure.sci.ndim == 4 else exposure.sci[None]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # pixels that are NaN throughout stay so
            found.append(exposure.derive([Pixels(sci=np.stack([np.nanmedian(group, axis=0) for group in groups]))], "median"))
    return found


def apply(
    exposure,
    refs,
    noise="slow axis",
    science="none",
    frequencies=None,
    automatic=None,
    brightness="image",
    *,
    autoparam: bool = False,
    fit_method: Literal["fft", "median"] = "median",
    fit_by_channel: bool = False,
    background_method: Literal["median", "model", "median_image"] | None = "median",
    background_box_size: list[int] | None = None,
    mask_science_regions: bool = False,
    apply_flat_field: bool = False,
    n_sigma: Annotated[float, Range(min=0)] = 2.0,
    fit_histogram: bool = False,
    single_mask: bool = True,
    user_mask: str | None = None,
    save_mask: bool = False,
    save_background: bool = False,
    save_noise: bool = False,
):
    """Fit the noise to the pixels without sources, image by image, and subtract it. A ramp's images are the differences of its groups.

    Parameters
    ----------
    exposure : Exposure
        Ramp in DN, whose first groups stay as they are, or rates (row, col) or (int, row, col).
    refs : References
        gain and readnoise for a draft of the rate, flat, pastasoss.
    noise : str
        "slow axis": along it the noise changes. "columns": it is in the columns. "none": there is none to be taken out.
    science : str
        What `mask_science_regions` masks: "none", "flagged" pixels of the detector, "traces" of SOSS spectra, "slits".
    frequencies : tuple of 4 float, optional
        Hz, for the fit "fft" of a subarray (`kernels.nsclean.subarray`); None where "fft" is not to be used at all.
    automatic : str, optional
        Rules for `autoparam`, by the camera; none by default.
    brightness : str
        What the median image is scaled with: the "image" as a whole or the "source".
    autoparam : bool
        Choose background_method and fit_by_channel by the look of the image, and use the flat if there is one.
    fit_method : str
        "median" of each line (Willott 2022), or "fft", low frequencies (Rauscher 2024).
    fit_by_channel : bool
        Medians of each amplifier's part of a line, in full frames.
    background_method : str, optional
        What is subtracted first and put back: the "median" of the background, a "model" of it, or the "median_image" of the integrations.
    background_box_size : list of 2 int, optional
        Boxes (row, col) of the model.
    apply_flat_field : bool
        Look at flat-fielded images.
    n_sigma : float
        Pixels that far above the background are sources; 0: none are.
    fit_histogram : bool
        Find the background's width by a fit to the histogram.
    single_mask : bool
        One mask of sources for all integrations.
    user_mask : str, optional
        FITS file whose first image, (row, col) or (int, row, col), is not 0 where there is background.
    save_mask, save_background, save_noise : bool
        Not available.

    Raises
    ------
    Skip
        The noise, or the fit, is not for such exposures; there is one group or integration only.
    ConfigError
        Something is asked for that is not available.
    ReferenceError
        A reference or the user's mask does not fit the exposure.
    """
    asked = {"save_mask": save_mask, "save_background": save_background, "save_noise": save_noise}
    asked["mask_science_regions for spectra in slits"] = mask_science_regions and science == "slits"
    asked["background_method = median_image for time series"] = background_method == "median_image" and brightness == "source"
    _refuse(exposure, asked)
    chosen = autoparam and automatic
    if noise == "none" or (fit_method == "fft" and not frequencies):
        raise Skip("such exposures have no noise of this kind" if noise == "none" else "the fit by fft is for spectra of NIRSpec")
    if exposure.sci.ndim == 4 and exposure.sci.shape[1] == 1 and (background_method != "median_image" or chosen):
        raise Skip("a ramp of one group has no differences")
    found = exposure.prepared.get("clean_flicker_noise")
    if found is None:
        given = {"autoparam": autoparam, "background_method": background_method, "single_mask": single_mask, "user_mask": user_mask}
        found = prepare(exposure, refs, automatic=automatic, **given)
    drafts = {rate.suffix: rate for rate in found}

    axis = 0 if noise == "columns" else abs(int(exposure.header["SLOWAXIS"])) - 1
    flat = _flat(exposure, refs) if apply_flat_field or chosen else None
    if chosen:
        settings = flicker_settings.choose(_whole(drafts, flat), axis, automatic)
        background_method, fit_by_channel = settings["background_method"], settings["fit_by_channel"]
        log.info("Chosen: %s", ", ".join(f"{name} = {value}" for name, value in settings.items()))
    elif autoparam:
        log.info("autoparam has no rules for such exposures")
    if user_mask is None:
        rates = _rates(exposure, drafts, single_mask and background_method != "median_image")
        known = _science_mask(exposure, refs, science, rates.dq) if mask_science_regions else None
        scene = _scene(rates.sci, flat, known, n_sigma, fit_histogram, single_mask and background_method != "median_image")
    else:
        scene = _user_mask(user_mask, exposure)
    if fit_method == "fft":
        remove = partial(_by_frequency, readout_of(exposure.header), tuple(frequencies))
    else:
        by_channel = fit_by_channel and noise != "columns" and exposure.header["SUBARRAY"] == "FULL" and exposure.sci.shape[axis - 2] == FULL_FRAME[0]
        remove = partial(flicker_noise.stripes, axis=axis, channels=CHANNELS if by_channel else 1)
    cleaner = Cleaner(remove, background_method, background_box_size, n_sigma, flat)
    if background_method == "median_image":
        _clean_beside_median(exposure, drafts, scene, cleaner._replace(method=None))
    else:
        _clean(exposure, scene, cleaner)
    return exposure
