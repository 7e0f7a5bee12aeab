"""Slits, cubes, spectra, catalogues: written and read again bit for bit, by jwcal and by stdatamodels; what stdatamodels writes, too."""

import hashlib
import os
import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy import coordinates
from astropy.io import fits
from astropy.modeling import models
from astropy.table import QTable
from gwcs import WCS
from gwcs import coordinate_frames as frames
from stdatamodels.jwst import datamodels

import make
from jwcal.files import arrays, fitsheaders
from jwcal.machine.parts import part
from jwcal.model import spectra
from jwcal.model.exposure import Exposure, Members, Pixels
from jwcal.products import slits, stored
from jwcal.program import index
from jwcal.provenance import codebase
from jwcal.run import loop
from jwcal.settings import chains
from jwcal.settings.chains import Save, Step
from jwcal.settings.recipe import Recipe
from jwcal.settings.tables import table
from jwcal.vocabulary import keywords
from jwcal.vocabulary.errors import InputError
from jwcal.workflow import plan

MAPS = ("WAVELENGTH", "BARSHADOW", "PATHLOSS_PS", "PATHLOSS_UN", "FLATFIELD_PS", "FLATFIELD_UN", "PHOTOM_PS", "PHOTOM_UN", "AREA")
NAMES = {  # extension -> what stdatamodels calls it
    **{"SCI": "data", "ERR": "err", "DQ": "dq", "VAR_POISSON": "var_poisson", "VAR_RNOISE": "var_rnoise", "VAR_FLAT": "var_flat"},
    **{"WAVELENGTH": "wavelength", "BARSHADOW": "barshadow", "AREA": "area", "WMAP": "weightmap", "REGIONS": "regions"},
    **{f"{stem}_{end}": f"{name}_{kind}" for end, kind in (("PS", "point"), ("UN", "uniform"))
       for stem, name in (("PATHLOSS", "pathloss"), ("FLATFIELD", "flatfield"), ("PHOTOM", "photom"))},
}  # fmt: skip
random = np.random.default_rng(17)


def a_wcs(shift):
    detector = frames.Frame2D(name="detector", unit=(u.pix, u.pix))
    sky = frames.CelestialFrame(name="world", reference_frame=coordinates.ICRS(), unit=(u.deg, u.deg))
    to_sky = models.Shift(shift) & models.Shift(2 * shift) | models.Scale(1e-5) & models.Scale(1e-5)
    return WCS([(detector, to_sky | models.Pix2Sky_TAN() | models.RotateNative2Celestial(10.0, 20.0, 180.0)), (sky, None)])


def numbers(shape):
    values = random.normal(5, 1, shape).astype(np.float32)
    values[..., 0, 0] = np.nan
    return values


def grid(shape, maps=(), **cards):
    """The arrays of a slit, with flags in the highest bit."""
    flags = random.integers(0, 4, shape).astype(np.uint32)
    flags[..., 1, 1] = 1 << 31
    planes = {name: numbers(shape) for name in ("sci", "err", "var_poisson", "var_rnoise", "var_flat")}
    return Pixels(**planes, dq=flags, extra={name: numbers(shape[-2:]) for name in maps}, header=fits.Header({"BUNIT": "MJy/sr", **cards}))


def made(pixels, suffix, model="", tables=None, **header):
    exposure = Exposure(make.header(32, 32, **{"EXP_TYPE": "NRS_MSASPEC", "NINTS": 3, **header}), [], suffix="rate")
    exposure = exposure.derive(pixels, suffix)
    exposure.tables = tables or {}
    exposure.recipe = Recipe("spec2", [Save({suffix: suffix}, model=model)])
    return exposure


def many_slits(count=3):
    """Slits of different shapes; the second has no maps, and no WCS."""
    found = []
    for n in range(count):
        bare = n == 1
        cards = {"SLTNAME": f"S{n}", "SLITID": n + 7, "SOURCEID": 100 + n, "SHUTSTA": "11x11", "SRCXPOS": 0.1 * n, "SLTSTRT1": 5 * n + 1}
        pixels = grid((6 + n, 20 + 3 * n), () if bare else MAPS, **cards)
        if not bare:
            pixels.wcs = a_wcs(n + 1.0)
            pixels.about = {"is_extended": n == 0, "xcen": 12 + n, "ycen": 34, "slit_ymin": -0.25 - n, "slit_ymax": 0.3}
        found.append(pixels)
    return made(found, "cal", "MultiSlitModel")


