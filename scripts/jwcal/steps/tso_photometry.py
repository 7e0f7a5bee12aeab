"""The light curve of the target of an imaging time series."""

import logging
from typing import Annotated, Literal

import numpy as np

from ..arithmetic.photometry import series
from ..kernels.photometry.aperture_sums import aperture_sums
from ..vocabulary import dq as bits
from ..vocabulary.errors import InputError, ReferenceError
from ..vocabulary.parameters import Range

log = logging.getLogger(__name__)

TAKES = "members"
NEEDS = ("err",)
OPTIONAL = ("gain",)

FILLED = ("WLP8", "SUB64P")  # PUPIL and SUBARRAY: the defocused star is larger than the image
FIT = ("centroid_x", "centroid_y", "psf_width_x", "psf_width_y", "psf_flux")
UNITLESS = ("annulus_sum", "annulus_sum_err", "annulus_mean", "annulus_mean_err", "aperture_bkg", "aperture_bkg_err")


def apply(
    members,
    refs,
    *,
    save_catalog: bool = False,
    radius: Annotated[float, Range(min=0)] = 3.0,
    radius_inner: Annotated[float, Range(min=0)] = 4.0,
    radius_outer: Annotated[float, Range(min=0)] = 5.0,
    centroid_source: bool = True,
    search_box_width: Annotated[int, Range(min=1)] = 41,
    fit_box_width: Annotated[int, Range(min=3)] = 11,
    moving_centroid: bool = False,
    bad_pixels: Literal["replace", "omit"] = "replace",
):
    """Aperture photometry of each integration, one segment after the other, in one table in the order of time.

    The aperture is about (XREF_SCI, YREF_SCI), or about the star where that is found: by the centre of mass in a large box, then in a
    small one about the median of those. The background is the mean of a ring. Surface brightness becomes Jy, DN/s electrons.

    Parameters
    ----------
    members : exposure.Members
        Integrations, (int, row, col), with INT_TIMES and a gWCS.
    refs : References
        gain: SCI, electrons/DN; needed for data in DN/s.
    save_catalog : bool
        Also make a table of each exposure.
    radius, radius_inner, radius_outer : float
        Of the aperture and of the ring, pixels.
    centroid_source : bool
        Look for the star.
    search_box_width, fit_box_width : int
        Sides of the two boxes, pixels; an even one is taken one smaller.
    moving_centroid : bool
        One place for each integration, not one for all. Where it is not found: their median.
    bad_pixels : {"replace", "omit"}
        A pixel without a value is replaced by what the other integrations have there, scaled to the star's brightness, and so is a
        value in the ring that is far from them; or it is missing from the sum, and from the area.

    Returns
    -------
    list of Exposure
        The first one's `catalogue` is the table of all; with `save_catalog` one for each exposure follows. Suffix "phot".

    Raises
    ------
    InputError
        A keyword, INT_TIMES, or the gWCS is missing; segments have different units.
    ReferenceError
        The data are in DN/s and there is no gain.
    """
    if not members.of("science"):
        raise InputError("the association has no science members", members.table or members.name, "Correct its list of members")
    radii = radius, radius_inner, radius_outer
    boxes = _odd("search_box_width", search_box_width), _odd("fit_box_width", fit_box_width)
    results = []
    for exposure in members.each():
        result = exposure.aside("phot")
        result.catalogue = _light_curve(exposure, refs, radii, boxes if centroid_source else None, moving_centroid, bad_pixels)
        results.append(result)
    whole = results[0].derive([], "phot")
    whole.catalogue = _together(results)
    log.info("%d integrations of %d exposures", len(whole.catalogue), len(results))
    return [whole, *results] if save_catalog else [whole]


def _odd(name, width):
    if width % 2 == 0:
        log.warning("%s is even: %d is taken", name, width - 1)
        return width - 1
    return width


