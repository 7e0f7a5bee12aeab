"""Light through a spectrograph, at the level of rates or of calibrated images, with the truth beside: for tests of spectroscopic steps.

    from jwcal.simulate import spectrograph

    files = spectrograph.write_lrs_references("references")
    star = spectrograph.Source(spectrograph.Spectrum(flux=0.02, lines=[(9.0, -0.3, 0.1)]), along=1.2)     # Jy; an absorption line
    one = spectrograph.simulate_lrs(files, slitless=False, sources=[star], background=lambda wavelength: 20 + 0 * wavelength)
    one.exposure                            # jwcal.exposure.Exposure, suffix "rate", as stage 1 would leave it
    one.truth.image, one.truth.paths        # without noise; where each source's light fell

    transit = spectrograph.Dip(shape=1 - Transit(depth=1.0).factor(phase), depth=lambda wavelength: 0.01 + 0.001 * (wavelength > 8))
    many = spectrograph.simulate_lrs(files, slitless=True, sources=[star], dip=transit)                 # "rateints"

Where light falls is taken from the WCS that the calibration gives the exposure; that this is right is for tests of the WCS. What is
tested with these exposures is all that follows. Same arguments, same arrays.

`path_of` and `paint` know nothing of an instrument: a spectrum along rows or columns, with the width of the line spread function, the PSF
across it, and what a slit lets through.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.time import Time, TimeDelta
from scipy.special import erf

from ..arithmetic.wcs.pixel_coordinates import wavelength_and_sky
from ..model.exposure import Exposure, Header, Pixels
from ..model.references import References
from ..steps import assign_wcs
from . import exposures, headers, instruments, pointing, references
from .scene import CORE, HALO_SCALE, SIGMA

DIFFRACTION = 0.0328  # arcsec a micron: the FWHM of the telescope's PSF
FINE = 8  # samples a pixel along the spectrum
BLOCK = 256  # pixels along the spectrum at once


@dataclass(frozen=True)
class Spectrum:
    """A power law with lines: what a source gives at a wavelength.

    Attributes
    ----------
    flux : Jy at the wavelength `at` [micron]
    slope : of the power law; -1 is a flux that falls with the wavelength
    lines : of (wavelength [micron], height in units of the continuum, FWHM [micron]); Gaussian, in absorption if the height is negative
    """

    flux: float = 0.01
    at: float = 8.0
    slope: float = 0.0
    lines: tuple = ()

    def __call__(self, wavelength):
        """Jy."""
        wavelength = np.asarray(wavelength, float)
        lines = sum(height * np.exp(-0.5 * ((wavelength - at) / (SIGMA * width)) ** 2) for at, height, width in self.lines)
        return self.flux * (wavelength / self.at) ** self.slope * (1 + lines)


@dataclass(frozen=True)
class Source:
    """A point source.

    Attributes
    ----------
    spectrum : callable, wavelength [micron] -> Jy
    along, across : where it is from the target, along the slit and across it [arcsec]
    """

    spectrum: Callable = Spectrum()
    along: float = 0.0
    across: float = 0.0


@dataclass(frozen=True)
class Dip:
    """A transit: what the first source loses.

    Attributes
    ----------
    shape : (int,), from 0 (outside) to 1 (in the middle)
    depth : part of the light that is lost where the shape is 1; a number, or a callable of the wavelength [micron]
    """

    shape: np.ndarray
    depth: float | Callable = 0.01

    def __call__(self, wavelength):
        depth = self.depth(wavelength) if callable(self.depth) else self.depth
        return np.broadcast_to(depth, np.shape(wavelength))


@dataclass
class PathOfLight:
    """Where a source's light falls.

    Attributes
    ----------
    wavelength : (n,) [micron]
    along, across : (n,) pixels from 0, along the spectrum (rising) and across it
    offset : (n,) arcsec across the slit, from its middle
    """

    wavelength: np.ndarray
    along: np.ndarray
    across: np.ndarray
    offset: np.ndarray

    def at(self, along, name="wavelength"):
        """One of the others at pixels along the spectrum; NaN beyond its ends."""
        return np.interp(along, self.along, getattr(self, name), left=np.nan, right=np.nan)


@dataclass
class Truth:
    """What was put in.

    Attributes
    ----------
    sources : list of Source
    paths : list of PathOfLight
    image : (row, col) or (int, row, col) without noise, in the exposure's unit
    wavelength : (row, col) [micron]
    background : callable or None, MJy/sr
    dip : Dip or None
    """

    sources: list
    paths: list
    image: np.ndarray
    wavelength: np.ndarray
    background: Callable | None
    dip: Dip | None


@dataclass
class Simulated:
    """An exposure and its truth."""

    exposure: Exposure
    truth: Truth
    refs: References = field(repr=False)


def path_of(wcs, ra, dec, wavelength, *, vertical=True):
    """Where the light of a place on the sky falls.

    Parameters
    ----------
    wcs : gwcs.WCS
        With an inverse, and a frame "alpha_beta".
    ra, dec : float
        deg.
    wavelength : ndarray, (n,)
        micron. Those without a place are left out.
    vertical : bool
        Whether the spectrum runs along the columns.
    """
    world = np.full_like(wavelength, ra), np.full_like(wavelength, dec), wavelength
    x, y = wcs.invert(*world, with_bounding_box=False)
    _, offset, _ = wcs.get_transform("world", "alpha_beta")(*world)
    along, across = (y, x) if vertical else (x, y)
    good = np.flatnonzero(np.isfinite(along) & np.isfinite(across))
    good = good[np.argsort(along[good], kind="stable")]
    return PathOfLight(wavelength[good], along[good], across[good], offset[good])


def paint(image, path, density, *, spread, fwhm, vertical=True):
    """Add a spectrum to an image: light along a path, blurred along it by the line spread function and across it by the PSF.

    Parameters
    ----------
    image : ndarray, (row, col) float64
        Changed in place.
    path : PathOfLight
    density : callable
        wavelength -> what a pixel's length of spectrum gives in all, in the image's unit.
    spread : callable
        wavelength -> FWHM of the line spread function, Gaussian [pixels].
    fwhm : callable
        wavelength -> FWHM of the PSF's core across the spectrum [pixels]; its halo is that of the scenes.
    vertical : bool

    Returns
    -------
    ndarray
        What fell on each row (column) in all.
    """
    image = image if vertical else image.T
    first, last = path.along[[0, -1]]
    fine = np.arange(first, last, 1 / FINE) + 0.5 / FINE
    fine = fine[fine < last]
    wavelength = path.at(fine)
    light = density(wavelength) / FINE
    width = np.sqrt(2) * SIGMA * np.maximum(spread(wavelength), 1e-3)
    total = np.zeros(image.shape[0])
    for start in range(0, total.size, BLOCK):
        rows = np.arange(start, min(start + BLOCK, total.size))
        reach = 8 * width.max() + 1
        near = slice(*np.searchsorted(fine, [rows[0] - reach, rows[-1] + reach]))
        edges = (np.arange(rows[0], rows[-1] + 2)[:, None] - 0.5 - fine[near]) / width[near]
        total[rows] = np.diff(erf(edges), axis=0) @ light[near] / 2
    rows = np.flatnonzero(total)
    place = np.clip(rows, path.along[0], path.along[-1])
    size = SIGMA * np.sqrt(2) * fwhm(path.at(place))[:, None]
    edges = np.arange(image.shape[1] + 1) - 0.5 - path.at(place, "across")[:, None]
    for part, scale in ((CORE, 1), (1 - CORE, HALO_SCALE)):
        image[rows] += total[rows, None] * part / 2 * np.diff(erf(edges / (scale * size)), axis=1)
    return total


def passed(offset, width, fwhm):
    """The part of a point source's light that a long slit lets through.

    Parameters
    ----------
    offset : ndarray
        Of the source from the slit's middle, across it.
    width : float
        Of the slit; infinite without one.
    fwhm : ndarray
        Of the PSF's core; its halo is that of the scenes. All three in one unit.
    """
    size = SIGMA * np.sqrt(2) * np.asarray(fwhm, float)
    through = [erf((offset + width / 2) / (scale * size)) - erf((offset - width / 2) / (scale * size)) for scale in (1, HALO_SCALE)]
    return CORE / 2 * through[0] + (1 - CORE) / 2 * through[1]


# --- MIRI's prism -------------------------------------------------------------------------------------------------------------

SLIT = 0.51  # arcsec wide
SCALE = 0.11  # arcsec a pixel
PRISM = {"row": (-293, 75), "wavelength": (8.362, -3.024, -0.913, -0.459, -0.152, -0.020), "trace": (-0.028, 0.515)}  # of y / 100
PLACE = {"IMX": 326.13, "IMY": 300.7, "IMXSLTL": 38.5, "IMYSLTL": 829.0}
PIXAR_SR = 2.83487535541642e-13
GAIN, READNOISE = 5.5, 6.0  # e-/DN, and DN of a whole ramp
EXP_TYPES = {False: "MIR_LRS-FIXEDSLIT", True: "MIR_LRS-SLITLESS"}


def lrs_response(wavelength):
    """MJy/sr for a DN/s, as the photom reference made here has it: best at 7 micron, falling off to both sides."""
    return 0.8 * (1 + 0.05 * (np.asarray(wavelength, float) - 7) ** 2)


def lrs_spread(wavelength):
    """FWHM of the line spread function [pixels]."""
    return 1.8 + 0.12 * (np.asarray(wavelength, float) - 5)


def write_specwcs(path, *, rows=PRISM["row"], wavelength=PRISM["wavelength"], trace=PRISM["trace"], place=PLACE, more=None):
    """Write a specwcs reference of the prism.

    Parameters
    ----------
    path : path
    rows : (int, int)
        First and last, counted from the reference place.
    wavelength, trace : sequence of float
        Polynomials of (row / 100): micron, and pixels by which the trace is beside the place.
    place : dict
        IMX, IMY, IMXSLTL, IMYSLTL: pixels of the full frame, counted from 1.
    more : dict, optional
        Further keywords.
    """
    y = np.arange(rows[1], rows[0] - 1, -1.0)
    x = np.polynomial.polynomial.polyval(y / 100, trace)
    columns = {"X_CENTER": x, "Y_CENTER": y, "WAVELENGTH": np.polynomial.polynomial.polyval(y / 100, wavelength)}
    for number, (right, up) in enumerate([(-20, 0.5), (20, 0.5), (20, -0.5), (-20, -0.5)]):
        columns |= {f"X{number}": x + right, f"Y{number}": y + up}
    table = fits.BinTableHDU.from_columns([fits.Column(name, "D", array=values) for name, values in columns.items()], name="WAVETABLE")
    about = reference_keywords("SPECWCS", "MiriLRSSpecwcsModel")
    fits.HDUList([fits.PrimaryHDU(header=fits.Header({**about, **place, **(more or {})})), table]).writeto(path, overwrite=True)
    return Path(path)


def write_lrs_photom(path, response=lrs_response):
    """Write a photom reference of the prism, red to blue as the archive's, for all subarrays."""
    wavelength = np.linspace(14.5, 3.0, 400)
    relative = response(wavelength)
    kinds = [("filter", "S12"), ("subarray", "S15"), ("photmjsr", ">f4"), ("uncertainty", ">f4"), ("nelem", ">i2")]
    kinds += [(name, ">f4", (wavelength.size,)) for name in ("wavelength", "relresponse", "reluncertainty")]
    row = ("P750L", "GENERIC", 1.0, 0.0, wavelength.size, wavelength, relative, 0.01 * relative)
    table = fits.BinTableHDU(np.array([row], kinds), name="PHOTOM")
    area = {"PIXAR_SR": PIXAR_SR, "PIXAR_A2": PIXAR_SR * (180 / np.pi * 3600) ** 2}
    fits.HDUList([fits.PrimaryHDU(header=fits.Header(reference_keywords("PHOTOM", "MirLrsPhotomModel") | area)), table]).writeto(
        path, overwrite=True
    )
    return Path(path)


