"""How faint a planet could be seen beside the star, by distance.

The noise at a distance is the scatter of the flux in apertures of one FWHM all around the star, in all rolls together. Near the star there
are few of them: Student's distribution takes the place of the normal one (Mawet et al. 2014, ApJ 792, 97, equations 9 and 10). What the
mask and the subtraction take of a planet is found by putting planets in: the subtraction is linear in a planet, so that what is left of
it does not depend on the image.
"""

import logging
import re
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, stdtrit

from ...kernels.photometry.aperture_sums import aperture_sums
from ...vocabulary.errors import InputError

log = logging.getLogger(__name__)

SIGMAS = 5.0
MIRROR = 6.5  # m
AIRY = 1.03  # FWHM of an Airy pattern, wavelengths over the diameter
WIDE = 3  # FWHM: where a planet's image ends
TRIED = 12  # planets that are put in at a distance, at most
FEWEST = 3  # apertures that give a scatter
FWHM = np.sqrt(8 * np.log(2))


@dataclass(frozen=True)
class View:
    """One exposure after the subtraction.

    Attributes
    ----------
    image : (row, col) float32, the mean of its integrations, NaN where bad
    count : number of these
    star : x, y, pixels from 0
    directions : pixels for an arcsecond to the east and to the north, (2, 2)
    subtraction : subtraction.Subtraction
    """

    image: np.ndarray
    count: int
    star: tuple
    directions: np.ndarray
    subtraction: object


def width(header, scale):
    """FWHM [pixels] of a point source by the FILTER's name, which has its wavelength in units of 10 nm.

    Parameters
    ----------
    header : exposure.Header
    scale : float
        arcsec a pixel.

    Raises
    ------
    InputError
        The name has no wavelength in it.
    """
    found = resolution(header, scale)
    if found is None:
        raise InputError(f"FILTER {header['FILTER']} tells no wavelength", header.name, "Give fwhm of klip, in pixels")
    return AIRY * found


def resolution(header, scale):
    """Wavelength over the telescope's diameter [pixels], by the FILTER's name; None where it has no wavelength in it.

    Parameters
    ----------
    header : exposure.Header
    scale : float
        arcsec a pixel.
    """
    found = re.fullmatch(r"F(\d{3,4})[A-Z]\d?", header["FILTER"].strip())
    return float(found[1]) * 1e-8 / MIRROR * 206264.806 / scale if found else None


def curve(views, header, transmission=None, fwhm=None, star_flux=None):
    """The contrast curve.

    Parameters
    ----------
    views : list of View
    header : exposure.Header
        Of the first exposure: FILTER, BUNIT, PIXAR_SR.
    transmission : (row, col), optional
        Of the mask.
    fwhm : float, optional
        Of a planet's image, pixels.
    star_flux : float, optional
        Jy.

    Returns
    -------
    astropy.table.QTable
        separation (arcsec), separation_pixels, apertures (their number), noise (1 sigma of the flux in one; of a planet that is there too),
        threshold (what stands for 5 sigma of the normal distribution, in units of noise), mask_throughput, klip_throughput (what these
        leave of a planet), encircled (part of a planet's light in an aperture), flux_limit (of a planet at the threshold, all of its
        light, as if there were no mask) and, with `star_flux`, contrast. NaN where a distance has too few apertures.
    """
    from astropy.table import QTable
    from astropy.units import Quantity

    if not views:
        raise InputError("no integration has a good pixel", header.name, "Look at its data quality")
    scale = 1 / np.mean([np.sqrt(abs(np.linalg.det(view.directions))) for view in views])
    fwhm = fwhm or width(header, scale)
    unit, factor = _conversion(header)
    away = _distances(views, fwhm)
    rows = [_at(radius, views, fwhm, scale, transmission) for radius in away]
    columns = {name: np.array([row[name] for row in rows]) for name in (rows[0] if rows else _NAMES)}
    noise = columns["noise"] * factor
    with np.errstate(divide="ignore", invalid="ignore"):
        share = columns["mask_throughput"] * columns["klip_throughput"] * columns["encircled"]
        limit = columns["threshold"] * noise / np.where(share > 0, share, np.nan)
    table = QTable()
    table["separation"] = Quantity(away * scale, "arcsec")
    table["separation_pixels"] = Quantity(away, "pix")
    table["apertures"] = columns["apertures"].astype(int)
    table["noise"] = Quantity(noise, unit)
    for name in ("threshold", "mask_throughput", "klip_throughput", "encircled"):
        table[name] = columns[name]
    table["flux_limit"] = Quantity(limit, unit)
    if star_flux:
        table["contrast"] = limit / star_flux
    table.meta = {"fwhm": float(fwhm), "sigmas": SIGMAS, "exposures": len(views), "integrations": sum(view.count for view in views)}
    table.meta["star_flux"] = star_flux
    for keyword in ("INSTRUME", "DETECTOR", "FILTER", "PUPIL", "CORONMSK", "SUBARRAY", "TARGNAME"):
        table.meta[keyword.lower()] = header.get(keyword)
    return table


_NAMES = ("apertures", "noise", "threshold", "mask_throughput", "klip_throughput", "encircled")


