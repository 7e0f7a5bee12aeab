"""Outliers of a time series: each integration is compared with the running median of those around it."""

import logging

import numpy as np

from ...kernels.outliers.jitter import beyond_scatter, fit_modes
from ...kernels.outliers.median_image import median_image
from ...kernels.outliers.rolling_median import rolling_median
from ...kernels.outliers.thresholds import beyond
from ...model.exposure import Exposure, Members
from ...vocabulary.errors import Skip
from .marks import KEPT, mark, unusable

log = logging.getLogger(__name__)

STRIP = 64 * 2**20  # bytes of a strip of rows of all integrations
SAMPLE = 51  # integrations whose median is the mean image
MOVED = 0.1  # pixels: the image of a pixel whose value changes by its error when it moves so far tells where it is
FEWEST, MOST = 12, 20000  # pixels that tell the motion
DOUBT = 0.1  # of what a motion changes, as a standard deviation
TURNS = 3  # of looking for the motion
LONG = 4  # integrations for each number that is fitted to a pixel's series, at least


def flag(exposures, options):
    """Flag the outliers of a series of integrations, or of several, one after the other.

    A pixel is one where it is further than `snr` standard deviations from the median of `rolling_window_width` integrations around it.
    When the telescope moves by hundredths of a pixel a bright star's pixels change by many times their errors. So with `jitter` what
    a small motion in x and y, a change of width and one of brightness do to the image is taken out first (see `_Motion`), and what is
    left is compared with ERR, or with the pixel's own scatter where that is larger.
    With `jitter` off: |SCI - median| > snr ERR, and a window with a bad pixel in it has no median.

    Parameters
    ----------
    exposures : Exposure, exposure.Members or iterable of Exposure
        (int, row, col); changed in place. One is in memory at a time.
    options : options.Options

    Returns
    -------
    exposures, or with `save_intermediate_results` a list: exposures, the medians of each

    Raises
    ------
    Skip
        The data are no series.
    """
    asides, count = [], 0
    if isinstance(exposures, Exposure):
        each = [exposures]
    else:
        each = exposures.each(keep=KEPT) if isinstance(exposures, Members) else exposures
    for exposure in each:
        if exposure.sci.ndim != 3 or exposure.sci.shape[0] < 2:
            log.warning("%s: there are no integrations to compare", exposure.name)
            continue
        count += 1
        found, medians = compare(exposure, options)
        mark(exposure, found)
        log.info("%s: %d outliers in %d integrations", exposure.name, np.count_nonzero(found), len(found))
        if options.save_intermediate_results:
            asides.append(exposure.aside("median", sci=medians))
    if not count:
        raise Skip("there are no integrations to compare")
    return [exposures, *asides] if options.save_intermediate_results else exposures


def compare(exposure, options):
    """Outliers of a series.

    Returns
    -------
    found : (int, row, col) bool
    medians : (int, row, col) float32, or None if they are not to be saved
    """
    bad = unusable(exposure, options.bad_bits)
    motion = _Motion(exposure, bad, options) if options.jitter else None
    medians = np.empty_like(exposure.sci) if options.save_intermediate_results else None
    found = np.zeros(exposure.sci.shape, bool)
    for rows in _strips(exposure.sci.shape):
        sci, err = (np.ascontiguousarray(plane[:, rows]) for plane in (exposure.sci, exposure.err))
        model = rolling_median(_good(exposure, bad, rows, options), options.rolling_window_width, motion is None)
        if medians is not None:
            medians[:, rows] = model
        if motion is not None:
            moved = motion.put_into(model, rows)
            found[:, rows] = beyond_scatter(sci, err, model, moved, DOUBT, options.snr[0])
        else:
            nothing = np.zeros_like(sci[0])
            for number, pieces in enumerate(zip(sci, err, model, strict=True)):
                found[number, rows] = beyond(*pieces, nothing, 0.0, options.snr[0], 0.0)
    return found, medians


