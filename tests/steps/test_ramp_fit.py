"""ramp_fit: against a plain restatement, against known rates, and against the peer."""

import json

import numba
import numpy as np
import pytest

import make
from jwcal.model.exposure import Pixels
from jwcal.steps import ramp_fit
from jwcal.vocabulary.dq import AD_FLOOR, CHARGELOSS, DO_NOT_USE, JUMP_DET, NO_GAIN_VALUE, PERSISTENCE, SATURATED
from jwcal.vocabulary.errors import InputError, ReferenceError
from peer import needs_peer, peer_python

GAIN, READNOISE = 1.8, 9.0  # electrons/DN; DN of a difference of two frames
PLANES = ("sci", "err", "dq", "var_poisson", "var_rnoise")


def ramp(rng, shape, rate=10.0, nframes=1, time=10.73677, zeroframe=False):
    """Ramps (DN) of `rate` (DN/s) with photon and read noise, groups of frames without a gap; and their first frames if asked."""
    nints, ngroups, ny, nx = shape
    frames = rng.poisson(np.broadcast_to(rate * time / nframes * GAIN, (nints, ngroups * nframes, ny, nx))) / GAIN
    frames = np.cumsum(frames, axis=1) + rng.normal(0, READNOISE / np.sqrt(2), frames.shape)
    groups = frames.reshape(nints, ngroups, nframes, ny, nx).mean(axis=2).astype(np.float32)
    return (groups, frames[:, 0].astype(np.float32)) if zeroframe else groups


def flags(rng, shape):
    """Flags of every kind, in nearly every pattern."""
    groupdq = np.zeros(shape, np.uint8)
    share = rng.choice([0.0, 0.03, 0.3], (shape[0], 1, *shape[2:]), p=[0.4, 0.3, 0.3])
    for bit, often in ((JUMP_DET, 1.5), (DO_NOT_USE, 1.0), (PERSISTENCE, 0.3), (AD_FLOOR | DO_NOT_USE, 0.5)):
        groupdq |= ((rng.random(shape) < share * often) * bit).astype(np.uint8)
    full = rng.integers(0, 3 * shape[1], (shape[0], 1, *shape[2:]))
    groupdq |= ((np.arange(shape[1])[None, :, None, None] >= full) * SATURATED).astype(np.uint8)
    return groupdq


def messy(rng, shape, nframes=1):
    """Ramps, flags, gain and read noise with all that can go wrong in them."""
    ny, nx = shape[2:]
    sci = ramp(rng, shape, 10 ** rng.uniform(-1, 3, (ny, nx)), nframes)
    sci += np.cumsum(-50 * (rng.random(shape) < 0.02), axis=1, dtype=np.float32)
    groupdq = flags(rng, shape)
    sci[rng.random(shape) < 0.003] = np.nan
    gain, readnoise = (np.full((ny, nx), v, np.float32) for v in (GAIN, READNOISE))
    for plane, values in ((gain, (0, -1, np.nan)), (readnoise, (0, np.nan))):
        for value in values:
            plane[rng.random((ny, nx)) < 0.01] = value
    pixeldq = (rng.choice([0, DO_NOT_USE, 1 << 11], (ny, nx), p=[0.9, 0.05, 0.05])).astype(np.uint32)
    return {"sci": sci, "groupdq": groupdq, "pixeldq": pixeldq, "gain": gain, "readnoise": readnoise}


def fit(tmp_path, sci, groupdq=None, pixeldq=None, gain=None, readnoise=None, zeroframe=None, dark=None, keywords=None, **parameters):
    """Run the step."""
    exposure = make.ramp_exposure(sci, zeroframe=zeroframe, **(keywords or {}))
    if groupdq is not None:
        exposure.groupdq = np.array(groupdq)
    if pixeldq is not None:
        exposure.pixeldq = np.array(pixeldq)
    if dark is not None:
        exposure.extra["AVDRKCUR"] = np.array(dark, np.float32)
    ny, nx = exposure.sci.shape[2:]
    gain = np.full((ny, nx), GAIN, np.float32) if gain is None else gain
    readnoise = np.full((ny, nx), READNOISE, np.float32) if readnoise is None else readnoise
    return ramp_fit.apply(exposure, make.references(tmp_path, exposure, gain=gain, readnoise=readnoise), **parameters)


