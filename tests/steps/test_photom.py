"""photom against the arithmetic by hand, and bit for bit against the peer."""

import json
from contextlib import nullcontext

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

import make
from jwcal.kernels.images import photom as kernel
from jwcal.settings.chains import chain
from jwcal.steps import photom
from jwcal.vocabulary import dq
from jwcal.vocabulary.errors import InputError, ReferenceError, Skip
from peer import needs_peer, peer_python

AREA = {"PIXAR_SR": 2.1e-14, "PIXAR_A2": 8.9e-4}


def table(*rows, **kinds):
    """A structured array with the columns of `kinds`."""
    return np.array(list(rows), list(kinds.items()))


def nircam(subarray=False):
    kinds = {"filter": "S12", "pupil": "S12", "photmjsr": "f4", "uncertainty": "f4"}
    rows = [("F200W", "CLEAR", 1.7, 0.1), ("F200W", "F187N", 30.0, 0.1), ("F210M", "CLEAR", 5.3, 0.1)]
    if subarray:
        kinds["subarray"] = "S15"
        rows = [(*row, name) for row in rows for name in ("FULL", "SUB64")]
    return table(*rows, **kinds)


def miri():
    kinds = {"filter": "S12", "subarray": "S17", "photmjsr": "f4", "uncertainty": "f4"}
    rows = [("F560W", "FULL", 0.45, 0.1), ("F560W", "SUB64", 0.5, 0.1), ("F770W", "GENERIC", 0.3, 0.1)]
    return table(*rows, **kinds)


def laws(main, keys=("filter", "pupil")):
    """Coefficients of all three laws, a row for each row of the main table."""
    columns = {
        "LINEAR": {"t0": 59700.25, "lossperyear": 0.012},
        "EXPONENTIAL": {"t0": 59680.5, "amplitude": 0.09, "tau": 210.0, "const": 0.91},
        "POWERLAW": {"t0": 59650.0, "year1value": 0.93, "tsoft": 1.5, "alpha": -0.02},
    }
    out = {}
    for law, values in columns.items():
        rows = [(*(row[key] for key in keys), *(v * (1 + 1e-3 * i) for v in values.values())) for i, row in enumerate(main)]
        kinds = {**{key: main.dtype[key] for key in keys}, **dict.fromkeys(values, "f4")}
        out[f"TIMECOEFF_{law}"] = table(*rows, **kinds)
    return out


def rate(shape=(24, 32), **keywords):
    """A flat-fielded exposure with flags and NaN."""
    rng = np.random.default_rng(5)
    about = {"FILTER": "F200W", "PUPIL": "CLEAR", "SUBARRAY": "FULL", "EXPMID": 59913.76145366626, **keywords}
    exposure = make.image_exposure(rng.normal(5, 30, shape), **about)
    exposure.header.sci["BUNIT"] = "DN/s"
    for name in ("err", "var_poisson", "var_rnoise", "var_flat"):
        setattr(exposure, name, rng.gamma(2, 0.3, shape).astype(np.float32))
    exposure.dq[...] = rng.choice([0, 0, 0, 0, dq.DO_NOT_USE, dq.JUMP_DET], shape)
    exposure.sci[rng.random(shape) < 0.02] = np.nan
    exposure.var_flat[rng.random(shape) < 0.02] = np.nan
    return exposure


def test_surface_brightness_by_hand(tmp_path):
    exposure = make.image_exposure(np.full((8, 8), 2.0), FILTER="F200W", PUPIL="CLEAR")
    exposure.header.sci["BUNIT"] = "DN/s"
    photom.apply(exposure, make.references(tmp_path, exposure, photom={"PHOTOM": nircam(), **AREA}))
    np.testing.assert_allclose(exposure.sci, 3.4, rtol=1e-7)
    np.testing.assert_allclose(exposure.err, 1.7, rtol=1e-7)
    np.testing.assert_allclose(exposure.var_poisson, 1.7**2, rtol=2e-7)
    header = exposure.header
    assert header["BUNIT"] == "MJy/sr" and header["PHOTMJSR"] == pytest.approx(1.7, rel=1e-7)
    expected = (1.7 * u.MJy / u.sr).to_value(u.uJy / u.arcsec**2)
    assert header["PHOTUJA2"] == pytest.approx(expected, rel=1e-7)
    assert (header["PIXAR_SR"], header["PIXAR_A2"]) == (2.1e-14, 8.9e-4)
    assert "PHOTMJSR" in header.sci and exposure.extra == {} and exposure.var_flat is None