def int_times(nints=3):
    table = np.zeros(nints, [(arrays.COLUMNS[arrays.TIMES][0], "i4"), *((name, "f8") for name in arrays.COLUMNS[arrays.TIMES][1:])])
    table["integration_number"] = np.arange(1, nints + 1)
    table["int_mid_MJD_UTC"] = 59000.0 + random.random(nints)
    return table


def opened_as(path, model):
    """A file as stdatamodels opens it, without a warning; valid."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened = datamodels.open(path)
    assert type(opened).__name__ == model
    opened.validate()
    return opened


def same(ours, theirs):
    """Bit for bit: type, shape and every byte, NaN included."""
    theirs = np.asarray(theirs)
    theirs = np.ascontiguousarray(theirs.astype(theirs.dtype.newbyteorder("=")))
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
    assert ours.tobytes() == theirs.tobytes()


def same_pixels(first, second):
    assert [name for name, _ in first.planes()] == [name for name, _ in second.planes()] and first.extra.keys() == second.extra.keys()
    for (_, one), (_, other) in zip(first.planes(), second.planes(), strict=True):
        same(one, other)
    for name, array in first.extra.items():
        same(array, second.extra[name])
    assert first.about == second.about and (first.wcs is None) == (second.wcs is None)
    if first.wcs is not None:
        assert first.wcs(3.0, 4.0) == second.wcs(3.0, 4.0)
    for keyword, value in first.header.items():
        assert second.header[keyword] == value


def same_in_model(pixels, slit):
    """The arrays of one grid and those of stdatamodels' slit, cube or image."""
    for extension, array in {**{e: getattr(pixels, p) for p, e in (stored.BEFORE | stored.AFTER).items()}, **pixels.extra}.items():
        if array is not None:
            same(array, getattr(slit, NAMES[extension]))


def rewritten(tmp_path, exposure):
    """The product is read and written again: the same bytes but for the name of the input in the provenance."""
    exposure.header.name = f"jw1_{exposure.suffix}.fits"
    first = stored.write(exposure, tmp_path / "one" / exposure.header.name)
    again = stored.read(first)
    again.recipe = exposure.recipe
    again.header.name = exposure.header.name
    second = stored.write(again, tmp_path / "two" / exposure.header.name)
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (first, second)]
    assert digests[0] == digests[1]
    return first, again


# --- slits ---


def test_slits(tmp_path):
    exposure = many_slits()
    path, again = rewritten(tmp_path, exposure)
    assert len(again.pixels) == 3 and again.suffix == "cal"
    for pixels, others in zip(exposure.pixels, again.pixels, strict=True):
        same_pixels(pixels, others)
    opened = opened_as(path, "MultiSlitModel")
    assert len(opened.slits) == 3
    for pixels, slit in zip(exposure.pixels, opened.slits, strict=True):
        same_in_model(pixels, slit)
        assert (slit.name, slit.slitlet_id, slit.source_id) == tuple(pixels.header[k] for k in ("SLTNAME", "SLITID", "SOURCEID"))
        assert (slit.shutter_state, slit.source_xpos, slit.xstart) == tuple(pixels.header[k] for k in ("SHUTSTA", "SRCXPOS", "SLTSTRT1"))
        assert {name: getattr(slit, name) for name in pixels.about} == pixels.about
        if pixels.wcs is not None:
            assert slit.meta.wcs(3.0, 4.0) == pixels.wcs(3.0, 4.0)
        assert slit.meta.bunit_data == slit.meta.bunit_err == "MJy/sr"
    assert not opened.slits[1].meta.hasattr("wcs") and opened.slits[1].barshadow is None


