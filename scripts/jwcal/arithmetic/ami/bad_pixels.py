"""Bad pixels replaced by what leaves no power where the mask lets none through.

Ireland 2013, MNRAS 433, 1718, section 2.5: the mask's image has no power at spatial frequencies that no pair of points of the holes makes.
A bad pixel has some there. The values of the known bad pixels are those with the least power in that region; what then still stands out,
in an image of these frequencies alone, is bad too.
"""

import numpy as np
from scipy import fft, linalg
from scipy.ndimage import median_filter

# Pivot wavelength, and where the throughput is half of its highest [um]
FILTERS = {
    "F277W": (2.776, 2.413, 3.142),
    "F380M": (3.828, 3.726, 3.931),
    "F430M": (4.286, 4.182, 4.395),
    "F480M": (4.817, 4.669, 4.971),
    "F356W": (3.595, 3.141, 4.068),
    "F444W": (4.435, 3.880, 5.023),
}
MARGIN = 1.1  # of these half widths
DARK = 1e-3  # of the highest power: the frequencies below have none
GAIN, READ_NOISE = 1.61, 18.32  # e-/DN, e-
OUTSTANDING = 50.0  # times the median deviation from the neighbours
ROUNDS = 10
BOX = 3


def wavelengths(filter_name, bandpass):
    """Middle and ends of a filter, m; of one that is not in the table those of the bandpass."""
    if filter_name in FILTERS:
        pivot, low, high = (w * 1e-6 for w in FILTERS[filter_name])
        return pivot, pivot - MARGIN * (pivot - low), pivot + MARGIN * (high - pivot)
    return bandpass.centre, bandpass.wavelengths.min(), bandpass.wavelengths.max()


def dark_frequencies(pupil, diameter, size, pixel, colours):
    """Where the image of a point source has no power.

    Parameters
    ----------
    pupil : (row, col) float
        The mask's transmission over the telescope's pupil.
    diameter : float
        Of the pupil's image, m.
    size : int
        Of the images, pixels along each axis; even.
    pixel : float
        rad.
    colours : sequence of float
        Wavelengths, m.

    Returns
    -------
    (size, size) bool
        In the order of numpy.fft.
    """
    image, at = np.zeros((size, size)), np.arange(size) - (size - 1) / 2
    for wavelength in colours:
        sides = [np.exp(-2j * np.pi * pixel * diameter / wavelength * np.outer(at, _middle(n))) for n in pupil.shape]
        image += np.abs(sides[0] @ pupil @ sides[1].T / wavelength) ** 2  # each colour has the same light in the whole plane
    step = np.exp(-2j * np.pi * np.outer(at, at) / size)
    power = np.abs(step @ image @ step.T)
    return fft.fftshift(power < DARK * power.max())


def _middle(count):
    return (np.arange(count) - (count - 1) / 2) / count


def correct(image, bad, dark):
    """Give the bad pixels of an image the values with the least power at dark frequencies.

    Parameters
    ----------
    image : (n, n) float64
    bad : (n, n) bool
    dark : (n, n) bool
        See `dark_frequencies`.

    Returns
    -------
    (n, n) float64
    """
    out = np.where(bad, 0.0, image)
    rows, columns = np.nonzero(bad)
    if not rows.size:
        return out
    half = _half(dark)
    # what a unit in one pixel does to the power at another depends on their distance alone
    response = fft.ifft2(half).real
    effect = response[rows[:, None] - rows, columns[:, None] - columns]
    wanted = fft.ifft2(np.where(half, fft.fft2(out), 0)).real[rows, columns]
    try:
        out[rows, columns] = -linalg.solve(effect, wanted, assume_a="pos")
    except linalg.LinAlgError:
        out[rows, columns] = -linalg.lstsq(effect, wanted)[0]
    return out


def _half(dark):
    """The frequencies of a real image, each once but for those of the first and the middle column."""
    half = dark.copy()
    half[:, dark.shape[1] // 2 + 1 :] = False
    return half


def found_and_corrected(image, bad, dark):
    """Correct the known bad pixels, look for further ones, and correct all of them.

    Parameters
    ----------
    image : (row, col) float
        What is bad need not be finite.
    bad : (row, col) bool
    dark : (n, n) bool
        n is even; a last row and column beyond are let be.

    Returns
    -------
    image : (row, col) float64
    bad : (row, col) bool
    """
    size = len(dark)
    image = np.where(np.isfinite(image), image, 0.0).astype(float)
    inner, given = bad[:size, :size].copy(), image[:size, :size]
    for _ in range(ROUNDS):
        better = correct(given, inner, dark)
        noise = np.sqrt(np.maximum(median_filter(better, BOX) / GAIN + READ_NOISE**2, 1e-6))
        high = fft.irfft2(fft.rfft2(better) * dark[:, : size // 2 + 1], s=better.shape) / noise
        off = np.abs(high - median_filter(high, BOX))
        new = (off > OUTSTANDING * np.median(off)) & ~inner
        if not new.any():
            break
        inner |= new
    out, out_bad = image.copy(), bad.copy()
    out[:size, :size], out_bad[:size, :size] = correct(given, inner, dark), inner
    return out, out_bad
