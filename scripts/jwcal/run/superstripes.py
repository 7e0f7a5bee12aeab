"""Superstripe readout: integrations that take turns at several positions of the stripes, put together to those of the whole region.

Up to refpix each position is an exposure of its own, with its own part of the references. The integrations of one turn then become one;
a stripe that is read several times in a frame gives as many groups. Rows that no stripe reads are NaN, and flagged as reference pixels.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..model import stripes
from ..model.exposure import Pixels
from ..model.references import References
from ..settings.chains import Step
from ..vocabulary.dq import REFERENCE_PIXEL
from ..vocabulary.limits import SIDE

LAST = "refpix"  # the last step that looks at the positions one by one
CLOCK = 1e-5  # s, of a sample
ROW_CLOCKS = 12  # at the end of a row
# Subarrays whose images are of a whole detector's length, whatever of it is read.
WHOLE = ("SUB17STRIPE_SOSS", "SUB60STRIPE_SOSS", "SUB204STRIPE_SOSS", "SUB680STRIPE_SOSS")


class Region(NamedTuple):
    """What the stripes of all positions make together."""

    positions: list  # Stripes of each
    first: int  # detector row of the region's first one
    rows: int
    repeats: int  # groups that a frame gives

    @property
    def shape(self):
        """Rows and columns in the archive's orientation."""
        width = self.positions[0].width
        return (self.rows, width) if abs(self.positions[0].fast) == 1 else (width, self.rows)

    def places(self, position):
        """Where the stripes of a position go: (rows of the region, rows of the image, which of the groups of a frame)."""
        seen = {}
        for run in self.positions[position].science:
            repeat = seen[run.detector.start] = seen.get(run.detector.start, -1) + 1
            yield slice(run.detector.start - self.first, run.detector.stop - self.first), run.frame, repeat % self.repeats


