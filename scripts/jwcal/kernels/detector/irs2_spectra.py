"""The spectra of IRS2 readout: what is missing in the reference output, and the noise of each amplifier.

A frame of an output is a series of lines x 712 samples in time. Its discrete Fourier transform is done in two steps, along the lines
and then along the ticks:
X(k + lines m) = sum_t exp(-2 pi i t m / 712) [exp(-2 pi i t k / (lines 712)) sum_l x(l 712 + t) exp(-2 pi i l k / lines)].
Here is the second step, and all that is done between it and its inverse, for HALF line frequencies k at a time: all that belongs to
these stays in the processor's cache, and each k goes its own way, so that the result does not depend on the number of threads.

712 = 8 x 89 are coprime, so that the transform is one of 8 points and one of 89 points without anything in between (Good 1958,
J. R. Stat. Soc. B 20, 361): element (a, b) is tick (89 a + 8 b) mod 712, and frequency m with m mod 8 = a, m mod 89 = b.
The transform of 89 points is done by its definition, on sums and differences of the elements j and 89 - j.

A block of values is (element, WIDTH) float32: HALF real parts, then HALF imaginary ones. Where these two are swapped, the transform
is the inverse one.
"""

from typing import NamedTuple

import numpy as np
from numba import njit, prange

from ..columns.pick_columns import copy

FEW, PRIME = 8, 89
TICKS = FEW * PRIME
HALF = 32
WIDTH = 2 * HALF
PAIRS = PRIME // 2

TICK_OF = np.add.outer(PRIME * np.arange(FEW), FEW * np.arange(PRIME)) % TICKS  # (8, 89)
ELEMENT_OF_FREQUENCY = np.arange(TICKS) % FEW * PRIME + np.arange(TICKS) % PRIME
FREQUENCY_OF = np.argsort(ELEMENT_OF_FREQUENCY)  # (712,)
ELEMENT_OF_TICK = np.argsort(TICK_OF.ravel())
ALL = np.arange(1, PAIRS + 1)  # j of all pairs of elements j and 89 - j
WORK = 2 * PAIRS + 4  # rows
_ANGLES = 2 * np.pi / PRIME * (np.outer(ALL, ALL) % PRIME)
COS, SIN = np.cos(_ANGLES).astype(np.float32), np.sin(_ANGLES).astype(np.float32)
ROOT_HALF = np.float32(np.sqrt(0.5))


class Lowpass(NamedTuple):
    """A filter that lets few of the frequencies pass.

    Attributes
    ----------
    weight : (block, 8, 89, HALF) float32
        Divided by 712, for the inverse transform.
    counts : (8,) int
        For each a the number of pairs of elements b and 89 - b that pass in any block, made a multiple of 4.
    pairs : (8, n) int
        Their b, and others that do not pass.
    cos, sin : (8, n, 44) float32
        For the transform to these frequencies.
    cos_back, sin_back : (8, 44, n) float32
        For the inverse one.
    """

    weight: np.ndarray
    counts: np.ndarray
    pairs: np.ndarray
    cos: np.ndarray
    sin: np.ndarray
    cos_back: np.ndarray
    sin_back: np.ndarray


