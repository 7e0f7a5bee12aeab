"""NIRSpec's slits on the detector and as cut-outs: the path of light both ways, keywords, bad input, and the peer."""

import json

import asdf
import numpy as np
import pytest

import nirspec
from jwcal.model.exposure import Members
from jwcal.model.references import References
from jwcal.steps import assign_mtwcs, assign_wcs, extract_1d, extract_2d, resample_spec, srctype
from jwcal.vocabulary.errors import InputError, ReferenceError, Skip
from nirspec import needs_real
from peer import needs_peer, peer_python

pytestmark = needs_real
G395H = {"GRATING": "G395H", "FILTER": "F290LP"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("nirspec")


def cut(folder, kind="nrs_slits", shape=(2048, 2048), options=(), **keywords):
    """The cut-outs of an exposure: after assign_wcs and extract_2d."""
    exposure, refs = nirspec.given(folder, shape, **keywords)
    return extract_2d.apply(assign_wcs.apply(exposure, refs, kind), refs, "slits", **dict(options))


@pytest.fixture(scope="module")
def prism(folder):
    return cut(folder)


@pytest.fixture(scope="module")
def grating(folder):
    return cut(folder, GWA_TILT=None, **G395H)


def grid(pixels):
    y, x = np.mgrid[: pixels.shape[-2], : pixels.shape[-1]].astype(float)
    return x, y


@pytest.mark.parametrize("which", ["prism", "grating"])
def test_a_cut_out_is_its_part_of_the_exposure(which, request):
    for slit in request.getfixturevalue(which).pixels:
        head = slit.header
        first = (head["SLTSTRT2"] - 1) * 2048 + head["SLTSTRT1"] - 1
        assert slit.sci[0, 0] == first and slit.sci.shape == slit.extra["WAVELENGTH"].shape == (head["SLTSIZE2"], head["SLTSIZE1"])
        assert slit.err[0, 0] == np.float32(first) + 1 and slit.dq.dtype == np.uint32


@pytest.mark.parametrize("which", ["prism", "grating"])
def test_the_wcs_and_the_wavelengths_are_the_same_path(which, request):
    for slit in request.getfixturevalue(which).pixels:
        ra, dec, wavelength = slit.wcs(*grid(slit))
        np.testing.assert_allclose(wavelength, slit.extra["WAVELENGTH"], rtol=1e-7, atol=1e-9)
        assert np.isfinite(ra).any() and np.isfinite(dec).any()


def test_there_and_back(prism, grating):
    """The inverses are ESA's own polynomials: to a few hundredths of a pixel."""
    for slit in (*prism.pixels, *grating.pixels):
        x, y = grid(slit)
        sky = slit.wcs(x, y)
        seen = np.isfinite(sky[2])
        back = slit.wcs.invert(*(values[seen] for values in sky))
        assert np.abs(back[0] - x[seen]).max() < 0.05 and np.abs(back[1] - y[seen]).max() < 0.05


def test_keywords(prism):
    first, second = prism.pixels[:2]
    assert [slit.header["SLTNAME"] for slit in prism.pixels] == ["S200A1", "S200A2", "S400A1", "S1600A1"]
    assert [slit.header["SOURCEID"] for slit in prism.pixels] == [1, 12, 13, 14]
    assert first.header["SRCXPOS"] != 0 and second.header["SRCXPOS"] == second.header["SRCYPOS"] == 0
    assert first.about == {"slit_ymin": -0.55, "slit_ymax": 0.55}
    assert first.header["DISPAXIS"] == 1 and first.header["SPORDER"] == 0 and first.header["WAVSTART"] == 6e-7
    assert first.header["S_REGION"] != second.header["S_REGION"]


def test_the_source_is_where_the_dither_points(folder):
    """A target that was moved by the offset of the slit's middle is in the middle of the slit."""
    exposure, refs = nirspec.given(folder, XOFFSET=0.0, YOFFSET=0.0)
    slit = extract_2d.apply(assign_wcs.apply(exposure, refs, "nrs_slits"), refs, "slits").pixels[0]
    to_field = slit.wcs.get_transform("slit_frame", "v2v3")
    v2, v3, _ = to_field(0.1, 0.2, 2e-6)
    exposure, refs = nirspec.given(folder, XOFFSET=0.0, YOFFSET=0.0, V2_REF=float(v2), V3_REF=float(v3))
    moved = extract_2d.apply(assign_wcs.apply(exposure, refs, "nrs_slits"), refs, "slits").pixels[0]
    assert (moved.header["SRCXPOS"], moved.header["SRCYPOS"]) == pytest.approx((0.1, 0.2), abs=2e-3)


def test_a_time_series(folder):
    shape = (3, 512, 2048)
    series = cut(folder, "nrs_bright", shape, SUBARRAY="SUB2048", SUBSTRT2=900, FXD_SLIT="S1600A1", NINTS=3, EXP_TYPE="NRS_BRIGHTOBJ")
    assert len(series.pixels) == 1 and series.sci.ndim == 3 and series.extra["WAVELENGTH"].shape == series.sci.shape[1:]
    assert series.header.sci is series.only.header and series.header["SLTNAME"] == "S1600A1"


def test_the_cut_out_ends_with_the_subarray(folder):
    series = cut(folder, "nrs_bright", (2, 32, 512), SUBARRAY="SUB512", SUBSTRT1=1089, SUBSTRT2=959, FXD_SLIT="S1600A1", NINTS=2)
    head = series.header
    assert series.sci.shape[1:] == (head["SLTSIZE2"], head["SLTSIZE1"]) and head["SLTSTRT1"] == 1


def test_nods_of_a_target_that_moves(folder):
    """The telescope follows it by 5 arcsec: in its own frame both nods are one slit, and the target is where its header says."""
    members, plain = [], []
    for number, moved in enumerate((0.0, 5.0 / 3600)):
        for made in (members, plain):
            one = cut(folder, options={"slit_names": ["S200A1"]}, DEC_REF=54.0 + moved)
            one.header.sci.update({"MT_RA": 165.0, "MT_DEC": 54.0 + moved})
            one.header.primary.update({"EXPOSURE": str(number + 1), "TARGTYPE": "MOVING"})
            one.only.dq[:] = 0
            made.append(srctype.apply(one, None, "primary"))
    together = Members([(one, "science") for one in members])
    assign_mtwcs.apply(together)
    one, followed, fixed = (resample_spec.apply(given) for given in (plain[0], together, plain))
    assert followed.sci.shape == one.sci.shape and fixed.sci.shape[0] > 2 * one.sci.shape[0]
    assert followed.header["TARG_DEC"] == pytest.approx(54.0 + 2.5 / 3600, abs=1e-9)
    places = [made.wcs(200.0, 18.0) for made in (one, followed)]
    assert places[1][1] - places[0][1] == pytest.approx(2.5 / 3600, abs=0.01 / 3600)


@pytest.mark.parametrize("lit", [0, 1, 3])
def test_a_slit_that_hardly_reaches_the_detector(folder, prism, lit, caplog):
    """Of less than two rows no spectrum can be made: left out, and told. Once it ended the exposure, and with it all other slits."""
    head, wavelength = prism.pixels[0].header, prism.pixels[0].extra["WAVELENGTH"]
    rows = head["SLTSTRT2"] - 1 + int(np.flatnonzero(np.isfinite(wavelength).any(axis=1))[0]) + lit
    with caplog.at_level("INFO"):
        made = cut(folder, shape=(rows, 2048))
    assert [slit.header["SLTNAME"] for slit in made.pixels] == ["S200A1"] * (lit > 1) + ["S200A2", "S400A1", "S1600A1"]
    assert ("Not on NRS1: S200A1" in caplog.text) == (lit < 2)
    for slit in made.pixels:
        slit.dq[:] = 0
    rectified = resample_spec.apply(srctype.apply(made, None, "primary"))
    (spectra,) = extract_1d.apply(rectified, References({}, rectified.header), place="slit")
    assert [np.isfinite(one.table["FLUX"]).sum() > 400 for one in spectra.spectra] == [True] * len(made.pixels)


def test_a_lamp_has_no_sky(folder):
    lamp = {"FILTER": "OPAQUE", "LAMP": "LINE3", "EXP_TYPE": "NRS_AUTOWAVE", "FXD_SLIT": "NONE", "GRATING": "G395H"}
    slit = cut(folder, RA_REF=None, **lamp).pixels[0]
    assert slit.wcs.output_frame.name == "msa_frame" and "S_REGION" not in slit.header
    x, y = grid(slit)
    place = slit.wcs(x, y)
    np.testing.assert_allclose(place[2], slit.extra["WAVELENGTH"], rtol=1e-7)
    seen = np.isfinite(place[2])
    back = slit.wcs.invert(*(values[seen] for values in place))  # micron, as it came
    assert np.abs(back[0] - x[seen]).max() < 0.05


def test_slits_and_sources_by_name(folder):
    chosen = cut(folder, options={"slit_names": ["S400A1"], "source_ids": [14]})
    assert [slit.header["SLTNAME"] for slit in chosen.pixels] == ["S400A1", "S1600A1"]
    with pytest.raises(InputError, match="none of the slits.*S200A1"):
        cut(folder, options={"slit_names": ["S200B1"]})


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keywords", "what"),
    [
        ({"GWA_TILT": None}, "GWA_TILT"),
        ({"FXD_SLIT": "S300A1"}, "FXD_SLIT is S300A1"),
        ({"DETECTOR": "NRS3"}, "DETECTOR is NRS3"),
        ({"GRATING": None}, "GRATING"),
        ({"RA_REF": None}, "RA_REF"),
        ({"DETECTOR": "NRS2", "SUBARRAY": "SUBS200A1"}, "no light of its 1 open slits falls on NRS2"),
    ],
)
def test_bad_keywords(folder, keywords, what):
    exposure = nirspec.exposure(**keywords)
    refs = nirspec.References(nirspec.files(folder), exposure.header)
    with pytest.raises(InputError, match=what):
        assign_wcs.apply(exposure, refs, "nrs_slits")


