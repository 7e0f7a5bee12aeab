"""Outliers in images of slices: what one dither sees and the others do not see there, and pixels that stand out in all of them."""

import logging

import numpy as np

from ...kernels.images.median_along import median_along
from ...kernels.outliers.other_dither import SYSTEMATIC
from ...kernels.outliers.thresholds import beside
from ...vocabulary.errors import InputError, Skip
from . import ifu_common, ifu_dithers
from .marks import KEPT, mark, unusable

log = logging.getLogger(__name__)

MANY = 0.01  # part of the pixels in slices that is worth a warning
ALONG = 9  # pixels along the spectrum of a running median: no hit covers half of them
CERTAIN = 2.0  # times as many standard deviations where one exposure tells
SHARP = 0.7  # of a pixel's height above its surroundings: by so much it stands above its neighbours if it is bad; light is blurred


def flag(members, options):
    """Flag the outliers of several exposures of the same slices.

    By default a pixel is an outlier where most of the other dithers see something else at its place on the sky and its wavelength (see
    `ifu_dithers`), and it is off the running median along its own spectrum; or where it stands out from all its neighbours in every
    exposure of its detector: by more than the noise, by most of its height, and among the part of the pixels that `threshold_percent`
    leaves. One exposure is enough, and twice the noise, where no other dither looks, or most of them see something else, however steep
    the light is there. With `ifu_method` "neighbours" it is one of this part of the pixels, whatever they are, by the differences from
    its neighbours across the spectrum (see `ifu_common`).

    Parameters
    ----------
    members : exposure.Members, or iterable of Exposure
        With DISPAXIS and a WCS to sky and wavelength; changed in place. One at a time is in memory, with what is compared of all.
    options : options.Options

    Returns
    -------
    members, or with `save_intermediate_results` a list: members, and of each detector what its pixels were compared by

    Raises
    ------
    Skip
        There are fewer than two exposures.
    InputError
        They are not of one size, or have no WCS.
    """
    box = tuple(size + (size % 2 == 0) for size in options.kernel_size)
    if box != options.kernel_size:
        log.warning("kernel_size of outlier_detection has to be odd: it is %d %d now", *box)
    own = options.ifu_method == "dithers"
    heads = _heads(members)
    if len(heads) < 2:
        raise Skip("one exposure can't be compared with others")
    common, dithers, sharp = ifu_common.Common(box), ifu_dithers.Dithers(members), []
    for exposure in _each(members):
        if exposure.sci.ndim != 2:
            raise InputError(f"slices are compared as images, this has the shape {exposure.sci.shape}", exposure.name)
        bad = unusable(exposure, options.bad_bits)
        sci = np.where(bad, np.float32(np.nan), exposure.sci)
        stands_out = common.add(exposure, sci, options.snr[0] if own else None)
        if own:
            dithers.add(exposure, sci)
            in_noise, in_height = stands_out
            sharp.append(np.packbits((in_noise > CERTAIN * options.snr[0]) & (in_height > SHARP), axis=1))
    found = {
        detector: common.standing_out(detector, options.snr[0], SHARP, options.threshold_percent)
        if own
        else common.above(detector, options.threshold_percent)
        for detector in common.detectors
    }
    asides = [common.aside(detector, exposure) for detector, exposure in common.detectors.items()]
    for number, exposure in enumerate(_each(members, KEPT)):
        detector = exposure.header["DETECTOR"]
        outliers = found[detector].copy()
        if own:
            rules = np.array([*zip(options.snr, options.scale, strict=True), (options.snr[0], 0)])
            seen, strong, weak, other = dithers.unlike(number, rules)
            off = _off_the_spectrum(exposure)
            strong &= off > options.snr[0]
            outliers |= strong | beside(strong, weak & (off > options.snr[1]))
            outliers |= (other | ~seen) & np.unpackbits(sharp[number], axis=1, count=outliers.shape[1]).astype(bool)
        if options.ifu_second_check:
            outliers |= common.unknown(detector)
        mark(exposure, outliers)
        _tell(exposure, outliers, dithers.alone(number) if own else False)
    return [members, *asides] if options.save_intermediate_results else members


def _each(members, keep=()):
    return members.each(keep=keep) if hasattr(members, "each") else iter(members)


def _heads(members):
    return members.shells() if hasattr(members, "shells") else list(members)


def _off_the_spectrum(exposure):
    """How far pixels are from the running median along the spectrum, in standard deviations; no steep image makes them so."""
    smooth = median_along(np.ascontiguousarray(exposure.sci), ALONG, along_columns=exposure.header["DISPAXIS"] == 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (np.abs(exposure.sci - smooth) - SYSTEMATIC * np.abs(smooth)) / exposure.err


def _tell(exposure, outliers, alone):
    part = np.count_nonzero(outliers) / outliers.size
    if alone:
        log.warning("%s: no other exposure is of its band: of cosmic rays only sharp single pixels can be found", exposure.name)
    level = logging.WARNING if part > MANY else logging.INFO
    log.log(level, "%s: %d outliers, %.3f %% of the pixels", exposure.name, np.count_nonzero(outliers), 100 * part)
