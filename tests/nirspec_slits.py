"""Small cut-outs of NIRSpec's slits with a plain WCS, references that depend on everything, and the peer's steps on the same files."""

import json

import numpy as np
from astropy import coordinates, units
from astropy.io import fits
from astropy.modeling.models import Const1D, Identity, Linear1D, Mapping, Polynomial2D, Scale, Tabular2D
from gwcs import WCS, coordinate_frames

import make
from jwcal.model.exposure import Exposure, Pixels
from jwcal.model.references import References
from jwcal.products import stored
from jwcal.settings.chains import Save
from jwcal.settings.recipe import Recipe
from jwcal.vocabulary import dq
from peer import peer_python

DETECTOR = 90, 120  # rows and columns of the subarray
SHAPE = 20, 100  # of a cut-out
ABOUT = {"INSTRUME": "NIRSPEC", "DETECTOR": "NRS1", "FILTER": "CLEAR", "GRATING": "PRISM", "SUBARRAY": "ALLSLITS", "DISPAXIS": 1}
ABOUT |= {"EXP_TYPE": "NRS_FIXEDSLIT", "FXD_SLIT": "S200A1", "EXPMID": 60000.0, "NINTS": 1, "NGROUPS": 5, "SRCTYAPT": "POINT"}
TIMED = {"DATE-OBS": "2023-02-25", "TIME-OBS": "00:00:00.000"}
SLITS = ("S200A1", "S400A1", "S1600A1")
SHUTTERS = (("1x1", 0.9, "POINT"), ("1x1", 0.1, "EXTENDED"), ("x", 0.9, "POINT"), ("11x", 0.2, "EXTENDED"), ("10x1", -1, "POINT"))
WAVELENGTHS = 0.6, 5.3


def slit_wcs(shape=SHAPE, pitch=1.0):
    """Wavelengths that rise along the row, and a little with it; the slit's opening is `pitch` units of 12 rows."""
    rows, columns = shape
    detector = coordinate_frames.Frame2D(name="detector", axes_order=(0, 1), unit=(units.pix, units.pix))
    names = {"axes_names": ("x_slit", "y_slit", "lam"), "unit": (units.one, units.one, units.m)}
    slit = coordinate_frames.CoordinateFrame(3, ("SPATIAL", "SPATIAL", "SPECTRAL"), (0, 1, 2), name="slit_frame", **names)
    sky = coordinate_frames.CelestialFrame(name="sky", axes_order=(0, 1), reference_frame=coordinates.ICRS())
    spectral = coordinate_frames.SpectralFrame(name="spectral", axes_order=(2,), unit=(units.micron,))
    world = coordinate_frames.CompositeFrame([sky, spectral], name="world")
    low, high = WAVELENGTHS
    slope = (high - low) / columns * 1e-6
    wavelength = Polynomial2D(2, c0_0=low * 1e-6, c1_0=0.8 * slope, c0_1=0.03 * slope, c2_0=0.2 * slope / columns)
    place = Polynomial2D(1, c0_0=-(rows - 1) / 24 * pitch, c1_0=-0.0004, c0_1=pitch / 12)
    to_slit = Mapping((0, 0, 1, 0, 1), n_inputs=2) | Const1D(0.0) & place & wavelength
    to_world = Linear1D(1 / 3600, 5.0) & Linear1D(1 / 3600, 1.0) & Scale(1e6)
    wcs = WCS([(detector, to_slit), (slit, Identity(3) | to_world), (world, None)])
    wcs.bounding_box = ((-0.5, columns - 0.5), (-0.5, rows - 0.5))
    return wcs


