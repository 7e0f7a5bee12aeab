"""Slitless spectra behind grisms as raw exposures with known truth: wide fields with their direct images, and NIRCam's time series.

    from jwcal.simulate import grism

    made = grism.expose_series("folder")                     # a transit behind NIRCam's GRISMR
    field = grism.expose_field("other", grism.NIRISS)        # direct images, GR150C and GR150R; point sources and galaxies that overlap
    field.sources[0].spectrum, field.places                  # Jy, and the pixel where each source's direct image fell in each exposure

A source whose direct image is at (x0, y0) [pixels from 0] has the light of wavelength w in order m at (x0 + dx, y0 + dy), with dx and dy
polynomials in t whose coefficients are linear in x0 and y0, as grism configurations have it (Pirzkal & Ryan 2017, STScI-ISR; NIRCam's
dispersion: Greene et al. 2017, JATIS 3, 035001; NIRISS's: Willott et al. 2022, PASP 134, 025002). t goes from 0 at one wavelength to 1
at another. NIRCam's step along the dispersion is linear in t and the same everywhere, and its wavelengths are a polynomial in t that
depends on the place. NIRISS's polynomials are those for one position of the filter wheel: (dx, dy) turn with it. The instruments here are
made up, with the real ones' figures.

Light: a source of F Jy gives F 1e-6 / PIXAR_SR / C(w) DN/s a micron, with C the photom reference's conversion [(MJy/sr) micron / (DN/s)].
Spectra are those at the barycentre: the telescope's velocity shifts them as VELOSYS says. The line spread function is the PSF, and the
shape of a galaxy.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import asdf
import numpy as np
from astropy.io import fits
from astropy.modeling.models import Polynomial1D, Polynomial2D
from astropy.table import Table
from scipy.signal import fftconvolve

from ..files import storage
from . import exposures, references, scene
from .detector import make_detector
from .from_rates import Exposed, Shot, expose
from .headers import LIGHT, Identity
from .instruments import Subarray
from .series import Transit
from .spectrograph import Dip, PathOfLight, Spectrum, paint

FIRST, TRANSIT = Identity(), Transit()
CENTRE = 1023.5  # of a detector, from which the coefficients change
SAMPLES = 8  # a pixel along the spectrum


@dataclass(frozen=True)
class Order:
    """A spectral order.

    Attributes
    ----------
    number : int
    wavelengths : micron where t is 0 and 1
    along, across : pixels by which light is moved along the dispersion and across it: coefficients of 1, t, t^2...
    strength : sensitivity in terms of the first order's
    """

    number: int
    wavelengths: tuple
    along: tuple
    across: tuple = (0.0,)
    strength: float = 1.0


@dataclass(frozen=True)
class Grism:
    """A grism behind a filter.

    Attributes
    ----------
    filter, pupil, detector : str
        As in the header of its exposures.
    vertical : bool
        Whether spectra run along the columns.
    orders : tuple of Order
    band : micron, that the filter passes
    photmjsr : (MJy/sr) micron for a DN/s, of the first order in the middle of the band
    bend : by how much the conversion rises towards the band's edges, in parts of it
    field : part by which the coefficients change from the detector's centre to its edge; 0: NIRCam's older references, in t alone
    angle : deg, the wheel's position that the reference is for (NIRISS)
    """

    exp_type: str
    filter: str
    pupil: str | None
    detector: str
    vertical: bool
    orders: tuple
    band: tuple
    photmjsr: float
    pixar_sr: float
    bend: float = 0.5
    field: float = 0.002
    angle: float | None = None
    fwhm: float | None = None  # pixels

    @property
    def instrument(self):
        return {"NRC": "NIRCAM", "NIS": "NIRISS", "MIR": "MIRI"}[self.exp_type[:3]]

    def factor(self, x0, y0):
        """What coefficients are multiplied with where direct images are at these pixels of the full frame."""
        return 1 + self.field * (x0 - CENTRE) / CENTRE - self.field / 2 * (y0 - CENTRE) / CENTRE

    def place(self, order, x0, y0, wavelength, turned=0.0):
        """Where light falls [pixels].

        Parameters
        ----------
        order : Order
        x0, y0 : float
            Of the direct image.
        wavelength : ndarray
            micron, at the telescope.
        turned : float
            Position of the filter wheel less the reference's [deg].
        """
        factor, t = self.factor(x0, y0), (wavelength - order.wavelengths[0]) / (order.wavelengths[1] - order.wavelengths[0])
        if self.instrument == "NIRCAM":
            t = t / factor
        along = np.polynomial.polynomial.polyval(t, order.along) * (1 if self.instrument == "NIRCAM" else factor)
        across = np.polynomial.polynomial.polyval(t, order.across) * factor
        dx, dy = (across, along) if self.vertical else (along, across)
        cos, sin = np.cos(np.radians(turned)), np.sin(np.radians(turned))
        return x0 + dx * cos + dy * sin, y0 - dx * sin + dy * cos

    def conversion(self, wavelength, order):
        """(MJy/sr) micron for a DN/s, (wavelength,)."""
        low, high = self.band
        off = (np.asarray(wavelength, float) - (low + high) / 2) / ((high - low) / 2)
        return self.photmjsr / order.strength * (1 + self.bend * off**2)

    def rate(self, flux, wavelength, order):
        """DN/s a micron of a source of that many Jy."""
        return 1e-6 / self.pixar_sr * flux / self.conversion(wavelength, order)


def _nircam(exp_type, name, vertical, module="A", band=(3.12, 3.99), filter="F356W"):
    """About 1 nm a pixel; 3.937 micron is not deflected; module B disperses to the other side."""
    side = 1 if module == "A" or vertical else -1
    first = Order(1, (2.4, 5.0), (-1530.88 * side, 2589.64 * side), (-0.6, 1.7, -0.5))
    second = Order(2, (2.4, 5.0), (859.56 * side, 5179.28 * side), (1.1, 0.8), 0.03)
    return Grism(exp_type, filter, name, f"NRC{module}LONG", vertical, (first, second), band, 0.061, 9.31e-14)


def _niriss(name, vertical, band=(1.33, 1.67), pupil="F150W"):
    """4.7 nm a pixel, falling; the orders 0 and 2 are beside the first."""
    orders = (
        Order(1, (0.8, 2.3), (-30.0, -319.0, -2.0), (3.0, 1.5)),
        Order(0, (0.8, 2.3), (195.0, -4.0), (1.0,), 0.05),
        Order(2, (0.8, 2.3), (-180.0, -640.0), (4.0, 2.0), 0.1),
    )
    return Grism("NIS_WFSS", name, pupil, "NIS", vertical, orders, band, 0.36 * 0.3, 1.009e-13, angle=226.0)


SERIES = replace(
    _nircam("NRC_TSGRISM", "GRISMR", False, band=(2.42, 4.02), filter="F322W2"), orders=(Order(1, (2.4, 5.0), (-1530.88, 2589.64)),)
)
NIRCAM = tuple(_nircam("NRC_WFSS", name, name == "GRISMC", band=(3.87, 4.31), filter="F410M") for name in ("GRISMR", "GRISMC"))
NIRISS = (_niriss("GR150C", False), _niriss("GR150R", True))
PRISM = Order(1, (5.0, 14.0), (150.0, -470.0, 70.0), (0.0, 2.0))
MIRI = (Grism("MIR_WFSS", "P750L", None, "MIRIMAGE", True, (PRISM,), (5.0, 11.5), 0.1, 2.84e-13, fwhm=2.4),)
DIRECT = {"NIRCAM": ("NRC_IMAGE", None, "CLEAR"), "NIRISS": ("NIS_IMAGE", "CLEAR", None), "MIRI": ("MIR_IMAGE", "F770W", None)}


# --- references ---------------------------------------------------------------------------------------------------------------


def write_references(folder, grisms, *, sky=None):
    """The references of grisms of one instrument: specwcs, wavelengthrange, photom, bkg, extract1d; what all of an instrument's modes share
    (distortion, flat...) is of `references`.

    Parameters
    ----------
    folder : path
    grisms : sequence of Grism
    sky : instruments.Subarray, optional
        Of which templates of the sky are written: for wide fields.

    Returns
    -------
    list of Path
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stem = grisms[0].exp_type.lower()
    files = [_write_asdf(folder / f"{stem}_{g.filter}_{g.pupil}_specwcs.asdf".lower(), "specwcs", g, _specwcs(g)) for g in grisms]
    files.append(_write_asdf(folder / f"{stem}_wavelengthrange.asdf", "wavelengthrange", grisms[0], _wavelengthrange(grisms), general=True))
    files.append(_photom(folder / f"{stem}_photom.fits", grisms))
    if sky is not None:
        files += [_sky(folder / f"{stem}_{g.filter}_{g.pupil}_bkg.fits".lower(), g, sky) for g in grisms]
    return files