@pytest.mark.parametrize(
    ("content", "keywords", "value"),
    [
        (nircam(), {"FILTER": "F200W", "PUPIL": "F187N"}, 30.0),
        (nircam(), {"FILTER": "f210m", "PUPIL": "clear"}, 5.3),
        (nircam(subarray=True), {"SUBARRAY": "SUB64"}, 1.7),
        (miri(), {"FILTER": "F560W", "SUBARRAY": "SUB64"}, 0.5),
        (miri(), {"FILTER": "F770W", "SUBARRAY": "BRIGHTSKY"}, 0.3),  # the row for all subarrays
        (table((9.5, 0.1), photmjsr="f4", uncertainty="f4"), {"FILTER": None, "PUPIL": None}, 9.5),  # FGS: nothing to choose
    ],
)
def test_row_of_the_optical_elements(tmp_path, content, keywords, value):
    exposure = rate(**keywords)
    photom.apply(exposure, make.references(tmp_path, exposure, photom={"PHOTOM": content, **AREA}))
    assert exposure.header["PHOTMJSR"] == np.float32(value)


def test_no_row_skips_before_anything_is_changed(tmp_path):
    exposure = rate(FILTER="F090W")
    before, keywords = exposure.sci.copy(), exposure.header.sci.copy()
    area = {"SCI": np.ones((24, 32), np.float32), **AREA}
    with pytest.raises(Skip, match="no row for filter F090W, pupil CLEAR"):
        photom.apply(exposure, make.references(tmp_path, exposure, photom={"PHOTOM": nircam(), **AREA}, area=area))
    np.testing.assert_array_equal(exposure.sci, before)
    assert exposure.header.sci == keywords and exposure.extra == {}


def test_wrong_tables_are_clear_errors(tmp_path):
    exposure = rate()
    twice = np.concatenate([nircam(), nircam()])
    with pytest.raises(ReferenceError, match="2 rows for filter F200W, pupil CLEAR"):
        photom.apply(exposure, make.references(tmp_path, exposure, photom={"PHOTOM": twice, **AREA}))
    short = {"TIMECOEFF_LINEAR": laws(nircam())["TIMECOEFF_LINEAR"][:2]}
    with pytest.raises(ReferenceError, match="TIMECOEFF_LINEAR and PHOTOM differ in length"):
        photom.apply(exposure, make.references(tmp_path, exposure, photom={"PHOTOM": nircam(), **short, **AREA}))
    power = {"TIMECOEFF_POWERLAW": laws(nircam())["TIMECOEFF_POWERLAW"]}
    power["TIMECOEFF_POWERLAW"]["t0"] = 61000  # the epoch is later than the exposure
    with pytest.raises(ReferenceError, match="relative sensitivity at MJD 59913.7.* nan"):
        photom.apply(exposure, make.references(tmp_path, exposure, photom={"PHOTOM": nircam(), **power, **AREA}))
    with pytest.raises(InputError, match="PUPIL"):
        photom.apply(rate(PUPIL=None), make.references(tmp_path, exposure, photom={"PHOTOM": nircam(), **AREA}))


def test_tables_for_spectra_skip(tmp_path):
    spectral = table(("F200W", "CLEAR", 1.0, [1.0, 2.0]), filter="S12", pupil="S12", photmjsr="f4", wavelength=("f4", 2))
    exposure = rate()
    with pytest.raises(Skip, match="spectra"):
        photom.apply(exposure, make.references(tmp_path, exposure, photom={"PHOTOM": spectral, **AREA}))


