"""Align exposures to each other and to a catalogue, by the stars that are seen in them."""

import logging
import os
import re
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from ..arithmetic.align.groups import by_moment
from ..vocabulary.errors import ConfigError, InputError, Skip
from ..vocabulary.parameters import Range

log = logging.getLogger(__name__)

TAKES = "members"

Degree = Literal[None, 1, 2, 3, 4, 5, 6]
Geometry = Literal["shift", "rshift", "rscale", "general"]
NO_CATALOGUE = "", "none"
ALONE = "exposures of one moment can't be aligned to each other, and abs_refcat names no catalogue"
MJD_OF_2000 = 51544.5


def apply(
    members,
    refs=None,
    *,
    save_catalogs: bool = False,
    use_custom_catalogs: bool = False,
    catalog_format: Literal["ecsv", "fits"] = "ecsv",
    catfile: str = "",
    starfinder: Literal["dao", "iraf", "segmentation"] = "iraf",
    snr_threshold: Annotated[float, Range(min=0)] = 10.0,
    kernel_fwhm: Annotated[float, Range(min=0)] = 2.5,
    bkg_boxsize: Annotated[int, Range(min=1)] = 400,
    minsep_fwhm: Annotated[float, Range(min=0)] = 0.0,
    sigma_radius: Annotated[float, Range(min=0)] = 1.5,
    sharplo: float = 0.5,
    sharphi: float = 2.0,
    roundlo: float = 0.0,
    roundhi: float = 0.2,
    brightest: Annotated[int, Range(min=1)] = 200,
    peakmax: float | None = None,
    npixels: Annotated[int, Range(min=1)] = 10,
    connectivity: Literal[4, 8] = 8,
    nlevels: Annotated[int, Range(min=1)] = 32,
    contrast: Annotated[float, Range(min=0, max=1)] = 0.001,
    multithresh_mode: Literal["exponential", "linear", "sinh"] = "exponential",
    localbkg_width: Annotated[int, Range(min=0)] = 0,
    apermask_method: Literal["correct", "mask", "none"] = "correct",
    kron_params: list[float] | None = None,
    deblend: bool = True,
    enforce_user_order: bool = False,
    expand_refcat: bool = False,
    minobj: Annotated[int, Range(min=1)] = 15,
    fitgeometry: Geometry = "rshift",
    nclip: Annotated[int, Range(min=0)] = 3,
    sigma: Annotated[float, Range(min=0)] = 3.0,
    searchrad: Annotated[float, Range(min=0)] = 2.0,
    use2dhist: bool = True,
    separation: Annotated[float, Range(min=0)] = 1.0,
    tolerance: Annotated[float, Range(min=0)] = 0.7,
    xoffset: float = 0.0,
    yoffset: float = 0.0,
    abs_refcat: str | None = "",
    save_abs_catalog: bool = False,
    abs_minobj: Annotated[int, Range(min=1)] = 15,
    abs_fitgeometry: Geometry = "rshift",
    abs_nclip: Annotated[int, Range(min=0)] = 3,
    abs_sigma: Annotated[float, Range(min=0)] = 3.0,
    abs_searchrad: Annotated[float, Range(min=0)] = 6.0,
    abs_use2dhist: bool = True,
    abs_separation: Annotated[float, Range(min=0)] = 1.0,
    abs_tolerance: Annotated[float, Range(min=0)] = 0.7,
    sip_approx: bool = True,
    sip_max_pix_error: Annotated[float, Range(min=0)] = 0.01,
    sip_degree: Degree = None,
    sip_max_inv_pix_error: Annotated[float, Range(min=0)] = 0.01,
    sip_inv_degree: Degree = None,
    sip_npoints: Annotated[int, Range(min=8)] = 12,
    in_memory: bool = True,
    centroids: Literal["fitted", "finder"] = "fitted",
    grouped: bool = True,
    rematch: bool = True,
    check_fits: bool = True,
    abs_average: bool = True,
    abs_proper_motions: Literal["apply", "ignore"] = "apply",
    abs_without_motion: Literal["drop", "keep"] = "drop",
    save_report: bool = False,
):
    """Correct the WCS of exposures so that the same stars have the same coordinates, and those of a catalogue if one is given.

    The stars of each exposure are found; exposures of one moment (several detectors) move as one; each is brought onto the stars of
    the reference exposure (relative alignment), then all onto the catalogue together (absolute alignment). A correction is a linear
    map of the tangent plane at the reference point, between frames v2v3vacorr and v2v3corr of the gWCS; corrections of several runs
    compose. S_REGION and the SIP keywords follow. An exposure that can't be aligned keeps its WCS, and the log says why.

    Parameters
    ----------
    members : Members
        2-D images with a gWCS. Each is opened once.
    refs
        None are needed.
    save_catalogs : bool
        Give the stars of each exposure as a product of its own.
    use_custom_catalogs, catfile : bool, str
        Take the stars from catalogues (columns x and y): those that a text file lists beside the exposures' names, else those that the
        association names (`tweakreg_catalog` of a member) or the keyword TCATFILE.
    catalog_format : str
        Of saved catalogues.
    starfinder : str
        photutils' IRAFStarFinder, DAOStarFinder or SourceFinder.
    snr_threshold : float
        Signal over noise of a star's pixel.
    kernel_fwhm : float
        Full width at half maximum of the stars, pixels.
    bkg_boxsize : int
        Boxes of the background, pixels.
    minsep_fwhm : float
        For iraf and dao: smallest separation of two stars, FWHM.
    sigma_radius : float
        For iraf and dao: the kernel's radius, standard deviations.
    sharplo, sharphi, roundlo, roundhi : float
        For iraf and dao: which sharpness and which roundness a star may have.
    brightest : int
        For iraf and dao: most stars that are kept.
    peakmax : float, optional
        For iraf and dao: stars with a brighter pixel are left out.
    npixels : int
        For segmentation: fewest connected pixels of a star.
    connectivity : {4, 8}
        For segmentation: neighbours that a pixel is connected with.
    nlevels, contrast, multithresh_mode
        For segmentation, as in photutils: how stars that touch are divided.
    localbkg_width, apermask_method, kron_params
        For segmentation, as in photutils: apertures and the background around a star.
    deblend : bool
        For segmentation: divide stars that touch.
    enforce_user_order, expand_refcat : bool
        Without `expand_refcat` the first exposure is the reference. With it the one that overlaps most is, unless the order is
        enforced, and the stars that each exposure adds are in the reference for the next ones. A catalogue sets `expand_refcat`.
    minobj : int
        Fewest pairs of stars for a fit.
    fitgeometry : str
        What is fitted: a shift, with rotation, with scale, or any linear map.
    nclip : int
        Rounds of clipping.
    sigma : float
        Standard deviations beyond which a pair is clipped.
    searchrad : float
        How far a histogram of offsets is searched, arcsec.
    use2dhist : bool
        Search with a histogram of offsets; off: the match begins at `xoffset`, `yoffset`.
    separation : float
        Stars nearer to each other are left out of the match, arcsec.
    tolerance : float
        How near to each other the stars of a pair are, arcsec.
    xoffset, yoffset : float
        Where the match begins without the histogram, arcsec.
    abs_refcat : str, optional
        A table with RA and DEC, or GAIAREFCAT, GAIADR3, GAIADR2, GAIADR1 where there is a network.
    save_abs_catalog : bool
        Give the stars of the catalogue as a product.
    abs_minobj ... abs_tolerance
        The same for the absolute alignment.
    sip_approx ... sip_npoints
        As for assign_wcs.
    in_memory : bool
        Without effect: one exposure is in memory at a time, where they come from files.
    centroids : str
        fitted: places of stars by fits of Gaussians that are integrated over the pixels. finder: the finder's own, as the peer has.
    grouped : bool
        Whether detectors that were read at once move as one.
    rematch : bool
        After the first fit pair all stars anew, within a few times their scatter, and fit again. Off: neighbours that were matched
        by mistake stay in the fit, as the peer's.
    check_fits : bool
        Reject fits that move farther than was searched, whose pairs are no better than chance, or that are worse than none.
    abs_average : bool
        Average the detections of a star by several exposures before the absolute fit. Off: biased, as the peer.
    abs_proper_motions, abs_without_motion : str
        Whether the catalogue's stars are moved from its epoch to the exposures'; what is done with stars without a proper motion.
    save_report : bool
        Give shift, rotation, scale, rms and number of pairs of every fit as a table.

    Returns
    -------
    Members, or a list of these and of Exposures with the catalogues that are to be saved

    Raises
    ------
    Skip
        Nothing could be aligned: there is one exposure and no catalogue, or there are no stars.
    InputError
        An exposure has no gWCS, or it can't be corrected.
    ConfigError
        A parameter does not fit the others, or a catalogue can't be read.
    """
    from ..arithmetic.align import fits
    from ..arithmetic.align.sources import Finder

    catalogue = "" if abs_refcat is None or abs_refcat.strip().lower() in NO_CATALOGUE else abs_refcat.strip()
    count = len(members.of())
    if not count:
        raise Skip("there are no exposures")
    alone = not catalogue and not save_catalogs
    if alone and count == 1:
        raise Skip(ALONE)
    relative = fits.Rules(
        searchrad, separation, use2dhist, tolerance, minobj, fitgeometry, nclip, sigma, xoffset, yoffset, check_fits, rematch
    )
    absolute = (abs_searchrad, abs_separation, abs_use2dhist, abs_tolerance, abs_minobj, abs_fitgeometry, abs_nclip, abs_sigma)
    absolute = fits.Rules(*absolute, careful=check_fits, rematch=rematch)
    _check_rules("", relative)
    if catalogue:
        _check_rules("abs_", absolute)
    finder = Finder(
        *(starfinder, snr_threshold, kernel_fwhm, bkg_boxsize, minsep_fwhm, sigma_radius, sharplo, sharphi, roundlo, roundhi),
        *(brightest, peakmax, npixels, connectivity, nlevels, contrast, multithresh_mode, localbkg_width, apermask_method),
        *(_kron(kron_params), deblend, centroids),
    )
    custom = _custom(members, catfile) if use_custom_catalogs else {}
    stars = [_stars(exposure, custom.get(number), finder) for number, exposure in enumerate(members.each())]
    groups_of = by_moment([shell.header for shell in members.shells()], grouped)
    if alone and len(groups_of) == 1:
        raise Skip(ALONE)
    groups = _groups(members, groups_of, stars)
    asides = _catalogues(members, stars, custom, catalog_format) if save_catalogs else []
    if len(groups) > 1:
        fits.align_to_each_other(groups, relative, enforce_user_order, expand_refcat or bool(catalogue))
    if catalogue:
        reference = _reference(catalogue, groups, members, abs_proper_motions, abs_without_motion, abs_minobj)
        if reference is not None:
            fits.align_to_catalogue(groups, reference, absolute, abs_average)
            asides += [_saved_reference(members, catalogue, reference)] if save_abs_catalog else []
    sip_options = {"max_error": sip_max_pix_error, "degree": sip_degree, "max_inverse_error": sip_max_inv_pix_error}
    sip_options |= {"inverse_degree": sip_inv_degree, "npoints": sip_npoints}
    aligned = _write(members, groups, groups_of, catalogue, sip_options if sip_approx else None)
    asides += [_report(members, groups)] if save_report else []
    if not aligned and not asides:
        raise Skip("; ".join(dict.fromkeys(group.why for group in groups if group.why)))
    return [members, *asides] if asides else members


