"""Small exposures of fields through a grism and of time series, with their references, catalogue, segmentation map and direct image.

The light is laid down here by hand: a source's light of each wavelength is a Gaussian where the trace's polynomials put it.
"""

from dataclasses import dataclass
from pathlib import Path

import asdf
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.modeling.models import Polynomial1D, Polynomial2D
from astropy.table import QTable
from astropy.units import deg
from scipy.special import erf

import sky
from jwcal.arithmetic.wcs.imaging import imaging_wcs
from jwcal.model.exposure import Exposure, Header, Members, Pixels
from jwcal.model.references import References
from jwcal.products import stored

PIXAR_SR, PIXAR_A2 = 1e-13, 4.25e-3
CONVERSION = 2.0  # MJy/sr for 1 DN/s a micron
SIGMA = 0.9  # pixels
SIZE = 256
SIMPLE = {"dx": (-50.0, 130.0), "dy": (0.0, 0.0), "wavelength": (1.0, 0.6)}  # powers of t


@dataclass
class Mode:
    """What a mode's files say."""

    keywords: dict
    aperture: tuple
    element: str  # that the wavelengthrange names
    limits: tuple  # micron, of order 1
    specwcs: dict
    vertical: bool = False


def uniform(*coefficients):
    """A polynomial of t whose coefficients are the same in the whole field."""
    return [Polynomial2D(1, c0_0=c) for c in coefficients]


def by_place(*coefficients):
    """One of (value in the corner, by x, by y) for each power."""
    return [Polynomial2D(1, c0_0=c[0], c1_0=c[1], c0_1=c[2]) for c in coefficients]