def test_without_tilts_and_offsets(folder, caplog):
    slit = cut(folder, GWA_XTIL=None, GWA_YTIL=None, XOFFSET=None).pixels[0]
    assert slit.header["SRCXPOS"] == slit.header["SRCYPOS"] == 0
    assert all(what in caplog.text for what in ("No GWA_XTIL", "No GWA_YTIL", "No XOFFSET"))


def test_a_wavelength_range_that_no_row_has(folder, caplog):
    cut(folder, FILTER="F110W", GRATING="G140M", GWA_TILT=None)
    assert "No wavelength range for F110W_G140M" in caplog.text and "those of F100LP_G140M" in caplog.text


def test_references(folder):
    exposure, refs = nirspec.given(folder)
    files = nirspec.files(folder)
    with pytest.raises(Skip, match="msa reference is N/A"):
        assign_wcs.apply(exposure, nirspec.References({**files, "msa": "N/A"}, exposure.header), "nrs_slits")
    other = nirspec.References({**files, "disperser": nirspec.disperser(folder, "G395H")}, exposure.header)
    with pytest.raises(ReferenceError, match="is for G395H"):
        assign_wcs.apply(exposure, other, "nrs_slits")
    with pytest.raises(InputError, match="slits are not known"):
        extract_2d.apply(nirspec.exposure(), refs, "slits")