def exposure(shutters=False, ints=0, names=SLITS, shape=SHAPE, **keywords):
    """Cut-outs of fixed slits, or of shutters, with random numbers; `ints`: one slit with so many integrations."""
    rng = np.random.default_rng(5)
    about = {**ABOUT, "BUNIT": "DN/s", **({"EXP_TYPE": "NRS_MSASPEC", "SUBARRAY": "FULL"} if shutters else {}), **keywords}
    head = make.header(*DETECTOR, **about)
    pixels = []
    full = (ints, *shape) if ints else shape
    for number, name in enumerate(SHUTTERS if shutters else names):
        wcs = slit_wcs(shape, 1.1 if shutters else 1.0)
        y, x = np.indices(shape, dtype=float)
        wavelength = wcs(x, y)[2].astype(np.float32)
        wavelength[:2], wavelength[-1] = np.nan, np.nan
        wavelength[:, : number + 1] = np.nan
        sci = rng.normal(50, 5, full).astype(np.float32)
        sci[..., rng.random(shape) < 0.01] = np.nan
        planes = {plane: rng.uniform(0.5, 2, full).astype(np.float32) for plane in ("err", "var_poisson", "var_rnoise")}
        flags = rng.choice([0] * 30 + [dq.DO_NOT_USE, dq.JUMP_DET], full).astype(np.uint32)
        header = fits.Header({"BUNIT": "DN/s", "SLTSTRT1": 5 + number, "SLTSTRT2": 2 + 14 * number, "DISPAXIS": 1, "SPORDER": 1})
        header.update({"SLTSIZE1": shape[1], "SLTSIZE2": shape[0], "SRCXPOS": 0.13, "SRCYPOS": -0.11, "SOURCEID": number + 1})
        if shutters:
            state, stellarity, kind = name
            header.update({"SLTNAME": str(number + 1), "SLITID": number + 1, "SHUTSTA": state, "STLARITY": stellarity, "SRCTYPE": kind})
            header.update({"MSAQUAD": 1 + number % 2, "SLTYSCL": 1.1, "SRCNAME": f"1234_{number}"})
        else:
            header.update({"SLTNAME": name, "SRCTYPE": "EXTENDED" if number else "POINT"})
        place = {"xcen": 2 + number, "ycen": 3} if shutters else {}
        pixels.append(Pixels(sci=sci, dq=flags, **planes, extra={"WAVELENGTH": wavelength}, header=header, wcs=wcs, about=place))
    made = Exposure(head, pixels, suffix="cal")
    made.header.sci = pixels[0].header
    return made


def references(folder, shutters=False, **leave_out):
    """All references of the calibration of slits, of their names; a False leaves one out."""
    makers = {"fflat": quadrants if shutters else fore_optics, "sflat": spectrograph, "dflat": detector, "pathloss": pathloss}
    makers |= {"photom": photom, "area": area, "barshadow": barshadow, "wavecorr": wavecorr}
    return {kind: str(made(folder, shutters)) for kind, made in makers.items() if leave_out.get(kind, True)}


def of(files, exposed):
    return References(files, exposed.header)


def _primary(kind, **keywords):
    about = {"TELESCOP": "JWST", "INSTRUME": "NIRSPEC", "REFTYPE": kind, "AUTHOR": "tests", "PEDIGREE": "DUMMY", "DESCRIP": "test"}
    about |= {"USEAFTER": "2022-01-01T00:00:00", "EXP_TYPE": "NRS_FIXEDSLIT", "GRATING": "PRISM", "FILTER": "CLEAR", "DETECTOR": "NRS1"}
    return fits.PrimaryHDU(header=fits.Header({**about, **keywords}))


def fast(names=("ANY",), size=400, low=0.55, high=5.2, version=1, phase=0.0):
    """A table FAST_VARIATION with waves that are shorter than some pixels."""
    at = np.linspace(low, high, size).astype(np.float32)
    kinds = [("slit_name", "S15"), ("nelem", ">i4"), *((name, ">f4", (size + 3,)) for name in ("wavelength", "data", "error"))]
    rows = []
    for number, name in enumerate(names):
        values = 0.7 + 0.05 * at + 0.08 * np.sin(40 * at + number + phase)
        values[17], values[40] = np.nan, 0
        rows.append((name, size, *(np.pad(column, (0, 3)) for column in (at, values, 0.01 * values))))
    return fits.BinTableHDU(np.array(rows, kinds), name="FAST_VARIATION", ver=version)


def planes(at, version=1):
    return fits.BinTableHDU(np.array([(w,) for w in at], [("wavelength", ">f4")]), name="WAVELENGTH", ver=version)


def _image(array, name, version=1):
    return fits.ImageHDU(array, name=name, ver=version)


def fore_optics(folder, shutters=False):
    path = folder / "fflat.fits"
    fits.HDUList([_primary("FFLAT", DATAMODL="NirspecFlatModel"), fast(SLITS)]).writeto(path, overwrite=True)
    return path