NIRISS = Mode(
    {"INSTRUME": "NIRISS", "DETECTOR": "NIS", "EXP_TYPE": "NIS_WFSS", "FILTER": "GR150C", "PUPIL": "F150W", "FWCPOS": 353.0},
    ("NIRISS", "NIS_CEN"),
    *("F150W", (1.3, 1.7)),
    {
        "orders": [1, 2],
        "displ": [Polynomial1D(1, c0=1.2, c1=0.6), Polynomial1D(1, c0=1.2, c1=0.6)],
        "invdispl": [Polynomial1D(1, c0=-2.0, c1=1 / 0.6), Polynomial1D(1, c0=-2.0, c1=1 / 0.6)],
        "dispx": [by_place((-30, 0.01, 0), (100, 0.02, 0.01), (1.5, 0, 0)), uniform(80, 180.0, 0.0)],
        "dispy": [by_place((1.0, 0, 0.005), (2.0, 0, 0), (0.3, 0, 0)), uniform(2.0, 1.0, 0.0)],
        "fwcpos_ref": 353.0,
    },
)
NIRISS_COLUMNS = Mode(
    {**NIRISS.keywords, "FILTER": "GR150R"},
    *(NIRISS.aperture, NIRISS.element, NIRISS.limits),
    {**NIRISS.specwcs, "dispx": NIRISS.specwcs["dispy"], "dispy": NIRISS.specwcs["dispx"]},
    True,
)
NIRCAM_KEYWORDS = {
    "INSTRUME": "NIRCAM",
    "DETECTOR": "NRCALONG",
    "MODULE": "A",
    "CHANNEL": "LONG",
    "FILTER": "F356W",
    "EXP_TYPE": "NRC_WFSS",
}
NIRCAM = Mode(
    {**NIRCAM_KEYWORDS, "PUPIL": "GRISMR"},
    ("NIRCam", "NRCA5_FULL"),
    *("F356W", (3.1, 4.0)),
    {
        "orders": [1],
        "displ": [by_place((3.0, 0, 0), (1.1, 1e-5, 0), (0.01, 0, 0))],
        "dispx": [[Polynomial1D(1, c0=-60.0, c1=126.0)]],
        "dispy": [by_place((1.0, 0, 0.002), (-1.0, 0, 0), (0.3, 0, 0))],
    },
)
NIRCAM_B = Mode(  # disperses to the other side
    {**NIRCAM.keywords, "DETECTOR": "NRCBLONG", "MODULE": "B"},
    ("NIRCam", "NRCB5_FULL"),
    *(NIRCAM.element, NIRCAM.limits),
    {**NIRCAM.specwcs, "dispx": [[Polynomial1D(1, c0=60.0, c1=-126.0)]]},
)
NIRCAM_FIELD = Mode(  # all of it depends on the place, which the peer can't look up
    NIRCAM.keywords,
    *(NIRCAM.aperture, NIRCAM.element, NIRCAM.limits),
    {**NIRCAM.specwcs, "dispx": [by_place((-60, 0.01, 0), (125, 0.01, 0.01), (1.2, 0, 0))]},
)
NIRCAM_OLD = Mode(
    {**NIRCAM_KEYWORDS, "PUPIL": "GRISMC"},
    *(NIRCAM.aperture, NIRCAM.element, NIRCAM.limits),
    {
        "orders": [1],
        "displ": [Polynomial1D(1, c0=3.0, c1=1.1)],
        "dispx": [Polynomial1D(1, c0=0.0, c1=0.0)],
        "dispy": [Polynomial1D(1, c0=-60.0, c1=125.0)],
        "invdispl": [Polynomial1D(1, c0=-3.0 / 1.1, c1=1 / 1.1)],
        "invdispx": [Polynomial1D(1, c0=0.0, c1=0.0)],
        "invdispy": [Polynomial1D(1, c0=60.0 / 125, c1=1 / 125)],
    },
    True,
)
MIRI = Mode(
    {"INSTRUME": "MIRI", "DETECTOR": "MIRIMAGE", "EXP_TYPE": "MIR_WFSS", "FILTER": "P750L"},
    ("MIRI", "MIRIM_FULL"),
    *("P750L", (5.5, 12.0)),
    {
        "orders": [1],
        "displ": [Polynomial1D(1, c0=5.0, c1=8.0)],
        "invdispl": [Polynomial1D(1, c0=-5 / 8, c1=1 / 8)],
        "dispx": [by_place((0.5, 0, 0), (1.0, 0, 0), (0, 0, 0), (0, 0, 0))],
        "dispy": [by_place((60, 0, 0), (-110, 0, 0.01), (-2, 0, 0), (0, 0, 0))],
    },
    True,
)
MODES = {
    "niriss": NIRISS,
    "niriss columns": NIRISS_COLUMNS,
    "nircam": NIRCAM,
    "nircam B": NIRCAM_B,
    "nircam field": NIRCAM_FIELD,
    "nircam old": NIRCAM_OLD,
    "miri": MIRI,
}


def trace(mode, order, x0, y0, t):
    """dx, dy and wavelength of a source at values of t, from the reference's own models."""
    n = mode.specwcs["orders"].index(order)

    def value(model):
        model = model[0] if isinstance(model, list) and model[0].n_inputs == 1 else model
        if isinstance(model, list):
            return sum(c(x0, y0) * t**power for power, c in enumerate(model))
        return model(t)

    return tuple(value(mode.specwcs[name][n]) for name in ("dispx", "dispy", "displ"))


def response(wavelength):
    """The relative response of the photom reference: linear, so that a table is as good as the law."""
    return 1 + 0.2 * (wavelength - 1.5)


def flat(wavelength):
    return np.ones_like(wavelength)


@dataclass
class Star:
    """A source of a field: place without the grism, flux [Jy] at 1 of its spectrum, spectrum, Gaussian width [pixel]."""

    x: float
    y: float
    flux: float
    spectrum: object = flat
    sigma: float = SIGMA
    label: int = 0


def _in_pixels(size, centre, sigma):
    """Parts of a Gaussian's light in each pixel, (..., size) for centres (...)."""
    edges = np.arange(size + 1) - 0.5
    return np.diff(0.5 * (1 + erf((edges - np.asarray(centre)[..., None]) / (np.sqrt(2) * sigma))), axis=-1)


