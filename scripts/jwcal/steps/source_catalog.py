"""The catalogue of a mosaic's sources: where they are, how bright, of which shape."""

import logging
from importlib.metadata import version
from typing import Annotated, Literal

import numpy as np

from ..arithmetic.photometry.growth import excess_light, expected_spread, good_stars, measured_spread, spread_growth
from ..arithmetic.photometry.profile import sharpness_and_roundness
from ..arithmetic.photometry.sources import Sources, background, find_segments, find_stars
from ..arithmetic.photometry.table import catalogue
from ..kernels.photometry.aperture_sums import aperture_sums
from ..kernels.photometry.ring_medians import ring_medians
from ..vocabulary.errors import ConfigError, InputError, ReferenceError, Skip
from ..vocabulary.parameters import Range

log = logging.getLogger(__name__)

OPTIONAL = ("apcorr", "abvegaoffset")

ELEMENTS = ("filter", "pupil", "detector")  # by which a row is found, where a table has the column
ALONE = 4.0  # radii of the widest aperture to the next source
AROUND = 1.5  # such radii: from there to ALONE light tells of neighbours that were not found
FALLBACK = {"ee": (1, 2, 3), "radii": (1.0, 2.0, 3.0), "corrections": (1.0, 1.0, 1.0), "ring": (5.0, 10.0)}  # without apcorr
# Of the science header, what does not hold for numbers of segments.
NOT_OF_LABELS = ("BUNIT", "PHOTMJSR", "PHOTUJA2", "PIXAR_SR", "PIXAR_A2", "XPOSURE", "TELAPSE")


