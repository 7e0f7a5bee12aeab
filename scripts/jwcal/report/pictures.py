"""What there is to see in a product: images and curves, as plain arrays. Which, is in DRAWINGS, by the product's suffix."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..files import fitsio
from ..settings.chains import root_and_suffix
from ..vocabulary.dq import DO_NOT_USE
from ..vocabulary.errors import InputError

MOST_CURVES = 6
MOST_POINTS = 1500
SERIES = 5  # integrations that make a light curve


@dataclass(frozen=True)
class Image:
    """A picture of pixels, the first row at the bottom."""

    values: np.ndarray
    low: float  # the values that the ends of the colour scale stand for
    high: float
    unit: str
    caption: str


@dataclass(frozen=True)
class Curves:
    """Values along an axis."""

    x: list  # of arrays, one a curve
    y: list
    x_label: str
    y_label: str
    caption: str
    points: bool = False  # measurements one by one, not a line


def pictures(path):
    """The pictures of a product: a list of Image and Curves, empty for a suffix that has none.

    Raises
    ------
    InputError
        The product is not whole, or has not what its suffix promises.
    """
    path = Path(path)
    if path.suffix == ".ecsv":
        return white_light(path)
    draw = DRAWINGS.get(root_and_suffix(path)[1])
    if draw is None:
        return []
    with fitsio.open_fits(path) as hdus:
        try:
            return [picture for picture in draw(hdus) if picture is not None]
        except KeyError as error:
            raise InputError(f"there is nothing to draw ({str(error).strip(chr(34))})", path, "Make the product again") from None


# --- images ---


def image(hdus):
    """The one image of a product."""
    sci = hdus["SCI"]
    return [_image(_plane(sci, 0) if len(sci.shape) > 2 else fitsio.native(sci.data), hdus)]


def integrations(hdus):
    """Integrations one by one: their mean, and from five on their light curve. A product of one image is that image."""
    sci = hdus["SCI"]
    if len(sci.shape) == 2 or sci.shape[0] == 1:
        return image(hdus)
    mean, curve = _mean_and_curve(hdus)
    what = f"mean of {sci.shape[0]} integrations; "
    return [_image(mean, hdus, what), curve if sci.shape[0] >= SERIES else None]


def cube(hdus):
    """An IFU cube: the median along the wavelength, and the sum of the pixels along it."""
    sci = fitsio.native(hdus["SCI"].data)
    header = hdus["SCI"].header
    with np.errstate(all="ignore"):
        bright, spectrum = _quietly(np.nanmedian, sci), np.nansum(sci, axis=(1, 2), dtype=np.float64)
    wavelength = header.get("CRVAL3", 1) + (np.arange(len(sci)) + 1 - header.get("CRPIX3", 1)) * header.get("CDELT3", 1)
    curve = Curves([wavelength], [spectrum], f"wavelength ({header.get('CUNIT3', 'um')})", f"sum ({_unit(hdus)})", "sum of all spaxels")
    return [_image(bright, hdus, f"median of {len(sci)} wavelengths; "), curve]


def ramp(hdus):
    """How the median pixel of the first integration fills up, group by group."""
    groups = hdus["SCI"].section[0]
    medians = np.array([_quietly(np.nanmedian, group, axis=None) for group in groups])
    seconds = hdus[0].header.get("TGROUP", 1) * np.arange(1, len(groups) + 1)
    return [
        Curves(
            [seconds],
            [medians],
            "time since the reset (s)",
            f"median ({_unit(hdus)})",
            "first integration, median of all pixels",
            points=True,
        )
    ]


def _image(values, hdus, what=""):
    """An image and its colour scale: from just below the sky to the brightest pixels."""
    ny, nx = values.shape
    good = values[np.isfinite(values)]
    if good.size == 0:
        return None
    sky, noise = _sky(good)
    high = max(np.percentile(good, 99.8), sky + 20 * noise)
    return Image(values, float(sky - 2 * noise), float(high), _unit(hdus), f"{what}{nx} x {ny} pixels")


def _sky(good, rounds=3):
    """Median and scatter of the pixels without sources."""
    for _ in range(rounds):
        middle, scatter = np.median(good), np.std(good, dtype=np.float64)
        kept = good[np.abs(good - middle) <= 3 * scatter]
        if kept.size in (0, good.size):
            break
        good = kept
    return float(np.median(good)), float(np.std(good, dtype=np.float64)) or 1e-6


def smaller(values, longest):
    """Means of blocks of pixels, so that neither axis is longer than this."""
    for axis in (0, 1):
        n = -(-values.shape[axis] // longest)
        if n > 1:
            fill = -values.shape[axis] % n
            values = np.pad(values, [(0, fill if axis == a else 0) for a in (0, 1)], constant_values=np.nan)
            shape = (-1, n, values.shape[1]) if axis == 0 else (values.shape[0], -1, n)
            values = _quietly(np.nanmean, values.reshape(shape), axis=1 if axis == 0 else 2)
    return values.astype(np.float32)


def _quietly(average, values, axis=0):
    """A mean or median that is NaN where nothing has a value, without a warning of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return average(values, axis=axis)


def _plane(hdu, number):
    """One plane of a cube, read alone: a time series may not fit in memory."""
    return fitsio.native(hdu.section[number])


def _unit(hdus):
    return hdus["SCI"].header.get("BUNIT", "")


# --- light curves ---