def quadrants(folder, shutters=True):
    """Four quadrants of 9 x 7 shutters."""
    rng = np.random.default_rng(6)
    hdus = [_primary("FFLAT", DATAMODL="NirspecQuadFlatModel", EXP_TYPE="NRS_MSASPEC")]
    for number in range(1, 5):
        cube = rng.uniform(0.8, 1.2, (6, 7, 9)).astype(np.float32)
        hdus += [_image(cube, "SCI", number), _image(0.02 * cube, "ERR", number), _image(np.zeros(cube.shape, np.uint32), "DQ", number)]
        hdus += [planes(np.linspace(0.7, 5.0, 6), number), fast(version=number, phase=number)]
    fits.HDUList(hdus).writeto(folder / "fflat.fits", overwrite=True)
    return folder / "fflat.fits"


def _flat(path, kind, shape, wavelengths, flags_shape):
    rng = np.random.default_rng(len(kind) + sum(map(ord, kind)))
    sci = rng.uniform(0.8, 1.2, shape).astype(np.float32)
    sci[..., rng.random(shape[-2:]) < 0.005] = np.nan
    sci[..., rng.random(shape[-2:]) < 0.005] = 0
    flags = rng.choice([0] * 60 + [dq.DO_NOT_USE, dq.HOT, dq.NO_FLAT_FIELD], flags_shape).astype(np.uint32)
    error = rng.uniform(0, 0.02, flags_shape).astype(np.float32)
    hdus = [_primary(kind, DATAMODL="NirspecFlatModel"), _image(sci, "SCI"), _image(error, "ERR"), _image(flags, "DQ")]
    hdus += [planes(wavelengths)] if wavelengths is not None else []
    fits.HDUList([*hdus, fast(phase=shape[0])]).writeto(path, overwrite=True)
    return path


def spectrograph(folder, shutters=False):
    at = np.linspace(0.5, 5.25, 5) if shutters else None
    shape = (5, *DETECTOR) if shutters else DETECTOR
    return _flat(folder / "sflat.fits", "SFLAT", shape, at, shape)


def detector(folder, shutters=False):
    return _flat(folder / "dflat.fits", "DFLAT", (4, *DETECTOR), np.array([0.62, 1.5, 3.5, 5.0]), DETECTOR)


def pathloss(folder, shutters=False):
    """Losses that depend on wavelength and place; 0.6 to 5.1 micron."""
    hdus = [_primary("PATHLOSS", DATAMODL="PathlossModel", EXP_TYPE="NRS_MSASPEC" if shutters else "NRS_FIXEDSLIT")]
    apertures = (("MOS1x1", 1, 1.0), ("MOS1x3", 3, 3.0)) if shutters else tuple((name, 1, 1.0) for name in SLITS)
    wavelength = np.linspace(0.61e-6, 5.1e-6, 21)
    for number, (name, count, length) in enumerate(apertures, start=1):
        x, y = np.linspace(-0.5, 0.5, 11), np.linspace(-0.5 * length, 0.5 * length, 11 * count)
        at = wavelength[:, None, None] * 1e6
        cube = (0.9 - 0.02 * at - 0.5 * x**2 - 0.1 * (y[:, None] - 0.05 * number) ** 2).astype(np.float32)
        keywords = {"APERTURE": name, "SHUTTERS": count, "CRPIX1": 6.0, "CRVAL1": 0.0, "CDELT1": 0.1, "CRPIX2": (y.size + 1) / 2}
        keywords |= {"CRVAL2": 0.0, "CDELT2": y[1] - y[0], "CRPIX3": 1.0, "CRVAL3": wavelength[0], "CDELT3": wavelength[1] - wavelength[0]}
        line = {"CRPIX1": 1.0, "CRVAL1": wavelength[0], "CDELT1": wavelength[1] - wavelength[0]}
        uniform = (0.95 - 0.01 * number - 0.01 * wavelength * 1e6).astype(np.float32)
        for what, array, about in (("PS", cube, keywords), ("UNI", uniform, line)):
            hdus.append(fits.ImageHDU(array, fits.Header(about), name=what, ver=number))
            hdus.append(fits.ImageHDU(0 * array, fits.Header(about), name=f"{what}VAR", ver=number))
    fits.HDUList(hdus).writeto(folder / "pathloss.fits", overwrite=True)
    return folder / "pathloss.fits"