def test_one_slit_of_many(tmp_path):
    """A MultiSlitModel of one slit keeps that slit's keywords and WCS where the model looks for them."""
    exposure = many_slits(1)
    assert exposure.header["SLTNAME"] == "S0"
    path, again = rewritten(tmp_path, exposure)
    same_pixels(exposure.pixels[0], again.only)
    opened = opened_as(path, "MultiSlitModel")
    assert opened.slits[0].name == "S0" and opened.slits[0].meta.wcs(1.0, 1.0) == exposure.wcs(1.0, 1.0)


def test_slits_without_wcs(tmp_path):
    """Nothing for the ASDF extension but what every product says."""
    exposure = many_slits(2)
    exposure.pixels[0].wcs, exposure.pixels[0].about = None, {}
    path, again = rewritten(tmp_path, exposure)
    assert [p.wcs for p in again.pixels] == [None, None] and len(opened_as(path, "MultiSlitModel").slits) == 2


@pytest.mark.parametrize(("suffix", "shape"), [("calints", (3, 8, 24)), ("s2d", (8, 24))])
def test_one_slit(tmp_path, suffix, shape):
    """A SlitModel: a time series in one slit, with its times; a resampled slit, with weights."""
    pixels = grid(shape, ("WAVELENGTH",), SLTNAME="S1600A1", SRCTYPE="POINT")
    pixels.wcs, pixels.about = a_wcs(3.0), {"slit_ymin": -0.5}
    if suffix == "s2d":
        pixels.dq, pixels.extra = None, {"CON": np.ones((1, *shape), np.int32), "WHT": numbers(shape)}
    exposure = made([pixels], suffix, "SlitModel", {"INT_TIMES": int_times()} if suffix == "calints" else {})
    path, again = rewritten(tmp_path, exposure)
    same_pixels(pixels, again.only)
    opened = opened_as(path, "SlitModel")
    if suffix == "calints":
        same_in_model(pixels, opened)
        same(exposure.tables["INT_TIMES"], opened.int_times)
        assert np.array(again.tables["INT_TIMES"]).tolist() == exposure.tables["INT_TIMES"].tolist()
    else:
        same(pixels.extra["WHT"], opened.wht)
        same(pixels.extra["CON"], opened.con)
    assert opened.name == "S1600A1" and opened.slit_ymin == -0.5 and opened.meta.wcs(3.0, 4.0) == pixels.wcs(3.0, 4.0)


def test_what_stdatamodels_writes(tmp_path):
    """Slits and their WCS from a file of the archive's own software."""
    exposure, model = many_slits(), datamodels.MultiSlitModel()
    model.meta.telescope, model.meta.instrument.name = "JWST", "NIRSPEC"
    for pixels in exposure.pixels:
        slit = datamodels.SlitModel(data=pixels.sci, err=pixels.err, dq=pixels.dq)
        slit.name, slit.source_xpos = pixels.header["SLTNAME"], pixels.header["SRCXPOS"]
        for name, value in pixels.about.items():
            setattr(slit, name, value)
        for name, array in pixels.extra.items():
            setattr(slit, NAMES[name], array)
        if pixels.wcs is not None:
            slit.meta.wcs = pixels.wcs
        model.slits.append(slit)
    model.save(tmp_path / "jw1_cal.fits")
    again = stored.read(tmp_path / "jw1_cal.fits")
    assert len(again.pixels) == 3
    for pixels, others in zip(exposure.pixels, again.pixels, strict=True):
        same(pixels.sci, others.sci)
        same(pixels.dq, others.dq)
        for name, array in pixels.extra.items():
            same(array, others.extra[name])
        assert others.header["SLTNAME"] == pixels.header["SLTNAME"] and pixels.about == others.about
        assert pixels.wcs is None or others.wcs(3.0, 4.0) == pixels.wcs(3.0, 4.0)


def test_about_is_what_has_no_keyword():
    """The names that stand in the ASDF extension alone are those of the schema without a FITS keyword."""
    assert {name for name, node in keywords.schema("slitmeta")["properties"].items() if "fits_keyword" not in node} == set(slits.ABOUT)


