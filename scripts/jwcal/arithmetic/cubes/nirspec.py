"""Cubes of NIRSpec's slicer: a band is a grating with a filter, a slice has one place across."""

import numpy as np

from ...vocabulary.errors import InputError
from .pixels import Seen, extremes
from .slicer import Slicer

BANDS = (
    *(("g140m", "f070lp"), ("g140h", "f070lp"), ("g140m", "f100lp"), ("g140h", "f100lp"), ("g235m", "f170lp"), ("g235h", "f170lp")),
    *(("g395m", "f290lp"), ("g395h", "f290lp"), ("prism", "clear"), ("prism", "opaque"), ("g140m", "opaque"), ("g140h", "opaque")),
    *(("g235m", "opaque"), ("g235h", "opaque"), ("g395m", "opaque"), ("g395h", "opaque")),
)
COLUMNS = ("DISPERSER", "FILTER")  # of a band, in the cubepar reference
SELECTED_BY = ("grating", "filter")  # parameters
INTERNAL = True  # cubes in the coordinates of the slicer can be made
BOTH_OR_NONE = True  # of SELECTED_BY
TORN = False  # all slices reach the ends of a band
TABLES = {"p": "PRISM", "m": "MED", "h": "HIGH"}  # by the first letter of "prism", the last one of a grating
HALF = 0.4999, 0.49  # of a pixel, along the spectrum and across it: its ends, still inside it
ALONG = 0.005  # m on the slicer, between two points that tell the field's direction
NEIGHBOURS = (1, 3)  # slices that lie side by side in the field


def bands_of(header):
    """The band of an exposure: [("prism", "clear")]."""
    return [(str(header["GRATING"]).lower(), str(header["FILTER"]).lower())]


def rank(band):
    """Bands in the order in which they are taken."""
    return BANDS.index(band) if band in BANDS else len(BANDS)


def name(bands):
    """The end of a cube's name: "prism-clear", "g140m-f070lp-g140m-f100lp"."""
    return "-".join("-".join(band) for band in bands)


def plain(root):
    """A product's name without the grating that it may end with: the cube's name has it."""
    start, _, last = root.rpartition("_")
    return start if start and last in {grating for grating, _ in BANDS} else root


def same_series(band, other):
    """Whether two bands are in one cube where the output is by channel: there are no channels."""
    return band == other


def table_of(bands, weighting):
    """The extension of the cubepar reference with wavelengths: that of the last band's resolution."""
    grating = bands[-1][0]
    return f"MULTICHAN_{TABLES['p' if grating == 'prism' else grating[-1]]}_{weighting.upper()}"


def keywords(bands):
    """Keywords of a cube of some bands: those of the exposures are right."""
    return {}


def whole_field(bands, output_type):
    """Whether S_REGION of the exposures is the field of a cube."""
    return True


def corners(wcs, band):
    """Four points on the sky that bound what an exposure sees: right ascension and declination (4,), ICRS [deg]."""
    seen = looks(wcs, band)
    return extremes(seen.ra, seen.dec) if seen.index.size else None


def turn(wcs, band):
    """Position angle of the field's second axis, by two points along the middle of the slicer [deg]."""
    ra, dec, _ = Slicer(wcs).onward(np.zeros(2), np.array([0.0, ALONG]), np.full(2, Slicer(wcs).middle()))
    away = (ra[1] - ra[0] + 180) % 360 - 180
    return 90 + np.rad2deg(np.arctan2(away * np.cos(np.deg2rad(dec[0])), dec[1] - dec[0]))


def looks(wcs, band, areas=False, labels=None):
    """Where the pixels of the slices look.

    Parameters
    ----------
    wcs : gwcs.WCS
        As `wcs.nirspec.ifu` makes it.
    band : (str, str)
        Without effect: an exposure has one.
    areas : bool
        Whether the pixels' corners and widths are wanted too: a pixel is as wide as its slice, and as long as it is in the slice.
    labels : int (row, col), optional
        Number of the slice of every pixel, 0 between them; by default as the WCS has them.

    Returns
    -------
    Seen
        Without the pixels one of whose corners is beyond the end of its slice.

    Raises
    ------
    InputError
        The exposure does not look at the sky: it is one of a lamp.
    """
    if wcs.output_frame.name != "world":
        what = "the exposure is of a lamp: its slices are nowhere on the sky"
        raise InputError(what, do="Take coord_system internal_cal of cube_build")
    slicer = Slicer(wcs, labels)
    parts = [(number, *slicer.at(number), *(_ends(slicer, number) if areas else ())) for number in slicer.pixels]
    if not parts:
        return Seen(np.empty(0, int), np.empty(0, int), *np.empty((3, 0)))
    index = np.concatenate([slicer.pixels[number] for number, *_ in parts])
    numbers = np.repeat([number for number, *_ in parts], [slicer.pixels[number].size for number, *_ in parts])
    there, along, metres, *ends = (np.concatenate(values) for values in zip(*(part[1:] for part in parts), strict=True))
    seen = Seen(index, numbers, *slicer.onward(there, along, metres))
    good = np.isfinite(seen.ra) & np.isfinite(seen.wavelength)
    if areas:
        width, low, low_metres, high, high_metres = ends
        seen.width = width * (seen.wavelength / metres)  # in the unit, and the frame, that the wavelength has
        half = _width({number: float(np.nanmean(part[0])) for number, *part in parts}) / 2
        places = [(there + side * half, low, low_metres) for side in (-1, 1)] + [
            (there + side * half, high, high_metres) for side in (1, -1)
        ]
        around = slicer.onward(*(np.concatenate(values) for values in zip(*places, strict=True)))
        seen.corners = tuple(values.reshape(4, -1) for values in around[:2])
        good &= np.isfinite(seen.width) & np.isfinite(seen.corners[0]).all(axis=0)
    return seen.take(good)


def _ends(slicer, number):
    """Range of wavelengths [m] of the pixels of a slice, and the places along it and wavelengths of their two ends."""
    blue, red = (slicer.at(number, side, 0.0)[2] for side in (-HALF[0], HALF[0]))
    return np.abs(red - blue), *slicer.at(number, 0.0, -HALF[1])[1:], *slicer.at(number, 0.0, HALF[1])[1:]


def _width(across):
    """Of the slices [m]: the distance between two that lie side by side."""
    if all(number in across for number in NEIGHBOURS):
        return abs(across[NEIGHBOURS[0]] - across[NEIGHBOURS[1]])
    apart = np.diff(sorted(across.values()))
    return float(np.median(apart)) if apart.size else 0.0
