"""Subtract the signal of a dark exposure of the same detector."""

import logging
from typing import NamedTuple

import numpy as np

from ..kernels.detector.average_frames import add_frame, subtract_frame
from ..machine.threads import side_by_side
from ..vocabulary.errors import ReferenceError, Skip

log = logging.getLogger(__name__)

REFERENCES = ("dark",)


class Pattern(NamedTuple):
    """How reads make groups: averaged, then left out."""

    nframes: int
    groupgap: int

    def reads(self, group):
        """Indices of the reads of a group."""
        first = group * (self.nframes + self.groupgap)
        return range(first, first + self.nframes)


def apply(exposure, refs, *, dark_output: bool | str | None = None, average_dark_current: float | None = None):
    """Subtract the dark, group by group.

    A dark of single reads is averaged to the exposure's groups. A dark that is too short goes on along the line through its last
    two planes. MIRI's dark has planes for each of the first integrations; the last of them serves all later ones. The zero frame
    stays as it is.

    Parameters
    ----------
    exposure : Exposure
        Ramp in DN. `extra["AVDRKCUR"]`, (row, col) float32 in e-/s, is set where the average dark current is known: ramp_fit's
        Poisson noise includes it.
    refs : References
        "dark": SCI (group, row, col), or (int, group, row, col) for MIRI, in DN; DQ; keywords NFRAMES, GROUPGAP.
    dark_output : bool or str, optional
        Return the dark too, as it fits the exposure's groups: "avgdark", (group, row, col), for MIRI (int, group, row, col). Products are
        called after their exposures, so a name only says that it is wanted.
    average_dark_current : float, optional
        In e-/s; by default the reference's.

    Returns
    -------
    Exposure, or list of it and of the dark

    Raises
    ------
    Skip
        The dark's reads can't be averaged to the exposure's groups.
    ReferenceError
        A keyword is missing; a dark of one plane is too short.
    """
    dark = refs["dark"]
    pattern = Pattern(int(exposure.header["NFRAMES"]), int(exposure.header["GROUPGAP"]))
    given = Pattern(*(_keyword(dark, name) for name in Pattern._fields))
    matches = pattern == given
    if not matches and given != Pattern(1, 0):
        raise Skip(
            f"a dark with NFRAMES={given.nframes}, GROUPGAP={given.groupgap} can't be averaged to {pattern.nframes}, {pattern.groupgap}"
        )
    exposure.sci = np.ascontiguousarray(exposure.sci)
    ngroups = exposure.sci.shape[1]
    wanted = [range(g, g + 1) if matches else pattern.reads(g) for g in range(ngroups)]
    _check(dark, exposure.sci.shape, wanted[-1][-1])
    for integrations, plane in _planes(exposure, dark.shape("SCI")):
        _subtract(exposure.sci[integrations], dark, plane, wanted)
    if dark.has("DQ"):
        bits = dark.dq()
        exposure.flag(bits if bits.ndim == 2 else np.bitwise_or.reduce(bits.reshape(-1, *bits.shape[-2:])))
    current = _average_current(dark, exposure.sci.shape[-2:], average_dark_current)
    if current is not None:
        exposure.extra["AVDRKCUR"] = current
    log.info("%s", "plane by plane" if matches else f"reads averaged by {pattern.nframes}, {pattern.groupgap} left out")
    return [exposure, _fitted(dark, exposure, wanted)] if dark_output else exposure


def _fitted(dark, exposure, wanted):
    """The dark as it was subtracted, with the keywords of a reference."""
    shape = dark.shape("SCI")
    planes = [None] if len(shape) == 3 else range(shape[0])
    sci = np.stack([[np.nan_to_num(_sum(dark, plane, reads)) / np.float32(len(reads)) for reads in wanted] for plane in planes])
    flags = {"dq": dark.dq()} if dark.has("DQ") else {}
    fitted = exposure.aside("avgdark", sci=sci if len(shape) == 4 else sci[0], **flags)
    for keyword in ("REFTYPE", "AUTHOR", "PEDIGREE", "DESCRIP", "USEAFTER"):
        if dark.header.get(keyword) is not None:
            fitted.header[keyword] = dark.header.get(keyword)
    return fitted


def _keyword(dark, name):
    value = dark.header.get(name.upper())
    if value is None:
        raise ReferenceError(f"the keyword {name.upper()} is missing", file=dark.path, do="Give a dark that says how its groups were made")
    return int(value)


def _check(dark, shape, last):
    """Make sure that the dark has the exposure's pixels, and that what it lacks at its end can be extrapolated."""
    given = dark.shape("SCI")
    if given is None or len(given) not in (3, 4):
        raise ReferenceError(f"SCI has the shape {given}: planes by group, or by integration and group, are needed", file=dark.path)
    if last >= given[-3]:
        if given[-3] < 2:
            raise ReferenceError(f"{given[-3]} plane is too short for {last + 1}", file=dark.path, do="Give a longer dark")
        log.warning("the dark has %d planes, %d are needed: it is extrapolated from its last two", given[-3], last + 1)


def _planes(exposure, shape):
    """Integrations of this block (a slice) with the dark's integration plane that is theirs; None where the dark has no such planes."""
    nints = exposure.sci.shape[0]
    if len(shape) == 3:
        return [(slice(0, nints), None)]
    planes = np.minimum(exposure.first_integration + np.arange(nints), shape[0] - 1)
    starts = [*np.flatnonzero(np.diff(planes, prepend=-1)), nints]
    return [(slice(a, b), int(planes[a])) for a, b in zip(starts[:-1], starts[1:], strict=True)]


def _subtract(sci, dark, plane, wanted):
    """Subtract a plane of the dark, averaged as wanted, from integrations (int, group, row, col)."""

    def subtract(group):
        subtract_frame(sci, group, _sum(dark, plane, wanted[group]), len(wanted[group]))

    side_by_side(subtract, range(len(wanted)))


def _sum(dark, plane, reads):
    """Sum of some reads of the dark, (row, col) float32."""
    if len(reads) == 1:
        return _read(dark, plane, reads[0])
    total = None
    for read in reads:
        frame = _read(dark, plane, read)
        total = np.zeros_like(frame) if total is None else total
        add_frame(total, frame)
    return total


def _read(dark, plane, index):
    """One plane of the dark, also beyond its end."""
    beyond = index - (dark.shape("SCI")[-3] - 1)
    if beyond > 0:
        last, before = _read(dark, plane, index - beyond), _read(dark, plane, index - beyond - 1)
        return (last + beyond * (last - before).astype(np.float64)).astype(np.float32)
    one = slice(index, index + 1)
    array = dark.array("SCI", planes=one if plane is None else (slice(plane, plane + 1), one))
    return np.ascontiguousarray(array.reshape(array.shape[-2:]), np.float32)


def _average_current(dark, shape, given):
    """The average dark current in e-/s, (row, col) float32: the parameter, the reference's image, or its keyword; None for 0."""
    if given is None and dark.has("AVDRKCUR"):
        image = dark.array("AVDRKCUR")
        if image.any():
            if image.shape == shape:
                return image.astype(np.float32)
            log.warning("the dark's AVDRKCUR has the shape %s, not the exposure's: left out", image.shape)
            return None
    given = dark.header.get("AVDRKCUR", 0.0) if given is None else given
    return np.full(shape, given, np.float32) if given else None
