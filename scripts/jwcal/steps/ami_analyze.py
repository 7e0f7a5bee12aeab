"""Find the fringes of a star behind a mask of holes: visibilities, closure phases and amplitudes."""

import logging
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np

from ..arithmetic.ami import affine, bad_pixels, fit, images, observables, place, tables
from ..arithmetic.ami import bandpass as bandpasses
from ..arithmetic.ami import mask as masks
from ..model.exposure import Pixels
from ..vocabulary.errors import ConfigError, InputError
from ..vocabulary.parameters import Range

log = logging.getLogger(__name__)

TAKES = "members"
REFERENCES = ("nrm",)
OPTIONAL = ("throughput",)
SAME = ("FILTER", "PUPIL")


@dataclass
class Analyzed:
    """What ami_normalize needs: `members.prepared["ami_analyze"]`.

    Attributes
    ----------
    science, psf : lists of (tables.Seen, observables.Observables, mjd, seconds), one for each exposure
    """

    science: list = field(default_factory=list)
    psf: list = field(default_factory=list)


def apply(
    members,
    refs,
    *,
    oversample: Annotated[int, Range(min=1)] = 3,
    rotation: float = 0.0,
    psf_offset: str = "0.0 0.0",
    rotation_search: str = "-3 3 1",
    bandpass: str | None = None,
    usebp: bool = True,
    firstfew: Annotated[int, Range(min=1)] | None = None,
    chooseholes: list | str | None = None,
    affine2d: str | None = "commissioning",
    run_bpfix: bool = True,
    whole_pixels: bool = False,
):
    """Fit the fringes of each integration of the star and of its PSF references.

    Each image is cut out about the brightest pixel. Bad pixels are found and corrected by their power at spatial frequencies that the
    holes do not make (Ireland 2013, MNRAS 433, 1718). The place of the image is that of the slope of its transform's phase; for it the
    images of the fringes are computed (`arithmetic.ami.fit`), and fitted to the good pixels.

    Parameters
    ----------
    members : exposure.Members
        Integrations (int, row, col), or images; science and psf.
    refs : References
        nrm: keywords of the holes' places, and NRM, the mask over the pupil. throughput: table THROUGHPUT; needed without `bandpass`.
    oversample : int
        Samples a pixel in the model, along each axis; odd.
    rotation : float
        Guess of the pupil's turn, deg: the middle of the search.
    psf_offset : str
        x and y of the star's image from the middle in the search for the turn, pixels.
    rotation_search : str
        First, last and step of the turns that are tried, deg; where affine2d is none.
    bandpass : str
        ASDF file with `bandpass`, rows of (weight, wavelength [m]), in place of the filter's.
    usebp : bool
        Leave bad pixels out of the fit, though they are corrected.
    firstfew : int
        Look at the first integrations alone.
    chooseholes : list of str
        Names of the holes whose fringes are fitted.
    affine2d : str
        "commissioning": as the pupil was measured in orbit; an ASDF file with mx, my, sx, sy, xo, yo; or none: search for its turn.
    run_bpfix : bool
        Correct bad pixels.
    whole_pixels : bool
        Compute exactly what a pixel's area does to each fringe. False: as jwst, by `oversample` samples alone, with which the finest
        fringes' visibilities come out 2 % too small; ami_normalize takes that off.

    Returns
    -------
    list
        The members, and for each of them the mean observables ("ami-oi" or, of a reference, "psf-ami-oi"), those of each integration
        ("amimulti-oi"), both as tables of OIFITS, and the images with their fits ("amilg").

    Raises
    ------
    InputError
        An exposure has no star, was taken with other optics, or its fringes can't be fitted.
    ConfigError
        A parameter can't be used.
    """
    optics = _optics(refs, oversample, bandpass, chooseholes)
    optics.whole_pixels = whole_pixels
    pupil = None if affine2d is None or affine2d.lower() == "none" else affine2d
    known = affine.COMMISSIONING if pupil == "commissioning" else affine.of_file(pupil) if pupil else None
    angles = [rotation + angle for angle in _angles(rotation_search)]
    offset = _numbers(psf_offset, 2, "psf_offset")[::-1]
    result, products, first = Analyzed(), [], None
    for kind in ("science", "psf"):
        for exposure in members.each(kind):
            first = first or exposure.header
            _check_optics(exposure, first)
            optics.pixel = images.pixel_size(exposure.header)
            dark = _dark(refs["nrm"], optics, exposure.header) if run_bpfix else None
            sci, flags = images.cut_out(exposure, firstfew)
            seen = images.prepared(sci, flags, dark, usebp, exposure.name)
            optics.affine = known or _search(seen.whole, optics, angles, offset, exposure.name)
            fits = [_fit(image, bad, optics) for image, bad in zip(seen.sci, seen.bad, strict=True)]
            if not any(fits):
                raise InputError("its fringes can't be fitted: too few pixels are good", exposure.name, "Leave it out of the association")
            if not all(fits):
                log.warning("%s: %d of %d integrations can't be fitted", exposure.name, sum(one is None for one in fits), len(fits))
            mean, made = _products(exposure, kind, seen, fits, optics)
            getattr(result, kind).append(mean)
            products += made
    members.prepared["ami_analyze"] = result
    return [members, *products]


# --- parameters ------------------------------------------------------------------------------------------------------


def _optics(refs, oversample, path, holes):
    if oversample % 2 == 0:
        raise ConfigError(f"oversample of ami_analyze has to be odd, it is {oversample}", do="Give 1, 3, 5...")
    if path is None and "throughput" not in refs:
        raise ConfigError("there is no throughput reference for ami_analyze", do="Give one, or a file with the parameter bandpass")
    light = bandpasses.of_file(path) if path else bandpasses.of_reference(refs["throughput"])
    names = holes.replace(",", " ").split() if isinstance(holes, str) else holes
    names = [str(name).strip("[]'\" ") for name in names] if names else None
    return fit.Optics(masks.of_reference(refs["nrm"], names), light, affine.Affine(), 0.0, oversample)


