"""The table of a mosaic's sources, with the columns that the archive's catalogues have."""

import numpy as np

JANSKY_AB = 8.9  # AB magnitude of 1 Jy, rounded as in the archive's catalogues
CORNERS = {"ll": ("left", "low"), "ul": ("left", "high"), "lr": ("right", "low"), "ur": ("right", "high")}
PIXELS = {"semimajor_sigma": "pix", "semiminor_sigma": "pix", "isophotal_area": "pix2", "nn_dist": "pix"}
UNITS = {**PIXELS, "orientation": "deg", "sky_orientation": "deg", "ellipticity": ""}
WORDS = {
    "label": "Number of the source in the segmentation map",
    "xcentroid": "Column of the centroid, from 0",
    "ycentroid": "Row of the centroid, from 0",
    "sky_centroid": "Centroid on the sky, ICRS",
    "aper_bkg_flux": "Background of one pixel: clipped median of a ring",
    "aper_bkg_flux_err": "Standard error of that median",
    "is_extended": "Whether the source is larger than a star",
    "sharpness": "Sharpness, DAOFIND's",
    "roundness": "Roundness, DAOFIND's",
    "nn_label": "Label of the nearest neighbour; -1 without one",
    "nn_dist": "Distance of the nearest neighbour, pixels",
    "isophotal_area": "Area of the segment",
    "semimajor_sigma": "Standard deviation of the light along the long axis",
    "semiminor_sigma": "Standard deviation of the light along the short axis",
    "ellipticity": "1 - semiminor_sigma / semimajor_sigma",
    "orientation": "Angle from the x axis to the long axis, towards y",
    "sky_orientation": "Position angle of the long axis, from north",
    "sky_bbox_ll": "Lower left corner of the segment's box on the sky",
    "sky_bbox_ul": "Upper left corner of the segment's box on the sky",
    "sky_bbox_lr": "Lower right corner of the segment's box on the sky",
    "sky_bbox_ur": "Upper right corner of the segment's box on the sky",
}
KINDS = {"flux": "Flux", "abmag": "AB magnitude", "vegamag": "Vega magnitude"}


def magnitudes(flux, error):
    """AB magnitudes of fluxes in Jy, and their errors; NaN for negative fluxes."""
    with np.errstate(divide="ignore", invalid="ignore"):
        magnitude = np.where(flux < 0, np.nan, -2.5 * np.log10(flux) + JANSKY_AB)
        return magnitude, np.where(flux < 0, np.nan, 2.5 * np.log10(1 + error / flux))


def catalogue(found, measured, percent, correction, vega, limits, wcs, reference, meta):
    """All columns, in order.

    Parameters
    ----------
    found : sources.Sources
        Flux in Jy.
    measured : dict
        aper_bkg_flux, aper{percent}_flux and their errors [Jy], sharpness, roundness; each (n,).
    percent : (int, int, int)
        Of the apertures.
    correction : float
        From the widest aperture to the total.
    vega : float
        AB minus Vega magnitude.
    limits : (float, float)
        Concentration indices above which a source is extended.
    wcs : gwcs.WCS
    reference : (float, float)
        Pixel, from 0, at which north is found.
    meta : dict

    Returns
    -------
    astropy.table.QTable
    """
    wide = f"aper{percent[-1]}_flux"
    fluxes = {"aper_bkg_flux": measured["aper_bkg_flux"], "aper_bkg_flux_err": measured["aper_bkg_flux_err"]}
    fluxes |= {f"aper{ee}_flux{err}": measured[f"aper{ee}_flux{err}"] for ee in percent for err in ("", "_err")}
    fluxes |= {"aper_total_flux": correction * measured[wide], "aper_total_flux_err": correction * measured[f"{wide}_err"]}
    names = [*(f"aper{ee}" for ee in percent), "aper_total"]
    columns = {"label": found.label, "xcentroid": found.x, "ycentroid": found.y, "sky_centroid": _sky(wcs, found.x, found.y)}
    columns |= fluxes | _magnitude_columns(fluxes, names, vega)
    columns |= _concentration([measured[f"aper{ee}_flux"] for ee in percent], percent, limits)
    columns |= {name: measured[name] for name in ("sharpness", "roundness")} | neighbours(found)
    isophotal = {"isophotal_flux": found.flux, "isophotal_flux_err": found.flux_err}
    columns |= isophotal | _magnitude_columns(isophotal, ["isophotal"], vega, together=True)
    columns |= {"isophotal_area": found.area, "semimajor_sigma": found.semimajor, "semiminor_sigma": found.semiminor}
    columns |= {"ellipticity": found.ellipticity, "orientation": found.orientation}
    columns["sky_orientation"] = (180 - _north(wcs, reference) + found.orientation) % 360
    columns |= {f"sky_bbox_{name}": _sky(wcs, getattr(found, x), getattr(found, y)) for name, (x, y) in CORNERS.items()}
    return _table(columns, meta)


