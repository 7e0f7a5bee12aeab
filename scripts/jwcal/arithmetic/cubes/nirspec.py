"""Cubes of NIRSpec's integral field unit: a band is a grating with a filter, thirty slices one beside the other."""

import numpy as np

from .pixels import Seen, extremes

GRATINGS = ("g140m", "g140h", "g235m", "g235h", "g395m", "g395h", "prism")
RESOLUTION = {"prism": "PRISM", "m": "MED", "h": "HIGH"}
COLUMNS = ("DISPERSER", "FILTER")  # of a band, in the cubepar reference
SELECTED_BY = ("grating", "filter")  # parameters
INTERNAL = False  # whether cubes in the coordinates of the slicer can be made
BOTH_OR_NONE = True  # of SELECTED_BY
TORN = False  # the last planes of a band may have only some of its slices
ACROSS, ALONG = 0.4999, 0.49  # of a pixel: its ends in wavelength and along the slice, still inside it
NEIGHBOURS = 1, 3  # slices that are beside each other on the slicer
STEP = 0.005  # m along a slice


def bands_of(header):
    """The band of an exposure: [("prism", "clear")]."""
    return [(str(header["GRATING"]).lower(), str(header["FILTER"]).lower())]


def rank(band):
    """Bands in their order."""
    return GRATINGS.index(band[0]) if band[0] in GRATINGS else len(GRATINGS), band[1]


def name(bands):
    """The end of a cube's name: "prism-clear", "g140h-f070lp-g235h-f170lp"."""
    return "-".join("-".join(band) for band in bands)


def plain(product):
    """The name of an association's product without the grating that it may end with."""
    root, _, end = product.rpartition("_")
    return root if end in GRATINGS else product


def same_series(band, other):
    """Whether two bands are in one cube where the output is by channel: there are no channels."""
    return False


def table_of(bands, weighting):
    """The extension of the cubepar reference with wavelengths for several bands."""
    grating = bands[-1][0]
    kind = RESOLUTION.get(grating) or RESOLUTION[grating[-1]]
    return f"MULTICHAN_{kind}_{weighting.upper()}"


def keywords(bands):
    """Keywords of a cube of some bands: those of the exposures."""
    return {}


def whole_field(bands, output_type):
    """Whether S_REGION of the exposures is the field of a cube."""
    return True


def corners(wcs, band):
    """Four points on the sky that bound what an exposure sees: right ascension and declination (4,), ICRS [deg]."""
    seen = looks(wcs, band)
    return extremes(seen.ra, seen.dec) if seen.index.size else None


def turn(wcs, band):
    """Position angle of the field's second axis, by two points along a slice [deg]."""
    first = wcs.pipeline[1].transform
    labels = np.asarray(first.label_mapper.mapper)
    y, x = (axis.astype(float) for axis in np.nonzero(labels == labels[labels > 0].min()))
    *_, wavelength = first.selector[int(labels[labels > 0].min())](x, y)
    ra, dec, _ = _to_sky(wcs, np.zeros(2), np.array([0.0, STEP]), np.full(2, np.nanmedian(wavelength)))
    away = (ra[1] - ra[0] + 180) % 360 - 180
    return 90 + np.rad2deg(np.arctan2(away * np.cos(np.deg2rad(dec[0])), dec[1] - dec[0]))


def looks(wcs, band, areas=False, labels=None):
    """Where the pixels of the slices look.

    Parameters
    ----------
    wcs : gwcs.WCS
        As `wcs.nirspec.ifu` makes it.
    band : (str, str)
    areas : bool
        Whether the pixels' corners and widths are wanted too: a pixel is as wide as its slice, and as long as it is in the slice.
    labels : int (row, col), optional
        Number of the slice, from 1; by default as the WCS has them.

    Returns
    -------
    Seen
        Without the pixels whose ends are beyond the slice.
    """
    first = wcs.pipeline[1].transform
    mapped = np.asarray(first.label_mapper.mapper if labels is None else labels)
    inside = np.flatnonzero(mapped > 0)
    index = inside[np.argsort(mapped.ravel()[inside], kind="stable")]
    number = mapped.ravel()[index]
    parts = []
    for slice_number in np.unique(number).tolist():
        y, x = (values.astype(float) for values in np.divmod(index[number == slice_number], mapped.shape[1]))
        slit = first.selector[slice_number]
        part = [*slit(x, y)]
        if areas:
            part += [slit(x - ACROSS, y)[2], slit(x + ACROSS, y)[2], *slit(x, y - ALONG), *slit(x, y + ALONG)]
        parts.append(np.array([np.broadcast_to(values, x.shape) for values in part]))
    if not parts:
        return Seen(index, number, *np.empty((3, 0)))
    across, along, wavelength, *ends = np.concatenate(parts, axis=1)
    seen = Seen(index, number, *_to_sky(wcs, across, along, wavelength))
    good = np.isfinite(seen.ra) & np.isfinite(seen.wavelength)
    if areas:
        micron = np.nanmedian(seen.wavelength / wavelength)
        seen.width = np.abs(ends[0] - ends[1]) * micron
        half = _width(number, across) / 2
        low, high = ends[2:5], ends[5:8]
        places = [(low, -half), (low, half), (high, half), (high, -half)]  # around the pixel, not across it
        around = [np.concatenate([end[0] + side for end, side in places])]
        around += [np.concatenate([end[n] for end, _ in places]) for n in (1, 2)]
        seen.corners = tuple(values.reshape(4, -1) for values in _to_sky(wcs, *around)[:2])
        good &= np.isfinite(seen.width) & np.isfinite(seen.corners[0]).all(axis=0)
    return seen.take(good)


def _to_sky(wcs, across, along, wavelength):
    """From places on the slicer and wavelengths [m] to right ascension, declination [deg] and wavelength [micron]."""
    values = across, along, wavelength
    for step in wcs.pipeline[2:-1]:
        values = step.transform(*values)
    return tuple(np.asarray(value, float) for value in values)


def _width(number, across):
    """Of a slice on the slicer, m: the distance of two that are beside each other."""
    middles = [np.nanmean(across[number == one]) if (number == one).any() else np.nan for one in NEIGHBOURS]
    if not np.isfinite(middles).all():  # some miss the detector
        every = np.array([np.nanmean(across[number == one]) for one in np.unique(number)])
        return float(np.diff(np.sort(every)).min()) if every.size > 1 else 0.0
    return float(abs(middles[1] - middles[0]))