def photom(folder, shutters=False, timed=False):
    size = 30
    at = np.linspace(0.63, 5.2, size).astype(np.float32)
    kinds = [("filter", "S12"), ("grating", "S15"), ("slit", "S15"), ("photmj", ">f4"), ("uncertainty", ">f4"), ("nelem", ">i2")]
    kinds += [(name, ">f4", (size,)) for name in ("wavelength", "relresponse", "reluncertainty")]
    rows = [("CLEAR", "PRISM", name, 3e-9 * (k + 1), 1e-10, size, at, 1 + 0.1 * at, 0 * at) for k, name in enumerate(SLITS)]
    table = np.array(rows, kinds)
    if shutters:
        table = np.array([rows[0][:2] + rows[0][3:]], [kind for kind in kinds if kind[0] != "slit"])
    model = "NrsMosPhotomModel" if shutters else "NrsFsPhotomModel"
    hdus = [_primary("PHOTOM", DATAMODL=model, EXP_TYPE="NRS_MSASPEC" if shutters else "NRS_FIXEDSLIT")]
    hdus.append(fits.BinTableHDU(table, name="PHOTOM"))
    if timed:
        kinds = [kind for kind in kinds if kind[0] in ("filter", "grating", "slit")] + [("t0", ">f4"), ("lossperyear", ">f4")]
        loss = np.array([("CLEAR", "PRISM", name, 59000.0, 0.05) for name in SLITS], kinds)
        hdus.append(fits.BinTableHDU(loss, name="TIMECOEFF_LINEAR"))
    path = folder / ("photom_timed.fits" if timed else "photom.fits")
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


def area(folder, shutters=False):
    if shutters:
        rows = [(q, x, y, 0.02 + 0.001 * q + 0.0001 * x) for q in (1, 2) for x in range(1, 9) for y in range(1, 8)]
        kinds = [("quadrant", ">i2"), ("shutter_x", ">i2"), ("shutter_y", ">i2"), ("pixarea", ">f4")]
    else:
        rows = [(name, 0.02 + 0.001 * k) for k, name in enumerate(SLITS)]
        kinds = [("slit_id", "S15"), ("pixarea", ">f4")]
    model = "NirspecMosAreaModel" if shutters else "NirspecSlitAreaModel"
    hdus = [_primary("AREA", DATAMODL=model), fits.BinTableHDU(np.array(rows, kinds), name="AREA")]
    fits.HDUList(hdus).writeto(folder / "area.fits", overwrite=True)
    return folder / "area.fits"


def barshadow(folder, shutters=True, rows=1001):
    """A bar of a tenth of the pitch that keeps a fifth of the light between open shutters, and nothing beside them."""
    y, w = np.linspace(-1, 1, rows)[:, None], np.linspace(0, 1, 101)
    away = np.abs(y)
    alone = 0.02 + 0.98 / (1 + np.exp((away - 0.45 - 0.02 * w) / 0.02))
    between = 1 - (0.2 + 0.1 * w) * np.exp(-(((away - 0.5) / 0.06) ** 2))
    keywords = fits.Header({"CRVAL1": 0.5e-6, "CDELT1": 0.05e-6, "CRVAL2": -1.0, "CDELT2": 0.002})
    hdus = [_primary("BARSHADOW", DATAMODL="BarshadowModel", EXP_TYPE="NRS_MSASPEC")]
    for name, image in (("1X1", alone), ("1X3", between)):
        hdus.append(fits.ImageHDU(image.astype(np.float32), keywords, name=f"DATA{name}"))
        hdus.append(fits.ImageHDU(0 * image.astype(np.float32), keywords, name=f"VAR{name}"))
    fits.HDUList(hdus).writeto(folder / "barshadow.fits", overwrite=True)
    return folder / "barshadow.fits"


def wavecorr(folder, shutters=False):
    import asdf

    at, x = np.linspace(0.7e-6, 5e-6, 9), np.linspace(-0.5, 0.5, 5)
    offset = 2.0 * x[None] * (1 + 0.1e6 * at[:, None])
    model = Tabular2D(points=(at, x), lookup_table=offset, bounds_error=False, fill_value=None)
    meta = {"author": "tests", "pedigree": "DUMMY", "description": "test", "useafter": "2022-01-01T00:00:00", "reftype": "wavecorr"}
    meta |= {"telescope": "JWST", "instrument": {"name": "NIRSPEC"}, "exposure": {"type": "NRS_FIXEDSLIT"}, "model_type": "WaveCorrModel"}
    apertures = [{"aperture_name": name, "zero_point_offset": model, "variance": model, "width": 1.0} for name in SLITS[:2]]
    asdf.AsdfFile({"meta": meta, "apertures": apertures}).write_to(folder / "wavecorr.asdf")
    return folder / "wavecorr.asdf"


