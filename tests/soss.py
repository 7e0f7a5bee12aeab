"""Slitless spectra of a single object in NIRISS, small references made by hand, and images of them by quadrature."""

from dataclasses import dataclass
from pathlib import Path

import asdf
import numpy as np
from astropy.io import fits
from astropy.modeling.models import Tabular2D

import make
from jwcal.model.exposure import Exposure, Pixels
from jwcal.model.references import References
from jwcal.simulate import soss as flown
from jwcal.vocabulary import dq as bits

COLUMNS, ROWS, FIRST = 2048, 256, 1792
WHEEL = 245.76
CUTOFFS = {1: 2048, 2: 1783, 3: 1134}
LIMITS = {1: (2.833, 0.8465), 2: (1.4227, 0.5912), 3: (0.9547, 0.6)}  # micron, at column 0 and at the cutoff
SUBARRAYS = {"SUBSTRIP256": (1793, 256), "SUBSTRIP96": (1803, 96), "FULL": (1, 2048)}
TARGET = 30.0, -5.0
NARROW, BROAD = 0.7, 1.0  # pixels, sigma of the kernels


def middle(order, x):
    """Row of a trace in SUBSTRIP256."""
    if order == 1:
        return 42 + 3.5e-5 * (x - 1100) ** 2
    return 98 + 0.01 * x + 3.1e-5 * x**2 if order == 2 else 108 + 0.02 * x + 8.5e-5 * x**2


def wavelength(order, x):
    red, blue = LIMITS[order]
    return red + (blue - red) * x / (CUTOFFS[order] - 1)


def throughput(order, wave):
    peak, width, height = {1: (1.4, 0.65, 0.35), 2: (0.75, 0.22, 0.12), 3: (0.68, 0.1, 0.02)}[order]
    return height * np.exp(-0.5 * ((wave - peak) / width) ** 2) + 1e-3


def flux(wave):
    """A star with lines: f times wavelength times throughput is DN/s a micron."""
    smooth = 3e7 * (1.3 / wave) ** 2 * np.exp(-((0.5 / wave) ** 4))
    lines = sum(
        depth * np.exp(-0.5 * ((wave - at) / 0.0025) ** 2)
        for at, depth in ((0.85, 0.2), (1.083, 0.15), (1.28, 0.2), (1.87, 0.1), (2.3, 0.15))
    )
    return smooth * (1 - lines)


def profile(order):
    """Shares of a column's light, (row, col); a core and wings."""
    distance = np.arange(ROWS)[:, None] - middle(order, np.arange(COLUMNS))
    shares = np.exp(-0.5 * (distance / 8.5) ** 6) + 0.25 * np.exp(-np.abs(np.abs(distance) - 9) / 1.7) + 2e-3 / (1 + (distance / 15) ** 2)
    return shares / shares.sum(axis=0)


@dataclass
class Files:
    """Paths of references by type."""

    paths: dict
    sigma: float


