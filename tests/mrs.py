"""Exposures of MIRI's medium resolution spectrometer with references: real ones of delivery FLT-9, or small ones made by hand."""

from pathlib import Path

import asdf
import numpy as np
from astropy.modeling.models import Const1D, Identity, Mapping, Polynomial2D, Shift

import make
import sky
from jwcal.model.references import References

REAL = sky.SHARED / "real/references/miri"
BANDS = {"A": "SHORT", "B": "MEDIUM", "C": "LONG"}
HALF_WIDTH = {"1": 1.55, "2": 1.9, "3": 2.5, "4": 3.3}  # arcsec, a little less than the slices are long


def header_of(name):
    """Keywords of a detector and band: "12A", "34C"..."""
    return {"INSTRUME": "MIRI", "DETECTOR": "MIRIFUSHORT" if name[0] == "1" else "MIRIFULONG", "CHANNEL": name[:2], "BAND": BANDS[name[2]]}


def real(folder, name, shape=(1024, 1032), **keywords):
    """An exposure of zeros and its references; the map of slices is made from the others."""
    siaf = sky.aperture("MIRI", "MIRIFU_CHANNEL1A")
    exposure = pointed(_Aperture(siaf), shape, **{**header_of(name), **keywords})
    files = {kind: REAL / f"jwst_miri_mrs{name}_{kind}_flt9.asdf" for kind in ("distortion", "specwcs")}
    files["wavelengthrange"] = REAL / "jwst_miri_mrs_wavelengthrange_flt9.asdf"
    files["regions"] = Path(folder, f"regions{name}.asdf")
    known = References(files, exposure.header)
    labels = slice_map(known["distortion"].tree, known["wavelengthrange"].tree, exposure.header["BAND"], shape)
    write(files["regions"], "regions", {"regions": np.stack([np.zeros_like(labels)] * 7 + [labels] * 2).astype("i2")})
    return exposure, References(files, exposure.header)


def pointed(siaf, shape, velocity=None, **keywords):
    """An exposure of zeros; the telescope recedes by `velocity` [m/s] from the source."""
    exposure = sky.exposure(siaf, shape, EXP_TYPE="MIR_MRS", **keywords)
    if velocity is not None:
        exposure.header.sci["VELOSYS"] = velocity
    return exposure


class _Aperture:
    """The place in the field of an aperture without science pixels, as `sky.header` needs it."""

    def __init__(self, siaf):
        self.AperName, self.XSciRef, self.YSciRef = siaf.AperName, 1.0, 1.0
        self.V2Ref, self.V3Ref, self.V3IdlYAngle, self.VIdlParity = siaf.V2Ref, siaf.V3Ref, siaf.V3IdlYAngle, siaf.VIdlParity


