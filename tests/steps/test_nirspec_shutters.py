"""NIRSpec's micro-shutters: slitlets by their metadata file, failed-open shutters, bad input. The peer is in test_nirspec_slits."""

import json

import numpy as np
import pytest
from astropy.io import fits

import nirspec
from jwcal.arithmetic.slits import open_slits
from jwcal.model.references import References
from jwcal.steps import assign_wcs, extract_2d, msa_flagging, resample_spec
from jwcal.vocabulary.dq import DO_NOT_USE, MSA_FAILED_OPEN
from jwcal.vocabulary.errors import InputError, ReferenceError
from nirspec import needs_real

pytestmark = needs_real
FILE = nirspec.SHUTTERS["MSAMETFL"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shutters")
    nirspec.metadata(folder / FILE)
    return folder


def made(folder, name="made_rate.fits", **keywords):
    exposure, refs = nirspec.given(folder, **{**nirspec.SHUTTERS, **keywords})
    exposure.header.name = str(folder / name)
    return exposure, refs


def assigned(folder, **keywords):
    exposure, refs = made(folder, **keywords)
    return assign_wcs.apply(exposure, refs, "nrs_shutters"), refs


def test_slitlets(folder, caplog):
    exposure, refs = assigned(folder)
    slits = {slit.header["SLTNAME"]: slit for slit in extract_2d.apply(exposure, refs, "slits").pixels}
    assert set(slits) == {"11", "12", "13", "14", "15", "16", "17", "S400A1"}  # 18 is not on this detector
    states = {name: slit.header["SHUTSTA"] for name, slit in slits.items()}
    assert states == {"11": "x", "12": "1x1", "13": "1x111", "14": "1x1", "15": "1x1", "16": "1x1", "17": "10x1", "S400A1": "x"}
    sources = {name: (slit.header["SOURCEID"], slit.header["SRCNAME"]) for name, slit in slits.items()}
    assert sources["14"] == (14, "1234_BKG14") and sources["15"] == (-7, "1234_VRT15") and sources["S400A1"] == (6, "1234_6")
    assert slits["13"].header["SRCXPOS"] == pytest.approx(-0.3) and slits["13"].header["SRCYPOS"] == pytest.approx(0.4)
    assert slits["16"].header["SRCXPOS"] == 0 and slits["12"].header["STLARITY"] == 0.2
    assert slits["13"].about == pytest.approx({"slit_ymin": -2.2, "slit_ymax": 4.5, "xcen": 150, "ycen": 31})
    assert slits["13"].header["SHUTTRID"] == 150 + 30 * 365 and slits["13"].header["MSAQUAD"] == 2
    assert slits["S400A1"].about["slit_ymax"] == 0.55
    assert slits["12"].header["SLTYSCL"] == pytest.approx(nirspec.PITCH[1] / nirspec.OPEN[1])
    assert "Source 5 lies outside its shutter in slitlet 17" in caplog.text


def test_a_file_by_the_plan_comes_first(folder, tmp_path):
    """What planning has found beside the raw data is taken, wherever the rate lies."""
    exposure, refs = made(folder, MSAMETFL="elsewhere_msa.fits")
    from jwcal.model.exposure import Members

    exposure.members = Members([(nirspec.metadata(tmp_path / "elsewhere_msa.fits"), "msametadata")])
    assert len(assign_wcs.apply(exposure, refs, "nrs_shutters").about["slits"].slits) == 8


def test_cut_outs_that_overlap_are_each_their_own(tmp_path):
    """Spectra of a grating reach from edge to edge of NRS2, so that a cut-out is whole rows of the exposure."""
    neighbours = [(1, 1, 150, 60, 62, 61, 1, (0.5, 0.5)), (2, 1, 150, 64, 66, 65, 2, (0.5, 0.5))]
    nirspec.metadata(tmp_path / FILE, neighbours, fixed=None)
    exposure, refs = assigned(tmp_path, DETECTOR="NRS2", GRATING="G395H", FILTER="F290LP")
    before = exposure.sci.copy()
    one, other = extract_2d.apply(exposure, refs, "slits").pixels
    assert one.shape[1] == other.shape[1] == 2048
    assert (
        one.header["SLTSTRT2"] < other.header["SLTSTRT2"] + other.shape[0]
        and other.header["SLTSTRT2"] < one.header["SLTSTRT2"] + one.shape[0]
    )
    other_before = other.sci.copy()
    for _, plane in one.planes():
        plane *= 2
    np.testing.assert_array_equal(other.sci, other_before)
    np.testing.assert_array_equal(exposure.sci, before)


def test_references_of_fixed_slits_only_with_fixed_slits(folder, tmp_path):
    """Those of slits are asked for where the metadata have a source in one for the configuration and dither, or can't be read."""
    from jwcal.associations import members
    from jwcal.settings.recipe import Recipe

    nirspec.metadata(tmp_path / "alone_msa.fits", fixed=None)
    (tmp_path / "broken_msa.fits").write_text("no FITS file")
    exposures = {}
    for path in (folder / FILE, tmp_path / "alone_msa.fits", tmp_path / "broken_msa.fits"):
        exposures[path.name] = {**nirspec.SHUTTERS, "MSAMETFL": path.name}, path.parent / "made_rate.fits"
        recipe = Recipe("spec2", [], {"assign_wcs": {"skip": False}}, {}, {})
        members.add_named(recipe, *exposures[path.name])
        assert recipe.members == [{"path": str(path), "exptype": "msametadata"}]
    assert {name: members.may_have_slits([one]) for name, one in exposures.items()} == {
        FILE: True,
        "alone_msa.fits": False,
        "broken_msa.fits": True,
    }
    alone = exposures["alone_msa.fits"]
    assert members.may_have_slits([alone, exposures[FILE]])  # one of those that are combined has them
    assert members.may_have_slits([({**alone[0], "MSAMETFL": "lost_msa.fits"}, alone[1])])
    elsewhere = {"alone": {"msa": alone[1].parent / "alone_msa.fits"}}
    assert not members.may_have_slits([(alone[0], folder / "made_cal.fits")], elsewhere)


@pytest.mark.parametrize("pipeline", ["spec2", "spec3"])
def test_without_fixed_slits_neither_stage_asks_for_them(pipeline, no_crds):
    from jwcal.settings import chains, config
    from jwcal.workflow import plan

    header = nirspec.exposure((16, 16), **nirspec.SHUTTERS).header
    needed, others = chains.reference_types([step.name for step in chains.chain(pipeline, header).steps])
    none = dict.fromkeys([*needed, *others], "N/A")
    overrides = [{"match": {"EXP_TYPE": exp_type}, "files": none} for exp_type in ("NRS_MSASPEC", "NRS_FIXEDSLIT")]
    given = config.load({"references": {"overrides": overrides}})
    kinds = [{*plan.recipe_for(pipeline, header, given, slits=slits).references} for slits in (lambda: True, lambda: False)]
    assert {"extract1d", "extract1d@NRS_FIXEDSLIT"} <= kinds[0] and kinds[1] == {kind for kind in kinds[0] if "@" not in kind}


@pytest.mark.parametrize(
    ("keywords", "what"),
    [
        ({"MSAMETFL": "lost_msa.fits"}, "lost_msa.fits that its MSAMETFL names is neither beside its raw data nor in"),
        ({"MSAMETFL": "N/A"}, "MSAMETFL names no file"),
        ({"MSAMETFL": None}, "MSAMETFL is missing"),
        ({"MSAMETID": 77}, r"no configuration 77 \(MSAMETID of .*\); it has 9, 10"),
        ({"PATT_NUM": 5}, r"its configuration 9 has no dither 5 \(PATT_NUM of .*\); it has 1, 2"),
        ({"MSAMETID": None}, "MSAMETID is missing"),
    ],
)
def test_a_file_that_is_not_there_or_another_one(folder, keywords, what):
    with pytest.raises(InputError, match=what):
        assigned(folder, **keywords)


def test_files_that_say_what_cannot_be(folder, tmp_path):
    bad = [(11, 1, 120, 60, 62, 61, 1, (0.5, 0.5)), (11, 1, 120, 64, 66, 65, 2, (0.5, 0.5))]
    nirspec.metadata(tmp_path / FILE, bad, fixed=None)
    with pytest.raises(InputError, match="slitlet 11 of configuration 9, dither 1 has 2 shutters with a primary source"):
        assigned(tmp_path)
    nirspec.metadata(tmp_path / FILE, [*nirspec.SLITLETS, bad[1]])  # the others are not to blame
    assert {slit.name for slit in assigned(tmp_path)[0].about["slits"].slits} == {12, 13, 14, 15, 16, 17, "S400A1"}
    (tmp_path / FILE).write_text("no FITS file")
    with pytest.raises(InputError):
        assigned(tmp_path)
    nirspec.metadata(tmp_path / FILE, [(18, 3, 100, 50, 52, 51, 6, (0.5, 0.5))], fixed=None)
    with pytest.raises(InputError, match="no light of its 1 open slits falls on NRS1"):
        assigned(tmp_path)


def test_no_open_shutter(tmp_path):
    """Of its rows one is left, of a fixed slit without a source."""
    nirspec.metadata(tmp_path / FILE, [])
    with fits.open(tmp_path / FILE, mode="update") as hdus:
        hdus["SHUTTER_INFO"].data["primary_source"][:] = "N"
    with pytest.raises(InputError, match="it has no open slit"):
        assigned(tmp_path)


def test_an_older_file_without_fixed_slits(folder, tmp_path):
    """One of ESA's: two slitlets of three shutters in configuration 2."""
    path = nirspec.REAL / "msa_configuration.fits"
    (tmp_path / FILE).write_bytes(path.read_bytes())
    exposure, _ = assigned(tmp_path, MSAMETID=2, DETECTOR="NRS2")
    assert [slit.shutter_state for slit in exposure.about["slits"].slits] == ["1x1"] * len(exposure.about["slits"].slits)


def test_the_mission_s_file_with_fixed_slits(folder, tmp_path):
    (tmp_path / FILE).write_bytes((nirspec.REAL / "msa_fs_configuration.fits").read_bytes())
    exposure, _ = assigned(tmp_path, MSAMETID=12, PATT_NUM=1)
    assert "S200A1" in {slit.name for slit in exposure.about["slits"].slits}


# --- failed-open shutters ----------------------------------------------------------------------------------------------


def shutter(quadrant, x, y, state="open"):
    return {"Q": quadrant, "x": x, "y": y, "state": state, "TA state": "closed", "Internal state": "normal", "Vignetted": "no"}


def with_failed(folder, name, shutters):
    exposure, _ = made(folder)
    path = folder / name
    path.write_text(json.dumps({"msaoper": shutters}))
    return exposure, References({**nirspec.files(folder), "msaoper": path}, exposure.header)


def test_failed_open_shutters(folder):
    exposure, refs = with_failed(folder, "oper.json", [shutter(1, 120, 60), shutter(2, 5, 5, "closed"), shutter(3, 9, 9)])
    before = exposure.dq.copy()
    msa_flagging.apply(exposure, refs)
    flagged = (exposure.dq & MSA_FAILED_OPEN) != 0
    np.testing.assert_array_equal(exposure.dq & ~np.uint32(MSA_FAILED_OPEN), before)
    other, its = assigned(folder)
    slit = extract_2d.apply(other, its, "slits", slit_names=["11"]).only  # the slitlet of that shutter alone, with its margins
    rows, columns = np.nonzero(flagged)
    head = slit.header
    inside = flagged[head["SLTSTRT2"] - 1 :, head["SLTSTRT1"] - 1 :][: head["SLTSIZE2"], : head["SLTSIZE1"]]
    assert inside.sum() == flagged.sum() > 1000 and np.isfinite(slit.extra["WAVELENGTH"][inside]).all()
    assert 3.5 < flagged.sum(axis=0)[np.unique(columns)].mean() < 6  # a shutter is about five rows high


@pytest.mark.parametrize("exclude", [False, True])
def test_light_of_a_stuck_shutter_can_be_left_out(folder, exclude):
    """It crosses slitlet 12; the slitlet's own shutter that does not close either is open as it should be."""
    stray, own = shutter(1, 230, 82), shutter(1, 200, 81)
    exposure, refs = with_failed(folder, "stray.json", [stray, own])
    alone, its = with_failed(folder, "alone.json", [stray])
    msa_flagging.apply(alone, its)
    seen = (alone.dq & MSA_FAILED_OPEN) != 0
    exposure.dq[:] = 0
    for _, plane in exposure.only.planes():
        if plane.dtype == np.float32:
            plane[:] = 1
    exposure.sci[seen] = 100
    assign_wcs.apply(exposure, refs, "nrs_shutters")
    msa_flagging.apply(exposure, refs, exclude=exclude)
    np.testing.assert_array_equal((exposure.dq & DO_NOT_USE) != 0, seen & exclude)
    assert ((exposure.dq & MSA_FAILED_OPEN) != 0).sum() > 1.5 * seen.sum()
    slit = extract_2d.apply(exposure, refs, "slits", slit_names=["12"])
    slit.pixels[0].header["DISPAXIS"] = 1
    rectified = resample_spec.apply(slit).sci
    values = rectified[np.isfinite(rectified)]
    assert (values > 50).any() != exclude and (np.abs(values - 1) < 1e-5).sum() > 1500
    assert (np.abs(values - 1) < 1e-5).all() == exclude


def test_no_failed_shutter_and_a_wrong_list(folder):
    exposure, refs = with_failed(folder, "none.json", [shutter(2, 5, 5, "closed")])
    before = exposure.dq.copy()
    np.testing.assert_array_equal(msa_flagging.apply(exposure, refs).dq, before)
    for wrong in ([shutter(5, 1, 1)], [{"Q": 1}], [shutter(1, 400, 300)]):
        exposure, refs = with_failed(folder, "wrong.json", wrong)
        with pytest.raises(ReferenceError):
            msa_flagging.apply(exposure, refs)


# --- where noise is not to be measured ---------------------------------------------------------------------------------


def test_pixels_that_may_see_a_spectrum(folder):
    """The cut-outs, the failed-open shutters, and the rows of the fixed slits, if none of them is among the slitlets."""
    exposure, refs = with_failed(folder, "oper.json", [shutter(1, 20, 150)])
    seen = open_slits.science_pixels(exposure, refs, "shutters")
    slits = assigned(folder)[0].about["slits"]
    boxes = np.zeros_like(seen)
    for box in slits.boxes:
        boxes[box.slices] = True
    assert seen[boxes].all() and 1000 < (seen & ~boxes).sum() < 5000 and not seen[922:1116, :900].any()
    nirspec.metadata(folder / "own_msa.fits", fixed=None)
    exposure, refs = made(folder, MSAMETFL="own_msa.fits")
    assert open_slits.science_pixels(exposure, refs, "shutters")[922:1116].all()
    assert not open_slits.science_pixels(exposure, refs, "bright slit")[:900].any()


@pytest.mark.parametrize("ramp", [False, True])
def test_noise_is_not_measured_in_spectra(folder, ramp):
    """clean_flicker_noise at rate level, with the slits of assign_wcs, and in stage 1, where it lays them on the detector itself."""
    import make
    from jwcal.steps import clean_flicker_noise

    random = np.random.default_rng(3)
    keywords = {**nirspec.SLIT_KEYWORDS, "SUBARRAY": "SUBS400A1", "SUBSTRT2": 977, "FXD_SLIT": "S400A1", "NOUTPUTS": 1}
    shape = (1, 3, 64, 2048) if ramp else (64, 2048)
    data = random.normal(0, 1, shape).astype(np.float32) + np.arange(3)[:, None, None] * 5 if ramp else random.normal(0, 1, shape) + 1
    exposure = make.ramp_exposure(data, **keywords) if ramp else make.image_exposure(data, **keywords)
    exposure.header.sci.update({key: value for key, value in nirspec.POINTING.items() if key not in ("BUNIT", "WCSAXES")})
    flat = {kind: {"SCI": np.ones((64, 2048), np.float32), "SUBSTRT2": 977} for kind in ("gain", "readnoise")}
    noise = make.references(folder, exposure, **flat)
    files = {kind: noise[kind].path for kind in flat} | nirspec.files(folder)
    refs = References(files, exposure.header)
    if not ramp:
        assign_wcs.apply(exposure, refs, "nrs_slits")
    results = clean_flicker_noise.apply(exposure, refs, science="slits", mask_science_regions=True, save_mask=True)
    mask = results[1].sci
    box = open_slits.open_slits(exposure, refs, "slits").boxes[0]
    assert not mask[box.slices].any() and mask[:, : box.x0 - 1].mean() > 0.5