def _magnitude_columns(fluxes, names, vega, together=False):
    found = {name: magnitudes(fluxes[f"{name}_flux"], fluxes[f"{name}_flux_err"]) for name in names}
    columns = {}
    for kind, offset in (("abmag", 0.0), ("vegamag", vega)):
        for name, (magnitude, error) in found.items():
            columns |= {f"{name}_{kind}": magnitude - offset, f"{name}_{kind}_err": error}
    return columns


def _concentration(fluxes, percent, limits):
    """Ratios of the apertures' fluxes, and what they say about the size."""
    columns = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        for small, large in ((0, 1), (1, 2), (0, 2)):
            columns[f"CI_{percent[large]}_{percent[small]}"] = fluxes[large] / fluxes[small]
    first, second, _ = columns.values()
    return columns | {"is_extended": (first > limits[0]) & (second > limits[1])}


def neighbours(found):
    """The nearest other source of each, and how far it is, pixels; -1 and NaN without one."""
    from scipy.spatial import KDTree

    label, away = np.full(len(found), -1, np.int32), np.full(len(found), np.nan)
    placed = np.isfinite(found.x) & np.isfinite(found.y)
    if placed.sum() > 1:
        place = np.transpose([found.x, found.y])[placed]
        distance, which = KDTree(place).query(place, k=[2])
        label[placed], away[placed] = found.label[placed][which[:, 0]], distance[:, 0]
    return {"nn_label": label, "nn_dist": away}


def _sky(wcs, x, y):
    from astropy.coordinates import SkyCoord

    ra, dec = wcs(x, y, with_bounding_box=False) if len(x) else (x, y)
    return SkyCoord(ra, dec, unit="deg", frame="icrs")


def _north(wcs, reference):
    """Direction of north from the x axis towards y, degrees."""
    ra, dec = wcs(*reference, with_bounding_box=False)
    x, y = wcs.invert(ra, dec + 1 / 3600, with_bounding_box=False)
    return np.degrees(np.arctan2(y - reference[1], x - reference[0]))


def _table(columns, meta):
    from astropy.table import QTable
    from astropy.units import Quantity, Unit

    table = QTable(meta=meta)
    for name, values in columns.items():
        unit = "Jy" if "flux" in name else UNITS.get(name)
        table[name] = values if unit is None else Quantity(values, Unit(unit))
        table[name].info.description = _words(name)
        form = _format(name)
        if form:
            table[name].info.format = form
    return table


def _words(name):
    if name in WORDS:
        return WORDS[name]
    if name.startswith("CI_"):
        large, small = name.split("_")[1:]
        return f"Concentration: aper{large}_flux / aper{small}_flux"
    where, kind = name.removesuffix("_err").rsplit("_", 1)
    what = f"Error of the {KINDS[kind].replace('Flux', 'flux')}" if name.endswith("_err") else KINDS[kind]
    if where == "isophotal":
        return f"{what} of the segment"
    if where == "aper_total":
        return f"{what} of all the light, if the source is a star: the widest aperture times its correction"
    return f"{what} in the circle with {where.removeprefix('aper')} % of a star's light"


def _format(name):
    if name in ("xcentroid", "ycentroid") or name.startswith("CI_"):
        return ".4f"
    if "flux" in name:
        return ".6e"
    if "mag" in name or name in ("nn_dist", "sharpness", "roundness", "orientation", "sky_orientation", "ellipticity"):
        return ".6f"
    return ".6f" if name.startswith("semi") else None