def apply(
    exposure,
    refs,
    *,
    aperture_ee1: Annotated[int, Range(min=1, max=99)] = 30,
    aperture_ee2: Annotated[int, Range(min=1, max=99)] = 50,
    aperture_ee3: Annotated[int, Range(min=1, max=99)] = 70,
    ci1_star_threshold: float = 2.0,
    ci2_star_threshold: float = 1.8,
    starfinder: Literal["dao", "iraf", "segmentation"] = "segmentation",
    snr_threshold: float = 3.0,
    bkg_boxsize: Annotated[int, Range(min=1)] = 1000,
    kernel_fwhm: Annotated[float, Range(min=0)] = 2.0,
    minsep_fwhm: Annotated[float, Range(min=0)] = 0.0,
    sigma_radius: Annotated[float, Range(min=0)] = 1.5,
    sharplo: float = 0.5,
    sharphi: float = 2.0,
    roundlo: float = 0.0,
    roundhi: float = 0.2,
    brightest: Annotated[int, Range(min=1)] = 200,
    peakmax: float | None = None,
    npixels: Annotated[int, Range(min=1)] = 25,
    connectivity: Literal[4, 8] = 8,
    nlevels: Annotated[int, Range(min=1)] = 32,
    contrast: Annotated[float, Range(min=0, max=1)] = 0.001,
    multithresh_mode: Literal["exponential", "linear", "sinh"] = "exponential",
    localbkg_width: Annotated[int, Range(min=0)] = 0,
    apermask_method: Literal["correct", "mask", "none"] = "correct",
    kron_params: list | None = None,
    deblend: bool = True,
    total_correction: Literal["mosaic", "reference"] = "mosaic",
):
    """Find the sources of a mosaic and measure them, in Jy and in AB and Vega magnitudes.

    Fluxes are those of the segment, above the mosaic's background, and of three circles, above the median of a ring. The total is that
    of the widest circle times its aperture correction, which holds for detector images: the spread of the light in the mosaic is
    measured in bright stars and allowed for.

    Parameters
    ----------
    exposure : Exposure
        (row, col) in MJy/sr, with WHT and a gWCS; ERR may be missing. It is left as it is.
    refs : References
        apcorr: table APCORR. abvegaoffset: tree `abvega_offset`. Without the first: radii of 1, 2 and 3 pixels and no correction;
        without the second Vega magnitudes are AB's.
    aperture_ee1, aperture_ee2, aperture_ee3 : int
        Per cent of a star's light inside the three circles; the reference has to have them.
    ci1_star_threshold, ci2_star_threshold : float
        A source is extended if both ratios, second to first aperture and third to second, are above these.
    starfinder : {"dao", "iraf", "segmentation"}
        Only segmentation gives shapes and a map of labels.
    snr_threshold : float
        Above the background's noise.
    bkg_boxsize : int
        Pixels.
    kernel_fwhm : float
        Of the Gaussian that the image is convolved with, pixels.
    minsep_fwhm : float
        Of dao and iraf: smallest separation of two sources, FWHM.
    sigma_radius : float
        Of dao and iraf: radius of the kernel, standard deviations.
    sharplo, sharphi, roundlo, roundhi : float
        Of dao and iraf: limits of the sharpness and of the roundness of a source.
    brightest : int
        Of dao and iraf: most sources that are kept.
    peakmax : float, optional
        Of dao and iraf: sources with a brighter pixel are left out, Jy.
    npixels : int
        Of segmentation: fewest connected pixels of a source.
    connectivity : {4, 8}
        Of segmentation: neighbours that a pixel is connected with.
    deblend : bool
        Of segmentation: divide sources that touch.
    nlevels : int
        Of deblending: thresholds between the faintest and the brightest pixel.
    contrast : float
        Of deblending: part of the light that a peak needs to be a source of its own.
    multithresh_mode : {"exponential", "linear", "sinh"}
        Of deblending: how the thresholds are spaced.
    localbkg_width : int
        Width of the ring around a segment whose background is subtracted from it, pixels; 0: none.
    apermask_method, kron_params
        Of Kron apertures, which no column is made of. The table's meta data tell them.
    total_correction : {"mosaic", "reference"}
        Whether totals allow for the spread in the mosaic.

    Returns
    -------
    list of Exposure
        The exposure; "cat" with the table as its `catalogue`; "segm" with the labels (uint32, zeros without segments).

    Raises
    ------
    Skip
        apcorr or abvegaoffset has no row for the exposure.
    InputError
        The exposure is no mosaic in MJy/sr.
    ConfigError
        The percentages don't rise, or kron_params has not two or three values.
    ReferenceError
        A reference has several rows where one is expected.
    """
    percent = aperture_ee1, aperture_ee2, aperture_ee3
    _check(exposure, percent, kron_params)
    ratio = exposure.header.get("PXSCLRT", 1.0)
    apertures = _apertures(refs.get("apcorr"), exposure.header, percent, ratio)
    vega = _vega_offset(refs.get("abvegaoffset"), exposure.header)

    factor = 1e6 * exposure.header["PIXAR_SR"]
    image = exposure.sci * np.float32(factor)
    error = None if exposure.err is None else exposure.err * np.float32(factor)
    outside = (exposure.pixels[0].extra["WHT"] == 0) | (np.isnan(image) if error is None else np.isnan(error))
    segmentation = {"n_pixels": npixels, "connectivity": connectivity, "n_levels": nlevels, "contrast": contrast}
    segmentation |= {"mode": multithresh_mode, "deblend": deblend}
    measures = {"local_bkg_width": localbkg_width, "aperture_mask_method": apermask_method}
    measures["kron_params"] = tuple(kron_params or (2.5, 1.4, 0.0))
    stars = {"sigma_radius": sigma_radius, "sharpness_range": (sharplo, sharphi), "roundness_range": (roundlo, roundhi)}
    stars |= {"min_separation": max(2, int(minsep_fwhm * kernel_fwhm + 0.5)), "n_brightest": brightest, "peak_max": peakmax}

    found = _find(image, error, outside, starfinder, (snr_threshold, bkg_boxsize, kernel_fwhm), (segmentation, measures), stars)
    columns = _photometry(image, error, found, apertures)
    columns["sharpness"], columns["roundness"] = sharpness_and_roundness(image, found.x, found.y, kernel_fwhm)
    spread, correction, used = 0.0, apertures["corrections"][-1], 0
    if total_correction == "mosaic" and apertures["growth"] is not None:
        limits = ci1_star_threshold, ci2_star_threshold
        spread, used = _spread(image, columns, found, apertures, limits, exposure.header.get("PIXFRAC", 1.0), ratio)
        (before,), (after,) = (spread_growth(apertures["growth"], apertures["radii"][-1:], s) for s in (0.0, spread))
        correction *= before / after
        log.info("Light of stars is spread by %.3f pixels^2 (%d stars): totals times %.4f", spread, used, correction)
    meta = {
        "version": {name: version(name) for name in ("numpy", "scipy", "astropy", "photutils", "gwcs")},
        **measures,
        "kron_params": list(measures["kron_params"]),
        "aperture_params": _plain(apertures),
        "abvega_offset": vega,
        "total_correction": {"factor": float(correction), "spread": float(spread), "stars": int(used)},
    }
    reference = exposure.header["CRPIX1"] - 1, exposure.header["CRPIX2"] - 1
    table = exposure.aside("cat")
    limits = ci1_star_threshold, ci2_star_threshold
    table.catalogue = catalogue(found, columns, apertures["ee"], correction, vega, limits, exposure.wcs, reference, meta)
    labels = exposure.aside("segm", sci=found.segments.astype(np.uint32))
    for keyword in NOT_OF_LABELS:
        del labels.header[keyword]
    labels.wcs = exposure.wcs
    log.info("%d sources", len(found))
    return [exposure, table, labels]


