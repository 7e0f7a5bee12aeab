"""The light that the fringes are made of: wavelengths and their weights, of a filter or as the user gives them."""

from dataclasses import dataclass

import numpy as np
from scipy.integrate import simpson

from ...model import named_files
from ...vocabulary.errors import ConfigError, ReferenceError

BINS = 19
LEAST = 0.01  # throughput, beyond which a filter begins
ANGSTROM = 1e-10  # m


@dataclass
class Bandpass:
    """Wavelengths [m] and the part of the photons that is near each."""

    wavelengths: np.ndarray
    weights: np.ndarray

    @property
    def centre(self):
        """Mean wavelength, m."""
        return float(np.average(self.wavelengths, weights=self.weights))

    @property
    def width(self):
        """Equivalent width, m; that of a line is 0."""
        if len(self.wavelengths) < 2:
            return 0.0
        return float(simpson(self.weights, x=self.wavelengths) / self.weights.max())


def of_reference(throughput):
    """A star with equal numbers of photons at all wavelengths, through the filter of a throughput reference.

    Parameters
    ----------
    throughput : Reference
        Table THROUGHPUT: wavelength [Angstrom], throughput.

    Raises
    ------
    ReferenceError
        The table has no part with a throughput.
    """
    table = throughput.table("THROUGHPUT")
    wavelength, passed = (np.asarray(table[name], float) for name in table.dtype.names[:2])
    order = np.argsort(wavelength, kind="stable")
    wavelength, passed = wavelength[order], np.maximum(passed[order], 0)
    above = np.flatnonzero(passed > LEAST)
    if above.size < 3:
        what = f"the throughput reference has {above.size} wavelengths with a throughput above {LEAST}"
        raise ReferenceError(what, throughput.path, "Give another throughput reference under references: overrides")
    edges = np.linspace(wavelength[above[0]], wavelength[above[-1] - 1], BINS + 1)
    # the integral of straight lines between the table's points
    knots = np.union1d(wavelength, edges)
    at_knots = np.interp(knots, wavelength, passed)
    steps = np.diff(knots) * (at_knots[1:] + at_knots[:-1]) / 2
    total = np.interp(edges, knots, np.concatenate([[0], np.cumsum(steps)]))
    weights = np.diff(total)
    return Bandpass((edges[1:] + edges[:-1]) / 2 * ANGSTROM, weights / weights.sum())


def of_file(path):
    """The user's own: an ASDF file with the array `bandpass`, rows of (weight, wavelength [m]).

    Raises
    ------
    ConfigError
        The file has something else.
    """
    tree = named_files.tree(path, "bandpass")
    try:
        weights, wavelengths = np.array(tree["bandpass"], float).T
    except (KeyError, TypeError, ValueError):
        weights = wavelengths = np.zeros(0)
    if not weights.size or not np.isfinite([weights, wavelengths]).all() or (weights < 0).any() or not weights.sum():
        raise ConfigError("bandpass of ami_analyze has no usable wavelengths", path, "Give rows of (weight, wavelength in m) as bandpass")
    if (wavelengths <= 1e-7).any() or (wavelengths >= 1e-3).any():
        raise ConfigError("bandpass of ami_analyze has wavelengths beyond light", path, "Give them in m")
    return Bandpass(wavelengths, weights / weights.sum())