def _specwcs(grism):
    """Trace and dispersion, for each order: in t alone, or with coefficients that depend on the place."""
    tree = {key: [] for key in ("displ", "dispx", "dispy", "invdispl", "invdispx", "invdispy")}
    for order in grism.orders:
        low, high = order.wavelengths
        tree["displ"].append(Polynomial1D(1, c0=low, c1=high - low))
        tree["invdispl"].append(Polynomial1D(1, c0=-low / (high - low), c1=1 / (high - low)))
        along, across = (_models(grism, c) for c in (order.along, order.across))
        tree["dispx"].append(across if grism.vertical else along)
        tree["dispy"].append(along if grism.vertical else across)
        back = Polynomial1D(1, c0=-order.along[0] / order.along[1], c1=1 / order.along[1])
        none = Polynomial1D(1, c0=0.0, c1=0.0)
        tree["invdispx"].append(none if grism.vertical else back)
        tree["invdispy"].append(back if grism.vertical else none)
    if grism.instrument != "NIRCAM" or grism.field:
        del tree["invdispx"], tree["invdispy"]
    if grism.instrument == "NIRCAM" and grism.field:  # pairs of polynomials, and no inverse
        del tree["invdispl"]
        tree["displ"] = [[_plane(grism, one.c0.value, False), _plane(grism, one.c1.value)] for one in tree["displ"]]
        along = "dispy" if grism.vertical else "dispx"
        tree[along] = [[Polynomial1D(1, c0=order.along[0], c1=order.along[1])] for order in grism.orders]
    tree["orders"] = [order.number for order in grism.orders]
    return tree | ({"fwcpos_ref": grism.angle} if grism.angle is not None else {})