# --- against a restatement ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signal", [0.0, 3.0, 100.0, 1000.0])
@pytest.mark.parametrize("ngroups", [2, 3, 5, 12])
def test_slope_is_the_weighted_fit(tmp_path, ngroups, signal):
    sci = ramp(np.random.default_rng(1), (1, ngroups, 20, 20), signal)
    rate, ints = fit(tmp_path, sci)
    t, g, y = make.ramp_exposure((1, 1, 1, 1)).header["TGROUP"], np.arange(ngroups), sci[0].reshape(ngroups, -1).astype(float)
    noise = READNOISE * GAIN / np.sqrt(2)
    charge = (y[-1] - y[0]) * GAIN
    snr = np.maximum(charge, 0) / np.sqrt(np.maximum(noise**2 + charge, 1e-9))
    power = np.array([0, 0.4, 1, 3, 6, 10])[np.searchsorted([5, 10, 20, 50, 100], snr, side="right")]
    w = np.abs(2 * g / (ngroups - 1) - 1)[:, None] ** power
    slope = [np.polyfit(g, y[:, k], 1, w=np.sqrt(w[:, k]))[0] / t for k in range(y.shape[1])]
    np.testing.assert_allclose(rate.sci.ravel(), slope, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(rate.sci, ints.sci[0])
    photons = np.maximum(np.median(np.diff(y, axis=0), axis=0) / t, 0)
    np.testing.assert_allclose(rate.var_poisson.ravel(), photons / (t * GAIN * (ngroups - 1)), rtol=1e-5)
    np.testing.assert_allclose(rate.var_rnoise, 12 * (noise / t / GAIN) ** 2 / (ngroups**3 - ngroups), rtol=1e-6)
    np.testing.assert_allclose(rate.err**2, rate.var_poisson + rate.var_rnoise, rtol=1e-6)


def test_segments_and_integrations_are_weighted_by_read_noise(tmp_path):
    rng = np.random.default_rng(2)
    sci, groupdq = ramp(rng, (2, 9, 8, 8)), np.zeros((2, 9, 8, 8), np.uint8)
    sci[1, 5:] += 5000
    groupdq[1, 5] = JUMP_DET
    rate, ints = fit(tmp_path, sci, groupdq)
    parts = [(fit(tmp_path, sci[i : i + 1, a:b])[0].sci, (b - a) ** 3 - (b - a)) for i, a, b in ((0, 0, 9), (1, 0, 5), (1, 5, 9))]
    mean = [sum(s * w for s, w in group) / sum(w for _, w in group) for group in (parts, parts[1:])]
    np.testing.assert_allclose(rate.sci, mean[0], rtol=2e-6)
    np.testing.assert_allclose(ints.sci[1], mean[1], rtol=2e-6)
    assert (ints.dq[1] == JUMP_DET).all() and not ints.dq[0].any() and (rate.dq == JUMP_DET).all()


def test_plain_ramps_are_fitted_as_all_are(tmp_path):
    """Groups that are bad everywhere are left out beforehand; where one pixel has them, each ramp is cut into segments."""
    sci = ramp(np.random.default_rng(3), (3, 9, 6, 700), 30.0)
    sci[0, 4, 2, 5:9] = np.nan
    groupdq = np.zeros(sci.shape, np.uint8)
    groupdq[1:, 0], groupdq[2, 1] = DO_NOT_USE, DO_NOT_USE
    plain = fit(tmp_path, sci, groupdq)
    groupdq[1:, :2, :, 0] = 0
    cut = fit(tmp_path, sci, groupdq)
    for ours, theirs in zip(plain, cut, strict=True):
        for name in ("sci", "err", "dq", "var_poisson", "var_rnoise"):
            one, other = getattr(ours, name)[..., 1:], getattr(theirs, name)[..., 1:]
            assert one.tobytes() == other.tobytes(), name


def test_dark_current_adds_noise(tmp_path):
    sci = ramp(np.random.default_rng(3), (1, 6, 8, 8))
    plain, dark = fit(tmp_path, sci)[0], fit(tmp_path, sci, dark=np.full((8, 8), 5.0))[0]
    t = make.ramp_exposure((1, 1, 1, 1)).header["TGROUP"]
    np.testing.assert_allclose(dark.var_poisson - plain.var_poisson, 5.0 / (t * GAIN * 5), rtol=1e-4)
    np.testing.assert_array_equal(dark.sci, plain.sci)


def test_one_good_group(tmp_path):
    sci, groupdq = np.full((1, 4, 1, 3), 100.0), np.zeros((1, 4, 1, 3), np.uint8)
    groupdq[0, 1:, 0, 0] = groupdq[0, :, 0, 1] = SATURATED
    groupdq[0, [0, 1, 3], 0, 2] = DO_NOT_USE
    zeroframe = np.array([[[20.0, 30.0, 0.0]]])
    keywords = {"NFRAMES": 4}
    given = fit(tmp_path, sci, groupdq, zeroframe=zeroframe, keywords=keywords)[0]
    assert np.isnan(given.sci).all() and (given.dq & DO_NOT_USE).all() and not given.err.any()
    kept = fit(tmp_path, sci, groupdq, zeroframe=zeroframe, keywords=keywords, suppress_one_group=False)[0]
    frame = make.DEFAULTS["TFRAME"]
    np.testing.assert_allclose(kept.sci[0], [100 / (2.5 * frame), 30 / frame, 100 / (4 * frame)], rtol=1e-6)
    np.testing.assert_array_equal(kept.dq[0], [SATURATED, SATURATED, 0])


def test_groups_that_are_left_out(tmp_path):
    sci = ramp(np.random.default_rng(4), (2, 8, 6, 6))
    found, expected = fit(tmp_path, sci, firstgroup=2, lastgroup=6), fit(tmp_path, sci[:, 2:7])
    for a, b in zip(found, expected, strict=True):
        for name in PLANES:
            np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-5)
    np.testing.assert_array_equal(fit(tmp_path, sci, firstgroup=6, lastgroup=2)[0].sci, fit(tmp_path, sci)[0].sci)


