"""Subtract the electromagnetic interference that MIRI's detector electronics pick up. Off by default.

Waves of a few known frequencies (390 Hz, 218 Hz, 10 Hz...) are added to the pixels in the order in which they are read, so that they show
as stripes that drift from group to group. Their form is known from the reference; phase and amplitude are those of the exposure.
"""

import logging
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np

from .. import fitsio
from ..errors import ConfigError, InputError, ReferenceError, Skip
from ..kernels import emi_joint, emi_sequential
from ..parameters import Range

log = logging.getLogger(__name__)

SKIP = True
OPTIONAL = ("emicorr",)  # it can do without where the frequencies are given
WHOLE = True  # one fit for all integrations

SAMPLE = 1e-5  # s, time of a sample
ROWS, COLUMNS = 1024, 1032  # of the detector
SKIPPED_ROW = 7  # samples that a row outside the subarray takes
REFERENCE_DELAY = 3  # samples by which the last reference pixels of a row are late
READPATTS = ("FAST", "FASTR1", "SLOW", "SLOWR1")
RESETTING = ("FASTR1", "SLOWR1")  # with a reset frame between integrations
DISTURBED = slice(1, 3)  # columns of an output beside the reference pixels
TRIALS = 500  # phases at which the joint fit is tried
MOST_BINS = 500
CLIP = 3.0, 5  # standard deviations and turns of the folded wave's means

# Subarray -> samples from row to row, and of a reset frame; for frequencies without a reference.
CLOCKS = {
    "FULL_FAST": (271, 277504),
    "FULL_SLOW": (2333, 2388992),
    "BRIGHTSKY": (162, 86528),
    "SUB256": (96, 29952),
    "SUB128": (44, 11904),
    "SUB64": (28, 8512),
    "SLITLESSPRISM": (28, 15904),
    "MASKLYOT": (90, 32400),
    "MASK1065": (82, 23968),
    "MASK1140": (82, 23968),
    "MASK1550": (82, 23968),
}


class Wave(NamedTuple):
    """One interference: its name, frequency [Hz], and values over a period, if they are known."""

    name: str
    frequency: float
    form: np.ndarray | None

    @property
    def period(self):
        """In samples."""
        return (1.0 / self.frequency) / 10.0e-6


class Readout(NamedTuple):
    """Times of an exposure in samples."""

    nsamples: int  # of a pixel: from column to column of an output
    row: float
    reset: float  # of a frame that resets the detector
    group: float
    gap: float  # between integrations

    @classmethod
    def of(cls, header, shape, row, reset):
        """From the header, the ramp's shape, and the times of a row and of a reset frame."""
        gap = reset if header["READPATT"].upper() in RESETTING else 0.0
        return cls(int(header["NSAMPLES"]), row, reset, shape[2] * row + (ROWS - shape[2]) * SKIPPED_ROW, gap)


