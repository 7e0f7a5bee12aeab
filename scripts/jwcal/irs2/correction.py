"""The IRS2 correction: the noise of each amplifier as a filtered sum of the reference output and its own reference pixels.

All happens to deviations from the mean over the groups, after the removal of each frame's drift. A frame of an output is a series of
lines x TICKS samples in time. Its discrete Fourier transform is done in two steps, along the lines and then along the ticks:
X(k + lines m) = sum_t exp(-2 pi i t m / TICKS) [exp(-2 pi i t k / (lines TICKS)) sum_l x(l TICKS + t) exp(-2 pi i l k / lines)].
The first step is done for the ticks alone that hold samples, and is common to all that is done to whole ticks; the transposed spectrum
(m, k) is multiplied by equally transposed filters. As the series are real, k need only run to lines / 2.

Sources: Rauscher et al. 2017, PASP 129, 105003, section 3, for the correction; the weights alpha and beta are the refpix reference's.
"""

from typing import NamedTuple

import numba
import numpy as np
import scipy.fft

from ..errors import ReferenceError
from ..kernels import irs2 as kernel
from .layout import IS_REFERENCE, NORMAL, OUTPUTS, PERIOD, REFERENCE, SAMPLE_TICKS, SAMPLES, TICKS

WINDOW = np.sin(np.arange(1, 32, dtype=np.float32) / 32 * np.pi)  # for a first guess of what is missing in the reference output
ROUNDS = 3  # of filtering, for the final one