def test_nothing_measured_is_not_zero(tmp_path):
    groupdq = np.zeros((2, 3, 1, 2), np.uint8)
    groupdq[:, 0], groupdq[:, 1:] = DO_NOT_USE, JUMP_DET
    groupdq[1, :, 0, 1] = 0
    rate, ints = fit(tmp_path, ramp(np.random.default_rng(5), groupdq.shape), groupdq)
    assert np.isnan(rate.sci[0, 0]) and rate.dq[0, 0] == DO_NOT_USE | JUMP_DET
    assert np.isnan(ints.sci[0]).all() and np.isfinite(ints.sci[1, 0, 1]) and rate.dq[0, 1] == JUMP_DET


def test_charge_loss_keeps_its_reads_in_the_noise(tmp_path):
    sci, groupdq = ramp(np.random.default_rng(6), (2, 8, 6, 6)), np.zeros((2, 8, 6, 6), np.uint8)
    groupdq[:, 5:, :3] = CHARGELOSS | DO_NOT_USE
    rate, ints = fit(tmp_path, sci, groupdq)
    whole, short = fit(tmp_path, sci), fit(tmp_path, sci[:, :5])
    np.testing.assert_allclose(rate.var_rnoise[:3], whole[0].var_rnoise[:3], rtol=1e-6)
    np.testing.assert_allclose(ints.var_rnoise[:, :3], whole[1].var_rnoise[:, :3], rtol=1e-6)
    np.testing.assert_allclose(rate.sci[:3], short[0].sci[:3], rtol=1e-6)
    np.testing.assert_allclose(rate.err[:3], short[0].err[:3], rtol=1e-6)


