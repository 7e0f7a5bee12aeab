"""Wavelengths that several spectra share.

Where spectra have nearly the same wavelengths, these lie in clumps, whose means are taken: a clump is where the standard deviation of as
many neighbours as there are spectra is less than CUTOFF of that one place to either side. Between clumps blocks of as many are averaged.
"""

import numpy as np
from numba import njit

CUTOFF = 0.8


@njit(cache=True, nogil=True)
def _mean_and_deviation(values):
    mean = values.mean()
    return mean, np.sqrt(((values - mean) ** 2).mean())


@njit(cache=True, nogil=True)
def _common(sorted_wavelengths, covering):
    n = sorted_wavelengths.size
    deviation = np.full(n, 9999.0)
    mean = np.full(n, -99.0)
    taken = np.full(n, -99.0)
    for k in range(n):
        several = covering[k]
        if several == 1:
            deviation[k] = 0.0
            taken[k] = mean[k] = sorted_wavelengths[k]
            continue
        last = k + several // 2 + 1
        first = last - several
        if first >= 0 and last <= n:
            mean[k], deviation[k] = _mean_and_deviation(sorted_wavelengths[first:last])
            if deviation[k] == 0:
                taken[k] = mean[k]
    for k in range(n):
        if deviation[k] > 0:
            before, after = deviation[max(k - 1, 0)], deviation[min(k + 1, n - 1)]
            if k == 0:
                before = after
            if k == n - 1:
                after = before
            if deviation[k] < CUTOFF * (before + after) / 2:
                taken[k] = mean[k]
    i = 0
    while i < n:
        several = covering[i]
        if i + several // 2 < n:
            several = covering[i + several // 2]
            if i + several < n:
                empty = True
                for k in range(max(i - 1, 0), min(i + several + 1, n - 1)):
                    empty = empty and taken[k] <= 0
                if empty:
                    taken[i] = sorted_wavelengths[i : i + several].mean()
        i += several
    return np.sort(taken[taken > 0])


def common_wavelengths(wavelengths):
    """Wavelengths for the mean of several spectra.

    Parameters
    ----------
    wavelengths : list of float64 (along,)
        Each rising or falling, of two or more.

    Returns
    -------
    float64 (n,)
        Rising.
    """
    every = np.sort(np.concatenate(wavelengths))
    covering = np.zeros(every.size, np.int64)
    for one in wavelengths:
        rising = one if one[-1] > one[0] else one[::-1]
        low = rising[0] - 0.5 * (rising[1] - rising[0])
        high = rising[-1] + 0.5 * (rising[-1] - rising[-2])
        covering += (every >= low) & (every < high)
    return _common(every, np.maximum(covering, 1))
