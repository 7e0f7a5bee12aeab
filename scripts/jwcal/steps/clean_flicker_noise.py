"""Take out the noise that flickers while a detector is read: stripes along the fast axis (1/f noise), columns in MIRI. Off by default."""

import logging
import warnings
from functools import partial
from typing import Annotated, Literal, NamedTuple

import numpy as np
from astropy.utils.exceptions import AstropyUserWarning

from ..arithmetic.detector.reference_pixels.near_infrared import readout_of
from ..arithmetic.ramps.draft import draft
from ..files.reference_file import understood
from ..kernels.columns.clipped_statistics import gather, mask_beyond, sort
from ..kernels.images.flat_field import usable as usable_flat
from ..kernels.noise import background, flicker_noise, flicker_settings, soss_trace
from ..machine.parts import part
from ..machine.threads import side_by_side
from ..model import aligned, named_files
from ..model.exposure import Pixels
from ..model.ramp import put_together
from ..vocabulary.dq import DO_NOT_USE, JUMP_DET, NO_FLAT_FIELD, NON_SCIENCE
from ..vocabulary.errors import ConfigError, InputError, ReferenceError, Skip
from ..vocabulary.limits import SIDE
from ..vocabulary.parameters import Range

log = logging.getLogger(__name__)

PARTS = {
    "science": {
        "slits": "arithmetic/slits/open_slits",
        "bright slit": "arithmetic/slits/open_slits",
        "shutters": "arithmetic/slits/open_slits",
        "slices": "arithmetic/slits/open_slits",
    }
}
SLIT_REFERENCES = ("disperser", "wavelengthrange", "fpa", "camera", "collimator", "msa", "ifupost", "ifuslicer", "msaoper")
SKIP = True
REFERENCES = ("gain", "readnoise")  # of the draft rates
OPTIONAL = ("flat", "pastasoss", *SLIT_REFERENCES)
MEMBERS = ("msametadata",)  # what micro-shutters were open

FULL_FRAME = (SIDE, SIDE)
CHANNELS = 4
SOSS_HALFWIDTH = 16  # pixels
BAD = np.uint8(DO_NOT_USE | JUMP_DET)


class Cleaner(NamedTuple):
    """What is done to each image."""

    fit: object  # function: background-subtracted image, mask -> noise
    method: str | None  # of the background
    box: list | None  # of its model
    n_sigma: float
    flat: np.ndarray | None


def prepare(
    exposure,
    refs,
    noise="slow axis",
    frequencies=None,
    automatic=None,
    *,
    autoparam,
    fit_method,
    background_method,
    single_mask,
    user_mask,
    **_,
):
    """What `apply` has to know of all integrations, from strips of rows; called with its arguments.

    Returns
    -------
    list of Exposure
        "rate" or "rateints", drafts in DN/s, if they are needed; "median", the median over the integrations (group, row, col), likewise.
    """
    chosen = autoparam and automatic
    median_image = background_method == "median_image" and not chosen
    _does_not_apply(exposure, noise, fit_method, frequencies, median_image)
    wanted = {"rate"} if chosen else set()
    if user_mask is None or median_image:
        wanted.add("rateints" if median_image or not single_mask else "rate")

    def look(strip):
        found = [rate for rate in draft(strip, refs.strip(strip.rows)) if rate.suffix in wanted]
        return [*found, _median(strip)] if median_image else found

    return put_together(exposure, exposure.strips(), look) if wanted else []