@pytest.mark.parametrize("plane", ["sci", "err", "dq", "extra", "wcs", "shape"])
def test_slits_are_no_image(plane):
    exposure = many_slits()
    exposure.header.name = "jw1_cal.fits"
    with pytest.raises(InputError, match="jw1_cal.fits: it has 3 slits, one image was expected"):
        getattr(exposure, plane)


def test_setting_a_plane_of_slits():
    exposure = many_slits()
    with pytest.raises(InputError, match="it has 3 slits, one image was expected"):
        exposure.sci = np.zeros((4, 4), np.float32)


def test_each_slit_is_lent():
    """What is done to a slit is done to the exposure's."""
    exposure = many_slits()
    for number, slit in enumerate(exposure.slits()):
        slit.sci *= 2
        slit.header.sci["SRCTYPE"] = "POINT"
        assert slit.header["SLTNAME"] == f"S{number}" and slit.header["EXP_TYPE"] == "NRS_MSASPEC"
    assert all(p.header["SRCTYPE"] == "POINT" for p in exposure.pixels)


def test_members_of_slits(tmp_path):
    """Closed and opened again, every slit has the planes that were kept, and its WCS and keywords as they were left."""
    path = stored.write(many_slits(), tmp_path / "jw1_cal.fits")
    members = Members([(path, "science")], stored.read)
    for exposure in members.each(keep=("dq",)):
        for number, slit in enumerate(exposure.slits()):
            slit.dq[...] = number
            slit.sci[...] = 0
            slit.about = {"xcen": number}
            slit.wcs = a_wcs(9.0)
    (again,) = members.each()
    assert [np.unique(p.dq).tolist() for p in again.pixels] == [[0], [1], [2]]
    assert [p.about for p in again.pixels] == [{"xcen": n} for n in range(3)] and np.nanmax(again.pixels[0].sci) > 1
    assert all(p.wcs(0.0, 0.0) == a_wcs(9.0)(0.0, 0.0) for p in again.pixels)


@pytest.mark.parametrize(("name", "number", "shape", "message"), [
    ("WAVELENGTH", 2, (5, 5), r"WAVELENGTH \(EXTVER 2\) has the shape \(5, 5\), \(7, 23\) was expected beside SCI's \(7, 23\)"),
    ("DQ", 3, (5, 5), r"DQ \(EXTVER 3\) has the shape \(5, 5\)"),
    ("BARSHADOW", 9, (5, 5), "BARSHADOW has EXTVER 9, and there is no SCI with it"),
])  # fmt: skip
def test_wrong_slits(tmp_path, name, number, shape, message):
    """Shapes are those of the SCI of the same EXTVER; a job and planning say the same."""
    path = stored.write(many_slits(), tmp_path / "jw1_cal.fits")
    with fits.open(path) as hdus:
        whole = fits.HDUList([h.copy() for h in hdus if (h.name, h.ver) != (name, number)])
    whole.append(fits.ImageHDU(np.zeros(shape, np.float32), name=name, ver=number))
    whole.writeto(path, overwrite=True)
    with pytest.raises(InputError, match=message):
        stored.read(path)


def test_several_grids_are_no_image_product(tmp_path):
    """The table has forgotten to say that a product holds slits: that is said, instead of a file that opens as its first slit."""
    exposure = many_slits()
    exposure.recipe = None
    with pytest.raises(ValueError, match="cal: ImageModel holds one image, there are 3"):
        stored.write(exposure, tmp_path / "jw1_cal.fits")
    assert not list(tmp_path.iterdir())


def test_a_chain_starts_from_slits(tmp_path):
    """A file of slits goes through a chain; one that lacks a plane is refused before anything is done."""
    exposure, written = many_slits(), []
    path = stored.write(exposure, tmp_path / "jw1_cal.fits")
    save = Save({"cal": "crf"}, model="MultiSlitModel")
    loop.run(Recipe("spec2", [save], reads=["cal"], group_flags=True), path, written.extend)
    again = stored.read(stored.write(written[0], tmp_path / "jw1_crf.fits"))
    assert len(again.pixels) == 3 and again.suffix == "crf"
    exposure.pixels[1].err = None
    with pytest.raises(InputError, match=r"it has no ERR, which flat_field needs: float32 of the shape \(7, 23\) was expected"):
        loop.run(Recipe("spec2", [Step("flat_field"), save], references={"flat": "N/A"}, reads=["cal"]), exposure, written.extend)