def _check_rules(prefix, rules):
    if rules.separation <= np.sqrt(2) * rules.tolerance:
        raise ConfigError(
            f'{prefix}separation of tweakreg ({rules.separation}") is not above 1.42 times {prefix}tolerance ({rules.tolerance}")',
            do="Make it larger, or the tolerance smaller: else one star matches several",
        )
    if not (rules.searchrad > 0 and rules.tolerance > 0):
        raise ConfigError(f"{prefix}searchrad and {prefix}tolerance of tweakreg have to be above 0", do="Correct them")


def _kron(values):
    if values is not None and len(values) not in (2, 3):
        raise ConfigError(f"kron_params of tweakreg are {len(values)} numbers, two or three are expected", do="Correct them")
    return values


# --- stars ---------------------------------------------------------------------------------------------------------------


def _custom(members, catfile):
    """Number of a member -> path of its catalogue."""
    from ..arithmetic.align import catalogues

    shells = members.shells()
    if catfile.strip():
        listed = {Path(name).name: path for name, path in catalogues.listed(catfile.strip()).items()}
        if not listed:
            log.warning("%s lists no catalogues: stars are looked for", catfile)
        named = [listed.get(str(shell.header.get("FILENAME")), listed.get(Path(shell.name).name)) for shell in shells]
    else:
        named = [members.catalogues.get(path) or _beside(shell) for path, shell in zip(members.paths(), shells, strict=True)]
    return {number: path for number, path in enumerate(named) if path}