def test_sensitivity_that_declines(tmp_path):
    """A year after the epoch, a star whose count rate fell with the sensitivity has its old brightness."""
    expected = {"LINEAR": 1 - 0.1, "EXPONENTIAL": 0.09 * np.exp(-365 / 210) + 0.91, "POWERLAW": 0.93}
    coefficients = laws(nircam()[:1])
    for law, sensitivity in expected.items():
        one = coefficients[f"TIMECOEFF_{law}"]
        one["lossperyear" if law == "LINEAR" else "t0"] = 0.1 if law == "LINEAR" else 60000
        one["t0"] = 60000
        exposure = make.image_exposure(np.full((4, 4), sensitivity), FILTER="F200W", PUPIL="CLEAR", EXPMID=60365.0)
        refs = make.references(tmp_path, exposure, photom={"PHOTOM": nircam()[:1], f"TIMECOEFF_{law}": one, **AREA})
        photom.apply(exposure, refs)
        np.testing.assert_allclose(exposure.sci, 1.7, rtol=1e-6)
        assert exposure.header["PHOTMJSR"] == pytest.approx(1.7 / sensitivity, rel=1e-6)
        photom.apply(exposure, refs, apply_time_correction=False)
        assert exposure.header["PHOTMJSR"] == np.float32(1.7)


def test_inverse_gives_count_rates_back(tmp_path):
    exposure = rate()
    refs = make.references(tmp_path, exposure, photom={"PHOTOM": nircam(), **laws(nircam()), **AREA})
    before = exposure.sci.copy(), exposure.var_flat.copy()
    photom.apply(exposure, refs)
    photom.apply(exposure, refs, inverse=True)
    good = np.isfinite(exposure.sci)
    np.testing.assert_allclose(exposure.sci[good], before[0][good], rtol=2e-7)
    np.testing.assert_allclose(exposure.var_flat[good], before[1][good], rtol=3e-7)
    assert exposure.header["BUNIT"] == "DN/s"


def test_pixel_areas_are_attached_and_cut(tmp_path):
    exposure = rate((8, 10), SUBSTRT1=5, SUBSTRT2=3)
    whole = np.random.default_rng(0).normal(1, 0.01, (32, 40)).astype(np.float32)
    area = {"SCI": whole, "PIXAR_SR": 3e-14}
    refs = make.references(tmp_path, exposure, photom={"PHOTOM": nircam(), **AREA}, area=area)
    photom.apply(exposure, refs)
    np.testing.assert_array_equal(exposure.extra["AREA"], whole[2:10, 4:14])
    assert exposure.header["PIXAR_SR"] == 3e-14  # the area reference wins where it says something
    assert exposure.header["PIXAR_A2"] == 8.9e-4


def test_integrations_of_niriss_stay_count_rates(tmp_path):
    exposure = rate((2, 8, 8), INSTRUME="NIRISS")
    before, flags = exposure.sci.copy(), exposure.dq.copy()
    area = np.linspace(0.9, 1.1, 64, dtype="f4").reshape(8, 8)
    refs = make.references(tmp_path, exposure, photom={"PHOTOM": nircam(), **AREA}, area={"SCI": area, "PIXAR_SR": 3e-14})
    with pytest.raises(Skip, match="DN/s") as skipped:
        photom.apply(exposure, refs, **arguments("NIRISS"))
    assert skipped.value.used == ("photom", "area")
    np.testing.assert_array_equal(exposure.sci, before)
    np.testing.assert_array_equal(exposure.dq, flags)
    np.testing.assert_array_equal(exposure.extra["AREA"], area)
    assert exposure.header["PIXAR_SR"] == 3e-14 and exposure.header["PIXAR_A2"] == AREA["PIXAR_A2"]
    assert "PHOTMJSR" not in exposure.header
    assert arguments("NIRCAM") == {}