def _models(grism, coefficients):
    if not grism.field and grism.instrument == "NIRCAM":
        coefficients = (*coefficients, 0.0)[: max(2, len(coefficients))]
        return Polynomial1D(len(coefficients) - 1, **{f"c{k}": c for k, c in enumerate(coefficients)})
    return [_plane(grism, c) for c in (*coefficients, 0.0, 0.0)[: max(3, len(coefficients))]]


def _plane(grism, coefficient, depends=True):
    """A coefficient by the direct image's place."""
    slope = grism.field / CENTRE * depends
    return Polynomial2D(1, c0_0=coefficient * (1 - slope * CENTRE / 2), c1_0=coefficient * slope, c0_1=-coefficient * slope / 2)


def _wavelengthrange(grisms):
    """Which wavelengths of which orders there are, and which orders are extracted."""
    series = grisms[0].exp_type == "NRC_TSGRISM"
    ranges, extracted = [], {}
    for grism in grisms:
        name = grism.pupil if grism.instrument == "NIRISS" else grism.filter
        for order in grism.orders:
            row = [order.number, *([grism.pupil] if series else []), name, *grism.band]
            if row not in ranges:
                ranges.append(row)
        extracted[name] = [1] if series or grism.instrument == "MIRI" else [order.number for order in grism.orders if order.number > 0]
    orders = sorted({row[0] for row in ranges})
    return {
        "wavelengthrange": ranges,
        "order": orders,
        "waverange_selector": list(extracted),
        "extract_orders": [[name, numbers] for name, numbers in extracted.items()],
    }


def _photom(path, grisms):
    """(MJy/sr) micron for a DN/s, by wavelength and order."""
    points = 400
    elements = {"MIRI": ("filter",)}.get(grisms[0].instrument, ("filter", "pupil"))
    kinds = [(name, "S15" if name == "pupil" else "S12") for name in elements] + [("order", ">i2")]
    kinds += [("photmjsr", ">f4"), ("uncertainty", ">f4"), ("nelem", ">i2")]
    kinds += [(name, ">f4", (points,)) for name in ("wavelength", "relresponse", "reluncertainty")]
    rows = []
    for grism in grisms:
        wavelength = np.linspace(*grism.band, points)
        for order in grism.orders:
            relative = grism.conversion(wavelength, order) * order.strength / grism.photmjsr
            named = [getattr(grism, name) for name in elements]
            rows.append((*named, order.number, grism.photmjsr / order.strength, 0.0, points, wavelength, relative, 0.01 * relative))
    model = {"NIRCAM": "NrcWfssPhotomModel", "NIRISS": "NisWfssPhotomModel", "MIRI": "MirLrsPhotomModel"}[grisms[0].instrument]
    header = _keywords("PHOTOM", grisms[0], model, general=True)
    header |= {"PIXAR_SR": grisms[0].pixar_sr, "PIXAR_A2": grisms[0].pixar_sr * (180 / np.pi * 3600) ** 2}
    table = fits.BinTableHDU(np.array(rows, kinds), fits.Header({"PHOTUNIT": "MJy micron s / (DN sr)"}), name="PHOTOM")
    return _write_fits(path, header, [table])