def one_likelihood(d, alpha, beta):
    """Generalized least squares with the whole covariance matrix: the rate and its error."""
    inverse = np.linalg.inv(np.diag(alpha) + np.diag(beta, 1) + np.diag(beta, -1))
    return (inverse @ d).sum() / inverse.sum(), inverse.sum() ** -0.5


@pytest.mark.parametrize(("ngroups", "nframes", "gap"), [(4, 1, 0), (8, 4, 1), (30, 1, 3)])
def test_likelihood_is_the_fit_with_the_covariance_matrix(tmp_path, ngroups, nframes, gap):
    keywords = {"NFRAMES": nframes, "GROUPGAP": gap}
    time = 10.73677 * (nframes + gap)
    sci = ramp(np.random.default_rng(14), (1, ngroups, 6, 6), 30.0, nframes, time)
    rate = fit(tmp_path, sci, keywords=keywords, algorithm="LIKELY")[0]
    tau = (nframes + 1) * (2 * nframes + 1) / (6 * nframes) * 10.73677  # paper I, equation 11, from the group's start
    mean, n = (nframes + 1) / 2 * 10.73677, ngroups - 1
    for y, x in np.ndindex(6, 6):
        d = np.diff(sci[0, :, y, x].astype(float)) / time
        reads, guess = READNOISE**2 / 2 / nframes / time**2, np.median(d)
        for _ in range(2):  # the noise is taken from the median, then from the rate with that noise
            photons = guess / GAIN / time**2
            alpha, beta = photons * (time + 2 * tau - 2 * mean) + 2 * reads, photons * (mean - tau) - reads
            guess, err = one_likelihood(d, np.full(n, alpha), np.full(n - 1, beta))
        assert rate.sci[y, x] == pytest.approx(guess, rel=1e-5) and rate.err[y, x] == pytest.approx(err, rel=1e-5)
        assert rate.var_poisson[y, x] + rate.var_rnoise[y, x] == pytest.approx(err**2, rel=1e-5)


# --- against truth -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["OLS_C", "LIKELY"])
@pytest.mark.parametrize("truth", [0.5, 20.0, 2000.0])
def test_rates_are_unbiased_and_errors_are_true(tmp_path, truth, algorithm):
    shape = (2, 8, 128, 64)
    sci, groupdq = ramp(np.random.default_rng(7), shape, truth), np.zeros(shape, np.uint8)
    hit = np.random.default_rng(8).random(shape) < 0.05
    hit[:, 0] = False
    sci += np.cumsum(hit * 1000.0, axis=1).astype(np.float32)
    groupdq[hit] = JUMP_DET
    rate = fit(tmp_path, sci, groupdq, algorithm=algorithm)[0]
    pull = (rate.sci - truth) / np.hypot(rate.err, 1e-9)
    expected = np.sqrt(rate.var_rnoise + truth / (GAIN * shape[0] * shape[1] * 10.73677))
    assert abs(np.mean((rate.sci - truth) / expected)) < 6 / np.sqrt(pull.size)
    assert 0.85 < pull.std() < 1.2