def region_of(header):
    """The `Region` of a superstripe exposure.

    Raises
    ------
    InputError
        The keywords make no frame of the subarray's size.
    """
    positions = [stripes.stripes_of(header, k) for k in range(stripes.positions(header))]
    rows = [run.detector for one in positions for run in one.science]
    first, last = min(r.start for r in rows), max(r.stop for r in rows)
    if header.get("SUBARRAY") in WHOLE:
        first, last = 0, SIDE
    starts = [run.detector.start for run in positions[0].science]
    # The first position tells: stripes at different rows (MSTR_ILV) may meet at a later one, which gives it no groups more.
    return Region(positions, first, last - first, len(starts) // len(set(starts)))


def put_together(exposure, recipe, apply):
    """Make an exposure give the ramps of the whole region when its samples are read, the steps up to refpix done.

    Parameters
    ----------
    exposure : Exposure
        Changed: its keywords, tables and planes become those of the region.
    recipe : Recipe
    apply : callable
        Applies a step: `run.apply`.

    Returns
    -------
    Recipe
        With the steps that are left.
    """
    names = [entry.name if isinstance(entry, Step) else None for entry in recipe.entries]
    end = names.index(LAST) + 1
    source = Together(exposure, recipe, recipe.entries[:end], apply)
    exposure.read_times = read_times(source.header, source.region)
    _set_keywords(exposure.header, source)
    _set_times(exposure, len(source.region.positions))
    pixels = exposure.pixels[0]
    pixels.dq = source.unread()
    if "ZEROFRAME" in pixels.extra:
        pixels.extra["ZEROFRAME"] = np.full((source.shape[0], *source.shape[2:]), np.nan, np.float32)
    pixels.sci = pixels.groupdq = None
    exposure.raw = source
    return replace(recipe, entries=recipe.entries[end:])


class Together:
    """The samples of a superstripe exposure as those of its region: a source like `fitsio.RampSamples`."""

    def __init__(self, exposure, recipe, entries, apply):
        self.exposure, self.recipe, self.entries, self._apply = exposure, recipe, entries, apply
        self.header = exposure.header.copy()  # as it is read: of the positions
        self.region = region_of(self.header)
        self._raw = exposure.raw or _Held(exposure.sci, exposure.groupdq)
        self._zeroframe = exposure.extra.get("ZEROFRAME")
        nints, ngroups = self._raw.shape[:2]
        number = len(self.region.positions)
        self.shape = (nints // number, ngroups * self.region.repeats, *self.region.shape)
        refs = References(recipe.references, self.header, recipe.names)
        self._refs = [refs.stripe(k) for k in range(number)]

    def unread(self):
        """PIXELDQ of the region: REFERENCE_PIXEL where nothing is read, else 0."""
        flags = np.full(self.region.shape, REFERENCE_PIXEL, np.uint32)
        for k, stripes_there in enumerate(self.region.positions):
            for rows, _, _ in self.region.places(k):
                stripes_there.to_detector(flags)[rows] = 0
        return flags

    def read(self, ints, empty=np.empty):
        """Some integrations: sci (int, group, row, col) float32, groupdq uint8; as `fitsio.RampSamples.read`."""
        number = len(self.region.positions)
        first, last = ints.start * number, ints.stop * number
        raw, flags = self._raw.read(slice(first, last))
        sci = empty((ints.stop - ints.start, *self.shape[1:]), np.float32)
        groupdq = empty(sci.shape, np.uint8)
        sci[:], groupdq[:] = np.nan, 0
        for k in range(number):
            turn = slice(first + k, last, number)
            pixels = Pixels(sci=np.ascontiguousarray(raw[k::number]), groupdq=np.ascontiguousarray(flags[k::number]))
            pixels.dq, pixels.header = np.zeros(raw.shape[-2:], np.uint32), self.header.sci
            if self._zeroframe is not None:
                pixels.extra["ZEROFRAME"] = self._zeroframe[turn].astype(np.float32)
            block = self.exposure.block(pixels)
            block.header = self.header
            for entry in self.entries:
                (block,) = self._apply(entry, block, self._refs[k], self.recipe)
            self._place(k, block, sci, groupdq, ints)
        return sci, groupdq

    def _place(self, k, block, sci, groupdq, ints):
        """Put what was read at one position in its place."""
        there, repeats = self.region.positions[k].to_detector, self.region.repeats
        zeroframe = self.exposure.extra.get("ZEROFRAME")
        for rows, frame, repeat in self.region.places(k):
            there(sci[:, repeat::repeats])[..., rows, :] = there(block.sci)[..., frame, :]
            there(groupdq[:, repeat::repeats])[..., rows, :] = there(block.groupdq)[..., frame, :]
            there(self.exposure.pixeldq)[rows] |= there(block.pixeldq)[frame]
            if zeroframe is not None and repeat == 0:
                there(zeroframe[ints])[..., rows, :] = there(block.extra["ZEROFRAME"])[..., frame, :]


class _Held:
    """Samples in memory, as a source."""

    def __init__(self, sci, groupdq):
        self.sci, self.groupdq, self.shape = sci, groupdq, sci.shape

    def read(self, ints):
        return self.sci[ints], self.groupdq[ints]


def _set_keywords(header, source):
    """The keywords of the region's ramps."""
    number, slow = len(source.region.positions), source.region.positions[0].slow
    exposure_ints = -(-int(header["NINTS"]) // number)
    header["INTSTART"], header["INTEND"] = (-(-int(header.get(k, d)) // number) for k, d in (("INTSTART", 1), ("INTEND", header["NINTS"])))
    header["NINTS"], header["NGROUPS"] = exposure_ints, source.shape[1]
    header["SUBSIZE2"], header["SUBSIZE1"] = source.shape[2:]
    first = source.region.first
    header[f"SUBSTRT{abs(slow)}"] = first + 1 if slow > 0 else SIDE - first - source.region.rows + 1
    for keyword in stripes.KEYWORDS:
        del header[keyword]


def _set_times(exposure, number):
    """INT_TIMES of the integrations put together, from the first position's start to the last one's end; as read: INT_TIMES_STRIPE."""
    table = exposure.tables.get("INT_TIMES")
    if table is None or not len(table):
        return
    names = [name for name in table.dtype.names if name != "integration_number"]
    kinds = [("integration_number", "i4"), ("stripe_number", "i4"), *((name, "f8") for name in names)]
    nints = len(table) // number
    whole, each = np.zeros(nints, [kinds[0], *kinds[2:]]), np.zeros(len(table), kinds)
    whole["integration_number"] = int(exposure.header["INTSTART"]) + np.arange(nints)
    each["integration_number"] = np.repeat(whole["integration_number"], number)[: len(table)]
    each["stripe_number"] = np.arange(len(table)) % number + 1
    for name in names:
        each[name] = table[name]
    for scale in ("MJD_UTC", "BJD_TDB"):
        start, end = table[f"int_start_{scale}"][::number][:nints], table[f"int_end_{scale}"][number - 1 :: number]
        whole[f"int_start_{scale}"], whole[f"int_end_{scale}"] = start, end
        whole[f"int_mid_{scale}"] = start + (end - start) / 2
    exposure.tables["INT_TIMES"], exposure.tables["INT_TIMES_STRIPE"] = whole, each


def read_times(header, region):
    """When the reads of each group of the region are made, in seconds: a list of arrays; None where a frame gives one group.

    The first stripe of a frame takes longer by the frame's overhead, the others follow without any. Times of pixels and rows are
    those of the near-IR detectors ("Detector Readout", JWST User Documentation).

    Parameters
    ----------
    header : exposure.Header
        As it is read.
    region : Region
    """
    if region.repeats == 1:
        return None
    one = region.positions[0]
    outputs = int(header["NOUTPUTS"])
    row = one.width / outputs + ROW_CLOCKS
    rows, clocks = (1, 1) if outputs == 4 else (2 if one.width >= 9 else 3, 0)
    each = one.size // region.repeats
    frame, again = (row * (one.size + rows) + clocks) * CLOCK, row * each * CLOCK
    first = (row * (each + rows) + clocks) * CLOCK
    nframes, gap = int(header["NFRAMES"]), int(header["GROUPGAP"])
    times, now = [], 0.0
    for _ in range(int(header["NGROUPS"])):
        for repeat in range(region.repeats):
            now += again if repeat else first
            times.append(now + frame * np.arange(nframes))
        now += frame * (nframes - 1 + gap)
    return times
