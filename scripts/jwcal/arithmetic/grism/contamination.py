"""The light of other sources in a field's cut-outs: modelled from the direct image, and taken out."""

import logging
from dataclasses import dataclass

import numpy as np

from ...model.exposure import Pixels
from ...vocabulary import dq as bits
from ...vocabulary.errors import InputError, Skip
from ..flux import reference
from ..flux.dispersed import to_microns
from . import catalogue
from .dispersion import dispersion_of
from .light import direct_pixels, dispersed_sources, sampled_wavelengths
from .ranges import known_orders, wavelength_ranges

log = logging.getLogger(__name__)

ALONG_COLUMNS = 2  # DISPAXIS
BOXES = 5  # along each side of the direct image, in which its background is found
WITHOUT_SCALING = (0, 1)  # orders whose magnitude limit is the one that was given
GIVE = "Give those that belong together"


@dataclass
class Fit:
    """How spectra are fitted."""

    degree: int | None
    iterations: int
    alpha: float
    threshold: float | None


@dataclass
class Scene:
    """All sources through the grism."""

    total: np.ndarray  # float64 (row, col), DN/s
    sources: dict  # (label, order) -> Dispersed


def correct(exposure, refs, options):
    """Subtract from each cut-out what other sources, and its source's other orders, leave in it; arguments as `steps.wfss_contam`.

    Returns
    -------
    (ndarray, list of ndarray, list)
        The image of all sources, the contamination in each cut-out, and each cut-out's own light (None where it is not known).
    """
    image, segments, side = _direct(exposure, refs["photom"])
    slits = list(exposure.slits())
    scene = _scene(exposure, slits, refs, image, segments, side, options)
    fit = Fit(options["polyfit_degree"], options["n_iterations"], options["l2_alpha"], options["rejection_threshold"])
    if fit.degree is None and fit.iterations > 1:
        log.warning("n_iterations of wfss_contam does nothing without polyfit_degree: there is nothing to fit again")
    cuts = [_place(slit) for slit in slits]
    names = [(int(slit.header["SOURCEID"]), int(slit.header["SPORDER"])) for slit in slits]
    missing = sorted({label for label, _ in names} - {int(label) for label in np.unique(segments)})
    if missing:
        log.warning("The segmentation map does not have the labels %s: their own light is not known", ", ".join(map(str, missing)))
    if fit.degree:
        _fit_spectra(slits, cuts, names, scene, fit)
    contaminations, own = [], []
    for slit, cut, name in zip(slits, cuts, names, strict=True):
        light = scene.sources.get(name)
        mine = np.zeros(slit.sci.shape) if light is None else light.part(*cut, light.image).astype(float)
        contamination = scene.total[cut] - mine
        if light is not None and light.is_lost(*cut):
            contamination[:] = 0
        slit.pixels[0].sci = (slit.sci - contamination).astype(np.float32)
        contaminations.append(contamination)
        own.append(None if light is None else mine)
    brightest = max((float(np.abs(c).max()) for c in contaminations if c.size), default=0.0)
    log.info("%d cut-outs, up to %.3g DN/s of others' light", len(slits), brightest)
    return scene.total, contaminations, own


def _place(slit):
    """Rows and columns of the detector that a cut-out has."""
    starts = slit.header["SLTSTRT2"] - 1, slit.header["SLTSTRT1"] - 1
    return tuple(slice(start, start + size) for start, size in zip(starts, slit.sci.shape, strict=True))


def _direct(exposure, photom):
    """The direct image with its WCS and without its background, its labels, and how large its pixels are in those of the detector."""
    what = {"direct_image": "the direct image (_i2d.fits)", "segmap": "the segmentation map (_segm.fits)"}
    found = {}
    for kind, name in what.items():
        member = next(iter(exposure.members.each(kind)), None)
        if member is None:
            raise InputError(f"its association does not have {name} (exptype {kind})", exposure.name, "Put it into the association")
        found[kind] = member
    image, segments = found["direct_image"], found["segmap"]
    if image.wcs is None:
        raise InputError("the direct image has no gWCS", image.name, "Give the product of resample")
    if image.sci.shape != segments.sci.shape:
        raise InputError(
            f"the segmentation map has {segments.sci.shape} pixels, the direct image {image.sci.shape}",
            segments.name,
            GIVE,
        )
    labels = segments.sci
    if labels.dtype.kind == "f" and not (labels == np.floor(labels)).all() or labels.min() < 0:
        raise InputError("the segmentation map has values that are no labels: whole numbers from 0 on were expected", segments.name, GIVE)
    areas = image.header.get("PIXAR_SR"), photom.header.get("PIXAR_SR")
    side = 1.0 if None in areas else float(np.sqrt(areas[0] / areas[1]))
    return (_without_background(image.sci), image.wcs), np.asarray(labels).astype(np.int64), side


