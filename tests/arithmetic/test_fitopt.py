"""The account of the segments that ramp_fit gives (fitopt): against numpy's weighted lines, against known ramps, against the peer."""

import json

import numpy as np
import pytest
from test_ramp_fit import GAIN, OLS, PEER, READNOISE, fit

import jwcal
import make
from jwcal.vocabulary.dq import DO_NOT_USE, JUMP_DET, SATURATED
from peer import needs_peer, peer_python

NAMES = ("SLOPE", "SIGSLOPE", "VAR_POISSON", "VAR_RNOISE", "YINT", "SIGYINT", "PEDESTAL", "WEIGHTS", "CRMAG")


def account(tmp_path, sci, groupdq=None, **given):
    """Rate, rates of the integrations, and what fitopt holds."""
    rate, ints, segments = fit(tmp_path, sci, groupdq, save_opt=True, **given)
    assert segments.suffix == "fitopt" and tuple(segments.extra) == NAMES
    assert all(array.dtype == np.float32 for array in segments.extra.values())
    return rate, ints, segments.extra


def test_a_ramp_with_two_jumps(tmp_path):
    """300 DN a group from 1000 DN on, +5000 before group 4, +70 before group 9, one integration of two."""
    sci = np.broadcast_to(1000 + 300 * np.arange(12.0)[:, None, None], (2, 12, 3, 4)).copy()
    sci[1, 4:, 1, 2] += 5000
    sci[1, 9:, 1, 2] += 70
    groupdq = np.zeros(sci.shape, np.uint8)
    groupdq[1, [4, 9], 1, 2] = JUMP_DET
    _, ints, found = account(tmp_path, sci, groupdq)
    seconds = make.ramp_exposure((1, 1, 1, 1)).header["TGROUP"]
    assert found["SLOPE"].shape == (2, 3, 3, 4) and found["CRMAG"].shape == (2, 2, 3, 4)
    np.testing.assert_allclose(found["SLOPE"][1, :, 1, 2], 300 / seconds, rtol=1e-6)
    np.testing.assert_allclose(found["YINT"][1, :, 1, 2], [1000, 6000, 6070], rtol=1e-6)
    np.testing.assert_allclose(found["CRMAG"][1, :, 1, 2], [5300, 370])
    assert not found["CRMAG"][0].any() and not found["SLOPE"][0, 1:].any()
    np.testing.assert_allclose(found["WEIGHTS"][1, :, 1, 2], 1 / found["VAR_RNOISE"][1, :, 1, 2], rtol=1e-6)
    combined = 1 / found["WEIGHTS"][1, :, 1, 2].sum()
    assert ints.var_rnoise[1, 1, 2] == pytest.approx(combined, rel=1e-6)
    np.testing.assert_allclose(found["PEDESTAL"], 1000 - 300 / seconds, rtol=1e-6)  # one frame a group, no gap


@pytest.mark.parametrize(("ngroups", "rate"), [(3, 5.0), (8, 100.0), (20, 3000.0)])
def test_intercepts_and_errors_are_those_of_a_weighted_line(tmp_path, ngroups, rate):
    rng = np.random.default_rng(1)
    sci = (500 + np.cumsum(rng.poisson(rate * GAIN, (1, ngroups, 6, 7)) / GAIN, axis=1)).astype(np.float32)
    _, ints, found = account(tmp_path, sci)
    g, noise = np.arange(ngroups), READNOISE * GAIN / np.sqrt(2)
    for y, x in np.ndindex(6, 7):
        v = sci[0, :, y, x].astype(float)
        charge = (v[-1] - v[0]) * GAIN
        power = (0, 0.4, 1, 3, 6, 10)[np.searchsorted([5, 10, 20, 50, 100], charge / np.hypot(noise, np.sqrt(charge)), side="right")]
        weight = np.abs(2 * g / (ngroups - 1) - 1) ** power / noise**2
        (slope, start), covariance = np.polyfit(g, v, 1, w=np.sqrt(weight), cov="unscaled")
        assert found["YINT"][0, 0, y, x] == pytest.approx(start, rel=1e-5, abs=1e-3)
        got = found["SIGSLOPE"][0, 0, y, x], found["SIGYINT"][0, 0, y, x]
        assert got == pytest.approx(np.sqrt(np.diag(covariance)), rel=1e-5)
    np.testing.assert_array_equal(found["SLOPE"][:, 0], ints.sci)