def write_lrs_pathloss(path, reach=(24, 12), step=(4.0, 0.2)):
    """Write a pathloss reference of the prism: what a source's light has to be multiplied by, that the slit here lets through in part.

    Parameters
    ----------
    path : path
    reach : (int, int)
        Places along and across the slit, to each side of its middle.
    step : (float, float)
        Between them, in pixels.
    """
    wavelength = np.linspace(14.5, 3.0, 116)  # red to blue, as the archive's
    (columns, rows), (dx, dy) = ((2 * n + 1 for n in reach), step)
    across = (np.arange(rows) - reach[1]) * dy * SCALE
    loss = np.array([1 / passed(across, SLIT, DIFFRACTION * at) for at in wavelength])
    cube = np.broadcast_to(loss[..., None], (wavelength.size, rows, columns))
    kinds = [("wavelength", ">f4"), ("pathloss", ">f4", cube.shape[1:]), ("pathloss_err", ">f4", cube.shape[1:])]
    table = fits.BinTableHDU(np.rec.fromarrays([wavelength, cube, 0 * cube], kinds), name="PATHLOSS")
    axes = {"CRPIX1": reach[0] + 1.0, "CRPIX2": reach[1] + 1.0, "CRVAL1": 0.0, "CRVAL2": 0.0, "CDELT1": dx, "CDELT2": dy}
    table.header.update({"WCSAXES": 2, **axes})
    fits.HDUList([fits.PrimaryHDU(header=fits.Header(reference_keywords("PATHLOSS", "MirLrsPathlossModel"))), table]).writeto(
        path, overwrite=True
    )
    return Path(path)


