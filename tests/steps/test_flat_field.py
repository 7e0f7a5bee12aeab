"""flat_field against injected truth, against numpy, and bit for bit against the peer."""

import numpy as np
import pytest

import make
from jwcal.kernels.images import flat_field as kernel
from jwcal.steps import flat_field
from jwcal.vocabulary import dq
from jwcal.vocabulary.errors import ReferenceError, Skip
from peer import needs_peer, peer_python

FLAT_BITS = {"DO_NOT_USE": 1, "NO_FLAT_FIELD": 2, "UNRELIABLE_FLAT": 4, "LOW_QE": 8}  # a file's own bits, not the standard ones


def scene(shape, seed=1, corner=(1, 1), **keywords):
    """A rate exposure with noise, flags and NaN, and a full-frame flat of 64 x 72 pixels with every kind of bad pixel."""
    rng = np.random.default_rng(seed)
    exposure = make.image_exposure(rng.normal(5, 30, shape), SUBSTRT1=corner[0], SUBSTRT2=corner[1], **keywords)
    pixels = exposure.pixels[0]
    for name in ("err", "var_poisson", "var_rnoise"):
        setattr(pixels, name, rng.gamma(2, 0.3, shape).astype(np.float32))
    pixels.dq[...] = rng.choice([0, 0, 0, 0, dq.DO_NOT_USE, dq.JUMP_DET, dq.SATURATED], shape)
    pixels.sci[rng.random(shape) < 0.02] = np.nan
    pixels.var_rnoise[rng.random(shape) < 0.02] = np.nan
    flat = rng.normal(1, 0.05, (64, 72)).astype(np.float32)
    error = rng.gamma(2, 0.01, flat.shape).astype(np.float32)
    bits = rng.choice([0, 0, 0, 0, 0, 0, 1, 2, 4, 8, 12], flat.shape).astype(np.uint32)
    flat[rng.random(flat.shape) < 0.05] = np.nan
    flat[rng.random(flat.shape) < 0.05] = 0
    error[rng.random(flat.shape) < 0.02] = np.nan
    return exposure, {"SCI": flat, "ERR": error, "DQ": bits, "DQ_DEF": make.dq_def(**FLAT_BITS)}


def guider(shape=(3, 64, 72), **keywords):
    """Guide star images: no variances and a 2-D DQ."""
    exposure, flat = scene(shape, INSTRUME="FGS", DETECTOR="GUIDER1", **keywords)
    exposure.dq, exposure.var_poisson, exposure.var_rnoise = exposure.dq[0].copy(), None, None
    return exposure, flat


def test_a_uniform_scene_becomes_uniform_again(tmp_path):
    rng = np.random.default_rng(0)
    flat = rng.normal(1, 0.1, (32, 40)).astype(np.float32)
    exposure = make.image_exposure(np.float32(7) * flat)
    exposure.var_poisson *= flat * flat
    exposure.var_rnoise *= flat * flat
    flat_field.apply(exposure, make.references(tmp_path, exposure, flat={"SCI": flat, "ERR": np.full_like(flat, 0.02)}))
    np.testing.assert_allclose(exposure.sci, 7, rtol=2e-7)
    np.testing.assert_allclose(exposure.var_poisson, 1, rtol=3e-7)
    np.testing.assert_allclose(exposure.var_flat, (7 * 0.02 / flat) ** 2, rtol=1e-6)
    np.testing.assert_allclose(exposure.err, np.sqrt(2 + exposure.var_flat), rtol=3e-7)
    assert not exposure.dq.any()


@pytest.mark.parametrize("value", [-1.0, 0.0, np.inf, -np.inf, np.nan])
def test_what_no_pixel_can_see(tmp_path, value):
    """Nothing sees less than no light, or infinitely much: once a value of the other sign, or 0, without a flag."""
    flat = np.full((32, 40), 2, np.float32)
    flat[5, 6] = value
    exposure = make.image_exposure(np.full((32, 40), 6, np.float32))
    flat_field.apply(exposure, make.references(tmp_path, exposure, flat={"SCI": flat, "ERR": np.zeros_like(flat)}))
    assert np.isnan(exposure.sci[5, 6]) and exposure.dq[5, 6] == dq.NO_FLAT_FIELD | dq.DO_NOT_USE
    exposure.sci[5, 6], exposure.dq[5, 6] = 3, 0
    assert (exposure.sci == 3).all() and not exposure.dq.any()