# --- the peer ----------------------------------------------------------------------------------------------------------

PEER = """
import os
os.environ.update(CRDS_PATH=str(folder), CRDS_SERVER_URL="https://127.0.0.1:9", STPIPE_DISABLE_CRDS_STEPPARS="true")
from stpipe.step import Step
current = {}
def reference(self, data, kind):
    self._reference_files_used.append((kind, current.get(kind, "N/A")))
    return current.get(kind, "N/A")
Step.get_reference_file = reference
from jwst.assign_wcs import AssignWcsStep
from jwst.extract_2d import Extract2dStep
from jwst.lib import pipe_utils
pipe_utils.is_tso = lambda model: False  # our series has no INT_TIMES
from stdatamodels.jwst import datamodels
import asdf
os.chdir(str(folder))
HEAD = ("name xstart xsize ystart ysize source_id source_name source_alias stellarity source_xpos source_ypos slitlet_id shutter_id "
        "quadrant xcen ycen source_ra source_dec slit_ymin slit_ymax slit_xscale slit_yscale shutter_state").split()
for case, (path, refs, ours) in json.loads(str(cases)).items():
    current.clear()
    current.update(refs)
    model = Extract2dStep().process(AssignWcsStep().process(datamodels.open(path)))
    slits = getattr(model, "slits", None) or [model]
    said = []
    for number, slit in enumerate(slits):
        said.append({name: getattr(slit, name, None) for name in HEAD} | {"s_region": slit.meta.wcsinfo.s_region})
        key = f"{case} {number}"
        for name in ("data", "dq", "err", "wavelength"):
            out[f"{key} {name}"] = np.array(getattr(slit, name))
        y, x = np.mgrid[: slit.data.shape[-2], : slit.data.shape[-1]].astype(float)
        out[f"{key} wcs"] = np.array(slit.meta.wcs(x, y))
        seen = np.isfinite(out[f"{key} wcs"][2])
        if slit.meta.wcs.output_frame.name == "world":
            out[f"{key} back"] = np.array(slit.meta.wcs.invert(*(v[seen] for v in out[f"{key} wcs"])))
        with asdf.open(ours) as file:
            wcs = file.tree["wcs"][number]
            out[f"{key} ours read"] = np.array(wcs(x, y))
    out[f"{case} said"] = np.array(json.dumps(said, default=lambda v: v.item()))
"""
NAMES = {
    "SLTNAME": "name", "SLTSTRT1": "xstart", "SLTSIZE1": "xsize", "SLTSTRT2": "ystart", "SLTSIZE2": "ysize", "SOURCEID": "source_id",
    "SRCNAME": "source_name", "SRCALIAS": "source_alias", "STLARITY": "stellarity", "SRCXPOS": "source_xpos", "SRCYPOS": "source_ypos",
    "SLITID": "slitlet_id", "SHUTTRID": "shutter_id", "MSAQUAD": "quadrant", "SRCRA": "source_ra", "SRCDEC": "source_dec",
    "SLTXSCL": "slit_xscale", "SLTYSCL": "slit_yscale", "SHUTSTA": "shutter_state",
}  # fmt: skip
LAMP = {"FILTER": "OPAQUE", "LAMP": "LINE3", "EXP_TYPE": "NRS_AUTOWAVE", "FXD_SLIT": "NONE", "GRATING": "G395H"}
BRIGHT = {"EXP_TYPE": "NRS_BRIGHTOBJ", "SUBARRAY": "SUB2048", "FXD_SLIT": "S1600A1", "SUBSTRT2": 951, "NINTS": 2}
CASES = {
    "prism": ("nrs_slits", (2048, 2048), {}),
    "grating": ("nrs_slits", (2048, 2048), {**G395H, "VELOSYS": None}),
    "other detector": ("nrs_slits", (2048, 2048), {**G395H, "DETECTOR": "NRS2", "FXD_SLIT": "S200A2"}),
    "all slits": ("nrs_slits", (256, 2048), {"SUBARRAY": "ALLSLITS", "SUBSTRT2": 897, "FXD_SLIT": "S400A1"}),
    "series": ("nrs_bright", (2, 32, 2048), BRIGHT),
    "shutters": ("nrs_shutters", (2048, 2048), nirspec.SHUTTERS),
    "shutters, grating": ("nrs_shutters", (2048, 2048), {**nirspec.SHUTTERS, **G395H}),
    "lamp": ("nrs_slits", (2048, 2048), LAMP),
}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Our cut-outs and the peer's, by case: the peer is started once."""
    folder = tmp_path_factory.mktemp("peer")
    return run_both(folder, CASES)


