"""Images of a product, and what is drawn over them."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from ...files import fitsio
from ...vocabulary.errors import InputError
from .series import SERIES, mean_and_curve
from .shapes import Curves, Image, Marks
from .values import plane, quietly, sky, unit_of

MOST_SOURCES = 400  # circles on a mosaic
MOST_SLITS = 4  # of a product of many
TRACE = 30  # points of one
ALONG_COLUMNS = 2  # DISPAXIS


def image(hdus, path=None):
    """The one image of a product."""
    sci = hdus["SCI"]
    return [image_of(plane(sci, 0) if len(sci.shape) > 2 else fitsio.native(sci.data), hdus)]


def integrations(hdus, path=None):
    """Integrations one by one: their mean, and from five on their light curve. A product of one image is that image."""
    slits = [hdu for hdu in hdus if hdu.name == "SCI"]
    if len(slits) > 1:
        return _cut_outs(slits[:MOST_SLITS], hdus, path)
    sci = hdus["SCI"]
    if len(sci.shape) == 2 or sci.shape[0] == 1:
        return image(hdus)
    mean, curve = mean_and_curve(hdus)
    what = f"mean of {sci.shape[0]} integrations; "
    return [image_of(mean, hdus, what), curve if sci.shape[0] >= SERIES else None]


def _cut_outs(slits, hdus, path):
    """Slits, or the mean of their integrations; those of a grism's field with the trace of their source."""
    found = []
    for slit in slits:
        values = fitsio.native(slit.data)
        several = values.ndim > 2
        what = f"mean of {len(values)} integrations; " if several else ""
        found.append(image_of(quietly(np.nanmean, values) if several else values, hdus, what, sci=slit))
    if path is None or not all(key in slits[0].header for key in ("SPORDER", "SRCXPOS", "SRCYPOS", "SRCRA", "DISPAXIS")):
        return found
    return [
        picture and _with_trace(picture, slit, wcs, hdus) for picture, slit, wcs in zip(found, slits, _wcs_of(hdus, path), strict=False)
    ]


def _wcs_of(hdus, path):
    """The gWCS of each slit, None where the file does not have it."""
    return fitsio.asdf_tree(hdus, path, lambda tree: [slit.get("meta", {}).get("wcs") for slit in tree.get("slits", [])])


def _with_trace(picture, slit, wcs, hdus):
    """The trace over a cut-out: where the light of its wavelengths falls."""
    from ...arithmetic.grism.dispersion import dispersion_of

    header, wavelength = slit.header, hdus["WAVELENGTH", slit.ver].data
    try:
        dispersion = dispersion_of(wcs, header["DISPAXIS"] == ALONG_COLUMNS)
    except (InputError, AttributeError):  # no grism's, or none at all
        return picture
    limits = quietly(np.nanmin, wavelength, axis=None), quietly(np.nanmax, wavelength, axis=None)
    along = np.linspace(*limits, TRACE)
    x, y = dispersion.disperse(header["SPORDER"], along, header["SRCXPOS"], header["SRCYPOS"])
    mark = Marks("trace", x - header["SLTSTRT1"] + 1, y - header["SLTSTRT2"] + 1)
    about = f"order {header['SPORDER']}, {limits[0]:.2f} to {limits[1]:.2f} micron; line: trace"
    return replace(picture, marks=(mark,), caption=f"{picture.caption}; {about}")


def cube(hdus, path=None):
    """An IFU cube: the median along the wavelength, and the sum of the pixels along it."""
    sci = fitsio.native(hdus["SCI"].data)
    header = hdus["SCI"].header
    with np.errstate(all="ignore"):
        bright, spectrum = quietly(np.nanmedian, sci), np.nansum(sci, axis=(1, 2), dtype=np.float64)
    table = hdus["WCS-TABLE"].data if "WCS-TABLE" in hdus else None
    if table is not None and np.size(table[table.names[-1]]) == len(sci):
        wavelength = np.ravel(fitsio.native(table[table.names[-1]]))
    else:
        wavelength = header.get("CRVAL3", 1) + (np.arange(len(sci)) + 1 - header.get("CRPIX3", 1)) * header.get("CDELT3", 1)
    curve = Curves([wavelength], [spectrum], f"wavelength ({header.get('CUNIT3', 'um')})", f"sum ({unit_of(hdus)})", "sum of all spaxels")
    return [image_of(bright, hdus, f"median of {len(sci)} wavelengths; "), curve]


