"""SIRS: the convolution against its definition, noise that the side reference pixels predict, and the peer."""

import numpy as np
import pytest

import make
from jwcal.kernels.detector import sirs
from jwcal.model.references import References
from jwcal.settings.step_modules import parameters_of
from jwcal.simulate.irs2 import write_sirskernel
from jwcal.steps import refpix
from jwcal.vocabulary import dq
from jwcal.vocabulary.errors import ReferenceError
from peer import needs_peer

FREQUENCIES = 1025  # of a line of 2048 pixels


def coefficients(rng, frequencies=FREQUENCIES):
    """Weights of the left and right side, (4, frequency), smooth as real ones are, each a little different."""
    fall = np.exp(-np.arange(frequencies) / 200)
    phase = 1j * 0.05 * rng.standard_normal((2, 4, frequencies))
    return (rng.uniform(0.3, 0.6, (2, 4, 1)) * fall * (1 + phase)).astype(np.complex64)


def test_taps_are_the_middle_of_the_transform_smoothed():
    gamma = coefficients(np.random.default_rng(1), 65)[0]
    taps = sirs.taps(gamma, 1.5, 20)
    assert taps.shape == (4, 41)
    lags = np.arange(-20, 21)
    angles = 2 * np.pi * np.outer(lags, np.arange(1, 64)) / 128
    gauss = np.exp(-(lags**2) / 4.5) / np.exp(-(lags**2) / 4.5).sum()
    for kernel, g in zip(taps, gamma.astype(complex), strict=True):
        inner = g[1:-1].real * np.cos(angles) - g[1:-1].imag * np.sin(angles)
        plain = (g[0].real + 2 * inner.sum(axis=1) + g[-1].real * (-1.0) ** lags) / 128
        smoothed = [sum(plain[i] * gauss[k - i + 20] for i in range(41) if 0 <= k - i + 20 < 41) for k in range(41)]
        np.testing.assert_allclose(kernel, smoothed, atol=1e-8)


def test_prediction_leaves_bad_pixels_out():
    """A constant level is predicted as the kernels' sum of it whatever is left out, bad rows and NaN included."""
    rng = np.random.default_rng(2)
    kernels = np.array([[0.1, 0.3, 0.2], [0.0, 0.5, 0.0], [0.2, 0.2, 0.2], [0.3, 0.1, 0.0]])
    left, right = 7 + rng.normal(0, 1e-6, (2, 40, 4))
    left[3, 1], left[10], right[5, 0] = 500, -1e5, np.nan
    right[20:30] = np.nan  # nothing within reach
    noise = sirs.predict(left, right, sirs.Filter(kernels, kernels, 4.0))
    inner = np.r_[1:9, 12:19, 31:39]
    np.testing.assert_allclose(noise[inner], 14 * np.broadcast_to(kernels.sum(axis=1), (inner.size, 4)), rtol=1e-6)
    np.testing.assert_allclose(noise[22:28], 7 * np.broadcast_to(kernels.sum(axis=1), (6, 4)), rtol=1e-6)
    assert noise[10, 1] == pytest.approx(7 * 0.5) and np.isfinite(noise).all()


def test_the_widest_filter_is_no_longer_than_a_detector():
    """numpy's convolution has as many values as the longer of the two: one tap more, and rows would not fit."""
    halfwidth = parameters_of("refpix")["halfwidth"].limits.max
    wide = sirs.taps(coefficients(np.random.default_rng(6))[0], 1.0, halfwidth)
    side = np.random.default_rng(7).normal(0, 1, (2048, 4))
    assert wide.shape[1] == 2047 and sirs.predict(side, side, sirs.Filter(wide, wide, 4.0)).shape == (2048, 4)


def full_frame(rng, detector="NRCB1", axes=(1, -2), **keywords):
    """Line noise that both sides of the detector see, with another share in each amplifier; white noise of 5 DN."""
    lines = np.cumsum(rng.normal(0, 1, (1, 2, 2048, 1)), axis=2)
    lines -= lines.mean(axis=2, keepdims=True)
    share = np.array([1.0, 0.9, 0.8, 0.7]).repeat(512)
    share[:4], share[-4:] = 1, 1
    data = rng.normal(100, 5, (1, 2, 2048, 2048)).astype(np.float32) + lines * share
    data[:, :, 300, 2] += 900  # a bad reference pixel
    data = data if abs(axes[0]) == 1 else data.swapaxes(-1, -2)
    data = data[..., :: np.sign(axes[1]), :: np.sign(axes[0])] if abs(axes[0]) == 1 else data[..., :: np.sign(axes[0]), :: np.sign(axes[1])]
    about = {"DETECTOR": detector, "FASTAXIS": axes[0], "SLOWAXIS": axes[1], "NOUTPUTS": 4, "SUBARRAY": "FULL", **keywords}
    return make.ramp_exposure(data, **about), lines * share