def run_both(folder, chosen):
    ours, given = {}, {}
    nirspec.metadata(folder / nirspec.SHUTTERS["MSAMETFL"])
    for case, (kind, shape, keywords) in chosen.items():
        exposure, refs = nirspec.given(folder, shape, **keywords)
        path = nirspec.save(exposure, folder / f"{case.replace(' ', '').replace(',', '')}_rate.fits")
        exposure.header.name = str(path)
        ours[case] = extract_2d.apply(assign_wcs.apply(exposure, refs, kind), refs, "slits")
        written = path.with_suffix(".asdf")
        asdf.AsdfFile({"wcs": [slit.wcs for slit in ours[case].pixels]}).write_to(written)
        files = {name: str(file) for name, file in nirspec.files(folder, exposure.header["GRATING"]).items()}
        given[case] = (str(path), files, str(written))
    return ours, peer_python(PEER, folder=str(folder), cases=json.dumps(given))


def same_as_the_peer(ours, theirs, case):
    said = json.loads(str(theirs[f"{case} said"]))
    assert [slit.header["SLTNAME"] for slit in ours.pixels] == [slit["name"] for slit in said]
    for number, (slit, peer) in enumerate(zip(ours.pixels, said, strict=True)):
        mine = {name: slit.header[key] for key, name in NAMES.items() if key in slit.header} | slit.about
        for name, value in mine.items():
            if peer[name] is None:  # where a lamp's source is: nowhere
                assert value == 0
                continue
            assert value == (peer[name] if isinstance(value, str) else pytest.approx(peer[name], rel=1e-7, abs=1e-9)), (case, number, name)
        key = f"{case} {number}"
        np.testing.assert_array_equal(slit.sci, theirs[f"{key} data"])
        np.testing.assert_array_equal(slit.err, theirs[f"{key} err"])
        np.testing.assert_array_equal(slit.dq, theirs[f"{key} dq"])
        np.testing.assert_allclose(slit.extra["WAVELENGTH"], theirs[f"{key} wavelength"], rtol=0, atol=1e-6)
        x, y = grid(slit)
        wcs = np.array(slit.wcs(x, y))
        np.testing.assert_array_equal(theirs[f"{key} ours read"], wcs)  # by the peer's environment, from a file
        np.testing.assert_allclose(wcs, theirs[f"{key} wcs"], rtol=1e-12, atol=1e-12)
        seen = np.isfinite(wcs[2])
        if f"{key} back" in theirs:
            back = np.array(slit.wcs.invert(*(values[seen] for values in wcs)))
            np.testing.assert_allclose(back, theirs[f"{key} back"], atol=1e-6)
            region = [np.array(text.split()[2:], float) for text in (slit.header["S_REGION"], peer["s_region"])]
            np.testing.assert_allclose(*region, rtol=0, atol=2e-9)


