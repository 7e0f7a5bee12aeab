"""picture_frame: an injected pattern against the truth, and the peer."""

import numpy as np
import pytest
from test_ramp_walk import Samples

import make
from jwcal.kernels.noise import picture_frame as kernel
from jwcal.model import ramp
from jwcal.run import loop
from jwcal.settings.chains import Step
from jwcal.settings.recipe import Recipe
from jwcal.steps import picture_frame
from jwcal.vocabulary.dq import DO_NOT_USE
from jwcal.vocabulary.errors import ReferenceError, Skip
from peer import needs_peer

SHAPE = (2, 4, 200, 210)
KEYWORDS = {"INSTRUME": "NIRSPEC", "DETECTOR": "NRS1", "FASTAXIS": 2, "SLOWAXIS": 1, "SUBARRAY": "FULL", "EXP_TYPE": "NRS_DARK"}
READ = 5.0  # DN


def frame():
    """The reference's pattern: a rim that is brighter than the centre, with a shape of its own."""
    y, x = np.mgrid[: SHAPE[2], : SHAPE[3]].astype(np.float32)
    edge = np.minimum(np.minimum(y, SHAPE[2] - 1 - y), np.minimum(x, SHAPE[3] - 1 - x))
    return (0.3 + np.exp(-edge / 30) + 0.05 * np.sin(x / 17)).astype(np.float32)


def frame_gained(rng):
    """The pattern as it grows in each integration (DN), the first group's included."""
    strength = np.cumsum(rng.uniform(5, 40, SHAPE[:2]), axis=1)[..., None, None]
    return strength * frame() + np.cumsum(rng.normal(0, 5, SHAPE[:2]), axis=1)[..., None, None]


def exposure_of(rng, pattern=0.0, **keywords):
    """A dark sky with some spectra, read noise, flags."""
    rate = np.full(SHAPE[2:], 0.5)
    rate[90:96, 20:150] += 50
    sci = np.cumsum(rng.poisson(np.broadcast_to(rate * 10.7, SHAPE)), axis=1) + rng.normal(1000, READ, SHAPE) + pattern
    exposure = make.ramp_exposure(sci, **{**KEYWORDS, **keywords})
    bad = rng.random(SHAPE[2:]) < 0.01
    exposure.groupdq[..., bad] |= DO_NOT_USE
    exposure.pixeldq[bad] |= DO_NOT_USE
    exposure.sci[..., rng.random(SHAPE[2:]) < 0.003] = np.nan
    return exposure


def references(tmp_path, exposure):
    gain, readnoise = (np.full(SHAPE[2:], value, np.float32) for value in (1.0, 7.0))
    return make.references(tmp_path, exposure, gain=gain, readnoise=readnoise, pictureframe=frame())


def test_regions_of_a_full_detector():
    """Rows and columns 4-74 and 1985-2042 are the rim, 76-1983 the centre."""
    centre, rim = kernel.regions(np.ones((2048, 2048), bool))
    middle = centre[1000], rim[1000]
    assert [np.flatnonzero(line)[[0, -1]].tolist() for line in middle] == [[76, 1983], [4, 2042]]
    assert not rim[1000, 75:1985].any() and rim[1000, 4:75].all() and rim[1000, 1985:2043].all()
    assert np.array_equal(centre, centre.T) and np.array_equal(rim, rim.T)
    assert not centre[75].any() and rim[74, 4:2043].all() and not rim[3].any()


def test_pattern_is_removed(tmp_path):
    pattern = frame_gained(np.random.default_rng(2))
    before, plain = exposure_of(np.random.default_rng(1), pattern), exposure_of(np.random.default_rng(1))
    first = before.sci[:, 0].copy()
    after = picture_frame.apply(before, references(tmp_path, before))
    assert np.array_equal(after.sci[:, 0], first, equal_nan=True)
    left = after.sci[:, 1:] - after.sci[:, :1] - (plain.sci[:, 1:] - plain.sci[:, :1])
    gained = pattern[:, 1:] - pattern[:, :1]
    before = gained.std(axis=(-2, -1))
    assert before.min() > 0.8 * READ
    assert (np.nanstd(left, axis=(-2, -1)) < 0.1 * before).all()
    assert np.nanmax(np.abs(np.nanmedian(left, axis=(-2, -1)) + 0.5 * 10.7 * np.arange(1, 4))) < 1.5  # the sky goes with the rim's level


def test_spectra_do_not_count(tmp_path):
    """A source that fills much of the centre changes nothing there but itself."""
    rng = np.random.default_rng(1)
    dark = exposure_of(rng, frame_gained(np.random.default_rng(2)))
    lit = exposure_of(np.random.default_rng(1), frame_gained(np.random.default_rng(2)))
    lit.sci[..., 85:115, 80:140] += (1000.0 * np.arange(1, 5, dtype=np.float32))[:, None, None]
    results = [picture_frame.apply(exposure, references(tmp_path, exposure)).sci[..., 150:, :] for exposure in (dark, lit)]
    assert np.nanmax(np.abs(results[1] - results[0])) < 3.0