@pytest.mark.parametrize(("nframes", "spoiled"), [(1, 1), (4, 2)])
def test_likelihood_finds_jumps(tmp_path, nframes, spoiled):
    shape, keywords = (1, 9, 64, 64), {"NFRAMES": nframes}
    sci = ramp(np.random.default_rng(12), shape, 5.0, nframes, 10.73677 * nframes)
    quiet = fit(tmp_path, sci, keywords=keywords, algorithm="LIKELY")[0]
    assert (quiet.dq != 0).mean() < 1e-3  # 8 differences beyond 4.5 sigma: 5e-5 if all were Gaussian
    sci[:, 4, :32] += 250 / spoiled  # in the middle of the frames of group 4 the hit spoils the difference after it, too
    sci[:, 5:, :32] += 250
    found = fit(tmp_path, sci, keywords=keywords, algorithm="LIKELY")[0]
    assert (found.dq[:32] == JUMP_DET).mean() > 0.99 and np.array_equal(found.sci[32:], quiet.sci[32:])
    assert abs(np.mean(found.sci[:32]) - 5.0) < 6 * np.mean(found.err[:32]) / np.sqrt(32 * 64)


def test_zero_frame_is_a_group_of_its_own(tmp_path):
    keywords, truth = {"NFRAMES": 4, "GROUPGAP": 0}, 50.0
    sci, zeroframe = ramp(np.random.default_rng(13), (1, 5, 64, 64), truth, 4, 4 * 10.73677, zeroframe=True)
    groupdq = np.zeros(sci.shape, np.uint8)
    without = fit(tmp_path, sci, groupdq, keywords=keywords, algorithm="LIKELY")[0]
    found = fit(tmp_path, sci, groupdq, zeroframe=zeroframe, keywords=keywords, algorithm="LIKELY")[0]
    assert found.err.mean() < 0.99 * without.err.mean() and 0.9 < ((found.sci - truth) / found.err).std() < 1.1
    absent = fit(tmp_path, sci, groupdq, zeroframe=np.zeros((1, 64, 64)), keywords=keywords, algorithm="LIKELY")[0]
    np.testing.assert_allclose(absent.sci, fit(tmp_path, sci[:, 1:], keywords=keywords, algorithm="LIKELY")[0].sci, rtol=1e-6)


# --- as a step ---------------------------------------------------------------------------------------------------------


def test_products(tmp_path):
    sci = ramp(np.random.default_rng(9), (3, 5, 8, 9))
    exposure = make.ramp_exposure(sci)
    exposure.tables = {"GROUP": np.zeros(3), "INT_TIMES": np.zeros(3)}
    ones = np.ones((8, 9), np.float32)
    rate, ints = ramp_fit.apply(exposure, make.references(tmp_path, exposure, gain={"SCI": ones, "GAINFACT": 2.0}, readnoise=ones))
    assert (rate.suffix, ints.suffix) == ("rate", "rateints") and rate.sci.shape == (8, 9) and ints.sci.shape == (3, 8, 9)
    assert list(rate.tables) == [] and list(ints.tables) == ["INT_TIMES"]
    for product in (rate, ints):
        assert product.header["GAINFACT"] == 2.0 and product.header["BUNIT"] == "DN/s"
        assert {name: getattr(product, name).dtype.name for name in PLANES} == {n: "uint32" if n == "dq" else "float32" for n in PLANES}
    assert "GAINFACT" not in exposure.header


@pytest.mark.parametrize("algorithm", ["OLS_C", "LIKELY"])
def test_same_bytes_for_any_number_of_threads_and_any_strips(tmp_path, algorithm):
    given = messy(np.random.default_rng(10), (3, 7, 40, 150))
    results = []
    for threads in (1, 2):
        numba.set_num_threads(threads)
        results.append(fit(tmp_path, **given, algorithm=algorithm))
    exposure = make.ramp_exposure(given["sci"])
    refs = make.references(tmp_path, exposure, gain=given["gain"], readnoise=given["readnoise"])
    strips = []
    for first in range(0, 40, 16):
        rows = slice(first, min(first + 16, 40))
        pixels = Pixels(sci=given["sci"][:, :, rows], groupdq=given["groupdq"][:, :, rows], dq=given["pixeldq"][rows])
        strip = exposure.block(pixels, rows=rows)
        strip.dead_groups = np.zeros((3, 7), bool)
        strips.append(ramp_fit.apply(strip, refs.strip(rows), algorithm=algorithm))
    for k in range(2):
        for name in PLANES:
            np.testing.assert_array_equal(getattr(results[0][k], name), getattr(results[1][k], name))
            np.testing.assert_array_equal(getattr(results[0][k], name), np.concatenate([getattr(s[k], name) for s in strips], axis=-2))


