"""How to clean a near-IR image of its stripes, from what the image looks like.

A background that changes over the image takes a model; amplifiers that differ from each other take medians of their own.
The rules and their numbers are the reference pipeline's (its parameter `autoparam`), found by trial on NIRCam and NIRISS images.
"""

from typing import NamedTuple

import numpy as np

from . import background
from .flicker_noise import stripes

CHANNEL, CHANNELS = 512, 4
SIDE = CHANNEL * CHANNELS


class Rules(NamedTuple):
    """Numbers of one camera."""

    columns: bool  # amplifiers lie side by side along the rows, so that an average over rows shows them
    masked: float  # share of the image that is masked, from which on there is little background
    offset: float  # DN/s between neighbouring amplifiers
    slope: float  # DN/s/pixel, gentle
    steep: float  # the same, where amplifiers differ or little is masked
    ratio: float  # of the slopes along the two axes
    scatter: float  # DN/s


CAMERAS = {
    "nircam": Rules(columns=True, masked=0.1, offset=0.07, slope=1e-5, steep=1e-5, ratio=3.0, scatter=0.02),
    "niriss": Rules(columns=False, masked=0.07, offset=0.07, slope=1e-5, steep=1e-4, ratio=5.0, scatter=0.02),
}


class Look(NamedTuple):
    """What an image looks like; units as in `Rules`."""

    masked: float
    offset: float
    slope: float
    ratio: float
    scatter: float


def choose(rate, axis, camera):
    """Settings for an image.

    Parameters
    ----------
    rate : ndarray of float32, (row, col)
        DN/s, flat-fielded if there is a flat field.
    axis : int
        Array axis that the stripes run along.
    camera : str
        Key of `CAMERAS`.

    Returns
    -------
    dict
        background_method ("median" or "model") and fit_by_channel (bool).
    """
    rules = CAMERAS[camera]
    look = _look(*_roughly_clean(rate, axis), rules)
    offset, gentle, steep = look.offset >= rules.offset, look.slope >= rules.slope, look.slope >= rules.steep
    if look.masked >= rules.masked:
        model, by_channel = (steep if offset else gentle), False
    elif offset:
        model, by_channel = False, True
    else:
        model = steep or (gentle and look.ratio < rules.ratio)
        by_channel = look.offset > 0 and look.scatter >= rules.scatter
    return {"background_method": "model" if model else "median", "fit_by_channel": bool(by_channel)}


def _roughly_clean(rate, axis):
    """The image without its stripes, and where it is background."""
    image, mask = rate.copy(), np.ones(rate.shape, bool)
    background.clip(image, mask)
    hole = np.isnan(image)
    mask[hole] = False
    level, _ = background.level(image, mask)
    image -= level
    background.clip(image, mask, lower_half=True)
    return image - stripes(image, mask, axis) + level, mask


def _look(image, mask, rules):
    """Measure an image; sources are filled with the background first."""
    smooth, _ = background.level(image, mask, model=True)
    image = np.where(mask, image, smooth)
    ny, nx = image.shape
    with np.errstate(invalid="ignore", divide="ignore"):
        along_x = np.nanmean(image[_part(ny, 3 / 8, 5 / 8)], axis=0)
        along_y = np.nanmean(image[:, _part(nx, 3 / 8, 5 / 8)], axis=1)
        slopes, scatters = zip(*(_line(profile) for profile in (along_x, along_y)), strict=True)
        steepest, least = max(np.abs(slopes)), min(np.abs(slopes))
        ratio = np.float64(steepest) / least
    scatter = scatters[0] if rules.columns else _line(np.nanmean(image[_part(ny, 10 / 12, 11 / 12)], axis=0))[1]
    return Look(np.mean(~mask), _offset(along_x if rules.columns else along_y), steepest, ratio, scatter)


def _part(size, start, stop):
    return slice(round(start * size), round(stop * size))


def _line(profile):
    """Slope of the line through a profile, and the scatter about it."""
    good = np.isfinite(profile)
    x = np.arange(profile.size)[good]
    line = np.polynomial.Polynomial.fit(x, profile[good], 1)
    coefficients = line.convert().coef
    return (coefficients[1] if coefficients.size > 1 else 0.0), _clipped(profile[good] - line(x), 10.0)[1]


def _offset(profile):
    """Largest difference between neighbouring amplifiers' clipped means; 0 for anything but a full frame."""
    if profile.size != SIDE:
        return 0.0
    means = [_clipped(part, 3.0)[0] for part in profile.reshape(CHANNELS, CHANNEL)]
    return np.abs(np.diff(means)).max()


def _clipped(values, sigma):
    """Mean and standard deviation after clipping."""
    from astropy.stats import sigma_clipped_stats

    good = values[np.isfinite(values)]
    mean, _, spread = sigma_clipped_stats(good.astype(np.float64), sigma=sigma) if good.size else (np.nan, np.nan, np.nan)
    return mean, spread