def ramp(hdus, path=None):
    """How the median pixel of the first integration fills up, group by group."""
    groups = hdus["SCI"].section[0]
    medians = np.array([quietly(np.nanmedian, group, axis=None) for group in groups])
    seconds = hdus[0].header.get("TGROUP", 1) * np.arange(1, len(groups) + 1)
    return [
        Curves(
            [seconds],
            [medians],
            "time since the reset (s)",
            f"median ({unit_of(hdus)})",
            "first integration, median of all pixels",
            points=True,
        )
    ]


def mosaic(hdus, path):
    """A mosaic, with circles around the sources of the catalogue beside it."""
    from ...products import catalogues

    found = image(hdus)
    beside = Path(str(path).replace("_i2d.fits", "_cat.ecsv"))
    if found[0] is None or not beside.exists() or beside == path:
        return found
    try:
        sources = catalogues.read(beside)
        x, y = (np.asarray(getattr(sources[name], "value", sources[name]), float) for name in ("xcentroid", "ycentroid"))
    except (InputError, KeyError):
        return found  # the page says it where the catalogue itself is listed
    drawn = replace(found[0], marks=(Marks("source", x[:MOST_SOURCES], y[:MOST_SOURCES]),), caption=f"{found[0].caption}, {len(x)} sources")
    return [drawn]


def rectified(hdus, path):
    """A rectified spectrum with its aperture and the regions of its background; of several slits the first ones."""
    slits = [hdu for hdu in hdus if hdu.name == "SCI"][:MOST_SLITS]
    return [_with_aperture(image_of(fitsio.native(sci.data), hdus, sci=sci), _spectrum_of(path, "x1d", sci)) for sci in slits]


def series_of_images(hdus, path):
    """Integrations of a series; of spectra with the aperture."""
    if sum(hdu.name == "SCI" for hdu in hdus) > 1:
        slits = [hdu for hdu in hdus if hdu.name == "SCI"][:MOST_SLITS]
        return [
            _with_aperture(picture, _spectrum_of(path, "x1dints", slit)) for picture, slit in zip(integrations(hdus), slits, strict=True)
        ]
    first, *curve = integrations(hdus)
    return [_with_aperture(first, _spectrum_of(path, "x1dints", hdus["SCI"])), *curve]


def _spectrum_of(path, suffix, sci):
    """The header of the spectrum that was extracted from a slit; None where there is none."""
    beside = Path(path).with_name(f"{Path(path).name.split('.')[0].rpartition('_')[0]}_{suffix}.fits")
    if not beside.exists():
        return None
    try:
        with fitsio.open_fits(beside) as hdus:
            headers = [hdu.header.copy() for hdu in hdus if hdu.name == "EXTRACT1D"]
    except InputError:
        return None
    name = sci.header.get("SLTNAME")
    return next((header for header in headers if name is None or header.get("SLTNAME") == name), None)


def _with_aperture(picture, header):
    """Lines at the edges of the aperture, and of the regions of the background."""
    if picture is None or header is None:
        return picture
    vertical = header.get("DISPAXIS") == 2
    across = "X" if vertical else "Y"
    places = [("aperture", f"EXTR{across}STR", f"EXTR{across}STP"), *(("background", f"BKG{n}STR", f"BKG{n}STP") for n in (1, 2, 3, 4))]
    marks = []
    for kind, first, last in places:
        if header.get(first) is None or header.get(last) is None:
            continue
        for edge in (header[first] - 1.5, header[last] - 0.5):  # the edges of pixels that are counted from 1
            line, free = np.full(2, float(edge)), np.full(2, np.nan)
            marks.append(Marks(kind, *((line, free) if vertical else (free, line))))
    return replace(picture, marks=tuple(marks), caption=f"{picture.caption}; lines: aperture" + ", dashed: background" * (len(marks) > 2))


def image_of(values, hdus, what="", sci=None):
    """An image and its colour scale: from just below the sky to the brightest pixels."""
    ny, nx = values.shape
    good = values[np.isfinite(values)]
    if good.size == 0:
        return None
    level, noise = sky(good)
    high = max(np.percentile(good, 99.8), level + 20 * noise)
    name = f"{sci.header['SLTNAME']}: " if sci is not None and "SLTNAME" in sci.header else ""
    return Image(values, float(level - 2 * noise), float(high), unit_of(hdus), f"{name}{what}{nx} x {ny} pixels")
