"""The weighted mean of spectra that were sampled at wavelengths of their own, without interpolation.

The grid is that of jwst's combine_1d: where the wavelengths of all spectra come in clumps, a clump's mean; elsewhere means of as many
neighbours as there are spectra. Each value goes to the nearest wavelength of the grid.
"""

import numpy as np

CLUMP = 0.8  # a clump scatters by less than this times what the groups beside it do
NONE = -99.0


def mean_spectrum(spectra, weights):
    """The mean.

    Parameters
    ----------
    spectra : list of (wavelength, value), 1-D arrays
        In any order of wavelength; values that are NaN are left out.
    weights : list of float

    Returns
    -------
    wavelength, value, weight, count : float64 (n,)
        Rising; where no spectrum has a value there is no wavelength.
    """
    spectra = [tuple(np.asarray(part, float) for part in spectrum) for spectrum in spectra]
    spectra, weights = zip(*[(s, w) for s, w in zip(spectra, weights, strict=True) if s[0].size > 1], strict=True)
    grid = _grid([wavelength for wavelength, _ in spectra])
    values, weight = np.zeros((len(spectra), grid.size)), np.zeros((len(spectra), grid.size))
    for number, ((wavelength, value), its) in enumerate(zip(spectra, weights, strict=True)):
        place = np.interp(wavelength, grid, np.arange(grid.size), left=np.nan, right=np.nan)
        good = np.isfinite(place) & np.isfinite(value)
        at = np.rint(place[good]).astype(int)
        values[number, at], weight[number, at] = value[good], its
    total = weight.sum(axis=0)
    there = total > 0
    mean = (values * weight).sum(axis=0)[there] / total[there]
    return grid[there], mean, total[there], (weight > 0).sum(axis=0)[there].astype(float)


def _grid(wavelengths):
    """Wavelengths of the mean, rising."""
    every = np.sort(np.concatenate(wavelengths))
    covering = np.zeros(every.size, int)  # spectra that cover each of them, to half a pixel beyond their ends
    for wavelength in map(np.sort, wavelengths):
        first = wavelength[0] - (wavelength[1] - wavelength[0]) / 2
        last = wavelength[-1] + (wavelength[-1] - wavelength[-2]) / 2
        covering += (every >= first) & (every < last)
    covering = np.maximum(covering, 1)
    scatter, mean = _groups(every, covering)
    chosen = np.full(every.size, NONE)
    beside = np.concatenate([scatter[1:2], (scatter[:-2] + scatter[2:]) / 2, scatter[-2:-1]])
    clump = (scatter == 0) | (scatter < CLUMP * beside)
    chosen[clump] = mean[clump]
    _fill(every, covering, chosen)
    return np.unique(chosen[chosen > 0])


def _groups(every, covering):
    """Scatter and mean of the wavelengths around each: as many as spectra cover it."""
    scatter, mean = np.full(every.size, 9999.0), np.full(every.size, NONE)
    for k, n in enumerate(covering):
        if n == 1:
            scatter[k], mean[k] = 0, every[k]
            continue
        end = k + n // 2 + 1
        if end - n >= 0 and end <= every.size:
            group = every[end - n : end]
            scatter[k], mean[k] = group.std(), group.mean()
    return scatter, mean


def _fill(every, covering, chosen):
    """Means of neighbours in the gaps between the clumps; `chosen` is changed."""
    at = 0
    while at < every.size:
        n = covering[at]
        if at + n // 2 < every.size:
            n = covering[at + n // 2]
            if at + n < every.size and chosen[max(at - 1, 0) : min(at + n + 1, every.size - 1)].max() <= 0:
                chosen[at] = every[at : at + n].mean()
        at += n