def add_spectrum(image, mode, order, star, samples=2000, strength=1.0):
    """Add a source's light of one order, DN/s."""
    t = (np.arange(samples) + 0.5) / samples
    dx, dy, wavelength = trace(mode, order, star.x, star.y, t)
    step = np.abs(np.gradient(wavelength))
    inside = (wavelength >= mode.limits[0]) & (wavelength <= mode.limits[1])
    rate = strength * star.flux * star.spectrum(wavelength) / (1e6 * PIXAR_SR * CONVERSION * response(wavelength)) * step * inside
    rows, columns = _in_pixels(image.shape[0], star.y + dy, star.sigma), _in_pixels(image.shape[1], star.x + dx, star.sigma)
    image += np.einsum("k,kr,kc->rc", rate, rows, columns, optimize=True)


@dataclass
class Field:
    """An exposure with its references and the products of its direct image; `files`: where they are."""

    exposure: Exposure
    refs: References
    files: dict
    catalogue: QTable
    mode: Mode


def field(folder, mode, stars, *, rates=None, noise=0.0, background=0.0, size=SIZE, seed=3, strengths=(1.0, 1.0), **keywords):
    """An exposure of stars, files for the peer, and members for us.

    Parameters
    ----------
    rates : (row, col), optional
        In place of the stars' light.
    background : float
        Times the bkg reference.
    """
    folder = Path(folder)
    about = {**mode.keywords, "SUBSIZE1": size, "SUBSIZE2": size, "EXPMID": 59913.7, "EXPSTART": 59913.7, "EXPEND": 59913.7}
    about |= {"OBSERVTN": "001", "VISIT": "001", "VISITGRP": "02", "SEQ_ID": "1", "ACT_ID": "01", "EXPOSURE": "00001", "PROGRAM": "01234"}
    about |= {"EFFEXPTM": 100.0, "EFFINTTM": 100.0, "VELOSYS": 0.0, "NINTS": 1, "NGROUPS": 5, "DATE-OBS": "2022-12-01"}
    about |= {"TIME-OBS": "12:00:00.000", **keywords}
    made = sky.exposure(sky.aperture(*mode.aperture), (size, size), **{k: v for k, v in about.items() if k != "VELOSYS"})
    if about["VELOSYS"]:
        made.header.sci["VELOSYS"] = about["VELOSYS"]
    made.header.sci["BUNIT"] = "DN/s"
    light = np.zeros((size, size))
    if rates is not None:
        light += rates
    else:
        for star in stars:
            for order, strength in zip(mode.specwcs["orders"], strengths, strict=False):
                add_spectrum(light, mode, order, star, strength=strength)
    files = _references(folder, mode, made, size)
    light += background * sky_template(size)
    random = np.random.default_rng(seed)
    light += noise * random.standard_normal(light.shape)
    error = np.full(light.shape, noise or 0.01, np.float32)
    variances = {"var_poisson": error**2 / 2, "var_rnoise": error**2 / 2}
    header = Header(made.header.primary, made.header.sci, str(folder / "field_rate.fits"))
    exposure = Exposure(
        header, [Pixels(sci=light.astype(np.float32), err=error, dq=np.zeros(light.shape, np.uint32), **variances)], suffix="rate"
    )
    refs = References(files, header)
    wcs = imaging_wcs(header, light.shape, refs["distortion"])
    table = catalogue(wcs, stars)
    files = {**files, "rate": folder / "field_rate.fits", "sourcecat": folder / "image_cat.ecsv"}
    table.write(files["sourcecat"], format="ascii.ecsv", overwrite=True)
    stored.write(exposure, files["rate"])
    image, segments = direct(stars, (size, size))
    for kind, name, suffix, plane in (("direct_image", "image_i2d.fits", "i2d", image), ("segmap", "image_segm.fits", "segm", segments)):
        head = Header(header.primary.copy(), header.sci.copy(), name)
        head.sci["BUNIT"] = "MJy/sr"
        head.sci["PIXAR_SR"] = PIXAR_SR
        one = Exposure(head, [Pixels(sci=plane, wcs=wcs)], suffix=suffix)
        files[kind] = folder / name
        stored.write(one, files[kind])
    exposure.members = Members([(files[kind], kind) for kind in ("sourcecat", "segmap", "direct_image")], stored.read)
    return Field(exposure, refs, files, table, mode)


