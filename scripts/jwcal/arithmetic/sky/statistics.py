"""The level of the sky from many pixels: clipped mean, median, midpoint or mode."""

from dataclasses import dataclass

import numpy as np

from ...kernels.sky.sky_statistics import histogram, moments

SMALLEST = 10 * np.finfo(np.float32).eps  # narrower histograms have one bin


@dataclass(frozen=True)
class SkyStatistics:
    """How a level is taken from pixels; as in IRAF's gstatistics, with the peer's conventions.

    Parameters
    ----------
    skystat : {"mode", "median", "midpt", "mean"}
    lower, upper : float, optional
        Range of usable values.
    nclip : int
        Rounds of clipping.
    lsigma, usigma : float
        Clipped are values so many standard deviations below and above the mean.
    binwidth : float
        Of the histogram for mode and midpoint, in standard deviations.
    """

    skystat: str = "mode"
    lower: float | None = None
    upper: float | None = None
    nclip: int = 5
    lsigma: float = 4.0
    usigma: float = 4.0
    binwidth: float = 0.1

    def level(self, values):
        """The level of some pixels.

        Parameters
        ----------
        values : float32 (n,), finite

        Returns
        -------
        level : float or None
            None where there are too few values.
        count : int
            How many values are left by the clipping.
        """
        if not values.size:
            return None, 0
        least, most = values.min(), values.max()
        lower, upper = least if self.lower is None else self.lower, most if self.upper is None else self.upper
        if lower > most or upper < least or lower > upper:
            return None, 0
        low, high = lower, upper
        for left in range(self.nclip, -1, -1):
            count, mean, deviation, smallest, largest = moments(values, np.float32(low), np.float32(high))
            if not count:
                return None, 0
            if left and np.isfinite(deviation):
                low, high = max(lower, mean - self.lsigma * deviation), min(upper, mean + self.usigma * deviation)
        if self.skystat == "mean":
            level = mean
        elif self.skystat == "median":
            level = np.median(values[(values >= low) & (values <= high)] if self.nclip else values)
        else:
            level = self._from_histogram(values, deviation, smallest, largest)
        return (float(level), count) if np.isfinite(level) else (None, 0)

    def _from_histogram(self, values, deviation, smallest, largest):
        start, step, across = float(smallest), self.binwidth * deviation, float(largest) - float(smallest)
        if not step >= SMALLEST or across < SMALLEST or step > across:
            return start + 0.5 * step if np.isfinite(step) else start
        bins = int(across / step) + 1
        # The bins are a little wider than `step`, in which places are counted: the peer's levels are so, and ours have to be comparable.
        counts = histogram(values, np.float32(start), np.float32(across / (bins - 1)), bins)
        place = _peak(counts) if self.skystat == "mode" else _half(counts)
        return start + place * step


def _peak(counts):
    """Place of the maximum in bins from the left edge: the vertex of a parabola through it and its neighbours."""
    if counts.size == 2:
        return 1.0 + 0.5 * np.sign(int(counts[1]) - int(counts[0]))
    top = int(counts.argmax())
    if top in (0, counts.size - 1):
        return top + 0.5
    left, right = int(counts[top] - counts[top - 1]), int(counts[top] - counts[top + 1])
    return top + 0.5 + (0.5 * (left - right) / (left + right) if left + right else 0.0)


def _half(counts):
    """Place in bins from the left edge that halves the area."""
    share = np.cumsum(counts).astype(np.float32)
    share = share / share[-1]
    middle = int(np.argmax(share >= 0.5))
    before = share[middle - 1] if middle else np.float32(0)
    here = share[middle] - before
    return float(middle + (0.5 - before) / here) if here else float(middle)