def arguments(instrument):
    """What the table gives the step."""
    (step,) = [step for step in chain("image2", {"INSTRUME": instrument, "EXP_TYPE": "NIS_AMI"}).steps if step.name == "photom"]
    return step.arguments


@pytest.mark.parametrize("divide", [False, True])
def test_kernel_is_five_lines_of_numpy(divide):
    exposure = rate((2, 24, 32))
    planes = [getattr(exposure, name) for name in ("sci", "err", "var_poisson", "var_rnoise", "var_flat")]
    before, bits = [plane.copy() for plane in planes], exposure.dq.copy()
    kernel.scale(planes[:2], planes[2:], exposure.dq, 1.1, 1.21, divide, dq.DO_NOT_USE)

    bad = np.isnan(sum(before)) | (bits & 1 != 0)
    factors = [1.1, 1.1, 1.21, 1.21, 1.21]
    for mine, old, factor in zip(planes, before, factors, strict=True):
        new = (old / np.float64(factor) if divide else old * np.float64(factor)).astype(np.float32)
        np.testing.assert_array_equal(mine, np.where(bad, np.float32(np.nan), new))
    np.testing.assert_array_equal(exposure.dq, bits | bad)


# --- the peer ----------------------------------------------------------------------------------------------------------

PEER = """
import json
from contextlib import suppress
from astropy.io import fits
from jwst.photom.photom import DataModelTypeError, DataSet
from stdatamodels.jwst import datamodels
for case in json.loads(str(cases)):
    name = case["name"]
    model = (datamodels.CubeModel if case["cube"] else datamodels.ImageModel)(case["file"])
    with fits.open(case["file"]) as hdus:
        model.var_flat = hdus["VAR_FLAT"].data.astype("f4")
    result = model
    with suppress(DataModelTypeError):  # as its step does
        result = DataSet(model, case["inverse"], None, True).apply_photom(case["photom"], case["area"])
    result.save(case["file"] + ".cal.fits")
    with fits.open(case["file"] + ".cal.fits") as hdus:
        for plane in ("SCI", "ERR", "DQ", "VAR_POISSON", "VAR_RNOISE", "VAR_FLAT", "AREA"):
            if plane in hdus:
                out[f"{name} {plane}"] = hdus[plane].data
        header = hdus["SCI"].header
        if case["conversion"]:
            out[f"{name} conversion"] = [header[key] for key in ("PHOTMJSR", "PHOTUJA2")]
        out[f"{name} areas"] = [header[key] for key in ("PIXAR_SR", "PIXAR_A2")]
        out[f"{name} bunit"] = header["BUNIT"]
"""