def _median(ramp):
    """The median over the integrations, (group, row, col)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # pixels that are NaN in all integrations stay so
        medians = [np.nanmedian(ramp.sci[:, g], axis=0) for g in range(ramp.sci.shape[1])]
    return ramp.derive([Pixels(sci=np.stack(medians))], "median")


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
        What `mask_science_regions` masks: "none", "flagged" pixels of the detector, "traces" of SOSS spectra; "slits", "bright slit",
        "shutters", "slices": the spectra of NIRSpec.
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
        What is subtracted first and put back: the "median" of the background, a "model" of it, or the "median_image" of the integrations;
        null: nothing, so that a level that drifts, as in small subarrays, goes too.
    background_box_size : list of 2 int, optional
        Boxes (row, col) of the model.
    mask_science_regions : bool
        Leave out of the fit what `science` names: where sources are to be expected.
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
        Return too, as exposures of their own: where there is background ("mask", 1 or 0), what was subtracted before the fit and put
        back ("flicker_bkg"), and what the step has added to the exposure ("flicker_noise").

    Returns
    -------
    Exposure, or list of it and of what is to be saved

    Raises
    ------
    Skip
        The noise, or the fit, is not for such exposures; there is one group or integration only.
    ConfigError
        Something is asked for that is not available.
    ReferenceError
        A reference or the user's mask does not fit the exposure.
    """
    median_image = background_method == "median_image" and not (autoparam and automatic)
    asked = {"background_method: median_image for time series": median_image and brightness == "source"}
    _refuse(exposure, asked, background_box_size)
    _does_not_apply(exposure, noise, fit_method, frequencies, median_image)
    given = {"autoparam": autoparam, "background_method": background_method, "single_mask": single_mask, "user_mask": user_mask}
    drafts = _drafts(exposure, refs, noise, frequencies, automatic, fit_method=fit_method, **given)
    axis = 0 if noise == "columns" else abs(int(exposure.header["SLOWAXIS"])) - 1
    flat = _flat(exposure, refs) if apply_flat_field or (autoparam and automatic) else None
    if autoparam:
        background_method, fit_by_channel = _choice(drafts, flat, axis, automatic, background_method, fit_by_channel)

    if user_mask is None:
        single = single_mask and not median_image
        rate = drafts["rate" if single else "rateints"]
        known = _science(exposure, refs, science if mask_science_regions else "none", rate.dq)
        scene = _scene(exposure, rate, flat, known, {"upper": n_sigma, "histogram": fit_histogram}, single)
    else:
        scene = _user_mask(user_mask, exposure)
    if fit_method == "fft":
        fit = partial(_by_frequency, readout_of(exposure.header), tuple(frequencies))
    else:
        fit = partial(flicker_noise.stripes, axis=axis, channels=_channels(exposure, axis, noise) if fit_by_channel else 1)
    cleaner = Cleaner(fit, None if median_image else background_method, background_box_size, n_sigma, flat)
    raw = exposure.sci.copy() if save_noise else None
    levels = np.zeros_like(exposure.sci) if save_background else None
    if median_image:
        _clean_beside_median(exposure, drafts, scene, cleaner, levels)
    else:
        _clean(exposure, scene, cleaner, levels)
    shown = {"mask": scene.astype(np.float32) if save_mask else None, "flicker_bkg": levels}
    shown["flicker_noise"] = exposure.sci - raw if save_noise else None
    beside = [exposure.aside(suffix, sci=array) for suffix, array in shown.items() if array is not None]
    return [exposure, *beside] if beside else exposure


# --- what is asked for, and whether it can be done -------------------------------------------------------------------


def _refuse(exposure, asked, box):
    """Raise ConfigError where something is asked for that is not available."""
    for what, wanted in asked.items():
        if wanted:
            raise ConfigError(f"clean_flicker_noise: {what} is not available yet in this version", exposure.name, "Switch it off")
    if box is not None and (len(box) != 2 or min(box) < 1):
        raise ConfigError(
            f"clean_flicker_noise: background_box_size = {box} is not a number of rows and a number of columns", exposure.name
        )


def _does_not_apply(exposure, noise, fit_method, frequencies, median_image):
    """Raise Skip where there is nothing to be cleaned."""
    if noise == "none":
        raise Skip("there is no such noise in these exposures")
    if fit_method == "fft" and not frequencies:
        raise Skip("the fit in frequency space is for spectra of NIRSpec only")
    if len(exposure.shape) == 4 and exposure.shape[1] == 1 and not median_image:
        raise Skip("there is one group only, so no difference of groups to be cleaned")


def _drafts(exposure, refs, *arguments, **given):
    """The rates by suffix, and the median over the integrations; rates that are cleaned themselves need no draft."""
    if exposure.sci.ndim == 4:
        found = exposure.prepared.get("clean_flicker_noise")
        found = prepare(exposure, refs, *arguments, **given) if found is None else found
        return {rate.suffix: rate for rate in found}
    drafts = {"rate": exposure, "rateints": exposure}
    if given["background_method"] == "median_image" and exposure.sci.ndim == 3:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            drafts["median"] = exposure.derive([Pixels(sci=np.nanmedian(exposure.sci, axis=0))], "median")
    return drafts