# --- images and cubes of integral field units ---


def test_ifu_image(tmp_path):
    pixels = grid((16, 20), ("WAVELENGTH", "PATHLOSS_PS", "PATHLOSS_UN", "AREA"))
    pixels.extra["REGIONS"] = random.integers(0, 30, (16, 20)).astype(np.int32)
    pixels.wcs = a_wcs(1.0)
    exposure = made([pixels], "cal", "IFUImageModel", EXP_TYPE="MIR_MRS")
    path, again = rewritten(tmp_path, exposure)
    same_pixels(pixels, again.only)
    opened = opened_as(path, "IFUImageModel")
    same_in_model(pixels, opened)
    assert opened.meta.wcs(3.0, 4.0) == pixels.wcs(3.0, 4.0)


@pytest.mark.parametrize("linear", [True, False])
def test_cube(tmp_path, linear):
    """Wavelengths by keywords, or in a table where they are not even."""
    shape = (7, 9, 8)
    linear_cards = {"CTYPE3": "WAVE", "CRVAL3": 5.0, "CDELT3": 0.01, "CRPIX3": 1.0, "CUNIT3": "um", "WCSAXES": 3}
    pixels = grid(
        shape, **(linear_cards if linear else {**linear_cards, "CTYPE3": "WAVE-TAB", "PS3_0": "WCS-TABLE", "PS3_1": "wavelength"})
    )
    pixels.var_poisson = pixels.var_rnoise = pixels.var_flat = None
    pixels.extra["WMAP"] = numbers(shape)
    tables = {}
    if not linear:
        tables["WCS-TABLE"] = np.array([(np.geomspace(5, 6, 7)[:, None],)], [("wavelength", "f4", (7, 1))])
    exposure = made([pixels], "s3d", tables=tables, EXP_TYPE="MIR_MRS")
    path, again = rewritten(tmp_path, exposure)
    same_pixels(pixels, again.only)
    opened = opened_as(path, "IFUCubeModel")
    same_in_model(pixels, opened)
    assert opened.meta.ifu.flux_extension == "SCI" and opened.meta.ifu.error_type == "ERR" and opened.meta.wcsinfo.crval3 == 5.0
    with fits.open(path) as hdus:
        assert [h.name for h in hdus[1:5]] == ["SCI", "ERR", "DQ", "WMAP"]
        if not linear:
            assert hdus["WCS-TABLE"].header["TDIM1"] == "(1,7)"
            same(tables["WCS-TABLE"]["wavelength"], opened.wavetable["wavelength"])


# --- spectra ---

OF_KINDS = {  # kind -> schema, model, suffix, extension
    "": ("spectable", "MultiSpecModel", "x1d", "EXTRACT1D"),
    "mrs": ("mrs_spectable", "MRSMultiSpecModel", "x1d", "EXTRACT1D"),
    "tso": ("tso_spectable", "TSOMultiSpecModel", "x1dints", "EXTRACT1D"),
    "wfss": ("wfss_spectable", "WFSSMultiSpecModel", "x1d", "EXTRACT1D"),
    "combined": ("combinedspectable", "MultiCombinedSpecModel", "c1d", "COMBINE1D"),
    "wfss_combined": ("wfss_combinedspectable", "WFSSMultiCombinedSpecModel", "c1d", "COMBINE1D"),
}
VECTORS = ("tso", "wfss", "wfss_combined")


def filled(kind, rows=6, wavelengths=11):
    table = spectra.empty_table(kind, rows, wavelengths if kind in VECTORS else None)
    for name in ("WAVELENGTH", "FLUX"):
        table[name] = random.normal(2, 1, table[name].shape)
    table["DQ"].flat[::3] = 1 << 31
    if "SOURCE_TYPE" in table.dtype.names:
        table["SOURCE_TYPE"] = b"POINT"
    return table


