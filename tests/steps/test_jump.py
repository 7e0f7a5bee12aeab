"""jump: against a plain restatement, against hits of known size, and bit for bit against the peer."""

import json
from types import SimpleNamespace

import numba
import numpy as np
import pytest

import make
from jwcal.kernels.columns.sort_columns import sort_columns
from jwcal.kernels.jumps.differences import Seen
from jwcal.kernels.jumps.quiet_ramps import find_quiet
from jwcal.model import ramp as walk
from jwcal.run import loop
from jwcal.settings.chains import Step
from jwcal.settings.recipe import Recipe
from jwcal.steps import jump
from jwcal.vocabulary.dq import DO_NOT_USE, JUMP_DET, NO_GAIN_VALUE, SATURATED
from jwcal.vocabulary.errors import ReferenceError, Skip
from peer import needs_peer, peer_python

GAIN, READNOISE = 1.8, 9.0  # electrons/DN; DN of a difference of two frames
REFERENCES = {"gain": GAIN, "readnoise": READNOISE}


def ramp(rng, shape, rate=40.0, nframes=1, hits=0.0):
    """Ramps (DN) with photon and read noise, and a share of groups that cosmic rays of 10 to 10,000 DN come before."""
    steps = rng.poisson(rate * GAIN, shape) / GAIN
    steps += (rng.random(shape) < hits) * 10 ** rng.uniform(1, 4, shape)
    reads = rng.normal(0, READNOISE / np.sqrt(2 * nframes), shape)
    return (1000 + np.cumsum(steps, axis=1) + reads).astype(np.float32)