def apply(
    exposure,
    refs,
    *,
    algorithm: Literal["sequential", "joint"] = "joint",
    nints_to_phase: Annotated[int, Range(min=1)] | None = None,
    nbins: Annotated[int, Range(min=1)] | None = None,
    scale_reference: bool = True,
    onthefly_corr_freq: list[float] | None = None,
    use_n_cycles: Annotated[int, Range(min=1)] | None = 3,
    fit_ints_separately: bool = False,
    user_supplied_reffile: str | None = None,
    save_intermediate_results: bool = False,
):
    """Find the waves one after the other, in the reference's order, and subtract each from all groups.

    Joint: a straight line in each quiet pixel and the wave in all are fitted together (`kernels.emi_joint`).
    Sequential: a line and a bias are taken out of each pixel, and the rest of the first integrations is folded at the period
    (`kernels.emi_sequential`). The reference's wave, shifted to where it resembles the folded one most, is subtracted; without a
    reference it is the folded one itself. For ramps of 10 groups and more.

    Parameters
    ----------
    exposure : Exposure
        MIRI ramp in DN, raw but for its pixel flags.
    refs : References
        "emicorr", an ASDF file: `frequencies` (name -> frequency [Hz], phase_amplitudes) and `subarray_cases` (name -> rowclocks,
        frameclocks, freqs -> FAST, SLOW -> detector).
    algorithm : str
    nints_to_phase : int, optional
        Sequential: integrations to fold; by default as many as `use_n_cycles` periods take, or all if that is None too.
    nbins : int, optional
        Sequential: bins of a period; by default one for two samples. Not more than about 500.
    scale_reference : bool
        Sequential: give the reference's wave the amplitude of the folded one.
    onthefly_corr_freq : list of float, optional
        Frequencies [Hz] to correct without a reference: sequential.
    use_n_cycles : int, optional
    fit_ints_separately : bool
        Joint: a phase and amplitude for each integration.
    user_supplied_reffile : str, optional
        Deprecated: an emicorr reference.
    save_intermediate_results : bool
        With onthefly_corr_freq: write the folded waves to `<exposure>_emi_ref_waves.asdf` in the working directory, as a reference.

    Raises
    ------
    Skip
        Not MIRI; a READPATT or subarray that is not known; too few groups; no reference.
    InputError
        The pixels are not those of four outputs.
    ReferenceError
        The reference lacks something.
    ConfigError
        A frequency that is none.
    """
    header, shape = exposure.header, _shape(exposure)
    _check(header, shape)
    if onthefly_corr_freq:
        if min(onthefly_corr_freq) <= 0:
            raise ConfigError(f"emicorr: onthefly_corr_freq: {min(onthefly_corr_freq)} is no frequency", do="Give frequencies above 0 Hz")
        waves, (row, reset) = [Wave(repr(f), f, None) for f in onthefly_corr_freq], _clocks(header)
    else:
        waves, (row, reset) = _from_reference(_tree(refs, user_supplied_reffile), header)
    readout = Readout.of(header, shape, row, reset)
    blocks = getattr(exposure, "blocks", lambda: [exposure])  # parts of its integrations, one after the other
    if algorithm == "joint" and not onthefly_corr_freq:
        for wave in waves:
            _joint(blocks, shape, exposure.pixeldq == 0, wave, readout, fit_ints_separately)
        return exposure
    if shape[1] < 4:
        raise Skip(f"{shape[1]} groups are too few to fit lines to them before the waves")
    if shape[1] < 10:
        log.warning("%d groups are few for the sequential algorithm: the joint one is better below 10", shape[1])
    at_the_end = int(header["SUBSTRT1"]) - 1 + shape[3] == COLUMNS
    clock = _clock(readout, shape[1], at_the_end)
    found = {}
    for wave in waves:
        count = _integrations(nints_to_phase, use_n_cycles, wave.period, reset * shape[1], shape[0])
        means = _fold(blocks, shape, wave, clock, count, nbins)
        found[wave.name] = {"frequency": wave.frequency, "phase_amplitudes": means}
        _subtract_table(blocks, wave, clock, _table(means, wave, scale_reference))
    if save_intermediate_results and onthefly_corr_freq:
        _save(header, found, row, reset)
    return exposure


def _shape(exposure):
    """(int, group, row, col) of the whole exposure."""
    return exposure.raw.shape if exposure.raw is not None else exposure.sci.shape


def _check(header, shape):
    """Raise where the step does not apply."""
    if header["INSTRUME"] != "MIRI":
        raise Skip("only for MIRI")
    if header["READPATT"].upper() not in READPATTS:
        raise Skip(f"READPATT {header['READPATT']} is not one of {', '.join(READPATTS)}")
    if shape[1] < 3:
        raise Skip("fewer than 3 groups")
    if shape[3] % emi_joint.OUTPUTS or shape[3] < 4 * emi_joint.OUTPUTS:
        raise InputError(f"its {shape[3]} columns are not those of 4 outputs", file=header.name, do="Switch emicorr off")


# --- references ------------------------------------------------------------------------------------------------------


def _speed(header):
    return "SLOW" if "SLOW" in header["READPATT"].upper() else "FAST"


def _case(header):
    """A subarray's name in the tables."""
    name = header["SUBARRAY"]
    return f"{name}_{_speed(header)}" if "FULL" in name else name


def _clocks(header):
    """Samples from row to row, and of a reset frame, of a subarray that is known here."""
    if _case(header) not in CLOCKS:
        raise Skip(f"the readout times of subarray {header['SUBARRAY']} are not known")
    return CLOCKS[_case(header)]


def _tree(refs, path):
    """The reference, and where it came from."""
    if path is not None:
        log.warning("emicorr: user_supplied_reffile is deprecated: give the file under references: overrides: emicorr")
        return fitsio.open_reference(path, "emicorr").tree, path
    if "emicorr" not in refs:
        raise Skip("its emicorr reference is N/A")
    return refs["emicorr"].tree, refs["emicorr"].path