def several_spectra(kind):
    _, model, suffix, name = OF_KINDS[kind]
    exposure = made([], suffix, model, {"INT_TIMES": int_times()} if kind == "tso" else {}, EXP_TYPE="NRS_FIXEDSLIT")
    for n in range(3):
        spectrum = spectra.Spectrum(filled(kind, rows=5 + n), fits.Header({"SPORDER": n + 1}), name)
        if name == "EXTRACT1D":
            spectrum.header["DISPAXIS"] = 1
        if kind in ("", "mrs", "tso"):
            spectrum.header.update({"SLTNAME": f"S{n}", "SOURCEID": 4 + n, "SRCTYPE": "POINT", "EXTRXSTR": 1.5})
        spectrum.set_units({"WAVELENGTH": "um", "FLUX": "Jy", "nothing": "m"})
        exposure.spectra.append(spectrum)
    if kind == "":
        exposure.spectra[1].wcs = a_wcs(4.0)
    return exposure


@pytest.mark.parametrize("kind", OF_KINDS)
def test_spectra(tmp_path, kind):
    exposure, model = several_spectra(kind), OF_KINDS[kind][1]
    before = [spectrum.table.tobytes() for spectrum in exposure.spectra]
    path, again = rewritten(tmp_path, exposure)
    assert [spectrum.table.tobytes() for spectrum in exposure.spectra] == before
    assert len(again.spectra) == 3 and not again.pixels
    opened = opened_as(path, model)
    for ours, theirs, spec in zip(exposure.spectra, again.spectra, opened.spec, strict=True):
        same(ours.table, theirs.table)
        assert theirs.name == ours.name and dict(theirs.header) == dict(ours.header)
        for name in ours.table.dtype.names:
            column = np.asarray(spec.spec_table[name])
            same(ours.table[name], np.char.encode(column).astype("S20") if column.dtype.kind == "U" else column)
        assert spec.spectral_order == ours.header["SPORDER"]
        assert spec.spec_table.columns["FLUX"].unit == "Jy"
        if "SLTNAME" in ours.header:
            assert (spec.name, spec.source_id, spec.extraction_xstart) == (ours.header["SLTNAME"], ours.header["SOURCEID"], 1.5)
    if kind == "":
        assert opened.spec[1].meta.wcs(3.0, 4.0) == again.spectra[1].wcs(3.0, 4.0) == a_wcs(4.0)(3.0, 4.0)
        assert again.spectra[0].wcs is None
    if kind == "tso":
        same(exposure.tables["INT_TIMES"], opened.int_times)


@pytest.mark.parametrize("kind", OF_KINDS)
def test_columns_are_those_of_the_schema(kind):
    """Names, order, types, and what stands where there is nothing."""
    schema = keywords.schema(OF_KINDS[kind][0])
    columns = [(c["name"], np.dtype("S20") if isinstance(c["datatype"], list) else np.dtype(c["datatype"])) for c in schema["datatype"]]
    table = spectra.empty_table(kind, 2, 4 if kind in VECTORS else None)
    assert [(name, table.dtype[name].base) for name in table.dtype.names] == columns
    for (name, _), nothing in zip(columns, schema["default"], strict=True):
        given = [value.decode() if isinstance(value, bytes) else value for value in table[name].ravel()]
        np.testing.assert_array_equal(given, [np.nan if nothing == "NaN" else nothing] * len(given), err_msg=name)


@pytest.mark.parametrize("kind", ["", "tso", "wfss"])
def test_spectra_that_stdatamodels_writes(tmp_path, kind):
    _, name, suffix, _ = OF_KINDS[kind]
    exposure, model = several_spectra(kind), getattr(datamodels, name)()
    model.meta.telescope = "JWST"
    for spectrum in exposure.spectra:
        spec = {"": datamodels.SpecModel, "tso": datamodels.TSOSpecModel, "wfss": datamodels.WFSSSpecModel}[kind]()
        spec.spec_table = spectrum.table.copy()  # it writes into it
        spec.spectral_order = spectrum.header["SPORDER"]
        model.spec.append(spec)
    model.save(tmp_path / f"jw1_{suffix}.fits")
    again = stored.read(tmp_path / f"jw1_{suffix}.fits")
    for ours, theirs in zip(exposure.spectra, again.spectra, strict=True):
        assert theirs.header["SPORDER"] == ours.header["SPORDER"]
        for column in ours.table.dtype.names:
            same(ours.table[column], theirs.table[column])


