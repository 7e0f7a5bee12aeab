"""dq_init: mask, the user's flags, the guider's form; against numpy and the peer."""

import numpy as np
import pytest
from astropy.io import fits

import make
from jwcal.settings.step_modules import parameters_of
from jwcal.steps import dq_init
from jwcal.vocabulary.dq import DEAD, DO_NOT_USE, HOT, REFERENCE_PIXEL, SATURATED
from jwcal.vocabulary.errors import ReferenceError
from peer import needs_peer

NY, NX = 20, 24
NAMES = make.dq_def(DO_NOT_USE=1, DEAD=2, HOT=4, REFERENCE_PIXEL=8, NO_SUCH_FLAG=16)
STANDARD = (DO_NOT_USE, DEAD, HOT, REFERENCE_PIXEL, 0)


def mask_bits(shape=(NY, NX)):
    return np.random.default_rng(4).integers(0, 32, shape).astype(np.uint32)


def standard(flags):
    return sum(((flags >> bit) & 1) * np.uint32(meaning) for bit, meaning in enumerate(STANDARD)).astype(np.uint32)


def case(folder, exposure, cut=False, names=True):
    shape = (NY + 3, NX + 5) if cut else (NY, NX)
    content = {"DQ": mask_bits(shape), **({"DQ_DEF": NAMES} if names else {})}
    folder.mkdir(exist_ok=True)
    return make.references(folder, exposure, mask=content)


@pytest.mark.parametrize("cut", [False, True])
def test_flags_pixels_and_groups(tmp_path, cut):
    exposure = make.ramp_exposure((2, 3, NY, NX), **({"SUBSTRT1": 6, "SUBSTRT2": 4} if cut else {}))
    exposure.groupdq[1, 2] |= np.uint8(SATURATED)
    exposure.pixeldq[3] |= np.uint32(HOT)
    wanted = standard(mask_bits((NY + 3, NX + 5))[3:, 5:] if cut else mask_bits())
    wanted_groups = exposure.groupdq | (wanted & DO_NOT_USE).astype(np.uint8)
    wanted[3] |= HOT
    dq_init.apply(exposure, case(tmp_path, exposure, cut))
    assert exposure.pixeldq.dtype == np.uint32 and np.array_equal(exposure.pixeldq, wanted)
    assert exposure.groupdq.dtype == np.uint8 and np.array_equal(exposure.groupdq, wanted_groups)


def test_guider_has_pixel_flags_only(tmp_path):
    exposure = make.guider_exposure((2, 2, NY, NX))
    dq_init.apply(exposure, case(tmp_path, exposure))
    assert np.array_equal(exposure.dq, standard(mask_bits()))
    assert exposure.groupdq is None


@pytest.mark.parametrize("kind", [np.uint32, np.int32, np.uint8])
@pytest.mark.parametrize("primary", [True, False])
def test_the_users_flags_are_added(tmp_path, kind, primary):
    flags = np.zeros((NY, NX), kind)
    flags[5, 7], flags[8, 9] = DO_NOT_USE, 64
    hdus = [fits.PrimaryHDU(flags)] if primary else [fits.PrimaryHDU(), fits.ImageHDU(flags, name="MINE")]
    fits.HDUList(hdus).writeto(tmp_path / "mine.fits")
    exposure = make.ramp_exposure((1, 2, NY, NX))
    dq_init.apply(exposure, case(tmp_path, exposure), user_supplied_dq=str(tmp_path / "mine.fits"))
    wanted = standard(mask_bits()) | flags.astype(np.uint32)
    assert np.array_equal(exposure.pixeldq, wanted)
    assert np.array_equal(exposure.groupdq[0, 1], wanted & DO_NOT_USE)


def test_bad_files_of_the_user(tmp_path):
    exposure = make.ramp_exposure((1, 2, NY, NX))
    refs = case(tmp_path, exposure)
    with pytest.raises(ReferenceError, match="nowhere.fits.*no such file"):
        dq_init.apply(exposure, refs, user_supplied_dq=str(tmp_path / "nowhere.fits"))
    for number, wrong in enumerate((np.zeros((NY, NX + 1), int), np.zeros((NY, NX)), np.zeros((1, NY, NX), int), None)):
        fits.PrimaryHDU(wrong).writeto(file := tmp_path / f"{number}.fits")
        with pytest.raises(ReferenceError, match=f"{number}.fits.*integers of the shape"):
            dq_init.apply(exposure, refs, user_supplied_dq=str(file))
    assert not exposure.pixeldq.any()


def test_bad_masks(tmp_path):
    exposure = make.ramp_exposure((1, 2, NY, NX))
    for content, what in (
        ({"DQ": mask_bits((NY, NX - 1))}, "cover"),
        ({"DQ": mask_bits((2, NY, NX))}, "shape"),
        (mask_bits(), "no extension DQ"),
    ):
        with pytest.raises(ReferenceError, match=what):
            dq_init.apply(exposure, make.references(tmp_path, exposure, mask=content))


def test_parameters_are_those_of_the_peer():
    found = parameters_of("dq_init")
    assert set(found) == {"skip", "user_supplied_dq"} and found["user_supplied_dq"].default is None


@pytest.mark.parity
@needs_peer
def test_same_bits_as_the_peer(tmp_path):
    fits.PrimaryHDU(mask_bits()[::-1].astype(np.uint8)).writeto(tmp_path / "mine.fits")
    code = """
    from astropy.io import fits
    from jwst.dq_init.dq_initialization import do_dqinit
    user = fits.getdata(parameters["user_supplied_dq"]) if parameters else None
    result = do_dqinit(model, datamodels.MaskModel(refs["mask"]), user_dq=user)
    """
    mine = {"user_supplied_dq": str(tmp_path / "mine.fits")}
    cases = []
    for number, (cut, names, given) in enumerate([(False, True, {}), (True, True, mine), (False, False, mine)]):
        exposure = make.ramp_exposure((2, 3, NY, NX), **({"SUBSTRT1": 6, "SUBSTRT2": 4} if cut else {}))
        cases.append((exposure, case(tmp_path / str(number), exposure, cut, names), given))
    for (exposure, refs, given), theirs in zip(cases, make.by_peer(tmp_path, code, cases), strict=True):
        dq_init.apply(exposure, refs, **given)
        assert np.array_equal(exposure.pixeldq, theirs["pixeldq"])
        assert np.array_equal(exposure.groupdq, theirs["groupdq"])
    guider = make.guider_exposure((6, 2, NY, NX), EXP_TYPE="FGS_ACQ1")
    refs = case(tmp_path / "guider", guider)
    (theirs,) = make.by_peer(tmp_path, code, [(guider, refs, {})], "GuiderRawModel")
    dq_init.apply(guider, refs)
    assert np.array_equal(guider.dq, theirs["dq"])