def _conversion(header):
    """The table's unit of flux, and what a sum over pixels is to be multiplied by."""
    unit, area = str(header.get("BUNIT", "")).strip(), header.get("PIXAR_SR")
    if unit == "MJy/sr" and area:
        return "Jy", 1e6 * area
    log.warning("%s is in %r and has no pixel area: so are the limits of its contrast curve", header.name, unit)
    return "", 1.0


def _distances(views, fwhm):
    """Distances from the star [pixels], one FWHM apart, up to where no circle about it is in all images any more."""
    rooms = []
    for view in views:
        rows, columns = view.image.shape
        x, y = view.star
        rooms.append(max(min(x, y, columns - 1 - x, rows - 1 - y), 0))
    return fwhm * np.arange(1, max(1, int(min(rooms) / fwhm)) + 1)


def _at(radius, views, fwhm, scale, transmission):
    """One row of the table."""
    number = int(2 * np.pi * radius / fwhm)
    fluxes = _fluxes(radius, views, fwhm, scale, number)
    fluxes = fluxes[np.isfinite(fluxes)]
    few = fluxes.size < FEWEST
    row = {"apertures": fluxes.size, "noise": np.nan if few else np.std(fluxes, ddof=1)}
    # one aperture is the planet's: the others tell the noise
    others = fluxes.size - 1
    row["threshold"] = np.nan if few else -stdtrit(others - 1, ndtr(-SIGMAS)) * np.sqrt(1 + 1 / others)
    row |= _throughput(radius, views, fwhm, scale, transmission, min(number, TRIED))
    return row


def _places(view, radius, scale, angles):
    """x and y at a distance [pixels] and at position angles."""
    along = radius * scale * np.stack([np.sin(angles), np.cos(angles)], axis=1) @ view.directions
    return view.star[0] + along[:, 0], view.star[1] + along[:, 1]


def _fluxes(radius, views, fwhm, scale, number):
    """Flux in apertures at equal position angles on the sky: the mean of all exposures, weighted by their integrations."""
    angles = 2 * np.pi * np.arange(number) / number
    total, weights = np.zeros(number), np.zeros(number)
    for view in views:
        x, y = _places(view, radius, scale, angles)
        flux, _, area, _ = aperture_sums(view.image[None], np.zeros_like(view.image[None]), np.zeros(number), x, y, fwhm / 2)
        whole = np.pi * (fwhm / 2) ** 2
        good = np.isfinite(flux) & (area > 0.5 * whole)
        total[good] += view.count * (flux * whole / np.where(area > 0, area, 1))[good]
        weights[good] += view.count
    return np.where(weights > 0, total / np.where(weights > 0, weights, 1), np.nan)


def _throughput(radius, views, fwhm, scale, transmission, number):
    """What mask and subtraction leave of planets at a distance."""
    angles = 2 * np.pi * (np.arange(number) + 0.5) / max(number, 1)
    sums = {"mask_throughput": [], "klip_throughput": [], "encircled": []}
    for view in views:
        for x, y in zip(*_places(view, radius, scale, angles), strict=True):
            kept = planet(view.subtraction, view.image.shape, x, y, fwhm)
            if kept is not None:
                sums["encircled"].append(kept[0])
                sums["klip_throughput"].append(kept[1])
                sums["mask_throughput"].append(1.0 if transmission is None else _value(transmission, x, y))
    return {name: float(np.mean(values)) if values else np.nan for name, values in sums.items()}


def planet(subtraction, shape, x, y, fwhm):
    """What is left of a round planet of flux 1.

    Returns
    -------
    encircled : float
        Its flux in an aperture of one FWHM.
    kept : float
        The part of that which the subtraction leaves; None for both where the planet falls beside the image.
    """
    reach = int(np.ceil(WIDE * fwhm))
    rows = np.arange(max(0, int(y) - reach), min(shape[0], int(y) + reach + 1))
    columns = np.arange(max(0, int(x) - reach), min(shape[1], int(x) + reach + 1))
    if rows.size < reach or columns.size < reach:
        return None
    sigma = fwhm / FWHM
    stamp = np.outer(np.exp(-((rows - y) ** 2) / (2 * sigma**2)), np.exp(-((columns - x) ** 2) / (2 * sigma**2))) / (2 * np.pi * sigma**2)
    pixels = (rows[:, None] * shape[1] + columns).ravel()
    left = subtraction.left_of(pixels, stamp.ravel()).reshape(stamp.shape)
    both = np.stack([stamp, left]).astype(np.float32)
    at = np.full(2, x - columns[0]), np.full(2, y - rows[0])
    before, after = aperture_sums(both, np.zeros_like(both), np.arange(2), *at, fwhm / 2)[0]
    return float(before), float(after / before)


def _value(image, x, y):
    """An image between its pixels, bilinear."""
    rows, columns = image.shape
    x, y = np.clip(x, 0, columns - 1.001), np.clip(y, 0, rows - 1.001)
    i, j = int(y), int(x)
    v, u = y - i, x - j
    return float((1 - v) * ((1 - u) * image[i, j] + u * image[i, j + 1]) + v * ((1 - u) * image[i + 1, j] + u * image[i + 1, j + 1]))
