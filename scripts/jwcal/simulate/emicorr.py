"""MIRI's electromagnetic interference: waves to add to simulated ramps, and the reference that tells their form."""

from pathlib import Path
from typing import NamedTuple

import asdf
import numpy as np

from ..files import storage
from ..steps.emicorr import CLOCKS

SAMPLE = 1e-5  # s
OUTPUTS = 4


class Wave(NamedTuple):
    """A periodic signal: sum of harmonics, (amplitude [DN], phase) from the first one on."""

    frequency: float  # Hz
    harmonics: tuple

    def at(self, phase):
        """Its value [DN] at some phases, in units of the period."""
        return sum(a * np.sin(2 * np.pi * (k * np.asarray(phase) + p)) for k, (a, p) in enumerate(self.harmonics, start=1))

    def samples(self, number):
        """Its values in the middle of equal parts of a period."""
        return self.at((np.arange(number) + 0.5) / number)


# The frequencies that are seen in flight, with forms of their own.
WAVES = {
    "Hz390": Wave(390.625, ((3.0, 0.0), (0.8, 0.1), (0.4, 0.3))),
    "Hz218a": Wave(218.520470, ((1.5, 0.2), (0.5, 0.0))),
    "Hz10": Wave(10.039216, ((6.0, 0.4), (2.0, 0.25), (1.0, 0.0))),
}


def add_waves(sci, setup, amplitudes, starts, waves=WAVES):
    """Counts with interference.

    Parameters
    ----------
    sci : (int, group, row, col)
        DN.
    setup : instruments.Setup
        Of a MIRI exposure.
    amplitudes, starts : dict
        Wave -> factor on its form; phase when the first pixel is read, in units of its period.
    waves : dict of Wave

    Returns
    -------
    ndarray, float64
    """
    time = sample_times(sci.shape, setup)
    noise = sum(amplitudes[name] * waves[name].at(time * SAMPLE * waves[name].frequency + starts[name]) for name in amplitudes)
    return sci + np.repeat(noise, OUTPUTS, axis=-1)


def sample_times(shape, setup):
    """When the pixels of each output are read, in samples since the first, (int, group, row, col // 4) float64.

    Rows outside the subarray take 7 samples each, a reset frame is read between the integrations of FASTR1 and SLOWR1,
    and the reference pixels at the end of a row are 3 samples late.
    """
    nints, ngroups, ny, nx = shape
    readout, sub = setup.readout, setup.subarray
    row, reset = clocks(setup)
    frame = ny * row + (1024 - ny) * 7
    integration = ngroups * frame + (reset if readout.readpatt.endswith("R1") else 0)
    column = np.arange(nx // OUTPUTS, dtype=float) * readout.nsamples
    if sub.xstart - 1 + sub.xsize == 1032:
        column[-1] += 3
    each = (np.arange(n, dtype=float) * step for n, step in ((nints, integration), (ngroups, frame), (ny, row)))
    i, g, y = np.meshgrid(*each, indexing="ij")
    return (i + g + y)[..., None] + column


def clocks(setup):
    """Samples from row to row, and of a reset frame."""
    name, speed = setup.subarray.name, "SLOW" if "SLOW" in setup.readout.readpatt else "FAST"
    return CLOCKS[f"{name}_{speed}" if name == "FULL" else name]


def write_emicorr(path, waves=WAVES, *, samples=128, names=None):
    """Write an emicorr reference for all subarrays.

    Parameters
    ----------
    path : path
    waves : dict of Wave
    samples : int
        Values of each wave.
    names : sequence of str, optional
        Waves to correct, in this order; by default all.

    Returns
    -------
    Path
    """
    names = list(names or waves)
    both = {"FAST": names, "SLOW": {detector: names for detector in ("MIRIMAGE", "MIRIFULONG", "MIRIFUSHORT")}}
    cases = {}
    for name, (row, reset) in CLOCKS.items():
        freqs = {speed: both[speed] for speed in both if not name.startswith("FULL") or name.endswith(speed)}
        cases[name] = {"rowclocks": row, "frameclocks": reset, "freqs": freqs}
    about = {"reftype": "emicorr", "telescope": "JWST", "instrument": {"name": "MIRI"}, "pedigree": "DUMMY", "author": "jwcal.simulate"}
    about |= {"description": "Simulated interference", "useafter": "2021-01-01T00:00:00", "model_type": "EmiModel"}
    forms = {name: {"frequency": wave.frequency, "phase_amplitudes": wave.samples(samples)} for name, wave in waves.items()}
    with storage.replaced(path) as temporary:
        asdf.AsdfFile({"meta": about, "frequencies": forms, "subarray_cases": cases}).write_to(temporary)
    return Path(path)