# What an amplifier's reference pixels tell is spread over 8 ticks around each visit: the two pixels of the visit in turn, first read first.
VISITS = SAMPLES // PERIOD
_AROUND = np.arange(NORMAL // 2 - 1, NORMAL // 2 - 1 + 2 * REFERENCE)
SPREAD_TICKS = np.add.outer(np.arange(VISITS) * (PERIOD + 2), _AROUND).ravel()
SPREAD_SAMPLES = np.add.outer(np.arange(VISITS) * REFERENCE, [0, 2, 0, 2, 1, 3, 1, 3]).ravel()


class Filters(NamedTuple):
    """Transposed spectra, (tick, line frequency).

    Attributes
    ----------
    alpha, beta : (4, m, k) complex64
        Of the reference output, and of the amplifier's own reference pixels.
    lowpass : (m, k) float32
        What may be in the gaps of the reference output.
    twist : (tick, k) complex64
        exp(-2 pi i tick k / (lines ticks)).
    """

    alpha: np.ndarray
    beta: np.ndarray
    lowpass: np.ndarray
    twist: np.ndarray


def filters_of(reference, lines):
    """The filters that a refpix reference tells.

    Parameters
    ----------
    reference : reference_data.Reference
        Table IRS2 with alpha_0 ... alpha_3 and beta_0 ... beta_3, each the real and imaginary parts in turn.
    lines : int
        Lines of a frame.

    Raises
    ------
    ReferenceError
        The table is not there, or has not two rows for each tick of a frame.
    """
    table = reference.table("IRS2")
    names = {name.lower(): name for name in table.dtype.names}
    wanted = [f"{kind}_{k}" for kind in ("alpha", "beta") for k in range(OUTPUTS - 1)]
    if len(table) != 2 * TICKS * lines or not set(wanted) <= set(names):
        raise ReferenceError(
            f"its table IRS2 has {len(table)} rows of {', '.join(names)}; {2 * TICKS * lines} rows of {', '.join(wanted)} are needed",
            file=reference.path,
            do="Give a refpix reference for IRS2 readout, or take the one from CRDS",
        )
    alpha, beta = np.array([_transposed(table[names[name]], lines) for name in wanted]).reshape(2, OUTPUTS - 1, TICKS, -1)
    frequencies = np.arange(lines // 2 + 1)
    turns = np.outer(np.arange(TICKS), frequencies) / (TICKS * lines)
    lowpass = _lowpass(lines).reshape(TICKS, lines)[:, : frequencies.size]
    return Filters(alpha, beta, np.ascontiguousarray(lowpass, np.float32), np.exp(-2j * np.pi * turns).astype(np.complex64))


def _transposed(column, lines):
    """The part of a filter that keeps real series real, as (m, k)."""
    weights = np.ascontiguousarray(column).view(np.complex64)
    mirrored = np.roll(weights[::-1], 1).conj()
    return (0.5 * (weights + mirrored)).reshape(TICKS, lines)[:, : lines // 2 + 1]


def _lowpass(lines):
    """1 at low frequencies and at those near the fastest, which odd and even samples make; 0 between, cosine edges. (TICKS lines,)."""
    edge = 110000 // (PERIOD + 2)
    flat = TICKS // (PERIOD + 2) * lines // 2 - edge // 2
    fall = (np.cos(np.arange(edge) * np.pi / edge) + 1) / 2
    half = TICKS * lines // 2
    one_sided = np.concatenate([np.ones(flat), fall, np.zeros(half - 2 * flat - 2 * edge), fall[::-1], np.ones(flat)])
    return np.concatenate([one_sided, np.roll(one_sided, -1)[::-1]])


def correct(groups, layout, filters, preserve=False):
    """Correct one integration, in place.

    Parameters
    ----------
    groups : (group, row, col) float32
        Raw layout; afterwards only the rows of the detector's own pixels mean anything, unless `preserve`.
    layout : layout.Layout
    filters : Filters
    preserve : bool
        Correct the reference pixels too. They lose their mean over the groups.
    """
    means = np.empty(groups.shape[1:])
    kernel.group_means(groups, means)
    for group in groups:
        _correct_group(group, means, layout, filters, preserve)


def _correct_group(group, means, layout, filters, preserve):
    backwards = layout.backwards
    fits = kernel.drift_lines(group, means, layout.order, SAMPLE_TICKS, TICKS, backwards)
    output = _reference_output(group, means, layout, filters, fits[0])
    if preserve:
        rows, series = layout.order[0], _to_series(output, SAMPLE_TICKS, filters)
        group[rows] = (series[:, ::-1] if backwards else series) + means[rows]
    output = scipy.fft.fft(output, axis=0, workers=_workers())
    for k in range(1, OUTPUTS):
        rows = layout.order[k]
        spectrum = _own_references(group, means, layout, filters, fits[k], k)
        kernel.combine(spectrum, filters.beta[k - 1], output, filters.alpha[k - 1])
        noise = scipy.fft.ifft(spectrum, axis=0, workers=_workers(), overwrite_x=True)
        for samples, restore in ((~IS_REFERENCE, True), (IS_REFERENCE, False)) if preserve else ((~IS_REFERENCE, True),):
            ticks = SAMPLE_TICKS[samples]
            signal = _to_series(noise, ticks, filters)
            kernel.subtract_signal(group, means, rows[samples], ticks, TICKS, fits[k], backwards, signal, restore)


def _workers():
    return numba.get_num_threads()


def _reference_output(group, means, layout, filters, fit):
    """The reference output after the first step of the transform, (tick, k): its reads of pixels, and a smooth series in between."""
    lines = group.shape[1]
    samples = np.empty((SAMPLES, lines), np.float32)
    kernel.deviations(group, means, layout.order[0], SAMPLE_TICKS, TICKS, fit, layout.backwards, samples)
    series = np.zeros((TICKS, lines), np.float32)
    series[SAMPLE_TICKS] = samples
    series = kernel.fill_gaps(series, WINDOW)
    spectrum = scipy.fft.rfft(series, axis=1, workers=_workers())
    spectrum *= filters.twist
    between = np.setdiff1d(np.arange(TICKS), SAMPLE_TICKS[~IS_REFERENCE])
    for _ in range(ROUNDS):
        smooth = scipy.fft.fft(spectrum, axis=0, workers=_workers())
        smooth *= filters.lowpass
        smooth = scipy.fft.ifft(smooth, axis=0, workers=_workers(), overwrite_x=True)
        spectrum[between] = smooth[between]
    return spectrum


def _own_references(group, means, layout, filters, fit, k):
    """The spectrum (m, k) of an amplifier's reference pixels, spread over the ticks around them."""
    lines = group.shape[1]
    samples = np.empty((np.count_nonzero(IS_REFERENCE), lines), np.float32)
    rows, ticks = layout.order[k][IS_REFERENCE], SAMPLE_TICKS[IS_REFERENCE]
    kernel.deviations(group, means, rows, ticks, TICKS, fit, layout.backwards, samples)
    spectrum = np.zeros(filters.twist.shape, np.complex64)
    spectrum[SPREAD_TICKS] = scipy.fft.rfft(samples, axis=1, workers=_workers())[SPREAD_SAMPLES] * filters.twist[SPREAD_TICKS]
    return scipy.fft.fft(spectrum, axis=0, workers=_workers(), overwrite_x=True)


def _to_series(spectrum, ticks, filters):
    """Some ticks of what is left after the second step was undone, (tick, line) float32."""
    lines = 2 * (spectrum.shape[1] - 1)
    return scipy.fft.irfft(spectrum[ticks] * filters.twist[ticks].conj(), lines, axis=1, workers=_workers())
