"""group_scale: the on-board division undone, and when it is left alone."""

import numpy as np
import pytest

import make
from jwcal.steps import group_scale
from jwcal.vocabulary.errors import Skip
from peer import needs_peer


def ramp(**keywords):
    rng = np.random.default_rng(1)
    return make.ramp_exposure(rng.integers(0, 65536, (2, 3, 8, 9)), rng.integers(1, 65536, (2, 8, 9)), **keywords)


def test_the_mean_of_three_frames_that_were_divided_by_four():
    frames = np.random.default_rng(2).integers(1000, 20000, (1, 2, 3, 8, 9))
    exposure = make.ramp_exposure(frames.sum(2) / 4, frames[:, 0, 0], NFRAMES=3, FRMDIVSR=4)
    group_scale.apply(exposure, {})
    assert np.allclose(exposure.sci, frames.mean(2), rtol=1e-7)
    assert np.array_equal(exposure.extra["ZEROFRAME"], frames[:, 0, 0])


@pytest.mark.parametrize(
    ("keywords", "why"),
    [
        ({"NFRAMES": 4, "FRMDIVSR": 4}, "equal"),
        ({"NFRAMES": 8}, "a power of 2"),
        ({"NFRAMES": 5}, "FRMDIVSR is missing"),
        ({"NFRAMES": None, "FRMDIVSR": 4}, "NFRAMES is missing"),
    ],
)
def test_skipped_and_nothing_changed(keywords, why):
    exposure, before = ramp(**keywords), ramp(**keywords).sci
    with pytest.raises(Skip, match=why):
        group_scale.apply(exposure, {})
    assert np.array_equal(exposure.sci, before)


@pytest.mark.parity
@needs_peer
def test_same_values_as_the_peer(tmp_path):
    cases = [(ramp(NFRAMES=n, FRMDIVSR=d, GROUPGAP=1), None, {}) for n, d in ((3, 4), (5, 8), (6, 8))]
    peer = make.by_peer(tmp_path, "from jwst.group_scale import GroupScaleStep\nresult = GroupScaleStep().process(model)", cases)
    for (exposure, _, _), theirs in zip(cases, peer, strict=True):
        group_scale.apply(exposure, {})
        assert np.array_equal(exposure.sci, theirs["data"])
        assert np.array_equal(exposure.extra["ZEROFRAME"], theirs["zeroframe"])