def _strips(shape):
    step = max(1, STRIP // (4 * shape[0] * shape[2]))
    return [slice(start, min(start + step, shape[1])) for start in range(0, shape[1], step)]


def _good(exposure, bad, rows, options):
    """Rows of all integrations, NaN where they can't be used; the plain median of a short series takes all that are numbers."""
    strip = exposure.sci[:, rows].copy()
    if options.jitter or 1 < options.rolling_window_width < len(strip):
        strip[bad[:, rows]] = np.nan
    return strip


# --- what a motion does to the image ---------------------------------------------------------------------------------


class _Motion:
    """How far the image moved in each integration, and what that does to each pixel.

    First the residuals of the pixels that tell are fitted by derivatives of the mean image. An undersampled star's derivatives are
    not well known from one image, so each of these pixels is then asked how it follows the motion that was found, and its square.

    Parameters
    ----------
    exposure : Exposure
    bad : (int, row, col) bool
    options : options.Options
    """

    def __init__(self, exposure, bad, options):
        self.modes, error = _derivatives(exposure, bad)
        which = _telling(self.modes, error)
        self.rows, self.columns = np.unravel_index(which, error.shape)
        self.amplitudes = np.zeros((len(exposure.sci), len(self.modes)), np.float32)
        self._usual = self._moved = None
        if which.size:
            self._fit(exposure, bad, error[self.rows, self.columns], options)

    def _fit(self, exposure, bad, error, options):
        values = exposure.sci[:, self.rows, self.columns] / error
        values[bad[:, self.rows, self.columns]] = np.nan
        modes = np.ascontiguousarray(self.modes[:, self.rows, self.columns] / error)
        explained = np.zeros_like(values)
        for _ in range(TURNS):  # the median of a moving image is not that of a steady one
            usual = _median(values - explained, options)
            self.amplitudes = fit_modes(values - usual, modes)
            explained, modes = self._explain(values - usual, modes)
        self._usual, self._moved = _median(values - explained, options) * error, explained * error
        moved = np.std(self.amplitudes[:, :2], axis=0)
        log.info("%d pixels tell that the image moved by %.4f, %.4f pixels (rms, x and y)", error.size, *moved)

    def _explain(self, left, modes):
        """What the motion does to the pixels that tell it, (int, pixel), and their modes, by how each follows it in a long series."""
        x, y = self.amplitudes[:, 0], self.amplitudes[:, 1]
        series = np.stack([*self.amplitudes.T, x * x, x * y, y * y, np.ones_like(x)])
        if x.size < LONG * len(series):
            return _sum(self.amplitudes, modes), modes
        spread = np.sqrt(np.mean(series**2, axis=1, keepdims=True))
        spread = np.where(spread > 0, spread, 1)
        series = np.ascontiguousarray(series / spread, np.float32)
        follows = fit_modes(np.ascontiguousarray(left.T), series)
        return _sum(series[:-1].T, follows[:, :-1].T), np.ascontiguousarray((follows.T / spread)[: len(modes)], np.float32)

    def put_into(self, model, rows):
        """What the motion adds to a strip of the model, (int, row, col); the pixels that tell get their own model."""
        part = self.modes[:, rows]
        moved = _sum(self.amplitudes, part.reshape(len(part), -1)).reshape(model.shape)
        if self._usual is not None:
            here = (self.rows >= rows.start) & (self.rows < rows.stop)
            at = slice(None), self.rows[here] - rows.start, self.columns[here]
            model[at], moved[at] = self._usual[:, here], self._moved[:, here]
        return moved


def _sum(amplitudes, modes):
    """Modes (mode, pixel) with their amplitudes (int, mode), added in this order whatever the number of threads: (int, pixel) float32."""
    total = np.zeros((len(amplitudes), modes.shape[1]), np.float32)
    for amplitude, mode in zip(amplitudes.T, modes, strict=True):
        total += amplitude[:, None] * mode
    return total


def _median(values, options):
    """Rolling median of single pixels: (int, pixel) float32."""
    return rolling_median(np.ascontiguousarray(values)[:, None, :], options.rolling_window_width, False)[:, 0]


def _derivatives(exposure, bad):
    """Changes of the mean image by a motion of a pixel in x and in y, by a change of width, and by one of brightness.

    Returns
    -------
    modes : (4, row, col) float32
        0 where the pixel has no value. Beside one without a value the image is taken to go on as it does on the other side of the pixel:
        such a pixel dims in a transit as all others do.
    error : (row, col) float32
        The usual one of each pixel.
    """
    shape = exposure.sci.shape[1:]
    some = np.unique(np.linspace(0, len(exposure.sci) - 1, min(SAMPLE, len(exposure.sci))).astype(int))
    mean, error = (np.empty(shape, np.float32) for _ in range(2))
    for rows in _strips((some.size, *shape)):
        sci = exposure.sci[some, rows]
        sci[bad[some, rows]] = np.nan
        median_image(sci, mean[rows])
        median_image(exposure.err[some, rows], error[rows])
    wide = np.pad(mean, 1, mode="edge")
    left, right = _both_sides(wide[1:-1, :-2], wide[1:-1, 2:], mean)
    below, above = _both_sides(wide[:-2, 1:-1], wide[2:, 1:-1], mean)
    modes = np.stack([0.5 * (right - left), 0.5 * (above - below), left + right + below + above - 4 * mean, mean])
    modes[:, ~np.isfinite(modes).all(axis=0)] = 0
    return modes, error


def _both_sides(one, other, middle):
    """The neighbours on two sides, where one has no value a straight line from the other, where both have none the pixel itself."""
    here, there = np.isfinite(one), np.isfinite(other)
    from_other, from_one = np.where(there, 2 * middle - other, middle), np.where(here, 2 * middle - one, middle)
    return np.where(here, one, from_other), np.where(there, other, from_one)


def _telling(modes, error):
    """Numbers of the pixels that tell the motion, in the flattened image; none if there are too few."""
    with np.errstate(divide="ignore", invalid="ignore"):
        tells = np.hypot(modes[0], modes[1]) / error
    tells = np.where(np.isfinite(tells), tells, 0).ravel()
    which = np.flatnonzero(MOVED * tells > 1)
    if which.size > MOST:
        which = np.sort(which[np.argsort(-tells[which], kind="stable")[:MOST]])
    return which if which.size >= FEWEST else which[:0]