def test_header_of_spectra(tmp_path):
    path = stored.write(several_spectra(""), tmp_path / "jw1_x1d.fits")
    assert stored.header(path)["EXP_TYPE"] == "NRS_FIXEDSLIT"
    headers = fitsheaders.read_headers(path)
    assert headers.shape == () and arrays.fault([arrays.described(one.header) for one in headers.others], headers.primary) == ""


def test_spectra_are_no_image():
    with pytest.raises(InputError, match="it has no image but 3 spectra, one image was expected"):
        several_spectra("").sci  # noqa: B018


@pytest.mark.parametrize(("change", "message"), [
    (lambda t: t[["FLUX", "DQ"]], "the table EXTRACT1D has no column WAVELENGTH"),
    (lambda t: np.zeros(3, [("WAVELENGTH", "f8", (4,)), ("FLUX", "f8", (5,))]), "WAVELENGTH and FLUX of EXTRACT1D are 4D and 5D"),
])  # fmt: skip
def test_wrong_spectra(tmp_path, change, message):
    exposure = several_spectra("")
    table = change(exposure.spectra[0].table)
    exposure.spectra = [spectra.Spectrum(np.array(table.tolist(), table.dtype.descr if table.dtype.names[0] == "WAVELENGTH" else
                                                  [("FLUX", "f8"), ("DQ", "u4")]))]  # fmt: skip
    path = stored.write(exposure, tmp_path / "jw1_x1d.fits")
    with pytest.raises(InputError, match=message):
        stored.read(path)


@pytest.mark.parametrize("data", [None, np.zeros((3, 3), np.float32)])
def test_spectrum_that_is_an_image(tmp_path, data):
    path = stored.write(several_spectra(""), tmp_path / "jw1_x1d.fits")
    with fits.open(path) as hdus:
        broken = fits.HDUList([hdus[0].copy(), fits.ImageHDU(data, name="EXTRACT1D")])
    broken.writeto(path, overwrite=True)
    with pytest.raises(InputError, match="EXTRACT1D is an image, a table was expected"):
        stored.read(path)


def test_neither_images_nor_spectra(tmp_path):
    path = stored.write(several_spectra(""), tmp_path / "jw1_x1d.fits")
    with fits.open(path) as hdus:
        fits.HDUList([hdus[0].copy()]).writeto(tmp_path / "jw2_x1d.fits")
    with pytest.raises(InputError, match="jw2_x1d.fits: it has no SCI extension with an image"):
        stored.read(tmp_path / "jw2_x1d.fits")


# --- catalogues ---


