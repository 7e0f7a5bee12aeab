"""saturation: against the definition in numpy, against ramps whose saturated frames are known, against the peer."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, minimum_filter

import make
from jwcal.kernels.detector.saturation import NONE, box_minimum
from jwcal.steps import saturation
from jwcal.vocabulary.dq import AD_FLOOR, DO_NOT_USE, NO_SAT_CHECK, SATURATED
from jwcal.vocabulary.errors import InputError, ReferenceError
from peer import needs_peer

NY, NX = 40, 36


def rough_exposure(rng, nints=2, ngroups=6, nframes=1, zero=False, **keywords):
    """Noisy ramps of all slopes, some hit hard in one group, some groups at or below 0, a few NaN."""
    slope = rng.choice([50.0, 750.0, 3500.0, 25000.0], (nints, 1, NY, NX), p=[0.85, 0.1, 0.045, 0.005])
    ramp = 1000 + slope * np.arange(1, ngroups + 1)[:, None, None] + rng.normal(0, 30, (nints, ngroups, NY, NX))
    hit = rng.integers(0, 12 * ngroups, (nints, NY, NX))
    for group in range(ngroups):  # an event late in a group, which saturates the next one
        ramp[:, group][hit == group] += 9000
        ramp[:, group + 1 :][np.broadcast_to((hit == group)[:, None], ramp[:, group + 1 :].shape)] += 60000
    ramp[rng.random(ramp.shape) < 0.01] = -1.0
    ramp[rng.random(ramp.shape) < 0.01] = 0.0
    ramp[rng.random(ramp.shape) < 0.003] = np.nan
    zeroframe = ramp[:, 0] * 0.8 if zero else None
    exposure = make.ramp_exposure(np.minimum(ramp, 65535), zeroframe, NFRAMES=nframes, **keywords)
    exposure.groupdq |= np.where(rng.random((NY, NX)) < 0.03, np.uint8(DO_NOT_USE), np.uint8(0))
    return exposure


def rough_references(rng, folder, exposure, shape=(NY, NX), bias=True, **keywords):
    """Thresholds and a bias with NaN, NO_SAT_CHECK under another bit, and a flag of their own."""
    threshold = rng.uniform(14000, 30000, shape).astype(np.float32)
    threshold[rng.random(shape) < 0.02] = np.nan
    flags = rng.choice(np.array([0, 2, 4, 8], np.uint32), shape, p=[0.9, 0.04, 0.03, 0.03])
    names = make.dq_def(DO_NOT_USE=2, NO_SAT_CHECK=4, HOT=8)
    kinds = {"saturation": {"SCI": threshold, "DQ": flags, "DQ_DEF": names, **keywords}}
    if bias:
        level = rng.normal(900, 20, shape).astype(np.float32)
        level[rng.random(shape) < 0.02] = np.nan
        kinds["superbias"] = {"SCI": level, **keywords}
    folder.mkdir(exist_ok=True)
    return make.references(folder, exposure, **kinds)


def by_definition(exposure, refs, grow, nframes):
    """The rules word for word, one group after the other."""
    threshold, bits = refs["saturation"].array().copy(), refs["saturation"].dq().copy()
    bits[np.isnan(threshold)] |= NO_SAT_CHECK
    unchecked = bits & NO_SAT_CHECK != 0
    threshold[unchecked] = 65536
    bias = refs["superbias"].array() if "superbias" in refs else np.float32(0)
    around = np.ones((2 * grow + 1, 2 * grow + 1), bool)
    groupdq = exposure.groupdq.copy()
    for data, flags in zip(exposure.sci, groupdq, strict=True):
        ngroups = len(data)
        saturated = [binary_dilation((data[: g + 1] >= threshold).any(0), around) for g in range(ngroups)]
        flags |= np.where(saturated, SATURATED, 0).astype(np.uint8) | np.where(data <= 0, AD_FLOOR | DO_NOT_USE, 0).astype(np.uint8)
        if nframes is None:
            continue
        before = flags.copy()
        for g in range(ngroups - 1):
            frames = np.arange(g * nframes + 1, (g + 1) * nframes + 1)
            limit = threshold * np.where(unchecked, 1, frames.mean() / frames[-1])
            part = (data[g] >= limit) & (before[g] & 3 == 0) & saturated[g + 1] & (nframes > 1)
            flags[g] |= binary_dilation(part, around) * np.uint8(DO_NOT_USE)
        if ngroups > 2:
            slope = (data[0] - bias).astype(float) / np.mean(np.arange(1, nframes + 1))
            late = (slope * 3 * nframes + bias < threshold) & (data[1] - data[0] > (threshold - data[0]) / np.float32(nframes))
            flags[1] |= (late & saturated[2] & ~saturated[1]) * np.uint8(DO_NOT_USE)
    return groupdq, bits


@pytest.mark.parametrize("grow", [0, 1, 2])
@pytest.mark.parametrize("nframes", [1, 4, 8])
@pytest.mark.parametrize("ngroups", [1, 2, 3, 6])
def test_flags_by_the_definition(tmp_path, grow, nframes, ngroups):
    rng = np.random.default_rng(ngroups)
    exposure = rough_exposure(rng, 3, ngroups, nframes)
    refs = rough_references(rng, tmp_path, exposure)
    wanted, bits = by_definition(exposure, refs, grow, nframes)
    before = exposure.sci.copy()
    saturation.apply(exposure, refs, n_pix_grow_sat=grow)
    assert np.array_equal(exposure.groupdq, wanted)
    assert np.array_equal(exposure.pixeldq, bits)
    assert np.array_equal(exposure.sci, before, equal_nan=True)
    assert {SATURATED, AD_FLOOR | DO_NOT_USE} <= set(np.unique(wanted))


def test_the_rules_for_averaged_groups_are_at_work_and_can_be_switched_off(tmp_path):
    rng = np.random.default_rng(5)
    exposure = rough_exposure(rng, 1, 5, 8)
    refs = rough_references(rng, tmp_path, exposure)
    simple, _ = by_definition(exposure, refs, 1, None)
    full, _ = by_definition(exposure, refs, 1, 8)
    assert np.count_nonzero(simple != full) > 20
    saturation.apply(exposure, refs, use_readpatt=False)
    assert np.array_equal(exposure.groupdq, simple)


def test_at_the_threshold_is_saturated_and_stays_so(tmp_path):
    ramp = np.array([100, 199.99, 200, 150, np.nan, -1])[None, :, None, None] * np.ones((1, 1, 1, 3))
    exposure = make.ramp_exposure(ramp)
    refs = make.references(tmp_path, exposure, saturation=np.array([[200, 201, np.nan]]))
    saturation.apply(exposure, refs, n_pix_grow_sat=0)
    floor = AD_FLOOR | DO_NOT_USE
    assert exposure.groupdq[0, :, 0, 0].tolist() == [0, 0, SATURATED, SATURATED, SATURATED, SATURATED | floor]
    assert exposure.groupdq[0, :, 0, 1].tolist() == exposure.groupdq[0, :, 0, 2].tolist() == [0, 0, 0, 0, 0, floor]
    assert exposure.pixeldq.tolist() == [[0, 0, NO_SAT_CHECK]]


def test_without_a_superbias_it_counts_as_zero(tmp_path):
    rng = np.random.default_rng(6)
    exposure = rough_exposure(rng, 1, 4, 4)
    refs = rough_references(rng, tmp_path, exposure, bias=False)
    wanted, _ = by_definition(exposure, refs, 1, 4)
    saturation.apply(exposure, refs)
    assert np.array_equal(exposure.groupdq, wanted)


def test_integrations_in_two_blocks_give_what_they_give_together(tmp_path):
    rng = np.random.default_rng(7)
    together = rough_exposure(rng, 4, 3, 4, zero=True)
    refs = rough_references(rng, tmp_path, together)
    parts = [together.block(make.part(together.pixels[0], ints)) for ints in (slice(0, 1), slice(1, 4))]
    for part in parts:
        saturation.apply(part, refs)
    saturation.apply(together, refs)
    assert np.array_equal(np.concatenate([p.groupdq for p in parts]), together.groupdq)
    assert np.array_equal(np.concatenate([p.extra["ZEROFRAME"] for p in parts]), together.extra["ZEROFRAME"], equal_nan=True)
    assert all(np.array_equal(p.pixeldq, together.pixeldq) for p in parts)


def test_zero_frame_that_saturates_or_is_too_low_has_no_samples(tmp_path):
    zero = np.full((1, 9, 9), 500.0)
    zero[0, 4, 4], zero[0, 0, 0], zero[0, 8, 8] = 20000, -3, np.nan
    exposure = make.ramp_exposure(np.full((1, 2, 9, 9), 600.0), zero)
    refs = make.references(tmp_path, exposure, saturation=np.full((9, 9), 20000.0))
    saturation.apply(exposure, refs)
    wanted = zero[0].copy()
    wanted[3:6, 3:6] = wanted[0, 0] = 0
    assert np.array_equal(exposure.extra["ZEROFRAME"][0], wanted, equal_nan=True)
    assert not exposure.groupdq.any()


@pytest.mark.parametrize("nframes", [2, 4, 8])
def test_no_group_with_a_saturated_frame_is_taken_for_good(tmp_path, nframes):
    """Linear charge clipped at the threshold, frame by frame: no other group may be SATURATED; the last one has none after it to tell."""
    ngroups, full = 8, np.float32(50000)
    rate = np.geomspace(100, 60000, NY * NX).reshape(NY, NX)[::-1]
    frames = np.arange(1, ngroups * nframes + 1)[:, None, None] * rate
    groups = np.minimum(frames, full).reshape(ngroups, nframes, NY, NX).mean(1)
    clipped = (frames >= full).reshape(ngroups, nframes, NY, NX).any(1)
    exposure = make.ramp_exposure(groups[None], NFRAMES=nframes)
    refs = make.references(tmp_path, exposure, saturation=np.full((NY, NX), full), superbias=np.zeros((NY, NX)))
    saturation.apply(exposure, refs, n_pix_grow_sat=0)
    flagged = exposure.groupdq[0] & (SATURATED | DO_NOT_USE) != 0
    assert not (clipped & ~flagged)[:-1].any()
    assert not (exposure.groupdq[0][~clipped] & SATURATED).any()
    saturation.apply(plain := make.ramp_exposure(groups[None], NFRAMES=nframes), refs, n_pix_grow_sat=0, use_readpatt=False)
    assert (clipped & (plain.groupdq[0] == 0))[:-1].sum() > 100  # what the rules are for


@pytest.mark.parametrize("n", [0, 1, 2, 5])
@pytest.mark.parametrize("shape", [(1, 1), (3, 20), (20, 3), (33, 34)])
def test_box_minimum_is_that_of_scipy(n, shape):
    image = np.random.default_rng(n).integers(0, 1000, shape).astype(np.uint16)
    out = np.empty_like(image)
    box_minimum(image, n, np.empty_like(image), out)
    assert np.array_equal(out, minimum_filter(image, 2 * n + 1, mode="constant", cval=NONE))


def test_a_reference_that_does_not_cover_the_exposure(tmp_path):
    exposure = make.ramp_exposure((1, 2, 9, 9))
    refs = make.references(tmp_path, exposure, saturation=np.ones((9, 8)))
    with pytest.raises(ReferenceError, match="saturation.fits.*does not cover"):
        saturation.apply(exposure, refs)
    refs = make.references(tmp_path, exposure, saturation=np.ones((2, 9, 9)))
    with pytest.raises(ReferenceError, match=r"shape \(2, 9, 9\)"):
        saturation.apply(exposure, refs)
    assert not exposure.groupdq.any() and not exposure.pixeldq.any()


def test_keywords_that_tell_another_size(tmp_path):
    exposure = make.ramp_exposure((1, 2, 9, 9), SUBSIZE2=8)
    refs = make.references(tmp_path, exposure, saturation=np.ones((9, 9)))
    with pytest.raises(InputError, match="SUBSIZE"):
        saturation.apply(exposure, refs)


@pytest.mark.parity
@needs_peer
def test_same_bits_as_the_peer(tmp_path):
    rng = np.random.default_rng(8)
    cases = []
    for number, (nints, ngroups, nframes, zero, grow, pattern) in enumerate(
        [(1, 1, 1, False, 1, True), (3, 2, 4, True, 1, True), (1, 3, 8, False, 2, True), (3, 6, 4, True, 1, True)]
        + [(1, 6, 8, False, 0, True), (1, 3, 1, True, 2, True), (2, 6, 8, True, 1, False), (1, 12, 3, False, 1, True)]
    ):
        subarray = {"SUBSTRT1": 5, "SUBSTRT2": 9} if number % 2 else {}
        exposure = rough_exposure(rng, nints, ngroups, nframes, zero, **subarray)
        shape = (NY + 20, NX + 20) if subarray else (NY, NX)
        refs = rough_references(rng, tmp_path / str(number), exposure, shape, bias=number != 4)
        cases.append((exposure, refs, {"n_pix_grow_sat": grow, "use_readpatt": pattern}))
    peer = make.by_peer(
        tmp_path,
        """
        from jwst.lib.reffile_utils import get_subarray_model, ref_matches_sci
        from jwst.saturation.saturation import flag_saturation
        bias = datamodels.SuperBiasModel(refs["superbias"]) if "superbias" in refs else None
        if bias is not None and not ref_matches_sci(model, bias):
            bias = get_subarray_model(model, bias)
        result = flag_saturation(model, datamodels.SaturationModel(refs["saturation"]), bias_model=bias, **parameters)
        """,
        cases,
    )
    for (exposure, refs, parameters), theirs in zip(cases, peer, strict=True):
        saturation.apply(exposure, refs, **parameters)
        assert np.array_equal(exposure.groupdq, theirs["groupdq"])
        assert np.array_equal(exposure.pixeldq, theirs["pixeldq"])
        if "ZEROFRAME" in exposure.extra:
            assert np.array_equal(exposure.extra["ZEROFRAME"], theirs["zeroframe"], equal_nan=True)