def _from_reference(reference, header):
    """The waves for this subarray and readout, and its times of a row and of a reset frame."""
    tree, path = reference
    case = tree.get("subarray_cases", {}).get(_case(header))
    names = (case or {}).get("freqs", {}).get(_speed(header))
    if _speed(header) == "SLOW" and names is not None:
        names = names.get(header["DETECTOR"])
    if not names:
        raise Skip(f"the reference has no frequencies for SUBARRAY {header['SUBARRAY']} and READPATT {header['READPATT']}")
    waves = []
    for name in names:
        entry = tree.get("frequencies", {}).get(name, {})
        form = np.asarray(entry.get("phase_amplitudes", ()), float)
        if form.ndim != 1 or form.size < 4 or not np.isfinite(form).all() or not entry.get("frequency", 0) > 0:
            raise ReferenceError(f"frequencies: {name} has no frequency above 0 with a wave of 4 values or more", path)
        waves.append(Wave(name, float(entry["frequency"]), form))
    return waves, (float(case["rowclocks"]), float(case["frameclocks"]))


# --- joint -----------------------------------------------------------------------------------------------------------


def _joint(blocks, shape, usable, wave, readout, separately):
    """Fit and subtract one wave."""
    nints, ngroups, ny, nx = shape
    period = wave.period
    phase = (np.arange(ny)[:, None] * readout.row + np.arange(nx // emi_joint.OUTPUTS) * readout.nsamples) / period % 1
    step = readout.group / period % 1
    offsets = np.arange(nints) * (step * ngroups + readout.gap / period)
    trials = np.arange(TRIALS) / TRIALS
    form = _interpolated(wave.form)
    a, b = _sums(blocks, shape, usable, phase, step, trials, wave.form.size, form)
    groups = [slice(i, i + 1) for i in range(nints)] if separately else [slice(0, nints)]
    starts, amplitudes = np.empty(nints), np.empty(nints)
    for part in groups:
        chi2, _ = emi_joint.saved_chi2(a[:, part], b[:, part], trials, offsets[part], trials)
        best = best_phase(chi2)
        _, found = emi_joint.saved_chi2(a[:, part], b[:, part], trials, offsets[part], np.array([best]))
        starts[part] = best + offsets[part] if separately else (best + offsets[part]) % 1
        amplitudes[part] = found[0]
    for block in blocks():
        part = _integrations_of(block)
        emi_joint.subtract_wave(block.sci, form, phase, step, starts[part], amplitudes[part])
    log.info("%s (%.4f Hz): %s times the reference's amplitude", wave.name, wave.frequency, np.round(np.unique(amplitudes), 4))


def _integrations_of(block):
    first = block.integrations.start or 0
    return slice(first, first + len(block.sci))


def _interpolated(form):
    """A period as cubics between its samples, which are the middles of equal parts; it is continued by one sample on each side."""
    from scipy.interpolate import CubicSpline

    size = form.size
    places = (np.arange(size + 2) - 0.5) / size
    return np.ascontiguousarray(CubicSpline(places, [form[-1], *form, form[0]], bc_type="not-a-knot").c)


def _sums(blocks, shape, usable, phase, step, trials, places, form):
    """What the fit needs of each trial phase and integration: A and B of `kernels.emi_joint`."""
    nints, ngroups, ny, nx = shape
    spread = np.empty((nints, ny, nx), np.float32)
    for block in blocks():
        block.sci = np.ascontiguousarray(block.sci)
        emi_joint.scatter(block.sci, spread[_integrations_of(block)])
    good = (spread < 2 * np.median(spread)) & usable  # neither bright nor odd
    place = (phase * places).astype(np.int32)
    place[:, DISTURBED] = -1
    a, b = np.empty((trials.size, nints)), np.empty((trials.size, nints))
    for block in blocks():
        part = _integrations_of(block)
        sums, numbers = np.zeros((len(block.sci), ngroups, places)), np.zeros((len(block.sci), places))
        emi_joint.sum_by_phase(block.sci, good[part], place, sums, numbers)
        fits = np.empty((2, trials.size, len(block.sci)))
        emi_joint.trial_fits(sums, numbers, form, step, trials, *fits)
        a[:, part], b[:, part] = fits
    return a, b


def best_phase(chi2):
    """Where chi squared is least, between equidistant trial phases from 0 to 1: the vertex of the parabola through the three lowest.

    Parameters
    ----------
    chi2 : (trial,) float64
        Its ends meet.

    Returns
    -------
    float
        0 where there is no finite value.
    """
    if not np.isfinite(chi2).any():
        log.warning("no phase can be told: the wave is not subtracted")
        return 0.0
    n = chi2.size
    k = int(np.nanargmin(chi2))
    before, least, after = chi2[k - 1], chi2[k], chi2[(k + 1) % n]
    bend = before - 2 * least + after
    if not np.isfinite(bend) or bend == 0:
        return k / n
    return (k + (before - after) / (2 * bend)) / n % 1


# --- sequential ------------------------------------------------------------------------------------------------------


def _clock(readout, ngroups, at_the_end):
    late = REFERENCE_DELAY if at_the_end else 0
    integration = ngroups * readout.group + readout.gap
    return emi_sequential.Clock(float(readout.nsamples), float(readout.row), float(readout.group), float(integration), float(late))


def _integrations(wanted, cycles, period, duration, nints):
    """How many integrations to fold: what is wanted, or what so many cycles take; not more than there are."""
    if wanted is None:
        wanted = nints if cycles is None else int(np.ceil(cycles * period / duration))
    return min(wanted, nints)


def _fold(blocks, shape, wave, clock, count, bins):
    """The wave's values over a period as the exposure shows them, (bin,)."""
    bins = int(wave.period / 2) if bins is None else bins
    bins = MOST_BINS if bins > MOST_BINS + 1 else max(bins, 1)
    _, ngroups, ny, nx = shape
    frames = np.empty((count, ngroups, ny, nx // emi_sequential.OUTPUTS), np.float32)
    for block in blocks():
        first = block.integrations.start or 0
        for i in range(first, min(first + len(block.sci), count)):
            emi_sequential.residual_frames(np.ascontiguousarray(block.sci[i - first]), frames[i])
        if first + len(block.sci) >= count:
            break
    frames -= np.median(frames, axis=(2, 3), keepdims=True)
    means = emi_sequential.clipped_means(*emi_sequential.folded(frames, 0, clock, wave.period, bins), *CLIP)
    return means - np.median(means)


def _nearest(values, size):
    """Resample to about `size` values, each the one at or before its place."""
    step = values.size / size
    return values[(np.arange(int(np.ceil(values.size / step))) * step).astype(int)]


def _table(means, wave, scale):
    """What to subtract at each sample of a period."""
    folded = _nearest(means, wave.period)
    if not np.isfinite(folded).all():
        log.warning("%s: some of the %d bins of the wave have no samples: it is not subtracted", wave.name, means.size)
        return np.zeros_like(folded)
    if wave.form is None:
        return folded
    alike = _nearest(means, wave.form.size)
    shift = int(np.argmax([np.corrcoef(np.roll(wave.form, s), alike)[0, 1] for s in range(wave.form.size)]))
    form = _nearest(np.roll(wave.form, shift), wave.period)
    amplitude = np.polyfit(form, folded, 1)[0]
    log.info("%s (%.4f Hz): %.4f times the reference's amplitude", wave.name, wave.frequency, amplitude)
    return form * amplitude if scale else form


def _subtract_table(blocks, wave, clock, table):
    for block in blocks():
        block.sci = np.ascontiguousarray(block.sci)
        emi_sequential.subtract_table(block.sci, block.integrations.start or 0, clock, wave.period, table)


def _save(header, found, row, reset):
    """Write the folded waves as a reference for exposures of this kind."""
    freqs = list(found) if _speed(header) == "FAST" else {header["DETECTOR"]: list(found)}
    stem = Path(header.name).name.removesuffix(".fits").rsplit("_", 1)[0]
    path = Path(f"{stem}_emi_ref_waves.asdf")
    meta = {"reftype": "emicorr", "telescope": "JWST", "instrument": {"name": "MIRI"}, "pedigree": "GROUND", "author": "jwcal"}
    meta |= {"description": f"Waves found in {Path(header.name).name}", "useafter": f"{header['DATE-OBS']}T00:00:00"}
    case = {"rowclocks": row, "frameclocks": reset, "freqs": {_speed(header): freqs}}
    with fitsio.replaced(path) as temporary:
        temporary.write_bytes(fitsio.asdf_block({"meta": meta, "frequencies": found, "subarray_cases": {_case(header): case}}))
    log.info("the waves are in %s", path.absolute())
