"""linearity: against numpy, against ramps whose nonlinearity is known, and against the peer."""

import numba
import numpy as np
import pytest

import make
from jwcal.kernels.detector.linearity import linearize, linearize_reads
from jwcal.steps import linearity
from jwcal.vocabulary import dq
from jwcal.vocabulary.errors import ReferenceError
from peer import needs_peer, peer_python

A = 2e-6  # linear = s + A s^2
TERMS = np.array([0, 1, A])


def measured(linear):
    """What a detector with linear = s + A s^2 shows."""
    return (np.sqrt(1 + 4 * A * linear) - 1) / (2 * A)


def inverse_terms(top=70000):
    """A polynomial for `measured`, good to 0.02 DN."""
    x = np.linspace(0, top, 500)
    return np.polynomial.Polynomial.fit(x, measured(x), 5).convert().coef


def planes(terms, ny, nx):
    return np.broadcast_to(np.asarray(terms, np.float32)[:, None, None], (len(terms), ny, nx)).copy()


def ramp(nframes, groupgap, ngroups=6, nx=64):
    """Groups of a steadily growing signal seen by the nonlinear detector, and their true means.

    Returns
    -------
    sci (1, group, 1, col), truth (group, col)
    """
    rate = np.geomspace(50, 900, nx)  # DN per read
    read = 1 + np.arange(nframes) + (nframes + groupgap) * np.arange(ngroups)[:, None]
    linear = rate * read[..., None]
    return measured(linear).mean(axis=1)[None, :, None], linear.mean(axis=1)


def test_kernel_is_the_polynomial_in_float32():
    rng = np.random.default_rng(1)
    sci = rng.uniform(0, 50000, (2, 3, 5, 16)).astype(np.float32)
    c = rng.normal(0, 1, (4, 5, 16)).astype(np.float32) * np.array([1, 1, 1e-6, 1e-11], np.float32)[:, None, None]
    groupdq = np.where(rng.random(sci.shape) < 0.3, dq.SATURATED | dq.JUMP_DET, dq.JUMP_DET).astype(np.uint8)
    expected = np.where(groupdq & dq.SATURATED, sci, ((c[3] * sci + c[2]) * sci + c[1]) * sci + c[0])
    pixeldq = np.zeros((5, 16), np.uint32)
    linearize(sci, groupdq, c, np.zeros_like(pixeldq), pixeldq, dq.SATURATED, dq.NO_LIN_CORR)
    np.testing.assert_array_equal(sci, expected)
    assert not pixeldq.any()


def test_single_reads_are_made_linear(tmp_path):
    sci, truth = ramp(1, 0)
    exposure = make.ramp_exposure(sci)
    linearity.apply(exposure, make.references(tmp_path, exposure, linearity={"COEFFS": planes(TERMS, 1, 64)}))
    assert np.abs(sci[0, :, 0] / truth - 1).max() > 0.01
    np.testing.assert_allclose(exposure.sci[0, :, 0], truth, rtol=3e-7)


@pytest.mark.parametrize(("nframes", "groupgap"), [(4, 0), (8, 2), (2, 8)])
def test_averaged_reads_are_made_linear(tmp_path, nframes, groupgap):
    sci, truth = ramp(nframes, groupgap, ngroups=5)
    errors = {}
    for name in ("simple", "by reads"):
        exposure = make.ramp_exposure(sci, NFRAMES=nframes, GROUPGAP=groupgap)
        content = {"COEFFS": planes(TERMS, 1, 64)}
        if name == "by reads":
            content["INV_COEFFS"] = planes(inverse_terms(), 1, 64)
        linearity.apply(exposure, make.references(tmp_path, exposure, linearity=content))
        errors[name] = np.abs(exposure.sci[0, :, 0] - truth).max()
    # the polynomial of a mean lacks A times the variance of the reads
    assert errors["simple"] == pytest.approx(A * 900**2 * (nframes**2 - 1) / 12, rel=0.2)
    assert errors["by reads"] < 0.01


def test_leaving_out_the_gap_between_groups_would_be_wrong():
    sci, truth = ramp(8, 2)
    errors = []
    for interval in (8, 10):
        ours = sci.astype(np.float32)
        zeros = np.zeros((1, 64), np.uint32)
        both = planes(TERMS, 1, 64), planes(inverse_terms(), 1, 64)
        linearize_reads(ours, np.zeros(ours.shape, np.uint8), *both, zeros, zeros.copy(), 8, interval, dq.SATURATED, dq.NO_LIN_CORR)
        errors.append(np.abs(ours[0, :, 0] - truth).max())
    assert errors[0] > 4  # DN: the rate per read is too high by 10/8
    assert errors[1] < 0.01


