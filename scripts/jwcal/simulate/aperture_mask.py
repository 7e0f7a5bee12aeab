"""The mask of seven holes: their places as designed (Sivaramakrishnan et al. 2012, SPIE 8442, 84422S), and the filters behind it."""

import numpy as np

HOLES = np.array([(0, -2.64), (-2.28631, 0), (2.28631, -1.32), (-2.28631, 1.32), (-1.14315, 1.98), (2.28631, 1.32), (1.14315, 1.98)])  # m
WIDTH = 0.80  # m, of a hole from flat to flat
PUPIL, FLAT = 6.603464, 6.559348  # m: the circle about the pupil, and its width from flat to flat
FILTERS = {"F277W": (2.40, 3.14), "F380M": (3.73, 3.93), "F430M": (4.18, 4.40), "F480M": (4.67, 4.97)}  # um
COLOURS = 20


def throughput(filter_name, points=200):
    """A filter's table: wavelength [Angstrom] and throughput, with flanks of a twentieth of its width."""
    low, high = FILTERS[filter_name]
    wavelength = np.linspace(low - 0.1, high + 0.1, points)
    flank = 0.05 * (high - low)
    passed = 0.9 * np.clip(0.5 + (wavelength - low) / flank, 0, 1) * np.clip(0.5 - (wavelength - high) / flank, 0, 1)
    return np.array(list(zip(wavelength * 1e4, passed, strict=True)), [("wavelength", "f4"), ("throughput", "f4")])


def colours(filter_name):
    """Wavelengths [m] of a filter's light, and the part of the photons that each stands for: even photons at all wavelengths."""
    table = throughput(filter_name)
    low, high = table["wavelength"][table["throughput"] > 0][[0, -1]] * 1e-10
    wavelengths = np.linspace(low, high, 2 * COLOURS + 1)[1::2]
    passed = np.interp(wavelengths * 1e10, table["wavelength"], table["throughput"])
    return list(zip(wavelengths, passed / passed.sum(), strict=True))


def mask_image(size=1024):
    """The mask's transmission over the pupil, as nrm references have it."""
    at = (np.arange(size) - (size - 1) / 2) / size * PUPIL
    y, x = np.meshgrid(at, at, indexing="ij")
    image = np.zeros((size, size), np.float32)
    for hole_x, hole_y in HOLES:
        dx, dy = np.abs(-x - hole_x), np.abs(-y - hole_y)
        image[(dy <= WIDTH / 2) & (dy / 2 + dx * np.sqrt(3) / 2 <= WIDTH / 2)] = 1
    return image


def nrm_keywords():
    """The keywords of nrm references."""
    places = {f"NRM_{axis}_A{k}": float(hole[n]) for k, hole in enumerate(HOLES, start=1) for n, axis in enumerate("XY")}
    return {"F2F": WIDTH, "DIAM": FLAT, "PUPL_CRC": PUPIL, **places}
