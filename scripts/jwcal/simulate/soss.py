"""NIRISS's slitless spectra of one star (GR700XD) as raw exposures with known truth: three orders that overlap, and a transit.

    from jwcal.simulate import soss

    made = soss.expose_series("folder", nints=6, each=3)           # SUBSTRIP256, a transit, narrow line spread function
    made.spectrum, made.dip                                         # Jy by wavelength; what the planet takes
    made.orders[2].wavelength, made.orders[2].light                 # of each column; DN/s of the order in each column, out of transit
    soss.expose_series("other", subarray="SUBSTRIP96", kernel=2.0)  # a broad line spread function

A star of F Jy gives A F T_m / (h w g) DN/s a micron in order m: telescope area A, gain g, total throughput T_m (Albert et al. 2023, PASP
135, 075001; Doyon et al. 2023, PASP 135, 098001). A wavelength falls on column x_m(w), is spread along the columns by the line spread
function, and along each column by the order's profile, two-horned as the defocused PSF is. The traces and dispersions are polynomials with
the real ones' figures; both turn with the pupil wheel about a pivot (Baines et al. 2023, JWST-STScI-008571).

Wavelengths are those at the telescope. Fluxes are Jy; the photom reference turns DN/s into them, as the archive's does, whose products
say MJy.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import asdf
import numpy as np
from astropy.io import fits
from astropy.modeling.models import Tabular2D
from astropy.table import Table
from scipy.interpolate import PchipInterpolator
from scipy.special import erf

from ..files import storage
from . import instruments, references
from .from_rates import Exposed, Shot, expose
from .headers import Identity
from .series import Transit
from .spectrograph import Dip, Spectrum

FIRST, TRANSIT = Identity(), Transit()
COLUMNS = 2048
STRIP = 1792  # first row of SUBSTRIP256 in the full frame, from 0
SHIFTS = {"SUBSTRIP256": 0, "SUBSTRIP96": -10, "FULL": STRIP}  # of rows, against SUBSTRIP256
COMMANDED = 245.76  # deg, position of the pupil wheel
BOUNDS = 0.25  # deg, of the wheel about it
DRIFT = 0.004  # micron by which wavelengths grow from one bound to the other
PHOTONS = 1e-26 / 6.62607015e-34 * 25.4  # photons a second from 1 Jy, by the telescope's area [m2], in an interval of ln(wavelength)
GAIN = 1.6  # e-/DN, of the throughputs
BORDER = 40  # columns beyond the detector whose light is spread onto it
SAMPLES = 6  # wavelengths a column
HALFWIDTH, OVERSAMPLING = 12, 10  # of the kernels [pixels], and samples a pixel


@dataclass(frozen=True)
class Order:
    """A spectral order: polynomials of u = column / 2047, the first `columns` columns, and the throughput at some wavelengths."""

    number: int
    rows: tuple
    wavelengths: tuple
    columns: int
    pivot: tuple
    throughput: tuple

    def trace(self, offset=0.0):
        """Row of SUBSTRIP256 at each column, and wavelength [micron], with columns from -BORDER to COLUMNS + BORDER.

        Parameters
        ----------
        offset : float
            Of the pupil wheel from where it was commanded [deg].
        """
        x = np.arange(-BORDER, COLUMNS + BORDER, dtype=float)
        y = np.polynomial.polynomial.polyval(x / (COLUMNS - 1), self.rows)
        cos, sin = np.cos(np.radians(offset)), np.sin(np.radians(offset))
        (px, py) = self.pivot
        turned_x, turned_y = px + cos * (x - px) - sin * (y - py), py + sin * (x - px) + cos * (y - py)
        wavelength = np.polynomial.polynomial.polyval(x / (COLUMNS - 1), self.wavelengths) + DRIFT * offset / (2 * BOUNDS)
        return x, np.interp(x, turned_x, turned_y), wavelength

    def passes(self, wavelength, filter="CLEAR"):
        """The throughput; 0 beyond the table."""
        at, value = (np.array(column) for column in zip(*self.throughput, strict=True))
        inside = (wavelength >= at[0]) & (wavelength <= at[-1])
        through = np.where(inside, PchipInterpolator(at, value)(np.clip(wavelength, at[0], at[-1])), 0.0)
        return through / (1 + np.exp(-(wavelength - 2.43) / 0.008)) if filter == "F277W" else through

    def rate(self, wavelength, filter="CLEAR"):
        """DN/s a micron from a star of 1 Jy."""
        return PHOTONS / GAIN * self.passes(wavelength, filter) / wavelength


# Figures of spectrace_0023, its throughputs at round wavelengths.
ORDERS = {
    1: Order(
        1,
        (83.212, -72.613, -129.691, 521.811, -748.247, 420.451),
        (2.833612, -2.069683, 0.214127, -0.361409, 0.229882),
        2048,
        (1366.0, 56.0),
        ((0.55, 0.0), (0.7, 0.02), (0.8, 0.137), (0.9, 0.265), (1.0, 0.385), (1.1, 0.492), (1.2, 0.546), (1.3, 0.529), (1.4, 0.473),
         (1.5, 0.411), (1.6, 0.359), (1.8, 0.281), (2.0, 0.237), (2.2, 0.204), (2.4, 0.177), (2.6, 0.157), (2.8, 0.138), (3.0, 0.12)),
    ),
    2: Order(
        2,
        (101.385, -21.797, -221.685, 1153.693, -1790.453, 1185.180),
        (1.409135, -0.919047, -0.128791, -0.060089, 0.340825, -0.15999),
        1783,
        (911.0, 90.0),
        ((0.45, 0.0), (0.55, 0.02), (0.6, 0.094), (0.65, 0.24), (0.7, 0.347), (0.75, 0.31), (0.8, 0.226), (0.9, 0.102), (1.0, 0.038),
         (1.1, 0.011), (1.2, 0.004), (1.3, 0.003), (1.4, 0.003), (1.5, 0.005)),
    ),
    3: Order(
        3,
        (143.360, 38.434, 15.765, 477.122),
        (0.95711, -0.70589, 0.294485, -0.171625),
        1134,
        (600.0, 162.0),
        ((0.5, 0.0), (0.6, 0.002), (0.7, 0.009), (0.8, 0.025), (0.9, 0.016), (1.0, 0.008), (1.1, 0.003)),
    ),
}  # fmt: skip


def profile(distance):
    """The part of a column's light up to a distance from the trace [pixels]: two horns and what is between; all of it within 17 pixels."""
    parts = ((0.34, -7.5, 2.2), (0.34, 7.5, 2.2), (0.32, 0.0, 4.0))
    return sum(part / 2 * (1 + erf((distance - middle) / (np.sqrt(2) * width))) for part, middle, width in parts)