def _without_background(image):
    """An image less a smooth background: medians of clipped boxes, a fifth of each side large."""
    import warnings

    from astropy.stats import SigmaClip
    from photutils.background import Background2D, MedianBackground

    size = tuple(max(1, int(n / BOXES)) for n in image.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pixels without a value, which are left out
        found = Background2D(
            image, size, filter_size=(3, 3), sigma_clip=SigmaClip(sigma=3.0), bkg_estimator=MedianBackground(), exclude_percentile=30.0
        )
    return image - found.background


def _scene(exposure, slits, refs, image, segments, side, options):
    header = exposure.header
    wcs = slits[0].wcs
    dispersion = dispersion_of(wcs, slits[0].header["DISPAXIS"] == ALONG_COLUMNS)
    element = header[options["passband"]]
    orders = _orders(refs["wavelengthrange"], element, dispersion, options["orders"])
    ranges = wavelength_ranges(refs["wavelengthrange"], element, orders)
    responses = {order: found for order in orders if (found := _response(refs["photom"], header, order)) is not None}
    pixels = direct_pixels(wcs, image[1], image[0], segments, side)
    if not len(pixels.labels):
        raise InputError("the segmentation map has no source", exposure.name, "Give the one that belongs to the catalogue")
    shape = int(header["SUBSIZE2"]), int(header["SUBSIZE1"])
    scene = Scene(np.zeros(shape), {})
    place = float(pixels.x[0]), float(pixels.y[0])
    kept = {}
    for slit in slits:
        kept.setdefault(int(slit.header["SPORDER"]), set()).add(int(slit.header["SOURCEID"]))
    done = False
    for order, (waves, sensitivity) in responses.items():
        bright = _bright_enough(exposure, options["magnitude_limit"], order, responses)
        some = pixels if bright is None else pixels.chosen(bright)
        if not len(some.labels):
            log.info("No source is bright enough in order %d", order)
            continue
        done = True
        wavelengths = sampled_wavelengths(dispersion, order, ranges[order], place, options["wl_oversample"])
        weights = _weights(wavelengths, waves, sensitivity, ranges[order], options["polyfit_degree"] or 0)
        found = dispersed_sources(some, dispersion, order, wavelengths, weights, shape, kept.get(order, ()), scene.total)
        for light in found.values():
            light.detector = shape if options["own_light"] == "cut" else None
        scene.sources |= {(label, order): light for label, light in found.items()}
        log.info("Order %d: %d sources at %d wavelengths", order, len(some.labels), len(wavelengths))
    if not done:
        raise Skip(f"no source is brighter than magnitude {options['magnitude_limit']}, or no order has a flux calibration")
    return scene


def _orders(waverange, element, dispersion, asked):
    """The orders whose light is modelled."""
    known = known_orders(waverange, element)
    wanted = known if not asked else [int(order) for order in asked]
    good = [order for order in wanted if order in known and order in dispersion.orders]
    left = sorted(set(wanted) - set(good))
    if not good:
        raise Skip(f"none of the orders {wanted} is in the wavelengthrange reference ({known}) and in the WCS ({list(dispersion.orders)})")
    if left:
        log.warning("Orders %s are not in the wavelengthrange reference or in the WCS: their light is left out", left)
    return sorted(good)


def _response(photom, header, order):
    """Wavelengths [micron] and MJy/sr for 1 DN/s a micron of an order; None where the reference does not have it."""
    own = header.copy()
    own.sci["SPORDER"] = order
    try:
        row = reference.find_row(photom, own)
    except Skip as why:
        log.warning("The light of order %d is left out: %s", order, why)
        return None
    waves, relative = reference.response(photom, row)
    return waves, float(reference.conversion_of(photom, row)) * to_microns(photom) * relative


def _bright_enough(exposure, limit, order, responses):
    """Labels of the sources above the magnitude limit of an order; None for all."""
    if limit is None:
        return None
    if order not in WITHOUT_SCALING and 1 in responses:
        limit = limit + 2.5 * np.log10(_best(responses[1]) / _best(responses[order]))
    found = catalogue.of_exposure(exposure)
    return found.label[found.magnitude < limit]


def _best(response):
    waves, sensitivity = response
    return sensitivity[(waves > 0) & (sensitivity > 0)].min()


def _weights(wavelengths, waves, sensitivity, limits, degree):
    """DN/s that 1 MJy/sr gives at each wavelength, with Legendre polynomials from the constant on: (degree + 1, n)."""
    step = wavelengths[1] - wavelengths[0]
    at = np.interp(wavelengths, waves, sensitivity, left=0.0, right=0.0)
    flat = np.divide(step, at, out=np.zeros_like(at), where=at > 0)
    flat[[0, -1]] /= 2  # of the light at the limits half is within them
    scaled = 2 * (wavelengths - limits[0]) / (limits[1] - limits[0]) - 1
    return flat * np.polynomial.legendre.legvander(scaled, degree).T


def _fit_spectra(slits, cuts, names, scene, fit):
    """Fit each source's spectrum, the brightest first, and put it in the place of the flat one; again and again."""
    fittable = [n for n, name in enumerate(names) if name in scene.sources]
    flat = {n: float(scene.sources[names[n]].part(*cuts[n], scene.sources[names[n]].basis[0]).sum()) for n in fittable}
    for iteration in range(fit.iterations):
        count = 0
        for n in sorted(fittable, key=lambda n: -flat[n]):
            light = scene.sources[names[n]]
            mine = light.part(*cuts[n], light.image).astype(float)
            cleaned = slits[n].sci - (scene.total[cuts[n]] - mine)
            basis = [mine, *(light.part(*cuts[n], term).astype(float) for term in light.basis[1:])]
            coefficients = _coefficients(slits[n], cleaned, basis, fit)
            if coefficients is None:
                continue
            new = sum(c * term for c, term in zip(coefficients, [light.image, *light.basis[1:]], strict=True)).astype(np.float32)
            scene.total[light.rows, light.columns] += new.astype(float) - light.image
            light.image = new
            count += 1
        log.info("Round %d: %d of %d spectra fitted", iteration + 1, count, len(slits))
        if not count:
            log.warning("No spectrum could be fitted: is the sky subtracted? A lower polyfit_degree or a larger l2_alpha may help")
            break


def _coefficients(slit, data, basis, fit):
    """Weights of images whose sum is like the data: least squares with a penalty; None where that is not possible or is not like it."""
    good = np.isfinite(data) & (basis[0] != 0) & (slit.dq & np.uint32(bits.DO_NOT_USE) == 0) & np.isfinite(slit.err) & (slit.err > 0)
    if np.count_nonzero(good) < len(basis):
        return None
    weight = 1 / slit.err[good].astype(float)
    matrix = np.stack([term[good] * weight for term in basis], axis=1)
    values = data[good] * weight
    try:
        if fit.alpha:
            found = np.linalg.solve(matrix.T @ matrix + fit.alpha * np.eye(len(basis)), matrix.T @ values)
        else:
            found = np.linalg.lstsq(matrix, values, rcond=None)[0]
    except np.linalg.LinAlgError:
        return None
    if fit.threshold is not None and abs(found[0] - 1) > fit.threshold:
        return None
    return found


def shown(slits, images, suffix, exposure):
    """A product of an image for each cut-out, those that are not known left out."""
    pixels = [
        Pixels(sci=np.asarray(image, np.float32), header=slit.pixels[0].header.copy())
        for slit, image in zip(slits, images, strict=True)
        if image is not None
    ]
    new = exposure.derive(pixels, suffix)
    new.tables = {}
    return new