def _beside(shell):
    """The catalogue that an exposure's keyword names; None where it names none."""
    path = shell.header.get("TCATFILE")
    return path and os.path.join(os.path.dirname(str(shell.name)), path)


def _stars(exposure, path, finder):
    """x, y, flux of an exposure's stars inside its bounding box, float (3, n)."""
    from ..arithmetic.align import catalogues, sources

    if exposure.sci.ndim != 2:
        raise Skip(f"the data of {exposure.name} have {exposure.sci.ndim} dimensions, not 2")
    if exposure.wcs is None:
        raise InputError("there is no gWCS in it", exposure.name, "Run assign_wcs")
    if path:
        found = catalogues.of_image(path)
    else:
        found = sources.find(exposure.sci, exposure.err, exposure.dq, finder)
    box = exposure.wcs.bounding_box
    if box is not None:
        (x1, x2), (y1, y2) = box.bounding_box(order="F") if hasattr(box, "bounding_box") else box
        found = found[:, (found[0] > x1) & (found[0] < x2) & (found[1] > y1) & (found[1] < y2)]
    log.info("%s: %d stars%s", exposure.name, found.shape[1], f" in {path}" if path else "")
    return found


def _groups(members, groups_of, stars):
    """The groups with their correctors."""
    from tweakwcs import JWSTWCSCorrector

    from ..arithmetic.align.fits import Group, Image
    from ..arithmetic.wcs.telescope import whole_pixels

    shells, groups = members.shells(), []
    for numbers in groups_of:
        images = []
        for number in numbers:
            header, wcs = shells[number].header, shells[number].wcs
            if wcs.bounding_box is None:
                wcs.bounding_box = whole_pixels((header["SUBSIZE2"], header["SUBSIZE1"]))
            angles = {name: float(header[name.upper()]) for name in ("v2_ref", "v3_ref", "roll_ref")}
            try:
                corrector = JWSTWCSCorrector(wcs, angles)
            except ValueError as error:
                what = f"its gWCS can't be corrected ({' '.join(map(str, error.args))})"
                raise InputError(what, shells[number].name, "Run assign_wcs again") from None
            images.append(Image(shells[number].name, corrector, stars[number][0], stars[number][1]))
        groups.append(Group(" + ".join(Path(image.name).name for image in images), images))
    return groups