def sky_template(shape):
    """What an even sky gives behind a grism, about 1: orders of it end within the field."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return 1 + 0.1 * (x / shape[1] - 0.5) - 0.06 * (y / shape[0] - 0.5) - 0.25 * (x < 0.08 * shape[1])


def _sky(path, grism, sub):
    image, shape = sky_template(sub.shape), sub.shape
    planes = [("SCI", image.astype(np.float32)), ("ERR", np.full(shape, 0.01, np.float32)), ("DQ", np.zeros(shape, np.uint32))]
    definitions = np.array([(0, 1, "DO_NOT_USE", "Bad pixel")], [("BIT", "i4"), ("VALUE", "i4"), ("NAME", "S40"), ("DESCRIPTION", "S80")])
    hdus = [fits.ImageHDU(plane, name=name) for name, plane in planes] + [fits.BinTableHDU(definitions, name="DQ_DEF")]
    place = {"SUBARRAY": sub.name, "SUBSTRT1": sub.xstart, "SUBSTRT2": sub.ystart, "SUBSIZE1": sub.xsize, "SUBSIZE2": sub.ysize}
    return _write_fits(path, _keywords("BKG", grism, "WfssBkgModel") | place, hdus)


def _keywords(kind, grism, model, general=False):
    """Of a reference that is for one grism, or for all of a mode."""
    about = {"TELESCOP": "JWST", "INSTRUME": grism.instrument, "DETECTOR": grism.detector, "EXP_TYPE": grism.exp_type, "REFTYPE": kind}
    if not general:
        about |= {"FILTER": grism.filter} | ({"PUPIL": grism.pupil} if grism.pupil else {})
    about |= {"DATAMODL": model, "USEAFTER": references.USEAFTER, "AUTHOR": "jwcal.simulate", "PEDIGREE": "DUMMY"}
    return about | {"DESCRIP": "made by jwcal.simulate"}


def _write_fits(path, header, hdus):
    with storage.replaced(path) as temporary:
        fits.HDUList([fits.PrimaryHDU(header=fits.Header(header)), *hdus]).writeto(temporary, overwrite=True)
    return Path(path)


def _write_asdf(path, kind, grism, tree, general=False):
    meta = {"telescope": "JWST", "reftype": kind, "author": "jwcal.simulate", "pedigree": "DUMMY", "useafter": references.USEAFTER}
    meta |= {"description": "made by jwcal.simulate", "exposure": {"type": grism.exp_type}, "instrument": {"name": grism.instrument}}
    if not general:
        module = {"module": grism.detector[3]} if grism.instrument == "NIRCAM" else {}
        meta["instrument"] |= (
            {"filter": grism.filter, "detector": grism.detector} | ({"pupil": grism.pupil} if grism.pupil else {}) | module
        )
    models = {"NIRCAM": "NIRCAMGrismModel", "NIRISS": "NIRISSGrismModel", "MIRI": "MiriWFSSSpecwcsModel"}
    meta |= {"model_type": models[grism.instrument] if kind == "specwcs" else "WavelengthrangeModel", "title": "simulated"}
    meta |= {"input_units": "micron", "output_units": "micron"}
    with storage.replaced(path) as temporary:
        asdf.AsdfFile({"meta": meta, **tree}).write_to(temporary)
    return Path(path)


# --- light --------------------------------------------------------------------------------------------------------------------


def disperse(image, grism, x0, y0, spectrum, *, fwhm, velocity=0.0, turned=0.0, orders=None, corner=(0, 0), kernel=None):
    """Add the spectra of a source to an image.

    Parameters
    ----------
    image : ndarray, (row, col) float64
        DN/s; changed in place.
    grism : Grism
    x0, y0 : float
        Its direct image [pixels of the image].
    spectrum : callable
        wavelength at the barycentre [micron] -> Jy.
    fwhm : float
        Of the PSF's core [pixels].
    velocity : float
        VELOSYS [m/s].
    turned : float
        Position of the filter wheel less the reference's [deg].
    orders : collection of int, optional
        By default all.
    corner : (x, y)
        The image's first pixel in the full frame, from 0.
    kernel : ndarray, optional
        Shape of a galaxy, of sum 1.

    Returns
    -------
    dict
        Order -> PathOfLight, whose wavelengths are those at the barycentre.
    """
    stretched = 1 + velocity / (1e3 * LIGHT)
    paths, light = {}, np.zeros_like(image)
    for order in grism.orders:
        if orders is not None and order.number not in orders:
            continue
        span = abs(order.along[1]) * (grism.band[1] - grism.band[0]) / (order.wavelengths[1] - order.wavelengths[0])
        wavelength = np.linspace(*grism.band, int(SAMPLES * span) + 9)
        x, y = grism.place(order, x0 + corner[0], y0 + corner[1], wavelength, turned)
        x, y = x - corner[0], y - corner[1]
        along, across = (y, x) if grism.vertical else (x, y)
        step = np.abs(np.gradient(wavelength, along))  # micron a pixel
        sort = np.argsort(along, kind="stable")
        path = PathOfLight(wavelength[sort], along[sort], across[sort], np.zeros(sort.size))
        density = _Density(grism, order, spectrum, stretched, wavelength, step)
        paint(light, path, density, spread=_Width(fwhm), fwhm=_Width(fwhm), vertical=grism.vertical)
        path.wavelength = path.wavelength / stretched
        paths[order.number] = path
    image += light if kernel is None else fftconvolve(light, kernel, mode="same")
    return paths


@dataclass(frozen=True)
class _Width:
    value: float

    def __call__(self, wavelength):
        return np.full(np.shape(wavelength), self.value)


@dataclass(frozen=True)
class _Density:
    """DN/s that fall on a pixel's length of the spectrum."""

    grism: Grism
    order: Order
    spectrum: Callable
    stretched: float
    wavelength: np.ndarray
    step: np.ndarray

    def __call__(self, wavelength):
        rate = self.grism.rate(self.spectrum(wavelength / self.stretched), wavelength, self.order)
        return rate * np.interp(wavelength, self.wavelength, self.step)