def profile_image(order, subarray, offset=0.0):
    """The part of a column's light in each pixel, (row, column); columns sum to 1 where the trace is on the subarray."""
    shape = instruments.subarray("NIRISS", "NIS", subarray).shape
    _, y, _ = order.trace(offset)
    y = y[BORDER:-BORDER] + SHIFTS[subarray]
    edges = np.arange(shape[0] + 1)[:, None] - 0.5
    return np.diff(profile(edges - y), axis=0)


def column_light(order, density, kernel, filter="CLEAR", offset=0.0):
    """What falls on each column in all [DN/s].

    Parameters
    ----------
    order : Order
    density : callable
        wavelength [micron] -> Jy.
    kernel : float or callable
        sigma of the line spread function [pixels], Gaussian; or by wavelength.
    filter : str
    offset : float
        Of the pupil wheel [deg].
    """
    x, _, wavelength = order.trace(offset)
    fine = np.arange(x[0], x[-1], 1 / SAMPLES)
    w = np.interp(fine, x, wavelength)
    light = order.rate(w, filter) * density(w) * np.abs(np.gradient(w, fine)) / SAMPLES
    sigma = np.sqrt(2) * np.broadcast_to(kernel(w) if callable(kernel) else kernel, w.shape)
    nearest = np.rint(fine).astype(int)
    total = np.zeros(COLUMNS)
    for step in range(-HALFWIDTH, HALFWIDTH + 1):
        column = nearest + step
        on = (column >= 0) & (column < COLUMNS)
        part = (erf((column + 0.5 - fine) / sigma) - erf((column - 0.5 - fine) / sigma)) / 2
        np.add.at(total, column[on], (light * part)[on])
    return total