def _catalogues(members, stars, custom, form):
    """Products with the stars that were found."""
    from astropy.table import Table

    made = []
    for number, (shell, found) in enumerate(zip(members.shells(), stars, strict=True)):
        if number in custom:
            continue
        aside = shell.aside("cat")
        x, y, flux = found
        names = {"id": np.arange(1, x.size + 1), "xcentroid": x, "ycentroid": y, "flux": flux}
        aside.catalogue = Table(names, meta={"name": Path(shell.name).stem, "format": form})
        made.append(aside)
    return made


# --- the catalogue on the sky --------------------------------------------------------------------------------------------


def _reference(catalogue, groups, members, motions, without, fewest):
    """Right ascension and declination of the catalogue's stars, degrees (2, n); None where there are too few, or no network."""
    from ..arithmetic.align import catalogues

    epoch = _epoch(members)
    if Path(catalogue).is_file():
        found = catalogues.of_sky(catalogue, epoch, motions, without)
    elif catalogue.upper() in catalogues.ONLINE:
        try:
            found = catalogues.online(catalogue.upper(), *_field(groups), epoch)
        except catalogues.NotReachable as why:
            log.warning("No absolute alignment, the relative one stands: %s", why)
            for group in groups:
                group.why = str(why)
            return None
    else:
        names = ", ".join(catalogues.ONLINE)
        raise ConfigError(f"abs_refcat of tweakreg, {catalogue}, is no file", do=f"Give a table with RA and DEC, or one of {names}")
    found = np.array(found)
    if found.shape[1] < fewest:
        why = f"{catalogue} has {found.shape[1]} stars, at least {fewest} are needed (abs_minobj)"
        log.warning("No absolute alignment: %s", why)
        for group in groups:
            group.why = why
        return None
    log.info("%s has %d stars", catalogue, found.shape[1])
    return found