def reference_keywords(kind, model):
    about = {"TELESCOP": "JWST", "INSTRUME": "MIRI", "DETECTOR": "MIRIMAGE", "FILTER": "P750L", "REFTYPE": kind, "DATAMODL": model}
    return about | {"USEAFTER": references.USEAFTER, "AUTHOR": "jwcal.simulate", "PEDIGREE": "DUMMY", "DESCRIP": "made by jwcal.simulate"}


def write_lrs_references(folder):
    """The references of the prism that undo what is simulated here: distortion, specwcs, photom, pathloss.

    Returns
    -------
    dict
        type -> path.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    setup = instruments.setup(EXP_TYPES[False])
    about = {"telescope": "JWST", "reftype": "distortion", "author": "jwcal.simulate", "pedigree": "DUMMY", "useafter": references.USEAFTER}
    about |= {"instrument": {"name": "MIRI", "detector": "MIRIMAGE"}, "description": "The SIAF's distortion"}
    files = {"distortion": folder / "lrs_distortion.asdf"}
    exposures.asdf.AsdfFile({"meta": about, "model": references.distortion_model(setup)}).write_to(files["distortion"])
    return files | {
        "specwcs": write_specwcs(folder / "lrs_specwcs.fits", more=_slit_corners()),
        "photom": write_lrs_photom(folder / "lrs_photom.fits"),
        "pathloss": write_lrs_pathloss(folder / "lrs_pathloss.fits"),
    }


def _slit_corners():
    """V2VERT1, V3VERT1... [arcsec], the slit's corners."""
    places = instruments.siaf("MIRI")["MIRIM_SLIT"].corners("tel", rederive=False)
    return {f"V{axis}VERT{n}": float(place) for axis, values in zip((2, 3), places, strict=True) for n, place in enumerate(values, start=1)}