def references(folder, sigma=NARROW, orders=(1, 2, 3), rows=ROWS, steps=(1.0, 1.0)):
    """All references; `rows` of the specprofile."""
    folder = Path(folder)
    about = {"TELESCOP": "JWST", "INSTRUME": "NIRISS", "DETECTOR": "NIS", "EXP_TYPE": "NIS_SOSS", "AUTHOR": "tests", "PEDIGREE": "DUMMY"}
    about |= {"DESCRIP": "test", "USEAFTER": "2022-01-01T00:00:00", "FILTER": "CLEAR", "PUPIL": "GR700XD"}
    paths = {kind: folder / f"soss_{kind}.{'asdf' if kind in ('pastasoss', 'specwcs', 'wavelengthrange') else 'fits'}" for kind in TYPES}
    _pastasoss(paths["pastasoss"], orders)
    offset = 10 if rows == 96 else 0
    hdus = [fits.PrimaryHDU(header=_header(about, "SPECPROFILE", "SpecProfileModel"))]
    for order in orders:
        image = profile(order)[offset : offset + rows].astype(np.float32)
        hdus.append(fits.ImageHDU(image, fits.Header({"ORDER": order, "OVERSAMP": 1, "PADDING": 0}), name="ORDER", ver=order))
    fits.HDUList(hdus).writeto(paths["specprofile"], overwrite=True)
    half, over = 15, 4
    pixels = np.arange(-half * over, half * over + 1) / over
    waves = np.linspace(0.5, 2.9, 95)
    kernel = np.repeat(np.exp(-0.5 * (pixels[:, None] / sigma) ** 2) + 1e-7, waves.size, axis=1)
    hdus = [fits.PrimaryHDU(header=_header(about, "SPECKERNEL", "SpecKernelModel"))]
    grid = np.repeat(waves[None], pixels.size, axis=0).astype(np.float32)
    hdus.append(fits.ImageHDU(grid, fits.Header({"NWAVE": waves.size, "WAVEMIN": waves[0], "WAVEMAX": waves[-1]}), name="WAVELENGTHS"))
    hdus.append(
        fits.ImageHDU(kernel.astype(np.float32), fits.Header({"SPECOS": over, "HALFWIDT": half, "INDCENTR": half * over}), name="KERNELS")
    )
    fits.HDUList(hdus).writeto(paths["speckernel"], overwrite=True)
    hdus = [fits.PrimaryHDU(header=_header(about, "BKG", "SossBkgModel")), fits.ImageHDU(np.array([sky(), sky(60.0)]), name="SCI")]
    fits.HDUList(hdus).writeto(paths["bkg"], overwrite=True)
    hdus = [
        fits.PrimaryHDU(header=_header(about | {"PIXAR_SR": 1e-13, "PIXAR_A2": 0.00429}, "PHOTOM", "NisSossPhotomModel")),
        _photom(orders),
    ]
    fits.HDUList(hdus).writeto(paths["photom"], overwrite=True)
    tree = {order: _table(order) for order in (1, 2, 3)}
    asdf.AsdfFile(tree).write_to(paths["specwcs"])
    flat = np.random.default_rng(7).normal(1, 0.02, (rows, COLUMNS)).astype(np.float32)
    content = {"SCI": flat, "ERR": np.full_like(flat, 1e-3), "DQ": np.zeros(flat.shape, np.uint32), "DQ_DEF": make.dq_def(DO_NOT_USE=1)}
    where = {"INSTRUME": "NIRISS", "DETECTOR": "NIS", "SUBSTRT1": 1, "SUBSTRT2": FIRST + 1 + offset, "SUBSIZE1": COLUMNS, "SUBSIZE2": rows}
    make.reference_file(paths["flat"], "flat", {**content, **where})
    ranges = [[1, "CLEAR", 0.9, 2.8], [2, "CLEAR", 0.6, 1.2], [3, "CLEAR", 0.62, 0.8]]
    meta = {"instrument": {"name": "NIRISS"}, "telescope": "JWST", "reftype": "wavelengthrange", "exposure": {"type": "NIS_SOSS"}}
    meta |= {"author": "tests", "description": "test", "pedigree": "DUMMY", "useafter": "2022-01-01T00:00:00", "wavelength_units": "micron"}
    waves = {"wavelengthrange": ranges, "waverange_selector": ["CLEAR"], "extract_orders": [["CLEAR", [1, 2, 3]]], "order": [1, 2, 3]}
    asdf.AsdfFile({"meta": meta, **waves}).write_to(paths["wavelengthrange"])
    return Files(paths, sigma)


TYPES = ("pastasoss", "specprofile", "speckernel", "bkg", "photom", "specwcs", "wavelengthrange", "flat")


def _header(about, kind, model):
    return fits.Header(about | {"REFTYPE": kind, "DATAMODL": model})


def _pastasoss(path, orders):
    x = np.arange(0.0, COLUMNS)
    scale = [[0.0, -0.25], [2047.0, 0.25]]
    traces, wavecal, efficiency = [], [], []
    for order in orders:
        y = middle(order, x)
        seen = y < 254
        line = np.stack([x[seen], y[seen]], axis=1)
        traces.append(
            {"spectral_order": order, "pivot_x": 1000.0, "pivot_y": 60.0, "trace": line, "cutoff": CUTOFFS[order], "short_cutoff": 0.6}
        )
        slope = wavelength(order, 2047.0) - wavelength(order, 0.0)
        coefficients = np.zeros(21)
        coefficients[0], coefficients[1], coefficients[2] = wavelength(order, 0.0) - 5e-4, slope, 1e-3  # 0 at the commanded place
        wavecal.append({"spectral_order": order, "polynomial_degree": 5, "coefficients": coefficients, "scale_extents": np.array(scale)})
        waves = np.linspace(0.45, 3.2, 2000)
        efficiency.append({"spectral_order": order, "wavelength": waves, "throughput": throughput(order, waves)})
    meta = {"pwcpos_cmd": WHEEL, "pwcpos_bounds": [245.51, 246.01], "soss_xdim": 2048, "soss_ydim": 300, "subarray_ymin": FIRST}
    meta |= {"wavemap_wlmin": 0.5, "wavemap_wlmax": 5.5, "wavemap_nwl": 5001, "order2_separation_cutoff": [0.77, 0.95]}
    meta |= {"instrument": {"name": "NIRISS"}, "exposure": {"type": "NIS_SOSS"}, "telescope": "JWST", "reftype": "pastasoss"}
    meta |= {
        "author": "tests",
        "description": "test",
        "pedigree": "DUMMY",
        "useafter": "2022-01-01T00:00:00",
        "model_type": "PastasossModel",
    }
    tree = {"meta": meta, "traces": traces, "wavecal_models": wavecal, "throughputs": efficiency}
    asdf.AsdfFile(tree).write_to(path, all_array_storage="inline")