def _choice(drafts, flat, axis, automatic, background_method, fit_by_channel):
    """background_method and fit_by_channel by the look of the rate, where there are rules."""
    if not automatic:
        log.info("autoparam has no rules for such exposures: the parameters are used as given")
        return background_method, fit_by_channel
    rate = drafts["rate"].sci
    if rate.ndim == 3:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            rate = np.nanmean(rate, axis=0)
    found = flicker_settings.choose(rate if flat is None else rate / flat, axis, automatic)
    log.info("autoparam: %s", ", ".join(f"{name} = {value}" for name, value in found.items()))
    return found["background_method"], found["fit_by_channel"]


def _channels(exposure, axis, noise):
    """How many parts of a line are read side by side, each by its own amplifier."""
    if noise == "columns" or exposure.header["SUBARRAY"] != "FULL" or exposure.sci.shape[-2:][axis] != FULL_FRAME[axis]:
        log.warning("fit_by_channel is for full frames of the near-IR detectors only: lines are fitted whole")
        return 1
    return CHANNELS


# --- where there is background ---------------------------------------------------------------------------------------


def _flat(exposure, refs):
    """The flat field (row, col), without holes; None where there is no flat."""
    if "flat" not in refs:
        log.warning("there is no flat reference: apply_flat_field has no effect")
        return None
    flat = aligned.image(refs["flat"], exposure)
    if not (np.isfinite(flat) & (flat != 0)).any():
        raise ReferenceError("the flat has no value in this subarray", refs["flat"].path, "Give another, or switch apply_flat_field off")
    return background.without_holes(flat)


def _science(exposure, refs, science, dq):
    """Pixels that may see background (row, col), by what is known of the instrument."""
    if science == "flagged":
        bits = np.bitwise_or.reduce(dq, axis=0) if dq.ndim == 3 else dq
        if "flat" in refs:
            value, flags = aligned.image(refs["flat"], exposure), aligned.bits(refs["flat"], exposure)
            bits = bits | usable_flat(value, flags, NO_FLAT_FIELD, DO_NOT_USE)[1]
        return (bits & np.uint32(DO_NOT_USE | NON_SCIENCE)) == 0
    if science == "traces":
        if "pastasoss" not in refs:
            raise ReferenceError("mask_science_regions needs a pastasoss reference", exposure.name, "Give one, or set it to false")
        head, reference = exposure.header, refs["pastasoss"]
        first_row, position = int(head["SUBSTRT2"]) - 1, float(head["PWCPOS"])
        with understood("pastasoss", reference.path):
            low, high = reference.tree["meta"]["pwcpos_bounds"]
            if low <= position <= high:
                return ~soss_trace.near_traces(reference.tree, position, first_row, exposure.sci.shape[-2:], SOSS_HALFWIDTH)
        what = f"the pastasoss reference is not for its pupil wheel position: PWCPOS {position} is not between {low} and {high}"
        raise InputError(what, exposure.name, "Correct the keyword, or set mask_science_regions to false")
    if science in PARTS["science"]:
        return ~part(PARTS["science"], science).science_pixels(exposure, refs, science)
    return np.ones(exposure.sci.shape[-2:], bool)


def _scene(exposure, rate, flat, known, options, single):
    """Pixels without sources, (row, col) or (int, row, col)."""
    planes = [rate.sci] if rate.sci.ndim == 2 else rate.sci[exposure.integrations]
    masks = []
    for plane in planes:
        image = plane if flat is None else plane / flat
        mask = known & ~np.isnan(image) & (image != 0)
        if options["upper"] > 0:
            background.clip(image, mask, **options)
        masks.append(mask)
    if rate.sci.ndim == 2:
        return masks[0]
    return np.all(masks, axis=0) if single else np.stack(masks)


def _user_mask(path, exposure):
    """The first image of a FITS file, (row, col) or (int, row, col), as bool."""
    image = named_files.first_image(path, "user_mask")
    shape = exposure.sci.shape[-2:]
    if image is not None and image.shape[-2:] == shape:
        if image.ndim == 2:
            return image != 0
        if image.ndim == 3 and exposure.sci.ndim > 2 and len(image[exposure.integrations]) == len(exposure.sci):
            return image[exposure.integrations] != 0
    found = "no image" if image is None else f"an image of the shape {image.shape}"
    raise ReferenceError(f"user_mask holds {found}, {shape} or one of these for each integration was expected", path)


# --- cleaning --------------------------------------------------------------------------------------------------------