# --- NIRCam's time series -----------------------------------------------------------------------------------------------------

STAR = Spectrum(flux=0.01, at=3.2, slope=-1.2, lines=((3.4, -0.2, 0.008),))


class SeriesMade(NamedTuple):
    """A time series: what was written, and what was put in."""

    exposures: Exposed
    spectrum: Callable  # Jy, at the barycentre
    dip: Dip
    path: PathOfLight  # of the first order
    grism: Grism


def expose_series(
    out,
    *,
    spectrum=STAR,
    grism=SERIES,
    nints=8,
    each=4,
    transit=TRANSIT,
    depth=0.01,
    sky=2.0,
    identity=FIRST,
    height=None,
    noise=True,
    field=0.0,
    **options,
):
    """A transit behind NIRCam's grism, in segments, with its references.

    Parameters
    ----------
    out : path
    spectrum : callable
        wavelength [micron] -> Jy.
    grism : Grism
    nints, each : int
        Integrations in all, and in a file.
    transit, depth
        As `prism.expose_series` takes them.
    sky : float
        DN/s, even.
    identity : headers.Identity
    height : int, optional
        Rows of the aperture; by default nearly all.
    field : float
        See `Grism`; 0 for the older form of the reference.
    **options
        What `instruments.setup` and `from_rates.expose` take.

    Returns
    -------
    SeriesMade
    """
    out, kept = Path(out), {key: options.pop(key) for key in ("cosmic_rays", "seed", "cache") if key in options}
    grism = replace(grism, field=field)
    options = {"ngroups": 5, "subarray": "SUBGRISM64", "aperture": "NRCA5_GRISM64_F322W2", **options}
    options = {"filter": grism.filter, "pupil": grism.pupil, "detector": grism.detector, "nints": nints, "identity": identity, **options}
    plan = exposures.take(grism.exp_type, **{k: v for k, v in options.items() if k != "header"})
    setup, shape = plan.setup, plan.setup.subarray.shape
    x0, y0 = plan.look.xref - 1, plan.look.yref - 1
    velocity = plan.headers()[1]["VELOSYS"]
    factors = 1 - transit.factor((np.arange(nints) + 0.5) / nints)
    dip = Dip(factors / transit.depth, depth)
    known = {"fwhm": setup.optics[1], "velocity": velocity}
    light, lost = np.full(shape, float(sky)), np.zeros(shape)
    path = disperse(light, grism, x0, y0, spectrum, **known)[1]
    disperse(lost, grism, x0, y0, lambda wavelength: spectrum(wavelength) * dip(wavelength), **known)
    rate = light - dip.shape[:, None, None] * lost
    files = write_references(out / "references", [grism])
    files += [
        _extract1d(out / "references/nrc_tsgrism_extract1d.json", grism, setup, y0, height),
        *look_references(out / "references", plan.setup),
    ]
    curve = np.array(list(enumerate(dip.shape, start=1)), [("integration", "i4"), ("shape", "f8")])
    truth = {"TRANSIT": curve, "SPECTRUM": _spectrum(path, spectrum)}
    made = expose(out, [Shot(grism.exp_type, rate, options, truth, each)], files, noise=noise, **kept)
    return SeriesMade(made, spectrum, dip, path, grism)