def sky_template(size):
    """The sky that the grism sees."""
    y, x = np.indices((size, size)) / size
    return 1 + 0.3 * x + 0.1 * y**2


def direct(stars, shape):
    """The image without the grism [MJy/sr], and labels: the brightest source of each pixel, of those above 1e-3 of their peak."""
    image, segments, brightest = np.zeros(shape), np.zeros(shape, np.int32), np.zeros(shape)
    for number, star in enumerate(stars, start=1):
        reach = int(8 * star.sigma) + 1
        near = tuple(slice(max(0, int(at) - reach), max(0, int(at) + reach + 2)) for at in (star.y, star.x))
        rows, columns = (_in_pixels(size, at, star.sigma)[part] for size, at, part in zip(shape, (star.y, star.x), near, strict=True))
        one = star.flux / (1e6 * PIXAR_SR) * np.outer(rows, columns)
        image[near] += one
        own = (one > 1e-3 * one.max(initial=0)) & (one > brightest[near])
        segments[near][own] = star.label or number
        brightest[near] = np.maximum(brightest[near], one)
    return image.astype(np.float32), segments


def catalogue(wcs, stars):
    """A table as source_catalog makes it, of the columns that are looked at, and some."""
    x, y = np.array([star.x for star in stars]), np.array([star.y for star in stars])
    reach = np.array([np.ceil(3.7 * star.sigma) for star in stars])
    table = QTable()
    table["label"] = [star.label or n for n, star in enumerate(stars, start=1)]
    table["xcentroid"], table["ycentroid"] = x, y
    table["sky_centroid"] = SkyCoord(*wcs(x, y, with_bounding_box=False), unit=deg)
    table["isophotal_abmag"] = -2.5 * np.log10(np.array([star.flux for star in stars]) / 3631)
    table["isophotal_abmag_err"] = np.full(len(stars), 0.01)
    for name, (i, j) in {"ll": (-1, -1), "ul": (-1, 1), "lr": (1, -1), "ur": (1, 1)}.items():
        table[f"sky_bbox_{name}"] = SkyCoord(*wcs(np.rint(x) + i * reach, np.rint(y) + j * reach, with_bounding_box=False), unit=deg)
    table["is_extended"] = [star.sigma > 1.5 for star in stars]
    return table


def _references(folder, mode, exposure, size):
    files = {kind: ref.path for kind, ref in sky.references(folder, exposure, sky.distortion(sky.aperture(*mode.aperture)))._refs.items()}
    header = exposure.header
    about = {"telescope": "JWST", "author": "tests", "pedigree": "DUMMY", "description": "test", "useafter": "2022-01-01T00:00:00"}
    about["instrument"] = {"name": header["INSTRUME"], "detector": header["DETECTOR"]}
    about["exposure"] = {"type": header["EXP_TYPE"]}
    about["input_units"], about["output_units"] = "pixel", "micron"
    if header["INSTRUME"] == "NIRCAM":
        about["instrument"] |= {"module": header["MODULE"], "pupil": header["PUPIL"]}
    files["specwcs"] = folder / "grism_specwcs.asdf"
    more = {name: None for name in ("invdispl", "invdispx", "invdispy")} if header["INSTRUME"] == "NIRCAM" else {}
    content = {**more, **mode.specwcs}
    if content.get("invdispl", 1) is None:
        content = {name: value for name, value in content.items() if value is not None}
    asdf.AsdfFile({"meta": {**about, "reftype": "specwcs"}, **content}).write_to(files["specwcs"])
    files["wavelengthrange"] = folder / "grism_wavelengthrange.asdf"
    series = "TSGRISM" in header["EXP_TYPE"]
    rows = [[order, *([header["PUPIL"]] if series else []), mode.element, *mode.limits] for order in mode.specwcs["orders"]]
    tree = {"meta": {**about, "reftype": "wavelengthrange"}, "wavelengthrange": rows, "waverange_selector": [mode.element]}
    tree |= {"order": mode.specwcs["orders"], "extract_orders": [[mode.element, mode.specwcs["orders"]]]}
    asdf.AsdfFile(tree).write_to(files["wavelengthrange"])
    files["photom"] = folder / "grism_photom.fits"
    write_photom(files["photom"], mode, header)
    files["bkg"] = folder / "grism_bkg.fits"
    head = fits.Header({"TELESCOP": "JWST", "DATAMODL": "WfssBkgModel", "SUBSTRT1": 1, "SUBSTRT2": 1, "SUBSIZE1": size, "SUBSIZE2": size})
    images = [fits.ImageHDU(plane, name=name) for name, plane in _planes(sky_template(size)).items()]
    fits.HDUList([fits.PrimaryHDU(header=head), *images]).writeto(files["bkg"])
    return files


