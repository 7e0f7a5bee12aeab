"""The IRS2 correction: the noise of each amplifier as a filtered sum of the reference output and its own reference pixels.

All happens to deviations from the mean over the groups, after the removal of each frame's drift. A frame of an output is a series of
lines x TICKS samples in time, and its discrete Fourier transform is done in two steps, along the lines here and along the ticks in
`kernels.irs2_spectra`. The first step is done for the ticks alone that hold samples; as the series are real, half of the line
frequencies are enough.

Sources: Rauscher et al. 2017, PASP 129, 105003, section 3, for the correction; the weights alpha and beta are the refpix reference's.
"""

from typing import NamedTuple

import numba
import numpy as np
import scipy.fft

from ....kernels.detector import irs2 as kernel
from ....kernels.detector import irs2_spectra as spectra
from ....machine.threads import side_by_side
from ....model.irs2_layout import IS_REFERENCE, NORMAL, OUTPUTS, PERIOD, REFERENCE, SAMPLE_TICKS, SAMPLES, TICKS
from ....vocabulary.errors import ReferenceError

WINDOW = np.sin(np.arange(1, 32, dtype=np.float32) / 32 * np.pi)  # for a first guess of what is missing in the reference output
ROUNDS = 3  # of filtering, for the final one
PIXEL_TICKS, REFERENCE_TICKS = SAMPLE_TICKS[~IS_REFERENCE], SAMPLE_TICKS[IS_REFERENCE]
BETWEEN = np.setdiff1d(np.arange(TICKS), PIXEL_TICKS)  # where the reference output is filtered

# What an amplifier's reference pixels tell is spread over 8 ticks around each visit: the two pixels of the visit in turn, first read first.
VISITS = SAMPLES // PERIOD
_AROUND = np.arange(NORMAL // 2 - 1, NORMAL // 2 - 1 + 2 * REFERENCE)
SPREAD_TICKS = np.add.outer(np.arange(VISITS) * (PERIOD + 2), _AROUND).ravel()
SPREAD_SAMPLES = np.add.outer(np.arange(VISITS) * REFERENCE, [0, 2, 0, 2, 1, 3, 1, 3]).ravel()
KINDS = ("alpha", "beta")  # of the reference output, of the amplifier's own reference pixels
AT_ONCE = 64  # of the 712 parts of the reference's table that are held at once


class Filters(NamedTuple):
    """The weights of all frequencies, in the blocks of `kernels.irs2_spectra`.

    Attributes
    ----------
    alpha, beta : (amplifier, block, 8, 89, WIDTH) float32
        Of the reference output, and of the amplifier's own reference pixels.
    lowpass : irs2_spectra.Lowpass
        What may be in the gaps of the reference output.
    twist : (block, 712, WIDTH) float32
        exp(-2 pi i tick k / (lines ticks)).
    """

    alpha: np.ndarray
    beta: np.ndarray
    lowpass: spectra.Lowpass
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
    wanted = [f"{kind}_{k}" for kind in KINDS for k in range(OUTPUTS - 1)]
    frequencies = np.arange(lines // 2 + 1)
    twist = spectra.in_blocks(np.exp(-2j * np.pi / (TICKS * lines) * np.outer(np.arange(TICKS), frequencies)))
    weights = np.zeros((len(wanted), *twist.shape), np.float32)
    count, names = 0, {}
    for rows in reference.rows("IRS2", 2 * lines * AT_ONCE):
        names = {name.lower(): name for name in rows.dtype.names}
        if set(wanted) <= set(names) and count + len(rows) <= 2 * TICKS * lines:
            columns = [rows[names[name]] for name in wanted]
            spectra.add_weights(_one_array(columns), count // (2 * lines), lines, weights)
        count += len(rows)
    if count != 2 * TICKS * lines or not set(wanted) <= set(names):
        raise ReferenceError(
            f"its table IRS2 has {count} rows of {', '.join(names)}; {2 * TICKS * lines} rows of {', '.join(wanted)} are needed",
            file=reference.path,
            do="Give a refpix reference for IRS2 readout, or take the one from CRDS",
        )
    alpha, beta = weights.reshape(len(KINDS), OUTPUTS - 1, -1, spectra.FEW, spectra.PRIME, spectra.WIDTH)
    lowpass = _lowpass(lines).reshape(TICKS, lines)[:, : frequencies.size]
    return Filters(alpha, beta, spectra.lowpass(lowpass), twist)


def _one_array(columns):
    """Columns of a table as an array (column, row) float32."""
    out = np.empty((len(columns), len(columns[0])), np.float32)
    side_by_side(lambda k: np.copyto(out[k], columns[k]), range(len(columns)))
    return out


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
    lines = group.shape[1]
    workers = numba.get_num_threads()
    fits = kernel.drift_lines(group, means, layout.order, SAMPLE_TICKS, TICKS, layout.backwards)

    def deviations(k, samples, out):
        kernel.deviations(group, means, layout.order[k][samples], SAMPLE_TICKS[samples], TICKS, fits[k], layout.backwards, out)
        return out

    samples = deviations(0, slice(None), np.empty((SAMPLES, lines), np.float32))
    shared = _parts(scipy.fft.rfft(kernel.fill_gaps(samples, SAMPLE_TICKS, TICKS, WINDOW), axis=1, workers=workers))
    samples = np.empty((OUTPUTS - 1, REFERENCE_TICKS.size, lines), np.float32)
    for k in range(1, OUTPUTS):
        deviations(k, IS_REFERENCE, samples[k - 1])
    own = _parts(scipy.fft.rfft(samples, axis=2, workers=workers))
    del samples
    chosen = np.arange(SAMPLES) if preserve else np.flatnonzero(~IS_REFERENCE)
    noise = np.empty((OUTPUTS if preserve else OUTPUTS - 1, chosen.size, shared.shape[1]), np.float32)
    spectra.noise(shared, own, *filters, BETWEEN, ROUNDS, SPREAD_TICKS, SPREAD_SAMPLES, SAMPLE_TICKS[chosen], noise)
    del shared, own
    restore = ~IS_REFERENCE[chosen]
    for k in range(OUTPUTS - len(noise), OUTPUTS):
        rows, ticks = layout.order[k][chosen], SAMPLE_TICKS[chosen]
        signal = scipy.fft.irfft(noise[k - OUTPUTS].view(np.complex64), lines, axis=1, workers=workers)
        if k == 0:
            group[rows] = (signal[:, ::-1] if layout.backwards else signal) + means[rows]
        else:
            kernel.subtract_signal(group, means, rows, ticks, TICKS, fits[k], layout.backwards, signal, restore)


def _parts(spectrum):
    """A complex spectrum as its real and imaginary parts in turn along the last axis."""
    return spectrum.view(np.float32)