def simulate_lrs(
    files,
    *,
    slitless=False,
    sources=(Source(),),
    background=None,
    dip=None,
    calibrated=False,
    response=lrs_response,
    target=exposures.TARGET,
    roll=30.0,
    dither=None,
    start=exposures.START,
    identity=None,
    noise=True,
    seed=1,
    header=None,
    **options,
):
    """Make one exposure with MIRI's prism.

    Parameters
    ----------
    files : dict
        type -> path of the references distortion and specwcs; real ones will do.
    slitless : bool
        Time series without a slit, (int, row, col), or one image with the slit.
    sources : sequence of Source
    background : callable, optional
        wavelength [micron] -> MJy/sr.
    dip : Dip, optional
        The first source's; slitless only, its length is the number of integrations.
    calibrated : bool
        In MJy/sr with a WCS ("cal", "calints") and not in DN/s without one ("rate", "rateints").
    response : callable
        wavelength -> MJy/sr for a DN/s: what photom will multiply with.
    target, roll, dither, start, identity, header
        As `exposures.simulate_exposure` takes them. `dither` moves the target along the slit (`x`, arcsec).
    noise : bool
        False: SCI is the truth; ERR and the variances are as ever.
    seed : int
    **options
        What `instruments.setup` understands: ngroups, nints...

    Returns
    -------
    Simulated
    """
    if slitless and dip is not None:
        options = {"nints": len(dip.shape), **options}
    setup = instruments.setup(EXP_TYPES[slitless], **options)
    head = make_header(setup, target, roll, dither or {}, start, identity or headers.Identity())
    for key, value in (header or {}).items():
        head[key] = value
    shape = (setup.readout.nints, *setup.subarray.shape) if slitless else setup.subarray.shape
    made = Exposure(head, [Pixels(sci=np.zeros(shape, np.float32))], suffix="rateints" if slitless else "rate")
    refs = References(files, head)
    looking = made.derive([Pixels(sci=made.sci)], made.suffix)
    assign_wcs.apply(looking, refs, "lrs_slitless" if slitless else "lrs_slit")
    wcs = looking.wcs
    *_, wavelength = wavelength_and_sky(wcs, shape)
    to_unit = _one if calibrated else response  # MJy/sr for what the image is in
    image, paths = _light(wcs, wavelength, target, sources, background, dip, slitless, to_unit, shape)
    per_dn = np.where(np.isfinite(wavelength), response(wavelength), 1.0) if calibrated else np.ones(shape[-2:])
    made.pixels = [measured(image, per_dn, setup.readout.effinttm, noise, np.random.default_rng([seed, 271]))]
    made.pixels[0].header = made.header.sci
    if calibrated:
        made.header, made.suffix = looking.header, "calints" if slitless else "cal"
        made.pixels[0].header = made.header.sci
        made.pixels[0].wcs, made.pixels[0].extra = wcs, dict(looking.pixels[0].extra)
        made.header.sci["BUNIT"] = "MJy/sr"
        made.header.sci["PIXAR_SR"], made.header.sci["PIXAR_A2"] = PIXAR_SR, PIXAR_SR * (180 / np.pi * 3600) ** 2
    return Simulated(made, Truth(list(sources), paths, image, wavelength, background, dip), refs)