def _planes(image):
    image = image.astype(np.float32)
    return {"SCI": image, "ERR": np.zeros_like(image), "DQ": np.zeros(image.shape, np.int32)}


MODELS = {"NIRCAM": "NrcWfssPhotomModel", "NIRISS": "NisWfssPhotomModel", "MIRI": "MirWfssPhotomModel"}


def write_photom(path, mode, header, unit="MJy micron s / (DN sr)"):
    """A PHOTOM table with a row an order."""
    wavelength = np.linspace(0.9 * mode.limits[0], 1.1 * mode.limits[1], 100)
    keys = (
        [("filter", "S12"), ("subarray", "S15")] if header["INSTRUME"] == "MIRI" else [("filter", "S12"), ("pupil", "S15"), ("order", "i2")]
    )
    kinds = [*keys, ("photmjsr", ">f4"), ("uncertainty", ">f4"), ("nelem", ">i2")]
    kinds += [(name, ">f4", wavelength.shape) for name in ("wavelength", "relresponse", "reluncertainty")]
    zeros = np.zeros_like(wavelength)
    rows = []
    for order in mode.specwcs["orders"]:
        own = (header["FILTER"], header["SUBARRAY"]) if header["INSTRUME"] == "MIRI" else (header["FILTER"], header["PUPIL"], order)
        rows.append((*own, CONVERSION, 0.0, wavelength.size, wavelength, response(wavelength), zeros))
    head = fits.Header({"TELESCOP": "JWST", "INSTRUME": header["INSTRUME"], "DATAMODL": MODELS[header["INSTRUME"]]})
    head["PIXAR_SR"], head["PIXAR_A2"] = PIXAR_SR, PIXAR_A2
    head.update({"DESCRIP": "test", "REFTYPE": "photom", "AUTHOR": "tests", "PEDIGREE": "DUMMY", "USEAFTER": "2022-01-01T00:00:00"})
    table = fits.BinTableHDU(np.array(rows, kinds), name="PHOTOM")
    if unit:
        table.header["PHOTUNIT"] = unit
    fits.HDUList([fits.PrimaryHDU(header=head), table]).writeto(path, overwrite=True)


# Code for the peer: all references from the files given to it, as (type, path).
PEER = """
import os
os.makedirs(os.path.join(str(folder), "crds/config/jwst"), exist_ok=True)
with open(os.path.join(str(folder), "crds/config/jwst/server_config"), "w") as file:
    file.write(repr({
        "observatory": "jwst", "status": "cache", "connected": False, "operational_context": "jwst_0001.pmap",
        "latest_context": "jwst_0001.pmap", "edit_context": "jwst_0001.pmap", "versions_context": "jwst_0001.pmap", "bad_files": "",
        "bad_files_list": [], "force_remote_mode": False, "crds_version": {"str": "14.0.3"}, "reference_url": {}, "mapping_url": {},
        "last_synced": "never", "checksum_mode": False}))
os.environ.update(CRDS_SERVER_URL="https://127.0.0.1:9", STPIPE_DISABLE_CRDS_STEPPARS="true", CRDS_PATH=os.path.join(str(folder), "crds"))
from stpipe.step import Step
given = dict(zip(map(str, kinds), map(str, paths)))
def get_reference_file(self, input_file, reference_file_type):
    path = given.get(reference_file_type, "N/A")
    self._reference_files_used.append((reference_file_type, path))
    return path
Step.get_reference_file = get_reference_file
import numpy as np
from stdatamodels.jwst import datamodels as dm
"""