def _spectrum(path, spectrum):
    """Wavelength [micron], flux [Jy] and where it fell [pixels from 0]."""
    return Table({"wavelength": path.wavelength, "flux": spectrum(path.wavelength), "along": path.along, "across": path.across})


def _extract1d(path, grism, setup, y0, height):
    """An aperture about the trace, in rows of the cut-out, where the source is put on row 34 (counted from 0)."""
    half = (height or 2 * min(y0, setup.subarray.ysize - 1 - y0, 22)) / 2
    entry = {"id": grism.exp_type, "region_type": "target", "dispaxis": 1, "bkg_order": 0, "spectral_order": 1, "use_source_posn": False}
    entry |= {"xstart": 0, "xstop": setup.subarray.xsize - 1, "ystart": round(34 - half), "ystop": round(34 + half)}
    about = {"reftype": "EXTRACT1D", "instrume": grism.instrument, "telescope": "JWST", "exp_type": grism.exp_type}
    about |= {"useafter": references.USEAFTER, "author": "jwcal.simulate", "pedigree": "DUMMY", "description": "made by jwcal.simulate"}
    entry |= {"bkg_coeff": [[4.5], [10.5], [57.5], [62.5]]}
    path.write_text(json.dumps(about | {"apertures": [entry]}, indent=1))
    return path


def look_references(folder, setup, types=("distortion", "filteroffset")):
    """What tells where a detector looks in one mode: distortion, and the filters' offsets (none)."""
    tiny = replace(setup, subarray=Subarray("GENERIC", 1, 1, 8, 8))
    sensor = make_detector(setup.instrument, setup.detector, tiny.subarray)
    folder.mkdir(parents=True, exist_ok=True)
    made = references.write_references(folder, sensor, setup=tiny, types=types, number=8001, setups=[tiny])
    for path in made.values():
        _for_mode(path, setup.exp_type)
    return list(made.values())


def _for_mode(path, exp_type):
    """Say in an ASDF reference that it is for one EXP_TYPE and all wheel positions."""
    with asdf.open(path, lazy_load=False, memmap=False) as file:
        tree = {key: value for key, value in file.tree.items() if key not in ("asdf_library", "history")}
        tree["meta"]["exposure"] = {"type": exp_type}
        if "p_pupil" in tree["meta"]["instrument"]:
            tree["meta"]["instrument"]["p_pupil"] = "CLEAR|GRISMR|GRISMC|"
        with storage.replaced(path) as temporary:
            asdf.AsdfFile(tree).write_to(temporary)