def _one(wavelength):
    return np.ones(np.shape(wavelength))


def _light(wcs, wavelength, target, sources, background, dip, slitless, response, shape):
    """The image without noise, and the sources' paths."""
    lit = np.isfinite(wavelength)
    image = np.zeros(shape[-2:])
    if background is not None:
        image[lit] = background(wavelength[lit]) / response(wavelength[lit])
    grid = np.linspace(np.nanmin(wavelength), np.nanmax(wavelength), FINE * int(lit.any(axis=1).sum()))
    shapes = {"spread": lrs_spread, "fwhm": lambda w: DIFFRACTION * w / SCALE}
    middle = grid[grid.size // 2]
    alpha, beta, _ = wcs.get_transform("world", "alpha_beta")(*target, middle)
    paths, lost = [], np.zeros(shape[-2:])
    for source in sources:
        ra, dec, _ = wcs.get_transform("alpha_beta", "world")(alpha + source.along, beta + source.across, middle)
        path = path_of(wcs, float(ra), float(dec), grid)
        across = float(np.median(path.offset))
        if slitless:  # nothing holds the light back: it falls on other rows
            path.along += across / SCALE
        density = _Density(source.spectrum, response, across, np.inf if slitless else SLIT)
        paint(image, path, density, **shapes)
        if dip is not None and not paths:
            paint(lost, path, lambda w, density=density: density(w) * dip(w), **shapes)
        paths.append(path)
    if len(shape) == 2:
        return image, paths
    part = np.zeros(shape[0]) if dip is None else np.asarray(dip.shape, float)
    return image - part[:, None, None] * lost, paths


@dataclass(frozen=True)
class _Density:
    """What a pixel's length of a source's spectrum gives in all."""

    spectrum: Callable
    response: Callable
    across: float
    width: float

    def __call__(self, wavelength):
        through = passed(self.across, self.width, DIFFRACTION * wavelength)
        return 1e-6 / PIXAR_SR * self.spectrum(wavelength) * through / self.response(wavelength)


def make_header(setup, target, roll, dither, start, identity):
    """Keywords of a rate file."""
    began = Time(start, format="isot", scale="utc", precision=3)
    craft = headers.spacecraft(began + TimeDelta(setup.readout.duration / 2, format="sec"))
    offset = (dither.get("x", 0.0), dither.get("y", 0.0))
    look = pointing.point(setup, target, roll=roll, dither=offset, va_scale=craft.towards(*target)[1])
    primary, science = headers.make_headers(
        setup, headers.keywords(setup, look, identity, began, target=target, craft=craft, dither=dither)
    )
    science["BUNIT"] = "DN/s"
    return Header(primary, science, f"{identity.root(setup, began)}_rate.fits")


def measured(image, per_dn, seconds, noise, rng):
    """What is measured of an image, with its variances; `per_dn`: of the image's unit for a DN/s, (row, col)."""
    poisson = np.maximum(image, 0) * per_dn / (GAIN * seconds)
    read = np.broadcast_to((READNOISE / seconds * per_dn) ** 2, image.shape)
    sci = image + rng.standard_normal(image.shape) * np.sqrt(poisson + read) if noise else image
    planes = {"sci": sci, "err": np.sqrt(poisson + read), "var_poisson": poisson, "var_rnoise": read}
    return Pixels(**{name: plane.astype(np.float32) for name, plane in planes.items()}, dq=np.zeros(image.shape, np.uint32))