def test_saturated_groups_stay_and_do_not_bend_the_others(tmp_path):
    sci, truth = ramp(4, 0)
    exposure = make.ramp_exposure(sci, NFRAMES=4)
    exposure.sci[0, 4:] = 20000
    exposure.groupdq[0, 4:] = dq.SATURATED
    exposure.sci[0, 3] += 500  # partly saturated
    content = {"COEFFS": planes(TERMS, 1, 64), "INV_COEFFS": planes(inverse_terms(), 1, 64)}
    linearity.apply(exposure, make.references(tmp_path, exposure, linearity=content))
    np.testing.assert_array_equal(exposure.sci[0, 4:], 20000)
    np.testing.assert_allclose(exposure.sci[0, :3, 0], truth[:3], atol=0.02)


@pytest.mark.parametrize("by_reads", [False, True])
def test_pixels_without_usable_coefficients(tmp_path, by_reads):
    sci, _ = ramp(4, 0, nx=8)
    exposure = make.ramp_exposure(sci, NFRAMES=4, SUBSIZE2=1)
    exposure.pixeldq[0, 0] = dq.HOT
    c, bits = planes(TERMS, 1, 8), np.zeros((1, 8), np.uint32)
    c[2, 0, 1] = np.nan
    c[1, 0, 2] = 0
    bits[0, 3], bits[0, 4] = 2, 4
    content = {"COEFFS": c, "DQ": bits, "DQ_DEF": make.dq_def(NO_LIN_CORR=2, NONLINEAR=4)}
    if by_reads:
        content["INV_COEFFS"] = planes(inverse_terms(), 1, 8)
        content["INV_COEFFS"][3, 0, 5] = np.nan
    before = exposure.sci.copy()
    linearity.apply(exposure, make.references(tmp_path, exposure, linearity=content))
    flag = dq.NO_LIN_CORR
    np.testing.assert_array_equal(exposure.pixeldq, [[dq.HOT, flag, flag, flag, dq.NONLINEAR, flag * by_reads, 0, 0]])
    np.testing.assert_allclose(exposure.sci[..., 1:4], before[..., 1:4], rtol=1e-7)
    assert np.abs(exposure.sci - before)[0, -1, 0, [0, 4, 5, 6, 7]].min() > 1


def test_zero_frame_is_one_read_and_its_gaps_stay(tmp_path):
    sci, _ = ramp(4, 0, nx=8)
    linear = np.linspace(0, 30000, 8)
    exposure = make.ramp_exposure(sci, zeroframe=measured(linear)[None, None], NFRAMES=4)
    content = {"COEFFS": planes([5, 1, A], 1, 8), "INV_COEFFS": planes(inverse_terms(), 1, 8)}
    linearity.apply(exposure, make.references(tmp_path, exposure, linearity=content))
    np.testing.assert_allclose(exposure.extra["ZEROFRAME"][0, 0], np.where(linear == 0, 0, linear + 5), rtol=3e-7)


def test_one_group_of_averaged_reads_gets_the_polynomial(tmp_path):
    sci, truth = ramp(4, 0, ngroups=1)
    exposure = make.ramp_exposure(sci, NFRAMES=4)
    content = {"COEFFS": planes(TERMS, 1, 64), "INV_COEFFS": planes(inverse_terms(), 1, 64)}
    linearity.apply(exposure, make.references(tmp_path, exposure, linearity=content))
    np.testing.assert_allclose(exposure.sci[0, 0, 0], sci[0, 0, 0] + A * sci[0, 0, 0] ** 2, rtol=3e-7)


def test_a_reference_that_can_not_be_used(tmp_path):
    exposure = make.ramp_exposure((1, 2, 4, 4))
    with pytest.raises(ReferenceError, match="2 or more planes of 4 x 4") as error:
        linearity.apply(exposure, make.references(tmp_path, exposure, linearity={"COEFFS": planes([1], 4, 4)}))
    assert str(tmp_path) in str(error.value)
    content = {"COEFFS": planes([0, 1], 4, 4), "DQ": np.zeros((1, 4, 4), np.uint32)}
    with pytest.raises(ReferenceError, match=r"linearity reference's DQ has the shape \(1, 4, 4\)"):
        linearity.apply(exposure, make.references(tmp_path, exposure, linearity=content))