PEER = """
import json, os
os.environ.update(STPIPE_DISABLE_CRDS_STEPPARS="true", CRDS_MODE="local", CRDS_SERVER_URL="https://crds-serverless-mode.stsci.edu")
os.environ["CRDS_PATH"] = os.path.dirname(str(source))
from stdatamodels.jwst import datamodels
from stpipe.step import Step
files = json.loads(str(files))
Step.get_reference_file = lambda self, given, kind: files.get(kind, "N/A")
from jwst.flatfield import FlatFieldStep as flat_field
from jwst.pathloss import PathLossStep as pathloss
from jwst.photom import PhotomStep as photom
from jwst.barshadow import BarShadowStep as barshadow
from jwst.wavecorr import WavecorrStep as wavecorr
from jwst.srctype import SourceTypeStep as srctype
NAMES = "sci data err err dq dq var_poisson var_poisson var_rnoise var_rnoise var_flat var_flat WAVELENGTH wavelength BARSHADOW barshadow"
NAMES += " FLATFIELD_PS flatfield_point FLATFIELD_UN flatfield_uniform PATHLOSS_PS pathloss_point PATHLOSS_UN pathloss_uniform"
NAMES = (NAMES + " PHOTOM_PS photom_point PHOTOM_UN photom_uniform").split()
PLANES = dict(zip(NAMES[::2], NAMES[1::2], strict=True))
model = datamodels.open(str(source))
for slit in getattr(model, "slits", []):
    slit.meta.exposure = {"type": model.meta.exposure.type}  # which extract_2d leaves there
for name, parameters in json.loads(str(steps)):
    model = globals()[name].call(model, **parameters)
for number, slit in enumerate(getattr(model, "slits", [model])):
    for name, attribute in PLANES.items():
        plane = getattr(slit, attribute, None)
        if plane is not None and np.size(plane):
            out[f"{name}{number}"] = np.asarray(plane)
    out[f"about{number}"] = json.dumps({
        "SRCTYPE": slit.source_type, "PIXAR_SR": slit.meta.photometry.pixelarea_steradians, "BUNIT": slit.meta.bunit_data,
        "PHOTMJSR": slit.meta.photometry.conversion_megajanskys and float(slit.meta.photometry.conversion_megajanskys),
        "PTHLOSS": getattr(slit, "pathloss_correction_type", None), "BARSHDW": getattr(slit, "barshadow_corrected", None)})
"""


def peer(folder, exposed, files, steps):
    """The peer's steps, [(name, parameters)], on an exposure: planes and keywords of each slit."""
    path = folder / "peer_cal.fits"
    written = exposed.derive(exposed.pixels, "cal")
    model = "SlitModel" if exposed.pixels[0].sci.ndim == 3 else "MultiSlitModel"
    written.recipe = Recipe("spec2", [Save({"cal": "cal"}, model=model)])
    stored.write(written, path)
    out = peer_python(PEER, source=str(path), files=json.dumps(files), steps=json.dumps(steps))
    found = []
    for number in range(len(exposed.pixels)):
        end = str(number)
        found.append({name[: -len(end)]: array for name, array in out.items() if name.endswith(end)})
    return found


def same(exposed, theirs, rtol=1e-6, planes=None, ignore=()):
    """Compare all planes of all slits with the peer's: flags equal, values where both have one."""
    for slit, other in zip(exposed.slits(), theirs, strict=True):
        mine = {**dict(slit.pixels[0].planes()), **slit.extra}
        for name in planes or [name for name in other if name != "about"]:
            if name in ignore:
                continue
            one, its = mine[name], other[name]
            if name == "dq":
                np.testing.assert_array_equal(one, its)
                continue
            np.testing.assert_array_equal(np.isnan(one), np.isnan(its), err_msg=f"{name} {slit.header.get('SLTNAME')}")
            power = 2 if name.startswith("var") else 1
            np.testing.assert_allclose(one, its, rtol=power * rtol, err_msg=f"{name} {slit.header.get('SLTNAME')}")
        about = json.loads(str(other["about"]))
        for keyword, value in about.items():
            if value is not None and keyword in slit.header:
                assert slit.header[keyword] == (value if not isinstance(value, float) else np.float64(value).item()) or np.isclose(
                    slit.header[keyword], value, rtol=1e-6
                ), keyword