def _table(order):
    points = np.arange(0.0, 2048, 64), np.arange(0.0, 2048, 16)
    values = np.repeat(wavelength(order, points[1])[None], points[0].size, axis=0)
    return Tabular2D(points, values, bounds_error=False, fill_value=None)


def _photom(orders):
    kinds = [("filter", "S12"), ("pupil", "S15"), ("order", ">i2"), ("photmj", ">f4"), ("uncertainty", ">f4"), ("nelem", ">i2")]
    kinds += [(name, ">f4", (200,)) for name in ("wavelength", "relresponse", "reluncertainty")]
    rows = np.zeros(len(orders), kinds)
    for row, order in zip(rows, orders, strict=True):
        waves = np.linspace(0.55, 2.9, 200)
        row["filter"], row["pupil"], row["order"], row["photmj"], row["nelem"] = "CLEAR", "GR700XD", order, 2e-5, 200
        row["wavelength"], row["relresponse"] = waves, 1 / throughput(order, waves) / waves
    return fits.BinTableHDU(rows, name="PHOTOM")


def sky(slope=0.0):
    """A template of the sky, with a step."""
    x, y = np.arange(COLUMNS), np.arange(ROWS)[:, None]
    step = 700 + 0.02 * y
    level = 2 + 3 / (1 + np.exp(-(x - step) / 2)) - 1.5 * (x > step) * (x - step) / 1350
    return (level * (1 + slope * 1e-3 * np.sin(x / 100))).astype(np.float32)


def column_light(order, sigma, spectrum=flux, fine=24):
    """Light in each column by quadrature: the spectrum, blurred by a Gaussian of so many pixels, times wavelength and throughput."""
    edges = np.arange(-40 * fine, (COLUMNS + 40) * fine + 1) / fine - 0.5
    x = (edges[1:] + edges[:-1]) / 2
    wave = wavelength(order, x)
    offset = np.arange(-15 * fine, 15 * fine + 1) / fine
    kernel = np.exp(-0.5 * (offset / sigma) ** 2)
    blurred = np.convolve(spectrum(np.clip(wave, 0.3, None)), kernel / kernel.sum(), mode="same")
    density = blurred * wave * throughput(order, wave) * np.abs(wavelength(order, 1.0) - wavelength(order, 0.0)) / fine
    return density.reshape(-1, fine).sum(axis=1)[40:-40]


@dataclass
class Made:
    """An exposure and what is in it."""

    exposure: Exposure
    light: dict  # order -> (col,), DN/s
    grey: np.ndarray  # (int,), what the light is multiplied with
    refs: References