def messy(rng, shape, nframes=1):
    """A ramp with all that can go wrong in it, its flags, its gain and its read noise."""
    ny, nx = shape[2:]
    sci = ramp(rng, shape, 40.0, nframes, hits=0.06)
    sci[rng.random(shape) < 0.01] = np.nan
    groupdq = ((rng.random(shape) < 0.02) * DO_NOT_USE).astype(np.uint8)
    full = rng.integers(0, 4 * shape[1], (shape[0], 1, ny, nx))
    groupdq |= ((np.arange(shape[1])[None, :, None, None] >= full) * SATURATED).astype(np.uint8)
    groupdq |= ((rng.random(shape) < 0.01) * JUMP_DET).astype(np.uint8)
    sci[:, :, : ny // 8] = np.round(sci[:, :, : ny // 8] / 50) * 50  # equal differences
    gain, readnoise = (np.full((ny, nx), v, np.float32) for v in (GAIN, READNOISE))
    gain *= rng.uniform(0.9, 1.1, (ny, nx)).astype(np.float32)
    for plane, values in ((gain, (0, -1, np.nan)), (readnoise, (0, np.nan))):
        for value in values:
            plane[rng.random((ny, nx)) < 0.01] = value
    return sci, groupdq, gain, readnoise


def flag(tmp_path, sci, groupdq=None, gain=None, readnoise=None, nframes=1, **parameters):
    """Run the step."""
    exposure = make.ramp_exposure(sci, NFRAMES=nframes)
    if groupdq is not None:
        exposure.groupdq = np.array(groupdq)
    ny, nx = exposure.sci.shape[2:]
    gain = np.full((ny, nx), GAIN, np.float32) if gain is None else gain
    readnoise = np.full((ny, nx), READNOISE, np.float32) if readnoise is None else readnoise
    return jump.apply(exposure, make.references(tmp_path, exposure, gain=gain, readnoise=readnoise), **parameters)


# --- against a restatement ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 7, 9, 16, 33, 100])
def test_columns_are_sorted(n):
    table = np.random.default_rng(n).normal(size=(n, 50)).astype(np.float32)
    expected = np.sort(table, axis=0)
    sort_columns(table, n)
    np.testing.assert_array_equal(table, expected)


@pytest.mark.parametrize("magnitude", [False, True])
@pytest.mark.parametrize("number", [3, 5, 9, 40, 300])
def test_quiet_ramps_are_quiet(number, magnitude):
    """No column with a difference that sticks out is called quiet, and nearly all others are."""
    rng = np.random.default_rng(number)
    noise2, rate = 10 ** rng.uniform(1, 3, 3000), 10 ** rng.uniform(-1, 3, 3000)
    d = rng.normal(rate, np.sqrt(rate + noise2), (number, 3000)).astype(np.float32)
    d[rng.random(d.shape) < 0.03 / np.sqrt(number)] *= 5
    d[rng.random(d.shape) < 0.1] = np.nan
    d[:, :9], d[:, 9:300] = np.nan, np.round(d[:, 9:300] / 40) * 40
    quiet = np.empty(3000, np.uint8)
    looked_at = np.abs(d) if magnitude else d
    n, total = np.isfinite(d).sum(axis=0, dtype=np.int32), np.nansum(looked_at, axis=0)
    low, high = np.nanmin(looked_at, axis=0, initial=np.inf), np.nanmax(looked_at, axis=0, initial=-np.inf)
    find_quiet(d, Seen(n, total, low, high), noise2, 4.0, np.inf, magnitude, quiet)
    s = np.sort(looked_at, axis=0).astype(float)
    sticks_out = np.zeros(3000, bool)
    for x in range(9, 3000):
        column = s[:, x][np.isfinite(s[:, x])]
        rest = column[column < column.max(initial=0)] if magnitude else column
        if rest.size:
            sticks_out[x] = np.abs(column - np.median(rest)).max() > 4 * np.sqrt(abs(np.median(rest)) + noise2[x])
    assert sticks_out.any()
    assert not quiet[sticks_out].any()
    if number > 5:
        assert quiet[~sticks_out].mean() > 0.85


def test_all_at_once_is_the_formula(tmp_path):
    sci = ramp(np.random.default_rng(1), (2, 14, 32, 40), nframes=4, hits=0.03)
    got = flag(tmp_path, sci, nframes=4, flag_4_neighbors=False).groupdq
    d = np.diff(sci * np.float32(GAIN), axis=1).astype(float)
    median = np.median(d, axis=(0, 1))
    sigma = np.sqrt(np.abs(median) + (np.float32(READNOISE) * np.float32(GAIN)) ** 2 / 4)
    np.testing.assert_array_equal(got[:, 1:] == JUMP_DET, np.abs(d - median) / sigma > 4)
    assert not got[:, 0].any()


def iterate(d):
    """The largest of the magnitudes, again and again, for one pixel."""
    d, flags = np.abs(d), np.zeros(d.size, bool)
    while (n := (~flags).sum()) >= 2:
        rest = np.sort(d[~flags])
        median = np.median(rest[:-1]) if n >= 4 else rest[1] if n == 3 else rest[0]
        ratio = np.where(flags, -1, np.abs(d - median)) / np.sqrt(median + (READNOISE * GAIN) ** 2)
        if ratio.max() <= {2: 6.0, 3: 5.0}.get(n, 4.0):
            break
        flags[ratio.argmax()] = True
    return flags


@pytest.mark.parametrize("shape", [(1, 3, 40, 40), (1, 4, 40, 40), (2, 5, 30, 30), (1, 10, 30, 30)])
def test_one_after_the_other_is_the_algorithm(tmp_path, shape):
    sci = ramp(np.random.default_rng(2), shape, hits=0.08)
    got = flag(tmp_path, sci, flag_4_neighbors=False).groupdq[:, 1:] == JUMP_DET
    d = np.diff(sci * np.float32(GAIN), axis=1)
    expected = np.apply_along_axis(iterate, 0, d.reshape(-1, *shape[2:])).reshape(d.shape)
    assert expected.any()
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("only_use_ints", [True, False])
def test_clipping_is_astropys(tmp_path, only_use_ints):
    from astropy.stats import sigma_clip

    sci = ramp(np.random.default_rng(3), (40, 4, 10, 12), hits=0.02)
    found = flag(tmp_path, sci, flag_4_neighbors=False, minimum_sigclip_groups=30, only_use_ints=only_use_ints)
    d = np.diff(sci * np.float32(GAIN), axis=1)
    expected = sigma_clip(d, sigma=4, axis=0 if only_use_ints else (0, 1)).mask
    assert expected.any()
    np.testing.assert_array_equal(found.groupdq[:, 1:] == JUMP_DET, expected)


def test_a_group_that_is_clipped_everywhere_is_no_cosmic_ray(tmp_path):
    sci = np.cumsum(np.random.default_rng(4).normal(100, 1, (50, 4, 8, 8)), axis=1)
    sci[7, 2:] += 5000
    found = flag(tmp_path, sci, flag_4_neighbors=False, minimum_sigclip_groups=30)
    assert not found.groupdq[7, 2].any()


def one_hit(size, shape=(1, 8, 9, 9), group=3):
    """Straight ramps with one hit in the middle pixel."""
    sci = np.broadcast_to(np.arange(shape[1], dtype=np.float32)[:, None, None] * 50, shape).copy()
    sci[:, group:, shape[2] // 2, shape[3] // 2] += size
    return sci


@pytest.mark.parametrize(("size", "count"), [(5.0, 0), (100.0, 1), (500.0, 5), (50_000.0, 1)])
def test_neighbours(tmp_path, size, count):
    sci = one_hit(size)
    got = flag(tmp_path, sci).groupdq[0, 3] == JUMP_DET
    assert got.sum() == count
    if count == 5:
        assert got[4, 3:6].all() and got[3:6, 4].all()
    assert flag(tmp_path, sci, flag_4_neighbors=False).groupdq[0, 3].astype(bool).sum() == min(count, 1)


def test_neighbours_at_the_edge_and_in_bad_groups(tmp_path):
    sci = one_hit(500.0, (1, 8, 1, 1))
    sci = np.pad(sci, ((0, 0), (0, 0), (0, 4), (0, 4)), mode="wrap")  # every pixel is hit
    sci[:, :, 0, 1] = sci[:, :, 1, 0] = np.arange(8) * 50
    groupdq = np.zeros(sci.shape, np.uint8)
    groupdq[0, 3:, 0, 1] = SATURATED
    got = flag(tmp_path, sci, groupdq).groupdq[0, 3]
    assert got[0, 1] == SATURATED and got[1, 0] == JUMP_DET and got[0, 0] == JUMP_DET


@pytest.mark.parametrize(("seconds", "groups"), [(0.0, 1), (10.0, 1), (25.0, 3), (1000.0, 5)])
def test_groups_after_a_large_jump(tmp_path, seconds, groups):
    found = flag(tmp_path, one_hit(400.0), flag_4_neighbors=False, after_jump_flag_dn1=300.0, after_jump_flag_time1=seconds)
    np.testing.assert_array_equal(np.flatnonzero(found.groupdq[0, :, 4, 4]), np.arange(3, 3 + groups))
    small = flag(tmp_path, one_hit(200.0), flag_4_neighbors=False, after_jump_flag_dn1=300.0, after_jump_flag_time1=seconds)
    assert np.count_nonzero(small.groupdq[0, :, 4, 4]) == 1


def test_no_gain(tmp_path):
    gain = np.full((9, 9), GAIN, np.float32)
    gain[0, :3] = 0, -1, np.nan
    found = flag(tmp_path, one_hit(400.0), gain=gain)
    assert (found.pixeldq[0, :3] == NO_GAIN_VALUE | DO_NOT_USE).all() and np.count_nonzero(found.pixeldq) == 3


# --- against truth -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 7, 128, 128), (1, 20, 128, 64), (4, 5, 64, 64)])
def test_hits_are_found_and_noise_is_not(tmp_path, shape):
    rng = np.random.default_rng(5)
    quiet = ramp(rng, shape)
    clean = flag(tmp_path, quiet, flag_4_neighbors=False).groupdq[:, 1:] != 0
    assert clean.mean() < 2e-3  # a Gaussian has 6e-5 beyond 4 sigma; the median of few differences widens it
    sigma = np.sqrt(40 * GAIN + (READNOISE * GAIN) ** 2) / GAIN
    hit = rng.random(shape) < 0.02
    hit[:, 0] = False
    for size, least, most in ((2, 0.0, 0.1), (8, 0.97, 1.0), (20, 0.999, 1.0)):
        sci = (quiet + np.cumsum(hit * size * sigma, axis=1)).astype(np.float32)
        share = (flag(tmp_path, sci, flag_4_neighbors=False).groupdq != 0)[hit].mean()
        assert least <= share <= most, f"{share:.4f} of the {size} sigma hits are found"


def test_rate_of_hits_is_recorded(tmp_path):
    found = flag(tmp_path, one_hit(400.0))
    assert found.header["PRIMECRS"] == pytest.approx(1000 / (81 * found.header["TGROUP"] * 7))


# --- as a step ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2, 6, 40, 50), (1, 14, 40, 50)])
def test_same_bytes_for_any_number_of_threads_and_any_strips(tmp_path, monkeypatch, shape):
    sci, groupdq, gain, readnoise = messy(np.random.default_rng(6), shape)
    more = {"after_jump_flag_dn1": 10.0, "after_jump_flag_time1": 30.0}
    results = []
    for threads, rows in ((1, 64), (2, 64), (2, 3)):
        numba.set_num_threads(threads)
        monkeypatch.setattr(jump, "ROWS", rows)
        results.append(flag(tmp_path, sci, groupdq, gain, readnoise, **more).groupdq)
        np.testing.assert_array_equal(results[-1], results[0])

    exposure = make.ramp_exposure(sci)
    exposure.groupdq = groupdq.copy()
    refs = make.references(tmp_path, exposure, gain=gain, readnoise=readnoise)
    dead = exposure.dead_groups
    for first in range(0, 40, 7):
        rows, inner = slice(max(0, first - jump.HALO), min(40, first + 7 + jump.HALO)), slice(first, min(40, first + 7))
        pixels = type(exposure.pixels[0])(sci=sci[:, :, rows], groupdq=groupdq[:, :, rows].copy(), dq=exposure.pixeldq[rows])
        strip = exposure.block(pixels, rows=rows)
        strip.inner, strip.dead_groups = inner, dead
        jump.apply(strip, refs.strip(rows), **more)
        part = slice(inner.start - rows.start, inner.stop - rows.start)
        np.testing.assert_array_equal(strip.groupdq[:, :, part], results[0][:, :, inner])
    whole = flag(tmp_path, sci, groupdq, gain, readnoise, **more)
    assert exposure.header["PRIMECRS"] == pytest.approx(whole.header["PRIMECRS"])


def test_rate_of_hits_of_a_ramp_in_pieces(tmp_path, monkeypatch):
    """The products tell the hits of all strips, not those of the first one."""
    sci, rates = ramp(np.random.default_rng(8), (2, 6, 40, 50), hits=0.05), []
    files = {kind: make.reference_file(tmp_path / f"{kind}.fits", kind, np.full((40, 50), v)) for kind, v in REFERENCES.items()}
    recipe = Recipe("detector1", [Step("jump"), Step("ramp_fit")], references=files)
    for large in (walk.LARGE, 2**15):
        monkeypatch.setattr(walk, "LARGE", large)
        exposure = make.ramp_exposure(sci)
        exposure.raw = SimpleNamespace(shape=sci.shape, read=lambda ints, *_: (sci[ints].copy(), np.zeros(sci[ints].shape, np.uint8)))
        exposure.sci = exposure.groupdq = None
        rates.append([product.header["PRIMECRS"] for product in loop.run(recipe, exposure, scratch=tmp_path)])
    assert rates[0][0] > 0
    np.testing.assert_allclose(rates[1], rates[0])


@pytest.mark.parametrize("ngroups", [1, 2])
def test_too_few_groups(tmp_path, ngroups):
    with pytest.raises(Skip, match="too few"):
        flag(tmp_path, (1, ngroups, 4, 4))


def test_too_few_usable_groups(tmp_path):
    groupdq = np.zeros((1, 5, 4, 4), np.uint8)
    groupdq[:, [0, 3, 4]] = DO_NOT_USE
    with pytest.raises(Skip, match="2 usable groups"):
        flag(tmp_path, (1, 5, 4, 4), groupdq)
    with pytest.raises(Skip, match="minimum_groups = 7"):
        flag(tmp_path, (1, 5, 4, 4), minimum_groups=7)


def test_reference_of_the_wrong_shape(tmp_path):
    with pytest.raises(ReferenceError, match="gain"):
        flag(tmp_path, (1, 5, 4, 4), gain=np.ones((3, 4), np.float32))


# --- against the peer --------------------------------------------------------------------------------------------------

PEER = """
import json
from types import SimpleNamespace
from stcal.jump.jump import detect_jumps_data
from stcal.jump.jump_class import JumpData
from stdatamodels.jwst.datamodels import dqflags

g = globals()
for n, p in enumerate(json.loads(str(parameters))):
    sci, groupdq, gain, readnoise = (g[f"{name}{n}"] for name in ("sci", "groupdq", "gain", "readnoise"))
    ramp = SimpleNamespace(data=sci, groupdq=groupdq, pixeldq=np.zeros(gain.shape, np.uint32),
                           meta=SimpleNamespace(exposure=SimpleNamespace(nframes=p["nframes"])))
    data = JumpData(ramp, gain, readnoise, dqflags.pixel)
    data.set_detection_settings(4.0, 6.0, 5.0, 1000.0, 10.0, p.get("flag_4_neighbors", True))
    data.set_after_jump(*(p.get(k, 0) for k in ("dn1", "n1", "dn2", "n2")))
    data.min_diffs_single_pass = 10
    data.set_sigma_clipping_info(3, p.get("minimum_sigclip_groups", 100), p.get("only_use_ints", True))
    data.max_cores = "none"
    out[f"groupdq{n}"], out[f"pixeldq{n}"], out[f"found{n}"], _ = detect_jumps_data(data)
"""

CASES = [
    ((1, 3, 32, 32), {}),
    ((3, 3, 32, 32), {}),
    ((1, 4, 32, 32), {}),
    ((1, 5, 64, 64), {"nframes": 4}),
    ((3, 5, 32, 32), {"nframes": 8, "flag_4_neighbors": False}),
    ((1, 10, 48, 48), {}),
    ((1, 12, 48, 48), {"nframes": 4}),
    ((3, 12, 32, 32), {}),
    ((2, 9, 32, 150), {"dn1": 10.0, "n1": 2, "dn2": 1000.0, "n2": 5}),
    ((1, 15, 32, 150), {"dn1": 1000.0, "n1": 90, "dn2": 0.0, "n2": 0}),
    ((12, 4, 20, 20), {"minimum_sigclip_groups": 10}),
    ((12, 4, 20, 20), {"minimum_sigclip_groups": 10, "only_use_ints": False}),
    ((40, 3, 20, 20), {}),
]


@pytest.mark.parity
@needs_peer
def test_peer(tmp_path):
    arrays, parameters = {}, []
    for n, (shape, given) in enumerate(CASES):
        given = {"nframes": 1, **given}
        parameters.append(given)
        rng = np.random.default_rng(100 + n)
        values = messy(rng, shape, given["nframes"])
        if n % 3 == 2 and shape[1] > 4:
            values[1][:, 0] |= DO_NOT_USE  # a group that is bad everywhere changes the method
            values[1][0, -1] |= DO_NOT_USE
        arrays |= {f"{name}{n}": v for name, v in zip(("sci", "groupdq", "gain", "readnoise"), values, strict=True)}
    theirs = peer_python(PEER, parameters=json.dumps(parameters), **arrays)
    for n, given in enumerate(parameters):
        time = make.ramp_exposure((1, 1, 1, 1), NFRAMES=given["nframes"]).header["TGROUP"]
        mine = {k: v for k, v in given.items() if k not in ("dn1", "n1", "dn2", "n2")}
        for i in "12":
            mine[f"after_jump_flag_dn{i}"] = given.get(f"dn{i}", 0.0)
            mine[f"after_jump_flag_time{i}"] = given.get(f"n{i}", 0) * time * 1.000001
        found = flag(tmp_path, *(arrays[f"{name}{n}"] for name in ("sci", "groupdq", "gain", "readnoise")), **mine)
        np.testing.assert_array_equal(found.groupdq, theirs[f"groupdq{n}"], err_msg=f"case {n}: {CASES[n]}")
        np.testing.assert_array_equal(found.pixeldq, theirs[f"pixeldq{n}"])
        assert np.count_nonzero(theirs[f"groupdq{n}"] & JUMP_DET) > 20
        shape = CASES[n][0]
        groups = shape[0] * shape[1] - int(found.dead_groups.sum()) - shape[0]
        rate = 1000 * int(theirs[f"found{n}"]) / (time * groups * shape[2] * shape[3])
        assert found.header["PRIMECRS"] == pytest.approx(rate)