SINGLE = table((9.5, 0.1), photmjsr="f4", uncertainty="f4")
CASES = {  # data model of the reference; its tables; whether there is an area reference; shape; keywords
    "nircam": ("NrcImg", {"PHOTOM": nircam()}, True, (24, 32), {"EXP_TYPE": "NRC_IMAGE"}),
    "nircam_time": (
        *("NrcImg", {"PHOTOM": nircam(), **laws(nircam())}, False, (2, 24, 32)),
        {"EXP_TYPE": "NRC_TSIMAGE", "SUBSTRT1": 5, "SUBSTRT2": 9},
    ),
    "nircam_subarray": (
        "NrcImg",
        {"PHOTOM": nircam(True), **laws(nircam(True))},
        True,
        (24, 32),
        {"EXP_TYPE": "NRC_IMAGE", "SUBARRAY": "SUB64"},
    ),
    "miri": ("MirImg", {"PHOTOM": miri()}, False, (24, 32), {"EXP_TYPE": "MIR_IMAGE", "DETECTOR": "MIRIMAGE", "FILTER": "F560W"}),
    "miri_generic": (
        *("MirImg", {"PHOTOM": miri(), **laws(miri(), ["filter", "subarray"])}, True, (24, 32)),
        {"EXP_TYPE": "MIR_IMAGE", "DETECTOR": "MIRIMAGE", "FILTER": "F770W", "SUBARRAY": "BRIGHTSKY"},
    ),
    "niriss": (
        *("NisImg", {"PHOTOM": nircam(), "TIMECOEFF_EXPONENTIAL": laws(nircam())["TIMECOEFF_EXPONENTIAL"]}, False, (24, 32)),
        {"EXP_TYPE": "NIS_IMAGE", "DETECTOR": "NIS"},
    ),
    "niriss_mask": (
        *("NisImg", {"PHOTOM": nircam()}, True, (2, 24, 32)),
        {"EXP_TYPE": "NIS_AMI", "DETECTOR": "NIS", "SUBARRAY": "SUB80", "SUBSTRT1": 5, "SUBSTRT2": 9},
    ),
    "fgs": ("FgsImg", {"PHOTOM": SINGLE, **laws(SINGLE, [])}, False, (24, 32), {"EXP_TYPE": "FGS_IMAGE", "DETECTOR": "GUIDER1"}),
}
INSTRUMENTS = {"Nrc": "NIRCAM", "Mir": "MIRI", "Nis": "NIRISS", "Fgs": "FGS"}
BOTH_WAYS = [(name, inverse) for name in CASES for inverse in (False, True)]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Our exposure and the peer's answers, by case: the peer is started once."""
    ours, cases = {}, []
    for name, inverse in BOTH_WAYS:
        folder = tmp_path_factory.mktemp(name)
        model, tables, with_area, shape, keywords = CASES[name]
        exposure = rate(shape, INSTRUME=INSTRUMENTS[model[:3]], **keywords)
        content = {"photom": {**tables, **AREA, "DATAMODL": f"{model}PhotomModel"}}
        if with_area:
            content["area"] = {
                "SCI": np.full((64, 64), 1.01, np.float32),
                "PIXAR_SR": 3e-14,
                "PIXAR_A2": 9e-4,
                "DATAMODL": "PixelAreaModel",
            }
        refs = make.references(folder, exposure, **content)
        file = str(make.write_exposure(folder / "rate.fits", exposure))
        fits.append(file, exposure.var_flat, fits.Header({"EXTNAME": "VAR_FLAT"}))
        paths = {kind: str(refs[kind].path) if kind in refs else "N/A" for kind in ("photom", "area")}
        stays = name == "niriss_mask"  # a count rate: the pixel areas alone are told
        cases.append(
            {"name": f"{name} {inverse}", "file": file, "cube": len(shape) == 3, "conversion": not stays, "inverse": inverse, **paths}
        )
        with pytest.raises(Skip) if stays else nullcontext():
            photom.apply(exposure, refs, inverse=inverse, **arguments(INSTRUMENTS[model[:3]]))
        ours[name, inverse] = exposure
    return ours, peer_python(PEER, cases=json.dumps(cases))


@needs_peer
@pytest.mark.parity
@pytest.mark.parametrize(("name", "inverse"), BOTH_WAYS)
def test_same_bits_as_the_peer(both, name, inverse):
    exposure, theirs = both[0][name, inverse], both[1]
    for plane in ("SCI", "ERR", "DQ", "VAR_POISSON", "VAR_RNOISE", "VAR_FLAT"):
        np.testing.assert_array_equal(getattr(exposure, plane.lower()), theirs[f"{name} {inverse} {plane}"], err_msg=plane)
    for keys, what in ((("PHOTMJSR", "PHOTUJA2"), "conversion"), (("PIXAR_SR", "PIXAR_A2"), "areas")):
        if f"{name} {inverse} {what}" in theirs:
            np.testing.assert_allclose([exposure.header[key] for key in keys], theirs[f"{name} {inverse} {what}"], rtol=1e-12)
    assert exposure.header["BUNIT"] == str(theirs[f"{name} {inverse} bunit"])
    assert ("AREA" in exposure.extra) == (f"{name} {inverse} AREA" in theirs)
    if "AREA" in exposure.extra:
        np.testing.assert_array_equal(exposure.extra["AREA"], theirs[f"{name} {inverse} AREA"])