def _check(exposure, percent, kron_params):
    if not percent[0] < percent[1] < percent[2]:
        raise ConfigError(f"aperture_ee1, 2, 3 of source_catalog are {percent}", do="Give three that rise")
    if kron_params is not None and len(kron_params) not in (2, 3):
        raise ConfigError(f"kron_params of source_catalog is {kron_params}", do="Give two or three numbers")
    if exposure.sci.ndim != 2 or "WHT" not in exposure.pixels[0].extra:
        raise InputError("it is no mosaic (there is no WHT)", exposure.name, "Give the product of resample, an i2d file")
    if exposure.wcs is None:
        raise InputError("there is no gWCS in it", exposure.name, "Run resample")
    if exposure.header["BUNIT"].strip() != "MJy/sr":
        raise InputError(f"it is in {exposure.header['BUNIT']}, not in MJy/sr", exposure.name, "Run photom before resample")


# --- the references --------------------------------------------------------------------------------------------------


def _matching(table, header, elements):
    """The rows for the exposure's optical elements, and these in words."""
    names = {name.lower(): name for name in (table.dtype.names if hasattr(table, "dtype") else table.colnames)}
    wanted = {element: str(header[element.upper()]).strip().upper() for element in elements if element in names}
    same = np.ones(len(table), bool)
    for element, value in wanted.items():
        same &= np.char.upper(np.char.strip(np.asarray(table[names[element]]).astype(str))) == value
    return table[same], ", ".join(f"{element} {value}" for element, value in wanted.items())


def _apertures(apcorr, header, percent, ratio):
    """Radii [pixels of the mosaic], corrections, ring, and the curve of growth of all rows that there are."""
    if apcorr is None:
        log.warning("There is no apcorr reference: apertures of 1, 2 and 3 pixels, without correction")
        return {**FALLBACK, "growth": None}
    table = apcorr.table("APCORR")
    elements = ("filter", "pupil") if "pupil" in [name.lower() for name in table.dtype.names] else ("filter", "subarray")
    rows, words = _matching(table, header, elements)
    if len(rows) == 0:
        raise Skip(f"the apcorr reference has no row for {words}")
    fraction = np.round(rows["eefraction"].astype(float) * 100)
    chosen = []
    for ee in percent:
        (row,) = np.nonzero(fraction == ee) if np.sum(fraction == ee) == 1 else (None,)
        if row is None:
            count = np.sum(fraction == ee)
            raise _not_one(count, f"{ee} % of the light of {words}", apcorr)
        chosen.append(rows[row[0]])
    rings = {(float(row["skyin"]), float(row["skyout"])) for row in chosen}
    if len(rings) != 1:
        raise ReferenceError(f"its apertures for {words} have different background rings", apcorr.path, "Correct the reference")
    radii, corrections = (np.array([float(row[name]) for row in chosen]) for name in ("radius", "apcorr"))
    (ring,) = rings
    order = np.argsort(fraction)
    growth = rows["radius"].astype(float)[order] / ratio, fraction[order] / 100
    rising = growth[0][0] > 0 and growth[1][-1] < 1 and all(np.all(np.diff(part) > 0) for part in growth)
    return {
        "ee": percent,
        "radii": radii / ratio,
        "corrections": corrections,
        "ring": tuple(rim / ratio for rim in ring),
        "growth": growth if rising else None,
    }


def _not_one(count, what, reference):
    if count == 0:
        return Skip(f"the {reference.type} reference has no row for {what}")
    return ReferenceError(f"it has {count} rows for {what} where one is expected", reference.path, "Correct the reference")