def test_error_is_that_of_repeated_flats():
    """VAR_FLAT is the scatter that noisy flats give."""
    rng = np.random.default_rng(3)
    flats = rng.normal(0.8, 0.01, 20000).astype(np.float32)[None]
    ones, bits = np.ones_like(flats), np.zeros(flats.shape, np.uint32)
    sci = 50 * ones
    var = kernel.correct(
        sci, ones.copy(), ones.copy(), ones.copy(), bits.copy(), flats, 0.01 * ones, bits, False, dq.NO_FLAT_FIELD, dq.DO_NOT_USE
    )
    assert np.sqrt(var.mean()) == pytest.approx(sci.std(), rel=0.03)


@pytest.mark.parametrize("inverse", [False, True])
def test_kernel_is_five_lines_of_numpy(inverse):
    exposure, reference = scene((2, 64, 72))
    planes = [getattr(exposure, name) for name in ("sci", "err", "var_poisson", "var_rnoise", "dq")]
    s, _, vp, vr, d = (plane.copy() for plane in planes)
    flat, error, bits = reference["SCI"].copy(), reference["ERR"], reference["DQ"] & 1
    vf = kernel.correct(*planes, flat, error, bits.copy(), inverse, dq.NO_FLAT_FIELD, dq.DO_NOT_USE)

    bits[np.isnan(flat) | (flat == 0)] |= dq.NO_FLAT_FIELD | dq.DO_NOT_USE
    flat[bits != 0] = 1
    f2 = flat * flat
    s, vp, vr = (s * flat, vp * f2, vr * f2) if inverse else (s / flat, vp / f2, vr / f2)
    expected = np.zeros_like(s) if inverse else s**2 / f2 * error**2
    bad = np.isnan(s + vp + vr + expected) | ((d | bits) & 1 != 0)
    for mine, plain in zip([*planes[:4], vf], [s, np.sqrt(vp + vr + expected), vp, vr, expected], strict=True):
        np.testing.assert_array_equal(mine, np.where(bad, np.float32(np.nan), plain))
    np.testing.assert_array_equal(planes[4], d | bits | bad)


def test_bad_flat_pixels_are_flagged_and_not_divided(tmp_path):
    exposure, reference = make.image_exposure(np.full((4, 4), 6.0)), np.full((4, 4), 2, np.float32)
    reference[0, 0], reference[0, 1] = np.nan, 0
    bits = np.zeros((4, 4), np.uint32)
    bits[1, 0], bits[1, 1], bits[1, 2] = 2, 1, 4
    content = {"SCI": reference, "ERR": np.zeros((4, 4), np.float32), "DQ": bits, "DQ_DEF": make.dq_def(**FLAT_BITS)}
    flat_field.apply(exposure, make.references(tmp_path, exposure, flat=content))
    bad = dq.DO_NOT_USE | dq.NO_FLAT_FIELD
    np.testing.assert_array_equal(exposure.dq[:2, :3], [[bad, bad, 0], [bad, dq.DO_NOT_USE, dq.UNRELIABLE_FLAT]])
    np.testing.assert_array_equal(np.isnan(exposure.sci[:2, :3]), [[True, True, False], [True, True, False]])
    assert exposure.sci[1, 2] == exposure.sci[3, 3] == 3


def test_inverse_gives_the_rate_back(tmp_path):
    exposure, reference = scene((64, 72))
    before = exposure.sci.copy()
    refs = make.references(tmp_path, exposure, flat=reference)
    flat_field.apply(exposure, refs)
    flat_field.apply(exposure, refs, inverse=True)
    good = np.isfinite(exposure.sci)
    assert good.mean() > 0.4
    np.testing.assert_allclose(exposure.sci[good], before[good], rtol=3e-7)
    assert not exposure.var_flat[good].any()


def test_the_reference_stays_as_it_is(tmp_path):
    exposure, reference = scene((64, 72))
    refs = make.references(tmp_path, exposure, flat=reference)
    before = refs["flat"].array("SCI").copy(), refs["flat"].dq().copy()
    flat_field.apply(exposure, refs)
    np.testing.assert_array_equal(refs["flat"].array("SCI"), before[0])
    np.testing.assert_array_equal(refs["flat"].dq(), before[1])


def test_a_users_flat_wins(tmp_path):
    exposure = make.image_exposure(np.full((8, 8), 6.0))
    refs = make.references(tmp_path, exposure, flat=np.full((8, 8), 2.0))
    mine = make.reference_file(tmp_path / "mine.fits", "flat", np.full((8, 8), 3.0))
    flat_field.apply(exposure, refs, user_supplied_flat=str(mine))
    assert (exposure.sci == 2).all() and not exposure.var_flat.any()


