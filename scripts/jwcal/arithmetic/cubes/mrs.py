"""Cubes of MIRI's spectrometer: a band is a channel with one of its three ranges, a slice has one beta."""

import numpy as np

from ..wcs.pixel_coordinates import around_slices, labels_on_pixels, slit_to_sky
from .pixels import Seen, extremes, image_shape

RANGES = ("short", "medium", "long", *(f"{a}-{b}" for a in ("short", "medium", "long") for b in ("short", "medium", "long") if a != b))
COLUMNS = ("CHANNEL", "BAND")  # of a band, in the cubepar reference
SELECTED_BY = ("channel", "band")  # parameters
INTERNAL = False  # whether cubes in the coordinates of the slicer can be made
BOTH_OR_NONE = False  # of SELECTED_BY
TORN = True  # the last planes of a band may have only some of its slices
SMALL_FIELD = {"1", "3"}  # channels whose field is smaller than that of the exposure, which has two
HALF = 0.4999  # of a pixel: its end, still inside it


def bands_of(header):
    """The bands of an exposure: ("1", "short"), ("2", "short")."""
    return [(channel, str(header["BAND"]).lower()) for channel in str(header["CHANNEL"])]


def rank(band):
    """Bands in their order: by channel, then by range."""
    return int(band[0]), RANGES.index(band[1]) if band[1] in RANGES else len(RANGES)


def name(bands):
    """The end of a cube's name: "ch1-short", "ch1-2-short", "ch3-shortmediumlong"."""
    channels = "-".join(dict.fromkeys(channel for channel, _ in bands))
    return f"ch{channels}-{''.join(sorted({part for _, part in bands}, reverse=True))}"


def same_series(band, other):
    """Whether two bands are in one cube where the output is by channel."""
    return band[0] == other[0]


def table_of(bands, weighting):
    """The extension of the cubepar reference with wavelengths for several bands."""
    return f"MULTICHANNEL_{ {'drizzle': 'DRIZ'}.get(weighting, weighting.upper()) }"


def keywords(bands):
    """Keywords of a cube of some bands."""
    return {"CHANNEL": "".join(sorted({channel for channel, _ in bands}))}


def whole_field(bands, output_type):
    """Whether S_REGION of the exposures is the field of a cube."""
    return output_type == "multi" or not SMALL_FIELD & {channel for channel, _ in bands}


def corners(wcs, band):
    """Four points on the sky that bound what an exposure sees in a band: right ascension and declination (4,), ICRS [deg]."""
    seen = looks(wcs, band)
    return extremes(seen.ra, seen.dec) if seen.index.size else None


def turn(wcs, band):
    """Position angle of the field's second axis, by two points along a slice [deg]."""
    seen = looks(wcs, band)
    middle = np.full(2, np.median(seen.wavelength))
    ra, dec, _ = slit_to_sky(wcs, np.array([0.0, 2.0]), np.zeros(2), middle)
    away = (ra[1] - ra[0] + 180) % 360 - 180
    return 90 + np.rad2deg(np.arctan2(away * np.cos(np.deg2rad(dec[0])), dec[1] - dec[0]))


def looks(wcs, band, areas=False, labels=None):
    """Where the pixels of a band look.

    Parameters
    ----------
    wcs : gwcs.WCS
        As `wcs.miri_mrs` makes it.
    band : (str, str)
    areas : bool
        Whether the pixels' corners and widths are wanted too: a pixel is as wide as its slice, and as long as it is in the slice.
    labels : int (row, col), optional
        channel * 100 + slice; by default as the WCS has them, of finer pixels too.

    Returns
    -------
    Seen
        Without the pixels whose wavelengths, or their ends, are not within the channel's limits.
    """
    labels = labels_on_pixels(wcs) if labels is None else labels
    mapped = np.zeros(image_shape(wcs), labels.dtype)
    mapped[...] = labels
    before, slices, _ = around_slices(wcs)
    inside = np.flatnonzero(mapped // 100 == int(band[0]))
    order = np.argsort(mapped.ravel()[inside], kind="stable")
    index = inside[order]
    number = mapped.ravel()[index]
    parts, betas = [], []
    for slice_number in np.unique(number).tolist():
        y, x = (values.astype(float) for values in np.divmod(index[number == slice_number], mapped.shape[1]))
        to_slice = before + [slices.selector[slice_number]]
        alpha, beta, wavelength = _through(to_slice, x, y)
        part = [alpha, beta, wavelength]
        if areas:
            part += [_through(to_slice, x - HALF, y)[0], _through(to_slice, x + HALF, y)[0]]
            part += [_through(to_slice, x, y - HALF)[2], _through(to_slice, x, y + HALF)[2]]
        parts.append(np.array([np.broadcast_to(values, x.shape) for values in part]))
        betas.append(float(np.mean(beta)))
    if not parts:
        return Seen(index, number, *np.empty((3, 0)))
    alpha, beta, wavelength, *ends = np.concatenate(parts, axis=1)
    ra, dec, wavelength = slit_to_sky(wcs, alpha, beta, wavelength)
    seen = Seen(index, number, ra, dec, wavelength)
    good = np.isfinite(ra)
    if areas:
        left, right, blue, red = ends
        low, high = _limits(wcs, band, wavelength)
        good &= (np.minimum(blue, red) > low) & (np.maximum(blue, red) < high)
        seen.width = np.abs(red - blue)
        half = _width(wcs, band, betas) / 2
        places = [(left, beta - half), (left, beta + half), (right, beta + half), (right, beta - half)]
        around = [np.concatenate(values) for values in zip(*places, strict=True)]
        found = slit_to_sky(wcs, *around, np.tile(wavelength, 4))
        seen.corners = tuple(values.reshape(4, -1) for values in found[:2])
    return seen.take(good)


def _through(transforms, *values):
    for transform in transforms:
        values = transform(*values)
    return values


def _limits(wcs, band, wavelength):
    """The channel's limits, which cut what is beyond them off."""
    *_, after = around_slices(wcs)
    mapper = getattr(after[0], "label_mapper", None)
    ranges = list(getattr(mapper, "mapper", ())) or [(-np.inf, np.inf)]
    middle = np.nanmedian(wavelength)
    return next(((low, high) for low, high in ranges if low < middle < high), (-np.inf, np.inf))


def _width(wcs, band, betas):
    """Of the slices, arcsec: the distance from one to the next."""
    apart = np.diff(np.unique(np.round(betas, 9)))
    if apart.size:
        return float(apart[0])
    backwards = around_slices(wcs)[1].label_mapper.inverse.mapper.values()
    return next(float(one.mapper.beta_del.value) for one in backwards if int(one.mapper.channel.value) == int(band[0]))