@needs_peer
@pytest.mark.parity
@pytest.mark.parametrize("case", CASES)
def test_same_as_the_peer(both, case):
    same_as_the_peer(both[0][case], both[1], case)


# --- ESA's truth -------------------------------------------------------------------------------------------------------

TRACE = nirspec.sky.SHARED / "real/references/nirspec_truth/Trace_SLIT_A_200_1_V84600010001P0000000002101_39547_JLAB88.fits"


@pytest.mark.skipif(not TRACE.exists(), reason="ESA's traces (../shared/real) are not here")
def test_esa_s_trace(folder):
    """Wavelength and place in the slit of each pixel of a ground exposure with G140M, by ESA's own software.

    The grating's own reference is not to be had: how it is turned, three angles, is fitted to the trace; all else is as it is.
    """
    from astropy.io import fits
    from scipy.optimize import least_squares

    from jwcal.arithmetic.wcs.nirspec.exposure_slits import OnePath
    from jwcal.arithmetic.wcs.nirspec.optics import Optics

    with fits.open(TRACE) as hdus:
        wavelength, place, msa_x, msa_y = (np.array(hdus[name].data, float) for name in ("LAMBDA1", "SLITY1", "MSAX1", "MSAY1"))
        first = -hdus["LAMBDA1"].header["CRPIX1"], -hdus["LAMBDA1"].header["CRPIX2"]
    seen = np.isfinite(wavelength) & (wavelength > 0) & (np.abs(place) < 0.5)
    rows, columns = (axis[::97] for axis in np.nonzero(seen))
    wavelength, place, msa_x, msa_y = (values[rows, columns] for values in (wavelength, place, msa_x, msa_y))
    x, y = columns + first[0], rows + first[1]
    exposure, refs = nirspec.given(folder, GRATING="G140M", FILTER="F100LP", GWA_XTIL=None, GWA_YTIL=None, GWA_TILT=None, VELOSYS=None)
    optics = Optics(exposure.header, refs)
    *start, tilt, grooves = nirspec.GRATINGS["G140M"]

    def turned(angles):
        optics.disperser.angles, optics.disperser.grooves = [*np.degrees(angles[:3]), tilt], 1000 * angles[3]
        optics.disperser.__dict__.pop("to_grating", None)

    def residuals(angles):
        turned(angles)
        (alpha, beta), (alpha_in, beta_in) = optics.at_grating(x, y), optics.from_slit_plane(msa_x, msa_y)
        return np.concatenate([(optics.disperser.wavelength(alpha_in, beta_in, alpha) - wavelength) / 1e-9, (beta + beta_in) * 1e4])

    turned(least_squares(residuals, [*np.radians(start), grooves / 1000], x_scale=[1e-4, 1e-4, 1e-4, 1e-2]).x)
    height, middle = np.polyfit(place, msa_y, 1)
    path = OnePath(optics, lambda across, along, _: (across + msa_x[0], height * along + middle), (-0.55, 0.55))
    assert np.abs(path.wavelength(x, y) * 1e-6 - wavelength).max() < 2e-11  # m
    assert np.abs(path.place(x, y) - place).max() * 12 < 0.1  # the slit is 12 pixels long
    back = path.pixels(0.2, wavelength)
    assert np.isfinite(back).all()