def _epoch(members):
    """Julian year of the middle of the first exposure."""
    header = members.shells()[0].header
    middle = header.get("EXPMID") or header.get("EXPSTART")
    if middle is None:
        from astropy.time import Time

        return float(Time(header["DATE-OBS"]).jyear)
    return 2000 + (float(middle) - MJD_OF_2000) / 365.25


def _field(groups):
    """Middle and radius of all images, degrees."""
    corners = np.concatenate([np.array(image.corners())[:, :-1] for group in groups for image in group.images], axis=1)
    ra, dec = np.radians(corners)
    vectors = np.array([np.cos(ra) * np.cos(dec), np.sin(ra) * np.cos(dec), np.sin(dec)])
    x, y, z = middle = vectors.mean(axis=1) / np.linalg.norm(vectors.mean(axis=1))
    radius = np.degrees(np.arccos(np.clip(middle @ vectors, -1, 1).min()))
    return float(np.degrees(np.arctan2(y, x)) % 360), float(np.degrees(np.arcsin(z))), float(radius)


def _saved_reference(members, catalogue, reference):
    """A product with the catalogue's stars."""
    from astropy.table import Table

    aside = members.shells()[0].aside(f"fit_{re.sub('[^a-z0-9]+', '', Path(catalogue).stem.lower())}_ref")
    aside.catalogue = Table({"RA": reference[0], "DEC": reference[1]}, meta={"name": catalogue})
    return aside


# --- results -------------------------------------------------------------------------------------------------------------


def _write(members, groups, groups_of, catalogue, sip_options):
    """Give the members the WCS that were corrected, and the keywords that follow it; returns whether any was."""
    from ..arithmetic.align.keywords import follow

    shells, any_aligned = members.shells(), False
    for group, numbers in zip(groups, groups_of, strict=True):
        for number, image in zip(numbers, group.images, strict=True):
            if not group.fits:
                continue
            any_aligned = True
            wcs = image.corrector.wcs
            if group.fits[-1].stage == "absolute":
                wcs.name = f"FIT-LVL3-{catalogue if '/' not in catalogue else Path(catalogue).name}"
            shells[number].wcs = wcs
            follow(shells[number], sip_options)
    return any_aligned


def _report(members, groups):
    """A product with one row for every fit, or for every group that has none."""
    from astropy.table import Table

    rows = []
    for group in groups:
        for fit in group.fits or [None]:
            row = {"group": group.name, "status": group.status, "why": group.why, "stage": fit.stage if fit else ""}
            row |= {"dx": fit.moved[0] if fit else 0.0, "dy": fit.moved[1] if fit else 0.0, "rotation": fit.rotation if fit else 0.0}
            row |= {"scale": fit.scale if fit else 1.0, "rms": fit.rms if fit else np.nan}
            rows.append(row | {"pairs": fit.pairs if fit else 0, "used": fit.used if fit else 0})
    aside = members.shells()[0].aside("tweakreg")
    units = {"dx": "arcsec", "dy": "arcsec", "rotation": "deg", "rms": "arcsec"}
    aside.catalogue = Table(rows, units=units)
    return aside