def test_likelihood_of_three_groups_is_least_squares(tmp_path):
    given = messy(np.random.default_rng(15), (2, 3, 12, 12))
    np.testing.assert_array_equal(fit(tmp_path, **given, algorithm="LIKELY")[0].sci, fit(tmp_path, **given)[0].sci)


def test_miri_without_usable_groups(tmp_path):
    groupdq = np.zeros((2, 4, 4, 4), np.uint8)
    groupdq[:, [0, 1, 3]] = DO_NOT_USE
    with pytest.raises(InputError, match="1 of its 4 groups are usable"):
        fit(tmp_path, ramp(np.random.default_rng(11), groupdq.shape), groupdq, keywords={"INSTRUME": "MIRI"})
    groupdq[:] = DO_NOT_USE
    with pytest.raises(InputError, match="0 of its 4 groups are usable"):
        fit(tmp_path, ramp(np.random.default_rng(11), groupdq.shape), groupdq, keywords={"INSTRUME": "MIRI"})


def test_reference_of_the_wrong_shape(tmp_path):
    with pytest.raises(ReferenceError, match="readnoise"):
        fit(tmp_path, np.ones((1, 5, 4, 4)), readnoise=np.ones((3, 4), np.float32))


# --- against the peer --------------------------------------------------------------------------------------------------

PEER = """
import json, warnings
from types import SimpleNamespace
from stcal.ramp_fitting.ramp_fit import ramp_fit
from stdatamodels.jwst.datamodels import dqflags
warnings.simplefilter("ignore")

class Ramp(SimpleNamespace):
    def hasattr(self, name):
        return hasattr(self, name)

for n, p in enumerate(json.loads(str(parameters))):
    g = {k[: -len(str(n)) - 1]: v for k, v in globals().items() if k.endswith(f"_{n}")}
    optional = {"zeroframe": g.get("zeroframe"), "average_dark_current": g.get("dark")}
    k = p["keywords"]
    exposure = SimpleNamespace(frame_time=k["TFRAME"], group_time=k["TGROUP"], groupgap=k["GROUPGAP"], nframes=k["NFRAMES"], drop_frames1=0)
    ramp = Ramp(data=g["sci"], groupdq=g["groupdq"], pixeldq=g["pixeldq"], **{k: v for k, v in optional.items() if v is not None},
                meta=SimpleNamespace(instrument=SimpleNamespace(name=k["INSTRUME"]), exposure=exposure))
    bad = ~(g["gain"] > 0)
    ramp.pixeldq[bad] |= dqflags.pixel["DO_NOT_USE"] | dqflags.pixel["NO_GAIN_VALUE"]  # by jump, before
    products = ramp_fit(ramp, False, g["readnoise"], g["gain"], p["algorithm"], "optimal", "none", dqflags.pixel,
                        suppress_one_group=p["suppress_one_group"])
    for suffix, product in zip(("rate", "ints"), products):
        names = {"sci": "slope", "err": "err", "dq": "dq", "var_poisson": "var_poisson", "var_rnoise": "var_rnoise"}
        out |= {f"{suffix}_{ours}_{n}": product[theirs] for ours, theirs in names.items()}
"""