def test_no_flat_skips_before_anything_is_changed(tmp_path):
    exposure = make.image_exposure(np.full((8, 8), 6.0))
    with pytest.raises(Skip, match="no flat"):
        flat_field.apply(exposure, make.references(tmp_path, exposure))
    assert (exposure.sci == 6).all() and exposure.var_flat is None


def test_a_flat_that_is_too_small_is_a_clear_error(tmp_path):
    exposure = make.image_exposure(np.full((8, 8), 6.0))
    with pytest.raises(ReferenceError, match="does not cover"):
        flat_field.apply(exposure, make.references(tmp_path, exposure, flat=np.ones((4, 4))))
    with pytest.raises(ReferenceError, match="flat.fits: the flat reference's SCI has the shape"):
        flat_field.apply(exposure, make.references(tmp_path, exposure, flat=np.ones((2, 8, 8))))


def test_guider_keeps_its_two_dimensional_dq(tmp_path):
    exposure, reference = guider()
    before = exposure.sci.copy(), exposure.err.copy(), exposure.dq.copy()
    refs = make.references(tmp_path, exposure, flat=reference)
    flat_field.apply(exposure, refs)
    value, flags = kernel.usable(refs["flat"].array("SCI"), refs["flat"].dq(), dq.NO_FLAT_FIELD, dq.DO_NOT_USE)
    np.testing.assert_array_equal(exposure.dq, before[2] | flags)
    np.testing.assert_allclose(exposure.sci, np.where(np.isnan(exposure.err), np.nan, before[0] / value), rtol=1e-6)
    expected = np.sqrt(before[1] ** 2 + (before[0] / value**2 * reference["ERR"]) ** 2)
    np.testing.assert_allclose(exposure.err, expected, rtol=1e-5)
    assert np.isfinite(exposure.sci[:, (exposure.dq & dq.DO_NOT_USE) != 0]).any()


# --- the peer ----------------------------------------------------------------------------------------------------------

PEER = """
from jwst.flatfield.flat_field import do_correction
from stdatamodels.jwst import datamodels
guider = kind == "GuiderCalModel"
model = getattr(datamodels, str(kind))(data=sci, dq=dq, err=err)
if not guider:
    model.var_poisson, model.var_rnoise = var_poisson, var_rnoise
model.meta.exposure.type, model.meta.instrument.name = str(exp_type), str(instrument)
model.meta.subarray.xstart, model.meta.subarray.ystart = int(corner[0]), int(corner[1])
model.meta.subarray.xsize, model.meta.subarray.ysize = sci.shape[-1], sci.shape[-2]
with datamodels.FlatModel(str(path)) as flat:
    do_correction(model, flat, inverse=bool(inverse))
out["sci"], out["err"], out["dq"], out["var_flat"] = model.data, model.err, model.dq, model.var_flat
if not guider:
    out["var_poisson"], out["var_rnoise"] = model.var_poisson, model.var_rnoise
"""


@needs_peer
@pytest.mark.parity
@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize(
    ("kind", "shape", "corner"),
    [("ImageModel", (64, 72), (1, 1)), ("CubeModel", (3, 20, 24), (31, 11)), ("GuiderCalModel", (3, 64, 72), (1, 1))],
)
def test_same_bits_as_the_peer(tmp_path, kind, shape, corner, inverse):
    is_guider = kind == "GuiderCalModel"
    exposure, reference = guider(shape) if is_guider else scene(shape, corner=corner)
    planes = ["sci", "err", "dq"] if is_guider else ["sci", "err", "dq", "var_poisson", "var_rnoise"]
    given = {name: getattr(exposure, name).copy() for name in planes}
    refs = make.references(tmp_path, exposure, flat=reference)
    about = {"exp_type": "FGS_TRACK" if is_guider else "NRC_IMAGE", "instrument": exposure.header["INSTRUME"]}
    theirs = peer_python(PEER, kind=kind, path=str(refs["flat"].path), corner=corner, inverse=inverse, **about, **given)
    flat_field.apply(exposure, refs, inverse=inverse)
    for name in planes if is_guider else [*planes, "var_flat"]:
        np.testing.assert_array_equal(getattr(exposure, name), theirs[name], err_msg=name)
        assert getattr(exposure, name).dtype == theirs[name].dtype
    assert (np.isnan(exposure.sci).mean() > 0.1) or is_guider
