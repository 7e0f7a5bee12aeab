"""Subtract the electromagnetic interference that MIRI's detector electronics pick up. Off by default.

Waves of a few known frequencies (390 Hz, 218 Hz, 10 Hz...) are added to the pixels in the order in which they are read, so that they show
as stripes that drift from group to group. Their form is known from the reference; phase and amplitude are those of the exposure.
"""

import logging
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np

from ..files.reference_file import understood
from ..kernels.detector import emi_joint, emi_sequential
from ..model import named_files
from ..vocabulary.errors import ConfigError, InputError, ReferenceError, Skip
from ..vocabulary.parameters import Range

log = logging.getLogger(__name__)

SKIP = True
OPTIONAL = ("emicorr",)  # it can do without where the frequencies are given

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


class Joint(NamedTuple):
    """A wave that the joint fit has found."""

    wave: Wave
    form: np.ndarray  # cubics, see `kernels.emi_joint.wave_at`
    phase: np.ndarray  # of the pixels' first read, (row, col // 4)
    step: float  # phase that a group adds
    starts: np.ndarray  # phase of each integration
    amplitudes: np.ndarray  # in each integration, in units of the reference's


class Sequential(NamedTuple):
    """A wave that folding has found."""

    wave: Wave
    clock: emi_sequential.Clock
    table: np.ndarray  # DN by samples since the wave's start
    folded: np.ndarray  # DN by phase


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

    Joint: a straight line in each quiet pixel and the wave in all are fitted together (`kernels.detector.emi_joint`).
    Sequential: a line and a bias are taken out of each pixel, and the rest of the first integrations is folded at the period
    (`kernels.detector.emi_sequential`). The reference's wave, shifted to where it resembles the folded one most, is subtracted; without a
    reference it is the folded one itself. For ramps of 10 groups and more.

    Parameters
    ----------
    exposure : Exposure
        MIRI ramp in DN, raw but for its pixel flags.
    refs : References
        "emicorr", an ASDF file: `frequencies` (name -> frequency [Hz], phase_amplitudes) and `subarray_cases` (name -> rowclocks,
        frameclocks, freqs -> FAST, SLOW -> detector).
    algorithm : str
        "joint" or "sequential": as above.
    nints_to_phase : int, optional
        Sequential: integrations to fold; by default as many as `use_n_cycles` periods take, or all if that is None too.
    nbins : int, optional
        Sequential: bins of a period; by default one for two samples. Not more than about 500.
    scale_reference : bool
        Sequential: give the reference's wave the amplitude of the folded one.
    onthefly_corr_freq : list of float, optional
        Frequencies [Hz] to correct without a reference: sequential.
    use_n_cycles : int, optional
        Sequential: periods that the integrations to fold have to hold.
    fit_ints_separately : bool
        Joint: a phase and amplitude for each integration.
    user_supplied_reffile : str, optional
        Deprecated: an emicorr reference.
    save_intermediate_results : bool
        With onthefly_corr_freq: return the folded waves too, as a reference, "emi_ref_waves".

    Returns
    -------
    Exposure, or list of it and of its waves

    Raises
    ------
    Skip
        Not MIRI; a READPATT or subarray that is not known; too few groups; no reference.
    InputError
        The pixels are not those of four outputs.
    ReferenceError
        The reference lacks something.
    ConfigError
        A frequency that is none; `save_intermediate_results` without frequencies of one's own.
    """
    given = {name: value for name, value in locals().items() if name not in ("exposure", "refs")}
    options = _options(exposure.header, refs, **given)
    exposure.sci = np.ascontiguousarray(exposure.sci)
    found = exposure.prepared.get("emicorr")
    if found is None:
        found = []
        for wave in options.waves:
            found.append(_find(wave, lambda: [exposure], exposure.sci.shape, exposure.pixeldq, options))
            _subtract(found[-1], exposure)
    else:
        for one in found:
            _subtract(one, exposure)
    return [exposure, _waves(found, exposure, options)] if save_intermediate_results else exposure


def prepare(exposure, refs, **given):
    """Find all waves in an exposure that is in memory block by block; each is found in what the ones before it leave.

    Parameters and errors as those of `apply`.

    Returns
    -------
    list of Joint or Sequential
    """
    options = _options(exposure.header, refs, **given)
    found = []

    def blocks():
        """The exposure as the waves found so far leave it."""
        for block in exposure.blocks():
            for one in found:
                _subtract(one, block)
            yield block

    for wave in options.waves:
        found.append(_find(wave, blocks, exposure.shape, exposure.pixeldq, options))
    return found


def _find(wave, blocks, shape, pixeldq, options):
    """One wave in an exposure (int, group, row, col), whose parts `blocks()` gives: a `Joint` or a `Sequential`."""
    if options.joint:
        return _find_joint(wave, blocks, shape, pixeldq == 0, options)
    return _find_sequential(wave, blocks, shape, options)


def _subtract(found, block):
    """Subtract a wave from a block of integrations, in place."""
    first = block.integrations.start or 0
    if isinstance(found, Joint):
        part = slice(first, first + len(block.sci))
        emi_joint.subtract_wave(block.sci, found.form, found.phase, found.step, found.starts[part], found.amplitudes[part])
    else:
        emi_sequential.subtract_table(block.sci, first, found.clock, found.wave.period, found.table)


class Options(NamedTuple):
    """What is to be done."""

    waves: list
    joint: bool
    row: float  # samples from row to row
    reset: float  # samples of a frame that resets the detector
    nsamples: int  # samples of a pixel: from column to column of an output
    gap: float  # samples between integrations
    at_the_end: bool  # whether the rows end with reference pixels
    given: dict  # the parameters


def _options(header, refs, **given):
    """Raise where the step does not apply; what is to be done where it does."""
    readpatt, ngroups, columns = header["READPATT"].upper(), int(header["NGROUPS"]), int(header["SUBSIZE1"])
    if readpatt not in READPATTS:
        raise Skip(f"READPATT {readpatt} is not one of {', '.join(READPATTS)}")
    frequencies = given.get("onthefly_corr_freq")
    if frequencies and min(frequencies) <= 0:
        raise ConfigError(f"emicorr: onthefly_corr_freq: {min(frequencies)} is no frequency", do="Give frequencies above 0 Hz")
    if given.get("save_intermediate_results") and not frequencies:
        raise ConfigError(
            "emicorr: save_intermediate_results: the waves are the reference's", do="Give onthefly_corr_freq, or switch it off"
        )
    joint = given.get("algorithm", "joint") == "joint" and not frequencies
    needed = 3 if joint else 4
    if ngroups < needed:
        raise Skip(f"fewer than {needed} groups")
    if ngroups < 10 and not joint:
        log.warning("%d groups are few for the sequential algorithm: below 10 the joint one is better", ngroups)
    if columns % emi_joint.OUTPUTS or columns < 4 * emi_joint.OUTPUTS:
        raise InputError(f"its {columns} columns are not those of 4 outputs", file=header.name, do="Switch emicorr off")
    if frequencies:
        waves, (row, reset) = [Wave(repr(f), f, None) for f in frequencies], _clocks(header)
    else:
        waves, (row, reset) = _from_reference(_tree(refs, given.get("user_supplied_reffile")), header)
    gap = reset if readpatt in RESETTING else 0.0
    at_the_end = int(header["SUBSTRT1"]) - 1 + columns == COLUMNS
    return Options(waves, joint, row, reset, int(header["NSAMPLES"]), gap, at_the_end, given)


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
        return named_files.tree(path, "emicorr"), path
    if "emicorr" not in refs:
        raise Skip("its emicorr reference is N/A")
    return refs["emicorr"].tree, refs["emicorr"].path


def _from_reference(reference, header):
    """The waves for this subarray and readout, and its times of a row and of a reset frame."""
    tree, path = reference
    with understood("emicorr", path):
        return _of_this_readout(tree, path, header)


def _of_this_readout(tree, path, header):
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


def _frame(shape, options):
    """Samples from a group to the next."""
    return shape[2] * options.row + (ROWS - shape[2]) * SKIPPED_ROW


def _find_joint(wave, blocks, shape, usable, options):
    """Fit one wave."""
    nints, ngroups, ny, nx = shape
    period = wave.period
    phase = (np.arange(ny)[:, None] * options.row + np.arange(nx // emi_joint.OUTPUTS) * options.nsamples) / period % 1
    step = _frame(shape, options) / period % 1
    offsets = np.arange(nints) * (step * ngroups + options.gap / period)
    trials = np.arange(TRIALS) / TRIALS
    form = _interpolated(wave.form)
    a, b = _sums(blocks, shape, usable, phase, step, trials, wave.form.size, form)
    separately = options.given.get("fit_ints_separately", False)
    starts, amplitudes = np.empty(nints), np.empty(nints)
    for part in [slice(i, i + 1) for i in range(nints)] if separately else [slice(0, nints)]:
        chi2, _ = emi_joint.saved_chi2(a[:, part], b[:, part], trials, offsets[part], trials)
        best = best_phase(chi2)
        _, found = emi_joint.saved_chi2(a[:, part], b[:, part], trials, offsets[part], np.array([best]))
        starts[part] = best + offsets[part] if separately else (best + offsets[part]) % 1
        amplitudes[part] = found[0]
    log.info("%s (%.4f Hz): %s times the reference's amplitude", wave.name, wave.frequency, np.round(np.unique(amplitudes), 4))
    return Joint(wave, form, phase, step, starts, amplitudes)


def _interpolated(form):
    """A period as cubics between its samples, which are the middles of equal parts; it is continued by one sample on each side."""
    from scipy.interpolate import CubicSpline

    size = form.size
    places = (np.arange(size + 2) - 0.5) / size
    return np.ascontiguousarray(CubicSpline(places, [form[-1], *form, form[0]], bc_type="not-a-knot").c)


def _sums(blocks, shape, usable, phase, step, trials, places, form):
    """What the fit needs of each trial phase and integration: A and B of `kernels.detector.emi_joint`."""
    nints, ngroups, ny, nx = shape
    spread = np.empty((nints, ny, nx), np.float32)
    for block in blocks():
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


def _integrations_of(block):
    first = block.integrations.start or 0
    return slice(first, first + len(block.sci))


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


def _find_sequential(wave, blocks, shape, options):
    """Fold one wave."""
    frame = _frame(shape, options)
    late = REFERENCE_DELAY if options.at_the_end else 0
    times = (options.nsamples, options.row, frame, shape[1] * frame + options.gap, late)
    clock = emi_sequential.Clock(*(float(time) for time in times))
    given = options.given
    count = _integrations(given.get("nints_to_phase"), given.get("use_n_cycles", 3), wave.period, options.reset * shape[1], shape[0])
    folded = _fold(blocks, shape, wave, clock, count, given.get("nbins"))
    return Sequential(wave, clock, _table(folded, wave, given.get("scale_reference", True)), folded)


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
            emi_sequential.residual_frames(block.sci[i - first], frames[i])
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


def _waves(found, exposure, options):
    """The folded waves as a reference for exposures of this kind."""
    header = exposure.header
    names = [one.wave.name for one in found]
    entries = {one.wave.name: {"frequency": one.wave.frequency, "phase_amplitudes": one.folded} for one in found}
    freqs = names if _speed(header) == "FAST" else {header["DETECTOR"]: names}
    case = {"rowclocks": options.row, "frameclocks": options.reset, "freqs": {_speed(header): freqs}}
    meta = {"reftype": "emicorr", "telescope": "JWST", "instrument": {"name": header.instrument}, "pedigree": "GROUND", "author": "jwcal"}
    meta |= {"description": f"Waves found in {Path(header.name).name}", "useafter": f"{header['DATE-OBS']}T00:00:00"}
    product = exposure.aside("emi_ref_waves")
    product.tree = {"meta": meta, "frequencies": entries, "subarray_cases": {_case(header): case}}
    return product