def slice_map(distortion, wavelengthrange, band, shape):
    """channel * 100 + slice where a slice's optics put a field of HALF_WIDTH."""
    limits = dict(zip(wavelengthrange["waverange_selector"], wavelengthrange["wavelengthrange"], strict=True))
    rows, columns = np.arange(shape[0]), np.arange(shape[1])
    labels = np.zeros(shape, int)
    for number, to_x, to_y in zip(distortion["slices"], distortion["x_model"], distortion["y_model"], strict=True):
        channel = str(number // 100)
        low, high = limits[channel + band]
        wavelength = np.linspace(low - 0.2, high + 0.2, 500)
        edges = []
        for alpha in (-HALF_WIDTH[channel], HALF_WIDTH[channel]):
            x, y = (model(wavelength, np.full(500, alpha)) for model in (to_x, to_y))
            order = np.argsort(y)
            edges.append(np.interp(rows, y[order], x[order]))
        inside = (columns >= np.min(edges, axis=0)[:, None]) & (columns <= np.max(edges, axis=0)[:, None])
        labels[inside] = number
    return labels


# --- made by hand: channels 1 and 2, two slices each, every map a polynomial that the tests work out on their own --------------------

SHAPE = (48, 40)
FIRST_COLUMN = {101: 2, 102: 11, 201: 21, 202: 30}  # each slice has 7 columns
BETA = {101: -0.25, 102: 0.25, 201: -0.4, 202: 0.4}
PIXEL = {1: 0.2, 2: 0.3}  # arcsec
WAVELENGTH = {1: (5.0, 0.01), 2: (8.0, 0.02)}  # micron at row 0, and a row
RANGE = {"1SHORT": [4.99, 5.4], "2SHORT": [7.99, 8.9]}  # cuts the first channel's last rows off
PLACE = (-500.0, -320.0)  # V2, V3 [arcsec] of alpha = beta = 0
TILT = 0.002  # micron a column: the wavelength is not constant along a row


def by_hand(x, y, number):
    """alpha, beta, wavelength, V2, V3 of pixels of a slice."""
    channel = number // 100
    alpha = PIXEL[channel] * (x - FIRST_COLUMN[number] - 3 - 0.01 * y)
    first, step = WAVELENGTH[channel]
    wavelength = first + step * y + TILT * (x - FIRST_COLUMN[number])
    beta = np.full_like(alpha, BETA[number])
    v2 = PLACE[0] + 0.98 * alpha + 0.15 * beta + 0.001 * alpha**2
    v3 = PLACE[1] + 0.15 * alpha - 0.98 * beta
    return alpha, beta, wavelength, v2, v3


def small(folder, **keywords):
    """An exposure and references made by hand."""
    siaf = _Aperture(sky.aperture("MIRI", "MIRIFU_CHANNEL1A"))
    siaf.V2Ref, siaf.V3Ref = PLACE
    exposure = pointed(siaf, SHAPE, **{**header_of("12A"), **keywords})
    labels = np.zeros(SHAPE, "i2")
    tree = {f"{name}_model": [] for name in ("alpha", "beta", "x", "y")} | {"slices": [*BETA]}
    wavelengths = []
    for number, beta in BETA.items():
        channel, x0 = number // 100, FIRST_COLUMN[number]
        labels[:, x0 : x0 + 7] = number
        (first, step), scale = WAVELENGTH[channel], PIXEL[channel]
        # inputs are y, x
        tree["alpha_model"].append(_plane(-scale * (x0 + 3), -0.01 * scale, scale))
        tree["beta_model"].append(Const1D(beta))
        wavelengths.append(Identity(1) & Shift(-x0) | _plane(first, step, TILT))
        # inputs are wavelength, alpha: x - x0 = u = 3 + 0.01 y + alpha / scale; wavelength = first + step y + TILT u
        both = step + TILT * 0.01
        tree["y_model"].append(_plane(-(first + 3 * TILT) / both, 1 / both, -TILT / scale / both))
        tree["x_model"].append(_plane(x0 + 3 - 0.01 * (first + 3 * TILT) / both, 0.01 / both, 1 / scale - 0.01 * TILT / scale / both))
    field = Mapping((0, 1, 0, 1)) | Polynomial2D(2, c0_0=PLACE[0], c1_0=0.98, c0_1=0.15, c2_0=0.001) & _plane(PLACE[1], 0.15, -0.98)
    field.inverse = _back_to_slit()
    tree["bzero"] = {"channel_band": [*RANGE], "beta_zero": [-0.25, -0.4]}
    tree["bdel"] = {"channel_band": [*RANGE], "delta_beta": [0.5, 0.8]}
    tree["abv2v3_model"] = {"channel_band": [*RANGE], "model": [field, field]}
    trees = {
        "distortion": tree,
        "specwcs": {"model": wavelengths},
        "regions": {"regions": np.stack([labels] * 9)},
        "wavelengthrange": {"waverange_selector": [*RANGE], "wavelengthrange": [*RANGE.values()], "channels": [*RANGE]},
    }
    files = {kind: Path(folder, f"{kind}.asdf") for kind in trees}
    for kind, content in trees.items():
        write(files[kind], kind, content)
    return exposure, References(files, exposure.header)


def _plane(constant, first, second):
    return Polynomial2D(1, c0_0=constant, c1_0=first, c0_1=second)


def _back_to_slit():
    """The inverse of the field's map: exact without the square of alpha, whose effect (< 1e-3 arcsec) it takes off to first order."""
    scale = 0.98**2 + 0.15**2
    linear = Mapping((0, 1, 0, 1)) | _plane(0, 0.98 / scale, 0.15 / scale) & _plane(0, 0.15 / scale, -0.98 / scale)
    bend = 0.001 / scale  # alpha + bend 0.98 alpha^2, beta + bend 0.15 alpha^2
    bent = Mapping((0, 1, 0, 1)) | Polynomial2D(2, c1_0=1, c2_0=-0.98 * bend) & Polynomial2D(2, c0_1=1, c2_0=-0.15 * bend)
    return Shift(-PLACE[0]) & Shift(-PLACE[1]) | linear | bent


def write(path, kind, tree):
    """A reference as CRDS has it."""
    about = {
        "telescope": "JWST",
        "reftype": kind,
        "author": "tests",
        "pedigree": "DUMMY",
        "description": "test",
        "exposure": {"type": "MIR_MRS"},
    }
    about |= {
        "useafter": "2022-01-01T00:00:00",
        "instrument": {"name": "MIRI", "detector": "MIRIFUSHORT", "channel": "12", "band": "SHORT"},
    }
    asdf.AsdfFile({"meta": about, **tree}).write_to(path)


# --- references that calibrate: all of one detector and band -------------------------------------------------------------------

ARTEFACT = ("LOR_FWHM", "LOR_SCALE", "GAU_FWHM", "GAU_XOFF", "GAU_SCALE1", "GAU_SCALE2")
SENSITIVITY = 20.0  # MJy/sr for a DN/s, about


def calibration(folder, channels="12", band="SHORT", seed=4):
    """Write flat, fringe, photom and mrsxartcorr of a detector, 1024 x 1032 pixels: type -> path."""
    rng = np.random.default_rng(seed)
    shape, letter = (1024, 1032), dict(zip(BANDS.values(), BANDS, strict=True))[band]
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    about = {"INSTRUME": "MIRI", "DETECTOR": "MIRIFUSHORT" if channels == "12" else "MIRIFULONG", "CHANNEL": channels, "BAND": band}
    flags = make.dq_def(DO_NOT_USE=1, NON_SCIENCE=2)
    flat = rng.normal(1, 0.03, shape).astype(np.float32)
    flat[rng.random(shape) < 1e-3] = np.nan
    bits = (rng.random(shape) < 1e-3).astype(np.uint32)
    fringe = (1 + 0.1 * np.sin(y / 3 + x / 50)).astype(np.float32)
    fringe[:, ::200] = np.nan
    photom = (SENSITIVITY * (1 + 0.2 * np.sin(x / 100) + 1e-4 * y)).astype(np.float32)
    photom[rng.random(shape) < 1e-3] = np.nan
    contents = {
        "flat": {"SCI": flat, "ERR": np.full(shape, 0.003, np.float32), "DQ": bits, "DQ_DEF": flags},
        "fringe": {"SCI": fringe, "ERR": np.zeros(shape, np.float32), "DQ": np.ones(shape, np.uint32), "DQ_DEF": flags},
        "photom": {"SCI": photom, "ERR": np.zeros(shape, np.float32), "DQ": np.zeros(shape, np.uint32), "DQ_DEF": flags}
        | {f"TIMECOEFF_POWERLAW_CH{channel}": aging(channel) for channel in (1, 2, 3, 4)}
        | {"PHOTMJSR": SENSITIVITY, "PIXAR_SR": 9e-13, "PIXAR_A2": 0.0383, "DATAMODL": "MirMrsPhotomModel"},
        "mrsxartcorr": {f"CH{channel}{letter}": artefact(int(channel)) for channel in channels},
    }
    files = {}
    for kind, content in contents.items():
        files[kind] = make.reference_file(Path(folder, f"{kind}{channels}{band}.fits"), kind, {**content, **about})
    return files


def aging(channel):
    """How the sensitivity falls with time, by wavelength; more in the red."""
    wavelength = np.linspace(*((4.9, 7.7), (7.5, 11.8), (11.5, 18.1), (17.6, 28.0))[channel - 1], 5)
    table = np.zeros(5, [(name, "f4") for name in ("binwave", "alpha", "year1value", "tsoft", "t0")])
    table["binwave"], table["alpha"], table["tsoft"], table["t0"] = wavelength, -0.01 * channel, 30, 59670
    table["year1value"] = 1 - 0.03 * channel * np.linspace(0.5, 1, 5)
    return table


def artefact(channel):
    """Profiles of the cross artefact, a row each."""
    y = np.arange(1024)
    table = np.zeros(1024, [("yrow", "i2"), *((name.lower(), "f4") for name in ARTEFACT)])
    values = (80 + 20 * np.sin(y / 100), 2e-4 * (1 + y / 2000), 8 + channel + y / 500, 18 + y / 300, 1e-3 + 0 * y, 3e-4 + 0 * y)
    for name, value in zip(ARTEFACT, values, strict=True):
        table[name.lower()] = value
    table["yrow"] = y
    return table