def _light_curve(exposure, refs, radii, boxes, moving, bad_pixels):
    """The table of one exposure: astropy.table.QTable."""
    if exposure.sci.ndim != 3:
        raise InputError(f"the data have {exposure.sci.ndim} dimensions, integrations were expected", exposure.name, "Give calints files")
    if exposure.err is None:
        raise InputError("it has no ERR", exposure.name, "Give calints files")
    if exposure.wcs is None:
        raise InputError("there is no gWCS in it", exposure.name, "Run assign_wcs")
    times = _times(exposure)
    x, y = exposure.header["XREF_SCI"] - 1, exposure.header["YREF_SCI"] - 1
    unit, factor = _conversion(exposure, refs)
    cube, error = exposure.sci.astype(np.float32), exposure.err.astype(np.float32)
    if factor is not None:
        cube *= factor
        error *= factor
    bad = ~np.isfinite(cube) | ~np.isfinite(error)
    if exposure.dq is not None:
        bad |= (exposure.dq & bits.DO_NOT_USE) != 0
    np.copyto(cube, np.nan, where=bad)
    np.copyto(error, np.nan, where=bad)
    filled = (exposure.header.get("PUPIL"), exposure.header.get("SUBARRAY")) == FILLED
    if bad_pixels == "replace":
        bad |= _replace(cube, error, x, y, radii, boxes, filled)
    fit = _find(cube, x, y, boxes, radii[1]) if boxes else {}
    place_x, place_y = _aperture_place(fit, x, y, moving, len(cube))
    columns = series.whole_image_flux(cube, error) if filled else series.aperture_flux(cube, error, place_x, place_y, *radii)
    counts = _count(bad, place_x, place_y, radii, filled)
    about = {name: exposure.header.get(keyword) for name, keyword in series.ABOUT.items()}
    about["apertures"] = _words(radii, filled)
    where = {"aperture_x": place_x, "aperture_y": place_y}
    where["aperture_ra_icrs"], where["aperture_dec_icrs"] = exposure.wcs(place_x, place_y, with_bounding_box=False)
    return _table(times | columns | where | fit | counts, unit, about, filled)


def _conversion(exposure, refs):
    """The table's unit, and what the data are to be multiplied by."""
    unit = exposure.header["BUNIT"].strip()
    if unit == "MJy/sr":
        return "Jy", np.float32(1e6 * exposure.header["PIXAR_SR"])
    if unit == "DN/s":
        gain = refs.get("gain")
        if gain is None:
            raise ReferenceError(
                "the data are in DN/s and there is no gain reference", exposure.name, "Give one under references: overrides"
            )
        return "electron", (exposure.header["EFFINTTM"] * gain.array("SCI")).astype(np.float32)
    log.warning("%s is in %s: so is its photometry", exposure.name, unit)
    return unit, None


def _times(exposure):
    """The integrations' middles."""
    table = exposure.tables.get("INT_TIMES")
    if table is None or len(table) == 0:
        raise InputError("it has no INT_TIMES table, or an empty one", exposure.name, "Take the file from the archive again")
    first = int(exposure.header.get("INTSTART", 1)) - int(table["integration_number"][0])
    rows = table[max(first, 0) : first + len(exposure.sci)]
    if first < 0 or len(rows) != len(exposure.sci):
        wrong = f"INT_TIMES has not the times of the {len(exposure.sci)} integrations from number {exposure.header.get('INTSTART', 1)}"
        raise InputError(wrong, exposure.name, "Take the file from the archive again")
    return {"MJD": np.asarray(rows["int_mid_MJD_UTC"], float), "BJD_TDB": np.asarray(rows["int_mid_BJD_TDB"], float)}


