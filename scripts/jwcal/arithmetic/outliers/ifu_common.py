"""Pixels of a detector that stand out from their neighbours in every exposure: bad ones that nobody knew."""

import warnings

import numpy as np

from ...kernels.outliers.box_median import box_median
from ...kernels.outliers.sharpness import sharpness
from ...model.exposure import Pixels
from ...vocabulary.errors import InputError

EDGE = 4  # pixels on each side that the percentile is not taken from
FLOOR = 3.0  # a difference is never divided by less than the median one over this


class Common:
    """What the exposures of each detector have in common.

    Parameters
    ----------
    box : (int, int)
        Rows and columns of the surroundings, odd.
    """

    def __init__(self, box):
        self.box = box
        self.detectors = {}  # detector -> a shell of its first exposure
        self._differences, self._noise, self._height, self._normal = {}, {}, {}, {}

    def add(self, exposure, sci, snr):
        """Add an exposure; `sci` (row, col) float32 is NaN where it can't be used.

        Returns
        -------
        in_noise, in_height : (row, col) float32
            How it stands out from its neighbours, see `sharpness`; None without `snr`, the
            noise that it has to exceed.
        """
        detector = exposure.header["DETECTOR"]
        self.detectors.setdefault(detector, exposure.shell())
        before = self._differences.get(detector)
        if before is not None and before.shape != sci.shape:
            what = f"its images are {sci.shape}, those of {self.detectors[detector].name} {before.shape} pixels"
            raise InputError(what, exposure.name, "Take it out of the association")
        self._lowest(self._differences, detector, across(sci, exposure.header["DISPAXIS"]))
        if snr is None:
            return None
        found = sharpness(sci, exposure.err, *self.box, snr)
        for where, values in zip((self._noise, self._height), found, strict=True):
            self._lowest(where, detector, values)
        return found

    def _lowest(self, where, detector, values):
        where[detector] = np.fmin(where[detector], values) if detector in where else values

    def above(self, detector, percent):
        """Pixels whose difference in units of that of its surroundings is above a percentile: bool (row, col)."""
        normal = self.normal(detector)
        level = _percentile(normal, percent)
        with np.errstate(invalid="ignore"):
            return normal > level

    def standing_out(self, detector, snr, sharp, percent):
        """Those of the pixels above the percentile that are unlike all of their neighbours in every exposure."""
        with np.errstate(invalid="ignore"):
            return self.above(detector, percent) & (self._noise[detector] > snr) & (self._height[detector] > sharp)

    def unknown(self, detector):
        """Pixels without a difference in any exposure: bool (row, col)."""
        return np.isnan(self._differences[detector])

    def normal(self, detector):
        """The lowest difference over its median in a box: float64 (row, col)."""
        if detector not in self._normal:
            lowest = self._differences[detector]
            around = box_median(lowest, *self.box, True)
            floor = np.nanmedian(lowest) / FLOOR if np.isfinite(lowest).any() else np.nan
            with np.errstate(invalid="ignore", divide="ignore"):
                around[around < floor] = floor
                self._normal[detector] = lowest / around
        return self._normal[detector]

    def aside(self, detector, shell):
        """The differences, and what they are in units of their surroundings (MINNORM), as a product."""
        extra = {"MINNORM": self.normal(detector).astype(np.float32)}
        new = shell.derive([Pixels(sci=self._differences[detector].astype(np.float32), extra=extra)], "outlier_output")
        new.tables, new.product = {}, f"{detector.lower()}"
        return new


def across(sci, dispersion):
    """The smaller one of the differences from the two neighbours across the spectrum: float64 (row, col), NaN where there is none.

    Parameters
    ----------
    sci : (row, col) float32
    dispersion : int
        DISPAXIS: 2 where spectra run along columns. Beyond the edge all is 0, as the peer has it.
    """
    image = sci.astype(np.float64) if dispersion == 2 else sci.T.astype(np.float64)
    steps = np.abs(np.diff(image, axis=1, prepend=0, append=0))
    out = np.fmin(steps[:, :-1], steps[:, 1:])
    return np.ascontiguousarray(out if dispersion == 2 else out.T)


def _percentile(image, percent):
    inner = image[EDGE:-EDGE, EDGE:-EDGE]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where there is no value the level is NaN, and nothing is above it
        return np.nanpercentile(inner, percent)