def references(folder, exposure, sides, detector="nrcb1"):
    path = write_sirskernel(folder / "sirs.asdf", exposure.header["INSTRUME"], {detector: sides})
    return References({"sirskernel": path}, exposure.header)


def test_line_noise_goes_with_the_weight_of_each_output(tmp_path):
    """Weights of half the share for either side at all low frequencies: what both sides see is subtracted once."""
    rng = np.random.default_rng(3)
    exposure, noise = full_frame(rng)
    share = np.array([1.0, 0.9, 0.8, 0.7])[:, None]
    half = 0.5 * share * np.exp(-((np.arange(FREQUENCIES) / 100) ** 4)) + 0j
    refs = references(tmp_path, exposure, (half, half), "NRCB1")
    refpix.apply(exposure, refs, refpix_algorithm="sirs", gaussmooth=0.01)
    left = exposure.sci[..., ::-1, :][:, :, 8:-8] - 0.0
    for k in range(4):
        part = np.s_[..., 512 * k + 4 : 512 * k + 508]
        before = noise[:, :, 8:-8][..., 512 * k + 9].std()
        lines = left[part].mean(axis=-1)
        assert before > 5
        assert (lines - lines.mean()).std() < 0.15 * before


def test_the_median_takes_its_place_where_there_is_no_kernel(tmp_path):
    rng = np.random.default_rng(4)
    exposure, _ = full_frame(rng)
    data = exposure.sci.copy()
    refs = references(tmp_path, exposure, coefficients(rng), "nrcb2")
    median = refpix.apply(make.ramp_exposure(data, NOUTPUTS=4, FASTAXIS=1, SLOWAXIS=-2), References({}, exposure.header)).sci
    np.testing.assert_array_equal(refpix.apply(exposure, refs, refpix_algorithm="sirs").sci, median)
    without = make.ramp_exposure(data, NOUTPUTS=4, FASTAXIS=1, SLOWAXIS=-2)
    np.testing.assert_array_equal(refpix.apply(without, References({}, exposure.header), refpix_algorithm="sirs").sci, median)


def test_a_kernel_that_is_none_is_refused(tmp_path):
    exposure = make.ramp_exposure((1, 1, 2048, 2048), DETECTOR="NRCB1")
    for sides in (np.ones((2, 4, 20), complex), np.ones((2, 3, FREQUENCIES), complex)):
        refs = references(tmp_path, exposure, sides)
        with pytest.raises(ReferenceError, match=r"sirs.asdf: gamma and zeta of 4 outputs, with more than 30 coefficients"):
            refpix.apply(exposure, refs, refpix_algorithm="sirs")


PEER = """
    from jwst.refpix import reference_pixels
    kernel = {"refpix_algorithm": "sirs", "sirs_kernel_model": datamodels.SIRSKernelModel(refs["sirskernel"])}
    kernel |= {name: parameters.get(name, default) for name, default in (("sigreject", 4.0), ("gaussmooth", 1.0), ("halfwidth", 30))}
    assert reference_pixels.correct_model(model, True, True, 11, 1.0, True, kernel, 3.0) == 0
    result = model
"""


@pytest.mark.parity
@needs_peer
@pytest.mark.parametrize(
    ("detector", "instrument", "axes", "parameters"),
    [("NRCB1", "NIRCAM", (1, -2), {}), ("NRS2", "NIRSPEC", (-2, -1), {"sigreject": 2.0, "gaussmooth": 2.0, "halfwidth": 15})],
)
def test_full_frame_is_the_peers(tmp_path, detector, instrument, axes, parameters):
    rng = np.random.default_rng(5)
    exposure, _ = full_frame(rng, detector, axes, INSTRUME=instrument)
    exposure.pixeldq[rng.random((2048, 2048)) < 0.01] = dq.DO_NOT_USE
    refs = references(tmp_path, exposure, coefficients(rng), detector)
    (theirs,) = make.by_peer(tmp_path, PEER, [(exposure, refs, parameters)])
    before = exposure.sci.copy()
    refpix.apply(exposure, refs, refpix_algorithm="sirs", **parameters)
    assert np.abs(exposure.sci - before).std() > 1
    known = np.isfinite(theirs["data"])  # the peer's is NaN in rows without a good reference pixel within reach of the kernel
    assert np.isfinite(exposure.sci).all() and known.mean() > 0.8
    np.testing.assert_array_equal(exposure.sci[known], theirs["data"][known])
    np.testing.assert_array_equal(exposure.pixeldq, theirs["pixeldq"])