def simulate(files, nints=3, subarray="SUBSTRIP256", noise=True, grey=None, background=None, seed=1, bad=0.0, hits=0.0, **keywords):
    """A series of rateints of a star, DN/s, with the shot noise of 100 s.

    Parameters
    ----------
    files : Files
    nints : int
        0 for an image.
    grey : array_like (int,)
        What the star's light is multiplied with.
    background : (float, float)
        Scales of the sky's template on both sides of its step.
    bad, hits : float
        Parts of the pixels that are bad in all integrations, and in one.
    """
    start, rows = SUBARRAYS[subarray]
    rng = np.random.default_rng(seed)
    light = {order: column_light(order, files.sigma) for order in (1, 2, 3)}
    first = FIRST + 1 - start
    image = np.zeros((rows, COLUMNS))
    region = slice(max(0, -first), None) if first < 0 else slice(0, None)
    strip = sum(profile(order) * light[order] for order in (1, 2, 3))
    if first >= 0:
        image[first : first + ROWS] = strip
    else:
        image = strip[region][:rows]
    grey = np.ones(max(nints, 1)) if grey is None else np.asarray(grey, float)
    cube = image * grey[:, None, None]
    if background is not None:
        template = sky()
        right = np.arange(COLUMNS) >= 700 + 0.02 * np.arange(ROWS)[:, None]
        extra = template * np.where(right, background[1], background[0])
        cube += extra[region][:rows] if first < 0 else np.pad(extra, ((first, rows - first - ROWS), (0, 0)))
    error = np.sqrt(np.maximum(cube, 0) / 100 / 1.6 + 0.3**2)
    sci = (cube + (rng.standard_normal(cube.shape) * error if noise else 0)).astype(np.float32)
    dq = np.zeros(sci.shape, np.uint32)
    dq[:, :, :4] = dq[:, :, -4:] = bits.REFERENCE_PIXEL | bits.DO_NOT_USE
    if start - 1 + rows == 2048:
        dq[:, -4:] = bits.REFERENCE_PIXEL | bits.DO_NOT_USE
    dq[:, rng.random(sci.shape[1:]) < bad] |= bits.DO_NOT_USE
    dq[rng.random(sci.shape) < hits] |= bits.DO_NOT_USE
    err = error.astype(np.float32)
    unusable = dq & bits.DO_NOT_USE != 0
    sci[unusable] = err[unusable] = np.nan
    planes = [sci, err, dq, err**2 * np.float32(0.9), err**2 * np.float32(0.1)]
    if nints == 0:
        planes = [plane[0] for plane in planes]
    about = {"INSTRUME": "NIRISS", "DETECTOR": "NIS", "EXP_TYPE": "NIS_SOSS", "FILTER": "CLEAR", "PUPIL": "GR700XD", "SUBARRAY": subarray}
    about |= {"SUBSTRT1": 1, "SUBSTRT2": start, "NINTS": max(nints, 1), "NGROUPS": 5, "PWCPOS": WHEEL, "TSOVISIT": nints > 0}
    about |= {"TARG_RA": TARGET[0], "TARG_DEC": TARGET[1], "BUNIT": "DN/s", "EXPMID": 60000.0, "FASTAXIS": -2, "SLOWAXIS": -1}
    about |= {
        "INTSTART": 1,
        "INTEND": max(nints, 1),
        "EXSEGNUM": 1,
        "SRCTYAPT": "POINT",
        "DATAMODL": "CubeModel" if nints else "ImageModel",
    }
    about |= {"DATE-OBS": "2023-02-25", "TIME-OBS": "01:02:03.456", "READPATT": "NISRAPID", "TFRAME": 5.494}
    head = make.header(rows, COLUMNS, **{**about, **keywords})
    pixels = Pixels(sci=planes[0], err=planes[1], dq=planes[2], var_poisson=planes[3], var_rnoise=planes[4], header=head.sci)
    tables = {"INT_TIMES": times(nints, int(head.get("INTSTART")))} if nints else {}
    made = Exposure(head, [pixels], tables, suffix="rateints" if nints else "rate")
    return Made(made, light, grey, References(files.paths, head))


def as_flown(folder, subarray, sigma, nints=2, seed=1):
    """A series of the simulator's star, on traces with the real ones' figures, with the shot noise of 100 s: `Made`."""
    made = simulate(references(folder, sigma), nints=nints, subarray=subarray, noise=False)
    files = flown.write_references(Path(folder) / "flown", kernel=sigma, subarray=subarray)
    light = {number: flown.column_light(order, flown.STAR, sigma) for number, order in flown.ORDERS.items()}
    image = sum(light[number] * flown.profile_image(order, subarray) for number, order in flown.ORDERS.items())
    error = np.sqrt(np.maximum(image, 0) / 100 / 1.6 + 0.3**2)
    exposure, noise = made.exposure, np.random.default_rng(seed).standard_normal(made.exposure.sci.shape)
    exposure.sci = np.where(exposure.dq & bits.DO_NOT_USE, np.nan, image + error * noise).astype(np.float32)
    exposure.err = np.broadcast_to(error, exposure.sci.shape).astype(np.float32)
    exposure.header["PWCPOS"] = flown.COMMANDED
    kinds = ("pastasoss", "specprofile", "speckernel")
    return Made(exposure, light, np.ones(max(nints, 1)), References({kind: files[kind] for kind in kinds}, exposure.header))


def times(count, first=1):
    """INT_TIMES: an integration lasts 0.001 days."""
    names = [f"int_{part}_{scale}" for scale in ("MJD_UTC", "BJD_TDB") for part in ("start", "mid", "end")]
    table = np.zeros(count, [("integration_number", np.int32), *((name, np.float64) for name in names)])
    table["integration_number"] = first + np.arange(count)
    for k, name in enumerate(names):
        table[name] = 60000 + (table["integration_number"] + (k % 3) / 2) * 1e-3
    return table