def lowpass(weight):
    """The `Lowpass` of weights (712, k)."""
    blocks = in_blocks(weight[FREQUENCY_OF] / TICKS)[..., :HALF].reshape(-1, FEW, PRIME, HALF)
    passes = (blocks != 0).any(axis=(0, 3))
    passes = passes[:, ALL] | passes[:, PRIME - ALL]
    counts = -(-passes.sum(axis=1) // 4) * 4
    order = np.argsort(~passes, axis=1, kind="stable")[:, : counts.max()]
    forth = COS[order], SIN[order]
    back = (np.ascontiguousarray(matrix.swapaxes(1, 2)) for matrix in forth)
    return Lowpass(np.ascontiguousarray(blocks), counts, ALL[order], *forth, *back)


def in_blocks(values):
    """Values (element, k), real or complex, as (block, element, WIDTH) float32; 0 beyond the last k."""
    elements, count = values.shape
    blocks = -(-count // HALF)
    out = np.zeros((blocks, elements, 2, HALF), np.float32)
    for block in range(blocks):
        part = values[:, block * HALF : (block + 1) * HALF]
        out[block, :, 0, : part.shape[1]] = part.real
        out[block, :, 1, : part.shape[1]] = part.imag
    return out.reshape(blocks, elements, WIDTH)


@njit(cache=True, nogil=True, parallel=True)
def add_weights(columns, first, lines, out):
    """Add part of the filters' weights to those in blocks: of each filter what keeps real series real, divided by 712.

    Parameters
    ----------
    columns : (filter, 2 n lines) float32
        Real and imaginary parts in turn, for the frequencies of a whole frame from first * lines on.
    first, lines : int
    out : (filter, block, 712, WIDTH) float32
        By element; zeros at first.
    """
    scale = np.float32(0.5 / TICKS)
    for i in prange(columns.shape[0]):
        for row in range(columns.shape[1] // (2 * lines)):
            m, start = first + row, row * lines
            for k in range(lines // 2 + 1):
                here = out[i, k // HALF, ELEMENT_OF_FREQUENCY[m]]
                c, j = k % HALF, 2 * (start + k)
                here[c] += scale * columns[i, j]
                here[c + HALF] += scale * columns[i, j + 1]
                # the negative of frequency k + lines m
                mirrored = TICKS - 1 - m if k else (TICKS - m) % TICKS
                here = out[i, k // HALF, ELEMENT_OF_FREQUENCY[mirrored]]
                j = 2 * (start + lines - k if k else start)
                here[c] += scale * columns[i, j]
                here[c + HALF] -= scale * columns[i, j + 1]


@njit(cache=True, nogil=True)
def transform_of_8(z):
    """Transform along the first axis of (8, 89, WIDTH), in place."""
    for b in range(PRIME):
        for c in range(HALF):
            i = c + HALF
            # two transforms of 4 points, of the even and of the odd elements
            s0r, s0i = z[0, b, c] + z[4, b, c], z[0, b, i] + z[4, b, i]
            d0r, d0i = z[0, b, c] - z[4, b, c], z[0, b, i] - z[4, b, i]
            s2r, s2i = z[2, b, c] + z[6, b, c], z[2, b, i] + z[6, b, i]
            d2r, d2i = z[2, b, c] - z[6, b, c], z[2, b, i] - z[6, b, i]
            s1r, s1i = z[1, b, c] + z[5, b, c], z[1, b, i] + z[5, b, i]
            d1r, d1i = z[1, b, c] - z[5, b, c], z[1, b, i] - z[5, b, i]
            s3r, s3i = z[3, b, c] + z[7, b, c], z[3, b, i] + z[7, b, i]
            d3r, d3i = z[3, b, c] - z[7, b, c], z[3, b, i] - z[7, b, i]
            e0r, e0i, e2r, e2i = s0r + s2r, s0i + s2i, s0r - s2r, s0i - s2i
            e1r, e1i, e3r, e3i = d0r + d2i, d0i - d2r, d0r - d2i, d0i + d2r
            o0r, o0i, o2r, o2i = s1r + s3r, s1i + s3i, s1i - s3i, s3r - s1r  # the latter times -i
            f1r, f1i, f3r, f3i = d1r + d3i, d1i - d3r, d1r - d3i, d1i + d3r
            o1r, o1i = ROOT_HALF * (f1r + f1i), ROOT_HALF * (f1i - f1r)  # times exp(-pi i / 4)
            o3r, o3i = ROOT_HALF * (f3i - f3r), -ROOT_HALF * (f3r + f3i)  # times exp(-3 pi i / 4)
            z[0, b, c], z[0, b, i], z[4, b, c], z[4, b, i] = e0r + o0r, e0i + o0i, e0r - o0r, e0i - o0i
            z[1, b, c], z[1, b, i], z[5, b, c], z[5, b, i] = e1r + o1r, e1i + o1i, e1r - o1r, e1i - o1i
            z[2, b, c], z[2, b, i], z[6, b, c], z[6, b, i] = e2r + o2r, e2i + o2i, e2r - o2r, e2i - o2i
            z[3, b, c], z[3, b, i], z[7, b, c], z[7, b, i] = e3r + o3r, e3i + o3i, e3r - o3r, e3i - o3i


@njit(inline="always")
def _two_products(x, matrix, row, out):
    """Rows `row` and `row + 1` of matrix (n, m or more) times x (m, WIDTH), added to out (2, WIDTH); m is a multiple of 4."""
    for j in range(0, x.shape[0], 4):
        a0, a1, a2, a3 = matrix[row, j], matrix[row, j + 1], matrix[row, j + 2], matrix[row, j + 3]
        b0, b1, b2, b3 = matrix[row + 1, j], matrix[row + 1, j + 1], matrix[row + 1, j + 2], matrix[row + 1, j + 3]
        for c in range(WIDTH):
            x0, x1, x2, x3 = x[j, c], x[j + 1, c], x[j + 2, c], x[j + 3, c]
            out[0, c] += (a0 * x0 + a1 * x1) + (a2 * x2 + a3 * x3)
            out[1, c] += (b0 * x0 + b1 * x1) + (b2 * x2 + b3 * x3)


@njit(inline="always")
def _join(even, odd, one, other):
    """even - i odd and even + i odd; all (WIDTH,)."""
    for c in range(HALF):
        i = c + HALF
        one[c], one[i] = even[c] + odd[i], even[i] - odd[c]
        other[c], other[i] = even[c] - odd[i], even[i] + odd[c]


@njit(cache=True, nogil=True)
def transform_of_89(x, y, given, wanted, cos, sin, work):
    """Some elements of a transform of which some elements are given.

    Parameters
    ----------
    x : (89, WIDTH) float32
    y : (89, WIDTH) float32
        Element 0 and those of `wanted` are set.
    given, wanted : (m,), (n,) int
        j for the elements j and 89 - j. Element 0 is given too. m is a multiple of 4, n of 2.
    cos, sin : (n, m or more) float32
    work : (WORK, WIDTH) float32
    """
    sums, differences, even, odd = (
        work[:PAIRS],
        work[PAIRS : 2 * PAIRS],
        work[2 * PAIRS : 2 * PAIRS + 2],
        work[2 * PAIRS + 2 : 2 * PAIRS + 4],
    )
    copy(x[0], y[0])
    for n in range(given.size):
        j = given[n]
        for c in range(WIDTH):
            sums[n, c] = x[j, c] + x[PRIME - j, c]
            differences[n, c] = x[j, c] - x[PRIME - j, c]
        for c in range(WIDTH):
            y[0, c] += sums[n, c]
    for n in range(0, wanted.size, 2):
        copy(x[0], even[0])
        copy(x[0], even[1])
        odd[:] = 0
        _two_products(sums[: given.size], cos, n, even)
        _two_products(differences[: given.size], sin, n, odd)
        for u in range(2):
            j = wanted[n + u]
            _join(even[u], odd[u], y[j], y[PRIME - j])


@njit(cache=True, nogil=True)
def transform(z, y, work):
    """All elements of the transform of z, which is overwritten, into y; both (8, 89, WIDTH) float32."""
    transform_of_8(z)
    for a in range(FEW):
        transform_of_89(z[a], y[a], ALL, ALL, COS, SIN, work)


@njit(cache=True, nogil=True)
def smooth(z, y, weight, low, work):
    """Filter z, which is overwritten, into y with real and imaginary parts swapped; both (8, 89, WIDTH) float32.

    Parameters
    ----------
    weight : (8, 89, HALF) float32
        The block's of the lowpass.
    low : Lowpass
    """
    transform_of_8(z)
    for a in range(FEW):
        pairs = low.pairs[a, : low.counts[a]]
        transform_of_89(z[a], y[a], ALL, pairs, low.cos[a], low.sin[a], work)
        for n in range(-1, pairs.size):
            b = pairs[n] if n >= 0 else 0
            for element in (b, PRIME - b) if b else (0, 0):
                for c in range(HALF):
                    i = c + HALF
                    z[a, element, c], z[a, element, i] = weight[a, element, c] * y[a, element, i], weight[a, element, c] * y[a, element, c]
        transform_of_89(z[a], y[a], pairs, ALL, low.cos_back[a], low.sin_back[a], work)
    transform_of_8(y)


@njit(inline="always")
def _load(values, first, twist, out):
    """Turn (2 k,) real and imaginary parts of a tick by its twist, from k = first on; into (WIDTH,)."""
    n = min(HALF, values.size // 2 - first)
    for c in range(n):
        re, im = values[2 * (first + c)], values[2 * (first + c) + 1]
        out[c], out[c + HALF] = re * twist[c] - im * twist[c + HALF], re * twist[c + HALF] + im * twist[c]
    for c in range(n, HALF):
        out[c] = out[c + HALF] = 0


@njit(inline="always")
def _store(block, re, im, twist, first, out):
    """Turn a tick back, its parts beginning at `re` and `im` of (WIDTH,), into (2 k,) from k = first on."""
    for c in range(min(HALF, out.size // 2 - first)):
        a, b = block[re + c], block[im + c]
        out[2 * (first + c)], out[2 * (first + c) + 1] = a * twist[c] + b * twist[c + HALF], b * twist[c] - a * twist[c + HALF]


@njit(cache=True, nogil=True)
def _weigh(y, beta, other, alpha, z):
    """y * beta + other * alpha, real and imaginary parts swapped, into z; all (8, 89, WIDTH)."""
    for a in range(FEW):
        for b in range(PRIME):
            for c in range(HALF):
                i = c + HALF
                z[a, b, i] = (y[a, b, c] * beta[a, b, c] - y[a, b, i] * beta[a, b, i]) + (
                    other[a, b, c] * alpha[a, b, c] - other[a, b, i] * alpha[a, b, i]
                )
                z[a, b, c] = (y[a, b, c] * beta[a, b, i] + y[a, b, i] * beta[a, b, c]) + (
                    other[a, b, c] * alpha[a, b, i] + other[a, b, i] * alpha[a, b, c]
                )


@njit(cache=True, nogil=True, parallel=True)
def noise(reference_output, own, alpha, beta, low, twist, between, rounds, spread_ticks, spread_samples, ticks, out):
    """What the reference output and the amplifiers' own reference pixels tell of the noise. All spectra are along the lines.

    Parameters
    ----------
    reference_output : (712, 2 k) float32
        Real and imaginary parts in turn, a first guess where there is no sample.
    own : (amplifier, sample, 2 k) float32
        Of the amplifiers' reference pixels.
    alpha, beta : (amplifier, block, 8, 89, WIDTH) float32
        Weights of the reference output and of the amplifiers' own reference pixels, divided by 712.
    low : Lowpass
        What may be in the gaps of the reference output.
    twist : (block, 712, WIDTH) float32
        exp(-2 pi i tick k / (lines 712)).
    between : (n,) int
        Ticks at which the reference output is to be filtered...
    rounds : int
        ...so often, what is known being put back after each.
    spread_ticks, spread_samples : (n,) int
        At which ticks the reference pixels' samples stand for the amplifier's noise, and which of them.
    ticks : (m,) int
        The ticks that are wanted.
    out : (amplifier or 1 + amplifier, m, 2 k) float32
        Filled with the spectra of the noise of each amplifier, those of the filtered reference output before if there is room.
    """
    amplifiers = own.shape[0]
    for block in prange(twist.shape[0]):
        first, turn = block * HALF, twist[block]
        series, shared = np.empty((TICKS, WIDTH), np.float32), np.empty((FEW, PRIME, WIDTH), np.float32)
        z, y = np.empty((FEW, PRIME, WIDTH), np.float32), np.empty((FEW, PRIME, WIDTH), np.float32)
        by_element, result = z.reshape(TICKS, WIDTH), y.reshape(TICKS, WIDTH)
        work = np.empty((WORK, WIDTH), np.float32)
        for t in range(TICKS):
            _load(reference_output[t], first, turn[t], series[t])
        for _ in range(rounds):
            for t in range(TICKS):
                copy(series[t], by_element[ELEMENT_OF_TICK[t]])
            smooth(z, y, low.weight[block], low, work)
            for t in between:
                copy(result[ELEMENT_OF_TICK[t], HALF:], series[t, :HALF])
                copy(result[ELEMENT_OF_TICK[t], :HALF], series[t, HALF:])
        for t in range(TICKS):
            copy(series[t], by_element[ELEMENT_OF_TICK[t]])
        transform(z, shared, work)
        if out.shape[0] > amplifiers:
            for n in range(ticks.size):
                _store(series[ticks[n]], 0, HALF, turn[ticks[n]], first, out[0, n])
        for k in range(amplifiers):
            z[:] = 0
            for n in range(spread_ticks.size):
                t = spread_ticks[n]
                _load(own[k, spread_samples[n]], first, turn[t], by_element[ELEMENT_OF_TICK[t]])
            transform(z, y, work)
            _weigh(y, beta[k, block], shared, alpha[k, block], z)
            transform(z, y, work)
            for n in range(ticks.size):
                t = ticks[n]
                _store(result[ELEMENT_OF_TICK[t]], HALF, 0, turn[t], first, out[out.shape[0] - amplifiers + k, n])