def _numbers(text, count, name):
    try:
        values = [float(part) for part in str(text).split()]
    except ValueError:
        values = []
    if len(values) != count or not np.isfinite(values).all():
        raise ConfigError(f"{name} of ami_analyze has to be {count} numbers, it is {text!r}", do="Write them with spaces between")
    return values


def _angles(text):
    start, stop, step = _numbers(text, 3, "rotation_search")
    if step <= 0 or stop < start or (stop - start) / step > 1000:
        raise ConfigError(f"rotation_search of ami_analyze has to be first, last and step, it is {text!r}", do="Write it like -3 3 1")
    return [*np.arange(start, stop, step).tolist(), stop]


def _check_optics(exposure, first):
    for keyword in SAME:
        if exposure.header.get(keyword) != first.get(keyword):
            what = f"{keyword} is {exposure.header.get(keyword)}, that of the science exposure {first.get(keyword)}"
            raise InputError(what, exposure.name, "Take exposures with the same optics into one association")


# --- one exposure ----------------------------------------------------------------------------------------------------


def _dark(nrm, optics, header):
    """Size of images -> their dark frequencies; kept, as they are the same for all exposures."""
    colours = bad_pixels.wavelengths(str(header.get("FILTER")), optics.bandpass)

    def of(size):
        def make():
            return bad_pixels.dark_frequencies(nrm.uncut("NRM").astype(float), optics.mask.pupil, size, optics.pixel, colours)

        return nrm.derived(f"dark frequencies {size} {optics.pixel:.15g} {colours}", make)

    return of


def _search(image, optics, angles, offset, name):
    found = place.rotation(image, optics, angles, offset)
    if found is None:
        log.warning("%s: no turn of the pupil fits better than others, none is assumed", name)
        return affine.Affine()
    log.info("%s: the pupil is turned by %.4f deg", name, found)
    return affine.rotation(found)


def _fit(image, bad, optics):
    if bad.all():
        return None
    return fit.fitted(image, fit.model(optics, image.shape, place.centre(image)), bad)


def _products(exposure, kind, seen, fits, optics):
    header = exposure.header
    root = str(header.name).rpartition("/")[2].rpartition("_")[0]
    roll = float(header.get("ROLL_REF", 0.0)) + float(header.get("V3I_YANG", 0.0))
    on_sky = optics.mask.on_sky(roll, int(header.get("VPARITY", -1)))
    about = tables.Seen(optics.mask, on_sky, optics.bandpass, optics.pixel, seen.sci.shape[1], header)
    each = observables.of_fits(fits, optics.mask)
    mean = observables.averaged(each, optics.mask)
    moments, seconds = _times(exposure, len(fits))
    single = [_one(each, number) for number in range(len(fits))]
    middle, whole = float(np.mean(moments)), float(header.get("EFFEXPTM") or np.sum(seconds))
    averaged = exposure.aside("ami-oi" if kind == "science" else "psf-ami-oi")
    averaged.tables = tables.of(about, [mean], [middle], [whole])
    multi = exposure.aside("amimulti-oi")
    multi.tables = tables.of(about, single, moments, seconds)
    shown = exposure.aside("amilg")
    shown.pixels = [Pixels(extra=_images(seen, fits), header=shown.header.sci)]
    terms = len(next(one for one in fits if one is not None).coefficients)
    solutions = np.full(len(fits), np.nan, [("coeffs", "f8", (terms,))])
    for number, one in enumerate(fits):
        if one is not None:
            solutions["coeffs"][number] = one.coefficients
    shown.tables = {"SOLNS": solutions}
    for product in (averaged, multi, shown):
        product.product = root
    return (about, mean, middle, whole), [averaged, multi, shown]


def _one(each, number):
    parts = vars(each).values()
    return observables.Observables(*({k: a[number] for k, a in part.items()} if isinstance(part, dict) else part[number] for part in parts))


def _images(seen, fits):
    """Images, fits and what these leave, and the same over the brightest pixel."""
    fitted = np.array([np.full(seen.sci.shape[1:], np.nan) if one is None else one.image for one in fits])
    left = np.where(seen.bad, np.nan, seen.sci - fitted)
    top = seen.sci.max(axis=(1, 2), keepdims=True)
    top[top == 0] = np.nan  # an integration without pixels
    found = {}
    for name, cube in (("CTRD", seen.sci), ("FIT", fitted), ("RESID", left)):
        found[name], found[f"N_{name}"] = cube.astype(np.float32), (cube / top).astype(np.float32)
    return found


def _times(exposure, count):
    """Middle [MJD] and length [s] of the integrations."""
    header, rows = exposure.header, exposure.tables.get("INT_TIMES")
    length = header.get("EFFINTTM") or (header.get("EFFEXPTM") or 0.0) / max(int(header.get("NINTS", 1)), 1)
    if exposure.sci.ndim == 2:
        length = header.get("EFFEXPTM") or length
    seconds = [float(length)] * count
    if exposure.sci.ndim == 3 and rows is not None and len(rows) >= count and "int_mid_MJD_UTC" in rows.dtype.names:
        return [float(value) for value in rows["int_mid_MJD_UTC"][:count]], seconds
    middle = header.get("EXPMID")
    if middle is None:
        middle = (float(header.get("EXPSTART", 0.0)) + float(header.get("EXPEND", 0.0))) / 2
    return [float(middle)] * count, seconds