def test_ramps_without_segments_are_zero(tmp_path):
    sci = np.broadcast_to(1000 + 300 * np.arange(5.0)[:, None, None], (1, 5, 3, 4)).copy()
    groupdq = np.zeros(sci.shape, np.uint8)
    groupdq[:, :, 0, 0] = SATURATED
    groupdq[:, :, 0, 1] = DO_NOT_USE
    groupdq[:, 1:, 0, 2] = SATURATED  # one group is left, and given up
    _, ints, found = account(tmp_path, sci, groupdq)
    assert np.isnan(ints.sci[0, 0, :3]).all()
    for name in NAMES[:-1]:
        assert not found[name][..., 0, :3].any(), name
    assert found["CRMAG"].shape == (1, 0, 3, 4)


def test_likelihood_shows_its_chi_squared(tmp_path):
    """Without jumps, with 3 x 6 degrees of freedom."""
    rng = np.random.default_rng(2)
    sci = np.cumsum(rng.poisson(3000 * GAIN, (3, 8, 20, 30)) / GAIN, axis=1) + rng.normal(0, READNOISE / np.sqrt(2), (3, 8, 20, 30))
    _, _, shown = fit(tmp_path, sci.astype(np.float32), algorithm="LIKELY", save_opt=True)
    assert shown.suffix == "likely_chisq" and shown.sci.shape == (20, 30)
    assert shown.sci.mean() == pytest.approx(18, rel=0.03) and shown.sci.std() == pytest.approx(6, rel=0.15)


@pytest.mark.parametrize("asked", [{"save": ["fitopt"]}, {"steps": {"ramp_fit": {"save_opt": True}}}])
def test_the_product(tiny, tmp_path, asked):
    """Either way of asking makes the file, as stdatamodels reads it; the rates are those of a run without it."""
    from stdatamodels.jwst import datamodels

    rate = jwcal.run_pipeline("detector1", tiny.series, crds_path=str(tiny.crds))
    made = jwcal.run_pipeline("detector1", tiny.series, out=tmp_path, crds_path=str(tiny.crds), every=True, **asked)
    assert list(made) == ["fitopt", "rate", "rateints"]
    np.testing.assert_array_equal(made["rate"].sci, rate.sci)
    with datamodels.open(tmp_path / tiny.series.name.replace("_uncal", "_fitopt")) as model:
        assert type(model) is datamodels.RampFitOutputModel
        shape = made["fitopt"].extra["SLOPE"].shape
        for name in NAMES:
            array = getattr(model, name.lower())
            assert array.shape[:1] + array.shape[-2:] == shape[:1] + shape[-2:], name
        weights = model.weights[:, 0]
        assert (weights > 0).any()
        np.testing.assert_allclose(weights[weights > 0], 1 / model.var_rnoise[:, 0][weights > 0], rtol=1e-6)


# --- against the peer ----------------------------------------------------------------------------------------------------

TELL = (
    PEER.replace("ramp_fit(ramp, False,", "ramp_fit(ramp, True,")
    + """
    out |= {f"{name}_{n}": array for name, array in products[2].items()}
"""
)


@pytest.mark.parity
@needs_peer
def test_peer(tmp_path):
    assert "ramp_fit(ramp, True," in TELL
    arrays, parameters = {}, []
    for n, (given, keywords, more) in enumerate(OLS):
        head = make.ramp_exposure((1, 1, 1, 1), **keywords).header
        values = {k: head[k] for k in ("TFRAME", "TGROUP", "GROUPGAP", "NFRAMES", "INSTRUME")}
        parameters.append({"algorithm": "OLS_C", "suppress_one_group": True, **more, "keywords": values})
        arrays |= {f"{k}_{n}": v for k, v in given.items()}
    theirs = peer_python(TELL, parameters=json.dumps(parameters), **arrays)
    for n, (given, keywords, more) in enumerate(OLS):
        _, ints, found = account(tmp_path, **given, keywords=keywords, **more)
        known = (given["gain"] > 0) & (given["readnoise"] > 0)  # otherwise the peer's weights are infinite
        for name in NAMES:
            expected, got = theirs[f"{name.lower()}_{n}"], found[name]
            assert got.shape == expected.shape, (n, name)
            keep = np.broadcast_to(known, got.shape)
            if name == "PEDESTAL":  # of an integration without any usable group: docs/differences.md
                keep = keep & (np.isfinite(ints.sci) | (expected == 0))
            scale = np.nanmax(np.abs(expected[keep]), initial=0, where=np.isfinite(expected[keep])) * 1e-9
            np.testing.assert_allclose(got[keep], expected[keep], rtol=1e-5, atol=scale, err_msg=f"case {n}: {given['sci'].shape} {name}")