def _replace(cube, error, x, y, radii, boxes, filled):
    """Replace bad pixels of the whole series wherever the star may be; where it is everywhere, only those without a value."""
    reach = int(np.ceil(max(radii) + (boxes[0] // 2 if boxes else 0))) + 1
    nrow, ncol = cube.shape[1:]
    row, col = (min(max(round(place), 0), size - 1) for place, size in ((y, nrow), (x, ncol)))
    box = np.s_[:, max(0, row - reach) : row + reach + 1, max(0, col - reach) : col + reach + 1] if not filled else np.s_[:, :, :]
    level = series.background_level(cube, x, y, radii[1])
    near = _find(cube, x, y, (boxes[0],) * 2, radii[1], width=False) if boxes else {}
    place = [np.nanmedian(near[c]) if near and np.isfinite(near[c]).any() else p for c, p in (("centroid_x", x), ("centroid_y", y))]
    rows, columns = np.indices((nrow, ncol))
    ring = (np.hypot(columns - place[0], rows - place[1]) > (radii[0] + radii[1]) / 2) & (not filled)
    replaced = np.zeros(cube.shape, bool)
    replaced[box] = series.replace_bad(cube[box], error[box], level, ring[box[1:]])
    if replaced.any():
        log.info("%d pixels about the star were replaced", replaced.sum())
    return replaced


def _find(cube, x, y, boxes, radius, width=True):
    """Columns of the star's place and width."""
    found = series.centroids(cube, series.background_level(cube, x, y, radius), x, y, boxes[0])
    if not (np.isfinite(found[0]) & np.isfinite(found[1])).any():
        log.warning("The star was not found: the aperture is where it was planned")
        return dict(zip(FIT, found, strict=False))
    x, y = np.nanmedian(found[0]), np.nanmedian(found[1])
    background = series.background_level(cube, x, y, radius)
    found = series.centroids(cube, background, x, y, boxes[1])
    if not width:
        return dict(zip(FIT, found, strict=False))
    return dict(zip(FIT, (*found, *series.widths(cube, background, *found, boxes[1])), strict=True))


def _aperture_place(fit, x, y, moving, count):
    """The apertures' middles: x and y, (int,)."""
    found = fit.get("centroid_x"), fit.get("centroid_y")
    if found[0] is None or not (np.isfinite(found[0]) & np.isfinite(found[1])).any():
        return np.full(count, float(x)), np.full(count, float(y))
    middle = [np.nanmedian(place) for place in found]
    log.info("The star is at x = %.2f, y = %.2f", *middle)
    if not moving:
        return np.full(count, middle[0]), np.full(count, middle[1])
    return tuple(np.where(np.isfinite(place), place, m) for place, m in zip(found, middle, strict=True))


def _count(bad, x, y, radii, filled):
    """How many pixels of each aperture and ring had no value, or one that was replaced."""
    if filled:
        return {"aperture_bad_pixels": bad.sum(axis=(1, 2)), "annulus_bad_pixels": np.zeros(len(bad), int)}
    holes = np.where(bad, np.float32(np.nan), np.float32(0))
    numbers = np.arange(len(bad))
    counts = [aperture_sums(holes, holes, numbers, x, y, *rims)[3].astype(int) for rims in (radii[:1], radii[:0:-1])]
    return {"aperture_bad_pixels": counts[0], "annulus_bad_pixels": counts[1]}


def _words(radii, filled):
    if filled:
        return "All pixels of the image are summed; no background is subtracted."
    return "Circle with radius {} pixels; background: mean of a ring from {} to {} pixels.".format(*radii)


def _table(columns, unit, about, filled):
    from astropy.table import QTable
    from astropy.units import Quantity, Unit

    units = dict.fromkeys(("aperture_x", "aperture_y", *FIT[:4]), "pix")
    units |= dict.fromkeys(("aperture_ra_icrs", "aperture_dec_icrs"), "deg")
    plain = ("MJD", "BJD_TDB", "aperture_bad_pixels", "annulus_bad_pixels", *(UNITLESS if filled else ()))
    table = QTable(meta=about)
    for name, values in columns.items():
        table[name] = values if name in plain else Quantity(values, Unit(units.get(name, unit)))
    return table


def _together(results):
    """One table of all, in the order of time."""
    from astropy.table import vstack

    tables = [result.catalogue for result in results]
    for result in results[1:]:
        mine, first = (t["net_aperture_sum"].unit for t in (result.catalogue, tables[0]))
        if mine != first:
            raise InputError(f"its flux is in {mine}, that of the first segment in {first}", result.name, "Calibrate all of them alike")
    whole = vstack(tables, metadata_conflicts="silent") if len(tables) > 1 else tables[0].copy()
    whole.meta = {**tables[0].meta, "number_of_integrations": len(whole)}
    return whole[np.argsort(whole["MJD"], kind="stable")]
