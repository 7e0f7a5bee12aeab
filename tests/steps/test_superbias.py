"""superbias: against numpy, against a known bias, against the peer."""

import numpy as np
import pytest

import make
from jwcal.kernels.detector.subtract_reference import subtract_reference, subtract_reference_from_samples
from jwcal.steps import superbias
from jwcal.vocabulary.dq import HOT, UNRELIABLE_BIAS
from jwcal.vocabulary.errors import InputError, ReferenceError
from peer import needs_peer

NY, NX = 24, 20


def case(folder, nints=1, ngroups=3, zero=False, cut=False):
    """A ramp on a bias with NaN and flags of its own numbering; zero frames with some 0."""
    rng = np.random.default_rng(nints)
    shape = (NY + 8, NX + 12) if cut else (NY, NX)
    bias = rng.normal(10000, 500, shape).astype(np.float32)
    bias[rng.random(shape) < 0.05] = np.nan
    flags = rng.choice(np.array([0, 1, 2, 3], np.uint32), shape)
    zeroframe = rng.choice([0.0, 10500.0], (nints, NY, NX)) if zero else None
    data = rng.integers(9000, 60000, (nints, ngroups, NY, NX))
    exposure = make.ramp_exposure(data, zeroframe, **({"SUBSTRT1": 4, "SUBSTRT2": 7} if cut else {}))
    exposure.pixeldq |= np.uint32(1)
    folder.mkdir(exist_ok=True)
    definitions = make.dq_def(UNRELIABLE_BIAS=1, HOT=2)
    refs = make.references(folder, exposure, superbias={"SCI": bias, "DQ": flags, "DQ_DEF": definitions})
    part = (slice(6, 6 + NY), slice(3, 3 + NX)) if cut else (slice(None), slice(None))
    return exposure, refs, bias[part], flags[part]


@pytest.mark.parametrize("cut", [False, True])
def test_subtracts_from_groups_and_zero_frames(tmp_path, cut):
    exposure, refs, bias, flags = case(tmp_path, 3, 2, zero=True, cut=cut)
    bias = np.nan_to_num(bias, nan=0)
    data, zero = exposure.sci - bias, exposure.extra["ZEROFRAME"]
    zero = np.where(zero == 0, 0, zero - bias)
    superbias.apply(exposure, refs)
    assert np.array_equal(exposure.sci, data)
    assert np.array_equal(exposure.extra["ZEROFRAME"], zero)
    assert np.array_equal(exposure.pixeldq, 1 | (flags & 1) * UNRELIABLE_BIAS | (flags >> 1) * HOT)
    assert not exposure.groupdq.any()


def test_what_is_left_is_the_signal(tmp_path):
    rng = np.random.default_rng(3)
    bias, signal = rng.normal(12000, 300, (NY, NX)), rng.uniform(0, 20000, (2, 4, NY, NX))
    exposure = make.ramp_exposure(bias + signal)
    superbias.apply(exposure, make.references(tmp_path, exposure, superbias=bias))  # a float64 file
    assert np.allclose(exposure.sci, signal, atol=0.005)


def test_applied_block_by_block_the_flags_are_those_of_once(tmp_path):
    exposure, refs, _, _ = case(tmp_path, 3, 2)
    other = exposure.block(make.part(exposure.pixels[0], slice(0, 1)))
    superbias.apply(other, refs)
    once = exposure.pixeldq.copy()
    superbias.apply(exposure, refs)
    assert np.array_equal(exposure.pixeldq, once)


def test_kernels_leave_nan_samples_and_empty_zero_frames():
    planes = np.array([[[0, 5, np.nan]]], np.float32)
    subtract_reference_from_samples(planes, np.array([[5, np.nan, 1]], np.float32))
    assert np.array_equal(planes, [[[0, 5, np.nan]]], equal_nan=True)
    ramp = np.array([[[[1, 2, np.nan]]]], np.float32)
    subtract_reference(ramp, np.array([[np.nan, 0.5, 1]], np.float32))
    assert np.array_equal(ramp, [[[[1, 1.5, np.nan]]]], equal_nan=True)


def test_bad_references_and_keywords(tmp_path):
    exposure = make.ramp_exposure((1, 2, NY, NX))
    for wrong in (np.ones((NY - 1, NX)), np.ones((3, NY, NX)), np.ones(NX)):
        refs = make.references(tmp_path, exposure, superbias={"SCI": wrong, "DQ": np.zeros((NY, NX), np.uint32)})
        with pytest.raises(ReferenceError, match="superbias"):
            superbias.apply(exposure, refs)
    exposure = make.ramp_exposure((1, 2, 32, 20), NRS_NORM=16, SUBSIZE2=NY)
    refs = make.references(tmp_path, exposure, superbias=np.ones((NY, NX)))
    with pytest.raises(InputError, match="SUBSIZE"):
        superbias.apply(exposure, refs)
    assert not exposure.sci.any()


@pytest.mark.parity
@needs_peer
def test_same_bits_as_the_peer(tmp_path):
    cases = [
        (*case(tmp_path / str(k), *settings)[:2], {})
        for k, settings in enumerate([(1, 1), (3, 2, True), (1, 3, False, True), (3, 6, True, True)])
    ]
    code = "from jwst.superbias.bias_sub import do_correction\nresult = do_correction(model, datamodels.SuperBiasModel(refs['superbias']))"
    for (exposure, refs, _), theirs in zip(cases, make.by_peer(tmp_path, code, cases), strict=True):
        superbias.apply(exposure, refs)
        assert np.array_equal(exposure.sci, theirs["data"])
        assert np.array_equal(exposure.pixeldq, theirs["pixeldq"])
        if "ZEROFRAME" in exposure.extra:
            assert np.array_equal(exposure.extra["ZEROFRAME"], theirs["zeroframe"])