SERIES = Mode(
    {**NIRCAM_KEYWORDS, "EXP_TYPE": "NRC_TSGRISM", "PUPIL": "GRISMR", "SUBARRAY": "SUBGRISM64", "TSOVISIT": True},
    ("NIRCam", "NRCA5_FULL"),
    *("F356W", (3.1, 4.0)),
    {
        "orders": [1],
        "displ": [Polynomial1D(1, c0=3.0, c1=1.1)],
        "dispx": [Polynomial1D(1, c0=-90.0, c1=180.0)],
        "dispy": [Polynomial1D(1, c0=0.0, c1=0.0)],
        "invdispl": [Polynomial1D(1, c0=-3.0 / 1.1, c1=1 / 1.1)],
        "invdispx": [Polynomial1D(1, c0=0.5, c1=1 / 180)],
        "invdispy": [Polynomial1D(1, c0=0.0, c1=0.0)],
    },
)
REFERENCE_PIXEL = 121.0, 35.0  # XREF_SCI, YREF_SCI
TIMES = [(name, "f8") for kind in ("MJD_UTC", "BJD_TDB") for name in (f"int_start_{kind}", f"int_mid_{kind}", f"int_end_{kind}")]


def series(folder, star, light, *, noise=0.0, shape=(64, 240), seed=4, **keywords):
    """Integrations of a star [Jy], its light times `light` in each, with references: a `Field` without catalogue."""
    folder, mode = Path(folder), SERIES
    about = {**mode.keywords, "XREF_SCI": REFERENCE_PIXEL[0], "YREF_SCI": REFERENCE_PIXEL[1], "XOFFSET": 0.0, "YOFFSET": 0.0}
    about |= {"EXPMID": 59913.7, "EXPSTART": 59913.7, "EXPEND": 59913.7, "DATE-OBS": "2022-12-01", "TIME-OBS": "12:00:00.000"}
    about |= {"NINTS": len(light), "NGROUPS": 5, "INTSTART": 1, "INTEND": len(light), "EXSEGNUM": 1, "EXSEGTOT": 1, **keywords}
    made = sky.exposure(sky.aperture(*mode.aperture), (len(light), *shape), **about)
    for key in ("XREF_SCI", "YREF_SCI"):
        made.header.sci[key] = made.header.primary.pop(key)
    files = _references(folder, mode, made, shape[1])
    del files["bkg"]
    one = np.zeros(shape)
    add_spectrum(one, mode, 1, star)
    random = np.random.default_rng(seed)
    cube = np.asarray(light)[:, None, None] * one + noise * random.standard_normal((len(light), *shape))
    error = np.full(cube.shape, noise or 0.01, np.float32)
    variances = {"var_poisson": error**2 / 2, "var_rnoise": error**2 / 2}
    header = Header(made.header.primary, made.header.sci, str(folder / "series_rateints.fits"))
    exposure = Exposure(
        header, [Pixels(sci=cube.astype(np.float32), err=error, dq=np.zeros(cube.shape, np.uint32), **variances)], suffix="rateints"
    )
    times = np.zeros(len(light), [("integration_number", "i4"), *TIMES])
    times["integration_number"] = np.arange(len(light)) + 1
    for name, _ in TIMES:
        times[name] = 59913.7 + 0.01 * np.arange(len(light)) + 0.001 * TIMES.index((name, "f8"))
    exposure.tables["INT_TIMES"] = times
    files["rateints"] = folder / "series_rateints.fits"
    stored.write(exposure, files["rateints"])
    return Field(exposure, References(files, header), files, None, mode)