def _mean_and_curve(hdus):
    """The mean of the integrations, and the sum of those pixels that are good in all of them against time."""
    sci, count = hdus["SCI"], hdus["SCI"].shape[0]
    total, seen = np.zeros(sci.shape[1:]), np.zeros(sci.shape[1:], np.int32)
    good = np.ones(sci.shape[1:], bool)
    for number in range(count):
        plane = _plane(sci, number)
        has_value = np.isfinite(plane)
        good &= has_value & _usable(hdus, number)
        total += np.where(has_value, plane, 0)
        seen += has_value
    mean = np.divide(total, seen, out=np.full(total.shape, np.nan), where=seen > 0).astype(np.float32)
    sums = np.array([np.sum(_plane(sci, number), where=good, dtype=np.float64) for number in range(count)])
    return mean, _light_curve(hdus, sums, f"sum of the {np.count_nonzero(good)} pixels that are good in all integrations")


def _usable(hdus, number):
    if "DQ" not in hdus:
        return True
    dq = hdus["DQ"]
    return (_plane(dq, number) if len(dq.shape) == 3 else fitsio.native(dq.data)) & DO_NOT_USE == 0


def _light_curve(hdus, sums, caption):
    middle, scatter = _sky(sums)
    times, label = _times(hdus, len(sums))
    relative = middle > 3 * scatter  # else it is noise about nothing
    return Curves(
        [times], [sums / middle if relative else sums], label, "relative flux" if relative else f"sum ({_unit(hdus)})", caption, points=True
    )


def _times(hdus, count):
    """Mid-times of the integrations as minutes since the first, else their numbers."""
    if "INT_TIMES" in hdus and len(hdus["INT_TIMES"].data) == count:
        table = hdus["INT_TIMES"].data
        for column in ("int_mid_BJD_TDB", "int_mid_MJD_UTC"):
            if column in table.names and np.ptp(table[column]) > 0:
                return fitsio.native((table[column] - table[column][0]) * 1440), "minutes since the first integration"
    return np.arange(1, count + 1, dtype=float), "integration"


def white_light(path):
    """The table of a white-light curve: flux of each order against time."""
    from astropy.table import Table

    try:
        table = Table.read(path, format="ascii.ecsv")
    except (OSError, ValueError) as error:
        raise InputError(f"the table can't be read ({error})", path, "Make the product again") from None
    fluxes = [name for name in table.colnames if name.startswith("whitelight_flux")]
    times = next((name for name in ("BJD_TDB", "MJD_UTC", "MJD") if name in table.colnames), None)
    if not fluxes or times is None or len(table) == 0:
        raise InputError("it has no columns of time and whitelight_flux", path, "Make the product again")
    minutes = (np.asarray(table[times], float) - float(table[times][0])) * 1440
    curves = [np.asarray(table[name], float) / np.nanmedian(table[name]) for name in fluxes]
    return [Curves([minutes] * len(curves), curves, "minutes since the first integration", "relative flux", ", ".join(fluxes), points=True)]


# --- spectra ---


def spectra(hdus):
    """Extracted spectra: flux against wavelength."""
    found = _spectra(hdus)
    x, y, unit = zip(*found[:MOST_CURVES], strict=True) if found else ((), (), ("",))
    caption = f"{len(found)} spectra" if len(found) > 1 else "1 spectrum"
    if len(found) > MOST_CURVES:
        caption += f", the first {MOST_CURVES} are drawn"
    return [Curves(list(x), list(y), "wavelength (um)", unit[0], caption)] if found else []


def spectral_series(hdus):
    """Spectra of a time series: their median, and each of them divided by it, one row an integration."""
    found = _spectra(hdus)
    lengths = [len(x) for x, _, _ in found]
    if not found or len(set(lengths)) > 1:
        return spectra(hdus)
    x, unit = found[0][0], found[0][2]
    flux = np.array([y for _, y, _ in found])
    median = _quietly(np.nanmedian, flux)
    curve = Curves([x], [median], "wavelength (um)", unit, f"median of {len(found)} integrations")
    with np.errstate(all="ignore"):
        relative = flux / median
    good = relative[np.isfinite(relative)]
    if good.size == 0:
        return [curve]
    _, scatter = _sky(good)
    caption = f"{len(found)} integrations (upwards) of {len(x)} wavelengths, divided by their median"
    return [curve, Image(relative.astype(np.float32), 1 - 4 * scatter, 1 + 4 * scatter, "relative flux", caption)]


def _spectra(hdus):
    """(wavelength, flux, label) of all spectra: a table each, or a row each of tables with a vector in every cell."""
    found = []
    for hdu in hdus[1:]:
        if hdu.name not in ("EXTRACT1D", "COMBINE1D") or hdu.data is None or len(hdu.data) == 0:
            continue
        table = hdu.data
        names = {name.upper(): name for name in table.names}
        wavelength = np.atleast_1d(fitsio.native(table[names["WAVELENGTH"]]))
        flux, column = fitsio.native(table[names["FLUX"]]), names["FLUX"]
        if not np.any(np.isfinite(flux) & (flux != 0)) and "SURF_BRIGHT" in names:
            flux, column = fitsio.native(table[names["SURF_BRIGHT"]]), names["SURF_BRIGHT"]
        label = f"{column.lower().replace('surf_bright', 'surface brightness')} ({hdu.columns[column].unit or ''})".replace(" ()", "")
        found += [(x, y, label) for x, y in zip(np.atleast_2d(wavelength), np.atleast_2d(flux), strict=True)]
    return found


DRAWINGS = {
    "ramp": ramp,
    **dict.fromkeys(("rate", "i2d", "s2d", "bsub", "psfsub"), image),
    **dict.fromkeys(("rateints", "cal", "calints", "crf", "crfints"), integrations),
    "s3d": cube,
    **dict.fromkeys(("x1d", "c1d"), spectra),
    "x1dints": spectral_series,
}