def _clean(exposure, scene, cleaner, levels=None):
    """Clean the differences of the groups, or the rates, in place; `levels`, of the same shape, takes their background."""
    sci = exposure.sci = np.ascontiguousarray(exposure.sci)
    ramp = sci.ndim == 4
    if ramp:
        flicker_noise.to_differences(sci)
        _clean_images(exposure, sci[:, 1:], exposure.groupdq[:, 1:], scene, cleaner, None if levels is None else levels[:, 1:])
        flicker_noise.to_ramp(sci)
    else:
        images = sci.reshape(-1, 1, *sci.shape[-2:])
        levels = None if levels is None else levels.reshape(images.shape)
        _clean_images(exposure, images, np.zeros(images.shape, np.uint8), scene, cleaner, levels)


def _clean_beside_median(exposure, drafts, scene, cleaner, levels=None):
    """Clean what the median over the integrations, scaled to the brightness of each, leaves over; in place. `levels` takes that median."""
    rates = drafts["rateints"].sci
    if rates.ndim == 2 or len(rates) == 1:
        raise Skip("a median image needs more than one integration")
    rates = rates if cleaner.flat is None else rates / cleaner.flat
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        brightness = np.nanmedian(rates, axis=(1, 2))
        brightness = brightness / np.nanmedian(brightness)
    good = np.isfinite(brightness)
    if not good.any():
        raise Skip("no integration has a brightness that the median image could be scaled with")
    brightness[~good] = np.median(brightness[good])
    shape = exposure.sci.shape
    images = exposure.sci.reshape(shape[0], -1, *shape[-2:])
    median = drafts["median"].sci.reshape(1, -1, *shape[-2:])
    scales = brightness[exposure.integrations]
    for image, scale in zip(images, scales, strict=True):
        image -= scale * median[0]
    _clean_images(exposure, images, np.zeros(images.shape, np.uint8), scene, cleaner)
    for image, scale in zip(images, scales, strict=True):
        image += scale * median[0]
    exposure.sci = images.reshape(shape)
    if levels is not None:
        levels.reshape(images.shape)[...] = scales[:, None, None, None] * median


def _clean_images(exposure, images, flags, scene, cleaner, levels=None):
    """Clean images (int, n, row, col) in place, several at a time; pixels that `flags`, of the same shape, call bad are no background.

    `levels`, of that shape too, takes the background that is subtracted and put back.
    """
    scenes = scene if scene.ndim == 3 else [scene] * len(images)
    places = np.ndindex(images.shape[:2])
    tasks = [(images[i, k], scenes[i], flags[i, k], None if levels is None else levels[i, k]) for i, k in places]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyUserWarning)
        done = sum(side_by_side(lambda task: _clean_image(*task, cleaner), tasks))
    share = np.mean(scene)
    log.info("%d images cleaned by %.0f %% of their pixels", done, 100 * share)
    if done < len(tasks):
        log.warning("%d images have no background pixels: left as they are", len(tasks) - done)


def _clean_image(image, scene, flags, levels, cleaner):
    """Clean one image in place; False where it has no background. Its background goes into `levels` if that is an array."""
    flat, level = cleaner.flat, np.float32(0)
    seen = image if flat is None else image / flat
    mask = flicker_noise.usable(seen, scene, flags, BAD)
    if not mask.any():
        return False
    if cleaner.method is not None:
        level, values = background.level(seen, mask, cleaner.method == "model", cleaner.box)
        seen = seen - level
        if cleaner.n_sigma > 0:
            found = gather(seen, mask) if np.ndim(level) else sort(values - level)
            mask_beyond(seen, mask, *background.limits(found, cleaner.n_sigma, cleaner.n_sigma, lower_half=True))
    cleaned = seen - cleaner.fit(seen, mask)
    cleaned += level
    if levels is not None:
        levels[...] = level
    if flat is not None:
        cleaned *= flat
    image[...] = cleaned
    return True


def _by_frequency(readout, frequencies, image, mask):
    """The noise of an image that is fitted in frequency space, (row, col)."""
    lines, good = (np.ascontiguousarray(readout.to_detector(array)) for array in (image, mask))
    from ..kernels.noise import nsclean  # it imports scipy's transforms, which no other fit needs

    found = nsclean.full_frame(lines, good) if image.shape == FULL_FRAME else nsclean.subarray(lines, good, frequencies)
    noise = np.empty(image.shape, found.dtype)
    readout.to_detector(noise)[...] = found
    return noise