# --- references -----------------------------------------------------------------------------------------------------------------


def write_references(folder, *, subarray="SUBSTRIP256", filter="CLEAR", kernel=0.7, sky=None):
    """Write specwcs, pastasoss, specprofile, speckernel, bkg, photom; and spectrace, which has no mapping.

    Parameters
    ----------
    folder : path
    subarray, filter : str
    kernel : float or callable
        As `column_light` takes it.
    sky : ndarray, (template, row, col), optional
        By default `sky_templates`.

    Returns
    -------
    dict
        type -> path.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    made = {
        "specwcs": _specwcs(folder / "soss_specwcs.asdf"),
        "pastasoss": _pastasoss(folder / f"soss_{filter}_pastasoss.asdf".lower(), filter),
        "specprofile": _specprofile(folder / f"soss_{subarray}_{filter}_specprofile.fits".lower(), subarray, filter),
        "speckernel": _speckernel(folder / "soss_speckernel.fits", kernel),
        "photom": _photom(folder / "soss_photom.fits"),
        "spectrace": _spectrace(folder / f"soss_{subarray}_spectrace.fits".lower(), subarray, filter),
    }
    if subarray != "FULL":
        made["bkg"] = _bkg(folder / f"soss_{subarray}_bkg.fits".lower(), subarray, filter, sky_templates(subarray) if sky is None else sky)
    return made


def _specwcs(path):
    """Tables of (row, column) of the full frame -> micron, by order: the same in all rows."""
    tree = {}
    for order in ORDERS.values():
        wavelength = order.trace()[2][BORDER:-BORDER]
        points = [np.array([0.0, COLUMNS - 1]), np.arange(COLUMNS, dtype=float)]
        tree[order.number] = Tabular2D(points, np.stack([wavelength, wavelength]), bounds_error=False, fill_value=None)
    return _write_asdf(path, "specwcs", tree, {})


def _pastasoss(path, filter):
    """Traces, dispersion by column and wheel position, throughputs."""
    traces, models, throughputs = [], [], []
    for order in ORDERS.values():
        x, y, wavelength = (values[BORDER:-BORDER] for values in order.trace())
        below = y <= 255
        known = {"spectral_order": order.number}
        shape = {"pivot_x": order.pivot[0], "pivot_y": order.pivot[1], "trace": np.stack([x, y], axis=-1)[below]}
        limits = {"cutoff": order.columns, "short_cutoff": float(np.round(wavelength[order.columns - 1], 3)), "oversampling": 1}
        traces.append(known | shape | limits)
        coefficients = np.zeros(21)
        for power, value in enumerate(order.wavelengths):
            coefficients[power * (power + 1) // 2] = value
        coefficients[0] -= DRIFT / 2
        coefficients[2] = DRIFT
        extents = np.array([[0.0, -BOUNDS], [COLUMNS - 1.0, BOUNDS]])
        models.append(known | {"polynomial_degree": 5, "coefficients": coefficients, "scale_extents": extents})
        at = np.linspace(0.5, 3.1, 2601)
        throughputs.append(known | {"wavelength": at, "throughput": order.passes(at, filter)})
    meta = {"pwcpos_cmd": COMMANDED, "pwcpos_bounds": [COMMANDED - BOUNDS, COMMANDED + BOUNDS], "order2_separation_cutoff": [0.77, 0.95]}
    meta |= {"soss_xdim": COLUMNS, "soss_ydim": 300, "subarray_ymin": STRIP}
    meta |= {"wavemap_wlmin": 0.5, "wavemap_wlmax": 5.5, "wavemap_nwl": 5001, "model_type": "PastasossModel"}
    tree = {"traces": traces, "wavecal_models": models, "throughputs": throughputs}
    return _write_asdf(path, "pastasoss", tree, meta, {"filter": filter})


def _specprofile(path, subarray, filter):
    strip = "SUBSTRIP256" if subarray == "FULL" else subarray
    hdus = []
    for order in ORDERS.values():
        header = fits.Header({"ORDER": order.number, "OVERSAMP": 1, "PADDING": 0})
        hdus.append(fits.ImageHDU(profile_image(order, strip).astype(np.float32), header, name="ORDER", ver=order.number))
    about = _keywords("SPECPROFILE", "SpecProfileModel") | {"SUBARRAY": subarray, "FILTER": filter}
    return _write_fits(path, about, hdus)


def _speckernel(path, kernel):
    """The line spread function at some wavelengths, on a tenth of a pixel."""
    wavelength = np.linspace(0.5, 3.2, 109)
    offset = np.arange(-HALFWIDTH * OVERSAMPLING, HALFWIDTH * OVERSAMPLING + 1) / OVERSAMPLING
    sigma = np.broadcast_to(kernel(wavelength) if callable(kernel) else kernel, wavelength.shape)
    kernels = np.exp(-0.5 * (offset[:, None] / sigma) ** 2)
    kernels /= kernels.sum(axis=0)
    about = {"NWAVE": wavelength.size, "WAVEMIN": wavelength[0], "WAVEMAX": wavelength[-1]}
    first = fits.ImageHDU(np.broadcast_to(wavelength, kernels.shape).astype(np.float32), fits.Header(about), name="WAVELENGTHS")
    about = {"SPECOS": OVERSAMPLING, "HALFWIDT": HALFWIDTH, "INDCENTR": HALFWIDTH * OVERSAMPLING}
    second = fits.ImageHDU(kernels.astype(np.float32), fits.Header(about), name="KERNELS")
    return _write_fits(path, _keywords("SPECKERNEL", "SpecKernelModel"), [first, second])


def conversion(order, filter="CLEAR"):
    """Wavelength of each column [micron], and Jy for a DN/s of that column; infinite where no light comes through."""
    _, _, wavelength = order.trace()
    step = np.abs(np.gradient(wavelength))
    with np.errstate(divide="ignore"):
        return wavelength[BORDER:-BORDER], 1 / (order.rate(wavelength, filter) * step)[BORDER:-BORDER]


def _photom(path):
    points = COLUMNS
    kinds = [("filter", "S12"), ("pupil", "S15"), ("order", ">i2"), ("photmj", ">f4"), ("uncertainty", ">f4"), ("nelem", ">i2")]
    kinds += [(name, ">f4", (points,)) for name in ("wavelength", "relresponse", "reluncertainty")]
    rows = []
    for filter, number in (("CLEAR", 1), ("CLEAR", 2), ("CLEAR", 3), ("F277W", 1)):
        wavelength, jansky = (values[::-1] for values in conversion(ORDERS[number], filter))
        lit = jansky < 1e3 * jansky.min()
        best = float(np.median(jansky[lit]))
        columns = np.zeros((3, points))
        columns[:, : lit.sum()] = wavelength[lit], jansky[lit] / best, 0.01 * jansky[lit] / best
        rows.append((filter, "GR700XD", number, best, 0.0, int(lit.sum()), *columns))
    about = _keywords("PHOTOM", "NisSossPhotomModel") | {"SUBARRAY": "GENERIC", "PIXAR_SR": 1.009e-13, "PIXAR_A2": 0.0042936}
    return _write_fits(path, about, [fits.BinTableHDU(np.array(rows, kinds), name="PHOTOM")])


def _spectrace(path, subarray, filter):
    """Where wavelengths fall, in tables of the older form."""
    hdus = []
    for order in ORDERS.values():
        x, y, wavelength = (values[BORDER:-BORDER] for values in order.trace())
        shift = SHIFTS["SUBSTRIP256" if subarray == "FULL" else subarray]
        columns = {"WAVELENGTH": wavelength, "X": x, "Y": y + shift, "THROUGHPUT": order.passes(wavelength, filter), "TILT": 0 * x}
        columns = [fits.Column(name, "D", array=values[::-1]) for name, values in columns.items()]
        hdus.append(fits.BinTableHDU.from_columns(columns, name="ORDER", ver=order.number))
        hdus[-1].header["ORDER"] = order.number
    return _write_fits(path, _keywords("SPECTRACE", "SpecTraceModel") | {"SUBARRAY": subarray, "FILTER": filter}, hdus)


def sky_templates(subarray):
    """Two shapes of the zodiacal light, (template, row, col), which steps up where an undispersed order begins, at column 700."""
    shape = instruments.subarray("NIRISS", "NIS", subarray).shape
    y, x = np.mgrid[: shape[0], : shape[1]]
    y = y - SHIFTS[subarray]
    edge = 1 / (1 + np.exp(-(x - 700) / 3))
    return np.stack([1 + 0.15 * y / 256 - 0.1 * x / COLUMNS + height * edge for height in (0.6, 0.9)])


def _bkg(path, subarray, filter, templates):
    planes = {"SCI": templates.astype(np.float32), "ERR": np.full(templates.shape, 0.01, np.float32)}
    planes["DQ"] = np.zeros(templates.shape, np.uint32)
    sub = instruments.subarray("NIRISS", "NIS", subarray)
    place = {"SUBARRAY": subarray, "SUBSTRT1": sub.xstart, "SUBSTRT2": sub.ystart, "SUBSIZE1": sub.xsize, "SUBSIZE2": sub.ysize}
    about = _keywords("BKG", "SossBkgModel") | {"FILTER": filter, "PUPIL": "GR700XD", "BUNIT": "DN/s"} | place
    return _write_fits(path, about, [fits.ImageHDU(plane, name=name) for name, plane in planes.items()])


def _keywords(kind, model):
    about = {"TELESCOP": "JWST", "INSTRUME": "NIRISS", "DETECTOR": "NIS", "EXP_TYPE": "NIS_SOSS", "REFTYPE": kind, "DATAMODL": model}
    return about | {"USEAFTER": references.USEAFTER, "AUTHOR": "jwcal.simulate", "PEDIGREE": "DUMMY", "DESCRIP": "made by jwcal.simulate"}


def _write_fits(path, header, hdus):
    with storage.replaced(path) as temporary:
        fits.HDUList([fits.PrimaryHDU(header=fits.Header(header)), *hdus]).writeto(temporary, overwrite=True)
    return Path(path)


def _write_asdf(path, kind, tree, more, instrument=None):
    """Arrays inline, as those who read them may have closed the file."""
    meta = {"telescope": "JWST", "reftype": kind, "author": "jwcal.simulate", "pedigree": "DUMMY", "useafter": references.USEAFTER}
    meta |= {"description": "made by jwcal.simulate", "exposure": {"type": "NIS_SOSS"}}
    meta |= {"instrument": {"name": "NIRISS", "detector": "NIS"} | (instrument or {})} | more
    with storage.replaced(path) as temporary:
        asdf.AsdfFile({"meta": meta, **tree}).write_to(temporary, all_array_storage="inline")
    return Path(path)


# --- exposures ------------------------------------------------------------------------------------------------------------------

STAR = Spectrum(flux=0.1, at=1.5, slope=-1.5, lines=((1.15, -0.15, 0.01), (2.3, -0.15, 0.015), (0.7, -0.15, 0.005)))


@dataclass(frozen=True)
class OrderTruth:
    """What an order has, by column.

    Attributes
    ----------
    wavelength : (column,) micron
    light : (column,) DN/s in all, out of transit
    lost : (column,) DN/s that the planet takes in the middle of the transit
    trace : (column,) row of the subarray
    image : (row, col) DN/s out of transit
    """

    wavelength: np.ndarray
    light: np.ndarray
    lost: np.ndarray
    trace: np.ndarray
    image: np.ndarray = field(repr=False)


class SossMade(NamedTuple):
    """What was written, and what was put in."""

    exposures: Exposed
    spectrum: Callable  # Jy
    dip: Dip
    orders: dict[int, OrderTruth]
    sky: np.ndarray  # DN/s, (row, col)
    files: dict  # type -> path of the mode's own references


def expose_series(
    out,
    *,
    spectrum=STAR,
    subarray="SUBSTRIP256",
    filter="CLEAR",
    kernel=0.7,
    orders=(1, 2, 3),
    nints=6,
    each=3,
    transit=TRANSIT,
    depth=0.01,
    sky=(2.0, 2.0),
    template=0,
    offset=0.0,
    identity=FIRST,
    noise=True,
    **options,
):
    """A transit of a star in three orders, in segments, with its references.

    Parameters
    ----------
    out : path
    spectrum : callable
        wavelength [micron] -> Jy.
    subarray : str
        SUBSTRIP256, SUBSTRIP96 or FULL.
    filter : str
        CLEAR or F277W, in which only the first order's red end is seen.
    kernel : float or callable
        sigma of the line spread function [pixels]: 0.7 is narrow, 2 broad; or by wavelength.
    orders : collection of int
        Those that are there.
    nints, each : int
        Integrations in all, and in a file; `each` None is one file.
    transit, depth
        As `prism.expose_series` takes them. `transit` None: a star that is steady.
    sky : (float, float)
        DN/s of the template on the left of its step and on the right.
    template : int
        Which of `sky_templates`.
    offset : float
        Of the pupil wheel from where it was commanded [deg].
    identity : headers.Identity
    noise : bool
    **options
        What `instruments.setup` and `from_rates.expose` take; `header` too.

    Returns
    -------
    SossMade
    """
    out, kept = Path(out), {key: options.pop(key) for key in ("cosmic_rays", "seed", "cache") if key in options}
    phases = (np.arange(nints) + 0.5) / nints
    dip = Dip(np.zeros(nints) if transit is None else (1 - transit.factor(phases)) / transit.depth, depth)
    truth = {n: _order(ORDERS[n], spectrum, dip, subarray, filter, kernel, offset) for n in orders if filter == "CLEAR" or n == 1}
    templates = sky_templates(subarray)
    background = templates[template] * np.where(np.arange(COLUMNS) < 700, *sky)
    light = background + sum(one.image for one in truth.values())
    lost = sum(one.image * (one.lost / np.maximum(one.light, 1e-30)) for one in truth.values())
    rate = light - dip.shape[:, None, None] * lost
    own = write_references(out / "references", subarray=subarray, filter=filter, kernel=kernel)
    known = {
        "ngroups": 4,
        "subarray": subarray,
        "filter": filter,
        "pupil": "GR700XD",
        "identity": identity,
        "TSOVISIT": nints > 1,
        **options,
    }
    known["header"] = {"PWCPOS": COMMANDED + offset, **known.get("header", {})}
    curve = np.array(list(enumerate(dip.shape, start=1)), [("integration", "i4"), ("shape", "f8")])
    tables = {"TRANSIT": curve, "NOISELESS": (light.astype(np.float32), "DN/s")}
    tables |= {f"ORDER{n}": _listed(one, spectrum) for n, one in truth.items()}
    shot = Shot("NIS_SOSS", rate if nints > 1 else rate[0], {"nints": nints, **known}, tables, each if nints > 1 else None)
    files = [path for kind, path in own.items() if kind != "spectrace"]
    made = expose(out, [shot], files, noise=noise, **kept)
    return SossMade(made, spectrum, dip, truth, background, own)


def _order(order, spectrum, dip, subarray, filter, kernel, offset):
    _, y, wavelength = (values[BORDER:-BORDER] for values in order.trace(offset))
    light = column_light(order, spectrum, kernel, filter, offset)
    lost = column_light(order, lambda w: spectrum(w) * dip(w), kernel, filter, offset)
    image = profile_image(order, subarray, offset) * light
    return OrderTruth(wavelength, light, lost, y + SHIFTS[subarray], image)


def _listed(one, spectrum):
    columns = {"wavelength": one.wavelength, "flux": spectrum(one.wavelength), "light": one.light, "lost": one.lost, "trace": one.trace}
    return Table(columns)