@pytest.mark.parametrize("shape", [SHAPE[2:], (2, *SHAPE[2:])])
def test_rates_are_corrected_themselves(tmp_path, shape):
    rng = np.random.default_rng(1)
    plain = rng.normal(0.5, 0.1, shape)
    exposure = make.image_exposure(plain + 3 * frame(), **KEYWORDS)
    picture_frame.apply(exposure, references(tmp_path, exposure))
    assert (exposure.sci - plain).std() < 0.05 * (3 * frame()).std()


def test_what_is_shown_beside(tmp_path):
    exposure = exposure_of(np.random.default_rng(1))
    raw = exposure.sci.copy()
    corrected, mask, correction = picture_frame.apply(exposure, references(tmp_path, exposure), save_mask=True, save_correction=True)
    assert [e.suffix for e in (mask, correction)] == ["pctfrm_mask", "pctfrm_correction"]
    assert mask.sci.shape == exposure.sci.shape[2:] and set(np.unique(mask.sci)) <= {0, 1} and 0.3 < mask.sci.mean() < 1
    np.testing.assert_array_equal(correction.sci, corrected.sci - raw)
    assert not np.nan_to_num(correction.sci[:, 0]).any() and np.nan_to_num(correction.sci[:, 1:]).std() > 1


def test_what_does_not_apply(tmp_path):
    exposure = exposure_of(np.random.default_rng(1))
    refs = references(tmp_path, exposure)
    with pytest.raises(ReferenceError, match="references disperser, .*, msa are needed"):
        picture_frame.apply(exposure, refs, science="slits")
    with pytest.raises(Skip, match="full"):
        picture_frame.apply(exposure_of(np.random.default_rng(1), SUBARRAY="ALLSLITS"), refs)
    one = make.ramp_exposure(exposure.sci[:, :1], **KEYWORDS)
    with pytest.raises(Skip, match="one group"):
        picture_frame.apply(one, refs)
    dark = make.image_exposure(np.zeros(SHAPE[2:]), **KEYWORDS)
    with pytest.raises(Skip, match="no background"):
        picture_frame.apply(dark, refs)


def test_pieces_make_no_difference(tmp_path, monkeypatch):
    whole = exposure_of(np.random.default_rng(1), frame_gained(np.random.default_rng(2)))
    sci = np.nan_to_num(whole.sci, nan=1000.0)
    refs = references(tmp_path, whole)
    files = {kind: refs[kind].path for kind in ("gain", "readnoise", "pictureframe")}
    steps = [Step("picture_frame"), Step("clean_flicker_noise"), Step("ramp_fit")]
    recipe = Recipe("detector1", steps, {step.name: {"skip": False} for step in steps}, files)
    results = []
    for large in (2**28, 1):
        monkeypatch.setattr(ramp, "LARGE", large)
        exposure = make.ramp_exposure(sci, **KEYWORDS)
        exposure.raw, exposure.sci, exposure.groupdq = Samples(sci), None, None
        results.append(loop.run(recipe, exposure, scratch=tmp_path))
    for one, other in zip(*results, strict=True):
        assert {one.steps[step.name][0] for step in steps} == {"COMPLETE"} and one.steps == other.steps
        assert one.sci.tobytes() == other.sci.tobytes() and one.dq.tobytes() == other.dq.tobytes()


PEER = """
from stpipe import crds_client
crds_client.get_context_used = lambda *a, **k: "jwst_0000.pmap"
from jwst.clean_flicker_noise import clean_flicker_noise as cfn
from jwst.picture_frame import picture_frame
from jwst.ramp_fitting import RampFitStep

def make_rate(model, input_dir="", return_cube=False):
    step = RampFitStep()
    step.override_gain, step.override_readnoise = refs["gain"], refs["readnoise"]
    return step.run(model)[0]

cfn.make_rate = make_rate
ny, nx = model.data.shape[-2:]
assert ny == nx
picture_frame.UPPER_EDGE_REGION, picture_frame.CENTER_REGION = (ny - 63, ny - 5), (76, ny - 64)
result, *_, status = picture_frame.correct_picture_frame(
    model, datamodels.PictureFrameModel(refs["pictureframe"]), mask_science_regions=False, **parameters
)
assert status == "COMPLETE"
"""


@needs_peer
@pytest.mark.parity
def test_equals_the_peer(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "SHAPE", (2, 4, 200, 200))
    told = []
    for number, given in enumerate(({}, {"n_sigma": 0.0}, {"n_sigma": 1.5})):
        exposure = exposure_of(np.random.default_rng(1), frame_gained(np.random.default_rng(2)))
        folder = tmp_path / str(number)
        folder.mkdir()
        told.append((exposure, references(folder, exposure), given))
    for (exposure, refs, given), peers in zip(told, make.by_peer(tmp_path, PEER, told), strict=True):
        before = exposure.sci.copy()
        picture_frame.apply(exposure, refs, mask_science_regions=False, **given)
        assert np.nanstd(exposure.sci - before) > 5
        assert np.array_equal(exposure.sci, peers["data"], equal_nan=True), given
