"""The likelihood search for jumps: against dense linear algebra, and on hits of known place and size."""

import itertools

import numba
import numpy as np
import pytest

import make
from jwcal.kernels.jumps import likelihood_jump
from jwcal.kernels.ramps.likely_ramp import covariance
from jwcal.steps import jump
from jwcal.vocabulary.dq import DO_NOT_USE, JUMP_DET, SATURATED

GAIN, READNOISE, THRESHOLD = 1.8, 9.0, 3.95  # electrons/DN; DN of a difference of two frames


def ramp(rng, shape, rate=20.0, nframes=1, hits=0.0):
    """Ramps (DN) of `rate` a frame, without gaps, and a share of frames that cosmic rays of 10 to 10,000 DN come before."""
    nints, ngroups, ny, nx = shape
    frames = rng.poisson(np.broadcast_to(rate * GAIN, (nints, ngroups * nframes, ny, nx))) / GAIN
    frames += (rng.random(frames.shape) < hits) * 10 ** rng.uniform(1, 4, frames.shape)
    frames = np.cumsum(frames, axis=1) + rng.normal(0, READNOISE / np.sqrt(2), frames.shape)
    return frames.reshape(nints, ngroups, nframes, ny, nx).mean(axis=2).astype(np.float32)


def read_times(ngroups, nframes=1, gap=0):
    return [np.arange(nframes) + g * (nframes + gap) for g in range(ngroups)]


def find(sci, groupdq=None, gain=GAIN, readnoise=READNOISE, nframes=1, gap=0, threshold=THRESHOLD, **notes):
    """Run the kernel; returns the flags."""
    sci = np.asarray(sci, np.float32)
    groupdq = np.zeros(sci.shape, np.uint8) if groupdq is None else groupdq.copy()
    planes = [np.broadcast_to(np.float32(p), sci.shape[2:]).copy() for p in (gain, readnoise)]
    empty = np.zeros((0, 0, 0), np.uint8)
    likelihood_jump.find(
        sci,
        groupdq,
        *planes,
        covariance(read_times(sci.shape[1], nframes, gap)),
        threshold,
        np.uint8(DO_NOT_USE | SATURATED),
        np.uint8(JUMP_DET),
        notes.get("neighbours", (10.0, 1000.0)),
        notes.get("sizes", (0.0, 0.0)),
        *(notes.get(name, empty) for name in ("seeds", "large", "very_large")),
    )
    return groupdq


# --- against dense linear algebra ----------------------------------------------------------------------------------------


def dense_covariance(rate, reads, nints):
    """Of the differences over their time, from that of the reads of a ramp: photons that came before both, and their own read noise."""
    frames = np.concatenate(reads)
    of_reads = rate / GAIN * (1 + np.minimum.outer(frames, frames)) + READNOISE**2 / 2 * np.eye(frames.size)
    n = len(reads)
    mean = np.zeros((n, frames.size))
    for g in range(n):
        mean[g, np.isin(frames, reads[g])] = 1 / len(reads[g])
    differences = np.diff(mean, axis=0) / np.diff(mean @ frames)[:, None]
    return np.kron(np.eye(nints), differences @ of_reads @ differences.T)


def gain(d, inverse, hits):
    """What chi squared gains from hits in these differences: unless it is a step down, with a rate that is not negative."""

    def least(columns):
        design = np.array(columns).T.reshape(d.size, len(columns))
        found = np.linalg.solve(design.T @ inverse @ design, design.T @ inverse @ d)
        left = d - design @ found
        return left @ inverse @ left, found

    rate, free = [np.ones(d.size)], [np.eye(d.size)[k] for k in hits]
    (before, alone), (after, both) = least(rate), least(rate + free)
    if both[1:].sum() <= 0:
        return (before - after) / 2.25
    before = before if alone[0] >= 0 else d @ inverse @ d
    if both[0] < 0:
        after, found = least(free)
        after = after if found.sum() > 0 else d @ inverse @ d
    return before - after


def best_hit(d, used, C, nframes):
    """(gain, hits, gain needed) of the likeliest one among the differences in use of one integration."""
    inverse, tried = np.linalg.inv(C[np.ix_(used, used)]), []
    sums = inverse.sum(axis=0)
    need = [THRESHOLD**2 * np.clip(C[u, u] * (inverse[k, k] - sums[k] ** 2 / sums.sum()), 8 / 9, 1.5) for k, u in enumerate(used)]
    for k, u in enumerate(used):
        tried.append((gain(d[used], inverse, [k]), [u], need[k]))
        if nframes > 1 and k and used[k - 1] == u - 1 and len(used) > 2:
            tried.append((gain(d[used], inverse, [k - 1, k]) - 3.55, [u - 1, u], max(need[k - 1 : k + 1])))
    return max(tried)