# --- wide fields ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """A source in a wide field.

    Attributes
    ----------
    x, y : pixels from 0, of the subarray of the first exposure
    spectrum : callable, wavelength [micron] -> Jy
    radius : arcsec, of half the light along the major axis; 0 is a point source
    sersic, axis_ratio, pa : as `scene.Scene` has them
    """

    x: float
    y: float
    spectrum: Callable = STAR
    radius: float = 0.0
    sersic: float = 1.0
    axis_ratio: float = 1.0
    pa: float = 0.0


def _power(flux, slope=-1.0, lines=(), at=1.5):
    return Spectrum(flux=flux, at=at, slope=slope, lines=lines)


# A star, a galaxy and a faint star alone; the third source's spectrum lies on the fourth's behind one grism, on the fifth's behind
# the other.
FIELDS = {
    "NIRISS": ((450, 450), [
        Target(430, 240, _power(5e-05)), Target(390, 285, _power(0.0001, 0.3), 0.15, 1.0, 0.6, 40.0),
        Target(300, 330, _power(7.5e-05, -1.5)), Target(340, 333, _power(3e-05, 0.5)), Target(304, 375, _power(3.75e-05)),
        Target(350, 420, _power(7.5e-06)),
    ]),
    "NIRCAM": ((640, 640), [
        Target(80, 90, _power(0.0002, at=4.0)), Target(115, 130, _power(0.0004, 0.3, at=4.0), 0.15, 1.0, 0.6, 40.0),
        Target(160, 170, _power(0.0003, -1.5, at=4.0)), Target(220, 173, _power(0.00012, 0.5, at=4.0)),
        Target(164, 215, _power(0.00016, at=4.0)), Target(250, 250, _power(3e-05, at=4.0)),
    ]),
    "MIRI": ((300, 500), [
        Target(60, 250, _power(0.00024, at=8.0)), Target(120, 240, _power(0.00048, 0.3, at=8.0), 0.3, 1.0, 0.6, 40.0),
        Target(200, 260, _power(0.0004, -1.5, at=8.0)), Target(203, 320, _power(0.00016, 0.5, at=8.0)),
    ]),
}  # fmt: skip
DEEP = {"NIRCAM": "SHALLOW4", "NIRISS": "NIS", "MIRI": "FASTR1"}  # of spectra; direct images keep every frame
DITHERS = ((0.0, 0.0), (0.42, 0.27))


class FieldMade(NamedTuple):
    """A wide field: what was written, and what was put in."""

    exposures: Exposed  # direct images first, then each grism's
    sources: list[Target]
    scene: scene.Scene  # where they are in the sky, and what they give in the direct image [Jy]
    places: list[np.ndarray]  # of each exposure: (source, 2) pixels x, y from 0 of the direct images
    paths: list[list[dict]]  # of each exposure: for each source, order -> PathOfLight; empty for direct images
    images: list[np.ndarray]  # of each exposure: DN/s without noise, sky included
    grisms: tuple


def expose_field(
    out, grisms, *, sources=None, shape=None, dithers=DITHERS, sky=0.5, direct_sky=0.25, identity=FIRST, turned=0.0, noise=True, **options
):
    """A wide field: direct images, and the same behind each grism, dithered, with its references.

    Parameters
    ----------
    out : path
    grisms : sequence of Grism
        Of one instrument, behind one filter.
    sources : sequence of Target, optional
        By default those of `FIELDS`.
    shape : (col, row), optional
        Of the corner of the detector that is read.
    dithers : sequence of (x, y)
        arcsec.
    sky : float
        DN/s behind a grism, of the template in the bkg reference.
    direct_sky : float
        MJy/sr.
    identity : headers.Identity
        The activity is that of the direct images; each grism has the next.
    turned : float
        FWCPOS less that of the specwcs references [deg]; NIRISS only.
    **options
        What `instruments.setup` and `from_rates.expose` take.

    Returns
    -------
    FieldMade
    """
    out, kept = Path(out), {key: options.pop(key) for key in ("cosmic_rays", "seed", "cache") if key in options}
    usual, usual_sources = FIELDS[grisms[0].instrument]
    sources, corner = list(sources or usual_sources), Subarray("FULL", 1, 1, *(shape or usual))  # product names have no other's name
    common = {"detector": grisms[0].detector, "subarray": corner, "ngroups": 5, "tframe": 5.0, **options}
    exp_type, filter, pupil = DIRECT[grisms[0].instrument]
    takes = [(exp_type, {"filter": filter or grisms[0].filter, "pupil": pupil or grisms[0].pupil}, None)]
    takes += [(g.exp_type, {"readpatt": DEEP[g.instrument], "filter": g.filter, "pupil": g.pupil}, g) for g in grisms]
    shots, made, field = [], ([], [], []), None
    for activity, (kind, wheels, grism) in enumerate(takes, start=int(identity.activity)):
        for number, (x, y) in enumerate(dithers, start=1):
            known = common | wheels | {"identity": replace(identity, activity=f"{activity:02d}", exposure=number)}
            known["dither"] = {"x": x, "y": y, "number": number, "total": len(dithers)}
            if grism is not None and grism.angle is not None:
                known["header"] = {"FWCPOS": grism.angle + turned}
            plan = exposures.take(kind, **{k: v for k, v in known.items() if k != "header"})
            if field is None:
                field = _in_the_sky(plan, sources, grisms[0], direct_sky)
            places, angles = _places(plan, field)
            if grism is None:
                image, paths = scene.render(field, plan.look, 1.0)[0], []
            else:
                image, paths = _dispersed(plan, grism, sources, places, angles, turned)
                image += sky * sky_template(image.shape)
            truth = {"SOURCES": _listed(field, sources, places, grisms[0]), "NOISELESS": (image.astype(np.float32), "DN/s")}
            shots.append(Shot(kind, image, known, truth))
            for one, what in zip(made, (places, paths, image), strict=True):
                one.append(what)
    types = ("distortion",) if grisms[0].instrument == "NIRCAM" else ("distortion", "filteroffset")
    files = write_references(out / "references", grisms, sky=corner) + look_references(out / "references", plan.setup, types)
    return FieldMade(expose(out, shots, files, noise=noise, **kept), sources, field, *made, tuple(grisms))


def _in_the_sky(plan, sources, grism, level):
    """Where the sources of a field are, and what they give in a direct image: the mean of their flux over the band, by photons."""
    wavelength = np.linspace(*grism.band, 400)
    weight = 1 / grism.conversion(wavelength, grism.orders[0])
    ra, dec = plan.look.pixel_to_sky(*(np.array([getattr(s, axis) for s in sources], float) for axis in "xy"))
    table = Table(
        {
            "id": np.arange(1, len(sources) + 1),
            "kind": ["galaxy" if s.radius else "star" for s in sources],
            "ra": ra % 360,
            "dec": dec,
            "flux": [np.average(s.spectrum(wavelength), weights=weight) for s in sources],
            **{name: [float(getattr(s, name)) for s in sources] for name in ("radius", "sersic", "axis_ratio", "pa")},
        }
    )
    for name, unit in (("ra", "deg"), ("dec", "deg"), ("flux", "Jy"), ("radius", "arcsec"), ("pa", "deg")):
        table[name].unit = unit
    return scene.Scene(level, table, scene.Psf(fwhm=_fwhm(plan, grism)))


def _fwhm(plan, grism):
    """The PSF is as wide in direct images as behind the grism."""
    return grism.fwhm or plan.setup.optics[1]


def _places(plan, field):
    """Pixels of the direct images, (source, 2), and the angle of their major axes from the x axis [rad]."""
    placed = scene.place(field, plan.look, 1.0)
    return np.stack([np.asarray(placed.sources["x"]), np.asarray(placed.sources["y"])], axis=-1), np.asarray(placed.angles)


def _dispersed(plan, grism, sources, places, angles, turned):
    """Spectra of all sources [DN/s], and their paths."""
    image, paths = np.zeros(plan.setup.subarray.shape), []
    scale = np.sqrt(plan.look.xscale * plan.look.yscale)
    known = {"fwhm": _fwhm(plan, grism), "velocity": plan.headers()[1]["VELOSYS"], "turned": turned}
    for source, (x, y), angle in zip(sources, places, angles, strict=True):
        kernel = scene.shape_of_galaxy(source.radius / scale, source.sersic, source.axis_ratio, angle) if source.radius else None
        paths.append(disperse(image, grism, x, y, source.spectrum, kernel=kernel, **known))
    return np.maximum(image, 0), paths


def _listed(field, sources, places, grism, points=200):
    """The sources with their pixels and spectra, for the file of truth."""
    table = field.sources.copy()
    wavelength = np.linspace(*grism.band, points)
    table["x"], table["y"] = places.T
    table["wavelength"] = np.broadcast_to(wavelength, (len(sources), points))
    table["spectrum"] = np.array([s.spectrum(wavelength) for s in sources])
    return table