def _vega_offset(reference, header):
    """AB minus Vega magnitude."""
    if reference is None:
        log.warning("There is no abvegaoffset reference: Vega magnitudes are AB's")
        return 0.0
    rows, words = _matching(reference.tree["abvega_offset"], header, ELEMENTS)
    if len(rows) != 1:
        raise _not_one(len(rows), words, reference)
    return float(rows["abvega_offset"][0])


def _plain(apertures):
    """The apertures as the table's meta data have them."""
    return {
        "aperture_ee": [int(ee) for ee in apertures["ee"]],
        "aperture_radii": [float(radius) for radius in apertures["radii"]],
        "aperture_corrections": [float(correction) for correction in apertures["corrections"]],
        "bkg_aperture_inner_radius": float(apertures["ring"][0]),
        "bkg_aperture_outer_radius": float(apertures["ring"][1]),
    }


# --- the sources -----------------------------------------------------------------------------------------------------


def _find(image, error, outside, starfinder, general, segmentation, stars):
    snr, box, fwhm = general
    sky = background(image, outside, box)
    if sky is None:
        log.warning("No pixel of the mosaic has a value: the catalogue is empty")
        return find_nothing(image.shape)
    level, noise = sky
    if starfinder == "segmentation":
        return find_segments(image - level, error, outside, snr * noise, fwhm, *segmentation)
    return find_stars(image - level, outside, np.median(snr * noise), fwhm, starfinder, stars)


def find_nothing(shape):
    """No sources in an image."""
    return Sources(np.zeros(0, np.int32), *(np.zeros(0) for _ in range(13)), segments=np.zeros(shape, np.int32))


def _photometry(image, error, found, apertures):
    """Fluxes in the circles above the ring's median; NaN where a pixel of the circle has no value."""
    columns = {}
    columns["aper_bkg_flux"], columns["aper_bkg_flux_err"] = ring_medians(image, found.x, found.y, *apertures["ring"])
    first = np.zeros(len(found), int)
    errors = np.full_like(image, np.nan) if error is None else error
    for ee, radius in zip(apertures["ee"], apertures["radii"], strict=True):
        total, sigma, _, lost = aperture_sums(image[None], errors[None], first, found.x, found.y, radius)
        flux = total - columns["aper_bkg_flux"] * np.pi * radius**2
        columns[f"aper{ee}_flux"] = np.where(lost > 0, np.nan, flux)
        columns[f"aper{ee}_flux_err"] = np.where(lost > 0, np.nan, sigma)
    return columns


def _spread(image, columns, found, apertures, limits, pixfrac, ratio):
    """By how much the mosaic spreads the light, pixels^2, and how many stars say so."""
    from scipy.spatial import KDTree

    expected = expected_spread(pixfrac, ratio)
    fluxes = np.transpose([columns[f"aper{ee}_flux"] for ee in apertures["ee"]])
    seen = np.isfinite(fluxes).all(axis=1) & np.isfinite(found.x) & np.isfinite(found.y)
    if seen.sum() == 0:
        return expected, 0
    place = np.transpose([found.x, found.y])[seen]
    away = np.full(len(found), np.inf)
    if seen.sum() > 1:
        away[seen] = KDTree(place).query(place, k=2)[0][:, 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        extended = (fluxes[:, 1] / fluxes[:, 0] > limits[0]) & (fluxes[:, 2] / fluxes[:, 1] > limits[1])
    alone = seen & ~extended & (away > ALONE * apertures["radii"][-1])
    stars = np.flatnonzero(good_stars(fluxes, columns[f"aper{apertures['ee'][-1]}_flux_err"], alone))
    around = _between(image, found.x[stars], found.y[stars], columns["aper_bkg_flux"][stars], apertures["radii"][-1])
    excess = excess_light(around / fluxes[stars, -1])
    stars, excess = stars[np.isfinite(excess)], excess[np.isfinite(excess)]
    return measured_spread(fluxes[stars], apertures["radii"], apertures["growth"], expected, excess), int(stars.size)


def _between(image, x, y, sky, radius):
    """Light in rings around stars, above the sky; NaN where a pixel has no value."""
    sums, first = [], np.zeros(x.size, int)
    for reach in (AROUND * radius, ALONE * radius):
        total, _, _, lost = aperture_sums(image[None], np.zeros_like(image)[None], first, x, y, reach)
        sums.append(np.where(lost > 0, np.nan, total - sky * np.pi * reach**2))
    return sums[1] - sums[0]