def test_catalogue(tmp_path):
    """Units, names and text come back; the bytes are the same each time."""
    table = QTable(
        {"label": np.arange(3), "flux": random.random(3) * u.Jy, "name": ["a", "b, c", 'd"e'], "at": np.array([1.5, np.nan, 2.0])}
    )
    table["at"].info.description = "where it is"
    table.meta = {"version": "1", "aperture_params": {"radius": [1.0, 2.5]}}
    exposure = made([], "cat")
    exposure.catalogue = table
    first, second = (stored.write(exposure, tmp_path / name / "jw1_cat.ecsv") for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    again = stored.read(first)
    assert again.suffix == "cat" and again.catalogue.colnames == table.colnames and again.catalogue.meta == table.meta
    for name in ("label", "at"):
        same(np.asarray(table[name]), np.asarray(again.catalogue[name]))
    same(table["flux"].value, again.catalogue["flux"].value)
    assert again.catalogue["flux"].unit == u.Jy and list(again.catalogue["name"]) == list(table["name"])
    third = stored.write(again, tmp_path / "c" / "jw1_cat.ecsv")
    assert third.read_bytes() == first.read_bytes()


@pytest.mark.parametrize(("content", "message"), [(None, "there is no such file"), (b"a b\n1", "not a readable table in ECSV format")])
def test_catalogue_that_is_none(tmp_path, content, message):
    path = tmp_path / "jw1_cat.ecsv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"jw1_cat.ecsv: {message}"):
        stored.read(path)


# --- planning ---


def test_an_edit_of_a_form_concerns_only_its_products():
    """What every product is made by has none of the forms; each form has itself and what it holds."""
    code = codebase.Code()
    assert "products/stored" in code.modules(())
    forms = {path.removesuffix(".py") for path in stored.FORMS.values()}
    assert not forms & code.modules(()).keys() and "model/spectra" not in code.modules(())
    for form in forms:
        assert forms & code.modules((form,)).keys() == {form}
    assert "model/spectra" in code.modules(("products/spectra",))


def test_every_form_has_its_model():
    """What the tables name is there: modules that write, classes of stdatamodels that can be opened."""
    assert set(table("models").values()) | {row["form"] for row in table("products").values() if "form" in row} == set(stored.FORMS)
    assert all(hasattr(datamodels, name) for name in table("models"))
    writers = dict.fromkeys(stored.FORMS, "hdus") | {"catalogues": "write", "lists": "text"}
    assert all(hasattr(part(stored.FORMS, form), writer) for form, writer in writers.items())


def test_forms_of_a_chain(monkeypatch):
    """A chain depends on the forms that it writes, and on those in which the exposure's other pipelines write what it reads."""
    made = {
        "spec2": chains.Chain("spec2", ("rate",), (Save({"rate": "cal"}, model="MultiSlitModel"), Save({"x1d": "x1d"})), {}, ""),
        "spec3": chains.Chain("spec3", ("cal",), (Save({"cal": "s3d"}),), {}, ""),
        "image2": chains.Chain("image2", ("rate",), (Save({"rate": "cal"}),), {}, ""),
        "image3": chains.Chain("image3", ("cal",), (Save({"cal": "crf"}, name="{member}"), Save({"cat": "cat"})), {}, ""),
    }
    monkeypatch.setattr(chains, "is_built", lambda name, header=None: name in made)
    monkeypatch.setattr(chains, "chain", lambda name, header: made[name])
    slits, image = {"EXP_TYPE": "NRS_MSASPEC", "NINTS": 1}, {"EXP_TYPE": "NRC_IMAGE", "NINTS": 1}
    assert plan.forms_of(made["spec2"], slits) == ["slits", "spectra"]
    assert plan.forms_of(made["spec3"], slits) == ["cubes", "slits"]
    assert plan.forms_of(made["image2"], image) == []
    assert plan.forms_of(made["image3"], image) == ["catalogues", "lists"]


def test_spectra_beside_an_exposure(tmp_path):
    """Spectra are found where they belong to an exposure, and read as members of its association; nothing starts from others."""
    root = "jw01234001001_02101_00001_mirimage"
    exposure = made([grid((8, 8))], "cal", EXP_TYPE="MIR_LRS-FIXEDSLIT", INSTRUME="MIRI", DETECTOR="MIRIMAGE", NINTS=1)
    for keyword, value in {"DATE-OBS": "2022-07-01", "TIME-OBS": "12:00:00.000"}.items():
        exposure.header.primary[keyword] = value
    stored.write(exposure, tmp_path / f"{root}_cal.fits")
    for name in (root, "jw01234-o001_t001_miri_p750l", "jw{odd}"):
        stored.write(several_spectra(""), tmp_path / f"{name}_x1d.fits")
    found = index.find(tmp_path)
    assert not found.problems and not found.left_out
    (one,) = found.exposures
    assert one.level == "cal" and {suffix: os.path.basename(path) for suffix, path in one.files.items()} == {
        suffix: f"{root}_{suffix}.fits" for suffix in ("cal", "x1d")
    }
    (background,) = Members([(one.files["x1d"], "background")], stored.read).each("background")
    assert len(background.spectra) == 3