def both(tmp_path, cases):
    """Ours and the peer's products of each case: (ours, theirs, what was given)."""
    arrays, parameters = {}, []
    for n, (given, keywords, more) in enumerate(cases):
        head = make.ramp_exposure((1, 1, 1, 1), **keywords).header
        values = {k: head[k] for k in ("TFRAME", "TGROUP", "GROUPGAP", "NFRAMES", "INSTRUME")}
        parameters.append({"algorithm": "OLS_C", "suppress_one_group": True, **more, "keywords": values})
        arrays |= {f"{k}_{n}": v for k, v in given.items()}
    theirs = peer_python(PEER, parameters=json.dumps(parameters), **arrays)
    for n, (given, keywords, more) in enumerate(cases):
        products = {s: {name: theirs[f"{s}_{name}_{n}"] for name in PLANES} for s in ("rate", "ints")}
        yield dict(zip(("rate", "ints"), fit(tmp_path, **given, keywords=keywords, **more), strict=True)), products, {**given, **keywords}


def case(seed, shape, zeroframe=False, dark=False, dead=(), loss=False, keywords=None, **more):
    """One exposure for `both`."""
    rng = np.random.default_rng(seed)
    keywords = keywords or {}
    given = messy(rng, shape, keywords.get("NFRAMES", 1))
    given["groupdq"][:, list(dead)] |= DO_NOT_USE
    if loss:
        given["groupdq"][:, shape[1] // 2 :][rng.random((shape[0], shape[1] - shape[1] // 2, *shape[2:])) < 0.3] |= CHARGELOSS | DO_NOT_USE
    if zeroframe:
        given["zeroframe"] = (given["sci"][:, 0] * 0.4 * (rng.random(given["sci"][:, 0].shape) < 0.7)).astype(np.float32)
        given["zeroframe"][np.isnan(given["zeroframe"])] = 0
    if dark:
        given["dark"] = rng.uniform(0, 0.1, shape[2:]).astype(np.float32)
    return given, keywords, more


OLS = [
    case(1, (1, 1, 40, 40)),
    case(2, (3, 1, 40, 40)),
    case(3, (1, 2, 40, 40)),
    case(4, (3, 2, 40, 40), keywords={"NFRAMES": 4, "GROUPGAP": 1}),
    case(5, (1, 3, 40, 40), suppress_one_group=False),
    case(6, (3, 3, 40, 40), dark=True),
    case(7, (1, 5, 64, 64), zeroframe=True, suppress_one_group=False, keywords={"NFRAMES": 8}),
    case(8, (3, 5, 40, 40), zeroframe=True, dark=True),
    case(9, (1, 12, 64, 150)),
    case(10, (3, 12, 32, 150), zeroframe=True, suppress_one_group=False, keywords={"NFRAMES": 4, "GROUPGAP": 4}),
    case(11, (2, 8, 40, 40), loss=True),
    case(12, (2, 8, 40, 40), loss=True, suppress_one_group=False),
    case(13, (2, 8, 40, 40), dead=(0, 1, 7), keywords={"INSTRUME": "MIRI"}),
    case(14, (2, 8, 40, 40), dead=(0, 1, 7)),
    case(13, (2, 8, 40, 40), dead=(0, 1, 7), keywords={"INSTRUME": "MIRI"}, suppress_one_group=False),
    case(17, (3, 4, 40, 40), dead=(0, 1), keywords={"INSTRUME": "MIRI"}),  # many ramps are a jump in the first group and one more
    case(15, (2, 40, 20, 20)),
    case(16, (2, 1, 40, 40), zeroframe=True, suppress_one_group=False),
]


def assert_equal_products(ours, theirs, label, rtol=1e-5, but=None):
    """DQ bit for bit, values to float32 rounding, NaN in the same places; pixels of `but` are not compared."""
    for suffix, product in theirs.items():
        keep = np.ones(product["dq"].shape, bool) if but is None else ~but[suffix]
        np.testing.assert_array_equal(ours[suffix].dq[keep], product["dq"][keep], err_msg=f"{label} {suffix} dq")
        for name in ("sci", "err", "var_poisson", "var_rnoise"):
            got, expected = getattr(ours[suffix], name)[keep], product[name][keep]
            scale = np.nanmax(np.abs(expected), initial=0) * 1e-9
            np.testing.assert_allclose(got, expected, rtol=rtol, atol=scale, err_msg=f"{label} {suffix} {name}")


@pytest.mark.parity
@needs_peer
def test_peer_least_squares(tmp_path):
    for n, (ours, theirs, given) in enumerate(both(tmp_path, OLS)):
        # pixels without any usable group: ours says so (docs/differences.md)
        unmeasured = {s: (ours[s].dq & DO_NOT_USE != 0) & (theirs[s]["dq"] & DO_NOT_USE == 0) for s in theirs}
        for suffix, where in unmeasured.items():
            assert not theirs[suffix]["sci"][where].any() and not theirs[suffix]["err"][where].any()
            assert where.mean() < 0.1
        assert np.isfinite(theirs["rate"]["sci"]).mean() > 0.2
        assert_equal_products(ours, theirs, f"case {n}: {given['sci'].shape}", but=unmeasured)
        assert (ours["rate"].dq[~(given["gain"] > 0)] & (NO_GAIN_VALUE | DO_NOT_USE) == NO_GAIN_VALUE | DO_NOT_USE).all()


def likely_case(seed, shape, zeroframe=False, **given):
    """One exposure for `both`: bright enough for its median difference to be positive."""
    given, keywords, more = case(seed, shape, **given, algorithm="LIKELY")
    time = make.ramp_exposure((1, 1, 1, 1), **keywords).header["TGROUP"]
    rng = np.random.default_rng(seed)
    rate = 10 ** rng.uniform(0.7, 2.5, shape[2:])
    given["sci"], first = ramp(rng, shape, rate, keywords.get("NFRAMES", 1), time, zeroframe=True)
    given["sci"] += np.cumsum(400 * (rng.random(shape) < 0.02), axis=1, dtype=np.float32)
    if zeroframe:
        given["zeroframe"] = first
    return given, keywords, more


LIKELY = [
    likely_case(21, (1, 4, 40, 40)),
    likely_case(22, (1, 5, 40, 40), keywords={"NFRAMES": 4, "GROUPGAP": 1}),
    likely_case(23, (3, 6, 40, 40), dark=True),
    likely_case(24, (1, 12, 64, 64)),
    likely_case(25, (3, 12, 40, 40), keywords={"NFRAMES": 8, "GROUPGAP": 2}),
    likely_case(26, (2, 7, 40, 40), zeroframe=True, keywords={"NFRAMES": 4, "GROUPGAP": 1}),
    likely_case(27, (2, 30, 20, 20), zeroframe=True),
]


@pytest.mark.parity
@needs_peer
def test_peer_likelihood(tmp_path):
    for n, (ours, theirs, given) in enumerate(both(tmp_path, LIKELY)):
        groupdq, averaged = given["groupdq"], given.get("NFRAMES", 1) > 1
        good = groupdq == 0
        good = np.concatenate([good[:, :1], good], axis=1) if averaged and "zeroframe" in given else good
        usable = (good[:, 1:] & good[:, :-1]).sum(axis=1)
        few = (usable == 2) | ((usable == 3) & averaged)
        but = {"ints": few, "rate": few.any(axis=0)}  # what the peer drops where one would be left is chance (docs/differences.md)
        for suffix, product in theirs.items():
            nothing = np.isnan(product["sci"]) & (product["dq"] & DO_NOT_USE == 0)
            assert (ours[suffix].dq[nothing & ~but[suffix]] & DO_NOT_USE).all()
            product["dq"][nothing] |= DO_NOT_USE
        assert np.isfinite(theirs["rate"]["sci"]).mean() > 0.2
        jumps = (theirs["ints"]["dq"] & JUMP_DET) != 0
        assert (jumps & ~few & ~(groupdq & JUMP_DET).any(axis=1)).sum() > 20
        assert_equal_products(ours, theirs, f"case {n}: {groupdq.shape}", but=but)