def plain_search(sci, flagged, nframes, gap):
    """The differences of one integration that hits are found in, (difference,)."""
    reads = read_times(len(sci), nframes, gap)
    d = np.diff(sci.astype(float)) / (nframes + gap)
    bad, known = (flagged & (DO_NOT_USE | SATURATED)) > 0, (flagged & JUMP_DET) > 0
    used = [k for k in range(d.size) if not (bad[k] or bad[k + 1] or known[k + 1])]
    found = np.zeros(d.size, bool)
    rate = np.sort(d[used])[(len(used) - 1) // 2] if used else 0
    while len(used) > 1:
        C = dense_covariance(max(rate, 0), reads, 1)
        gained, hits, needed = best_hit(d, used, C, nframes)
        if gained <= needed:
            break
        found[hits] = True
        used = [k for k in used if k not in hits]
        if used:
            inverse = np.linalg.inv(C[np.ix_(used, used)])
            rate = inverse.sum(axis=0) @ d[used] / inverse.sum()
    return found


@pytest.mark.parametrize(
    ("ngroups", "nframes", "gap", "rate"),
    [(3, 1, 0, 20.0), (4, 1, 0, 0.05), (9, 1, 0, 0.5), (9, 1, 0, 200.0), (8, 4, 1, 5.0), (6, 8, 0, 0.1)],
)
def test_search_is_that_of_dense_algebra(ngroups, nframes, gap, rate):
    rng = np.random.default_rng(ngroups * nframes)
    shape = (1, ngroups, 6, 60)
    sci = ramp(rng, (1, ngroups, 6, 60), rate, nframes + gap, hits=0.08 / nframes)
    sci += np.cumsum(-80 * (rng.random(shape) < 0.02), axis=1, dtype=np.float32)
    groupdq = (rng.choice([0, DO_NOT_USE, SATURATED, JUMP_DET], shape, p=[0.94, 0.02, 0.02, 0.02])).astype(np.uint8)
    got = ((find(sci, groupdq, nframes=nframes, gap=gap) & ~groupdq) & JUMP_DET) > 0
    expected = np.zeros(shape, bool)
    for y, x in itertools.product(range(6), range(60)):
        expected[0, 1:, y, x] = plain_search(sci[0, :, y, x], groupdq[0, :, y, x], nframes, gap)
    assert expected.sum() > 30
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("rate", [0.05, 30.0])
def test_integrations_share_the_rate(rate):
    """The gain of one hit and of two in the second of three integrations, against dense algebra of all together."""
    rng = np.random.default_rng(1)
    nints, n = 3, 5
    C = dense_covariance(rate, read_times(n + 1, 4), nints)
    inverse = np.linalg.inv(C)
    w = likelihood_jump._work(nints, n)
    w.d[:], w.use[:] = rng.normal(rate, 4, (nints, n)), True
    likelihood_jump._set_covariance(rate, GAIN, READNOISE**2 / 2, covariance(read_times(n + 1, 4)), w)
    np.testing.assert_allclose(w.alpha, np.diag(C)[:n], rtol=1e-12)
    np.testing.assert_allclose(w.beta[: n - 1], np.diag(C, 1)[: n - 1], rtol=1e-12)
    B, C = likelihood_jump._solve_all(w)
    flat = w.d.ravel()
    np.testing.assert_allclose((B, C), (inverse.sum(0) @ flat, inverse.sum()), rtol=1e-10)
    for k in range(n):
        left_over, information = w.dB[1, k] - B / C * w.dC[1, k], w.inverse[1, k] - w.dC[1, k] ** 2 / C
        assert likelihood_jump._one_hit(1, k, B, C, left_over, information, w) == pytest.approx(gain(flat, inverse, [n + k]), abs=1e-9)
    for k in range(n - 1):
        assert likelihood_jump._two_hits(1, k, B, C, w) == pytest.approx(gain(flat, inverse, [n + k, n + k + 1]), abs=1e-9)


def test_a_hit_is_taken_apart_from_other_integrations():
    """A huge hit in one integration of three does not take good differences of the other ones with it."""
    sci = ramp(np.random.default_rng(2), (3, 3, 40, 40), 20.0)
    assert not find(sci).any()
    sci[1, 2:] += 50_000
    sci[2, 1:] += 400
    expected = np.zeros(sci.shape, np.uint8)
    expected[1, 2] = expected[2, 1] = JUMP_DET
    assert (find(sci) == expected).mean() > 0.9999


def test_more_integrations_find_more():
    rng = np.random.default_rng(3)
    sci = ramp(rng, (8, 5, 50, 100), 0.05)
    sci[2, 3:] += 4.5 * READNOISE
    alone, together = (find(sci[2:3])[0, 3] > 0).mean(), (find(sci)[2, 3] > 0).mean()
    assert together > alone + 0.1


# --- where the flags go --------------------------------------------------------------------------------------------------


def straight(ngroups=8, rate=50.0, shape=(1, 1), nints=1):
    """Ramps without noise."""
    return np.broadcast_to((rate * np.arange(ngroups, dtype=np.float32))[:, None, None], (nints, ngroups, *shape)).copy()


def groups(groupdq):
    """The flagged groups of a single ramp."""
    return np.flatnonzero(groupdq[0, :, 0, 0] & JUMP_DET).tolist()


@pytest.mark.parametrize("group", [1, 4, 7])
@pytest.mark.parametrize("size", [100.0, 1e4])
def test_the_group_after_a_hit(group, size):
    sci = straight()
    assert groups(find(sci)) == []
    sci[:, group:] += size
    assert groups(find(sci)) == [group]


@pytest.mark.parametrize(("ngroups", "hits"), [(3, [2]), (8, [2, 5]), (8, [3, 4]), (10, [1, 5, 9])])
def test_several_hits(ngroups, hits):
    sci = straight(ngroups)
    for number, group in enumerate(hits):
        sci[:, group:] += 300.0 * 3**number
    assert groups(find(sci)) == hits


def test_a_hit_within_a_group_of_several_reads():
    frames = 10.0 * np.arange(5 * 10, dtype=np.float32)
    for frame, expected in ((23, [4, 5]), (20, [4]), (24, [5])):  # every fifth frame is dropped
        hit = frames + 2000.0 * (np.arange(50) >= frame)
        sci = hit.reshape(10, 5)[:, :4].mean(axis=1)[None, :, None, None]
        assert groups(find(sci, nframes=4, gap=1, gain=2.0)) == expected, frame


def test_bad_groups_and_known_jumps():
    sci = straight(10)
    sci[:, 4] = 1e5
    sci[:, 8:] += 400
    groupdq = np.zeros(sci.shape, np.uint8)
    groupdq[:, 4] = DO_NOT_USE
    found = find(sci, groupdq)
    assert groups(found) == [8] and found[0, 4, 0, 0] == DO_NOT_USE
    sci[:, 8:] += 5e4
    groupdq[:, 8] = SATURATED
    assert groups(find(sci, groupdq)) == []
    groupdq[:, 8] = JUMP_DET
    assert groups(find(sci, groupdq)) == [8]
    sci[:, 2:] += 300
    assert groups(find(sci, groupdq)) == [2, 8]


def test_steps_down_must_be_larger():
    sci = straight(10, 1.0)
    for size, expected in ((5.0, []), (8.0, [5])):
        down = sci.copy()
        down[:, 5:] -= size * READNOISE
        assert groups(find(down)) == expected
    up = sci.copy()
    up[:, 5:] += 5.0 * READNOISE
    assert groups(find(up)) == [5]


def test_a_falling_ramp_has_no_hits():
    assert groups(find(straight(10, -20.0))) == []


def test_pixels_that_have_no_noise_model():
    sci = straight(8, shape=(1, 4))
    sci[:, 4:] += 1000
    gain, readnoise = np.array([[GAIN, np.nan, -1.0, GAIN]]), np.array([[READNOISE, READNOISE, READNOISE, np.nan]])
    found = find(sci, gain=gain, readnoise=readnoise)
    assert (found[0, 4, 0] > 0).tolist() == [True, False, False, False]
    sci[0, 2] = np.nan
    assert (find(sci)[0, :, 0, 0] > 0).tolist() == [False] * 4 + [True] + [False] * 3


def test_what_is_noted():
    sci = straight(8, shape=(1, 3))
    for x, size in enumerate((60.0, 500.0, 50_000.0)):
        sci[0, 5:, 0, x] += size
    seeds, large, very_large = (np.zeros((1, 1, 3), np.uint8) for _ in range(3))
    found = find(sci, seeds=seeds, large=large, very_large=very_large, sizes=(400 * GAIN, 40_000 * GAIN))
    assert (found[0, 5] > 0).all()
    assert seeds.tolist() == [[[0, 1 << 4, 0]]]
    assert large.tolist() == [[[0, 1 << 4, 1 << 4]]] and very_large.tolist() == [[[0, 0, 1 << 4]]]


def test_same_for_any_number_of_threads():
    sci = ramp(np.random.default_rng(5), (2, 6, 40, 150), hits=0.1)
    found = find(sci)
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        np.testing.assert_array_equal(find(sci), found)
    finally:
        numba.set_num_threads(before)
    assert found.any()


# --- the step ------------------------------------------------------------------------------------------------------------


def test_step(tmp_path):
    sci = straight(8, shape=(9, 9))
    sci[0, 3:, 4, 4] += 500
    exposure = make.ramp_exposure(sci, NFRAMES=1)
    planes = {"gain": np.full((9, 9), GAIN, np.float32), "readnoise": np.full((9, 9), READNOISE, np.float32)}
    refs = make.references(tmp_path, exposure, **planes)
    found = jump.apply(exposure, refs, detection="likelihood")
    plus = np.zeros((9, 9), bool)
    plus[4, 3:6] = plus[3:6, 4] = True
    np.testing.assert_array_equal(found.groupdq[0, 3] == JUMP_DET, plus)
    assert np.count_nonzero(found.groupdq) == 5 and found.header["PRIMECRS"] > 0
    quiet = jump.apply(make.ramp_exposure(sci), refs, detection="likelihood", likelihood_threshold=60.0)
    assert not quiet.groupdq.any()