def test_threads_and_repetition_give_the_same_bytes(tmp_path):
    rng = np.random.default_rng(3)
    sci = rng.uniform(0, 50000, (2, 4, 16, 24))
    results = []
    for threads in (1, numba.get_num_threads()):
        exposure = make.ramp_exposure(sci, NFRAMES=2)
        content = {"COEFFS": planes(TERMS, 16, 24), "INV_COEFFS": planes(inverse_terms(), 16, 24)}
        before = numba.get_num_threads()
        numba.set_num_threads(threads)
        linearity.apply(exposure, make.references(tmp_path, exposure, linearity=content))
        numba.set_num_threads(before)
        results.append(exposure.sci.tobytes())
    assert results[0] == results[1]


PEER = """
from stdatamodels.jwst import datamodels
from jwst.linearity import linearity
m = datamodels.RampModel(data=sci, pixeldq=pixeldq, groupdq=groupdq)
r = datamodels.LinearityModel(coeffs=coeffs, dq=bits)
if inverse.size:
    r.inv_coeffs = inverse
for x in (m, r):
    x.meta.subarray.xstart = x.meta.subarray.ystart = 1
    x.meta.subarray.ysize, x.meta.subarray.xsize = sci.shape[-2:]
    x.meta.instrument.name, x.meta.instrument.detector = "NIRCAM", "NRCA1"
    x.meta.subarray.fastaxis, x.meta.subarray.slowaxis = -1, 2
m.meta.exposure.nframes, m.meta.exposure.ngroups = int(nframes), sci.shape[1]
m.meta.exposure.zero_frame = True
m.zeroframe = zeroframe
m = linearity.do_correction(m, r)
out["sci"], out["pixeldq"], out["zeroframe"] = m.data, m.pixeldq, m.zeroframe
"""


@pytest.mark.parity
@needs_peer
@pytest.mark.parametrize(("nframes", "inverse"), [(1, False), (4, False), (4, True)])
def test_linearity_is_the_peers(tmp_path, nframes, inverse):
    rng = np.random.default_rng(4)
    shape = (2, 5, 48, 40)
    sci = np.cumsum(rng.uniform(500, 9000, shape), axis=1).astype(np.float32)
    groupdq = (np.cumsum(rng.random(shape) < 0.1, axis=1) > 0).astype(np.uint8) * dq.SATURATED
    groupdq |= (rng.random(shape) < 0.1).astype(np.uint8) * dq.JUMP_DET
    zeroframe = np.where(rng.random((2, 48, 40)) < 0.1, 0, sci[:, 0] * 0.4).astype(np.float32)
    terms = [planes(t, 48, 40) * rng.normal(1, 0.05, (len(t), 48, 40)).astype(np.float32) for t in ([3, 1, A, 1e-12], inverse_terms())]
    terms[0][2, 3, 4:9] = np.nan
    terms[0][1, 5, 6:8] = 0
    terms[1][2, 8, 6:8] = np.nan
    terms[1][1, 9, 6:8] = 0
    bits = (rng.random((48, 40)) < 0.05).astype(np.uint32) * dq.NO_LIN_CORR | (rng.random((48, 40)) < 0.05).astype(np.uint32) * dq.HOT
    pixeldq = (rng.random((48, 40)) < 0.1).astype(np.uint32) * dq.DEAD
    theirs = peer_python(
        PEER, sci=sci, pixeldq=pixeldq, groupdq=groupdq, zeroframe=zeroframe, nframes=nframes,
        coeffs=terms[0], inverse=terms[1] if inverse else np.zeros(0), bits=bits,
    )  # fmt: skip
    exposure = make.ramp_exposure(sci, zeroframe=zeroframe, NFRAMES=nframes)
    exposure.groupdq[:], exposure.pixeldq[:] = groupdq, pixeldq
    content = {"COEFFS": terms[0], "DQ": bits, **({"INV_COEFFS": terms[1]} if inverse else {})}
    linearity.apply(exposure, make.references(tmp_path, exposure, linearity=content))
    np.testing.assert_array_equal(exposure.pixeldq, theirs["pixeldq"])
    np.testing.assert_array_equal(exposure.groupdq, groupdq)
    if inverse:
        np.testing.assert_allclose(exposure.sci, theirs["sci"], rtol=2e-7)
        assert not np.array_equal(exposure.sci, sci)
    else:
        np.testing.assert_array_equal(exposure.sci, theirs["sci"])
    np.testing.assert_array_equal(exposure.extra["ZEROFRAME"], theirs["zeroframe"])
